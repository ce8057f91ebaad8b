/* suites: see suites.h. */
#include "suites.h"

#include "bench_measure.h"
#include "machine.h"
#include "suite_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES_MAX    8
#define LIST_FOLDERS 10000

enum which { SEARCH, FETCH, SELECT, LIST, WHICH };

static const struct {
    const char *name, *sizes, *enter;
} suites[WHICH] = {
    [SEARCH] = {"search", "100000", "EXAMINE INBOX"},
    [FETCH] = {"fetch", "100000", "EXAMINE INBOX"},
    [SELECT] = {"select", "100000", NULL},
    [LIST] = {"list", "20000", NULL},
};

struct options {
    enum which which;
    char *work, *mds, *json, *sizes, *sides, *vault;
    gint repeats, patience, index_patience, mean_bytes, folders;
    gboolean quick;
};

/* One size's directory, vault and servers. */
struct stage {
    const struct options *o;
    char *dir, *vault, *answers, *store;
    guint64 messages;
    struct side sides[SIDES_MAX];
    unsigned n_sides;
};

static bool wanted(const struct options *o, const char *side)
{
    char **names = o->sides ? g_strsplit(o->sides, ",", -1) : NULL;
    /* Making their indexes takes longer than all else of a quick run. */
    const bool slow = strcmp(side, "dovecot-fts") == 0 || strcmp(side, "cyrus") == 0;
    const bool all = !names && !(o->quick && slow);
    const bool is = all || (names && g_strv_contains((const gchar *const *)names, side));
    g_strfreev(names);
    return is;
}

static int generate(struct stage *s, struct error *err)
{
    char *gen = bench_sibling("mds-gen"), *messages = g_strdup_printf("%" G_GUINT64_FORMAT, s->messages),
         *folders = g_strdup_printf("%d", s->o->which == LIST ? s->o->folders : 1),
         *mean = g_strdup_printf("%d", s->o->mean_bytes);
    char *argv[] = {gen,
                    (char[]){"--quiet"},
                    (char[]){"--out"},
                    s->vault,
                    (char[]){"--messages"},
                    messages,
                    (char[]){"--folders"},
                    folders,
                    (char[]){"--mean-size"},
                    mean,
                    NULL};
    const int rc = bench_run_beside(argv, err);
    g_free(mean);
    g_free(folders);
    g_free(messages);
    g_free(gen);
    return rc;
}

/* The store as it is before it gets an index of texts. */
static int copy_store(const struct stage *s, const char *to, struct error *err)
{
    char *from = g_strdup(s->store), *copy = g_strdup(to);
    char *argv[] = {(char[]){"/bin/cp"}, (char[]){"-a"}, from, copy, NULL};
    const int rc = bench_run_beside(argv, err);
    g_free(from);
    g_free(copy);
    return rc;
}

static int start_mds(struct stage *s, const struct side_place *place, struct error *err)
{
    char *scan = g_strconcat(s->store, "-scan", NULL);
    struct side *mds = &s->sides[s->n_sides++];
    mds->name = "mds";
    int rc = side_mds_build(place, s->store, mds, err);
    const struct side built = *mds;
    const bool beside = s->o->which == SEARCH && wanted(s->o, "mds-scan");
    if (rc == 0 && beside)
        rc = copy_store(s, scan, err);
    if (rc == 0 && s->o->which == SEARCH)
        rc = side_mds_index(place, s->store, mds, err);
    if (rc == 0 && mds->note) { /* without an index there is one side, and it scans */
        fprintf(stderr, "mds-bench: %s: all searches of texts are scans\n", mds->note);
        g_clear_pointer(&mds->note, g_free);
    } else if (rc == 0 && beside) {
        struct side *other = &s->sides[s->n_sides++];
        *other = built;
        other->name = "mds-scan";
        rc = side_mds_start(place, scan, other, err);
    }
    rc = rc ? rc : side_mds_start(place, s->store, mds, err);
    g_free(scan);
    return rc;
}

static int start_sides(struct stage *s, struct error *err)
{
    const struct side_place place = {.work = s->dir,
                                     .vault = s->vault,
                                     .has_folders = s->o->which == LIST,
                                     .mds = s->o->mds,
                                     .patience_s = s->o->index_patience};
    int rc = start_mds(s, &place, err);
    if (rc == 0 && wanted(s->o, "dovecot"))
        rc = side_dovecot_start(&place, SIDE_PLAIN, &s->sides[s->n_sides++], err);
    if (rc == 0 && s->o->which == SEARCH && wanted(s->o, "dovecot-fts"))
        rc = side_dovecot_start(&place, SIDE_FTS, &s->sides[s->n_sides++], err);
    if (rc == 0 && wanted(s->o, "cyrus"))
        side_cyrus_start(&place, &s->sides[s->n_sides++]);
    return rc;
}

static int make_rows(const struct stage *s, GArray *rows, struct error *err)
{
    switch (s->o->which) {
    case SEARCH: return suite_rows_search(s->messages, s->answers, s->o->quick, rows, err);
    case FETCH: suite_rows_fetch(s->messages, rows); break;
    case SELECT: suite_rows_select(s->messages, rows); break;
    case LIST: suite_rows_list((guint64)s->o->folders, rows); break;
    case WHICH: break;
    }
    return 0;
}

/* Answers of this project that were wrong are added to *wrong. */
static int measure(struct stage *s, json_t *runs, unsigned *wrong, struct error *err)
{
    GArray *rows = g_array_new(FALSE, TRUE, sizeof(struct suite_row));
    int rc = make_rows(s, rows, err);
    const unsigned n = rows->len;
    struct suite suite = {.name = suites[s->o->which].name,
                          .sides = s->sides,
                          .n_sides = s->n_sides,
                          .rows = (struct suite_row *)(void *)g_array_free(rows, FALSE),
                          .n_rows = n,
                          .repeats = (unsigned)s->o->repeats,
                          .patience_s = s->o->patience,
                          .messages = s->messages,
                          .enter = suites[s->o->which].enter,
                          .work = s->dir};
    rc = rc ? rc : suite_run(&suite, err);
    if (rc == 0)
        json_array_append_new(runs, suite_json(&suite));
    *wrong += suite.wrong;
    suite_release(&suite);
    return rc;
}

static int run_size(const struct options *o, guint64 messages, json_t *runs, unsigned *wrong, struct error *err)
{
    struct stage s = {.o = o, .messages = messages};
    s.dir = g_build_filename(o->work, "mds-bench-suite.XXXXXX", NULL);
    int rc = g_mkdtemp(s.dir) ? 0 : error_errno(err, "cannot make %s", s.dir);
    s.vault = o->vault ? g_canonicalize_filename(o->vault, NULL) : g_build_filename(s.dir, "vault", NULL);
    s.answers = g_strconcat(s.vault, ".answers", NULL);
    s.store = g_build_filename(s.dir, "store", NULL);
    if (rc == 0) {
        printf("\n%" G_GUINT64_FORMAT " messages\n", messages);
        fflush(stdout);
        rc = o->vault ? 0 : generate(&s, err);
        rc = rc ? rc : start_sides(&s, err);
        rc = rc ? rc : measure(&s, runs, wrong, err);
        for (unsigned k = 0; k < s.n_sides; k++)
            side_stop(&s.sides[k]);
        bench_remove_tree(s.dir);
    }
    g_free(s.store);
    g_free(s.answers);
    g_free(s.vault);
    g_free(s.dir);
    return rc;
}

static int write_json(const struct options *o, json_t *machine, json_t *runs, struct error *err)
{
    json_t *root = json_pack("{s:s,s:b,s:i,s:O,s:O}", "command", suites[o->which].name, "quick", o->quick, "mean_bytes",
                             o->mean_bytes, "machine", machine, "runs", runs);
    const int rc =
        json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

static int run(const struct options *o, const guint64 *sizes, size_t n)
{
    struct error err = {0};
    json_t *runs = json_array(), *machine = machine_json(o->work);
    unsigned wrong = 0;
    int rc = 0;
    machine_print(machine);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = run_size(o, sizes[i], runs, &wrong, &err);
    if (rc == 0 && o->json)
        rc = write_json(o, machine, runs, &err);
    json_decref(runs);
    json_decref(machine);
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    else if (wrong > 0)
        fprintf(stderr, "mds-bench: %u answers are not what was planted\n", wrong);
    return rc != 0 ? 3 : wrong > 0 ? 1 : 0;
}

/* How many messages its answers speak of; 0: they cannot be read. */
static guint64 size_of_vault(const char *vault)
{
    char *whole = g_canonicalize_filename(vault, NULL), *file = g_strconcat(whole, ".answers", NULL), *text = NULL;
    guint64 n = 0;
    if (g_file_get_contents(file, &text, NULL, NULL)) {
        const char *at = strstr(text, "--messages ");
        n = at ? g_ascii_strtoull(at + strlen("--messages "), NULL, 10) : 0;
    }
    g_free(text);
    g_free(file);
    g_free(whole);
    return n;
}

static size_t parse_sizes(const char *text, guint64 out[SIZES_MAX])
{
    char **words = g_strsplit(text, ",", SIZES_MAX + 1);
    size_t n = g_strv_length(words) <= SIZES_MAX ? g_strv_length(words) : 0;
    for (size_t i = 0; i < n; i++)
        if (!g_ascii_string_to_unsigned(words[i], 10, 1, 100000000, &out[i], NULL))
            n = 0;
    g_strfreev(words);
    return n;
}

static bool find_suite(const char *name, enum which *out)
{
    for (int k = 0; k < WHICH; k++)
        if (strcmp(name, suites[k].name) == 0) {
            *out = (enum which)k;
            return true;
        }
    return false;
}

static const char *wrong_options(const struct options *o)
{
    if (o->repeats < 1 || o->repeats > 1000)
        return "--repeats goes from 1 to 1000";
    if (o->patience < 1 || o->patience > 3600)
        return "--patience goes from 1 to 3600";
    if (o->mean_bytes < 2500 || o->mean_bytes > 1 << 20)
        return "--mean-size goes from 2500 to 1048576";
    if (o->folders < 2 || o->folders > 10000)
        return "--folders goes from 2 to 10000";
    return NULL;
}

bool suites_main(int argc, char **argv, int *status_out)
{
    struct options o = {.repeats = 0, .patience = 0, .mean_bytes = 6700, .folders = 0};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where vaults, stores and servers live (.)", "DIR"},
        {"messages", 0, 0, G_OPTION_ARG_STRING, &o.sizes, "of the folder, one run each (100000)", "N,N..."},
        {"vault", 0, 0, G_OPTION_ARG_FILENAME, &o.vault,
         "in place of a new one: a Maildir of one folder by mds-gen, with its answers beside it", "DIR"},
        {"folders", 0, 0, G_OPTION_ARG_INT, &o.folders, "list: how many (10000)", "N"},
        {"mean-size", 0, 0, G_OPTION_ARG_INT, &o.mean_bytes, "of a message (6700)", "BYTES"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &o.repeats, "of each row and side (20)", "N"},
        {"patience", 0, 0, G_OPTION_ARG_INT, &o.patience, "for one answer, and for one side's repeats (20)", "S"},
        {"index-patience", 0, 0, G_OPTION_ARG_INT, &o.index_patience, "for a peer's making of an index (900)", "S"},
        {"sides", 0, 0, G_OPTION_ARG_STRING, &o.sides,
         "beside mds: mds-scan,dovecot,dovecot-fts,cyrus (all; quick: without the last two)", "LIST"},
        {"quick", 0, 0, G_OPTION_ARG_NONE, &o.quick, "small and short: whether it works, and about how fast", NULL},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    guint64 sizes[SIZES_MAX];
    size_t n = 0;
    GError *gerror = NULL;
    if (argc < 2 || !find_suite(argv[1], &o.which))
        return false;
    GOptionContext *context = g_option_context_new("search|fetch|select|list - what clients wait for, beside peers");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc == 2;
    g_option_context_free(context);
    o.repeats = o.repeats ? o.repeats : o.quick ? 3 : 20;
    o.patience = o.patience ? o.patience : o.quick ? 2 : 20;
    o.index_patience = o.index_patience > 0 ? o.index_patience : o.quick ? 10 : 900;
    o.folders = o.folders ? o.folders : o.quick ? 200 : LIST_FOLDERS;
    o.work = o.work ? o.work : g_strdup(".");
    o.mds = o.mds ? o.mds : bench_sibling("mds");
    const char *complaint = gerror ? gerror->message : parsed ? wrong_options(&o) : "one suite, and options";
    if (!complaint && (n = parse_sizes(o.sizes ? o.sizes : o.quick ? "1000" : suites[o.which].sizes, sizes)) == 0)
        complaint = "--messages takes numbers, separated by commas";
    if (!complaint && o.vault) {
        n = 1;
        sizes[0] = size_of_vault(o.vault);
        if (o.which == LIST || sizes[0] == 0)
            complaint = "--vault is a Maildir made by mds-gen, not for list";
    }
    if (complaint)
        fprintf(stderr, "mds-bench: %s (see --help)\n", complaint);
    *status_out = complaint ? 2 : run(&o, sizes, n);
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.mds);
    g_free(o.json);
    g_free(o.sizes);
    g_free(o.sides);
    g_free(o.vault);
    return true;
}

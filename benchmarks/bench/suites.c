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
#define MEAN_MIN     2500
#define MEAN_MAX     (1 << 20)

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
    gint repeats, patience, row_s, budget_s, index_patience, mean_bytes, folders;
    gboolean quick;
};

struct size {
    guint64 messages, mean_bytes;
    bool given; /* it is that of --vault */
};

/* How long a peer took to be made ready for the last size that it was tried with. */
struct readiness {
    const char *name;
    double bytes, seconds;
    bool failed;
};

/* One size's directory, vault and servers. */
struct stage {
    const struct options *o;
    char *dir, *vault, *answers, *store;
    struct size size;
    struct side sides[SIDES_MAX];
    unsigned n_sides;
    struct readiness *peers; /* SIDES_MAX of them, over all sizes; the first without a name ends them */
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
    char *gen = bench_sibling("mds-gen"), *messages = g_strdup_printf("%" G_GUINT64_FORMAT, s->size.messages),
         *folders = g_strdup_printf("%d", s->o->which == LIST ? s->o->folders : 1),
         *mean = g_strdup_printf("%" G_GUINT64_FORMAT, s->size.mean_bytes);
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
    if (rc == 0 && s->o->which == FETCH && mds->has_tls && wanted(s->o, "mds-tls"))
        side_mds_tls(mds, &s->sides[s->n_sides++]);
    g_free(scan);
    return rc;
}

static struct readiness *readiness_of(const struct stage *s, const char *name)
{
    struct readiness *r = s->peers;
    while (r->name && strcmp(r->name, name) != 0)
        r++;
    r->name = name;
    return r;
}

/* Time grows with the mail at least. NULL: it may be tried. Owned by the caller. */
static char *too_long(const struct stage *s, const struct readiness *r)
{
    const double bytes = (double)s->size.messages * (double)s->size.mean_bytes,
                 expected_s = r->bytes > 0 ? r->seconds * bytes / r->bytes : 0;
    if (r->failed && bytes >= r->bytes)
        return g_strdup("not tried: it was not made ready for fewer messages");
    if (expected_s > s->o->index_patience)
        return g_strdup_printf("not tried: to make it ready would take about %.0f s, by what a smaller vault took",
                               expected_s);
    return NULL;
}

/* A peer's trouble is a note and ends no run. */
static void start_peer(struct stage *s, const struct side_place *place, const char *name)
{
    if (!wanted(s->o, name))
        return;
    struct side *side = &s->sides[s->n_sides++];
    struct readiness *r = readiness_of(s, name);
    struct error why = {0};
    const gint64 began = g_get_monotonic_time();
    side->name = name;
    if ((side->note = too_long(s, r)) != NULL)
        return;
    if (strcmp(name, "cyrus") == 0)
        side_cyrus_start(place, side);
    else if (side_dovecot_start(place, strcmp(name, "dovecot-fts") == 0 ? SIDE_FTS : SIDE_PLAIN, side, &why) != 0 &&
             !side->note)
        side->note = g_strdup(why.text);
    r->bytes = (double)s->size.messages * (double)s->size.mean_bytes;
    r->seconds = side->prepared_s;
    /* One that is not installed, say, is told so again. */
    r->failed = side->note && g_get_monotonic_time() - began > (gint64)s->o->index_patience * 500000;
}

static int start_sides(struct stage *s, struct error *err)
{
    const struct side_place place = {.work = s->dir,
                                     .vault = s->vault,
                                     .has_folders = s->o->which == LIST,
                                     .mds = s->o->mds,
                                     .as_built = true, /* mds-scan stays one that scans */
                                     .patience_s = s->o->index_patience};
    const int rc = start_mds(s, &place, err);
    if (rc != 0)
        return rc;
    start_peer(s, &place, "dovecot");
    if (s->o->which == SEARCH)
        start_peer(s, &place, "dovecot-fts");
    start_peer(s, &place, "cyrus");
    return 0;
}

static int make_rows(const struct stage *s, GArray *rows, struct error *err)
{
    switch (s->o->which) {
    case SEARCH: return suite_rows_search(s->size.messages, s->answers, s->o->quick, rows, err);
    case FETCH: suite_rows_fetch(s->size.messages, rows); break;
    case SELECT: suite_rows_select(s->size.messages, rows); break;
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
                          .row_s = s->o->row_s,
                          .budget_s = s->o->budget_s,
                          .messages = s->size.messages,
                          .enter = suites[s->o->which].enter,
                          .work = s->dir};
    rc = rc ? rc : suite_run(&suite, err);
    if (rc == 0) {
        json_t *out = suite_json(&suite);
        json_object_set_new(out, "mean_bytes", json_integer((json_int_t)s->size.mean_bytes));
        json_array_append_new(runs, out);
    }
    *wrong += suite.wrong;
    suite_release(&suite);
    return rc;
}

static int run_size(const struct options *o, struct size size, struct readiness *peers, json_t *runs, unsigned *wrong,
                    struct error *err)
{
    struct stage s = {.o = o, .size = size, .peers = peers};
    s.dir = g_build_filename(o->work, "mds-bench-suite.XXXXXX", NULL);
    int rc = g_mkdtemp(s.dir) ? 0 : error_errno(err, "cannot make %s", s.dir);
    s.vault = size.given ? g_canonicalize_filename(o->vault, NULL) : g_build_filename(s.dir, "vault", NULL);
    s.answers = g_strconcat(s.vault, ".answers", NULL);
    s.store = g_build_filename(s.dir, "store", NULL);
    if (rc == 0) {
        printf("\n%" G_GUINT64_FORMAT " messages of %" G_GUINT64_FORMAT " bytes\n", size.messages, size.mean_bytes);
        fflush(stdout);
        rc = size.given ? 0 : generate(&s, err);
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
    json_t *root = json_pack("{s:s,s:b,s:O,s:O}", "command", suites[o->which].name, "quick", o->quick, "machine",
                             machine, "runs", runs);
    const int rc =
        json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

/* What was found is written after each size: a run that is ended in the middle has found something. */
static int run(const struct options *o, const struct size *sizes, size_t n)
{
    struct error err = {0};
    struct readiness peers[SIDES_MAX + 1] = {{0}};
    json_t *runs = json_array(), *machine = machine_json(o->work);
    unsigned wrong = 0;
    int rc = 0;
    machine_print(machine);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = run_size(o, sizes[i], peers, runs, &wrong, &err);
        if (rc == 0 && o->json)
            rc = write_json(o, machine, runs, &err);
    }
    json_decref(runs);
    json_decref(machine);
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    else if (wrong > 0)
        fprintf(stderr, "mds-bench: %u answers are not what was planted\n", wrong);
    return rc != 0 ? 3 : wrong > 0 ? 1 : 0;
}

/* ---- sizes ------------------------------------------------------------------------------------------------ */

static guint64 number_after(const char *text, const char *option)
{
    const char *at = strstr(text, option);
    return at ? g_ascii_strtoull(at + strlen(option), NULL, 10) : 0;
}

/* What its answers say of the vault; no messages: they cannot be read. */
static struct size size_of_vault(const char *vault)
{
    char *whole = g_canonicalize_filename(vault, NULL), *file = g_strconcat(whole, ".answers", NULL), *text = NULL;
    struct size size = {.given = true};
    if (g_file_get_contents(file, &text, NULL, NULL)) {
        size.messages = number_after(text, "--messages ");
        size.mean_bytes = number_after(text, "--mean-size ");
    }
    g_free(text);
    g_free(file);
    g_free(whole);
    return size;
}

/* "N", or "N@BYTES". */
static bool parse_size(const char *word, guint64 mean_bytes, struct size *out)
{
    char **parts = g_strsplit(word, "@", 3);
    const guint n = g_strv_length(parts);
    *out = (struct size){.mean_bytes = mean_bytes};
    const bool good = n >= 1 && n <= 2 &&
                      g_ascii_string_to_unsigned(parts[0], 10, 1, 100000000, &out->messages, NULL) &&
                      (n == 1 || g_ascii_string_to_unsigned(parts[1], 10, MEAN_MIN, MEAN_MAX, &out->mean_bytes, NULL));
    g_strfreev(parts);
    return good;
}

static size_t parse_sizes(const char *text, guint64 mean_bytes, struct size out[SIZES_MAX])
{
    char **words = g_strsplit(text, ",", SIZES_MAX + 1);
    size_t n = g_strv_length(words) <= SIZES_MAX ? g_strv_length(words) : 0;
    for (size_t i = 0; i < n; i++)
        if (!parse_size(words[i], mean_bytes, &out[i]))
            n = 0;
    g_strfreev(words);
    return n;
}

/* The vault's own size alone, or the one of --messages that is its size. NULL, or a complaint. */
static const char *use_vault(const struct options *o, struct size sizes[SIZES_MAX], size_t *n)
{
    const struct size given = size_of_vault(o->vault);
    if (o->which == LIST || given.messages == 0)
        return "--vault is a Maildir made by mds-gen, not for list";
    if (!o->sizes) {
        sizes[0] = given;
        *n = 1;
        return NULL;
    }
    for (size_t i = 0; i < *n; i++)
        if (sizes[i].messages == given.messages && sizes[i].mean_bytes == given.mean_bytes) {
            sizes[i] = given;
            return NULL;
        }
    return "--vault has none of the sizes of --messages";
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
    if (o->row_s < 0 || o->row_s > 3600 || o->budget_s < 0 || o->budget_s > 86400)
        return "--row goes from 0 to 3600, --budget from 0 to 86400";
    if (o->mean_bytes < MEAN_MIN || o->mean_bytes > MEAN_MAX)
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
        {"messages", 0, 0, G_OPTION_ARG_STRING, &o.sizes,
         "of the folder, one run each (100000); @ and a mean size, if not that of --mean-size", "N[@BYTES],..."},
        {"vault", 0, 0, G_OPTION_ARG_FILENAME, &o.vault,
         "in place of a new one, alone or for its size among --messages: a Maildir of one folder by mds-gen, with its "
         "answers beside it",
         "DIR"},
        {"folders", 0, 0, G_OPTION_ARG_INT, &o.folders, "list: how many (10000)", "N"},
        {"mean-size", 0, 0, G_OPTION_ARG_INT, &o.mean_bytes, "of a message (6700)", "BYTES"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &o.repeats, "of each row and side (20)", "N"},
        {"patience", 0, 0, G_OPTION_ARG_INT, &o.patience, "for one answer (20)", "S"},
        {"row", 0, 0, G_OPTION_ARG_INT, &o.row_s, "for one side's repeats of a row (as --patience)", "S"},
        {"budget", 0, 0, G_OPTION_ARG_INT, &o.budget_s,
         "for each size and side but mds; then it is asked only what it is quick at (no end)", "S"},
        {"index-patience", 0, 0, G_OPTION_ARG_INT, &o.index_patience, "for a peer's making of an index (900)", "S"},
        {"sides", 0, 0, G_OPTION_ARG_STRING, &o.sides,
         "beside mds: mds-scan,mds-tls,dovecot,dovecot-fts,cyrus (all; quick: without the last two)", "LIST"},
        {"quick", 0, 0, G_OPTION_ARG_NONE, &o.quick, "small and short: whether it works, and about how fast", NULL},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    struct size sizes[SIZES_MAX];
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
    const char *list = o.sizes ? o.sizes : o.quick ? "1000" : suites[o.which].sizes;
    if (!complaint && (n = parse_sizes(list, (guint64)o.mean_bytes, sizes)) == 0)
        complaint = "--messages takes numbers, separated by commas";
    if (!complaint && o.vault)
        complaint = use_vault(&o, sizes, &n);
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

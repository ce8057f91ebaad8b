/* peers: see peers.h. */
#include "peers.h"

#include "bench_items.h"
#include "bench_measure.h"
#include "floor.h"
#include "machine.h"
#include "mail_tree.h"
#include "side.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPEATS_MAX 50
#define ARGS_MAX    12
#define SLOW_S      20           /* a peer that takes longer is not run again: a tenth more or less says nothing then */
#define WORD        "zqumarotiv" /* planted in a thousandth of all messages */

struct options {
    char *work, *mds, *json, *sides, *mail, *word;
    gint messages, repeats, patience, mean_bytes;
    gboolean cold, quick;
};

struct stage {
    const struct options *o;
    char *dir, *vault;
    struct bench_items items;
    struct side_place place;
};

struct sample {
    double wall_s, cpu_s;
    guint64 peak_bytes, disk_bytes;
};

struct result {
    struct sample samples[REPEATS_MAX];
    int n;
    double search_ms; /* one word, a process from start to end; 0 none */
    gint64 hits;      /* -1 none */
    char *version, *note;
};

struct peer {
    const char *name;
    char *program, *version_option; /* found in PATH; NULL: always there */
    /* Makes the index in the new directory home. A note in *result means that there is none. */
    int (*make)(const struct stage *s, const char *home, struct result *result, struct error *err);
    /* Fills argv (words owned) with a search for o->word in what make left; NULL none. Its lines are counted. */
    void (*search)(const struct stage *s, const char *home, char **argv);
};

/* ---- programs that are run and end ------------------------------------------------------------------------ */

static void add_cost(struct sample *sample, const struct bench_cost *cost)
{
    sample->wall_s += cost->wall_s;
    sample->cpu_s += cost->user_s + cost->system_s;
    sample->peak_bytes = MAX(sample->peak_bytes, cost->peak_bytes);
}

static void keep(struct result *r, struct sample sample)
{
    if (r->n < REPEATS_MAX)
        r->samples[r->n++] = sample;
}

/* Words become argv; owned by the caller: g_strfreev. The first is found in PATH. */
static char **words(const char *first, ...)
{
    GPtrArray *list = g_ptr_array_new();
    va_list more;
    char *found = g_find_program_in_path(first);
    g_ptr_array_add(list, found ? found : g_strdup(first));
    va_start(more, first);
    for (const char *word; (word = va_arg(more, const char *));)
        g_ptr_array_add(list, g_strdup(word));
    va_end(more);
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}

/* Frees argv. */
static int run(char **argv, struct sample *sample, struct error *err)
{
    struct bench_cost cost;
    int rc = bench_run_program(argv, NULL, &cost, err);
    if (rc == 0 && cost.status != 0)
        rc = error_set(err, BASE_ERR_IO, 0, "%s ended with status %d", argv[0], cost.status);
    if (rc == 0)
        add_cost(sample, &cost);
    g_strfreev(argv);
    return rc;
}

static int write_file(const char *file, char *text, struct error *err)
{
    GError *why = NULL;
    const int rc = g_file_set_contents(file, text, -1, &why) ? 0 : error_set(err, BASE_ERR_IO, 0, "%s", why->message);
    g_clear_error(&why);
    g_free(text);
    return rc;
}

static int make_notmuch(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct sample sample = {0};
    char *config = g_build_filename(home, "config", NULL), *option = g_strconcat("--config=", config, NULL);
    int rc = write_file(config,
                        g_strdup_printf("[database]\npath=%s\nmail_root=%s\n[user]\nname=bench\nprimary_email=bench@"
                                        "example.com\n[new]\ntags=\n[maildir]\nsynchronize_flags=false\n",
                                        home, s->vault),
                        err);
    rc = rc ? rc : run(words("notmuch", option, "new", "--quiet", "--no-hooks", NULL), &sample, err);
    sample.disk_bytes = bench_disk_bytes(home);
    if (rc == 0)
        keep(result, sample);
    g_free(option);
    g_free(config);
    return rc;
}

static void search_notmuch(const struct stage *s, const char *home, char **argv)
{
    const char *list[] = {"notmuch", NULL, "search", "--output=files", s->o->word};
    for (size_t i = 0; i < G_N_ELEMENTS(list); i++)
        argv[i] = list[i] ? g_strdup(list[i]) : g_strdup_printf("--config=%s/config", home);
}

static int make_mu(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct sample sample = {0};
    char *option = g_strconcat("--muhome=", home, NULL), *maildir = g_strconcat("--maildir=", s->vault, NULL);
    int rc = run(words("mu", "init", option, maildir, "--quiet", NULL), &sample, err);
    rc = rc ? rc : run(words("mu", "index", option, "--quiet", NULL), &sample, err);
    sample.disk_bytes = bench_disk_bytes(home);
    if (rc == 0)
        keep(result, sample);
    g_free(maildir);
    g_free(option);
    return rc;
}

static void search_mu(const struct stage *s, const char *home, char **argv)
{
    const char *list[] = {"mu", "find", NULL, "--fields=l", s->o->word};
    for (size_t i = 0; i < G_N_ELEMENTS(list); i++)
        argv[i] = list[i] ? g_strdup(list[i]) : g_strconcat("--muhome=", home, NULL);
}

static int make_mairix(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct sample sample = {0};
    char *config = g_build_filename(home, "rc", NULL);
    int rc = write_file(config,
                        g_strdup_printf("base=%s\nmaildir=vault\nmfolder=%s/found\nmformat=maildir\ndatabase=%s/db\n",
                                        s->dir, home, home),
                        err);
    rc = rc ? rc : run(words("mairix", "-f", config, NULL), &sample, err);
    sample.disk_bytes = bench_disk_bytes(home);
    if (rc == 0)
        keep(result, sample);
    g_free(config);
    return rc;
}

static void search_mairix(const struct stage *s, const char *home, char **argv)
{
    argv[0] = g_strdup("mairix");
    argv[1] = g_strdup("-f");
    argv[2] = g_build_filename(home, "rc", NULL);
    argv[3] = g_strdup("-r");
    argv[4] = g_strconcat("b:", s->o->word, NULL);
}

/* ---- servers' builds, floors ------------------------------------------------------------------------------ */

static void keep_side(struct result *r, struct side *side)
{
    if (side->note)
        r->note = g_strdup(side->note);
    else
        keep(r, (struct sample){side->prepared_s, side->prepared_cpu_s, side->prepared_peak_bytes, side->disk_bytes});
}

static int make_mds(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct side side = {0};
    char *store = g_build_filename(home, "store", NULL);
    const int rc = side_mds_build(&s->place, store, &side, err);
    if (rc == 0)
        keep_side(result, &side);
    side_stop(&side);
    g_free(store);
    return rc;
}

static int make_mds_alone(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct stage alone = *s;
    alone.place.jobs = 1;
    return make_mds(&alone, home, result, err);
}

static int make_mds_text(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct side side = {0};
    char *store = g_build_filename(home, "store", NULL);
    int rc = side_mds_build(&s->place, store, &side, err);
    rc = rc ? rc : side_mds_index(&s->place, store, &side, err);
    if (rc == 0)
        keep_side(result, &side);
    side_stop(&side);
    g_free(store);
    return rc;
}

static void search_mds(const struct stage *s, const char *home, char **argv)
{
    const char *list[] = {s->o->mds, "search", "--store", NULL, "--archive", "bench", "INBOX", "BODY", s->o->word};
    for (size_t i = 0; i < G_N_ELEMENTS(list); i++)
        argv[i] = list[i] ? g_strdup(list[i]) : g_build_filename(home, "store", NULL);
}

static int make_dovecot(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct side_place place = s->place;
    struct side side = {0};
    place.work = home;
    const int rc = side_dovecot_start(&place, SIDE_PLAIN, &side, err);
    if (rc == 0)
        keep_side(result, &side);
    side_stop(&side);
    return rc;
}

static int read_everything(void *arg)
{
    const struct bench_items *items = arg;
    static char block[1u << 20];
    int root = open(items->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed = root < 0;
    for (size_t i = 0; i < items->count && !failed; i++) {
        const int fd = openat(root, bench_items_name(items, i), O_RDONLY | O_CLOEXEC);
        failed = fd < 0;
        for (ssize_t got = 1; !failed && got > 0; failed = got < 0)
            got = read(fd, block, sizeof block);
        if (fd >= 0)
            close(fd);
    }
    return failed;
}

static int make_reading(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    struct bench_cost cost;
    struct sample sample = {0};
    (void)home;
    int rc = bench_run_function(read_everything, (void *)(uintptr_t)&s->items, &cost, err);
    if (rc == 0 && cost.status != 0)
        rc = error_set(err, BASE_ERR_IO, 0, "cannot read all of %s", s->vault);
    add_cost(&sample, &cost);
    if (rc == 0)
        keep(result, sample);
    return rc;
}

static int make_gmime(const struct stage *s, const char *home, struct result *result, struct error *err)
{
    const struct floor_run floor = {&s->items, 2, true};
    struct bench_cost cost;
    struct sample sample = {0};
    (void)home;
    const int rc = floor_measure(&floor, &cost, err);
    add_cost(&sample, &cost);
    if (rc == 0)
        keep(result, sample);
    return rc;
}

static const struct peer peers[] = {
    {"mds", NULL, NULL, make_mds, search_mds},
    {"mds-1", NULL, NULL, make_mds_alone, search_mds},
    {"mds-text", NULL, NULL, make_mds_text, search_mds},
    {"dovecot", NULL, NULL, make_dovecot, NULL},
    {"notmuch", (char[]){"notmuch"}, (char[]){"--version"}, make_notmuch, search_notmuch},
    {"mu", (char[]){"mu"}, (char[]){"--version"}, make_mu, search_mu},
    {"mairix", (char[]){"mairix"}, (char[]){"--version"}, make_mairix, search_mairix},
    {"(reading)", NULL, NULL, make_reading, NULL},
    {"(GMime alone)", NULL, NULL, make_gmime, NULL},
};

/* Which are held against each other: those that do the same work. */
static const struct {
    const char *of, *than;
} ratios[] = {
    {"mds", "dovecot"}, {"mds-1", "dovecot"}, {"mds-text", "mu"}, {"mds-text", "notmuch"}, {"mds", "(reading)"},
};

/* ---- the run ---------------------------------------------------------------------------------------------- */

/* Pages of the vault leave the cache: no privilege is needed, and no other file's pages go. */
static void forget_pages(const struct stage *s)
{
    const int root = open(s->items.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; root >= 0 && i < s->items.count; i++) {
        const int fd = openat(root, bench_items_name(&s->items, i), O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
    }
    if (root >= 0)
        close(root);
}

/* A line each, or a word each after "* SEARCH". */
static gint64 count_hits(const char *out)
{
    const bool as_words = g_str_has_prefix(out, "* SEARCH");
    gint64 n = 0;
    for (const char *at = as_words ? out + strlen("* SEARCH") : out; (at = strchr(at, as_words ? ' ' : '\n')); at++)
        n++;
    return n;
}

/* Best of three. */
static void measure_search(const struct stage *s, const struct peer *peer, const char *home, struct result *r)
{
    char *argv[ARGS_MAX] = {NULL}, *out = NULL;
    peer->search(s, home, argv);
    for (int i = 0; i < 3; i++) {
        gint status = 0;
        const gint64 began = g_get_monotonic_time();
        const bool ran = g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
                                      &out, NULL, &status, NULL);
        const double ms = (double)(g_get_monotonic_time() - began) / 1000;
        r->hits = ran ? count_hits(out) : 0;
        g_clear_pointer(&out, g_free);
        r->search_ms = r->search_ms > 0 ? MIN(r->search_ms, ms) : ms;
    }
    for (size_t i = 0; i < ARGS_MAX; i++)
        g_free(argv[i]);
}

static bool wanted(const struct options *o, const char *name)
{
    char **names = o->sides ? g_strsplit(o->sides, ",", -1) : NULL;
    const bool is =
        !names || strcmp(name, "mds") == 0 || name[0] == '(' || g_strv_contains((const gchar *const *)names, name);
    g_strfreev(names);
    return is;
}

static bool is_done(const struct options *o, const struct result *r)
{
    return r->n >= o->repeats || (r->n > 0 && r->samples[0].wall_s > SLOW_S);
}

static int measure_peer(const struct stage *s, const struct peer *peer, struct result *r, struct error *err)
{
    char *home = g_build_filename(s->dir, "home", NULL);
    int rc = g_mkdir(home, 0755) == 0 ? 0 : error_errno(err, "cannot make %s", home);
    sync(); /* what others wrote is not this one's */
    if (s->o->cold)
        forget_pages(s);
    rc = rc ? rc : peer->make(s, home, r, err);
    if (rc == 0 && !r->note && peer->search && is_done(s->o, r))
        measure_search(s, peer, home, r);
    bench_remove_tree(home);
    g_free(home);
    return rc;
}

/* A peer that fails has a note and is not run again; this project and floors must not fail. */
static int measure(const struct stage *s, struct result *results, struct error *err)
{
    const unsigned n = G_N_ELEMENTS(peers);
    int rc = read_everything((void *)(uintptr_t)&s->items) == 0
                 ? 0
                 : error_set(err, BASE_ERR_IO, 0, "cannot read %s", s->vault);
    for (int i = 0; i < s->o->repeats; i++)
        for (unsigned k = 0; k < n && rc == 0; k++) {
            const unsigned p = ((unsigned)i + k) % n;
            struct error why = {0};
            if (results[p].note || is_done(s->o, &results[p]))
                continue;
            const int got = measure_peer(s, &peers[p], &results[p], &why);
            if (got != 0 && !peers[p].program)
                rc = error_set(err, got, 0, "%s: %s", peers[p].name, why.text);
            else if (got != 0)
                results[p].note = g_strdup(why.text);
        }
    return rc;
}

static void look_for_programs(const struct options *o, struct result *results)
{
    for (unsigned p = 0; p < G_N_ELEMENTS(peers); p++) {
        results[p].hits = -1;
        if (!wanted(o, peers[p].name))
            results[p].note = g_strdup("not asked for");
        else if (peers[p].program && !(results[p].version = machine_version(peers[p].program, peers[p].version_option)))
            results[p].note = g_strdup_printf("not installed: %s", peers[p].program);
    }
}

static int compare_samples(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return (x->wall_s > y->wall_s) - (x->wall_s < y->wall_s);
}

static const struct sample *median_of(const struct result *results, const char *name)
{
    for (unsigned p = 0; p < G_N_ELEMENTS(peers); p++)
        if (strcmp(peers[p].name, name) == 0)
            return results[p].n > 0 ? &results[p].samples[results[p].n / 2] : NULL;
    return NULL;
}

/* Of sorted samples: how many times longer the other takes, and how many times more CPU. */
static json_t *show_ratios(const struct result *results)
{
    json_t *out = json_array();
    for (size_t i = 0; i < G_N_ELEMENTS(ratios); i++) {
        const struct sample *of = median_of(results, ratios[i].of), *than = median_of(results, ratios[i].than);
        if (!of || !than || of->wall_s <= 0 || of->cpu_s <= 0)
            continue;
        const double wall = than->wall_s / of->wall_s, cpu = than->cpu_s / of->cpu_s;
        printf("%s than %s: %.2f x in wall time, %.2f x per CPU second\n", ratios[i].of, ratios[i].than, wall, cpu);
        json_array_append_new(
            out, json_pack("{s:s,s:s,s:f,s:f}", "of", ratios[i].of, "than", ratios[i].than, "wall", wall, "cpu", cpu));
    }
    return out;
}

static json_t *show(const struct stage *s, struct result *results)
{
    json_t *sides = json_array();
    const double items = (double)s->items.count;
    double first = 0;
    printf("\n%zu messages, %.1f MB, %s\n%-14s %10s %9s %9s %9s %9s %10s %11s %9s %9s %6s\n", s->items.count,
           (double)s->items.bytes / 1e6, s->o->cold ? "cold" : "warm", "", "items/s", "wall s", "min", "max", "CPU s",
           "peak MiB", "bytes/item", "of mds", "search ms", "hits");
    for (unsigned p = 0; p < G_N_ELEMENTS(peers); p++) {
        struct result *r = &results[p];
        json_t *runs = json_array();
        qsort(r->samples, (size_t)r->n, sizeof *r->samples, compare_samples);
        for (int i = 0; i < r->n; i++)
            json_array_append_new(runs,
                                  json_pack("{s:f,s:f,s:I,s:I}", "wall_s", r->samples[i].wall_s, "cpu_s",
                                            r->samples[i].cpu_s, "peak_bytes", (json_int_t)r->samples[i].peak_bytes,
                                            "disk_bytes", (json_int_t)r->samples[i].disk_bytes));
        json_t *side = json_pack("{s:s,s:s?,s:s?,s:o}", "name", peers[p].name, "version", r->version, "note", r->note,
                                 "builds", runs);
        if (r->n > 0) {
            const struct sample m = r->samples[r->n / 2];
            first = p == 0 ? m.wall_s : first;
            printf("%-14s %10.0f %9.2f %9.2f %9.2f %9.2f %10.1f %11.0f %9.2f ", peers[p].name, items / m.wall_s,
                   m.wall_s, r->samples[0].wall_s, r->samples[r->n - 1].wall_s, m.cpu_s, (double)m.peak_bytes / 1048576,
                   (double)m.disk_bytes / items, first > 0 ? m.wall_s / first : 0);
            if (r->hits >= 0)
                printf("%9.1f %6" G_GINT64_FORMAT, r->search_ms, r->hits);
            putchar('\n');
            json_object_set_new(side, "items_per_s", json_real(items / m.wall_s));
        } else {
            printf("%-14s (%s)\n", peers[p].name, r->note ? r->note : "no result");
        }
        if (r->hits >= 0) {
            json_object_set_new(side, "search_ms", json_real(r->search_ms));
            json_object_set_new(side, "hits", json_integer(r->hits));
        }
        json_array_append_new(sides, side);
    }
    return json_pack("{s:s,s:I,s:I,s:o,s:o}", "mail", s->o->mail ? "real" : "generated", "items",
                     (json_int_t)s->items.count, "bytes", (json_int_t)s->items.bytes, "sides", sides, "ratios",
                     show_ratios(results));
}

static int generate(const struct stage *s, struct error *err)
{
    char *gen = bench_sibling("mds-gen"), *messages = g_strdup_printf("%d", s->o->messages),
         *mean = g_strdup_printf("%d", s->o->mean_bytes);
    struct sample ignored = {0};
    const int rc =
        run(words(gen, "--quiet", "--out", s->vault, "--messages", messages, "--mean-size", mean, NULL), &ignored, err);
    g_free(mean);
    g_free(messages);
    g_free(gen);
    return rc;
}

static int run_all(const struct options *o)
{
    struct stage s = {.o = o};
    struct result *results = g_new0(struct result, G_N_ELEMENTS(peers));
    struct error err = {0};
    char *work = g_canonicalize_filename(o->work, NULL);
    s.dir = g_build_filename(work, "mds-bench-peers.XXXXXX", NULL);
    json_t *machine = machine_json(o->work);
    int rc = g_mkdtemp(s.dir) ? 0 : error_errno(&err, "cannot make %s", s.dir);
    s.vault = g_build_filename(s.dir, "vault", NULL);
    s.place = (struct side_place){.work = s.dir, .vault = s.vault, .mds = o->mds, .patience_s = o->patience};
    machine_print(machine);
    look_for_programs(o, results);
    if (rc == 0) {
        (void)chmod(s.dir, 0755);
        rc = o->mail ? mail_tree_make_maildir(o->mail, (size_t)o->messages, s.vault, &err) : generate(&s, &err);
        rc = rc ? rc : bench_items_load(s.vault, &s.items, &err);
        rc = rc ? rc : measure(&s, results, &err);
    }
    if (rc == 0) {
        json_t *root = json_pack("{s:s,s:b,s:b,s:i,s:O,s:[o]}", "command", "peers", "quick", o->quick, "cold", o->cold,
                                 "repeats", o->repeats, "machine", machine, "runs", show(&s, results));
        if (o->json && json_dump_file(root, o->json, JSON_INDENT(1)) != 0)
            rc = error_errno(&err, "cannot write %s", o->json);
        json_decref(root);
    }
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    bench_items_release(&s.items);
    bench_remove_tree(s.dir);
    for (unsigned p = 0; p < G_N_ELEMENTS(peers); p++) {
        g_free(results[p].version);
        g_free(results[p].note);
    }
    json_decref(machine);
    g_free(results);
    g_free(s.vault);
    g_free(s.dir);
    g_free(work);
    return rc == 0 ? 0 : 3;
}

bool peers_main(int argc, char **argv, int *status_out)
{
    struct options o = {.patience = 900, .mean_bytes = 6700};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where the vault and the indexes go (.)", "DIR"},
        {"messages", 0, 0, G_OPTION_ARG_INT, &o.messages, "of the vault (20000)", "N"},
        {"mail", 0, 0, G_OPTION_ARG_FILENAME, &o.mail,
         "a tree of files of real mail, in place of generated mail (then --messages: at most)", "DIR"},
        {"word", 0, 0, G_OPTION_ARG_STRING, &o.word, "to search for (one that mds-gen plants)", "WORD"},
        {"mean-size", 0, 0, G_OPTION_ARG_INT, &o.mean_bytes, "of a message (6700)", "BYTES"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &o.repeats, "of each side that takes less than 20 s (3)", "N"},
        {"cold", 0, 0, G_OPTION_ARG_NONE, &o.cold, "the vault is not in the page cache when a side begins", NULL},
        {"sides", 0, 0, G_OPTION_ARG_STRING, &o.sides, "beside mds: mds-1,mds-text,dovecot,notmuch,mu,mairix (all)",
         "LIST"},
        {"quick", 0, 0, G_OPTION_ARG_NONE, &o.quick, "small and short: whether it works, and about how fast", NULL},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    GError *gerror = NULL;
    if (argc < 2 || strcmp(argv[1], "peers") != 0)
        return false;
    GOptionContext *context = g_option_context_new("peers - making an index, beside other programs");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc == 2;
    g_option_context_free(context);
    o.messages = o.messages ? o.messages : o.quick ? 500 : o.mail ? 10000000 : 20000;
    o.repeats = o.repeats ? o.repeats : o.quick ? 1 : 3;
    if (!parsed || o.messages < 1 || o.messages > 10000000 || o.repeats < 1 || o.repeats > REPEATS_MAX ||
        o.mean_bytes < 2500 || o.mean_bytes > 1 << 20) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "a number is out of bounds");
        *status_out = 2;
    } else {
        o.work = o.work ? o.work : g_strdup(".");
        o.mds = o.mds ? o.mds : bench_sibling("mds");
        o.word = o.word ? o.word : g_strdup(WORD);
        *status_out = run_all(&o);
    }
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.mds);
    g_free(o.json);
    g_free(o.sides);
    g_free(o.mail);
    g_free(o.word);
    return true;
}

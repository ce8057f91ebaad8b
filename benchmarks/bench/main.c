/*
 * mds-bench: floors and builds of the same items, measured alternately in one run, medians printed.
 *
 *     mds-bench build --vault DIR [--items N,N...] [--workers 2] [--repeats 3] [--json FILE]
 *     mds-bench floor --vault DIR ...                 the floor alone
 *     mds-bench rebuild-unchanged --vault DIR ...     a build, then builds of the unchanged vault
 *     mds-bench growth ...                            builds of mboxes, small and large: growth.h
 *     mds-bench store|append ...                      a living archive: live.h
 *     mds-bench archives ...                          thousands of archives: archives.h
 *     mds-bench idle|connect ...                      connections of a server: connections.h
 *     mds-bench keys ...                              SEARCH and SORT, key by key, without mail: search.h
 *     mds-bench search|fetch|select|list ...          answers to clients, beside peers: suites.h
 *     mds-bench peers ...                             making an index, beside peers: peers.h
 *     mds-bench rates ...                             many sessions at once, beside peers: rates.h
 *     mds-bench clients ...                           simulated people: clients.h
 *     mds-bench all|report ...                        every suite; a page of their numbers: all.h, report.h
 *
 * A vault of fewer items is made of hard links to the oldest ones, in a directory beside it; stores go to --work.
 */
#include "all.h"
#include "archives.h"
#include "bench_build.h"
#include "bench_items.h"
#include "clients.h"
#include "connections.h"
#include "floor.h"
#include "growth.h"
#include "live.h"
#include "machine.h"
#include "peers.h"
#include "rates.h"
#include "report.h"
#include "search.h"
#include "server.h"
#include "suites.h"

#include <glib.h>
#include <jansson.h>
#include <unistd.h>

#define REPEATS_MAX 99
#define SIZES_MAX   16
#define MIB         1048576.0

enum command { CMD_FLOOR, CMD_BUILD, CMD_UNCHANGED };

struct options {
    enum command command;
    char *vault, *work, *mds, *json, *sizes;
    gint workers, repeats;
    gboolean keep;
};

/* One side's runs. */
struct series {
    struct bench_cost runs[REPEATS_MAX];
    int n;
};

struct measured {
    size_t items;
    uint64_t bytes;
    struct series threads, processes, build, unchanged;
    uint64_t store_bytes;
};

/* Medians of each quantity by itself; the peak is the largest of all runs. */
static struct bench_cost median(const struct series *s)
{
    struct bench_cost out = {0};
    double wall[REPEATS_MAX], user[REPEATS_MAX], sys[REPEATS_MAX];
    if (s->n == 0)
        return out;
    for (int i = 0; i < s->n; i++) {
        wall[i] = s->runs[i].wall_s;
        user[i] = s->runs[i].user_s;
        sys[i] = s->runs[i].system_s;
        out.peak_bytes = MAX(out.peak_bytes, s->runs[i].peak_bytes);
    }
    qsort(wall, (size_t)s->n, sizeof *wall, bench_compare_doubles);
    qsort(user, (size_t)s->n, sizeof *user, bench_compare_doubles);
    qsort(sys, (size_t)s->n, sizeof *sys, bench_compare_doubles);
    out.wall_s = wall[s->n / 2];
    out.user_s = user[s->n / 2];
    out.system_s = sys[s->n / 2];
    return out;
}

static void keep_run(struct series *s, struct bench_cost cost)
{
    if (s->n < REPEATS_MAX)
        s->runs[s->n++] = cost;
}

static int run_floor(const struct options *o, const struct bench_items *items, bool processes, struct series *into,
                     struct error *err)
{
    struct floor_run run = {items, (unsigned)o->workers, processes};
    struct bench_cost cost;
    int rc = floor_measure(&run, &cost, err);
    if (rc == 0 && into)
        keep_run(into, cost);
    return rc;
}

static int run_build(const struct options *o, const struct bench_items *items, const char *store, struct series *into,
                     struct error *err)
{
    char *from = g_strdup_printf("%s:%s", items->has_folders ? "maildir++" : "maildir", items->root);
    struct bench_cost cost;
    const int rc = bench_build(o->mds, store, from, o->workers, &cost, err);
    if (rc == 0)
        keep_run(into, cost);
    g_free(from);
    return rc;
}

static int check_count(const struct options *o, const struct bench_items *items, const char *store, struct error *err)
{
    const gint64 n = bench_stored_messages(o->mds, store);
    if (n < 0)
        fputs("mds-bench: mds stat --json gives no \"messages\": the number of items built is not checked\n", stderr);
    else if (n != (gint64)items->count)
        return error_set(err, BASE_ERR_CORRUPT, 0, "the store holds %" G_GINT64_FORMAT " messages, the vault %zu", n,
                         items->count);
    return 0;
}

/* One round: floor with threads, floor with processes, build; each round begins with another of them. */
static int run_round(const struct options *o, const struct bench_items *items, const char *store, int round,
                     struct measured *m, struct error *err)
{
    int rc = 0;
    for (int k = 0; rc == 0 && k < 3; k++) {
        switch ((round + k) % 3) {
        case 0: rc = run_floor(o, items, false, &m->threads, err); break;
        case 1: rc = run_floor(o, items, true, &m->processes, err); break;
        default:
            if (o->command != CMD_BUILD)
                break;
            bench_remove_tree(store);
            sync(); /* the last store's pages are not this build's */
            rc = run_build(o, items, store, &m->build, err);
            m->store_bytes = bench_disk_bytes(store);
        }
    }
    return rc;
}

static int measure_items(const struct options *o, const struct bench_items *items, struct measured *m,
                         struct error *err)
{
    char *store = g_build_filename(o->work, "store", NULL);
    m->items = items->count;
    m->bytes = items->bytes;
    int rc = run_floor(o, items, true, NULL, err); /* warms the page cache, not counted */
    if (o->command == CMD_UNCHANGED) {
        bench_remove_tree(store);
        rc = rc ? rc : run_build(o, items, store, &m->build, err);
        m->store_bytes = bench_disk_bytes(store);
        for (int k = 0; rc == 0 && k < o->repeats; k++)
            rc = run_build(o, items, store, &m->unchanged, err);
    } else {
        for (int k = 0; rc == 0 && k < o->repeats; k++)
            rc = run_round(o, items, store, k, m, err);
    }
    if (rc == 0 && o->command != CMD_FLOOR)
        rc = check_count(o, items, store, err);
    if (!o->keep)
        bench_remove_tree(store);
    g_free(store);
    return rc;
}

static char *make_dir(const char *parent, struct error *err)
{
    char *dir = g_build_filename(parent, "mds-bench-XXXXXX", NULL);
    if (g_mkdtemp(dir))
        return dir;
    error_errno(err, "cannot make %s", dir);
    g_free(dir);
    return NULL;
}

/* The n oldest items of all, by hard links beside the vault, as a vault of their own; n 0 or all: the vault itself. */
static int measure_size(const struct options *o, const struct bench_items *all, size_t n, struct measured *m,
                        struct error *err)
{
    if (n == 0 || n >= all->count)
        return measure_items(o, all, m, err);
    char *beside = g_path_get_dirname(o->vault), *dir = make_dir(beside, err);
    struct bench_items part = {0};
    g_free(beside);
    int rc = dir ? bench_items_link(all, n, dir, err) : err->code;
    rc = rc ? rc : bench_items_load(dir, &part, err);
    rc = rc ? rc : measure_items(o, &part, m, err);
    bench_items_release(&part);
    if (dir)
        bench_remove_tree(dir);
    g_free(dir);
    return rc;
}

static double rate(const struct measured *m, const struct series *s)
{
    struct bench_cost c = median(s);
    return c.wall_s > 0 ? (double)m->items / c.wall_s : 0;
}

static double floor_rate(const struct measured *m)
{
    return MAX(rate(m, &m->threads), rate(m, &m->processes));
}

static void print_head(const struct options *o, size_t items)
{
    json_t *machine = machine_json(o->work);
    machine_print(machine);
    json_decref(machine);
    printf("vault: %s, %zu items; workers %d, %d repeats, medians\n\n", o->vault, items, o->workers, o->repeats);
}

static void print_row(const struct options *o, const struct measured *m)
{
    printf("%zu items, %.1f MB, mean %.0f bytes\n", m->items, (double)m->bytes / 1e6,
           (double)m->bytes / (double)m->items);
    const struct {
        const char *name;
        const struct series *series;
    } sides[] = {{"floor, threads", &m->threads},
                 {"floor, processes", &m->processes},
                 {"build", &m->build},
                 {"build, unchanged", &m->unchanged}};
    printf("  %-18s %10s %10s %9s %9s %9s %9s %10s\n", "", "items/s", "MB/s", "wall s", "min s", "max s", "CPU s",
           "peak MiB");
    for (size_t k = 0; k < G_N_ELEMENTS(sides); k++) {
        const struct series *s = sides[k].series;
        struct bench_cost c = median(s);
        double low = 1e30, high = 0;
        if (s->n == 0)
            continue;
        for (int i = 0; i < s->n; i++) {
            low = MIN(low, s->runs[i].wall_s);
            high = MAX(high, s->runs[i].wall_s);
        }
        printf("  %-18s %10.0f %10.1f %9.2f %9.2f %9.2f %9.2f %10.1f\n", sides[k].name, (double)m->items / c.wall_s,
               (double)m->bytes / 1e6 / c.wall_s, c.wall_s, low, high, c.user_s + c.system_s,
               (double)c.peak_bytes / MIB);
    }
    if (o->command == CMD_BUILD)
        printf("  ratio build / floor  %.3f\n", rate(m, &m->build) / floor_rate(m));
    if (m->store_bytes > 0)
        printf("  store                %.0f bytes an item (%.1f MB on disk)\n",
               (double)m->store_bytes / (double)m->items, (double)m->store_bytes / 1e6);
    putchar('\n');
    fflush(stdout);
}

static json_t *series_json(const struct series *s)
{
    json_t *runs = json_array();
    for (int i = 0; i < s->n; i++)
        json_array_append_new(runs, json_pack("{s:f,s:f,s:f,s:I,s:i}", "wall_s", s->runs[i].wall_s, "user_s",
                                              s->runs[i].user_s, "system_s", s->runs[i].system_s, "peak_bytes",
                                              (json_int_t)s->runs[i].peak_bytes, "samples", s->runs[i].samples));
    return runs;
}

static int write_json(const struct options *o, const struct measured *rows, size_t n, struct error *err)
{
    static const char *const names[] = {"floor", "build", "rebuild-unchanged"};
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct measured *m = &rows[i];
        json_t *row = json_pack("{s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "items", (json_int_t)m->items, "bytes",
                                (json_int_t)m->bytes, "store_bytes", (json_int_t)m->store_bytes, "floor_threads",
                                series_json(&m->threads), "floor_processes", series_json(&m->processes), "build",
                                series_json(&m->build), "unchanged", series_json(&m->unchanged));
        if (m->threads.n > 0)
            json_object_set_new(row, "floor_items_per_s", json_real(floor_rate(m)));
        if (m->build.n > 0)
            json_object_set_new(row, "build_items_per_s", json_real(rate(m, &m->build)));
        if (m->threads.n > 0 && m->build.n > 0)
            json_object_set_new(row, "ratio", json_real(rate(m, &m->build) / floor_rate(m)));
        json_array_append_new(list, row);
    }
    json_t *root = json_pack("{s:s,s:i,s:i,s:o,s:o}", "command", names[o->command], "workers", o->workers, "repeats",
                             o->repeats, "machine", machine_json(o->work), "rows", list);
    int rc = json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

static size_t parse_sizes(const char *text, size_t out[SIZES_MAX])
{
    size_t n = 0;
    char **words = g_strsplit(text ? text : "0", ",", SIZES_MAX);
    for (char **w = words; *w; w++) {
        guint64 value;
        if (!g_ascii_string_to_unsigned(*w, 10, 0, 100000000, &value, NULL)) {
            n = 0;
            break;
        }
        out[n++] = (size_t)value;
    }
    g_strfreev(words);
    return n;
}

static void print_growth(const struct measured *rows, size_t n)
{
    if (n < 2)
        return;
    printf("growth\n  %10s %12s %12s %10s %12s\n", "items", "build/s", "of first", "ratio", "bytes/item");
    for (size_t i = 0; i < n; i++)
        printf("  %10zu %12.0f %12.3f %10.3f %12.0f\n", rows[i].items, rate(&rows[i], &rows[i].build),
               rate(&rows[i], &rows[i].build) / rate(&rows[0], &rows[0].build),
               rate(&rows[i], &rows[i].build) / floor_rate(&rows[i]),
               (double)rows[i].store_bytes / (double)rows[i].items);
}

static int run(const struct options *o, const size_t *sizes, size_t n, struct error *err)
{
    struct bench_items items = {0};
    struct measured *rows = g_new0(struct measured, SIZES_MAX);
    int rc = bench_items_load(o->vault, &items, err);
    if (rc == 0)
        print_head(o, items.count);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = measure_size(o, &items, sizes[i], &rows[i], err);
        if (rc == 0)
            print_row(o, &rows[i]);
    }
    if (rc == 0 && o->command == CMD_BUILD)
        print_growth(rows, n);
    if (rc == 0 && o->json)
        rc = write_json(o, rows, n, err);
    bench_items_release(&items);
    g_free(rows);
    return rc;
}

static bool parse_command(const char *word, enum command *out)
{
    static const char *const names[] = {"floor", "build", "rebuild-unchanged"};
    for (size_t k = 0; k < G_N_ELEMENTS(names); k++)
        if (strcmp(word, names[k]) == 0) {
            *out = (enum command)k;
            return true;
        }
    return false;
}

int main(int argc, char **argv)
{
    struct options o = {.workers = 2, .repeats = 3};
    static bool (*const others[])(int argc, char **argv, int *status_out) = {
        live_main,  archives_main, connections_main, search_main, suites_main, peers_main,
        rates_main, clients_main,  all_main,         report_main, growth_main};
    int other_status = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
        if (others[i](argc, argv, &other_status))
            return other_status;
    GOptionEntry entries[] = {
        {"vault", 0, 0, G_OPTION_ARG_FILENAME, &o.vault, "a Maildir, with or without dot folders", "DIR"},
        {"items", 0, 0, G_OPTION_ARG_STRING, &o.sizes, "only the N oldest; several sizes make a table of growth",
         "N,N..."},
        {"workers", 0, 0, G_OPTION_ARG_INT, &o.workers, "of the floor and of the build (2)", "N"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &o.repeats, "runs of each side (3)", "N"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write all runs there", "FILE"},
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where stores go (beside the vault)", "DIR"},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"keep", 0, 0, G_OPTION_ARG_NONE, &o.keep, "keep the last store, in the work directory", NULL},
        {0},
    };
    GOptionContext *context = g_option_context_new(
        "SUITE - measure one suite: floor, build, rebuild-unchanged, growth, peers, keys, search, fetch, select, list, "
        "store, "
        "append, archives, connect, idle, rates, clients; all of them, or report (each has its --help)");
    GError *gerror = NULL;
    size_t sizes[SIZES_MAX], n = 0;
    int status = 0;
    struct error err = {0};
    g_option_context_add_main_entries(context, entries, NULL);
    gboolean parsed = g_option_context_parse(context, &argc, &argv, &gerror);
    g_option_context_free(context);
    const char *complaint =
        !parsed ? gerror->message
        : argc != 2 || !parse_command(argv[1], &o.command)
            ? "name a suite: floor, build, rebuild-unchanged, growth, peers, keys, search, fetch, select, list, "
              "store, append, archives, connect, idle, rates, clients, all, report"
        : !o.vault                                 ? "--vault DIR is missing"
        : o.repeats < 1 || o.repeats > REPEATS_MAX ? "--repeats goes from 1 to 99"
        : o.workers < 1 || o.workers > 64          ? "--workers goes from 1 to 64"
        : (n = parse_sizes(o.sizes, sizes)) == 0   ? "--items takes numbers, separated by commas"
                                                   : NULL;
    if (complaint) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", complaint);
        status = 2;
        goto out;
    }
    if (!o.mds)
        o.mds = bench_sibling("mds");
    char *parent = o.work ? g_strdup(o.work) : g_path_get_dirname(o.vault), *work = make_dir(parent, &err);
    g_free(parent);
    g_free(o.work);
    o.work = work;
    if (!work || run(&o, sizes, n, &err) != 0) {
        fprintf(stderr, "mds-bench: %s\n", err.text);
        status = 3;
    }
    if (work && o.keep)
        printf("kept: %s\n", work);
    else if (work)
        bench_remove_tree(work);
out:
    g_clear_error(&gerror);
    g_free(o.vault);
    g_free(o.work);
    g_free(o.mds);
    g_free(o.json);
    g_free(o.sizes);
    return status;
}

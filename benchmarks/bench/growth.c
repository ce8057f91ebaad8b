/* growth: see growth.h. */
#include "growth.h"

#include "bench_build.h"
#include "machine.h"
#include "side.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZES_MAX   8
#define REPEATS_MAX 20
#define MIB         1048576.0

struct options {
    char *work, *vaults, *mds, *json, *sizes;
    gint mean_bytes, repeats, jobs;
};

struct row {
    guint64 messages, bytes, store_bytes, peak_bytes;
    double wall_s[REPEATS_MAX], cpu_s[REPEATS_MAX], reading_s[REPEATS_MAX];
};

static int generate(const struct options *o, guint64 messages, char *vault, struct error *err)
{
    char *gen = bench_sibling("mds-gen"), *count = g_strdup_printf("%" G_GUINT64_FORMAT, messages),
         *mean = g_strdup_printf("%d", o->mean_bytes);
    char *argv[] = {gen,
                    (char[]){"--quiet"},
                    (char[]){"--kind"},
                    (char[]){"mbox"},
                    (char[]){"--out"},
                    vault,
                    (char[]){"--messages"},
                    count,
                    (char[]){"--mean-size"},
                    mean,
                    NULL};
    const int rc = bench_run_beside(argv, err);
    g_free(mean);
    g_free(count);
    g_free(gen);
    return rc;
}

static int read_file(void *arg)
{
    static char block[1u << 20];
    const int fd = open(arg, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0)
        got = read(fd, block, sizeof block);
    return got != 0;
}

/* One reading, one build, and the store's own word for how many messages it holds. */
static int measure_once(const struct options *o, char *mbox, char *store, struct row *row, int at, struct error *err)
{
    char *from = g_strconcat("mbox:", mbox, NULL);
    struct bench_cost reading, build;
    bench_remove_tree(store);
    sync(); /* the last store's pages are not this build's */
    int rc = bench_run_function(read_file, mbox, &reading, err);
    rc = rc ? rc : bench_build(o->mds, store, from, o->jobs, &build, err);
    if (rc == 0 && reading.status != 0)
        rc = error_set(err, BASE_ERR_IO, 0, "reading %s ended with status %d", mbox, reading.status);
    if (rc == 0) {
        row->reading_s[at] = reading.wall_s;
        row->wall_s[at] = build.wall_s;
        row->cpu_s[at] = build.user_s + build.system_s;
        row->peak_bytes = MAX(row->peak_bytes, build.peak_bytes);
        row->store_bytes = bench_disk_bytes(store);
    }
    g_free(from);
    return rc;
}

static int check_count(const struct options *o, const char *store, guint64 messages, struct error *err)
{
    const gint64 n = bench_stored_messages(o->mds, store);
    if (n == (gint64)messages)
        return 0;
    return error_set(err, BASE_ERR_CORRUPT, 0,
                     "the store holds %" G_GINT64_FORMAT " messages, the vault %" G_GUINT64_FORMAT, n, messages);
}

static int measure(const struct options *o, const char *dir, struct row *row, struct error *err)
{
    char *name = g_strdup_printf("mbox-%" G_GUINT64_FORMAT "-%d", row->messages, o->mean_bytes),
         *vault = g_build_filename(o->vaults ? o->vaults : dir, name, NULL),
         *mbox = g_build_filename(vault, "INBOX", NULL), *store = g_build_filename(dir, "store", NULL);
    struct stat st;
    int rc = stat(mbox, &st) == 0 ? 0 : generate(o, row->messages, vault, err);
    if (rc == 0 && stat(mbox, &st) != 0)
        rc = error_errno(err, "%s", mbox);
    row->bytes = rc == 0 ? (guint64)st.st_size : 0;
    for (int i = 0; i < o->repeats && rc == 0; i++)
        rc = measure_once(o, mbox, store, row, i, err);
    rc = rc ? rc : check_count(o, store, row->messages, err);
    bench_remove_tree(store);
    if (!o->vaults)
        bench_remove_tree(vault);
    g_free(store);
    g_free(mbox);
    g_free(vault);
    g_free(name);
    return rc;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, bench_compare_doubles);
    return values[n / 2];
}

static json_t *show(const struct options *o, struct row *row, double first_per_s)
{
    const double n = (double)row->messages, wall = median(row->wall_s, o->repeats),
                 cpu = median(row->cpu_s, o->repeats), reading = median(row->reading_s, o->repeats), per_s = n / wall,
                 of_first = first_per_s > 0 ? per_s / first_per_s : 1;
    printf("%12" G_GUINT64_FORMAT " %10.1f %10.0f %9.2f %9.2f %9.2f %10.2f %10.1f %12.0f %9.3f\n", row->messages,
           (double)row->bytes / 1e6, per_s, wall, row->wall_s[0], cpu, reading, (double)row->peak_bytes / MIB,
           (double)row->store_bytes / n, of_first);
    fflush(stdout);
    return json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:f}", "messages", (json_int_t)row->messages, "bytes",
                     (json_int_t)row->bytes, "build_items_per_s", per_s, "wall_s", wall, "wall_min_s", row->wall_s[0],
                     "cpu_s", cpu, "reading_s", reading, "peak_bytes", (json_int_t)row->peak_bytes, "store_bytes",
                     (json_int_t)row->store_bytes, "of_first", of_first);
}

static int write_json(const struct options *o, const json_t *machine, const json_t *rows, struct error *err)
{
    json_t *root = json_pack("{s:s,s:i,s:i,s:O,s:O}", "command", "growth", "mean_bytes", o->mean_bytes, "repeats",
                             o->repeats, "machine", machine, "rows", rows);
    const int rc =
        json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

static int run(const struct options *o, const guint64 *sizes, size_t n)
{
    char *work = g_canonicalize_filename(o->work, NULL), *dir = g_build_filename(work, "mds-bench-growth.XXXXXX", NULL);
    json_t *machine = machine_json(work), *rows = json_array();
    struct error err = {0};
    double first_per_s = 0;
    int rc = g_mkdtemp(dir) ? 0 : error_errno(&err, "cannot make %s", dir);
    machine_print(machine);
    printf("%12s %10s %10s %9s %9s %9s %10s %10s %12s %9s\n", "messages", "MB", "build/s", "wall s", "min", "CPU s",
           "reading s", "peak MiB", "bytes/item", "of first");
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct row row = {.messages = sizes[i]};
        rc = measure(o, dir, &row, &err);
        if (rc != 0)
            break;
        json_array_append_new(rows, show(o, &row, first_per_s));
        first_per_s = first_per_s > 0 ? first_per_s : (double)row.messages / row.wall_s[o->repeats / 2];
        rc = o->json ? write_json(o, machine, rows, &err) : 0;
    }
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    bench_remove_tree(dir);
    json_decref(rows);
    json_decref(machine);
    g_free(dir);
    g_free(work);
    return rc == 0 ? 0 : 3;
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

bool growth_main(int argc, char **argv, int *status_out)
{
    struct options o = {.mean_bytes = 2500, .repeats = 1};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where stores go, and vaults that are not kept (.)", "DIR"},
        {"vaults", 0, 0, G_OPTION_ARG_FILENAME, &o.vaults, "where vaults are, or are made and kept: mbox-N-BYTES",
         "DIR"},
        {"messages", 0, 0, G_OPTION_ARG_STRING, &o.sizes, "one build each (100000,10000000)", "N,N..."},
        {"mean-size", 0, 0, G_OPTION_ARG_INT, &o.mean_bytes, "of a message (2500)", "BYTES"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &o.repeats, "of each (1)", "N"},
        {"jobs", 0, 0, G_OPTION_ARG_INT, &o.jobs, "of the build (its own choice)", "N"},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    guint64 sizes[SIZES_MAX];
    size_t n = 0;
    GError *gerror = NULL;
    if (argc < 2 || strcmp(argv[1], "growth") != 0)
        return false;
    GOptionContext *context = g_option_context_new("growth - builds of mboxes, small and large");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc == 2;
    g_option_context_free(context);
    if (!parsed || o.mean_bytes < 2500 || o.mean_bytes > 1 << 20 || o.repeats < 1 || o.repeats > REPEATS_MAX ||
        o.jobs < 0 || o.jobs > 64 || (n = parse_sizes(o.sizes ? o.sizes : "100000,10000000", sizes)) == 0) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "a number is out of bounds");
        *status_out = 2;
    } else {
        o.work = o.work ? o.work : g_strdup(".");
        o.mds = o.mds ? o.mds : bench_sibling("mds");
        *status_out = run(&o, sizes, n);
    }
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.vaults);
    g_free(o.mds);
    g_free(o.json);
    g_free(o.sizes);
    return true;
}

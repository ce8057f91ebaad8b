/* SEARCH and SORT, key by key: see search.h. */
#include "search.h"

#include "bench_measure.h"

#include <glib.h>
#include <jansson.h>
#include <mds/query.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS_MAX 999
#define SIZES_MAX  8
#define DAY_S      86400

struct search_options {
    char *work, *sizes, *json;
    gint rounds;
};

enum scanned { SCAN_SETS, SCAN_ROWS, SCAN_ITEMS }; /* what would have to be read without columns */

#define KEY(k, ...) ((struct mdsq_key){.kind = MDSQ_KEY_##k, __VA_ARGS__})
#define KEYS(...)                                                                                                      \
    .children = (struct mdsq_key[]){__VA_ARGS__},                                                                      \
    .children_n = sizeof((struct mdsq_key[]){__VA_ARGS__}) / sizeof(struct mdsq_key)
#define TEXT(s) .text = {(const uint8_t *)(s), strlen(s)}

struct key_row {
    const char *name;
    struct mdsq_key key;
    enum scanned scanned;
};

struct sort_row {
    const char *name;
    struct mdsq_sort_criterion by[2];
    size_t by_n;
};

static const struct sort_row sorts[] = {
    {"SORT (DATE)", {{MDSQ_SORT_DATE, false}}, 1},
    {"SORT (ARRIVAL)", {{MDSQ_SORT_ARRIVAL, false}}, 1},
    {"SORT (REVERSE SIZE)", {{MDSQ_SORT_SIZE, true}}, 1},
    {"SORT (SIZE DATE)", {{MDSQ_SORT_SIZE, false}, {MDSQ_SORT_DATE, false}}, 2},
};

struct bench {
    const struct search_options *o;
    struct mdsq_reader *reader;
    struct mdsq_view *view;
    double scans[3]; /* ms, by what is scanned */
    json_t *rows;
};

/* Of this process: on a machine with other work, what an answer would take without it. */
static double cpu_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void complain(const char *what, const struct mdsq_error *err)
{
    fprintf(stderr, "mds-bench: %s: %s\n", what, err->text);
}

/* ---- one row ---- */

static bool search_once(struct bench *b, const struct mdsq_key *key, uint64_t *hits_out, struct mdsq_error *err)
{
    struct mdsq_search *s = NULL;
    struct mdsq_set *set = NULL;
    int rc = mdsq_search_new(b->view, key, &s, err);

    while (rc >= 0 && (rc = mdsq_search_run(s, b->reader, 1000, err)) == 1)
        ;
    if (rc >= 0)
        rc = mdsq_search_take(s, &set, NULL, err);
    if (rc >= 0)
        *hits_out = mdsq_set_count(set);
    mdsq_set_free(&set);
    if (s)
        mdsq_search_free(&s);
    return rc >= 0;
}

static bool sort_once(struct bench *b, const struct sort_row *row, uint64_t *hits_out, struct mdsq_error *err)
{
    struct mdsq_sort *s = NULL;
    uint32_t uid;
    int rc = mdsq_sort_new(b->view, NULL, row->by, row->by_n, &s, err);

    while (rc >= 0 && (rc = mdsq_sort_run(s, b->reader, 1000, err)) == 1)
        ;
    for (*hits_out = 0; rc >= 0 && mdsq_sort_next(s, &uid);)
        ++*hits_out;
    if (s)
        mdsq_sort_free(&s);
    return rc >= 0;
}

static bool measure(struct bench *b, const char *name, const struct mdsq_key *key, const struct sort_row *sort,
                    double scan_ms)
{
    double ms[ROUNDS_MAX], cpu[ROUNDS_MAX];
    uint64_t hits = 0;
    struct mdsq_error err;
    const int n = b->o->rounds;

    for (int i = -1; i < n; i++) { /* the first one warms up */
        const gint64 begun = g_get_monotonic_time();
        const double cpu_begun = cpu_ms();

        if (!(key ? search_once(b, key, &hits, &err) : sort_once(b, sort, &hits, &err))) {
            complain(name, &err);
            return false;
        }
        if (i < 0)
            continue;
        ms[i] = (double)(g_get_monotonic_time() - begun) / 1000;
        cpu[i] = cpu_ms() - cpu_begun;
    }
    qsort(ms, (size_t)n, sizeof *ms, bench_compare_doubles);
    qsort(cpu, (size_t)n, sizeof *cpu, bench_compare_doubles);

    const double median = ms[n / 2], p99 = ms[(n * 99 + 99) / 100 - 1];

    printf("  %-34s %10" G_GUINT64_FORMAT " %10.3f %10.3f %10.3f", name, hits, median, p99, cpu[n / 2]);
    if (scan_ms > 0)
        printf(" %10.0f\n", scan_ms);
    else
        printf(" %10s\n", "-");
    fflush(stdout);
    json_array_append_new(b->rows,
                          json_pack("{s:s,s:I,s:f,s:f,s:f,s:f}", "key", name, "hits", (json_int_t)hits, "median_ms",
                                    median, "p99_ms", p99, "cpu_ms", cpu[n / 2], "scan_ms", scan_ms));
    return true;
}

/* ---- all rows ---- */

static bool ids_of(struct bench *b, uint32_t uid, char email[34], char thread[18])
{
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_set *set = NULL;
    struct mdsq_message m;
    struct mdsq_error err;
    char text[16];
    const int n = snprintf(text, sizeof text, "%u", uid);
    int rc = mdsq_set_parse(b->view, text, (size_t)n, true, &set, &err);

    if (rc >= 0)
        rc = mdsq_fetch_new(b->reader, b->view, set, MDSQ_FETCH_IDS, &fetch, &err);
    if (rc >= 0 && (rc = mdsq_fetch_next(fetch, &m, &err)) == 1) {
        g_strlcpy(email, m.email_id, 34);
        g_strlcpy(thread, m.thread_id, 18);
    }
    if (rc != 1)
        complain("a message's ids", &err);
    if (fetch)
        mdsq_fetch_free(&fetch);
    mdsq_set_free(&set);
    return rc == 1;
}

static bool run_keys(struct bench *b, uint32_t n)
{
    const uint64_t begin = SEARCH_BEGIN / DAY_S, middle = begin + SEARCH_YEARS * 365 / 2;
    char email[34], thread[18], some[32];

    if (!ids_of(b, n / 2, email, thread))
        return false;
    (void)snprintf(some, sizeof some, "%u:%u", n / 3, n / 2);

    const struct key_row keys[] = {
        {"ALL", KEY(ALL, .number = 0), SCAN_SETS},
        {"1:*", KEY(SEQ_SET, TEXT("1:*")), SCAN_SETS},
        {"UID (a sixth)", KEY(UID_SET, TEXT(some)), SCAN_SETS},
        {"UNSEEN", KEY(NOT, KEYS(KEY(FLAG, .number = 1))), SCAN_SETS},
        {"UNDELETED", KEY(NOT, KEYS(KEY(FLAG, .number = 8))), SCAN_SETS},
        {"DELETED", KEY(FLAG, .number = 8), SCAN_SETS},
        {"UNDELETED UNSEEN",
         KEY(AND, KEYS(KEY(NOT, KEYS(KEY(FLAG, .number = 8))), KEY(NOT, KEYS(KEY(FLAG, .number = 1))))), SCAN_SETS},
        {"OR FLAGGED ANSWERED", KEY(OR, KEYS(KEY(FLAG, .number = 4), KEY(FLAG, .number = 2))), SCAN_SETS},
        {"BEFORE (half)", KEY(BEFORE, .number = middle), SCAN_ROWS},
        {"SINCE (half)", KEY(SINCE, .number = middle), SCAN_ROWS},
        {"ON (a day)", KEY(ON, .number = middle), SCAN_ROWS},
        {"SENTSINCE (half)", KEY(SENTSINCE, .number = middle), SCAN_ITEMS},
        {"SENTON (a day)", KEY(SENTON, .number = middle), SCAN_ITEMS},
        {"SAVEDSINCE", KEY(SAVEDSINCE, .number = begin + 4630), SCAN_ROWS},
        {"LARGER 100000", KEY(LARGER, .number = 100000), SCAN_ROWS},
        {"SMALLER 10000", KEY(SMALLER, .number = 10000), SCAN_ROWS},
        {"OLDER", KEY(OLDER, .number = middle * DAY_S), SCAN_ROWS},
        {"YOUNGER", KEY(YOUNGER, .number = middle * DAY_S), SCAN_ROWS},
        {"MODSEQ (half)", KEY(MODSEQ, .number = n / 2), SCAN_ROWS},
        {"EMAILID", KEY(EMAILID, TEXT(email)), SCAN_ITEMS},
        {"THREADID", KEY(THREADID, TEXT(thread)), SCAN_ITEMS},
        {"UNDELETED SINCE LARGER 100000",
         KEY(AND,
             KEYS(KEY(NOT, KEYS(KEY(FLAG, .number = 8))), KEY(SINCE, .number = middle), KEY(LARGER, .number = 100000))),
         SCAN_ROWS},
        {"OR NOT SINCE SMALLER 10000",
         KEY(OR, KEYS(KEY(NOT, KEYS(KEY(SINCE, .number = middle))), KEY(SMALLER, .number = 10000))), SCAN_ROWS},
    };
    bool good = true;

    printf("%u messages\n  %-34s %10s %10s %10s %10s %10s\n", n, "", "hits", "median ms", "p99 ms", "CPU ms",
           "scan ms");
    for (size_t i = 0; i < G_N_ELEMENTS(keys) && good; i++)
        good = measure(b, keys[i].name, &keys[i].key, NULL, b->scans[keys[i].scanned]);
    for (size_t i = 0; i < G_N_ELEMENTS(sorts) && good; i++)
        good = measure(b, sorts[i].name, NULL, &sorts[i], b->scans[SCAN_ROWS]);
    return good;
}

static bool run_size(const struct search_options *o, const char *store, uint32_t n, json_t *sizes)
{
    struct bench b = {.o = o, .rows = json_array()};
    struct mdsq_store *opened = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_error err;

    bench_remove_tree(store);
    if (!search_store_make(store, n))
        return false;
    (void)search_store_scan(store, true); /* warms */
    b.scans[SCAN_ROWS] = search_store_scan(store, false);
    b.scans[SCAN_ITEMS] = search_store_scan(store, true);

    bool good = b.scans[SCAN_ROWS] >= 0 && b.scans[SCAN_ITEMS] >= 0;

    if (good && (mdsq_store_open(store, 0, &opened, &err) < 0 ||
                 mdsq_archive_open(opened, SEARCH_ARCHIVE, &archive, &err) < 0 ||
                 mdsq_reader_begin(archive, &b.reader, &err) < 0 ||
                 mdsq_view_open(b.reader, SEARCH_FOLDER, &b.view, &err) < 0)) {
        complain("opening the store", &err);
        good = false;
    }
    good = good && run_keys(&b, n);
    if (b.view)
        mdsq_view_close(&b.view);
    if (b.reader)
        mdsq_reader_end(&b.reader);
    if (archive)
        mdsq_archive_close(&archive);
    if (opened)
        mdsq_store_close(&opened);
    json_array_append_new(sizes, json_pack("{s:I,s:o}", "messages", (json_int_t)n, "rows", b.rows));
    return good;
}

static bool run_in_work(const struct search_options *o)
{
    char *work = g_build_filename(o->work, "mds-bench-search.XXXXXX", NULL);
    char **words = g_strsplit(o->sizes ? o->sizes : "100000,1000000", ",", SIZES_MAX);
    json_t *sizes = json_array();
    bool good = g_mkdtemp(work) != NULL;

    if (!good)
        fprintf(stderr, "mds-bench: cannot make %s\n", work);

    char *store = g_build_filename(work, "store", NULL);

    for (char **w = words; *w && good; w++) {
        guint64 n = 0;

        good = g_ascii_string_to_unsigned(*w, 10, 100, 100000000, &n, NULL) && run_size(o, store, (uint32_t)n, sizes);
        if (n == 0)
            fputs("mds-bench: --messages takes numbers from 100, separated by commas\n", stderr);
    }
    if (good && o->json) {
        json_t *root = json_pack("{s:s,s:i,s:O}", "command", "keys", "rounds", o->rounds, "sizes", sizes);

        good = json_dump_file(root, o->json, JSON_INDENT(1)) == 0;
        json_decref(root);
    }
    json_decref(sizes);
    bench_remove_tree(work);
    g_free(store);
    g_strfreev(words);
    g_free(work);
    return good;
}

bool search_main(int argc, char **argv, int *status_out)
{
    struct search_options o = {.rounds = 30};
    const GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where the store goes (.)", "DIR"},
        {"messages", 0, 0, G_OPTION_ARG_STRING, &o.sizes, "of the folder (100000,1000000)", "N,N..."},
        {"rounds", 0, 0, G_OPTION_ARG_INT, &o.rounds, "each key is asked (30)", "N"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write all rows there", "FILE"},
        {0},
    };
    GError *gerror = NULL;

    if (argc < 2 || strcmp(argv[1], "keys") != 0)
        return false;

    GOptionContext *context = g_option_context_new("keys - SEARCH and SORT of a folder, key by key");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &gerror) || o.rounds < 1 || o.rounds > ROUNDS_MAX) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "--rounds goes from 1 to 999");
        *status_out = 2;
    } else {
        o.work = o.work ? o.work : g_strdup(".");
        *status_out = run_in_work(&o) ? 0 : 3;
    }
    g_option_context_free(context);
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.sizes);
    g_free(o.json);
    return true;
}

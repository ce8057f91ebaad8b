/* Durable STORE and APPEND a second. */
#include "live.h"

#include "bench_measure.h"
#include "mds/query.h"

#include <glib.h>
#include <jansson.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SESSIONS_MAX  1024
#define COUNTS_MAX    16
#define MESSAGES      1000
#define LATENCIES_MAX 200000 /* a session */

struct options {
    bool append;
    gboolean relaxed;
    gint seconds, size;
    char *work, *json, *counts;
};

struct row {
    int sessions;
    double seconds, changes_per_s, commits_per_s, p50_ms, p99_ms, max_ms;
};

struct bench {
    const struct options *options;
    struct mdsq_archive *archive;
    struct mdsq_view *view;
    char *text; /* of an item */
    gint64 until_us;
    atomic_uint_fast64_t numbers;
    atomic_bool failed;
};

struct session {
    struct bench *bench;
    pthread_t thread;
    unsigned number;
    uint64_t n;
    float *latencies_ms;
};

static bool complain(const char *what, const struct mdsq_error *err)
{
    fprintf(stderr, "mds-bench: %s: %s\n", what, err->text);
    return false;
}

/* ---- floor ------------------------------------------------------------------------------------- */

/* Durable commits a second of LMDB with nothing around it. 0: it failed. */
static double floor_commits(const struct options *o)
{
    char *dir = g_build_filename(o->work, "floor", NULL);
    const gint64 begin = g_get_monotonic_time();
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    uint32_t n = 0;
    int rc = mkdir(dir, 0700) ? -1 : mdb_env_create(&env);

    if (rc == 0)
        rc = mdb_env_open(env, dir, o->relaxed ? MDB_NOMETASYNC : 0, 0600);
    while (rc == 0 && g_get_monotonic_time() - begin < (gint64)o->seconds * 1000000) {
        uint32_t key = n % MESSAGES;
        MDB_val k = {sizeof key, &key}, v = {sizeof n, &n};

        rc = mdb_txn_begin(env, NULL, 0, &txn);
        if (rc == 0)
            rc = mdb_dbi_open(txn, NULL, 0, &dbi);
        if (rc == 0)
            rc = mdb_put(txn, dbi, &k, &v, 0);
        if (rc == 0)
            rc = mdb_txn_commit(txn);
        n++;
    }
    const double seconds = (double)(g_get_monotonic_time() - begin) / 1e6;

    mdb_env_close(env);
    g_free(dir);
    return rc == 0 ? n / seconds : 0;
}

/* ---- sessions ------------------------------------------------------------------------------------ */

static struct mdsq_change *make_store(struct bench *b, uint64_t k, struct mdsq_error *err)
{
    const struct mdsq_flags flags = {.flags = 4};
    struct mdsq_change *change = NULL;
    struct mdsq_set *set = NULL;
    char text[12];
    const int n = snprintf(text, sizeof text, "%u", (unsigned)(k % MESSAGES) + 1);

    /* Set in one pass over the folder, taken back in the next: every one changes something. */
    if (mdsq_set_numbers(text, (size_t)n, 0, &set, err) == 0)
        (void)mdsq_change_store(b->archive, b->view, set, k / MESSAGES % 2 ? MDSQ_STORE_REMOVE : MDSQ_STORE_ADD, &flags, NULL,
                                &change, err);
    mdsq_set_free(&set);
    return change;
}

static struct mdsq_change *make_append(struct bench *b, uint64_t k, struct mdsq_error *err)
{
    struct mdsq_append message = {0};
    struct mdsq_change *change = NULL;
    char head[100];
    const int n = snprintf(head, sizeof head, "Message-ID: <%llu@bench>\r\n", (unsigned long long)k);

    if (mdsq_draft_new(b->archive, &message.draft, err) < 0)
        return NULL;
    if (mdsq_draft_write(message.draft, head, (size_t)n, err) < 0 ||
        mdsq_draft_write(message.draft, b->text, (size_t)b->options->size, err) < 0) {
        mdsq_draft_free(&message.draft);
        return NULL;
    }
    (void)mdsq_change_append(b->archive, "INBOX", &message, 1, &change, err);
    return change;
}

static void *session_main(void *arg)
{
    struct session *s = arg;
    struct bench *b = s->bench;
    struct mdsq_error err = {0};

    for (gint64 now = g_get_monotonic_time(); now < b->until_us && !atomic_load(&b->failed);) {
        const uint64_t k = atomic_fetch_add(&b->numbers, 1);
        struct mdsq_change *change = b->options->append ? make_append(b, k, &err) : make_store(b, k, &err);

        if (change == NULL || mdsq_change_wait(change, &err) < 0) {
            atomic_store(&b->failed, true);
            (void)complain("a change", &err);
        }
        mdsq_change_free(&change);

        const gint64 then = g_get_monotonic_time();

        if (s->n < LATENCIES_MAX)
            s->latencies_ms[s->n] = (float)(then - now) / 1000;
        s->n++;
        now = then;
    }
    return NULL;
}

static int compare_floats(const void *a, const void *b)
{
    const float *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void row_fill(struct row *row, const struct session *sessions, uint64_t commits)
{
    uint64_t n = 0, kept = 0;

    for (int i = 0; i < row->sessions; i++)
        n += sessions[i].n;
    float *all = g_new(float, n + 1);

    for (int i = 0; i < row->sessions; i++) {
        const uint64_t mine = MIN(sessions[i].n, LATENCIES_MAX);

        memcpy(all + kept, sessions[i].latencies_ms, mine * sizeof *all);
        kept += mine;
    }
    qsort(all, kept, sizeof *all, compare_floats);
    row->changes_per_s = (double)n / row->seconds;
    row->commits_per_s = (double)commits / row->seconds;
    if (kept) {
        row->p50_ms = all[kept / 2];
        row->p99_ms = all[kept * 99 / 100];
        row->max_ms = all[kept - 1];
    }
    g_free(all);
}

static bool measure(struct bench *b, int n, struct row *row)
{
    struct session *sessions = g_new0(struct session, n);
    const uint64_t tick = mdsq_archive_tick(b->archive);
    const gint64 begin = g_get_monotonic_time();
    int running = 0;

    b->until_us = begin + (gint64)b->options->seconds * 1000000;
    for (; running < n; running++) {
        sessions[running] = (struct session){.bench = b, .number = (unsigned)running, .latencies_ms = g_new(float, LATENCIES_MAX)};
        if (pthread_create(&sessions[running].thread, NULL, session_main, &sessions[running]) != 0) {
            atomic_store(&b->failed, true);
            break;
        }
    }
    for (int i = 0; i < running; i++)
        (void)pthread_join(sessions[i].thread, NULL);
    row->sessions = running;
    row->seconds = (double)(g_get_monotonic_time() - begin) / 1e6;
    row_fill(row, sessions, mdsq_archive_tick(b->archive) - tick);
    for (int i = 0; i < n; i++)
        g_free(sessions[i].latencies_ms);
    g_free(sessions);
    return !atomic_load(&b->failed);
}

/* ---- the archive ------------------------------------------------------------------------------------ */

/* INBOX with MESSAGES messages, filed in one change. */
static bool fill(struct bench *b, struct mdsq_error *err)
{
    struct mdsq_append *messages = g_new0(struct mdsq_append, MESSAGES);
    struct mdsq_change *change = NULL;
    int rc = 0;

    for (int i = 0; i < MESSAGES && rc >= 0; i++) {
        char text[60];
        const int n = snprintf(text, sizeof text, "Subject: message %d\r\n\r\ntext\r\n", i);

        rc = mdsq_draft_new(b->archive, &messages[i].draft, err);
        if (rc >= 0)
            rc = mdsq_draft_write(messages[i].draft, text, (size_t)n, err);
    }
    if (rc >= 0)
        rc = mdsq_change_append(b->archive, "INBOX", messages, MESSAGES, &change, err);
    if (rc >= 0)
        rc = mdsq_change_wait(change, err);
    mdsq_change_free(&change);
    g_free(messages);
    return rc >= 0;
}

static bool open_view(struct bench *b, struct mdsq_error *err)
{
    struct mdsq_reader *reader = NULL;
    const bool ok = mdsq_reader_begin(b->archive, &reader, err) >= 0 && mdsq_view_open(reader, "INBOX", &b->view, err) >= 0;

    mdsq_reader_end(&reader);
    return ok;
}

/* Headers, and lines that compress as mail does. */
static char *item_text(int size)
{
    GString *text = g_string_new("From: Ann <ann@example.com>\r\nTo: Bob <bob@example.com>\r\nSubject: measured\r\n\r\n");
    GRand *rand = g_rand_new_with_seed(1);

    while (text->len < (gsize)size)
        g_string_append_printf(text, "%08x words of a line that looks like others %u\r\n", g_rand_int(rand), g_rand_int(rand));
    g_rand_free(rand);
    return g_string_free(text, FALSE);
}

/* ---- output ------------------------------------------------------------------------------------------- */

static bool write_json(const struct options *o, double floor, const struct row *rows, size_t n)
{
    json_t *list = json_array();
    json_t *root;

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:i,s:f,s:f,s:f,s:f,s:f,s:f}", "sessions", rows[i].sessions, "seconds",
                                              rows[i].seconds, "changes_per_s", rows[i].changes_per_s, "commits_per_s",
                                              rows[i].commits_per_s, "p50_ms", rows[i].p50_ms, "p99_ms", rows[i].p99_ms,
                                              "max_ms", rows[i].max_ms));
    root = json_pack("{s:s,s:b,s:i,s:f,s:i,s:o}", "command", o->append ? "append" : "store", "relaxed", o->relaxed, "item_bytes",
                     o->append ? o->size : 0, "floor_commits_per_s", floor, "processors", (int)g_get_num_processors(), "rows",
                     list);

    const bool ok = json_dump_file(root, o->json, JSON_INDENT(1)) == 0;

    json_decref(root);
    if (!ok)
        fprintf(stderr, "mds-bench: cannot write %s\n", o->json);
    return ok;
}

static bool run(const struct options *o, char **counts)
{
    char *dir = g_build_filename(o->work, "store", NULL);
    struct bench b = {.options = o, .text = item_text(o->size)};
    struct mdsq_store *store = NULL;
    struct mdsq_error err = {0};
    struct row rows[COUNTS_MAX] = {{0}};
    const unsigned flags = MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | (o->relaxed ? MDSQ_STORE_RELAXED : 0);
    const double floor = floor_commits(o);
    size_t n = 0;
    bool ok = mdsq_store_open(dir, flags, &store, &err) >= 0 && mdsq_archive_add(store, "bench", &err) >= 0 &&
              mdsq_archive_open(store, "bench", &b.archive, &err) >= 0 && fill(&b, &err) && open_view(&b, &err);

    if (!ok)
        (void)complain(dir, &err);
    printf("floor: %.0f commits/s of LMDB alone\n%8s %12s %12s %8s %8s %8s %8s\n", floor, "sessions", "changes/s", "commits/s",
           "floors", "p50 ms", "p99 ms", "max ms");
    for (; ok && counts[n] && n < COUNTS_MAX; n++) {
        const int sessions = CLAMP(atoi(counts[n]), 1, SESSIONS_MAX);

        ok = measure(&b, sessions, &rows[n]);
        printf("%8d %12.0f %12.0f %8.2f %8.2f %8.2f %8.2f\n", rows[n].sessions, rows[n].changes_per_s, rows[n].commits_per_s,
               floor > 0 ? rows[n].changes_per_s / floor : 0, rows[n].p50_ms, rows[n].p99_ms, rows[n].max_ms);
    }
    if (ok && o->json)
        ok = write_json(o, floor, rows, n);
    mdsq_view_close(&b.view);
    mdsq_archive_close(&b.archive);
    mdsq_store_close(&store);
    g_free(b.text);
    g_free(dir);
    return ok;
}

static int run_in_work(struct options *o)
{
    char **counts = g_strsplit(o->counts ? o->counts : "1,16,64", ",", COUNTS_MAX);
    char *work = g_build_filename(o->work, "mds-bench-live.XXXXXX", NULL);
    int status = 3;

    g_free(o->work);
    o->work = work;
    if (g_mkdtemp(work)) {
        status = run(o, counts) ? 0 : 3;
        bench_remove_tree(work);
    } else {
        fprintf(stderr, "mds-bench: cannot make %s\n", work);
    }
    g_strfreev(counts);
    return status;
}

bool live_main(int argc, char **argv, int *status_out)
{
    struct options o = {.seconds = 3, .size = 4096};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where the store goes, on the disk to be measured (.)", "DIR"},
        {"sessions", 0, 0, G_OPTION_ARG_STRING, &o.counts, "sessions at once (1,16,64)", "N,N..."},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, "each is measured (3)", "N"},
        {"size", 0, 0, G_OPTION_ARG_INT, &o.size, "bytes of an appended item (4096)", "N"},
        {"relaxed", 0, 0, G_OPTION_ARG_NONE, &o.relaxed, "durability=relaxed, of the floor too", NULL},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write all rows there", "FILE"},
        {0},
    };
    GOptionContext *context;
    GError *gerror = NULL;

    if (argc < 2 || (strcmp(argv[1], "store") != 0 && strcmp(argv[1], "append") != 0))
        return false;
    o.append = strcmp(argv[1], "append") == 0;
    context = g_option_context_new("store|append - durable changes a second of a living archive");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &gerror) || o.seconds < 1 || o.seconds > 3600 || o.size < 100 ||
        o.size > 1 << 20) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "--seconds or --size is out of bounds");
        *status_out = 2;
    } else {
        if (!o.work)
            o.work = g_strdup(".");
        *status_out = run_in_work(&o);
    }
    g_option_context_free(context);
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.counts);
    g_free(o.json);
    return true;
}

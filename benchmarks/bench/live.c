/* Durable STORE and APPEND a second. */
#include "live.h"

#include "bench_measure.h"
#include "live_private.h"

#include <jansson.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SESSIONS_MAX  1024
#define COUNTS_MAX    16
#define MESSAGES      LIVE_MESSAGES
#define LATENCIES_MAX 200000 /* a session */

static bool complain(const char *what, const char *why)
{
    fprintf(stderr, "mds-bench: %s: %s\n", what, why);
    return false;
}

/* ---- floor ------------------------------------------------------------------------------------- */

/* Durable commits a second of LMDB with nothing around it, for half of a row's time. 0: it failed. */
static double floor_commits(const struct live_options *o)
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
    while (rc == 0 && g_get_monotonic_time() - begin < (gint64)o->seconds * 500000) {
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
    bench_remove_tree(dir);
    g_free(dir);
    return rc == 0 ? n / seconds : 0;
}

/* ---- sessions ------------------------------------------------------------------------------------ */

static struct mdsq_change *make_store(struct live_bench *b, uint64_t k, struct mdsq_error *err)
{
    const struct mdsq_flags flags = {.flags = 4};
    struct mdsq_change *change = NULL;
    struct mdsq_set *set = NULL;
    char text[12];
    const int n = snprintf(text, sizeof text, "%u", (unsigned)(k % MESSAGES) + 1);

    /* Set in one pass over the folder, taken back in the next: every one changes something. */
    if (mdsq_set_numbers(text, (size_t)n, 0, &set, err) == 0)
        (void)mdsq_change_store(b->archive, b->view, set, k / MESSAGES % 2 ? MDSQ_STORE_REMOVE : MDSQ_STORE_ADD, &flags,
                                NULL, &change, err);
    mdsq_set_free(&set);
    return change;
}

static struct mdsq_change *make_append(struct live_bench *b, uint64_t k, struct mdsq_error *err)
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

static bool step_by_query(struct live_session *s, uint64_t k)
{
    struct live_bench *b = s->bench;
    struct mdsq_error err = {0};
    struct mdsq_change *change = b->options->append ? make_append(b, k, &err) : make_store(b, k, &err);
    const bool ok = change != NULL && mdsq_change_wait(change, &err) >= 0;

    mdsq_change_free(&change);
    return ok || complain("a change", err.text);
}

static bool step(struct live_session *s, uint64_t k)
{
    struct error err = {0};

    if (!s->client)
        return step_by_query(s, k);
    return live_imap_step(s, k, &err) == 0 || complain("a command", err.text);
}

static void *session_main(void *arg)
{
    struct live_session *s = arg;
    struct live_bench *b = s->bench;

    for (gint64 now = g_get_monotonic_time(); now < atomic_load(&b->until_us) && !atomic_load(&b->failed);) {
        if (!step(s, atomic_fetch_add(&b->numbers, 1)))
            atomic_store(&b->failed, true);

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

static void row_fill(struct live_row *row, const struct live_session *sessions, uint64_t commits)
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

/* Until the time is over or, beside a build, until that has ended. */
static void let_run(struct live_bench *b, char *store, struct live_row *row)
{
    const gint64 begin = g_get_monotonic_time();
    struct error err = {0};

    if (!b->options->during_build)
        return;
    if (live_vault_build_again(b, store, &err) != 0) {
        atomic_store(&b->failed, true);
        (void)complain("the build", err.text);
    }
    atomic_store(&b->until_us, 0);
    row->build_items_per_s = b->options->build_items / ((double)(g_get_monotonic_time() - begin) / 1e6);
}

static bool begin_sessions(struct live_bench *b, struct live_session *sessions, int n)
{
    struct error err = {0};
    int rc = 0;

    for (int i = 0; i < n && rc == 0; i++) {
        sessions[i] =
            (struct live_session){.bench = b, .number = (unsigned)i, .latencies_ms = g_new(float, LATENCIES_MAX)};
        if (b->options->imap)
            rc = live_imap_begin(&sessions[i], &err);
    }
    if (rc == 0 && b->options->during_build)
        rc = live_vault_grow(b, &err);
    return rc == 0 || complain("beginning", err.text);
}

static bool measure(struct live_bench *b, char *store, int n, struct live_row *row)
{
    struct live_session *sessions = g_new0(struct live_session, n);
    int running = 0;

    atomic_store(&b->failed, !begin_sessions(b, sessions, n));

    const uint64_t tick = mdsq_archive_tick(b->archive);
    const gint64 begin = g_get_monotonic_time();

    atomic_store(&b->until_us, b->options->during_build ? INT64_MAX : begin + (gint64)b->options->seconds * 1000000);
    for (; running < n && !atomic_load(&b->failed); running++)
        if (pthread_create(&sessions[running].thread, NULL, session_main, &sessions[running]) != 0) {
            atomic_store(&b->failed, true);
            break;
        }
    if (!atomic_load(&b->failed))
        let_run(b, store, row);
    for (int i = 0; i < running; i++)
        (void)pthread_join(sessions[i].thread, NULL);
    row->sessions = running;
    row->seconds = (double)(g_get_monotonic_time() - begin) / 1e6;
    row_fill(row, sessions, mdsq_archive_tick(b->archive) - tick);
    for (int i = 0; i < n; i++) {
        net_close(&sessions[i].client);
        g_free(sessions[i].latencies_ms);
    }
    g_free(sessions);
    return !atomic_load(&b->failed);
}

/* A disk's mood changes from minute to minute: what stands on both sides of a row is what it is compared with. */
static bool measure_beside_floor(struct live_bench *b, char *store, int n, struct live_row *row)
{
    const double before = floor_commits(b->options);
    const bool ok = measure(b, store, n, row);
    const double after = ok ? floor_commits(b->options) : 0;

    row->floor_per_s = (before + after) / 2;
    return ok && ((before > 0 && after > 0) || complain("the floor", "LMDB failed"));
}

/* ---- the archive ------------------------------------------------------------------------------------ */

/* INBOX with MESSAGES messages, filed in one change. */
static bool fill(struct live_bench *b, struct mdsq_error *err)
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

static bool open_view(struct live_bench *b, struct mdsq_error *err)
{
    struct mdsq_reader *reader = NULL;
    const bool ok =
        mdsq_reader_begin(b->archive, &reader, err) >= 0 && mdsq_view_open(reader, "INBOX", &b->view, err) >= 0;

    mdsq_reader_end(&reader);
    return ok;
}

/* Headers, and lines that compress as mail does. */
static char *item_text(int size)
{
    GString *text =
        g_string_new("From: Ann <ann@example.com>\r\nTo: Bob <bob@example.com>\r\nSubject: measured\r\n\r\n");
    GRand *rand = g_rand_new_with_seed(1);

    while (text->len < (gsize)size)
        g_string_append_printf(text, "%08x words of a line that looks like others %u\r\n", g_rand_int(rand),
                               g_rand_int(rand));
    g_rand_free(rand);
    return g_string_free(text, FALSE);
}

/* ---- output ------------------------------------------------------------------------------------------- */

static json_t *row_json(const struct live_options *o, const struct live_row *row)
{
    json_t *out =
        json_pack("{s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "sessions", row->sessions, "seconds", row->seconds,
                  "changes_per_s", row->changes_per_s, "commits_per_s", row->commits_per_s, "p50_ms", row->p50_ms,
                  "p99_ms", row->p99_ms, "max_ms", row->max_ms, "floor_commits_per_s", row->floor_per_s);

    if (o->during_build)
        json_object_set_new(out, "build_items_per_s", json_real(row->build_items_per_s));
    return out;
}

static bool write_json(const struct live_options *o, const struct live_row *rows, size_t n)
{
    json_t *list = json_array();
    json_t *root;

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, row_json(o, &rows[i]));
    root = json_pack("{s:s,s:b,s:b,s:b,s:b,s:i,s:i,s:o}", "command", o->append ? "append" : "store", "imap", o->imap,
                     "during_build", o->during_build, "own_folders", o->own_folders, "relaxed", o->relaxed,
                     "item_bytes", o->append ? o->size : 0, "processors", (int)g_get_num_processors(), "rows", list);

    const bool ok = json_dump_file(root, o->json, JSON_INDENT(1)) == 0;

    json_decref(root);
    if (!ok)
        fprintf(stderr, "mds-bench: cannot write %s\n", o->json);
    return ok;
}

static void print_head(const struct live_options *o)
{
    double load[1] = {0};

    (void)getloadavg(load, 1);
    printf("floor: commits of LMDB alone, half before each row and half after (load of the machine %.2f)\n%8s %12s "
           "%12s %12s %8s %8s %8s %8s%s\n",
           load[0], "sessions", "changes/s", "commits/s", "floor/s", "floors", "p50 ms", "p99 ms", "max ms",
           o->during_build ? "  build items/s" : "");
}

static void print_row(const struct live_options *o, const struct live_row *row)
{
    printf("%8d %12.0f %12.0f %12.0f %8.2f %8.2f %8.2f %8.2f", row->sessions, row->changes_per_s, row->commits_per_s,
           row->floor_per_s, row->floor_per_s > 0 ? row->changes_per_s / row->floor_per_s : 0, row->p50_ms, row->p99_ms,
           row->max_ms);
    if (o->during_build)
        printf(" %14.0f", row->build_items_per_s);
    putchar('\n');
    fflush(stdout);
}

/* ---- the run -------------------------------------------------------------------------------------------- */

/* The archive, with messages, open in this process; and what else the level needs. */
static bool prepare(struct live_bench *b, char *dir, struct mdsq_store **store)
{
    const struct live_options *o = b->options;
    const unsigned flags = MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | (o->relaxed ? MDSQ_STORE_RELAXED : 0);
    struct mdsq_error err = {0};
    struct error why = {0};

    if (o->during_build && live_vault_build(b, dir, &why) != 0)
        return complain(dir, why.text);
    if (mdsq_store_open(dir, flags, store, &err) < 0 ||
        (!o->during_build && mdsq_archive_add(*store, "bench", &err) < 0) ||
        mdsq_archive_open(*store, "bench", &b->archive, &err) < 0 || (!o->during_build && !fill(b, &err)) ||
        !open_view(b, &err))
        return complain(dir, err.text);
    return !o->imap || live_imap_open(b, *store, dir, &why) == 0 || complain(dir, why.text);
}

static bool run(const struct live_options *o, char **counts)
{
    char *dir = g_build_filename(o->work, "store", NULL);
    struct live_bench b = {.options = o, .text = item_text(o->size), .server.output = -1};
    struct mdsq_store *store = NULL;
    struct live_row rows[COUNTS_MAX] = {{0}};
    size_t n = 0;
    bool ok = prepare(&b, dir, &store);

    print_head(o);
    for (; ok && counts[n] && n < COUNTS_MAX; n++) {
        const int sessions = CLAMP(atoi(counts[n]), o->during_build ? 0 : 1, SESSIONS_MAX);

        ok = measure_beside_floor(&b, dir, sessions, &rows[n]);
        print_row(o, &rows[n]);
    }
    if (ok && o->json)
        ok = write_json(o, rows, n);
    bench_server_stop(&b.server);
    mdsq_view_close(&b.view);
    mdsq_archive_close(&b.archive);
    mdsq_store_close(&store);
    g_free(b.vault);
    g_free(b.text);
    g_free(dir);
    return ok;
}

static int run_in_work(struct live_options *o)
{
    char **counts = g_strsplit(o->counts ? o->counts : o->during_build ? "0,1,16" : "1,16,64", ",", COUNTS_MAX);
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

static const char *wrong(const struct live_options *o)
{
    if (o->seconds < 1 || o->seconds > 3600)
        return "--seconds goes from 1 to 3600";
    if (o->size < 100 || o->size > 1 << 20)
        return "--size goes from 100 to 1048576";
    if (o->build_items < 1 || o->build_items > 10000000)
        return "--build-items goes from 1 to 10000000";
    return o->own_folders && !o->imap && !o->during_build ? "--own-folders needs --imap" : NULL;
}

bool live_main(int argc, char **argv, int *status_out)
{
    struct live_options o = {.seconds = 3, .size = 4096, .build_items = 50000};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where the store goes, on the disk to be measured (.)", "DIR"},
        {"sessions", 0, 0, G_OPTION_ARG_STRING, &o.counts, "sessions at once (1,16,64; beside a build 0,1,16)",
         "N,N..."},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, "each is measured (3)", "N"},
        {"size", 0, 0, G_OPTION_ARG_INT, &o.size, "bytes of an appended item (4096)", "N"},
        {"relaxed", 0, 0, G_OPTION_ARG_NONE, &o.relaxed, "durability=relaxed, of the floor too", NULL},
        {"imap", 0, 0, G_OPTION_ARG_NONE, &o.imap, "by clients of a real server", NULL},
        {"own-folders", 0, 0, G_OPTION_ARG_NONE, &o.own_folders,
         "with --imap: each session in a folder of its own, not all in INBOX", NULL},
        {"during-build", 0, 0, G_OPTION_ARG_NONE, &o.during_build,
         "by clients, each as long as a build of the same archive takes", NULL},
        {"build-items", 0, 0, G_OPTION_ARG_INT, &o.build_items, "that each such build finds new (50000)", "N"},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write all rows there", "FILE"},
        {0},
    };
    GOptionContext *context;
    GError *gerror = NULL;
    const char *complaint;

    if (argc < 2 || (strcmp(argv[1], "store") != 0 && strcmp(argv[1], "append") != 0))
        return false;
    o.append = strcmp(argv[1], "append") == 0;
    context = g_option_context_new("store|append - durable changes a second of a living archive");
    g_option_context_add_main_entries(context, entries, NULL);
    complaint = g_option_context_parse(context, &argc, &argv, &gerror) ? wrong(&o) : gerror->message;
    if (complaint) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", complaint);
        *status_out = 2;
    } else {
        o.imap |= o.during_build;
        o.work = o.work ? o.work : g_strdup(".");
        o.mds = o.mds ? o.mds : bench_sibling("mds");
        *status_out = run_in_work(&o);
    }
    g_option_context_free(context);
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.counts);
    g_free(o.json);
    g_free(o.mds);
    return true;
}

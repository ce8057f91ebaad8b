/*
 * What a living archive's writer can do: durable changes of one message, and of groups under one commit, in a store of
 * some size; beside them the floor, LMDB itself putting rows of that size into a table of that length. No mail is read
 * or parsed, no queue of writers is crossed but the store's own.
 *
 *     mds-live-bench DIR [MESSAGES [SECONDS]]      DIR must not exist
 */
#include "mds/mds.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDERS    5
#define BATCH      10000
#define ROW_BYTES  30 /* a message's row */
#define WORD_BYTES 1024

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void must(int rc, const struct error *err)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "mds-live-bench: %s: %s\n", base_err_name((enum base_err)rc), err->text);
    exit(1);
}

static void must_lmdb(int rc)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "mds-live-bench: lmdb: %s\n", mdb_strerror(rc));
    exit(1);
}

/* Bytes this process gave to write(2) and its kin. */
static uint64_t written_bytes(void)
{
    char line[128];
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "wchar: %llu", &n) == 1)
            break;
    if (f)
        (void)fclose(f);
    return n;
}

struct bench {
    struct mds_env *env;
    MDB_env *lmdb;
    MDB_dbi dbi;
    uint64_t messages, random;
    double seconds;
    uint32_t folder[FOLDERS], taken[FOLDERS]; /* taken: UIDs that were moved away or expunged */
    uint8_t text[WORD_BYTES];
    uint64_t appended;
};

static struct bytes some(struct bench *b, size_t mean)
{
    return bytes_of(b->text, mean / 2 + next_random(&b->random) % mean);
}

/* ---- what is measured: one change in a transaction ---- */

typedef void change_fn(struct bench *b, struct mds_txn *t, uint64_t i);

static uint32_t random_uid(struct bench *b)
{
    return 1 + (uint32_t)(next_random(&b->random) % (b->messages / FOLDERS));
}

static void toggle(struct bench *b, struct mds_txn *t, uint32_t uid)
{
    struct mds_message m;
    struct error err;

    must(mds_message_get(t, b->folder[1], uid, &m, &err), &err);
    must(mds_message_set_flags(t, b->folder[1], uid, m.flags ^ 1, m.keywords, &err), &err);
}

static void store_random(struct bench *b, struct mds_txn *t, uint64_t i)
{
    (void)i;
    toggle(b, t, random_uid(b));
}

static void store_neighbours(struct bench *b, struct mds_txn *t, uint64_t i)
{
    toggle(b, t, 1 + (uint32_t)(i % (b->messages / FOLDERS)));
}

static uint64_t item_add(struct bench *b, struct mds_txn *t)
{
    struct error err;
    struct buf sort = {0};
    struct mds_item it = {
        .size = 5000,
        .size_crlf = 5060,
        .has_sent_date = true,
        .sent_date = 1200000000,
        .msgid_hash = next_random(&b->random) | 1,
        .locator = {.source = 1, .name = BYTES_LIT("00000001"), .offset = 1 + b->appended, .length = 2000},
        .parts = bytes_of(b->text, 48),
    };
    const struct mds_sort columns = {.preview = some(b, 290), .base_subject = some(b, 40)};

    mds_sort_encode(&columns, &sort);
    const struct mds_item_words words = {
        .envelope = some(b, 450), .bodystructure = some(b, 250), .headers = some(b, 680), .sort = buf_bytes(&sort)};

    for (int i = 0; i < HASH128_BYTES; i += 8)
        put_be64(it.hash.b + i, next_random(&b->random));
    must(mds_item_add(t, &it, &words, &err), &err);
    buf_release(&sort);
    b->appended++;
    return it.id;
}

static void message_add(struct bench *b, struct mds_txn *t, uint32_t folder, uint64_t item)
{
    struct error err;
    struct mds_message m = {.folder = folder,
                            .item = item,
                            .flags = next_random(&b->random) & 1,
                            .size_crlf = 5060,
                            .internal_date = 1200000000 + (int64_t)item,
                            .sent_date = 1200000000};

    must(mds_message_add(t, &m, &err), &err);
}

static void append(struct bench *b, struct mds_txn *t, uint64_t i)
{
    (void)i;
    message_add(b, t, b->folder[0], item_add(b, t));
}

static void copy(struct bench *b, struct mds_txn *t, uint64_t i)
{
    struct error err;
    uint32_t uid;

    (void)i;
    must(mds_message_copy(t, b->folder[1], random_uid(b), b->folder[2], 1, &uid, &err), &err);
}

/* These take messages in order, so that each is there. */
static uint32_t take(struct bench *b, int folder)
{
    return ++b->taken[folder];
}

static bool used_up(const struct bench *b, unsigned group)
{
    for (int i = 0; i < FOLDERS; i++)
        if (b->taken[i] + group > b->messages / FOLDERS)
            return true;
    return false;
}

static void move(struct bench *b, struct mds_txn *t, uint64_t i)
{
    struct error err;
    uint32_t uid;

    (void)i;
    must(mds_message_move(t, b->folder[3], take(b, 3), b->folder[2], 1, &uid, &err), &err);
}

static void expunge(struct bench *b, struct mds_txn *t, uint64_t i)
{
    struct error err;

    (void)i;
    must(mds_message_expunge(t, b->folder[4], take(b, 4), 1, &err), &err);
}

static void nothing_but_meta(struct bench *b, struct mds_txn *t, uint64_t i)
{
    struct error err;

    must(mds_meta_put(t, "bench", bytes_of(&i, sizeof i), true, &err), &err);
    (void)b;
}

/* ---- measuring ---- */

static void show(const char *name, unsigned group, uint64_t n, double took, double cpu, uint64_t bytes)
{
    if (n)
        printf("%-24s %5u a commit %9.0f/s %8.0f commits/s %7.1f KB and %6.0f us of CPU a commit\n", name, group,
               (double)n / took, (double)n / group / took, (double)bytes / 1024 * group / (double)n,
               cpu * 1e6 * group / (double)n);
}

static void measure(struct bench *b, const char *name, unsigned group, change_fn *change)
{
    const double start = now_s(), cpu = cpu_now_s();
    const uint64_t bytes = written_bytes();
    uint64_t n = 0;

    while (now_s() - start < b->seconds && !used_up(b, group)) {
        struct mds_txn *t = NULL;
        struct error err;

        must(mds_write_begin(b->env, &t, &err), &err);
        for (unsigned i = 0; i < group; i++, n++)
            change(b, t, n);
        must(mds_write_commit(&t, &err), &err);
    }
    show(name, group, n, now_s() - start, cpu_now_s() - cpu, written_bytes() - bytes);
}

static void measure_floor(struct bench *b, unsigned group)
{
    const double start = now_s(), cpu = cpu_now_s();
    const uint64_t bytes = written_bytes();
    uint64_t n = 0;

    while (now_s() - start < b->seconds) {
        MDB_txn *t = NULL;

        must_lmdb(mdb_txn_begin(b->lmdb, NULL, 0, &t));
        for (unsigned i = 0; i < group; i++, n++) {
            uint8_t key[8], row[ROW_BYTES] = {(uint8_t)n};
            MDB_val k = {sizeof key, key}, v = {sizeof row, row};

            put_be64(key, next_random(&b->random) % b->messages);
            must_lmdb(mdb_put(t, b->dbi, &k, &v, 0));
        }
        must_lmdb(mdb_txn_commit(t));
    }
    show("floor: LMDB put", group, n, now_s() - start, cpu_now_s() - cpu, written_bytes() - bytes);
}

static void begin_and_abort(struct bench *b)
{
    const double start = now_s();
    uint64_t n = 0;

    while (now_s() - start < b->seconds / 4) {
        for (int i = 0; i < 100; i++, n++) {
            struct mds_txn *t = NULL;
            struct error err;

            must(mds_write_begin(b->env, &t, &err), &err);
            mds_write_abort(&t);
        }
    }
    printf("mds_write_begin and abort: %.1f us\n", (now_s() - start) * 1e6 / (double)n);
}

/* ---- writers beside a build ---- */

#define WAITS_MAX 20000

struct waiting {
    struct bench *b;
    atomic_bool *stop;
    unsigned number;
    double *took_s; /* of each change, from begin to durable */
    unsigned n;
    pthread_t thread;
};

static void *change_on(void *arg)
{
    struct waiting *w = arg;

    for (uint32_t uid = w->number + 1; !atomic_load(w->stop) && w->n < WAITS_MAX; uid += 64) {
        const double start = now_s();
        struct mds_txn *t = NULL;
        struct error err;

        must(mds_write_begin(w->b->env, &t, &err), &err);
        toggle(w->b, t, 1 + uid % (uint32_t)(w->b->messages / FOLDERS));
        must(mds_write_commit(&t, &err), &err);
        w->took_s[w->n++] = now_s() - start;
    }
    return NULL;
}

/* As an indexer does it: batches of 10,000, cut short when somebody waits. */
static uint64_t build_on(struct bench *b, double seconds)
{
    const double start = now_s();
    uint64_t n = 0;

    while (now_s() - start < seconds) {
        struct mds_txn *t = NULL;
        struct error err;

        must(mds_write_begin(b->env, &t, &err), &err);
        for (unsigned i = 0; i < BATCH; i++, n++) {
            append(b, t, n);
            if (i % 64 == 63 && mds_writer_waiting(b->env))
                break;
        }
        must(mds_write_commit(&t, &err), &err);
    }
    return n;
}

static int compare_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void beside_a_build(struct bench *b, unsigned threads)
{
    struct waiting *waiting = calloc(threads, sizeof *waiting);
    double *all = calloc((size_t)threads * WAITS_MAX, sizeof *all);
    unsigned n = 0, fewest = WAITS_MAX;
    atomic_bool stop = false;

    for (unsigned i = 0; i < threads; i++) {
        waiting[i] = (struct waiting){.b = b, .stop = &stop, .number = i, .took_s = calloc(WAITS_MAX, sizeof(double))};
        if (pthread_create(&waiting[i].thread, NULL, change_on, &waiting[i]) != 0)
            exit(1);
    }
    const uint64_t built = build_on(b, b->seconds * 2);

    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++) {
        (void)pthread_join(waiting[i].thread, NULL);
        memcpy(all + n, waiting[i].took_s, waiting[i].n * sizeof *all);
        n += waiting[i].n;
        fewest = waiting[i].n < fewest ? waiting[i].n : fewest;
        free(waiting[i].took_s);
    }
    qsort(all, n, sizeof *all, compare_double);
    printf("%2u threads with a STORE a commit beside a build of %.0f/s: %u commits, at least %u each; p50 %.1f ms, p99 "
           "%.1f "
           "ms, worst %.1f ms\n",
           threads, (double)built / b->seconds / 2, n, fewest, n ? all[n / 2] * 1e3 : 0,
           n ? all[n * 99 / 100] * 1e3 : 0, n ? all[n - 1] * 1e3 : 0);
    free(all);
    free(waiting);
}

/* What FETCH 1:* (FLAGS ENVELOPE) reads. */
static void scan(struct bench *b, const char *name, uint32_t folder, uint32_t from)
{
    double best = 1e9;
    uint64_t n = 0;

    for (int round = 0; round < 5; round++) {
        struct mds_txn *t = NULL;
        struct mds_words *w = NULL;
        struct mds_message m;
        struct bytes envelope, bodystructure;
        struct error err;
        const double start = now_s();

        must(mds_read_begin(b->env, &t, &err), &err);
        must(mds_words_new(t, &w, &err), &err);
        n = 0;
        for (uint32_t uid = from; mds_message_next(t, folder, uid, &m, &err) == 1; uid = m.uid + 1, n++)
            must(mds_words_wire(w, m.item, &envelope, &bodystructure, &err), &err);
        mds_words_free(&w);
        mds_read_end(&t);
        best = now_s() - start < best ? now_s() - start : best;
    }
    printf("%-44s %8llu messages %10.0f/s\n", name, (unsigned long long)n, (double)n / best);
}

static void packs(struct bench *b)
{
    struct mds_txn *t = NULL;
    struct mds_stat st;
    struct error err;

    must(mds_read_begin(b->env, &t, &err), &err);
    must(mds_stat(t, &st, &err), &err);
    mds_read_end(&t);
    for (unsigned i = 0; i < st.tables_n; i++)
        if (strcmp(st.tables[i].name, "wire") == 0 || strcmp(st.tables[i].name, "headers") == 0 ||
            strcmp(st.tables[i].name, "sort") == 0)
            printf("  %-8s %7llu packs, %5.1f items each, %6.0f bytes an item\n", st.tables[i].name,
                   (unsigned long long)st.tables[i].entries, (double)st.items / (double)st.tables[i].entries,
                   (double)st.tables[i].bytes / (double)st.items);
}

/* ---- making ---- */

static void prepare(struct bench *b, const char *dir)
{
    const struct mds_options opts = {.create = true, .archive_name = "bench"};
    struct mds_txn *t = NULL;
    struct error err;
    uint32_t source;

    must(mds_open(dir, &opts, &b->env, &err), &err);
    must(mds_write_begin(b->env, &t, &err), &err);
    must(mds_source_id(t, BYTES_LIT(MDS_SOURCE_OWN), true, &source, &err), &err);
    for (int i = 0; i < FOLDERS; i++) {
        char name[32];
        const int n = snprintf(name, sizeof name, "Folder %d", i);

        must(mds_folder_create(t, bytes_of(name, (size_t)n), &b->folder[i], &err), &err);
    }
    for (uint64_t i = 0; i < b->messages; i++) {
        message_add(b, t, b->folder[i * FOLDERS / b->messages], item_add(b, t));
        if (i % BATCH == BATCH - 1) {
            must(mds_write_commit(&t, &err), &err);
            must(mds_write_begin(b->env, &t, &err), &err);
        }
    }
    must(mds_write_commit(&t, &err), &err);
    must(mds_hashes_build(b->env, "/tmp", &err), &err);
}

static void prepare_floor(struct bench *b, const char *dir)
{
    char path[1200];
    MDB_txn *t = NULL;

    (void)snprintf(path, sizeof path, "%s/floor", dir);
    if (mkdir(path, 0700) != 0)
        exit(1);
    must_lmdb(mdb_env_create(&b->lmdb));
    must_lmdb(mdb_env_set_mapsize(b->lmdb, (size_t)1 << 34));
    must_lmdb(mdb_env_open(b->lmdb, path, MDB_NOTLS | MDB_NORDAHEAD, 0600));
    must_lmdb(mdb_txn_begin(b->lmdb, NULL, 0, &t));
    must_lmdb(mdb_dbi_open(t, NULL, 0, &b->dbi));
    for (uint64_t i = 0; i < b->messages; i++) {
        uint8_t key[8], row[ROW_BYTES] = {0};
        MDB_val k = {sizeof key, key}, v = {sizeof row, row};

        put_be64(key, i);
        must_lmdb(mdb_put(t, b->dbi, &k, &v, MDB_APPEND));
    }
    must_lmdb(mdb_txn_commit(t));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        unsigned group;
        change_fn *change;
    } rows[] = {
        {"one row of meta", 1, nothing_but_meta},
        {"STORE", 1, store_random},
        {"STORE", 16, store_random},
        {"STORE", 64, store_random},
        {"STORE, neighbours", 64, store_neighbours},
        {"APPEND", 1, append},
        {"APPEND", 16, append},
        {"APPEND", 64, append},
        {"COPY", 1, copy},
        {"COPY", 64, copy},
        {"MOVE", 1, move},
        {"MOVE", 64, move},
        {"EXPUNGE", 1, expunge},
        {"EXPUNGE", 64, expunge},
    };
    struct bench b = {.messages = 200000, .random = 1, .seconds = 2};
    struct error err;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: mds-live-bench DIR [MESSAGES [SECONDS]]\n");
        return 2;
    }
    if (argc > 2)
        b.messages = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        b.seconds = strtod(argv[3], NULL);
    if (b.messages < 50000)
        return 2;
    for (size_t i = 0; i < sizeof b.text; i++)
        b.text[i] = (uint8_t)('a' + next_random(&b.random) % 26);
    prepare(&b, argv[1]);
    prepare_floor(&b, argv[1]);
    printf("%llu messages, %.1f s a row\n", (unsigned long long)b.messages, b.seconds);
    packs(&b);
    scan(&b, "scan of a folder that was built", b.folder[4], 1);
    begin_and_abort(&b);
    measure_floor(&b, 1);
    measure_floor(&b, 16);
    measure_floor(&b, 64);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        measure(&b, rows[i].name, rows[i].group, rows[i].change);
    for (unsigned threads = 1; threads <= 16; threads *= 4)
        beside_a_build(&b, threads);
    scan(&b, "scan of what was appended", b.folder[0], 1 + (uint32_t)(b.messages / FOLDERS));
    packs(&b);
    struct mds_txn *t = NULL;

    must(mds_read_begin(b.env, &t, &err), &err);
    const int found = mds_verify(t, NULL, NULL, &err);

    must(found, &err);
    mds_read_end(&t);
    printf("verify: %d findings\n", found);
    mds_close(&b.env);
    mdb_env_close(b.lmdb);
    return found != 0;
}

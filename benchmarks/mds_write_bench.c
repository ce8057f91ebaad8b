/*
 * How fast the store alone takes items: item, message, place and words of realistic sizes, in synced batches. No mail
 * is read or parsed; compare with `mds-bench build`, whose writer this bounds.
 *
 *     mds-write-bench DIR [ITEMS [BATCH [FOLDERS]]]      DIR must not exist
 */
#include "mds/mds.h"

#include <stdlib.h>
#include <time.h>

#define ENVELOPE_BYTES      450
#define BODYSTRUCTURE_BYTES 250
#define HEADERS_BYTES       700
#define SORT_BYTES          350
#define PARTS_BYTES         48

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
    (void)fprintf(stderr, "mds-write-bench: %s: %s\n", base_err_name((enum base_err)rc), err->text);
    exit(1);
}

static long rss_anon_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (f)
        (void)fclose(f);
    return kib;
}

struct bench {
    struct mds_env *env;
    uint64_t items, batch;
    uint32_t folders, folder[64], container[64];
    uint64_t random, at;
    uint8_t text[1024];
    long rss_kib;
    double cpu_s; /* of the adding; on a busy machine the better measure */
};

/* A length around the mean, as mail has it: from a half to one and a half. */
static struct bytes some(struct bench *b, size_t mean)
{
    const size_t n = mean / 2 + next_random(&b->random) % mean;

    return bytes_of(b->text, n < sizeof b->text ? n : sizeof b->text);
}

static void add_one(struct bench *b, struct mds_txn *t)
{
    const uint32_t folder = (uint32_t)(b->at * b->folders / b->items);
    const uint64_t size = 2000 + next_random(&b->random) % 8000;
    struct error err;
    struct buf sort = {0};
    char name[96];
    const int n = snprintf(name, sizeof name, "cur/%llu.M%06uP1234V08.mail.example.org,S=%llu:2,S",
                           1200000000ull + (unsigned long long)b->at, (unsigned)(next_random(&b->random) % 1000000),
                           (unsigned long long)size);
    struct mds_item it = {
        .size = size,
        .size_crlf = size + 60,
        .has_sent_date = true,
        .sent_date = 1200000000 + (int64_t)b->at,
        .msgid_hash = next_random(&b->random) | 1,
        .locator = {.source = 1, .container = b->container[folder], .name = bytes_of(name, (size_t)n)},
        .parts = bytes_of(b->text, PARTS_BYTES),
    };
    const struct mds_sort columns = {
        .preview = some(b, SORT_BYTES - 60),
        .base_subject = some(b, 40),
    };

    mds_sort_encode(&columns, &sort);
    const struct mds_item_words words = {
        .envelope = some(b, ENVELOPE_BYTES),
        .bodystructure = some(b, BODYSTRUCTURE_BYTES),
        .headers = some(b, HEADERS_BYTES),
        .sort = buf_bytes(&sort),
    };

    for (int i = 0; i < HASH128_BYTES; i += 8)
        put_be64(it.hash.b + i, next_random(&b->random));
    it.thread_id = b->at + 1;
    must(mds_item_add(t, &it, &words, &err), &err);
    buf_release(&sort);
    struct mds_message m = {
        .folder = b->folder[folder],
        .item = it.id,
        .flags = next_random(&b->random) & 7 ? 1 : 0,
        .size_crlf = it.size_crlf,
        .internal_date = it.sent_date,
        .saved_date = 1700000000,
        .sent_date = it.sent_date - 3,
    };

    must(mds_message_add(t, &m, &err), &err);
    const struct mds_place p = {
        .identity = bytes_of(name + 4, (size_t)n - 8),
        .item = it.id,
        .folder = m.folder,
        .uid = m.uid,
        .flags = m.flags,
    };

    must(mds_place_put(t, it.locator.container, &p, &err), &err);
}

static void prepare(struct bench *b)
{
    struct mds_txn *t = NULL;
    struct mds_container c;
    struct error err;
    uint32_t source;

    must(mds_write_begin(b->env, &t, &err), &err);
    must(mds_source_id(t, BYTES_LIT("maildir:/bench"), true, &source, &err), &err);
    for (uint32_t i = 0; i < b->folders; i++) {
        char name[32];
        const int n = snprintf(name, sizeof name, "Folder %03u", i);

        must(mds_folder_create(t, bytes_of(name, (size_t)n), &b->folder[i], &err), &err);
        must(mds_container_find(t, source, bytes_of(name, (size_t)n), true, &c, &err), &err);
        b->container[i] = c.id;
    }
    must(mds_write_commit(&t, &err), &err);
}

static void report(struct bench *b, double add_s, double hashes_s)
{
    struct mds_txn *t = NULL;
    struct mds_stat st;
    struct error err;

    must(mds_read_begin(b->env, &t, &err), &err);
    must(mds_stat(t, &st, &err), &err);
    mds_read_end(&t);
    printf("items %llu, batch %llu, folders %u\n", (unsigned long long)b->items, (unsigned long long)b->batch,
           b->folders);
    printf("add    %.2f s, %.0f items/s; %.2f s of CPU, %.0f items/s of CPU\nhashes %.2f s\nRssAnon at most %ld "
           "KiB\nstore  %.1f bytes an item, %llu pages free\n",
           add_s, (double)b->items / add_s, b->cpu_s, (double)b->items / b->cpu_s, hashes_s, b->rss_kib,
           (double)st.file_bytes / (double)b->items, (unsigned long long)st.free_pages);
    for (unsigned i = 0; i < st.tables_n; i++)
        if (st.tables[i].entries > 100)
            printf("  %-10s %8llu rows %10llu bytes %7.1f an item\n", st.tables[i].name,
                   (unsigned long long)st.tables[i].entries, (unsigned long long)st.tables[i].bytes,
                   (double)st.tables[i].bytes / (double)b->items);
}

/* What FETCH 1:* (FLAGS ENVELOPE) of every folder reads. */
static void scan(struct bench *b)
{
    struct mds_txn *t = NULL;
    struct mds_words *w = NULL;
    struct mds_message m;
    struct bytes envelope, bodystructure;
    struct error err;
    uint64_t bytes = 0, n = 0;
    const double start = now_s();

    must(mds_read_begin(b->env, &t, &err), &err);
    must(mds_words_new(t, &w, &err), &err);
    for (uint32_t i = 0; i < b->folders; i++) {
        for (uint32_t uid = 1; mds_message_next(t, b->folder[i], uid, &m, &err) == 1; uid = m.uid + 1, n++) {
            must(mds_words_wire(w, m.item, &envelope, &bodystructure, &err), &err);
            bytes += envelope.n + bodystructure.n;
        }
    }
    mds_words_free(&w);
    mds_read_end(&t);
    const double took = now_s() - start;

    printf("scan   %.2f s, %.0f messages/s, %.0f MB/s of wire\n", took, (double)n / took, (double)bytes / took / 1e6);
}

static void verify(struct bench *b)
{
    struct mds_txn *t = NULL;
    struct error err;
    const double start = now_s();

    must(mds_read_begin(b->env, &t, &err), &err);
    const int found = mds_verify(t, NULL, NULL, &err);

    must(found, &err);
    mds_read_end(&t);
    printf("verify %.2f s, %d findings\n", now_s() - start, found);
}

int main(int argc, char **argv)
{
    const struct mds_options opts = {.create = true, .archive_name = "bench"};
    struct bench b = {.items = 200000, .batch = 10000, .folders = 5, .random = 1};
    struct error err;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: mds-write-bench DIR [ITEMS [BATCH [FOLDERS]]]\n");
        return 2;
    }
    if (argc > 2)
        b.items = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        b.batch = strtoull(argv[3], NULL, 10);
    if (argc > 4)
        b.folders = (uint32_t)strtoul(argv[4], NULL, 10);
    if (b.items == 0 || b.batch == 0 || b.folders == 0 || b.folders > 64)
        return 2;
    for (size_t i = 0; i < sizeof b.text; i++)
        b.text[i] = (uint8_t)('a' + next_random(&b.random) % 26);
    must(mds_open(argv[1], &opts, &b.env, &err), &err);
    prepare(&b);
    const double start = now_s(), cpu_start = cpu_now_s();

    while (b.at < b.items) {
        struct mds_txn *t = NULL;

        must(mds_write_begin(b.env, &t, &err), &err);
        for (uint64_t i = 0; i < b.batch && b.at < b.items; i++, b.at++)
            add_one(&b, t);
        const long kib = rss_anon_kib();

        b.rss_kib = kib > b.rss_kib ? kib : b.rss_kib;
        must(mds_write_commit(&t, &err), &err);
    }
    const double added = now_s();

    b.cpu_s = cpu_now_s() - cpu_start;

    must(mds_hashes_build(b.env, "/tmp", &err), &err);
    const double hashed = now_s();
    const long kib = rss_anon_kib();

    b.rss_kib = kib > b.rss_kib ? kib : b.rss_kib;
    report(&b, added - start, hashed - added);
    scan(&b);
    verify(&b);
    mds_close(&b.env);
    return 0;
}

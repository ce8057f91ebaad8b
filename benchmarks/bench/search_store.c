/* The folder that is searched, and the scan that nobody wants. */
#include "search.h"

#include "mds/columns.h"
#include "mds/mds.h"

#include <glib.h>

#define BATCH 10000u

struct folder_maker {
    struct mds_txn *t;
    uint32_t folder, n;
    uint64_t random;
};

static uint64_t random_u64(struct folder_maker *f)
{
    uint64_t z = f->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t random_below(struct folder_maker *f, uint64_t n)
{
    return random_u64(f) % n;
}

static int add_message(struct folder_maker *f, uint32_t i, struct error *err)
{
    static const int16_t zones[] = {0, 60, 120, -300, -480, 330, 540, 600};
    static const uint8_t text[200] = {0};
    const struct mds_item_words words = {
        .envelope = bytes_of(text, sizeof text), .bodystructure = bytes_of(text, 100), .headers = bytes_of(text, 100)};
    const int64_t step = SEARCH_YEARS * INT64_C(31557600) / f->n;
    const int64_t date = SEARCH_BEGIN + step * i + (int64_t)random_below(f, 7200);
    struct mds_item item = {.size = 2000, .size_crlf = 500 + random_below(f, 500) * random_below(f, 500)};
    struct mds_message m = {.folder = f->folder, .size_crlf = item.size_crlf, .internal_date = date};
    int rc;

    for (size_t k = 0; k < sizeof item.hash.b; k += 8)
        put_be64(item.hash.b + k, random_u64(f));
    item.has_sent_date = random_below(f, 50) != 0;
    if (item.has_sent_date) {
        item.sent_date =
            random_below(f, 100) == 0 ? (int64_t)random_below(f, 2000000000) : date - (int64_t)random_below(f, 600);
        item.sent_zone = zones[random_below(f, 8)];
    }
    item.thread_id = (uint64_t)(i / 5) * UINT64_C(0x9e3779b97f4a7c15);
    if ((rc = mds_item_add(f->t, &item, &words, err)) != BASE_OK)
        return rc;
    m.item = item.id;
    m.internal_zone = zones[random_below(f, 8)];
    m.saved_date = SEARCH_BEGIN + INT64_C(400000000) + i / 20000;
    m.sent_date = item.has_sent_date ? item.sent_date : date;
    m.flags = (random_below(f, 3) ? 1u : 0u) | (random_below(f, 5) ? 0u : 2u) | (random_below(f, 20) ? 0u : 4u) |
              (random_below(f, 100) ? 0u : 8u);
    return mds_message_add(f->t, &m, err);
}

static int fill(struct mds_env *env, uint32_t n, struct error *err)
{
    struct folder_maker f = {.n = n};
    struct mds_folder folder;
    int rc = BASE_OK;

    for (uint32_t i = 0; i < n && rc == BASE_OK;) {
        rc = mds_write_begin(env, &f.t, err);
        if (rc == BASE_OK && (rc = mds_folder_find(f.t, BYTES_LIT(SEARCH_FOLDER), &folder, err)) == BASE_OK)
            f.folder = folder.id;
        for (uint32_t k = 0; k < BATCH && i < n && rc == BASE_OK; k++)
            rc = add_message(&f, i++, err);
        if (rc == BASE_OK)
            rc = mds_write_commit(&f.t, err);
        else
            mds_write_abort(&f.t);
    }
    return rc;
}

bool search_store_make(const char *store, uint32_t n)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info info;
    struct mds_env *env = NULL;
    struct error err = {0};
    int rc = mds_catalogue_open(store, true, false, &catalogue, &err);

    if (rc == BASE_OK)
        rc = mds_catalogue_archive_find(catalogue, SEARCH_ARCHIVE, true, &info, &err);
    if (rc == BASE_OK)
        rc = mds_open(info.dir, &(struct mds_options){.create = true, .archive_name = SEARCH_ARCHIVE}, &env, &err);
    if (rc == BASE_OK)
        rc = mds_catalogue_archive_made(catalogue, SEARCH_ARCHIVE, &err);
    if (rc == BASE_OK)
        rc = fill(env, n, &err);
    if (rc == BASE_OK)
        rc = mds_hashes_build(env, info.dir, &err);
    mds_close(&env);
    mds_catalogue_close(&catalogue);
    if (rc != BASE_OK)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    return rc == BASE_OK;
}

static int scan(struct mds_txn *t, bool with_items, struct error *err)
{
    struct mds_folder folder;
    struct mds_message m;
    struct mds_item item;
    uint64_t sum = 0;
    int rc = mds_folder_find(t, BYTES_LIT(SEARCH_FOLDER), &folder, err);

    if (rc != BASE_OK)
        return rc;
    for (uint32_t uid = 1; (rc = mds_message_next(t, folder.id, uid, &m, err)) == 1; uid = m.uid + 1) {
        sum += m.size_crlf;
        if (with_items && (rc = mds_item_get(t, m.item, &item, err)) != BASE_OK)
            return rc;
    }
    if (rc == 0 && sum != folder.bytes)
        rc = error_set(err, BASE_ERR_CORRUPT, 0, "the scan missed rows");
    return rc;
}

double search_store_scan(const char *store, bool with_items)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info info;
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    struct error err = {0};
    gint64 begun = 0;
    int rc = mds_catalogue_open(store, false, true, &catalogue, &err);

    if (rc == BASE_OK)
        rc = mds_catalogue_archive_find(catalogue, SEARCH_ARCHIVE, false, &info, &err);
    if (rc == BASE_OK)
        rc = mds_open(info.dir, &(struct mds_options){.read_only = true}, &env, &err);
    if (rc == BASE_OK)
        rc = mds_read_begin(env, &t, &err);
    begun = g_get_monotonic_time();
    if (rc == BASE_OK)
        rc = scan(t, with_items, &err);

    const double ms = (double)(g_get_monotonic_time() - begun) / 1000;

    mds_read_end(&t);
    mds_close(&env);
    mds_catalogue_close(&catalogue);
    if (rc != BASE_OK)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    return rc == BASE_OK ? ms : -1;
}

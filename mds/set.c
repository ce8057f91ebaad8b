/* UID sets: rows of 65,536 UIDs each, edited as plain bits in a write transaction, read as one roaring bitmap. */
#include "mds_private.h"

static void set_key(struct key *key, uint32_t folder, uint32_t set, uint16_t high)
{
    key_reset(key);
    key_u32(key, folder);
    key_u32(key, set);
    key_u16(key, high);
}

static unsigned bucket_of(uint32_t folder, uint32_t set, uint16_t high)
{
    const uint64_t mixed = ((uint64_t)folder << 32 ^ (uint64_t)set << 16 ^ high) * UINT64_C(0x9e3779b97f4a7c15);

    return (unsigned)(mixed >> 40) % CACHE_BUCKETS;
}

void set_cache_drop(struct writer *w)
{
    for (unsigned i = 0; i < CACHE_BUCKETS; i++) {
        for (struct set_entry *e = w->sets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
        w->sets[i] = NULL;
    }
    w->sets_n = 0;
}

static int entry_flush(struct mds_txn *t, struct set_entry *e, struct error *err)
{
    struct key key;
    int rc;

    if (!e->dirty)
        return BASE_OK;
    set_key(&key, e->folder, e->set, e->high);
    const bool empty = set_bits_count(&e->bits) == 0;

    if (empty) {
        rc = e->stored ? row_delete(t, TABLE_SETS, key_bytes(&key), NULL, err) : BASE_OK;
    } else {
        struct buf *v = value_begin(t);

        set_bits_encode(&e->bits, v);
        rc = row_put(t, TABLE_SETS, key_bytes(&key), v, err);
    }
    if (rc == BASE_OK) {
        e->dirty = false;
        e->stored = !empty;
    }
    return rc;
}

int set_flush(struct mds_txn *t, struct error *err)
{
    int rc = BASE_OK;

    for (unsigned i = 0; i < CACHE_BUCKETS && rc == BASE_OK; i++) {
        for (struct set_entry *e = t->w->sets[i]; e && rc == BASE_OK; e = e->next)
            rc = entry_flush(t, e, err);
    }
    return rc;
}

static int entry_load(struct mds_txn *t, uint32_t folder, uint32_t set, uint16_t high, struct set_entry **out,
                      struct error *err)
{
    struct writer *w = t->w;
    struct key key;
    struct bytes row;
    int rc;

    if (w->sets_n >= SET_CACHE_MAX) {
        if ((rc = set_flush(t, err)) != BASE_OK)
            return rc;
        set_cache_drop(w);
    }
    set_key(&key, folder, set, high);
    rc = row_get(t, TABLE_SETS, key_bytes(&key), &row, err);
    if (rc != BASE_OK && rc != BASE_ERR_NOTFOUND)
        return rc;
    struct set_entry *e = calloc(1, sizeof *e);

    ASSERT(e);
    if (rc == BASE_OK && !set_bits_decode(row, &e->bits)) {
        free(e);
        return row_corrupt(t, TABLE_SETS, key_bytes(&key), "it does not decode", err);
    }
    e->folder = folder;
    e->set = set;
    e->high = high;
    e->stored = rc == BASE_OK;
    const unsigned bucket = bucket_of(folder, set, high);

    e->next = w->sets[bucket];
    w->sets[bucket] = e;
    w->sets_n++;
    *out = e;
    return BASE_OK;
}

static int entry_get(struct mds_txn *t, uint32_t folder, uint32_t set, uint16_t high, struct set_entry **out,
                     struct error *err)
{
    struct set_entry *e = t->w->sets[bucket_of(folder, set, high)];

    while (e && (e->folder != folder || e->set != set || e->high != high))
        e = e->next;
    *out = e;
    return e ? BASE_OK : entry_load(t, folder, set, high, out, err);
}

int set_change(struct mds_txn *t, uint32_t folder, uint32_t set, uint32_t uid, bool member, struct error *err)
{
    struct set_entry *e;
    const int rc = entry_get(t, folder, set, (uint16_t)(uid >> 16), &e, err);

    if (rc != BASE_OK)
        return rc;
    const uint64_t bit = UINT64_C(1) << (uid % 64);
    uint64_t *word = &e->bits.w[(uid & 0xffff) / 64];

    *word = member ? *word | bit : *word & ~bit;
    e->dirty = true;
    return BASE_OK;
}

int set_count(struct mds_txn *t, uint32_t folder, uint32_t set, uint32_t first, uint32_t n, uint32_t *out,
              struct error *err)
{
    struct set_entry *e;
    const int rc = entry_get(t, folder, set, (uint16_t)(first >> 16), &e, err);

    ASSERT(first % 64 == 0 && n % 64 == 0 && (first & 0xffff) + n <= 65536);
    *out = 0;
    for (uint32_t i = 0; rc == BASE_OK && i < n / 64; i++)
        *out += (uint32_t)__builtin_popcountll(e->bits.w[(first & 0xffff) / 64 + i]);
    return rc;
}

int mds_set_load(struct mds_txn *t, uint32_t folder, uint32_t set, roaring_bitmap_t **out, struct error *err)
{
    struct set_builder builder = {0};
    struct key first;
    struct bytes at, row;
    int rc = t->w ? set_flush(t, err) : BASE_OK;

    *out = NULL;
    if (rc != BASE_OK)
        return rc;
    set_key(&first, folder, set, 0);
    at = key_bytes(&first);
    for (rc = row_seek(t, TABLE_SETS, MDB_SET_RANGE, &at, &row, err);
         rc == 1 && at.n == 10 && memcmp(at.p, first.p, 8) == 0;
         rc = row_seek(t, TABLE_SETS, MDB_NEXT, &at, &row, err)) {
        if (!set_builder_add(&builder, (uint16_t)(at.p[8] << 8 | at.p[9]), row)) {
            rc = row_corrupt(t, TABLE_SETS, at, "it does not decode", err);
            break;
        }
    }
    if (rc >= 0)
        *out = set_builder_take(&builder);
    set_builder_release(&builder);
    return rc < 0 ? rc : BASE_OK;
}

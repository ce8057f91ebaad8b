/*
 * A changed mbox: its items have no names, only offsets, and a rewrite moves them all. Every item is
 * hashed again and matched to the container's former places by content; only content that is gone is expunged.
 *
 * Equal hashes are matched in UID order. That, and not the order of offsets, makes it
 * idempotent: a build that was killed half-way finds some places moved and some not, and matches the same UIDs to the same
 * offsets again.
 *
 * A place's key is its offset. A place that has to make room for another before its own new offset is
 * known goes to a key of its own (offset and UID), so that no commit ever loses one.
 *
 * The former bytes are no longer there to be compared, so hash and size decide, as everywhere when the old bytes are gone.
 */
#include "indexer_private.h"

#include <stdlib.h>
#include <string.h>

#define SLICE 2000u
#define LIMBO_KEY (INDEXER_MBOX_KEY + 4)

/* In memcmp order of hash, UID. */
struct entry {
    uint8_t hash[HASH128_BYTES];
    uint8_t uid[4];
    uint32_t skip;   /* first of its hash: how many of the same hash are taken */
    uint64_t offset; /* first 8 bytes of its place's key */
    uint8_t limbo, taken, unused[6];
};
#define ENTRY_KEY (HASH128_BYTES + 4)

struct indexer_former {
    struct table *table;
};

void indexer_mbox_key(uint64_t offset, uint8_t key[INDEXER_MBOX_KEY])
{
    put_be64(key, offset);
}

static struct bytes entry_key(const struct entry *e, uint8_t key[LIMBO_KEY])
{
    put_be64(key, e->offset);
    memcpy(key + INDEXER_MBOX_KEY, e->uid, 4);
    return bytes_of(key, e->limbo ? LIMBO_KEY : INDEXER_MBOX_KEY);
}

/* ---- the former content ---------------------------------------------------------------- */

/* 1: *e describes the place; 0: it holds nothing to be matched (a failure, or let go and its item gone). */
static int entry_of_place(struct mds_txn *txn, const struct mds_place *place, struct entry *e, struct error *err)
{
    struct mds_item item;
    if (!place->uid && place->reason.n)
        return 0;
    if (place->identity.n != INDEXER_MBOX_KEY && place->identity.n != LIMBO_KEY)
        return 0;
    int rc = place->item ? mds_item_get(txn, place->item, &item, err) : BASE_ERR_NOTFOUND;
    if (rc < 0)
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    *e = (struct entry){.offset = get_be64(place->identity.p), .limbo = place->identity.n == LIMBO_KEY};
    memcpy(e->hash, item.hash.b, sizeof e->hash);
    put_be32(e->uid, place->uid);
    return 1;
}

/* Reads all places; those without content go to `idle`, to be removed. */
static int read_former(struct indexer_writer *w, struct table *t, struct buf *idle, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct buf last = {0};
    bool first = true;
    int rc = 1;
    while (rc > 0) {
        rc = mds_read_begin(w->run->env, &txn, err);
        if (rc < 0)
            break;
        for (unsigned i = 0; i < SLICE; i++) {
            struct mds_place place;
            struct entry e;
            struct bytes after = buf_bytes(&last);
            rc = mds_place_next(txn, w->container.id, first ? NULL : &after, &place, err);
            if (rc <= 0)
                break;
            first = false;
            buf_reset(&last);
            buf_append_bytes(&last, place.identity);
            rc = entry_of_place(txn, &place, &e, err);
            if (rc == 0)
                buf_put_blob(idle, buf_bytes(&last));
            else if (rc > 0)
                rc = indexer_table_push(t, &e, err);
            if (rc < 0)
                break;
            rc = 1;
        }
        mds_read_end(&txn);
    }
    buf_release(&last);
    return rc;
}

static int drop_idle(struct indexer_writer *w, struct bytes idle, struct error *err)
{
    struct reader r = reader_of(idle);
    int rc = 0;
    while (rc == 0 && r.p < r.end) {
        struct bytes key = reader_blob(&r);
        rc = indexer_writer_txn(w, err);
        if (rc == 0)
            rc = mds_place_remove(w->txn, w->container.id, key, err);
        if (rc == 0)
            rc = indexer_writer_breathe(w, err);
    }
    return rc;
}

int indexer_mbox_begin(struct indexer_writer *w, struct error *err)
{
    struct buf idle = {0};
    struct table *t = NULL;
    if (w->container.rows == 0)
        return 0;
    /* The container's row must be seen by the reads below, and no transaction may be held over them. */
    int rc = indexer_writer_commit(w, err);
    if (rc == 0)
        rc = indexer_table_new(w->run->tmp, ENTRY_KEY, sizeof(struct entry), &t, err);
    if (rc == 0)
        rc = read_former(w, t, &idle, err);
    if (rc == 0)
        rc = indexer_table_finish(t, err);
    if (rc == 0)
        rc = drop_idle(w, buf_bytes(&idle), err);
    buf_release(&idle);
    if (rc < 0) {
        indexer_table_free(&t);
        return rc;
    }
    w->former = calloc(1, sizeof *w->former);
    ASSERT(w->former);
    w->former->table = t;
    return 0;
}

void indexer_mbox_release(struct indexer_writer *w)
{
    if (w->former)
        indexer_table_free(&w->former->table);
    free(w->former);
    w->former = NULL;
}

/* ---- matching ---------------------------------------------------------------------------- */

/* The lowest UID with this content that is not taken yet. */
static struct entry *take_entry(struct indexer_former *f, const struct hash128 *hash)
{
    size_t n = indexer_table_count(f->table);
    size_t i = n ? indexer_table_lower_bound(f->table, hash->b, HASH128_BYTES) : 0;
    if (i >= n)
        return NULL;
    struct entry *head = indexer_table_at(f->table, i);
    if (memcmp(head->hash, hash->b, HASH128_BYTES) != 0 || head->skip >= n - i)
        return NULL;
    struct entry *e = indexer_table_at(f->table, i + head->skip);
    if (memcmp(e->hash, hash->b, HASH128_BYTES) != 0)
        return NULL;
    head->skip++;
    e->taken = 1;
    return e;
}

static struct entry *find_entry(struct indexer_former *f, const struct hash128 *hash, uint32_t uid)
{
    uint8_t key[ENTRY_KEY];
    size_t n = indexer_table_count(f->table);
    memcpy(key, hash->b, HASH128_BYTES);
    put_be32(key + HASH128_BYTES, uid);
    size_t i = n ? indexer_table_lower_bound(f->table, key, sizeof key) : 0;
    struct entry *e = i < n ? indexer_table_at(f->table, i) : NULL;
    return e && memcmp(e, key, sizeof key) == 0 ? e : NULL;
}

/* A place copied out of the transaction, as the next write ends its views. */
struct held_place {
    struct mds_place place;
    struct buf text;
};

static int hold_place(struct indexer_writer *w, struct bytes key, struct held_place *out, struct error *err)
{
    *out = (struct held_place){0};
    int rc = mds_place_get(w->txn, w->container.id, key, &out->place, err);
    if (rc < 0)
        return rc;
    buf_append_bytes(&out->text, out->place.reason);
    out->place.reason = buf_bytes(&out->text);
    out->place.identity = key;
    return 0;
}

/* Makes room at `key`: a former place that stands there and is not matched yet moves aside. */
static int displace(struct indexer_writer *w, struct bytes key, struct error *err)
{
    struct held_place x;
    struct mds_item item;
    uint8_t limbo[LIMBO_KEY];
    int rc = w->former ? hold_place(w, key, &x, err) : BASE_ERR_NOTFOUND;
    if (rc < 0)
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    rc = mds_item_get(w->txn, x.place.item, &item, err);
    struct entry *e = rc == 0 ? find_entry(w->former, &item.hash, x.place.uid) : NULL;
    if (rc == BASE_ERR_NOTFOUND)
        rc = 0;
    if (e && !e->taken) {
        e->limbo = 1;
        x.place.identity = entry_key(e, limbo);
        rc = mds_place_put(w->txn, w->container.id, &x.place, err);
    }
    buf_release(&x.text);
    return rc;
}

/* The item is read from its new offset from now on, if it was read from the old one. */
static int follow_offset(struct indexer_writer *w, uint64_t id, uint64_t old_offset, struct error *err)
{
    struct mds_item item;
    int rc = mds_item_get(w->txn, id, &item, err);
    if (rc < 0)
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    if (item.locator.container != w->container.id || item.locator.offset != old_offset)
        return 0;
    item.locator = indexer_item_locator(w);
    return mds_item_update(w->txn, &item, NULL, err);
}

/* A former place has been found again, at this offset. */
static int keep(struct indexer_writer *w, const struct op *op, struct bytes key, struct entry *e, struct error *err)
{
    const struct vault_locator *l = &w->result.locator;
    struct held_place h;
    uint8_t old_bytes[LIMBO_KEY];
    struct bytes old_key = entry_key(e, old_bytes);
    bool moved = !bytes_equal(old_key, key), changed = false;
    uint32_t flags = op->flags;
    int rc = hold_place(w, old_key, &h, err);
    if (rc < 0)
        return rc;
    changed = h.place.flags != flags || h.place.keywords_hash != indexer_keywords_hash(op->keywords) ||
              h.place.size != l->length || h.place.mtime_ns != (int64_t)l->filter;
    bool merged;
    if (changed)
        rc = indexer_flags_merge(w, &h.place, flags, op->keywords, &merged, err);
    h.place.size = l->length;
    h.place.mtime_ns = (int64_t)l->filter;
    if (rc == 0 && moved) {
        rc = displace(w, key, err);
        if (rc == 0)
            rc = mds_place_remove(w->txn, w->container.id, old_key, err);
        w->report->moved++;
    }
    h.place.identity = key;
    if (rc == 0 && (moved || changed))
        rc = mds_place_put(w->txn, w->container.id, &h.place, err);
    if (rc == 0 && (moved || changed))
        rc = follow_offset(w, h.place.item, e->offset, err);
    buf_release(&h.text);
    return rc;
}

int indexer_mbox_take(struct indexer_writer *w, const struct op *op, struct error *err)
{
    uint8_t key_bytes[INDEXER_MBOX_KEY];
    struct bytes key = bytes_of(key_bytes, sizeof key_bytes);
    struct op seen = *op;
    bool failed = false;
    uint64_t item = 0;
    indexer_mbox_key(w->result.locator.offset, key_bytes);
    /* What relocate needs to read the item again from this place. */
    seen.has_stat = true;
    seen.size = w->result.locator.length;
    seen.mtime_ns = (int64_t)w->result.locator.filter;
    int rc = indexer_writer_txn(w, err);
    if (rc < 0)
        return rc;
    if (w->former && w->result.status != INGEST_FAILED) {
        struct entry *e = take_entry(w->former, &w->result.hash);
        if (e)
            return keep(w, op, key, e, err);
    }
    if (w->run->restore) {
        bool let_go = false;
        rc = indexer_carry_let_go(w, &seen, key, &let_go, err);
        if (rc < 0 || let_go)
            return rc;
    }
    rc = displace(w, key, err);
    if (rc == 0)
        rc = indexer_item_resolve(w, &item, &failed, err);
    if (rc < 0)
        return rc;
    if (failed)
        w->container_incomplete = true; /* it may be one of the former: nothing is gone until all were read */
    return failed ? indexer_item_place_failed(w, &seen, key, err) : indexer_item_file(w, &seen, key, item, err);
}

int indexer_mbox_end(struct indexer_writer *w, struct error *err)
{
    size_t n = w->former ? indexer_table_count(w->former->table) : 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct entry *e = indexer_table_at(w->former->table, i);
        uint8_t key_bytes[LIMBO_KEY];
        if (e->taken)
            continue;
        w->container_missing = true;
        w->missing += get_be32(e->uid) != 0;
        rc = indexer_missing_add(w, w->container.id, entry_key(e, key_bytes), err);
    }
    return rc;
}

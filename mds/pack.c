/*
 * Packs: the words of consecutive items, side by side in values that fill their pages. The last pack of each table is
 * kept in memory by a write transaction and taken up again by the next one.
 *
 * How much fills the pages of a compressed row is known only when it is compressed. A pack ends where, by the one
 * before, it should be full; if it has become too much, its last entries begin the next.
 */
#include "mds_private.h"

#define SPILL_TRIES 3

static const enum table pack_tables[PACK_KINDS] = {TABLE_WIRE, TABLE_HEADERS, TABLE_SORT};
static const bool pack_compressed[PACK_KINDS] = {[PACK_HEADERS] = true, [PACK_SORT] = true};

enum table pack_table(enum pack_kind kind)
{
    return pack_tables[kind];
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static void pack_key(struct key *key, uint64_t first)
{
    key_reset(key);
    key_u64(key, first);
}

/* Removed entries have no address, empty ones have. */
static struct bytes entry_of(const uint8_t *data, size_t off, uint32_t len)
{
    static const uint8_t nothing;

    if (len == 0)
        return (struct bytes){0};
    return len == 1 ? bytes_of(&nothing, 0) : bytes_of(data + off, len - 1);
}

/* ---- the pack in progress ---- */

static void writer_restart(struct pack_writer *p, uint64_t first)
{
    p->loaded = true;
    p->dirty = false;
    p->first = first;
    p->n = 0;
    p->index_bytes = 0;
    buf_reset(&p->data);
}

static void writer_push(struct pack_writer *p, struct bytes entry)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 32;
        p->len = realloc(p->len, p->cap * sizeof *p->len);
        ASSERT(p->len);
    }
    p->len[p->n++] = entry.p ? (uint32_t)entry.n + 1 : 0;
    p->index_bytes += varint_bytes(p->len[p->n - 1]);
    buf_append_bytes(&p->data, entry);
    p->dirty = true;
}

static size_t plain_goal(enum pack_kind kind, const struct pack_writer *p)
{
    return p->plain_goal ? p->plain_goal : pack_compressed[kind] ? 2 * PACK_ROW_BYTES : PACK_BYTES;
}

static bool writer_fits(enum pack_kind kind, const struct pack_writer *p, struct bytes entry)
{
    const size_t index = varint_bytes(p->n + 1) + p->index_bytes + varint_bytes(entry.n + 1);

    return p->n == 0 || SEAL_BYTES + index + p->data.n + entry.n <= plain_goal(kind, p);
}

static size_t data_bytes(const struct pack_writer *p, uint32_t n)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += p->len[i] ? p->len[i] - 1 : 0;
    return bytes;
}

/* The first n entries as a value; the size that it would have uncompressed. */
static size_t row_of(struct mds_txn *t, enum pack_kind kind, const struct pack_writer *p, uint32_t n, struct buf **row)
{
    struct buf *v = value_begin(t);
    const size_t from = v->n;

    pack_encode(p->len, n, bytes_of(p->data.p, data_bytes(p, n)), v);
    const size_t plain = v->n;

    if (pack_compressed[kind])
        pack_compress(v, from);
    *row = v;
    return plain;
}

static int writer_flush(struct mds_txn *t, enum pack_kind kind, struct pack_writer *p, struct error *err)
{
    struct key key;
    struct buf *row;
    int rc = BASE_OK;

    if (p->dirty && p->n) {
        (void)row_of(t, kind, p, p->n, &row);
        pack_key(&key, p->first);
        rc = row_put(t, pack_tables[kind], key_bytes(&key), row, err);
    }
    p->dirty = p->dirty && rc != BASE_OK;
    return rc;
}

static void writer_drop(struct pack_writer *p, uint32_t n)
{
    const size_t bytes = data_bytes(p, n);

    p->first += n;
    p->n -= n;
    memmove(p->len, p->len + n, p->n * sizeof *p->len);
    if (p->data.n > bytes)
        memmove(p->data.p, p->data.p + bytes, p->data.n - bytes);
    p->data.n -= bytes;
    p->index_bytes = 0;
    for (uint32_t i = 0; i < p->n; i++)
        p->index_bytes += varint_bytes(p->len[i]);
    p->dirty = p->n > 0;
}

/* From a row that holds `plain` bytes in `n`. */
static void learn_goal(struct pack_writer *p, size_t goal, size_t plain, size_t n)
{
    if (plain > PACK_PLAIN_MAX || n < PACK_ROW_BYTES / 4) /* large entries, or too little to tell */
        return;
    /* A little less than fills it: to have too much costs another compression, a page more costs a third. */
    goal = (3 * goal + plain * (PACK_ROW_BYTES - PACK_ROW_BYTES / 32) / n) / 4;
    p->plain_goal = goal < PACK_ROW_BYTES ? PACK_ROW_BYTES : goal < PACK_PLAIN_MAX ? goal : PACK_PLAIN_MAX;
}

/* Writes a row of as many entries as fill its pages; what is left stays in p. */
static int writer_spill(struct mds_txn *t, enum pack_kind kind, struct pack_writer *p, struct error *err)
{
    struct key key;
    struct buf *row;
    uint32_t n = p->n;

    if (!p->dirty) { /* it stands there */
        writer_drop(p, n);
        return BASE_OK;
    }
    size_t plain = row_of(t, kind, p, n, &row);

    for (unsigned i = 0; pack_compressed[kind] && i < SPILL_TRIES && row->n > PACK_ROW_BYTES && n > 1; i++) {
        const uint32_t fewer = (uint32_t)(n * (uint64_t)PACK_ROW_BYTES / row->n);

        n = fewer > 1 ? fewer - 1 : 1;
        plain = row_of(t, kind, p, n, &row);
    }
    if (pack_compressed[kind])
        learn_goal(p, plain_goal(kind, p), plain, row->n);
    pack_key(&key, p->first);
    const int rc = row_put(t, pack_tables[kind], key_bytes(&key), row, err);

    if (rc == BASE_OK)
        writer_drop(p, n);
    return rc;
}

static int writer_load(struct mds_txn *t, enum pack_kind kind, struct pack_writer *p, uint64_t item, struct error *err)
{
    const enum table table = pack_tables[kind];
    struct bytes key = {0}, row;
    int rc = row_seek(t, table, MDB_LAST, &key, &row, err);

    writer_restart(p, item);
    if (rc != 1)
        return rc;
    if (key.n != 8 || !pack_decode(get_be64(key.p), row, &t->pack))
        return row_corrupt(t, table, key, "it does not decode", err);
    if (pack_compressed[kind] && row.n < t->pack.plain.n)
        learn_goal(p, t->pack.plain.n * PACK_ROW_BYTES / row.n, t->pack.plain.n, row.n);
    if (item != t->pack.first + t->pack.n)
        return BASE_OK;
    p->first = t->pack.first;
    for (uint32_t i = 0; i < t->pack.n; i++)
        writer_push(p, entry_of(t->pack.data.p, t->pack.off[i], t->pack.len[i]));
    p->dirty = false;
    return BASE_OK;
}

int pack_append(struct mds_txn *t, enum pack_kind kind, uint64_t item, struct bytes entry, struct error *err)
{
    struct pack_writer *p = &t->w->packs[kind];
    int rc = BASE_OK;

    ASSERT(entry.p);
    if (!p->loaded && (rc = writer_load(t, kind, p, item, err)) != BASE_OK)
        return rc;
    if (p->first + p->n != item) {
        if ((rc = writer_flush(t, kind, p, err)) != BASE_OK)
            return rc;
        writer_restart(p, item);
    }
    while (!writer_fits(kind, p, entry)) {
        if ((rc = writer_spill(t, kind, p, err)) != BASE_OK)
            return rc;
    }
    writer_push(p, entry);
    return BASE_OK;
}

int pack_flush(struct mds_txn *t, struct error *err)
{
    int rc = BASE_OK;

    for (unsigned i = 0; i < PACK_KINDS && rc == BASE_OK; i++)
        rc = writer_flush(t, i, &t->w->packs[i], err);
    return rc;
}

/* ---- packs as they stand ---- */

int pack_seek(struct mds_txn *t, MDB_cursor *c, enum table table, uint64_t item, struct pack *pack, struct error *err)
{
    struct key key;
    struct bytes at, row;

    pack_key(&key, item);
    at = key_bytes(&key);
    int rc = row_seek_on(t, c, table, MDB_SET_RANGE, &at, &row, err);

    if (rc == 0)
        rc = row_seek_on(t, c, table, MDB_LAST, &at, &row, err);
    else if (rc == 1 && !bytes_equal(at, key_bytes(&key)))
        rc = row_seek_on(t, c, table, MDB_PREV, &at, &row, err);
    if (rc != 1)
        return rc;
    if (at.n != 8 || !pack_decode(get_be64(at.p), row, pack))
        return row_corrupt(t, table, at, "it does not decode", err);
    return pack_holds(pack, item);
}

/* Writes the entries anew from `first` on; they may have outgrown one pack. */
static int packs_put(struct mds_txn *t, enum pack_kind kind, uint64_t first, struct pack_writer *from,
                     struct error *err)
{
    struct pack_writer part = {.first = first, .plain_goal = pack_compressed[kind] ? PACK_PLAIN_MAX : PACK_BYTES};
    size_t at = 0;
    int rc = BASE_OK;

    for (uint32_t i = 0; i < from->n && rc == BASE_OK; i++) {
        const struct bytes entry = entry_of(from->data.p, at, from->len[i]);

        at += entry.n;
        if (!writer_fits(kind, &part, entry)) {
            rc = writer_flush(t, kind, &part, err);
            writer_restart(&part, first + i);
        }
        writer_push(&part, entry);
    }
    if (rc == BASE_OK)
        rc = writer_flush(t, kind, &part, err);
    free(part.len);
    buf_release(&part.data);
    return rc;
}

int pack_replace(struct mds_txn *t, enum pack_kind kind, uint64_t item, struct bytes entry, struct error *err)
{
    const enum table table = pack_tables[kind];
    struct pack_writer all = {0};
    struct key key;
    MDB_cursor *c;
    bool any = false;
    int rc = writer_flush(t, kind, &t->w->packs[kind], err);

    t->w->packs[kind].loaded = false;
    if (rc != BASE_OK || (rc = txn_cursor(t, table, &c, err)) != BASE_OK)
        return rc;
    rc = pack_seek(t, c, table, item, &t->pack, err);
    if (rc != 1) {
        pack_key(&key, item);
        return rc < 0 ? rc : row_corrupt(t, table, key_bytes(&key), "no pack holds this item", err);
    }
    for (uint32_t i = 0; i < t->pack.n; i++) {
        struct bytes e = entry_of(t->pack.data.p, t->pack.off[i], t->pack.len[i]);

        if (t->pack.first + i == item)
            e = entry;
        any = any || e.p;
        writer_push(&all, e);
    }
    const uint64_t first = t->pack.first;

    pack_key(&key, first);
    rc = any ? packs_put(t, kind, first, &all, err) : row_delete(t, table, key_bytes(&key), NULL, err);
    free(all.len);
    buf_release(&all.data);
    return rc;
}

/* ---- reading words in item order ---- */

struct words_table {
    MDB_cursor *cursor;
    struct pack pack;
    bool valid;
};

struct mds_words {
    struct mds_txn *txn;
    uint64_t write_seq;
    struct words_table tables[PACK_KINDS];
    MDB_cursor *items;
    uint64_t items_at; /* where it stands; 0: nowhere that is known */
};

int mds_words_new(struct mds_txn *txn, struct mds_words **out, struct error *err)
{
    (void)err;
    *out = calloc(1, sizeof **out);
    ASSERT(*out);
    (*out)->txn = txn;
    (*out)->write_seq = txn->write_seq;
    return BASE_OK;
}

static void words_forget(struct mds_words *w)
{
    for (unsigned i = 0; i < PACK_KINDS; i++) {
        w->tables[i].valid = false;
        if (w->tables[i].cursor)
            mdb_cursor_close(w->tables[i].cursor);
        w->tables[i].cursor = NULL;
    }
    if (w->items)
        mdb_cursor_close(w->items);
    w->items = NULL;
    w->items_at = 0;
}

void mds_words_rebind(struct mds_words *w, struct mds_txn *txn)
{
    words_forget(w);
    w->txn = txn;
    w->write_seq = txn->write_seq;
}

void mds_words_free(struct mds_words **wp)
{
    struct mds_words *w = *wp;

    if (!w)
        return;
    words_forget(w);
    for (unsigned i = 0; i < PACK_KINDS; i++)
        pack_release(&w->tables[i].pack);
    free(w);
    *wp = NULL;
}

static int words_next_pack(struct mds_words *w, enum pack_kind kind, uint64_t item, struct error *err)
{
    struct words_table *wt = &w->tables[kind];
    const enum table table = pack_tables[kind];

    if (!wt->cursor) {
        const int lmdb = mdb_cursor_open(w->txn->lmdb, w->txn->env->dbi[table], &wt->cursor);

        if (lmdb)
            return txn_fail(w->txn, lmdb, "opening a cursor", err);
    }
    if (wt->valid && item == wt->pack.first + wt->pack.n) {
        struct bytes key = {0}, row;
        const int rc = row_seek_on(w->txn, wt->cursor, table, MDB_NEXT, &key, &row, err);

        wt->valid = false;
        if (rc == 1 && (key.n != 8 || !pack_decode(get_be64(key.p), row, &wt->pack)))
            return row_corrupt(w->txn, table, key, "it does not decode", err);
        if (rc != 1 || pack_holds(&wt->pack, item))
            return rc;
    }
    wt->valid = false;
    return pack_seek(w->txn, wt->cursor, table, item, &wt->pack, err);
}

/* What was written since may have moved or freed what is remembered. */
static void words_follow(struct mds_words *w)
{
    if (w->write_seq == w->txn->write_seq)
        return;
    for (unsigned i = 0; i < PACK_KINDS; i++)
        w->tables[i].valid = false;
    w->items_at = 0;
    w->write_seq = w->txn->write_seq;
}

static int words_entry(struct mds_words *w, enum pack_kind kind, uint64_t item, struct bytes *out, struct error *err)
{
    struct words_table *wt = &w->tables[kind];
    int rc = w->txn->w ? pack_flush(w->txn, err) : BASE_OK;

    if (rc != BASE_OK)
        return rc;
    words_follow(w);
    if (!wt->valid || !pack_holds(&wt->pack, item)) {
        if ((rc = words_next_pack(w, kind, item, err)) < 0)
            return rc;
        wt->valid = rc == 1;
    }
    const uint32_t len = wt->valid ? wt->pack.len[item - wt->pack.first] : 0;

    if (len == 0)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: table %s has no item %llu", w->txn->env->dir,
                         table_names[pack_tables[kind]], (unsigned long long)item);
    *out = bytes_of(wt->pack.data.p + wt->pack.off[item - wt->pack.first], len - 1);
    return BASE_OK;
}

static int words_corrupt(struct mds_words *w, enum pack_kind kind, uint64_t item, struct error *err)
{
    struct key key;

    pack_key(&key, item);
    return row_corrupt(w->txn, pack_tables[kind], key_bytes(&key), "the item's entry does not decode", err);
}

int mds_words_wire(struct mds_words *w, uint64_t item, struct bytes *envelope, struct bytes *bodystructure,
                   struct error *err)
{
    struct bytes entry;
    const int rc = words_entry(w, PACK_WIRE, item, &entry, err);

    if (rc == BASE_OK && !wire_decode(entry, envelope, bodystructure))
        return words_corrupt(w, PACK_WIRE, item, err);
    return rc;
}

int mds_words_headers(struct mds_words *w, uint64_t item, struct bytes *headers, bool *complete, struct error *err)
{
    struct bytes entry;
    const int rc = words_entry(w, PACK_HEADERS, item, &entry, err);

    if (rc == BASE_OK && !headers_decode(entry, headers, complete))
        return words_corrupt(w, PACK_HEADERS, item, err);
    return rc;
}

int mds_words_sort(struct mds_words *w, uint64_t item, struct mds_sort *out, struct error *err)
{
    struct bytes entry;
    const int rc = words_entry(w, PACK_SORT, item, &entry, err);

    if (rc == BASE_OK && entry.n == 0) { /* an item that was added without any */
        *out = (struct mds_sort){0};
        return BASE_OK;
    }
    return rc == BASE_OK ? mds_sort_decode(entry, out, err) : rc;
}

int mds_words_item(struct mds_words *w, uint64_t item, struct mds_item *out, struct error *err)
{
    struct key key;
    struct bytes at, row;
    int rc = BASE_OK;

    words_follow(w);
    if (!w->items && (rc = mdb_cursor_open(w->txn->lmdb, w->txn->env->dbi[TABLE_ITEMS], &w->items)) != 0)
        return txn_fail(w->txn, rc, "opening a cursor", err);
    const bool step = w->items_at && item == w->items_at + 1;

    item_key(&key, item);
    at = key_bytes(&key);
    w->items_at = 0;
    rc = row_seek_on(w->txn, w->items, TABLE_ITEMS, step ? MDB_NEXT : MDB_SET_RANGE, &at, &row, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || !bytes_equal(at, key_bytes(&key)))
        return item_missing(w->txn, item, err);
    if (!item_decode(item, row, out))
        return row_corrupt(w->txn, TABLE_ITEMS, at, "it does not decode", err);
    w->items_at = item;
    return BASE_OK;
}

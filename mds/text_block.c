/*
 * Blocks of the dictionary and rows of postings as they lie in the map. They never change, so each is checked once,
 * when a reader of this process first meets it: its seal, and of a block every term and length. What follows may then
 * trust its form.
 */
#include "text_private.h"

/* ---- a block as bytes ---- */

void block_encode(const struct text_block *b, struct buf *out)
{
    buf_put_u32(out, b->number);
    buf_put_u64(out, b->stream_at);
    buf_put_u16(out, (uint16_t)b->n);
    buf_put_u16(out, (uint16_t)b->text.n);
    buf_append_bytes(out, b->text);
    buf_append_bytes(out, b->lens);
}

bool block_decode(struct bytes in, struct text_block *out)
{
    struct reader r = reader_of(in);

    out->number = reader_u32(&r);
    out->stream_at = reader_u64(&r);
    out->n = reader_u16(&r);
    const uint16_t text_n = reader_u16(&r);

    out->text = reader_bytes(&r, text_n);
    out->lens = read_rest(&r);
    return r.ok && text_n > 0;
}

void term_first(const struct text_block *b, struct text_term *out)
{
    *out = (struct text_term){.at = b->text.p + 1,
                              .end = b->text.p + b->text.n,
                              .len = b->lens.p,
                              .len_end = b->lens.p + b->lens.n,
                              .stream_at = b->stream_at};
}

bool term_next(struct text_term *t)
{
    t->stream_at += t->stream_n;
    t->stream_n = 0;
    if (t->at >= t->end)
        return false;
    const uint8_t *lf = memchr(t->at, '\n', (size_t)(t->end - t->at));

    if (!lf)
        return false;
    t->term = bytes_of(t->at, (size_t)(lf - t->at));
    t->at = lf + 1;
    for (unsigned shift = 0; t->len < t->len_end && shift < 63; shift += 7) {
        const uint8_t c = *t->len++;

        t->stream_n |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            break;
    }
    return true;
}

static bool term_valid(struct bytes term)
{
    for (size_t i = 0; i < term.n; i++) {
        if (term.p[i] < '0')
            return false;
    }
    return term.n > 0 && term.n <= MDS_TEXT_TERM_MAX;
}

bool block_check(const struct text_block *b, struct bytes first_term, uint64_t *lens_out)
{
    struct reader lens = reader_of(b->lens);
    struct text_term t;
    struct bytes before = {0};
    uint32_t n = 0;

    *lens_out = 0;
    if (b->n == 0 || b->text.n < 3 || b->text.p[0] != '\n' || b->text.p[b->text.n - 1] != '\n' || b->lens.n == 0)
        return false;
    term_first(b, &t);
    for (; term_next(&t); n++, before = t.term) {
        const uint64_t len = reader_varint(&lens);

        if (!term_valid(t.term) || len != t.stream_n || len == 0 || len > (UINT64_C(1) << 44) ||
            (n == 0 ? !bytes_equal(t.term, first_term) : bytes_compare(before, t.term) >= 0))
            return false;
        *lens_out += len;
    }
    return n == b->n && t.at == t.end && reader_done(&lens);
}

/* ---- blocks in the map ---- */

int blocks_open(struct mds_text_reader *r, const struct text_part *part, enum text_kind kind, struct text_blocks *out,
                struct error *err)
{
    *out = (struct text_blocks){.r = r, .part = part, .kind = kind};
    const int lmdb = mdb_cursor_open(r->txn->lmdb, r->txn->env->dbi[TABLE_TEXT], &out->cursor);

    return lmdb ? txn_fail(r->txn, lmdb, "opening a cursor", err) : BASE_OK;
}

void blocks_close(struct text_blocks *w)
{
    if (w->cursor)
        mdb_cursor_close(w->cursor);
    w->cursor = NULL;
}

static int block_take(struct text_blocks *w, struct bytes key, struct bytes payload, struct error *err)
{
    const enum text_seen_kind kind = w->kind == TEXT_TERMS ? SEEN_TERMS : SEEN_GRAMS;
    const struct text_segment *s = &w->part->s;
    uint64_t lens;

    w->first = bytes_slice(key, TEXT_KEY_HEAD, SIZE_MAX);
    if (!block_decode(payload, &w->b) || w->b.number >= w->part->seen->n[kind])
        return row_corrupt(w->r->txn, TABLE_TEXT, key, "it is no block of terms", err);
    if (text_seen_get(w->part->seen, kind, w->b.number))
        return 1;
    if (!row_seal_holds(TABLE_TEXT, key, payload))
        return row_corrupt(w->r->txn, TABLE_TEXT, key, "its checksum is wrong", err);
    if (!block_check(&w->b, w->first, &lens) || w->b.stream_at > s->stream_bytes ||
        lens > s->stream_bytes - w->b.stream_at)
        return row_corrupt(w->r->txn, TABLE_TEXT, key, "it is no block of terms", err);
    text_seen_set(w->part->seen, kind, w->b.number);
    return 1;
}

static bool key_is_of(const struct text_blocks *w, struct bytes key)
{
    struct key head;

    text_key(&head, w->part->s.id, w->kind);
    return key.n > TEXT_KEY_HEAD && memcmp(key.p, head.p, TEXT_KEY_HEAD) == 0;
}

static int blocks_move(struct text_blocks *w, MDB_cursor_op op, struct bytes *key, struct error *err)
{
    struct bytes payload;
    const int rc = row_seek_unsealed(w->r->txn, w->cursor, TABLE_TEXT, op, key, &payload, err);

    if (rc != 1)
        return rc;
    return key_is_of(w, *key) ? block_take(w, *key, payload, err) : 0;
}

int blocks_first(struct text_blocks *w, struct error *err)
{
    struct key head;

    text_key(&head, w->part->s.id, w->kind);
    struct bytes key = key_bytes(&head);

    w->at = 0;
    return blocks_move(w, MDB_SET_RANGE, &key, err);
}

int blocks_next(struct text_blocks *w, struct error *err)
{
    struct bytes key = {0};

    w->at++;
    return blocks_move(w, MDB_NEXT, &key, err);
}

int blocks_next_allowed(struct text_blocks *w, struct text_filter *f, bool from_start, struct error *err)
{
    struct bytes key = {0}, payload;
    struct key head;
    int rc;

    if (from_start) {
        text_key(&head, w->part->s.id, w->kind);
        key = key_bytes(&head);
    }
    w->at = from_start ? 0 : w->at + 1;
    for (MDB_cursor_op op = from_start ? MDB_SET_RANGE : MDB_NEXT;; op = MDB_NEXT, w->at++) {
        rc = row_seek_unsealed(w->r->txn, w->cursor, TABLE_TEXT, op, &key, &payload, err);
        if (rc != 1 || !key_is_of(w, key))
            return rc < 0 ? rc : 0;
        if ((rc = filter_allows(f, w->at, err)) == 0)
            continue;
        if (rc == 1 && (rc = block_take(w, key, payload, err)) == 1 && w->b.number != w->at)
            return row_corrupt(w->r->txn, TABLE_TEXT, key, "a block before it is missing or doubled", err);
        return rc;
    }
}

int blocks_seek(struct text_blocks *w, struct bytes term, struct error *err)
{
    struct bytes key, payload;
    struct key want;

    text_key(&want, w->part->s.id, w->kind);
    key_raw(&want, bytes_slice(term, 0, MDS_TEXT_TERM_MAX));
    key = key_bytes(&want);
    int rc = row_seek_unsealed(w->r->txn, w->cursor, TABLE_TEXT, MDB_SET_RANGE, &key, &payload, err);

    if (rc == 1 && key_is_of(w, key) && bytes_equal(key, key_bytes(&want)))
        return block_take(w, key, payload, err);
    if (rc >= 0)
        rc = row_seek_unsealed(w->r->txn, w->cursor, TABLE_TEXT, rc == 1 ? MDB_PREV : MDB_LAST, &key, &payload, err);
    if (rc < 0)
        return rc;
    return rc == 1 && key_is_of(w, key) ? block_take(w, key, payload, err) : blocks_first(w, err);
}

/* ---- the stream ---- */

void stream_init(struct text_stream *s, struct mds_text_reader *r, const struct text_part *part, struct buf *scratch)
{
    *s = (struct text_stream){.r = r, .part = part, .row = UINT32_MAX, .scratch = scratch};
}

static int stream_row(struct text_stream *s, uint32_t row, struct error *err)
{
    const uint64_t begin = (uint64_t)row * TEXT_STREAM_ROW, all = s->part->s.stream_bytes;
    struct key key;

    if (s->row == row)
        return BASE_OK;
    s->row = UINT32_MAX;
    text_key(&key, s->part->s.id, TEXT_STREAM);
    key_u32(&key, row);
    const int rc = row_get_unsealed(s->r->txn, TABLE_TEXT, key_bytes(&key), &s->view, err);

    if (rc != BASE_OK && rc != BASE_ERR_NOTFOUND)
        return rc;
    if (rc == BASE_ERR_NOTFOUND || begin >= all ||
        s->view.n != (all - begin < TEXT_STREAM_ROW ? all - begin : TEXT_STREAM_ROW))
        return row_corrupt(s->r->txn, TABLE_TEXT, key_bytes(&key), "it is missing, or of another length", err);
    if (!text_seen_get(s->part->seen, SEEN_STREAM, row)) {
        if (!row_seal_holds(TABLE_TEXT, key_bytes(&key), s->view))
            return row_corrupt(s->r->txn, TABLE_TEXT, key_bytes(&key), "its checksum is wrong", err);
        text_seen_set(s->part->seen, SEEN_STREAM, row);
    }
    s->row = row;
    return BASE_OK;
}

int stream_view(struct text_stream *s, uint64_t at, size_t least, size_t most, struct bytes *out, struct error *err)
{
    int rc = stream_row(s, (uint32_t)(at / TEXT_STREAM_ROW), err);

    if (rc != BASE_OK)
        return rc;
    *out = bytes_slice(s->view, (size_t)(at % TEXT_STREAM_ROW), most);
    if (out->n >= least)
        return BASE_OK;
    buf_reset(s->scratch);
    while (s->scratch->n < least) {
        const uint64_t next = at + s->scratch->n;

        if ((rc = stream_row(s, (uint32_t)(next / TEXT_STREAM_ROW), err)) != BASE_OK)
            return rc;
        buf_append_bytes(s->scratch, bytes_slice(s->view, (size_t)(next % TEXT_STREAM_ROW), least - s->scratch->n));
    }
    *out = buf_bytes(s->scratch);
    return BASE_OK;
}

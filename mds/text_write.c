/*
 * A new segment, from terms in order: blocks of the dictionary and the stream of postings grow side by side, and go out
 * as rows of a size that LMDB stores without waste. The bytes depend on the postings alone, not on how they came.
 */
#include "text_private.h"

#define BLOCK_HEAD 16u
#define LEN_MAX    7u /* a record's length as a varint: below 2^44 */
#define IDS_MAX    (LIST_CHUNK_MAX + LIST_FLAT_MAX)

/* ---- rows ---- */

void rows_add(struct text_rows *rows, struct bytes key, struct bytes payload)
{
    buf_put_blob(&rows->data, key);
    buf_put_blob(&rows->data, payload);
}

int rows_put(const struct text_rows *rows, struct mds_txn *t, uint32_t segment, struct error *err)
{
    struct reader in = reader_of(buf_bytes(&rows->data));
    int rc = BASE_OK;

    while (rc == BASE_OK && in.p < in.end) {
        const struct bytes tail = reader_blob(&in), payload = reader_blob(&in);
        struct buf *value = value_begin(t);
        struct key key;

        ASSERT(in.ok);
        key_reset(&key);
        key_u32(&key, segment);
        key_raw(&key, tail);
        buf_append_bytes(value, payload);
        rc = row_put(t, TABLE_TEXT, key_bytes(&key), value, err);
    }
    return rc;
}

static void row_add(struct text_writer *w, enum text_kind kind, struct bytes tail, struct bytes payload)
{
    struct key key;
    const uint8_t c = (uint8_t)kind;

    key_reset(&key);
    key_raw(&key, bytes_of(&c, 1));
    key_raw(&key, tail);
    rows_add(&w->rows, key_bytes(&key), payload);
}

/* ---- the stream ---- */

static void stream_flush(struct text_writer *w, bool all)
{
    size_t at = 0;

    while (w->stream.n - at >= TEXT_STREAM_ROW || (all && w->stream.n > at)) {
        const struct bytes payload = bytes_slice(bytes_slice(buf_bytes(&w->stream), at, SIZE_MAX), 0, TEXT_STREAM_ROW);
        uint8_t row[4];

        put_be32(row, (uint32_t)(w->stream_at / TEXT_STREAM_ROW));
        row_add(w, TEXT_STREAM, bytes_of(row, sizeof row), payload);
        w->stream_at += payload.n;
        at += payload.n;
    }
    if (at) {
        memmove(w->stream.p, w->stream.p + at, w->stream.n - at);
        w->stream.n -= at;
    }
}

static uint64_t stream_now(const struct text_writer *w)
{
    return w->stream_at + w->stream.n;
}

/* ---- blocks ---- */

/* Of the block that was just numbered; the last of a group writes the group. */
static void filter_add(struct text_writer *w, uint32_t block)
{
    if (!w->filter)
        w->filter = calloc(1, FILTER_BYTES);
    ASSERT(w->filter);
    filter_fill(w->filter, block, buf_bytes(&w->text));
    if (block % FILTER_BLOCKS != FILTER_BLOCKS - 1)
        return;
    for (uint32_t i = 0; i < FILTER_ROWS; i++) {
        uint8_t row[4];

        put_be32(row, block / FILTER_BLOCKS * FILTER_ROWS + i);
        row_add(w, TEXT_FILTER, bytes_of(row, sizeof row), filter_row(w->filter, i));
    }
    w->s.block_bytes += FILTER_BYTES;
    memset(w->filter, 0, FILTER_BYTES);
}

static void block_flush(struct text_writer *w)
{
    uint32_t *const number = w->kind == TEXT_TERMS ? &w->s.blocks : &w->s.gram_blocks;
    uint64_t *const bytes = w->kind == TEXT_TERMS ? &w->s.block_bytes : &w->s.gram_block_bytes;

    if (w->block_n == 0)
        return;
    buf_append_byte(&w->text, '\n');
    const struct text_block b = {*number, w->block_n, w->block_at, buf_bytes(&w->text), buf_bytes(&w->lens)};

    buf_reset(&w->scratch);
    block_encode(&b, &w->scratch);
    row_add(w, w->kind, bytes_of(w->first, w->first_n), buf_bytes(&w->scratch));
    *bytes += w->scratch.n;
    if (w->kind == TEXT_TERMS)
        filter_add(w, *number);
    (*number)++;
    w->block_n = 0;
    buf_reset(&w->text);
    buf_reset(&w->lens);
}

static void block_term(struct text_writer *w, uint64_t len)
{
    if (BLOCK_HEAD + w->text.n + w->term_n + 2 + w->lens.n + LEN_MAX > TEXT_BLOCK_MAX)
        block_flush(w);
    if (w->block_n++ == 0) {
        w->first_n = w->term_n;
        memcpy(w->first, w->term, w->term_n);
        w->block_at = w->record_at;
    }
    buf_append_byte(&w->text, '\n');
    buf_append(&w->text, w->term, w->term_n);
    buf_put_varint(&w->lens, len);
}

/* ---- groups ---- */

static void chunk_write(struct text_writer *w, const uint32_t *ids, uint32_t n)
{
    const int32_t high = (int32_t)(ids[0] >> 16);
    const uint32_t low = ids[0] & 0xffff0000, top = low | 0xffff;
    const uint32_t first = low > w->s.first ? low : w->s.first, last = top < w->s.last ? top : w->s.last;

    buf_reset(&w->scratch);
    const enum list_form form = list_chunk_encode(ids, n, first, last, &w->scratch);

    buf_put_varint(&w->stream, (uint64_t)(high - w->high));
    buf_put_u8(&w->stream, (uint8_t)form);
    buf_put_u16(&w->stream, (uint16_t)(n - 1));
    buf_put_u16(&w->stream, (uint16_t)w->scratch.n);
    buf_append_bytes(&w->stream, buf_bytes(&w->scratch));
    w->high = high;
    stream_flush(w, false);
}

static void head_write(struct text_writer *w, unsigned kind)
{
    buf_put_varint(&w->stream, (uint64_t)w->mask << 2 | kind);
}

/* The waiting ids that are sure to be whole chunks, or all. */
static void chunks_write(struct text_writer *w, bool all)
{
    uint32_t at = 0, end;

    if (!w->chunked) {
        head_write(w, RECORD_HEAD_CHUNKS);
        w->chunked = true;
        w->high = -1;
    }
    while (at < w->ids_n) {
        for (end = at; end < w->ids_n && w->ids[end] >> 16 == w->ids[at] >> 16;)
            end++;
        if (end == w->ids_n && !all)
            break;
        chunk_write(w, w->ids + at, end - at);
        at = end;
    }
    w->ids_n -= at;
    memmove(w->ids, w->ids + at, w->ids_n * sizeof *w->ids);
}

static void group_end(struct text_writer *w)
{
    if (w->chunked) {
        chunks_write(w, true);
        buf_put_varint(&w->stream, 0);
    } else if (w->ids_n == 1) {
        const unsigned n = record_single_bytes(w->s.first, w->s.last);

        head_write(w, RECORD_HEAD_SINGLE);
        for (unsigned i = n; i-- > 0;)
            buf_put_u8(&w->stream, (uint8_t)((w->ids[0] - w->s.first) >> (8 * i)));
    } else if (w->ids_n) {
        head_write(w, RECORD_HEAD_FLAT);
        buf_put_varint(&w->stream, w->ids_n);
        list_encode(w->ids, w->ids_n, w->s.first, w->s.last, &w->stream);
    }
    w->chunked = false;
    w->ids_n = 0;
    w->mask = 0;
}

static void term_end(struct text_writer *w)
{
    group_end(w);
    const uint64_t len = stream_now(w) - w->record_at;

    if (len) {
        block_term(w, len);
        if (w->kind == TEXT_TERMS)
            w->s.terms++;
    }
    w->term_n = 0;
    stream_flush(w, false);
}

/* ---- the way in ---- */

void writer_init(struct text_writer *w, uint32_t first, uint32_t last)
{
    *w = (struct text_writer){.s = {.first = first, .last = last}, .kind = TEXT_TERMS};
    w->ids = malloc(IDS_MAX * sizeof *w->ids);
    ASSERT(w->ids && first > 0 && first <= last);
}

void writer_release(struct text_writer *w)
{
    buf_release(&w->rows.data);
    buf_release(&w->text);
    buf_release(&w->lens);
    buf_release(&w->stream);
    buf_release(&w->scratch);
    free(w->ids);
    free(w->filter);
    *w = (struct text_writer){0};
}

void writer_term(struct text_writer *w, struct bytes term)
{
    ASSERT(term.n > 0 && term.n <= MDS_TEXT_TERM_MAX);
    term_end(w);
    memcpy(w->term, term.p, term.n);
    w->term_n = (uint8_t)term.n;
    w->record_at = stream_now(w);
}

void writer_group(struct text_writer *w, uint32_t mask)
{
    group_end(w);
    w->mask = mask;
}

void writer_items(struct text_writer *w, const uint32_t *ids, uint32_t n)
{
    if (w->kind == TEXT_TERMS)
        w->s.postings += n;
    while (n) {
        const uint32_t some = n < IDS_MAX - w->ids_n ? n : IDS_MAX - w->ids_n;

        memcpy(w->ids + w->ids_n, ids, some * sizeof *ids);
        w->ids_n += some;
        ids += some;
        n -= some;
        if (w->ids_n > LIST_FLAT_MAX || w->chunked)
            chunks_write(w, false);
    }
}

void writer_grams(struct text_writer *w)
{
    term_end(w);
    block_flush(w);
    w->kind = TEXT_GRAMS;
    w->s.grams_at = stream_now(w);
    w->record_at = stream_now(w);
}

static void items_write(struct text_writer *w, const roaring_bitmap_t *items)
{
    struct set_bits *bits = calloc(1, sizeof *bits);
    roaring_uint32_iterator_t it;

    ASSERT(bits);
    roaring_init_iterator(items, &it);
    while (it.has_value) {
        const uint16_t high = (uint16_t)(it.current_value >> 16);
        const uint8_t key[2] = {(uint8_t)(high >> 8), (uint8_t)high};

        memset(bits, 0, sizeof *bits);
        while (it.has_value && it.current_value >> 16 == high) {
            const uint32_t low = it.current_value & 0xffff;

            bits->w[low / 64] |= UINT64_C(1) << (low % 64);
            (void)roaring_advance_uint32_iterator(&it);
        }
        buf_reset(&w->scratch);
        set_bits_encode(bits, &w->scratch);
        row_add(w, TEXT_ITEMS, bytes_of(key, sizeof key), buf_bytes(&w->scratch));
    }
    free(bits);
}

void writer_finish(struct text_writer *w, const roaring_bitmap_t *items, const struct text_anchor *anchors,
                   size_t anchors_n)
{
    term_end(w);
    block_flush(w);
    if (w->kind == TEXT_TERMS)
        w->s.grams_at = stream_now(w);
    w->s.stream_bytes = stream_now(w);
    stream_flush(w, true);
    items_write(w, items);
    w->s.items = roaring_bitmap_get_cardinality(items);
    buf_reset(&w->scratch);
    anchors_encode(anchors, anchors_n, &w->scratch);
    row_add(w, TEXT_ANCHORS, bytes_of(NULL, 0), buf_bytes(&w->scratch));
}

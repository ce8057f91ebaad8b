/* Which segments there are: one row of meta. And the small rows of a segment: its items, its anchors. */
#include "text_private.h"

#define SEGMENTS_MAX (1u << 20)
#define BLOCKS_MAX   (1u << 26)
#define STREAM_MAX   (UINT64_C(1) << 45)

/* ---- the directory as bytes ---- */

static void segment_encode(const struct text_segment *s, struct buf *out)
{
    buf_put_varint(out, s->id);
    buf_put_u8(out, (uint8_t)s->state);
    buf_put_varint(out, s->first);
    buf_put_varint(out, s->last);
    buf_put_varint(out, s->items);
    buf_put_varint(out, s->terms);
    buf_put_varint(out, s->postings);
    buf_put_varint(out, s->text_bytes);
    buf_put_varint(out, s->blocks);
    buf_put_varint(out, s->gram_blocks);
    buf_put_varint(out, s->stream_bytes);
    buf_put_varint(out, s->grams_at);
    buf_put_varint(out, s->block_bytes);
    buf_put_varint(out, s->gram_block_bytes);
}

static struct text_segment segment_decode(struct reader *r)
{
    struct text_segment s = {0};

    s.id = read_u32(r);
    s.state = (enum text_state)reader_u8(r);
    s.first = read_u32(r);
    s.last = read_u32(r);
    s.items = reader_varint(r);
    s.terms = reader_varint(r);
    s.postings = reader_varint(r);
    s.text_bytes = reader_varint(r);
    s.blocks = read_u32(r);
    s.gram_blocks = read_u32(r);
    s.stream_bytes = reader_varint(r);
    s.grams_at = reader_varint(r);
    s.block_bytes = reader_varint(r);
    s.gram_block_bytes = reader_varint(r);
    return s;
}

static bool segment_valid(const struct text_segment *s)
{
    if (s->state == TEXT_BUILDING || s->state == TEXT_DEAD)
        return true;
    return s->state == TEXT_LIVE && s->first > 0 && s->first <= s->last && s->items > 0 &&
           s->items <= (uint64_t)s->last - s->first + 1 && s->blocks <= BLOCKS_MAX && s->gram_blocks <= BLOCKS_MAX &&
           s->stream_bytes <= STREAM_MAX && s->grams_at <= s->stream_bytes;
}

void dir_encode(const struct text_dir *d, struct buf *out)
{
    buf_put_blob(out, buf_bytes(&d->identity));
    buf_put_varint(out, d->next_id);
    buf_put_varint(out, d->n);
    for (uint32_t i = 0; i < d->n; i++)
        segment_encode(&d->v[i], out);
}

static struct text_segment *dir_room(struct text_dir *d)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 16;
        d->v = realloc(d->v, d->cap * sizeof *d->v);
        ASSERT(d->v);
    }
    return &d->v[d->n++];
}

bool dir_decode(struct bytes in, struct text_dir *out)
{
    struct reader r = reader_of(in);
    const struct bytes identity = reader_blob(&r);
    uint32_t id = 0;

    buf_reset(&out->identity);
    buf_append_bytes(&out->identity, identity);
    out->next_id = read_u32(&r);
    out->n = 0;
    const uint64_t n = reader_varint(&r);

    if (!r.ok || identity.n > MDS_TEXT_IDENTITY_MAX || n > SEGMENTS_MAX)
        return false;
    for (uint64_t i = 0; i < n && r.ok; i++) {
        const struct text_segment s = segment_decode(&r);

        if (!r.ok || s.id <= id || s.id >= out->next_id || !segment_valid(&s))
            return false;
        id = s.id;
        *dir_room(out) = s;
    }
    return reader_done(&r) && out->next_id > 0;
}

void dir_release(struct text_dir *d)
{
    buf_release(&d->identity);
    free(d->v);
    *d = (struct text_dir){0};
}

struct text_segment *dir_add(struct text_dir *d)
{
    struct text_segment *s = dir_room(d);

    ASSERT(d->next_id < UINT32_MAX);
    *s = (struct text_segment){.id = d->next_id++};
    return s;
}

struct text_segment *dir_find(struct text_dir *d, uint32_t id)
{
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->v[i].id == id)
            return &d->v[i];
    }
    return NULL;
}

void dir_remove(struct text_dir *d, uint32_t id)
{
    struct text_segment *s = dir_find(d, id);

    if (!s)
        return;
    d->n--;
    memmove(s, s + 1, (size_t)(d->v + d->n - s) * sizeof *s);
}

int dir_load(struct mds_txn *t, struct text_dir *out, struct error *err)
{
    struct bytes row;
    const int rc = meta_own_get(t, META_TEXT, &row, err);

    if (rc == BASE_OK && !dir_decode(row, out))
        return row_corrupt(t, TABLE_META, BYTES_LIT(META_TEXT), "it does not decode", err);
    return rc;
}

int dir_store(struct mds_txn *t, const struct text_dir *d, struct error *err)
{
    struct buf *v = value_begin(t);

    dir_encode(d, v);
    return row_put(t, TABLE_META, BYTES_LIT(META_TEXT), v, err);
}

/* ---- rows of a segment ---- */

void text_key(struct key *k, uint32_t segment, enum text_kind kind)
{
    const uint8_t c = (uint8_t)kind;

    key_reset(k);
    key_u32(k, segment);
    key_raw(k, bytes_of(&c, 1));
}

int text_items_load(struct mds_txn *t, const struct text_segment *s, roaring_bitmap_t **out, struct error *err)
{
    struct set_builder sets = {0};
    struct bytes at, payload;
    struct key key;
    MDB_cursor_op op = MDB_SET_RANGE;
    int rc;

    *out = NULL;
    text_key(&key, s->id, TEXT_ITEMS);
    at = key_bytes(&key);
    while ((rc = row_seek(t, TABLE_TEXT, op, &at, &payload, err)) == 1) {
        if (at.n != TEXT_KEY_HEAD + 2 || memcmp(at.p, key.p, TEXT_KEY_HEAD) != 0)
            break;
        const uint16_t high = (uint16_t)(at.p[TEXT_KEY_HEAD] << 8 | at.p[TEXT_KEY_HEAD + 1]);

        if (!set_builder_add(&sets, high, payload)) {
            rc = row_corrupt(t, TABLE_TEXT, at, "it is no set of items", err);
            break;
        }
        op = MDB_NEXT;
    }
    if (rc >= 0) {
        *out = set_builder_take(&sets);
        rc = BASE_OK;
        if (roaring_bitmap_get_cardinality(*out) != s->items || roaring_bitmap_minimum(*out) != s->first ||
            roaring_bitmap_maximum(*out) != s->last) {
            text_set_free(*out);
            *out = NULL;
            rc = row_corrupt(t, TABLE_TEXT, key_bytes(&key), "its items are not those of the directory", err);
        }
    }
    set_builder_release(&sets);
    return rc;
}

size_t anchors_thin(struct text_anchor *v, size_t n)
{
    const size_t half = TEXT_ANCHORS_MAX / 2;

    if (n <= TEXT_ANCHORS_MAX)
        return n;
    for (size_t i = 0; i < half; i++)
        v[i] = v[i * (n - half) / half];
    memmove(v + half, v + n - half, half * sizeof *v);
    return TEXT_ANCHORS_MAX;
}

void anchors_encode(const struct text_anchor *v, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_put_u32(out, v[i].item);
        buf_put_u64(out, v[i].tag);
    }
}

bool anchors_decode(struct bytes in, struct text_anchor *v, size_t *n_out)
{
    struct reader r = reader_of(in);

    *n_out = in.n / 12;
    if (in.n % 12 || *n_out > TEXT_ANCHORS_MAX)
        return false;
    for (size_t i = 0; i < *n_out; i++) {
        v[i] = (struct text_anchor){reader_u32(&r), reader_u64(&r)};
        if (v[i].item == 0 || (i && v[i].item <= v[i - 1].item))
            return false;
    }
    return reader_done(&r);
}

int text_anchors_load(struct mds_txn *t, uint32_t segment, struct text_anchor *v, size_t *n_out, struct error *err)
{
    struct bytes payload;
    struct key key;

    text_key(&key, segment, TEXT_ANCHORS);
    const int rc = row_get(t, TABLE_TEXT, key_bytes(&key), &payload, err);

    if (rc == BASE_ERR_NOTFOUND || (rc == BASE_OK && !anchors_decode(payload, v, n_out)))
        return row_corrupt(t, TABLE_TEXT, key_bytes(&key), "its anchors are missing or do not decode", err);
    return rc;
}

/* The postings of a term: groups of items that have it in the same classes. Streamed, as they may be of any length. */
#include "text_private.h"

#define GROUP_HEAD_MAX 16u   /* two varints */
#define FLAT_BYTES     8192u /* LIST_FLAT_MAX ids take at most 33 bits each, and the zeros of all together 3 bits each */

static int record_corrupt(struct text_record *r, struct error *err)
{
    return text_corrupt(r->stream->r->text, r->s->id, "postings that do not decode", err);
}

void record_begin(struct text_record *r, struct text_stream *s, uint64_t at, uint64_t n)
{
    *r = (struct text_record){.stream = s, .s = &s->part->s, .at = at, .rest = n};
}

/* n bytes in view, or all that are left. */
static int record_fill(struct text_record *r, size_t n, struct error *err)
{
    const uint64_t left = r->rest + r->view.n;

    if (n > left)
        n = (size_t)left;
    if (r->view.n >= n)
        return BASE_OK;
    const uint64_t at = r->at - r->view.n;
    const int rc = stream_view(r->stream, at, n, left < SIZE_MAX ? (size_t)left : SIZE_MAX, &r->view, err);

    r->at = at + r->view.n;
    r->rest = left - r->view.n;
    return rc;
}

static void record_skip(struct text_record *r, size_t n)
{
    r->view = bytes_slice(r->view, n, SIZE_MAX);
}

static bool record_varint(struct text_record *r, uint64_t *out)
{
    struct reader in = reader_of(r->view);

    *out = reader_varint(&in);
    record_skip(r, (size_t)(in.p - r->view.p));
    return in.ok;
}

int record_group(struct text_record *r, struct error *err)
{
    uint64_t head;
    int rc;

    ASSERT(r->kind == RECORD_IDLE);
    if (r->rest == 0 && r->view.n == 0)
        return 0;
    if ((rc = record_fill(r, GROUP_HEAD_MAX, err)) != BASE_OK)
        return rc;
    if (!record_varint(r, &head) || head >> 2 <= r->mask || head >> 2 > MDS_TEXT_MASK_ALL)
        return record_corrupt(r, err);
    r->mask = (uint32_t)(head >> 2);
    r->high = -1;
    switch (head & 3) {
    case RECORD_HEAD_SINGLE: r->kind = RECORD_SINGLE; break;
    case RECORD_HEAD_FLAT: r->kind = RECORD_FLAT; break;
    case RECORD_HEAD_CHUNKS: r->kind = RECORD_CHUNKS; break;
    default: return record_corrupt(r, err);
    }
    return 1;
}

unsigned record_single_bytes(uint32_t first, uint32_t last)
{
    return last - first < 1u << 8 ? 1 : last - first < 1u << 16 ? 2 : last - first < 1u << 24 ? 3 : 4;
}

static int single_take(struct text_record *r, uint32_t *ids, struct error *err)
{
    const unsigned n = record_single_bytes(r->s->first, r->s->last);
    uint64_t v = r->s->first;

    if (r->view.n < n)
        return record_corrupt(r, err);
    for (unsigned i = 0; i < n; i++)
        v += (uint64_t)r->view.p[i] << (8 * (n - 1 - i));
    if (v > r->s->last)
        return record_corrupt(r, err);
    record_skip(r, n);
    ids[0] = (uint32_t)v;
    r->kind = RECORD_IDLE;
    return 1;
}

static int flat_take(struct text_record *r, uint32_t *ids, uint32_t *n_out, struct error *err)
{
    uint64_t n;
    size_t used;
    int rc = record_fill(r, FLAT_BYTES, err);

    if (rc != BASE_OK)
        return rc;
    if (!record_varint(r, &n) || n < 2 || n > LIST_FLAT_MAX || n > (uint64_t)r->s->last - r->s->first + 1 ||
        !list_decode(r->view, (uint32_t)n, r->s->first, r->s->last, ids, &used))
        return record_corrupt(r, err);
    record_skip(r, used);
    *n_out = (uint32_t)n;
    r->kind = RECORD_IDLE;
    return 1;
}

/* A chunk: 1 + how far its high bits are above the last one's, form u8, ids - 1 u16, bytes u16, these. 0 ends them. */
static int chunk_take(struct text_record *r, uint32_t *ids, uint32_t *n_out, struct error *err)
{
    uint64_t step;
    int rc = record_fill(r, GROUP_HEAD_MAX, err);

    if (rc != BASE_OK)
        return rc;
    if (!record_varint(r, &step) || (step == 0 && r->high < 0) || step > 65536)
        return record_corrupt(r, err);
    if (step == 0) {
        r->kind = RECORD_IDLE;
        return 0;
    }
    struct reader in = reader_of(r->view);
    const uint8_t form = reader_u8(&in);
    const uint32_t n = reader_u16(&in) + 1u, bytes = reader_u16(&in);
    const int64_t high = r->high + (int64_t)step;

    if (!in.ok || high > UINT16_MAX || bytes > RECORD_CHUNK_BYTES)
        return record_corrupt(r, err);
    record_skip(r, (size_t)(in.p - r->view.p));
    if ((rc = record_fill(r, bytes, err)) != BASE_OK)
        return rc;
    const uint32_t low = (uint32_t)high << 16, top = low | 0xffff;
    const uint32_t first = low > r->s->first ? low : r->s->first, last = top < r->s->last ? top : r->s->last;

    if (r->view.n < bytes || first > last ||
        !list_chunk_decode(bytes_slice(r->view, 0, bytes), (enum list_form)form, n, first, last, ids))
        return record_corrupt(r, err);
    record_skip(r, bytes);
    r->high = (int32_t)high;
    *n_out = n;
    return 1;
}

int record_items(struct text_record *r, uint32_t *ids, uint32_t *n_out, struct error *err)
{
    switch (r->kind) {
    case RECORD_SINGLE: *n_out = 1; return single_take(r, ids, err);
    case RECORD_FLAT: return flat_take(r, ids, n_out, err);
    case RECORD_CHUNKS: return chunk_take(r, ids, n_out, err);
    default: return 0;
    }
}

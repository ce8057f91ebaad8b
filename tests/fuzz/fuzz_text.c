/*
 * The content index's decoders on hostile bytes (as if their seal were right), and its terms on any bytes: no overrun,
 * ids within their bounds and ascending, what is accepted is written again byte for byte where there is one form, terms
 * as the index takes them.
 *
 * Input: first byte picks the decoder, the rest is the payload.
 */
#include "mds/text_private.h"
#include "mime/words.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ids_must_ascend(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last)
{
    for (uint32_t i = 0; i < n; i++)
        ASSERT(v[i] >= first && v[i] <= last && (i == 0 || v[i] > v[i - 1]));
}

static void try_list(struct bytes in, uint32_t *v, struct buf *out)
{
    struct reader r = reader_of(in);
    const uint32_t first = reader_u32(&r), range = reader_u32(&r);
    const uint32_t n = reader_u16(&r) % LIST_FLAT_MAX + 1,
                   last = first + (range > UINT32_MAX - first ? UINT32_MAX - first : range);
    size_t used = 0;

    if (!r.ok || n > (uint64_t)last - first + 1 || !list_decode(read_rest(&r), n, first, last, v, &used))
        return;
    ids_must_ascend(v, n, first, last);
    list_encode(v, n, first, last, out);
    ASSERT(out->n == used && memcmp(out->p, in.p + 10, used) == 0);
}

static void try_chunk(struct bytes in, uint32_t *v)
{
    struct reader r = reader_of(in);
    const uint8_t form = reader_u8(&r);
    const uint32_t high = (uint32_t)reader_u16(&r) << 16, a = reader_u16(&r), b = reader_u16(&r),
                   n = reader_u16(&r) + 1u;
    const uint32_t first = high | (a < b ? a : b), last = high | (a < b ? b : a);

    if (r.ok && list_chunk_decode(read_rest(&r), (enum list_form)form, n, first, last, v))
        ids_must_ascend(v, n, first, last);
}

static void try_block(struct bytes in, struct buf *out)
{
    struct text_block b;
    struct text_term t;
    uint64_t lens = 0, sum = 0;
    uint32_t n = 0;

    if (!block_decode(in, &b))
        return;
    block_encode(&b, out);
    ASSERT(bytes_equal(in, buf_bytes(out)));
    const uint8_t *lf = b.text.n > 1 ? memchr(b.text.p + 1, '\n', b.text.n - 1) : NULL;

    if (!lf || !block_check(&b, bytes_of(b.text.p + 1, (size_t)(lf - b.text.p) - 1), &lens))
        return;
    for (term_first(&b, &t); term_next(&t); n++)
        sum += t.stream_n;
    ASSERT(n == b.n && sum == lens);
}

static void try_directory(struct bytes in, struct buf *out)
{
    struct text_dir d = {0};

    if (dir_decode(in, &d)) {
        dir_encode(&d, out);
        ASSERT(bytes_equal(in, buf_bytes(out)));
    }
    dir_release(&d);
}

static void try_anchors(struct bytes in, struct buf *out)
{
    struct text_anchor v[TEXT_ANCHORS_MAX];
    size_t n;

    if (!anchors_decode(in, v, &n))
        return;
    anchors_encode(v, n, out);
    ASSERT(bytes_equal(in, buf_bytes(out)));
}

static void add_pair(struct bytes term, void *arg)
{
    mds_text_batch_add(arg, MDS_TEXT_SUBJECT, term);
}

/* The whole as a needle of itself: all its terms are found. */
static void try_words(struct bytes in)
{
    struct mds_text_batch *b = mds_text_batch_new();
    struct mime_pairs pairs = {0};
    struct mime_words w;
    struct bytes term;
    struct mime_needle needle;

    mds_text_batch_begin(b, 1, 0);
    mime_words_init(&w, in);
    while (mime_words_next(&w, &term)) {
        for (size_t i = 0; i < term.n; i++)
            ASSERT(term.p[i] >= '0');
        mds_text_batch_add(b, MDS_TEXT_BODY, term);
    }
    mime_pairs_add(&pairs, in);
    mime_pairs_each(&pairs, add_pair, b);
    mime_needle_init(&needle, in);
    ASSERT(needle.n <= MIME_NEEDLE_TERMS_MAX);
    for (size_t i = 0; i < needle.n; i++)
        ASSERT(needle.v[i].term.p[0] >= MDS_TEXT_SEPARATORS ||
               memmem(in.p, in.n, needle.v[i].term.p, needle.v[i].term.n));
    mime_needle_release(&needle);
    mds_text_batch_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t *v = malloc(LIST_CHUNK_MAX * sizeof *v);
    struct buf out = {0};

    ASSERT(v);
    if (size > 0) {
        const struct bytes in = bytes_of(data + 1, size - 1);

        switch (data[0] % 6) {
        case 0: try_list(in, v, &out); break;
        case 1: try_chunk(in, v); break;
        case 2: try_block(in, &out); break;
        case 3: try_directory(in, &out); break;
        case 4: try_anchors(in, &out); break;
        default: try_words(in); break;
        }
    }
    free(v);
    buf_release(&out);
    return 0;
}

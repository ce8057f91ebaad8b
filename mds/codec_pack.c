/*
 * codec_pack: the words of consecutive items <-> the payload of a row; no LMDB.
 *
 * A payload that begins with 0, which is no number of entries, is compressed: mail is alike from one message to the
 * next. LZ4 and not zstd because whoever reads one message pays for its whole pack: 3 GB/s against 0.9.
 */
#include "mds_private.h"

#include <lz4.h>

#define COMPRESSED 0

void pack_encode(const uint32_t *len, uint32_t n, struct bytes data, struct buf *out)
{
    buf_put_varint(out, n);
    for (uint32_t i = 0; i < n; i++)
        buf_put_varint(out, len[i]);
    buf_append_bytes(out, data);
}

void pack_compress(struct buf *out, size_t from)
{
    const size_t plain_n = out->n - from;

    if (plain_n < PACK_COMPRESS_MIN || plain_n > PACK_PLAIN_MAX)
        return;
    const int bound = LZ4_compressBound((int)plain_n);

    buf_put_u8(out, COMPRESSED);
    buf_put_varint(out, plain_n);
    const size_t head_n = out->n - from - plain_n;
    uint8_t *block = buf_reserve(out, (size_t)bound);
    const int n = LZ4_compress_default((const char *)out->p + from, (char *)block, (int)plain_n, bound);
    const size_t all_n = head_n + (size_t)n;

    /* What gains less than an eighth is left as it is: it is read more often than it is written. */
    if (n <= 0 || all_n > plain_n - plain_n / 8) {
        out->n = from + plain_n;
        return;
    }
    memmove(out->p + from, out->p + from + plain_n, all_n);
    out->n = from + all_n;
}

static bool plain_decode(uint64_t first, struct bytes in, struct pack *out)
{
    struct reader r = reader_of(in);
    const uint64_t n = reader_varint(&r);
    size_t at = 0;

    out->n = 0;
    /* Each entry has a byte of index at least: n is bounded by the row. */
    if (!r.ok || n == 0 || n > in.n || first == 0 || n - 1 > UINT64_MAX - first)
        return false;
    if (n > out->cap) {
        out->cap = (uint32_t)n;
        out->len = realloc(out->len, out->cap * sizeof *out->len);
        out->off = realloc(out->off, out->cap * sizeof *out->off);
        ASSERT(out->len && out->off);
    }
    for (uint32_t i = 0; i < n; i++) {
        out->len[i] = read_u32(&r);
        out->off[i] = at;
        if (out->len[i])
            at += out->len[i] - 1;
    }
    if (!r.ok || at != (size_t)(r.end - r.p))
        return false;
    out->data = reader_bytes(&r, at);
    out->first = first;
    out->n = (uint32_t)n;
    return true;
}

static bool decompress(struct bytes in, struct buf *plain)
{
    struct reader r = reader_of(bytes_slice(in, 1, SIZE_MAX));
    const uint64_t plain_n = reader_varint(&r);
    const size_t block_n = (size_t)(r.end - r.p);

    if (!r.ok || plain_n > PACK_PLAIN_MAX || in.n >= plain_n)
        return false;
    uint8_t *to = buf_reserve(plain, (size_t)plain_n);
    const int n = LZ4_decompress_safe((const char *)r.p, (char *)to, (int)block_n, (int)plain_n);

    if (n < 0 || (uint64_t)n != plain_n)
        return false;
    plain->n = (size_t)plain_n;
    return true;
}

bool pack_decode(uint64_t first, struct bytes in, struct pack *out)
{
    out->n = 0;
    buf_reset(&out->plain);
    if (in.n == 0 || in.p[0] != COMPRESSED)
        return plain_decode(first, in, out);
    return decompress(in, &out->plain) && plain_decode(first, buf_bytes(&out->plain), out);
}

void pack_release(struct pack *p)
{
    buf_release(&p->plain);
    free(p->len);
    free(p->off);
    *p = (struct pack){0};
}

/*
 * Ascending item ids as bits: the gaps between them in Rice code, whose parameter follows from what the reader knows
 * anyway (how many ids between which bounds). With n ids evenly drawn from u that is within a few percent of the least
 * possible. Bits fill bytes from the lowest on.
 */
#include "text_private.h"

#include <endian.h>

/* ---- bits ---- */

struct bits_out {
    uint64_t acc;
    unsigned n; /* in acc, < 8 */
    struct buf *out;
};

static void bits_put(struct bits_out *b, uint64_t v, unsigned n) /* n <= 56 */
{
    b->acc |= v << b->n;
    b->n += n;

    const uint64_t le = htole64(b->acc);

    memcpy(buf_reserve(b->out, sizeof le), &le, sizeof le);
    b->out->n += b->n / 8;
    b->acc >>= b->n & ~7u;
    b->n &= 7;
}

static void bits_end(struct bits_out *b)
{
    if (b->n)
        buf_append_byte(b->out, (uint8_t)b->acc);
}

/* At least 57 bits from bit `at` on; zeros behind the end. */
static uint64_t bits_peek(struct bytes in, uint64_t at)
{
    const size_t byte = (size_t)(at / 8);
    uint64_t w = 0;

    if (byte + 8 <= in.n)
        memcpy(&w, in.p + byte, 8);
    else if (byte < in.n)
        memcpy(&w, in.p + byte, in.n - byte);
    return le64toh(w) >> (at % 8);
}

/* They end within the bytes, and what is left of the last byte is zero. */
static bool bits_ended(struct bytes in, uint64_t at)
{
    return (at + 7) / 8 <= in.n && (at % 8 == 0 || in.p[at / 8] >> (at % 8) == 0);
}

/* ---- Rice codes ---- */

/* Gaps of n ids among u have the mean u / n; the best parameter is the logarithm of 0.69 of that. */
static unsigned rice_bits(uint64_t u, uint64_t n)
{
    const uint64_t q = u * 177 / (n * 256);

    return q ? 63u - (unsigned)__builtin_clzll(q) : 0;
}

static void rice_put(struct bits_out *b, uint32_t v, unsigned k)
{
    uint32_t zeros = v >> k;

    for (; zeros >= 32; zeros -= 32)
        bits_put(b, 0, 32);
    bits_put(b, UINT64_C(1) << zeros, zeros + 1);
    bits_put(b, v & ((UINT64_C(1) << k) - 1), k);
}

/* False: it does not end within the bytes, or is above any id. */
static bool rice_get_long(struct bytes in, uint64_t *at, unsigned k, uint64_t *out)
{
    uint64_t zeros = 0, w;

    while ((w = bits_peek(in, *at)) == 0) {
        if (*at / 8 >= in.n)
            return false;
        *at += 56;
        zeros += 56;
    }
    zeros += (unsigned)__builtin_ctzll(w);
    *at += (unsigned)__builtin_ctzll(w) + 1u;
    w = bits_peek(in, *at) & ((UINT64_C(1) << k) - 1);
    *at += k;
    *out = zeros << k | w;
    return zeros <= UINT32_MAX;
}

static inline bool rice_get(struct bytes in, uint64_t *at, unsigned k, uint64_t *out)
{
    const uint64_t w = bits_peek(in, *at);
    const unsigned zeros = w ? (unsigned)__builtin_ctzll(w) : 64;

    if (zeros + 1 + k > 56)
        return rice_get_long(in, at, k, out);
    *out = (uint64_t)zeros << k | (w >> (zeros + 1) & ((UINT64_C(1) << k) - 1));
    *at += zeros + 1 + k;
    return true;
}

/* ---- lists ---- */

void list_encode(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last, struct buf *out)
{
    const unsigned k = rice_bits((uint64_t)last - first + 1, n);
    struct bits_out b = {.out = out};
    uint32_t next = first; /* the least that may come */

    for (uint32_t i = 0; i < n; i++) {
        rice_put(&b, v[i] - next, k);
        next = v[i] + 1;
    }
    bits_end(&b);
}

bool list_decode(struct bytes in, uint32_t n, uint32_t first, uint32_t last, uint32_t *v, size_t *used_out)
{
    const unsigned k = rice_bits((uint64_t)last - first + 1, n);
    uint64_t at = 0, next = first, gap;

    for (uint32_t i = 0; i < n; i++) {
        if (!rice_get(in, &at, k, &gap) || (next += gap) > last)
            return false;
        v[i] = (uint32_t)next++;
    }
    *used_out = (size_t)((at + 7) / 8);
    return bits_ended(in, at);
}

/* ---- chunks ---- */

static uint64_t rice_size(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last)
{
    const unsigned k = rice_bits((uint64_t)last - first + 1, n);
    uint64_t bits = (uint64_t)n * (k + 1);
    uint32_t next = first;

    for (uint32_t i = 0; i < n; i++) {
        bits += (v[i] - next) >> k;
        next = v[i] + 1;
    }
    return (bits + 7) / 8;
}

/* The others of the range, and how many. */
static uint32_t absent_ids(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last, uint32_t *out)
{
    uint32_t m = 0;
    uint64_t next = first;

    for (uint32_t i = 0; i < n; i++) {
        while (next < v[i])
            out[m++] = (uint32_t)next++;
        next = (uint64_t)v[i] + 1;
    }
    while (next <= last)
        out[m++] = (uint32_t)next++;
    return m;
}

static void bitmap_put(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last, struct buf *out)
{
    const size_t bytes = ((size_t)(last - first) + 8) / 8;
    uint8_t *p = buf_reserve(out, bytes);

    memset(p, 0, bytes);
    for (uint32_t i = 0; i < n; i++)
        p[(v[i] - first) / 8] |= (uint8_t)(1u << ((v[i] - first) % 8));
    out->n += bytes;
}

enum list_form list_chunk_encode(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last, struct buf *out)
{
    const uint32_t range = last - first + 1;
    uint64_t best = (range + 7) / 8;
    enum list_form form = LIST_BITMAP;

    if (n <= range / 2 && rice_size(v, n, first, last) < best)
        form = LIST_GAPS;
    if (n > range / 2) {
        uint32_t *absent = malloc((range - n + 1) * sizeof *absent);

        ASSERT(absent);
        const uint32_t m = absent_ids(v, n, first, last, absent);

        if (m == 0 || rice_size(absent, m, first, last) < best) {
            form = LIST_ABSENT;
            if (m)
                list_encode(absent, m, first, last, out);
        }
        free(absent);
    }
    if (form == LIST_GAPS)
        list_encode(v, n, first, last, out);
    else if (form == LIST_BITMAP)
        bitmap_put(v, n, first, last, out);
    return form;
}

static bool bitmap_decode(struct bytes in, uint32_t n, uint32_t first, uint32_t last, uint32_t *v)
{
    const uint32_t range = last - first + 1;
    uint32_t m = 0;

    if (in.n != (range + 7) / 8 || (range % 8 && in.p[in.n - 1] >> (range % 8)))
        return false;
    for (size_t i = 0; i < in.n; i += 8) {
        uint64_t w = 0;

        memcpy(&w, in.p + i, in.n - i < 8 ? in.n - i : 8);
        for (w = le64toh(w); w; w &= w - 1) {
            if (m == n)
                return false;
            v[m++] = first + (uint32_t)i * 8 + (uint32_t)__builtin_ctzll(w);
        }
    }
    return m == n;
}

static bool absent_decode(struct bytes in, uint32_t n, uint32_t first, uint32_t last, uint32_t *v)
{
    const uint32_t range = last - first + 1, absent = range - n;
    const unsigned k = absent ? rice_bits(range, absent) : 0;
    uint64_t at = 0, next = first, gap;
    uint32_t m = 0;

    for (uint32_t i = 0; i < absent; i++) {
        if (!rice_get(in, &at, k, &gap) || next + gap > last)
            return false;
        while (gap--)
            v[m++] = (uint32_t)next++;
        next++;
    }
    while (m < n)
        v[m++] = (uint32_t)next++;
    return (at + 7) / 8 == in.n && bits_ended(in, at);
}

bool list_chunk_decode(struct bytes in, enum list_form form, uint32_t n, uint32_t first, uint32_t last, uint32_t *v)
{
    size_t used;

    if (n == 0 || n > last - first + 1)
        return false;
    switch (form) {
    case LIST_GAPS: return list_decode(in, n, first, last, v, &used) && used == in.n;
    case LIST_ABSENT: return absent_decode(in, n, first, last, v);
    case LIST_BITMAP: return bitmap_decode(in, n, first, last, v);
    default: return false;
    }
}

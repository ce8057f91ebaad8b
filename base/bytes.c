/*
 * Views, growing buffers and the codecs that every format of ours shares.
 *
 * buf grows by doubling through GLib's allocator, which aborts when memory is
 * out: callers bound their input first, so a failed allocation is not a case
 * that could be handled better one layer up.
 */
#include "base/bytes.h"

#include "base/error.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>

#define BUF_FIRST_BYTES  64
#define VARINT_MAX_BYTES 10

int bytes_compare(struct bytes a, struct bytes b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n ? memcmp(a.p, b.p, n) : 0;

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (bytes_lower(a.p[i]) != bytes_lower(b.p[i]))
            return false;
    }
    return true;
}

struct bytes bytes_slice(struct bytes b, size_t off, size_t n)
{
    if (off >= b.n)
        return (struct bytes){b.n ? b.p + b.n : b.p, 0};
    if (n > b.n - off)
        n = b.n - off;
    return (struct bytes){b.p + off, n};
}

void buf_release(struct buf *b)
{
    g_free(b->p);
    *b = (struct buf){0};
}

uint8_t *buf_grow(struct buf *b, size_t more)
{
    ASSERT(more <= SIZE_MAX / 2 && b->n <= SIZE_MAX / 2);

    const size_t need = b->n + more;

    if (need > b->cap || b->p == NULL) {
        size_t cap = b->cap ? b->cap : BUF_FIRST_BYTES;

        while (cap < need)
            cap *= 2;
        b->p = g_realloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

void buf_append_u64_dec(struct buf *b, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    uint8_t digits[20];
    size_t at = sizeof digits;

    for (; v >= 100; v /= 100) {
        at -= 2;
        memcpy(digits + at, pairs + v % 100 * 2, 2);
    }
    if (v >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + v * 2, 2);
    } else {
        digits[--at] = (uint8_t)('0' + v);
    }
    buf_append(b, digits + at, sizeof digits - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    /* vsnprintf writes a NUL that is no part of the buffer's content. */
    (void)vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->n += (size_t)n;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_append_byte(b, v);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    const uint8_t raw[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    buf_append(b, raw, sizeof raw);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    put_be32(buf_reserve(b, 4), v);
    b->n += 4;
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    put_be64(buf_reserve(b, 8), v);
    b->n += 8;
}

void buf_put_varint(struct buf *b, uint64_t v)
{
    uint8_t *p = buf_reserve(b, VARINT_MAX_BYTES);
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    b->n += n;
}

void buf_put_zigzag(struct buf *b, int64_t v)
{
    buf_put_varint(b, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

void buf_put_blob(struct buf *b, struct bytes v)
{
    buf_put_varint(b, v.n);
    buf_append_bytes(b, v);
}

/* n bytes of the source, or NULL after marking the reader as failed. */
static const uint8_t *reader_take(struct reader *r, size_t n)
{
    if (!r->ok || (size_t)(r->end - r->p) < n) {
        r->ok = false;
        return NULL;
    }
    const uint8_t *at = r->p;

    if (n)
        r->p += n;
    return at;
}

uint8_t reader_u8(struct reader *r)
{
    const uint8_t *p = reader_take(r, 1);

    return p ? *p : 0;
}

uint16_t reader_u16(struct reader *r)
{
    const uint8_t *p = reader_take(r, 2);

    return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t reader_u32(struct reader *r)
{
    const uint8_t *p = reader_take(r, 4);

    return p ? get_be32(p) : 0;
}

uint64_t reader_u64(struct reader *r)
{
    const uint8_t *p = reader_take(r, 8);

    return p ? get_be64(p) : 0;
}

uint64_t reader_varint_long(struct reader *r)
{
    const uint8_t *p = r->p;
    uint64_t v = 0;

    for (unsigned i = 0; r->ok && i < VARINT_MAX_BYTES && p != r->end; i++) {
        const uint8_t c = *p++;

        /* The tenth byte holds one bit; a last byte of zero would be overlong. */
        if ((i == VARINT_MAX_BYTES - 1 && c > 1) || (i > 0 && c == 0))
            break;
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            r->p = p;
            return v;
        }
    }
    r->ok = false;
    return 0;
}

int64_t reader_zigzag(struct reader *r)
{
    const uint64_t v = reader_varint(r);

    return (int64_t)((v >> 1) ^ (v & 1 ? UINT64_MAX : 0));
}

struct bytes reader_blob(struct reader *r)
{
    const uint64_t n = reader_varint(r);

    if (!r->ok || n > (uint64_t)(r->end - r->p)) {
        r->ok = false;
        return (struct bytes){0};
    }
    return reader_bytes(r, (size_t)n);
}

struct bytes reader_bytes(struct reader *r, size_t n)
{
    const uint8_t *p = reader_take(r, n);

    return (struct bytes){p, p ? n : 0};
}

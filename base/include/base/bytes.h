/*
 * bytes: views, growing buffers and arenas.
 *
 * Three lifetimes, named in every contract of this project:
 *   View   struct bytes: borrowed memory, never freed through the view; the
 *          header that hands one out says how long it stays valid.
 *   Arena  struct arena: many small allocations that die together.
 *   Owned  struct buf: one growing allocation with one owner.
 *
 * Thread rule: an object belongs to one thread at a time; views of immutable
 * memory may be shared. Out of memory aborts (GLib's allocator): a quota on an
 * arena is what meets hostile sizes, not malloc's failure.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view. p may be NULL only if n is 0. */
struct bytes {
    const uint8_t *p;
    size_t n;
};

#define BYTES_LIT(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

static inline struct bytes bytes_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Lexicographic by unsigned byte, a prefix sorts first: LMDB's own key order. */
int bytes_compare(struct bytes a, struct bytes b);

/* An ASCII capital as its small letter, all else as it is. */
static inline uint8_t bytes_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* ASCII case-insensitive equality (header field names, IMAP atoms). */
bool bytes_equal_nocase(struct bytes a, struct bytes b);

/* The part [off, off+n) clipped to b. */
struct bytes bytes_slice(struct bytes b, size_t off, size_t n);

/* A growing owned buffer. Zero-initialised is empty and valid. */
struct buf {
    uint8_t *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated */
};

void buf_release(struct buf *b);               /* frees, leaves it empty */
static inline void buf_reset(struct buf *b) { b->n = 0; }
uint8_t *buf_grow(struct buf *b, size_t more); /* buf_reserve where there is no room yet */
/* Room for `more` bytes past n; returns where they begin. */
static inline uint8_t *buf_reserve(struct buf *b, size_t more)
{
    return b->p && more <= b->cap - b->n ? b->p + b->n : buf_grow(b, more);
}
/* Inline, so that a text that the compiler knows is a store or two. */
static inline void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->n += n;
}
static inline void buf_append_bytes(struct buf *b, struct bytes v)
{
    buf_append(b, v.p, v.n);
}
static inline void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}
static inline void buf_append_byte(struct buf *b, uint8_t c)
{
    *buf_reserve(b, 1) = c;
    b->n++;
}
void buf_append_u64_dec(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline struct bytes buf_bytes(const struct buf *b) { return (struct bytes){b->p, b->n}; }

/*
 * Codecs shared by every format of ours. Fixed-width integers are big-endian,
 * varints are LEB128 (at most 10 bytes). A reader never passes its end: after a
 * failure `ok` is false, all further reads give 0 or empty, so that a decoder
 * may check once at the end.
 */
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_zigzag(struct buf *b, int64_t v);
void buf_put_blob(struct buf *b, struct bytes v); /* varint length, bytes */

struct reader {
    const uint8_t *p, *end;
    bool ok;
};
static inline struct reader reader_of(struct bytes b)
{
    return (struct reader){b.p, b.n ? b.p + b.n : b.p, true};
}
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
uint64_t reader_varint_long(struct reader *r); /* reader_varint where it is not a byte */
static inline uint64_t reader_varint(struct reader *r) /* rejects overlong and > 64 bit */
{
    return r->ok && r->p != r->end && *r->p < 0x80 ? *r->p++ : reader_varint_long(r);
}
int64_t reader_zigzag(struct reader *r);
struct bytes reader_blob(struct reader *r);          /* view into the source */
struct bytes reader_bytes(struct reader *r, size_t n); /* view into the source */
static inline bool reader_done(const struct reader *r) { return r->ok && r->p == r->end; }

static inline void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24); p[1] = (uint8_t)(v >> 16); p[2] = (uint8_t)(v >> 8); p[3] = (uint8_t)v;
}
static inline void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32)); put_be32(p + 4, (uint32_t)v);
}
static inline uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t get_be64(const uint8_t *p)
{
    return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

/*
 * An arena: bump allocation in chunks, freed or reset as a whole. With a quota
 * (bytes, 0 = none) arena_alloc returns NULL once it is spent; without one it
 * never fails. Under ASan every allocation is separate, so overruns are seen.
 */
struct arena;
struct arena *arena_new(size_t quota_bytes);
void arena_free(struct arena **a);
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t n);               /* 16-byte aligned, not zeroed */
struct bytes arena_dup(struct arena *a, struct bytes v);    /* empty view on quota */
char *arena_strndup(struct arena *a, const void *p, size_t n); /* NUL-terminated */
size_t arena_used(const struct arena *a);

#endif

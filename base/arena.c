/*
 * Arenas: bump allocation in chunks that double up to 1 MiB.
 *
 * Checked builds (MDS_CHECKED, set with ASan) give every allocation its own
 * heap block, so that an overrun inside an arena or a use after reset is seen
 * like any other; quota and contract are the same in both.
 */
#include "base/bytes.h"

#include "base/error.h"

#include <glib.h>

#define ALIGN_BYTES ((size_t)16)
#define CHUNK_FIRST_BYTES ((size_t)8 << 10)
#define CHUNK_MAX_BYTES ((size_t)1 << 20)

struct chunk {
    struct chunk *next;
    size_t cap;
    _Alignas(16) uint8_t data[];
};

struct arena {
    size_t quota; /* permanent */

    size_t used; /* since the last reset, with alignment */
    struct chunk *chunks; /* newest (and largest) first */
    size_t at;            /* used bytes of the newest chunk */
};

struct arena *arena_new(size_t quota_bytes)
{
    struct arena *a = g_new0(struct arena, 1);

    a->quota = quota_bytes;
    return a;
}

static void chunks_free(struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;

        g_free(c);
        c = next;
    }
}

void arena_free(struct arena **a)
{
    if (!*a)
        return;
    chunks_free((*a)->chunks);
    g_free(*a);
    *a = NULL;
}

void arena_reset(struct arena *a)
{
    a->used = 0;
    a->at = 0;
#ifdef MDS_CHECKED
    chunks_free(a->chunks);
    a->chunks = NULL;
#else
    /* One ordinary chunk stays for the next round; giants go back. */
    struct chunk *keep = a->chunks;

    if (!keep)
        return;
    struct chunk *rest = keep->next;

    keep->next = NULL;
    if (keep->cap > CHUNK_MAX_BYTES) {
        g_free(keep);
        keep = NULL;
    }
    chunks_free(rest);
    a->chunks = keep;
#endif
}

static struct chunk *chunk_new(struct arena *a, size_t cap)
{
    struct chunk *c = g_malloc(sizeof *c + cap);

    c->cap = cap;
    c->next = a->chunks;
    a->chunks = c;
    a->at = 0;
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 4) {
        ASSERT(a->quota != 0);
        return NULL;
    }
    const size_t size = n ? (n + ALIGN_BYTES - 1) & ~(ALIGN_BYTES - 1) : ALIGN_BYTES;

    if (a->quota && (size > a->quota || a->used > a->quota - size))
        return NULL;
    a->used += size;
#ifdef MDS_CHECKED
    /* The exact size, so that the byte after the last is already poisoned. */
    return chunk_new(a, n)->data;
#else
    struct chunk *c = a->chunks;

    if (!c || c->cap - a->at < size) {
        size_t cap = c ? c->cap * 2 : CHUNK_FIRST_BYTES;

        if (cap > CHUNK_MAX_BYTES)
            cap = CHUNK_MAX_BYTES;
        c = chunk_new(a, cap < size ? size : cap);
    }
    void *p = c->data + a->at;

    a->at += size;
    return p;
#endif
}

struct bytes arena_dup(struct arena *a, struct bytes v)
{
    void *p = arena_alloc(a, v.n);

    if (!p)
        return (struct bytes){0};
    if (v.n)
        memcpy(p, v.p, v.n);
    return (struct bytes){p, v.n};
}

char *arena_strndup(struct arena *a, const void *p, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *s = arena_alloc(a, n + 1);

    if (!s)
        return NULL;
    if (n)
        memcpy(s, p, n);
    s[n] = '\0';
    return s;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

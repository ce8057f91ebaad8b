/* The one place that includes xxhash.h and fixes its byte order. */
#include "base/hash.h"

#include <glib.h>
#include <xxhash.h>

_Static_assert(sizeof(XXH128_canonical_t) == HASH128_BYTES, "canonical form is 16 bytes");

static struct hash128 canonical(XXH128_hash_t h)
{
    XXH128_canonical_t c;
    struct hash128 out;

    XXH128_canonicalFromHash(&c, h);
    memcpy(out.b, c.digest, sizeof out.b);
    return out;
}

struct hash128 hash128_of(struct bytes v)
{
    return canonical(XXH3_128bits(v.p, v.n));
}

uint64_t hash64_of(struct bytes v)
{
    return XXH3_64bits(v.p, v.n);
}

uint64_t hash64_seeded(struct bytes v, uint64_t seed)
{
    return XXH3_64bits_withSeed(v.p, v.n, seed);
}

struct hash128_state {
    XXH3_state_t *xxh; /* aligned to 64 bytes by its own allocator */
};

struct hash128_state *hash128_new(void)
{
    struct hash128_state *s = g_new0(struct hash128_state, 1);

    s->xxh = XXH3_createState();
    if (!s->xxh)
        g_error("hash: out of memory");
    hash128_reset(s);
    return s;
}

void hash128_reset(struct hash128_state *s)
{
    (void)XXH3_128bits_reset(s->xxh);
}

void hash128_update(struct hash128_state *s, struct bytes v)
{
    if (v.n)
        (void)XXH3_128bits_update(s->xxh, v.p, v.n);
}

struct hash128 hash128_digest(const struct hash128_state *s)
{
    return canonical(XXH3_128bits_digest(s->xxh));
}

void hash128_free(struct hash128_state **s)
{
    if (!*s)
        return;
    (void)XXH3_freeState((*s)->xxh);
    g_free(*s);
    *s = NULL;
}

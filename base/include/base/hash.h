/*
 * hash: XXH3 under our own names, so that the width and the byte order on disk
 * are written in one place. Not cryptographic: equal hashes are candidates,
 * equal bytes decide.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bytes.h"

#define HASH128_BYTES 16

struct hash128 {
    uint8_t b[HASH128_BYTES]; /* XXH128_canonical: big-endian, sortable */
};

struct hash128 hash128_of(struct bytes v);
uint64_t hash64_of(struct bytes v);
uint64_t hash64_seeded(struct bytes v, uint64_t seed);

/* Incremental, for items that do not fit memory. */
struct hash128_state;
struct hash128_state *hash128_new(void);
void hash128_reset(struct hash128_state *s);
void hash128_update(struct hash128_state *s, struct bytes v);
struct hash128 hash128_digest(const struct hash128_state *s);
void hash128_free(struct hash128_state **s);

static inline int hash128_compare(const struct hash128 *a, const struct hash128 *b)
{
    return memcmp(a->b, b->b, HASH128_BYTES);
}

#endif

/* compare: are the bytes of two places the same item? The hash says "maybe", this says yes or no. */
#ifndef INDEXER_COMPARE_H
#define INDEXER_COMPARE_H

#include "base/hash.h"
#include "vault/vault.h"

#include <stdbool.h>

struct indexer_place_of {
    struct vault *vault; /* NULL: its source is not open in this build */
    struct vault_locator locator;
};

/*
 * `old` is the place that the stored item was read from, `now` the one just
 * read; both have the same hash and size. Same bytes, or the old bytes are no longer there to be
 * compared (moved, rewritten, source not open): then the 128-bit hash and the size decide. *old_gone_out says which.
 */
bool indexer_same_bytes(const struct indexer_place_of *old, const struct indexer_place_of *now,
                        const struct hash128 *hash, uint64_t size, bool *old_gone_out);

#endif

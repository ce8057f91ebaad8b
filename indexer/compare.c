/*
 * Two bodies read side by side. An old place whose bytes no longer have the stored hash is
 * one that was changed since: its difference proves nothing.
 */
#include "compare.h"

#include <stdlib.h>

#define CHUNK (64u << 10)

static bool same_locator(const struct vault_locator *a, const struct vault_locator *b)
{
    return a->offset == b->offset && a->length == b->length && a->filter == b->filter &&
           bytes_equal(a->container, b->container) && bytes_equal(a->name, b->name);
}

/* Fills dst unless the body ends or fails. */
static size_t read_full(struct vault_body *b, uint64_t off, uint8_t *dst, size_t n)
{
    size_t have = 0;
    while (have < n) {
        size_t got = 0;
        if (vault_item_read(b, off + have, dst + have, n - have, &got, NULL) < 0 || got == 0)
            break;
        have += got;
    }
    return have;
}

static bool bodies_equal(struct vault_body *a, struct vault_body *b, uint64_t size, uint8_t *buffer)
{
    for (uint64_t off = 0; off < size;) {
        size_t n = size - off < CHUNK ? (size_t)(size - off) : CHUNK;
        if (read_full(a, off, buffer, n) != n || read_full(b, off, buffer + CHUNK, n) != n ||
            memcmp(buffer, buffer + CHUNK, n) != 0)
            return false;
        off += n;
    }
    return true;
}

static bool has_hash(struct vault_body *b, const struct hash128 *hash, uint64_t size, uint8_t *buffer)
{
    struct hash128_state *state = hash128_new();
    bool ok = true;
    for (uint64_t off = 0; ok && off < size;) {
        size_t n = size - off < CHUNK ? (size_t)(size - off) : CHUNK;
        ok = read_full(b, off, buffer, n) == n;
        if (ok)
            hash128_update(state, bytes_of(buffer, n));
        off += n;
    }
    struct hash128 digest = hash128_digest(state);
    hash128_free(&state);
    return ok && hash128_compare(&digest, hash) == 0;
}

bool indexer_same_bytes(const struct indexer_place_of *old, const struct indexer_place_of *now,
                        const struct hash128 *hash, uint64_t size, bool *old_gone_out)
{
    struct vault_body *a = NULL, *b = NULL;
    uint8_t *buffer = NULL;
    bool same = true;
    *old_gone_out = true;
    if (!old->vault)
        return true;
    if (old->vault == now->vault && same_locator(&old->locator, &now->locator)) {
        *old_gone_out = false;
        return true;
    }
    if (vault_item_open(old->vault, &old->locator, &a, NULL) < 0 || vault_item_size(a) != size)
        goto out;
    buffer = malloc(2 * CHUNK);
    ASSERT(buffer);
    if (vault_item_open(now->vault, &now->locator, &b, NULL) == 0 && vault_item_size(b) == size &&
        bodies_equal(a, b, size, buffer)) {
        *old_gone_out = false;
        goto out;
    }
    *old_gone_out = !has_hash(a, hash, size, buffer);
    same = *old_gone_out;
out:
    free(buffer);
    vault_item_close(&b);
    vault_item_close(&a);
    return same;
}

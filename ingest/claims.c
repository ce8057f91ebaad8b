/*
 * claims: copies of one item that are in flight together are parsed once.
 *
 * `known` learns of an item when the writer has filed it; what is submitted before that would be parsed again. So a
 * worker that has hashed an item claims its hash for the item's sequence number (slot's turn * INGEST_BATCH_ITEMS +
 * index), and one that finds the hash claimed by a smaller number leaves the parsing to that item: the writer, which
 * goes by number, has filed it by then. If it has not (the item failed, or has other bytes under the same prefix),
 * ingest_redo parses.
 *
 * A table of one-word cells, so that a claim needs no lock and no order: 32 bits of the hash, 32 bits of the number.
 * Nothing takes claims away: one counts as long as its slot has not been given back, which the slot itself says.
 * All of it is a hint. Wild or lost words cost a parse or a redo.
 */
#include "ingest_private.h"

#define WINDOW      8u /* cells in which a hash may stand */
#define TRIES_MAX   16u
#define CELL_TAG(v) ((uint32_t)((v) >> 32))

uint32_t ingest_claims_cells(uint32_t slots)
{
    uint32_t cells = 1024;
    while (cells < 4 * (slots + 1) * INGEST_BATCH_ITEMS)
        cells *= 2;
    return cells;
}

/* How far behind `seq` the claim in a cell is; negative: ahead. Exact for all that can be in flight. */
static int32_t distance(uint64_t seq, uint64_t cell)
{
    return (int32_t)((uint32_t)seq - (uint32_t)cell);
}

static bool is_live(const struct region *r, uint64_t seq, uint64_t cell)
{
    uint64_t claimed = seq - (uint64_t)(int64_t)distance(seq, cell);
    uint64_t turn = claimed / INGEST_BATCH_ITEMS;
    const struct slot_control *c = &r->slot[turn % r->slots];
    /* relaxed: nothing is read on the strength of it */
    return cell != 0 && atomic_load_explicit(&c->seq, memory_order_relaxed) == turn + 1 &&
           atomic_load_explicit(&c->state, memory_order_relaxed) != SLOT_FREE;
}

/* The cell of a live claim of `tag`, else one that is free, else NULL. `*value` is what it held. */
static _Atomic uint64_t *find(const struct region *r, uint64_t home, uint32_t tag, uint64_t seq, uint64_t *value)
{
    _Atomic uint64_t *space = NULL;
    for (uint32_t i = 0; i < WINDOW; i++) {
        _Atomic uint64_t *cell = &r->claims[(home + i) & (r->claims_cells - 1)];
        uint64_t v = atomic_load_explicit(cell, memory_order_relaxed);
        bool live = is_live(r, seq, v);
        if (live && CELL_TAG(v) == tag) {
            *value = v;
            return cell;
        }
        if (!live && !space) {
            *value = v;
            space = cell;
        }
    }
    return space;
}

bool ingest_claim(const struct region *r, const struct hash128 *hash, uint64_t seq)
{
    uint64_t prefix;
    memcpy(&prefix, hash->b, sizeof prefix);
    /* 0 is an empty cell */
    const uint32_t tag = (uint32_t)(prefix >> 32) | 1;
    for (uint32_t tries = 0; tries < TRIES_MAX; tries++) {
        uint64_t value = 0;
        _Atomic uint64_t *cell = find(r, prefix, tag, seq, &value);
        if (!cell)
            return true; /* a full window: this one is not shared */
        bool same = CELL_TAG(value) == tag && is_live(r, seq, value);
        if (same && distance(seq, value) >= 0)
            return distance(seq, value) == 0;
        /* relaxed: see above */
        if (atomic_compare_exchange_strong_explicit(cell, &value, (uint64_t)tag << 32 | (uint32_t)seq,
                                                    memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return true;
}

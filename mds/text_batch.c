/*
 * Items on their way into the index: a table of the terms seen, and a log of (term, item, classes) in order of item.
 * A term that stands in an item again only widens its last entry of the log.
 */
#include "text_private.h"

#define SLOTS_FIRST 4096u
#define CAP_FIRST   2048u

struct mds_text_batch *mds_text_batch_new(void)
{
    struct mds_text_batch *b = calloc(1, sizeof *b);

    ASSERT(b);
    b->slots_n = SLOTS_FIRST;
    b->slots = calloc(b->slots_n, sizeof *b->slots);
    ASSERT(b->slots);
    return b;
}

void mds_text_batch_free(struct mds_text_batch **bp)
{
    struct mds_text_batch *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    buf_release(&b->arena);
    free(b->terms);
    free(b->slots);
    free(b->log_term);
    free(b->log_posting);
    free(b->items);
    free(b->tags);
    free(b);
}

void mds_text_batch_reset(struct mds_text_batch *b)
{
    buf_reset(&b->arena);
    memset(b->slots, 0, b->slots_n * sizeof *b->slots);
    b->terms_n = b->items_n = 0;
    b->log_n = 0;
    b->text_bytes = 0;
}

/* ---- growing ---- */

static void *grown(void *p, size_t n, size_t size)
{
    p = realloc(p, n * size);
    ASSERT(p);
    return p;
}

static void items_grow(struct mds_text_batch *b)
{
    b->items_cap = b->items_cap ? 2 * b->items_cap : CAP_FIRST;
    b->items = grown(b->items, b->items_cap, sizeof *b->items);
    b->tags = grown(b->tags, b->items_cap, sizeof *b->tags);
}

static void log_grow(struct mds_text_batch *b)
{
    b->log_cap = b->log_cap ? b->log_cap + b->log_cap / 2 : CAP_FIRST;
    b->log_term = grown(b->log_term, b->log_cap, sizeof *b->log_term);
    b->log_posting = grown(b->log_posting, b->log_cap, sizeof *b->log_posting);
}

static void slots_grow(struct mds_text_batch *b)
{
    const uint32_t n = 2 * b->slots_n;
    uint64_t *slots = calloc(n, sizeof *slots);

    ASSERT(slots);
    for (uint32_t i = 0; i < b->slots_n; i++) {
        const uint64_t slot = b->slots[i];

        if (!slot)
            continue;
        uint32_t at = (uint32_t)(slot >> 32) & (n - 1);

        while (slots[at])
            at = (at + 1) & (n - 1);
        slots[at] = slot;
    }
    free(b->slots);
    b->slots = slots;
    b->slots_n = n;
}

/* ---- terms ---- */

static uint32_t term_new(struct mds_text_batch *b, struct bytes term)
{
    if (b->terms_n == b->terms_cap) {
        b->terms_cap = b->terms_cap ? 2 * b->terms_cap : CAP_FIRST;
        b->terms = grown(b->terms, b->terms_cap, sizeof *b->terms);
    }
    ASSERT(b->arena.n + term.n <= UINT32_MAX);
    b->terms[b->terms_n] = (struct batch_term){.text = (uint32_t)b->arena.n, .n = (uint32_t)term.n};
    buf_append_bytes(&b->arena, term);
    return b->terms_n++;
}

static uint32_t term_find(struct mds_text_batch *b, struct bytes term)
{
    const uint32_t hash = (uint32_t)hash64_of(term);
    uint32_t at = hash & (b->slots_n - 1);

    for (; b->slots[at]; at = (at + 1) & (b->slots_n - 1)) {
        const uint32_t i = (uint32_t)b->slots[at] - 1;

        if (b->slots[at] >> 32 == hash && bytes_equal(batch_term_bytes(b, &b->terms[i]), term))
            return i;
    }
    const uint32_t i = term_new(b, term);

    b->slots[at] = (uint64_t)hash << 32 | (i + 1);
    if (b->terms_n > b->slots_n / 2)
        slots_grow(b);
    return i;
}

/* ---- the way in ---- */

void mds_text_batch_begin(struct mds_text_batch *b, uint64_t item, uint64_t tag)
{
    ASSERT(item > 0 && item <= UINT32_MAX && (b->items_n == 0 || item > b->items[b->items_n - 1]));
    ASSERT(b->items_n < BATCH_ITEMS_MAX);
    if (b->items_n == b->items_cap)
        items_grow(b);
    b->items[b->items_n] = (uint32_t)item;
    b->tags[b->items_n++] = tag;
}

void mds_text_batch_add(struct mds_text_batch *b, enum mds_text_class c, struct bytes term)
{
    ASSERT(b->items_n > 0 && c < MDS_TEXT_CLASSES && term.n > 0 && term.n <= MDS_TEXT_TERM_MAX);
    const uint32_t i = term_find(b, term);
    struct batch_term *t = &b->terms[i];

    if (t->item == b->items_n) {
        b->log_posting[t->at] |= MDS_TEXT_MASK(c);
        return;
    }
    ASSERT(b->log_n < UINT32_MAX);
    if (b->log_n == b->log_cap)
        log_grow(b);
    b->log_term[b->log_n] = i;
    b->log_posting[b->log_n] = (b->items_n - 1) << BATCH_MASK_BITS | MDS_TEXT_MASK(c);
    t->item = b->items_n;
    t->at = (uint32_t)b->log_n++;
    t->count++;
}

void mds_text_batch_text(struct mds_text_batch *b, uint64_t text_bytes)
{
    b->text_bytes += text_bytes;
}

size_t mds_text_batch_bytes(const struct mds_text_batch *b)
{
    return b->arena.n + b->terms_n * sizeof *b->terms + b->slots_n * sizeof *b->slots +
           b->log_n * (sizeof *b->log_term + sizeof *b->log_posting) +
           b->items_n * (sizeof *b->items + sizeof *b->tags);
}

size_t mds_text_batch_items(const struct mds_text_batch *b)
{
    return b->items_n;
}

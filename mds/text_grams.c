/*
 * Letters of a batch: for every short character the items that have a term with it. Which terms contain an "E" is soon
 * said, but their postings are most of the index, and some item always lacks it, so that uniting them has no early end;
 * what they unite to is stored. Strings of two letters are not worth it: docs/decisions/0040. Collected item by item in
 * order of the log, so that merging segments merges them as it does terms.
 */
#include "text_private.h"

#define GRAMS 0x800u /* characters of one or two bytes */

struct gram {
    uint32_t item, mask; /* the item at hand: index + 1, and classes so far */
    uint32_t last_item, last_mask;
    struct buf log; /* varints: gap << 1 | is there a new mask; the mask */
    uint32_t n;
};

struct grams {
    struct gram v[GRAMS];
    uint32_t item;
    uint16_t touched[GRAMS]; /* by that item */
    uint32_t touched_n;
};

/* Length of the short character at p, 0 if it is another. */
static size_t short_char(const uint8_t *p, const uint8_t *end)
{
    return *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 && end - p >= 2 ? 2 : 0;
}

bool gram_is(struct bytes term)
{
    return term.n > 0 && short_char(term.p, term.p + term.n) == term.n;
}

static void item_end(struct grams *g)
{
    for (uint32_t i = 0; i < g->touched_n; i++) {
        struct gram *gram = &g->v[g->touched[i]];
        const bool fresh = gram->mask != gram->last_mask;

        buf_put_varint(&gram->log, (uint64_t)(gram->item - gram->last_item) << 1 | fresh);
        if (fresh)
            buf_put_varint(&gram->log, gram->mask);
        gram->last_item = gram->item;
        gram->last_mask = gram->mask;
        gram->n++;
    }
    g->touched_n = 0;
}

static void gram_touch(struct grams *g, uint32_t c, uint32_t mask)
{
    struct gram *gram = &g->v[c];

    if (gram->item == g->item) {
        gram->mask |= mask;
        return;
    }
    gram->item = g->item;
    gram->mask = mask;
    g->touched[g->touched_n++] = (uint16_t)c;
}

static void term_add(struct grams *g, struct bytes term, uint32_t mask)
{
    const uint8_t *const end = term.p + term.n;

    for (const uint8_t *p = term.p; p < end;) {
        const size_t n = short_char(p, end);

        if (n)
            gram_touch(g, n == 1 ? *p : (*p & 0x1fu) << 6 | (p[1] & 0x3fu), mask);
        for (p++; p < end && (*p & 0xc0) == 0x80;)
            p++;
    }
}

static void gram_write(const struct mds_text_batch *b, uint32_t c, const struct gram *gram, uint32_t *v, uint32_t *ids,
                       struct text_writer *w)
{
    const uint8_t two[2] = {(uint8_t)(0xc0 | c >> 6), (uint8_t)(0x80 | (c & 0x3f))}, one = (uint8_t)c;
    struct reader in = reader_of(buf_bytes(&gram->log));
    uint32_t item = 0, mask = 0;

    for (uint32_t i = 0; i < gram->n; i++) {
        const uint64_t step = reader_varint(&in);

        item += (uint32_t)(step >> 1);
        if (step & 1)
            mask = (uint32_t)reader_varint(&in);
        v[i] = (item - 1) << BATCH_MASK_BITS | mask;
    }
    writer_term(w, c < 0x80 ? bytes_of(&one, 1) : bytes_of(two, 2));
    groups_write(b, v, gram->n, ids, w);
}

void grams_write(const struct mds_text_batch *b, struct text_writer *w)
{
    struct grams *g = calloc(1, sizeof *g);
    uint32_t *ids = malloc(2 * ((size_t)b->items_n + 1) * sizeof *ids);

    ASSERT(g && ids);
    for (size_t i = 0; i < b->log_n; i++) {
        const uint32_t item = (b->log_posting[i] >> BATCH_MASK_BITS) + 1;

        if (item != g->item)
            item_end(g);
        g->item = item;
        term_add(g, batch_term_bytes(b, &b->terms[b->log_term[i]]), b->log_posting[i] & ((1u << BATCH_MASK_BITS) - 1));
    }
    item_end(g);
    writer_grams(w);
    for (uint32_t c = 0; c < GRAMS; c++) {
        if (g->v[c].n)
            gram_write(b, c, &g->v[c], ids, ids + b->items_n + 1, w);
        buf_release(&g->v[c].log);
    }
    free(ids);
    free(g);
}

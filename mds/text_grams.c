/*
 * Grams of a batch: every string of one or two short characters that some term of an item contains. Which terms contain
 * "ED" is soon said, but they are so many that uniting their postings would take seconds; so what they unite to is
 * stored. Collected item by item in order of the log, so that merging segments merges grams as it does terms.
 */
#include "text_private.h"

struct gram {
    uint8_t text[4];
    uint8_t n;
    uint32_t item, mask; /* the item at hand: index + 1 and classes so far */
    uint32_t last_item, last_mask;
    struct buf log; /* varints: gap << 1 | is there a new mask; the mask */
};

struct grams {
    struct gram *v;
    uint32_t n, cap;
    uint32_t *slots; /* index + 1 */
    uint32_t slots_n;
    uint32_t *touched; /* by the item at hand */
    uint32_t touched_n, touched_cap;
    uint32_t item;
};

/* Length of the short character at p, 0 if it is another. */
static size_t short_char(const uint8_t *p, const uint8_t *end)
{
    return *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 && end - p >= 2 ? 2 : 0;
}

bool gram_is(struct bytes term)
{
    const uint8_t *p = term.p, *const end = p + term.n;
    unsigned n = 0;

    for (size_t c = 0; p < end; p += c, n++) {
        if (n == 2 || (c = short_char(p, end)) == 0)
            return false;
    }
    return n > 0;
}

static uint32_t gram_hash(const uint8_t *p, size_t n)
{
    uint32_t v = (uint32_t)n;

    for (size_t i = 0; i < n; i++)
        v = (v ^ p[i]) * 0x01000193u;
    return (v ^ v >> 15) * 0x85ebca6bu;
}

static void grams_rehash(struct grams *g, uint32_t slots_n)
{
    free(g->slots);
    g->slots_n = slots_n;
    g->slots = calloc(slots_n, sizeof *g->slots);
    ASSERT(g->slots);
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t at = gram_hash(g->v[i].text, g->v[i].n) >> 8 & (slots_n - 1);

        while (g->slots[at])
            at = (at + 1) & (slots_n - 1);
        g->slots[at] = i + 1;
    }
}

static struct gram *gram_find(struct grams *g, const uint8_t *p, size_t n)
{
    uint32_t at = gram_hash(p, n) >> 8 & (g->slots_n - 1);

    for (; g->slots[at]; at = (at + 1) & (g->slots_n - 1)) {
        struct gram *known = &g->v[g->slots[at] - 1];

        if (known->n == n && memcmp(known->text, p, n) == 0)
            return known;
    }
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 2048;
        g->v = realloc(g->v, g->cap * sizeof *g->v);
        ASSERT(g->v);
    }
    g->v[g->n] = (struct gram){.n = (uint8_t)n};
    memcpy(g->v[g->n].text, p, n);
    g->slots[at] = ++g->n;
    if (g->n > g->slots_n / 2)
        grams_rehash(g, 2 * g->slots_n);
    return &g->v[g->n - 1];
}

static void gram_touch(struct grams *g, const uint8_t *p, size_t n, uint32_t mask)
{
    struct gram *gram = gram_find(g, p, n);

    if (gram->item == g->item) {
        gram->mask |= mask;
        return;
    }
    gram->item = g->item;
    gram->mask = mask;
    if (g->touched_n == g->touched_cap) {
        g->touched_cap = g->touched_cap ? 2 * g->touched_cap : 2048;
        g->touched = realloc(g->touched, g->touched_cap * sizeof *g->touched);
        ASSERT(g->touched);
    }
    g->touched[g->touched_n++] = (uint32_t)(gram - g->v);
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
    }
    g->touched_n = 0;
}

static void term_add(struct grams *g, struct bytes term, uint32_t mask)
{
    const uint8_t *p = term.p, *const end = p + term.n, *before = NULL;

    while (p < end) {
        const size_t n = short_char(p, end);

        if (n == 0) {
            before = NULL;
            for (p++; p < end && (*p & 0xc0) == 0x80;)
                p++;
            continue;
        }
        gram_touch(g, p, n, mask);
        if (before)
            gram_touch(g, before, (size_t)(p + n - before), mask);
        before = p;
        p += n;
    }
}

static int by_text(const void *va, const void *vb)
{
    const struct gram *a = va, *b = vb;

    return bytes_compare(bytes_of(a->text, a->n), bytes_of(b->text, b->n));
}

/* One group after the other, by a pass over the log for each. */
static void gram_write(const struct mds_text_batch *b, const struct gram *gram, uint32_t *ids, struct text_writer *w)
{
    uint32_t mask = 0;

    writer_term(w, bytes_of(gram->text, gram->n));
    for (;;) {
        struct reader in = reader_of(buf_bytes(&gram->log));
        uint32_t item = 0, now = 0, next = UINT32_MAX, n = 0;

        while (in.p < in.end) {
            const uint64_t step = reader_varint(&in);

            item += (uint32_t)(step >> 1);
            if (step & 1)
                now = (uint32_t)reader_varint(&in);
            if (now == mask)
                ids[n++] = b->items[item - 1];
            else if (now > mask && now < next)
                next = now;
        }
        if (n) {
            writer_group(w, mask);
            writer_items(w, ids, n);
        }
        if (next == UINT32_MAX)
            return;
        mask = next;
    }
}

void grams_write(const struct mds_text_batch *b, struct text_writer *w)
{
    struct grams g = {0};
    uint32_t *ids = malloc((b->items_n + 1) * sizeof *ids);

    ASSERT(ids);
    grams_rehash(&g, 4096);
    for (size_t i = 0; i < b->log_n; i++) {
        const uint32_t item = (b->log_posting[i] >> BATCH_MASK_BITS) + 1;

        if (item != g.item)
            item_end(&g);
        g.item = item;
        term_add(&g, batch_term_bytes(b, &b->terms[b->log_term[i]]), b->log_posting[i] & ((1u << BATCH_MASK_BITS) - 1));
    }
    item_end(&g);
    qsort(g.v, g.n, sizeof *g.v, by_text);
    writer_grams(w);
    for (uint32_t i = 0; i < g.n; i++) {
        gram_write(b, &g.v[i], ids, w);
        buf_release(&g.v[i].log);
    }
    free(g.v);
    free(g.slots);
    free(g.touched);
    free(ids);
}

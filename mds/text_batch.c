/*
 * Items on their way into the index: a table of the terms seen, and a log of (term, item, classes) in order of item.
 *
 * Terms of the item in hand are gathered apart, in a table that stays in the processor's nearest cache: three quarters
 * of them come again in the same item. Each term of the item then goes once into the batch's table, which is large, so
 * what each needs of it is fetched while others are looked at.
 */
#include "text_private.h"

#include <sys/random.h>

#define XXH_INLINE_ALL /* a call costs as much as the hash of a term */
#include <xxhash.h>

#define SLOTS_FIRST 4096u
#define CAP_FIRST   2048u
#define IN_FLIGHT   16u /* terms whose slots are fetched at once */

static struct batch_slot *slots_new(uint32_t n)
{
    struct batch_slot *slots = pages_new(n * sizeof *slots);

    memset(slots, 0, n * sizeof *slots);
    return slots;
}

/* ---- terms are short: what a call of memcpy and memcmp costs is more than what they do ---- */

static void term_copy(uint8_t *to, const uint8_t *from, size_t n)
{
    if (n > 16) {
        memcpy(to, from, n);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

static bool terms_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n > 16)
        return memcmp(a, b, n) == 0;
    if (n >= 8)
        return native_u64(a) == native_u64(b) && native_u64(a + n - 8) == native_u64(b + n - 8);
    if (n >= 4)
        return native_u32(a) == native_u32(b) && native_u32(a + n - 4) == native_u32(b + n - 4);
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return false;
    }
    return true;
}

static void term_append(struct buf *to, struct bytes term)
{
    term_copy(buf_reserve(to, term.n), term.p, term.n);
    to->n += term.n;
}

/* ---- a batch ---- */

struct mds_text_batch *mds_text_batch_new(void)
{
    struct mds_text_batch *b = calloc(1, sizeof *b);

    ASSERT(b);
    b->slots_n = SLOTS_FIRST;
    b->slots = slots_new(b->slots_n);
    b->hand.slots_n = CAP_FIRST;
    b->hand.slots = calloc(b->hand.slots_n, sizeof *b->hand.slots);
    b->hand.cap = CAP_FIRST / 2;
    b->hand.v = malloc(b->hand.cap * sizeof *b->hand.v);
    b->chars = chars_new();
    if (getrandom(&b->hand.seed, sizeof b->hand.seed, 0) != (ssize_t)sizeof b->hand.seed)
        b->hand.seed = (uintptr_t)b;
    ASSERT(b->hand.slots && b->hand.v);
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
    log_release(&b->log);
    free(b->items);
    free(b->tags);
    buf_release(&b->hand.text);
    free(b->hand.v);
    free(b->hand.slots);
    chars_free(b->chars);
    free(b);
}

static void hand_empty(struct batch_hand *h)
{
    buf_reset(&h->text);
    memset(h->slots, 0, h->slots_n * sizeof *h->slots);
    h->n = 0;
}

void mds_text_batch_reset(struct mds_text_batch *b)
{
    buf_reset(&b->arena);
    memset(b->slots, 0, b->slots_n * sizeof *b->slots);
    b->terms_n = b->items_n = 0;
    log_reset(&b->log);
    b->text_bytes = 0;
    hand_empty(&b->hand);
    chars_reset(b->chars);
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

static void slots_grow(struct mds_text_batch *b)
{
    const uint32_t n = 2 * b->slots_n;
    struct batch_slot *slots = slots_new(n);

    for (uint32_t i = 0; i < b->slots_n; i++) {
        const struct batch_slot *slot = &b->slots[i];

        if (!slot->term)
            continue;
        uint32_t at = slot->hash & (n - 1);

        while (slots[at].term)
            at = (at + 1) & (n - 1);
        slots[at] = *slot;
    }
    free(b->slots);
    b->slots = slots;
    b->slots_n = n;
}

/* ---- the item in hand ---- */

static void hand_grow(struct batch_hand *h)
{
    h->cap *= 2;
    h->v = grown(h->v, h->cap, sizeof *h->v);
    h->slots_n *= 2;
    free(h->slots);
    h->slots = calloc(h->slots_n, sizeof *h->slots);
    ASSERT(h->slots);
    for (uint32_t i = 0; i < h->n; i++) {
        uint32_t at = h->v[i].hash & (h->slots_n - 1);

        while (h->slots[at])
            at = (at + 1) & (h->slots_n - 1);
        h->slots[at] = i + 1;
    }
}

static void hand_add(struct batch_hand *h, uint32_t mask, struct bytes term)
{
    const uint32_t hash = (uint32_t)XXH3_64bits_withSeed(term.p, term.n, h->seed);
    uint32_t at = hash & (h->slots_n - 1);

    for (; h->slots[at]; at = (at + 1) & (h->slots_n - 1)) {
        struct batch_word *w = &h->v[h->slots[at] - 1];

        if (w->hash == hash && w->n == term.n && terms_equal(h->text.p + w->text, term.p, term.n)) {
            w->mask |= (uint16_t)mask;
            return;
        }
    }
    if (h->n == h->cap) {
        hand_grow(h);
        hand_add(h, mask, term);
        return;
    }
    ASSERT(h->text.n + term.n <= UINT32_MAX);
    h->v[h->n] = (struct batch_word){hash, (uint32_t)h->text.n, (uint16_t)term.n, (uint16_t)mask};
    term_append(&h->text, term);
    h->slots[at] = ++h->n;
}

/* ---- into the batch ---- */

static uint32_t term_new(struct mds_text_batch *b, struct bytes term)
{
    if (b->terms_n == b->terms_cap) {
        b->terms_cap = b->terms_cap ? 2 * b->terms_cap : CAP_FIRST;
        b->terms = grown(b->terms, b->terms_cap, sizeof *b->terms);
    }
    ASSERT(b->arena.n + term.n <= UINT32_MAX);
    b->terms[b->terms_n] = (struct batch_term){.text = (uint32_t)b->arena.n, .n = (uint32_t)term.n};
    term_append(&b->arena, term);
    return b->terms_n++;
}

static bool slot_is_of(const struct mds_text_batch *b, const struct batch_slot *slot, uint32_t hash, struct bytes term)
{
    if (slot->hash != hash || slot->n != term.n)
        return false;
    if (term.n <= sizeof slot->head)
        return terms_equal(slot->head, term.p, term.n);
    return bytes_equal(batch_term_bytes(b, &b->terms[slot->term - 1]), term);
}

static uint32_t term_find(struct mds_text_batch *b, uint32_t hash, struct bytes term)
{
    uint32_t at = hash & (b->slots_n - 1);

    for (; b->slots[at].term; at = (at + 1) & (b->slots_n - 1)) {
        if (slot_is_of(b, &b->slots[at], hash, term))
            return b->slots[at].term - 1;
    }
    const uint32_t i = term_new(b, term);
    struct batch_slot *slot = &b->slots[at];

    *slot = (struct batch_slot){.hash = hash, .term = i + 1, .n = (uint8_t)term.n};
    term_copy(slot->head, term.p, term.n < sizeof slot->head ? term.n : sizeof slot->head);
    if (b->terms_n > b->slots_n / 4 * 3)
        slots_grow(b);
    return i;
}

static void fetch(const struct mds_text_batch *b, const struct batch_word *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(&b->slots[v[i].hash & (b->slots_n - 1)]);
}

static void word_log(struct mds_text_batch *b, const struct batch_word *w)
{
    const struct bytes term = bytes_of(b->hand.text.p + w->text, w->n);
    const uint32_t i = term_find(b, w->hash, term);
    struct batch_entry *e = log_next(&b->log, sizeof *e);

    *e = (struct batch_entry){i, (b->items_n - 1) << BATCH_MASK_BITS | w->mask};
    chars_add_grams(b->chars, term, w->mask);
}

void batch_settle(struct mds_text_batch *b)
{
    struct batch_hand *h = &b->hand;

    for (uint32_t i = 0; i < h->n; i += IN_FLIGHT) {
        const uint32_t n = h->n - i < IN_FLIGHT ? h->n - i : IN_FLIGHT;

        fetch(b, h->v + i, n);
        for (uint32_t k = 0; k < n; k++)
            word_log(b, &h->v[i + k]);
    }
    if (b->items_n)
        chars_item(b->chars, b->items_n - 1);
    hand_empty(h);
}

/* ---- the way in ---- */

void mds_text_batch_begin(struct mds_text_batch *b, uint64_t item, uint64_t tag)
{
    ASSERT(item > 0 && item <= UINT32_MAX && (b->items_n == 0 || item > b->items[b->items_n - 1]));
    ASSERT(b->items_n < BATCH_ITEMS_MAX);
    batch_settle(b);
    if (b->items_n == b->items_cap)
        items_grow(b);
    b->items[b->items_n] = (uint32_t)item;
    b->tags[b->items_n++] = tag;
}

void mds_text_batch_add(struct mds_text_batch *b, enum mds_text_class c, struct bytes term)
{
    ASSERT(b->items_n > 0 && c < MDS_TEXT_CLASSES && term.n > 0 && term.n <= MDS_TEXT_TERM_MAX);
    if (term.p[0] < MDS_TEXT_SEPARATORS) {
        hand_add(&b->hand, MDS_TEXT_MASK(c), term);
        return;
    }
    const bool is_one = chars_add_separators(b->chars, term, MDS_TEXT_MASK(c));

    ASSERT(is_one);
}

void mds_text_batch_pairs(struct mds_text_batch *b, enum mds_text_class c, const uint64_t rows[MDS_TEXT_PAIR_ROWS][2])
{
    ASSERT(b->items_n > 0 && c < MDS_TEXT_CLASSES);
    chars_add_pairs(b->chars, rows, MDS_TEXT_MASK(c));
}

void mds_text_batch_text(struct mds_text_batch *b, uint64_t text_bytes)
{
    b->text_bytes += text_bytes;
}

size_t mds_text_batch_bytes(const struct mds_text_batch *b)
{
    return b->arena.n + b->terms_n * sizeof *b->terms + b->slots_n * sizeof *b->slots + log_bytes(&b->log) +
           b->items_n * (sizeof *b->items + sizeof *b->tags) + b->hand.text.n + b->hand.n * sizeof *b->hand.v +
           chars_bytes(b->chars);
}

size_t mds_text_batch_items(const struct mds_text_batch *b)
{
    return b->items_n;
}

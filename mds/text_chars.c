/*
 * Characters of a batch: terms whose number is small and known before, and that nearly every item has. They have a log
 * of their own, item by item, sorted by counting, and no part in the table of terms.
 *
 * Grams: for every character below U+0800 the items that have a term with it. Which terms contain an "E" is soon said,
 * but their postings are most of the index, and some item always lacks it, so that uniting them has no early end; what
 * they unite to is stored. Strings of two letters are not worth it: docs/decisions/0040.
 *
 * Separators of ASCII and pairs with them: ordinary terms, written so that they come behind all others (mime/pairs.h).
 *
 * Collected item by item, so that merging segments merges them as it does terms.
 */
#include "text_private.h"

#define GRAMS   0x800u /* characters of one or two bytes */
#define SINGLES 128u
#define PAIRS   (128u * 128u)
#define ALL     (GRAMS + SINGLES + PAIRS)
#define ITEM    (UINT32_C(1) << 31) /* of an entry: it is the index of the item that the next ones are of */

static_assert(ALL << BATCH_MASK_BITS < ITEM && BATCH_ITEMS_MAX < ITEM, "an entry has 31 bits");

struct chars {
    uint16_t mask[ALL]; /* of the item in hand */
    uint16_t touched[ALL];
    uint32_t touched_n;
    struct batch_log log; /* uint32_t: character << BATCH_MASK_BITS | mask */
};

struct chars *chars_new(void)
{
    struct chars *g = calloc(1, sizeof *g);

    ASSERT(g);
    return g;
}

void chars_free(struct chars *g)
{
    log_release(&g->log);
    free(g);
}

void chars_reset(struct chars *g)
{
    log_reset(&g->log);
    memset(g->mask, 0, sizeof g->mask);
    g->touched_n = 0;
}

size_t chars_bytes(const struct chars *g)
{
    return sizeof *g + log_bytes(&g->log);
}

/* ---- the item in hand ---- */

static void touch(struct chars *g, uint32_t c, uint32_t mask)
{
    if (g->mask[c] == 0)
        g->touched[g->touched_n++] = (uint16_t)c;
    g->mask[c] |= (uint16_t)mask;
}

/* Length of the short character at p, 0 if it is another. */
static size_t short_char(const uint8_t *p, const uint8_t *end)
{
    return *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 && end - p >= 2 ? 2 : 0;
}

bool gram_is(struct bytes term)
{
    return term.n > 0 && short_char(term.p, term.p + term.n) == term.n;
}

void chars_add_grams(struct chars *g, struct bytes term, uint32_t mask)
{
    const uint8_t *const end = term.p + term.n;

    for (const uint8_t *p = term.p; p < end;) {
        const size_t n = short_char(p, end);

        if (n)
            touch(g, n == 1 ? *p : (*p & 0x1fu) << 6 | (p[1] & 0x3fu), mask);
        for (p++; p < end && (*p & 0xc0) == 0x80;)
            p++;
    }
}

bool chars_add_separators(struct chars *g, struct bytes term, uint32_t mask)
{
    uint32_t c = 0;

    if (term.n != (term.p[0] == MDS_TEXT_SEPARATORS ? 3 : 5))
        return false;
    for (size_t i = 1; i < term.n; i += 2) {
        if ((term.p[i] & 0xf8) != 0x80 || (term.p[i + 1] & 0xf0) != 0x80)
            return false;
        c = c << 7 | (term.p[i] & 0x07u) << 4 | (term.p[i + 1] & 0x0fu);
    }
    touch(g, GRAMS + (term.n == 3 ? 0 : SINGLES) + c, mask);
    return true;
}

void chars_add_pairs(struct chars *g, const uint64_t rows[MDS_TEXT_PAIR_ROWS][2], uint32_t mask)
{
    for (uint32_t row = 0; row < MDS_TEXT_PAIR_ROWS; row++) {
        const uint32_t first = GRAMS + (row < SINGLES ? SINGLES + row * 128 : 0);

        for (uint32_t half = 0; half < 2; half++) {
            for (uint64_t rest = rows[row][half]; rest; rest &= rest - 1)
                touch(g, first + half * 64 + (uint32_t)__builtin_ctzll(rest), mask);
        }
    }
}

static void entry_put(struct chars *g, uint32_t entry)
{
    uint32_t *e = log_next(&g->log, sizeof *e);

    *e = entry;
}

void chars_item(struct chars *g, uint32_t item)
{
    if (g->touched_n)
        entry_put(g, ITEM | item);
    for (uint32_t i = 0; i < g->touched_n; i++) {
        const uint16_t c = g->touched[i];

        entry_put(g, (uint32_t)c << BATCH_MASK_BITS | g->mask[c]);
        g->mask[c] = 0;
    }
    g->touched_n = 0;
}

/* ---- writing ---- */

static struct bytes term_of(uint32_t c, uint8_t out[5])
{
    const uint32_t i = c - GRAMS, pair = i - SINGLES;

    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return bytes_of(out, 1);
    }
    if (c < GRAMS) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return bytes_of(out, 2);
    }
    const uint32_t chars[2] = {i < SINGLES ? i : pair >> 7, pair & 0x7f};
    const size_t n = i < SINGLES ? 1 : 2;

    out[0] = (uint8_t)(MDS_TEXT_SEPARATORS + n - 1);
    for (size_t k = 0; k < n; k++) {
        out[1 + 2 * k] = (uint8_t)(0x80 | chars[k] >> 4);
        out[2 + 2 * k] = (uint8_t)(0x80 | (chars[k] & 0x0f));
    }
    return bytes_of(out, 1 + 2 * n);
}

/* Of each character in order of item: those of c end at end[c], where those of c + 1 begin. */
static uint32_t *chars_sorted(const struct batch_log *log, size_t end[ALL])
{
    uint32_t *v = pages_new(log_bytes(log)), item = 0;
    size_t at = 0, bytes;

    memset(end, 0, ALL * sizeof *end);
    for (uint32_t i = 0; i < log->in; i++) {
        const uint32_t *e = log_block(log, i, &bytes);

        for (size_t k = 0; k < bytes / sizeof *e; k++) {
            if (!(e[k] & ITEM))
                end[e[k] >> BATCH_MASK_BITS]++;
        }
    }
    for (uint32_t c = 0; c < ALL; c++) { /* now where each begins */
        const size_t n = end[c];

        end[c] = at;
        at += n;
    }
    for (uint32_t i = 0; i < log->in; i++) {
        const uint32_t *e = log_block(log, i, &bytes);

        for (size_t k = 0; k < bytes / sizeof *e; k++) {
            if (e[k] & ITEM)
                item = (e[k] & ~ITEM) << BATCH_MASK_BITS;
            else
                v[end[e[k] >> BATCH_MASK_BITS]++] = item | (e[k] & ((1u << BATCH_MASK_BITS) - 1));
        }
    }
    return v;
}

void chars_write(const struct mds_text_batch *b, struct text_writer *w)
{
    size_t *end = malloc(ALL * sizeof *end);
    uint32_t *ids = malloc(((size_t)b->items_n + 1) * sizeof *ids);

    ASSERT(end && ids);
    uint32_t *v = chars_sorted(&b->chars->log, end);

    for (uint32_t i = 0; i < ALL; i++) { /* separators first */
        const uint32_t c = (i + GRAMS) % ALL;
        const size_t begin = c ? end[c - 1] : 0;
        uint8_t term[5];

        if (c == 0)
            writer_grams(w);
        if (end[c] == begin)
            continue;
        writer_term(w, term_of(c, term));
        groups_write(b, v + begin, (uint32_t)(end[c] - begin), ids, w);
    }
    free(v);
    free(ids);
    free(end);
}

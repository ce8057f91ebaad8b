/*
 * Characters of a batch: terms whose number is small and known before, and that nearly every item has. Each has a log
 * of its own, in order of item, and no part in the table of terms.
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

struct chars_log {
    uint32_t last_item, last_mask;
    uint32_t n;
    struct buf log; /* varints: gap << 1 | is there a new mask; the mask */
};

struct chars {
    uint16_t mask[ALL]; /* of the item in hand */
    uint16_t touched[ALL];
    uint32_t touched_n;
    size_t bytes; /* of all logs */
    struct chars_log v[ALL];
};

struct chars *chars_new(void)
{
    struct chars *g = calloc(1, sizeof *g);

    ASSERT(g);
    return g;
}

void chars_free(struct chars *g)
{
    for (uint32_t c = 0; c < ALL; c++)
        buf_release(&g->v[c].log);
    free(g);
}

void chars_reset(struct chars *g)
{
    for (uint32_t c = 0; c < ALL; c++) {
        buf_reset(&g->v[c].log);
        g->v[c].last_item = g->v[c].last_mask = g->v[c].n = 0;
    }
    memset(g->mask, 0, sizeof g->mask);
    g->touched_n = 0;
    g->bytes = 0;
}

size_t chars_bytes(const struct chars *g)
{
    return sizeof *g + g->bytes;
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

void chars_item(struct chars *g, uint32_t items_n)
{
    for (uint32_t i = 0; i < g->touched_n; i++) {
        const uint16_t c = g->touched[i];
        struct chars_log *log = &g->v[c];
        const size_t before = log->log.n;
        const bool fresh = g->mask[c] != log->last_mask;

        buf_put_varint(&log->log, (uint64_t)(items_n - log->last_item) << 1 | fresh);
        if (fresh)
            buf_put_varint(&log->log, g->mask[c]);
        log->last_item = items_n;
        log->last_mask = g->mask[c];
        log->n++;
        g->bytes += log->log.n - before;
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

static void log_write(const struct mds_text_batch *b, uint32_t c, uint32_t *v, uint32_t *ids, struct text_writer *w)
{
    const struct chars_log *log = &b->chars->v[c];
    struct reader in = reader_of(buf_bytes(&log->log));
    uint32_t item = 0, mask = 0;
    uint8_t term[5];

    for (uint32_t i = 0; i < log->n; i++) {
        const uint64_t step = reader_varint(&in);

        item += (uint32_t)(step >> 1);
        if (step & 1)
            mask = (uint32_t)reader_varint(&in);
        v[i] = (item - 1) << BATCH_MASK_BITS | mask;
    }
    writer_term(w, term_of(c, term));
    groups_write(b, v, log->n, ids, w);
}

static void logs_write(const struct mds_text_batch *b, uint32_t from, uint32_t to, struct text_writer *w)
{
    uint32_t *ids = malloc(2 * ((size_t)b->items_n + 1) * sizeof *ids);

    ASSERT(ids);
    for (uint32_t c = from; c < to; c++) {
        if (b->chars->v[c].n)
            log_write(b, c, ids, ids + b->items_n + 1, w);
    }
    free(ids);
}

void chars_write_separators(const struct mds_text_batch *b, struct text_writer *w)
{
    logs_write(b, GRAMS, ALL, w);
}

void chars_write_grams(const struct mds_text_batch *b, struct text_writer *w)
{
    writer_grams(w);
    logs_write(b, 0, GRAMS, w);
}

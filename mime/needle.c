/*
 * Terms of a needle: it is cut at the same places as the texts that hold it (words.c), but for its two ends. Those are
 * open: what stands there may be the middle of a longer run.
 */
#include "words_private.h"

#include "base/error.h"

static bool utf8_valid(struct bytes text)
{
    const uint8_t *p = text.p, *const end = p + text.n;
    uint32_t c;
    size_t n;

    for (; p < end; p += n) {
        n = *p < 0x80 ? 1 : words_char_decode(p, end, &c);
        if (n == 0)
            return false;
    }
    return true;
}

struct needle { /* while its terms are gathered */
    struct mime_needle_term *v;
    size_t n, cap;
    size_t longest; /* bytes of a run */
    struct mime_pair_term *pairs;
};

static void needle_add(struct needle *g, struct bytes term, enum mime_match match)
{
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 16;
        g->v = realloc(g->v, g->cap * sizeof *g->v);
        ASSERT(g->v);
    }
    g->v[g->n++] = (struct mime_needle_term){term, match};
}

/* Of a run in the text we know pieces of OVERLAP bytes to lie whole in a term, wherever it begins. */
static void needle_add_long(struct needle *g, struct bytes run)
{
    size_t at = 0;

    while (run.n - at > MIME_WORDS_OVERLAP) {
        const size_t end = words_boundary(run, at + MIME_WORDS_OVERLAP);

        needle_add(g, bytes_slice(run, at, end - at), MIME_MATCH_CONTAINS);
        at = end;
    }
    at = words_boundary(run, run.n - MIME_WORDS_OVERLAP + 3); /* the rest, made as long as the others */
    needle_add(g, bytes_slice(run, at, SIZE_MAX), MIME_MATCH_CONTAINS);
}

static void needle_add_run(struct needle *g, struct bytes run, bool open_left, bool open_right)
{
    const enum mime_match match = open_left    ? open_right ? MIME_MATCH_CONTAINS : MIME_MATCH_SUFFIX
                                  : open_right ? MIME_MATCH_PREFIX
                                               : MIME_MATCH_WHOLE;

    if (run.n <= MIME_WORDS_OVERLAP || (match == MIME_MATCH_WHOLE && run.n <= MIME_WORDS_RUN_MAX))
        needle_add(g, run, match);
    else
        needle_add_long(g, run);
}

/* A pair is a term of the text, whatever stands beside it. A single letter may be half of a pair at an open end. */
static void needle_add_dense(struct needle *g, struct bytes run, bool open_left, bool open_right)
{
    size_t at = 0, second = words_char_end(run, 0);

    if (second == run.n) {
        needle_add_run(g, run, open_left, open_right);
        return;
    }
    while (second < run.n) {
        const size_t end = words_char_end(run, second);

        needle_add(g, bytes_slice(run, at, end - at), MIME_MATCH_WHOLE);
        at = second;
        second = end;
    }
}

static int by_term(const void *va, const void *vb)
{
    const struct mime_needle_term *a = va, *b = vb;
    const int c = bytes_compare(a->term, b->term);

    return c ? c : (int)a->match - (int)b->match;
}

/* Terms are views of one needle: among equals, its order. */
static int by_length(const void *va, const void *vb)
{
    const struct mime_needle_term *a = va, *b = vb;

    if (a->term.n != b->term.n)
        return a->term.n > b->term.n ? -1 : 1;
    return a->term.p < b->term.p ? -1 : a->term.p > b->term.p;
}

static void needle_dedup(struct needle *g)
{
    size_t n = 0;

    qsort(g->v, g->n, sizeof *g->v, by_term);
    for (size_t i = 0; i < g->n; i++) {
        if (n == 0 || by_term(&g->v[n - 1], &g->v[i]) != 0)
            g->v[n++] = g->v[i];
    }
    g->n = n;
}

static void needle_cut(struct needle *g)
{
    const size_t max = MIME_NEEDLE_TERMS_MAX;
    size_t from = 0, to;

    qsort(g->v, g->n, sizeof *g->v, by_length);
    if (g->n <= max)
        return;
    const size_t least = g->v[max - 1].term.n;

    while (g->v[from].term.n > least)
        from++;
    for (to = from; to < g->n && g->v[to].term.n == least;)
        to++;
    for (size_t i = from; i < max; i++)
        g->v[i] = g->v[from + (i - from) * (to - from) / (max - from)];
    g->n = max;
}

/* ---- between runs ---- */

/* Separators above ASCII are terms; of ASCII single ones are too frequent to help where there is more. */
static void needle_add_separators(struct needle *g, struct bytes needle)
{
    size_t n;

    for (size_t at = 0; at < needle.n; at += n) {
        const enum words_kind kind = words_char_kind(needle.p + at, needle.p + needle.n, &n);

        if (kind == WORDS_SEPARATOR && needle.p[at] >= 0x80)
            needle_add(g, bytes_slice(needle, at, n), MIME_MATCH_WHOLE);
    }
}

/* Of runs as short as these nearly every text has one: the pairs that they stand in say more. */
static void needle_add_pairs(struct needle *g, struct bytes needle)
{
    const size_t most = needle.n < MIME_NEEDLE_TERMS_MAX ? needle.n : MIME_NEEDLE_TERMS_MAX;
    size_t n = 0;

    g->pairs = malloc(most * sizeof *g->pairs);
    ASSERT(g->pairs);
    for (size_t i = 0; n < most && (i + 1 < needle.n || i == 0); i++) {
        if (mime_pair_term(bytes_slice(needle, i, 2), &g->pairs[n])) {
            needle_add(g, bytes_of(g->pairs[n].v, g->pairs[n].n), MIME_MATCH_WHOLE);
            n++;
        }
    }
    if (n == 0)
        return;
    size_t kept = 0;

    for (size_t i = 0; i < g->n; i++) { /* a letter is part of one of those pairs */
        if (g->v[i].term.n > 1)
            g->v[kept++] = g->v[i];
    }
    g->n = kept;
}

/* Is the whole needle one term of the text whenever it stands there, and stands there whenever it is? */
static bool is_exact(const struct needle *g, struct bytes needle)
{
    if (g->n != 1)
        return false;
    if (g->v[0].term.p[0] >= MIME_PAIR_TERMS)
        return needle.n <= 2;
    return g->v[0].term.n == needle.n;
}

/* ---- all of it ---- */

static void needle_add_runs(struct needle *g, struct bytes needle)
{
    struct mime_words w;
    size_t begin = 0;

    mime_words_init(&w, needle);
    for (; words_run_next(&w, &begin); w.pos = w.run_end) {
        const struct bytes run = bytes_slice(needle, begin, w.run_end - begin);

        (w.dense ? needle_add_dense : needle_add_run)(g, run, begin == 0, w.run_end == needle.n);
        g->longest = run.n > g->longest ? run.n : g->longest;
    }
}

static void needle_end(struct needle *g, struct bytes needle, struct mime_needle *out)
{
    if (g->n == 0)
        return;
    needle_dedup(g);
    needle_cut(g);
    *out = (struct mime_needle){.v = g->v, .n = g->n, .pairs = g->pairs, .exact = is_exact(g, needle)};
}

void mime_needle_init(struct mime_needle *out, struct bytes needle)
{
    struct needle g = {0};

    *out = (struct mime_needle){0};
    if (needle.n == 0 || !utf8_valid(needle))
        return;
    needle_add_runs(&g, needle);
    needle_add_separators(&g, needle);
    if (g.longest <= MIME_NEEDLE_SHORT)
        needle_add_pairs(&g, needle);
    needle_end(&g, needle, out);
}

void mime_needle_init_runs(struct mime_needle *out, struct bytes needle)
{
    struct needle g = {0};

    *out = (struct mime_needle){0};
    if (!utf8_valid(needle))
        return;
    needle_add_runs(&g, needle);
    needle_end(&g, needle, out);
}

void mime_needle_release(struct mime_needle *n)
{
    free(n->v);
    free(n->pairs);
    *n = (struct mime_needle){0};
}

/*
 * Which terms of a segment match: by order of the dictionary where the beginning is known, else by a scan of its text
 * for the bytes. The scan looks for the needle's two rarest bytes, sixteen places at a time, and compares where both
 * stand.
 */
#include "text_private.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- bytes ---- */

/* How often bytes stand in terms, roughly; the rest is rare. */
static unsigned byte_weight(uint8_t c)
{
    static const char common[] = "EAITNORSLCDUMPHGBFYWKVXJZQ0123456789";
    const char *at = c ? strchr(common, c) : NULL;

    return c == '\n' ? 3 : at ? 100 - (unsigned)(at - common) : c >= 0x80 && c < 0xc0 ? 20 : c >= 0xc0 ? 40 : 1;
}

void scan_init(struct text_scan *s, struct bytes needle)
{
    ASSERT(needle.n > 0);
    *s = (struct text_scan){.needle = needle};
    for (size_t i = 1; i < needle.n; i++) {
        if (byte_weight(needle.p[i]) < byte_weight(needle.p[s->rare]))
            s->rare = i;
    }
    s->second = s->rare == 0 ? needle.n - 1 : 0;
    for (size_t i = 0; i < needle.n; i++) {
        if (i != s->rare && byte_weight(needle.p[i]) < byte_weight(needle.p[s->second]))
            s->second = i;
    }
}

static bool stands_at(const struct text_scan *s, const uint8_t *p)
{
    return memcmp(p, s->needle.p, s->needle.n) == 0;
}

const uint8_t *scan_find(const struct text_scan *s, const uint8_t *p, const uint8_t *end)
{
    const size_t n = s->needle.n;

    if ((size_t)(end - p) < n)
        return NULL;
#ifdef __SSE2__
    const __m128i a = _mm_set1_epi8((char)s->needle.p[s->rare]), b = _mm_set1_epi8((char)s->needle.p[s->second]);

    for (; (size_t)(end - p) >= n + 15; p += 16) {
        const __m128i at_a = _mm_loadu_si128((const __m128i *)(const void *)(p + s->rare));
        const __m128i at_b = _mm_loadu_si128((const __m128i *)(const void *)(p + s->second));
        unsigned hits = (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(at_a, a), _mm_cmpeq_epi8(at_b, b)));

        for (; hits; hits &= hits - 1) {
            const uint8_t *at = p + __builtin_ctz(hits);

            if (stands_at(s, at))
                return at;
        }
    }
#endif
    for (; (size_t)(end - p) >= n; p++) {
        const uint8_t *at = memchr(p + s->rare, s->needle.p[s->rare], (size_t)(end - p) - n + 1);

        if (!at)
            return NULL;
        p = at - s->rare;
        if (stands_at(s, p))
            return p;
    }
    return NULL;
}

/* ---- terms ---- */

static int term_visit(const struct text_term *t, struct text_search *s, struct error *err)
{
    s->terms++;
    return s->fn(t->stream_at, t->stream_n, s->arg, err);
}

static int whole_walk(struct text_blocks *w, struct text_search *s, struct error *err)
{
    struct text_term t;
    int rc = blocks_seek(w, s->term, err);

    if (rc != 1)
        return rc;
    term_first(&w->b, &t);
    while (term_next(&t)) {
        const int order = bytes_compare(t.term, s->term);

        if (order >= 0)
            return order == 0 ? term_visit(&t, s, err) : 0;
    }
    return 0;
}

static int prefix_walk(struct text_blocks *w, struct text_search *s, struct error *err)
{
    struct text_term t;
    int rc;

    for (rc = blocks_seek(w, s->term, err); rc == 1; rc = blocks_next(w, err)) {
        term_first(&w->b, &t);
        while (term_next(&t)) {
            const int order = bytes_compare(bytes_slice(t.term, 0, s->term.n), s->term);

            if (order > 0)
                return 0;
            if (order == 0 && (rc = term_visit(&t, s, err)) != 0)
                return rc;
        }
    }
    return rc;
}

static int scan_walk(struct text_blocks *w, const struct text_scan *scan, struct text_search *s, struct error *err)
{
    struct text_filter filter;
    int rc;

    filter_init(&filter, w->r, w->part, scan->needle);
    for (rc = blocks_next_allowed(w, &filter, true, err); rc == 1; rc = blocks_next_allowed(w, &filter, false, err)) {
        const uint8_t *at = w->b.text.p, *const end = at + w->b.text.n;
        struct text_term t;

        term_first(&w->b, &t);
        while ((at = scan_find(scan, at, end)) != NULL) {
            while (t.at <= at && term_next(&t))
                ;
            if ((rc = term_visit(&t, s, err)) != 0)
                return rc;
            at = t.at - 1;
        }
    }
    return rc;
}

int search_part(struct mds_text_reader *r, const struct text_part *part, struct text_search *s, struct error *err)
{
    const bool grams = s->match == MDS_MATCH_CONTAINS && gram_is(s->term) && !s->by_terms;
    const enum mds_match match = grams ? MDS_MATCH_WHOLE : s->match;
    uint8_t needle[MDS_TEXT_TERM_MAX + 1];
    struct text_scan scan;
    struct text_blocks w;
    int rc = blocks_open(r, part, grams ? TEXT_GRAMS : TEXT_TERMS, &w, err);

    if (rc != BASE_OK)
        return rc;
    switch (match) {
    case MDS_MATCH_WHOLE: rc = whole_walk(&w, s, err); break;
    case MDS_MATCH_PREFIX: rc = prefix_walk(&w, s, err); break;
    default:
        memcpy(needle, s->term.p, s->term.n);
        needle[s->term.n] = '\n'; /* behind every term */
        scan_init(&scan, bytes_of(needle, s->term.n + (match == MDS_MATCH_SUFFIX)));
        rc = scan_walk(&w, &scan, s, err);
        break;
    }
    blocks_close(&w);
    return rc;
}

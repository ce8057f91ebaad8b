/*
 * Terms of texts and needles. Everything rests on one property: the class of a character depends on its own bytes
 * alone, and UTF-8 tells where characters begin, so a needle is cut at the same places as the text that holds it, but
 * for its two ends. Those are open: what stands there may be the middle of a longer run.
 */
#include "mime/words.h"

#include "base/error.h"
#include "base/hash.h"
#include "mime/mime.h"

enum kind { SEPARATOR, LETTER, DENSE };

/* ---- kinds of characters ---- */

#define WORDS_VERSION 1u /* of the table and of the cutting: part of the fingerprint */

/* From each code point to before the next. Casemapped text holds no composed or compatibility characters, so they are
 * treated in bulk; marks go with the letters that they stand on. */
static const struct {
    uint32_t from;
    enum kind kind;
} ranges[] = {
    {0x80, SEPARATOR},    {0xaa, LETTER},       {0xab, SEPARATOR},    {0xb2, LETTER},        {0xb4, SEPARATOR},
    {0xb5, LETTER},       {0xb6, SEPARATOR},    {0xb9, LETTER},       {0xbb, SEPARATOR},     {0xc0, LETTER},
    {0xd7, SEPARATOR},    {0xd8, LETTER},       {0xf7, SEPARATOR},    {0xf8, LETTER},        {0x37e, SEPARATOR},
    {0x37f, LETTER},      {0x387, SEPARATOR},   {0x388, LETTER},      {0x55a, SEPARATOR},    {0x560, LETTER},
    {0x589, SEPARATOR},   {0x591, LETTER},      {0x5be, SEPARATOR},   {0x5bf, LETTER},       {0x5c0, SEPARATOR},
    {0x5c1, LETTER},      {0x5c3, SEPARATOR},   {0x5c4, LETTER},      {0x5c6, SEPARATOR},    {0x5c7, LETTER},
    {0x5f3, SEPARATOR},   {0x610, LETTER},      {0x61b, SEPARATOR},   {0x620, LETTER},       {0x66a, SEPARATOR},
    {0x66e, LETTER},      {0x6d4, SEPARATOR},   {0x6d5, LETTER},      {0x6dd, SEPARATOR},    {0x6df, LETTER},
    {0x700, SEPARATOR},   {0x710, LETTER},      {0x964, SEPARATOR},   {0x966, LETTER},       {0x970, SEPARATOR},
    {0x971, LETTER},      {0xdf4, SEPARATOR},   {0xdf5, LETTER},      {0xe00, DENSE},        {0xe3f, SEPARATOR},
    {0xe40, DENSE},       {0xe4f, SEPARATOR},   {0xe50, DENSE},       {0xe5a, SEPARATOR},    {0xe80, DENSE},
    {0xf00, LETTER},      {0xf01, SEPARATOR},   {0xf18, LETTER},      {0xf3a, SEPARATOR},    {0xf3e, LETTER},
    {0xf85, SEPARATOR},   {0xf86, LETTER},      {0xfbe, SEPARATOR},   {0x1000, DENSE},       {0x104a, SEPARATOR},
    {0x1050, DENSE},      {0x10a0, LETTER},     {0x10fb, SEPARATOR},  {0x10fc, LETTER},      {0x1100, DENSE},
    {0x1200, LETTER},     {0x1361, SEPARATOR},  {0x1369, LETTER},     {0x1400, SEPARATOR},   {0x1401, LETTER},
    {0x166d, SEPARATOR},  {0x166f, LETTER},     {0x1680, SEPARATOR},  {0x1681, LETTER},      {0x169b, SEPARATOR},
    {0x16a0, LETTER},     {0x16eb, SEPARATOR},  {0x16ee, LETTER},     {0x1735, SEPARATOR},   {0x1740, LETTER},
    {0x1780, DENSE},      {0x17d4, SEPARATOR},  {0x17d7, DENSE},      {0x17d8, SEPARATOR},   {0x17dc, DENSE},
    {0x1800, SEPARATOR},  {0x180b, LETTER},     {0x180e, SEPARATOR},  {0x180f, LETTER},      {0x1944, SEPARATOR},
    {0x1946, LETTER},     {0x2000, SEPARATOR},  {0x2c00, LETTER},     {0x2cf9, SEPARATOR},   {0x2d00, LETTER},
    {0x2e00, SEPARATOR},  {0x2e80, DENSE},      {0x2ff0, SEPARATOR},  {0x3005, DENSE},       {0x3008, SEPARATOR},
    {0x3021, DENSE},      {0x3030, SEPARATOR},  {0x3031, DENSE},      {0x303d, SEPARATOR},   {0x3041, DENSE},
    {0x30fb, SEPARATOR},  {0x30fc, DENSE},      {0x3200, SEPARATOR},  {0x3400, DENSE},       {0x4dc0, SEPARATOR},
    {0x4e00, DENSE},      {0xa490, SEPARATOR},  {0xa4d0, LETTER},     {0xa4fe, SEPARATOR},   {0xa500, LETTER},
    {0xa60d, SEPARATOR},  {0xa610, LETTER},     {0xa960, DENSE},      {0xa980, LETTER},      {0xa9c1, SEPARATOR},
    {0xa9cf, LETTER},     {0xac00, DENSE},      {0xd800, SEPARATOR},  {0xf900, DENSE},       {0xfb00, LETTER},
    {0xfd3e, SEPARATOR},  {0xfd50, LETTER},     {0xfdfc, SEPARATOR},  {0xfe20, LETTER},      {0xfe30, SEPARATOR},
    {0xfe70, LETTER},     {0xfeff, SEPARATOR},  {0xff10, LETTER},     {0xff1a, SEPARATOR},   {0xff21, LETTER},
    {0xff3b, SEPARATOR},  {0xff41, LETTER},     {0xff5b, SEPARATOR},  {0xff66, DENSE},       {0xffe0, SEPARATOR},
    {0x10000, LETTER},    {0x10100, SEPARATOR}, {0x10140, LETTER},    {0x16fe0, DENSE},      {0x18e00, LETTER},
    {0x1aff0, DENSE},     {0x1b300, LETTER},    {0x1bca0, SEPARATOR}, {0x1bcb0, LETTER},     {0x1cf50, SEPARATOR},
    {0x1d400, LETTER},    {0x1d800, SEPARATOR}, {0x1df00, LETTER},    {0x1f000, SEPARATOR},  {0x1fbf0, LETTER},
    {0x1fc00, SEPARATOR}, {0x20000, DENSE},     {0x40000, SEPARATOR}, {0x110000, SEPARATOR},
};
#define RANGES_N (sizeof ranges / sizeof *ranges)

/* Of ASCII; above it the character must be looked at. */
#define IS_LETTER(c) (letters[(c)] == 1)
static const uint8_t letters[256] = {
    ['0'] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ['A'] = 1, 1, 1, 1, 1, 1,         1, 1, 1, 1, 1,
    1,         1, 1, 1, 1, 1, 1, 1, 1, 1, 1,         1, 1, 1, 1, ['a'] = 1, 1, 1, 1, 1, 1,
    1,         1, 1, 1, 1, 1, 1, 1, 1, 1, 1,         1, 1, 1, 1, 1,         1, 1, 1, 1, 1,
};

static enum kind kind_of(uint32_t c)
{
    size_t low = 0, high = RANGES_N - 1; /* ranges[low].from <= c < ranges[high].from */

    while (high - low > 1) {
        const size_t middle = (low + high) / 2;

        if (ranges[middle].from <= c)
            low = middle;
        else
            high = middle;
    }
    return ranges[low].kind;
}

/* Length of the character at p < end that is not ASCII, 0 if these bytes are none: overlong, surrogate, cut off. */
static size_t char_decode(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t c = *p;
    const size_t n = c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 ? 3 : 2;
    uint32_t v = c & (0x7fu >> n);

    if (c < 0xc0 || c >= 0xf8 || (size_t)(end - p) < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *out = v;
    return n;
}

/* Kind and length of the character at p < end; bytes that are none are separators one by one. */
static enum kind char_kind(const uint8_t *p, const uint8_t *end, size_t *n_out)
{
    uint32_t c = 0;

    *n_out = 1;
    if (*p < 0x80)
        return IS_LETTER(*p) ? LETTER : SEPARATOR;
    const size_t n = char_decode(p, end, &c);

    if (n == 0)
        return SEPARATOR;
    *n_out = n;
    return kind_of(c);
}

/* ---- runs ---- */

/* The next run at or after pos: its begin, and by run_end its end. False: there is none. */
static bool run_next(struct mime_words *w, size_t *begin_out)
{
    const uint8_t *const p = w->text.p, *const end = p + w->text.n;
    const uint8_t *at = p + w->pos;
    enum kind kind = SEPARATOR;
    size_t n = 0;

    for (; at < end; at += n) {
        while (at < end && *at < 0x80 && !IS_LETTER(*at))
            at++;
        if (at == end || (kind = char_kind(at, end, &n)) != SEPARATOR)
            break;
    }
    if (at == end)
        return false;
    *begin_out = (size_t)(at - p);
    w->dense = kind == DENSE;
    for (at += n; at < end; at += n) {
        if (kind == LETTER) {
            while (at < end && IS_LETTER(*at))
                at++;
        }
        if (at == end || char_kind(at, end, &n) != kind)
            break;
    }
    w->run_end = (size_t)(at - p);
    return true;
}

/* The character boundary of valid UTF-8 at or below `at`. */
static size_t boundary(struct bytes text, size_t at)
{
    while (at < text.n && (text.p[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static size_t char_end(struct bytes text, size_t at)
{
    for (at++; at < text.n && (text.p[at] & 0xc0) == 0x80;)
        at++;
    return at;
}

/* ---- terms of a text ---- */

void mime_words_init(struct mime_words *w, struct bytes casemapped)
{
    *w = (struct mime_words){.text = casemapped.n ? casemapped : BYTES_LIT("")};
}

/* What begins at `begin` in the run; pos is then where the next begins. */
static struct bytes piece_take(struct mime_words *w, size_t begin)
{
    size_t end = w->run_end;

    w->pos = end;
    if (w->dense) {
        const size_t second = char_end(w->text, begin);

        if (second < end && (end = char_end(w->text, second)) < w->run_end)
            w->pos = second;
    } else if (end - begin > MIME_WORDS_RUN_MAX) {
        end = boundary(w->text, begin + MIME_WORDS_RUN_MAX);
        w->pos = boundary(w->text, begin + MIME_WORDS_RUN_STEP);
    }
    return bytes_of(w->text.p + begin, end - begin);
}

bool mime_words_next(struct mime_words *w, struct bytes *term_out)
{
    size_t begin = w->pos;

    if (begin >= w->run_end && !run_next(w, &begin))
        return false;
    *term_out = piece_take(w, begin);
    return true;
}

/* ---- terms of a needle ---- */

static bool utf8_valid(struct bytes text)
{
    const uint8_t *p = text.p, *const end = p + text.n;
    uint32_t c;
    size_t n;

    for (; p < end; p += n) {
        n = *p < 0x80 ? 1 : char_decode(p, end, &c);
        if (n == 0)
            return false;
    }
    return true;
}

struct needle { /* while its terms are gathered */
    struct mime_needle_term *v;
    size_t n, cap;
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
        const size_t end = boundary(run, at + MIME_WORDS_OVERLAP);

        needle_add(g, bytes_slice(run, at, end - at), MIME_MATCH_CONTAINS);
        at = end;
    }
    at = boundary(run, run.n - MIME_WORDS_OVERLAP + 3); /* the rest, made as long as the others */
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
    size_t at = 0, second = char_end(run, 0);

    if (second == run.n) {
        needle_add_run(g, run, open_left, open_right);
        return;
    }
    while (second < run.n) {
        const size_t end = char_end(run, second);

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

void mime_needle_init(struct mime_needle *out, struct bytes needle)
{
    struct needle g = {0};
    struct mime_words w;
    size_t begin = 0;

    *out = (struct mime_needle){0};
    if (needle.n == 0 || !utf8_valid(needle))
        return;
    mime_words_init(&w, needle);
    for (; run_next(&w, &begin); w.pos = w.run_end) {
        const struct bytes run = bytes_slice(needle, begin, w.run_end - begin);

        (w.dense ? needle_add_dense : needle_add_run)(&g, run, begin == 0, w.run_end == needle.n);
        out->exact = run.n == needle.n;
    }
    if (g.n == 0)
        return;
    needle_dedup(&g);
    needle_cut(&g);
    out->v = g.v;
    out->n = g.n;
    out->exact = out->exact && g.n == 1 && (g.v[0].term.n == needle.n);
}

void mime_needle_release(struct mime_needle *n)
{
    free(n->v);
    *n = (struct mime_needle){0};
}

/* ---- what an index depends on ---- */

#define FINGERPRINT_CHUNK 4096u /* code points casemapped at a time */

static void utf8_append(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(out, (uint8_t)c);
        return;
    }
    const unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

    buf_append_byte(out, (uint8_t)(0xff00u >> (more + 1) | c >> (6 * more)));
    for (unsigned i = more; i-- > 0;)
        buf_append_byte(out, (uint8_t)(0x80 | (c >> (6 * i) & 0x3f)));
}

uint64_t mime_words_fingerprint(void)
{
    struct buf in = {0}, out = {0};
    uint64_t hash = WORDS_VERSION;

    for (uint32_t c = 0; c < 0x110000;) {
        buf_reset(&in);
        buf_reset(&out);
        for (const uint32_t end = c + FINGERPRINT_CHUNK; c < end; c++) {
            if (c < 0xd800 || c >= 0xe000)
                utf8_append(&in, c);
        }
        mime_casemap(buf_bytes(&in), &out);
        hash = hash64_seeded(buf_bytes(&out), hash);
    }
    buf_release(&in);
    buf_release(&out);
    return hash;
}

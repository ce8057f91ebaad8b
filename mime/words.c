/*
 * Terms of texts. Everything rests on one property: the kind of a character depends on its own bytes alone, and UTF-8
 * tells where characters begin, so a needle (needle.c) is cut at the same places as the text that holds it.
 *
 * Runs come first, then the separators above ASCII.
 */
#include "words_private.h"

#include "base/error.h"
#include "base/hash.h"
#include "mime/mime.h"

#include <glib.h>

/* ---- kinds of characters ---- */

#define WORDS_VERSION 3u /* of the table and of the cutting: part of the fingerprint */

/* From each code point to before the next. Casemapped text holds no composed or compatibility characters, so they are
 * treated in bulk; marks go with the letters that they stand on. */
static const struct {
    uint32_t from;
    enum words_kind kind;
} ranges[] = {
    {0x80, WORDS_SEPARATOR},    {0xaa, WORDS_LETTER},      {0xab, WORDS_SEPARATOR},    {0xb2, WORDS_LETTER},
    {0xb4, WORDS_SEPARATOR},    {0xb5, WORDS_LETTER},      {0xb6, WORDS_SEPARATOR},    {0xb9, WORDS_LETTER},
    {0xbb, WORDS_SEPARATOR},    {0xc0, WORDS_LETTER},      {0xd7, WORDS_SEPARATOR},    {0xd8, WORDS_LETTER},
    {0xf7, WORDS_SEPARATOR},    {0xf8, WORDS_LETTER},      {0x37e, WORDS_SEPARATOR},   {0x37f, WORDS_LETTER},
    {0x387, WORDS_SEPARATOR},   {0x388, WORDS_LETTER},     {0x55a, WORDS_SEPARATOR},   {0x560, WORDS_LETTER},
    {0x589, WORDS_SEPARATOR},   {0x591, WORDS_LETTER},     {0x5be, WORDS_SEPARATOR},   {0x5bf, WORDS_LETTER},
    {0x5c0, WORDS_SEPARATOR},   {0x5c1, WORDS_LETTER},     {0x5c3, WORDS_SEPARATOR},   {0x5c4, WORDS_LETTER},
    {0x5c6, WORDS_SEPARATOR},   {0x5c7, WORDS_LETTER},     {0x5f3, WORDS_SEPARATOR},   {0x610, WORDS_LETTER},
    {0x61b, WORDS_SEPARATOR},   {0x620, WORDS_LETTER},     {0x66a, WORDS_SEPARATOR},   {0x66e, WORDS_LETTER},
    {0x6d4, WORDS_SEPARATOR},   {0x6d5, WORDS_LETTER},     {0x6dd, WORDS_SEPARATOR},   {0x6df, WORDS_LETTER},
    {0x700, WORDS_SEPARATOR},   {0x710, WORDS_LETTER},     {0x964, WORDS_SEPARATOR},   {0x966, WORDS_LETTER},
    {0x970, WORDS_SEPARATOR},   {0x971, WORDS_LETTER},     {0xdf4, WORDS_SEPARATOR},   {0xdf5, WORDS_LETTER},
    {0xe00, WORDS_DENSE},       {0xe3f, WORDS_SEPARATOR},  {0xe40, WORDS_DENSE},       {0xe4f, WORDS_SEPARATOR},
    {0xe50, WORDS_DENSE},       {0xe5a, WORDS_SEPARATOR},  {0xe80, WORDS_DENSE},       {0xf00, WORDS_LETTER},
    {0xf01, WORDS_SEPARATOR},   {0xf18, WORDS_LETTER},     {0xf3a, WORDS_SEPARATOR},   {0xf3e, WORDS_LETTER},
    {0xf85, WORDS_SEPARATOR},   {0xf86, WORDS_LETTER},     {0xfbe, WORDS_SEPARATOR},   {0x1000, WORDS_DENSE},
    {0x104a, WORDS_SEPARATOR},  {0x1050, WORDS_DENSE},     {0x10a0, WORDS_LETTER},     {0x10fb, WORDS_SEPARATOR},
    {0x10fc, WORDS_LETTER},     {0x1100, WORDS_DENSE},     {0x1200, WORDS_LETTER},     {0x1361, WORDS_SEPARATOR},
    {0x1369, WORDS_LETTER},     {0x1400, WORDS_SEPARATOR}, {0x1401, WORDS_LETTER},     {0x166d, WORDS_SEPARATOR},
    {0x166f, WORDS_LETTER},     {0x1680, WORDS_SEPARATOR}, {0x1681, WORDS_LETTER},     {0x169b, WORDS_SEPARATOR},
    {0x16a0, WORDS_LETTER},     {0x16eb, WORDS_SEPARATOR}, {0x16ee, WORDS_LETTER},     {0x1735, WORDS_SEPARATOR},
    {0x1740, WORDS_LETTER},     {0x1780, WORDS_DENSE},     {0x17d4, WORDS_SEPARATOR},  {0x17d7, WORDS_DENSE},
    {0x17d8, WORDS_SEPARATOR},  {0x17dc, WORDS_DENSE},     {0x1800, WORDS_SEPARATOR},  {0x180b, WORDS_LETTER},
    {0x180e, WORDS_SEPARATOR},  {0x180f, WORDS_LETTER},    {0x1944, WORDS_SEPARATOR},  {0x1946, WORDS_LETTER},
    {0x2000, WORDS_SEPARATOR},  {0x2c00, WORDS_LETTER},    {0x2cf9, WORDS_SEPARATOR},  {0x2d00, WORDS_LETTER},
    {0x2e00, WORDS_SEPARATOR},  {0x2e80, WORDS_DENSE},     {0x2ff0, WORDS_SEPARATOR},  {0x3005, WORDS_DENSE},
    {0x3008, WORDS_SEPARATOR},  {0x3021, WORDS_DENSE},     {0x3030, WORDS_SEPARATOR},  {0x3031, WORDS_DENSE},
    {0x303d, WORDS_SEPARATOR},  {0x3041, WORDS_DENSE},     {0x30fb, WORDS_SEPARATOR},  {0x30fc, WORDS_DENSE},
    {0x3200, WORDS_SEPARATOR},  {0x3400, WORDS_DENSE},     {0x4dc0, WORDS_SEPARATOR},  {0x4e00, WORDS_DENSE},
    {0xa490, WORDS_SEPARATOR},  {0xa4d0, WORDS_LETTER},    {0xa4fe, WORDS_SEPARATOR},  {0xa500, WORDS_LETTER},
    {0xa60d, WORDS_SEPARATOR},  {0xa610, WORDS_LETTER},    {0xa960, WORDS_DENSE},      {0xa980, WORDS_LETTER},
    {0xa9c1, WORDS_SEPARATOR},  {0xa9cf, WORDS_LETTER},    {0xac00, WORDS_DENSE},      {0xd800, WORDS_SEPARATOR},
    {0xf900, WORDS_DENSE},      {0xfb00, WORDS_LETTER},    {0xfd3e, WORDS_SEPARATOR},  {0xfd50, WORDS_LETTER},
    {0xfdfc, WORDS_SEPARATOR},  {0xfe20, WORDS_LETTER},    {0xfe30, WORDS_SEPARATOR},  {0xfe70, WORDS_LETTER},
    {0xfeff, WORDS_SEPARATOR},  {0xff10, WORDS_LETTER},    {0xff1a, WORDS_SEPARATOR},  {0xff21, WORDS_LETTER},
    {0xff3b, WORDS_SEPARATOR},  {0xff41, WORDS_LETTER},    {0xff5b, WORDS_SEPARATOR},  {0xff66, WORDS_DENSE},
    {0xffe0, WORDS_SEPARATOR},  {0x10000, WORDS_LETTER},   {0x10100, WORDS_SEPARATOR}, {0x10140, WORDS_LETTER},
    {0x16fe0, WORDS_DENSE},     {0x18e00, WORDS_LETTER},   {0x1aff0, WORDS_DENSE},     {0x1b300, WORDS_LETTER},
    {0x1bca0, WORDS_SEPARATOR}, {0x1bcb0, WORDS_LETTER},   {0x1cf50, WORDS_SEPARATOR}, {0x1d400, WORDS_LETTER},
    {0x1d800, WORDS_SEPARATOR}, {0x1df00, WORDS_LETTER},   {0x1f000, WORDS_SEPARATOR}, {0x1fbf0, WORDS_LETTER},
    {0x1fc00, WORDS_SEPARATOR}, {0x20000, WORDS_DENSE},    {0x40000, WORDS_SEPARATOR}, {0x110000, WORDS_SEPARATOR},
};
#define RANGES_N (sizeof ranges / sizeof *ranges)

#define ONES_13  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
const uint8_t words_letters[256] = {
    ['0'] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ['A'] = ONES_13, ONES_13, ['a'] = ONES_13, ONES_13,
};

static enum words_kind kind_of(uint32_t c)
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

size_t words_char_decode(const uint8_t *p, const uint8_t *end, uint32_t *out)
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

enum words_kind words_char_kind(const uint8_t *p, const uint8_t *end, size_t *n_out)
{
    uint32_t c = 0;

    *n_out = 1;
    if (*p < 0x80)
        return WORDS_IS_LETTER(*p) ? WORDS_LETTER : WORDS_SEPARATOR;
    const size_t n = words_char_decode(p, end, &c);

    if (n == 0)
        return WORDS_SEPARATOR;
    *n_out = n;
    return kind_of(c);
}

/* ---- runs ---- */

bool words_run_next(struct mime_words *w, size_t *begin_out)
{
    const uint8_t *const p = w->text.p, *const end = p + w->text.n;
    const uint8_t *at = p + w->pos;
    enum words_kind kind = WORDS_SEPARATOR;
    size_t n = 0;

    for (; at < end; at += n) {
        while (at < end && *at < 0x80 && !WORDS_IS_LETTER(*at))
            at++;
        if (at == end || (kind = words_char_kind(at, end, &n)) != WORDS_SEPARATOR)
            break;
    }
    if (at == end)
        return false;
    *begin_out = (size_t)(at - p);
    w->dense = kind == WORDS_DENSE;
    for (at += n; at < end; at += n) {
        if (kind == WORDS_LETTER) {
            while (at < end && WORDS_IS_LETTER(*at))
                at++;
        }
        if (at == end || (*at < 0x80 && !WORDS_IS_LETTER(*at)) || words_char_kind(at, end, &n) != kind)
            break;
    }
    w->run_end = (size_t)(at - p);
    return true;
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
        const size_t second = words_char_end(w->text, begin);
        const size_t third = second < end ? words_char_end(w->text, second) : end;

        if (third < end) { /* stray bytes behind the run look as if they were of its last character */
            end = third;
            w->pos = second;
        }
    } else if (end - begin > MIME_WORDS_RUN_MAX) {
        end = words_boundary(w->text, begin + MIME_WORDS_RUN_MAX);
        w->pos = words_boundary(w->text, begin + MIME_WORDS_RUN_STEP);
    }
    return bytes_of(w->text.p + begin, end - begin);
}

static bool separator_next(struct mime_words *w, struct bytes *term_out)
{
    const uint8_t *const p = w->text.p, *const end = p + w->text.n;

    while (w->above < w->text.n) {
        const uint8_t *const at = p + w->above;
        uint32_t c;
        size_t n;

        if (*at < 0x80) {
            w->above++;
            continue;
        }
        n = words_char_decode(at, end, &c);
        w->above += n ? n : 1;
        if (n && kind_of(c) == WORDS_SEPARATOR) {
            *term_out = bytes_of(at, n);
            return true;
        }
    }
    return false;
}

bool mime_words_next(struct mime_words *w, struct bytes *term_out)
{
    size_t begin = w->pos;

    if (!w->runs_done && (begin < w->run_end || words_run_next(w, &begin))) {
        *term_out = piece_take(w, begin);
        return true;
    }
    w->runs_done = true;
    return separator_next(w, term_out);
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

/* A character that casemapping may change. What is one may change with GLib, and with it the fingerprint. */
static bool may_map(uint32_t c)
{
    switch (g_unichar_type(c)) {
    case G_UNICODE_UNASSIGNED:
    case G_UNICODE_PRIVATE_USE:
    case G_UNICODE_SURROGATE: return false;
    default: return true;
    }
}

uint64_t mime_words_fingerprint(void)
{
    struct buf in = {0}, out = {0};
    uint64_t hash = WORDS_VERSION;

    for (uint32_t c = 0; c < 0x110000;) {
        buf_reset(&in);
        buf_reset(&out);
        for (const uint32_t end = c + FINGERPRINT_CHUNK; c < end; c++) {
            if (may_map(c))
                utf8_append(&in, c);
        }
        mime_casemap(buf_bytes(&in), &out);
        hash = hash64_seeded(buf_bytes(&out), hash);
    }
    buf_release(&in);
    buf_release(&out);
    return hash;
}

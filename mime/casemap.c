/*
 * casemap: i;unicode-casemap (RFC 5051).
 *
 * Each character is mapped to its simple titlecase, and that is replaced by its
 * decomposition property, again and again: canonical and compatibility alike
 * (the RFC's own example takes U+01C6 to "D", "z", U+030C). Hangul syllables
 * have no such property in UnicodeData.txt and stay; nothing is reordered.
 */
#include "mime_private.h"

#include <glib.h>

#define DECOMPOSED_MAX 18 /* longest full decomposition in Unicode */
#define ASCII_STEP     32

/* GLib's tables take some 100 ns a character: what a text writes again and again is kept. */
#define CACHE_SLOTS 4096u
struct casemap_slot {
    gunichar c; /* 0: free */
    uint8_t n, mapped[11];
};
struct mime_casemap_cache {
    struct casemap_slot slots[CACHE_SLOTS];
};

struct mime_casemap_cache *mime_casemap_cache_new(void)
{
    return g_new0(struct mime_casemap_cache, 1);
}

void mime_casemap_cache_free(struct mime_casemap_cache **cache)
{
    g_free(*cache);
    *cache = NULL;
}

static void casemap_char(gunichar c, struct buf *out)
{
    gunichar parts[DECOMPOSED_MAX];
    const gunichar title = g_unichar_totitle(c);
    size_t n = 1;
    parts[0] = title;
    if (title < 0xac00 || title > 0xd7a3)
        n = g_unichar_fully_decompose(title, TRUE, parts, DECOMPOSED_MAX);
    for (size_t i = 0; i < n; i++) {
        uint8_t *q = buf_reserve(out, 6);
        out->n += (size_t)g_unichar_to_utf8(parts[i], (char *)q);
    }
}

static void casemap_known(struct mime_casemap_cache *cache, gunichar c, struct buf *out)
{
    struct casemap_slot *slot = &cache->slots[c % CACHE_SLOTS];
    const size_t at = out->n;
    if (slot->c == c) {
        memcpy(buf_reserve(out, sizeof(slot->mapped)), slot->mapped, sizeof(slot->mapped));
        out->n += slot->n;
        return;
    }
    casemap_char(c, out);
    if (out->n - at > sizeof(slot->mapped))
        return;
    slot->c = c;
    slot->n = (uint8_t)(out->n - at);
    memcpy(slot->mapped, out->p + at, slot->n);
}

/* Casemaps the ASCII bytes that v begins with into q, which has room for v.n; returns how many. Loops that a compiler
 * makes into vectors. */
static size_t casemap_ascii(struct bytes v, uint8_t *q)
{
    size_t i = 0;
    for (; v.n - i >= ASCII_STEP; i += ASCII_STEP) {
        uint8_t high = 0;
        for (size_t j = 0; j < ASCII_STEP; j++) {
            const uint8_t c = v.p[i + j];
            high |= c;
            q[i + j] = (uint8_t)(c - ((uint8_t)(c - 'a') < 26 ? 32 : 0));
        }
        if (high & 0x80)
            break;
    }
    for (; i < v.n && v.p[i] < 0x80; i++)
        q[i] = (uint8_t)(v.p[i] - ((uint8_t)(v.p[i] - 'a') < 26 ? 32 : 0));
    return i;
}

static bool is_tail(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

/* The character that v begins with, its length in *n_out; false: none that is well-formed. */
static bool char_at(struct bytes v, gunichar *c_out, size_t *n_out)
{
    const uint8_t *p = v.p;
    if (v.n >= 2 && p[0] >= 0xc2 && p[0] < 0xe0 && is_tail(p[1])) {
        *c_out = (gunichar)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
        *n_out = 2;
        return true;
    }
    if (v.n >= 3 && p[0] > 0xe0 && p[0] < 0xf0 && p[0] != 0xed && is_tail(p[1]) && is_tail(p[2])) {
        *c_out = (gunichar)(p[0] & 0x0f) << 12 | (gunichar)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
        *n_out = 3;
        return true;
    }
    const gunichar c = g_utf8_get_char_validated((const char *)p, (gssize)(v.n < 6 ? v.n : 6));
    if (c == (gunichar)-1 || c == (gunichar)-2)
        return false;
    *c_out = c;
    *n_out = (size_t)g_utf8_skip[p[0]];
    return true;
}

void mime_casemap_cached(struct mime_casemap_cache *cache, struct bytes utf8, struct buf *out)
{
    while (utf8.n) {
        const size_t n = casemap_ascii(utf8, buf_reserve(out, utf8.n));
        out->n += n;
        utf8 = bytes_slice(utf8, n, SIZE_MAX);
        while (utf8.n && utf8.p[0] >= 0x80) {
            gunichar c = 0;
            size_t len = 1;
            if (!char_at(utf8, &c, &len))
                buf_append_byte(out, utf8.p[0]);
            else if (cache)
                casemap_known(cache, c, out);
            else
                casemap_char(c, out);
            utf8 = bytes_slice(utf8, len, SIZE_MAX);
        }
    }
}

void mime_casemap(struct bytes utf8, struct buf *out)
{
    mime_casemap_cached(NULL, utf8, out);
}

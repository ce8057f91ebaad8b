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

void mime_casemap(struct bytes utf8, struct buf *out)
{
    size_t i = 0;
    while (i < utf8.n) {
        uint8_t *q = buf_reserve(out, utf8.n - i);
        size_t n = 0;
        for (; i < utf8.n && utf8.p[i] < 0x80; i++) {
            const uint8_t c = utf8.p[i];
            q[n++] = c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c;
        }
        out->n += n;
        if (i == utf8.n)
            return;
        const gunichar c =
            g_utf8_get_char_validated((const char *)utf8.p + i, (gssize)(utf8.n - i < 6 ? utf8.n - i : 6));
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            buf_append_byte(out, utf8.p[i++]);
            continue;
        }
        casemap_char(c, out);
        i += (size_t)(g_utf8_skip[utf8.p[i]]);
    }
}

/*
 * Folder names between the store (any bytes) and people (UTF-8).
 *
 * A byte that is no part of valid UTF-8 is shown as the private-use character U+EF00 + byte (U+EF80..U+EFFF). A
 * name that really holds such a character has its three bytes shown that way, so the mapping is one to one, works byte
 * by byte, and needs no character that IMAP's patterns give a meaning. See docs/decisions.
 */
#include "query_private.h"

#include <glib.h>

#define ESCAPE_BASE 0xEF00u
#define ESCAPE_FIRST 0xEF80u
#define ESCAPE_LAST 0xEFFFu

/* Bytes of the valid UTF-8 character at p that stands for itself; 0 if the byte must be escaped. */
static size_t plain_character(const uint8_t *p, size_t n)
{
    if (*p < 0x80)
        return 1;
    const gunichar c = g_utf8_get_char_validated((const char *)p, (gssize)n);

    if (c == (gunichar)-1 || c == (gunichar)-2 || (c >= ESCAPE_FIRST && c <= ESCAPE_LAST))
        return 0;
    return (size_t)g_unichar_to_utf8(c, NULL);
}

void query_name_show(struct bytes stored, struct buf *out)
{
    size_t at = 0;

    while (at < stored.n) {
        const size_t n = plain_character(stored.p + at, stored.n - at);

        if (n) {
            buf_append(out, stored.p + at, n);
            at += n;
        } else {
            char utf8[6];
            const int utf8_n = g_unichar_to_utf8(ESCAPE_BASE + stored.p[at], utf8);

            buf_append(out, utf8, (size_t)utf8_n);
            at++;
        }
    }
}

int query_name_store(struct bytes shown, struct buf *out, struct error *err)
{
    const size_t begin = out->n;
    struct buf again = {0};
    int rc = BASE_OK;

    if (shown.n > (size_t)MDS_NAME_MAX * 3 || !g_utf8_validate((const char *)shown.p, (gssize)shown.n, NULL))
        return error_set(err, BASE_ERR_NOTFOUND, 0, "no folder has a name that long, or that is not UTF-8");
    for (size_t at = 0; at < shown.n;) {
        const gunichar c = g_utf8_get_char((const char *)shown.p + at);
        const size_t n = (size_t)g_unichar_to_utf8(c, NULL);

        if (c >= ESCAPE_FIRST && c <= ESCAPE_LAST)
            buf_append_byte(out, (uint8_t)(c - ESCAPE_BASE));
        else
            buf_append(out, shown.p + at, n);
        at += n;
    }
    query_name_show(bytes_of(out->p ? out->p + begin : NULL, out->n - begin), &again);
    if (!bytes_equal(buf_bytes(&again), shown))
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "no folder is shown by this name");
    buf_release(&again);
    return rc;
}

/* RFC 3501: ATOM-CHAR is any CHAR except "(" ")" "{" SP CTL list-wildcards quoted-specials resp-specials. */
static bool is_atom_byte(uint8_t c)
{
    return c > 0x20 && c < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

void query_keyword_show(struct bytes stored, struct buf *out)
{
    for (size_t i = 0; i < stored.n; i++)
        buf_append_byte(out, is_atom_byte(stored.p[i]) ? stored.p[i] : '_');
    if (stored.n == 0)
        buf_append_byte(out, '_');
}

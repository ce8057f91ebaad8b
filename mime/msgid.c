/*
 * msgid: message ids, normalised (RFC 5256 thread rules): what stands between
 * "<" and ">", without comments, white space, quotes and escapes. Where a field
 * has no "<" at all its words are taken as ids. NULs cannot occur in the result.
 */
#include "mime_private.h"

static void append_id(struct bytes v, struct buf *out)
{
    uint8_t *q = buf_reserve(out, v.n);
    size_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        const uint8_t c = v.p[i];
        if (c > ' ' && c != '"' && c != '\\' && c != 0x7f)
            q[n++] = c;
    }
    out->n += n;
}

/* The next id's inside, without any change; false at the end. */
static bool id_view(struct bytes *rest, struct bytes *id)
{
    const uint8_t *open = rest->n ? memchr(rest->p, '<', rest->n) : NULL;
    if (open) {
        *rest = bytes_slice(*rest, (size_t)(open - rest->p) + 1, SIZE_MAX);
        size_t n = 0;
        while (n < rest->n && rest->p[n] != '>' && rest->p[n] != '<')
            n++;
        *id = bytes_slice(*rest, 0, n);
        *rest = bytes_slice(*rest, n < rest->n && rest->p[n] == '>' ? n + 1 : n, SIZE_MAX);
        return true;
    }
    for (;;) {
        const struct bytes v = mime_trim(*rest);
        if (v.n == 0)
            return false;
        size_t n = 0;
        while (n < v.n && v.p[n] > ' ')
            n++;
        *id = bytes_slice(v, 0, n);
        *rest = bytes_slice(v, n ? n : 1, SIZE_MAX);
        if (memchr(id->p, '@', id->n))
            return true;
    }
}

bool mime_id_next(struct bytes *rest, struct buf *out)
{
    struct bytes id;
    const size_t start = out->n;
    while (id_view(rest, &id)) {
        append_id(id, out);
        if (out->n > start)
            return true;
    }
    return false;
}

bool mime_id_is_proper(struct bytes raw)
{
    const struct bytes v = mime_trim(raw);
    if (v.n < 5 || v.p[0] != '<' || v.p[v.n - 1] != '>')
        return false;
    const struct bytes inside = bytes_slice(v, 1, v.n - 2);
    const uint8_t *at = memchr(inside.p, '@', inside.n);
    if (!at || at == inside.p || at == inside.p + inside.n - 1)
        return false;
    for (size_t i = 0; i < inside.n; i++) {
        if (inside.p[i] <= ' ' || inside.p[i] >= 0x7f || inside.p[i] == '<' || inside.p[i] == '>')
            return false;
    }
    return true;
}

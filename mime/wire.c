/*
 * wire: strings as IMAP sends them (RFC 3501 section 9).
 *
 *   string  = quoted / literal
 *   quoted  = DQUOTE *QUOTED-CHAR DQUOTE     7-bit, no CR, LF or NUL; " and \ escaped
 *   literal = "{" number "}" CRLF *CHAR8     no NUL
 *
 * Quoted up to QUOTED_MAX bytes, as some clients have line limits.
 */
#include "mime_private.h"

#define QUOTED_MAX 1000

enum char_class { CHAR_PLAIN, CHAR_ESCAPED, CHAR_LITERAL, CHAR_NUL };

static inline enum char_class class_of(uint8_t c)
{
    if (c == '"' || c == '\\')
        return CHAR_ESCAPED;
    if (c == 0)
        return CHAR_NUL;
    return c >= 0x80 || c == '\r' || c == '\n' ? CHAR_LITERAL : CHAR_PLAIN;
}

static void literal(struct buf *out, struct bytes v, size_t nuls)
{
    buf_append_byte(out, '{');
    buf_append_u64_dec(out, v.n - nuls);
    buf_append(out, "}\r\n", 3);
    if (!nuls) {
        buf_append_bytes(out, v);
        return;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i])
            buf_append_byte(out, v.p[i]);
    }
}

void mime_wire_string(struct buf *out, struct bytes v)
{
    if (v.n <= QUOTED_MAX && mime_is_quotable(v)) {
        uint8_t *q = buf_reserve(out, v.n + 2);
        out->n += v.n + 2;
        q[0] = q[v.n + 1] = '"';
        if (v.n)
            memcpy(q + 1, v.p, v.n);
        return;
    }
    size_t escapes = 0, others = 0, nuls = 0;
    for (size_t i = 0; i < v.n; i++) {
        switch (class_of(v.p[i])) {
        case CHAR_PLAIN: break;
        case CHAR_ESCAPED: escapes++; break;
        case CHAR_LITERAL: others++; break;
        case CHAR_NUL: nuls++; break;
        }
    }
    if (others || nuls || v.n > QUOTED_MAX) {
        literal(out, v, nuls);
        return;
    }
    uint8_t *q = buf_reserve(out, v.n + escapes + 2);
    out->n += v.n + escapes + 2;
    *q++ = '"';
    for (size_t i = 0; i < v.n; i++) {
        if (class_of(v.p[i]) == CHAR_ESCAPED)
            *q++ = '\\';
        *q++ = v.p[i];
    }
    *q = '"';
}

void mime_wire_nstring(struct buf *out, struct bytes v)
{
    if (v.p)
        mime_wire_string(out, v);
    else
        buf_append(out, "NIL", 3);
}

void mime_wire_upper(struct buf *out, struct bytes v)
{
    /* The prefix of a literal holds no letters, so the whole may be raised. */
    const size_t start = out->n;
    mime_wire_string(out, v);
    for (size_t i = start; i < out->n; i++) {
        if (out->p[i] >= 'a' && out->p[i] <= 'z')
            out->p[i] -= 'a' - 'A';
    }
}

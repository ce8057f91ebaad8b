/*
 * param: Content-Type, Content-Disposition and their kin.
 *
 * Parameters are given as they stand: RFC 2231 pieces ("filename*0*") keep
 * their names and their escapes, which is what BODYSTRUCTURE is defined to
 * carry and what clients decode themselves. Tolerance is towards what mailers
 * write: spaces around "=", values with blanks or 8-bit bytes and no quotes,
 * a quote that never ends, doubled semicolons.
 */
#include "mime_private.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* RFC 2045 token characters; 8-bit ones pass. */
static bool is_token(uint8_t c)
{
    return c > ' ' && c != 0x7f && !memchr("()<>@,;:\\\"/[]?=", c, 15);
}

/* White space, NULs and comments, in one pass; an open comment runs to the end. */
static void skip_space(struct bytes *v)
{
    size_t i = 0;
    unsigned depth = 0;
    for (; i < v->n; i++) {
        const uint8_t c = v->p[i];
        if (depth && c == '\\')
            i++;
        else if (c == '(')
            depth++;
        else if (depth && c == ')')
            depth--;
        else if (!depth && !is_space(c) && c != 0)
            break;
    }
    *v = bytes_slice(*v, i, SIZE_MAX);
}

static struct bytes take_token(struct bytes *v)
{
    size_t n = 0;
    while (n < v->n && is_token(v->p[n]))
        n++;
    const struct bytes token = bytes_slice(*v, 0, n);
    *v = bytes_slice(*v, n, SIZE_MAX);
    return token;
}

/* *v begins after the opening quote. The view if nothing must be taken out of it, else a copy in scratch. */
static struct bytes take_quoted(struct bytes *v, struct buf *scratch)
{
    size_t n = 0;
    bool copy = false;
    while (n < v->n && v->p[n] != '"') {
        if (v->p[n] == '\\' && n + 1 < v->n) {
            copy = true;
            n++;
        } else if (v->p[n] == '\n' || v->p[n] == 0) {
            copy = true;
        }
        n++;
    }
    struct bytes value = bytes_slice(*v, 0, n);
    *v = bytes_slice(*v, n + 1, SIZE_MAX);
    if (!copy)
        return value;
    const size_t start = scratch->n;
    uint8_t *out = buf_reserve(scratch, value.n);
    size_t m = 0;
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = value.p[i];
        if (c == '\n' || c == 0 || (c == '\r' && i + 1 < value.n && value.p[i + 1] == '\n'))
            continue;
        if (c == '\\' && i + 1 < value.n) {
            c = value.p[++i];
            if (c == 0 || c == '\n' || c == '\r')
                continue;
        }
        out[m++] = c;
    }
    scratch->n += m;
    return bytes_of(scratch->p + start, m);
}

bool mime_token_next(struct bytes *rest, struct bytes *token)
{
    for (;;) {
        skip_space(rest);
        if (rest->n == 0)
            return false;
        *token = take_token(rest);
        if (token->n)
            return true;
        *rest = bytes_slice(*rest, 1, SIZE_MAX);
    }
}

bool mime_media_parse(struct bytes raw, struct mime_media *out)
{
    *out = (struct mime_media){0};
    struct bytes v = raw;
    skip_space(&v);
    const struct bytes type = take_token(&v);
    skip_space(&v);
    if (type.n == 0 || v.n == 0 || v.p[0] != '/')
        return false;
    v = bytes_slice(v, 1, SIZE_MAX);
    skip_space(&v);
    const struct bytes subtype = take_token(&v);
    if (subtype.n == 0)
        return false;
    *out = (struct mime_media){.type = type, .subtype = subtype, .params = v};
    return true;
}

bool mime_param_next(struct bytes *rest, struct buf *scratch, struct bytes *name, struct bytes *value)
{
    for (;;) {
        skip_space(rest);
        while (rest->n && (rest->p[0] == ';' || rest->p[0] == ',')) {
            *rest = bytes_slice(*rest, 1, SIZE_MAX);
            skip_space(rest);
        }
        if (rest->n == 0)
            return false;
        *name = take_token(rest);
        skip_space(rest);
        if (name->n && rest->n && rest->p[0] == '=')
            break;
        /* Not name=value: go on behind the next semicolon. */
        const uint8_t *semi = rest->n ? memchr(rest->p, ';', rest->n) : NULL;
        *rest = semi ? bytes_slice(*rest, (size_t)(semi - rest->p) + 1, SIZE_MAX) : bytes_slice(*rest, rest->n, 0);
    }
    *rest = bytes_slice(*rest, 1, SIZE_MAX);
    skip_space(rest);
    if (rest->n && rest->p[0] == '"') {
        *rest = bytes_slice(*rest, 1, SIZE_MAX);
        *value = take_quoted(rest, scratch);
        return true;
    }
    const uint8_t *semi = rest->n ? memchr(rest->p, ';', rest->n) : NULL;
    const struct bytes word = bytes_slice(*rest, 0, semi ? (size_t)(semi - rest->p) : rest->n);
    *rest = bytes_slice(*rest, word.n, SIZE_MAX);
    /* A comment may follow a token; anything else up to the semicolon belongs to the value. */
    struct bytes tail = word;
    const struct bytes token = take_token(&tail);
    skip_space(&tail);
    if (token.n && tail.n == 0) {
        *value = token;
        return true;
    }
    *value = mime_trim(word);
    if (value->n && (memchr(value->p, '\n', value->n) || memchr(value->p, 0, value->n))) {
        const size_t start = scratch->n;
        uint8_t *out = buf_reserve(scratch, value->n);
        size_t m = 0;
        for (size_t i = 0; i < value->n; i++) {
            if (value->p[i] != '\n' && value->p[i] != '\r' && value->p[i] != 0)
                out[m++] = value->p[i];
        }
        scratch->n += m;
        *value = bytes_of(scratch->p + start, m);
    }
    return true;
}

struct encoding_name {
    const char *name;
    uint8_t encoding;
};

static const struct encoding_name encodings[] = {
    {"7bit", MIME_ENCODING_7BIT},           {"8bit", MIME_ENCODING_8BIT},      {"base64", MIME_ENCODING_BASE64},
    {"quoted-printable", MIME_ENCODING_QP}, {"binary", MIME_ENCODING_BINARY},  {"x-uuencode", MIME_ENCODING_UUENCODE},
    {"uuencode", MIME_ENCODING_UUENCODE},   {"x-uue", MIME_ENCODING_UUENCODE},
};

enum mime_encoding mime_encoding_of(struct bytes raw, bool *known)
{
    struct bytes rest = raw, token;
    *known = true;
    if (!mime_token_next(&rest, &token))
        return MIME_ENCODING_7BIT;
    for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
        if (bytes_equal_nocase(token, bytes_str(encodings[i].name)))
            return encodings[i].encoding;
    }
    *known = false;
    return MIME_ENCODING_UNKNOWN;
}

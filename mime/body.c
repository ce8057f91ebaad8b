/*
 * body: BODY from BODYSTRUCTURE: the same without the extension data.
 *
 * A small reader of our own wire form (RFC 3501 section 9, "body"). Copies what
 * stays; skips the rest. Recursion is bounded by BODY_DEPTH_MAX, twice what
 * structure.c can write.
 */
#include "mime_private.h"

#define BODY_DEPTH_MAX 2100

struct body_cursor {
    const uint8_t *p, *end;
    struct buf *out; /* NULL: skipping */
};

static bool take(struct body_cursor *c, uint8_t want)
{
    if (c->p == c->end || *c->p != want)
        return false;
    c->p++;
    if (c->out)
        buf_append_byte(c->out, want);
    return true;
}

static bool peek(const struct body_cursor *c, uint8_t want)
{
    return c->p < c->end && *c->p == want;
}

static bool take_until(struct body_cursor *c, const uint8_t *to)
{
    if (c->out)
        buf_append(c->out, c->p, (size_t)(to - c->p));
    c->p = to;
    return true;
}

static bool take_quoted(struct body_cursor *c)
{
    for (const uint8_t *q = c->p + 1; q < c->end; q++) {
        if (*q == '\\')
            q++;
        else if (*q == '"')
            return take_until(c, q + 1);
    }
    return false;
}

static bool take_literal(struct body_cursor *c)
{
    uint64_t n = 0;
    const uint8_t *q = c->p + 1;
    for (; q < c->end && *q >= '0' && *q <= '9' && n < UINT32_MAX; q++)
        n = n * 10 + (uint64_t)(*q - '0');
    if (c->end - q < 3 || memcmp(q, "}\r\n", 3) != 0 || (uint64_t)(c->end - q - 3) < n)
        return false;
    return take_until(c, q + 3 + n);
}

static bool take_atom(struct body_cursor *c)
{
    const uint8_t *q = c->p;
    while (q < c->end && ((*q >= '0' && *q <= '9') || (*q >= 'A' && *q <= 'Z')))
        q++;
    return q > c->p && take_until(c, q);
}

/* A string, NIL or number; or a list of them, nested however deep it is (counted, not recursed). */
static bool take_value(struct body_cursor *c)
{
    unsigned depth = 0;
    do {
        bool ok;
        if (c->p == c->end)
            return false;
        switch (*c->p) {
        case '(':
            depth++;
            ok = take(c, '(');
            break;
        case ')':
            ok = depth > 0 && take(c, ')');
            depth--;
            break;
        case ' ': ok = depth > 0 && take(c, ' '); break;
        case '"': ok = take_quoted(c); break;
        case '{': ok = take_literal(c); break;
        default: ok = take_atom(c); break;
        }
        if (!ok)
            return false;
    } while (depth > 0);
    return true;
}

static bool take_values(struct body_cursor *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if ((i && !take(c, ' ')) || !take_value(c))
            return false;
    }
    return true;
}

/* What is left of a list goes unseen; its ")" stays. */
static bool skip_extension(struct body_cursor *c)
{
    struct buf *const out = c->out;
    bool ok = true;
    c->out = NULL;
    while (ok && peek(c, ' '))
        ok = take(c, ' ') && take_value(c);
    c->out = out;
    return ok && take(c, ')');
}

static bool take_body(struct body_cursor *c, unsigned depth)
{
    if (depth > BODY_DEPTH_MAX || !take(c, '('))
        return false;
    if (peek(c, '(')) {
        while (peek(c, '(')) {
            if (!take_body(c, depth + 1))
                return false;
        }
        return take(c, ' ') && take_value(c) && skip_extension(c);
    }
    const uint8_t *const type = c->p;
    if (!take_value(c) || !take(c, ' '))
        return false;
    const struct bytes type_text = bytes_of(type, (size_t)(c->p - type) - 1);
    const uint8_t *const subtype = c->p;
    if (!take_value(c))
        return false;
    const struct bytes subtype_text = bytes_of(subtype, (size_t)(c->p - subtype));
    if (!take(c, ' ') || !take_values(c, 5))
        return false;
    const bool is_text = bytes_equal(type_text, BYTES_LIT("\"TEXT\""));
    const bool is_message =
        bytes_equal(type_text, BYTES_LIT("\"MESSAGE\"")) && bytes_equal(subtype_text, BYTES_LIT("\"RFC822\""));
    if (is_message && !(take(c, ' ') && take_value(c) && take(c, ' ') && take_body(c, depth + 1)))
        return false;
    if ((is_text || is_message) && !(take(c, ' ') && take_value(c)))
        return false;
    return skip_extension(c);
}

int mime_body_from_bodystructure(struct bytes bodystructure, struct buf *out, struct error *err)
{
    const size_t start = out->n;
    struct body_cursor c = {bodystructure.p, bodystructure.p + bodystructure.n, out};
    if (take_body(&c, 0) && c.p == c.end)
        return BASE_OK;
    out->n = start;
    return error_set(err, BASE_ERR_CORRUPT, 0, "bodystructure: does not parse");
}

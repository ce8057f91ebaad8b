/* See imap_grammar.h. The productions stand above their readers. */
#include "imap_grammar.h"

#include <string.h>

#define DEPTH_MAX 4000

static bool fail(struct imap_grammar *g, const char *why)
{
    if (!g->why)
        g->why = why;
    return false;
}

bool imap_grammar_char(struct imap_grammar *g, char c)
{
    if (g->p == g->end || *g->p != (uint8_t)c)
        return fail(g, c == ' '   ? "expected SP"
                       : c == '(' ? "expected ("
                       : c == ')' ? "expected )"
                                  : "expected a character");
    g->p++;
    return true;
}

static bool next_is(const struct imap_grammar *g, char c)
{
    return g->p < g->end && *g->p == (uint8_t)c;
}

static bool next_is_nil(const struct imap_grammar *g)
{
    return g->end - g->p >= 3 && memcmp(g->p, "NIL", 3) == 0;
}

bool imap_grammar_nil(struct imap_grammar *g)
{
    if (!next_is_nil(g))
        return fail(g, "expected NIL");
    g->p += 3;
    return true;
}

/* number = 1*DIGIT ; Unsigned 32-bit integer */
static bool number_up_to(struct imap_grammar *g, uint64_t max, uint64_t *value_out)
{
    uint64_t v = 0;
    const uint8_t *const start = g->p;
    while (g->p < g->end && *g->p >= '0' && *g->p <= '9' && v <= max / 10)
        v = v * 10 + (uint64_t)(*g->p++ - '0');
    const bool more = g->p < g->end && *g->p >= '0' && *g->p <= '9';
    if (g->p == start || v > max || more)
        return fail(g, "number");
    if (value_out)
        *value_out = v;
    return true;
}

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE; QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials */
static bool quoted(struct imap_grammar *g, const uint8_t **p_out, size_t *n_out)
{
    const uint8_t *const start = ++g->p;
    for (; g->p < g->end; g->p++) {
        const uint8_t c = *g->p;
        if (c == '"') {
            *p_out = start;
            *n_out = (size_t)(g->p++ - start);
            return true;
        }
        if (c == 0 || c >= 0x80 || c == '\r' || c == '\n')
            return fail(g, "quoted: a byte that is no TEXT-CHAR");
        if (c == '\\') {
            g->p++;
            if (g->p == g->end || (*g->p != '"' && *g->p != '\\'))
                return fail(g, "quoted: a backslash before no quoted-special");
        }
    }
    return fail(g, "quoted: no end");
}

bool imap_grammar_number(struct imap_grammar *g, uint64_t *value_out)
{
    return number_up_to(g, UINT32_MAX, value_out);
}

bool imap_grammar_number64(struct imap_grammar *g, uint64_t *value_out)
{
    return number_up_to(g, INT64_MAX, value_out);
}

/* literal = "{" number "}" CRLF *CHAR8 */
static bool literal(struct imap_grammar *g, const uint8_t **p_out, size_t *n_out)
{
    uint64_t n;
    g->p++;
    if (!imap_grammar_number(g, &n))
        return false;
    if (g->end - g->p < 3 || memcmp(g->p, "}\r\n", 3) != 0)
        return fail(g, "literal: no }CRLF");
    g->p += 3;
    if (n > (uint64_t)(g->end - g->p))
        return fail(g, "literal: longer than what follows");
    if (n && memchr(g->p, 0, (size_t)n))
        return fail(g, "literal: a NUL");
    *p_out = g->p;
    *n_out = (size_t)n;
    g->p += n;
    return true;
}

bool imap_grammar_string(struct imap_grammar *g, const uint8_t **p_out, size_t *n_out)
{
    const uint8_t *p;
    size_t n;
    if (next_is(g, '"') ? !quoted(g, &p, &n) : next_is(g, '{') ? !literal(g, &p, &n) : !fail(g, "expected a string"))
        return false;
    if (p_out) {
        *p_out = p;
        *n_out = n;
    }
    return true;
}

static bool string(struct imap_grammar *g)
{
    return imap_grammar_string(g, NULL, NULL);
}

bool imap_grammar_nstring(struct imap_grammar *g)
{
    return next_is_nil(g) ? imap_grammar_nil(g) : string(g);
}

static bool sp(struct imap_grammar *g)
{
    return imap_grammar_char(g, ' ');
}

/* address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")" */
static bool address(struct imap_grammar *g)
{
    return imap_grammar_char(g, '(') && imap_grammar_nstring(g) && sp(g) && imap_grammar_nstring(g) && sp(g) &&
           imap_grammar_nstring(g) && sp(g) && imap_grammar_nstring(g) && imap_grammar_char(g, ')');
}

/* env-from = "(" 1*address ")" / nil */
static bool addresses(struct imap_grammar *g)
{
    if (next_is_nil(g))
        return imap_grammar_nil(g);
    if (!imap_grammar_char(g, '(') || !address(g))
        return false;
    while (next_is(g, '(')) {
        if (!address(g))
            return false;
    }
    return imap_grammar_char(g, ')');
}

bool imap_grammar_envelope(struct imap_grammar *g)
{
    if (!imap_grammar_char(g, '(') || !imap_grammar_nstring(g) || !sp(g) || !imap_grammar_nstring(g) || !sp(g))
        return false;
    for (int i = 0; i < 6; i++) {
        if (!addresses(g) || !sp(g))
            return false;
    }
    return imap_grammar_nstring(g) && sp(g) && imap_grammar_nstring(g) && imap_grammar_char(g, ')');
}

/* body-fld-param = "(" string SP string *(SP string SP string) ")" / nil */
static bool params(struct imap_grammar *g)
{
    if (next_is_nil(g))
        return imap_grammar_nil(g);
    if (!imap_grammar_char(g, '('))
        return false;
    for (;;) {
        if (!string(g) || !sp(g) || !string(g))
            return false;
        if (!next_is(g, ' '))
            return imap_grammar_char(g, ')');
        g->p++;
    }
}

/* body-fld-dsp = "(" string SP body-fld-param ")" / nil */
static bool disposition(struct imap_grammar *g)
{
    if (next_is_nil(g))
        return imap_grammar_nil(g);
    return imap_grammar_char(g, '(') && string(g) && sp(g) && params(g) && imap_grammar_char(g, ')');
}

/* body-fld-lang = nstring / "(" string *(SP string) ")" */
static bool language(struct imap_grammar *g)
{
    if (!next_is(g, '('))
        return imap_grammar_nstring(g);
    g->p++;
    for (;;) {
        if (!string(g))
            return false;
        if (!next_is(g, ' '))
            return imap_grammar_char(g, ')');
        g->p++;
    }
}

static bool dsp_lang_loc(struct imap_grammar *g)
{
    return sp(g) && disposition(g) && sp(g) && language(g) && sp(g) && imap_grammar_nstring(g);
}

static bool is_word(const uint8_t *p, size_t n, const char *word)
{
    if (n != strlen(word))
        return false;
    for (size_t i = 0; i < n; i++) {
        const uint8_t c = p[i] >= 'a' && p[i] <= 'z' ? (uint8_t)(p[i] - 32) : p[i];
        if (c != (uint8_t)word[i])
            return false;
    }
    return true;
}

static bool body(struct imap_grammar *g, bool ext, unsigned depth);

/*
 * body-fields = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
 * body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines
 * body-type-text = media-text SP body-fields SP body-fld-lines
 */
static bool one_part(struct imap_grammar *g, bool ext, unsigned depth)
{
    const uint8_t *type, *subtype;
    size_t type_n, subtype_n;
    if (!imap_grammar_string(g, &type, &type_n) || !sp(g) || !imap_grammar_string(g, &subtype, &subtype_n) || !sp(g))
        return false;
    if (type_n == 0 || subtype_n == 0)
        return fail(g, "media type: empty");
    if (is_word(type, type_n, "MULTIPART"))
        return fail(g, "media type: MULTIPART without parts");
    if (!params(g) || !sp(g) || !imap_grammar_nstring(g) || !sp(g) || !imap_grammar_nstring(g) || !sp(g) ||
        !string(g) || !sp(g) || !imap_grammar_number64(g, NULL)) /* a mail of more than 4 GiB is told as it is */
        return false;
    const bool message = is_word(type, type_n, "MESSAGE") && is_word(subtype, subtype_n, "RFC822");
    if (message && !(sp(g) && imap_grammar_envelope(g) && sp(g) && body(g, ext, depth + 1)))
        return false;
    if ((message || is_word(type, type_n, "TEXT")) && !(sp(g) && imap_grammar_number(g, NULL)))
        return false;
    return !ext || (sp(g) && imap_grammar_nstring(g) && dsp_lang_loc(g));
}

/* body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart] */
static bool multi_part(struct imap_grammar *g, bool ext, unsigned depth)
{
    while (next_is(g, '(')) {
        if (!body(g, ext, depth + 1))
            return false;
    }
    return sp(g) && string(g) && (!ext || (sp(g) && params(g) && dsp_lang_loc(g)));
}

static bool body(struct imap_grammar *g, bool ext, unsigned depth)
{
    if (depth > DEPTH_MAX)
        return fail(g, "body: too deep");
    if (!imap_grammar_char(g, '('))
        return false;
    if (!(next_is(g, '(') ? multi_part(g, ext, depth) : one_part(g, ext, depth)))
        return false;
    return imap_grammar_char(g, ')');
}

bool imap_grammar_body(struct imap_grammar *g, bool with_extensions)
{
    return body(g, with_extensions, 0);
}

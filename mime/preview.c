/*
 * preview: the first characters that a person would read (RFC 8970).
 *
 * From the first text/plain part that is no attachment, else the first
 * text/html without its tags, styles and scripts. White space runs become one
 * space, controls and invisible fillers go. Only so much of a body is decoded
 * as a preview can need, so the cost does not depend on the size of the mail.
 */
#include "mime_private.h"

#include <glib.h>

#define PLAIN_BYTES_MAX (16u << 10)
#define HTML_BYTES_MAX  (64u << 10)
#define CUT_MARGIN      16u

struct preview {
    struct buf *out;
    uint32_t left; /* characters */
    bool space;    /* a space is due before the next character */
    bool begun;
};

static bool is_graph(uint8_t c)
{
    return c > ' ' && c < 0x7f;
}

static void put_char(struct preview *v, gunichar c)
{
    const bool graph = c < 0x80 && is_graph((uint8_t)c);
    if (v->left == 0)
        return;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == 0xa0 || c == 0x3000) {
        v->space = v->begun;
        return;
    }
    if (!graph && (c < 0xa0 || c == 0xad || c == 0x34f || (c >= 0x200b && c <= 0x200f) || c == 0xfeff))
        return;
    if (v->space) {
        buf_append_byte(v->out, ' ');
        v->space = false;
        if (--v->left == 0)
            return;
    }
    if (graph) {
        buf_append_byte(v->out, (uint8_t)c);
    } else {
        uint8_t *q = buf_reserve(v->out, 6);
        v->out->n += (size_t)g_unichar_to_utf8(c, (char *)q);
    }
    v->left--;
    v->begun = true;
}

static gunichar next_char(struct bytes v, size_t *i)
{
    if (v.p[*i] < 0x80)
        return v.p[(*i)++];
    const gunichar c = g_utf8_get_char_validated((const char *)v.p + *i, (gssize)(v.n - *i < 6 ? v.n - *i : 6));
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        (*i)++;
        return 0xfffd;
    }
    *i += (size_t)g_utf8_skip[v.p[*i]];
    return c;
}

/* What begins at i and is put as it stands: most of a text is words of ASCII. `stop`: bytes that end it. */
static size_t put_graph(struct preview *v, struct bytes text, size_t i, const char stop[2])
{
    if (v->space) /* with its space it might be one too many */
        return 0;
    size_t n = 0;
    const size_t most = text.n - i < v->left ? text.n - i : v->left;
    while (n < most && is_graph(text.p[i + n]) && text.p[i + n] != (uint8_t)stop[0] && text.p[i + n] != (uint8_t)stop[1])
        n++;
    if (n == 0)
        return 0;
    buf_append(v->out, text.p + i, n);
    v->left -= (uint32_t)n;
    v->begun = true;
    return n;
}

/* Both return how much of the text it took. */
static size_t put_plain(struct preview *v, struct bytes text)
{
    size_t i = 0;
    while (i < text.n && v->left) {
        put_char(v, next_char(text, &i));
        if (i < text.n)
            i += put_graph(v, text, i, "  ");
    }
    return i;
}

static bool begins(struct bytes text, size_t i, const char *word)
{
    const struct bytes w = bytes_str(word);
    return bytes_equal_nocase(bytes_slice(text, i, w.n), w);
}

/* Offset of `end` at or behind i, case-insensitive; the text's end if it does not come. */
static size_t find(struct bytes text, size_t i, const char *end)
{
    while (i < text.n) {
        const uint8_t *p = memchr(text.p + i, end[0], text.n - i);
        if (!p)
            return text.n;
        i = (size_t)(p - text.p);
        if (begins(text, i, end))
            return i;
        i++;
    }
    return text.n;
}

struct entity_name {
    const char *name;
    gunichar c;
};

static const struct entity_name entities[] = {
    {"&nbsp;", ' '},     {"&amp;", '&'},     {"&lt;", '<'},       {"&gt;", '>'},       {"&quot;", '"'},
    {"&apos;", '\''},    {"&zwnj;", 0x200c}, {"&rsquo;", 0x2019}, {"&lsquo;", 0x2018}, {"&ndash;", 0x2013},
    {"&mdash;", 0x2014}, {"&copy;", 0xa9},   {"&reg;", 0xae},     {"&euro;", 0x20ac},  {"&auml;", 0xe4},
    {"&ouml;", 0xf6},    {"&uuml;", 0xfc},   {"&eacute;", 0xe9},
};

/* text[i] is "&": the character it names and what it took, else the "&" itself. */
static gunichar html_entity(struct bytes text, size_t *i)
{
    for (size_t k = 0; k < sizeof(entities) / sizeof(entities[0]); k++) {
        if (begins(text, *i, entities[k].name)) {
            *i += strlen(entities[k].name);
            return entities[k].c;
        }
    }
    if (begins(text, *i, "&#")) {
        size_t j = *i + 2;
        const bool hex = j < text.n && (text.p[j] | 0x20) == 'x';
        j += hex;
        gunichar c = 0;
        const size_t first = j;
        for (; j < text.n && j - first < 7; j++) {
            const int d = hex ? g_ascii_xdigit_value((char)text.p[j]) : g_ascii_digit_value((char)text.p[j]);
            if (d < 0)
                break;
            c = c * (hex ? 16 : 10) + (gunichar)d;
        }
        if (j > first && j < text.n && text.p[j] == ';') {
            *i = j + 1;
            return g_unichar_validate(c) && c ? c : 0xfffd;
        }
    }
    (*i)++;
    return '&';
}

/* text[i] is "<": where the text goes on. */
static size_t html_tag(struct bytes text, size_t i)
{
    static const char *const hidden[][2] = {
        {"<style", "</style"}, {"<script", "</script"}, {"<title", "</title"}, {"<!--", "-->"}};
    for (size_t k = 0; k < sizeof(hidden) / sizeof(hidden[0]); k++) {
        if (begins(text, i, hidden[k][0])) {
            i = find(text, i + strlen(hidden[k][0]), hidden[k][1]);
            break;
        }
    }
    const size_t end = find(text, i, ">");
    return end < text.n ? end + 1 : text.n;
}

static size_t put_html(struct preview *v, struct bytes text)
{
    size_t i = 0;
    while (i < text.n && v->left) {
        if (text.p[i] == '<') {
            i = html_tag(text, i);
            put_char(v, ' ');
        } else if (text.p[i] == '&') {
            put_char(v, html_entity(text, &i));
        } else {
            put_char(v, next_char(text, &i));
            if (i < text.n)
                i += put_graph(v, text, i, "<&");
        }
    }
    return i;
}

/* Text that was cut may end within a character, which is no reason to take it for another charset. */
static void drop_cut_character(struct buf *text)
{
    size_t tail = 0;
    while (tail < 3 && tail < text->n && (text->p[text->n - 1 - tail] & 0xc0) == 0x80)
        tail++;
    if (tail < text->n && text->p[text->n - 1 - tail] >= 0xc0)
        text->n -= tail + 1;
}

static bool is_attachment(const struct entity *e)
{
    struct bytes raw = e->field[FIELD_DISPOSITION], token;
    return raw.p && mime_token_next(&raw, &token) && bytes_equal_nocase(token, BYTES_LIT("attachment"));
}

static bool is_html(const struct entity *e)
{
    return e->shown == SHOWN_AS_IS && bytes_equal_nocase(e->media.subtype, BYTES_LIT("html"));
}

static const struct entity *choose(const struct scan *s)
{
    const struct entity *html = NULL;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct entity *e = &s->v[i];
        const uint8_t kind = e->part.kind == MIME_PART_MESSAGE_ROOT ? e->part.root_kind : e->part.kind;
        if (kind != MIME_PART_TEXT || is_attachment(e) || e->part.body_len == 0)
            continue;
        if (e->shown == SHOWN_AS_TEXT || bytes_equal_nocase(e->media.subtype, BYTES_LIT("plain")))
            return e;
        if (!html && is_html(e))
            html = e;
    }
    return html;
}

void mime_preview_write(struct mime_parser *p, struct buf *out)
{
    const struct entity *e = choose(&p->scan);
    if (!e)
        return;
    const bool html = is_html(e);
    struct bytes body = bytes_slice(p->scan.item, (size_t)e->part.body_off, (size_t)e->part.body_len);
    body = bytes_slice(body, 0, html ? HTML_BYTES_MAX : PLAIN_BYTES_MAX);
    /* A first taste is mostly enough, a second one nearly always. */
    size_t taste = (size_t)p->settings.preview_chars * (html ? 8 : 2);
    const size_t start = out->n;
    for (;; taste *= 8) {
        struct preview v = {.out = out, .left = p->settings.preview_chars};
        const struct bytes part = bytes_slice(body, 0, taste);
        buf_reset(&p->scratch);
        buf_reset(&p->scratch2);
        out->n = start;
        const bool is_cut = part.n < body.n;
        mime_decode_transfer(part, e->part.encoding, &p->scratch);
        if (is_cut)
            drop_cut_character(&p->scratch);
        mime_charset_decode(buf_bytes(&p->scratch), e->part.charset, &p->scratch2);
        const struct bytes text = buf_bytes(&p->scratch2);
        const size_t took = html ? put_html(&v, text) : put_plain(&v, text);
        /* What stands near the cut may be less than a character, or no blank at a line's end. */
        if (!is_cut || (v.left == 0 && text.n - took >= CUT_MARGIN))
            return;
    }
}

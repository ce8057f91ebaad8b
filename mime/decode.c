/*
 * decode: transfer encodings (RFC 2045 section 6).
 *
 * The decoded form is that of the client's bytes: where the stored text has a
 * lone LF, identity and quoted-printable bodies give CRLF; "binary" ones are bytes, not text, and stay as they are.
 * NULs are kept.
 *
 *   base64            characters outside the alphabet are passed over, "=" ends a run of digits and a new one may
 * follow (concatenated bodies), digits left over give the bytes they are enough for quoted-printable  "=" that begins
 * neither a hex pair nor a soft line break stands for itself uuencode          from "begin" to "end" or the end;
 * without "begin" nothing
 *
 * Each decoder writes to a sink that may only count, so that decoded_len is
 * what mime_decode_transfer gives, by construction.
 */
#include "mime_private.h"

struct sink {
    struct buf *out; /* NULL: count only */
    uint64_t n;
};

static void put(struct sink *s, const void *p, size_t n)
{
    s->n += n;
    if (s->out)
        buf_append(s->out, p, n);
}

/* Lone LFs become CRLF. */
static void put_text(struct sink *s, struct bytes v)
{
    if (!s->out) {
        s->n += v.n + mime_count_lines(v, 0).lone_lf;
        return;
    }
    const uint8_t *p = v.p, *const end = v.p + v.n;
    while (p < end) {
        const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
        const uint8_t *const stop = lf ? lf : end;
        put(s, p, (size_t)(stop - p));
        if (!lf)
            return;
        const uint8_t before = lf > v.p ? lf[-1] : 0;
        put(s, before == '\r' ? "\n" : "\r\n", before == '\r' ? 1 : 2);
        p = lf + 1;
    }
}

/* 0..63, 64 for "=", 65 for everything else. */
#define B64_PAD  64
#define B64_NONE 65
static uint8_t base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint8_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint8_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0' + 52);
    return c == '+' ? 62 : c == '/' ? 63 : c == '=' ? B64_PAD : B64_NONE;
}

static uint64_t base64_bytes(uint64_t digits)
{
    return digits / 4 * 3 + (digits % 4 == 2 ? 1 : digits % 4 == 3 ? 2 : 0);
}

static uint64_t base64_count(struct bytes v)
{
    uint64_t total = 0;
    while (v.n) {
        const uint8_t *pad = memchr(v.p, '=', v.n);
        const size_t n = pad ? (size_t)(pad - v.p) : v.n;
        total += base64_bytes(mime_count_base64(bytes_of(v.p, n)));
        v = bytes_slice(v, n + 1, SIZE_MAX);
    }
    return total;
}

static void base64_decode(struct bytes v, struct buf *out)
{
    uint8_t *const begin = buf_reserve(out, v.n / 4 * 3 + 3), *q = begin;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i <= v.n; i++) {
        const uint8_t d = i < v.n ? base64_value(v.p[i]) : B64_PAD;
        if (d == B64_NONE)
            continue;
        if (d != B64_PAD) {
            bits = bits << 6 | d;
            if (++have < 4)
                continue;
            *q++ = (uint8_t)(bits >> 16);
            *q++ = (uint8_t)(bits >> 8);
            *q++ = (uint8_t)bits;
        } else if (have == 2) {
            *q++ = (uint8_t)(bits >> 4);
        } else if (have == 3) {
            *q++ = (uint8_t)(bits >> 10);
            *q++ = (uint8_t)(bits >> 2);
        }
        have = 0;
        bits = 0;
    }
    out->n += (size_t)(q - begin);
}

bool mime_base64_is_clean(struct bytes v)
{
    v = mime_trim(v);
    size_t pads = 0;
    while (v.n && pads < 3 && (v.p[v.n - 1] == '=' || v.p[v.n - 1] == '\n' || v.p[v.n - 1] == '\r')) {
        pads += v.p[v.n - 1] == '=';
        v.n--;
    }
    const uint64_t digits = mime_count_base64(v);
    const uint64_t ends = mime_count_line_ends(v);
    uint64_t blanks = 0;
    if (digits + ends != v.n) {
        for (size_t i = 0; i < v.n; i++)
            blanks += v.p[i] == ' ' || v.p[i] == '\t';
    }
    return pads < 3 && digits + ends + blanks == v.n && (digits + pads) % 4 == 0;
}

/* The value + 1; 0: no digit. */
static const uint8_t hex_digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

int mime_hex_value(uint8_t c)
{
    return hex_digits[c] - 1;
}

/* Length of a soft line break that begins at i (a "="), or 0. */
static size_t soft_break(struct bytes v, size_t i)
{
    size_t j = i + 1;
    while (j < v.n && j - i < 100 && (v.p[j] == ' ' || v.p[j] == '\t'))
        j++;
    if (j == v.n)
        return j - i;
    if (v.p[j] == '\r' && j + 1 < v.n && v.p[j + 1] == '\n')
        return j + 2 - i;
    return v.p[j] == '\n' ? j + 1 - i : 0;
}

/* Text between escapes. Blanks before a line end are none of the text (RFC 2045 6.7, rule 3); `ends`: the body's end
 * follows. */
static void qp_text(struct bytes v, bool ends, struct sink *s)
{
    while (v.n) {
        const uint8_t *lf = memchr(v.p, '\n', v.n);
        const size_t next = lf ? (size_t)(lf - v.p) + 1 : v.n;
        size_t n = lf ? next - 1 : v.n;
        n -= lf && n && v.p[n - 1] == '\r';
        while ((lf || ends) && n && (v.p[n - 1] == ' ' || v.p[n - 1] == '\t'))
            n--;
        put(s, v.p, n);
        if (lf)
            put(s, "\r\n", 2);
        v = bytes_slice(v, next, SIZE_MAX);
    }
}

static void qp_decode(struct bytes v, struct sink *s)
{
    size_t i = 0;
    while (i < v.n) {
        /* Letters above ASCII are escapes side by side: those are not searched for. */
        if (v.p[i] != '=') {
            const uint8_t *eq = memchr(v.p + i, '=', v.n - i);
            const size_t stop = eq ? (size_t)(eq - v.p) : v.n;
            qp_text(bytes_slice(v, i, stop - i), !eq, s);
            if (!eq)
                return;
            i = stop;
        }
        const int high = i + 2 < v.n ? mime_hex_value(v.p[i + 1]) : -1;
        const int low = high >= 0 ? mime_hex_value(v.p[i + 2]) : -1;
        const size_t soft = low < 0 ? soft_break(v, i) : 0;
        if (soft) {
            i += soft;
            continue;
        }
        const uint8_t byte = low >= 0 ? (uint8_t)(high << 4 | low) : '=';
        put(s, &byte, 1);
        i += low >= 0 ? 3 : 1;
    }
}

static struct bytes line_take(struct bytes *v)
{
    const uint8_t *lf = v->n ? memchr(v->p, '\n', v->n) : NULL;
    struct bytes line = bytes_slice(*v, 0, lf ? (size_t)(lf - v->p) : v->n);
    *v = bytes_slice(*v, line.n + 1, SIZE_MAX);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static uint8_t uu_at(struct bytes line, size_t i)
{
    return i < line.n ? (uint8_t)((line.p[i] - ' ') & 0x3f) : 0;
}

static void uu_decode(struct bytes v, struct sink *s)
{
    struct bytes line;
    do {
        if (v.n == 0)
            return;
        line = line_take(&v);
    } while (line.n < 8 || memcmp(line.p, "begin ", 6) != 0);
    while (v.n) {
        line = line_take(&v);
        if (line.n == 3 && memcmp(line.p, "end", 3) == 0)
            return;
        if (line.n == 0)
            continue;
        /* As many bytes as the line says and has room for. */
        size_t n = uu_at(line, 0);
        const size_t room = (line.n - 1) / 4 * 3 + ((line.n - 1) % 4 ? 3 : 0);
        n = n < room ? n : room;
        for (size_t i = 0; i < n; i += 3) {
            const size_t at = 1 + i / 3 * 4;
            const uint32_t bits = (uint32_t)uu_at(line, at) << 18 | (uint32_t)uu_at(line, at + 1) << 12 |
                                  (uint32_t)uu_at(line, at + 2) << 6 | uu_at(line, at + 3);
            const uint8_t three[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
            put(s, three, n - i < 3 ? n - i : 3);
        }
    }
}

void mime_decode_transfer(struct bytes body, uint8_t encoding, struct buf *out)
{
    struct sink s = {.out = out};
    switch (encoding) {
    case MIME_ENCODING_BASE64: base64_decode(body, out); break;
    case MIME_ENCODING_QP: qp_decode(body, &s); break;
    case MIME_ENCODING_UUENCODE: uu_decode(body, &s); break;
    case MIME_ENCODING_BINARY: put(&s, body.p, body.n); break;
    default: put_text(&s, body); break;
    }
}

uint64_t mime_decoded_len(struct bytes body, uint8_t encoding, uint64_t body_crlf)
{
    struct sink s = {0};
    switch (encoding) {
    case MIME_ENCODING_BASE64: return base64_count(body);
    case MIME_ENCODING_QP: qp_decode(body, &s); return s.n;
    case MIME_ENCODING_UUENCODE: uu_decode(body, &s); return s.n;
    case MIME_ENCODING_BINARY: return body.n;
    default: return body_crlf;
    }
}

/*
 * utf7: see utf7.h. Base64 here is RFC 3501's: "," for "/", no padding, over UTF-16BE.
 */
#include "wire/utf7.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_of(uint8_t b)
{
    const char *at = b ? strchr(alphabet, b) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static bool is_direct(uint32_t c)
{
    return c >= 0x20 && c <= 0x7e;
}

static void put_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* One UTF-16 unit; *high is a surrogate that waits for its other half. */
static bool take_unit(struct buf *out, uint32_t unit, uint32_t *high)
{
    if (*high) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return false;
        put_utf8(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
        *high = 0;
        return true;
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return true;
    }
    if (unit == 0 || is_direct(unit) || (unit >= 0xdc00 && unit <= 0xdfff))
        return false;
    put_utf8(out, unit);
    return true;
}

/* From behind "&" to behind "-"; *at moves. */
static bool decode_shifted(struct bytes in, size_t *at, struct buf *out)
{
    uint32_t bits = 0, high = 0;
    unsigned bits_n = 0;
    size_t i = *at;
    for (; i < in.n && in.p[i] != '-'; i++) {
        int digit = digit_of(in.p[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        bits_n += 6;
        if (bits_n < 16)
            continue;
        bits_n -= 16;
        if (!take_unit(out, bits >> bits_n & 0xffff, &high))
            return false;
        bits &= (1u << bits_n) - 1;
    }
    if (i == in.n || high || bits_n >= 6 || bits != 0)
        return false;
    *at = i + 1;
    /* Another base64 run right behind this one should have been part of it. */
    return !(*at + 1 < in.n && in.p[*at] == '&' && in.p[*at + 1] != '-');
}

bool imap_utf7_decode(struct bytes in, struct buf *out)
{
    const size_t before = out->n;
    size_t i = 0;
    while (i < in.n) {
        uint8_t b = in.p[i++];
        bool ok = is_direct(b);
        if (ok && b != '&') {
            buf_append_byte(out, b);
        } else if (ok && i < in.n && in.p[i] == '-') {
            buf_append_byte(out, '&');
            i++;
        } else if (!ok || !decode_shifted(in, &i, out)) {
            out->n = before;
            return false;
        }
    }
    return true;
}

/* The character at p, strictly; U+FFFD for one bad byte. Returns its length. */
static size_t take_utf8(const uint8_t *p, size_t n, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80                   ? 1
                 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                               : 0;
    *out = 0xfffd;
    if (len == 0 || len > n)
        return 1;
    uint32_t c = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 1;
    *out = c;
    return len;
}

bool imap_utf8_is_name(struct bytes in)
{
    for (size_t i = 0; i < in.n;) {
        uint32_t c;
        size_t n = take_utf8(in.p + i, in.n - i, &c);
        bool bad = n == 1 && in.p[i] >= 0x80;
        if (bad || c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
            return false;
        i += n;
    }
    return true;
}

struct encoder {
    struct buf *out;
    uint32_t bits;
    unsigned bits_n;
    bool shifted;
};

static void put_unit(struct encoder *e, uint32_t unit)
{
    e->bits = e->bits << 16 | unit; /* at most 4 bits were left: 20 */
    e->bits_n += 16;
    while (e->bits_n >= 6) {
        e->bits_n -= 6;
        buf_append_byte(e->out, (uint8_t)alphabet[e->bits >> e->bits_n & 0x3f]);
    }
    e->bits &= (1u << e->bits_n) - 1;
}

static void end_shift(struct encoder *e)
{
    if (!e->shifted)
        return;
    if (e->bits_n)
        buf_append_byte(e->out, (uint8_t)alphabet[e->bits << (6 - e->bits_n) & 0x3f]);
    buf_append_byte(e->out, '-');
    e->shifted = false;
    e->bits = e->bits_n = 0;
}

bool imap_utf7_is_plain(struct bytes utf8)
{
    bool plain = true;
    for (size_t i = 0; i < utf8.n; i++)
        plain &= is_direct(utf8.p[i]) && utf8.p[i] != '&';
    return plain;
}

void imap_utf7_encode(struct bytes utf8, struct buf *out)
{
    struct encoder e = {.out = out};
    for (size_t i = 0; i < utf8.n;) {
        uint32_t c;
        i += take_utf8(utf8.p + i, utf8.n - i, &c);
        if (is_direct(c)) {
            end_shift(&e);
            buf_append_str(out, c == '&' ? "&-" : (char[]){(char)c, 0});
            continue;
        }
        if (!e.shifted)
            buf_append_byte(out, '&');
        e.shifted = true;
        if (c >= 0x10000) {
            put_unit(&e, 0xd800 + ((c - 0x10000) >> 10));
            put_unit(&e, 0xdc00 + ((c - 0x10000) & 0x3ff));
        } else {
            put_unit(&e, c);
        }
    }
    end_shift(&e);
}

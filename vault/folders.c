/*
 * Folder names: bytes, '/' between levels, INBOX spelt in capitals.
 *
 * Maildir++ and its nested cousin keep names in modified UTF-7 (RFC 3501,
 * 5.1.3). A level is decoded only if encoding the result gives the same bytes,
 * so two directories never become one name by decoding, and what is not
 * modified UTF-7 stays as it is.
 */
#include "vault_private.h"

#include <glib.h>
#include <strings.h>

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int base64_value(uint8_t c)
{
    const char *at = c ? strchr(base64, c) : NULL;

    return at ? (int)(at - base64) : -1;
}

static void append_code_point(struct buf *out, uint32_t c)
{
    char utf8[6];

    buf_append(out, utf8, (size_t)g_unichar_to_utf8(c, utf8));
}

/* One shifted run, after '&', up to its '-'. False if it is not well-formed UTF-16 in base64. */
static bool run_decode(const uint8_t *p, const uint8_t *end, struct buf *out)
{
    uint32_t bits = 0, high = 0;
    unsigned have = 0;

    for (; p < end; p++) {
        const int v = base64_value(*p);

        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 16)
            continue;
        have -= 16;
        const uint32_t unit = bits >> have & 0xffff;

        if (unit >= 0xdc00 && unit <= 0xdfff) {
            if (!high)
                return false;
            append_code_point(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
            high = 0;
        } else if (high) {
            return false;
        } else if (unit >= 0xd800 && unit <= 0xdbff) {
            high = unit;
        } else {
            append_code_point(out, unit);
        }
    }
    return !high;
}

bool vault_utf7_decode(struct bytes text, struct buf *out)
{
    const size_t before = out->n;
    const uint8_t *p = text.p, *end = text.n ? p + text.n : p;

    while (p < end) {
        if (*p < 0x20 || *p > 0x7e)
            goto bad;
        if (*p != '&') {
            buf_append_byte(out, *p++);
            continue;
        }
        const uint8_t *dash = memchr(p, '-', (size_t)(end - p));

        if (!dash)
            goto bad;
        if (dash == p + 1)
            buf_append_byte(out, '&');
        else if (!run_decode(p + 1, dash, out))
            goto bad;
        p = dash + 1;
    }
    return true;
bad:
    out->n = before;
    return false;
}

static void unit_encode(struct buf *out, uint32_t *bits, unsigned *have, uint32_t unit)
{
    *bits = *bits << 16 | unit;
    *have += 16;
    while (*have >= 6) {
        *have -= 6;
        buf_append_byte(out, (uint8_t)base64[*bits >> *have & 63]);
    }
    *bits &= (1u << *have) - 1;
}

void vault_utf7_encode(struct bytes utf8, struct buf *out)
{
    const char *p = (const char *)utf8.p, *end = utf8.n ? p + utf8.n : p;
    uint32_t bits = 0;
    unsigned have = 0;
    bool shifted = false;

    while (p < end) {
        const uint32_t c = g_utf8_get_char(p);
        const bool direct = c >= 0x20 && c <= 0x7e;

        if (direct && shifted) {
            if (have)
                buf_append_byte(out, (uint8_t)base64[bits << (6 - have) & 63]);
            buf_append_byte(out, '-');
            bits = have = 0;
            shifted = false;
        }
        if (direct) {
            buf_append_byte(out, (uint8_t)c);
            if (c == '&')
                buf_append_byte(out, '-');
        } else {
            if (!shifted)
                buf_append_byte(out, '&');
            shifted = true;
            if (c >= 0x10000) {
                unit_encode(out, &bits, &have, 0xd800 + ((c - 0x10000) >> 10));
                unit_encode(out, &bits, &have, 0xdc00 + ((c - 0x10000) & 0x3ff));
            } else {
                unit_encode(out, &bits, &have, c);
            }
        }
        p += g_utf8_skip[(uint8_t)*p];
    }
    if (shifted) {
        if (have)
            buf_append_byte(out, (uint8_t)base64[bits << (6 - have) & 63]);
        buf_append_byte(out, '-');
    }
}

void vault_folder_append_utf7(struct buf *out, struct bytes level)
{
    struct buf text = {0}, again = {0};

    if (memchr(level.p, '&', level.n) && vault_utf7_decode(level, &text)) {
        vault_utf7_encode(buf_bytes(&text), &again);
        if (bytes_equal(buf_bytes(&again), level) && !memchr(text.p, 0, text.n) && !memchr(text.p, '/', text.n))
            level = buf_bytes(&text);
    }
    buf_append_bytes(out, level);
    buf_release(&text);
    buf_release(&again);
}

void vault_folder_full(const struct vault *v, struct bytes below, struct buf *out)
{
    static const char inbox[] = "INBOX";
    const size_t inbox_n = sizeof inbox - 1;
    const size_t start = out->n;

    if (v->folder)
        buf_append_str(out, v->folder);
    else if (!below.n)
        buf_append_str(out, inbox);
    if (v->folder && below.n)
        buf_append_byte(out, '/');
    buf_append_bytes(out, below);
    /* The one name that IMAP compares without case. */
    if (out->n - start >= inbox_n && (out->n - start == inbox_n || out->p[start + inbox_n] == '/') &&
        strncasecmp((const char *)out->p + start, inbox, inbox_n) == 0)
        memcpy(out->p + start, inbox, inbox_n);
}

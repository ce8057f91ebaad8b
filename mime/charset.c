/*
 * charset: text in any charset to UTF-8.
 *
 * us-ascii, utf-8 and the Windows superset of latin-1 are done here, all else by
 * iconv. Names go to iconv only after a check of length and letters: it never
 * sees what mail can make of them ("//TRANSLIT", paths, kilobytes). GMime's own
 * charset table is not asked, as it keeps every unknown name it ever saw.
 *
 * No byte is dropped silently: what does not decode becomes U+FFFD. Text that
 * names no charset (or us-ascii) and has 8-bit bytes is UTF-8 if it is valid as
 * such, else windows-1252; an unknown charset is UTF-8 if valid, else its 8-bit
 * bytes are U+FFFD.
 */
#include "mime_private.h"

#include <errno.h>
#include <glib.h>

enum charset_kind { CHARSET_GUESS, CHARSET_UTF8, CHARSET_WINDOWS_1252, CHARSET_ICONV, CHARSET_UNKNOWN };

struct charset_alias {
    const char *name;
    uint8_t kind;
    const char *iconv_name;
};

/* Lower case. Names that iconv does not know, or knows in a narrower sense than mailers do. */
static const struct charset_alias aliases[] = {
    {"", CHARSET_GUESS, NULL},
    {"us-ascii", CHARSET_GUESS, NULL},
    {"ascii", CHARSET_GUESS, NULL},
    {"ansi_x3.4-1968", CHARSET_GUESS, NULL},
    {"unknown-8bit", CHARSET_GUESS, NULL},
    {"x-unknown", CHARSET_GUESS, NULL},
    {"utf-8", CHARSET_UTF8, NULL},
    {"utf8", CHARSET_UTF8, NULL},
    {"iso-8859-1", CHARSET_WINDOWS_1252, NULL},
    {"iso8859-1", CHARSET_WINDOWS_1252, NULL},
    {"iso_8859-1", CHARSET_WINDOWS_1252, NULL},
    {"latin1", CHARSET_WINDOWS_1252, NULL},
    {"windows-1252", CHARSET_WINDOWS_1252, NULL},
    {"cp1252", CHARSET_WINDOWS_1252, NULL},
    {"gb2312", CHARSET_ICONV, "GB18030"},
    {"gb_2312-80", CHARSET_ICONV, "GB18030"},
    {"gbk", CHARSET_ICONV, "GB18030"},
    {"x-gbk", CHARSET_ICONV, "GB18030"},
    {"ks_c_5601-1987", CHARSET_ICONV, "CP949"},
    {"ks_c_5601", CHARSET_ICONV, "CP949"},
    {"euc-kr", CHARSET_ICONV, "CP949"},
    {"5601", CHARSET_ICONV, "CP949"},
    {"shift_jis", CHARSET_ICONV, "CP932"},
    {"shift-jis", CHARSET_ICONV, "CP932"},
    {"x-sjis", CHARSET_ICONV, "CP932"},
    {"windows-31j", CHARSET_ICONV, "CP932"},
    {"iso-2022-jp", CHARSET_ICONV, "ISO-2022-JP-3"},
    {"iso-8859-8-i", CHARSET_ICONV, "ISO-8859-8"},
    {"iso-8859-8-e", CHARSET_ICONV, "ISO-8859-8"},
    {"iso-8859-6-i", CHARSET_ICONV, "ISO-8859-6"},
    {"iso-8859-6-e", CHARSET_ICONV, "ISO-8859-6"},
    {"unicode-1-1-utf-7", CHARSET_ICONV, "UTF-7"},
    {"x-mac-cyrillic", CHARSET_ICONV, "MAC-CYRILLIC"},
    {"x-mac-roman", CHARSET_ICONV, "MACINTOSH"},
    {"x-mac-japanese", CHARSET_ICONV, "CP932"},
    {"x-windows-949", CHARSET_ICONV, "CP949"},
    {"x-euc-jp", CHARSET_ICONV, "EUC-JP"},
    {"big5", CHARSET_ICONV, "BIG5-HKSCS"},
    {"iso-8859-11", CHARSET_ICONV, "TIS-620"},
    {"windows-874", CHARSET_ICONV, "CP874"},
};

/* 0x80..0x9f of windows-1252; its five holes are the C1 controls, as on the web. */
static const uint16_t windows_1252_c1[32] = {
    0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
};

static const uint8_t replacement[3] = {0xef, 0xbf, 0xbd};

static void put_char(struct buf *out, uint32_t c)
{
    uint8_t *q = buf_reserve(out, 6);
    out->n += (size_t)g_unichar_to_utf8(c, (char *)q);
}

/* Lower-cased copy in name[]; false if it is no name for iconv. */
static bool name_copy(struct bytes in, char name[MIME_CHARSET_NAME_BYTES + 1])
{
    if (in.n > MIME_CHARSET_NAME_BYTES)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        const uint8_t c = in.p[i];
        if (!g_ascii_isalnum(c) && (c == 0 || !strchr("-_.:+()", c)))
            return false;
        name[i] = g_ascii_tolower((char)c);
    }
    name[in.n] = 0;
    return true;
}

static enum charset_kind charset_of(struct bytes in, char name[MIME_CHARSET_NAME_BYTES + 1])
{
    if (!name_copy(mime_trim(in), name))
        return CHARSET_UNKNOWN;
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].name, name) != 0)
            continue;
        if (aliases[i].iconv_name)
            g_strlcpy(name, aliases[i].iconv_name, MIME_CHARSET_NAME_BYTES + 1);
        return aliases[i].kind;
    }
    return CHARSET_ICONV;
}

bool mime_charset_is_known(struct bytes in)
{
    char name[MIME_CHARSET_NAME_BYTES + 1];
    const enum charset_kind kind = charset_of(in, name);
    if (kind != CHARSET_ICONV)
        return kind != CHARSET_UNKNOWN;
    const GIConv cd = mime_converter_take(name);
    if (cd == MIME_NO_CONVERTER)
        return false;
    mime_converter_give(name, cd);
    return true;
}

static void decode_utf8(struct bytes in, struct buf *out)
{
    while (in.n) {
        const char *end = NULL;
        /* NUL is a character of its own here; GLib stops at it. */
        const bool whole = g_utf8_validate_len((const char *)in.p, in.n, &end);
        const size_t good = (size_t)((const uint8_t *)end - in.p);
        buf_append(out, in.p, good);
        if (whole)
            return;
        in = bytes_slice(in, good, SIZE_MAX);
        if (in.p[0] == 0)
            buf_append_byte(out, 0);
        else
            buf_append(out, replacement, sizeof(replacement));
        in = bytes_slice(in, 1, SIZE_MAX);
    }
}

static bool is_utf8(struct bytes in)
{
    while (in.n) {
        const char *end = NULL;
        if (g_utf8_validate_len((const char *)in.p, in.n, &end))
            return true;
        in = bytes_slice(in, (size_t)((const uint8_t *)end - in.p), SIZE_MAX);
        if (in.p[0] != 0)
            return false;
        in = bytes_slice(in, 1, SIZE_MAX);
    }
    return true;
}

static void decode_windows_1252(struct bytes in, struct buf *out)
{
    buf_reserve(out, in.n + in.n / 8);
    for (size_t i = 0; i < in.n; i++) {
        const uint8_t c = in.p[i];
        if (c < 0x80)
            buf_append_byte(out, c);
        else
            put_char(out, c < 0xa0 ? windows_1252_c1[c - 0x80] : c);
    }
}

static void decode_unknown(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] < 0x80)
            buf_append_byte(out, in.p[i]);
        else
            buf_append(out, replacement, sizeof(replacement));
    }
}

static void decode_iconv(GIConv cd, struct bytes in, struct buf *out)
{
    char *p = (char *)(uintptr_t)in.p;
    size_t left = in.n;
    while (left) {
        const size_t room = left * 2 + 64;
        char *q = (char *)buf_reserve(out, room);
        size_t free_bytes = room;
        const size_t rc = g_iconv(cd, &p, &left, &q, &free_bytes);
        out->n += room - free_bytes;
        if (rc != (size_t)-1 || errno == E2BIG)
            continue;
        if (errno != EILSEQ && errno != EINVAL)
            break;
        buf_append(out, replacement, sizeof(replacement));
        p++;
        left--;
    }
    /* A last letter that waits for a combining one (windows-1255, windows-1258, BIG5-HKSCS). */
    const size_t room = 64;
    char *q = (char *)buf_reserve(out, room);
    size_t free_bytes = room;
    (void)g_iconv(cd, NULL, NULL, &q, &free_bytes);
    out->n += room - free_bytes;
}

void mime_charset_decode(struct bytes in, struct bytes charset, struct buf *out)
{
    char name[MIME_CHARSET_NAME_BYTES + 1];
    enum charset_kind kind = charset_of(charset, name);
    GIConv cd = MIME_NO_CONVERTER;
    if (kind == CHARSET_ICONV) {
        cd = mime_converter_take(name);
        kind = cd == MIME_NO_CONVERTER ? CHARSET_UNKNOWN : CHARSET_ICONV;
    }
    if (kind == CHARSET_ICONV) {
        decode_iconv(cd, in, out);
        mime_converter_give(name, cd);
        return;
    }
    if (mime_is_ascii(in) || (kind != CHARSET_WINDOWS_1252 && is_utf8(in)))
        buf_append_bytes(out, in);
    else if (kind == CHARSET_UTF8)
        decode_utf8(in, out);
    else if (kind == CHARSET_UNKNOWN)
        decode_unknown(in, out);
    else
        decode_windows_1252(in, out);
}

void mime_decode_text(struct bytes body, uint8_t encoding, const char *charset, struct buf *out)
{
    struct buf raw = {0};
    mime_decode_transfer(body, encoding, &raw);
    mime_charset_decode(buf_bytes(&raw), bytes_str(charset ? charset : ""), out);
    buf_release(&raw);
}

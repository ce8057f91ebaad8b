/*
 * gen_text: paragraphs of words (gen_words.h), and the encodings that mail wraps them in.
 */
#include "gen_text.h"

#include "gen_words.h"

#include <glib.h>

static const char *const charset_names[GEN_CHARSETS] = {
    [GEN_ASCII] = "us-ascii",    [GEN_UTF8_LATIN] = "utf-8",        [GEN_UTF8_CYRILLIC] = "UTF-8",
    [GEN_UTF8_CJK] = "utf-8",    [GEN_LATIN1] = "iso-8859-1",       [GEN_WINDOWS_1252] = "windows-1252",
    [GEN_LATIN2] = "iso-8859-2", [GEN_KOI8_R] = "koi8-r",           [GEN_GB2312] = "gb2312",
    [GEN_BIG5] = "big5",         [GEN_ISO_2022_JP] = "iso-2022-jp",
};

const char *gen_charset_name(enum gen_charset cs)
{
    return charset_names[cs];
}

void gen_word(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, struct buf *out)
{
    gen_words_put(w, cs, gen_next(r), out);
}

static void capitalise(struct buf *out, size_t at)
{
    if (at < out->n && out->p[at] >= 'a' && out->p[at] <= 'z')
        out->p[at] = (uint8_t)(out->p[at] - 'a' + 'A');
}

void gen_phrase(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, size_t n, struct buf *out)
{
    size_t begin = out->n;
    do {
        if (out->n > begin)
            buf_append_byte(out, ' ');
        gen_words_put(w, cs, gen_next(r), out);
    } while (out->n - begin < n);
    capitalise(out, begin);
}

void gen_paragraphs(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, size_t n,
                    struct gen_text_style style, struct buf *out)
{
    size_t begin = out->n, end = out->n + n;
    size_t columns = style.columns ? style.columns : SIZE_MAX;
    const char *prefix = style.prefix ? style.prefix : "";
    while (out->n < end || out->n == begin) {
        if (style.open)
            buf_append_str(out, style.open);
        buf_append_str(out, prefix);
        size_t line = out->n, left = 8 + gen_below(r, 80);
        bool capital = true;
        do {
            uint64_t x = gen_next(r);
            size_t at = out->n;
            gen_words_put(w, cs, x, out);
            if (capital)
                capitalise(out, at);
            capital = (x >> 40 & 15) == 0;
            uint8_t *p = out->p + out->n; /* gen_words_put left the room */
            if (capital)
                *p++ = (x >> 44 & 7) == 0 ? '?' : '.';
            else if ((x >> 44 & 15) == 1)
                *p++ = ',';
            out->n = (size_t)(p - out->p);
            if (--left == 0 || out->n >= end)
                break;
            if (out->n - line < columns) {
                buf_append_byte(out, ' ');
            } else {
                buf_append_byte(out, '\n');
                buf_append_str(out, prefix);
                line = out->n;
            }
        } while (true);
        if (style.close)
            buf_append_str(out, style.close);
        buf_append_byte(out, '\n');
        if (!style.open) {
            buf_append_str(out, prefix);
            buf_append_byte(out, '\n');
        }
    }
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t base64_group(const uint8_t *p, size_t n, uint8_t *out)
{
    uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
    out[0] = (uint8_t)base64_digits[v >> 18];
    out[1] = (uint8_t)base64_digits[v >> 12 & 63];
    out[2] = n > 1 ? (uint8_t)base64_digits[v >> 6 & 63] : '=';
    out[3] = n > 2 ? (uint8_t)base64_digits[v & 63] : '=';
    return 4;
}

void gen_base64(struct bytes v, struct buf *out)
{
    for (size_t off = 0; off < v.n; off += 57) {
        uint8_t *p = buf_reserve(out, 80);
        size_t k = 0, line = MIN(v.n - off, (size_t)57);
        for (size_t i = 0; i < line; i += 3)
            k += base64_group(v.p + off + i, MIN(line - i, (size_t)3), p + k);
        p[k++] = '\n';
        out->n += k;
    }
}

void gen_base64_random(struct gen_random *r, const char *magic, size_t n, struct buf *out)
{
    size_t digits = (n + 2) / 3 * 4, column = 0, given = MIN(strlen(magic), digits);
    buf_reserve(out, digits + digits / 76 + 96);
    uint8_t *p = out->p + out->n;
    for (size_t i = 0; i < given; i++)
        *p++ = (uint8_t)magic[i];
    column = given;
    for (size_t done = given; done < digits;) {
        uint64_t x = gen_next(r);
        for (int i = 0; i < 10 && done < digits; i++, done++, x >>= 6) {
            if (column == 76) {
                *p++ = '\n';
                column = 0;
            }
            *p++ = (uint8_t)base64_digits[x & 63];
            column++;
        }
    }
    if (n % 3 != 0 && given < digits) {
        /* The last group stands for one or two bytes: unused bits are zero, as a strict decoder wants. */
        p[-1] = '=';
        if (n % 3 == 1)
            p[-2] = '=';
        uint8_t *last = n % 3 == 1 ? p - 3 : p - 2;
        *last = (uint8_t)base64_digits[n % 3 == 1 ? (*last & 3) * 16 : (*last & 15) * 4];
    }
    *p++ = '\n';
    out->n = (size_t)(p - out->p);
}

void gen_quoted_printable(struct bytes v, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t column = 0;
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        uint8_t *p = buf_reserve(out, 8);
        size_t k = 0;
        if (c == '\n') {
            p[k++] = '\n';
            column = 0;
            out->n += k;
            continue;
        }
        bool at_end = i + 1 == v.n || v.p[i + 1] == '\n';
        bool plain = (c > 32 && c < 127 && c != '=') || (c == ' ' && !at_end);
        if (column + (plain ? 1 : 3) > 75) {
            p[k++] = '=';
            p[k++] = '\n';
            column = 0;
        }
        if (plain) {
            p[k++] = c;
            column++;
        } else {
            p[k++] = '=';
            p[k++] = (uint8_t)hex[c >> 4];
            p[k++] = (uint8_t)hex[c & 15];
            column += 3;
        }
        out->n += k;
    }
}

static bool is_ascii(struct bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] >= 127 || v.p[i] < 32)
            return false;
    return true;
}

static void encoded_word(struct bytes v, enum gen_charset cs, bool q, struct buf *out)
{
    buf_printf(out, "=?%s?%c?", charset_names[cs], q ? 'Q' : 'B');
    for (size_t i = 0; i < v.n; i += q ? 1 : 3) {
        uint8_t group[4];
        if (!q)
            buf_append(out, group, base64_group(v.p + i, MIN(v.n - i, (size_t)3), group));
        else if (v.p[i] == ' ')
            buf_append_byte(out, '_');
        else if (g_ascii_isalnum(v.p[i]))
            buf_append_byte(out, v.p[i]);
        else
            buf_printf(out, "=%02X", v.p[i]);
    }
    buf_append_str(out, "?=");
}

void gen_header_text(struct bytes v, enum gen_charset cs, bool q_encoding, size_t column, struct buf *out)
{
    bool plain = is_ascii(v);
    size_t limit = plain ? 72 : q_encoding ? 18 : 34; /* raw bytes a line, so that an encoded word stays within 75 */
    bool first = true;
    while (v.n > 0) {
        /* As many words as the line takes, at least one. */
        size_t room = first && column < limit ? limit - column : limit, cut = 0;
        for (size_t i = 1; i <= v.n; i++)
            if ((i == v.n || v.p[i] == ' ') && (i <= room || cut == 0))
                cut = i;
            else if (i > room && cut > 0)
                break;
        if (!first)
            buf_append_str(out, plain ? "\n" : "\n ");
        if (plain) /* the space before the word is the fold */
            buf_append(out, v.p, cut);
        else /* spaces between encoded words vanish: the word keeps its own */
            encoded_word(bytes_of(v.p, cut), cs, q_encoding, out);
        v = bytes_slice(v, cut, v.n - cut);
        first = false;
    }
}

void gen_date(int64_t unix_s, int zone_minutes, struct buf *out)
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t local = unix_s + zone_minutes * 60, day = local / 86400, second = local % 86400;
    /* Days to a civil date: years begin in March, eras have 146,097 days. */
    int64_t z = day + 719468, era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153, d = doy - (153 * mp + 2) / 5 + 1, m = mp < 10 ? mp + 3 : mp - 9;
    int64_t y = yoe + era * 400 + (m <= 2);
    int zone = zone_minutes < 0 ? -zone_minutes : zone_minutes;
    buf_printf(out, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02d%02d", days + day % 7 * 3, (int)d, months + (m - 1) * 3,
               (int)y, (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60), zone_minutes < 0 ? '-' : '+',
               zone / 60, zone % 60);
}

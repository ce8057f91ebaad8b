/*
 * gen_text: a word is a slot of sixteen bytes, so that copying one is a single move; a text of 3 KB takes some 10 us,
 * which keeps the generator at the speed of the file system.
 */
#include "gen_text.h"

#include "base/error.h"

#include <glib.h>

#define SLOT    16
#define COMMON  8192u /* English words by rank */
#define FOREIGN 1024u /* words of each other charset */

struct slot {
    uint8_t n;
    uint8_t p[SLOT - 1];
};

struct gen_words {
    struct slot common[COMMON];
    struct slot foreign[GEN_CHARSETS][FOREIGN];
    uint16_t pick[65536]; /* sixteen random bits to a rank of common */
};

static const struct {
    const char *name;
    uint16_t foreign_permille; /* share of words that are not English */
} charsets[GEN_CHARSETS] = {
    [GEN_ASCII] = {"us-ascii", 0},
    [GEN_UTF8_LATIN] = {"utf-8", 120},
    [GEN_UTF8_CYRILLIC] = {"UTF-8", 900},
    [GEN_UTF8_CJK] = {"utf-8", 900},
    [GEN_LATIN1] = {"iso-8859-1", 200},
    [GEN_WINDOWS_1252] = {"windows-1252", 200},
    [GEN_LATIN2] = {"iso-8859-2", 300},
    [GEN_KOI8_R] = {"koi8-r", 900},
    [GEN_GB2312] = {"gb2312", 900},
    [GEN_BIG5] = {"big5", 900},
    [GEN_ISO_2022_JP] = {"iso-2022-jp", 900},
};

static const char *const english[] = {
    "the",     "to",      "of",     "and",      "a",        "in",      "is",       "that",    "for",      "it",
    "this",    "on",      "you",    "with",     "be",       "not",     "are",      "as",      "have",     "if",
    "we",      "can",     "or",     "at",       "from",     "by",      "I",        "an",      "will",     "was",
    "but",     "do",      "so",     "would",    "your",     "all",     "there",    "which",   "no",       "when",
    "has",     "what",    "any",    "should",   "they",     "use",     "just",     "one",     "some",     "my",
    "about",   "more",    "out",    "like",     "please",   "only",    "time",     "new",     "get",      "up",
    "also",    "how",     "been",   "other",    "than",     "then",    "could",    "see",     "these",    "need",
    "does",    "work",    "now",    "our",      "here",     "first",   "know",     "because", "them",     "into",
    "patch",   "file",    "driver", "error",    "thanks",   "problem", "device",   "code",    "using",    "same",
    "report",  "meeting", "order",  "invoice",  "contract", "project", "budget",   "review",  "customer", "release",
    "monday",  "tuesday", "friday", "office",   "team",     "version", "kernel",   "server",  "archive",  "message",
    "regards", "hello",   "dear",   "attached", "minutes",  "agenda",  "schedule", "quarter", "question", "answer",
};

static void slot_set(struct slot *s, const void *p, size_t n)
{
    s->n = (uint8_t)MIN(n, sizeof s->p);
    memcpy(s->p, p, s->n);
}

static size_t invent_word(uint64_t x, char *out)
{
    static const char consonants[] = "bcdfghjklmnprstvwz", vowels[] = "aeiouaeioyae";
    size_t n = 0, syllables = 1 + (x & 3);
    x = gen_mix(x);
    for (size_t i = 0; i < syllables; i++, x >>= 11) {
        out[n++] = consonants[(x & 63) % 18];
        out[n++] = vowels[(x >> 6 & 15) % 12];
        if ((x >> 10 & 1) != 0)
            out[n++] = consonants[(x >> 4 & 63) % 18];
    }
    return n;
}

/* One character of the charset, as bytes. */
static void foreign_char(enum gen_charset cs, struct gen_random *r, struct buf *out)
{
    static const char *const latin[] = {"\xc3\xa9", "\xc3\xbc", "\xc3\xb6", "\xc3\xa4", "\xc3\xa8",
                                        "\xc3\xb1", "\xc3\xa7", "\xc3\x9f", "\xc3\xb8", "\xc5\x82"};
    static const uint8_t latin1[] = {0xe9, 0xfc, 0xf6, 0xe4, 0xe8, 0xf1, 0xe7, 0xdf, 0xf8, 0xe0};
    static const uint8_t latin2[] = {0xb1, 0xe6, 0xea, 0xb3, 0xf1, 0xf3, 0xb6, 0xbc, 0xbf, 0xe9};
    uint32_t x = gen_below(r, 1u << 30);
    uint32_t c;
    switch (cs) {
    case GEN_ASCII:
    case GEN_CHARSETS: buf_append_byte(out, (uint8_t)('a' + x % 26)); break;
    case GEN_UTF8_LATIN:
        if (x % 3 == 0)
            buf_append_str(out, latin[x / 3 % G_N_ELEMENTS(latin)]);
        else
            buf_append_byte(out, (uint8_t)('a' + x / 3 % 26));
        break;
    case GEN_UTF8_CYRILLIC:
        c = 0x430 + x % 32;
        buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 63)));
        break;
    case GEN_UTF8_CJK:
        c = x % 50 == 0 ? 0x1f600 + x / 50 % 64 : x % 3 == 0 ? 0x3042 + x / 3 % 80 : 0x4e00 + x / 3 % 5000;
        if (c > 0xffff) {
            buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
            buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 63)));
        } else {
            buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
        }
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_append_byte(out, (uint8_t)(0x80 | (c & 63)));
        break;
    case GEN_LATIN1:
    case GEN_WINDOWS_1252:
        if (cs == GEN_WINDOWS_1252 && x % 17 == 0)
            buf_append_byte(out, 0x92); /* a curly apostrophe, which ISO 8859-1 has not */
        else
            buf_append_byte(out, x % 3 == 0 ? latin1[x / 3 % sizeof latin1] : (uint8_t)('a' + x / 3 % 26));
        break;
    case GEN_LATIN2:
        buf_append_byte(out, x % 3 == 0 ? latin2[x / 3 % sizeof latin2] : (uint8_t)('a' + x / 3 % 26));
        break;
    case GEN_KOI8_R: buf_append_byte(out, (uint8_t)(0xc0 + x % 32)); break;
    case GEN_GB2312:
        buf_append_byte(out, (uint8_t)(0xb0 + x % 39));
        buf_append_byte(out, (uint8_t)(0xa1 + x / 39 % 94));
        break;
    case GEN_BIG5:
        buf_append_byte(out, (uint8_t)(0xa4 + x % 33));
        buf_append_byte(out, (uint8_t)(0xa1 + x / 33 % 94));
        break;
    case GEN_ISO_2022_JP:
        buf_append_byte(out, 0x24);
        buf_append_byte(out, (uint8_t)(0x21 + x % 83));
        break;
    }
}

static void foreign_word(enum gen_charset cs, struct gen_random *r, struct slot *out)
{
    static const uint8_t widest[GEN_CHARSETS] = {
        [GEN_ASCII] = 1,  [GEN_UTF8_LATIN] = 2,   [GEN_UTF8_CYRILLIC] = 2, [GEN_UTF8_CJK] = 4,
        [GEN_LATIN1] = 1, [GEN_WINDOWS_1252] = 1, [GEN_LATIN2] = 1,        [GEN_KOI8_R] = 1,
        [GEN_GB2312] = 2, [GEN_BIG5] = 2,         [GEN_ISO_2022_JP] = 2,
    };
    struct buf b = {0};
    size_t room = sizeof out->p - (cs == GEN_ISO_2022_JP ? 6 : 0), limit = 2 + gen_below(r, 9);
    if (cs == GEN_ISO_2022_JP)
        buf_append_str(&b, "\033$B");
    for (size_t n = 0, begin = b.n; n < limit && b.n - begin + widest[cs] <= room; n++)
        foreign_char(cs, r, &b);
    if (cs == GEN_ISO_2022_JP)
        buf_append_str(&b, "\033(B");
    ASSERT(b.n <= sizeof out->p);
    slot_set(out, b.p, b.n);
    buf_release(&b);
}

struct gen_words *gen_words_new(void)
{
    struct gen_words *w = g_new0(struct gen_words, 1);
    for (size_t i = 0; i < COMMON; i++) {
        char word[SLOT];
        if (i < G_N_ELEMENTS(english))
            slot_set(&w->common[i], english[i], strlen(english[i]));
        else
            slot_set(&w->common[i], word, invent_word(i * 4 + (i >> 5), word));
    }
    struct gen_random r = {1};
    for (unsigned cs = 0; cs < GEN_CHARSETS; cs++)
        for (size_t i = 0; i < FOREIGN; i++)
            foreign_word((enum gen_charset)cs, &r, &w->foreign[cs][i]);
    /* Zipf-Mandelbrot 1 / (rank + 6): the top ten have about an eighth. */
    uint64_t total = 0, sum = 0;
    for (uint64_t i = 0; i < COMMON; i++)
        total += (1u << 24) / (i + 6);
    size_t slot = 0;
    for (uint64_t i = 0; i < COMMON; i++) {
        sum += (1u << 24) / (i + 6);
        for (; slot < 65536 && slot * total < sum * 65536; slot++)
            w->pick[slot] = (uint16_t)i;
    }
    return w;
}

void gen_words_free(struct gen_words **w)
{
    g_clear_pointer(w, g_free);
}

const char *gen_charset_name(enum gen_charset cs)
{
    return charsets[cs].name;
}

/* Appends without a look at the capacity: the caller has reserved. */
static inline void put_slot(struct buf *out, const struct slot *s)
{
    memcpy(out->p + out->n, s->p, sizeof s->p);
    out->n += s->n;
}

/* Room for one word and what may stand around it. */
#define WORD_ROOM 48

static void put_word(const struct gen_words *w, enum gen_charset cs, uint64_t x, struct buf *out)
{
    buf_reserve(out, WORD_ROOM);
    if ((x & 1023) * 1000 < (uint64_t)charsets[cs].foreign_permille * 1024) {
        put_slot(out, &w->foreign[cs][x >> 10 & (FOREIGN - 1)]);
    } else if ((x >> 20 & 31) == 0) {
        /* A word that hardly anyone else uses. */
        out->n += invent_word(x >> 32 & 0x3ffff, (char *)out->p + out->n);
    } else if ((x >> 25 & 63) == 0) {
        uint32_t number = (uint32_t)(x >> 36 & 0xfff);
        out->n += (size_t)g_snprintf((char *)out->p + out->n, 8, "%u", number);
    } else {
        put_slot(out, &w->common[w->pick[x >> 48]]);
    }
}

void gen_word(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, struct buf *out)
{
    put_word(w, cs, gen_next(r), out);
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
        put_word(w, cs, gen_next(r), out);
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
            put_word(w, cs, x, out);
            if (capital)
                capitalise(out, at);
            capital = (x >> 40 & 15) == 0;
            uint8_t *p = out->p + out->n; /* put_word left the room */
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
    buf_printf(out, "=?%s?%c?", charsets[cs].name, q ? 'Q' : 'B');
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

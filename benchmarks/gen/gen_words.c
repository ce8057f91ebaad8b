/*
 * gen_words: a frequent word is a slot of sixteen bytes, so that copying one is a single move; a rare one is made from
 * its rank. A text of 3 KB takes some 10 us, which keeps the generator at the speed of the file system.
 */
#include "gen_words.h"

#include "base/error.h"

#include <glib.h>

#define SLOT      16
#define COMMON    10240u /* English words by rank */
#define FOREIGN   16384u /* words of each other charset */
#define PICK_BITS 17     /* a rank of COMMON has one of 2^17 places at least */

struct slot {
    uint8_t n;
    uint8_t p[SLOT - 1];
};

struct gen_words {
    struct slot common[COMMON];
    struct slot foreign[GEN_CHARSETS][FOREIGN];
    uint16_t pick[1u << PICK_BITS]; /* random bits to a rank of common */
};

/* Share of words that are not English. */
static const uint16_t foreign_permille[GEN_CHARSETS] = {
    [GEN_ASCII] = 0,    [GEN_UTF8_LATIN] = 120,   [GEN_UTF8_CYRILLIC] = 900, [GEN_UTF8_CJK] = 900,
    [GEN_LATIN1] = 200, [GEN_WINDOWS_1252] = 200, [GEN_LATIN2] = 300,        [GEN_KOI8_R] = 900,
    [GEN_GB2312] = 900, [GEN_BIG5] = 900,         [GEN_ISO_2022_JP] = 900,
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

/* Zipf-Mandelbrot up to rank 1000, steeper from there on: percentages of it by octave. */
static uint64_t weight(uint64_t rank)
{
    static const uint8_t percent[] = {89, 72, 58, 52};
    uint64_t w = (1u << 26) / (rank + 6);
    unsigned octave = 0;
    if (rank < 1000)
        return w;
    for (uint64_t end = 2000; rank >= end && octave < G_N_ELEMENTS(percent) - 1; end *= 2)
        octave++;
    return w * percent[octave] / 100;
}

static void make_pick(struct gen_words *w)
{
    const size_t places = 1u << PICK_BITS;
    uint64_t total = 0, sum = 0;
    for (uint64_t i = 0; i < COMMON; i++)
        total += weight(i);
    size_t slot = 0;
    for (uint64_t i = 0; i < COMMON; i++) {
        sum += weight(i);
        for (; slot < places && slot * total < sum * places; slot++)
            w->pick[slot] = (uint16_t)i;
    }
}

struct gen_words *gen_words_new(void)
{
    struct gen_words *w = g_new0(struct gen_words, 1);
    for (size_t i = 0; i < COMMON; i++) {
        char word[SLOT];
        if (i < G_N_ELEMENTS(english))
            slot_set(&w->common[i], english[i], strlen(english[i]));
        else
            /* Short ones only among the most frequent: there are not many. */
            slot_set(&w->common[i], word, invent_word((i * 4 + (i >> 5 & 3)) | (i >= 1000), word));
    }
    struct gen_random r = {1};
    for (unsigned cs = 0; cs < GEN_CHARSETS; cs++)
        for (size_t i = 0; i < FOREIGN; i++)
            foreign_word((enum gen_charset)cs, &r, &w->foreign[cs][i]);
    make_pick(w);
    return w;
}

void gen_words_free(struct gen_words **w)
{
    g_clear_pointer(w, g_free);
}

/* ---- rare words ------------------------------------------------------------------------------------------- */

/* A rank from COMMON on, falling off as rank^-1.65: COMMON * u^(-1 / 0.65) for u uniform in (0, 1]. */
static uint64_t rare_rank(uint64_t x)
{
    const unsigned zeros = x ? (unsigned)__builtin_clzll(x) : 63;
    /* -log2(u) in 16.16, linear between powers of two */
    const uint64_t fraction = zeros < 48 ? x << zeros << 1 >> 48 : 0;
    const uint64_t log = zeros * 65536u + (65536u - fraction);
    uint64_t scaled = log * 20 / 13;
    if (scaled > 32u * 65536)
        scaled = 32u * 65536;
    const unsigned whole = (unsigned)(scaled >> 16);
    const uint64_t mantissa = gen_exp2_fixed((int64_t)(scaled & 0xffff)); /* 65536..131072 */
    const uint64_t step = (((uint64_t)COMMON << whole) >> 16) + 1;
    return ((mantissa * COMMON) << whole >> 16) + gen_scale(gen_mix(x), step);
}

/* Letters for n groups of ten bits. */
static size_t put_syllables(uint64_t bits, unsigned n, char *out)
{
    static const char first[] = "bcdfghjklmnprstv", last[] = "nrslmtdk";
    size_t at = 0;
    for (; n > 0; n--, bits >>= 10) {
        out[at++] = first[bits & 15];
        out[at++] = "aeio"[bits >> 4 & 3];
        if ((bits >> 6 & 1) != 0)
            out[at++] = last[bits >> 7 & 7];
    }
    return at;
}

/* The spelling of a rare word, another one for each rank: words, identifiers, hexadecimal and decimal numbers, as in
 * the corpus. At most 24 bytes. */
static size_t put_rare(uint64_t rank, char *out)
{
    static const char *const endings[] = {"", "", "s", "ing", "ed", "er", "ly", "tion"};
    const uint64_t spread = rank * 0x9e3779b97f4a7c15u; /* odd: different ranks stay different in the lowest bits */
    const unsigned kind = (unsigned)(rank % 20);
    if (kind < 11) {
        const size_t n = put_syllables(spread, 4, out);
        const char *ending = endings[spread >> 61];
        memcpy(out + n, ending, strlen(ending) + 1);
        return n + strlen(ending);
    }
    if (kind < 15) {
        const char *word = english[spread >> 48 & 63];
        const size_t n = strlen(word);
        memcpy(out, word, n);
        out[n] = '_';
        return n + 1 + put_syllables(spread, 4, out + n + 1);
    }
    if (kind < 18)
        return (size_t)g_snprintf(out, 24, "%010" G_GINT64_MODIFIER "x", spread & 0xffffffffffu);
    return (size_t)g_snprintf(out, 24, "%" G_GUINT64_FORMAT, 5000 + rank);
}

/* ---- drawing ---------------------------------------------------------------------------------------------- */

/* Appends without a look at the capacity: the caller has reserved. */
static inline void put_slot(struct buf *out, const struct slot *s)
{
    memcpy(out->p + out->n, s->p, sizeof s->p);
    out->n += s->n;
}

#define WORD_ROOM 48

void gen_words_put(const struct gen_words *w, enum gen_charset cs, uint64_t x, struct buf *out)
{
    buf_reserve(out, WORD_ROOM);
    if ((x & 1023) * 1000 < (uint64_t)foreign_permille[cs] * 1024) {
        struct gen_random r = {x};
        put_slot(out, &w->foreign[cs][gen_zipf(&r, FOREIGN, 14u * 65536)]);
    } else if ((x >> 20 & 1023) < 100) { /* 10 %: words of other charsets and numbers are rare too */
        out->n += put_rare(rare_rank(gen_mix(x)), (char *)out->p + out->n);
    } else if ((x >> 30 & 63) == 0) {
        out->n += (size_t)g_snprintf((char *)out->p + out->n, 8, "%u", (unsigned)(x >> 36 & 0xfff));
    } else {
        put_slot(out, &w->common[w->pick[x >> (64 - PICK_BITS)]]);
    }
}

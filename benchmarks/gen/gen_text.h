/*
 * gen_text: words, lines and paragraphs in many charsets, and the encodings that mail wraps them in.
 *
 * Which words, and how often: gen_words.h. A vocabulary is built once and immutable afterwards: threads share it.
 */
#ifndef GEN_TEXT_H
#define GEN_TEXT_H

#include "base/bytes.h"
#include "gen_random.h"

enum gen_charset {
    GEN_ASCII,
    GEN_UTF8_LATIN,
    GEN_UTF8_CYRILLIC,
    GEN_UTF8_CJK,
    GEN_LATIN1,
    GEN_WINDOWS_1252,
    GEN_LATIN2,
    GEN_KOI8_R,
    GEN_GB2312,
    GEN_BIG5,
    GEN_ISO_2022_JP,
    GEN_CHARSETS
};

const char *gen_charset_name(enum gen_charset cs); /* as in a charset parameter */

struct gen_words; /* the vocabularies */
struct gen_words *gen_words_new(void);
void gen_words_free(struct gen_words **w);

/* One word of the charset, no space; at most 24 bytes. */
void gen_word(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, struct buf *out);

/* About n bytes of words separated by spaces, no line ends, first letter upper case where there is such a thing. */
void gen_phrase(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, size_t n, struct buf *out);

struct gen_text_style {
    const char *prefix; /* before each line ("> "), NULL none */
    size_t columns;     /* wrap after, 0 never (paragraphs of one line) */
    const char *open;   /* before and after each paragraph (HTML), NULL none */
    const char *close;
};
/* About n bytes of paragraphs; ends with a line end. */
void gen_paragraphs(const struct gen_words *w, enum gen_charset cs, struct gen_random *r, size_t n,
                    struct gen_text_style style, struct buf *out);

/* Base64 of v in lines of 76. */
void gen_base64(struct bytes v, struct buf *out);
/* Base64 text that stands for n random bytes, in lines of 76, beginning with `magic` (base64 text, may be ""). */
void gen_base64_random(struct gen_random *r, const char *magic, size_t n, struct buf *out);
/* Quoted-printable of text with LF line ends. */
void gen_quoted_printable(struct bytes v, struct buf *out);
/*
 * v (words separated by single spaces) as a header value: plain where it is ASCII, else encoded words of at most 75
 * characters, folded. column says how far the line is already.
 */
void gen_header_text(struct bytes v, enum gen_charset cs, bool q_encoding, size_t column, struct buf *out);

/* "Tue, 3 Feb 2004 11:02:59 +0100" */
void gen_date(int64_t unix_s, int zone_minutes, struct buf *out);

#endif

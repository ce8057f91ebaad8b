/* What words.c (texts) and needle.c share: where characters and runs begin and end. */
#ifndef MIME_WORDS_PRIVATE_H
#define MIME_WORDS_PRIVATE_H

#include "mime/words.h"

enum words_kind { WORDS_SEPARATOR, WORDS_LETTER, WORDS_DENSE };

/* Of ASCII; above it the character must be looked at. */
extern const uint8_t words_letters[256];
#define WORDS_IS_LETTER(c) (words_letters[(c)] == 1)

/* Length of the character at p < end that is not ASCII, 0 if these bytes are none: overlong, surrogate, cut off. */
size_t words_char_decode(const uint8_t *p, const uint8_t *end, uint32_t *out);
/* Kind and length of the character at p < end; bytes that are none are separators one by one. */
enum words_kind words_char_kind(const uint8_t *p, const uint8_t *end, size_t *n_out);

/* The next run at or after pos: its begin, and by run_end its end. False: there is none. */
bool words_run_next(struct mime_words *w, size_t *begin_out);

/* The character boundary of valid UTF-8 at or below `at`. */
static inline size_t words_boundary(struct bytes text, size_t at)
{
    while (at < text.n && (text.p[at] & 0xc0) == 0x80)
        at--;
    return at;
}

/* Of the character at `at`. */
static inline size_t words_char_end(struct bytes text, size_t at)
{
    for (at++; at < text.n && (text.p[at] & 0xc0) == 0x80;)
        at++;
    return at;
}

#endif

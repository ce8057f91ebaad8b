/*
 * pairs: the terms by which separators are found (words.h has those of letters): each ASCII separator by itself, and
 * each two ASCII characters side by side of which one is a separator. With them "-", ". " and "X@" are answered without
 * a look at any text.
 *
 *     struct mime_pairs p = {0};
 *     mime_pairs_add(&p, casemapped_text);             // of as many texts as one likes: it is a set
 *     mime_pairs_each(&p, fn, arg);                    // fn(term, arg) for every term
 *
 * Such a term is the byte 0xfe (one character) or 0xff (two), and for each character two bytes 0x80 | its upper and lower
 * half: bytes that begin no UTF-8 character, so the letters of no needle are found in them, and they come
 * behind all other terms.
 *
 * Total and linear for any bytes, a nanosecond or two a byte. Thread rule: an object belongs to one thread.
 */
#ifndef MIME_PAIRS_H
#define MIME_PAIRS_H

#include "base/bytes.h"

#define MIME_PAIR_TERMS 0xfeu /* what begins with such a byte or a higher one is one of these terms */

#define MIME_PAIRS_ROWS 129 /* after each ASCII character; the last: what stands after none */

/* Begins as zeros. */
struct mime_pairs {
    uint64_t after[MIME_PAIRS_ROWS][2]; /* bit: the second character */
};

struct mime_pair_term {
    uint8_t v[5];
    uint8_t n;
};

void mime_pairs_add(struct mime_pairs *p, struct bytes casemapped);
void mime_pairs_unite(struct mime_pairs *p, const struct mime_pairs *with);
/* What is left may lack a character by itself that stands in both. */
void mime_pairs_take_out(struct mime_pairs *p, const struct mime_pairs *others);
/* Leaves what is a term: pairs with a separator, and in the last row each separator by itself. */
void mime_pairs_terms(struct mime_pairs *p);
typedef void mime_pairs_fn(struct bytes term, void *arg); /* the term is a view until fn returns */
void mime_pairs_each(const struct mime_pairs *p, mime_pairs_fn *fn, void *arg);

/* Of one or two ASCII characters, false if there is no separator among them. */
bool mime_pair_term(struct bytes chars, struct mime_pair_term *out);

#endif

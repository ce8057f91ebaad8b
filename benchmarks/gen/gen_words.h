/*
 * gen_words: vocabularies, and the law by which words are drawn from them.
 *
 * The law is that of the corpus statistics (mailing lists, 13 million words): the ten most frequent words make 11 % of
 * a text, a hundred 35 %, a thousand 64 %, ten thousand 85 % (generated: 11, 34, 62, 83); what is left falls off as
 * rank^-1.65 without end, so that n words hold some n^0.6 different ones (Heaps) and nearly half of those occur once.
 * An index of terms grows with a generated vault as it does with a real one.
 *
 * Thread rule: immutable once made; threads share it.
 */
#ifndef GEN_WORDS_H
#define GEN_WORDS_H

#include "gen_text.h"

/*
 * Appends the word that the 64 random bits x stand for: no space in it, at most 24 bytes; room for as many again is
 * reserved behind it. Bits 40 to 46 of x are left to the caller.
 */
void gen_words_put(const struct gen_words *w, enum gen_charset cs, uint64_t x, struct buf *out);

#endif

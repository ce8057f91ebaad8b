/*
 * gen_plant: strings that stand in a known number of messages, so that a search of a generated vault has an answer
 * that nobody needed a search to find.
 *
 * A planted string has letters together that no other word of a vault has (words are made without q and x, random
 * letters of header fields are too short for it), stands whole on a line of its own in a text part of a message, and
 * is drawn for the message's number. A message that is a copy holds what its original holds.
 *
 * The file of answers (gen_answers_write) is text, one line a search, columns separated by tabs:
 *
 *     # mds-gen answers 1: --messages 1000 --seed 1 ...
 *     class    key    messages    string
 *
 * key is an IMAP search key that takes a string (BODY, TEXT, SUBJECT, FROM); messages is "-" where nobody knows: then
 * two programs may be held against each other. string is UTF-8 and ends with the line.
 */
#ifndef GEN_PLANT_H
#define GEN_PLANT_H

#include "base/error.h"
#include "gen_plan.h"

/* The first message that is nobody's copy and has none, for the string that stands in one message. */
uint64_t gen_plant_lone(const struct gen_plan *plan);

/* Appends the line that plants original i's strings, and "open" and "close" around it (HTML; NULL none); nothing for
 * most messages. cs: the part's charset. */
void gen_plant_line(const struct gen_plan *plan, uint64_t i, enum gen_charset cs, const char *open, const char *close,
                    struct buf *out);

/* Appends " word" to the subject of i's thread, for a few threads. */
void gen_plant_subject(const struct gen_plan *plan, uint64_t i, struct buf *out);

/* Writes the answers for messages 0 to n - 1 into file; arguments: the words after "answers 1:". */
int gen_answers_write(const struct gen_plan *plan, uint64_t n, const char *arguments, const char *file,
                      struct error *err);

#endif

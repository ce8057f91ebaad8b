/*
 * imap_grammar: a strict reader of what FETCH sends (RFC 3501 section 9).
 *
 *     struct imap_grammar g = {p, p + n, NULL};
 *     if (!imap_grammar_envelope(&g) || g.p != g.end)
 *         complain(g.why, g.p - p);
 *
 * Each function reads one production at g->p and moves past it. On failure it
 * returns false, g->why names the rule and g->p stands where it was broken.
 * Independent of the code under test: it shares nothing with imap/ and mime/.
 */
#ifndef IMAP_GRAMMAR_H
#define IMAP_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct imap_grammar {
    const uint8_t *p, *end;
    const char *why;
};

bool imap_grammar_char(struct imap_grammar *g, char c);
bool imap_grammar_nil(struct imap_grammar *g);
bool imap_grammar_number(struct imap_grammar *g, uint64_t *value_out); /* 32 bits; value_out may be NULL */
bool imap_grammar_number64(struct imap_grammar *g, uint64_t *value_out); /* below 2^63 (RFC 9051) */
/* string = quoted / literal; the content as sent (quoted: with its escapes) if the outputs are not NULL. */
bool imap_grammar_string(struct imap_grammar *g, const uint8_t **p_out, size_t *n_out);
bool imap_grammar_nstring(struct imap_grammar *g);
bool imap_grammar_envelope(struct imap_grammar *g);
/* body; with extensions as in BODYSTRUCTURE (all of them must be there, as ours are complete), without as in BODY. */
bool imap_grammar_body(struct imap_grammar *g, bool with_extensions);

#endif

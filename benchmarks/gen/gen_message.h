/*
 * gen_message: the bytes of message i, with LF line ends (a few messages CRLF), shaped after the statistics of real
 * mail: header fields in the order that servers leave them, MIME trees, charsets and encodings, attachments of which
 * some recur.
 *
 * Thread rule: a struct gen_scratch belongs to one thread; its buffers are recycled, so that a message costs no
 * allocation.
 */
#ifndef GEN_MESSAGE_H
#define GEN_MESSAGE_H

#include "gen_plan.h"

struct gen_scratch {
    struct buf text;    /* decoded text of one part */
    struct buf line;    /* a header value on its way */
    struct buf message; /* LF form of a message that goes out as CRLF */
};
void gen_scratch_release(struct gen_scratch *s);

/* Appends nothing: *out is replaced. i may be a duplicate (then it equals its original's bytes). */
void gen_message(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out);

/* The body and the MIME header fields of original i (Content-Type ... blank line, body). */
void gen_body(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out);

/* A strange message in place of original i (--torture); how it is strange is drawn from its number. */
void gen_torture(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out);

#endif

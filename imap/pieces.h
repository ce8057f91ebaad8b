/*
 * pieces: cuts a set of messages into some of a few thousand, so that one change does not hold an archive's writer for long.
 *
 *     struct imap_pieces pieces = {.set = set};
 *     while ((rc = imap_pieces_next(&pieces, &piece, &err)) > 0) ...      // the piece is the caller's
 */
#ifndef IMAP_PIECES_H
#define IMAP_PIECES_H

#include "mds/query.h"

#define IMAP_PIECE_MSGS 4000

/* Zero but for set: at the beginning. The set must live. */
struct imap_pieces {
    const struct mdsq_set *set;
    uint64_t pos;
    uint32_t first, last; /* what is left of the range at hand; first 0: nothing */
};

/* 1 a piece, 0 the end, or a negative enum mdsq_code. */
int imap_pieces_next(struct imap_pieces *pieces, struct mdsq_set **out, struct mdsq_error *err);

#endif

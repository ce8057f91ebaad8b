/*
 * fetch_flags: flags and keywords of many messages, from their folder's sets: nothing of a message is read for them. It
 * pays from some hundred messages on; the sets are of one snapshot, kept until another one differs.
 *
 *     struct query_flags q = {0};
 *     query_flags_begin(&q, txn, folder, uid, &err);        // 0: rows will do better
 *     while (...) query_flags_next(&q, uid)                 // ascending
 *     query_flags_release(&q);
 */
#ifndef QUERY_FETCH_FLAGS_H
#define QUERY_FETCH_FLAGS_H

#include "query_private.h"

#define QUERY_FLAGS_KEYWORDS 32u /* of an archive with more the rows are read */

struct query_flags_set {
    roaring_bitmap_t *uids;
    roaring_uint32_iterator_t it;
    uint32_t flag;    /* 0: a keyword */
    uint16_t keyword; /* its id */
};

/* Begins as zeros. One thread at a time. */
struct query_flags {
    uint64_t txn_id; /* of the snapshot; 0: none */
    struct query_flags_set exists;
    struct query_flags_set v[32 + QUERY_FLAGS_KEYWORDS];
    size_t n;
    /* of the message */
    uint32_t flags;
    uint8_t ids[2 * QUERY_FLAGS_KEYWORDS]; /* keywords, as a message's row has them: u16, ascending */
    size_t ids_n;                          /* bytes */
};

/* From that UID on. 1, or 0: the archive has too many keywords. */
int query_flags_begin(struct query_flags *q, struct mds_txn *txn, uint32_t folder, uint32_t uid, struct error *err);
/* False: the message is gone. */
bool query_flags_next(struct query_flags *q, uint32_t uid);
void query_flags_release(struct query_flags *q);

#endif

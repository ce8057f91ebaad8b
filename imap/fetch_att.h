/*
 * fetch_att: what a FETCH asks for, parsed (RFC 3501 section 9, fetch-att and section; BINARY of RFC 3516, MODSEQ of
 * RFC 7162, EMAILID and THREADID of RFC 8474, SAVEDATE of RFC 8514, PREVIEW of RFC 8970). Pure.
 *
 * Metadata attributes become bits of enum mdsq_fetch_attr; body sections are kept in order with the label
 * that their answer bears. All memory is the arena of the cursor.
 */
#ifndef IMAP_FETCH_ATT_H
#define IMAP_FETCH_ATT_H

#include "mds/query.h"
#include "wire/cursor.h"

#define IMAP_FETCH_BODIES_MAX 64   /* body sections in one FETCH */
#define IMAP_FETCH_FIELDS_MAX 1000 /* names in one HEADER.FIELDS */

struct imap_fetch_body {
    struct mdsq_section section;
    struct bytes label; /* "BODY[1.2]<0>", "RFC822.TEXT": wire-ready */
    bool partial;
    bool size_only;        /* BINARY.SIZE */
    uint64_t first, count; /* of a partial */
    struct imap_fetch_body *next;
};

struct imap_fetch_atts {
    unsigned attrs; /* enum mdsq_fetch_attr; IDS with one of the next two */
    bool uid, email_id, thread_id;
    bool sees; /* some section is asked for without PEEK: the message becomes \Seen */
    struct imap_fetch_body *bodies;
    size_t bodies_n;
};

/* "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")" */
bool imap_take_fetch_atts(struct imap_cursor *at, struct imap_fetch_atts *out);

#endif

/*
 * imap_url: an IMAP URL that names a message or a part of one on this server (RFC 5092, as CATENATE has it: relative, without scheme
 * and server). Pure; memory is the arena.
 *
 *     "/Sent%20Mail;UIDVALIDITY=785799047/;UID=113330/;SECTION=1.5.9"
 *     ";UID=20/;SECTION=HEADER"                                           in the selected mailbox
 */
#ifndef IMAP_IMAP_URL_H
#define IMAP_IMAP_URL_H

#include "mds/query.h"

#include "base/bytes.h"

struct imap_url {
    const char *mailbox; /* UTF-8; NULL: the selected one */
    uint32_t uidvalidity; /* 0: any */
    uint32_t uid;
    struct mdsq_section section; /* the whole message if there was none */
    bool partial;
    uint64_t first, count; /* count UINT64_MAX: to the end */
};

/* False: no such URL. */
bool imap_url_parse(struct bytes text, struct arena *arena, struct imap_url *out);

#endif

/* status_items: what STATUS, LIST-STATUS and NOTIFY can ask of a folder, and how it is said. */
#ifndef IMAP_STATUS_ITEMS_H
#define IMAP_STATUS_ITEMS_H

#include "session_private.h"

#define IMAP_STATUS_ITEMS_MAX 16

struct imap_status_items {
    uint8_t v[IMAP_STATUS_ITEMS_MAX];
    uint8_t n;
    bool modseq; /* HIGHESTMODSEQ is among them: it turns CONDSTORE on */
    bool recent; /* RECENT is, which no folder's row says */
};

/* "(" status-att *(SP status-att) ")" */
bool imap_take_status_items(struct imap_cursor *at, struct imap_status_items *out);
/* One by its name, which is known. */
void imap_status_items_add(struct imap_status_items *items, const char *name);
/* "* STATUS mailbox (...)" */
void imap_say_status(struct imap_session *s, const char *mailbox, const struct imap_status_items *items,
                     const struct mdsq_status *status);

#endif

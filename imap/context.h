/*
 * context: searches whose results are kept up to date (RFC 5267, UPDATE).
 *
 * A context remembers its key and the UIDs that match, of a SORT in their order. When the selected mailbox has changed,
 * what was changed is searched again, and ESEARCH tells what came and went: REMOVEFROM of what is expunged before the
 * EXPUNGE, all else after EXISTS and FETCH. A session has at most IMAP_CONTEXTS_MAX; one of a SORT has at most
 * IMAP_CONTEXT_SORTED_MAX results. More is refused by NOUPDATE. They end with the selection of the mailbox.
 */
#ifndef IMAP_CONTEXT_H
#define IMAP_CONTEXT_H

#include "search_key.h"
#include "session_private.h"

#define IMAP_CONTEXTS_MAX       8
#define IMAP_CONTEXT_SORTED_MAX 20000

struct imap_context_request {
    struct bytes tag;
    bool uid;
    const struct mdsq_key *key;
    const struct imap_sort_order *order; /* NULL: of a SEARCH */
    struct mdsq_sort *sort;              /* with order: has run; where it stands is lost */
    const struct mdsq_set *result;
};

/* A context has this tag. */
bool imap_context_has(const struct imap_session *s, struct bytes tag);
/* Copies the request; or says "* NO [NOUPDATE]". */
void imap_context_begin(struct imap_session *s, const struct imap_context_request *request);
/* Unknown tags are none of anybody's business. */
void imap_context_cancel(struct imap_session *s, struct bytes tag);
void imap_contexts_free(struct imap_session *s);

/* A message that has just left the view, by its number before any did. */
struct imap_gone {
    uint32_t seq, uid;
};
/* gone: struct imap_gone, highest first. */
void imap_contexts_say_gone(struct imap_session *s, const struct buf *gone);
/* What was changed, in slices; false: call again in the next run. */
bool imap_contexts_say_changed(struct imap_session *s);

#endif

/*
 * notify: what NOTIFY (RFC 5465) watches besides the selected mailbox, and how it is told.
 *
 * Folders that a client watches are remembered as they were told (name, attributes, counters). When the archive has
 * changed they are walked again, in slices, and what differs is said: LIST for names and subscriptions, STATUS for
 * messages. New messages of the selected mailbox are fetched as the client asked by a FETCH of its own making, without
 * a tagged line.
 *
 * Memory: some 150 bytes and a name a watched folder, at most IMAP_NOTIFY_FOLDERS_MAX; more is an overflow: the client
 * is told and nothing is watched.
 */
#ifndef IMAP_NOTIFY_H
#define IMAP_NOTIFY_H

#include "session_private.h"

#define IMAP_NOTIFY_FOLDERS_MAX 10000
#define IMAP_NOTIFY_GROUPS_MAX  32
#define IMAP_NOTIFY_NAMES_MAX   1000 /* of all groups */

enum imap_notify_event {
    IMAP_NOTIFY_NEW = 1 << 0,
    IMAP_NOTIFY_EXPUNGE = 1 << 1,
    IMAP_NOTIFY_FLAGS = 1 << 2,
    IMAP_NOTIFY_NAME = 1 << 3,
    IMAP_NOTIFY_SUBSCRIPTION = 1 << 4,
    IMAP_NOTIFY_MESSAGES = IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE | IMAP_NOTIFY_FLAGS,
};

enum imap_notify_filter {
    IMAP_FILTER_PERSONAL, /* also inboxes: any folder may be filed into */
    IMAP_FILTER_SUBSCRIBED,
    IMAP_FILTER_SUBTREE,
    IMAP_FILTER_MAILBOXES,
};

struct imap_notify_group {
    enum imap_notify_filter filter;
    unsigned events; /* enum imap_notify_event */
    const char **names;
    size_t names_n;
};

/* What a NOTIFY SET asks for. The parser's memory is the command's arena; imap_notify_new copies. */
struct imap_notify_request {
    bool status; /* STATUS of what is watched, at once */
    bool has_selected, delayed;
    unsigned selected_events;
    struct bytes selected_fetch; /* "(UID FLAGS)": of new messages; empty: none */
    struct imap_notify_group groups[IMAP_NOTIFY_GROUPS_MAX];
    size_t groups_n;
};

struct imap_notify;
struct imap_notify *imap_notify_new(const struct imap_notify_request *request);
void imap_notify_free(struct imap_notify **n);
enum imap_notify_step { IMAP_NOTIFY_DONE, IMAP_NOTIFY_MORE, IMAP_NOTIFY_OVERFLOW, IMAP_NOTIFY_FAILED };
/* The first walk, in slices: remembers, and says STATUS where asked. */
enum imap_notify_step imap_notify_begin(struct imap_session *s, struct imap_notify *n);
/* From now on in force (moves in); NULL: NOTIFY NONE, or overflow. */
void imap_notify_install(struct imap_session *s, struct imap_notify *n);
/* Another mailbox was selected: its messages of now are no news. */
void imap_notify_selected(struct imap_session *s);
/* The session changed something itself, which is no news to its client (RFC 5465 sections 4 and 5.2). */
void imap_notify_own(struct imap_session *s, const struct imap_command *c, const struct mdsq_outcome *o);

#endif

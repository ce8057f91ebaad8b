/* talk: a client and a session over two buffers. */
#ifndef TALK_H
#define TALK_H

#include "imap/imap.h"

/* A session with login allowed (or not) whose greeting has been read away. */
struct imap_session *talk_new(const struct imap_limits *limits, bool allow_login);
/* Logged in as "me". */
struct imap_session *talk_logged_in(const struct imap_limits *limits);
/* Logged in and INBOX selected. */
struct imap_session *talk_selected(const struct imap_limits *limits);

/* Says text, runs until the session is idle (waits are not waited), returns all it answers; lives until the next call.
 */
const char *talk(struct imap_session *s, const char *text);
const char *talk_bytes(struct imap_session *s, const void *p, size_t n);

/* What the last talk ended with, how many runs it took, the largest output waiting, the longest delay. */
extern enum imap_run talk_how;
extern unsigned talk_runs;
extern size_t talk_high;
extern unsigned talk_delay_ms;

#endif

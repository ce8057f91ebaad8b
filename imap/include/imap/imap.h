/*
 * imap: the thin frontend (RFC 3501 read side). Knows only query/.
 *
 *     struct imap_session *s = imap_session_new(store, &limits);
 *     imap_session_allow_login(s);                     // the transport says whether passwords may travel on it
 *     imap_session_feed(s, bytes, n);                  // client's bytes
 *     do {
 *         how = imap_session_run(s);
 *         out = imap_session_output(s);                // write it, whatever run returned
 *         imap_session_wrote(s, out.n);
 *     } while (how == IMAP_RUN_MORE);
 *
 * The session is driven by two buffers and knows no sockets, so that a test can
 * be the client. The server's loop (server.h) moves bytes between libuv and
 * sessions and runs imap_session_run on a pool of threads: nothing that blocks runs on a loop.
 *
 * Thread rule: a session is used by one thread at a time; it may move between threads.
 * Errors: a session has none of its own; what fails is told to the client, in words without paths, and to base/log.
 */
#ifndef IMAP_IMAP_H
#define IMAP_IMAP_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>

struct mdsq_store;

/* Zero means default. */
struct imap_limits {
    uint32_t line_bytes;        /* a command line without literals; 65,536 */
    uint32_t literal_bytes;     /* one literal before and after login; 8 KiB before, 1 MiB after */
    uint32_t command_bytes;     /* a whole command with its literals; 2 MiB */
    uint32_t nesting;           /* parentheses; 64 */
    uint32_t pipeline_bytes;    /* unread input kept; 128 KiB */
    uint32_t output_high_bytes; /* a session stops producing here; 256 KiB */
    uint32_t login_ms;          /* not logged in; 60,000 */
    uint32_t idle_ms;           /* no command; 30 min */
    uint32_t write_ms;          /* output not taken; 120,000: dropped */
    uint32_t slice_ms;          /* work of one run; 20 */
    uint32_t bad_commands;      /* BAD answers in a row before BYE; 20 */
    uint32_t append_bytes;      /* one message of APPEND, announced as APPENDLIMIT; 64 MiB, at most 1 GiB */
};

struct imap_session;
struct imap_session *imap_session_new(struct mdsq_store *store, const struct imap_limits *limits);
/*
 * A session of this process's own user, for the command line: it begins in authenticated state on the archive of that name,
 * says no greeting, knows no timeouts and no LOGIN. NULL with *err set if the archive cannot be opened.
 *
 *     s = imap_session_new_local(store, "mail", NULL, &err);
 *     imap_session_feed(s, "a EXAMINE INBOX\r\n", 17); ...
 */
struct imap_session *imap_session_new_local(struct mdsq_store *store, const char *archive, const struct imap_limits *limits,
                                            struct error *err);
/* Without this LOGIN and AUTHENTICATE are refused and LOGINDISABLED is announced. Call before the first run. */
void imap_session_allow_login(struct imap_session *s);
void imap_session_free(struct imap_session **s);
/* Takes as much as pipeline_bytes allows; returns bytes taken (less: stop reading until a run made room). */
size_t imap_session_feed(struct imap_session *s, const void *p, size_t n);
enum imap_run {
    IMAP_RUN_IDLE,  /* write what there is; needs input */
    IMAP_RUN_MORE,  /* write what there is, run again: output_high_bytes or the slice was reached */
    IMAP_RUN_CLOSE, /* write what there is, close */
    IMAP_RUN_PARKED, /* write what there is, run again after the wake callback was called (it may have been already) */
    IMAP_RUN_STARTTLS, /* write what there is in clear, do the handshake, imap_session_set_transport, run again; input fed so far is gone */
    IMAP_RUN_COMPRESS, /* write what there is, DEFLATE from then on both ways, also imap_session_take_input; run again */
    IMAP_RUN_WAIT,  /* write what there is, run again after imap_session_wait_ms: a failed login is answered late */
};
/* Works for at most about slice_ms (one read of the vault may take longer). May block on disk: not on an event loop. */
enum imap_run imap_session_run(struct imap_session *s);
uint32_t imap_session_wait_ms(const struct imap_session *s);
/* View, until the next run, wrote or shutdown. wrote says how much of it was taken. */
struct bytes imap_session_output(const struct imap_session *s);
void imap_session_wrote(struct imap_session *s, size_t n);
/*
 * The transport ends the session (idle, shutdown): adds "* BYE <text>" where the grammar allows one (never inside a
 * literal). Every later run returns IMAP_RUN_CLOSE. text: ASCII, one line, for the client.
 */
void imap_session_shutdown(struct imap_session *s, const char *text);
/*
 * How the session asks to be run again: from any thread, at any time until the session is freed, also while it runs or is idle (IDLE, NOTIFY: news
 * of the archive; a commit it waits for). wake must not block and may be called more often than needed. Without it a session that parks waits
 * for its commit inside run (tests, `mds fetch`).
 */
typedef void imap_wake_fn(void *arg);
void imap_session_set_wake(struct imap_session *s, imap_wake_fn *wake, void *arg);
bool imap_session_logged_in(const struct imap_session *s);
/* What it is at now, for metrics; IDLE goes over the others. Not while it runs. */
enum imap_session_kind { IMAP_SESSION_NONAUTH, IMAP_SESSION_AUTH, IMAP_SESSION_SELECTED, IMAP_SESSION_IDLE, IMAP_SESSION_KINDS };
enum imap_session_kind imap_session_kind(const struct imap_session *s);
/*
 * Hides capabilities from this client from now on (Outlook ENABLEs what it does not honour): names as CAPABILITY says them, separated by blanks or
 * commas, in any case. They are not announced and ENABLE passes over them; commands that they name still work. NULL: hides none. Copied.
 */
void imap_session_mask(struct imap_session *s, const char *names);
/* Called after each SEARCH, a line a call, with how it went (mdsq_search_explain); on the thread that runs the session. For the command line. */
typedef void imap_explain_fn(const char *line, void *arg);
void imap_session_explain(struct imap_session *s, imap_explain_fn *fn, void *arg);
/* Bytes of memory held by the session's own buffers, for tests and metrics. */
size_t imap_session_memory_bytes(const struct imap_session *s);

#endif

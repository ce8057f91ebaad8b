/*
 * imap_client: clients of the archive "mail" in a store of the test's own, each a session without a server. In an
 * answer that is expected "~" stands for any text of the line (ids, dates).
 *
 *     TestSuite(imap_x, .init = client_setup, .fini = client_teardown);
 *     struct client *c = client_new(NULL);
 *     fill(c);
 *     expect_one(c, "a NOOP\r\n", "a OK Completed\r\n");
 *     client_free(&c);
 *
 * Thread rule: one thread, but for `woken`. A failure fails the test.
 */
#ifndef IMAP_CLIENT_H
#define IMAP_CLIENT_H

#include "imap/imap.h"
#include "mds/query.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

struct client {
    struct imap_session *session;
    struct buf answer;
    atomic_bool woken;
};

extern struct mdsq_store *store;
extern char archive_dir[1200];

void client_setup(void);
void client_teardown(void);

struct client *client_new(const struct imap_limits *limits);
void client_free(struct client **c);

/* Of naps, a millisecond each at least: a limit for what hangs, not for what is slow. */
enum { NAPS_MAX = 60000 };
void nap(void);

/* Runs until the session is idle; what it says is added to its answer. */
void run(struct client *c);
/* The answer, NUL at its end, without what concerns \Recent; until the session runs again. */
const char *text_of(struct client *c);
/* What it answers to this alone. */
const char *say(struct client *c, const char *text);
const char *say_bytes(struct client *c, const void *p, size_t n);

/* "~" in the pattern is any text without a line end. */
bool is_like(const char *pattern, const char *text);

struct exchange {
    const char *say, *expect;
};
void expect_one(struct client *c, const char *what, const char *expect);
void expect_all(struct client *c, const struct exchange *table, size_t n);
#define EXPECT_ALL(c, table) expect_all(c, table, sizeof(table) / sizeof((table)[0]))
/* What comes by itself, sooner or later: all of the expected text. */
void expect_soon(struct client *c, const char *expect);

void append(struct client *c, const char *folder, const char *flags, const char *message);
extern const char plain[]; /* a message */
/* Five messages in INBOX, UIDs 1..5. */
void fill(struct client *c);

#define FLAGS_5 "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\r\n"
#define PERMANENT                                                                                                      \
    "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)] Flags permitted\r\n"

#endif

/*
 * error: how the project says that the world failed.
 *
 * Functions that can fail return enum base_err (0 is success) and take a
 * `struct error *` last. The struct is untouched on success and may be NULL.
 * The first failing layer calls error_set; each layer above adds its context
 * once with error_context ("archive mail: ..."). Our own bugs are ASSERTs, and
 * strange mail is no error at all (mime/defects.h).
 *
 * Thread rule: a struct error belongs to its caller.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdio.h>
#include <stdlib.h>

enum base_err {
    BASE_OK = 0,
    BASE_ERR_IO = -1,        /* a system call failed; sys holds errno */
    BASE_ERR_NOMEM = -2,     /* a quota or the machine's memory is spent */
    BASE_ERR_NOTFOUND = -3,  /* the thing named does not exist; nothing changed */
    BASE_ERR_EXISTS = -4,    /* it exists already; nothing changed */
    BASE_ERR_CORRUPT = -5,   /* stored bytes fail their check; the store stays readable elsewhere */
    BASE_ERR_FORMAT = -6,    /* not ours, or a format version or feature we do not know */
    BASE_ERR_LOCKED = -7,    /* another process holds it; try later */
    BASE_ERR_FULL = -8,      /* disk or map full; the transaction was aborted */
    BASE_ERR_READONLY = -9,  /* writing was asked of something read-only */
    BASE_ERR_LIMIT = -10,    /* input passes a documented limit */
    BASE_ERR_USAGE = -11,    /* the caller's arguments make no sense */
    BASE_ERR_GONE = -12,     /* an item vanished, shrank or changed in its vault */
    BASE_ERR_CANCELLED = -13,/* asked to stop */
    BASE_ERR_AUTH = -14,     /* login refused */
    BASE_ERR_SYNTAX = -15,   /* a query or a name does not parse */
    BASE_ERR_AGAIN = -16,    /* undone by a map that had to grow: replay the batch */
};

struct error {
    enum base_err code;
    int sys;        /* errno or LMDB's code, 0 if none */
    char text[480]; /* one line, no newline, says what to do where we know */
};

/* Sets *err (if not NULL) and returns code, so `return error_set(err, ...)`. */
int error_set(struct error *err, enum base_err code, int sys, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Same, appending ": strerror(errno)"; code BASE_ERR_IO unless errno says NOSPC (FULL) or ROFS (READONLY). */
int error_errno(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prefixes "context: " to the text. */
void error_context(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *base_err_name(enum base_err code); /* static string, "IO", "CORRUPT" ... */

/* Our bug, in every build: prints where and what, aborts. */
#define ASSERT(c)                                                                  \
    do {                                                                           \
        if (!(c)) {                                                                \
            fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", __FILE__, __LINE__, __func__, #c); \
            abort();                                                               \
        }                                                                          \
    } while (0)

#endif

/* Error text: one line, built once at the failing layer, prefixed on its way up. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Paths come from outside: a newline in one must not forge a second line. */
static void text_make_one_line(char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
    }
}

int error_set(struct error *err, enum base_err code, int sys, const char *fmt, ...)
{
    if (err) {
        va_list args;

        err->code = code;
        err->sys = sys;
        va_start(args, fmt);
        (void)vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        text_make_one_line(err->text);
    }
    return code;
}

static enum base_err code_of_errno(int sys)
{
    switch (sys) {
    case ENOSPC:
    case EDQUOT:
        return BASE_ERR_FULL;
    case EROFS:
        return BASE_ERR_READONLY;
    default:
        return BASE_ERR_IO;
    }
}

int error_errno(struct error *err, const char *fmt, ...)
{
    const int sys = errno;
    const enum base_err code = code_of_errno(sys);

    if (err) {
        char reason[128];
        va_list args;

        err->code = code;
        err->sys = sys;
        va_start(args, fmt);
        (void)vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        const size_t n = strlen(err->text);

        (void)snprintf(err->text + n, sizeof err->text - n, ": %s", strerror_r(sys, reason, sizeof reason));
        text_make_one_line(err->text);
    }
    return code;
}

void error_context(struct error *err, const char *fmt, ...)
{
    struct error old;
    va_list args;

    if (!err)
        return;
    old = *err;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    const size_t n = strlen(err->text);

    (void)snprintf(err->text + n, sizeof err->text - n, ": %s", old.text);
    text_make_one_line(err->text);
}

const char *base_err_name(enum base_err code)
{
    static const char *const names[] = {
        "OK",     "IO",       "NOMEM", "NOTFOUND", "EXISTS", "CORRUPT",   "FORMAT", "LOCKED", "FULL",
        "READONLY", "LIMIT", "USAGE", "GONE",     "CANCELLED", "AUTH", "SYNTAX", "AGAIN",
    };
    const int at = -(int)code;

    return at >= 0 && (size_t)at < sizeof names / sizeof names[0] ? names[at] : "UNKNOWN";
}

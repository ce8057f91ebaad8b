/* The sink is set once by a main before it starts threads, hence no lock. */
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#define LINE_MAX_BYTES 1024

static struct {
    log_sink *sink;
    void *arg;
    enum log_level max;
} installed;

void log_set_sink(log_sink *sink, void *arg, enum log_level max)
{
    installed.sink = sink;
    installed.arg = arg;
    installed.max = max;
}

void log_to(enum log_level level, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;

    if (!installed.sink || level > installed.max)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (char *p = line; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    }
    installed.sink(level, line, installed.arg);
}

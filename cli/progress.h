/*
 * progress: how a long command shows that it lives: a bar on a terminal, lines elsewhere, JSON lines on request.
 * Everything goes to standard error, so that results stay alone on standard output.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "indexer/indexer.h"

#include <stdbool.h>

enum progress_mode { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_PLAIN, PROGRESS_JSON };

struct progress {
    enum progress_mode mode;
    double shown_s;      /* when the last line was written */
    bool line_open;      /* a bar stands on the terminal's line */
    /* rates over the last seconds */
    double rate_items, rate_bytes;
    double last_s;
    uint64_t last_items, last_bytes;
};

/* "auto", "plain", "json", "none"; auto is a bar if standard error is a terminal, else plain. False: no such mode. */
bool progress_parse(const char *text, enum progress_mode *out);
/* An indexer_progress_fn; arg: struct progress. */
void progress_show(const struct indexer_progress *p, void *arg);
/* Clears the bar: before anything else is printed. */
void progress_end(struct progress *progress);
/* "12,345" into a buffer of 32 bytes. */
const char *progress_number(uint64_t n, char out[32]);

#endif

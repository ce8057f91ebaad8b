/*
 * event_log: where a server's log lines and its audit go. One line an event, `time level room: what: key=value ...`, or one JSON object.
 *
 * Values that are no plain words are quoted and escaped as in JSON, so that no name can end a line or make up a key. Lines are written whole, with one
 * write, to standard error or to files that are opened for appending; event_log_configure opens them anew, so that they may be moved away before.
 * Thread rule: any thread, any function but new and free.
 */
#ifndef CLI_EVENT_LOG_H
#define CLI_EVENT_LOG_H

#include "base/log.h"
#include "conf.h"

struct event_field {
    const char *key;
    const char *text; /* NULL: the number */
    uint64_t number;
};
#define EVENT_TEXT(k, v)   ((struct event_field){.key = (k), .text = (v) ? (v) : ""})
#define EVENT_NUMBER(k, v) ((struct event_field){.key = (k), .number = (v)})

struct event_log;
int event_log_new(const struct conf_log *settings, struct event_log **out, struct error *err);
/* With the same or other settings; on failure all stays as it was. */
int event_log_configure(struct event_log *log, const struct conf_log *settings, struct error *err);
void event_log_free(struct event_log **log);
/* A log_sink; arg is the log. */
void event_log_line(enum log_level level, const char *line, void *arg);
void event_log_event(struct event_log *log, enum log_level level, const char *what, const struct event_field *fields, size_t n);
/* To the audit file, if there is one. */
void event_log_audit(struct event_log *log, const char *what, const struct event_field *fields, size_t n);
/* One line, with its end; for tests. when: seconds and milliseconds since 1970. */
void event_log_format(bool json, int64_t when_ms, enum log_level level, const char *what, const struct event_field *fields, size_t n, struct buf *out);

#endif

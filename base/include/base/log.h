/*
 * log: libraries never print; they hand lines to the sink that a main installs.
 * Line form: `room: what: key=value ...`. No mail content above debug.
 * Thread rule: log_to may be called from any thread; log_set_sink before threads start.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

typedef void log_sink(enum log_level level, const char *line, void *arg);

void log_set_sink(log_sink *sink, void *arg, enum log_level max);
void log_to(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

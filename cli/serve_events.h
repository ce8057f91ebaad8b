/*
 * serve_events: what happens in the server, told to the log, the audit log and the metrics; and the masks that clients are given.
 *
 * Thread rule: the events are called from any thread; serve_events_configure from one at a time.
 */
#ifndef CLI_SERVE_EVENTS_H
#define CLI_SERVE_EVENTS_H

#include "conf.h"
#include "event_log.h"
#include "metrics.h"

struct serve_events;
/* log and metrics outlive it. */
struct serve_events *serve_events_new(struct event_log *log, struct metrics *metrics);
void serve_events_free(struct serve_events **e);
/* Masks of this configuration from now on; conf lives until the next one or the end. */
void serve_events_configure(struct serve_events *e, const struct conf *conf);
const struct imap_events *serve_events_of(const struct serve_events *e);

#endif

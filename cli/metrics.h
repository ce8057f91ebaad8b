/*
 * metrics: counters of a server, and the endpoint that tells them (OpenMetrics 1.0, GET /metrics).
 *
 * Counting: any thread, without a lock. The endpoint is a thread of its own with a libuv loop: at most 16 clients, 5 seconds and 4 KiB of request each.
 */
#ifndef CLI_METRICS_H
#define CLI_METRICS_H

#include "base/bytes.h"
#include "base/error.h"
#include "imap/server.h"

struct mdsq_store;
struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics **m);

void metrics_opened(struct metrics *m, bool tls);
void metrics_refused(struct metrics *m, enum imap_refused why);
void metrics_tls(struct metrics *m, bool resumed);
void metrics_login(struct metrics *m, const struct imap_login_event *e);
void metrics_command(struct metrics *m, const struct imap_command_event *e);
void metrics_reloaded(struct metrics *m, bool ok);

struct index_child;
/* Whose counters are told besides; NULL: nobody's. It must live until it is taken back or the endpoint is stopped. */
void metrics_set_indexing(struct metrics *m, struct index_child *child);

/* The exposition, "# EOF" included. */
void metrics_format(struct metrics *m, struct mdsq_store *store, const struct imap_server *imap, struct buf *out);

struct metrics_server;
/* address: HOST:PORT. *port_out: the port, if it was 0. Store and server must live until it is stopped. */
int metrics_serve(struct metrics *m, struct mdsq_store *store, const struct imap_server *imap, const char *address, struct metrics_server **out, unsigned *port_out, struct error *err);
void metrics_stop(struct metrics_server **server);

#endif

/*
 * operator: the server's configuration for commands of whoever operates it: its settings, and its audit log.
 *
 *     struct operator op = {0};
 *     if (operator_begin(config, &store, &op, &err) < 0) ...            // config may be NULL: then op says nothing anywhere
 *     operator_audit(&op, "audit: export", archive, fields, n);
 *     operator_end(&op);
 */
#ifndef CLI_OPERATOR_H
#define CLI_OPERATOR_H

#include "conf.h"
#include "event_log.h"

struct operator {
    struct conf *conf; /* NULL: none was given */
    struct event_log *log;
};
/*
 * Reads the configuration and opens its audit log, if it names one, for appending. *store: the path that it says, if it was NULL; owned by the
 * caller (g_free). On failure there is nothing to end.
 */
int operator_begin(const char *config, char **store, struct operator *out, struct error *err);
/*
 * What the configuration says of searches, for commands that change nothing and are audited nowhere: *store and *trace_fields, if they were NULL; owned
 * by the caller (g_free). *literal_out (may be NULL): text-headers is all; untouched without a configuration.
 */
int operator_search(const char *config, char **store, char **trace_fields, bool *literal_out, struct error *err);
/* A line with the operator's name and number, the archive and up to 5 fields more. */
void operator_audit(const struct operator *op, const char *what, const char *archive, const struct event_field *fields, size_t n);
void operator_end(struct operator *op);

#endif

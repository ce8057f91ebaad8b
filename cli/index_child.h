/*
 * index_child: background indexing of a server: a process of its own that runs `mds index --watch`, at idle priority,
 * and a thread that starts it again when it dies and counts what it has done. So nothing that it reads or holds in
 * memory is the server's.
 *
 *     struct index_child *child = index_child_start(store, &conf->search);
 *     index_child_configure(child, &conf->search); // after a reload
 *     index_child_counters(child, &counters);      // any thread
 *     index_child_stop(&child);
 */
#ifndef CLI_INDEX_CHILD_H
#define CLI_INDEX_CHILD_H

#include "conf.h"

struct index_child;

/* Returns at once; settings are copied. Without settings->index there is a thread that waits, and no process. */
struct index_child *index_child_start(const char *store, const struct conf_search *settings);
/* Whether it indexes, and how fast; trace_fields stay as they were. The process ends and another one goes on. Returns at
 * once. */
void index_child_configure(struct index_child *child, const struct conf_search *settings);
/* Ends process and thread; what was indexed stays. */
void index_child_stop(struct index_child **child);

struct index_child_counters {
    uint64_t items, failed, text_bytes; /* so far, by all processes */
    uint64_t starts;
    bool running;
};
void index_child_counters(const struct index_child *child, struct index_child_counters *out);

#endif

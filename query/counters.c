/* What a store of this process has done and holds, for metrics. */
#include "change.h"

#include <glib.h>

void mdsq_store_counters(struct mdsq_store *store, struct mdsq_counters *out)
{
    *out = (struct mdsq_counters){0};
    (void)pthread_mutex_lock(&store->lock);
    out->archives_idle = store->idle;
    out->archives_open = store->archives ? g_hash_table_size(store->archives) : 0;
    (void)pthread_mutex_unlock(&store->lock);
    out->snapshots = atomic_load_explicit(&store->generations, memory_order_relaxed);
    if (!store->writer)
        return;
    query_writer_counts(store, &out->changes, &out->commits);
    out->commit_us = query_writer_us(store);
}

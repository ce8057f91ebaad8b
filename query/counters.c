/* What a store of this process has done and holds, for metrics. */
#include "auth_private.h"
#include "change.h"

#include <glib.h>

/* Under the store's lock, so that none is closed meanwhile. */
static void count_maps(struct mdsq_store *store, struct mdsq_counters *out)
{
    GHashTableIter it;
    void *value = NULL;

    g_hash_table_iter_init(&it, store->archives);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        const struct mdsq_archive *a = value;
        struct mds_usage usage;

        mds_usage(a->env, &usage);
        out->map_bytes += usage.map_bytes;
        out->used_bytes += usage.used_bytes;
    }
}

static int archive_next(struct mds_catalogue *catalogue, const char *after, void *row, struct error *err)
{
    return mds_catalogue_archive_next(catalogue, after, row, err);
}

/* Whoever builds may be another process, and the archive not open in this one. */
static int archive_count(const void *row, void *arg)
{
    const struct mds_archive_info *info = row;
    struct mdsq_counters *out = arg;

    out->archives++;
    out->builds += mds_is_building(info->dir);
    return 0;
}

void mdsq_store_counters(struct mdsq_store *store, struct mdsq_counters *out)
{
    struct mds_archive_info info;
    const struct query_walk walk = {archive_next, archive_count, out};

    *out = (struct mdsq_counters){0};
    (void)pthread_mutex_lock(&store->lock);
    out->archives_idle = store->idle;
    out->archives_open = g_hash_table_size(store->archives);
    count_maps(store, out);
    struct query_auth *auth = store->auth;
    (void)pthread_mutex_unlock(&store->lock);
    if (auth) /* it lives as long as the store */
        query_auth_counts(auth, &out->logins_remembered, &out->logins_hashed);
    out->snapshots = atomic_load_explicit(&store->generations, memory_order_relaxed);
    if (store->writer)
        query_writer_counters(store, out);
    (void)query_store_walk(store, &walk, &info, NULL);
}

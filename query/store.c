/*
 * A store: its catalogue and the archives that this process has open.
 *
 * The catalogue is opened for reading; the first change of a user reopens it for writing, so that browsing works
 * on a read-only file system.
 */
#include "change.h"
#include "order.h"

#include <glib.h>

int query_store_catalogue(struct mdsq_store *store, bool write, struct mds_catalogue **out, struct error *err)
{
    if (store->catalogue && (!write || store->catalogue_writable)) {
        *out = store->catalogue;
        return BASE_OK;
    }
    mds_catalogue_close(&store->catalogue); /* one environment must not be opened twice in a process */

    int rc = mds_catalogue_open(store->dir, false, !write, &store->catalogue, err);

    if (rc < 0 && write) {
        struct mds_catalogue *readable = NULL;

        if (mds_catalogue_open(store->dir, false, true, &readable, NULL) == BASE_OK) {
            store->catalogue = readable;
            store->catalogue_writable = false;
        }
    } else if (rc >= 0) {
        store->catalogue_writable = write;
    }
    *out = store->catalogue;
    return rc;
}

int mdsq_store_open(const char *dir, unsigned flags, struct mdsq_store **out, struct mdsq_error *err)
{
    struct error e;
    struct mds_catalogue *catalogue = NULL;
    int rc;

    query_error_init(&e);
    *out = NULL;
    if (dir == NULL || flags & ~(unsigned)(MDSQ_STORE_WRITE | MDSQ_STORE_RELAXED | MDSQ_STORE_CREATE))
        return query_result(error_set(&e, BASE_ERR_USAGE, 0, "mdsq_store_open: no directory, or unknown flags"), &e,
                            err);
    mime_init();

    struct mdsq_store *store = g_new0(struct mdsq_store, 1);

    atomic_init(&store->refs, 1);
    store->dir = g_strdup(dir);
    store->flags = flags;
    (void)pthread_mutex_init(&store->lock, NULL);
    store->archives = g_hash_table_new(NULL, NULL);
    store->trace = mime_trace_new(bytes_str(mime_texts_trace_default));
    store->watcher = query_watcher_new();
    store->order_budget = query_order_budget_new();
    if (flags & MDSQ_STORE_WRITE)
        store->writer = query_writer_new();
    if (flags & MDSQ_STORE_CREATE) {
        rc = mds_catalogue_open(dir, true, false, &store->catalogue, &e);
        store->catalogue_writable = rc >= 0;
    } else {
        rc = query_store_catalogue(store, false, &catalogue, &e);
    }
    if (rc < 0) {
        error_context(&e, "store %s", dir);
        mdsq_store_close(&store);
        return query_result(rc, &e, err);
    }
    *out = store;
    return MDSQ_OK;
}

void mdsq_store_close(struct mdsq_store **store)
{
    struct mdsq_store *s = *store;

    *store = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    query_writer_free(&s->writer);
    query_watcher_free(&s->watcher);
    query_archive_forget_all(s);
    query_order_budget_unref(&s->order_budget);
    query_auth_free(&s->auth);
    mds_catalogue_close(&s->catalogue);
    mime_trace_free(&s->trace);
    (void)pthread_mutex_destroy(&s->lock);
    g_free(s->dir);
    g_free(s);
}

void mdsq_store_set_search(struct mdsq_store *store, const struct mdsq_search_settings *settings)
{
    mime_trace_free(&store->trace);
    store->trace = mime_trace_new(bytes_str(settings->trace_fields ? settings->trace_fields : mime_texts_trace_default));
    store->text_literal = settings->text_literal;
    store->no_text_index = settings->no_index;
}

/* Both rows of the catalogue begin with their name. */
_Static_assert(offsetof(struct mds_archive_info, name) == 0 && offsetof(struct mds_user, name) == 0 &&
                   sizeof((struct mds_archive_info *)0)->name == QUERY_CATALOGUE_NAME_BYTES &&
                   sizeof((struct mds_user *)0)->name == QUERY_CATALOGUE_NAME_BYTES,
               "query_store_walk takes the name from the row's begin");

int query_store_walk(struct mdsq_store *store, const struct query_walk *walk, void *row, struct mdsq_error *err)
{
    struct error e;
    char after[QUERY_CATALOGUE_NAME_BYTES] = "";
    int rc, stop = 0;

    query_error_init(&e);
    do {
        struct mds_catalogue *catalogue = NULL;

        (void)pthread_mutex_lock(&store->lock);
        rc = query_store_catalogue(store, false, &catalogue, &e);
        if (rc >= 0)
            rc = walk->next(catalogue, after[0] ? after : NULL, row, &e);
        (void)pthread_mutex_unlock(&store->lock);
        if (rc > 0) {
            memcpy(after, row, sizeof after);
            stop = walk->tell(row, walk->arg); /* outside the lock */
        }
    } while (rc > 0 && !stop);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

struct archive_listener {
    mdsq_name_fn *fn;
    void *arg;
};

static int archive_next(struct mds_catalogue *catalogue, const char *after, void *row, struct error *err)
{
    return mds_catalogue_archive_next(catalogue, after, row, err);
}

static int archive_tell(const void *row, void *arg)
{
    const struct mds_archive_info *info = row;
    const struct archive_listener *listener = arg;

    return listener->fn(info->name, listener->arg);
}

int mdsq_store_archives(struct mdsq_store *store, mdsq_name_fn *fn, void *arg, struct mdsq_error *err)
{
    struct mds_archive_info info;
    struct archive_listener listener = {fn, arg};
    const struct query_walk walk = {archive_next, archive_tell, &listener};

    return query_store_walk(store, &walk, &info, err);
}

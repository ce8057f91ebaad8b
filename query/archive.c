/*
 * The registry of opened archives: shared by reference; idle ones are kept, a bounded number of them, because
 * opening an environment costs far more than keeping it. The catalogue is asked at every open, and the file's
 * identity compared, so that a removed, disabled or rebuilt archive is noticed.
 */
#include "change.h"
#include "order.h"

#include <errno.h>
#include <glib.h>
#include <sys/stat.h>

static void archive_free(struct mdsq_archive *a)
{
    for (size_t i = 0; i < QUERY_SHARED_SETS_MAX; i++)
        query_uids_unref(&a->sets[i].uids);
    query_states_unref(&a->states);
    query_order_unref(&a->order);
    if (a->recent)
        g_hash_table_destroy(a->recent);
    query_vaults_release(a);
    mds_text_close(&a->text);
    mds_close(&a->env);
    (void)pthread_mutex_destroy(&a->lock);
    g_free(a);
}

/* ---- the registry; all with store.lock held ------------------------------------------------ */

static void idle_add(struct mdsq_store *store, struct mdsq_archive *a)
{
    a->idle_prev = NULL;
    a->idle_next = store->idle_first;
    if (a->idle_next)
        a->idle_next->idle_prev = a;
    else
        store->idle_last = a;
    store->idle_first = a;
    store->idle++;
}

static void idle_remove(struct mdsq_store *store, struct mdsq_archive *a)
{
    if (a->idle_next)
        a->idle_next->idle_prev = a->idle_prev;
    else
        store->idle_last = a->idle_prev;
    if (a->idle_prev)
        a->idle_prev->idle_next = a->idle_next;
    else
        store->idle_first = a->idle_next;
    a->idle_next = a->idle_prev = NULL;
    store->idle--;
}

static void idle_close(struct mdsq_store *store, struct mdsq_archive *a)
{
    idle_remove(store, a);
    (void)g_hash_table_remove(store->archives, GUINT_TO_POINTER(a->id));
    archive_free(a);
}

void query_archive_forget_all(struct mdsq_store *store)
{
    while (store->idle_first)
        idle_close(store, store->idle_first);
    if (store->archives) {
        ASSERT(g_hash_table_size(store->archives) == 0); /* users hold the store */
        g_hash_table_destroy(store->archives);
    }
}

void query_archive_forget(struct mdsq_store *store, uint32_t id)
{
    struct mdsq_archive *a = g_hash_table_lookup(store->archives, GUINT_TO_POINTER(id));

    if (a && a->refs == 0) {
        idle_close(store, a);
    } else if (a) {
        a->stale = true;
        (void)g_hash_table_remove(store->archives, GUINT_TO_POINTER(id));
    }
}

static int stat_environment(const char *dir, struct stat *st, struct error *err)
{
    char *path = g_strdup_printf("%s/data.mdb", dir);
    const int rc = stat(path, st);
    int result = BASE_OK;

    if (rc != 0)
        result = errno == ENOENT ? error_set(err, BASE_ERR_NOTFOUND, errno, "%s is missing: mds build makes it", path)
                                 : error_errno(err, "%s", path);
    g_free(path);
    return result;
}

/* An opened one that still is what the directory holds. */
static struct mdsq_archive *registry_find(struct mdsq_store *store, uint32_t id, const struct stat *st)
{
    struct mdsq_archive *a = g_hash_table_lookup(store->archives, GUINT_TO_POINTER(id));

    if (a == NULL || (a->dev == st->st_dev && a->ino == st->st_ino))
        return a;
    query_archive_forget(store, id);
    return NULL;
}

/* For writing if the store is; a store that can only be read (file system) is read. */
static int environment_open(const struct mdsq_store *store, const char *dir, struct mds_env **out, bool *writable_out,
                            struct error *err)
{
    struct mds_options options = {.read_only = !(store->flags & MDSQ_STORE_WRITE),
                                  .relaxed = (store->flags & MDSQ_STORE_RELAXED) != 0};
    int rc = mds_open(dir, &options, out, err);

    *writable_out = !options.read_only;
    if (rc != BASE_ERR_READONLY || options.read_only)
        return rc;
    *writable_out = false;
    options.read_only = true;
    options.relaxed = false;
    return mds_open(dir, &options, out, err);
}

static int archive_open_locked(struct mdsq_store *store, const char *name, struct mdsq_archive **out, struct error *err)
{
    struct mds_archive_info info;
    struct mds_catalogue *catalogue = NULL;
    struct stat st;
    int rc = query_store_catalogue(store, false, &catalogue, err);

    if (rc >= 0)
        rc = mds_catalogue_archive_find(catalogue, name, false, &info, err);
    if (rc >= 0 && !info.enabled)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "it is disabled");
    if (rc >= 0)
        rc = stat_environment(info.dir, &st, err);
    if (rc < 0)
        return rc;

    struct mdsq_archive *a = registry_find(store, info.id, &st);

    if (a == NULL) {
        a = g_new0(struct mdsq_archive, 1);
        a->states = query_states_new();
        (void)pthread_mutex_init(&a->lock, NULL);
        a->id = info.id;
        a->opened_s = query_os_now();
        a->dev = st.st_dev;
        a->ino = st.st_ino;
        g_strlcpy(a->name, info.name, sizeof a->name);
        rc = environment_open(store, info.dir, &a->env, &a->is_writable, err);
        if (rc < 0) {
            archive_free(a);
            return rc;
        }
        (void)g_hash_table_insert(store->archives, GUINT_TO_POINTER(a->id), a);
    } else if (a->refs == 0) {
        idle_remove(store, a);
    }
    atomic_store_explicit(&a->is_closed, false, memory_order_relaxed);
    if (a->refs++ == 0) {
        a->store = store;
        atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
    }
    *out = a;
    return BASE_OK;
}

int mdsq_archive_open(struct mdsq_store *store, const char *name, struct mdsq_archive **out, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *out = NULL;
    (void)pthread_mutex_lock(&store->lock);
    const int rc = archive_open_locked(store, name, out, &e);
    (void)pthread_mutex_unlock(&store->lock);
    if (rc < 0)
        error_context(&e, "archive %s", name);
    return query_result(rc, &e, err);
}

struct mdsq_archive *query_archive_ref(struct mdsq_archive *archive)
{
    struct mdsq_store *store = archive->store;

    (void)pthread_mutex_lock(&store->lock);
    archive->refs++;
    (void)pthread_mutex_unlock(&store->lock);
    return archive;
}

void mdsq_archive_close(struct mdsq_archive **archive)
{
    struct mdsq_archive *a = *archive;
    struct mdsq_archive *dead = NULL;

    *archive = NULL;
    if (a == NULL)
        return;

    struct mdsq_store *store = a->store;

    (void)pthread_mutex_lock(&store->lock);
    const bool last = --a->refs == 0;

    if (last && a->stale) {
        dead = a;
    } else if (last) {
        a->store = NULL;
        idle_add(store, a);
        if (store->idle > QUERY_IDLE_ARCHIVES_MAX)
            idle_close(store, store->idle_last);
    }
    /* Closing an environment under the lock keeps a second opening of the same file out meanwhile. */
    if (dead)
        archive_free(dead);
    (void)pthread_mutex_unlock(&store->lock);
    if (last)
        mdsq_store_close(&store);
}

int query_archive_check(struct mdsq_archive *archive, struct error *err)
{
    const int64_t now = (int64_t)(query_os_monotonic_us() / 1000000) + 1;
    struct mds_archive_info info;
    struct mds_catalogue *catalogue = NULL;
    int rc;

    if (atomic_load_explicit(&archive->looked_up_s, memory_order_relaxed) != now) {
        (void)pthread_mutex_lock(&archive->store->lock);
        rc = query_store_catalogue(archive->store, false, &catalogue, NULL);
        if (rc >= 0)
            rc = mds_catalogue_archive_find(catalogue, archive->name, false, &info, NULL);
        (void)pthread_mutex_unlock(&archive->store->lock);
        atomic_store_explicit(&archive->looked_up_s, now, memory_order_relaxed);
        if (rc >= 0 || rc == BASE_ERR_NOTFOUND) /* a catalogue that cannot be read closes nobody */
            atomic_store_explicit(&archive->is_closed, rc < 0 || !info.enabled || info.id != archive->id,
                                  memory_order_relaxed);
    }
    if (atomic_load_explicit(&archive->is_closed, memory_order_relaxed))
        return error_set(err, BASE_ERR_NOTFOUND, 0, "the archive was disabled or removed");
    return BASE_OK;
}

bool mdsq_archive_is_there(struct mdsq_archive *archive)
{
    return query_archive_check(archive, NULL) >= 0;
}

uint64_t mdsq_archive_tick(struct mdsq_archive *archive)
{
    return mds_last_txnid(archive->env);
}

/* Or the same. */
static bool is_older(const struct query_uids *a, const struct query_uids *than)
{
    return a->uidnext < than->uidnext || (a->uidnext == than->uidnext && a->count >= than->count);
}

/* Remembers the set for a while after its last session, as the next one may come soon. */
static void keep(struct mdsq_archive *archive, struct query_uids *uids)
{
    struct query_shared_set *slot = &archive->sets[0];
    struct query_uids *evicted;

    (void)pthread_mutex_lock(&archive->lock);
    for (size_t i = 0; i < QUERY_SHARED_SETS_MAX; i++) {
        struct query_shared_set *s = &archive->sets[i];

        /* An older set of the same folder is what nobody opens again. */
        if (s->uids && s->uids->folder == uids->folder && is_older(s->uids, uids)) {
            slot = s;
            break;
        }
        if (s->used < slot->used)
            slot = s;
    }
    evicted = slot->uids;
    *slot = (struct query_shared_set){++archive->sets_clock, query_uids_ref(uids)};
    (void)pthread_mutex_unlock(&archive->lock);
    query_uids_unref(&evicted);
}

int query_archive_uids(struct mdsq_archive *archive, struct mds_txn *txn, const struct mds_folder *folder,
                       struct query_uids **out, struct error *err)
{
    struct query_uids *uids = query_states_find(archive->states, folder);
    roaring_bitmap_t *bitmap = NULL;

    if (uids == NULL) {
        /* Loaded outside any lock: two threads may both do it once, neither waits for the other's disk. */
        const int rc = mds_set_load(txn, folder->id, MDS_SET_EXISTS, &bitmap, err);

        if (rc < 0)
            return rc;
        roaring_bitmap_run_optimize(bitmap);
        uids = query_states_add(archive->states, folder, query_uids_take(bitmap));
    }
    keep(archive, uids);
    *out = uids;
    return BASE_OK;
}

bool mdsq_archive_writable(const struct mdsq_archive *archive)
{
    return archive->is_writable;
}

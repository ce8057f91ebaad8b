/*
 * The registry of opened archives: shared by reference; idle ones are kept, a bounded number of them, because
 * opening an environment costs far more than keeping it. The catalogue is asked at every open, and the file's
 * identity compared, so that a removed, disabled or rebuilt archive is noticed.
 */
#include "query_private.h"

#include <errno.h>
#include <glib.h>
#include <sys/stat.h>

static void archive_free(struct mdsq_archive *a)
{
    for (size_t i = 0; i < QUERY_SHARED_SETS_MAX; i++)
        query_uids_unref(&a->sets[i].uids);
    query_vaults_release(a);
    mds_close(&a->env);
    (void)pthread_mutex_destroy(&a->lock);
    g_free(a);
}

/* Takes it off the list. Call with store.lock held. */
static void registry_unlink(struct mdsq_store *store, struct mdsq_archive *a)
{
    for (struct mdsq_archive **at = &store->archives; *at; at = &(*at)->next) {
        if (*at == a) {
            *at = a->next;
            a->next = NULL;
            return;
        }
    }
}

static void registry_push_front(struct mdsq_store *store, struct mdsq_archive *a)
{
    a->next = store->archives;
    store->archives = a;
}

void query_archive_forget_all(struct mdsq_store *store)
{
    while (store->archives) {
        struct mdsq_archive *a = store->archives;

        ASSERT(a->refs == 0); /* users hold the store */
        registry_unlink(store, a);
        archive_free(a);
    }
}

/* The least recently used idle archive is the last of the list without users. */
static struct mdsq_archive *registry_pop_idle(struct mdsq_store *store)
{
    struct mdsq_archive *last = NULL;

    for (struct mdsq_archive *a = store->archives; a; a = a->next) {
        if (a->refs == 0)
            last = a;
    }
    if (last) {
        registry_unlink(store, last);
        store->idle--;
    }
    return last;
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

/* An opened one that still is what the directory holds. Call with store.lock held. */
static struct mdsq_archive *registry_find(struct mdsq_store *store, uint32_t id, const struct stat *st)
{
    for (struct mdsq_archive *a = store->archives, *next; a; a = next) {
        next = a->next;
        if (a->id != id)
            continue;
        if (a->dev == st->st_dev && a->ino == st->st_ino)
            return a;
        registry_unlink(store, a);
        if (a->refs == 0) {
            store->idle--;
            archive_free(a);
        } else {
            a->stale = true;
        }
    }
    return NULL;
}

/* For writing if the store is; a store that can only be read (file system) is read. */
static int environment_open(const struct mdsq_store *store, const char *dir, struct mds_env **out, struct error *err)
{
    struct mds_options options = {.read_only = !(store->flags & MDSQ_STORE_WRITE),
                                  .relaxed = (store->flags & MDSQ_STORE_RELAXED) != 0};
    int rc = mds_open(dir, &options, out, err);

    if (rc != BASE_ERR_READONLY || options.read_only)
        return rc;
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
        (void)pthread_mutex_init(&a->lock, NULL);
        a->id = info.id;
        a->dev = st.st_dev;
        a->ino = st.st_ino;
        g_strlcpy(a->name, info.name, sizeof a->name);
        rc = environment_open(store, info.dir, &a->env, err);
        if (rc < 0) {
            archive_free(a);
            return rc;
        }
    } else {
        registry_unlink(store, a);
        if (a->refs == 0)
            store->idle--;
    }
    registry_push_front(store, a);
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
        if (++store->idle > QUERY_IDLE_ARCHIVES_MAX)
            dead = registry_pop_idle(store);
    }
    /* Closing an environment under the lock keeps a second opening of the same file out meanwhile. */
    if (dead)
        archive_free(dead);
    (void)pthread_mutex_unlock(&store->lock);
    if (last)
        mdsq_store_close(&store);
}

uint64_t mdsq_archive_tick(struct mdsq_archive *archive)
{
    return mds_last_txnid(archive->env);
}

int query_archive_uids(struct mdsq_archive *archive, struct mds_txn *txn, const struct mds_folder *folder,
                       struct query_uids **out, struct error *err)
{
    struct query_shared_set *oldest = &archive->sets[0];
    struct query_uids *uids = NULL, *evicted = NULL;
    roaring_bitmap_t *bitmap = NULL;

    (void)pthread_mutex_lock(&archive->lock);
    for (size_t i = 0; i < QUERY_SHARED_SETS_MAX && uids == NULL; i++) {
        struct query_shared_set *s = &archive->sets[i];

        if (s->uids && s->folder == folder->id && s->highestmodseq == folder->highestmodseq &&
            s->uidvalidity == folder->uidvalidity) {
            s->used = ++archive->sets_clock;
            uids = query_uids_ref(s->uids);
        }
    }
    (void)pthread_mutex_unlock(&archive->lock);
    if (uids) {
        *out = uids;
        return BASE_OK;
    }

    /* Loaded outside the lock: two threads may both do it once, neither waits for the other's disk. */
    const int rc = mds_set_load(txn, folder->id, MDS_SET_EXISTS, &bitmap, err);

    if (rc < 0)
        return rc;
    roaring_bitmap_run_optimize(bitmap);
    uids = query_uids_take(bitmap);
    (void)pthread_mutex_lock(&archive->lock);
    for (size_t i = 0; i < QUERY_SHARED_SETS_MAX; i++) {
        struct query_shared_set *s = &archive->sets[i];

        /* An older state of the same folder is what nobody opens again. */
        if (s->uids && s->folder == folder->id && s->highestmodseq <= folder->highestmodseq) {
            oldest = s;
            break;
        }
        if (s->used < oldest->used)
            oldest = s;
    }
    evicted = oldest->uids;
    *oldest = (struct query_shared_set){folder->id, folder->uidvalidity, folder->highestmodseq,
                                        ++archive->sets_clock, query_uids_ref(uids)};
    (void)pthread_mutex_unlock(&archive->lock);
    query_uids_unref(&evicted);
    *out = uids;
    return BASE_OK;
}

bool mdsq_archive_writable(const struct mdsq_archive *archive)
{
    return archive->store->flags & MDSQ_STORE_WRITE;
}

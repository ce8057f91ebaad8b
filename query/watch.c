/*
 * Watches: who wants to know that an archive was committed to. One thread a store looks at the last transaction id of every
 * watched archive each POLL_MS, and tells; this process's own commits wake it at once. Many commits in a row are one
 * news, and the writer never waits for those who are told. Without watches the thread sleeps.
 *
 * Watches are told under the watcher's lock, CHUNK at a time, so that mdsq_watch_free knows that none is being told when it has
 * the lock. A callback may not call the library (query.h), so it cannot meet the lock again.
 */
#include "change.h"

#include <errno.h>
#include <glib.h>
#include <time.h>

#define POLL_MS 50
#define CHUNK   256

struct mdsq_watch {
    struct mdsq_archive *archive; /* a reference */
    mdsq_watch_fn *fn;
    void *arg;
    struct mdsq_watch *next, **at;
};

struct query_watcher {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct mdsq_archive *archives; /* watched ones */
    struct mdsq_archive *looking;    /* the next one to look at */
    struct mdsq_archive *looking_at; /* the one whose watches are being told; NULL if its last one was freed */
    pthread_t thread;
    bool is_running, is_ending, has_news;
};

/* ---- the thread; all under the lock -------------------------------------------------------- */

static void tell(struct query_watcher *w, struct mdsq_archive *a)
{
    unsigned n = 0;

    a->telling = a->watches;
    while (a->telling) {
        struct mdsq_watch *watch = a->telling;

        a->telling = watch->next;
        watch->fn(watch->arg);
        if (++n % CHUNK == 0 && a->telling) { /* others may add and free; freeing the next one moves `telling` on */
            (void)pthread_mutex_unlock(&w->lock);
            (void)pthread_mutex_lock(&w->lock);
            if (w->looking_at != a)
                return; /* its last watch was freed */
        }
    }
}

static void look(struct query_watcher *w)
{
    w->has_news = false;
    for (struct mdsq_archive *a = w->archives; a; a = w->looking) {
        const uint64_t txnid = mds_last_txnid(a->env);

        w->looking = a->watched_next;
        if (txnid == a->told_txnid)
            continue;
        a->told_txnid = txnid;
        w->looking_at = a;
        tell(w, a);
        w->looking_at = NULL;
    }
    w->looking = NULL;
}

static struct timespec deadline(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_nsec += POLL_MS * 1000000L;
    if (ts.tv_nsec >= 1000000000L) {
        ts.tv_nsec -= 1000000000L;
        ts.tv_sec++;
    }
    return ts;
}

static void *watcher_main(void *arg)
{
    struct query_watcher *w = arg;

    (void)pthread_setname_np(pthread_self(), "mds-watcher");
    (void)pthread_mutex_lock(&w->lock);
    while (!w->is_ending) {
        look(w);
        if (w->archives == NULL) {
            (void)pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }

        const struct timespec until = deadline();

        while (!w->has_news && !w->is_ending && w->archives &&
               pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
            ;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct query_watcher *query_watcher_new(void)
{
    struct query_watcher *w = g_new0(struct query_watcher, 1);
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    return w;
}

void query_watcher_free(struct query_watcher **watcher)
{
    struct query_watcher *w = *watcher;

    *watcher = NULL;
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    ASSERT(w->archives == NULL); /* watches hold the store */
    w->is_ending = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    if (w->is_running)
        (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    g_free(w);
}

void query_watcher_news(struct mdsq_archive *archive)
{
    struct query_watcher *w = archive->store->watcher;

    (void)pthread_mutex_lock(&w->lock);
    if (archive->watches) {
        w->has_news = true;
        (void)pthread_cond_signal(&w->wake);
    }
    (void)pthread_mutex_unlock(&w->lock);
}

/* ---- watches ---------------------------------------------------------------------------------- */

static void link_watch(struct query_watcher *w, struct mdsq_watch *watch)
{
    struct mdsq_archive *a = watch->archive;

    if (a->watches == NULL) {
        a->told_txnid = mds_last_txnid(a->env);
        a->watched_next = w->archives;
        a->watched_at = &w->archives;
        if (a->watched_next)
            a->watched_next->watched_at = &a->watched_next;
        w->archives = a;
        if (a->watched_next == NULL) /* it slept */
            (void)pthread_cond_signal(&w->wake);
    }
    watch->next = a->watches;
    watch->at = &a->watches;
    if (watch->next)
        watch->next->at = &watch->next;
    a->watches = watch;
}

static void unlink_watch(struct query_watcher *w, struct mdsq_watch *watch)
{
    struct mdsq_archive *a = watch->archive;

    if (a->telling == watch)
        a->telling = watch->next;
    *watch->at = watch->next;
    if (watch->next)
        watch->next->at = watch->at;
    if (a->watches)
        return;
    if (w->looking == a)
        w->looking = a->watched_next;
    if (w->looking_at == a)
        w->looking_at = NULL;
    *a->watched_at = a->watched_next;
    if (a->watched_next)
        a->watched_next->watched_at = a->watched_at;
    a->watched_next = NULL;
    a->watched_at = NULL;
}

int mdsq_watch_new(struct mdsq_archive *archive, mdsq_watch_fn *fn, void *arg, struct mdsq_watch **out,
                   struct mdsq_error *err)
{
    struct query_watcher *w = archive->store->watcher;
    struct mdsq_watch *watch = g_new0(struct mdsq_watch, 1);
    struct error e;
    int rc = 0;

    query_error_init(&e);
    *out = NULL;
    (void)pthread_mutex_lock(&w->lock);
    if (!w->is_running)
        rc = pthread_create(&w->thread, NULL, watcher_main, w);
    w->is_running |= rc == 0;
    if (rc == 0) {
        watch->archive = archive;
        watch->fn = fn;
        watch->arg = arg;
        link_watch(w, watch);
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (rc != 0) {
        g_free(watch);
        return query_result(error_set(&e, BASE_ERR_NOMEM, rc, "no thread can be begun"), &e, err);
    }
    (void)query_archive_ref(archive); /* the caller has one, so it is not too late */
    *out = watch;
    return MDSQ_OK;
}

void mdsq_watch_free(struct mdsq_watch **watch)
{
    struct mdsq_watch *dead = *watch;

    *watch = NULL;
    if (dead == NULL)
        return;

    struct query_watcher *w = dead->archive->store->watcher;

    (void)pthread_mutex_lock(&w->lock);
    unlink_watch(w, dead);
    (void)pthread_mutex_unlock(&w->lock);
    mdsq_archive_close(&dead->archive);
    g_free(dead);
}

/*
 * Watches: who wants to know that an archive was committed to. One thread a store is told by inotify that a commit wrote an
 * archive's data.mdb, whichever process it was (LMDB writes by pwrite, and the meta page last), compares the last transaction id, and
 * tells. So thousands of quiet archives cost nothing. What inotify cannot watch is looked at each POLL_MS. Many commits in
 * a row are one news, and the writer never waits for those who are told. Without watches the thread sleeps.
 *
 * A reader begins at the transaction id that LMDB publishes right after the meta page is written: the thread waits SETTLE_US
 * before it looks, so that whoever it tells sees what was told (and a build's many writes wake it a bounded number of times).
 *
 * Watches are told under the watcher's lock, CHUNK at a time, so that mdsq_watch_free knows that none is being told when it has
 * the lock. A callback may not call the library (query.h), so it cannot meet the lock again.
 */
#include "change.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLL_MS   50
#define SETTLE_US 5000
#define CHUNK     256

struct mdsq_watch {
    struct mdsq_archive *archive; /* a reference */
    mdsq_watch_fn *fn;
    void *arg;
    struct mdsq_watch *next, **at;
};

struct query_watcher {
    pthread_mutex_t lock;
    int inotify, wake;              /* -1: there is none; an eventfd */
    GHashTable *by_wd;
    struct mdsq_archive *archives;  /* watched ones */
    unsigned polled;                /* of them without inotify */
    struct mdsq_archive *looking;    /* the next one to look at */
    struct mdsq_archive *looking_at; /* the one whose watches are being told; NULL if its last one was freed */
    pthread_t thread;
    bool is_running, is_ending;
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

/* How far a reader sees. A commit's number shows before the commit does, for as long as its last write takes. */
static uint64_t seen_txnid(struct mdsq_archive *a)
{
    struct mds_txn *txn = NULL;
    uint64_t id = a->told_txnid;

    if (mds_read_begin(a->env, &txn, NULL) >= 0)
        id = mds_txn_id(txn);
    mds_read_end(&txn);
    return id;
}

static void look_at(struct query_watcher *w, struct mdsq_archive *a)
{
    uint64_t txnid = mds_last_txnid(a->env);

    if (txnid == a->told_txnid || (txnid = seen_txnid(a)) == a->told_txnid)
        return;
    a->told_txnid = txnid;
    w->looking_at = a;
    tell(w, a);
    w->looking_at = NULL;
}

/* All of them, or those that inotify does not watch. */
static void look(struct query_watcher *w, bool all)
{
    for (struct mdsq_archive *a = w->archives; a; a = w->looking) {
        w->looking = a->watched_next;
        if (all || a->watched_wd < 0)
            look_at(w, a);
    }
    w->looking = NULL;
}

/* What inotify has to say. An event of a watch that was taken back finds nothing. */
static void read_events(struct query_watcher *w)
{
    _Alignas(struct inotify_event) char buffer[16384];
    ssize_t n;

    while ((n = read(w->inotify, buffer, sizeof buffer)) > 0) {
        for (const char *at = buffer; at < buffer + n;) {
            const struct inotify_event *event = (const void *)at;
            struct mdsq_archive *a = g_hash_table_lookup(w->by_wd, GINT_TO_POINTER(event->wd));

            if (event->mask & IN_Q_OVERFLOW)
                look(w, true);
            else if (a)
                look_at(w, a);
            at += sizeof *event + event->len;
        }
    }
}

static void *watcher_main(void *arg)
{
    struct query_watcher *w = arg;
    struct pollfd fds[2] = {{.fd = w->wake, .events = POLLIN}, {.fd = w->inotify, .events = POLLIN}};
    uint64_t count;

    (void)pthread_setname_np(pthread_self(), "mds-watcher");
    (void)pthread_mutex_lock(&w->lock);
    while (!w->is_ending) {
        const int timeout_ms = w->polled ? POLL_MS : -1;

        (void)pthread_mutex_unlock(&w->lock);
        fds[0].revents = fds[1].revents = 0;
        (void)poll(fds, 2, timeout_ms);
        if (fds[1].revents)
            (void)usleep(SETTLE_US);
        if (fds[0].revents)
            (void)!read(w->wake, &count, sizeof count);
        (void)pthread_mutex_lock(&w->lock);
        if (fds[1].revents)
            read_events(w);
        if (w->polled)
            look(w, false);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void wake_up(struct query_watcher *w)
{
    const uint64_t one = 1;

    (void)!write(w->wake, &one, sizeof one);
}

struct query_watcher *query_watcher_new(void)
{
    struct query_watcher *w = g_new0(struct query_watcher, 1);

    (void)pthread_mutex_init(&w->lock, NULL);
    w->inotify = w->wake = -1;
    w->by_wd = g_hash_table_new(NULL, NULL);
    return w;
}

/* With the first watch. */
static int watcher_begin(struct query_watcher *w)
{
    int rc;

    if (w->wake < 0)
        w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake < 0)
        return errno;
    if (w->inotify < 0)
        w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    rc = pthread_create(&w->thread, NULL, watcher_main, w);
    w->is_running = rc == 0;
    return rc;
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
    (void)pthread_mutex_unlock(&w->lock);
    if (w->is_running) {
        wake_up(w);
        (void)pthread_join(w->thread, NULL);
    }
    if (w->inotify >= 0)
        (void)close(w->inotify);
    if (w->wake >= 0)
        (void)close(w->wake);
    g_hash_table_destroy(w->by_wd);
    (void)pthread_mutex_destroy(&w->lock);
    g_free(w);
}

void query_watcher_news(struct mdsq_archive *archive)
{
    struct query_watcher *w = archive->store->watcher;

    (void)pthread_mutex_lock(&w->lock);
    if (archive->watches && archive->watched_wd < 0)
        wake_up(w);
    (void)pthread_mutex_unlock(&w->lock);
}

/* ---- watches ---------------------------------------------------------------------------------- */

/* The transaction id is read last: what is committed from then on is seen by an event or by a look. */
static void archive_begin(struct query_watcher *w, struct mdsq_archive *a)
{
    char *path = g_strdup_printf("%s/data.mdb", mds_dir(a->env));
    struct stat st;

    a->watched_wd = w->inotify < 0 ? -1 : inotify_add_watch(w->inotify, path, IN_MODIFY);
    /* A rebuilt archive's former file is not at that path any more: no event tells of it. */
    if (a->watched_wd >= 0 && (stat(path, &st) != 0 || st.st_dev != a->dev || st.st_ino != a->ino)) {
        if (!g_hash_table_contains(w->by_wd, GINT_TO_POINTER(a->watched_wd)))
            (void)inotify_rm_watch(w->inotify, a->watched_wd);
        a->watched_wd = -1;
    }
    if (a->watched_wd >= 0)
        (void)g_hash_table_insert(w->by_wd, GINT_TO_POINTER(a->watched_wd), a);
    else if (w->polled++ == 0)
        wake_up(w); /* it slept without end */
    a->told_txnid = seen_txnid(a);
    a->watched_next = w->archives;
    a->watched_at = &w->archives;
    if (a->watched_next)
        a->watched_next->watched_at = &a->watched_next;
    w->archives = a;
    g_free(path);
}

static void archive_end(struct query_watcher *w, struct mdsq_archive *a)
{
    if (a->watched_wd >= 0) {
        (void)g_hash_table_remove(w->by_wd, GINT_TO_POINTER(a->watched_wd));
        (void)inotify_rm_watch(w->inotify, a->watched_wd);
    } else {
        w->polled--;
    }
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

static void link_watch(struct query_watcher *w, struct mdsq_watch *watch)
{
    struct mdsq_archive *a = watch->archive;

    if (a->watches == NULL)
        archive_begin(w, a);
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
    if (a->watches == NULL)
        archive_end(w, a);
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
        rc = watcher_begin(w);
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

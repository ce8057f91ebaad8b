/*
 * The threads that write. Each archive has a queue of changes; an archive with work is taken by one thread at a time,
 * which does a turn: one transaction, in which it applies what waits and what arrives meanwhile, one sync, one commit,
 * then the callbacks in order. While it waits for the disk the next turn's changes gather: that is the group commit.
 *
 * A turn ends after TURN_US or TURN_CHANGES, so that a build's writer, and other archives of this store, get theirs.
 *
 * Every change is atomic though they share a transaction: one that fails before its first write is left out; one that
 * fails later makes the turn begin anew without it. BASE_ERR_AGAIN (the map grew) begins it anew with all.
 *
 * A change that is too large for a turn (DELETE of a large folder) is applied in parts, each of them committed; between
 * two parts all that waits has its turn.
 */
#include "change.h"

#include <glib.h>

#define WRITER_THREADS 4
#define TURN_US        20000
#define TURN_CHANGES   4096
#define REPLAYS_MAX    64    /* for a map that grows; each change that fails costs one more */
#define PRUNE_EVERY    8192  /* changed messages of an archive between two looks at the logs, at most */
#define LOG_ROWS       100000 /* rows kept a folder and log, if nothing else is set */
#define PRUNE_LIMIT    32768
#define PART_PAUSE_NS  1000000 /* between two parts of a change: another process that waits gets the lock */

struct query_writer {
    pthread_mutex_t lock;
    pthread_cond_t work; /* something is ready, or the end */
    pthread_cond_t done; /* changes were done */
    struct mdsq_archive *ready_first, *ready_last;
    pthread_t threads[WRITER_THREADS];
    unsigned threads_n, idle, ready_n;
    bool is_ending;
    uint64_t changes, commits, commit_us;
    uint64_t buckets[MDSQ_COMMIT_BUCKETS];
    atomic_uint_fast64_t log_rows;
};

static const uint64_t bucket_us[MDSQ_COMMIT_BUCKETS] = {500,    1000,   2500,   5000,    10000,   25000,     50000,
                                                        100000, 250000, 500000, 1000000, 2500000, UINT64_MAX};

/* ---- queues; all under the writer's lock ------------------------------------------------- */

static void ready_push(struct query_writer *w, struct mdsq_archive *a)
{
    a->is_ready = true;
    a->ready_next = NULL;
    if (w->ready_last)
        w->ready_last->ready_next = a;
    else
        w->ready_first = a;
    w->ready_last = a;
    w->ready_n++;
}

static struct mdsq_archive *ready_pop(struct query_writer *w)
{
    struct mdsq_archive *a = w->ready_first;

    if (a) {
        w->ready_first = a->ready_next;
        if (w->ready_first == NULL)
            w->ready_last = NULL;
        a->is_ready = false;
        w->ready_n--;
    }
    return a;
}

static struct mdsq_change *queue_pop(struct mdsq_archive *a)
{
    struct mdsq_change *c = a->queue_first;

    if (c) {
        a->queue_first = c->next;
        if (a->queue_first == NULL)
            a->queue_last = NULL;
        c->next = NULL;
    }
    return c;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

struct batch {
    struct query_writer *writer;
    struct mdsq_archive *archive;
    struct mdsq_change *first, *last;
    size_t n;
    uint64_t began_us;
    bool is_full;
};

/* The next change: of the batch, else a new one from the queue. `at`: the one before, NULL at the begin. */
static struct mdsq_change *batch_next(struct batch *b, struct mdsq_change *at)
{
    struct mdsq_change *c = at ? at->next : b->first;

    if (c || b->is_full)
        return c;
    b->is_full = b->n >= TURN_CHANGES || (b->n && query_os_monotonic_us() - b->began_us > TURN_US);
    if (b->is_full)
        return NULL;
    (void)pthread_mutex_lock(&b->writer->lock);
    c = queue_pop(b->archive);
    (void)pthread_mutex_unlock(&b->writer->lock);
    if (c == NULL)
        return NULL;
    if (b->last)
        b->last->next = c;
    else
        b->first = c;
    b->last = c;
    b->n++;
    return c;
}

static void change_fail(struct mdsq_change *c, int rc, const struct error *e)
{
    c->failed = true;
    c->rc = rc;
    c->error = *e;
    change_result_reset(&c->result);
}

static void turn_end(struct turn *t)
{
    segment_writer_close(&t->segments);
    g_free(t->items);
    t->items = NULL;
    t->items_n = t->items_cap = 0;
}

/* 1: the turn must begin anew, 0: all that could be was applied. */
static int turn_apply(struct turn *t, struct batch *b)
{
    struct error e;

    for (struct mdsq_change *c = NULL; (c = batch_next(b, c)) != NULL;) {
        if (c->failed)
            continue;
        query_error_init(&e);
        change_result_reset(&c->result);
        t->is_mutated = false;
        c->has_more = false;
        const int rc = change_apply(t, c, &e);

        if (rc == BASE_ERR_AGAIN)
            return 1;
        if (rc < 0)
            change_fail(c, rc, &e);
        if (rc < 0 && t->is_mutated)
            return 1;
    }
    return 0;
}

/* The log of the folder that was touched last is cut when its archive has seen so many changes that it may have grown by an eighth. */
static int prune(struct turn *t, uint64_t log_rows, struct error *err)
{
    const uint64_t every = MIN(log_rows / 8 + 1, PRUNE_EVERY);
    int rc;

    t->archive->pruned_messages += t->messages;
    if (t->messages == 0 || t->archive->pruned_messages < every)
        return BASE_OK;
    t->archive->pruned_messages = 0;
    rc = mds_log_prune(t->txn, t->folder, log_rows, PRUNE_LIMIT, err);
    return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc; /* it was deleted */
}

static int turn_finish(struct turn *t, uint64_t log_rows, struct error *err)
{
    struct mds_segments at;
    int rc = BASE_OK;

    if (t->segments) {
        rc = segment_writer_sync(t->segments, &at.active, &at.tail, err);
        if (rc >= 0)
            rc = mds_segments_put(t->txn, &at, err);
    }
    if (rc >= 0)
        rc = prune(t, log_rows, err);
    if (rc >= 0)
        return mds_write_commit(&t->txn, err);
    return rc;
}

/* One attempt. BASE_ERR_AGAIN: another one. */
static int turn_try(struct batch *b, struct error *err)
{
    struct turn t = {.archive = b->archive, .now = query_os_now()};
    int rc = mds_write_begin(b->archive->env, &t.txn, err);

    if (rc < 0) { /* all that wait are told, so that none waits as long again */
        for (struct mdsq_change *c = NULL; (c = batch_next(b, c)) != NULL;)
            ;
        return rc;
    }
    rc = turn_apply(&t, b) ? BASE_ERR_AGAIN : turn_finish(&t, atomic_load_explicit(&b->writer->log_rows, memory_order_relaxed), err);
    mds_write_abort(&t.txn);
    turn_end(&t);
    return rc;
}

static void count_us(struct query_writer *w, uint64_t us)
{
    size_t i = 0;

    while (us > bucket_us[i])
        i++;
    w->buckets[i]++;
    w->commit_us += us;
}

/* Changes of which only a part was done leave the batch, into the one that is returned. */
static struct batch batch_split(struct batch *b)
{
    struct batch done = *b, parts = *b;

    done.first = done.last = parts.first = parts.last = NULL;
    done.n = parts.n = 0;
    for (struct mdsq_change *c = b->first, *next; c; c = next) {
        struct batch *to = c->has_more && !c->failed ? &parts : &done;

        next = c->next;
        c->next = NULL;
        if (to->last)
            to->last->next = c;
        else
            to->first = c;
        to->last = c;
        to->n++;
    }
    *b = done;
    return parts;
}

/* Behind what waits; under the writer's lock. */
static void queue_parts(struct mdsq_archive *a, const struct batch *parts)
{
    if (parts->n == 0)
        return;
    if (a->queue_last)
        a->queue_last->next = parts->first;
    else
        a->queue_first = parts->first;
    a->queue_last = parts->last;
}

static void turn(struct query_writer *w, struct mdsq_archive *a)
{
    struct batch b = {.writer = w, .archive = a, .began_us = query_os_monotonic_us()};
    struct error e;
    size_t attempts = 0;
    int rc;

    do {
        query_error_init(&e);
        rc = turn_try(&b, &e);
    } while (rc == BASE_ERR_AGAIN && attempts++ < REPLAYS_MAX + b.n);
    if (rc == BASE_ERR_AGAIN)
        rc = error_set(&e, BASE_ERR_FULL, 0, "the store's map cannot grow enough for this change");
    for (struct mdsq_change *c = b.first; c; c = c->next) {
        if (rc < 0 && !c->failed)
            change_fail(c, rc, &e);
    }

    const struct batch parts = batch_split(&b);

    if (rc >= 0)
        query_watcher_news(a);
    for (struct mdsq_change *c = b.first; c; c = c->next) {
        if (c->done)
            c->done(c->done_arg);
    }
    if (parts.n)
        (void)nanosleep(&(struct timespec){.tv_nsec = PART_PAUSE_NS}, NULL);

    /* From here on the changes are their makers', who may free them, and the archive with the last. */
    (void)pthread_mutex_lock(&w->lock);
    for (struct mdsq_change *c = b.first, *next; c; c = next) {
        next = c->next;
        c->state = CHANGE_DONE;
    }
    w->changes += b.n;
    w->commits++;
    count_us(w, query_os_monotonic_us() - b.began_us);
    a->is_writing = false;
    queue_parts(a, &parts);
    if (a->queue_first)
        ready_push(w, a);
    (void)pthread_cond_broadcast(&w->done);
    (void)pthread_mutex_unlock(&w->lock);
}

static void *writer_main(void *arg)
{
    struct query_writer *w = arg;

    (void)pthread_setname_np(pthread_self(), "mds-writer");
    (void)pthread_mutex_lock(&w->lock);
    while (!w->is_ending) {
        struct mdsq_archive *a = ready_pop(w);

        if (a == NULL) {
            w->idle++;
            (void)pthread_cond_wait(&w->work, &w->lock);
            w->idle--;
            continue;
        }
        a->is_writing = true;
        (void)pthread_mutex_unlock(&w->lock);
        turn(w, a);
        (void)pthread_mutex_lock(&w->lock);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- making and ending --------------------------------------------------------------------------- */

struct query_writer *query_writer_new(void)
{
    struct query_writer *w = g_new0(struct query_writer, 1);

    atomic_init(&w->log_rows, LOG_ROWS);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->work, NULL);
    (void)pthread_cond_init(&w->done, NULL);
    return w;
}

void query_writer_free(struct query_writer **writer)
{
    struct query_writer *w = *writer;

    *writer = NULL;
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    ASSERT(w->ready_first == NULL); /* changes hold the store */
    w->is_ending = true;
    (void)pthread_cond_broadcast(&w->work);
    (void)pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->threads_n; i++)
        (void)pthread_join(w->threads[i], NULL);
    (void)pthread_cond_destroy(&w->done);
    (void)pthread_cond_destroy(&w->work);
    (void)pthread_mutex_destroy(&w->lock);
    g_free(w);
}

void query_writer_counts(struct mdsq_store *store, uint64_t *changes_out, uint64_t *commits_out)
{
    struct query_writer *w = store->writer;

    (void)pthread_mutex_lock(&w->lock);
    *changes_out = w->changes;
    *commits_out = w->commits;
    (void)pthread_mutex_unlock(&w->lock);
}

void query_writer_counters(struct mdsq_store *store, struct mdsq_counters *out)
{
    struct query_writer *w = store->writer;

    (void)pthread_mutex_lock(&w->lock);
    out->changes = w->changes;
    out->commits = w->commits;
    out->commit_us = w->commit_us;
    for (size_t i = 0; i < MDSQ_COMMIT_BUCKETS; i++) {
        out->commit_buckets[i].us = bucket_us[i];
        out->commit_buckets[i].n = w->buckets[i];
    }
    (void)pthread_mutex_unlock(&w->lock);
}

void mdsq_store_configure(struct mdsq_store *store, const struct mdsq_store_settings *settings)
{
    if (store->writer)
        atomic_store_explicit(&store->writer->log_rows, settings->log_rows ? settings->log_rows : LOG_ROWS, memory_order_relaxed);
}

/* Wakes a thread for one more archive, or begins one. False: there is none and none can be begun. */
static bool thread_call(struct query_writer *w)
{
    if (w->idle > w->ready_n) {
        (void)pthread_cond_signal(&w->work);
        return true;
    }
    if (w->threads_n < WRITER_THREADS &&
        pthread_create(&w->threads[w->threads_n], NULL, writer_main, w) == 0)
        w->threads_n++;
    return w->threads_n > 0;
}

int mdsq_change_submit(struct mdsq_change *c, mdsq_done_fn *done, void *arg)
{
    struct mdsq_archive *a = c->archive;
    struct query_writer *w = a->store->writer;
    int rc = MDSQ_OK;

    (void)pthread_mutex_lock(&w->lock);
    if (c->state != CHANGE_NEW) {
        (void)pthread_mutex_unlock(&w->lock);
        return MDSQ_ERR_USAGE;
    }
    if (!a->is_writing && !a->is_ready && !thread_call(w)) {
        rc = MDSQ_ERR_NOMEM;
    } else {
        c->state = CHANGE_QUEUED;
        c->done = done;
        c->done_arg = arg;
        if (a->queue_last)
            a->queue_last->next = c;
        else
            a->queue_first = c;
        a->queue_last = c;
        if (!a->is_writing && !a->is_ready)
            ready_push(w, a);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return rc;
}

static void wait_until_done(struct mdsq_change *c)
{
    struct query_writer *w = c->archive->store->writer;

    (void)pthread_mutex_lock(&w->lock);
    while (c->state == CHANGE_QUEUED)
        (void)pthread_cond_wait(&w->done, &w->lock);
    (void)pthread_mutex_unlock(&w->lock);
}

int mdsq_change_wait(struct mdsq_change *c, struct mdsq_error *err)
{
    struct mdsq_outcome outcome;
    const int rc = mdsq_change_submit(c, NULL, NULL);

    if (rc < 0) {
        struct error e = {0};

        return query_result(rc, &e, err);
    }
    wait_until_done(c);
    return mdsq_change_outcome(c, &outcome, err);
}

void mdsq_change_free(struct mdsq_change **change)
{
    struct mdsq_change *c = *change;

    *change = NULL;
    if (c == NULL)
        return;
    wait_until_done(c);
    change_result_reset(&c->result);
    query_uids_unref(&c->uids);
    buf_release(&c->name);
    buf_release(&c->to);
    change_flags_release(&c->flags);
    for (size_t i = 0; i < c->messages_n; i++) {
        mdsq_draft_free(&c->messages[i].draft);
        change_flags_release(&c->messages[i].flags);
    }
    g_free(c->messages);
    mdsq_archive_close(&c->archive);
    g_free(c);
}

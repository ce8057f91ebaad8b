/*
 * index: fills an archive's content index.
 *
 * Threads take runs of item ids in turn; each has its own snapshot, its own batch and commits it when it is full, so
 * what is in memory is bounded by batch_bytes and nothing orders them but LMDB's writer lock. Ids that no item has any
 * more are put down as indexed without a term: then "all is indexed" is a matter of counting. What cannot be read stays
 * out and is looked at by each search.
 */
#include "index_private.h"

#include "archive_private.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOBS_MAX        64u
#define RUN_ITEMS       1024u /* ids that a thread takes at a time */
#define SNAPSHOT_ITEMS  64u   /* read in one snapshot */
#define BATCH_BYTES     ((size_t)256 << 20)
#define BATCH_BYTES_MIN ((size_t)1 << 20)
#define MERGE_COMMITS   8u /* after so many segments a merge is tried */
#define INDEX_LOCK      "index.lock"
#define LOOK_NS         INT64_C(1000000000)

struct index_run {
    const struct indexer_index *index;
    struct index_archive archive;
    struct mds_text *text;
    roaring_bitmap_t *before; /* indexed when the run began */
    uint64_t end;             /* first id that is not given yet */
    uint64_t planned;
    unsigned jobs;
    size_t batch_bytes; /* of one thread */
    int64_t began_ns, looked_ns;
    atomic_uint_fast64_t next; /* the next run of ids begins here */
    atomic_uint_fast64_t tried, items, failed, text_bytes, commits;
    atomic_uint working;
    atomic_bool stop;     /* somebody failed, or was cancelled */
    pthread_mutex_t lock; /* guards what follows */
    int rc;
    struct error err;
    char last_failure[256];
};

struct index_thread {
    struct index_run *run;
    pthread_t id;
    struct index_reader reader;
    struct mds_text_batch *batch;
    uint64_t pending_items, pending_bytes; /* in the batch: counted when they are durable */
};

static bool is_stopped(const struct index_run *run)
{
    return atomic_load_explicit(&run->stop, memory_order_relaxed) || (run->index->at.cancel && *run->index->at.cancel);
}

static void fail(struct index_run *run, int rc, const struct error *err)
{
    pthread_mutex_lock(&run->lock);
    if (run->rc == 0) {
        run->rc = rc;
        run->err = *err;
    }
    pthread_mutex_unlock(&run->lock);
    atomic_store_explicit(&run->stop, true, memory_order_relaxed);
}

/* Is the archive still there, and wanted? On the caller's thread, now and then. What is removed meanwhile keeps its
 * bytes on the disk as long as we have them open. */
static void look_around(struct index_run *run)
{
    const int64_t now = indexer_monotonic_ns();
    struct error why = {0};
    if (now - run->looked_ns < LOOK_NS)
        return;
    run->looked_ns = now;
    if (!mds_is_in_place(run->archive.env))
        fail(run, error_set(&why, BASE_ERR_GONE, 0, "the archive was removed, or another one took its place"), &why);
    else if (run->index->wanted && !run->index->wanted(run->index->wanted_arg))
        fail(run, error_set(&why, BASE_ERR_CANCELLED, 0, "the archive is not wanted any more"), &why);
}

/* What stopped the run says why. */
static int result_of(struct index_run *run, int rc, struct error *err)
{
    if (run->rc == 0 || (rc < 0 && rc != BASE_ERR_CANCELLED))
        return rc;
    *err = run->err;
    return run->rc;
}

static void item_failed(struct index_run *run, uint64_t item, const struct error *why)
{
    atomic_fetch_add_explicit(&run->failed, 1, memory_order_relaxed);
    pthread_mutex_lock(&run->lock);
    snprintf(run->last_failure, sizeof run->last_failure, "item %" PRIu64 ": %.200s", item, why->text);
    pthread_mutex_unlock(&run->lock);
}

/* ---- a thread ---------------------------------------------------------------------------------------- */

static int commit(struct index_thread *t, struct error *err)
{
    struct index_run *run = t->run;
    if (mds_text_batch_items(t->batch) == 0)
        return 0;
    int rc = mds_text_commit(run->text, t->batch, err);
    if (rc < 0)
        return rc;
    atomic_fetch_add_explicit(&run->items, t->pending_items, memory_order_relaxed);
    atomic_fetch_add_explicit(&run->text_bytes, t->pending_bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&run->commits, 1, memory_order_relaxed);
    t->pending_items = t->pending_bytes = 0;
    return 0;
}

static int add_item(struct index_thread *t, const struct mds_item *item, struct error *err)
{
    struct error why = {0};
    uint64_t bytes = 0;
    atomic_fetch_add_explicit(&t->run->tried, 1, memory_order_relaxed);
    int rc = index_reader_open(&t->reader, item, &why);
    if (rc == 0) {
        mds_text_batch_begin(t->batch, item->id, filing_text_tag(&item->hash));
        rc = index_reader_batch(&t->reader, t->batch, &bytes, &why);
        if (rc < 0) /* it could be read a moment ago; the batch holds half of it */
            mds_text_batch_reset(t->batch);
    }
    index_reader_close(&t->reader);
    if (rc == 0) {
        t->pending_items++;
        t->pending_bytes += bytes;
        return 0;
    }
    if (!index_is_items_own(rc)) {
        if (err)
            *err = why;
        return rc;
    }
    item_failed(t->run, item->id, &why);
    if (mds_text_batch_items(t->batch) == 0)
        t->pending_items = t->pending_bytes = 0;
    return 0;
}

/* Somebody may wish for no more than so many items a second. */
static void hold_rate(const struct index_run *run)
{
    const double max = run->index->max_rate;
    while (max > 0 && !is_stopped(run)) {
        const double done = (double)atomic_load_explicit(&run->tried, memory_order_relaxed);
        const double seconds = (double)(indexer_monotonic_ns() - run->began_ns) / 1e9;
        if (done / max <= seconds + 0.05)
            return;
        indexer_sleep_ms(20);
    }
}

/* Ids [from, to): in one snapshot. */
static int add_items(struct index_thread *t, uint64_t from, uint64_t to, struct error *err)
{
    const struct index_run *run = t->run;
    if (roaring_bitmap_range_cardinality(run->before, from, to) == to - from)
        return 0;
    int rc = mds_read_renew(t->reader.txn, err);
    while (rc >= 0 && from < to && !is_stopped(run)) {
        struct mds_item item;
        if (roaring_bitmap_contains(run->before, (uint32_t)from)) {
            from++;
            continue;
        }
        rc = mds_item_next(t->reader.txn, from, &item, err);
        const uint64_t found = rc > 0 && item.id < to ? item.id : to;
        for (; rc >= 0 && from < found; from++) {
            if (!roaring_bitmap_contains(run->before, (uint32_t)from))
                mds_text_batch_begin(t->batch, from, 0);
        }
        if (rc < 0 || found == to || roaring_bitmap_contains(run->before, (uint32_t)found))
            continue;
        rc = add_item(t, &item, err);
        from = found + 1;
        if (rc >= 0 && mds_text_batch_bytes(t->batch) >= run->batch_bytes)
            rc = commit(t, err);
    }
    return rc < 0 ? rc : 0;
}

static void *work(void *arg)
{
    struct index_thread *t = arg;
    struct index_run *run = t->run;
    struct error err = {0};
    int rc = index_reader_begin(&run->archive, &t->reader, &err);
    t->batch = mds_text_batch_new();
    while (rc >= 0 && !is_stopped(run)) {
        const uint64_t width = run->index->max_rate > 0 ? SNAPSHOT_ITEMS : RUN_ITEMS;
        uint64_t from = atomic_fetch_add_explicit(&run->next, width, memory_order_relaxed);
        const uint64_t to = from + width < run->end ? from + width : run->end;
        if (from >= run->end)
            break;
        for (; rc >= 0 && from < to; from += SNAPSHOT_ITEMS) {
            hold_rate(run);
            rc = add_items(t, from, from + SNAPSHOT_ITEMS < to ? from + SNAPSHOT_ITEMS : to, &err);
        }
    }
    if (rc >= 0)
        rc = commit(t, &err);
    if (rc < 0)
        fail(run, rc, &err);
    mds_text_batch_free(&t->batch);
    index_reader_end(&t->reader);
    atomic_fetch_sub_explicit(&run->working, 1, memory_order_release);
    return NULL;
}

/* ---- the caller's thread --------------------------------------------------------------------------- */

static void show(const struct index_run *run, const char *phase)
{
    if (!run->index->progress)
        return;
    const struct indexer_progress p = {
        .archive = run->index->at.archive,
        .phase = phase,
        .items_done = atomic_load_explicit(&run->items, memory_order_relaxed),
        .items_planned = run->planned,
        .planned_all = true,
        .bytes_done = atomic_load_explicit(&run->text_bytes, memory_order_relaxed),
        .failed = atomic_load_explicit(&run->failed, memory_order_relaxed),
        .seconds = (double)(indexer_monotonic_ns() - run->began_ns) / 1e9,
    };
    run->index->progress(&p, run->index->progress_arg);
}

static bool stop_merge(void *arg)
{
    struct index_run *run = arg;
    show(run, "merge");
    look_around(run);
    return is_stopped(run);
}

/* One step; another one that merges is as good. */
static int merge_step(struct index_run *run, bool all, bool *more, struct error *err)
{
    const struct mds_text_merge_options options = {.all = all, .stop = stop_merge, .arg = run};
    *more = false;
    int rc = mds_text_merge(run->text, &options, more, err);
    if (rc == BASE_ERR_LOCKED) {
        *more = false;
        return 0;
    }
    return rc == BASE_ERR_CANCELLED ? error_set(err, rc, 0, INDEXER_STOPPED) : rc;
}

static int work_all(struct index_run *run, struct error *err)
{
    struct index_thread *threads = calloc(run->jobs, sizeof *threads);
    uint64_t merged_at = 0;
    bool more = false;
    int rc = 0;
    ASSERT(threads);
    atomic_store(&run->working, run->jobs);
    for (unsigned i = 0; i < run->jobs; i++) {
        threads[i].run = run;
        ASSERT(pthread_create(&threads[i].id, NULL, work, &threads[i]) == 0);
    }
    while (atomic_load_explicit(&run->working, memory_order_acquire) > 0) {
        const uint64_t commits = atomic_load_explicit(&run->commits, memory_order_relaxed);
        show(run, "index");
        look_around(run);
        if (rc == 0 && (more || commits >= merged_at + MERGE_COMMITS) && !is_stopped(run)) {
            merged_at = commits;
            rc = merge_step(run, false, &more, err);
            if (rc < 0)
                atomic_store_explicit(&run->stop, true, memory_order_relaxed);
            continue;
        }
        indexer_sleep_ms(INDEXER_PROGRESS_MS / 4);
    }
    for (unsigned i = 0; i < run->jobs; i++)
        pthread_join(threads[i].id, NULL);
    free(threads);
    rc = result_of(run, rc, err);
    if (rc == 0 && run->index->at.cancel && *run->index->at.cancel)
        rc = error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
    return rc;
}

static int merge_all(struct index_run *run, struct error *err)
{
    bool more = true;
    int rc = 0;
    while (rc == 0 && more)
        rc = merge_step(run, run->index->merge_all, &more, err);
    return result_of(run, rc, err);
}

/* ---- what there is to do ------------------------------------------------------------------------------ */

static int lock_run(const char *dir, int *fd_out, struct error *err)
{
    char *path = NULL;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    ASSERT(asprintf(&path, "%s/" INDEX_LOCK, dir) > 0);
    *fd_out = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = *fd_out < 0 ? error_errno(err, "%s", path) : 0;
    if (rc == 0 && fcntl(*fd_out, F_OFD_SETLK, &lock) < 0)
        rc = error_set(err, BASE_ERR_LOCKED, errno, "another mds index works on this archive");
    free(path);
    return rc;
}

/* Snapshot of the index's items, and where the archive's ids end. */
static int plan(struct index_run *run, struct error *err)
{
    struct mds_text_reader *r = NULL;
    struct mds_txn *txn = NULL;
    int rc = mds_text_read_begin(run->text, &r, err);
    if (rc >= 0)
        rc = mds_read_begin(run->archive.env, &txn, err);
    if (rc >= 0)
        rc = mds_item_end(txn, &run->end, err);
    if (rc >= 0) {
        run->end = run->end < UINT32_MAX ? run->end : UINT32_MAX;
        run->before = roaring_bitmap_copy(mds_text_items(r));
        run->planned = run->end - 1 - roaring_bitmap_rank(run->before, (uint32_t)run->end - 1);
    }
    mds_read_end(&txn);
    mds_text_read_end(&r);
    return rc < 0 ? rc : 0;
}

/* How much of the archive the index has now. */
static int look(struct mds_env *env, struct mds_text *text, struct indexer_indexed *out, struct error *err)
{
    struct mds_text_reader *r = NULL;
    struct mds_txn *txn = NULL;
    struct mds_text_stat stat = {0};
    struct mds_stat *archive = calloc(1, sizeof *archive);
    uint64_t end = 1;
    ASSERT(archive);
    int rc = mds_text_read_begin(text, &r, err);
    if (rc >= 0)
        rc = mds_text_stat(r, &stat, err);
    if (rc >= 0)
        rc = mds_read_begin(env, &txn, err);
    if (rc >= 0)
        rc = mds_stat(txn, archive, err);
    if (rc >= 0)
        rc = mds_item_end(txn, &end, err);
    if (rc >= 0) {
        const uint64_t without = end - 1 - archive->items; /* ids without an item: indexed, but what does that say */
        const uint64_t all =
            roaring_bitmap_rank(mds_text_items(r), (uint32_t)(end - 1 < UINT32_MAX ? end - 1 : UINT32_MAX));
        out->archive_items = archive->items;
        out->indexed = all > without ? all - without : 0;
        out->segments = stat.segments;
        out->building = stat.building;
        out->dead = stat.dead;
        out->used_bytes = stat.used_bytes;
        out->indexed_text_bytes = stat.text_bytes;
    }
    mds_read_end(&txn);
    mds_text_read_end(&r);
    free(archive);
    return rc < 0 ? rc : 0;
}

int indexer_index_stat(const struct indexer_archive *at, const char *trace_fields, struct indexer_indexed *out,
                       struct error *err)
{
    struct index_archive a;
    struct mds_text *text = NULL;
    struct mds_txn *txn = NULL;
    *out = (struct indexer_indexed){0};
    int rc = index_archive_open(at, trace_fields, false, &a, err);
    if (rc < 0)
        return rc;
    rc = mds_read_begin(a.env, &txn, err);
    if (rc >= 0)
        rc = filing_text_open(a.env, txn, &a.settings, &text, err);
    mds_read_end(&txn);
    if (rc >= 0)
        rc = look(a.env, text, out, err);
    mds_text_close(&text);
    index_archive_close(&a);
    return rc == BASE_ERR_GONE
               ? error_set(err, BASE_ERR_NOTFOUND, 0, "there is no content index of this archive as it is")
               : rc;
}

static void release(struct index_run *run, int lock)
{
    if (run->before)
        roaring_bitmap_free(run->before);
    mds_text_close(&run->text);
    index_archive_close(&run->archive);
    (void)pthread_mutex_destroy(&run->lock);
    if (lock >= 0)
        (void)close(lock);
}

static unsigned jobs_of(const struct indexer_index *index, uint64_t planned)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned jobs = index->jobs ? index->jobs : cores > 0 ? (unsigned)cores : 1;
    const uint64_t runs = planned / RUN_ITEMS + 1;
    jobs = jobs < JOBS_MAX ? jobs : JOBS_MAX;
    return jobs < runs ? jobs : (unsigned)runs;
}

int indexer_index(const struct indexer_index *index, struct indexer_indexed *out, struct error *err)
{
    struct index_run run = {.index = index, .began_ns = indexer_monotonic_ns()};
    const size_t memory = index->batch_bytes ? index->batch_bytes : BATCH_BYTES;
    int lock = -1;
    *out = (struct indexer_indexed){0};
    (void)pthread_mutex_init(&run.lock, NULL);
    int rc = index_archive_open(&index->at, index->trace_fields, true, &run.archive, err);
    if (rc < 0) {
        (void)pthread_mutex_destroy(&run.lock);
        return rc;
    }
    rc = lock_run(mds_dir(run.archive.env), &lock, err);
    if (rc >= 0)
        rc = filing_text_make(run.archive.env, &run.archive.settings, &run.text, err);
    if (rc >= 0 && index->rebuild)
        rc = mds_text_drop(run.text, err);
    if (rc >= 0)
        rc = plan(&run, err);
    if (rc >= 0 && run.planned) {
        run.jobs = jobs_of(index, run.planned);
        run.batch_bytes = memory / run.jobs > BATCH_BYTES_MIN ? memory / run.jobs : BATCH_BYTES_MIN;
        atomic_store(&run.next, 1);
        rc = work_all(&run, err);
    }
    if (rc >= 0)
        rc = merge_all(&run, err);
    out->items = atomic_load(&run.items);
    out->failed = atomic_load(&run.failed);
    out->text_bytes = atomic_load(&run.text_bytes);
    snprintf(out->last_failure, sizeof out->last_failure, "%s", run.last_failure);
    if (rc >= 0)
        rc = look(run.archive.env, run.text, out, err);
    out->seconds = (double)(indexer_monotonic_ns() - run.began_ns) / 1e9;
    release(&run, lock);
    return rc;
}

/*
 * The index of a living store: which archives were committed to since their index was looked at?
 *
 * The time and the number of a store's file tell. It changes with each commit, so that a look costs a stat; a run that
 * finds nothing to do costs some milliseconds. Runs are one after another: the machine belongs to those who wait for
 * answers.
 */
#include "index_private.h"

#include "indexer_private.h"
#include "system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define POLL_MS     2000u
#define RETRY_NS    INT64_C(60000000000)
#define BATCH_BYTES ((size_t)64 << 20)
#define NAP_MS      50u

struct seen {
    uint32_t id;
    ino_t inode;
    int64_t mtime_ns;
    int64_t failed_ns; /* when the last run failed; 0: it did not */
};

struct watch {
    const struct indexer_index_watch *w;
    struct seen *seen;
    size_t n;
};

static bool is_over(const struct watch *w)
{
    return w->w->cancel && *w->w->cancel;
}

static struct seen *seen_of(struct watch *w, uint32_t id)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->seen[i].id == id)
            return &w->seen[i];
    }
    w->seen = realloc(w->seen, (w->n + 1) * sizeof *w->seen);
    ASSERT(w->seen);
    w->seen[w->n] = (struct seen){.id = id};
    return &w->seen[w->n++];
}

/* An archive that is being indexed. */
struct subject {
    const struct watch *w;
    const struct mds_archive_info *info;
};

static bool is_wanted(void *arg)
{
    const struct subject *s = arg;
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *now = calloc(1, sizeof *now);
    ASSERT(now);
    int rc = mds_catalogue_open(s->w->w->store_dir, false, true, &catalogue, NULL);
    if (rc >= 0)
        rc = mds_catalogue_archive_find(catalogue, s->info->name, false, now, NULL);
    const bool gone = rc == BASE_ERR_NOTFOUND && catalogue;
    const bool other = rc >= 0 && (now->id != s->info->id || !now->enabled);
    mds_catalogue_close(&catalogue);
    free(now);
    return !gone && !other;
}

/* Was something committed since the last run? Remembers what is there now. */
static bool has_changed(struct seen *s, const char *dir)
{
    char path[1300];
    struct stat st;
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    if (stat(path, &st) < 0)
        return false;
    const int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    const bool retry = s->failed_ns && indexer_monotonic_ns() - s->failed_ns > RETRY_NS;
    const bool changed = s->inode != st.st_ino || s->mtime_ns != mtime_ns || retry;
    s->inode = st.st_ino;
    s->mtime_ns =
        indexer_wall_ns() - mtime_ns > INDEXER_STILL_NS ? mtime_ns : 0; /* the next commit may have the same time */
    return changed;
}

static void run_one(struct watch *w, const struct mds_archive_info *info, struct seen *s)
{
    const struct indexer_index_watch *want = w->w;
    struct subject subject = {w, info};
    const struct indexer_index index = {
        .at = {.store_dir = want->store_dir, .archive = info->name, .cancel = want->cancel},
        .trace_fields = want->trace_fields,
        .jobs = want->jobs ? want->jobs : 1,
        .max_rate = want->max_rate,
        .batch_bytes = want->batch_bytes ? want->batch_bytes : BATCH_BYTES,
        .wanted = is_wanted,
        .wanted_arg = &subject,
    };
    struct indexer_indexed done;
    struct error err = {0};
    const int rc = indexer_index(&index, &done, &err);
    if (rc == BASE_ERR_GONE || rc == BASE_ERR_CANCELLED) { /* whatever is in its place next is new to us */
        s->inode = 0;
        s->failed_ns = 0;
        return;
    }
    s->failed_ns = rc < 0 || done.failed ? indexer_monotonic_ns() : 0;
    if (want->done && (rc < 0 || done.items || done.failed))
        want->done(info->name, &done, rc, &err, want->arg);
}

/* All archives once. */
static int look(struct watch *w, struct error *err)
{
    struct mds_archive_info *info = calloc(1, sizeof *info);
    char after[sizeof info->name] = "";
    int rc = 1;
    ASSERT(info);
    while (rc > 0 && !is_over(w)) {
        struct mds_catalogue *catalogue = NULL; /* not kept: a run opens it too */
        rc = mds_catalogue_open(w->w->store_dir, false, true, &catalogue, err);
        if (rc >= 0)
            rc = mds_catalogue_archive_next(catalogue, after[0] ? after : NULL, info, err);
        mds_catalogue_close(&catalogue);
        if (rc <= 0)
            break;
        memcpy(after, info->name, sizeof after);
        struct seen *s = info->enabled ? seen_of(w, info->id) : NULL;
        if (s && has_changed(s, info->dir))
            run_one(w, info, s);
    }
    free(info);
    return rc < 0 ? rc : 0;
}

int indexer_index_watch(const struct indexer_index_watch *want, struct error *err)
{
    struct watch w = {.w = want};
    const unsigned poll = want->poll_ms ? want->poll_ms : POLL_MS;
    int rc = 0;
    while (rc >= 0 && !is_over(&w)) {
        rc = look(&w, err);
        for (unsigned slept = 0; slept < poll && rc >= 0 && !is_over(&w); slept += NAP_MS)
            indexer_sleep_ms(NAP_MS);
    }
    free(w.seen);
    return rc;
}

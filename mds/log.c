/*
 * The logs of a folder: which UIDs were added or changed, and which were expunged, under which modseq. Each change has
 * a modseq of its own, so a run (modseq, uid, count) stands for `count` changes in a row; a run goes on across
 * transactions, so that the rows do not tell how the work was cut into batches.
 */
#include "columns_private.h"

static const enum table log_tables[2] = {TABLE_CHANGES, TABLE_EXPUNGED};

static void log_key(struct key *key, uint32_t folder, uint64_t modseq)
{
    key_reset(key);
    key_u32(key, folder);
    key_u64(key, modseq);
}

static int run_of_row(struct mds_txn *t, enum table table, struct bytes key, struct bytes row, struct run *out,
                      struct error *err)
{
    if (key.n != 12 || !run_decode(get_be64(key.p + 4), row, out))
        return row_corrupt(t, table, key, "it does not decode", err);
    return BASE_OK;
}

static int runs_load(struct mds_txn *t, struct folder_entry *e, struct error *err)
{
    for (int kind = 0; kind < 2 && !e->runs_loaded; kind++) {
        struct key key;
        struct bytes at, row;

        e->runs[kind] = (struct run){0};
        e->run_dirty[kind] = false;
        log_key(&key, e->f.id, UINT64_MAX);
        int rc = row_seek_last(t, log_tables[kind], key_bytes(&key), 4, &at, &row, err);

        if (rc == 1)
            rc = run_of_row(t, log_tables[kind], at, row, &e->runs[kind], err);
        if (rc != BASE_OK)
            return rc;
    }
    e->runs_loaded = true;
    return BASE_OK;
}

static int run_flush(struct mds_txn *t, struct folder_entry *e, int kind, struct error *err)
{
    struct key key;

    if (!e->run_dirty[kind])
        return BASE_OK;
    struct buf *v = value_begin(t);

    log_key(&key, e->f.id, e->runs[kind].modseq);
    run_encode(&e->runs[kind], v);
    const int rc = row_put(t, log_tables[kind], key_bytes(&key), v, err);

    e->run_dirty[kind] = rc != BASE_OK;
    return rc;
}

int log_flush(struct mds_txn *t, struct folder_entry *e, struct error *err)
{
    const int rc = run_flush(t, e, LOG_CHANGES, err);

    return rc == BASE_OK ? run_flush(t, e, LOG_EXPUNGED, err) : rc;
}

int log_add(struct mds_txn *t, struct folder_entry *e, enum log_kind kind, uint64_t modseq, uint32_t uid,
            struct error *err)
{
    struct run *run = &e->runs[kind];
    int rc = runs_load(t, e, err);

    if (rc != BASE_OK)
        return rc;
    if (run->count > 0 && run->count < UINT32_MAX && modseq == run->modseq + run->count &&
        uid == (uint64_t)run->uid + run->count) {
        run->count++;
    } else {
        if ((rc = run_flush(t, e, kind, err)) != BASE_OK)
            return rc;
        *run = (struct run){.modseq = modseq, .uid = uid, .count = 1};
    }
    e->run_dirty[kind] = true;
    return BASE_OK;
}

/* To what lies above `after`; false if nothing does. */
static bool run_clip(struct run *run, uint64_t after)
{
    if (run->modseq > after)
        return true;
    const uint64_t skip = after - run->modseq + 1;

    if (skip >= run->count)
        return false;
    *run = (struct run){run->modseq + skip, run->uid + (uint32_t)skip, run->count - (uint32_t)skip};
    return true;
}

int log_walk(struct mds_txn *t, enum log_kind kind, uint32_t folder, uint64_t after, log_run_fn *fn, void *arg,
             struct error *err)
{
    const enum table table = log_tables[kind];
    struct key key;
    struct bytes at, row;
    struct run run;
    int rc;

    if (t->w && (rc = folder_flush(t, err)) != BASE_OK)
        return rc;
    if (after == UINT64_MAX)
        return BASE_OK;
    log_key(&key, folder, after + 1);
    rc = row_seek_last(t, table, key_bytes(&key), 4, &at, &row, err);
    if (rc == 0) {
        at = key_bytes(&key);
        rc = row_seek(t, table, MDB_SET_RANGE, &at, &row, err);
    }
    for (; rc == 1 && at.n >= 4 && get_be32(at.p) == folder; rc = row_seek(t, table, MDB_NEXT, &at, &row, err)) {
        if ((rc = run_of_row(t, table, at, row, &run, err)) != BASE_OK)
            return rc;
        if (run_clip(&run, after) && (rc = fn(&run, arg)) != BASE_OK)
            return rc;
    }
    return rc < 0 ? rc : BASE_OK;
}

int log_walk_back(struct mds_txn *t, enum log_kind kind, uint32_t folder, uint64_t after, log_run_fn *fn, void *arg,
                  struct error *err)
{
    const enum table table = log_tables[kind];
    struct key key;
    struct bytes at, row;
    struct run run;
    int rc;

    if (t->w && (rc = folder_flush(t, err)) != BASE_OK)
        return rc;
    log_key(&key, folder, UINT64_MAX);
    for (rc = row_seek_last(t, table, key_bytes(&key), 4, &at, &row, err);
         rc == 1 && at.n >= 4 && get_be32(at.p) == folder; rc = row_seek(t, table, MDB_PREV, &at, &row, err)) {
        if ((rc = run_of_row(t, table, at, row, &run, err)) != BASE_OK)
            return rc;
        if (!run_clip(&run, after))
            break;
        if ((rc = fn(&run, arg)) != BASE_OK)
            return rc;
    }
    return rc < 0 ? rc : BASE_OK;
}

/* ---- pruning ---- */

struct log_end { /* the oldest row of a log */
    bool there;
    struct run run;
};

/* Rows of a log, counted no further than `enough`. */
static int rows_count(struct mds_txn *t, enum log_kind kind, uint32_t folder, uint64_t enough, uint64_t *out,
                      struct error *err)
{
    struct key key;
    struct bytes at, row;
    int rc;

    *out = 0;
    log_key(&key, folder, 0);
    at = key_bytes(&key);
    for (rc = row_seek(t, log_tables[kind], MDB_SET_RANGE, &at, &row, err);
         rc == 1 && at.n >= 4 && get_be32(at.p) == folder && *out < enough;
         rc = row_seek(t, log_tables[kind], MDB_NEXT, &at, &row, err))
        ++*out;
    return rc < 0 ? rc : BASE_OK;
}

static int oldest_row(struct mds_txn *t, enum log_kind kind, uint32_t folder, struct log_end *out, struct error *err)
{
    struct key key;
    struct bytes at, row;

    *out = (struct log_end){0};
    log_key(&key, folder, 0);
    at = key_bytes(&key);
    const int rc = row_seek(t, log_tables[kind], MDB_SET_RANGE, &at, &row, err);

    if (rc != 1 || at.n < 4 || get_be32(at.p) != folder)
        return rc < 0 ? rc : BASE_OK;
    out->there = true;
    return run_of_row(t, log_tables[kind], at, row, &out->run, err);
}

/*
 * Oldest first, whichever log it is in: each modseq stands in one of the two, so runs never overlap, and all that is at
 * or below the end of the last row that went is gone from both.
 */
static int oldest_drop(struct mds_txn *t, uint32_t folder, enum log_kind *kind_out, struct run *run_out, bool *any_out,
                       struct error *err)
{
    struct log_end oldest[2];
    struct key key;
    int rc;

    if ((rc = oldest_row(t, LOG_CHANGES, folder, &oldest[LOG_CHANGES], err)) != BASE_OK ||
        (rc = oldest_row(t, LOG_EXPUNGED, folder, &oldest[LOG_EXPUNGED], err)) != BASE_OK)
        return rc;
    *any_out = oldest[0].there || oldest[1].there;
    if (!*any_out)
        return BASE_OK;
    *kind_out = !oldest[LOG_EXPUNGED].there ||
                        (oldest[LOG_CHANGES].there && oldest[LOG_CHANGES].run.modseq < oldest[LOG_EXPUNGED].run.modseq)
                    ? LOG_CHANGES
                    : LOG_EXPUNGED;
    *run_out = oldest[*kind_out].run;
    log_key(&key, folder, run_out->modseq);
    return row_delete(t, log_tables[*kind_out], key_bytes(&key), NULL, err);
}

int mds_log_prune(struct mds_txn *t, uint32_t folder, uint64_t keep, uint64_t limit, struct error *err)
{
    struct folder_entry *e;
    uint64_t rows[2] = {0}, gone = 0;
    int rc = folder_entry_get(t, folder, &e, err);

    if (limit > INT32_MAX)
        limit = INT32_MAX;
    if (rc != BASE_OK || e->f.highestmodseq - e->f.changes_floor <= keep) /* a row is a modseq at least */
        return rc;
    if ((rc = log_flush(t, e, err)) != BASE_OK)
        return rc;
    const uint64_t enough = keep > UINT64_MAX - limit ? UINT64_MAX : keep + limit;

    for (int kind = 0; kind < 2; kind++) {
        if ((rc = rows_count(t, (enum log_kind)kind, folder, enough, &rows[kind], err)) != BASE_OK)
            return rc;
    }
    struct buf dropped = {0}; /* struct run: of the log of changes */

    rc = BASE_OK;
    while (gone < limit && (rows[0] > keep || rows[1] > keep)) {
        enum log_kind kind;
        struct run run;
        bool any;

        if ((rc = oldest_drop(t, folder, &kind, &run, &any, err)) != BASE_OK || !any)
            break;
        const uint64_t end = run.modseq + run.count - 1;

        if (kind == LOG_CHANGES)
            buf_append(&dropped, &run, sizeof run);
        e->f.changes_floor = end > e->f.changes_floor ? end : e->f.changes_floor;
        e->dirty = true;
        e->runs_loaded = false; /* the row it would extend may be the one that went */
        rows[kind]--;
        gone++;
    }
    if (rc == BASE_OK)
        rc = column_take_runs(t, folder, (struct run *)(void *)dropped.p, dropped.n / sizeof(struct run), err);
    buf_release(&dropped);
    return rc < 0 ? rc : (int)gone;
}

/* ---- news ---- */

static int run_into_bitmap(const struct run *run, void *arg)
{
    roaring_bitmap_add_range(arg, run->uid, (uint64_t)run->uid + run->count);
    return BASE_OK;
}

static int changes_logged(struct mds_txn *t, uint32_t folder, uint64_t modseq, const roaring_bitmap_t *exists,
                          roaring_bitmap_t *changed, roaring_bitmap_t *expunged, struct error *err)
{
    roaring_bitmap_t *news = roaring_bitmap_create();
    int rc = log_walk(t, LOG_CHANGES, folder, modseq, run_into_bitmap, news, err);

    if (rc == BASE_OK) {
        roaring_bitmap_and_inplace(news, exists); /* what was expunged since is told by its own log */
        roaring_bitmap_or_inplace(changed, news);
        rc = log_walk(t, LOG_EXPUNGED, folder, modseq, run_into_bitmap, expunged, err);
    }
    roaring_bitmap_free(news);
    return rc;
}

int mds_changes_since(struct mds_txn *t, uint32_t folder, uint64_t modseq, roaring_bitmap_t *changed,
                      roaring_bitmap_t *expunged, bool *complete_out, struct error *err)
{
    struct mds_folder f;
    roaring_bitmap_t *exists = NULL;
    int rc = mds_folder_get(t, folder, &f, err);

    if (rc != BASE_OK || (rc = mds_set_load(t, folder, MDS_SET_EXISTS, &exists, err)) != BASE_OK)
        return rc;
    *complete_out = modseq >= f.changes_floor;
    if (*complete_out) {
        rc = changes_logged(t, folder, modseq, exists, changed, expunged, err);
    } else {
        roaring_bitmap_t *gone = roaring_bitmap_from_range(1, f.uidnext, 1);

        if (gone) { /* NULL for an empty range */
            roaring_bitmap_andnot_inplace(gone, exists);
            roaring_bitmap_or_inplace(expunged, gone);
            roaring_bitmap_free(gone);
        }
        roaring_bitmap_or_inplace(changed, exists);
    }
    roaring_bitmap_free(exists);
    return rc;
}

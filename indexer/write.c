/*
 * The writer: takes the pipeline's results in order and applies each to the store, in batches that are durable when
 * they are committed. It owns the only write transaction.
 *
 * Ids and UIDs are given in the order of the ops alone, so that neither the
 * number of workers nor where a batch ends can be seen in the store.
 */
#include "indexer_private.h"
#include "system.h"

#include <stdlib.h>
#include <string.h>

/* ---- transactions -------------------------------------------------------------------- */

int indexer_writer_txn(struct indexer_writer *w, struct error *err)
{
    if (w->txn)
        return 0;
    int rc = mds_write_begin(w->run->env, &w->txn, err);
    if (rc < 0) {
        w->txn = NULL;
        return rc;
    }
    w->batch_n = 0;
    w->batch_bytes = 0;
    w->batch_began_ns = w->looked_ns = indexer_monotonic_ns();
    w->saved_date = indexer_wall_ns() / 1000000000;
    return 0;
}

int indexer_writer_commit(struct indexer_writer *w, struct error *err)
{
    if (!w->txn)
        return 0;
    int rc = indexer_own_sync(w, err);
    if (rc < 0)
        mds_write_abort(&w->txn);
    else
        rc = mds_write_commit(&w->txn, err);
    w->txn = NULL;
    if (rc == 0) {
        w->report->commits++;
        w->run->committed = *w->report;
    }
    return rc;
}

/* Gives the waiting writer its turn: it stops waiting the moment it has it. */
static void yield_turn(struct indexer_writer *w)
{
    int64_t until = indexer_monotonic_ns() + (int64_t)INDEXER_TURN_MS * 1000000;
    w->report->yields++;
    while (mds_writer_waiting(w->run->env) && indexer_monotonic_ns() < until)
        indexer_sleep_ms(1);
}

static void show_progress(struct indexer_writer *w, const char *phase)
{
    const struct indexer_build *b = w->run->build;
    if (!b->progress)
        return;
    struct indexer_progress p = {
        .archive = b->archive,
        .phase = phase,
        .items_done = w->done_items,
        .planned_all = atomic_load_explicit(&w->run->planned_all, memory_order_relaxed),
        .items_planned = atomic_load_explicit(&w->run->planned, memory_order_relaxed),
        .bytes_done = w->done_bytes,
        .failed = w->report->failed,
        .seconds = (double)(indexer_monotonic_ns() - w->run->began_ns) / 1e9,
    };
    b->progress(&p, b->progress_arg);
}

static int look_around(struct indexer_writer *w, int64_t now, struct error *err)
{
    int rc = 0;
    w->looked_ns = now;
    if (w->txn && mds_writer_waiting(w->run->env)) {
        w->crowded_until_ns = now + (int64_t)INDEXER_CROWDED_MS * 1000000;
        rc = indexer_writer_commit(w, err);
        if (rc == 0)
            yield_turn(w);
    } else if (w->txn && now - w->batch_began_ns > (int64_t)INDEXER_COMMIT_MS * 1000000) {
        rc = indexer_writer_commit(w, err);
    }
    if (now - w->shown_ns > (int64_t)INDEXER_PROGRESS_MS * 1000000) {
        w->shown_ns = now;
        show_progress(w, "build");
    }
    if (rc == 0 && indexer_cancelled(w->run->build))
        rc = error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
    return rc;
}

int indexer_writer_breathe(struct indexer_writer *w, struct error *err)
{
    const struct indexer_build *b = w->run->build;
    uint32_t items = b->batch_items ? b->batch_items : INDEXER_BATCH_ITEMS;
    uint64_t bytes = b->batch_bytes ? b->batch_bytes : INDEXER_BATCH_BYTES;
    int rc = 0;
    if (w->crowded_until_ns > w->looked_ns) {
        items = items < INDEXER_CROWDED_ITEMS ? items : INDEXER_CROWDED_ITEMS;
        bytes = bytes < INDEXER_CROWDED_BYTES ? bytes : INDEXER_CROWDED_BYTES;
    }
    if (w->txn && (++w->batch_n >= items || w->batch_bytes >= bytes))
        rc = indexer_writer_commit(w, err);
    int64_t now = indexer_monotonic_ns();
    if (rc == 0 && now - w->looked_ns > (int64_t)INDEXER_BREATHE_MS * 1000000)
        rc = look_around(w, now, err);
    return rc;
}

/* ---- failures ------------------------------------------------------------------------- */

void indexer_writer_failed(struct indexer_writer *w, struct bytes what, const char *reason)
{
    struct indexer_report *r = w->report;
    const char *source = w->source && w->source->name ? w->source->name : "";
    r->failed++;
    snprintf(r->last_failure, sizeof r->last_failure, "%s%s%.*s%s%.*s: %s", source, w->container_name.n ? "/" : "",
             (int)w->container_name.n, (const char *)w->container_name.p, what.n ? "/" : "", (int)what.n,
             (const char *)what.p, reason);
    for (char *c = r->last_failure; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

struct vault *indexer_writer_vault(struct indexer_writer *w, uint32_t source_id)
{
    if (source_id == w->source_id)
        return w->source->vault;
    struct bytes name;
    if (mds_source_name(w->txn, source_id, &name, NULL) < 0)
        return NULL;
    if (bytes_equal(name, BYTES_LIT(MDS_SOURCE_OWN)))
        return indexer_own_vault(w);
    for (uint32_t i = 0; i < w->run->sources_n; i++) {
        struct indexer_source *s = &w->run->sources[i];
        if (s->vault && bytes_equal(bytes_str(s->name), name))
            return s->vault;
    }
    return NULL;
}

/* ---- sources and containers ------------------------------------------------------------ */

static int source_begin(struct indexer_writer *w, const struct op *op, struct error *err)
{
    w->source = &w->run->sources[op->source];
    w->source_rows = op->rows;
    w->missing = 0;
    buf_reset(&w->container_name);
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_source_id(w->txn, bytes_str(w->source->name), true, &w->source_id, err);
    if (rc == 0 && w->source->spec->match) {
        char name[64];
        snprintf(name, sizeof name, INDEXER_META_MATCH "%u", w->source_id);
        rc = mds_meta_put(w->txn, name, bytes_str(w->source->spec->match), true, err);
    }
    return rc;
}

static int folder_make(struct indexer_writer *w, bool *new_out, struct error *err)
{
    *new_out = true;
    if (w->run->restore && !w->folder_gone && (w->container.folder = indexer_carry_folder(w, &w->folder_gone)) != 0)
        return 0;
    int rc = mds_folder_create(w->txn, buf_bytes(&w->folder_name), &w->container.folder, err);
    return rc == BASE_ERR_EXISTS ? 0 : rc;
}

/* The container's folder: that of its first build while it exists, else the one of its name. */
static int container_folder(struct indexer_writer *w, bool *new_out, struct error *err)
{
    struct mds_folder folder;
    *new_out = false;
    int rc = w->container.folder ? mds_folder_get(w->txn, w->container.folder, &folder, err) : BASE_ERR_NOTFOUND;
    w->folder_gone = false;
    if (rc != BASE_ERR_NOTFOUND && (rc < 0 || folder.selectable))
        return rc;
    /* Gone, or only a level above others or a subscribed name: nobody sees mail there. */
    if (w->container.folder && w->container.rows && (rc < 0 || folder.exists == 0)) {
        w->folder_gone = true; /* deleted by a client: it comes back only for mail that is new */
        return 0;
    }
    return folder_make(w, new_out, err);
}

int indexer_writer_folder(struct indexer_writer *w, struct error *err)
{
    bool fresh;
    if (!w->folder_gone)
        return 0;
    int rc = folder_make(w, &fresh, err);
    if (rc == 0)
        rc = mds_container_put(w->txn, &w->container, err);
    w->folder_gone = rc < 0;
    return rc;
}

static int container_begin(struct indexer_writer *w, const struct op *op, struct error *err)
{
    struct error why = {0};
    bool fresh = false;
    buf_reset(&w->container_name);
    buf_append_bytes(&w->container_name, op->name);
    buf_reset(&w->folder_name);
    buf_append_bytes(&w->folder_name, op->folder);
    w->stamp = op->stamp;
    w->scanned_ns = op->scanned_ns;
    w->container_is_mbox = op->is_mbox;
    w->container_ok = true;
    w->container_incomplete = w->container_missing = false;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_container_find(w->txn, w->source_id, op->name, true, &w->container, &why);
    if (rc == 0)
        rc = container_folder(w, &fresh, &why);
    if (rc == 0 && fresh)
        rc = mds_container_put(w->txn, &w->container, &why);
    w->container.name = buf_bytes(&w->container_name); /* the view dies with the next write */
    if (rc == BASE_ERR_LIMIT || rc == BASE_ERR_USAGE || rc == BASE_ERR_SYNTAX) {
        /* A name that the store does not take costs one folder, not the build. */
        w->container_ok = false;
        indexer_writer_failed(w, (struct bytes){0}, why.text);
        return 0;
    }
    if (rc < 0) {
        if (err && why.code)
            *err = why;
        return rc;
    }
    return w->container_is_mbox ? indexer_mbox_begin(w, err) : 0;
}

static void pending_add(struct indexer_writer *w, bool gone, uint32_t container)
{
    if (w->pending_n == w->pending_cap) {
        w->pending_cap = w->pending_cap ? 2 * w->pending_cap : 64;
        w->pending = realloc(w->pending, w->pending_cap * sizeof *w->pending);
        ASSERT(w->pending);
    }
    w->pending[w->pending_n++] =
        (struct indexer_pending){.container = container, .stamp = w->stamp, .scanned_ns = w->scanned_ns, .gone = gone};
}

static int container_end(struct indexer_writer *w, const struct op *op, struct error *err)
{
    int rc = 0;
    if (!w->container_ok)
        return 0;
    w->container_ok = false;
    if (op->complete && w->container_is_mbox && !w->container_incomplete)
        rc = indexer_mbox_end(w, err);
    indexer_mbox_release(w);
    if (rc < 0 || !op->complete || w->container_incomplete)
        return rc; /* no stamp: the next build looks again */
    if (w->container_missing) {
        pending_add(w, false, w->container.id);
        return 0;
    }
    rc = indexer_writer_txn(w, err);
    w->container.mtime_ns = w->stamp.mtime_ns;
    w->container.size = w->stamp.size;
    w->container.inode = w->stamp.inode;
    w->container.scanned_ns = w->scanned_ns;
    return rc < 0 ? rc : mds_container_put(w->txn, &w->container, err);
}

static int missing(struct indexer_writer *w, const struct op *op, struct error *err)
{
    w->container_missing = true;
    return indexer_missing_add(w, w->container.id, op->identity, err);
}

/* ---- the loop --------------------------------------------------------------------------- */

static int apply(struct indexer_writer *w, const struct op *op, struct error *err)
{
    switch (op->kind) {
    case OP_SOURCE: return source_begin(w, op, err);
    case OP_CONTAINER: return container_begin(w, op, err);
    case OP_ITEM:
        w->done_items++;
        w->done_bytes += w->result.status == INGEST_FAILED ? 0 : w->result.size;
        if (op->how == OP_HOW_OWN)
            return indexer_carry_own(w, err);
        if (!w->container_ok)
            return 0;
        return op->how == OP_HOW_MBOX ? indexer_mbox_take(w, op, err) : indexer_item_take(w, op, err);
    case OP_FLAGS: return w->container_ok ? indexer_flags_take(w, op, err) : 0;
    case OP_MISSING: return w->container_ok ? missing(w, op, err) : 0;
    case OP_CONTAINER_END: return container_end(w, op, err);
    case OP_GONE:
        pending_add(w, true, op->container);
        return indexer_missing_container(w, op->container, op->rows, err);
    case OP_SOURCE_END: return indexer_source_finish(w, op, err);
    case OP_TROUBLE: {
        char text[512];
        snprintf(text, sizeof text, "%.*s", (int)op->text.n, (const char *)op->text.p);
        buf_reset(&w->container_name);
        indexer_writer_failed(w, (struct bytes){0}, text);
        return 0;
    }
    case OP_END: break; /* ends the loop */
    }
    ASSERT(!"op");
    return 0;
}

/* The next result; while none is there, waiting writers, progress and cancel are looked after. */
static int next_result(struct indexer_writer *w, struct error *err)
{
    for (;;) {
        int rc = ingest_ready(w->run->ingest, INDEXER_BREATHE_MS, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            return ingest_next(w->run->ingest, &w->result, err);
        rc = look_around(w, indexer_monotonic_ns(), err);
        if (rc < 0)
            return rc;
    }
}

static void writer_release(struct indexer_writer *w)
{
    indexer_own_release(w);
    mds_write_abort(&w->txn);
    indexer_mbox_release(w);
    indexer_spool_free(&w->spool);
    free(w->pending);
    buf_release(&w->container_name);
    buf_release(&w->folder_name);
    buf_release(&w->keywords);
}

static int write_begin_checks(struct indexer_writer *w, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes value;
    int rc = mds_read_begin(w->run->env, &txn, err);
    if (rc < 0)
        return rc;
    rc = mds_meta_get(txn, INDEXER_META_RELOCATE, &value, err);
    w->relocate = rc == 0 && value.n > 0;
    if (rc == BASE_ERR_NOTFOUND)
        rc = 0;
    if (rc == 0) {
        rc = mds_meta_get(txn, INDEXER_META_HEADERS, &value, err);
        mds_read_end(&txn);
        if (rc == BASE_ERR_NOTFOUND) {
            rc = indexer_writer_txn(w, err);
            if (rc == 0)
                rc = indexer_settings_store(w->run, w->txn, err);
        }
    }
    mds_read_end(&txn);
    if (rc == 0 && w->run->restore)
        rc = indexer_restore_begin(w->run->restore, w, err);
    return rc;
}

int indexer_write(struct indexer_run *run, struct error *err)
{
    struct indexer_writer w = {.run = run, .report = run->report};
    int rc = write_begin_checks(&w, err);
    while (rc == 0 && (rc = next_result(&w, err)) > 0) {
        struct op op;
        ASSERT(indexer_op_decode(w.result.tag, &op));
        if (op.kind == OP_END) {
            rc = 0;
            break;
        }
        rc = apply(&w, &op, err);
        if (rc == 0)
            rc = indexer_writer_breathe(&w, err);
    }
    if (rc == 0 && run->restore)
        rc = indexer_carry_imports(&w, err);
    if (rc == 0 && atomic_load_explicit(&run->planned_all, memory_order_relaxed) && w.relocate)
        rc = indexer_relocate(&w, err);
    if (rc == 0 || rc == BASE_ERR_CANCELLED) {
        struct error commit_err = {0};
        int committed = indexer_writer_commit(&w, &commit_err);
        if (committed < 0) {
            rc = committed;
            if (err)
                *err = commit_err;
        }
    }
    run->report->bytes += w.done_bytes;
    show_progress(&w, rc == 0 ? "finish" : "build");
    writer_release(&w);
    return rc;
}

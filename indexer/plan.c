/*
 * The planner: walks the vaults, compares with the store, and sends what is to be done down the pipeline.
 *
 * Read transactions live only for one slice of look-ups and never across a
 * call that may block: the writer grows the map behind a gate that waits for all of them, and the
 * planner waits for the writer when the pipeline is full.
 */
#include "indexer_private.h"
#include "system.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_ITEMS 256u
#define SLICE_KNOWN 2000u
#define FLUSH_NS INT64_C(20000000)
/* A build of a known source that submitted as many is no small update: worth a look at the containers that follow. */
#define LOOK_AHEAD_ITEMS 2000u
/* Names of additions kept to tell a moved item from a lost one; past it the removal rule errs on the safe side. */
#define MOVES_MAX (4u << 20)

struct hashes {
    uint64_t *v;
    size_t n, cap;
};

/* One scanned item that waits for its look-up; offsets into planner.text. */
struct scanned {
    struct vault_item item;
    size_t identity_at, name_at, keywords_at;
    enum { LOOK_SAME, LOOK_NEW, LOOK_REREAD, LOOK_FLAGS } look;
};

struct planner {
    struct indexer_run *run;
    struct buf tag;
    int64_t flushed_ns, next_ns;
    bool known_filled;
    uint64_t submitted;

    /* source */
    struct indexer_source *source;
    struct vault_scan *scan;
    uint32_t source_id; /* 0: not in the store */
    uint64_t source_rows, passed_rows; /* of all its containers; of those that the scan came to */
    enum vault_kind kind;
    roaring_bitmap_t *containers; /* ids of the store that the scan showed */
    uint32_t container_last;      /* highest id before this run: what it makes itself is not gone */
    bool containers_hidden;       /* something could not be looked into: no container counts as gone */
    struct hashes added, missing; /* identities, Maildir only */
    uint64_t missing_n;

    /* container */
    struct vault_container at;
    uint32_t container_id; /* 0: new */
    uint32_t container_folder, container_rows;
    uint32_t uidnext; /* of its folder, before anything of this run was filed */
    uint64_t matched;
    roaring_bitmap_t *seen_uids;
    struct hashes seen_others;

    struct scanned slice[SLICE_ITEMS];
    size_t slice_n;
    struct buf text;
};

static void hashes_add(struct hashes *h, uint64_t v)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 256;
        h->v = realloc(h->v, h->cap * sizeof *h->v);
        ASSERT(h->v);
    }
    h->v[h->n++] = v;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static void hashes_sort(struct hashes *h)
{
    if (h->n)
        qsort(h->v, h->n, sizeof *h->v, compare_u64);
}

static bool hashes_has(const struct hashes *h, uint64_t v)
{
    return h->n && bsearch(&v, h->v, h->n, sizeof v, compare_u64);
}

static void hashes_release(struct hashes *h)
{
    free(h->v);
    *h = (struct hashes){0};
}

/* Maildir names are unique and travel with the message between folders; numbers and offsets do not. */
static bool names_travel(const struct planner *p)
{
    return p->kind == VAULT_KIND_MAILDIR || p->kind == VAULT_KIND_MAILDIRPP || p->kind == VAULT_KIND_MAILDIR_FS;
}

static bool kind_is_mbox(enum vault_kind kind)
{
    return kind == VAULT_KIND_MBOX || kind == VAULT_KIND_MBOX_TREE;
}

static int send_op(struct planner *p, const struct op *op, struct error *err)
{
    buf_reset(&p->tag);
    indexer_op_encode(op, &p->tag);
    return ingest_pass(p->run->ingest, buf_bytes(&p->tag), err);
}

static int send_trouble(struct planner *p, struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int send_trouble(struct planner *p, struct error *err, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return send_op(p, &(struct op){.kind = OP_TROUBLE, .text = bytes_str(text)}, err);
}

/* --max-rate: items leave at even distances; what is behind schedule is not caught up. */
static int throttle(struct planner *p, struct error *err)
{
    double rate = p->run->build->max_rate;
    if (rate <= 0)
        return 0;
    int64_t now = indexer_monotonic_ns();
    if (p->next_ns > now + 5000000) {
        int rc = ingest_flush(p->run->ingest, err);
        while (rc == 0 && (now = indexer_monotonic_ns()) < p->next_ns) {
            if (indexer_cancelled(p->run->build))
                return error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
            int64_t ms = (p->next_ns - now) / 1000000 + 1;
            indexer_sleep_ms(ms > 50 ? 50 : (unsigned)ms);
        }
        if (rc < 0)
            return rc;
    }
    p->next_ns = (p->next_ns > now ? p->next_ns : now) + (int64_t)(1e9 / rate);
    return 0;
}

/* Hashes of all stored items, so that what is known is not parsed again. Only once there is something to submit. */
static int fill_known(struct planner *p, struct error *err)
{
    struct mds_txn *txn = NULL;
    uint64_t from = 1;
    int rc = 1;
    p->known_filled = true;
    while (rc > 0) {
        rc = mds_read_begin(p->run->env, &txn, err);
        if (rc < 0)
            break;
        rc = 1;
        for (unsigned i = 0; i < SLICE_KNOWN && rc > 0; i++) {
            struct mds_item item;
            rc = mds_item_next(txn, from, &item, err);
            if (rc <= 0)
                break;
            from = item.id + 1;
            int added = ingest_known_add(p->run->known, &item.hash, item.id, err);
            if (added < 0)
                rc = added;
        }
        mds_read_end(&txn);
        if (rc > 0 && indexer_cancelled(p->run->build))
            rc = error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
    }
    return rc;
}

/* Items of the containers that follow, less what the store has of them. A changed mbox is read as a whole: no guess. */
static uint64_t expected_later(const struct planner *p)
{
    if (!p->run->build->progress || (p->source_rows && (kind_is_mbox(p->kind) || p->submitted < LOOK_AHEAD_ITEMS)))
        return 0;
    uint64_t same = !p->run->build->full && p->source_rows > p->passed_rows ? p->source_rows - p->passed_rows : 0;
    uint64_t later = vault_scan_estimate(p->scan);
    return later > same ? later - same : 0;
}

/* A display; nothing hangs on it. What is to come counts too: the pipeline holds the planner back to its own pace. */
static void publish_planned(const struct planner *p)
{
    const bool all_again = p->run->build->full || kind_is_mbox(p->kind);
    uint64_t ahead = vault_scan_pending(p->scan);
    uint64_t same = !all_again && p->container_rows > p->matched ? p->container_rows - p->matched : 0;
    ahead = ahead > same ? ahead - same : 0;
    atomic_store_explicit(&p->run->planned, p->submitted + ahead + expected_later(p), memory_order_relaxed);
}

static int submit(struct planner *p, const struct vault_item *item, enum op_how how, struct error *err)
{
    int rc = p->known_filled ? 0 : fill_known(p, err);
    if (rc < 0 || (rc = throttle(p, err)) < 0)
        return rc;
    struct op op = {
        .kind = OP_ITEM,
        .how = how,
        .identity = item->identity,
        .flags = item->flags,
        .keywords = item->keywords,
        .has_stat = item->has_stat,
        .size = item->size,
        .mtime_ns = item->mtime_ns,
    };
    buf_reset(&p->tag);
    indexer_op_encode(&op, &p->tag);
    struct ingest_task task = {
        .vault = p->source->index,
        .locator = item->locator,
        .has_date = item->has_date,
        .date = item->date,
        .date_from_file = names_travel(p),
        .tag = buf_bytes(&p->tag),
    };
    p->submitted++;
    publish_planned(p);
    return ingest_submit(p->run->ingest, &task, err);
}

/* ---- items of a container --------------------------------------------------------- */

/* A UID that stands for its place until the end of the scan. The writer works meanwhile: what it files gets UIDs from uidnext on. */
static bool is_old_uid(const struct planner *p, const struct mds_place *place)
{
    return place->uid && place->uid < p->uidnext && place->folder == p->container_folder;
}

static void note_seen(struct planner *p, const struct mds_place *place)
{
    p->matched++;
    if (is_old_uid(p, place))
        roaring_bitmap_add(p->seen_uids, place->uid);
}

static bool was_seen(const struct planner *p, const struct mds_place *place)
{
    if (is_old_uid(p, place))
        return roaring_bitmap_contains(p->seen_uids, place->uid);
    return hashes_has(&p->seen_others, hash64_of(place->identity));
}

static int look_up(struct planner *p, struct mds_txn *txn, struct scanned *s, struct error *err)
{
    const struct vault_item *item = &s->item;
    struct mds_place place;
    int rc = mds_place_get(txn, p->container_id, item->identity, &place, err);
    if (rc == BASE_ERR_NOTFOUND) {
        s->look = LOOK_NEW;
        hashes_add(&p->seen_others, hash64_of(item->identity));
        if (names_travel(p) && p->added.n < MOVES_MAX)
            hashes_add(&p->added, hash64_of(item->identity));
        return 0;
    }
    if (rc < 0)
        return rc;
    note_seen(p, &place);
    bool stat_changed = item->has_stat && (item->size != place.size || item->mtime_ns != place.mtime_ns);
    if (place.uid == 0)
        s->look = place.reason.n ? LOOK_NEW : LOOK_SAME; /* failed: again; let go by the archive: stays so */
    else if (p->run->build->full || stat_changed)
        s->look = LOOK_REREAD;
    else if (item->flags != place.flags || indexer_keywords_hash(item->keywords) != place.keywords_hash)
        s->look = LOOK_FLAGS;
    else
        s->look = LOOK_SAME;
    /* By name where the UID does not say it, or may be another one soon. */
    if (!is_old_uid(p, &place) || s->look == LOOK_REREAD)
        hashes_add(&p->seen_others, hash64_of(item->identity));
    return 0;
}

static int act(struct planner *p, const struct scanned *s, struct error *err)
{
    const struct vault_item *item = &s->item;
    switch (s->look) {
    case LOOK_SAME: return 0;
    case LOOK_NEW: return submit(p, item, OP_HOW_NEW, err);
    case LOOK_REREAD: return submit(p, item, OP_HOW_REREAD, err);
    case LOOK_FLAGS:
        return send_op(p,
                       &(struct op){.kind = OP_FLAGS,
                                    .identity = item->identity,
                                    .flags = item->flags,
                                    .keywords = item->keywords,
                                    .file = item->locator.name},
                       err);
    }
    return 0;
}

static void slice_add(struct planner *p, const struct vault_item *item)
{
    struct scanned *s = &p->slice[p->slice_n++];
    s->item = *item;
    s->identity_at = p->text.n;
    buf_append_bytes(&p->text, item->identity);
    s->name_at = p->text.n;
    buf_append_bytes(&p->text, item->locator.name);
    s->keywords_at = p->text.n;
    buf_append_bytes(&p->text, item->keywords);
}

static int slice_finish(struct planner *p, struct error *err)
{
    struct mds_txn *txn = NULL;
    int rc = p->slice_n ? mds_read_begin(p->run->env, &txn, err) : 0;
    for (size_t i = 0; rc == 0 && i < p->slice_n; i++) {
        struct scanned *s = &p->slice[i];
        s->item.identity.p = p->text.p + s->identity_at; /* text has stopped moving */
        s->item.locator.name.p = p->text.p + s->name_at;
        s->item.locator.container = p->at.name;
        s->item.keywords.p = p->text.p + s->keywords_at;
        rc = look_up(p, txn, s, err);
    }
    mds_read_end(&txn);
    for (size_t i = 0; rc == 0 && i < p->slice_n; i++)
        rc = act(p, &p->slice[i], err);
    p->slice_n = 0;
    buf_reset(&p->text);
    return rc;
}

static int check_cancel(const struct planner *p, struct error *err)
{
    if (indexer_cancelled(p->run->build))
        return error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
    return 0;
}

/* *scan_rc_out < 0: the vault could not be read on (scan_err says why); the result is for what is fatal. */
static int plan_items(struct planner *p, struct vault_scan *scan, int *scan_rc_out, struct error *scan_err,
                      struct error *err)
{
    struct vault_item item;
    bool is_mbox = kind_is_mbox(p->kind);
    int rc = 0, step;
    while ((step = vault_scan_next_item(scan, &item, scan_err)) == VAULT_MORE) {
        if (is_mbox) {
            rc = submit(p, &item, OP_HOW_MBOX, err);
        } else if (p->container_rows == 0) {
            if (names_travel(p) && p->source_rows && p->added.n < MOVES_MAX)
                hashes_add(&p->added, hash64_of(item.identity));
            rc = submit(p, &item, OP_HOW_NEW, err);
        } else {
            slice_add(p, &item);
            if (p->slice_n == SLICE_ITEMS)
                rc = slice_finish(p, err);
        }
        if (rc < 0 || (rc = check_cancel(p, err)) < 0)
            return rc;
    }
    *scan_rc_out = step;
    return slice_finish(p, err);
}

/* ---- what is no longer there -------------------------------------------------------- */

/* Walks a container's places in slices. gone: the whole container is, places are only counted and named. */
static int walk_missing(struct planner *p, uint32_t container, bool gone, struct error *err)
{
    struct buf last = {0}, names = {0};
    bool more = true, first = true;
    int rc = 0;
    hashes_sort(&p->seen_others);
    while (rc == 0 && more) {
        struct mds_txn *txn = NULL;
        rc = mds_read_begin(p->run->env, &txn, err);
        for (unsigned i = 0; rc == 0 && i < SLICE_ITEMS; i++) {
            struct mds_place place;
            struct bytes after = buf_bytes(&last);
            int step = mds_place_next(txn, container, first ? NULL : &after, &place, err);
            if (step <= 0) {
                more = false;
                rc = step;
                break;
            }
            first = false;
            buf_reset(&last);
            buf_append_bytes(&last, place.identity);
            if (!gone && was_seen(p, &place))
                continue;
            if (place.uid) {
                p->missing_n++;
                if (names_travel(p))
                    hashes_add(&p->missing, hash64_of(place.identity));
            }
            if (!gone)
                buf_put_blob(&names, place.identity);
        }
        mds_read_end(&txn);
        struct reader r = reader_of(buf_bytes(&names));
        while (rc == 0 && r.p < r.end)
            rc = send_op(p, &(struct op){.kind = OP_MISSING, .identity = reader_blob(&r)}, err);
        buf_reset(&names);
        if (rc == 0)
            rc = check_cancel(p, err);
    }
    buf_release(&names);
    buf_release(&last);
    return rc;
}

struct gone_container {
    uint32_t id, rows;
};

/* Containers of the source that the scan did not show. */
static int plan_gone(struct planner *p, struct error *err)
{
    struct gone_container *gone = NULL;
    size_t n = 0, cap = 0;
    struct mds_txn *txn = NULL;
    struct mds_container c = {0};
    int rc = mds_read_begin(p->run->env, &txn, err);
    if (rc < 0)
        return rc;
    while ((rc = mds_container_next(txn, c.id + 1, &c, err)) > 0) {
        if (c.id > p->container_last)
            break;
        if (c.source != p->source_id || roaring_bitmap_contains(p->containers, c.id))
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 64;
            gone = realloc(gone, cap * sizeof *gone);
            ASSERT(gone);
        }
        gone[n++] = (struct gone_container){c.id, c.rows};
    }
    mds_read_end(&txn);
    rc = rc > 0 ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = walk_missing(p, gone[i].id, true, err);
        if (rc == 0)
            rc = send_op(p, &(struct op){.kind = OP_GONE, .container = gone[i].id, .rows = gone[i].rows}, err);
    }
    free(gone);
    return rc;
}

static uint64_t count_moved(struct planner *p)
{
    uint64_t moved = 0;
    hashes_sort(&p->added);
    for (size_t i = 0; i < p->missing.n; i++)
        moved += hashes_has(&p->added, p->missing.v[i]);
    return moved;
}

/* ---- containers and sources ---------------------------------------------------------- */

static bool is_unchanged(const struct planner *p, const struct mds_container *c)
{
    const struct vault_stamp *s = &p->at.stamp;
    return !p->run->build->full && c->scanned_ns && !c->failures && c->mtime_ns == s->mtime_ns && c->size == s->size &&
           c->inode == s->inode && s->mtime_ns < c->scanned_ns - INDEXER_STILL_NS;
}

/* Sets the container fields; *skip_out: nothing to do. */
static int container_look_up(struct planner *p, bool *skip_out, struct error *err)
{
    p->container_id = p->container_folder = p->container_rows = p->uidnext = 0;
    p->matched = 0;
    roaring_bitmap_clear(p->seen_uids);
    p->seen_others.n = 0;
    *skip_out = p->at.unreadable;
    if (!p->source_id)
        return 0;
    struct mds_txn *txn = NULL;
    struct mds_container c;
    struct mds_folder folder;
    int rc = mds_read_begin(p->run->env, &txn, err);
    if (rc < 0)
        return rc;
    rc = mds_container_find(txn, p->source_id, p->at.name, false, &c, err);
    if (rc == 0) {
        p->container_id = c.id;
        p->container_folder = c.folder;
        p->container_rows = c.rows;
        p->passed_rows += c.rows;
        p->uidnext = mds_folder_get(txn, c.folder, &folder, NULL) == 0 ? folder.uidnext : 0;
        roaring_bitmap_add(p->containers, c.id);
        *skip_out = *skip_out || is_unchanged(p, &c);
    }
    mds_read_end(&txn);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

static int container_plan(struct planner *p, struct vault_scan *scan, int *scan_rc_out, struct error *err)
{
    struct error scan_err = {0};
    bool skip;
    int64_t now = indexer_wall_ns();
    int rc = container_look_up(p, &skip, err);
    if (rc < 0)
        return rc;
    atomic_fetch_add_explicit(&p->run->containers, 1, memory_order_relaxed);
    if (p->at.unreadable) {
        p->containers_hidden = true;
        return send_trouble(p, err, "%.*s: the folder cannot be read: left as it is", (int)p->at.name.n,
                            (const char *)p->at.name.p);
    }
    if (skip) {
        atomic_fetch_add_explicit(&p->run->containers_skipped, 1, memory_order_relaxed);
        return 0;
    }
    rc = send_op(p,
                 &(struct op){.kind = OP_CONTAINER,
                              .name = p->at.name,
                              .folder = p->at.folder,
                              .stamp = p->at.stamp,
                              .scanned_ns = now,
                              .is_mbox = kind_is_mbox(p->kind)},
                 err);
    if (rc == 0)
        rc = plan_items(p, scan, scan_rc_out, &scan_err, err);
    bool listed = *scan_rc_out == VAULT_DONE;
    bool complete = listed && (rc < 0 || vault_scan_is_settled(scan)); /* else the next build looks again */
    if (rc == 0 && complete && !kind_is_mbox(p->kind) && p->matched != p->container_rows)
        rc = walk_missing(p, p->container_id, false, err);
    if (rc == 0)
        rc = send_op(p, &(struct op){.kind = OP_CONTAINER_END, .complete = complete}, err);
    if (rc == 0 && !listed)
        rc = send_trouble(p, err, "%s", scan_err.text);
    int64_t after = indexer_monotonic_ns();
    if (rc == 0 && after - p->flushed_ns > FLUSH_NS) {
        p->flushed_ns = after;
        rc = ingest_flush(p->run->ingest, err);
    }
    return rc;
}

/* The source's id and how many items the store has of it. */
static int source_look_up(struct planner *p, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct mds_container c = {0};
    p->source_id = 0;
    p->source_rows = p->passed_rows = 0;
    p->container_last = 0;
    int rc = mds_read_begin(p->run->env, &txn, err);
    if (rc < 0)
        return rc;
    rc = mds_source_id(txn, bytes_str(p->source->name), false, &p->source_id, err);
    if (rc == BASE_ERR_NOTFOUND) {
        p->source_id = 0;
        rc = 0;
    } else if (rc == 0) {
        while ((rc = mds_container_next(txn, c.id + 1, &c, err)) > 0) {
            p->container_last = c.id;
            if (c.source == p->source_id)
                p->source_rows += c.rows - c.failures;
        }
    }
    mds_read_end(&txn);
    return rc;
}

static int source_scan(struct planner *p, bool *complete_out, struct error *err)
{
    struct vault_scan *scan = NULL;
    struct error scan_err = {0};
    int step = vault_scan_new(p->source->vault, p->run->tmp, &scan, &scan_err);
    int rc = 0;
    p->scan = scan;
    while (step >= 0 && (step = vault_scan_next_container(scan, &p->at, &scan_err)) == VAULT_MORE) {
        int items_rc = 0; /* one that cannot be read on does not hide the others */
        rc = container_plan(p, scan, &items_rc, err);
        if (rc < 0)
            break;
    }
    *complete_out = step == VAULT_DONE;
    if (rc == 0 && step < 0)
        rc = send_trouble(p, err, "%s: %s", p->source->name, scan_err.text);
    if (rc == 0 && scan && vault_scan_skipped(scan))
        log_to(LOG_LEVEL_INFO, "indexer: passed over: source=%s things=%llu last=%s", p->source->name,
               (unsigned long long)vault_scan_skipped(scan), vault_scan_skip_reason(scan));
    vault_scan_free(&scan);
    p->scan = NULL;
    return rc;
}

static int source_plan(struct planner *p, struct indexer_source *source, struct error *err)
{
    bool complete = true;
    p->source = source;
    p->kind = source->vault ? vault_kind(source->vault) : VAULT_KIND_AUTO;
    p->missing_n = 0;
    p->added.n = p->missing.n = 0;
    p->containers_hidden = false;
    roaring_bitmap_clear(p->containers);
    int rc = source_look_up(p, err);
    if (rc == 0)
        rc = send_op(p,
                     &(struct op){.kind = OP_SOURCE,
                                  .source = (uint32_t)(source - p->run->sources),
                                  .rows = p->source_rows},
                     err);
    if (rc == 0 && source->vault)
        rc = source_scan(p, &complete, err);
    if (rc == 0 && complete && !p->containers_hidden && p->source_id)
        rc = plan_gone(p, err);
    if (rc == 0)
        rc = send_op(p,
                     &(struct op){.kind = OP_SOURCE_END,
                                      .complete = complete,
                                      .rows = p->missing_n,
                                      .moved = count_moved(p)},
                     err);
    return rc;
}

/* Tells the writer that this was all; the pipeline stays open for the next archive. */
static void plan_end(struct planner *p, int rc)
{
    struct indexer_run *run = p->run;
    struct error why = {0};
    atomic_store_explicit(&run->planned, p->submitted, memory_order_relaxed);
    atomic_store_explicit(&run->planned_all, rc == 0, memory_order_relaxed);
    int sent = send_op(p, &(struct op){.kind = OP_END}, &why);
    if (sent == 0)
        sent = ingest_flush(run->ingest, &why); /* also what makes it the last of its batch */
    if (sent < 0)
        ingest_close(run->ingest); /* cancelled, or the nursery is dead: the writer must not wait for more */
    if (sent < 0 && rc == 0) {
        rc = sent;
        run->plan_err = why;
    }
    run->plan_rc = rc;
}

void *indexer_plan(void *arg)
{
    struct indexer_run *run = arg;
    struct planner *p = calloc(1, sizeof *p);
    int rc = 0;
    ASSERT(p);
    p->run = run;
    p->flushed_ns = indexer_monotonic_ns();
    p->containers = roaring_bitmap_create();
    p->seen_uids = roaring_bitmap_create();
    ASSERT(p->containers && p->seen_uids);
    for (uint32_t i = 0; rc == 0 && i < run->sources_n; i++)
        if (run->sources[i].vault || (run->sources[i].name && run->build->allow_removals))
            rc = source_plan(p, &run->sources[i], &run->plan_err);
    if (rc == 0 && run->restore && !p->known_filled)
        rc = fill_known(p, &run->plan_err);
    if (rc == 0 && run->restore)
        rc = indexer_carry_plan(run, &run->plan_err);
    plan_end(p, rc);
    roaring_bitmap_free(p->containers);
    roaring_bitmap_free(p->seen_uids);
    hashes_release(&p->added);
    hashes_release(&p->missing);
    hashes_release(&p->seen_others);
    buf_release(&p->tag);
    buf_release(&p->text);
    free(p);
    return NULL;
}

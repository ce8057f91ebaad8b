/*
 * Freeing what nobody wants any more. First the metadata lets go of messages that were expunged long ago, then segments
 * of the own vault that are mostly dead are emptied into the active one.
 *
 * Safe against a kill anywhere: an item's new bytes are synced before the transaction with its new locator commits, and
 * a file is removed only when a scan of what is committed shows nothing in it. Safe against other writers: locators
 * change under the archive's write lock, new items go to the active segment only, and that one is never emptied.
 */
#include "archive_private.h"

#include "filing/filing.h"
#include "system.h"

#include "vault/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEAD_PART 50u

struct live_segment {
    uint32_t number, container; /* container 0: no item was ever committed there */
    uint64_t bytes, live;
    bool victim;
};

struct live {
    struct live_segment *at;
    size_t n, cap;
    uint32_t active, own; /* own: the source; 0 if there is none */
};

struct compact {
    const struct indexer_compact *c;
    struct indexer_compacted *out;
    struct mds_env *env;
    struct live live;
    uint64_t *ids; /* items in victims */
    size_t ids_n, ids_cap;
};

/* ---- messages that were expunged long ago ---- */

static int purge(struct compact *k, struct error *err)
{
    struct archive_turn t = {.at = &k->c->at, .env = k->env};
    uint32_t folder = 0, uid = 0;
    int rc;
    while ((rc = archive_turn_next(&t, err)) == 0) {
        struct mds_removed r;
        bool gone = false;
        rc = mds_removed_next(t.txn, folder, uid, &r, err);
        if (rc <= 0)
            break;
        folder = r.folder;
        uid = r.uid;
        if (r.removed_at >= k->c->before)
            continue;
        rc = mds_removed_purge(t.txn, folder, uid, &gone, err);
        if (rc < 0)
            break;
        k->out->purged++;
        k->out->items_gone += gone;
    }
    return archive_turn_end(&t, rc, err);
}

/* ---- what is in use of each segment ---- */

static struct live_segment *by_container(struct live *l, uint32_t container)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].container == container)
            return &l->at[i];
    return NULL;
}

static void segment_add(struct live *l, struct live_segment s)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->at = realloc(l->at, l->cap * sizeof *l->at);
        ASSERT(l->at);
    }
    l->at[l->n++] = s;
}

static int list_segments(struct compact *k, struct error *err)
{
    struct live *l = &k->live;
    struct mds_segments at;
    struct mds_txn *txn = NULL;
    uint32_t number = 0;
    uint64_t bytes;
    int rc = mds_read_begin(k->env, &txn, err);
    if (rc == 0)
        rc = mds_segments_get(txn, &at, err);
    if (rc == 0 && mds_source_id(txn, BYTES_LIT(MDS_SOURCE_OWN), false, &l->own, NULL) < 0)
        l->own = 0;
    l->n = 0;
    l->active = at.active;
    while (rc == 0 && (rc = segment_next(mds_dir(k->env), number, &number, &bytes, err)) > 0) {
        char name[16];
        struct mds_container c = {0};
        rc = 0;
        if (number > at.active)
            break; /* somebody is writing it, or did not finish: the next writer's */
        snprintf(name, sizeof name, "%08u", number);
        if (l->own && mds_container_find(txn, l->own, bytes_str(name), false, &c, NULL) < 0)
            c.id = 0;
        segment_add(l, (struct live_segment){
                           .number = number, .container = c.id, .bytes = number == at.active ? at.tail : bytes});
    }
    mds_read_end(&txn);
    return rc;
}

/* All items of the own vault, some at a time: live bytes of each segment, or (collect) the ids of those in victims. */
static int walk_items(struct compact *k, bool collect, struct error *err)
{
    struct mds_item item;
    struct mds_txn *txn = NULL;
    uint64_t from = 1;
    int rc = k->live.own ? mds_read_begin(k->env, &txn, err) : 0;
    if (!txn)
        return rc;
    for (unsigned n = 1; (rc = mds_item_next(txn, from, &item, err)) > 0; n++) {
        struct live_segment *s =
            item.locator.source == k->live.own ? by_container(&k->live, item.locator.container) : NULL;
        from = item.id + 1;
        if (s && !collect)
            s->live += item.locator.length;
        if (s && collect && s->victim) {
            if (k->ids_n == k->ids_cap) {
                k->ids_cap = k->ids_cap ? 2 * k->ids_cap : 1024;
                k->ids = realloc(k->ids, k->ids_cap * sizeof *k->ids);
                ASSERT(k->ids);
            }
            k->ids[k->ids_n++] = item.id;
        }
        if (n % ARCHIVE_TURN_ROWS)
            continue;
        rc = archive_check_cancel(&k->c->at, err);
        if (rc == 0)
            rc = mds_read_renew(txn, err);
        if (rc < 0)
            break;
    }
    mds_read_end(&txn);
    return rc;
}

static int survey(struct compact *k, struct error *err)
{
    int rc = list_segments(k, err);
    return rc == 0 ? walk_items(k, false, err) : rc;
}

/* ---- moving ---- */

static bool is_mostly_dead(const struct compact *k, const struct live_segment *s)
{
    const unsigned part = k->c->dead_part ? k->c->dead_part : DEAD_PART;
    return s->live < s->bytes && (s->bytes - s->live) / (double)s->bytes * 100 > part;
}

/* The active one is given up for a new one, so that it can be emptied like the others. */
static int leave_active(struct compact *k, struct error *err)
{
    struct archive_turn t = {.at = &k->c->at, .env = k->env};
    struct segment_writer *w = NULL;
    int rc = archive_turn_next(&t, err);
    if (rc == 0)
        rc = archive_turn_writer(&t, &w, err);
    if (rc == 0)
        rc = segment_writer_roll(w, err);
    return archive_turn_end(&t, rc, err);
}

/* 1 moved, 0 it is not there any more or cannot be read (then its segment stays). */
static int move_item(struct compact *k, struct archive_turn *t, uint64_t id, struct error *err)
{
    struct segment_writer *w = NULL;
    struct mds_item item;
    struct mds_locator to = {0};
    struct error why = {0};
    uint32_t segment = 0;
    int rc = mds_item_get(t->txn, id, &item, err);
    if (rc < 0)
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    const struct live_segment *s =
        item.locator.source == k->live.own ? by_container(&k->live, item.locator.container) : NULL;
    if (!s || !s->victim)
        return 0;
    rc = archive_turn_writer(t, &w, err);
    if (rc == 0) {
        rc = segment_writer_copy(w, mds_dir(k->env), s->number, item.locator.offset, item.locator.length, &segment,
                                 &to.offset, &why);
        if (rc == BASE_ERR_CORRUPT || rc == BASE_ERR_GONE)
            return 0;
        if (rc < 0 && err)
            *err = why;
    }
    to.length = item.locator.length;
    to.filter = item.locator.filter;
    if (rc == 0)
        rc = filing_own_place(t->txn, segment, &to, err);
    if (rc == 0)
        rc = mds_item_get(t->txn, id, &item, err); /* the views died with the container's row */
    item.locator = to;
    if (rc == 0)
        rc = mds_item_update(t->txn, &item, NULL, err);
    return rc < 0 ? rc : 1;
}

static int move_items(struct compact *k, struct error *err)
{
    struct archive_turn t = {.at = &k->c->at, .env = k->env};
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < k->ids_n; i++) {
        rc = archive_turn_next(&t, err);
        if (rc == 0)
            rc = move_item(k, &t, k->ids[i], err);
        k->out->items_moved += rc > 0;
    }
    return archive_turn_end(&t, rc > 0 ? 0 : rc, err);
}

/* ---- files that hold nothing ---- */

static int forget_container(struct compact *k, uint32_t container, struct error *err)
{
    struct archive_turn t = {.at = &k->c->at, .env = k->env};
    int rc = container ? archive_turn_next(&t, err) : 0;
    if (rc == 0 && container)
        rc = mds_container_remove(t.txn, container, err);
    return archive_turn_end(&t, rc == BASE_ERR_NOTFOUND ? 0 : rc, err);
}

static int remove_empty(struct compact *k, struct error *err)
{
    int rc = survey(k, err);
    for (size_t i = 0; rc == 0 && i < k->live.n; i++) {
        const struct live_segment *s = &k->live.at[i];
        if (s->live || s->number == k->live.active) {
            k->out->bytes_after += s->bytes;
            continue;
        }
        rc = segment_remove(mds_dir(k->env), s->number, err);
        if (rc == 0)
            rc = forget_container(k, s->container, err);
        k->out->removed += rc == 0;
    }
    return rc;
}

static int compact_segments(struct compact *k, struct error *err)
{
    bool active_too = false;
    int rc = survey(k, err);
    for (size_t i = 0; i < k->live.n; i++) {
        struct live_segment *s = &k->live.at[i];
        s->victim = is_mostly_dead(k, s);
        active_too |= s->victim && s->number == k->live.active;
        k->out->segments++;
        k->out->rewritten += s->victim && s->live;
        k->out->bytes_before += s->bytes;
    }
    if (rc == 0 && active_too)
        rc = leave_active(k, err);
    if (rc == 0)
        rc = walk_items(k, true, err);
    if (rc == 0)
        rc = move_items(k, err);
    return rc == 0 ? remove_empty(k, err) : rc;
}

int indexer_compact(const struct indexer_compact *c, struct indexer_compacted *out, struct error *err)
{
    struct compact k = {.c = c, .out = out};
    int lock = -1;
    *out = (struct indexer_compacted){0};
    int rc = archive_open(&c->at, true, &k.env, err);
    if (rc == 0)
        rc = segment_lock(mds_dir(k.env), true, &lock, err);
    if (rc == 0)
        rc = purge(&k, err);
    if (rc == 0)
        rc = compact_segments(&k, err);
    if (lock >= 0)
        (void)close(lock);
    free(k.live.at);
    free(k.ids);
    mds_close(&k.env);
    return rc;
}

/*
 * An item that several messages share is read from one place. When that place goes, another takes over; when there is
 * no other, messages that clients copied or moved away from it go too. Which items are concerned is found by looking,
 * not by remembering: a mark in the store says that it is needed, so that a killed build's successor does it.
 */
#include "indexer_private.h"

#include <stdlib.h>
#include <string.h>

#define SLICE 1000u

int indexer_relocate_mark(struct indexer_writer *w, struct error *err)
{
    if (w->relocate)
        return 0;
    w->relocate = true;
    return mds_meta_put(w->txn, INDEXER_META_RELOCATE, BYTES_LIT("1"), true, err);
}

struct ids {
    uint64_t *v; /* ascending */
    size_t n, cap;
};

static void ids_add(struct ids *l, uint64_t id)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->v = realloc(l->v, l->cap * sizeof *l->v);
        ASSERT(l->v);
    }
    l->v[l->n++] = id;
}

static bool ids_has(const struct ids *l, uint64_t id)
{
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->v[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < l->n && l->v[low] == id;
}

static int place_holds(struct mds_txn *txn, uint32_t container, struct bytes identity, uint64_t item, bool *yes,
                       struct error *err)
{
    struct mds_place place;
    if (!identity.n || identity.n > MDS_NAME_MAX)
        return 0;
    int rc = mds_place_get(txn, container, identity, &place, err);
    if (rc == 0 && place.uid && place.item == item)
        *yes = true;
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

/* Does the place that the locator names still hold this item? */
static int is_placed(struct mds_txn *txn, const struct mds_item *item, bool *yes, struct error *err)
{
    const struct mds_locator *l = &item->locator;
    *yes = false;
    if (!l->name.n) {
        uint8_t key[INDEXER_MBOX_KEY];
        indexer_mbox_key(l->offset, key);
        return place_holds(txn, l->container, bytes_of(key, sizeof key), item->id, yes, err);
    }
    const uint8_t *slash = memrchr(l->name.p, '/', l->name.n);
    struct bytes base = slash ? bytes_slice(l->name, (size_t)(slash - l->name.p) + 1, l->name.n) : l->name;
    const uint8_t *colon = base.n ? memchr(base.p, ':', base.n) : NULL;
    int rc = place_holds(txn, l->container, base, item->id, yes, err);
    if (rc == 0 && !*yes && colon)
        rc = place_holds(txn, l->container, bytes_of(base.p, (size_t)(colon - base.p)), item->id, yes, err);
    return rc;
}

static int find_displaced(struct indexer_run *run, struct ids *out, struct error *err)
{
    uint64_t from = 1;
    uint32_t own = 0; /* items there have no places: their segments are theirs alone */
    int rc = 1;
    while (rc > 0) {
        struct mds_txn *txn = NULL;
        rc = mds_read_begin(run->env, &txn, err);
        if (rc < 0)
            break;
        if (!own && mds_source_id(txn, BYTES_LIT(MDS_SOURCE_OWN), false, &own, NULL) < 0)
            own = 0;
        for (unsigned i = 0; i < SLICE; i++) {
            struct mds_item item;
            bool placed;
            rc = mds_item_next(txn, from, &item, err);
            if (rc <= 0)
                break;
            from = item.id + 1;
            if (own && item.locator.source == own)
                continue;
            rc = is_placed(txn, &item, &placed, err);
            if (rc < 0)
                break;
            if (!placed)
                ids_add(out, item.id);
            rc = 1;
        }
        mds_read_end(&txn);
    }
    return rc;
}

/* One place that an item may be read from instead. */
struct found {
    uint64_t item, size;
    int64_t mtime_ns;
    size_t identity_at, identity_n;
};

static int apply(struct indexer_writer *w, const struct mds_container *c, bool maildir, const struct found *f,
                 struct bytes identity, struct error *err)
{
    struct mds_item item;
    struct buf name = {0};
    bool placed = false;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_item_get(w->txn, f->item, &item, err);
    if (rc == 0)
        rc = is_placed(w->txn, &item, &placed, err);
    if (rc < 0 || placed) /* an earlier place did it */
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    item.locator = (struct mds_locator){.source = c->source, .container = c->id};
    if (w->container_is_mbox) {
        item.locator.offset = get_be64(identity.p);
        item.locator.length = f->size;
        item.locator.filter = (uint32_t)f->mtime_ns;
    } else {
        buf_append_str(&name, maildir ? "cur/" : ""); /* found in new/ as well, by its base name */
        buf_append_bytes(&name, identity);
        item.locator.name = buf_bytes(&name);
    }
    rc = mds_item_update(w->txn, &item, NULL, err);
    buf_release(&name);
    return rc < 0 ? rc : indexer_writer_breathe(w, err);
}

static bool begins_with(struct bytes s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static int search_container(struct indexer_writer *w, const struct mds_container *c, const struct ids *wanted,
                            struct error *err)
{
    struct buf last = {0}, text = {0};
    struct found found[SLICE];
    bool first = true, maildir = false;
    int rc = 1;
    while (rc > 0) {
        struct mds_txn *txn = NULL;
        struct bytes source;
        size_t n = 0;
        buf_reset(&text);
        rc = mds_read_begin(w->run->env, &txn, err);
        if (rc < 0)
            break;
        rc = mds_source_name(txn, c->source, &source, err);
        if (rc == 0 && begins_with(source, INDEXER_IMPORT)) { /* its items are in the own vault */
            mds_read_end(&txn);
            break;
        }
        maildir = rc == 0 && begins_with(source, "maildir");
        w->container_is_mbox = rc == 0 && begins_with(source, "mbox");
        rc = rc == 0 ? 1 : rc;
        for (unsigned i = 0; rc > 0 && i < SLICE; i++) {
            struct mds_place place;
            struct bytes after = buf_bytes(&last);
            rc = mds_place_next(txn, c->id, first ? NULL : &after, &place, err);
            if (rc <= 0)
                break;
            first = false;
            buf_reset(&last);
            buf_append_bytes(&last, place.identity);
            if (!place.uid || !ids_has(wanted, place.item) ||
                (w->container_is_mbox && place.identity.n != INDEXER_MBOX_KEY))
                continue;
            found[n++] = (struct found){place.item, place.size, place.mtime_ns, text.n, place.identity.n};
            buf_append_bytes(&text, place.identity);
        }
        mds_read_end(&txn);
        for (size_t i = 0; rc >= 0 && i < n; i++) {
            int applied =
                apply(w, c, maildir, &found[i], bytes_of(text.p + found[i].identity_at, found[i].identity_n), err);
            rc = applied < 0 ? applied : rc;
        }
        if (n) { /* no transaction may wait for the next slice's */
            int committed = rc < 0 ? 0 : indexer_writer_commit(w, err);
            rc = committed < 0 ? committed : rc;
        }
    }
    buf_release(&last);
    buf_release(&text);
    return rc;
}

/* Nothing holds the item's bytes any more: what clients made of it (copies, moves, messages kept aside) goes with them.
 */
static int let_go(struct indexer_writer *w, uint64_t id, struct error *err)
{
    struct mds_item item;
    bool placed = false, gone = false;
    uint32_t folder, uid;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_item_get(w->txn, id, &item, err);
    if (rc == 0)
        rc = is_placed(w->txn, &item, &placed, err);
    if (rc < 0 || placed)
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    rc = 1;
    while (!gone && rc > 0) {
        uint64_t pos = 0;
        rc = mds_item_messages(w->txn, id, &pos, &folder, &uid, err);
        if (rc > 0) {
            int removed = mds_message_remove(w->txn, folder, uid, &gone, err);
            w->report->messages_expunged += removed == 0;
            rc = removed < 0 ? removed : rc;
        }
    }
    while (!gone && rc >= 0) {
        uint64_t pos = 0;
        rc = mds_item_removed(w->txn, id, &pos, &folder, &uid, err);
        if (rc <= 0)
            break;
        int purged = mds_removed_purge(w->txn, folder, uid, &gone, err);
        rc = purged < 0 ? purged : rc;
    }
    return rc < 0 ? rc : indexer_writer_breathe(w, err);
}

int indexer_relocate(struct indexer_writer *w, struct error *err)
{
    struct ids wanted = {0};
    struct mds_container c = {0};
    /* Everything so far must be seen by the reads, and no write transaction may be open over them. */
    int rc = indexer_writer_commit(w, err);
    if (rc == 0)
        rc = find_displaced(w->run, &wanted, err);
    while (rc >= 0 && wanted.n) {
        struct mds_txn *txn = NULL;
        rc = mds_read_begin(w->run->env, &txn, err);
        if (rc == 0)
            rc = mds_container_next(txn, c.id + 1, &c, err);
        mds_read_end(&txn);
        if (rc <= 0)
            break;
        c.name = (struct bytes){0};
        rc = search_container(w, &c, &wanted, err);
    }
    for (size_t i = 0; rc == 0 && i < wanted.n; i++)
        rc = let_go(w, wanted.v[i], err);
    free(wanted.v);
    if (rc == 0)
        rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_meta_put(w->txn, INDEXER_META_RELOCATE, (struct bytes){0}, true, err);
    w->relocate = rc != 0;
    return rc;
}

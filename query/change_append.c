/*
 * APPEND and REPLACE: an item's bytes into the own vault, inside the transaction that files it (vault/segment.h). Items are
 * found again by hash and bytes; what was compared before, on the maker's thread, is not read again here.
 */
#include "change.h"

#include "filing/filing.h"

#include <glib.h>

static void items_push(struct turn *t, uint64_t id, struct mdsq_draft *draft)
{
    if (t->items_n == t->items_cap) {
        t->items_cap = t->items_cap ? 2 * t->items_cap : 16;
        t->items = g_renew(struct turn_item, t->items, t->items_cap);
    }
    t->items[t->items_n++] = (struct turn_item){id, draft};
}

static const struct turn_item *items_find(const struct turn *t, uint64_t id)
{
    for (size_t i = t->items_n; i-- > 0;) { /* ids ascend */
        if (t->items[i].id == id)
            return &t->items[i];
        if (t->items[i].id < id)
            break;
    }
    return NULL;
}

/* Only in the order in which this turn pushed them. */
static int match_item(struct turn *t, struct mdsq_draft *d, uint64_t id, enum draft_match *out, struct error *err)
{
    const struct turn_item *mine = items_find(t, id);

    if (mine) {
        *out = bytes_equal(draft_bytes(mine->draft), draft_bytes(d)) ? DRAFT_SAME : DRAFT_OTHER;
        return BASE_OK;
    }
    if (id == d->same_item) { /* compared when it was finished; ids are used once, and items of our own do not change */
        *out = DRAFT_SAME;
        return BASE_OK;
    }
    return draft_compare(d, t->txn, id, out, err);
}

/* *id_out: 0 if there is none; *elsewhere_out: one that has the bytes in a vault read in place. */
static int find_item(struct turn *t, struct mdsq_draft *d, uint64_t *id_out, uint64_t *elsewhere_out, struct error *err)
{
    uint64_t pos = 0, id;
    int rc;

    *id_out = *elsewhere_out = 0;
    while ((rc = mds_item_by_hash(t->txn, &d->hash, &pos, &id, err)) > 0) {
        enum draft_match match = DRAFT_OTHER;

        rc = match_item(t, d, id, &match, err);
        if (rc < 0)
            return rc;
        if (match == DRAFT_SAME) {
            *id_out = id;
            return BASE_OK;
        }
        if (match == DRAFT_SAME_ELSEWHERE && *elsewhere_out == 0)
            *elsewhere_out = id;
    }
    return rc;
}

static int segments_open(struct turn *t, struct error *err)
{
    struct mds_segments at;
    int rc = t->segments ? BASE_OK : mds_segments_get(t->txn, &at, err);

    if (rc < 0 || t->segments)
        return rc;
    return segment_writer_open(mds_dir(t->archive->env), at.active, at.tail, &t->segments, err);
}

static int bytes_add(struct turn *t, struct mdsq_draft *d, struct mds_locator *out, struct error *err)
{
    uint32_t segment = 0;
    int rc = draft_pack(d, err);

    *out = (struct mds_locator){0};
    t->is_mutated = true;
    if (rc >= 0)
        rc = segments_open(t, err);
    if (rc >= 0)
        rc = segment_writer_add(t->segments, d->packed, &segment, &out->offset, &out->length, &out->filter, err);
    if (rc >= 0)
        rc = filing_own_place(t->txn, segment, out, err);
    return rc;
}

static int item_add(struct turn *t, struct mdsq_draft *d, uint64_t *id_out, struct error *err)
{
    struct mds_item_words words;
    struct mds_locator locator;
    struct mds_item item;
    struct buf sort = {0};
    int rc = bytes_add(t, d, &locator, err);

    if (rc < 0)
        return rc;
    filing_item(&d->record, &d->hash, &locator, &sort, &item, &words);
    rc = mds_item_add(t->txn, &item, &words, err);
    buf_release(&sort);
    if (rc >= 0) {
        *id_out = item.id;
        items_push(t, item.id, d);
    }
    return rc;
}

/* The archive has the item from a vault that may lose it: from now on it has bytes of its own. */
static int item_adopt(struct turn *t, struct mdsq_draft *d, uint64_t id, struct error *err)
{
    struct mds_locator locator;
    struct mds_item item;
    int rc = bytes_add(t, d, &locator, err);

    if (rc >= 0)
        rc = mds_item_get(t->txn, id, &item, err);
    if (rc < 0)
        return rc;
    item.locator = locator;
    return mds_item_update(t->txn, &item, NULL, err);
}

static int item_resolve(struct turn *t, struct mdsq_draft *d, uint64_t *id_out, struct error *err)
{
    uint64_t elsewhere;
    int rc = find_item(t, d, id_out, &elsewhere, err);

    if (rc < 0 || *id_out)
        return rc;
    if (elsewhere == 0)
        return item_add(t, d, id_out, err);
    *id_out = elsewhere;
    return item_adopt(t, d, elsewhere, err);
}

static int message_add(struct turn *t, const struct change_message *m, uint32_t folder, uint32_t *uid_out,
                       struct error *err)
{
    const struct mime_record *r = &m->draft->record;
    struct keyword_classes keywords = {0};
    struct buf ids = {0};
    struct mds_message message = {
        .folder = folder,
        .size_crlf = r->size_crlf,
        .internal_date = m->internal_date,
        .internal_zone = m->internal_zone,
        .saved_date = t->now,
        .sent_date = r->has_sent_date ? r->sent_date : m->internal_date,
    };
    int rc = item_resolve(t, m->draft, &message.item, err);

    t->is_mutated = true;
    if (rc >= 0)
        rc = change_keywords_resolve(t, &m->flags, true, &keywords, err);
    if (rc >= 0) {
        message.flags = change_keywords_apply(&keywords, MDSQ_STORE_REPLACE, 0, (struct bytes){0}, &ids);
        message.keywords = buf_bytes(&ids);
        rc = mds_message_add(t->txn, &message, err);
        turn_touch(t, folder, 1);
    }
    *uid_out = message.uid;
    change_keywords_release(&keywords);
    buf_release(&ids);
    return rc;
}

static int messages_add(struct turn *t, struct mdsq_change *c, uint32_t folder, struct error *err)
{
    roaring_bitmap_t *uids = roaring_bitmap_create();
    int rc = BASE_OK;

    for (size_t i = 0; i < c->messages_n && rc >= 0; i++) {
        uint32_t uid = 0;

        rc = message_add(t, &c->messages[i], folder, &uid, err);
        if (rc >= 0)
            roaring_bitmap_add(uids, uid);
    }
    if (rc >= 0)
        c->result.dest = query_set_take(uids);
    else
        roaring_bitmap_free(uids);
    return rc;
}

int change_append(struct turn *t, struct mdsq_change *c, struct error *err)
{
    struct mds_folder folder;
    const int rc = change_destination(t, c, buf_bytes(&c->to), &folder, err);

    return rc < 0 ? rc : messages_add(t, c, folder.id, err);
}

int change_replace(struct turn *t, struct mdsq_change *c, struct error *err)
{
    const uint32_t uid = roaring_bitmap_minimum(c->uids->bitmap);
    struct mds_folder from, to, now;
    struct mds_message old;
    int rc = change_view_folder(t, c, &from, err);

    if (rc >= 0)
        rc = mds_message_get(t->txn, c->folder, uid, &old, err);
    if (rc >= 0)
        rc = change_destination(t, c, buf_bytes(&c->to), &to, err);
    if (rc >= 0)
        rc = messages_add(t, c, to.id, err);
    if (rc >= 0)
        rc = mds_message_expunge(t->txn, c->folder, uid, t->now, err);
    if (rc >= 0)
        rc = mds_folder_get(t->txn, c->folder, &now, err);
    if (rc >= 0) {
        c->result.changed = query_set_of(c->uids);
        c->result.modseq_first = from.highestmodseq + 1;
        c->result.modseq_last = now.highestmodseq;
    }
    return rc;
}

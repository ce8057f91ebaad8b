/* STORE, EXPUNGE, COPY and MOVE: messages of a view's folder. UIDs that are gone are passed over. */
#include "change.h"

/* The folder's modseqs that this change took. */
static int modseqs_set(struct turn *t, struct mdsq_change *c, uint64_t before, struct error *err)
{
    struct mds_folder now;
    const int rc = mds_folder_get(t->txn, c->folder, &now, err);

    if (rc >= 0 && now.highestmodseq > before) {
        c->result.modseq_first = before + 1;
        c->result.modseq_last = now.highestmodseq;
    }
    return rc;
}

/* ---- STORE ------------------------------------------------------------------------------------ */

struct store {
    struct turn *turn;
    struct mdsq_change *change;
    struct keyword_classes keywords;
    struct buf ids;
    roaring_bitmap_t *changed, *modified;
};

static int store_one(struct store *s, uint32_t uid, struct error *err)
{
    const struct mdsq_change *c = s->change;
    struct mds_message m;
    int rc = mds_message_get(s->turn->txn, c->folder, uid, &m, NULL);

    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK;
    if (rc < 0) /* once more, for the text */
        return mds_message_get(s->turn->txn, c->folder, uid, &m, err);
    if (c->is_conditional && m.modseq > c->unchanged_since) {
        roaring_bitmap_add(s->modified, uid);
        return BASE_OK;
    }
    roaring_bitmap_add(s->changed, uid);
    buf_reset(&s->ids);

    const uint32_t flags = change_keywords_apply(&s->keywords, c->mode, m.flags, m.keywords, &s->ids);

    if (flags == m.flags && bytes_equal(buf_bytes(&s->ids), m.keywords))
        return BASE_OK;
    s->turn->is_mutated = true;
    turn_touch(s->turn, c->folder, 1);
    return mds_message_set_flags(s->turn->txn, c->folder, uid, flags, buf_bytes(&s->ids), err);
}

/* A keyword is not made for nobody: only if a message is there that may get it. */
static int store_has_any(struct turn *t, const struct mdsq_change *c, bool *out, struct error *err)
{
    roaring_bitmap_t *exists = NULL;
    const int rc = mds_set_load(t->txn, c->folder, MDS_SET_EXISTS, &exists, err);

    if (rc < 0)
        return rc;
    *out = roaring_bitmap_intersect(exists, c->uids->bitmap);
    roaring_bitmap_free(exists);
    return BASE_OK;
}

int change_store(struct turn *t, struct mdsq_change *c, struct error *err)
{
    struct store s = {.turn = t, .change = c};
    struct mds_folder folder;
    bool any = false;
    int rc = change_view_folder(t, c, &folder, err);

    if (rc < 0)
        return rc;
    s.changed = roaring_bitmap_create();
    s.modified = roaring_bitmap_create();
    if (c->flags.names_n && c->mode != MDSQ_STORE_REMOVE)
        rc = store_has_any(t, c, &any, err);
    if (rc >= 0)
        rc = change_keywords_resolve(t, &c->flags, any, &s.keywords, err);

    roaring_uint32_iterator_t it;

    for (roaring_init_iterator(c->uids->bitmap, &it); rc >= 0 && it.has_value; roaring_advance_uint32_iterator(&it))
        rc = store_one(&s, it.current_value, err);
    if (rc >= 0)
        rc = modseqs_set(t, c, folder.highestmodseq, err);
    if (rc >= 0) {
        c->result.changed = query_set_take(s.changed);
        c->result.modified = query_set_take(s.modified);
        s.changed = s.modified = NULL;
    }
    if (s.changed)
        roaring_bitmap_free(s.changed);
    if (s.modified)
        roaring_bitmap_free(s.modified);
    change_keywords_release(&s.keywords);
    buf_release(&s.ids);
    return rc;
}

/* ---- those of a change's UIDs that are there -------------------------------------------------- */

static int members_of(struct turn *t, const struct mdsq_change *c, uint32_t set, roaring_bitmap_t **out, struct error *err)
{
    const int rc = mds_set_load(t->txn, c->folder, set, out, err);

    if (rc >= 0)
        roaring_bitmap_and_inplace(*out, c->uids->bitmap);
    return rc;
}

int change_expunge(struct turn *t, struct mdsq_change *c, struct error *err)
{
    roaring_bitmap_t *doomed = NULL;
    struct mds_folder folder;
    int rc = change_view_folder(t, c, &folder, err);

    if (rc >= 0)
        rc = members_of(t, c, MDS_SET_FLAG(3), &doomed, err); /* VAULT_FLAG_DELETED is bit 3 */
    if (rc < 0)
        return rc;

    roaring_uint32_iterator_t it;

    for (roaring_init_iterator(doomed, &it); rc >= 0 && it.has_value; roaring_advance_uint32_iterator(&it)) {
        t->is_mutated = true;
        turn_touch(t, c->folder, 1);
        rc = mds_message_expunge(t->txn, c->folder, it.current_value, t->now, err);
    }
    if (rc >= 0)
        rc = modseqs_set(t, c, folder.highestmodseq, err);
    if (rc >= 0)
        c->result.changed = query_set_take(doomed);
    else
        roaring_bitmap_free(doomed);
    return rc;
}

/* ---- COPY and MOVE ----------------------------------------------------------------------------- */

static int transfer(struct turn *t, struct mdsq_change *c, bool move, struct error *err)
{
    roaring_bitmap_t *source = NULL, *dest = NULL;
    struct mds_folder from, to;
    int rc = change_view_folder(t, c, &from, err);

    if (rc >= 0)
        rc = change_destination(t, c, buf_bytes(&c->to), &to, err);
    if (rc >= 0)
        rc = members_of(t, c, MDS_SET_EXISTS, &source, err);
    if (rc < 0)
        return rc;
    dest = roaring_bitmap_create();

    roaring_uint32_iterator_t it;

    for (roaring_init_iterator(source, &it); rc >= 0 && it.has_value; roaring_advance_uint32_iterator(&it)) {
        uint32_t uid = 0;

        t->is_mutated = true;
        turn_touch(t, move ? c->folder : to.id, 1);
        rc = move ? mds_message_move(t->txn, c->folder, it.current_value, to.id, t->now, &uid, err)
                  : mds_message_copy(t->txn, c->folder, it.current_value, to.id, t->now, &uid, err);
        if (rc >= 0)
            roaring_bitmap_add(dest, uid);
    }
    if (rc >= 0 && move)
        rc = modseqs_set(t, c, from.highestmodseq, err);
    if (rc < 0) {
        roaring_bitmap_free(source);
        roaring_bitmap_free(dest);
        return rc;
    }
    c->result.source = query_set_take(source);
    c->result.dest = query_set_take(dest);
    if (move)
        c->result.changed = query_set_of(c->result.source->uids);
    return BASE_OK;
}

int change_copy(struct turn *t, struct mdsq_change *c, struct error *err)
{
    return transfer(t, c, false, err);
}

int change_move(struct turn *t, struct mdsq_change *c, struct error *err)
{
    return transfer(t, c, true, err);
}

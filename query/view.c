/*
 * Views: a session's idea of its folder. The set is shared with every session of the same folder state; only a
 * session that may not be told of an expunge yet has a set of its own.
 */
#include "query_private.h"

#include <glib.h>

#define RANK_RATHER_THAN_WALK 64 /* so few expunges are ranked one by one */

int mdsq_view_open(struct mdsq_reader *reader, const char *folder, struct mdsq_view **out, struct mdsq_error *err)
{
    struct error e;
    struct mds_folder f;
    struct query_uids *uids = NULL;
    int rc;

    query_error_init(&e);
    *out = NULL;
    rc = query_folder_find(reader->txn, folder, &f, &e);
    if (rc >= 0)
        rc = query_archive_uids(reader->archive, reader->txn, &f, &uids, &e);
    if (rc < 0)
        return query_result(rc, &e, err);

    struct mdsq_view *view = g_new0(struct mdsq_view, 1);

    view->folder = f.id;
    view->uidvalidity = f.uidvalidity;
    view->highestmodseq = f.highestmodseq;
    view->uidnext = f.uidnext;
    view->uids = uids;
    *out = view;
    return MDSQ_OK;
}

void mdsq_view_close(struct mdsq_view **view)
{
    struct mdsq_view *v = *view;

    *view = NULL;
    if (v == NULL)
        return;
    query_uids_unref(&v->uids);
    g_free(v);
}

uint32_t mdsq_view_count(const struct mdsq_view *view)
{
    return view->uids->count;
}

uint64_t mdsq_view_modseq(const struct mdsq_view *view)
{
    return view->highestmodseq;
}

bool mdsq_view_has_untold(const struct mdsq_view *view)
{
    return view->pending;
}

uint32_t mdsq_view_uid(const struct mdsq_view *view, uint32_t seq)
{
    uint32_t uid = 0;

    if (seq == 0 || seq > view->uids->count || !roaring_bitmap_select(view->uids->bitmap, seq - 1, &uid))
        return 0;
    return uid;
}

uint32_t mdsq_view_seq(const struct mdsq_view *view, uint32_t uid)
{
    if (!roaring_bitmap_contains(view->uids->bitmap, uid))
        return 0;
    return (uint32_t)roaring_bitmap_rank(view->uids->bitmap, uid);
}

static int first_unseen(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t *seq_out, struct error *err)
{
    roaring_bitmap_t *seen = NULL;
    const int rc = mds_set_load(reader->txn, view->folder, MDS_SET_FLAG(0), &seen, err);

    *seq_out = 0;
    if (rc < 0)
        return rc;

    roaring_bitmap_t *unseen = roaring_bitmap_andnot(view->uids->bitmap, seen);

    if (!roaring_bitmap_is_empty(unseen))
        *seq_out = mdsq_view_seq(view, roaring_bitmap_minimum(unseen));
    roaring_bitmap_free(unseen);
    roaring_bitmap_free(seen);
    return BASE_OK;
}

int mdsq_view_get_info(struct mdsq_reader *reader, struct mdsq_view *view, struct mdsq_view_info *out,
                       struct mdsq_error *err)
{
    struct error e;
    struct mds_folder f;
    int rc;

    query_error_init(&e);
    *out = (struct mdsq_view_info){
        .uidvalidity = view->uidvalidity, .uidnext = view->uidnext, .highestmodseq = view->highestmodseq};
    rc = mds_folder_get(reader->txn, view->folder, &f, &e);
    if (rc >= 0)
        query_mailbox_id(f.object_id, out->mailbox_id);
    if (rc >= 0)
        rc = first_unseen(reader, view, &out->first_unseen, &e);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

/* Calls back from the highest down; numbers are those of `old`, as nothing below an expunged message has moved yet. */
static void tell_expunged(const struct query_uids *old, const roaring_bitmap_t *expunged, const struct mdsq_news *news)
{
    const uint64_t n = roaring_bitmap_get_cardinality(expunged);
    roaring_uint32_iterator_t gone, all;
    uint32_t seq = old->count;

    if (n == 0 || news == NULL || news->expunged == NULL)
        return;
    roaring_init_iterator_last(expunged, &gone);
    roaring_init_iterator_last(old->bitmap, &all);
    for (; gone.has_value; roaring_previous_uint32_iterator(&gone)) {
        const uint32_t uid = gone.current_value;

        if (n <= RANK_RATHER_THAN_WALK) {
            seq = (uint32_t)roaring_bitmap_rank(old->bitmap, uid);
        } else {
            for (; all.has_value && all.current_value > uid; seq--)
                roaring_previous_uint32_iterator(&all);
        }
        if (news->expunged(seq, uid, news->arg))
            return;
    }
}

static void tell_changed(const struct query_uids *now, const roaring_bitmap_t *changed, const struct mdsq_news *news)
{
    roaring_uint32_iterator_t it;
    struct query_numberer numberer;

    if (news == NULL || news->changed == NULL)
        return;
    roaring_init_iterator(changed, &it);
    query_numberer_init(&numberer, now);
    for (; it.has_value; roaring_advance_uint32_iterator(&it)) {
        const uint32_t seq = query_numberer_seq(&numberer, it.current_value);

        if (seq && news->changed(seq, it.current_value, news->arg))
            return;
    }
}

/* Messages that old and now share and whose rows changed since: new ones are news by the count alone. */
static int changed_since(struct mds_txn *txn, const struct mdsq_view *view, const struct query_uids *now,
                         roaring_bitmap_t **out, struct error *err)
{
    roaring_bitmap_t *changed = roaring_bitmap_create();
    roaring_bitmap_t *expunged = roaring_bitmap_create();
    bool complete = false;
    const int rc =
        mds_changes_since(txn, view->folder, view->highestmodseq, changed, expunged, &complete, err);

    roaring_bitmap_and_inplace(changed, view->uids->bitmap);
    roaring_bitmap_and_inplace(changed, now->bitmap);
    roaring_bitmap_free(expunged);
    *out = changed;
    return rc;
}

static int advance(struct mdsq_reader *reader, struct mdsq_view *view, bool allow_expunge,
                   const struct mdsq_news *news, struct error *err)
{
    struct mds_folder f;
    struct query_uids *now = NULL, *next = NULL;
    roaring_bitmap_t *changed = NULL;
    int rc = mds_folder_get(reader->txn, view->folder, &f, err);

    if (rc < 0)
        return rc;
    if (f.uidvalidity != view->uidvalidity || !f.selectable)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "the folder was replaced");
    if (f.highestmodseq == view->highestmodseq && !(view->pending && allow_expunge))
        return 0;
    rc = query_archive_uids(reader->archive, reader->txn, &f, &now, err);
    if (rc < 0)
        return rc;
    rc = changed_since(reader->txn, view, now, &changed, err);
    if (rc < 0)
        goto out;

    roaring_bitmap_t *expunged = roaring_bitmap_andnot(view->uids->bitmap, now->bitmap);

    /* Seen from the session, what was expunged stands where it stood until it is told. */
    view->pending = !allow_expunge && !roaring_bitmap_is_empty(expunged);
    if (view->pending) {
        roaring_bitmap_t *both = roaring_bitmap_or(expunged, now->bitmap);

        roaring_bitmap_run_optimize(both);
        next = query_uids_take(both);
    } else {
        next = query_uids_ref(now);
    }

    struct query_uids *old = view->uids;

    view->uids = next;
    view->highestmodseq = f.highestmodseq;
    view->uidnext = f.uidnext;
    if (allow_expunge)
        tell_expunged(old, expunged, news);
    tell_changed(next, changed, news);
    roaring_bitmap_free(expunged);
    query_uids_unref(&old);
    rc = 1;
out:
    query_uids_unref(&now);
    roaring_bitmap_free(changed);
    return rc;
}

int mdsq_view_advance(struct mdsq_reader *reader, struct mdsq_view *view, bool allow_expunge,
                      const struct mdsq_news *news, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    return query_result(advance(reader, view, allow_expunge, news, &e), &e, err);
}

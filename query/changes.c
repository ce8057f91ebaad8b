/* What happened in a folder since a modseq, and when last to some of its messages. */
#include "query_private.h"

#include "mds/columns.h"

static int changes(struct mdsq_reader *reader, uint32_t folder, uint64_t modseq, struct mdsq_set **changed_out,
                   struct mdsq_set **expunged_out, bool *complete_out, struct error *err)
{
    roaring_bitmap_t *changed = roaring_bitmap_create();
    roaring_bitmap_t *expunged = roaring_bitmap_create();
    const int rc = mds_changes_since(reader->txn, folder, modseq, changed, expunged, complete_out, err);

    if (rc >= 0) {
        *changed_out = query_set_take(changed);
        *expunged_out = query_set_take(expunged);
        return MDSQ_OK;
    }
    roaring_bitmap_free(changed);
    roaring_bitmap_free(expunged);
    return rc;
}

int mdsq_changes(struct mdsq_reader *reader, const char *folder, uint64_t modseq, struct mdsq_set **changed_out,
                 struct mdsq_set **expunged_out, bool *complete_out, struct mdsq_error *err)
{
    struct error e;
    struct mds_folder f;
    int rc;

    query_error_init(&e);
    *changed_out = NULL;
    *expunged_out = NULL;
    *complete_out = false;
    rc = query_folder_find(reader->txn, folder, &f, &e);
    if (rc >= 0)
        rc = changes(reader, f.id, modseq, changed_out, expunged_out, complete_out, &e);
    return query_result(rc, &e, err);
}

int mdsq_view_changes(struct mdsq_reader *reader, const struct mdsq_view *view, uint64_t modseq,
                      struct mdsq_set **changed_out, struct mdsq_set **expunged_out, bool *complete_out,
                      struct mdsq_error *err)
{
    struct error e;
    struct mds_folder f;
    int rc;

    query_error_init(&e);
    *changed_out = NULL;
    *expunged_out = NULL;
    *complete_out = false;
    rc = mds_folder_get(reader->txn, view->folder, &f, &e);
    if (rc >= 0 && (f.uidvalidity != view->uidvalidity || !f.selectable))
        rc = error_set(&e, BASE_ERR_NOTFOUND, 0, "the folder was replaced");
    if (rc >= 0)
        rc = changes(reader, view->folder, modseq, changed_out, expunged_out, complete_out, &e);
    return query_result(rc, &e, err);
}

static int highest(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set, uint64_t *out,
                   struct error *err)
{
    struct mds_folder f;
    struct query_uids *now = NULL;
    int rc = mds_folder_get(reader->txn, view->folder, &f, err);

    if (rc == BASE_ERR_NOTFOUND || (rc >= 0 && (f.uidvalidity != view->uidvalidity || !f.selectable)))
        return BASE_OK;
    if (rc >= 0)
        rc = query_archive_uids(reader->archive, reader->txn, &f, &now, err);
    if (rc < 0)
        return rc;

    /* What was expunged has no modseq any more, though the session still counts it. */
    roaring_bitmap_t *among = roaring_bitmap_and(set ? set->uids->bitmap : view->uids->bitmap, now->bitmap);

    query_uids_unref(&now);
    rc = mds_modseq_highest(reader->txn, view->folder, among, out, err);
    roaring_bitmap_free(among);
    return rc;
}

int mdsq_view_highest(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set,
                      uint64_t *modseq_out, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *modseq_out = 0;
    return query_result(highest(reader, view, set, modseq_out, &e), &e, err);
}

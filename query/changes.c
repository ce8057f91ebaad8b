/* What happened in a folder since a modseq. */
#include "query_private.h"

int mdsq_changes(struct mdsq_reader *reader, const char *folder, uint64_t modseq, struct mdsq_set **changed_out,
                 struct mdsq_set **expunged_out, bool *complete_out, struct mdsq_error *err)
{
    struct error e;
    struct mds_folder f;
    roaring_bitmap_t *changed = roaring_bitmap_create();
    roaring_bitmap_t *expunged = roaring_bitmap_create();
    int rc;

    query_error_init(&e);
    *changed_out = NULL;
    *expunged_out = NULL;
    *complete_out = false;
    rc = query_folder_find(reader->txn, folder, &f, &e);
    if (rc >= 0)
        rc = mds_changes_since(reader->txn, f.id, modseq, changed, expunged, complete_out, &e);
    if (rc >= 0) {
        *changed_out = query_set_take(changed);
        *expunged_out = query_set_take(expunged);
        return MDSQ_OK;
    }
    roaring_bitmap_free(changed);
    roaring_bitmap_free(expunged);
    return query_result(rc, &e, err);
}

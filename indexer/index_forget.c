/* What a content index must lose: items that were let go for good. */
#include "index_private.h"

/* Indexed items that the archive has no more, and holes, which cost nothing. */
static int find_dead(struct mds_txn *txn, const roaring_bitmap_t *indexed, roaring_bitmap_t **out, struct error *err)
{
    struct mds_item item;
    uint64_t from = 1;
    int rc;
    *out = roaring_bitmap_copy(indexed);
    while ((rc = mds_item_next(txn, from, &item, err)) > 0 && item.id <= UINT32_MAX) {
        roaring_bitmap_remove(*out, (uint32_t)item.id);
        from = item.id + 1;
    }
    return rc < 0 ? rc : 0;
}

static bool is_cancelled(void *arg)
{
    const struct indexer_archive *a = arg;
    return a->cancel && *a->cancel;
}

static int forget(const struct indexer_archive *at, struct index_archive *a, struct error *err)
{
    struct mds_text *text = NULL;
    struct mds_text_reader *r = NULL;
    struct mds_txn *txn = NULL;
    roaring_bitmap_t *dead = NULL;
    struct indexer_archive mine = *at;
    bool more = true;
    int rc = mds_read_begin(a->env, &txn, err);
    if (rc >= 0)
        rc = filing_text_open(a->env, txn, &a->settings, &text, err);
    if (rc >= 0)
        rc = mds_text_read_begin(text, &r, err);
    if (rc >= 0)
        rc = find_dead(txn, mds_text_items(r), &dead, err);
    mds_text_read_end(&r);
    mds_read_end(&txn);
    struct mds_text_merge_options options = {.all = true, .dead = dead, .stop = is_cancelled, .arg = &mine};
    if (rc >= 0 && !roaring_bitmap_is_empty(dead)) {
        while (rc >= 0 && more)
            rc = mds_text_merge(text, &options, &more, err);
    }
    if (dead)
        roaring_bitmap_free(dead);
    mds_text_close(&text);
    return rc == BASE_ERR_NOTFOUND || rc == BASE_ERR_GONE || rc == BASE_ERR_LOCKED ? 0 : rc;
}

int indexer_index_forget(const struct indexer_archive *at, const char *trace_fields, struct error *err)
{
    struct index_archive a;
    int rc = index_archive_open(at, trace_fields, true, &a, err);
    if (rc < 0)
        return rc;
    rc = forget(at, &a, err);
    index_archive_close(&a);
    return rc;
}

/* Reading columns. */
#include "columns_private.h"

int mds_column_read(struct mds_txn *t, uint32_t folder, enum mds_column column, const uint32_t *uids, size_t n,
                    int64_t *out, struct error *err)
{
    const bool with_item = column_needs_item(column);

    for (size_t i = 0; i < n; i++) {
        struct column_row row;
        const int rc = column_row_load(t, folder, uids[i], with_item, &row, err);

        if (rc < 0)
            return rc;
        out[i] = rc ? column_row_value(&row, uids[i], column) : 0;
    }
    return BASE_OK;
}

int mds_column_select(struct mds_txn *t, uint32_t folder, enum mds_column column, int64_t min, int64_t max,
                      const roaring_bitmap_t *among, uint32_t first, uint32_t last, roaring_bitmap_t *into,
                      struct error *err)
{
    const bool with_item = column_needs_item(column);
    roaring_uint32_iterator_t it;

    roaring_init_iterator(among, &it);
    for (bool more = it.has_value && roaring_move_uint32_iterator_equalorlarger(&it, first);
         more && it.current_value <= last; more = roaring_advance_uint32_iterator(&it)) {
        struct column_row row;
        const int rc = column_row_load(t, folder, it.current_value, with_item, &row, err);

        if (rc < 0)
            return rc;
        if (rc && column_row_matches(&row, it.current_value, column, min, max))
            roaring_bitmap_add(into, it.current_value);
    }
    return BASE_OK;
}

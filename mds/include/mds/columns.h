/*
 * columns: one value of many messages of a folder, without their rows. Values lie packed by UID in table `columns`
 * (docs/FORMAT.md); of the messages that are not packed yet (fewer than MDS_COLUMN_TAIL newest of a folder, or all of a
 * store that an earlier version wrote) the rows are read. So the answer is always that of the rows.
 *
 *     uint32_t uids[] = {3, 7, 9};
 *     int64_t items[3];
 *     mds_column_read(txn, folder, MDS_COLUMN_ITEM, uids, 3, items, err);
 *
 *     roaring_bitmap_t *big = roaring_bitmap_create();
 *     mds_column_select(txn, folder, MDS_COLUMN_SIZE, 1 << 20, INT64_MAX, exists, 0, UINT32_MAX, big, err);
 *
 * A million packed values are read in some 5 ms and compared in some 2 ms. Any transaction will do; a call is as long as what it
 * is asked for, so callers that must yield ask for parts: 65,536 UIDs that share their high 16 bits are the best size.
 * Errors: CORRUPT and IO of the store.
 */
#ifndef MDS_COLUMNS_H
#define MDS_COLUMNS_H

#include "mds/mds.h"

enum mds_column {
    MDS_COLUMN_ITEM,           /* mds_message.item */
    MDS_COLUMN_SIZE,           /* .size_crlf */
    MDS_COLUMN_INTERNAL,       /* .internal_date */
    MDS_COLUMN_INTERNAL_CLOCK, /* the internal date as a clock in its zone shows it: held to the years 0 to 9999, then 60 x zone added */
    MDS_COLUMN_SAVED,          /* .saved_date */
    MDS_COLUMN_SENT,           /* .sent_date: the Date field's, else the internal date */
    MDS_COLUMN_SENT_CLOCK,     /* likewise in the zone of the Date field; MDS_COLUMN_NOTHING if no such field is valid */
    MDS_COLUMN_THREAD,         /* mds_item.thread_id, its 64 bits as a signed number */
    MDS_COLUMN_COUNT
};

#define MDS_COLUMN_NOTHING INT64_MIN /* matches no range but in mds_column_read's answers stands for no value */
#define MDS_COLUMN_TAIL    64u       /* so many new messages of a folder are packed at the latest */

/*
 * Values of n UIDs, ascending (in any other order: slow). out[i] belongs to uids[i]; of a UID that is not there it is 0, or what the
 * message had.
 */
int mds_column_read(struct mds_txn *txn, uint32_t folder, enum mds_column column, const uint32_t *uids, size_t n,
                    int64_t *out, struct error *err);

/*
 * Adds to `into` the members of `among` in first..last whose value is in min..max. Members of `among` that are not messages of the folder may
 * or may not be added: pass only UIDs that exist in this transaction (mds_set_load of MDS_SET_EXISTS).
 */
int mds_column_select(struct mds_txn *txn, uint32_t folder, enum mds_column column, int64_t min, int64_t max,
                      const roaring_bitmap_t *among, uint32_t first, uint32_t last, roaring_bitmap_t *into,
                      struct error *err);

/*
 * The same of modseqs, at least min. What changed of late is in the folder's log, and read there: one call for all is better than one for each
 * part.
 */
int mds_modseq_select(struct mds_txn *txn, uint32_t folder, uint64_t min, const roaring_bitmap_t *among, uint32_t first,
                      uint32_t last, roaring_bitmap_t *into, struct error *err);
/* The highest modseq of messages in `among`, which must exist; 0 if it is empty. */
int mds_modseq_highest(struct mds_txn *txn, uint32_t folder, const roaring_bitmap_t *among, uint64_t *out,
                       struct error *err);

/*
 * Packs what is not packed: all of a store that an earlier version wrote, and what lost its columns on the way (a restore, new records of
 * items). In durable transactions of some blocks, with turns for others between; what is done stays done if it is killed. Call without a
 * transaction. Returns when nothing is left.
 */
int mds_columns_build(struct mds_env *env, struct error *err);

#endif

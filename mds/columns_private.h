/*
 * columns_private: what the files of the columns share (column_*.c), and what verify.c, message.c, item.c and log.c need of them.
 *
 *   column_codec.c  a block's values as bytes, ranges of them as bits; no LMDB
 *   column_row.c    what a message's and an item's row say
 *   column_read.c   reading and selecting: blocks, and rows where there is none
 *   column_write.c  what a write transaction adds, forgets and changes
 *   column_build.c  filling what is not packed
 */
#ifndef MDS_COLUMNS_PRIVATE_H
#define MDS_COLUMNS_PRIVATE_H

#include "mds/columns.h"
#include "mds_private.h"

/* ---- what is stored ------------------------------------------------------------------ */

/* The number is part of the key: never renumber. */
enum stored {
    STORED_ITEM = 0,   /* item - uid, modulo 2^64 */
    STORED_MODSEQ = 1, /* modseq - uid; of a message that the log of changes holds, its modseq then or before */
    STORED_SIZE = 2,
    STORED_INTERNAL = 3,
    STORED_INTERNAL_ZONE = 4,
    STORED_SAVED = 5,
    STORED_SENT = 6,
    STORED_SENT_ZONE = 7, /* 2 x zone + 1; 0 without a valid Date field */
    STORED_THREAD = 8,
    STORED_COUNT = 9
};

struct column_row {
    int64_t v[STORED_COUNT];
};

/* What columns hold of an item. */
struct item_facts {
    bool has_sent_date;
    int16_t sent_zone;
    uint64_t thread_id;
};
struct item_facts item_facts_of(const struct mds_item *it);

void column_row_of(const struct mds_message *m, const struct item_facts *facts, struct column_row *out);
/* The value of a public column. */
int64_t column_row_value(const struct column_row *row, uint32_t uid, enum mds_column column);
/* The message and, if the column asks for it, its item. 1 found, 0 there is no such message. */
int column_row_load(struct mds_txn *t, uint32_t folder, uint32_t uid, bool with_item, struct column_row *out,
                    struct error *err);
bool column_needs_item(enum mds_column column);
bool column_row_matches(const struct column_row *row, uint32_t uid, enum mds_column column, int64_t min, int64_t max);
int64_t column_clock(int64_t instant, int64_t zone_minutes);

#endif

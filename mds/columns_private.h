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

/* ---- blocks (column_codec.c) ---------------------------------------------------------- */

#define COLUMN_SLOTS     2048u /* UIDs of a block */
#define COLUMN_SLOT_BITS 11u
#define COLUMN_GROUPS    (COLUMN_SLOTS / 64u)
#define COLUMN_SPARSE    16u /* blocks of fewer messages are not kept: their rows are read */

static inline uint32_t column_block_of(uint32_t uid)
{
    return uid >> COLUMN_SLOT_BITS;
}
static inline uint32_t column_slot_of(uint32_t uid)
{
    return uid & (COLUMN_SLOTS - 1);
}

/* The first n slots of a block: bit i of plane p of group g is bit p of (value - base) of slot 64 g + i. */
struct column_block {
    uint32_t n;
    uint32_t width; /* planes of a group, the highest first */
    int64_t base;   /* the least value */
    struct bytes planes; /* view: n/64 groups of width words, big-endian */
};
void column_block_encode(const int64_t *values, uint32_t n, struct buf *out);
/* The shape alone, which is all that reading relies on. */
bool column_block_decode(struct bytes in, struct column_block *out);
/* Are these the bytes that column_block_encode writes of its values? */
bool column_block_is_canonical(const struct column_block *b);
void column_block_values(const struct column_block *b, int64_t out[COLUMN_SLOTS]);
int64_t column_block_value(const struct column_block *b, uint32_t slot);
/* An upper bound of the values; INT64_MAX if it is beyond. */
int64_t column_block_bound(const struct column_block *b);
/* Bit i of masks[g]: the value of slot 64 g + i is in min..max. Bits of slots behind n are not set. */
void column_block_range(const struct column_block *b, int64_t min, int64_t max, uint64_t masks[COLUMN_GROUPS]);
/* Bit i of masks[g]: the value is odd. */
void column_block_odd(const struct column_block *b, uint64_t masks[COLUMN_GROUPS]);

/* Instants that a clock shows as they are. */
#define CLOCK_FIRST_S INT64_C(-62167219200) /* 0000-01-01 00:00:00 */
#define CLOCK_LAST_S  INT64_C(253402300799) /* 9999-12-31 23:59:59 */

/* ---- rows (column_row.c) --------------------------------------------------------------- */

/* What columns hold of an item. */
struct item_facts {
    bool has_sent_date;
    int16_t sent_zone;
    uint64_t thread_id;
};
struct item_facts item_facts_of(const struct mds_item *it);

void column_row_of(const struct mds_message *m, const struct item_facts *facts, struct column_row *out);
/* Modseqs are no column to others, as the log goes before what is packed of them. */
#define COLUMN_MODSEQ MDS_COLUMN_COUNT

/* The value of a public column, or of COLUMN_MODSEQ. */
int64_t column_row_value(const struct column_row *row, uint32_t uid, enum mds_column column);
/* The message and, if the column asks for it, its item. 1 found, 0 there is no such message. */
int column_row_load(struct mds_txn *t, uint32_t folder, uint32_t uid, bool with_item, struct column_row *out,
                    struct error *err);
bool column_needs_item(enum mds_column column);
bool column_row_matches(const struct column_row *row, uint32_t uid, enum mds_column column, int64_t min, int64_t max);
int64_t column_clock(int64_t instant, int64_t zone_minutes);

/* ---- stored blocks (column_read.c) ------------------------------------------------------- */

void column_key(struct key *key, uint32_t folder, uint32_t block, enum stored stored);
/* 1 it is there, 0 it is not: its rows have to be read. */
int column_block_get(struct mds_txn *t, uint32_t folder, uint32_t block, enum stored stored, struct column_block *out,
                     struct error *err);

/* ---- writing (column_write.c): of a write transaction ------------------------------------------ */

/* Items that come and go, so that filing one just added needs no look at its row. */
void column_item_added(struct mds_txn *t, const struct mds_item *it);
void column_item_removed(struct mds_txn *t, uint64_t item);
/* NOTFOUND: there is no such item. */
int column_item_facts(struct mds_txn *t, uint64_t item, struct item_facts *out, struct error *err);

/* The message just filed. Its block is packed by the commit, if enough have come. */
int column_add(struct mds_txn *t, const struct mds_message *m, const struct item_facts *facts, struct error *err);
/* Nothing of the block is packed any more: rows are read until it is packed anew. */
int column_forget(struct mds_txn *t, uint32_t folder, uint32_t block, struct error *err);
int column_forget_folder(struct mds_txn *t, uint32_t folder, struct error *err);
/* Likewise of every message of the item. */
int column_forget_item(struct mds_txn *t, uint64_t item, struct error *err);
/* A message was filed under a UID that was given before. */
int column_restored(struct mds_txn *t, uint32_t folder, uint32_t uid, struct error *err);
/* A message left: a block of few is not kept. */
int column_left(struct mds_txn *t, uint32_t folder, uint32_t uid, struct error *err);
/* Rows of changes that the log forgets: what they say of messages that did not change since goes to the column of modseqs. Sorts runs. */
int column_take_runs(struct mds_txn *t, uint32_t folder, struct run *runs, size_t n, struct error *err);
/* No modseq of the folder is packed any more. */
int column_forget_modseqs(struct mds_txn *t, uint32_t folder, struct error *err);
int columns_flush(struct mds_txn *t, struct error *err);
void columns_drop(struct writer *w);

/* Packs slots 0..end-1 of a block anew, from rows as far as they are not packed. */
int column_block_write(struct mds_txn *t, uint32_t folder, uint32_t block, uint32_t end, struct error *err);

/* ---- verification (verify_columns.c, driven by verify_folder.c) --------------------------------------- */

struct columns_check;
struct columns_check *columns_check_new(struct verify *v, const struct mds_folder *f);
void columns_check_free(struct columns_check **c);
int columns_check_message(struct columns_check *c, const struct mds_message *m, struct error *err);
/* Counts the folder's rows. */
int columns_check_rows(struct verify *v, const struct mds_folder *f, uint64_t *rows_n, struct error *err);

#endif

/*
 * filing: a record of mime/ as an item of mds/. What every way into an archive shares (indexer/, query/).
 *
 *     struct mds_item item; struct mds_item_words words; struct buf sort = {0};
 *     filing_item(&record, &hash, &locator, &sort, &item, &words);
 *     mds_item_add(txn, &item, &words, err);
 *
 * Pure but for filing_own_place. Views of item and words point into the record, the locator and `sort`.
 */
#ifndef FILING_FILING_H
#define FILING_FILING_H

#include "base/bytes.h"
#include "base/error.h"
#include "mds/mds.h"
#include "mime/mime.h"

/* The sort and thread columns, appended to `out` as mds_sort_encode writes them. */
void filing_sort(const struct mime_record *r, struct buf *out);

/* All columns. `sort` is scratch, emptied first; it must live as long as words. */
void filing_item(const struct mime_record *r, const struct hash128 *hash, const struct mds_locator *locator, struct buf *sort,
                 struct mds_item *item, struct mds_item_words *words);

/* Source and container of a segment of the own vault into l; both are made if they are missing. */
int filing_own_place(struct mds_txn *txn, uint32_t segment, struct mds_locator *l, struct error *err);

#endif

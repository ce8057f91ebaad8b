/*
 * restore: what a rebuilt store takes over from the old one: identity of folders; UID, flags, keywords and save date of messages, found by folder
 * and hash. Of equal mails in a folder the lowest UIDs are taken first.
 */
#ifndef INDEXER_RESTORE_H
#define INDEXER_RESTORE_H

#include "indexer_private.h"

/* old: open, outlives it. Reads all of it; rows that do not decode are left out (and counted in *lost_out). tmp: for the table's file. */
int indexer_restore_new(struct mds_env *old, const char *tmp, struct indexer_restore **out, uint64_t *lost_out,
                        struct error *err);
void indexer_restore_free(struct indexer_restore **r);

#endif

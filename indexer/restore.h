/*
 * restore: what a rebuilt store takes over from the old one: identity of folders; UID, flags, keywords and save date of
 * messages, found by folder and hash. Of equal mails in a folder the lowest UIDs are taken first.
 */
#ifndef INDEXER_RESTORE_H
#define INDEXER_RESTORE_H

#include "indexer_private.h"

#include <glib.h>

struct indexer_pair {
    uint32_t key, value;
};

struct indexer_restore {
    struct mds_env *env; /* NULL: the old store is lost, and nothing else here holds anything */
    struct mds_txn *txn; /* of the old store, for all of the rebuild: nothing else may build it meanwhile */
    struct table *table;
    uint32_t *folders; /* old ids, levels too, ascending */
    size_t folders_n;
    struct indexer_pair *dropped; /* old folders that are gone, but still named: to an id of the new store; ascending */
    size_t dropped_n;
    struct indexer_pair *pairs; /* new folder to old one, ascending */
    size_t pairs_n;
    struct indexer_pair *forth; /* old folder to new one, ascending */

    /* carry.c */
    struct table *loose; /* all messages and kept ones by hash */
    GHashTable *placed;  /* old folder to set of UIDs that a vault read in place accounts for; NULL: not known */
    uint64_t lost;       /* messages that the old store cannot name any more */
};

/* LMDB refuses every further call of a transaction that met a damaged page. */
int indexer_restore_renew(struct indexer_restore *r, struct error *err);
/* An old folder's new id, 0 if it has none. */
uint32_t indexer_restore_folder(const struct indexer_restore *r, uint32_t old);

/* carry.c: what no vault that is read in place accounts for: mail of the own vault, what clients copied, moved,
 * expunged. */
/* Which messages have a place; reads all places. Damaged ones: r->placed stays NULL, and only mail of the own vault is
 * carried. */
int indexer_carry_places(struct indexer_restore *r, struct error *err);
/* A message, or (kept) one that was expunged, of the item with that hash. Between new and finish. */
int indexer_carry_note(struct indexer_restore *r, const struct hash128 *hash, uint32_t folder, uint32_t uid, bool kept,
                       struct error *err);
/* Adds those that are kept; then the table is complete. */
int indexer_carry_notes_finish(struct indexer_restore *r, struct error *err);
int indexer_carry_notes_new(struct indexer_restore *r, const char *tmp, struct error *err);
bool indexer_carry_is_placed(const struct indexer_restore *r, uint32_t folder, uint32_t uid);
/* Is the source one whose items were copied? */
bool indexer_carry_is_import(struct mds_txn *txn, uint32_t source);
void indexer_carry_release(struct indexer_restore *r);

/* old: open, outlives it. Reads all of it; rows that do not decode are left out (and counted in *lost_out). tmp: for
 * the table's file. */
int indexer_restore_new(struct mds_env *old, const char *tmp, struct indexer_restore **out, uint64_t *lost_out,
                        struct error *err);
/* Nothing is known of the old store: what is in the own vault goes to a folder of its own. */
int indexer_restore_lost(const char *tmp, struct indexer_restore **out, struct error *err);
void indexer_restore_free(struct indexer_restore **r);

#endif

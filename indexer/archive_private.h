/* What the jobs on a living archive share (archive.h): compact.c, undelete.c, backup.c, export*.c. */
#ifndef ARCHIVE_PRIVATE_H
#define ARCHIVE_PRIVATE_H

#include "indexer/archive.h"
#include "indexer_private.h"

#define ARCHIVE_TURN_ROWS 1000u
#define ARCHIVE_TURN_NS   INT64_C(50000000) /* others wait no longer for a job that nobody waits for */

int archive_open(const struct indexer_archive *a, bool write, struct mds_env **out, struct error *err);
int archive_check_cancel(const struct indexer_archive *a, struct error *err);

struct segment_writer;

/* A write transaction that ends by itself. */
struct archive_turn {
    const struct indexer_archive *at;
    struct mds_env *env;
    struct mds_txn *txn;           /* NULL: none */
    struct segment_writer *writer; /* own vault: synced and closed by each commit. NULL: nothing is written there */
    unsigned n;
    int64_t began_ns;
};
/* Before each step: opens, or commits and opens anew when it is time. CANCELLED leaves it open. */
int archive_turn_next(struct archive_turn *t, struct error *err);
/* The own vault's writer, opened where the transaction says. */
int archive_turn_writer(struct archive_turn *t, struct segment_writer **out, struct error *err);
int archive_turn_commit(struct archive_turn *t, struct error *err);
/* Commits if rc says that all went well or somebody stopped it, else aborts. The first error counts. */
int archive_turn_end(struct archive_turn *t, int rc, struct error *err);
/* An archive's directory with what this program makes in it; not there: done. */
int archive_remove_tree(const char *dir, struct error *err);
/* All folders, levels too, breadth first: children come behind their parent. Owned by the caller: free. */
int archive_folders(struct mds_txn *txn, uint32_t **ids_out, size_t *n_out, struct error *err);
/* At least as high as any UIDVALIDITY that was ever given, where nobody knows that any more: by the clock, one a second
 * of the archive's life. */
uint32_t archive_uidvalidity_unknown(uint32_t highest);
/* fsync of a directory. */
int archive_sync_dir(const char *path, struct error *err);

#endif

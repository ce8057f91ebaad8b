/* What the jobs on a living archive share (archive.h): compact.c, undelete.c, backup.c, export*.c. */
#ifndef ARCHIVE_PRIVATE_H
#define ARCHIVE_PRIVATE_H

#include "indexer/archive.h"
#include "indexer_private.h"

#define ARCHIVE_TURN_ROWS 1000u
#define ARCHIVE_TURN_NS   INT64_C(50000000) /* others wait no longer for a job that nobody waits for */

int archive_open(const struct indexer_archive *a, bool write, struct mds_env **out, struct error *err);
int archive_check_cancel(const struct indexer_archive *a, struct error *err);

/* A write transaction that ends by itself. Zeroed: none. */
struct archive_turn {
    struct mds_txn *txn;
    unsigned n;
    int64_t began_ns;
};
/* Before each step: opens, or commits and opens anew when it is time. CANCELLED leaves it open, to be committed or aborted. */
int archive_turn(struct archive_turn *t, const struct indexer_archive *a, struct mds_env *env, struct error *err);
/* fsync of a directory. */
int archive_sync_dir(const char *path, struct error *err);

#endif

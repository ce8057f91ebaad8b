/*
 * A backup's directory: data.mdb, segments/NNNNNNNN.seg, and last of all "manifest":
 *
 *     mds-backup 1
 *     archive ann
 *     taken 1767225600
 *     file 0123...cdef 1048576 data.mdb          XXH3-128, bytes, path
 *     file ...
 *     end 0123...cdef                            XXH3-128 of all lines above
 */
#ifndef BACKUP_PRIVATE_H
#define BACKUP_PRIVATE_H

#include "archive_private.h"

#define BACKUP_MANIFEST "manifest"
#define BACKUP_HEX      (2 * HASH128_BYTES)

struct backup_file {
    struct hash128 hash;
    uint64_t bytes;
    char *path; /* relative */
};

/* Owned: backup_manifest_release. Zeroed is empty. */
struct backup_manifest {
    char *archive;
    int64_t taken;
    struct backup_file *files;
    size_t n;
};
void backup_manifest_add(struct backup_manifest *m, const char *path, uint64_t bytes, const struct hash128 *hash);
/* Written aside, synced, renamed, and the directory synced: either all of it is there or none. */
int backup_manifest_write(const struct backup_manifest *m, const char *dir, struct error *err);
/* NOTFOUND: no manifest; FORMAT: another version; CORRUPT: not as it was written, or a path that leaves the directory.
 */
int backup_manifest_read(const char *dir, struct backup_manifest *out, struct error *err);
void backup_manifest_release(struct backup_manifest *m);

/* Copies the first n bytes (UINT64_MAX: all) to a new file, synced. to NULL: only reads. The hash of what was read. */
int backup_copy_file(const struct indexer_archive *a, const char *from, const char *to, uint64_t n,
                     struct hash128 *hash_out, uint64_t *bytes_out, struct error *err);
/*
 * backup_outlive.c: the copy in `fresh` may take the place of `old` (NULL: it does not open, or none was_there) without giving anything twice
 * that clients know, of archives of the name that were removed before neither.
 * *hold: old's write transaction, so that nothing is given there any more until the copy stands; the caller aborts it.
 */
int backup_outlive(struct mds_env *old, const struct mds_archive_info *info, bool was_there, const char *fresh,
                   struct mds_txn **hold, struct indexer_copied *out, struct error *err);
/* A new or empty directory. EXISTS. */
int backup_make_dir(const char *path, struct error *err);

#endif

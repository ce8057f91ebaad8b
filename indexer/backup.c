/*
 * A copy of a living archive. A snapshot of the metadata comes first: all that it names is then on the disk, as bytes
 * of the own vault are synced before the metadata that names them; and none of it goes while the lock is held that
 * compact needs. So the segments are copied behind it, as far as the snapshot reaches.
 */
#include "backup_private.h"
#include "system.h"

#include "vault/segment.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct backup {
    const struct indexer_archive *a;
    const char *to;
    struct mds_env *env;
    struct backup_manifest manifest;
    struct indexer_copied *out;
};

static int take(struct backup *b, const char *from, const char *name, bool copy, uint64_t n, struct error *err)
{
    char *to = g_build_filename(b->to, name, NULL);
    struct hash128 hash;
    uint64_t bytes = 0;
    int rc = backup_copy_file(b->a, copy ? from : to, copy ? to : NULL, n, &hash, &bytes, err);
    if (rc == 0) {
        backup_manifest_add(&b->manifest, name, bytes, &hash);
        b->out->files++;
        b->out->bytes += bytes;
    }
    g_free(to);
    return rc;
}

static int take_segments(struct backup *b, const struct mds_segments *at, struct error *err)
{
    char *dir = g_build_filename(b->to, "segments", NULL);
    uint32_t number = 0;
    uint64_t bytes;
    int rc;
    if (mkdir(dir, 0700) < 0)
        rc = error_errno(err, "%s", dir);
    else
        rc = 0;
    while (rc == 0 && (rc = segment_next(mds_dir(b->env), number, &number, &bytes, err)) > 0) {
        char name[32];
        if (number > at->active) {
            rc = 0;
            break;
        }
        snprintf(name, sizeof name, "segments/%08u.seg", number);
        char *from = g_build_filename(mds_dir(b->env), name, NULL);
        rc = take(b, from, name, true, number == at->active ? at->tail : UINT64_MAX, err);
        g_free(from);
    }
    if (rc == 0)
        rc = archive_sync_dir(dir, err);
    g_free(dir);
    return rc;
}

static int count_messages(const char *dir, uint64_t *out, struct error *err)
{
    const struct mds_options opts = {.read_only = true};
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_stat *stat = g_new0(struct mds_stat, 1);
    int rc = mds_open(dir, &opts, &env, err);
    if (rc == 0)
        rc = mds_read_begin(env, &txn, err);
    if (rc == 0)
        rc = mds_stat(txn, stat, err);
    *out = stat->messages;
    mds_read_end(&txn);
    mds_close(&env);
    char *lock = g_build_filename(dir, "lock.mdb", NULL);
    (void)unlink(lock); /* LMDB makes one; it is worth nothing in a backup */
    g_free(lock);
    g_free(stat);
    return rc;
}

static int sync_parent(const char *path, struct error *err)
{
    char *parent = g_path_get_dirname(path);
    int rc = archive_sync_dir(parent, err);
    g_free(parent);
    return rc;
}

static int backup(struct backup *b, struct error *err)
{
    struct mds_segments at = {0};
    int rc = backup_make_dir(b->to, err);
    if (rc == 0)
        rc = mds_copy(b->env, b->to, &at, err);
    if (rc == 0)
        rc = count_messages(b->to, &b->out->messages, err);
    if (rc == 0)
        rc = take(b, NULL, "data.mdb", false, UINT64_MAX, err);
    if (rc == 0 && at.tail)
        rc = take_segments(b, &at, err);
    if (rc == 0)
        rc = backup_manifest_write(&b->manifest, b->to, err);
    return rc == 0 ? sync_parent(b->to, err) : rc;
}

int indexer_backup(const struct indexer_archive *a, const char *to, struct indexer_copied *out, struct error *err)
{
    struct backup b = {.a = a, .to = to, .out = out};
    int lock = -1;
    *out = (struct indexer_copied){0};
    int rc = archive_open(a, false, &b.env, err);
    if (rc == 0)
        rc = segment_lock(mds_dir(b.env), false, &lock, err);
    if (rc == BASE_ERR_READONLY)
        rc = 0; /* nobody can compact it either */
    b.manifest.archive = g_strdup(a->archive);
    b.manifest.taken = indexer_wall_ns() / 1000000000;
    if (rc == 0)
        rc = backup(&b, err);
    if (lock >= 0)
        (void)close(lock);
    backup_manifest_release(&b.manifest);
    mds_close(&b.env);
    return rc;
}

/*
 * A backup becomes an archive: copied beside its place, compared with the manifest on the way, and put there by one
 * rename, so that a kill leaves either what was there or all of the backup.
 */
#include "backup_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    const struct indexer_archive *a;
    const char *from;
    bool replace;
    bool was_there; /* an archive of that name, whatever is left of it */
    bool is_new;    /* its name was not in the catalogue */
    struct backup_manifest manifest;
    struct mds_archive_info info;
    char *fresh;
    struct indexer_copied *out;
};

/* The archive's place; EXISTS if something is in it that must not go. */
static int find_place(struct restore *r, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct stat st;
    int rc = mds_catalogue_open(r->a->store_dir, true, false, &catalogue, err);
    if (rc == 0)
        r->is_new = mds_catalogue_archive_find(catalogue, r->a->archive, false, &r->info, NULL) == BASE_ERR_NOTFOUND;
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, r->a->archive, true, &r->info, err);
    mds_catalogue_close(&catalogue);
    r->was_there = rc == 0 && (r->info.made || stat(r->info.dir, &st) == 0);
    if (r->was_there && !r->replace)
        rc = error_set(err, BASE_ERR_EXISTS, 0,
                       "archive %s is there already; --replace puts the backup in its place, or give another name",
                       r->a->archive);
    return rc;
}

/* Nothing was restored: the name goes again, unless somebody else made something of it meanwhile. */
static void leave_place(const struct restore *r)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = g_new0(struct mds_archive_info, 1);
    struct stat st;
    if (r->is_new && mds_catalogue_open(r->a->store_dir, false, false, &catalogue, NULL) == 0 &&
        mds_catalogue_archive_find(catalogue, r->a->archive, false, info, NULL) == 0 && info->id == r->info.id &&
        !info->made && stat(info->dir, &st) < 0)
        (void)mds_catalogue_archive_remove(catalogue, r->a->archive, 0, NULL);
    mds_catalogue_close(&catalogue);
    g_free(info);
}

static int copy_one(struct restore *r, const struct backup_file *f, struct error *err)
{
    char *from = g_build_filename(r->from, f->path, NULL), *to = g_build_filename(r->fresh, f->path, NULL);
    struct hash128 hash;
    uint64_t bytes = 0;
    int rc = backup_copy_file(r->a, from, to, UINT64_MAX, &hash, &bytes, err);
    if (rc == 0 && (bytes != f->bytes || hash128_compare(&hash, &f->hash) != 0))
        rc = error_set(err, BASE_ERR_CORRUPT, 0, "%s: is not as it was backed up", from);
    r->out->files++;
    r->out->bytes += bytes;
    g_free(from);
    g_free(to);
    return rc;
}

static int copy_all(struct restore *r, struct error *err)
{
    char *segments = g_build_filename(r->fresh, "segments", NULL);
    int rc = archive_remove_tree(r->fresh, err);
    if (rc == 0 && (g_mkdir_with_parents(r->fresh, 0700) < 0 || mkdir(segments, 0700) < 0))
        rc = error_errno(err, "%s", r->fresh);
    for (size_t i = 0; rc == 0 && i < r->manifest.n; i++)
        rc = copy_one(r, &r->manifest.files[i], err);
    if (rc == 0)
        rc = archive_sync_dir(segments, err);
    if (rc == 0)
        rc = archive_sync_dir(r->fresh, err);
    g_free(segments);
    return rc;
}

/* Opens as an archive of ours? */
static int look_into(struct restore *r, struct error *err)
{
    const struct mds_options opts = {.read_only = true};
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_stat *stat = g_new0(struct mds_stat, 1);
    int rc = mds_open(r->fresh, &opts, &env, err);
    if (rc == 0)
        rc = mds_read_begin(env, &txn, err);
    if (rc == 0)
        rc = mds_stat(txn, stat, err);
    r->out->messages = stat->messages;
    mds_read_end(&txn);
    mds_close(&env);
    g_free(stat);
    return rc;
}

static int put_in_place(struct restore *r, struct error *err)
{
    char *parent = g_path_get_dirname(r->info.dir);
    const int swapped = renameat2(AT_FDCWD, r->fresh, AT_FDCWD, r->info.dir, RENAME_EXCHANGE);
    int rc = 0;
    if (swapped < 0 && (errno != ENOENT || rename(r->fresh, r->info.dir) < 0))
        rc = error_errno(err, "%s could not take the place of %s", r->fresh, r->info.dir);
    if (rc == 0)
        rc = archive_sync_dir(parent, err);
    if (rc == 0 && swapped == 0)
        rc = archive_remove_tree(r->fresh, err); /* the old archive */
    g_free(parent);
    return rc;
}

static int note_made(const struct restore *r, struct error *err)
{
    const struct indexer_build build = {.store_dir = r->a->store_dir, .archive = r->a->archive};
    return indexer_archive_made(&build, err);
}

/* Nobody may build or compact what is about to go. *old stays NULL if it is beyond use: that is why it is replaced. */
static int hold_old(const struct restore *r, struct mds_env **old, struct error *err)
{
    const struct mds_options opts = {.archive_name = r->a->archive};
    if (!r->was_there || mds_open(r->info.dir, &opts, old, NULL) < 0)
        return 0;
    return mds_build_lock(*old, err);
}

/* The copy is whole; what is there stays until the last step. */
static int take_over(struct restore *r, struct mds_env *old, struct error *err)
{
    struct mds_txn *hold = NULL;
    int rc = look_into(r, err);
    if (rc == 0 && (r->was_there || r->info.uidvalidity_floor))
        rc = backup_outlive(old, &r->info, r->was_there, r->fresh, &hold, r->out, err);
    if (rc == 0)
        rc = put_in_place(r, err);
    else
        (void)archive_remove_tree(r->fresh, NULL);
    mds_write_abort(&hold);
    return rc;
}

int indexer_restore_backup(const struct indexer_archive *a, const char *from, bool replace, struct indexer_copied *out,
                           struct error *err)
{
    struct restore *r = g_new0(struct restore, 1);
    struct mds_env *old = NULL;
    *out = (struct indexer_copied){0};
    *r = (struct restore){.a = a, .from = from, .replace = replace, .out = out};
    int rc = backup_manifest_read(from, &r->manifest, err);
    if (rc == 0)
        rc = find_place(r, err);
    if (rc == 0)
        rc = hold_old(r, &old, err);
    if (rc == 0) {
        r->fresh = g_strconcat(r->info.dir, ".restore", NULL);
        rc = copy_all(r, err);
        if (rc == 0)
            rc = take_over(r, old, err);
        else
            (void)archive_remove_tree(r->fresh, NULL);
        if (rc == 0)
            rc = note_made(r, err);
    }
    if (rc < 0)
        leave_place(r);
    if (old)
        mds_build_unlock(old);
    mds_close(&old);
    backup_manifest_release(&r->manifest);
    g_free(r->fresh);
    g_free(r);
    return rc;
}

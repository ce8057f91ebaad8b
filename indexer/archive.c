/* What the jobs on a living archive share: finding it, taking turns, removing a tree. */
#include "archive_private.h"
#include "system.h"

#include "mds/text.h"
#include "vault/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDERS_MAX (1u << 22)

int archive_open(const struct indexer_archive *a, bool write, struct mds_env **out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = calloc(1, sizeof *info);
    struct mds_options opts = {.read_only = !write, .archive_name = a->archive};
    ASSERT(info);
    int rc = mds_catalogue_open(a->store_dir, false, true, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, a->archive, false, info, err);
    mds_catalogue_close(&catalogue);
    if (rc == 0)
        rc = mds_open(info->dir, &opts, out, err);
    free(info);
    return rc;
}

int archive_check_cancel(const struct indexer_archive *a, struct error *err)
{
    return a->cancel && *a->cancel ? error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED) : 0;
}

int archive_turn_writer(struct archive_turn *t, struct segment_writer **out, struct error *err)
{
    struct mds_segments at;
    int rc = t->writer ? 0 : mds_segments_get(t->txn, &at, err);
    if (rc == 0 && !t->writer)
        rc = segment_writer_open(mds_dir(t->env), at.active, at.tail, &t->writer, err);
    *out = t->writer;
    return rc;
}

int archive_turn_commit(struct archive_turn *t, struct error *err)
{
    struct mds_segments at;
    int rc = 0;
    if (!t->txn)
        return 0;
    if (t->writer) {
        rc = segment_writer_sync(t->writer, &at.active, &at.tail, err);
        if (rc == 0)
            rc = mds_segments_put(t->txn, &at, err);
        segment_writer_close(&t->writer);
    }
    if (rc < 0)
        mds_write_abort(&t->txn);
    else
        rc = mds_write_commit(&t->txn, err);
    t->txn = NULL;
    return rc;
}

int archive_turn_next(struct archive_turn *t, struct error *err)
{
    const int64_t now = indexer_monotonic_ns();
    const bool full = ++t->n >= ARCHIVE_TURN_ROWS || now - t->began_ns > ARCHIVE_TURN_NS;
    int rc = archive_check_cancel(t->at, err);
    if (rc < 0 || (t->txn && !full && !(t->n % 16 == 0 && mds_writer_waiting(t->env))))
        return rc;
    rc = archive_turn_commit(t, err);
    if (rc == 0)
        rc = mds_write_begin(t->env, &t->txn, err); /* turns are given in order: who waits goes first */
    if (rc < 0)
        t->txn = NULL;
    t->n = 0;
    t->began_ns = indexer_monotonic_ns();
    return rc;
}

int archive_turn_end(struct archive_turn *t, int rc, struct error *err)
{
    if (rc == 0 || rc == BASE_ERR_CANCELLED) {
        int committed = archive_turn_commit(t, rc == 0 ? err : NULL);
        rc = rc == 0 ? committed : rc;
    }
    segment_writer_close(&t->writer);
    mds_write_abort(&t->txn);
    return rc;
}

int archive_folders(struct mds_txn *txn, uint32_t **ids_out, size_t *n_out, struct error *err)
{
    size_t cap = 64, n = 0;
    uint32_t *all = calloc(cap, sizeof *all);
    int rc = 0;
    ASSERT(all);
    for (size_t i = 0; rc >= 0 && i <= n; i++) {
        uint32_t parent = i ? all[i - 1] : MDS_ROOT;
        struct buf last = {0};
        bool first = true;
        for (;;) {
            struct mds_folder f;
            struct bytes after = buf_bytes(&last);
            rc = mds_folder_next_child(txn, parent, first ? NULL : &after, &f, err);
            if (rc <= 0 || n >= FOLDERS_MAX)
                break;
            first = false;
            buf_reset(&last);
            buf_append_bytes(&last, f.name);
            if (n == cap) {
                cap *= 2;
                all = realloc(all, cap * sizeof *all);
                ASSERT(all);
            }
            all[n++] = f.id;
        }
        buf_release(&last);
    }
    *ids_out = all;
    *n_out = n;
    return rc < 0 ? rc : 0;
}

int archive_sync_dir(const char *path, struct error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? error_errno(err, "%s", path) : 0;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int remove_files(const char *dir, struct error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : error_errno(err, "%s", dir);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0); /* rmdir below tells if one stayed */
    (void)closedir(d);
    return rmdir(dir) < 0 && errno != ENOENT ? error_errno(err, "%s", dir) : 0;
}

int archive_remove_tree(const char *dir, struct error *err)
{
    static const char *const inner[] = {"segments", MDS_TEXT_DIR};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof inner / sizeof inner[0]; i++) {
        char *path = NULL;
        ASSERT(asprintf(&path, "%s/%s", dir, inner[i]) > 0);
        rc = remove_files(path, err);
        free(path);
    }
    return rc == 0 ? remove_files(dir, err) : rc;
}

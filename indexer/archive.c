/* What the jobs on a living archive share: finding it, taking turns, removing a tree. */
#include "archive_private.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

int archive_turn(struct archive_turn *t, const struct indexer_archive *a, struct mds_env *env, struct error *err)
{
    const int64_t now = indexer_monotonic_ns();
    const bool full = ++t->n >= ARCHIVE_TURN_ROWS || now - t->began_ns > ARCHIVE_TURN_NS;
    int rc = archive_check_cancel(a, err);
    if (rc < 0 || (t->txn && !full && !(t->n % 16 == 0 && mds_writer_waiting(env))))
        return rc;
    if (t->txn && (rc = mds_write_commit(&t->txn, err)) < 0)
        return rc;
    t->n = 0;
    rc = mds_write_begin(env, &t->txn, err); /* turns are given in order: who waits goes first */
    t->began_ns = indexer_monotonic_ns();
    return rc;
}

int archive_sync_dir(const char *path, struct error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? error_errno(err, "%s", path) : 0;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

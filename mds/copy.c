/*
 * A copy of a living environment: LMDB writes one snapshot, compacted, and what must fit to it is read back from the
 * copy itself.
 */
#include "mds_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* LMDB opens a read transaction of its own, so it goes through the gate. */
static int snapshot_write(struct mds_env *env, int fd, struct error *err)
{
    int rc = env_enter(env, err);

    if (rc != BASE_OK)
        return rc;
    const int lmdb = mdb_env_copyfd2(env->lmdb, fd, MDB_CP_COMPACT);

    env_leave(env);
    if (lmdb == MDB_MAP_RESIZED) /* before it wrote a byte */
        return (rc = env_map_follow(env, err)) == BASE_OK ? BASE_ERR_AGAIN : rc;
    return lmdb ? env_lmdb_error(env, lmdb, "copying it", err) : BASE_OK;
}

static int file_write(struct mds_env *env, const char *path, struct error *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = BASE_ERR_AGAIN;

    if (fd < 0)
        return errno == EEXIST ? error_set(err, BASE_ERR_EXISTS, errno, "%s is there already", path)
                               : error_errno(err, "create %s", path);
    for (int tries = 0; rc == BASE_ERR_AGAIN && tries < 4; tries++)
        rc = snapshot_write(env, fd, err);
    if (rc == BASE_ERR_AGAIN)
        rc = error_set(err, BASE_ERR_LOCKED, 0, "%s: its map grows faster than it can be copied", env->dir);
    if (rc == BASE_OK && fsync(fd) != 0)
        rc = error_errno(err, "sync %s", path);
    if (close(fd) != 0 && rc == BASE_OK)
        rc = error_errno(err, "close %s", path);
    if (rc != BASE_OK)
        (void)unlink(path);
    return rc;
}

/* Opens the copy, which also shows that it can be opened. */
static int segments_of(const char *dir, struct mds_segments *out, struct error *err)
{
    const struct mds_options opts = {.read_only = true};
    struct mds_env *copy = NULL;
    struct mds_txn *t = NULL;
    char path[4200];
    int rc = mds_open(dir, &opts, &copy, err);

    if (rc != BASE_OK)
        return rc;
    if ((rc = mds_read_begin(copy, &t, err)) == BASE_OK)
        rc = mds_segments_get(t, out, err);
    mds_read_end(&t);
    mds_close(&copy);
    if (snprintf(path, sizeof path, "%s/lock.mdb", dir) < (int)sizeof path)
        (void)unlink(path); /* it was made for this look */
    return rc;
}

int mds_copy(struct mds_env *env, const char *dir, struct mds_segments *out, struct error *err)
{
    char path[4200];
    int rc;

    if (snprintf(path, sizeof path, "%s/data.mdb", dir) >= (int)sizeof path)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: the path is too long", dir);
    if ((rc = file_write(env, path, err)) != BASE_OK)
        return rc;
    if ((rc = segments_of(dir, out, err)) != BASE_OK)
        (void)unlink(path);
    return rc;
}

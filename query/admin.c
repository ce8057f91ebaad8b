/* Archives, for administration: made empty, enabled and disabled, removed. */
#include "change.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <time.h>
#include <unistd.h>

#define REMOVE_TRIES 100
#define TREE_DEPTH   3 /* an archive's directory, "segments", its files */

/* ---- adding ---------------------------------------------------------------------------------- */

/* The environment, with INBOX; hashes are complete from the begin, as there is nothing to leave for later. */
static int environment_make(const struct mds_archive_info *info, bool relaxed, struct error *err)
{
    const struct mds_options options = {
        .create = true, .archive_name = info->name, .relaxed = relaxed, .uidvalidity_floor = info->uidvalidity_floor};
    struct mds_env *env = NULL;
    int rc = mds_open(info->dir, &options, &env, err);

    if (rc >= 0)
        rc = mds_hashes_build(env, info->dir, err);
    mds_close(&env);
    return rc;
}

static int archive_add(struct mdsq_store *store, const char *name, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info info;
    int rc = query_store_catalogue(store, true, &catalogue, err);

    if (rc < 0)
        return rc;
    rc = mds_catalogue_archive_find(catalogue, name, false, &info, NULL);
    if (rc >= 0 && info.made)
        return error_set(err, BASE_ERR_EXISTS, 0, "the archive exists");
    rc = mds_catalogue_archive_find(catalogue, name, true, &info, err);
    if (rc >= 0)
        rc = environment_make(&info, (store->flags & MDSQ_STORE_RELAXED) != 0, err);
    if (rc >= 0)
        rc = mds_catalogue_archive_made(catalogue, name, err);
    return rc == BASE_ERR_SYNTAX ? BASE_ERR_USAGE : rc;
}

int mdsq_archive_add(struct mdsq_store *store, const char *name, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    (void)pthread_mutex_lock(&store->lock);

    const int rc = archive_add(store, name, &e);

    (void)pthread_mutex_unlock(&store->lock);
    if (rc < 0)
        error_context(&e, "archive %s", name);
    return query_result(rc, &e, err);
}

int mdsq_archive_enable(struct mdsq_store *store, const char *name, bool enable, struct mdsq_error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct error e;
    int rc;

    query_error_init(&e);
    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, true, &catalogue, &e);
    if (rc >= 0)
        rc = mds_catalogue_archive_enable(catalogue, name, enable, &e);
    (void)pthread_mutex_unlock(&store->lock);
    return query_result(rc, &e, err);
}

/* ---- removing -------------------------------------------------------------------------------- */

static int remove_tree(int at, const char *name, unsigned depth, struct error *err);

static int remove_entries(DIR *dir, const char *name, unsigned depth, struct error *err)
{
    const int fd = dirfd(dir);
    int rc = BASE_OK;

    rewinddir(dir);
    for (const struct dirent *entry; rc >= 0 && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        if ((errno == EISDIR || errno == EPERM) && depth > 1)
            rc = remove_tree(fd, entry->d_name, depth - 1, err);
        else if (errno != ENOENT)
            rc = error_errno(err, "%s/%s", name, entry->d_name);
    }
    return rc;
}

/*
 * Everything in the directory `name` of `at`, then itself. Follows no link. Who had just opened the archive to index it
 * may put a file there yet, but not for long: nobody opens what has no data.mdb.
 */
static int remove_tree(int at, const char *name, unsigned depth, struct error *err)
{
    const int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int rc = BASE_OK;

    if (dir == NULL) {
        rc = errno == ENOENT ? BASE_OK : error_errno(err, "%s", name);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }

    unsigned left = REMOVE_TRIES;
    int why;

    do {
        rc = remove_entries(dir, name, depth, err);
        why = rc < 0 || unlinkat(at, name, AT_REMOVEDIR) == 0 ? 0 : errno;
    } while ((why == ENOTEMPTY || why == EEXIST) && --left);
    if (why) {
        errno = why;
        rc = error_errno(err, "%s", name);
    }
    (void)closedir(dir);
    return rc;
}

/* The catalogue forgets the archive next: what a power cut gave back would be in nobody's way, and its mail there for good. */
static int removal_sync(const char *dir, struct error *err)
{
    char *parent = g_path_get_dirname(dir);
    const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fd < 0 || fsync(fd) < 0 ? error_errno(err, "%s", parent) : BASE_OK;

    if (fd >= 0)
        (void)close(fd);
    g_free(parent);
    return rc;
}

/* Nobody builds, and nobody writes from when it is known what was given. Whoever has it open keeps the files that it
 * has until it ends. */
static int environment_remove(const struct mds_archive_info *info, bool relaxed, uint32_t *given, struct error *err)
{
    const struct mds_options options = {.relaxed = relaxed};
    struct mds_env *env = NULL;
    struct mds_txn *hold = NULL;
    int rc = BASE_OK;

    /* Missing, or damaged: it is to be removed anyway. */
    if (mds_open(info->dir, &options, &env, NULL) >= 0)
        rc = mds_build_lock(env, err);
    if (rc >= 0) {
        if (env == NULL || mds_write_begin(env, &hold, NULL) < 0 || mds_uidvalidity_highest(hold, given, NULL) < 0)
            *given = info->made ? mds_uidvalidity_by_clock(time(NULL), info->uidvalidity_floor) : 0;
        rc = remove_tree(AT_FDCWD, info->dir, TREE_DEPTH, err);
        if (rc >= 0)
            rc = removal_sync(info->dir, err);
        mds_write_abort(&hold);
        if (env)
            mds_build_unlock(env);
    }
    mds_close(&env);
    return rc;
}

static int archive_remove(struct mdsq_store *store, const char *name, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info info;
    uint32_t given = 0;
    int rc = query_store_catalogue(store, true, &catalogue, err);

    if (rc >= 0)
        rc = mds_catalogue_archive_find(catalogue, name, false, &info, err);
    if (rc >= 0 && info.enabled)
        rc = error_set(err, BASE_ERR_USAGE, 0, "it is enabled: disable it first");
    if (rc < 0)
        return rc;
    query_archive_forget(store, info.id);
    rc = environment_remove(&info, (store->flags & MDSQ_STORE_RELAXED) != 0, &given, err);
    return rc < 0 ? rc : mds_catalogue_archive_remove(catalogue, name, given, err);
}

int mdsq_archive_remove(struct mdsq_store *store, const char *name, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    (void)pthread_mutex_lock(&store->lock);

    const int rc = archive_remove(store, name, &e);

    (void)pthread_mutex_unlock(&store->lock);
    if (rc < 0)
        error_context(&e, "archive %s", name);
    return query_result(rc, &e, err);
}

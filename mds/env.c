/*
 * Environments: one a process and data file, found again by (device, inode), because a second mdb_env_open of the
 * same file succeeds and wipes the first one's reader table.
 */
#include "mds_private.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FULL_BELOW_BYTES (UINT64_C(1) << 20)
#define MANY_ENVS        16u
#define MMAP_FROM_BYTES  (1 << 20)

#define UNSAFE_FLAGS                                                                                                   \
    (MDB_NOSYNC | MDB_MAPASYNC | MDB_WRITEMAP) /* of LMDB: acknowledged would not be durable, or not sound */

/* One of two pieces of file-scope state (the other: map.c): LMDB's rule is one environment a process, so somebody has
 * to know. */
static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mds_env *registry;
static unsigned registry_n;

/* LMDB calls a short write EIO; it is what a disk gives that fills up in the middle of one. */
static bool disk_is_full(const struct mds_env *env)
{
    struct statvfs fs;

    return statvfs(env->dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BELOW_BYTES;
}

int env_lmdb_error(struct mds_env *env, int rc, const char *what, struct error *err)
{
    const char *dir = env->dir;

    switch (rc == EIO && disk_is_full(env) ? ENOSPC : rc) {
    case ENOSPC:
    case EDQUOT:
        return error_set(err, BASE_ERR_FULL, rc, "%s: %s: the disk is full: make room and run again", dir, what);
    case EROFS: return error_set(err, BASE_ERR_READONLY, rc, "%s: %s: the file system is read-only", dir, what);
    case EACCES:
        return error_set(err, BASE_ERR_IO, rc, "%s: %s: permission denied for data.mdb or lock.mdb there", dir, what);
    case ENOMEM: return error_set(err, BASE_ERR_NOMEM, rc, "%s: %s: out of memory or address space", dir, what);
    case MDB_INVALID: return error_set(err, BASE_ERR_FORMAT, rc, "%s/data.mdb: %s: not an LMDB file", dir, what);
    case MDB_VERSION_MISMATCH:
        return error_set(err, BASE_ERR_FORMAT, rc, "%s: %s: written by another version of LMDB", dir, what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_BAD_TXN:
        return error_set(err, BASE_ERR_CORRUPT, rc, "%s: %s: %s: run mds verify, then mds rebuild", dir, what,
                         mdb_strerror(rc));
    case MDB_READERS_FULL:
        return error_set(err, BASE_ERR_LIMIT, rc, "%s: %s: all %u reader slots are taken", dir, what, ENV_MAX_READERS);
    case MDB_TXN_FULL:
        return error_set(err, BASE_ERR_LIMIT, rc, "%s: %s: the transaction is too large: commit more often", dir, what);
    default: return error_set(err, BASE_ERR_IO, rc, "%s: %s: %s", dir, what, mdb_strerror(rc));
    }
}

/* ---- opening ---- */

static void env_free(struct mds_env *env)
{
    if (!env)
        return;
    if (env->lmdb && env->pid == getpid())
        mdb_env_close(env->lmdb);
    env_map_release(env);
    gather_free(&env->gather);
    locks_close(env);
    (void)pthread_mutex_destroy(&env->mutex);
    (void)pthread_cond_destroy(&env->changed);
    free(env->dir);
    free(env->path);
    free(env->archive_name);
    free(env);
}

static struct mds_env *env_new(const char *dir, const struct schema *schema, const struct mds_options *opts)
{
    struct mds_env *env = calloc(1, sizeof *env);
    pthread_condattr_t monotonic;
    const size_t n = strlen(dir) + sizeof "/data.mdb";

    ASSERT(env);
    (void)pthread_mutex_init(&env->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&env->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    env->schema = schema;
    env->dir = strdup(dir);
    env->path = malloc(n);
    env->archive_name = strdup(opts->archive_name ? opts->archive_name : "");
    ASSERT(env->dir && env->path && env->archive_name);
    (void)snprintf(env->path, n, "%s/data.mdb", dir);
    env->uidvalidity_floor = opts->uidvalidity_floor;
    env->read_only = opts->read_only;
    env->fixed_map = opts->map_bytes != 0;
    env->relaxed = opts->relaxed;
    env->pid = getpid();
    env->refs = 1;
    env->build_fd = env->queue_fd = -1;
    return env;
}

int env_durability_check(struct mds_env *env, struct error *err)
{
    unsigned flags = 0;

    (void)mdb_env_get_flags(env->lmdb, &flags);
    if (flags & (UNSAFE_FLAGS | (env->relaxed ? 0u : MDB_NOMETASYNC)))
        return error_set(err, BASE_ERR_USAGE, 0, "%s: refused: with its LMDB flags %x a commit would not be durable",
                         env->dir, flags);
    return BASE_OK;
}

static int lmdb_open(struct mds_env *env, uint64_t map_bytes, struct error *err)
{
    const unsigned flags =
        MDB_NOTLS | MDB_NORDAHEAD | (env->read_only ? MDB_RDONLY : 0u) | (env->relaxed ? MDB_NOMETASYNC : 0u);
    MDB_stat st;
    int dead, rc = mdb_env_create(&env->lmdb);

    if (rc)
        return env_lmdb_error(env, rc, "opening", err);
    (void)mdb_env_set_maxdbs(env->lmdb, TABLE_COUNT);
    (void)mdb_env_set_maxreaders(env->lmdb, ENV_MAX_READERS);
    rc = mdb_env_set_mapsize(env->lmdb, (size_t)map_bytes);
    if (!rc)
        rc = mdb_env_open(env->lmdb, env->dir, flags, 0600);
    if (rc)
        return env_lmdb_error(env, rc, "opening", err);
    env_map_note(env);
    (void)mdb_reader_check(env->lmdb, &dead);
    (void)mdb_env_stat(env->lmdb, &st);
    env->page_bytes = st.ms_psize;
    return BASE_OK;
}

static struct mds_env *registry_find(dev_t dev, ino_t ino)
{
    for (struct mds_env *env = registry; env; env = env->next) {
        if (env->dev == dev && env->ino == ino && env->pid == getpid())
            return env;
    }
    return NULL;
}

static int registry_reuse(struct mds_env *env, const struct schema *schema, const struct mds_options *opts,
                          struct mds_env **out, struct error *err)
{
    if (env->schema != schema)
        return error_set(err, BASE_ERR_FORMAT, 0, "%s is no %s", env->dir, schema->kind);
    if (env->read_only && !opts->read_only)
        return error_set(err, BASE_ERR_USAGE, 0, "%s is open read-only in this process: open it for writing first",
                         env->dir);
    if (!opts->read_only && env->relaxed != opts->relaxed)
        return error_set(err, BASE_ERR_USAGE, 0, "%s is open in this process with %s durability", env->dir,
                         env->relaxed ? "relaxed" : "strict");
    env->refs++;
    *out = env;
    return BASE_OK;
}

/* ---- directories: a new file survives a power cut only if its directory was synced, that one in its own, and so on
 * ---- */

int dir_sync(const char *dir, struct error *err)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = BASE_OK;

    if (fd < 0)
        return error_errno(err, "open %s", dir);
    if (fsync(fd) != 0 && errno != EINVAL) /* EINVAL: a file system that has no use for it */
        rc = error_errno(err, "sync %s", dir);
    (void)close(fd);
    return rc;
}

int dir_parent_sync(const char *dir, struct error *err)
{
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/')
        n--;
    while (n > 0 && dir[n - 1] != '/')
        n--;
    char *parent = n ? strndup(dir, n) : strdup(".");

    ASSERT(parent);
    int rc = dir_sync(parent, err);

    if (rc != BASE_OK && access(parent, R_OK) != 0 &&
        errno == EACCES) /* of those above the store, some may be closed to us */
        rc = BASE_OK;
    free(parent);
    return rc;
}

/*
 * By every writer, not only by the one that made it, who may have been killed before this; but a store with a second
 * transaction has had a writer that came past this, and a directory's sync waits for the disk.
 */
static int env_dirs_sync(const struct mds_env *env, struct error *err)
{
    MDB_envinfo info;

    if (mdb_env_info(env->lmdb, &info) == 0 && info.me_last_txnid > 1)
        return BASE_OK;
    const int rc = dir_sync(env->dir, err);

    return rc == BASE_OK ? dir_parent_sync(env->dir, err) : rc;
}

/*
 * LMDB callocs 2 MB an environment and touches a page of it. As long as glibc maps such blocks anew they cost nothing;
 * but each free raises the size from which it does so, and then calloc clears recycled heap: 2 MB private for each of
 * thousands of archives, as soon as some were closed and opened again.
 */
static void many_prepare(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
#endif
}

static int env_open_locked(const char *dir, const struct schema *schema, const struct mds_options *opts,
                           struct mds_env **out, struct error *err)
{
    struct mds_env *env = env_new(dir, schema, opts), *known;
    enum file_state state;
    uint64_t file_bytes, map_bytes = 0;
    struct stat st;
    int rc = BASE_OK;

    if (opts->create && !opts->read_only && mkdir(dir, 0700) != 0 && errno != EEXIST)
        rc = error_errno(err, "create %s", dir);
    if (rc == BASE_OK && stat(env->path, &st) == 0 && (known = registry_find(st.st_dev, st.st_ino)) != NULL) {
        env_free(env);
        return registry_reuse(known, schema, opts, out, err);
    }
    if (rc == BASE_OK)
        rc = lmdb_file_check(env->path, &state, &file_bytes, err);
    if (rc == BASE_OK && state != FILE_LMDB && (!opts->create || opts->read_only))
        rc = state == FILE_MISSING
                 ? error_set(err, BASE_ERR_NOTFOUND, ENOENT, "%s: there is no data.mdb: mds build makes it", dir)
                 : error_set(err, BASE_ERR_FORMAT, 0, "%s is empty", env->path);
    if (rc == BASE_OK)
        rc = locks_open(env, err);
    if (rc == BASE_OK)
        rc = env_map_claim(env, opts->map_bytes, file_bytes, &map_bytes, err);
    if (rc == BASE_OK)
        rc = lmdb_lock_reserve(env->dir, err);
    if (rc == BASE_OK)
        rc = lmdb_open(env, map_bytes, err);
    if (rc == BASE_OK)
        rc = store_open(env, opts, err);
    if (rc == BASE_OK && !opts->read_only)
        rc = env_dirs_sync(env, err);
    if (rc == BASE_OK && stat(env->path, &st) != 0)
        rc = error_errno(err, "stat %s", env->path);
    if (rc != BASE_OK) {
        env_free(env);
        return rc;
    }
    env->dev = st.st_dev;
    env->ino = st.st_ino;
    env->next = registry;
    registry = env;
    if (++registry_n == MANY_ENVS)
        many_prepare();
    *out = env;
    return BASE_OK;
}

int env_open(const char *dir, const struct schema *schema, const struct mds_options *opts, struct mds_env **out,
             struct error *err)
{
    *out = NULL;
    (void)pthread_mutex_lock(&registry_mutex);
    const int rc = env_open_locked(dir, schema, opts, out, err);

    (void)pthread_mutex_unlock(&registry_mutex);
    return rc;
}

int mds_open(const char *dir, const struct mds_options *opts, struct mds_env **out, struct error *err)
{
    static const struct mds_options defaults = {0};

    return env_open(dir, &archive_schema, opts ? opts : &defaults, out, err);
}

void mds_close(struct mds_env **envp)
{
    struct mds_env *env = *envp;

    *envp = NULL;
    if (!env)
        return;
    (void)pthread_mutex_lock(&registry_mutex);
    if (--env->refs == 0) {
        struct mds_env **at = &registry;

        while (*at && *at != env)
            at = &(*at)->next;
        if (*at) {
            *at = env->next;
            registry_n--;
        }
        ASSERT(env->live == 0 || env->pid != getpid());
        env_free(env);
    }
    (void)pthread_mutex_unlock(&registry_mutex);
}

void mds_readers_clear(struct mds_env *env)
{
    int dead;

    (void)mdb_reader_check(env->lmdb, &dead);
}

const char *mds_dir(const struct mds_env *env)
{
    return env->dir;
}

bool mds_is_in_place(const struct mds_env *env)
{
    struct stat st;

    return stat(env->path, &st) == 0 && st.st_dev == env->dev && st.st_ino == env->ino;
}

uint64_t mds_last_txnid(struct mds_env *env)
{
    MDB_envinfo info;

    (void)pthread_mutex_lock(&env->mutex); /* as in env_map_prepare */
    const int lmdb = mdb_env_info(env->lmdb, &info);

    (void)pthread_mutex_unlock(&env->mutex);
    return lmdb ? 0 : info.me_last_txnid;
}

void mds_usage(struct mds_env *env, struct mds_usage *out)
{
    MDB_envinfo info;

    (void)pthread_mutex_lock(&env->mutex); /* as in env_map_prepare */
    const int lmdb = mdb_env_info(env->lmdb, &info);

    (void)pthread_mutex_unlock(&env->mutex);
    *out = (struct mds_usage){0};
    if (lmdb == 0)
        *out = (struct mds_usage){info.me_mapsize, ((uint64_t)info.me_last_pgno + 1) * env->page_bytes};
}

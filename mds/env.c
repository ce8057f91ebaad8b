/*
 * Environments: one a process and data file, found again by (device, inode), because a second mdb_env_open of the
 * same file succeeds and wipes the first one's reader table. The map grows behind a gate: mdb_env_set_mapsize under
 * a live reader succeeds too, and its pointers die.
 */
#include "mds_private.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FULL_BELOW_BYTES (UINT64_C(1) << 20)

const char *const table_names[TABLE_COUNT] = {
    "meta",    "folders", "names",    "floors",   "messages", "sets",    "items",      "wire",
    "headers", "sort",    "hashes",   "msgids",   "filed",    "sources", "containers", "container_names",
    "places",  "changes", "expunged", "keywords", "archives", "users",   "removed",
};

#define FEATURE_REMOVED "removed"

static const char *const archive_features[] = {"seals-xxh3", "packs", "sets", "log-runs", FEATURE_REMOVED, NULL};
static const char *const catalogue_features[] = {"seals-xxh3", NULL};

const struct schema archive_schema = {"mds-archive", archive_features,
                                      ((1u << TABLE_ARCHIVES) - 1u) | 1u << TABLE_REMOVED, 1u << TABLE_REMOVED};
const struct schema catalogue_schema = {"mds-catalogue", catalogue_features,
                                        1u << TABLE_META | 1u << TABLE_ARCHIVES | 1u << TABLE_USERS, 0};

/* The one piece of file-scope state: LMDB's rule is one environment a process, so somebody has to know. */
static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mds_env *registry;

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

/* ---- the gate ---- */

static struct timespec deadline_in(unsigned ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

int env_enter(struct mds_env *env, struct error *err)
{
    int rc = BASE_OK;

    if (env->pid != getpid())
        return error_set(err, BASE_ERR_USAGE, 0, "%s was opened before a fork: open it anew in the child", env->dir);
    (void)pthread_mutex_lock(&env->mutex);
    if (env->gate_shut) {
        const struct timespec until = deadline_in(ENV_GATE_WAIT_MS + 1000);

        while (env->gate_shut && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&env->changed, &env->mutex, &until);
        rc = env->gate_shut ? error_set(err, BASE_ERR_LOCKED, 0, "%s: its map is still growing", env->dir) : BASE_OK;
    }
    if (rc == BASE_OK)
        env->live++;
    (void)pthread_mutex_unlock(&env->mutex);
    return rc;
}

void env_leave(struct mds_env *env)
{
    (void)pthread_mutex_lock(&env->mutex);
    ASSERT(env->live > 0);
    env->live--;
    if (env->gate_shut)
        (void)pthread_cond_broadcast(&env->changed);
    (void)pthread_mutex_unlock(&env->mutex);
}

/* bytes 0: take over what another process made. `patient` false: not while readers live here. */
static int map_set(struct mds_env *env, uint64_t bytes, bool patient, struct error *err)
{
    const struct timespec until = deadline_in(ENV_GATE_WAIT_MS);
    int rc = BASE_OK, wait = 0;

    (void)pthread_mutex_lock(&env->mutex);
    while (env->gate_shut && wait != ETIMEDOUT) /* one at a time */
        wait = pthread_cond_timedwait(&env->changed, &env->mutex, &until);
    if (wait != ETIMEDOUT && (patient || env->live == 0)) {
        env->gate_shut = true;
        while (env->live > 0 && wait != ETIMEDOUT)
            wait = pthread_cond_timedwait(&env->changed, &env->mutex, &until);
        if (env->live == 0) {
            const int lmdb = mdb_env_set_mapsize(env->lmdb, (size_t)bytes);

            if (lmdb)
                rc = env_lmdb_error(env, lmdb, "growing its map", err);
            else
                env->want_grow = false;
        }
        env->gate_shut = false;
        (void)pthread_cond_broadcast(&env->changed);
    }
    if (rc == BASE_OK && patient && wait == ETIMEDOUT)
        rc = error_set(err, BASE_ERR_LOCKED, 0, "%s: its map must grow, but a transaction of this process stays open",
                       env->dir);
    (void)pthread_mutex_unlock(&env->mutex);
    return rc;
}

int env_map_follow(struct mds_env *env, struct error *err)
{
    return map_set(env, 0, true, err);
}

static uint64_t map_default(uint64_t file_bytes)
{
    const uint64_t grown = file_bytes > UINT64_MAX / 16 ? file_bytes : file_bytes * 8;

    return grown > ENV_MAP_BYTES ? grown : ENV_MAP_BYTES;
}

int env_map_prepare(struct mds_env *env, struct error *err)
{
    MDB_envinfo info;

    (void)pthread_mutex_lock(&env->mutex); /* mdb_env_info reads the map, which map_set replaces */
    const int lmdb = mdb_env_info(env->lmdb, &info);
    const bool want_grow = env->want_grow;

    (void)pthread_mutex_unlock(&env->mutex);
    if (lmdb)
        return env_lmdb_error(env, lmdb, "asking for its size", err);
    const uint64_t used = ((uint64_t)info.me_last_pgno + 1) * env->page_bytes, map = info.me_mapsize;

    if (want_grow)
        return map_set(env, env->fixed_map ? map * 2 : map_default(map > used ? map : used), true, err);
    if (!env->fixed_map && map - used < MDS_MAP_RESERVE)
        return map_set(env, map_default(used), false, err);
    return BASE_OK;
}

/* ---- opening ---- */

static void env_free(struct mds_env *env)
{
    if (!env)
        return;
    if (env->lmdb && env->pid == getpid())
        mdb_env_close(env->lmdb);
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
    env->read_only = opts->read_only;
    env->fixed_map = opts->map_bytes != 0;
    env->pid = getpid();
    env->refs = 1;
    env->build_fd = env->queue_fd = -1;
    return env;
}

static int lmdb_open(struct mds_env *env, uint64_t map_bytes, struct error *err)
{
    MDB_stat st;
    int dead, rc = mdb_env_create(&env->lmdb);

    if (rc)
        return env_lmdb_error(env, rc, "opening", err);
    (void)mdb_env_set_maxdbs(env->lmdb, TABLE_COUNT);
    (void)mdb_env_set_maxreaders(env->lmdb, ENV_MAX_READERS);
    rc = mdb_env_set_mapsize(env->lmdb, (size_t)map_bytes);
    if (!rc)
        rc = mdb_env_open(env->lmdb, env->dir, MDB_NOTLS | MDB_NORDAHEAD | (env->read_only ? MDB_RDONLY : 0u), 0600);
    if (rc)
        return env_lmdb_error(env, rc, "opening", err);
    (void)mdb_reader_check(env->lmdb, &dead);
    (void)mdb_env_stat(env->lmdb, &st);
    env->page_bytes = st.ms_psize;
    return BASE_OK;
}

/* The number of the table that fails, or -1. Later tables may be missing, unless they are made now. */
static int tables_open(struct mds_env *env, MDB_txn *txn, unsigned flags, int *lmdb_out)
{
    env->tables = 0;
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (!(env->schema->tables >> i & 1))
            continue;
        *lmdb_out = mdb_dbi_open(txn, table_names[i], flags, &env->dbi[i]);
        if (*lmdb_out == MDB_NOTFOUND && env->schema->later >> i & 1)
            continue;
        if (*lmdb_out)
            return (int)i;
        env->tables |= 1u << i;
    }
    return -1;
}

static bool feature_known(const struct schema *schema, struct bytes name)
{
    for (const char *const *f = schema->features; *f; f++) {
        if (bytes_equal(bytes_str(*f), name))
            return true;
    }
    return false;
}

static bool features_hold(struct bytes features, struct bytes wanted)
{
    while (features.n) {
        const uint8_t *space = memchr(features.p, ' ', features.n);
        const struct bytes name = bytes_slice(features, 0, space ? (size_t)(space - features.p) : features.n);

        if (bytes_equal(name, wanted))
            return true;
        features = bytes_slice(features, name.n + 1, SIZE_MAX);
    }
    return false;
}

/* A store of an earlier version has neither the table nor the feature's name. */
static int later_check(struct mds_env *env, struct bytes features, struct error *err)
{
    if ((env->schema->later & ~env->tables) == 0 || !features_hold(features, BYTES_LIT(FEATURE_REMOVED)))
        return BASE_OK;
    return error_set(err, BASE_ERR_CORRUPT, MDB_NOTFOUND, "%s has lost its table %s: restore it from a backup",
                     env->dir, table_names[TABLE_REMOVED]);
}

static int features_check(struct mds_env *env, struct bytes features, struct error *err)
{
    const struct bytes all = features;

    while (features.n) {
        const uint8_t *space = memchr(features.p, ' ', features.n);
        const struct bytes name = bytes_slice(features, 0, space ? (size_t)(space - features.p) : features.n);

        if (name.n && !feature_known(env->schema, name))
            return error_set(err, BASE_ERR_FORMAT, 0,
                             "%s uses the feature '%.*s', which this version does not know: upgrade mds", env->dir,
                             (int)(name.n < 64 ? name.n : 64), (const char *)name.p);
        features = bytes_slice(features, name.n + 1, SIZE_MAX);
    }
    return later_check(env, all, err);
}

static int format_check(struct mds_env *env, struct mds_txn *txn, struct error *err)
{
    struct bytes text;
    char want[64];
    int rc = meta_own_get(txn, META_FORMAT, &text, err);

    if (rc == BASE_ERR_NOTFOUND)
        return error_set(err, BASE_ERR_FORMAT, 0, "%s is an LMDB environment, but no %s", env->dir, env->schema->kind);
    if (rc != BASE_OK)
        return rc;
    (void)snprintf(want, sizeof want, "%s %d", env->schema->kind, MDS_FORMAT_VERSION);
    if (!bytes_equal(text, bytes_str(want)))
        return error_set(err, BASE_ERR_FORMAT, 0, "%s has the format '%.*s', this version reads '%s': %s", env->dir,
                         (int)(text.n < 64 ? text.n : 64), (const char *)text.p, want,
                         "use the mds that wrote it, or build anew");
    rc = meta_own_get(txn, META_FEATURES, &text, err);
    return rc == BASE_OK ? features_check(env, text, err) : rc;
}

static int features_write(struct mds_env *env, struct mds_txn *txn, struct error *err)
{
    struct buf text = {0};

    for (const char *const *f = env->schema->features; *f; f++)
        buf_printf(&text, "%s%s", text.n ? " " : "", *f);
    const int rc = meta_own_put(txn, META_FEATURES, buf_bytes(&text), err);

    buf_release(&text);
    return rc;
}

static int format_write(struct mds_env *env, struct mds_txn *txn, struct error *err)
{
    struct buf text = {0};
    int rc;

    buf_printf(&text, "%s %d", env->schema->kind, MDS_FORMAT_VERSION);
    rc = meta_own_put(txn, META_FORMAT, buf_bytes(&text), err);
    if (rc == BASE_OK)
        rc = features_write(env, txn, err);
    if (rc == BASE_OK)
        rc = meta_own_put(txn, META_ARCHIVE, bytes_str(env->archive_name), err);
    if (rc == BASE_OK && env->schema == &archive_schema)
        rc = folder_init(txn, err);
    buf_release(&text);
    return rc;
}

/* Two processes may come here at once: the second finds a format row under the write lock. */
static int store_create(struct mds_env *env, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes text;
    int lmdb = 0, rc = txn_write_begin(env, true, &txn, err);

    if (rc != BASE_OK)
        return rc;
    if (tables_open(env, txn->lmdb, MDB_CREATE, &lmdb) >= 0)
        rc = env_lmdb_error(env, lmdb, "creating its tables", err);
    if (rc == BASE_OK)
        rc = meta_own_get(txn, META_FORMAT, &text, err);
    if (rc == BASE_OK) {
        mds_write_abort(&txn); /* another process was faster; the handles are opened again below */
        return BASE_OK;
    }
    if (rc == BASE_ERR_NOTFOUND)
        rc = txn_writer_load(txn, err);
    if (rc == BASE_OK)
        rc = format_write(env, txn, err);
    if (rc == BASE_OK)
        return mds_write_commit(&txn, err);
    mds_write_abort(&txn);
    return rc;
}

/* A store of an earlier version gets what it lacks. Another process may do the same at once: the second finds it done.
 */
static int store_upgrade(struct mds_env *env, struct error *err)
{
    const uint32_t before = env->tables;
    struct mds_txn *txn = NULL;
    int lmdb = 0, rc = txn_write_begin(env, false, &txn, err);

    if (rc != BASE_OK)
        return rc;
    if (tables_open(env, txn->lmdb, MDB_CREATE, &lmdb) >= 0)
        rc = env_lmdb_error(env, lmdb, "adding tables of this version", err);
    if (rc == BASE_OK)
        rc = features_write(env, txn, err);
    if (rc == BASE_OK)
        rc = mds_write_commit(&txn, err);
    else
        mds_write_abort(&txn);
    if (rc != BASE_OK)
        env->tables = before;
    return rc;
}

/* A table is missing: is this another kind of store of ours, or a damaged one? */
static bool kind_is_other(struct mds_env *env, MDB_txn *txn)
{
    MDB_val k = val_of(BYTES_LIT(META_FORMAT)), v = {0};
    const size_t n = strlen(env->schema->kind);

    return mdb_get(txn, env->dbi[TABLE_META], &k, &v) == 0 &&
           (v.mv_size <= SEAL_BYTES + n || memcmp((const uint8_t *)v.mv_data + SEAL_BYTES, env->schema->kind, n) != 0);
}

static int store_tables(struct mds_env *env, bool *is_new, struct error *err)
{
    MDB_txn *txn = NULL;
    MDB_stat main_stat;
    MDB_dbi main_dbi;
    int lmdb = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &txn);

    *is_new = false;
    if (lmdb)
        return env_lmdb_error(env, lmdb, "reading it for the first time", err);
    const int failed = tables_open(env, txn, 0, &lmdb);

    if (failed < 0) {
        lmdb = mdb_txn_commit(txn); /* keeps the handles */
        return lmdb ? env_lmdb_error(env, lmdb, "opening its tables", err) : BASE_OK;
    }
    const bool empty = lmdb == MDB_NOTFOUND && failed == 0 && !mdb_dbi_open(txn, NULL, 0, &main_dbi) &&
                       !mdb_stat(txn, main_dbi, &main_stat) && main_stat.ms_entries == 0;
    const bool other = lmdb == MDB_NOTFOUND && (failed == 0 || kind_is_other(env, txn));

    mdb_txn_abort(txn);
    if (empty) {
        *is_new = true;
        return BASE_OK;
    }
    if (other)
        return error_set(err, BASE_ERR_FORMAT, 0, "%s is an LMDB environment, but no %s", env->dir, env->schema->kind);
    if (lmdb == MDB_NOTFOUND || lmdb == MDB_INCOMPATIBLE)
        return error_set(err, BASE_ERR_CORRUPT, lmdb, "%s has lost its table %s: restore it from a backup", env->dir,
                         table_names[failed]);
    return env_lmdb_error(env, lmdb, "opening its tables", err);
}

static int store_open(struct mds_env *env, const struct mds_options *opts, struct error *err)
{
    struct mds_txn *txn = NULL;
    bool is_new = false;
    int rc = store_tables(env, &is_new, err);

    if (rc == BASE_OK && is_new) {
        if (!opts->create || opts->read_only)
            return error_set(err, BASE_ERR_FORMAT, 0, "%s holds no %s yet", env->dir, env->schema->kind);
        rc = store_create(env, err);
        if (rc == BASE_OK)
            rc = store_tables(env, &is_new, err);
    }
    if (rc == BASE_OK)
        rc = mds_read_begin(env, &txn, err);
    if (rc == BASE_OK)
        rc = format_check(env, txn, err);
    mds_read_end(&txn);
    if (rc == BASE_OK && !opts->read_only && env->tables != env->schema->tables)
        rc = store_upgrade(env, err);
    return rc;
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
    env->refs++;
    *out = env;
    return BASE_OK;
}

static int env_open_locked(const char *dir, const struct schema *schema, const struct mds_options *opts,
                           struct mds_env **out, struct error *err)
{
    struct mds_env *env = env_new(dir, schema, opts), *known;
    enum file_state state;
    uint64_t file_bytes;
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
        rc = lmdb_open(env, opts->map_bytes ? opts->map_bytes : map_default(file_bytes), err);
    if (rc == BASE_OK)
        rc = store_open(env, opts, err);
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
        if (*at)
            *at = env->next;
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

uint64_t mds_last_txnid(struct mds_env *env)
{
    MDB_envinfo info;

    (void)pthread_mutex_lock(&env->mutex); /* as in env_map_prepare */
    const int lmdb = mdb_env_info(env->lmdb, &info);

    (void)pthread_mutex_unlock(&env->mutex);
    return lmdb ? 0 : info.me_last_txnid;
}

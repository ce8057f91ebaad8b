/*
 * The catalogue of a store: archives and users, in an environment of its own. Each call is a transaction of its own;
 * the rows are few and the answers are copied out.
 */
#include "mds_private.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/stat.h>

#define CATALOGUE_MAP_BYTES (UINT64_C(1) << 30)

struct mds_catalogue {
    struct mds_env *env;
    char *store_dir;
};

static int store_dirs_make(const char *store_dir, struct error *err)
{
    char path[1200];

    if (mkdir(store_dir, 0700) != 0 && errno != EEXIST)
        return error_errno(err, "create the store %s", store_dir);
    if (snprintf(path, sizeof path, "%s/archives", store_dir) >= (int)sizeof path)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: the path is too long", store_dir);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_errno(err, "create %s", path);
    return dir_parent_sync(store_dir, err); /* what is in it is synced when the catalogue is open */
}

int mds_catalogue_open(const char *store_dir, bool create, bool read_only, struct mds_catalogue **out,
                       struct error *err)
{
    const struct mds_options opts = {
        .read_only = read_only, .create = create && !read_only, .map_bytes = CATALOGUE_MAP_BYTES};
    struct mds_env *env = NULL;
    char path[1200];
    int rc = opts.create ? store_dirs_make(store_dir, err) : BASE_OK;

    *out = NULL;
    if (rc == BASE_OK && snprintf(path, sizeof path, "%s/catalogue", store_dir) >= (int)sizeof path)
        rc = error_set(err, BASE_ERR_LIMIT, 0, "%s: the path is too long", store_dir);
    if (rc == BASE_OK)
        rc = env_open(path, &catalogue_schema, &opts, &env, err);
    if (rc != BASE_OK) {
        error_context(err, "catalogue");
        return rc;
    }
    *out = calloc(1, sizeof **out);
    ASSERT(*out);
    (*out)->env = env;
    (*out)->store_dir = strdup(store_dir);
    ASSERT((*out)->store_dir);
    return BASE_OK;
}

void mds_catalogue_close(struct mds_catalogue **cp)
{
    struct mds_catalogue *c = *cp;

    if (!c)
        return;
    mds_close(&c->env);
    free(c->store_dir);
    free(c);
    *cp = NULL;
}

/* ---- one row a call ---- */

static bool name_is_valid(struct bytes name, bool allow_slash)
{
    if (name.n == 0 || name.n > 255)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < 0x20 || name.p[i] == 0x7f || (name.p[i] == '/' && !allow_slash))
            return false;
    }
    return true;
}

typedef bool row_take_fn(struct bytes key, struct bytes row, void *out);

static int row_find(struct mds_catalogue *c, enum table table, const char *name, row_take_fn *take, void *out,
                    struct error *err)
{
    struct mds_txn *t = NULL;
    struct bytes row;
    const struct bytes key = bytes_str(name);
    int rc;

    if (key.n == 0 || key.n > 255)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: no such name in %s", c->store_dir, table_names[table]);
    if ((rc = mds_read_begin(c->env, &t, err)) != BASE_OK)
        return rc;
    rc = row_get(t, table, key, &row, err);
    if (rc == BASE_ERR_NOTFOUND)
        (void)error_set(err, rc, 0, "%s: '%s' is not in %s", c->store_dir, name, table_names[table]);
    if (rc == BASE_OK && !take(key, row, out))
        rc = row_corrupt(t, table, key, "it does not decode", err);
    mds_read_end(&t);
    return rc;
}

static int row_next(struct mds_catalogue *c, enum table table, const char *after, row_take_fn *take, void *out,
                    struct error *err)
{
    struct mds_txn *t = NULL;
    struct bytes row, key = bytes_str(after ? after : "");
    const struct bytes from = key;
    int rc = mds_read_begin(c->env, &t, err);

    if (rc != BASE_OK)
        return rc;
    rc = row_seek(t, table, from.n ? MDB_SET_RANGE : MDB_FIRST, &key, &row, err);
    if (rc == 1 && from.n && bytes_equal(key, from))
        rc = row_seek(t, table, MDB_NEXT, &key, &row, err);
    if (rc == 1 && !take(key, row, out))
        rc = row_corrupt(t, table, key, "it does not decode", err);
    mds_read_end(&t);
    return rc;
}

/* ---- archives ---- */

static bool archive_take(struct bytes key, struct bytes row, void *arg)
{
    struct mds_archive_info *out = arg;

    memset(out, 0, sizeof *out);
    if (!name_is_valid(key, false) || !archive_decode(row, out))
        return false;
    memcpy(out->name, key.p, key.n);
    return true;
}

static int archive_dir(const struct mds_catalogue *c, struct mds_archive_info *out, struct error *err)
{
    /* By id: a name may hold anything, and may change. */
    if (snprintf(out->dir, sizeof out->dir, "%s/archives/a%08u", c->store_dir, out->id) >= (int)sizeof out->dir)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: the path is too long", c->store_dir);
    return BASE_OK;
}

/* By the name's hash: meta's names are short. */
static const char *floor_name(const char *archive, char out[64])
{
    const struct hash128 h = hash128_of(bytes_str(archive));
    int n = snprintf(out, 64, "uidvalidity-");

    for (size_t i = 0; i < sizeof h.b; i++)
        n += snprintf(out + n, 64 - (size_t)n, "%02x", h.b[i]);
    return out;
}

static int floor_read(struct mds_txn *t, const char *archive, uint32_t *out, struct error *err)
{
    char name[64];
    struct bytes v;
    const int rc = mds_meta_get(t, floor_name(archive, name), &v, NULL);

    *out = rc == BASE_OK && v.n == 4 ? get_be32(v.p) : 0;
    if (rc == BASE_OK && v.n != 4)
        return row_corrupt(t, TABLE_META, bytes_str(name), "it has another length", err);
    return rc == BASE_ERR_NOTFOUND ? BASE_OK
           : rc < 0                ? error_set(err, rc, 0, "%s: row %s cannot be read", t->env->dir, name)
                                   : rc;
}

/* What is not in the row itself. */
static int archive_complete(struct mds_catalogue *c, struct mds_archive_info *out, struct error *err)
{
    struct mds_txn *t = NULL;
    int rc = mds_read_begin(c->env, &t, err);

    if (rc == BASE_OK)
        rc = floor_read(t, out->name, &out->uidvalidity_floor, err);
    mds_read_end(&t);
    return rc == BASE_OK ? archive_dir(c, out, err) : rc;
}

/* Looks again under the write lock, so that two processes give one id. */
static int archive_make(struct mds_catalogue *c, const char *name, struct mds_archive_info *out, struct error *err)
{
    struct mds_txn *t = NULL;
    struct bytes row;
    int rc = mds_write_begin(c->env, &t, err);

    if (rc != BASE_OK)
        return rc;
    rc = row_get(t, TABLE_ARCHIVES, bytes_str(name), &row, err);
    if (rc == BASE_OK) {
        rc = archive_take(bytes_str(name), row, out)
                 ? BASE_OK
                 : row_corrupt(t, TABLE_ARCHIVES, bytes_str(name), "it does not decode", err);
        mds_write_abort(&t);
        return rc;
    }
    if (rc == BASE_ERR_NOTFOUND) {
        struct buf *v = value_begin(t);

        *out = (struct mds_archive_info){.id = t->w->counters.next_container, .enabled = true};
        (void)snprintf(out->name, sizeof out->name, "%s", name);
        archive_encode(out, v);
        t->w->counters.next_container++;
        t->w->counters_dirty = true;
        rc = row_put(t, TABLE_ARCHIVES, bytes_str(name), v, err);
    }
    if (rc == BASE_OK)
        return mds_write_commit(&t, err);
    mds_write_abort(&t);
    return rc;
}

int mds_catalogue_archive_find(struct mds_catalogue *c, const char *name, bool create, struct mds_archive_info *out,
                               struct error *err)
{
    int rc = row_find(c, TABLE_ARCHIVES, name, archive_take, out, err);

    if (rc == BASE_ERR_NOTFOUND && create) {
        if (!name_is_valid(bytes_str(name), false))
            return error_set(err, BASE_ERR_SYNTAX, 0,
                             "an archive's name has 1 to 255 bytes, no control bytes and no '/'");
        rc = archive_make(c, name, out, err);
    }
    return rc == BASE_OK ? archive_complete(c, out, err) : rc;
}

/* Rewrites the row as `edit` says; not if it says false. NOTFOUND. */
static int archive_edit(struct mds_catalogue *c, const char *name, bool (*edit)(struct mds_archive_info *info, bool value),
                        bool value, struct error *err)
{
    struct mds_archive_info info;
    struct mds_txn *t = NULL;
    struct bytes row;
    int rc = mds_catalogue_archive_find(c, name, false, &info, err);

    if (rc != BASE_OK || !edit(&info, value))
        return rc;
    rc = mds_write_begin(c->env, &t, err);
    if (rc == BASE_OK)
        rc = row_get(t, TABLE_ARCHIVES, bytes_str(name), &row, err);
    if (rc == BASE_OK && !archive_take(bytes_str(name), row, &info))
        rc = row_corrupt(t, TABLE_ARCHIVES, bytes_str(name), "it does not decode", err);
    if (rc == BASE_OK && edit(&info, value)) {
        struct buf *v = value_begin(t);

        archive_encode(&info, v);
        rc = row_put(t, TABLE_ARCHIVES, bytes_str(name), v, err);
    }
    if (rc == BASE_OK)
        return mds_write_commit(&t, err);
    mds_write_abort(&t);
    return rc;
}

static bool edit_made(struct mds_archive_info *info, bool value)
{
    const bool differs = info->made != value;

    info->made = value;
    return differs;
}

static bool edit_enabled(struct mds_archive_info *info, bool value)
{
    const bool differs = info->enabled != value;

    info->enabled = value;
    return differs;
}

int mds_catalogue_archive_made(struct mds_catalogue *c, const char *name, struct error *err)
{
    return archive_edit(c, name, edit_made, true, err);
}

int mds_catalogue_archive_enable(struct mds_catalogue *c, const char *name, bool enabled, struct error *err)
{
    return archive_edit(c, name, edit_enabled, enabled, err);
}

static int floor_raise(struct mds_txn *t, const char *archive, uint32_t uidvalidity, struct error *err)
{
    uint8_t value[4];
    uint32_t floor;
    char name[64];
    const int rc = floor_read(t, archive, &floor, err);

    if (rc != BASE_OK || uidvalidity <= floor)
        return rc;
    put_be32(value, uidvalidity);
    return mds_meta_put(t, floor_name(archive, name), bytes_of(value, sizeof value), true, err);
}

int mds_catalogue_archive_remove(struct mds_catalogue *c, const char *name, uint32_t uidvalidity, struct error *err)
{
    struct mds_archive_info info;
    struct mds_txn *t = NULL;
    int rc = mds_catalogue_archive_find(c, name, false, &info, err);

    if (rc == BASE_OK)
        rc = mds_write_begin(c->env, &t, err);
    if (rc == BASE_OK)
        rc = row_delete(t, TABLE_ARCHIVES, bytes_str(name), NULL, err);
    if (rc == BASE_OK)
        rc = floor_raise(t, name, uidvalidity, err);
    if (rc == BASE_OK)
        return mds_write_commit(&t, err);
    mds_write_abort(&t);
    return rc;
}

int mds_catalogue_archive_next(struct mds_catalogue *c, const char *after, struct mds_archive_info *out,
                               struct error *err)
{
    const int rc = row_next(c, TABLE_ARCHIVES, after, archive_take, out, err);

    if (rc != 1)
        return rc;
    const int dir = archive_complete(c, out, err);

    return dir == BASE_OK ? 1 : dir;
}

/* ---- users ---- */

#define META_SECRET "login-secret"

int mds_catalogue_secret(struct mds_catalogue *c, uint8_t out[MDS_CATALOGUE_SECRET_BYTES], struct error *err)
{
    struct mds_txn *t = NULL;
    struct bytes v;
    int rc = mds_read_begin(c->env, &t, err);

    if (rc == BASE_OK)
        rc = mds_meta_get(t, META_SECRET, &v, err);
    if (rc == BASE_OK && v.n != MDS_CATALOGUE_SECRET_BYTES)
        rc = row_corrupt(t, TABLE_META, BYTES_LIT(META_SECRET), "it has another length", err);
    if (rc == BASE_OK)
        memcpy(out, v.p, v.n);
    mds_read_end(&t);
    return rc;
}

static int secret_ensure(struct mds_txn *t, struct error *err)
{
    uint8_t secret[MDS_CATALOGUE_SECRET_BYTES];
    struct bytes v;
    int rc = mds_meta_get(t, META_SECRET, &v, NULL);

    if (rc != BASE_ERR_NOTFOUND)
        return rc;
    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret)
        return error_errno(err, "get random bytes");
    rc = mds_meta_put(t, META_SECRET, bytes_of(secret, sizeof secret), true, err);
    explicit_bzero(secret, sizeof secret);
    return rc;
}

static bool user_take(struct bytes key, struct bytes row, void *arg)
{
    return user_decode(key, row, arg);
}

int mds_catalogue_user_put(struct mds_catalogue *c, const struct mds_user *u, struct error *err)
{
    struct mds_txn *t = NULL;
    int rc;

    if (!name_is_valid(bytes_str(u->name), true) || !name_is_valid(bytes_str(u->archive), false))
        return error_set(err, BASE_ERR_SYNTAX, 0, "a user's name has 1 to 255 bytes and no control bytes");
    ASSERT(u->grants_n <= MDS_USER_GRANTS_MAX);
    if ((rc = mds_write_begin(c->env, &t, err)) != BASE_OK)
        return rc;
    if ((rc = secret_ensure(t, err)) == BASE_OK) {
        struct buf *v = value_begin(t);

        user_encode(u, v);
        rc = row_put(t, TABLE_USERS, bytes_str(u->name), v, err);
    }
    if (rc == BASE_OK)
        return mds_write_commit(&t, err);
    mds_write_abort(&t);
    return rc;
}

int mds_catalogue_user_get(struct mds_catalogue *c, const char *name, struct mds_user *out, struct error *err)
{
    return row_find(c, TABLE_USERS, name, user_take, out, err);
}

int mds_catalogue_user_remove(struct mds_catalogue *c, const char *name, struct error *err)
{
    struct mds_txn *t = NULL;
    bool there = false;
    int rc = name_is_valid(bytes_str(name), true) ? mds_write_begin(c->env, &t, err) : BASE_ERR_NOTFOUND;

    if (rc == BASE_OK)
        rc = row_delete(t, TABLE_USERS, bytes_str(name), &there, err);
    if (rc == BASE_OK && there)
        return mds_write_commit(&t, err);
    mds_write_abort(&t);
    return rc == BASE_OK || rc == BASE_ERR_NOTFOUND
               ? error_set(err, BASE_ERR_NOTFOUND, 0, "there is no user '%s'", name)
               : rc;
}

int mds_catalogue_user_next(struct mds_catalogue *c, const char *after, struct mds_user *out, struct error *err)
{
    return row_next(c, TABLE_USERS, after, user_take, out, err);
}

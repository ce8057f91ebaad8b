/*
 * What a store consists of: its tables, its format row and its features; making a new one, and giving one of an earlier
 * version what it lacks.
 */
#include "mds_private.h"

const char *const table_names[TABLE_COUNT] = {
    "meta",    "folders", "names",    "floors",   "messages", "sets",    "items",      "wire",
    "headers", "sort",    "hashes",   "msgids",   "filed",    "sources", "containers", "container_names",
    "places",  "changes", "expunged", "keywords", "archives", "users",   "removed",    "columns",
    [TABLE_TEXT] = "text",
};

/* Features that came with a table of their own. */
static const struct {
    enum table table;
    const char *feature;
} later_tables[] = {{TABLE_REMOVED, "removed"}, {TABLE_COLUMNS, "columns"}};

/* What a store of an earlier version lacks is added when it is opened to be written. */
static const char *const archive_features[] = {"seals-xxh3", "packs", "sets", "log-runs", "removed", "columns", "packs-lz4", NULL};
static const char *const catalogue_features[] = {"seals-xxh3", NULL};
static const char *const text_features[] = {"seals-xxh3", "text-segments", NULL};

#define LATER (1u << TABLE_REMOVED | 1u << TABLE_COLUMNS)

const struct schema archive_schema = {"mds-archive", archive_features, ((1u << TABLE_ARCHIVES) - 1u) | LATER, LATER};
const struct schema catalogue_schema = {"mds-catalogue", catalogue_features,
                                        1u << TABLE_META | 1u << TABLE_ARCHIVES | 1u << TABLE_USERS, 0};
const struct schema text_schema = {"mds-text", text_features, 1u << TABLE_META | 1u << TABLE_TEXT, 0};

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
    const uint32_t missing = env->schema->later & ~env->tables;

    for (size_t i = 0; i < sizeof later_tables / sizeof later_tables[0]; i++) {
        if (missing >> later_tables[i].table & 1 && features_hold(features, bytes_str(later_tables[i].feature)))
            return error_set(err, BASE_ERR_CORRUPT, MDB_NOTFOUND, "%s has lost its table %s: restore it from a backup",
                             env->dir, table_names[later_tables[i].table]);
    }
    return BASE_OK;
}

static bool features_miss(const struct schema *schema, struct bytes features)
{
    for (const char *const *f = schema->features; *f; f++) {
        if (!features_hold(features, bytes_str(*f)))
            return true;
    }
    return false;
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

static int format_check(struct mds_env *env, struct mds_txn *txn, bool *outdated_out, struct error *err)
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
    if ((rc = meta_own_get(txn, META_FEATURES, &text, err)) != BASE_OK)
        return rc;
    *outdated_out = features_miss(env->schema, text);
    return features_check(env, text, err);
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
    if (rc == BASE_OK && env->schema == &archive_schema && env->uidvalidity_floor)
        rc = mds_uidvalidity_raise(txn, env->uidvalidity_floor, err);
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

int store_open(struct mds_env *env, const struct mds_options *opts, struct error *err)
{
    struct mds_txn *txn = NULL;
    bool is_new = false, outdated = false;
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
        rc = format_check(env, txn, &outdated, err);
    mds_read_end(&txn);
    if (rc == BASE_OK && !opts->read_only && (outdated || env->tables != env->schema->tables))
        rc = store_upgrade(env, err);
    return rc;
}

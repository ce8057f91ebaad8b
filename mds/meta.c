/* Table meta: the store's own rows, and small named values of the callers. */
#include "mds_private.h"

#define META_NAME_MAX 64u

int meta_own_get(struct mds_txn *t, const char *name, struct bytes *out, struct error *err)
{
    return row_get(t, TABLE_META, bytes_str(name), out, err);
}

int meta_own_put(struct mds_txn *t, const char *name, struct bytes value, struct error *err)
{
    struct buf *v = value_begin(t);

    buf_append_bytes(v, value);
    return row_put(t, TABLE_META, bytes_str(name), v, err);
}

int meta_load_counters(struct mds_txn *t, struct counters *out, struct error *err)
{
    struct bytes row;
    const int rc = meta_own_get(t, META_COUNTERS, &row, err);

    *out = (struct counters){.next_item = 1, .next_folder = 1, .next_container = 1, .next_source = 1};
    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK; /* a new store */
    if (rc == BASE_OK && !counters_decode(row, out))
        return row_corrupt(t, TABLE_META, BYTES_LIT(META_COUNTERS), "it does not decode", err);
    return rc;
}

int meta_load_sums(struct mds_txn *t, struct table_sums *out, struct error *err)
{
    struct bytes row;
    const int rc = meta_own_get(t, META_SUMS, &row, err);

    *out = (struct table_sums){0};
    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK;
    if (rc == BASE_OK && !sums_decode(row, out))
        return row_corrupt(t, TABLE_META, BYTES_LIT(META_SUMS), "it does not decode", err);
    return rc;
}

static int meta_key(const char *name, char whose, struct key *key, struct error *err)
{
    const struct bytes text = bytes_str(name);

    if (text.n == 0 || text.n > META_NAME_MAX)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: a name in meta has 1 to %u bytes", META_NAME_MAX);
    key_reset(key);
    key_raw(key, bytes_of(&whose, 1));
    key_raw(key, text);
    return BASE_OK;
}

int mds_meta_get(struct mds_txn *t, const char *name, struct bytes *out, struct error *err)
{
    struct key key;
    int rc = meta_key(name, META_GLOBAL, &key, err);

    if (rc != BASE_OK)
        return rc;
    rc = row_get(t, TABLE_META, key_bytes(&key), out, err);
    if (rc == BASE_ERR_NOTFOUND) {
        key.p[0] = META_LOCAL;
        rc = row_get(t, TABLE_META, key_bytes(&key), out, err);
    }
    return rc == BASE_ERR_NOTFOUND ? error_set(err, rc, 0, "%s: meta has no %s", t->env->dir, name) : rc;
}

int mds_meta_put(struct mds_txn *t, const char *name, struct bytes value, bool local, struct error *err)
{
    struct key key;
    int rc = meta_key(name, local ? META_GLOBAL : META_LOCAL, &key, err);

    if (rc != BASE_OK)
        return rc;
    struct buf *v = value_begin(t);

    buf_append_bytes(v, value); /* before the delete: it may be a view of the row's other kind */
    if ((rc = row_delete(t, TABLE_META, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    key.p[0] = local ? META_LOCAL : META_GLOBAL;
    return row_put(t, TABLE_META, key_bytes(&key), v, err);
}

/* ---- the own vault's tail ---- */

int mds_segments_get(struct mds_txn *t, struct mds_segments *out, struct error *err)
{
    struct bytes row;
    const int rc = meta_own_get(t, META_SEGMENTS, &row, err);

    *out = (struct mds_segments){.active = 1};
    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK;
    if (rc == BASE_OK && !segments_decode(row, out))
        return row_corrupt(t, TABLE_META, BYTES_LIT(META_SEGMENTS), "it does not decode", err);
    return rc;
}

int mds_segments_put(struct mds_txn *t, const struct mds_segments *s, struct error *err)
{
    const int rc = txn_writable(t, err);

    if (rc != BASE_OK)
        return rc;
    if (s->active == 0)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: segments are numbered from 1");
    struct buf *v = value_begin(t);

    segments_encode(s, v);
    return row_put(t, TABLE_META, BYTES_LIT(META_SEGMENTS), v, err);
}

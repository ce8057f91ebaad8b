/* Keywords of an archive: at most MDS_KEYWORDS_MAX, so a transaction reads them all once and looks them up in memory.
 */
#include "mds_private.h"

#define KEYWORD_BYTES_MAX 1024u

void keywords_drop(struct mds_txn *t)
{
    buf_release(&t->keywords.text);
    free(t->keywords.end);
    t->keywords = (struct keyword_cache){0};
}

static struct bytes cached(const struct keyword_cache *k, uint16_t id)
{
    const uint32_t from = id ? k->end[id - 1] : 0;

    return bytes_of(k->text.p + from, k->end[id] - from);
}

static void cache_add(struct keyword_cache *k, struct bytes name)
{
    if ((k->n & (k->n + 1u)) == 0) { /* room for the next power of two */
        k->end = realloc(k->end, (2 * (size_t)k->n + 2) * sizeof *k->end);
        ASSERT(k->end);
    }
    buf_append_bytes(&k->text, name);
    k->end[k->n++] = (uint32_t)k->text.n;
}

int keywords_load(struct mds_txn *t, struct error *err)
{
    struct bytes key = {0}, row;
    int rc;

    if (t->keywords.loaded)
        return BASE_OK;
    keywords_drop(t);
    for (rc = row_seek(t, TABLE_KEYWORDS, MDB_FIRST, &key, &row, err); rc == 1;
         rc = row_seek(t, TABLE_KEYWORDS, MDB_NEXT, &key, &row, err)) {
        if (key.n != 2 || (key.p[0] << 8 | key.p[1]) != t->keywords.n || t->keywords.n >= MDS_KEYWORDS_MAX ||
            row.n == 0 || row.n > KEYWORD_BYTES_MAX)
            return row_corrupt(t, TABLE_KEYWORDS, key, "it is out of place", err);
        cache_add(&t->keywords, row);
    }
    t->keywords.loaded = rc == 0;
    return rc;
}

int mds_keyword_id(struct mds_txn *t, struct bytes name, bool create, uint16_t *id_out, struct error *err)
{
    struct key key = {.n = 0};
    int rc = keywords_load(t, err);

    if (rc != BASE_OK)
        return rc;
    for (uint16_t i = 0; i < t->keywords.n; i++) {
        if (bytes_equal_nocase(cached(&t->keywords, i), name)) {
            *id_out = i;
            return BASE_OK;
        }
    }
    if (!create)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: the keyword is not in use", t->env->dir);
    if (t->keywords.n >= MDS_KEYWORDS_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: all %u keywords are given", t->env->dir, MDS_KEYWORDS_MAX);
    if (name.n == 0 || name.n > KEYWORD_BYTES_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a keyword has 1 to %u bytes", KEYWORD_BYTES_MAX);
    if ((rc = txn_writable(t, err)) != BASE_OK)
        return rc;
    struct buf *v = value_begin(t);

    key_u16(&key, t->keywords.n);
    buf_append_bytes(v, name);
    if ((rc = row_put(t, TABLE_KEYWORDS, key_bytes(&key), v, err)) != BASE_OK)
        return rc;
    *id_out = t->keywords.n;
    cache_add(&t->keywords, bytes_slice(buf_bytes(v), SEAL_BYTES, SIZE_MAX));
    return BASE_OK;
}

int mds_keyword_name(struct mds_txn *t, uint16_t id, struct bytes *out, struct error *err)
{
    const int rc = keywords_load(t, err);

    if (rc != BASE_OK)
        return rc;
    if (id >= t->keywords.n)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: there is no keyword %u", t->env->dir, id);
    *out = cached(&t->keywords, id);
    return BASE_OK;
}

uint16_t mds_keyword_count(struct mds_txn *t)
{
    return keywords_load(t, NULL) == BASE_OK ? t->keywords.n : 0;
}

/* Sources, their containers, and the places in them: what a vault looked like when it was last scanned. */
#include "mds_private.h"

/* ---- sources: so few that a walk finds them ---- */

static int source_walk(struct mds_txn *t, MDB_cursor_op op, uint32_t *id_out, struct bytes *name_out, struct error *err)
{
    struct bytes key = {0};
    const int rc = row_seek(t, TABLE_SOURCES, op, &key, name_out, err);

    if (rc != 1)
        return rc;
    if (key.n != 4 || get_be32(key.p) == 0)
        return row_corrupt(t, TABLE_SOURCES, key, "it does not decode", err);
    *id_out = get_be32(key.p);
    return 1;
}

int mds_source_id(struct mds_txn *t, struct bytes name, bool create, uint32_t *id_out, struct error *err)
{
    struct bytes known;
    struct key key = {.n = 0};
    uint32_t id;
    int rc;

    for (rc = source_walk(t, MDB_FIRST, &id, &known, err); rc == 1; rc = source_walk(t, MDB_NEXT, &id, &known, err)) {
        if (bytes_equal(known, name)) {
            *id_out = id;
            return BASE_OK;
        }
    }
    if (rc < 0)
        return rc;
    if (!create)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: the source is not known", t->env->dir);
    if (name.n > 2 * MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a source's name has %zu bytes", name.n);
    if ((rc = txn_writable(t, err)) != BASE_OK)
        return rc;
    struct buf *v = value_begin(t);

    buf_append_bytes(v, name);
    key_u32(&key, t->w->counters.next_source);
    if ((rc = row_put(t, TABLE_SOURCES, key_bytes(&key), v, err)) != BASE_OK)
        return rc;
    *id_out = t->w->counters.next_source++;
    t->w->counters_dirty = true;
    return BASE_OK;
}

int mds_source_name(struct mds_txn *t, uint32_t id, struct bytes *out, struct error *err)
{
    struct key key = {.n = 0};

    key_u32(&key, id);
    const int rc = row_get(t, TABLE_SOURCES, key_bytes(&key), out, err);

    return rc == BASE_ERR_NOTFOUND ? error_set(err, rc, 0, "%s: there is no source %u", t->env->dir, id) : rc;
}

/* ---- containers ---- */

static int container_row_put(struct mds_txn *t, const struct mds_container *c, struct error *err)
{
    struct key key = {.n = 0};
    struct buf *v = value_begin(t);

    key_u32(&key, c->id);
    container_encode(c, v);
    return row_put(t, TABLE_CONTAINERS, key_bytes(&key), v, err);
}

int container_flush(struct mds_txn *t, struct error *err)
{
    int rc = BASE_OK;

    if (t->w->container_dirty)
        rc = container_row_put(t, &t->w->container, err);
    t->w->container_dirty = t->w->container_dirty && rc != BASE_OK;
    return rc;
}

static void container_keep(struct writer *w, const struct mds_container *c)
{
    w->container = *c;
    if (c->name.p != w->container_name.p) {
        buf_reset(&w->container_name);
        buf_append_bytes(&w->container_name, c->name);
    }
    w->container.name = buf_bytes(&w->container_name);
}

static int container_read(struct mds_txn *t, uint32_t id, struct mds_container *out, struct error *err)
{
    struct key key = {.n = 0};
    struct bytes row;

    if (t->w && t->w->container.id == id && id) {
        *out = t->w->container;
        return BASE_OK;
    }
    key_u32(&key, id);
    const int rc = row_get(t, TABLE_CONTAINERS, key_bytes(&key), &row, err);

    if (rc == BASE_ERR_NOTFOUND)
        return error_set(err, rc, 0, "%s: there is no container %u", t->env->dir, id);
    if (rc == BASE_OK && !container_decode(id, row, out))
        return row_corrupt(t, TABLE_CONTAINERS, key_bytes(&key), "it does not decode", err);
    return rc;
}

/* The container whose places are being written stays in memory: its counters change with each. */
static int container_hold(struct mds_txn *t, uint32_t id, struct error *err)
{
    struct mds_container c;
    int rc;

    if (t->w->container.id == id)
        return BASE_OK;
    if ((rc = container_flush(t, err)) != BASE_OK || (rc = container_read(t, id, &c, err)) != BASE_OK)
        return rc;
    container_keep(t->w, &c);
    return BASE_OK;
}

static bool container_name_key(uint32_t source, struct bytes name, struct key *key)
{
    key_reset(key);
    key_u32(key, source);
    return key_text(key, name);
}

static int container_make(struct mds_txn *t, uint32_t source, struct bytes name, struct mds_container *out,
                          struct error *err)
{
    struct key key;
    int rc;

    if (name.n > MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a container's name has %zu bytes, %u are allowed", name.n,
                         MDS_NAME_MAX);
    if ((rc = txn_writable(t, err)) != BASE_OK || (rc = container_flush(t, err)) != BASE_OK)
        return rc;
    const struct mds_container c = {.id = t->w->counters.next_container, .source = source, .name = name};
    const bool hashed = container_name_key(source, name, &key);
    struct buf *v = value_begin(t);

    if (source == 0 || source >= t->w->counters.next_source)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: a container of an unknown source");
    name_encode(c.id, hashed, name, v);
    if ((rc = row_put(t, TABLE_CONTAINER_NAMES, key_bytes(&key), v, err)) != BASE_OK)
        return rc;
    container_keep(t->w, &c);
    t->w->container_dirty = true;
    t->w->counters.next_container++;
    t->w->counters_dirty = true;
    *out = t->w->container;
    return BASE_OK;
}

int mds_container_find(struct mds_txn *t, uint32_t source, struct bytes name, bool create, struct mds_container *out,
                       struct error *err)
{
    struct key key;
    struct bytes row, text;
    uint32_t id;
    const bool hashed = container_name_key(source, name, &key);
    const int rc = row_get(t, TABLE_CONTAINER_NAMES, key_bytes(&key), &row, err);

    if (rc == BASE_ERR_NOTFOUND)
        return create ? container_make(t, source, name, out, err)
                      : error_set(err, rc, 0, "%s: the container is not known", t->env->dir);
    if (rc != BASE_OK)
        return rc;
    if (!name_decode(row, hashed, &id, &text))
        return row_corrupt(t, TABLE_CONTAINER_NAMES, key_bytes(&key), "it does not decode", err);
    if (hashed && !bytes_equal(text, name))
        return error_set(err, create ? BASE_ERR_LIMIT : BASE_ERR_NOTFOUND, 0,
                         "%s: two long container names share a hash", t->env->dir);
    return container_read(t, id, out, err);
}

int mds_container_get(struct mds_txn *t, uint32_t id, struct mds_container *out, struct error *err)
{
    return container_read(t, id, out, err);
}

int mds_container_put(struct mds_txn *t, const struct mds_container *c, struct error *err)
{
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = container_hold(t, c->id, err)) != BASE_OK)
        return rc;
    struct mds_container *held = &t->w->container;

    held->folder = c->folder;
    held->mtime_ns = c->mtime_ns;
    held->size = c->size;
    held->inode = c->inode;
    held->scanned_ns = c->scanned_ns;
    t->w->container_dirty = true;
    return BASE_OK;
}

int mds_container_remove(struct mds_txn *t, uint32_t id, struct error *err)
{
    struct key key;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = container_hold(t, id, err)) != BASE_OK)
        return rc;
    if (t->w->container.rows)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: container %u still holds %u places", id, t->w->container.rows);
    (void)container_name_key(t->w->container.source, t->w->container.name, &key);
    t->w->container.id = 0;
    t->w->container_dirty = false;
    if ((rc = row_delete(t, TABLE_CONTAINER_NAMES, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    key_reset(&key);
    key_u32(&key, id);
    return row_delete(t, TABLE_CONTAINERS, key_bytes(&key), NULL, err);
}

int mds_container_next(struct mds_txn *t, uint32_t from, struct mds_container *out, struct error *err)
{
    struct key key = {.n = 0};
    struct bytes at, row;
    int rc;

    if (t->w && (rc = container_flush(t, err)) != BASE_OK)
        return rc;
    key_u32(&key, from);
    at = key_bytes(&key);
    if ((rc = row_seek(t, TABLE_CONTAINERS, MDB_SET_RANGE, &at, &row, err)) != 1)
        return rc;
    if (at.n != 4 || !container_decode(get_be32(at.p), row, out))
        return row_corrupt(t, TABLE_CONTAINERS, at, "it does not decode", err);
    return 1;
}

/* ---- places ---- */

static bool place_key(uint32_t container, struct bytes identity, struct key *key)
{
    key_reset(key);
    key_u32(key, container);
    return key_text(key, identity);
}

static int place_read(struct mds_txn *t, const struct key *key, bool hashed, struct bytes identity,
                      struct mds_place *out, struct error *err)
{
    struct bytes row;
    const int rc = row_get(t, TABLE_PLACES, key_bytes(key), &row, err);

    if (rc != BASE_OK)
        return rc;
    if (!place_decode(row, hashed, out))
        return row_corrupt(t, TABLE_PLACES, key_bytes(key), "it does not decode", err);
    if (hashed && !bytes_equal(out->identity, identity))
        return BASE_ERR_NOTFOUND;
    out->identity = identity;
    return BASE_OK;
}

int mds_place_get(struct mds_txn *t, uint32_t container, struct bytes identity, struct mds_place *out,
                  struct error *err)
{
    struct key key;
    const bool hashed = place_key(container, identity, &key);
    const int rc = place_read(t, &key, hashed, identity, out, err);

    return rc == BASE_ERR_NOTFOUND ? error_set(err, rc, 0, "%s: the place is not known", t->env->dir) : rc;
}

/* A message's place keeps the vault's keywords where a failure keeps its reason. */
static bool is_failure(const struct mds_place *p)
{
    return !p->uid && p->reason.n;
}

static void container_count(struct writer *w, bool row, bool failure, bool add)
{
    const uint32_t by = add ? 1u : UINT32_MAX; /* -1, modulo 2^32 */

    w->container.rows += row ? by : 0;
    w->container.failures += failure ? by : 0;
    w->container_dirty = true;
}

/* Is it past all places, so that it cannot be there yet? A first build asks this of every row. */
static bool place_is_new(const struct mds_txn *t, const struct key *key)
{
    const struct table_tail *tail = &t->w->tail[TABLE_PLACES];

    return tail->known && (tail->key.n == 0 || bytes_compare(key_bytes(key), key_bytes(&tail->key)) > 0);
}

int mds_place_put(struct mds_txn *t, uint32_t container, const struct mds_place *p, struct error *err)
{
    struct mds_place old = {0};
    struct key key;
    struct bytes row;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = container_hold(t, container, err)) != BASE_OK)
        return rc;
    if (p->identity.n > MDS_NAME_MAX || p->reason.n > MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a place's identity or reason has more than %u bytes",
                         MDS_NAME_MAX);
    const bool hashed = place_key(container, p->identity, &key);

    rc = place_is_new(t, &key) ? BASE_ERR_NOTFOUND : place_read(t, &key, hashed, p->identity, &old, err);
    if (rc != BASE_OK && rc != BASE_ERR_NOTFOUND)
        return rc;
    if (hashed && rc == BASE_ERR_NOTFOUND &&
        (rc = row_get(t, TABLE_PLACES, key_bytes(&key), &row, err)) != BASE_ERR_NOTFOUND)
        return rc == BASE_OK ? error_set(err, BASE_ERR_LIMIT, 0, "%s: two long identities share a hash", t->env->dir)
                             : rc;
    const bool is_new = rc == BASE_ERR_NOTFOUND, old_failure = !is_new && is_failure(&old);
    struct buf *v = value_begin(t);

    place_encode(p, hashed, v);
    if ((rc = row_put(t, TABLE_PLACES, key_bytes(&key), v, err)) != BASE_OK)
        return rc;
    container_count(t->w, false, old_failure, false);
    container_count(t->w, is_new, is_failure(p), true);
    return BASE_OK;
}

int mds_place_remove(struct mds_txn *t, uint32_t container, struct bytes identity, struct error *err)
{
    struct mds_place old;
    struct key key;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = container_hold(t, container, err)) != BASE_OK)
        return rc;
    const bool hashed = place_key(container, identity, &key);

    rc = place_read(t, &key, hashed, identity, &old, err);
    if (rc == BASE_ERR_NOTFOUND)
        return error_set(err, rc, 0, "%s: the place is not known", t->env->dir);
    const bool failure = rc == BASE_OK && is_failure(&old);

    if (rc == BASE_OK)
        rc = row_delete(t, TABLE_PLACES, key_bytes(&key), NULL, err);
    if (rc == BASE_OK)
        container_count(t->w, true, failure, false);
    return rc;
}

int mds_place_next(struct mds_txn *t, uint32_t container, const struct bytes *after, struct mds_place *out,
                   struct error *err)
{
    struct key key;
    struct bytes at, row;

    (void)place_key(container, after ? *after : (struct bytes){0}, &key);
    at = key_bytes(&key);
    int rc = row_seek(t, TABLE_PLACES, MDB_SET_RANGE, &at, &row, err);

    if (rc == 1 && after && bytes_equal(at, key_bytes(&key)))
        rc = row_seek(t, TABLE_PLACES, MDB_NEXT, &at, &row, err);
    if (rc != 1)
        return rc;
    if (at.n < 4 || get_be32(at.p) != container)
        return 0;
    const bool hashed = at.n == KEY_MAX;

    if (!place_decode(row, hashed, out))
        return row_corrupt(t, TABLE_PLACES, at, "it does not decode", err);
    if (!hashed)
        out->identity = bytes_slice(at, 4, SIZE_MAX);
    return 1;
}

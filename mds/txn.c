/*
 * Transactions, and the only functions that put, get or delete rows. Every value begins with its seal (docs/FORMAT.md);
 * every table's rows and seals are summed as they are written, so that mds_verify sees a row that LMDB lost or
 * brought back.
 */
#include "columns_private.h"

#include <errno.h>
#include <unistd.h>

MDB_val val_of(struct bytes b)
{
    /* LMDB reads keys and values through void *; it does not write there. */
    return (MDB_val){b.n, (void *)(uintptr_t)b.p};
}

static struct bytes bytes_of_val(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}

/* ---- beginning and ending ---- */

static struct mds_txn *txn_new(struct mds_env *env)
{
    struct mds_txn *t = calloc(1, sizeof *t);

    ASSERT(t);
    t->env = env;
    return t;
}

static void txn_cursors_close(struct mds_txn *t)
{
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (t->cursors[i])
            mdb_cursor_close(t->cursors[i]);
        t->cursors[i] = NULL;
    }
    t->message_at_known = t->item_at_known = false;
}

static void writer_free(struct writer *w)
{
    if (!w)
        return;
    for (unsigned i = 0; i < CACHE_BUCKETS; i++) {
        for (struct folder_entry *e = w->folders[i], *next; e; e = next) {
            next = e->next;
            buf_release(&e->name);
            free(e);
        }
    }
    set_cache_drop(w);
    columns_drop(w);
    for (unsigned i = 0; i < PACK_KINDS; i++) {
        free(w->packs[i].len);
        buf_release(&w->packs[i].data);
    }
    pending_release(&w->hashes);
    buf_release(&w->gathered);
    pending_release(&w->msgids);
    buf_release(&w->container_name);
    buf_release(&w->entry);
    free(w);
}

static void txn_free(struct mds_txn *t)
{
    writer_free(t->w);
    keywords_drop(t);
    buf_release(&t->value);
    buf_release(&t->name);
    pack_release(&t->pack);
    free(t);
}

/* LMDB's begin behind the gate, with what it may ask for on the way. */
static int lmdb_begin(struct mds_env *env, unsigned flags, MDB_txn **out, struct error *err)
{
    for (int tries = 0;; tries++) {
        int dead, rc = env_enter(env, err);

        if (rc != BASE_OK)
            return rc;
        const int lmdb = mdb_txn_begin(env->lmdb, NULL, flags, out);

        if (!lmdb)
            return BASE_OK;
        env_leave(env);
        if (tries < 3 && lmdb == MDB_MAP_RESIZED)
            rc = env_map_follow(env, err);
        else if (tries < 3 && lmdb == MDB_READERS_FULL)
            (void)mdb_reader_check(env->lmdb, &dead);
        else
            rc = env_lmdb_error(env, lmdb, "beginning a transaction", err);
        if (rc != BASE_OK)
            return rc;
    }
}

int mds_read_begin(struct mds_env *env, struct mds_txn **out, struct error *err)
{
    struct mds_txn *t = txn_new(env);
    const int rc = lmdb_begin(env, MDB_RDONLY, &t->lmdb, err);

    *out = NULL;
    if (rc != BASE_OK) {
        txn_free(t);
        return rc;
    }
    *out = t;
    return BASE_OK;
}

int mds_read_renew(struct mds_txn *t, struct error *err)
{
    ASSERT(!t->w);
    txn_cursors_close(t);
    keywords_drop(t);
    t->hashes_known = false;
    if (!t->dead) {
        mdb_txn_reset(t->lmdb);
        env_leave(t->env);
    }
    t->dead = true; /* until it lives again */
    for (int tries = 0;; tries++) {
        int rc = env_enter(t->env, err);

        if (rc != BASE_OK)
            return rc;
        const int lmdb = mdb_txn_renew(t->lmdb);

        if (!lmdb) {
            t->dead = false;
            return BASE_OK;
        }
        env_leave(t->env);
        rc = tries < 3 && lmdb == MDB_MAP_RESIZED ? env_map_follow(t->env, err)
                                                  : env_lmdb_error(t->env, lmdb, "renewing a transaction", err);
        if (rc != BASE_OK)
            return rc;
    }
}

void mds_read_end(struct mds_txn **tp)
{
    struct mds_txn *t = *tp;

    *tp = NULL;
    if (!t)
        return;
    ASSERT(!t->w);
    txn_cursors_close(t);
    mdb_txn_abort(t->lmdb);
    if (!t->dead)
        env_leave(t->env);
    txn_free(t);
}

static int writer_claim(struct mds_env *env, struct error *err)
{
    int rc = BASE_OK;

    (void)pthread_mutex_lock(&env->mutex);
    if (env->writing && pthread_equal(env->writer, pthread_self()))
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: this thread writes already", env->dir);
    (void)pthread_mutex_unlock(&env->mutex);
    return rc;
}

static void writer_mark(struct mds_env *env, bool writing)
{
    (void)pthread_mutex_lock(&env->mutex);
    env->writing = writing;
    env->writer = pthread_self();
    (void)pthread_mutex_unlock(&env->mutex);
}

int txn_writer_load(struct mds_txn *t, struct error *err)
{
    const int rc = meta_load_counters(t, &t->w->counters, err);

    return rc == BASE_OK ? meta_load_sums(t, &t->w->sums, err) : rc;
}

int txn_write_begin(struct mds_env *env, bool fresh, struct mds_txn **out, struct error *err)
{
    struct mds_txn *t = NULL;
    int rc, fd = -1;

    *out = NULL;
    if (env->read_only)
        return error_set(err, BASE_ERR_READONLY, 0, "%s was opened read-only", env->dir);
    if ((rc = env_durability_check(env, err)) != BASE_OK || (rc = writer_claim(env, err)) != BASE_OK ||
        (rc = locks_queue_enter(env, &fd, err)) != BASE_OK)
        return rc;
    if ((rc = env_map_prepare(env, err)) != BASE_OK) {
        (void)close(fd);
        return rc;
    }
    t = txn_new(env);
    rc = lmdb_begin(env, 0, &t->lmdb, err);
    (void)close(fd);
    if (rc != BASE_OK) {
        txn_free(t);
        return rc;
    }
    writer_mark(env, true);
    t->w = calloc(1, sizeof *t->w);
    ASSERT(t->w);
    t->w->hashes.key_bytes = HASH128_BYTES + 8;
    t->w->msgids.key_bytes = 16;
    if (!fresh && (rc = txn_writer_load(t, err)) != BASE_OK) {
        mds_write_abort(&t);
        return rc;
    }
    *out = t;
    return BASE_OK;
}

int mds_write_begin(struct mds_env *env, struct mds_txn **out, struct error *err)
{
    return txn_write_begin(env, false, out, err);
}

/* The catalogue's stay as they were: earlier versions read it. */
static unsigned tables_end(const struct mds_env *env)
{
    const unsigned end = 32u - (unsigned)__builtin_clz(env->tables);

    return end > TABLES_FIRST ? end : TABLES_FIRST;
}

static int writer_flush(struct mds_txn *t, struct error *err)
{
    struct writer *w = t->w;
    int rc = BASE_OK;

    if (t->env->schema == &archive_schema &&
        ((rc = columns_flush(t, err)) != BASE_OK || (rc = set_flush(t, err)) != BASE_OK ||
         (rc = folder_flush(t, err)) != BASE_OK || (rc = pack_flush(t, err)) != BASE_OK ||
         (rc = container_flush(t, err)) != BASE_OK || (rc = hashes_flush(t, err)) != BASE_OK))
        return rc;
    if (w->counters_dirty) {
        struct buf *value = value_begin(t);

        counters_encode(&w->counters, value);
        rc = row_put(t, TABLE_META, BYTES_LIT(META_COUNTERS), value, err);
        w->counters_dirty = rc != BASE_OK;
    }
    if (rc == BASE_OK && t->write_seq) {
        struct buf *value = value_begin(t);

        w->sums.txnid = mdb_txn_id(t->lmdb);
        sums_encode(&w->sums, tables_end(t->env), value);
        rc = row_put(t, TABLE_META, BYTES_LIT(META_SUMS), value, err);
    }
    return rc;
}

static void write_end(struct mds_txn **tp)
{
    struct mds_txn *t = *tp;

    *tp = NULL;
    writer_mark(t->env, false);
    env_leave(t->env);
    txn_free(t);
}

int mds_write_commit(struct mds_txn **tp, struct error *err)
{
    struct mds_txn *t = *tp;
    int rc = txn_writable(t, err);

    if (rc == BASE_OK)
        rc = writer_flush(t, err);
    if (rc != BASE_OK || t->write_seq == 0) { /* nothing written: no transaction id is spent */
        mds_write_abort(tp);
        return rc;
    }
    txn_cursors_close(t);
    const int lmdb = mdb_txn_commit(t->lmdb);

    t->lmdb = NULL;
    if (lmdb)
        rc = txn_fail(t, lmdb, "commit", err);
    else
        gather_committed(t);
    write_end(tp);
    return rc;
}

void mds_write_abort(struct mds_txn **tp)
{
    struct mds_txn *t = *tp;

    if (!t)
        return;
    ASSERT(t->w);
    txn_cursors_close(t);
    mdb_txn_abort(t->lmdb);
    write_end(tp);
}

uint64_t mds_txn_id(const struct mds_txn *t)
{
    return mdb_txn_id(t->lmdb);
}

int txn_writable(struct mds_txn *t, struct error *err)
{
    if (!t->w)
        return error_set(err, BASE_ERR_USAGE, 0, "%s: writing in a read transaction", t->env->dir);
    if (t->dead)
        return error_set(err, BASE_ERR_AGAIN, 0, "%s: the transaction failed before: abort it and replay", t->env->dir);
    return BASE_OK;
}

int txn_fail(struct mds_txn *t, int rc, const char *what, struct error *err)
{
    if (t->w)
        t->dead = true;
    if (rc == MDB_MAP_FULL) {
        (void)pthread_mutex_lock(&t->env->mutex);
        t->env->want_grow = true;
        (void)pthread_mutex_unlock(&t->env->mutex);
        return error_set(err, BASE_ERR_AGAIN, rc, "%s: its map must grow: replay the batch", t->env->dir);
    }
    return env_lmdb_error(t->env, rc, what, err);
}

/* ---- reading rows ---- */

static bool table_is_there(const struct mds_txn *t, enum table table)
{
    return t->env->tables >> table & 1;
}

int txn_cursor(struct mds_txn *t, enum table table, MDB_cursor **out, struct error *err)
{
    ASSERT(table_is_there(t, table)); /* LMDB's handle 0 is its list of free pages */
    if (!t->cursors[table]) {
        const int lmdb = mdb_cursor_open(t->lmdb, t->env->dbi[table], &t->cursors[table]);

        if (lmdb)
            return txn_fail(t, lmdb, "opening a cursor", err);
    }
    *out = t->cursors[table];
    return BASE_OK;
}

int row_corrupt(struct mds_txn *t, enum table table, struct bytes key, const char *why, struct error *err)
{
    char hex[49];
    size_t n = 0;

    for (size_t i = 0; i < key.n && i < 24; i++, n += 2)
        (void)snprintf(hex + n, 3, "%02x", key.p[i]);
    hex[n] = 0;
    return error_set(err, BASE_ERR_CORRUPT, 0, "%s: table %s, key %s: %s: run mds verify, then mds rebuild",
                     t->env->dir, table_names[table], hex, why);
}

static int row_open(struct mds_txn *t, enum table table, struct bytes key, MDB_val value, struct bytes *payload_out,
                    struct error *err)
{
    const struct bytes raw = bytes_of_val(value);

    *payload_out = bytes_slice(raw, SEAL_BYTES, SIZE_MAX);
    if (raw.n < SEAL_BYTES || get_be32(raw.p) != row_seal(table, key, *payload_out))
        return row_corrupt(t, table, key, "its checksum is wrong", err);
    return BASE_OK;
}

int row_get(struct mds_txn *t, enum table table, struct bytes key, struct bytes *payload_out, struct error *err)
{
    MDB_val k = val_of(key), v = {0}; /* a damaged page may give a key and no value */

    if (!table_is_there(t, table))
        return BASE_ERR_NOTFOUND;
    const int lmdb = mdb_get(t->lmdb, t->env->dbi[table], &k, &v);

    if (lmdb == MDB_NOTFOUND)
        return BASE_ERR_NOTFOUND;
    if (lmdb)
        return txn_fail(t, lmdb, table_names[table], err);
    return row_open(t, table, key, v, payload_out, err);
}

int row_seek_on(struct mds_txn *t, MDB_cursor *c, enum table table, MDB_cursor_op op, struct bytes *key,
                struct bytes *payload_out, struct error *err)
{
    MDB_val k = val_of(*key), v = {0}; /* a damaged page may give a key and no value */
    const int lmdb = mdb_cursor_get(c, &k, &v, op);

    if (lmdb == MDB_NOTFOUND)
        return 0;
    if (lmdb)
        return txn_fail(t, lmdb, table_names[table], err);
    *key = bytes_of_val(k);
    const int rc = row_open(t, table, *key, v, payload_out, err);

    return rc == BASE_OK ? 1 : rc;
}

static struct bytes row_unsealed(MDB_val value)
{
    const struct bytes raw = bytes_of_val(value);

    return raw.n > SEAL_BYTES ? bytes_slice(raw, SEAL_BYTES, SIZE_MAX) : bytes_of(NULL, 0);
}

int row_get_unsealed(struct mds_txn *t, enum table table, struct bytes key, struct bytes *payload_out,
                     struct error *err)
{
    MDB_val k = val_of(key), v = {0};
    const int lmdb = mdb_get(t->lmdb, t->env->dbi[table], &k, &v);

    *payload_out = row_unsealed(v);
    if (lmdb == MDB_NOTFOUND)
        return BASE_ERR_NOTFOUND;
    return lmdb ? txn_fail(t, lmdb, table_names[table], err) : BASE_OK;
}

int row_seek_unsealed(struct mds_txn *t, MDB_cursor *c, enum table table, MDB_cursor_op op, struct bytes *key,
                      struct bytes *payload_out, struct error *err)
{
    MDB_val k = val_of(*key), v = {0};
    const int lmdb = mdb_cursor_get(c, &k, &v, op);

    if (lmdb == MDB_NOTFOUND)
        return 0;
    if (lmdb)
        return txn_fail(t, lmdb, table_names[table], err);
    *key = bytes_of_val(k);
    *payload_out = row_unsealed(v);
    return 1;
}

bool row_seal_holds(enum table table, struct bytes key, struct bytes payload)
{
    return payload.n > 0 && get_be32(payload.p - SEAL_BYTES) == row_seal(table, key, payload);
}

int row_seek(struct mds_txn *t, enum table table, MDB_cursor_op op, struct bytes *key, struct bytes *payload_out,
             struct error *err)
{
    MDB_cursor *c = NULL;

    if (!table_is_there(t, table))
        return 0;
    const int rc = txn_cursor(t, table, &c, err);

    return rc == BASE_OK ? row_seek_on(t, c, table, op, key, payload_out, err) : rc;
}

int row_seek_last(struct mds_txn *t, enum table table, struct bytes key, size_t prefix_n, struct bytes *key_out,
                  struct bytes *payload_out, struct error *err)
{
    struct bytes at = key;
    int rc = row_seek(t, table, MDB_SET_RANGE, &at, payload_out, err);

    if (rc < 0)
        return rc;
    if (rc == 0)
        rc = row_seek(t, table, MDB_LAST, &at, payload_out, err);
    else if (!bytes_equal(at, key))
        rc = row_seek(t, table, MDB_PREV, &at, payload_out, err);
    if (rc == 1 && (at.n < prefix_n || memcmp(at.p, key.p, prefix_n) != 0))
        rc = 0;
    *key_out = at;
    return rc;
}

/* ---- writing rows ---- */

struct buf *value_begin(struct mds_txn *t)
{
    buf_reset(&t->value);
    buf_put_u32(&t->value, 0);
    return &t->value;
}

/* The sums cannot hold themselves. */
static bool row_is_summed(enum table table, struct bytes key)
{
    return table != TABLE_META || !bytes_equal(key, BYTES_LIT(META_SUMS));
}

static void tail_set(struct table_tail *tail, struct bytes key)
{
    tail->known = true;
    tail->key.n = key.n;
    memcpy(tail->key.p, key.p, key.n);
}

/* Is the key past the last one of its table? Then it can be appended to a full page instead of splitting one. */
static int key_is_past(struct mds_txn *t, enum table table, MDB_cursor *c, struct bytes key, bool *out,
                       struct error *err)
{
    struct table_tail *tail = &t->w->tail[table];

    if (!tail->known) {
        MDB_val k = {0}, v = {0};
        const int lmdb = mdb_cursor_get(c, &k, &v, MDB_LAST);

        if (lmdb && lmdb != MDB_NOTFOUND)
            return txn_fail(t, lmdb, table_names[table], err);
        tail->known = true;
        tail->key.n = 0;
        if (!lmdb && k.mv_size <= KEY_MAX)
            tail_set(tail, bytes_of_val(k));
    }
    *out = tail->key.n == 0 || bytes_compare(key, key_bytes(&tail->key)) > 0;
    return BASE_OK;
}

static int sums_forget_old(struct mds_txn *t, enum table table, MDB_cursor *c, struct bytes key, bool *there,
                           struct error *err)
{
    MDB_val k = val_of(key), v = {0};
    const int lmdb = mdb_cursor_get(c, &k, &v, MDB_SET);

    *there = lmdb == 0;
    if (lmdb == MDB_NOTFOUND)
        return BASE_OK;
    if (lmdb)
        return txn_fail(t, lmdb, table_names[table], err);
    if (v.mv_size < SEAL_BYTES)
        return row_corrupt(t, table, key, "it is cut off", err);
    if (row_is_summed(table, key)) {
        t->w->sums.rows[table]--;
        t->w->sums.sum[table] -= get_be32(v.mv_data);
    }
    return BASE_OK;
}

int row_put(struct mds_txn *t, enum table table, struct bytes key, struct buf *value, struct error *err)
{
    MDB_cursor *c = NULL;
    bool past = false, there;
    int rc = txn_writable(t, err);

    ASSERT(key.n > 0 && key.n <= KEY_MAX && value->n >= SEAL_BYTES);
    if (value->n > ROW_BYTES_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: a row of %zu bytes for table %s", t->env->dir, value->n,
                         table_names[table]);
    if (rc != BASE_OK || (rc = txn_cursor(t, table, &c, err)) != BASE_OK ||
        (rc = key_is_past(t, table, c, key, &past, err)) != BASE_OK)
        return rc;
    if (!past && (rc = sums_forget_old(t, table, c, key, &there, err)) != BASE_OK)
        return rc;
    const uint32_t seal = row_seal(table, key, bytes_slice(buf_bytes(value), SEAL_BYTES, SIZE_MAX));

    put_be32(value->p, seal);
    MDB_val k = val_of(key), v = val_of(buf_bytes(value));
    const int lmdb = mdb_cursor_put(c, &k, &v, past ? MDB_APPEND : 0);

    if (lmdb)
        return txn_fail(t, lmdb, table_names[table], err);
    if (past)
        tail_set(&t->w->tail[table], key);
    if (row_is_summed(table, key)) {
        t->w->sums.rows[table]++;
        t->w->sums.sum[table] += seal;
    }
    t->write_seq++;
    t->message_at_known = t->item_at_known = false;
    return BASE_OK;
}

int row_delete(struct mds_txn *t, enum table table, struct bytes key, bool *was_there_out, struct error *err)
{
    MDB_cursor *c = NULL;
    bool there = false;
    int lmdb, rc = txn_writable(t, err);

    if (was_there_out)
        *was_there_out = false;
    if (rc != BASE_OK || (rc = txn_cursor(t, table, &c, err)) != BASE_OK ||
        (rc = sums_forget_old(t, table, c, key, &there, err)) != BASE_OK || !there)
        return rc;
    if ((lmdb = mdb_cursor_del(c, 0)) != 0)
        return txn_fail(t, lmdb, table_names[table], err);
    if (was_there_out)
        *was_there_out = true;
    t->w->tail[table].known = false;
    t->write_seq++;
    t->message_at_known = t->item_at_known = false;
    return BASE_OK;
}

int table_empty(struct mds_txn *t, enum table table, struct error *err)
{
    int lmdb, rc = txn_writable(t, err);

    if (rc != BASE_OK)
        return rc;
    if (t->cursors[table])
        mdb_cursor_close(t->cursors[table]);
    t->cursors[table] = NULL;
    if ((lmdb = mdb_drop(t->lmdb, t->env->dbi[table], 0)) != 0)
        return txn_fail(t, lmdb, table_names[table], err);
    t->w->tail[table].known = false;
    t->w->sums.rows[table] = 0;
    t->w->sums.sum[table] = 0;
    t->write_seq++;
    return BASE_OK;
}

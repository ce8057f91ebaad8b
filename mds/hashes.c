/*
 * Tables hashes and msgids: keys in random order. A first build leaves them out and fills them once, sorted, at the end
 * (mds_hashes_build); from then on a write transaction collects its keys and puts them sorted at commit. Written row by
 * row they would cost more than all other tables together.
 */
#include "mds_private.h"

#include "base/sorter.h"

#define HASH_KEY_BYTES  (HASH128_BYTES + 8u)
#define MSGID_KEY_BYTES 16u
#define RUN_KEYS        50000u
#define SHORT_RUN_KEYS  5000u /* from when somebody waited to write: a run takes as long as they wait */
#define RESTARTS_MAX    5

/* ---- pending keys ---- */

void pending_release(struct pending *p)
{
    free(p->keys);
    free(p->slots);
    p->keys = NULL;
    p->slots = NULL;
    p->n = p->cap = p->slots_n = 0;
}

static void pending_slot_fill(struct pending *p, uint32_t index)
{
    uint32_t at = (uint32_t)get_be64(p->keys + index * p->key_bytes) & (p->slots_n - 1);

    while (p->slots[at])
        at = (at + 1) & (p->slots_n - 1);
    p->slots[at] = index + 1;
}

static void pending_add(struct pending *p, struct bytes key)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->keys = realloc(p->keys, p->cap * p->key_bytes);
        free(p->slots);
        p->slots_n = p->cap * 2;
        p->slots = calloc(p->slots_n, sizeof *p->slots);
        ASSERT(p->keys && p->slots);
        for (uint32_t i = 0; i < p->n; i++)
            pending_slot_fill(p, i);
    }
    memcpy(p->keys + p->n * p->key_bytes, key.p, p->key_bytes);
    pending_slot_fill(p, p->n++);
}

/* The smallest id above `after` among pending keys with this prefix; UINT64_MAX if none. */
static uint64_t pending_find(const struct pending *p, struct bytes prefix, uint64_t after)
{
    uint64_t best = UINT64_MAX;

    if (p->n == 0)
        return best;
    for (uint32_t at = (uint32_t)get_be64(prefix.p) & (p->slots_n - 1); p->slots[at];
         at = (at + 1) & (p->slots_n - 1)) {
        const uint8_t *key = p->keys + (p->slots[at] - 1) * p->key_bytes;
        const uint64_t id = get_be64(key + prefix.n);

        if (id > after && id < best && memcmp(key, prefix.p, prefix.n) == 0)
            best = id;
    }
    return best;
}

static int compare_hash_keys(const void *a, const void *b)
{
    return memcmp(a, b, HASH_KEY_BYTES);
}

static int compare_msgid_keys(const void *a, const void *b)
{
    return memcmp(a, b, MSGID_KEY_BYTES);
}

static int pending_flush(struct mds_txn *t, enum table table, struct pending *p, struct error *err)
{
    int rc = BASE_OK;

    if (p->n == 0)
        return BASE_OK;
    qsort(p->keys, p->n, p->key_bytes, table == TABLE_HASHES ? compare_hash_keys : compare_msgid_keys);
    for (uint32_t i = 0; i < p->n && rc == BASE_OK; i++)
        rc = row_put(t, table, bytes_of(p->keys + i * p->key_bytes, p->key_bytes), value_begin(t), err);
    pending_release(p);
    return rc;
}

int hashes_flush(struct mds_txn *t, struct error *err)
{
    const int rc = pending_flush(t, TABLE_HASHES, &t->w->hashes, err);

    return rc == BASE_OK ? pending_flush(t, TABLE_MSGIDS, &t->w->msgids, err) : rc;
}

/* ---- keys of an item ---- */

void hash_key(struct key *key, const struct hash128 *hash, uint64_t id)
{
    key_reset(key);
    key_raw(key, bytes_of(hash->b, HASH128_BYTES));
    key_u64(key, id);
}

void msgid_key(struct key *key, uint64_t msgid_hash, uint64_t id)
{
    key_reset(key);
    key_u64(key, msgid_hash);
    key_u64(key, id);
}

bool mds_hashes_complete(struct mds_txn *t)
{
    struct bytes state;

    if (!t->hashes_known) {
        t->hashes_complete =
            meta_own_get(t, META_HASHES, &state, NULL) == BASE_OK && bytes_equal(state, BYTES_LIT("complete"));
        t->hashes_known = true;
    }
    return t->hashes_complete;
}

int hashes_add(struct mds_txn *t, const struct mds_item *it, struct error *err)
{
    struct key key;

    if (!mds_hashes_complete(t)) {
        gather_add(t, it);
        return BASE_OK;
    }
    hash_key(&key, &it->hash, it->id);
    pending_add(&t->w->hashes, key_bytes(&key));
    if (it->msgid_hash) {
        msgid_key(&key, it->msgid_hash, it->id);
        pending_add(&t->w->msgids, key_bytes(&key));
    }
    return t->w->hashes.n >= PENDING_MAX ? hashes_flush(t, err) : BASE_OK;
}

int hashes_remove(struct mds_txn *t, const struct mds_item *it, struct error *err)
{
    struct key key;
    int rc;

    if (!mds_hashes_complete(t)) {
        gather_spoil(t);
        return BASE_OK;
    }
    if ((rc = hashes_flush(t, err)) != BASE_OK)
        return rc;
    hash_key(&key, &it->hash, it->id);
    rc = row_delete(t, TABLE_HASHES, key_bytes(&key), NULL, err);
    if (rc != BASE_OK || !it->msgid_hash)
        return rc;
    msgid_key(&key, it->msgid_hash, it->id);
    return row_delete(t, TABLE_MSGIDS, key_bytes(&key), NULL, err);
}

/* ---- looking ---- */

static int candidate(struct mds_txn *t, enum table table, const struct pending *p, const struct key *from,
                     size_t prefix_n, uint64_t *pos, uint64_t *id_out, struct error *err)
{
    const struct bytes prefix = bytes_slice(key_bytes(from), 0, prefix_n);
    struct bytes at = key_bytes(from), row;
    uint64_t id = p ? pending_find(p, prefix, *pos) : UINT64_MAX;
    const int rc = row_seek(t, table, MDB_SET_RANGE, &at, &row, err);

    if (rc < 0)
        return rc;
    if (rc == 1 && at.n == prefix_n + 8 && memcmp(at.p, prefix.p, prefix_n) == 0 && get_be64(at.p + prefix_n) < id)
        id = get_be64(at.p + prefix_n);
    if (id == UINT64_MAX)
        return 0;
    *pos = *id_out = id;
    return 1;
}

int mds_item_by_hash(struct mds_txn *t, const struct hash128 *hash, uint64_t *pos, uint64_t *id_out, struct error *err)
{
    struct key key;

    if (*pos == UINT64_MAX || !mds_hashes_complete(t))
        return 0;
    hash_key(&key, hash, *pos + 1);
    return candidate(t, TABLE_HASHES, t->w ? &t->w->hashes : NULL, &key, HASH128_BYTES, pos, id_out, err);
}

int mds_items_by_msgid(struct mds_txn *t, uint64_t msgid_hash, uint64_t *pos, uint64_t *id_out, struct error *err)
{
    struct key key;

    if (*pos == UINT64_MAX || !mds_hashes_complete(t))
        return 0;
    msgid_key(&key, msgid_hash, *pos + 1);
    return candidate(t, TABLE_MSGIDS, t->w ? &t->w->msgids : NULL, &key, 8, pos, id_out, err);
}

/* ---- filling both at the end of a first build ---- */

struct build {
    struct mds_env *env;
    struct gather *keys;
    char token[48];         /* value of META_HASHES while this build runs */
    uint64_t items_removed; /* when it began: a removal in between starts it again */
    uint64_t next_item;     /* items from here on are not in the sorters */
};

/* One transaction, replayed while the map grows under it. */
typedef int build_step_fn(struct build *b, struct mds_txn *t, void *arg, struct error *err);

static int build_step(struct build *b, build_step_fn *fn, void *arg, struct error *err)
{
    for (int tries = 0;; tries++) {
        struct mds_txn *t = NULL;
        int rc = mds_write_begin(b->env, &t, err);

        if (rc == BASE_OK)
            rc = fn(b, t, arg, err);
        if (rc == BASE_OK)
            rc = mds_write_commit(&t, err);
        else
            mds_write_abort(&t);
        if (rc != BASE_ERR_AGAIN || tries >= 40)
            return rc;
    }
}

static int step_empty(struct build *b, struct mds_txn *t, void *arg, struct error *err)
{
    bool *done = arg;
    int rc;

    if ((*done = mds_hashes_complete(t)))
        return BASE_OK;
    if ((rc = table_empty(t, TABLE_HASHES, err)) != BASE_OK || (rc = table_empty(t, TABLE_MSGIDS, err)) != BASE_OK)
        return rc;
    (void)snprintf(b->token, sizeof b->token, "building %llu", (unsigned long long)mds_txn_id(t));
    b->items_removed = t->w->counters.items_removed;
    b->next_item = t->w->counters.next_item;
    /* What was gathered is used once: a build that begins again reads the items. */
    if (!b->keys) {
        b->keys = b->env->gather;
        b->env->gather = NULL;
    }
    if (b->keys && (b->keys->items_removed != b->items_removed || b->keys->next > b->next_item))
        gather_free(&b->keys);
    return meta_own_put(t, META_HASHES, bytes_str(b->token), err);
}

/* Items [from, end) into the sorters. */
static int read_items(struct build *b, struct mds_txn *t, uint64_t from, uint64_t end, struct error *err)
{
    struct mds_item it;
    int rc = BASE_OK;

    for (uint64_t n = 1; rc == BASE_OK && from < end; from = it.id + 1, n++) {
        if (n % RUN_KEYS == 0 && (rc = mds_read_renew(t, err)) != BASE_OK)
            return rc;
        if ((rc = item_next(t, from, &it, err)) != 1 || it.id >= end)
            return rc < 0 ? rc : BASE_OK;
        rc = gather_push(b->keys, &it, err);
    }
    return rc;
}

static int sort_items(struct build *b, struct error *err)
{
    struct mds_txn *t = NULL;
    const uint64_t first = b->keys->next ? b->keys->first : 1, next = b->keys->next ? b->keys->next : 1;
    int rc = mds_read_begin(b->env, &t, err);

    if (rc == BASE_OK)
        rc = read_items(b, t, 1, first, err);
    if (rc == BASE_OK)
        rc = read_items(b, t, next, b->next_item, err);
    mds_read_end(&t);
    if (rc == BASE_OK)
        rc = sorter_finish(b->keys->hashes, err);
    return rc == BASE_OK ? sorter_finish(b->keys->msgids, err) : rc;
}

static int token_check(struct build *b, struct mds_txn *t, struct error *err)
{
    struct bytes token;
    const int rc = meta_own_get(t, META_HASHES, &token, err);

    if (rc == BASE_OK && bytes_equal(token, bytes_str(b->token)))
        return BASE_OK;
    return rc < 0 && rc != BASE_ERR_NOTFOUND
               ? rc
               : error_set(err, BASE_ERR_LOCKED, 0, "%s: another process fills the hash tables", b->env->dir);
}

struct keys_run {
    enum table table;
    size_t key_bytes;
    struct buf keys;
};

static int step_put(struct build *b, struct mds_txn *t, void *arg, struct error *err)
{
    const struct keys_run *run = arg;
    int rc = token_check(b, t, err);

    for (size_t at = 0; rc == BASE_OK && at < run->keys.n; at += run->key_bytes)
        rc = row_put(t, run->table, bytes_of(run->keys.p + at, run->key_bytes), value_begin(t), err);
    return rc;
}

static int put_sorted(struct build *b, enum table table, size_t key_bytes, struct sorter *sorter, struct error *err)
{
    struct keys_run run = {.table = table, .key_bytes = key_bytes};
    struct bytes key, value;
    size_t run_bytes = RUN_KEYS * key_bytes;
    int rc = SORTER_MORE;

    while (rc == SORTER_MORE) {
        if (mds_writer_waiting(b->env))
            run_bytes = SHORT_RUN_KEYS * key_bytes;
        buf_reset(&run.keys);
        while (run.keys.n < run_bytes && (rc = sorter_next(sorter, &key, &value, err)) == SORTER_MORE)
            buf_append_bytes(&run.keys, key);
        if (rc >= 0 && run.keys.n) {
            const int put = build_step(b, step_put, &run, err);

            rc = put == BASE_OK ? rc : put;
        }
    }
    buf_release(&run.keys);
    return rc;
}

/* Items that came in between, then the mark. */
static int step_complete(struct build *b, struct mds_txn *t, void *arg, struct error *err)
{
    bool *again = arg;
    struct mds_item it;
    int rc = token_check(b, t, err);

    if (rc != BASE_OK)
        return rc;
    if ((*again = t->w->counters.items_removed != b->items_removed))
        return BASE_OK;
    if ((rc = meta_own_put(t, META_HASHES, BYTES_LIT("complete"), err)) != BASE_OK)
        return rc;
    t->hashes_known = false;
    for (uint64_t from = b->next_item; (rc = item_next(t, from, &it, err)) == 1; from = it.id + 1) {
        if ((rc = hashes_add(t, &it, err)) != BASE_OK)
            return rc;
    }
    return rc;
}

static int build_once(struct build *b, const char *tmpdir, bool *again, struct error *err)
{
    int rc = BASE_OK;

    if (!b->keys && !(b->keys = gather_new(tmpdir, b->items_removed, err)))
        return err ? err->code : BASE_ERR_IO;
    if ((rc = sort_items(b, err)) == BASE_OK &&
        (rc = put_sorted(b, TABLE_HASHES, HASH_KEY_BYTES, b->keys->hashes, err)) == BASE_OK &&
        (rc = put_sorted(b, TABLE_MSGIDS, MSGID_KEY_BYTES, b->keys->msgids, err)) == BASE_OK)
        rc = build_step(b, step_complete, again, err);
    gather_free(&b->keys);
    return rc;
}

int mds_hashes_build(struct mds_env *env, const char *tmpdir, struct error *err)
{
    struct build b = {.env = env};

    for (int tries = 0; tries < RESTARTS_MAX; tries++) {
        bool done = false, again = false;
        int rc = build_step(&b, step_empty, &done, err);

        if (rc != BASE_OK || done) {
            gather_free(&b.keys);
            return rc;
        }
        rc = build_once(&b, tmpdir, &again, err);
        if (rc != BASE_OK || !again)
            return rc;
    }
    return error_set(err, BASE_ERR_LOCKED, 0, "%s: items are removed faster than the hash tables fill: run again",
                     env->dir);
}

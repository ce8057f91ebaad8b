/*
 * Folders: a tree of levels, each a row by id and a name below its parent. A write transaction keeps the rows it
 * touched and writes each once, at commit.
 */
#include "mds_private.h"

#define INBOX             BYTES_LIT("INBOX")
#define UIDVALIDITY_RANGE (UINT64_C(1) << 30) /* derived ones; later lives of a name count up from there */

/* ---- names ---- */

void folder_names_key(uint32_t parent, struct bytes name, struct key *key, bool *hashed)
{
    key_reset(key);
    key_u32(key, parent);
    *hashed = key_text(key, name);
}

static int names_get(struct mds_txn *t, uint32_t parent, struct bytes name, uint32_t *id_out, struct error *err)
{
    struct key key;
    struct bytes row, text;
    bool hashed;

    folder_names_key(parent, name, &key, &hashed);
    const int rc = row_get(t, TABLE_NAMES, key_bytes(&key), &row, err);

    if (rc != BASE_OK)
        return rc;
    if (!name_decode(row, hashed, id_out, &text))
        return row_corrupt(t, TABLE_NAMES, key_bytes(&key), "it does not decode", err);
    return hashed && !bytes_equal(text, name) ? BASE_ERR_NOTFOUND : BASE_OK;
}

static int names_put(struct mds_txn *t, uint32_t parent, struct bytes name, uint32_t id, struct error *err)
{
    struct key key;
    struct bytes row;
    bool hashed;

    folder_names_key(parent, name, &key, &hashed);
    if (hashed) {
        const int rc = row_get(t, TABLE_NAMES, key_bytes(&key), &row, err);

        if (rc != BASE_ERR_NOTFOUND) /* names_get said that it is another name */
            return rc == BASE_OK
                       ? error_set(err, BASE_ERR_LIMIT, 0, "%s: two long folder names share a hash", t->env->dir)
                       : rc;
    }
    struct buf *v = value_begin(t);

    name_encode(id, hashed, name, v);
    return row_put(t, TABLE_NAMES, key_bytes(&key), v, err);
}

/* Copies the name to t->name, its first level spelt INBOX if that is what it is. */
static int name_canonical(struct mds_txn *t, struct bytes full_name, struct bytes *out, struct error *err)
{
    if (full_name.n == 0)
        return error_set(err, BASE_ERR_SYNTAX, 0, "mds: a folder's name is empty");
    if (full_name.n > MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a folder's name has %zu bytes, %u are allowed", full_name.n,
                         MDS_NAME_MAX);
    buf_reset(&t->name);
    buf_append_bytes(&t->name, full_name);
    const struct bytes first = bytes_slice(full_name, 0, INBOX.n);

    if (bytes_equal_nocase(first, INBOX) && (full_name.n == INBOX.n || full_name.p[INBOX.n] == '/'))
        memcpy(t->name.p, INBOX.p, INBOX.n);
    *out = buf_bytes(&t->name);
    return BASE_OK;
}

/* The level that begins at `at`; *next_out is where the one below begins, or > full.n. */
static struct bytes name_level(struct bytes full, size_t at, size_t *next_out)
{
    const struct bytes rest = bytes_slice(full, at, SIZE_MAX);
    const uint8_t *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    const struct bytes level = bytes_slice(rest, 0, slash ? (size_t)(slash - rest.p) : rest.n);

    *next_out = at + level.n + 1;
    return level;
}

/* ---- rows and their cache ---- */

static int folder_read(struct mds_txn *t, uint32_t id, struct mds_folder *out, struct error *err)
{
    struct key key = {.n = 0};
    struct bytes row;

    key_u32(&key, id);
    const int rc = row_get(t, TABLE_FOLDERS, key_bytes(&key), &row, err);

    if (rc == BASE_OK && !folder_decode(id, row, out))
        return row_corrupt(t, TABLE_FOLDERS, key_bytes(&key), "it does not decode", err);
    return rc;
}

static struct folder_entry *entry_find(const struct writer *w, uint32_t id)
{
    struct folder_entry *e = w->folders[id % CACHE_BUCKETS];

    while (e && e->f.id != id)
        e = e->next;
    return e;
}

static struct folder_entry *entry_add(struct writer *w, const struct mds_folder *f)
{
    struct folder_entry *e = calloc(1, sizeof *e);

    ASSERT(e);
    e->f = *f;
    buf_append_bytes(&e->name, f->name);
    e->f.name = buf_bytes(&e->name);
    e->next = w->folders[f->id % CACHE_BUCKETS];
    w->folders[f->id % CACHE_BUCKETS] = e;
    w->folders_n++;
    return e;
}

static void entry_free(struct folder_entry *e)
{
    buf_release(&e->name);
    free(e);
}

static int entry_flush(struct mds_txn *t, struct folder_entry *e, struct error *err)
{
    struct key key = {.n = 0};
    int rc = log_flush(t, e, err);

    if (rc != BASE_OK || !e->dirty)
        return rc;
    struct buf *v = value_begin(t);

    key_u32(&key, e->f.id);
    folder_encode(&e->f, v);
    rc = row_put(t, TABLE_FOLDERS, key_bytes(&key), v, err);
    e->dirty = rc != BASE_OK;
    return rc;
}

int folder_flush(struct mds_txn *t, struct error *err)
{
    int rc = BASE_OK;

    for (unsigned i = 0; i < CACHE_BUCKETS && rc == BASE_OK; i++) {
        for (struct folder_entry *e = t->w->folders[i]; e && rc == BASE_OK; e = e->next)
            rc = entry_flush(t, e, err);
    }
    return rc;
}

static void entries_drop(struct writer *w)
{
    for (unsigned i = 0; i < CACHE_BUCKETS; i++) {
        for (struct folder_entry *e = w->folders[i], *next; e; e = next) {
            next = e->next;
            entry_free(e);
        }
        w->folders[i] = NULL;
    }
    w->folders_n = 0;
}

static void entry_drop(struct writer *w, uint32_t id)
{
    for (struct folder_entry **at = &w->folders[id % CACHE_BUCKETS]; *at; at = &(*at)->next) {
        if ((*at)->f.id != id)
            continue;
        struct folder_entry *e = *at;

        *at = e->next;
        entry_free(e);
        w->folders_n--;
        return;
    }
}

/* The entry lives until the next call for another folder: a full cache is written and emptied then. */
int folder_entry_get(struct mds_txn *t, uint32_t id, struct folder_entry **out, struct error *err)
{
    struct mds_folder f;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK)
        return rc;
    if ((*out = entry_find(t->w, id)) != NULL)
        return BASE_OK;
    if (t->w->folders_n >= FOLDER_CACHE_MAX) {
        if ((rc = folder_flush(t, err)) != BASE_OK)
            return rc;
        entries_drop(t->w);
    }
    rc = folder_read(t, id, &f, err);
    if (rc == BASE_ERR_NOTFOUND)
        return error_set(err, rc, 0, "%s: there is no folder %u", t->env->dir, id);
    if (rc == BASE_OK)
        *out = entry_add(t->w, &f);
    return rc;
}

/* ---- looking ---- */

int mds_folder_get(struct mds_txn *t, uint32_t id, struct mds_folder *out, struct error *err)
{
    const struct folder_entry *e = t->w ? entry_find(t->w, id) : NULL;

    if (e) {
        *out = e->f;
        return BASE_OK;
    }
    const int rc = folder_read(t, id, out, err);

    return rc == BASE_ERR_NOTFOUND ? error_set(err, rc, 0, "%s: there is no folder %u", t->env->dir, id) : rc;
}

int mds_folder_find(struct mds_txn *t, struct bytes full_name, struct mds_folder *out, struct error *err)
{
    struct bytes name;
    uint32_t id = MDS_ROOT;
    size_t at = 0;
    int rc = name_canonical(t, full_name, &name, err);

    if (rc != BASE_OK)
        return rc;
    while (at <= name.n && rc == BASE_OK) {
        const struct bytes level = name_level(name, at, &at);

        rc = names_get(t, id, level, &id, err);
    }
    if (rc == BASE_ERR_NOTFOUND)
        return error_set(err, rc, 0, "there is no folder '%.*s'", (int)(name.n < 200 ? name.n : 200),
                         (const char *)name.p);
    return rc == BASE_OK ? mds_folder_get(t, id, out, err) : rc;
}

int mds_folder_full_name(struct mds_txn *t, uint32_t id, struct buf *out, struct error *err)
{
    uint32_t chain[MDS_NAME_MAX + 1];
    size_t n = 0;
    struct mds_folder f;

    for (uint32_t at = id; at != MDS_ROOT || n == 0; at = f.parent) {
        const int rc = n <= MDS_NAME_MAX
                           ? mds_folder_get(t, at, &f, err)
                           : error_set(err, BASE_ERR_CORRUPT, 0, "%s: folder %u is its own ancestor", t->env->dir, id);

        if (rc != BASE_OK)
            return rc;
        chain[n++] = at;
    }
    buf_reset(out);
    while (n > 0) {
        const int rc = mds_folder_get(t, chain[--n], &f, err);

        if (rc != BASE_OK)
            return rc;
        buf_append_bytes(out, f.name);
        if (n > 0)
            buf_append_byte(out, '/');
    }
    return BASE_OK;
}

int mds_folder_next_child(struct mds_txn *t, uint32_t parent, const struct bytes *after, struct mds_folder *out,
                          struct error *err)
{
    struct key key;
    struct bytes at, row, text;
    uint32_t id;
    bool hashed;

    folder_names_key(parent, after ? *after : (struct bytes){0}, &key, &hashed);
    at = key_bytes(&key);
    int rc = row_seek(t, TABLE_NAMES, MDB_SET_RANGE, &at, &row, err);

    if (rc == 1 && after && bytes_equal(at, key_bytes(&key)))
        rc = row_seek(t, TABLE_NAMES, MDB_NEXT, &at, &row, err);
    if (rc != 1)
        return rc;
    if (at.n < 4 || get_be32(at.p) != parent)
        return 0;
    if (!name_decode(row, at.n == KEY_MAX, &id, &text))
        return row_corrupt(t, TABLE_NAMES, at, "it does not decode", err);
    rc = mds_folder_get(t, id, out, err);
    return rc == BASE_OK ? 1 : rc;
}

int folder_next_id(struct mds_txn *t, uint32_t after, struct mds_folder *out, struct error *err)
{
    struct key key = {.n = 0};
    struct bytes at, row;

    if (after == UINT32_MAX)
        return 0;
    key_u32(&key, after + 1);
    at = key_bytes(&key);
    const int rc = row_seek(t, TABLE_FOLDERS, MDB_SET_RANGE, &at, &row, err);

    if (rc != 1)
        return rc;
    if (at.n != 4 || !folder_decode(get_be32(at.p), row, out))
        return row_corrupt(t, TABLE_FOLDERS, at, "it does not decode", err);
    return 1;
}

/* ---- making and removing ---- */

static int floor_get(struct mds_txn *t, struct bytes full_name, uint32_t *out, struct error *err)
{
    const struct hash128 h = hash128_of(full_name);
    struct bytes row;
    const int rc = row_get(t, TABLE_FLOORS, bytes_of(h.b, sizeof h.b), &row, err);

    *out = 0;
    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK;
    if (rc == BASE_OK && row.n != 4)
        return row_corrupt(t, TABLE_FLOORS, bytes_of(h.b, sizeof h.b), "it does not decode", err);
    if (rc == BASE_OK)
        *out = get_be32(row.p);
    return rc;
}

/* Derived from names alone, so that a store made again from the same vault is the same; above any former life of the
 * name. */
static int identity_give(struct mds_txn *t, struct bytes full_name, struct mds_folder *f, struct error *err)
{
    struct bytes archive;
    struct buf seed = {0};
    uint32_t floor;
    int rc = meta_own_get(t, META_ARCHIVE, &archive, err);

    if (rc != BASE_OK || (rc = floor_get(t, full_name, &floor, err)) != BASE_OK)
        return rc;
    if (floor == UINT32_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: a folder's UIDVALIDITY is used up", t->env->dir);
    buf_append_bytes(&seed, archive);
    buf_put_u8(&seed, 0);
    buf_append_bytes(&seed, full_name);
    f->uidvalidity = (uint32_t)(1 + hash64_of(buf_bytes(&seed)) % UIDVALIDITY_RANGE);
    if (f->uidvalidity <= floor)
        f->uidvalidity = floor + 1;
    buf_reset(&seed);
    buf_append_bytes(&seed, archive);
    buf_append_bytes(&seed, BYTES_LIT("\0folder"));
    buf_put_u32(&seed, f->id);
    buf_put_u32(&seed, f->uidvalidity);
    const struct hash128 object = hash128_of(buf_bytes(&seed));

    memcpy(f->object_id, object.b, sizeof f->object_id);
    buf_release(&seed);
    return BASE_OK;
}

static uint8_t special_use_of(uint32_t parent, struct bytes name)
{
    static const struct {
        const char *name;
        enum mds_special_use use;
    } known[] = {
        {"Archive", MDS_USE_ARCHIVE}, {"Drafts", MDS_USE_DRAFTS}, {"Junk", MDS_USE_JUNK},
        {"Spam", MDS_USE_JUNK},       {"Sent", MDS_USE_SENT},     {"Trash", MDS_USE_TRASH},
    };

    for (size_t i = 0; parent == MDS_ROOT && i < sizeof known / sizeof known[0]; i++) {
        if (bytes_equal_nocase(name, bytes_str(known[i].name)))
            return (uint8_t)known[i].use;
    }
    return MDS_USE_NONE;
}

static int level_create(struct mds_txn *t, uint32_t parent, struct bytes level, struct bytes full_name, bool selectable,
                        uint32_t *id_out, struct error *err)
{
    struct counters *counters = &t->w->counters;
    struct mds_folder f = {
        .id = counters->next_folder,
        .parent = parent,
        .name = level,
        .selectable = selectable,
        .subscribed = selectable,
        .special_use = special_use_of(parent, level),
        .uidnext = 1,
        .highestmodseq = 1,
    };
    int rc;

    if (f.id == UINT32_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: folder ids are used up", t->env->dir);
    if (t->w->folders_n >= FOLDER_CACHE_MAX) {
        if ((rc = folder_flush(t, err)) != BASE_OK)
            return rc;
        entries_drop(t->w);
    }
    if ((rc = identity_give(t, full_name, &f, err)) != BASE_OK ||
        (rc = names_put(t, parent, level, f.id, err)) != BASE_OK)
        return rc;
    counters->next_folder++;
    counters->folders++;
    t->w->counters_dirty = true;
    entry_add(t->w, &f)->dirty = true;
    *id_out = f.id;
    return BASE_OK;
}

/* A level that was only on the way to others, or a former folder with children, becomes a folder. */
static int level_open(struct mds_txn *t, uint32_t id, struct bytes full_name, struct error *err)
{
    struct folder_entry *e;
    int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (e->f.selectable)
        return error_set(err, BASE_ERR_EXISTS, 0, "the folder '%.*s' exists",
                         (int)(full_name.n < 200 ? full_name.n : 200), (const char *)full_name.p);
    if ((rc = identity_give(t, full_name, &e->f, err)) != BASE_OK)
        return rc;
    e->f.selectable = e->f.subscribed = true;
    e->dirty = true;
    return BASE_OK;
}

int mds_folder_create(struct mds_txn *t, struct bytes full_name, uint32_t *id_out, struct error *err)
{
    struct bytes name;
    uint32_t id = MDS_ROOT;
    size_t at = 0;
    bool made = false;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = name_canonical(t, full_name, &name, err)) != BASE_OK)
        return rc;
    while (at <= name.n) {
        size_t next;
        const struct bytes level = name_level(name, at, &next);
        const uint32_t parent = id;

        rc = names_get(t, parent, level, &id, err);
        made = rc == BASE_ERR_NOTFOUND;
        if (made)
            rc = level_create(t, parent, level, bytes_slice(name, 0, next - 1), next > name.n, &id, err);
        if (rc != BASE_OK)
            return rc;
        at = next;
    }
    *id_out = id;
    return made ? BASE_OK : level_open(t, id, name, err);
}

int folder_init(struct mds_txn *t, struct error *err)
{
    uint32_t id;

    return mds_folder_create(t, INBOX, &id, err);
}

int mds_folder_set_subscribed(struct mds_txn *t, uint32_t id, bool subscribed, struct error *err)
{
    struct folder_entry *e;
    const int rc = folder_entry_get(t, id, &e, err);

    if (rc == BASE_OK && e->f.subscribed != subscribed) {
        e->f.subscribed = subscribed;
        e->dirty = true;
    }
    return rc;
}

/* All rows of a table whose key begins with the folder's id. */
static int rows_remove(struct mds_txn *t, enum table table, uint32_t folder, struct error *err)
{
    struct key prefix = {.n = 0}, key;

    key_u32(&prefix, folder);
    for (;;) {
        struct bytes at = key_bytes(&prefix), row;
        int rc = row_seek(t, table, MDB_SET_RANGE, &at, &row, err);

        if (rc < 0 || rc == 0 || at.n < 4 || get_be32(at.p) != folder)
            return rc < 0 ? rc : BASE_OK;
        key_reset(&key);
        key_raw(&key, at);
        if ((rc = row_delete(t, table, key_bytes(&key), NULL, err)) != BASE_OK)
            return rc;
    }
}

static int floor_put(struct mds_txn *t, uint32_t id, uint32_t uidvalidity, struct error *err)
{
    struct buf full = {0};
    int rc = mds_folder_full_name(t, id, &full, err);

    if (rc == BASE_OK) {
        const struct hash128 h = hash128_of(buf_bytes(&full));
        struct buf *v = value_begin(t);

        buf_put_u32(v, uidvalidity);
        rc = row_put(t, TABLE_FLOORS, bytes_of(h.b, sizeof h.b), v, err);
    }
    buf_release(&full);
    return rc;
}

int mds_folder_remove(struct mds_txn *t, uint32_t id, struct error *err)
{
    struct folder_entry *e;
    struct mds_folder child;
    struct key key;
    bool hashed;
    int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (e->f.exists > 0 || (e->f.parent == MDS_ROOT && bytes_equal(e->f.name, INBOX)))
        return error_set(err, BASE_ERR_USAGE, 0, "mds: INBOX, and a folder that holds messages, cannot be removed");
    const int children = mds_folder_next_child(t, id, NULL, &child, err);

    if (children < 0)
        return children;
    if ((rc = log_flush(t, e, err)) != BASE_OK || (rc = floor_put(t, id, e->f.uidvalidity, err)) != BASE_OK ||
        (rc = rows_remove(t, TABLE_CHANGES, id, err)) != BASE_OK ||
        (rc = rows_remove(t, TABLE_EXPUNGED, id, err)) != BASE_OK)
        return rc;
    e->runs_loaded = false;
    if (children > 0) {
        e->f.selectable = e->f.subscribed = false;
        e->f.uidnext = 1;
        e->f.highestmodseq = 1;
        e->f.changes_floor = 0;
        e->dirty = true;
        return BASE_OK;
    }
    folder_names_key(e->f.parent, e->f.name, &key, &hashed);
    if ((rc = row_delete(t, TABLE_NAMES, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    key_reset(&key);
    key_u32(&key, id);
    if ((rc = row_delete(t, TABLE_FOLDERS, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    entry_drop(t->w, id);
    t->w->counters.folders--;
    t->w->counters_dirty = true;
    return BASE_OK;
}

/*
 * Folders: a tree of levels, each a row by id and a name below its parent. A write transaction keeps the rows it
 * touched and writes each once, at commit. How they come and go: folder_make.c, folder_rename.c.
 */
#include "mds_private.h"

#define INBOX BYTES_LIT("INBOX")

/* ---- names ---- */

void folder_names_key(uint32_t parent, struct bytes name, struct key *key, bool *hashed)
{
    key_reset(key);
    key_u32(key, parent);
    *hashed = key_text(key, name);
}

int folder_names_get(struct mds_txn *t, uint32_t parent, struct bytes name, uint32_t *id_out, struct error *err)
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

int folder_names_put(struct mds_txn *t, uint32_t parent, struct bytes name, uint32_t id, struct error *err)
{
    struct key key;
    struct bytes row;
    bool hashed;

    folder_names_key(parent, name, &key, &hashed);
    if (hashed) {
        const int rc = row_get(t, TABLE_NAMES, key_bytes(&key), &row, err);

        if (rc != BASE_ERR_NOTFOUND) /* folder_names_get said that it is another name */
            return rc == BASE_OK
                       ? error_set(err, BASE_ERR_LIMIT, 0, "%s: two long folder names share a hash", t->env->dir)
                       : rc;
    }
    struct buf *v = value_begin(t);

    name_encode(id, hashed, name, v);
    return row_put(t, TABLE_NAMES, key_bytes(&key), v, err);
}

int folder_name_canonical(struct mds_txn *t, struct bytes full_name, struct bytes *out, struct error *err)
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

struct bytes folder_name_level(struct bytes full, size_t at, size_t *next_out)
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

void folder_entry_drop(struct writer *w, uint32_t id)
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

static int cache_room(struct mds_txn *t, struct error *err)
{
    int rc = BASE_OK;

    if (t->w->folders_n >= FOLDER_CACHE_MAX && (rc = folder_flush(t, err)) == BASE_OK)
        entries_drop(t->w);
    return rc;
}

int folder_entry_new(struct mds_txn *t, const struct mds_folder *f, struct error *err)
{
    const int rc = cache_room(t, err);

    if (rc == BASE_OK)
        entry_add(t->w, f)->dirty = true;
    return rc;
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
    if ((rc = cache_room(t, err)) != BASE_OK)
        return rc;
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
    int rc = folder_name_canonical(t, full_name, &name, err);

    if (rc != BASE_OK)
        return rc;
    while (at <= name.n && rc == BASE_OK) {
        const struct bytes level = folder_name_level(name, at, &at);

        rc = folder_names_get(t, id, level, &id, err);
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
    const bool follows = after && !hashed && key.n < KEY_MAX;

    if (follows) /* the least key behind it */
        key_raw(&key, bytes_of("", 1));
    at = key_bytes(&key);
    int rc = row_seek(t, TABLE_NAMES, MDB_SET_RANGE, &at, &row, err);

    if (rc == 1 && after && !follows && bytes_equal(at, key_bytes(&key)))
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

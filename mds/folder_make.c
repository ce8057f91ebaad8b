/*
 * Folders come and go. What a client knows of a folder is never given to another one: ids are used once, and so are the
 * UIDs below an id; a name that was free in between gets a higher UIDVALIDITY.
 */
#include "columns_private.h"

#define INBOX BYTES_LIT("INBOX")

static bool is_inbox(const struct mds_folder *f)
{
    return f->parent == MDS_ROOT && bytes_equal(f->name, INBOX);
}

/* ---- identity ---- */

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

/* The highest UIDVALIDITY that a removed folder of this name had. */
static int floor_raise(struct mds_txn *t, uint32_t id, uint32_t uidvalidity, struct error *err)
{
    struct buf full = {0};
    uint32_t floor = 0;
    int rc = mds_folder_full_name(t, id, &full, err);

    if (rc == BASE_OK)
        rc = floor_get(t, buf_bytes(&full), &floor, err);
    if (rc == BASE_OK && uidvalidity > floor) {
        const struct hash128 h = hash128_of(buf_bytes(&full));
        struct buf *v = value_begin(t);

        buf_put_u32(v, uidvalidity);
        rc = row_put(t, TABLE_FLOORS, bytes_of(h.b, sizeof h.b), v, err);
    }
    buf_release(&full);
    return rc;
}

static uint32_t uidvalidity_derive(struct bytes archive, struct bytes full_name)
{
    struct buf seed = {0};

    buf_append_bytes(&seed, archive);
    buf_put_u8(&seed, 0);
    buf_append_bytes(&seed, full_name);
    const uint64_t hash = hash64_of(buf_bytes(&seed));

    buf_release(&seed);
    return (uint32_t)(1 + hash % MDS_UIDVALIDITY_DERIVED_MAX);
}

static void object_derive(struct bytes archive, struct mds_folder *f)
{
    struct buf seed = {0};

    buf_append_bytes(&seed, archive);
    buf_append_bytes(&seed, BYTES_LIT("\0folder"));
    buf_put_u32(&seed, f->id);
    buf_put_u32(&seed, f->uidvalidity);
    const struct hash128 object = hash128_of(buf_bytes(&seed));

    memcpy(f->object_id, object.b, sizeof f->object_id);
    buf_release(&seed);
}

/*
 * Derived from names alone, so that a store made again from the same vault is the same; above any former life of the
 * name. Once a folder was renamed, above all that were ever given: the names below it are free without anybody having
 * walked them.
 */
static int identity_give(struct mds_txn *t, struct bytes full_name, struct mds_folder *f, struct error *err)
{
    struct renames renames;
    struct bytes archive;
    uint32_t floor;
    int rc = meta_own_get(t, META_ARCHIVE, &archive, err);

    if (rc != BASE_OK || (rc = floor_get(t, full_name, &floor, err)) != BASE_OK ||
        (rc = renames_get(t, &renames, err)) != BASE_OK)
        return rc;
    if (renames.uidvalidity > floor)
        floor = renames.uidvalidity;
    if (floor == UINT32_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: a folder's UIDVALIDITY is used up", t->env->dir);
    f->uidvalidity = uidvalidity_derive(archive, full_name);
    if (renames.uidvalidity || f->uidvalidity <= floor)
        f->uidvalidity = floor + 1;
    object_derive(archive, f);
    return renames.uidvalidity ? renames_note(t, f->uidvalidity, full_name.n, err) : BASE_OK;
}

/* ---- making ---- */

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

int folder_level_create(struct mds_txn *t, uint32_t parent, struct bytes full_name, struct bytes level, bool selectable,
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
    if ((rc = identity_give(t, full_name, &f, err)) != BASE_OK ||
        (rc = folder_names_put(t, parent, level, f.id, err)) != BASE_OK ||
        (rc = folder_entry_new(t, &f, err)) != BASE_OK)
        return rc;
    counters->next_folder++;
    counters->folders++;
    t->w->counters_dirty = true;
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

int folder_levels_check(struct bytes name, struct error *err)
{
    for (size_t at = 0; at <= name.n;) {
        if (folder_name_level(name, at, &at).n == 0)
            return error_set(err, BASE_ERR_SYNTAX, 0, "mds: a folder's name has an empty level");
    }
    return BASE_OK;
}

/* Walks the levels of `name`, which is t->name, and makes those that are missing; the last one as asked. */
static int levels_make(struct mds_txn *t, struct bytes name, bool selectable, uint32_t *id_out, bool *made_out,
                       struct error *err)
{
    uint32_t id = MDS_ROOT;
    size_t at = 0;

    *made_out = false;
    while (at <= name.n) {
        size_t next;
        const struct bytes level = folder_name_level(name, at, &next);
        const uint32_t parent = id;
        int rc = folder_names_get(t, parent, level, &id, err);

        *made_out = rc == BASE_ERR_NOTFOUND;
        if (*made_out)
            rc = folder_level_create(t, parent, bytes_slice(name, 0, next - 1), level, selectable && next > name.n, &id,
                                     err);
        if (rc != BASE_OK)
            return rc;
        at = next;
    }
    *id_out = id;
    return BASE_OK;
}

int mds_folder_create(struct mds_txn *t, struct bytes full_name, uint32_t *id_out, struct error *err)
{
    struct bytes name;
    bool made = false;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = folder_name_canonical(t, full_name, &name, err)) != BASE_OK ||
        (rc = folder_levels_check(name, err)) != BASE_OK ||
        (rc = levels_make(t, name, true, id_out, &made, err)) != BASE_OK)
        return rc;
    return made ? BASE_OK : level_open(t, *id_out, name, err);
}

int folder_init(struct mds_txn *t, struct error *err)
{
    uint32_t id;

    return mds_folder_create(t, INBOX, &id, err);
}

int mds_folder_subscribe_name(struct mds_txn *t, struct bytes full_name, struct error *err)
{
    struct bytes name;
    uint32_t id;
    bool made;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = folder_name_canonical(t, full_name, &name, err)) != BASE_OK ||
        (rc = folder_levels_check(name, err)) != BASE_OK ||
        (rc = levels_make(t, name, false, &id, &made, err)) != BASE_OK)
        return rc;
    return mds_folder_set_subscribed(t, id, true, err);
}

int mds_folder_set_special_use(struct mds_txn *t, uint32_t id, enum mds_special_use use, struct error *err)
{
    struct folder_entry *e;
    const int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if ((unsigned)use > MDS_USE_TRASH)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: there is no special use %u", (unsigned)use);
    if (e->f.special_use != use) {
        e->f.special_use = (uint8_t)use;
        e->dirty = true;
    }
    return BASE_OK;
}

/* ---- removing ---- */

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

/* The row and the name of a folder that has no messages, logs or children. */
int folder_drop(struct mds_txn *t, uint32_t id, uint32_t *parent_out, struct error *err)
{
    struct folder_entry *e;
    struct key key;
    bool hashed;
    int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK)
        return rc;
    *parent_out = e->f.parent;
    folder_names_key(e->f.parent, e->f.name, &key, &hashed);
    if ((rc = row_delete(t, TABLE_NAMES, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    key_reset(&key);
    key_u32(&key, id);
    if ((rc = row_delete(t, TABLE_FOLDERS, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    folder_entry_drop(t->w, id);
    t->w->counters.folders--;
    t->w->counters_dirty = true;
    return BASE_OK;
}

int folder_has_children(struct mds_txn *t, uint32_t id, struct error *err)
{
    struct mds_folder child;

    return mds_folder_next_child(t, id, NULL, &child, err);
}

int folder_levels_prune(struct mds_txn *t, uint32_t id, struct error *err)
{
    while (id != MDS_ROOT) {
        struct folder_entry *e;
        int rc = folder_entry_get(t, id, &e, err);

        if (rc != BASE_OK || e->f.selectable || e->f.subscribed || is_inbox(&e->f))
            return rc;
        if ((rc = folder_has_children(t, id, err)) != 0)
            return rc < 0 ? rc : BASE_OK;
        if ((rc = folder_drop(t, id, &id, err)) != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

int mds_folder_set_subscribed(struct mds_txn *t, uint32_t id, bool subscribed, struct error *err)
{
    struct folder_entry *e;
    const int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK || e->f.subscribed == subscribed)
        return rc;
    e->f.subscribed = subscribed;
    e->dirty = true;
    return subscribed ? BASE_OK : folder_levels_prune(t, id, err);
}

/* Its UIDs and modseqs go on if it is made again: places and what was kept aside may still name some. */
static int folder_close(struct mds_txn *t, struct folder_entry *e, struct error *err)
{
    const uint32_t id = e->f.id;
    int rc;

    if ((rc = log_flush(t, e, err)) != BASE_OK || (rc = floor_raise(t, id, e->f.uidvalidity, err)) != BASE_OK ||
        (rc = rows_remove(t, TABLE_CHANGES, id, err)) != BASE_OK ||
        (rc = rows_remove(t, TABLE_EXPUNGED, id, err)) != BASE_OK || (rc = column_forget_folder(t, id, err)) != BASE_OK)
        return rc;
    e->runs_loaded = false;
    e->f.selectable = false;
    e->f.changes_floor = e->f.highestmodseq > 1 ? e->f.highestmodseq : 0;
    e->dirty = true;
    return BASE_OK;
}

int mds_folder_remove(struct mds_txn *t, uint32_t id, struct error *err)
{
    struct folder_entry *e;
    int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (e->f.exists > 0 || is_inbox(&e->f))
        return error_set(err, BASE_ERR_USAGE, 0, "mds: INBOX, and a folder that holds messages, cannot be removed");
    if (e->f.selectable && (rc = folder_close(t, e, err)) != BASE_OK)
        return rc;
    return folder_levels_prune(t, id, err);
}

/*
 * Renaming: the folder's row and its name change, nothing below it does. Two things that others would learn by walking
 * the subtree are kept in a row of meta from the first rename on: the highest UIDVALIDITY that was ever given, and a
 * bound of the longest full name.
 */
#include "mds_private.h"

/* Of mds_uidvalidity_by_clock: no store is older. An archive that makes less than one folder a second stays below. */
#define CLOCK_EPOCH INT64_C(1767225600)

/* ---- the row ---- */

int renames_get(struct mds_txn *t, struct renames *out, struct error *err)
{
    struct bytes row;
    const int rc = meta_own_get(t, META_RENAMES, &row, err);

    *out = (struct renames){0};
    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK;
    if (rc == BASE_OK && !renames_decode(row, out))
        return row_corrupt(t, TABLE_META, BYTES_LIT(META_RENAMES), "it does not decode", err);
    return rc;
}

static int renames_put(struct mds_txn *t, const struct renames *r, struct error *err)
{
    struct buf *v = value_begin(t);

    renames_encode(r, v);
    return row_put(t, TABLE_META, BYTES_LIT(META_RENAMES), v, err);
}

int renames_note(struct mds_txn *t, uint32_t uidvalidity, size_t name_bytes, struct error *err)
{
    struct renames r;
    const int rc = renames_get(t, &r, err);

    if (rc != BASE_OK || (uidvalidity <= r.uidvalidity && name_bytes <= r.name_bytes))
        return rc;
    if (uidvalidity > r.uidvalidity)
        r.uidvalidity = uidvalidity;
    if (name_bytes > r.name_bytes)
        r.name_bytes = (uint32_t)name_bytes;
    return renames_put(t, &r, err);
}

static int floors_highest(struct mds_txn *t, uint32_t *highest, struct error *err)
{
    struct bytes key = {0}, row;
    int rc;

    for (rc = row_seek(t, TABLE_FLOORS, MDB_FIRST, &key, &row, err); rc == 1;
         rc = row_seek(t, TABLE_FLOORS, MDB_NEXT, &key, &row, err)) {
        if (row.n != 4)
            return row_corrupt(t, TABLE_FLOORS, key, "it does not decode", err);
        if (get_be32(row.p) > *highest)
            *highest = get_be32(row.p);
    }
    return rc;
}

/* The first rename looks at every folder; no later one does. */
static int renames_begin(struct mds_txn *t, struct renames *r, struct error *err)
{
    struct buf full = {0};
    struct mds_folder f;
    int rc = renames_get(t, r, err);

    if (rc != BASE_OK || r->uidvalidity)
        return rc;
    if ((rc = folder_flush(t, err)) == BASE_OK)
        rc = floors_highest(t, &r->uidvalidity, err);
    for (uint32_t id = 0; rc == BASE_OK && (rc = folder_next_id(t, id, &f, err)) == 1;) {
        id = f.id;
        if (f.uidvalidity > r->uidvalidity)
            r->uidvalidity = f.uidvalidity;
        if ((rc = mds_folder_full_name(t, id, &full, err)) == BASE_OK && full.n > r->name_bytes)
            r->name_bytes = (uint32_t)full.n;
    }
    buf_release(&full);
    return rc;
}

int mds_uidvalidity_floor(struct mds_txn *t, uint32_t *out, struct error *err)
{
    struct renames r;
    const int rc = renames_get(t, &r, err);

    *out = r.uidvalidity;
    return rc == BASE_OK && !r.uidvalidity ? floors_highest(t, out, err) : rc;
}

int mds_uidvalidity_raise(struct mds_txn *t, uint32_t floor, struct error *err)
{
    struct renames r;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || floor == 0 || (rc = renames_begin(t, &r, err)) != BASE_OK)
        return rc;
    if (floor > r.uidvalidity)
        r.uidvalidity = floor;
    return renames_put(t, &r, err);
}

uint32_t mds_uidvalidity_by_clock(int64_t now, uint32_t highest)
{
    const int64_t age = now - CLOCK_EPOCH;
    const int64_t room = (int64_t)(UINT32_MAX / 2 - MDS_UIDVALIDITY_DERIVED_MAX) * 2;
    const uint32_t lived = MDS_UIDVALIDITY_DERIVED_MAX + (uint32_t)(age < 0 ? 0 : age > room ? room : age);

    return lived > highest ? lived : highest;
}

int mds_uidvalidity_highest(struct mds_txn *t, uint32_t *out, struct error *err)
{
    struct renames r;
    int rc = txn_writable(t, err);

    if (rc == BASE_OK)
        rc = renames_begin(t, &r, err);
    *out = rc == BASE_OK ? r.uidvalidity : 0;
    return rc;
}

/* ---- how long names get ---- */

struct level { /* on the stack of a walk */
    uint32_t id;
    uint32_t bytes; /* of the names from the walk's top to here */
};

/* The longest name below `id`, counted from its own end. */
static int subtree_longest(struct mds_txn *t, uint32_t id, uint32_t *out, struct error *err)
{
    struct level at = {id, 0};
    struct buf stack = {0}, last = {0};
    int rc = BASE_OK;

    *out = 0;
    buf_append(&stack, &at, sizeof at);
    while (rc == BASE_OK && stack.n) {
        struct mds_folder child;
        struct bytes after;
        bool first = true;

        stack.n -= sizeof at;
        memcpy(&at, stack.p + stack.n, sizeof at);
        while ((rc = mds_folder_next_child(t, at.id, first ? NULL : &after, &child, err)) == 1) {
            const struct level below = {child.id, at.bytes + 1 + (uint32_t)child.name.n};

            if (below.bytes > *out)
                *out = below.bytes;
            if (below.bytes <= MDS_NAME_MAX) /* beyond, it is refused anyway; and a ring ends */
                buf_append(&stack, &below, sizeof below);
            buf_reset(&last);
            buf_append_bytes(&last, child.name);
            after = buf_bytes(&last);
            first = false;
        }
    }
    buf_release(&stack);
    buf_release(&last);
    return rc;
}

/* Everything below grows with the folder's name. Walks only where the bound does not tell. */
static int names_fit(struct mds_txn *t, uint32_t id, size_t old_bytes, size_t new_bytes, struct renames *r,
                     struct error *err)
{
    uint32_t below;

    if (new_bytes <= old_bytes)
        return BASE_OK;
    if (r->name_bytes + (new_bytes - old_bytes) <= MDS_NAME_MAX) {
        r->name_bytes += (uint32_t)(new_bytes - old_bytes);
        return BASE_OK;
    }
    const int rc = subtree_longest(t, id, &below, err);

    if (rc != BASE_OK)
        return rc;
    if (new_bytes + below > MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a name below this folder would have more than %u bytes",
                         MDS_NAME_MAX);
    r->name_bytes = MDS_NAME_MAX;
    return BASE_OK;
}

/* ---- renaming ---- */

/* The name is free, or has only a subscription (*placeholder_out); it is not below the folder itself. Changes nothing.
 */
static int target_check(struct mds_txn *t, uint32_t id, struct bytes name, uint32_t *placeholder_out, struct error *err)
{
    uint32_t at_id = MDS_ROOT;
    struct mds_folder f;
    int rc;

    *placeholder_out = 0;
    for (size_t at = 0; at <= name.n;) {
        const struct bytes level = folder_name_level(name, at, &at);

        if ((rc = folder_names_get(t, at_id, level, &at_id, err)) != BASE_OK)
            return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc;
        if (at_id == id && at <= name.n)
            return error_set(err, BASE_ERR_USAGE, 0, "mds: a folder cannot be moved below itself");
    }
    if ((rc = mds_folder_get(t, at_id, &f, err)) != BASE_OK)
        return rc;
    const int children = folder_has_children(t, at_id, err);

    if (children < 0)
        return children;
    if (f.selectable || !f.subscribed || children > 0 || at_id == id)
        return error_set(err, BASE_ERR_EXISTS, 0, "the folder '%.*s' exists", (int)(name.n < 200 ? name.n : 200),
                         (const char *)name.p);
    *placeholder_out = at_id;
    return BASE_OK;
}

/* The parent of the last level, made if it is missing. */
static int parents_make(struct mds_txn *t, struct bytes name, uint32_t *parent_out, struct bytes *last_out,
                        struct error *err)
{
    uint32_t parent = MDS_ROOT;

    for (size_t at = 0;;) {
        size_t next;
        const struct bytes level = folder_name_level(name, at, &next);
        uint32_t id;

        if (next > name.n) {
            *parent_out = parent;
            *last_out = level;
            return BASE_OK;
        }
        int rc = folder_names_get(t, parent, level, &id, err);

        if (rc == BASE_ERR_NOTFOUND)
            rc = folder_level_create(t, parent, bytes_slice(name, 0, next - 1), level, false, &id, err);
        if (rc != BASE_OK)
            return rc;
        parent = id;
        at = next;
    }
}

static int name_move(struct mds_txn *t, uint32_t id, uint32_t parent, struct bytes name, bool subscribe,
                     struct error *err)
{
    struct folder_entry *e;
    struct key key;
    bool hashed;
    int rc = folder_names_put(t, parent, name, id, err);

    if (rc != BASE_OK || (rc = folder_entry_get(t, id, &e, err)) != BASE_OK)
        return rc;
    folder_names_key(e->f.parent, e->f.name, &key, &hashed);
    if ((rc = row_delete(t, TABLE_NAMES, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    const uint32_t old_parent = e->f.parent;

    buf_reset(&e->name);
    buf_append_bytes(&e->name, name);
    e->f.name = buf_bytes(&e->name);
    e->f.parent = parent;
    e->f.subscribed = e->f.subscribed || subscribe;
    e->dirty = true;
    return folder_levels_prune(t, old_parent, err);
}

/* `name` is t->name. */
static int rename_to(struct mds_txn *t, uint32_t id, struct bytes name, size_t old_bytes, struct error *err)
{
    struct renames r;
    struct bytes last;
    uint32_t parent, placeholder, of_placeholder;
    int rc;

    if ((rc = target_check(t, id, name, &placeholder, err)) != BASE_OK || (rc = renames_begin(t, &r, err)) != BASE_OK ||
        (rc = names_fit(t, id, old_bytes, name.n, &r, err)) != BASE_OK || (rc = renames_put(t, &r, err)) != BASE_OK ||
        (rc = parents_make(t, name, &parent, &last, err)) != BASE_OK)
        return rc;
    if (placeholder && (rc = folder_drop(t, placeholder, &of_placeholder, err)) != BASE_OK)
        return rc;
    return name_move(t, id, parent, last, placeholder != 0, err);
}

int mds_folder_rename(struct mds_txn *t, uint32_t id, struct bytes full_name, struct error *err)
{
    struct folder_entry *e;
    struct buf old = {0};
    struct bytes name;
    int rc = folder_entry_get(t, id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (e->f.parent == MDS_ROOT && bytes_equal(e->f.name, BYTES_LIT("INBOX")))
        return error_set(err, BASE_ERR_USAGE, 0, "mds: INBOX keeps its name");
    if ((rc = folder_name_canonical(t, full_name, &name, err)) == BASE_OK &&
        (rc = folder_levels_check(name, err)) == BASE_OK && (rc = mds_folder_full_name(t, id, &old, err)) == BASE_OK)
        rc = rename_to(t, id, name, old.n, err);
    buf_release(&old);
    return rc;
}

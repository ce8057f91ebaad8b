/* CREATE, DELETE, RENAME and SUBSCRIBE. */
#include "change.h"

#define DELETE_PART 2048 /* messages: some 20 ms */

static bool is_inbox(struct bytes name)
{
    return bytes_equal_nocase(name, BYTES_LIT("INBOX"));
}

/* 1: something is below it. */
static int has_children(struct turn *t, uint32_t folder, struct error *err)
{
    struct mds_folder child;

    return mds_folder_next_child(t->txn, folder, NULL, &child, err);
}

/* A folder or a level; a name that is only subscribed is not there. */
static int find_existing(struct turn *t, struct bytes name, struct mds_folder *out, struct error *err)
{
    int rc = mds_folder_find(t->txn, name, out, err);

    if (rc == BASE_ERR_SYNTAX || rc == BASE_ERR_LIMIT)
        return BASE_ERR_NOTFOUND;
    if (rc < 0 || out->selectable)
        return rc;
    rc = has_children(t, out->id, err);
    if (rc == 0)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "the name is only subscribed");
    return rc < 0 ? rc : BASE_OK;
}

/* A new folder; it keeps the subscription that its name had. EXISTS before anything is written. */
static int folder_make(struct turn *t, struct bytes name, struct mds_folder *out, struct error *err)
{
    struct error ignored;
    bool subscribed = false;
    uint32_t id = 0;

    query_error_init(&ignored);

    int rc = mds_folder_find(t->txn, name, out, &ignored);

    if (rc >= 0 && out->selectable)
        return error_set(err, BASE_ERR_EXISTS, 0, "the folder exists");
    if (rc >= 0)
        subscribed = out->subscribed;
    t->is_mutated = true;
    rc = mds_folder_create(t->txn, name, &id, err);
    if (rc == BASE_ERR_SYNTAX)
        rc = BASE_ERR_USAGE;
    if (rc >= 0)
        rc = mds_folder_set_subscribed(t->txn, id, subscribed, err);
    return rc < 0 ? rc : mds_folder_get(t->txn, id, out, err);
}

int change_create(struct turn *t, struct mdsq_change *c, struct error *err)
{
    struct mds_folder folder;
    int rc = folder_make(t, buf_bytes(&c->name), &folder, err);

    if (rc >= 0 && c->special_use)
        rc = mds_folder_set_special_use(t->txn, folder.id, (enum mds_special_use)c->special_use, err);
    if (rc >= 0) {
        c->result.uidvalidity = folder.uidvalidity;
        query_mailbox_id(folder.object_id, c->result.mailbox_id);
    }
    return rc;
}

/* The first `limit` messages of a folder are expunged, or moved to `to`. 1: more are left. */
static int empty_folder(struct turn *t, uint32_t folder, uint32_t to, uint64_t limit, struct error *err)
{
    roaring_bitmap_t *all = NULL;
    roaring_uint32_iterator_t it;
    int rc = mds_set_load(t->txn, folder, MDS_SET_EXISTS, &all, err);

    if (rc < 0)
        return rc;

    const bool is_part = roaring_bitmap_get_cardinality(all) > limit;

    for (roaring_init_iterator(all, &it); rc >= 0 && it.has_value && limit; roaring_advance_uint32_iterator(&it)) {
        uint32_t uid = 0;

        limit--;
        t->is_mutated = true;
        turn_touch(t, folder, 1);
        rc = to ? mds_message_move(t->txn, folder, it.current_value, to, t->now, &uid, err)
                : mds_message_expunge(t->txn, folder, it.current_value, t->now, err);
    }
    roaring_bitmap_free(all);
    return rc < 0 ? rc : is_part;
}

int change_delete(struct turn *t, struct mdsq_change *c, struct error *err)
{
    struct mds_folder folder;
    int rc;

    if (is_inbox(buf_bytes(&c->name)))
        return error_set(err, BASE_ERR_USAGE, 0, "INBOX cannot be deleted");
    rc = find_existing(t, buf_bytes(&c->name), &folder, err);
    if (rc < 0)
        return rc;
    if (!folder.selectable)
        return error_set(err, BASE_ERR_USAGE, 0, "it is only a level, and folders are below it");

    const uint32_t id = folder.id;

    rc = empty_folder(t, id, 0, DELETE_PART, err);
    c->has_more = rc > 0;
    if (rc == 0) {
        t->is_mutated = true;
        rc = mds_folder_remove(t->txn, id, err);
    }
    return rc < 0 ? rc : BASE_OK;
}

int change_rename(struct turn *t, struct mdsq_change *c, struct error *err)
{
    struct mds_folder from, to;
    int rc = find_existing(t, buf_bytes(&c->name), &from, err);

    if (rc < 0)
        return rc;

    const uint32_t id = from.id;

    if (is_inbox(buf_bytes(&c->name))) { /* its messages go, it stays; what is below it stays too */
        rc = folder_make(t, buf_bytes(&c->to), &to, err);
        return rc < 0 ? rc : empty_folder(t, id, to.id, UINT64_MAX, err);
    }
    t->is_mutated = true;
    rc = mds_folder_rename(t->txn, id, buf_bytes(&c->to), err);
    return rc == BASE_ERR_SYNTAX ? BASE_ERR_USAGE : rc;
}

int change_subscribe(struct turn *t, struct mdsq_change *c, struct error *err)
{
    struct error ignored;
    struct mds_folder folder;

    query_error_init(&ignored);

    int rc = mds_folder_find(t->txn, buf_bytes(&c->name), &folder, &ignored);

    if (rc < 0 && rc != BASE_ERR_NOTFOUND && rc != BASE_ERR_SYNTAX && rc != BASE_ERR_LIMIT) {
        *err = ignored;
        return rc;
    }
    if (rc < 0 && !c->subscribe)
        return BASE_OK;
    t->is_mutated = true;
    if (rc >= 0)
        return mds_folder_set_subscribed(t->txn, folder.id, c->subscribe, err);
    rc = mds_folder_subscribe_name(t->txn, buf_bytes(&c->name), err);
    return rc == BASE_ERR_SYNTAX ? BASE_ERR_USAGE : rc;
}

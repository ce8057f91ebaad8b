/*
 * What a person expunged, kept aside: the message as it was, until it is brought back or let go for good. Its filing
 * stays, marked, so that the item knows that somebody may want it back.
 */
#include "mds_private.h"

static int removed_get(struct mds_txn *t, uint32_t folder, uint32_t uid, struct mds_removed *out, struct error *err)
{
    struct key key;
    struct bytes row;
    int rc = txn_writable(t, err);

    message_key(&key, folder, uid);
    if (rc == BASE_OK)
        rc = row_get(t, TABLE_REMOVED, key_bytes(&key), &row, err);
    if (rc == BASE_ERR_NOTFOUND)
        return error_set(err, rc, 0, "%s: message %u of folder %u is not kept aside", t->env->dir, uid, folder);
    if (rc == BASE_OK && !removed_decode(folder, uid, row, out))
        return row_corrupt(t, TABLE_REMOVED, key_bytes(&key), "it does not decode", err);
    return rc;
}

static int removed_put(struct mds_txn *t, const struct mds_message *m, int64_t now, struct error *err)
{
    struct buf full = {0};
    struct key key;
    int rc = mds_folder_full_name(t, m->folder, &full, err);

    if (rc == BASE_OK) {
        const struct mds_removed removed = {.folder_name = buf_bytes(&full), .removed_at = now, .message = *m};
        struct buf *v = value_begin(t);

        message_key(&key, m->folder, m->uid);
        removed_encode(&removed, v);
        rc = row_put(t, TABLE_REMOVED, key_bytes(&key), v, err);
    }
    buf_release(&full);
    return rc;
}

/* The row and the marked filing. */
static int removed_drop(struct mds_txn *t, uint32_t folder, uint32_t uid, uint64_t item, struct error *err)
{
    struct key key;
    bool there = false;
    int rc;

    message_key(&key, folder, uid);
    if ((rc = row_delete(t, TABLE_REMOVED, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    filed_key(&key, item, folder, uid);
    if ((rc = row_delete(t, TABLE_FILED, key_bytes(&key), &there, err)) == BASE_OK && !there)
        rc = row_corrupt(t, TABLE_FILED, key_bytes(&key), "the filing of a removed message is missing", err);
    return rc;
}

int mds_message_expunge(struct mds_txn *t, uint32_t folder, uint32_t uid, int64_t now, struct error *err)
{
    struct mds_message m;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = mds_message_get(t, folder, uid, &m, err)) != BASE_OK)
        return rc;
    m.keywords = message_keywords_keep(t, m.keywords);
    rc = removed_put(t, &m, now, err);
    return rc == BASE_OK ? message_take_out(t, &m, true, err) : rc;
}

int mds_removed_carry(struct mds_txn *t, const struct mds_removed *removed, struct error *err)
{
    struct key key;
    struct bytes row;
    struct mds_item item;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = mds_item_get(t, removed->message.item, &item, err)) != BASE_OK)
        return rc;
    if (removed->folder == 0 || removed->folder >= t->w->counters.next_folder || removed->uid == 0)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: message %u of folder %u was never given", removed->uid,
                         removed->folder);
    message_key(&key, removed->folder, removed->uid);
    rc = row_get(t, TABLE_REMOVED, key_bytes(&key), &row, err);
    if (rc == BASE_OK)
        return error_set(err, BASE_ERR_EXISTS, 0, "mds: it is kept aside already");
    if (rc != BASE_ERR_NOTFOUND)
        return rc;
    struct buf *v = value_begin(t);

    removed_encode(removed, v);
    if ((rc = row_put(t, TABLE_REMOVED, key_bytes(&key), v, err)) != BASE_OK)
        return rc;
    filed_key(&key, removed->message.item, removed->folder, removed->uid);
    v = value_begin(t);
    filing_encode(true, v);
    return row_put(t, TABLE_FILED, key_bytes(&key), v, err);
}

int mds_removed_next(struct mds_txn *t, uint32_t folder, uint32_t uid, struct mds_removed *out, struct error *err)
{
    const uint64_t after = (uint64_t)folder << 32 | uid;
    struct key key;
    struct bytes at, row;

    if (after == UINT64_MAX)
        return 0;
    message_key(&key, (uint32_t)((after + 1) >> 32), (uint32_t)(after + 1));
    at = key_bytes(&key);
    const int rc = row_seek(t, TABLE_REMOVED, MDB_SET_RANGE, &at, &row, err);

    if (rc != 1)
        return rc;
    if (at.n != 8 || !removed_decode(get_be32(at.p), get_be32(at.p + 4), row, out))
        return row_corrupt(t, TABLE_REMOVED, at, "it does not decode", err);
    return 1;
}

int mds_removed_restore(struct mds_txn *t, uint32_t folder, uint32_t uid, uint32_t dest, int64_t saved,
                        uint32_t *uid_out, struct error *err)
{
    struct mds_removed removed;
    int rc = removed_get(t, folder, uid, &removed, err);

    if (rc != BASE_OK)
        return rc;
    struct mds_message m = removed.message;

    m.folder = dest;
    m.flags &= ~FLAG_DELETED;
    m.saved_date = saved;
    m.keywords = message_keywords_keep(t, m.keywords);
    if ((rc = mds_message_add(t, &m, err)) != BASE_OK)
        return rc;
    *uid_out = m.uid;
    return removed_drop(t, folder, uid, m.item, err);
}

int mds_removed_purge(struct mds_txn *t, uint32_t folder, uint32_t uid, bool *item_gone_out, struct error *err)
{
    struct mds_removed removed;
    bool gone = false;
    int rc = removed_get(t, folder, uid, &removed, err);
    const uint64_t item = rc == BASE_OK ? removed.message.item : 0;

    if (rc == BASE_OK && (rc = removed_drop(t, folder, uid, item, err)) == BASE_OK)
        rc = item_let_go(t, item, &gone, err);
    if (item_gone_out)
        *item_gone_out = gone && rc == BASE_OK;
    return rc;
}

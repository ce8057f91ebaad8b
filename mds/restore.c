/*
 * Restoring: what a store made anew takes over from the one before, so that clients see the same mailboxes: identity of a folder, UIDs of
 * its messages. Used by the indexer's rebuild alone.
 */
#include "mds_private.h"

int mds_folder_restore(struct mds_txn *t, const struct mds_folder *old, struct error *err)
{
    struct folder_entry *e;
    const int rc = folder_entry_get(t, old->id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (e->f.exists || old->uidvalidity == 0 || old->uidnext < e->f.uidnext)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: folder %u is not new", old->id);
    e->f.uidvalidity = old->uidvalidity;
    e->f.uidnext = old->uidnext;
    if (old->highestmodseq > e->f.highestmodseq)
        e->f.highestmodseq = old->highestmodseq;
    e->f.changes_floor = e->f.highestmodseq; /* the log of the former life is not here */
    e->f.subscribed = old->subscribed;
    e->f.special_use = old->special_use;
    memcpy(e->f.object_id, old->object_id, sizeof e->f.object_id);
    e->dirty = true;
    return BASE_OK;
}

int mds_message_restore(struct mds_txn *t, struct mds_message *m, struct error *err)
{
    const uint32_t uid = m->uid;
    struct mds_message there;
    struct folder_entry *e;
    int rc = folder_entry_get(t, m->folder, &e, err);

    if (rc != BASE_OK)
        return rc;
    const uint32_t uidnext = e->f.uidnext;

    if (uid == 0 || uid >= uidnext)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: UID %u was never given", uid);
    rc = mds_message_get(t, m->folder, uid, &there, NULL);
    if (rc == BASE_OK)
        return error_set(err, BASE_ERR_EXISTS, 0, "mds: UID %u is there", uid);
    if (rc != BASE_ERR_NOTFOUND)
        return error_set(err, (enum base_err)rc, 0, "mds: UID %u cannot be looked up", uid);
    e->f.uidnext = uid; /* what mds_message_add gives next */
    rc = mds_message_add(t, m, err);
    const int again = folder_entry_get(t, m->folder, &e, err);

    if (again == BASE_OK)
        e->f.uidnext = uidnext;
    return rc != BASE_OK ? rc : again;
}

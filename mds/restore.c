/*
 * Restoring: what a store made anew takes over from the one before, so that clients see the same mailboxes: identity of
 * a folder, UIDs of its messages. Used by the indexer alone: rebuild, and a backup that is brought back.
 */
#include "columns_private.h"

/* 63 bits are what IMAP allows; some room is left for the folder's further life. */
#define MODSEQ_RESTORED_MAX (UINT64_C(1) << 62)

static bool is_restorable(const struct mds_folder *now, const struct mds_folder *old)
{
    return now->selectable && now->exists == 0 && old->uidvalidity > 0 && old->uidnext >= now->uidnext &&
           old->highestmodseq < MODSEQ_RESTORED_MAX && old->special_use <= MDS_USE_TRASH;
}

int mds_folder_restore(struct mds_txn *t, const struct mds_folder *old, struct error *err)
{
    struct folder_entry *e;
    const int rc = folder_entry_get(t, old->id, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (!is_restorable(&e->f, old))
        return error_set(err, BASE_ERR_USAGE, 0, "mds: folder %u is not new, or cannot become the old one", old->id);
    e->f.uidvalidity = old->uidvalidity;
    e->f.uidnext = old->uidnext;
    /*
     * The log of the former life is not here, and no log tells which of its messages are not restored. So the floor
     * lies above each modseq that a client may know: asked for the news since then, the store names all UIDs that are
     * gone.
     */
    if (old->highestmodseq >= e->f.highestmodseq)
        e->f.highestmodseq = old->highestmodseq + 1;
    e->f.changes_floor = e->f.highestmodseq;
    e->f.subscribed = old->subscribed;
    e->f.special_use = old->special_use;
    memcpy(e->f.object_id, old->object_id, sizeof e->f.object_id);
    e->dirty = true;
    struct renames renames;
    const int got = renames_get(t, &renames, err);

    return got == BASE_OK && renames.uidvalidity ? renames_note(t, old->uidvalidity, 0, err) : got;
}

int mds_folder_reserve(struct mds_txn *t, uint32_t *id, struct error *err)
{
    const int rc = txn_writable(t, err);

    if (rc != BASE_OK)
        return rc;
    struct counters *counters = &t->w->counters;

    if (*id != 0 && *id < counters->next_folder)
        return BASE_OK;
    if (counters->next_folder == UINT32_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: folder ids are used up", t->env->dir);
    *id = counters->next_folder++;
    t->w->counters_dirty = true;
    return BASE_OK;
}

int mds_folder_outlive(struct mds_txn *t, uint32_t folder, uint32_t uidnext, uint64_t highestmodseq, struct error *err)
{
    struct folder_entry *e;
    const int rc = folder_entry_get(t, folder, &e, err);

    if (rc != BASE_OK)
        return rc;
    if (highestmodseq >= MODSEQ_RESTORED_MAX || e->f.highestmodseq >= MODSEQ_RESTORED_MAX)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: folder %u cannot have modseqs above those of the other one",
                         folder);
    if (highestmodseq > e->f.highestmodseq)
        e->f.highestmodseq = highestmodseq;
    e->f.highestmodseq++; /* as in mds_folder_restore; a row of the log below stays, and no later change extends it */
    e->f.changes_floor = e->f.highestmodseq;
    if (uidnext > e->f.uidnext)
        e->f.uidnext = uidnext;
    e->dirty = true;
    return column_forget_modseqs(t, folder, err); /* the log that went before them does not count any more */
}

int mds_folder_renumber(struct mds_txn *t, uint32_t folder, uint32_t *uidvalidity_out, struct error *err)
{
    struct folder_entry *e;
    uint32_t highest;
    int rc = mds_uidvalidity_highest(t, &highest, err);

    if (rc == BASE_OK && highest == UINT32_MAX)
        rc = error_set(err, BASE_ERR_LIMIT, 0, "%s: a folder's UIDVALIDITY is used up", t->env->dir);
    if (rc == BASE_OK)
        rc = mds_uidvalidity_raise(t, highest + 1, err);
    if (rc != BASE_OK || (rc = folder_entry_get(t, folder, &e, err)) != BASE_OK)
        return rc;
    *uidvalidity_out = e->f.uidvalidity = highest + 1;
    e->dirty = true;
    return BASE_OK;
}

int mds_message_restore(struct mds_txn *t, struct mds_message *m, struct error *err)
{
    const uint32_t uid = m->uid;
    struct mds_message there;
    struct folder_entry *e;
    struct error why;
    int rc = folder_entry_get(t, m->folder, &e, err);

    if (rc != BASE_OK)
        return rc;
    const uint32_t uidnext = e->f.uidnext;

    if (uid == 0 || uid >= uidnext)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: UID %u was never given", uid);
    rc = mds_message_get(t, m->folder, uid, &there, &why);
    if (rc == BASE_OK)
        return error_set(err, BASE_ERR_EXISTS, 0, "mds: UID %u is there", uid);
    if (rc != BASE_ERR_NOTFOUND) {
        if (err)
            *err = why;
        return rc;
    }
    e->f.uidnext = uid; /* what the next message gets */
    rc = message_file_again(t, m, err);
    const int again = folder_entry_get(t, m->folder, &e, rc == BASE_OK ? err : NULL);

    if (again == BASE_OK)
        e->f.uidnext = uidnext;
    return rc != BASE_OK ? rc : again;
}

/*
 * A backup takes the place of an archive that went on after it was made: clients hold UIDs and modseqs that the backup
 * does not know. What it gives from now on lies above theirs, or comes under another UIDVALIDITY.
 *
 *   folder of both lives (object id and UIDVALIDITY are the same)   UIDNEXT and HIGHESTMODSEQ are raised, the log
 * begins there, and what differs has changed now folder of the backup alone renumbered: nobody knows what was given in
 * it since folder of the other one alone                                   its UIDVALIDITY counts as given
 */
#include "backup_private.h"
#include "system.h"

#include <stdlib.h>
#include <string.h>

struct former {
    uint32_t id;
    uint8_t object_id[16];
    uint32_t uidvalidity, uidnext;
    uint64_t highestmodseq;
};

static int former_compare(const void *a, const void *b)
{
    const struct former *x = a, *y = b;
    const int object = memcmp(x->object_id, y->object_id, sizeof x->object_id);
    return object ? object : (x->uidvalidity > y->uidvalidity) - (x->uidvalidity < y->uidvalidity);
}

static struct former former_of(const struct mds_folder *f)
{
    struct former out = {
        .id = f->id, .uidvalidity = f->uidvalidity, .uidnext = f->uidnext, .highestmodseq = f->highestmodseq};
    memcpy(out.object_id, f->object_id, sizeof out.object_id);
    return out;
}

/* All that clients may know of the archive that goes. Owned by the caller: free. */
static int formers_read(struct mds_txn *txn, struct former **out, size_t *n_out, uint32_t *highest, struct error *err)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    int rc = archive_folders(txn, &ids, &n, err);
    struct former *at = calloc(n + 1, sizeof *at);
    ASSERT(at);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct mds_folder f;
        rc = mds_folder_get(txn, ids[i], &f, err);
        if (rc == 0)
            at[i] = former_of(&f);
    }
    if (rc == 0)
        rc = mds_uidvalidity_highest(txn, highest, err);
    free(ids);
    if (n)
        qsort(at, n, sizeof *at, former_compare);
    *out = at;
    *n_out = n;
    return rc;
}

uint32_t archive_uidvalidity_unknown(uint32_t highest)
{
    return mds_uidvalidity_by_clock(indexer_wall_ns() / 1000000000, highest);
}

struct outlive {
    struct mds_txn *old; /* with the table below; NULL: lost */
    const struct former *formers;
    size_t n;
    struct mds_env *env; /* the copy */
    struct mds_txn *txn;
    unsigned written;
    struct indexer_copied *out;
};

/* Nobody else uses the copy: a turn ends only so that no transaction grows with the archive. */
static int breathe(struct outlive *o, struct error *err)
{
    if (++o->written % ARCHIVE_TURN_ROWS != 0)
        return 0;
    int rc = mds_write_commit(&o->txn, err);
    return rc == 0 ? mds_write_begin(o->env, &o->txn, err) : rc;
}

static bool is_as_known(const struct outlive *o, const struct mds_message *m, uint32_t folder)
{
    struct mds_message known;
    return mds_message_get(o->old, folder, m->uid, &known, NULL) == 0 && known.modseq == m->modseq &&
           known.flags == m->flags && bytes_equal(known.keywords, m->keywords);
}

/* A message that is not as clients know it has changed, now. */
static int messages_outlive(struct outlive *o, uint32_t id, uint32_t former_id, struct error *err)
{
    struct mds_message m;
    uint32_t uid = 1;
    int rc;
    while ((rc = mds_message_next(o->txn, id, uid, &m, err)) > 0) {
        uid = m.uid + 1;
        if (!is_as_known(o, &m, former_id) &&
            ((rc = mds_message_set_flags(o->txn, id, m.uid, m.flags, m.keywords, err)) < 0 ||
             (rc = breathe(o, err)) < 0))
            break;
        if (uid == 0)
            return 0;
    }
    return rc;
}

static int folder_outlive(struct outlive *o, uint32_t id, struct error *err)
{
    struct mds_folder f;
    uint32_t given;
    int rc = mds_folder_get(o->txn, id, &f, err);
    if (rc < 0 || !f.selectable)
        return rc;
    const struct former key = former_of(&f);
    const struct former *same = o->n ? bsearch(&key, o->formers, o->n, sizeof *o->formers, former_compare) : NULL;
    if (!same) {
        o->out->renumbered++;
        return mds_folder_renumber(o->txn, id, &given, err);
    }
    o->out->continued++;
    rc = mds_folder_outlive(o->txn, id, same->uidnext, same->highestmodseq, err);
    return rc == 0 ? messages_outlive(o, id, same->id, err) : rc;
}

static int fresh_outlive(struct outlive *o, const char *fresh, uint32_t highest, struct error *err)
{
    const struct mds_options opts = {0};
    uint32_t *ids = NULL;
    size_t ids_n = 0;
    int rc = mds_open(fresh, &opts, &o->env, err);
    if (rc == 0)
        rc = mds_write_begin(o->env, &o->txn, err);
    if (rc == 0 && o->out->former_lost) {
        rc = mds_uidvalidity_highest(o->txn, &highest, err);
        highest = archive_uidvalidity_unknown(highest);
    }
    if (rc == 0)
        rc = mds_uidvalidity_raise(o->txn, highest, err);
    if (rc == 0)
        rc = archive_folders(o->txn, &ids, &ids_n, err);
    for (size_t i = 0; rc == 0 && i < ids_n; i++)
        rc = folder_outlive(o, ids[i], err);
    if (rc == 0)
        rc = mds_write_commit(&o->txn, err);
    mds_write_abort(&o->txn);
    mds_close(&o->env);
    free(ids);
    return rc;
}

int backup_outlive(struct mds_env *old, const struct mds_archive_info *info, bool was_there, const char *fresh,
                   struct mds_txn **hold, struct indexer_copied *out, struct error *err)
{
    struct former *formers = NULL;
    size_t n = 0;
    uint32_t highest = 0;
    out->former_lost = was_there && (!old || mds_write_begin(old, hold, NULL) < 0 ||
                                     formers_read(*hold, &formers, &n, &highest, NULL) < 0);
    if (highest < info->uidvalidity_floor)
        highest = info->uidvalidity_floor;
    struct outlive o = {.old = *hold, .formers = formers, .n = out->former_lost ? 0 : n, .out = out};
    const int rc = fresh_outlive(&o, fresh, highest, err);
    free(formers);
    return rc;
}

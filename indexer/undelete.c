/* What people expunged, brought back. */
#include "archive_private.h"
#include "system.h"

#include <stdlib.h>
#include <string.h>

/* One that qualifies; its name is copied, as a write ends the transaction's views. */
struct kept {
    uint32_t folder, uid;
    struct buf name;
    struct mds_message message;
    int64_t removed_at;
};

/* The next after (k->folder, k->uid): 1, 0 no more. */
static int kept_next(const struct indexer_undelete *u, struct mds_txn *txn, struct kept *k, struct error *err)
{
    struct mds_removed r;
    int rc;
    while ((rc = mds_removed_next(txn, k->folder, k->uid, &r, err)) > 0) {
        k->folder = r.folder;
        k->uid = r.uid;
        if (r.removed_at < u->since || (u->folder && !bytes_equal(r.folder_name, bytes_str(u->folder))))
            continue;
        buf_reset(&k->name);
        buf_append_bytes(&k->name, r.folder_name);
        k->message = r.message;
        k->removed_at = r.removed_at;
        return 1;
    }
    return rc;
}

static void tell(const struct indexer_undelete *u, struct kept *k)
{
    buf_append_byte(&k->name, 0);
    k->name.n--;
    const struct indexer_kept kept = {.folder = (const char *)k->name.p,
                                      .uid = k->uid,
                                      .removed_at = k->removed_at,
                                      .internal_date = k->message.internal_date,
                                      .size = k->message.size_crlf};
    if (u->kept)
        u->kept(&kept, u->arg);
}

static int list_all(const struct indexer_undelete *u, struct mds_env *env, uint64_t *count, struct error *err)
{
    struct kept k = {0};
    struct mds_txn *txn = NULL;
    int rc = mds_read_begin(env, &txn, err);
    if (rc == 0)
        rc = 1;
    while (rc > 0 && (rc = kept_next(u, txn, &k, err)) > 0) {
        tell(u, &k);
        ++*count;
        if (*count % ARCHIVE_TURN_ROWS == 0) {
            int went_on = archive_check_cancel(&u->at, err);
            if (went_on == 0)
                went_on = mds_read_renew(txn, err);
            rc = went_on < 0 ? went_on : 1;
        }
    }
    mds_read_end(&txn);
    buf_release(&k.name);
    return rc;
}

/* Its folder if that is still there under any name, else the one that has its old name now. */
static int destination(struct mds_txn *txn, const struct kept *k, uint32_t *out, struct error *err)
{
    struct mds_folder f;
    int rc = mds_folder_get(txn, k->folder, &f, NULL);
    if (rc == 0 && f.selectable) {
        *out = k->folder;
        return 0;
    }
    rc = mds_folder_create(txn, buf_bytes(&k->name), out, err);
    return rc == BASE_ERR_EXISTS ? 0 : rc;
}

static int restore_all(const struct indexer_undelete *u, struct mds_env *env, uint64_t *count, struct error *err)
{
    struct archive_turn t = {.at = &u->at, .env = env};
    struct kept k = {0};
    int rc = 1;
    while (rc > 0 && (rc = archive_turn_next(&t, err)) == 0 && (rc = kept_next(u, t.txn, &k, err)) > 0) {
        uint32_t dest = 0, uid = 0;
        int done = destination(t.txn, &k, &dest, err);
        if (done == 0)
            done = mds_removed_restore(t.txn, k.folder, k.uid, dest, indexer_wall_ns() / 1000000000, &uid, err);
        if (done < 0) {
            rc = done;
            break;
        }
        tell(u, &k);
        ++*count;
    }
    rc = archive_turn_end(&t, rc, err);
    buf_release(&k.name);
    return rc;
}

int indexer_undelete(const struct indexer_undelete *u, uint64_t *count_out, struct error *err)
{
    struct mds_env *env = NULL;
    *count_out = 0;
    int rc = archive_open(&u->at, !u->list, &env, err);
    if (rc == 0)
        rc = u->list ? list_all(u, env, count_out, err) : restore_all(u, env, count_out, err);
    mds_close(&env);
    return rc;
}

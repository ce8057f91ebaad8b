/* One folder by name: STATUS, and what SELECT needs. */
#include "query_private.h"

int query_folder_find(struct mds_txn *txn, const char *name, struct mds_folder *out, struct error *err)
{
    struct buf stored = {0};
    int rc = query_name_store(bytes_str(name), &stored, err);

    if (rc >= 0)
        rc = mds_folder_find(txn, buf_bytes(&stored), out, err);
    if (rc == BASE_ERR_SYNTAX || rc == BASE_ERR_LIMIT) /* a name that no folder can have */
        rc = BASE_ERR_NOTFOUND;
    if (rc >= 0 && !out->selectable)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "the folder is only a level on the way to others");
    buf_release(&stored);
    return rc;
}

/* RFC 8474: letters, digits, "-", "_"; a letter first, and no two ids that differ in case alone: base 32. */
void query_mailbox_id(const uint8_t object_id[16], char out[33])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned bits = 0, n = 0;
    char *at = out;

    *at++ = 'F';
    for (size_t i = 0; i < 16; i++) {
        bits = bits << 8 | object_id[i];
        for (n += 8; n >= 5; n -= 5)
            *at++ = digits[bits >> (n - 5) & 31];
        bits &= (1u << n) - 1;
    }
    *at++ = digits[bits << (5 - n) & 31];
    *at = 0;
}

void query_status_of(const struct mds_folder *f, struct mdsq_status *out)
{
    *out = (struct mdsq_status){
        .messages = f->exists,
        .unseen = f->unseen,
        .deleted = f->deleted,
        .uidnext = f->uidnext,
        .uidvalidity = f->uidvalidity,
        .highestmodseq = f->highestmodseq,
        .size = f->bytes,
    };
    query_mailbox_id(f->object_id, out->mailbox_id);
}

int mdsq_status(struct mdsq_reader *reader, const char *folder, struct mdsq_status *out, struct mdsq_error *err)
{
    struct error e;
    struct mds_folder f;

    query_error_init(&e);
    *out = (struct mdsq_status){0};

    int rc = query_folder_find(reader->txn, folder, &f, &e);

    if (rc >= 0) {
        query_status_of(&f, out);
        rc = query_recent_count(reader, &f, &out->recent, &e);
    }
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

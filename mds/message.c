/*
 * Messages: an item filed in a folder. Each change touches the row, the folder's counters, its UID sets and its logs,
 * and spends one modseq.
 */
#include "columns_private.h"

void message_key(struct key *key, uint32_t folder, uint32_t uid)
{
    key_reset(key);
    key_u32(key, folder);
    key_u32(key, uid);
}

static int no_message(struct mds_txn *t, uint32_t folder, uint32_t uid, struct error *err)
{
    return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: folder %u has no message %u", t->env->dir, folder, uid);
}

static int message_put(struct mds_txn *t, const struct mds_message *m, struct error *err)
{
    struct key key;
    struct buf *v = value_begin(t);

    message_key(&key, m->folder, m->uid);
    message_encode(m, v);
    return row_put(t, TABLE_MESSAGES, key_bytes(&key), v, err);
}

static int flags_check(struct mds_txn *t, uint32_t flags, struct bytes keywords, struct error *err)
{
    if (flags & ~MDS_FLAGS_ALL || !keywords_valid(keywords))
        return error_set(err, BASE_ERR_USAGE, 0, "mds: unknown flag bits, or keyword ids out of order");
    if (keywords.n) {
        const size_t last = keywords.n - 2;

        if ((keywords.p[last] << 8 | keywords.p[last + 1]) >= mds_keyword_count(t))
            return error_set(err, BASE_ERR_USAGE, 0, "mds: an unknown keyword id");
    }
    return BASE_OK;
}

/* ---- sets and counters ---- */

static int set_flags_change(struct mds_txn *t, uint32_t folder, uint32_t uid, uint32_t bits, bool member,
                            struct error *err)
{
    int rc = BASE_OK;

    for (uint32_t bit = 0; bit < FLAG_BITS && rc == BASE_OK; bit++) {
        if (bits >> bit & 1)
            rc = set_change(t, folder, MDS_SET_FLAG(bit), uid, member, err);
    }
    return rc;
}

static uint16_t keyword_at(struct bytes ids, size_t at)
{
    return (uint16_t)(ids.p[at] << 8 | ids.p[at + 1]);
}

/* Those of `these` that are not in `others`, both ascending. */
static int set_keywords_change(struct mds_txn *t, uint32_t folder, uint32_t uid, struct bytes these,
                               struct bytes others, bool member, struct error *err)
{
    size_t j = 0;
    int rc = BASE_OK;

    for (size_t i = 0; i < these.n && rc == BASE_OK; i += 2) {
        const uint16_t id = keyword_at(these, i);

        while (j < others.n && keyword_at(others, j) < id)
            j += 2;
        if (j >= others.n || keyword_at(others, j) != id)
            rc = set_change(t, folder, MDS_SET_KEYWORD(id), uid, member, err);
    }
    return rc;
}

static void counters_apply(struct mds_folder *f, uint32_t flags, bool add)
{
    const uint32_t by = add ? 1u : UINT32_MAX; /* -1, modulo 2^32 */

    f->unseen += flags & FLAG_SEEN ? 0 : by;
    f->deleted += flags & FLAG_DELETED ? by : 0;
}

/* ---- reading ---- */

int mds_message_get(struct mds_txn *t, uint32_t folder, uint32_t uid, struct mds_message *out, struct error *err)
{
    struct key key;
    struct bytes row;

    message_key(&key, folder, uid);
    const int rc = row_get(t, TABLE_MESSAGES, key_bytes(&key), &row, err);

    if (rc == BASE_ERR_NOTFOUND)
        return no_message(t, folder, uid, err);
    if (rc == BASE_OK && !message_decode(folder, uid, row, out))
        return row_corrupt(t, TABLE_MESSAGES, key_bytes(&key), "it does not decode", err);
    return rc;
}

int mds_message_next(struct mds_txn *t, uint32_t folder, uint32_t uid, struct mds_message *out, struct error *err)
{
    const bool step = t->message_at_known && t->message_at_folder == folder && uid == (uint64_t)t->message_at_uid + 1;
    struct key key;
    struct bytes at, row;

    message_key(&key, folder, uid);
    at = key_bytes(&key);
    t->message_at_known = false;
    const int rc = row_seek(t, TABLE_MESSAGES, step ? MDB_NEXT : MDB_SET_RANGE, &at, &row, err);

    if (rc != 1)
        return rc;
    if (at.n != 8)
        return row_corrupt(t, TABLE_MESSAGES, at, "it does not decode", err);
    if (get_be32(at.p) != folder)
        return 0;
    if (!message_decode(folder, get_be32(at.p + 4), row, out))
        return row_corrupt(t, TABLE_MESSAGES, at, "it does not decode", err);
    t->message_at_known = true;
    t->message_at_folder = folder;
    t->message_at_uid = out->uid;
    return 1;
}

/* ---- writing ---- */

static int item_check(struct mds_txn *t, uint64_t item, struct item_facts *facts, struct error *err)
{
    const int rc = column_item_facts(t, item, facts, err);

    return rc == BASE_ERR_NOTFOUND ? error_set(err, BASE_ERR_USAGE, 0, "mds: filing item %llu, which is not there",
                                               (unsigned long long)item)
                                   : rc;
}

/* Under the folder's next UID. */
static int message_file(struct mds_txn *t, struct mds_message *m, struct item_facts *facts, struct error *err)
{
    struct folder_entry *e;
    struct key key;
    int rc = folder_entry_get(t, m->folder, &e, err);

    if (rc != BASE_OK || (rc = flags_check(t, m->flags, m->keywords, err)) != BASE_OK)
        return rc;
    if ((rc = item_check(t, m->item, facts, err)) != BASE_OK)
        return rc;
    if (!e->f.selectable)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: folder %u is only a level: nobody would see the message",
                         m->folder);
    if (e->f.uidnext == UINT32_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: folder %u has used up its UIDs", t->env->dir, m->folder);
    m->uid = e->f.uidnext;
    m->modseq = e->f.highestmodseq + 1;
    if ((rc = message_put(t, m, err)) != BASE_OK)
        return rc;
    struct buf *v = value_begin(t);

    filed_key(&key, m->item, m->folder, m->uid);
    if ((rc = row_put(t, TABLE_FILED, key_bytes(&key), v, err)) != BASE_OK ||
        (rc = set_change(t, m->folder, MDS_SET_EXISTS, m->uid, true, err)) != BASE_OK ||
        (rc = set_flags_change(t, m->folder, m->uid, m->flags, true, err)) != BASE_OK ||
        (rc = set_keywords_change(t, m->folder, m->uid, m->keywords, (struct bytes){0}, true, err)) != BASE_OK ||
        (rc = log_add(t, e, LOG_CHANGES, m->modseq, m->uid, err)) != BASE_OK)
        return rc;
    e->f.uidnext++;
    e->f.highestmodseq++;
    e->f.exists++;
    e->f.bytes += m->size_crlf;
    counters_apply(&e->f, m->flags, true);
    e->dirty = true;
    t->w->counters.messages++;
    t->w->counters_dirty = true;
    return BASE_OK;
}

int mds_message_add(struct mds_txn *t, struct mds_message *m, struct error *err)
{
    struct item_facts facts;
    const int rc = message_file(t, m, &facts, err);

    return rc == BASE_OK ? column_add(t, m, &facts, err) : rc;
}

int message_file_again(struct mds_txn *t, struct mds_message *m, struct error *err)
{
    struct item_facts facts;
    const int rc = message_file(t, m, &facts, err);

    return rc == BASE_OK ? column_restored(t, m->folder, m->uid, err) : rc;
}

int mds_message_set_flags(struct mds_txn *t, uint32_t folder, uint32_t uid, uint32_t flags, struct bytes keywords,
                          struct error *err)
{
    struct folder_entry *e;
    struct mds_message m;
    int rc = folder_entry_get(t, folder, &e, err);

    if (rc != BASE_OK || (rc = flags_check(t, flags, keywords, err)) != BASE_OK ||
        (rc = mds_message_get(t, folder, uid, &m, err)) != BASE_OK)
        return rc;
    const uint32_t old = m.flags;

    /* The row's keywords, and perhaps the caller's, are views that die with the first put. */
    buf_reset(&t->name);
    buf_append_bytes(&t->name, m.keywords);
    buf_append_bytes(&t->name, keywords);
    const struct bytes old_keywords = bytes_slice(buf_bytes(&t->name), 0, m.keywords.n);
    const struct bytes new_keywords = bytes_slice(buf_bytes(&t->name), m.keywords.n, SIZE_MAX);

    m.flags = flags;
    m.keywords = new_keywords;
    m.modseq = e->f.highestmodseq + 1;
    if ((rc = message_put(t, &m, err)) != BASE_OK ||
        (rc = set_flags_change(t, folder, uid, flags & ~old, true, err)) != BASE_OK ||
        (rc = set_flags_change(t, folder, uid, old & ~flags, false, err)) != BASE_OK ||
        (rc = set_keywords_change(t, folder, uid, new_keywords, old_keywords, true, err)) != BASE_OK ||
        (rc = set_keywords_change(t, folder, uid, old_keywords, new_keywords, false, err)) != BASE_OK ||
        (rc = log_add(t, e, LOG_CHANGES, m.modseq, uid, err)) != BASE_OK)
        return rc;
    counters_apply(&e->f, old, false);
    counters_apply(&e->f, flags, true);
    e->f.highestmodseq++;
    e->dirty = true;
    return BASE_OK;
}

/* ---- taking out ---- */

struct bytes message_keywords_keep(struct mds_txn *t, struct bytes keywords)
{
    buf_reset(&t->name);
    buf_append_bytes(&t->name, keywords);
    return buf_bytes(&t->name);
}

static int filing_take_out(struct mds_txn *t, const struct mds_message *m, bool aside, struct error *err)
{
    struct key key;
    bool there;

    filed_key(&key, m->item, m->folder, m->uid);
    if (aside) {
        struct buf *v = value_begin(t);

        filing_encode(true, v);
        return row_put(t, TABLE_FILED, key_bytes(&key), v, err);
    }
    const int rc = row_delete(t, TABLE_FILED, key_bytes(&key), &there, err);

    return rc == BASE_OK && !there
               ? row_corrupt(t, TABLE_FILED, key_bytes(&key), "the filing of a message is missing", err)
               : rc;
}

int message_take_out(struct mds_txn *t, const struct mds_message *m, bool aside, struct error *err)
{
    struct folder_entry *e;
    struct key key;
    int rc = folder_entry_get(t, m->folder, &e, err);

    message_key(&key, m->folder, m->uid);
    if (rc != BASE_OK || (rc = row_delete(t, TABLE_MESSAGES, key_bytes(&key), NULL, err)) != BASE_OK ||
        (rc = filing_take_out(t, m, aside, err)) != BASE_OK ||
        (rc = set_change(t, m->folder, MDS_SET_EXISTS, m->uid, false, err)) != BASE_OK ||
        (rc = set_flags_change(t, m->folder, m->uid, m->flags, false, err)) != BASE_OK ||
        (rc = set_keywords_change(t, m->folder, m->uid, m->keywords, (struct bytes){0}, false, err)) != BASE_OK ||
        (rc = log_add(t, e, LOG_EXPUNGED, e->f.highestmodseq + 1, m->uid, err)) != BASE_OK)
        return rc;
    e->f.highestmodseq++;
    e->f.exists--;
    e->f.bytes -= m->size_crlf;
    counters_apply(&e->f, m->flags, false);
    e->dirty = true;
    t->w->counters.messages--;
    t->w->counters_dirty = true;
    return column_left(t, m->folder, m->uid, err);
}

/* A message whose row and keywords outlive the next put. */
static int message_hold(struct mds_txn *t, uint32_t folder, uint32_t uid, struct mds_message *out, struct error *err)
{
    int rc = txn_writable(t, err);

    if (rc == BASE_OK && (rc = mds_message_get(t, folder, uid, out, err)) == BASE_OK)
        out->keywords = message_keywords_keep(t, out->keywords);
    return rc;
}

int mds_message_remove(struct mds_txn *t, uint32_t folder, uint32_t uid, bool *item_gone_out, struct error *err)
{
    struct mds_message m;
    bool gone = false;
    int rc = message_hold(t, folder, uid, &m, err);

    if (rc == BASE_OK && (rc = message_take_out(t, &m, false, err)) == BASE_OK)
        rc = item_let_go(t, m.item, &gone, err);
    if (item_gone_out)
        *item_gone_out = gone && rc == BASE_OK;
    return rc;
}

/* ---- copying and moving: rows, never item bytes ---- */

static int message_add_as(struct mds_txn *t, const struct mds_message *m, uint32_t dest, int64_t saved,
                          uint32_t *uid_out, struct error *err)
{
    struct mds_message copy = *m;

    copy.folder = dest;
    copy.saved_date = saved;
    const int rc = mds_message_add(t, &copy, err);

    *uid_out = copy.uid;
    return rc;
}

int mds_message_copy(struct mds_txn *t, uint32_t folder, uint32_t uid, uint32_t dest, int64_t saved, uint32_t *uid_out,
                     struct error *err)
{
    struct mds_message m;
    const int rc = message_hold(t, folder, uid, &m, err);

    return rc == BASE_OK ? message_add_as(t, &m, dest, saved, uid_out, err) : rc;
}

int mds_message_move(struct mds_txn *t, uint32_t folder, uint32_t uid, uint32_t dest, int64_t saved, uint32_t *uid_out,
                     struct error *err)
{
    struct mds_message m;
    int rc = message_hold(t, folder, uid, &m, err);

    if (rc == BASE_OK && (rc = message_add_as(t, &m, dest, saved, uid_out, err)) == BASE_OK)
        rc = message_take_out(t, &m, false, err);
    return rc;
}

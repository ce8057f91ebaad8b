/* Items: rows, their words, and which messages they are filed as. */
#include "columns_private.h"

void item_key(struct key *key, uint64_t id)
{
    key_reset(key);
    key_u64(key, id);
}

void filed_key(struct key *key, uint64_t item, uint32_t folder, uint32_t uid)
{
    key_reset(key);
    key_u64(key, item);
    key_u32(key, folder);
    key_u32(key, uid);
}

/* The first filing of the item behind *pos (folder and UID), of messages or of what is kept aside. 1 more, 0 done. */
static int filing_next(struct mds_txn *t, uint64_t item, bool aside, uint64_t *pos, struct error *err)
{
    struct key key;
    struct bytes at, row;
    bool is_aside;
    int rc;

    if (*pos == UINT64_MAX)
        return 0;
    filed_key(&key, item, (uint32_t)((*pos + 1) >> 32), (uint32_t)(*pos + 1));
    at = key_bytes(&key);
    for (rc = row_seek(t, TABLE_FILED, MDB_SET_RANGE, &at, &row, err); rc == 1 && at.n >= 8 && get_be64(at.p) == item;
         rc = row_seek(t, TABLE_FILED, MDB_NEXT, &at, &row, err)) {
        if (at.n != 16 || !filing_decode(row, &is_aside))
            return row_corrupt(t, TABLE_FILED, at, "it does not decode", err);
        *pos = get_be64(at.p + 8);
        if (is_aside == aside)
            return 1;
    }
    return rc < 0 ? rc : 0;
}

/* ---- words as entries ---- */

struct entries {
    struct buf e[PACK_KINDS];
};

static void entries_encode(const struct mds_item_words *words, struct entries *out)
{
    for (unsigned i = 0; i < PACK_KINDS; i++)
        (void)buf_reserve(&out->e[i], 1); /* an empty entry is an entry: it has an address */
    wire_encode(words->envelope, words->bodystructure, &out->e[PACK_WIRE]);
    headers_encode(words->headers, words->headers_complete, &out->e[PACK_HEADERS]);
    buf_append_bytes(&out->e[PACK_SORT], words->sort);
}

static void entries_release(struct entries *entries)
{
    for (unsigned i = 0; i < PACK_KINDS; i++)
        buf_release(&entries->e[i]);
}

static int entries_append(struct mds_txn *t, uint64_t id, const struct mds_item_words *words, struct error *err)
{
    static const uint8_t nothing;
    struct buf *entry = &t->w->entry;
    int rc;

    buf_reset(entry);
    wire_encode(words->envelope, words->bodystructure, entry);
    if ((rc = pack_append(t, PACK_WIRE, id, buf_bytes(entry), err)) != BASE_OK)
        return rc;
    buf_reset(entry);
    headers_encode(words->headers, words->headers_complete, entry);
    if ((rc = pack_append(t, PACK_HEADERS, id, buf_bytes(entry), err)) != BASE_OK)
        return rc;
    return pack_append(t, PACK_SORT, id, words->sort.n ? words->sort : bytes_of(&nothing, 0), err);
}

static void defects_count(struct counters *c, uint64_t defects, int by)
{
    for (; defects; defects &= defects - 1)
        c->defects[__builtin_ctzll(defects)] += (uint64_t)(int64_t)by;
}

/* ---- rows ---- */

static int item_put(struct mds_txn *t, const struct mds_item *it, struct error *err)
{
    struct key key;
    struct buf *v = value_begin(t);

    item_key(&key, it->id);
    item_encode(it, v);
    return row_put(t, TABLE_ITEMS, key_bytes(&key), v, err);
}

int mds_item_add(struct mds_txn *t, struct mds_item *it, const struct mds_item_words *words, struct error *err)
{
    int rc = txn_writable(t, err);

    if (rc != BASE_OK)
        return rc;
    if (it->locator.name.n > MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a locator's name has %zu bytes, %u are allowed",
                         it->locator.name.n, MDS_NAME_MAX);
    struct counters *c = &t->w->counters;

    it->id = c->next_item;
    it->refs = 0;
    if ((rc = item_put(t, it, err)) != BASE_OK || (rc = entries_append(t, it->id, words, err)) != BASE_OK ||
        (rc = hashes_add(t, it, err)) != BASE_OK)
        return rc;
    c->next_item++;
    c->items++;
    column_item_added(t, it);
    defects_count(c, it->defects, 1);
    t->w->counters_dirty = true;
    return BASE_OK;
}

int item_missing(struct mds_txn *t, uint64_t id, struct error *err)
{
    return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: there is no item %llu", t->env->dir, (unsigned long long)id);
}

int item_row(struct mds_txn *t, uint64_t id, struct mds_item *out, struct error *err)
{
    struct key key;
    struct bytes row;

    item_key(&key, id);
    const int rc = row_get(t, TABLE_ITEMS, key_bytes(&key), &row, err);

    if (rc == BASE_ERR_NOTFOUND)
        return item_missing(t, id, err);
    if (rc == BASE_OK && !item_decode(id, row, out))
        return row_corrupt(t, TABLE_ITEMS, key_bytes(&key), "it does not decode", err);
    return rc;
}

int item_refs(struct mds_txn *t, uint64_t item, uint32_t *out, struct error *err)
{
    uint64_t pos = 0;
    int rc;

    *out = 0;
    while ((rc = filing_next(t, item, false, &pos, err)) == 1) {
        if (*out < UINT32_MAX)
            ++*out;
    }
    return rc;
}

int mds_item_get(struct mds_txn *t, uint64_t id, struct mds_item *out, struct error *err)
{
    const int rc = item_row(t, id, out, err);

    return rc == BASE_OK ? item_refs(t, id, &out->refs, err) : rc;
}

int mds_item_update(struct mds_txn *t, const struct mds_item *it, const struct mds_item_words *words, struct error *err)
{
    struct entries entries = {0};
    struct mds_item old;
    int rc = txn_writable(t, err);

    if (rc != BASE_OK || (rc = item_row(t, it->id, &old, err)) != BASE_OK)
        return rc;
    if (it->locator.name.n > MDS_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "mds: a locator's name is too long");
    const bool other_keys = memcmp(&old.hash, &it->hash, sizeof old.hash) != 0 || old.msgid_hash != it->msgid_hash;
    const struct mds_item old_keys = {.id = old.id, .hash = old.hash, .msgid_hash = old.msgid_hash};
    const uint64_t old_defects = old.defects;
    const bool other_facts =
        old.has_sent_date != it->has_sent_date || old.sent_zone != it->sent_zone || old.thread_id != it->thread_id;

    if (words) /* before any write: they may be views of this transaction */
        entries_encode(words, &entries);
    rc = item_put(t, it, err);
    for (unsigned i = 0; words && rc == BASE_OK && i < PACK_KINDS; i++)
        rc = pack_replace(t, (enum pack_kind)i, it->id, buf_bytes(&entries.e[i]), err);
    if (rc == BASE_OK && other_keys && (rc = hashes_remove(t, &old_keys, err)) == BASE_OK)
        rc = hashes_add(t, it, err);
    if (other_facts && rc == BASE_OK) {
        column_item_removed(t, it->id);
        rc = column_forget_item(t, it->id, err);
    }
    if (rc == BASE_OK) {
        defects_count(&t->w->counters, old_defects, -1);
        defects_count(&t->w->counters, it->defects, 1);
        t->w->counters_dirty = true;
    }
    entries_release(&entries);
    return rc;
}

static int item_remove(struct mds_txn *t, uint64_t id, struct error *err)
{
    struct counters *c = &t->w->counters;
    struct mds_item it;
    struct key key;
    int rc = item_row(t, id, &it, err);

    if (rc != BASE_OK)
        return rc;
    const struct mds_item keys = {.id = id, .hash = it.hash, .msgid_hash = it.msgid_hash, .defects = it.defects};

    column_item_removed(t, id);
    item_key(&key, id);
    if ((rc = row_delete(t, TABLE_ITEMS, key_bytes(&key), NULL, err)) != BASE_OK)
        return rc;
    for (unsigned i = 0; rc == BASE_OK && i < PACK_KINDS; i++)
        rc = pack_replace(t, (enum pack_kind)i, id, (struct bytes){0}, err);
    if (rc != BASE_OK || (rc = hashes_remove(t, &keys, err)) != BASE_OK)
        return rc;
    c->items--;
    c->items_removed++;
    defects_count(c, keys.defects, -1);
    t->w->counters_dirty = true;
    return BASE_OK;
}

int item_let_go(struct mds_txn *t, uint64_t item, bool *gone_out, struct error *err)
{
    struct key key;
    struct bytes at, row;

    *gone_out = false;
    filed_key(&key, item, 0, 0);
    at = key_bytes(&key);
    const int rc = row_seek(t, TABLE_FILED, MDB_SET_RANGE, &at, &row, err);

    if (rc < 0 || (rc == 1 && at.n >= 8 && get_be64(at.p) == item))
        return rc < 0 ? rc : BASE_OK;
    *gone_out = true;
    return item_remove(t, item, err);
}

int mds_item_end(struct mds_txn *t, uint64_t *out, struct error *err)
{
    struct counters c;
    const int rc = t->w ? (c = t->w->counters, BASE_OK) : meta_load_counters(t, &c, err);

    *out = rc == BASE_OK ? c.next_item : 0;
    return rc;
}

int item_next(struct mds_txn *t, uint64_t from, struct mds_item *out, struct error *err)
{
    const bool step = t->item_at_known && from == t->item_at + 1;
    struct key key;
    struct bytes at, row;

    item_key(&key, from);
    at = key_bytes(&key);
    t->item_at_known = false;
    int rc = row_seek(t, TABLE_ITEMS, step ? MDB_NEXT : MDB_SET_RANGE, &at, &row, err);

    if (rc != 1)
        return rc;
    if (at.n != 8 || !item_decode(get_be64(at.p), row, out))
        return row_corrupt(t, TABLE_ITEMS, at, "it does not decode", err);
    t->item_at = out->id;
    t->item_at_known = true;
    return 1;
}

int mds_item_next(struct mds_txn *t, uint64_t from, struct mds_item *out, struct error *err)
{
    int rc = item_next(t, from, out, err);

    if (rc == 1 && (rc = item_refs(t, out->id, &out->refs, err)) == BASE_OK)
        return 1;
    t->item_at_known = false;
    return rc;
}

static int item_filings(struct mds_txn *t, uint64_t item, bool aside, uint64_t *pos, uint32_t *folder_out,
                        uint32_t *uid_out, struct error *err)
{
    const int rc = filing_next(t, item, aside, pos, err);

    if (rc == 1) {
        *folder_out = (uint32_t)(*pos >> 32);
        *uid_out = (uint32_t)*pos;
    }
    return rc;
}

int mds_item_messages(struct mds_txn *t, uint64_t item, uint64_t *pos, uint32_t *folder_out, uint32_t *uid_out,
                      struct error *err)
{
    return item_filings(t, item, false, pos, folder_out, uid_out, err);
}

int mds_item_removed(struct mds_txn *t, uint64_t item, uint64_t *pos, uint32_t *folder_out, uint32_t *uid_out,
                     struct error *err)
{
    return item_filings(t, item, true, pos, folder_out, uid_out, err);
}

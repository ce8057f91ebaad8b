/* Verification of items, packs, hashes and sources against each other. */
#include "mds_private.h"

/* ---- items ---- */

struct items_check {
    struct verify *v;
    struct mds_words *words;
    bool hashes;
    uint64_t items, msgids;
    uint64_t defects[64];
};

static int check_hash(struct items_check *c, enum table table, const struct key *key, uint64_t id, struct error *err)
{
    struct bytes row;
    const int rc = row_get(c->v->t, table, key_bytes(key), &row, err);

    if (rc == BASE_ERR_NOTFOUND)
        verify_say(c->v, "item %llu: missing in table %s", (unsigned long long)id, table_names[table]);
    return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc;
}

static int check_hashes(struct items_check *c, const struct mds_item *it, struct error *err)
{
    struct key key = {.n = 0};
    int rc;

    c->msgids += it->msgid_hash != 0;
    if (!c->hashes)
        return BASE_OK;
    key_raw(&key, bytes_of(it->hash.b, HASH128_BYTES));
    key_u64(&key, it->id);
    if ((rc = check_hash(c, TABLE_HASHES, &key, it->id, err)) != BASE_OK || it->msgid_hash == 0)
        return rc;
    key_reset(&key);
    key_u64(&key, it->msgid_hash);
    key_u64(&key, it->id);
    return check_hash(c, TABLE_MSGIDS, &key, it->id, err);
}

static void check_words(struct items_check *c, uint64_t id)
{
    struct bytes a, b;
    struct mds_sort sort;
    struct error why;
    bool complete;

    if (mds_words_wire(c->words, id, &a, &b, &why) != BASE_OK ||
        mds_words_headers(c->words, id, &a, &complete, &why) != BASE_OK ||
        mds_words_sort(c->words, id, &sort, &why) != BASE_OK)
        verify_say(c->v, "item %llu: %s", (unsigned long long)id, why.text);
}

static bool is_kept_aside(struct mds_txn *t, uint64_t item)
{
    uint32_t folder, uid;
    uint64_t pos = 0;

    return mds_item_removed(t, item, &pos, &folder, &uid, NULL) == 1;
}

static int check_item(struct items_check *c, const struct mds_item *it, struct error *err)
{
    c->items++;
    if (it->refs == 0 && !is_kept_aside(c->v->t, it->id))
        verify_say(c->v, "item %llu: nothing files it", (unsigned long long)it->id);
    if (it->id >= c->v->counters.next_item)
        verify_say(c->v, "item %llu: the next id to give is %llu", (unsigned long long)it->id,
                   (unsigned long long)c->v->counters.next_item);
    for (uint64_t bits = it->defects; bits; bits &= bits - 1)
        c->defects[__builtin_ctzll(bits)]++;
    check_words(c, it->id);
    return check_hashes(c, it, err);
}

int verify_items(struct verify *v, struct error *err)
{
    struct items_check c = {.v = v, .hashes = mds_hashes_complete(v->t)};
    struct mds_item it;
    int rc = mds_words_new(v->t, &c.words, err);

    for (uint64_t from = 1; rc == BASE_OK && !verify_full(v) && (rc = mds_item_next(v->t, from, &it, err)) == 1;
         from = it.id + 1)
        rc = check_item(&c, &it, err);
    mds_words_free(&c.words);
    if (rc < 0 || verify_full(v))
        return rc;
    if (c.items != v->rows[TABLE_ITEMS])
        verify_say(v, "%llu items can be read, of %llu", (unsigned long long)c.items,
                   (unsigned long long)v->rows[TABLE_ITEMS]);
    if (memcmp(c.defects, v->counters.defects, sizeof c.defects) != 0)
        verify_say(v, "the counters of defects differ from the items");
    if (c.hashes && (v->rows[TABLE_HASHES] != c.items || v->rows[TABLE_MSGIDS] != c.msgids))
        verify_say(v, "%llu hashes and %llu message ids, for %llu items of which %llu have one",
                   (unsigned long long)v->rows[TABLE_HASHES], (unsigned long long)v->rows[TABLE_MSGIDS],
                   (unsigned long long)c.items, (unsigned long long)c.msgids);
    return BASE_OK;
}

/* ---- packs: each item has its entry (verify_items); here, that there are no others ---- */

static int check_packs(struct verify *v, enum table table, struct pack *pack, struct error *err)
{
    struct bytes key = {0}, row;
    uint64_t entries = 0, end = 0;
    int rc;

    for (rc = row_seek(v->t, table, MDB_FIRST, &key, &row, err); rc == 1;
         rc = row_seek(v->t, table, MDB_NEXT, &key, &row, err)) {
        if (key.n != 8 || !pack_decode(get_be64(key.p), row, pack))
            return row_corrupt(v->t, table, key, "it does not decode", err);
        if (pack->first < end)
            verify_say(v, "table %s: the packs at item %llu overlap", table_names[table],
                       (unsigned long long)pack->first);
        end = pack->first + pack->n;
        for (uint32_t i = 0; i < pack->n; i++)
            entries += pack->len[i] != 0;
    }
    if (rc == 0 && (entries != v->rows[TABLE_ITEMS] || end > v->counters.next_item))
        verify_say(v, "table %s: %llu entries, for %llu items", table_names[table], (unsigned long long)entries,
                   (unsigned long long)v->rows[TABLE_ITEMS]);
    return rc;
}

int verify_packs(struct verify *v, struct error *err)
{
    struct pack pack = {0};
    int rc = BASE_OK;

    for (unsigned i = 0; i < PACK_KINDS && rc == BASE_OK; i++)
        rc = check_packs(v, pack_table((enum pack_kind)i), &pack, err);
    pack_release(&pack);
    return rc;
}

/* ---- sources, containers, places ---- */

static int check_places(struct verify *v, const struct mds_container *c, uint64_t *total, struct error *err)
{
    struct key first = {.n = 0};
    struct bytes key, row;
    struct mds_place p;
    uint32_t rows = 0, failures = 0;
    int rc;

    key_u32(&first, c->id);
    key = key_bytes(&first);
    for (rc = row_seek(v->t, TABLE_PLACES, MDB_SET_RANGE, &key, &row, err);
         rc == 1 && key.n >= 4 && get_be32(key.p) == c->id;
         rc = row_seek(v->t, TABLE_PLACES, MDB_NEXT, &key, &row, err)) {
        if (!place_decode(row, key.n == KEY_MAX, &p))
            return row_corrupt(v->t, TABLE_PLACES, key, "it does not decode", err);
        rows++;
        failures += !p.uid && p.reason.n;
    }
    if (rc < 0)
        return rc;
    *total += rows;
    if (rows != c->rows || failures != c->failures)
        verify_say(v, "container %u: its counters say %u places and %u failures, its rows %u and %u", c->id, c->rows,
                   c->failures, rows, failures);
    return BASE_OK;
}

static int check_container(struct verify *v, const struct mds_container *c, uint64_t *places, struct error *err)
{
    struct mds_container again;
    struct bytes name;

    if (c->id >= v->counters.next_container)
        verify_say(v, "container %u: the next id to give is %u", c->id, v->counters.next_container);
    if (mds_source_name(v->t, c->source, &name, NULL) != BASE_OK)
        verify_say(v, "container %u: there is no source %u", c->id, c->source);
    if (mds_container_find(v->t, c->source, c->name, false, &again, NULL) != BASE_OK || again.id != c->id)
        verify_say(v, "container %u: its name does not lead to it", c->id);
    return check_places(v, c, places, err);
}

int verify_sources(struct verify *v, struct error *err)
{
    struct mds_container c;
    uint64_t containers = 0, places = 0;
    int rc = BASE_OK;

    for (uint32_t id = 1; !verify_full(v) && (rc = mds_container_next(v->t, id, &c, err)) == 1; id = c.id + 1) {
        struct error why;

        containers++;
        if (check_container(v, &c, &places, &why) < 0)
            verify_say(v, "container %u: %s", c.id, why.text);
        if (c.id == UINT32_MAX)
            break;
    }
    if (rc < 0)
        return rc;
    if (containers != v->rows[TABLE_CONTAINER_NAMES] || containers != v->rows[TABLE_CONTAINERS])
        verify_say(v, "%llu containers, but %llu names", (unsigned long long)containers,
                   (unsigned long long)v->rows[TABLE_CONTAINER_NAMES]);
    if (places != v->rows[TABLE_PLACES])
        verify_say(v, "containers hold %llu places, of %llu", (unsigned long long)places,
                   (unsigned long long)v->rows[TABLE_PLACES]);
    return BASE_OK;
}

/* ---- what is kept aside ---- */

static int check_removed(struct verify *v, const struct mds_removed *removed, struct error *err)
{
    struct mds_message message;
    struct mds_folder folder;
    struct key key;
    struct bytes row;
    bool aside = false;
    int rc;

    filed_key(&key, removed->message.item, removed->folder, removed->uid);
    rc = row_get(v->t, TABLE_FILED, key_bytes(&key), &row, err);
    if (rc != BASE_OK && rc != BASE_ERR_NOTFOUND)
        return rc;
    if (rc == BASE_ERR_NOTFOUND || !filing_decode(row, &aside) || !aside)
        verify_say(v, "removed %u/%u: item %llu does not know of it", removed->folder, removed->uid,
                   (unsigned long long)removed->message.item);
    key_reset(&key);
    key_u64(&key, removed->message.item);
    if (row_get(v->t, TABLE_ITEMS, key_bytes(&key), &row, err) == BASE_ERR_NOTFOUND)
        verify_say(v, "removed %u/%u: there is no item %llu", removed->folder, removed->uid,
                   (unsigned long long)removed->message.item);
    if (mds_message_get(v->t, removed->folder, removed->uid, &message, NULL) == BASE_OK)
        verify_say(v, "removed %u/%u: it is in its folder too", removed->folder, removed->uid);
    if (mds_folder_get(v->t, removed->folder, &folder, NULL) == BASE_OK && removed->uid >= folder.uidnext)
        verify_say(v, "removed %u/%u: its UID was never given", removed->folder, removed->uid);
    return BASE_OK;
}

int verify_removed(struct verify *v, struct error *err)
{
    struct mds_removed removed = {0};
    uint64_t rows = 0;
    int rc;

    while (!verify_full(v) && (rc = mds_removed_next(v->t, removed.folder, removed.uid, &removed, err)) != 0) {
        if (rc < 0 || (rc = check_removed(v, &removed, err)) != BASE_OK)
            return rc;
        rows++;
    }
    if (!verify_full(v) && rows != v->rows[TABLE_REMOVED])
        verify_say(v, "%llu removed messages can be read, of %llu", (unsigned long long)rows,
                   (unsigned long long)v->rows[TABLE_REMOVED]);
    return BASE_OK;
}

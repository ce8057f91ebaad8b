/*
 * Flags and keywords from the vault. The vault seeds a message; afterwards only what changed in the vault since its last
 * scan is applied, so that an unchanged vault never undoes what a reader set.
 */
#include "indexer_private.h"

#include <stdlib.h>

uint64_t indexer_keywords_hash(struct bytes names)
{
    uint64_t h = names.n ? hash64_of(names) : 0;
    return names.n && !h ? 1 : h;
}

/* Next word of a space-separated list. */
static bool next_word(struct bytes *rest, struct bytes *word)
{
    while (rest->n && *rest->p == ' ')
        *rest = bytes_slice(*rest, 1, rest->n);
    if (!rest->n)
        return false;
    const uint8_t *end = memchr(rest->p, ' ', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *word = bytes_of(rest->p, n);
    *rest = bytes_slice(*rest, n, rest->n);
    return true;
}

static bool has_word(struct bytes list, struct bytes word)
{
    struct bytes w;
    while (next_word(&list, &w))
        if (bytes_equal_nocase(w, word))
            return true;
    return false;
}

static uint16_t id_at(const struct buf *ids, size_t i)
{
    return (uint16_t)(ids->p[2 * i] << 8 | ids->p[2 * i + 1]);
}

/* Keeps ids ascending and single: lists are a handful long. */
static void ids_insert(struct buf *ids, uint16_t id)
{
    size_t n = ids->n / 2, i = 0;
    while (i < n && id_at(ids, i) < id)
        i++;
    if (i < n && id_at(ids, i) == id)
        return;
    buf_put_u16(ids, 0);
    memmove(ids->p + 2 * i + 2, ids->p + 2 * i, 2 * (n - i));
    ids->p[2 * i] = (uint8_t)(id >> 8);
    ids->p[2 * i + 1] = (uint8_t)id;
}

static void ids_erase(struct buf *ids, uint16_t id)
{
    size_t n = ids->n / 2;
    for (size_t i = 0; i < n; i++) {
        if (id_at(ids, i) != id)
            continue;
        memmove(ids->p + 2 * i, ids->p + 2 * i + 2, 2 * (n - i - 1));
        ids->n -= 2;
        return;
    }
}

/* A keyword beyond the archive's limit, or not fit to be one, is left out: mail is never refused over a label. */
static int keyword_id(struct indexer_writer *w, struct bytes name, bool create, uint16_t *id_out, struct error *err)
{
    int rc = mds_keyword_id(w->txn, name, create, id_out, err);
    if (rc == BASE_ERR_LIMIT || rc == BASE_ERR_NOTFOUND || rc == BASE_ERR_USAGE || rc == BASE_ERR_SYNTAX)
        return 0;
    return rc < 0 ? rc : 1;
}

int indexer_keywords_ids(struct indexer_writer *w, struct bytes names, struct error *err)
{
    struct bytes word;
    buf_reset(&w->keywords);
    while (next_word(&names, &word)) {
        uint16_t id;
        int rc = keyword_id(w, word, true, &id, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            ids_insert(&w->keywords, id);
    }
    return 0;
}

/* Applies to w->keywords what differs between the two lists. */
static int keywords_merge(struct indexer_writer *w, struct bytes before, struct bytes after, struct error *err)
{
    struct bytes word, rest = before;
    uint16_t id;
    int rc;
    while (next_word(&rest, &word)) {
        if (has_word(after, word))
            continue;
        rc = keyword_id(w, word, false, &id, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            ids_erase(&w->keywords, id);
    }
    rest = after;
    while (next_word(&rest, &word)) {
        if (has_word(before, word))
            continue;
        rc = keyword_id(w, word, true, &id, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            ids_insert(&w->keywords, id);
    }
    return 0;
}

int indexer_flags_merge(struct indexer_writer *w, struct mds_place *place, uint32_t flags, struct bytes keywords,
                        bool *changed_out, struct error *err)
{
    struct mds_message m;
    *changed_out = false;
    if (place->flags == flags && place->keywords_hash == indexer_keywords_hash(keywords))
        return 0;
    int rc = place->uid ? mds_message_get(w->txn, place->folder, place->uid, &m, err) : BASE_ERR_NOTFOUND;
    if (rc < 0 && rc != BASE_ERR_NOTFOUND)
        return rc;
    if (rc == 0) {
        uint32_t changed = (place->flags ^ flags) & MDS_FLAGS_ALL;
        uint32_t merged = (m.flags & ~changed) | (flags & changed);
        uint32_t before_flags = m.flags;
        struct buf before = {0};
        buf_append_bytes(&before, m.keywords);
        buf_reset(&w->keywords);
        buf_append_bytes(&w->keywords, m.keywords);
        rc = keywords_merge(w, place->reason, keywords, err);
        bool differs = merged != before_flags || !bytes_equal(buf_bytes(&before), buf_bytes(&w->keywords));
        buf_release(&before);
        if (rc == 0 && differs)
            rc = mds_message_set_flags(w->txn, place->folder, place->uid, merged, buf_bytes(&w->keywords), err);
        if (rc < 0)
            return rc;
        *changed_out = differs;
        w->report->flags_merged += differs;
    }
    place->flags = flags;
    place->keywords_hash = indexer_keywords_hash(keywords);
    place->reason = keywords;
    return 0;
}

/* A Maildir item's file has a new name now; the item remembers it, so that reading it stays one open. */
static int follow_file(struct indexer_writer *w, const struct mds_place *place, const struct op *op, struct error *err)
{
    struct mds_item item;
    int rc = mds_item_get(w->txn, place->item, &item, err);
    if (rc == BASE_ERR_NOTFOUND)
        return 0;
    if (rc < 0)
        return rc;
    struct bytes name = item.locator.name;
    const uint8_t *slash = name.n ? memrchr(name.p, '/', name.n) : NULL;
    struct bytes base = slash ? bytes_slice(name, (size_t)(slash - name.p) + 1, name.n) : name;
    bool is_ours = item.locator.container == w->container.id && base.n >= op->identity.n &&
                   memcmp(base.p, op->identity.p, op->identity.n) == 0 &&
                   (base.n == op->identity.n || base.p[op->identity.n] == ':');
    if (!is_ours || bytes_equal(name, op->file))
        return 0;
    item.locator.name = op->file;
    return mds_item_update(w->txn, &item, NULL, err);
}

int indexer_flags_take(struct indexer_writer *w, const struct op *op, struct error *err)
{
    struct mds_place place;
    struct buf text = {0};
    bool changed;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_place_get(w->txn, w->container.id, op->identity, &place, err);
    if (rc < 0)
        return rc;
    buf_append_bytes(&text, place.reason); /* the view dies with the first write */
    place.reason = buf_bytes(&text);
    place.identity = op->identity;
    rc = indexer_flags_merge(w, &place, op->flags, op->keywords, &changed, err);
    if (rc == 0)
        rc = mds_place_put(w->txn, w->container.id, &place, err);
    if (rc == 0)
        rc = follow_file(w, &place, op, err);
    buf_release(&text);
    return rc;
}

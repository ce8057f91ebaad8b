/*
 * Filing: one result of the pipeline becomes an item (or is found to be one that is stored) and a message.
 */
#include "compare.h"
#include "indexer_private.h"

#include "filing/filing.h"

struct mds_locator indexer_item_locator(const struct indexer_writer *w)
{
    const struct vault_locator *l = &w->result.locator;
    return (struct mds_locator){
        .source = w->source_id,
        .container = w->container.id,
        .name = l->name,
        .offset = l->offset,
        .length = l->length,
        .filter = l->filter,
    };
}

/* ---- is it stored already? -------------------------------------------------------------- */

/* The stored item's place, as the vault knows it. `container` receives the container's name. */
static int place_of(struct indexer_writer *w, const struct mds_item *item, struct buf *names,
                    struct indexer_place_of *out, struct error *err)
{
    struct mds_container c;
    buf_reset(names);
    buf_append_bytes(names, item->locator.name);
    *out = (struct indexer_place_of){.locator = {
                                         .offset = item->locator.offset,
                                         .length = item->locator.length,
                                         .filter = item->locator.filter,
                                     }};
    int rc = mds_container_get(w->txn, item->locator.container, &c, err);
    if (rc == BASE_ERR_NOTFOUND)
        return 0; /* vault stays NULL: its container is gone */
    if (rc < 0)
        return rc;
    uint32_t source = c.source;
    size_t n = names->n;
    buf_append_bytes(names, c.name);
    out->locator.name = bytes_of(names->p, n);
    out->locator.container = bytes_of(names->p + n, names->n - n);
    out->vault = indexer_writer_vault(w, source);
    return 0;
}

/* Where the result's bytes are read from now on: in place, or copied. *failed_out: could not be copied (reason in
 * result). */
static int locator_now(struct indexer_writer *w, struct mds_locator *out, bool *failed_out, struct error *err)
{
    *failed_out = false;
    if (w->run->build->import)
        return indexer_own_file(w, out, failed_out, err);
    *out = indexer_item_locator(w);
    return 0;
}

/* 1: the candidate is the result's item; its locator follows if its own bytes are gone, or have not been copied yet. */
static int is_candidate(struct indexer_writer *w, uint64_t id, struct error *err)
{
    struct mds_item item;
    struct indexer_place_of old, now = {.vault = w->source->vault, .locator = w->result.locator};
    struct buf names = {0};
    bool gone = false;
    int rc = mds_item_get(w->txn, id, &item, err);
    if (rc == BASE_ERR_NOTFOUND)
        return 0; /* removed since it became known */
    if (rc < 0)
        return rc;
    if (hash128_compare(&item.hash, &w->result.hash) != 0 || item.size != w->result.size)
        return 0;
    rc = place_of(w, &item, &names, &old, err);
    if (rc == 0)
        rc = indexer_same_bytes(&old, &now, &w->result.hash, w->result.size, &gone);
    if (rc > 0 && (w->run->build->import ? gone || !indexer_own_is(old.vault) : gone && old.vault)) {
        struct mds_locator now_at;
        bool failed = false;
        int moved = locator_now(w, &now_at, &failed, err);
        if (moved == 0 && !failed)
            moved = mds_item_get(w->txn, id, &item, err);
        item.locator = now_at;
        if (moved == 0 && !failed)
            moved = mds_item_update(w->txn, &item, NULL, err);
        rc = moved < 0 ? moved : 1;
    }
    buf_release(&names);
    return rc;
}

static int find_same(struct indexer_writer *w, uint64_t *item_out, struct error *err)
{
    uint64_t pos = 0, id;
    while (ingest_known_next(w->run->known, &w->result.hash, &pos, &id)) {
        int rc = is_candidate(w, id, err);
        if (rc > 0)
            *item_out = id;
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- adding ------------------------------------------------------------------------------- */

static int add_item(struct indexer_writer *w, uint64_t *item_out, bool *failed_out, struct error *err)
{
    const struct mime_record *r = &w->result.record;
    struct mds_locator locator;
    struct buf sort = {0};
    int rc = locator_now(w, &locator, failed_out, err);
    if (rc < 0 || *failed_out)
        return rc;
    struct mds_item item;
    struct mds_item_words words;
    filing_item(r, &w->result.hash, &locator, &sort, &item, &words);
    rc = mds_item_add(w->txn, &item, &words, err);
    w->batch_bytes += r->envelope.n + r->bodystructure.n + r->headers.n + r->parts.n + sort.n;
    buf_release(&sort);
    if (rc < 0)
        return rc;
    w->report->items_added++;
    *item_out = item.id;
    return ingest_known_add(w->run->known, &item.hash, item.id, err);
}

int indexer_item_resolve(struct indexer_writer *w, uint64_t *item_out, bool *failed_out, struct error *err)
{
    *failed_out = w->result.status == INGEST_FAILED;
    if (*failed_out)
        return 0;
    int rc = find_same(w, item_out, err);
    if (rc > 0)
        w->report->duplicates++;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (w->result.status == INGEST_KNOWN) {
        rc = ingest_redo(w->run->ingest, &w->result, err);
        if (rc < 0)
            return rc;
        *failed_out = w->result.status == INGEST_FAILED;
        if (*failed_out)
            return 0;
    }
    return add_item(w, item_out, failed_out, err);
}

/* Dates and size of a message of an item that is stored. */
static int message_from_item(struct indexer_writer *w, uint64_t id, struct mds_message *m, struct hash128 *hash_out,
                             struct error *err)
{
    struct mds_item item;
    int rc = mds_item_get(w->txn, id, &item, err);
    if (rc < 0)
        return rc;
    *hash_out = item.hash;
    m->item = id;
    m->size_crlf = item.size_crlf;
    m->internal_date = w->result.internal_date;
    m->internal_zone = w->result.internal_zone;
    m->sent_date = item.has_sent_date ? item.sent_date : w->result.internal_date;
    return 0;
}

static struct mds_place place_from_op(const struct op *op, struct bytes identity)
{
    return (struct mds_place){
        .identity = identity,
        .flags = op->flags,
        .keywords_hash = indexer_keywords_hash(op->keywords),
        .size = op->has_stat ? op->size : 0,
        .mtime_ns = op->has_stat ? op->mtime_ns : 0,
        .reason = op->keywords, /* of a place with a message: the vault's keywords, for the next merge */
    };
}

int indexer_item_file(struct indexer_writer *w, const struct op *op, struct bytes identity, uint64_t item,
                      struct error *err)
{
    struct mds_message m = {.flags = op->flags & MDS_FLAGS_ALL};
    struct hash128 hash;
    int rc = indexer_writer_folder(w, err);
    m.folder = w->container.folder;
    if (rc == 0)
        rc = message_from_item(w, item, &m, &hash, err);
    if (rc == 0)
        rc = indexer_keywords_ids(w, op->keywords, err);
    if (rc < 0)
        return rc;
    m.saved_date = w->saved_date;
    m.keywords = buf_bytes(&w->keywords);
    rc = w->run->restore ? indexer_restore_add(w->run->restore, w, &hash, &m, err) : 0;
    if (rc == 0) {
        if (w->run->restore) /* looking for it used the buffer */
            rc = indexer_keywords_ids(w, op->keywords, err);
        m.keywords = buf_bytes(&w->keywords);
        rc = rc < 0 ? rc : mds_message_add(w->txn, &m, err);
    }
    if (rc < 0)
        return rc;
    w->report->messages_added++;
    struct mds_place place = place_from_op(op, identity);
    place.item = item;
    place.folder = m.folder;
    place.uid = m.uid;
    rc = mds_place_put(w->txn, w->container.id, &place, err);
    return rc == 0 && w->run->restore ? indexer_carry_item(w, item, err) : rc;
}

int indexer_item_place_failed(struct indexer_writer *w, const struct op *op, struct bytes identity, struct error *err)
{
    const char *reason = w->result.reason.text[0] ? w->result.reason.text : "unreadable";
    struct mds_place place = place_from_op(op, identity);
    indexer_writer_failed(w, identity.n == INDEXER_MBOX_KEY && w->container_is_mbox ? (struct bytes){0} : identity,
                          reason);
    place.folder = w->container.folder;
    place.reason = bytes_str(reason);
    return mds_place_put(w->txn, w->container.id, &place, err);
}

/* ---- a place that was indexed before ---------------------------------------------------- */

/* The bytes behind a place are others now: the message goes, a new one comes. */
static int replace(struct indexer_writer *w, const struct op *op, const struct mds_place *place, struct error *err)
{
    bool failed = false;
    uint64_t item = 0;
    int rc = indexer_item_resolve(w, &item, &failed, err);
    if (rc == 0 && !w->run->build->import)
        rc = indexer_place_expunge(w, w->container.id, place, err);
    if (rc == 0)
        rc = failed ? indexer_item_place_failed(w, op, op->identity, err)
                    : indexer_item_file(w, op, op->identity, item, err);
    return rc;
}

static int reread(struct indexer_writer *w, const struct op *op, struct error *err)
{
    struct mds_place place;
    struct mds_item item;
    int rc = mds_place_get(w->txn, w->container.id, op->identity, &place, err);
    if (rc < 0)
        return rc;
    if (w->result.status == INGEST_FAILED) {
        /* It was readable once: the archive keeps what it has. */
        indexer_writer_failed(w, op->identity, w->result.reason.text);
        w->container_incomplete = true;
        return 0;
    }
    rc = mds_item_get(w->txn, place.item, &item, err);
    if (rc < 0 && rc != BASE_ERR_NOTFOUND)
        return rc;
    bool same = rc == 0 && hash128_compare(&item.hash, &w->result.hash) == 0 && item.size == w->result.size;
    if (rc == BASE_ERR_NOTFOUND) {
        /* Let go by a client, and for good: whether these are the same bytes cannot be told, so it stays let go. */
        struct mds_message m;
        rc = mds_message_get(w->txn, place.folder, place.uid, &m, err);
        if (rc < 0 && rc != BASE_ERR_NOTFOUND)
            return rc;
        same = rc == BASE_ERR_NOTFOUND;
    }
    uint64_t keywords_hash = indexer_keywords_hash(op->keywords);
    bool still = place.flags == op->flags && place.keywords_hash == keywords_hash &&
                 (!op->has_stat || (place.size == op->size && place.mtime_ns == op->mtime_ns));
    if (same && still)
        return 0;
    struct buf text = {0}; /* the views die with the first write */
    size_t n = place.reason.n;
    buf_append_bytes(&text, place.reason);
    place.reason = bytes_of(text.p, n);
    place.identity = op->identity;
    if (!same) {
        rc = replace(w, op, &place, err);
    } else {
        bool changed = false;
        rc = indexer_flags_merge(w, &place, op->flags, op->keywords, &changed, err);
        place.size = op->has_stat ? op->size : 0;
        place.mtime_ns = op->has_stat ? op->mtime_ns : 0;
        if (rc == 0)
            rc = mds_place_put(w->txn, w->container.id, &place, err);
    }
    buf_release(&text);
    return rc;
}

int indexer_item_take(struct indexer_writer *w, const struct op *op, struct error *err)
{
    bool failed = false;
    uint64_t item = 0;
    int rc = indexer_writer_txn(w, err);
    if (rc < 0)
        return rc;
    if (op->how == OP_HOW_REREAD)
        return reread(w, op, err);
    if (w->run->restore) {
        bool let_go = false;
        rc = indexer_carry_let_go(w, op, op->identity, &let_go, err);
        if (rc < 0 || let_go)
            return rc;
    }
    rc = indexer_item_resolve(w, &item, &failed, err);
    if (rc < 0)
        return rc;
    if (failed)
        return indexer_item_place_failed(w, op, op->identity, err);
    return indexer_item_file(w, op, op->identity, item, err);
}

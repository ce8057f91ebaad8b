/*
 * The second half of a rebuild: what the vaults that are read in place do not account for.
 *
 * A message of the old store that no place names was made by a client or by an import: it is carried over to its folder
 * and UID as soon as its item is in the new store, found by hash. A place whose message is gone was let go by a client,
 * and stays so. Records of the own vault are read like items of any vault; those that no message of the old store needs
 * are dead and left out, unless the old store is damaged: then they are filed in a folder of their own, as nobody knows
 * where they belong.
 */
#include "restore.h"

#include "filing/filing.h"
#include "vault/segment.h"

#include <stdlib.h>
#include <string.h>

#define RECOVERED "Recovered"

/* ---- which messages have a place ---- */

static void placed_free(gpointer set)
{
    roaring_bitmap_free(set);
}

static void placed_add(GHashTable *placed, uint32_t folder, uint32_t uid)
{
    roaring_bitmap_t *set = g_hash_table_lookup(placed, GUINT_TO_POINTER(folder));
    if (!set) {
        set = roaring_bitmap_create();
        g_hash_table_insert(placed, GUINT_TO_POINTER(folder), set);
    }
    roaring_bitmap_add(set, uid);
}

bool indexer_carry_is_import(struct mds_txn *txn, uint32_t source)
{
    struct bytes name;
    return mds_source_name(txn, source, &name, NULL) == 0 &&
           bytes_equal(bytes_slice(name, 0, strlen(INDEXER_IMPORT)), BYTES_LIT(INDEXER_IMPORT));
}

static int read_container(struct indexer_restore *r, uint32_t container, struct error *err)
{
    struct buf last = {0};
    struct mds_place p;
    bool first = true;
    int rc;
    for (;;) {
        const struct bytes after = buf_bytes(&last);
        rc = mds_place_next(r->txn, container, first ? NULL : &after, &p, err);
        if (rc <= 0)
            break;
        first = false;
        buf_reset(&last);
        buf_append_bytes(&last, p.identity);
        if (p.uid)
            placed_add(r->placed, p.folder, p.uid);
    }
    buf_release(&last);
    return rc;
}

int indexer_carry_places(struct indexer_restore *r, struct error *err)
{
    struct mds_container c = {0};
    int rc;
    r->placed = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, placed_free);
    while ((rc = mds_container_next(r->txn, c.id + 1, &c, NULL)) > 0)
        if (!indexer_carry_is_import(r->txn, c.source) && (rc = read_container(r, c.id, NULL)) < 0)
            break;
    if (rc == 0)
        return 0;
    indexer_carry_release(r);
    return indexer_restore_renew(r, err);
}

bool indexer_carry_is_placed(const struct indexer_restore *r, uint32_t folder, uint32_t uid)
{
    const roaring_bitmap_t *set = r->placed ? g_hash_table_lookup(r->placed, GUINT_TO_POINTER(folder)) : NULL;
    return !r->placed || (set && roaring_bitmap_contains(set, uid));
}

void indexer_carry_release(struct indexer_restore *r)
{
    g_clear_pointer(&r->placed, g_hash_table_destroy);
}

/* The old store cannot be read there: whatever it said is lost. */
static int damaged(struct indexer_restore *r, struct error *err)
{
    r->lost++;
    return indexer_restore_renew(r, err);
}

/*
 * ---- what it has of an item: a table of our own, as looking into damaged pages here and there is more than LMDB stands
 */

/* In memcmp order of hash, folder, UID. */
struct note {
    uint8_t hash[HASH128_BYTES];
    uint8_t folder[4];
    uint8_t uid[4];
    uint8_t kept;
    uint8_t unused[3];
};

int indexer_carry_notes_new(struct indexer_restore *r, const char *tmp, struct error *err)
{
    return indexer_table_new(tmp, HASH128_BYTES + 9, sizeof(struct note), &r->loose, err);
}

int indexer_carry_note(struct indexer_restore *r, const struct hash128 *hash, uint32_t folder, uint32_t uid, bool kept,
                       struct error *err)
{
    struct note note = {.kept = kept};
    memcpy(note.hash, hash->b, sizeof note.hash);
    put_be32(note.folder, folder);
    put_be32(note.uid, uid);
    return indexer_table_push(r->loose, &note, err);
}

int indexer_carry_notes_finish(struct indexer_restore *r, struct error *err)
{
    struct mds_removed removed = {0};
    uint32_t folder = 0, uid = 0;
    int rc;
    while ((rc = mds_removed_next(r->txn, folder, uid, &removed, NULL)) > 0) {
        struct mds_item item;
        folder = removed.folder;
        uid = removed.uid;
        if (mds_item_get(r->txn, removed.message.item, &item, NULL) < 0)
            rc = damaged(r, err);
        else
            rc = indexer_carry_note(r, &item.hash, folder, uid, true, err);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        rc = damaged(r, err);
    return rc < 0 ? rc : indexer_table_finish(r->loose, err);
}

/* ---- messages of an item ---- */

/* 1 added, 0 there already or nowhere to go. */
static int message_carry(struct indexer_writer *w, const struct mds_message *old, uint64_t item, struct error *err)
{
    struct mds_message m = *old;
    m.folder = indexer_restore_folder(w->run->restore, old->folder);
    m.item = item;
    if (!m.folder)
        return 0;
    buf_reset(&w->keywords); /* ids are the same: restore.c */
    buf_append_bytes(&w->keywords, old->keywords);
    m.keywords = buf_bytes(&w->keywords);
    int rc = mds_message_restore(w->txn, &m, err);
    if (rc == BASE_ERR_EXISTS)
        return 0;
    if (rc == BASE_ERR_USAGE) /* its folder could not be restored: under a new UID */
        rc = mds_message_add(w->txn, &m, err);
    if (rc == BASE_ERR_USAGE) /* it is no folder: recovered */
        return 0;
    w->report->messages_added += rc == 0;
    return rc < 0 ? rc : 1;
}

/* Its folder may be gone, or another one have its name: nothing is put in there and taken out again. */
static int removed_carry(struct indexer_writer *w, uint32_t folder, uint32_t uid, uint64_t item, struct error *err)
{
    struct indexer_restore *r = w->run->restore;
    struct mds_removed old;
    const uint32_t now = indexer_restore_folder(r, folder);
    int rc = now ? mds_removed_next(r->txn, folder, uid - 1, &old, NULL) : 0;
    if (rc < 0 || !now || rc == 0 || old.folder != folder || old.uid != uid)
        return rc < 0 ? damaged(r, err) : 0;
    old.folder = now;
    old.message.item = item;
    rc = mds_removed_carry(w->txn, &old, err);
    return rc == BASE_ERR_EXISTS ? 0 : rc;
}

/* What the old store has of the result's item: known, at all; count, what nobody else accounts for. item 0: only counts. */
static int by_hash(struct indexer_writer *w, uint64_t item, uint64_t *known, uint64_t *count, struct error *err)
{
    struct indexer_restore *r = w->run->restore;
    const size_t n = indexer_table_count(r->loose);
    size_t i = n ? indexer_table_lower_bound(r->loose, w->result.hash.b, HASH128_BYTES) : 0;
    for (; i < n; i++) {
        const struct note *note = indexer_table_at(r->loose, i);
        const uint32_t folder = get_be32(note->folder), uid = get_be32(note->uid);
        struct mds_message m;
        if (memcmp(note->hash, w->result.hash.b, HASH128_BYTES) != 0)
            break;
        ++*known;
        if (!note->kept && r->placed && indexer_carry_is_placed(r, folder, uid))
            continue;
        ++*count;
        if (!item)
            continue;
        int rc = note->kept ? 0 : mds_message_get(r->txn, folder, uid, &m, NULL);
        if (rc < 0)
            rc = damaged(r, err);
        else
            rc = note->kept ? removed_carry(w, folder, uid, item, err) : message_carry(w, &m, item, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int indexer_carry_item(struct indexer_writer *w, uint64_t new_item, struct error *err)
{
    uint64_t known = 0, count = 0;
    return w->run->restore->placed ? by_hash(w, new_item, &known, &count, err) : 0;
}

/* Nobody knows any more whose it was. */
static int recover(struct indexer_writer *w, uint64_t item, struct error *err)
{
    struct mds_item row;
    struct mds_message m = {.item = item, .saved_date = w->saved_date};
    int rc = mds_item_get(w->txn, item, &row, err);
    if (rc == 0) {
        m.size_crlf = row.size_crlf;
        m.internal_date = w->result.internal_date;
        m.internal_zone = w->result.internal_zone;
        m.sent_date = row.has_sent_date ? row.sent_date : m.internal_date;
        rc = mds_folder_create(w->txn, BYTES_LIT(RECOVERED), &m.folder, err);
        rc = rc == BASE_ERR_EXISTS ? 0 : rc;
    }
    if (rc == 0)
        rc = mds_message_add(w->txn, &m, err);
    w->report->messages_added += rc == 0;
    return rc;
}

/* Does anything file it, or keep it? */
static int is_filed(struct indexer_writer *w, uint64_t item, struct error *err)
{
    uint32_t folder, uid;
    uint64_t pos = 0;
    int rc = mds_item_messages(w->txn, item, &pos, &folder, &uid, err);
    pos = 0;
    return rc != 0 ? rc : mds_item_removed(w->txn, item, &pos, &folder, &uid, err);
}

/* To the messages that the old store has of it; where those cannot be read any more, to a folder of its own. */
static int carry_or_recover(struct indexer_writer *w, uint64_t item, struct error *err)
{
    uint64_t known = 0, count = 0;
    int rc = by_hash(w, item, &known, &count, err);
    if (rc == 0)
        rc = is_filed(w, item, err);
    return rc != 0 ? (rc < 0 ? rc : 0) : recover(w, item, err);
}

/* ---- places ---- */

/* The container at hand, as the old store knew it. */
static int old_container(struct indexer_writer *w, struct mds_container *out)
{
    struct mds_txn *txn = w->run->restore->txn;
    uint32_t source = 0;
    if (!txn)
        return BASE_ERR_NOTFOUND;
    int rc = mds_source_id(txn, bytes_str(w->source->name), false, &source, NULL);
    return rc == 0 ? mds_container_find(txn, source, buf_bytes(&w->container_name), false, out, NULL) : rc;
}

uint32_t indexer_carry_folder(struct indexer_writer *w, bool *gone_out)
{
    struct mds_container c;
    struct mds_folder f;
    const uint32_t id = old_container(w, &c) == 0 ? indexer_restore_folder(w->run->restore, c.folder) : 0;
    *gone_out = id && (mds_folder_get(w->txn, id, &f, NULL) < 0 || !f.selectable);
    if (*gone_out && !c.rows) { /* nothing was let go with it: as in a build, its name makes it again */
        *gone_out = false;
        return 0;
    }
    return id;
}

int indexer_carry_let_go(struct indexer_writer *w, const struct op *op, struct bytes identity, bool *yes_out,
                         struct error *err)
{
    struct indexer_restore *r = w->run->restore;
    struct mds_container c;
    struct mds_place p;
    struct mds_message m;
    *yes_out = false;
    if (!r->placed || old_container(w, &c) < 0 || mds_place_get(r->txn, c.id, identity, &p, NULL) < 0 || !p.uid)
        return 0;
    int rc = mds_message_get(r->txn, p.folder, p.uid, &m, NULL);
    if (rc != BASE_ERR_NOTFOUND)
        return rc < 0 ? damaged(r, err) : 0;
    *yes_out = true;
    uint64_t known = 0, count = 0, item = 0;
    bool failed = w->result.status == INGEST_FAILED;
    rc = failed ? 0 : by_hash(w, 0, &known, &count, err);
    if (rc == 0 && count) { /* it is filed elsewhere, or kept aside */
        rc = indexer_item_resolve(w, &item, &failed, err);
        if (rc == 0 && !failed)
            rc = carry_or_recover(w, item, err);
    }
    const struct mds_place now = {.identity = identity,
                                  .item = item,
                                  .folder = w->container.folder,
                                  .uid = p.uid,
                                  .flags = op->flags,
                                  .keywords_hash = indexer_keywords_hash(op->keywords),
                                  .size = op->has_stat ? op->size : 0,
                                  .mtime_ns = op->has_stat ? op->mtime_ns : 0,
                                  .reason = op->keywords};
    return rc < 0 ? rc : mds_place_put(w->txn, w->container.id, &now, err);
}

/* ---- records of the own vault ---- */

static int plan_segment(struct indexer_run *run, uint32_t segment, uint64_t limit, struct error *err)
{
    struct segment_scan *scan = NULL;
    struct segment_found f;
    struct buf tag = {0};
    char name[16];
    int rc = segment_scan_open(run->dir, segment, limit, &scan, err);
    snprintf(name, sizeof name, "%08u", segment);
    indexer_op_encode(&(struct op){.kind = OP_ITEM, .how = OP_HOW_OWN}, &tag);
    while (rc == 0 && (rc = segment_scan_next(scan, false, &f, err)) > 0) {
        const struct ingest_task task = {
            .vault = run->own.index,
            .locator = {.container = bytes_str(name), .offset = f.offset, .length = f.length, .filter = f.filter},
            .tag = buf_bytes(&tag),
        };
        rc = ingest_submit(run->ingest, &task, err);
        if (rc == 0 && indexer_cancelled(run->build))
            rc = error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
    }
    segment_scan_close(&scan);
    buf_release(&tag);
    return rc;
}

int indexer_carry_plan(struct indexer_run *run, struct error *err)
{
    struct mds_segments at = {0};
    struct mds_txn *txn = NULL;
    uint32_t number = 0;
    uint64_t bytes;
    struct mds_env *env = run->restore->env;
    int rc = env ? mds_read_begin(env, &txn, err) : 0; /* the other one is the writer's */
    const bool known = env && rc == 0 && mds_segments_get(txn, &at, NULL) == 0;
    mds_read_end(&txn);
    while (rc == 0 && (rc = segment_next(run->dir, number, &number, &bytes, err)) > 0) {
        rc = 0;
        if (known && number > at.active)
            break;
        rc = plan_segment(run, number, known && number == at.active ? at.tail : UINT64_MAX, err);
    }
    return rc;
}

int indexer_carry_own(struct indexer_writer *w, struct error *err)
{
    struct indexer_restore *r = w->run->restore;
    struct mds_locator l = {0};
    uint64_t known = 0, count = 0, item = 0;
    const uint64_t lost_before = r->lost;
    bool failed = w->result.status == INGEST_FAILED;
    int rc = indexer_writer_txn(w, err);
    w->source = &w->run->own;
    buf_reset(&w->container_name);
    buf_append_bytes(&w->container_name, w->result.locator.container);
    if (rc == 0 && failed)
        indexer_writer_failed(w, (struct bytes){0}, w->result.reason.text);
    if (rc == 0 && !failed)
        rc = by_hash(w, 0, &known, &count, err);
    const bool lost = r->lost != lost_before || (!known && r->lost);
    if (rc < 0 || failed || (!count && !lost))
        return rc;
    rc = filing_own_place(w->txn, (uint32_t)strtoul((const char *)w->container_name.p, NULL, 10), &l, err);
    w->source_id = l.source;
    w->container = (struct mds_container){.id = l.container, .source = l.source};
    if (rc == 0)
        rc = indexer_item_resolve(w, &item, &failed, err);
    if (rc < 0 || failed)
        return rc;
    return carry_or_recover(w, item, err);
}

/* ---- what was imported from where ---- */

static int import_place(struct indexer_writer *w, uint32_t container, struct mds_place *p, struct error *err)
{
    struct mds_message m;
    const uint32_t folder = indexer_restore_folder(w->run->restore, p->folder);
    int rc = indexer_writer_txn(w, err);
    p->item = 0;
    if (rc == 0 && p->uid && folder && mds_message_get(w->txn, folder, p->uid, &m, NULL) == 0)
        p->item = m.item;
    p->folder = folder;
    if (rc == 0)
        rc = mds_place_put(w->txn, container, p, err);
    return rc == 0 ? indexer_writer_breathe(w, err) : rc;
}

static int import_container(struct indexer_writer *w, const struct mds_container *old, struct error *err)
{
    struct indexer_restore *r = w->run->restore;
    struct mds_container now;
    struct buf last = {0}, name = {0};
    struct bytes source;
    struct mds_place p;
    uint32_t source_id = 0;
    bool first = true;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_source_name(r->txn, old->source, &source, err);
    if (rc == 0)
        rc = mds_source_id(w->txn, source, true, &source_id, err);
    if (rc == 0)
        rc = mds_container_find(w->txn, source_id, old->name, true, &now, err);
    const uint32_t id = rc == 0 ? now.id : 0;
    now = *old;
    now.id = id;
    now.source = source_id;
    now.folder = indexer_restore_folder(r, old->folder);
    buf_append_bytes(&name, old->name);
    now.name = buf_bytes(&name);
    if (rc == 0)
        rc = mds_container_put(w->txn, &now, err);
    while (rc == 0) {
        const struct bytes after = buf_bytes(&last);
        rc = mds_place_next(r->txn, old->id, first ? NULL : &after, &p, NULL);
        if (rc < 0 && (rc = damaged(r, err)) == 0) {
            now.scanned_ns = 0; /* the next import looks again, and files again what it cannot find */
            rc = indexer_writer_txn(w, err);
            rc = rc < 0 ? rc : mds_container_put(w->txn, &now, err);
            break;
        }
        if (rc <= 0)
            break;
        first = false;
        buf_reset(&last);
        buf_append_bytes(&last, p.identity);
        rc = import_place(w, id, &p, err);
    }
    buf_release(&name);
    buf_release(&last);
    return rc;
}

int indexer_carry_imports(struct indexer_writer *w, struct error *err)
{
    struct indexer_restore *r = w->run->restore;
    struct mds_container c = {0};
    int rc = 0;
    if (!r->placed)
        return 0; /* its places are damaged: the next import files again what it cannot find */
    while (rc == 0 && (rc = mds_container_next(r->txn, c.id + 1, &c, NULL)) > 0) {
        rc = indexer_carry_is_import(r->txn, c.source) ? import_container(w, &c, err) : 0;
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? damaged(r, err) : 0;
}

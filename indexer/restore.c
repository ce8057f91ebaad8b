/* The old store's messages in a table by folder and hash; their rows are read from the old store when they are found
 * again. */
#include "restore.h"
#include "archive_private.h"

#include "vault/segment.h"

#include <stdlib.h>
#include <string.h>

/* In memcmp order of folder, hash, UID. */
struct record {
    uint8_t folder[4];
    uint8_t hash[HASH128_BYTES];
    uint8_t uid[4];
    uint32_t skip; /* first of its folder and hash: how many are taken */
    uint32_t unused;
};
#define RECORD_KEY (4 + HASH128_BYTES + 4)

static int compare_u32(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static int find_folders(struct indexer_restore *r, struct error *err)
{
    int rc = archive_folders(r->txn, &r->folders, &r->folders_n, err);
    qsort(r->folders, r->folders_n, sizeof *r->folders, compare_u32);
    return rc;
}

static bool is_folder(const struct indexer_restore *r, uint32_t id)
{
    return r->folders_n && bsearch(&id, r->folders, r->folders_n, sizeof *r->folders, compare_u32);
}

static void dropped_add(struct indexer_restore *r, uint32_t id)
{
    if (!id || is_folder(r, id))
        return;
    if ((r->dropped_n & (r->dropped_n - 1)) == 0) {
        r->dropped = realloc(r->dropped, (r->dropped_n ? 2 * r->dropped_n : 1) * sizeof *r->dropped);
        ASSERT(r->dropped);
    }
    r->dropped[r->dropped_n++] = (struct indexer_pair){.key = id};
}

/* Folders that clients deleted: what was expunged with them, and the vault's containers, still name them. */
static int find_dropped(struct indexer_restore *r, struct error *err)
{
    struct mds_removed removed = {0};
    struct mds_container c = {0};
    size_t n = 0;
    int rc;
    while ((rc = mds_removed_next(r->txn, removed.folder, removed.folder ? UINT32_MAX : 0, &removed, NULL)) > 0)
        dropped_add(r, removed.folder);
    if (rc < 0 && (rc = indexer_restore_renew(r, err)) < 0)
        return rc;
    while ((rc = mds_container_next(r->txn, c.id + 1, &c, NULL)) > 0)
        dropped_add(r, c.folder);
    if (rc < 0 && (rc = indexer_restore_renew(r, err)) < 0)
        return rc;
    if (r->dropped_n)
        qsort(r->dropped, r->dropped_n, sizeof *r->dropped, compare_u32);
    for (size_t i = 0; i < r->dropped_n; i++)
        if (!n || r->dropped[n - 1].key != r->dropped[i].key)
            r->dropped[n++] = r->dropped[i];
    r->dropped_n = n;
    return 0;
}

int indexer_restore_renew(struct indexer_restore *r, struct error *err)
{
    mds_read_end(&r->txn);
    return mds_read_begin(r->env, &r->txn, err);
}

static int read_messages(struct indexer_restore *r, uint32_t folder, uint64_t *lost, struct error *err)
{
    struct mds_folder f;
    struct mds_message m;
    uint32_t uid = 1;
    int rc = mds_folder_get(r->txn, folder, &f, err);
    if (rc < 0)
        return rc;
    while (uid < f.uidnext && (rc = mds_message_next(r->txn, folder, uid, &m, err)) != 0) {
        struct mds_item item;
        if (rc == BASE_ERR_CORRUPT) { /* which UID it was is not known: go on behind it */
            (*lost)++;
            uid++;
            if ((rc = indexer_restore_renew(r, err)) < 0)
                return rc;
            continue;
        }
        if (rc < 0)
            return rc;
        uid = m.uid + 1;
        rc = mds_item_get(r->txn, m.item, &item, NULL);
        if (rc < 0) {
            (*lost)++;
            if ((rc = indexer_restore_renew(r, err)) < 0)
                return rc;
            continue;
        }
        if ((rc = indexer_carry_note(r, &item.hash, folder, m.uid, false, err)) < 0)
            return rc;
        if (!indexer_carry_is_placed(r, folder, m.uid))
            continue; /* not to be found again in a vault: carried */
        struct record record = {0};
        put_be32(record.folder, folder);
        memcpy(record.hash, item.hash.b, sizeof record.hash);
        put_be32(record.uid, m.uid);
        rc = indexer_table_push(r->table, &record, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int indexer_restore_new(struct mds_env *old, const char *tmp, struct indexer_restore **out, uint64_t *lost_out,
                        struct error *err)
{
    struct indexer_restore *r = calloc(1, sizeof *r);
    ASSERT(r);
    r->env = old;
    *lost_out = 0;
    int rc = mds_read_begin(old, &r->txn, err);
    if (rc == 0)
        rc = indexer_table_new(tmp, RECORD_KEY, sizeof(struct record), &r->table, err);
    if (rc == 0)
        rc = find_folders(r, err);
    if (rc == 0)
        rc = find_dropped(r, err);
    if (rc == 0)
        rc = indexer_carry_places(r, err);
    if (rc == 0)
        rc = indexer_carry_notes_new(r, tmp, err);
    for (size_t i = 0; rc == 0 && i < r->folders_n; i++)
        rc = read_messages(r, r->folders[i], lost_out, err);
    r->lost = *lost_out;
    if (rc == 0)
        rc = indexer_carry_notes_finish(r, err);
    *lost_out = r->lost;
    if (rc == 0)
        rc = indexer_table_finish(r->table, err);
    if (rc < 0)
        indexer_restore_free(&r);
    else
        *out = r;
    return rc;
}

int indexer_restore_lost(const char *tmp, struct indexer_restore **out, struct error *err)
{
    struct indexer_restore *r = calloc(1, sizeof *r);
    ASSERT(r);
    r->lost = 1; /* so that what no table knows is recovered, not dead */
    int rc = indexer_table_new(tmp, RECORD_KEY, sizeof(struct record), &r->table, err);
    if (rc == 0)
        rc = indexer_table_finish(r->table, err);
    if (rc == 0)
        rc = indexer_carry_notes_new(r, tmp, err);
    if (rc == 0)
        rc = indexer_table_finish(r->loose, err);
    if (rc < 0)
        indexer_restore_free(&r);
    *out = r;
    return rc;
}

void indexer_restore_free(struct indexer_restore **r)
{
    if (!*r)
        return;
    mds_read_end(&(*r)->txn);
    indexer_table_free(&(*r)->table);
    indexer_carry_release(*r);
    indexer_table_free(&(*r)->loose);
    free((*r)->folders);
    free((*r)->dropped);
    free((*r)->pairs);
    free((*r)->forth);
    free(*r);
    *r = NULL;
}

/* ---- while the new store is built -------------------------------------------------------- */

static int restore_keywords(struct indexer_restore *r, struct indexer_writer *w, struct error *err)
{
    uint16_t n = mds_keyword_count(r->txn);
    int rc = 0;
    for (uint16_t i = 0; rc == 0 && i < n; i++) { /* in order: so that ids are the same */
        struct bytes name;
        uint16_t id;
        rc = mds_keyword_name(r->txn, i, &name, err);
        if (rc == 0)
            rc = mds_keyword_id(w->txn, name, true, &id, err);
        if (rc == 0 && id != i)
            rc = error_set(err, BASE_ERR_CORRUPT, 0, "the old store's keywords are not in order");
    }
    return rc;
}

static void pair_add(struct indexer_restore *r, uint32_t now, uint32_t old)
{
    r->pairs[r->pairs_n++] = (struct indexer_pair){.key = now, .value = old};
}

static int restore_folder(struct indexer_restore *r, struct indexer_writer *w, uint32_t old_id, struct error *err)
{
    struct buf name = {0};
    struct mds_folder old, now;
    uint32_t id = 0;
    int rc = mds_folder_get(r->txn, old_id, &old, err);
    if (rc == 0)
        rc = mds_folder_full_name(r->txn, old_id, &name, err);
    if (rc == 0 && old.selectable) {
        rc = mds_folder_create(w->txn, buf_bytes(&name), &id, err);
        if (rc == BASE_ERR_SYNTAX) { /* of before empty levels were refused: its vault names it, or it is recovered */
            buf_release(&name);
            return 0;
        }
        rc = rc == BASE_ERR_EXISTS ? 0 : rc;
        if (rc == 0)
            rc = mds_folder_get(w->txn, id, &now, err);
        if (rc == 0 && !now.exists && now.uidnext <= old.uidnext) {
            old.id = id;
            rc = mds_folder_restore(w->txn, &old, err);
        }
        pair_add(r, id, old_id);
    }
    buf_release(&name);
    return rc;
}

/* A folder that a client deleted and that others are below: it stays a level, but its UIDs are used. */
static int restore_level(struct indexer_restore *r, struct indexer_writer *w, uint32_t old_id, struct error *err)
{
    struct buf name = {0};
    struct mds_folder old;
    uint32_t id = 0;
    int rc = mds_folder_get(r->txn, old_id, &old, err);
    if (rc == 0)
        rc = mds_folder_full_name(r->txn, old_id, &name, err);
    const bool was_folder = rc == 0 && !old.selectable && old.uidnext > 1;
    if (was_folder) {
        rc = mds_folder_create(w->txn, buf_bytes(&name), &id, err);
        if (rc == 0) {
            old.id = id;
            rc = mds_folder_restore(w->txn, &old, err);
            if (rc == 0)
                rc = mds_folder_remove(w->txn, id, err);
        } else if (rc == BASE_ERR_EXISTS) {
            rc = 0; /* begun again, and it has new mail */
        }
        pair_add(r, id, old_id);
    }
    buf_release(&name);
    return rc;
}

static int restore_dropped(struct indexer_restore *r, struct indexer_writer *w, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->dropped_n; i++) {
        rc = mds_folder_reserve(w->txn, &r->dropped[i].value, err);
        pair_add(r, r->dropped[i].value, r->dropped[i].key);
    }
    return rc;
}

static int compare_pairs(const void *a, const void *b)
{
    return compare_u32(a, b); /* `now` comes first */
}

/* The own vault goes on where it ended; if that is not known, in a new segment. */
static int restore_segments(struct indexer_restore *r, struct indexer_writer *w, struct error *err)
{
    struct mds_segments at = {0};
    uint32_t number = 0;
    uint64_t bytes;
    int rc = r->env ? mds_segments_get(r->txn, &at, NULL) : BASE_ERR_NOTFOUND;
    if (rc < 0) {
        if (r->env && (rc = indexer_restore_renew(r, err)) < 0)
            return rc;
        while ((rc = segment_next(w->run->dir, number, &number, &bytes, err)) > 0)
            ;
        if (rc < 0)
            return rc;
        at = (struct mds_segments){.active = number + 1};
    }
    return at.active > 1 || at.tail ? mds_segments_put(w->txn, &at, err) : 0;
}

/* Nobody knows which UIDs clients were given: not one folder may have a UIDVALIDITY of before, INBOX neither. */
static int begin_lost(struct indexer_restore *r, struct indexer_writer *w, struct error *err)
{
    struct mds_folder inbox;
    uint32_t given;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_uidvalidity_raise(w->txn, archive_uidvalidity_unknown(0), err);
    if (rc == 0)
        rc = mds_folder_find(w->txn, BYTES_LIT("INBOX"), &inbox, err);
    if (rc == 0)
        rc = mds_folder_renumber(w->txn, inbox.id, &given, err);
    return rc == 0 ? restore_segments(r, w, err) : rc;
}

int indexer_restore_begin(struct indexer_restore *r, struct indexer_writer *w, struct error *err)
{
    if (!r->env)
        return begin_lost(r, w, err);
    size_t n = indexer_table_count(r->table);
    for (size_t i = 0; i < n; i++) /* begun again: what is there already answers EXISTS */
        ((struct record *)indexer_table_at(r->table, i))->skip = 0;
    free(r->pairs);
    free(r->forth);
    r->pairs_n = 0;
    r->pairs = calloc(r->folders_n + r->dropped_n + 1, sizeof *r->pairs);
    r->forth = calloc(r->folders_n + r->dropped_n + 1, sizeof *r->forth);
    ASSERT(r->pairs && r->forth);
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = restore_keywords(r, w, err);
    for (size_t i = 0; rc == 0 && i < r->folders_n; i++)
        rc = restore_folder(r, w, r->folders[i], err);
    for (size_t i = 0; rc == 0 && i < r->folders_n; i++)
        rc = restore_level(r, w, r->folders[i], err);
    if (rc == 0)
        rc = restore_dropped(r, w, err);
    uint32_t floor = 0; /* names that a rename left free must not get an old UIDVALIDITY again */
    if (rc == 0)
        rc = mds_uidvalidity_floor(r->txn, &floor, err);
    if (rc == 0)
        rc = mds_uidvalidity_raise(w->txn, floor, err);
    for (size_t i = 0; i < r->pairs_n; i++)
        r->forth[i] = (struct indexer_pair){.key = r->pairs[i].value, .value = r->pairs[i].key};
    qsort(r->pairs, r->pairs_n, sizeof *r->pairs, compare_pairs);
    qsort(r->forth, r->pairs_n, sizeof *r->forth, compare_pairs);
    return rc == 0 ? restore_segments(r, w, err) : rc;
}

uint32_t indexer_restore_folder(const struct indexer_restore *r, uint32_t old)
{
    const struct indexer_pair *pair =
        r->pairs_n ? bsearch(&old, r->forth, r->pairs_n, sizeof *r->forth, compare_u32) : NULL;
    return pair ? pair->value : 0;
}

static struct record *take_record(struct indexer_restore *r, uint32_t folder, const struct hash128 *hash)
{
    uint8_t prefix[4 + HASH128_BYTES];
    size_t n = indexer_table_count(r->table);
    put_be32(prefix, folder);
    memcpy(prefix + 4, hash->b, HASH128_BYTES);
    size_t i = n ? indexer_table_lower_bound(r->table, prefix, sizeof prefix) : 0;
    if (i >= n)
        return NULL;
    struct record *head = indexer_table_at(r->table, i);
    if (memcmp(head, prefix, sizeof prefix) != 0 || head->skip >= n - i)
        return NULL;
    struct record *found = indexer_table_at(r->table, i + head->skip);
    if (memcmp(found, prefix, sizeof prefix) != 0)
        return NULL;
    head->skip++;
    return found;
}

/* Adds m under the UID it had. 1 done, 0 the old store did not have it. */
int indexer_restore_add(struct indexer_restore *r, struct indexer_writer *w, const struct hash128 *hash,
                        struct mds_message *m, struct error *err)
{
    const struct indexer_pair *pair =
        r->pairs_n ? bsearch(&m->folder, r->pairs, r->pairs_n, sizeof *r->pairs, compare_u32) : NULL;
    struct record *record;
    while (pair && (record = take_record(r, pair->value, hash))) {
        struct mds_message old, now = *m;
        int rc = mds_message_get(r->txn, pair->value, get_be32(record->uid), &old, NULL);
        if (rc < 0) {
            if ((rc = indexer_restore_renew(r, err)) < 0)
                return rc;
            continue;
        }
        buf_reset(&w->keywords);
        buf_append_bytes(&w->keywords, old.keywords);
        now.uid = old.uid;
        now.flags = old.flags;
        now.saved_date = old.saved_date;
        now.keywords = buf_bytes(&w->keywords);
        rc = mds_message_restore(w->txn, &now, err);
        if (rc == BASE_ERR_EXISTS)
            continue;
        *m = now;
        return rc < 0 ? rc : 1;
    }
    return 0;
}

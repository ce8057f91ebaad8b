/* Verification of folders: counters, UID sets and logs against the message rows, names both ways. */
#include "columns_private.h"

#define SETS_KNOWN (1u + FLAG_BITS)

struct folder_check {
    struct verify *v;
    const struct mds_folder *f;
    roaring_bitmap_t *flags[SETS_KNOWN]; /* as the rows say: exists, then each flag */
    roaring_bitmap_t **keywords;
    uint32_t exists, unseen, deleted;
    uint64_t bytes;
    struct run *runs; /* of the changes log */
    size_t runs_n, runs_cap;
    uint64_t logged; /* entries of both logs above the floor */
    uint64_t last_modseq;
    roaring_bitmap_t *expunged;
    struct columns_check *columns;
};

/* Rows seen of tables that belong to folders: the rest are orphans. */
struct folder_totals {
    uint64_t messages, sets, changes, expunged, columns;
};

/* ---- names ---- */

static int check_names(struct verify *v, const struct mds_folder *f, struct error *err)
{
    struct key key;
    struct bytes row, text;
    struct buf full = {0};
    struct mds_folder again;
    uint32_t id = 0;
    bool hashed;

    folder_names_key(f->parent, f->name, &key, &hashed);
    int rc = row_get(v->t, TABLE_NAMES, key_bytes(&key), &row, err);

    if (rc != BASE_OK && rc != BASE_ERR_NOTFOUND)
        return rc;
    if (rc == BASE_ERR_NOTFOUND || !name_decode(row, hashed, &id, &text) || id != f->id ||
        (hashed && !bytes_equal(text, f->name)))
        verify_say(v, "folder %u: its name does not lead to it", f->id);
    if ((rc = mds_folder_full_name(v->t, f->id, &full, err)) == BASE_OK &&
        mds_folder_find(v->t, buf_bytes(&full), &again, NULL) == BASE_OK && again.id != f->id)
        verify_say(v, "folder %u: its full name leads to folder %u", f->id, again.id);
    if (rc == BASE_OK && full.n > v->renames.name_bytes)
        verify_say(v, "folder %u: its full name is longer than any can be", f->id);
    if (f->uidvalidity > v->renames.uidvalidity)
        verify_say(v, "folder %u: its UIDVALIDITY is above all that were given", f->id);
    buf_release(&full);
    if (rc == BASE_ERR_NOTFOUND) {
        verify_say(v, "folder %u: an ancestor is missing", f->id);
        rc = BASE_OK;
    }
    if (f->name.n == 0)
        verify_say(v, "folder %u: its name is empty", f->id);
    if (f->id >= v->counters.next_folder)
        verify_say(v, "folder %u: the next id to give is %u", f->id, v->counters.next_folder);
    return rc;
}

/* ---- logs ---- */

static int run_take(const struct run *run, void *arg)
{
    struct folder_check *c = arg;

    if (run->modseq <= c->last_modseq)
        verify_say(c->v, "folder %u: its log overlaps at modseq %llu", c->f->id, (unsigned long long)run->modseq);
    c->last_modseq = run->modseq + run->count - 1;
    if (c->last_modseq > c->f->highestmodseq || run->modseq < 2 || (uint64_t)run->uid + run->count > c->f->uidnext)
        verify_say(c->v, "folder %u: its log holds a change that never was, at modseq %llu", c->f->id,
                   (unsigned long long)run->modseq);
    c->logged += run->count;
    return BASE_OK;
}

static int change_run(const struct run *run, void *arg)
{
    struct folder_check *c = arg;

    if (c->runs_n == c->runs_cap) {
        c->runs_cap = c->runs_cap ? c->runs_cap * 2 : 16;
        c->runs = realloc(c->runs, c->runs_cap * sizeof *c->runs);
        ASSERT(c->runs);
    }
    c->runs[c->runs_n++] = *run;
    return run_take(run, arg);
}

static int expunged_run(const struct run *run, void *arg)
{
    struct folder_check *c = arg;

    roaring_bitmap_add_range(c->expunged, run->uid, (uint64_t)run->uid + run->count);
    return run_take(run, arg);
}

static bool logged_as(const struct folder_check *c, uint64_t modseq, uint32_t uid)
{
    size_t low = 0, high = c->runs_n;

    while (low < high) { /* first run that begins above modseq */
        const size_t mid = low + (high - low) / 2;

        if (c->runs[mid].modseq <= modseq)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return false;
    const struct run *run = &c->runs[low - 1];

    return modseq - run->modseq < run->count && run->uid + (modseq - run->modseq) == uid;
}

static int check_logs(struct folder_check *c, struct error *err)
{
    const uint64_t floor = c->f->changes_floor;
    int rc = log_walk(c->v->t, LOG_CHANGES, c->f->id, floor, change_run, c, err);

    c->last_modseq = 0;
    if (rc == BASE_OK)
        rc = log_walk(c->v->t, LOG_EXPUNGED, c->f->id, floor, expunged_run, c, err);
    if (rc == BASE_OK && c->logged != c->f->highestmodseq - (floor > 1 ? floor : 1))
        verify_say(c->v, "folder %u: highestmodseq is %llu, but its logs hold %llu changes", c->f->id,
                   (unsigned long long)c->f->highestmodseq, (unsigned long long)c->logged);
    return rc;
}

/* ---- messages ---- */

static void check_keywords(struct folder_check *c, const struct mds_message *m)
{
    for (size_t i = 0; i < m->keywords.n; i += 2) {
        const uint16_t id = (uint16_t)(m->keywords.p[i] << 8 | m->keywords.p[i + 1]);

        if (id >= c->v->t->keywords.n) {
            verify_say(c->v, "message %u/%u: unknown keyword %u", m->folder, m->uid, id);
            continue;
        }
        if (!c->keywords[id])
            c->keywords[id] = roaring_bitmap_create();
        roaring_bitmap_add(c->keywords[id], m->uid);
    }
}

static int check_message(struct folder_check *c, const struct mds_message *m, struct error *err)
{
    struct key key;
    struct bytes row;
    int rc;

    if (m->uid >= c->f->uidnext || m->modseq > c->f->highestmodseq || m->modseq < 2)
        verify_say(c->v, "message %u/%u: its UID or modseq was never given", m->folder, m->uid);
    else if (m->modseq > c->f->changes_floor && !logged_as(c, m->modseq, m->uid))
        verify_say(c->v, "message %u/%u: its last change is not in the log", m->folder, m->uid);
    filed_key(&key, m->item, m->folder, m->uid);
    rc = row_get(c->v->t, TABLE_FILED, key_bytes(&key), &row, err);
    if (rc == BASE_ERR_NOTFOUND || (rc == BASE_OK && row.n > 0)) /* not there, or as one that was removed */
        verify_say(c->v, "message %u/%u: item %llu is not filed as it", m->folder, m->uid, (unsigned long long)m->item);
    else if (rc != BASE_OK)
        return rc;
    key_reset(&key);
    key_u64(&key, m->item);
    if ((rc = row_get(c->v->t, TABLE_ITEMS, key_bytes(&key), &row, err)) == BASE_ERR_NOTFOUND)
        verify_say(c->v, "message %u/%u: there is no item %llu", m->folder, m->uid, (unsigned long long)m->item);
    else if (rc != BASE_OK)
        return rc;
    c->exists++;
    c->unseen += !(m->flags & FLAG_SEEN);
    c->deleted += !!(m->flags & FLAG_DELETED);
    c->bytes += m->size_crlf;
    roaring_bitmap_add(c->flags[0], m->uid);
    for (unsigned bit = 0; bit < FLAG_BITS; bit++) {
        if (m->flags >> bit & 1)
            roaring_bitmap_add(c->flags[1 + bit], m->uid);
    }
    check_keywords(c, m);
    return columns_check_message(c->columns, m, err);
}

static int check_messages(struct folder_check *c, struct error *err)
{
    struct mds_message m;
    int rc = BASE_OK;

    for (uint32_t uid = 1; !verify_full(c->v) && (rc = mds_message_next(c->v->t, c->f->id, uid, &m, err)) == 1;
         uid = m.uid + 1) {
        if ((rc = check_message(c, &m, err)) != BASE_OK)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (c->exists && !c->f->selectable)
        verify_say(c->v, "folder %u: it is only a level, but holds %u messages", c->f->id, c->exists);
    if (c->exists != c->f->exists || c->unseen != c->f->unseen || c->deleted != c->f->deleted ||
        c->bytes != c->f->bytes)
        verify_say(
            c->v,
            "folder %u: its counters say %u/%u/%u messages/unseen/deleted of %llu bytes, its rows %u/%u/%u of %llu",
            c->f->id, c->f->exists, c->f->unseen, c->f->deleted, (unsigned long long)c->f->bytes, c->exists, c->unseen,
            c->deleted, (unsigned long long)c->bytes);
    return rc;
}

/* ---- sets ---- */

static int check_set(struct folder_check *c, uint32_t set, const roaring_bitmap_t *rows, struct error *err)
{
    roaring_bitmap_t *stored = NULL;
    const int rc = mds_set_load(c->v->t, c->f->id, set, &stored, err);

    if (rc != BASE_OK)
        return rc;
    if (rows ? !roaring_bitmap_equals(rows, stored) : !roaring_bitmap_is_empty(stored))
        verify_say(c->v, "folder %u: UID set %u differs from the rows", c->f->id, set);
    roaring_bitmap_free(stored);
    return BASE_OK;
}

static int check_sets(struct folder_check *c, uint64_t *rows_n, struct error *err)
{
    struct key first = {.n = 0};
    struct bytes at, row;
    int rc = BASE_OK;

    for (unsigned i = 0; i < SETS_KNOWN && rc == BASE_OK; i++)
        rc = check_set(c, i, c->flags[i], err);
    for (uint32_t id = 0; id < c->v->t->keywords.n && rc == BASE_OK; id++)
        rc = check_set(c, MDS_SET_KEYWORD(id), c->keywords[id], err);
    if (rc != BASE_OK)
        return rc;
    key_u32(&first, c->f->id);
    at = key_bytes(&first);
    for (rc = row_seek(c->v->t, TABLE_SETS, MDB_SET_RANGE, &at, &row, err);
         rc == 1 && at.n == 10 && get_be32(at.p) == c->f->id;
         rc = row_seek(c->v->t, TABLE_SETS, MDB_NEXT, &at, &row, err)) {
        const uint32_t set = get_be32(at.p + 4);

        ++*rows_n;
        if (set >= SETS_KNOWN && (set < MDS_SET_KEYWORD(0) || set >= MDS_SET_KEYWORD(c->v->t->keywords.n)))
            verify_say(c->v, "folder %u: an unknown UID set %u", c->f->id, set);
    }
    return rc < 0 ? rc : BASE_OK;
}

static void check_expunged(struct folder_check *c)
{
    if (roaring_bitmap_intersect(c->expunged, c->flags[0]))
        verify_say(c->v, "folder %u: its log calls a message expunged that exists", c->f->id);
    if (c->f->changes_floor == 0 &&
        roaring_bitmap_get_cardinality(c->expunged) + roaring_bitmap_get_cardinality(c->flags[0]) != c->f->uidnext - 1)
        verify_say(c->v, "folder %u: messages are gone that no log calls expunged", c->f->id);
}

/* ---- all of a folder ---- */

static void check_release(struct folder_check *c)
{
    for (unsigned i = 0; i < SETS_KNOWN; i++)
        roaring_bitmap_free(c->flags[i]);
    for (uint32_t id = 0; id < c->v->t->keywords.n; id++) {
        if (c->keywords[id])
            roaring_bitmap_free(c->keywords[id]);
    }
    free(c->keywords);
    free(c->runs);
    columns_check_free(&c->columns);
    roaring_bitmap_free(c->expunged);
}

static int check_folder(struct verify *v, const struct mds_folder *f, struct folder_totals *totals, struct error *err)
{
    struct folder_check c = {.v = v, .f = f, .expunged = roaring_bitmap_create(), .columns = columns_check_new(v, f)};
    int rc;

    c.keywords = calloc(v->t->keywords.n + 1u, sizeof *c.keywords);
    ASSERT(c.keywords);
    for (unsigned i = 0; i < SETS_KNOWN; i++)
        c.flags[i] = roaring_bitmap_create();
    if ((rc = check_names(v, f, err)) == BASE_OK && (rc = check_logs(&c, err)) == BASE_OK &&
        (rc = check_messages(&c, err)) == BASE_OK && (rc = check_sets(&c, &totals->sets, err)) == BASE_OK &&
        (rc = columns_check_rows(v, f, &totals->columns, err)) == BASE_OK)
        check_expunged(&c);
    totals->messages += c.exists;
    check_release(&c);
    return rc;
}

/* Rows whose key begins with the id of a folder that is not there. */
static int check_orphans(struct verify *v, enum table table, struct error *err)
{
    struct bytes key = {0}, row;
    struct mds_folder f;
    uint32_t known = 0;
    int rc;

    for (rc = row_seek(v->t, table, MDB_FIRST, &key, &row, err); rc == 1 && !verify_full(v);
         rc = row_seek(v->t, table, MDB_NEXT, &key, &row, err)) {
        const uint32_t id = key.n >= 4 ? get_be32(key.p) : 0;

        if (id && id == known)
            continue;
        if (id == 0 || mds_folder_get(v->t, id, &f, NULL) != BASE_OK)
            verify_say(v, "table %s: rows of folder %u, which is not there", table_names[table], id);
        known = id;
    }
    return rc < 0 ? rc : BASE_OK;
}

int verify_folders(struct verify *v, struct error *err)
{
    static const enum table owned[] = {TABLE_MESSAGES, TABLE_SETS, TABLE_CHANGES, TABLE_EXPUNGED, TABLE_COLUMNS};
    struct folder_totals totals = {0};
    struct mds_folder f;
    int rc = keywords_load(v->t, err);

    if (rc != BASE_OK || (rc = renames_get(v->t, &v->renames, err)) != BASE_OK)
        return rc;
    if (v->renames.uidvalidity == 0) /* nothing was renamed yet */
        v->renames = (struct renames){.uidvalidity = UINT32_MAX, .name_bytes = MDS_NAME_MAX};
    for (uint32_t id = 0; !verify_full(v) && (rc = folder_next_id(v->t, id, &f, err)) == 1; id = f.id) {
        struct error why;

        if (check_folder(v, &f, &totals, &why) < 0)
            verify_say(v, "folder %u: %s", f.id, why.text);
    }
    if (rc < 0)
        return rc;
    if (mds_folder_find(v->t, BYTES_LIT("INBOX"), &f, NULL) != BASE_OK)
        verify_say(v, "there is no INBOX");
    if (totals.messages != v->rows[TABLE_MESSAGES] || totals.sets != v->rows[TABLE_SETS])
        verify_say(v, "folders hold %llu messages and %llu rows of UID sets, of %llu and %llu",
                   (unsigned long long)totals.messages, (unsigned long long)totals.sets,
                   (unsigned long long)v->rows[TABLE_MESSAGES], (unsigned long long)v->rows[TABLE_SETS]);
    if (totals.columns != v->rows[TABLE_COLUMNS])
        verify_say(v, "folders hold %llu rows of columns, of %llu", (unsigned long long)totals.columns,
                   (unsigned long long)v->rows[TABLE_COLUMNS]);
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        if ((rc = check_orphans(v, owned[i], err)) != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

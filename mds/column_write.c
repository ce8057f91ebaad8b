/*
 * Columns in a write transaction. What is filed is kept until its block is full or the commit comes, and packed if the
 * folder's UIDs passed a multiple of MDS_COLUMN_TAIL: so a message that comes alone costs nothing but each 64th time.
 * Packed values change no more: flags are sets, and a message that changed is in the log, which goes before the column
 * of modseqs. What the log forgets is written there. What can change a packed value otherwise (an item's new record, a
 * UID that comes back) lets the block go, to be packed anew by mds_columns_build.
 */
#include "columns_private.h"

#define TAILS_MAX 8u /* folders that get messages in turn */

struct tail {
    uint32_t folder; /* 0: free */
    uint32_t block;
    uint32_t begun; /* slots that this transaction filed: begun..to-1, of which rows holds from..to-1 */
    uint32_t from, to;
    struct column_row *rows;
    uint32_t cap;
    uint64_t used;
};

struct grid { /* a block in hand */
    int64_t v[STORED_COUNT][COLUMN_SLOTS];
    bool there[COLUMN_SLOTS];
};

struct columns_writer {
    uint64_t item; /* the last one that was added, 0: none */
    struct item_facts facts;
    struct tail tails[TAILS_MAX];
    uint64_t clock;
    struct grid *grid;
};

static struct columns_writer *writer_of(struct mds_txn *t)
{
    if (!t->w->columns) {
        t->w->columns = calloc(1, sizeof *t->w->columns);
        ASSERT(t->w->columns);
    }
    return t->w->columns;
}

void columns_drop(struct writer *w)
{
    if (!w->columns)
        return;
    for (unsigned i = 0; i < TAILS_MAX; i++)
        free(w->columns->tails[i].rows);
    free(w->columns->grid);
    free(w->columns);
    w->columns = NULL;
}

/* ---- items ---- */

void column_item_added(struct mds_txn *t, const struct mds_item *it)
{
    struct columns_writer *w = writer_of(t);

    w->item = it->id;
    w->facts = item_facts_of(it);
}

void column_item_removed(struct mds_txn *t, uint64_t item)
{
    if (t->w->columns && t->w->columns->item == item)
        t->w->columns->item = 0;
}

int column_item_facts(struct mds_txn *t, uint64_t item, struct item_facts *out, struct error *err)
{
    struct mds_item it;

    if (t->w->columns && t->w->columns->item == item && item != 0) {
        *out = t->w->columns->facts;
        return BASE_OK;
    }
    const int rc = item_row(t, item, &it, err);

    if (rc == BASE_OK)
        *out = item_facts_of(&it);
    return rc;
}

/* ---- packing ---- */

/* How many slots of the block all columns hold; they go to the grid. */
static int grid_load(struct mds_txn *t, uint32_t folder, uint32_t block, struct grid *g, uint32_t *n_out,
                     struct error *err)
{
    uint32_t n = COLUMN_SLOTS;

    for (unsigned i = 0; i < STORED_COUNT && n; i++) {
        struct column_block b;
        const int rc = column_block_get(t, folder, block, (enum stored)i, &b, err);

        if (rc < 0)
            return rc;
        n = rc == 0 ? 0 : b.n < n ? b.n : n;
        if (n)
            column_block_values(&b, g->v[i]);
    }
    memset(g->there, 0, sizeof g->there);
    memset(g->there, 1, n);
    *n_out = n;
    return BASE_OK;
}

static void grid_set(struct grid *g, uint32_t slot, const struct column_row *row)
{
    for (unsigned i = 0; i < STORED_COUNT; i++)
        g->v[i][slot] = row->v[i];
    g->there[slot] = true;
}

static int grid_read_rows(struct mds_txn *t, uint32_t folder, uint32_t block, uint32_t from, uint32_t end,
                          struct grid *g, struct error *err)
{
    const uint32_t first = block << COLUMN_SLOT_BITS;

    for (uint32_t slot = from; slot < end; slot++) {
        struct item_facts facts;
        struct column_row row;
        struct mds_message m;
        int rc = mds_message_next(t, folder, first + slot, &m, err);

        if (rc < 0)
            return rc;
        if (rc == 0 || column_block_of(m.uid) != block || column_slot_of(m.uid) >= end)
            break;
        if ((rc = column_item_facts(t, m.item, &facts, err)) != BASE_OK)
            return rc;
        column_row_of(&m, &facts, &row);
        slot = column_slot_of(m.uid);
        grid_set(g, slot, &row);
    }
    return BASE_OK;
}

/* A slot without message takes a neighbour's values, so that it widens no column. */
static void grid_fill_holes(struct grid *g, uint32_t end)
{
    uint32_t like = 0;

    while (like < end && !g->there[like])
        like++;
    ASSERT(like < end);
    for (uint32_t slot = 0; slot < end; slot++) {
        if (g->there[slot]) {
            like = slot;
            continue;
        }
        for (unsigned i = 0; i < STORED_COUNT; i++)
            g->v[i][slot] = g->v[i][like];
    }
}

static int values_put(struct mds_txn *t, uint32_t folder, uint32_t block, enum stored stored, const int64_t *values,
                      uint32_t n, struct error *err)
{
    struct key key;
    struct buf *v = value_begin(t);

    column_key(&key, folder, block, stored);
    column_block_encode(values, n, v);
    return row_put(t, TABLE_COLUMNS, key_bytes(&key), v, err);
}

/* tail: the rows it holds need not be read; may be NULL. */
static int block_write(struct mds_txn *t, uint32_t folder, uint32_t block, uint32_t end, const struct tail *tail,
                       struct error *err)
{
    struct columns_writer *w = writer_of(t);
    uint32_t members, n;
    int rc = set_count(t, folder, MDS_SET_EXISTS, block << COLUMN_SLOT_BITS, COLUMN_SLOTS, &members, err);

    if (rc != BASE_OK || members < COLUMN_SPARSE)
        return rc;
    if (!w->grid && !(w->grid = malloc(sizeof *w->grid)))
        return error_set(err, BASE_ERR_NOMEM, 0, "%s: no memory for a block of columns", t->env->dir);
    if ((rc = grid_load(t, folder, block, w->grid, &n, err)) != BASE_OK)
        return rc;
    if (n >= end)
        return BASE_OK;
    const uint32_t from = tail && tail->from > n ? tail->from : tail ? n : end;

    if ((rc = grid_read_rows(t, folder, block, n, from, w->grid, err)) != BASE_OK)
        return rc;
    for (uint32_t slot = from; slot < end; slot++)
        grid_set(w->grid, slot, &tail->rows[slot - tail->from]);
    grid_fill_holes(w->grid, end);
    for (unsigned i = 0; i < STORED_COUNT && rc == BASE_OK; i++)
        rc = values_put(t, folder, block, (enum stored)i, w->grid->v[i], end, err);
    return rc;
}

int column_block_write(struct mds_txn *t, uint32_t folder, uint32_t block, uint32_t end, struct error *err)
{
    return block_write(t, folder, block, end, NULL, err);
}

/* ---- filing ---- */

static int tail_flush(struct mds_txn *t, struct tail *tail, struct error *err)
{
    int rc = BASE_OK;

    if (tail->folder && tail->to / MDS_COLUMN_TAIL > tail->begun / MDS_COLUMN_TAIL)
        rc = block_write(t, tail->folder, tail->block, tail->to, tail, err);
    tail->folder = 0;
    return rc;
}

int columns_flush(struct mds_txn *t, struct error *err)
{
    int rc = BASE_OK;

    for (unsigned i = 0; t->w->columns && i < TAILS_MAX && rc == BASE_OK; i++)
        rc = tail_flush(t, &t->w->columns->tails[i], err);
    return rc;
}

static struct tail *tail_of(struct columns_writer *w, uint32_t folder)
{
    for (unsigned i = 0; w && i < TAILS_MAX; i++) {
        if (w->tails[i].folder == folder)
            return &w->tails[i];
    }
    return NULL;
}

/* One that stands at the UID. */
static int tail_at(struct mds_txn *t, uint32_t folder, uint32_t uid, struct tail **out, struct error *err)
{
    struct columns_writer *w = writer_of(t);
    struct tail *tail = tail_of(w, folder);
    int rc = BASE_OK;

    if (tail && tail->block == column_block_of(uid) && tail->to == column_slot_of(uid)) {
        *out = tail;
        return BASE_OK;
    }
    for (unsigned i = 0; !tail && i < TAILS_MAX; i++) {
        if (w->tails[i].folder == 0)
            tail = &w->tails[i];
    }
    if (!tail) {
        tail = &w->tails[0];
        for (unsigned i = 1; i < TAILS_MAX; i++)
            tail = w->tails[i].used < tail->used ? &w->tails[i] : tail;
    }
    if ((rc = tail_flush(t, tail, err)) == BASE_OK) {
        tail->folder = folder;
        tail->block = column_block_of(uid);
        tail->begun = tail->from = tail->to = column_slot_of(uid);
        *out = tail;
    }
    return rc;
}

int column_add(struct mds_txn *t, const struct mds_message *m, const struct item_facts *facts, struct error *err)
{
    struct tail *tail;
    int rc = tail_at(t, m->folder, m->uid, &tail, err);

    if (rc != BASE_OK)
        return rc;
    if (tail->to - tail->from == tail->cap) {
        tail->cap = tail->cap ? tail->cap * 2 : 4;
        tail->rows = realloc(tail->rows, tail->cap * sizeof *tail->rows);
        ASSERT(tail->rows);
    }
    column_row_of(m, facts, &tail->rows[tail->to - tail->from]);
    tail->to++;
    tail->used = ++t->w->columns->clock;
    return tail->to == COLUMN_SLOTS ? tail_flush(t, tail, err) : BASE_OK;
}

/* ---- forgetting ---- */

/* What was filed of the block in this transaction is read from its rows, if it is packed. */
static void tail_forget(struct mds_txn *t, uint32_t folder, uint32_t block)
{
    struct tail *tail = tail_of(t->w->columns, folder);

    if (tail && tail->block == block)
        tail->from = tail->to;
}

/* Rows whose key begins with the prefix. */
static int rows_forget(struct mds_txn *t, struct bytes prefix, struct error *err)
{
    struct key key;

    for (;;) {
        struct bytes at = prefix, row;
        int rc = row_seek(t, TABLE_COLUMNS, MDB_SET_RANGE, &at, &row, err);

        if (rc < 0 || rc == 0 || at.n < prefix.n || memcmp(at.p, prefix.p, prefix.n) != 0)
            return rc < 0 ? rc : BASE_OK;
        key_reset(&key);
        key_raw(&key, at);
        if ((rc = row_delete(t, TABLE_COLUMNS, key_bytes(&key), NULL, err)) != BASE_OK)
            return rc;
    }
}

int column_forget(struct mds_txn *t, uint32_t folder, uint32_t block, struct error *err)
{
    struct key prefix = {.n = 0};

    tail_forget(t, folder, block);
    key_u32(&prefix, folder);
    key_u32(&prefix, block);
    return rows_forget(t, key_bytes(&prefix), err);
}

int column_forget_folder(struct mds_txn *t, uint32_t folder, struct error *err)
{
    struct tail *tail = tail_of(t->w->columns, folder);
    struct key prefix = {.n = 0};

    if (tail)
        tail->folder = 0;
    key_u32(&prefix, folder);
    return rows_forget(t, key_bytes(&prefix), err);
}

int column_forget_item(struct mds_txn *t, uint64_t item, struct error *err)
{
    uint32_t folder, uid;
    uint64_t pos = 0;
    int rc;

    while ((rc = mds_item_messages(t, item, &pos, &folder, &uid, err)) == 1) {
        if ((rc = column_forget(t, folder, column_block_of(uid), err)) != BASE_OK)
            return rc;
    }
    return rc;
}

int column_restored(struct mds_txn *t, uint32_t folder, uint32_t uid, struct error *err)
{
    struct column_block b;

    tail_forget(t, folder, column_block_of(uid));
    const int rc = column_block_get(t, folder, column_block_of(uid), STORED_ITEM, &b, err);

    return rc == 1 && column_slot_of(uid) < b.n ? column_forget(t, folder, column_block_of(uid), err)
           : rc < 0                             ? rc
                                                : BASE_OK;
}

int column_left(struct mds_txn *t, uint32_t folder, uint32_t uid, struct error *err)
{
    const uint32_t block = column_block_of(uid);
    uint32_t members;
    const int rc = set_count(t, folder, MDS_SET_EXISTS, block << COLUMN_SLOT_BITS, COLUMN_SLOTS, &members, err);

    return rc == BASE_OK && members < COLUMN_SPARSE ? column_forget(t, folder, block, err) : rc;
}

/* ---- modseqs ---- */

struct modseqs { /* of the block in hand */
    struct mds_txn *t;
    uint32_t folder, block;
    uint32_t n; /* 0: nothing is packed */
    bool known, dirty;
    int64_t v[COLUMN_SLOTS];
};

static int modseqs_put(struct modseqs *s, struct error *err)
{
    const int rc = s->dirty ? values_put(s->t, s->folder, s->block, STORED_MODSEQ, s->v, s->n, err) : BASE_OK;

    s->dirty = false;
    return rc;
}

static int modseqs_at(struct modseqs *s, uint32_t block, struct error *err)
{
    struct column_block b;
    int rc;

    if (s->known && s->block == block)
        return BASE_OK;
    if ((rc = modseqs_put(s, err)) != BASE_OK ||
        (rc = column_block_get(s->t, s->folder, block, STORED_MODSEQ, &b, err)) < 0)
        return rc;
    s->known = true;
    s->block = block;
    s->n = rc ? b.n : 0;
    if (s->n)
        column_block_values(&b, s->v);
    return BASE_OK;
}

/* The log said that the message's modseq became this one. It still is, unless the row says otherwise. */
static int modseqs_take(struct modseqs *s, uint32_t uid, uint64_t modseq, struct error *err)
{
    const uint32_t slot = column_slot_of(uid);
    struct mds_message m;
    int rc = modseqs_at(s, column_block_of(uid), err);

    if (rc != BASE_OK || slot >= s->n || s->v[slot] == (int64_t)(modseq - uid))
        return rc;
    rc = mds_message_next(s->t, s->folder, uid, &m, err);
    if (rc == 1 && m.uid == uid && m.modseq == modseq) {
        s->v[slot] = (int64_t)(modseq - uid);
        s->dirty = true;
    }
    return rc < 0 ? rc : BASE_OK;
}

static int compare_runs(const void *a, const void *b)
{
    const struct run *x = a, *y = b;

    return (x->uid > y->uid) - (x->uid < y->uid);
}

int column_take_runs(struct mds_txn *t, uint32_t folder, struct run *runs, size_t n, struct error *err)
{
    struct modseqs *s = n ? calloc(1, sizeof *s) : NULL;
    int rc = BASE_OK;

    ASSERT(s || n == 0);
    if (n == 0)
        return BASE_OK;
    s->t = t;
    s->folder = folder;
    qsort(runs, n, sizeof *runs, compare_runs);
    for (size_t i = 0; i < n && rc == BASE_OK; i++) {
        for (uint32_t j = 0; j < runs[i].count && rc == BASE_OK; j++)
            rc = modseqs_take(s, runs[i].uid + j, runs[i].modseq + j, err);
    }
    if (rc == BASE_OK)
        rc = modseqs_put(s, err);
    free(s);
    return rc;
}

int column_forget_modseqs(struct mds_txn *t, uint32_t folder, struct error *err)
{
    uint32_t block = 0;

    for (;;) {
        struct key key;
        struct bytes at, row;
        int rc;

        column_key(&key, folder, block, STORED_MODSEQ);
        at = key_bytes(&key);
        rc = row_seek(t, TABLE_COLUMNS, MDB_SET_RANGE, &at, &row, err);
        if (rc < 0 || rc == 0 || at.n != 9 || get_be32(at.p) != folder)
            return rc < 0 ? rc : BASE_OK;
        if (at.p[8] <= STORED_MODSEQ) {
            block = get_be32(at.p + 4);
            column_key(&key, folder, block, STORED_MODSEQ);
            if ((rc = row_delete(t, TABLE_COLUMNS, key_bytes(&key), NULL, err)) != BASE_OK)
                return rc;
        } else {
            block = get_be32(at.p + 4);
        }
        if (block == UINT32_MAX >> COLUMN_SLOT_BITS)
            return BASE_OK;
        block++;
    }
}

/* Verification of columns: what is packed against the rows of messages and items. */
#include "columns_private.h"

struct columns_check {
    struct verify *v;
    const struct mds_folder *f;
    bool known; /* the block in hand */
    uint32_t block;
    uint32_t n[STORED_COUNT];
    int64_t values[STORED_COUNT][COLUMN_SLOTS];
};

struct columns_check *columns_check_new(struct verify *v, const struct mds_folder *f)
{
    struct columns_check *c = calloc(1, sizeof *c);

    ASSERT(c);
    c->v = v;
    c->f = f;
    return c;
}

void columns_check_free(struct columns_check **c)
{
    free(*c);
    *c = NULL;
}

static void block_load(struct columns_check *c, uint32_t block)
{
    c->known = true;
    c->block = block;
    for (unsigned i = 0; i < STORED_COUNT; i++) {
        struct column_block b;
        struct error why;
        const int rc = column_block_get(c->v->t, c->f->id, block, (enum stored)i, &b, &why);

        c->n[i] = rc == 1 ? b.n : 0;
        if (rc < 0)
            verify_say(c->v, "folder %u: %s", c->f->id, why.text);
        if (rc != 1)
            continue;
        if (!column_block_is_canonical(&b))
            verify_say(c->v, "folder %u: column %u of block %u has a form that nobody writes", c->f->id, i, block);
        column_block_values(&b, c->values[i]);
    }
    for (unsigned i = 0; i < STORED_COUNT; i++) { /* only modseqs are let go alone */
        if (c->n[i] != c->n[0] && (i != STORED_MODSEQ || c->n[i]))
            verify_say(c->v, "folder %u: column %u of block %u is not as long as the others", c->f->id, i, block);
    }
}

static bool value_is_right(const struct columns_check *c, const struct column_row *row, const struct mds_message *m,
                           enum stored stored)
{
    const int64_t packed = c->values[stored][column_slot_of(m->uid)];

    if (stored == STORED_MODSEQ && m->modseq > c->f->changes_floor) /* the log has it */
        return (uint64_t)packed + m->uid <= m->modseq;
    return packed == row->v[stored];
}

int columns_check_message(struct columns_check *c, const struct mds_message *m, struct error *err)
{
    struct column_row row;
    struct mds_item item;

    if (!c->known || c->block != column_block_of(m->uid))
        block_load(c, column_block_of(m->uid));
    if (column_slot_of(m->uid) >= c->n[STORED_ITEM])
        return BASE_OK;
    const int rc = item_row(c->v->t, m->item, &item, err);

    if (rc != BASE_OK)
        return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc; /* others say that it is missing */
    const struct item_facts facts = item_facts_of(&item);

    column_row_of(m, &facts, &row);
    for (unsigned i = 0; i < STORED_COUNT; i++) {
        if (column_slot_of(m->uid) < c->n[i] && !value_is_right(c, &row, m, (enum stored)i))
            verify_say(c->v, "message %u/%u: column %u differs from its row", m->folder, m->uid, i);
    }
    return BASE_OK;
}

int columns_check_rows(struct verify *v, const struct mds_folder *f, uint64_t *rows_n, struct error *err)
{
    struct key first = {.n = 0};
    struct bytes at, row;
    int rc;

    key_u32(&first, f->id);
    at = key_bytes(&first);
    for (rc = row_seek(v->t, TABLE_COLUMNS, MDB_SET_RANGE, &at, &row, err);
         rc == 1 && at.n >= 4 && get_be32(at.p) == f->id;
         rc = row_seek(v->t, TABLE_COLUMNS, MDB_NEXT, &at, &row, err)) {
        struct column_block b;

        ++*rows_n;
        if (at.n != 9 || at.p[8] >= STORED_COUNT || !column_block_decode(row, &b))
            verify_say(v, "folder %u: a row of columns does not decode", f->id);
        else if (((uint64_t)get_be32(at.p + 4) << COLUMN_SLOT_BITS) + b.n > f->uidnext)
            verify_say(v, "folder %u: columns of messages that never were", f->id);
    }
    return rc < 0 ? rc : BASE_OK;
}

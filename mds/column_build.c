/*
 * Packing what is not packed. A read transaction finds blocks, a write transaction packs some of them from their rows;
 * each block stands for itself, so it does not matter where this stops.
 */
#include "columns_private.h"

#define BLOCKS_AT_ONCE      64u
#define BLOCKS_WHEN_WAITING 4u /* somebody waits to write */
#define TRIES_MAX           40

struct todo {
    uint32_t folder, block, end;
};

struct search {
    struct mds_txn *t;
    uint32_t folder, block; /* where it goes on */
    struct todo found[BLOCKS_AT_ONCE];
    uint32_t found_n, limit;
};

/* Slots that all columns hold. */
static int packed_slots(struct mds_txn *t, uint32_t folder, uint32_t block, uint32_t *out, struct error *err)
{
    *out = COLUMN_SLOTS;
    for (unsigned i = 0; i < STORED_COUNT && *out; i++) {
        struct column_block b;
        const int rc = column_block_get(t, folder, block, (enum stored)i, &b, err);

        if (rc < 0)
            return rc;
        *out = rc == 0 ? 0 : b.n < *out ? b.n : *out;
    }
    return BASE_OK;
}

/* The block that holds the iterator's value; leaves it on the first member of another. */
static int block_look(struct search *s, roaring_uint32_iterator_t *it, struct error *err)
{
    const uint32_t block = column_block_of(it->current_value);
    uint32_t members = 0, end = 0, packed;

    for (; it->has_value && column_block_of(it->current_value) == block; roaring_advance_uint32_iterator(it)) {
        members++;
        end = column_slot_of(it->current_value) + 1;
    }
    s->block = block + 1;
    if (members < COLUMN_SPARSE || end < MDS_COLUMN_TAIL)
        return BASE_OK;
    const int rc = packed_slots(s->t, s->folder, block, &packed, err);

    if (rc == BASE_OK && packed < end / MDS_COLUMN_TAIL * MDS_COLUMN_TAIL)
        s->found[s->found_n++] = (struct todo){s->folder, block, end};
    return rc;
}

static int folder_look(struct search *s, struct error *err)
{
    roaring_bitmap_t *exists = NULL;
    roaring_uint32_iterator_t it;
    int rc = mds_set_load(s->t, s->folder, MDS_SET_EXISTS, &exists, err);

    if (rc != BASE_OK)
        return rc;
    roaring_init_iterator(exists, &it);
    if (s->block > UINT32_MAX >> COLUMN_SLOT_BITS)
        it.has_value = false;
    else if (it.has_value)
        (void)roaring_move_uint32_iterator_equalorlarger(&it, s->block << COLUMN_SLOT_BITS);
    while (rc == BASE_OK && it.has_value && s->found_n < s->limit)
        rc = block_look(s, &it, err);
    roaring_bitmap_free(exists);
    return rc;
}

static int look(struct mds_env *env, struct search *s, struct error *err)
{
    struct mds_folder f;
    int rc = mds_read_begin(env, &s->t, err);

    s->found_n = 0;
    s->limit = mds_writer_waiting(env) ? BLOCKS_WHEN_WAITING : BLOCKS_AT_ONCE;
    while (rc == BASE_OK) {
        if (s->folder && (rc = folder_look(s, err)) != BASE_OK)
            break;
        if (s->found_n == s->limit)
            break;
        if ((rc = folder_next_id(s->t, s->folder, &f, err)) != 1)
            break;
        s->folder = f.id;
        s->block = 0;
        rc = BASE_OK;
    }
    mds_read_end(&s->t);
    return rc < 0 ? rc : BASE_OK;
}

static int pack(struct mds_env *env, const struct search *s, struct error *err)
{
    for (int tries = 0;; tries++) {
        struct mds_txn *t = NULL;
        int rc = mds_write_begin(env, &t, err);

        for (uint32_t i = 0; i < s->found_n && rc == BASE_OK; i++)
            rc = column_block_write(t, s->found[i].folder, s->found[i].block, s->found[i].end, err);
        if (rc == BASE_OK)
            rc = mds_write_commit(&t, err);
        else
            mds_write_abort(&t);
        if (rc != BASE_ERR_AGAIN || tries >= TRIES_MAX)
            return rc;
    }
}

int mds_columns_build(struct mds_env *env, struct error *err)
{
    struct search s = {.folder = 0};
    int rc;

    do {
        if ((rc = look(env, &s, err)) == BASE_OK && s.found_n)
            rc = pack(env, &s, err);
    } while (rc == BASE_OK && s.found_n);
    return rc;
}

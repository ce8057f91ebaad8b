/* Flags of many messages: see fetch_flags.h. */
#include "fetch_flags.h"

void query_flags_release(struct query_flags *q)
{
    if (q->exists.uids)
        roaring_bitmap_free(q->exists.uids);
    for (size_t i = 0; i < q->n; i++)
        roaring_bitmap_free(q->v[i].uids);
    *q = (struct query_flags){0};
}

static void set_start(struct query_flags_set *s, uint32_t uid)
{
    roaring_init_iterator(s->uids, &s->it);
    roaring_move_uint32_iterator_equalorlarger(&s->it, uid);
}

/* Kept if it has members. */
static int set_add(struct query_flags *q, struct mds_txn *txn, uint32_t folder, uint32_t set, uint32_t flag,
                   uint16_t keyword, struct error *err)
{
    struct query_flags_set *s = &q->v[q->n];
    const int rc = mds_set_load(txn, folder, set, &s->uids, err);

    if (rc < 0)
        return rc;
    s->flag = flag;
    s->keyword = keyword;
    if (roaring_bitmap_is_empty(s->uids))
        roaring_bitmap_free(s->uids);
    else
        q->n++;
    return BASE_OK;
}

static int load(struct query_flags *q, struct mds_txn *txn, uint32_t folder, uint16_t keywords_n, struct error *err)
{
    int rc = mds_set_load(txn, folder, MDS_SET_EXISTS, &q->exists.uids, err);

    for (uint32_t bit = 0; rc >= 0 && MDS_FLAGS_ALL >> bit; bit++)
        rc = set_add(q, txn, folder, MDS_SET_FLAG(bit), UINT32_C(1) << bit, 0, err);
    for (uint16_t id = 0; rc >= 0 && id < keywords_n; id++)
        rc = set_add(q, txn, folder, MDS_SET_KEYWORD(id), 0, id, err);
    return rc;
}

int query_flags_begin(struct query_flags *q, struct mds_txn *txn, uint32_t folder, uint32_t uid, struct error *err)
{
    const uint16_t keywords_n = mds_keyword_count(txn);
    int rc = BASE_OK;

    if (keywords_n > QUERY_FLAGS_KEYWORDS)
        return 0;
    if (q->txn_id != mds_txn_id(txn)) {
        query_flags_release(q);
        rc = load(q, txn, folder, keywords_n, err);
        if (rc < 0) {
            query_flags_release(q);
            return rc;
        }
        q->txn_id = mds_txn_id(txn);
    }
    set_start(&q->exists, uid);
    for (size_t i = 0; i < q->n; i++)
        set_start(&q->v[i], uid);
    return 1;
}

/* Neighbours are a step, others a search. */
static inline bool set_has(struct query_flags_set *s, uint32_t uid)
{
    if (s->it.has_value && s->it.current_value < uid)
        (void)roaring_advance_uint32_iterator(&s->it);
    if (s->it.has_value && s->it.current_value < uid)
        (void)roaring_move_uint32_iterator_equalorlarger(&s->it, uid);
    return s->it.has_value && s->it.current_value == uid;
}

bool query_flags_next(struct query_flags *q, uint32_t uid)
{
    q->flags = 0;
    q->ids_n = 0;
    if (!set_has(&q->exists, uid))
        return false;
    for (size_t i = 0; i < q->n; i++) {
        if (!set_has(&q->v[i], uid))
            continue;
        if (q->v[i].flag) {
            q->flags |= q->v[i].flag;
        } else {
            q->ids[q->ids_n++] = (uint8_t)(q->v[i].keyword >> 8);
            q->ids[q->ids_n++] = (uint8_t)q->v[i].keyword;
        }
    }
    return true;
}

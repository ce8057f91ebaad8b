/*
 * SORT (RFC 5256, RFC 5957), in slices: each message's row, then the numbers of its texts (order.h), then how these
 * texts compare; by then every criterion is a column of numbers, and a stable sort by each, the last one first, gives
 * the order. What is equal in all criteria stays in the order of the view.
 *
 * A message takes 44 bytes and 8 for each criterion.
 */
#include "change.h"
#include "order.h"
#include "radix.h"

#include <glib.h>

#define ROWS_BETWEEN_CLOCKS 256u

enum stage { STAGE_ROWS, STAGE_TEXTS, STAGE_RANKS, STAGE_SORT, STAGE_DONE };

struct mdsq_sort {
    struct mdsq_sort_criterion by[MDSQ_SORT_MAX];
    size_t by_n;
    uint32_t folder;
    struct query_uids *uids;
    enum stage stage;
    /* rows */
    uint64_t next_uid;
    uint32_t n;
    uint32_t *uid;  /* [n] */
    uint64_t *item; /* [n]: 0: gone; NULL without texts */
    uint64_t last_item;
    uint64_t *column[MDSQ_SORT_MAX]; /* [n] of each criterion: its key, or the number of its text */
    /* texts */
    struct query_order *order;
    struct query_ranking *ranking;
    struct query_ranks *ranks;
    uint32_t numbers; /* 1 + the highest of them */
    size_t criterion; /* where it stands, and in it */
    uint32_t at;
    struct query_radix radix;
    uint32_t told;
};

static bool is_text(enum mdsq_sort_key key)
{
    return key != MDSQ_SORT_ARRIVAL && key != MDSQ_SORT_DATE && key != MDSQ_SORT_SIZE;
}

int mdsq_sort_new(const struct mdsq_view *view, const struct mdsq_set *set, const struct mdsq_sort_criterion *by,
                  size_t by_n, struct mdsq_sort **out, struct mdsq_error *err)
{
    struct error e;
    bool has_texts = false;

    query_error_init(&e);
    *out = NULL;
    if (by_n == 0 || by_n > MDSQ_SORT_MAX)
        return query_result(
            error_set(&e, BASE_ERR_LIMIT, 0, "%zu criteria: 1 to %d can be sorted by", by_n, MDSQ_SORT_MAX), &e, err);

    struct mdsq_sort *s = g_new0(struct mdsq_sort, 1);

    memcpy(s->by, by, by_n * sizeof *by);
    s->by_n = by_n;
    s->folder = view->folder;
    s->uids = query_uids_ref(set ? set->uids : view->uids);
    s->uid = g_new(uint32_t, (size_t)s->uids->count + 1);
    for (size_t i = 0; i < by_n; i++) {
        has_texts |= is_text(by[i].key);
        s->column[i] = g_new(uint64_t, (size_t)s->uids->count + 1);
    }
    if (has_texts)
        s->item = g_new(uint64_t, (size_t)s->uids->count + 1);
    *out = s;
    return MDSQ_OK;
}

void mdsq_sort_free(struct mdsq_sort **sort)
{
    struct mdsq_sort *s = *sort;

    *sort = NULL;
    if (s == NULL)
        return;
    query_uids_unref(&s->uids);
    query_ranking_free(&s->ranking);
    query_ranks_unref(&s->ranks);
    query_order_unref(&s->order);
    query_radix_release(&s->radix);
    for (size_t i = 0; i < s->by_n; i++)
        g_free(s->column[i]);
    g_free(s->item);
    g_free(s->uid);
    g_free(s);
}

/* ---- rows --------------------------------------------------------------------------------------- */

static uint64_t number_key(const struct mds_message *m, enum mdsq_sort_key key)
{
    switch (key) {
    case MDSQ_SORT_ARRIVAL: return query_radix_signed(m->internal_date);
    case MDSQ_SORT_DATE: return query_radix_signed(m->sent_date);
    case MDSQ_SORT_SIZE: return m->size_crlf;
    default: return 0;
    }
}

/* A message that is gone sorts as one without anything. */
static int collect_one(struct mdsq_sort *s, struct mdsq_reader *reader, uint32_t uid, struct error *err)
{
    struct mds_message m;
    const int rc = mds_message_next(reader->txn, s->folder, uid, &m, err);

    if (rc < 0)
        return rc;
    if (rc == 0 || m.uid != uid)
        m = (struct mds_message){0};
    s->uid[s->n] = uid;
    for (size_t i = 0; i < s->by_n; i++)
        s->column[i][s->n] = number_key(&m, s->by[i].key);
    if (s->item)
        s->item[s->n] = m.item;
    if (m.item > s->last_item)
        s->last_item = m.item;
    s->n++;
    return BASE_OK;
}

/* 1 the time is up. */
static int collect(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    roaring_uint32_iterator_t it;
    unsigned rows = 0;

    roaring_init_iterator(s->uids->bitmap, &it);
    if (s->next_uid > UINT32_MAX || !it.has_value ||
        !roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)s->next_uid))
        return BASE_OK;
    do {
        const int rc = collect_one(s, reader, it.current_value, err);

        if (rc < 0)
            return rc;
        s->next_uid = (uint64_t)it.current_value + 1;
        if (++rows % ROWS_BETWEEN_CLOCKS == 0 && query_os_monotonic_us() >= until_us)
            return 1;
    } while (roaring_advance_uint32_iterator(&it));
    return BASE_OK;
}

/* ---- texts ------------------------------------------------------------------------------------------ */

/* The numbers of one criterion's texts; 1 the time is up. A call gets a block further at least. */
static int number_texts(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    const struct query_number_block *block = NULL;
    uint64_t *column = s->column[s->criterion];

    for (; s->at < s->n; s->at++) {
        const uint64_t item = s->item[s->at];

        column[s->at] = 0;
        if (item == 0)
            continue;
        if (block == NULL || item < block->first || item - block->first >= block->n) {
            if (block && query_os_monotonic_us() >= until_us)
                return 1;

            const int rc =
                query_order_numbers(s->order, reader, s->by[s->criterion].key, item, s->last_item, &block, err);

            if (rc < 0)
                return rc;
        }
        column[s->at] = block->v[item - block->first];
        if (column[s->at] >= s->numbers)
            s->numbers = (uint32_t)column[s->at] + 1;
    }
    return BASE_OK;
}

static int number_all(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    for (; s->criterion < s->by_n; s->criterion++, s->at = 0) {
        if (!is_text(s->by[s->criterion].key))
            continue;

        const int rc = number_texts(s, reader, until_us, err);

        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

/* ---- sorting ----------------------------------------------------------------------------------------- */

/* The next criterion's keys, in the order that has been made so far. */
static void fill(struct mdsq_sort *s, bool first)
{
    const struct mdsq_sort_criterion *by = &s->by[s->criterion];
    const uint64_t *column = s->column[s->criterion];

    if (first)
        query_radix_init(&s->radix, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        const uint32_t who = first ? i : s->radix.rows[i].who;
        const uint64_t key = is_text(by->key) ? s->ranks->rank[column[who]] : column[who];

        s->radix.rows[i] = (struct query_radix_row){.key = by->reverse ? ~key : key, .who = who};
    }
    query_radix_again(&s->radix);
}

/* 1 the time is up. */
static int sort_all(struct mdsq_sort *s, uint64_t until_us)
{
    do {
        while (query_radix_step(&s->radix)) {
            if (query_os_monotonic_us() >= until_us)
                return 1;
        }
        if (s->criterion == 0)
            return 0;
        s->criterion--;
        fill(s, false);
    } while (query_os_monotonic_us() < until_us);
    return 1;
}

static int step(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    int rc = BASE_OK;

    switch (s->stage) {
    case STAGE_ROWS:
        rc = collect(s, reader, until_us, err);
        if (rc == BASE_OK && s->item && s->order == NULL)
            s->order = query_order_take(reader->archive);
        break;
    case STAGE_TEXTS: rc = s->item ? number_all(s, reader, until_us, err) : BASE_OK; break;
    case STAGE_RANKS:
        if (s->item && s->ranks == NULL)
            rc = query_ranking_run(&s->ranking, s->order, s->numbers, until_us, &s->ranks);
        if (rc == BASE_OK) {
            s->criterion = s->by_n - 1;
            fill(s, true);
        }
        break;
    case STAGE_SORT: rc = sort_all(s, until_us); break;
    case STAGE_DONE: break;
    }
    if (rc == BASE_OK && s->stage != STAGE_DONE)
        s->stage++;
    return rc;
}

int mdsq_sort_run(struct mdsq_sort *sort, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    const uint64_t until_us = query_os_monotonic_us() + (uint64_t)budget_ms * 1000;
    struct error e;
    int rc = BASE_OK;

    query_error_init(&e);
    while (rc == BASE_OK && sort->stage != STAGE_DONE)
        rc = step(sort, reader, until_us, &e);
    return rc < 0 ? query_result(rc, &e, err) : rc;
}

bool mdsq_sort_next(struct mdsq_sort *sort, uint32_t *uid_out)
{
    if (sort->stage != STAGE_DONE || sort->told >= sort->n)
        return false;
    *uid_out = sort->uid[sort->radix.rows[sort->told++].who];
    return true;
}

uint32_t mdsq_sort_last(const struct mdsq_sort *sort)
{
    return sort->stage == STAGE_DONE && sort->n ? sort->uid[sort->radix.rows[sort->n - 1].who] : 0;
}

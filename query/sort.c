/*
 * SORT (RFC 5256, RFC 5957), in slices: the members' columns, then the numbers of their texts (order.h), then how these
 * texts compare; by then every criterion is a column of numbers, and a stable sort by each, the last one first, gives
 * the order. What is equal in all criteria stays in the order of the view.
 *
 * A message takes 24 bytes and 8 for each criterion.
 */
#include "change.h"
#include "members.h"
#include "order.h"
#include "radix.h"

#include <glib.h>

enum stage { STAGE_MEMBERS, STAGE_TEXTS, STAGE_RANKS, STAGE_SORT, STAGE_DONE };

struct mdsq_sort {
    struct mdsq_sort_criterion by[MDSQ_SORT_MAX];
    size_t by_n;
    bool has_texts;
    const struct mdsq_fuzzy *fuzzy; /* the caller's, or NULL */
    enum stage stage;
    struct query_members members; /* a column a criterion: its value, or the item and later the number of its text */
    int64_t last_item;
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
    return key != MDSQ_SORT_ARRIVAL && key != MDSQ_SORT_DATE && key != MDSQ_SORT_SIZE && key != MDSQ_SORT_RELEVANCE;
}

static enum mds_column column_of(enum mdsq_sort_key key)
{
    switch (key) {
    case MDSQ_SORT_ARRIVAL: return MDS_COLUMN_INTERNAL;
    case MDSQ_SORT_DATE: return MDS_COLUMN_SENT;
    case MDSQ_SORT_SIZE: return MDS_COLUMN_SIZE;
    default: return MDS_COLUMN_ITEM;
    }
}

int mdsq_sort_new(const struct mdsq_view *view, const struct mdsq_set *set, const struct mdsq_sort_criterion *by,
                  size_t by_n, struct mdsq_sort **out, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *out = NULL;
    if (by_n == 0 || by_n > MDSQ_SORT_MAX)
        return query_result(
            error_set(&e, BASE_ERR_LIMIT, 0, "%zu criteria: 1 to %d can be sorted by", by_n, MDSQ_SORT_MAX), &e, err);

    struct mdsq_sort *s = g_new0(struct mdsq_sort, 1);
    enum mds_column columns[MDSQ_SORT_MAX];

    memcpy(s->by, by, by_n * sizeof *by);
    s->by_n = by_n;
    for (size_t i = 0; i < by_n; i++) {
        s->has_texts |= is_text(by[i].key);
        columns[i] = column_of(by[i].key);
    }
    query_members_init(&s->members, view->folder, set ? set->uids : view->uids, columns, by_n);
    *out = s;
    return MDSQ_OK;
}

void mdsq_sort_free(struct mdsq_sort **sort)
{
    struct mdsq_sort *s = *sort;

    *sort = NULL;
    if (s == NULL)
        return;
    query_members_release(&s->members);
    query_ranking_free(&s->ranking);
    query_ranks_unref(&s->ranks);
    query_order_unref(&s->order);
    query_radix_release(&s->radix);
    g_free(s);
}

void mdsq_sort_by_relevance(struct mdsq_sort *sort, const struct mdsq_fuzzy *fuzzy)
{
    sort->fuzzy = fuzzy;
}

/* A score takes the place of the item. */
static void fill_relevance(struct mdsq_sort *s)
{
    for (size_t i = 0; i < s->by_n; i++) {
        for (uint32_t k = 0; s->by[i].key == MDSQ_SORT_RELEVANCE && k < s->members.n; k++)
            s->members.value[i][k] = s->fuzzy ? -(int64_t)mdsq_fuzzy_score(s->fuzzy, s->members.uid[k]) : 0;
    }
}

/* ---- texts ------------------------------------------------------------------------------------------ */

/* The highest item, so that the newest block is read as far as it is needed. */
static void find_last_item(struct mdsq_sort *s, const int64_t *items)
{
    for (uint32_t i = 0; i < s->members.n; i++) {
        if (items[i] > s->last_item)
            s->last_item = items[i];
    }
}

/* The numbers of one criterion's texts take the place of items; 1 the time is up. A call gets a block further at least.
 */
static int number_texts(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    const struct query_number_block *block = NULL;
    int64_t *column = s->members.value[s->criterion];

    if (s->at == 0)
        find_last_item(s, column);
    for (; s->at < s->members.n; s->at++) {
        const uint64_t item = (uint64_t)column[s->at];

        if (item == 0)
            continue;
        if (block == NULL || item < block->first || item - block->first >= block->n) {
            if (block && query_os_monotonic_us() >= until_us)
                return 1;

            const int rc = query_order_numbers(s->order, reader, s->by[s->criterion].key, item, (uint64_t)s->last_item,
                                               &block, err);

            if (rc < 0)
                return rc;
        }

        const uint32_t number = block->v[item - block->first];

        column[s->at] = number;
        if (number >= s->numbers)
            s->numbers = number + 1;
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

/* By the criterion in hand: the order so far is kept where it leaves things equal. */
static void sort_by(struct mdsq_sort *s)
{
    const struct mdsq_sort_criterion *by = &s->by[s->criterion];

    query_radix_by(&s->radix, s->members.value[s->criterion], is_text(by->key) ? s->ranks->rank : NULL, by->reverse);
}

/* 1 the time is up. */
static int sort_all(struct mdsq_sort *s, uint64_t until_us)
{
    for (;;) {
        while (query_radix_step(&s->radix)) {
            if (query_os_monotonic_us() >= until_us)
                return 1;
        }
        if (s->criterion == 0)
            return BASE_OK;
        s->criterion--;
        sort_by(s);
    }
}

static int step(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    int rc = BASE_OK;

    switch (s->stage) {
    case STAGE_MEMBERS:
        rc = query_members_run(&s->members, reader, until_us, err);
        if (rc == BASE_OK)
            fill_relevance(s);
        if (rc == BASE_OK && s->has_texts)
            s->order = query_order_take(reader->archive);
        break;
    case STAGE_TEXTS: rc = s->has_texts ? number_all(s, reader, until_us, err) : BASE_OK; break;
    case STAGE_RANKS:
        if (s->has_texts)
            rc = query_ranking_run(&s->ranking, s->order, s->numbers, until_us, &s->ranks);
        if (rc == BASE_OK) {
            s->criterion = s->by_n - 1;
            query_radix_init(&s->radix, s->members.n);
            sort_by(s);
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

static uint32_t uid_at(const struct mdsq_sort *s, uint32_t place)
{
    return s->members.uid[s->radix.order[place]];
}

bool mdsq_sort_next(struct mdsq_sort *sort, uint32_t *uid_out)
{
    if (sort->stage != STAGE_DONE || sort->told >= sort->members.n)
        return false;
    *uid_out = uid_at(sort, sort->told++);
    return true;
}

void mdsq_sort_seek(struct mdsq_sort *sort, uint32_t place)
{
    sort->told = place;
}

uint32_t mdsq_sort_last(const struct mdsq_sort *sort)
{
    return sort->stage == STAGE_DONE && sort->members.n ? uid_at(sort, sort->members.n - 1) : 0;
}

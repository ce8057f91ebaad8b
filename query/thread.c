/*
 * THREAD (RFC 5256) in slices: each message's row, its ids and subject (order.h), the order of sent dates, links
 * between parents and children, the tree. See thread.h.
 *
 * A message takes some 110 bytes, and 8 for each reference; a stranger 40.
 */
#include "thread.h"
#include "change.h"

#include <glib.h>

#define ROWS_BETWEEN_CLOCKS 256u

enum stage { STAGE_ROWS, STAGE_WORDS, STAGE_DATES, STAGE_IDS, STAGE_LINKS, STAGE_TREE, STAGE_DONE };

int mdsq_thread_new(const struct mdsq_view *view, const struct mdsq_set *set, enum mdsq_thread_algorithm algorithm,
                    struct mdsq_thread **out, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *out = NULL;
    if ((unsigned)algorithm > MDSQ_THREAD_REFS)
        return query_result(error_set(&e, BASE_ERR_USAGE, 0, "unknown algorithm %u", (unsigned)algorithm), &e, err);

    struct mdsq_thread *t = g_new0(struct mdsq_thread, 1);

    t->algorithm = algorithm;
    t->folder = view->folder;
    t->uids = query_uids_ref(set ? set->uids : view->uids);

    const size_t n = t->uids->count;

    if (n >= THREAD_NONE / 4) {
        mdsq_thread_free(&t);
        return query_result(error_set(&e, BASE_ERR_LIMIT, 0, "%zu messages are too many for threads", n), &e, err);
    }
    t->uid = g_new(uint32_t, n + 1);
    t->item = g_new(uint64_t, n + 1);
    query_radix_init(&t->radix, (uint32_t)n);
    *out = t;
    return MDSQ_OK;
}

void mdsq_thread_free(struct mdsq_thread **thread)
{
    struct mdsq_thread *t = *thread;

    *thread = NULL;
    if (t == NULL)
        return;
    query_uids_unref(&t->uids);
    query_order_unref(&t->order);
    query_radix_release(&t->radix);
    thread_ids_release(t);
    buf_release(&t->refs);
    g_free(t->uid);
    g_free(t->item);
    g_free(t->id);
    g_free(t->subject);
    g_free(t->refs_at);
    g_free(t->by_rank);
    g_free(t->parent);
    g_free(t->children);
    g_free(t->first);
    g_free(t->next);
    g_free(t->tail);
    g_free(t);
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* 1 the time is up. A message that is gone has no item and the earliest of dates. */
static int collect(struct mdsq_thread *t, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    roaring_uint32_iterator_t it;
    unsigned rows = 0;

    roaring_init_iterator(t->uids->bitmap, &it);
    if (t->next_uid > UINT32_MAX || !it.has_value ||
        !roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)t->next_uid))
        return BASE_OK;
    do {
        struct mds_message m;
        const uint32_t uid = it.current_value;
        const int rc = mds_message_next(reader->txn, t->folder, uid, &m, err);

        if (rc < 0)
            return rc;
        if (rc == 0 || m.uid != uid)
            m = (struct mds_message){.sent_date = INT64_MIN};
        t->uid[t->n] = uid;
        t->item[t->n] = m.item;
        t->radix.rows[t->n] = (struct query_radix_row){.key = query_radix_signed(m.sent_date), .who = t->n};
        t->n++;
        if (m.item > t->last_item)
            t->last_item = m.item;
        t->next_uid = (uint64_t)uid + 1;
        if (++rows % ROWS_BETWEEN_CLOCKS == 0 && query_os_monotonic_us() >= until_us)
            return 1;
    } while (roaring_advance_uint32_iterator(&it));
    return BASE_OK;
}

/* ---- ids, subjects, references --------------------------------------------------------------------- */

static void words_begin(struct mdsq_thread *t, struct mdsq_reader *reader)
{
    if (t->order)
        return;
    t->order = query_order_take(reader->archive);
    t->id = g_new0(uint64_t, (size_t)t->n + 1);
    t->subject = g_new0(uint64_t, (size_t)t->n + 1);
    t->refs_at = g_new0(uint32_t, (size_t)t->n + 1);
}

static void take_row(struct mdsq_thread *t, const struct query_thread_block *block, uint64_t item)
{
    const uint32_t i = (uint32_t)(item - block->first), at = block->at[i], end = block->at[i + 1];

    if (end - at < 2)
        return;
    t->id[t->at] = block->v[at];
    t->subject[t->at] = block->v[at + 1];
    buf_append(&t->refs, &block->v[at + 2], (size_t)(end - at - 2) * sizeof block->v[0]);
}

/* 1 the time is up. A call gets a block further at least. */
static int collect_words(struct mdsq_thread *t, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    const struct query_thread_block *block = NULL;

    words_begin(t, reader);
    for (; t->at < t->n; t->at++) {
        const uint64_t item = t->item[t->at];

        t->refs_at[t->at] = (uint32_t)(t->refs.n / sizeof(uint64_t));
        if (item == 0)
            continue;
        if (block == NULL || item < block->first || item - block->first >= block->n) {
            if (block && query_os_monotonic_us() >= until_us)
                return 1;

            const int rc = query_order_thread(t->order, reader, item, t->last_item, &block, err);

            if (rc < 0)
                return rc;
        }
        take_row(t, block, item);
        if (t->refs.n / sizeof(uint64_t) >= UINT32_MAX / 2)
            return error_set(err, BASE_ERR_LIMIT, 0, "too many references for threads");
    }
    t->refs_at[t->n] = (uint32_t)(t->refs.n / sizeof(uint64_t));
    g_free(t->item);
    t->item = NULL;
    query_order_unref(&t->order);
    return BASE_OK;
}

/* ---- what is made of them ------------------------------------------------------------------------------ */

/* 1 the time is up. */
static int order_dates(struct mdsq_thread *t, uint64_t until_us)
{
    while (query_radix_step(&t->radix)) {
        if (query_os_monotonic_us() >= until_us)
            return 1;
    }
    t->by_rank = g_new(uint32_t, (size_t)t->n + 1);
    for (uint32_t i = 0; i < t->n; i++)
        t->by_rank[i] = t->radix.rows[i].who;
    query_radix_release(&t->radix);
    return BASE_OK;
}

static void begin_nodes(struct mdsq_thread *t)
{
    t->nodes = t->n;
    t->nodes_cap = t->n + 1;
    t->parent = g_new(uint32_t, t->nodes_cap);
    t->children = g_new0(uint32_t, t->nodes_cap);
    for (uint32_t i = 0; i < t->nodes_cap; i++)
        t->parent[i] = THREAD_NONE;
    if (t->algorithm != MDSQ_THREAD_ORDEREDSUBJECT)
        thread_ids_begin(t);
    t->at = 0;
}

static int link_all(struct mdsq_thread *t, uint64_t until_us, struct error *err)
{
    const int rc = t->algorithm == MDSQ_THREAD_ORDEREDSUBJECT ? BASE_OK : thread_link(t, until_us, err);

    if (rc == BASE_OK) {
        thread_ids_release(t);
        buf_release(&t->refs);
        g_free(t->children);
        t->children = NULL;
    }
    return rc;
}

/* 1 the time is up. */
static int make_tree(struct mdsq_thread *t, uint64_t until_us)
{
    while (thread_tree_step(t)) {
        if (query_os_monotonic_us() >= until_us)
            return 1;
    }
    return BASE_OK;
}

static int step(struct mdsq_thread *t, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    int rc = BASE_OK;

    switch ((enum stage)t->stage) {
    case STAGE_ROWS: rc = collect(t, reader, until_us, err); break;
    case STAGE_WORDS: rc = collect_words(t, reader, until_us, err); break;
    case STAGE_DATES: rc = order_dates(t, until_us); break;
    case STAGE_IDS: begin_nodes(t); break;
    case STAGE_LINKS: rc = link_all(t, until_us, err); break;
    case STAGE_TREE: rc = make_tree(t, until_us); break;
    case STAGE_DONE: break;
    }
    if (rc == BASE_OK)
        t->stage++;
    return rc;
}

int mdsq_thread_run(struct mdsq_thread *thread, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    const uint64_t until_us = query_os_monotonic_us() + (uint64_t)budget_ms * 1000;
    struct error e;
    int rc = BASE_OK;

    query_error_init(&e);
    while (rc == BASE_OK && thread->stage != STAGE_DONE) {
        rc = step(thread, reader, until_us, &e);
        if (rc == BASE_OK && thread->stage != STAGE_DONE && query_os_monotonic_us() >= until_us)
            rc = 1;
    }
    return rc < 0 ? query_result(rc, &e, err) : rc;
}

/* ---- telling -------------------------------------------------------------------------------------------- */

static bool is_only_child(const struct mdsq_thread *t, uint32_t node)
{
    const uint32_t parent = t->parent[node];

    return parent != THREAD_NONE && t->first[parent] == node && t->next[node] == THREAD_NONE;
}

/* The node after a leaf, upwards; lists that end on the way. */
static uint32_t after_leaf(struct mdsq_thread *t, uint32_t node, uint32_t *closes_out)
{
    for (;;) {
        *closes_out += !is_only_child(t, node);
        if (t->next[node] != THREAD_NONE)
            return t->next[node];
        node = t->parent[node];
        if (node == THREAD_NONE)
            return THREAD_NONE;
        t->told_depth--;
    }
}

bool mdsq_thread_next(struct mdsq_thread *thread, struct mdsq_thread_member *out)
{
    struct mdsq_thread *t = thread;

    if (t->stage != STAGE_DONE)
        return false;
    if (!t->telling) {
        t->telling = true;
        t->told = t->root_first;
    }
    if (t->told == THREAD_NONE)
        return false;

    const uint32_t node = t->told;

    *out = (struct mdsq_thread_member){
        .uid = thread_is_member(t, node) ? t->uid[node] : 0,
        .depth = t->told_depth,
        .opens = !is_only_child(t, node),
    };
    if (t->first[node] != THREAD_NONE) {
        t->told = t->first[node];
        t->told_depth++;
    } else {
        t->told = after_leaf(t, node, &out->closes);
    }
    return true;
}

/*
 * THREAD (RFC 5256) in slices: each message's row, its ids and subject (order.h), the order of sent dates, links
 * between parents and children, the tree. See thread.h.
 *
 * A message takes some 120 bytes, and 8 for each reference; a stranger 40.
 */
#include "thread.h"
#include "big.h"
#include "change.h"

#include <glib.h>

enum stage { STAGE_MEMBERS, STAGE_WORDS, STAGE_DATES, STAGE_IDS, STAGE_LINKS, STAGE_TREE, STAGE_DONE };

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

    struct query_uids *uids = set ? set->uids : view->uids;

    if (uids->count >= THREAD_NONE / 4) {
        mdsq_thread_free(&t);
        return query_result(error_set(&e, BASE_ERR_LIMIT, 0, "too many messages for threads"), &e, err);
    }
    query_members_init(&t->members, view->folder, uids, (const enum mds_column[]){MDS_COLUMN_ITEM, MDS_COLUMN_SENT}, 2);
    *out = t;
    return MDSQ_OK;
}

void mdsq_thread_free(struct mdsq_thread **thread)
{
    struct mdsq_thread *t = *thread;

    *thread = NULL;
    if (t == NULL)
        return;
    query_members_release(&t->members);
    query_order_unref(&t->order);
    query_radix_release(&t->radix);
    thread_ids_release(&t->ids);
    buf_release(&t->refs);
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

/* ---- members ------------------------------------------------------------------------------------ */

static void take_members(struct mdsq_thread *t)
{
    t->n = t->members.n;
    t->uid = t->members.uid;
    query_radix_init(&t->radix, t->n);
    query_radix_by(&t->radix, t->members.value[1], NULL, false);
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->members.value[0][i] > t->last_item)
            t->last_item = t->members.value[0][i];
    }
}

/* 1 the time is up. */
static int collect(struct mdsq_thread *t, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    const int rc = query_members_run(&t->members, reader, until_us, err);

    if (rc == BASE_OK)
        take_members(t);
    return rc;
}

/* ---- ids, subjects, references --------------------------------------------------------------------- */

static void words_begin(struct mdsq_thread *t, struct mdsq_reader *reader)
{
    if (t->order)
        return;
    t->order = query_order_take(reader->archive);
    t->id = query_big_new0(t->n, sizeof(uint64_t));
    t->subject = query_big_new0(t->n, sizeof(uint64_t));
    t->refs_at = query_big_new0(t->n, sizeof(uint32_t));
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
        const uint64_t item = (uint64_t)t->members.value[0][t->at];

        t->refs_at[t->at] = (uint32_t)(t->refs.n / sizeof(uint64_t));
        if (item == 0)
            continue;
        if (block == NULL || item < block->first || item - block->first >= block->n) {
            if (block && query_os_monotonic_us() >= until_us)
                return 1;

            const int rc = query_order_thread(t->order, reader, item, (uint64_t)t->last_item, &block, err);

            if (rc < 0)
                return rc;
        }
        take_row(t, block, item);
        if (t->refs.n / sizeof(uint64_t) >= UINT32_MAX / 2)
            return error_set(err, BASE_ERR_LIMIT, 0, "too many references for threads");
    }
    t->refs_at[t->n] = (uint32_t)(t->refs.n / sizeof(uint64_t));
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
    t->by_rank = t->radix.order;
    t->radix.order = NULL;
    query_radix_release(&t->radix);
    return BASE_OK;
}

static void begin_nodes(struct mdsq_thread *t)
{
    t->nodes = t->n;
    t->nodes_cap = t->n + t->n / 4 + 1;
    t->parent = query_big_new(t->nodes_cap, sizeof *t->parent);
    t->children = query_big_new0(t->nodes_cap, sizeof *t->children);
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
        thread_ids_release(&t->ids);
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
    case STAGE_MEMBERS: rc = collect(t, reader, until_us, err); break;
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

/*
 * thread_tree: from parents to the tree that is told. Lists of children are made by walking the members in the order of
 * their sent dates and appending each to its parent's, so that every set of siblings is sorted without being sorted.
 */
#include "big.h"
#include "thread.h"

#include <glib.h>

static void tree_alloc(struct mdsq_thread *t, uint32_t nodes)
{
    g_free(t->first);
    g_free(t->next);
    g_free(t->tail);
    t->first = query_big_new(nodes, sizeof(uint32_t));
    t->next = query_big_new(nodes, sizeof(uint32_t));
    t->tail = query_big_new(nodes, sizeof(uint32_t));
    for (uint32_t i = 0; i < nodes; i++)
        t->first[i] = t->next[i] = t->tail[i] = THREAD_NONE;
    t->root_first = t->root_tail = THREAD_NONE;
}

static void append(struct mdsq_thread *t, uint32_t parent, uint32_t node)
{
    uint32_t *first = parent == THREAD_NONE ? &t->root_first : &t->first[parent],
             *tail = parent == THREAD_NONE ? &t->root_tail : &t->tail[parent];

    if (*first == THREAD_NONE)
        *first = node;
    else
        t->next[*tail] = node;
    *tail = node;
}

/*
 * Step 3 without a walk of the trees: the parent of a member is its nearest ancestor that is a member, else the highest
 * stranger above it. Strangers on the way are left pointing there, so that each is passed once.
 */
static uint32_t nearest(struct mdsq_thread *t, uint32_t node)
{
    uint32_t found = t->parent[node];

    if (found == THREAD_NONE || thread_is_member(t, found))
        return found;
    while (!thread_is_member(t, found) && t->parent[found] != THREAD_NONE)
        found = t->parent[found];
    for (uint32_t at = t->parent[node]; at != found;) {
        const uint32_t above = t->parent[at];

        t->parent[at] = found;
        at = above;
    }
    return found;
}

/* Steps 2 and 3; then a stranger that has one child alone is no parent. */
static void prune(struct mdsq_thread *t)
{
    uint32_t *count = query_big_new0(t->nodes, sizeof(uint32_t)), *found = query_big_new(t->n, sizeof(uint32_t));

    for (uint32_t i = 0; i < t->n; i++) {
        found[i] = nearest(t, i);
        if (found[i] != THREAD_NONE)
            count[found[i]]++;
    }
    for (uint32_t i = 0; i < t->n; i++) {
        const bool alone = found[i] != THREAD_NONE && !thread_is_member(t, found[i]) && count[found[i]] == 1;

        t->parent[i] = alone ? THREAD_NONE : found[i];
    }
    for (uint32_t i = t->n; i < t->nodes; i++)
        t->parent[i] = THREAD_NONE;
    g_free(count);
    g_free(found);
}

/* Members below their parents, roots by their own date or that of their first child. */
static void grow(struct mdsq_thread *t)
{
    tree_alloc(t, t->nodes);
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t node = t->by_rank[i], parent = t->parent[node];

        if (parent != THREAD_NONE && !thread_is_member(t, parent) && t->first[parent] == THREAD_NONE)
            append(t, THREAD_NONE, parent);
        append(t, parent, node);
    }
}

/* ---- step 5: joining by subject ---------------------------------------------------------------------- */

struct joining {
    struct mdsq_thread *t;
    struct thread_ids table; /* subjects and the root of each */
    uint32_t *joined;        /* of a stranger: the one that took its children; THREAD_NONE */
};

/* 0: empty. */
static uint64_t subject_of(const struct mdsq_thread *t, uint32_t root)
{
    return query_subject_text(t->subject[thread_is_member(t, root) ? root : t->first[root]]);
}

static bool is_reply(const struct mdsq_thread *t, uint32_t node)
{
    return thread_is_member(t, node) && t->subject[node] & QUERY_SUBJECT_REPLY;
}

/* (B) one message for each subject. */
static void fill_table(struct joining *j)
{
    struct mdsq_thread *t = j->t;

    for (uint32_t root = t->root_first; root != THREAD_NONE; root = t->next[root]) {
        const uint64_t subject = subject_of(t, root);

        if (subject == 0)
            continue;

        struct thread_id *slot = thread_ids_find(&j->table, subject);

        if (slot->hash == 0)
            thread_ids_put(&j->table, slot, subject, root);
        else if (thread_is_member(t, slot->node) &&
                 (!thread_is_member(t, root) || (is_reply(t, slot->node) && !is_reply(t, root))))
            slot->node = root;
    }
}

static uint32_t dummy_new(struct joining *j)
{
    struct mdsq_thread *t = j->t;

    if (t->nodes == t->nodes_cap) {
        t->nodes_cap += t->nodes_cap / 2 + 64;
        t->parent = g_renew(uint32_t, t->parent, t->nodes_cap);
        j->joined = g_renew(uint32_t, j->joined, t->nodes_cap);
    }
    t->parent[t->nodes] = j->joined[t->nodes] = THREAD_NONE;
    return t->nodes++;
}

static void join(struct joining *j, uint32_t root, struct thread_id *slot)
{
    struct mdsq_thread *t = j->t;
    const uint32_t there = slot->node;

    if (!thread_is_member(t, root) && !thread_is_member(t, there)) {
        j->joined[root] = there;
    } else if (!thread_is_member(t, there) || (is_reply(t, root) && !is_reply(t, there))) {
        t->parent[root] = there;
    } else {
        slot->node = dummy_new(j);
        t->parent[root] = t->parent[there] = slot->node;
    }
}

/* (C) roots of one subject become one. What was joined to another is no root any more and is passed over. */
static void join_roots(struct joining *j)
{
    struct mdsq_thread *t = j->t;

    for (uint32_t root = t->root_first; root != THREAD_NONE; root = t->next[root]) {
        const uint64_t subject = subject_of(t, root);

        if (subject == 0 || t->parent[root] != THREAD_NONE)
            continue;

        struct thread_id *slot = thread_ids_find(&j->table, subject);

        if (slot->node != root)
            join(j, root, slot);
    }
}

static void join_subjects(struct mdsq_thread *t)
{
    struct joining j = {.t = t};

    thread_ids_init(&j.table, t->n);
    j.joined = query_big_new(t->nodes_cap, sizeof(uint32_t));
    for (uint32_t i = 0; i < t->nodes; i++)
        j.joined[i] = THREAD_NONE;
    fill_table(&j);
    join_roots(&j);
    for (uint32_t i = 0; i < t->n; i++) {
        while (t->parent[i] != THREAD_NONE && j.joined[t->parent[i]] != THREAD_NONE)
            t->parent[i] = j.joined[t->parent[i]];
    }
    thread_ids_release(&j.table);
    g_free(j.joined);
}

/* ---- the algorithms ----------------------------------------------------------------------------------- */

/* Roots by the newest message below each: walked in order of date, a root's turn is when its last message has come. */
static void order_by_newest(struct mdsq_thread *t)
{
    uint32_t *root = query_big_new(t->nodes, sizeof(uint32_t)), *left = query_big_new0(t->nodes, sizeof(uint32_t));

    for (uint32_t i = 0; i < t->nodes; i++)
        root[i] = t->parent[i] == THREAD_NONE ? i : THREAD_NONE;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t top = i;

        while (root[top] == THREAD_NONE)
            top = t->parent[top];
        top = root[top];
        for (uint32_t at = i; root[at] == THREAD_NONE; at = t->parent[at])
            root[at] = top;
        left[top]++;
    }
    t->root_first = t->root_tail = THREAD_NONE;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t top = root[t->by_rank[i]];

        if (--left[top] == 0) {
            t->next[top] = THREAD_NONE;
            append(t, THREAD_NONE, top);
        }
    }
    g_free(root);
    g_free(left);
}

/* The first message of a subject is the parent of all others, be the subject empty or not. */
static void by_subject(struct mdsq_thread *t)
{
    const uint64_t empty = 1; /* no text's: they are even */
    struct thread_ids table;

    thread_ids_init(&table, t->n);
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t node = t->by_rank[i];
        const uint64_t text = query_subject_text(t->subject[node]), subject = text ? text : empty;
        struct thread_id *slot = thread_ids_find(&table, subject);

        t->parent[node] = slot->hash ? slot->node : THREAD_NONE;
        if (slot->hash == 0)
            thread_ids_put(&table, slot, subject, node);
    }
    thread_ids_release(&table);
}

enum { TREE_PARENTS, TREE_GROW, TREE_JOIN, TREE_GROW_AGAIN, TREE_NEWEST, TREE_DONE };

bool thread_tree_step(struct mdsq_thread *t)
{
    switch (t->tree_step) {
    case TREE_PARENTS:
        if (t->algorithm == MDSQ_THREAD_ORDEREDSUBJECT)
            by_subject(t);
        else
            prune(t);
        break;
    case TREE_GROW: grow(t); break;
    case TREE_JOIN:
        if (t->algorithm == MDSQ_THREAD_REFERENCES)
            join_subjects(t);
        break;
    case TREE_GROW_AGAIN:
        if (t->algorithm == MDSQ_THREAD_REFERENCES)
            grow(t);
        break;
    case TREE_NEWEST:
        if (t->algorithm == MDSQ_THREAD_REFS)
            order_by_newest(t);
        break;
    default: break;
    }
    return ++t->tree_step < TREE_DONE;
}

/*
 * thread: what the files of THREAD share.
 *
 *   thread.c        the steps in slices: rows, links, order, tree; what is told
 *   thread_link.c   RFC 5256 REFERENCES step 1: who is whose parent
 *   thread_tree.c   steps 2 to 6, and the other algorithms: from parents to the tree that is told
 *
 * A node is a number. 0 .. n-1 are the members in the order of the view; then come ids that were only referred to
 * (strangers), and dummies that joined subjects need. No step recurses: trees are as deep as mail makes them.
 */
#ifndef QUERY_THREAD_H
#define QUERY_THREAD_H

#include "members.h"
#include "order.h"
#include "radix.h"

#define THREAD_NONE UINT32_MAX

/* Ids, or subjects, and the nodes that bear them. */
struct thread_ids {
    struct thread_id {
        uint64_t hash; /* 0: free */
        uint32_t node;
    } * slots;
    uint32_t slots_n, used; /* slots_n: a power of two */
};

struct mdsq_thread {
    /* permanent */
    enum mdsq_thread_algorithm algorithm;
    struct query_members members; /* columns: item, sent date */
    /* where it stands */
    unsigned stage; /* thread.c */
    uint32_t at;
    /* members, [n] */
    uint32_t n;
    const uint32_t *uid; /* of members */
    int64_t last_item;
    uint64_t *id, *subject;   /* as thread rows have them */
    uint32_t *refs_at;        /* [n + 1]: into refs */
    struct buf refs;          /* u64 each */
    struct query_radix radix; /* by sent date */
    uint32_t *by_rank;        /* members by sent date, then by number */
    struct query_order *order;
    /* nodes, [nodes_cap] */
    struct thread_ids ids;
    uint32_t nodes, nodes_cap;
    uint32_t *parent;
    uint32_t *children; /* while links are made: how many */
    /* the tree: THREAD_NONE ends each */
    unsigned tree_step;
    uint32_t *first, *next, *tail;
    uint32_t root_first, root_tail;
    /* telling */
    uint32_t told, told_depth;
    bool telling;
};

static inline bool thread_is_member(const struct mdsq_thread *t, uint32_t node)
{
    return node < t->n;
}

/* ---- thread_link.c: a table of hashes -----------------------------------------------------------
 * The slot of a hash (not 0), or the free one where it belongs; views until the next put. put: of a free slot. */
void thread_ids_init(struct thread_ids *ids, uint32_t n);
struct thread_id *thread_ids_find(const struct thread_ids *ids, uint64_t hash);
void thread_ids_put(struct thread_ids *ids, struct thread_id *slot, uint64_t hash, uint32_t node);
void thread_ids_release(struct thread_ids *ids);

/* ---- thread_link.c ---------------------------------------------------------------------------- */

/* Every member's id; of several with the same, the first one's. Members without get none. */
void thread_ids_begin(struct mdsq_thread *t);
/* Members t->at and following; 1 the time is up. BASE_ERR_LIMIT. */
int thread_link(struct mdsq_thread *t, uint64_t until_us, struct error *err);

/* ---- thread_tree.c ----------------------------------------------------------------------------- */

/* From parents (REFERENCES, REFS) or subjects (ORDEREDSUBJECT) to first, next and the list of roots. A step is some
 * walks of all nodes; false: it was the last. */
bool thread_tree_step(struct mdsq_thread *t);

#endif

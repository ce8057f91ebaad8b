/*
 * order: what SORT and THREAD know of an archive's items, kept in memory between commands (decisions/0042).
 *
 * Items never change, so what was read of one holds as long as the archive is open. Columns are read from the packs in
 * blocks of QUERY_ORDER_BLOCK consecutive items when somebody needs one, and are then there for every session:
 *
 *   thread row   Message-ID, base subject and references as hashes
 *   text number  for each text key: the number of its casemapped text in a dictionary of the archive's distinct texts;
 * a ranking says how the texts compare
 *
 *     struct query_order *o = query_order_take(archive);
 *     query_order_numbers(o, reader, MDSQ_SORT_SUBJECT, item, last, &block, err);
 *     ...
 *     query_order_unref(&o);
 *
 * Threads: shared, under its own lock, which is held for a block at most. Blocks and texts stay until the last
 * reference goes. Memory is counted: when all archives of a store together are found to have passed
 * QUERY_ORDER_BYTES_MAX, they forget what they have, and who uses it still is its last user.
 */
#ifndef QUERY_ORDER_H
#define QUERY_ORDER_H

#include "query_private.h"

#define QUERY_ORDER_BLOCK     64u
#define QUERY_ORDER_BYTES_MAX (UINT64_C(512) << 20)
#define QUERY_ORDER_TEXT_MAX  512u /* bytes of a text that are compared */

struct query_order;

/* Bytes of all orders of a store; lives as long as the store or the last of them. */
struct query_order_budget {
    atomic_uint refs;
    atomic_uint_fast64_t bytes;
};
struct query_order_budget *query_order_budget_new(void);
void query_order_budget_unref(struct query_order_budget **budget);

/* A reference to what the archive has, which may be nothing yet. Takes store.lock or archive.lock, one at a time. */
struct query_order *query_order_take(struct mdsq_archive *archive);
void query_order_unref(struct query_order **order);

/* Items first .. first + n - 1. */
struct query_thread_block {
    uint64_t first;
    uint32_t n;
    uint32_t at[QUERY_ORDER_BLOCK + 1]; /* rows in v: item first + i has v[at[i]] .. v[at[i + 1] - 1] */
    uint64_t v[];                       /* Message-ID (0: none), subject, then the references, oldest first */
};
/* Of a subject: its hash, 0 if it is empty; the lowest bit of others says that it is a reply or forward. */
#define QUERY_SUBJECT_REPLY UINT64_C(1)
static inline uint64_t query_subject_text(uint64_t subject)
{
    return subject & ~QUERY_SUBJECT_REPLY;
}

struct query_number_block {
    uint64_t first;
    uint32_t n;
    uint32_t v[QUERY_ORDER_BLOCK]; /* text numbers; 0: empty */
};

/*
 * The block that holds `item`. last: the highest item that will be asked for, which is committed, as all below it are
 * or will never be. An item that is gone is as one without anything. The block lives as long as the reference.
 */
int query_order_thread(struct query_order *o, struct mdsq_reader *reader, uint64_t item, uint64_t last,
                       const struct query_thread_block **out, struct error *err);
int query_order_numbers(struct query_order *o, struct mdsq_reader *reader, enum mdsq_sort_key key, uint64_t item,
                        uint64_t last, const struct query_number_block **out, struct error *err);

/* ---- ranks (order_rank.c) ------------------------------------------------------------------ */

/* How the first n text numbers compare: rank[number]. Immutable, shared. */
struct query_ranks {
    atomic_uint refs;
    uint32_t n;
    uint32_t *rank;  /* [n] */
    uint32_t *order; /* [n]: numbers in order */
};
void query_ranks_unref(struct query_ranks **ranks);
/*
 * Ranks of at least `n` numbers, made in slices: 0 they are in *out (a reference), 1 the time is up, call again with
 * the same *ranking, which begins as NULL and is freed by query_ranking_free.
 */
struct query_ranking;
int query_ranking_run(struct query_ranking **ranking, struct query_order *o, uint32_t n, uint64_t until_us,
                      struct query_ranks **out);
void query_ranking_free(struct query_ranking **ranking);

#endif

/*
 * search: what the files of SEARCH share.
 *
 *   search_tree.c   the caller's tree, checked and copied; needles in the form in which they are compared
 *   search_sets.c   keys that the store answers with sets; their algebra
 *   search_columns.c  dates, sizes, modseqs and ids: columns of the store
 *   search_text.c   header, BODY and TEXT keys of one message
 *   search.c        three steps in slices: sets, columns of what the sets leave open, items of what the columns leave open
 *
 * Each step narrows by Kleene's logic: with some leaves unknown, a node has the messages that match for sure and
 * those that may. What lies between at the root is all that the next, dearer step looks at.
 */
#ifndef QUERY_SEARCH_H
#define QUERY_SEARCH_H

#include "query_private.h"

#define QUERY_KEYS_MAX MDSQ_KEY_COUNT_MAX

enum query_answer { QUERY_UNKNOWN, QUERY_NO, QUERY_YES };

enum query_leaf {
    QUERY_LEAF_NONE,   /* an inner node */
    QUERY_LEAF_SET,    /* known from the beginning */
    QUERY_LEAF_COLUMN, /* known after the column was looked at */
    QUERY_LEAF_FIELD,  /* a header field's text */
    QUERY_LEAF_BODY,   /* BODY and TEXT */
};

struct query_node {
    enum mdsq_key_kind kind;
    enum query_leaf leaf;
    uint64_t number;
    struct bytes needle; /* as compared: casemapped, line ends as blanks */
    struct bytes text;   /* as given: keyword, set */
    struct bytes field;
    struct query_node *children;
    uint32_t children_n;
    roaring_bitmap_t *set; /* SET from the beginning (ALL: NULL); COLUMN: of what was open when it was asked */
    bool is_known;         /* COLUMN: it was asked */
    enum query_answer answer; /* of the message in hand */
};

struct query_leaves {
    struct query_node **v;
    uint32_t n;
};

struct query_tree {
    struct arena *arena;
    struct query_node *root;
    uint32_t nodes;
    struct query_leaves columns, fields, bodies;
};

/* Checks depth, count and kinds. BASE_ERR_LIMIT, _USAGE, and what sets give. */
int query_tree_copy(const struct mdsq_key *key, struct query_uids *all, struct query_tree *out, struct error *err);
void query_tree_release(struct query_tree *tree);

/* ---- sets -------------------------------------------------------------------------------------- */

/* Loads flag and keyword sets, cut to `all`. */
int query_tree_load_sets(struct query_tree *tree, struct mds_txn *txn, uint32_t folder, const struct query_uids *all,
                         struct error *err);
/* Messages that match for sure, and those that others of the tree's keys will decide: owned bitmaps. */
void query_tree_bounds(const struct query_tree *tree, const struct query_uids *all, roaring_bitmap_t **sure_out,
                       roaring_bitmap_t **open_out);

/* ---- columns ------------------------------------------------------------------------------------ */

/* Adds to the node's set those of `among`, which exist in the transaction, in first..last that match. */
int query_column_see(const struct query_node *node, struct mds_txn *txn, uint32_t folder, const roaring_bitmap_t *among,
                     uint32_t first, uint32_t last, struct error *err);
/* One call for all UIDs costs no more than one for some of them. */
bool query_column_is_whole(const struct query_node *node, struct mds_txn *txn);

/* ---- text --------------------------------------------------------------------------------------- */

/* Recycled between messages. */
struct query_text {
    struct mdsq_reader *reader;
    struct mds_words *words; /* the reader's */
    struct buf raw, unfolded, decoded, folded;
};
int query_text_init(struct query_text *text, struct mdsq_reader *reader, struct error *err);
void query_text_release(struct query_text *text);

/*
 * Answers the whole tree for one message. *unreadable_out: something of the item that a key needed could not be read; such keys
 * count as not matching. Negative only if the store itself fails.
 */
int query_text_match(struct query_text *text, struct query_tree *tree, uint32_t uid, uint64_t item, bool *yes_out,
                     bool *unreadable_out, struct error *err);

#endif

/*
 * search: what the files of SEARCH share.
 *
 *   search_tree.c   the caller's tree, checked and copied; needles in the form in which they are compared
 *   search_sets.c   keys that the store answers with sets; rows for dates, sizes and modseqs
 *   search_text.c   header, BODY and TEXT keys of one message
 *   search.c        three steps in slices: sets, rows of what the sets leave open, items of what the rows leave open
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
    QUERY_LEAF_ROW,    /* known after the row was looked at */
    QUERY_LEAF_FIELD,  /* a header field's text */
    QUERY_LEAF_BODY,   /* BODY and TEXT */
};

#define QUERY_PENDING_MAX 256

struct query_node {
    enum mdsq_key_kind kind;
    enum query_leaf leaf;
    uint64_t number;
    struct bytes needle; /* as compared: casemapped, line ends as blanks */
    struct bytes text;   /* as given: keyword, set */
    struct bytes field;
    struct query_node *children;
    uint32_t children_n;
    roaring_bitmap_t *set; /* SET from the beginning (ALL: NULL); ROW while and after the scan */
    uint32_t *pending;   /* ROW: QUERY_PENDING_MAX members not yet in the set */
    uint32_t pending_n;
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
    struct query_leaves rows, fields, bodies;
};

/* Checks depth, count and kinds. BASE_ERR_LIMIT, _USAGE, and what sets give. */
int query_tree_copy(const struct mdsq_key *key, struct query_uids *all, struct query_tree *out, struct error *err);
void query_tree_release(struct query_tree *tree);

/* ---- sets -------------------------------------------------------------------------------------- */

/* Loads flag and keyword sets, cut to `all`. */
int query_tree_load_sets(struct query_tree *tree, struct mds_txn *txn, uint32_t folder, const struct query_uids *all,
                         struct error *err);
/* Lets every ROW leaf see a row. */
int query_tree_see_row(struct query_tree *tree, struct mds_txn *txn, const struct mds_message *m, struct error *err);
void query_tree_flush_rows(struct query_tree *tree);
/* Messages that match for sure, and those that may: owned bitmaps. rows_known: ROW leaves were scanned. */
void query_tree_bounds(const struct query_tree *tree, const struct query_uids *all, bool rows_known,
                       roaring_bitmap_t **sure_out, roaring_bitmap_t **maybe_out);

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

/*
 * search: what the files of SEARCH share.
 *
 *   search_tree.c   the caller's tree, checked and copied; needles in the form in which they are compared
 *   search_sets.c   keys that the store answers with sets; their algebra
 *   search_columns.c  dates, sizes, modseqs and ids: columns of the store
 *   search_index.c  content keys as the content index answers them
 *   search_text.c   header, BODY and TEXT keys of one message
 *   search_plan.c   what was done, for a person
 *   search.c        four steps in slices: sets, columns, the content index, items; each for what the one before leaves open
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
    roaring_bitmap_t *set;    /* SET from the beginning (ALL: NULL); COLUMN: of what was open when it was asked */
    bool is_known;            /* COLUMN: it was asked */
    enum query_answer answer; /* of the message in hand */
    /* FIELD and BODY that the index was asked about, within what was open then: */
    roaring_bitmap_t *sure, *maybe; /* NULL: nothing is known */
    uint64_t candidates;            /* items */
    int64_t asked_us;
    bool asked, asked_exact;
    bool has_no_terms; /* the needle has nothing to look up, as an empty one: every open item is read */
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

/* ---- index -------------------------------------------------------------------------------------- */

enum query_lack {
    QUERY_LACK_NOTHING, /* the index was asked, or there was no need to */
    QUERY_LACK_INDEX,   /* there is none */
    QUERY_LACK_OTHER,   /* there is one, of other settings or of another archive */
    QUERY_LACK_DAMAGED,
    QUERY_LACK_WISH,    /* the caller wants none */
};

/* Zeroed: not begun. Its snapshot of the index lives from the first call of next to end. */
struct query_index {
    bool is_begun;
    enum query_lack lack;
    uint32_t folder;
    struct mds_text_reader *reader; /* NULL: there is no index, or no need of one */
    struct query_node **leaves;     /* content keys in the order in which they are asked */
    uint32_t leaves_n, at;
    /* of the scope: what the root left open when it was set */
    roaring_bitmap_t *open;
    roaring_bitmap_t *unindexed; /* of it: the index knows nothing of them */
    roaring_bitmap_t *within;    /* its items, if they are few; else NULL */
};
/* Asks the index about one more key: 1 there are others, 0 that was all. *narrow_out: look at the root again. A damaged
 * index answers nothing. */
int query_index_next(struct query_index *ix, struct query_tree *tree, struct mdsq_reader *reader, uint32_t folder,
                     const roaring_bitmap_t *open, bool *narrow_out, struct error *err);
void query_index_end(struct query_index *ix); /* no more questions; what was answered stays in the tree */
void query_index_release(struct query_index *ix);

/* ---- text --------------------------------------------------------------------------------------- */

/* Recycled between messages. */
struct query_text {
    struct mdsq_reader *reader;
    struct mds_words *words;        /* the reader's */
    const struct mime_trace *trace; /* whose values TEXT leaves out; the store's; NULL: it is literal */
    struct mime_texts texts;
    struct buf raw;
};
int query_text_init(struct query_text *text, struct mdsq_reader *reader, struct error *err);
void query_text_release(struct query_text *text);

/*
 * Answers the whole tree for one message. *unreadable_out: something of the item that a key needed could not be read;
 * such keys count as not matching. Negative only if the store itself fails.
 */
int query_text_match(struct query_text *text, struct query_tree *tree, uint32_t uid, uint64_t item, bool *yes_out,
                     bool *unreadable_out, struct error *err);

/* ---- plan --------------------------------------------------------------------------------------- */

/* Steps of a search, with what each cost and left. */
enum query_step { QUERY_STEP_SETS, QUERY_STEP_COLUMNS, QUERY_STEP_INDEX, QUERY_STEP_TEXT, QUERY_STEP_DONE };
struct query_cost {
    int64_t us[QUERY_STEP_DONE];
    uint64_t open[QUERY_STEP_DONE]; /* messages that the step had to look at */
    bool was[QUERY_STEP_DONE];
};
/* Appends lines of text. */
void query_plan_write(const struct query_tree *tree, const struct query_index *ix, const struct query_cost *cost,
                      uint64_t unreadable, struct buf *out);

#endif

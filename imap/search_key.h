/*
 * search_key: search criteria (RFC 3501 section 9, search-key; RFC 5032, 5182, 7162, 8474, 8514) as a tree for query/.
 * Pure.
 *
 * Keys and their texts are UTF-8 in the cursor's arena or views of the command. The tree is no deeper than
 * the given depth (at most MDSQ_KEY_DEPTH_MAX), parentheses, NOT and OR counted.
 */
#ifndef IMAP_SEARCH_KEY_H
#define IMAP_SEARCH_KEY_H

#include "mds/query.h"
#include "wire/cursor.h"

/* RFC 4731, RFC 5182 */
enum imap_search_return {
    IMAP_SEARCH_MIN = 1 << 0,
    IMAP_SEARCH_MAX = 1 << 1,
    IMAP_SEARCH_ALL = 1 << 2,
    IMAP_SEARCH_COUNT = 1 << 3,
    IMAP_SEARCH_SAVE = 1 << 4,
};

struct imap_search_program {
    /* given by the caller */
    int64_t now_s;                 /* for OLDER and YOUNGER */
    const struct mdsq_set *saved;  /* "$": not copied; NULL: empty */
    const struct mdsq_set *recent; /* UIDs that are \Recent: likewise */
    /* parsed */
    const struct mdsq_key *key;
    bool bad_charset; /* the rest was not looked at: NO [BADCHARSET] */
    bool has_charset;
    bool has_modseq;  /* some key is MODSEQ: the answer tells the highest one */
    bool has_return;  /* the answer is ESEARCH */
    unsigned returns; /* enum imap_search_return; "RETURN ()" is ALL */
};

/* [SP "RETURN" SP "(" ... ")"] [SP "CHARSET" SP astring] 1*(SP search-key), to the end of the command. */
bool imap_take_search(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out);

/* RFC 5256, RFC 5957 */
struct imap_sort_order {
    struct mdsq_sort_criterion by[MDSQ_SORT_MAX];
    size_t n;
};

/* [SP "RETURN" ...] SP "(" criteria ")" SP charset 1*(SP search-key), to the end of the command. */
bool imap_take_sort(struct imap_cursor *at, unsigned depth_max, struct imap_sort_order *order, struct imap_search_program *out);

/* SP thread-alg SP charset 1*(SP search-key), to the end of the command. */
bool imap_take_thread(struct imap_cursor *at, unsigned depth_max, enum mdsq_thread_algorithm *algorithm, struct imap_search_program *out);

#endif

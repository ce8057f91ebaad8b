/*
 * search_key: search criteria (RFC 3501 section 9, search-key; RFC 5032, 5182, 6203, 7162, 8474, 8514) as a tree for
 * query/. Pure.
 *
 * Keys and their texts are UTF-8 in the cursor's arena or views of the command. The tree is no deeper than
 * the given depth (at most MDSQ_KEY_DEPTH_MAX), parentheses, NOT and OR counted.
 */
#ifndef IMAP_SEARCH_KEY_H
#define IMAP_SEARCH_KEY_H

#include "mds/query.h"
#include "wire/cursor.h"

/* partial-range (RFC 9394): the first-th to the last-th, from 1, counted from the end if both have a "-". */
struct imap_partial {
    uint32_t first, last; /* first <= last, whichever was said first */
    bool from_end, is_swapped;
};
bool imap_take_partial(struct imap_cursor *at, struct imap_partial *out);
/* From the end as it was said, else the smaller number first: RFC 5267 4.4 has 12:10 for 10:12. */
void imap_put_partial(const struct imap_partial *p, struct buf *out);

/* RFC 4731, RFC 5182, RFC 5267, RFC 9394 */
enum imap_search_return {
    IMAP_SEARCH_MIN = 1 << 0,
    IMAP_SEARCH_MAX = 1 << 1,
    IMAP_SEARCH_ALL = 1 << 2,
    IMAP_SEARCH_COUNT = 1 << 3,
    IMAP_SEARCH_SAVE = 1 << 4,
    IMAP_SEARCH_UPDATE = 1 << 5,
    IMAP_SEARCH_CONTEXT = 1 << 6, /* a hint: taken and not needed */
    IMAP_SEARCH_PARTIAL = 1 << 7,
    IMAP_SEARCH_RELEVANCY = 1 << 8, /* RFC 6203 */
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
    bool has_fuzzy;   /* some key is FUZZY: mdsq_fuzzy_new makes of it what can be searched */
    bool has_modseq;  /* some key is MODSEQ: the answer tells the highest one */
    bool has_return;  /* the answer is ESEARCH */
    unsigned returns; /* enum imap_search_return; "RETURN ()" is ALL */
    struct imap_partial partial;
};

/* [SP "RETURN" SP "(" ... ")"] [SP "CHARSET" SP astring] 1*(SP search-key), to the end of the command. */
bool imap_take_search(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out);

/* The same from RETURN or CHARSET on, without a space before: what ESEARCH has after its sources. */
bool imap_take_search_rest(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out);

/*
 * A copy of a key that lives on: what depends on the moment (sequence numbers, "$", \Recent) becomes sets of UIDs,
 * which are added to *sets
 * (*sets_n of them) and are the caller's, also after a failure. NULL: err says why.
 */
const struct mdsq_key *imap_search_key_keep(struct arena *arena, const struct mdsq_key *key,
                                            const struct mdsq_view *view, struct mdsq_reader *reader,
                                            struct mdsq_set ***sets, size_t *sets_n, struct mdsq_error *err);

/* RFC 5256, RFC 5957 */
struct imap_sort_order {
    struct mdsq_sort_criterion by[MDSQ_SORT_MAX];
    size_t n;
    bool by_relevance; /* RELEVANCY is among them */
};

/* [SP "RETURN" ...] SP "(" criteria ")" SP charset 1*(SP search-key), to the end of the command. */
bool imap_take_sort(struct imap_cursor *at, unsigned depth_max, struct imap_sort_order *order,
                    struct imap_search_program *out);

/* SP thread-alg SP charset 1*(SP search-key), to the end of the command. */
bool imap_take_thread(struct imap_cursor *at, unsigned depth_max, enum mdsq_thread_algorithm *algorithm,
                      struct imap_search_program *out);

#endif

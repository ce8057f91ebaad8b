/*
 * radix: a stable sort by columns of numbers in steps, each of which is a walk of one column or two.
 *
 *     struct query_radix r;
 *     query_radix_init(&r, n);
 *     query_radix_by(&r, sizes, NULL, false);      // the last criterion first
 *     while (query_radix_step(&r))
 *         ...                                      // time for others
 *     query_radix_by(&r, numbers, ranks, true);
 *     ...
 *     r.order[0] is the index of the first
 *     query_radix_release(&r);
 *
 * Takes 20 bytes a row.
 */
#ifndef QUERY_RADIX_H
#define QUERY_RADIX_H

#include <stdbool.h>
#include <stdint.h>

struct query_radix {
    uint32_t n;
    uint32_t *order; /* [n] indexes, in order by what has been sorted so far */
    /* while it is sorted by a column */
    const int64_t *values;
    const uint32_t *ranks;
    bool reverse, began;
    uint64_t least, most;    /* of the keys */
    unsigned bits, done;     /* of most - least: all, and those sorted by */
    uint64_t *pairs, *other; /* 32 bits of a key, then an index */
};

/* In the order of indexes. */
void query_radix_init(struct query_radix *r, uint32_t n);
void query_radix_release(struct query_radix *r);
/* Next by values[index], or ranks[values[index]]; both are needed until the last step. reverse: the largest first. */
void query_radix_by(struct query_radix *r, const int64_t *values, const uint32_t *ranks, bool reverse);
/* False: the order is there. A step takes some 10 ms a million rows. */
bool query_radix_step(struct query_radix *r);

#endif

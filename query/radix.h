/*
 * radix: a stable sort of numbers in steps, each of which is a walk of all of them.
 *
 *     struct query_radix r;
 *     query_radix_init(&r, n);
 *     for each i in the order that equal keys keep: r.rows[i] = (struct query_radix_row){key, who};
 *     while (query_radix_step(&r))
 *         ...                              // time for others
 *     ... r.rows ...
 *     query_radix_release(&r);
 */
#ifndef QUERY_RADIX_H
#define QUERY_RADIX_H

#include <stdbool.h>
#include <stdint.h>

struct query_radix_row {
    uint64_t key;
    uint32_t who;
};

struct query_radix {
    struct query_radix_row *rows, *other; /* [n] */
    uint32_t n;
    /* while it is sorted */
    uint64_t differing; /* bits in which keys differ */
    unsigned shift;
    bool began;
};

void query_radix_init(struct query_radix *r, uint32_t n);
void query_radix_release(struct query_radix *r);
/* The rows may be filled anew, to be sorted by another key. */
void query_radix_again(struct query_radix *r);
/* False: rows are in order. A step takes some 8 ms a million rows. */
bool query_radix_step(struct query_radix *r);
/* A number with a sign as a key. */
static inline uint64_t query_radix_signed(int64_t v)
{
    return (uint64_t)v ^ UINT64_C(1) << 63;
}

#endif

/*
 * sort_numbers: SORT by dates and sizes alone. Values are columns of the store, read 65,536 at a time; an LSD radix sort of their
 * differences from the least one orders them, the last criterion first. What is equal stays in the order of UIDs.
 *
 * Takes 36 bytes a message while it runs, 4 afterwards.
 */
#ifndef QUERY_SORT_NUMBERS_H
#define QUERY_SORT_NUMBERS_H

#include "query_private.h"

struct query_number_sort;

bool query_number_sort_can(const struct mdsq_sort_criterion *by, size_t by_n);
struct query_number_sort *query_number_sort_new(uint32_t folder, const struct query_uids *uids,
                                        const struct mdsq_sort_criterion *by, size_t by_n);
void query_number_sort_free(struct query_number_sort **n);
/* 1 the time is up (a step takes some 10 ms a million messages), 0 done. */
int query_number_sort_run(struct query_number_sort *n, struct mds_txn *txn, uint64_t until_us, struct error *err);
/* In order, as many as uids had; after the last run. */
const uint32_t *query_number_sort_uids(const struct query_number_sort *n);

#endif

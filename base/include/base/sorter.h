/*
 * sorter: an external merge sort of byte strings with bounded memory.
 *
 * For directories of ten million names and for tables with random keys: push
 * records in any order, finish, then take them in bytes_compare order of their
 * keys (equal keys in push order). Runs go to unlinked temporary files, so a
 * crash leaves nothing behind.
 *
 *     struct sorter *s = NULL;
 *     sorter_new("/tmp", 32u << 20, &s, err);
 *     sorter_push(s, key, value, err);
 *     sorter_finish(s, err);
 *     while ((rc = sorter_next(s, &key, &value, err)) == SORTER_MORE) ...
 *     sorter_free(&s);
 *
 * Thread rule: one thread at a time.
 */
#ifndef BASE_SORTER_H
#define BASE_SORTER_H

#include "base/bytes.h"
#include "base/error.h"

struct sorter;

enum sorter_step { SORTER_MORE = 1, SORTER_DONE = 0 }; /* negative: enum base_err */

/* dir: where runs are kept (needs as much space as the data); memory_bytes: bound of the in-memory run (>= 1 MiB). */
int sorter_new(const char *dir, size_t memory_bytes, struct sorter **out, struct error *err);
int sorter_push(struct sorter *s, struct bytes key, struct bytes value, struct error *err);
int sorter_finish(struct sorter *s, struct error *err);
/* Views valid until the next call on s. */
int sorter_next(struct sorter *s, struct bytes *key_out, struct bytes *value_out, struct error *err);
uint64_t sorter_count(const struct sorter *s);
void sorter_free(struct sorter **s);

#endif

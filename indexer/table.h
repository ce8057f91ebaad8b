/*
 * table: fixed-size records, sorted once, in an unlinked file that is mapped:
 * page cache, not private memory. For matching a rewritten mbox, or a rebuilt
 * store, against what was there: millions of records, looked up by hash.
 *
 *     indexer_table_new(dir, key_bytes, record_bytes, &t, err);
 *     indexer_table_push(t, record, err) ...; indexer_table_finish(t, err);
 *     i = indexer_table_lower_bound(t, prefix, n); while (i < indexer_table_count(t) && ...) r = indexer_table_at(t, i++);
 *
 * A record begins with its key; records are in memcmp order of the keys. After indexer_table_finish
 * records may be changed in place, but for their keys. Thread rule: one thread at a time.
 */
#ifndef INDEXER_TABLE_H
#define INDEXER_TABLE_H

#include "base/bytes.h"
#include "base/error.h"

struct table;

int indexer_table_new(const char *dir, size_t key_bytes, size_t record_bytes, struct table **out, struct error *err);
int indexer_table_push(struct table *t, const void *record, struct error *err);
int indexer_table_finish(struct table *t, struct error *err);
size_t indexer_table_count(const struct table *t);
/* View, life of t; i < indexer_table_count. Records are not aligned beyond what record_bytes gives. */
void *indexer_table_at(const struct table *t, size_t i);
/* First record whose first n key bytes are not below prefix; indexer_table_count if none. */
size_t indexer_table_lower_bound(const struct table *t, const void *prefix, size_t n);
void indexer_table_free(struct table **t);

#endif

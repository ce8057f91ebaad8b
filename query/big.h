/*
 * big: arrays as long as a folder. From some megabytes on they are asked for in huge pages: a command's arrays are
 * touched once or in any order, and with small pages the faults and misses of the translation table cost more than the
 * work. g_free.
 */
#ifndef QUERY_BIG_H
#define QUERY_BIG_H

#include <stddef.h>

/* n members and one, of size bytes each. Aborts without memory, as g_malloc does. */
void *query_big_new(size_t n, size_t size);
/* All bytes 0. */
void *query_big_new0(size_t n, size_t size);

#endif

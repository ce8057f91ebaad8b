/*
 * known: a growing set of item hashes, shared with the parse workers, in a file
 * that is unlinked as soon as it is made: page cache, not private memory. 16 bytes a slot:
 * the hash's first 64 bits and the item id. A hit is a candidate only.
 *
 * The writer adds while workers look (forked later than ingest_known_new): one
 * writer, any readers, no locks; a reader sees an addition now or later.
 * Growing doubles into a new region of the file and publishes it; readers follow.
 */
#ifndef INGEST_KNOWN_H
#define INGEST_KNOWN_H

#include "base/error.h"
#include "base/hash.h"

#include <stdbool.h>

struct ingest_known;

/*
 * dir: on a disk (a tmpfs costs memory) with room for 52 bytes an item, twice that while it grows. BASE_ERR_FULL, here
 * and from ingest_known_add: no room; the set stays as it was.
 */
int ingest_known_new(const char *dir, struct ingest_known **out, struct error *err);
/* Writer only. Adding a prefix that is there keeps both (chained by probing). */
int ingest_known_add(struct ingest_known *k, const struct hash128 *hash, uint64_t item_id, struct error *err);
/* Any process: is there a candidate? */
bool ingest_known_has(const struct ingest_known *k, const struct hash128 *hash);
/* Candidates in insertion order: start with *pos = 0; false at the end. Writer only, with no ingest_known_add during
 * the walk. */
bool ingest_known_next(const struct ingest_known *k, const struct hash128 *hash, uint64_t *pos, uint64_t *item_id_out);
/*
 * Empties the set for another use. Writer only, with no reader at work: all that was submitted has been delivered. < 0: no
 * room for an empty one; good for ingest_known_free only.
 */
int ingest_known_clear(struct ingest_known *k, struct error *err);
uint64_t ingest_known_count(const struct ingest_known *k);
void ingest_known_free(struct ingest_known **k);

#endif

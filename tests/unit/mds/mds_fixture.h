/* Small stores for the tests of this folder. Strings live until exit; what fails here fails the test. */
#ifndef MDS_FIXTURE_H
#define MDS_FIXTURE_H

#include "mds_private.h"
#include "test_support.h"

#define MUST(call) fixture_must((call), &err, __FILE__, __LINE__)
void fixture_must(int rc, const struct error *err, const char *file, int line);

/* Opens (creating) the archive "ann" in dir. */
struct mds_env *fixture_open(const char *dir);
struct mds_txn *fixture_write(struct mds_env *env);
struct mds_txn *fixture_read(struct mds_env *env);
void fixture_commit(struct mds_txn **t);
/* A folder of this name, made if missing. */
uint32_t fixture_folder(struct mds_txn *t, const char *name);
/* Adds n new items to the folder as messages with these flags; their hashes are those of their ids. Returns the last
 * UID. */
uint32_t fixture_add(struct mds_txn *t, uint32_t folder, unsigned n, uint32_t flags);
struct hash128 fixture_hash(uint64_t item);
/* Findings of mds_verify; their texts go to *text (one a line, lives until exit) if not NULL. */
int fixture_verify(struct mds_env *env, const char **text);

#endif

/*
 * browse: what ls and explain share: an archive opened for reading by name.
 */
#ifndef CLI_BROWSE_H
#define CLI_BROWSE_H

#include "cli.h"

#include "mds/query.h"

struct browse {
    struct mdsq_store *store;
    struct mdsq_archive *archive;
    struct mdsq_reader *reader;
};

/* -1 to go on, else the exit status, having said why. Release in either case. */
int browse_open(struct browse *b, const char *store, const char *archive);
void browse_release(struct browse *b);
/* The store alone; likewise. A store that is not there is the environment's fault. */
int browse_open_store(const char *dir, struct mdsq_store **out);
/* Says why and gives the exit status: CLI_SOME_FAILED for what does not exist. */
int browse_fail(const struct mdsq_error *e);

#endif

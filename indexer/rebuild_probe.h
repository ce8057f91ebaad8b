/* rebuild_probe: reading an old store before a rebuild depends on it. */
#ifndef INDEXER_REBUILD_PROBE_H
#define INDEXER_REBUILD_PROBE_H

#include "indexer_private.h"

/*
 * Reads the archive's store in `dir` in a child process: what a rebuild takes over.
 * 0: it can be read, or does not even open (mds_open says why). BASE_ERR_CORRUPT: reading it kills a process, or its
 * folders cannot be read. Call while this process has no environment open.
 */
int indexer_rebuild_probe(const char *dir, const char *archive, struct error *err);

#endif

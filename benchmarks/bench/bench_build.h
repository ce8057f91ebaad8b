/* bench_build: `mds build` of a vault into a fresh store of one archive, "bench", measured; and what the store then
 * says of itself. */
#ifndef BENCH_BUILD_H
#define BENCH_BUILD_H

#include "bench_measure.h"

/* from: as --from has it. jobs 0: the program's own choice. A status above 1 is an error. */
int bench_build(const char *mds, const char *store, const char *from, int jobs, struct bench_cost *out,
                struct error *err);

/* Messages in the store, by its own account: a build that took in half of the mail must not look fast. -1 unknown. */
int64_t bench_stored_messages(const char *mds, const char *store);

#endif

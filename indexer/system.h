/* What the indexer takes from the operating system, so that a test can look at one place. */
#ifndef INDEXER_SYSTEM_H
#define INDEXER_SYSTEM_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int64_t indexer_monotonic_ns(void);
int64_t indexer_wall_ns(void);
void indexer_sleep_ms(unsigned ms);
/* CPU of this process, and if asked of the children it has waited for. */
double indexer_cpu_seconds(bool with_children);
/* How many descriptors this process may have open. */
uint64_t indexer_descriptors_max(void);
/* An unlinked file in dir, open for reading and writing; the descriptor, or < 0 with an error set. */
int indexer_temp_file(const char *dir, struct error *err);

/* For what may die of a damaged store (LMDB follows what its pages say): fork, and the child does not outlive the
 * caller. Then waitpid's status. */
pid_t indexer_fork_reader(void);
int indexer_child_status(pid_t pid);

#endif

/*
 * growth: whether a build of ten million messages is as fast, a message, as one of a hundred thousand.
 *
 *     mds-bench growth [--messages 100000,10000000] [--mean-size 2500] [--repeats 1] [--vaults DIR] [--json FILE]
 *                      --work DIR
 *
 * Vaults are one mbox each (ten million files are no fair thing to ask of a disk), generated where --vaults says and
 * kept there, or in the work directory and removed. Ten million messages of 2,500 bytes are 29 GB and some minutes to
 * generate; one that stands already as DIR/mbox-N-BYTES (by mds-gen, in pieces say) is used as it is. The floor is
 * reading the mbox alone, just before the build: what is larger than memory comes from the disk for both.
 */
#ifndef BENCH_GROWTH_H
#define BENCH_GROWTH_H

#include <stdbool.h>

/* True if argv[1] is its command; then *status_out is the exit status. */
bool growth_main(int argc, char **argv, int *status_out);

#endif

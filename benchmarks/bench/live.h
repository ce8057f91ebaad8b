/*
 * live: durable changes a second of a living archive, by query's API, for a number of sessions at once, beside the
 * floor: LMDB alone, one small put and one durable commit after the other.
 *
 *     mds-bench store|append [--sessions 1,16,64] [--seconds 3] [--size BYTES] [--relaxed] [--json FILE] --work DIR
 *
 * Each session is a thread that makes one change, waits until it is durable, and makes the next.
 */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include <stdbool.h>

/* True if argv[1] is one of its commands; then *status_out is the exit status. */
bool live_main(int argc, char **argv, int *status_out);

#endif

/*
 * all: every suite after the other, and the page of what they found.
 *
 *     mds-bench all [--quick] [--suites LIST] [--vault DIR] [--mail DIR] [--mbox-vaults DIR] --out DIR --work DIR
 *
 * Each suite is a process of its own; what it prints goes to DIR/<suite>.txt, its numbers to DIR/<suite>.json. One that
 * fails or is skipped (too few descriptors) is said so, and the others go on. Each has a bound in time: then it and all
 * that it started are ended, and what it had written counts. A full run's bounds are chosen for a machine of 2 cores;
 * together they are longer than what a run takes (docs/PERFORMANCE.md).
 */
#ifndef BENCH_ALL_H
#define BENCH_ALL_H

#include <stdbool.h>

bool all_main(int argc, char **argv, int *status_out);

#endif

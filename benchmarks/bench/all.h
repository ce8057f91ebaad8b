/*
 * all: every suite after the other, and the page of what they found.
 *
 *     mds-bench all [--quick] [--suites LIST] --out DIR --work DIR
 *
 * Each suite is a process of its own; what it prints goes to DIR/<suite>.txt, its numbers to DIR/<suite>.json. One that
 * fails or is skipped (too few descriptors) is said so, and the others go on.
 */
#ifndef BENCH_ALL_H
#define BENCH_ALL_H

#include <stdbool.h>

bool all_main(int argc, char **argv, int *status_out);

#endif

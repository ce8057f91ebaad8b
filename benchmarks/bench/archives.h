/*
 * archives: thousands of archives in one store, and a client of `mds serve` in each of them.
 *
 *     mds-bench archives [--archives 4000] [--seconds 10] [--rounds 50] [--json FILE] --work DIR
 *
 * Every archive holds a message; every session selects its INBOX. What the server holds then, what it costs it to notice what other
 * processes commit while all sessions stand in IDLE, and how long after such a commit its session hears of it.
 * The machine must allow four descriptors an archive to a process (three of the archive, a socket): else it is skipped, status 77.
 */
#ifndef BENCH_ARCHIVES_H
#define BENCH_ARCHIVES_H

#include <stdbool.h>

/* True if argv[1] is its command; then *status_out is the exit status. */
bool archives_main(int argc, char **argv, int *status_out);

#endif

/*
 * bench_measure: runs something in a child process and says what it took: wall time, CPU seconds of the child and all
 * its descendants, the peak of private memory summed over them.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "base/error.h"

#include <stdint.h>

struct bench_cost {
    double wall_s;
    double user_s, system_s;
    uint64_t peak_bytes; /* RssAnon + RssShmem of the whole tree, sampled every 50 ms */
    int samples;
    int status; /* exit status, or 128 + signal */
};

/* Forks; the child runs body(arg) and exits with its result. Blocks until it has ended. */
int bench_run_function(int (*body)(void *arg), void *arg, struct bench_cost *out, struct error *err);

/* Forks and executes argv[0]; standard output goes to the file `output`, or to nowhere if NULL; standard error stays.
 */
int bench_run_program(char *const *argv, const char *output, struct bench_cost *out, struct error *err);

/* What a running process and its descendants have used so far: CPU seconds (those of ended ones too, once they were
 * waited for), private memory now. A process that is gone counts nothing. */
struct bench_tree {
    double cpu_s;
    uint64_t private_bytes;
};
struct bench_tree bench_tree_look(int pid);

/* Bytes on disk (blocks, not length) of all regular files below dir. */
uint64_t bench_disk_bytes(const char *dir);

/* Of qsort. */
int bench_compare_doubles(const void *a, const void *b);

/* Removes dir and what is below it. */
void bench_remove_tree(const char *dir);

#endif

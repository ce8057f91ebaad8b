/*
 * report: a page of JSON files that suites wrote.
 *
 *     mds-bench report --out DIR FILE.json...
 *
 * Writes DIR/README.md, which begins with the goals (goals.h), and for suites that hold sides against each other
 * DIR/<file>.svg by gnuplot, where that is installed (else the page has no plots and says so). Numbers are copied,
 * never computed anew but for ratios.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "base/error.h"

#include <stdbool.h>

bool report_main(int argc, char **argv, int *status_out);

/* The page of n files. BASE_ERR_FORMAT: one of them is no suite's. */
int report_write(const char *dir, char *const *files, size_t n, struct error *err);

#endif

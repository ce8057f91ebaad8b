/* suite_rows: what each suite asks. Arrays are owned by the caller, and so are their strings (suite_release). */
#ifndef BENCH_SUITE_ROWS_H
#define BENCH_SUITE_ROWS_H

#include "suite.h"

/* Metadata, header, text (from mds-gen's file of answers; quick: a few of them), order and conversations, in a folder
 * of n messages. */
int suite_rows_search(guint64 n, const char *answers, bool quick, GArray *rows, struct error *err);
void suite_rows_fetch(guint64 n, GArray *rows);
void suite_rows_select(guint64 n, GArray *rows);
void suite_rows_list(guint64 folders, GArray *rows);

#endif

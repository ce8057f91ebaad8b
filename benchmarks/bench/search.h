/*
 * search: SEARCH and SORT of a folder, key by key, warm, by query/'s API; suites.h asks through IMAP, beside peers.
 *
 *     mds-bench keys [--messages 100000,1000000] [--rounds 30] [--json FILE] --work DIR
 *
 * Makes a store of one folder by mds/ itself (no mail: rows alone), then asks each key by query/'s API and prints median and 99th
 * percentile, next to what reading the rows that the key is about takes, once: the opposite of a floor.
 */
#ifndef BENCH_SEARCH_H
#define BENCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

/* True if argv[1] is its command; then *status_out is the exit status. */
bool search_main(int argc, char **argv, int *status_out);

/* ---- of search_store.c ---- */

#define SEARCH_FOLDER  "INBOX"
#define SEARCH_ARCHIVE "bench"
#define SEARCH_BEGIN   INT64_C(1451606400) /* the first message's date: 2016-01-01 */
#define SEARCH_YEARS   10

/* A store of n messages in ten years, zones of the world, a hundredth deleted, two thirds seen. False: it said why. */
bool search_store_make(const char *store, uint32_t n);
/* Reads all rows of the folder, and their items' if asked, and gives the time in ms; < 0: it said why. */
double search_store_scan(const char *store, bool with_items);

#endif

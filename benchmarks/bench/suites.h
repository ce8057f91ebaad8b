/*
 * suites: what IMAP clients wait for, measured on this project and its peers in one run.
 *
 *     mds-bench search|fetch|select|list [--messages 100000,1000000@20000] [--vault DIR] [--repeats 20]
 *                                        [--patience 20] [--row 3] [--budget 60] [--index-patience 900]
 *                                        [--sides LIST] [--quick] [--json FILE] --work DIR
 *
 * For each size a vault is generated (Maildir, one folder; for list many), a store and what peers need are made of it,
 * and the servers run side by side. Sides: mds, mds-scan (search: the same store without an index of texts), mds-tls
 * (fetch: the same server, asked over TLS), dovecot, dovecot-fts (search: with its full-text plugin), cyrus. A peer
 * that
 * --index-patience was too short for, or would be by what the size before took, has a note at that size.
 */
#ifndef BENCH_SUITES_H
#define BENCH_SUITES_H

#include <stdbool.h>

/* True if argv[1] is one of its commands; then *status_out is the exit status: 0 also where a peer is missing, 1 if an
 * answer of this project contradicts what was planted. */
bool suites_main(int argc, char **argv, int *status_out);

#endif

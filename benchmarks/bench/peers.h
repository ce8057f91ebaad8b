/*
 * peers: making an index of a vault, by this project and by programs that are no servers too, and one search in each.
 *
 *     mds-bench peers [--messages 20000 | --mail DIR] [--repeats 3] [--cold] [--sides LIST] [--quick] [--json FILE]
 *                     --work DIR
 *
 * Sides: mds (metadata), mds-1 (the same by one thread, as `doveadm index` has one), mds-text (metadata and index of
 * texts), dovecot (`doveadm index`, metadata), notmuch, mu, mairix (texts and metadata); floors: reading every file,
 * and GMime alone. public-inbox is none of them: it indexes git repositories that it fills itself, not vaults. Sides
 * alternate; each makes its index anew in each repeat, but for one that took longer than 20 s. --mail: real mail
 * (mail_tree.h).
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include <stdbool.h>

/* True if argv[1] is its command; then *status_out is the exit status. */
bool peers_main(int argc, char **argv, int *status_out);

#endif

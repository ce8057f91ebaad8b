/*
 * rates: what many sessions at once do to a server, beside peers: new logins, durable changes, memory of idle ones.
 *
 *     mds-bench rates [--messages 10000] [--seconds 5] [--repeats 3] [--idle 1000] [--sides dovecot,cyrus] [--quick]
 *                     [--json FILE] --work DIR
 *
 * Rows: login, SELECT and LOGOUT over and over by 4 threads, plain and over TLS (a full handshake each, of the same
 * certificate everywhere); UID STORE of a flag by 1 and by 16 sessions; APPEND of 2 KB by 1 and by 16; and what a
 * session that has INBOX selected and asks nothing adds to the server's private memory, plain and over TLS.
 * Each session asks when the last answer has come. Sides run one after another in each repeat, beginning with another
 * one each time. What "OK" promises is each server's default: this project's is on disk, Dovecot's STORE is a rename.
 */
#ifndef BENCH_RATES_H
#define BENCH_RATES_H

#include <stdbool.h>

/* True if argv[1] is its command; then *status_out is the exit status. */
bool rates_main(int argc, char **argv, int *status_out);

#endif

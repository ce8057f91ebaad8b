/*
 * connections: what connections cost `mds serve`: idle ones in memory, new ones in time.
 *
 *     mds-bench idle [--sessions 10000] [--folders 1] [--messages 10000] [--scattered] [--levels plain,tls,tls-deflate]
 *                    [--rounds 2000] [--settle 12] [--json FILE] --work DIR
 *     mds-bench connect [--seconds 5] [--threads 4] [--json FILE] --work DIR
 *
 * Both make a store (connections_store.c) and a certificate (by the openssl program), and each level has a server of
 * its own, so that none finds memory that another left. Clients come from addresses all over 127.0.0.0/8.
 *
 * idle: in clear, TLS, TLS and DEFLATE: sessions that have a folder selected and ask nothing. Growth of RssAnon a
 * session, the kernel's sockets apart, and the time of a FETCH by one busy session alone and among them. connect:
 * connections a second until the greeting, in clear, by full handshakes and by tickets, TLS 1.3 and 1.2.
 */
#ifndef BENCH_CONNECTIONS_H
#define BENCH_CONNECTIONS_H

#include <stdbool.h>

/* True if argv[1] is one of its commands; then *status_out is the exit status: 77 if the machine allows too few
 * descriptors. */
bool connections_main(int argc, char **argv, int *status_out);

#endif

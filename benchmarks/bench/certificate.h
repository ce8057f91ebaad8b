/*
 * certificate: a key and a certificate of nobody's, for servers of a benchmark that speak TLS on loopback. Made by the
 * `openssl` program; the same kind (ECDSA, P-256) for every server, because the kind is most of what a handshake costs.
 */
#ifndef BENCH_CERTIFICATE_H
#define BENCH_CERTIFICATE_H

#include "base/error.h"

#define CERTIFICATE_FILE "bench.pem"
#define CERTIFICATE_KEY  "bench.key"

/* Writes both files into dir, the key for its owner alone. BASE_ERR_IO: there is no `openssl`, or it failed. */
int certificate_make(const char *dir, struct error *err);

#endif

/*
 * floor_socket: the least that any server of stored answers must do: walk a cursor over LMDB, copy each value into a
 * buffer, write the buffer into a loopback TCP connection, at whose other end this program reads. No grammar, no choice
 * of items, nothing computed.
 */
#ifndef BENCH_FLOOR_SOCKET_H
#define BENCH_FLOOR_SOCKET_H

#include "base/error.h"

#include <stdint.h>

/* n values that have `bytes` together, sent `repeats` times; the times go to ms[]. An environment is made in work and
 * removed. */
int floor_socket_measure(const char *work, uint64_t n, uint64_t bytes, unsigned repeats, double *ms, struct error *err);

#endif

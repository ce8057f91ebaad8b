/*
 * server: a real `mds serve` on loopback for a benchmark, and what /proc says of it.
 *
 *     struct bench_server server;
 *     if (bench_server_start(mds, store, more, &server, &err) == 0) {
 *         ... connect to server.address; bench_process_look(server.pid, &seen, &err) ...
 *     }
 *     bench_server_stop(&server);
 *
 * It ends with the benchmark, also if that is killed. Its standard error is the benchmark's.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

struct bench_server {
    pid_t pid; /* 0: none */
    int output;
    struct sockaddr_in address;
};

/* more: further options of `mds serve`, NULL at the end; may be NULL. Returns when it listens. */
int bench_server_start(char *mds, char *store, char *const *more, struct bench_server *out, struct error *err);
/* The same by a configuration of n listeners on 127.0.0.1:0; addresses[] get their ports, in the configuration's order.
 */
int bench_server_start_configured(char *mds, char *config, struct sockaddr_in *addresses, size_t n,
                                  struct bench_server *out, struct error *err);
/* Any server: argv[0], found to be there when address accepts connections. */
int bench_server_spawn(char *const *argv, struct sockaddr_in address, struct bench_server *out, struct error *err);
/* An address of 127.0.0.1 whose port is free now. */
int bench_free_address(struct sockaddr_in *out, struct error *err);
/* SIGTERM, and waits; accepts one that was never started. */
void bench_server_stop(struct bench_server *server);

/* Runs argv[0] and waits for it alone (bench_run_program awaits every child, a server too). A status over 1 is an
 * error: 1 is a build with odd items. */
int bench_run_beside(char *const *argv, struct error *err);

/* The same with what it took (peak_bytes: the process's largest resident set, pages of files too); every status is
 * returned in *out. After patience_s seconds (0: for ever) it is killed, which is BASE_ERR_CANCELLED. */
struct bench_cost;
int bench_run_beside_cost(char *const *argv, int patience_s, struct bench_cost *out, struct error *err);

struct bench_process {
    uint64_t descriptors, threads;
    uint64_t virtual_bytes; /* address space */
    uint64_t private_bytes; /* RssAnon */
    uint64_t shmem_bytes;   /* RssShmem: of a store on tmpfs what file_bytes is of one on a disk */
    uint64_t file_bytes;    /* RssFile: pages of mapped files that it touched, shared with the page cache */
    double cpu_s;
};
int bench_process_look(pid_t pid, struct bench_process *out, struct error *err);

/* The program `name` beside this one. Owned by the caller: g_free. */
char *bench_sibling(const char *name);
/* Raises this process's limit of descriptors as far as it may. Returns the limit; children inherit it. */
uint64_t bench_raise_descriptors(void);

#endif

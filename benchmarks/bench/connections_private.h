/* connections_private: what connections.c (servers, results), connections_store.c and connections_load.c (the clients)
 * share. */
#ifndef BENCH_CONNECTIONS_PRIVATE_H
#define BENCH_CONNECTIONS_PRIVATE_H

#include "net_client.h"
#include "server.h"

#include <glib.h>

#define CONNECTIONS_USER         "ann"
#define CONNECTIONS_PASSWORD     "measured"
#define CONNECTIONS_FOLDER_BYTES 16

#define CONNECTIONS_WARM         32 /* sessions before the first look: what the server makes once is no session's */

struct connections_options {
    bool connect;
    gboolean scattered;
    gint sessions, folders, messages, rounds, settle, seconds, threads;
    char *work, *mds, *json, *levels;
};

struct latency {
    double p50_ms, p99_ms, max_ms;
};

struct idle_found {
    double filled_s, private_bytes, kernel_bytes; /* the bytes are a session's; the kernel's are those of both ends */
    double cpu_percent;
    struct latency alone, among;
};

struct connect_found {
    unsigned connected, resumed;
    double per_s, server_cpu_ms; /* of one connection */
};

/* The archive "bench": `folders` folders of `messages` messages, some 10,000 items in all; and the user. */
int connections_store(const struct connections_options *o, const char *dir, struct error *err);
/* The folder of the so-and-so-many-th session. */
void connections_folder(const struct connections_options *o, unsigned number, char out[CONNECTIONS_FOLDER_BYTES]);
int connections_idle(const struct connections_options *o, const struct net_target *target, pid_t server,
                     struct idle_found *out, struct error *err);
/* resume: each thread goes on with the ticket of its last connection. */
int connections_connect(const struct connections_options *o, const struct net_target *target, bool resume, pid_t server,
                        struct connect_found *out, struct error *err);

#endif

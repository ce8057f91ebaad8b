/* live_private: what live.c (query's API, measuring) and live_imap.c (a real server, a build beside it) share. */
#ifndef BENCH_LIVE_PRIVATE_H
#define BENCH_LIVE_PRIVATE_H

#include "mds/query.h"
#include "net_client.h"
#include "server.h"

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>

#define LIVE_MESSAGES 1000 /* that STORE goes through, over and over */

struct live_options {
    bool append;
    gboolean relaxed, imap, during_build, own_folders;
    gint seconds, size, build_items;
    char *work, *json, *counts, *mds;
};

struct live_row {
    int sessions;
    double seconds, changes_per_s, commits_per_s, p50_ms, p99_ms, max_ms;
    double build_items_per_s;
    double floor_per_s; /* of LMDB alone, half of it before the row and half after */
};

struct live_bench {
    const struct live_options *options;
    struct mdsq_archive *archive;
    struct mdsq_view *view;
    char *text; /* of an item */
    atomic_int_fast64_t until_us;
    atomic_uint_fast64_t numbers;
    atomic_bool failed;
    /* with --imap */
    struct bench_server server;
    int folders; /* of sessions, made so far */
    /* with --during-build */
    char *vault;
    gint64 vault_items;
};

struct live_session {
    struct live_bench *bench;
    struct net_client *client; /* with --imap */
    pthread_t thread;
    unsigned number;
    uint64_t n;
    float *latencies_ms;
};

/* The archive and its first LIVE_MESSAGES messages, by a build of a generated vault. */
int live_vault_build(struct live_bench *b, char *store, struct error *err);
/* So many more messages in the vault; then a build of the archive, at full rate. Blocks. */
int live_vault_grow(struct live_bench *b, struct error *err);
int live_vault_build_again(struct live_bench *b, char *store, struct error *err);

/* A login and a server. The archive is there; this process may have it open, and writes no more. */
int live_imap_open(struct live_bench *b, struct mdsq_store *store, char *dir, struct error *err);
/* Connects a session; with folders of their own it makes them. */
int live_imap_begin(struct live_session *s, struct error *err);
/* One STORE or APPEND, the k-th of the run; returns when it was answered with OK. */
int live_imap_step(struct live_session *s, uint64_t k, struct error *err);

#endif

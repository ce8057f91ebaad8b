/*
 * server_private: what the server's loops (server.c) and their connections (conn.c) share.
 *
 * | thread        | owns alone                                      | receives              | gives |
 * |---------------|-------------------------------------------------|-----------------------|---------------------|
 * | caller        | settings, the threads below                     | the stop flag         | stop to every
 * loop  | | imap-loop (n) | its listener, its connections, idle sessions    | bytes, finished runs  |
 * sessions to run     | | imap-work (m) | the session of the job it runs, while it runs   | jobs | finished
 * runs       |
 *
 * A session is either its loop's or its job's, never both: conn.busy says which, and only the loop's thread
 * reads it.
 */
#ifndef IMAP_SERVER_PRIVATE_H
#define IMAP_SERVER_PRIVATE_H

#include "imap/server.h"
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

struct imap_conn;

struct imap_server {
    const struct imap_server_settings *settings;
    struct imap_limits limits; /* no zeros in the timeouts */
    struct imap_pool *pool;
    uint32_t max_sessions;
    atomic_uint sessions; /* of all loops */
};

struct imap_loop {
    struct imap_server *server;
    uv_loop_t uv;
    uv_tcp_t listener;
    uv_async_t wake;
    uv_timer_t drain; /* the end of patience when stopping */
    pthread_t thread;
    bool started;
    /* the loop's thread */
    struct imap_conn *conns; /* all, doubly linked */
    unsigned conns_n;
    bool stopping, closed;
    char read_buffer[64 << 10];
    /* shared */
    atomic_bool stop;
    pthread_mutex_t done_lock; /* guards done and woken; wake is sent under it, so that it is not closed meanwhile */
    struct imap_conn *done;    /* finished runs */
    struct imap_conn *woken;   /* sessions that ask to be run */
};

/* A connection is waiting at the listener. */
void imap_conn_accept(struct imap_loop *loop);
/* Takes back what the pool finished. */
void imap_conn_drain_done(struct imap_loop *loop);
/* Runs those that were woken. */
void imap_conn_drain_woken(struct imap_loop *loop);
/* BYE to all; with `now` they are closed as they are. */
void imap_conn_stop_all(struct imap_loop *loop, bool now);
/* Called by conn.c when the last connection of a stopping loop is gone. */
void imap_loop_close_if_drained(struct imap_loop *loop);

#endif

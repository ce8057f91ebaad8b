/*
 * server_private: what the server (server.c), its listeners (listener.c) and connections (conn.c) share.
 *
 * | thread        | owns alone                                      | receives              | gives               |
 * |---------------|-------------------------------------------------|-----------------------|---------------------|
 * | caller        | settings, the threads below                     | the stop flag         | stop to every loop  |
 * | imap-loop (n) | its listeners, its connections, idle sessions   | bytes, finished runs  | sessions to run     |
 * | imap-work (m) | the session and channel of the job it runs      | jobs                  | finished runs       |
 *
 * A session is either its loop's or its job's, never both: the connection's state says which, and only the loop's
 * thread reads it.
 */
#ifndef IMAP_SERVER_PRIVATE_H
#define IMAP_SERVER_PRIVATE_H

#include "config.h"
#include "imap/server.h"
#include "network.h"
#include "pool.h"
#include "quota.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <uv.h>

struct imap_conn;
struct imap_loop;

/* A listening socket of one loop. */
struct imap_listener {
    struct imap_loop *loop;
    unsigned index; /* of the configuration's listeners */
    int fd;
    uv_poll_t poll;
    bool polled; /* poll is a handle of the loop */
};

/* One of the configuration's listeners, all loops together. */
struct imap_port {
    struct sockaddr_storage bound; /* after the first loop's socket has a port */
    socklen_t bound_n;
    atomic_uint connections;
};

struct imap_server {
    /* settings that do not change */
    unsigned loops_n, threads_n;
    void (*on_listen)(const char *address, unsigned port, void *arg);
    void *arg;
    const volatile int *stop, *reload_asked;
    int (*reload)(struct imap_server_settings *fresh, void *arg, struct error *err);
    const struct imap_events *events; /* never NULL */
    struct mdsq_store *store;
    /* */
    struct imap_pool *pool;
    struct imap_tls_keys *keys;
    struct imap_counts *addresses, *accounts; /* connections of each */
    atomic_uint connections;                  /* of all loops, with a session */
    atomic_uint turned_away;                  /* being told so */
    atomic_uint sessions[IMAP_SESSION_KINDS]; /* of all loops, as they were after their last run */
    atomic_ullong bytes_in, bytes_out;
    atomic_ullong next_id;
    atomic_uint freed;           /* connections that ended or gave memory back since the heap was trimmed */
    pthread_mutex_t config_lock; /* guards config */
    struct imap_config *config;
    size_t ports_n;
    struct imap_port *ports;
    struct imap_loop *loops;
};

struct imap_loop {
    struct imap_server *server;
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t drain;        /* the end of patience when stopping */
    uv_timer_t accept_again; /* after the system had no room for a connection */
    pthread_t thread;
    bool started;
    struct imap_listener *listeners; /* server->ports_n */
    /* the loop's thread */
    int reserve_fd;                      /* to be closed when no other is left, so that a client can be told */
    uint64_t no_room_said_ms, no_room_n; /* of the log */
    struct imap_conn *conns;             /* all, doubly linked */
    unsigned conns_n;
    bool stopping, closed;
    char read_buffer[64 << 10];
    /* shared */
    atomic_bool stop;
    pthread_mutex_t done_lock; /* guards done and woken; wake is sent under it, so that it is not closed meanwhile */
    struct imap_conn *done;    /* finished runs */
    struct imap_conn *woken;   /* sessions that ask to be run */
};

/* The configuration of now: unref. */
struct imap_config *imap_server_config(struct imap_server *server);

/* ---- listener.c ---- */

/* Addresses that can be understood, and each once. */
int imap_listen_addresses_check(const struct imap_config *config, struct error *err);
unsigned imap_port_number(struct imap_port *p);
/* All sockets of all loops, bound and not yet listening. */
int imap_listeners_bind(struct imap_server *server, struct error *err);
int imap_listeners_start(struct imap_loop *loop, struct error *err);
void imap_listeners_stop(struct imap_loop *loop);
/* What is still open, without a loop. */
void imap_listeners_close(struct imap_loop *loop);

/* ---- conn.c ---- */

/* Takes fd. */
void imap_conn_accept(struct imap_listener *listener, int fd, const struct sockaddr *peer);
/* Takes back what the pool finished. */
void imap_conn_drain_done(struct imap_loop *loop);
/* Runs those that were woken. */
void imap_conn_drain_woken(struct imap_loop *loop);
/* BYE to all; with `now` they are closed as they are. */
void imap_conn_stop_all(struct imap_loop *loop, bool now);
/* Called by conn.c when the last connection of a stopping loop is gone. */
void imap_loop_close_if_drained(struct imap_loop *loop);

#endif

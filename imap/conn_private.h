/* conn_private: one connection: what its loop (conn.c) and its job on the pool (conn_work.c) share. */
#ifndef IMAP_CONN_PRIVATE_H
#define IMAP_CONN_PRIVATE_H

#include "channel.h"
#include "server_private.h"

enum conn_state { CONN_BUSY, CONN_WRITE, CONN_IDLE, CONN_PARKED, CONN_PAUSE, CONN_LINGER, CONN_CLOSED };

struct imap_conn {
    struct imap_job job; /* first: the job is the connection */
    /* from the beginning to the end */
    struct imap_loop *loop;
    struct imap_config *config;
    const struct imap_listener_rules *rules; /* of config */
    unsigned port;                           /* of server->ports */
    struct imap_address address, local_address;
    uint8_t client[16]; /* what counts as one address */
    char peer[IMAP_ADDRESS_TEXT], local[IMAP_ADDRESS_TEXT];
    bool counted; /* in the server's counts */
    uint8_t kind; /* counted among its sessions: enum imap_session_kind + 1 */
    uint64_t accepted_ns;
    struct imap_conn *prev, *next, *next_done;
    /* the job's while BUSY, else the loop's */
    struct imap_session *session; /* NULL if there was no room for one */
    struct imap_channel channel;
    struct imap_transport transport;
    enum imap_run how; /* of the last run */
    char *account;     /* counted */
    /* the loop's */
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    enum conn_state state;
    bool reading, eof, doomed, stopped;
    unsigned handles; /* open ones */
    uint64_t handshake_deadline_ms, login_deadline_ms;
    uint64_t idle_deadline_ms; /* from the last answer on: half a command is none */
    uint64_t probe_at_ms;
    size_t write_left; /* when the write timer last looked */
    struct buf pending;
    uint64_t bytes_in, bytes_out, commands;
    struct imap_meter bytes_meter, commands_meter;
    const char *why; /* it ended */
    /* wakes */
    struct imap_conn *next_woken; /* with wake_queued, guarded by the loop's done_lock */
    bool wake_queued;
    struct imap_conn *next_ready; /* the loop's, as woken: since its last run began */
    bool woken;
};

/* ---- conn.c, for how it begins ---- */

/* Runs the session. */
void imap_conn_submit(struct imap_conn *c);
/* For input, until a deadline. */
void imap_conn_wait(struct imap_conn *c);
/* out lives until it is written. */
void imap_conn_write(struct imap_conn *c, struct bytes out);
/* The session must not be on the pool. */
void imap_conn_close(struct imap_conn *c);
/* Counts it among the server's sessions of this kind (enum imap_session_kind), and no more of another; -1: of none. */
void imap_conn_count_kind(struct imap_conn *c, int kind);
/* The session's imap_wake_fn: from any thread, until imap_session_free has returned. */
void imap_conn_wake(void *arg);

/* ---- conn_work.c ---- */

/* A run of its session, or a step of its handshake; then it is the loop's again. */
void imap_conn_work(struct imap_job *job);

#endif

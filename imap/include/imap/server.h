/*
 * server: listeners, libuv loops, TLS, limits, and the end of it all.
 *
 *     struct imap_listener_settings listen[] = {{.address = "[::]:993", .mode = IMAP_LISTEN_TLS, .certificates = pair, .certificates_n = 1}};
 *     struct imap_server_settings settings = {.listeners = listen, .listeners_n = 1, .user = "mds", .stop = &stop};
 *     struct imap_server *server = NULL;
 *     imap_server_open(&settings, &server, &err);   // as root: binds; then the process is the user "mds"
 *     mdsq_store_open(...);                         // as that user
 *     imap_server_run(server, store, &err);         // until *stop
 *     imap_server_close(&server);
 *
 * Settings are read during the calls that take them and copied: nothing of them needs to live longer, but `events` and `arg`.
 * Thread rule: one thread calls open, run and close; callbacks say their own.
 */
#ifndef IMAP_SERVER_H
#define IMAP_SERVER_H

#include "imap/imap.h"
#include "imap/transport.h"

enum imap_listen_mode {
    IMAP_LISTEN_STARTTLS, /* clear text, STARTTLS offered if there is a certificate */
    IMAP_LISTEN_TLS,      /* implicit TLS (993) */
    IMAP_LISTEN_PLAIN,    /* clear text, never TLS: for loopback, trusted networks, or SCRAM only */
};

/* PEM files. */
struct imap_certificate {
    const char *certificate; /* the leaf first, then its chain */
    const char *key;         /* without a passphrase; NULL: in the same file */
};

enum imap_client_certificates { IMAP_CLIENT_CERTIFICATES_NONE, IMAP_CLIENT_CERTIFICATES_OPTIONAL, IMAP_CLIENT_CERTIFICATES_REQUIRED };

struct imap_listener_settings {
    const char *name;    /* for logs and events; NULL: its address */
    const char *address; /* "HOST:PORT", "[::1]:1143", "0.0.0.0:143"; port 0: any, see on_listen */
    enum imap_listen_mode mode;
    const char *mechanisms; /* SASL mechanisms allowed, separated by blanks or commas; NULL: all */
    bool no_login;          /* the LOGIN command and SASL PLAIN and LOGIN are off whatever the network and TLS: SCRAM or EXTERNAL only */
    /* The first is the default; of the others the first whose names match the client's SNI is taken. */
    const struct imap_certificate *certificates;
    size_t certificates_n;
    const char *client_ca; /* PEM file: who signs client certificates; with it client_certificates says whether they are asked for */
    enum imap_client_certificates client_certificates;
    const char *tls_min;     /* "1.2" (default) or "1.3" */
    const char *tls_ciphers; /* of TLS 1.2, in OpenSSL's syntax; NULL: ECDHE with AES-GCM or ChaCha20 */
    /* Networks as "192.0.2.0/24", "2001:db8::/32" or an address, separated by blanks or commas. NULL: none. */
    const char *clear_networks; /* login in clear from here, besides loopback to loopback */
    const char *tls_networks;   /* TLS is forced: no login of any kind without it. Wins over clear_networks and loopback */
    uint32_t max_connections;   /* 0: no limit of its own */
    bool no_compress;
};

/* Zero means default; "no limit" where that is the default. */
struct imap_server_limits {
    uint32_t connections;             /* in all; 10,000 */
    uint32_t connections_per_address; /* of an IPv6 /64 or an IPv4 address, loopback excepted; none */
    uint32_t connections_per_account; /* none */
    uint32_t handshake_ms;            /* 15,000 */
    /* Token buckets of a connection, filled so much a second, holding burst seconds of it: who is over is delayed, not dropped. */
    uint32_t commands_per_s;          /* none */
    uint64_t bytes_per_s;             /* in and out together; none */
    uint32_t burst_s;                 /* 10 */
    uint32_t ticket_key_s;            /* TLS session tickets: a new key every so many seconds, the last two are good for resuming; 6 hours */
};

struct imap_server_settings {
    struct mdsq_store *store; /* for imap_serve; imap_server_run takes its own */
    /* One listener or more. With none, `listen` is one: mode STARTTLS without a certificate, login in clear on loopback only. */
    const struct imap_listener_settings *listeners;
    size_t listeners_n;
    const char *listen;    /* Default 127.0.0.1:1143 */
    const char *user;      /* as root only: become this user (a name or a number) once bound. NULL: stay */
    const char *group;     /* NULL: the user's own; for a number the same number */
    unsigned loops;        /* 0: one a core */
    unsigned threads;      /* pool; 0: 4 a core */
    uint32_t max_sessions; /* limits.connections, if that is 0 */
    struct imap_server_limits server;
    struct imap_limits limits;
    void (*on_listen)(const char *address, unsigned port, void *arg); /* once a listener, by run, in their order */
    void *arg;
    const volatile int *stop; /* set nonzero by a signal handler (or atomically by a thread): BYE to all, drain, return */
    /*
     * Raised by one by a signal handler (SIGHUP): run calls reload on its own thread, which fills *fresh (zeroed before; its memory lives until the
     * next call of reload or the end of run) or fails: then all stays as it was, logged. Taken from it: certificates, rules, networks and limits of
     * listeners whose address is the same, limits. Sessions live on as they are. A listener that is gone takes nobody in any more, until it comes back;
     * a new one waits for the next start (both are logged), and so do user, loops and threads.
     */
    const volatile int *reload_asked;
    int (*reload)(struct imap_server_settings *fresh, void *arg, struct error *err);
    const struct imap_events *events; /* may be NULL; lives as long as the server */
};

struct imap_server;
/* Everything that can be said without binding: addresses (each once), networks, certificates and keys that fit and are readable by this process. */
int imap_server_check(const struct imap_server_settings *settings, struct error *err);
/*
 * Binds, raises the limit of descriptors, drops privileges (for good: PR_SET_NO_NEW_PRIVS), then reads certificates and keys as that user.
 * No thread may have been started by the process if it is to change its user. BASE_ERR_USAGE: the settings; BASE_ERR_IO: the system, a file.
 */
int imap_server_open(const struct imap_server_settings *settings, struct imap_server **out, struct error *err);
/* Blocks until stopped. */
int imap_server_run(struct imap_server *server, struct mdsq_store *store, struct error *err);
void imap_server_close(struct imap_server **server);
/* Any thread, from open to close. */
struct imap_server_counters {
    uint32_t sessions[IMAP_SESSION_KINDS]; /* now */
    uint64_t bytes_in, bytes_out;          /* of sockets, so far */
};
void imap_server_counters(const struct imap_server *server, struct imap_server_counters *out);
/* open, run, close. */
int imap_serve(const struct imap_server_settings *settings, struct error *err);

/* An address in one of the networks ("192.0.2.0/24 ::1", see above)? Both as text; for settings that go by network. False if either is no such text. */
bool imap_networks_match(const char *networks, const char *address);
/* 0, or BASE_ERR_USAGE with the word that is no network. */
int imap_networks_check(const char *networks, struct error *err);

#endif

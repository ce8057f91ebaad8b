/*
 * transport: what a session may know and ask of the connection below it, and the events that logs and metrics hang off.
 *
 *     struct imap_transport t = {.peer = "192.0.2.7", .login = IMAP_LOGIN_NO_CLEAR, .starttls = true};
 *     imap_session_set_transport(s, &t);               // before the first run
 *     ... imap_session_run(s) == IMAP_RUN_STARTTLS     // output written, handshake done:
 *     t.tls = true, t.starttls = false, t.login = IMAP_LOGIN_ANY;
 *     imap_session_set_transport(s, &t);               // the session knows nothing of before
 *
 * Lifetime: the struct and its texts are the transport's; they live until the session is freed and change only while the session does not run.
 */
#ifndef IMAP_TRANSPORT_H
#define IMAP_TRANSPORT_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct imap_session;
struct imap_events;
struct imap_transport;

enum { IMAP_TLS_EXPORTER_BYTES = 32 };

/* How one may log in on this connection as it is now. */
enum imap_login_rule {
    IMAP_LOGIN_NONE,     /* not at all before TLS: LOGINDISABLED, every AUTHENTICATE is refused with [PRIVACYREQUIRED] */
    IMAP_LOGIN_NO_CLEAR, /* only by mechanisms that do not show the password (SCRAM, EXTERNAL): LOGINDISABLED, no PLAIN, no LOGIN */
    IMAP_LOGIN_ANY,
};

struct imap_transport {
    uint64_t id;          /* of the connection, unique in the process, for logs */
    const char *listener; /* its name in the configuration, or "" */
    const char *peer;     /* the client's address without its port, an IPv4-mapped one as IPv4 */
    const char *local;    /* ours */
    uint16_t peer_port, local_port;
    enum imap_login_rule login;
    const char *mechanisms; /* SASL mechanisms allowed by the listener, capitals, separated by blanks; NULL: all that there are */
    bool starttls;          /* may be asked for now */
    bool compress;          /* COMPRESS DEFLATE may be asked for now */
    bool tls;               /* the layer is there; the rest of these is set then */
    const char *tls_version, *tls_cipher;
    const char *tls_name;    /* the server name that the client asked for, or NULL */
    const char *tls_subject; /* of a client certificate that was verified: its RFC 4514 name; or NULL */
    const char *tls_email;   /* its first rfc822Name of subjectAltName, else emailAddress of the subject; or NULL */
    const char *tls_common;  /* its subject's commonName, or NULL */
    /* tls-exporter (RFC 9266), for SCRAM-SHA-256-PLUS: TLS 1.3, or 1.2 with an extended master secret. */
    bool tls_has_exporter;
    uint8_t tls_exporter[IMAP_TLS_EXPORTER_BYTES];
    /*
     * Called by the session when a login was right, before it is said: counts this connection for the account. False: the account has too
     * many; the answer is NO [LIMIT]. Any thread, does not block. At most once with true a connection. NULL: no limit.
     */
    bool (*admit)(void *arg, const char *account);
    void *arg;
    const struct imap_events *events; /* may be NULL */
};

/* ---- events --------------------------------------------------------------------------------------- */

enum imap_refused { IMAP_REFUSED_TOTAL, IMAP_REFUSED_ADDRESS, IMAP_REFUSED_ACCOUNT, IMAP_REFUSED_DESCRIPTORS, IMAP_REFUSED_TLS };

struct imap_login_event {
    const char *account;   /* as the client named it; may be hostile text */
    const char *archive;   /* opened, or NULL */
    const char *mechanism; /* "LOGIN" (the command), "PLAIN", "SCRAM-SHA-256", ... */
    bool ok, remembered;   /* the latter: by the keyed hash of this process */
    const char *why;       /* if not ok: static text for the log, no secret */
};

struct imap_command_event {
    const char *name; /* of the table, capitals; "?" if there is no such command */
    int status;       /* 0 OK, 1 NO, 2 BAD */
    uint64_t ns;      /* from its last byte to its answer */
    uint64_t cpu_ns;  /* of it, inside runs */
};

struct imap_closed_event {
    uint64_t ns; /* since it was accepted */
    uint64_t bytes_in, bytes_out; /* of the socket */
    uint64_t commands;
    const char *why; /* static text: "client", "logout", "timeout", "does not read", "shutdown", "error", "tls" */
};

/* For the audit log: what was done to mail, told once a command. */
struct imap_audit_event {
    const char *action; /* "read", "delete", "expunge", "copy", "move", "append", "export", ... */
    const char *archive; /* or NULL */
    const char *folder; /* UTF-8, may be hostile text; or NULL */
    const char *to;     /* likewise */
    const char *uids;   /* a sequence set, may be cut; or NULL */
    uint32_t count;
};

/* Each may be NULL. Called from loops and pool threads, several at a time: must not block, must not call into the session. */
struct imap_events {
    void *arg;
    void (*opened)(void *arg, const struct imap_transport *t);
    void (*closed)(void *arg, const struct imap_transport *t, const struct imap_closed_event *e);
    void (*refused)(void *arg, const char *listener, const char *peer, enum imap_refused why);
    /* resumed: by a session ticket */
    void (*tls_done)(void *arg, const struct imap_transport *t, bool resumed, uint64_t ns);
    void (*login)(void *arg, const struct imap_transport *t, const struct imap_login_event *e);
    void (*command)(void *arg, const struct imap_transport *t, const struct imap_command_event *e);
    void (*audit)(void *arg, const struct imap_transport *t, const struct imap_audit_event *e);
    /*
     * Capabilities to hide from this client, as imap_session_mask takes them; owned by the caller: free(); NULL: none. account and client (what ID said):
     * NULL while they are not known. Asked when the connection begins, after TLS, after login and after ID.
     */
    char *(*mask)(void *arg, const struct imap_transport *t, const char *account, const char *client);
    /* The configuration was read again; err: why it was not, then the old one stays. */
    void (*reloaded)(void *arg, const char *err);
};

/* ---- the session's side ---------------------------------------------------------------------------- */

/* NULL: a session without one (tests, the command line) goes by imap_session_allow_login alone. */
void imap_session_set_transport(struct imap_session *s, const struct imap_transport *t);
/* A layer was begun (IMAP_RUN_COMPRESS) or could not be (the connection ends then). Input that was fed behind the command: moved to *out. */
void imap_session_take_input(struct imap_session *s, struct buf *out);
/* 0, or BASE_ERR_USAGE with the word that is no capability of this server: a mask of it would hide nothing. */
int imap_mask_check(const char *names, struct error *err);
/* Commands answered. */
uint64_t imap_session_commands(const struct imap_session *s);
/*
 * For a client that has ended its side while a command works: says something harmless, so that the network tells if nobody is there. False where
 * the grammar allows nothing. The session must not be running.
 */
bool imap_session_probe(struct imap_session *s);

#endif

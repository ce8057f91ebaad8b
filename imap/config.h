/*
 * config: a server's settings as connections use them: parsed, copied, never changed, counted. A reload makes another
 * one; connections keep theirs until they end.
 */
#ifndef IMAP_CONFIG_H
#define IMAP_CONFIG_H

#include "imap/server.h"
#include "network.h"
#include "tls.h"

#include <stdatomic.h>

struct imap_listener_rules {
    char *name, *address;
    enum imap_listen_mode mode;
    char *mechanisms; /* capitals, single blanks; NULL: all */
    bool no_login, compress;
    struct imap_networks clear, forced;
    uint32_t max_connections;
    struct imap_tls_context *tls; /* NULL: none */
    bool gone;                    /* the configuration has it no more: its socket is there and takes nobody in */
};

struct imap_config {
    atomic_uint refs;
    struct imap_server_limits server; /* no zeros but "none" */
    struct imap_limits limits;        /* no zeros in the timeouts */
    size_t listeners_n;
    struct imap_listener_rules *listeners;
};

/* keys: NULL: certificates are not read (before privileges are dropped). */
int imap_config_new(const struct imap_server_settings *settings, struct imap_tls_keys *keys, struct imap_config **out,
                    struct error *err);
/*
 * Puts fresh's listeners in the order of now's: sockets are known by their place. One that fresh lacks is gone, one that
 * only fresh has is dropped; both are logged.
 */
void imap_config_follow(const struct imap_config *now, struct imap_config *fresh);
struct imap_config *imap_config_ref(struct imap_config *config);
void imap_config_unref(struct imap_config **config);
/* How a client of this address may log in; tls: the layer is there. */
enum imap_login_rule imap_config_login_rule(const struct imap_listener_rules *rules, const struct imap_address *peer,
                                            const struct imap_address *local, bool tls);

#endif

/* config: see config.h. */
#include "config.h"

#include "base/log.h"
#include "privileges.h"
#include "sasl.h"

#include <ctype.h>
#include <string.h>

enum { CONNECTIONS = 10000, HANDSHAKE_MS = 15000, BURST_S = 10, LISTENERS_MAX = 64 };

static void rules_release(struct imap_listener_rules *r)
{
    free(r->name);
    free(r->address);
    free(r->mechanisms);
    imap_networks_release(&r->clear);
    imap_networks_release(&r->forced);
    imap_tls_context_unref(&r->tls);
}

struct imap_config *imap_config_ref(struct imap_config *config)
{
    atomic_fetch_add(&config->refs, 1);
    return config;
}

void imap_config_unref(struct imap_config **config)
{
    struct imap_config *c = *config;
    *config = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    for (size_t i = 0; i < c->listeners_n; i++)
        rules_release(&c->listeners[i]);
    free(c->listeners);
    free(c);
}

static char *copy_of(const char *text)
{
    char *copy = strdup(text);
    ASSERT(copy);
    return copy;
}

/* A name that is nothing here would be a listener where nobody can log in. */
static int check_mechanisms(const char *names, struct error *err)
{
    for (const char *p = names; *p;) {
        const size_t n = strcspn(p, " ");
        if (!imap_sasl_knows(bytes_of(p, n)))
            return error_set(err, BASE_ERR_USAGE, 0, "there is no SASL mechanism \"%.*s\" here", n < 60 ? (int)n : 60,
                             p);
        p += n + strspn(p + n, " ");
    }
    return 0;
}

/* "plain, Scram-SHA-256" as "PLAIN SCRAM-SHA-256"; NULL stays. sasl-mech = 1*20mech-char (RFC 4422) */
static int copy_mechanisms(const char *text, char **out, struct error *err)
{
    if (!text)
        return 0;
    char *copy = copy_of(text), *to = copy;
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        const bool blank = isspace(c) || c == ',' || c == ';';
        if (!blank && !isalnum(c) && c != '-' && c != '_') {
            free(copy);
            return error_set(err, BASE_ERR_USAGE, 0, "\"%s\" is no list of SASL mechanisms", text);
        }
        if (!blank)
            *to++ = (char)toupper(c);
        else if (to > copy && to[-1] != ' ')
            *to++ = ' ';
    }
    if (to > copy && to[-1] == ' ')
        to--;
    *to = 0;
    *out = copy;
    return check_mechanisms(copy, err);
}

static int copy_rules(const struct imap_listener_settings *l, struct imap_tls_keys *keys, struct imap_listener_rules *r,
                      struct error *err)
{
    const bool wants_tls = l->mode == IMAP_LISTEN_TLS || (l->mode == IMAP_LISTEN_STARTTLS && l->certificates_n > 0);
    r->address = copy_of(l->address);
    r->name = copy_of(l->name ? l->name : l->address);
    r->mode = l->mode;
    r->no_login = l->no_login;
    r->compress = !l->no_compress;
    r->max_connections = l->max_connections;
    int rc = copy_mechanisms(l->mechanisms, &r->mechanisms, err);
    if (rc == 0)
        rc = imap_networks_parse(l->clear_networks, &r->clear, err);
    if (rc == 0)
        rc = imap_networks_parse(l->tls_networks, &r->forced, err);
    if (rc == 0 && l->mode == IMAP_LISTEN_TLS && l->certificates_n == 0)
        rc = error_set(err, BASE_ERR_USAGE, 0, "TLS needs a certificate");
    if (rc == 0 && wants_tls && keys)
        rc = imap_tls_context_new(l, keys, &r->tls, err);
    if (rc != 0)
        error_context(err, "listener %s", r->name);
    return rc;
}

static uint32_t or_default(uint32_t v, uint32_t otherwise)
{
    return v ? v : otherwise;
}

int imap_config_new(const struct imap_server_settings *settings, struct imap_tls_keys *keys, struct imap_config **out,
                    struct error *err)
{
    const struct imap_listener_settings one = {.address = settings->listen ? settings->listen : "127.0.0.1:1143"};
    const struct imap_listener_settings *from = settings->listeners_n ? settings->listeners : &one;
    const size_t n = settings->listeners_n ? settings->listeners_n : 1;
    int rc = 0;
    if (n > LISTENERS_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "more than %d listeners", LISTENERS_MAX);
    rc = imap_privileges_check(settings->user, settings->group, err);
    if (rc != 0)
        return rc;
    struct imap_config *c = calloc(1, sizeof *c);
    ASSERT(c);
    atomic_init(&c->refs, 1);
    c->server = settings->server;
    c->server.connections = or_default(c->server.connections, or_default(settings->max_sessions, CONNECTIONS));
    c->server.handshake_ms = or_default(c->server.handshake_ms, HANDSHAKE_MS);
    c->server.burst_s = or_default(c->server.burst_s, BURST_S);
    c->limits = settings->limits;
    c->limits.login_ms = or_default(c->limits.login_ms, 60000);
    c->limits.idle_ms = or_default(c->limits.idle_ms, 30 * 60000);
    c->limits.write_ms = or_default(c->limits.write_ms, 120000);
    c->listeners = calloc(n, sizeof *c->listeners);
    ASSERT(c->listeners);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = copy_rules(&from[i], keys, &c->listeners[c->listeners_n++], err);
    if (rc == 0)
        *out = c;
    else
        imap_config_unref(&c);
    return rc;
}

/* The one of that address; of several (port 0) the one of that name, else the first. */
static struct imap_listener_rules *find_rules(struct imap_config *c, const struct imap_listener_rules *like)
{
    struct imap_listener_rules *found = NULL;
    for (size_t i = 0; i < c->listeners_n; i++) {
        struct imap_listener_rules *r = &c->listeners[i];
        const bool same = r->address && strcmp(r->address, like->address) == 0;
        if (same && (!found || (strcmp(found->name, like->name) != 0 && strcmp(r->name, like->name) == 0)))
            found = r;
    }
    return found;
}

static struct imap_listener_rules rules_of_gone(const struct imap_listener_rules *r)
{
    if (!r->gone)
        log_to(LOG_LEVEL_WARN, "imap: listener is gone, it takes nobody in any more: listener=%s address=%s", r->name,
               r->address);
    return (struct imap_listener_rules){
        .name = copy_of(r->name), .address = copy_of(r->address), .mode = r->mode, .gone = true};
}

void imap_config_follow(const struct imap_config *now, struct imap_config *fresh)
{
    struct imap_listener_rules *ordered = calloc(now->listeners_n, sizeof *ordered);
    ASSERT(ordered);
    for (size_t i = 0; i < now->listeners_n; i++) {
        struct imap_listener_rules *r = find_rules(fresh, &now->listeners[i]);
        ordered[i] = r ? *r : rules_of_gone(&now->listeners[i]);
        if (r)
            *r = (struct imap_listener_rules){0};
    }
    for (size_t i = 0; i < fresh->listeners_n; i++) {
        struct imap_listener_rules *r = &fresh->listeners[i];
        if (r->address)
            log_to(LOG_LEVEL_WARN, "imap: listener is new, it waits for the next start: listener=%s address=%s",
                   r->name, r->address);
        rules_release(r);
    }
    free(fresh->listeners);
    fresh->listeners = ordered;
    fresh->listeners_n = now->listeners_n;
}

enum imap_login_rule imap_config_login_rule(const struct imap_listener_rules *r, const struct imap_address *peer,
                                            const struct imap_address *local, bool tls)
{
    const bool here = imap_address_is_loopback(peer) && imap_address_is_loopback(local);
    if (!tls && imap_networks_hold(&r->forced, peer))
        return IMAP_LOGIN_NONE;
    if (r->no_login || (!tls && !here && !imap_networks_hold(&r->clear, peer)))
        return IMAP_LOGIN_NO_CLEAR;
    return IMAP_LOGIN_ANY;
}

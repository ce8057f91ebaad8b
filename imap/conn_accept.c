/*
 * conn_accept: how a connection begins: where it comes from, whether there is room for it, what its session is told of
 * both.
 */
#include "conn_private.h"

#include <string.h>
#include <unistd.h>

enum { TURNED_AWAY_MAX = 1000, KEEPALIVE_S = 600 };

/* Called by the session's job. */
static bool on_admit(void *arg, const char *account)
{
    struct imap_conn *c = arg;
    struct imap_server *server = c->loop->server;
    if (c->account)
        return true;
    if (imap_counts_add(server->accounts, bytes_str(account), c->config->server.connections_per_account)) {
        c->account = strdup(account);
        ASSERT(c->account);
        return true;
    }
    if (server->events->refused)
        server->events->refused(server->events->arg, c->rules->name, c->peer, IMAP_REFUSED_ACCOUNT);
    return false;
}

static void learn_addresses(struct imap_conn *c, const struct sockaddr *peer)
{
    struct sockaddr_storage here = {0};
    int here_n = sizeof here;
    struct imap_address local = {0};
    imap_address_of(peer, &c->address);
    if (uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&here, &here_n) == 0)
        imap_address_of((struct sockaddr *)&here, &local);
    imap_address_format(&c->address, c->peer);
    imap_address_format(&local, c->local);
    imap_address_client(&c->address, c->client);
    c->local_address = local;
}

static void learn_transport(struct imap_conn *c)
{
    const struct imap_listener_rules *r = c->rules;
    c->transport = (struct imap_transport){
        .id = atomic_fetch_add(&c->loop->server->next_id, 1) + 1,
        .listener = r->name,
        .peer = c->peer,
        .local = c->local,
        .peer_port = c->address.port,
        .local_port = c->local_address.port,
        .login = imap_config_login_rule(r, &c->address, &c->local_address, false),
        .mechanisms = r->mechanisms,
        .starttls = r->mode == IMAP_LISTEN_STARTTLS && r->tls,
        .compress = r->compress,
        .admit = on_admit,
        .arg = c,
        .events = c->loop->server->events,
    };
}

/* Is there room for one more, by all the limits? What was counted for a connection that is refused is given back. */
static bool count(struct imap_conn *c, enum imap_refused *why)
{
    struct imap_server *server = c->loop->server;
    const struct imap_server_limits *l = &c->config->server;
    const uint32_t per_address = imap_address_is_loopback(&c->address) ? 0 : l->connections_per_address,
                   per_port = c->rules->max_connections;
    *why = IMAP_REFUSED_TOTAL;
    if (atomic_fetch_add(&server->connections, 1) < l->connections) {
        if (atomic_fetch_add(&server->ports[c->port].connections, 1) < (per_port ? per_port : UINT32_MAX)) {
            if (imap_counts_add(server->addresses, bytes_of(c->client, sizeof c->client), per_address))
                return true;
            *why = IMAP_REFUSED_ADDRESS;
        }
        atomic_fetch_sub(&server->ports[c->port].connections, 1);
    }
    atomic_fetch_sub(&server->connections, 1);
    return false;
}

static void refuse(struct imap_conn *c, enum imap_refused why)
{
    static const char full[] = "* BYE Too many connections, try again later\r\n";
    struct imap_server *server = c->loop->server;
    if (server->events->refused)
        server->events->refused(server->events->arg, c->rules->name, c->peer, why);
    /* Its few bytes are polite; a flood does not get them, nor does who expects TLS. */
    if (atomic_fetch_add(&server->turned_away, 1) >= TURNED_AWAY_MAX || c->rules->mode == IMAP_LISTEN_TLS)
        imap_conn_close(c);
    else
        imap_conn_write(c, BYTES_LIT(full));
}

static void begin(struct imap_conn *c)
{
    struct imap_server *server = c->loop->server;
    enum imap_refused why;
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, KEEPALIVE_S);
    learn_transport(c);
    const bool closed = c->loop->stopping || c->rules->gone;
    if (closed || !count(c, &why)) {
        refuse(c, closed ? IMAP_REFUSED_TOTAL : why);
        return;
    }
    c->counted = true;
    imap_conn_count_kind(c, IMAP_SESSION_NONAUTH);
    c->session = imap_session_new(server->store, &c->config->limits);
    imap_session_set_wake(c->session, imap_conn_wake, c);
    imap_session_set_transport(c->session, &c->transport);
    c->login_deadline_ms = uv_now(&c->loop->uv) + c->config->limits.login_ms;
    c->handshake_deadline_ms = uv_now(&c->loop->uv) + c->config->server.handshake_ms;
    if (server->events->opened)
        server->events->opened(server->events->arg, &c->transport);
    if (c->rules->mode == IMAP_LISTEN_TLS) {
        imap_channel_begin_tls(&c->channel, c->rules->tls);
        c->how = IMAP_RUN_IDLE;
        imap_conn_wait(c);
    } else {
        imap_conn_submit(c);
    }
}

void imap_conn_accept(struct imap_listener *listener, int fd, const struct sockaddr *peer)
{
    struct imap_loop *loop = listener->loop;
    struct imap_conn *c = calloc(1, sizeof *c);
    ASSERT(c);
    c->job.run = imap_conn_work;
    c->loop = loop;
    c->state = CONN_WRITE;
    c->port = listener->index;
    c->config = imap_server_config(loop->server);
    c->rules = &c->config->listeners[listener->index];
    c->accepted_ns = uv_hrtime();
    c->next = loop->conns;
    if (c->next)
        c->next->prev = c;
    loop->conns = c;
    loop->conns_n++;
    c->handles = 2;
    uv_tcp_init(&loop->uv, &c->tcp);
    uv_timer_init(&loop->uv, &c->timer);
    c->tcp.data = c->timer.data = c;
    if (uv_tcp_open(&c->tcp, fd) == 0) {
        learn_addresses(c, peer);
        begin(c);
    } else {
        close(fd);
        atomic_fetch_add(&loop->server->turned_away, 1);
        imap_conn_close(c);
    }
}

/*
 * listener: sockets that listen, one a loop for each address (SO_REUSEPORT), so that the kernel deals out connections
 * and loops share nothing but the pool. libuv 1.44 knows no such flag.
 *
 * Connections are accepted here and not by uv_listen: what it does when the process has no descriptors left cannot be
 * steered. It gives up a descriptor to turn the client away, and if another thread takes that one first, its callback
 * comes again and again without an end, and each time a line was logged: a log that nobody read filled its pipe, and
 * the loop hung in write. Here the loop says so once in a while, tells clients while it can, and else leaves them in
 * the queue and looks again in a moment.
 */
#include "server_private.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    ACCEPTS_A_TURN = 64,
    PAUSE_MS = 100,
    SAY_AGAIN_MS = 10000,
};

/* ---- addresses ------------------------------------------------------------------------------- */

/* "HOST:PORT" or "[HOST]:PORT" */
static int parse_listen(const char *text, struct imap_port *out, struct error *err)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    const char *begin = text;
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        begin++;
        n -= 2;
    }
    if (!colon || n == 0 || n >= sizeof host || !colon[1])
        return error_set(err, BASE_ERR_USAGE, 0, "listen address \"%s\" is not HOST:PORT", text);
    memcpy(host, begin, n);
    host[n] = 0;
    /* getaddrinfo takes 99999 for 34463. */
    const size_t digits = strspn(colon + 1, "0123456789");
    if (colon[1 + digits] || digits > 5 || strtoul(colon + 1, NULL, 10) > 65535)
        return error_set(err, BASE_ERR_USAGE, 0, "listen address \"%s\": a port is a number from 0 to 65535", text);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0)
        return error_set(err, BASE_ERR_USAGE, 0, "listen address \"%s\": %s", text, gai_strerror(rc));
    memcpy(&out->bound, found->ai_addr, found->ai_addrlen);
    out->bound_n = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static in_port_t *port_of(struct imap_port *p)
{
    return p->bound.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&p->bound)->sin6_port
                                          : &((struct sockaddr_in *)&p->bound)->sin_port;
}

unsigned imap_port_number(struct imap_port *p)
{
    return ntohs(*port_of(p));
}

/* Ports are shared among loops: the kernel would deal out the clients of one address to two listeners' rules. */
static int parse_next(struct imap_port *ports, unsigned index, const char *address, struct error *err)
{
    struct imap_port *p = &ports[index];
    int rc = parse_listen(address, p, err);
    for (unsigned i = 0; rc == 0 && i < index && *port_of(p) != 0; i++)
        if (ports[i].bound_n == p->bound_n && memcmp(&ports[i].bound, &p->bound, p->bound_n) == 0)
            rc = error_set(err, BASE_ERR_USAGE, 0, "two listeners have the address \"%s\"", address);
    return rc;
}

int imap_listen_addresses_check(const struct imap_config *config, struct error *err)
{
    struct imap_port *ports = calloc(config->listeners_n, sizeof *ports);
    int rc = 0;
    ASSERT(ports);
    for (unsigned i = 0; rc == 0 && i < config->listeners_n; i++)
        rc = parse_next(ports, i, config->listeners[i].address, err);
    free(ports);
    return rc;
}

/* ---- sockets ----------------------------------------------------------------------------------- */

static int open_socket(struct imap_port *p, bool shared, int *out, struct error *err)
{
    int one = 1;
    int fd = socket(p->bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, "cannot make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) {
        int rc = error_errno(err, "cannot share a port among loops");
        close(fd);
        return rc;
    }
    if (bind(fd, (struct sockaddr *)&p->bound, p->bound_n) != 0) {
        int rc = error_errno(err, "cannot listen on port %u", imap_port_number(p));
        close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

/* With SO_REUSEPORT a second server of the same user would silently share our clients: see that the port is
 * free first. */
static int check_free(struct imap_port *p, struct error *err)
{
    int fd = -1, rc = 0;
    if (*port_of(p) == 0)
        return 0;
    if ((rc = open_socket(p, false, &fd, err)) != 0)
        return rc;
    if (listen(fd, 1) != 0)
        rc = error_errno(err, "cannot listen on port %u", imap_port_number(p));
    close(fd);
    return rc;
}

static int bind_port(struct imap_server *server, unsigned index, const char *address, struct error *err)
{
    struct imap_port *p = &server->ports[index];
    int rc = parse_next(server->ports, index, address, err);
    if (rc == 0)
        rc = check_free(p, err);
    for (unsigned i = 0; i < server->loops_n && rc == 0; i++) {
        struct imap_listener *l = &server->loops[i].listeners[index];
        if ((rc = open_socket(p, true, &l->fd, err)) != 0)
            break;
        /* Port 0 was any port: the next loops take the same. */
        p->bound_n = sizeof p->bound;
        if (getsockname(l->fd, (struct sockaddr *)&p->bound, &p->bound_n) != 0)
            rc = error_errno(err, "cannot ask for the port");
    }
    return rc;
}

int imap_listeners_bind(struct imap_server *server, struct error *err)
{
    for (unsigned i = 0; i < server->ports_n; i++) {
        int rc = bind_port(server, i, server->config->listeners[i].address, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- accepting ---------------------------------------------------------------------------------- */

static void on_readable(uv_poll_t *poll, int status, int events);

static void poll_all(struct imap_loop *loop, bool on)
{
    for (size_t i = 0; i < loop->server->ports_n; i++) {
        struct imap_listener *l = &loop->listeners[i];
        if (!l->polled)
            continue;
        if (on)
            uv_poll_start(&l->poll, UV_READABLE, on_readable);
        else
            uv_poll_stop(&l->poll);
    }
}

static void on_accept_again(uv_timer_t *timer)
{
    struct imap_loop *loop = timer->data;
    if (!loop->stopping)
        poll_all(loop, true);
}

static void pause_accepting(struct imap_loop *loop)
{
    poll_all(loop, false);
    uv_timer_start(&loop->accept_again, on_accept_again, PAUSE_MS, 0);
}

static void say_no_room(struct imap_loop *loop, int why)
{
    const uint64_t now = uv_now(&loop->uv);
    loop->no_room_n++;
    if (loop->no_room_said_ms && now - loop->no_room_said_ms < SAY_AGAIN_MS)
        return;
    log_to(LOG_LEVEL_WARN, "imap: cannot accept: error=%s times=%llu", strerror(why),
           (unsigned long long)loop->no_room_n);
    loop->no_room_said_ms = now ? now : 1;
    loop->no_room_n = 0;
}

static void take_reserve(struct imap_loop *loop)
{
    if (loop->reserve_fd < 0)
        loop->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* With the descriptor that was kept for it. False: another thread was quicker. */
static bool turn_away(struct imap_listener *l)
{
    static const char full[] = "* BYE Too many connections, try again later\r\n";
    struct imap_loop *loop = l->loop;
    const struct imap_events *events = loop->server->events;
    struct sockaddr_storage peer;
    socklen_t peer_n = sizeof peer;
    if (loop->reserve_fd < 0)
        return false;
    close(loop->reserve_fd);
    loop->reserve_fd = -1;
    int fd = accept4(l->fd, (struct sockaddr *)&peer, &peer_n, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        struct imap_config *config = imap_server_config(loop->server);
        const struct imap_listener_rules *rules = &config->listeners[l->index];
        struct imap_address address;
        char text[IMAP_ADDRESS_TEXT] = "";
        if (rules->mode != IMAP_LISTEN_TLS)
            (void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (imap_address_of((struct sockaddr *)&peer, &address))
            imap_address_format(&address, text);
        close(fd);
        if (events->refused)
            events->refused(events->arg, rules->name, text, IMAP_REFUSED_DESCRIPTORS);
        imap_config_unref(&config);
    }
    take_reserve(loop);
    return fd >= 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct imap_listener *l = poll->data;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t n = sizeof peer;
        int fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            imap_conn_accept(l, fd, (struct sockaddr *)&peer);
            continue;
        }
        switch (errno) {
        case EAGAIN: return;
        case EMFILE:
        case ENFILE:
            say_no_room(l->loop, errno);
            if (turn_away(l))
                break;
            take_reserve(l->loop);
            pause_accepting(l->loop);
            return;
        case ENOBUFS:
        case ENOMEM:
            say_no_room(l->loop, errno);
            pause_accepting(l->loop);
            return;
        default: break; /* of a client that is gone again (ECONNABORTED, EPROTO, EINTR, ...) */
        }
    }
}

int imap_listeners_start(struct imap_loop *loop, struct error *err)
{
    take_reserve(loop);
    for (size_t i = 0; i < loop->server->ports_n; i++) {
        struct imap_listener *l = &loop->listeners[i];
        if (listen(l->fd, BACKLOG) != 0)
            return error_errno(err, "cannot listen on port %u", imap_port_number(&loop->server->ports[i]));
        if (uv_poll_init(&loop->uv, &l->poll, l->fd) != 0)
            return error_set(err, BASE_ERR_IO, 0, "cannot watch a socket");
        l->poll.data = l;
        l->polled = true;
    }
    poll_all(loop, true);
    return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct imap_listener *l = handle->data;
    close(l->fd);
    l->fd = -1;
}

void imap_listeners_stop(struct imap_loop *loop)
{
    for (size_t i = 0; i < loop->server->ports_n; i++) {
        struct imap_listener *l = &loop->listeners[i];
        if (l->polled)
            uv_close((uv_handle_t *)&l->poll, on_poll_closed);
        l->polled = false;
    }
}

void imap_listeners_close(struct imap_loop *loop)
{
    for (size_t i = 0; loop->listeners && i < loop->server->ports_n; i++)
        if (loop->listeners[i].fd >= 0)
            close(loop->listeners[i].fd);
    if (loop->reserve_fd >= 0)
        close(loop->reserve_fd);
    loop->reserve_fd = -1;
}

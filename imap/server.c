/*
 * server: imap_serve: sockets, loops, their threads, and the end of it all.
 *
 * One libuv loop a core, each with its own listening socket on the same address (SO_REUSEPORT), so that the
 * kernel deals out connections and loops share nothing but the pool. libuv 1.44 knows no such flag: the
 * socket is made here and given to uv_tcp_open.
 */
#include "server_private.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    MAX_SESSIONS = 10000,
    LOOPS_MAX = 64,
    DRAIN_MS = 5000,
    STOP_LOOK_MS = 50,
};

/* ---- addresses ------------------------------------------------------------------------------- */

struct address {
    struct sockaddr_storage any;
    socklen_t n;
};

/* "HOST:PORT" or "[HOST]:PORT" */
static int parse_listen(const char *text, struct address *out, struct error *err)
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
    memcpy(&out->any, found->ai_addr, found->ai_addrlen);
    out->n = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static in_port_t *port_of(struct address *a)
{
    return a->any.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&a->any)->sin6_port
                                        : &((struct sockaddr_in *)&a->any)->sin_port;
}

static int open_socket(struct address *a, bool shared, int *out, struct error *err)
{
    int one = 1;
    int fd = socket(a->any.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, "cannot make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) {
        int rc = error_errno(err, "cannot share a port among loops");
        close(fd);
        return rc;
    }
    if (bind(fd, (struct sockaddr *)&a->any, a->n) != 0) {
        int rc = error_errno(err, "cannot listen on port %u", (unsigned)ntohs(*port_of(a)));
        close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

/* With SO_REUSEPORT a second server of the same user would silently share our clients: see that the port is
 * free first. */
static int check_free(struct address *a, struct error *err)
{
    int fd = -1, rc = 0;
    if (*port_of(a) == 0)
        return 0;
    if ((rc = open_socket(a, false, &fd, err)) != 0)
        return rc;
    if (listen(fd, 1) != 0)
        rc = error_errno(err, "cannot listen on port %u", (unsigned)ntohs(*port_of(a)));
    close(fd);
    return rc;
}

/* ---- one loop ----------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *listener, int status)
{
    struct imap_loop *loop = listener->data;
    if (status < 0) { /* EMFILE and its like: libuv has refused the client and goes on */
        log_to(LOG_LEVEL_WARN, "imap: cannot accept: error=%s", uv_strerror(status));
        return;
    }
    imap_conn_accept(loop);
}

static void on_drain_end(uv_timer_t *timer)
{
    imap_conn_stop_all(timer->data, true);
}

void imap_loop_close_if_drained(struct imap_loop *loop)
{
    if (!loop->stopping || loop->conns_n > 0 || loop->closed)
        return;
    loop->closed = true;
    /* A pool thread may still stand between its hand-over and the end of uv_async_send: wait for it to leave
     * the lock. */
    pthread_mutex_lock(&loop->done_lock);
    pthread_mutex_unlock(&loop->done_lock);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->drain, NULL);
}

static void on_wake(uv_async_t *wake)
{
    struct imap_loop *loop = wake->data;
    imap_conn_drain_done(loop);
    imap_conn_drain_woken(loop);
    if (!atomic_load(&loop->stop) || loop->stopping)
        return;
    loop->stopping = true;
    uv_close((uv_handle_t *)&loop->listener, NULL);
    uv_timer_start(&loop->drain, on_drain_end, DRAIN_MS, 0);
    imap_conn_stop_all(loop, false);
    imap_loop_close_if_drained(loop);
}

static void *loop_main(void *arg)
{
    struct imap_loop *loop = arg;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

static int uv_failed(struct error *err, const char *what, int rc)
{
    return error_set(err, BASE_ERR_IO, -rc, "%s: %s", what, uv_strerror(rc));
}

/* Handles are made here, on the caller's thread, before the loop's thread begins. */
static int loop_open(struct imap_server *server, struct imap_loop *loop, struct address *address, struct error *err)
{
    int fd = -1;
    int rc = open_socket(address, true, &fd, err);
    if (rc != 0)
        return rc;
    loop->server = server;
    pthread_mutex_init(&loop->done_lock, NULL);
    ASSERT(uv_loop_init(&loop->uv) == 0);
    loop->started = true;
    uv_tcp_init(&loop->uv, &loop->listener);
    uv_async_init(&loop->uv, &loop->wake, on_wake);
    uv_timer_init(&loop->uv, &loop->drain);
    loop->listener.data = loop->wake.data = loop->drain.data = loop;
    if ((rc = uv_tcp_open(&loop->listener, fd)) != 0) {
        close(fd);
        return uv_failed(err, "cannot use a socket", rc);
    }
    if ((rc = uv_listen((uv_stream_t *)&loop->listener, BACKLOG, on_connection)) != 0)
        return uv_failed(err, "cannot listen", rc);
    /* Port 0 was any port: the next loops take the same. */
    address->n = sizeof address->any;
    if (getsockname(fd, (struct sockaddr *)&address->any, &address->n) != 0)
        return error_errno(err, "cannot ask for the port");
    return 0;
}

/* After its thread was joined, or if it never had one. */
static void loop_close(struct imap_loop *loop)
{
    if (!loop->started)
        return;
    uv_handle_t *handles[] = {(uv_handle_t *)&loop->listener, (uv_handle_t *)&loop->wake, (uv_handle_t *)&loop->drain};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    ASSERT(uv_loop_close(&loop->uv) == 0);
    pthread_mutex_destroy(&loop->done_lock);
}

/* ---- the server ------------------------------------------------------------------------------------ */

static unsigned cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > LOOPS_MAX ? LOOPS_MAX : (unsigned)n;
}

static void announce(const struct imap_server_settings *settings, const struct address *address)
{
    char text[INET6_ADDRSTRLEN] = "?";
    struct address copy = *address;
    const void *raw = copy.any.ss_family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)&copy.any)->sin6_addr
                                                     : (const void *)&((struct sockaddr_in *)&copy.any)->sin_addr;
    inet_ntop(copy.any.ss_family, raw, text, sizeof text);
    if (settings->on_listen)
        settings->on_listen(text, ntohs(*port_of(&copy)), settings->arg);
}

/* The caller's thread looks for the stop flag; a signal that sets it also ends the sleep. */
static void wait_for_stop(const volatile int *stop)
{
    const struct timespec look = {0, STOP_LOOK_MS * 1000000L};
    while (!stop || !__atomic_load_n(stop, __ATOMIC_ACQUIRE))
        nanosleep(&look, NULL);
}

static int start_threads(struct imap_loop *loops, unsigned n, unsigned *started, struct error *err)
{
    for (*started = 0; *started < n; (*started)++) {
        struct imap_loop *loop = &loops[*started];
        int rc = pthread_create(&loop->thread, NULL, loop_main, loop);
        if (rc != 0) {
            errno = rc;
            return error_errno(err, "cannot start a thread");
        }
        pthread_setname_np(loop->thread, "imap-loop");
    }
    return 0;
}

static void stop_loops(struct imap_loop *loops, unsigned started)
{
    for (unsigned i = 0; i < started; i++) {
        atomic_store(&loops[i].stop, true);
        uv_async_send(&loops[i].wake);
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(loops[i].thread, NULL);
}

static struct imap_limits server_limits(const struct imap_limits *given)
{
    struct imap_limits l = *given;
    l.login_ms = l.login_ms ? l.login_ms : 60000;
    l.idle_ms = l.idle_ms ? l.idle_ms : 30 * 60000;
    l.write_ms = l.write_ms ? l.write_ms : 120000;
    return l;
}

int imap_serve(const struct imap_server_settings *settings, struct error *err)
{
    const unsigned loops_n = settings->loops ? (settings->loops < LOOPS_MAX ? settings->loops : LOOPS_MAX) : cores();
    struct imap_server server = {
        .settings = settings,
        .limits = server_limits(&settings->limits),
        .max_sessions = settings->max_sessions ? settings->max_sessions : MAX_SESSIONS,
    };
    struct address address = {0};
    unsigned started = 0;
    sigset_t all, before;
    int rc = parse_listen(settings->listen ? settings->listen : "127.0.0.1:1143", &address, err);
    if (rc != 0 || (rc = check_free(&address, err)) != 0)
        return rc;
    struct imap_loop *loops = calloc(loops_n, sizeof *loops);
    ASSERT(loops);
    /* A client that goes away is an error of the write, not a signal; signals are for the caller's thread. */
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < loops_n && rc == 0; i++)
        rc = loop_open(&server, &loops[i], &address, err);
    if (rc == 0)
        rc = imap_pool_new(settings->threads ? settings->threads : 4 * cores(), &server.pool, err);
    if (rc == 0)
        rc = start_threads(loops, loops_n, &started, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        announce(settings, &address);
        wait_for_stop(settings->stop);
    }
    stop_loops(loops, started);
    imap_pool_free(&server.pool);
    for (unsigned i = 0; i < loops_n; i++)
        loop_close(&loops[i]);
    free(loops);
    return rc;
}

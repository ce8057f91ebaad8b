/*
 * metrics_http: GET /metrics and nothing else, each connection for one request. A thread of its own, so that a scrape is answered however
 * busy the server is; bounded in clients, bytes and time, as anybody who reaches the port may talk to it.
 */
#include "metrics.h"

#include "base/log.h"

#include <glib.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <uv.h>

enum { CLIENTS_MAX = 16, REQUEST_BYTES_MAX = 4096, CLIENT_MS = 5000 };

struct metrics_server {
    struct metrics *metrics;
    struct mdsq_store *store;
    const struct imap_server *imap;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t stop;
    pthread_t thread;
    bool running;
    struct client *clients; /* list */
    unsigned clients_n;
};

struct client {
    struct metrics_server *server;
    struct client *next;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    unsigned handles;
    uv_shutdown_t shutdown;
    bool closing, answered; /* answered: what still comes is thrown away, until the end or the timer */
    char request[REQUEST_BYTES_MAX];
    size_t n;
    struct buf answer;
};

/* ---- clients --------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (--c->handles > 0)
        return;
    struct client **at = &c->server->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->server->clients_n--;
    buf_release(&c->answer);
    g_free(c);
}

static void client_close(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_timer(uv_timer_t *timer)
{
    client_close(timer->data);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown, (void)status;
}

/* Closing a socket with unread input resets it, and the client may lose the answer: so the end is said, and its own waited for. */
static void on_written(uv_write_t *write, int status)
{
    struct client *c = write->data;
    if (status < 0 || c->closing || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        client_close(c);
}

static void answer(struct client *c, const char *status, const char *type, const struct buf *body, bool head_only)
{
    buf_printf(&c->answer, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status, type, body->n,
               status[0] == '4' && strstr(status, "405") ? "Allow: GET, HEAD\r\n" : "");
    if (!head_only)
        buf_append_bytes(&c->answer, buf_bytes(body));
    c->answered = true;
    uv_buf_t out = uv_buf_init((char *)c->answer.p, (unsigned)c->answer.n);
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_written) != 0)
        client_close(c);
}

static void refuse(struct client *c, const char *status)
{
    struct buf body = {0};
    buf_printf(&body, "%s\n", status);
    answer(c, status, "text/plain; charset=utf-8", &body, false);
    buf_release(&body);
}

/* The first line decides; header fields are read over. */
static void on_request(struct client *c)
{
    char *end = memchr(c->request, '\r', c->n);
    *end = 0;
    char **word = g_strsplit(c->request, " ", 4);
    const bool is_http = g_strv_length(word) == 3 && g_str_has_prefix(word[2], "HTTP/1.");
    const bool head = is_http && strcmp(word[0], "HEAD") == 0;
    if (!is_http) {
        refuse(c, "400 Bad Request");
    } else if (!head && strcmp(word[0], "GET") != 0) {
        refuse(c, "405 Method Not Allowed");
    } else if (strcmp(word[1], "/metrics") != 0) {
        refuse(c, "404 Not Found");
    } else {
        struct buf body = {0};
        metrics_format(c->server->metrics, c->server->store, c->server->imap, &body);
        answer(c, "200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", &body, head);
        buf_release(&body);
    }
    g_strfreev(word);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = handle->data;
    (void)suggested;
    if (c->answered)
        c->n = 0;
    *buf = uv_buf_init(c->request + c->n, (unsigned)(sizeof c->request - c->n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    (void)buf;
    if (n < 0) {
        client_close(c);
        return;
    }
    if (c->answered)
        return;
    c->n += (size_t)n;
    if (memmem(c->request, c->n, "\r\n\r\n", 4))
        on_request(c);
    else if (c->n == sizeof c->request)
        refuse(c, "431 Request Header Fields Too Large");
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct metrics_server *s = listener->data;
    if (status < 0)
        return;
    struct client *c = g_new0(struct client, 1);
    c->server = s;
    c->handles = 2;
    uv_tcp_init(&s->loop, &c->tcp);
    uv_timer_init(&s->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    c->next = s->clients;
    s->clients = c;
    s->clients_n++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || s->clients_n > CLIENTS_MAX ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        client_close(c);
    else
        uv_timer_start(&c->timer, on_timer, CLIENT_MS, 0);
}

/* ---- the server ---------------------------------------------------------------------------------------- */

static void on_stop(uv_async_t *stop)
{
    struct metrics_server *s = stop->data;
    for (struct client *c = s->clients; c; c = c->next)
        client_close(c);
    uv_close((uv_handle_t *)&s->listener, NULL);
    uv_close((uv_handle_t *)&s->stop, NULL);
}

static void *run(void *arg)
{
    struct metrics_server *s = arg;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int resolve(const char *address, struct sockaddr_storage *out, struct error *err)
{
    const char *colon = strrchr(address, ':');
    char *host = colon ? g_strndup(address, (gsize)(colon - address)) : NULL;
    const size_t n = host ? strlen(host) : 0;
    const bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']';
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (bracketed)
        host[n - 1] = 0;
    int rc = colon ? getaddrinfo(bracketed ? host + 1 : host, colon + 1, &hints, &found) : EAI_NONAME;
    g_free(host);
    if (rc != 0)
        return error_set(err, BASE_ERR_USAGE, 0, "metrics: address '%s': %s", address, gai_strerror(rc));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return BASE_OK;
}

static int listen_on(struct metrics_server *s, const char *address, unsigned *port_out, struct error *err)
{
    struct sockaddr_storage any = {0};
    int n = sizeof any, rc = resolve(address, &any, err);
    if (rc < 0)
        return rc;
    rc = uv_tcp_bind(&s->listener, (struct sockaddr *)&any, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, CLIENTS_MAX, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&s->listener, (struct sockaddr *)&any, &n);
    if (rc != 0)
        return error_set(err, BASE_ERR_IO, -rc, "metrics: cannot listen on %s: %s", address, uv_strerror(rc));
    *port_out = ntohs(any.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&any)->sin6_port : ((struct sockaddr_in *)&any)->sin_port);
    return BASE_OK;
}

static int start(struct metrics_server *s, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return error_set(err, BASE_ERR_IO, rc, "metrics: cannot start a thread");
    pthread_setname_np(s->thread, "metrics");
    s->running = true;
    return BASE_OK;
}

int metrics_serve(struct metrics *m, struct mdsq_store *store, const struct imap_server *imap, const char *address, struct metrics_server **out, unsigned *port_out, struct error *err)
{
    struct metrics_server *s = g_new0(struct metrics_server, 1);
    s->metrics = m;
    s->store = store;
    s->imap = imap;
    ASSERT(uv_loop_init(&s->loop) == 0 && uv_tcp_init(&s->loop, &s->listener) == 0 && uv_async_init(&s->loop, &s->stop, on_stop) == 0);
    s->listener.data = s->stop.data = s;
    int rc = listen_on(s, address, port_out, err);
    if (rc == BASE_OK)
        rc = start(s, err);
    *out = s;
    if (rc < 0)
        metrics_stop(out);
    return rc;
}

void metrics_stop(struct metrics_server **server)
{
    struct metrics_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    uv_async_send(&s->stop);
    if (s->running)
        pthread_join(s->thread, NULL);
    else
        uv_run(&s->loop, UV_RUN_DEFAULT);
    ASSERT(uv_loop_close(&s->loop) == 0);
    g_free(s);
}

/*
 * conn: one connection of a loop: bytes between the socket and the session, runs on the pool, one timer.
 *
 * The state is what it waits for:
 *
 *     BUSY    a run on the pool               -> done: WRITE, or NEXT by what the run returned
 *     WRITE   its output on the way           -> written: NEXT
 *     NEXT    MORE: BUSY. WAIT: PAUSE. CLOSE: LINGER. PARKED: PARKED. IDLE: feed and BUSY, or IDLE
 *     IDLE    input or a wake                 -> read: feed, BUSY. Wake: BUSY. Timer: BYE
 *     PARKED  a wake (a commit)               -> wake: BUSY. It ends by itself: no timer
 *     PAUSE   a failed login's delay          -> timer: BUSY
 *     LINGER  the client to see the end       -> EOF or timer: CLOSED
 *     CLOSED  libuv's close callbacks         -> freed
 *
 * A wake (imap_session_set_wake) comes from any thread. It puts the connection on the loop's list, once however often
 * it comes; the loop runs the session again when it is IDLE or PARKED, or as soon as the run at work and its output are done.
 *
 * Memory: at most PENDING_BYTES and one read of input that the session has no room for; reading stops then.
 * Output is the session's own buffer, which does not grow while it is written.
 */
#include "server_private.h"

#include "base/bytes.h"
#include "base/log.h"

#include <netinet/in.h>
#include <string.h>

enum { PENDING_BYTES = 64 << 10, LINGER_MS = 1000 };

enum conn_state { CONN_BUSY, CONN_WRITE, CONN_IDLE, CONN_PARKED, CONN_PAUSE, CONN_LINGER, CONN_CLOSED };

struct imap_conn {
    struct imap_job job; /* first: the job is the connection */
    struct imap_loop *loop;
    struct imap_conn *prev, *next, *next_done;
    struct imap_conn *next_woken; /* with wake_queued, guarded by the loop's done_lock */
    bool wake_queued;
    struct imap_conn *next_ready; /* the loop's, as woken: since its last run began */
    bool woken;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct imap_session *session; /* the job's while BUSY; NULL if there was no room for one */
    enum conn_state state;
    enum imap_run how; /* of the last run: written by the job, read after it was taken back */
    bool reading, eof, doomed, stopped;
    unsigned handles;                             /* open ones */
    uint64_t login_deadline_ms, idle_deadline_ms; /* the latter from the last answer on: half a command is none */
    size_t write_left;                            /* when the write timer last looked */
    struct buf pending;
};

static void next(struct imap_conn *c);
static void on_timer(uv_timer_t *timer);

/* ---- the end ---------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct imap_conn *c = handle->data;
    if (--c->handles > 0)
        return;
    struct imap_loop *loop = c->loop;
    /* Once the session is gone nobody wakes it; what was queued before still stands in the list. */
    const bool had_session = c->session != NULL;
    imap_session_free(&c->session);
    imap_conn_drain_woken(loop);
    if (c->prev)
        c->prev->next = c->next;
    else
        loop->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    loop->conns_n--;
    if (had_session)
        atomic_fetch_sub(&loop->server->sessions, 1);
    buf_release(&c->pending);
    free(c);
    imap_loop_close_if_drained(loop);
}

/* The session must not be on the pool. */
static void close_now(struct imap_conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    ASSERT(c->state != CONN_BUSY);
    c->state = CONN_CLOSED;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void set_timer(struct imap_conn *c, uint64_t ms)
{
    uv_timer_start(&c->timer, on_timer, ms, 0);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req, (void)status;
}

static void set_reading(struct imap_conn *c, bool on);

/*
 * Closing a socket with unread input resets it, and the client may lose our last words: so say that we are
 * done and throw away what it still sends, for a moment.
 */
static void linger(struct imap_conn *c)
{
    c->state = CONN_LINGER;
    if (c->eof || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        close_now(c);
        return;
    }
    set_reading(c, true);
    set_timer(c, LINGER_MS);
}

/* ---- runs ---------------------------------------------------------------------------------- */

static void run_job(struct imap_job *job)
{
    struct imap_conn *c = (struct imap_conn *)job;
    struct imap_loop *loop = c->loop;
    c->how = imap_session_run(c->session);
    pthread_mutex_lock(&loop->done_lock);
    c->next_done = loop->done;
    loop->done = c;
    uv_async_send(&loop->wake);
    pthread_mutex_unlock(&loop->done_lock);
    /* From here on it is the loop's. */
}

/* From any thread, until imap_session_free has returned. */
static void on_session_wake(void *arg)
{
    struct imap_conn *c = arg;
    struct imap_loop *loop = c->loop;
    pthread_mutex_lock(&loop->done_lock);
    if (!c->wake_queued) {
        c->wake_queued = true;
        c->next_woken = loop->woken;
        loop->woken = c;
        uv_async_send(&loop->wake);
    }
    pthread_mutex_unlock(&loop->done_lock);
}

static void submit(struct imap_conn *c)
{
    c->state = CONN_BUSY;
    c->woken = false; /* a wake from here on may be news that this run does not see */
    uv_timer_stop(&c->timer);
    imap_pool_submit(c->loop->server->pool, &c->job);
}

static void on_written(uv_write_t *req, int status)
{
    struct imap_conn *c = req->data;
    if (c->state == CONN_CLOSED)
        return;
    if (status < 0) {
        close_now(c);
        return;
    }
    c->idle_deadline_ms = uv_now(&c->loop->uv) + c->loop->server->limits.idle_ms;
    if (c->session)
        imap_session_wrote(c->session, imap_session_output(c->session).n);
    next(c);
}

static void write_bytes(struct imap_conn *c, struct bytes out)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out.p, (unsigned)out.n);
    c->state = CONN_WRITE;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        close_now(c);
        return;
    }
    c->write_left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    set_timer(c, c->loop->server->limits.write_ms);
}

/* Hands the session's output on, then goes by what its last run returned. */
static void write_or_next(struct imap_conn *c)
{
    struct bytes out = imap_session_output(c->session);
    if (c->doomed)
        close_now(c);
    else if (out.n)
        write_bytes(c, out);
    else
        next(c);
}

static void end_session(struct imap_conn *c, const char *text)
{
    imap_session_shutdown(c->session, text);
    c->how = IMAP_RUN_CLOSE;
    write_or_next(c);
}

/* What the client sent goes to the session, as far as it has room. True if there was anything. */
static bool feed(struct imap_conn *c)
{
    if (c->pending.n == 0)
        return false;
    size_t took = imap_session_feed(c->session, c->pending.p, c->pending.n);
    size_t left = c->pending.n - took;
    if (left)
        memmove(c->pending.p, c->pending.p + took, left);
    explicit_bzero(c->pending.p + left, took); /* it may have been a password */
    c->pending.n = left;
    if (left == 0)
        buf_release(&c->pending);
    return took > 0;
}

static void wait_for_input(struct imap_conn *c)
{
    const uint64_t now = uv_now(&c->loop->uv);
    const uint64_t deadline = imap_session_logged_in(c->session) ? c->idle_deadline_ms : c->login_deadline_ms;
    c->state = CONN_IDLE;
    set_reading(c, true);
    set_timer(c, now < deadline ? deadline - now : 0);
}

/* What it waits for is on its way whatever the client does: the answer is told even to half a connection. */
static void park(struct imap_conn *c)
{
    if (c->woken) {
        submit(c);
        return;
    }
    c->state = CONN_PARKED;
    uv_timer_stop(&c->timer);
    if (c->pending.n < PENDING_BYTES)
        set_reading(c, true); /* to see a client that goes away */
}

static void next(struct imap_conn *c)
{
    if (!c->session) { /* it was told that there is no room */
        linger(c);
        return;
    }
    if (c->loop->stopping && !c->stopped && c->how != IMAP_RUN_CLOSE && c->how != IMAP_RUN_PARKED) {
        c->stopped = true;
        end_session(c, "Server is shutting down");
        return;
    }
    switch (c->how) {
    case IMAP_RUN_MORE: submit(c); return;
    case IMAP_RUN_CLOSE: linger(c); return;
    case IMAP_RUN_WAIT:
        c->state = CONN_PAUSE;
        set_timer(c, imap_session_wait_ms(c->session));
        return;
    case IMAP_RUN_PARKED: park(c); return;
    case IMAP_RUN_STARTTLS:
    case IMAP_RUN_COMPRESS:
    case IMAP_RUN_IDLE: break;
    }
    if (feed(c) || c->woken)
        submit(c);
    else if (c->eof)
        close_now(c);
    else
        wait_for_input(c);
}

void imap_conn_drain_done(struct imap_loop *loop)
{
    pthread_mutex_lock(&loop->done_lock);
    struct imap_conn *c = loop->done;
    loop->done = NULL;
    pthread_mutex_unlock(&loop->done_lock);
    while (c) {
        struct imap_conn *following = c->next_done;
        c->state = CONN_WRITE; /* the loop's again */
        write_or_next(c);
        c = following;
    }
}

void imap_conn_drain_woken(struct imap_loop *loop)
{
    pthread_mutex_lock(&loop->done_lock);
    struct imap_conn *ready = NULL;
    for (struct imap_conn *c = loop->woken; c; c = c->next_woken) {
        c->wake_queued = false; /* from here on next_woken may be written again: hence a link of our own */
        c->next_ready = ready;
        ready = c;
    }
    loop->woken = NULL;
    pthread_mutex_unlock(&loop->done_lock);
    for (struct imap_conn *c = ready; c; c = c->next_ready) {
        c->woken = true;
        if (c->state == CONN_IDLE || c->state == CONN_PARKED)
            submit(c);
    }
}

/* ---- timers ------------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
    struct imap_conn *c = timer->data;
    size_t left;
    switch (c->state) {
    case CONN_IDLE:
        end_session(c, imap_session_logged_in(c->session) ? "Idle for too long" : "Login took too long");
        return;
    case CONN_PAUSE: submit(c); return;
    case CONN_WRITE:
        left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
        if (left < c->write_left) { /* slowly, but it reads */
            c->write_left = left;
            set_timer(c, c->loop->server->limits.write_ms);
            return;
        }
        log_to(LOG_LEVEL_INFO, "imap: client does not read, dropped: bytes_waiting=%zu", left);
        close_now(c);
        return;
    case CONN_LINGER: close_now(c); return;
    case CONN_PARKED:
    case CONN_BUSY:
    case CONN_CLOSED: return;
    }
}

/* ---- input ------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct imap_conn *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->loop->read_buffer, sizeof c->loop->read_buffer);
}

static void on_end_of_input(struct imap_conn *c, ssize_t why)
{
    c->eof = true;
    c->doomed = why != UV_EOF;
    set_reading(c, false);
    /* After a half-close the commands that were sent are still answered. */
    if (c->state == CONN_IDLE || c->state == CONN_LINGER)
        close_now(c);
    else if (c->doomed && c->state != CONN_BUSY)
        close_now(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct imap_conn *c = stream->data;
    if (c->state == CONN_CLOSED)
        return;
    if (n < 0) {
        on_end_of_input(c, n);
        return;
    }
    if (n == 0 || c->state == CONN_LINGER)
        return;
    buf_append(&c->pending, buf->base, (size_t)n);
    explicit_bzero(buf->base, (size_t)n);
    if (c->state == CONN_IDLE && feed(c))
        submit(c);
    if (c->pending.n >= PENDING_BYTES)
        set_reading(c, false);
}

static void set_reading(struct imap_conn *c, bool on)
{
    if (on == c->reading || (on && c->eof))
        return;
    c->reading = on;
    if (on)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* ---- the beginning -------------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->ss_family != AF_INET6)
        return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

/* Passwords travel in clear only where both ends are this machine. */
static bool both_ends_loopback(const uv_tcp_t *tcp)
{
    struct sockaddr_storage here = {0}, there = {0};
    int here_n = sizeof here, there_n = sizeof there;
    return uv_tcp_getsockname(tcp, (struct sockaddr *)&here, &here_n) == 0 &&
           uv_tcp_getpeername(tcp, (struct sockaddr *)&there, &there_n) == 0 && is_loopback(&here) &&
           is_loopback(&there);
}

static void begin(struct imap_conn *c)
{
    struct imap_server *server = c->loop->server;
    static const char full[] = "* BYE Too many connections, try again later\r\n";
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, 600);
    if (c->loop->stopping || atomic_fetch_add(&server->sessions, 1) >= server->max_sessions) {
        if (!c->loop->stopping)
            atomic_fetch_sub(&server->sessions, 1);
        write_bytes(c, BYTES_LIT(full));
        return;
    }
    c->session = imap_session_new(server->settings->store, &server->limits);
    imap_session_set_wake(c->session, on_session_wake, c);
    if (both_ends_loopback(&c->tcp))
        imap_session_allow_login(c->session);
    c->login_deadline_ms = uv_now(&c->loop->uv) + server->limits.login_ms;
    submit(c);
    set_reading(c, true);
}

void imap_conn_accept(struct imap_loop *loop)
{
    struct imap_conn *c = calloc(1, sizeof *c);
    ASSERT(c);
    c->job.run = run_job;
    c->loop = loop;
    c->state = CONN_WRITE;
    c->next = loop->conns;
    if (c->next)
        c->next->prev = c;
    loop->conns = c;
    loop->conns_n++;
    c->handles = 2;
    uv_tcp_init(&loop->uv, &c->tcp);
    uv_timer_init(&loop->uv, &c->timer);
    c->tcp.data = c->timer.data = c;
    if (uv_accept((uv_stream_t *)&loop->listener, (uv_stream_t *)&c->tcp) == 0)
        begin(c);
    else
        close_now(c);
}

void imap_conn_stop_all(struct imap_loop *loop, bool now)
{
    struct imap_conn *following = NULL;
    for (struct imap_conn *c = loop->conns; c; c = following) {
        following = c->next; /* nothing is freed before the close callbacks */
        if (c->state == CONN_BUSY)
            c->doomed |= now;
        else if (now || c->state == CONN_LINGER)
            close_now(c);
        else if (c->state == CONN_IDLE || c->state == CONN_PAUSE)
            next(c);
    }
}

/*
 * conn: one connection of a loop: bytes between the socket and the session, runs on the pool, one timer.
 *
 * The state is what it waits for:
 *
 *     BUSY    a run on the pool               -> done: WRITE, or NEXT by what the run returned
 *     WRITE   its output on the way           -> written: NEXT
 *     NEXT    MORE: BUSY. WAIT: PAUSE. CLOSE: LINGER. PARKED: PARKED. IDLE: BUSY with input, or IDLE
 *     IDLE    input or a wake                 -> read: BUSY. Wake: BUSY. Timer: BYE
 *     PARKED  a wake (a commit)               -> wake: BUSY. It ends by itself: no timer
 *     PAUSE   a failed login's delay, or the time that a client over its rate must wait -> timer: BUSY
 *     LINGER  the client to see the end       -> EOF or timer: CLOSED
 *     CLOSED  libuv's close callbacks         -> freed
 *
 * A wake (imap_session_set_wake) comes from any thread. It puts the connection on the loop's list, once however often
 * it comes; the loop runs the session again when it is IDLE or PARKED, or as soon as the run at work and its output are
 * done.
 *
 * How it begins is in conn_accept.c, what the pool does with it in conn_work.c.
 *
 * Memory: at most PENDING_BYTES and one read of input that the channel has no room for, and as much inside the channel;
 * reading stops then. Output is the session's own buffer, or the channel's, which do not grow while they are written.
 */
#include "conn_private.h"

#include "base/log.h"

#include <string.h>

enum {
    PENDING_BYTES = 64 << 10,
    LINGER_MS = 1000,
    REST_MS = 10000, /* idle so long: compression gives its memory back */
    PROBE_MS = 1000, /* how often a client that has ended its side is asked for a sign during a long command */
};

static void next(struct imap_conn *c);
static void on_timer(uv_timer_t *timer);
static void set_reading(struct imap_conn *c, bool on);

static uint64_t now_ms(const struct imap_conn *c)
{
    return uv_now(&c->loop->uv);
}

static void end_because(struct imap_conn *c, const char *why)
{
    if (!c->why)
        c->why = why;
}

/* Counts it among the sessions of this kind, and no longer among those of the one before; -1: among none. */
void imap_conn_count_kind(struct imap_conn *c, int kind)
{
    struct imap_server *server = c->loop->server;
    if (kind + 1 == c->kind)
        return;
    if (c->kind)
        atomic_fetch_sub_explicit(&server->sessions[c->kind - 1], 1, memory_order_relaxed);
    if (kind >= 0)
        atomic_fetch_add_explicit(&server->sessions[kind], 1, memory_order_relaxed);
    c->kind = (uint8_t)(kind + 1);
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void forget(struct imap_conn *c)
{
    struct imap_server *server = c->loop->server;
    const struct imap_events *events = server->events;
    imap_conn_count_kind(c, -1);
    if (c->counted) {
        const struct imap_closed_event e = {
            .ns = uv_hrtime() - c->accepted_ns,
            .bytes_in = c->bytes_in,
            .bytes_out = c->bytes_out,
            .commands = c->commands,
            .why = c->why ? c->why : "client",
        };
        if (events->closed)
            events->closed(events->arg, &c->transport, &e);
        atomic_fetch_sub(&server->connections, 1);
        atomic_fetch_sub(&server->ports[c->port].connections, 1);
        imap_counts_drop(server->addresses, bytes_of(c->client, sizeof c->client));
    } else {
        atomic_fetch_sub(&server->turned_away, 1);
    }
    atomic_fetch_add(&server->freed, 1);
    if (c->account)
        imap_counts_drop(server->accounts, bytes_str(c->account));
}

static void on_closed(uv_handle_t *handle)
{
    struct imap_conn *c = handle->data;
    if (--c->handles > 0)
        return;
    struct imap_loop *loop = c->loop;
    /* Once the session is gone nobody wakes it; what was queued before still stands in the list. */
    imap_session_free(&c->session);
    imap_conn_drain_woken(loop);
    if (c->prev)
        c->prev->next = c->next;
    else
        loop->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    loop->conns_n--;
    forget(c);
    imap_channel_release(&c->channel);
    imap_config_unref(&c->config);
    buf_release(&c->pending);
    free(c->account);
    free(c);
    imap_loop_close_if_drained(loop);
}

/* The session must not be on the pool. */
void imap_conn_close(struct imap_conn *c)
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

/*
 * Closing a socket with unread input resets it, and the client may lose our last words: so say that we are
 * done and throw away what it still sends, for a moment.
 */
static void linger(struct imap_conn *c)
{
    c->state = CONN_LINGER;
    if (c->eof || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        imap_conn_close(c);
        return;
    }
    set_reading(c, true);
    set_timer(c, LINGER_MS);
}

/* ---- runs ---------------------------------------------------------------------------------- */

/* From any thread, until imap_session_free has returned. */
void imap_conn_wake(void *arg)
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

void imap_conn_submit(struct imap_conn *c)
{
    c->state = CONN_BUSY;
    c->woken = false; /* a wake from here on may be news that this run does not see */
    imap_channel_put(&c->channel, &c->pending);
    if (c->pending.n < PENDING_BYTES)
        set_reading(c, true);
    uv_timer_stop(&c->timer);
    imap_pool_submit(c->loop->server->pool, &c->job);
}

/* Who is over its rate waits before it is run again. */
static void submit_in_turn(struct imap_conn *c)
{
    const struct imap_server_limits *l = &c->config->server;
    const uint64_t now = now_ms(c), bytes = imap_meter_wait(&c->bytes_meter, l->bytes_per_s, l->burst_s, now),
                   commands = imap_meter_wait(&c->commands_meter, l->commands_per_s, l->burst_s, now);
    if (bytes == 0 && commands == 0) {
        imap_conn_submit(c);
        return;
    }
    c->state = CONN_PAUSE;
    set_timer(c, bytes > commands ? bytes : commands);
}

static void count_bytes(struct imap_conn *c, size_t n)
{
    const struct imap_server_limits *l = &c->config->server;
    imap_meter_take(&c->bytes_meter, n, l->bytes_per_s, l->burst_s, now_ms(c));
}

static void on_written(uv_write_t *req, int status)
{
    struct imap_conn *c = req->data;
    if (c->state == CONN_CLOSED)
        return;
    if (status < 0) {
        imap_conn_close(c);
        return;
    }
    c->idle_deadline_ms = now_ms(c) + c->config->limits.idle_ms;
    imap_channel_wrote(&c->channel, c->session);
    next(c);
}

void imap_conn_write(struct imap_conn *c, struct bytes out)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out.p, (unsigned)out.n);
    c->state = CONN_WRITE;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        imap_conn_close(c);
        return;
    }
    c->bytes_out += out.n;
    atomic_fetch_add_explicit(&c->loop->server->bytes_out, out.n, memory_order_relaxed);
    count_bytes(c, out.n);
    c->write_left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    set_timer(c, c->config->limits.write_ms);
}

/* Hands the session's output on, then goes by what its last run returned. */
static void write_or_next(struct imap_conn *c)
{
    struct bytes out = imap_channel_output(&c->channel, c->session);
    if (c->doomed)
        imap_conn_close(c);
    else if (out.n)
        imap_conn_write(c, out);
    else
        next(c);
}

static void end_session(struct imap_conn *c, const char *why, const char *text)
{
    end_because(c, why);
    if (c->channel.handshaking || c->channel.broken) {
        imap_conn_close(c);
        return;
    }
    imap_session_shutdown(c->session, text);
    imap_channel_drain(&c->channel, c->session, true);
    imap_channel_close(&c->channel);
    c->how = IMAP_RUN_CLOSE;
    write_or_next(c);
}

static uint64_t deadline_of(const struct imap_conn *c)
{
    if (c->channel.handshaking)
        return c->handshake_deadline_ms;
    return imap_session_logged_in(c->session) ? c->idle_deadline_ms : c->login_deadline_ms;
}

void imap_conn_wait(struct imap_conn *c)
{
    const uint64_t now = now_ms(c), deadline = deadline_of(c);
    uint64_t wait = now < deadline ? deadline - now : 0;
    c->state = CONN_IDLE;
    set_reading(c, true);
    set_timer(c, c->channel.deflate && wait > REST_MS ? REST_MS : wait);
}

/* What it waits for is on its way whatever the client does: the answer is told even to half a connection. */
static void park(struct imap_conn *c)
{
    if (c->woken) {
        imap_conn_submit(c);
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
        end_session(c, "shutdown", "Server is shutting down");
        return;
    }
    switch (c->how) {
    case IMAP_RUN_STARTTLS:
    case IMAP_RUN_COMPRESS:
    case IMAP_RUN_MORE: submit_in_turn(c); return;
    case IMAP_RUN_CLOSE: linger(c); return;
    case IMAP_RUN_WAIT:
        c->state = CONN_PAUSE;
        set_timer(c, imap_session_wait_ms(c->session));
        return;
    case IMAP_RUN_PARKED: park(c); return;
    case IMAP_RUN_IDLE: break;
    }
    if (c->pending.n > 0 || imap_channel_has_input(&c->channel))
        submit_in_turn(c);
    else if (c->woken)
        imap_conn_submit(c);
    else if (c->eof)
        imap_conn_close(c);
    else
        imap_conn_wait(c);
}

/* After a half-close what was asked is still answered, if somebody is there: only writing tells. */
static void probe(struct imap_conn *c)
{
    const uint64_t now = now_ms(c);
    if (!c->eof || c->doomed || c->how != IMAP_RUN_MORE || imap_channel_output(&c->channel, c->session).n > 0)
        return;
    if (c->probe_at_ms == 0)
        c->probe_at_ms = now + PROBE_MS;
    if (now < c->probe_at_ms || !imap_session_probe(c->session))
        return;
    imap_channel_drain(&c->channel, c->session, true);
    c->probe_at_ms = now + PROBE_MS;
}

static void take_back(struct imap_conn *c)
{
    const struct imap_server_limits *l = &c->config->server;
    const uint64_t commands = imap_session_commands(c->session);
    c->state = CONN_WRITE; /* the loop's again */
    imap_meter_take(&c->commands_meter, commands - c->commands, l->commands_per_s, l->burst_s, now_ms(c));
    c->commands = commands;
    imap_conn_count_kind(c, (int)imap_session_kind(c->session));
    if (c->channel.ended)
        c->eof = true;
    if (c->how == IMAP_RUN_STARTTLS) {
        /* Whatever came before we even said OK is somebody's attempt to be taken for the client (CVE-2011-0411). */
        if (c->pending.n)
            explicit_bzero(c->pending.p, c->pending.n);
        buf_release(&c->pending);
        c->handshake_deadline_ms = now_ms(c) + l->handshake_ms;
        c->how = IMAP_RUN_IDLE;
    } else if (c->how == IMAP_RUN_CLOSE) {
        end_because(c, c->channel.broken ? "layer" : "logout");
    }
    probe(c);
    write_or_next(c);
}

void imap_conn_drain_done(struct imap_loop *loop)
{
    pthread_mutex_lock(&loop->done_lock);
    struct imap_conn *c = loop->done;
    loop->done = NULL;
    pthread_mutex_unlock(&loop->done_lock);
    while (c) {
        struct imap_conn *following = c->next_done;
        take_back(c);
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
            imap_conn_submit(c);
    }
}

/* ---- timers ------------------------------------------------------------------------------------ */

static void on_idle_timer(struct imap_conn *c)
{
    if (now_ms(c) < deadline_of(c)) {
        imap_channel_rest(&c->channel);
        atomic_fetch_add(&c->loop->server->freed, 1);
        set_timer(c, deadline_of(c) - now_ms(c));
    } else {
        end_session(c, "timeout", imap_session_logged_in(c->session) ? "Idle for too long" : "Login took too long");
    }
}

static void on_write_timer(struct imap_conn *c)
{
    const size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    if (left < c->write_left) { /* slowly, but it reads */
        c->write_left = left;
        set_timer(c, c->config->limits.write_ms);
        return;
    }
    log_to(LOG_LEVEL_INFO, "imap: client does not read, dropped: bytes_waiting=%zu", left);
    end_because(c, "does not read");
    imap_conn_close(c);
}

static void on_timer(uv_timer_t *timer)
{
    struct imap_conn *c = timer->data;
    switch (c->state) {
    case CONN_IDLE: on_idle_timer(c); return;
    case CONN_PAUSE: imap_conn_submit(c); return;
    case CONN_WRITE: on_write_timer(c); return;
    case CONN_LINGER: imap_conn_close(c); return;
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
        imap_conn_close(c);
    else if (c->doomed && c->state != CONN_BUSY)
        imap_conn_close(c);
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
    c->bytes_in += (uint64_t)n;
    atomic_fetch_add_explicit(&c->loop->server->bytes_in, (uint64_t)n, memory_order_relaxed);
    count_bytes(c, (size_t)n);
    buf_append(&c->pending, buf->base, (size_t)n);
    explicit_bzero(buf->base, (size_t)n);
    if (c->state == CONN_IDLE)
        submit_in_turn(c);
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

void imap_conn_stop_all(struct imap_loop *loop, bool now)
{
    struct imap_conn *following = NULL;
    for (struct imap_conn *c = loop->conns; c; c = following) {
        following = c->next; /* nothing is freed before the close callbacks */
        if (c->state == CONN_BUSY)
            c->doomed |= now;
        else if (now || c->state == CONN_LINGER)
            imap_conn_close(c);
        else if (c->state == CONN_IDLE || c->state == CONN_PAUSE)
            next(c);
    }
}

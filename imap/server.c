/*
 * server: opening (as root, then as an ordinary user), loops and their threads, new configurations, and the end of it
 * all.
 */
#include "server_private.h"

#include "base/log.h"
#include "privileges.h"
#include "system.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOPS_MAX = 64,
    DRAIN_MS = 5000,
    LOOK_MS = 50,
    TRIM_MS = 30000,
    TRIM_FREED = 500,
    DESCRIPTORS_BESIDE = 256, /* files of archives that are open, and the like */
};

static const struct imap_events no_events;

/* ---- one loop ----------------------------------------------------------------------------------- */

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
    uv_close((uv_handle_t *)&loop->accept_again, NULL);
}

static void on_wake(uv_async_t *wake)
{
    struct imap_loop *loop = wake->data;
    imap_conn_drain_done(loop);
    imap_conn_drain_woken(loop);
    if (!atomic_load(&loop->stop) || loop->stopping)
        return;
    loop->stopping = true;
    imap_listeners_stop(loop);
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

/* Handles are made here, on the caller's thread, before the loop's thread begins. */
static int loop_open(struct imap_loop *loop, struct error *err)
{
    pthread_mutex_init(&loop->done_lock, NULL);
    ASSERT(uv_loop_init(&loop->uv) == 0);
    loop->started = true;
    uv_async_init(&loop->uv, &loop->wake, on_wake);
    uv_timer_init(&loop->uv, &loop->drain);
    uv_timer_init(&loop->uv, &loop->accept_again);
    loop->wake.data = loop->drain.data = loop->accept_again.data = loop;
    return imap_listeners_start(loop, err);
}

/* After its thread was joined, or if it never had one. */
static void loop_close(struct imap_loop *loop)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&loop->wake, (uv_handle_t *)&loop->drain,
                              (uv_handle_t *)&loop->accept_again};
    if (loop->started) {
        imap_listeners_stop(loop);
        for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
            if (!uv_is_closing(handles[i]))
                uv_close(handles[i], NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        ASSERT(uv_loop_close(&loop->uv) == 0);
        pthread_mutex_destroy(&loop->done_lock);
        loop->started = false;
    }
    imap_listeners_close(loop);
    free(loop->listeners);
    loop->listeners = NULL;
}

/* ---- configurations --------------------------------------------------------------------------------- */

struct imap_config *imap_server_config(struct imap_server *server)
{
    pthread_mutex_lock(&server->config_lock);
    struct imap_config *config = imap_config_ref(server->config);
    pthread_mutex_unlock(&server->config_lock);
    return config;
}

static int load_config(struct imap_server *server, const struct imap_server_settings *settings, struct error *err)
{
    struct imap_config *fresh = NULL, *before = server->config; /* only this thread replaces it */
    int rc = imap_config_new(settings, server->keys, &fresh, err);
    if (rc != 0)
        return rc;
    if (before)
        imap_config_follow(before, fresh);
    pthread_mutex_lock(&server->config_lock);
    server->config = fresh;
    pthread_mutex_unlock(&server->config_lock);
    imap_config_unref(&before);
    return 0;
}

static void reload(struct imap_server *server)
{
    struct imap_server_settings settings = {0};
    struct error err = {0};
    int rc = server->reload(&settings, server->arg, &err);
    if (rc == 0)
        rc = load_config(server, &settings, &err);
    if (rc != 0)
        log_to(LOG_LEVEL_ERROR, "imap: configuration was not reloaded, the old one stays: error=%s", err.text);
    else
        log_to(LOG_LEVEL_INFO, "imap: configuration reloaded");
    if (server->events->reloaded)
        server->events->reloaded(server->events->arg, rc != 0 ? err.text : NULL);
}

/* ---- the server ------------------------------------------------------------------------------------ */

static unsigned cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > LOOPS_MAX ? LOOPS_MAX : (unsigned)n;
}

int imap_server_check(const struct imap_server_settings *settings, struct error *err)
{
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    struct imap_config *config = NULL;
    int rc = imap_config_new(settings, keys, &config, err);
    if (rc == 0)
        rc = imap_listen_addresses_check(config, err);
    imap_config_unref(&config);
    imap_tls_keys_free(&keys);
    return rc;
}

static void check_descriptors(const struct imap_server *server)
{
    const unsigned long limit = imap_privileges_raise_descriptors();
    if (limit < server->config->server.connections + DESCRIPTORS_BESIDE)
        log_to(LOG_LEVEL_WARN, "imap: fewer descriptors than connections allowed: descriptors=%lu connections=%u",
               limit, server->config->server.connections);
}

static struct imap_server *server_new(const struct imap_server_settings *settings)
{
    struct imap_server *s = calloc(1, sizeof *s);
    ASSERT(s);
    s->loops_n = settings->loops ? (settings->loops < LOOPS_MAX ? settings->loops : LOOPS_MAX) : cores();
    s->threads_n = settings->threads ? settings->threads : 4 * cores();
    s->on_listen = settings->on_listen;
    s->arg = settings->arg;
    s->stop = settings->stop;
    s->reload_asked = settings->reload_asked;
    s->reload = settings->reload;
    s->events = settings->events ? settings->events : &no_events;
    s->addresses = imap_counts_new();
    s->accounts = imap_counts_new();
    pthread_mutex_init(&s->config_lock, NULL);
    return s;
}

static void make_loops(struct imap_server *s)
{
    s->ports_n = s->config->listeners_n;
    s->ports = calloc(s->ports_n, sizeof *s->ports);
    s->loops = calloc(s->loops_n, sizeof *s->loops);
    ASSERT(s->ports && s->loops);
    for (unsigned i = 0; i < s->loops_n; i++) {
        struct imap_loop *loop = &s->loops[i];
        loop->server = s;
        loop->reserve_fd = -1;
        loop->listeners = calloc(s->ports_n, sizeof *loop->listeners);
        ASSERT(loop->listeners);
        for (unsigned j = 0; j < s->ports_n; j++)
            loop->listeners[j] = (struct imap_listener){.loop = loop, .index = j, .fd = -1};
    }
}

int imap_server_open(const struct imap_server_settings *settings, struct imap_server **out, struct error *err)
{
    struct imap_server *s = server_new(settings);
    /* First without certificates: those are read as the user who will have to read them again. */
    int rc = load_config(s, settings, err);
    if (rc == 0) {
        make_loops(s);
        rc = imap_listeners_bind(s, err);
    }
    if (rc == 0) {
        check_descriptors(s);
        rc = imap_privileges_drop(settings->user, settings->group, err);
    }
    if (rc == 0) {
        s->keys = imap_tls_keys_new(settings->server.ticket_key_s);
        rc = load_config(s, settings, err);
    }
    if (rc == 0)
        *out = s;
    else
        imap_server_close(&s);
    return rc;
}

void imap_server_close(struct imap_server **server)
{
    struct imap_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    for (unsigned i = 0; s->loops && i < s->loops_n; i++)
        loop_close(&s->loops[i]);
    free(s->loops);
    free(s->ports);
    imap_config_unref(&s->config);
    imap_tls_keys_free(&s->keys);
    imap_counts_free(&s->addresses);
    imap_counts_free(&s->accounts);
    pthread_mutex_destroy(&s->config_lock);
    free(s);
}

/* ---- running it ------------------------------------------------------------------------------------ */

static void announce(struct imap_server *s)
{
    for (size_t i = 0; s->on_listen && i < s->ports_n; i++) {
        char text[INET6_ADDRSTRLEN] = "?";
        struct imap_port *p = &s->ports[i];
        const void *raw = p->bound.ss_family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)&p->bound)->sin6_addr
                                                         : (const void *)&((struct sockaddr_in *)&p->bound)->sin_addr;
        inet_ntop(p->bound.ss_family, raw, text, sizeof text);
        s->on_listen(text, imap_port_number(p), s->arg);
    }
}

/*
 * What connections gave back lies in pieces between what others hold, and glibc keeps it: 9,000 idle compressed
 * sessions held 670 MB, and 220 MB after this. Here, as it may take a while, and only after much was given back.
 */
static void trim_heap(struct imap_server *s, int64_t *last_ms)
{
    const int64_t now = imap_system_now_ms();
    if (now - *last_ms < TRIM_MS || atomic_load(&s->freed) < TRIM_FREED)
        return;
    *last_ms = now;
    atomic_store(&s->freed, 0);
    malloc_trim(0);
}

/* The caller's thread looks for the flags; a signal that sets one also ends the sleep. */
static void wait_for_stop(struct imap_server *s)
{
    const struct timespec look = {0, LOOK_MS * 1000000L};
    int64_t trimmed_ms = imap_system_now_ms();
    int seen = s->reload_asked ? __atomic_load_n(s->reload_asked, __ATOMIC_ACQUIRE) : 0;
    while (!s->stop || !__atomic_load_n(s->stop, __ATOMIC_ACQUIRE)) {
        const int asked = s->reload_asked ? __atomic_load_n(s->reload_asked, __ATOMIC_ACQUIRE) : 0;
        if (asked != seen && s->reload) {
            seen = asked;
            reload(s);
        }
        trim_heap(s, &trimmed_ms);
        nanosleep(&look, NULL);
    }
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

int imap_server_run(struct imap_server *s, struct mdsq_store *store, struct error *err)
{
    unsigned started = 0;
    sigset_t all, before;
    int rc = 0;
    s->store = store;
    /* A client that goes away is an error of the write, not a signal; signals are for the caller's thread. */
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < s->loops_n && rc == 0; i++)
        rc = loop_open(&s->loops[i], err);
    if (rc == 0)
        rc = imap_pool_new(s->threads_n, &s->pool, err);
    if (rc == 0)
        rc = start_threads(s->loops, s->loops_n, &started, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        announce(s);
        wait_for_stop(s);
    }
    stop_loops(s->loops, started);
    imap_pool_free(&s->pool);
    for (unsigned i = 0; i < s->loops_n; i++)
        loop_close(&s->loops[i]);
    return rc;
}

void imap_server_counters(const struct imap_server *server, struct imap_server_counters *out)
{
    for (size_t i = 0; i < IMAP_SESSION_KINDS; i++)
        out->sessions[i] = atomic_load_explicit(&server->sessions[i], memory_order_relaxed);
    out->bytes_in = atomic_load_explicit(&server->bytes_in, memory_order_relaxed);
    out->bytes_out = atomic_load_explicit(&server->bytes_out, memory_order_relaxed);
}

int imap_serve(const struct imap_server_settings *settings, struct error *err)
{
    struct imap_server *server = NULL;
    int rc = imap_server_open(settings, &server, err);
    if (rc == 0)
        rc = imap_server_run(server, settings->store, err);
    imap_server_close(&server);
    return rc;
}

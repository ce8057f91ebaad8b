/*
 * The server below a session that is not IMAP: its commands are single bytes that park, are woken by other threads, say
 * much, begin TLS and DEFLATE, or end. Many clients in clear and with TLS, that also break off while a wake is on its
 * way. Every answer must come; nothing may be woken after it was freed. Half way all clients stand still once they have
 * their answers, so that none is owed to them; then the server is stopped under load. What a client still waits for
 * when the server has returned will not come, and is no failure: the server must have left no socket behind.
 *
 *     e  echo: E        p  parks until a thread wakes it: P        n  idle; news that a thread brings by a wake: N
 *     b  BIG bytes 'x', then B, in runs of 40 KB                   s  S, then TLS      c  C, then DEFLATE     w  waits
 * a moment: W     q  the end
 *
 * SEED repeats the clients' choices, STRESS_SECONDS sets the length (8). For TSan: plain main.
 */
#include "base/error.h"
#include "imap/server.h"
#include "test_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { CLIENTS = 20, BIG = 300000, WAKERS = 2, PENDING_MAX = 256, SLICE_MS = 100, WAIT_MS = 30000 };

static atomic_uint ports[2], ports_n;
static atomic_bool ending, pausing;
static atomic_uint answered, woken, broken, failures, alive, spurious, paused;
static int stop, reload_asked;

/* ---- the session that is not IMAP ------------------------------------------------------------------ */

struct imap_session {
    imap_wake_fn *wake;
    void *wake_arg;
    const struct imap_transport *transport;
    struct buf in, out;
    size_t big_left;
    bool parked, closing, delayed;
    uint64_t commands;
    atomic_uint news;      /* that a waker brought */
    atomic_bool committed; /* what a parked command waits for */
    bool wants_news;
};

/* What is to be woken; a session leaves it before it is freed, under the lock. */
static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pending {
    struct imap_session *session;
    int turns;
} pending[PENDING_MAX];

static void wake_later(struct imap_session *s)
{
    pthread_mutex_lock(&pending_lock);
    for (int i = 0; i < PENDING_MAX; i++)
        if (!pending[i].session) {
            pending[i] = (struct pending){s, 1 + (int)((uintptr_t)s >> 6) % 5};
            pthread_mutex_unlock(&pending_lock);
            return;
        }
    abort();
}

static void *waker_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&ending)) {
        pthread_mutex_lock(&pending_lock);
        for (int i = 0; i < PENDING_MAX; i++) {
            struct imap_session *s = pending[i].session;
            if (!s || --pending[i].turns > 0)
                continue;
            pending[i].session = NULL;
            atomic_store(&s->committed, true);
            atomic_fetch_add(&s->news, 1);
            atomic_fetch_add(&woken, 1);
            s->wake(s->wake_arg);
            if (i % 3 == 0) /* more often than needed */
                s->wake(s->wake_arg);
        }
        pthread_mutex_unlock(&pending_lock);
        usleep(200);
    }
    return NULL;
}

struct imap_session *imap_session_new(struct mdsq_store *store, const struct imap_limits *limits)
{
    struct imap_session *s = calloc(1, sizeof *s);
    (void)store, (void)limits;
    ASSERT(s);
    buf_append_str(&s->out, "!");
    atomic_fetch_add(&alive, 1);
    return s;
}

void imap_session_free(struct imap_session **session)
{
    struct imap_session *s = *session;
    if (!s)
        return;
    *session = NULL;
    pthread_mutex_lock(&pending_lock);
    for (int i = 0; i < PENDING_MAX; i++)
        if (pending[i].session == s)
            pending[i].session = NULL;
    pthread_mutex_unlock(&pending_lock);
    buf_release(&s->in);
    buf_release(&s->out);
    free(s);
    atomic_fetch_sub(&alive, 1);
}

void imap_session_set_wake(struct imap_session *s, imap_wake_fn *wake, void *arg)
{
    s->wake = wake;
    s->wake_arg = arg;
}

void imap_session_set_transport(struct imap_session *s, const struct imap_transport *t)
{
    s->transport = t;
}

size_t imap_session_feed(struct imap_session *s, const void *p, size_t n)
{
    const size_t room = s->in.n < 1000 ? 1000 - s->in.n : 0, take = n < room ? n : room;
    buf_append(&s->in, p, take);
    return take;
}

static bool produce(struct imap_session *s)
{
    const size_t n = s->big_left < 40000 ? s->big_left : 40000;
    memset(buf_reserve(&s->out, n), 'x', n);
    s->out.n += n;
    s->big_left -= n;
    if (s->big_left == 0)
        buf_append_byte(&s->out, 'B');
    return s->big_left == 0;
}

static enum imap_run command(struct imap_session *s, uint8_t c)
{
    s->commands++;
    switch (c) {
    case 'e': buf_append_byte(&s->out, 'E'); return IMAP_RUN_IDLE;
    case 'p':
        s->parked = true;
        atomic_store(&s->committed, false);
        wake_later(s);
        return IMAP_RUN_PARKED;
    case 'n':
        s->wants_news = true;
        atomic_store(&s->news, 0);
        wake_later(s);
        return IMAP_RUN_IDLE;
    case 'b': s->big_left = BIG; return IMAP_RUN_MORE;
    case 's': buf_append_byte(&s->out, 'S'); return IMAP_RUN_STARTTLS;
    case 'c': buf_append_byte(&s->out, 'C'); return IMAP_RUN_COMPRESS;
    case 'w': s->delayed = true; return IMAP_RUN_WAIT;
    default: s->closing = true; return IMAP_RUN_CLOSE;
    }
}

enum imap_run imap_session_run(struct imap_session *s)
{
    if (s->closing)
        return IMAP_RUN_CLOSE;
    if (s->big_left)
        return produce(s) && s->in.n == 0 ? IMAP_RUN_IDLE : IMAP_RUN_MORE;
    if (s->parked) {
        if (!atomic_exchange(&s->committed, false)) {
            atomic_fetch_add(&spurious, 1);
            return IMAP_RUN_PARKED;
        }
        s->parked = false;
        buf_append_byte(&s->out, 'P');
    }
    if (s->delayed) {
        s->delayed = false;
        buf_append_byte(&s->out, 'W');
    }
    if (s->wants_news) {
        if (!atomic_exchange(&s->news, 0))
            return IMAP_RUN_IDLE;
        s->wants_news = false;
        buf_append_byte(&s->out, 'N');
    }
    if (s->in.n > 0) {
        const uint8_t c = s->in.p[0];
        memmove(s->in.p, s->in.p + 1, --s->in.n);
        const enum imap_run how = command(s, c);
        return how == IMAP_RUN_IDLE && s->in.n > 0 && !s->wants_news ? IMAP_RUN_MORE : how;
    }
    return IMAP_RUN_IDLE;
}

struct bytes imap_session_output(const struct imap_session *s)
{
    return buf_bytes(&s->out);
}

void imap_session_wrote(struct imap_session *s, size_t n)
{
    ASSERT(n <= s->out.n);
    if (n == 0)
        return;
    memmove(s->out.p, s->out.p + n, s->out.n - n);
    s->out.n -= n;
    if (s->out.n == 0)
        buf_release(&s->out);
}

void imap_session_shutdown(struct imap_session *s, const char *text)
{
    (void)text;
    s->closing = true;
}

bool imap_session_logged_in(const struct imap_session *s)
{
    (void)s;
    return true;
}

uint32_t imap_session_wait_ms(const struct imap_session *s)
{
    (void)s;
    return 2;
}

void imap_session_take_input(struct imap_session *s, struct buf *out)
{
    buf_append_bytes(out, buf_bytes(&s->in));
    buf_release(&s->in);
}

uint64_t imap_session_commands(const struct imap_session *s)
{
    return s->commands;
}

enum imap_session_kind imap_session_kind(const struct imap_session *s)
{
    return s->commands % 2 ? IMAP_SESSION_AUTH : IMAP_SESSION_IDLE;
}

bool imap_session_probe(struct imap_session *s)
{
    (void)s;
    return false;
}

/* ---- a client ---------------------------------------------------------------------------------------- */

struct client {
    int fd;
    struct rng rng;
    SSL *ssl;
    z_stream in, out;
    bool packed;
    uint8_t block[8192];
};

static SSL_CTX *client_context;

static bool send_all(struct client *c, const void *p, size_t n)
{
    uint8_t small[1024];
    if (c->packed) {
        c->out.next_in = (Bytef *)(uintptr_t)p;
        c->out.avail_in = (uInt)n;
        c->out.next_out = small;
        c->out.avail_out = sizeof small;
        ASSERT(deflate(&c->out, Z_SYNC_FLUSH) == Z_OK && c->out.avail_out > 0);
        p = small;
        n = sizeof small - c->out.avail_out;
    }
    if (c->ssl)
        return SSL_write(c->ssl, p, (int)n) == (int)n;
    return send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* False: nothing came, and nothing will. */
static bool await(const struct client *c)
{
    struct pollfd ready = {c->fd, POLLIN, 0};
    for (int slices = 0; poll(&ready, 1, SLICE_MS) == 0; slices++) {
        if (atomic_load(&ending))
            return false;
        if (slices >= WAIT_MS / SLICE_MS) {
            atomic_fetch_add(&failures, 1);
            fprintf(stderr, "no answer in %d s: tls=%d deflate=%d\n", WAIT_MS / 1000, c->ssl != NULL, c->packed);
            return false;
        }
    }
    return true;
}

static int recv_some(struct client *c, uint8_t *p, int n)
{
    for (;;) {
        if (c->packed) {
            c->in.next_out = p;
            c->in.avail_out = (uInt)n;
            ASSERT(inflate(&c->in, Z_SYNC_FLUSH) >= Z_BUF_ERROR);
            if (c->in.avail_out < (uInt)n)
                return n - (int)c->in.avail_out;
        }
        uint8_t *to = c->packed ? c->block : p;
        const int want = c->packed ? (int)sizeof c->block : n;
        if ((!c->ssl || SSL_pending(c->ssl) == 0) && !await(c))
            return 0;
        const int got = c->ssl ? SSL_read(c->ssl, to, want) : (int)recv(c->fd, to, (size_t)want, 0);
        if (got <= 0 || !c->packed)
            return got;
        c->in.next_in = c->block;
        c->in.avail_in = (uInt)got;
    }
}

static bool expect(struct client *c, char want)
{
    uint8_t got[4096];
    for (;;) {
        const int n = recv_some(c, got, sizeof got);
        if (n <= 0)
            return false;
        if (got[n - 1] == (uint8_t)want)
            return true;
        if (got[n - 1] != 'x') {
            fprintf(stderr, "got %c instead of %c\n", got[n - 1], want);
            atomic_fetch_add(&failures, 1);
            return false;
        }
    }
}

static bool begin_tls(struct client *c)
{
    const struct timeval bound = {WAIT_MS / 1000, 0};
    c->ssl = SSL_new(client_context);
    SSL_set_fd(c->ssl, c->fd);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    errno = 0;
    if (SSL_connect(c->ssl) == 1)
        return true;
    if (errno == EAGAIN && !atomic_load(&ending)) {
        fprintf(stderr, "no handshake in %d s\n", WAIT_MS / 1000);
        atomic_fetch_add(&failures, 1);
    }
    return false;
}

static bool begin_deflate(struct client *c)
{
    if (!send_all(c, "c", 1) || !expect(c, 'C'))
        return false;
    ASSERT(inflateInit2(&c->in, -15) == Z_OK &&
           deflateInit2(&c->out, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    return c->packed = true;
}

static bool dial(struct client *c)
{
    const unsigned which = (unsigned)rng_below(&c->rng, 2);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atomic_load(&ports[which]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->ssl = NULL;
    c->packed = false;
    memset(&c->in, 0, sizeof c->in);
    memset(&c->out, 0, sizeof c->out);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(c->fd >= 0);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        return false;
    if (which == 1 && !begin_tls(c))
        return false;
    return expect(c, '!');
}

static void hang_up(struct client *c)
{
    if (rng_once_in(&c->rng, 3)) {
        struct linger hard = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    SSL_free(c->ssl);
    if (c->packed) {
        inflateEnd(&c->in);
        deflateEnd(&c->out);
    }
    close(c->fd);
}

static bool converse(struct client *c)
{
    static const char commands[] = "eepppnnnbw";
    char line[16];
    const size_t n = 1 + rng_below(&c->rng, 4);
    for (size_t i = 0; i < n; i++)
        line[i] = commands[rng_below(&c->rng, sizeof commands - 1)];
    if (!c->ssl && !c->packed && rng_once_in(&c->rng, 6) && (!send_all(c, "s", 1) || !expect(c, 'S') || !begin_tls(c)))
        return false;
    if (!c->packed && rng_once_in(&c->rng, 6) && !begin_deflate(c))
        return false;
    if (!send_all(c, line, n))
        return false;
    if (rng_once_in(&c->rng, 8)) { /* while a wake is on its way */
        atomic_fetch_add(&broken, 1);
        if (rng_once_in(&c->rng, 2))
            usleep((useconds_t)rng_below(&c->rng, 1500));
        return false;
    }
    const char want = line[n - 1];
    uint8_t got[4096];
    /* All answers in their order; only the last is told apart from what stands before it. */
    size_t bigs = 0, others = 0, need_bigs = 0;
    for (size_t i = 0; i < n; i++)
        need_bigs += line[i] == 'b';
    while (others < n) {
        const int k = recv_some(c, got, sizeof got);
        if (k <= 0)
            return false;
        for (int i = 0; i < k; i++) {
            if (got[i] == 'x')
                continue;
            if (got[i] != (uint8_t)(line[others] - 'a' + 'A')) {
                fprintf(stderr, "asked %.*s, answer %zu is %c\n", (int)n, line, others, got[i]);
                atomic_fetch_add(&failures, 1);
                return false;
            }
            bigs += got[i] == 'B';
            if (++others == n && i + 1 < k) {
                fprintf(stderr, "more than was asked for after %c\n", want);
                atomic_fetch_add(&failures, 1);
            }
        }
    }
    ASSERT(bigs == need_bigs);
    atomic_fetch_add(&answered, 1);
    return true;
}

static void pause_if_asked(void)
{
    if (!atomic_load(&pausing))
        return;
    atomic_fetch_add(&paused, 1);
    while (atomic_load(&pausing))
        usleep(1000);
    atomic_fetch_sub(&paused, 1);
}

static void *client_main(void *arg)
{
    struct client *c = calloc(1, sizeof *c);
    c->rng = rng_of((uint64_t)(uintptr_t)arg);
    while (!atomic_load(&ending)) {
        pause_if_asked();
        if (dial(c))
            while (!atomic_load(&ending) && !rng_once_in(&c->rng, 20) && converse(c))
                pause_if_asked();
        hang_up(c);
    }
    free(c);
    return NULL;
}

/* ---- the server --------------------------------------------------------------------------------------- */

static void on_listen(const char *address, unsigned port, void *arg)
{
    (void)address, (void)arg;
    atomic_store(&ports[atomic_fetch_add(&ports_n, 1)], port);
}

static const char *dir;
static struct imap_certificate files;
static struct imap_listener_settings listeners[2];

static int on_reload(struct imap_server_settings *fresh, void *arg, struct error *err)
{
    (void)arg, (void)err;
    fresh->listeners = listeners;
    fresh->listeners_n = 2;
    return 0;
}

static void *server_main(void *arg)
{
    struct error err = {0};
    (void)arg;
    files = (struct imap_certificate){path_join(dir, "one.pem"), path_join(dir, "one.key")};
    for (int i = 0; i < 2; i++)
        listeners[i] = (struct imap_listener_settings){.address = "127.0.0.1:0",
                                                       .mode = i ? IMAP_LISTEN_TLS : IMAP_LISTEN_STARTTLS,
                                                       .certificates = &files,
                                                       .certificates_n = 1};
    const struct imap_server_settings settings = {
        .listeners = listeners,
        .listeners_n = 2,
        .loops = 2,
        .threads = 4,
        .on_listen = on_listen,
        .stop = &stop,
        .reload_asked = &reload_asked,
        .reload = on_reload,
    };
    if (imap_serve(&settings, &err) != 0) {
        fprintf(stderr, "serve: %s\n", err.text);
        abort();
    }
    return NULL;
}

static void load_for(time_t seconds)
{
    for (const time_t end = time(NULL) + seconds; time(NULL) < end;) {
        usleep(300000);
        __atomic_add_fetch(&reload_asked, 1, __ATOMIC_RELEASE);
    }
}

static void stand_still(void)
{
    atomic_store(&pausing, true);
    while (atomic_load(&paused) < CLIENTS)
        usleep(1000);
    atomic_store(&pausing, false);
}

static unsigned sockets(void)
{
    unsigned n = 0;
    struct stat st;
    for (int fd = 0; fd < 4096; fd++)
        n += fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    return n;
}

int main(void)
{
    const char *text = getenv("STRESS_SECONDS");
    const time_t seconds = text ? atoi(text) : 8;
    struct rng rng = rng_start("imap_transport");
    pthread_t server, clients[CLIENTS], wakers[WAKERS];
    dir = TEMP_DIR();
    ASSERT(system(textf("cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "
                        "one.key -out one.pem "
                        "-days 30 -subj /CN=localhost 2>/dev/null",
                        dir)) == 0);
    client_context = SSL_CTX_new(TLS_client_method());
    const unsigned before = sockets();
    ASSERT(pthread_create(&server, NULL, server_main, NULL) == 0);
    while (atomic_load(&ports[1]) == 0)
        usleep(1000);
    for (int i = 0; i < WAKERS; i++)
        ASSERT(pthread_create(&wakers[i], NULL, waker_main, NULL) == 0);
    for (int i = 0; i < CLIENTS; i++)
        ASSERT(pthread_create(&clients[i], NULL, client_main, (void *)(uintptr_t)rng_u64(&rng)) == 0);
    load_for((seconds + 1) / 2);
    stand_still();
    load_for(seconds / 2);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(server, NULL);
    atomic_store(&ending, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    for (int i = 0; i < WAKERS; i++)
        pthread_join(wakers[i], NULL);
    SSL_CTX_free(client_context);
    const unsigned after = sockets();
    if (after != before) {
        fprintf(stderr, "%u sockets are open, %u were before the server\n", after, before);
        atomic_fetch_add(&failures, 1);
    }
    printf("imap_transport: answered=%u woken=%u broken=%u spurious=%u left=%u failures=%u\n", answered, woken, broken,
           spurious, alive, failures);
    return failures > 0 || alive > 0 || answered < 10;
}

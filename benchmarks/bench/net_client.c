/* net_client: see net_client.h. */
#include "net_client.h"

#include "base/bytes.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <zlib.h>

#define BLOCK          (256u << 10) /* read at once */
#define TAIL           2048u        /* of what came, searched for the line of a tag */
#define MIN_SIZE(a, b) ((a) < (b) ? (a) : (b))

struct net_client {
    int fd;
    SSL *ssl;
    struct net_ticket *ticket;
    z_stream inflate, deflate;
    bool compressed;
    unsigned tag;
    char last[512]; /* what has come and is not a whole line yet, or its end */
    size_t last_n;
};

static SSL_CTX *context; /* one for the process: made once, then only read */
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct net_client *c = SSL_get_app_data(ssl);
    if (!c || !c->ticket)
        return 0;
    SSL_SESSION_free(c->ticket->session);
    c->ticket->session = session;
    return 1;
}

static void make_context(void)
{
    context = SSL_CTX_new(TLS_client_method());
    ASSERT(context);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

void net_ticket_release(struct net_ticket *ticket)
{
    SSL_SESSION_free(ticket->session);
    ticket->session = NULL;
}

static ssize_t raw_read(struct net_client *c, void *p, size_t n)
{
    return c->ssl ? SSL_read(c->ssl, p, (int)n) : recv(c->fd, p, n, 0);
}

static ssize_t read_some(struct net_client *c, char *p, size_t n)
{
    unsigned char packed[16384];
    if (!c->compressed)
        return raw_read(c, p, n);
    for (;;) {
        c->inflate.next_out = (Bytef *)p;
        c->inflate.avail_out = (uInt)n;
        if (inflate(&c->inflate, Z_SYNC_FLUSH) < 0 && c->inflate.avail_in > 0)
            return -1;
        if (c->inflate.avail_out < n)
            return (ssize_t)(n - c->inflate.avail_out);
        const ssize_t got = raw_read(c, packed, sizeof packed);
        if (got <= 0)
            return got;
        /* Inflated before this function is left, or the room was filled: then little is left over, and it is copied. */
        static __thread unsigned char rest[16384];
        memcpy(rest, packed, (size_t)got);
        c->inflate.next_in = rest;
        c->inflate.avail_in = (uInt)got;
    }
}

static int write_all(struct net_client *c, const char *p, size_t n)
{
    unsigned char packed[4096];
    if (c->compressed) {
        c->deflate.next_in = (Bytef *)(uintptr_t)p;
        c->deflate.avail_in = (uInt)n;
        c->deflate.next_out = packed;
        c->deflate.avail_out = sizeof packed;
        if (deflate(&c->deflate, Z_SYNC_FLUSH) != Z_OK || c->deflate.avail_out == 0)
            return -1;
        p = (const char *)packed;
        n = sizeof packed - c->deflate.avail_out;
    }
    while (n > 0) {
        const ssize_t wrote = c->ssl ? SSL_write(c->ssl, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL);
        if (wrote <= 0)
            return -1;
        p += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

static int hung_up(ssize_t got, struct error *err)
{
    const int why = got < 0 ? errno : 0;
    return error_set(err, BASE_ERR_IO, why, why == EAGAIN ? "the server keeps silent" : "the server hung up");
}

/* Reads lines until one begins with want; keeps that line in last. */
static int read_until(struct net_client *c, const char *want, size_t *bytes, struct error *err)
{
    char block[65536];
    const size_t want_n = strlen(want);
    bool at_line = c->last_n == 0;
    c->last_n = 0;
    for (;;) {
        const ssize_t got = read_some(c, block, sizeof block);
        if (got <= 0)
            return hung_up(got, err);
        if (bytes)
            *bytes += (size_t)got;
        for (ssize_t i = 0; i < got; i++) {
            if (at_line || c->last_n > 0) {
                at_line = false;
                if (c->last_n < sizeof c->last - 1)
                    c->last[c->last_n++] = block[i];
            }
            if (block[i] != '\n')
                continue;
            c->last[c->last_n] = 0;
            if (c->last_n >= want_n && memcmp(c->last, want, want_n) == 0) {
                c->last_n = 0;
                return 0;
            }
            c->last_n = 0;
            at_line = true;
        }
    }
}

static int shake_hands(struct net_client *c, const struct net_target *to, struct net_ticket *resume, struct error *err)
{
    pthread_once(&context_once, make_context);
    c->ssl = SSL_new(context);
    ASSERT(c->ssl);
    c->ticket = resume;
    SSL_set_app_data(c->ssl, c);
    SSL_set_fd(c->ssl, c->fd);
    if (to->tls_max && strcmp(to->tls_max, "1.2") == 0)
        SSL_set_max_proto_version(c->ssl, TLS1_2_VERSION);
    if (resume && resume->session)
        SSL_set_session(c->ssl, resume->session);
    if (SSL_connect(c->ssl) == 1)
        return 0;
    return error_set(err, BASE_ERR_IO, 0, "TLS: %s", ERR_reason_error_string(ERR_peek_error()));
}

/* The port is chosen when it connects, else all clients together had one range of ports. */
static int bind_source(int fd, in_addr_t source, struct error *err)
{
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = source};
    const int one = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    return bind(fd, (const struct sockaddr *)&from, sizeof from) == 0
               ? 0
               : error_errno(err, "cannot take the client's address");
}

struct net_client *net_dial(const struct net_target *to, struct net_ticket *resume, struct error *err)
{
    struct net_client *c = calloc(1, sizeof *c);
    const struct timeval patience = {.tv_sec = NET_PATIENCE_S};
    int one = 1, rc = 0;
    ASSERT(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && to->source)
        rc = bind_source(c->fd, to->source, err);
    if (rc == 0 && (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&to->address, sizeof to->address) != 0))
        rc = error_errno(err, "cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (rc == 0 && to->mode == NET_TLS)
        rc = shake_hands(c, to, resume, err);
    if (rc == 0)
        rc = read_until(c, "* ", NULL, err);
    if (rc == 0 && to->mode == NET_STARTTLS) {
        rc = net_ask(c, "STARTTLS", NULL, err);
        rc = rc ? rc : shake_hands(c, to, resume, err);
    }
    if (rc != 0)
        net_close(&c);
    return c;
}

bool net_resumed(const struct net_client *c)
{
    return c->ssl && SSL_session_reused(c->ssl);
}

void net_be_patient(const struct net_client *c, int seconds)
{
    const struct timeval patience = {.tv_sec = seconds};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

/* Where in the last bytes of p a line begins with tag and ends; NULL: the answer goes on. */
static const char *find_tagged(const char *p, size_t n, const char *tag)
{
    const size_t tag_n = strlen(tag);
    const char *from = n > TAIL ? p + n - TAIL : p, *end = p + n;
    if (n == 0 || end[-1] != '\n')
        return NULL;
    for (const char *at = from; at && at < end; at = memchr(at, '\n', (size_t)(end - at)), at = at ? at + 1 : NULL)
        if ((at == p || at[-1] == '\n') && (size_t)(end - at) > tag_n && memcmp(at, tag, tag_n) == 0)
            return at;
    return NULL;
}

static void keep_last(struct net_client *c, const char *line, size_t n)
{
    n = MIN_SIZE(n, sizeof c->last - 1);
    memcpy(c->last, line, n);
    c->last[n] = 0;
    c->last_n = 0;
}

/* Reads until a line of the tag has come, wherever pieces end, and keeps that line in last. before: the end of what has
 * come already, without that line. */
static int read_answer(struct net_client *c, const char *tag, struct bytes before, size_t *bytes, struct error *err)
{
    char block[TAIL + BLOCK];
    size_t kept = MIN_SIZE(before.n, TAIL); /* in front of what comes */
    if (kept > 0)
        memcpy(block, before.p + before.n - kept, kept);
    for (;;) {
        const ssize_t got = read_some(c, block + kept, BLOCK);
        if (got <= 0)
            return hung_up(got, err);
        if (bytes)
            *bytes += (size_t)got;
        const size_t n = kept + (size_t)got;
        const char *line = find_tagged(block, n, tag);
        if (line) {
            keep_last(c, line, (size_t)(block + n - line));
            return 0;
        }
        kept = MIN_SIZE(n, TAIL);
        memmove(block, block + n - kept, kept);
    }
}

static int send_tagged(struct net_client *c, const char *command, char tag[32], struct error *err)
{
    char line[1024];
    snprintf(tag, 32, "t%u ", ++c->tag);
    const int n = snprintf(line, sizeof line, "%s%s\r\n", tag, command);
    if (n < 0 || (size_t)n >= sizeof line)
        return error_set(err, BASE_ERR_LIMIT, 0, "command too long");
    return write_all(c, line, (size_t)n) == 0 ? 0 : error_errno(err, "cannot send");
}

int net_ask(struct net_client *c, const char *command, size_t *bytes_out, struct error *err)
{
    char tag[32];
    if (bytes_out)
        *bytes_out = 0;
    int rc = send_tagged(c, command, tag, err);
    rc = rc ? rc : read_answer(c, tag, bytes_of(NULL, 0), bytes_out, err);
    if (rc == 0 && strncmp(c->last + strlen(tag), "OK", 2) != 0)
        return error_set(err, BASE_ERR_IO, 0, "%.20s: %.200s", command, c->last);
    return rc;
}

/* Where a line that begins with want begins, after a line end or at the beginning of the answer. */
static const char *find_line(const char *p, size_t n, const char *want)
{
    const size_t want_n = strlen(want);
    for (const char *at = p, *end = p + n; at && (size_t)(end - at) >= want_n;) {
        if (memcmp(at, want, want_n) == 0)
            return at;
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    return NULL;
}

int net_ask_line(struct net_client *c, const char *command, const char *want, size_t n, char *line_out,
                 size_t *bytes_out, struct error *err)
{
    char tag[32], head[BLOCK];
    size_t head_n = 0, bytes = 0;
    line_out[0] = 0;
    int rc = send_tagged(c, command, tag, err);
    /* What one looks for stands in the first block of an answer: SEARCH gives lines of its own only. */
    while (rc == 0 && head_n < sizeof head && !find_tagged(head, head_n, tag)) {
        const ssize_t got = read_some(c, head + head_n, sizeof head - head_n);
        if (got <= 0)
            return hung_up(got, err);
        head_n += (size_t)got;
    }
    bytes = head_n;
    const char *tagged = find_tagged(head, head_n, tag);
    if (tagged)
        keep_last(c, tagged, (size_t)(head + head_n - tagged));
    else if (rc == 0)
        rc = read_answer(c, tag, bytes_of(head, head_n), &bytes, err);
    const char *line = rc == 0 ? find_line(head, head_n, want) : NULL;
    if (line) {
        const char *end = memchr(line, '\r', (size_t)(head + head_n - line));
        const size_t line_n = (size_t)((end ? end : head + head_n) - line);
        snprintf(line_out, n, "%.*s", (int)MIN_SIZE(line_n, n - 1), line);
    }
    if (bytes_out)
        *bytes_out = bytes;
    if (rc == 0 && strncmp(c->last + strlen(tag), "OK", 2) != 0)
        return error_set(err, BASE_ERR_USAGE, 0, "%.*s", (int)strcspn(c->last + strlen(tag), "\r\n"),
                         c->last + strlen(tag));
    return rc;
}

int net_ask_bytes(struct net_client *c, const char *command, size_t n, struct error *err)
{
    char tag[32];
    const int tag_n = snprintf(tag, sizeof tag, "t%u ", ++c->tag);
    char *whole = malloc((size_t)tag_n + n + 2);
    ASSERT(whole);
    memcpy(whole, tag, (size_t)tag_n);
    memcpy(whole + tag_n, command, n);
    memcpy(whole + tag_n + n, "\r\n", 2);
    int rc = write_all(c, whole, (size_t)tag_n + n + 2) == 0 ? 0 : error_errno(err, "cannot send");
    free(whole);
    rc = rc ? rc : read_until(c, tag, NULL, err);
    if (rc == 0 && strncmp(c->last + tag_n, "OK", 2) != 0)
        return error_set(err, BASE_ERR_IO, 0, "%.20s: %.200s", command, c->last);
    return rc;
}

int net_append(struct net_client *c, const char *folder, const char *message, size_t n, struct error *err)
{
    char head[512];
    const int head_n = snprintf(head, sizeof head, "APPEND \"%s\" {%zu+}\r\n", folder, n);
    if (head_n < 0 || (size_t)head_n >= sizeof head || n > NET_APPEND_MAX)
        return error_set(err, BASE_ERR_USAGE, 0, "command too long");
    char *whole = malloc((size_t)head_n + n);
    ASSERT(whole);
    memcpy(whole, head, (size_t)head_n);
    memcpy(whole + head_n, message, n);
    const int rc = net_ask_bytes(c, whole, (size_t)head_n + n, err);
    free(whole);
    return rc;
}

int net_idle(struct net_client *c, struct error *err)
{
    char line[48];
    const int n = snprintf(line, sizeof line, "t%u IDLE\r\n", ++c->tag);
    return write_all(c, line, (size_t)n) == 0 ? read_until(c, "+", NULL, err) : error_errno(err, "cannot send");
}

int net_done(struct net_client *c, struct error *err)
{
    char tag[32];
    snprintf(tag, sizeof tag, "t%u OK", c->tag);
    return write_all(c, "DONE\r\n", 6) == 0 ? read_until(c, tag, NULL, err) : error_errno(err, "cannot send");
}

int net_hear(struct net_client *c, const char *want, int seconds, struct error *err)
{
    net_be_patient(c, seconds);
    const int rc = read_until(c, want, NULL, err);
    net_be_patient(c, NET_PATIENCE_S);
    return rc;
}

int net_log_in(struct net_client *c, const struct net_target *to, struct error *err)
{
    char line[512];
    snprintf(line, sizeof line, "LOGIN %s %s", to->user, to->password);
    int rc = net_ask(c, line, NULL, err);
    if (rc != 0 || !to->compress)
        return rc;
    if ((rc = net_ask(c, "COMPRESS DEFLATE", NULL, err)) != 0)
        return rc;
    ASSERT(inflateInit2(&c->inflate, -15) == Z_OK &&
           deflateInit2(&c->deflate, 6, Z_DEFLATED, -12, 4, Z_DEFAULT_STRATEGY) == Z_OK);
    c->compressed = true;
    return 0;
}

void net_close(struct net_client **client)
{
    struct net_client *c = *client;
    if (!c)
        return;
    *client = NULL;
    if (c->compressed) {
        inflateEnd(&c->inflate);
        deflateEnd(&c->deflate);
    }
    if (c->ssl) {
        SSL_set_app_data(c->ssl, NULL);
        SSL_shutdown(c->ssl);
    }
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

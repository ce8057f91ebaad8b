/*
 * A server on loopback under many clients at once: random commands, pipelining, slow readers, connections that break in
 * the middle, some that never log in, and all of them change the archive. It must answer those that listen, drop those
 * that do not, and stop clean.
 *
 * SEED repeats the clients' choices, STRESS_SECONDS sets the length (10). Runs under TSan too: plain main.
 */
#include "base/error.h"
#include "imap/server.h"
#include "indexer/indexer.h"
#include "mds/query.h"
#include "test_support.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 24, MESSAGES = 400 };

static atomic_uint port, answered, refused, broken, dropped, failures;
static atomic_bool ending;
static int stop; /* imap_serve reads it atomically */
static const char *store_dir, *vault_text;

/* ---- a client ------------------------------------------------------------------------------ */

struct client {
    int fd;
    struct rng rng;
    char buffer[1 << 16];
    size_t n;
};

static bool dial(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atomic_load(&port))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->n = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(c->fd >= 0);
    if (rng_once_in(&c->rng, 4)) { /* a small window makes the server wait */
        int small = 4096;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0)
        return true;
    close(c->fd);
    return false;
}

static bool say(struct client *c, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t wrote = send(c->fd, text, n, MSG_NOSIGNAL);
        if (wrote <= 0)
            return false;
        text += wrote;
        n -= (size_t)wrote;
    }
    return true;
}

/* Reads until text appears at a line's beginning; only the last bytes are kept. 1 found, 0 the end, -1 time out. */
static int await(struct client *c, const char *text)
{
    char want[32];
    snprintf(want, sizeof want, "\n%s ", text);
    for (;;) {
        c->buffer[c->n] = 0;
        if (memmem(c->buffer, c->n, want, strlen(want)))
            return 1;
        if (c->n > sizeof c->buffer / 2) {
            memmove(c->buffer, c->buffer + c->n - 100, 100);
            c->n = 100;
        }
        struct pollfd p = {c->fd, POLLIN, 0};
        int ready = poll(&p, 1, 60000);
        if (ready == 0)
            return -1;
        ssize_t got = recv(c->fd, c->buffer + c->n, sizeof c->buffer - 1 - c->n, 0);
        if (got <= 0)
            return 0;
        c->n += (size_t)got;
        if (rng_once_in(&c->rng, 50))
            usleep((useconds_t)rng_below(&c->rng, 3000));
    }
}

static const char *const commands[] = {
    "NOOP",
    "CAPABILITY",
    "LIST \"\" *",
    "STATUS INBOX (MESSAGES UNSEEN)",
    "SELECT INBOX",
    "EXAMINE INBOX",
    "SELECT nowhere",
    "FETCH 1:* (FLAGS UID)",
    "FETCH 1:* FULL",
    "UID FETCH 1:* (BODY.PEEK[])",
    "UID FETCH 1:20 (BODY.PEEK[HEADER.FIELDS (Subject From)] BODYSTRUCTURE)",
    "SEARCH UNSEEN",
    "UID SEARCH TEXT \"number 7\"",
    "FETCH 1 BODY[TEXT]<0.10>",
    "STORE 1 +FLAGS (\\Seen)",
    "FROB",
    "CLOSE",
    "LIST {3+}\r\nabc {1+}\r\n*",
    /* those that write */
    "STORE 1:* +FLAGS.SILENT (\\Flagged)",
    "UID STORE 1:50 -FLAGS (\\Flagged)",
    "UID STORE 3,5,7 (UNCHANGEDSINCE 5) +FLAGS (odd)",
    "UID STORE 100:110 +FLAGS.SILENT (\\Deleted)",
    "EXPUNGE",
    "UID EXPUNGE 100:105",
    "APPEND INBOX (\\Seen) {20+}\r\nSubject: number 7\r\n\r",
    "APPEND other {17+}\r\nSubject: a file\r\n {17+}\r\nSubject: another",
    "APPEND INBOX CATENATE (URL \"/INBOX/;UID=2\" TEXT {3+}\r\nend)",
    "APPEND nowhere {3+}\r\nabc",
    "UID COPY 1:10 other",
    "UID MOVE 200:205 other",
    "REPLACE 1 INBOX {18+}\r\nSubject: replaced\r",
    "CREATE other",
    "DELETE other",
    "RENAME other third",
    "RENAME third other",
    "SUBSCRIBE other",
    "IDLE\r\nDONE",
    "ENABLE QRESYNC",
};

/* A pipeline of commands, then all its answers; false: the connection is gone. */
static bool converse(struct client *c, unsigned *tag)
{
    char line[512], last[16];
    unsigned n = 1 + (unsigned)rng_below(&c->rng, 5);
    for (unsigned i = 0; i < n; i++) {
        const char *command = commands[rng_below(&c->rng, sizeof commands / sizeof commands[0])];
        snprintf(last, sizeof last, "t%u", ++*tag);
        int length = snprintf(line, sizeof line, "%s %s\r\n", last, command);
        if (rng_once_in(&c->rng, 30)) { /* breaks off inside a command */
            say(c, line, (size_t)length / 2);
            atomic_fetch_add(&broken, 1);
            return false;
        }
        if (!say(c, line, (size_t)length))
            return false;
    }
    if (rng_once_in(&c->rng, 20)) { /* does not stay for the answers */
        atomic_fetch_add(&broken, 1);
        return false;
    }
    int got = await(c, last);
    if (got < 0) {
        fprintf(stderr, "no answer to %s in 60 s\n", last);
        atomic_fetch_add(&failures, 1);
    }
    atomic_fetch_add(&answered, got > 0);
    return got > 0;
}

static bool log_in(struct client *c)
{
    static const char good[] = "l LOGIN ann secret\r\n", bad[] = "l LOGIN ann wrong\r\n";
    bool wrong = rng_once_in(&c->rng, 15);
    if (!say(c, wrong ? bad : good, strlen(wrong ? bad : good)) || await(c, "l") <= 0)
        return false;
    atomic_fetch_add(&refused, wrong);
    return !wrong;
}

/* Asks for everything and reads nothing: write_ms must end it. */
static void never_reads(struct client *c)
{
    char line[64];
    for (int i = 0; i < 200 && !atomic_load(&ending); i++) {
        int n = snprintf(line, sizeof line, "x%d UID FETCH 1:* (BODY.PEEK[])\r\n", i);
        if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
            break;
        usleep(20000);
    }
    atomic_fetch_add(&dropped, 1);
}

static void *client_main(void *arg)
{
    struct client *c = calloc(1, sizeof *c);
    c->rng = rng_of((uint64_t)(uintptr_t)arg);
    while (!atomic_load(&ending)) {
        unsigned tag = 0;
        if (!dial(c))
            continue;
        if (rng_once_in(&c->rng, 20)) {
            usleep(1000); /* never says a word */
        } else if (log_in(c)) {
            if (rng_once_in(&c->rng, 25) && say(c, "s SELECT INBOX\r\n", 16))
                never_reads(c);
            else
                while (!atomic_load(&ending) && converse(c, &tag))
                    ;
        }
        if (rng_once_in(&c->rng, 2)) { /* a reset instead of an end */
            struct linger hard = {1, 0};
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        close(c->fd);
    }
    free(c);
    return NULL;
}

/* ---- the store and the server --------------------------------------------------------------- */

static void build(void)
{
    struct error err = {0};
    struct indexer_report report;
    struct vault_spec spec;
    memset(&spec, 0, sizeof spec);
    ASSERT(vault_spec_parse(vault_text, &spec, &err) == 0);
    const struct indexer_build b = {
        .store_dir = store_dir, .archive = "mail", .sources = &spec, .sources_n = 1, .jobs = 1};
    if (indexer_build(&b, &report, &err) != 0) {
        fprintf(stderr, "build: %s\n", err.text);
        abort();
    }
    vault_spec_release(&spec);
}

static void add_mail(const char *vault, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct buf b = {0};
        buf_printf(&b, "From: a@b.c\nSubject: number %u\nDate: 1 Jan 2020 00:00:00 +0000\n\n", i);
        for (unsigned k = 0; k < i % 300; k++)
            buf_printf(&b, "line %u of %u, number %u, long enough to fill a window with a few hundred of them\n", k, i,
                       i);
        write_file(path_join(vault, textf("cur/%u.x:2,%s", 1000000 + i, i % 3 ? "S" : "")), buf_bytes(&b));
        buf_release(&b);
    }
}

static void on_listen(const char *address, unsigned at, void *arg)
{
    (void)address, (void)arg;
    atomic_store(&port, at);
}

static void *server_main(void *arg)
{
    struct error err = {0};
    const struct imap_server_settings settings = {
        .store = arg,
        .listen = "127.0.0.1:0",
        .loops = 2,
        .threads = 4,
        .max_sessions = CLIENTS - 4,
        .limits = {.write_ms = 500, .login_ms = 2000, .output_high_bytes = 32 << 10},
        .on_listen = on_listen,
        .stop = &stop,
    };
    if (imap_serve(&settings, &err) != 0) {
        fprintf(stderr, "serve: %s\n", err.text);
        abort();
    }
    return NULL;
}

int main(void)
{
    const char *seconds = getenv("STRESS_SECONDS");
    const char *dir = TEMP_DIR(), *vault = path_join(dir, "vault");
    struct rng rng = rng_start("imap_stress");
    struct mdsq_store *store = NULL;
    struct mdsq_error why = {0};
    pthread_t server, clients[CLIENTS];
    store_dir = path_join(dir, "store");
    vault_text = textf("maildir:%s", vault);
    mkpath(path_join(vault, "new"));
    mkpath(path_join(vault, "tmp"));
    add_mail(vault, 0, MESSAGES);
    build();
    ASSERT(mdsq_store_open(store_dir, MDSQ_STORE_WRITE, &store, &why) == 0);
    ASSERT(mdsq_user_add(store, "ann", "secret", "mail", false, &why) == 0);
    ASSERT(pthread_create(&server, NULL, server_main, store) == 0);
    while (atomic_load(&port) == 0)
        usleep(1000);
    for (int i = 0; i < CLIENTS; i++)
        ASSERT(pthread_create(&clients[i], NULL, client_main, (void *)(uintptr_t)rng_u64(&rng)) == 0);
    for (time_t end = time(NULL) + (seconds ? atoi(seconds) : 10); time(NULL) < end;)
        usleep(100000);
    /* Half of the clients are still talking when the server stops: they see BYE or the end. */
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(server, NULL);
    atomic_store(&ending, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    mdsq_store_close(&store);
    printf("imap_stress: answered=%u refused=%u broken=%u never_read=%u failures=%u\n", answered, refused, broken,
           dropped, failures);
    return failures > 0 || answered < 10;
}

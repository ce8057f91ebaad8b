/* The crowd's sockets and timers: one thread, epoll, a heap of people by when they are due. */
#include "bench_measure.h"
#include "clients_private.h"
#include "machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS    512
#define BUFFER    (256u << 10)
#define TEXT      400
#define RETRY_US  1000000  /* after an error, before one comes again */
#define ERRORS_US 30000000 /* an answer that takes longer is an error */

struct crowd {
    const struct crowd_options *o;
    struct crowd_found *found;
    int epoll;
    struct person *people;
    unsigned n, newcomers_max;
    struct person **heap;
    int heap_n;
    char *buffer;
    gint64 now_us, measured_from_us;
};

/* ---- the heap --------------------------------------------------------------------------------------------- */

static void heap_set(struct crowd *c, int at, struct person *p)
{
    c->heap[at] = p;
    p->at = at;
}

static void heap_settle(struct crowd *c, int at)
{
    struct person *p = c->heap[at];
    for (int up = (at - 1) / 2; at > 0 && c->heap[up]->due_us > p->due_us; at = up, up = (at - 1) / 2)
        heap_set(c, at, c->heap[up]);
    for (int down; (down = 2 * at + 1) < c->heap_n; at = down) {
        if (down + 1 < c->heap_n && c->heap[down + 1]->due_us < c->heap[down]->due_us)
            down++;
        if (c->heap[down]->due_us >= p->due_us)
            break;
        heap_set(c, at, c->heap[down]);
    }
    heap_set(c, at, p);
}

static void set_timer(struct crowd *c, struct person *p, gint64 after_us)
{
    p->due_us = c->now_us + after_us;
    if (p->at < 0)
        heap_set(c, c->heap_n++, p);
    heap_settle(c, p->at);
}

static void clear_timer(struct crowd *c, struct person *p)
{
    const int at = p->at;
    if (at < 0)
        return;
    p->at = -1;
    struct person *last = c->heap[--c->heap_n];
    if (last != p) {
        heap_set(c, at, last);
        heap_settle(c, at);
    }
}

/* ---- one person's connection ------------------------------------------------------------------------------ */

static void hang_up(struct crowd *c, struct person *p, gint64 away_us)
{
    if (p->fd >= 0) {
        close(p->fd);
        c->found->connected--;
    }
    p->fd = -1;
    p->state = AWAY;
    p->step = 0;
    p->rested = false;
    p->tail_n = 0;
    p->cursor = 0;
    set_timer(c, p, away_us);
}

static void fail(struct crowd *c, struct person *p, const char *why)
{
    if (c->found->errors++ == 0)
        g_snprintf(c->found->first_error, sizeof c->found->first_error, "%s %u: %s",
                   p->kind == DESKTOP ? "desktop" : "phone", p->number, why);
    hang_up(c, p, RETRY_US);
}

static void note_answer(struct crowd *c, const struct person *p)
{
    const guint32 us = (guint32)MIN(c->now_us - p->sent_us, (gint64)G_MAXUINT32);
    c->found->commands++;
    if (p->sent_us >= c->measured_from_us)
        g_array_append_val(c->found->us[p->ask], us);
}

/* Neighbours far from each other; none is 127.0.x.y, where servers are. */
static in_addr_t source_address(unsigned i)
{
    return htonl(127u << 24 | (1 + i % 250) << 16 | (i / 250 % 250) << 8 | (1 + i / 62500 % 250));
}

static void come(struct crowd *c, struct person *p)
{
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = source_address(p->number)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = p};
    const int one = 1;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0) {
        fail(c, p, strerror(errno));
        return;
    }
    c->found->connected++;
    setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->sent_us = c->now_us;
    p->ask = ASK_CONNECT;
    if (bind(p->fd, (const struct sockaddr *)&from, sizeof from) != 0 ||
        (connect(p->fd, (const struct sockaddr *)&c->o->address, sizeof c->o->address) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(c->epoll, EPOLL_CTL_ADD, p->fd, &event) != 0) {
        fail(c, p, strerror(errno));
        return;
    }
    p->state = CONNECTING;
    set_timer(c, p, ERRORS_US);
}

static void say(struct crowd *c, struct person *p, enum ask ask, const char *text, bool tagged)
{
    char line[TEXT + 16];
    const int n = tagged ? snprintf(line, sizeof line, "a%u %s\r\n", ++p->tag, text)
                         : snprintf(line, sizeof line, "%s\r\n", text);
    p->ask = ask;
    p->sent_us = c->now_us;
    p->tail_n = 0;
    if (send(p->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
        fail(c, p, "cannot send");
    else
        set_timer(c, p, ERRORS_US);
}

/* An answer is there, or a pause is over. */
static void go_on(struct crowd *c, struct person *p)
{
    char text[TEXT];
    enum ask ask = ASK_LOGIN;
    bool idle;
    const gint64 pause = person_next(p, c->o, &ask, text, sizeof text, &idle);
    if (pause > 0 && idle) {
        p->pause_us = pause;
        p->state = WANTS_PLUS;
        say(c, p, ASK_IDLE, "IDLE", true);
    } else if (pause > 0) {
        p->state = THINKING;
        set_timer(c, p, pause);
    } else {
        p->state = ASKED;
        say(c, p, ask, text, true);
    }
}

/* ---- what comes ------------------------------------------------------------------------------------------- */

/* The last whole line of what has come, its end kept over pieces; NULL: the line is not whole yet, or longer than what
 * is kept, and so none that one waits for. */
static const char *last_line(struct person *p, const char *data, size_t n)
{
    const size_t room = sizeof p->tail - 1, take = MIN(n, room);
    if (p->tail_n + take > room) {
        const size_t drop = p->tail_n + take - room;
        memmove(p->tail, p->tail + drop, p->tail_n - drop);
        p->tail_n -= drop;
    }
    memcpy(p->tail + p->tail_n, data + n - take, take);
    p->tail_n += take;
    p->tail[p->tail_n] = 0;
    if (p->tail_n == 0 || p->tail[p->tail_n - 1] != '\n')
        return NULL;
    size_t at = p->tail_n - 1;
    while (at > 0 && p->tail[at - 1] != '\n')
        at--;
    return at > 0 || p->tail_n < room ? p->tail + at : NULL;
}

static void answered(struct crowd *c, struct person *p, const char *line)
{
    char tag[16];
    const int n = snprintf(tag, sizeof tag, "a%u ", p->tag);
    if (p->state == GREETING && line[0] == '*') {
        note_answer(c, p);
        go_on(c, p);
    } else if (p->state == ASKED && strncmp(line, tag, (size_t)n) == 0) {
        if (strncmp(line + n, "OK", 2) != 0) {
            fail(c, p, line);
            return;
        }
        note_answer(c, p);
        if (p->ask == ASK_LOGOUT)
            hang_up(c, p, p->pause_us);
        else
            go_on(c, p);
    }
}

static void hear(struct crowd *c, struct person *p)
{
    for (;;) {
        const ssize_t got = recv(p->fd, c->buffer, BUFFER, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            fail(c, p, "the server hung up");
            return;
        }
        if (p->state == WANTS_PLUS) {
            const char *line = last_line(p, c->buffer, (size_t)got);
            if (line && (line[0] == '+' || strstr(p->tail, "\n+ "))) {
                note_answer(c, p);
                p->state = IDLE;
                set_timer(c, p, p->pause_us);
            }
        } else if (p->state == GREETING || p->state == ASKED) {
            const char *line = last_line(p, c->buffer, (size_t)got);
            if (line)
                answered(c, p, line);
        } /* else: news in IDLE */
        if (p->fd < 0 || (size_t)got < BUFFER)
            return;
    }
}

static void on_event(struct crowd *c, struct person *p, uint32_t events)
{
    if (p->fd < 0)
        return;
    if (p->state == CONNECTING && (events & (EPOLLOUT | EPOLLERR))) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
        int why = 0;
        socklen_t n = sizeof why;
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &why, &n);
        if (why != 0 || epoll_ctl(c->epoll, EPOLL_CTL_MOD, p->fd, &event) != 0) {
            fail(c, p, strerror(why ? why : errno));
            return;
        }
        p->state = GREETING;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        hear(c, p);
}

static void on_timer(struct crowd *c, struct person *p)
{
    clear_timer(c, p);
    switch (p->state) {
    case AWAY: come(c, p); break;
    case IDLE: /* the answer is that of the IDLE command */
        p->rested = true;
        p->state = ASKED;
        say(c, p, ASK_DONE, "DONE", false);
        break;
    case THINKING:
        p->rested = true;
        go_on(c, p);
        break;
    case CONNECTING:
    case GREETING:
    case ASKED:
    case WANTS_PLUS: fail(c, p, "no answer in 30 s"); break;
    }
}

/* ---- the run ---------------------------------------------------------------------------------------------- */

static void add_person(struct crowd *c, enum kind kind, bool newcomer, gint64 after_us)
{
    struct person *p = &c->people[c->n];
    *p = (struct person){.number = c->n,
                         .kind = kind,
                         .newcomer = newcomer,
                         .random = 0x9e3779b97f4a7c15u * (c->n + 1),
                         .fd = -1,
                         .state = AWAY,
                         .at = -1};
    c->n++;
    set_timer(c, p, after_us);
}

/* Desktops and phones come one among the other, spread over the ramp; then newcomers, four phones to a desktop. */
static void invite(struct crowd *c)
{
    const struct crowd_options *o = c->o;
    const unsigned all = o->desktops + o->phones;
    for (unsigned i = 0, desktops = 0; i < all; i++) {
        const bool desktop = (guint64)(i + 1) * o->desktops / all > desktops;
        desktops += desktop;
        add_person(c, desktop ? DESKTOP : PHONE, false, 1 + (gint64)i * o->ramp * 1000000 / all);
    }
    for (unsigned i = 0; i < c->newcomers_max; i++)
        add_person(c, i % 5 == 4 ? DESKTOP : PHONE, true,
                   (gint64)o->ramp * 1000000 + (gint64)i * o->seconds * 1000000 / c->newcomers_max);
    c->found->newcomers = c->newcomers_max;
}

static void live_until(struct crowd *c, gint64 end_us)
{
    struct epoll_event events[EVENTS];
    while ((c->now_us = g_get_monotonic_time()) < end_us) {
        const gint64 due = c->heap_n > 0 ? MIN(c->heap[0]->due_us, end_us) : end_us;
        const int wait_ms = (int)CLAMP((due - c->now_us + 999) / 1000, 0, 1000);
        const int n = epoll_wait(c->epoll, events, EVENTS, wait_ms);
        for (int i = 0; i < n; i++) {
            c->now_us = g_get_monotonic_time();
            on_event(c, events[i].data.ptr, events[i].events);
        }
        c->now_us = g_get_monotonic_time();
        while (c->heap_n > 0 && c->heap[0]->due_us <= c->now_us)
            on_timer(c, c->heap[0]);
    }
}

static void measure(struct crowd *c)
{
    const struct crowd_options *o = c->o;
    const gint64 ramp_end = g_get_monotonic_time() + (gint64)o->ramp * 1000000;
    c->measured_from_us = G_MAXINT64;
    live_until(c, ramp_end);
    c->measured_from_us = c->now_us;
    const struct bench_tree before = bench_tree_look(o->server);
    const double own = machine_own_cpu_s();
    const guint64 commands = c->found->commands;
    live_until(c, ramp_end + (gint64)o->seconds * 1000000);
    const struct bench_tree after = bench_tree_look(o->server);
    c->found->client_cpu_s = machine_own_cpu_s() - own;
    c->found->server_cpu_s = after.cpu_s - before.cpu_s;
    c->found->private_bytes = after.private_bytes;
    c->found->commands -= commands;
    c->found->seconds = (double)(c->now_us - c->measured_from_us) / 1e6;
}

int crowd_run(const struct crowd_options *o, struct crowd_found *out, struct error *err)
{
    struct crowd c = {.o = o, .found = out, .epoll = epoll_create1(EPOLL_CLOEXEC), .now_us = g_get_monotonic_time()};
    if (c.epoll < 0)
        return error_errno(err, "epoll");
    c.newcomers_max = (unsigned)((double)o->wave_per_hour * o->speed * o->seconds / 3600);
    const unsigned most = o->desktops + o->phones + c.newcomers_max;
    c.people = g_new0(struct person, MAX(most, 1u));
    c.heap = g_new0(struct person *, MAX(most, 1u));
    c.buffer = g_malloc(BUFFER);
    for (unsigned k = 0; k < ASKS; k++)
        out->us[k] = g_array_new(FALSE, FALSE, sizeof(guint32));
    invite(&c);
    measure(&c);
    const guint64 connected = out->connected;
    for (unsigned i = 0; i < c.n; i++)
        if (c.people[i].fd >= 0)
            close(c.people[i].fd);
    close(c.epoll);
    g_free(c.buffer);
    g_free(c.heap);
    g_free(c.people);
    return connected == 0 && out->commands == 0
               ? error_set(err, BASE_ERR_IO, 0, "nobody could connect: %s", out->first_error)
               : 0;
}

/* The clients of connections.c: a crowd that asks nothing, one that asks all the time, and those that come and go. */
#include "connections_private.h"

#include "bench_measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FETCH      "FETCH 1:50 (UID FLAGS ENVELOPE)"
#define CPU_LOOK_S 2

static double now_s(void)
{
    return (double)g_get_monotonic_time() / 1e6;
}

/* The i-th address of 127.0.0.0/8, neighbours far from each other; none is 127.0.x.y, where servers are. */
static in_addr_t source_address(unsigned i)
{
    return htonl(127u << 24 | (1 + i % 250) << 16 | (i / 250 % 250) << 8 | (1 + i / 62500 % 250));
}

static void *run_threads(int n, void *(*body)(void *arg), void *arg)
{
    pthread_t *threads = g_new0(pthread_t, n);
    int running = 0;
    while (running < n && pthread_create(&threads[running], NULL, body, arg) == 0)
        running++;
    for (int i = 0; i < running; i++)
        pthread_join(threads[i], NULL);
    g_free(threads);
    return running == n ? arg : NULL;
}

/* All TCP sockets of the machine, the clients' too. */
static double kernel_bytes(void)
{
    char *text = NULL;
    double pages = 0;
    if (g_file_get_contents("/proc/net/sockstat", &text, NULL, NULL)) {
        const char *at = strstr(text, "TCP:");
        at = at ? strstr(at, "mem ") : NULL;
        pages = at ? g_ascii_strtod(at + 4, NULL) : 0;
    }
    g_free(text);
    return pages * (double)sysconf(_SC_PAGESIZE);
}

/* ---- idle ----------------------------------------------------------------------------------------- */

struct crowd {
    const struct connections_options *options;
    const struct net_target *target;
    struct net_client **clients;
    int n;
    unsigned first; /* of their addresses */
    atomic_int next;
    atomic_bool failed;
};

static struct net_client *begin_session(const struct connections_options *o, const struct net_target *where,
                                        unsigned number, struct error *err)
{
    char select[sizeof "SELECT " + CONNECTIONS_FOLDER_BYTES] = "SELECT ";
    struct net_target target = *where;
    connections_folder(o, number, select + strlen(select));
    target.source = source_address(number);
    struct net_client *c = net_dial(&target, NULL, err);
    if (c && (net_log_in(c, &target, err) != 0 || net_ask(c, select, NULL, err) != 0))
        net_close(&c);
    return c;
}

static void *fill_some(void *arg)
{
    struct crowd *crowd = arg;
    for (int i; (i = atomic_fetch_add(&crowd->next, 1)) < crowd->n && !atomic_load(&crowd->failed);) {
        struct error err = {0};
        crowd->clients[i] = begin_session(crowd->options, crowd->target, crowd->first + (unsigned)i, &err);
        if (!crowd->clients[i]) {
            fprintf(stderr, "mds-bench: session %d: %s\n", i, err.text);
            atomic_store(&crowd->failed, true);
        }
    }
    return NULL;
}

static int fill(struct crowd *crowd, int threads, struct error *err)
{
    crowd->clients = g_new0(struct net_client *, crowd->n);
    if (!run_threads(threads, fill_some, crowd) || atomic_load(&crowd->failed))
        return error_set(err, BASE_ERR_IO, 0, "not all of %d sessions could begin", crowd->n);
    return 0;
}

static void dismiss(struct crowd *crowd)
{
    for (int i = 0; crowd->clients && i < crowd->n; i++)
        net_close(&crowd->clients[i]);
    g_free(crowd->clients);
}

static int ask_often(struct net_client *c, int rounds, struct latency *out, struct error *err)
{
    double *ms = g_new0(double, rounds);
    int rc = 0;
    for (int i = 0; i < rounds && rc == 0; i++) {
        const double began = now_s();
        rc = net_ask(c, FETCH, NULL, err);
        ms[i] = (now_s() - began) * 1000;
    }
    qsort(ms, (size_t)rounds, sizeof *ms, bench_compare_doubles);
    *out =
        (struct latency){.p50_ms = ms[rounds / 2], .p99_ms = ms[(size_t)rounds * 99 / 100], .max_ms = ms[rounds - 1]};
    g_free(ms);
    return rc;
}

static int look_idle(const struct connections_options *o, pid_t server, const struct bench_process *before,
                     double kernel, struct idle_found *out, struct error *err)
{
    struct bench_process begin, end;
    sleep((unsigned)o->settle);
    int rc = bench_process_look(server, &begin, err);
    const double began = now_s();
    sleep(CPU_LOOK_S);
    rc = rc ? rc : bench_process_look(server, &end, err);
    if (rc != 0)
        return rc;
    out->private_bytes = ((double)end.private_bytes - (double)before->private_bytes) / o->sessions;
    out->kernel_bytes = (kernel_bytes() - kernel) / o->sessions;
    out->cpu_percent = (end.cpu_s - begin.cpu_s) / (now_s() - began) * 100;
    return 0;
}

int connections_idle(const struct connections_options *o, const struct net_target *target, pid_t server,
                     struct idle_found *out, struct error *err)
{
    struct crowd warm = {.options = o, .target = target, .n = CONNECTIONS_WARM, .first = 1},
                 crowd = {.options = o, .target = target, .n = o->sessions, .first = 1 + CONNECTIONS_WARM};
    struct bench_process before = {0};
    struct net_client *one = begin_session(o, target, 0, err);
    int rc = one ? 0 : BASE_ERR_IO;
    rc = rc ? rc : fill(&warm, o->threads, err);
    rc = rc ? rc : ask_often(one, o->rounds, &out->alone, err);
    if (rc == 0)
        sleep((unsigned)o->settle);
    rc = rc ? rc : bench_process_look(server, &before, err);
    const double kernel = kernel_bytes(), began = now_s();
    rc = rc ? rc : fill(&crowd, o->threads, err);
    out->filled_s = now_s() - began;
    rc = rc ? rc : look_idle(o, server, &before, kernel, out, err);
    rc = rc ? rc : ask_often(one, o->rounds, &out->among, err);
    dismiss(&crowd);
    dismiss(&warm);
    net_close(&one);
    return rc;
}

/* ---- connect -------------------------------------------------------------------------------------- */

struct dialers {
    const struct net_target *target;
    bool resume;
    double until_s;
    atomic_uint number, connected, resumed;
    atomic_bool failed;
};

/* From another address each time: a port that was used waits a minute. */
static void *dial_again(void *arg)
{
    struct dialers *d = arg;
    struct net_ticket ticket = {0};
    while (now_s() < d->until_s && !atomic_load(&d->failed)) {
        struct net_target target = *d->target;
        struct error err = {0};
        target.source = source_address(atomic_fetch_add(&d->number, 1));
        struct net_client *c = net_dial(&target, d->resume ? &ticket : NULL, &err);
        if (!c) {
            fprintf(stderr, "mds-bench: a connection: %s\n", err.text);
            atomic_store(&d->failed, true);
            break;
        }
        atomic_fetch_add(&d->connected, 1);
        atomic_fetch_add(&d->resumed, net_resumed(c));
        net_close(&c);
    }
    net_ticket_release(&ticket);
    return NULL;
}

int connections_connect(const struct connections_options *o, const struct net_target *target, bool resume, pid_t server,
                        struct connect_found *out, struct error *err)
{
    struct bench_process begin = {0}, end = {0};
    int rc = bench_process_look(server, &begin, err);
    if (rc != 0)
        return rc;
    const double began = now_s();
    struct dialers d = {.target = target, .resume = resume, .until_s = began + o->seconds};
    const bool ran = run_threads(o->threads, dial_again, &d) != NULL && !atomic_load(&d.failed);
    const double took = now_s() - began;
    rc = bench_process_look(server, &end, err);
    if (rc != 0)
        return rc;
    out->connected = atomic_load(&d.connected);
    out->resumed = atomic_load(&d.resumed);
    if (!ran || out->connected == 0)
        return error_set(err, BASE_ERR_IO, 0, "%u connections, then one failed", out->connected);
    /* A thread's first has no ticket yet. */
    if (resume && out->resumed + (unsigned)o->threads < out->connected)
        return error_set(err, BASE_ERR_IO, 0, "only %u of %u connections were resumed", out->resumed, out->connected);
    out->per_s = out->connected / took;
    out->server_cpu_ms = (end.cpu_s - begin.cpu_s) * 1000 / out->connected;
    return 0;
}

/*
 * mds-net-bench: what connections cost a running server: idle ones in memory, new ones in time.
 *
 *     mds-net-bench idle --address HOST:PORT --pid PID --user U --password P [--sessions N] [--folder NAME]
 * [--tls|--starttls] [--compress] mds-net-bench connect --address HOST:PORT --pid PID [--tls] [--tls-max 1.2]
 * [--resume] [--threads N] [--seconds S]
 *
 * The server is a program of its own (`mds serve`), so that its memory and its CPU time are its own. mds_net_bench.py
 * beside it makes a store, starts the servers and runs the whole table.
 *
 * idle: N sessions that have the folder selected and ask nothing. Growth of RssAnon a session; what the kernel's
 * sockets hold; the time of a FETCH by one busy session before and among them.
 */
#include "net_client.h"

#include <arpa/inet.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct options {
    char *address, *user, *password, *folder, *fetch, *tls_max;
    gint pid, sessions, threads, seconds, rounds, settle;
    gboolean tls, starttls, compress, resume, json;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the server, seen from outside ---------------------------------------------------------------- */

static double rss_anon_kb(int pid)
{
    char *path = g_strdup_printf("/proc/%d/status", pid), *text = NULL;
    double kb = -1;
    if (g_file_get_contents(path, &text, NULL, NULL)) {
        const char *at = strstr(text, "RssAnon:");
        kb = at ? g_ascii_strtod(at + 8, NULL) : -1;
    }
    g_free(text);
    g_free(path);
    return kb;
}

static double cpu_s(int pid)
{
    char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
    double s = 0;
    if (g_file_get_contents(path, &text, NULL, NULL)) {
        unsigned long user = 0, system = 0;
        const char *at = strrchr(text, ')');
        if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
            s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    g_free(text);
    g_free(path);
    return s;
}

/* All TCP sockets of the machine, the client's too. */
static double tcp_kernel_kb(void)
{
    char *text = NULL;
    double pages = 0;
    if (g_file_get_contents("/proc/net/sockstat", &text, NULL, NULL)) {
        const char *at = strstr(text, "TCP:");
        at = at ? strstr(at, "mem ") : NULL;
        pages = at ? g_ascii_strtod(at + 4, NULL) : 0;
    }
    g_free(text);
    return pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

/* ---- idle ----------------------------------------------------------------------------------------- */

struct crowd {
    const struct net_target *target;
    const char *select;
    struct net_client **clients;
    int n;
    atomic_int next, failed;
};

static void *fill(void *arg)
{
    struct crowd *crowd = arg;
    for (int i; (i = atomic_fetch_add(&crowd->next, 1)) < crowd->n && !atomic_load(&crowd->failed);) {
        struct error err = {0};
        struct net_client *c = net_dial(crowd->target, NULL, &err);
        if (!c || net_log_in(c, crowd->target, &err) != 0 || net_ask(c, crowd->select, NULL, &err) != 0) {
            fprintf(stderr, "session %d: %s\n", i, err.text);
            atomic_store(&crowd->failed, 1);
        }
        crowd->clients[i] = c;
    }
    return NULL;
}

static bool fill_crowd(struct crowd *crowd, int threads)
{
    pthread_t *t = g_new0(pthread_t, threads);
    for (int i = 0; i < threads; i++)
        ASSERT(pthread_create(&t[i], NULL, fill, crowd) == 0);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    g_free(t);
    return !crowd->failed;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Times of one command, in milliseconds. */
static bool busy(struct net_client *c, const struct options *o, const char *label)
{
    double *ms = g_new0(double, o->rounds);
    struct error err = {0};
    bool ok = true;
    for (int i = 0; i < o->rounds && ok; i++) {
        const double began = now_s();
        ok = net_ask(c, o->fetch, NULL, &err) == 0;
        ms[i] = (now_s() - began) * 1000;
    }
    if (ok) {
        qsort(ms, (size_t)o->rounds, sizeof *ms, compare_doubles);
        printf("  %-28s p50 %.3f ms  p99 %.3f ms  max %.3f ms\n", label, ms[o->rounds / 2], ms[(int)(o->rounds * 0.99)],
               ms[o->rounds - 1]);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    g_free(ms);
    return ok;
}

static int idle(const struct options *o, const struct net_target *target)
{
    char *select = g_strdup_printf("SELECT \"%s\"", o->folder);
    struct crowd warm = {.target = target, .select = select, .n = 32},
                 crowd = {.target = target, .select = select, .n = o->sessions};
    warm.clients = g_new0(struct net_client *, warm.n);
    crowd.clients = g_new0(struct net_client *, crowd.n);
    struct error err = {0};
    struct net_client *one = net_dial(target, NULL, &err);
    bool ok = one && net_log_in(one, target, &err) == 0 && net_ask(one, select, NULL, &err) == 0;
    if (!ok)
        fprintf(stderr, "%s\n", err.text);
    ok = ok && fill_crowd(&warm, o->threads) && busy(one, o, "FETCH, alone");
    sleep((unsigned)o->settle);
    const double rss = rss_anon_kb(o->pid), kernel = tcp_kernel_kb(), began = now_s();
    ok = ok && fill_crowd(&crowd, o->threads);
    if (ok) {
        printf("  %d sessions in %.1f s\n", o->sessions, now_s() - began);
        sleep((unsigned)o->settle);
        const double cpu = cpu_s(o->pid), t = now_s();
        sleep(2);
        printf("  RssAnon: %.2f KB a session (%.1f MB before)\n", (rss_anon_kb(o->pid) - rss) / o->sessions,
               rss / 1024);
        printf("  kernel's TCP memory: %.2f KB a session, both ends\n", (tcp_kernel_kb() - kernel) / o->sessions);
        printf("  CPU of the idle server: %.2f %%\n", (cpu_s(o->pid) - cpu) / (now_s() - t) * 100);
        ok = busy(one, o, "FETCH, among them");
    }
    for (int i = 0; i < crowd.n; i++)
        net_close(&crowd.clients[i]);
    for (int i = 0; i < warm.n; i++)
        net_close(&warm.clients[i]);
    net_close(&one);
    g_free(warm.clients);
    g_free(crowd.clients);
    g_free(select);
    return ok ? 0 : 1;
}

/* ---- connect -------------------------------------------------------------------------------------- */

struct dialer {
    const struct net_target *target;
    bool resume;
    double until_s;
    atomic_uint connected, resumed, failed;
};

static void *dial_again(void *arg)
{
    struct dialer *d = arg;
    struct net_ticket ticket = {0};
    while (now_s() < d->until_s) {
        struct error err = {0};
        struct net_client *c = net_dial(d->target, d->resume ? &ticket : NULL, &err);
        if (!c) {
            fprintf(stderr, "%s\n", err.text);
            atomic_fetch_add(&d->failed, 1);
            break;
        }
        atomic_fetch_add(&d->connected, 1);
        atomic_fetch_add(&d->resumed, net_resumed(c));
        net_close(&c);
    }
    net_ticket_release(&ticket);
    return NULL;
}

static int connect_often(const struct options *o, const struct net_target *target)
{
    const double began = now_s(), cpu = cpu_s(o->pid);
    struct dialer d = {.target = target, .resume = o->resume, .until_s = began + o->seconds};
    pthread_t *t = g_new0(pthread_t, o->threads);
    for (int i = 0; i < o->threads; i++)
        ASSERT(pthread_create(&t[i], NULL, dial_again, &d) == 0);
    for (int i = 0; i < o->threads; i++)
        pthread_join(t[i], NULL);
    g_free(t);
    const double took = now_s() - began, server = cpu_s(o->pid) - cpu;
    printf("  %u connections in %.1f s: %.0f/s, %.3f ms of the server's CPU each, %u resumed\n", d.connected, took,
           d.connected / took, server * 1000 / d.connected, d.resumed);
    return d.failed || !d.connected;
}

/* ---- */

static bool parse_address(const char *text, struct sockaddr_in *out)
{
    char **part = g_strsplit(text, ":", 2);
    guint64 port = 0;
    const bool ok = part[0] && part[1] && inet_pton(AF_INET, part[0], &out->sin_addr) == 1 &&
                    g_ascii_string_to_unsigned(part[1], 10, 1, 65535, &port, NULL);
    out->sin_family = AF_INET;
    out->sin_port = htons((uint16_t)port);
    g_strfreev(part);
    return ok;
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options o = {.sessions = 10000, .threads = 4, .seconds = 5, .rounds = 2000, .settle = 12};
    const GOptionEntry entries[] = {
        {"address", 0, 0, G_OPTION_ARG_STRING, &o.address, "of the server", "HOST:PORT"},
        {"pid", 0, 0, G_OPTION_ARG_INT, &o.pid, "its process", "PID"},
        {"user", 0, 0, G_OPTION_ARG_STRING, &o.user, NULL, "NAME"},
        {"password", 0, 0, G_OPTION_ARG_STRING, &o.password, NULL, "WORD"},
        {"folder", 0, 0, G_OPTION_ARG_STRING, &o.folder, "selected by all; default INBOX", "NAME"},
        {"fetch", 0, 0, G_OPTION_ARG_STRING, &o.fetch,
         "what the busy session asks; default FETCH 1:50 (UID FLAGS ENVELOPE)", "COMMAND"},
        {"sessions", 0, 0, G_OPTION_ARG_INT, &o.sessions, NULL, "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &o.threads, NULL, "N"},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, NULL, "S"},
        {"rounds", 0, 0, G_OPTION_ARG_INT, &o.rounds, "commands of the busy session", "N"},
        {"settle", 0, 0, G_OPTION_ARG_INT, &o.settle, "seconds of quiet before memory is read", "S"},
        {"tls", 0, 0, G_OPTION_ARG_NONE, &o.tls, NULL, NULL},
        {"starttls", 0, 0, G_OPTION_ARG_NONE, &o.starttls, NULL, NULL},
        {"tls-max", 0, 0, G_OPTION_ARG_STRING, &o.tls_max, NULL, "1.2"},
        {"compress", 0, 0, G_OPTION_ARG_NONE, &o.compress, NULL, NULL},
        {"resume", 0, 0, G_OPTION_ARG_NONE, &o.resume, "by session tickets", NULL},
        {0},
    };
    GOptionContext *context = g_option_context_new("idle|connect");
    GError *why = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    struct net_target target = {0};
    if (!g_option_context_parse(context, &argc, &argv, &why) || argc != 2 || !o.address ||
        !parse_address(o.address, &target.address) || o.threads < 1 || o.rounds < 1 || o.sessions < 1) {
        fprintf(stderr, "mds-net-bench: %s\n", why ? why->message : "see --help");
        return 2;
    }
    g_option_context_free(context);
    target.mode = o.tls ? NET_TLS : o.starttls ? NET_STARTTLS : NET_PLAIN;
    target.compress = o.compress;
    target.tls_max = o.tls_max;
    target.user = o.user;
    target.password = o.password;
    o.folder = o.folder ? o.folder : g_strdup("INBOX");
    o.fetch = o.fetch ? o.fetch : g_strdup("FETCH 1:50 (UID FLAGS ENVELOPE)");
    raise_descriptors();
    setvbuf(stdout, NULL, _IOLBF, 0);
    return strcmp(argv[1], "idle") == 0 ? idle(&o, &target) : connect_often(&o, &target);
}

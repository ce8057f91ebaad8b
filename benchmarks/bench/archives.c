/* archives: see archives.h. */
#include "archives.h"

#include "bench_measure.h"
#include "mds/query.h"
#include "net_client.h"
#include "server.h"

#include <fcntl.h>
#include <glib.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define SKIPPED               77
#define ARCHIVES_MAX          20000
#define ARCHIVES_A_USER       33 /* as query.h says */
#define DESCRIPTORS_ARCHIVE   3
#define DESCRIPTORS_ELSEWHERE 64
#define PASSWORD              "measured"
#define FLAGGED               4
#define PATIENCE_S            3 /* with a session that should hear of something */
#define MIB                   1048576.0

struct options {
    gint archives, seconds, rounds, threads, settle;
    char *work, *mds, *json;
};

/* What was found, as printed and written. */
struct found {
    double made_s, filled_s, visited_s;
    struct bench_process before, selected, idle;
    double idle_cpu_percent, load;
    double heard_p50_ms, heard_max_ms, durable_p50_ms;
    int unheard;
};

static int failed(struct error *err, const char *what, const struct mdsq_error *why)
{
    return error_set(err, BASE_ERR_IO, 0, "%s: %s", what, why->text);
}

/* ---- the store ----------------------------------------------------------------------------------- */

static void archive_name(char name[16], int i)
{
    g_snprintf(name, 16, "a%d", i);
}

static int file_message(struct mdsq_store *store, const char *name, struct mdsq_error *why)
{
    static const char text[] = "From: Ann <ann@example.com>\r\nSubject: the only one\r\n\r\ntext\r\n";
    struct mdsq_archive *archive = NULL;
    struct mdsq_append message = {0};
    struct mdsq_change *change = NULL;
    int rc = mdsq_archive_open(store, name, &archive, why);
    rc = rc < 0 ? rc : mdsq_draft_new(archive, &message.draft, why);
    rc = rc < 0 ? rc : mdsq_draft_write(message.draft, text, sizeof text - 1, why);
    rc = rc < 0 ? rc : mdsq_change_append(archive, "INBOX", &message, 1, &change, why);
    rc = rc < 0 ? rc : mdsq_change_wait(change, why);
    mdsq_change_free(&change);
    mdsq_archive_close(&archive);
    return rc;
}

static int add_user(struct mdsq_store *store, const struct options *o, int first, struct mdsq_error *why)
{
    char user[16], name[16];
    const int end = MIN(first + ARCHIVES_A_USER, o->archives);
    g_snprintf(user, sizeof user, "u%d", first / ARCHIVES_A_USER);
    archive_name(name, first);
    int rc = mdsq_user_add(store, user, PASSWORD, name, false, why);
    for (int i = first + 1; i < end && rc >= 0; i++) {
        archive_name(name, i);
        rc = mdsq_user_grant(store, user, name, why);
    }
    return rc;
}

/* Relaxed: only what stands in it in the end is measured, so it is synced once, in the end. */
static int make_store(const struct options *o, const char *dir, struct found *f, struct error *err)
{
    struct mdsq_store *store = NULL;
    struct mdsq_error why = {0};
    char name[16];
    const gint64 began = g_get_monotonic_time();
    int rc = mdsq_store_open(dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | MDSQ_STORE_RELAXED, &store, &why);
    for (int i = 0; i < o->archives && rc >= 0; i++) {
        archive_name(name, i);
        rc = mdsq_archive_add(store, name, &why);
    }
    const gint64 made = g_get_monotonic_time();
    for (int i = 0; i < o->archives && rc >= 0; i++) {
        archive_name(name, i);
        rc = file_message(store, name, &why);
    }
    f->made_s = (double)(made - began) / 1e6;
    f->filled_s = (double)(g_get_monotonic_time() - made) / 1e6;
    for (int i = 0; i < o->archives && rc >= 0; i += ARCHIVES_A_USER)
        rc = add_user(store, o, i, &why);
    mdsq_store_close(&store);
    sync();
    return rc < 0 ? failed(err, dir, &why) : 0;
}

/* ---- the other process: changes a flag when told to --------------------------------------------------- */

struct order {
    int archive;
    enum mdsq_store_mode mode;
};

struct answer {
    gint64 durable_us; /* on the clock that all processes share; 0: it failed */
    double took_ms;
};

struct writer {
    pid_t pid;
    int orders, answers;
};

static struct answer change_flag(struct mdsq_store *store, const struct order *order, struct mdsq_error *why)
{
    const struct mdsq_flags flags = {.flags = FLAGGED};
    struct mdsq_archive *archive = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_view *view = NULL;
    struct mdsq_change *change = NULL;
    struct answer a = {0};
    char name[16];
    archive_name(name, order->archive);
    int rc = mdsq_archive_open(store, name, &archive, why);
    rc = rc < 0 ? rc : mdsq_reader_begin(archive, &reader, why);
    rc = rc < 0 ? rc : mdsq_view_open(reader, "INBOX", &view, why);
    rc = rc < 0 ? rc : mdsq_change_store(archive, view, NULL, order->mode, &flags, NULL, &change, why);
    mdsq_reader_end(&reader);
    const gint64 began = g_get_monotonic_time();
    rc = rc < 0 ? rc : mdsq_change_wait(change, why);
    if (rc >= 0)
        a.durable_us = g_get_monotonic_time();
    a.took_ms = (double)(a.durable_us - began) / 1000;
    mdsq_change_free(&change);
    mdsq_view_close(&view);
    mdsq_archive_close(&archive);
    return a;
}

static int writer_body(const char *dir, int orders, int answers)
{
    struct mdsq_store *store = NULL;
    struct mdsq_error why = {0};
    struct order order;
    bool ok = true;
    while (ok && read(orders, &order, sizeof order) == (ssize_t)sizeof order) {
        struct answer a = {0};
        if (store || mdsq_store_open(dir, MDSQ_STORE_WRITE, &store, &why) >= 0)
            a = change_flag(store, &order, &why);
        if (a.durable_us == 0)
            fprintf(stderr, "mds-bench: the other process: %s\n", why.text);
        ok = a.durable_us != 0 && write(answers, &a, sizeof a) == (ssize_t)sizeof a;
    }
    mdsq_store_close(&store);
    return ok ? 0 : 1;
}

/* Forked before this process has threads or a store open. */
static int writer_start(const char *dir, struct writer *out, struct error *err)
{
    int down[2], up[2];
    *out = (struct writer){.orders = -1, .answers = -1};
    if (pipe2(down, O_CLOEXEC) != 0)
        return error_errno(err, "pipe");
    if (pipe2(up, O_CLOEXEC) != 0) {
        close(down[0]);
        close(down[1]);
        return error_errno(err, "pipe");
    }
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        close(down[1]);
        close(up[0]);
        _exit(writer_body(dir, down[0], up[1]));
    }
    close(down[0]);
    close(up[1]);
    *out = (struct writer){.pid = pid, .orders = down[1], .answers = up[0]};
    return pid < 0 ? error_errno(err, "cannot fork") : 0;
}

static void writer_stop(struct writer *w)
{
    if (w->orders >= 0)
        close(w->orders);
    if (w->pid > 0)
        waitpid(w->pid, NULL, 0);
    if (w->answers >= 0)
        close(w->answers);
}

/* ---- sessions ----------------------------------------------------------------------------------------- */

struct crowd {
    const struct options *options;
    struct sockaddr_in address;
    struct net_client **clients;
    atomic_int next;
    atomic_bool failed;
};

static struct net_client *visit(const struct crowd *crowd, int i, struct error *err)
{
    char login[64];
    g_snprintf(login, sizeof login, "\"u%d\\\\a%d\"", i / ARCHIVES_A_USER, i);
    const struct net_target target = {.address = crowd->address, .user = login, .password = PASSWORD};
    struct net_client *c = net_dial(&target, NULL, err);
    if (c && (net_log_in(c, &target, err) != 0 || net_ask(c, "SELECT INBOX", NULL, err) != 0))
        net_close(&c);
    return c;
}

static void *visit_some(void *arg)
{
    struct crowd *crowd = arg;
    for (int i; (i = atomic_fetch_add(&crowd->next, 1)) < crowd->options->archives && !atomic_load(&crowd->failed);) {
        struct error err = {0};
        crowd->clients[i] = visit(crowd, i, &err);
        if (!crowd->clients[i]) {
            fprintf(stderr, "mds-bench: session %d: %s\n", i, err.text);
            atomic_store(&crowd->failed, true);
        }
    }
    return NULL;
}

static int visit_all(struct crowd *crowd, struct error *err)
{
    const int n = crowd->options->threads;
    pthread_t *threads = g_new0(pthread_t, n);
    int running = 0;
    while (running < n && pthread_create(&threads[running], NULL, visit_some, crowd) == 0)
        running++;
    for (int i = 0; i < running; i++)
        pthread_join(threads[i], NULL);
    g_free(threads);
    return running == n && !atomic_load(&crowd->failed) ? 0 : error_set(err, BASE_ERR_IO, 0, "not every archive could be visited");
}

/* Commits of the other process, at any phase of the server's looking, in archives far from each other. */
static int hear_of_others(const struct crowd *crowd, const struct writer *w, struct found *f, struct error *err)
{
    const int n = crowd->options->archives, rounds = crowd->options->rounds;
    double *heard_ms = g_new0(double, rounds), *durable_ms = g_new0(double, rounds);
    bool *flagged = g_new0(bool, n);
    GRand *rand = g_rand_new_with_seed(1);
    int rc = 0;
    for (int k = 0; k < rounds && rc == 0; k++) {
        struct order order = {.archive = g_rand_int_range(rand, 0, n)};
        struct answer a = {0};
        order.mode = flagged[order.archive] ? MDSQ_STORE_REMOVE : MDSQ_STORE_ADD;
        flagged[order.archive] = !flagged[order.archive];
        g_usleep((gulong)g_rand_int_range(rand, 20000, 120000));
        if (write(w->orders, &order, sizeof order) != (ssize_t)sizeof order)
            rc = error_errno(err, "the other process");
        const bool is_heard = rc == 0 && net_hear(crowd->clients[order.archive], "* 1 FETCH", PATIENCE_S, err) == 0;
        const gint64 heard = g_get_monotonic_time();
        f->unheard += !is_heard;
        if (rc == 0 && read(w->answers, &a, sizeof a) != (ssize_t)sizeof a)
            rc = error_errno(err, "the other process");
        heard_ms[k] = MAX(0.0, (double)(heard - a.durable_us) / 1000);
        durable_ms[k] = a.took_ms;
    }
    qsort(heard_ms, (size_t)rounds, sizeof *heard_ms, bench_compare_doubles);
    qsort(durable_ms, (size_t)rounds, sizeof *durable_ms, bench_compare_doubles);
    f->heard_p50_ms = heard_ms[rounds / 2];
    f->heard_max_ms = heard_ms[rounds - 1];
    f->durable_p50_ms = durable_ms[rounds / 2];
    g_rand_free(rand);
    g_free(flagged);
    g_free(durable_ms);
    g_free(heard_ms);
    return rc;
}

/* ---- the run -------------------------------------------------------------------------------------------- */

static int stand_idle(const struct crowd *crowd, const struct bench_server *server, struct found *f, struct error *err)
{
    const struct options *o = crowd->options;
    struct bench_process begin = {0};
    int rc = 0;
    for (int i = 0; i < o->archives && rc == 0; i++)
        rc = net_idle(crowd->clients[i], err);
    if (rc != 0)
        return rc;
    sleep((unsigned)o->settle);
    rc = bench_process_look(server->pid, &begin, err);
    const gint64 began = g_get_monotonic_time();
    sleep((unsigned)o->seconds);
    rc = rc ? rc : bench_process_look(server->pid, &f->idle, err);
    f->idle_cpu_percent = (f->idle.cpu_s - begin.cpu_s) / ((double)(g_get_monotonic_time() - began) / 1e6) * 100;
    getloadavg(&f->load, 1);
    return rc;
}

static int measure(const struct options *o, char *dir, const struct writer *writer, struct found *f, struct error *err)
{
    char most[16];
    char *more[] = {(char[]){"--max-sessions"}, most, (char[]){"--login-timeout"}, (char[]){"600"}, NULL};
    struct crowd crowd = {.options = o, .clients = g_new0(struct net_client *, o->archives)};
    struct bench_server server = {0};
    g_snprintf(most, sizeof most, "%d", o->archives + 10);
    int rc = bench_server_start(o->mds, dir, more, &server, err);
    rc = rc ? rc : bench_process_look(server.pid, &f->before, err);
    crowd.address = server.address;
    const gint64 began = g_get_monotonic_time();
    rc = rc ? rc : visit_all(&crowd, err);
    f->visited_s = (double)(g_get_monotonic_time() - began) / 1e6;
    rc = rc ? rc : bench_process_look(server.pid, &f->selected, err);
    rc = rc ? rc : stand_idle(&crowd, &server, f, err);
    rc = rc ? rc : hear_of_others(&crowd, writer, f, err);
    for (int i = 0; i < o->archives; i++)
        net_close(&crowd.clients[i]);
    g_free(crowd.clients);
    bench_server_stop(&server);
    return rc;
}

static void print_process(const char *when, const struct bench_process *p)
{
    printf("  %-24s %11" G_GUINT64_FORMAT " %13.1f %11.1f %11.1f %11.1f %8" G_GUINT64_FORMAT " %8.1f\n", when, p->descriptors,
           (double)p->virtual_bytes / MIB / 1024, (double)p->private_bytes / MIB, (double)p->shmem_bytes / MIB,
           (double)p->file_bytes / MIB, p->threads, p->cpu_s);
}

static void print_found(const struct options *o, const struct found *f)
{
    const double n = o->archives;
    printf("%d archives: made in %.1f s (%.2f ms each), a message filed in each in %.1f s (%.2f ms), visited in %.1f s (%.2f ms)\n",
           o->archives, f->made_s, f->made_s * 1000 / n, f->filled_s, f->filled_s * 1000 / n, f->visited_s, f->visited_s * 1000 / n);
    printf("  %-24s %11s %13s %11s %11s %11s %8s %8s\n", "the server", "descriptors", "addresses GiB", "private MiB", "shmem MiB",
           "files MiB", "threads", "CPU s");
    print_process("before", &f->before);
    print_process("every INBOX selected", &f->selected);
    print_process("all in IDLE", &f->idle);
    printf("  an archive and its session: %.2f descriptors, %.1f KiB private\n",
           (double)(f->idle.descriptors - f->before.descriptors) / n,
           ((double)f->idle.private_bytes - (double)f->before.private_bytes) / 1024 / n);
    printf("  CPU of the idle server over %d s: %.2f %% of a core (load of the machine %.2f)\n", o->seconds, f->idle_cpu_percent, f->load);
    printf("  never heard within %d s: %d of %d commits\n", PATIENCE_S, f->unheard, o->rounds);
    printf("  heard of another process's commit: p50 %.1f ms, max %.1f ms after it was durable (%d commits, each p50 %.1f ms)\n",
           f->heard_p50_ms, f->heard_max_ms, o->rounds, f->durable_p50_ms);
}

static json_t *process_json(const struct bench_process *p)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "descriptors", (json_int_t)p->descriptors, "virtual_bytes",
                     (json_int_t)p->virtual_bytes, "private_bytes", (json_int_t)p->private_bytes, "shmem_bytes",
                     (json_int_t)p->shmem_bytes, "file_bytes",
                     (json_int_t)p->file_bytes, "threads", (json_int_t)p->threads, "cpu_s", p->cpu_s);
}

static int write_json(const struct options *o, const struct found *f, struct error *err)
{
    json_t *root = json_pack("{s:s,s:i,s:i,s:f,s:f,s:f,s:o,s:o,s:o,s:f,s:f,s:i,s:f,s:f,s:f,s:i}", "command", "archives", "archives",
                             o->archives, "processors", (int)g_get_num_processors(), "made_s", f->made_s, "filled_s", f->filled_s,
                             "visited_s", f->visited_s, "before", process_json(&f->before), "selected", process_json(&f->selected),
                             "idle", process_json(&f->idle), "idle_cpu_percent", f->idle_cpu_percent, "load", f->load, "rounds",
                             o->rounds, "heard_p50_ms", f->heard_p50_ms, "heard_max_ms", f->heard_max_ms, "durable_p50_ms",
                             f->durable_p50_ms, "unheard", f->unheard);
    const int rc = json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

static int run(const struct options *o)
{
    const uint64_t limit = bench_raise_descriptors();
    const uint64_t need = (uint64_t)o->archives * (DESCRIPTORS_ARCHIVE + 1) + DESCRIPTORS_ELSEWHERE;
    if (limit < need) {
        printf("skipped: %d archives need %" G_GUINT64_FORMAT " descriptors, a process of this machine may have %" G_GUINT64_FORMAT
               " (ulimit -Hn): --archives %" G_GUINT64_FORMAT " would do\n",
               o->archives, need, limit, (limit - MIN(limit, DESCRIPTORS_ELSEWHERE)) / (DESCRIPTORS_ARCHIVE + 1));
        return SKIPPED;
    }
    char *work = g_build_filename(o->work, "mds-bench-archives.XXXXXX", NULL), *dir = NULL;
    struct writer writer = {.orders = -1, .answers = -1};
    struct found f = {0};
    struct error err = {0};
    int rc = g_mkdtemp(work) ? 0 : error_errno(&err, "cannot make %s", work);
    dir = g_build_filename(work, "store", NULL);
    const bool made = rc == 0;
    rc = rc ? rc : writer_start(dir, &writer, &err);
    rc = rc ? rc : make_store(o, dir, &f, &err);
    rc = rc ? rc : measure(o, dir, &writer, &f, &err);
    writer_stop(&writer);
    if (rc == 0)
        print_found(o, &f);
    if (rc == 0 && o->json)
        rc = write_json(o, &f, &err);
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    if (made)
        bench_remove_tree(work);
    g_free(dir);
    g_free(work);
    return rc == 0 ? 0 : 3;
}

bool archives_main(int argc, char **argv, int *status_out)
{
    struct options o = {.archives = 4000, .seconds = 10, .rounds = 50, .threads = 4, .settle = 3};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where the store goes (.); /dev/shm, if making it takes too long on a disk", "DIR"},
        {"archives", 0, 0, G_OPTION_ARG_INT, &o.archives, "in the store, each with a session (4000)", "N"},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, "of idleness that are measured (10)", "S"},
        {"settle", 0, 0, G_OPTION_ARG_INT, &o.settle, "of idleness before (3)", "S"},
        {"rounds", 0, 0, G_OPTION_ARG_INT, &o.rounds, "commits of another process (50)", "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &o.threads, "of the clients, while they log in (4)", "N"},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    GError *gerror = NULL;
    if (argc < 2 || strcmp(argv[1], "archives") != 0)
        return false;
    GOptionContext *context = g_option_context_new("archives - a client in each of thousands of archives");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &gerror) || o.archives < 1 || o.archives > ARCHIVES_MAX || o.seconds < 1 ||
        o.settle < 0 || o.rounds < 1 || o.rounds > 10000 || o.threads < 1 || o.threads > 64) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "a number is out of bounds");
        *status_out = 2;
    } else {
        o.work = o.work ? o.work : g_strdup(".");
        o.mds = o.mds ? o.mds : bench_sibling("mds");
        *status_out = run(&o);
    }
    g_option_context_free(context);
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.mds);
    g_free(o.json);
    return true;
}

/* connections: see connections.h. */
#include "connections.h"

#include "bench_measure.h"
#include "certificate.h"
#include "connections_private.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKIPPED               77
#define SESSIONS_MAX          1000000
#define MESSAGES_MAX          10000000
#define FOLDERS_MAX           100000
#define DESCRIPTORS_ELSEWHERE 160 /* CONNECTIONS_WARM among them */

enum listener { PLAIN, TLS, LISTENERS };

struct level {
    const char *name;
    enum listener listener;
    bool compress, resume;
    const char *tls_max;
};

static const struct level idle_levels[] = {
    {.name = "plain", .listener = PLAIN},
    {.name = "tls", .listener = TLS},
    {.name = "tls-deflate", .listener = TLS, .compress = true},
};

static const struct level connect_levels[] = {
    {.name = "plain", .listener = PLAIN},
    {.name = "tls1.3-full", .listener = TLS},
    {.name = "tls1.3-resumed", .listener = TLS, .resume = true},
    {.name = "tls1.2-full", .listener = TLS, .tls_max = "1.2"},
    {.name = "tls1.2-resumed", .listener = TLS, .tls_max = "1.2", .resume = true},
};

/* ---- what the server needs ------------------------------------------------------------------------- */

/* Listeners in the order of enum listener. Paths begin at the file's folder. */
static int write_config(const struct connections_options *o, const char *file, struct error *err)
{
    char *text =
        g_strdup_printf("[store]\npath = store\n[certificate bench]\ncertificate = bench.pem\nkey = bench.key\n"
                        "[listener plain]\naddress = 127.0.0.1:0\nmode = plain\n"
                        "[listener tls]\naddress = 127.0.0.1:0\nmode = tls\ncertificates = bench\n"
                        "[limits]\nconnections = %d\nlogin-timeout = 10m\n[log]\nlevel = warn\n",
                        o->sessions + CONNECTIONS_WARM + 10);
    GError *why = NULL;
    const int rc = g_file_set_contents(file, text, -1, &why) ? 0 : error_set(err, BASE_ERR_IO, 0, "%s", why->message);
    g_clear_error(&why);
    g_free(text);
    return rc;
}

/* ---- results ----------------------------------------------------------------------------------------- */

static json_t *latency_json(const struct latency *l)
{
    return json_pack("{s:f,s:f,s:f}", "p50_ms", l->p50_ms, "p99_ms", l->p99_ms, "max_ms", l->max_ms);
}

static json_t *show_idle(const struct level *level, const struct idle_found *f)
{
    printf("%-14s %9.2f %9.2f %8.2f %9.1f %9.3f %9.3f %9.3f %9.3f\n", level->name, f->private_bytes / 1024,
           f->kernel_bytes / 1024, f->cpu_percent, f->filled_s, f->alone.p50_ms, f->alone.p99_ms, f->among.p50_ms,
           f->among.p99_ms);
    return json_pack("{s:s,s:f,s:f,s:f,s:f,s:o,s:o}", "level", level->name, "private_bytes", f->private_bytes,
                     "kernel_bytes", f->kernel_bytes, "idle_cpu_percent", f->cpu_percent, "filled_s", f->filled_s,
                     "fetch_alone", latency_json(&f->alone), "fetch_among", latency_json(&f->among));
}

/* plain_per_s: the rate of plain connections, 0: this is theirs, or they were not measured. */
static json_t *show_connect(const struct level *level, const struct connect_found *f, double plain_per_s)
{
    const double of_plain = plain_per_s > 0 ? f->per_s / plain_per_s : 0;
    printf("%-14s %12.0f %14.3f %10u %10u ", level->name, f->per_s, f->server_cpu_ms, f->connected, f->resumed);
    if (of_plain > 0)
        printf("%9.2f\n", of_plain);
    else
        printf("%9s\n", "-");
    return json_pack("{s:s,s:f,s:f,s:I,s:I,s:f}", "level", level->name, "connections_per_s", f->per_s, "server_cpu_ms",
                     f->server_cpu_ms, "connected", (json_int_t)f->connected, "resumed", (json_int_t)f->resumed,
                     "of_plain", of_plain);
}

/* Of the rows so far. */
static double plain_rate(const json_t *rows)
{
    const json_t *first = json_array_get(rows, 0);
    const char *level = json_string_value(json_object_get(first, "level"));
    return level && strcmp(level, "plain") == 0 ? json_number_value(json_object_get(first, "connections_per_s")) : 0;
}

static void print_head(const struct connections_options *o, double load)
{
    if (o->connect)
        printf("new connections, %d s by %d threads each (load of the machine %.2f)\n%-14s %12s %14s %10s %10s %9s\n",
               o->seconds, o->threads, load, "", "a second", "server CPU ms", "connected", "resumed", "of plain");
    else
        printf("%d idle sessions in %d folder%s of %d messages%s (load of the machine %.2f); KiB a session, the "
               "kernel's of both ends; FETCH in ms\n"
               "%-14s %9s %9s %8s %9s %9s %9s %9s %9s\n",
               o->sessions, o->folders, o->folders == 1 ? "" : "s", o->messages,
               o->scattered ? ", their UIDs scattered" : "", load, "", "private", "kernel", "CPU %", "begun s",
               "alone p50", "p99", "among p50", "p99");
}

static int write_json(const struct connections_options *o, double load, json_t *rows, struct error *err)
{
    json_t *root = json_pack("{s:s,s:i,s:i,s:f,s:O}", "command", o->connect ? "connect" : "idle", "threads", o->threads,
                             "processors", (int)g_get_num_processors(), "load", load, "rows", rows);
    if (o->connect) {
        json_object_set_new(root, "seconds", json_integer(o->seconds));
    } else {
        json_object_set_new(root, "sessions", json_integer(o->sessions));
        json_object_set_new(root, "messages", json_integer(o->messages));
        json_object_set_new(root, "folders", json_integer(o->folders));
        json_object_set_new(root, "scattered", json_boolean(o->scattered));
        json_object_set_new(root, "rounds", json_integer(o->rounds));
    }
    const int rc =
        json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static int measure_level(const struct connections_options *o, const struct level *level, char *config, json_t *rows,
                         struct error *err)
{
    struct bench_server server;
    struct sockaddr_in addresses[LISTENERS];
    struct idle_found idle = {0};
    struct connect_found connect = {0};
    int rc = bench_server_start_configured(o->mds, config, addresses, LISTENERS, &server, err);
    if (rc != 0)
        return rc;
    const struct net_target target = {.address = addresses[level->listener],
                                      .mode = level->listener == TLS ? NET_TLS : NET_PLAIN,
                                      .compress = level->compress,
                                      .tls_max = level->tls_max,
                                      .user = CONNECTIONS_USER,
                                      .password = CONNECTIONS_PASSWORD};
    rc = o->connect ? connections_connect(o, &target, level->resume, server.pid, &connect, err)
                    : connections_idle(o, &target, server.pid, &idle, err);
    bench_server_stop(&server);
    if (rc == 0)
        json_array_append_new(rows,
                              o->connect ? show_connect(level, &connect, plain_rate(rows)) : show_idle(level, &idle));
    fflush(stdout);
    return rc;
}

static bool is_wanted(const struct connections_options *o, const struct level *level)
{
    gchar **names = g_strsplit(o->levels ? o->levels : level->name, ",", -1);
    const bool wanted = g_strv_contains((const gchar *const *)names, level->name);
    g_strfreev(names);
    return wanted;
}

static int measure(const struct connections_options *o, const char *work, struct error *err)
{
    const struct level *levels = o->connect ? connect_levels : idle_levels;
    const size_t n = o->connect ? G_N_ELEMENTS(connect_levels) : G_N_ELEMENTS(idle_levels);
    char *store = g_build_filename(work, "store", NULL), *config = g_build_filename(work, "mds.conf", NULL);
    json_t *rows = json_array();
    double load = 0;
    int rc = certificate_make(work, err);
    rc = rc ? rc : write_config(o, config, err);
    rc = rc ? rc : connections_store(o, store, err);
    (void)getloadavg(&load, 1);
    if (rc == 0)
        print_head(o, load);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (is_wanted(o, &levels[i]))
            rc = measure_level(o, &levels[i], config, rows, err);
    if (rc == 0 && json_array_size(rows) == 0)
        rc = error_set(err, BASE_ERR_USAGE, 0, "no such levels: %s", o->levels);
    if (rc == 0 && o->json)
        rc = write_json(o, load, rows, err);
    json_decref(rows);
    g_free(config);
    g_free(store);
    return rc;
}

static int run(const struct connections_options *o)
{
    const uint64_t limit = bench_raise_descriptors(), need = (uint64_t)o->sessions + DESCRIPTORS_ELSEWHERE;
    if (!o->connect && limit < need) {
        printf("skipped: %d sessions need %" G_GUINT64_FORMAT
               " descriptors, a process of this machine may have %" G_GUINT64_FORMAT
               " (ulimit -Hn): --sessions %" G_GUINT64_FORMAT " would do\n",
               o->sessions, need, limit, limit - MIN(limit, DESCRIPTORS_ELSEWHERE));
        return SKIPPED;
    }
    char *work = g_build_filename(o->work, "mds-bench-connections.XXXXXX", NULL);
    struct error err = {0};
    int rc = g_mkdtemp(work) ? 0 : error_errno(&err, "cannot make %s", work);
    if (rc == 0) {
        rc = measure(o, work, &err);
        bench_remove_tree(work);
    }
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    g_free(work);
    return rc == 0 ? 0 : 3;
}

static bool in_bounds(const struct connections_options *o)
{
    return o->sessions >= 1 && o->sessions <= SESSIONS_MAX && o->messages >= 1 && o->messages <= MESSAGES_MAX &&
           o->folders >= 1 && o->folders <= FOLDERS_MAX && o->rounds >= 1 && o->rounds <= 10000000 && o->settle >= 0 &&
           o->settle <= 3600 && o->seconds >= 1 && o->seconds <= 3600 && o->threads >= 1 && o->threads <= 64;
}

bool connections_main(int argc, char **argv, int *status_out)
{
    struct connections_options o = {
        .sessions = 10000, .folders = 1, .messages = 10000, .rounds = 2000, .settle = 12, .seconds = 5, .threads = 4};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where the store goes (.)", "DIR"},
        {"messages", 0, 0, G_OPTION_ARG_INT, &o.messages, "in each folder (10000)", "N"},
        {"folders", 0, 0, G_OPTION_ARG_INT, &o.folders, "idle: among which the sessions are spread (1)", "N"},
        {"scattered", 0, 0, G_OPTION_ARG_NONE, &o.scattered, "idle: UIDs with gaps between them", NULL},
        {"levels", 0, 0, G_OPTION_ARG_STRING, &o.levels, "only those, with commas: plain,tls,... (all)", "LIST"},
        {"sessions", 0, 0, G_OPTION_ARG_INT, &o.sessions, "idle: of each level (10000)", "N"},
        {"rounds", 0, 0, G_OPTION_ARG_INT, &o.rounds, "idle: FETCHes of the busy session, alone and among them (2000)",
         "N"},
        {"settle", 0, 0, G_OPTION_ARG_INT, &o.settle, "idle: seconds of quiet before memory is read (12)", "S"},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, "connect: of each level (5)", "S"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &o.threads, "of clients that connect (4)", "N"},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    GError *gerror = NULL;
    if (argc < 2 || (strcmp(argv[1], "idle") != 0 && strcmp(argv[1], "connect") != 0))
        return false;
    o.connect = strcmp(argv[1], "connect") == 0;
    GOptionContext *context = g_option_context_new("idle|connect - what connections cost a server");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &gerror) || argc != 2 || !in_bounds(&o)) {
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
    g_free(o.levels);
    return true;
}

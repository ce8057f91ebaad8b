/*
 * mds serve: the store's archives over IMAP, until SIGINT or SIGTERM.
 */
#include "cli.h"

#include "base/log.h"
#include "imap/server.h"

#include <mds/query.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct serve_options {
    char *store, *listen;
    int loops, threads, max_sessions, login_s, idle_s;
    gboolean verbose;
};

static void print_log(enum log_level level, const char *line, void *arg)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char when[32];
    struct tm tm;
    const time_t now = time(NULL);
    (void)arg;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    fprintf(stderr, "%s %s %s\n", when, names[level], line);
}

static bool is_loopback_name(const char *listen)
{
    return g_str_has_prefix(listen, "127.") || g_str_has_prefix(listen, "localhost:") || g_str_has_prefix(listen, "[::1]:");
}

static void on_listen(const char *address, unsigned port, void *arg)
{
    (void)arg;
    printf(strchr(address, ':') ? "mds: listening on [%s]:%u\n" : "mds: listening on %s:%u\n", address, port);
    fflush(stdout);
}

static int serve(const struct serve_options *o)
{
    struct mdsq_store *store = NULL;
    struct mdsq_error why = {0};
    struct error err = {0};
    /* Before the store is opened: a signal during a slow start stops it too. */
    const volatile int *stop = cli_cancel_on_signals();
    int rc = mdsq_store_open(o->store, MDSQ_STORE_WRITE, &store, &why);
    if (rc < 0) {
        error_set(&err, (enum base_err)rc, why.sys, "%s", why.text);
        return cli_fail(&err);
    }
    log_set_sink(print_log, NULL, o->verbose ? LOG_LEVEL_INFO : LOG_LEVEL_WARN);
    if (!is_loopback_name(o->listen))
        cli_note("%s is reachable from outside: as there is no TLS yet, LOGIN is refused there (LOGINDISABLED) except to "
                 "clients of this machine's loopback",
                 o->listen);
    const struct imap_server_settings settings = {
        .store = store,
        .listen = o->listen,
        .loops = (unsigned)o->loops,
        .threads = (unsigned)o->threads,
        .max_sessions = (uint32_t)o->max_sessions,
        .limits = {.login_ms = (uint32_t)o->login_s * 1000, .idle_ms = (uint32_t)o->idle_s * 1000},
        .on_listen = on_listen,
        .stop = stop,
    };
    rc = imap_serve(&settings, &err);
    mdsq_store_close(&store);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_options o = {0};
    const GOptionEntry entries[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &o.store, "the store's directory", "DIR"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &o.listen, "address, port 0 for any; default 127.0.0.1:1143", "HOST:PORT"},
        {"loops", 0, 0, G_OPTION_ARG_INT, &o.loops, "event loops; default one a core", "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &o.threads, "threads that read the store; default four a core", "N"},
        {"max-sessions", 0, 0, G_OPTION_ARG_INT, &o.max_sessions, "clients at a time; default 10000", "N"},
        {"login-timeout", 0, 0, G_OPTION_ARG_INT, &o.login_s, "seconds to log in; default 60", "S"},
        {"idle-timeout", 0, 0, G_OPTION_ARG_INT, &o.idle_s, "seconds without a command; default 1800", "S"},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &o.verbose, "log what is ordinary too", NULL},
        {0},
    };
    int status = cli_options(&argc, &argv, entries, "", "Serves the archives of a store over IMAP.",
                             "Logins are made with `mds user add`. Passwords are taken only on loopback connections.");
    if (status < 0 && argc > 1)
        status = cli_usage("unexpected argument '%s'", argv[1]);
    if (status < 0 && !o.store)
        status = cli_usage("--store is missing");
    if (status < 0 && (o.loops < 0 || o.loops > 64 || o.threads < 0 || o.threads > 1024 || o.max_sessions < 0 ||
                       o.login_s < 0 || o.login_s > 86400 || o.idle_s < 0 || o.idle_s > 7 * 86400))
        status = cli_usage("a number is out of range");
    if (status < 0) {
        if (!o.listen)
            o.listen = g_strdup("127.0.0.1:1143");
        status = serve(&o);
    }
    g_free(o.store);
    g_free(o.listen);
    return status;
}

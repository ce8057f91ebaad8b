/*
 * mds serve: the store's archives over IMAP, until SIGINT or SIGTERM. What it does is ruled by a configuration file (mds.conf(5)), or by the command line
 * alone for a server of this machine; SIGHUP reads the file again.
 */
#include "cli.h"

#include "base/log.h"
#include "conf.h"
#include "event_log.h"
#include "index_child.h"
#include "metrics.h"
#include "serve_events.h"

#include <mds/query.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct serve_options {
    char *config, *store, *listen, *durability;
    int loops, threads, max_sessions, login_s, idle_s;
    gboolean verbose, check, show;
};

struct serve {
    const struct serve_options *options;
    struct conf *conf; /* of the last reload that went well */
    struct event_log *log;
    struct metrics *metrics;
    struct serve_events *events;
    struct mdsq_store *store;
    struct index_child *indexing; /* NULL: it does not run yet, or any more */
};

static volatile int reload_flag; /* written by the signal handler only */

static void on_hangup(int sig)
{
    (void)sig;
    reload_flag++;
}

static void on_listen(const char *address, unsigned port, void *arg)
{
    (void)arg;
    printf(strchr(address, ':') ? "mds: listening on [%s]:%u\n" : "mds: listening on %s:%u\n", address, port);
    fflush(stdout);
}

static bool is_loopback_name(const char *listen)
{
    return g_str_has_prefix(listen, "127.") || g_str_has_prefix(listen, "localhost:") || g_str_has_prefix(listen, "[::1]:");
}

/* ---- settings -------------------------------------------------------------------------------------- */

/* What the command line says goes over what the file says. */
static int take_options(const struct serve_options *o, struct conf *conf, struct error *err)
{
    if (o->store) {
        g_free(conf->store.path);
        conf->store.path = g_strdup(o->store);
    }
    if (o->durability)
        conf->store.durability = strcmp(o->durability, "relaxed") == 0;
    if (o->loops)
        conf->server.loops = (uint64_t)o->loops;
    if (o->threads)
        conf->server.threads = (uint64_t)o->threads;
    if (o->max_sessions)
        conf->limits.connections = (uint64_t)o->max_sessions;
    if (o->login_s)
        conf->limits.login = (uint64_t)o->login_s;
    if (o->idle_s)
        conf->limits.idle = (uint64_t)o->idle_s;
    if (!o->config)
        conf->log.level = LOG_LEVEL_WARN;
    if (o->verbose && conf->log.level < LOG_LEVEL_INFO)
        conf->log.level = LOG_LEVEL_INFO;
    if (!conf->store.path)
        return error_set(err, BASE_ERR_USAGE, 0, "--store is missing, and path in [store] of a configuration");
    if (o->config && !o->listen && conf->listeners_n == 0)
        return error_set(err, BASE_ERR_USAGE, 0, "%s: there is no [listener NAME]", o->config);
    return BASE_OK;
}

static int read_conf(const struct serve_options *o, struct conf **out, struct error *err)
{
    int rc = BASE_OK;
    *out = NULL;
    if (o->config)
        rc = conf_read(o->config, out, err);
    else
        *out = conf_new();
    if (rc == BASE_OK)
        rc = take_options(o, *out, err);
    if (rc < 0)
        conf_free(out);
    return rc;
}

static void fill_settings(struct serve *s, struct conf *conf, struct imap_server_settings *out)
{
    conf_settings(conf, out);
    if (s->options->listen) { /* the command line's listener alone */
        out->listeners = NULL;
        out->listeners_n = 0;
        out->listen = s->options->listen;
    }
    out->on_listen = on_listen;
    out->events = s->events ? serve_events_of(s->events) : NULL;
    out->arg = s;
    out->reload_asked = &reload_flag;
}

static void apply(struct serve *s, const struct conf *conf)
{
    struct mdsq_login_settings login;
    conf_login_settings(conf, &login);
    mdsq_login_configure(s->store, &login);
    mdsq_store_configure(s->store, &(struct mdsq_store_settings){.log_rows = conf->store.log_rows});
    serve_events_configure(s->events, conf);
    if (s->indexing)
        index_child_configure(s->indexing, &conf->search);
}

/* What searches in progress and the index's process rest on is not changed under them. */
static void tell_what_stays(const struct conf *now, const struct conf *fresh)
{
    if (now->search.text_headers != fresh->search.text_headers || g_strcmp0(now->search.trace_fields, fresh->search.trace_fields) != 0)
        log_to(LOG_LEVEL_WARN, "serve: text-headers and trace-fields are taken at the next start, not by a reload");
}

/* On the server's thread, after SIGHUP. Log files are opened anew in any case. */
static int reload(struct imap_server_settings *fresh, void *arg, struct error *err)
{
    struct serve *s = arg;
    struct conf *conf = NULL;
    int rc = read_conf(s->options, &conf, err);
    if (rc < 0) {
        (void)event_log_configure(s->log, &s->conf->log, NULL);
        return rc;
    }
    fill_settings(s, conf, fresh);
    rc = imap_server_check(fresh, err);
    if (rc == BASE_OK)
        rc = event_log_configure(s->log, &conf->log, err);
    if (rc < 0) {
        conf_free(&conf);
        return rc;
    }
    tell_what_stays(s->conf, conf);
    apply(s, conf);
    conf_free(&s->conf);
    s->conf = conf;
    return BASE_OK;
}

/* ---- the server ------------------------------------------------------------------------------------ */

static int store_open(struct serve *s, struct error *err)
{
    struct mdsq_error why = {0};
    const unsigned flags = MDSQ_STORE_WRITE | (s->conf->store.durability ? MDSQ_STORE_RELAXED : 0);
    const int rc = mdsq_store_open(s->conf->store.path, flags, &s->store, &why);
    if (rc < 0)
        return error_set(err, (enum base_err)rc, why.sys, "%s", why.text);
    mdsq_store_set_search(s->store, &(struct mdsq_search_settings){.text_literal = s->conf->search.text_headers == CONF_TEXT_ALL,
                                                                   .trace_fields = s->conf->search.trace_fields});
    return BASE_OK;
}

static int metrics_start(struct serve *s, const struct imap_server *server, struct metrics_server **out, struct error *err)
{
    unsigned port = 0;
    if (!s->conf->metrics.enabled || !s->conf->metrics.listen)
        return BASE_OK;
    const int rc = metrics_serve(s->metrics, s->store, server, s->conf->metrics.listen, out, &port, err);
    if (rc == BASE_OK) {
        printf("mds: metrics on port %u\n", port);
        fflush(stdout);
    }
    return rc;
}

static int run(struct serve *s, struct imap_server *server, struct error *err)
{
    struct metrics_server *metrics = NULL;
    int rc = store_open(s, err);
    if (rc == BASE_OK)
        rc = metrics_start(s, server, &metrics, err);
    if (rc == BASE_OK) {
        apply(s, s->conf);
        s->indexing = index_child_start(s->conf->store.path, &s->conf->search);
        metrics_set_indexing(s->metrics, s->indexing);
        rc = imap_server_run(server, s->store, err);
    }
    metrics_stop(&metrics);
    metrics_set_indexing(s->metrics, NULL);
    index_child_stop(&s->indexing);
    return rc;
}

static int serve(const struct serve_options *o)
{
    struct serve s = {.options = o};
    struct error err = {0};
    struct imap_server_settings settings = {.reload = reload};
    struct imap_server *server = NULL;
    /* Before the store is opened: a signal during a slow start stops it too. */
    const volatile int *stop = cli_cancel_on_signals();
    struct sigaction hangup = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    int rc = read_conf(o, &s.conf, &err);
    if (rc < 0)
        return cli_fail(&err);
    if (o->listen && !o->check && !is_loopback_name(o->listen))
        cli_note("%s is reachable from outside and without TLS, which only a configuration gives: passwords are refused there "
                 "(LOGINDISABLED) except to clients of this machine's loopback",
                 o->listen);
    sigemptyset(&hangup.sa_mask);
    sigaction(SIGHUP, &hangup, NULL);
    s.metrics = metrics_new();
    settings.stop = stop;
    fill_settings(&s, s.conf, &settings);
    if (o->check) {
        rc = imap_server_check(&settings, &err);
    } else {
        /* Files of the log are opened as the user that the process becomes, who has to open them again after SIGHUP. */
        const struct conf_log until_then = {.format = s.conf->log.format, .level = s.conf->log.level};
        rc = event_log_new(&until_then, &s.log, &err);
        if (rc == BASE_OK) {
            s.events = serve_events_new(s.log, s.metrics);
            settings.events = serve_events_of(s.events);
            log_set_sink(event_log_line, s.log, LOG_LEVEL_DEBUG);
            rc = imap_server_open(&settings, &server, &err);
        }
        if (rc == BASE_OK)
            rc = event_log_configure(s.log, &s.conf->log, &err);
        if (rc == BASE_OK)
            rc = run(&s, server, &err);
    }
    imap_server_close(&server);
    log_set_sink(NULL, NULL, LOG_LEVEL_ERROR);
    mdsq_store_close(&s.store);
    serve_events_free(&s.events);
    event_log_free(&s.log);
    metrics_free(&s.metrics);
    conf_free(&s.conf);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

/* One line a setting: group, key, what is allowed, default. mds.conf(5) is held against it. */
static void show_settings(void)
{
    for (size_t i = 0; i < conf_groups_n; i++)
        for (size_t k = 0; k < conf_groups[i].keys_n; k++) {
            const struct conf_key *key = &conf_groups[i].keys[k];
            char *allowed = conf_allowed(key);
            printf("%s%s\t%s\t%s\t%s\n", conf_groups[i].name, conf_groups[i].repeated ? " NAME" : "", key->name, allowed,
                   key->initial ? key->initial : "-");
            g_free(allowed);
        }
}

static int check_options(const struct serve_options *o)
{
    if (!o->store && !o->config)
        return cli_usage("--store or --config is missing");
    if (o->durability && strcmp(o->durability, "strict") != 0 && strcmp(o->durability, "relaxed") != 0)
        return cli_usage("--durability is strict or relaxed, not '%s'", o->durability);
    if (o->loops < 0 || o->loops > 64 || o->threads < 0 || o->threads > 1024 || o->max_sessions < 0 || o->login_s < 0 ||
        o->login_s > 86400 || o->idle_s < 0 || o->idle_s > 7 * 86400)
        return cli_usage("a number is out of range");
    return -1;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_options o = {0};
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &o.config, "the configuration, see mds.conf(5)", "FILE"},
        {"check", 0, 0, G_OPTION_ARG_NONE, &o.check, "only see whether the configuration, its certificates and keys are right", NULL},
        {"show-settings", 0, 0, G_OPTION_ARG_NONE, &o.show, "print all settings that a configuration may hold, with their defaults", NULL},
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &o.store, "the store's directory", "DIR"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &o.listen, "one address instead of the configuration's, port 0 for any; default 127.0.0.1:1143", "HOST:PORT"},
        {"durability", 0, 0, G_OPTION_ARG_STRING, &o.durability, "strict (default): what is answered survives a power cut; relaxed: most of it", "HOW"},
        {"loops", 0, 0, G_OPTION_ARG_INT, &o.loops, "event loops; default one a core", "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &o.threads, "threads that read the store; default four a core", "N"},
        {"max-sessions", 0, 0, G_OPTION_ARG_INT, &o.max_sessions, "clients at a time; default 10000", "N"},
        {"login-timeout", 0, 0, G_OPTION_ARG_INT, &o.login_s, "seconds to log in; default 60", "S"},
        {"idle-timeout", 0, 0, G_OPTION_ARG_INT, &o.idle_s, "seconds without a command; default 1800", "S"},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &o.verbose, "log what is ordinary too", NULL},
        {0},
    };
    int status = cli_options(&argc, &argv, entries, "", "Serves the archives of a store over IMAP.",
                             "Logins are made with `mds user add`. Without a configuration passwords are taken on loopback connections only.\n"
                             "SIGHUP reads the configuration and the certificates again and opens log files anew.");
    if (status < 0 && argc > 1)
        status = cli_usage("unexpected argument '%s'", argv[1]);
    if (status < 0 && o.show) {
        show_settings();
        status = CLI_DONE;
    }
    if (status < 0)
        status = check_options(&o);
    if (status < 0) {
        if (!o.listen && !o.config)
            o.listen = g_strdup("127.0.0.1:1143");
        status = serve(&o);
    }
    g_free(o.config);
    g_free(o.store);
    g_free(o.listen);
    g_free(o.durability);
    return status;
}

/* serve_events: see serve_events.h. */
#include "serve_events.h"

#include <glib.h>
#include <pthread.h>

struct serve_events {
    struct imap_events events;
    struct event_log *log;
    struct metrics *metrics;
    pthread_mutex_t lock;      /* guards all below */
    const struct conf *conf;   /* may be NULL */
    GHashTable *logged_in;     /* ids of connections (as pointers) to the account's name */
};

/* What every line of a connection begins with. */
#define OF(t) EVENT_NUMBER("connection", (t)->id), EVENT_TEXT("peer", (t)->peer), EVENT_TEXT("listener", (t)->listener)

static void *id_of(const struct imap_transport *t)
{
    return GSIZE_TO_POINTER((gsize)t->id);
}

static void on_opened(void *arg, const struct imap_transport *t)
{
    struct serve_events *e = arg;
    const struct event_field fields[] = {OF(t), EVENT_TEXT("tls", t->tls ? "yes" : "no")};
    metrics_opened(e->metrics, t->tls);
    event_log_event(e->log, LOG_LEVEL_DEBUG, "imap: connected", fields, G_N_ELEMENTS(fields));
}

static void on_closed(void *arg, const struct imap_transport *t, const struct imap_closed_event *c)
{
    struct serve_events *e = arg;
    (void)pthread_mutex_lock(&e->lock);
    char *account = g_strdup(g_hash_table_lookup(e->logged_in, id_of(t)));
    (void)g_hash_table_remove(e->logged_in, id_of(t));
    (void)pthread_mutex_unlock(&e->lock);
    const struct event_field fields[] = {
        OF(t),
        EVENT_TEXT("account", account),
        EVENT_TEXT("why", c->why),
        EVENT_NUMBER("seconds", c->ns / 1000000000),
        EVENT_NUMBER("bytes_in", c->bytes_in),
        EVENT_NUMBER("bytes_out", c->bytes_out),
        EVENT_NUMBER("commands", c->commands),
    };
    event_log_event(e->log, account ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "imap: disconnected", fields, G_N_ELEMENTS(fields));
    g_free(account);
}

static void on_refused(void *arg, const char *listener, const char *peer, enum imap_refused why)
{
    static const char *const names[] = {"connections", "connections of the address", "connections of the account", "descriptors", "tls"};
    struct serve_events *e = arg;
    const struct event_field fields[] = {EVENT_TEXT("peer", peer), EVENT_TEXT("listener", listener),
                                         EVENT_TEXT("limit", (size_t)why < G_N_ELEMENTS(names) ? names[why] : "?")};
    metrics_refused(e->metrics, why);
    event_log_event(e->log, why == IMAP_REFUSED_TLS ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "imap: refused", fields, G_N_ELEMENTS(fields));
}

static void on_tls(void *arg, const struct imap_transport *t, bool resumed, uint64_t ns)
{
    struct serve_events *e = arg;
    const struct event_field fields[] = {
        OF(t),
        EVENT_TEXT("version", t->tls_version),
        EVENT_TEXT("cipher", t->tls_cipher),
        EVENT_TEXT("name", t->tls_name),
        EVENT_TEXT("resumed", resumed ? "yes" : "no"),
        EVENT_NUMBER("ms", ns / 1000000),
    };
    metrics_tls(e->metrics, resumed);
    event_log_event(e->log, LOG_LEVEL_DEBUG, "imap: tls", fields, G_N_ELEMENTS(fields));
}

static void on_login(void *arg, const struct imap_transport *t, const struct imap_login_event *l)
{
    struct serve_events *e = arg;
    const struct event_field ok[] = {
        OF(t),
        EVENT_TEXT("account", l->account),
        EVENT_TEXT("archive", l->archive),
        EVENT_TEXT("mechanism", l->mechanism),
        EVENT_TEXT("tls", t->tls ? t->tls_version : "no"),
        EVENT_TEXT("remembered", l->remembered ? "yes" : "no"),
    };
    const struct event_field failed[] = {OF(t), EVENT_TEXT("account", l->account), EVENT_TEXT("mechanism", l->mechanism),
                                         EVENT_TEXT("tls", t->tls ? t->tls_version : "no"), EVENT_TEXT("why", l->why)};
    metrics_login(e->metrics, l);
    if (l->ok) {
        (void)pthread_mutex_lock(&e->lock);
        (void)g_hash_table_replace(e->logged_in, id_of(t), g_strdup(l->account));
        (void)pthread_mutex_unlock(&e->lock);
        event_log_event(e->log, LOG_LEVEL_INFO, "imap: login", ok, G_N_ELEMENTS(ok));
        event_log_audit(e->log, "audit: login", ok, G_N_ELEMENTS(ok));
    } else {
        event_log_event(e->log, LOG_LEVEL_WARN, "imap: login failed", failed, G_N_ELEMENTS(failed));
        event_log_audit(e->log, "audit: login failed", failed, G_N_ELEMENTS(failed));
    }
}

static void on_command(void *arg, const struct imap_transport *t, const struct imap_command_event *c)
{
    static const char *const status[] = {"OK", "NO", "BAD"};
    struct serve_events *e = arg;
    const struct event_field fields[] = {EVENT_NUMBER("connection", t->id), EVENT_TEXT("command", c->name),
                                         EVENT_TEXT("status", c->status >= 0 && c->status < 3 ? status[c->status] : "?"),
                                         EVENT_NUMBER("us", c->ns / 1000), EVENT_NUMBER("cpu_us", c->cpu_ns / 1000)};
    metrics_command(e->metrics, c);
    event_log_event(e->log, LOG_LEVEL_DEBUG, "imap: command", fields, G_N_ELEMENTS(fields));
}

static void on_audit(void *arg, const struct imap_transport *t, const struct imap_audit_event *a)
{
    struct serve_events *e = arg;
    struct event_field fields[12] = {OF(t)};
    size_t n = 3;
    (void)pthread_mutex_lock(&e->lock);
    char *account = g_strdup(g_hash_table_lookup(e->logged_in, id_of(t)));
    (void)pthread_mutex_unlock(&e->lock);
    fields[n++] = EVENT_TEXT("account", account);
    if (a->archive)
        fields[n++] = EVENT_TEXT("archive", a->archive);
    if (a->folder)
        fields[n++] = EVENT_TEXT("folder", a->folder);
    if (a->to)
        fields[n++] = EVENT_TEXT("to", a->to);
    if (a->uids)
        fields[n++] = EVENT_TEXT("uids", a->uids);
    fields[n++] = EVENT_NUMBER("count", a->count);
    char *what = g_strdup_printf("audit: %s", a->action);
    event_log_audit(e->log, what, fields, n);
    g_free(what);
    g_free(account);
}

static void on_reloaded(void *arg, const char *err)
{
    struct serve_events *e = arg;
    const struct event_field field = EVENT_TEXT("error", err);
    metrics_reloaded(e->metrics, err == NULL);
    event_log_event(e->log, err ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, err ? "serve: configuration not read, the old one stays" : "serve: configuration read",
                    &field, err ? 1 : 0);
}

static char *on_mask(void *arg, const struct imap_transport *t, const char *account, const char *client)
{
    struct serve_events *e = arg;
    (void)pthread_mutex_lock(&e->lock);
    char *mask = e->conf ? conf_mask_of(e->conf, account, t->peer, client) : NULL;
    (void)pthread_mutex_unlock(&e->lock);
    return mask;
}

struct serve_events *serve_events_new(struct event_log *log, struct metrics *metrics)
{
    struct serve_events *e = g_new0(struct serve_events, 1);
    e->log = log;
    e->metrics = metrics;
    (void)pthread_mutex_init(&e->lock, NULL);
    e->logged_in = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    e->events = (struct imap_events){
        .arg = e,
        .opened = on_opened,
        .closed = on_closed,
        .refused = on_refused,
        .tls_done = on_tls,
        .login = on_login,
        .command = on_command,
        .audit = on_audit,
        .reloaded = on_reloaded,
        .mask = on_mask,
    };
    return e;
}

void serve_events_free(struct serve_events **e)
{
    struct serve_events *x = *e;
    if (!x)
        return;
    *e = NULL;
    g_hash_table_destroy(x->logged_in);
    (void)pthread_mutex_destroy(&x->lock);
    g_free(x);
}

void serve_events_configure(struct serve_events *e, const struct conf *conf)
{
    (void)pthread_mutex_lock(&e->lock);
    e->conf = conf;
    (void)pthread_mutex_unlock(&e->lock);
}

const struct imap_events *serve_events_of(const struct serve_events *e)
{
    return &e->events;
}

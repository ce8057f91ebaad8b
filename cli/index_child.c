/* index_child: see index_child.h. */
#include "index_child.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 200, RESTART_FIRST_S = 1, RESTART_MAX_S = 60, SAID_MAX = 8192, END_MS = 5000 };

struct index_child {
    char *store, *trace_fields; /* permanent */
    GThread *thread;
    atomic_bool stop;
    atomic_bool enabled; /* settings: written by configure, which then counts up `configured` */
    atomic_uint_fast64_t rate, configured;
    atomic_uint_fast64_t items, failed, text_bytes, starts;
    atomic_bool running;
};

/* ---- what it says ------------------------------------------------------------------------------------ */

static uint64_t number_of(const json_t *o, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(o, key));
    return n > 0 ? (uint64_t)n : 0;
}

/* One line of `mds index --watch`. */
static void take_line(struct index_child *c, const char *line)
{
    json_t *o = json_loads(line, 0, NULL);
    const char *error = json_string_value(json_object_get(o, "error"));
    const char *archive = json_string_value(json_object_get(o, "archive"));
    if (archive) {
        atomic_fetch_add(&c->items, number_of(o, "items"));
        atomic_fetch_add(&c->failed, number_of(o, "failed"));
        atomic_fetch_add(&c->text_bytes, number_of(o, "text_bytes"));
        if (error)
            log_to(LOG_LEVEL_WARN, "index: archive=%s: %s", archive, error);
        else
            log_to(LOG_LEVEL_INFO, "index: archive=%s items=%" PRIu64 " failed=%" PRIu64 " indexed=%" PRIu64, archive,
                   number_of(o, "items"), number_of(o, "failed"), number_of(o, "indexed"));
    }
    json_decref(o);
}

static void take(struct index_child *c, GString *text, const char *p, size_t n)
{
    char *lf;
    g_string_append_len(text, p, (gssize)n);
    while ((lf = memchr(text->str, '\n', text->len)) != NULL) {
        *lf = 0;
        take_line(c, text->str);
        g_string_erase(text, 0, lf - text->str + 1);
    }
    if (text->len > SAID_MAX)
        g_string_truncate(text, 0);
}

/* ---- the process ------------------------------------------------------------------------------------- */

static bool start(const struct index_child *c, GPid *pid, int *out)
{
    char *parent = g_strdup_printf("%ld", (long)getpid());
    char *rate = g_strdup_printf("%" PRIuFAST64, atomic_load(&c->rate));
    const char *argv[] = {"/proc/self/exe", "index",      "--idle", "--progress",
                          "none",           "--store",    c->store, "--watch",
                          parent,           "--max-rate", rate,     c->trace_fields ? "--trace-fields" : NULL,
                          c->trace_fields,  NULL};
    GError *error = NULL;
    const gboolean ok = g_spawn_async_with_pipes(NULL, (gchar **)(uintptr_t)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                                 NULL, pid, NULL, out, NULL, &error);
    if (!ok)
        log_to(LOG_LEVEL_WARN, "index: cannot start: %s", error->message);
    g_clear_error(&error);
    g_free(parent);
    g_free(rate);
    return ok;
}

/* It is stopped, or has other settings than it began with. */
static bool is_over(const struct index_child *c, uint64_t configured)
{
    return atomic_load(&c->stop) || atomic_load(&c->configured) != configured;
}

/* Until it closes its side, or is over. */
static void listen_to(struct index_child *c, int fd, uint64_t configured)
{
    GString *text = g_string_new(NULL);
    while (!is_over(c, configured)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char buffer[4096];
        if (poll(&p, 1, LOOK_MS) <= 0)
            continue;
        const ssize_t n = read(fd, buffer, sizeof buffer);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        if (n > 0)
            take(c, text, buffer, (size_t)n);
    }
    g_string_free(text, TRUE);
}

/* It ends between two items; if not, it is killed, which costs what it had not written yet. */
static int end(GPid pid)
{
    int status = 0;
    (void)kill(pid, SIGTERM);
    for (int ms = 0; ms < END_MS; ms += 20) {
        if (waitpid(pid, &status, WNOHANG) != 0)
            return status;
        g_usleep(20 * 1000);
    }
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* One process, from its start to its end. */
static void run_one(struct index_child *c, uint64_t configured)
{
    GPid pid = 0;
    int fd = -1;
    if (!start(c, &pid, &fd))
        return;
    atomic_fetch_add(&c->starts, 1);
    atomic_store(&c->running, true);
    listen_to(c, fd, configured);
    close(fd);
    const int status = end(pid);
    g_spawn_close_pid(pid);
    atomic_store(&c->running, false);
    if (!is_over(c, configured))
        log_to(LOG_LEVEL_WARN, "index: the process ended: status=%d", status);
}

static void *supervise(void *arg)
{
    struct index_child *c = arg;
    unsigned wait_s = RESTART_FIRST_S;
    while (!atomic_load(&c->stop)) {
        const uint64_t configured = atomic_load(&c->configured); /* before the settings: they are these, or newer */
        const bool enabled = atomic_load(&c->enabled);
        const gint64 began = g_get_monotonic_time();
        if (enabled)
            run_one(c, configured);
        if (g_get_monotonic_time() - began > (gint64)RESTART_MAX_S * 1000000)
            wait_s = RESTART_FIRST_S;
        for (unsigned ms = 0; (!enabled || ms < wait_s * 1000) && !is_over(c, configured); ms += LOOK_MS)
            g_usleep(LOOK_MS * 1000);
        wait_s = wait_s * 2 < RESTART_MAX_S ? wait_s * 2 : RESTART_MAX_S;
        if (atomic_load(&c->configured) != configured)
            wait_s = RESTART_FIRST_S;
    }
    return NULL;
}

struct index_child *index_child_start(const char *store, const struct conf_search *settings)
{
    struct index_child *c = g_new0(struct index_child, 1);
    c->store = g_strdup(store);
    c->trace_fields = g_strdup(settings->trace_fields);
    atomic_store(&c->rate, settings->rate);
    atomic_store(&c->enabled, settings->index);
    c->thread = g_thread_new("index", supervise, c);
    return c;
}

void index_child_configure(struct index_child *c, const struct conf_search *settings)
{
    if (atomic_load(&c->enabled) == (settings->index != 0) && atomic_load(&c->rate) == settings->rate)
        return;
    atomic_store(&c->rate, settings->rate);
    atomic_store(&c->enabled, settings->index);
    atomic_fetch_add(&c->configured, 1);
}

void index_child_stop(struct index_child **child)
{
    struct index_child *c = *child;
    *child = NULL;
    if (!c)
        return;
    atomic_store(&c->stop, true);
    g_thread_join(c->thread);
    g_free(c->store);
    g_free(c->trace_fields);
    g_free(c);
}

void index_child_counters(const struct index_child *c, struct index_child_counters *out)
{
    *out = (struct index_child_counters){
        .items = atomic_load(&c->items),
        .failed = atomic_load(&c->failed),
        .text_bytes = atomic_load(&c->text_bytes),
        .starts = atomic_load(&c->starts),
        .running = atomic_load(&c->running),
    };
}

/* metrics: see metrics.h. The endpoint is metrics_http.c. */
#include "metrics.h"

#include "index_child.h"

#include <glib.h>
#include <mds/query.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COMMANDS_MAX = 96, STATUSES = 3, MECHANISMS_MAX = 16 };

static const uint64_t bucket_ns[] = {500000,    1000000,   2500000,    5000000,    10000000,   25000000,   50000000,
                                     100000000, 250000000, 500000000, 1000000000, 2500000000, 5000000000, 10000000000};
static const char *const bucket_names[] = {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0"};
enum { BUCKETS = sizeof bucket_ns / sizeof bucket_ns[0] };
_Static_assert(sizeof bucket_names / sizeof bucket_names[0] == BUCKETS, "a name each");

typedef atomic_uint_fast64_t counter;

struct metrics {
    counter opened, opened_tls;
    counter refused[IMAP_REFUSED_TLS + 1];
    counter handshakes[2]; /* full, resumed */
    counter logins_remembered, reloads[2];
    struct index_child *_Atomic indexing; /* NULL: off */
    /* Slots are taken once each, by their name, which is static text of the server's. */
    struct {
        const char *_Atomic name;
        counter ok, failed;
    } mechanisms[MECHANISMS_MAX];
    struct {
        const char *_Atomic name;
        counter status[STATUSES], buckets[BUCKETS + 1], ns, cpu_ns;
    } commands[COMMANDS_MAX];
};

struct metrics *metrics_new(void)
{
    return g_new0(struct metrics, 1);
}

void metrics_free(struct metrics **m)
{
    g_clear_pointer(m, g_free);
}

static void add(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* True if this slot is the name's, from now on if it was free. */
static bool is_slot(const char *_Atomic *slot, const char *name)
{
    const char *there = NULL;
    if (atomic_compare_exchange_strong(slot, &there, name))
        return true;
    return there == name || strcmp(there, name) == 0;
}

/* ---- counting ------------------------------------------------------------------------------------------ */

void metrics_opened(struct metrics *m, bool tls)
{
    add(tls ? &m->opened_tls : &m->opened, 1);
}

void metrics_refused(struct metrics *m, enum imap_refused why)
{
    if (why <= IMAP_REFUSED_TLS)
        add(&m->refused[why], 1);
}

void metrics_tls(struct metrics *m, bool resumed)
{
    add(&m->handshakes[resumed], 1);
}

void metrics_login(struct metrics *m, const struct imap_login_event *e)
{
    if (e->ok && e->remembered)
        add(&m->logins_remembered, 1);
    for (size_t i = 0; i < MECHANISMS_MAX; i++) {
        if (!is_slot(&m->mechanisms[i].name, e->mechanism))
            continue;
        add(e->ok ? &m->mechanisms[i].ok : &m->mechanisms[i].failed, 1);
        return;
    }
}

void metrics_command(struct metrics *m, const struct imap_command_event *e)
{
    size_t bucket = 0;
    while (bucket < BUCKETS && e->ns > bucket_ns[bucket])
        bucket++;
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
        if (!is_slot(&m->commands[i].name, e->name))
            continue;
        add(&m->commands[i].status[e->status >= 0 && e->status < STATUSES ? e->status : STATUSES - 1], 1);
        add(&m->commands[i].buckets[bucket], 1);
        add(&m->commands[i].ns, e->ns);
        add(&m->commands[i].cpu_ns, e->cpu_ns);
        return;
    }
}

void metrics_reloaded(struct metrics *m, bool ok)
{
    add(&m->reloads[ok], 1);
}

/* ---- telling --------------------------------------------------------------------------------------------- */

static void family(struct buf *out, const char *name, const char *type, const char *unit, const char *help)
{
    buf_printf(out, "# TYPE %s %s\n", name, type);
    if (unit)
        buf_printf(out, "# UNIT %s %s\n", name, unit);
    buf_printf(out, "# HELP %s %s\n", name, help);
}

static void one(struct buf *out, const char *name, const char *type, const char *unit, const char *help, uint64_t value)
{
    family(out, name, type, unit, help);
    buf_printf(out, "%s%s %" G_GUINT64_FORMAT "\n", name, strcmp(type, "counter") == 0 ? "_total" : "", value);
}

static void put_seconds(struct buf *out, uint64_t ns)
{
    buf_printf(out, "%" G_GUINT64_FORMAT ".%09u\n", ns / 1000000000, (unsigned)(ns % 1000000000));
}

static void format_sessions(struct metrics *m, const struct imap_server *imap, struct buf *out)
{
    static const char *const refused[] = {"total", "address", "account", "descriptors", "tls"};
    static const char *const kinds[IMAP_SESSION_KINDS] = {"nonauthenticated", "authenticated", "selected", "idle"};
    struct imap_server_counters c;
    imap_server_counters(imap, &c);
    family(out, "mds_sessions", "gauge", NULL, "Connections now, by state; idle: in IDLE.");
    for (size_t i = 0; i < IMAP_SESSION_KINDS; i++)
        buf_printf(out, "mds_sessions{state=\"%s\"} %u\n", kinds[i], c.sessions[i]);
    family(out, "mds_connections", "counter", NULL, "Connections accepted, and whether they began with TLS.");
    buf_printf(out, "mds_connections_total{tls=\"false\"} %" G_GUINT64_FORMAT "\nmds_connections_total{tls=\"true\"} %" G_GUINT64_FORMAT "\n",
               get(&m->opened), get(&m->opened_tls));
    family(out, "mds_connections_refused", "counter", NULL, "Connections refused, by the limit that was met.");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        buf_printf(out, "mds_connections_refused_total{limit=\"%s\"} %" G_GUINT64_FORMAT "\n", refused[i], get(&m->refused[i]));
    family(out, "mds_tls_handshakes", "counter", NULL, "TLS handshakes done.");
    buf_printf(out, "mds_tls_handshakes_total{resumed=\"false\"} %" G_GUINT64_FORMAT "\nmds_tls_handshakes_total{resumed=\"true\"} %" G_GUINT64_FORMAT "\n",
               get(&m->handshakes[0]), get(&m->handshakes[1]));
    family(out, "mds_network_bytes", "counter", "bytes", "Bytes that came and went on the sockets, TLS included.");
    buf_printf(out, "mds_network_bytes_total{direction=\"in\"} %" G_GUINT64_FORMAT "\nmds_network_bytes_total{direction=\"out\"} %" G_GUINT64_FORMAT "\n",
               c.bytes_in, c.bytes_out);
}

static void format_logins(struct metrics *m, struct buf *out)
{
    family(out, "mds_logins", "counter", NULL, "Logins by mechanism.");
    for (size_t i = 0; i < MECHANISMS_MAX; i++) {
        const char *name = atomic_load(&m->mechanisms[i].name);
        if (name)
            buf_printf(out,
                       "mds_logins_total{mechanism=\"%s\",result=\"ok\"} %" G_GUINT64_FORMAT "\n"
                       "mds_logins_total{mechanism=\"%s\",result=\"failed\"} %" G_GUINT64_FORMAT "\n",
                       name, get(&m->mechanisms[i].ok), name, get(&m->mechanisms[i].failed));
    }
    one(out, "mds_logins_remembered", "counter", NULL, "Logins whose password was remembered.", get(&m->logins_remembered));
}

static void format_commands(struct metrics *m, struct buf *out)
{
    static const char *const status[STATUSES] = {"ok", "no", "bad"};
    family(out, "mds_commands", "counter", NULL, "Commands answered.");
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
        const char *name = atomic_load(&m->commands[i].name);
        for (size_t k = 0; name && k < STATUSES; k++)
            buf_printf(out, "mds_commands_total{command=\"%s\",status=\"%s\"} %" G_GUINT64_FORMAT "\n", name, status[k], get(&m->commands[i].status[k]));
    }
    family(out, "mds_command_cpu_seconds", "counter", "seconds", "Time spent inside runs of commands.");
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
        const char *name = atomic_load(&m->commands[i].name);
        if (!name)
            continue;
        buf_printf(out, "mds_command_cpu_seconds_total{command=\"%s\"} ", name);
        put_seconds(out, get(&m->commands[i].cpu_ns));
    }
    family(out, "mds_command_duration_seconds", "histogram", "seconds", "From a command's last byte to its answer.");
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
        const char *name = atomic_load(&m->commands[i].name);
        uint64_t sum = 0;
        for (size_t k = 0; name && k <= BUCKETS; k++) {
            sum += get(&m->commands[i].buckets[k]);
            buf_printf(out, "mds_command_duration_seconds_bucket{command=\"%s\",le=\"%s\"} %" G_GUINT64_FORMAT "\n", name,
                       k < BUCKETS ? bucket_names[k] : "+Inf", sum);
        }
        if (!name)
            continue;
        buf_printf(out, "mds_command_duration_seconds_count{command=\"%s\"} %" G_GUINT64_FORMAT "\n", name, sum);
        buf_printf(out, "mds_command_duration_seconds_sum{command=\"%s\"} ", name);
        put_seconds(out, get(&m->commands[i].ns));
    }
}

static void format_process(struct buf *out)
{
    unsigned long pages = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lu %lu %lu", &pages, &resident, &shared) != 3)
            pages = resident = shared = 0;
        fclose(f);
    }
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    unsigned open_fds = 0;
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    while (dir && g_dir_read_name(dir))
        open_fds++;
    if (dir)
        g_dir_close(dir);
    family(out, "mds_memory_bytes", "gauge", "bytes", "Memory of the process: resident, of it shared (the stores' maps), and address space.");
    buf_printf(out,
               "mds_memory_bytes{kind=\"resident\"} %" G_GUINT64_FORMAT "\nmds_memory_bytes{kind=\"shared\"} %" G_GUINT64_FORMAT
               "\nmds_memory_bytes{kind=\"virtual\"} %" G_GUINT64_FORMAT "\n",
               resident * page, shared * page, pages * page);
    one(out, "mds_descriptors", "gauge", NULL, "Open descriptors of the process.", open_fds);
}

static void format_commits(const struct mdsq_counters *c, struct buf *out)
{
    uint64_t sum = 0;
    family(out, "mds_commit_duration_seconds", "histogram", "seconds", "Commits of clients' changes, and the time that they took.");
    for (size_t i = 0; i < MDSQ_COMMIT_BUCKETS; i++) {
        const uint64_t us = c->commit_buckets[i].us;
        sum += c->commit_buckets[i].n;
        if (us == UINT64_MAX)
            buf_printf(out, "mds_commit_duration_seconds_bucket{le=\"+Inf\"} %" G_GUINT64_FORMAT "\n", sum);
        else
            buf_printf(out, "mds_commit_duration_seconds_bucket{le=\"%" G_GUINT64_FORMAT ".%06u\"} %" G_GUINT64_FORMAT "\n", us / 1000000,
                       (unsigned)(us % 1000000), sum);
    }
    buf_printf(out, "mds_commit_duration_seconds_count %" G_GUINT64_FORMAT "\nmds_commit_duration_seconds_sum ", sum);
    put_seconds(out, c->commit_us * 1000);
}

static void format_store(struct mdsq_store *store, struct buf *out)
{
    struct mdsq_counters c;
    mdsq_store_counters(store, &c);
    format_commits(&c, out);
    one(out, "mds_changes", "counter", NULL, "Changes applied in these commits.", c.changes);
    one(out, "mds_snapshots", "counter", NULL, "Read transactions begun.", c.snapshots);
    family(out, "mds_archives", "gauge", NULL, "Archives of the store, those that are open here, and of these without users.");
    buf_printf(out,
               "mds_archives{state=\"all\"} %" G_GUINT64_FORMAT "\nmds_archives{state=\"open\"} %" G_GUINT64_FORMAT
               "\nmds_archives{state=\"idle\"} %" G_GUINT64_FORMAT "\n",
               c.archives, c.archives_open, c.archives_idle);
    one(out, "mds_builds", "gauge", NULL, "Archives that a build or an import of any process works on.", c.builds);
    family(out, "mds_map_bytes", "gauge", "bytes", "Maps of the archives that are open here, together, and what is used of them.");
    buf_printf(out, "mds_map_bytes{part=\"all\"} %" G_GUINT64_FORMAT "\nmds_map_bytes{part=\"used\"} %" G_GUINT64_FORMAT "\n", c.map_bytes, c.used_bytes);
    family(out, "mds_login_cache", "counter", NULL, "Passwords that were remembered (hit), and that had to be hashed (miss).");
    buf_printf(out, "mds_login_cache_total{result=\"hit\"} %" G_GUINT64_FORMAT "\nmds_login_cache_total{result=\"miss\"} %" G_GUINT64_FORMAT "\n",
               c.logins_remembered, c.logins_hashed);
}

void metrics_set_indexing(struct metrics *m, struct index_child *child)
{
    atomic_store(&m->indexing, child);
}

static void format_indexing(struct metrics *m, struct buf *out)
{
    struct index_child_counters c;
    const struct index_child *child = atomic_load(&m->indexing);
    if (!child)
        return;
    index_child_counters(child, &c);
    one(out, "mds_index_running", "gauge", NULL, "1 while the process lives that indexes in the background.", c.running);
    one(out, "mds_index_starts", "counter", NULL, "Times that it was started.", c.starts);
    family(out, "mds_index_items", "counter", NULL, "Items indexed in the background, and those that could not be read, once each time they were tried.");
    buf_printf(out, "mds_index_items_total{result=\"ok\"} %" G_GUINT64_FORMAT "\nmds_index_items_total{result=\"failed\"} %" G_GUINT64_FORMAT "\n", c.items,
               c.failed);
    one(out, "mds_index_text_bytes", "counter", "bytes", "Decoded text that was indexed in the background.", c.text_bytes);
}

void metrics_format(struct metrics *m, struct mdsq_store *store, const struct imap_server *imap, struct buf *out)
{
    format_sessions(m, imap, out);
    format_logins(m, out);
    format_commands(m, out);
    format_store(store, out);
    format_indexing(m, out);
    format_process(out);
    family(out, "mds_reloads", "counter", NULL, "Times that the configuration was read again.");
    buf_printf(out, "mds_reloads_total{result=\"ok\"} %" G_GUINT64_FORMAT "\nmds_reloads_total{result=\"failed\"} %" G_GUINT64_FORMAT "\n",
               get(&m->reloads[1]), get(&m->reloads[0]));
    buf_append_str(out, "# EOF\n");
}

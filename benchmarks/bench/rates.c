/* rates: see rates.h. */
#include "rates.h"

#include "bench_measure.h"
#include "machine.h"
#include "side.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS_MAX 64
#define APPEND_BYTES 2000

struct options {
    char *work, *mds, *json, *sides;
    gint messages, seconds, repeats, idle;
    gboolean quick;
};

struct session {
    const struct options *o;
    const struct side *side;
    int (*step)(struct session *s, struct error *err);
    struct net_client *client; /* NULL: step dials */
    bool tls;
    unsigned number, n;
    gint64 until_us;
    GArray *us; /* guint32, of each step */
    struct error err;
    int rc;
};

/* One row on one side, over all repeats. */
struct cell {
    GArray *us;
    double seconds, server_cpu_s, client_cpu_s;
    char *note;
};

/* ---- steps ------------------------------------------------------------------------------------------------ */

/* Neighbours far from each other, and a new one each time: a port that was used waits a minute. */
static in_addr_t source_address(unsigned i)
{
    return htonl(127u << 24 | (1 + i % 250) << 16 | (i / 250 % 250) << 8 | (1 + i / 62500 % 250));
}

static struct net_client *begin_session(const struct side *side, bool tls, unsigned number, struct error *err)
{
    struct net_target target = tls ? side->tls : side->target;
    target.source = source_address(number);
    struct net_client *c = net_dial(&target, NULL, err);
    if (c && (net_log_in(c, &target, err) != 0 || net_ask(c, "SELECT INBOX", NULL, err) != 0))
        net_close(&c);
    return c;
}

static int step_login(struct session *s, struct error *err)
{
    struct net_client *c = begin_session(s->side, s->tls, s->number + s->n * SESSIONS_MAX, err);
    const int rc = c ? net_ask(c, "LOGOUT", NULL, err) : BASE_ERR_IO;
    net_close(&c);
    return rc;
}

/* Set in one pass over the session's share of the folder, taken back in the next: every one changes something. */
static int step_store(struct session *s, struct error *err)
{
    char line[80];
    const unsigned share = MAX((unsigned)s->o->messages / SESSIONS_MAX, 1u), k = s->n % share;
    g_snprintf(line, sizeof line, "UID STORE %u %cFLAGS.SILENT (\\Flagged)", s->number * share + k + 1,
               s->n / share % 2 ? '-' : '+');
    return net_ask(s->client, line, NULL, err);
}

static int step_append(struct session *s, struct error *err)
{
    GString *text = g_string_new(NULL);
    g_string_printf(text,
                    "From: Ann <ann@example.com>\r\nTo: Bob <bob@example.com>\r\nSubject: measured\r\n"
                    "Message-ID: <%u.%u.%" G_GINT64_FORMAT "@bench>\r\n\r\n",
                    s->number, s->n, g_get_monotonic_time());
    while (text->len < APPEND_BYTES)
        g_string_append(text, "words of a line that looks like all the others of this text\r\n");
    const int rc = net_append(s->client, "INBOX", text->str, text->len, err);
    g_string_free(text, TRUE);
    return rc;
}

static const struct {
    const char *name;
    unsigned sessions;
    bool dials, tls;
    int (*step)(struct session *s, struct error *err);
} rows[] = {
    {"login, SELECT, LOGOUT (4 at once)", 4, true, false, step_login},
    {"the same over TLS, full handshakes", 4, true, true, step_login},
    {"STORE, 1 session", 1, false, false, step_store},
    {"STORE, 16 sessions", 16, false, false, step_store},
    {"APPEND, 1 session", 1, false, false, step_append},
    {"APPEND, 16 sessions", 16, false, false, step_append},
};

#define ROWS G_N_ELEMENTS(rows)

/* ---- one row on one side ---------------------------------------------------------------------------------- */

static void *session_main(void *arg)
{
    struct session *s = arg;
    for (gint64 now = g_get_monotonic_time(); now < s->until_us && s->rc == 0; s->n++) {
        s->rc = s->step(s, &s->err);
        const gint64 then = g_get_monotonic_time();
        const guint32 us = (guint32)(then - now);
        if (s->rc == 0)
            g_array_append_val(s->us, us);
        now = then;
    }
    return NULL;
}

static void run_sessions(const struct options *o, size_t row, struct session *sessions, struct cell *cell)
{
    pthread_t threads[SESSIONS_MAX];
    const unsigned n = rows[row].sessions;
    const gint64 began = g_get_monotonic_time();
    unsigned running = 0;
    for (; running < n; running++) {
        sessions[running].until_us = began + (gint64)o->seconds * G_USEC_PER_SEC;
        if (pthread_create(&threads[running], NULL, session_main, &sessions[running]) != 0)
            break;
    }
    for (unsigned i = 0; i < running; i++)
        (void)pthread_join(threads[i], NULL);
    cell->seconds += (double)(g_get_monotonic_time() - began) / 1e6;
    for (unsigned i = 0; i < n; i++) {
        g_array_append_vals(cell->us, sessions[i].us->data, sessions[i].us->len);
        if ((sessions[i].rc != 0 || running < n) && !cell->note)
            cell->note = g_strdup(sessions[i].rc != 0 ? sessions[i].err.text : "no thread");
    }
}

static void measure_cell(const struct options *o, size_t row, const struct side *side, struct cell *cell)
{
    struct session *sessions = g_new0(struct session, SESSIONS_MAX);
    const unsigned n = rows[row].sessions;
    for (unsigned i = 0; i < n; i++) {
        sessions[i] = (struct session){.o = o, .side = side, .step = rows[row].step, .tls = rows[row].tls, .number = i};
        sessions[i].us = g_array_new(FALSE, FALSE, sizeof(guint32));
        if (!rows[row].dials && !cell->note && !(sessions[i].client = begin_session(side, false, i, &sessions[i].err)))
            cell->note = g_strdup(sessions[i].err.text);
    }
    const struct bench_tree before = bench_tree_look(side->server.pid);
    const double own = machine_own_cpu_s();
    if (!cell->note)
        run_sessions(o, row, sessions, cell);
    cell->client_cpu_s += machine_own_cpu_s() - own;
    cell->server_cpu_s += bench_tree_look(side->server.pid).cpu_s - before.cpu_s;
    for (unsigned i = 0; i < n; i++) {
        net_close(&sessions[i].client);
        g_array_free(sessions[i].us, TRUE);
    }
    g_free(sessions);
}

/* Private memory that n idle sessions add, a session. Where it cannot be had, *note says why. */
static double measure_idle(const struct side *side, bool tls, unsigned n, char **note)
{
    struct net_client **clients = g_new0(struct net_client *, n), *warm;
    struct error err = {0};
    unsigned begun = 0;
    if ((warm = begin_session(side, tls, n, &err)) == NULL)
        *note = g_strdup(err.text);
    const struct bench_tree before = bench_tree_look(side->server.pid);
    while (!*note && begun < n)
        if ((clients[begun] = begin_session(side, tls, begun, &err)) != NULL)
            begun++;
        else
            *note = g_strdup_printf("session %u: %s", begun, err.text);
    g_usleep(2 * G_USEC_PER_SEC);
    const struct bench_tree after = bench_tree_look(side->server.pid);
    for (unsigned i = 0; i < begun; i++)
        net_close(&clients[i]);
    net_close(&warm);
    g_free(clients);
    return *note ? -1 : ((double)after.private_bytes - (double)before.private_bytes) / n;
}

/* ---- results ---------------------------------------------------------------------------------------------- */

static int compare_us(const void *a, const void *b)
{
    const guint32 *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double quantile_ms(const GArray *sorted, double p)
{
    return sorted->len == 0 ? 0
                            : g_array_index(sorted, guint32, MIN((guint)(p * sorted->len), sorted->len - 1)) / 1000.0;
}

static void show_cell(const char *name, const struct side *side, struct cell *cell, json_t *out)
{
    const double n = cell->us->len, s = cell->seconds > 0 ? cell->seconds : 1;
    qsort(cell->us->data, cell->us->len, sizeof(guint32), compare_us);
    if (n > 0)
        printf("%-36s %-10s %10.0f %10.3f %10.3f %14.3f %9.0f", name, side->name, n / s, quantile_ms(cell->us, 0.5),
               quantile_ms(cell->us, 0.99), cell->server_cpu_s * 1000 / n, cell->client_cpu_s * 100 / s);
    else
        printf("%-36s %-10s %10s", name, side->name, "-");
    printf("%s%s%s\n", cell->note ? " (" : "", cell->note ? cell->note : "", cell->note ? ")" : "");
    fflush(stdout);
    json_array_append_new(out,
                          json_pack("{s:s,s:s,s:f,s:f,s:f,s:f,s:f,s:s}", "row", name, "side", side->name, "per_s",
                                    n / s, "p50_ms", quantile_ms(cell->us, 0.5), "p99_ms", quantile_ms(cell->us, 0.99),
                                    "server_cpu_ms", n > 0 ? cell->server_cpu_s * 1000 / n : 0, "client_cpu_percent",
                                    cell->client_cpu_s * 100 / s, "note", cell->note ? cell->note : ""));
}

static void measure_row(const struct options *o, size_t row, const struct side *sides, unsigned n, json_t *out)
{
    struct cell cells[SIDES_MAX] = {{0}};
    for (unsigned k = 0; k < n; k++)
        cells[k].us = g_array_new(FALSE, FALSE, sizeof(guint32));
    for (int i = 0; i < o->repeats; i++)
        for (unsigned k = 0; k < n; k++) {
            const unsigned at = ((unsigned)i + k) % n;
            if (rows[row].tls && !sides[at].has_tls && !cells[at].note)
                cells[at].note = g_strdup("no TLS");
            if (!sides[at].note && !cells[at].note)
                measure_cell(o, row, &sides[at], &cells[at]);
        }
    for (unsigned k = 0; k < n; k++) {
        if (!sides[k].note)
            show_cell(rows[row].name, &sides[k], &cells[k], out);
        g_array_free(cells[k].us, TRUE);
        g_free(cells[k].note);
    }
}

static void measure_idle_row(const struct options *o, bool tls, const struct side *sides, unsigned n, json_t *totals)
{
    for (unsigned k = 0; k < n; k++) {
        char *note = NULL;
        if (sides[k].note || (tls && !sides[k].has_tls))
            continue;
        const double bytes = measure_idle(&sides[k], tls, (unsigned)o->idle, &note);
        printf("memory of an idle %s session, of %-6d %-10s ", tls ? "TLS  " : "plain", o->idle, sides[k].name);
        if (note)
            printf("%10s (%s)\n", "-", note);
        else
            printf("%10.1f KiB\n", bytes / 1024);
        json_array_append_new(totals,
                              json_pack("{s:s,s:s,s:i,s:f,s:s}", "side", sides[k].name, "level", tls ? "tls" : "plain",
                                        "idle_sessions", o->idle, "private_bytes_a_session", note ? 0.0 : bytes, "note",
                                        note ? note : ""));
        g_free(note);
    }
}

/* ---- the run ---------------------------------------------------------------------------------------------- */

static bool wanted(const struct options *o, const char *side)
{
    char **list = g_strsplit(o->sides ? o->sides : o->quick ? "dovecot" : "dovecot,cyrus", ",", -1);
    const bool is = g_strv_contains((const gchar *const *)list, side);
    g_strfreev(list);
    return is;
}

static int start_sides(const struct options *o, const char *dir, struct side *sides, unsigned *n, struct error *err)
{
    char *vault = g_build_filename(dir, "vault", NULL), *store = g_build_filename(dir, "store", NULL),
         *gen = bench_sibling("mds-gen"), *messages = g_strdup_printf("%d", o->messages);
    char *argv[] = {gen, (char[]){"--quiet"}, (char[]){"--out"}, vault, (char[]){"--messages"}, messages, NULL};
    const struct side_place place = {.work = dir, .vault = vault, .mds = o->mds, .patience_s = 900};
    struct side *mds = &sides[(*n)++];
    mds->name = "mds";
    int rc = bench_run_beside(argv, err);
    rc = rc ? rc : side_mds_build(&place, store, mds, err);
    rc = rc ? rc : side_mds_start(&place, store, mds, err);
    if (rc == 0 && wanted(o, "dovecot"))
        rc = side_dovecot_start(&place, SIDE_PLAIN, &sides[(*n)++], err);
    if (rc == 0 && wanted(o, "cyrus"))
        side_cyrus_start(&place, &sides[(*n)++]);
    g_free(messages);
    g_free(gen);
    g_free(store);
    g_free(vault);
    return rc;
}

static int measure(const struct options *o, const char *dir, json_t *sides_out, json_t *rows_out, json_t *totals,
                   struct error *err)
{
    struct side sides[SIDES_MAX] = {{0}};
    unsigned n = 0;
    const int rc = start_sides(o, dir, sides, &n, err);
    for (unsigned k = 0; rc == 0 && k < n; k++) {
        printf("  %-10s %s %s\n", sides[k].name, sides[k].version ? sides[k].version : "",
               sides[k].note ? sides[k].note : "");
        json_array_append_new(sides_out, side_json(&sides[k]));
    }
    if (rc == 0)
        printf("%-36s %-10s %10s %10s %10s %14s %9s\n", "", "", "a second", "p50 ms", "p99 ms", "server CPU ms",
               "client%");
    for (size_t row = 0; rc == 0 && row < ROWS; row++)
        measure_row(o, row, sides, n, rows_out);
    if (rc == 0)
        for (int tls = 0; tls < 2; tls++)
            measure_idle_row(o, tls != 0, sides, n, totals);
    for (unsigned k = 0; k < n; k++)
        side_stop(&sides[k]);
    return rc;
}

static int run(const struct options *o)
{
    char *work = g_canonicalize_filename(o->work, NULL), *dir = g_build_filename(work, "mds-bench-rates.XXXXXX", NULL);
    json_t *sides = json_array(), *found = json_array(), *totals = json_array(), *machine = machine_json(work);
    struct error err = {0};
    int rc = g_mkdtemp(dir) ? 0 : error_errno(&err, "cannot make %s", dir);
    bench_raise_descriptors();
    machine_print(machine);
    if (rc == 0) {
        rc = measure(o, dir, sides, found, totals, &err);
        bench_remove_tree(dir);
    }
    if (rc == 0 && o->json) {
        json_t *root = json_pack("{s:s,s:b,s:i,s:i,s:i,s:O,s:O,s:O,s:O}", "command", "rates", "quick", o->quick,
                                 "messages", o->messages, "seconds", o->seconds, "repeats", o->repeats, "machine",
                                 machine, "sides", sides, "rows", found, "totals", totals);
        if (json_dump_file(root, o->json, JSON_INDENT(1)) != 0)
            rc = error_errno(&err, "cannot write %s", o->json);
        json_decref(root);
    }
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    json_decref(machine);
    json_decref(totals);
    json_decref(found);
    json_decref(sides);
    g_free(dir);
    g_free(work);
    return rc == 0 ? 0 : 3;
}

bool rates_main(int argc, char **argv, int *status_out)
{
    struct options o = {0};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where vault, stores and servers live (.)", "DIR"},
        {"messages", 0, 0, G_OPTION_ARG_INT, &o.messages, "in the folder (10000)", "N"},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, "of each row, side and repeat (5)", "S"},
        {"repeats", 0, 0, G_OPTION_ARG_INT, &o.repeats, "of each row and side (3)", "N"},
        {"idle", 0, 0, G_OPTION_ARG_INT, &o.idle, "idle sessions (1000)", "N"},
        {"sides", 0, 0, G_OPTION_ARG_STRING, &o.sides, "beside mds (dovecot,cyrus; quick: dovecot)", "LIST"},
        {"quick", 0, 0, G_OPTION_ARG_NONE, &o.quick, "small and short: whether it works, and about how fast", NULL},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    GError *gerror = NULL;
    if (argc < 2 || strcmp(argv[1], "rates") != 0)
        return false;
    GOptionContext *context = g_option_context_new("rates - what many sessions do at once, beside peers");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc == 2;
    g_option_context_free(context);
    o.messages = o.messages ? o.messages : o.quick ? 500 : 10000;
    o.seconds = o.seconds ? o.seconds : o.quick ? 1 : 5;
    o.repeats = o.repeats ? o.repeats : o.quick ? 1 : 3;
    o.idle = o.idle ? o.idle : o.quick ? 20 : 1000;
    if (!parsed || o.messages < SESSIONS_MAX || o.messages > 10000000 || o.seconds < 1 || o.seconds > 3600 ||
        o.repeats < 1 || o.repeats > 100 || o.idle < 1 || o.idle > 100000) {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "a number is out of bounds");
        *status_out = 2;
    } else {
        o.work = o.work ? o.work : g_strdup(".");
        o.mds = o.mds ? o.mds : bench_sibling("mds");
        *status_out = run(&o);
    }
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.mds);
    g_free(o.json);
    g_free(o.sides);
    return true;
}

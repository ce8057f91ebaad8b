/* suite: see suite.h. */
#include "suite.h"

#include "bench_measure.h"
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_FIRST 4   /* a first answer that takes a row's time so often is the only one */
#define FAST_S     1.0 /* a kind whose answers take less is asked also when the budget is spent */

struct run {
    struct suite *suite;
    struct net_client *clients[SIDES_MAX];
    bool gave_up[SIDES_MAX][SUITE_KINDS];     /* an answer took longer than the patience */
    double slowest_s[SIDES_MAX][SUITE_KINDS]; /* answer so far; 0: none was asked */
    double spent_s[SIDES_MAX];
    guint64 random;
};

static struct suite_cell *cell_of(const struct suite *s, unsigned row, unsigned side)
{
    return &s->cells[(size_t)row * s->n_sides + side];
}

double suite_quantile(const double *sorted, unsigned n, double p)
{
    return n == 0 ? 0 : sorted[MIN((unsigned)(p * n), n - 1)];
}

/* ---- one answer ------------------------------------------------------------------------------------------- */

/* A peer's answer that is longer than all of its budget is none that one waits for. */
static int patience_of(const struct suite *s, unsigned k)
{
    return k > 0 && s->budget_s > 0 ? MIN(s->patience_s, s->budget_s) : s->patience_s;
}

static int connect_side(struct run *run, unsigned k, struct error *err)
{
    const struct suite *s = run->suite;
    if (run->clients[k])
        return 0;
    struct net_client *c = net_dial(&s->sides[k].target, NULL, err);
    int rc = c ? net_log_in(c, &s->sides[k].target, err) : BASE_ERR_IO;
    if (rc == 0 && s->enter)
        rc = net_ask(c, s->enter, NULL, err);
    if (rc == 0)
        net_be_patient(c, patience_of(s, k));
    else
        net_close(&c);
    run->clients[k] = c;
    return rc;
}

/* Xorshift: the same numbers in every run. */
static guint64 next_random(struct run *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

static char *make_command(struct run *run, const struct suite_row *row)
{
    const char *window = strstr(row->command, "{w}"), *hole = window ? window : strstr(row->command, "{1}");
    const guint64 n = MAX(run->suite->messages, 1u), size = window ? MIN(n, SUITE_WINDOW) : 1;
    if (!hole)
        return g_strdup(row->command);
    const guint64 first = 1 + next_random(run) % (n - size + 1);
    return g_strdup_printf("%.*s%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "%s", (int)(hole - row->command),
                           row->command, first, first + size - 1, hole + 3);
}

static gint64 parse_count(const char *line)
{
    const char *at = strstr(line, " COUNT ");
    return at ? g_ascii_strtoll(at + 7, NULL, 10) : -1;
}

/* A server that was given up goes on with its search for a while: the next row's sides must not pay for it. */
static void let_settle(const struct suite *s, unsigned k)
{
    for (int i = 0; i < patience_of(s, k) * 2; i++) {
        const double before = bench_tree_look(s->sides[k].server.pid).cpu_s;
        g_usleep(G_USEC_PER_SEC / 2);
        if (bench_tree_look(s->sides[k].server.pid).cpu_s - before < 0.05)
            return;
    }
}

/* The cell gets a note where the side has no answer; an error is only what ends the run. */
static double ask(struct run *run, unsigned r, unsigned k)
{
    const struct suite_row *row = &run->suite->rows[r];
    struct suite_cell *cell = cell_of(run->suite, r, k);
    struct error err = {0};
    size_t bytes = 0;
    char line[256], *command = make_command(run, row);
    const gint64 began = g_get_monotonic_time();
    const int rc =
        net_ask_line(run->clients[k], command, row->counts ? "* ESEARCH" : "", sizeof line, line, &bytes, &err);
    const double ms = (double)(g_get_monotonic_time() - began) / 1000;
    g_free(command);
    if (rc == 0) {
        cell->bytes = bytes;
        if (row->counts)
            cell->hits = parse_count(line);
        return ms;
    }
    if (rc == BASE_ERR_USAGE) {
        cell->note = g_strdup(err.text);
        return ms;
    }
    if (err.sys == EAGAIN)
        cell->note = g_strdup_printf("over %d s", patience_of(run->suite, k));
    else
        cell->note = g_strdup(err.text);
    run->gave_up[k][row->kind] = true;
    net_close(&run->clients[k]);
    let_settle(run->suite, k);
    return ms;
}

/* ---- one row ---------------------------------------------------------------------------------------------- */

static void keep(struct suite_cell *cell, double ms)
{
    cell->ms = g_renew(double, cell->ms, cell->n + 1);
    cell->ms[cell->n++] = ms;
}

/* Why side k is not asked this row, NULL: it is asked. Owned by the caller. */
static char *why_not(const struct run *run, unsigned r, unsigned k)
{
    const struct suite *s = run->suite;
    const unsigned kind = s->rows[r].kind;
    const double slowest_s = run->slowest_s[k][kind];
    if (s->sides[k].note)
        return g_strdup(s->sides[k].note);
    if (kind == 0)
        return NULL;
    if (run->gave_up[k][kind])
        return g_strdup_printf("not tried: another of its kind took over %d s", patience_of(s, k));
    if (k > 0 && s->row_s > 0 && slowest_s > s->row_s)
        return g_strdup_printf("not tried: another of its kind took %.1f s", slowest_s);
    if (k > 0 && s->budget_s > 0 && run->spent_s[k] > s->budget_s && (slowest_s == 0 || slowest_s > FAST_S))
        return g_strdup_printf("not tried: this side's %d s are spent", s->budget_s);
    return NULL;
}

/* The first answer warms what is cold and is not counted, unless it is so slow that another one takes too long, too. */
static void warm(struct run *run, unsigned r, unsigned k)
{
    const struct suite *s = run->suite;
    struct suite_cell *cell = cell_of(s, r, k);
    double *slowest_s = &run->slowest_s[k][s->rows[r].kind];
    struct error err = {0};
    const gint64 began = g_get_monotonic_time();
    cell->hits = -1;
    cell->note = why_not(run, r, k);
    if (!cell->note && connect_side(run, k, &err) != 0)
        cell->note = g_strdup(err.text);
    if (cell->note)
        return;
    const double ms = ask(run, r, k);
    if (!cell->note && ms > (s->row_s > 0 ? s->row_s * SLOW_FIRST * 1000.0 : s->patience_s * 1000.0 / 3))
        keep(cell, ms);
    *slowest_s = MAX(*slowest_s, ms / 1000);
    run->spent_s[k] += (double)(g_get_monotonic_time() - began) / 1e6;
}

static void repeat(struct run *run, unsigned r, unsigned k)
{
    const struct suite *s = run->suite;
    struct suite_cell *cell = cell_of(s, r, k);
    const double budget_s = s->row_s > 0 ? s->row_s : s->patience_s;
    const unsigned samples = MAX(s->rows[r].samples, 1u);
    if (cell->note || cell->wall_s > budget_s || (cell->n > 0 && cell->wall_s == 0))
        return;
    const struct bench_tree before = bench_tree_look(s->sides[k].server.pid);
    const double own = machine_own_cpu_s();
    const gint64 began = g_get_monotonic_time();
    for (unsigned i = 0; i < samples && !cell->note; i++) {
        const double ms = ask(run, r, k);
        if (!cell->note)
            keep(cell, ms);
    }
    const double wall_s = (double)(g_get_monotonic_time() - began) / 1e6;
    cell->wall_s += wall_s;
    run->spent_s[k] += wall_s;
    cell->client_cpu_s += machine_own_cpu_s() - own;
    const struct bench_tree after = bench_tree_look(s->sides[k].server.pid);
    cell->server_cpu_s += after.cpu_s - before.cpu_s;
    cell->private_bytes = MAX(cell->private_bytes, after.private_bytes);
}

/* Against what was planted, else against the first side. */
static void judge(struct suite *s, unsigned r)
{
    const struct suite_row *row = &s->rows[r];
    const struct suite_cell *first = cell_of(s, r, 0);
    const gint64 expected = row->expected >= 0 ? row->expected : first->note ? -1 : first->hits;
    for (unsigned k = 0; row->counts && k < s->n_sides; k++) {
        struct suite_cell *cell = cell_of(s, r, k);
        cell->differs = !cell->note && expected >= 0 && cell->hits != expected;
        cell->wrong = cell->differs && row->expected >= 0;
        s->wrong += cell->wrong && k == 0;
    }
}

static int measure_floor(struct suite *s, unsigned r, struct error *err)
{
    const struct suite_row *row = &s->rows[r];
    const struct suite_cell *first = cell_of(s, r, 0);
    double ms[5];
    const unsigned repeats = MIN(s->repeats, (unsigned)G_N_ELEMENTS(ms));
    if (!row->floor || first->note || first->bytes == 0 || row->messages == 0)
        return 0;
    const int rc = floor_socket_measure(s->work, row->messages, first->bytes, repeats, ms, err);
    qsort(ms, repeats, sizeof *ms, bench_compare_doubles);
    if (rc == 0)
        s->floor_ms[r] = ms[repeats / 2];
    return rc;
}

/* ---- printing --------------------------------------------------------------------------------------------- */

static void print_head(const struct suite *s)
{
    printf("%s: median of up to %u repeats, %d s of patience with an answer", s->name, s->repeats, s->patience_s);
    if (s->row_s > 0)
        printf(", %d s with a row", s->row_s);
    if (s->budget_s > 0)
        printf(", %d s with all rows of a side but the first", s->budget_s);
    putchar('\n');
    for (unsigned k = 0; k < s->n_sides; k++) {
        const struct side *side = &s->sides[k];
        printf("  %-12s %s", side->name, side->version ? side->version : "");
        if (side->note)
            printf(" (%s)", side->note);
        else
            printf(", ready in %.1f s (CPU %.1f s), %.1f MB", side->prepared_s, side->prepared_cpu_s,
                   (double)side->disk_bytes / 1e6);
        putchar('\n');
    }
    printf("%-34s %-12s %10s %10s %10s %10s %12s %9s %9s %8s %9s\n", "", "", "p50 ms", "p99 ms", "min", "max", "msgs/s",
           "server%", "client%", "of first", "hits");
    fflush(stdout);
}

static void print_cell(const struct suite *s, unsigned r, unsigned k)
{
    const struct suite_cell *cell = cell_of(s, r, k), *first = cell_of(s, r, 0);
    const char *name = k == 0 ? s->rows[r].name : "";
    printf("%-34s %-12s ", name, s->sides[k].name);
    if (cell->n == 0) {
        printf("%10s (%s)\n", "-", cell->note ? cell->note : "no answer");
        return;
    }
    const double p50 = suite_quantile(cell->ms, cell->n, 0.5), wall = cell->wall_s > 0 ? cell->wall_s : 1;
    printf("%10.3f %10.3f %10.3f %10.3f ", p50, suite_quantile(cell->ms, cell->n, 0.99), cell->ms[0],
           cell->ms[cell->n - 1]);
    if (s->rows[r].messages > 0)
        printf("%12.0f ", (double)s->rows[r].messages * 1000 / p50);
    else
        printf("%12s ", "");
    printf("%9.0f %9.0f ", cell->server_cpu_s * 100 / wall, cell->client_cpu_s * 100 / wall);
    if (k > 0 && first->n > 0)
        printf("%8.2f ", p50 / suite_quantile(first->ms, first->n, 0.5));
    else
        printf("%8s ", "");
    if (cell->hits >= 0)
        printf("%9" G_GINT64_FORMAT "%s", cell->hits, cell->wrong ? " WRONG" : cell->differs ? " differs" : "");
    if (cell->note)
        printf(" (%s)", cell->note);
    putchar('\n');
}

static void print_row(const struct suite *s, unsigned r)
{
    for (unsigned k = 0; k < s->n_sides; k++)
        if (!s->sides[k].note) /* the head has said why there is none */
            print_cell(s, r, k);
    if (s->floor_ms[r] > 0)
        printf("%-34s %-12s %10.3f %10s %10s %10s %12.0f\n", "", "(floor)", s->floor_ms[r], "", "", "",
               (double)s->rows[r].messages * 1000 / s->floor_ms[r]);
    fflush(stdout);
}

/* ---- the run ---------------------------------------------------------------------------------------------- */

static int measure_row(struct run *run, unsigned r, struct error *err)
{
    struct suite *s = run->suite;
    for (unsigned k = 0; k < s->n_sides; k++)
        warm(run, r, k);
    for (unsigned i = 0; i < s->repeats; i++)
        for (unsigned k = 0; k < s->n_sides; k++)
            repeat(run, r, (i + k) % s->n_sides);
    for (unsigned k = 0; k < s->n_sides; k++) {
        struct suite_cell *cell = cell_of(s, r, k);
        if (cell->n > 0)
            qsort(cell->ms, cell->n, sizeof *cell->ms, bench_compare_doubles);
    }
    judge(s, r);
    const int rc = measure_floor(s, r, err);
    print_row(s, r);
    return rc;
}

int suite_run(struct suite *s, struct error *err)
{
    struct run run = {.suite = s, .random = 0x9e3779b97f4a7c15u};
    int rc = 0;
    s->cells = g_new0(struct suite_cell, (gsize)s->n_rows * s->n_sides);
    s->floor_ms = g_new0(double, s->n_rows);
    print_head(s);
    for (unsigned r = 0; r < s->n_rows && rc == 0; r++)
        rc = measure_row(&run, r, err);
    for (unsigned k = 0; k < s->n_sides; k++)
        net_close(&run.clients[k]);
    return rc;
}

static json_t *cell_json(const struct suite *s, unsigned r, unsigned k)
{
    const struct suite_cell *cell = cell_of(s, r, k);
    json_t *out = json_pack("{s:s,s:i,s:s?}", "side", s->sides[k].name, "n", (int)cell->n, "note", cell->note);
    if (cell->n == 0)
        return out;
    json_object_set_new(out, "p50_ms", json_real(suite_quantile(cell->ms, cell->n, 0.5)));
    json_object_set_new(out, "p99_ms", json_real(suite_quantile(cell->ms, cell->n, 0.99)));
    json_object_set_new(out, "min_ms", json_real(cell->ms[0]));
    json_object_set_new(out, "max_ms", json_real(cell->ms[cell->n - 1]));
    json_object_set_new(out, "bytes", json_integer((json_int_t)cell->bytes));
    json_object_set_new(out, "wall_s", json_real(cell->wall_s));
    json_object_set_new(out, "server_cpu_s", json_real(cell->server_cpu_s));
    json_object_set_new(out, "client_cpu_s", json_real(cell->client_cpu_s));
    json_object_set_new(out, "private_bytes", json_integer((json_int_t)cell->private_bytes));
    if (cell->hits >= 0)
        json_object_set_new(out, "hits", json_integer(cell->hits));
    if (cell->differs)
        json_object_set_new(out, cell->wrong ? "wrong" : "differs", json_true());
    return out;
}

json_t *suite_json(const struct suite *s)
{
    json_t *sides = json_array(), *rows = json_array();
    for (unsigned k = 0; k < s->n_sides; k++)
        json_array_append_new(sides, side_json(&s->sides[k]));
    for (unsigned r = 0; r < s->n_rows; r++) {
        json_t *cells = json_array();
        for (unsigned k = 0; k < s->n_sides; k++)
            json_array_append_new(cells, cell_json(s, r, k));
        json_t *row =
            json_pack("{s:s,s:s,s:o}", "name", s->rows[r].name, "command", s->rows[r].command, "cells", cells);
        if (s->rows[r].expected >= 0)
            json_object_set_new(row, "expected", json_integer(s->rows[r].expected));
        if (s->rows[r].messages > 0)
            json_object_set_new(row, "messages", json_integer((json_int_t)s->rows[r].messages));
        if (s->floor_ms[r] > 0)
            json_object_set_new(row, "floor_ms", json_real(s->floor_ms[r]));
        json_array_append_new(rows, row);
    }
    return json_pack("{s:s,s:i,s:i,s:i,s:i,s:I,s:s,s:o,s:o}", "command", s->name, "repeats", (int)s->repeats,
                     "patience_s", s->patience_s, "row_s", s->row_s, "budget_s", s->budget_s, "messages",
                     (json_int_t)s->messages, "cache", "warm", "sides", sides, "rows", rows);
}

void suite_release(struct suite *s)
{
    for (unsigned i = 0; s->cells && i < s->n_rows * s->n_sides; i++) {
        g_free(s->cells[i].ms);
        g_free(s->cells[i].note);
    }
    for (unsigned r = 0; r < s->n_rows; r++) {
        g_free(s->rows[r].name);
        g_free(s->rows[r].command);
    }
    g_free(s->cells);
    g_free(s->floor_ms);
    g_free(s->rows);
    *s = (struct suite){0};
}

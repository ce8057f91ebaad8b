/* clients: see clients.h. */
#include "clients.h"

#include "bench_measure.h"
#include "clients_private.h"
#include "machine.h"
#include "side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKIPPED               77
#define DESCRIPTORS_ELSEWHERE 100
#define P99_MS                100.0 /* a crowd that waits longer is too large */
#define CLIENT_SHARE          0.8   /* of a core: with more this program is what is measured */
#define FIND_GROWTH           2
#define FIND_NEAR             1.1 /* the largest that was carried and the smallest that was not: near enough */
#define FIND_COMING           500 /* a second, at least as long as --ramp says */

struct options {
    char *work, *mds, *json, *sides;
    gint desktops, phones, seconds, ramp, wave, messages;
    gdouble speed;
    gboolean quick, find;
    gint find_seconds;
};

/* What one crowd had of a server. */
struct verdict {
    double p99_ms;
    const char *trouble; /* why the server does not carry so many; NULL: it does */
};

static const char *const names[ASKS] = {
    [ASK_CONNECT] = "connect", [ASK_LOGIN] = "LOGIN",      [ASK_LIST] = "LIST",     [ASK_SELECT] = "SELECT",
    [ASK_SYNC] = "sync 500",   [ASK_WINDOW] = "window 50", [ASK_OPEN] = "open one", [ASK_STATUS] = "STATUS",
    [ASK_SEARCH] = "SEARCH",   [ASK_FLAGS] = "flags 100",  [ASK_IDLE] = "IDLE",     [ASK_DONE] = "DONE",
    [ASK_LOGOUT] = "LOGOUT",
};

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

/* Rows of commands, and one of all. */
static struct verdict show(const struct options *o, const struct side *side, struct crowd_found *f, json_t *rows,
                           json_t *totals)
{
    struct verdict verdict = {0};
    GArray *all = g_array_new(FALSE, FALSE, sizeof(guint32));
    printf("\n%s %s: %d desktops, %d phones, %" G_GUINT64_FORMAT
           " newcomers; %.0f s, %.1f commands/s, %" G_GUINT64_FORMAT " connected at the end, %" G_GUINT64_FORMAT
           " errors%s%s\n"
           "server: CPU %.1f %% of a core%s, private %.1f MiB; this program: %.1f %% of a core%s\n"
           "%-12s %10s %10s %10s %10s %10s\n",
           side->name, side->version ? side->version : "", o->desktops, o->phones, f->newcomers, f->seconds,
           (double)f->commands / f->seconds, f->connected, f->errors, f->errors ? ", the first: " : "", f->first_error,
           f->server_cpu_s * 100 / f->seconds,
           o->desktops + o->phones == 4000 ? " (4,000 clients: at most 25 % is the goal)" : "",
           (double)f->private_bytes / 1048576, f->client_cpu_s * 100 / f->seconds,
           f->client_cpu_s > CLIENT_SHARE * f->seconds ? " (IT WAS THE BOTTLENECK)" : "", "ms", "answers", "p50", "p95",
           "p99", "max");
    for (unsigned k = 0; k <= ASKS; k++) {
        GArray *us = k < ASKS ? f->us[k] : all;
        if (us->len == 0)
            continue;
        qsort(us->data, us->len, sizeof(guint32), compare_us);
        const double p50 = quantile_ms(us, 0.5), p95 = quantile_ms(us, 0.95), p99 = quantile_ms(us, 0.99),
                     max = quantile_ms(us, 1);
        printf("%-12s %10u %10.3f %10.3f %10.3f %10.3f\n", k < ASKS ? names[k] : "all", us->len, p50, p95, p99, max);
        json_array_append_new(rows, json_pack("{s:s,s:s,s:I,s:f,s:f,s:f,s:f}", "side", side->name, "ask",
                                              k < ASKS ? names[k] : "all", "answers", (json_int_t)us->len, "p50_ms",
                                              p50, "p95_ms", p95, "p99_ms", p99, "max_ms", max));
        if (k < ASKS)
            g_array_append_vals(all, us->data, us->len);
        else
            verdict.p99_ms = p99;
    }
    verdict.trouble = f->errors > 0                                 ? "errors"
                      : verdict.p99_ms > P99_MS                     ? "p99 over 100 ms"
                      : f->client_cpu_s > CLIENT_SHARE * f->seconds ? "this program is the bottleneck"
                                                                    : NULL;
    json_array_append_new(totals,
                          json_pack("{s:s,s:i,s:f,s:s,s:s?,s:f,s:I,s:I,s:I,s:I,s:f,s:f,s:I}", "side", side->name,
                                    "clients", o->desktops + o->phones, "p99_ms", verdict.p99_ms, "trouble",
                                    verdict.trouble ? verdict.trouble : "", "version", side->version, "seconds",
                                    f->seconds, "commands", (json_int_t)f->commands, "errors", (json_int_t)f->errors,
                                    "connected", (json_int_t)f->connected, "newcomers", (json_int_t)f->newcomers,
                                    "server_cpu_percent", f->server_cpu_s * 100 / f->seconds, "client_cpu_percent",
                                    f->client_cpu_s * 100 / f->seconds, "private_bytes", (json_int_t)f->private_bytes));
    g_array_free(all, TRUE);
    return verdict;
}

static int measure_side(const struct options *o, const struct side *side, json_t *rows, json_t *totals,
                        struct verdict *verdict, struct error *err)
{
    const struct crowd_options crowd = {.address = side->target.address,
                                        .desktops = (unsigned)o->desktops,
                                        .phones = (unsigned)o->phones,
                                        .wave_per_hour = (unsigned)o->wave,
                                        .seconds = o->seconds,
                                        .ramp = o->ramp,
                                        .speed = o->speed,
                                        .messages = (guint64)o->messages,
                                        .server = side->server.pid};
    struct crowd_found found = {0};
    const int rc = crowd_run(&crowd, &found, err);
    if (rc == 0)
        *verdict = show(o, side, &found, rows, totals);
    fflush(stdout);
    for (unsigned k = 0; k < ASKS; k++)
        if (found.us[k])
            g_array_free(found.us[k], TRUE);
    return rc;
}

/* The same crowd with n people. */
static struct options crowd_of(const struct options *o, int n)
{
    struct options some = *o;
    const int all = o->desktops + o->phones;
    some.desktops = (int)((gint64)n * o->desktops / all);
    some.phones = n - some.desktops;
    some.ramp = MAX(o->ramp, n / FIND_COMING);
    return some;
}

/*
 * Grows the crowd until the server, or this program, is at its end, then halves the distance between the largest that
 * was carried and the smallest that was not, while there is time. *found: {"side", "carried", "not_carried",
 * "stopped_by"}.
 */
static int find_limit(const struct options *o, const struct side *side, json_t *rows, json_t *totals, json_t **found,
                      struct error *err)
{
    const gint64 end = g_get_monotonic_time() + (gint64)o->find_seconds * G_USEC_PER_SEC;
    const int most = MAX((int)side_mds_connections() - DESCRIPTORS_ELSEWHERE, 1);
    int good = 0, bad = 0, n = MIN(o->desktops + o->phones, most), rc = 0;
    const char *why = "time";
    for (;;) {
        struct verdict verdict = {0};
        const struct options crowd = crowd_of(o, n);
        rc = measure_side(&crowd, side, rows, totals, &verdict, err);
        if (rc != 0)
            break;
        if (verdict.trouble) {
            why = verdict.trouble;
            bad = n;
        } else {
            good = n;
        }
        if (bad == 0 && good >= most) {
            why = "descriptors (ulimit -Hn)";
            break;
        }
        n = bad == 0 ? MIN(good * FIND_GROWTH, most) : (good + bad) / 2;
        const struct options next = crowd_of(o, MAX(n, 1));
        if ((bad > 0 && bad < good * FIND_NEAR) || n < 1 ||
            g_get_monotonic_time() + (gint64)(next.ramp + next.seconds) * G_USEC_PER_SEC > end)
            break;
    }
    if (rc == 0) {
        printf("\n%s carries %d clients with p99 <= %.0f ms%s%s\n", side->name, good, P99_MS,
               bad > 0 ? "; more: " : "; not tried with more: ", why);
        *found =
            json_pack("{s:s,s:i,s:i,s:s}", "side", side->name, "carried", good, "not_carried", bad, "stopped_by", why);
    }
    return rc;
}

static bool wanted(const struct options *o, const char *side)
{
    char **list = g_strsplit(o->sides ? o->sides : "mds", ",", -1);
    const bool is = g_strv_contains((const gchar *const *)list, side);
    g_strfreev(list);
    return is;
}

static int generate(const struct options *o, char *vault, struct error *err)
{
    char *gen = bench_sibling("mds-gen"), *messages = g_strdup_printf("%d", o->messages);
    char *argv[] = {gen, (char[]){"--quiet"}, (char[]){"--out"}, vault, (char[]){"--messages"}, messages, NULL};
    const int rc = bench_run_beside(argv, err);
    g_free(messages);
    g_free(gen);
    return rc;
}

/* Each side's server lives while it is measured, so that none takes the other's memory or core. */
static int measure(const struct options *o, const char *dir, json_t *rows, json_t *totals, json_t **found,
                   struct error *err)
{
    struct verdict verdict;
    char *vault = g_build_filename(dir, "vault", NULL), *store = g_build_filename(dir, "store", NULL);
    const struct side_place place = {.work = dir, .vault = vault, .mds = o->mds, .patience_s = 900};
    struct side mds = {.name = "mds"}, dovecot = {0};
    int rc = generate(o, vault, err);
    rc = rc ? rc : side_mds_build(&place, store, &mds, err);
    rc = rc ? rc : side_mds_start(&place, store, &mds, err);
    if (rc == 0)
        rc = o->find ? find_limit(o, &mds, rows, totals, found, err)
                     : measure_side(o, &mds, rows, totals, &verdict, err);
    side_stop(&mds);
    if (rc == 0 && wanted(o, "dovecot")) {
        rc = side_dovecot_start(&place, SIDE_PLAIN, &dovecot, err);
        if (rc == 0 && dovecot.note)
            printf("\ndovecot: %s\n", dovecot.note);
        else if (rc == 0)
            rc = measure_side(o, &dovecot, rows, totals, &verdict, err);
        side_stop(&dovecot);
    }
    g_free(store);
    g_free(vault);
    return rc;
}

static int write_json(const struct options *o, const json_t *machine, const json_t *rows, const json_t *totals,
                      json_t *found, struct error *err)
{
    json_t *root = json_pack("{s:s,s:b,s:i,s:i,s:i,s:i,s:i,s:f,s:i,s:O,s:O,s:O}", "command", "clients", "quick",
                             o->quick, "desktops", o->desktops, "phones", o->phones, "seconds", o->seconds, "ramp",
                             o->ramp, "wave_per_hour", o->wave, "speed", o->speed, "messages", o->messages, "machine",
                             machine, "totals", totals, "rows", rows);
    if (found)
        json_object_set(root, "found", found);
    const int rc =
        json_dump_file(root, o->json, JSON_INDENT(1)) == 0 ? 0 : error_errno(err, "cannot write %s", o->json);
    json_decref(root);
    return rc;
}

static int run(const struct options *o)
{
    const uint64_t limit = bench_raise_descriptors(),
                   need = (uint64_t)o->desktops + (uint64_t)o->phones + DESCRIPTORS_ELSEWHERE;
    struct error err = {0};
    if (limit < need) {
        printf("skipped: %d clients need %" G_GUINT64_FORMAT " descriptors, a process of this machine may have "
               "%" G_GUINT64_FORMAT " (ulimit -Hn)\n",
               o->desktops + o->phones, need, limit);
        return SKIPPED;
    }
    char *work = g_canonicalize_filename(o->work, NULL),
         *dir = g_build_filename(work, "mds-bench-clients.XXXXXX", NULL);
    json_t *rows = json_array(), *totals = json_array(), *machine = machine_json(work), *limit_found = NULL;
    int rc = g_mkdtemp(dir) ? 0 : error_errno(&err, "cannot make %s", dir);
    machine_print(machine);
    if (rc == 0) {
        rc = measure(o, dir, rows, totals, &limit_found, &err);
        bench_remove_tree(dir);
    }
    if (rc == 0 && o->json)
        rc = write_json(o, machine, rows, totals, limit_found, &err);
    if (rc != 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    json_decref(limit_found);
    json_decref(machine);
    json_decref(totals);
    json_decref(rows);
    g_free(dir);
    g_free(work);
    return rc == 0 ? 0 : 3;
}

static bool in_bounds(const struct options *o)
{
    return o->desktops >= 0 && o->phones >= 0 && o->desktops + o->phones >= 1 && o->desktops <= 200000 &&
           o->phones <= 200000 && o->seconds >= 1 && o->seconds <= 86400 && o->ramp >= 0 && o->ramp <= 3600 &&
           o->wave >= 0 && o->wave <= 1000000 && o->messages >= 1 && o->messages <= 10000000 && o->speed >= 0.1 &&
           o->speed <= 1000 && o->find_seconds >= 1 && o->find_seconds <= 86400;
}

bool clients_main(int argc, char **argv, int *status_out)
{
    struct options o = {.desktops = -1, .phones = -1, .speed = 1, .ramp = -1, .wave = 52, .find_seconds = 300};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where vault, store and servers live (.)", "DIR"},
        {"desktops", 0, 0, G_OPTION_ARG_INT, &o.desktops, "how many (2000)", "N"},
        {"phones", 0, 0, G_OPTION_ARG_INT, &o.phones, "how many (2000)", "N"},
        {"wave", 0, 0, G_OPTION_ARG_INT, &o.wave, "newcomers an hour, one in five a desktop (52: 1,250 a day)", "N"},
        {"seconds", 0, 0, G_OPTION_ARG_INT, &o.seconds, "measured (60)", "S"},
        {"ramp", 0, 0, G_OPTION_ARG_INT, &o.ramp, "seconds before, in which they come (20)", "S"},
        {"speed", 0, 0, G_OPTION_ARG_DOUBLE, &o.speed, "divides all think times (1)", "X"},
        {"messages", 0, 0, G_OPTION_ARG_INT, &o.messages, "in the folder (10000)", "N"},
        {"find", 0, 0, G_OPTION_ARG_NONE, &o.find,
         "grow the crowd: how many does mds carry with p99 <= 100 ms and no error?", NULL},
        {"find-seconds", 0, 0, G_OPTION_ARG_INT, &o.find_seconds, "no crowd is begun that would last longer (300)",
         "S"},
        {"sides", 0, 0, G_OPTION_ARG_STRING, &o.sides, "mds, or mds,dovecot (mds)", "LIST"},
        {"quick", 0, 0, G_OPTION_ARG_NONE, &o.quick, "small and short: whether it works, and about how fast", NULL},
        {"mds", 0, 0, G_OPTION_ARG_FILENAME, &o.mds, "the program to measure (the one beside this)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "write what was found there", "FILE"},
        {0},
    };
    GError *gerror = NULL;
    if (argc < 2 || strcmp(argv[1], "clients") != 0)
        return false;
    GOptionContext *context = g_option_context_new("clients - simulated people");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc == 2;
    g_option_context_free(context);
    o.desktops = o.desktops >= 0 ? o.desktops : o.quick ? 50 : 2000;
    o.phones = o.phones >= 0 ? o.phones : o.quick ? 50 : 2000;
    o.seconds = o.seconds ? o.seconds : o.quick ? 4 : 60;
    o.ramp = o.ramp >= 0 ? o.ramp : o.quick ? 2 : 20;
    o.messages = o.messages ? o.messages : o.quick ? 1000 : 10000;
    if (o.quick && o.speed == 1)
        o.speed = 20;
    if (!parsed || !in_bounds(&o)) {
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

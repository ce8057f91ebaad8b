/* goals: see goals.h. */
#include "goals.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LARGE       1000000.0 /* messages: bounds of searches speak of a million */
#define HOUR_S      3600.0
#define VAULT_HOUR  2500000.0 /* items that Enterprise Vault's sizing guide gives an hour */
#define MIB         1048576.0
#define PHRASE_US   30.0 /* what a candidate of a phrase may cost */
#define TEN_MILLION 10000000.0

struct found {
    bool there; /* else the run is missing */
    double value;
    char with[96]; /* what it was held against, or whose the number is; may be "" */
};

struct files {
    json_t *const *roots;
    size_t n;
};

struct goal {
    const char *what, *unit, *suite; /* suite: what to run if it is missing */
    double bound;
    bool at_least; /* else at most; an infinite bound: published only */
    struct found (*find)(const struct files *files, const struct goal *goal);
    const char *a, *b; /* of find */
    double n;          /* of find: bytes of a message, messages */
};

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *word(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

/* The element of an array whose `key` is `value`. */
static const json_t *element(const json_t *array, const char *key, const char *value)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (strcmp(word(json_array_get(array, i), key), value) == 0)
            return json_array_get(array, i);
    return NULL;
}

static struct found nothing(void)
{
    return (struct found){0};
}

static struct found value_of(double value, const char *with)
{
    struct found f = {.there = true, .value = value};
    g_strlcpy(f.with, with, sizeof f.with);
    return f;
}

/* ---- suites of rows and sides ------------------------------------------------------------------------------ */

/* The largest run of a suite with messages of this mean size (0: any) and so many of them. */
static const json_t *run_of(const struct files *files, const char *suite, double mean_bytes, double messages)
{
    const json_t *best = NULL;
    for (size_t i = 0; i < files->n; i++) {
        const json_t *runs = json_object_get(files->roots[i], "runs");
        if (strcmp(word(files->roots[i], "command"), suite) != 0)
            continue;
        for (size_t k = 0; k < json_array_size(runs); k++) {
            const json_t *run = json_array_get(runs, k);
            if ((mean_bytes == 0 || number(run, "mean_bytes") == mean_bytes) && number(run, "messages") >= messages &&
                number(run, "messages") >= number(best, "messages"))
                best = run;
        }
    }
    return best;
}

static const json_t *cell_of(const json_t *run, const char *row, const char *side)
{
    const json_t *found = element(json_object_get(run, "rows"), "name", row);
    const json_t *cell = element(json_object_get(found, "cells"), "side", side);
    return number(cell, "n") > 0 ? cell : NULL;
}

/* Row a: how many times longer the better of the peers takes, at a mean size of n bytes. */
static struct found faster_than_peers(const struct files *files, const struct goal *g)
{
    static const char *const peers[] = {"dovecot", "cyrus"};
    const json_t *run = run_of(files, g->suite, g->n, 0), *mine = cell_of(run, g->a, "mds");
    double best = 0;
    const char *name = NULL;
    for (size_t i = 0; mine && i < G_N_ELEMENTS(peers); i++) {
        const double ms = number(cell_of(run, g->a, peers[i]), "p50_ms");
        if (ms > 0 && (!name || ms < best)) {
            best = ms;
            name = peers[i];
        }
    }
    return name ? value_of(best / number(mine, "p50_ms"), name) : nothing();
}

/* Row a: its number b. */
static struct found own_number(const struct files *files, const struct goal *g)
{
    const json_t *cell = cell_of(run_of(files, g->suite, 0, g->n), g->a, "mds");
    return cell ? value_of(number(cell, g->b), "") : nothing();
}

/* Row a: the rate over TLS as a part of that in clear. */
static struct found tls_of_plain(const struct files *files, const struct goal *g)
{
    const json_t *run = run_of(files, g->suite, g->n, 0), *plain = cell_of(run, g->a, "mds"),
                 *tls = cell_of(run, g->a, "mds-tls");
    return plain && tls ? value_of(number(plain, "p50_ms") / number(tls, "p50_ms"), "") : nothing();
}

/* Row a: the floor's time as a part of this project's. */
static struct found of_floor(const struct files *files, const struct goal *g)
{
    const json_t *run = run_of(files, g->suite, g->n, 0), *cell = cell_of(run, g->a, "mds"),
                 *row = element(json_object_get(run, "rows"), "name", g->a);
    const double floor_ms = number(row, "floor_ms");
    return cell && floor_ms > 0 ? value_of(floor_ms / number(cell, "p50_ms"), "") : nothing();
}

/* The store's bytes as a part of the vault's. */
static struct found store_share(const struct files *files, const struct goal *g)
{
    const json_t *run = run_of(files, g->suite, g->n, 0), *mds = element(json_object_get(run, "sides"), "name", "mds");
    const double vault = number(run, "messages") * number(run, "mean_bytes");
    return mds && vault > 0 ? value_of(100 * number(mds, "disk_bytes") / vault, "") : nothing();
}

/* ---- searches: the slowest row of a class ------------------------------------------------------------------ */

static bool has_prefix(const char *name, const char *const *prefixes)
{
    for (; *prefixes; prefixes++)
        if (g_str_has_prefix(name, *prefixes))
            return true;
    return false;
}

static bool has_word(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (strstr(name, *words))
            return true;
    return false;
}

/* The address that FROM's row looks for has separators; HEADER's row finds more than the 1 % that the bound is for. */
static bool in_class(const char *name, const char *class)
{
    static const char *const texts[] = {"BODY", "TEXT", "SUBJECT", "FROM", "HEADER", "SORT", "THREAD", NULL},
                             *const headers[] = {"SUBJECT ", NULL}, *const phrases[] = {"BODY phrase",
                                                                                        "TEXT phrase",
                                                                                        "BODY separators",
                                                                                        "TEXT separators",
                                                                                        "FROM header",
                                                                                        NULL},
                             *const characters[] = {"BODY one-char", "TEXT one-char", "BODY two-char", "TEXT two-char",
                                                    NULL},
                             *const absent[] = {"BODY absent", "TEXT absent", NULL},
                             *const words[] = {"BODY word-0.1%", "TEXT word-0.1%", NULL},
                             *const stop[] = {"BODY stop-words", "TEXT stop-words", NULL};
    if (strcmp(class, "metadata") == 0)
        return !has_word(name, texts);
    if (strcmp(class, "headers") == 0)
        return has_prefix(name, headers);
    if (strcmp(class, "phrases") == 0)
        return has_prefix(name, phrases);
    if (strcmp(class, "characters") == 0)
        return has_prefix(name, characters);
    if (strcmp(class, "absent") == 0) /* one of words that all occur is a phrase with candidates */
        return has_prefix(name, absent) && !strstr(name, "phrase");
    if (strcmp(class, "words") == 0)
        return has_prefix(name, words);
    return has_prefix(name, stop);
}

/* The slowest row of class a at a million; of phrases without what their candidates may cost. One that has no answer is
 * the slowest of all. */
static struct found slowest(const struct files *files, const struct goal *g)
{
    const json_t *run = run_of(files, g->suite, 0, LARGE), *rows = json_object_get(run, "rows");
    const bool phrases = strcmp(g->a, "phrases") == 0;
    double most = -1;
    const char *name = NULL;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *cell = cell_of(run, word(row, "name"), "mds");
        if (!in_class(word(row, "name"), g->a))
            continue;
        double ms = cell ? number(cell, "p50_ms") : (double)INFINITY;
        if (phrases && cell)
            ms = MAX(ms - number(cell, "hits") * PHRASE_US / 1000, 0.0);
        if (ms > most) {
            most = ms;
            name = word(row, "name");
        }
    }
    return name ? value_of(most, name) : nothing();
}

/* ---- builds ------------------------------------------------------------------------------------------------ */

static const json_t *ratio_of(const json_t *run, const char *of, const char *than)
{
    const json_t *ratios = json_object_get(run, "ratios");
    for (size_t i = 0; i < json_array_size(ratios); i++) {
        const json_t *ratio = json_array_get(ratios, i);
        if (strcmp(word(ratio, "of"), of) == 0 && strcmp(word(ratio, "than"), than) == 0)
            return ratio;
    }
    return NULL;
}

/* The run of most messages among those that have side `of` beside `than`. */
static const json_t *peers_run(const struct files *files, const char *mail, bool cold, const char *of, const char *than,
                               const json_t **ratio_out)
{
    const json_t *best = NULL;
    for (size_t i = 0; i < files->n; i++) {
        const json_t *root = files->roots[i], *run = json_array_get(json_object_get(root, "runs"), 0),
                     *machine = json_object_get(root, "machine");
        const bool is_cold = json_is_true(json_object_get(root, "cold"));
        if (strcmp(word(root, "command"), "peers") != 0 || strcmp(word(run, "mail"), mail) != 0 || is_cold != cold)
            continue;
        if (cold && strcmp(word(machine, "file_system"), "tmpfs") == 0) /* whose pages cannot be forgotten */
            continue;
        const json_t *ratio = ratio_of(run, of, than);
        if (!ratio || (best && number(run, "items") <= number(best, "items")))
            continue;
        best = run;
        *ratio_out = ratio;
    }
    return best;
}

/* a: "real mds dovecot wall". */
static struct found than_peer(const struct files *files, const struct goal *g)
{
    char **words = g_strsplit(g->a, " ", 4);
    const json_t *ratio, *run = peers_run(files, words[0], false, words[1], words[2], &ratio);
    const struct found f = run ? value_of(number(ratio, words[3]), "") : nothing();
    g_strfreev(words);
    return f;
}

static struct found of_reading(const struct files *files, const struct goal *g)
{
    const json_t *ratio, *run = peers_run(files, g->a, true, "mds", "(reading)", &ratio);
    return run ? value_of(number(ratio, "wall"), "") : nothing();
}

static const json_t *file_of(const struct files *files, const char *suite)
{
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(word(files->roots[i], "command"), suite) == 0)
            return files->roots[i];
    return NULL;
}

static const json_t *last_build(const struct files *files)
{
    const json_t *rows = json_object_get(file_of(files, "build"), "rows");
    return json_array_size(rows) > 0 ? json_array_get(rows, json_array_size(rows) - 1) : NULL;
}

static struct found times_the_vault(const struct files *files, const struct goal *g)
{
    const json_t *row = last_build(files);
    (void)g;
    return row ? value_of(number(row, "build_items_per_s") * HOUR_S / VAULT_HOUR, "") : nothing();
}

static struct found build_memory(const struct files *files, const struct goal *g)
{
    const json_t *builds = json_object_get(last_build(files), "build");
    double most = 0;
    (void)g;
    for (size_t i = 0; i < json_array_size(builds); i++)
        most = MAX(most, number(json_array_get(builds, i), "peak_bytes") / MIB);
    return most > 0 ? value_of(most, "") : nothing();
}

static struct found growth(const struct files *files, const struct goal *g)
{
    const json_t *rows = json_object_get(file_of(files, "growth"), "rows"),
                 *last = json_array_get(rows, MAX(json_array_size(rows), 1u) - 1);
    (void)g;
    return last && number(last, "messages") >= TEN_MILLION ? value_of(number(last, "of_first"), "") : nothing();
}

/* ---- many sessions ----------------------------------------------------------------------------------------- */

/* Row a of `rates`: how many times the better peer's rate. */
static struct found rate_of_peers(const struct files *files, const struct goal *g)
{
    const json_t *rows = json_object_get(file_of(files, "rates"), "rows");
    double mine = 0, best = 0;
    const char *name = "";
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const double per_s = number(row, "per_s");
        if (strcmp(word(row, "row"), g->a) != 0)
            continue;
        if (strcmp(word(row, "side"), "mds") == 0) {
            mine = per_s;
        } else if (per_s > best) {
            best = per_s;
            name = word(row, "side");
        }
    }
    return mine > 0 && best > 0 ? value_of(mine / best, name) : nothing();
}

/* Level a of `rates`: the leaner peer's memory of an idle session, in this project's. */
static struct found memory_of_peers(const struct files *files, const struct goal *g)
{
    const json_t *totals = json_object_get(file_of(files, "rates"), "totals");
    double mine = 0, best = 0;
    const char *name = "";
    for (size_t i = 0; i < json_array_size(totals); i++) {
        const json_t *total = json_array_get(totals, i);
        const double bytes = number(total, "private_bytes_a_session");
        if (strcmp(word(total, "level"), g->a) != 0 || *word(total, "note"))
            continue;
        if (strcmp(word(total, "side"), "mds") == 0) {
            mine = MAX(bytes, 1024.0); /* less cannot be told from nothing */
        } else if (best == 0 || bytes < best) {
            best = bytes;
            name = word(total, "side");
        }
    }
    return mine > 0 && best > 0 ? value_of(best / mine, name) : nothing();
}

/* Level a of suite `idle` or `connect`: its number b. */
static struct found of_level(const struct files *files, const struct goal *g)
{
    const json_t *row = element(json_object_get(file_of(files, g->suite), "rows"), "level", g->a);
    const bool bytes = strcmp(g->b, "private_bytes") == 0;
    return row ? value_of(number(row, g->b) / (bytes ? 1024 : 1), "") : nothing();
}

static struct found share_of_crowd(const struct files *files, const struct goal *g)
{
    for (size_t i = 0; i < files->n; i++) {
        const json_t *total = element(json_object_get(files->roots[i], "totals"), "side", "mds");
        if (strcmp(word(files->roots[i], "command"), "clients") == 0 && number(total, "clients") == g->n)
            return value_of(number(total, "server_cpu_percent"), "");
    }
    return nothing();
}

static struct found carried(const struct files *files, const struct goal *g)
{
    (void)g;
    for (size_t i = 0; i < files->n; i++) {
        const json_t *found = json_object_get(files->roots[i], "found"),
                     *speed = json_object_get(files->roots[i], "speed");
        if (strcmp(word(files->roots[i], "command"), "clients") == 0 && found)
            return value_of(number(found, "carried") * json_number_value(speed), word(found, "stopped_by"));
    }
    return nothing();
}

/* ---- the goals --------------------------------------------------------------------------------------------- */

#define AT_LEAST(x) .bound = (x), .at_least = true
#define AT_MOST(x)  .bound = (x), .at_least = false

static const struct goal goals[] = {
    {"build, real mail: wall time of `doveadm index`", "x", "peers", AT_LEAST(4), than_peer, "real mds dovecot wall",
     NULL, 0},
    {"build, real mail: the same a CPU second", "x", "peers", AT_LEAST(2), than_peer, "real mds dovecot cpu", NULL, 0},
    {"build, generated mail: wall time of `doveadm index`", "x", "peers", AT_LEAST(3), than_peer,
     "generated mds dovecot wall", NULL, 0},
    {"build, generated mail: the same a CPU second", "x", "peers", AT_LEAST(1.5), than_peer,
     "generated mds dovecot cpu", NULL, 0},
    {"build by one thread, real mail: wall time of `doveadm index`", "x", "peers", AT_LEAST(-INFINITY), than_peer,
     "real mds-1 dovecot wall", NULL, 0},
    {"build by one thread, generated mail: wall time of `doveadm index`", "x", "peers", AT_LEAST(-INFINITY), than_peer,
     "generated mds-1 dovecot wall", NULL, 0},
    {"build and index of texts, real mail: wall time of mu", "x", "peers", AT_LEAST(10), than_peer,
     "real mds-text mu wall", NULL, 0},
    {"build and index of texts, real mail: wall time of notmuch", "x", "peers", AT_LEAST(30), than_peer,
     "real mds-text notmuch wall", NULL, 0},
    {"build and index of texts, generated mail: wall time of mu", "x", "peers", AT_LEAST(10), than_peer,
     "generated mds-text mu wall", NULL, 0},
    {"build and index of texts, generated mail: wall time of notmuch", "x", "peers", AT_LEAST(30), than_peer,
     "generated mds-text notmuch wall", NULL, 0},
    {"build, cold: rate of reading the files alone", "x", "peers --cold, on a disk", AT_LEAST(0.9), of_reading,
     "generated", NULL, 0},
    {"build of 10,000,000 messages: rate at 100,000", "x", "growth", AT_LEAST(0.8), growth, NULL, NULL, 0},
    {"build: Enterprise Vault's 2.5 million items an hour", "x", "build", AT_LEAST(100), times_the_vault, NULL, NULL,
     0},
    {"build: private memory", "MiB", "build", AT_MOST(256), build_memory, NULL, NULL, 0},
    {"store, of the vault at a mean of 20 KB", "%", "fetch", AT_MOST(10), store_share, NULL, NULL, 20000},

    {"FETCH FLAGS", "x", "fetch", AT_LEAST(3), faster_than_peers, "FLAGS", NULL, 6700},
    {"FETCH ENVELOPE", "x", "fetch", AT_LEAST(6), faster_than_peers, "ENVELOPE", NULL, 6700},
    {"FETCH ENVELOPE BODYSTRUCTURE", "x", "fetch", AT_LEAST(6), faster_than_peers, "ENVELOPE BODYSTRUCTURE", NULL,
     6700},
    {"FETCH BODYSTRUCTURE", "x", "fetch", AT_LEAST(3), faster_than_peers, "BODYSTRUCTURE", NULL, 6700},
    {"FETCH HEADER.FIELDS", "x", "fetch", AT_LEAST(4), faster_than_peers, "HEADER.FIELDS", NULL, 6700},
    {"FETCH HEADER", "x", "fetch", AT_LEAST(2.5), faster_than_peers, "HEADER", NULL, 6700},
    {"whole messages, mean of 6.7 KB", "x", "fetch", AT_LEAST(2.5), faster_than_peers, "whole messages", NULL, 6700},
    {"whole messages, mean of 20 KB", "x", "fetch", AT_LEAST(1.8), faster_than_peers, "whole messages", NULL, 20000},
    {"a window of 50 envelopes, p50", "ms", "fetch", AT_MOST(0.1), own_number, "window of 50: ENVELOPE", "p50_ms", 0},
    {"a window of 50 envelopes, p99", "ms", "fetch", AT_MOST(0.5), own_number, "window of 50: ENVELOPE", "p99_ms", 0},
    {"ENVELOPE: rate of LMDB and socket alone", "x", "fetch", AT_LEAST(0.6), of_floor, "ENVELOPE", NULL, 6700},
    {"over TLS: FETCH ENVELOPE, of plain", "x", "fetch", AT_LEAST(0.7), tls_of_plain, "ENVELOPE", NULL, 6700},
    {"over TLS: FETCH ENVELOPE BODYSTRUCTURE, of plain", "x", "fetch", AT_LEAST(0.7), tls_of_plain,
     "ENVELOPE BODYSTRUCTURE", NULL, 6700},
    {"over TLS: whole messages, of plain", "x", "fetch", AT_LEAST(0.7), tls_of_plain, "whole messages", NULL, 6700},
    {"SELECT of 1,000,000 messages, p50", "ms", "select", AT_MOST(2), own_number, "SELECT", "p50_ms", LARGE},
    {"LIST of 10,000 folders", "x", "list", AT_LEAST(5), faster_than_peers, "LIST *", NULL, 0},
    {"LIST-STATUS of 10,000 folders", "x", "list", AT_LEAST(5), faster_than_peers, "LIST-STATUS", NULL, 0},
    {"STORE, 16 sessions", "x", "rates", AT_LEAST(3), rate_of_peers, "STORE, 16 sessions", NULL, 0},
    {"APPEND, 16 sessions", "x", "rates", AT_LEAST(3), rate_of_peers, "APPEND, 16 sessions", NULL, 0},
    {"logins", "x", "rates", AT_LEAST(5), rate_of_peers, "login, SELECT, LOGOUT (4 at once)", NULL, 0},
    {"logins over TLS", "x", "rates", AT_LEAST(5), rate_of_peers, "the same over TLS, full handshakes", NULL, 0},
    {"an idle session's memory: how often in a peer's", "x", "rates", AT_LEAST(20), memory_of_peers, "plain", NULL, 0},
    {"an idle TLS session's memory: how often in a peer's", "x", "rates", AT_LEAST(20), memory_of_peers, "tls", NULL,
     0},
    {"an idle session's memory", "KiB", "idle", AT_MOST(16), of_level, "plain", "private_bytes", 0},
    {"an idle TLS session's memory", "KiB", "idle", AT_MOST(40), of_level, "tls", "private_bytes", 0},
    {"resumed TLS 1.3 connections, of plain ones", "x", "connect", AT_LEAST(0.5), of_level, "tls1.3-resumed",
     "of_plain", 0},
    {"resumed TLS 1.2 connections, of plain ones", "x", "connect", AT_LEAST(0.5), of_level, "tls1.2-resumed",
     "of_plain", 0},
    {"4,000 mixed clients: share of a core", "%", "clients", AT_MOST(25), share_of_crowd, NULL, NULL, 4000},
    {"clients with p99 of at most 100 ms (times --speed)", "", "clients --find", AT_LEAST(40000), carried, NULL, NULL,
     0},

    {"SEARCH by metadata at 1,000,000, the slowest", "ms", "search", AT_MOST(5), slowest, "metadata", NULL, 0},
    {"SEARCH of headers, at most 1 % hits", "ms", "search", AT_MOST(20), slowest, "headers", NULL, 0},
    {"BODY and TEXT of a word of 0.1 %", "ms", "search", AT_MOST(30), slowest, "words", NULL, 0},
    {"BODY and TEXT of absent strings", "ms", "search", AT_MOST(10), slowest, "absent", NULL, 0},
    {"BODY and TEXT of one and two characters", "ms", "search", AT_MOST(300), slowest, "characters", NULL, 0},
    {"phrases and separators, without 30 us a hit", "ms", "search", AT_MOST(50), slowest, "phrases", NULL, 0},
    {"phrases of stop words, the worst case", "ms", "search", AT_MOST(INFINITY), slowest, "stop words", NULL, 0},
    {"SORT (DATE)", "ms", "search", AT_MOST(60), own_number, "SORT (DATE)", "p50_ms", LARGE},
    {"SORT (SUBJECT)", "ms", "search", AT_MOST(150), own_number, "SORT (SUBJECT)", "p50_ms", LARGE},
    {"THREAD REFERENCES", "ms", "search", AT_MOST(700), own_number, "THREAD REFERENCES", "p50_ms", LARGE},
};

static void put_value(GString *out, double v, const char *unit)
{
    if (isinf(v))
        g_string_append(out, "no answer");
    else
        g_string_append_printf(out, fabs(v) >= 100 ? "%.0f %s" : fabs(v) >= 10 ? "%.1f %s" : "%.2f %s", v, unit);
}

static bool is_quick(const struct files *files)
{
    for (size_t i = 0; i < files->n; i++)
        if (json_is_true(json_object_get(files->roots[i], "quick")))
            return true;
    return false;
}

static void put_goal(GString *out, const struct files *files, const struct goal *goal, bool quick)
{
    const struct found f = goal->find(files, goal);
    const bool reached = goal->at_least ? f.value >= goal->bound : f.value <= goal->bound;
    g_string_append_printf(out, "| %s | ", goal->what);
    if (isinf(goal->bound))
        g_string_append(out, "shown");
    else
        g_string_append_printf(out, "%s %g %s", goal->at_least ? ">=" : "<=", goal->bound, goal->unit);
    g_string_append(out, " | ");
    if (f.there)
        put_value(out, f.value, goal->unit);
    if (f.there && *f.with)
        g_string_append_printf(out, " (%s)", f.with);
    if (!f.there)
        g_string_append_printf(out, "| no run of `%s` says it |\n", goal->suite);
    else
        g_string_append_printf(out, " | %s |\n",
                               isinf(goal->bound) || quick ? ""
                               : reached                   ? "reached"
                                                           : "**not reached**");
}

void goals_put(GString *out, json_t *const *roots, size_t n)
{
    const struct files files = {roots, n};
    const bool quick = is_quick(&files);
    g_string_append_printf(
        out,
        "\n## Goals\n\nx: times the better peer that took part, in parentheses, or what the goal names. "
        "What was not measured here says so.%s\n\n| goal | bound | measured | |\n|---|---:|---:|---|\n",
        quick ? " Quick runs are too small for a verdict." : "");
    for (size_t i = 0; i < G_N_ELEMENTS(goals); i++)
        put_goal(out, &files, &goals[i], quick);
}

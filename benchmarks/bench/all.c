/* all: see all.h. */
#include "all.h"

#include "bench_measure.h"
#include "report.h"
#include "server.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SKIPPED  77
#define ARGS_MAX 32

struct options {
    char *work, *out, *suites;
    gboolean quick;
};

/* "{vault}" is a Maildir of the size that the second column says. */
static const struct suite_call {
    const char *name, *quick, *full;
} calls[] = {
    {"build", "build --vault {vault} --repeats 2", "build --vault {vault} --items 10000,100000 --repeats 3"},
    {"peers", "peers --quick", "peers --messages 20000 --repeats 3"},
    {"search", "search --quick", "search --messages 100000,1000000"},
    {"keys", "keys --messages 10000 --rounds 5", "keys --messages 100000,1000000"},
    {"fetch", "fetch --quick", "fetch --messages 100000"},
    {"select", "select --quick", "select --messages 100000,1000000"},
    {"list", "list --quick", "list --folders 10000"},
    {"store", "store --imap --sessions 1,16 --seconds 2", "store --imap --sessions 1,16,64 --seconds 10"},
    {"append", "append --imap --sessions 1,16 --seconds 2", "append --imap --sessions 1,16,64 --seconds 10"},
    {"connect", "connect --seconds 1 --messages 100", "connect --seconds 10"},
    {"idle", "idle --sessions 300 --messages 1000 --rounds 300 --settle 1", "idle --sessions 10000"},
    {"rates", "rates --quick", "rates --seconds 5 --repeats 3"},
    {"clients", "clients --quick", "clients --desktops 2000 --phones 2000 --seconds 300"},
};

#define QUICK_VAULT "3000"
#define FULL_VAULT  "100000"

static int run_program(char *const *argv, const char *output, int *status, struct error *err)
{
    struct bench_cost cost;
    const int rc = bench_run_program(argv, output, &cost, err);
    *status = cost.status;
    return rc;
}

static int make_vault(const struct options *o, const char *vault, struct error *err)
{
    char *gen = bench_sibling("mds-gen"), *copy = g_strdup(vault),
         *size = g_strdup(o->quick ? QUICK_VAULT : FULL_VAULT);
    char *argv[] = {gen, (char[]){"--quiet"}, (char[]){"--out"}, copy, (char[]){"--messages"}, size, NULL};
    int status = 0, rc = run_program(argv, NULL, &status, err);
    if (rc == 0 && status != 0)
        rc = error_set(err, BASE_ERR_IO, 0, "mds-gen ended with status %d", status);
    g_free(size);
    g_free(copy);
    g_free(gen);
    return rc;
}

/* Its status, or -1 and an error. */
static int run_suite(const struct options *o, const struct suite_call *call, const char *vault, const char *json,
                     struct error *err)
{
    char **words = g_strsplit(o->quick ? call->quick : call->full, " ", ARGS_MAX - 8), *argv[ARGS_MAX] = {NULL};
    char *self = bench_sibling("mds-bench"), *text = g_strdup_printf("%s/%s.txt", o->out, call->name);
    char *json_name = g_strdup(json);
    size_t n = 0;
    int status = -1;
    argv[n++] = self;
    for (char **w = words; *w; w++)
        argv[n++] = strcmp(*w, "{vault}") == 0 ? (char *)(uintptr_t)vault : *w;
    argv[n++] = (char[]){"--work"};
    argv[n++] = o->work;
    argv[n++] = (char[]){"--json"};
    argv[n++] = json_name;
    const int rc = run_program(argv, text, &status, err);
    g_free(json_name);
    g_free(text);
    g_free(self);
    g_strfreev(words);
    return rc == 0 ? status : -1;
}

static bool wanted(const struct options *o, const char *name)
{
    char **names = o->suites ? g_strsplit(o->suites, ",", -1) : NULL;
    const bool is = !names || g_strv_contains((const gchar *const *)names, name);
    g_strfreev(names);
    return is;
}

/* The number of suites that failed, or -1. */
static int run(const struct options *o, const char *dir, struct error *err)
{
    char *vault = g_build_filename(dir, "vault", NULL), *files[G_N_ELEMENTS(calls)];
    size_t n = 0;
    int failed = 0, rc = g_mkdir_with_parents(o->out, 0777) == 0 ? 0 : error_errno(err, "cannot make %s", o->out);
    rc = rc ? rc : make_vault(o, vault, err);
    for (size_t i = 0; i < G_N_ELEMENTS(calls) && rc == 0; i++) {
        if (!wanted(o, calls[i].name))
            continue;
        char *json = g_strdup_printf("%s/%s.json", o->out, calls[i].name);
        const gint64 began = g_get_monotonic_time();
        g_unlink(json);
        const int status = run_suite(o, &calls[i], vault, json, err);
        const bool found = g_file_test(json, G_FILE_TEST_EXISTS);
        printf("%-10s %6.1f s  %s\n", calls[i].name, (double)(g_get_monotonic_time() - began) / 1e6,
               status == 0         ? "done"
               : status == SKIPPED ? "skipped: see its text"
               : found             ? "done, with wrong answers: see its text"
                                   : "FAILED");
        fflush(stdout);
        failed += status != 0 && status != SKIPPED;
        rc = status < 0 ? BASE_ERR_IO : 0;
        if (found)
            files[n++] = json;
        else
            g_free(json);
    }
    rc = rc ? rc : report_write(o->out, files, n, err);
    while (n > 0)
        g_free(files[--n]);
    g_free(vault);
    return rc == 0 ? failed : -1;
}

static int run_in_work(const struct options *o)
{
    char *dir = g_build_filename(o->work, "mds-bench-all.XXXXXX", NULL);
    struct error err = {0};
    const int failed = g_mkdtemp(dir) ? run(o, dir, &err) : (error_errno(&err, "cannot make %s", dir), -1);
    if (failed < 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    else
        printf("page: %s/README.md\n", o->out);
    bench_remove_tree(dir);
    g_free(dir);
    return failed < 0 ? 3 : failed > 0 ? 1 : 0;
}

bool all_main(int argc, char **argv, int *status_out)
{
    struct options o = {0};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where vaults, stores and servers live (.)", "DIR"},
        {"out", 0, 0, G_OPTION_ARG_FILENAME, &o.out, "where numbers and the page go", "DIR"},
        {"suites", 0, 0, G_OPTION_ARG_STRING, &o.suites, "only these", "LIST"},
        {"quick", 0, 0, G_OPTION_ARG_NONE, &o.quick, "three minutes: whether it works, and about how fast", NULL},
        {0},
    };
    GError *gerror = NULL;
    if (argc < 2 || strcmp(argv[1], "all") != 0)
        return false;
    GOptionContext *context = g_option_context_new("all - every suite, and a page");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc == 2 && o.out;
    g_option_context_free(context);
    if (parsed) {
        o.work = o.work ? o.work : g_strdup(".");
        *status_out = run_in_work(&o);
    } else {
        fprintf(stderr, "mds-bench: %s (see --help)\n", gerror ? gerror->message : "--out DIR is missing");
        *status_out = 2;
    }
    g_clear_error(&gerror);
    g_free(o.work);
    g_free(o.out);
    g_free(o.suites);
    return true;
}

/* all: see all.h. */
#include "all.h"

#include "bench_measure.h"
#include "report.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77

struct options {
    char *work, *out, *suites, *vault, *mail, *kept;
    gboolean quick;
};

/*
 * "{vault}" is a Maildir that is made for all; "{large}" is --vault, "{mail}" --mail, "{kept}" --mbox-vaults. A call
 * whose word is not given loses that word and the option before it, or is left out if it begins with "?". A suite that
 * is not done after most_s has its processes ended; what it wrote by then counts.
 */
static const struct suite_call {
    const char *name, *quick, *full;
    int most_s; /* of a full run; a quick one: QUICK_MOST_S */
} calls[] = {
    {"build", "build --vault {vault} --repeats 2", "build --vault {vault} --items 10000,100000 --repeats 3", 180},
    {"growth", NULL, "?growth --vaults {kept} --messages 100000,10000000", 900},
    {"peers", "peers --quick", "peers --messages 10000 --repeats 3", 420},
    {"peers-large", NULL, "peers --messages 100000 --sides mds-1,dovecot --repeats 3", 180},
    {"peers-real", "?peers --quick --mail {mail}", "?peers --mail {mail} --word patch --repeats 2", 300},
    {"search", "search --quick",
     "search --messages 500,100000,1000000 --vault {large} --repeats 10 --patience 60 --row 1 --budget 30 "
     "--index-patience 100",
     1200},
    {"keys", "keys --messages 10000 --rounds 5", "keys --messages 100000,1000000 --rounds 20", 120},
    {"fetch", "fetch --quick",
     "fetch --messages 50000,20000@20000 --repeats 10 --patience 20 --row 4 --index-patience 150", 360},
    {"select", "select --quick",
     "select --messages 100000,1000000 --vault {large} --sides dovecot --row 4 --index-patience 60", 240},
    {"list", "list --quick", "list --folders 10000 --row 4 --index-patience 150 --repeats 10", 240},
    {"store", "store --imap --sessions 1,16 --seconds 2", "store --imap --sessions 1,16,64 --seconds 4", 90},
    {"append", "append --imap --sessions 1,16 --seconds 2", "append --imap --sessions 1,16,64 --seconds 4", 90},
    {"connect", "connect --seconds 1 --messages 100", "connect --seconds 5 --messages 100", 60},
    {"idle", "idle --sessions 300 --messages 1000 --rounds 300 --settle 1",
     "idle --sessions 9000 --levels plain,tls --settle 8", 180},
    {"rates", "rates --quick", "rates --seconds 2 --repeats 1 --idle 300", 420},
    {"clients", "clients --quick", "clients --desktops 2000 --phones 2000 --seconds 60", 180},
    {"clients-find", NULL, "clients --find --speed 3 --desktops 2500 --phones 2500 --seconds 15 --find-seconds 240",
     330},
};

#define QUICK_MOST_S 120
#define GRACE_S      5 /* between SIGTERM and SIGKILL */

#define QUICK_VAULT  "3000"
#define FULL_VAULT   "100000"

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

static const char *given_for(const struct options *o, const char *vault, const char *word)
{
    return strcmp(word, "{vault}") == 0   ? vault
           : strcmp(word, "{large}") == 0 ? o->vault
           : strcmp(word, "{mail}") == 0  ? o->mail
                                          : o->kept;
}

/* The suite's words, owned by the caller: g_strfreev. NULL: it is left out. */
static char **words_of(const struct options *o, const struct suite_call *call, const char *vault)
{
    const char *line = o->quick ? call->quick : call->full;
    const bool all = line && *line == '?';
    bool missing = !line;
    GPtrArray *out = g_ptr_array_new();
    char **words = g_strsplit(line ? line + all : "", " ", -1);
    for (char **w = words; *w && !missing; w++) {
        const char *given = **w == '{' ? given_for(o, vault, *w) : *w;
        missing = !given && all;
        if (given)
            g_ptr_array_add(out, g_strdup(given));
        else if (out->len > 0) /* its option */
            g_free(g_ptr_array_steal_index(out, out->len - 1));
    }
    g_strfreev(words);
    g_ptr_array_add(out, NULL);
    words = (char **)g_ptr_array_free(out, FALSE);
    if (missing)
        g_clear_pointer(&words, g_strfreev);
    return words;
}

/* Waits, and ends the whole group of processes when the time is over. *late: that was so. */
static int await_group(pid_t pid, int most_s, bool *late)
{
    const gint64 began = g_get_monotonic_time();
    int status = 0, sent = 0;
    *late = false;
    for (pid_t got; (got = waitpid(pid, &status, WNOHANG)) != pid;) {
        const double s = (double)(g_get_monotonic_time() - began) / 1e6;
        if (got < 0 && errno != EINTR)
            return 127;
        if (s > most_s && sent == 0)
            sent = kill(-pid, SIGTERM) == 0 ? SIGTERM : SIGKILL;
        else if (s > most_s + GRACE_S && sent == SIGTERM)
            sent = kill(-pid, SIGKILL) == 0 ? SIGKILL : SIGTERM;
        *late = sent != 0;
        g_usleep(50000);
    }
    if (*late)
        (void)kill(-pid, SIGKILL); /* what outlived its parent */
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Its status, or -1 and an error. A group of its own, so that nothing of a suite outlives its time. */
static int run_suite(char *const *argv, const char *text, int most_s, bool *late, struct error *err)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, "cannot fork"), -1;
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        const int fd = open(text, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd >= 0) {
            dup2(fd, STDOUT_FILENO);
            dup2(fd, STDERR_FILENO);
        }
        execv(argv[0], argv);
        _exit(127);
    }
    setpgid(pid, pid); /* whoever is first */
    return await_group(pid, most_s, late);
}

/* In a directory of its own, that is gone afterwards whatever happened; its name is short because peers make sockets
 * far below it, whose paths may have 107 bytes. words: freed. */
static int run_call(const struct options *o, const struct suite_call *call, char **words, const char *dir,
                    const char *json, bool *late, struct error *err)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    char *work = g_build_filename(dir, "s", NULL), *text = g_strdup_printf("%s/%s.txt", o->out, call->name);
    int status = -1;
    g_ptr_array_add(argv, bench_sibling("mds-bench"));
    for (char **w = words; *w; w++)
        g_ptr_array_add(argv, g_strdup(*w));
    g_ptr_array_add(argv, g_strdup("--work"));
    g_ptr_array_add(argv, g_strdup(work));
    g_ptr_array_add(argv, g_strdup("--json"));
    g_ptr_array_add(argv, g_strdup(json));
    g_ptr_array_add(argv, NULL);
    if (g_mkdir(work, 0755) != 0)
        error_errno(err, "cannot make %s", work);
    else
        status = run_suite((char *const *)argv->pdata, text, o->quick ? QUICK_MOST_S : call->most_s, late, err);
    bench_remove_tree(work);
    g_free(text);
    g_free(work);
    g_ptr_array_free(argv, TRUE);
    g_strfreev(words);
    return status;
}

static bool wanted(const struct options *o, const char *name)
{
    char **names = o->suites ? g_strsplit(o->suites, ",", -1) : NULL;
    const bool is = !names || g_strv_contains((const gchar *const *)names, name);
    g_strfreev(names);
    return is;
}

static void tell(const struct suite_call *call, gint64 began, int status, bool late, bool found)
{
    const char *how = late                ? found ? "its time was over: what it had found by then" : "its time was over"
                      : status == 0       ? "done"
                      : status == SKIPPED ? "skipped: see its text"
                      : found             ? "done, with wrong answers: see its text"
                                          : "FAILED";
    printf("%-12s %6.1f s  %s\n", call->name, (double)(g_get_monotonic_time() - began) / 1e6, how);
    fflush(stdout);
}

/* The number of suites that failed, or -1. */
static int run(const struct options *o, const char *dir, struct error *err)
{
    char *vault = g_build_filename(dir, "vault", NULL), *files[G_N_ELEMENTS(calls)];
    size_t n = 0;
    int failed = 0, rc = g_mkdir_with_parents(o->out, 0777) == 0 ? 0 : error_errno(err, "cannot make %s", o->out);
    rc = rc || !wanted(o, "build") ? rc : make_vault(o, vault, err);
    for (size_t i = 0; i < G_N_ELEMENTS(calls) && rc == 0; i++) {
        char **words = wanted(o, calls[i].name) ? words_of(o, &calls[i], vault) : NULL;
        if (!words)
            continue;
        char *json = g_strdup_printf("%s/%s.json", o->out, calls[i].name);
        const gint64 began = g_get_monotonic_time();
        bool late = false;
        g_unlink(json);
        const int status = run_call(o, &calls[i], words, dir, json, &late, err);
        const bool found = g_file_test(json, G_FILE_TEST_EXISTS);
        tell(&calls[i], began, status, late, found);
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
    char *work = g_canonicalize_filename(o->work, NULL), *dir = g_build_filename(work, "mds-bench-XXXXXX", NULL);
    struct error err = {0};
    const int failed = g_mkdtemp(dir) && chmod(dir, 0755) == 0 /* peers run as nobody */
                           ? run(o, dir, &err)
                           : (error_errno(&err, "cannot make %s", dir), -1);
    if (failed < 0)
        fprintf(stderr, "mds-bench: %s\n", err.text);
    else
        printf("page: %s/README.md\n", o->out);
    bench_remove_tree(dir);
    g_free(dir);
    g_free(work);
    return failed < 0 ? 3 : failed > 0 ? 1 : 0;
}

bool all_main(int argc, char **argv, int *status_out)
{
    struct options o = {0};
    GOptionEntry entries[] = {
        {"work", 0, 0, G_OPTION_ARG_FILENAME, &o.work, "where vaults, stores and servers live (.)", "DIR"},
        {"out", 0, 0, G_OPTION_ARG_FILENAME, &o.out, "where numbers and the page go", "DIR"},
        {"suites", 0, 0, G_OPTION_ARG_STRING, &o.suites, "only these", "LIST"},
        {"vault", 0, 0, G_OPTION_ARG_FILENAME, &o.vault,
         "in place of making one: a Maildir of 1,000,000 messages by mds-gen, on the same file system", "DIR"},
        {"mail", 0, 0, G_OPTION_ARG_FILENAME, &o.mail, "a tree of files of real mail, for peers-real", "DIR"},
        {"mbox-vaults", 0, 0, G_OPTION_ARG_FILENAME, &o.kept, "for growth: 29 GB of mbox, made there if missing",
         "DIR"},
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
    g_free(o.vault);
    g_free(o.mail);
    g_free(o.kept);
    return true;
}

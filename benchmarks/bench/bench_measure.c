/*
 * bench_measure: a sampler thread walks the child's tree through /proc/PID/task/TID/children; it takes well under a per
 * cent of one core.
 */
#include "bench_measure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <glib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLE_MS      50
#define TREE_DEPTH     8     /* of processes; a build has two */
#define DESCENDANTS_MS 10000 /* patience with processes that outlive a run */

static uint64_t status_kib(const char *status, const char *field)
{
    const char *at = strstr(status, field);
    return at ? g_ascii_strtoull(at + strlen(field), NULL, 10) : 0;
}

/* The 14th to 17th word of /proc/PID/stat; the second, a name in parentheses, may hold anything. */
static double stat_cpu_s(const char *stat)
{
    unsigned long user = 0, system = 0, child_user = 0, child_system = 0;
    const char *at = strrchr(stat, ')');
    if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &user, &system,
                      &child_user, &child_system) != 4)
        return 0;
    return (double)(user + system + child_user + child_system) / (double)sysconf(_SC_CLK_TCK);
}

static void look(pid_t pid, int depth, struct bench_tree *sum)
{
    char path[64], *text = NULL;
    g_snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return; /* it has ended meanwhile */
    sum->private_bytes += (status_kib(text, "RssAnon:") + status_kib(text, "RssShmem:")) * 1024;
    g_free(text);
    g_snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    text = NULL;
    if (g_file_get_contents(path, &text, NULL, NULL))
        sum->cpu_s += stat_cpu_s(text);
    g_free(text);
    g_snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = depth < TREE_DEPTH ? opendir(path) : NULL;
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        if (e->d_name[0] == '.')
            continue;
        char *children = g_strdup_printf("%s/%s/children", path, e->d_name), *list = NULL;
        if (g_file_get_contents(children, &list, NULL, NULL))
            for (char *p = list, *end; *p; p = end) {
                gint64 child = g_ascii_strtoll(p, &end, 10);
                if (end == p)
                    break;
                look((pid_t)child, depth + 1, sum);
                while (*end == ' ')
                    end++;
            }
        g_free(list);
        g_free(children);
    }
    if (tasks)
        closedir(tasks);
}

struct bench_tree bench_tree_look(int pid)
{
    struct bench_tree sum = {0};
    if (pid > 0)
        look((pid_t)pid, 0, &sum);
    return sum;
}

struct sampler {
    pid_t pid;
    GMutex lock;
    GCond wake;
    gboolean stop; /* under lock */
    uint64_t peak; /* the sampler's until it is joined */
    int samples;
};

static gpointer sample(gpointer arg)
{
    struct sampler *s = arg;
    g_mutex_lock(&s->lock);
    while (!s->stop) {
        uint64_t now = bench_tree_look(s->pid).private_bytes;
        s->peak = MAX(s->peak, now);
        s->samples++;
        g_cond_wait_until(&s->wake, &s->lock, g_get_monotonic_time() + SAMPLE_MS * 1000);
    }
    g_mutex_unlock(&s->lock);
    return NULL;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* All that our ended children, and theirs, have used so far. */
static struct rusage used_by_children(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return usage;
}

/*
 * Descendants that outlive the child become ours (we are their subreaper): they are awaited, so that their CPU time
 * counts and none disturbs the next run. What they take after the child's end is not in the wall time.
 */
static void reap_descendants(void)
{
    for (int waited_ms = 0; waited_ms < DESCENDANTS_MS;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return;
        if (pid == 0) {
            g_usleep(10 * 1000);
            waited_ms += 10;
        }
    }
    fputs("mds-bench: a process of the last run is still there: its CPU time is not counted\n", stderr);
}

/* began: when the child was forked. */
static int await(pid_t pid, gint64 began, struct bench_cost *out, struct error *err)
{
    struct sampler s = {.pid = pid};
    GThread *thread = g_thread_new("sample", sample, &s);
    int status = 0, rc = 0;
    struct rusage before = used_by_children();
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) {
            rc = error_errno(err, "cannot wait for a child");
            break;
        }
    gint64 ended = g_get_monotonic_time();
    g_mutex_lock(&s.lock);
    s.stop = TRUE;
    g_cond_signal(&s.wake);
    g_mutex_unlock(&s.lock);
    g_thread_join(thread);
    reap_descendants();
    struct rusage after = used_by_children();
    *out = (struct bench_cost){
        .wall_s = (double)(ended - began) / 1e6,
        .user_s = seconds(after.ru_utime) - seconds(before.ru_utime),
        .system_s = seconds(after.ru_stime) - seconds(before.ru_stime),
        .peak_bytes = s.peak,
        .samples = s.samples,
        .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
    };
    return rc;
}

int bench_run_function(int (*body)(void *arg), void *arg, struct bench_cost *out, struct error *err)
{
    gint64 began = g_get_monotonic_time();
    fflush(NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, "cannot fork");
    if (pid == 0)
        _exit(body(arg));
    return await(pid, began, out, err);
}

int bench_run_program(char *const *argv, const char *output, struct bench_cost *out, struct error *err)
{
    gint64 began = g_get_monotonic_time();
    fflush(NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, "cannot fork");
    if (pid == 0) {
        int fd = open(output ? output : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd >= 0)
            dup2(fd, STDOUT_FILENO);
        execv(argv[0], argv);
        fprintf(stderr, "mds-bench: cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    return await(pid, began, out, err);
}

static FTS *open_tree(const char *dir)
{
    char *paths[] = {g_strdup(dir), NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    g_free(paths[0]);
    return tree;
}

uint64_t bench_disk_bytes(const char *dir)
{
    uint64_t sum = 0;
    FTS *tree = open_tree(dir);
    for (FTSENT *e; tree && (e = fts_read(tree));)
        if (e->fts_info == FTS_F)
            sum += (uint64_t)e->fts_statp->st_blocks * 512;
    if (tree)
        fts_close(tree);
    return sum;
}

int bench_compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void bench_remove_tree(const char *dir)
{
    FTS *tree = open_tree(dir);
    for (FTSENT *e; tree && (e = fts_read(tree));)
        if (e->fts_info != FTS_D)
            remove(e->fts_path);
    if (tree)
        fts_close(tree);
}

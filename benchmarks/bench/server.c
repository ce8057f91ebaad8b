/* server: see server.h. */
#include "server.h"

#include "bench_measure.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MORE_MAX 16
#define START_MS 20000 /* patience with a server that begins */

/* Standard output goes to `output`. */
static pid_t run_child(char *const *argv, int output, struct error *err)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, "cannot fork"), -1;
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(output, STDOUT_FILENO);
    execv(argv[0], argv);
    fprintf(stderr, "mds-bench: cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int await_child(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int bench_run_beside(char *const *argv, struct error *err)
{
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0)
        return error_errno(err, "/dev/null");
    const pid_t pid = run_child(argv, nowhere, err);
    const int status = pid < 0 ? -1 : await_child(pid);
    close(nowhere);
    if (pid < 0)
        return BASE_ERR_IO;
    return status <= 1 ? 0 : error_set(err, BASE_ERR_IO, 0, "%s %s ended with status %d", argv[0], argv[1], status);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int bench_run_beside_cost(char *const *argv, int patience_s, struct bench_cost *out, struct error *err)
{
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0)
        return error_errno(err, "/dev/null");
    const gint64 began = g_get_monotonic_time();
    const pid_t pid = run_child(argv, nowhere, err);
    close(nowhere);
    if (pid < 0)
        return BASE_ERR_IO;
    struct rusage used = {0};
    int status = 0;
    bool killed = false;
    for (pid_t got; (got = wait4(pid, &status, patience_s > 0 && !killed ? WNOHANG : 0, &used)) != pid;) {
        if (got < 0 && errno != EINTR)
            return error_errno(err, "cannot wait for %s", argv[0]);
        if (patience_s > 0 && g_get_monotonic_time() - began > (gint64)patience_s * G_USEC_PER_SEC)
            killed = kill(pid, SIGKILL) == 0;
        else if (got == 0)
            g_usleep(5000);
    }
    if (killed)
        return error_set(err, BASE_ERR_CANCELLED, 0, "not done after %d s", patience_s);
    *out = (struct bench_cost){.wall_s = (double)(g_get_monotonic_time() - began) / 1e6,
                               .user_s = seconds_of(used.ru_utime),
                               .system_s = seconds_of(used.ru_stime),
                               .peak_bytes = (uint64_t)used.ru_maxrss * 1024,
                               .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    return 0;
}

/* A line for each listener says where it listens. */
static int read_address(int fd, struct sockaddr_in *out, struct error *err)
{
    char line[256];
    size_t n = 0;
    for (ssize_t got; n < sizeof line - 1 && (n == 0 || line[n - 1] != '\n'); n += (size_t)got)
        if ((got = read(fd, line + n, 1)) <= 0)
            return error_set(err, BASE_ERR_IO, 0, "mds serve did not listen");
    line[n] = 0;
    const char *at = strstr(line, "127.0.0.1:");
    const guint64 port = at ? g_ascii_strtoull(at + strlen("127.0.0.1:"), NULL, 10) : 0;
    if (port == 0 || port > 65535)
        return error_set(err, BASE_ERR_IO, 0, "mds serve said: %s", line);
    *out = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((in_port_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return 0;
}

static int start(char *const *argv, struct sockaddr_in *addresses, size_t n, struct bench_server *out,
                 struct error *err)
{
    int ends[2], rc = 0;
    *out = (struct bench_server){.output = -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_errno(err, "pipe");
    const pid_t pid = run_child(argv, ends[1], err);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return BASE_ERR_IO;
    }
    out->pid = pid;
    out->output = ends[0];
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = read_address(ends[0], &addresses[i], err);
    if (rc != 0)
        bench_server_stop(out);
    else
        out->address = addresses[0];
    return rc;
}

int bench_server_start(char *mds, char *store, char *const *more, struct bench_server *out, struct error *err)
{
    char *argv[8 + MORE_MAX] = {mds,   (char[]){"serve"},    (char[]){"--store"},
                                store, (char[]){"--listen"}, (char[]){"127.0.0.1:0"}};
    struct sockaddr_in address;
    for (size_t i = 0; more && more[i] && i < MORE_MAX; i++)
        argv[6 + i] = more[i];
    return start(argv, &address, 1, out, err);
}

int bench_server_start_configured(char *mds, char *config, struct sockaddr_in *addresses, size_t n,
                                  struct bench_server *out, struct error *err)
{
    char *argv[] = {mds, (char[]){"serve"}, (char[]){"--config"}, config, NULL};
    return start(argv, addresses, n, out, err);
}

int bench_free_address(struct sockaddr_in *out, struct error *err)
{
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof *out;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;
    if (fd < 0 || bind(fd, (const struct sockaddr *)out, sizeof *out) != 0 ||
        getsockname(fd, (struct sockaddr *)out, &n) != 0)
        rc = error_errno(err, "no free port");
    if (fd >= 0)
        close(fd);
    return rc;
}

static bool accepts(const struct sockaddr_in *address)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool does = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    if (fd >= 0)
        close(fd);
    return does;
}

int bench_server_spawn(char *const *argv, struct sockaddr_in address, struct bench_server *out, struct error *err)
{
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    *out = (struct bench_server){.output = -1, .address = address};
    if (nowhere < 0)
        return error_errno(err, "/dev/null");
    const pid_t pid = run_child(argv, nowhere, err);
    close(nowhere);
    if (pid < 0)
        return BASE_ERR_IO;
    out->pid = pid;
    for (int waited_ms = 0; waited_ms < START_MS; waited_ms += 20) {
        if (accepts(&address))
            return 0;
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            out->pid = 0;
            return error_set(err, BASE_ERR_IO, 0, "%s ended before it listened", argv[0]);
        }
        g_usleep(20 * 1000);
    }
    bench_server_stop(out);
    return error_set(err, BASE_ERR_IO, 0, "%s does not listen", argv[0]);
}

void bench_server_stop(struct bench_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGTERM);
    const int status = await_child(server->pid);
    if (status != 0)
        fprintf(stderr, "mds-bench: the server ended with status %d\n", status);
    if (server->output >= 0)
        close(server->output);
    *server = (struct bench_server){.output = -1};
}

/* ---- /proc ------------------------------------------------------------------------------------------- */

static uint64_t field(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    return at ? g_ascii_strtoull(at + strlen(name), NULL, 10) : 0;
}

static uint64_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    uint64_t n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

/* The 14th and 15th word; the second, a name in parentheses, may hold anything. */
static double cpu_seconds(const char *stat)
{
    unsigned long user = 0, system = 0;
    const char *at = strrchr(stat, ')');
    if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
        return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return 0;
}

int bench_process_look(pid_t pid, struct bench_process *out, struct error *err)
{
    char path[64], *status = NULL, *stat = NULL;
    int rc = 0;
    g_snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!g_file_get_contents(path, &status, NULL, NULL))
        rc = error_errno(err, "%s", path);
    g_snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (rc == 0 && !g_file_get_contents(path, &stat, NULL, NULL))
        rc = error_errno(err, "%s", path);
    g_snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    if (rc == 0)
        *out = (struct bench_process){
            .descriptors = count_entries(path),
            .threads = field(status, "Threads:"),
            .virtual_bytes = field(status, "VmSize:") * 1024,
            .private_bytes = field(status, "RssAnon:") * 1024,
            .shmem_bytes = field(status, "RssShmem:") * 1024,
            .file_bytes = field(status, "RssFile:") * 1024,
            .cpu_s = cpu_seconds(stat),
        };
    g_free(status);
    g_free(stat);
    return rc;
}

/* ---- */

char *bench_sibling(const char *name)
{
    char *self = g_file_read_link("/proc/self/exe", NULL), *dir = g_path_get_dirname(self ? self : ".");
    char *path = g_build_filename(dir, name, NULL);
    g_free(self);
    g_free(dir);
    return path;
}

uint64_t bench_raise_descriptors(void)
{
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

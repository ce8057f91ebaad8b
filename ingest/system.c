/*
 * system: see the header.
 */
#include "system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ingest_private.h"

uint64_t system_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void system_post(int fd)
{
    static const uint64_t one = 1;
    int saved = errno;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved;
}

void system_drain(int fd)
{
    uint64_t n;
    while (read(fd, &n, sizeof n) < 0 && errno == EINTR)
        ;
}

void system_wait(int fd)
{
    uint64_t n;
    while (read(fd, &n, sizeof n) < 0 && errno == EINTR)
        ;
}

static bool is_fault(int sig)
{
    return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL;
}

void system_reset_signals(void)
{
    static const int ignored[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE, SIGTSTP,
                                  SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGALRM};
    for (int sig = 1; sig < NSIG; sig++) {
        if (INGEST_SANITIZED && is_fault(sig))
            continue; /* the sanitizer's report */
        struct sigaction now;
        if (sigaction(sig, NULL, &now) == 0 && now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)
            signal(sig, SIG_DFL);
    }
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_kept(int fd, const int *keep, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (keep[i] == fd)
            return true;
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) != 0)
        return false;
    return (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && (flags & O_ACCMODE) == O_RDONLY;
}

void system_close_foreign(const int *keep, size_t n)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir) {
        for (struct dirent *d; (d = readdir(dir));) {
            char *end;
            long fd = strtol(d->d_name, &end, 10);
            if (*end || end == d->d_name || fd <= STDERR_FILENO || fd == dirfd(dir))
                continue;
            if (!is_kept((int)fd, keep, n))
                close((int)fd);
        }
        closedir(dir);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
}

void system_die_with_parent(int parent_pid)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent_pid)
        _exit(0); /* it died before the call above */
}

void system_name(const char *name)
{
    prctl(PR_SET_NAME, name);
}

void system_no_core(void)
{
    /* 1, not 0: a piped core_pattern ignores 0 and heeds 1; a file of one byte is never written. */
    struct rlimit r = {1, 1};
    setrlimit(RLIMIT_CORE, &r);
}

/* Fields of /proc/self/statm in pages: size resident shared text lib data dirty. */
static bool read_statm(unsigned long long f[6])
{
    char text[160];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    char *p = text;
    for (int i = 0; i < 6; i++)
        f[i] = strtoull(p, &p, 10);
    return true;
}

void system_limit_data(uint64_t more_bytes)
{
    unsigned long long f[6];
    struct rlimit r;
    if (!read_statm(f) || getrlimit(RLIMIT_DATA, &r) != 0)
        return;
    rlim_t want = (rlim_t)f[5] * (rlim_t)sysconf(_SC_PAGESIZE) + more_bytes;
    if (r.rlim_max == RLIM_INFINITY || want < r.rlim_max)
        r.rlim_max = want;
    if (r.rlim_cur == RLIM_INFINITY || want < r.rlim_cur)
        r.rlim_cur = want;
    setrlimit(RLIMIT_DATA, &r);
}

void system_idle_priority(void)
{
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };
    syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT);
    if (getpriority(PRIO_PROCESS, 0) < 10) /* never raised */
        setpriority(PRIO_PROCESS, 0, 10);
}

uint64_t system_private_bytes(void)
{
    unsigned long long f[6];
    if (!read_statm(f) || f[1] < f[2])
        return 0;
    return (f[1] - f[2]) * (uint64_t)sysconf(_SC_PAGESIZE);
}

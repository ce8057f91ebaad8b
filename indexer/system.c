/* Clock, sleep, temporary files, child processes. */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t id)
{
    struct timespec t = {0};
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t indexer_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t indexer_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

void indexer_sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL); /* a signal may cut it short: callers look at their flags */
}

static double seconds_of(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

uint64_t indexer_descriptors_max(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 256;
}

double indexer_cpu_seconds(bool with_children)
{
    struct rusage self = {0}, children = {0};
    getrusage(RUSAGE_SELF, &self);
    if (with_children)
        getrusage(RUSAGE_CHILDREN, &children);
    return seconds_of(&self.ru_utime) + seconds_of(&self.ru_stime) + seconds_of(&children.ru_utime) +
           seconds_of(&children.ru_stime);
}

int indexer_temp_file(const char *dir, struct error *err)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    /* File systems without O_TMPFILE: make and unlink. */
    char path[4200];
    if (snprintf(path, sizeof path, "%s/.mds-tmp-XXXXXX", dir) >= (int)sizeof path)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: path too long", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "%s: no temporary file", dir);
    unlink(path);
    return fd;
}

pid_t indexer_fork_reader(void)
{
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(3); /* it died before the call above */
    }
    return pid;
}

int indexer_child_status(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

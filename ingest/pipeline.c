/*
 * pipeline: beginning and end of a pipeline, and what its two sides share.
 */
#include "pipeline.h"

#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEAVE_MS 3000 /* the nursery's time to end its workers before it is killed */

static uint32_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : (uint32_t)n;
}

static int fill_defaults(const struct ingest_settings *given, struct ingest_settings *s, struct error *err)
{
    *s = *given;
    if (s->workers == 0)
        s->workers = cores();
    if (s->item_ms == 0)
        s->item_ms = 20000;
    if (s->worker_bytes == 0)
        s->worker_bytes = UINT64_C(1) << 30;
    if (s->slots == 0)
        s->slots = 8 + 12 * s->workers; /* work for both cores while the writer waits for a commit */
    if (s->recycle_bytes == 0)
        s->recycle_bytes = INGEST_SANITIZED ? UINT64_MAX : RECYCLE_BYTES;
    if (!s->parse)
        s->parse = mime_parse;
    if (s->workers > WORKERS_MAX || s->slots > SLOTS_MAX)
        return error_set(err, BASE_ERR_USAGE, 0, "ingest: at most %u workers and %u slots", WORKERS_MAX, SLOTS_MAX);
    if (s->vaults_n == 0 || !s->vaults)
        return error_set(err, BASE_ERR_USAGE, 0, "ingest: no vault");
    return BASE_OK;
}

static int open_fds(struct ingest *ing, struct error *err)
{
    int leash[2], life[2];
    ing->crew.work_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    ing->crew.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ing->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ing->space_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ing->crew.work_fd < 0 || ing->crew.done_fd < 0 || ing->cancel_fd < 0 || ing->space_fd < 0)
        return error_errno(err, "ingest: eventfd");
    if (pipe2(leash, O_CLOEXEC) != 0)
        return error_errno(err, "ingest: pipe");
    ing->crew.parent_fd = leash[0];
    ing->leash_fd = leash[1];
    if (pipe2(life, O_CLOEXEC) != 0)
        return error_errno(err, "ingest: pipe");
    ing->life_read_fd = life[0];
    ing->crew.life_fd = life[1];
    return BASE_OK;
}

static int fork_nursery(struct ingest *ing, struct error *err)
{
    /* No handler of the caller may run in the child before it has taken them off. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        ingest_nursery_main(&ing->crew);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    if (pid < 0)
        return error_errno(err, "ingest: cannot start a process");
    ing->nursery = pid;
    return BASE_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int ingest_open(const struct ingest_settings *settings, struct ingest **out, struct error *err)
{
    struct ingest_settings s;
    int rc = fill_defaults(settings, &s, err);
    if (rc != BASE_OK)
        return rc;
    struct ingest *ing = aligned_alloc(_Alignof(struct ingest), sizeof *ing);
    struct slot_notes *notes = calloc(s.slots, sizeof *notes);
    if (!ing || !notes) {
        free(ing);
        free(notes);
        return error_set(err, BASE_ERR_NOMEM, 0, "ingest: no memory for %u slots", s.slots);
    }
    memset(ing, 0, sizeof *ing);
    ing->notes = notes;
    ing->crew.settings = s;
    ing->crew.work_fd = ing->crew.done_fd = ing->crew.parent_fd = ing->crew.life_fd = -1;
    ing->leash_fd = ing->life_read_fd = ing->cancel_fd = ing->space_fd = -1;
    rc = ingest_region_new(s.slots, s.workers, &ing->crew.region, err);
    if (rc == BASE_OK)
        rc = open_fds(ing, err);
    if (rc == BASE_OK)
        rc = fork_nursery(ing, err);
    if (rc != BASE_OK) {
        ingest_free(&ing);
        return rc;
    }
    close_fd(&ing->crew.parent_fd);
    close_fd(&ing->crew.life_fd);
    *out = ing;
    return BASE_OK;
}

static void end_nursery(struct ingest *ing)
{
    struct pollfd life = {.fd = ing->life_read_fd, .events = POLLIN};
    uint64_t until_ns = system_now_ns() + (uint64_t)LEAVE_MS * 1000000;
    close_fd(&ing->leash_fd);
    /* Signals may interrupt the wait; a worker stuck in the kernel, or a stopped nursery, may outlast it. */
    while (poll(&life, 1, 100) <= 0 && system_now_ns() < until_ns)
        ;
    if (!life.revents)
        kill(ing->nursery, SIGKILL);
    while (waitpid(ing->nursery, NULL, 0) < 0 && errno == EINTR)
        ;
}

void ingest_free(struct ingest **pointer)
{
    struct ingest *ing = *pointer;
    if (!ing)
        return;
    *pointer = NULL;
    if (ing->nursery > 0)
        end_nursery(ing);
    close_fd(&ing->leash_fd);
    close_fd(&ing->crew.parent_fd);
    close_fd(&ing->life_read_fd);
    close_fd(&ing->crew.life_fd);
    close_fd(&ing->crew.work_fd);
    close_fd(&ing->crew.done_fd);
    close_fd(&ing->cancel_fd);
    close_fd(&ing->space_fd);
    for (uint32_t s = 0; s < ing->crew.settings.slots; s++)
        buf_release(&ing->notes[s].text);
    free(ing->notes);
    ingest_region_release(&ing->crew.region);
    free(ing);
}

void ingest_cancel(struct ingest *ing)
{
    /* relaxed: nothing else is handed over */
    atomic_store_explicit(&ing->cancelled, true, memory_order_relaxed);
    system_post(ing->cancel_fd);
}

bool ingest_is_cancelled(const struct ingest *ing)
{
    return atomic_load_explicit(&ing->cancelled, memory_order_relaxed);
}

/* Why the nursery is dead. It is looked at, not reaped: both sides may come here. */
static int nursery_error(const struct ingest *ing, struct error *err)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)ing->nursery, &info, WEXITED | WNOWAIT) != 0)
        return error_errno(err, "ingest: the process that keeps the parse workers is gone");
    if (info.si_code != CLD_EXITED)
        return error_set(err, BASE_ERR_IO, 0,
                         "ingest: the process that keeps the parse workers was killed by signal %d", info.si_status);
    if (info.si_status == NURSERY_EXIT_NO_PROGRESS)
        return error_set(err, BASE_ERR_IO, 0, "ingest: parse workers die as soon as they start");
    if (info.si_status == NURSERY_EXIT_NO_FORK)
        return error_set(err, BASE_ERR_IO, 0, "ingest: cannot start parse workers (limit of processes or memory)");
    return error_set(err, BASE_ERR_IO, 0, "ingest: the process that keeps the parse workers ended with status %d",
                     info.si_status);
}

int ingest_wait_ms(struct ingest *ing, int fd, int timeout_ms, struct error *err)
{
    for (;;) {
        if (ingest_is_cancelled(ing))
            return error_set(err, BASE_ERR_CANCELLED, 0, "ingest: cancelled");
        struct pollfd fds[] = {
            {.fd = fd, .events = POLLIN},
            {.fd = ing->cancel_fd, .events = POLLIN},
            {.fd = ing->life_read_fd, .events = POLLIN},
        };
        int n = poll(fds, 3, timeout_ms);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return error_errno(err, "ingest: poll");
        }
        if (n == 0)
            return 0;
        if (fds[0].revents) {
            system_drain(fd);
            return 1;
        }
        if (fds[2].revents && !fds[1].revents)
            return nursery_error(ing, err);
    }
}

int ingest_wait(struct ingest *ing, int fd, struct error *err)
{
    int rc = ingest_wait_ms(ing, fd, -1, err);
    return rc < 0 ? rc : BASE_OK;
}

void ingest_queue_slot(struct ingest *ing, uint32_t slot, const struct round *round)
{
    struct slot_control *c = &ing->crew.region.slot[slot];
    c->first = round->first;
    c->end = round->end;
    c->jumbo = round->jumbo;
    c->why = WHY_NOTHING;
    atomic_store_explicit(&c->done, round->first, memory_order_relaxed);
    /* release: the tasks, modes and the fields above go with it */
    atomic_store_explicit(&c->state, SLOT_QUEUED, memory_order_release);
    system_post(ing->crew.work_fd);
}

void ingest_get_stats(const struct ingest *ing, struct ingest_stats *out)
{
    /* relaxed: each counter is true by itself */
    *out = (struct ingest_stats){
        .submitted = atomic_load_explicit(&ing->submitted, memory_order_relaxed),
        .delivered = atomic_load_explicit(&ing->delivered, memory_order_relaxed),
        .parsed = atomic_load_explicit(&ing->parsed, memory_order_relaxed),
        .known = atomic_load_explicit(&ing->known, memory_order_relaxed),
        .failed = atomic_load_explicit(&ing->failed, memory_order_relaxed),
        .crashed = atomic_load_explicit(&ing->crashed, memory_order_relaxed),
        .hung = atomic_load_explicit(&ing->hung, memory_order_relaxed),
        .bytes = atomic_load_explicit(&ing->bytes, memory_order_relaxed),
        .workers = ing->crew.settings.workers,
    };
}

pid_t ingest_nursery_pid(const struct ingest *ing)
{
    return ing->nursery;
}

pid_t ingest_worker_pid(const struct ingest *ing, uint32_t index)
{
    return atomic_load_explicit(&ing->crew.region.worker[index].pid, memory_order_acquire);
}

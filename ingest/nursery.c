/*
 * nursery: the parent of the workers.
 *
 * Forked before the caller has threads and single-threaded itself, so that it can fork replacements safely at any time.
 * It reaps, enforces the time limit of items, decides with ingest_blame how a slot goes on whose worker died, and
 * leaves with all workers when the caller closes its end of the leash (or dies). It reads and parses nothing.
 */
#include "ingest_private.h"

#include "system.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define BARREN_DEATHS_MAX 100u /* in a row, with no item to blame and none finished */
#define FORK_FAILURES_MAX 200u /* in a row, a tick apart */

struct nursery {
    const struct crew *crew;
    const struct region *region;
    int child_fd; /* signalfd for SIGCHLD */
    pid_t pid[WORKERS_MAX];
    uint64_t hung_start_ns[WORKERS_MAX]; /* start of the item for which we killed it, 0: we did not */
    uint32_t barren_deaths;
    uint32_t fork_failures;
    uint64_t items_seen;
};

static void spawn(struct nursery *n, uint32_t w)
{
    pid_t nursery = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        system_die_with_parent(nursery);
        ingest_worker_main(n->crew, w);
    }
    n->pid[w] = pid > 0 ? pid : 0;
    n->fork_failures = pid > 0 ? 0 : n->fork_failures + 1;
    /* release: tests that see the pid see a worker that exists */
    atomic_store_explicit(&n->region->worker[w].pid, n->pid[w], memory_order_release);
}

static enum item_death death_of(struct nursery *n, uint32_t w, int status)
{
    uint64_t start_ns = atomic_load_explicit(&n->region->worker[w].start_ns, memory_order_acquire);
    if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_SHRANK)
        return DEATH_SHRANK;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        return DEATH_CRASHED;
    if (start_ns == 0 || start_ns != n->hung_start_ns[w])
        return DEATH_KILLED;
    return atomic_load_explicit(&n->region->worker[w].is_parsing, memory_order_relaxed) ? DEATH_HUNG : DEATH_STALLED;
}

/* Sends the slot of a dead worker on. True if an item was blamed. */
static bool recover_slot(struct nursery *n, uint32_t w, uint32_t slot, enum item_death how)
{
    struct slot_control *c = &n->region->slot[slot];
    struct worker_line *line = &n->region->worker[w];
    uint32_t done = atomic_load_explicit(&c->done, memory_order_acquire);
    uint32_t end = c->end;
    bool blamed = false;
    if (end <= INGEST_BATCH_ITEMS && atomic_load_explicit(&line->start_ns, memory_order_acquire) != 0) {
        /* The item at `done`, or one behind it that was being opened ahead. */
        uint32_t at = atomic_load_explicit(&line->at, memory_order_relaxed), item = at & 0xff;
        blamed = at >> 8 == slot && item >= done && item < end;
        if (blamed)
            ingest_blame(&c->mode[item], &c->tries[item], how);
    }
    c->why = WHY_NOTHING;
    /* release: what the dead worker finished, and the blame, before the new owner looks */
    atomic_store_explicit(&c->state, done >= end ? SLOT_RETURNED : SLOT_QUEUED, memory_order_release);
    return blamed;
}

static void count_death(struct nursery *n, bool blamed)
{
    uint64_t items = 0;
    for (uint32_t w = 0; w < n->region->workers; w++)
        items += atomic_load_explicit(&n->region->worker[w].items, memory_order_relaxed);
    n->barren_deaths = blamed || items != n->items_seen ? 0 : n->barren_deaths + 1;
    n->items_seen = items;
    if (n->barren_deaths > BARREN_DEATHS_MAX)
        _exit(NURSERY_EXIT_NO_PROGRESS);
}

static void bury(struct nursery *n, uint32_t w, int status)
{
    bool recycled = WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_RECYCLE;
    enum item_death how = death_of(n, w, status);
    bool blamed = false;
    for (uint32_t s = 0; s <= n->region->slots; s++)
        if (atomic_load_explicit(&n->region->slot[s].state, memory_order_acquire) == slot_claimed_by(w))
            blamed |= recover_slot(n, w, s, how);
    atomic_store_explicit(&n->region->worker[w].start_ns, 0, memory_order_relaxed);
    n->hung_start_ns[w] = 0;
    if (!recycled)
        count_death(n, blamed);
    spawn(n, w);
    /* The dead may have taken a wake-up with it, before it claimed or after it returned a slot; and one for the slot
     * above. */
    system_post(n->crew->work_fd);
    system_post(n->crew->work_fd);
    system_post(n->crew->done_fd);
}

static void reap(struct nursery *n)
{
    struct signalfd_siginfo info;
    while (read(n->child_fd, &info, sizeof info) > 0)
        ;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (uint32_t w = 0; w < n->region->workers; w++)
            if (n->pid[w] == pid) {
                bury(n, w, status);
                break;
            }
}

static void enforce_limits(struct nursery *n)
{
    uint64_t now = system_now_ns();
    for (uint32_t w = 0; w < n->region->workers; w++) {
        struct worker_line *line = &n->region->worker[w];
        if (n->pid[w] == 0) {
            spawn(n, w);
            continue;
        }
        uint64_t start = atomic_load_explicit(&line->start_ns, memory_order_acquire);
        uint64_t limit = atomic_load_explicit(&line->limit_ms, memory_order_relaxed);
        if (start == 0 || now < start || now - start <= limit * 1000000 || n->hung_start_ns[w] != 0)
            continue;
        /* It may just now finish and begin the next: death_of compares, and an item that was not late is only repeated.
         */
        n->hung_start_ns[w] = start;
        kill(n->pid[w], SIGKILL);
    }
    if (n->fork_failures > FORK_FAILURES_MAX)
        _exit(NURSERY_EXIT_NO_FORK);
}

static _Noreturn void leave(struct nursery *n)
{
    for (uint32_t w = 0; w < n->region->workers; w++)
        if (n->pid[w] > 0)
            kill(n->pid[w], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    _exit(NURSERY_EXIT_OK);
}

static int tick_ms(const struct crew *crew)
{
    uint32_t quarter = crew->settings.item_ms / 4;
    return quarter < 5 ? 5 : quarter > 250 ? 250 : (int)quarter;
}

_Noreturn void ingest_nursery_main(const struct crew *crew)
{
    const int keep[] = {crew->work_fd, crew->done_fd, crew->parent_fd, crew->life_fd, crew->region.fd};
    system_name("mds-nursery");
    system_reset_signals();
    system_close_foreign(keep, sizeof keep / sizeof keep[0]);
    system_no_core();
    mime_init(); /* once, so that the workers share its pages */

    struct nursery n = {.crew = crew, .region = &crew->region};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    n.child_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    ASSERT(n.child_fd >= 0);
    for (uint32_t w = 0; w < crew->region.workers; w++)
        spawn(&n, w);
    for (;;) {
        struct pollfd fds[] = {{.fd = n.child_fd, .events = POLLIN}, {.fd = crew->parent_fd, .events = POLLIN}};
        poll(fds, 2, tick_ms(crew));
        if (fds[1].revents)
            leave(&n);
        reap(&n); /* also without a signal: SIGCHLDs merge */
        enforce_limits(&n);
    }
}

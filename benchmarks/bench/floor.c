/*
 * floor: workers take blocks of items from a counter in shared memory, the same way for threads and processes, so that
 * the two differ in nothing else.
 */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK       64u
#define WORKERS_MAX 64u
#define ITEM_MAX    (1u << 30)

struct shared {
    atomic_uint_fast64_t next; /* the next item to take */
    atomic_uint_fast64_t done; /* items read */
    atomic_uint_fast64_t sink;
};

struct work {
    const struct floor_run *run;
    struct shared *shared;
    int root;
};

static bool one_item(const struct work *w, struct floor_parser *parser, const char *name, uint64_t *sink)
{
    struct stat st;
    int fd = openat(w->root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool ok = fstat(fd, &st) == 0 && st.st_size < (off_t)ITEM_MAX;
    size_t n = 0, size = ok ? (size_t)st.st_size : 0;
    uint8_t *p = floor_parser_room(parser, size);
    while (ok && n < size) {
        ssize_t got = read(fd, p + n, size - n);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            ok = false;
        else if (got > 0)
            n += (size_t)got;
    }
    close(fd);
    if (ok && n > 0)
        floor_parser_item(parser, n, sink);
    return ok;
}

static gpointer work(gpointer arg)
{
    struct work *w = arg;
    struct floor_parser *parser = floor_parser_new();
    uint64_t sink = 0, done = 0, count = w->run->items->count;
    for (;;) {
        uint64_t at = atomic_fetch_add_explicit(&w->shared->next, BLOCK, memory_order_relaxed);
        if (at >= count)
            break;
        for (uint64_t i = at; i < MIN(at + BLOCK, count); i++)
            done += one_item(w, parser, bench_items_name(w->run->items, (size_t)i), &sink);
    }
    atomic_fetch_add(&w->shared->done, done);
    atomic_fetch_xor(&w->shared->sink, sink);
    floor_parser_free(&parser);
    return NULL;
}

static void run_threads(struct work *w, unsigned n)
{
    GThread *threads[WORKERS_MAX];
    floor_library_init();
    for (unsigned k = 1; k < n; k++)
        threads[k] = g_thread_new("floor", work, w);
    work(w);
    for (unsigned k = 1; k < n; k++)
        g_thread_join(threads[k]);
}

static void run_processes(struct work *w, unsigned n)
{
    pid_t pids[WORKERS_MAX];
    for (unsigned k = 1; k < n; k++) {
        pids[k] = fork();
        if (pids[k] == 0) {
            floor_library_init();
            work(w);
            _exit(0);
        }
    }
    floor_library_init();
    work(w);
    for (unsigned k = 1; k < n; k++)
        if (pids[k] > 0)
            waitpid(pids[k], NULL, 0);
}

static int body(void *arg)
{
    const struct floor_run *run = arg;
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct work w = {run, shared, open(run->items->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (shared == MAP_FAILED || w.root < 0)
        return 3;
    unsigned n = CLAMP(run->workers, 1, WORKERS_MAX);
    if (run->processes)
        run_processes(&w, n);
    else
        run_threads(&w, n);
    uint64_t done = atomic_load(&shared->done);
    if (done != run->items->count)
        fprintf(stderr, "mds-bench: floor: %" G_GUINT64_FORMAT " of %zu items could be read\n", done,
                run->items->count);
    return done == run->items->count ? 0 : 1;
}

int floor_measure(const struct floor_run *run, struct bench_cost *out, struct error *err)
{
    struct floor_run copy = *run;
    int rc = bench_run_function(body, &copy, out, err);
    if (rc == 0 && out->status != 0)
        rc = error_set(err, BASE_ERR_GONE, 0, "the floor's run failed (status %d)", out->status);
    return rc;
}

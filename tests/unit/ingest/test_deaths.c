/* Items, people and accidents that kill workers. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct mark {
    uint32_t at;
    const char *how;
    uint64_t defect; /* 0: it comes back as if nothing had been */
};

static const struct mark *mark_at(const struct mark *marks, size_t n, uint32_t i)
{
    for (size_t m = 0; m < n; m++)
        if (marks[m].at == i)
            return &marks[m];
    return NULL;
}

static void check_marked(const char *name, const struct run *run, const struct mark *marks, size_t n)
{
    const uint64_t both = MIME_DEFECT(PARSER_CRASHED) | MIME_DEFECT(PARSER_HUNG);
    cr_assert_eq(run->rc, INGEST_DONE, "%s: %s", name, run->err.text);
    cr_assert_eq(run->kept_n, run->n, "%s: %u results", name, run->kept_n);
    for (uint32_t i = 0; i < run->n; i++) {
        const struct mark *m = mark_at(marks, n, i);
        const struct kept *k = &run->kept[i];
        cr_expect_eq(k->index, i, "%s: place %u", name, i);
        cr_expect_eq(k->status, INGEST_PARSED, "%s: item %u has status %d: %s", name, i, k->status, k->reason.text);
        cr_expect_eq(k->defects & both, m ? m->defect : 0, "%s: item %u (%s)", name, i, m ? m->how : "good");
        cr_expect_gt(k->size, 0, "%s: item %u", name, i);
    }
}

static void run_marked(const char *name, uint32_t n, const struct mark *marks, size_t marks_n, struct run *run)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < n; i++) {
        const struct mark *m = mark_at(marks, marks_n, i);
        put_item(&v, i, m ? textf("X-Test: %s\n", m->how) : "", 300);
    }
    run->n = n;
    run_pipeline(&v, run);
    check_marked(name, run, marks, marks_n);
    run_release(run);
    vault_close(&v.vault);
}

#define CRASHED MIME_DEFECT(PARSER_CRASHED)
#define HUNG    MIME_DEFECT(PARSER_HUNG)

Test(deaths, each_way_to_die_costs_one_item)
{
    static const char *const ways[] = {"abort", "segv", "stack", "exit", "memory", "wild"};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        const struct mark marks[] = {{70, ways[w], CRASHED}};
        struct run run = {.settings = {.workers = 2, .worker_bytes = 64 << 20}};
        run_marked(ways[w], 200, marks, 1, &run);
        cr_expect_eq(run.stats.crashed, 1, "%s", ways[w]);
        cr_expect_eq(run.stats.hung, 0, "%s", ways[w]);
    }
}

Test(deaths, a_hang_costs_one_item_and_its_time)
{
    static const struct mark marks[] = {{0, "loop", HUNG}, {63, "loop", HUNG}, {64, "loop", HUNG}, {100, "loop", HUNG}};
    struct run run = {.settings = {.workers = 2, .item_ms = 300}};
    run_marked("hang", 150, marks, 4, &run);
    cr_expect_eq(run.stats.hung, 4);
    cr_expect_eq(run.stats.crashed, 0);
}

Test(deaths, many_in_one_batch_first_last_and_neighbours)
{
    static const struct mark marks[] = {{0, "abort", CRASHED},   {1, "segv", CRASHED},   {2, "abort", CRASHED},
                                        {31, "exit", CRASHED},   {32, "loop", HUNG},     {62, "abort", CRASHED},
                                        {63, "segv", CRASHED},   {64, "abort", CRASHED}, {100, "loop", HUNG},
                                        {127, "abort", CRASHED}, {199, "segv", CRASHED}};
    for (unsigned workers = 1; workers <= 3; workers++) {
        struct run run = {.settings = {.workers = workers, .item_ms = 300}};
        run_marked("many", 200, marks, sizeof marks / sizeof marks[0], &run);
        cr_expect_eq(run.stats.crashed, 9);
        cr_expect_eq(run.stats.hung, 2);
    }
}

Test(deaths, every_item_may_crash)
{
    enum { N = 40 };
    static struct mark marks[N];
    for (uint32_t i = 0; i < N; i++)
        marks[i] = (struct mark){i, "abort", CRASHED};
    struct run run = {.settings = {.workers = 2}};
    run_marked("all", N, marks, N, &run);
    cr_expect_eq(run.stats.crashed, N);
}

/* What it destroys of the items before it is found and made again; it comes back itself as what its parser said. */
Test(deaths, damage_to_finished_results_is_found_and_made_good)
{
    static const struct mark marks[] = {{20, "scribble", 0}, {90, "scribble", 0}};
    struct run run = {.settings = {.workers = 2}};
    run_marked("scribble", 150, marks, 2, &run);
}

Test(deaths, a_mapped_file_that_shrinks_fails_alone)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < 100; i++)
        put_item(&v, i, i == 50 ? "X-Test: shrink\n" : "", i == 50 ? 4 << 20 : 200);
    test_shrink_path = path_join(v.dir, item_name(50));
    struct run run = {.settings = {.workers = 2}, .n = 100};
    run_pipeline(&v, &run);
    cr_assert_eq(run.kept_n, 100, "%s", run.err.text);
    for (uint32_t i = 0; i < 100; i++)
        cr_expect_eq(run.kept[i].status, i == 50 ? INGEST_FAILED : INGEST_PARSED, "item %u", i);
    cr_expect_eq(run.kept[50].reason.code, BASE_ERR_GONE);
    cr_expect(strstr(run.kept[50].reason.text, "shrank") != NULL, "%s", run.kept[50].reason.text);
    cr_expect_eq(run.stats.failed, 1);
    run_release(&run);
    vault_close(&v.vault);
}

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

static void kill_a_worker(struct ingest *ing, const struct kept *k)
{
    if (k->index % 40 != 7)
        return;
    pid_t pid = ingest_worker_pid(ing, k->index / 40 % 2);
    if (pid > 0)
        kill(pid, SIGKILL);
}

Test(deaths, workers_killed_from_outside_change_no_record)
{
    enum { N = 1500 };
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < N; i++)
        put_item(&v, i, "", 300);
    struct run run = {.settings = {.workers = 2, .slots = 4}, .n = N, .on_result = kill_a_worker};
    run_pipeline(&v, &run);
    check_marked("killed", &run, NULL, 0);
    cr_expect_eq(run.stats.crashed, 0);
    run_release(&run);
    vault_close(&v.vault);
}

static void kill_nursery(struct ingest *ing, const struct kept *k)
{
    if (k->index == 100)
        kill(ingest_nursery_pid(ing), SIGKILL);
}

Test(deaths, a_dead_nursery_is_a_clear_error_and_no_hang)
{
    enum { N = 20000 };
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    struct run run = {.settings = {.workers = 2}, .n = N, .on_result = kill_nursery};
    put_item(&v, 0, "", 10); /* the others fail, that is work enough */
    run_pipeline(&v, &run);
    cr_expect_eq(run.rc, BASE_ERR_IO, "%d", run.rc);
    cr_expect(strstr(run.err.text, "killed by signal 9") != NULL, "%s", run.err.text);
    cr_expect_lt(run.submit_rc, 0);
    cr_expect_lt(run.kept_n, N);
    run_release(&run);
    vault_close(&v.vault);
}

/* Nursery and workers end by themselves when the process that opened the pipeline is killed. */
Test(deaths, nothing_outlives_the_caller)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    int pids[2];
    pid_t all[3] = {0};
    put_item(&v, 0, "X-Test: loop\n", 10);
    cr_assert_eq(pipe(pids), 0);
    pid_t caller = fork();
    if (caller == 0) {
        struct ingest_settings s = {.workers = 2, .vaults = &v.vault, .vaults_n = 1, .parse = test_parse};
        struct ingest *ing = NULL;
        if (ingest_open(&s, &ing, NULL) != BASE_OK)
            _exit(1);
        struct ingest_task t = {.locator.name = bytes_str(item_name(0))};
        ingest_submit(ing, &t, NULL);
        ingest_flush(ing, NULL);
        for (uint32_t w = 0; w < 2; w++)
            while ((all[w] = ingest_worker_pid(ing, w)) == 0)
                sleep_ms(1);
        all[2] = ingest_nursery_pid(ing);
        if (write(pids[1], all, sizeof all) != sizeof all)
            _exit(1);
        pause();
    }
    cr_assert_eq(read(pids[0], all, sizeof all), (ssize_t)sizeof all);
    kill(caller, SIGKILL);
    waitpid(caller, NULL, 0);
    for (int p = 0; p < 3; p++) {
        bool is_gone = false;
        for (int waited = 0; waited < 5000 && !is_gone; waited += 5) {
            char state = 0;
            FILE *f = fopen(textf("/proc/%d/stat", (int)all[p]), "r");
            if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1 || state == 'Z')
                is_gone = true; /* a zombie waits for whoever adopted it */
            if (f)
                fclose(f);
            if (!is_gone)
                sleep_ms(5);
        }
        cr_expect(is_gone, "process %d lives on", p);
    }
    vault_close(&v.vault);
}

Test(deaths, workers_that_grow_are_replaced_unnoticed)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < 20; i++)
        put_item(&v, i, i == 10 ? "X-Test: leak\n" : "",
                 i == 10 ? 5 << 20 : 100); /* big: the worker looks at its heap */
    struct ingest_settings s = {
        .workers = 1, .vaults = &v.vault, .vaults_n = 1, .recycle_bytes = 4 << 20, .parse = test_parse};
    struct ingest *ing = NULL;
    struct ingest_result r;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    pid_t first = 0;
    while ((first = ingest_worker_pid(ing, 0)) == 0)
        sleep_ms(1);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 20; i++) {
            struct ingest_task t = {.locator.name = bytes_str(item_name(i)), .tag = bytes_of(&i, sizeof i)};
            cr_assert_eq(ingest_submit(ing, &t, NULL), BASE_OK);
        }
        cr_assert_eq(ingest_flush(ing, NULL), BASE_OK);
        for (uint32_t i = 0; i < 20; i++) {
            cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE);
            cr_expect_eq(r.status, INGEST_PARSED);
            cr_expect_eq(keep_result(&r).index, i);
        }
    }
    cr_expect_neq(ingest_worker_pid(ing, 0), first, "it was not replaced");
    struct ingest_stats stats;
    ingest_get_stats(ing, &stats);
    cr_expect_eq(stats.crashed, 0);
    ingest_free(&ing);
    vault_close(&v.vault);
}

/* Deaths that no item is to blame for, again and again: better an error than a machine that only forks. */
Test(deaths, workers_that_never_get_to_work_end_the_pipeline)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    struct ingest_settings s = {.workers = 1, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    struct ingest_result r;
    struct error err = {0};
    int rc = 0;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    pid_t last = 0;
    for (int i = 0; i < 20000 && rc == 0; i++) {
        pid_t pid = ingest_worker_pid(ing, 0);
        if (pid > 0 && pid != last)
            kill(pid, SIGKILL);
        last = pid;
        rc = ingest_ready(ing, 1, &err);
    }
    cr_expect_eq(rc, BASE_ERR_IO, "%d", rc);
    cr_expect(strstr(err.text, "die as soon as they start") != NULL, "%s", err.text);
    cr_expect_eq(ingest_next(ing, &r, NULL), BASE_ERR_IO);
    ingest_free(&ing);
    cr_expect(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a child is left");
    vault_close(&v.vault);
}

Test(deaths, a_stopped_nursery_does_not_stop_free)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    struct ingest_settings s = {.workers = 1, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    while (ingest_worker_pid(ing, 0) == 0)
        sleep_ms(1);
    kill(ingest_nursery_pid(ing), SIGSTOP);
    ingest_free(&ing);
    cr_expect_null(ing);
    cr_expect(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a child is left");
    vault_close(&v.vault);
}

/* The set of known hashes is the parent's: a worker that writes there dies of it. */
static const uint8_t *known_base;

static void write_known(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    if (item.n && item.p[0] == 'X') {
        signal(SIGSEGV, SIG_DFL);
        *(volatile uint8_t *)(uintptr_t)known_base = 1; // NOLINT(performance-no-int-to-ptr)
    }
    mime_parse(p, item, out);
}

static const uint8_t *find_known(void)
{
    char line[512];
    unsigned long from = 0, to, best = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long start;
        if (sscanf(line, "%lx-%lx rw-s", &start, &to) == 2 && strstr(line, "(deleted)") && to - start > best) {
            best = to - start;
            from = start;
        }
    }
    if (f)
        fclose(f);
    return (const uint8_t *)from; // NOLINT(performance-no-int-to-ptr)
}

Test(deaths, workers_cannot_write_into_the_known_set)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    struct ingest_known *k = NULL;
    cr_assert_eq(ingest_known_new(TEMP_DIR(), &k, NULL), BASE_OK);
    known_base = find_known();
    cr_assert_not_null(known_base);
    uint8_t before = *known_base;
    put_item(&v, 0, "", 10);
    put_item(&v, 1, "X-Writes: 1\n", 10);
    put_item(&v, 2, "", 10);
    struct run run = {.settings = {.workers = 1, .known = k, .parse = write_known}, .n = 3};
    run_pipeline(&v, &run);
    cr_expect_eq(first_odd(&run), -1);
    cr_expect_eq(run.stats.crashed, 1);
    cr_expect(run.kept[1].defects & MIME_DEFECT(PARSER_CRASHED));
    cr_expect_eq(*known_base, before);
    run_release(&run);
    ingest_known_free(&k);
    vault_close(&v.vault);
}

/* Watches: told of commits of this process and of others, never after they were freed. */
#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct mdsq_error e;

#define OK(call) cr_assert_geq((call), 0, "%s: %s", #call, e.text)

static void count_up(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Waits until *n is at least `want`; gives the time it took. */
static int64_t wait_for(atomic_uint *n, unsigned want)
{
    const int64_t begin = now_ms();

    while (atomic_load(n) < want && now_ms() - begin < 5000)
        usleep(200);
    return now_ms() - begin;
}

static void create(struct mdsq_archive *archive, const char *name)
{
    struct mdsq_change *change = NULL;

    OK(mdsq_change_create(archive, name, 0, &change, &e));
    OK(mdsq_change_wait(change, &e));
    mdsq_change_free(&change);
}

Test(watch, tells_of_own_and_foreign_commits)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_watch *watch = NULL;
    atomic_uint told = 0;

    OK(mdsq_store_open(f->store_dir, MDSQ_STORE_WRITE, &store, &e));
    OK(mdsq_archive_open(store, "ann", &archive, &e));
    OK(mdsq_watch_new(archive, count_up, &told, &watch, &e));
    usleep(120000);
    cr_expect_eq(told, 0, "nothing happened");
    create(archive, "a");
    cr_expect_lt(wait_for(&told, 1), 200);
    cr_expect_eq(told, 1);
    fixture_folder(f, BYTES_LIT("b"), true); /* past the writer's thread, as another process does it */
    cr_expect_lt(wait_for(&told, 2), 200);
    cr_expect_eq(told, 2);
    usleep(120000);
    cr_expect_eq(told, 2, "once for each run of commits");
    mdsq_watch_free(&watch);
    create(archive, "c");
    usleep(120000);
    cr_expect_eq(told, 2, "not after it was freed");
    /* It starts again. */
    OK(mdsq_watch_new(archive, count_up, &told, &watch, &e));
    create(archive, "d");
    cr_expect_lt(wait_for(&told, 3), 200);
    mdsq_watch_free(&watch);
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    fixture_free(&f);
}

struct churn {
    struct mdsq_archive *archive;
    atomic_bool stop;
};

/* Watches come and go while others are told. */
static void *churn_main(void *arg)
{
    struct churn *c = arg;
    unsigned n = 0;

    while (!atomic_load(&c->stop)) {
        atomic_uint *told = calloc(1, sizeof *told);
        struct mdsq_watch *watch = NULL;

        OK(mdsq_watch_new(c->archive, count_up, told, &watch, &e));
        if (++n % 2)
            usleep(100);
        mdsq_watch_free(&watch);
        free(told); /* a late call would be seen */
    }
    return NULL;
}

Test(watch, thousands_are_told_while_others_come_and_go)
{
    enum { N = 3000 };
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_store *store = NULL;
    struct churn churn = {NULL};
    struct mdsq_watch **watches = calloc(N, sizeof *watches);
    atomic_uint told = 0;
    pthread_t thread;

    OK(mdsq_store_open(f->store_dir, MDSQ_STORE_WRITE, &store, &e));
    OK(mdsq_archive_open(store, "ann", &churn.archive, &e));
    for (int i = 0; i < N; i++)
        OK(mdsq_watch_new(churn.archive, count_up, &told, &watches[i], &e));
    cr_assert_eq(pthread_create(&thread, NULL, churn_main, &churn), 0);
    for (int i = 0; i < 10; i++) {
        atomic_store(&told, 0);
        create(churn.archive, textf("f%d", i));
        (void)wait_for(&told, N);
        cr_expect_geq(told, N, "round %d: %u", i, told);
    }
    atomic_store(&churn.stop, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < N; i++)
        mdsq_watch_free(&watches[i]);
    free(watches);
    mdsq_archive_close(&churn.archive);
    mdsq_store_close(&store);
    fixture_free(&f);
}

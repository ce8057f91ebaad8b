#include "mds_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *write_once(void *arg)
{
    struct mds_txn *t = fixture_write(arg);

    (void)fixture_add(t, 1, 1, 0);
    fixture_commit(&t);
    return NULL;
}

static bool waiting_within(struct mds_env *env, unsigned ms, bool want)
{
    const struct timespec step = {.tv_nsec = 1000000};

    for (unsigned i = 0; i < ms && mds_writer_waiting(env) != want; i++)
        (void)nanosleep(&step, NULL);
    return mds_writer_waiting(env) == want;
}

static unsigned descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

Test(locks, an_open_archive_takes_three_descriptors)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    const unsigned before = descriptors();
    struct mds_env *env = fixture_open(dir);
    struct error err;

    cr_expect_eq(descriptors() - before, 3, "LMDB's: %u", descriptors() - before);
    write_once(env);
    cr_expect_eq(descriptors() - before, 3, "after a write: %u", descriptors() - before);
    MUST(mds_build_lock(env, &err));
    cr_expect_not(mds_writer_waiting(env));
    cr_expect_not(mds_writer_waiting(env));
    cr_expect_eq(descriptors() - before, 5, "of a build: %u", descriptors() - before);
    mds_build_unlock(env);
    mds_close(&env);
    cr_expect_eq(descriptors(), before);
}

Test(locks, a_waiting_thread_is_seen_and_comes_next)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_folder f;
    struct error err;
    pthread_t thread;

    cr_expect_not(mds_writer_waiting(env), "nobody waits: our own turn is over");
    cr_assert_eq(pthread_create(&thread, NULL, write_once, env), 0);
    cr_expect(waiting_within(env, 5000, true));
    (void)fixture_add(t, 1, 1, 0);
    fixture_commit(&t);
    t = fixture_write(env); /* as a build does at once: it must not overtake */
    MUST(mds_folder_get(t, 1, &f, &err));
    cr_expect_eq(f.exists, 2);
    mds_write_abort(&t);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect(waiting_within(env, 5000, false));
    mds_close(&env);
}

Test(locks, a_waiting_process_is_seen_and_comes_next)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    struct mds_folder f;
    struct error err;
    int status = 0;
    const pid_t pid = fork();

    if (pid == 0) {
        struct mds_env *mine = fixture_open(dir);

        (void)write_once(mine);
        _exit(0);
    }
    cr_expect(waiting_within(env, 5000, true));
    fixture_commit(&t);
    t = fixture_write(env);
    MUST(mds_folder_get(t, 1, &f, &err));
    cr_expect_eq(f.exists, 1);
    mds_write_abort(&t);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    mds_close(&env);
}

Test(locks, one_build_at_a_time)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct error err = {0};
    int status = 0;

    MUST(mds_build_lock(env, &err));
    cr_expect_eq(mds_build_lock(env, &err), BASE_ERR_LOCKED, "also within a process");
    const pid_t pid = fork();

    if (pid == 0) {
        struct mds_env *mine = fixture_open(dir);

        _exit(mds_build_lock(mine, &err) == BASE_ERR_LOCKED && strstr(err.text, textf("process %d:", (int)getppid()))
                  ? 0
                  : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    mds_build_unlock(env);
    MUST(mds_build_lock(env, &err));
    mds_close(&env); /* releases it */
    env = fixture_open(dir);
    MUST(mds_build_lock(env, &err));
    mds_close(&env);
}

Test(locks, a_thread_that_writes_already_is_told)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env), *second = NULL;
    struct error err;

    cr_expect_eq(mds_write_begin(env, &second, &err), BASE_ERR_USAGE);
    mds_write_abort(&t);
    mds_close(&env);
}

/* Two processes write in turn while a third reads: every view is of one commit. */
Test(locks, readers_see_whole_commits)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_read(env);
    struct mds_folder f;
    struct error err;
    pid_t pids[2];
    int status, running = 2;
    uint64_t last = 0;

    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct mds_env *mine = fixture_open(dir);

            for (int batch = 0; batch < 40; batch++) {
                struct mds_txn *w = fixture_write(mine);

                (void)fixture_add(w, 1, 10, FLAG_SEEN);
                fixture_commit(&w);
            }
            _exit(0);
        }
    }
    while (running > 0) {
        roaring_bitmap_t *uids = NULL;

        MUST(mds_read_renew(t, &err));
        MUST(mds_folder_get(t, 1, &f, &err));
        MUST(mds_set_load(t, 1, MDS_SET_FLAG(0), &uids, &err));
        cr_assert_eq(f.exists % 10, 0);
        cr_assert_eq(roaring_bitmap_get_cardinality(uids), f.exists);
        cr_assert_geq(mds_txn_id(t), last);
        cr_assert_geq(mds_last_txnid(env), mds_txn_id(t));
        last = mds_txn_id(t);
        roaring_bitmap_free(uids);
        if (waitpid(-1, &status, WNOHANG) > 0) {
            cr_assert_eq(status, 0);
            running--;
        }
    }
    MUST(mds_read_renew(t, &err));
    MUST(mds_folder_get(t, 1, &f, &err));
    cr_expect_eq(f.exists, 800);
    cr_expect_eq(mds_verify(t, NULL, NULL, &err), 0);
    mds_read_end(&t);
    mds_close(&env);
}

/* Killed anywhere in a batch or its commit: what was committed is there, what was not is not. */
Test(locks, a_killed_writer_leaves_whole_commits)
{
    struct rng r = rng_start("locks_kill");
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_folder f;
    struct error err;
    int status;

    for (int kill_no = 0; kill_no < 12; kill_no++) {
        const struct timespec pause = {.tv_nsec = 2000000 + (long)rng_below(&r, 60000000)};
        const pid_t pid = fork();

        if (pid == 0) {
            struct mds_env *mine = fixture_open(dir);

            for (;;) {
                struct mds_txn *t = fixture_write(mine);

                (void)fixture_add(t, 1, 25, FLAG_SEEN);
                fixture_commit(&t);
            }
        }
        (void)nanosleep(&pause, NULL);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        struct mds_txn *t = fixture_write(env); /* the dead writer's lock and turn are free */

        MUST(mds_folder_get(t, 1, &f, &err));
        cr_expect_eq(f.exists % 25, 0);
        mds_write_abort(&t);
        cr_expect_eq(fixture_verify(env, NULL), 0, "kill %d", kill_no);
    }
    mds_close(&env);
}

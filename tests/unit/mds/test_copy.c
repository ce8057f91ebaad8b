#include "mds_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;

static char *dump_of(struct mds_env *env)
{
    struct mds_txn *t = fixture_read(env);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    MUST(mds_dump(t, out, &err));
    (void)fclose(out);
    mds_read_end(&t);
    return text;
}

static const char *made(const char *name)
{
    const char *dir = path_join(TEMP_DIR(), name);

    cr_assert_eq(mkdir(dir, 0700), 0);
    return dir;
}

Test(copy, is_the_same_store_and_can_be_written)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a")), *copy = NULL;
    const char *dir = made("b");
    struct mds_segments s;
    struct stat st;

    for (int i = 0; i < 5; i++) {
        struct mds_txn *t = fixture_write(env);
        const uint32_t f = fixture_folder(t, textf("f%d", i / 2));

        (void)fixture_add(t, f, 300, 0);
        MUST(mds_message_expunge(t, f, 7 + (uint32_t)i, 5, &err));
        MUST(mds_segments_put(t, &(struct mds_segments){3, 1000 + (uint64_t)i}, &err));
        fixture_commit(&t);
    }
    MUST(mds_copy(env, dir, &s, &err));
    cr_expect(s.active == 3 && s.tail == 1004);
    cr_expect_eq(mds_copy(env, dir, &s, &err), BASE_ERR_EXISTS);
    cr_expect_eq(mds_copy(env, path_join(dir, "nowhere"), &s, &err), BASE_ERR_IO);
    cr_expect(stat(path_join(dir, "lock.mdb"), &st) != 0 && stat(path_join(dir, "data.mdb"), &st) == 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    copy = fixture_open(dir);
    char *a = dump_of(env), *b = dump_of(copy);

    cr_expect_eq(strcmp(a, b), 0);
    cr_expect_eq(fixture_verify(copy, NULL), 0);
    struct mds_txn *t = fixture_write(copy);

    (void)fixture_add(t, 1, 10, 0);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(copy, NULL), 0);
    free(a);
    free(b);
    mds_close(&copy);
    mds_close(&env);
}

struct writing {
    struct mds_env *env;
    atomic_bool stop;
};

/* Each commit keeps this: the tail is the number of messages. */
static void *write_on(void *arg)
{
    struct writing *w = arg;
    uint64_t n = 0;

    while (!atomic_load(&w->stop)) {
        struct mds_txn *t = fixture_write(w->env);

        (void)fixture_add(t, 1, 5, 0);
        n += 5;
        MUST(mds_segments_put(t, &(struct mds_segments){1, n}, &err));
        fixture_commit(&t);
    }
    return NULL;
}

Test(copy, tells_the_tail_of_its_own_snapshot)
{
    struct writing w = {.env = fixture_open(path_join(TEMP_DIR(), "a"))};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, write_on, &w), 0);
    for (int i = 0; i < 8; i++) {
        const char *dir = made(textf("b%d", i));
        struct mds_segments s;
        struct mds_folder f;
        struct error why;

        cr_assert_eq(mds_copy(w.env, dir, &s, &why), BASE_OK, "%s", why.text);
        struct mds_env *copy = fixture_open(dir);
        struct mds_txn *t = fixture_read(copy);

        cr_assert_eq(mds_folder_get(t, 1, &f, &why), BASE_OK);
        cr_expect_eq(f.exists, s.tail, "%u messages, tail %llu", f.exists, (unsigned long long)s.tail);
        mds_read_end(&t);
        cr_expect_eq(fixture_verify(copy, NULL), 0);
        mds_close(&copy);
    }
    atomic_store(&w.stop, true);
    (void)pthread_join(thread, NULL);
    mds_close(&w.env);
}

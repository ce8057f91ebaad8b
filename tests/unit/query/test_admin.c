/* Archives are added, disabled and removed; many are open at once. */
#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

static struct mdsq_error e;

#define OK(call) cr_assert_geq((call), 0, "%s: %s", #call, e.text)

static int append_one(struct mdsq_archive *archive, const char *text)
{
    struct mdsq_append message = {0};
    struct mdsq_change *change = NULL;

    OK(mdsq_draft_new(archive, &message.draft, &e));
    OK(mdsq_draft_write(message.draft, text, strlen(text), &e));
    OK(mdsq_change_append(archive, "INBOX", &message, 1, &change, &e));

    const int rc = mdsq_change_wait(change, &e);

    mdsq_change_free(&change);
    return rc;
}

/* Only this process sees the directory so. */
static bool make_read_only(const char *dir)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(dir, dir, NULL, MS_BIND, NULL) == 0 && mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0;
}

Test(admin, a_read_only_file_system_is_not_writable)
{
    const char *dir = path_join(TEMP_DIR(), "store");
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_change *change = NULL;
    struct mdsq_reader *reader = NULL;

    OK(mdsq_store_open(dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE, &store, &e));
    OK(mdsq_archive_add(store, "ann", &e));
    OK(mdsq_archive_open(store, "ann", &archive, &e));
    cr_expect(mdsq_archive_writable(archive));
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    if (!make_read_only(dir))
        cr_skip_test("no mounts here: not tested");
    OK(mdsq_store_open(dir, MDSQ_STORE_WRITE, &store, &e));
    OK(mdsq_archive_open(store, "ann", &archive, &e));
    cr_expect_not(mdsq_archive_writable(archive));
    cr_expect_eq(mdsq_change_create(archive, "x", 0, &change, &e), MDSQ_ERR_READONLY);
    OK(mdsq_reader_begin(archive, &reader, &e));
    mdsq_reader_end(&reader);
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    (void)umount2(dir, MNT_DETACH); /* else the directory cannot be removed */
}

struct latecomer {
    char *dir, *lock;
    atomic_uint put;
};

/* Who had opened the archive just before: files come while it is removed, but not for ever. */
static void *come_late(void *arg)
{
    struct latecomer *l = arg;

    while (atomic_load(&l->put) < 30 && access(l->dir, F_OK) == 0) {
        const int fd = open(l->lock, O_CREAT | O_EXCL | O_WRONLY, 0600);

        atomic_fetch_add(&l->put, fd >= 0);
        if (fd >= 0)
            (void)close(fd);
    }
    return NULL;
}

Test(admin, what_comes_while_an_archive_is_removed_goes_too)
{
    const char *dir = path_join(TEMP_DIR(), "store");
    struct mdsq_store *store = NULL;

    OK(mdsq_store_open(dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE, &store, &e));
    for (int i = 1; i <= 20; i++) {
        struct latecomer l = {.dir = g_strdup_printf("%s/archives/a%08d", dir, i)};
        pthread_t thread;

        l.lock = g_strdup_printf("%s/index.lock", l.dir);
        OK(mdsq_archive_add(store, "ann", &e));
        OK(mdsq_archive_enable(store, "ann", false, &e));
        cr_assert_eq(access(l.dir, F_OK), 0);
        cr_assert_eq(pthread_create(&thread, NULL, come_late, &l), 0);
        while (atomic_load(&l.put) == 0) /* it is at work */
            (void)sched_yield();
        OK(mdsq_archive_remove(store, "ann", &e));
        (void)pthread_join(thread, NULL);
        cr_expect_neq(access(l.dir, F_OK), 0);
        g_free(l.dir);
        g_free(l.lock);
    }
    mdsq_store_close(&store);
}

Test(admin, an_archive_of_its_own_vault)
{
    const char *dir = path_join(TEMP_DIR(), "store");
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_status status;

    cr_expect_eq(mdsq_store_open(dir, MDSQ_STORE_WRITE, &store, &e), MDSQ_ERR_NOTFOUND);
    OK(mdsq_store_open(dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE, &store, &e));
    OK(mdsq_archive_add(store, "ann", &e));
    cr_expect_eq(mdsq_archive_add(store, "ann", &e), MDSQ_ERR_EXISTS);
    cr_expect_eq(mdsq_archive_add(store, "a/b", &e), MDSQ_ERR_USAGE);
    OK(mdsq_archive_open(store, "ann", &archive, &e));
    OK(append_one(archive, "Subject: x\r\n\r\n"));
    OK(append_one(archive, "Subject: x\r\n\r\n"));
    OK(mdsq_reader_begin(archive, &reader, &e));
    OK(mdsq_status(reader, "INBOX", &status, &e));
    cr_expect_eq(status.messages, 2);
    cr_expect_eq(access(path_join(dir, "archives/a00000001/segments/00000001.seg"), F_OK), 0);

    cr_expect_eq(mdsq_archive_remove(store, "ann", &e), MDSQ_ERR_USAGE);
    OK(mdsq_archive_enable(store, "ann", false, &e));
    for (int i = 0; i < 30 && mdsq_reader_renew(reader, &e) >= 0; i++)
        usleep(100000);
    cr_expect_eq(mdsq_reader_renew(reader, &e), MDSQ_ERR_NOTFOUND);
    cr_expect_not(mdsq_archive_is_there(archive));
    struct mdsq_archive *again = NULL;
    cr_expect_eq(mdsq_archive_open(store, "ann", &again, &e), MDSQ_ERR_NOTFOUND);
    OK(mdsq_archive_enable(store, "ann", true, &e));
    OK(mdsq_archive_open(store, "ann", &again, &e));
    OK(mdsq_reader_renew(reader, &e));
    mdsq_archive_close(&again);

    OK(mdsq_archive_enable(store, "ann", false, &e));
    OK(mdsq_archive_remove(store, "ann", &e));
    cr_expect_neq(access(path_join(dir, "archives/a00000001"), F_OK), 0);
    cr_expect_eq(mdsq_archive_remove(store, "ann", &e), MDSQ_ERR_NOTFOUND);
    OK(mdsq_archive_add(store, "ann", &e));
    OK(mdsq_archive_open(store, "ann", &again, &e));
    mdsq_reader_end(&reader);
    OK(mdsq_reader_begin(again, &reader, &e));
    OK(mdsq_status(reader, "INBOX", &status, &e));
    cr_expect_eq(status.messages, 0);
    mdsq_reader_end(&reader);
    mdsq_archive_close(&again);
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
}

Test(admin, more_archives_than_stay_open_without_users)
{
    enum { N = 100 };
    const char *dir = path_join(TEMP_DIR(), "store");
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archives[N] = {NULL};

    OK(mdsq_store_open(dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | MDSQ_STORE_RELAXED, &store, &e));
    for (int i = 0; i < N; i++)
        OK(mdsq_archive_add(store, textf("a%d", i), &e));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            OK(mdsq_archive_open(store, textf("a%d", i), &archives[i], &e));
            OK(append_one(archives[i], "x"));
        }
        for (int i = 0; i < N; i++)
            mdsq_archive_close(&archives[i]);
    }
    mdsq_store_close(&store);
}

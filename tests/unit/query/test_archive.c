/* Opened archives against what happens to their directory. */
#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct mdsq_error e;

/* A store made anew beside the old one: an empty archive with one folder more. */
static void make_fresh(const char *dir, const char *folder)
{
    const struct mds_options options = {.create = true, .archive_name = "ann"};
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error err;
    uint32_t id;

    mkpath(dir);
    cr_assert_eq(mds_open(dir, &options, &env, &err), 0);
    cr_assert_eq(mds_write_begin(env, &txn, &err), 0);
    cr_assert_eq(mds_folder_create(txn, bytes_str(folder), &id, &err), 0);
    cr_assert_eq(mds_write_commit(&txn, &err), 0);
    mds_close(&env);
}

static void remove_environment(const char *dir)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "queue.lock", "build.lock"};

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        (void)unlink(path_join(dir, files[i])); /* rmdir tells if one stayed */
    cr_assert_eq(rmdir(dir), 0);
}

static int messages_of(struct mdsq_archive *archive, const char *folder)
{
    struct mdsq_reader *reader = NULL;
    struct mdsq_status status = {0};

    cr_assert_eq(mdsq_reader_begin(archive, &reader, &e), 0, "%s", e.text);
    const int rc = mdsq_status(reader, folder, &status, &e);

    mdsq_reader_end(&reader);
    return rc < 0 ? rc : (int)status.messages;
}

Test(archive, an_opening_after_a_rebuild_gives_the_new_one)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_store *store = NULL;
    struct mdsq_archive *old = NULL, *now = NULL, *again = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_status status;
    char dir[1200];

    fixture_add(f, "INBOX", BYTES_LIT("a: b\n\nc\n"), NULL);
    (void)snprintf(dir, sizeof dir, "%s", mds_dir(f->env));
    cr_assert_eq(mdsq_store_open(f->store_dir, 0, &store, &e), 0);
    cr_assert_eq(mdsq_archive_open(store, "ann", &old, &e), 0);
    cr_assert_eq(mdsq_reader_begin(old, &reader, &e), 0);

    const char *fresh = textf("%s.rebuild", dir);
    make_fresh(fresh, "New");
    cr_assert_eq(renameat2(AT_FDCWD, fresh, AT_FDCWD, dir, RENAME_EXCHANGE), 0);
    remove_environment(fresh);

    cr_assert_eq(mdsq_archive_open(store, "ann", &now, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_archive_open(store, "ann", &again, &e), 0, "%s", e.text);
    cr_expect_neq(now, old);
    cr_expect_eq(now, again);
    cr_expect_eq(messages_of(now, "INBOX"), 0);
    cr_expect_eq(messages_of(now, "New"), 0);

    /* Who had the old one reads on in it, also with a new snapshot. */
    cr_expect_eq(mdsq_reader_renew(reader, &e), 0, "%s", e.text);
    cr_expect_eq(mdsq_status(reader, "INBOX", &status, &e), 0);
    cr_expect_eq(status.messages, 1);
    cr_expect_eq(messages_of(old, "INBOX"), 1);
    cr_expect_eq(messages_of(old, "New"), MDSQ_ERR_NOTFOUND);

    mdsq_archive_close(&now);
    mdsq_archive_close(&again);
    mdsq_reader_end(&reader);
    mdsq_archive_close(&old); /* the last user of the one that is gone */
    cr_assert_eq(mdsq_archive_open(store, "ann", &now, &e), 0, "%s", e.text);
    cr_expect_eq(messages_of(now, "New"), 0);
    mdsq_archive_close(&now);
    mdsq_store_close(&store);
    fixture_free(&f);
}

/* Nobody uses the old one: it is kept for the next opening, which must not take it. */
Test(archive, an_idle_one_is_dropped_after_a_rebuild)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    char dir[1200];

    (void)snprintf(dir, sizeof dir, "%s", mds_dir(f->env));
    cr_assert_eq(mdsq_store_open(f->store_dir, 0, &store, &e), 0);
    cr_assert_eq(mdsq_archive_open(store, "ann", &archive, &e), 0);
    mdsq_archive_close(&archive);

    const char *fresh = textf("%s.rebuild", dir);
    make_fresh(fresh, "New");
    cr_assert_eq(renameat2(AT_FDCWD, fresh, AT_FDCWD, dir, RENAME_EXCHANGE), 0);
    cr_assert_eq(mdsq_archive_open(store, "ann", &archive, &e), 0, "%s", e.text);
    cr_expect_eq(messages_of(archive, "New"), 0);
    mdsq_archive_close(&archive);

    remove_environment(dir);
    cr_expect_lt(mdsq_archive_open(store, "ann", &archive, &e), 0, "nothing is there");
    cr_expect_null(archive);
    mdsq_store_close(&store);
    fixture_free(&f);
}

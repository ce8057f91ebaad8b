#include "mds_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_existing(const char *dir, struct error *err)
{
    const struct mds_options opts = {0};
    struct mds_env *env = NULL;
    const int rc = mds_open(dir, &opts, &env, err);

    mds_close(&env);
    return rc;
}

Test(env, the_same_store_opened_twice_is_one)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *one = fixture_open(dir), *two = fixture_open(textf("%s/../a/.", dir)), *three = NULL;
    const struct mds_options read_only = {.read_only = true};
    struct error err;

    cr_expect_eq(one, two);
    MUST(mds_open(dir, &read_only, &three, &err));
    cr_expect_eq(one, three);
    mds_close(&one);
    struct mds_txn *t = fixture_write(two); /* still open */

    mds_write_abort(&t);
    mds_close(&two);
    mds_close(&three);
    mds_close(&three);
}

Test(env, modes_keep_others_out)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct error err;
    struct stat st;

    cr_expect_eq(mds_build_lock(env, &err), BASE_OK);
    cr_assert_eq(stat(dir, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0700);
    for (const char *const *name = (const char *const[]){"data.mdb", "lock.mdb", "queue.lock", "build.lock", NULL};
         *name; name++) {
        cr_assert_eq(stat(path_join(dir, *name), &st), 0);
        cr_expect_eq(st.st_mode & 077, 0, "%s: %o", *name, st.st_mode);
    }
    mds_close(&env);
}

Test(env, what_is_not_ours_is_refused_with_a_reason)
{
    const char *root = TEMP_DIR();
    static char noise[20000];
    struct error err;

    memset(noise, 'z', sizeof noise);
    mkpath(path_join(root, "empty-dir"));
    write_file(path_join(root, "empty/data.mdb"), (struct bytes){0});
    write_file(path_join(root, "foreign/data.mdb"), bytes_of(noise, sizeof noise));
    write_file(path_join(root, "short/data.mdb"), bytes_of(noise, 3));
    mkpath(path_join(root, "directory/data.mdb"));
    const struct {
        const char *name;
        int code;
        const char *word;
    } rows[] = {
        {"missing", BASE_ERR_NOTFOUND, "missing"}, {"empty-dir", BASE_ERR_NOTFOUND, "data.mdb"},
        {"empty", BASE_ERR_FORMAT, "empty"},       {"foreign", BASE_ERR_FORMAT, "no LMDB"},
        {"short", BASE_ERR_FORMAT, "no LMDB"},     {"directory", BASE_ERR_FORMAT, "regular"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(open_existing(path_join(root, rows[i].name), &err), rows[i].code, "%s: %s", rows[i].name,
                     err.text);
        cr_expect_not_null(strstr(err.text, rows[i].word), "%s: %s", rows[i].name, err.text);
    }
    const struct mds_options create = {.create = true};
    struct mds_env *env = NULL;

    cr_expect_eq(mds_open(path_join(root, "foreign"), &create, &env, &err), BASE_ERR_FORMAT,
                 "a foreign file is never taken over");
    cr_expect_eq(read_file(path_join(root, "foreign/data.mdb")).n, sizeof noise);
}

/* An LMDB environment of somebody else. */
Test(env, a_foreign_environment_is_left_alone)
{
    const char *dir = TEMP_DIR();
    MDB_env *lmdb = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    MDB_val k = {1, (void *)(uintptr_t) "k"}, v = {1, (void *)(uintptr_t) "v"};
    struct error err;
    const struct mds_options create = {.create = true};
    struct mds_env *env = NULL;

    cr_assert(!mdb_env_create(&lmdb) && !mdb_env_set_maxdbs(lmdb, 4) && !mdb_env_open(lmdb, dir, 0, 0600) &&
              !mdb_txn_begin(lmdb, NULL, 0, &txn) && !mdb_dbi_open(txn, "theirs", MDB_CREATE, &dbi) &&
              !mdb_put(txn, dbi, &k, &v, 0) && !mdb_txn_commit(txn));
    mdb_env_close(lmdb);
    cr_expect_eq(mds_open(dir, &create, &env, &err), BASE_ERR_FORMAT);
    cr_expect_not_null(strstr(err.text, "no mds-archive"), "%s", err.text);
}

Test(env, an_unknown_feature_or_version_is_named)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    struct error err;

    MUST(meta_own_put(t, META_FEATURES, BYTES_LIT("seals-xxh3 warp-drive packs"), &err));
    fixture_commit(&t);
    mds_close(&env);
    cr_expect_eq(open_existing(dir, &err), BASE_ERR_FORMAT);
    cr_expect_not_null(strstr(err.text, "'warp-drive'"), "%s", err.text);

    dir = path_join(TEMP_DIR(), "b");
    env = fixture_open(dir);
    t = fixture_write(env);
    MUST(meta_own_put(t, META_FORMAT, BYTES_LIT("mds-archive 2"), &err));
    fixture_commit(&t);
    mds_close(&env);
    cr_expect_eq(open_existing(dir, &err), BASE_ERR_FORMAT);
    cr_expect_not_null(strstr(err.text, "mds-archive 2"), "%s", err.text);
}

Test(env, a_cut_off_file_is_refused_at_every_page)
{
    const char *dir = path_join(TEMP_DIR(), "a"), *path = path_join(dir, "data.mdb");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    struct error err;

    (void)fixture_add(t, fixture_folder(t, "f"), 500, 1);
    fixture_commit(&t);
    mds_close(&env);
    const struct bytes whole = read_file(path);

    cr_assert_eq(open_existing(dir, &err), BASE_OK, "%s", err.text);
    for (off_t n = (off_t)whole.n - 4096; n > 8192; n -= 4096) {
        cr_assert_eq(truncate(path, n), 0);
        const int rc = open_existing(dir, &err);

        /* Only free pages may be missing: then it opens, and is whole. */
        cr_expect(rc == BASE_ERR_CORRUPT ||
                      (rc == BASE_OK && (env = fixture_open(dir)) && fixture_verify(env, NULL) == 0),
                  "%lld bytes: %s", (long long)n, err.text);
        mds_close(&env);
        cr_expect(n > (off_t)whole.n / 2 || rc == BASE_ERR_CORRUPT, "%lld bytes opened", (long long)n);
    }
    write_file(path, whole);
    cr_expect_eq(open_existing(dir, &err), BASE_OK, "%s", err.text);
}

Test(env, a_child_must_open_anew)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct error err;
    int status = 0;
    const pid_t pid = fork();

    if (pid == 0) {
        struct mds_env *again = NULL;
        struct mds_txn *t = NULL;
        const struct mds_options opts = {0};
        const bool ok = mds_read_begin(env, &t, &err) == BASE_ERR_USAGE &&
                        mds_open(dir, &opts, &again, &err) == BASE_OK && again != env &&
                        mds_write_begin(again, &t, &err) == BASE_OK && fixture_add(t, 1, 3, 0) == 3 &&
                        mds_write_commit(&t, &err) == BASE_OK;

        _exit(ok ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    struct mds_txn *t = fixture_read(env);
    struct mds_folder f;

    MUST(mds_folder_get(t, 1, &f, &err));
    cr_expect_eq(f.exists, 3);
    mds_read_end(&t);
    mds_close(&env);
}

Test(env, the_map_grows_around_readers)
{
    const struct mds_options opts = {.create = true, .archive_name = "ann", .map_bytes = 256 << 10};
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = NULL;
    struct error err;
    int grown = 0;

    MUST(mds_open(dir, &opts, &env, &err));
    for (int batch = 0; batch < 10; batch++) {
        int rc = BASE_ERR_AGAIN;

        while (rc == BASE_ERR_AGAIN) {
            struct mds_txn *t = fixture_write(env);
            struct mds_item it = {.hash = fixture_hash(1)};
            static char text[30000];
            struct mds_item_words words = {.envelope = bytes_of(text, sizeof text)};

            rc = BASE_OK;
            for (int i = 0; i < 5 && rc == BASE_OK; i++) {
                if ((rc = mds_item_add(t, &it, &words, &err)) == BASE_OK) {
                    struct mds_message m = {.folder = 1, .item = it.id};

                    rc = mds_message_add(t, &m, &err);
                }
            }
            if (rc == BASE_OK)
                rc = mds_write_commit(&t, &err);
            else
                cr_expect_eq(mds_message_set_flags(t, 1, 1, 0, (struct bytes){0}, &err), BASE_ERR_AGAIN,
                             "a dead transaction takes nothing");
            mds_write_abort(&t);
            cr_assert(rc == BASE_OK || rc == BASE_ERR_AGAIN, "%s", err.text);
            grown += rc == BASE_ERR_AGAIN;
        }
    }
    cr_expect_gt(grown, 1);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

/* Another process makes the map larger than ours. */
Test(env, a_map_that_another_process_grew_is_followed)
{
    const struct mds_options small = {.create = true, .archive_name = "ann", .map_bytes = 256 << 10};
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = NULL;
    struct mds_folder f;
    struct error err;
    int status = 0;

    MUST(mds_open(dir, &small, &env, &err));
    struct mds_txn *r = fixture_read(env);
    const pid_t pid = fork();

    if (pid == 0) {
        struct mds_env *big = fixture_open(dir);
        struct mds_txn *t = fixture_write(big);

        (void)fixture_add(t, 1, 3000, 0);
        fixture_commit(&t);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    MUST(mds_read_renew(r, &err));
    MUST(mds_folder_get(r, 1, &f, &err));
    cr_expect_eq(f.exists, 3000);
    mds_read_end(&r);
    struct mds_txn *t = fixture_write(env);

    cr_expect_eq(fixture_add(t, 1, 1, 0), 3001);
    fixture_commit(&t);
    mds_close(&env);
}

Test(env, a_store_that_may_not_be_written_is_read)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    const struct mds_options opts = {.read_only = true}, writing = {0};
    struct error err;

    (void)fixture_add(t, 1, 5, 0);
    fixture_commit(&t);
    mds_close(&env);
    MUST(mds_open(dir, &opts, &env, &err));
    cr_expect_eq(mds_write_begin(env, &t, &err), BASE_ERR_READONLY);
    cr_expect_eq(mds_build_lock(env, &err), BASE_ERR_READONLY);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    struct mds_env *other = NULL;

    cr_expect_eq(mds_open(dir, &writing, &other, &err), BASE_ERR_USAGE);
    mds_close(&env);
}

static const char *small_file_system(const char *options)
{
    const char *dir = TEMP_DIR();

    if (mount("mds-test", dir, "tmpfs", 0, options) == 0)
        return dir;
    (void)fprintf(stderr, "test_env: no right to mount: skipped\n");
    return NULL;
}

Test(env, a_full_disk_is_said_and_loses_nothing)
{
    const char *root = small_file_system("size=3m");

    if (!root)
        return;
    const char *dir = path_join(root, "a");
    struct mds_env *env = fixture_open(dir);
    struct error err = {0};
    uint32_t kept = 0;
    int rc = BASE_OK;

    for (int batch = 0; batch < 100 && rc == BASE_OK; batch++) {
        struct mds_txn *t = fixture_write(env);
        const uint32_t uid = fixture_add(t, 1, 500, 0);

        rc = mds_write_commit(&t, &err);
        kept = rc == BASE_OK ? uid : kept;
    }
    cr_expect_eq(rc, BASE_ERR_FULL, "%s", err.text);
    cr_expect_not_null(strstr(err.text, dir), "%s", err.text);
    cr_expect_gt(kept, 0);
    struct mds_txn *t = fixture_read(env);
    struct mds_folder f;

    MUST(mds_folder_get(t, 1, &f, &err));
    cr_expect_eq(f.exists, kept);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    cr_expect_eq(mount("mds-test", root, "tmpfs", MS_REMOUNT, "size=30m"), 0);
    t = fixture_write(env); /* with room again, it goes on */
    cr_expect_eq(fixture_add(t, 1, 500, 0), kept + 500);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
    (void)umount2(root, MNT_DETACH);
}

Test(env, readers_need_no_room_on_the_disk)
{
    const char *root = small_file_system("size=8m"), *lock;
    struct stat st;

    if (!root)
        return;
    struct mds_env *env = fixture_open(path_join(root, "a"));

    lock = path_join(root, "a/lock.mdb");
    cr_assert_eq(stat(lock, &st), 0);
    cr_expect_geq((uint64_t)st.st_blocks * 512, (uint64_t)st.st_size, "%s is sparse: a new reader may be a SIGBUS", lock);
    mds_close(&env);
    cr_assert_eq(truncate(lock, 0), 0); /* of a store that was made before */
    env = fixture_open(path_join(root, "a"));
    cr_assert_eq(stat(lock, &st), 0);
    cr_expect_geq((uint64_t)st.st_blocks * 512, (uint64_t)st.st_size);
    mds_close(&env);
    (void)umount2(root, MNT_DETACH);
}

Test(env, a_read_only_file_system_is_read)
{
    const char *root = small_file_system("size=8m");

    if (!root)
        return;
    const char *dir = path_join(root, "a");
    struct mds_env *env = fixture_open(dir);
    const struct mds_options opts = {.read_only = true}, writing = {0};
    struct error err;

    mds_close(&env);
    cr_assert_eq(mount("mds-test", root, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m"), 0);
    cr_expect_eq(mds_open(dir, &writing, &env, &err), BASE_ERR_READONLY, "%s", err.text);
    MUST(mds_open(dir, &opts, &env, &err));
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
    (void)umount2(root, MNT_DETACH);
}

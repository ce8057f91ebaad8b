#include "mds_fixture.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What was synced, as paths: this fsync stands before the C library's. LMDB syncs its data by fdatasync. */
static char synced[64][512];
static unsigned synced_n;

int fsync(int fd)
{
    char link[64];

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, synced[synced_n % 64], sizeof synced[0] - 1);

    if (n > 0)
        synced[synced_n++ % 64][n] = 0;
    return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *path)
{
    char *real = realpath(path, NULL);
    bool found = false;

    cr_assert_not_null(real, "%s", path);
    for (unsigned i = 0; i < synced_n && i < 64 && !found; i++)
        found = strcmp(synced[i], real) == 0;
    free(real);
    return found;
}

static struct error err;

Test(sync, every_directory_on_the_way_to_a_new_file)
{
    const char *root = TEMP_DIR(), *store = path_join(root, "store");
    struct mds_catalogue *c = NULL;
    struct mds_archive_info info;

    MUST(mds_catalogue_open(store, true, false, &c, &err));
    cr_expect(was_synced(root), "holds the store");
    cr_expect(was_synced(store), "holds the catalogue and the archives");
    cr_expect(was_synced(path_join(store, "catalogue")));
    MUST(mds_catalogue_archive_find(c, "ann", true, &info, &err));
    synced_n = 0;
    struct mds_env *env = fixture_open(info.dir);

    cr_expect(was_synced(path_join(store, "archives")) && was_synced(info.dir));
    mds_close(&env);
    synced_n = 0;
    env = fixture_open(info.dir);
    cr_expect(was_synced(info.dir), "whoever made it may have been killed before");
    mds_close(&env);
    synced_n = 0;
    MUST(mds_open(info.dir, &(struct mds_options){.read_only = true}, &env, &err));
    cr_expect_eq(synced_n, 0, "readers sync nothing");
    mds_close(&env);
    env = fixture_open(info.dir);
    struct mds_txn *txn = NULL;

    MUST(mds_write_begin(env, &txn, &err));
    MUST(mds_meta_put(txn, "x", BYTES_LIT("y"), false, &err));
    MUST(mds_write_commit(&txn, &err));
    mds_close(&env);
    synced_n = 0;
    env = fixture_open(info.dir);
    cr_expect_eq(synced_n, 0, "its writer came past the sync");
    mds_close(&env);
    mds_catalogue_close(&c);
}

Test(sync, a_copy)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    const char *dir = path_join(TEMP_DIR(), "b");
    struct mds_segments s;

    cr_assert_eq(mkdir(dir, 0700), 0);
    synced_n = 0;
    MUST(mds_copy(env, dir, &s, &err));
    cr_expect(was_synced(path_join(dir, "data.mdb")));
    mds_close(&env);
}

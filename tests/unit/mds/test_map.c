#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

#define TERABYTE UINT64_C(1000000000000)

static struct mds_env *opened(const char *dir, uint64_t map_bytes)
{
    const struct mds_options opts = {.create = true, .archive_name = "ann", .map_bytes = map_bytes};
    struct mds_env *env = NULL;

    MUST(mds_open(dir, &opts, &env, &err));
    return env;
}

static uint64_t map_of(struct mds_env *env)
{
    MDB_envinfo info;

    cr_assert_eq(mdb_env_info(env->lmdb, &info), 0);
    return info.me_mapsize;
}

Test(map, maps_share_the_address_space)
{
    enum { LARGE = 12 }; /* of 8 TB each: they fit beside whatever lies in the middle of the address space */
    const struct mds_options large = {.create = true, .archive_name = "ann", .map_bytes = 8 * TERABYTE};
    struct mds_env *first = opened(path_join(TEMP_DIR(), "a"), 0), *envs[LARGE], *refused = NULL;

    cr_expect_eq(map_of(first), ENV_MAP_BYTES);
    cr_expect_eq(first->map_bytes, ENV_MAP_BYTES);
    for (int i = 0; i < LARGE; i++)
        envs[i] = opened(path_join(TEMP_DIR(), textf("l%d", i)), 8 * TERABYTE);
    cr_expect_eq(mds_open(path_join(TEMP_DIR(), "c"), &large, &refused, &err), BASE_ERR_NOMEM);
    cr_expect(strstr(err.text, "address space"), "%s", err.text);
    struct mds_env *small = opened(path_join(TEMP_DIR(), "d"), 0);

    cr_expect(map_of(small) < ENV_MAP_BYTES && map_of(small) >= 2 * MDS_MAP_RESERVE, "%llu",
              (unsigned long long)map_of(small));
    struct mds_txn *t = fixture_write(small);

    (void)fixture_add(t, 1, 10, 0);
    fixture_commit(&t);
    mds_close(&small);
    for (int i = 0; i < LARGE; i++)
        mds_close(&envs[i]);
    small = opened(path_join(TEMP_DIR(), "d"), 0);
    cr_expect_eq(map_of(small), ENV_MAP_BYTES, "there is room again");
    cr_expect_eq(fixture_verify(small, NULL), 0);
    mds_close(&small);
    mds_close(&first);
}

Test(map, a_map_that_grew_is_counted)
{
    struct mds_env *env = opened(path_join(TEMP_DIR(), "a"), 256 << 10);
    int again = 0;

    for (int batch = 0; batch < 20; batch++) {
        struct mds_txn *t = fixture_write(env);
        int rc = BASE_OK;

        for (int i = 0; i < 20 && rc == BASE_OK; i++)
            rc = mds_meta_put(t, textf("%d.%d", batch, i), bytes_str(textf("%3000d", i)), false, &err);
        if (rc == BASE_OK)
            rc = mds_write_commit(&t, &err);
        else
            mds_write_abort(&t);
        cr_assert(rc == BASE_OK || rc == BASE_ERR_AGAIN, "%s", err.text);
        again += rc == BASE_ERR_AGAIN;
        batch -= rc == BASE_ERR_AGAIN;
    }
    cr_expect_gt(again, 0);
    cr_expect(map_of(env) > 256 << 10 && env->map_bytes == map_of(env));
    mds_close(&env);
}

Test(map, what_weakens_a_commit_is_refused)
{
    static const struct {
        const char *name;
        unsigned flags;
        bool relaxed, refused;
    } rows[] = {
        {"as it is", 0, false, false},
        {"no sync", MDB_NOSYNC, false, true},
        {"async map", MDB_MAPASYNC, false, true},
        {"no sync of the meta page", MDB_NOMETASYNC, false, true},
        {"relaxed", 0, true, false},
        {"relaxed, no sync", MDB_NOSYNC, true, true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct mds_options opts = {.create = true, .archive_name = "ann", .relaxed = rows[i].relaxed};
        struct mds_env *env = NULL;
        struct mds_txn *t = NULL;
        unsigned flags = 0;

        MUST(mds_open(path_join(TEMP_DIR(), textf("a%zu", i)), &opts, &env, &err));
        cr_assert_eq(mdb_env_get_flags(env->lmdb, &flags), 0);
        cr_expect_eq(!!(flags & MDB_NOMETASYNC), rows[i].relaxed, "%s", rows[i].name);
        cr_assert_eq(mdb_env_set_flags(env->lmdb, rows[i].flags, 1), 0);
        const int rc = mds_write_begin(env, &t, &err);

        cr_expect_eq(rc, rows[i].refused ? BASE_ERR_USAGE : BASE_OK, "%s", rows[i].name);
        mds_write_abort(&t);
        mds_close(&env);
    }
}

Test(map, the_first_opener_chooses_durability)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_options opts = {.create = true, .archive_name = "ann", .relaxed = true};
    struct mds_env *env = NULL, *again = NULL;

    MUST(mds_open(dir, &opts, &env, &err));
    opts.relaxed = false;
    cr_expect_eq(mds_open(dir, &opts, &again, &err), BASE_ERR_USAGE);
    opts.read_only = true;
    MUST(mds_open(dir, &opts, &again, &err));
    mds_close(&again);
    opts = (struct mds_options){.relaxed = true};
    MUST(mds_open(dir, &opts, &again, &err));
    mds_close(&again);
    mds_close(&env);
}

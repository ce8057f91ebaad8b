#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

static unsigned candidates(struct mds_txn *t, uint64_t hash_of, uint64_t *last)
{
    const struct hash128 h = fixture_hash(hash_of);
    uint64_t pos = 0, id;
    unsigned n = 0;

    for (*last = 0; mds_item_by_hash(t, &h, &pos, &id, &err) == 1; n++) {
        cr_expect_gt(id, *last, "oldest first");
        *last = id;
    }
    return n;
}

static void add_with_hash(struct mds_txn *t, uint64_t hash_of)
{
    struct mds_item it = {.hash = fixture_hash(hash_of), .msgid_hash = hash_of};
    const struct mds_item_words words = {0};

    MUST(mds_item_add(t, &it, &words, &err));
    MUST(mds_message_add(t, &(struct mds_message){.folder = 1, .item = it.id}, &err));
}

Test(hashes, they_are_built_once_and_kept_from_then_on)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    uint64_t last, pos = 0, id;

    for (uint64_t i = 1; i <= 500; i++)
        add_with_hash(t, i % 100);
    cr_expect_not(mds_hashes_complete(t));
    cr_expect_eq(candidates(t, 7, &last), 0, "not built yet");
    fixture_commit(&t);
    MUST(mds_hashes_build(env, "/tmp", &err));
    MUST(mds_hashes_build(env, "/tmp", &err));
    t = fixture_write(env);
    cr_expect(mds_hashes_complete(t));
    cr_expect_eq(candidates(t, 7, &last), 5);
    cr_expect_eq(candidates(t, 1000, &last), 0);
    add_with_hash(t, 7);
    add_with_hash(t, 1000);
    add_with_hash(t, 7);
    cr_expect_eq(candidates(t, 7, &last), 7, "those of this transaction too");
    cr_expect_eq(last, 503);
    cr_expect_eq(candidates(t, 1000, &last), 1);
    MUST(mds_message_remove(t, 1, 7, NULL, &err));
    MUST(mds_message_remove(t, 1, 503, NULL, &err));
    cr_expect_eq(candidates(t, 7, &last), 5, "a removed item is no candidate");
    fixture_commit(&t);
    t = fixture_read(env);
    cr_expect_eq(candidates(t, 7, &last), 5);
    cr_expect_eq(last, 501);
    unsigned n = 0;

    while (mds_items_by_msgid(t, 7, &pos, &id, &err) == 1)
        n++;
    cr_expect_eq(n, 5);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(hashes, an_interrupted_build_begins_again)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    uint64_t last;

    for (uint64_t i = 1; i <= 300; i++)
        add_with_hash(t, i);
    /* What a killed build leaves: a token, and rows that may be of items long gone. */
    struct key k = {.n = 0};

    key_raw(&k, bytes_of(fixture_hash(999).b, 16));
    key_u64(&k, 999);
    MUST(row_put(t, TABLE_HASHES, key_bytes(&k), value_begin(t), &err));
    MUST(meta_own_put(t, META_HASHES, BYTES_LIT("building 3"), &err));
    fixture_commit(&t);
    t = fixture_read(env);
    cr_expect_eq(candidates(t, 999, &last), 0);
    mds_read_end(&t);
    MUST(mds_hashes_build(env, "/tmp", &err));
    t = fixture_read(env);
    cr_expect_eq(candidates(t, 999, &last), 0);
    cr_expect_eq(candidates(t, 300, &last), 1);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(hashes, a_store_without_items_is_complete_too)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));

    MUST(mds_hashes_build(env, "/tmp", &err));
    struct mds_txn *t = fixture_read(env);

    cr_expect(mds_hashes_complete(t));
    mds_read_end(&t);
    cr_expect_eq(mds_hashes_build(env, "/nowhere", &err), BASE_OK, "nothing is left to do");
    mds_close(&env);
}

Test(hashes, a_missing_directory_is_an_error_that_leaves_the_store_sound)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    uint64_t last;

    for (uint64_t i = 1; i <= 400000 / 4; i++)
        if (i % 400 == 0)
            add_with_hash(t, i);
    fixture_commit(&t);
    (void)mds_hashes_build(env, "/nowhere", &err); /* small runs need no file: either way, then it must work */
    MUST(mds_hashes_build(env, "/tmp", &err));
    t = fixture_read(env);
    cr_expect_eq(candidates(t, 400, &last), 1);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

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

/* ---- gathered as they are committed ---- */

static unsigned all_candidates(struct mds_env *env, uint64_t from, uint64_t to)
{
    struct mds_txn *t = fixture_read(env);
    unsigned n = 0;

    for (uint64_t i = from, last; i <= to; i++)
        n += candidates(t, i, &last);
    mds_read_end(&t);
    return n;
}

static void commit_items(struct mds_env *env, uint64_t from, uint64_t to)
{
    struct mds_txn *t = fixture_write(env);

    for (uint64_t i = from; i <= to; i++)
        add_with_hash(t, i);
    fixture_commit(&t);
}

static void build_and_verify(struct mds_env *env, unsigned items)
{
    MUST(mds_hashes_build(env, "/tmp", &err));
    cr_expect_null(env->gather, "used once");
    cr_expect_eq(all_candidates(env, 1, 1000), items);
    cr_expect_eq(fixture_verify(env, NULL), 0);
}

Test(hashes, what_was_gathered_is_what_would_have_been_read)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));

    commit_items(env, 1, 50); /* an earlier run's, which only the store knows */
    MUST(mds_hashes_gather(env, "/tmp", &err));
    commit_items(env, 51, 150);
    MUST(mds_hashes_gather(env, "/tmp", &err));
    commit_items(env, 151, 300);
    cr_assert_not_null(env->gather);
    cr_expect_eq(env->gather->first, 51);
    cr_expect_eq(env->gather->next, 301);
    build_and_verify(env, 300);
    MUST(mds_hashes_gather(env, "/tmp", &err));
    cr_expect_null(env->gather, "no first build: the tables follow each commit");
    commit_items(env, 301, 310);
    cr_expect_eq(all_candidates(env, 1, 1000), 310);
    mds_close(&env);
}

Test(hashes, a_transaction_that_is_aborted_is_not_gathered)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));

    MUST(mds_hashes_gather(env, "/tmp", &err));
    commit_items(env, 1, 20);
    struct mds_txn *t = fixture_write(env);

    for (uint64_t i = 500; i < 520; i++)
        add_with_hash(t, i);
    mds_write_abort(&t);
    commit_items(env, 21, 40);
    cr_assert_not_null(env->gather);
    cr_expect_eq(env->gather->next, 41);
    build_and_verify(env, 40);
    mds_close(&env);
}

Test(hashes, a_removed_item_ends_the_gathering)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));

    MUST(mds_hashes_gather(env, "/tmp", &err));
    commit_items(env, 1, 100);
    struct mds_txn *t = fixture_write(env);

    MUST(mds_message_remove(t, 1, 7, NULL, &err));
    fixture_commit(&t);
    cr_expect_null(env->gather);
    commit_items(env, 101, 120);
    build_and_verify(env, 119);
    mds_close(&env);
}

/* What another process commits is seen in the ids, what it removes in the counter. */
Test(hashes, items_of_another_process_are_not_missed)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));

    MUST(mds_hashes_gather(env, "/tmp", &err));
    commit_items(env, 1, 100);
    struct gather *own = env->gather;

    env->gather = NULL;
    commit_items(env, 101, 150);
    env->gather = own;
    commit_items(env, 151, 160);
    cr_expect_null(env->gather, "there is a gap");
    MUST(mds_hashes_gather(env, "/tmp", &err));
    commit_items(env, 161, 200);
    own = env->gather;
    env->gather = NULL;
    struct mds_txn *t = fixture_write(env);

    MUST(mds_message_remove(t, 1, 170, NULL, &err));
    fixture_commit(&t);
    commit_items(env, 201, 210); /* at the end: read, beside what was gathered */
    env->gather = own;
    build_and_verify(env, 209);
    mds_close(&env);
}

Test(hashes, a_gathering_without_a_directory_leaves_the_build_to_read)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));

    (void)mds_hashes_gather(env, "/nowhere", &err);
    commit_items(env, 1, 100);
    build_and_verify(env, 100);
    mds_close(&env);
}

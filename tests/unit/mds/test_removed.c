#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

static uint32_t exists(struct mds_txn *t, uint32_t folder)
{
    struct mds_folder f;

    MUST(mds_folder_get(t, folder, &f, &err));
    return f.exists;
}

static struct mds_message message(struct mds_txn *t, uint32_t folder, uint32_t uid)
{
    struct mds_message m = {0};

    MUST(mds_message_get(t, folder, uid, &m, &err));
    return m;
}

Test(removed, an_expunged_message_is_kept_aside_and_comes_back)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "a/b"), g = fixture_folder(t, "g");
    const uint8_t keywords[] = {0, 0, 0, 1};
    struct mds_removed r;
    struct mds_item it;
    uint16_t id;
    uint32_t uid = 0, folder = 0;
    uint64_t pos = 0;

    MUST(mds_keyword_id(t, BYTES_LIT("one"), true, &id, &err));
    MUST(mds_keyword_id(t, BYTES_LIT("two"), true, &id, &err));
    (void)fixture_add(t, f, 3, FLAG_SEEN | FLAG_DELETED);
    MUST(mds_message_set_flags(t, f, 2, FLAG_SEEN | FLAG_DELETED, bytes_of(keywords, 4), &err));
    const struct mds_message before = message(t, f, 2);

    MUST(mds_message_expunge(t, f, 2, 12345, &err));
    cr_expect_eq(mds_message_expunge(t, f, 2, 1, &err), BASE_ERR_NOTFOUND);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_write(env);
    cr_expect_eq(exists(t, f), 2);
    MUST(mds_item_get(t, before.item, &it, &err));
    cr_expect_eq(it.refs, 0);
    cr_expect_eq(mds_item_messages(t, before.item, &pos, &folder, &uid, &err), 0);
    pos = 0;
    cr_expect_eq(mds_item_removed(t, before.item, &pos, &folder, &uid, &err), 1);
    cr_expect(folder == f && uid == 2);
    cr_expect_eq(mds_item_removed(t, before.item, &pos, &folder, &uid, &err), 0);
    cr_assert_eq(mds_removed_next(t, 0, 0, &r, &err), 1);
    cr_expect(r.folder == f && r.uid == 2 && r.removed_at == 12345 && bytes_equal(r.folder_name, BYTES_LIT("a/b")));
    cr_expect(r.message.item == before.item && r.message.flags == (FLAG_SEEN | FLAG_DELETED) &&
              bytes_equal(r.message.keywords, bytes_of(keywords, 4)));
    cr_expect_eq(mds_removed_next(t, r.folder, r.uid, &r, &err), 0);
    cr_expect_eq(mds_removed_restore(t, f, 1, g, 7, &uid, &err), BASE_ERR_NOTFOUND);
    MUST(mds_removed_restore(t, f, 2, g, 77, &uid, &err));
    const struct mds_message after = message(t, g, uid);

    cr_expect(after.flags == FLAG_SEEN && after.saved_date == 77 && after.item == before.item &&
              after.internal_date == before.internal_date && bytes_equal(after.keywords, bytes_of(keywords, 4)));
    cr_expect_eq(mds_removed_next(t, 0, 0, &r, &err), 0);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(removed, an_item_goes_with_its_last_filing_of_either_kind)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "f");
    struct mds_item it;
    uint32_t uid;
    bool gone = true;

    (void)fixture_add(t, f, 1, 0);
    MUST(mds_message_copy(t, f, 1, f, 5, &uid, &err));
    cr_expect_eq(uid, 2);
    MUST(mds_message_expunge(t, f, 1, 9, &err));
    MUST(mds_message_remove(t, f, 2, &gone, &err));
    cr_expect_not(gone, "it is kept aside once");
    MUST(mds_item_get(t, 1, &it, &err));
    MUST(mds_removed_purge(t, f, 1, &gone, &err));
    cr_expect(gone);
    cr_expect_eq(mds_item_get(t, 1, &it, &err), BASE_ERR_NOTFOUND);
    (void)fixture_add(t, f, 1, 0);
    MUST(mds_message_copy(t, f, 3, f, 5, &uid, &err));
    MUST(mds_message_expunge(t, f, 3, 9, &err));
    MUST(mds_removed_purge(t, f, 3, &gone, &err));
    cr_expect_not(gone, "the copy files it");
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(removed, moving_gives_a_new_uid_and_logs_an_expunge)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "f"), g = fixture_folder(t, "g");
    roaring_bitmap_t *changed = roaring_bitmap_create(), *gone = roaring_bitmap_create();
    struct mds_message m;
    struct mds_removed r;
    struct mds_folder folder;
    uint32_t uid = 0;
    bool complete = false;

    (void)fixture_add(t, f, 4, FLAG_SEEN);
    (void)fixture_add(t, g, 2, 0);
    MUST(mds_folder_get(t, f, &folder, &err));
    MUST(mds_message_move(t, f, 2, g, 99, &uid, &err));
    cr_expect_eq(uid, 3);
    cr_expect_eq(mds_message_get(t, f, 2, &m, &err), BASE_ERR_NOTFOUND);
    cr_expect(message(t, g, 3).saved_date == 99 && message(t, g, 3).flags == FLAG_SEEN && message(t, g, 3).item == 2);
    MUST(mds_message_move(t, f, 3, f, 99, &uid, &err));
    cr_expect_eq(uid, 5, "within one folder too");
    cr_expect_eq(mds_removed_next(t, 0, 0, &r, &err), 0, "nothing is kept aside");
    cr_expect_eq(mds_message_move(t, f, 2, g, 0, &uid, &err), BASE_ERR_NOTFOUND);
    MUST(mds_changes_since(t, f, folder.highestmodseq, changed, gone, &complete, &err));
    cr_expect(complete && roaring_bitmap_get_cardinality(gone) == 2 && roaring_bitmap_contains(gone, 2) &&
              roaring_bitmap_contains(gone, 3) && roaring_bitmap_get_cardinality(changed) == 1 &&
              roaring_bitmap_contains(changed, 5));
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    roaring_bitmap_free(changed);
    roaring_bitmap_free(gone);
    mds_close(&env);
}

/* What the first version left: no later table, no feature, sums of 22 tables, as far as this one can make it. */
static void downgrade(const char *dir)
{
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    const MDB_dbi removed = env->dbi[TABLE_REMOVED], columns = env->dbi[TABLE_COLUMNS];

    MUST(meta_own_put(t, META_FEATURES, BYTES_LIT("seals-xxh3 packs sets log-runs"), &err));
    env->tables &= ~(1u << TABLE_REMOVED | 1u << TABLE_COLUMNS);
    cr_assert_eq(mdb_drop(t->lmdb, removed, 1), 0);
    cr_assert_eq(mdb_drop(t->lmdb, columns, 1), 0);
    fixture_commit(&t);
    mds_close(&env);
}

Test(removed, a_store_of_the_version_before_is_read_and_upgraded)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    struct mds_removed r;
    struct table_sums sums;
    struct bytes text;

    (void)fixture_add(t, 1, 3, 0);
    fixture_commit(&t);
    mds_close(&env);
    downgrade(dir);

    MUST(mds_open(dir, &(struct mds_options){.read_only = true}, &env, &err));
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_read(env);
    cr_expect_eq(mds_removed_next(t, 0, 0, &r, &err), 0);
    cr_expect_eq(exists(t, 1), 3);
    MUST(meta_own_get(t, META_SUMS, &text, &err));
    cr_expect(text.n > 2 && sums_decode(text, &sums));
    mds_read_end(&t);
    mds_close(&env);

    env = fixture_open(dir);
    t = fixture_write(env);
    MUST(mds_message_expunge(t, 1, 2, 1, &err));
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_read(env);
    MUST(meta_own_get(t, META_FEATURES, &text, &err));
    cr_expect(bytes_equal(text, BYTES_LIT("seals-xxh3 packs sets log-runs removed columns packs-lz4")));
    cr_expect_eq(mds_removed_next(t, 0, 0, &r, &err), 1);
    mds_read_end(&t);
    mds_close(&env);
}

Test(removed, a_table_that_was_lost_is_no_old_store)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);

    MUST(mds_meta_put(t, "x", BYTES_LIT("y"), false, &err));
    cr_assert_eq(mdb_drop(t->lmdb, env->dbi[TABLE_REMOVED], 1), 0);
    fixture_commit(&t);
    mds_close(&env);
    for (int read_only = 0; read_only < 2; read_only++) {
        cr_expect_eq(mds_open(dir, &(struct mds_options){.read_only = read_only}, &env, &err), BASE_ERR_CORRUPT);
        cr_expect(strstr(err.text, "removed"), "%s", err.text);
    }
}

Test(removed, what_another_store_kept_aside_is_carried_without_its_folder)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "f");
    uint32_t id = 0, again, uid = 0;
    struct mds_removed r;

    (void)fixture_add(t, f, 1, 0);
    MUST(mds_folder_reserve(t, &id, &err));
    again = id;
    MUST(mds_folder_reserve(t, &again, &err));
    cr_expect_eq(again, id, "an id that was committed is kept");
    cr_expect_gt(fixture_folder(t, "g"), id, "no folder gets it");
    const struct mds_removed old = {.folder = id,
                                    .uid = 7,
                                    .folder_name = BYTES_LIT("gone/long ago"),
                                    .removed_at = 12,
                                    .message = message(t, f, 1)};
    struct mds_removed bad = old;

    MUST(mds_removed_carry(t, &old, &err));
    cr_expect_eq(mds_removed_carry(t, &old, &err), BASE_ERR_EXISTS);
    bad.folder = id + 2;
    cr_expect_eq(mds_removed_carry(t, &bad, &err), BASE_ERR_USAGE);
    bad.folder = id;
    bad.message.item += 9;
    cr_expect_eq(mds_removed_carry(t, &bad, &err), BASE_ERR_NOTFOUND);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_write(env);
    cr_assert_eq(mds_removed_next(t, 0, 0, &r, &err), 1);
    cr_expect(r.folder == id && r.uid == 7 && r.removed_at == 12 && bytes_equal(r.folder_name, old.folder_name));
    MUST(mds_removed_restore(t, id, 7, f, 1, &uid, &err));
    cr_expect_eq(uid, 2);
    cr_expect_eq(mds_removed_next(t, 0, 0, &r, &err), 0);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

Test(folder, names_are_found_as_they_were_made)
{
    static char n511[512], n512[513], n4096[4097], n4096b[4097];
    memset(n511, 'a', 511);
    memset(n512, 'a', 512);
    memset(n4096, 'b', 4096);
    memcpy(n4096b, n4096, 4096);
    n4096b[4095] = 'c';
    n4096[2000] = n4096b[2000] = '/';
    const char *const names[] = {"plain", "a/b/c", "a/b", "\xff\xfe\x80", "a//b",        "/top",  "tail/",
                                 n511,    n512,    n4096, n4096b,         "inbox/child", "INBOX2"};
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct buf full = {0};
    struct mds_folder f, child;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint32_t id = 0, again = 0;

        MUST(mds_folder_create(t, bytes_str(names[i]), &id, &err));
        cr_expect_eq(mds_folder_create(t, bytes_str(names[i]), &again, &err), BASE_ERR_EXISTS, "%.40s", names[i]);
        cr_expect_eq(again, id);
    }
    fixture_commit(&t);
    t = fixture_read(env);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        MUST(mds_folder_find(t, bytes_str(names[i]), &f, &err));
        MUST(mds_folder_full_name(t, f.id, &full, &err));
        const char *want = strcmp(names[i], "inbox/child") == 0 ? "INBOX/child" : names[i];

        cr_expect(bytes_equal(buf_bytes(&full), bytes_str(want)), "%.40s", names[i]);
        cr_expect(f.selectable && f.uidvalidity > 0 && f.uidvalidity <= 1u << 30 && f.uidnext == 1 &&
                      f.highestmodseq == 1,
                  "%.40s", names[i]);
    }
    MUST(mds_folder_find(t, BYTES_LIT("a"), &f, &err));
    cr_expect_not(f.selectable, "only a level");
    unsigned children = 0;

    for (int rc = mds_folder_next_child(t, f.id, NULL, &child, &err); rc == 1; children++) {
        const struct bytes after = child.name;

        rc = mds_folder_next_child(t, f.id, &after, &child, &err);
    }
    cr_expect_eq(children, 2, "'' and 'b', got %u", children);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_read_end(&t);
    buf_release(&full);
    mds_close(&env);
}

Test(folder, inbox_has_one_spelling)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_folder f;
    uint32_t id;

    MUST(mds_folder_find(t, BYTES_LIT("iNbOx"), &f, &err));
    cr_expect(bytes_equal(f.name, BYTES_LIT("INBOX")));
    cr_expect_eq(mds_folder_create(t, BYTES_LIT("inbox"), &id, &err), BASE_ERR_EXISTS);
    MUST(mds_folder_create(t, BYTES_LIT("a/inbox"), &id, &err));
    cr_expect_eq(mds_folder_find(t, BYTES_LIT("a/INBOX"), &f, &err), BASE_ERR_NOTFOUND, "only at the top");
    cr_expect_eq(mds_folder_remove(t, 1, &err), BASE_ERR_USAGE);
    mds_write_abort(&t);
    mds_close(&env);
}

Test(folder, bad_names_are_refused)
{
    static char long_name[MDS_NAME_MAX + 1];
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_folder f;
    uint32_t id;

    memset(long_name, 'x', sizeof long_name);
    cr_expect_eq(mds_folder_create(t, (struct bytes){0}, &id, &err), BASE_ERR_SYNTAX);
    cr_expect_eq(mds_folder_create(t, bytes_of(long_name, sizeof long_name), &id, &err), BASE_ERR_LIMIT);
    MUST(mds_folder_create(t, bytes_of(long_name, MDS_NAME_MAX), &id, &err));
    cr_expect_eq(mds_folder_find(t, BYTES_LIT("nowhere"), &f, &err), BASE_ERR_NOTFOUND);
    cr_expect_eq(mds_folder_get(t, 4711, &f, &err), BASE_ERR_NOTFOUND);
    mds_write_abort(&t);
    mds_close(&env);
}

Test(folder, a_second_life_has_a_higher_uidvalidity)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_folder f;
    uint32_t last = 0, last_id = 0;

    for (int life = 0; life < 4; life++) {
        struct mds_txn *t = fixture_write(env);
        const uint32_t id = fixture_folder(t, "a/b");

        MUST(mds_folder_get(t, id, &f, &err));
        cr_expect_gt(f.uidvalidity, last, "life %d", life);
        cr_expect_gt(id, last_id);
        last = f.uidvalidity;
        last_id = id;
        (void)fixture_add(t, id, 3, 0);
        cr_expect_eq(mds_folder_remove(t, id, &err), BASE_ERR_USAGE, "it holds messages");
        for (uint32_t uid = 1; uid <= 3; uid++)
            MUST(mds_message_remove(t, id, uid, NULL, &err));
        MUST(mds_folder_remove(t, id, &err));
        fixture_commit(&t);
        cr_expect_eq(fixture_verify(env, NULL), 0, "life %d", life);
    }
    mds_close(&env);
}

Test(folder, one_with_children_stays_as_a_level)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_folder before, after;
    const uint32_t id = fixture_folder(t, "p");

    (void)fixture_folder(t, "p/q");
    (void)fixture_add(t, id, 1, 0);
    MUST(mds_message_remove(t, id, 1, NULL, &err));
    MUST(mds_folder_get(t, id, &before, &err));
    MUST(mds_folder_remove(t, id, &err));
    fixture_commit(&t);
    t = fixture_write(env);
    uint32_t again = 0;

    MUST(mds_folder_get(t, id, &after, &err));
    cr_expect_not(after.selectable);
    MUST(mds_folder_create(t, BYTES_LIT("p"), &again, &err));
    MUST(mds_folder_get(t, id, &after, &err));
    cr_expect(again == id && after.selectable && after.uidvalidity > before.uidvalidity && after.uidnext == 1);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(folder, numbers_are_derived_from_names_alone)
{
    struct mds_folder f[2];

    for (int i = 0; i < 2; i++) {
        struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
        struct mds_txn *t = fixture_write(env);

        MUST(mds_folder_get(t, fixture_folder(t, "x/y"), &f[i], &err));
        mds_write_abort(&t);
        mds_close(&env);
    }
    cr_expect_eq(f[0].uidvalidity, f[1].uidvalidity);
    cr_expect_eq(memcmp(f[0].object_id, f[1].object_id, 16), 0);
}

Test(folder, more_folders_than_the_cache_holds)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_folder f;

    for (unsigned i = 0; i < FOLDER_CACHE_MAX + 100; i++)
        (void)fixture_add(t, fixture_folder(t, textf("f%u", i)), i % 50 == 0, FLAG_SEEN | FLAG_DELETED);
    for (unsigned i = 0; i < FOLDER_CACHE_MAX + 100; i += 50)
        (void)fixture_add(t, fixture_folder(t, textf("f%u", i)), 1, 0);
    fixture_commit(&t);
    t = fixture_read(env);
    MUST(mds_folder_find(t, BYTES_LIT("f50"), &f, &err));
    cr_expect(f.exists == 2 && f.unseen == 1 && f.deleted == 1);
    cr_expect_eq(mds_verify(t, NULL, NULL, &err), 0);
    mds_read_end(&t);
    mds_close(&env);
}

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
    const char *const names[] = {"plain", "a/b/c", "a/b", "\xff\xfe\x80", n511,    n512,
                                 n4096,   n4096b,  "inbox/child", "INBOX2"};
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
    cr_expect_eq(children, 1, "'b', got %u", children);
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
        MUST(mds_folder_set_subscribed(t, id, false, &err)); /* or the level stays */
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
    cr_expect(again == id && after.selectable && after.uidvalidity > before.uidvalidity);
    cr_expect(after.uidnext == 2 && after.changes_floor == after.highestmodseq, "no UID of an id is given twice");
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

static struct mds_folder found(struct mds_txn *t, const char *name)
{
    struct mds_folder f = {0};

    MUST(mds_folder_find(t, bytes_str(name), &f, &err));
    return f;
}

static bool is_there(struct mds_txn *t, const char *name)
{
    struct mds_folder f;
    const int rc = mds_folder_find(t, bytes_str(name), &f, &err);

    cr_assert(rc == BASE_OK || rc == BASE_ERR_NOTFOUND, "%s", err.text);
    return rc == BASE_OK;
}

Test(folder, a_rename_moves_all_that_is_below)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    uint32_t id;

    (void)fixture_add(t, fixture_folder(t, "a/b"), 3, 0);
    (void)fixture_add(t, fixture_folder(t, "a/b/c/d"), 2, 0);
    (void)fixture_folder(t, "other");
    fixture_commit(&t);
    t = fixture_write(env);
    const struct mds_folder b = found(t, "a/b"), d = found(t, "a/b/c/d");
    const uint64_t writes = t->write_seq;

    MUST(mds_folder_rename(t, b.id, BYTES_LIT("x/y/z"), &err));
    cr_expect_leq(t->write_seq - writes, 12, "O(1): %llu writes", (unsigned long long)(t->write_seq - writes));
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_write(env);
    const struct mds_folder z = found(t, "x/y/z"), zd = found(t, "x/y/z/c/d");

    cr_expect(z.id == b.id && z.uidvalidity == b.uidvalidity && z.exists == 3 && z.uidnext == 4 &&
              memcmp(z.object_id, b.object_id, 16) == 0 && bytes_equal(z.name, BYTES_LIT("z")));
    cr_expect(zd.id == d.id && zd.uidvalidity == d.uidvalidity);
    cr_expect(!is_there(t, "a/b") && !is_there(t, "a"), "the level that was left empty is gone");
    cr_expect_not(found(t, "x/y").selectable);
    MUST(mds_folder_create(t, BYTES_LIT("a/b/c/d"), &id, &err));
    cr_expect_gt(found(t, "a/b/c/d").uidvalidity, d.uidvalidity, "nobody walked this name");
    cr_expect_eq(mds_folder_rename(t, z.id, BYTES_LIT("x/y/z/c/new"), &err), BASE_ERR_USAGE, "below itself");
    cr_expect_eq(mds_folder_rename(t, z.id, BYTES_LIT("x/y/z"), &err), BASE_ERR_EXISTS, "its own name");
    cr_expect_eq(mds_folder_rename(t, z.id, BYTES_LIT("other"), &err), BASE_ERR_EXISTS);
    cr_expect_eq(mds_folder_rename(t, z.id, BYTES_LIT("inbox"), &err), BASE_ERR_EXISTS);
    cr_expect_eq(mds_folder_rename(t, z.id, (struct bytes){0}, &err), BASE_ERR_SYNTAX);
    cr_expect_eq(mds_folder_rename(t, found(t, "INBOX").id, BYTES_LIT("in"), &err), BASE_ERR_USAGE);
    cr_expect_eq(mds_folder_rename(t, 999, BYTES_LIT("in"), &err), BASE_ERR_NOTFOUND);
    MUST(mds_folder_rename(t, found(t, "x").id, BYTES_LIT("inbox/x"), &err));
    cr_expect(is_there(t, "INBOX/x/y/z/c/d"));
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(folder, after_a_rename_new_folders_are_above_all)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    uint32_t highest = 0, removed = 0, floor = 1, id;

    MUST(mds_uidvalidity_floor(t, &floor, &err));
    cr_expect_eq(floor, 0);
    for (int i = 0; i < 10; i++) {
        const struct mds_folder f = found(t, (fixture_folder(t, textf("f%d", i)), textf("f%d", i)));

        highest = f.uidvalidity > highest ? f.uidvalidity : highest;
        if (i % 3 == 0) {
            removed = f.uidvalidity > removed ? f.uidvalidity : removed;
            MUST(mds_folder_remove(t, f.id, &err));
        }
    }
    MUST(mds_uidvalidity_floor(t, &floor, &err));
    cr_expect_eq(floor, removed, "a store made anew must not give one of these names its old UIDVALIDITY");
    MUST(mds_folder_rename(t, found(t, "f1").id, BYTES_LIT("g"), &err));
    for (int i = 0; i < 10; i += 3) {
        MUST(mds_folder_create(t, bytes_str(textf("new/f%d", i)), &id, &err));
        const struct mds_folder f = found(t, textf("new/f%d", i));

        cr_expect_gt(f.uidvalidity, highest, "%d", i);
        highest = f.uidvalidity;
    }
    MUST(mds_uidvalidity_floor(t, &floor, &err));
    cr_expect_eq(floor, highest);
    MUST(mds_uidvalidity_raise(t, highest + 1000, &err));
    fixture_commit(&t);
    t = fixture_write(env);
    cr_expect_eq(found(t, (fixture_folder(t, "last"), "last")).uidvalidity, highest + 1001);
    mds_write_abort(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(folder, a_rename_that_makes_names_too_long_is_refused)
{
    static char level[1001];
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    uint32_t id;

    memset(level, 'n', 1000);
    MUST(mds_folder_create(t, bytes_str(textf("a/%s/%s/%s", level, level, level)), &id, &err)); /* 3004 */
    const uint32_t a = found(t, "a").id;

    MUST(mds_folder_rename(t, a, bytes_str(textf("%.500s", level)), &err));   /* 3503 */
    MUST(mds_folder_rename(t, a, bytes_str(textf("%.300s/b", level)), &err)); /* 3305, the bound stays */
    cr_expect_eq(mds_folder_rename(t, a, bytes_str(textf("%s/%.100s", level, level)), &err), BASE_ERR_LIMIT);
    MUST(mds_folder_rename(t, a, bytes_str(textf("%s/%.92s", level, level)), &err)); /* 4096: found by a walk */
    cr_expect_eq(mds_folder_rename(t, a, bytes_str(textf("%s/%.93s", level, level)), &err), BASE_ERR_LIMIT);
    MUST(mds_folder_rename(t, a, BYTES_LIT("s"), &err));
    cr_expect(is_there(t, textf("s/%s/%s/%s", level, level, level)));
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(folder, a_name_may_be_subscribed_without_a_folder)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "p/f");
    uint32_t id;

    MUST(mds_folder_subscribe_name(t, BYTES_LIT("q/r/s"), &err));
    cr_expect(!found(t, "q/r/s").selectable && found(t, "q/r/s").subscribed && !found(t, "q/r").subscribed);
    MUST(mds_folder_subscribe_name(t, BYTES_LIT("q/r"), &err));
    MUST(mds_folder_set_subscribed(t, found(t, "q/r/s").id, false, &err));
    cr_expect(!is_there(t, "q/r/s") && is_there(t, "q/r"));
    MUST(mds_folder_set_subscribed(t, found(t, "q/r").id, false, &err));
    cr_expect_not(is_there(t, "q"), "levels that nothing keeps go too");
    MUST(mds_folder_remove(t, f, &err));
    cr_expect(!found(t, "p/f").selectable && found(t, "p/f").subscribed, "a removed folder stays subscribed");
    MUST(mds_folder_remove(t, f, &err));
    cr_expect(is_there(t, "p/f"));
    MUST(mds_folder_rename(t, fixture_folder(t, "other"), BYTES_LIT("p/f"), &err));
    cr_expect(found(t, "p/f").selectable && found(t, "p/f").subscribed && found(t, "p/f").id != f);
    MUST(mds_folder_remove(t, found(t, "p/f").id, &err));
    MUST(mds_folder_create(t, BYTES_LIT("p/f"), &id, &err));
    cr_expect(found(t, "p/f").selectable);
    MUST(mds_folder_set_subscribed(t, id, false, &err));
    cr_expect(is_there(t, "p/f"));
    MUST(mds_folder_remove(t, id, &err));
    cr_expect_not(is_there(t, "p"));
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(folder, special_use_is_set_and_kept)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "f");

    MUST(mds_folder_set_special_use(t, f, MDS_USE_DRAFTS, &err));
    cr_expect_eq(mds_folder_set_special_use(t, f, MDS_USE_TRASH + 1, &err), BASE_ERR_USAGE);
    MUST(mds_folder_rename(t, f, BYTES_LIT("g"), &err));
    fixture_commit(&t);
    t = fixture_read(env);
    cr_expect_eq(found(t, "g").special_use, MDS_USE_DRAFTS);
    mds_read_end(&t);
    mds_close(&env);
}

Test(folder, a_level_has_a_name_and_holds_no_mail)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    static const char *const empty[] = {"", "/", "a//b", "/top", "tail/", "INBOX/"};
    const uint32_t below = fixture_folder(t, "level/below");
    struct mds_message m;
    struct mds_folder f;
    uint32_t id;

    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        cr_expect_eq(mds_folder_create(t, bytes_str(empty[i]), &id, &err), BASE_ERR_SYNTAX, "create '%s'", empty[i]);
        cr_expect_eq(mds_folder_subscribe_name(t, bytes_str(empty[i]), &err), BASE_ERR_SYNTAX, "subscribe '%s'", empty[i]);
        cr_expect_eq(mds_folder_rename(t, below, bytes_str(empty[i]), &err), BASE_ERR_SYNTAX, "rename '%s'", empty[i]);
    }
    (void)fixture_add(t, below, 1, 0);
    MUST(mds_message_get(t, below, 1, &m, &err));
    MUST(mds_folder_find(t, BYTES_LIT("level"), &f, &err));
    m.folder = f.id;
    cr_expect_eq(mds_message_add(t, &m, &err), BASE_ERR_USAGE);
    cr_expect_eq(mds_message_copy(t, below, 1, f.id, 0, &id, &err), BASE_ERR_USAGE);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(folder, a_store_of_a_name_that_was_used_begins_above)
{
    const struct mds_options plain = {.create = true, .archive_name = "ann"};
    struct mds_folder inbox[2], f;

    for (int i = 0; i < 2; i++) {
        struct mds_options opts = plain;
        struct mds_env *env = NULL;

        opts.uidvalidity_floor = i ? inbox[0].uidvalidity : 0;
        MUST(mds_open(path_join(TEMP_DIR(), i ? "b" : "a"), &opts, &env, &err));
        struct mds_txn *t = fixture_write(env);

        MUST(mds_folder_find(t, BYTES_LIT("INBOX"), &inbox[i], &err));
        MUST(mds_folder_get(t, fixture_folder(t, "x/y"), &f, &err));
        if (i)
            cr_expect_gt(f.uidvalidity, inbox[0].uidvalidity);
        fixture_commit(&t);
        cr_expect_eq(fixture_verify(env, NULL), 0);
        mds_close(&env);
    }
    cr_expect_gt(inbox[1].uidvalidity, inbox[0].uidvalidity);
    cr_expect_neq(memcmp(inbox[0].object_id, inbox[1].object_id, 16), 0);
}

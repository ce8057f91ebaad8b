/* A second store takes over what clients know of the first: same UIDs, and news that leave nothing out. */
#include "mds_fixture.h"

#include <criterion/criterion.h>

#define OLD_MODSEQ  50u
#define OLD_UIDNEXT 40u

static struct error err;

static struct mds_folder former(uint32_t id)
{
    struct mds_folder old = {
        .id = id,
        .uidvalidity = 4711,
        .uidnext = OLD_UIDNEXT,
        .highestmodseq = OLD_MODSEQ,
        .subscribed = false,
        .special_use = MDS_USE_SENT,
        .exists = 9, /* counters are not taken over */
    };

    memset(old.object_id, 7, sizeof old.object_id);
    return old;
}

/* One more message of item 1, at this UID. */
static struct mds_message message_at(uint32_t folder, uint32_t uid)
{
    return (struct mds_message){
        .folder = folder, .uid = uid, .item = 1, .flags = FLAG_SEEN, .size_crlf = 11, .internal_date = 1000};
}

/* A folder "f" that took over the former one; item 1 is filed in INBOX. */
static uint32_t restored_folder(struct mds_txn *t)
{
    (void)fixture_add(t, fixture_folder(t, "INBOX"), 1, 0);
    const struct mds_folder old = former(fixture_folder(t, "f"));

    MUST(mds_folder_restore(t, &old, &err));
    return old.id;
}

static void expect_sound(struct mds_env *env)
{
    const char *text;

    cr_expect_eq(fixture_verify(env, &text), 0, "%s", text);
}

Test(restore, a_folder_takes_over_what_clients_know)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = restored_folder(t);
    const struct mds_folder old = former(id);
    struct mds_folder f;

    fixture_commit(&t);
    t = fixture_read(env);
    MUST(mds_folder_find(t, BYTES_LIT("f"), &f, &err));
    cr_expect(f.id == id && f.selectable && !f.subscribed && f.special_use == MDS_USE_SENT);
    cr_expect(f.uidvalidity == 4711 && f.uidnext == OLD_UIDNEXT);
    cr_expect(f.exists == 0 && f.unseen == 0 && f.deleted == 0 && f.bytes == 0);
    cr_expect_gt(f.highestmodseq, OLD_MODSEQ);
    cr_expect_eq(f.changes_floor, f.highestmodseq);
    cr_expect_eq(memcmp(f.object_id, old.object_id, sizeof f.object_id), 0);
    mds_read_end(&t);
    expect_sound(env);
    mds_close(&env);
}

Test(restore, again_changes_nothing)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const struct mds_folder old = former(restored_folder(t));
    struct mds_folder once, twice;

    MUST(mds_folder_get(t, old.id, &once, &err));
    MUST(mds_folder_restore(t, &old, &err));
    MUST(mds_folder_get(t, old.id, &twice, &err));
    cr_expect(once.highestmodseq == twice.highestmodseq && once.uidnext == twice.uidnext &&
              once.uidvalidity == twice.uidvalidity && once.changes_floor == twice.changes_floor);
    fixture_commit(&t);
    expect_sound(env);
    mds_close(&env);
}

Test(restore, messages_keep_their_uids_in_any_order)
{
    static const uint32_t uids[] = {39, 3, 4, 1, 20, 2};
    enum { N = sizeof uids / sizeof uids[0] };
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = restored_folder(t);
    struct mds_folder f;
    struct mds_message m;

    for (size_t i = 0; i < N; i++) {
        m = message_at(id, uids[i]);
        if (i == N / 2) { /* the rows come from two transactions */
            fixture_commit(&t);
            expect_sound(env);
            t = fixture_write(env);
        }
        MUST(mds_message_restore(t, &m, &err));
        cr_expect_eq(m.uid, uids[i]);
        MUST(mds_folder_get(t, id, &f, &err));
        cr_expect_eq(f.uidnext, OLD_UIDNEXT, "UID %u", uids[i]);
        cr_expect(f.highestmodseq == m.modseq && m.modseq > OLD_MODSEQ + i, "UID %u", uids[i]);
    }
    cr_expect_eq(fixture_add(t, id, 1, 0), OLD_UIDNEXT, "new mail comes behind the old");
    fixture_commit(&t);
    expect_sound(env);

    t = fixture_read(env);
    roaring_bitmap_t *exists = NULL, *want = roaring_bitmap_of(7, 1, 2, 3, 4, 20, 39, 40);

    MUST(mds_folder_get(t, id, &f, &err));
    cr_expect(f.exists == N + 1 && f.unseen == 1 && f.bytes == 11 * (N + 1) && f.uidnext == OLD_UIDNEXT + 1);
    MUST(mds_set_load(t, id, MDS_SET_EXISTS, &exists, &err));
    cr_expect(roaring_bitmap_equals(exists, want));
    uint32_t uid = 1, n = 0;

    for (; mds_message_next(t, id, uid, &m, &err) == 1; n++, uid = m.uid + 1)
        cr_expect(roaring_bitmap_contains(want, m.uid), "UID %u", m.uid);
    cr_expect_eq(n, N + 1);
    roaring_bitmap_free(exists);
    roaring_bitmap_free(want);
    mds_read_end(&t);
    mds_close(&env);
}

/* UIDs 2 and 5 are restored of the former 1..39: a client that saw all of the former life hears of the 37 others. */
Test(restore, news_since_the_former_life_are_complete)
{
    static const uint64_t since[] = {1, OLD_MODSEQ - 1, OLD_MODSEQ};
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = restored_folder(t);

    for (uint32_t uid = 2; uid <= 5; uid += 3) {
        struct mds_message m = message_at(id, uid);

        MUST(mds_message_restore(t, &m, &err));
    }
    fixture_commit(&t);
    t = fixture_read(env);
    for (size_t i = 0; i < sizeof since / sizeof since[0]; i++) {
        roaring_bitmap_t *changed = roaring_bitmap_create(), *gone = roaring_bitmap_create();
        bool complete = true;

        MUST(mds_changes_since(t, id, since[i], changed, gone, &complete, &err));
        cr_expect_not(complete, "since %u", (unsigned)since[i]);
        cr_expect_eq(roaring_bitmap_get_cardinality(gone), OLD_UIDNEXT - 1 - 2, "since %u", (unsigned)since[i]);
        cr_expect(roaring_bitmap_get_cardinality(changed) == 2 && roaring_bitmap_contains(changed, 2) &&
                      roaring_bitmap_contains(changed, 5),
                  "since %u", (unsigned)since[i]);
        roaring_bitmap_free(changed);
        roaring_bitmap_free(gone);
    }
    mds_read_end(&t);
    mds_close(&env);
}

/* Rows of the log that lie below the new floor stay and disturb nothing. */
Test(restore, a_folder_that_was_emptied_may_be_restored)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = fixture_folder(t, "f");
    struct mds_folder old = former(id), f;

    (void)fixture_add(t, fixture_folder(t, "INBOX"), 1, 0);
    (void)fixture_add(t, id, 3, 0);
    for (uint32_t uid = 1; uid <= 3; uid++)
        MUST(mds_message_remove(t, id, uid, NULL, &err));
    old.highestmodseq = 3; /* lower than the folder's own, which does not go back */
    MUST(mds_folder_restore(t, &old, &err));
    MUST(mds_folder_get(t, id, &f, &err));
    cr_expect_eq(f.highestmodseq, 7);
    struct mds_message m = message_at(id, 3);

    MUST(mds_message_restore(t, &m, &err));
    cr_expect_eq(m.modseq, 8);
    fixture_commit(&t);
    expect_sound(env);
    mds_close(&env);
}

Test(restore, a_folder_is_not_restored_by_misuse)
{
    enum { CASES = 7 };
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t inbox = fixture_folder(t, "INBOX"), empty = fixture_folder(t, "level/f");
    struct mds_folder before, after, level;

    (void)fixture_add(t, inbox, 2, 0);
    MUST(mds_folder_find(t, BYTES_LIT("level"), &level, &err));
    struct {
        const char *name;
        struct mds_folder old;
        int expect;
    } cases[CASES] = {
        {"no folder", former(99), BASE_ERR_NOTFOUND},       {"it holds messages", former(inbox), BASE_ERR_USAGE},
        {"only a level", former(level.id), BASE_ERR_USAGE}, {"uidvalidity 0", former(empty), BASE_ERR_USAGE},
        {"uidnext 0", former(empty), BASE_ERR_USAGE},       {"modseq beyond IMAP's", former(empty), BASE_ERR_USAGE},
        {"special use", former(empty), BASE_ERR_USAGE},
    };

    cases[3].old.uidvalidity = 0;
    cases[4].old.uidnext = 0;
    cases[5].old.highestmodseq = UINT64_MAX;
    cases[6].old.special_use = MDS_USE_TRASH + 1;
    MUST(mds_folder_get(t, empty, &before, &err));
    for (size_t i = 0; i < CASES; i++) {
        cr_expect_eq(mds_folder_restore(t, &cases[i].old, &err), cases[i].expect, "%s", cases[i].name);
        cr_expect_eq(mds_folder_restore(t, &cases[i].old, NULL), cases[i].expect, "%s, no text", cases[i].name);
    }
    MUST(mds_folder_get(t, empty, &after, &err));
    cr_expect(before.uidvalidity == after.uidvalidity && before.uidnext == after.uidnext &&
              before.highestmodseq == after.highestmodseq && before.special_use == after.special_use &&
              memcmp(before.object_id, after.object_id, sizeof before.object_id) == 0);
    fixture_commit(&t);
    expect_sound(env);

    t = fixture_read(env);
    const struct mds_folder old = former(empty);

    cr_expect_lt(mds_folder_restore(t, &old, &err), 0, "a read transaction");
    mds_read_end(&t);
    mds_close(&env);
}

Test(restore, uidnext_does_not_go_back)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = fixture_folder(t, "f");
    struct mds_folder old = former(id);

    (void)fixture_add(t, id, 3, 0);
    for (uint32_t uid = 1; uid <= 3; uid++)
        MUST(mds_message_remove(t, id, uid, NULL, &err));
    old.uidnext = 3;
    cr_expect_eq(mds_folder_restore(t, &old, &err), BASE_ERR_USAGE);
    old.uidnext = 4;
    MUST(mds_folder_restore(t, &old, &err));
    fixture_commit(&t);
    expect_sound(env);
    mds_close(&env);
}

Test(restore, a_message_is_not_restored_by_misuse)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = restored_folder(t);
    struct mds_message first = message_at(id, 5);
    struct mds_folder before, after;

    MUST(mds_message_restore(t, &first, &err));
    MUST(mds_folder_get(t, id, &before, &err));
    struct {
        const char *name;
        struct mds_message m;
        int expect;
    } cases[] = {
        {"the UID is taken", message_at(id, 5), BASE_ERR_EXISTS},
        {"UID 0", message_at(id, 0), BASE_ERR_USAGE},
        {"UIDNEXT", message_at(id, OLD_UIDNEXT), BASE_ERR_USAGE},
        {"the last UID of all", message_at(id, UINT32_MAX), BASE_ERR_USAGE},
        {"no folder", message_at(99, 1), BASE_ERR_NOTFOUND},
        {"no item", message_at(id, 6), BASE_ERR_USAGE},
        {"unknown flags", message_at(id, 6), BASE_ERR_USAGE},
        {"unknown keyword", message_at(id, 6), BASE_ERR_USAGE},
    };

    cases[5].m.item = 4711;
    cases[6].m.flags = MDS_FLAGS_ALL + 1;
    cases[7].m.keywords = bytes_of((const uint8_t[]){0, 1}, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(mds_message_restore(t, &cases[i].m, &err), cases[i].expect, "%s", cases[i].name);
        cr_expect_eq(mds_message_restore(t, &cases[i].m, NULL), cases[i].expect, "%s, no text", cases[i].name);
    }
    MUST(mds_folder_get(t, id, &after, &err));
    cr_expect(before.uidnext == after.uidnext && before.highestmodseq == after.highestmodseq &&
              before.exists == after.exists);
    cr_expect_eq(fixture_add(t, id, 1, 0), OLD_UIDNEXT, "and new mail still comes behind");
    fixture_commit(&t);
    expect_sound(env);
    mds_close(&env);
}

/* ---- a backup in the place of what was used since ---- */

Test(restore, a_copy_outlives_what_clients_saw_since)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = fixture_folder(t, "f");
    struct mds_folder before, f;

    (void)fixture_add(t, id, 3, 0);
    MUST(mds_message_remove(t, id, 2, NULL, &err));
    fixture_commit(&t);
    t = fixture_write(env);
    MUST(mds_folder_get(t, id, &before, &err));
    MUST(mds_folder_outlive(t, id, OLD_UIDNEXT, OLD_MODSEQ, &err));
    MUST(mds_folder_get(t, id, &f, &err));
    cr_expect(f.uidnext == OLD_UIDNEXT && f.highestmodseq == OLD_MODSEQ + 1 && f.changes_floor == f.highestmodseq);
    cr_expect(f.uidvalidity == before.uidvalidity && f.exists == 2);

    /* Lower ones do not take it back. */
    MUST(mds_folder_outlive(t, id, 2, 3, &err));
    MUST(mds_folder_get(t, id, &f, &err));
    cr_expect(f.uidnext == OLD_UIDNEXT && f.highestmodseq == OLD_MODSEQ + 2);
    cr_expect_eq(mds_folder_outlive(t, id, 2, UINT64_MAX, &err), BASE_ERR_USAGE);
    cr_expect_eq(mds_folder_outlive(t, 99, 2, 3, &err), BASE_ERR_NOTFOUND);
    cr_expect_eq(fixture_add(t, id, 1, 0), OLD_UIDNEXT);
    fixture_commit(&t);
    expect_sound(env);

    t = fixture_read(env);
    roaring_bitmap_t *changed = roaring_bitmap_create(), *gone = roaring_bitmap_create();
    bool complete = true;

    MUST(mds_changes_since(t, id, OLD_MODSEQ, changed, gone, &complete, &err));
    cr_expect_not(complete);
    cr_expect_eq(roaring_bitmap_get_cardinality(changed), 3);
    cr_expect_eq(roaring_bitmap_get_cardinality(gone), OLD_UIDNEXT - 3, "2 and 4 to %u", OLD_UIDNEXT - 1);
    roaring_bitmap_free(changed);
    roaring_bitmap_free(gone);
    mds_read_end(&t);
    mds_close(&env);
}

Test(restore, a_new_uidvalidity_is_above_all)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t id = fixture_folder(t, "f"), other = fixture_folder(t, "other");
    struct mds_folder f, g;
    uint32_t highest, given, again;

    (void)fixture_add(t, id, 2, 0);
    MUST(mds_folder_get(t, id, &f, &err));
    MUST(mds_folder_get(t, other, &g, &err));
    MUST(mds_uidvalidity_highest(t, &highest, &err));
    cr_expect(highest >= f.uidvalidity && highest >= g.uidvalidity);
    MUST(mds_uidvalidity_raise(t, MDS_UIDVALIDITY_DERIVED_MAX + 5, &err));
    MUST(mds_folder_renumber(t, id, &given, &err));
    MUST(mds_folder_renumber(t, other, &again, &err));
    cr_expect(given == MDS_UIDVALIDITY_DERIVED_MAX + 6 && again == given + 1);
    MUST(mds_folder_get(t, id, &f, &err));
    cr_expect(f.uidvalidity == given && f.exists == 2);
    MUST(mds_folder_get(t, fixture_folder(t, "new"), &f, &err));
    cr_expect_eq(f.uidvalidity, again + 1);
    fixture_commit(&t);
    expect_sound(env);
    t = fixture_read(env);
    cr_expect_lt(mds_folder_renumber(t, id, &given, &err), 0, "a read transaction");
    mds_read_end(&t);
    mds_close(&env);
}

#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

struct news {
    roaring_bitmap_t *changed, *gone;
    bool complete;
};

static struct news news(struct mds_txn *t, uint32_t folder, uint64_t since)
{
    struct news n = {roaring_bitmap_create(), roaring_bitmap_create(), false};

    MUST(mds_changes_since(t, folder, since, n.changed, n.gone, &n.complete, &err));
    return n;
}

static void news_release(struct news *n)
{
    roaring_bitmap_free(n->changed);
    roaring_bitmap_free(n->gone);
}

static uint64_t rows_of(struct mds_txn *t, enum table table, uint32_t folder)
{
    struct key key = {.n = 0};
    struct bytes at, row;
    uint64_t n = 0;
    int rc;

    key_u32(&key, folder);
    at = key_bytes(&key);
    for (rc = row_seek(t, table, MDB_SET_RANGE, &at, &row, &err); rc == 1 && get_be32(at.p) == folder;
         rc = row_seek(t, table, MDB_NEXT, &at, &row, &err))
        n++;
    return n;
}

/* 20 messages, then rows of both logs in turn: each change is a row, as UIDs go down. */
static uint32_t busy_folder(struct mds_txn *t)
{
    const uint32_t f = fixture_folder(t, "f");

    (void)fixture_add(t, f, 40, 0);
    for (uint32_t uid = 20; uid > 0; uid--) {
        MUST(mds_message_set_flags(t, f, uid, FLAG_SEEN, (struct bytes){0}, &err));
        if (uid % 2)
            MUST(mds_message_remove(t, f, uid + 20, NULL, &err));
    }
    return f;
}

Test(log, pruning_keeps_news_exact_above_the_floor)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = busy_folder(t);
    struct mds_folder before, after;
    struct news want[200] = {0};

    MUST(mds_folder_get(t, f, &before, &err));
    cr_assert_lt(before.highestmodseq, 200);
    for (uint64_t since = 0; since <= before.highestmodseq; since++)
        want[since] = news(t, f, since);
    cr_expect_eq(mds_log_prune(t, f, 1000, 1000, &err), 0);
    int gone = mds_log_prune(t, f, 5, 7, &err);

    cr_expect_eq(gone, 7, "the limit of a call, got %d", gone);
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_write(env);
    while ((gone = mds_log_prune(t, f, 5, 7, &err)) > 0)
        cr_expect_leq(gone, 7);
    cr_expect_eq(gone, 0);
    MUST(mds_folder_get(t, f, &after, &err));
    cr_expect(after.changes_floor > 0 && after.highestmodseq == before.highestmodseq);
    cr_expect(rows_of(t, TABLE_CHANGES, f) <= 5 && rows_of(t, TABLE_EXPUNGED, f) <= 5 &&
                  rows_of(t, TABLE_CHANGES, f) == 5,
              "%llu, %llu", (unsigned long long)rows_of(t, TABLE_CHANGES, f),
              (unsigned long long)rows_of(t, TABLE_EXPUNGED, f));
    for (uint64_t since = 0; since <= before.highestmodseq; since++) {
        struct news have = news(t, f, since);

        cr_expect_eq(have.complete, since >= after.changes_floor, "%llu", (unsigned long long)since);
        if (have.complete)
            cr_expect(roaring_bitmap_equals(have.changed, want[since].changed) &&
                          roaring_bitmap_equals(have.gone, want[since].gone),
                      "%llu", (unsigned long long)since);
        else
            cr_expect(roaring_bitmap_get_cardinality(have.changed) == after.exists &&
                          roaring_bitmap_is_subset(want[since].gone, have.gone),
                      "%llu", (unsigned long long)since);
        news_release(&have);
        news_release(&want[since]);
    }
    fixture_commit(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(log, a_log_that_was_emptied_goes_on)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = busy_folder(t);
    struct mds_folder folder;

    cr_expect_gt(mds_log_prune(t, f, 0, UINT64_MAX, &err), 20);
    MUST(mds_folder_get(t, f, &folder, &err));
    cr_expect_eq(folder.changes_floor, folder.highestmodseq);
    cr_expect_eq(rows_of(t, TABLE_CHANGES, f) + rows_of(t, TABLE_EXPUNGED, f), 0);
    (void)fixture_add(t, f, 2, 0);
    MUST(mds_message_remove(t, f, 1, NULL, &err));
    fixture_commit(&t);
    t = fixture_read(env);
    struct news n = news(t, f, folder.highestmodseq);

    cr_expect(n.complete && roaring_bitmap_get_cardinality(n.changed) == 2 &&
              roaring_bitmap_get_cardinality(n.gone) == 1);
    news_release(&n);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(log, the_tail_of_the_own_vault_is_kept)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_segments s = {9, 9};

    MUST(mds_segments_get(t, &s, &err));
    cr_expect(s.active == 1 && s.tail == 0);
    cr_expect_eq(mds_segments_put(t, &(struct mds_segments){0, 5}, &err), BASE_ERR_USAGE);
    MUST(mds_segments_put(t, &(struct mds_segments){UINT32_MAX, UINT64_MAX}, &err));
    fixture_commit(&t);
    t = fixture_read(env);
    MUST(mds_segments_get(t, &s, &err));
    cr_expect(s.active == UINT32_MAX && s.tail == UINT64_MAX);
    cr_expect_eq(mds_segments_put(t, &s, &err), BASE_ERR_USAGE);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

/* The words of item i: kind 0 text as of mail, 1 noise, 2 much larger than a pack. */
static void words_of(uint64_t i, unsigned kind, struct buf *out)
{
    uint64_t x = i;

    buf_reset(out);
    buf_printf(out, "%llu:", (unsigned long long)i);
    for (unsigned n = kind == 2 ? 9000 : 20 + (unsigned)(i * 7919 % 60); n > 0; n--) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        if (kind == 1)
            buf_append(out, &x, sizeof x);
        else
            buf_printf(out, " %s %u", n % 3 ? "archive" : "of the mail", (unsigned)(x >> 56));
    }
}

static unsigned kind_of(uint64_t i)
{
    return i % 401 == 0 ? 2 : i / 500 % 2;
}

static void add(struct mds_txn *t, uint64_t i, struct buf *text)
{
    struct mds_item it = {.hash = fixture_hash(i)};

    words_of(i, kind_of(i), text);
    const struct mds_item_words words = {.headers = buf_bytes(text)};

    MUST(mds_item_add(t, &it, &words, &err));
    cr_assert_eq(it.id, i);
    MUST(mds_message_add(t, &(struct mds_message){.folder = 1, .item = it.id}, &err));
}

static void expect_words(struct mds_words *w, uint64_t i, struct buf *text)
{
    struct bytes headers;
    bool complete;

    words_of(i, kind_of(i), text);
    MUST(mds_words_headers(w, i, &headers, &complete, &err));
    cr_assert(bytes_equal(headers, buf_bytes(text)), "item %llu", (unsigned long long)i);
}

static void expect_all(struct mds_env *env, uint64_t last, uint64_t gone)
{
    struct mds_txn *t = fixture_read(env);
    struct mds_words *w;
    struct buf text = {0};

    MUST(mds_words_new(t, &w, &err));
    for (uint64_t i = 1; i <= last; i++)
        if (i != gone)
            expect_words(w, i, &text);
    for (uint64_t n = 0; n < last; n++) {
        const uint64_t i = 1 + n * 7919 % last;

        if (i != gone)
            expect_words(w, i, &text);
    }
    mds_words_free(&w);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    buf_release(&text);
}

/* Rows of `headers`: how many, how many of them compressed, and of these how many take more than their pages. */
static void count_rows(struct mds_env *env, unsigned *all, unsigned *compressed, unsigned *over)
{
    struct mds_txn *t = fixture_read(env);
    struct bytes key = {0}, row;

    *all = *compressed = *over = 0;
    for (int rc = row_seek(t, TABLE_HEADERS, MDB_FIRST, &key, &row, &err); rc == 1;
         rc = row_seek(t, TABLE_HEADERS, MDB_NEXT, &key, &row, &err)) {
        const bool is_compressed = row.n && row.p[0] == 0;

        ++*all;
        *compressed += is_compressed;
        *over += is_compressed && row.n + SEAL_BYTES > PACK_ROW_BYTES;
    }
    mds_read_end(&t);
}

Test(pack, rows_fill_their_pages_and_give_every_entry_back)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct buf text = {0};
    unsigned all, compressed, over;
    uint64_t i = 1;

    /* Commits of all sizes: the last pack is taken up again. */
    for (unsigned n = 1; i <= 3000; n = n * 3 % 1009 + 1) {
        struct mds_txn *t = fixture_write(env);

        for (unsigned k = 0; k < n && i <= 3000; k++)
            add(t, i++, &text);
        fixture_commit(&t);
    }
    expect_all(env, 3000, 0);
    count_rows(env, &all, &compressed, &over);
    cr_expect_gt(compressed, 30);
    cr_expect_lt(compressed, all, "noise, and what is too large, is not");
    cr_expect_leq(over, 2);
    struct mds_txn *t = fixture_write(env);

    MUST(mds_message_remove(t, 1, 77, NULL, &err));
    fixture_commit(&t);
    expect_all(env, 3000, 77);
    mds_close(&env);
    buf_release(&text);
}

Test(pack, a_store_of_the_version_before_is_read_and_marked_when_it_is_written)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    struct buf text = {0};
    struct bytes features;

    for (uint64_t i = 1; i <= 20; i++)
        add(t, i, &text);
    MUST(meta_own_put(t, META_FEATURES, BYTES_LIT("seals-xxh3 packs sets log-runs removed columns"), &err));
    fixture_commit(&t);
    mds_close(&env);

    MUST(mds_open(dir, &(struct mds_options){.read_only = true}, &env, &err));
    expect_all(env, 20, 0);
    mds_close(&env);
    env = fixture_open(dir);
    t = fixture_write(env);
    MUST(meta_own_get(t, META_FEATURES, &features, &err));
    cr_expect(bytes_equal(features, BYTES_LIT("seals-xxh3 packs sets log-runs removed columns packs-lz4")));
    for (uint64_t i = 21; i <= 600; i++)
        add(t, i, &text);
    fixture_commit(&t);
    expect_all(env, 600, 0);
    mds_close(&env);
    buf_release(&text);
}

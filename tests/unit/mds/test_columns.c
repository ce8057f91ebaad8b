/* Columns: their form on disk, when blocks come and go, stores of the version before. What they say is
 * tests/property's. */
#include "columns_private.h"
#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

/* ---- blocks ---- */

static void values_draw(struct rng *r, unsigned kind, int64_t *v, uint32_t n)
{
    const int64_t base = kind % 3 == 0 ? INT64_MIN : kind % 3 == 1 ? INT64_MAX - 5 : (int64_t)rng_u64(r);
    const unsigned width = (unsigned)rng_below(r, 65);

    for (uint32_t i = 0; i < n; i++) {
        const uint64_t delta = width == 0 ? 0 : rng_u64(r) >> (64 - width);

        v[i] = (int64_t)((uint64_t)base + (rng_once_in(r, 3) ? rng_edgy(r, delta) : delta));
    }
}

static void check_range(const struct column_block *b, const int64_t *v, uint32_t n, int64_t min, int64_t max)
{
    uint64_t masks[COLUMN_GROUPS];

    column_block_range(b, min, max, masks);
    for (uint32_t i = 0; i < COLUMN_SLOTS; i++) {
        const bool in = i < n && v[i] >= min && v[i] <= max;

        cr_assert_eq(masks[i / 64] >> (i % 64) & 1, in, "slot %u of %u, width %u", i, n, b->width);
    }
}

Test(columns, a_block_says_what_was_put_into_it)
{
    static const uint32_t sizes[] = {1, 2, 63, 64, 65, 1000, 2047, 2048};
    struct rng r = rng_start("columns");
    struct buf bytes = {0};

    for (unsigned round = 0; round < 400; round++) {
        int64_t v[COLUMN_SLOTS], again[COLUMN_SLOTS];
        const uint32_t n = sizes[rng_below(&r, 8)];
        uint64_t odd[COLUMN_GROUPS];
        struct column_block b;

        values_draw(&r, round, v, n);
        buf_reset(&bytes);
        column_block_encode(v, n, &bytes);
        cr_assert(column_block_decode(buf_bytes(&bytes), &b) && b.n == n && column_block_is_canonical(&b));
        column_block_values(&b, again);
        cr_assert(memcmp(v, again, n * sizeof *v) == 0, "%u values, width %u", n, b.width);
        column_block_odd(&b, odd);
        for (uint32_t i = 0; i < n; i++) {
            cr_assert_eq(column_block_value(&b, i), v[i]);
            cr_assert_leq(v[i], column_block_bound(&b));
            cr_assert_eq(odd[i / 64] >> (i % 64) & 1, (uint64_t)v[i] & 1);
        }
        for (unsigned q = 0; q < 10; q++)
            check_range(&b, v, n, q < 2 ? INT64_MIN : v[rng_below(&r, n)] ^ (int64_t)rng_below(&r, 2),
                        q == 2 ? INT64_MAX : v[rng_below(&r, n)] ^ (int64_t)rng_below(&r, 2));
    }
    buf_release(&bytes);
}

Test(columns, bytes_that_nobody_writes_are_refused)
{
    static const struct {
        const char *name, *bytes;
        size_t n;
        bool decodes;
    } cases[] = {
        {"one value", "\0\1\0\0\0\0\0\0\0\0\7", 11, true},
        {"nothing", "", 0, false},
        {"cut off", "\0\1\0\0\0\0\0\0\0\0", 10, false},
        {"no slots", "\0\0\0\0\0\0\0\0\0\0\7", 11, false},
        {"too many slots", "\10\1\0\0\0\0\0\0\0\0\7", 11, false},
        {"too wide", "\0\1\101\0\0\0\0\0\0\0\7", 11, false},
        {"bytes left over", "\0\1\0\0\0\0\0\0\0\0\7\0", 12, false},
        {"a plane short", "\0\1\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0", 18, false},
        {"two values", "\0\2\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\2", 19, true},
    };
    static const char *const strange[] = {
        "\0\2\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\0",                 /* wider than needed */
        "\0\2\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\3",                 /* no value is the base */
        "\0\2\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\6",                 /* a bit behind n */
        "\0\2\1\177\377\377\377\377\377\377\377\0\0\0\0\0\0\0\2", /* beyond the largest number */
    };
    struct column_block b;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bool decodes = column_block_decode(bytes_of(cases[i].bytes, cases[i].n), &b);

        cr_expect_eq(decodes, cases[i].decodes, "%s", cases[i].name);
        cr_expect(!decodes || column_block_is_canonical(&b), "%s", cases[i].name);
    }
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        cr_expect(column_block_decode(bytes_of(strange[i], 19), &b), "%zu", i);
        cr_expect_not(column_block_is_canonical(&b), "%zu", i);
    }
}

/* ---- when blocks come and go ---- */

static uint32_t packed(struct mds_txn *t, uint32_t folder, uint32_t block, enum stored stored)
{
    struct column_block b;
    const int rc = column_block_get(t, folder, block, stored, &b, &err);

    cr_assert_geq(rc, 0, "%s", err.text);
    return rc ? b.n : 0;
}

static uint32_t packed_now(struct mds_env *env, uint32_t folder, uint32_t block)
{
    struct mds_txn *t = fixture_read(env);
    const uint32_t n = packed(t, folder, block, STORED_ITEM);

    for (unsigned i = 0; i < STORED_COUNT; i++)
        cr_expect_eq(packed(t, folder, block, (enum stored)i), n);
    mds_read_end(&t);
    return n;
}

static void add(struct mds_env *env, uint32_t folder, unsigned n)
{
    struct mds_txn *t = fixture_write(env);

    (void)fixture_add(t, folder, n, 0);
    fixture_commit(&t);
}

Test(columns, messages_are_packed_by_dozens)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t;

    add(env, 1, 63); /* up to slot 63: slot 0 is no UID */
    cr_expect_eq(packed_now(env, 1, 0), 64);
    add(env, 1, 1);
    cr_expect_eq(packed_now(env, 1, 0), 64, "one alone costs nothing");
    for (unsigned i = 0; i < 63; i++)
        add(env, 1, 1);
    cr_expect_eq(packed_now(env, 1, 0), 128, "but each 64th time, from rows");
    add(env, 1, 2000);
    cr_expect_eq(packed_now(env, 1, 0), COLUMN_SLOTS);
    cr_expect_eq(packed_now(env, 1, 1), 2127 + 1 - COLUMN_SLOTS);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_write(env);
    (void)fixture_add(t, 1, 500, 0);
    mds_write_abort(&t);
    cr_expect_eq(packed_now(env, 1, 1), 80);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(columns, blocks_of_few_are_not_kept)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t;

    add(env, 1, 300);
    t = fixture_write(env);
    for (uint32_t uid = 1; uid <= 300 - COLUMN_SPARSE; uid++)
        MUST(mds_message_expunge(t, 1, uid, 1, &err));
    fixture_commit(&t);
    cr_expect_eq(packed_now(env, 1, 0), 301);
    t = fixture_write(env);
    MUST(mds_message_expunge(t, 1, 300, 1, &err));
    fixture_commit(&t);
    cr_expect_eq(packed_now(env, 1, 0), 0);
    MUST(mds_columns_build(env, &err));
    cr_expect_eq(packed_now(env, 1, 0), 0);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(columns, an_item_of_another_date_lets_its_blocks_go)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t;
    struct mds_item it;

    add(env, 1, 100);
    t = fixture_write(env);
    MUST(mds_item_get(t, 7, &it, &err));
    it.defects ^= 1;
    MUST(mds_item_update(t, &it, NULL, &err));
    cr_expect_eq(packed(t, 1, 0, STORED_SENT_ZONE), 101, "another defect is nothing to columns");
    MUST(mds_item_get(t, 7, &it, &err));
    it.thread_id++;
    MUST(mds_item_update(t, &it, NULL, &err));
    fixture_commit(&t);
    cr_expect_eq(packed_now(env, 1, 0), 0);
    MUST(mds_columns_build(env, &err));
    cr_expect_eq(packed_now(env, 1, 0), 101);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(columns, a_folder_that_goes_takes_its_columns)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    const uint32_t f = fixture_folder(t, "f");
    struct mds_stat *st = calloc(1, sizeof *st);
    uint32_t uid;

    (void)fixture_add(t, f, 200, 0);
    for (uint32_t i = 1; i <= 200; i++)
        MUST(mds_message_move(t, f, i, 1, 1, &uid, &err));
    MUST(mds_folder_remove(t, f, &err));
    fixture_commit(&t);
    t = fixture_read(env);
    MUST(mds_stat(t, st, &err));
    for (unsigned i = 0; i < st->tables_n; i++)
        cr_expect(strcmp(st->tables[i].name, "columns") != 0 || st->tables[i].entries == STORED_COUNT);
    mds_read_end(&t);
    cr_expect_eq(packed_now(env, 1, 0), 201);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    free(st);
    mds_close(&env);
}

Test(columns, what_the_log_forgets_they_know)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    roaring_bitmap_t *all = roaring_bitmap_from_range(1, 101, 1), *got = roaring_bitmap_create();
    struct mds_message m;
    struct mds_txn *t;

    add(env, 1, 100);
    t = fixture_write(env);
    MUST(mds_message_set_flags(t, 1, 50, 1, (struct bytes){0}, &err));
    MUST(mds_message_set_flags(t, 1, 20, 1, (struct bytes){0}, &err));
    MUST(mds_message_get(t, 1, 50, &m, &err));
    cr_assert_eq(mds_log_prune(t, 1, 0, 2, &err), 2, "%s", err.text); /* the filing, and 50's change */
    fixture_commit(&t);
    t = fixture_read(env);
    MUST(mds_modseq_select(t, 1, m.modseq, all, 0, UINT32_MAX, got, &err));
    cr_expect(roaring_bitmap_get_cardinality(got) == 2 && roaring_bitmap_contains(got, 50) &&
              roaring_bitmap_contains(got, 20));
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    roaring_bitmap_free(all);
    roaring_bitmap_free(got);
    mds_close(&env);
}

/* ---- stores of the version before ---- */

static void downgrade(const char *dir)
{
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    const MDB_dbi columns = env->dbi[TABLE_COLUMNS];

    MUST(meta_own_put(t, META_FEATURES, BYTES_LIT("seals-xxh3 packs sets log-runs removed"), &err));
    env->tables &= ~(1u << TABLE_COLUMNS);
    cr_assert_eq(mdb_drop(t->lmdb, columns, 1), 0);
    fixture_commit(&t);
    mds_close(&env);
}

static void check_items(struct mds_env *env, uint32_t n)
{
    struct mds_txn *t = fixture_read(env);
    int64_t items[3];

    MUST(mds_column_read(t, 1, MDS_COLUMN_ITEM, (const uint32_t[]){1, n / 2, n}, 3, items, &err));
    cr_expect(items[0] == 1 && items[1] == n / 2 && items[2] == n);
    mds_read_end(&t);
}

Test(columns, a_store_of_the_version_before_is_read_and_upgraded)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);

    add(env, 1, 2500);
    mds_close(&env);
    downgrade(dir);
    MUST(mds_open(dir, &(struct mds_options){.read_only = true}, &env, &err));
    cr_expect_eq(fixture_verify(env, NULL), 0);
    check_items(env, 2500);
    mds_close(&env);

    env = fixture_open(dir);
    cr_expect_eq(packed_now(env, 1, 0), 0);
    check_items(env, 2500);
    add(env, 1, 100); /* block 1, as far as there are rows */
    cr_expect_eq(packed_now(env, 1, 0), 0);
    cr_expect_eq(packed_now(env, 1, 1), 2601 - COLUMN_SLOTS);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    MUST(mds_columns_build(env, &err));
    cr_expect_eq(packed_now(env, 1, 0), COLUMN_SLOTS);
    check_items(env, 2600);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(columns, a_table_that_was_lost_is_no_old_store)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);

    MUST(mds_meta_put(t, "x", BYTES_LIT("y"), false, &err));
    cr_assert_eq(mdb_drop(t->lmdb, env->dbi[TABLE_COLUMNS], 1), 0);
    fixture_commit(&t);
    mds_close(&env);
    cr_expect_eq(mds_open(dir, &(struct mds_options){.read_only = true}, &env, &err), BASE_ERR_CORRUPT);
    cr_expect(strstr(err.text, "columns"), "%s", err.text);
}

/* ---- verification ---- */

static void value_change(struct mds_txn *t, enum stored stored, uint32_t slot, int64_t by)
{
    struct column_block b;
    int64_t v[COLUMN_SLOTS];
    struct key key;

    cr_assert_eq(column_block_get(t, 1, 0, stored, &b, &err), 1);
    column_block_values(&b, v);
    v[slot] += by;
    const uint32_t n = b.n;
    struct buf *value = value_begin(t);

    column_key(&key, 1, 0, stored);
    column_block_encode(v, n, value);
    MUST(row_put(t, TABLE_COLUMNS, key_bytes(&key), value, &err));
}

static void row_change(struct mds_txn *t, uint32_t folder, uint32_t block, uint8_t stored, const char *bytes, size_t n)
{
    struct key key;
    struct buf *value = value_begin(t);

    column_key(&key, folder, block, (enum stored)stored);
    buf_append(value, bytes, n);
    MUST(row_put(t, TABLE_COLUMNS, key_bytes(&key), value, &err));
}

Test(columns, verification_finds_what_differs)
{
    static const char *const expect[] = {
        [STORED_ITEM] = "column 0 differs",          [STORED_MODSEQ] = "column 1 differs",
        [STORED_SIZE] = "column 2 differs",          [STORED_INTERNAL] = "column 3 differs",
        [STORED_INTERNAL_ZONE] = "column 4 differs", [STORED_SAVED] = "column 5 differs",
        [STORED_SENT] = "column 6 differs",          [STORED_SENT_ZONE] = "column 7 differs",
        [STORED_THREAD] = "column 8 differs",
    };
    static const struct {
        const char *expect;
        uint32_t folder, block;
        uint8_t stored;
        const char *bytes;
        size_t n;
    } rows[] = {
        {"not as long", 1, 0, STORED_SIZE, "\0\1\0\0\0\0\0\0\0\0\7", 11},
        {"not as long", 1, 0, STORED_MODSEQ, "\0\1\0\0\0\0\0\0\0\0\7", 11},
        {"form that nobody writes", 1, 0, STORED_SIZE, "\0\2\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\0", 19},
        {"does not decode", 1, 0, STORED_SIZE, "\0\0", 2},
        {"does not decode", 1, 0, STORED_COUNT, "\0\1\0\0\0\0\0\0\0\0\7", 11},
        {"never were", 1, 7, STORED_ITEM, "\0\1\0\0\0\0\0\0\0\0\7", 11},
        {"which is not there", 99, 0, STORED_ITEM, "\0\1\0\0\0\0\0\0\0\0\7", 11},
    };
    const size_t rows_n = sizeof rows / sizeof rows[0];

    for (size_t i = 0; i < STORED_COUNT + rows_n; i++) {
        struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
        struct mds_txn *t;
        const char *text = NULL;

        add(env, 1, 100);
        t = fixture_write(env);
        if (i < STORED_COUNT)
            value_change(t, (enum stored)i, 33, 1);
        else
            row_change(t, rows[i - STORED_COUNT].folder, rows[i - STORED_COUNT].block, rows[i - STORED_COUNT].stored,
                       rows[i - STORED_COUNT].bytes, rows[i - STORED_COUNT].n);
        fixture_commit(&t);
        cr_expect_gt(fixture_verify(env, &text), 0, "%zu", i);
        cr_expect(text && strstr(text, i < STORED_COUNT ? expect[i] : rows[i - STORED_COUNT].expect), "%zu: %s", i,
                  text ? text : "");
        mds_close(&env);
    }
}

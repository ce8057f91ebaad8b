/* table: sorted, found, changed in place; against a sorted array. */
#include <criterion/criterion.h>

#include "table.h"
#include "test_support.h"

#include <stdlib.h>

struct record {
    uint8_t key[4];
    uint32_t value;
};

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, 4);
}

Test(table, is_a_sorted_array)
{
    struct rng rng = rng_start("table");
    for (unsigned round = 0; round < 20; round++) {
        size_t n = (size_t)rng_edgy(&rng, 3000);
        struct record *want = calloc(n + 1, sizeof *want);
        struct table *t = NULL;
        struct error err = {0};
        cr_assert_eq(indexer_table_new(TEMP_DIR(), 4, sizeof(struct record), &t, &err), 0, "%s", err.text);
        for (size_t i = 0; i < n; i++) {
            put_be32(want[i].key, (uint32_t)rng_below(&rng, 500));
            want[i].value = get_be32(want[i].key) * 3;
            cr_assert_eq(indexer_table_push(t, &want[i], &err), 0);
        }
        cr_assert_eq(indexer_table_finish(t, &err), 0, "%s", err.text);
        qsort(want, n, sizeof *want, by_key);
        cr_assert_eq(indexer_table_count(t), n);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(memcmp(indexer_table_at(t, i), &want[i], sizeof *want), 0, "record %zu of %zu", i, n);
        for (uint32_t k = 0; n && k < 502; k += 7) {
            uint8_t key[4];
            put_be32(key, k);
            size_t at = indexer_table_lower_bound(t, key, 4), expect = 0;
            while (expect < n && memcmp(want[expect].key, key, 4) < 0)
                expect++;
            cr_assert_eq(at, expect, "key %u", k);
        }
        if (n) {
            ((struct record *)indexer_table_at(t, n - 1))->value = 1;
            cr_expect_eq(((struct record *)indexer_table_at(t, n - 1))->value, 1);
        }
        indexer_table_free(&t);
        indexer_table_free(&t);
        free(want);
    }
}

Test(table, a_folder_that_is_not_there_is_an_error)
{
    struct table *t = NULL;
    struct error err = {0};
    int rc = indexer_table_new("/nonexistent/folder", 4, sizeof(struct record), &t, &err);
    struct record r = {{0}, 1};
    if (rc == 0)
        rc = indexer_table_push(t, &r, &err);
    if (rc == 0)
        rc = indexer_table_finish(t, &err);
    cr_expect_lt(rc, 0);
    indexer_table_free(&t);
}

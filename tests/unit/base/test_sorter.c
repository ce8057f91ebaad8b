/* The sorter's edges; random runs against a model are in tests/property/test_sorter.c. */
#include "base/sorter.h"

#include <criterion/criterion.h>

#include "test_support.h"

static void push(struct sorter *s, struct bytes key, struct bytes value)
{
    struct error err;

    cr_assert_eq(sorter_push(s, key, value, &err), BASE_OK, "%s", err.text);
}

Test(sorter, empty_gives_nothing)
{
    struct sorter *s = NULL;
    struct bytes key, value;

    cr_assert_eq(sorter_new("/nonexistent", 0, &s, NULL), BASE_OK, "the directory is only needed by a spill");
    cr_expect_eq(sorter_finish(s, NULL), BASE_OK);
    cr_expect_eq(sorter_next(s, &key, &value, NULL), SORTER_DONE);
    cr_expect_eq(sorter_next(s, &key, &value, NULL), SORTER_DONE);
    cr_expect_eq(sorter_count(s), 0);
    sorter_free(&s);
    cr_expect_null(s);
    sorter_free(&s);
}

Test(sorter, orders_like_bytes_compare_and_keeps_push_order_of_equals)
{
    static const struct {
        struct bytes key, value;
    } in[] = {
        {{(const uint8_t *)"b", 1}, {(const uint8_t *)"1", 1}},       {{(const uint8_t *)"a\0", 2}, {(const uint8_t *)"2", 1}},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"3", 1}},       {{(const uint8_t *)"", 0}, {(const uint8_t *)"4", 1}},
        {{(const uint8_t *)"b", 1}, {(const uint8_t *)"5", 1}},       {{(const uint8_t *)"\xff", 1}, {(const uint8_t *)"6", 1}},
        {{(const uint8_t *)"12345678b", 9}, {(const uint8_t *)"7", 1}}, {{(const uint8_t *)"12345678a", 9}, {(const uint8_t *)"8", 1}},
        {{(const uint8_t *)"12345678", 8}, {(const uint8_t *)"9", 1}},
    };
    struct sorter *s = NULL;
    struct bytes key, value;
    struct buf order = {0};

    cr_assert_eq(sorter_new("/tmp", 1 << 20, &s, NULL), BASE_OK);
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        push(s, in[i].key, in[i].value);
    cr_assert_eq(sorter_finish(s, NULL), BASE_OK);
    while (sorter_next(s, &key, &value, NULL) == SORTER_MORE)
        buf_append_bytes(&order, value);
    cr_expect(bytes_equal(buf_bytes(&order), BYTES_LIT("498732156")), "%.*s", (int)order.n, (char *)order.p);
    buf_release(&order);
    sorter_free(&s);
}

Test(sorter, record_larger_than_memory_passes_through)
{
    const size_t big = 3 << 20;
    uint8_t *payload = calloc(1, big);
    struct sorter *s = NULL;
    struct bytes key, value;

    cr_assert_eq(sorter_new(TEMP_DIR(), 1 << 20, &s, NULL), BASE_OK);
    for (int i = 0; i < 4; i++) {
        payload[big - 1] = (uint8_t)i;
        push(s, bytes_of(&"dbca"[i], 1), bytes_of(payload, big));
    }
    cr_assert_eq(sorter_finish(s, NULL), BASE_OK);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(sorter_next(s, &key, &value, NULL), SORTER_MORE);
        cr_expect_eq(key.p[0], "abcd"[i]);
        cr_expect_eq(value.n, big);
        cr_expect_eq(value.p[big - 1], (uint8_t)"\3\1\2\0"[i]);
    }
    cr_expect_eq(sorter_next(s, &key, &value, NULL), SORTER_DONE);
    sorter_free(&s);
    free(payload);
}

Test(sorter, a_directory_that_is_missing_fails_the_spill)
{
    struct sorter *s = NULL;
    struct error err = {0};
    uint8_t kilo[1024] = {0};
    int rc = BASE_OK;

    cr_assert_eq(sorter_new("/nonexistent/dir", 1 << 20, &s, NULL), BASE_OK);
    for (int i = 0; i < 2000 && rc == BASE_OK; i++)
        rc = sorter_push(s, bytes_of(&i, sizeof i), bytes_of(kilo, sizeof kilo), &err);
    cr_expect_eq(rc, BASE_ERR_IO);
    cr_expect_neq(strstr(err.text, "/nonexistent/dir"), NULL, "%s", err.text);
    cr_expect_eq(sorter_push(s, BYTES_LIT("a"), BYTES_LIT("b"), &err), BASE_ERR_IO, "stays failed");
    cr_expect_eq(sorter_finish(s, &err), BASE_ERR_IO);
    sorter_free(&s);
}

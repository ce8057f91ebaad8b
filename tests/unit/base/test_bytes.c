/* Views, buffers and the shared codecs. */
#include "base/bytes.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "test_support.h"

Test(bytes, compare_is_unsigned_and_prefix_first)
{
    static const struct {
        const char *name;
        struct bytes a, b;
        int sign;
    } rows[] = {
        {"empty equal", {NULL, 0}, {NULL, 0}, 0},
        {"empty first", {NULL, 0}, {(const uint8_t *)"a", 1}, -1},
        {"prefix first", {(const uint8_t *)"ab", 2}, {(const uint8_t *)"abc", 3}, -1},
        {"high byte is large", {(const uint8_t *)"\xff", 1}, {(const uint8_t *)"a", 1}, 1},
        {"NUL counts", {(const uint8_t *)"a\0b", 3}, {(const uint8_t *)"a\0a", 3}, 1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int got = bytes_compare(rows[i].a, rows[i].b);
        const int back = bytes_compare(rows[i].b, rows[i].a);

        cr_expect_eq((got > 0) - (got < 0), rows[i].sign, "%s", rows[i].name);
        cr_expect_eq((back > 0) - (back < 0), -rows[i].sign, "%s, swapped", rows[i].name);
        cr_expect_eq(bytes_equal(rows[i].a, rows[i].b), rows[i].sign == 0, "%s", rows[i].name);
    }
}

Test(bytes, equal_nocase_folds_ascii_only)
{
    cr_expect(bytes_equal_nocase(BYTES_LIT("Message-ID"), BYTES_LIT("mESSAGE-id")));
    cr_expect_not(bytes_equal_nocase(BYTES_LIT("a"), BYTES_LIT("ab")));
    cr_expect_not(bytes_equal_nocase(BYTES_LIT("\xc4"), BYTES_LIT("\xe4")), "no folding above ASCII");
    cr_expect_not(bytes_equal_nocase(BYTES_LIT("["), BYTES_LIT("{")), "neighbours of the letters differ");
    cr_expect_not(bytes_equal_nocase(BYTES_LIT("@"), BYTES_LIT("`")));
}

Test(bytes, slice_clips_to_its_source)
{
    const struct bytes b = BYTES_LIT("abcdef");

    cr_expect(bytes_equal(bytes_slice(b, 2, 3), BYTES_LIT("cde")));
    cr_expect(bytes_equal(bytes_slice(b, 4, SIZE_MAX), BYTES_LIT("ef")));
    cr_expect_eq(bytes_slice(b, 6, 1).n, 0);
    cr_expect_eq(bytes_slice(b, SIZE_MAX, SIZE_MAX).n, 0);
    cr_expect_eq(bytes_slice((struct bytes){0}, 0, 1).n, 0);
}

Test(bytes, buf_grows_and_keeps_capacity_on_reset)
{
    struct buf b = {0};

    for (int i = 0; i < 10000; i++)
        buf_append_byte(&b, (uint8_t)i);
    cr_assert_eq(b.n, 10000);
    for (size_t i = 0; i < b.n; i++)
        cr_assert_eq(b.p[i], (uint8_t)i, "byte %zu", i);
    const size_t cap = b.cap;

    buf_reset(&b);
    cr_expect_eq(b.n, 0);
    cr_expect_eq(b.cap, cap);
    buf_append(&b, NULL, 0);
    buf_append_str(&b, "n=");
    buf_append_u64_dec(&b, UINT64_MAX);
    buf_append_byte(&b, ' ');
    buf_append_u64_dec(&b, 0);
    buf_printf(&b, " %s/%d", "x", -7);
    cr_expect(bytes_equal(buf_bytes(&b), BYTES_LIT("n=18446744073709551615 0 x/-7")), "%.*s", (int)b.n, (char *)b.p);
    buf_release(&b);
    cr_expect_null(b.p);
    buf_release(&b);
}

Test(bytes, decimal_numbers_of_every_length)
{
    uint64_t power = 1;

    for (unsigned digits = 1; digits <= 20; digits++, power *= 10) {
        const uint64_t rows[] = {power - 1, power, power + 1, power * 3 / 2};

        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct buf b = {0};
            char text[24];

            snprintf(text, sizeof text, "%llu", (unsigned long long)rows[i]);
            buf_append_u64_dec(&b, rows[i]);
            cr_expect(bytes_equal(buf_bytes(&b), bytes_str(text)), "%s: %.*s", text, (int)b.n, (char *)b.p);
            buf_release(&b);
        }
    }
}

Test(bytes, codecs_round_trip_at_their_edges)
{
    static const uint64_t values[] = {0, 1, 127, 128, 255, 256, 16383, 16384, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX / 2 + 1, UINT64_MAX};
    struct buf b = {0};

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const uint64_t v = values[i];

        buf_reset(&b);
        buf_put_u8(&b, (uint8_t)v);
        buf_put_u16(&b, (uint16_t)v);
        buf_put_u32(&b, (uint32_t)v);
        buf_put_u64(&b, v);
        buf_put_varint(&b, v);
        buf_put_zigzag(&b, (int64_t)v);
        buf_put_blob(&b, bytes_of("xyz", v % 4));
        struct reader r = reader_of(buf_bytes(&b));

        cr_expect_eq(reader_u8(&r), (uint8_t)v);
        cr_expect_eq(reader_u16(&r), (uint16_t)v);
        cr_expect_eq(reader_u32(&r), (uint32_t)v);
        cr_expect_eq(reader_u64(&r), v);
        cr_expect_eq(reader_varint(&r), v, "%" PRIu64, v);
        cr_expect_eq(reader_zigzag(&r), (int64_t)v, "%" PRIu64, v);
        cr_expect_eq(reader_blob(&r).n, v % 4);
        cr_expect(reader_done(&r), "%" PRIu64, v);

        /* Every prefix fails, and never reads past its end. */
        for (size_t n = 0; n < b.n; n++) {
            uint8_t *copy = malloc(n ? n : 1);

            memcpy(copy, b.p, n);
            r = reader_of(bytes_of(copy, n));
            (void)reader_u8(&r), (void)reader_u16(&r), (void)reader_u32(&r), (void)reader_u64(&r);
            (void)reader_varint(&r), (void)reader_zigzag(&r), (void)reader_blob(&r);
            cr_expect_not(reader_done(&r), "prefix of %zu", n);
            cr_expect_not(r.ok);
            free(copy);
        }
    }
    buf_release(&b);
}

Test(bytes, varint_refuses_overlong_and_oversized)
{
    static const struct {
        const char *name;
        struct bytes raw;
        bool ok;
        uint64_t value;
    } rows[] = {
        {"largest", {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10}, true, UINT64_MAX},
        {"65 bits", {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, false, 0},
        {"eleven bytes", {(const uint8_t *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11}, false, 0},
        {"overlong zero", {(const uint8_t *)"\x80\x00", 2}, false, 0},
        {"overlong one", {(const uint8_t *)"\x81\x00", 2}, false, 0},
        {"cut off", {(const uint8_t *)"\x80", 1}, false, 0},
        {"empty", {NULL, 0}, false, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reader r = reader_of(rows[i].raw);

        cr_expect_eq(reader_varint(&r), rows[i].value, "%s", rows[i].name);
        cr_expect_eq(r.ok, rows[i].ok, "%s", rows[i].name);
        cr_expect_eq(reader_u8(&r), 0, "%s: reads nothing more", rows[i].name);
    }
}

Test(bytes, blob_longer_than_its_source_fails)
{
    struct buf b = {0};

    buf_put_varint(&b, UINT64_MAX);
    buf_append_str(&b, "short");
    struct reader r = reader_of(buf_bytes(&b));

    cr_expect_eq(reader_blob(&r).n, 0);
    cr_expect_not(r.ok);
    buf_release(&b);
}

Test(arena, allocations_are_aligned_and_apart)
{
    struct arena *a = arena_new(0);
    uint8_t *at[500];

    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 500; i++) {
            at[i] = arena_alloc(a, i * 7 % 300);
            cr_assert_eq((uintptr_t)at[i] % 16, 0);
            memset(at[i], (int)(i & 0xff), i * 7 % 300);
        }
        for (size_t i = 0; i < 500; i++) {
            for (size_t k = 0; k < i * 7 % 300; k++)
                cr_assert_eq(at[i][k], (uint8_t)i, "round %zu, block %zu", round, i);
        }
        cr_expect_gt(arena_used(a), 0);
        arena_reset(a);
        cr_expect_eq(arena_used(a), 0);
    }
    memset(arena_alloc(a, 5 << 20), 1, 5 << 20);
    arena_free(&a);
    cr_expect_null(a);
    arena_free(&a);
}

Test(arena, quota_is_met_not_passed)
{
    struct arena *a = arena_new(1024);

    cr_expect_null(arena_alloc(a, 1025));
    cr_expect_not_null(arena_alloc(a, 1008));
    cr_expect_not_null(arena_alloc(a, 16));
    cr_expect_null(arena_alloc(a, 1));
    cr_expect_null(arena_alloc(a, SIZE_MAX));
    cr_expect_null(arena_strndup(a, "x", SIZE_MAX));
    cr_expect_eq(arena_dup(a, BYTES_LIT("x")).n, 0);
    arena_reset(a);
    cr_expect_str_eq(arena_strndup(a, "hello", 4), "hell");
    cr_expect(bytes_equal(arena_dup(a, BYTES_LIT("abc")), BYTES_LIT("abc")));
    arena_free(&a);
}

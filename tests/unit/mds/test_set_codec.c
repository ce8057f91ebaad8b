#include "mds_fixture.h"

#include <criterion/criterion.h>

enum form { FORM_ARRAY = 1, FORM_BITMAP = 2, FORM_RUNS = 3 };

static void fill_range(struct set_bits *b, uint32_t from, uint32_t to, uint32_t step)
{
    for (uint32_t i = from; i < to; i += step)
        b->w[i / 64] |= UINT64_C(1) << (i % 64);
}

static const struct {
    const char *name;
    uint32_t from, to, step;
    enum form form;
    size_t payload_bytes;
} shapes[] = {
    {"one", 7, 8, 1, FORM_ARRAY, 5},
    {"the last", 65535, 65536, 1, FORM_ARRAY, 5},
    {"two neighbours tie: array", 8, 10, 1, FORM_ARRAY, 7},
    {"three neighbours", 8, 11, 1, FORM_RUNS, 7},
    {"all", 0, 65536, 1, FORM_RUNS, 7},
    {"4096 apart", 0, 8192, 2, FORM_ARRAY, 3 + 8192},
    {"4097 apart", 0, 8194, 2, FORM_BITMAP, 3 + 8192},
    {"across words", 60, 70, 1, FORM_RUNS, 7},
};

Test(set_codec, the_shortest_form_comes_back)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct set_bits bits = {0}, back;
        struct buf out = {0};

        fill_range(&bits, shapes[i].from, shapes[i].to, shapes[i].step);
        set_bits_encode(&bits, &out);
        cr_expect_eq(out.p[0], shapes[i].form, "%s: form %u", shapes[i].name, out.p[0]);
        cr_expect_eq(out.n, shapes[i].payload_bytes, "%s: %zu bytes", shapes[i].name, out.n);
        cr_expect(set_bits_decode(buf_bytes(&out), &back) && memcmp(&bits, &back, sizeof bits) == 0, "%s",
                  shapes[i].name);
        for (size_t n = 0; n < out.n; n += n < 16 ? 1 : 511)
            cr_expect_not(set_bits_decode(bytes_of(out.p, n), &back), "%s cut to %zu bytes", shapes[i].name, n);
        buf_release(&out);
    }
}

static const struct {
    const char *name;
    const char *bytes;
    size_t n;
} bad[] = {
    {"no such form", "\x04\0\0\0\1", 5},
    {"array descending", "\x01\0\1\0\5\0\4", 7},
    {"array twice", "\x01\0\1\0\5\0\5", 7},
    {"array miscounted", "\x01\0\2\0\5\0\6", 7},
    {"runs touching", "\x03\0\3\0\0\0\1\0\2\0\1", 11},
    {"runs overlapping", "\x03\0\3\0\0\0\1\0\1\0\1", 11},
    {"run past the end", "\x03\0\1\xff\xff\0\1", 7},
    {"runs miscounted", "\x03\0\3\0\0\0\1", 7},
    {"bitmap cut", "\x02\x10\0\0\0", 5},
};

Test(set_codec, damage_is_refused)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct set_bits bits;
        struct set_builder b = {0};

        cr_expect_not(set_bits_decode(bytes_of(bad[i].bytes, bad[i].n), &bits), "%s", bad[i].name);
        cr_expect_not(set_builder_add(&b, 0, bytes_of(bad[i].bytes, bad[i].n)), "%s", bad[i].name);
        set_builder_release(&b);
    }
}

Test(set_codec, containers_become_the_roaring_bitmap_of_their_members)
{
    struct rng r = rng_start("set_codec");

    for (unsigned containers = 0; containers < 9; containers++) { /* offsets begin at 4 */
        for (unsigned runs = 0; runs < 3; runs++) {
            struct set_builder b = {0};
            roaring_bitmap_t *want = roaring_bitmap_create();

            for (unsigned c = 0; c < containers; c++) {
                struct set_bits bits = {0};
                struct buf out = {0};
                const uint32_t high = c * 1000 + (uint32_t)rng_below(&r, 500), step = runs == 0   ? 3
                                                                                      : runs == 1 ? 1
                                                                                                  : 1 + c % 3;

                fill_range(&bits, 0, 1 + (uint32_t)rng_below(&r, 65536), step);
                for (uint32_t i = 0; i < 65536; i++)
                    if (bits.w[i / 64] >> (i % 64) & 1)
                        roaring_bitmap_add(want, high << 16 | i);
                set_bits_encode(&bits, &out);
                cr_assert(set_builder_add(&b, (uint16_t)high, buf_bytes(&out)));
                cr_assert_not(set_builder_add(&b, (uint16_t)high, buf_bytes(&out)), "a container twice");
                buf_release(&out);
            }
            roaring_bitmap_t *have = set_builder_take(&b);

            cr_expect(roaring_bitmap_equals(have, want), "%u containers, shape %u", containers, runs);
            roaring_bitmap_add(have, 12345678); /* it is a bitmap like any other */
            roaring_bitmap_remove(have, 0);
            roaring_bitmap_free(have);
            roaring_bitmap_free(want);
        }
    }
}

/* radix: against qsort, with every width of keys, many equals, ranks, reversed, and several criteria. */
#include "radix.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N = 3000, CRITERIA = 3 };

static int64_t values[CRITERIA][N];
static uint32_t ranks[N];
static bool reverse[CRITERIA], ranked[CRITERIA];

static int compare(const void *x, const void *y)
{
    const uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

    for (int c = 0; c < CRITERIA; c++) {
        const int64_t v = ranked[c] ? (int64_t)ranks[values[c][a]] : values[c][a],
                      w = ranked[c] ? (int64_t)ranks[values[c][b]] : values[c][b];

        if (v != w)
            return (v < w ? -1 : 1) * (reverse[c] ? -1 : 1);
    }
    return (a > b) - (a < b);
}

Test(radix, as_a_comparing_sort)
{
    static const unsigned widths[] = {0, 1, 10, 11, 12, 22, 31, 32, 33, 40, 63, 64};
    struct rng rng = rng_start("radix");
    uint32_t expect[N];

    for (unsigned round = 0; round < 200; round++) {
        const uint32_t n = round < 4 ? round : (uint32_t)rng_below(&rng, N);
        struct query_radix r;

        for (uint32_t i = 0; i < N; i++)
            ranks[i] = (uint32_t)rng_u64(&rng);
        for (int c = 0; c < CRITERIA; c++) {
            const unsigned width = widths[rng_below(&rng, sizeof widths / sizeof widths[0])];
            const uint64_t base = rng_u64(&rng) << (width & 63);

            reverse[c] = rng_once_in(&rng, 2);
            ranked[c] = rng_once_in(&rng, 3);
            for (uint32_t i = 0; i < n; i++) {
                const uint64_t bits = width ? rng_u64(&rng) >> (64 - width) : 0;

                values[c][i] = ranked[c] ? (int64_t)(bits % N) : (int64_t)(base + bits);
            }
        }
        query_radix_init(&r, n);
        for (int c = CRITERIA - 1; c >= 0; c--) {
            query_radix_by(&r, values[c], ranked[c] ? ranks : NULL, reverse[c]);
            while (query_radix_step(&r))
                ;
        }
        for (uint32_t i = 0; i < n; i++)
            expect[i] = i;
        qsort(expect, n, sizeof expect[0], compare);
        for (uint32_t i = 0; i < n; i++)
            cr_assert_eq(r.order[i], expect[i], "round %u of %u: place %u", round, n, i);
        query_radix_release(&r);
    }
}

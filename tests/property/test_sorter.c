/* The sorter against a naive model: random keys with many equals and common prefixes, with and without spills and with so many
 * runs that groups are merged first. */
#include "base/sorter.h"

#include <criterion/criterion.h>

#include "test_support.h"

struct pair {
    uint8_t *key;
    size_t key_n;
    uint32_t seq;
};

static int pair_compare(const void *x, const void *y)
{
    const struct pair *a = x, *b = y;
    const int order = bytes_compare(bytes_of(a->key, a->key_n), bytes_of(b->key, b->key_n));

    return order ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

static void one_round(struct rng *rng, size_t count, size_t pad_max, const char *dir)
{
    struct pair *model = calloc(count ? count : 1, sizeof *model);
    uint8_t *value = calloc(1, pad_max + 4);
    struct sorter *s = NULL;
    struct error err;
    struct bytes key, got;

    cr_assert_eq(sorter_new(dir, 1 << 20, &s, &err), BASE_OK);
    for (size_t i = 0; i < count; i++) {
        const size_t n = rng_below(rng, 14);

        model[i] = (struct pair){malloc(n ? n : 1), n, (uint32_t)i};
        for (size_t k = 0; k < n; k++)
            model[i].key[k] = rng_once_in(rng, 3) ? (uint8_t)rng_u64(rng) : 'a';
        put_be32(value, (uint32_t)i);
        cr_assert_eq(sorter_push(s, bytes_of(model[i].key, n), bytes_of(value, 4 + rng_below(rng, pad_max + 1)), &err), BASE_OK);
    }
    cr_assert_eq(sorter_finish(s, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(sorter_count(s), count);
    qsort(model, count, sizeof *model, pair_compare);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(sorter_next(s, &key, &got, &err), SORTER_MORE);
        cr_assert(bytes_equal(key, bytes_of(model[i].key, model[i].key_n)), "key %zu of %zu", i, count);
        cr_assert(got.n >= 4 && get_be32(got.p) == model[i].seq, "order of equal keys at %zu of %zu", i, count);
    }
    cr_assert_eq(sorter_next(s, &key, &got, &err), SORTER_DONE);
    sorter_free(&s);
    for (size_t i = 0; i < count; i++)
        free(model[i].key);
    free(model);
    free(value);
}

Test(sorter, equals_the_model)
{
    struct rng rng = rng_start("sorter");
    const char *dir = TEMP_DIR();

    for (int i = 0; i < 30; i++)
        one_round(&rng, rng_below(&rng, 3000), 0, dir);
    for (int i = 0; i < 4; i++)
        one_round(&rng, 5000 + rng_below(&rng, 5000), 2000, dir);
    /* About 300 runs of 1 MiB: two passes. */
    one_round(&rng, 4500, 140000, dir);
}

/* order: ranks against a comparing sort, blocks that grow, texts that are shared, and memory that is given up. */
#include "order_private.h"

#include "fixture.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct error err;

static int compare_numbers(const struct query_order *o, uint32_t a, uint32_t b)
{
    const struct bytes x = o->texts.text[a], y = o->texts.text[b];
    const size_t n = x.n < y.n ? x.n : y.n;
    const int c = n ? memcmp(x.p, y.p, n) : 0;

    return c ? c : (x.n > y.n) - (x.n < y.n);
}

static void check_ranks(const struct query_order *o, const struct query_ranks *ranks)
{
    for (uint32_t i = 0; i < ranks->n; i++) {
        cr_assert_eq(ranks->rank[ranks->order[i]], i);
        cr_assert(i == 0 || compare_numbers(o, ranks->order[i - 1], ranks->order[i]) < 0, "place %u", i);
    }
    cr_assert_eq(ranks->order[0], 0, "the empty text is the first");
}

Test(order, ranks_of_texts_that_keep_coming)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct rng rng = rng_start("order");
    struct query_ranks *before = NULL;

    fixture_open(f);
    struct query_order *o = query_order_take(f->archive);
    for (int round = 0; round < 12; round++) {
        const uint32_t known = o->texts.n;
        uint64_t grown = 0;

        for (uint64_t i = rng_below(&rng, round ? 300 : 3000); i > 0; i--) {
            uint8_t text[24];
            uint32_t number = 0, again = 0;
            const size_t n = (size_t)rng_below(&rng, sizeof text);

            for (size_t k = 0; k < n; k++)
                text[k] = rng_once_in(&rng, 4) ? (uint8_t)rng_below(&rng, 256) : (uint8_t) "AB\0"[rng_below(&rng, 3)];
            cr_assert_eq(order_texts_number(&o->texts, bytes_of(text, n), &number, &grown, &err), 0);
            cr_assert_eq(order_texts_number(&o->texts, bytes_of(text, n), &again, &grown, &err), 0);
            cr_assert_eq(number, again);
            cr_assert(bytes_equal(o->texts.text[number], bytes_of(text, n)));
        }
        struct query_ranking *ranking = NULL;
        struct query_ranks *ranks = NULL;

        while (query_ranking_run(&ranking, o, o->texts.n, 0, &ranks))
            ;
        cr_assert_null(ranking);
        cr_assert_eq(ranks->n, o->texts.n);
        check_ranks(o, ranks);
        if (before)
            check_ranks(o, before); /* as it was */
        query_ranks_unref(&before);
        before = ranks;
        /* What is ranked already is not ranked again. */
        cr_assert_eq(query_ranking_run(&ranking, o, known, 0, &ranks), 0);
        cr_expect_eq(ranks, before);
        query_ranks_unref(&ranks);
    }
    query_ranks_unref(&before);
    query_order_unref(&o);
    fixture_free(&f);
}

static const char *subject_of(struct query_order *o, struct fixture *f, uint64_t item, uint64_t last)
{
    const struct query_number_block *block = NULL;

    cr_assert_eq(query_order_numbers(o, f->reader, MDSQ_SORT_SUBJECT, item, last, &block, &err), 0, "%s", err.text);
    cr_assert(block->first <= item && item - block->first < block->n);
    const struct bytes text = o->texts.text[block->v[item - block->first]];
    return textf("%.*s", (int)text.n, text.n ? (const char *)text.p : "");
}

Test(order, blocks_grow_with_the_archive)
{
    struct fixture *f = fixture_new(TEMP_DIR());

    fixture_add(f, "INBOX", BYTES_LIT("Subject: one\n\nx\n"), NULL);
    fixture_add(f, "INBOX", BYTES_LIT("Subject: two\n\nx\n"), NULL);
    fixture_open(f);
    struct query_order *o = query_order_take(f->archive), *same = query_order_take(f->archive);
    cr_expect_eq(o, same, "one for all");
    query_order_unref(&same);
    cr_expect_str_eq(subject_of(o, f, 1, 1), "ONE");
    cr_expect_str_eq(subject_of(o, f, 2, 2), "TWO");
    fixture_add(f, "INBOX", BYTES_LIT("Subject: One\n\ny\n"), NULL);
    fixture_remove(f, "INBOX", 2);
    fixture_open(f);
    cr_expect_str_eq(subject_of(o, f, 3, 3), "ONE");
    cr_expect_str_eq(subject_of(o, f, 2, 3), "", "it is gone");
    cr_expect_eq(o->texts.n, 3, "the empty one, and two");
    query_order_unref(&o);
    fixture_free(&f);
}

Test(order, memory_is_given_up)
{
    struct fixture *f = fixture_new(TEMP_DIR());

    fixture_add(f, "INBOX", BYTES_LIT("Subject: one\n\nx\n"), NULL);
    fixture_open(f);
    struct query_order *o = query_order_take(f->archive);
    cr_expect_str_eq(subject_of(o, f, 1, 1), "ONE");
    const uint64_t bytes = o->bytes;
    cr_expect_gt(bytes, 0);
    cr_expect_eq(atomic_load(&f->store->order_budget->bytes), bytes);
    atomic_fetch_add(&f->store->order_budget->bytes, QUERY_ORDER_BYTES_MAX);
    struct query_order *other = query_order_take(f->archive);
    cr_expect_neq(o, other, "too much: everybody begins anew");
    cr_expect_str_eq(subject_of(o, f, 1, 1), "ONE", "who has it keeps it");
    query_order_unref(&o);
    cr_expect_eq(atomic_load(&f->store->order_budget->bytes), QUERY_ORDER_BYTES_MAX);
    atomic_fetch_sub(&f->store->order_budget->bytes, QUERY_ORDER_BYTES_MAX);
    cr_expect_str_eq(subject_of(other, f, 1, 1), "ONE");
    query_order_unref(&other);
    fixture_free(&f);
}

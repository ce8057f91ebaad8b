/*
 * Sets of messages against plain lists: what "1:4,*" means, how runs are counted, how numbers follow UIDs, over sparse, dense and
 * huge folders.
 */
#include "query/query_private.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct rng rng;
static struct mdsq_error e;

/* Runs and holes of random length, so that array, bitset and run containers all come up. */
static struct query_uids *random_uids(uint32_t **list_out, uint32_t *n_out)
{
    roaring_bitmap_t *b = roaring_bitmap_create();
    const uint64_t runs = rng_below(&rng, rng_once_in(&rng, 4) ? 3000 : 40);
    uint64_t uid = rng_once_in(&rng, 3) ? UINT32_MAX - rng_below(&rng, 300000) : rng_below(&rng, 100);

    for (uint64_t i = 0; i < runs && uid < UINT32_MAX; i++) {
        const uint64_t n = rng_once_in(&rng, 20) ? rng_below(&rng, 20000) : rng_below(&rng, 5);
        const uint64_t end = uid + n < UINT32_MAX ? uid + n : UINT32_MAX;
        roaring_bitmap_add_range_closed(b, (uint32_t)uid + 1, (uint32_t)end);
        uid = end + (rng_once_in(&rng, 10) ? rng_below(&rng, 200000) : rng_below(&rng, 4));
    }
    if (rng_once_in(&rng, 2))
        roaring_bitmap_run_optimize(b);
    struct query_uids *u = query_uids_take(b);
    *n_out = u->count;
    *list_out = malloc((u->count + 1u) * sizeof **list_out);
    roaring_bitmap_to_uint32_array(b, *list_out);
    return u;
}

static uint32_t random_bound(const uint32_t *list, uint32_t n, bool is_uid)
{
    if (!is_uid)
        return 1 + (uint32_t)rng_below(&rng, n);
    if (n && !rng_once_in(&rng, 3))
        return list[rng_below(&rng, n)];
    const uint64_t edgy = rng_edgy(&rng, UINT32_MAX);
    return edgy ? (uint32_t)edgy : 1;
}

static int compare(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A random set as text, and as the list of its members the plain way. */
static uint32_t random_set(const uint32_t *list, uint32_t n, bool is_uid, struct buf *text, bool *wanted)
{
    memset(wanted, 0, n * sizeof *wanted);
    const uint64_t ranges = 1 + rng_below(&rng, 12);
    uint32_t count = 0;

    for (uint64_t r = 0; r < ranges; r++) {
        uint32_t bound[2];
        bool star[2];
        const int ends = rng_once_in(&rng, 3) ? 1 : 2;
        buf_append_str(text, r ? "," : "");
        for (int k = 0; k < ends; k++) {
            star[k] = rng_once_in(&rng, 12);
            bound[k] = star[k] ? (is_uid ? list[n - 1] : n) : random_bound(list, n, is_uid);
            buf_append_str(text, k ? ":" : "");
            if (star[k])
                buf_append_byte(text, '*');
            else
                buf_append_u64_dec(text, bound[k]);
        }
        if (ends == 1)
            bound[1] = bound[0];
        const uint32_t lo = bound[0] < bound[1] ? bound[0] : bound[1], hi = bound[0] < bound[1] ? bound[1] : bound[0];
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t at = is_uid ? list[i] : i + 1;
            wanted[i] |= at >= lo && at <= hi;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        count += wanted[i];
    return count;
}

static void check_runs(const struct mdsq_set *set, const struct mdsq_view *view, const uint32_t *list, const bool *wanted, uint32_t n)
{
    for (int as_seq = 0; as_seq < 2; as_seq++) {
        uint64_t pos = 0;
        uint32_t first = 0, last = 0, i = 0;
        while (mdsq_set_next_range(set, as_seq ? view : NULL, &pos, &first, &last)) {
            while (i < n && !wanted[i])
                i++;
            cr_assert_lt(i, n, "a run too many");
            cr_assert_eq(first, as_seq ? i + 1 : list[i]);
            while (i + 1 < n && wanted[i + 1] && (as_seq || list[i + 1] == list[i] + 1))
                i++;
            cr_assert_eq(last, as_seq ? i + 1 : list[i], "run that begins at %u", first);
            i++;
        }
        while (i < n && !wanted[i])
            i++;
        cr_assert_eq(i, n, "a run is missing");
        cr_assert_not(mdsq_set_next_range(set, as_seq ? view : NULL, &pos, &first, &last), "the end stays the end");
    }
}

Test(query_sets, equal_plain_lists)
{
    rng = rng_start("query_sets");
    for (int round = 0; round < 25; round++) {
        uint32_t *list = NULL, n = 0;
        struct query_uids *uids = random_uids(&list, &n);
        struct mdsq_view view = {.uids = uids};
        bool *wanted = calloc(n + 1u, sizeof *wanted);

        for (int k = 0; k < 200 && n; k++) {
            const uint32_t i = (uint32_t)rng_below(&rng, n);
            const uint32_t near = list[i] + (uint32_t)rng_below(&rng, 3);
            cr_assert_eq(mdsq_view_uid(&view, i + 1), list[i]);
            cr_assert_eq(mdsq_view_seq(&view, list[i]), i + 1);
            cr_assert_eq(mdsq_view_seq(&view, near) != 0, bsearch(&near, list, n, sizeof *list, compare) != NULL);
        }
        for (int k = 0; k < 30 && n; k++) {
            const bool is_uid = rng_once_in(&rng, 2);
            struct buf text = {0};
            struct mdsq_set *set = NULL;
            const uint32_t count = random_set(list, n, is_uid, &text, wanted);
            cr_assert_eq(mdsq_set_parse(&view, (const char *)text.p, text.n, is_uid, &set, &e), 0, "%.*s: %s", (int)text.n,
                         (const char *)text.p, e.text);
            cr_assert_eq(mdsq_set_count(set), count, "%.*s", (int)text.n, (const char *)text.p);
            check_runs(set, &view, list, wanted, n);
            mdsq_set_free(&set);
            buf_release(&text);
        }
        free(wanted);
        free(list);
        query_uids_unref(&uids);
    }
}

Test(query_sets, numbers_are_counted_right_over_any_gaps)
{
    rng = rng_start("query_numbers");
    for (int round = 0; round < 25; round++) {
        uint32_t *list = NULL, n = 0;
        struct query_uids *uids = random_uids(&list, &n);
        struct query_numberer numberer;

        query_numberer_init(&numberer, uids);
        for (uint32_t i = 0; i < n;) {
            if (rng_once_in(&rng, 5)) { /* between members: no number; asking costs nothing */
                const uint32_t between = list[i] - (uint32_t)rng_below(&rng, i ? list[i] - list[i - 1] : list[i]);
                cr_assert_eq(query_numberer_seq(&numberer, between), between == list[i] ? i + 1 : 0);
            }
            cr_assert_eq(query_numberer_seq(&numberer, list[i]), i + 1);
            cr_assert_eq(query_numberer_seq(&numberer, list[i]), i + 1, "the same again");
            i += 1 + (uint32_t)(rng_once_in(&rng, 8) ? rng_below(&rng, 3000) : rng_below(&rng, 4));
        }
        free(list);
        query_uids_unref(&uids);
    }
}

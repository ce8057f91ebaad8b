/* Sets made of sets, and of numbers that need no view. */
#include "query_private.h"

static int give(roaring_bitmap_t *bitmap, struct mdsq_set **out)
{
    roaring_bitmap_run_optimize(bitmap);
    *out = query_set_take(bitmap);
    return MDSQ_OK;
}

int mdsq_set_numbers(const char *text, size_t n, uint32_t star, struct mdsq_set **out, struct mdsq_error *err)
{
    struct error e;
    roaring_bitmap_t *set = roaring_bitmap_create();
    int rc = BASE_OK;

    query_error_init(&e);
    *out = NULL;
    if (star == 0 && n && memchr(text, '*', n))
        rc = error_set(&e, BASE_ERR_SYNTAX, 0, "\"*\" stands for nothing here");
    else if (n)
        rc = query_set_parse_numbers(bytes_of(text, n), star, set, &e);
    if (rc >= 0)
        return give(set, out);
    roaring_bitmap_free(set);
    return query_result(rc, &e, err);
}

int mdsq_set_and(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    return give(roaring_bitmap_and(a->uids->bitmap, b->uids->bitmap), out);
}

int mdsq_set_or(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    return give(roaring_bitmap_or(a->uids->bitmap, b->uids->bitmap), out);
}

int mdsq_set_minus(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    return give(roaring_bitmap_andnot(a->uids->bitmap, b->uids->bitmap), out);
}

int mdsq_set_in_view(const struct mdsq_set *set, const struct mdsq_view *view, struct mdsq_set **out,
                     struct mdsq_error *err)
{
    (void)err;
    return give(roaring_bitmap_and(set->uids->bitmap, view->uids->bitmap), out);
}

int mdsq_set_part(const struct mdsq_set *set, uint32_t first, uint32_t last, bool from_end, struct mdsq_set **out,
                  struct mdsq_error *err)
{
    const uint32_t n = set->uids->count;
    roaring_bitmap_t *part = roaring_bitmap_create();
    uint32_t low = 0, high = 0;

    (void)err;
    if (first > last) {
        const uint32_t swapped = first;

        first = last;
        last = swapped;
    }
    if (first == 0)
        first = 1;
    if (last > n)
        last = n;
    if (first <= last) {
        const uint32_t from = from_end ? n - last : first - 1, to = from_end ? n - first : last - 1;

        (void)roaring_bitmap_select(set->uids->bitmap, from, &low);
        (void)roaring_bitmap_select(set->uids->bitmap, to, &high);
        roaring_bitmap_add_range(part, low, (uint64_t)high + 1);
        roaring_bitmap_and_inplace(part, set->uids->bitmap);
    }
    return give(part, out);
}

int mdsq_set_of(const uint32_t *uids, size_t n, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    return give(roaring_bitmap_of_ptr(n, uids), out);
}

uint32_t mdsq_set_last(const struct mdsq_set *set)
{
    return set->uids->count ? roaring_bitmap_maximum(set->uids->bitmap) : 0;
}

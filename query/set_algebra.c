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

uint32_t mdsq_set_last(const struct mdsq_set *set)
{
    return set->uids->count ? roaring_bitmap_maximum(set->uids->bitmap) : 0;
}

/*
 * Sets of messages: the text form "1:4,7,*" and runs of members.
 *
 * sequence-set    = (seq-number / seq-range) *("," sequence-set)
 * seq-range       = seq-number ":" seq-number   ; in either order
 * seq-number      = nz-number / "*"             ; "*": the largest in the folder
 */
#include "query_private.h"

#include <glib.h>

#define RANGES_MAX 10000
#define WALK_STEPS 8 /* most runs are short: walk so far before galloping */

struct mdsq_set *query_set_of(struct query_uids *uids)
{
    struct mdsq_set *set = g_new0(struct mdsq_set, 1);

    set->uids = query_uids_ref(uids);
    return set;
}

struct mdsq_set *query_set_take(roaring_bitmap_t *bitmap)
{
    struct mdsq_set *set = g_new0(struct mdsq_set, 1);

    set->uids = query_uids_take(bitmap);
    return set;
}

/* ---- text ---------------------------------------------------------------------------- */

struct range {
    uint32_t first, last; /* ordered */
    bool empty;           /* "*" of an empty folder */
};

static bool parse_number(struct bytes text, size_t *at, bool *star, uint32_t *out)
{
    uint64_t v = 0;
    const size_t begin = *at;

    *star = *at < text.n && text.p[*at] == '*';
    if (*star) {
        (*at)++;
        return true;
    }
    while (*at < text.n && text.p[*at] >= '0' && text.p[*at] <= '9' && v <= UINT32_MAX)
        v = v * 10 + (uint64_t)(text.p[(*at)++] - '0');
    *out = (uint32_t)v;
    return *at > begin && v > 0 && v <= UINT32_MAX && text.p[begin] != '0';
}

/* max: what "*" stands for, 0 if the folder is empty. */
static bool parse_range(struct bytes text, size_t *at, uint32_t max, struct range *out)
{
    bool first_star = false, last_star = false;
    uint32_t first = 0, last = 0;

    if (!parse_number(text, at, &first_star, &first))
        return false;
    last = first;
    last_star = first_star;
    if (*at < text.n && text.p[*at] == ':') {
        (*at)++;
        if (!parse_number(text, at, &last_star, &last))
            return false;
    }
    first = first_star ? max : first;
    last = last_star ? max : last;
    out->empty = (first_star || last_star) && max == 0;
    out->first = first < last ? first : last;
    out->last = first < last ? last : first;
    return true;
}

static int add_seqs(const struct query_uids *uids, const struct range *r, bool clamp, roaring_bitmap_t *into,
                    struct error *err)
{
    uint32_t end = r->last, first = 0, last = 0;

    if (end > uids->count && !clamp)
        return error_set(err, BASE_ERR_USAGE, 0, "message %u: there are only %u", r->last, uids->count);
    if (end > uids->count)
        end = uids->count;
    if (r->first > end)
        return BASE_OK;
    if (!roaring_bitmap_select(uids->bitmap, r->first - 1, &first) ||
        !roaring_bitmap_select(uids->bitmap, end - 1, &last))
        return error_set(err, BASE_ERR_USAGE, 0, "no message %u", r->first);
    roaring_bitmap_add_range_closed(into, first, last);
    return BASE_OK;
}

int query_set_parse(struct query_uids *uids, struct bytes text, enum query_numbers kind, struct query_uids **out,
                    struct error *err)
{
    const bool is_uid = kind == QUERY_UIDS;
    const uint32_t max_uid = uids->count ? roaring_bitmap_maximum(uids->bitmap) : 0;
    const uint32_t max = is_uid ? max_uid : uids->count;
    roaring_bitmap_t *set = roaring_bitmap_create();
    size_t at = 0;
    unsigned ranges = 0;
    bool whole = false;
    int rc = BASE_OK;

    do {
        struct range r = {0};

        if (++ranges > RANGES_MAX)
            rc = error_set(err, BASE_ERR_LIMIT, 0, "a set of more than %d ranges", RANGES_MAX);
        else if (!parse_range(text, &at, max, &r) || (at < text.n && text.p[at] != ','))
            rc = error_set(err, BASE_ERR_SYNTAX, 0, "not a set of numbers, at its byte %zu", at);
        else if (r.empty)
            continue;
        else if (!is_uid)
            rc = add_seqs(uids, &r, kind == QUERY_SEQS_ANY, set, err);
        else
            roaring_bitmap_add_range_closed(set, r.first, r.last);
        /* A set equal to the whole view shares it. */
        whole |= rc >= 0 && r.first <= 1 && r.last >= max;
    } while (rc >= 0 && at++ < text.n);

    if (rc >= 0 && whole) {
        *out = query_uids_ref(uids);
    } else if (rc >= 0) {
        roaring_bitmap_and_inplace(set, uids->bitmap);
        roaring_bitmap_run_optimize(set);
        *out = query_uids_take(set);
        set = NULL;
    }
    if (set)
        roaring_bitmap_free(set);
    return rc;
}

int query_set_parse_numbers(struct bytes text, uint32_t star, roaring_bitmap_t *into, struct error *err)
{
    size_t at = 0;
    unsigned ranges = 0;

    do {
        struct range r = {0};

        if (++ranges > RANGES_MAX)
            return error_set(err, BASE_ERR_LIMIT, 0, "a set of more than %d ranges", RANGES_MAX);
        if (!parse_range(text, &at, star, &r) || (at < text.n && text.p[at] != ','))
            return error_set(err, BASE_ERR_SYNTAX, 0, "not a set of numbers, at its byte %zu", at);
        roaring_bitmap_add_range_closed(into, r.first, r.last);
    } while (at++ < text.n);
    return BASE_OK;
}

int mdsq_set_parse(const struct mdsq_view *view, const char *text, size_t n, bool is_uid, struct mdsq_set **out,
                   struct mdsq_error *err)
{
    struct error e;
    struct query_uids *uids = NULL;

    query_error_init(&e);
    *out = NULL;

    const int rc = query_set_parse(view->uids, bytes_of(text, n), is_uid ? QUERY_UIDS : QUERY_SEQS, &uids, &e);

    if (rc >= 0) {
        *out = query_set_of(uids);
        query_uids_unref(&uids);
    }
    return query_result(rc, &e, err);
}

void mdsq_set_free(struct mdsq_set **set)
{
    struct mdsq_set *s = *set;

    *set = NULL;
    if (s == NULL)
        return;
    query_uids_unref(&s->uids);
    g_free(s);
}

uint64_t mdsq_set_count(const struct mdsq_set *set)
{
    return set->uids->count;
}

bool mdsq_set_has(const struct mdsq_set *set, uint32_t uid)
{
    return roaring_bitmap_contains(set->uids->bitmap, uid);
}

/* ---- runs ------------------------------------------------------------------------------ */

/* Members of b in first..last. */
static uint64_t count_in(const roaring_bitmap_t *b, uint32_t first, uint64_t last)
{
    return roaring_bitmap_range_cardinality(b, first, last + 1);
}

/* Every UID (view NULL) or every member of the view in first..last is a member of the set. */
static bool is_solid(const roaring_bitmap_t *set, const roaring_bitmap_t *view, uint32_t first, uint64_t last)
{
    return count_in(set, first, last) == (view ? count_in(view, first, last) : last - first + 1);
}

/* The largest end <= UINT32_MAX with a solid first..end, given that first is a member: gallop, then halve. */
static uint32_t solid_end(const roaring_bitmap_t *set, const roaring_bitmap_t *view, uint32_t first)
{
    const uint64_t limit = roaring_bitmap_maximum(set);
    uint64_t good = first, bad, step = 1;

    for (;;) {
        if (good == limit)
            return (uint32_t)good;
        bad = good + step < limit ? good + step : limit;
        if (!is_solid(set, view, first, bad))
            break;
        good = bad;
        step *= 2;
    }
    while (bad - good > 1) {
        const uint64_t middle = good + (bad - good) / 2;

        if (is_solid(set, view, first, middle))
            good = middle;
        else
            bad = middle;
    }
    return (uint32_t)good;
}

/* Smallest member >= from. */
static bool next_member(const roaring_bitmap_t *b, uint64_t from, roaring_uint32_iterator_t *it)
{
    if (from > UINT32_MAX)
        return false;
    roaring_init_iterator(b, it);
    return it->has_value && roaring_move_uint32_iterator_equalorlarger(it, (uint32_t)from);
}

/*
 * The last member of the run that begins at it's value. Walks both a few steps, as most runs are short.
 * *members_out: how many the run has.
 */
static uint32_t run_end(const roaring_bitmap_t *set, const roaring_bitmap_t *view, roaring_uint32_iterator_t *it,
                        uint64_t *members_out)
{
    const uint32_t first = it->current_value;
    roaring_uint32_iterator_t along;
    uint32_t last = first;

    if (view)
        (void)next_member(view, first, &along);
    for (unsigned i = 1; i <= WALK_STEPS; i++) {
        const bool more = roaring_advance_uint32_iterator(it);
        const bool joins = !more  ? false
                           : view ? roaring_advance_uint32_iterator(&along) && along.current_value == it->current_value
                                  : it->current_value == last + 1;

        if (!joins) {
            *members_out = i;
            return last;
        }
        last = it->current_value;
    }

    const uint32_t end = solid_end(set, view, first);

    *members_out = count_in(set, first, end);
    if (view == NULL || end == roaring_bitmap_maximum(set))
        return end;
    /* `end` may lie in a gap of both behind the last member. */
    (void)roaring_bitmap_select(set, (uint32_t)(roaring_bitmap_rank(set, end) - 1), &last);
    return last;
}

/*
 * *pos: UID of the last member given in the low half, its sequence number in the high half.
 */
bool mdsq_set_next_range(const struct mdsq_set *set, const struct mdsq_view *as_seq_of, uint64_t *pos,
                         uint32_t *first_out, uint32_t *last_out)
{
    const roaring_bitmap_t *members = set->uids->bitmap;
    const roaring_bitmap_t *view = as_seq_of ? as_seq_of->uids->bitmap : NULL;
    const uint32_t before = (uint32_t)*pos;
    const uint32_t before_seq = (uint32_t)(*pos >> 32);
    roaring_uint32_iterator_t it;
    uint64_t n = 0;

    if (view && set->uids == as_seq_of->uids) { /* all: one run, nothing to look at */
        *first_out = 1;
        *last_out = set->uids->count;
        n = *pos;
        *pos = UINT64_MAX;
        return n == 0 && set->uids->count > 0;
    }
    if (!next_member(members, (uint64_t)before + 1, &it))
        return false;

    const uint32_t first = it.current_value;
    const uint32_t last = run_end(members, view, &it, &n);

    if (view == NULL) {
        *first_out = first;
        *last_out = last;
        *pos = last;
        return true;
    }

    const uint64_t gap = first - 1 > before ? count_in(view, before + 1, first - 1) : 0;

    *first_out = (uint32_t)(before_seq + gap + 1);
    *last_out = (uint32_t)(*first_out + n - 1);
    *pos = (uint64_t)*last_out << 32 | last;
    return true;
}

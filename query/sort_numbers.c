/* SORT by dates and sizes: see sort_numbers.h. */
#include "sort_numbers.h"

#include "change.h"
#include "mds/columns.h"

#include <glib.h>
#include <stdlib.h>
#include <sys/mman.h>

#define READ_AT_ONCE 65536u
#define DIGIT_BITS   11u
#define DIGITS       (1u << DIGIT_BITS)
#define DIGITS_MAX   3u /* of 32 bits */
#define HUGE_PAGE    (UINT32_C(2) << 20)

struct query_number_sort {
    struct mdsq_sort_criterion by[MDSQ_SORT_MAX];
    size_t left; /* criteria that are not sorted by yet: the last of them is next */
    uint32_t folder, n;
    uint32_t *uids;  /* ascending; at the end in order */
    uint32_t *order; /* indexes into uids, in order by the criteria that are done */
    int64_t *values; /* of the criterion in hand, of uids in their order */
    uint32_t values_n;
    uint64_t *pairs, *other; /* 32 bits of a key, then an index */
    void *work;              /* what all of these but uids lie in */
};

static const struct {
    enum mds_column column;
    bool is_number;
} columns[] = {
    [MDSQ_SORT_ARRIVAL] = {MDS_COLUMN_INTERNAL, true},
    [MDSQ_SORT_DATE] = {MDS_COLUMN_SENT, true},
    [MDSQ_SORT_SIZE] = {MDS_COLUMN_SIZE, true},
};

bool query_number_sort_can(const struct mdsq_sort_criterion *by, size_t by_n)
{
    for (size_t i = 0; i < by_n; i++) {
        if ((size_t)by[i].key >= G_N_ELEMENTS(columns) || !columns[by[i].key].is_number)
            return false;
    }
    return true;
}

/* One piece in huge pages: 7,000 small ones would cost more than the sort of a million messages. */
static void work_new(struct query_number_sort *n)
{
    const size_t each = (size_t)n->n + 1;
    const size_t bytes = each * (sizeof *n->values + sizeof *n->pairs + sizeof *n->other + sizeof *n->order);
    const size_t whole = (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);

    n->work = bytes < HUGE_PAGE ? g_malloc(bytes) : aligned_alloc(HUGE_PAGE, whole);
    ASSERT(n->work);
    if (bytes >= HUGE_PAGE)
        (void)madvise(n->work, whole, MADV_HUGEPAGE); /* refused: as fast as small ones are */
    n->values = n->work;
    n->pairs = (uint64_t *)(void *)(n->values + each);
    n->other = n->pairs + each;
    n->order = (uint32_t *)(void *)(n->other + each);
}

struct query_number_sort *query_number_sort_new(uint32_t folder, const struct query_uids *uids,
                                                const struct mdsq_sort_criterion *by, size_t by_n)
{
    struct query_number_sort *n = g_new0(struct query_number_sort, 1);

    ASSERT(by_n <= MDSQ_SORT_MAX);
    memcpy(n->by, by, by_n * sizeof *by);
    n->left = by_n;
    n->folder = folder;
    n->n = uids->count;
    n->uids = g_new(uint32_t, (size_t)n->n + 1);
    work_new(n);
    roaring_bitmap_to_uint32_array(uids->bitmap, n->uids);
    for (uint32_t i = 0; i < n->n; i++)
        n->order[i] = i;
    return n;
}

static void work_free(struct query_number_sort *n)
{
    free(n->work); /* g_malloc is malloc */
    n->work = NULL;
}

void query_number_sort_free(struct query_number_sort **np)
{
    struct query_number_sort *n = *np;

    *np = NULL;
    if (n == NULL)
        return;
    work_free(n);
    g_free(n->uids);
    g_free(n);
}

/* 1 the time is up. */
static int read_values(struct query_number_sort *n, struct mds_txn *txn, uint64_t until_us, struct error *err)
{
    const enum mds_column column = columns[n->by[n->left - 1].key].column;

    while (n->values_n < n->n) {
        const uint32_t m = MIN(READ_AT_ONCE, n->n - n->values_n);
        const int rc = mds_column_read(txn, n->folder, column, n->uids + n->values_n, m, n->values + n->values_n, err);

        if (rc < 0)
            return rc;
        n->values_n += m;
        if (query_os_monotonic_us() >= until_us)
            return 1;
    }
    return BASE_OK;
}

/* Stable, by the `bits` lowest bits of the pairs' keys. */
static void sort_pairs(struct query_number_sort *n, unsigned bits)
{
    uint32_t counts[DIGITS_MAX][DIGITS] = {{0}};
    const unsigned passes = (bits + DIGIT_BITS - 1) / DIGIT_BITS;

    for (uint32_t i = 0; i < n->n; i++) {
        for (unsigned d = 0; d < passes; d++)
            counts[d][n->pairs[i] >> (32 + d * DIGIT_BITS) & (DIGITS - 1)]++;
    }
    for (unsigned d = 0; d < passes; d++) {
        uint32_t at = 0;

        for (uint32_t k = 0; k < DIGITS; k++) {
            const uint32_t here = counts[d][k];

            counts[d][k] = at;
            at += here;
        }
        for (uint32_t i = 0; i < n->n; i++)
            n->other[counts[d][n->pairs[i] >> (32 + d * DIGIT_BITS) & (DIGITS - 1)]++] = n->pairs[i];

        uint64_t *sorted = n->other;

        n->other = n->pairs;
        n->pairs = sorted;
    }
}

/* By the criterion whose values are read: 32 bits of them at a time, the low ones first. */
static void sort_values(struct query_number_sort *n)
{
    const bool reverse = n->by[n->left - 1].reverse;
    int64_t least = INT64_MAX, most = INT64_MIN;

    for (uint32_t i = 0; i < n->n; i++) {
        least = MIN(least, n->values[i]);
        most = MAX(most, n->values[i]);
    }

    const uint64_t reach = n->n ? (uint64_t)most - (uint64_t)least : 0;
    const unsigned bits = reach ? 64u - (unsigned)__builtin_clzll(reach) : 0;

    for (unsigned done = 0; done < bits; done += 32) {
        for (uint32_t i = 0; i < n->n; i++) {
            const uint64_t v = (uint64_t)n->values[n->order[i]];
            const uint64_t key = reverse ? (uint64_t)most - v : v - (uint64_t)least;

            n->pairs[i] = key >> done << 32 | n->order[i];
        }
        sort_pairs(n, MIN(bits - done, 32));
        for (uint32_t i = 0; i < n->n; i++)
            n->order[i] = (uint32_t)n->pairs[i];
    }
}

static void finish(struct query_number_sort *n)
{
    uint32_t *sorted = g_new(uint32_t, (size_t)n->n + 1);

    for (uint32_t i = 0; i < n->n; i++)
        sorted[i] = n->uids[n->order[i]];
    g_free(n->uids);
    n->uids = sorted;
    work_free(n);
}

int query_number_sort_run(struct query_number_sort *n, struct mds_txn *txn, uint64_t until_us, struct error *err)
{
    while (n->left > 0) {
        const int rc = read_values(n, txn, until_us, err);

        if (rc != BASE_OK)
            return rc;
        sort_values(n);
        n->values_n = 0;
        if (--n->left == 0)
            finish(n);
        else if (query_os_monotonic_us() >= until_us)
            return 1;
    }
    return BASE_OK;
}

const uint32_t *query_number_sort_uids(const struct query_number_sort *n)
{
    return n->uids;
}

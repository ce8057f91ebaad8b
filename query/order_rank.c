/*
 * order_rank: how the texts of a dictionary compare. What is new since the last ranking is sorted (bottom up, in
 * slices) and merged with the order that was there.
 */
#include "big.h"
#include "change.h"
#include "order_private.h"

#include <glib.h>

#define PAIRS_BETWEEN_CLOCKS 64u

struct entry {
    uint64_t head; /* the text's first 8 bytes */
    struct bytes text;
    uint32_t number;
};

struct query_ranking {
    struct query_ranks *before; /* a reference, or NULL */
    uint32_t n;                 /* numbers that will be ranked */
    struct entry *v, *other;    /* [count]: those that are new */
    uint32_t count, width, at;
};

void query_ranks_unref(struct query_ranks **ranks)
{
    struct query_ranks *r = *ranks;

    *ranks = NULL;
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    g_free(r->rank);
    g_free(r->order);
    g_free(r);
}

static struct query_ranks *ranks_ref(struct query_ranks *r)
{
    if (r)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void query_ranking_free(struct query_ranking **ranking)
{
    struct query_ranking *r = *ranking;

    *ranking = NULL;
    if (r == NULL)
        return;
    query_ranks_unref(&r->before);
    g_free(r->v);
    g_free(r->other);
    g_free(r);
}

static uint64_t head_of(struct bytes text)
{
    uint64_t head = 0;

    for (size_t i = 0; i < 8; i++)
        head = head << 8 | (i < text.n ? text.p[i] : 0);
    return head;
}

static struct query_ranking *begin(struct query_order *o)
{
    struct query_ranking *r = g_new0(struct query_ranking, 1);

    (void)pthread_mutex_lock(&o->lock);
    r->before = ranks_ref(o->ranks);
    r->n = o->texts.n;
    r->width = 1;

    const uint32_t first = r->before ? r->before->n : 0;

    r->count = r->n - first;
    r->v = query_big_new(r->count, sizeof(struct entry));
    r->other = query_big_new(r->count, sizeof(struct entry));
    for (uint32_t i = 0; i < r->count; i++)
        r->v[i] = (struct entry){.text = o->texts.text[first + i], .number = first + i};
    (void)pthread_mutex_unlock(&o->lock);
    for (uint32_t i = 0; i < r->count; i++)
        r->v[i].head = head_of(r->v[i].text);
    return r;
}

static int compare_texts(struct bytes a, struct bytes b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare(const struct entry *a, const struct entry *b)
{
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    return compare_texts(a->text, b->text);
}

static void merge_pair(struct query_ranking *r)
{
    const uint64_t middle = (uint64_t)r->at + r->width, last = middle + r->width;
    const uint32_t a_end = middle < r->count ? (uint32_t)middle : r->count,
                   b_end = last < r->count ? (uint32_t)last : r->count;
    uint32_t a = r->at, b = a_end, to = r->at;

    while (a < a_end && b < b_end)
        r->other[to++] = compare(&r->v[a], &r->v[b]) <= 0 ? r->v[a++] : r->v[b++];
    while (a < a_end)
        r->other[to++] = r->v[a++];
    while (b < b_end)
        r->other[to++] = r->v[b++];
    r->at = b_end;
}

/* 1 the time is up. */
static int merge(struct query_ranking *r, uint64_t until_us)
{
    unsigned pairs = 0;

    while (r->width < r->count) {
        while (r->at < r->count) {
            merge_pair(r);
            if ((r->width >= PAIRS_BETWEEN_CLOCKS || ++pairs % PAIRS_BETWEEN_CLOCKS == 0) &&
                query_os_monotonic_us() >= until_us)
                return 1;
        }
        struct entry *sorted = r->other;

        r->other = r->v;
        r->v = sorted;
        r->at = 0;
        r->width = r->width > UINT32_MAX / 2 ? UINT32_MAX : r->width * 2;
    }
    return 0;
}

/* How many of the order that was there stand before each new text. Texts are read under the lock: their table may move.
 */
static uint32_t *find_places(const struct query_ranking *r, struct query_order *o)
{
    uint32_t *before = g_new(uint32_t, (size_t)r->count + 1), from = 0;

    (void)pthread_mutex_lock(&o->lock);
    for (uint32_t b = 0; b < r->count; b++) {
        uint32_t to = r->before ? r->before->n : 0;

        while (from < to) {
            const uint32_t middle = from + (to - from) / 2;

            if (compare_texts(o->texts.text[r->before->order[middle]], r->v[b].text) < 0)
                from = middle + 1;
            else
                to = middle;
        }
        before[b] = from;
    }
    (void)pthread_mutex_unlock(&o->lock);
    return before;
}

static void publish(struct query_order *o, struct query_ranks *ranks)
{
    (void)pthread_mutex_lock(&o->lock);
    if (o->ranks == NULL || o->ranks->n < ranks->n) {
        query_order_count(o, (uint64_t)(ranks->n - (o->ranks ? o->ranks->n : 0)) * 2 * sizeof *ranks->rank);
        query_ranks_unref(&o->ranks);
        o->ranks = ranks_ref(ranks);
    }
    (void)pthread_mutex_unlock(&o->lock);
}

/* The order that was there and what is new, in one. */
static struct query_ranks *finish(struct query_ranking *r, struct query_order *o)
{
    struct query_ranks *ranks = g_new0(struct query_ranks, 1);
    uint32_t *before = find_places(r, o);
    uint32_t a = 0, b = 0;

    atomic_init(&ranks->refs, 1);
    ranks->n = r->n;
    ranks->rank = query_big_new(r->n, sizeof *ranks->rank);
    ranks->order = query_big_new(r->n, sizeof *ranks->order);
    for (uint32_t to = 0; to < r->n; to++) {
        const uint32_t number = b < r->count && before[b] <= a ? r->v[b++].number : r->before->order[a++];

        ranks->order[to] = number;
        ranks->rank[number] = to;
    }
    g_free(before);
    publish(o, ranks);
    return ranks;
}

int query_ranking_run(struct query_ranking **ranking, struct query_order *o, uint32_t n, uint64_t until_us,
                      struct query_ranks **out)
{
    struct query_ranking *r = *ranking;

    *out = NULL;
    if (r == NULL) {
        (void)pthread_mutex_lock(&o->lock);
        if (o->ranks && o->ranks->n >= n)
            *out = ranks_ref(o->ranks);
        (void)pthread_mutex_unlock(&o->lock);
        if (*out)
            return 0;
        *ranking = r = begin(o);
        ASSERT(r->n >= n);
    }
    if (merge(r, until_us))
        return 1;
    *out = finish(r, o);
    query_ranking_free(ranking);
    return 0;
}

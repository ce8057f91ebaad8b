/* radix: the differences of keys from the least one, 32 bits of them at a time, least significant digit first. */
#include "radix.h"
#include "big.h"

#include <glib.h>

#define DIGIT_BITS 11u
#define DIGITS     (1u << DIGIT_BITS)
#define WORD_BITS  32u

void query_radix_init(struct query_radix *r, uint32_t n)
{
    *r = (struct query_radix){.n = n};
    r->order = query_big_new(n, sizeof *r->order);
    r->pairs = query_big_new(n, sizeof *r->pairs);
    r->other = query_big_new(n, sizeof *r->other);
    for (uint32_t i = 0; i < n; i++)
        r->order[i] = i;
}

void query_radix_release(struct query_radix *r)
{
    g_free(r->order);
    g_free(r->pairs);
    g_free(r->other);
    *r = (struct query_radix){0};
}

void query_radix_by(struct query_radix *r, const int64_t *values, const uint32_t *ranks, bool reverse)
{
    r->values = values;
    r->ranks = ranks;
    r->reverse = reverse;
    r->began = false;
}

static uint64_t key_at(const struct query_radix *r, uint32_t i)
{
    return r->ranks ? r->ranks[r->values[i]] : (uint64_t)r->values[i] ^ UINT64_C(1) << 63;
}

static void find_reach(struct query_radix *r)
{
    r->least = UINT64_MAX;
    r->most = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const uint64_t key = key_at(r, i);

        r->least = key < r->least ? key : r->least;
        r->most = key > r->most ? key : r->most;
    }

    const uint64_t reach = r->n ? r->most - r->least : 0;

    r->bits = reach ? 64u - (unsigned)__builtin_clzll(reach) : 0;
    r->done = 0;
    r->began = true;
}

static void make_pairs(struct query_radix *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const uint64_t key = key_at(r, r->order[i]), part = (r->reverse ? r->most - key : key - r->least) >> r->done;

        r->pairs[i] = part << WORD_BITS | r->order[i];
    }
}

static void distribute(struct query_radix *r, unsigned shift)
{
    uint32_t at[DIGITS] = {0}, sum = 0;

    for (uint32_t i = 0; i < r->n; i++)
        at[r->pairs[i] >> shift & (DIGITS - 1)]++;
    for (unsigned d = 0; d < DIGITS; d++) {
        const uint32_t n = at[d];

        at[d] = sum;
        sum += n;
    }
    for (uint32_t i = 0; i < r->n; i++)
        r->other[at[r->pairs[i] >> shift & (DIGITS - 1)]++] = r->pairs[i];

    uint64_t *sorted = r->other;

    r->other = r->pairs;
    r->pairs = sorted;
}

static void take_order(struct query_radix *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        r->order[i] = (uint32_t)r->pairs[i];
}

bool query_radix_step(struct query_radix *r)
{
    if (!r->began) {
        find_reach(r);
        return r->bits > 0;
    }
    if (r->done >= r->bits)
        return false;

    const unsigned within = r->done % WORD_BITS;

    if (within == 0)
        make_pairs(r);
    distribute(r, WORD_BITS + within);
    /* The last digit of a word is shorter. */
    r->done += within + DIGIT_BITS < WORD_BITS ? DIGIT_BITS : WORD_BITS - within;
    if (r->done % WORD_BITS == 0 || r->done >= r->bits)
        take_order(r);
    return r->done < r->bits;
}

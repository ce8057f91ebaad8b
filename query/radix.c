/* radix: least significant digit first; digits in which no two keys differ are passed over. */
#include "radix.h"

#include <glib.h>
#include <string.h>

#define DIGIT_BITS 11u
#define DIGITS     (1u << DIGIT_BITS)

void query_radix_init(struct query_radix *r, uint32_t n)
{
    *r = (struct query_radix){.n = n};
    r->rows = g_new(struct query_radix_row, (size_t)n + 1);
    r->other = g_new(struct query_radix_row, (size_t)n + 1);
}

void query_radix_release(struct query_radix *r)
{
    g_free(r->rows);
    g_free(r->other);
    *r = (struct query_radix){0};
}

void query_radix_again(struct query_radix *r)
{
    r->began = false;
}

static void find_differing(struct query_radix *r)
{
    uint64_t differing = 0;

    for (uint32_t i = 1; i < r->n; i++)
        differing |= r->rows[i].key ^ r->rows[0].key;
    r->differing = differing;
    r->shift = 0;
    r->began = true;
}

static void distribute(struct query_radix *r, unsigned shift)
{
    uint32_t at[DIGITS] = {0}, sum = 0;

    for (uint32_t i = 0; i < r->n; i++)
        at[r->rows[i].key >> shift & (DIGITS - 1)]++;
    for (unsigned d = 0; d < DIGITS; d++) {
        const uint32_t n = at[d];

        at[d] = sum;
        sum += n;
    }
    for (uint32_t i = 0; i < r->n; i++)
        r->other[at[r->rows[i].key >> shift & (DIGITS - 1)]++] = r->rows[i];

    struct query_radix_row *sorted = r->other;

    r->other = r->rows;
    r->rows = sorted;
}

bool query_radix_step(struct query_radix *r)
{
    if (!r->began)
        find_differing(r);
    while (r->shift < 64 && (r->differing >> r->shift & (DIGITS - 1)) == 0)
        r->shift += DIGIT_BITS;
    if (r->shift >= 64)
        return false;
    distribute(r, r->shift);
    r->shift += DIGIT_BITS;
    return true;
}

/*
 * Memory of batches. A batch of some hundred MB is written once from end to end and then read in another order: in
 * pages of 4 KiB its page faults would be a tenth of the work, and each hit would walk the page table, too.
 */
#include "text_private.h"

#include <sys/mman.h>

#define LINE        64u /* of the cache */
#define HUGE_PAGE   ((size_t)2 << 20)
#define FIRST_BLOCK ((size_t)16 << 10) /* of a log; they double up to a huge page */

void *pages_new(size_t bytes)
{
    const bool huge = bytes >= HUGE_PAGE;
    const size_t unit = huge ? HUGE_PAGE : LINE;
    void *p = aligned_alloc(unit, bytes ? (bytes + unit - 1) / unit * unit : unit);

    ASSERT(p);
    if (huge)
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* where it is refused, all works, slower */
    return p;
}

static size_t block_bytes(uint32_t i)
{
    const unsigned doublings = __builtin_ctzll(HUGE_PAGE / FIRST_BLOCK);

    return i < doublings ? FIRST_BLOCK << i : HUGE_PAGE;
}

void log_turn(struct batch_log *l)
{
    if (l->in == l->blocks_n) {
        if (l->blocks_n == l->blocks_cap) {
            l->blocks_cap = l->blocks_cap ? 2 * l->blocks_cap : 16;
            l->blocks = realloc(l->blocks, l->blocks_cap * sizeof *l->blocks);
            ASSERT(l->blocks);
        }
        l->blocks[l->blocks_n] = pages_new(block_bytes(l->blocks_n));
        l->blocks_n++;
    }
    l->at = l->blocks[l->in];
    l->end = l->at + block_bytes(l->in);
    l->in++;
}

void log_reset(struct batch_log *l)
{
    l->in = 0;
    l->at = l->end = NULL;
}

void log_release(struct batch_log *l)
{
    for (uint32_t i = 0; i < l->blocks_n; i++)
        free(l->blocks[i]);
    free(l->blocks);
    *l = (struct batch_log){0};
}

const void *log_block(const struct batch_log *l, uint32_t i, size_t *bytes_out)
{
    *bytes_out = i + 1 < l->in ? block_bytes(i) : (size_t)(l->at - l->blocks[i]);
    return l->blocks[i];
}

size_t log_bytes(const struct batch_log *l)
{
    size_t sum = l->in ? (size_t)(l->at - l->blocks[l->in - 1]) : 0;

    for (uint32_t i = 0; i + 1 < l->in; i++)
        sum += block_bytes(i);
    return sum;
}

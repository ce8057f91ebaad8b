/* big: see big.h. */
#include "big.h"

#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)

static size_t bytes_of_array(size_t n, size_t size)
{
    size_t bytes;

    if (n == SIZE_MAX || __builtin_mul_overflow(n + 1, size, &bytes) || bytes > SIZE_MAX - HUGE_BYTES)
        g_error("an array of %zu members of %zu bytes", n, size);
    return bytes;
}

void *query_big_new(size_t n, size_t size)
{
    size_t bytes = bytes_of_array(n, size);

    if (bytes < 2 * HUGE_BYTES)
        return g_malloc(bytes);
    bytes = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;

    void *p = aligned_alloc(HUGE_BYTES, bytes);

    if (p == NULL)
        g_error("no memory for %zu bytes", bytes);
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* small ones do as well */
    return p;
}

void *query_big_new0(size_t n, size_t size)
{
    void *p = query_big_new(n, size);

    memset(p, 0, bytes_of_array(n, size));
    return p;
}

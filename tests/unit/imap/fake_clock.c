/* fake_clock: imap/system.c's seam, replaced at link time: the real clock, which a test may push forward. All of
 * system.h must be here. */
#include "fake_clock.h"

#include "system.h"

#include <time.h>

int64_t fake_clock_ahead_ms;

int64_t imap_system_now_ms(void)
{
    return (int64_t)(imap_system_now_ns() / 1000000);
}

uint64_t imap_system_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec + (uint64_t)fake_clock_ahead_ms * 1000000U;
}

int64_t imap_system_time_s(void)
{
    return (int64_t)time(NULL) + fake_clock_ahead_ms / 1000;
}

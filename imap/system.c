/* system: see system.h. */
#include "system.h"

#include <time.h>

int64_t imap_system_now_ms(void)
{
    struct timespec now;
    /* Asked once a message: the kernel's last tick is a read of memory, the exact time one of the processor's counter.
     */
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t imap_system_time_s(void)
{
    return (int64_t)time(NULL);
}

uint64_t imap_system_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

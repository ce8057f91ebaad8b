/* system: what the room takes from the operating system, so that a test can replace it at link time. */
#ifndef IMAP_SYSTEM_H
#define IMAP_SYSTEM_H

#include <stdint.h>

/* Milliseconds of a clock that never goes back, as of the last tick of the kernel (10 ms at most). */
int64_t imap_system_now_ms(void);
uint64_t imap_system_now_ns(void);
/* Seconds since 1970 as people count them. */
int64_t imap_system_time_s(void);

#endif

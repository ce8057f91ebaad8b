/* fake_clock: see fake_clock.c. */
#ifndef FAKE_CLOCK_H
#define FAKE_CLOCK_H

#include <stdint.h>

extern int64_t fake_clock_ahead_ms;

#endif

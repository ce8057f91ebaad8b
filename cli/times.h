/* times: moments on the command line. */
#ifndef CLI_TIMES_H
#define CLI_TIMES_H

#include <stdbool.h>
#include <stdint.h>

/* "2026-01-31", "2026-01-31T12:00", "...T12:00:59Z" (without Z: local time), or how long ago: "90m", "12h", "7d", "2w".
 * Seconds since 1970; false: none of these. */
bool times_parse(const char *text, int64_t *out);
/* "2026-01-31 12:00:59", local time, into 32 bytes. */
const char *times_text(int64_t when, char out[32]);

#endif

/*
 * system: the seam between this room and the operating system: time, wake-ups,
 * and what makes a process a sandboxed one.
 */
#ifndef INGEST_SYSTEM_H
#define INGEST_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t system_now_ns(void); /* CLOCK_MONOTONIC */

/* Wake-ups over eventfds. Posting is async-signal-safe and never blocks. */
void system_post(int fd);
void system_drain(int fd); /* a non-blocking eventfd */
void system_wait(int fd);  /* takes one unit of a blocking semaphore eventfd */

/* Handlers of the caller must not run in a child: all but the ignored ones back to default, terminal and job signals
 * ignored (the parent decides about them), none blocked. */
void system_reset_signals(void);
/*
 * Closes every descriptor that is not in keep[], not standard error, and not a read-only file or directory: sockets,
 * pipes and files open for writing of the caller do not live on in its children; what vaults hold open for reading
 * does. Standard input and output become /dev/null.
 */
void system_close_foreign(const int *keep, size_t n);
void system_die_with_parent(int parent_pid); /* single-threaded parents only */
void system_name(const char *name);
void system_no_core(void);
void system_limit_data(uint64_t more_bytes); /* RLIMIT_DATA above the present use */
void system_idle_priority(void);

/* Private memory of this process that is resident now; 0 if unknown. */
uint64_t system_private_bytes(void);

#endif

/*
 * quota: how many connections an address or an account has, and how fast one connection may go.
 *
 * Thread rule: counts by any thread; a meter belongs to its connection's loop.
 */
#ifndef IMAP_QUOTA_H
#define IMAP_QUOTA_H

#include "base/bytes.h"

/* Connections by key. */
struct imap_counts;
struct imap_counts *imap_counts_new(void);
void imap_counts_free(struct imap_counts **counts);
/* One more for key, unless it has max already (0: no bound). */
bool imap_counts_add(struct imap_counts *counts, struct bytes key, uint32_t max);
/* One less: each add that was true is dropped once. */
void imap_counts_drop(struct imap_counts *counts, struct bytes key);
size_t imap_counts_keys(struct imap_counts *counts);

/*
 * A token bucket: filled at rate a second up to burst_s seconds of it. Taking may go below zero: the debt is waited for
 * before the next. Zeroed, it is full when first used.
 */
struct imap_meter {
    int64_t level; /* thousandths */
    uint64_t at_ms;
};
void imap_meter_take(struct imap_meter *m, uint64_t amount, uint64_t rate, uint32_t burst_s, uint64_t now_ms);
/* Milliseconds until it is not in debt; 0 if it is not, or rate is 0. */
uint64_t imap_meter_wait(struct imap_meter *m, uint64_t rate, uint32_t burst_s, uint64_t now_ms);

#endif

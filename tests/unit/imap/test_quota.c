/* Counts of connections, and token buckets. */
#include <criterion/criterion.h>

#include "quota.h"

#include <stdio.h>

Test(quota, counts_up_to_the_limit)
{
    struct imap_counts *c = imap_counts_new();
    const struct bytes ann = BYTES_LIT("ann"), bob = BYTES_LIT("bob");
    cr_expect(imap_counts_add(c, ann, 2));
    cr_expect(imap_counts_add(c, ann, 2));
    cr_expect_not(imap_counts_add(c, ann, 2));
    cr_expect(imap_counts_add(c, bob, 2), "another key has its own count");
    cr_expect_eq(imap_counts_keys(c), 2);
    imap_counts_drop(c, ann);
    cr_expect(imap_counts_add(c, ann, 2));
    cr_expect(imap_counts_add(c, ann, 0), "0 is no limit");
    imap_counts_drop(c, bob);
    cr_expect_eq(imap_counts_keys(c), 1, "who has none takes no memory");
    imap_counts_free(&c);
}

Test(quota, keeps_many_keys_apart)
{
    struct imap_counts *c = imap_counts_new();
    char key[32];
    for (int i = 0; i < 20000; i++)
        cr_assert(imap_counts_add(c, bytes_of(key, (size_t)snprintf(key, sizeof key, "user-%d", i)), 1));
    for (int i = 0; i < 20000; i++) {
        const struct bytes k = bytes_of(key, (size_t)snprintf(key, sizeof key, "user-%d", i));
        cr_assert_not(imap_counts_add(c, k, 1));
        imap_counts_drop(c, k);
    }
    cr_expect_eq(imap_counts_keys(c), 0);
    imap_counts_free(&c);
}

Test(quota, a_meter_delays_who_is_over)
{
    struct imap_meter m = {0};
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 5000), 0);
    imap_meter_take(&m, 1000, 100, 10, 5000); /* the whole burst */
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 5000), 0);
    imap_meter_take(&m, 50, 100, 10, 5000);
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 5000), 500, "50 at 100 a second");
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 5400), 100);
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 5500), 0);
    /* Once full it does not save more. */
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 9000000), 0);
    imap_meter_take(&m, 1001, 100, 10, 9000000);
    cr_expect_eq(imap_meter_wait(&m, 100, 10, 9000000), 10);
}

Test(quota, a_meter_has_no_overflow)
{
    struct imap_meter m = {0};
    imap_meter_take(&m, UINT64_MAX, UINT64_MAX, UINT32_MAX, 1);
    cr_expect_eq(imap_meter_wait(&m, UINT64_MAX, UINT32_MAX, UINT64_MAX), 0);
    imap_meter_take(&m, UINT64_MAX, 1, 1, UINT64_MAX);
    cr_expect_gt(imap_meter_wait(&m, 1, 1, UINT64_MAX), 0);
    imap_meter_take(&m, 5, 0, 1, 1);
    cr_expect_eq(imap_meter_wait(&m, 0, 1, 1), 0, "rate 0 is no limit");
    cr_expect_eq(imap_meter_wait(&m, 10, 1, 0), imap_meter_wait(&m, 10, 1, 0),
                 "a clock that stands still gives nothing");
}

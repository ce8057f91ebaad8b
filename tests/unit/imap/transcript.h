/* transcript: what a client says and all that it must hear, line by line. Include it in a test file. */
#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

#include <criterion/criterion.h>

#include "fake_query.h"
#include "talk.h"

#include <stdio.h>
#include <string.h>

struct exchange {
    const char *say, *expect;
};

static inline void expect_all(struct imap_session *s, const struct exchange *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = talk(s, table[i].say);
        cr_expect_str_eq(got, table[i].expect, "said: %s\ngot:  %s\nwant: %s", table[i].say, got, table[i].expect);
    }
}
#define EXPECT_ALL(s, table) expect_all(s, table, sizeof(table) / sizeof((table)[0]))

/* What was committed since the last look. */
static inline void expect_log(const char *want)
{
    cr_expect_str_eq(fake.log, want, "committed: %s\nwant: %s", fake.log, want);
    fake.log[0] = 0;
}

static inline void end(struct imap_session **s)
{
    imap_session_free(s);
    cr_expect_eq(fake.objects, 0, "%u objects of query left", fake.objects);
    cr_expect_eq(fake.readers, 0);
}

static inline void writable(void)
{
    fake_reset();
    fake.writable = true;
}

#endif

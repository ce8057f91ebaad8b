/* SORT: each criterion, ties, and many messages in slices. */
#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

#define BY(k)                                                                                                          \
    {                                                                                                                  \
        .key = MDSQ_SORT_##k                                                                                           \
    }
#define REVERSE(k)                                                                                                     \
    {                                                                                                                  \
        .key = MDSQ_SORT_##k, .reverse = true                                                                          \
    }

static const char *sorted(struct fixture *f, const struct mdsq_sort_criterion *by, size_t n)
{
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_sort *sort = NULL;
    struct buf out = {0};
    uint32_t uid = 0, last = 0;
    int rc;

    cr_assert_geq(mdsq_sort_new(view, NULL, by, n, &sort, &e), 0, "%s", e.text);
    cr_expect_not(mdsq_sort_next(sort, &uid), "nothing before it is sorted");
    while ((rc = mdsq_sort_run(sort, f->reader, 0, &e)) > 0)
        cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0);
    cr_assert_eq(rc, 0, "%s", e.text);
    while (mdsq_sort_next(sort, &uid)) {
        buf_printf(&out, "%u ", uid);
        last = uid;
    }
    cr_expect_eq(mdsq_sort_last(sort), last);
    mdsq_sort_free(&sort);
    mdsq_view_close(&view);
    const char *text = textf("%.*s", (int)out.n, (const char *)out.p);
    buf_release(&out);
    return text;
}

Test(sort, criteria)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    static const struct {
        const char *raw;
        int64_t arrived;
    } mails[] = {
        {"From: Zoe <ann@example.org>\nTo: b@x\nSubject: Re: apple\nDate: Thu, 1 Jan 2004 10:00:00 +0000\n\nlonger "
         "than the others\n",
         500},
        {"From: \"bob\" <zed@example.org>\nTo: c@x\nCc: k@x\nSubject: =?utf-8?q?Banane?=\nDate: Thu, 1 Jan 2004 "
         "12:00:00 +0300\n\nx\n",
         400},
        {"From: Ann@example.org\nTo: a@x\nCc: j@x\nSubject: APPLE\n\nabc\n", 300},
        {"Subject: cherry\nDate: Thu, 1 Jan 1970 00:03:20 +0000\n\nabc\n", 500},
    };
    static const struct {
        const char *name;
        struct mdsq_sort_criterion by[3];
        size_t n;
        const char *expect;
    } rows[] = {
        {"arrival", {BY(ARRIVAL)}, 1, "3 2 1 4 "},
        {"arrival reversed keeps ties", {REVERSE(ARRIVAL)}, 1, "1 4 2 3 "},
        {"date is an instant, and arrival without one", {BY(DATE)}, 1, "4 3 2 1 "},
        {"size", {BY(SIZE)}, 1, "4 3 2 1 "},
        {"subject, base and case", {BY(SUBJECT)}, 1, "1 3 2 4 "},
        {"subject, then arrival", {BY(SUBJECT), BY(ARRIVAL)}, 2, "3 1 2 4 "},
        {"from is the mailbox, nobody first", {BY(FROM), REVERSE(SIZE)}, 2, "4 1 3 2 "},
        {"display name or address", {BY(DISPLAYFROM)}, 1, "4 3 2 1 "},
        {"to", {BY(TO)}, 1, "4 3 1 2 "},
        {"cc, then to, then arrival", {BY(CC), REVERSE(TO), BY(ARRIVAL)}, 3, "1 4 3 2 "},
    };

    for (size_t i = 0; i < sizeof mails / sizeof mails[0]; i++)
        fixture_add(f, "INBOX", bytes_str(mails[i].raw), &(struct filing){.internal_date = mails[i].arrived});
    fixture_open(f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_str_eq(sorted(f, rows[i].by, rows[i].n), rows[i].expect, "%s: %s", rows[i].name,
                         sorted(f, rows[i].by, rows[i].n));

    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_sort *sort = NULL;
    cr_expect_eq(mdsq_sort_new(view, NULL, rows[0].by, 0, &sort, &e), MDSQ_ERR_LIMIT);
    cr_expect_null(sort);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(sort, many_in_slices)
{
    enum { N = 500 };
    struct fixture *f = fixture_new(TEMP_DIR());
    struct rng rng = rng_of(5);
    int64_t arrived[N + 1];
    static const struct mdsq_sort_criterion by[] = {REVERSE(ARRIVAL)};

    for (int i = 1; i <= N; i++) {
        arrived[i] = (int64_t)rng_below(&rng, 60);
        fixture_add(f, "INBOX", BYTES_LIT("Subject: x\n\ny\n"), &(struct filing){.internal_date = arrived[i]});
    }
    fixture_open(f);
    const char *text = sorted(f, by, 1);
    unsigned before = 0;
    for (int i = 0; i < N; i++) {
        char *end;
        const unsigned uid = (unsigned)strtoul(text, &end, 10);
        cr_assert(uid >= 1 && uid <= N);
        cr_expect(!before || arrived[before] > arrived[uid] || (arrived[before] == arrived[uid] && before < uid),
                  "%u, %u", before, uid);
        before = uid;
        text = end;
    }
    cr_expect_str_eq(text, " ");
    fixture_free(&f);
}

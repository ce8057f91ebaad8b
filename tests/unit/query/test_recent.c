/* \Recent: what was filed since the archive was opened and nobody was told of. */
#include "fixture.h"

#include "change.h"
#include "test_support.h"

#include <criterion/criterion.h>

static struct mdsq_error e;

static const char *recent(struct fixture *f, bool take)
{
    struct mdsq_view *view = NULL;
    struct mdsq_status status;
    uint32_t first = 9, last = 9;

    cr_assert_geq(mdsq_reader_renew(f->reader, &e), 0);
    cr_assert_geq(mdsq_view_open(f->reader, "INBOX", &view, &e), 0);
    cr_assert_geq(mdsq_status(f->reader, "INBOX", &status, &e), 0);
    cr_assert_geq(mdsq_view_recent(f->reader, view, take, &first, &last, &e), 0);
    mdsq_view_close(&view);
    return textf("%u:%u %u", first, last, status.recent);
}

static void add(struct fixture *f, int64_t saved_s)
{
    fixture_add(f, "INBOX", BYTES_LIT("Subject: m\r\n\r\nbody\r\n"), &(struct filing){.saved_date = saved_s});
}

Test(recent, is_what_came_since_and_was_not_taken)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const int64_t now = query_os_now();

    for (int i = 0; i < 7; i++)
        add(f, now - 1000 + i);
    fixture_open(f);
    cr_expect_str_eq(recent(f, false), "0:0 0");
    add(f, now + 1);
    add(f, now + 2);
    cr_expect_str_eq(recent(f, false), "8:9 2");
    cr_expect_str_eq(recent(f, true), "8:9 2");
    cr_expect_str_eq(recent(f, true), "0:0 0");
    add(f, now + 3);
    cr_expect_str_eq(recent(f, true), "10:10 1");
    fixture_free(&f);
}

#include "fixture.h"

#include "query/query_private.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

static bool is(struct mdsq_bytes b, const char *text)
{
    return b.n == strlen(text) && memcmp(b.p, text, b.n) == 0;
}

Test(fetch, a_row_is_wire_ready)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const uint32_t all = 63;
    fixture_add(f, "INBOX", BYTES_LIT("Subject: one\nMessage-ID: <a@b>\n\nhello\n"),
                &(struct filing){.flags = VAULT_FLAG_SEEN, .internal_date = 837596665, .internal_zone = -420});
    fixture_add(f, "INBOX", BYTES_LIT("Subject: two\nMessage-ID: <a@b>\n\nhello\n"),
                &(struct filing){.flags = all, .keywords = "work od(d \xe9", .internal_zone = 90});
    fixture_add(f, "INBOX", BYTES_LIT("Subject: one\nMessage-ID: <a@b>\n\nhello\n"), NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m[3];
    char flags[3][120];

    cr_assert_eq(mdsq_fetch_new(f->reader, view, NULL, 0x7ff, &fetch, &e), 0, "%s", e.text);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(mdsq_fetch_next(fetch, &m[i], &e), 1, "%s", e.text);
        cr_expect_eq(m[i].uid, (uint32_t)i + 1);
        cr_expect_eq(m[i].seq, (uint32_t)i + 1);
        snprintf(flags[i], sizeof flags[i], "%.*s", (int)m[i].flags.n, (const char *)m[i].flags.p);
        cr_expect(is(m[i].envelope, i == 1 ? "(NIL \"two\" NIL NIL NIL NIL NIL NIL NIL \"<a@b>\")"
                                           : "(NIL \"one\" NIL NIL NIL NIL NIL NIL NIL \"<a@b>\")"));
        cr_expect(is(m[i].bodystructure, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 7 1 NIL NIL NIL NIL)"), "%.*s",
                  (int)m[i].bodystructure.n, (const char *)m[i].bodystructure.p);
        cr_expect(is(m[i].body, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 7 1)"));
        cr_expect(is(m[i].preview, "hello"), "%.*s", (int)m[i].preview.n, (const char *)m[i].preview.p);
        cr_expect_eq(m[i].size, 42);
        cr_expect_eq(m[i].save_date, 1000);
        cr_expect_eq(m[i].email_id[0], 'M');
        cr_expect_eq(strlen(m[i].email_id), 33);
        cr_expect_eq(strlen(m[i].thread_id), 17);
        cr_expect_gt(m[i].headers.n, 20);
    }
    cr_expect_eq(mdsq_fetch_next(fetch, &m[0], &e), 0);
    cr_expect_str_eq(flags[0], "(\\Seen)");
    cr_expect_str_eq(flags[1], "(\\Seen \\Answered \\Flagged \\Deleted \\Draft $Forwarded work od_d _)");
    cr_expect_str_eq(flags[2], "()");
    cr_expect_str_eq(m[1].internal_date, " 1-Jan-1970 01:30:00 +0130");
    cr_expect_neq(m[0].modseq, m[1].modseq);
    cr_expect_str_eq(m[1].thread_id, m[2].thread_id);
    cr_expect_str_neq(m[1].email_id, m[2].email_id);
    mdsq_fetch_free(&fetch);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(fetch, a_set_keeps_the_views_numbers_and_goes_on_after_a_renewal)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    for (int i = 0; i < 40; i++)
        fixture_add(f, "INBOX", bytes_str(textf("Subject: %d\n\n%d\n", i, i)), NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_set *set = NULL;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    static const uint32_t expect[] = {3, 5, 6, 7, 20, 40};

    cr_assert_eq(mdsq_set_parse(view, "3,5:7,20,40", 11, true, &set, &e), 0);
    cr_assert_eq(mdsq_fetch_new(f->reader, view, set, MDSQ_FETCH_FLAGS | MDSQ_FETCH_ENVELOPE, &fetch, &e), 0);
    for (int i = 0; i < 6; i++) {
        if (i == 2) { /* in mid-fetch others write, the reader is renewed, the view advanced */
            fixture_remove(f, "INBOX", 1);
            fixture_remove(f, "INBOX", 20);
            fixture_open(f);
            cr_expect_eq(mdsq_view_advance(f->reader, view, true, NULL, &e), 1);
        }
        if (i == 4) {
            mdsq_reader_end(&f->reader);
            cr_assert_eq(mdsq_reader_begin(f->archive, &f->reader, &e), 0);
            mdsq_fetch_rebind(fetch, f->reader);
        }
        cr_assert_eq(mdsq_fetch_next(fetch, &m, &e), 1, "%s", e.text);
        cr_expect_eq(m.uid, expect[i]);
        cr_expect_eq(m.seq, expect[i], "numbers are those of the fetch's beginning");
        cr_expect_eq(m.gone, expect[i] == 20);
        if (!m.gone)
            cr_expect(strstr(textf("%.*s", (int)m.envelope.n, (const char *)m.envelope.p), textf("\"%u\"", m.uid - 1)) != NULL);
    }
    cr_expect_eq(mdsq_fetch_next(fetch, &m, &e), 0);
    mdsq_fetch_free(&fetch);
    cr_expect_eq(mdsq_fetch_new(f->reader, view, NULL, 1u << 20, &fetch, &e), MDSQ_ERR_USAGE);
    cr_expect_null(fetch);
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(fetch, a_section_of_kept_fields_is_that_of_an_opened_body)
{
    static const char *const raws[] = {
        "Subject: one\nFrom: a@b\nX-Odd: 1\nTo: c@d\n\nhello\n",
        "From: a@b\r\nX-Odd: 1\r\nX-Odd: 2\r\n folded\r\nSubject: two\r\n\r\nhello\r\n",
        "Subject: three\nFrom: a@b", /* neither a body nor a blank line */
        "X-Odd: 4\n\nhello\n",
    };
    enum { N = sizeof raws / sizeof raws[0] };
    static const struct mdsq_bytes kept[] = {{(const uint8_t *)"SUBJECT", 7}, {(const uint8_t *)"from", 4}};
    static const struct mdsq_bytes odd[] = {{(const uint8_t *)"x-odd", 5}};
    const struct mdsq_section known = {.kind = MDSQ_SECTION_HEADER_FIELDS, .fields = kept, .fields_n = 2};
    const struct mdsq_section unknown = {.kind = MDSQ_SECTION_HEADER_FIELDS, .fields = odd, .fields_n = 1};
    const struct mdsq_section others = {.kind = MDSQ_SECTION_HEADER_FIELDS_NOT, .fields = odd, .fields_n = 1};
    const struct mdsq_section part = {.kind = MDSQ_SECTION_HEADER_FIELDS, .path = {1}, .path_n = 1, .fields = kept, .fields_n = 2};
    const struct mdsq_section whole = {.kind = MDSQ_SECTION_ALL};
    const struct mdsq_section *const sections[] = {&known, &unknown, &others, &part, &whole};
    struct fixture *f = fixture_new(TEMP_DIR());

    for (int all = 0; all < 2; all++)
        for (int i = 0; i < N; i++)
            fixture_add(f, "INBOX", bytes_str(textf("%s%s", raws[i], all && i != 2 ? "-" : "")),
                        &(struct filing){.all_headers = all});
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    struct mdsq_bytes v;
    unsigned given[5] = {0};
    int rc;

    cr_assert_eq(mdsq_fetch_new(f->reader, view, NULL, 0, &fetch, &e), 0, "%s", e.text);
    cr_expect_not(mdsq_fetch_section(fetch, &known, &v), "of no message yet");
    while (mdsq_fetch_next(fetch, &m, &e) > 0) {
        for (int k = 0; k < 5; k++) {
            if (!mdsq_fetch_section(fetch, sections[k], &v))
                continue;
            const struct bytes got = fixture_body(f, view, m.uid, sections[k], &rc);
            given[k]++;
            cr_expect(rc == 0 && got.n == v.n && memcmp(got.p, v.p, v.n) == 0, "%u, section %d: \"%.*s\"", m.uid, k, (int)v.n,
                      (const char *)v.p);
        }
    }
    cr_expect_not(mdsq_fetch_section(fetch, &known, &v), "of no message any more");
    cr_expect_eq(given[0], 2 * N);
    cr_expect(given[1] >= N - 1 && given[1] < 2 * N, "where all is kept: %u", given[1]);
    cr_expect_eq(given[2], given[1]);
    cr_expect_eq(given[3] + given[4], 0);
    mdsq_fetch_free(&fetch);

    cr_assert_eq(mdsq_fetch_new(f->reader, view, NULL, 0, &fetch, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_fetch_next(fetch, &m, &e), 1);
    cr_expect(mdsq_fetch_section(fetch, &known, &v));
    cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0);
    cr_expect_not(mdsq_fetch_section(fetch, &known, &v), "its snapshot is gone");
    mdsq_fetch_free(&fetch);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(fetch, dates_as_imap_writes_them)
{
    static const struct { int64_t s; int16_t zone; const char *text; int64_t day; } rows[] = {
        {837596665, -420, "17-Jul-1996 02:44:25 -0700", 9694},
        {0, 0, " 1-Jan-1970 00:00:00 +0000", 0},
        {-1, 0, "31-Dec-1969 23:59:59 +0000", -1},
        {-1, 1, " 1-Jan-1970 00:00:59 +0001", 0},
        {951782400, 0, "29-Feb-2000 00:00:00 +0000", 11016},
        {951782400, -1, "28-Feb-2000 23:59:00 -0001", 11015},
        {4107542400, 345, " 1-Mar-2100 05:45:00 +0545", 47541},
        {-2208988800, 0, " 1-Jan-1900 00:00:00 +0000", -25567},
        {INT64_MAX, 0, "31-Dec-9999 23:59:59 +0000", 2932896},
        {INT64_MIN, 0, " 1-Jan-0000 00:00:00 +0000", -719528},
        {INT64_MIN, INT16_MIN, " 1-Jan-0000 00:00:00 -9959", 0},
        {INT64_MAX, INT16_MAX, "31-Dec-9999 23:59:59 +9959", 0},
    };
    char text[27];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        query_date_format(rows[i].s, rows[i].zone, text);
        cr_expect_str_eq(text, rows[i].text, "%lld: %s", (long long)rows[i].s, text);
        if (rows[i].zone > -5999 && rows[i].zone < 5999)
            cr_expect_eq(query_date_day(rows[i].s, rows[i].zone), rows[i].day, "%lld: %lld", (long long)rows[i].s,
                         (long long)query_date_day(rows[i].s, rows[i].zone));
    }
}

Test(fetch, explain_shows_what_there_is)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const uint32_t uid = fixture_add(f, "INBOX", BYTES_LIT("Subject: x\n\nhello\n"), &(struct filing){.flags = VAULT_FLAG_SEEN});
    struct mdsq_view *view = fixture_view(f, "INBOX");
    char *text = NULL;

    cr_assert_eq(mdsq_explain(f->reader, view, uid, &text, &e), 0, "%s", e.text);
    static const char *const words[] = {"UID 1, number 1, in INBOX", "(\\Seen)", "18 bytes stored, 21 for a client (3 line ends gain a CR)",
                                        "eml-tree:", "1.eml", "missing-from", "0+12", "12+6", "Bodystructure"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        cr_expect(strstr(text, words[i]) != NULL, "\"%s\" in %s", words[i], text);
    free(text);
    cr_expect_eq(mdsq_explain(f->reader, view, 2, &text, &e), MDSQ_ERR_NOTFOUND);
    cr_expect_null(text);
    mdsq_view_close(&view);
    fixture_free(&f);
}

/* What the two say, message by message, with changes in the midst of it; all of the view or every third of it. */
static void flags_compare(struct fixture *f, const struct mdsq_set *set, uint32_t change_at)
{
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_fetch *sets = NULL, *rows = NULL;
    struct mdsq_message a, b;
    uint32_t n = 0;

    cr_assert_eq(mdsq_fetch_new(f->reader, view, set, MDSQ_FETCH_FLAGS, &sets, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_fetch_new(f->reader, view, set, MDSQ_FETCH_FLAGS | MDSQ_FETCH_SIZE, &rows, &e), 0, "%s", e.text);
    for (;; n++) {
        if (change_at && n == change_at) {
            for (uint32_t uid = 1; uid <= mdsq_view_count(view); uid += 7)
                fixture_flag(f, "INBOX", uid, uid % 64);
            fixture_remove(f, "INBOX", 2 * change_at);
            cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0);
        }
        const int rc = mdsq_fetch_next(sets, &a, &e);
        cr_assert_eq(mdsq_fetch_next(rows, &b, &e), rc);
        cr_assert(rc >= 0);
        if (rc == 0)
            break;
        cr_assert(a.uid == b.uid && a.seq == b.seq && a.gone == b.gone, "%u %u", a.uid, b.uid);
        cr_assert(a.gone || (a.flags.n == b.flags.n && memcmp(a.flags.p, b.flags.p, a.flags.n) == 0), "%u: %.*s, not %.*s",
                  a.uid, (int)a.flags.n, (const char *)a.flags.p, (int)b.flags.n, (const char *)b.flags.p);
    }
    cr_expect_gt(n, 512);
    mdsq_fetch_free(&sets);
    mdsq_fetch_free(&rows);
    mdsq_view_close(&view);
}

Test(fetch, flags_by_sets_are_those_of_the_rows)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    static const char *const keywords[] = {NULL, "blue", "red blue", "work"};

    for (uint32_t i = 0; i < 1800; i++)
        fixture_add(f, "INBOX", bytes_str(textf("Subject: %u\n\n", i)),
                    &(struct filing){.flags = i * 2654435761u >> 13 & 63, .keywords = keywords[i * 40503u >> 7 & 3]});
    fixture_remove(f, "INBOX", 17);
    fixture_open(f);

    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_set *thirds = NULL;
    struct buf text = {0};
    for (uint32_t uid = 3; uid <= 1800; uid += 3)
        buf_printf(&text, "%s%u", uid > 3 ? "," : "", uid);
    cr_assert_eq(mdsq_set_parse(view, (const char *)text.p, text.n, true, &thirds, &e), 0, "%s", e.text);
    buf_release(&text);
    flags_compare(f, NULL, 0);
    flags_compare(f, thirds, 0);
    flags_compare(f, NULL, 600);
    flags_compare(f, thirds, 300);
    for (int i = 0; i < 40; i++) /* more keywords than it keeps sets for */
        fixture_add(f, "INBOX", bytes_str(textf("Subject: k%d\n\n", i)), &(struct filing){.keywords = textf("key%d", i)});
    fixture_open(f);
    flags_compare(f, NULL, 700);

    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    struct mdsq_bytes v;
    static const struct mdsq_bytes subject[] = {{(const uint8_t *)"SUBJECT", 7}};
    const struct mdsq_section section = {.kind = MDSQ_SECTION_HEADER_FIELDS, .fields = subject, .fields_n = 1};
    cr_assert_eq(mdsq_fetch_new(f->reader, view, thirds, MDSQ_FETCH_FLAGS, &fetch, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_fetch_next(fetch, &m, &e), 1);
    cr_assert(mdsq_fetch_section(fetch, &section, &v), "the item is looked for when it is needed");
    cr_expect(memmem(v.p, v.n, "Subject: 2", 10) != NULL);
    mdsq_fetch_free(&fetch);
    mdsq_set_free(&thirds);
    mdsq_view_close(&view);
    fixture_free(&f);
}

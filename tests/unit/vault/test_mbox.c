/* mbox: the "From " line, splitting, variants, the writer's fields. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "scan_text.h"
#include "test_support.h"
#include "vault_private.h"

#define F1 "From a@x Tue Jan  1 00:00:00 2002\n"
#define F2 "From b@x Wed Jan  2 00:00:00 2002\n"
#define T1 "@1009843200"
#define T2 "@1009929600"

Test(mbox_from, separator_table)
{
    static const struct {
        const char *line;
        bool is;
        int64_t date;
    } rows[] = {
        {"From a@b.c Tue Jan  1 00:00:00 2002", true, 1009843200},
        {"From x at y.com  Tue Jan  1 00:00:00 2002", true, 1009843200},
        {"From a Tue Jan  1 00:00 2002", true, 1009843200},
        {"From a Tue Jan 01 00:00:00 2002\r", true, 1009843200},
        {"From a Tue, 1 Jan 2002 01:00:00 +0100", true, 1009843200},
        {"From a 1 Jan 2002 01:00:00 +01:00", true, 1009843200},
        {"From a Tuesday January 1 00:00:00 2002", true, 1009843200},
        {"From a Jan  1 00:00:00 2002", true, 1009843200},
        {"From a Tue Jan  1 00:00:00 GMT 2002", true, 1009843200},
        {"From a Tue Jan  1 01:00:00 CET 2002", true, 1009843200},
        {"From a Tue Jan  1 02:00:00 MET DST 2002", true, 1009843200},
        {"From a Mon Dec 31 19:00:00 EST 2001", true, 1009843200},
        {"From a Mon Dec 31 19:00:00 -0500 2001", true, 1009843200},
        {"From a Mon Dec 31 19:00:00 2001 -0500", true, 1009843200},
        {"From a Mon Dec 31 19:00:00 2001 -0500 (EST)", true, 1009843200},
        {"From 1234567890@xxx Tue Jan 01 00:00:00 +0000 2002", true, 1009843200},
        {"From a Tue Jan  1 00:00:00 XYZ 2002", true, 1009843200},
        {"From a Tue Jan  1 00:00:00 02", true, 1009843200},
        {"From a Tue Jan  1 00:00:00 102", true, 1009843200},
        {"From a Thu Jan  1 00:00:00 98", true, 883612800},
        {"From a Tue Jan  1 00:00:00 2002 remote from host.uucp", true, 1009843200},
        {"From  Tue Jan  1 00:00:00 2002", true, 1009843200},
        {"From \"John Doe\"@x.org Tue Jan  1 00:00:00 2002", true, 1009843200},
        {"From jan may Tue Jan  1 00:00:00 2002", true, 1009843200},
        {"From a\tTue\tJan\t1\t00:00:00\t2002", true, 1009843200},
        {"From a Thu Jan  1 00:00:00 1970", true, 0},
        {"From a Fri Feb 29 12:00:00 2008", true, 1204286400},
        {"From a Thu Dec 31 23:59:60 1998", true, 915148800},
        {"From a Wed Jan  1 00:00:00 1902", true, -2145916800},
        {"From", false, 0},
        {"From ", false, 0},
        {"From: a Tue Jan  1 00:00:00 2002", false, 0},
        {">From a Tue Jan  1 00:00:00 2002", false, 0},
        {"from a Tue Jan  1 00:00:00 2002", false, 0},
        {"From what I saw on Tue Jan  1 00:00:00 2002 it broke", false, 0},
        {"From the msdn:", false, 0},
        {"From 10:00 to 11:00", false, 0},
        {"From a Tue Jan  1 2002", false, 0},
        {"From a Tue Jan 00:00:00 2002", false, 0},
        {"From a Tue Jan 32 00:00:00 2002", false, 0},
        {"From a Tue Jan  1 24:00:00 2002", false, 0},
        {"From a Tue Jan  1 00:60 2002", false, 0},
        {"From a Tue Jan  1 00:00:0 2002", false, 0},
        {"From a Tue Jan  1 00:00:00 20022", false, 0},
        {"From a Tue Jan  1 00:00:00 1002", false, 0},
        {"From a Tue Jan  1 00:00:00", false, 0},
        {"From a Tue Jan  1 00:00:00 2002 2003", false, 0},
        {"From a Tue Foo  1 00:00:00 2002", false, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t date = 0;

        cr_expect_eq(vault_from_line_parse(bytes_str(rows[i].line), &date), rows[i].is, "%s", rows[i].line);
        cr_expect_eq(date, rows[i].date, "%s: %" PRId64, rows[i].line, date);
    }
}

Test(mbox_from, line_length_is_limited)
{
    char line[VAULT_FROM_LINE_MAX + 2];
    static const char date[] = " Tue Jan  1 00:00:00 2002";
    const size_t at = VAULT_FROM_LINE_MAX - (sizeof date - 1);
    int64_t t;

    memset(line, 'x', sizeof line);
    memcpy(line, "From ", 5);
    memcpy(line + at, date, sizeof date - 1);
    cr_expect(vault_from_line_parse(bytes_of(line, VAULT_FROM_LINE_MAX), &t));
    memset(line, 'x', sizeof line);
    memcpy(line, "From ", 5);
    memcpy(line + at + 1, date, sizeof date - 1);
    cr_expect_not(vault_from_line_parse(bytes_of(line, VAULT_FROM_LINE_MAX + 1), &t));
}

Test(mbox, splitting_table)
{
    static const struct {
        const char *name, *kind, *content, *expect;
    } rows[] = {
        {"empty file", "mbox", "", "== INBOX\n"},
        {"one", "mbox", F1 "Subject: x\n\nbody\n", "== INBOX\n# <> " T1 ": Subject: x||body|\n"},
        {"one with its blank line", "mbox", F1 "Subject: x\n\nbody\n\n", "== INBOX\n# <> " T1 ": Subject: x||body|\n"},
        {"two blank lines at the end", "mbox", F1 "Subject: x\n\nbody\n\n\n", "== INBOX\n# <> " T1 ": Subject: x||body||\n"},
        {"no line end at the end", "mbox", F1 "Subject: x\n\nbody", "== INBOX\n# <> " T1 ": Subject: x||body\n"},
        {"two", "mbox", F1 "A: 1\n\nx\n\n" F2 "A: 2\n\ny\n\n", "== INBOX\n# <> " T1 ": A: 1||x|\n# <> " T2 ": A: 2||y|\n"},
        {"CRLF", "mbox", "From a Tue Jan  1 00:00:00 2002\r\nA: 1\r\n\r\nx\r\n\r\nFrom a Wed Jan  2 00:00:00 2002\r\nA: 2\r\n\r\ny\r\n\r\n",
         "== INBOX\n# <> " T1 ": A: 1?|?|x?|\n# <> " T2 ": A: 2?|?|y?|\n"},
        {"empty items", "mbox", F1 "\n" F2 "\n", "== INBOX\n# <> " T1 ": \n# <> " T2 ": \n"},
        {"only a From line", "mbox", F1, "== INBOX\n# <> " T1 ": \n"},
        {"a From line without its end", "mbox", "From a@x Tue Jan  1 00:00:00 2002", "== INBOX\n# <> " T1 ": \n"},
        {"header only", "mbox", F1 "A: 1\n\n" F2 "A: 2\n", "== INBOX\n# <> " T1 ": A: 1|\n# <> " T2 ": A: 2|\n"},
        {"prose after a blank line", "mbox", F1 "A: 1\n\nx\n\nFrom here on Tue it rained\n", "== INBOX\n# <> " T1 ": A: 1||x||From here on Tue it rained|\n"},
        {"no blank line, a header follows", "mbox", F1 "A: 1\n\nx\n" F2 "A: 2\n\ny\n", "== INBOX\n# <> " T1 ": A: 1||x|\n# <> " T2 ": A: 2||y|\n"},
        {"no blank line, text follows", "mbox", F1 "A: 1\n\nx\n" F2 "and so on\n",
         "== INBOX\n# <> " T1 ": A: 1||x|From b@x Wed Jan  2 00:00:00 2002|and so on|\n"},
        {"a From line without a date at the start", "mbox", "From me\nA: 1\n\nx\n", "== INBOX\n# <>: A: 1||x|\n"},
        {"blank lines first", "mbox", "\n" F1 "A: 1\n\nx\n", "== INBOX\n# <> " T1 ": A: 1||x|\n"},
        {"rubbish first", "mbox", "rubbish\n\n" F1 "A: 1\n\nx\n", "== INBOX\n# <> " T1 ": A: 1||x|\n"},
        {"no mbox at all", "mbox", "rubbish\n\nFrom\n", "== INBOX\n"},
        {"mboxo keeps its quotes", "mboxo", F1 "A: 1\n\n>From x\n>>From y\n", "== INBOX\n# <> " T1 ": A: 1||>From x|>>From y|\n"},
        {"mboxrd loses one", "mboxrd", F1 "A: 1\n\n>From x\n>>From y\n>Fromage\n >From z\n",
         "== INBOX\n# <> " T1 ": A: 1||From x|>From y|>Fromage| >From z|\n"},
        {"mboxrd by detection", "mbox", F1 "A: 1\n\n>From x\n>>From y\n", "== INBOX\n# <> " T1 ": A: 1||From x|>From y|\n"},
        {"mboxo by detection", "mbox", F1 "A: 1\n\n>From x\n>> From y\n", "== INBOX\n# <> " T1 ": A: 1||>From x|>> From y|\n"},
        {"mboxcl2", "mboxcl2", F1 "Content-Length: 43\n\n\nFrom c@x Thu Jan  3 00:00:00 2002\n>From x\n\n" F2 "A: 2\n\ny\n",
         "== INBOX\n# <> " T1 ": ||From c@x Thu Jan  3 00:00:00 2002|>From x|\n# <> " T2 ": A: 2||y|\n"},
        {"mboxcl2 by detection", "mbox", F1 "Content-Length: 43\n\n\nFrom c@x Thu Jan  3 00:00:00 2002\n>From x\n\n" F2 "A: 2\n\ny\n",
         "== INBOX\n# <> " T1 ": ||From c@x Thu Jan  3 00:00:00 2002|>From x|\n# <> " T2 ": A: 2||y|\n"},
        {"mboxcl by detection", "mbox", F1 "Content-Length: 8\n\n>From x\n\n" F2 "Content-Length: 2\n\ny\n\n",
         "== INBOX\n# <> " T1 ": |From x|\n# <> " T2 ": |y|\n"},
        {"a length that does not land is ignored", "mboxcl2", F1 "Content-Length: 3\n\nhello\n\n" F2 "A: 2\n\ny\n",
         "== INBOX\n# <> " T1 ": |hello|\n# <> " T2 ": A: 2||y|\n"},
        {"one wrong length: no cl", "mbox", F1 "Content-Length: 3\n\n>From hello\n\n" F2 "Content-Length: 2\n\ny\n",
         "== INBOX\n# <> " T1 ": |>From hello|\n# <> " T2 ": |y|\n"},
        {"a length beyond the file", "mboxcl2", F1 "Content-Length: 18446744073709551615\n\nx\n", "== INBOX\n# <> " T1 ": |x|\n"},
        {"a length of 19 digits", "mboxcl2", F1 "Content-Length: 9999999999999999999\n\nx\n", "== INBOX\n# <> " T1 ": |x|\n"},
        {"zero length", "mboxcl2", F1 "Content-Length: 0\n\n\n" F2 "Content-Length: 0\n\n", "== INBOX\n# <> " T1 ": |\n# <> " T2 ": |\n"},
        {"status fields", "mbox", F1 "Status: RO\nA: 1\nX-Status: AFTD\nX-UID: 7\nX-IMAPbase: 1 2\nx-keywords: Junk, Work\n\n $Forwarded junk\n\nx\n",
         "== INBOX\n# <RAFDT> {Junk Work} " T1 ": A: 1|| $Forwarded junk||x|\n"},
        {"folded fields", "mbox", F1 "X-Keywords: a\n b\n\t$Forwarded\nA: 1\n 2\nStatus:\n O\n\nx\n", "== INBOX\n# <P> {a b} " T1 ": A: 1| 2||x|\n"},
        {"fields of the body stay", "mbox", F1 "A: 1\n\nStatus: RO\nContent-Length: 5\n", "== INBOX\n# <> " T1 ": A: 1||Status: RO|Content-Length: 5|\n"},
        {"names that only begin alike", "mbox", F1 "Status-X: R\nStatus : R\nXStatus: R\n\nx\n",
         "== INBOX\n# <> " T1 ": Status-X: R|Status : R|XStatus: R||x|\n"},
        {"bad keywords are left out", "mbox", F1 "X-Keywords: ok (no) \\Seen ok\xff {3}\n\nx\n", "== INBOX\n# <R> {ok} " T1 ": |x|\n"},
        {"NUL and bare CR stay", "mbox", F1 "A: 1\r\r\n\n\x01\n", "== INBOX\n# <> " T1 ": A: 1??||?|\n"},
    };
    const char *dir = TEMP_DIR();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = path_join(dir, "m");

        write_text(path, rows[i].content);
        const char *got = scan_text(textf("%s:%s", rows[i].kind, path));

        cr_expect_str_eq(got, rows[i].expect, "%s:\n%s", rows[i].name, got);
    }
}

Test(mbox, rubbish_before_the_first_item_is_counted)
{
    const char *path = path_join(TEMP_DIR(), "m");

    write_text(path, "rubbish\n\n" F1 "A: 1\n");
    (void)scan_text(textf("mbox:%s", path));
    cr_expect_eq(scan_text_skipped(), 1);
    cr_expect(strstr(scan_text_reason(), "before the first"), "%s", scan_text_reason());
}

/* Opens the vault and its first container. */
static struct vault_scan *scan_first(const char *spec_text, struct vault **v)
{
    struct vault_spec spec;
    struct vault_container c;
    struct vault_scan *scan = NULL;
    struct error err = {0};

    cr_assert_eq(vault_spec_parse(spec_text, &spec, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_open(&spec, v, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_scan_new(*v, NULL, &scan, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_scan_next_container(scan, &c, &err), VAULT_MORE);
    vault_spec_release(&spec);
    return scan;
}

/* A locator of an mbox that was rewritten names other bytes: they are no item, unless one begins and ends there. */
Test(mbox, what_is_no_item_of_the_file_is_gone)
{
    static const struct {
        const char *text;
        bool opens;
    } rows[] = {
        {F1 "A: 1\n\none\n\n" F2 "A: 2\n\ntwo\n", true},
        {F1 "A: 1\n\ntwo\n\n" F2 "A: 3\n\nsix\n", true},
        {F1 "A: 1\n\none\n\n" F2 "A: 2\n\ntwo\n\n" F1 "A: 3\n\n", true},
        {F1 "A: 1\n\none\n\n" F2 "A: 2\n\ntwo\n" F1 "A: 3\n\n", true},
        {F1 "A: 1\n\none\n\n" F2 "A: 2\n\ntwo or three\n", false},
        {F1 "A: 1\n\none more\n\n" F2 "A: 2\n\ntwo\n", false},
        {F1 "A: 1\n\no\n\n" F2 "A: 2\n\ntwo\n\nand more of it\n", false},
        {F1 "A: 1\n\n..............................................................................\n", false},
        {F1 "A: 1\n\none\n\n>rom b@x Wed Jan  2 00:00:00 2002\nA: 2\n\ntwo\n", false},
    };
    const char *path = path_join(TEMP_DIR(), "m");
    struct error err = {0};

    write_text(path, rows[0].text);
    struct vault *v = NULL;
    struct vault_scan *scan = scan_first(textf("mbox:%s", path), &v);
    struct vault_item item;

    cr_assert_eq(vault_scan_next_item(scan, &item, &err), VAULT_MORE);
    cr_assert_eq(vault_scan_next_item(scan, &item, &err), VAULT_MORE);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vault_body *body = NULL;

        write_text(path, rows[i].text);
        cr_expect_eq(vault_item_open(v, &item.locator, &body, &err), rows[i].opens ? BASE_OK : BASE_ERR_GONE, "%s",
                     rows[i].text);
        vault_item_close(&body);
    }
    vault_scan_free(&scan);
    vault_close(&v);
}

Test(mbox, a_file_that_changes_under_a_scan_is_not_settled)
{
    const char *path = path_join(TEMP_DIR(), "m"), *other = path_join(TEMP_DIR(), "n");
    const char *text = F1 "A: 1\n\none\n";

    for (int change = 0; change < 3; change++) {
        struct vault *v = NULL;
        struct vault_item item;

        write_text(path, text);
        struct vault_scan *scan = scan_first(textf("mbox:%s", path), &v);

        cr_expect_eq(vault_scan_next_item(scan, &item, NULL), VAULT_MORE);
        if (change == 1)
            write_text(path, textf("%s\n%s", text, text));
        if (change == 2) {
            write_text(other, text);
            cr_assert_eq(rename(other, path), 0);
        }
        cr_expect_eq(vault_scan_next_item(scan, &item, NULL), VAULT_DONE);
        cr_expect_eq(vault_scan_is_settled(scan), change == 0, "change %d", change);
        vault_scan_free(&scan);
        vault_close(&v);
    }
}

Test(mbox, folder_is_inbox_unless_named)
{
    const char *path = path_join(TEMP_DIR(), "m");

    write_text(path, "");
    cr_expect_str_eq(scan_text(textf("mbox:%s", path)), "== INBOX\n");
    cr_expect_str_eq(scan_text(textf("mbox:%s=Old/2004", path)), "== Old/2004\n");
    cr_expect_str_eq(scan_text(textf("mbox:%s=inbox/x", path)), "== INBOX/x\n");
}

/* Items that straddle the window's edge (4 MiB) at every offset around it. */
Test(mbox, separators_around_the_windows_edge)
{
    const char *path = path_join(TEMP_DIR(), "m");
    static const char second[] = "A: 2\n\n>From y\n";
    const size_t window = (size_t)4 << 20;

    for (int shift = -60; shift <= 60; shift += 1) {
        struct buf b = {0};
        struct vault_mbox_item item[2];
        struct error err = {0};

        buf_append_str(&b, F1 "A: 1\n\n");
        const size_t start = sizeof F1 - 1;
        const size_t fill = window + (size_t)(shift + 60) - 60 - b.n;

        memset(buf_reserve(&b, fill), 'x', fill);
        for (size_t i = 99; i < fill; i += 100)
            b.p[b.n + i] = '\n';
        b.n += fill;
        buf_append_str(&b, "\n>>>>>>>>>>From q\n\n" F2);
        const size_t second_at = b.n;

        buf_append_str(&b, second);
        write_file(path, buf_bytes(&b));
        struct vault_mbox *m = vault_mbox_new(open(path, O_RDONLY), VAULT_MBOX_RD);

        cr_assert_eq(vault_mbox_next(m, &item[0], &err), VAULT_MORE);
        cr_assert_eq(vault_mbox_next(m, &item[1], &err), VAULT_MORE);
        cr_assert_eq(item[0].offset, start);
        cr_assert_eq(item[0].filter, VAULT_FILTER_UNQUOTE, "shift %d", shift);
        cr_assert_eq(item[0].length, second_at - (sizeof F2 - 1) - 1 - start, "shift %d", shift);
        cr_assert_eq(item[1].offset, second_at, "shift %d", shift);
        cr_assert_eq(item[1].length, sizeof second - 1);
        cr_assert_eq(item[1].filter, VAULT_FILTER_UNQUOTE);
        cr_assert_eq(vault_mbox_next(m, &item[0], &err), VAULT_DONE);
        vault_mbox_free(&m);
        buf_release(&b);
    }
}

Test(mbox, runs_of_quotes_at_their_limit)
{
    const char *path = path_join(TEMP_DIR(), "m");
    struct buf b = {0};

    for (size_t q = VAULT_QUOTES_MAX - 1; q <= VAULT_QUOTES_MAX + 2; q++) {
        buf_reset(&b);
        buf_append_str(&b, F1 "A: 1\n\n");
        const size_t head = sizeof F1 - 1;

        memset(buf_reserve(&b, q), '>', q);
        b.n += q;
        buf_append_str(&b, "From x\n");
        write_file(path, buf_bytes(&b));
        const char *got = scan_text(textf("mboxrd:%s", path));
        const char *at = strchr(got, '>') + 1; /* after the empty flags "<>" */
        size_t left = 0;

        for (; *at; at++)
            left += *at == '>';
        cr_expect_eq(left, q <= VAULT_QUOTES_MAX ? q - 1 : q, "%zu quotes, header at %zu", q, head);
    }
    buf_release(&b);
}

/* Filter output does not depend on how its input is cut. */
Test(filter, every_split_gives_the_same)
{
    static const char in[] = "Status: R\nA: 1\n b\nX-Keywords: a\n b\n\tc\nB: 2\n\n>From x\nStatus: R\n>>From y\ntail";
    static const char expect[] = "A: 1\n b\nB: 2\n\nFrom x\nStatus: R\n>From y\ntail";
    const size_t n = sizeof in - 1;

    for (size_t split = 0; split <= n; split++) {
        struct vault_filter_state s;
        uint8_t out[sizeof in];
        size_t made, all;

        vault_filter_start(&s);
        const size_t used = vault_filter_run(&s, VAULT_FILTER_STRIP | VAULT_FILTER_UNQUOTE, (const uint8_t *)in, split, false, out, &made);

        cr_assert_leq(used, split);
        (void)vault_filter_run(&s, VAULT_FILTER_STRIP | VAULT_FILTER_UNQUOTE, (const uint8_t *)in + used, n - used, true, out + made, &all);
        cr_assert(bytes_equal(bytes_of(out, made + all), BYTES_LIT(expect)), "split at %zu: %.*s", split, (int)(made + all), (char *)out);
        cr_assert_eq(s.raw_off, n);
        cr_assert_eq(s.out_off, sizeof expect - 1);
    }
}

/* Over 16 MiB: measured at open, read from checkpoints, mapped through a file. */
Test(filter, a_large_item_reads_anywhere)
{
    const char *path = path_join(TEMP_DIR(), "m");
    const size_t lines = 700000;
    struct buf raw = {0}, clean = {0};
    struct rng rng = rng_of(7);
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes map;

    buf_append_str(&raw, F1 "Status: R\nA: 1\n\n");
    buf_append_str(&clean, "A: 1\n\n");
    for (size_t i = 0; i < lines; i++) {
        char line[64];

        (void)snprintf(line, sizeof line, "%s line %zu of the item\n", i % 3 ? "some" : ">From", i);
        buf_append_str(&raw, line);
        buf_append_str(&clean, line[0] == '>' ? line + 1 : line);
    }
    write_file(path, buf_bytes(&raw));
    cr_assert_gt(raw.n, (size_t)17 << 20);
    cr_assert_eq(vault_spec_parse(textf("mboxrd:%s", path), &spec, NULL), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
    const struct vault_locator loc = {.offset = sizeof F1 - 1, .length = raw.n - (sizeof F1 - 1), .filter = VAULT_FILTER_STRIP | VAULT_FILTER_UNQUOTE};

    cr_assert_eq(vault_item_open(v, &loc, &body, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_item_size(body), clean.n);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 300; i++) {
            uint8_t got[5000];
            const size_t off = (size_t)rng_below(&rng, clean.n + 10), n = (size_t)rng_below(&rng, sizeof got);
            const struct bytes expect = bytes_slice(buf_bytes(&clean), off, n);
            size_t got_n;

            cr_assert_eq(vault_item_read(body, off, got, n, &got_n, &err), BASE_OK, "%s", err.text);
            cr_assert(bytes_equal(bytes_of(got, got_n), expect), "at %zu, %zu bytes, pass %d", off, n, pass);
        }
        cr_assert_eq(vault_item_map(body, &map, &err), BASE_OK, "%s", err.text);
        cr_assert(bytes_equal(map, buf_bytes(&clean)));
    }
    vault_item_close(&body);
    vault_close(&v);
    vault_spec_release(&spec);
    buf_release(&raw);
    buf_release(&clean);
}

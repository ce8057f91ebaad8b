#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

#define T(s) {(const uint8_t *)(s), sizeof(s) - 1}
#define KEY(k, t) {.kind = MDSQ_KEY_##k, .text = T(t)}
#define NUM(k, n) {.kind = MDSQ_KEY_##k, .number = (uint64_t)(n)}

/* UIDs that match, as "1 3 ". budget_ms 0: a slice a message. */
static const char *search(struct fixture *f, const struct mdsq_view *view, const struct mdsq_key *key, uint64_t *unreadable)
{
    struct mdsq_search *s = NULL;
    struct mdsq_set *set = NULL;
    struct buf out = {0};
    uint64_t pos = 0;
    uint32_t first, last;
    int rc = mdsq_search_new(view, key, &s, &e);

    while (rc >= 0 && (rc = mdsq_search_run(s, f->reader, 0, &e)) > 0)
        cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0);
    if (rc >= 0)
        rc = mdsq_search_take(s, &set, unreadable, &e);
    mdsq_search_free(&s);
    if (rc < 0)
        return textf("error %d", rc);
    while (mdsq_set_next_range(set, NULL, &pos, &first, &last)) {
        for (uint64_t uid = first; uid <= last; uid++)
            buf_printf(&out, "%llu ", (unsigned long long)uid);
    }
    mdsq_set_free(&set);
    const char *text = textf("%.*s", (int)out.n, (const char *)out.p);
    buf_release(&out);
    return text;
}

static const char multipart[] = "From: Bob Builder <bob@example.com>\n"
                                "To: =?utf-8?q?J=C3=B6rg?= <j@example.com>\n"
                                "Cc: <cee (who (once))@ (was here) example . org>, \"d (e)\"@f\n"
                                "Subject: folded\n\tsubject here\n"
                                "X-Trace: abc\n"
                                "Content-Type: multipart/mixed; boundary=b\n"
                                "\n"
                                "preamble needle\n"
                                "--b\n"
                                "Content-Type: text/plain; charset=iso-8859-1\n"
                                "Content-Transfer-Encoding: quoted-printable\n"
                                "Content-Description: partdesc\n"
                                "\n"
                                "Stra=DFe und caf=E9 so=\nft\nnext line\n"
                                "--b\n"
                                "Content-Type: application/octet-stream\n"
                                "\n"
                                "binaryneedle\n"
                                "--b\n"
                                "Content-Type: message/rfc822\n"
                                "\n"
                                "Subject: innersubject\n"
                                "\n"
                                "innerbody\n"
                                "--b--\n";

static struct fixture *corpus(const char *dir)
{
    struct fixture *f = fixture_new(dir);
    /* 1 */ fixture_add(f, "INBOX", BYTES_LIT("From: Ann <ann@example.org>\nDate: Mon, 1 Jan 2001 23:30:00 -0500\nSubject: Hello World\n\nplain body text\n"),
                        &(struct filing){.flags = VAULT_FLAG_SEEN, .internal_date = 978393600, .internal_zone = 0});
    /* 2 */ fixture_add(f, "INBOX", bytes_str(multipart), &(struct filing){.flags = VAULT_FLAG_FLAGGED | VAULT_FLAG_FORWARDED, .keywords = "work", .internal_date = 978393600 + 86400});
    /* 3 */ fixture_add(f, "INBOX", BYTES_LIT("Subject: gr\xc3\xbc\xc3\x9f" "e\nDate: Tue, 2 Jan 2001 00:30:00 +0500\nBcc:\n\nbase\n"),
                        &(struct filing){.flags = VAULT_FLAG_SEEN | VAULT_FLAG_DELETED, .keywords = "Work home", .internal_date = 978393600 + 2 * 86400, .internal_zone = -60});
    /* 4 */ fixture_add(f, "INBOX", BYTES_LIT("Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\n0J/RgNC40LLQtdGCINC80LjRgA==\n"),
                        &(struct filing){.internal_date = -86400 * 10});
    return f;
}

Test(search, metadata_keys)
{
    static const struct { const char *name; struct mdsq_key key; const char *expect; } rows[] = {
        {"all", {.kind = MDSQ_KEY_ALL}, "1 2 3 4 "},
        {"none", {.kind = MDSQ_KEY_NONE}, ""},
        {"seen", NUM(FLAG, 1), "1 3 "},
        {"deleted", NUM(FLAG, 8), "3 "},
        {"no flag", NUM(FLAG, 0), "error -11"},
        {"two flags", NUM(FLAG, 3), "error -11"},
        {"keyword in any case", KEY(KEYWORD, "WORK"), "2 3 "},
        {"keyword unknown", KEY(KEYWORD, "wor"), ""},
        {"forwarded", KEY(KEYWORD, "$forwarded"), "2 "},
        {"seq", KEY(SEQ_SET, "2:3"), "2 3 "},
        {"seq beyond", KEY(SEQ_SET, "5"), ""},
        {"seq partly beyond", KEY(SEQ_SET, "7:3,9"), "3 4 "},
        {"uid", KEY(UID_SET, "3:99"), "3 4 "},
        {"before", NUM(BEFORE, 11325), "1 4 "},
        {"on", NUM(ON, 11324), "1 "},
        {"on, in its own zone", NUM(ON, 11325), "2 3 "},
        {"since", NUM(SINCE, 11325), "2 3 "},
        {"since before 1970", NUM(SINCE, -10), "1 2 3 4 "},
        {"since", NUM(SINCE, -9), "1 2 3 "},
        {"sent on, in its own zone", NUM(SENTON, 11323), "1 "},
        {"sent on", NUM(SENTON, 11324), "3 "},
        {"sent before", NUM(SENTBEFORE, 11324), "1 "},
        {"sent since: no Date, no match", NUM(SENTSINCE, 0), "1 3 "},
        {"larger", NUM(LARGER, 300), "2 "},
        {"smaller", NUM(SMALLER, 300), "1 3 4 "},
        {"modseq", NUM(MODSEQ, 0), "1 2 3 4 "},
        {"modseq far", NUM(MODSEQ, 1000), ""},
    };
    struct fixture *f = corpus(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = search(f, view, &rows[i].key, NULL);
        cr_expect_str_eq(got, rows[i].expect, "%s: %s", rows[i].name, got);
    }
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(search, content_keys)
{
#define HEADER(fld, t) {.kind = MDSQ_KEY_HEADER, .field = T(fld), .text = T(t)}
    static const struct { const char *name; struct mdsq_key key; const char *expect; } rows[] = {
        {"from", KEY(FROM, "ANN@"), "1 "},
        {"from, display name", KEY(FROM, "bob build"), "2 "},
        {"cc, an address with comments and blanks", KEY(CC, "<cee@example.org>"), "2 "},
        {"cc, the comment itself", KEY(CC, "was here"), "2 "},
        {"cc, a quoted local part is no comment", KEY(CC, "\"d (e)\"@f"), "2 "},
        {"to, decoded", KEY(TO, "j\xc3\x96rg"), "2 "},
        {"subject", KEY(SUBJECT, "o w"), "1 "},
        {"subject across a fold", KEY(SUBJECT, "folded subject"), "2 "},
        {"subject, not the name", KEY(SUBJECT, "subject:"), ""},
        {"subject, raw utf-8", KEY(SUBJECT, "GR\xc3\x9c"), "3 "},
        {"subject of an attached message is not the message's", KEY(SUBJECT, "innersubject"), ""},
        {"empty subject: the field exists", KEY(SUBJECT, ""), "1 2 3 "},
        {"bcc exists", KEY(BCC, ""), "3 "},
        {"cc, whatever it says", KEY(CC, ""), "2 "},
        {"bcc, whatever it says", KEY(BCC, ""), "3 "},
        {"header", HEADER("x-trace", "BC"), "2 "},
        {"header exists", HEADER("X-TRACE", ""), "2 "},
        {"header is not there", HEADER("X-Nope", ""), ""},
        {"header of a part is not the message's", HEADER("Content-Description", ""), ""},
        {"header without a name", HEADER("", "x"), "error -11"},
        {"body", KEY(BODY, "BODY TEXT"), "1 "},
        {"body does not see the header", KEY(BODY, "Hello"), ""},
        {"body, charset and encoding", KEY(BODY, "stra\xc3\x9f" "e"), "2 "},
        {"body, soft line break", KEY(BODY, "caf\xc3\xa9 soft"), "2 "},
        {"body, line end is a blank", KEY(BODY, "soft next"), "2 "},
        {"body, line end in the needle", KEY(BODY, "soft\r\nnext"), "2 "},
        {"body, not across parts", KEY(BODY, "line innerbody"), ""},
        {"body, base64 cyrillic in capitals", KEY(BODY, "\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2 \xd0\xbc"), "4 "},
        {"body, attached message", KEY(BODY, "innerbody"), "2 "},
        {"body, attached message's header", KEY(BODY, "subject: innersub"), "2 "},
        {"body, not a part's header", KEY(BODY, "partdesc"), ""},
        {"body, not the preamble, not octets", KEY(BODY, "needle"), ""},
        {"text, header", KEY(TEXT, "subject: hello"), "1 "},
        {"text, part's header", KEY(TEXT, "partdesc"), "2 "},
        {"text, body", KEY(TEXT, "plain body"), "1 "},
        {"text, not across fields", KEY(TEXT, "world plain"), ""},
        {"text, empty", KEY(TEXT, ""), "1 2 3 4 "},
        {"body, empty", KEY(BODY, ""), "1 2 3 4 "},
        {"base letter of a composed one", KEY(BODY, "cafe"), "2 "},
    };
    struct fixture *f = corpus(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = search(f, view, &rows[i].key, NULL);
        cr_expect_str_eq(got, rows[i].expect, "%s: %s", rows[i].name, got);
    }
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(search, trees)
{
    struct fixture *f = corpus(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const struct mdsq_key seen_hello[] = {NUM(FLAG, 1), KEY(SUBJECT, "hello")};
    const struct mdsq_key inner[] = {KEY(BODY, "innerbody"), NUM(SENTON, 11324), KEY(FROM, "ann")};
    const struct mdsq_key and = {.kind = MDSQ_KEY_AND, .children = seen_hello, .children_n = 2};
    const struct mdsq_key or = {.kind = MDSQ_KEY_OR, .children = inner, .children_n = 3};
    const struct mdsq_key not_and = {.kind = MDSQ_KEY_NOT, .children = &and, .children_n = 1};
    const struct mdsq_key both[] = {not_and, or};
    const struct mdsq_key nested = {.kind = MDSQ_KEY_AND, .children = both, .children_n = 2};
    const struct mdsq_key empty_and = {.kind = MDSQ_KEY_AND}, empty_or = {.kind = MDSQ_KEY_OR};
    const struct mdsq_key bad_not = {.kind = MDSQ_KEY_NOT, .children = inner, .children_n = 2};
    const struct mdsq_key unknown = {.kind = (enum mdsq_key_kind)99};

    cr_expect_str_eq(search(f, view, &and, NULL), "1 ");
    cr_expect_str_eq(search(f, view, &or, NULL), "1 2 3 ");
    cr_expect_str_eq(search(f, view, &not_and, NULL), "2 3 4 ");
    cr_expect_str_eq(search(f, view, &nested, NULL), "2 3 ");
    cr_expect_str_eq(search(f, view, &empty_and, NULL), "1 2 3 4 ");
    cr_expect_str_eq(search(f, view, &empty_or, NULL), "");
    cr_expect_str_eq(search(f, view, &bad_not, NULL), "error -11");
    cr_expect_str_eq(search(f, view, &unknown, NULL), "error -11");

    struct mdsq_key chain[MDSQ_KEY_DEPTH_MAX + 2];
    for (int i = 0; i < MDSQ_KEY_DEPTH_MAX + 2; i++)
        chain[i] = (struct mdsq_key){.kind = MDSQ_KEY_NOT, .children = chain + i + 1, .children_n = 1};
    chain[MDSQ_KEY_DEPTH_MAX] = (struct mdsq_key)NUM(FLAG, 1);
    cr_expect_str_eq(search(f, view, chain, NULL), "1 3 ", "an even number of NOTs");
    chain[MDSQ_KEY_DEPTH_MAX] = (struct mdsq_key){.kind = MDSQ_KEY_NOT, .children = chain + MDSQ_KEY_DEPTH_MAX + 1, .children_n = 1};
    chain[MDSQ_KEY_DEPTH_MAX + 1] = (struct mdsq_key)NUM(FLAG, 1);
    cr_expect_str_eq(search(f, view, chain, NULL), "error -10");

    struct mdsq_key *many = calloc(MDSQ_KEY_COUNT_MAX, sizeof *many);
    for (int i = 0; i < MDSQ_KEY_COUNT_MAX; i++)
        many[i] = (struct mdsq_key)KEY(SUBJECT, "hello");
    const struct mdsq_key most = {.kind = MDSQ_KEY_OR, .children = many, .children_n = MDSQ_KEY_COUNT_MAX - 1};
    const struct mdsq_key too_many = {.kind = MDSQ_KEY_OR, .children = many, .children_n = MDSQ_KEY_COUNT_MAX};
    cr_expect_str_eq(search(f, view, &most, NULL), "1 ");
    cr_expect_str_eq(search(f, view, &too_many, NULL), "error -10");
    free(many);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(search, an_unreadable_item_matches_no_content_key_and_is_counted)
{
    struct fixture *f = corpus(TEMP_DIR());
    const struct mdsq_key body = KEY(BODY, "text"), from = KEY(FROM, "ann"), trace = HEADER("X-Trace", "");
    const struct mdsq_key not_body = {.kind = MDSQ_KEY_NOT, .children = &body, .children_n = 1};
    uint64_t unreadable = 99;

    remove_tree(path_join(f->vault_dir, "1.eml"));
    remove_tree(path_join(f->vault_dir, "2.eml"));
    struct mdsq_view *view = fixture_view(f, "INBOX");
    cr_expect_str_eq(search(f, view, &from, &unreadable), "1 ", "kept fields need no vault");
    cr_expect_eq(unreadable, 0);
    cr_expect_str_eq(search(f, view, &body, &unreadable), "");
    cr_expect_eq(unreadable, 2);
    cr_expect_str_eq(search(f, view, &not_body, &unreadable), "1 2 3 4 ");
    cr_expect_str_eq(search(f, view, &trace, &unreadable), "");
    cr_expect_eq(unreadable, 2);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(search, it_survives_expunges_between_its_slices)
{
    struct fixture *f = corpus(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const struct mdsq_key text = KEY(TEXT, "e");
    struct mdsq_search *s = NULL;
    struct mdsq_set *set = NULL;
    int rc, slices = 0;

    cr_assert_eq(mdsq_search_new(view, &text, &s, &e), 0);
    cr_expect_eq(mdsq_search_take(s, &set, NULL, &e), MDSQ_ERR_USAGE, "not before its end");
    while ((rc = mdsq_search_run(s, f->reader, 0, &e)) > 0) {
        if (slices++ == 0)
            fixture_remove(f, "INBOX", 3);
        fixture_open(f);
    }
    cr_expect_eq(rc, 0);
    cr_expect_geq(slices, 3);
    cr_assert_eq(mdsq_search_take(s, &set, NULL, &e), 0);
    cr_expect(mdsq_set_has(set, 1) && mdsq_set_has(set, 2) && !mdsq_set_has(set, 3) && mdsq_set_has(set, 4));
    mdsq_set_free(&set);
    mdsq_search_free(&s);
    mdsq_view_close(&view);
    fixture_free(&f);
}

#include "fixture.h"

#include "mime/crlf.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

/* LF line ends; a multipart with text, base64, and an attached message that is a multipart itself. */
static const char nested[] = "From: Ann <ann@example.org>\n"
                             "Subject: =?utf-8?q?gr=C3=BCn?=\n"
                             "X-Odd: one\n"
                             "X-Odd: two\n"
                             " folded\n"
                             "MIME-Version: 1.0\n"
                             "Content-Type: multipart/mixed; boundary=b1\n"
                             "\n"
                             "preamble\n"
                             "--b1\n"
                             "Content-Type: text/plain; charset=utf-8\n"
                             "\n"
                             "hello\nworld\n"
                             "--b1\n"
                             "Content-Type: application/octet-stream\n"
                             "Content-Transfer-Encoding: base64\n"
                             "\n"
                             "AAECAwQ=\n"
                             "--b1\n"
                             "Content-Type: message/rfc822\n"
                             "\n"
                             "Subject: inner\n"
                             "X-Odd: three\n"
                             "Content-Type: multipart/alternative; boundary=b2\n"
                             "\n"
                             "--b2\n"
                             "\n"
                             "inner one\n"
                             "--b2\n"
                             "Content-Type: text/html\n"
                             "\n"
                             "<b>inner two</b>\n"
                             "--b2--\n"
                             "--b1--\n";

static struct mdsq_section section(enum mdsq_section_kind kind, const char *path)
{
    struct mdsq_section s = {.kind = kind};
    while (*path) {
        s.path[s.path_n++] = (uint32_t)strtoul(path, (char **)(uintptr_t)&path, 10);
        path += *path == '.';
    }
    return s;
}

static struct bytes as_crlf(struct bytes in)
{
    struct buf out = {0};
    bool last_cr = false;
    mime_crlf_convert(in, &last_cr, &out);
    const char *kept = textf("%.*s", (int)out.n, (const char *)out.p);
    const struct bytes b = bytes_of(kept, out.n);
    buf_release(&out);
    return b;
}

Test(body, each_section_is_what_rfc_3501_says)
{
    static const struct {
        enum mdsq_section_kind kind;
        const char *path;
        const char *expect; /* NULL: no such section */
    } rows[] = {
        {MDSQ_SECTION_ALL, "1", "hello\r\nworld"},
        {MDSQ_SECTION_MIME, "1", "Content-Type: text/plain; charset=utf-8\r\n\r\n"},
        {MDSQ_SECTION_ALL, "2", "AAECAwQ="},
        {MDSQ_SECTION_BINARY, "1", "hello\r\nworld"},
        {MDSQ_SECTION_HEADER, "3", "Subject: inner\r\nX-Odd: three\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n"},
        {MDSQ_SECTION_TEXT, "3", "--b2\r\n\r\ninner one\r\n--b2\r\nContent-Type: text/html\r\n\r\n<b>inner two</b>\r\n--b2--"},
        {MDSQ_SECTION_MIME, "3", "Content-Type: message/rfc822\r\n\r\n"},
        {MDSQ_SECTION_ALL, "3.1", "inner one"},
        {MDSQ_SECTION_MIME, "3.1", "\r\n"},
        {MDSQ_SECTION_ALL, "3.2", "<b>inner two</b>"},
        {MDSQ_SECTION_ALL, "4", NULL},
        {MDSQ_SECTION_ALL, "1.1", NULL},
        {MDSQ_SECTION_HEADER, "1", NULL},
        {MDSQ_SECTION_TEXT, "2", NULL},
        {MDSQ_SECTION_ALL, "3.3", NULL},
        {MDSQ_SECTION_MIME, "", NULL},
    };
    struct fixture *f = fixture_new(TEMP_DIR());
    const uint32_t uid = fixture_add(f, "INBOX", bytes_str(nested), NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    int rc;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct mdsq_section s = section(rows[i].kind, rows[i].path);
        const struct bytes got = fixture_body(f, view, uid, &s, &rc);

        cr_expect_eq(rc, rows[i].expect ? 0 : MDSQ_ERR_NOTFOUND, "%d %s: %d", rows[i].kind, rows[i].path, rc);
        if (rows[i].expect && rc == 0)
            cr_expect(bytes_equal(got, bytes_str(rows[i].expect)), "%d %s: %.*s", rows[i].kind, rows[i].path, (int)got.n,
                      (const char *)got.p);
    }
    struct mdsq_section s = section(MDSQ_SECTION_ALL, "");
    cr_expect(bytes_equal(fixture_body(f, view, uid, &s, &rc), as_crlf(bytes_str(nested))));
    const struct bytes header = bytes_of(nested, (size_t)(strstr(nested, "\n\n") + 2 - nested));
    s = section(MDSQ_SECTION_HEADER, "");
    cr_expect(bytes_equal(fixture_body(f, view, uid, &s, &rc), as_crlf(header)));
    s = section(MDSQ_SECTION_TEXT, "");
    cr_expect(bytes_equal(fixture_body(f, view, uid, &s, &rc), as_crlf(bytes_str(nested + header.n))));
    s = section(MDSQ_SECTION_BINARY, "2");
    cr_expect(bytes_equal(fixture_body(f, view, uid, &s, &rc), bytes_of("\0\1\2\3\4", 5)));
    mdsq_view_close(&view);
    fixture_free(&f);
}

static const char *fields_of(struct fixture *f, struct mdsq_view *view, uint32_t uid, enum mdsq_section_kind kind,
                             const char *path, const char *names)
{
    struct mdsq_bytes list[8];
    struct mdsq_section s = section(kind, path);
    int rc;

    s.fields = list;
    for (const char *n = names; *n; n += strcspn(n, " "), n += *n == ' ')
        list[s.fields_n++] = (struct mdsq_bytes){(const uint8_t *)n, strcspn(n, " ")};
    const struct bytes got = fixture_body(f, view, uid, &s, &rc);
    return rc < 0 ? textf("error %d", rc) : textf("%.*s", (int)got.n, (const char *)got.p);
}

Test(body, header_fields_come_in_message_order_with_a_blank_line)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const uint32_t uid = fixture_add(f, "INBOX", bytes_str(nested), NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const enum mdsq_section_kind with = MDSQ_SECTION_HEADER_FIELDS, without = MDSQ_SECTION_HEADER_FIELDS_NOT;

    cr_expect_str_eq(fields_of(f, view, uid, with, "", "SUBJECT from"),
                     "From: Ann <ann@example.org>\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, with, "", "x-odd"), "X-Odd: one\r\nX-Odd: two\r\n folded\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, with, "", "X-None"), "\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, with, "", "Bcc"), "\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, without, "", "from x-odd mime-version content-type"),
                     "Subject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, with, "3", "x-odd"), "X-Odd: three\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, without, "3", "content-type x-odd"), "Subject: inner\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, uid, with, "1", "subject"), "error -3");
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(body, kept_fields_need_no_vault)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const uint32_t some = fixture_add(f, "INBOX", bytes_str(nested), NULL);
    remove_tree(path_join(f->vault_dir, f->last_file));
    const uint32_t whole = fixture_add(f, "INBOX", bytes_str(textf("%s-", nested)), &(struct filing){.all_headers = true});
    remove_tree(path_join(f->vault_dir, f->last_file));
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const enum mdsq_section_kind with = MDSQ_SECTION_HEADER_FIELDS, without = MDSQ_SECTION_HEADER_FIELDS_NOT;

    cr_expect_str_eq(fields_of(f, view, some, with, "", "subject bcc"), "Subject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, some, with, "", "subject x-odd"), "error -12", "not all of them are kept");
    cr_expect_str_eq(fields_of(f, view, some, without, "", "subject"), "error -12");
    cr_expect_str_eq(fields_of(f, view, whole, with, "", "x-odd"), "X-Odd: one\r\nX-Odd: two\r\n folded\r\n\r\n");
    cr_expect_str_eq(fields_of(f, view, whole, without, "", "from x-odd mime-version content-type"),
                     "Subject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n");
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(body, odd_messages)
{
    static const struct {
        const char *name;
        struct bytes raw;
        const char *all, *header, *text, *one, *subject;
    } rows[] = {
#define RAW(s) {(const uint8_t *)s, sizeof(s) - 1}
        {"empty", RAW(""), "", "", "", "", ""},
        {"header only", RAW("Subject: x"), "Subject: x", "Subject: x", "", "", "Subject: x"},
        {"header with its line end", RAW("Subject: x\n"), "Subject: x\r\n", "Subject: x\r\n", "", "", "Subject: x\r\n"},
        {"header and blank line", RAW("Subject: x\n\n"), "Subject: x\r\n\r\n", "Subject: x\r\n\r\n", "", "",
         "Subject: x\r\n\r\n"},
        {"plain", RAW("Subject: x\r\n\r\nab\ncd"), "Subject: x\r\n\r\nab\r\ncd", "Subject: x\r\n\r\n", "ab\r\ncd", "ab\r\ncd",
         "Subject: x\r\n\r\n"},
        {"nul and bare cr", RAW("Subject: x\r\n\r\na\0b\rc\n"), "Subject: x\r\n\r\na\x80" "b\rc\r\n", "Subject: x\r\n\r\n",
         "a\x80" "b\rc\r\n", "a\x80" "b\rc\r\n", "Subject: x\r\n\r\n"},
#undef RAW
    };
    struct fixture *f = fixture_new(TEMP_DIR());
    uint32_t uids[sizeof rows / sizeof rows[0]];
    int rc;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        uids[i] = fixture_add(f, "INBOX", rows[i].raw, NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct { enum mdsq_section_kind kind; const char *path, *expect; } sections[] = {
            {MDSQ_SECTION_ALL, "", rows[i].all}, {MDSQ_SECTION_HEADER, "", rows[i].header},
            {MDSQ_SECTION_TEXT, "", rows[i].text}, {MDSQ_SECTION_ALL, "1", rows[i].one},
        };
        for (size_t k = 0; k < 4; k++) {
            const struct mdsq_section s = section(sections[k].kind, sections[k].path);
            const struct bytes got = fixture_body(f, view, uids[i], &s, &rc);
            cr_expect(rc == 0 && bytes_equal(got, bytes_str(sections[k].expect)), "%s, section %zu: %d \"%.*s\"", rows[i].name, k, rc,
                      (int)got.n, (const char *)got.p);
        }
        cr_expect_str_eq(fields_of(f, view, uids[i], MDSQ_SECTION_HEADER_FIELDS, "", "Subject"), rows[i].subject, "%s", rows[i].name);
    }
    const struct mdsq_section binary = section(MDSQ_SECTION_BINARY, "");
    const struct bytes raw = fixture_body(f, view, uids[5], &binary, &rc);
    cr_expect(rc == 0 && raw.n == 21 && raw.p[15] == 0, "BINARY[] gives the NUL back");
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(body, an_item_that_changed_is_gone)
{
    static const struct { const char *name; bool large; const char *replace; } rows[] = {
        {"removed", false, NULL}, {"longer", false, "Subject: x\n\nlonger than it was before\n"},
        {"same size", false, "Subject: y\n\nbody\n"}, {"large and shorter", true, "Subject: x\n\n"},
    };
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_section s = section(MDSQ_SECTION_ALL, "");

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf raw = {0};
        int rc;

        buf_append_str(&raw, "Subject: x\n\nbody\n");
        if (i)
            buf_printf(&raw, "%zu", i); /* distinct items */
        if (strcmp(rows[i].name, "same size") == 0)
            raw.n--;
        for (int k = 0; rows[i].large && k < 40000; k++)
            buf_append_str(&raw, "0123456789\n");
        const uint32_t uid = fixture_add(f, "INBOX", buf_bytes(&raw), NULL);
        struct mdsq_view *view = fixture_view(f, "INBOX");
        const char *path = path_join(f->vault_dir, f->last_file);

        (void)fixture_body(f, view, uid, &s, &rc);
        cr_expect_eq(rc, 0, "%s", rows[i].name);
        remove_tree(path);
        if (rows[i].replace)
            write_text(path, rows[i].replace);
        (void)fixture_body(f, view, uid, &s, &rc);
        cr_expect_eq(rc, MDSQ_ERR_GONE, "%s: %d", rows[i].name, rc);
        buf_release(&raw);
        mdsq_view_close(&view);
    }
    fixture_free(&f);
}

/* Sizes of an mbox item are the locator's own: only its bytes show that another program rewrote the file. */
Test(body, an_mbox_that_was_rewritten_is_noticed)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const struct mdsq_section s = section(MDSQ_SECTION_ALL, "");
    struct buf large = {0};
    int rc;

    buf_append_str(&large, "Subject: large\n\n");
    while (large.n < 400000)
        buf_append_str(&large, "0123456789\n");
    const uint32_t uids[] = {fixture_add(f, "INBOX", BYTES_LIT("Subject: small\n\nbody\n"), &(struct filing){.in_mbox = true}),
                             fixture_add(f, "INBOX", buf_bytes(&large), &(struct filing){.in_mbox = true})};
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const char *path = path_join(f->vault_dir, "box");

    for (int again = 0; again < 2; again++) { /* the second time the pass over the large one is remembered */
        cr_expect_eq(fixture_body(f, view, uids[0], &s, &rc).n, 24, "%d", rc);
        cr_expect_eq(fixture_body(f, view, uids[1], &s, &rc).n, large.n + 2 + (large.n - 16) / 11, "%d", rc);
    }
    const struct bytes box = read_file(path);
    uint8_t *other = malloc(box.n);
    for (size_t i = 0; i < box.n; i++) /* as long as before */
        other[i] = box.p[i] == '5' || box.p[i] == 'o' ? 'x' : box.p[i];
    write_file(path, bytes_of(other, box.n));
    set_mtime(path, 1000);
    for (int i = 0; i < 2; i++) {
        (void)fixture_body(f, view, uids[i], &s, &rc);
        cr_expect_eq(rc, MDSQ_ERR_GONE, "%d: %d", i, rc);
    }
    free(other);
    buf_release(&large);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(body, a_large_part_streams_from_any_offset)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct rng rng = rng_of(7);
    struct buf raw = {0}, client = {0}, got = {0};
    bool last_cr = false;

    buf_append_str(&raw, "Subject: big\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n");
    const size_t base = raw.n;
    while (raw.n < 700000) {
        for (uint64_t n = rng_below(&rng, 200); n > 0; n--)
            buf_append_byte(&raw, (uint8_t)('a' + rng_below(&rng, 26)));
        if (rng_once_in(&rng, 50))
            buf_append_byte(&raw, 0);
        buf_append_str(&raw, rng_once_in(&rng, 3) ? "\r\n" : "\n");
    }
    const size_t end = raw.n;
    buf_append_str(&raw, "\n--b--\n");
    mime_crlf_convert(bytes_slice(buf_bytes(&raw), base, end - base), &last_cr, &client);

    const uint32_t uid = fixture_add(f, "INBOX", buf_bytes(&raw), NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const struct mdsq_section s = section(MDSQ_SECTION_ALL, "1");
    struct mdsq_body *body = NULL;

    cr_assert_eq(mdsq_body_open(f->reader, view, uid, &s, &body, &e), 0, "%s", e.text);
    cr_expect_eq(mdsq_body_size(body), client.n);
    mdsq_reader_end(&f->reader); /* a body lives without it */
    for (int i = 0; i < 300; i++) {
        const size_t off = (size_t)(i < 10 ? client.n - (size_t)i : rng_below(&rng, client.n + 100));
        const size_t n = (size_t)rng_below(&rng, 150000);
        const struct bytes expect = bytes_slice(buf_bytes(&client), off, n);
        size_t n_got = 0;

        buf_reset(&got);
        cr_assert_eq(mdsq_body_read(body, off, buf_reserve(&got, n + 1), n, &n_got, &e), 0, "%s", e.text);
        cr_assert(bytes_equal(bytes_of(got.p, n_got), expect), "at %zu, %zu bytes", off, n);
    }
    mdsq_body_close(&body);
    mdsq_view_close(&view);
    buf_release(&raw);
    buf_release(&client);
    buf_release(&got);
    fixture_free(&f);
}

Test(body, an_expunged_message_is_gone)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const uint32_t uid = fixture_add(f, "INBOX", BYTES_LIT("a: b\n\nc\n"), NULL);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    const struct mdsq_section s = section(MDSQ_SECTION_ALL, "");
    int rc;

    fixture_remove(f, "INBOX", uid);
    fixture_open(f);
    (void)fixture_body(f, view, uid, &s, &rc);
    cr_expect_eq(rc, MDSQ_ERR_GONE);
    mdsq_view_close(&view);
    fixture_free(&f);
}

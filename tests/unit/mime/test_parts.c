#include "unit_mime.h"

static const char nested[] =
    "Subject: s\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: text/plain\n\none\n--o\n"
    "Content-Type: message/rfc822\nX: mime\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nin "
    "one\n--i\n\n"
    "in two\n--i--\n--o\nContent-Type: message/rfc822\n\nSubject: leaf\n\nleaf body\n--o--\n";

struct section {
    const char *path;
    enum mime_section_part what;
    const char *want; /* NULL: no such section */
};

static const struct section sections[] = {
    {"", MIME_SECTION_HEADER, "Subject: s\nContent-Type: multipart/mixed; boundary=o\n\n"},
    {"", MIME_SECTION_MIME, NULL},
    {"1", MIME_SECTION_ALL, "one"},
    {"1", MIME_SECTION_MIME, "Content-Type: text/plain\n\n"},
    {"1", MIME_SECTION_HEADER, NULL},
    {"1", MIME_SECTION_TEXT, NULL},
    {"1.1", MIME_SECTION_ALL, NULL},
    {"2", MIME_SECTION_MIME, "Content-Type: message/rfc822\nX: mime\n\n"},
    {"2", MIME_SECTION_HEADER, "Subject: inner\nContent-Type: multipart/mixed; boundary=i\n\n"},
    {"2", MIME_SECTION_TEXT, "--i\n\nin one\n--i\n\nin two\n--i--"},
    {"2.1", MIME_SECTION_ALL, "in one"},
    {"2.2", MIME_SECTION_ALL, "in two"},
    {"2.2", MIME_SECTION_MIME, "\n"},
    {"2.3", MIME_SECTION_ALL, NULL},
    {"2.0", MIME_SECTION_ALL, NULL},
    {"3", MIME_SECTION_ALL, "Subject: leaf\n\nleaf body"},
    {"3.1", MIME_SECTION_ALL, "leaf body"},
    {"3.1", MIME_SECTION_MIME, "Subject: leaf\n\n"},
    {"3.1.1", MIME_SECTION_ALL, NULL},
    {"3.2", MIME_SECTION_ALL, NULL},
    {"4", MIME_SECTION_ALL, NULL},
};

static uint32_t path_parse(const char *text, uint32_t path[8])
{
    uint32_t n = 0;
    while (*text) {
        char *end;
        path[n++] = (uint32_t)strtoul(text, &end, 10);
        text = *end ? end + 1 : end;
    }
    return n;
}

static void sections_check(struct bytes item, const struct section *rows, size_t n_rows)
{
    const struct mime_record r = unit_parse(item);
    struct mime_parts t;
    cr_assert_eq(mime_parts_decode(r.parts, item.n, &t, NULL), BASE_OK);
    for (size_t i = 0; i < n_rows; i++) {
        uint32_t path[8];
        const uint32_t n = path_parse(rows[i].path, path);
        uint64_t off = 0, len = 0, crlf = 0;
        const struct mime_part *part;
        const int rc = mime_parts_resolve(&t, path, n, rows[i].what, &off, &len, &crlf, &part);
        if (!rows[i].want) {
            cr_expect_eq(rc, BASE_ERR_NOTFOUND, "%s/%d is there", rows[i].path, rows[i].what);
            continue;
        }
        cr_assert_eq(rc, BASE_OK, "%s/%d is not there", rows[i].path, rows[i].what);
        const struct bytes got = bytes_slice(item, (size_t)off, (size_t)len);
        cr_expect(bytes_equal(got, bytes_str(rows[i].want)), "%s/%d: %s", rows[i].path, rows[i].what, unit_text(got));
        cr_expect_eq(crlf, len + mime_count(got, 0).lone_lf, "%s/%d: client bytes", rows[i].path, rows[i].what);
    }
    mime_parts_release(&t);
}

Test(parts, sections)
{
    sections_check(bytes_str(nested), sections, sizeof(sections) / sizeof(sections[0]));
}

Test(parts, sections_of_a_plain_message)
{
    static const struct section rows[] = {
        {"1", MIME_SECTION_ALL, "body\n"}, {"1", MIME_SECTION_MIME, "Subject: s\n\n"},
        {"", MIME_SECTION_TEXT, "body\n"}, {"2", MIME_SECTION_ALL, NULL},
        {"1.1", MIME_SECTION_ALL, NULL},
    };
    sections_check(BYTES_LIT("Subject: s\n\nbody\n"), rows, sizeof(rows) / sizeof(rows[0]));
}

Test(parts, sections_of_a_message_that_is_a_message)
{
    static const struct section rows[] = {
        {"1", MIME_SECTION_ALL, "Subject: i\n\nbody\n"},
        {"1", MIME_SECTION_HEADER, "Subject: i\n\n"},
        {"1.1", MIME_SECTION_ALL, "body\n"},
        {"1", MIME_SECTION_TEXT, "body\n"},
    };
    sections_check(BYTES_LIT("Content-Type: message/rfc822\n\nSubject: i\n\nbody\n"), rows,
                   sizeof(rows) / sizeof(rows[0]));
}

/* Every prefix of every fixture-like item, and each with CRLF: all must hold, and nothing may be read behind the end.
 */
Test(parts, any_prefix_gives_a_record)
{
    struct buf crlf = {0};
    bool cr = false;
    mime_crlf_convert(bytes_str(nested), &cr, &crlf);
    const struct bytes items[] = {bytes_str(nested), buf_bytes(&crlf)};
    for (size_t k = 0; k < 2; k++) {
        for (size_t n = 0; n <= items[k].n; n++) {
            uint8_t *copy = malloc(n ? n : 1); /* so that ASan sees a byte too far */
            memcpy(copy, items[k].p, n);
            unit_parse(bytes_of(copy, n));
            free(copy);
        }
    }
    buf_release(&crlf);
}

Test(parts, client_sizes_do_not_depend_on_line_ends)
{
    struct buf crlf = {0}, lf_structure = {0};
    bool cr = false;
    mime_crlf_convert(bytes_str(nested), &cr, &crlf);
    struct mime_record r = unit_parse(bytes_str(nested));
    buf_append_bytes(&lf_structure, r.bodystructure);
    const uint64_t size = r.size_crlf;
    r = unit_parse(buf_bytes(&crlf));
    cr_expect_eq(r.size_crlf, size);
    cr_expect(bytes_equal(r.bodystructure, buf_bytes(&lf_structure)), "%s", unit_text(r.bodystructure));
    buf_release(&crlf);
    buf_release(&lf_structure);
}

Test(parts, any_changed_byte_of_a_table_is_refused_or_sane)
{
    const struct mime_record r = unit_parse(bytes_str(nested));
    struct buf copy = {0};
    unsigned refused = 0;
    for (size_t i = 0; i < r.parts.n; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf_reset(&copy);
            buf_append_bytes(&copy, r.parts);
            copy.p[i] ^= (uint8_t)(1u << bit);
            struct mime_parts t;
            if (mime_parts_decode(buf_bytes(&copy), sizeof(nested) - 1, &t, NULL) != BASE_OK) {
                refused++;
                continue;
            }
            for (uint32_t k = 0; k < t.n; k++)
                cr_expect(t.v[k].body_off + t.v[k].body_len <= sizeof(nested) - 1 && t.v[k].next <= t.n);
            mime_parts_release(&t);
        }
    }
    cr_expect_gt(refused, r.parts.n * 2, "%u refused of %zu", refused, r.parts.n * 8);
    buf_release(&copy);
}

Test(parts, record_refuses_what_is_cut)
{
    const struct mime_record r = unit_parse(bytes_str(nested));
    struct buf out = {0};
    struct mime_record back;
    mime_record_encode(&r, &out);
    for (size_t n = 0; n < out.n; n++)
        cr_expect_eq(mime_record_decode(bytes_of(out.p, n), &back, NULL), BASE_ERR_CORRUPT, "cut at %zu", n);
    cr_expect_eq(mime_record_decode(buf_bytes(&out), &back, NULL), BASE_OK);
    cr_expect(bytes_equal(back.envelope, r.envelope));
    buf_release(&out);
}

Test(parts, header_next_skips_what_is_no_field)
{
    const struct bytes block = BYTES_LIT("From x\nA: 1\n 2\njunk\nB : 3\r\n: no name\nC:\n");
    size_t pos = 0;
    struct bytes name, value, field;
    struct buf seen = {0};
    while (mime_header_next(block, &pos, &name, &value, &field))
        buf_printf(&seen, "[%.*s|%s|%zu]", (int)name.n, (const char *)name.p, unit_text(value), field.n);
    cr_expect_str_eq(unit_text(buf_bytes(&seen)), "[A| 1\\x0a 2|8][B| 3|7][C||3]");
    buf_release(&seen);
}

Test(parts, kept_headers)
{
    static const char *const names[] = {"x-b", "subject", NULL};
    struct mime_parser *p = mime_parser_new(&(struct mime_settings){.headers = names});
    struct mime_record r;
    mime_parse(p, BYTES_LIT("X-A: 1\nSUBJECT: s\n t\nX-B: 2\nX-b: 3\n\nbody"), &r);
    cr_expect_str_eq(unit_text(r.headers), "SUBJECT: s\\x0a t\\x0aX-B: 2\\x0aX-b: 3\\x0a");
    cr_expect_not(r.headers_complete);
    mime_parser_free(&p);
    p = mime_parser_new(&(struct mime_settings){.all_headers = true});
    mime_parse(p, BYTES_LIT("X-A: 1\r\nX-B: 2\r\n\r\nbody"), &r);
    cr_expect_str_eq(unit_text(r.headers), "X-A: 1\\x0d\\x0aX-B: 2\\x0d\\x0a");
    cr_expect(r.headers_complete);
    mime_parser_free(&p);
}

Test(parts, body_refuses_nonsense)
{
    static const char *const bad[] = {
        "", "(", "()", "(\"TEXT\")", "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1)", "((", "({9}\r\nx)"};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(mime_body_from_bodystructure(bytes_str(bad[i]), &out, NULL), BASE_ERR_CORRUPT, "%s", bad[i]);
        cr_expect_eq(out.n, 0);
    }
    buf_release(&out);
}

/* The reader that judges us must itself refuse what is wrong. */
Test(parts, the_grammar_refuses_nonsense)
{
    static const char *const envelopes[] = {"(NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
                                            "(NIL NIL () NIL NIL NIL NIL NIL NIL NIL)",
                                            "(\"a\nb\" NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
                                            "(\"\xc3\" NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
                                            "({3}\r\nab NIL)",
                                            "(NIL NIL ((NIL NIL \"a\")) NIL NIL NIL NIL NIL NIL NIL)"};
    static const char *const bodies[] = {"(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)",
                                         "(\"TEXT\" \"PLAIN\" () NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)",
                                         "(\"TEXT\" \"PLAIN\" (\"A\") NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)",
                                         "(\"X\" \"Y\" NIL NIL NIL NIL 1 NIL NIL NIL NIL)",
                                         "( \"MIXED\" NIL NIL NIL NIL)",
                                         "(\"X\" \"Y\" NIL NIL NIL \"7BIT\" 9223372036854775808 NIL NIL NIL NIL)"};
    for (size_t i = 0; i < sizeof(envelopes) / sizeof(envelopes[0]); i++) {
        struct bytes v = bytes_str(envelopes[i]);
        struct imap_grammar g = {v.p, v.p + v.n, NULL};
        cr_expect_not(imap_grammar_envelope(&g) && g.p == g.end, "%s", envelopes[i]);
    }
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct bytes v = bytes_str(bodies[i]);
        struct imap_grammar g = {v.p, v.p + v.n, NULL};
        cr_expect_not(imap_grammar_body(&g, true) && g.p == g.end, "%s", bodies[i]);
    }
}

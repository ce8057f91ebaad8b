/*
 * Hostile sizes: limits are met where they should, nothing is quadratic and
 * nothing recurses without a bound. Each item is a pattern that costs a naive
 * parser the square of its length; the CPU time of all of them is bounded far
 * below that (they take some 10 ms each without sanitizers).
 */
#include "unit_mime.h"

#define ITEM_MAX_S 4.0

static void repeat(struct buf *b, const char *text, size_t n)
{
    const size_t length = strlen(text);
    for (size_t i = 0; i < n; i++)
        buf_append(b, text, length);
}

static struct mime_record hostile_to(struct mime_parser *p, const char *name, const struct buf *item)
{
    struct mime_record r;
    const double start = unit_cpu_s();
    mime_parse(p, buf_bytes(item), &r);
    const double took = unit_cpu_s() - start;
    const char *bad = mime_check_wire(&r);
    struct mime_parts t;
    cr_expect(!bad, "%s: %s", name, bad);
    cr_expect_eq(mime_parts_decode(r.parts, item->n, &t, NULL), BASE_OK, "%s: parts", name);
    mime_parts_release(&t);
    cr_expect_lt(took, ITEM_MAX_S, "%s: %zu bytes took %.2f s", name, item->n, took);
    return r;
}

/* Parses by both, checks what is sent, and the time; gives the scanner's record. */
static struct mime_record hostile(const char *name, const struct buf *item)
{
    hostile_to(unit_gmime_parser(), name, item);
    return hostile_to(unit_parser(), name, item);
}

struct pattern {
    const char *name, *head, *unit, *tail;
    size_t times;
    uint64_t defect;
};

static const struct pattern patterns[] = {
    {"100,000 parts", "Content-Type: multipart/mixed; boundary=b\n\n", "--b\n\nx\n", "--b--\n", 100000,
     MIME_DEFECT(TOO_MANY_PARTS)},
    {"boundary lines only", "Content-Type: multipart/mixed; boundary=b\n\n", "--b\n", "", 500000,
     MIME_DEFECT(TOO_MANY_PARTS)},
    {"dashes only", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n", "--\n", "", 1000000, 0},
    {"almost a boundary", "Content-Type: multipart/mixed; boundary=bbbbbbbbbbbbbbbbb\n\n--bbbbbbbbbbbbbbbbb\n\n",
     "--bbbbbbbbbbbbbbbb\n", "", 200000, 0},
    {"100,000 messages in messages", "", "Content-Type: message/rfc822\n\n", "x", 100000, MIME_DEFECT(TOO_DEEP)},
    {"100,000 fields", "", "X-Field: some value\n", "\nx", 100000, MIME_DEFECT(HEADER_TOO_LONG)},
    {"100,000 fields of one name", "", "To: a@b\n", "\nx", 100000, MIME_DEFECT(DUPLICATE_HEADER)},
    {"100,000 Received fields", "", "Received: a; no date\n", "\nx", 40000, 0},
    {"10 MB line", "Subject: ", "xxxxxxxxxxxxxxxx", "\n\nx", 655360, MIME_DEFECT(HEADER_TOO_LONG)},
    {"10 MB of folds", "Subject: x\n", " x\n", "\nx", 3000000, MIME_DEFECT(HEADER_TOO_LONG)},
    {"10 MB name", "", "xxxxxxxxxxxxxxxx", ": y\n\nx", 655360, 0},
    {"80,000 recipients", "To: x@y", ", abc@de", "\n\nx", 80000, MIME_DEFECT(TOO_MANY_ADDRESSES)},
    {"words and commas", "To: ", "a b, ", "\n\nx", 200000, 0},
    {"words, commas, then angle", "To: ", "a, ", "<x@y>\n\nx", 9000, 0},
    {"groups in groups", "To: ", "a:", "\n\nx", 500000, 0},
    {"open comments", "To: ", "(a,", "\n\nx", 300000, 0},
    {"open quotes", "To: ", "\"a,\\", "\n\nx", 250000, 0},
    {"open literals", "To: a@", "[@", "\n\nx", 500000, 0},
    {"open angles", "To: ", "<@a,", "\n\nx", 250000, 0},
    {"routes", "To: ", "<@a:", "\n\nx", 250000, 0},
    {"encoded words", "Subject: ", "=?utf-8?q?a?= ", "\n\nx", 70000, 0},
    {"encoded words of unknown charsets", "Subject: ", "=?nowhere?q?a?= x ", "\n\nx", 50000,
     MIME_DEFECT(BAD_ENCODED_WORD)},
    {"encoded words of rare charsets", "Subject: ", "=?koi8-u?q?a?= x ", "\n\nx", 50000, 0},
    {"begun words", "Subject: ", "=?", "\n\nx", 500000, 0},
    {"begun words with parts", "Subject: ", "=?a?q?", "\n\nx", 160000, 0},
    {"blobs", "Subject: ", "[a]", "\n\nx", 340000, 0},
    {"replies", "Subject: ", "re:", "\n\nx", 340000, 0},
    {"blobs and replies", "Subject: ", "[a]re:", "\n\nx", 170000, 0},
    {"forwards", "Subject: ", "[fwd:", "\n\nx", 200000, 0},
    {"references", "References: ", "<a@b> ", "\n\nx", 170000, 0},
    {"begun references", "References: ", "<", "\n\nx", 1000000, 0},
    {"parameters", "Content-Type: text/plain", "; a=b", "\n\nx", 200000, 0},
    {"pieces of a boundary", "Content-Type: multipart/mixed", "; boundary*0*=b", "\n\nx", 70000, 0},
    {"escapes in a boundary", "Content-Type: multipart/mixed; boundary=\"", "\\b", "\"\n\nx", 500000, 0},
    {"comments in a type", "Content-Type: text/plain ", "(", "\n\nx", 1000000, 0},
    {"languages", "Content-Language: ", "de, ", "\n\nx", 250000, 0},
    {"html tags", "Content-Type: text/html\n\n", "<", "", 3000000, 0},
    {"html comments", "Content-Type: text/html\n\n", "<!--", "", 1000000, 0},
    {"qp breaks", "Content-Transfer-Encoding: quoted-printable\n\n", "= ", "", 2000000, 0},
    {"base64 pads", "Content-Transfer-Encoding: base64\n\n", "=", "", 3000000, MIME_DEFECT(BAD_BASE64)},
    {"uu begins", "Content-Transfer-Encoding: x-uuencode\n\n", "begin 644 x\n", "", 200000, 0},
    {"From lines", "", "From x\n", "\nx", 500000, MIME_DEFECT(MBOX_FROM)},
};

static void pattern_run(const struct pattern *p)
{
    struct buf item = {0};
    buf_append_str(&item, p->head);
    repeat(&item, p->unit, p->times);
    buf_append_str(&item, p->tail);
    const struct mime_record r = hostile(p->name, &item);
    cr_expect_eq(r.defects & p->defect, p->defect, "%s: defects %llx", p->name, (unsigned long long)r.defects);
    buf_release(&item);
}

Test(limits, patterns)
{
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        pattern_run(&patterns[i]);
}

Test(limits, nesting_of_multiparts)
{
    struct buf item = {0};
    for (int i = 0; i < 100000; i++)
        buf_printf(&item, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
    for (int i = 99999; i >= 0; i--)
        buf_printf(&item, "--b%d--\n", i);
    const struct mime_record r = hostile("100,000 levels", &item);
    cr_expect(r.defects & MIME_DEFECT(TOO_DEEP));
    buf_release(&item);
}

/* A hundred open multiparts with one boundary, and a long text of lines that look like others. */
Test(limits, boundaries_that_repeat)
{
    struct buf item = {0};
    repeat(&item, "Content-Type: multipart/mixed; boundary=bb\n\n--bb\n", 99);
    repeat(&item, "\n", 1);
    repeat(&item, "--bx\n", 300000);
    repeat(&item, "--bb--\n", 99);
    const struct mime_record r = hostile("one boundary, 99 times", &item);
    cr_expect_not(r.defects & MIME_DEFECT(UNCLOSED_BOUNDARY));
    buf_release(&item);
}

Test(limits, at_the_limit_and_one_past_it)
{
    const struct mime_settings settings = {.max_parts = 4, .max_depth = 2, .max_addresses = 2, .max_header_bytes = 64};
    struct mime_parser *p = mime_parser_new(&settings);
    static const struct {
        const char *name, *item;
        uint64_t defect;
        bool met;
    } rows[] = {
        {"parts, at", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n",
         MIME_DEFECT(TOO_MANY_PARTS), false},
        {"parts, past", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b\n\n4\n--b--\n",
         MIME_DEFECT(TOO_MANY_PARTS), true},
        {"depth, at", "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nx\n", MIME_DEFECT(TOO_DEEP),
         false},
        {"depth, past",
         "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nx\n",
         MIME_DEFECT(TOO_DEEP), true},
        {"addresses, at", "To: a@b, c@d\n\n", MIME_DEFECT(TOO_MANY_ADDRESSES), false},
        {"addresses, past", "To: a@b, c@d, e@f\n\n", MIME_DEFECT(TOO_MANY_ADDRESSES), true},
        {"header, at", "Subject: 34567890123456789012345678901234567890123456789012345\n\nx",
         MIME_DEFECT(HEADER_TOO_LONG), false},
        {"header, past", "Subject: 345678901234567890123456789012345678901234567890123456\n\nx",
         MIME_DEFECT(HEADER_TOO_LONG), true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mime_record r;
        mime_parse(p, bytes_str(rows[i].item), &r);
        const char *bad = mime_check_record(bytes_str(rows[i].item), &r);
        cr_expect(!bad, "%s: %s", rows[i].name, bad);
        cr_expect_eq((r.defects & rows[i].defect) != 0, rows[i].met, "%s: %llx", rows[i].name,
                     (unsigned long long)r.defects);
    }
    mime_parser_free(&p);
}

/* Random mail from fragments that matter, with limits that are met. */
Test(limits, random_structures_hold)
{
    static const char *const fragments[] = {
        "Content-Type: multipart/mixed; boundary=b\n",
        "Content-Type: multipart/digest; boundary=\"b b\"\n",
        "Content-Type: message/rfc822\n",
        "Content-Type: text/html; charset=koi8-r\n",
        "Content-Transfer-Encoding: base64\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "\n",
        "\r\n",
        "--b\n",
        "--b--\n",
        "--b b\r\n",
        "--b b--\n",
        "text\n",
        "QUJD\n",
        "=C3=A4=\n",
        "From: a@b\n",
        "From x\n",
        " fold\n",
        "--",
        "\r",
        "b",
        "Subject: =?utf-8?q?x?=\r\n",
    };
    struct mime_parser *small =
        mime_parser_new(&(struct mime_settings){.max_parts = 6, .max_depth = 3, .max_header_bytes = 100});
    struct rng rng = rng_of(23);
    struct buf item = {0};
    for (int round = 0; round < 8000; round++) {
        buf_reset(&item);
        for (uint64_t n = rng_below(&rng, 25); n; n--)
            buf_append_str(&item, fragments[rng_below(&rng, sizeof(fragments) / sizeof(fragments[0]))]);
        unit_parse(buf_bytes(&item));
        struct mime_record r;
        mime_parse(small, buf_bytes(&item), &r);
        const char *bad = mime_check_record(buf_bytes(&item), &r);
        cr_expect(!bad, "round %d: %s: %s", round, bad, unit_text(buf_bytes(&item)));
    }
    buf_release(&item);
    mime_parser_free(&small);
}

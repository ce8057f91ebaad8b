#include "unit_mime.h"

struct address_case {
    const char *name, *value, *wire;
    bool bad;
};

static const struct address_case cases[] = {
    {"bare", "a@b.c", "((NIL NIL \"a\" \"b.c\"))", false},
    {"angle", "A B <a@b>", "((\"A B\" NIL \"a\" \"b\"))", false},
    {"quoted name", "\"B, \\\"A\\\"\" <a@b>", "((\"B, \\\"A\\\"\" NIL \"a\" \"b\"))", false},
    {"comment as name", "a@b (Old \\(x\\) Style)", "((\"Old (x) Style\" NIL \"a\" \"b\"))", false},
    {"two", "a@b, <c@d>", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))", false},
    {"commas without address", ", a@b,, ,c@d,", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))", false},
    {"group", "g:a@b,c@d;", "((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")(NIL NIL NIL NIL))", false},
    {"empty group", "undisclosed-recipients:;", "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL))", false},
    {"open group", "g: a@b", "((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))", true},
    {"group in group", "g: h: a@b;", "((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))", true},
    {"route", "X <@r,@s:a@b>", "((\"X\" \"@r,@s\" \"a\" \"b\"))", false},
    {"encoded word stays", "=?utf-8?q?=C3=A4?= <a@b>", "((\"=?utf-8?q?=C3=A4?=\" NIL \"a\" \"b\"))", false},
    {"8-bit name", "\xc3\xa4 <a@b>", "(({2}\\x0d\\x0a\\xc3\\xa4 NIL \"a\" \"b\"))", false},
    {"comma without quotes", "Last, First <a@b>", "((\"Last, First\" NIL \"a\" \"b\"))", true},
    {"word, then address", "root, a@b", "((NIL NIL \"root\" \"\")(NIL NIL \"a\" \"b\"))", true},
    {"word alone", "root", "((NIL NIL \"root\" \"\"))", true},
    {"words alone", "Mail Delivery System", "((\"Mail Delivery System\" NIL \"\" \"\"))", true},
    {"address as name", "a@b <a@b>", "((\"a@b\" NIL \"a\" \"b\"))", false},
    {"quoted local part", "\"a b\"@c", "((NIL NIL \"a b\" \"c\"))", false},
    {"blanks inside", "a . b @ c . d", "((NIL NIL \"a.b\" \"c.d\"))", false},
    {"domain literal", "a@[1.2.3.4], b@[IPv6:1::2]", "((NIL NIL \"a\" \"[1.2.3.4]\")(NIL NIL \"b\" \"[IPv6:1::2]\"))",
     false},
    {"two at signs", "a@b@c", "((NIL NIL \"a@b\" \"c\"))", true},
    {"specials without quotes", "a[at]b@c, d@e]", "((NIL NIL \"a[at]b\" \"c\")(NIL NIL \"d\" \"e]\"))", true},
    {"dots in a row", "a..b@c, .d@e, f.@g", "((NIL NIL \"a..b\" \"c\")(NIL NIL \".d\" \"e\")(NIL NIL \"f.\" \"g\"))", true},
    {"words without a dot", "<a b@c>", "((NIL NIL \"ab\" \"c\"))", true},
    {"quoted words with dots", "\"a b\".c@d.e.", "((NIL NIL \"a b.c\" \"d.e\"))", false},
    {"comments around dots", "a (x) . b@c(y).d", "((\"y\" NIL \"a.b\" \"c.d\"))", false},
    {"quotes in a host", "a@b.\"c\\]\"", "((NIL NIL \"a\" \"b.c]\"))", true},
    {"specials in quotes", "\"a@b:c]\"@d", "((NIL NIL \"a@b:c]\" \"d\"))", false},
    {"colon in a name", "x@y: <a@b>", "((\"x@y:\" NIL \"a\" \"b\"))", true},
    {"comment in a comment", "a@b (Old (not new) Style), c@d ((E))",
     "((\"Old (not new) Style\" NIL \"a\" \"b\")(\"(E)\" NIL \"c\" \"d\"))", false},
    {"open quote", "\"a <b@c>, d@e", "((\"a\" NIL \"b\" \"c\")(NIL NIL \"d\" \"e\"))", true},
    {"open comment", "a@b (c, d@e", "((NIL NIL \"a\" \"b\")(NIL NIL \"d\" \"e\"))", true},
    {"open angle", "X <a@b, Y <c@d>", "((\"X\" NIL \"a\" \"b\")(\"Y\" NIL \"c\" \"d\"))", true},
    {"double angle", "X <<a@b>>", "((\"X\" NIL \"a\" \"b\"))", false},
    {"nothing in angle", "<>", "((NIL NIL \"\" \"\"))", true},
    {"semicolons", "a@b; c@d", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))", true},
    {"punycode stays", "a@xn--bcher-kva.example", "((NIL NIL \"a\" \"xn--bcher-kva.example\"))", false},
    {"forgotten comma", "a@b c@d", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))", true},
    {"forgotten brackets", "=?utf-8?q?A?= B a@b", "((\"=?utf-8?q?A?= B\" NIL \"a\" \"b\"))", true},
    {"closed, not opened", "a@b>", "((NIL NIL \"a\" \"b\"))", true},
    {"only commas", ",,,", "NIL", true},
    {"empty", "", "NIL", false},
};

Test(address, tables)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct address_case *c = &cases[i];
        const struct mime_record r = unit_parse_text(textf("Date: x\nTo: %s\n\n", c->value));
        const char *want = textf("(\"x\" NIL NIL NIL NIL %s NIL NIL NIL NIL)", c->wire);
        cr_expect_str_eq(unit_text(r.envelope), want, "%s: got %s, want %s", c->name, unit_text(r.envelope), want);
        cr_expect_eq((r.defects & MIME_DEFECT(BAD_ADDRESS)) != 0, c->bad, "%s: defect", c->name);
    }
}

Test(address, any_cut_and_any_noise_is_grammatical)
{
    struct rng rng = rng_of(7);
    static const char alphabet[] = "ab@<>()\",;:\\[]. =?\xc3\xa4\t\x01";
    for (int round = 0; round < 20000; round++) {
        uint8_t value[40];
        const size_t n = (size_t)rng_below(&rng, sizeof(value));
        for (size_t i = 0; i < n; i++)
            value[i] = (uint8_t)alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        struct mime_record r;
        struct buf item = {0};
        buf_append_str(&item, "From: ");
        buf_append(&item, value, n);
        buf_append_str(&item, "\n\n");
        mime_parse(unit_parser(), buf_bytes(&item), &r);
        const char *bad = mime_check_wire(&r);
        cr_expect(!bad, "%s: %s", bad, unit_text(buf_bytes(&item)));
        buf_release(&item);
    }
}

Test(address, keys_and_hashes)
{
    const struct mime_record r = unit_parse_text("From: =?utf-8?q?=C3=84da?= <Ada@Example.org>\nTo: team: B <b@c>;\n"
                                                 "Cc: x@y\nSender: s@t\n\n");
    cr_expect_str_eq(unit_text(r.display_from), "\\xc3\\x84da");
    cr_expect_str_eq(unit_text(r.display_to), "team");
    cr_expect_str_eq(unit_text(r.sort_from), "Ada");
    cr_expect_str_eq(unit_text(r.sort_to), "team");
    cr_expect_str_eq(unit_text(r.sort_cc), "x");
    cr_assert_eq(r.address_hashes.n, 9 * 4);
    cr_expect_eq(r.address_hashes.p[0], 1);
    cr_expect_eq(get_be64(r.address_hashes.p + 1), hash64_of(BYTES_LIT("ada@example.org")));
}

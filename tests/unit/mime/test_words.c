/* Terms of texts and of needles. */
#include "mime/words.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "mime/mime.h"
#include "test_support.h"

/* "A|B": the terms of a text. */
static const char *terms_of(const char *text)
{
    struct mime_words w;
    struct bytes term;
    struct buf out = {0};

    mime_words_init(&w, bytes_str(text));
    while (mime_words_next(&w, &term))
        buf_printf(&out, "%s%.*s", out.n ? "|" : "", (int)term.n, (const char *)term.p);
    const char *s = textf("%.*s", (int)out.n, out.p ? (const char *)out.p : "");

    buf_release(&out);
    return s;
}

static const char *needle_of(const char *text)
{
    static const char *const match[] = {"*%.*s*", "%.*s*", "*%.*s", "%.*s"};
    struct mime_needle n;
    struct buf out = {0};

    mime_needle_init(&n, bytes_str(text));
    for (size_t i = 0; i < n.n; i++) {
        if (i)
            buf_append_byte(&out, '|');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        buf_printf(&out, match[n.v[i].match], (int)n.v[i].term.n, (const char *)n.v[i].term.p);
#pragma GCC diagnostic pop
    }
    if (n.exact)
        buf_append_str(&out, " exact");
    mime_needle_release(&n);
    const char *s = textf("%.*s", (int)out.n, out.p ? (const char *)out.p : "");

    buf_release(&out);
    return s;
}

#define A32 "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

Test(words, text_table)
{
    static const struct {
        const char *name, *text, *terms;
    } rows[] = {
        {"nothing", "", ""},
        {"only separators", " -- \xc2\xa0\xe2\x82\xac\n", ""},
        {"letters and digits", "SEE RFC3501, PAGE 12.", "SEE|RFC3501|PAGE|12"},
        {"underscore separates", "USB_SUBMIT_URB", "USB|SUBMIT|URB"},
        {"marks stay with letters", "CAFE\xcc\x81S", "CAFE\xcc\x81S"},
        {"cyrillic", "\xd0\x96\xd0\x97 \xd0\x98", "\xd0\x96\xd0\x97|\xd0\x98"},
        {"pairs of han", "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97", "\xe4\xb8\xad\xe6\x96\x87|\xe6\x96\x87\xe5\xad\x97"},
        {"one han",
         "A\xe4\xb8\xad"
         "B",
         "A|\xe4\xb8\xad|B"},
        {"two han", "\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe6\x96\x87"},
        {"kana with its mark", "\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8b\xe3\x82\x99"},
        {"bad bytes separate",
         "A\xff"
         "B\xc3"
         "C\xed\xa0\x80"
         "D\xc0\x80"
         "E",
         "A|B|C|D|E"},
        {"cut off at the end", "A\xe4\xb8", "A"},
        {"64 bytes are one", A32 A32, A32 A32},
        {"65 bytes are two", A32 A32 "!Q", A32 A32 "|Q"},
        {"pieces", A32 A32 "Z", A32 A32 "|" A32 "Z"},
        {"three pieces", A32 A32 A32 "9", A32 A32 "|" A32 A32 "|" A32 "9"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(terms_of(rows[i].text), rows[i].terms, "%s: %s", rows[i].name, terms_of(rows[i].text));
}

Test(words, needle_table)
{
    static const struct {
        const char *name, *text, *terms;
    } rows[] = {
        {"nothing", "", ""},
        {"only separators", " -", ""},
        {"no utf-8", "A\xff", ""},
        {"infix", "RFC", "*RFC* exact"},
        {"prefix", " RFC", "RFC*"},
        {"suffix", "RFC.", "*RFC"},
        {"whole", "(RFC)", "RFC"},
        {"phrase, the longest first", "S OVER THE LAZY D", "OVER|LAZY|THE|*S|D*"},
        {"the same twice", "A BB A BB C", "BB|*A|A|C*"},
        {"one han", "\xe4\xb8\xad", "*\xe4\xb8\xad* exact"},
        {"two han", "\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe6\x96\x87 exact"},
        {"three han", "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97", "\xe4\xb8\xad\xe6\x96\x87|\xe6\x96\x87\xe5\xad\x97"},
        {"the same han thrice", "\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad", "\xe4\xb8\xad\xe4\xb8\xad"},
        {"han after a letter", "A\xe4\xb8\xad", "\xe4\xb8\xad*|*A"},
        {"32 bytes", A32, "*" A32 "* exact"},
        {"33 bytes", A32 "9", "*" A32 "*|*EFGHIJKLMNOPQRSTUVWXYZ0123459*"},
        {"long prefix", " " A32 "9", "*" A32 "*|*EFGHIJKLMNOPQRSTUVWXYZ0123459*"},
        {"long whole", " " A32 "9 ", A32 "9"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(needle_of(rows[i].text), rows[i].terms, "%s: %s", rows[i].name, needle_of(rows[i].text));
}

Test(words, long_needles_keep_the_longest_terms)
{
    struct buf text = {0};
    struct mime_needle n;

    for (unsigned i = 0; i < 2000; i++)
        buf_printf(&text, " %c%u%s", 'A' + i % 26, i, i % 100 == 0 ? "LONG" : "");
    mime_needle_init(&n, buf_bytes(&text));
    cr_assert_eq(n.n, MIME_NEEDLE_TERMS_MAX);
    cr_expect(!n.exact);
    for (size_t i = 0; i < n.n; i++)
        cr_expect(i >= 20 || n.v[i].term.n > 5, "%zu", i);
    cr_expect_eq(n.v[31].term.n, 5);
    cr_expect_gt(n.v[31].term.p - n.v[20].term.p, (ptrdiff_t)text.n / 3, "those of equal length are spread");
    mime_needle_release(&n);
    buf_release(&text);
}

Test(words, fingerprint_is_of_what_casemap_does)
{
    mime_init();
    const uint64_t a = mime_words_fingerprint();

    cr_expect_neq(a, 0);
    cr_expect_eq(a, mime_words_fingerprint());
}

/* Terms of texts and of needles. */
#include "mime/words.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "mime/mime.h"
#include "test_support.h"

/* As it stands, or "[x]" for a term of ASCII separators. */
static void term_show(struct bytes term, struct buf *out)
{
    if (term.p[0] < 0xfe) {
        buf_append_bytes(out, term);
        return;
    }
    buf_append_byte(out, '[');
    for (size_t i = 1; i + 1 < term.n; i += 2)
        buf_append_byte(out, (uint8_t)((term.p[i] & 0x0f) << 4 | (term.p[i + 1] & 0x0f)));
    buf_append_byte(out, ']');
}

static const char *shown(struct buf *out)
{
    const char *s = textf("%.*s", (int)out->n, out->p ? (const char *)out->p : "");

    buf_release(out);
    return s;
}

static void term_add(struct bytes term, void *arg)
{
    struct buf *out = arg;

    if (out->n)
        buf_append_byte(out, '|');
    term_show(term, out);
}

/* "A|B": the terms of a text, then those of its pairs. */
static const char *terms_of(const char *text)
{
    struct mime_pairs pairs = {0};
    struct mime_words w;
    struct bytes term;
    struct buf out = {0};

    mime_words_init(&w, bytes_str(text));
    while (mime_words_next(&w, &term))
        term_add(term, &out);
    mime_pairs_add(&pairs, bytes_str(text));
    mime_pairs_each(&pairs, term_add, &out);
    return shown(&out);
}

static const char *needle_of(const char *text)
{
    struct mime_needle n;
    struct buf out = {0};

    mime_needle_init(&n, bytes_str(text));
    for (size_t i = 0; i < n.n; i++) {
        const enum mime_match match = n.v[i].match;

        if (i)
            buf_append_byte(&out, '|');
        if (match == MIME_MATCH_CONTAINS || match == MIME_MATCH_SUFFIX)
            buf_append_byte(&out, '*');
        term_show(n.v[i].term, &out);
        if (match == MIME_MATCH_CONTAINS || match == MIME_MATCH_PREFIX)
            buf_append_byte(&out, '*');
    }
    if (n.exact)
        buf_append_str(&out, " exact");
    mime_needle_release(&n);
    return shown(&out);
}

#define A32 "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

Test(words, text_table)
{
    static const struct {
        const char *name, *text, *terms;
    } rows[] = {
        {"nothing", "", ""},
        {"only separators", " --\xc2\xa0\xe2\x82\xac\n", "\xc2\xa0|\xe2\x82\xac|[ -]|[--]|[\n]|[ ]|[-]"},
        {"letters and digits", "SEE RFC3501, 12.", "SEE|RFC3501|12|[ 1]|[ R]|[, ]|[1,]|[2.]|[E ]|[ ]|[,]|[.]"},
        {"underscore separates", "USB_URB", "USB|URB|[B_]|[_U]|[_]"},
        {"marks stay with letters", "CAFE\xcc\x81S", "CAFE\xcc\x81S"},
        {"cyrillic", "\xd0\x96\xd0\x97 \xd0\x98", "\xd0\x96\xd0\x97|\xd0\x98|[ ]"},
        {"pairs of han", "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97", "\xe4\xb8\xad\xe6\x96\x87|\xe6\x96\x87\xe5\xad\x97"},
        {"one han",
         "A\xe4\xb8\xad"
         "B",
         "A|\xe4\xb8\xad|B"},
        {"two han", "\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe6\x96\x87"},
        {"two han and a stray byte", "\xe4\xb8\xad\xe6\x96\x87\x80", "\xe4\xb8\xad\xe6\x96\x87"},
        {"three han and a stray byte", "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97\x80",
         "\xe4\xb8\xad\xe6\x96\x87|\xe6\x96\x87\xe5\xad\x97"},
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
        {"65 bytes are two", A32 A32 "!Q", A32 A32 "|Q|[!Q]|[5!]|[!]"},
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
        {"a separator", "-", "[-] exact"},
        {"two", " -", "[ -] exact"},
        {"three", " --", "[ -]|[--]"},
        {"a letter and a separator", "A.", "[A.] exact"},
        {"a separator and a letter", "@7", "[@7] exact"},
        {"short runs", "A, BE", "[A,]|[, ]|[ B]|BE*"},
        {"a long run says enough", "A, BEE", "BEE*|*A"},
        {"above ASCII", "\xe2\x82\xac", "\xe2\x82\xac exact"},
        {"above ASCII, twice", "\xe2\x82\xac\xe2\x82\xac", "\xe2\x82\xac"},
        {"above ASCII, between words", "SIX \xe2\x82\xac SEVEN", "SEVEN*|*SIX|\xe2\x82\xac"},
        {"above ASCII, behind a letter", "A\xe2\x82\xac", "\xe2\x82\xac|*A"},
        {"no utf-8", "A\xff", ""},
        {"infix", "RFC", "*RFC* exact"},
        {"prefix", " RFC", "RFC*"},
        {"suffix", "RFC.", "*RFC"},
        {"whole", "(RFC)", "RFC"},
        {"phrase, the longest first", "S OVER THE LAZY D", "OVER|LAZY|THE|*S|D*"},
        {"the same twice", "A BB A BB C", "[A ]|[ B]|[B ]|[ A]|[ C]|BB"},
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

static void begins_no_character(struct bytes term, void *arg)
{
    ++*(unsigned *)arg;
    cr_expect_geq(term.p[0], 0xfe);
    for (size_t i = 1; i < term.n; i++)
        cr_expect_eq(term.p[i] & 0xc0, 0x80);
}

Test(words, pairs_of_all_characters)
{
    struct mime_pairs pairs = {0};
    uint8_t text[2 * 128 * 128];
    size_t n = 0;
    unsigned given = 0;

    for (unsigned a = 0; a < 128; a++) {
        for (unsigned b = 0; b < 128; b++) {
            text[n++] = (uint8_t)a;
            text[n++] = (uint8_t)b;
        }
    }
    mime_pairs_add(&pairs, bytes_of(text, n));
    mime_pairs_each(&pairs, begins_no_character, &given);
    cr_expect_eq(given, 128 * 128 - 62 * 62 + 128 - 62, "%u", given);
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

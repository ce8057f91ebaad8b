#include "unit_mime.h"

struct decode_case {
    const char *name;
    uint8_t encoding;
    const char *in, *out;
};

static const struct decode_case cases[] = {
    {"base64", MIME_ENCODING_BASE64, "QUJD", "ABC"},
    {"base64 padded", MIME_ENCODING_BASE64, "QUI=\n", "AB"},
    {"base64 without padding", MIME_ENCODING_BASE64, "QUI", "AB"},
    {"base64 one digit left", MIME_ENCODING_BASE64, "QUJDQ", "ABC"},
    {"base64 goes on after padding", MIME_ENCODING_BASE64, "QQ==QUI=QUJD", "AABABC"},
    {"base64 foreign bytes", MIME_ENCODING_BASE64, "Q*U-J_D", "ABC"},
    {"qp", MIME_ENCODING_QP, "a=3Db=3d", "a=b="},
    {"qp soft break", MIME_ENCODING_QP, "a=\nb=\r\nc= \t\nd=", "abcd"},
    {"qp hard breaks are CRLF", MIME_ENCODING_QP, "a\nb\r\nc", "a\\x0d\\x0ab\\x0d\\x0ac"},
    {"qp no hex", MIME_ENCODING_QP, "a=XYb=4", "a=XYb=4"},
    {"qp soft break, then LF", MIME_ENCODING_QP, "a=\r\n\nb", "a\\x0d\\x0ab"},
    {"qp blanks before a line end", MIME_ENCODING_QP, "a \t\nb =\r\n c  \r\nd=20\n \n=20 \r\re ",
     "a\\x0d\\x0ab  c\\x0d\\x0ad \\x0d\\x0a\\x0d\\x0a  \\x0d\\x0de"},
    {"binary is bytes", MIME_ENCODING_BINARY, "a\nb \r\n", "a\\x0ab \\x0d\\x0a"},
    {"uu", MIME_ENCODING_UUENCODE, "x\nbegin 644 f\n#86)C\n`\nend\nfooter\n", "abc"},
    {"uu cut", MIME_ENCODING_UUENCODE, "begin 644 f\n#86", "a`\\x00"},
    {"uu without begin", MIME_ENCODING_UUENCODE, "#86)C\n", ""},
    {"7bit is the client's form", MIME_ENCODING_7BIT, "a\nb\r\n", "a\\x0d\\x0ab\\x0d\\x0a"},
};

Test(decode, tables)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = {0};
        mime_decode_transfer(bytes_str(cases[i].in), cases[i].encoding, &out);
        cr_expect_str_eq(unit_text(buf_bytes(&out)), cases[i].out, "%s: %s", cases[i].name, unit_text(buf_bytes(&out)));
        buf_release(&out);
    }
}

Test(decode, nul_is_kept)
{
    struct buf out = {0};
    mime_decode_transfer(bytes_of("a\0b", 3), MIME_ENCODING_BINARY, &out);
    cr_expect_eq(out.n, 3);
    cr_expect_eq(out.p[1], 0);
    buf_release(&out);
}

Test(decode, length_is_that_of_the_bytes)
{
    static const char alphabet[] = "QUJD====\r\n\n\n =3D*`#86begin end";
    struct rng rng = rng_of(11);
    struct buf out = {0};
    for (int round = 0; round < 30000; round++) {
        uint8_t body[200];
        const size_t n = (size_t)rng_below(&rng, sizeof(body));
        for (size_t i = 0; i < n; i++)
            body[i] = rng_once_in(&rng, 20) ? (uint8_t)rng_u64(&rng)
                                            : (uint8_t)alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        const struct bytes v = bytes_of(body, n);
        for (uint8_t e = 0; e <= MIME_ENCODING_UNKNOWN; e++) {
            buf_reset(&out);
            mime_decode_transfer(v, e, &out);
            const uint64_t len = mime_decoded_len(v, e, n + mime_count(v, 0).lone_lf);
            cr_expect_eq(len, out.n, "encoding %d, round %d: %llu, decoded %zu", e, round, (unsigned long long)len,
                         out.n);
        }
    }
    buf_release(&out);
}

/* The counters against a byte-by-byte model, at every alignment and length. */
Test(decode, counts_equal_the_plain_loop)
{
    static const char alphabet[] = "\r\n\n\r\0\xff"
                                   "aZ09+/=";
    struct rng rng = rng_of(5);
    for (int round = 0; round < 20000; round++) {
        uint8_t text[600];
        const size_t n = (size_t)rng_below(&rng, rng_once_in(&rng, 10) ? 600 : 60);
        for (size_t i = 0; i < n; i++)
            text[i] = (uint8_t)alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        const uint8_t prev = rng_once_in(&rng, 2) ? '\r' : 'x';
        struct mime_counts want = {0};
        uint64_t base64 = 0;
        for (size_t i = 0; i < n; i++) {
            const uint8_t before = i ? text[i - 1] : prev;
            want.lf += text[i] == '\n';
            want.lone_lf += text[i] == '\n' && before != '\r';
            want.cr += text[i] == '\r';
            want.nul += text[i] == 0;
            want.high += text[i] > 127;
            base64 += text[i] && strchr("aZ09+/", text[i]) != NULL;
        }
        const struct mime_counts got = mime_count(bytes_of(text, n), prev);
        cr_expect(got.lf == want.lf && got.lone_lf == want.lone_lf && got.cr == want.cr && got.nul == want.nul &&
                      got.high == want.high,
                  "round %d", round);
        cr_expect_eq(mime_count_base64(bytes_of(text, n)), base64, "round %d: base64", round);
        const struct mime_lines lines = mime_count_lines(bytes_of(text, n), prev);
        cr_expect(lines.lf == want.lf && lines.lone_lf == want.lone_lf, "round %d: lines", round);
        cr_expect_eq(mime_count_line_ends(bytes_of(text, n)), want.lf + want.cr, "round %d: line ends", round);
        cr_expect_eq(mime_is_ascii(bytes_of(text, n)), want.high == 0, "round %d: ascii", round);
    }
}

/* A lane counts to 255 before it is added up. */
Test(decode, counts_do_not_overflow_their_lanes)
{
    static uint8_t text[3 * 255 * 16 + 7];
    const struct bytes all = bytes_of(text, sizeof(text));
    memset(text, '\n', sizeof(text));
    cr_expect_eq(mime_count(all, '\r').lf, sizeof(text));
    cr_expect_eq(mime_count(all, '\r').lone_lf, sizeof(text) - 1);
    cr_expect_eq(mime_count_lines(all, '\r').lf, sizeof(text));
    cr_expect_eq(mime_count_lines(all, '\r').lone_lf, sizeof(text) - 1);
    cr_expect_eq(mime_count_line_ends(all), sizeof(text));
    memset(text, 'Q', sizeof(text));
    cr_expect_eq(mime_count_base64(all), sizeof(text));
    memset(text, 0xe9, sizeof(text));
    cr_expect_eq(mime_count(all, 0).high, sizeof(text));
}

/* Each byte at each place of texts with and without a rest behind sixteen. */
Test(decode, one_byte_tells_what_a_text_is)
{
    for (size_t n = 1; n <= 40; n++) {
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                uint8_t text[40];
                memset(text, 'x', n);
                text[at] = (uint8_t)c;
                const bool quotable = c < 128 && c != 0 && c != '"' && c != '\\' && c != '\r' && c != '\n';
                cr_assert_eq(mime_is_quotable(bytes_of(text, n)), quotable, "%d at %zu of %zu", c, at, n);
                cr_assert_eq(mime_is_ascii(bytes_of(text, n)), c < 128, "%d at %zu of %zu", c, at, n);
            }
        }
    }
    cr_expect(mime_is_quotable((struct bytes){0}) && mime_is_ascii((struct bytes){0}));
}

Test(decode, base64_alphabet_is_counted_right)
{
    for (int c = 0; c < 256; c++) {
        uint8_t text[40];
        memset(text, c, sizeof(text));
        const bool in = c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c);
        cr_expect_eq(mime_count_base64(bytes_of(text, sizeof(text))), in ? sizeof(text) : 0, "%d", c);
    }
}

Test(decode, crlf_seek_finds_what_conversion_gives)
{
    struct buf item = {0}, map_bytes = {0}, client = {0};
    struct rng rng = rng_of(3);
    while (item.n < 5 * MIME_CRLF_STEP + 77)
        buf_append_str(&item, rng_once_in(&rng, 3) ? "crlf line\r\n" : rng_once_in(&rng, 9) ? "\r" : "lf line\n");
    struct mime_crlf_map map;
    mime_crlf_map_encode(buf_bytes(&item), &map_bytes);
    cr_assert_eq(mime_crlf_map_decode(buf_bytes(&map_bytes), item.n, &map, NULL), BASE_OK);
    cr_expect_eq(mime_crlf_map_decode(buf_bytes(&map_bytes), item.n + MIME_CRLF_STEP, &(struct mime_crlf_map){0}, NULL),
                 BASE_ERR_CORRUPT);
    for (int round = 0; round < 200; round++) {
        const size_t base = (size_t)rng_below(&rng, item.n);
        bool cr = false;
        const uint64_t lone = mime_crlf_count_lone(bytes_slice(buf_bytes(&item), 0, base), &cr);
        const bool base_cr = cr;
        buf_reset(&client);
        mime_crlf_convert(bytes_slice(buf_bytes(&item), base, SIZE_MAX), &cr, &client);
        const uint64_t want = rng_below(&rng, client.n);
        uint64_t stored, off;
        mime_crlf_seek(&map, base, lone, want, &stored, &off);
        cr_assert(off <= want && stored >= base && want - off <= 2 * MIME_CRLF_STEP, "round %d", round);
        /* From there on the conversion gives the client's bytes. */
        struct buf rest = {0};
        bool at_cr = stored == base ? base_cr : item.p[stored - 1] == '\r';
        mime_crlf_convert(bytes_slice(buf_bytes(&item), (size_t)stored, SIZE_MAX), &at_cr, &rest);
        cr_expect(bytes_equal(buf_bytes(&rest), bytes_slice(buf_bytes(&client), (size_t)off, SIZE_MAX)), "round %d",
                  round);
        buf_release(&rest);
    }
    mime_crlf_map_release(&map);
    buf_release(&item);
    buf_release(&map_bytes);
    buf_release(&client);
}

Test(decode, crlf_conversion_in_any_pieces)
{
    const struct bytes in = bytes_of("a\nb\r\n\rc\0\n\n\r", 11);
    struct buf whole = {0}, pieces = {0};
    bool cr = false;
    mime_crlf_convert(in, &cr, &whole);
    cr_expect_str_eq(unit_text(buf_bytes(&whole)), "a\\x0d\\x0ab\\x0d\\x0a\\x0dc\\x80\\x0d\\x0a\\x0d\\x0a\\x0d");
    for (size_t i = 0; i <= in.n; i++) {
        for (size_t j = i; j <= in.n; j++) {
            buf_reset(&pieces);
            cr = false;
            mime_crlf_convert(bytes_slice(in, 0, i), &cr, &pieces);
            mime_crlf_convert(bytes_slice(in, i, j - i), &cr, &pieces);
            mime_crlf_convert(bytes_slice(in, j, SIZE_MAX), &cr, &pieces);
            cr_expect(bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)), "cut at %zu and %zu", i, j);
        }
    }
    buf_release(&whole);
    buf_release(&pieces);
}

static void expect_text(const char *body, const char *charset, const char *text)
{
    struct buf out = {0};
    mime_decode_text(bytes_str(body), MIME_ENCODING_BINARY, charset, &out);
    cr_expect_str_eq(unit_text(buf_bytes(&out)), text, "%s: %s", charset, unit_text(buf_bytes(&out)));
    buf_release(&out);
}

/* Converters are kept: one that ended in a shift state begins the next text in the initial one. */
Test(decode, no_text_begins_in_the_state_of_the_one_before)
{
    for (int i = 0; i < 3; i++) {
        expect_text("\x1b$B$3", "iso-2022-jp", "\\xe3\\x81\\x93");
        expect_text("$3", "iso-2022-jp", "$3");
        expect_text("+AGE", "utf-7", "a");
        expect_text("AGE", "utf-7", "AGE");
    }
}

/* More charsets than converters are kept for, and again. */
Test(decode, charsets_come_and_go)
{
    char name[24];
    for (int round = 0; round < 3; round++) {
        for (int page = 1250; page <= 1258; page++) {
            snprintf(name, sizeof name, "windows-%d", page);
            expect_text("a\xe4", name,
                        page == 1251   ? "a\\xd0\\xb4"
                        : page == 1253 ? "a\\xce\\xb4"
                        : page == 1255 ? "a\\xd7\\x94"
                        : page == 1256 ? "a\\xd9\\x86"
                                       : "a\\xc3\\xa4");
        }
        for (int part = 2; part <= 16; part++) {
            snprintf(name, sizeof name, "iso-8859-%d", part);
            expect_text("ab", name, "ab");
        }
        for (int page = 10; page < 70; page++) {
            snprintf(name, sizeof name, "ibm8%d", page);
            expect_text("ab", name, "ab");
        }
        expect_text("ab\xff", "no-such-charset", "ab\\xef\\xbf\\xbd");
    }
}

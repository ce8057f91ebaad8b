/* What is written can be read again, and base64 has one form. */
#include <criterion/criterion.h>

#include "wire/base64.h"
#include "wire/cursor.h"
#include "wire/writer.h"

#include <stdlib.h>

Test(writer, forms)
{
    static const struct {
        const char *in, *astring, *string;
    } table[] = {
        {"abc", "abc", "\"abc\""},
        {"", "\"\"", "\"\""},
        {"a b", "\"a b\"", "\"a b\""},
        {"NIL", "\"NIL\"", "\"NIL\""},
        {"nIl", "\"nIl\"", "\"nIl\""},
        {"a\"\\", "\"a\\\"\\\\\"", "\"a\\\"\\\\\""},
        {"a]", "a]", "\"a]\""},
        {"a%", "\"a%\"", "\"a%\""},
        {"\xc3\xa9", "{2}\r\n\xc3\xa9", "{2}\r\n\xc3\xa9"},
        {"a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf out = {0};
        imap_write_astring(&out, bytes_str(table[i].in));
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(table[i].astring)), "%s: %.*s", table[i].in, (int)out.n,
                  out.p);
        buf_reset(&out);
        imap_write_string(&out, bytes_str(table[i].in));
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(table[i].string)), "%s: %.*s", table[i].in, (int)out.n, out.p);
        buf_release(&out);
    }
}

Test(writer, every_byte_comes_back)
{
    struct arena *arena = arena_new(1 << 20);
    for (int b = 0; b < 256; b++) {
        const uint8_t raw[] = {'x', (uint8_t)b, 'y'};
        struct buf out = {0};
        struct bytes v;
        imap_write_astring(&out, bytes_of(raw, 3));
        struct imap_cursor c = imap_cursor_of(buf_bytes(&out), arena);
        cr_assert(imap_take_astring(&c, &v) && imap_at_end(&c), "%d", b);
        cr_expect(v.n == 3 && v.p[1] == (b ? b : 0x80), "%d", b);
        buf_release(&out);
    }
    arena_free(&arena);
}

Test(writer, long_strings_are_literals)
{
    struct buf out = {0};
    static char text[1002];
    memset(text, 'a', 1001);
    imap_write_string(&out, bytes_of(text, 1000));
    cr_expect_eq(out.p[0], '"');
    buf_reset(&out);
    imap_write_string(&out, bytes_of(text, 1001));
    cr_expect_eq(memcmp(out.p, "{1001}\r\n", 8), 0);
    buf_release(&out);
}

Test(writer, mailboxes)
{
    struct buf out = {0};
    imap_write_mailbox(&out, "inBox");
    imap_write_mailbox(&out, "A&B \xc3\xa9");
    cr_expect(bytes_equal(buf_bytes(&out), BYTES_LIT("INBOX\"A&-B &AOk-\"")), "%.*s", (int)out.n, out.p);
    buf_release(&out);
}

Test(writer, base64)
{
    static const struct {
        const char *in, *expect; /* NULL: refused */
    } table[] = {
        {"", ""},
        {"YQ==", "a"},
        {"YWI=", "ab"},
        {"YWJj", "abc"},
        {"YWJjZA==", "abcd"},
        {"YR==", NULL},
        {"YWJ=", NULL},
        {"YQ=", NULL},
        {"YQ", NULL},
        {"Y===", NULL},
        {"====", NULL},
        {"YQ==YQ==", NULL},
        {"YW Jj", NULL},
        {"YWJj\r", NULL},
        {"YW=j", NULL},
        {"YW-_", NULL},
        {"+/+/", "\xfb\xff\xbf"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf out = {0};
        bool ok = imap_base64_decode(bytes_str(table[i].in), &out);
        cr_expect_eq(ok, table[i].expect != NULL, "%s", table[i].in);
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(ok ? table[i].expect : "")), "%s", table[i].in);
        buf_release(&out);
    }
}

Test(writer, mailboxes_in_utf8)
{
    static const struct {
        const char *in, *expect;
    } table[] = {
        {"inbox", "INBOX"},
        {"plain", "plain"},
        {"A & B", "\"A & B\""},
        {"Gr\xc3\xbc\xc3\x9f"
         "e",
         "\"Gr\xc3\xbc\xc3\x9f"
         "e\""},
        {"\xc3\xbc\"\\", "\"\xc3\xbc\\\"\\\\\""},
        {"bad\xff", "{4}\r\nbad\xff"}, /* cannot come from query/, and must not break a line */
        {"\xc3\xbc\r\n", "{4}\r\n\xc3\xbc\r\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf out = {0};
        imap_write_mailbox_utf8(&out, table[i].in);
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(table[i].expect)), "%s: %.*s", table[i].in, (int)out.n, out.p);
        buf_release(&out);
    }
}

Test(writer, ranges_and_literal8)
{
    struct buf out = {0};
    imap_write_range(&out, 7, 7);
    buf_append_byte(&out, ' ');
    imap_write_range(&out, 1, 4294967295);
    buf_append_byte(&out, ' ');
    imap_write_literal8_head(&out, 5000000000);
    cr_expect(bytes_equal(buf_bytes(&out), BYTES_LIT("7 1:4294967295 ~{5000000000}\r\n")), "%.*s", (int)out.n, out.p);
    buf_release(&out);
}

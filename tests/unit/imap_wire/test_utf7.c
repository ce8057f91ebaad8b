/* Modified UTF-7, strictly. */
#include <criterion/criterion.h>

#include "wire/utf7.h"

static bool decodes(const char *in, const char *expect)
{
    struct buf out = {0};
    buf_append_str(&out, "x");
    bool ok = imap_utf7_decode(bytes_str(in), &out);
    bool right = ok ? expect && bytes_equal(bytes_of(out.p + 1, out.n - 1), bytes_str(expect)) : !expect && out.n == 1;
    buf_release(&out);
    return right;
}

Test(utf7, names)
{
    static const struct {
        const char *utf7, *utf8;
    } table[] = {
        {"", ""},
        {"INBOX", "INBOX"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"&Jjo-!", "\xe2\x98\xba!"},
        {"&U,BTF2XlZyyKng-", "\xe5\x8f\xb0\xe5\x8c\x97\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"A&-B", "A&B"},
        {"&-&-", "&&"},
        {"&AOk-&-&AOk-", "\xc3\xa9&\xc3\xa9"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&AAo-", "\n"},
        {"&AH8-", "\x7f"},
        {"a\"b\\c", "a\"b\\c"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf out = {0};
        cr_expect(decodes(table[i].utf7, table[i].utf8), "%s", table[i].utf7);
        imap_utf7_encode(bytes_str(table[i].utf8), &out);
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(table[i].utf7)), "%s: %.*s", table[i].utf7, (int)out.n,
                  (const char *)out.p);
        buf_release(&out);
    }
}

Test(utf7, what_is_none)
{
    static const char *const table[] = {
        "&",     "a&",    "&Jjo",     "&Jjo!",  "&AGE-",  "&ACY-", "&AAA-",         "&U,BTFw-&ZeVnLIqe-",
        "&2D0-", "&3gA-", "&2D0AYQ-", "&AO-",   "&AOkA-", "&AOl-", "&AOkB-",        "\xc3\xa9",
        "a\nb",  "\x7f",  "&AO/-",    "&AOk=-", "& -",    "&A-",   "&2D3eAA--\x80",
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_expect(decodes(table[i], NULL), "%s", table[i]);
}

Test(utf7, bad_utf8_becomes_a_replacement)
{
    static const char *const table[] = {"\xff", "\xc0", "\xe2\x98", "\xed\xa0\x80", "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf out = {0}, back = {0};
        imap_utf7_encode(bytes_str(table[i]), &out);
        cr_expect(imap_utf7_decode(buf_bytes(&out), &back), "%zu", i);
        cr_expect(back.n >= 3 && memcmp(back.p, "\xef\xbf\xbd", 3) == 0, "%zu", i);
        buf_release(&out);
        buf_release(&back);
    }
}

Test(utf7, every_two_byte_input_round_trips_or_is_refused)
{
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            const uint8_t raw[] = {'&', (uint8_t)a, (uint8_t)b, 'k', '-'};
            struct buf out = {0}, back = {0};
            if (imap_utf7_decode(bytes_of(raw, sizeof raw), &out)) {
                imap_utf7_encode(buf_bytes(&out), &back);
                cr_expect(bytes_equal(buf_bytes(&back), bytes_of(raw, sizeof raw)), "%d %d", a, b);
            }
            buf_release(&out);
            buf_release(&back);
        }
    }
}

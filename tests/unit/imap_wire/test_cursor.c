/* Tokens of the formal syntax. */
#include <criterion/criterion.h>

#include "wire/cursor.h"

#include <stdlib.h>

/* Runs a taker over an exact copy; the bytes left, or -1 if refused. */
#define TAKE(text, size, call)                                                                                         \
    ({                                                                                                                 \
        size_t n_ = (size);                                                                                            \
        uint8_t *copy_ = malloc(n_ ? n_ : 1);                                                                          \
        memcpy(copy_, text, n_);                                                                                       \
        struct arena *arena_ = arena_new(1 << 16);                                                                     \
        struct imap_cursor c_ = imap_cursor_of(bytes_of(copy_, n_), arena_), *c = &c_;                                 \
        bool ok_ = call;                                                                                               \
        long left_ = ok_ ? (long)(c->end - c->p) : -1;                                                                 \
        cr_expect(ok_ || c->why, "%s: no reason", text);                                                               \
        arena_free(&arena_);                                                                                           \
        free(copy_);                                                                                                   \
        left_;                                                                                                         \
    })

Test(cursor, character_classes)
{
    for (int b = 0; b < 256; b++) {
        bool special = b <= 0x20 || b >= 0x7f || (b && strchr("(){%*\"\\]", b));
        cr_expect_eq(imap_is_atom_char((uint8_t)b), !special || b == '}', "atom %d", b);
        cr_expect_eq(imap_is_astring_char((uint8_t)b), !special || b == '}' || b == ']', "astring %d", b);
    }
}

enum kind { TAG, ATOM, ASTRING, STRING, NSTRING, PATTERN, NUMBER, NZ, SET, DATE, DATE_TIME, MAILBOX, LITERAL };

static bool take(enum kind kind, struct imap_cursor *c)
{
    struct bytes v;
    const char *name;
    uint32_t n;
    int64_t days, seconds;
    int16_t zone;
    bool nil;
    switch (kind) {
    case TAG: return imap_take_tag(c, &v);
    case ATOM: return imap_take_atom(c, &v);
    case ASTRING: return imap_take_astring(c, &v);
    case STRING: return imap_take_string(c, &v);
    case NSTRING: return imap_take_nstring(c, &v, &nil);
    case PATTERN: return imap_take_list_mailbox(c, &v);
    case NUMBER: return imap_take_number(c, &n);
    case NZ: return imap_take_nz_number(c, &n);
    case SET: return imap_take_sequence_set(c, &v);
    case DATE: return imap_take_date(c, &days);
    case DATE_TIME: return imap_take_date_time(c, &seconds, &zone);
    case MAILBOX: return imap_take_mailbox(c, &name);
    case LITERAL: return imap_take_literal(c, &v);
    }
    return false;
}

Test(cursor, tokens)
{
    static const struct {
        enum kind kind;
        const char *in;
        long left; /* -1: refused */
    } table[] = {
        {TAG, "a1 x", 2},
        {TAG, "a]b", 0},
        {TAG, "+", -1},
        {TAG, "", -1},
        {TAG, "a+b", 2},
        {ATOM, "a]b", 2},
        {ATOM, "a[b", 0},
        {ATOM, "(", -1},
        {ASTRING, "a]b c", 2},
        {ASTRING, "\"a b\" c", 2},
        {ASTRING, "\"a\\\"\\\\\"", 0},
        {ASTRING, "\"a\\b\"", -1},
        {ASTRING, "\"a", -1},
        {ASTRING, "\"a\\", -1},
        {ASTRING, "\"a\\\"", -1},
        {ASTRING, "\"a\rb\"", -1},
        {ASTRING, "{3}\r\na b", 0},
        {ASTRING, "{3+}\r\na b)", 1},
        {ASTRING, "{3}\r\na", -1},
        {ASTRING, "{3}", -1},
        {ASTRING, "{3}\ra", -1},
        {ASTRING, "{}\r\n", -1},
        {ASTRING, "{4294967296}\r\n", -1},
        {ASTRING, "%", -1},
        {STRING, "a", -1},
        {STRING, "\"\"", 0},
        {NSTRING, "NIL)", 1},
        {NSTRING, "nil", 0},
        {NSTRING, "NILX", -1},
        {NSTRING, "\"NIL\"", 0},
        {PATTERN, "a%*]/b c", 2},
        {PATTERN, "\"%\"", 0},
        {PATTERN, "(", -1},
        {NUMBER, "0", 0},
        {NUMBER, "007x", 1},
        {NUMBER, "4294967295", 0},
        {NUMBER, "4294967296", -1},
        {NUMBER, "99999999999999999999999999", -1},
        {NUMBER, "-1", -1},
        {NZ, "0", -1},
        {NZ, "01", -1},
        {NZ, "10", 0},
        {SET, "1", 0},
        {SET, "*", 0},
        {SET, "1:*,4,*:9 x", 2},
        {SET, "1,", -1},
        {SET, "1:", -1},
        {SET, ",1", -1},
        {SET, "0", -1},
        {SET, "1:2:3", -1},
        {SET, "1**", -1},
        {SET, "4294967296", -1},
        {DATE, "1-Jan-2020", 0},
        {DATE, "\"31-dec-1999\"", 0},
        {DATE, "31-Apr-2020", -1},
        {DATE, "1-Jan-2020\"", 1},
        {DATE, "1-J", -1},
        {DATE, "", -1},
        {DATE_TIME, "\" 1-Jan-2020 00:00:00 +0000\"", 0},
        {DATE_TIME, "\"01-Jan-2020 23:59:60 -2359\"", 0},
        {DATE_TIME, "\"1-Jan-2020 00:00:00 +0000\"", -1},
        {DATE_TIME, "\"01-Jan-2020 24:00:00 +0000\"", -1},
        {DATE_TIME, "\"01-Jan-2020 00:00:00 +0060\"", -1},
        {DATE_TIME, "\"01-Jan-2020 00:00:00 0000\"", -1},
        {DATE_TIME, "\"01-Jan-2020 00:00", -1},
        {MAILBOX, "INBOX", 0},
        {MAILBOX, "\"a b\" x", 2},
        {MAILBOX, "&AOk-", 0},
        {MAILBOX, "&AOk", -1},
        {MAILBOX, "\"\xc3\xa9\"", -1},
        {MAILBOX, "\"\"", 0},
        {LITERAL, "\"a\"", -1},
        {LITERAL, "{0}\r\n", 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        long got = TAKE(table[i].in, strlen(table[i].in), take(table[i].kind, c));
        cr_expect_eq(got, table[i].left, "%d %s: %ld", (int)table[i].kind, table[i].in, got);
    }
}

Test(cursor, nul_is_nowhere_allowed)
{
    cr_expect_eq(TAKE("\"a\0b\"", 5, take(ASTRING, c)), -1);
    cr_expect_eq(TAKE("{3}\r\na\0b", 8, take(ASTRING, c)), -1);
    cr_expect_eq(TAKE("a\0b", 3, take(ASTRING, c)), 2);
}

Test(cursor, escapes_are_undone)
{
    struct arena *arena = arena_new(1000);
    struct imap_cursor c = imap_cursor_of(BYTES_LIT("\"a\\\"b\\\\\""), arena);
    struct bytes v;
    cr_assert(imap_take_string(&c, &v));
    cr_expect(bytes_equal(v, BYTES_LIT("a\"b\\")));
    arena_free(&arena);
}

Test(cursor, every_prefix_of_everything_is_safe)
{
    static const char text[] =
        "a SEARCH \"x\\\"\" {4+}\r\nabcd (\\Seen) 1:*,2 \" 1-Jan-2020 00:00:00 +0000\" &AOk- NIL";
    for (size_t from = 0; from < sizeof text - 1; from++)
        for (size_t n = 0; n < sizeof text - from; n++)
            for (int kind = TAG; kind <= LITERAL; kind++)
                (void)TAKE(text + from, n, take((enum kind)kind, c));
}

Test(cursor, numbers_of_63_bits)
{
    static const struct {
        const char *say;
        bool ok;
        uint64_t expect;
    } table[] = {
        {"0", true, 0},
        {"4294967296", true, 4294967296},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"99999999999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct imap_cursor c = imap_cursor_of(bytes_str(table[i].say), NULL);
        uint64_t v = 0;
        cr_expect_eq(imap_take_number64(&c, &v), table[i].ok, "%s", table[i].say);
        cr_expect_eq(v, table[i].expect, "%s", table[i].say);
    }
}

Test(cursor, the_saved_result_is_a_set)
{
    static const struct {
        const char *say;
        size_t n; /* bytes taken, 0: refused */
    } table[] = {{"$", 1}, {"$ x", 1}, {"1,$", 0}, {"$,1", 1}, {"1:$", 0}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct imap_cursor c = imap_cursor_of(bytes_str(table[i].say), NULL);
        struct bytes set;
        bool ok = imap_take_sequence_set(&c, &set);
        cr_expect_eq(ok ? set.n : 0, table[i].n, "%s", table[i].say);
    }
}

Test(cursor, names_are_utf8_once_the_client_says_so)
{
    static const struct {
        const char *say, *utf7, *utf8; /* NULL: refused */
    } table[] = {
        {"INBOX", "INBOX", "INBOX"},
        {"Gr&APw-n", "Gr\xc3\xbcn", "Gr&APw-n"},
        {"\"Gr\xc3\xbcn\"", NULL, "Gr\xc3\xbcn"},
        {"A&B", NULL, "A&B"},
        {"A&-B", "A&B", "A&-B"},
        {"\"\xff\"", NULL, NULL},
        {"\"\xc0\x80\"", NULL, NULL},
        {"\"\xed\xa0\x80\"", NULL, NULL},
        {"\"\xc2\x85\"", NULL, NULL},     /* a control character */
        {"\"\xe2\x80\xa8\"", NULL, NULL}, /* line separator */
        {"\"\x01\"", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (int utf8 = 0; utf8 < 2; utf8++) {
            struct arena *arena = arena_new(4096);
            struct imap_cursor c = imap_cursor_of(bytes_str(table[i].say), arena);
            const char *name = NULL, *expect = utf8 ? table[i].utf8 : table[i].utf7;
            c.utf8 = utf8;
            bool ok = imap_take_mailbox(&c, &name);
            cr_expect_eq(ok, expect != NULL, "%s: %s", table[i].say, ok ? name : "refused");
            if (ok && expect)
                cr_expect_str_eq(name, expect, "%s", table[i].say);
            cr_expect(ok || c.why, "%s: no reason", table[i].say);
            arena_free(&arena);
        }
    }
}

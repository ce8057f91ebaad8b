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

enum kind {
    TAG,
    ATOM,
    ASTRING,
    STRING,
    NSTRING,
    PATTERN,
    NUMBER,
    NZ,
    SET,
    DATE,
    DATE_TIME,
    MAILBOX,
    LITERAL
};

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

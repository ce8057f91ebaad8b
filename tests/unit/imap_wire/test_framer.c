/* Framing: every split, every limit at and past it. */
#include <criterion/criterion.h>

#include "wire/framer.h"

#include <stdio.h>
#include <stdlib.h>

static const struct imap_frame_limits roomy = {1000, 1000, 3000, 5000};

/* What the framer says of a whole input, as text: C<command> +, R<why><kept>, X; then what is left. */
static void trace(const struct imap_frame_limits *limits, const char *in, size_t n, size_t step, struct buf *out)
{
    static const char *const why[] = {"none", "line", "literal", "command"};
    struct imap_framer f = {0};
    for (size_t at = 0; at < n;) {
        size_t used = 0, feed = n - at < step ? n - at : step;
        /* An exact copy, so that ASan sees a byte too far. */
        uint8_t *copy = malloc(feed);
        memcpy(copy, in + at, feed);
        enum imap_frame frame = imap_framer_feed(&f, limits, bytes_of(copy, feed), &used);
        free(copy);
        cr_assert(used <= feed && (used == feed || frame != IMAP_FRAME_MORE));
        at += used;
        struct bytes c = imap_framer_command(&f);
        cr_assert(c.n <= limits->line_bytes + 1 + limits->command_bytes + IMAP_FRAMER_KEPT_BYTES);
        if (frame == IMAP_FRAME_CONTINUE)
            buf_append_str(out, "+");
        else if (frame == IMAP_FRAME_COMMAND)
            buf_printf(out, "C<%.*s>", (int)c.n, (const char *)c.p);
        else if (frame != IMAP_FRAME_MORE)
            buf_printf(out, "%s%s<%.*s>", frame == IMAP_FRAME_CLOSE ? "X" : "R", why[f.reject], (int)c.n,
                       (const char *)c.p);
        if (frame == IMAP_FRAME_COMMAND || frame == IMAP_FRAME_REJECTED || frame == IMAP_FRAME_CLOSE) {
            imap_framer_reset(&f);
            cr_assert(imap_framer_is_empty(&f));
        }
        if (frame == IMAP_FRAME_CLOSE)
            break;
    }
    if (!imap_framer_is_empty(&f))
        buf_append_str(out, "...");
    imap_framer_reset(&f);
    buf_append_byte(out, 0);
}

static void expect_trace(const struct imap_frame_limits *limits, const char *in, size_t n, const char *expect)
{
    for (size_t step = 1; step <= n; step++) {
        struct buf got = {0};
        trace(limits, in, n, step, &got);
        cr_expect_str_eq((char *)got.p, expect, "in %s by %zu: %s", in, step, (char *)got.p);
        buf_release(&got);
    }
}

Test(framer, commands)
{
    static const struct {
        const char *in, *expect;
    } table[] = {
        {"a b\r\n", "C<a b>"},
        {"a b\n", "C<a b>"},
        {"\r\n\r\n", "C<>C<>"},
        {"a\r\nb\r\nc", "C<a>C<b>..."},
        {"a\rb\r\n", "C<a\rb>"},
        {"a\r\r\n", "C<a\r>"},
        {"a {3}\r\nx\ny\r\n", "+C<a {3}\r\nx\ny>"},
        {"a {3+}\r\nx\r\n b {0}\r\n\r\nc\r\n", "+C<a {3+}\r\nx\r\n b {0}\r\n>C<c>"},
        {"a {3+}\nxyz\n", "C<a {3+}\r\nxyz>"},
        {"a {3\r\n", "C<a {3>"},
        {"a {}\r\n", "C<a {}>"},
        {"a {+}\r\n", "C<a {+}>"},
        {"a {-1}\r\n", "C<a {-1}>"},
        {"a 3}\r\n", "C<a 3}>"},
        {"3}\r\n", "C<3}>"},
        {"{3}\r\nabc\r\n", "+C<{3}\r\nabc>"},
        {"a {3} \r\n", "C<a {3} >"},
        {"a {3}x\r\n", "C<a {3}x>"},
        {"a {2}\r\n{9\r\n}\r\n", "+C<a {2}\r\n{9>C<}>"},
        {"a {2}\r\n{3}\r\nb\r\n", "+C<a {2}\r\n{3}>C<b>"},
        {"a {00000000000003+}\r\nabc\r\n", "C<a {00000000000003+}\r\nabc>"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        expect_trace(&roomy, table[i].in, strlen(table[i].in), table[i].expect);
}

Test(framer, limits_at_and_past)
{
    static const struct {
        const char *name;
        struct imap_frame_limits limits;
        const char *in, *expect;
    } table[] = {
        {"line at", {5, 9, 99, 99}, "12345\r\n", "C<12345>"},
        {"line at, LF", {5, 9, 99, 99}, "12345\n", "C<12345>"},
        {"line past", {5, 9, 99, 99}, "123456\r\nb\r\n", "Rline<123456\r>C<b>"},
        {"line past, LF", {5, 9, 99, 99}, "123456\nb\r\n", "Rline<123456>C<b>"},
        {"line far past", {5, 9, 99, 99}, "1234567890\r\nb\r\n", "Rline<1234567890\r>C<b>"},
        {"CR at limit+1, more", {5, 9, 99, 99}, "12345\rx\r\nb\r\n", "Rline<12345\rx\r>C<b>"},
        {"text of two lines at", {8, 9, 99, 99}, "a {1+}\r\nxbc\r\n", "C<a {1+}\r\nxbc>"},
        {"text of two lines past", {8, 9, 99, 99}, "a {1+}\r\nxbcd\r\n", "Rline<a {1+}\r\nxbcd\r>"},
        {"long line, literal follows", {5, 9, 99, 99}, "1234 {3+}\r\nx\r\ny\r\nb\r\n", "Rline<1234 {3+}\ry\r>C<b>"},
        {"long line, client waits", {5, 9, 99, 99}, "1234 {3}\r\nb\r\n", "Rline<1234 {3}\r>C<b>"},
        {"literal at", {50, 3, 99, 99}, "a {3}\r\nxyz\r\n", "+C<a {3}\r\nxyz>"},
        {"literal past, waits", {50, 3, 99, 99}, "a {4}\r\nb\r\n", "Rliteral<a {4}>C<b>"},
        {"literal past, does not", {50, 3, 99, 99}, "a {4+}\r\nb\r\n \r\nb\r\n", "Rliteral<a {4+}\r>C<b>"},
        {"literal past, another follows",
         {50, 3, 99, 99},
         "a {4+}\r\nwxyz {2+}\r\nxy\r\nb\r\n",
         "Rliteral<a {4+} {2+}\r\r>C<b>"},
        {"command at", {50, 9, 12, 99}, "a {3+}\r\nxyz b\r\n", "C<a {3+}\r\nxyz b>"},
        {"command past", {50, 9, 8, 99}, "a {3+}\r\nxyz\r\nb\r\n", "Rcommand<a {3+}\r>C<b>"},
        {"command past, waits", {50, 9, 7, 99}, "a {3}\r\nb\r\n", "Rcommand<a {3}>C<b>"},
        {"skip at", {50, 3, 99, 6}, "a {6+}\r\n123456\r\nb\r\n", "Rliteral<a {6+}\r>C<b>"},
        {"skip past", {50, 3, 99, 5}, "a {6+}\r\n123456\r\n", "Xliteral<a {6+}>"},
        {"skip past in two", {50, 3, 99, 9}, "a {6+}\r\n123456 {4+}\r\n", "Xliteral<a {6+} {4+}\r>"},
        {"no 32-bit number", {50, 3, 99, 9}, "a {4294967296+}\r\n", "Xliteral<a {4294967296+}>"},
        {"no 64-bit number", {50, 3, 99, 9}, "a {99999999999999999999+}\r\n", "Xliteral<a {99999999999999999999+}>"},
        {"number past the tail",
         {99, 3, 99, 9},
         "a {0000000000000000000000000003+}\r\n",
         "Xliteral<a {0000000000000000000000000003+}>"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        expect_trace(&table[i].limits, table[i].in, strlen(table[i].in), table[i].expect);
}

Test(framer, plain_line_has_no_literal)
{
    struct imap_framer f = {.plain_line = true};
    size_t used = 0;
    cr_expect_eq(imap_framer_feed(&f, &roomy, BYTES_LIT("{5}\r\n"), &used), IMAP_FRAME_COMMAND);
    cr_expect(bytes_equal(imap_framer_command(&f), BYTES_LIT("{5}")));
    imap_framer_reset(&f);
    cr_expect_not(f.plain_line);
}

Test(framer, announced_size_costs_nothing)
{
    struct imap_framer f = {0};
    const struct imap_frame_limits limits = {1000, 1u << 30, 1u << 30, 1u << 30};
    size_t used = 0;
    cr_expect_eq(imap_framer_feed(&f, &limits, BYTES_LIT("a {1000000000+}\r\nx"), &used), IMAP_FRAME_MORE);
    cr_expect_lt(f.command.cap, 10000u);
    imap_framer_reset(&f);
}

/*
 * An owner that is asked: a literal behind S is streamed, behind D streamed and given up after its first byte, behind R
 * refused, others are collected. Says L<text size> for an announcement and the data as they are.
 */
static void trace_asked(const char *in, size_t n, size_t step, struct buf *out)
{
    static const struct imap_frame_limits limits = {40, 10, 60, 20};
    struct imap_framer f = {0};
    bool dropping = false;
    for (size_t at = 0; at < n;) {
        size_t used = 0, feed = n - at < step ? n - at : step;
        uint8_t *copy = malloc(feed);
        memcpy(copy, in + at, feed);
        f.ask = true;
        enum imap_frame frame = imap_framer_feed(&f, &limits, bytes_of(copy, feed), &used);
        at += used;
        if (frame == IMAP_FRAME_DATA) {
            buf_append_bytes(out, f.data);
            frame = dropping ? imap_framer_refuse(&f, &limits) : IMAP_FRAME_MORE;
        }
        free(copy);
        while (frame == IMAP_FRAME_LITERAL) {
            struct bytes c = imap_framer_command(&f);
            cr_assert(f.literal.at < c.n && c.p[f.literal.at] == '{');
            char kind = f.literal.at > 0 ? (char)c.p[f.literal.at - 1] : 0;
            buf_printf(out, "L<%.*s %s%llu>", (int)f.literal.at, (const char *)c.p, f.literal.sync ? "" : "+",
                       (unsigned long long)f.literal.size);
            cr_expect_not(imap_framer_is_empty(&f));
            dropping = kind == 'D';
            frame = kind == 'S' || kind == 'D' ? imap_framer_stream(&f)
                    : kind == 'R'              ? imap_framer_refuse(&f, &limits)
                                               : imap_framer_collect(&f, &limits);
        }
        struct bytes c = imap_framer_command(&f);
        if (frame == IMAP_FRAME_CONTINUE)
            buf_append_str(out, "+");
        else if (frame == IMAP_FRAME_COMMAND)
            buf_printf(out, "C<%.*s>", (int)c.n, (const char *)c.p);
        else if (frame != IMAP_FRAME_MORE)
            buf_printf(out, "%s%d", frame == IMAP_FRAME_CLOSE ? "X" : "R", f.reject);
        if (frame == IMAP_FRAME_COMMAND || frame == IMAP_FRAME_REJECTED || frame == IMAP_FRAME_CLOSE)
            imap_framer_reset(&f);
        if (frame == IMAP_FRAME_CLOSE)
            break;
    }
    if (!imap_framer_is_empty(&f))
        buf_append_str(out, "...");
    imap_framer_reset(&f);
    buf_append_byte(out, 0);
}

Test(framer, literals_that_are_asked_for)
{
    static const struct {
        const char *in, *expect;
    } table[] = {
        {"a {3}\r\nabc\r\n", "L<a  3>+C<a {3}\r\nabc>"},
        {"a S{3}\r\nabc\r\n", "L<a S 3>+abcC<>"},
        {"a S{3+}\r\nabc x\r\nb\r\n", "L<a S +3>abcC< x>C<b>"},
        {"a S{29+}\r\n{3}\r\n567890123456789012345678\r\nz\r\n", "L<a S +29>{3}\r\n567890123456789012345678C<>C<z>"},
        {"a S{1+}\r\nx S{2}\r\nyz {1+}\r\n!\r\n", "L<a S +1>xL< S 2>+yzL<  +1>C< {1+}\r\n!>"},
        {"a S{0}\r\n\r\nb\r\n", "L<a S 0>+C<>C<b>"},
        {"a S{0+}\r\n S{0+}\r\n\r\n", "L<a S +0>L< S +0>C<>"},
        {"a R{5}\r\nb\r\n", "L<a R 5>R4C<b>"},
        {"a R{5+}\r\nb\r\nxy z\r\nb\r\n", "L<a R +5>R4C<b>"},
        {"a R{5+}\r\n12345 S{3+}\r\nabc {3}\r\nb\r\n", "L<a R +5>R4C<b>"},
        {"a R{21+}\r\n", "L<a R +21>X4"},
        {"a R{15+}\r\n123456789012345 {6+}\r\n", "L<a R +15>X4"},
        {"a {11}\r\n", "L<a  11>R2"},
        {"a S{3}\r\nab", "L<a S 3>+ab..."},
        {"a S{3}\r\nabc", "L<a S 3>+abc..."},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const size_t n = strlen(table[i].in);
        for (size_t step = 1; step <= n; step++) {
            struct buf got = {0};
            trace_asked(table[i].in, n, step, &got);
            cr_expect_str_eq((char *)got.p, table[i].expect, "in %s by %zu: %s", table[i].in, step, (char *)got.p);
            buf_release(&got);
        }
    }
}

Test(framer, a_streamed_literal_can_be_given_up)
{
    struct buf got = {0};
    static const char in[] = "a D{8+}\r\n12345678 {2+}\r\nxy\r\nb\r\n", far[] = "a D{22+}\r\n1";
    trace_asked(in, sizeof in - 1, 1, &got);
    cr_expect_str_eq((char *)got.p, "L<a D +8>1R4C<b>", "%s", (char *)got.p);
    buf_reset(&got);
    trace_asked(far, sizeof far - 1, 1, &got);
    cr_expect_str_eq((char *)got.p, "L<a D +22>1X4", "%s", (char *)got.p);
    buf_release(&got);
}

Test(framer, streaming_keeps_nothing)
{
    struct imap_framer f = {.ask = true};
    static uint8_t zeros[10000];
    size_t used = 0;
    cr_expect_eq(imap_framer_feed(&f, &roomy, BYTES_LIT("a {1000000000}\r\n"), &used), IMAP_FRAME_LITERAL);
    cr_expect_eq(imap_framer_stream(&f), IMAP_FRAME_CONTINUE);
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(imap_framer_feed(&f, &roomy, bytes_of(zeros, sizeof zeros), &used), IMAP_FRAME_DATA);
        cr_expect(used == sizeof zeros && f.data.n == sizeof zeros && f.data.p == zeros);
        cr_expect_eq(f.command.cap, 0);
    }
    imap_framer_reset(&f);
}

/*
 * gen_torture: messages as they should not be. Each row of the table breaks one rule, the way that real programs (or
 * enemies) break it; what breaks it is written into the Subject where there is one, so that a failing test can be read.
 */
#include "gen_message.h"

#include <glib.h>

struct strange {
    const struct gen_plan *plan;
    uint64_t index;
    struct gen_random r;
    struct buf *out;
};

static void head(struct strange *t, const char *subject)
{
    buf_append_str(t->out, "From: ");
    gen_mailbox(t->plan, gen_person(&t->r), t->out);
    buf_printf(t->out, "\nTo: archive@example.com\nSubject: %s\nDate: ", subject);
    gen_date(gen_time(t->plan, t->index), 0, t->out);
    buf_printf(t->out, "\nMessage-ID: <torture.%" G_GUINT64_FORMAT "@example.com>\n", t->index);
}

static void words(struct strange *t, size_t n)
{
    gen_paragraphs(t->plan->words, GEN_ASCII, &t->r, n, (struct gen_text_style){.columns = 70}, t->out);
}

static void empty(struct strange *t)
{
    (void)t;
}

static void only_header(struct strange *t)
{
    head(t, "no body and no blank line");
}

static void no_last_newline(struct strange *t)
{
    head(t, "no newline at the end");
    buf_append_str(t->out, "\nthe end");
}

static void no_separator(struct strange *t)
{
    head(t, "text without a blank line before it");
    words(t, 300);
}

static void no_header(struct strange *t)
{
    buf_append_byte(t->out, '\n');
    words(t, 300);
}

static void no_date_no_id(struct strange *t)
{
    buf_append_str(t->out, "From: a@example.com\nSubject: neither Date nor Message-ID\n\n");
    words(t, 100);
}

static void bad_date(struct strange *t)
{
    static const char *const dates[] = {"yesterday",
                                        "Mon, 31 Feb 2004 25:61:61 +9999",
                                        "1 Jan 102 00:00:00",
                                        "Thu, 01 Jan 1970 00:00:00 +0000",
                                        "",
                                        "Tue, 19 Jan 99999999999999999999 03:14:08 GMT",
                                        "(comment (nested"};
    buf_printf(t->out,
               "From: a@example.com\nSubject: bad date\nDate: %s\nMessage-ID: <date.%" G_GUINT64_FORMAT "@x>\n\nbody\n",
               dates[gen_below(&t->r, G_N_ELEMENTS(dates))], t->index);
}

static void doubled_fields(struct strange *t)
{
    head(t, "first of three");
    buf_append_str(
        t->out,
        "Subject: second\nSubject: third\nFrom: other@example.org\nMessage-ID: <again@x>\nMessage-ID: <again@x>\n"
        "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nbody\n--x--\n");
}

static void nul_bytes(struct strange *t)
{
    head(t, "NUL bytes");
    buf_append(t->out, "X-Nul: a\0b\n\nbe\0fore\n\0\n", 22);
    words(t, 200);
}

static void bare_cr(struct strange *t)
{
    size_t from = t->out->n;
    head(t, "only CR ends the lines");
    buf_append_byte(t->out, '\n');
    words(t, 300);
    for (size_t i = from; i < t->out->n; i++)
        if (t->out->p[i] == '\n')
            t->out->p[i] = '\r';
}

static void mixed_line_ends(struct strange *t)
{
    head(t, "CRLF here, LF there");
    buf_append_str(t->out, "X-A: 1\r\nX-B: 2\n\r\none\r\ntwo\nthree\rfour\r\r\n\n\r\n");
}

static void eight_bit_header(struct strange *t)
{
    head(t, "Gr\xfc\xdf"
            "e aus \xc3\x96sterreich \xff\xfe");
    buf_append_str(t->out, "X-\xe4: raw name\n\n\xa4\xa5\xa6\n");
}

static void bad_encoded_words(struct strange *t)
{
    head(t, "=?utf-8?B?gICA?= =?x-unknown?Q?=41=ZZ=?= =?utf-8?X?abc?= =?utf-8?Q?unfinished =?utf-8?B?=F0=9F?=");
    buf_append_str(t->out, "\nbody\n");
}

static void long_line(struct strange *t)
{
    head(t, "a line of 100,000 bytes");
    buf_append_byte(t->out, '\n');
    gen_paragraphs(t->plan->words, GEN_ASCII, &t->r, 100000, (struct gen_text_style){0}, t->out);
}

static void huge_recipients(struct strange *t)
{
    head(t, "5,000 recipients");
    buf_append_str(t->out, "Cc: undisclosed: ;");
    for (int i = 0; i < 5000; i++) {
        buf_append_str(t->out, i % 3 == 0 ? ",\n " : ", ");
        gen_mailbox(t->plan, gen_person(&t->r), t->out);
    }
    buf_append_str(t->out, "\n\nbody\n");
}

static void odd_addresses(struct strange *t)
{
    buf_printf(t->out,
               "From: \"unfinished <a@b\nTo: Group: a@b, \"c\\\"d\"@e (note (nested)), <@relay1,@relay2:f@g>;, h@i,,;\n"
               "Cc: <>, @, a@, \"\"@b, very.%s@x, (only a comment)\nSubject: odd addresses\nDate: Thu, 1 Jan 2004 "
               "00:00:00 +0000\n"
               "Message-ID: no brackets here\nReferences: <a><b> c <d@e\n\nbody\n",
               "long.long.long.long.long.long.long.long");
}

static void unclosed_boundary(struct strange *t)
{
    head(t, "multipart never closed");
    buf_append_str(t->out, "MIME-Version: 1.0\nContent-Type: multipart/mixed; "
                           "boundary=\"b\"\n\npreamble\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two");
}

static void missing_boundary(struct strange *t)
{
    head(t, "multipart without its boundary");
    buf_append_str(t->out,
                   gen_permille(&t->r, 500)
                       ? "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--b\n\none\n--b--\n"
                       : "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"\"\n\n--\n\none\n----\n");
}

static void prefix_boundaries(struct strange *t)
{
    head(t, "boundaries that begin alike");
    buf_append_str(t->out, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"a\"\n\n--a\nContent-Type: "
                           "multipart/alternative; boundary=\"ab\"\n\n"
                           "--ab\n\none\n--abc\n--ab--\n--a\n\ntwo\n--a-- \n");
}

static void deep_nesting(struct strange *t)
{
    head(t, "three hundred levels");
    buf_append_str(t->out, "MIME-Version: 1.0\n");
    for (int i = 0; i < 300; i++)
        buf_printf(t->out, "Content-Type: multipart/mixed; boundary=\"n%d\"\n\n--n%d\n", i, i);
    buf_append_str(t->out, "Content-Type: text/plain\n\ninnermost\n");
    for (int i = 299; i >= 0; i--)
        buf_printf(t->out, "--n%d--\n", i);
}

static void deep_messages(struct strange *t)
{
    for (int i = 0; i < 150; i++)
        buf_printf(t->out,
                   "From: a@example.com\nSubject: message %d in a message\nMIME-Version: 1.0\nContent-Type: "
                   "message/rfc822\n\n",
                   i);
    buf_append_str(t->out, "Subject: innermost\n\nbody\n");
}

static void many_parts(struct strange *t)
{
    head(t, "three thousand parts");
    buf_append_str(t->out, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"m\"\n\n");
    for (int i = 0; i < 3000; i++)
        buf_printf(t->out, "--m\n\n%d\n", i);
    buf_append_str(t->out, "--m--\n");
}

static void odd_content_type(struct strange *t)
{
    static const char *const types[] = {"text",
                                        "/",
                                        "text/plain; charset",
                                        "TEXT/PLAIN; charset=\"x",
                                        "text/plain; charset=utf-8; charset=koi8-r",
                                        "text/plain;;;; =; a=b;",
                                        "multipart/mixed; boundary=a b",
                                        "text/plain charset=us-ascii",
                                        "application/octet-stream; name*0*=utf-8''%e4; name*2=z; name*1=y",
                                        "text/plain; charset=../../etc"};
    head(t, "odd content type");
    buf_printf(t->out,
               "MIME-Version: one\nContent-Type: %s\nContent-Transfer-Encoding: base 64\nContent-Disposition: "
               ";;\nContent-Language: ,,\n\nbody\n",
               types[gen_below(&t->r, G_N_ELEMENTS(types))]);
}

static void bad_base64(struct strange *t)
{
    head(t, "base64 that is none");
    buf_append_str(t->out,
                   "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n");
    gen_base64_random(&t->r, "", 200, t->out);
    buf_append_str(t->out, "=====\n**not base64**\n");
    words(t, 100);
}

static void bad_quoted_printable(struct strange *t)
{
    head(t, "quoted-printable that is none");
    buf_append_str(
        t->out,
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: quoted-printable\n\n"
        "=\n=4\n=G0 =3d=3D trailing space \n= \nend=");
}

static void uuencoded(struct strange *t)
{
    head(t, "uuencode");
    buf_append_str(
        t->out,
        "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 cat.txt\n#0V%T\n`\nend\nbegin 644 unfinished\n#0V%T\n");
}

static void mbox_line_first(struct strange *t)
{
    buf_append_str(t->out, "From someone@example.com Thu Jan  1 00:00:00 2004\n>From another: x\n");
    head(t, "an mbox line first");
    buf_append_str(t->out, "Content-Length: 999999\nLines: -1\n\nFrom here the text begins\n>From there it goes on\n");
}

static void byte_order_mark(struct strange *t)
{
    buf_append_str(t->out, "\xef\xbb\xbf");
    head(t, "a byte order mark first");
    buf_append_str(t->out, "\nbody\n");
}

static void odd_field_lines(struct strange *t)
{
    buf_append_str(
        t->out, " continuation of nothing\nno colon in this line\n: no name\nSpace Name : x\nFrom : a@example.com\n");
    head(t, "odd header lines\n\t\n \t folded with blank lines");
    buf_append_str(t->out, "X-Empty:\nX-Tab\t: y\n \n\nbody\n");
}

static void long_field(struct strange *t)
{
    head(t, "a field of 200,000 bytes");
    buf_append_str(t->out, "X-Long: ");
    gen_phrase(t->plan->words, GEN_ASCII, &t->r, 200000, t->out);
    buf_append_str(t->out, "\nReferences:");
    for (int i = 0; i < 2000; i++)
        buf_printf(t->out, "\n <r%d@example.com>", i);
    buf_append_str(t->out, "\n\nbody\n");
}

static void external_and_partial(struct strange *t)
{
    head(t, "a part of a whole that is elsewhere");
    buf_append_str(
        t->out,
        gen_permille(&t->r, 500)
            ? "MIME-Version: 1.0\nContent-Type: message/partial; id=\"x@y\"; number=2; total=9\n\nmiddle\n"
            : "MIME-Version: 1.0\nContent-Type: message/external-body; access-type=local-file; name=\"/etc/passwd\"\n\n"
              "Content-Type: text/plain\nContent-ID: <x@y>\n\nphantom\n");
}

static void binary(struct strange *t)
{
    head(t, "raw bytes");
    buf_append_str(t->out,
                   "MIME-Version: 1.0\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\n");
    for (int i = 0; i < 500; i++) {
        uint64_t x = gen_next(&t->r);
        buf_append(t->out, &x, sizeof x);
    }
}

static void noise(struct strange *t)
{
    for (uint32_t i = 0, n = gen_below(&t->r, 200); i < n; i++) {
        uint64_t x = gen_next(&t->r);
        buf_append(t->out, &x, sizeof x);
    }
}

static void (*const table[])(struct strange *) = {
    empty,
    only_header,
    no_last_newline,
    no_separator,
    no_header,
    no_date_no_id,
    bad_date,
    doubled_fields,
    nul_bytes,
    bare_cr,
    mixed_line_ends,
    eight_bit_header,
    bad_encoded_words,
    long_line,
    huge_recipients,
    odd_addresses,
    unclosed_boundary,
    missing_boundary,
    prefix_boundaries,
    deep_nesting,
    deep_messages,
    many_parts,
    odd_content_type,
    bad_base64,
    bad_quoted_printable,
    uuencoded,
    mbox_line_first,
    byte_order_mark,
    odd_field_lines,
    long_field,
    external_and_partial,
    binary,
    noise,
};

void gen_torture(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out)
{
    (void)s;
    struct strange t = {plan, i, gen_random_of(plan->seed, i, GEN_FOR_TORTURE), out};
    gen_next(&t.r); /* gen_message took the first */
    table[gen_below(&t.r, G_N_ELEMENTS(table))](&t);
}

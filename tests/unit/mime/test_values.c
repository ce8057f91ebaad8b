/* The small values: subjects, ids, dates, encoded words, charsets, case mapping. */
#include "unit_mime.h"

struct text_case {
    const char *name, *in, *out;
    int64_t extra;
};

static const struct text_case subjects[] = {
    {"plain", "hello", "hello", 0},
    {"re", "Re: hello", "hello", 1},
    {"many", "RE: re : Fwd:FW: hello", "hello", 1},
    {"blob", "[list] hello", "hello", 0},
    {"blob and re", "[list] Re: [x] hello", "hello", 1},
    {"re with blob", "Re[2]: hello", "hello", 1},
    {"only a blob", "[hello]", "[hello]", 0},
    {"blobs only", "[a][b]", "[b]", 0},
    {"trailer", "hello (fwd) (FWD)", "hello", 1},
    {"fwd brackets", "[fwd: Re: hello]", "hello", 1},
    {"nothing left", "Re: ", "", 1},
    {"white space", "a \t b", "a b", 0},
    {"reply is no re", "reply: hello", "reply: hello", 0},
    {"encoded", "=?utf-8?q?Re=3A_hello?=", "hello", 1},
};

Test(values, base_subject)
{
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        const struct mime_record r = unit_parse_text(textf("Subject: %s\n\n", subjects[i].in));
        cr_expect_str_eq(unit_text(r.base_subject), subjects[i].out, "%s: %s", subjects[i].name,
                         unit_text(r.base_subject));
        cr_expect_eq(r.subject_is_reply, subjects[i].extra, "%s: reply", subjects[i].name);
    }
}

static const struct text_case words[] = {
    {"none", "plain", "plain", 0},
    {"q", "=?utf-8?q?a_=C3=A4?=", "a \\xc3\\xa4", 0},
    {"neighbours", "=?utf-8?q?a?= =?utf-8?q?b?=", "ab", 0},
    {"a space between word and text stays", "=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c", 0},
    {"a character cut in two", "=?utf-8?b?w6Q=?= =?utf-8?q?=C3?= =?utf-8?q?=A4?=", "\\xc3\\xa4\\xc3\\xa4", 0},
    {"after a padded word (lost by GMime 3.2.13)", "=?utf-8?B?YQ==?= =?utf-8?B?Yg==?= =?utf-8?B?Yw==?=", "abc", 0},
    {"language", "=?utf-8*de?q?=C3=A4?=", "\\xc3\\xa4", 0},
    {"other charset", "=?koi8-r?b?8NLJ18XU?=", "\\xd0\\x9f\\xd1\\x80\\xd0\\xb8\\xd0\\xb2\\xd0\\xb5\\xd1\\x82", 0},
    {"two charsets", "=?utf-8?q?a?= =?iso-8859-1?q?=E4?=", "a\\xc3\\xa4", 0},
    {"unknown charset", "=?nowhere?q?=E4x?=", "\\xef\\xbf\\xbdx", 1},
    {"bad base64", "=?utf-8?b?!!?=", "", 1},
    {"cut", "=?utf-8?q?a", "=?utf-8?q?a", 0},
    {"wrong encoding", "=?utf-8?x?a?=", "=?utf-8?x?a?=", 1},
    {"raw 8 bit, valid", "\xc3\xa4", "\\xc3\\xa4", 0},
    {"raw 8 bit, latin", "\xe4", "\\xc3\\xa4", 0},
    {"long charset name", "=?xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx?q?\xe4?=", "\\xef\\xbf\\xbd", 1},
};

Test(values, encoded_words)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const struct mime_record r = unit_parse_text(textf("Subject: %s\n\n", words[i].in));
        cr_expect_str_eq(unit_text(r.subject), words[i].out, "%s: %s", words[i].name, unit_text(r.subject));
        cr_expect_eq((r.defects & MIME_DEFECT(BAD_ENCODED_WORD)) != 0, words[i].extra, "%s: defect", words[i].name);
    }
}

struct date_case {
    const char *in;
    int64_t seconds;
    int zone;
    bool ok;
};

static const struct date_case dates[] = {
    {"Sat, 21 Nov 2026 00:01:10 +0100", 1795215670, 60, true},
    {"21 Nov 2026 00:01:10 +0100 (CET)", 1795215670, 60, true},
    {"Sat,21 nov 2026 0:01 -0530", 1795239060, -330, true},
    {"1 Jan 1970 00:00:00 GMT", 0, 0, true},
    {"29 Feb 2000 12:00:00 EST", 951843600, -300, true},
    {"Thu, 01 Aug 02 12:00:00 +0000", 1028203200, 0, true},
    {"Thu, 01 Aug 102 12:00:00 +0000", 1028203200, 0, true},
    {"1 Jan 69 00:00:00 +0000", -31536000, 0, true},
    {"Thu Aug  1 12:00:00 2002", 1028203200, 0, true},
    {"30 Feb 2000 12:00:00 +0000", 0, 0, false},
    {"never", 0, 0, false},
    {"", 0, 0, false},
};

Test(values, dates)
{
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        const struct date_case *d = &dates[i];
        const struct mime_record r = unit_parse_text(textf("Date: %s\nReceived: from a by b; %s\n\n", d->in, d->in));
        cr_expect_eq(r.has_sent_date, d->ok, "%s: has a date", d->in);
        cr_expect_eq(r.has_received_date, d->ok, "%s: received", d->in);
        cr_expect_eq((r.defects & MIME_DEFECT(BAD_DATE)) != 0, !d->ok, "%s: defect", d->in);
        if (!d->ok)
            continue;
        cr_expect_eq(r.sent_date, d->seconds, "%s: %lld", d->in, (long long)r.sent_date);
        cr_expect_eq(r.received_date, d->seconds, "%s: received %lld", d->in, (long long)r.received_date);
        cr_expect_eq(r.sent_zone, d->zone, "%s: zone %d", d->in, r.sent_zone);
    }
}

static const struct text_case ids[] = {
    {"one", "<a@b>", "a@b", 0},         {"blanks and quotes", " < \"a\" @ b > ", "a@b", 1},
    {"no brackets", "a@b", "a@b", 1},   {"nothing", "", "", 1},
    {"comment", "<a@b> (x)", "a@b", 1},
};

Test(values, message_ids)
{
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        const struct mime_record r = unit_parse_text(textf("Message-ID: %s\n\n", ids[i].in));
        cr_expect_str_eq(unit_text(r.message_id), ids[i].out, "%s: %s", ids[i].name, unit_text(r.message_id));
        cr_expect_eq((r.defects & MIME_DEFECT(BAD_MESSAGE_ID)) != 0, ids[i].extra, "%s: defect", ids[i].name);
    }
}

Test(values, threads)
{
    const uint64_t root = unit_parse_text("Message-ID: <r@x>\n\n").thread_id;
    cr_expect_eq(unit_parse_text("Message-ID: <2@x>\nIn-Reply-To: <r@x>\n\n").thread_id, root);
    cr_expect_eq(unit_parse_text("Message-ID: <3@x>\nIn-Reply-To: <2@x>\nReferences: <r@x>\n <2@x>\n\n").thread_id,
                 root);
    cr_expect_neq(unit_parse_text("Subject: none\n\n").thread_id, unit_parse_text("Subject: other\n\n").thread_id);
    cr_expect_str_eq(unit_text(unit_parse_text("References: <r@x> junk <2@x> <>\n\n").references), "r@x\\x002@x\\x00");
}

Test(values, references_keep_the_first_and_the_newest)
{
    struct mime_parser *p = mime_parser_new(&(struct mime_settings){.max_references = 3});
    struct mime_record r;
    mime_parse(p, BYTES_LIT("References: <1@x> <2@x> <3@x> <4@x> <5@x>\n\n"), &r);
    cr_expect_str_eq(unit_text(r.references), "1@x\\x004@x\\x005@x\\x00");
    mime_parser_free(&p);
    cr_expect_null(p);
}

static const struct text_case cases[] = {
    {"ascii", "Straße", "STRA\\xc3\\x9fE", 0},
    {"decomposed", "\xc3\xa4", "A\\xcc\\x88", 0},
    {"rfc example", "\xc7\x86", "Dz\\xcc\\x8c", 0},
    {"compatibility", "\xef\xac\x81", "fi", 0},
    {"hangul stays", "\xea\xb0\x80", "\\xea\\xb0\\x80", 0},
    {"not utf-8",
     "a\xff"
     "b",
     "A\\xffB", 0},
};

Test(values, casemap)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = {0};
        mime_casemap(bytes_str(cases[i].in), &out);
        cr_expect_str_eq(unit_text(buf_bytes(&out)), cases[i].out, "%s: %s", cases[i].name, unit_text(buf_bytes(&out)));
        buf_release(&out);
    }
}

static const struct text_case texts[] = {
    /* in: charset, a colon, the bytes */
    {"utf-8", "utf-8:\xc3\xa4", "\\xc3\\xa4", 0},
    {"bad utf-8", "utf-8:\xc3(", "\\xef\\xbf\\xbd(", 0},
    {"guess utf-8", ":\xc3\xa4", "\\xc3\\xa4", 0},
    {"guess windows", "us-ascii:\x93x\x94", "\\xe2\\x80\\x9cx\\xe2\\x80\\x9d", 0},
    {"latin1 is windows-1252", "ISO-8859-1:\x80", "\\xe2\\x82\\xac", 0},
    {"alias", "ks_c_5601-1987:\xb0\xa1", "\\xea\\xb0\\x80", 0},
    {"gb2312 is gb18030", "gb2312:\xd6\xd0", "\\xe4\\xb8\\xad", 0},
    {"cut multibyte", "euc-jp:\xa4", "\\xef\\xbf\\xbd", 0},
    {"unknown", "fakescii:a\xe4", "a\\xef\\xbf\\xbd", 0},
    {"no iconv options", "latin2//TRANSLIT:a\xe4", "a\\xef\\xbf\\xbd", 0},
    {"no paths", "../../x:a", "a", 0},
};

Test(values, charsets)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct bytes in = bytes_str(texts[i].in);
        const size_t colon = (size_t)((const uint8_t *)memchr(in.p, ':', in.n) - in.p);
        struct buf out = {0};
        mime_decode_text(bytes_slice(in, colon + 1, SIZE_MAX), MIME_ENCODING_8BIT,
                         textf("%.*s", (int)colon, texts[i].in), &out);
        cr_expect_str_eq(unit_text(buf_bytes(&out)), texts[i].out, "%s: %s", texts[i].name, unit_text(buf_bytes(&out)));
        buf_release(&out);
    }
}

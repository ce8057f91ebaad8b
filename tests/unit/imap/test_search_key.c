/* Search keys: every one of RFC 3501, trees, charsets, depth. */
#include <criterion/criterion.h>

#include "search_key.h"

#include <stdio.h>
#include <stdlib.h>

static void describe(const struct mdsq_key *k, struct buf *to)
{
    static const char *const names[] = {
        "ALL",   "AND",     "OR",          "NOT",     "FLAG",       "KEYWORD", "SEQ",      "UID",    "BEFORE",
        "ON",    "SINCE",   "SENTBEFORE",  "SENTON",  "SENTSINCE",  "LARGER",  "SMALLER",  "HEADER", "FROM",
        "TO",    "CC",      "BCC",         "SUBJECT", "BODY",       "TEXT",    "MODSEQ",   "NONE",   "SET",
        "OLDER", "YOUNGER", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE", "EMAILID", "THREADID", "FUZZY"};
    buf_append_str(to, names[k->kind]);
    if (k->number)
        buf_printf(to, "=%lld", (long long)k->number); /* days are signed */
    if (k->field.p)
        buf_printf(to, "<%.*s>", (int)k->field.n, (const char *)k->field.p);
    if (k->text.p)
        buf_printf(to, "'%.*s'", (int)k->text.n, (const char *)k->text.p);
    for (size_t i = 0; i < k->children_n; i++) {
        buf_append_str(to, i ? " " : "(");
        describe(&k->children[i], to);
    }
    if (k->children_n)
        buf_append_str(to, ")");
}

/* Never looked into by the parser. */
static const struct mdsq_set *const saved = (const struct mdsq_set *)(const void *)"$";

/* NULL if refused; "BADCHARSET". Owned. */
static char *parse(const char *text, unsigned depth, const char **why)
{
    struct arena *arena = arena_new(4 << 20);
    struct imap_search_program program = {.now_s = 1000, .saved = saved, .recent = saved};
    struct imap_cursor at = imap_cursor_of(bytes_str(text), arena);
    struct buf out = {0};
    *why = NULL;
    if (!imap_take_search(&at, depth, &program) || !imap_take_end(&at)) {
        *why = at.why;
        arena_free(&arena);
        return NULL;
    }
    if (program.bad_charset)
        buf_append_str(&out, "BADCHARSET");
    else
        describe(program.key, &out);
    if (program.has_return)
        buf_printf(&out, " return=%x", program.returns);
    if (program.has_modseq)
        buf_append_str(&out, " modseq");
    if (program.has_charset && !strstr(text, "CHARSET"))
        buf_append_str(&out, " charset");
    buf_append_byte(&out, 0);
    arena_free(&arena);
    return (char *)out.p;
}

Test(search_key, every_key)
{
    static const struct {
        const char *say, *expect;
    } table[] = {
        {" ALL", "ALL"},
        {" all", "ALL"},
        {" ANSWERED", "FLAG=2"},
        {" UNANSWERED", "NOT(FLAG=2)"},
        {" DELETED", "FLAG=8"},
        {" UNDELETED", "NOT(FLAG=8)"},
        {" DRAFT", "FLAG=16"},
        {" UNDRAFT", "NOT(FLAG=16)"},
        {" FLAGGED", "FLAG=4"},
        {" UNFLAGGED", "NOT(FLAG=4)"},
        {" SEEN", "FLAG=1"},
        {" UNSEEN", "NOT(FLAG=1)"},
        {" NEW", "AND(SET NOT(FLAG=1))"},
        {" RECENT", "SET"},
        {" OLD", "NOT(SET)"},
        {" KEYWORD $Junk", "KEYWORD'$Junk'"},
        {" UNKEYWORD x", "NOT(KEYWORD'x')"},
        {" KEYWORD \"x\"", NULL},
        {" BCC a", "BCC'a'"},
        {" CC \"a b\"", "CC'a b'"},
        {" TO {3+}\r\nx)(", "TO'x)('"},
        {" FROM a", "FROM'a'"},
        {" SUBJECT \"\"", "SUBJECT''"},
        {" BODY x]y", "BODY'x]y'"},
        {" TEXT \"\\\"\\\\\"", "TEXT'\"\\'"},
        {" HEADER x-y z", "HEADER<x-y>'z'"},
        {" HEADER x-y", NULL},
        {" HEADER x \"\"", "HEADER<x>''"},
        {" BEFORE 1-Jan-1970", "BEFORE"},
        {" BEFORE 2-Jan-1970", "BEFORE=1"},
        {" ON \"01-feb-1994\"", "ON=8797"},
        {" SINCE 29-Feb-2000", "SINCE=11016"},
        {" SINCE 29-Feb-2001", NULL},
        {" SINCE 29-Feb-1900", NULL},
        {" SENTBEFORE 31-Dec-9999", "SENTBEFORE=2932896"},
        {" SENTON 1-Jan-2020", "SENTON=18262"},
        {" SENTSINCE 1-Jan-2020", "SENTSINCE=18262"},
        {" BEFORE 31-Dec-1969", "BEFORE=-1"},
        {" SENTSINCE 31-Dec-1969", "SENTSINCE=-1"},
        {" SENTON 1-Jan-1900", "SENTON=-25567"},
        {" ON 0-Jan-2020", NULL},
        {" ON 32-Jan-2020", NULL},
        {" ON 1-Foo-2020", NULL},
        {" ON 1-Jan-20", NULL},
        {" ON 001-Jan-2020", NULL},
        {" ON \"1-Jan-2020", NULL},
        {" LARGER 0", "LARGER"},
        {" LARGER 4294967295", "LARGER=4294967295"},
        {" LARGER 4294967296", "LARGER=4294967296"},
        {" LARGER 9223372036854775808", NULL},
        {" $", "SET"},
        {" NOT $", "NOT(SET)"},
        {" UID $", "SET"},
        {" 1,$", NULL},
        {" OLDER 10", "OLDER=990"},
        {" YOUNGER 2000", "YOUNGER=-1000"},
        {" OLDER 0", NULL},
        {" OLDER 4294967296", NULL},
        {" SAVEDBEFORE 2-Jan-1970", "SAVEDBEFORE=1"},
        {" SAVEDON 2-Jan-1970 SAVEDSINCE 3-Jan-1970", "AND(SAVEDON=1 SAVEDSINCE=2)"},
        {" SAVEDATESUPPORTED", "ALL"},
        {" EMAILID M12 THREADID Tab", "AND(EMAILID'M12' THREADID'Tab')"},
        {" EMAILID \"M\"", NULL},
        {" MODSEQ 0", "MODSEQ modseq"},
        {" MODSEQ 620162338", "MODSEQ=620162338 modseq"},
        {" MODSEQ \"/flags/\\\\draft\" all 620162338", "MODSEQ=620162338 modseq"},
        {" MODSEQ \"/flags/x\" SHARED 1", "MODSEQ=1 modseq"},
        {" MODSEQ \"/flags/x\" 1", NULL},
        {" MODSEQ \"/other/x\" all 1", NULL},
        {" MODSEQ \"/flags/x\" mine 1", NULL},
        {" MODSEQ 9223372036854775808", NULL},
        {" RETURN () ALL", "ALL return=4"},
        {" RETURN (MIN) SEEN", "FLAG=1 return=1"},
        {" return (min MAX all Count SAVE) CHARSET UTF-8 ALL", "ALL return=1f"},
        {" RETURN (MIN MIN) ALL", "ALL return=1"},
        {" RETURN (PARTIAL 1:2) ALL", "ALL return=80"},
        {" RETURN (PARTIAL 1) ALL", NULL},
        {" RETURN (MIN ALL PARTIAL -1:-2) ALL", NULL},
        {" RETURN (UPDATE COUNT CONTEXT) ALL", "ALL return=68"},
        {" RETURN (RELEVANCY) ALL", NULL},
        {" RETURN (RELEVANCY ALL) FUZZY ALL", "FUZZY(ALL) return=104"},
        {" RETURN (MIN  MAX) ALL", NULL},
        {" RETURN MIN ALL", NULL},
        {" RETURN (MIN)", NULL},
        {" RETURN (MIN) RETURN (MAX) ALL", NULL},
        {" CHARSET UTF-8 RETURN (MIN) ALL", NULL},
        {" SMALLER x", NULL},
        {" UID 1:4,*", "UID'1:4,*'"},
        {" UID x", NULL},
        {" 1,3:*", "SEQ'1,3:*'"},
        {" *", "SEQ'*'"},
        {" 0", NULL},
        {" 1:", NULL},
        {" 1:2:3", NULL},
        {" 1x", NULL},
        {" SEEN 1", "AND(FLAG=1 SEQ'1')"},
        {" NOT SEEN", "NOT(FLAG=1)"},
        {" NOT NOT UNSEEN", "NOT(NOT(NOT(FLAG=1)))"},
        {" OR SEEN NOT DELETED", "OR(FLAG=1 NOT(FLAG=8))"},
        {" OR SEEN", NULL},
        {" NOT", NULL},
        {" (SEEN)", "FLAG=1"},
        {" (SEEN DELETED) 1", "AND(AND(FLAG=1 FLAG=8) SEQ'1')"},
        {" OR (SEEN DELETED) (1 (2 3))", "OR(AND(FLAG=1 FLAG=8) AND(SEQ'1' AND(SEQ'2' SEQ'3')))"},
        {" ()", NULL},
        {" (SEEN", NULL},
        {" SEEN)", NULL},
        {" SEEN ", NULL},
        {" ", NULL},
        {"", NULL},
        {" FROB", NULL},
        {" SEENX", NULL},
        {" CHARSET UTF-8 SEEN", "FLAG=1"},
        {" CHARSET \"us-ascii\" TEXT a", "TEXT'a'"},
        {" CHARSET US-ASCII TEXT {2+}\r\n\xc3\xbc", NULL},
        {" CHARSET UTF-8 TEXT {2+}\r\n\xc3\xbc", "TEXT'\xc3\xbc'"},
        {" TEXT {2+}\r\n\xc3\xbc", "TEXT'\xc3\xbc'"},
        {" TEXT \"\xc3\xbc\"", "TEXT'\xc3\xbc'"},
        {" CHARSET UTF-8 TEXT {1+}\r\n\xfc", NULL},
        {" CHARSET UTF-8 TEXT {2+}\r\n\xc0\x80", NULL},
        {" CHARSET UTF-8 TEXT {3+}\r\n\xed\xa0\x80", NULL},
        {" CHARSET UTF-8 TEXT {4+}\r\n\xf4\x90\x80\x80", NULL},
        {" CHARSET UTF-8 TEXT {4+}\r\n\xf4\x8f\xbf\xbf", "TEXT'\xf4\x8f\xbf\xbf'"},
        {" CHARSET ISO-8859-1 TEXT {1+}\r\n\xfc", "BADCHARSET"},
        {" CHARSET ISO-8859-1", NULL},
        {" CHARSET UTF-8", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *why;
        char *got = parse(table[i].say, 64, &why);
        if (table[i].expect && got)
            cr_expect_str_eq(got, table[i].expect, "%s: %s", table[i].say, got);
        else
            cr_expect(!table[i].expect && !got, "%s: %s (%s)", table[i].say, got ? got : "refused", why ? why : "");
        cr_expect(got || why, "%s: refused without a reason", table[i].say);
        free(got);
    }
}

static char *nested(const char *open, const char *inner, const char *close, unsigned depth)
{
    struct buf b = {0};
    buf_append_str(&b, " ");
    for (unsigned i = 0; i < depth; i++)
        buf_append_str(&b, open);
    buf_append_str(&b, inner);
    for (unsigned i = 0; i < depth; i++)
        buf_append_str(&b, close);
    buf_append_byte(&b, 0);
    return (char *)b.p;
}

Test(search_key, depth_is_bounded)
{
    static const struct {
        const char *open, *close;
    } shapes[] = {{"(", ")"}, {"NOT ", ""}, {"OR 1 ", ""}, {"OR (", ") 1"}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        const char *why;
        unsigned deepest = 0;
        for (unsigned depth = 1; depth <= 12; depth++) {
            char *text = nested(shapes[k].open, "UNSEEN", shapes[k].close, depth), *got = parse(text, 10, &why);
            if (got)
                deepest = depth;
            cr_expect(got ? deepest == depth : true, "%s: %u is refused, %u is not", shapes[k].open, deepest, depth);
            free(got);
            free(text);
        }
        cr_expect(deepest >= 4 && deepest < 10, "%s: %u", shapes[k].open, deepest);
        char *text = nested(shapes[k].open, "1", shapes[k].close, 20000), *got = parse(text, 1000000, &why);
        cr_expect_null(got, "%s", shapes[k].open);
        free(text);
    }
}

/* What FETCH asks for: every attribute, every section, and what is none. */
#include <criterion/criterion.h>

#include "fetch_att.h"

#include <stdio.h>

/* The parsed form as text: bits of attrs, uid, then each body: kind/path/fields label first.count */
static const char *parse(const char *text, struct arena *arena, const char **why)
{
    static char out[8192];
    struct imap_fetch_atts atts = {0};
    struct imap_cursor at = imap_cursor_of(bytes_str(text), arena);
    if (!imap_take_fetch_atts(&at, &atts) || !imap_take_end(&at)) {
        *why = at.why;
        return NULL;
    }
    char *to = out + sprintf(out, "%x%s", atts.attrs, atts.uid ? "u" : "");
    for (const struct imap_fetch_body *b = atts.bodies; b; b = b->next) {
        to += sprintf(to, " %d/", (int)b->section.kind);
        for (size_t i = 0; i < b->section.path_n; i++)
            to += sprintf(to, "%u.", b->section.path[i]);
        to += sprintf(to, "/%zu %.*s", b->section.fields_n, (int)b->label.n, (const char *)b->label.p);
        if (b->partial)
            to += sprintf(to, " %llu,%llu", (unsigned long long)b->first, (unsigned long long)b->count);
        if (b->size_only)
            to += sprintf(to, " size");
    }
    sprintf(to, "%s%s%s", atts.sees ? " sees" : "", atts.email_id ? " email" : "", atts.thread_id ? " thread" : "");
    return out;
}

Test(fetch_att, what_is_asked)
{
    static const struct {
        const char *say, *expect; /* NULL: refused */
    } table[] = {
        {"ALL", "f"},
        {"FAST", "7"},
        {"full", "2f"},
        {"(ALL)", NULL},
        {"ALL FLAGS", NULL},
        {"FLAGS", "1"},
        {"(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY UID)", "3fu"},
        {"(flags  uid)", NULL},
        {"()", NULL},
        {"(FLAGS", NULL},
        {"FLAGS)", NULL},
        {"FLAGSX", NULL},
        {"BODY", "20"},
        {"BODY.PEEK", NULL},
        {"BODYSTRUCTURE[]", NULL},
        {"BODY[]", "0 0//0 BODY[] sees"},
        {"BODY.PEEK[]", "0 0//0 BODY[]"},
        {"body.peek[text]", "0 4//0 BODY[TEXT]"},
        {"BODY[HEADER]", "0 1//0 BODY[HEADER] sees"},
        {"BODY[MIME]", NULL},
        {"BODY[1.MIME]", "0 5/1./0 BODY[1.MIME] sees"},
        {"BODY[1.2.3]", "0 0/1.2.3./0 BODY[1.2.3] sees"},
        {"BODY[4294967295]", "0 0/4294967295./0 BODY[4294967295] sees"},
        {"BODY[4294967296]", NULL},
        {"BODY[0]", NULL},
        {"BODY[1.0]", NULL},
        {"BODY[1.]", NULL},
        {"BODY[1..2]", NULL},
        {"BODY[.1]", NULL},
        {"BODY[1.TEXT.2]", NULL},
        {"BODY[TEXT", NULL},
        {"BODY[1.HEADER.FIELDS (To)]", "0 2/1./1 BODY[1.HEADER.FIELDS (To)] sees"},
        {"BODY[HEADER.FIELDS.NOT (To \"C c\" {1}\r\nx)]", "0 3//3 BODY[HEADER.FIELDS.NOT (To \"C c\" x)] sees"},
        {"BODY[HEADER.FIELDS (NIL nil)]", "0 2//2 BODY[HEADER.FIELDS (\"NIL\" \"nil\")] sees"},
        {"BODY[HEADER.FIELDS ({3}\r\na\rb)]", "0 2//1 BODY[HEADER.FIELDS ({3}\r\na\rb)] sees"},
        {"BODY[HEADER.FIELDS (To]", NULL},
        {"BODY[HEADER.FIELDS ()]", NULL},
        {"BODY[HEADER.FIELDS]", NULL},
        {"BODY[HEADER.FIELDS(To)]", NULL},
        {"BODY[HEADER (To)]", NULL},
        {"BODY[]<0.1>", "0 0//0 BODY[]<0> 0,1 sees"},
        {"BODY[]<4294967295.4294967295>", "0 0//0 BODY[]<4294967295> 4294967295,4294967295 sees"},
        {"BODY[]<0.0>", NULL},
        {"BODY[]<0>", NULL},
        {"BODY[]<.1>", NULL},
        {"BODY[]<0.1", NULL},
        {"BODY[]<0.4294967296>", "0 0//0 BODY[]<0> 0,4294967296 sees"},
        {"BODY[]<9223372036854775807.9223372036854775807>",
         "0 0//0 BODY[]<9223372036854775807> 9223372036854775807,9223372036854775807 sees"},
        {"BODY[]<0.9223372036854775808>", NULL},
        {"BODY[]<0.99999999999999999999999>", NULL},
        {"RFC822", "0 0//0 RFC822 sees"},
        {"RFC822.HEADER", "0 1//0 RFC822.HEADER"},
        {"RFC822.TEXT", "0 4//0 RFC822.TEXT sees"},
        {"RFC822[]", NULL},
        {"RFC822<0.1>", NULL},
        {"(RFC822.SIZE BODY[1] BODY[2]<3.4> UID)", "4u 0/1./0 BODY[1] 0/2./0 BODY[2]<3> 3,4 sees"},
        {"(MODSEQ SAVEDATE)", "280"},
        {"EMAILID", "100 email"},
        {"(threadid EMAILID)", "100 email thread"},
        {"PREVIEW", "400"},
        {"PREVIEW (LAZY)", "400"},
        {"(PREVIEW (LAZY) UID)", "400u"},
        {"(PREVIEW (lazy LAZY))", "400"},
        {"(PREVIEW (LAZY FAST))", NULL},
        {"PREVIEW (LAZY", NULL},
        {"PREVIEW ()", NULL},
        {"BINARY[]", "0 6//0 BINARY[] sees"},
        {"BINARY[1]", "0 6/1./0 BINARY[1] sees"},
        {"BINARY[1.2]<3.4>", "0 6/1.2./0 BINARY[1.2]<3> 3,4 sees"},
        {"binary.peek[1]<3.4>", "0 6/1./0 BINARY[1]<3> 3,4"},
        {"BINARY.SIZE[1]", "0 6/1./0 BINARY.SIZE[1] size"},
        {"BINARY.SIZE[1]<0.1>", NULL},
        {"BINARY", NULL},
        {"BINARY[HEADER]", NULL},
        {"BINARY[1.MIME]", NULL},
        {"BINARY[0]", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct arena *arena = arena_new(1 << 20);
        const char *why = NULL;
        const char *got = parse(table[i].say, arena, &why);
        if (table[i].expect && got)
            cr_expect_str_eq(got, table[i].expect, "%s: %s", table[i].say, got);
        else
            cr_expect(!table[i].expect && !got, "%s: %s (%s)", table[i].say, got ? got : "refused", why ? why : "");
        cr_expect(got || why, "%s: refused without a reason", table[i].say);
        arena_free(&arena);
    }
}

Test(fetch_att, limits_are_exact)
{
    struct arena *arena = arena_new(8 << 20);
    static char text[1 << 16];
    const char *why = NULL;
    for (int more = 0; more < 2; more++) {
        char *to = text + sprintf(text, "(BODY[1]");
        for (int i = 1; i < IMAP_FETCH_BODIES_MAX + more; i++)
            to += sprintf(to, " BODY[1]");
        sprintf(to, ")");
        cr_expect_eq(parse(text, arena, &why) != NULL, !more, "%d bodies", IMAP_FETCH_BODIES_MAX + more);
        to = text + sprintf(text, "BODY[1");
        for (int i = 1; i < MDSQ_SECTION_DEPTH_MAX + more; i++)
            to += sprintf(to, ".1");
        sprintf(to, "]");
        cr_expect_eq(parse(text, arena, &why) != NULL, !more, "depth %d", MDSQ_SECTION_DEPTH_MAX + more);
        to = text + sprintf(text, "BODY[HEADER.FIELDS (x");
        for (int i = 1; i < IMAP_FETCH_FIELDS_MAX + more; i++)
            to += sprintf(to, " x");
        sprintf(to, ")]");
        cr_expect_eq(parse(text, arena, &why) != NULL, !more, "%d fields", IMAP_FETCH_FIELDS_MAX + more);
    }
    arena_free(&arena);
}

Test(fetch_att, small_arena_refuses)
{
    struct arena *arena = arena_new(64);
    const char *why = NULL;
    cr_expect_null(parse("BODY[HEADER.FIELDS (a b c d e f g h i j)]", arena, &why));
    cr_expect_not_null(why);
    arena_free(&arena);
}

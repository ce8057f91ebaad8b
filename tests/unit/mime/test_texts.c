/* The walk over an item's texts. */
#include "unit_mime.h"

#include "mime/texts.h"

#include <criterion/criterion.h>

static int read_item(void *arg, uint64_t off, uint64_t len, struct bytes *out, struct error *err)
{
    const struct bytes *item = arg;
    *out = bytes_slice(*item, (size_t)off, (size_t)len);
    return out->n == len ? BASE_OK : error_set(err, BASE_ERR_GONE, 0, "cut off");
}

/* "kind NAME|VALUE\n" of every text. */
static void tell(struct bytes item, enum mime_texts_what what, struct buf *out)
{
    static const char *const kinds[] = {"own", "attached", "part", "body"};
    struct mime_parser *p = mime_parser_new(NULL);
    struct mime_record record;
    struct mime_parts parts;
    struct mime_texts t;
    struct mime_text text;
    int rc;
    mime_parse(p, item, &record);
    cr_assert_eq(mime_parts_decode(record.parts, item.n, &parts, NULL), BASE_OK);
    mime_texts_init(&t);
    mime_texts_begin(&t, &parts, what, read_item, &item);
    while ((rc = mime_texts_next(&t, &text, NULL)) != 0) {
        if (rc < 0) {
            buf_append_str(out, "unreadable\n");
            continue;
        }
        buf_printf(out, "%s ", kinds[text.kind]);
        buf_append_bytes(out, text.name);
        buf_append_byte(out, '|');
        buf_append_bytes(out, text.kind == MIME_TEXT_BODY ? mime_texts_body(&t, &text) : mime_texts_value(&t, &text));
        buf_append_byte(out, '\n');
    }
    mime_texts_release(&t);
    mime_parts_release(&parts);
    mime_parser_free(&p);
}

Test(texts, walk_table)
{
    static const struct {
        const char *name, *item, *expect;
        enum mime_texts_what what;
    } rows[] = {
        {"a text", "Subject: Hi\n\nYou there\nme\n", "own Subject|HI\nbody |YOU THERE ME \n", MIME_TEXTS_ALL},
        {"own fields alone", "Subject: Hi\nX: y\n\nbody\n", "own Subject|HI\nown X|Y\n", MIME_TEXTS_OWN},
        {"folds are one blank", "Subject: a\r\n  b\r\n\tc\r\n\r\n", "own Subject|A  B C\nbody |\n", MIME_TEXTS_ALL},
        {"encoded words", "Subject: =?utf-8?q?=C3=A9?=\n =?utf-8?q?t?=\n\n", "own Subject|E\xcc\x81T\nbody |\n",
         MIME_TEXTS_ALL},
        {"base64 and its charset",
         "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\n5Gg=\n",
         "own Content-Type|TEXT/PLAIN; CHARSET=ISO-8859-1\nown Content-Transfer-Encoding|BASE64\nbody |A\xcc\x88H\n",
         MIME_TEXTS_ALL},
        {"soft breaks", "Content-Transfer-Encoding: quoted-printable\n\none wo=\nrd \nend=",
         "own Content-Transfer-Encoding|QUOTED-PRINTABLE\nbody |ONE WORD END\n", MIME_TEXTS_ALL},
        {"parts and attached messages",
         "Content-Type: multipart/mixed; boundary=x\n\n--x\nA: 1\n\nt1\n--x\nContent-Type: message/rfc822\n\nB: "
         "2\n\nt2\n--x\nContent-Type: image/png\n\nnone\n--x--\n",
         "own Content-Type|MULTIPART/MIXED; BOUNDARY=X\npart A|1\nbody |T1\npart Content-Type|MESSAGE/RFC822\nattached "
         "B|2\nbody |T2\npart "
         "Content-Type|IMAGE/PNG\n",
         MIME_TEXTS_ALL},
        {"nothing", "", "body |\n", MIME_TEXTS_ALL},
    };
    mime_init();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out = {0};
        tell(bytes_str(rows[i].item), rows[i].what, &out);
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(rows[i].expect)), "%s: %.*s", rows[i].name, (int)out.n,
                  (const char *)out.p);
        buf_release(&out);
    }
}

Test(texts, goes_on_behind_what_cannot_be_read)
{
    const struct bytes whole = bytes_str("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nt1\n--x\n\nt2\n--x--\n");
    struct bytes cut = {whole.p, whole.n - 8}; /* the second text is not there any more */
    struct mime_parser *p = mime_parser_new(NULL);
    struct mime_record record;
    struct mime_parts parts;
    struct mime_texts t;
    struct mime_text text;
    unsigned texts = 0, failed = 0;
    int rc;
    mime_init();
    mime_parse(p, whole, &record);
    cr_assert_eq(mime_parts_decode(record.parts, whole.n, &parts, NULL), BASE_OK);
    mime_texts_init(&t);
    mime_texts_begin(&t, &parts, MIME_TEXTS_ALL, read_item, &cut);
    while ((rc = mime_texts_next(&t, &text, NULL)) != 0) {
        texts += rc > 0 && text.kind == MIME_TEXT_BODY;
        failed += rc < 0;
    }
    cr_expect_eq(texts, 1);
    cr_expect_eq(failed, 1);
    mime_texts_release(&t);
    mime_parts_release(&parts);
    mime_parser_free(&p);
}

Test(texts, forms_of_a_field)
{
    struct mime_texts t;
    struct mime_text text;
    struct bytes bare;
    mime_texts_init(&t);
    mime_texts_begin_block(&t, bytes_str("From: ann (a. (b)) @ example . org, \"x y\" <x@y>\nTo: plain@example.org\n"));
    cr_assert_eq(mime_texts_next(&t, &text, NULL), 1);
    cr_expect(bytes_equal(mime_texts_name(&t, &text), BYTES_LIT("FROM: ")));
    cr_expect(bytes_equal(mime_texts_whole(&t, &text), BYTES_LIT("FROM: ANN (A. (B)) @ EXAMPLE . ORG, \"X Y\" <X@Y>")));
    cr_expect(bytes_equal(mime_texts_value(&t, &text), BYTES_LIT("ANN (A. (B)) @ EXAMPLE . ORG, \"X Y\" <X@Y>")));
    cr_assert(mime_texts_bare(&t, &text, &bare));
    cr_expect(bytes_equal(bare, BYTES_LIT("ANN@EXAMPLE.ORG, \"X Y\" <X@Y>")));
    cr_assert_eq(mime_texts_next(&t, &text, NULL), 1);
    cr_expect(!mime_texts_bare(&t, &text, &bare));
    cr_expect_eq(mime_texts_next(&t, &text, NULL), 0);
    mime_texts_release(&t);
}

Test(texts, trace_lists)
{
    static const struct {
        const char *list, *name;
        bool has;
    } rows[] = {
        {"Received, X-Spam*", "received", true},
        {"Received, X-Spam*", "Received-SPF", false},
        {"Received, X-Spam*", "X-SPAM", true},
        {"Received, X-Spam*", "x-spam-status", true},
        {"Received, X-Spam*", "x-spa", false},
        {"", "Received", false},
        {"*", "anything", true},
        {" a\tb\n", "B", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mime_trace *trace = mime_trace_new(bytes_str(rows[i].list));
        cr_expect_eq(mime_trace_has(trace, bytes_str(rows[i].name)), rows[i].has, "'%s' of '%s'", rows[i].name,
                     rows[i].list);
        mime_trace_free(&trace);
    }
    struct mime_trace *a = mime_trace_new(BYTES_LIT("B, a,,A")), *b = mime_trace_new(BYTES_LIT("A b"));
    cr_expect(bytes_equal(mime_trace_text(a), BYTES_LIT("a b")));
    cr_expect(bytes_equal(mime_trace_text(a), mime_trace_text(b)));
    mime_trace_free(&a);
    mime_trace_free(&b);
}

/* Blocks, tails and the memory of mapped characters change nothing. */
Test(texts, needles_are_casemapped_like_texts)
{
    struct buf once = {0}, twice = {0};
    const struct bytes text = bytes_str("abcdefghijklmnopqrstuvwxyz{`@[ ABCZ \xc3\xa9\xc3\xa9 \xe6\x9d\xb1 \xff\xc3 "
                                        "\xf0\x90\x90\xa8 end of a line of more than one block\r\nnext");
    mime_texts_needle(text, &once);
    mime_casemap(bytes_str("abcdefghijklmnopqrstuvwxyz{`@[ ABCZ \xc3\xa9\xc3\xa9 \xe6\x9d\xb1 \xff\xc3 "
                           "\xf0\x90\x90\xa8 end of a line of more than one block next"),
                 &twice);
    cr_expect(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    cr_expect(memmem(once.p, once.n,
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ{`@[ ABCZ E\xcc\x81"
                     "E\xcc\x81 \xe6\x9d\xb1 \xff\xc3 \xf0\x90\x90\x80 END",
                     58) != NULL);
    buf_release(&once);
    buf_release(&twice);
}

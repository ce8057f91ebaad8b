/*
 * GMime as the referee: its parser finds the same leaves at the same bytes, and
 * the same addresses, wherever both make sense of a message.
 *
 * Where they may differ, by decision (docs/TOLERATED.md), the message is left
 * out and counted: items whose structure is defective. What is left must agree
 * nearly everywhere. The differences that remain were looked at one by one:
 * GMime drops parts that have neither header nor body, keeps the line end
 * before a last boundary that has none itself, reads a part without a header
 * as one header, and takes a lone LF before a CRLF boundary for two bytes.
 */
#include "unit_mime.h"

#include <ftw.h>
#include <gmime/gmime.h>

/* Structure defects with which the two are free to differ. */
static const uint64_t excused = MIME_DEFECT(NO_HEADER) | MIME_DEFECT(NO_SEPARATOR) | MIME_DEFECT(BAD_HEADER_LINE) |
                                MIME_DEFECT(EMPTY_MULTIPART) | MIME_DEFECT(BAD_BOUNDARY) |
                                MIME_DEFECT(UNCLOSED_BOUNDARY) | MIME_DEFECT(DUPLICATE_HEADER) |
                                MIME_DEFECT(BAD_CONTENT_TYPE) | MIME_DEFECT(HEADER_NUL) | MIME_DEFECT(BODY_NUL) |
                                MIME_DEFECT(EMPTY) | MIME_DEFECT(TOO_DEEP) | MIME_DEFECT(MBOX_FROM);

struct leaf {
    int64_t off, len;
};

struct verdict {
    unsigned seen, excused, agree, differ;
    unsigned addresses, address_differ;
};

static struct verdict verdict; /* nftw hands over no argument */

static void leaves_of_gmime(GMimeObject *object, GArray *out)
{
    if (GMIME_IS_MULTIPART(object)) {
        const int n = g_mime_multipart_get_count(GMIME_MULTIPART(object));
        for (int i = 0; i < n; i++)
            leaves_of_gmime(g_mime_multipart_get_part(GMIME_MULTIPART(object), i), out);
    } else if (GMIME_IS_MESSAGE_PART(object)) {
        GMimeMessage *message = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
        if (message && g_mime_message_get_mime_part(message))
            leaves_of_gmime(g_mime_message_get_mime_part(message), out);
    } else if (GMIME_IS_PART(object)) {
        GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(object));
        GMimeStream *stream = content ? g_mime_data_wrapper_get_stream(content) : NULL;
        struct leaf leaf = {-1, 0};
        if (stream)
            leaf = (struct leaf){stream->bound_start, stream->bound_end - stream->bound_start};
        g_array_append_val(out, leaf);
    }
}

static void leaves_of_ours(const struct mime_parts *t, GArray *out)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const struct mime_part *p = &t->v[i];
        const uint8_t kind = p->kind == MIME_PART_MESSAGE_ROOT ? p->root_kind : p->kind;
        const struct leaf leaf = {(int64_t)p->body_off, (int64_t)p->body_len};
        if (kind == MIME_PART_LEAF || kind == MIME_PART_TEXT)
            g_array_append_val(out, leaf);
    }
}

static bool leaves_equal(const GArray *a, const GArray *b)
{
    bool equal = a->len == b->len;
    for (guint i = 0; equal && i < a->len; i++) {
        const struct leaf *x = &g_array_index(a, struct leaf, i), *y = &g_array_index(b, struct leaf, i);
        /* GMime has no content at all for some empty parts. */
        equal = x->len <= 0 ? y->len == 0 : x->off == y->off && x->len == y->len;
    }
    return equal;
}

static void leaves_print(const char *whose, const GArray *a)
{
    fprintf(stderr, "    %s", whose);
    for (guint i = 0; i < a->len && i < 8; i++)
        fprintf(stderr, " %lld+%lld", (long long)g_array_index(a, struct leaf, i).off,
                (long long)g_array_index(a, struct leaf, i).len);
    fputc('\n', stderr);
}

/* GMime's addresses of From and To as "mailbox@host,": names are decoded there, so they are not compared. */
static void addresses_of_gmime(InternetAddressList *list, GString *out)
{
    const int n = list ? internet_address_list_length(list) : 0;
    for (int i = 0; i < n; i++) {
        InternetAddress *a = internet_address_list_get_address(list, i);
        if (INTERNET_ADDRESS_IS_GROUP(a))
            addresses_of_gmime(internet_address_group_get_members(INTERNET_ADDRESS_GROUP(a)), out);
        else
            g_string_append_printf(out, "%s,", internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(a)));
    }
}

static void addresses_of_ours(struct bytes raw, GString *out)
{
    static struct mime_addresses list;
    struct buf scratch = {0};
    mime_addresses_parse(&list, mime_unfold(raw, &scratch), 100000);
    for (uint32_t i = 0; i < list.n; i++) {
        const struct mime_address *a = &list.v[i];
        if (a->kind == ADDRESS_MAILBOX)
            g_string_append_printf(out, "%.*s@%.*s,", (int)a->mailbox.n, (const char *)a->mailbox.p, (int)a->host.n,
                                   (const char *)a->host.p);
    }
    buf_release(&scratch);
}

static void compare_addresses(const char *name, GMimeMessage *message, const struct mime_parser *p)
{
    static const struct {
        GMimeAddressType type;
        enum mime_field id;
    } fields[] = {
        {GMIME_ADDRESS_TYPE_FROM, FIELD_FROM}, {GMIME_ADDRESS_TYPE_TO, FIELD_TO}, {GMIME_ADDRESS_TYPE_CC, FIELD_CC}};
    for (size_t i = 0; i < 3; i++) {
        const struct bytes raw = p->scan.v[0].field[fields[i].id];
        /* Quoted local parts keep their quotes and "xn--" is decoded there. */
        if (!raw.p || memchr(raw.p, '"', raw.n) || memmem(raw.p, raw.n, "xn--", 4))
            continue;
        GString *theirs = g_string_new(NULL), *ours = g_string_new(NULL);
        addresses_of_gmime(g_mime_message_get_addresses(message, fields[i].type), theirs);
        addresses_of_ours(raw, ours);
        verdict.addresses++;
        if (strcmp(theirs->str, ours->str) != 0) {
            verdict.address_differ++;
            fprintf(stderr, "referee: %s: addresses: %s\n    GMime %s\n    ours  %s\n", name,
                    unit_text(bytes_slice(raw, 0, 200)), unit_text(bytes_slice(bytes_str(theirs->str), 0, 200)),
                    unit_text(bytes_slice(bytes_str(ours->str), 0, 200)));
        }
        g_string_free(theirs, TRUE);
        g_string_free(ours, TRUE);
    }
}

static void compare_leaves(const char *name, GMimeMessage *message, struct bytes item, const struct mime_record *r)
{
    GArray *theirs = g_array_new(FALSE, FALSE, sizeof(struct leaf)),
           *ours = g_array_new(FALSE, FALSE, sizeof(struct leaf));
    struct mime_parts t;
    cr_assert_eq(mime_parts_decode(r->parts, item.n, &t, NULL), BASE_OK);
    if (g_mime_message_get_mime_part(message))
        leaves_of_gmime(g_mime_message_get_mime_part(message), theirs);
    leaves_of_ours(&t, ours);
    if (leaves_equal(theirs, ours)) {
        verdict.agree++;
    } else {
        verdict.differ++;
        fprintf(stderr, "referee: %s: GMime has %u leaves, we have %u, or at other bytes:\n", name, theirs->len,
                ours->len);
        leaves_print("GMime", theirs);
        leaves_print("ours ", ours);
    }
    mime_parts_release(&t);
    g_array_free(theirs, TRUE);
    g_array_free(ours, TRUE);
}

static void compare(const char *name, struct bytes item)
{
    struct mime_record r;
    mime_parse(unit_parser(), item, &r);
    verdict.seen++;
    if (r.defects & excused) {
        verdict.excused++;
        return;
    }
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((const char *)item.p, item.n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    if (message) {
        compare_leaves(name, message, item, &r);
        if (!(r.defects & (MIME_DEFECT(BAD_ADDRESS) | MIME_DEFECT(HEADER_8BIT))))
            compare_addresses(name, message, unit_parser());
        g_object_unref(message);
    } else {
        verdict.excused++;
    }
    g_object_unref(parser);
    g_object_unref(stream);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    gchar *text = NULL;
    gsize size = 0;
    (void)st;
    (void)ftw;
    if (type == FTW_F && g_file_get_contents(path, &text, &size, NULL))
        compare(path, bytes_of(text, size));
    g_free(text);
    return 0;
}

static void verdict_check(const char *what, unsigned differ_max, unsigned address_differ_max)
{
    fprintf(stderr, "referee: %s: %u messages, %u excused, %u agree, %u differ; %u address fields, %u differ\n", what,
            verdict.seen, verdict.excused, verdict.agree, verdict.differ, verdict.addresses, verdict.address_differ);
    cr_expect_leq(verdict.differ, differ_max, "%s: %u structures differ from GMime's", what, verdict.differ);
    cr_expect_leq(verdict.address_differ, address_differ_max, "%s: %u address fields differ from GMime's", what,
                  verdict.address_differ);
}

Test(referee, gmime_agrees_on_the_fixtures)
{
    mime_init();
    nftw(path_join(source_dir(), "tests/golden/mime"), visit, 32, FTW_PHYS);
    cr_expect_gt(verdict.agree, 5);
    verdict_check("fixtures", 1, 0);
}

Test(referee, gmime_agrees_on_the_torture_corpus)
{
    mime_init();
    const char *dir = corpus_dir("torture");
    if (!dir)
        return;
    nftw(dir, visit, 32, FTW_PHYS);
    cr_expect_gt(verdict.agree, 1800);
    verdict_check("torture", 25, 0);
}

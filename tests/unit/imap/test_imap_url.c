/* IMAP URLs of CATENATE: what names a message, what does not. */
#include <criterion/criterion.h>

#include "imap_url.h"

#include <string.h>

static const struct row {
    const char *text;
    const char *mailbox; /* NULL: the selected one; "!": no URL */
    uint32_t uidvalidity, uid;
    enum mdsq_section_kind kind;
    uint32_t part; /* first of the path, or 0 */
    bool partial;
    uint64_t first, count;
} rows[] = {
    {"/INBOX/;UID=20", "INBOX", 0, 20, MDSQ_SECTION_ALL, 0, false, 0, 0},
    {"/INBOX;UIDVALIDITY=385759045/;UID=20", "INBOX", 385759045, 20, MDSQ_SECTION_ALL, 0, false, 0, 0},
    {"/a/b%20c/%C3%A9;uidvalidity=1/;uid=4294967295", "a/b c/\xc3\xa9", 1, 4294967295u, MDSQ_SECTION_ALL, 0, false, 0, 0},
    {"/INBOX/;UID=20/;SECTION=HEADER", "INBOX", 0, 20, MDSQ_SECTION_HEADER, 0, false, 0, 0},
    {"/INBOX/;UID=20/;SECTION=5.MIME", "INBOX", 0, 20, MDSQ_SECTION_MIME, 5, false, 0, 0},
    {"/INBOX/;UID=20/;SECTION=HEADER.FIELDS%20(To%20From)", "INBOX", 0, 20, MDSQ_SECTION_HEADER_FIELDS, 0, false, 0, 0},
    {"/INBOX/;UID=20/;SECTION=1/;PARTIAL=3.4", "INBOX", 0, 20, MDSQ_SECTION_ALL, 1, true, 3, 4},
    {"/INBOX/;UID=20/;PARTIAL=3", "INBOX", 0, 20, MDSQ_SECTION_ALL, 0, true, 3, UINT64_MAX},
    {";UID=20", NULL, 0, 20, MDSQ_SECTION_ALL, 0, false, 0, 0},
    {";UID=20/;SECTION=TEXT", NULL, 0, 20, MDSQ_SECTION_TEXT, 0, false, 0, 0},
    {"", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX;UID=20", "!", 0, 0, 0, 0, false, 0, 0},
    {"INBOX/;UID=20", "!", 0, 0, 0, 0, false, 0, 0},
    {"//host/INBOX/;UID=20", "!", 0, 0, 0, 0, false, 0, 0},
    {"imap://host/INBOX/;UID=20", "!", 0, 0, 0, 0, false, 0, 0},
    {"/;UID=20", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=0", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=4294967296", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=1x", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX;UIDVALIDITY=0/;UID=1", "!", 0, 0, 0, 0, false, 0, 0},
    {"/IN%00BOX/;UID=1", "!", 0, 0, 0, 0, false, 0, 0},
    {"/IN%0ABOX/;UID=1", "!", 0, 0, 0, 0, false, 0, 0},
    {"/IN%4/;UID=1", "!", 0, 0, 0, 0, false, 0, 0},
    {"/IN%zzB/;UID=1", "!", 0, 0, 0, 0, false, 0, 0},
    {"/%FF/;UID=1", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=1/;SECTION=", "INBOX", 0, 1, MDSQ_SECTION_ALL, 0, false, 0, 0},
    {"/INBOX/;UID=1/;SECTION=1]", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=1/;SECTION=1] BODY.PEEK[2", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=1/;SECTION=0", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=1/;PARTIAL=1.0", "!", 0, 0, 0, 0, false, 0, 0},
    {"/INBOX/;UID=1/;PARTIAL=x", "!", 0, 0, 0, 0, false, 0, 0},
};

Test(imap_url, parse)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct arena *arena = arena_new(1 << 16);
        struct imap_url url;
        bool ok = imap_url_parse(bytes_str(r->text), arena, &url);
        bool want = !r->mailbox || strcmp(r->mailbox, "!") != 0;
        cr_expect_eq(ok, want, "%s", r->text);
        if (ok && want) {
            cr_expect_eq(url.mailbox != NULL, r->mailbox != NULL, "%s", r->text);
            if (url.mailbox && r->mailbox)
                cr_expect_str_eq(url.mailbox, r->mailbox, "%s: %s", r->text, url.mailbox);
            cr_expect_eq(url.uidvalidity, r->uidvalidity, "%s", r->text);
            cr_expect_eq(url.uid, r->uid, "%s", r->text);
            cr_expect_eq(url.section.kind, r->kind, "%s", r->text);
            cr_expect_eq(url.section.path_n ? url.section.path[0] : 0, r->part, "%s", r->text);
            cr_expect_eq(url.partial, r->partial, "%s", r->text);
            if (r->partial)
                cr_expect(url.first == r->first && url.count == r->count, "%s", r->text);
        }
        arena_free(&arena);
    }
}

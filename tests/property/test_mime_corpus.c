/*
 * Every message of the mail corpora gives a record for which all that must hold
 * holds (support/mime_check.h).
 *
 * The corpora are no part of the repository (test_support.h, corpus_dir);
 * without them the test says so and passes. Of the bulk archives every BULK_STEP'th message is taken, all of
 * them with MDS_CORPUS_ALL=1.
 */
#include "mime_check.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdlib.h>

#define BULK_STEP 20

struct corpus_run {
    struct mime_parser *parser;
    unsigned step, seen, parsed, broken;
    uint64_t bytes;
};

static struct corpus_run run; /* nftw hands over no argument */

static void item_check(const char *name, struct bytes item)
{
    struct mime_record r;
    mime_parse(run.parser, item, &r);
    const char *bad = mime_check_record(item, &r);
    run.parsed++;
    run.bytes += item.n;
    if (bad && run.broken++ < 20)
        cr_expect(false, "%s: %s", name, bad);
    mime_parse_opaque(run.parser, item, MIME_DEFECT(PARSER_CRASHED), &r);
    bad = mime_check_record(item, &r);
    if (bad && run.broken++ < 20)
        cr_expect(false, "%s: opaque: %s", name, bad);
}

/* Mailboxes are cut at their From lines, as ingest would have it. */
static void mailbox_check(const char *name, struct bytes all)
{
    size_t start = 0;
    while (start < all.n) {
        const struct bytes rest = bytes_slice(all, start, SIZE_MAX);
        const uint8_t *next = memmem(rest.p + (rest.n > 0), rest.n - 1, "\nFrom ", 6);
        const size_t n = next ? (size_t)(next - rest.p) + 1 : rest.n;
        if (run.seen++ % run.step == 0)
            item_check(name, bytes_slice(rest, 0, n));
        start += n;
    }
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type != FTW_F)
        return 0;
    const size_t n = strlen(path);
    const bool mailbox = n > 5 && strcmp(path + n - 5, ".mbox") == 0;
    if (!mailbox && run.seen++ % run.step != 0)
        return 0;
    gchar *text = NULL;
    gsize size = 0;
    if (!g_file_get_contents(path, &text, &size, NULL))
        return 0;
    if (mailbox)
        mailbox_check(path, bytes_of(text, size));
    item_check(path, bytes_of(text, mailbox && size > 65536 ? 65536 : size));
    g_free(text);
    return 0;
}

static void archive_check(const char *name, unsigned step)
{
    const char *dir = corpus_dir(name);
    if (!dir)
        return;
    run = (struct corpus_run){.step = step, .parser = mime_parser_new(NULL)};
    nftw(dir, visit, 32, FTW_PHYS);
    fprintf(stderr, "test_mime_corpus: %s: %u of %u messages, %llu bytes, %u broken\n", name, run.parsed, run.seen,
            (unsigned long long)run.bytes, run.broken);
    cr_expect(run.parsed > 0, "%s: no message", name);
    cr_expect_eq(run.broken, 0, "%s: %u broken", name, run.broken);
    mime_parser_free(&run.parser);
    remove_tree(dir);
}

static unsigned bulk_step(void)
{
    const char *all = getenv("MDS_CORPUS_ALL");
    return all && strcmp(all, "1") == 0 ? 1 : BULK_STEP;
}

Test(test_mime_corpus, torture)
{
    mime_init();
    archive_check("torture", 1);
}

Test(test_mime_corpus, bulk)
{
    static const char *const names[] = {"bulk-lore-linux-usb", "bulk-lore-usrp-users", "bulk-spamassassin-csdmc2010",
                                        "bulk-twisted-pipermail"};
    mime_init();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        archive_check(names[i], bulk_step());
}

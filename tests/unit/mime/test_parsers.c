/*
 * MIME_PARSER_SCAN and MIME_PARSER_GMIME give the same record, byte for byte,
 * for every item of sound structure: on the fixtures, the seeds of the fuzzer
 * and, when it is there, all of the torture corpus and a sample of each bulk
 * one. How many items GMime read itself is counted, so that the test cannot
 * pass by leaving all of them to the scanner; differences of defective items
 * are counted by class and printed.
 */
#include "unit_mime.h"

#include <ftw.h>

/* With these in an item the two are free to differ (docs/TOLERATED.md). */
static const uint64_t unsound = MIME_DEFECT(NO_HEADER) | MIME_DEFECT(NO_SEPARATOR) | MIME_DEFECT(BAD_HEADER_LINE) |
                                MIME_DEFECT(EMPTY_MULTIPART) | MIME_DEFECT(BAD_BOUNDARY) |
                                MIME_DEFECT(UNCLOSED_BOUNDARY) | MIME_DEFECT(DUPLICATE_HEADER) |
                                MIME_DEFECT(BAD_CONTENT_TYPE);

struct tally {
    struct mime_parser *parser[2]; /* by enum mime_parser_kind */
    unsigned every, met;           /* each every-th file is looked at */
    unsigned sound, by_gmime, differ;
    unsigned defective, defective_differ;
    GHashTable *classes; /* what defective items that differ have */
    GHashTable *reasons; /* why sound items are the scanner's */
};

static struct tally tally; /* nftw hands over no argument */

static void count_in(GHashTable *table, const char *key)
{
    g_hash_table_insert(table, g_strdup(key), GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(table, key)) + 1));
}

static const char *class_of(uint64_t defects)
{
    GString *text = g_string_new(NULL);
    for (const struct mime_defect_info *d = mime_defect_infos; d->key; d++) {
        if ((defects & unsound) >> d->bit & 1)
            g_string_append_printf(text, "%s%s", text->len ? " " : "", d->key);
    }
    const char *owned = textf("%s", text->str);
    g_string_free(text, TRUE);
    return owned;
}

static void first_difference(struct bytes a, struct bytes b)
{
    size_t i = 0;
    while (i < a.n && i < b.n && a.p[i] == b.p[i])
        i++;
    const size_t from = i > 60 ? i - 60 : 0;
    fprintf(stderr, "    scan  %s\n    gmime %s\n", unit_text(bytes_slice(a, from, 160)),
            unit_text(bytes_slice(b, from, 160)));
}

static void compare(const char *name, struct bytes item)
{
    struct buf encoded[2] = {{0}, {0}};
    uint64_t defects = 0;
    for (int kind = MIME_PARSER_SCAN; kind <= MIME_PARSER_GMIME; kind++) {
        struct mime_record r;
        mime_parse(tally.parser[kind], item, &r);
        const char *bad = mime_check_record(item, &r);
        cr_expect(!bad, "%s: parser %d: %s", name, kind, bad);
        mime_record_encode(&r, &encoded[kind]);
        if (kind == MIME_PARSER_SCAN)
            defects = r.defects;
    }
    const bool equal = bytes_equal(buf_bytes(&encoded[0]), buf_bytes(&encoded[1]));
    if (defects & unsound) {
        tally.defective++;
        tally.defective_differ += !equal;
        if (!equal)
            count_in(tally.classes, class_of(defects));
    } else {
        tally.sound++;
        tally.by_gmime += tally.parser[MIME_PARSER_GMIME]->by_gmime;
        tally.differ += !equal;
        if (!tally.parser[MIME_PARSER_GMIME]->by_gmime)
            count_in(tally.reasons, tally.parser[MIME_PARSER_GMIME]->scan.gmime_why);
        if (!equal) {
            fprintf(stderr, "parsers: %s differs\n", name);
            first_difference(buf_bytes(&encoded[0]), buf_bytes(&encoded[1]));
        }
    }
    buf_release(&encoded[0]);
    buf_release(&encoded[1]);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    gchar *text = NULL;
    gsize size = 0;
    (void)st;
    (void)ftw;
    if (type == FTW_F && tally.met++ % tally.every == 0 && g_file_get_contents(path, &text, &size, NULL))
        compare(path, bytes_of(text, size));
    g_free(text);
    return 0;
}

static void tally_begin(unsigned every)
{
    static const struct mime_settings by_gmime = {.parser = MIME_PARSER_GMIME};
    mime_init();
    tally = (struct tally){.every = every,
                           .parser = {mime_parser_new(NULL), mime_parser_new(&by_gmime)},
                           .classes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                           .reasons = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
}

static void table_end(GHashTable *table, const char *what)
{
    GHashTableIter i;
    gpointer key, value;
    g_hash_table_iter_init(&i, table);
    while (g_hash_table_iter_next(&i, &key, &value))
        fprintf(stderr, "parsers:     %4u %s: %s\n", GPOINTER_TO_UINT(value), what, (const char *)key);
    g_hash_table_destroy(table);
}

/* sound_min, by_gmime_percent: what must have been compared. */
static void tally_end(const char *what, unsigned sound_min, unsigned by_gmime_percent)
{
    fprintf(stderr, "parsers: %s: %u sound, %u of them read by GMime, %u differ; %u defective, %u differ\n", what,
            tally.sound, tally.by_gmime, tally.differ, tally.defective, tally.defective_differ);
    table_end(tally.reasons, "sound, left to the scanner");
    table_end(tally.classes, "defective, differ");
    cr_expect_eq(tally.differ, 0, "%s: %u sound items differ", what, tally.differ);
    cr_expect_geq(tally.sound, sound_min, "%s: only %u sound items", what, tally.sound);
    cr_expect_geq(tally.by_gmime * 100, tally.sound * by_gmime_percent, "%s: GMime read only %u of %u", what,
                  tally.by_gmime, tally.sound);
    mime_parser_free(&tally.parser[0]);
    mime_parser_free(&tally.parser[1]);
}

Test(parsers, agree_on_the_fixtures)
{
    tally_begin(1);
    nftw(path_join(source_dir(), "tests/golden/mime"), visit, 32, FTW_PHYS);
    nftw(path_join(source_dir(), "tests/golden/defects"), visit, 32, FTW_PHYS);
    nftw(path_join(source_dir(), "tests/fuzz/corpus/item"), visit, 32, FTW_PHYS);
    tally_end("fixtures", 40, 80);
}

Test(parsers, agree_on_the_torture_corpus)
{
    const char *dir = corpus_dir("torture");
    if (!dir)
        return;
    tally_begin(1);
    nftw(dir, visit, 32, FTW_PHYS);
    tally_end("torture", 1800, 85);
}

Test(parsers, agree_on_bulk_mail)
{
    static const struct bulk {
        const char *name;
        unsigned by_gmime_percent;
    } bulks[] = {
        {"bulk-lore-linux-usb", 98},
        {"bulk-lore-usrp-users", 98},
        {"bulk-spamassassin-csdmc2010", 95},
        {"bulk-twisted-pipermail", 5}, /* its From fields are no addresses: "a at b (Name)" */
    };
    for (size_t i = 0; i < sizeof(bulks) / sizeof(bulks[0]); i++) {
        const char *dir = corpus_dir(bulks[i].name);
        if (!dir)
            continue;
        tally_begin(13);
        nftw(dir, visit, 32, FTW_PHYS);
        tally_end(bulks[i].name, 10, bulks[i].by_gmime_percent);
    }
}

struct value_case {
    const char *name, *header;
};

/* Sound values that GMime reads otherwise when asked plainly. */
static const struct value_case values[] = {
    {"encoded name", "From: =?utf-8?q?J=C3=B6rg?= <a@b.c>"},
    {"blank before the colon", "From :A <a@b.c>\nTo : d@e"},
    {"encoded word in quotes", "From: \"=?utf-8?q?J=C3=B6rg?=\" <a@b.c>"},
    {"xn-- host", "To: a@xn--bcher-kva.example, b@x-y"},
    {"route", "To: <@a,@b:c@d>"},
    {"comment in a name", "To: A (remark) B <c@d>"},
    {"comment as name", "To: c@d (A (old) B)"},
    {"comment before a colon", "To: g (x): a@b;, \"y@z\" <c@d>, e@f <e@f>"},
    {"quoted local part", "To: \"a b\"@c, \"a\\\"b\"@c"},
    {"groups", "To: g: a@b, \"C, D\" <c@d>; , e@f, empty:;"},
    {"year of two digits", "Date: Thu, 1 Aug 55 12:00:00 +0000"},
    {"leap second", "Date: Sat, 31 Dec 2016 23:59:60 +0000"},
    {"before the epoch", "Date: Sat, 31 Dec 1960 23:59:59 +0000"},
    {"comment behind the zone", "Date: Sat, 31 Dec 2016 23:59:59 -0400(EDT)"},
    {"zone in small letters", "Date: Sat, 31 Dec 2016 23:59:59 est"},
    {"encoded word as parameter", "Content-Type: text/plain; charset=utf-8; name=\"=?utf-8?q?=C3=B6?=\""},
    {"pieces", "Content-Type: text/plain; charset=utf-8; name*1*=%20b; name*0*=utf-8''%C3%B6; x=\"a\\\"\\\\b\""},
    {"comment in a type", "Content-Type: text/plain; charset=us-ascii (Plain text)"},
    {"doubled semicolons", "Content-Type: text/plain;; charset=us-ascii;"},
    {"quote that never ends", "Content-Type: text/plain; charset=\"us-ascii"},
    {"empty value", "Content-Type: text/plain; name=; charset=us-ascii"},
    {"encoding with a comment", "Content-Transfer-Encoding: base64 (x)"},
    {"encoding that GMime guesses", "Content-Transfer-Encoding: 7-bit"},
    {"disposition", "Content-Disposition: attachment; filename*=utf-8''%C3%B6; size=12"},
    {"broken disposition", "Content-Disposition: filename=\"a b\"; x"},
};

Test(parsers, agree_on_values)
{
    tally_begin(1);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const char *text = textf("%s\nSubject: x\nX-Last: y\n\naGFs\nbG8=\n", values[i].header);
        compare(values[i].name, bytes_str(text));
    }
    tally_end("values", sizeof(values) / sizeof(values[0]), 90);
}

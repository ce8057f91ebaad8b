/* Sets made of sets and of numbers; the archive's keywords; what changed in a view's folder; lists in slices. */
#include "fixture.h"
#include "test_support.h"

#include <criterion/criterion.h>

static struct mdsq_error e;

/* "1:3,7" */
static const char *text_of(const struct mdsq_set *set)
{
    struct buf out = {0};
    uint64_t pos = 0;
    uint32_t first, last;
    while (mdsq_set_next_range(set, NULL, &pos, &first, &last))
        buf_printf(&out, first == last ? "%s%u" : "%s%u:%u", out.n ? "," : "", first, last);
    const char *text = textf("%.*s", (int)out.n, out.n ? (const char *)out.p : "");
    buf_release(&out);
    return text;
}

static struct mdsq_set *numbers(const char *text, uint32_t star)
{
    struct mdsq_set *set = NULL;
    cr_assert_eq(mdsq_set_numbers(text, strlen(text), star, &set, &e), 0, "%s: %s", text, e.text);
    return set;
}

Test(set_algebra, numbers_need_no_view)
{
    static const struct {
        const char *say;
        uint32_t star;
        const char *expect; /* NULL: refused */
    } rows[] = {
        {"", 0, ""},
        {"7", 0, "7"},
        {"3:1,9,2", 0, "1:3,9"},
        {"5:*", 9, "5:9"},
        {"*:12", 9, "9:12"},
        {"*", 1, "1"},
        {"*", 0, NULL},
        {"1:*", 0, NULL},
        {"0", 9, NULL},
        {"1,,2", 9, NULL},
        {"1:", 9, NULL},
        {"4294967295", 0, "4294967295"},
        {"4294967296", 0, NULL},
        {"1 2", 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mdsq_set *set = NULL;
        const int rc = mdsq_set_numbers(rows[i].say, strlen(rows[i].say), rows[i].star, &set, &e);
        if (rows[i].expect) {
            cr_assert_eq(rc, 0, "%s: %s", rows[i].say, e.text);
            cr_expect_str_eq(text_of(set), rows[i].expect, "%s: %s", rows[i].say, text_of(set));
        } else {
            cr_expect_eq(rc, MDSQ_ERR_SYNTAX, "%s: %d", rows[i].say, rc);
            cr_expect_null(set);
        }
        mdsq_set_free(&set);
    }
}

Test(set_algebra, sets_of_sets)
{
    struct mdsq_set *a = numbers("1:10,20", 0), *b = numbers("5:15", 0), *out = NULL;
    cr_assert_eq(mdsq_set_and(a, b, &out, &e), 0);
    cr_expect_str_eq(text_of(out), "5:10");
    mdsq_set_free(&out);
    cr_assert_eq(mdsq_set_or(a, b, &out, &e), 0);
    cr_expect_str_eq(text_of(out), "1:15,20");
    cr_expect_eq(mdsq_set_last(out), 20);
    mdsq_set_free(&out);
    cr_assert_eq(mdsq_set_minus(a, b, &out, &e), 0);
    cr_expect_str_eq(text_of(out), "1:4,20");
    mdsq_set_free(&out);
    cr_assert_eq(mdsq_set_minus(a, a, &out, &e), 0);
    cr_expect_eq(mdsq_set_last(out), 0);
    cr_expect_eq(mdsq_set_count(out), 0);
    mdsq_set_free(&out);
    mdsq_set_free(&a);
    mdsq_set_free(&b);
}

static int on_keyword(const char *name, void *arg)
{
    struct buf *out = arg;
    buf_printf(out, "%s|", name);
    return 0;
}

Test(set_algebra, keywords_are_told_once)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct buf out = {0};
    uint32_t n = 0;
    fixture_add(f, "INBOX", BYTES_LIT("Subject: x\r\n\r\n"),
                &(struct filing){.keywords = "work a(b a_b $Label1 $forwarded"});
    fixture_open(f);
    cr_assert_eq(mdsq_keywords(f->reader, NULL, NULL, &n, &e), 0);
    const uint32_t before = n;
    cr_assert_eq(mdsq_keywords(f->reader, on_keyword, &out, &n, &e), 0);
    cr_expect_eq(n, before);
    cr_expect(n >= 4, "%u names", n);
    cr_expect_str_eq(textf("%.*s", (int)out.n, (const char *)out.p), "$Forwarded|work|a_b|$Label1|");
    buf_release(&out);
    fixture_free(&f);
}

Test(set_algebra, changes_of_a_view)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    for (int i = 0; i < 4; i++)
        fixture_add(f, "x", BYTES_LIT("Subject: x\r\n\r\n"), NULL);
    fixture_open(f);
    struct mdsq_view *view = fixture_view(f, "x");
    struct mdsq_view_info info;
    cr_assert_eq(mdsq_view_get_info(f->reader, view, &info, &e), 0);
    cr_expect_eq(mdsq_view_modseq(view), info.highestmodseq);
    fixture_remove(f, "x", 2);
    fixture_flag(f, "x", 3, 1);
    fixture_open(f);
    struct mdsq_set *changed = NULL, *expunged = NULL, *seen = NULL;
    bool complete = false;
    cr_assert_eq(mdsq_view_changes(f->reader, view, info.highestmodseq, &changed, &expunged, &complete, &e), 0);
    cr_expect(complete);
    cr_expect_str_eq(text_of(changed), "3");
    cr_expect_str_eq(text_of(expunged), "2");
    /* The view still has what it had. */
    cr_assert_eq(mdsq_set_in_view(expunged, view, &seen, &e), 0);
    cr_expect_str_eq(text_of(seen), "2");
    mdsq_set_free(&changed);
    mdsq_set_free(&expunged);
    mdsq_set_free(&seen);
    mdsq_view_close(&view);
    fixture_free(&f);
}

static void set_use(struct fixture *f, const char *name, uint8_t use)
{
    struct mds_txn *txn = NULL;
    struct mds_folder folder;
    struct error err;
    cr_assert(mds_write_begin(f->env, &txn, &err) >= 0, "%s", err.text);
    cr_assert(mds_folder_find(txn, bytes_str(name), &folder, &err) >= 0, "%s", err.text);
    cr_assert(mds_folder_set_special_use(txn, folder.id, (enum mds_special_use)use, &err) >= 0, "%s", err.text);
    cr_assert(mds_write_commit(&txn, &err) >= 0, "%s", err.text);
}

static void subscribe_name(struct fixture *f, const char *name)
{
    struct mds_txn *txn = NULL;
    struct error err;
    cr_assert(mds_write_begin(f->env, &txn, &err) >= 0, "%s", err.text);
    cr_assert(mds_folder_subscribe_name(txn, bytes_str(name), &err) >= 0, "%s", err.text);
    cr_assert(mds_write_commit(&txn, &err) >= 0, "%s", err.text);
}

/* "name!+?s^|": ! cannot be selected, + has children, ? not there, s subscribed, ^ something below is selected. A new
 * reader for each folder. */
static const char *walk(struct fixture *f, unsigned select, const char *const *patterns, size_t n)
{
    const struct mdsq_list_options options = {"", patterns, n, select};
    struct mdsq_lister *lister = NULL;
    struct mdsq_folder folder;
    struct buf out = {0};
    int rc = mdsq_lister_new(&options, &lister, &e);
    cr_assert_eq(rc, 0, "%s", e.text);
    while ((rc = mdsq_lister_next(lister, f->reader, &folder, &e)) > 0) {
        struct mdsq_status status;
        if (rc == 1) {
            buf_printf(&out, "%s%s%s%s%s%s|", folder.name, folder.attrs & MDSQ_FOLDER_NOSELECT ? "!" : "",
                       folder.attrs & MDSQ_FOLDER_HAS_CHILDREN ? "+" : "",
                       folder.attrs & MDSQ_FOLDER_NONEXISTENT ? "?" : "",
                       folder.attrs & MDSQ_FOLDER_SUBSCRIBED ? "s" : "",
                       folder.attrs & MDSQ_FOLDER_CHILD_SUBSCRIBED ? "^" : "");
            mdsq_lister_status(lister, &status);
            cr_expect(status.mailbox_id[0] == 'F' && strlen(status.mailbox_id) == 27, "%s: %s", folder.name,
                      status.mailbox_id);
        }
        cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0);
    }
    cr_expect_eq(rc, 0);
    mdsq_lister_free(&lister);
    const char *text = textf("%.*s", (int)out.n, out.n ? (const char *)out.p : "");
    buf_release(&out);
    return text;
}

Test(set_algebra, lists_select)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    fixture_folder(f, BYTES_LIT("a/b/c"), true);
    fixture_folder(f, BYTES_LIT("a/d"), false);
    fixture_folder(f, BYTES_LIT("e"), false);
    set_use(f, "e", MDS_USE_JUNK);
    subscribe_name(f, "gone/x");
    fixture_open(f);
    static const struct {
        unsigned select;
        const char *patterns[3];
        const char *expect;
    } rows[] = {
        {0, {"*"}, "INBOX|a!+|a/b!+|a/b/cs|a/d|e|"},
        {0, {"a/%", "*d", "e"}, "a/b!+|a/d|e|"},
        {MDSQ_LIST_NONEXISTENT, {"g*"}, "gone!?|gone/x!?s|"},
        {MDSQ_LIST_SUBSCRIBED, {"*"}, "a/b/cs|gone/x!?s|"},
        {MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_RECURSIVE, {"%"}, "a!+^|gone!?^|"},
        {MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_RECURSIVE, {"*"}, "a!+^|a/b!+^|a/b/cs|gone!?^|gone/x!?s|"},
        {MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_RECURSIVE, {"a/d", "e"}, ""},
        {MDSQ_LIST_SPECIAL_USE, {"*"}, "e|"},
        {MDSQ_LIST_SPECIAL_USE | MDSQ_LIST_SUBSCRIBED, {"*"}, ""},
        {0, {"none"}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = 0;
        while (n < 3 && rows[i].patterns[n])
            n++;
        const char *got = walk(f, rows[i].select, rows[i].patterns, n);
        /* INBOX is subscribed or not as the store made it: not this test's matter. */
        const char *inbox = strstr(got, "INBOXs|");
        if (inbox && strcmp(inbox, "INBOXs|") != 0 && !strstr(rows[i].expect, "INBOX"))
            got = textf("%.*s%s", (int)(inbox - got), got, inbox + 7);
        else if (inbox)
            got = textf("%.*sINBOX|%s", (int)(inbox - got), got, inbox + 7);
        if (!strstr(rows[i].expect, "INBOX") && strncmp(got, "INBOX|", 6) == 0)
            got += 6;
        cr_expect_str_eq(got, rows[i].expect, "row %zu: %s, not %s", i, got, rows[i].expect);
    }
    const char *many[MDSQ_PATTERNS_MAX + 1];
    for (size_t i = 0; i <= MDSQ_PATTERNS_MAX; i++)
        many[i] = "a";
    struct mdsq_lister *lister = NULL;
    cr_expect_eq(mdsq_lister_new(&(struct mdsq_list_options){"", many, MDSQ_PATTERNS_MAX + 1, 0}, &lister, &e),
                 MDSQ_ERR_LIMIT);
    cr_expect_null(lister);
    cr_expect_eq(mdsq_lister_new(&(struct mdsq_list_options){"", many, MDSQ_PATTERNS_MAX, 0}, &lister, &e), 0);
    mdsq_lister_free(&lister);
    fixture_free(&f);
}

/* The set is freed. */
static const char *text_taken(struct mdsq_set **set)
{
    const char *text = text_of(*set);
    mdsq_set_free(set);
    return text;
}

Test(set_algebra, parts_and_numbers_in_any_order)
{
    static const struct {
        uint32_t first, last;
        bool from_end;
        const char *expect;
    } rows[] = {
        {1, 1, false, "3"},
        {2, 4, false, "4:5,70000"},
        {4, 2, false, "4:5,70000"},
        {1, 900, false, "3:5,70000:70001"},
        {5, UINT32_MAX, false, "70001"},
        {6, 7, false, ""},
        {1, 2, true, "70000:70001"},
        {2, 1, true, "70000:70001"},
        {5, 99, true, "3"},
        {6, 6, true, ""},
        {UINT32_MAX, UINT32_MAX, true, ""},
    };
    static const uint32_t uids[] = {70001, 4, 3, 70000, 5, 4};
    struct mdsq_set *set = NULL, *part = NULL;

    cr_assert_eq(mdsq_set_of(uids, sizeof uids / sizeof uids[0], &set, &e), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(mdsq_set_part(set, rows[i].first, rows[i].last, rows[i].from_end, &part, &e), 0);
        cr_expect_str_eq(text_taken(&part), rows[i].expect, "row %zu", i);
    }
    cr_expect_str_eq(text_taken(&set), "3:5,70000:70001");
    cr_assert_eq(mdsq_set_of(NULL, 0, &set, &e), 0);
    cr_assert_eq(mdsq_set_part(set, 1, 9, false, &part, &e), 0);
    cr_expect_str_eq(text_taken(&part), "");
    cr_expect_str_eq(text_taken(&set), "");
}

#include "fixture.h"

#include "query/query_private.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

static struct mdsq_error e;

static int on_folder(const struct mdsq_folder *folder, void *arg)
{
    struct buf *out = arg;
    buf_printf(out, "%s%s%s%s|", folder->name, folder->attrs & MDSQ_FOLDER_NOSELECT ? "!" : "",
               folder->attrs & MDSQ_FOLDER_HAS_CHILDREN ? "+" : "", folder->attrs & MDSQ_FOLDER_SUBSCRIBED ? "" : "-");
    return 0;
}

/* "name!+|...": ! cannot be selected, + has children, - not subscribed. */
static const char *list(struct fixture *f, const char *reference, const char *pattern, bool subscribed)
{
    struct buf out = {0};
    const int rc = mdsq_list(f->reader, reference, pattern, subscribed, on_folder, &out, &e);
    const char *text = rc < 0 ? textf("error %d", rc) : textf("%.*s", (int)out.n, (const char *)out.p);
    buf_release(&out);
    return text;
}

static struct fixture *some_folders(const char *dir)
{
    struct fixture *f = fixture_new(dir);
    fixture_folder(f, BYTES_LIT("Archive/2001/May"), true);
    fixture_folder(f, BYTES_LIT("Archive/2002"), false);
    fixture_folder(f, BYTES_LIT("INBOX/sub"), true);
    fixture_folder(f, BYTES_LIT("caf\xc3\xa9"), true);
    fixture_folder(f, BYTES_LIT("caf\xe9"), true);
    fixture_folder(f, BYTES_LIT("per%cent*"), true);
    fixture_open(f);
    return f;
}

Test(list, patterns_select_as_rfc_3501_says)
{
    static const struct { const char *reference, *pattern, *expect; } rows[] = {
        {"", "INBOX", "INBOX+|"},
        {"", "inbox", "INBOX+|"},
        {"", "iNb%", "INBOX+|"},
        {"", "%", "Archive!+-|INBOX+|caf\xc3\xa9|caf\xee\xbf\xa9|per%cent*|"},
        {"", "*", "Archive!+-|Archive/2001!+-|Archive/2001/May|Archive/2002-|INBOX+|INBOX/sub|caf\xc3\xa9|caf\xee\xbf\xa9|per%cent*|"},
        {"", "%/%", "Archive/2001!+-|Archive/2002-|INBOX/sub|"},
        {"", "inbox/%", "INBOX/sub|"},
        {"", "INBOX/SUB", ""},
        {"Archive/", "%", "Archive/2001!+-|Archive/2002-|"},
        {"Archive", "/2001/*", "Archive/2001/May|"},
        {"Archive/20", "%", "Archive/2001!+-|Archive/2002-|"},
        {"", "*May", "Archive/2001/May|"},
        {"", "%May", ""},
        {"", "A*2*a*", "Archive/2001/May|"},
        {"", "archive", ""},
        {"", "Archive/", ""},
        {"", "caf*", "caf\xc3\xa9|caf\xee\xbf\xa9|"},
        {"", "caf\xee\xbf\xa9", "caf\xee\xbf\xa9|"},
        {"", "", ""},
    };
    struct fixture *f = some_folders(TEMP_DIR());

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = list(f, rows[i].reference, rows[i].pattern, false);
        cr_expect_str_eq(got, rows[i].expect, "\"%s\" \"%s\": %s", rows[i].reference, rows[i].pattern, got);
    }
    fixture_free(&f);
}

Test(list, lsub_shows_parents_for_percent_alone)
{
    static const struct { const char *pattern, *expect; } rows[] = {
        {"*", "Archive/2001/May|INBOX+|INBOX/sub|caf\xc3\xa9|caf\xee\xbf\xa9|per%cent*|"},
        {"%", "Archive!+-|INBOX+|caf\xc3\xa9|caf\xee\xbf\xa9|per%cent*|"},
        {"Archive/%", "Archive/2001!+-|"},
        {"Archive", ""},
    };
    struct fixture *f = some_folders(TEMP_DIR());

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = list(f, "", rows[i].pattern, true);
        cr_expect_str_eq(got, rows[i].expect, "\"%s\": %s", rows[i].pattern, got);
    }
    fixture_free(&f);
}

Test(list, folders_are_found_by_the_names_that_are_shown)
{
    struct fixture *f = some_folders(TEMP_DIR());
    struct mdsq_status status;
    static const struct { const char *name; int rc; } rows[] = {
        {"INBOX", 0}, {"Inbox", 0}, {"inbox/sub", 0}, {"INBOX/Sub", MDSQ_ERR_NOTFOUND}, {"Archive/2002", 0},
        {"Archive", MDSQ_ERR_NOTFOUND}, {"caf\xc3\xa9", 0}, {"caf\xee\xbf\xa9", 0}, {"caf\xe9", MDSQ_ERR_NOTFOUND},
        {"caf\xee\xbf\x83\xee\xbe\xa9", MDSQ_ERR_NOTFOUND}, {"per%cent*", 0}, {"", MDSQ_ERR_NOTFOUND}, {"/", MDSQ_ERR_NOTFOUND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int rc = mdsq_status(f->reader, rows[i].name, &status, &e);
        cr_expect_eq(rc, rows[i].rc, "\"%s\": %d %s", rows[i].name, rc, rc ? e.text : "");
    }
    fixture_free(&f);
}

static int stop(const struct mdsq_folder *folder, void *arg)
{
    (void)folder;
    return ++*(int *)arg == 2;
}

Test(list, a_callback_may_stop_it)
{
    struct fixture *f = some_folders(TEMP_DIR());
    int n = 0;
    cr_expect_eq(mdsq_list(f->reader, "", "*", false, stop, &n, &e), 0);
    cr_expect_eq(n, 2);
    fixture_free(&f);
}

Test(list, shown_names_are_one_to_one)
{
    struct rng rng = rng_of(5);
    static const char *const pieces[] = {"a", "\x80", "\xe9", "\xc3\xa9", "\xee\xbf\xa9", "\xee\xbe\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                         "\xc0\x80", "%", "\xff", "\xe2\x82", "\xf0\x9f\x98\x80"};
    for (int i = 0; i < 20000; i++) {
        struct buf stored = {0}, shown = {0}, again = {0};
        struct error err = {0};
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--)
            buf_append_str(&stored, pieces[rng_below(&rng, sizeof pieces / sizeof pieces[0])]);
        query_name_show(buf_bytes(&stored), &shown);
        cr_assert_eq(query_name_store(buf_bytes(&shown), &again, &err), 0, "%s", err.text);
        cr_assert(bytes_equal(buf_bytes(&again), buf_bytes(&stored)));
        buf_release(&stored);
        buf_release(&shown);
        buf_release(&again);
    }
}

static bool naive_match(const char *p, const char *s)
{
    if (*p == 0)
        return *s == 0;
    if (*p == '*' || *p == '%')
        return naive_match(p + 1, s) || (*s && (*p == '*' || *s != '/') && naive_match(p, s + 1));
    return *p == *s && naive_match(p + 1, s + 1);
}

static bool match(const char *reference, const char *pattern, const char *name)
{
    struct query_pattern p;
    query_pattern_init(&p, reference, pattern);
    uint8_t *row = malloc(query_pattern_row_bytes(&p));
    query_pattern_start(&p, row);
    const bool alive = query_pattern_feed(&p, row, bytes_str(name), false);
    const bool yes = query_pattern_accepts(&p, row);
    cr_expect(alive || !yes);
    free(row);
    query_pattern_release(&p);
    return yes;
}

Test(list, the_automaton_equals_a_naive_matcher)
{
    struct rng rng = rng_of(11);
    for (int i = 0; i < 100000; i++) {
        char p[10] = "", s[12] = "";
        for (uint64_t n = rng_below(&rng, 9), k = 0; k < n; k++)
            p[k] = "ab/*%"[rng_below(&rng, 5)];
        for (uint64_t n = rng_below(&rng, 11), k = 0; k < n; k++)
            s[k] = "ab/"[rng_below(&rng, 3)];
        const char *reference = textf("%.*s", (int)rng_below(&rng, strlen(p) + 1), p);
        cr_assert_eq(match(reference, p + strlen(reference), s), naive_match(p, s), "\"%s\" on \"%s\"", p, s);
        if (i > 2000 && i % 50) /* textf keeps every string */
            i += 49;
    }
}

Test(list, wildcards_do_not_blow_up)
{
    struct buf p = {0}, s = {0};
    const clock_t begin = clock();
    for (int i = 0; i < 2000; i++)
        buf_append_str(&p, "*a%");
    for (int i = 0; i < 4000; i++)
        buf_append_byte(&s, 'a');
    buf_append_byte(&p, 'b');
    buf_append_byte(&p, 0);
    buf_append_byte(&s, 0);
    cr_expect_not(match("", (char *)p.p, (char *)s.p));
    cr_expect_lt(clock() - begin, 5 * CLOCKS_PER_SEC);
    buf_release(&p);
    buf_release(&s);
}

Test(list, a_pattern_has_a_limit)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    char *pattern = calloc(1, MDSQ_PATTERN_MAX + 2);
    memset(pattern, 'a', MDSQ_PATTERN_MAX);
    fixture_open(f);
    cr_expect_str_eq(list(f, "", pattern, false), "");
    pattern[MDSQ_PATTERN_MAX] = 'a';
    cr_expect_str_eq(list(f, "", pattern, false), "error -10");
    free(pattern);
    fixture_free(&f);
}

/* Names told, the ones with CHILDINFO marked "+". */
static const char *names_of(struct fixture *f, const char *const *patterns, size_t n, unsigned select)
{
    const struct mdsq_list_options options = {"", patterns, n, select};
    struct mdsq_lister *lister = NULL;
    struct mdsq_folder folder;
    char text[300] = "";
    int rc;

    cr_assert_geq(mdsq_lister_new(&options, &lister, &e), 0, "%s", e.text);
    while ((rc = mdsq_lister_next(lister, f->reader, &folder, &e)) > 0)
        if (rc == 1)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s ", folder.name,
                     folder.attrs & MDSQ_FOLDER_CHILD_SUBSCRIBED ? "+" : "");
    mdsq_lister_free(&lister);
    return textf("%s", text);
}

Test(list, a_parent_stands_in_for_what_no_pattern_names)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const unsigned how = MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_RECURSIVE;
    static const char *const parent[] = {"a"}, *const both[] = {"a", "a/b"}, *const other[] = {"a", "a/x"}, *const all[] = {"*"},
                      *const wild[] = {"a", "a/%"};

    fixture_folder(f, BYTES_LIT("a"), false);
    fixture_folder(f, BYTES_LIT("a/b"), true);
    fixture_open(f);
    cr_expect_str_eq(names_of(f, parent, 1, how), "a+ ");
    cr_expect_str_eq(names_of(f, both, 2, how), "a/b ");
    cr_expect_str_eq(names_of(f, other, 2, how), "a+ ");
    cr_expect_str_eq(names_of(f, wild, 2, how), "a+ a/b ");
    cr_expect_str_eq(names_of(f, all, 1, how), "INBOX a+ a/b ");
    fixture_folder(f, BYTES_LIT("a/b/c"), true);
    fixture_open(f);
    cr_expect_str_eq(names_of(f, both, 2, how), "a+ a/b+ ");
    fixture_free(&f);
}

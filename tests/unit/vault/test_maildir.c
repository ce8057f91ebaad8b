/* Maildir and its two families of folders, through the whole API. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scan_text.h"
#include "test_support.h"
#include "vault_private.h"

static void expect_scan(const char *spec, const char *expect)
{
    const char *got = scan_text(spec);

    cr_expect_str_eq(got, expect, "%s:\n%s", spec, got);
}

Test(maildir, order_is_time_as_a_number_then_name)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "cur/10.b:2,"), "3");
    write_text(path_join(dir, "cur/10.a:2,S"), "2");
    write_text(path_join(dir, "cur/9.z:2,"), "1");
    write_text(path_join(dir, "new/100.a"), "4");
    write_text(path_join(dir, "cur/noprefix"), "0");
    write_text(path_join(dir, "cur/99999999999999999999999.x:2,"), "5");
    write_text(path_join(dir, "cur/.hidden"), "no");
    write_text(path_join(dir, "tmp/1.x"), "no");
    write_text(path_join(dir, "notmail"), "no");
    expect_scan(textf("maildir:%s", dir), "== INBOX\n"
                                          "noprefix <>: 0\n"
                                          "9.z <>: 1\n"
                                          "10.a <R>: 2\n"
                                          "10.b <>: 3\n"
                                          "100.a <>: 4\n"
                                          "99999999999999999999999.x <>: 5\n");
}

Test(maildir, flags_from_the_suffix)
{
    static const struct {
        const char *name;
        uint32_t flags;
        const char *words;
    } rows[] = {
        {"1.x", 0, ""},
        {"1.x:2,", 0, ""},
        {"1.x:2,S", VAULT_FLAG_SEEN, ""},
        {"1.x:2,DFPRST", VAULT_FLAG_DRAFT | VAULT_FLAG_FLAGGED | VAULT_FLAG_FORWARDED | VAULT_FLAG_ANSWERED | VAULT_FLAG_SEEN | VAULT_FLAG_DELETED, ""},
        {"1.x:1,S", 0, ""},
        {"1.x:2;S", 0, ""},
        {"1.x:2,XYZ9", 0, ""},
        {"1.x:2,Sabcz", VAULT_FLAG_SEEN | VAULT_FLAG_FORWARDED, "Junk"},
        {"1.x:2,aaa", 0, "Junk"},
        {"1.x:2,e", 0, "same"},
        {"1.x:2,ef", 0, "same"},
        {":2,S", VAULT_FLAG_SEEN, ""},
        {"", 0, ""},
    };
    char junk[] = "Junk", forwarded[] = "$forwarded", bad[] = "not an atom", same[] = "same", same_too[] = "SAME";
    struct vault_keywords k = {{junk, forwarded, bad, NULL, same, same_too}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf words = {0};

        cr_expect_eq(vault_maildir_flags(bytes_str(rows[i].name), &k, &words), rows[i].flags, "%s", rows[i].name);
        cr_expect(bytes_equal(buf_bytes(&words), bytes_str(rows[i].words)), "%s: %.*s", rows[i].name, (int)words.n, (char *)words.p);
        buf_release(&words);
    }
}

Test(maildir, time_prefix_saturates)
{
    cr_expect_eq(vault_maildir_time(BYTES_LIT("18446744073709551615.x")), UINT64_MAX);
    cr_expect_eq(vault_maildir_time(BYTES_LIT("18446744073709551616.x")), UINT64_MAX);
    cr_expect_eq(vault_maildir_time(BYTES_LIT("0012.x")), 12);
    cr_expect_eq(vault_maildir_time(BYTES_LIT("x12")), 0);
    cr_expect_eq(vault_maildir_time((struct bytes){0}), 0);
}

Test(maildir, dovecot_keywords_name_the_letters)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "cur/1.x:2,Sab"), "1");
    write_text(path_join(dir, "cur/2.x:2,cz"), "2");
    write_text(path_join(dir, "dovecot-keywords"), "0 $Label1\n1 Work\nrubbish\n2 $Forwarded\n99 x\n-1 y\n0 again\n");
    write_text(path_join(dir, ".Sub/cur/1.x:2,a"), "3");
    expect_scan(textf("maildir++:%s", dir), "== INBOX\n1.x <R> {$Label1 Work}: 1\n2.x <P>: 2\n== Sub\n1.x <>: 3\n");
}

Test(maildir, one_name_in_new_and_cur_is_one_item)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "new/1.x"), "new");
    write_text(path_join(dir, "cur/1.x:2,S"), "cur");
    write_text(path_join(dir, "cur/2.y:2,"), "first");
    write_text(path_join(dir, "cur/2.y:2,F"), "second");
    const char *got = scan_text(textf("maildir:%s", dir));

    cr_expect(strstr(got, "1.x <R>: cur\n"), "%s", got);
    cr_expect_null(strstr(got, "new"), "%s", got);
    cr_expect_neq(strstr(got, "2.y <F>: second\n") != NULL, strstr(got, "2.y <>: first\n") != NULL, "exactly one of the two: %s", got);
}

Test(maildir, dot_folders_and_their_names)
{
    const char *dir = TEMP_DIR();
    static const char *const made[] = {"cur",          ".Sent/cur",        ".a.b/new",          ".Entw&APw-rfe/cur", ".&Jjo-!/cur",
                                       ".R&D/cur",     ".&AGE-/cur",       ".\xff\xfe/cur",      ".INBOX/cur",        ".inbox.Sub/cur",
                                       ".NoMaildir/x", "plain/cur",        ".&2D3eAA-/cur",      ".Tom &- Co/cur",    "courierimapkeywords",
                                       "..dot/cur",     ".x..y/cur",        ".end./cur",         ".../cur"};

    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        mkpath(path_join(dir, made[i]));
    expect_scan(textf("maildir++:%s", dir), "== INBOX\n"
                                            "== &AGE-\n" /* not how 'a' is encoded: stays */
                                            "== ..\n"    /* a dot that would leave an empty level stays */
                                            "== .dot\n"
                                            "== Entw\xc3\xbcrfe\n"
                                            "== INBOX/Sub\n"
                                            "== INBOX~2\n"
                                            "== R&D\n"
                                            "== Sent\n"
                                            "== Tom & Co\n"
                                            "== a/b\n"
                                            "== end.\n"
                                            "== x/.y\n"
                                            "== \xe2\x98\xba!\n"
                                            "== \xf0\x9f\x98\x80\n"
                                            "== \xff\xfe\n");
    cr_expect(strstr(scan_text(textf("maildir++:%s=Old/ann", dir)), "== Old/ann\n== Old/ann/&AGE-\n"));
}

Test(maildir, nested_maildirs)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "cur/1.x:2,"), "root");
    write_text(path_join(dir, "Lists/dev/cur/1.y:2,S"), "dev");
    write_text(path_join(dir, "Lists/&APw-ber/new/2.y"), "u");
    mkpath(path_join(dir, "Lists/cur"));
    mkpath(path_join(dir, "cur/cur"));
    mkpath(path_join(dir, "empty/dir"));
    mkpath(path_join(dir, ".hidden/cur"));
    mkpath(path_join(dir, "new"));
    expect_scan(textf("maildir-fs:%s", dir), "== INBOX\n1.x <>: root\n== Lists\n== Lists/dev\n1.y <R>: dev\n== Lists/\xc3\xbc""ber\n2.y <>: u\n");
    cr_expect_eq(scan_text_skipped(), 1, "the directory in cur/");
}

/* The item is its base name: it is found again with other flags, in cur instead of new, or in new again. */
Test(maildir, item_is_found_again_after_a_rename)
{
    const char *dir = TEMP_DIR();
    static const struct {
        const char *before, *after;
    } rows[] = {
        {"cur/1.a:2,", "cur/1.a:2,S"},   {"new/2.a", "cur/2.a:2,FRST"},           {"cur/3.a:2,S", "cur/3.a:2,abcST"},
        {"cur/4.a:2,S", "new/4.a"},      {"cur/5.a:2,S", "cur/5.a:2,DFS"},
    };
    struct vault_spec spec;
    struct vault *v = NULL;
    struct error err = {0};

    mkpath(path_join(dir, "cur"));
    mkpath(path_join(dir, "new"));
    cr_assert_eq(vault_spec_parse(textf("maildir:%s", dir), &spec, &err), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, &err), BASE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct vault_locator loc = {.name = bytes_str(rows[i].before)};
        struct vault_body *body = NULL;
        struct bytes got;

        write_text(path_join(dir, rows[i].before), rows[i].after);
        cr_assert_eq(rename(path_join(dir, rows[i].before), path_join(dir, rows[i].after)), 0);
        cr_assert_eq(vault_item_open(v, &loc, &body, &err), BASE_OK, "%s: %s", rows[i].before, err.text);
        cr_assert_eq(vault_item_map(body, &got, &err), BASE_OK);
        cr_expect(bytes_equal(got, bytes_str(rows[i].after)));
        vault_item_close(&body);
        cr_assert_eq(unlink(path_join(dir, rows[i].after)), 0);
        cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_ERR_GONE, "%s", rows[i].before);
        cr_expect_null(body);
    }
    vault_close(&v);
    vault_spec_release(&spec);
}

Test(maildir, stamp_follows_cur_and_new)
{
    const char *dir = TEMP_DIR();
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;

    mkpath(path_join(dir, "cur"));
    mkpath(path_join(dir, "new"));
    set_mtime(path_join(dir, "cur"), 1000);
    set_mtime(path_join(dir, "new"), 2000);
    cr_assert_eq(vault_spec_parse(textf("maildir:%s", dir), &spec, NULL), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(vault_scan_new(v, "/tmp", &scan, NULL), BASE_OK);
        cr_assert_eq(vault_scan_next_container(scan, &c, NULL), VAULT_MORE);
        cr_expect_eq(c.stamp.mtime_ns, i ? INT64_C(3000000000000) : INT64_C(2000000000000));
        cr_expect_neq(c.stamp.inode, 0);
        cr_expect_eq(vault_scan_next_container(scan, &c, NULL), VAULT_DONE);
        vault_scan_free(&scan);
        set_mtime(path_join(dir, "cur"), 3000);
    }
    vault_close(&v);
    vault_spec_release(&spec);
}

/* The spilling of the sorter has tests of its own; here only that its keys give the order. */
Test(maildir, a_huge_directory_keeps_its_order)
{
    const char *dir = TEMP_DIR();
    enum { COUNT = 3000 };
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    unsigned n = 0;

    mkpath(path_join(dir, "cur"));
    for (unsigned i = 0; i < COUNT; i++) {
        char name[200];

        (void)snprintf(name, sizeof name, "%s/cur/%u.long-%0100u:2,S", dir, i * 7919 % COUNT + 1, i);
        FILE *f = fopen(name, "w");

        cr_assert(f);
        fclose(f);
    }
    cr_assert_eq(vault_spec_parse(textf("maildir:%s", dir), &spec, NULL), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
    cr_assert_eq(vault_scan_new(v, dir, &scan, NULL), BASE_OK);
    cr_assert_eq(vault_scan_next_container(scan, &c, NULL), VAULT_MORE);
    while (vault_scan_next_item(scan, &item, NULL) == VAULT_MORE) {
        n++;
        cr_assert_eq(vault_maildir_time(item.identity), n);
    }
    cr_expect_eq(n, COUNT);
    vault_scan_free(&scan);
    vault_close(&v);
    vault_spec_release(&spec);
}

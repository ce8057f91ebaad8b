/* Trees: mbox files, .eml files, MH. */
#include <criterion/criterion.h>

#include "scan_text.h"
#include "test_support.h"
#include "vault_private.h"

static void expect_scan(const char *spec, const char *expect)
{
    const char *got = scan_text(spec);

    cr_expect_str_eq(got, expect, "%s:\n%s", spec, got);
}

#define F1 "From a@x Tue Jan  1 00:00:00 2002\n"

Test(trees, mbox_tree_takes_files_as_folders)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "Inbox"), F1 "A: 1\n\nx\n");
    write_text(path_join(dir, "a/b/2004"), F1 "A: 2\n\nx\n");
    write_text(path_join(dir, "a/empty"), "");
    write_text(path_join(dir, "a/notes.txt"), "From\nme\n");
    write_text(path_join(dir, "a/x.msf"), "");
    write_text(path_join(dir, "a/b/2004.lock"), "");
    write_text(path_join(dir, ".imap/x"), F1);
    write_text(path_join(dir, ".subscriptions"), F1);
    write_text(path_join(dir, "bad\xff"), F1 "A: 3\n\nx\n");
    mkpath(path_join(dir, "nothing/here"));
    expect_scan(textf("mbox-tree:%s", dir), "== INBOX\n# <> @1009843200: A: 1||x|\n"
                                            "== a/b/2004\n# <> @1009843200: A: 2||x|\n"
                                            "== a/empty\n"
                                            "== bad\xff\n# <> @1009843200: A: 3||x|\n");
    expect_scan(textf("mbox-tree:%s/a=Old", dir), "== Old/b/2004\n# <> @1009843200: A: 2||x|\n== Old/empty\n");
}

Test(trees, eml_tree_takes_directories_as_folders)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "b.eml"), "2");
    write_text(path_join(dir, "a.EML"), "1");
    write_text(path_join(dir, "note.txt"), "no");
    write_text(path_join(dir, ".x.eml"), "no");
    write_text(path_join(dir, "sub/10.eml"), "3");
    write_text(path_join(dir, "sub/9.eml"), "4");
    write_text(path_join(dir, "sub/\xff.eml"), "5");
    mkpath(path_join(dir, "sub/dir.eml"));
    mkpath(path_join(dir, "empty"));
    mkpath(path_join(dir, ".git"));
    expect_scan(textf("eml-tree:%s", dir), "== INBOX\na.EML <>: 1\nb.eml <>: 2\n== empty\n== sub\n10.eml <>: 3\n9.eml <>: 4\n\xff.eml <>: 5\n"
                                           "== sub/dir.eml\n");
    char match[] = "*.[tm][xs][tg]", *path = strdup(dir);
    const struct vault_spec spec = {.kind = VAULT_KIND_EML_TREE, .path = path, .match = match};

    cr_expect(strstr(scan_spec_text(&spec), "note.txt <>: no\n"), "%s", scan_spec_text(&spec));
    cr_expect_null(strstr(scan_spec_text(&spec), "eml <"), "%s", scan_spec_text(&spec));
    free(path);
}

Test(trees, eml_items_carry_their_stat)
{
    const char *dir = TEMP_DIR();
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;

    write_text(path_join(dir, "a.eml"), "12345");
    set_mtime(path_join(dir, "a.eml"), 77);
    cr_assert_eq(vault_spec_parse(textf("eml:%s", dir), &spec, NULL), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
    cr_assert_eq(vault_scan_new(v, "/tmp", &scan, NULL), BASE_OK);
    cr_expect_eq(vault_scan_next_item(scan, &item, NULL), VAULT_DONE, "no container yet");
    cr_assert_eq(vault_scan_next_container(scan, &c, NULL), VAULT_MORE);
    cr_assert_eq(vault_scan_next_item(scan, &item, NULL), VAULT_MORE);
    cr_expect(item.has_stat);
    cr_expect_eq(item.size, 5);
    cr_expect_eq(item.mtime_ns, INT64_C(77000000000));
    cr_expect_eq(vault_scan_next_item(scan, &item, NULL), VAULT_DONE);
    cr_expect_eq(vault_scan_next_item(scan, &item, NULL), VAULT_DONE);
    vault_scan_free(&scan);
    vault_close(&v);
    vault_spec_release(&spec);
}

Test(trees, mh_numbers_order_and_sequences)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "inbox/2"), "two");
    write_text(path_join(dir, "inbox/10"), "ten");
    write_text(path_join(dir, "inbox/9"), "nine");
    write_text(path_join(dir, "inbox/,3"), "deleted");
    write_text(path_join(dir, "inbox/3.orig"), "no");
    write_text(path_join(dir, "inbox/.mh_sequences"), "cur: 10\nunseen: 9-10\nflagged: 2\nreplied: 1-2 9\n");
    write_text(path_join(dir, "lists/dev/1"), "dev");
    mkpath(path_join(dir, "empty"));
    expect_scan(textf("mh:%s", dir), "== INBOX\n2 <RAF>: two\n9 <A>: nine\n10 <>: ten\n== empty\n== lists\n== lists/dev\n1 <R>: dev\n");
    write_text(path_join(dir, "5"), "root");
    expect_scan(textf("mh:%s", dir), "== INBOX\n2 <RAF>: two\n9 <A>: nine\n10 <>: ten\n== INBOX~root\n5 <R>: root\n== empty\n== lists\n"
                                     "== lists/dev\n1 <R>: dev\n");
    expect_scan(textf("mh:%s/lists", dir), "== INBOX\n== dev\n1 <R>: dev\n");
}

Test(mh, sequences_table)
{
    static const struct {
        const char *text;
        uint64_t number;
        uint32_t flags;
    } rows[] = {
        {"", 1, VAULT_FLAG_SEEN},
        {"unseen: 1", 1, 0},
        {"unseen:1-3\n", 3, 0},
        {"unseen: 1-3\n", 4, VAULT_FLAG_SEEN},
        {"unseen: 5 1-3 2-8\n", 7, 0},
        {"unseen: 5 1-9 2-3\n", 7, 0},
        {"unseen: 5 1-9 2-3\n", 10, VAULT_FLAG_SEEN},
        {"flagged: 7\nreplied: 6-8\nunseen: 7\n", 7, VAULT_FLAG_FLAGGED | VAULT_FLAG_ANSWERED},
        {"flagged: 8-6 x 7- -7 7x\n", 7, VAULT_FLAG_SEEN},
        {"flagged 7\nother: 7\ncur: 7\n", 7, VAULT_FLAG_SEEN},
        {"flagged: 0-9999999999999999999\n", 7, VAULT_FLAG_SEEN | VAULT_FLAG_FLAGGED},
        {"flagged: 7-18446744073709551615\n", 7, VAULT_FLAG_SEEN},
        {"\n\n:\nflagged: 7\r\n", 7, VAULT_FLAG_SEEN | VAULT_FLAG_FLAGGED},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vault_mh_sequences s = {0};

        vault_mh_parse(bytes_str(rows[i].text), &s);
        cr_expect_eq(vault_mh_flags(&s, rows[i].number), rows[i].flags, "%s", rows[i].text);
        vault_mh_release(&s);
    }
}

Test(folders, utf7_round_trips)
{
    static const struct {
        const char *utf7, *utf8;
    } rows[] = {
        {"INBOX", "INBOX"},
        {"&-", "&"},
        {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&AOkA6Q-x&AOk-", "\xc3\xa9\xc3\xa9x\xc3\xa9"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = {0};

        cr_expect(vault_utf7_decode(bytes_str(rows[i].utf7), &out), "%s", rows[i].utf7);
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(rows[i].utf8)), "%s", rows[i].utf7);
        buf_reset(&out);
        vault_utf7_encode(bytes_str(rows[i].utf8), &out);
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(rows[i].utf7)), "%.*s", (int)out.n, (char *)out.p);
        buf_release(&out);
    }
}

Test(folders, what_is_not_utf7_stays_as_it_is)
{
    static const char *const rows[] = {"R&D", "&", "&AGE-", "&A-", "&2D0-", "&3gA-", "&AP*-", "\xc3\xbc", "&APw", "&AC8-", "&AAA-", "a&APx-"};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = {0};

        vault_folder_append_utf7(&out, bytes_str(rows[i]));
        cr_expect(bytes_equal(buf_bytes(&out), bytes_str(rows[i])), "%s became %.*s", rows[i], (int)out.n, (char *)out.p);
        buf_release(&out);
    }
}

/* A container that cannot be read on is no end of the scan. */
Test(trees, the_next_container_can_be_asked_for_after_a_failed_one)
{
    const char *dir = TEMP_DIR();
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    struct error err = {0};

    write_text(path_join(dir, "a/1.eml"), "A: 1\n\n");
    write_text(path_join(dir, "b/2.eml"), "A: 2\n\n");
    cr_assert_eq(vault_spec_parse(textf("eml-tree:%s", dir), &spec, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_open(&spec, &v, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_scan_new(v, NULL, &scan, &err), BASE_OK, "%s", err.text);
    do
        cr_assert_eq(vault_scan_next_container(scan, &c, &err), VAULT_MORE);
    while (!bytes_equal(c.name, BYTES_LIT("a")));
    cr_assert_eq(rename(path_join(dir, "a"), path_join(dir, "away")), 0);
    cr_expect_lt(vault_scan_next_item(scan, &item, &err), 0);
    cr_assert_eq(vault_scan_next_container(scan, &c, &err), VAULT_MORE);
    cr_expect(bytes_equal(c.name, BYTES_LIT("b")));
    cr_expect_eq(vault_scan_next_item(scan, &item, &err), VAULT_MORE);
    vault_scan_free(&scan);
    vault_close(&v);
    vault_spec_release(&spec);
}

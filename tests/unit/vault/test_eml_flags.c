/* flags.txt of an export: believed as a whole or not at all. */
#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scan_text.h"
#include "test_support.h"
#include "vault_private.h"

#define ROW "0000000007\t1700000000\t\\Seen\t$Work\n"

static void expect_scan(const char *dir, const char *expect)
{
    const char *got = scan_text(textf("eml:%s", dir));

    cr_expect_str_eq(got, expect, "%s", got);
}

Test(eml_flags, an_export_is_read_with_flags_keywords_and_dates)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "0000000001.eml"), "a");
    write_text(path_join(dir, "0000000007.eml"), "b");
    write_text(path_join(dir, "0000000008.eml"), "c");
    write_text(path_join(dir, "7.eml"), "d");
    write_text(path_join(dir, "sub/4294967295.eml"), "e");
    write_text(path_join(dir, "flags.txt"),
               "0000000001\t-5\t\\Seen \\Answered \\Flagged \\Deleted \\Draft $Forwarded\tA b C\n" ROW
               "0000000009\t0\t\t\n");
    write_text(path_join(dir, "sub/flags.txt"), "4294967295\t0\t\t\n");
    expect_scan(dir, "== INBOX\n0000000001.eml <RAFDTP> {A b C} @-5: a\n0000000007.eml <R> {$Work} @1700000000: b\n"
                     "0000000008.eml <>: c\n7.eml <>: d\n== sub\n4294967295.eml <> @0: e\n");
    cr_expect_eq(scan_text_skipped(), 0);
}

Test(eml_flags, a_change_of_it_is_a_change_of_the_folder)
{
    const char *dir = TEMP_DIR(), *list = path_join(dir, "flags.txt");
    struct vault_spec spec;
    int64_t stamps[2];

    write_text(path_join(dir, "0000000007.eml"), "b");
    write_text(list, ROW);
    cr_assert_eq(vault_spec_parse(textf("eml:%s", dir), &spec, NULL), BASE_OK);
    for (int i = 0; i < 2; i++) {
        struct vault *v = NULL;
        struct vault_scan *scan = NULL;
        struct vault_container c;

        set_mtime(list, 4000000000 + i);
        cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
        cr_assert_eq(vault_scan_new(v, "/tmp", &scan, NULL), BASE_OK);
        cr_assert_eq(vault_scan_next_container(scan, &c, NULL), VAULT_MORE);
        stamps[i] = c.stamp.mtime_ns;
        vault_scan_free(&scan);
        vault_close(&v);
    }
    cr_expect_eq(stamps[1] - stamps[0], 1000000000);
    vault_spec_release(&spec);
}

Test(eml_flags, a_foreign_one_changes_nothing)
{
    static const char *const foreign[] = {
        "some notes of mine\n",
        ROW "x\n",
        ROW "0000000008\t1700000000\t\\Seen\t", /* torn */
        ROW ROW,                                /* not upwards */
        "\n",
        "0000000007\t1700000000\t\\Seen\n",
        "0000000007\t1700000000\t\\Seen\ta\tb\n",
        "7\t1700000000\t\\Seen\t\n",
        "0000000000\t1700000000\t\\Seen\t\n",
        "4294967296\t1700000000\t\\Seen\t\n",
        "0000000007\t\t\\Seen\t\n",
        "0000000007\t17e9\t\\Seen\t\n",
        "0000000007\t9223372036854775807\t\\Seen\t\n",
        "0000000007\t99999999999999999999\t\\Seen\t\n",
        "0000000007\t1\t\\Recent\t\n",
        "0000000007\t1\t\\Seen  \\Draft\t\n",
        "0000000007\t1\t\\Seen \t\n",
        "0000000007\t1\t\\Seen\t a\n",
        "0000000007\t1\t\\Seen\ta\r\n",
    };

    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        const char *dir = path_join(TEMP_DIR(), textf("%zu", i));

        write_text(path_join(dir, "0000000007.eml"), "b");
        write_text(path_join(dir, "flags.txt"), foreign[i]);
        const char *got = scan_text(textf("eml:%s", dir));

        cr_expect_str_eq(got, "== INBOX\n0000000007.eml <>: b\n", "%zu %s: %s", i, foreign[i], got);
        cr_expect(scan_text_skipped() == 1 && strstr(scan_text_reason(), "flags.txt"), "%zu: %s", i,
                  scan_text_reason());
    }
}

Test(eml_flags, neither_links_nor_devices_nor_huge_files_are_read)
{
    const char *dir = TEMP_DIR(), *list = path_join(dir, "flags.txt");

    write_text(path_join(dir, "0000000007.eml"), "b");
    write_text(path_join(dir, "real"), ROW);
    cr_assert_eq(symlink("real", list), 0);
    expect_scan(dir, "== INBOX\n0000000007.eml <>: b\n");
    cr_assert_eq(unlink(list), 0);
    cr_assert_eq(mkfifo(list, 0600), 0);
    expect_scan(dir, "== INBOX\n0000000007.eml <>: b\n");
    cr_assert_eq(unlink(list), 0);
    write_text(list, ROW);
    cr_assert_eq(truncate(list, (off_t)1 << 40), 0);
    expect_scan(dir, "== INBOX\n0000000007.eml <>: b\n");
    cr_expect_eq(scan_text_skipped(), 1);
}

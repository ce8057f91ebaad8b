/* What a scan says about items still to come. */
#include <criterion/criterion.h>

#include "test_support.h"
#include "vault/vault.h"

static struct vault_scan *open_scan(const char *text, struct vault **v)
{
    struct error err = {0};
    struct vault_spec spec;
    struct vault_scan *s = NULL;

    cr_assert_eq(vault_spec_parse(text, &spec, &err), 0, "%s", err.text);
    cr_assert_eq(vault_open(&spec, v, &err), 0, "%s", err.text);
    vault_spec_release(&spec);
    cr_assert_eq(vault_scan_new(*v, NULL, &s, &err), 0, "%s", err.text);
    return s;
}

static void expect_container(struct vault_scan *s)
{
    struct vault_container c;
    struct error err = {0};

    cr_assert_eq(vault_scan_next_container(s, &c, &err), VAULT_MORE);
    cr_assert_not(c.unreadable);
}

static int next_item(struct vault_scan *s)
{
    struct vault_item item;
    struct error err = {0};

    return vault_scan_next_item(s, &item, &err);
}

Test(pending, directories_count_down_to_0)
{
    static const char *const kinds[] = {"maildir", "eml-tree", "mh"};

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const char *dir = TEMP_DIR();
        struct vault *v = NULL;

        for (unsigned i = 1; i <= 5; i++) {
            const char *name = k == 0 ? textf("cur/%u.x:2,S", i) : k == 1 ? textf("%u.eml", i) : textf("%u", i);
            write_text(path_join(dir, name), "Subject: x\n\n");
        }
        struct vault_scan *s = open_scan(textf("%s:%s", kinds[k], dir), &v);

        expect_container(s);
        for (unsigned i = 1; i <= 5; i++) {
            cr_assert_eq(next_item(s), VAULT_MORE, "%s %u", kinds[k], i);
            cr_expect_eq(vault_scan_pending(s), 5 - i, "%s after %u", kinds[k], i);
        }
        cr_expect_eq(next_item(s), VAULT_DONE);
        cr_expect_eq(vault_scan_pending(s), 0);
        vault_scan_free(&s);
        vault_close(&v);
    }
}

Test(pending, mbox_goes_by_the_bytes_left)
{
    const char *one = "From a@x Tue Jan  1 00:00:00 2002\nSubject: x\n\nbody\n\n";
    const char *file = path_join(TEMP_DIR(), "box");
    struct vault *v = NULL;

    write_text(file, textf("%s%s%s%s", one, one, one, one));
    struct vault_scan *s = open_scan(textf("mboxo:%s", file), &v);

    expect_container(s);
    for (unsigned i = 1; i <= 4; i++) {
        cr_assert_eq(next_item(s), VAULT_MORE);
        if (i < 4)
            cr_expect_gt(vault_scan_pending(s), 0, "after %u", i);
    }
    cr_expect_eq(next_item(s), VAULT_DONE);
    cr_expect_eq(vault_scan_pending(s), 0);
    vault_scan_free(&s);
    vault_close(&v);
}

Test(pending, estimate_is_of_the_containers_that_follow)
{
    const char *dir = TEMP_DIR();
    struct vault *v = NULL;

    write_text(path_join(dir, "cur/1.x:2,S"), "1");
    write_text(path_join(dir, ".A/cur/1.x:2,S"), "1");
    write_text(path_join(dir, ".A/new/2.x"), "2");
    write_text(path_join(dir, ".B/cur/1.x:2,S"), "1");
    struct vault_scan *s = open_scan(textf("maildir++:%s", dir), &v);

    cr_expect_eq(vault_scan_estimate(s), 4);
    expect_container(s);
    cr_expect_eq(vault_scan_estimate(s), 3);
    expect_container(s);
    cr_expect_eq(vault_scan_estimate(s), 1);
    expect_container(s);
    cr_expect_eq(vault_scan_estimate(s), 0);
    cr_expect_eq(vault_scan_skipped(s), 0);
    vault_scan_free(&s);
    vault_close(&v);
}

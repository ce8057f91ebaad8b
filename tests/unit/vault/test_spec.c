/* --from texts, and which kind auto: finds. */
#include <criterion/criterion.h>

#include "scan_text.h"
#include "test_support.h"

Test(spec, parse_table)
{
    static const struct {
        const char *text;
        enum vault_kind kind;
        enum vault_mbox_variant variant;
        const char *path, *folder;
    } rows[] = {
        {"maildir:/a/b", VAULT_KIND_MAILDIR, VAULT_MBOX_DETECT, "/a/b", NULL},
        {"maildir++:/a", VAULT_KIND_MAILDIRPP, VAULT_MBOX_DETECT, "/a", NULL},
        {"maildir-fs:a", VAULT_KIND_MAILDIR_FS, VAULT_MBOX_DETECT, "a", NULL},
        {"mbox:/x.mbox=Old/2004", VAULT_KIND_MBOX, VAULT_MBOX_DETECT, "/x.mbox", "Old/2004"},
        {"mboxo:x", VAULT_KIND_MBOX, VAULT_MBOX_O, "x", NULL},
        {"mboxrd:x", VAULT_KIND_MBOX, VAULT_MBOX_RD, "x", NULL},
        {"mboxcl:x", VAULT_KIND_MBOX, VAULT_MBOX_CL, "x", NULL},
        {"mboxcl2:x", VAULT_KIND_MBOX, VAULT_MBOX_CL2, "x", NULL},
        {"mbox-tree:x", VAULT_KIND_MBOX_TREE, VAULT_MBOX_DETECT, "x", NULL},
        {"mboxo-tree:x", VAULT_KIND_MBOX_TREE, VAULT_MBOX_O, "x", NULL},
        {"mboxrd-tree:x", VAULT_KIND_MBOX_TREE, VAULT_MBOX_RD, "x", NULL},
        {"mboxcl-tree:x", VAULT_KIND_MBOX_TREE, VAULT_MBOX_CL, "x", NULL},
        {"mboxcl2-tree:x=F", VAULT_KIND_MBOX_TREE, VAULT_MBOX_CL2, "x", "F"},
        {"eml:x", VAULT_KIND_EML_TREE, VAULT_MBOX_DETECT, "x", NULL},
        {"eml-tree:x", VAULT_KIND_EML_TREE, VAULT_MBOX_DETECT, "x", NULL},
        {"mh:x", VAULT_KIND_MH, VAULT_MBOX_DETECT, "x", NULL},
        {"auto:a:b=c=d", VAULT_KIND_AUTO, VAULT_MBOX_DETECT, "a:b=c", "d"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vault_spec spec;
        struct error err = {0};

        cr_assert_eq(vault_spec_parse(rows[i].text, &spec, &err), BASE_OK, "%s: %s", rows[i].text, err.text);
        cr_expect_eq(spec.kind, rows[i].kind, "%s", rows[i].text);
        cr_expect_eq(spec.variant, rows[i].variant, "%s", rows[i].text);
        cr_expect_str_eq(spec.path, rows[i].path, "%s", rows[i].text);
        cr_expect(rows[i].folder ? spec.folder && strcmp(spec.folder, rows[i].folder) == 0 : !spec.folder, "%s", rows[i].text);
        vault_spec_release(&spec);
    }
}

Test(spec, parse_refuses_with_the_kinds_named)
{
    static const char *const rows[] = {"", "maildir", "maildir:", ":x", "pst:x", "Maildir:x", "mbox:=x", "mbox:x=", "mbox:x=/a",
                                       "mbox:x=a/", "mbox:x=a//b"};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vault_spec spec;
        struct error err = {0};

        cr_expect_eq(vault_spec_parse(rows[i], &spec, &err), BASE_ERR_USAGE, "%s", rows[i]);
        cr_expect_neq(err.text[0], '\0', "%s", rows[i]);
        vault_spec_release(&spec);
    }
    struct vault_spec spec;
    struct error err = {0};

    cr_expect_eq(vault_spec_parse(NULL, &spec, &err), BASE_ERR_USAGE);
    (void)vault_spec_parse("pst:x", &spec, &err);
    cr_expect(strstr(err.text, "maildir-fs") && strstr(err.text, "mboxcl2") && strstr(err.text, "mh"), "%s", err.text);
}

Test(spec, an_existing_path_with_an_equals_sign_is_a_path)
{
    const char *dir = TEMP_DIR();
    struct vault_spec spec;

    mkpath(path_join(dir, "a=b/cur"));
    cr_assert_eq(vault_spec_parse(textf("maildir:%s/a=b", dir), &spec, NULL), BASE_OK);
    cr_expect_str_eq(spec.path, path_join(dir, "a=b"));
    cr_expect_null(spec.folder);
    vault_spec_release(&spec);
    cr_assert_eq(vault_spec_parse(textf("maildir:%s/a=b=F", dir), &spec, NULL), BASE_OK);
    cr_expect_str_eq(spec.path, path_join(dir, "a=b"));
    cr_expect_str_eq(spec.folder, "F");
    vault_spec_release(&spec);
}

static const char *kind_of(const char *path)
{
    struct vault_spec spec;
    struct error err = {0};
    struct vault *v = NULL;

    cr_assert_eq(vault_spec_parse(textf("auto:%s", path), &spec, &err), BASE_OK);
    const int rc = vault_open(&spec, &v, &err);
    const char *name = rc == BASE_OK ? vault_kind_name(vault_kind(v)) : base_err_name(err.code);

    vault_close(&v);
    vault_spec_release(&spec);
    return name;
}

Test(detect, auto_finds_each_kind)
{
    static const struct {
        const char *name;
        const char *files[5]; /* ending in '/': a directory; holding '=': path=content */
        const char *kind;
    } rows[] = {
        {"maildir", {"cur/", "new/", "tmp/"}, "maildir++"},
        {"only new", {"new/"}, "maildir++"},
        {"dot folders", {"cur/", "new/", ".Sent/cur/"}, "maildir++"},
        {"dot folders, no root", {".Sent/cur/", ".Sent/new/"}, "maildir++"},
        {"nested", {"cur/", "Lists/cur/", "Lists/dev/cur/"}, "maildir-fs"},
        {"nested, no root", {"a/b/cur/", "a/b/new/"}, "maildir-fs"},
        {"mh by sequences", {"inbox/", ".mh_sequences=unseen: 1\n"}, "mh"},
        {"mh by numbers", {"inbox/1=Subject: x\n\n", "inbox/2=Subject: y\n\n", "inbox/note.txt=x"}, "mh"},
        {"eml", {"a/b/x.EML=Subject: x\n\n", "readme=x"}, "eml-tree"},
        {"mbox tree", {"a/2004=From x Tue Jan  1 00:00:00 2002\n\n", "b=From y Tue Jan  1 00:00:00 2002\n\n"}, "mbox-tree"},
        {"numbers that are mboxes", {"2004=From x Tue Jan  1 00:00:00 2002\n\n"}, "mbox-tree"},
        {"nothing", {"a/", "b=hello\n"}, "FORMAT"},
        {"empty", {"a/"}, "FORMAT"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *dir = path_join(TEMP_DIR(), "root");

        mkpath(dir);
        for (size_t k = 0; k < 5 && rows[i].files[k]; k++) {
            const char *equals = strchr(rows[i].files[k], '=');

            if (equals)
                write_text(textf("%s/%.*s", dir, (int)(equals - rows[i].files[k]), rows[i].files[k]), equals + 1);
            else
                mkpath(path_join(dir, rows[i].files[k]));
        }
        cr_expect_str_eq(kind_of(dir), rows[i].kind, "%s: %s", rows[i].name, kind_of(dir));
    }
}

Test(detect, auto_on_a_file)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "m"), "From x Tue Jan  1 00:00:00 2002\n\n");
    write_text(path_join(dir, "empty"), "");
    write_text(path_join(dir, "one.eml"), "Subject: x\n\n");
    cr_expect_str_eq(kind_of(path_join(dir, "m")), "mbox");
    cr_expect_str_eq(kind_of(path_join(dir, "empty")), "mbox");
    cr_expect_str_eq(kind_of(path_join(dir, "one.eml")), "FORMAT");
    cr_expect_str_eq(kind_of(path_join(dir, "missing")), "NOTFOUND");
    cr_expect_str_eq(kind_of("/dev/null"), "FORMAT");
}

Test(detect, open_says_what_is_wrong)
{
    const char *dir = TEMP_DIR();

    mkpath(path_join(dir, "empty"));
    write_text(path_join(dir, "file"), "x");
    cr_expect_eq(strncmp(scan_text(textf("maildir:%s/none", dir)), "ERR NOTFOUND", 12), 0);
    cr_expect_eq(strncmp(scan_text(textf("maildir:%s/empty", dir)), "ERR NOTFOUND", 12), 0, "an unmounted mount point");
    cr_expect_eq(strncmp(scan_text(textf("mbox:%s/empty", dir)), "ERR FORMAT", 10), 0);
    cr_expect_eq(strncmp(scan_text(textf("mh:%s/file", dir)), "ERR FORMAT", 10), 0);
}

Test(detect, the_vaults_name_opens_it_again)
{
    const char *dir = TEMP_DIR();
    static const char *const kinds[] = {"mboxrd", "mboxo", "mbox"};
    struct vault_spec spec;
    struct vault *v = NULL;

    write_text(path_join(dir, "m"), "From x Tue Jan  1 00:00:00 2002\n\n");
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(vault_spec_parse(textf("%s:%s/./m=A/b", kinds[i], dir), &spec, NULL), BASE_OK);
        cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
        cr_expect_str_eq(vault_name(v), textf("%s:%s/m=A/b", kinds[i], dir));
        vault_close(&v);
        vault_spec_release(&spec);
        cr_assert_eq(vault_spec_parse(textf("%s-tree:%s/.=A/b", kinds[i], dir), &spec, NULL), BASE_OK);
        cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
        cr_expect_str_eq(vault_name(v), textf("%s-tree:%s=A/b", kinds[i], dir));
        vault_close(&v);
        vault_spec_release(&spec);
    }
    cr_expect_null(v);
    vault_close(&v);
}

/* Hostile and unlucky vaults: ways out, things that are no files, files that change while we look. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "scan_text.h"
#include "test_support.h"
#include "vault_private.h"

static struct vault *open_vault(const char *text)
{
    struct vault_spec spec;
    struct vault *v = NULL;
    struct error err = {0};

    cr_assert_eq(vault_spec_parse(text, &spec, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_open(&spec, &v, &err), BASE_OK, "%s", err.text);
    vault_spec_release(&spec);
    return v;
}

static int open_item(struct vault *v, const char *container, const char *name, struct vault_body **body)
{
    const struct vault_locator loc = {.container = bytes_str(container), .name = bytes_str(name)};
    struct error err = {0};

    return vault_item_open(v, &loc, body, &err);
}

/* A vault with every way out, and the secret outside. */
static const char *hostile_dir(const char *base)
{
    const char *root = path_join(base, "root");

    write_text(path_join(base, "secret"), "secret");
    write_text(path_join(base, "outside/cur/1.x:2,"), "secret");
    write_text(path_join(root, "cur/1.ok:2,"), "ok");
    mkpath(path_join(root, "new"));
    mkpath(path_join(root, "sub"));
    cr_assert_eq(symlink("../../secret", path_join(root, "cur/2.link:2,")), 0);
    cr_assert_eq(symlink("1.ok:2,", path_join(root, "cur/3.inner:2,")), 0);
    cr_assert_eq(symlink("../outside", path_join(root, ".Out")), 0);
    cr_assert_eq(symlink("../outside", path_join(root, "out")), 0);
    cr_assert_eq(symlink("../../outside/cur", path_join(root, "sub/cur")), 0);
    cr_assert_eq(mkfifo(path_join(root, "cur/4.fifo:2,"), 0600), 0);
    mkpath(path_join(root, "cur/5.dir:2,"));
    return root;
}

static void expect_contained(bool by_hand)
{
    const char *base = TEMP_DIR();
    const char *root = hostile_dir(base);
    struct vault *v = open_vault(textf("maildir++:%s", root));
    static const struct {
        const char *container, *name;
        int rc;
    } rows[] = {
        {"", "cur/1.ok:2,", BASE_OK},
        {"", "cur/2.link:2,", BASE_ERR_GONE},
        {"", "cur/3.inner:2,", BASE_ERR_GONE},
        {"", "cur/4.fifo:2,", BASE_ERR_GONE},
        {"", "cur/5.dir:2,", BASE_ERR_GONE},
        {"", "../secret", BASE_ERR_GONE},
        {"..", "secret", BASE_ERR_GONE},
        {"", "cur/../../secret", BASE_ERR_GONE},
        {"", "/etc/passwd", BASE_ERR_GONE},
        {"/etc", "passwd", BASE_ERR_GONE},
        {".Out", "cur/1.x:2,", BASE_ERR_GONE},
        {"out", "cur/1.x:2,", BASE_ERR_GONE},
        {"sub", "cur/1.x:2,", BASE_ERR_GONE},
        {"", "cur", BASE_ERR_GONE},
        {"", "none", BASE_ERR_GONE},
    };

    if (by_hand)
        atomic_store(&v->no_openat2, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vault_body *body = NULL;
        const int rc = open_item(v, rows[i].container, rows[i].name, &body);

        cr_expect_eq(rc, rows[i].rc, "%s / %s: %d (by hand: %d)", rows[i].container, rows[i].name, rc, by_hand);
        vault_item_close(&body);
    }
    const struct vault_locator nul = {.name = bytes_of("cur/1.ok:2,\0x", 13)};
    struct vault_body *body = NULL;

    cr_expect_eq(vault_item_open(v, &nul, &body, NULL), BASE_ERR_GONE);
    cr_expect_eq(atomic_load(&v->no_openat2), by_hand, "the kernel's way was used if it is there");
    vault_close(&v);
}

Test(safety, no_way_out_by_openat2)
{
    expect_contained(false);
}

Test(safety, no_way_out_by_hand)
{
    expect_contained(true);
}

Test(safety, scans_pass_over_what_is_no_file)
{
    const char *root = hostile_dir(TEMP_DIR());

    cr_expect_str_eq(scan_text(textf("maildir++:%s", root)), "== INBOX\n1.ok <>: ok\n");
    cr_expect_eq(scan_text_skipped(), 5, "two links, a FIFO, a directory, a linked folder: %d", (int)scan_text_skipped());
    cr_expect_str_eq(scan_text(textf("maildir-fs:%s", root)), "== INBOX\n1.ok <>: ok\n");
}

Test(safety, trees_do_not_follow_links)
{
    const char *base = TEMP_DIR();
    const char *root = path_join(base, "root");

    write_text(path_join(base, "out/1.eml"), "secret");
    write_text(path_join(base, "out/7"), "secret");
    write_text(path_join(base, "m"), "From x Tue Jan  1 00:00:00 2002\n\nsecret\n");
    write_text(path_join(root, "a.eml"), "ok");
    write_text(path_join(root, "1"), "one");
    cr_assert_eq(symlink("../out", path_join(root, "dir")), 0);
    cr_assert_eq(symlink("../out/1.eml", path_join(root, "b.eml")), 0);
    cr_assert_eq(symlink("../out/7", path_join(root, "2")), 0);
    cr_assert_eq(symlink("../m", path_join(root, "m")), 0);
    cr_assert_eq(mkfifo(path_join(root, "f.eml"), 0600), 0);
    cr_assert_eq(mkfifo(path_join(root, "3"), 0600), 0);
    cr_expect_str_eq(scan_text(textf("eml:%s", root)), "== INBOX\na.eml <>: ok\n");
    cr_expect_eq(scan_text_skipped(), 2);
    cr_expect_str_eq(scan_text(textf("mh:%s", root)), "== INBOX\n1 <R>: one\n");
    cr_expect_eq(scan_text_skipped(), 2);
    cr_expect_str_eq(scan_text(textf("mbox-tree:%s", root)), "");
    cr_expect_gt(scan_text_skipped(), 0);
}

/* What the operator names may be a link: only what lies inside is not trusted. */
Test(safety, the_root_itself_may_be_a_link)
{
    const char *dir = TEMP_DIR();

    write_text(path_join(dir, "real/cur/1.x:2,"), "x");
    write_text(path_join(dir, "m"), "From x Tue Jan  1 00:00:00 2002\n\nx\n");
    cr_assert_eq(symlink("real", path_join(dir, "link")), 0);
    cr_assert_eq(symlink("m", path_join(dir, "mlink")), 0);
    cr_expect_str_eq(scan_text(textf("maildir:%s/link", dir)), "== INBOX\n1.x <>: x\n");
    cr_expect_str_eq(scan_text(textf("mbox:%s/mlink", dir)), "== INBOX\n# <> @1009843200: |x|\n");
}

Test(safety, a_file_that_shrinks_is_gone)
{
    const char *dir = TEMP_DIR();
    struct vault *v = open_vault(textf("maildir:%s", (mkpath(path_join(dir, "cur")), dir)));
    const char *path = path_join(dir, "cur/1.x:2,");
    struct vault_body *body = NULL;
    struct error err = {0};
    uint8_t got[100];
    size_t n;
    struct bytes map;

    write_text(path, "0123456789");
    cr_assert_eq(open_item(v, "", "cur/1.x:2,", &body), BASE_OK);
    cr_assert_eq(truncate(path, 4), 0);
    cr_expect_eq(vault_item_read(body, 0, got, 4, &n, &err), BASE_OK);
    cr_expect_eq(vault_item_read(body, 0, got, 10, &n, &err), BASE_ERR_GONE);
    cr_expect_eq(n, 0);
    cr_expect_eq(vault_item_map(body, &map, &err), BASE_ERR_GONE);
    vault_item_close(&body);

    /* Large enough to be mapped. */
    cr_assert_eq(truncate(path, 3 << 20), 0);
    cr_assert_eq(open_item(v, "", "cur/1.x:2,", &body), BASE_OK);
    cr_expect_eq(vault_item_size(body), 3u << 20);
    cr_assert_eq(truncate(path, 4), 0);
    cr_expect_eq(vault_item_map(body, &map, &err), BASE_ERR_GONE);
    vault_item_close(&body);
    vault_close(&v);
}

Test(safety, an_mbox_that_shrank_is_gone)
{
    const char *path = path_join(TEMP_DIR(), "m");
    struct vault_locator loc = {.offset = 32, .length = 6};
    struct vault_body *body = NULL;
    struct error err = {0};

    write_text(path, "From x Tue Jan  1 00:00:00 2002\nA: 1\n\n");
    struct vault *v = open_vault(textf("mbox:%s", path));

    cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_OK, "%s", err.text);
    vault_item_close(&body);
    loc.length = 7;
    cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_ERR_GONE);
    loc.length = UINT64_MAX;
    cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_ERR_GONE);
    loc = (struct vault_locator){.offset = UINT64_MAX, .length = 2};
    cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_ERR_GONE);
    cr_assert_eq(unlink(path), 0);
    loc = (struct vault_locator){0};
    cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_ERR_GONE);
    vault_close(&v);
}

Test(safety, an_item_that_vanishes_between_scan_and_read_is_gone)
{
    const char *dir = TEMP_DIR();
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    struct vault_body *body = NULL;

    write_text(path_join(dir, "a.eml"), "a");
    write_text(path_join(dir, "b.eml"), "b");
    struct vault *v = open_vault(textf("eml:%s", dir));

    cr_assert_eq(vault_scan_new(v, "/tmp", &scan, NULL), BASE_OK);
    cr_assert_eq(vault_scan_next_container(scan, &c, NULL), VAULT_MORE);
    cr_assert_eq(vault_scan_next_item(scan, &item, NULL), VAULT_MORE);
    cr_assert_eq(unlink(path_join(dir, "b.eml")), 0);
    cr_assert_eq(vault_scan_next_item(scan, &item, NULL), VAULT_MORE);
    cr_expect_not(item.has_stat);
    cr_expect_eq(vault_item_open(v, &item.locator, &body, NULL), BASE_ERR_GONE);
    vault_scan_free(&scan);
    vault_close(&v);
}

/* Root reads everything: another user is needed to see the refusal. */
Test(safety, unreadable_is_not_gone)
{
    const char *dir = TEMP_DIR();
    struct vault_body *body = NULL;

    write_text(path_join(dir, "cur/1.x:2,"), "x");
    write_text(path_join(dir, ".Locked/cur/1.x:2,"), "x");
    write_text(path_join(dir, ".Half/cur/1.x:2,"), "x");
    write_text(path_join(dir, "eml/ok/a.eml"), "x");
    write_text(path_join(dir, "eml/locked/a.eml"), "x");
    write_text(path_join(dir, "boxes/ok"), "");
    write_text(path_join(dir, "boxes/locked"), "");
    cr_assert_eq(chmod(dir, 0755), 0);
    cr_assert_eq(chmod(path_join(dir, "cur/1.x:2,"), 0), 0);
    cr_assert_eq(chmod(path_join(dir, ".Locked"), 0), 0);
    cr_assert_eq(chmod(path_join(dir, ".Half/cur"), 0), 0);
    cr_assert_eq(chmod(path_join(dir, "eml/locked"), 0), 0);
    cr_assert_eq(chmod(path_join(dir, "boxes/locked"), 0), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    const char *maildir = scan_text(textf("maildir++:%s", dir));
    const char *eml = scan_text(textf("eml:%s/eml", dir));
    const char *boxes = scan_text(textf("mbox-tree:%s/boxes", dir));
    struct vault *v = open_vault(textf("maildir++:%s", dir));
    const int rc = open_item(v, "", "cur/1.x:2,", &body);

    vault_close(&v);
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    cr_expect_str_eq(maildir, "== INBOX\n1.x <>: !IO\n== Half unreadable\n== Locked unreadable\n");
    cr_expect_str_eq(eml, "== INBOX\n== locked unreadable\n== ok\na.eml <>: x\n");
    cr_expect_str_eq(boxes, "== locked unreadable\n== ok\n");
    cr_expect_eq(rc, BASE_ERR_IO);
}

Test(safety, depth_is_limited)
{
    const char *dir = TEMP_DIR();
    struct buf path = {0};

    buf_append_str(&path, dir);
    for (int i = 0; i < VAULT_DEPTH_MAX + 2; i++)
        buf_append_str(&path, "/d");
    mkpath(textf("%.*s", (int)path.n, (char *)path.p));
    const char *got = scan_text(textf("eml:%s", dir));
    unsigned containers = 0;

    for (const char *p = got; (p = strstr(p, "== ")); p++)
        containers++;
    cr_expect_eq(containers, VAULT_DEPTH_MAX + 1);
    cr_expect_eq(scan_text_skipped(), 1);
    cr_expect(strstr(scan_text_reason(), "too deep"), "%s", scan_text_reason());
    buf_release(&path);
}

Test(body, closed_bodies_are_recycled_and_clean)
{
    const char *dir = TEMP_DIR();
    struct vault *v = open_vault(textf("maildir:%s", (mkpath(path_join(dir, "cur")), dir)));
    struct vault_body *bodies[VAULT_SPARE_BODIES + 4] = {0};
    const size_t count = VAULT_SPARE_BODIES + 4;

    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < count; i++) {
            const char *name = textf("cur/%zu.x:2,", i);
            struct bytes got;

            write_text(path_join(dir, name), textf("item %zu of round %zu", i, round));
            cr_assert_eq(open_item(v, "", name, &bodies[i]), BASE_OK);
            cr_assert_eq(vault_item_map(bodies[i], &got, NULL), BASE_OK);
            cr_assert(bytes_equal(got, bytes_str(textf("item %zu of round %zu", i, round))));
            cr_expect_gt(vault_item_mtime_ns(bodies[i]), 0);
        }
        for (size_t i = 0; i < count; i++) {
            vault_item_close(&bodies[i]);
            cr_expect_null(bodies[i]);
            vault_item_close(&bodies[i]);
        }
    }
    vault_close(&v);
}

Test(body, large_unfiltered_items_are_mapped_at_any_offset)
{
    const char *path = path_join(TEMP_DIR(), "m");
    const size_t n = (3u << 20) + 123;
    struct buf b = {0};
    struct vault_body *body = NULL;
    struct bytes map;
    uint8_t piece[100];
    size_t got;

    for (size_t i = 0; i < n + 777; i++)
        buf_append_byte(&b, (uint8_t)(i * 7 + i / 256));
    memcpy(b.p + 777 - 8, "\nFrom a\n", 8);
    memcpy(b.p + 777 + n, "\nFrom ", 6);
    write_file(path, buf_bytes(&b));
    struct vault *v = open_vault(textf("mboxo:%s", path));
    const struct vault_locator loc = {.offset = 777, .length = n};

    cr_assert_eq(vault_item_open(v, &loc, &body, NULL), BASE_OK);
    cr_assert_eq(vault_item_read(body, n - 50, piece, 100, &got, NULL), BASE_OK);
    cr_expect(bytes_equal(bytes_of(piece, got), bytes_slice(buf_bytes(&b), 777 + n - 50, 50)));
    cr_assert_eq(vault_item_map(body, &map, NULL), BASE_OK);
    cr_expect(bytes_equal(map, bytes_slice(buf_bytes(&b), 777, n)));
    cr_assert_eq(vault_item_read(body, 1000, piece, 100, &got, NULL), BASE_OK);
    cr_expect(bytes_equal(bytes_of(piece, got), bytes_slice(buf_bytes(&b), 1777, 100)));
    vault_item_close(&body);
    vault_close(&v);
    buf_release(&b);
}

/* Sparse, so that it costs no disk: offsets and sizes past 2 and 4 GiB. */
Test(body, items_of_many_gigabytes)
{
    const char *dir = TEMP_DIR();
    const char *path = path_join(dir, "cur/1.x:2,");
    const uint64_t n = ((uint64_t)5 << 30) + 3;
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes map;
    uint8_t tail[8];
    size_t got;

    write_text(path, "begin");
    const int fd = open(path, O_WRONLY);

    if (pwrite(fd, "end", 3, (off_t)(n - 3)) != 3) {
        fprintf(stderr, "skipped: no sparse file of 5 GiB here\n");
        close(fd);
        return;
    }
    close(fd);
    struct vault *v = open_vault(textf("maildir:%s", dir));

    cr_assert_eq(open_item(v, "", "cur/1.x:2,", &body), BASE_OK);
    cr_expect_eq(vault_item_size(body), n);
    cr_expect_eq(vault_item_read(body, n - 4, tail, sizeof tail, &got, &err), BASE_OK);
    cr_expect(bytes_equal(bytes_of(tail, got), bytes_of("\0end", 4)));
    cr_assert_eq(vault_item_map(body, &map, &err), BASE_OK, "%s", err.text);
    cr_expect_eq(map.n, n);
    cr_expect(bytes_equal(bytes_slice(map, n - 3, 3), BYTES_LIT("end")));
    cr_expect_eq(map.p[0], 'b');
    vault_item_close(&body);
    vault_close(&v);
}

Test(safety, a_root_without_any_maildir_is_not_an_empty_archive)
{
    const char *dir = TEMP_DIR();

    cr_expect_eq(strncmp(scan_text(textf("maildir++:%s", dir)), "ERR NOTFOUND", 12), 0);
    cr_expect_eq(strncmp(scan_text(textf("maildir-fs:%s", dir)), "ERR NOTFOUND", 12), 0);
}

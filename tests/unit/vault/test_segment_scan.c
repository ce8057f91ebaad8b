/* The recovery scan: what is sound is found, whatever else is in the file. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "segment_lab.h"
#include "test_support.h"
#include "vault/segment_private.h"

#define ITEMS 6

struct lab {
    const char *dir, *path;
    struct bytes item[ITEMS];
    struct segment_place place[ITEMS];
    uint64_t tail;
    struct bytes file;
};

static struct lab lab_make(void)
{
    struct lab lab = {.dir = TEMP_DIR()};
    struct rng rng = rng_of(5);
    uint32_t active = 1;

    lab.path = path_join(lab.dir, "segments/00000001.seg");
    for (unsigned i = 0; i < ITEMS; i++) {
        const size_t n = i == 3 ? 300000 : i * 133;
        uint8_t *p = (uint8_t *)(uintptr_t)textf("%*s", (int)n + 1, "");

        rng_fill(&rng, p, n);
        lab.item[i] = bytes_of(p, n);
        lab.place[i] = lab_file(lab.dir, &active, &lab.tail, lab.item[i]);
    }
    lab.file = read_file(lab.path);
    return lab;
}

/* Bit i: item i was found where it was filed and is sound; bit 16 + i: found damaged. Anything else fails. */
static unsigned scan(const struct lab *lab, uint64_t limit, bool check)
{
    struct segment_scan *s = NULL;
    struct segment_found f;
    struct error err = {0};
    unsigned found = 0;
    int rc;

    cr_assert_eq(segment_scan_open(lab->dir, 1, limit, &s, &err), 0, "%s", err.text);
    while ((rc = segment_scan_next(s, check, &f, &err)) == 1) {
        unsigned i = 0;

        while (i < ITEMS && f.offset != lab->place[i].offset)
            i++;
        cr_assert_lt(i, ITEMS, "no item was filed at %llu", (unsigned long long)f.offset);
        const struct hash128 hash = hash128_of(lab->item[i]);

        cr_expect_eq(f.length, lab->place[i].length);
        cr_expect_eq(f.size, lab->item[i].n);
        cr_expect_eq(hash128_compare(&f.hash, &hash), 0);
        found |= 1u << (f.damaged ? 16 + i : i);
    }
    cr_expect_eq(rc, 0);
    segment_scan_close(&s);
    return found;
}

static void rewrite(const struct lab *lab, size_t off, size_t n, size_t keep)
{
    struct buf file = {0};

    buf_append_bytes(&file, bytes_slice(lab->file, 0, keep));
    for (size_t i = 0; i < n; i++)
        file.p[off + i] ^= 0xa5;
    write_file(lab->path, buf_bytes(&file));
    buf_release(&file);
}

Test(segment_scan, finds_all_in_order)
{
    const struct lab lab = lab_make();

    cr_expect_eq(scan(&lab, UINT64_MAX, true), 0x3fu);
    cr_expect_eq(scan(&lab, UINT64_MAX, false), 0x3fu);
    cr_expect_eq(scan(&lab, lab.place[2].offset, true), 0x3u);
    cr_expect_eq(scan(&lab, lab.place[2].offset + lab.place[2].length - 1, true), 0x3u);
}

Test(segment_scan, passes_over_damage)
{
    const struct lab lab = lab_make();
    const struct {
        const char *name;
        size_t off, n;
        unsigned found, unchecked;
    } rows[] = {
        {"segment header", 0, 32, 0x3f, 0x3f},
        {"one record's header", lab.place[1].offset, 1, 0x3d, 0x3d},
        {"another byte of it", lab.place[1].offset + 63, 1, 0x3d, 0x3d},
        {"frame table", lab.place[2].offset + 64, 1, 0x3b | 4u << 16, 0x3b | 4u << 16},
        {"second frame", lab.place[3].offset + 64 + 16 + 262144 + 9, 1, 0x37 | 8u << 16, 0x3f},
        {"middle of everything", lab.place[1].offset + 8, lab.place[3].offset + 100 - lab.place[1].offset, 0x31, 0x31},
        {"segment header and first record", 0, 40, 0x3e, 0x3e},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rewrite(&lab, rows[i].off, rows[i].n, lab.file.n);
        cr_expect_eq(scan(&lab, UINT64_MAX, true), rows[i].found, "%s", rows[i].name);
        cr_expect_eq(scan(&lab, UINT64_MAX, false), rows[i].unchecked, "%s", rows[i].name);
    }
}

/* A segment inside an item (somebody mails us one, or a copy of this very file) gives no records. */
Test(segment_scan, records_inside_an_item_are_none)
{
    struct lab lab = lab_make();
    uint32_t active = 1;
    struct segment_scan *s = NULL;
    struct segment_found f;
    struct error err = {0};
    unsigned n = 0;

    const struct segment_place outer = lab_file(lab.dir, &active, &lab.tail, lab.file);
    struct buf file = {0};

    buf_append_bytes(&file, read_file(lab.path));
    file.p[outer.offset] ^= 1; /* its header is lost: the search walks through the payload */
    write_file(lab.path, buf_bytes(&file));
    buf_release(&file);
    cr_assert_eq(segment_scan_open(lab.dir, 1, UINT64_MAX, &s, &err), 0);
    while (segment_scan_next(s, true, &f, &err) == 1) {
        cr_expect_lt(f.offset, outer.offset);
        n++;
    }
    cr_expect_eq(n, ITEMS);
    segment_scan_close(&s);
}

Test(segment_scan, missing_and_tiny_files)
{
    struct segment_scan *s = NULL;
    struct segment_found f;
    struct error err = {0};
    const char *dir = TEMP_DIR();

    cr_expect_eq(segment_scan_open(dir, 1, UINT64_MAX, &s, &err), BASE_ERR_GONE);
    cr_expect_null(s);
    for (size_t n = 0; n < 100; n++) {
        write_file(path_join(dir, "segments/00000001.seg"), bytes_of(textf("%*s", 100, ""), n));
        cr_assert_eq(segment_scan_open(dir, 1, UINT64_MAX, &s, &err), 0);
        cr_expect_eq(segment_scan_next(s, true, &f, &err), 0);
        segment_scan_close(&s);
    }
}

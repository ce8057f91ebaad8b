/* The own vault: what is filed comes back, what was not committed is cut off, what is damaged is said so. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "segment_lab.h"
#include "test_support.h"
#include "vault/segment_private.h"

static struct vault *open_vault(const char *dir)
{
    struct vault *v = NULL;
    struct error err = {0};

    cr_assert_eq(segment_vault_open(dir, &v, &err), 0, "%s", err.text);
    cr_expect_eq(vault_kind(v), VAULT_KIND_SEGMENTS);
    cr_expect_str_eq(vault_name(v), "own:");
    return v;
}

static struct segment_writer *open_writer(const char *dir, uint32_t active, uint64_t tail)
{
    struct segment_writer *w = NULL;
    struct error err = {0};

    cr_assert_eq(segment_writer_open(dir, active, tail, &w, &err), 0, "%s", err.text);
    return w;
}

/* Text that shrinks, or noise that does not. */
static struct bytes made(size_t n, bool noise)
{
    uint8_t *p = (uint8_t *)(uintptr_t)textf("%*s", (int)n + 1, "");
    struct rng rng = rng_of(n + 1);

    if (noise)
        rng_fill(&rng, p, n);
    for (size_t i = 0; !noise && i < n; i++)
        p[i] = (uint8_t)("the quick brown fox "[i % 20] + (i / 4096) % 3);
    return bytes_of(p, n);
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;

    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return (uint64_t)st.st_size;
}

static void flip(const char *path, uint64_t off)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t c;

    cr_assert(fd >= 0 && pread(fd, &c, 1, (off_t)off) == 1);
    c ^= 0x10;
    cr_assert_eq(pwrite(fd, &c, 1, (off_t)off), 1);
    close(fd);
}

Test(segment, items_of_all_sizes_come_back)
{
    static const size_t sizes[] = {0,
                                   1,
                                   2,
                                   100,
                                   8192,
                                   SEGMENT_FRAME_BYTES - 1,
                                   SEGMENT_FRAME_BYTES,
                                   SEGMENT_FRAME_BYTES + 1,
                                   3 * SEGMENT_FRAME_BYTES,
                                   (size_t)3 << 20,
                                   (size_t)17 << 20};
    const char *dir = TEMP_DIR();
    uint32_t active = 1;
    uint64_t tail = 0;
    struct vault *v = open_vault(dir);

    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        const struct bytes item = made(sizes[i / 2], i % 2);
        const struct segment_place place = lab_file(dir, &active, &tail, item);
        struct bytes got;

        cr_assert_eq(lab_read(v, &place, &got), 0, "%zu bytes", item.n);
        cr_expect(bytes_equal(got, item), "%zu bytes, noise %zu", item.n, i % 2);
        cr_expect_eq(tail, place.offset + place.length);
        if (i % 2 == 0 && item.n >= 8192)
            cr_expect_lt(place.length, item.n / 2, "%zu bytes of text took %llu", item.n,
                         (unsigned long long)place.length);
        else
            cr_expect_leq(place.length, item.n + item.n / 1000 + 96);
    }
    cr_expect_eq(active, 1);
    vault_close(&v);
}

static int read_item(void *arg, uint64_t off, void *dst, size_t n, struct error *e)
{
    (void)e;
    memcpy(dst, ((const struct bytes *)arg)->p + off, n);
    return BASE_OK;
}

Test(segment, hash_of_other_bytes_is_refused)
{
    const struct bytes item = made(100, false);
    const struct hash128 other = hash128_of(made(101, false));
    struct segment_packed *p = NULL;
    struct error err = {0};

    cr_expect_eq(segment_pack(read_item, (void *)(uintptr_t)&item, item.n, &other, NULL, &p, &err), BASE_ERR_GONE);
    cr_expect_null(p);
}

Test(segment, uncommitted_bytes_are_cut_off)
{
    const char *dir = TEMP_DIR(), *path = path_join(dir, "segments/00000001.seg");
    uint32_t active = 1;
    uint64_t tail = 0;
    const struct segment_place kept = lab_file(dir, &active, &tail, made(1000, true));
    struct segment_writer *w = open_writer(dir, active, tail);
    const struct segment_place lost = lab_add(w, made(2000, true));

    segment_writer_close(&w);
    cr_expect_gt(file_bytes(path), tail);
    w = open_writer(dir, active, tail);
    cr_expect_eq(file_bytes(path), tail);
    segment_writer_close(&w);

    struct vault *v = open_vault(dir);
    struct bytes got;

    cr_expect_eq(lab_read(v, &kept, &got), 0);
    cr_expect_eq(lab_read(v, &lost, &got), BASE_ERR_GONE);
    vault_close(&v);
}

Test(segment, first_segment_that_was_never_committed_is_begun_anew)
{
    const char *dir = TEMP_DIR();
    struct segment_writer *w = open_writer(dir, 1, 0);
    uint32_t active = 1;
    uint64_t tail = 0;

    (void)lab_add(w, made(5000, true));
    segment_writer_close(&w);
    const struct segment_place place = lab_file(dir, &active, &tail, made(10, true));

    cr_expect_eq(place.offset, SEGMENT_HEAD_BYTES);
    cr_expect_eq(file_bytes(path_join(dir, "segments/00000001.seg")), tail);
}

Test(segment, full_segment_is_followed_by_another)
{
    const char *dir = TEMP_DIR();
    struct segment_writer *w = open_writer(dir, 1, 0);
    struct segment_place places[9];
    struct vault *v = open_vault(dir);
    struct error err = {0};
    uint32_t active, number = 0;
    uint64_t tail, bytes;
    struct bytes got;
    unsigned n = 0;

    segment_writer_set_limit(w, 2500);
    for (unsigned i = 0; i < 9; i++)
        places[i] = lab_add(w, made(1000 + i, true));
    cr_assert_eq(segment_writer_sync(w, &active, &tail, &err), 0);
    segment_writer_close(&w);
    cr_expect_eq(active, 3);
    for (unsigned i = 0; i < 9; i++) {
        cr_expect_eq(places[i].segment, i / 3 + 1);
        cr_assert_eq(lab_read(v, &places[i], &got), 0);
        cr_expect(bytes_equal(got, made(1000 + i, true)));
    }
    while (segment_next(dir, number, &number, &bytes, &err) == 1)
        cr_expect_eq(number, ++n);
    cr_expect_eq(n, 3);
    cr_expect_eq(bytes, tail);
    vault_close(&v);
}

Test(segment, lost_data_is_not_written_over)
{
    const char *dir = TEMP_DIR(), *path = path_join(dir, "segments/00000001.seg");
    uint32_t active = 1;
    uint64_t tail = 0;
    struct segment_writer *w = NULL;
    struct error err = {0};

    (void)lab_file(dir, &active, &tail, made(1000, true));
    cr_expect_eq(segment_writer_open(dir, active, tail + 8, &w, &err), BASE_ERR_GONE);
    cr_expect_null(w);
    cr_expect(strstr(err.text, "mds ") != NULL, "%s", err.text);
    cr_expect_eq(segment_writer_open(dir, active, tail - 1, &w, &err), BASE_ERR_CORRUPT);
    cr_expect_eq(segment_writer_open(dir, active + 1, 32, &w, &err), BASE_ERR_GONE);
    cr_expect_eq(segment_writer_open(dir, 0, 0, &w, &err), BASE_ERR_USAGE);
    flip(path, 17);
    cr_expect_eq(segment_writer_open(dir, active, tail, &w, &err), BASE_ERR_CORRUPT);
    flip(path, 17);
    flip(path, 0);
    cr_expect_eq(segment_writer_open(dir, active, tail, &w, &err), BASE_ERR_FORMAT);
    cr_expect_eq(file_bytes(path), tail, "nothing was cut");
}

/* Each byte of a small record: an error, never other bytes. */
Test(segment, every_damaged_byte_is_noticed)
{
    const char *dir = TEMP_DIR(), *path = path_join(dir, "segments/00000001.seg");
    uint32_t active = 1;
    uint64_t tail = 0;
    struct vault *v = open_vault(dir);
    const struct segment_place place = lab_file(dir, &active, &tail, made(201, true));
    struct bytes got;
    unsigned unnoticed = 0;

    for (uint64_t off = place.offset; off < tail; off++) {
        flip(path, off);
        const int rc = lab_read(v, &place, &got);

        cr_expect(rc == BASE_OK || rc == BASE_ERR_CORRUPT, "byte %llu: %d", (unsigned long long)off, rc);
        if (rc == BASE_OK) {
            unnoticed++;
            cr_expect(bytes_equal(got, made(201, true)));
        }
        flip(path, off);
    }
    /* Header and table end at 72, the item 201 bytes later: only the padding says nothing. */
    cr_expect_eq(unnoticed, place.length - 72 - 201);
    vault_close(&v);
}

Test(segment, locators_from_outside_are_checked)
{
    const char *dir = TEMP_DIR();
    uint32_t active = 1;
    uint64_t tail = 0;
    struct vault *v = open_vault(dir);
    const struct segment_place place = lab_file(dir, &active, &tail, made(300, true));
    static const char *const names[] = {"",          "1",         "00000000", "0000000x", "00000001.seg",
                                        "../../../", "000000001", "99999999"};
    char container[9];
    struct error err = {0};
    struct vault_body *body = NULL;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct vault_locator loc = lab_locator(&place, container);

        loc.container = bytes_str(names[i]);
        cr_expect_eq(vault_item_open(v, &loc, &body, &err), BASE_ERR_GONE, "%s", names[i]);
    }
    const struct {
        uint64_t offset, length;
        int rc;
    } wrong[] = {{0, place.length, BASE_ERR_CORRUPT},
                 {place.offset + 1, place.length, BASE_ERR_CORRUPT},
                 {place.offset + 8, place.length, BASE_ERR_CORRUPT},
                 {place.offset, place.length + 8, BASE_ERR_CORRUPT},
                 {UINT64_MAX - 7, place.length, BASE_ERR_CORRUPT},
                 {(uint64_t)1 << 62, 8, BASE_ERR_GONE},
                 {tail, 8, BASE_ERR_GONE}};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const struct segment_place bad = {1, wrong[i].offset, wrong[i].length, 0};
        struct bytes got;

        cr_expect_eq(lab_read(v, &bad, &got), wrong[i].rc, "row %zu", i);
    }
    vault_close(&v);
}

/* Sealed by somebody who knows how: lengths that cannot be, and a frame that would grow beyond its place. */
Test(segment, sealed_lies_are_refused)
{
    const struct bytes bomb = made((size_t)1 << 20, false);
    uint8_t frame[8192];
    const size_t stored = ZSTD_compress(frame, sizeof frame, bomb.p, bomb.n, 3);
    const struct {
        const char *name;
        uint64_t size, stored, entry;
    } rows[] = {
        {"frame that gives more", 100000, stored, stored},
        {"frame that gives less", SEGMENT_FRAME_BYTES, 20, 20},
        {"entry 0", 100000, stored, 0},
        {"entry longer than its bytes", 100, 100, 101},
        {"entries do not add up", 100000, stored, stored - 1},
        {"more stored than size", 10, stored, stored},
        {"no frame for bytes", 100, 0, 1},
        {"too large", SEGMENT_ITEM_MAX + 1, stored, stored},
    };

    cr_assert(!ZSTD_isError(stored) && stored < 4096);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *dir = textf("%s/%zu", TEMP_DIR(), i);
        struct segment_record record = {.salt = 7, .size = rows[i].size, .stored = rows[i].stored};
        struct segment_head head = {.number = 1, .salt = 7};
        struct vault *v = NULL;
        uint8_t bytes[SEGMENT_HEAD_BYTES + SEGMENT_RECORD_BYTES];
        struct buf file = {0}, table = {0};
        struct bytes got;

        buf_put_u32(&table, (uint32_t)rows[i].entry);
        buf_put_u32(&table, segment_frame_seal(frame, (size_t)rows[i].entry));
        record.table_seal = hash64_of(buf_bytes(&table));
        segment_head_encode(&head, bytes);
        segment_record_encode(&record, 1, SEGMENT_HEAD_BYTES, bytes + SEGMENT_HEAD_BYTES);
        buf_append(&file, bytes, sizeof bytes);
        buf_append_bytes(&file, buf_bytes(&table));
        buf_append(&file, frame, 4096);
        write_file(path_join(dir, "segments/00000001.seg"), buf_bytes(&file));
        v = open_vault(dir);
        const struct segment_place place = {1, SEGMENT_HEAD_BYTES, segment_record_length(&record), 0};

        cr_expect_eq(lab_read(v, &place, &got), BASE_ERR_CORRUPT, "%s", rows[i].name);
        vault_close(&v);
        buf_release(&file);
        buf_release(&table);
    }
}

Test(segment, record_is_copied_as_it_stands)
{
    const char *dir = TEMP_DIR();
    uint32_t active = 1;
    uint64_t tail = 0;
    const struct bytes large = made((size_t)2 << 20, true), small = made(5000, false);
    const struct segment_place a = lab_file(dir, &active, &tail, large), b = lab_file(dir, &active, &tail, small);
    struct segment_writer *w = open_writer(dir, active, tail);
    struct segment_place to_a = a, to_b = b;
    struct vault *v = open_vault(dir);
    struct error err = {0};
    struct bytes got;

    cr_assert_eq(segment_writer_roll(w, &err), 0);
    cr_assert_eq(segment_writer_copy(w, dir, b.segment, b.offset, b.length, &to_b.segment, &to_b.offset, &err), 0, "%s",
                 err.text);
    cr_assert_eq(segment_writer_copy(w, dir, a.segment, a.offset, a.length, &to_a.segment, &to_a.offset, &err), 0, "%s",
                 err.text);
    cr_expect_eq(segment_writer_copy(w, dir, 1, a.offset + 8, a.length, &active, &tail, &err), BASE_ERR_CORRUPT);
    cr_assert_eq(segment_writer_sync(w, &active, &tail, &err), 0);
    segment_writer_close(&w);
    cr_expect_eq(to_b.segment, 2);
    cr_assert_eq(segment_remove(dir, 1, &err), 0);
    cr_expect_eq(lab_read(v, &a, &got), BASE_ERR_GONE);
    cr_assert_eq(lab_read(v, &to_a, &got), 0);
    cr_expect(bytes_equal(got, large));
    cr_assert_eq(lab_read(v, &to_b, &got), 0);
    cr_expect(bytes_equal(got, small));
    vault_close(&v);
}

Test(segment, lock_excludes)
{
    const char *dir = TEMP_DIR();
    struct error err = {0};
    int shared = -1, more = -1, alone = -1;

    cr_assert_eq(segment_lock(dir, false, &shared, &err), 0, "%s", err.text);
    cr_assert_eq(segment_lock(dir, false, &more, &err), 0);
    cr_expect_eq(segment_lock(dir, true, &alone, &err), BASE_ERR_LOCKED);
    close(shared);
    close(more);
    cr_assert_eq(segment_lock(dir, true, &alone, &err), 0);
    cr_expect_eq(segment_lock(dir, false, &shared, &err), BASE_ERR_LOCKED);
    close(alone);
}

Test(segment, own_vault_cannot_be_scanned_nor_named)
{
    struct vault *v = open_vault(TEMP_DIR());
    struct vault_scan *scan = NULL;
    struct vault_spec spec;
    struct error err = {0};

    cr_expect_eq(vault_scan_new(v, NULL, &scan, &err), BASE_ERR_USAGE);
    cr_expect_eq(vault_spec_parse("own:/tmp", &spec, &err), BASE_ERR_USAGE);
    cr_expect_str_eq(vault_kind_name(VAULT_KIND_SEGMENTS), "own");
    vault_close(&v);
}

/*
 * Any bytes as a segment: the scan ends, what it calls sound can be read and has the hash it says, and reading at any
 * locator gives an error or bytes, within bounded memory. The first byte: 0 plain bytes; else the seals of what looks
 * like headers are made right first, so that lies get past them.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test_support.h"
#include "vault/segment_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX ((size_t)1 << 18)

static char dir[64];

static void dir_remove(void)
{
    remove_tree(dir);
}

/* One directory for the whole run: only the file's content changes. */
static void segment_put(const uint8_t *data, size_t size)
{
    char path[128];

    if (!dir[0]) {
        (void)snprintf(dir, sizeof dir, "%s/mds-fuzz-segment-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        ASSERT(mkdtemp(dir) && atexit(dir_remove) == 0);
        (void)snprintf(path, sizeof path, "%s/" SEGMENT_DIR, dir);
        ASSERT(mkdir(path, 0700) == 0);
    }
    (void)snprintf(path, sizeof path, "%s/" SEGMENT_DIR "/00000001.seg", dir);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
}

static void seal_table(uint8_t *p, size_t left, struct segment_record *r)
{
    const uint64_t frames = segment_frames(r->size);
    uint64_t at = SEGMENT_RECORD_BYTES + frames * SEGMENT_ENTRY_BYTES;

    if (r->size > INPUT_MAX || at > left)
        return;
    for (uint64_t i = 0; i < frames; i++) {
        uint8_t *entry = p + SEGMENT_RECORD_BYTES + i * SEGMENT_ENTRY_BYTES;
        const uint64_t n = get_be32(entry);

        if (n <= left - at) {
            put_be32(entry + 4, segment_frame_seal(p + at, (size_t)n));
            at += n;
        }
    }
    r->table_seal = hash64_of(bytes_of(p + SEGMENT_RECORD_BYTES, (size_t)frames * SEGMENT_ENTRY_BYTES));
}

static void seals_make_right(uint8_t *file, size_t n)
{
    if (n >= SEGMENT_HEAD_BYTES)
        put_be64(file + 24, hash64_of(bytes_of(file, 24)));
    for (size_t at = SEGMENT_HEAD_BYTES; at + SEGMENT_RECORD_BYTES <= n; at += SEGMENT_ALIGN) {
        uint8_t *p = file + at;

        if (!segment_record_begins(p))
            continue;
        struct segment_record r = {.salt = get_be64(p + 8),
                                   .size = get_be64(p + 16),
                                   .stored = get_be64(p + 24),
                                   .table_seal = get_be64(p + 48)};

        memcpy(r.hash.b, p + 32, HASH128_BYTES);
        seal_table(p, n - at, &r);
        segment_record_encode(&r, 1, at, p);
    }
}

/* Reads an item whole and at a few places: its hash, or an error. */
static int item_read(struct vault *v, uint64_t offset, uint64_t length, struct hash128 *hash)
{
    const struct vault_locator loc = {.container = BYTES_LIT("00000001"), .offset = offset, .length = length};
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes whole = {0};
    uint8_t some[1000];
    size_t got;
    int rc = vault_item_open(v, &loc, &body, &err);

    if (rc != BASE_OK)
        return rc;
    const uint64_t size = vault_item_size(body);

    if (size) {
        rc = vault_item_read(body, size / 2, some, sizeof some, &got, &err);
        ASSERT(rc != BASE_OK || (got > 0 && got <= sizeof some));
    }
    if (rc == BASE_OK && size <= 8 * INPUT_MAX)
        rc = vault_item_map(body, &whole, &err);
    if (rc == BASE_OK)
        *hash = hash128_of(whole);
    vault_item_close(&body);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vault *v = NULL;
    struct segment_scan *scan = NULL;
    struct segment_found f;
    struct error err = {0};
    struct hash128 hash;
    uint64_t end = SEGMENT_HEAD_BYTES;
    int rc;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    uint8_t *file = malloc(size - 1);

    ASSERT(file);
    memcpy(file, data + 1, size - 1);
    if (data[0])
        seals_make_right(file, size - 1);
    segment_put(file, size - 1);
    free(file);
    ASSERT(segment_vault_open(dir, &v, &err) == BASE_OK);
    ASSERT(segment_scan_open(dir, 1, UINT64_MAX, &scan, &err) == BASE_OK);
    while ((rc = segment_scan_next(scan, true, &f, &err)) == 1) {
        ASSERT(f.offset >= end && f.length <= size - 1 && f.offset <= size - 1 - f.length);
        end = f.offset + f.length;
        rc = item_read(v, f.offset, f.length, &hash);
        if (!f.damaged && f.size <= 8 * INPUT_MAX)
            ASSERT(rc == BASE_OK && hash128_compare(&hash, &f.hash) == 0);
    }
    ASSERT(rc == 0);
    for (uint64_t at = 0; at < 200 && at < size; at += 8)
        (void)item_read(v, at, 0, &hash);
    segment_scan_close(&scan);
    vault_close(&v);
    return 0;
}

/*
 * Any bytes as an mbox, in each variant (first byte): the scan ends; items lie inside the file, in order and apart; an item read
 * by its locator is the same whole, in pieces, and through the filter cut at other places.
 */
#include <fcntl.h>
#include <unistd.h>

#include "test_support.h"
#include "vault/vault_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX ((size_t)1 << 20)

/* One file for the whole run: only its content changes. */
static const char *mbox_path(void)
{
    static char path[64];

    if (!path[0]) {
        (void)snprintf(path, sizeof path, "%s/mds-fuzz-mbox-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        const int fd = mkstemp(path);

        ASSERT(fd >= 0);
        (void)close(fd);
    }
    return path;
}

static void mbox_remove(void)
{
    (void)unlink(mbox_path());
}

static void mbox_write(const uint8_t *data, size_t size)
{
    static bool registered;
    const int fd = open(mbox_path(), O_WRONLY | O_TRUNC | O_CLOEXEC);

    if (!registered)
        registered = atexit(mbox_remove) == 0;
    ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
}

/* The filter fed in pieces whose sizes come from the data. */
static void check_filter(struct bytes raw, uint32_t filter, struct bytes expect)
{
    uint8_t *out = malloc(raw.n + 1);
    struct vault_filter_state s;
    size_t made = 0, at = 0;

    ASSERT(out);
    vault_filter_start(&s);
    while (at < raw.n) {
        size_t n = VAULT_FILTER_LOOK + 1 + raw.p[at] * 3u, part;

        if (n > raw.n - at)
            n = raw.n - at;
        const size_t used = vault_filter_run(&s, filter, raw.p + at, n, at + n == raw.n, out + made, &part);

        ASSERT(used > 0 && used <= n && part <= used);
        at += used;
        made += part;
    }
    ASSERT(s.raw_off == raw.n && s.out_off == made && bytes_equal(bytes_of(out, made), expect));
    free(out);
}

static void check_item(struct vault *v, const struct vault_item *item, struct bytes file)
{
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes whole;
    size_t got;

    ASSERT(vault_item_open(v, &item->locator, &body, &err) == BASE_OK);
    const size_t size = (size_t)vault_item_size(body);
    uint8_t *pieces = malloc(size + 1);

    ASSERT(pieces);
    for (size_t off = 0, n = 1; off < size; off += got, n = n * 3 % 1009 + 1) {
        ASSERT(vault_item_read(body, off, pieces + off, n, &got, &err) == BASE_OK);
        ASSERT(got == (n < size - off ? n : size - off));
    }
    ASSERT(vault_item_map(body, &whole, &err) == BASE_OK);
    ASSERT(bytes_equal(whole, bytes_of(pieces, size)));
    ASSERT(item->locator.filter || size == item->locator.length);
    check_filter(bytes_slice(file, (size_t)item->locator.offset, (size_t)item->locator.length), item->locator.filter, whole);
    vault_item_close(&body);
    free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vault_spec spec = {.kind = VAULT_KIND_MBOX};
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    struct error err = {0};
    uint64_t end = 0;
    int rc;

    if (size == 0 || size > INPUT_MAX)
        return 0;
    spec.variant = (enum vault_mbox_variant)(data[0] % 5);
    mbox_write(data + 1, size - 1);
    spec.path = strdup(mbox_path());
    ASSERT(spec.path && vault_open(&spec, &v, &err) == BASE_OK);
    ASSERT(vault_scan_new(v, "/tmp", &scan, &err) == BASE_OK);
    ASSERT(vault_scan_next_container(scan, &c, &err) == VAULT_MORE);
    while ((rc = vault_scan_next_item(scan, &item, &err)) == VAULT_MORE) {
        ASSERT(item.locator.offset >= end);
        ASSERT(item.locator.offset <= size - 1 && item.locator.length <= size - 1 - item.locator.offset);
        end = item.locator.offset + item.locator.length;
        check_item(v, &item, bytes_of(data + 1, size - 1));
    }
    ASSERT(rc == VAULT_DONE);
    vault_scan_free(&scan);
    vault_close(&v);
    free(spec.path);
    return 0;
}

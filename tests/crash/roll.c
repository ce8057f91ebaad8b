/*
 * roll: writes records to the own vault's segments as a transaction would, with segments of 64 KiB, so that one
 * transaction leaves several segments behind it.
 *
 *     crash_roll add DIR ACTIVE TAIL FIRST N     N records; says "record SEGMENT OFFSET LENGTH FILTER I" of each, when
 * all are synced, then "at ACTIVE TAIL" crash_roll check DIR                       reads such lines, and each record;
 * status 1 if one is not as written
 */
#include "base/hash.h"
#include "vault/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_BYTES 65536
#define ITEM_MAX    40000

struct place {
    uint32_t segment, filter;
    uint64_t offset, length;
};

/* The i-th item: bytes that do not shrink. */
static struct bytes item(unsigned i, uint8_t buffer[ITEM_MAX])
{
    uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15) + 1;
    const size_t n = 2000 + i * 7919u % (ITEM_MAX - 2000);
    for (size_t k = 0; k < n; k++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        buffer[k] = (uint8_t)x;
    }
    return bytes_of(buffer, n);
}

static int read_item(void *arg, uint64_t off, void *dst, size_t n, struct error *err)
{
    const struct bytes *of = arg;
    (void)err;
    memcpy(dst, of->p + off, n);
    return 0;
}

static int add_one(struct segment_writer *w, const char *dir, unsigned i, struct place *out, struct error *err)
{
    uint8_t buffer[ITEM_MAX];
    struct bytes text = item(i, buffer);
    const struct hash128 hash = hash128_of(text);
    struct segment_packed *packed = NULL;
    int rc = segment_pack(read_item, &text, text.n, &hash, dir, &packed, err);
    if (rc == 0)
        rc = segment_writer_add(w, packed, &out->segment, &out->offset, &out->length, &out->filter, err);
    segment_packed_free(&packed);
    return rc;
}

/* As an archive is made: its name lasts before anything is filed. */
static int make_dir(const char *dir, struct error *err)
{
    char *slash = strrchr(dir, '/'), *parent = slash ? strndup(dir, (size_t)(slash - dir)) : strdup(".");
    const int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int rc = mkdir(dir, 0700) < 0 && errno != EEXIST ? error_errno(err, "%s", dir) : 0;
    if (rc == 0 && (fd < 0 || fsync(fd) < 0))
        rc = error_errno(err, "%s", dir);
    if (fd >= 0)
        close(fd);
    free(parent);
    return rc;
}

static int add(const char *dir, uint32_t active, uint64_t tail, unsigned first, unsigned n, struct error *err)
{
    struct segment_writer *w = NULL;
    struct place *places = calloc(n + 1, sizeof *places);
    int rc = places ? make_dir(dir, err) : BASE_ERR_NOMEM;
    if (rc == 0)
        rc = segment_writer_open(dir, active, tail, &w, err);
    if (rc == 0)
        segment_writer_set_limit(w, LIMIT_BYTES);
    for (unsigned i = 0; rc == 0 && i < n; i++)
        rc = add_one(w, dir, first + i, &places[i], err);
    if (rc == 0)
        rc = segment_writer_sync(w, &active, &tail, err);
    for (unsigned i = 0; rc == 0 && i < n; i++)
        printf("record %u %llu %llu %u %u\n", places[i].segment, (unsigned long long)places[i].offset,
               (unsigned long long)places[i].length, places[i].filter, first + i);
    if (rc == 0)
        printf("at %u %llu\n", active, (unsigned long long)tail);
    segment_writer_close(&w);
    free(places);
    return rc;
}

static int check_one(struct vault *v, const struct place *p, unsigned i, struct error *err)
{
    uint8_t buffer[ITEM_MAX], got[ITEM_MAX];
    char name[16];
    const struct bytes want = item(i, buffer);
    struct vault_body *body = NULL;
    size_t n = 0, part = 0;
    snprintf(name, sizeof name, "%08u", p->segment);
    const struct vault_locator at = {
        .container = bytes_str(name), .offset = p->offset, .length = p->length, .filter = p->filter};
    int rc = vault_item_open(v, &at, &body, err);
    if (rc == 0 && vault_item_size(body) != want.n)
        rc = error_set(err, BASE_ERR_CORRUPT, 0, "it has another length");
    while (rc == 0 && n < want.n && (rc = vault_item_read(body, n, got + n, want.n - n, &part, err)) == 0 && part)
        n += part;
    if (rc == 0 && (n != want.n || memcmp(got, want.p, n) != 0))
        rc = error_set(err, BASE_ERR_CORRUPT, 0, "it has other bytes");
    vault_item_close(&body);
    return rc;
}

static int check(const char *dir, struct error *err)
{
    struct vault *v = NULL;
    unsigned segment, filter, i, lines = 0;
    unsigned long long offset, length;
    int rc = segment_vault_open(dir, &v, err);
    while (rc == 0 && scanf(" record %u %llu %llu %u %u", &segment, &offset, &length, &filter, &i) == 5) {
        const struct place p = {.segment = segment, .offset = offset, .length = length, .filter = filter};
        rc = check_one(v, &p, i, err);
        if (rc < 0)
            error_context(err, "record %u in segment %u", i, segment);
        lines++;
    }
    vault_close(&v);
    return rc == 0 && lines == 0 ? error_set(err, BASE_ERR_USAGE, 0, "no records were given") : rc;
}

static unsigned long number(const char *text)
{
    return strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    int rc = BASE_ERR_USAGE;
    if (argc == 7 && strcmp(argv[1], "add") == 0)
        rc = add(argv[2], (uint32_t)number(argv[3]), number(argv[4]), (unsigned)number(argv[5]),
                 (unsigned)number(argv[6]), &err);
    else if (argc == 3 && strcmp(argv[1], "check") == 0)
        rc = check(argv[2], &err);
    if (rc != 0)
        fprintf(stderr, "crash_roll: %s\n", rc == BASE_ERR_USAGE && !err.text[0] ? "usage" : err.text);
    return rc != 0;
}

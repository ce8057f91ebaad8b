/* Sorted by base/sorter, written in one stream, mapped. */
#include "table.h"

#include "base/sorter.h"
#include "system.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SORT_BYTES (8u << 20)
#define WRITE_BYTES (256u << 10)

struct table {
    size_t key_bytes, record_bytes, n;
    const char *dir; /* the caller's, until finish */
    struct sorter *sorter;
    uint8_t *map;
    size_t map_bytes;
};

int indexer_table_new(const char *dir, size_t key_bytes, size_t record_bytes, struct table **out, struct error *err)
{
    ASSERT(key_bytes > 0 && key_bytes < record_bytes);
    struct sorter *sorter = NULL;
    int rc = sorter_new(dir, SORT_BYTES, &sorter, err);
    if (rc < 0)
        return rc;
    struct table *t = calloc(1, sizeof *t);
    ASSERT(t);
    *t = (struct table){.key_bytes = key_bytes, .record_bytes = record_bytes, .dir = dir, .sorter = sorter};
    *out = t;
    return 0;
}

int indexer_table_push(struct table *t, const void *record, struct error *err)
{
    const uint8_t *p = record;
    t->n++;
    return sorter_push(t->sorter, bytes_of(p, t->key_bytes),
                       bytes_of(p + t->key_bytes, t->record_bytes - t->key_bytes), err);
}

static int write_all(int fd, struct buf *b, struct error *err)
{
    for (size_t at = 0; at < b->n;) {
        ssize_t got = write(fd, b->p + at, b->n - at);
        if (got < 0 && errno != EINTR)
            return error_errno(err, "temporary table");
        at += got > 0 ? (size_t)got : 0;
    }
    buf_reset(b);
    return 0;
}

static int write_records(struct table *t, int fd, struct error *err)
{
    struct buf out = {0};
    struct bytes key, value;
    int rc;
    while ((rc = sorter_next(t->sorter, &key, &value, err)) == SORTER_MORE) {
        buf_append_bytes(&out, key);
        buf_append_bytes(&out, value);
        if (out.n >= WRITE_BYTES && (rc = write_all(fd, &out, err)) < 0)
            break;
    }
    if (rc == SORTER_DONE)
        rc = write_all(fd, &out, err);
    buf_release(&out);
    return rc;
}

int indexer_table_finish(struct table *t, struct error *err)
{
    int fd = -1;
    int rc = sorter_finish(t->sorter, err);
    if (rc < 0 || t->n == 0)
        goto out;
    rc = fd = indexer_temp_file(t->dir, err);
    if (rc < 0)
        goto out;
    rc = write_records(t, fd, err);
    if (rc < 0)
        goto out;
    t->map_bytes = t->n * t->record_bytes; /* both were in memory or on disk: no overflow */
    void *map = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        t->map_bytes = 0;
        rc = error_errno(err, "temporary table");
        goto out;
    }
    t->map = map;
    rc = 0;
out:
    if (fd >= 0)
        close(fd);
    sorter_free(&t->sorter);
    if (rc < 0)
        t->n = 0;
    return rc;
}

size_t indexer_table_count(const struct table *t)
{
    return t ? t->n : 0;
}

void *indexer_table_at(const struct table *t, size_t i)
{
    ASSERT(i < t->n);
    return t->map + i * t->record_bytes;
}

size_t indexer_table_lower_bound(const struct table *t, const void *prefix, size_t n)
{
    ASSERT(n <= t->key_bytes);
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(t->map + middle * t->record_bytes, prefix, n) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void indexer_table_free(struct table **t)
{
    if (!t || !*t)
        return;
    sorter_free(&(*t)->sorter);
    if ((*t)->map)
        munmap((*t)->map, (*t)->map_bytes);
    free(*t);
    *t = NULL;
}

/*
 * bench_items: the items of a Maildir (with dot folders) as a list of paths, in the order in which a build reads them:
 * folder by folder, names sorted. And a smaller vault of the first N of them, made of hard links.
 */
#ifndef BENCH_ITEMS_H
#define BENCH_ITEMS_H

#include "base/bytes.h"
#include "base/error.h"

struct bench_items {
    char *root;
    struct buf names;    /* relative paths, each NUL-terminated: "cur/1:2,S", ".Sub/new/2" */
    uint32_t *offsets_4; /* where each begins, in units of 4 bytes */
    size_t count;
    uint64_t bytes;   /* of all items */
    bool has_folders; /* some name is below a dot folder */
};

/* Lists root. BASE_ERR_NOTFOUND where there is no cur/ or no item. */
int bench_items_load(const char *root, struct bench_items *out, struct error *err);
void bench_items_release(struct bench_items *items);

static inline const char *bench_items_name(const struct bench_items *items, size_t i)
{
    return (const char *)items->names.p + (size_t)items->offsets_4[i] * 4;
}

/* Links the n items with the smallest file names (the oldest, as Maildir names begin with the time) into the new
 * directory `dir`. */
int bench_items_link(const struct bench_items *items, size_t n, const char *dir, struct error *err);

#endif

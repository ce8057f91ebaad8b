#include "segment_lab.h"

#include <criterion/criterion.h>

#include "test_support.h"

static int read_memory(void *arg, uint64_t off, void *dst, size_t n, struct error *err)
{
    const struct bytes *item = arg;

    (void)err;
    memcpy(dst, item->p + off, n);
    return BASE_OK;
}

struct segment_packed *lab_pack(struct bytes item)
{
    const struct hash128 hash = hash128_of(item);
    struct segment_packed *p = NULL;
    struct error err = {0};

    cr_assert_eq(segment_pack(read_memory, &item, item.n, &hash, NULL, &p, &err), 0, "%s", err.text);
    return p;
}

struct segment_place lab_add(struct segment_writer *w, struct bytes item)
{
    struct segment_packed *p = lab_pack(item);
    struct segment_place place;
    struct error err = {0};

    cr_assert_eq(segment_writer_add(w, p, &place.segment, &place.offset, &place.length, &place.filter, &err), 0, "%s",
                 err.text);
    cr_expect_eq(place.length, segment_packed_bytes(p));
    segment_packed_free(&p);
    return place;
}

struct segment_place lab_file(const char *dir, uint32_t *active, uint64_t *tail, struct bytes item)
{
    struct segment_writer *w = NULL;
    struct error err = {0};

    cr_assert_eq(segment_writer_open(dir, *active, *tail, &w, &err), 0, "%s", err.text);
    const struct segment_place place = lab_add(w, item);

    cr_assert_eq(segment_writer_sync(w, active, tail, &err), 0, "%s", err.text);
    segment_writer_close(&w);
    return place;
}

struct vault_locator lab_locator(const struct segment_place *place, char container[9])
{
    (void)snprintf(container, 9, "%08u", place->segment % 100000000u);
    return (struct vault_locator){
        .container = bytes_of(container, 8), .offset = place->offset, .length = place->length, .filter = place->filter};
}

int lab_read(struct vault *v, const struct segment_place *place, struct bytes *got)
{
    char container[9];
    const struct vault_locator loc = lab_locator(place, container);
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes whole = {0};
    int rc = vault_item_open(v, &loc, &body, &err);

    if (rc != BASE_OK)
        return rc;
    const size_t size = (size_t)vault_item_size(body);
    uint8_t *pieces = (uint8_t *)(uintptr_t)textf("%*s", (int)size + 1, "");
    size_t part;

    for (size_t off = 0, n = 1; rc == BASE_OK && off < size; off += part, n = n * 7 % 300007 + 1) {
        rc = vault_item_read(body, off, pieces + off, n, &part, &err);
        if (rc == BASE_OK)
            cr_assert_eq(part, n < size - off ? n : size - off);
    }
    if (rc == BASE_OK)
        rc = vault_item_map(body, &whole, &err);
    if (rc == BASE_OK)
        cr_assert(bytes_equal(whole, bytes_of(pieces, size)), "pieces differ from the whole");
    vault_item_close(&body);
    *got = bytes_of(pieces, size);
    return rc;
}

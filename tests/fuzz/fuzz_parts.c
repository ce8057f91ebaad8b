/*
 * Hostile stored bytes: part tables, CRLF maps, records and bodystructures are
 * refused or read, never followed out of bounds. What is accepted encodes to a
 * form that decodes to the same.
 */
#include "mime/crlf.h"
#include "mime/mime.h"
#include "mime/parts.h"

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECTION_DEPTH 4

static void resolve_all(const struct mime_parts *t, uint64_t item_size)
{
    uint32_t path[SECTION_DEPTH] = {1, 1, 1, 1};
    for (uint32_t n = 0; n <= SECTION_DEPTH; n++) {
        for (uint32_t last = 0; last < 4; last++) {
            if (n)
                path[n - 1] = last;
            for (int what = MIME_SECTION_ALL; what <= MIME_SECTION_MIME; what++) {
                uint64_t off, len, crlf;
                const struct mime_part *part;
                if (mime_parts_resolve(t, path, n, (enum mime_section_part)what, &off, &len, &crlf, &part) == BASE_OK)
                    ASSERT(off <= item_size && len <= item_size - off && crlf >= len);
            }
        }
        if (n)
            path[n - 1] = 1;
    }
}

static void table_try(struct bytes in, uint64_t item_size)
{
    struct mime_parts t, back;
    struct buf one = {0}, two = {0};
    if (mime_parts_decode(in, item_size, &t, NULL) != BASE_OK)
        return;
    mime_parts_encode(t.v, t.n, &one);
    ASSERT(mime_parts_decode(buf_bytes(&one), item_size, &back, NULL) == BASE_OK);
    mime_parts_encode(back.v, back.n, &two);
    ASSERT(bytes_equal(buf_bytes(&one), buf_bytes(&two)));
    resolve_all(&t, item_size);
    mime_parts_release(&t);
    mime_parts_release(&back);
    buf_release(&one);
    buf_release(&two);
}

static void map_try(struct bytes in, uint64_t item_size, uint64_t at)
{
    struct mime_crlf_map m;
    if (mime_crlf_map_decode(in, item_size, &m, NULL) != BASE_OK)
        return;
    uint64_t stored, client;
    mime_crlf_seek(&m, 0, 0, at, &stored, &client);
    ASSERT(client <= at && stored <= item_size && stored <= client);
    mime_crlf_seek(&m, item_size / 3, at, at, &stored, &client);
    mime_crlf_map_release(&m);
}

/* The first two bytes choose what is tried and the size of the item. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    const uint64_t item_size = (uint64_t)data[1] << (data[0] >> 3);
    const struct bytes in = bytes_of(data + 2, size - 2);
    struct mime_record r;
    struct buf out = {0};
    switch (data[0] & 3) {
    case 0: table_try(in, item_size); break;
    case 1: map_try(in, item_size, data[2] * UINT64_C(40000)); break;
    case 2:
        if (mime_record_decode(in, &r, NULL) == BASE_OK)
            mime_record_encode(&r, &out);
        break;
    default: mime_body_from_bodystructure(in, &out, NULL); break;
    }
    buf_release(&out);
    return 0;
}

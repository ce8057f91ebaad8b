/*
 * The store's row decoders on hostile bytes (as if their seal were right): no overrun, and whatever one accepts its
 * encoder writes again, byte for byte; a UID set, which has several forms, keeps its members.
 *
 * Input: first byte picks the decoder, the rest is the payload.
 */
#include "mds/columns_private.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_equal(struct bytes in, struct buf *out)
{
    ASSERT(bytes_equal(in, buf_bytes(out)));
}

static void try_counters(struct bytes in, struct buf *out)
{
    struct counters c;

    if (counters_decode(in, &c)) {
        counters_encode(&c, out);
        must_equal(in, out);
    }
}

static void try_sums(struct bytes in, struct buf *out)
{
    struct table_sums s;

    if (sums_decode(in, &s)) {
        struct reader r = reader_of(in);

        (void)reader_varint(&r);
        sums_encode(&s, (unsigned)reader_varint(&r), out); /* earlier versions had fewer tables */
        must_equal(in, out);
    }
}

static void try_live(struct bytes in, struct buf *out)
{
    struct mds_removed removed;
    struct renames renames;
    struct mds_segments segments;
    bool aside;

    if (removed_decode(1, 2, in, &removed)) {
        removed_encode(&removed, out);
        must_equal(in, out);
    }
    buf_reset(out);
    if (renames_decode(in, &renames)) {
        renames_encode(&renames, out);
        must_equal(in, out);
    }
    buf_reset(out);
    if (segments_decode(in, &segments)) {
        segments_encode(&segments, out);
        must_equal(in, out);
    }
    buf_reset(out);
    if (filing_decode(in, &aside)) {
        filing_encode(aside, out);
        must_equal(in, out);
    }
}

static void try_folder(struct bytes in, struct buf *out)
{
    struct mds_folder f;

    if (folder_decode(7, in, &f)) {
        folder_encode(&f, out);
        must_equal(in, out);
    }
}

static void try_name(struct bytes in, struct buf *out)
{
    struct bytes text;
    uint32_t id;

    for (int hashed = 0; hashed < 2; hashed++) {
        buf_reset(out);
        if (name_decode(in, hashed, &id, &text)) {
            name_encode(id, hashed, text, out);
            must_equal(in, out);
        }
    }
}

static void try_message(struct bytes in, struct buf *out)
{
    struct mds_message m;

    if (message_decode(1, 2, in, &m)) {
        message_encode(&m, out);
        must_equal(in, out);
    }
}

static void try_item(struct bytes in, struct buf *out)
{
    struct mds_item it;

    if (item_decode(99, in, &it)) {
        item_encode(&it, out);
        must_equal(in, out);
    }
}

static void try_container(struct bytes in, struct buf *out)
{
    struct mds_container c;

    if (container_decode(3, in, &c)) {
        container_encode(&c, out);
        must_equal(in, out);
    }
}

static void try_place(struct bytes in, struct buf *out)
{
    struct mds_place p;

    for (int hashed = 0; hashed < 2; hashed++) {
        buf_reset(out);
        if (place_decode(in, hashed, &p)) {
            place_encode(&p, hashed, out);
            must_equal(in, out);
        }
    }
}

static void try_run(struct bytes in, struct buf *out)
{
    struct run r;

    if (run_decode(5, in, &r)) {
        run_encode(&r, out);
        must_equal(in, out);
    }
}

static void try_words(struct bytes in, struct buf *out)
{
    struct bytes a, b;
    bool complete;

    if (wire_decode(in, &a, &b)) {
        wire_encode(a, b, out);
        must_equal(in, out);
    }
    buf_reset(out);
    if (headers_decode(in, &a, &complete)) {
        headers_encode(a, complete, out);
        must_equal(in, out);
    }
}

static void try_sort(struct bytes in, struct buf *out)
{
    struct mds_sort s;

    if (mds_sort_decode(in, &s, NULL) == BASE_OK) {
        mds_sort_encode(&s, out);
        must_equal(in, out);
    }
}

static void try_pack(struct bytes in, struct buf *out)
{
    struct pack p = {0};

    if (pack_decode(1000, in, &p)) {
        uint64_t sum = 0;

        for (uint32_t i = 0; i < p.n; i++)
            for (uint32_t j = 0; j + 1 < p.len[i]; j++) /* every byte of every entry can be read */
                sum += p.data.p[p.off[i] + j];
        pack_encode(p.len, p.n, p.data, out);
        if (p.plain.n)
            must_equal(buf_bytes(&p.plain), out); /* of what is compressed there are many forms */
        else
            must_equal(in, out);
        ASSERT(sum <= UINT64_MAX / 2);
    }
    pack_release(&p);
    /* The other way: what was compressed, of any bytes, is given back. */
    buf_reset(out);
    buf_append_bytes(out, in);
    pack_compress(out, 0);
    if (out->n != in.n || memcmp(out->p, in.p, in.n) != 0) {
        struct pack again = {0};

        if (pack_decode(1000, buf_bytes(out), &again))
            ASSERT(bytes_equal(buf_bytes(&again.plain), in));
        else
            ASSERT(!pack_decode(1000, in, &again));
        pack_release(&again);
    }
}

static void try_user(struct bytes in, struct buf *out)
{
    struct mds_user u;
    struct mds_archive_info archive;

    if (user_decode(BYTES_LIT("ann"), in, &u)) {
        user_encode(&u, out);
        must_equal(in, out);
    }
    buf_reset(out);
    if (archive_decode(in, &archive)) {
        archive_encode(&archive, out);
        must_equal(in, out);
    }
}

static void try_set(struct bytes in, struct buf *out)
{
    static struct set_bits bits, again;
    struct set_builder b = {0};
    const bool ok = set_bits_decode(in, &bits);

    ASSERT(set_builder_add(&b, 3, in) == ok);
    if (ok) {
        roaring_bitmap_t *r = set_builder_take(&b);
        roaring_uint32_iterator_t it;
        uint32_t n = 0;

        set_bits_encode(&bits, out);
        ASSERT(set_bits_decode(buf_bytes(out), &again) && memcmp(&bits, &again, sizeof bits) == 0);
        roaring_init_iterator(r, &it);
        for (; it.has_value; roaring_advance_uint32_iterator(&it), n++)
            ASSERT(it.current_value >> 16 == 3 &&
                   bits.w[(it.current_value & 0xffff) / 64] >> (it.current_value % 64) & 1);
        ASSERT(n == set_bits_count(&bits));
        roaring_bitmap_free(r);
    }
    set_builder_release(&b);
}

/* Whatever the shape lets through can be read and compared; the canonical ones are written again as they were. */
static void try_columns(struct bytes in, struct buf *out)
{
    static int64_t values[COLUMN_SLOTS];
    uint64_t low[COLUMN_GROUPS], high[COLUMN_GROUPS];
    struct column_block b;

    if (!column_block_decode(in, &b))
        return;
    column_block_values(&b, values);
    if (column_block_is_canonical(&b)) {
        column_block_encode(values, b.n, out);
        must_equal(in, out);
        column_block_range(&b, INT64_MIN, values[0], low);
        column_block_range(&b, values[0], INT64_MAX, high);
        ASSERT(low[0] & high[0] & 1);
        for (uint32_t i = 0; i < b.n; i++)
            ASSERT(((low[i / 64] | high[i / 64]) >> (i % 64) & 1) == 1 && column_block_value(&b, i) == values[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(struct bytes, struct buf *) = {
        try_counters, try_sums,  try_folder, try_name, try_message, try_item, try_container, try_place,
        try_run,      try_words, try_sort,   try_pack, try_user,    try_set,  try_live,      try_columns,
    };
    struct buf out = {0};

    if (size == 0)
        return 0;
    decoders[data[0] % (sizeof decoders / sizeof decoders[0])](bytes_of(data + 1, size - 1), &out);
    buf_release(&out);
    return 0;
}

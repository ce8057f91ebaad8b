/* Rows of items: the record proper, and its words for the wire, the header and the sort tables. */
#include "mds_private.h"

#define ITEM_SENT_DATE       0x01u
#define ITEM_MSGID           0x02u
#define ITEM_OFFSET          0x04u
#define ITEM_KNOWN           0x07u

#define SORT_REPLY           0x01u
#define SORT_RECEIVED        0x02u
#define SORT_KNOWN           0x03u

#define ADDRESS_HASH_BYTES   9u
#define REFERENCE_HASH_BYTES 8u

void item_encode(const struct mds_item *it, struct buf *out)
{
    const bool offset = it->locator.offset || it->locator.length || it->locator.filter;

    buf_put_u8(out, (uint8_t)((it->has_sent_date ? ITEM_SENT_DATE : 0u) | (it->msgid_hash ? ITEM_MSGID : 0u) |
                              (offset ? ITEM_OFFSET : 0u)));
    buf_append(out, it->hash.b, sizeof it->hash.b);
    buf_put_varint(out, it->size);
    buf_put_varint(out, it->size_crlf);
    buf_put_varint(out, it->defects);
    buf_put_zigzag(out, (int64_t)(it->id - it->thread_id));
    if (it->has_sent_date) {
        buf_put_zigzag(out, it->sent_date);
        buf_put_zigzag(out, it->sent_zone);
    }
    if (it->msgid_hash)
        buf_put_u64(out, it->msgid_hash);
    buf_put_varint(out, it->locator.source);
    buf_put_varint(out, it->locator.container);
    if (offset) {
        buf_put_varint(out, it->locator.offset);
        buf_put_varint(out, it->locator.length);
        buf_put_varint(out, it->locator.filter);
    }
    buf_put_blob(out, it->locator.name);
    buf_put_blob(out, it->parts);
    buf_append_bytes(out, it->crlf_map);
}

bool item_decode(uint64_t id, struct bytes in, struct mds_item *out)
{
    struct reader r = reader_of(in);
    const uint8_t bits = reader_u8(&r);
    const struct bytes hash = reader_bytes(&r, HASH128_BYTES);

    *out = (struct mds_item){.id = id, .has_sent_date = bits & ITEM_SENT_DATE};
    if (hash.n)
        memcpy(out->hash.b, hash.p, HASH128_BYTES);
    out->size = reader_varint(&r);
    out->size_crlf = reader_varint(&r);
    out->defects = reader_varint(&r);
    out->thread_id = id - (uint64_t)reader_zigzag(&r);
    if (bits & ITEM_SENT_DATE) {
        out->sent_date = reader_zigzag(&r);
        out->sent_zone = read_zone(&r);
    }
    if (bits & ITEM_MSGID) {
        out->msgid_hash = reader_u64(&r);
        r.ok = r.ok && out->msgid_hash;
    }
    out->locator.source = read_u32(&r);
    out->locator.container = read_u32(&r);
    if (bits & ITEM_OFFSET) {
        out->locator.offset = reader_varint(&r);
        out->locator.length = reader_varint(&r);
        out->locator.filter = read_u32(&r);
        r.ok = r.ok && (out->locator.offset || out->locator.length || out->locator.filter);
    }
    out->locator.name = reader_blob(&r);
    out->parts = reader_blob(&r);
    out->crlf_map = read_rest(&r);
    return reader_done(&r) && !(bits & ~ITEM_KNOWN) && id > 0;
}

/* ---- words ---- */

void wire_encode(struct bytes envelope, struct bytes bodystructure, struct buf *out)
{
    buf_put_blob(out, envelope);
    buf_append_bytes(out, bodystructure);
}

bool wire_decode(struct bytes in, struct bytes *envelope, struct bytes *bodystructure)
{
    struct reader r = reader_of(in);

    *envelope = reader_blob(&r);
    *bodystructure = read_rest(&r);
    return reader_done(&r);
}

void headers_encode(struct bytes headers, bool complete, struct buf *out)
{
    buf_put_u8(out, complete);
    buf_append_bytes(out, headers);
}

bool headers_decode(struct bytes in, struct bytes *headers, bool *complete)
{
    struct reader r = reader_of(in);
    const uint8_t bits = reader_u8(&r);

    *complete = bits;
    *headers = read_rest(&r);
    return reader_done(&r) && bits <= 1;
}

/* One table for both directions, so that they cannot disagree. */
static const size_t sort_fields[] = {
    offsetof(struct mds_sort, base_subject),     offsetof(struct mds_sort, sort_from),
    offsetof(struct mds_sort, sort_to),          offsetof(struct mds_sort, sort_cc),
    offsetof(struct mds_sort, display_from),     offsetof(struct mds_sort, display_to),
    offsetof(struct mds_sort, reference_hashes), offsetof(struct mds_sort, address_hashes),
    offsetof(struct mds_sort, preview),
};
#define SORT_FIELDS (sizeof sort_fields / sizeof sort_fields[0])

void mds_sort_encode(const struct mds_sort *s, struct buf *out)
{
    buf_put_u8(out, (uint8_t)((s->subject_is_reply ? SORT_REPLY : 0u) | (s->has_received_date ? SORT_RECEIVED : 0u)));
    if (s->has_received_date) {
        buf_put_zigzag(out, s->received_date);
        buf_put_zigzag(out, s->received_zone);
    }
    for (unsigned i = 0; i < SORT_FIELDS; i++)
        buf_put_blob(out, *(const struct bytes *)(const void *)((const char *)s + sort_fields[i]));
}

int mds_sort_decode(struct bytes in, struct mds_sort *out, struct error *err)
{
    struct reader r = reader_of(in);
    const uint8_t bits = reader_u8(&r);

    *out = (struct mds_sort){.subject_is_reply = bits & SORT_REPLY, .has_received_date = bits & SORT_RECEIVED};
    if (bits & SORT_RECEIVED) {
        out->received_date = reader_zigzag(&r);
        out->received_zone = read_zone(&r);
    }
    for (unsigned i = 0; i < SORT_FIELDS; i++)
        *(struct bytes *)(void *)((char *)out + sort_fields[i]) = reader_blob(&r);
    if (!reader_done(&r) || bits & ~SORT_KNOWN || out->address_hashes.n % ADDRESS_HASH_BYTES ||
        out->reference_hashes.n % REFERENCE_HASH_BYTES)
        return error_set(err, BASE_ERR_CORRUPT, 0, "mds: the sort columns of an item do not decode; run mds verify");
    return BASE_OK;
}

/*
 * record: the transfer form of a record, between a parser process and the
 * builder. Never stored, so it has no version of its own: both ends are one
 * program. A parser may have been taken over by hostile mail, so the reader
 * trusts nothing: lengths are checked and the part table and map are decoded
 * by those who use them.
 */
#include "mime_private.h"

#define RECORD_MAGIC UINT32_C(0x4d445231)

enum record_flag { RECORD_HEADERS_COMPLETE = 1, RECORD_SENT = 2, RECORD_RECEIVED = 4, RECORD_REPLY = 8 };

/* The views in one order for both directions. */
#define RECORD_VIEWS(X)                                                                                                \
    X(envelope)                                                                                                        \
    X(bodystructure) X(parts) X(crlf_map) X(headers) X(message_id) X(in_reply_to) X(references) X(base_subject)        \
        X(subject) X(preview) X(display_from) X(display_to) X(sort_from) X(sort_to) X(sort_cc) X(address_hashes)

void mime_record_encode(const struct mime_record *r, struct buf *out)
{
    buf_put_u32(out, RECORD_MAGIC);
    buf_put_u8(out,
               (uint8_t)((r->headers_complete ? RECORD_HEADERS_COMPLETE : 0) | (r->has_sent_date ? RECORD_SENT : 0) |
                         (r->has_received_date ? RECORD_RECEIVED : 0) | (r->subject_is_reply ? RECORD_REPLY : 0)));
    buf_put_u64(out, r->defects);
    buf_put_u64(out, r->thread_id);
    buf_put_varint(out, r->size);
    buf_put_varint(out, r->size_crlf);
    buf_put_zigzag(out, r->sent_date);
    buf_put_zigzag(out, r->sent_zone);
    buf_put_zigzag(out, r->received_date);
    buf_put_zigzag(out, r->received_zone);
#define X(name) buf_put_blob(out, r->name);
    RECORD_VIEWS(X)
#undef X
}

static int16_t zone_read(struct reader *r)
{
    const int64_t v = reader_zigzag(r);
    if (v < INT16_MIN || v > INT16_MAX)
        r->ok = false;
    return (int16_t)v;
}

int mime_record_decode(struct bytes in, struct mime_record *out, struct error *err)
{
    struct reader r = reader_of(in);
    *out = (struct mime_record){0};
    if (reader_u32(&r) != RECORD_MAGIC)
        r.ok = false;
    const uint8_t flags = reader_u8(&r);
    out->headers_complete = flags & RECORD_HEADERS_COMPLETE;
    out->has_sent_date = flags & RECORD_SENT;
    out->has_received_date = flags & RECORD_RECEIVED;
    out->subject_is_reply = flags & RECORD_REPLY;
    out->defects = reader_u64(&r);
    out->thread_id = reader_u64(&r);
    out->size = reader_varint(&r);
    out->size_crlf = reader_varint(&r);
    out->sent_date = reader_zigzag(&r);
    out->sent_zone = zone_read(&r);
    out->received_date = reader_zigzag(&r);
    out->received_zone = zone_read(&r);
#define X(name) out->name = reader_blob(&r);
    RECORD_VIEWS(X)
#undef X
    if (!reader_done(&r) || flags > 15) {
        *out = (struct mime_record){0};
        return error_set(err, BASE_ERR_CORRUPT, 0, "record: %zu bytes do not parse", in.n);
    }
    return BASE_OK;
}

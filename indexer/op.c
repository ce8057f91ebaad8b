/* The ops' transfer form. */
#include "op.h"

static struct bytes keywords_clip(struct bytes k)
{
    if (k.n <= OP_KEYWORDS_MAX)
        return k;
    size_t n = OP_KEYWORDS_MAX;
    while (n > 0 && k.p[n] != ' ')
        n--;
    return bytes_of(k.p, n);
}

void indexer_op_encode(const struct op *op, struct buf *out)
{
    buf_put_u8(out, (uint8_t)op->kind);
    switch (op->kind) {
    case OP_SOURCE:
        buf_put_u32(out, op->source);
        buf_put_varint(out, op->rows);
        break;
    case OP_CONTAINER:
        buf_put_blob(out, op->name);
        buf_put_blob(out, op->folder);
        buf_put_zigzag(out, op->stamp.mtime_ns);
        buf_put_varint(out, op->stamp.size);
        buf_put_varint(out, op->stamp.inode);
        buf_put_zigzag(out, op->scanned_ns);
        buf_put_u8(out, op->is_mbox);
        break;
    case OP_ITEM:
        buf_put_u8(out, (uint8_t)op->how);
        buf_put_blob(out, op->identity);
        buf_put_u32(out, op->flags);
        buf_put_blob(out, keywords_clip(op->keywords));
        buf_put_u8(out, op->has_stat);
        if (op->has_stat) {
            buf_put_varint(out, op->size);
            buf_put_zigzag(out, op->mtime_ns);
        }
        break;
    case OP_FLAGS:
        buf_put_blob(out, op->identity);
        buf_put_u32(out, op->flags);
        buf_put_blob(out, keywords_clip(op->keywords));
        buf_put_blob(out, op->file);
        break;
    case OP_MISSING: buf_put_blob(out, op->identity); break;
    case OP_CONTAINER_END: buf_put_u8(out, op->complete); break;
    case OP_GONE:
        buf_put_u32(out, op->container);
        buf_put_varint(out, op->rows);
        break;
    case OP_SOURCE_END:
        buf_put_u8(out, op->complete);
        buf_put_varint(out, op->rows);
        buf_put_varint(out, op->moved);
        break;
    case OP_TROUBLE: buf_put_blob(out, op->text); break;
    case OP_END: break;
    }
}

bool indexer_op_decode(struct bytes in, struct op *out)
{
    struct reader r = reader_of(in);
    *out = (struct op){.kind = (enum op_kind)reader_u8(&r)};
    switch (out->kind) {
    case OP_SOURCE:
        out->source = reader_u32(&r);
        out->rows = reader_varint(&r);
        break;
    case OP_CONTAINER:
        out->name = reader_blob(&r);
        out->folder = reader_blob(&r);
        out->stamp.mtime_ns = reader_zigzag(&r);
        out->stamp.size = reader_varint(&r);
        out->stamp.inode = reader_varint(&r);
        out->scanned_ns = reader_zigzag(&r);
        out->is_mbox = reader_u8(&r) != 0;
        break;
    case OP_ITEM:
        out->how = (enum op_how)reader_u8(&r);
        out->identity = reader_blob(&r);
        out->flags = reader_u32(&r);
        out->keywords = reader_blob(&r);
        out->has_stat = reader_u8(&r) != 0;
        if (out->has_stat) {
            out->size = reader_varint(&r);
            out->mtime_ns = reader_zigzag(&r);
        }
        break;
    case OP_FLAGS:
        out->identity = reader_blob(&r);
        out->flags = reader_u32(&r);
        out->keywords = reader_blob(&r);
        out->file = reader_blob(&r);
        break;
    case OP_MISSING: out->identity = reader_blob(&r); break;
    case OP_CONTAINER_END: out->complete = reader_u8(&r) != 0; break;
    case OP_GONE:
        out->container = reader_u32(&r);
        out->rows = reader_varint(&r);
        break;
    case OP_SOURCE_END:
        out->complete = reader_u8(&r) != 0;
        out->rows = reader_varint(&r);
        out->moved = reader_varint(&r);
        break;
    case OP_TROUBLE: out->text = reader_blob(&r); break;
    case OP_END: break;
    default: return false;
    }
    return reader_done(&r);
}

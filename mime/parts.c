/*
 * parts: the part table's codec and BODY[section] (mime/parts.h).
 *
 * The stored form is drawn in mime/parts.h.
 */
#include "mime/parts.h"

#define CHARSET_FLAG   0x80u
#define PART_MIN_BYTES 9u

static uint8_t body_kind(const struct mime_part *p)
{
    return p->kind == MIME_PART_MESSAGE_ROOT ? p->root_kind : p->kind;
}

static bool is_leaf(const struct mime_part *p)
{
    const uint8_t kind = body_kind(p);
    return kind == MIME_PART_LEAF || kind == MIME_PART_TEXT;
}

void mime_parts_encode(const struct mime_part *parts, uint32_t n, struct buf *out)
{
    uint64_t before = 0;
    buf_put_varint(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct mime_part *p = &parts[i];
        ASSERT(p->body_off == p->header_off + p->header_len);
        buf_put_u8(out, (uint8_t)(p->kind | p->root_kind << 4));
        buf_put_u8(out, (uint8_t)(p->encoding | (p->charset.n ? CHARSET_FLAG : 0)));
        buf_put_varint(out, p->children);
        buf_put_zigzag(out, (int64_t)(p->header_off - before));
        before = p->body_off;
        buf_put_varint(out, p->header_len);
        buf_put_varint(out, p->body_len);
        buf_put_varint(out, p->header_crlf - p->header_len);
        buf_put_varint(out, p->body_crlf - p->body_len);
        buf_put_varint(out, p->lines);
        if (is_leaf(p))
            buf_put_zigzag(out, (int64_t)(p->decoded_len - p->body_crlf));
        if (p->charset.n)
            buf_put_blob(out, p->charset);
    }
}

static bool part_read(struct reader *r, uint64_t *before, uint64_t item_size, struct mime_part *p)
{
    const uint8_t kinds = reader_u8(r), encoding = reader_u8(r);
    p->kind = kinds & 0xf;
    p->root_kind = kinds >> 4;
    p->encoding = encoding & (uint8_t)~CHARSET_FLAG;
    const uint64_t children = reader_varint(r);
    p->children = (uint32_t)children;
    p->header_off = *before + (uint64_t)reader_zigzag(r);
    p->header_len = reader_varint(r);
    p->body_len = reader_varint(r);
    const uint64_t header_more = reader_varint(r), body_more = reader_varint(r);
    p->lines = reader_varint(r);
    if (!r->ok || p->kind > MIME_PART_MESSAGE_ROOT || p->root_kind > MIME_PART_MESSAGE ||
        (p->kind != MIME_PART_MESSAGE_ROOT && p->root_kind) || p->encoding > MIME_ENCODING_UNKNOWN ||
        children > UINT32_MAX)
        return false;
    if (p->header_off > item_size || p->header_len > item_size - p->header_off ||
        p->body_len > item_size - p->header_off - p->header_len)
        return false;
    if (header_more > p->header_len || body_more > p->body_len || p->lines > p->body_len)
        return false;
    p->body_off = *before = p->header_off + p->header_len;
    p->header_crlf = p->header_len + header_more;
    p->body_crlf = p->body_len + body_more;
    if (is_leaf(p)) {
        p->decoded_len = p->body_crlf + (uint64_t)reader_zigzag(r);
        if (p->decoded_len > 2 * p->body_crlf)
            return false;
    }
    if (encoding & CHARSET_FLAG) {
        p->charset = reader_blob(r);
        if (p->charset.n == 0 || p->charset.n > 64)
            return false;
    }
    return r->ok;
}

/* The rules of the tree for entry i, whose parent's are already checked. */
static bool part_fits(const struct mime_part *v, uint32_t i)
{
    const struct mime_part *p = &v[i], *up = &v[p->parent];
    switch (body_kind(p)) {
    case MIME_PART_MULTIPART:
        if (p->children == 0)
            return false;
        break;
    case MIME_PART_MESSAGE:
        if (p->children != 1)
            return false;
        break;
    default:
        if (p->children != 0)
            return false;
    }
    if (i == 0)
        return p->kind == MIME_PART_MESSAGE_ROOT;
    if ((body_kind(up) == MIME_PART_MESSAGE) != (p->kind == MIME_PART_MESSAGE_ROOT))
        return false;
    return p->header_off >= up->body_off && p->body_off + p->body_len <= up->body_off + up->body_len;
}

/* Fills parent and next from the child counts; false if they make no tree of exactly n entries. */
static bool tree_link(struct mime_part *v, uint32_t n)
{
    /* `next` of an open entry holds the children that are still to come. */
    uint32_t top = 0;
    v[0].next = v[0].children;
    for (uint32_t i = 1; i < n; i++) {
        while (v[top].next == 0) {
            if (top == 0)
                return false;
            const uint32_t up = v[top].parent;
            v[top].next = i;
            top = up;
        }
        v[top].next--;
        v[i].parent = top;
        v[i].next = v[i].children;
        top = i;
    }
    for (;;) {
        if (v[top].next != 0)
            return false;
        const uint32_t up = v[top].parent;
        v[top].next = n;
        if (top == 0)
            return true;
        top = up;
    }
}

int mime_parts_decode(struct bytes in, uint64_t item_size, struct mime_parts *out, struct error *err)
{
    *out = (struct mime_parts){0};
    struct reader r = reader_of(in);
    const uint64_t n = reader_varint(&r);
    if (!r.ok || n == 0 || n > in.n / PART_MIN_BYTES)
        return error_set(err, BASE_ERR_CORRUPT, 0, "part table: bad count");
    struct mime_part *v = calloc((size_t)n, sizeof(*v));
    if (!v)
        return error_set(err, BASE_ERR_NOMEM, 0, "part table: no memory for %llu parts", (unsigned long long)n);
    uint64_t before = 0;
    bool ok = true;
    for (uint32_t i = 0; ok && i < n; i++)
        ok = part_read(&r, &before, item_size, &v[i]);
    ok = ok && reader_done(&r) && tree_link(v, (uint32_t)n);
    for (uint32_t i = 0; ok && i < n; i++)
        ok = part_fits(v, i);
    if (!ok || v[0].header_off != 0 || v[0].body_off + v[0].body_len != item_size) {
        free(v);
        return error_set(err, BASE_ERR_CORRUPT, 0, "part table: entries do not fit an item of %llu bytes",
                         (unsigned long long)item_size);
    }
    out->v = v;
    out->n = (uint32_t)n;
    return BASE_OK;
}

void mime_parts_release(struct mime_parts *p)
{
    if (!p)
        return;
    free(p->v);
    *p = (struct mime_parts){0};
}

static const struct mime_part *child_at(const struct mime_parts *p, const struct mime_part *up, uint32_t number)
{
    if (number == 0 || number > up->children)
        return NULL;
    uint32_t i = (uint32_t)(up - p->v) + 1;
    while (--number)
        i = p->v[i].next;
    return &p->v[i];
}

/* *as_part: a root that stands for its own body, part 1. NULL if there is no such section. */
static const struct mime_part *section_find(const struct mime_parts *p, const uint32_t *path, uint32_t n, bool *as_part)
{
    const struct mime_part *at = &p->v[0];
    *as_part = false;
    for (uint32_t i = 0; i < n; i++) {
        if ((at->kind != MIME_PART_MESSAGE_ROOT || *as_part) && body_kind(at) == MIME_PART_MESSAGE) {
            at++;
            *as_part = false;
        }
        if (body_kind(at) == MIME_PART_MULTIPART && !*as_part) {
            at = child_at(p, at, path[i]);
            if (!at)
                return NULL;
        } else if (at->kind == MIME_PART_MESSAGE_ROOT && !*as_part && path[i] == 1) {
            *as_part = true;
        } else {
            return NULL;
        }
    }
    return at;
}

int mime_parts_resolve(const struct mime_parts *p, const uint32_t *path, uint32_t n, enum mime_section_part what,
                       uint64_t *off_out, uint64_t *len_out, uint64_t *len_crlf_out, const struct mime_part **part_out)
{
    bool as_part;
    const struct mime_part *at = section_find(p, path, n, &as_part);
    if (!at)
        return BASE_ERR_NOTFOUND;
    bool header = what == MIME_SECTION_HEADER || what == MIME_SECTION_MIME;
    if (n == 0 && what == MIME_SECTION_MIME)
        return BASE_ERR_NOTFOUND;
    if (n && (what == MIME_SECTION_HEADER || what == MIME_SECTION_TEXT)) {
        if (body_kind(at) != MIME_PART_MESSAGE)
            return BASE_ERR_NOTFOUND;
        at++;
    }
    *part_out = at;
    if (n == 0 && what == MIME_SECTION_ALL) {
        *off_out = 0;
        *len_out = at->header_len + at->body_len;
        *len_crlf_out = at->header_crlf + at->body_crlf;
        *part_out = NULL;
        return BASE_OK;
    }
    *off_out = header ? at->header_off : at->body_off;
    *len_out = header ? at->header_len : at->body_len;
    *len_crlf_out = header ? at->header_crlf : at->body_crlf;
    return BASE_OK;
}

/*
 * structure: BODYSTRUCTURE (RFC 3501 7.4.2, grammar in section 9).
 *
 *   multipart  "(" 1*body SP subtype SP params SP dsp SP lang SP loc ")"
 *   leaf       "(" type SP subtype SP params SP id SP desc SP enc SP octets
 *              [text: SP lines] [message: SP envelope SP body SP lines]
 *              SP md5 SP dsp SP lang SP loc ")"
 *
 * Always with the extension data; body.c takes it off for BODY. Octets and
 * lines are those of the client's form. Parameters as they stand in the header
 * (RFC 2231 pieces are the client's to join). A text without a charset is shown
 * as us-ascii (RFC 2045 5.2), as clients stumble over NIL there.
 *
 * Recursion goes as deep as the scan nested: max_depth.
 */
#include "mime_private.h"

static void write_params(struct mime_parser *p, struct bytes params, bool default_charset, struct buf *out)
{
    const size_t start = out->n;
    struct bytes name, value;
    bool has_charset = false;
    buf_reset(&p->scratch);
    buf_reserve(&p->scratch, params.n); /* so that views do not move */
    buf_append_byte(out, '(');
    while (mime_param_next(&params, &p->scratch, &name, &value)) {
        if (out->n - start > 1)
            buf_append_byte(out, ' ');
        has_charset = has_charset || (name.n >= 7 && bytes_equal_nocase(bytes_slice(name, 0, 7), BYTES_LIT("charset")));
        mime_wire_upper(out, name);
        buf_append_byte(out, ' ');
        mime_wire_string(out, value);
    }
    if (default_charset && !has_charset) {
        if (out->n - start > 1)
            buf_append_byte(out, ' ');
        buf_append_str(out, "\"CHARSET\" \"us-ascii\"");
    }
    if (out->n - start == 1) {
        out->n = start;
        buf_append(out, "NIL", 3);
        return;
    }
    buf_append_byte(out, ')');
}

static void write_disposition(struct mime_parser *p, struct bytes raw, struct buf *out)
{
    struct bytes kind;
    if (!raw.p || !mime_token_next(&raw, &kind)) {
        buf_append(out, "NIL", 3);
        return;
    }
    buf_append_byte(out, '(');
    mime_wire_upper(out, kind);
    buf_append_byte(out, ' ');
    write_params(p, raw, false, out);
    buf_append_byte(out, ')');
}

static void write_language(struct bytes raw, struct buf *out)
{
    struct bytes tag;
    if (!raw.p || !mime_token_next(&raw, &tag)) {
        buf_append(out, "NIL", 3);
        return;
    }
    buf_append_byte(out, '(');
    do {
        mime_wire_upper(out, tag);
        buf_append_byte(out, ' ');
    } while (mime_token_next(&raw, &tag));
    out->p[out->n - 1] = ')';
}

static void write_nstring(struct mime_parser *p, struct bytes raw, struct buf *out)
{
    mime_wire_nstring(out, raw.p ? mime_unfold(raw, &p->scratch) : raw);
}

/* SP dsp SP lang SP loc ")" */
static void write_tail(struct mime_parser *p, const struct entity *e, struct buf *out)
{
    buf_append_byte(out, ' ');
    write_disposition(p, e->field[FIELD_DISPOSITION], out);
    buf_append_byte(out, ' ');
    write_language(e->field[FIELD_LANGUAGE], out);
    buf_append_byte(out, ' ');
    write_nstring(p, e->field[FIELD_LOCATION], out);
    buf_append_byte(out, ')');
}

static void write_encoding(const struct entity *e, struct buf *out)
{
    static const char *const names[] = {"7BIT", "8BIT", "BINARY", "BASE64", "QUOTED-PRINTABLE", "X-UUENCODE"};
    struct bytes rest = e->field[FIELD_ENCODING], token = {0};
    if (e->part.encoding < MIME_ENCODING_UNKNOWN)
        mime_wire_string(out, bytes_str(names[e->part.encoding]));
    else if (rest.p && mime_token_next(&rest, &token))
        mime_wire_upper(out, bytes_slice(token, 0, 100));
    else
        buf_append_str(out, "\"8BIT\"");
}

static void write_type(struct mime_parser *p, const struct entity *e, struct buf *out)
{
    switch (e->shown) {
    case SHOWN_AS_TEXT: buf_append_str(out, "\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") "); return;
    case SHOWN_AS_OCTETS: buf_append_str(out, "\"APPLICATION\" \"OCTET-STREAM\" NIL "); return;
    default: break;
    }
    mime_wire_upper(out, e->media.type);
    buf_append_byte(out, ' ');
    mime_wire_upper(out, e->media.subtype);
    buf_append_byte(out, ' ');
    const bool is_text = (e->part.kind == MIME_PART_MESSAGE_ROOT ? e->part.root_kind : e->part.kind) == MIME_PART_TEXT;
    write_params(p, e->media.params, is_text, out);
    buf_append_byte(out, ' ');
}

static void write_body(struct mime_parser *p, uint32_t index, struct buf *out);

static void write_multipart(struct mime_parser *p, uint32_t index, struct buf *out)
{
    const struct entity *const e = &p->scan.v[index];
    for (uint32_t child = index + 1; child < e->part.next; child = p->scan.v[child].part.next)
        write_body(p, child, out);
    buf_append_byte(out, ' ');
    mime_wire_upper(out, e->media.subtype);
    buf_append_byte(out, ' ');
    write_params(p, e->media.params, false, out);
    write_tail(p, e, out);
}

static void write_leaf(struct mime_parser *p, uint32_t index, uint8_t kind, struct buf *out)
{
    const struct entity *const e = &p->scan.v[index];
    write_type(p, e, out);
    write_nstring(p, e->field[FIELD_CONTENT_ID], out);
    buf_append_byte(out, ' ');
    write_nstring(p, e->field[FIELD_DESCRIPTION], out);
    buf_append_byte(out, ' ');
    write_encoding(e, out);
    buf_append_byte(out, ' ');
    buf_append_u64_dec(out, e->part.body_crlf);
    if (kind == MIME_PART_MESSAGE) {
        const struct entity *const root = &p->scan.v[index + 1];
        buf_append_byte(out, ' ');
        mime_envelope_write(p, root->field, out, NULL);
        buf_append_byte(out, ' ');
        write_body(p, index + 1, out);
    }
    if (kind == MIME_PART_MESSAGE || kind == MIME_PART_TEXT) {
        buf_append_byte(out, ' ');
        buf_append_u64_dec(out, e->part.lines);
    }
    buf_append_byte(out, ' ');
    write_nstring(p, e->field[FIELD_MD5], out);
    write_tail(p, e, out);
}

static void write_body(struct mime_parser *p, uint32_t index, struct buf *out)
{
    const struct mime_part *const part = &p->scan.v[index].part;
    const uint8_t kind = part->kind == MIME_PART_MESSAGE_ROOT ? part->root_kind : part->kind;
    buf_append_byte(out, '(');
    if (kind == MIME_PART_MULTIPART)
        write_multipart(p, index, out);
    else
        write_leaf(p, index, kind, out);
}

void mime_structure_write(struct mime_parser *p, struct buf *out)
{
    write_body(p, 0, out);
}

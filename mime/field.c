/*
 * field: header lines and field names.
 *
 * A field line is a name of visible bytes (8-bit ones are tolerated), blanks,
 * a colon. What begins with white space folds the line before it. Every other
 * line of a header block is passed over: only an empty line ends the block.
 */
#include "mime_private.h"

bool mime_is_field_line(struct bytes line, size_t *colon_out)
{
    size_t i = 0;
    while (i < line.n && line.p[i] > ' ' && line.p[i] != ':' && line.p[i] != 0x7f)
        i++;
    if (i == 0)
        return false;
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++;
    *colon_out = i;
    return i < line.n && line.p[i] == ':';
}

bool mime_is_mbox_from(struct bytes line)
{
    if (line.n && line.p[0] == '>')
        line = bytes_slice(line, 1, SIZE_MAX);
    return line.n >= 5 && memcmp(line.p, "From ", 5) == 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes mime_trim(struct bytes v)
{
    while (v.n && is_space(v.p[0])) {
        v.p++;
        v.n--;
    }
    while (v.n && is_space(v.p[v.n - 1]))
        v.n--;
    return v;
}

struct bytes mime_unfold(struct bytes raw, struct buf *scratch)
{
    const struct bytes v = mime_trim(raw);
    if (v.n == 0 || (!memchr(v.p, '\n', v.n) && !memchr(v.p, 0, v.n)))
        return v;
    buf_reset(scratch);
    uint8_t *out = buf_reserve(scratch, v.n);
    size_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        const uint8_t c = v.p[i];
        if (c == '\n' || c == 0 || (c == '\r' && i + 1 < v.n && v.p[i + 1] == '\n'))
            continue;
        out[n++] = c;
    }
    scratch->n = n;
    return mime_trim(buf_bytes(scratch));
}

struct known_field {
    const char *name;
    enum mime_field id;
};

/* Rows share a first letter; few enough that a length check does the rest. */
static const struct known_field fields_c[] = {
    {"cc", FIELD_CC},
    {"content-type", FIELD_CONTENT_TYPE},
    {"content-transfer-encoding", FIELD_ENCODING},
    {"content-id", FIELD_CONTENT_ID},
    {"content-description", FIELD_DESCRIPTION},
    {"content-md5", FIELD_MD5},
    {"content-disposition", FIELD_DISPOSITION},
    {"content-language", FIELD_LANGUAGE},
    {"content-location", FIELD_LOCATION},
    {NULL, FIELD_OTHER},
};
static const struct known_field fields_r[] = {
    {"received", FIELD_RECEIVED}, {"references", FIELD_REFERENCES}, {"reply-to", FIELD_REPLY_TO}, {NULL, FIELD_OTHER}};
static const struct known_field fields_s[] = {
    {"subject", FIELD_SUBJECT}, {"sender", FIELD_SENDER}, {NULL, FIELD_OTHER}};
static const struct known_field fields_d[] = {{"date", FIELD_DATE}, {NULL, FIELD_OTHER}};
static const struct known_field fields_f[] = {{"from", FIELD_FROM}, {NULL, FIELD_OTHER}};
static const struct known_field fields_t[] = {{"to", FIELD_TO}, {NULL, FIELD_OTHER}};
static const struct known_field fields_b[] = {{"bcc", FIELD_BCC}, {NULL, FIELD_OTHER}};
static const struct known_field fields_i[] = {{"in-reply-to", FIELD_IN_REPLY_TO}, {NULL, FIELD_OTHER}};
static const struct known_field fields_m[] = {{"message-id", FIELD_MESSAGE_ID}, {NULL, FIELD_OTHER}};

enum mime_field mime_field_of(struct bytes name)
{
    const struct known_field *row;
    if (name.n < 2)
        return FIELD_OTHER;
    switch (name.p[0] | 0x20) {
    case 'c': row = fields_c; break;
    case 'r': row = fields_r; break;
    case 's': row = fields_s; break;
    case 'd': row = fields_d; break;
    case 'f': row = fields_f; break;
    case 't': row = fields_t; break;
    case 'b': row = fields_b; break;
    case 'i': row = fields_i; break;
    case 'm': row = fields_m; break;
    default: return FIELD_OTHER;
    }
    for (; row->name; row++) {
        const struct bytes known = bytes_str(row->name);
        if (known.n == name.n && bytes_equal_nocase(known, name))
            return row->id;
    }
    return FIELD_OTHER;
}

bool mime_header_next(struct bytes block, size_t *pos, struct bytes *name, struct bytes *raw_value, struct bytes *field)
{
    while (*pos < block.n) {
        const size_t start = *pos;
        const uint8_t *lf = memchr(block.p + start, '\n', block.n - start);
        size_t end = lf ? (size_t)(lf - block.p) + 1 : block.n;
        size_t colon = 0;
        const bool is_field = mime_is_field_line(bytes_of(block.p + start, end - start), &colon);
        while (is_field && end < block.n && (block.p[end] == ' ' || block.p[end] == '\t')) {
            lf = memchr(block.p + end, '\n', block.n - end);
            end = lf ? (size_t)(lf - block.p) + 1 : block.n;
        }
        *pos = end;
        if (!is_field)
            continue;
        *field = bytes_of(block.p + start, end - start);
        *name = bytes_slice(*field, 0, colon);
        while (name->n && (name->p[name->n - 1] == ' ' || name->p[name->n - 1] == '\t'))
            name->n--;
        *raw_value = bytes_slice(*field, colon + 1, SIZE_MAX);
        if (raw_value->n && raw_value->p[raw_value->n - 1] == '\n')
            raw_value->n--;
        if (raw_value->n && raw_value->p[raw_value->n - 1] == '\r')
            raw_value->n--;
        return true;
    }
    return false;
}

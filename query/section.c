/* Sections: see section.h and RFC 3501 6.4.5. */
#include "section.h"

static enum mime_section_part part_of(enum mdsq_section_kind kind)
{
    switch (kind) {
    case MDSQ_SECTION_HEADER:
    case MDSQ_SECTION_HEADER_FIELDS:
    case MDSQ_SECTION_HEADER_FIELDS_NOT: return MIME_SECTION_HEADER;
    case MDSQ_SECTION_TEXT: return MIME_SECTION_TEXT;
    case MDSQ_SECTION_MIME: return MIME_SECTION_MIME;
    case MDSQ_SECTION_ALL:
    case MDSQ_SECTION_BINARY: break;
    }
    return MIME_SECTION_ALL;
}

static bool is_leaf(const struct mime_part *part)
{
    const uint8_t kind = part->kind == MIME_PART_MESSAGE_ROOT ? part->root_kind : part->kind;

    return kind == MIME_PART_LEAF || kind == MIME_PART_TEXT;
}

static int resolve_binary(const struct mime_part *part, struct query_range *range, struct error *err)
{
    range->form = QUERY_FORM_BINARY;
    if (part == NULL || !is_leaf(part) || part->encoding < MIME_ENCODING_BINARY)
        return BASE_OK;
    if (part->encoding == MIME_ENCODING_BINARY) {
        range->form = QUERY_FORM_STORED;
        range->len_crlf = range->len;
        return BASE_OK;
    }
    if (part->encoding == MIME_ENCODING_UNKNOWN)
        return error_set(err, BASE_ERR_USAGE, 0, "the part is in an unknown transfer encoding");
    if (range->len > QUERY_DECODE_MAX_BYTES)
        return error_set(err, BASE_ERR_LIMIT, 0, "an encoded part of %llu bytes is not decoded here",
                         (unsigned long long)range->len);
    range->form = QUERY_FORM_DECODE;
    range->encoding = part->encoding;
    return BASE_OK;
}

int query_section_resolve(const struct query_item *item, const struct mdsq_section *section, struct query_range *out,
                          struct error *err)
{
    const struct mime_part *part = NULL;
    int rc;

    *out = (struct query_range){.form = QUERY_FORM_CLIENT};
    if (section->path_n > MDSQ_SECTION_DEPTH_MAX)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "no section is that deep");
    rc = mime_parts_resolve(&item->parts, section->path, section->path_n, part_of(section->kind), &out->off, &out->len,
                            &out->len_crlf, &part);
    if (rc < 0)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "the message has no such section");
    if (out->off > item->row.size || out->len > item->row.size - out->off)
        return error_set(err, BASE_ERR_CORRUPT, 0, "a section ends behind its item");
    if (section->kind == MDSQ_SECTION_BINARY)
        return resolve_binary(section->path_n ? part : NULL, out, err);
    if (section->kind == MDSQ_SECTION_HEADER_FIELDS || section->kind == MDSQ_SECTION_HEADER_FIELDS_NOT) {
        if (out->len > QUERY_DECODE_MAX_BYTES)
            return error_set(err, BASE_ERR_LIMIT, 0, "a header of %llu bytes", (unsigned long long)out->len);
        out->form = QUERY_FORM_FIELDS;
        out->body_is_empty = part ? part->body_len == 0 : item->parts.v[0].body_len == 0;
    }
    return BASE_OK;
}

/* RFC 3501: no blank line only where the message has neither a body nor a blank line. */
static int has_blank_line(const struct mds_item *row, bool *out, struct error *err)
{
    struct mime_parts parts = {0};
    int rc = BASE_OK;

    *out = true;
    if (row->defects & (MIME_DEFECT(NO_SEPARATOR) | MIME_DEFECT(NO_HEADER))) {
        rc = mime_parts_decode(row->parts, row->size, &parts, err);
        *out = rc < 0 || parts.n == 0 || parts.v[0].body_len > 0;
        mime_parts_release(&parts);
    }
    return rc;
}

static bool is_of_own_header(const struct mdsq_section *section)
{
    return section->path_n == 0 &&
           (section->kind == MDSQ_SECTION_HEADER_FIELDS || section->kind == MDSQ_SECTION_HEADER_FIELDS_NOT);
}

bool query_section_names_kept(struct mdsq_reader *reader, const struct mdsq_section *section)
{
    /* What is not named must be all there, whatever it is. */
    return section->kind == MDSQ_SECTION_HEADER_FIELDS && is_of_own_header(section) &&
           query_fields_are_kept(section->fields, section->fields_n, query_reader_kept(reader));
}

int query_section_from_kept(struct mds_words *words, uint64_t item, const struct mdsq_section *section, bool names_kept,
                            struct buf *out, struct error *err)
{
    struct mds_item row;
    struct bytes headers;
    bool complete = false, blank = true;

    if (!is_of_own_header(section))
        return 0;

    int rc = mds_words_item(words, item, &row, err);

    if (rc >= 0)
        rc = mds_words_headers(words, item, &headers, &complete, err);
    if (rc < 0)
        return rc;
    if (!query_fields_were_seen(&row) || !(complete || names_kept))
        return 0;
    rc = has_blank_line(&row, &blank, err);
    if (rc < 0)
        return rc;
    query_fields_subset(headers, section->fields, section->fields_n, section->kind == MDSQ_SECTION_HEADER_FIELDS_NOT,
                        blank, out);
    return 1;
}

/* Header blocks: subsets of fields as BODY[HEADER.FIELDS (...)] wants them. */
#include "query_private.h"

static bool is_among(struct bytes name, const struct mdsq_bytes *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_equal_nocase(name, bytes_of_query(names[i])))
            return true;
    }
    return false;
}

void query_fields_subset(struct bytes block, const struct mdsq_bytes *names, size_t names_n, bool complement,
                         bool blank_line, struct buf *out)
{
    struct bytes name, value, field;
    size_t pos = 0;
    bool last_cr = false;

    while (mime_header_next(block, &pos, &name, &value, &field)) {
        if (is_among(name, names, names_n) == complement)
            continue;
        mime_crlf_convert(field, &last_cr, out);
        /* The last field of a block that just ends has no line end of its own. */
        if (field.n && field.p[field.n - 1] != '\n' && blank_line)
            buf_append_str(out, "\r\n");
        last_cr = false;
    }
    if (blank_line)
        buf_append_str(out, "\r\n");
}

static bool is_kept(struct bytes name, const char *const *kept)
{
    for (; *kept; kept++) {
        if (bytes_equal_nocase(name, bytes_str(*kept)))
            return true;
    }
    return false;
}

bool query_fields_are_kept(const struct mds_item *row, bool headers_complete, const struct mdsq_bytes *names,
                           size_t names_n, const char *const *kept)
{
    if (row->defects & MIME_DEFECT(HEADER_TOO_LONG)) /* the indexer did not look at all of it */
        return false;
    if (headers_complete)
        return true;
    for (size_t i = 0; i < names_n; i++) {
        if (!is_kept(bytes_of_query(names[i]), kept))
            return false;
    }
    return true;
}

bool query_block_ends_blank(struct bytes b)
{
    if (b.n == 0 || b.p[b.n - 1] != '\n')
        return false;
    size_t n = b.n - 1;

    if (n && b.p[n - 1] == '\r')
        n--;
    return n == 0 || b.p[n - 1] == '\n';
}

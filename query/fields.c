/* Header blocks: subsets of fields as BODY[HEADER.FIELDS (...)] wants them. */
#include "query_private.h"

static bool is_among(struct bytes name, const struct mdsq_bytes *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (names[i].n == name.n && bytes_equal_nocase(name, bytes_of_query(names[i])))
            return true;
    }
    return false;
}

/* Fields side by side go as one. */
static void put_run(struct bytes run, struct buf *out)
{
    bool last_cr = false;

    mime_crlf_convert(run, &last_cr, out);
}

void query_fields_subset(struct bytes block, const struct mdsq_bytes *names, size_t names_n, bool complement,
                         bool blank_line, struct buf *out)
{
    struct bytes name, value, field, run = {0};
    size_t pos = 0;

    while (mime_header_next(block, &pos, &name, &value, &field)) {
        if (is_among(name, names, names_n) == complement)
            continue;
        if (run.n && run.p + run.n == field.p) {
            run.n += field.n;
            continue;
        }
        put_run(run, out);
        run = field;
    }
    put_run(run, out);
    /* The last field of a block that just ends has no line end of its own. */
    if (run.n && run.p[run.n - 1] != '\n' && blank_line)
        buf_append_str(out, "\r\n");
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

bool query_fields_were_seen(const struct mds_item *row)
{
    return !(row->defects & MIME_DEFECT(HEADER_TOO_LONG));
}

bool query_fields_are_kept(const struct mdsq_bytes *names, size_t names_n, const char *const *kept)
{
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

/*
 * Bodies: the bytes of a section as a client sees them.
 *
 * Up to QUERY_SMALL_ITEM_BYTES (and header subsets, and decoded parts) they are made once, in memory. Larger ones are
 * converted on the way, 64 KiB of stored bytes at a time; the item's sparse map finds the place to begin after a jump.
 */
#include "section.h"

#include <glib.h>

struct mdsq_body {
    uint64_t size; /* client bytes */
    struct buf memory;
    bool in_memory;
    /* streaming */
    struct mdsq_archive *archive; /* keeps the vault's registry alive */
    struct query_item item;
    struct query_range range;
    struct mime_crlf_map map;
    bool has_base_lone;
    uint64_t base_lone;   /* lone LFs of the item before the range */
    uint64_t next_stored; /* where reading goes on; of the item */
    uint64_t next_client; /* the same place as a client offset */
    bool last_cr;
    struct buf window; /* client bytes [window_off, next_client) */
    uint64_t window_off;
};

/* ---- conversion -------------------------------------------------------------------------- */

/* mime_crlf_convert, but NUL stays. */
static void convert_binary(struct bytes in, bool *last_cr, struct buf *out)
{
    for (size_t at = 0; at < in.n;) {
        const uint8_t *lf = memchr(in.p + at, '\n', in.n - at);
        const size_t end = lf ? (size_t)(lf - in.p) : in.n;

        buf_append(out, in.p + at, end - at);
        if (end > at)
            *last_cr = in.p[end - 1] == '\r';
        if (lf == NULL)
            return;
        if (!*last_cr)
            buf_append_byte(out, '\r');
        buf_append_byte(out, '\n');
        *last_cr = false;
        at = end + 1;
    }
}

static void convert(enum query_section_form form, struct bytes in, bool *last_cr, struct buf *out)
{
    if (form == QUERY_FORM_STORED)
        buf_append_bytes(out, in);
    else if (form == QUERY_FORM_BINARY)
        convert_binary(in, last_cr, out);
    else
        mime_crlf_convert(in, last_cr, out);
}

/* ---- opening ------------------------------------------------------------------------------- */

static int open_in_memory(struct mdsq_body *body, struct query_item *item, const struct query_range *range,
                          const struct mdsq_section *section, struct error *err)
{
    struct buf raw = {0};
    bool last_cr = false;
    int rc = query_item_read(item, range->off, buf_reserve(&raw, (size_t)range->len), (size_t)range->len, err);

    if (rc < 0)
        goto out;
    raw.n = (size_t)range->len;
    switch (range->form) {
    case QUERY_FORM_FIELDS:
        query_fields_subset(buf_bytes(&raw), section->fields, section->fields_n,
                            section->kind == MDSQ_SECTION_HEADER_FIELDS_NOT,
                            query_block_ends_blank(buf_bytes(&raw)) || !range->body_is_empty, &body->memory);
        break;
    case QUERY_FORM_DECODE: mime_decode_transfer(buf_bytes(&raw), range->encoding, &body->memory); break;
    case QUERY_FORM_CLIENT:
    case QUERY_FORM_BINARY:
    case QUERY_FORM_STORED: convert(range->form, buf_bytes(&raw), &last_cr, &body->memory); break;
    }
    body->in_memory = true;
    body->size = body->memory.n;
out:
    buf_release(&raw);
    return rc;
}

static int open_section(struct mdsq_reader *reader, uint64_t item_id, const struct mdsq_section *section,
                        struct mdsq_body *body, struct error *err)
{
    struct query_item *item = &body->item;
    struct query_range range;
    struct mds_words *words = NULL;
    int rc = query_reader_words(reader, &words, err);

    if (rc >= 0)
        rc = query_section_from_kept(words, item_id, section, query_section_names_kept(reader, section), &body->memory,
                                     err);
    if (rc != 0) {
        body->in_memory = true;
        body->size = body->memory.n;
        return rc < 0 ? rc : BASE_OK;
    }
    rc = query_item_load(reader, item_id, item, err);
    if (rc >= 0)
        rc = query_section_resolve(item, section, &range, err);
    if (rc >= 0)
        rc = query_item_open_bytes(reader, item, err);
    if (rc < 0)
        return rc;
    if (item->is_whole || range.len <= QUERY_SMALL_ITEM_BYTES || range.form == QUERY_FORM_FIELDS ||
        range.form == QUERY_FORM_DECODE)
        return open_in_memory(body, item, &range, section, err);
    body->range = range;
    body->size = range.len_crlf;
    body->next_stored = range.off;
    return mime_crlf_map_decode(item->row.crlf_map, item->row.size, &body->map, err);
}

int mdsq_body_open(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid,
                   const struct mdsq_section *section, struct mdsq_body **out, struct mdsq_error *err)
{
    struct error e;
    struct mds_message m;
    int rc;

    query_error_init(&e);
    *out = NULL;
    rc = mds_message_get(reader->txn, view->folder, uid, &m, &e);
    if (rc == BASE_ERR_NOTFOUND) /* NOTFOUND means "no such section" here */
        rc = error_set(&e, BASE_ERR_GONE, 0, "it was expunged");
    if (rc < 0)
        goto out;

    struct mdsq_body *body = g_new0(struct mdsq_body, 1);

    body->archive = query_archive_ref(reader->archive);
    rc = open_section(reader, m.item, section, body, &e);
    if (rc >= 0 && body->in_memory) /* a fetch of many small ones holds no file */
        query_item_release(&body->item);
    if (rc < 0)
        mdsq_body_close(&body);
    else
        *out = body;
out:
    if (rc < 0)
        error_context(&e, "message %u", uid);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

void mdsq_body_close(struct mdsq_body **body)
{
    struct mdsq_body *b = *body;

    *body = NULL;
    if (b == NULL)
        return;
    query_item_release(&b->item);
    mime_crlf_map_release(&b->map);
    buf_release(&b->memory);
    buf_release(&b->window);
    mdsq_archive_close(&b->archive);
    g_free(b);
}

uint64_t mdsq_body_size(const struct mdsq_body *body)
{
    return body->size;
}

/* ---- streaming ------------------------------------------------------------------------------ */

static int byte_before(struct mdsq_body *b, uint64_t stored, bool *is_cr, struct error *err)
{
    uint8_t c = 0;
    const int rc = stored ? query_item_read(&b->item, stored - 1, &c, 1, err) : BASE_OK;

    *is_cr = c == '\r';
    return rc;
}

/* Lone LFs before the range: the map up to the last step, the rest is counted once. */
static int find_base_lone(struct mdsq_body *b, struct error *err)
{
    const uint64_t step = b->range.off / MIME_CRLF_STEP;
    const size_t n = (size_t)(b->range.off % MIME_CRLF_STEP);
    uint8_t *raw = NULL;
    bool last_cr = false;
    int rc = BASE_OK;

    if (b->has_base_lone)
        return BASE_OK;
    if (step >= b->map.n)
        return error_set(err, BASE_ERR_CORRUPT, 0, "the line end map is too short");
    raw = g_malloc(n + 1);
    rc = byte_before(b, step * MIME_CRLF_STEP, &last_cr, err);
    if (rc >= 0)
        rc = query_item_read(&b->item, step * MIME_CRLF_STEP, raw, n, err);
    if (rc >= 0) {
        b->base_lone = b->map.lone[step] + mime_crlf_count_lone(bytes_of(raw, n), &last_cr);
        b->has_base_lone = true;
    }
    g_free(raw);
    return rc;
}

static int seek_to(struct mdsq_body *b, uint64_t client_off, struct error *err)
{
    uint64_t stored = b->range.off, client = 0;
    int rc = BASE_OK;

    if (b->range.len == b->range.len_crlf) { /* no lone LF: one to one */
        client = client_off;
        stored = b->range.off + client_off;
    } else if (b->map.n) {
        rc = find_base_lone(b, err);
        if (rc < 0)
            return rc;
        mime_crlf_seek(&b->map, b->range.off, b->base_lone, client_off, &stored, &client);
    }
    b->next_stored = stored;
    b->next_client = client;
    b->window_off = client;
    buf_reset(&b->window);
    b->last_cr = false;
    return stored > b->range.off ? byte_before(b, stored, &b->last_cr, err) : BASE_OK;
}

static int fill_window(struct mdsq_body *b, struct error *err)
{
    uint8_t *raw = NULL;
    const uint64_t end = b->range.off + b->range.len;
    const uint64_t left = b->next_stored < end ? end - b->next_stored : 0;
    const size_t n = left < MIME_CRLF_STEP ? (size_t)left : MIME_CRLF_STEP;
    int rc;

    if (n == 0)
        return error_set(err, BASE_ERR_GONE, 0, "the item is shorter than it was");
    raw = g_malloc(n);
    rc = query_item_read(&b->item, b->next_stored, raw, n, err);
    if (rc >= 0) {
        buf_reset(&b->window);
        b->window_off = b->next_client;
        convert(b->range.form, bytes_of(raw, n), &b->last_cr, &b->window);
        b->next_stored += n;
        b->next_client += b->window.n;
        /* What was announced is what comes; bytes that make it longer are not those that were indexed. */
        if (b->next_client > b->size || (b->next_stored == end && b->next_client != b->size))
            rc = error_set(err, BASE_ERR_GONE, 0, "the item changed in its vault since it was indexed");
    }
    g_free(raw);
    return rc;
}

static int read_stream(struct mdsq_body *b, uint64_t off, uint8_t *dst, size_t n, size_t *got, struct error *err)
{
    int rc = BASE_OK;

    while (n > 0 && off < b->size) {
        if (off >= b->window_off && off < b->next_client) {
            const struct bytes part = bytes_slice(buf_bytes(&b->window), (size_t)(off - b->window_off), n);

            memcpy(dst, part.p, part.n);
            dst += part.n;
            off += part.n;
            n -= part.n;
            *got += part.n;
            continue;
        }
        /* Within a step of the place where reading stands, going on is as cheap as a jump. */
        if (off < b->next_client || off - b->next_client > MIME_CRLF_STEP)
            rc = seek_to(b, off, err);
        if (rc >= 0)
            rc = fill_window(b, err);
        while (rc >= 0 && b->next_client <= off)
            rc = fill_window(b, err);
        if (rc < 0)
            return rc;
    }
    return BASE_OK;
}

int mdsq_body_read(struct mdsq_body *body, uint64_t off, void *dst, size_t n, size_t *got_out, struct mdsq_error *err)
{
    struct error e;

    *got_out = 0;
    if (body->in_memory) {
        const struct bytes part =
            off < body->size ? bytes_slice(buf_bytes(&body->memory), (size_t)off, n) : (struct bytes){0};

        if (part.n)
            memcpy(dst, part.p, part.n);
        *got_out = part.n;
        return MDSQ_OK;
    }
    query_error_init(&e);
    return query_result(read_stream(body, off, dst, n, got_out, &e), &e, err);
}

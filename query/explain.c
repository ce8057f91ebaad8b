/* One message laid out for a person: `mds explain`. */
#include "query_private.h"

#include <glib.h>

#define FILED_MAX 20 /* filings listed */

struct explain {
    struct mdsq_reader *reader;
    struct buf out;
};

static void put_label(struct buf *out, const char *label)
{
    buf_printf(out, "%-11s", label);
}

/* Outside text on one line: control bytes as \xHH. */
static void put_text(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < 0x20 || text.p[i] == 0x7f)
            buf_printf(out, "\\x%02x", text.p[i]);
        else
            buf_append_byte(out, text.p[i]);
    }
}

/* 1234567 as 1,234,567 */
static void put_number(struct buf *out, uint64_t v)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);

    for (int i = 0; i < n; i++) {
        buf_append_byte(out, (uint8_t)digits[i]);
        if ((n - 1 - i) % 3 == 0 && i + 1 < n)
            buf_append_byte(out, ',');
    }
}

static int put_folder(struct explain *x, uint32_t folder, struct error *err)
{
    struct buf name = {0}, shown = {0};
    const int rc = mds_folder_full_name(x->reader->txn, folder, &name, err);

    if (rc >= 0) {
        query_name_show(buf_bytes(&name), &shown);
        put_text(&x->out, buf_bytes(&shown));
    }
    buf_release(&name);
    buf_release(&shown);
    return rc;
}

static void put_row(struct buf *out, const struct mdsq_message *m)
{
    put_label(out, "Flags");
    put_text(out, bytes_of_query(m->flags));
    buf_printf(out, "\n%-11s%s\n", "Received", m->internal_date);
    buf_printf(out, "%-11s%llu\n", "Modseq", (unsigned long long)m->modseq);
    buf_printf(out, "%-11sEMAILID %s  THREADID %s\n", "Ids", m->email_id, m->thread_id);
}

static void put_item(struct buf *out, const struct mds_item *item)
{
    char date[27];

    put_label(out, "Item");
    buf_printf(out, "%llu, XXH3-128 ", (unsigned long long)item->id);
    for (size_t i = 0; i < HASH128_BYTES; i++)
        buf_printf(out, "%02x", item->hash.b[i]);
    buf_append_byte(out, '\n');
    put_label(out, "Size");
    put_number(out, item->size);
    buf_append_str(out, " bytes stored, ");
    put_number(out, item->size_crlf);
    buf_append_str(out, " for a client");
    if (item->size_crlf > item->size) {
        buf_append_str(out, " (");
        put_number(out, item->size_crlf - item->size);
        buf_append_str(out, " line ends gain a CR)");
    }
    buf_append_byte(out, '\n');
    if (item->has_sent_date) {
        query_date_format(item->sent_date, item->sent_zone, date);
        buf_printf(out, "%-11s%s\n", "Sent", date);
    }
}

static int put_locator(struct explain *x, const struct query_item *item, struct error *err)
{
    const struct mds_locator *l = &item->row.locator;
    struct bytes source;
    const int rc = mds_source_name(x->reader->txn, l->source, &source, err);

    if (rc < 0)
        return rc;
    put_label(&x->out, "Vault");
    put_text(&x->out, source);
    buf_printf(&x->out, "\n%-11scontainer \"", "");
    put_text(&x->out, buf_bytes(&item->container));
    buf_append_byte(&x->out, '"');
    if (l->name.n) {
        buf_append_str(&x->out, ", file \"");
        put_text(&x->out, l->name);
        buf_append_byte(&x->out, '"');
    }
    if (l->length || l->offset) {
        buf_append_str(&x->out, ", at ");
        put_number(&x->out, l->offset);
        buf_append_str(&x->out, ", ");
        put_number(&x->out, l->length);
        buf_append_str(&x->out, " raw bytes");
    }
    if (l->filter & VAULT_FILTER_STRIP)
        buf_append_str(&x->out, ", without the mbox writer's fields");
    if (l->filter & VAULT_FILTER_UNQUOTE)
        buf_append_str(&x->out, ", \">From \" unquoted");
    buf_append_byte(&x->out, '\n');
    return BASE_OK;
}

static int put_filed(struct explain *x, const struct mds_item *item, struct error *err)
{
    uint64_t pos = 0;
    uint32_t folder, uid;
    unsigned n = 0;
    int rc, result = BASE_OK;

    put_label(&x->out, "Filed");
    while ((rc = mds_item_messages(x->reader->txn, item->id, &pos, &folder, &uid, err)) > 0 && n < FILED_MAX) {
        buf_append_str(&x->out, n++ ? ", " : "");
        result = put_folder(x, folder, err);
        if (result < 0)
            return result;
        buf_printf(&x->out, " %u", uid);
    }
    if (rc > 0)
        buf_printf(&x->out, " and %u more", item->refs > FILED_MAX ? item->refs - FILED_MAX : 0);
    buf_append_byte(&x->out, '\n');
    return rc < 0 ? rc : BASE_OK;
}

static void put_defects(struct buf *out, uint64_t defects)
{
    bool any = false;

    for (const struct mime_defect_info *d = mime_defect_infos; d->key; d++) {
        if (defects & UINT64_C(1) << d->bit) {
            buf_printf(out, "%-11s%-22s %s\n", any ? "" : "Defects", d->key, d->text);
            any = true;
        }
    }
    if (!any)
        buf_printf(out, "%-11s%s\n", "Defects", "none");
}

/* ---- structure ------------------------------------------------------------------------------- */

static const char *kind_name(const struct mime_part *p)
{
    static const char *const names[] = {"leaf", "text", "multipart", "message", "message root"};

    return p->kind < G_N_ELEMENTS(names) ? names[p->kind] : "?";
}

static const char *encoding_name(uint8_t e)
{
    static const char *const names[] = {"7bit", "8bit", "binary", "base64", "quoted-printable", "uuencode", "unknown"};

    return e < G_N_ELEMENTS(names) ? names[e] : "?";
}

static void put_range(struct buf *out, uint64_t off, uint64_t len)
{
    char text[48];

    (void)snprintf(text, sizeof text, "%llu+%llu", (unsigned long long)off, (unsigned long long)len);
    buf_printf(out, "  %-19s", text);
}

static void put_part(struct buf *out, const struct mime_part *p, const char *section, unsigned depth)
{
    const uint8_t what = p->kind == MIME_PART_MESSAGE_ROOT ? p->root_kind : p->kind;

    buf_printf(out, "  %*s%-*s %-12s", (int)(depth < 8 ? depth * 2 : 16), "", depth < 8 ? 18 - (int)depth * 2 : 2, section,
               kind_name(p));
    put_range(out, p->header_off, p->header_len);
    put_range(out, p->body_off, p->body_len);
    buf_printf(out, "  %10llu %7llu", (unsigned long long)p->body_crlf, (unsigned long long)p->lines);
    if (what == MIME_PART_LEAF || what == MIME_PART_TEXT) {
        buf_printf(out, "  %10llu  %s", (unsigned long long)p->decoded_len, encoding_name(p->encoding));
        if (p->charset.n) {
            buf_append_byte(out, ' ');
            put_text(out, p->charset);
        }
    }
    buf_append_byte(out, '\n');
}

/*
 * Section numbers (RFC 3501 6.4.5): children of a multipart are counted; a nested message goes by its part's number; a message
 * that is no multipart has its body as part 1.
 */
static char *section_of(const struct mime_parts *parts, char *const *sections, const uint32_t *ordinals, uint32_t i)
{
    const struct mime_part *p = &parts->v[i];
    const char *above;

    if (i == 0)
        return g_strdup("");
    above = sections[p->parent];
    if (p->kind == MIME_PART_MESSAGE_ROOT)
        return g_strdup(above);
    if (parts->v[p->parent].kind == MIME_PART_MESSAGE_ROOT && parts->v[p->parent].root_kind != MIME_PART_MULTIPART)
        return g_strdup_printf("%s%s1", above, above[0] ? "." : "");
    return g_strdup_printf("%s%s%u", above, above[0] ? "." : "", ordinals[i]);
}

static void put_structure(struct buf *out, const struct mime_parts *parts)
{
    char **sections = g_new0(char *, parts->n + 1);
    uint32_t *ordinals = g_new0(uint32_t, parts->n + 1); /* among its parent's children */
    uint32_t *seen = g_new0(uint32_t, parts->n + 1);     /* children counted so far */
    unsigned *depths = g_new0(unsigned, parts->n + 1);

    buf_printf(out, "Structure, offsets and lengths in stored bytes\n  %-18s %-12s  %-19s  %-19s  %10s %7s  %10s  %s\n", "section",
               "kind", "header", "body", "client", "lines", "decoded", "encoding");
    for (uint32_t i = 0; i < parts->n; i++) {
        const struct mime_part *p = &parts->v[i];
        char *label;

        if (i) {
            ordinals[i] = ++seen[p->parent];
            depths[i] = depths[p->parent] + 1;
        }
        sections[i] = section_of(parts, sections, ordinals, i);
        label = i == 0 && p->root_kind != MIME_PART_MULTIPART && parts->n == 1 ? g_strdup("1 (whole)")
                : i == 0                                                      ? g_strdup("(whole)")
                                                                              : g_strdup(sections[i]);
        put_part(out, p, label, depths[i]);
        g_free(label);
    }
    g_strfreev(sections); /* parts->n + 1 entries, the last NULL */
    g_free(ordinals);
    g_free(seen);
    g_free(depths);
}

/* ---- all of it --------------------------------------------------------------------------------- */

static void put_wire(struct buf *out, const char *label, struct mdsq_bytes text)
{
    buf_printf(out, "%s\n  ", label);
    put_text(out, bytes_of_query(text));
    buf_append_byte(out, '\n');
}

static int explain(struct explain *x, const struct mdsq_view *view, const struct mdsq_message *m, struct error *err)
{
    struct mds_message row;
    struct query_item item = {0};
    struct buf *out = &x->out;
    int rc = mds_message_get(x->reader->txn, view->folder, m->uid, &row, err);

    if (rc >= 0)
        rc = query_item_load(x->reader, row.item, &item, err);
    if (rc < 0)
        return rc;
    put_label(out, "Message");
    buf_printf(out, "UID %u, number %u, in ", m->uid, m->seq);
    rc = put_folder(x, view->folder, err);
    buf_append_byte(out, '\n');
    put_row(out, m);
    put_item(out, &item.row);
    if (rc >= 0)
        rc = put_locator(x, &item, err);
    if (rc >= 0)
        rc = put_filed(x, &item.row, err);
    put_defects(out, item.row.defects);
    buf_printf(out, "%-11s%zu bytes of the header in the store%s\n", "Kept", m->headers.n,
               m->headers_complete ? ", the whole" : "");
    put_structure(out, &item.parts);
    put_wire(out, "Envelope", m->envelope);
    put_wire(out, "Bodystructure", m->bodystructure);
    query_item_release(&item);
    return rc;
}

int mdsq_explain(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid, char **text_out,
                 struct mdsq_error *err)
{
    const unsigned attrs = MDSQ_FETCH_FLAGS | MDSQ_FETCH_INTERNALDATE | MDSQ_FETCH_ENVELOPE |
                           MDSQ_FETCH_BODYSTRUCTURE | MDSQ_FETCH_HEADERS | MDSQ_FETCH_IDS;
    struct explain x = {.reader = reader};
    struct error e;
    struct mdsq_set *set;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    int rc;

    query_error_init(&e);
    *text_out = NULL;
    set = query_set_take(roaring_bitmap_from_range(uid, (uint64_t)uid + 1, 1));
    rc = mdsq_fetch_new(reader, view, set, attrs, &fetch, err);
    if (rc >= 0)
        rc = mdsq_fetch_next(fetch, &m, err);
    if (rc < 0)
        goto out; /* *err is filled */
    if (rc == 0 || m.gone)
        rc = error_set(&e, BASE_ERR_NOTFOUND, 0, "the folder has no message with UID %u", uid);
    else
        rc = explain(&x, view, &m, &e);
    if (rc >= 0) {
        buf_append_byte(&x.out, 0);
        *text_out = malloc(x.out.n); /* the caller frees with free() */
        if (*text_out == NULL)
            rc = error_set(&e, BASE_ERR_NOMEM, 0, "no memory for a text of %zu bytes", x.out.n);
        else
            memcpy(*text_out, x.out.p, x.out.n);
    }
    (void)query_result(rc, &e, err);
out:
    mdsq_fetch_free(&fetch);
    mdsq_set_free(&set);
    buf_release(&x.out);
    return rc < 0 ? rc : MDSQ_OK;
}

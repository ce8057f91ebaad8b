/*
 * gmime_tree: the entities of an item from GMime's object tree, for
 * MIME_PARSER_GMIME.
 *
 * GMime says which parts there are, which fields stand in them and where the
 * contents of leaves lie. What it does not say follows from that: a header
 * begins with its first field and ends with its last one and the empty line; a
 * part ends before the boundary line that stands before the next part, the
 * last one before the closing line, which is looked for behind GMime's last
 * offset; what is not closed ends with what it stands in.
 *
 * mime_scan has run before. It says what GMime must not see (GUARD, and
 * addresses_are_safe) and gives the defect bits. Wherever GMime's tree does not
 * fit the bytes (it drops empty parts, measures the line end before a boundary
 * by the boundary's own, cuts values at NULs) the item is left to the scanner.
 *
 * Recursion goes as deep as the scan nested: max_depth.
 */
#include "mime_private.h"

#include <gmime/gmime.h>

/* GMime has no tree for these, or one of its own taste. */
#define GUARD                                                                                                          \
    (MIME_DEFECT(EMPTY) | MIME_DEFECT(NO_HEADER) | MIME_DEFECT(HEADER_TOO_LONG) | MIME_DEFECT(TOO_DEEP) |              \
     MIME_DEFECT(TOO_MANY_PARTS) | MIME_DEFECT(BAD_CONTENT_TYPE) | MIME_DEFECT(EMPTY_MULTIPART))
#define ITEM_MAX ((size_t)2 << 30)
/* Bytes of an item's address fields: GMime takes 30 ms for the worst of them. */
#define ADDRESS_MAX ((size_t)16 << 10)

struct walk {
    struct scan *s;
    const char *why; /* the first reason that makes it the scanner's item */
};

/* False, from then on, if `good` never was. */
static bool require(struct walk *w, bool good, const char *why)
{
    if (!good && !w->why)
        w->why = why;
    return !w->why;
}

/* ---- what GMime must not see ---- */

/* GMime gives a wrong place to the field behind an mbox From line, so it does not see such lines. */
static size_t from_lines(struct bytes item)
{
    size_t off = 0, colon;
    while (mime_is_mbox_from(bytes_slice(item, off, SIZE_MAX)) &&
           !mime_is_field_line(bytes_slice(item, off, SIZE_MAX), &colon)) { /* "From :x" is one */
        const uint8_t *lf = memchr(item.p + off, '\n', item.n - off);
        off = lf ? (size_t)(lf - item.p) + 1 : item.n;
    }
    return off;
}

static bool is_address_field(enum mime_field id)
{
    return id >= FIELD_FROM && id <= FIELD_BCC;
}

/* GMime reads the addresses while it parses: nested groups recurse there, "a b, c d" is quadratic, errors leak. */
static bool addresses_are_safe(struct scan *s)
{
    struct mime_addresses list = {0};
    struct buf scratch = {0};
    size_t total = 0;
    bool safe = true;
    for (uint32_t i = 0; i < s->n && safe; i++) {
        const struct mime_part *part = &s->v[i].part;
        if (part->kind != MIME_PART_MESSAGE_ROOT)
            continue;
        const struct bytes header = bytes_slice(s->item, (size_t)part->header_off, (size_t)part->header_len);
        struct bytes name, raw, whole;
        size_t pos = 0;
        while (safe && mime_header_next(header, &pos, &name, &raw, &whole)) {
            if (!is_address_field(mime_field_of(name)))
                continue;
            total += raw.n;
            safe = total <= ADDRESS_MAX;
            if (safe)
                mime_addresses_parse(&list, mime_unfold(raw, &scratch), UINT32_MAX);
            safe = safe && !list.bad;
        }
    }
    mime_addresses_release(&list);
    buf_release(&scratch);
    return safe;
}

/* ---- fields ---- */

static size_t eol_before(struct bytes item, uint64_t off)
{
    if (off == 0 || item.p[off - 1] != '\n')
        return 0;
    return off > 1 && item.p[off - 2] == '\r' ? 2 : 1;
}

/* The empty line at `off`, or 0. */
static size_t empty_line(struct bytes item, uint64_t off)
{
    if (off < item.n && item.p[off] == '\n')
        return 1;
    return item.n - off >= 2 && item.p[off] == '\r' && item.p[off + 1] == '\n' ? 2 : 0;
}

static int64_t first_offset(GMimeObject *o)
{
    GMimeHeaderList *list = o ? g_mime_object_get_header_list(o) : NULL;
    const int n = list ? g_mime_header_list_get_count(list) : 0;
    for (int i = 0; i < n; i++) {
        const int64_t off = g_mime_header_get_offset(g_mime_header_list_get_header_at(list, i));
        if (off >= 0)
            return off;
    }
    return -1;
}

/* A message's fields stand in two lists: Content-* in its part's. */
static int64_t message_offset(GMimeMessage *m)
{
    const int64_t a = first_offset(GMIME_OBJECT(m)), b = first_offset(g_mime_message_get_mime_part(m));
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* One of GMime's fields as it stands in the item; adds it to `e`. */
static void field_take(struct walk *w, struct entity *e, GMimeHeader *h)
{
    const struct bytes item = w->s->item;
    const struct bytes raw_name = bytes_str(g_mime_header_get_raw_name(h));
    const struct bytes value = bytes_str(g_mime_header_get_raw_value(h));
    const uint64_t off = (uint64_t)g_mime_header_get_offset(h);
    const struct bytes whole = bytes_slice(item, (size_t)off, raw_name.n + 1 + value.n);
    if (whole.n != raw_name.n + 1 + value.n || !bytes_equal(bytes_slice(whole, 0, raw_name.n), raw_name) ||
        whole.p[raw_name.n] != ':' || !bytes_equal(bytes_slice(whole, raw_name.n + 1, SIZE_MAX), value) ||
        (whole.p[whole.n - 1] != '\n' && off + whole.n != item.n)) {
        require(w, false, "a field is not where GMime says");
        return;
    }
    struct bytes name = raw_name, raw = bytes_slice(whole, raw_name.n + 1, SIZE_MAX);
    while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
        name.n--;
    name.p = whole.p;
    raw.n -= eol_before(item, off + whole.n);
    const enum mime_field id = mime_field_of(name);
    if (id < FIELD_COUNT && !e->field[id].p)
        e->field[id] = raw;
    if (e == w->s->v && w->s->on_field)
        w->s->on_field(w->s->arg, id, name, raw, whole);
    e->part.header_len = off + whole.n - e->part.header_off;
}

/* The fields of one list or two, by offset; then the empty line. */
static void header_take(struct walk *w, struct entity *e, GMimeObject *first, GMimeObject *second)
{
    GMimeHeaderList *list[2] = {g_mime_object_get_header_list(first),
                                second ? g_mime_object_get_header_list(second) : NULL};
    int i[2] = {0, 0};
    while (!w->why) {
        GMimeHeader *h[2] = {NULL, NULL};
        for (int k = 0; k < 2; k++) {
            while (list[k] && i[k] < g_mime_header_list_get_count(list[k]) && !h[k]) {
                h[k] = g_mime_header_list_get_header_at(list[k], i[k]);
                if (g_mime_header_get_offset(h[k]) < 0) { /* GMime's own, not the item's */
                    h[k] = NULL;
                    i[k]++;
                }
            }
        }
        if (!h[0] && !h[1])
            break;
        const int k = !h[0] || (h[1] && g_mime_header_get_offset(h[1]) < g_mime_header_get_offset(h[0]));
        field_take(w, e, h[k]);
        i[k]++;
    }
    struct mime_part *part = &e->part;
    part->header_len += empty_line(w->s->item, part->header_off + part->header_len);
    part->body_off = part->header_off + part->header_len;
}

/* ---- what a body is ---- */

static uint8_t encoding_of(struct bytes raw)
{
    char text[64] = "";
    const struct bytes v = mime_trim(raw);
    memcpy(text, v.p ? v.p : (const uint8_t *)"", v.n < sizeof(text) ? v.n : 0);
    bool known;
    const uint8_t ours = (uint8_t)mime_encoding_of(raw, &known);
    if (!known)
        return ours; /* to GMime "7-bit" is one */
    switch (g_mime_content_encoding_from_string(text)) {
    case GMIME_CONTENT_ENCODING_7BIT: return MIME_ENCODING_7BIT;
    case GMIME_CONTENT_ENCODING_8BIT: return MIME_ENCODING_8BIT;
    case GMIME_CONTENT_ENCODING_BINARY: return MIME_ENCODING_BINARY;
    case GMIME_CONTENT_ENCODING_BASE64: return MIME_ENCODING_BASE64;
    case GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE: return MIME_ENCODING_QP;
    case GMIME_CONTENT_ENCODING_UUENCODE: return MIME_ENCODING_UUENCODE;
    default: return ours; /* empty, or with a comment */
    }
}

static struct bytes keep_string(struct scan *s, const char *text)
{
    return text ? arena_dup(s->strings, bytes_str(text)) : (struct bytes){0};
}

/* Media type, encoding, charset; the kind of the body. */
static uint8_t body_decide(struct walk *w, struct entity *e, GMimeObject *o)
{
    struct mime_part *part = &e->part;
    GMimeContentType *type = g_mime_object_get_content_type(o);
    if (e->field[FIELD_ENCODING].p)
        part->encoding = encoding_of(e->field[FIELD_ENCODING]);
    const bool encoded = part->encoding == MIME_ENCODING_BASE64 || part->encoding == MIME_ENCODING_QP ||
                         part->encoding == MIME_ENCODING_UUENCODE;
    const struct bytes major = keep_string(w->s, g_mime_content_type_get_media_type(type)),
                       minor = keep_string(w->s, g_mime_content_type_get_media_subtype(type));
    e->media = (struct mime_media){.type = major, .subtype = minor};
    if (e->field[FIELD_CONTENT_TYPE].p)
        mime_gmime_media(w->s, e->field[FIELD_CONTENT_TYPE], &e->media);
    /* of two fields GMime takes now the first, now the last */
    require(w,
            bytes_equal_nocase(e->media.type, major) && bytes_equal_nocase(e->media.subtype, minor) &&
                bytes_equal_nocase(major, BYTES_LIT("multipart")) == GMIME_IS_MULTIPART(o),
            "GMime takes another type");
    if (e->field[FIELD_DISPOSITION].p)
        e->field[FIELD_DISPOSITION] = mime_gmime_disposition(w->s, e->field[FIELD_DISPOSITION]);
    if (GMIME_IS_MULTIPART(o)) {
        if (g_mime_content_type_get_parameter(type, "boundary")) {
            part->encoding = encoded ? MIME_ENCODING_7BIT : part->encoding;
            return MIME_PART_MULTIPART;
        }
        require(w, w->s->defects & MIME_DEFECT(BAD_BOUNDARY), "GMime does not see the boundary parameter");
        e->shown = SHOWN_AS_TEXT;
        return MIME_PART_TEXT;
    }
    if (g_mime_content_type_is_type(type, "message", "rfc822")) {
        if (GMIME_IS_MESSAGE_PART(o))
            return MIME_PART_MESSAGE;
        e->shown = SHOWN_AS_OCTETS;
        return MIME_PART_LEAF;
    }
    if (!g_mime_content_type_is_type(type, "text", "*"))
        return MIME_PART_LEAF;
    part->charset = bytes_slice(mime_trim(mime_scan_param(w->s, e->media.params, BYTES_LIT("charset"))), 0, 64);
    return MIME_PART_TEXT;
}

/* ---- where bodies end ---- */

static struct bytes without_blanks(struct bytes v)
{
    while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t' || v.p[v.n - 1] == '\r'))
        v.n--;
    return v;
}

struct delimiter {
    uint64_t off, next; /* its line; the one after it */
    bool closing;
};

/* The first delimiter line of a multipart at or after `off`. */
static bool delimiter_after(struct bytes item, uint64_t off, struct bytes boundary, struct delimiter *out)
{
    while (off < item.n) {
        const uint8_t *lf = memchr(item.p + off, '\n', item.n - (size_t)off);
        const uint64_t end = lf ? (uint64_t)(lf - item.p) : item.n;
        const struct bytes line = without_blanks(bytes_slice(item, (size_t)off, (size_t)(end - off)));
        if (line.n >= boundary.n + 2 && memcmp(line.p, "--", 2) == 0 &&
            memcmp(line.p + 2, boundary.p, boundary.n) == 0) {
            const size_t rest = line.n - boundary.n - 2;
            *out = (struct delimiter){off, lf ? end + 1 : end, rest != 0};
            if (rest == 0 || (rest == 2 && memcmp(line.p + line.n - 2, "--", 2) == 0))
                return true;
        }
        off = end + 1;
    }
    return false;
}

/* Ends entity `index`, which is complete but for that, and what is open in it. */
static void end_set(struct walk *w, uint32_t index, uint64_t end, bool outermost)
{
    struct mime_part *part = &w->s->v[index].part;
    const uint8_t kind = part->kind == MIME_PART_MESSAGE_ROOT ? part->root_kind : part->kind;
    if (outermost && end < part->body_off)
        end = part->body_off;
    const bool clipped = part->body_off > end;
    if (clipped) { /* the line end before the boundary is also that of a header without a body */
        part->body_off = end;
        part->header_off = part->header_off < end ? part->header_off : end;
        part->header_len = end - part->header_off;
    }
    const uint64_t len = end - part->body_off;
    if (kind == MIME_PART_MESSAGE) {
        end_set(w, index + 1, end, false);
    } else if (kind == MIME_PART_MULTIPART) {
        uint32_t last = index + 1;
        while (w->s->v[last].part.next < part->next)
            last = w->s->v[last].part.next;
        if (part->body_len == UINT64_MAX) /* not closed */
            end_set(w, last, end, true);
    } else if (part->body_len != UINT64_MAX && !clipped) {
        require(w, part->body_len == len, "GMime's part ends elsewhere");
    }
    part->body_len = len;
}

/* ---- the tree ---- */

static uint64_t entity_take(struct walk *w, uint32_t parent, uint64_t off, GMimeObject *o, GMimeMessage *m,
                            bool digest);

/* Where a part's header begins, -1 if GMime does not say. */
static int64_t begin_of(struct bytes item, GMimeObject *o)
{
    int64_t off = first_offset(o);
    if (off >= 0)
        return off;
    if (GMIME_IS_MESSAGE_PART(o) && g_mime_message_part_get_message(GMIME_MESSAGE_PART(o))) {
        off = message_offset(g_mime_message_part_get_message(GMIME_MESSAGE_PART(o)));
    } else if (GMIME_IS_PART(o) && g_mime_part_get_content(GMIME_PART(o))) {
        off = g_mime_data_wrapper_get_stream(g_mime_part_get_content(GMIME_PART(o)))->bound_start;
    }
    return off <= 0 ? -1 : off - (int64_t)eol_before(item, (uint64_t)off);
}

/* The parts of a multipart. Returns what stands behind GMime's last offset in it. */
static uint64_t parts_take(struct walk *w, uint32_t index, GMimeMultipart *m)
{
    const struct bytes item = w->s->item;
    const char *text = g_mime_object_get_content_type_parameter(GMIME_OBJECT(m), "boundary");
    const struct bytes boundary = without_blanks(bytes_str(text ? text : ""));
    const bool digest = g_mime_content_type_is_type(g_mime_object_get_content_type(GMIME_OBJECT(m)), "*", "digest");
    const int n = g_mime_multipart_get_count(m);
    uint64_t stop = w->s->v[index].part.body_off;
    struct delimiter d;
    uint32_t child = 0;
    require(w, n > 0 && boundary.n != 0, "GMime has no parts");
    for (int i = 0; i < n && !w->why; i++) {
        GMimeObject *o = g_mime_multipart_get_part(m, i);
        const int64_t off = begin_of(item, o);
        if (!require(w, delimiter_after(item, stop, boundary, &d) && !d.closing && off >= 0 && d.next == (uint64_t)off,
                     "a part is not behind its boundary line"))
            break;
        if (i > 0)
            end_set(w, child, d.off - eol_before(item, d.off), true);
        child = w->s->n;
        stop = entity_take(w, index, (uint64_t)off, o, NULL, digest);
    }
    /* "private", but the one place where GMime says it */
    if (!w->why && m->write_end_boundary) {
        if (require(w, delimiter_after(item, stop, boundary, &d) && d.closing, "GMime drops a last part"))
            end_set(w, child, d.off - eol_before(item, d.off), true);
        w->s->v[index].part.body_len = 0; /* closed; its epilogue follows */
        return d.next;
    }
    w->s->v[index].part.body_len = UINT64_MAX;
    return stop;
}

/* The entity of `o`, whose header begins at off; of `m`'s root if there is one. Returns as parts_take does. */
static uint64_t entity_take(struct walk *w, uint32_t parent, uint64_t off, GMimeObject *o, GMimeMessage *m, bool digest)
{
    struct scan *s = w->s;
    const uint32_t index = s->n;
    struct entity *e = mime_entity_add(s, parent, off);
    e->digest_child = digest;
    header_take(w, e, m ? GMIME_OBJECT(m) : o, m ? o : NULL);
    const uint8_t kind = body_decide(w, e, o);
    e->part.kind = m ? MIME_PART_MESSAGE_ROOT : kind;
    e->part.root_kind = m ? kind : 0;
    e->part.body_len = UINT64_MAX;
    uint64_t stop = e->part.body_off;
    if (w->why)
        return stop;
    if (kind == MIME_PART_MULTIPART) {
        stop = parts_take(w, index, GMIME_MULTIPART(o));
    } else if (kind == MIME_PART_MESSAGE) {
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));
        const int64_t at = inner ? message_offset(inner) : -1;
        if (require(w, at >= 0 && (uint64_t)at == stop && g_mime_message_get_mime_part(inner),
                    "a message is not in its part"))
            stop = entity_take(w, index, stop, g_mime_message_get_mime_part(inner), inner, false);
    } else if (GMIME_IS_PART(o) && g_mime_part_get_content(GMIME_PART(o))) {
        GMimeStream *stream = g_mime_data_wrapper_get_stream(g_mime_part_get_content(GMIME_PART(o)));
        require(w, stream->bound_start == (int64_t)stop && stream->bound_end >= stream->bound_start,
                "a content is not behind its header");
        e->part.body_len = (uint64_t)(stream->bound_end - stream->bound_start);
        stop = (uint64_t)stream->bound_end;
    } else if (GMIME_IS_PART(o)) {
        e->part.body_len = 0; /* the boundary ended its header */
    } else {
        require(w, false, "GMime nests a part that is a leaf here"); /* message/global, message/news */
    }
    s->v[index].part.next = s->n;
    return stop;
}

static GMimeMessage *construct(struct bytes item)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GByteArray *array = g_byte_array_new_take((guint8 *)(uintptr_t)item.p, item.n); /* only read, and not kept */
    g_mime_stream_mem_set_byte_array(GMIME_STREAM_MEM(stream), array);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    g_object_unref(parser);
    g_object_unref(stream);
    g_byte_array_free(array, FALSE);
    return message;
}

/* Every part lies in its parent's body, behind the part before it. */
static bool is_nested(const struct scan *s)
{
    for (uint32_t i = 1; i < s->n; i++) {
        const struct mime_part *const part = &s->v[i].part, *const parent = &s->v[part->parent].part,
                                      *const before = &s->v[i - 1].part;
        const uint64_t after = part->parent == i - 1 ? before->body_off : before->body_off + before->body_len;
        if (part->header_off < after || part->body_off != part->header_off + part->header_len ||
            part->body_off + part->body_len > parent->body_off + parent->body_len)
            return false;
    }
    return true;
}

bool mime_gmime_scan(struct scan *s)
{
    struct walk w = {s, NULL};
    require(&w, !(s->defects & GUARD), "a defect");
    require(&w, s->item.n <= ITEM_MAX, "too large");
    require(&w, w.why || addresses_are_safe(s), "addresses that are many or bad");
    s->gmime_why = w.why;
    if (w.why)
        return false;
    const struct bytes item = s->item;
    const size_t base = from_lines(item);
    s->item = bytes_slice(item, base, SIZE_MAX);
    GMimeMessage *message = s->item.n ? construct(s->item) : NULL;
    GMimeObject *root = message ? g_mime_message_get_mime_part(message) : NULL;
    s->n = 0;
    if (require(&w, root && message_offset(message) == 0, "GMime sees no header"))
        entity_take(&w, 0, 0, root, message, false);
    if (!w.why)
        end_set(&w, 0, s->item.n, true);
    require(&w, w.why || is_nested(s), "GMime's parts overlap");
    if (message)
        g_object_unref(message);
    for (uint32_t i = 0; i < s->n && base; i++) {
        s->v[i].part.header_off += i ? base : 0;
        s->v[i].part.header_len += i ? 0 : base;
        s->v[i].part.body_off += base;
    }
    s->item = item;
    s->gmime_why = w.why;
    return !w.why;
}

/* parse: one item's bytes to its record. See mime_private.h for the way through the files. */
#include "mime_private.h"

#include "base/hash.h"

#define DEFAULT_HEADER_BYTES (1u << 20)
#define DEFAULT_PARTS        10000u
#define DEFAULT_DEPTH        100u
#define DEPTH_MAX            1000u /* bounds the recursion of structure.c */
#define DEFAULT_ADDRESSES    10000u
#define DEFAULT_REFERENCES   100u
#define DEFAULT_PREVIEW      200u
#define LINE_MAX_BYTES       998u
#define HUGE_BYTES           (UINT64_C(2) << 30)
#define RECEIVED_TRIES       20                 /* Received fields that are tried for a date */
#define CHARSET_PROBES       16                 /* charsets of one item that are looked up */
#define KEEP_BYTES_MAX       ((size_t)16 << 20) /* a buffer larger than this is given back after its item */
#define COUNT_STEP           4096u

/* Small values in parser->text, turned into views when it no longer moves. */
struct small {
    struct span message_id, in_reply_to, references, base_subject, subject, preview;
    struct mime_top_addresses top;
    unsigned received_tries;
};

static uint32_t or_default(uint32_t v, uint32_t otherwise)
{
    return v ? v : otherwise;
}

static uint32_t name_hash(struct bytes name)
{
    uint32_t h = (uint32_t)name.n;
    for (size_t i = 0; i < name.n && i < 24; i++)
        h = h * 31 + (name.p[i] | 0x20);
    return h ^ h >> 15;
}

static void keep_fill(struct mime_parser *p, const char *const *names)
{
    uint32_t n = 0, size = 16;
    while (names[n])
        n++;
    while (size < n * 4)
        size *= 2;
    p->keep = calloc(size, sizeof(*p->keep));
    ASSERT(p->keep);
    p->keep_mask = size - 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct bytes name = bytes_str(names[i]);
        uint32_t at = name_hash(name) & p->keep_mask;
        while (p->keep[at].p)
            at = (at + 1) & p->keep_mask;
        p->keep[at] = name;
    }
}

static bool keep_has(const struct mime_parser *p, struct bytes name)
{
    for (uint32_t at = name_hash(name) & p->keep_mask; p->keep[at].p; at = (at + 1) & p->keep_mask) {
        if (bytes_equal_nocase(p->keep[at], name))
            return true;
    }
    return false;
}

struct mime_parser *mime_parser_new(const struct mime_settings *settings)
{
    struct mime_parser *p = calloc(1, sizeof(*p));
    ASSERT(p);
    if (settings)
        p->settings = *settings;
    struct mime_settings *s = &p->settings;
    s->max_header_bytes = or_default(s->max_header_bytes, DEFAULT_HEADER_BYTES);
    s->max_parts = or_default(s->max_parts, DEFAULT_PARTS);
    s->max_depth = or_default(s->max_depth, DEFAULT_DEPTH);
    s->max_depth = s->max_depth > DEPTH_MAX ? DEPTH_MAX : s->max_depth;
    s->max_addresses = or_default(s->max_addresses, DEFAULT_ADDRESSES);
    s->max_references = or_default(s->max_references, DEFAULT_REFERENCES);
    s->preview_chars = or_default(s->preview_chars, DEFAULT_PREVIEW);
    keep_fill(p, s->headers ? s->headers : mime_default_headers);
    return p;
}

void mime_parser_free(struct mime_parser **pp)
{
    if (!pp || !*pp)
        return;
    struct mime_parser *p = *pp;
    struct buf *const bufs[] = {&p->envelope, &p->structure, &p->parts,   &p->map,      &p->headers,
                                &p->text,     &p->hashes,    &p->scratch, &p->scratch2, &p->table};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        buf_release(bufs[i]);
    mime_scan_release(&p->scan);
    mime_addresses_release(&p->addresses);
    free(p->keep);
    free(p);
    *pp = NULL;
}

static void parser_reset(struct mime_parser *p)
{
    struct buf *const bufs[] = {&p->envelope, &p->structure, &p->parts,   &p->map,      &p->headers,
                                &p->text,     &p->hashes,    &p->scratch, &p->scratch2, &p->table};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
        if (bufs[i]->cap > KEEP_BYTES_MAX)
            buf_release(bufs[i]);
        else
            buf_reset(bufs[i]);
    }
    p->defects = 0;
    p->by_gmime = false;
}

/* ---- line counts of many nested ranges in linear time ---- */

/* Sums at every COUNT_STEP of the item, so that a range costs two edges at most. */
static void steps_fill(struct mime_parser *p)
{
    const struct bytes item = p->scan.item;
    struct mime_lines sum = {0};
    for (size_t off = 0; off <= item.n; off += COUNT_STEP) {
        uint8_t *q = buf_reserve(&p->table, sizeof(sum));
        memcpy(q, &sum, sizeof(sum));
        p->table.n += sizeof(sum);
        const struct mime_lines c = mime_count_lines(bytes_slice(item, off, COUNT_STEP), off ? item.p[off - 1] : 0);
        sum.lf += c.lf;
        sum.lone_lf += c.lone_lf;
    }
}

static struct mime_lines step_at(const struct mime_parser *p, size_t i)
{
    struct mime_lines s;
    memcpy(&s, p->table.p + i * sizeof(s), sizeof(s));
    return s;
}

static struct mime_lines range_count(const struct mime_parser *p, uint64_t off, uint64_t len)
{
    const struct bytes item = p->scan.item;
    const uint64_t header_len = p->scan.v[0].part.header_len;
    if (off == 0 && len == header_len)
        return (struct mime_lines){p->in_header.lf, p->in_header.lone_lf};
    /* All behind the header, which is counted already: with CR before it, a first LF would be counted otherwise. */
    if (off == header_len && len == item.n - off && (off == 0 || item.p[off - 1] != '\r'))
        return (struct mime_lines){p->in_item.lf - p->in_header.lf, p->in_item.lone_lf - p->in_header.lone_lf};
    const size_t first = (size_t)((off + COUNT_STEP - 1) / COUNT_STEP), last = (size_t)((off + len) / COUNT_STEP);
    if (p->table.n == 0 || first >= last)
        return mime_count_lines(bytes_slice(item, (size_t)off, (size_t)len), 0);
    const uint64_t first_off = (uint64_t)first * COUNT_STEP, last_off = (uint64_t)last * COUNT_STEP;
    const struct mime_lines head = mime_count_lines(bytes_slice(item, (size_t)off, (size_t)(first_off - off)), 0);
    const struct mime_lines tail = mime_count_lines(bytes_slice(item, (size_t)last_off, (size_t)(off + len - last_off)),
                                                    last_off ? item.p[last_off - 1] : 0);
    const struct mime_lines a = step_at(p, first), b = step_at(p, last);
    return (struct mime_lines){head.lf + tail.lf + b.lf - a.lf, head.lone_lf + tail.lone_lf + b.lone_lf - a.lone_lf};
}

static void part_finish(struct mime_parser *p, struct entity *e, unsigned *probes)
{
    struct mime_part *part = &e->part;
    const struct mime_lines h = range_count(p, part->header_off, part->header_len);
    const struct mime_lines b = range_count(p, part->body_off, part->body_len);
    part->header_crlf = part->header_len + h.lone_lf;
    part->body_crlf = part->body_len + b.lone_lf;
    part->lines = b.lf;
    const uint8_t kind = part->kind == MIME_PART_MESSAGE_ROOT ? part->root_kind : part->kind;
    if (kind != MIME_PART_LEAF && kind != MIME_PART_TEXT)
        return;
    const struct bytes body = bytes_slice(p->scan.item, (size_t)part->body_off, (size_t)part->body_len);
    part->decoded_len = p->by_gmime ? mime_gmime_decoded_len(body, part->encoding, part->body_crlf)
                                    : mime_decoded_len(body, part->encoding, part->body_crlf);
    if (part->encoding == MIME_ENCODING_BASE64 && !mime_base64_is_clean(body))
        p->defects |= MIME_DEFECT(BAD_BASE64);
    if (part->charset.n && *probes && !(p->defects & MIME_DEFECT(BAD_CHARSET))) {
        --*probes;
        if (!mime_charset_is_known(part->charset))
            p->defects |= MIME_DEFECT(BAD_CHARSET);
    }
}

static void parts_finish(struct mime_parser *p)
{
    struct scan *s = &p->scan;
    unsigned probes = CHARSET_PROBES;
    if (s->n > 4 && s->item.n > 4 * COUNT_STEP)
        steps_fill(p);
    for (uint32_t i = 0; i < s->n; i++)
        part_finish(p, &s->v[i], &probes);
    /* The table is written from consecutive parts. */
    buf_reset(&p->table);
    struct mime_part *v = (struct mime_part *)(void *)buf_reserve(&p->table, s->n * sizeof(*v));
    for (uint32_t i = 0; i < s->n; i++)
        v[i] = s->v[i].part;
    mime_parts_encode(v, s->n, &p->parts);
}

/* ---- the item's own header ---- */

struct field_context {
    struct mime_parser *parser;
    struct mime_record *record;
    struct small *small;
};

static bool date_parse(const struct mime_parser *p, struct bytes value, int64_t *seconds, int16_t *zone)
{
    return p->by_gmime ? mime_gmime_date(value, seconds, zone) : mime_date_parse(value, seconds, zone);
}

static void received_take(struct field_context *c, struct bytes raw)
{
    struct mime_record *r = c->record;
    if (r->has_received_date || c->small->received_tries >= RECEIVED_TRIES)
        return;
    c->small->received_tries++;
    const uint8_t *semi = raw.n ? memrchr(raw.p, ';', raw.n) : NULL;
    if (semi)
        r->has_received_date = date_parse(c->parser, bytes_slice(raw, (size_t)(semi - raw.p) + 1, SIZE_MAX),
                                          &r->received_date, &r->received_zone);
}

static void field_take(void *arg, enum mime_field id, struct bytes name, struct bytes raw, struct bytes whole)
{
    struct field_context *c = arg;
    if (id == FIELD_RECEIVED)
        received_take(c, raw);
    if (!c->parser->settings.all_headers && keep_has(c->parser, name))
        buf_append_bytes(&c->parser->headers, whole);
}

/* The header without the empty line that ends it. */
static struct bytes header_fields(struct bytes header)
{
    size_t n = header.n;
    if (n && header.p[n - 1] == '\n') {
        n -= n > 1 && header.p[n - 2] == '\r' ? 2 : 1;
        if (n == 0 || header.p[n - 1] == '\n')
            return bytes_slice(header, 0, n);
    }
    return header;
}

static struct span since(const struct buf *text, size_t start)
{
    return (struct span){start, text->n - start};
}

static void take_subject(struct mime_parser *p, struct bytes raw, struct mime_record *r, struct small *small)
{
    bool bad = false;
    size_t start = p->text.n;
    if (raw.p)
        mime_words_decode(mime_unfold(raw, &p->scratch), &p->text, &bad);
    small->subject = since(&p->text, start);
    if (bad)
        p->defects |= MIME_DEFECT(BAD_ENCODED_WORD);
    start = p->text.n;
    buf_reserve(&p->text, small->subject.n); /* the subject is read where it lies */
    r->subject_is_reply = mime_base_subject(bytes_of(p->text.p + small->subject.off, small->subject.n), &p->text);
    small->base_subject = since(&p->text, start);
}

/* The first id and the newest ones: max_references in all. */
static void take_references(struct mime_parser *p, struct bytes raw, struct small *small)
{
    struct buf *text = &p->text;
    const size_t start = text->n;
    struct bytes rest = raw;
    buf_reset(&p->table); /* offsets of the ids' ends */
    while (raw.p && mime_id_next(&rest, text)) {
        buf_append_byte(text, 0);
        const size_t end = text->n;
        memcpy(buf_reserve(&p->table, sizeof(end)), &end, sizeof(end));
        p->table.n += sizeof(end);
    }
    const size_t n = p->table.n / sizeof(size_t), max = p->settings.max_references;
    if (n > max) {
        size_t first_end, drop_end;
        memcpy(&first_end, p->table.p, sizeof(first_end));
        memcpy(&drop_end, p->table.p + (n - max) * sizeof(size_t), sizeof(drop_end));
        memmove(text->p + first_end, text->p + drop_end, text->n - drop_end);
        text->n -= drop_end - first_end;
    }
    small->references = since(text, start);
}

static struct span take_id(struct mime_parser *p, struct bytes raw)
{
    const size_t start = p->text.n;
    if (raw.p)
        mime_id_next(&raw, &p->text);
    return since(&p->text, start);
}

static void take_header(struct mime_parser *p, struct mime_record *r, struct small *small)
{
    const struct bytes *const field = p->scan.v[0].field;
    if (!field[FIELD_DATE].p)
        p->defects |= MIME_DEFECT(MISSING_DATE);
    else if (!(r->has_sent_date =
                   date_parse(p, mime_unfold(field[FIELD_DATE], &p->scratch), &r->sent_date, &r->sent_zone)))
        p->defects |= MIME_DEFECT(BAD_DATE);
    if (!field[FIELD_FROM].p)
        p->defects |= MIME_DEFECT(MISSING_FROM);
    if (!field[FIELD_MESSAGE_ID].p)
        p->defects |= MIME_DEFECT(MISSING_MESSAGE_ID);
    else if (!mime_id_is_proper(field[FIELD_MESSAGE_ID]))
        p->defects |= MIME_DEFECT(BAD_MESSAGE_ID);
    small->message_id = take_id(p, field[FIELD_MESSAGE_ID]);
    small->in_reply_to = take_id(p, field[FIELD_IN_REPLY_TO]);
    take_references(p, field[FIELD_REFERENCES], small);
    take_subject(p, field[FIELD_SUBJECT], r, small);
}

/* ---- the record ---- */

static struct bytes view(const struct mime_parser *p, struct span s)
{
    return bytes_of(p->text.p + s.off, s.n);
}

static uint64_t thread_id_of(const struct mime_record *r, struct bytes item)
{
    struct bytes root = r->references;
    if (root.n)
        root.n = (size_t)((const uint8_t *)memchr(root.p, 0, root.n) - root.p);
    if (root.n == 0)
        root = r->in_reply_to;
    if (root.n == 0)
        root = r->message_id;
    return hash64_of(root.n ? root : item);
}

static void record_fill(struct mime_parser *p, const struct small *s, struct mime_record *r)
{
    r->envelope = buf_bytes(&p->envelope);
    r->bodystructure = buf_bytes(&p->structure);
    r->parts = buf_bytes(&p->parts);
    r->crlf_map = buf_bytes(&p->map);
    r->address_hashes = buf_bytes(&p->hashes);
    r->message_id = view(p, s->message_id);
    r->in_reply_to = view(p, s->in_reply_to);
    r->references = view(p, s->references);
    r->base_subject = view(p, s->base_subject);
    r->subject = view(p, s->subject);
    r->preview = view(p, s->preview);
    r->display_from = view(p, s->top.display_from);
    r->display_to = view(p, s->top.display_to);
    r->sort_from = view(p, s->top.sort_from);
    r->sort_to = view(p, s->top.sort_to);
    r->sort_cc = view(p, s->top.sort_cc);
    const struct mime_part *root = &p->scan.v[0].part;
    r->headers_complete = p->settings.all_headers;
    r->headers = p->settings.all_headers ? header_fields(bytes_slice(p->scan.item, 0, (size_t)root->header_len))
                                         : buf_bytes(&p->headers);
    r->thread_id = thread_id_of(r, p->scan.item);
    r->defects = p->defects | p->scan.defects;
}

/* Sizes and the defects that counting shows. */
static void item_count(struct mime_parser *p, struct bytes item, struct mime_record *r)
{
    const struct mime_counts c = p->in_item = mime_count(item, 0);
    r->size = item.n;
    r->size_crlf = item.n + c.lone_lf;
    const uint64_t crlf = c.lf - c.lone_lf;
    if (item.n == 0)
        p->defects |= MIME_DEFECT(EMPTY);
    if (item.n >= HUGE_BYTES)
        p->defects |= MIME_DEFECT(HUGE);
    if (c.cr > crlf)
        p->defects |= MIME_DEFECT(BARE_CR);
    if (c.lone_lf && crlf)
        p->defects |= MIME_DEFECT(MIXED_LINE_ENDS);
    if (mime_has_long_line(item, LINE_MAX_BYTES + (crlf ? 1 : 0)))
        p->defects |= MIME_DEFECT(LONG_LINE);
    const struct mime_counts h = p->in_header =
        mime_count(bytes_slice(item, 0, (size_t)p->scan.v[0].part.header_len), 0);
    if (h.high)
        p->defects |= MIME_DEFECT(HEADER_8BIT);
    if (h.nul)
        p->defects |= MIME_DEFECT(HEADER_NUL);
    if (c.nul > h.nul)
        p->defects |= MIME_DEFECT(BODY_NUL);
    if (c.lone_lf)
        mime_crlf_map_encode(item, &p->map);
}

/* The entities, by whom the settings say. */
static void entities_find(struct mime_parser *p, struct field_context *context)
{
    struct scan *s = &p->scan;
    s->arg = context;
    if (p->settings.parser == MIME_PARSER_GMIME) {
        s->on_field = NULL;
        mime_scan(s); /* what GMime must not see, and the defects */
        s->on_field = field_take;
        p->by_gmime = true;
        if (mime_gmime_scan(s))
            return;
        /* Some fields may have been taken already. */
        buf_reset(&p->headers);
        context->small->received_tries = 0;
        context->record->has_received_date = false;
        p->by_gmime = false;
    }
    s->on_field = field_take;
    mime_scan(s);
}

void mime_parse(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    struct small small = {0};
    struct field_context context = {p, out, &small};
    struct scan *s = &p->scan;
    parser_reset(p);
    *out = (struct mime_record){0};
    s->item = item.p ? item : bytes_of("", 0);
    s->max_header = p->settings.max_header_bytes;
    s->max_parts = p->settings.max_parts;
    s->max_depth = p->settings.max_depth;
    entities_find(p, &context);
    item_count(p, s->item, out);
    parts_finish(p);
    mime_envelope_write(p, s->v[0].field, &p->envelope, &small.top);
    mime_structure_write(p, &p->structure);
    take_header(p, out, &small);
    const size_t start = p->text.n;
    mime_preview_write(p, &p->text);
    small.preview = since(&p->text, start);
    record_fill(p, &small, out);
}

/* Date, Subject and Message-ID of an envelope, everything else NIL. */
static void opaque_envelope(struct mime_parser *p, const struct bytes field[FIELD_COUNT])
{
    buf_append_byte(&p->envelope, '(');
    for (int i = 0; i < 2; i++) {
        const struct bytes raw = field[i == 0 ? FIELD_DATE : FIELD_SUBJECT];
        mime_wire_nstring(&p->envelope, raw.p ? mime_unfold(raw, &p->scratch) : raw);
        buf_append_byte(&p->envelope, ' ');
    }
    buf_append_str(&p->envelope, "NIL NIL NIL NIL NIL NIL NIL ");
    const struct bytes id = field[FIELD_MESSAGE_ID];
    mime_wire_nstring(&p->envelope, id.p ? mime_unfold(id, &p->scratch) : id);
    buf_append_byte(&p->envelope, ')');
}

void mime_parse_opaque(struct mime_parser *p, struct bytes item, uint64_t why, struct mime_record *out)
{
    struct small small = {0};
    struct scan *s = &p->scan;
    parser_reset(p);
    *out = (struct mime_record){0};
    s->item = item.p ? item : bytes_of("", 0);
    s->on_field = NULL;
    mime_scan_opaque(s);
    struct entity *root = &s->v[0];
    size_t pos = 0;
    struct bytes name, raw, whole;
    const struct bytes header = bytes_slice(s->item, 0, (size_t)root->part.header_len);
    while (mime_header_next(bytes_slice(header, 0, p->settings.max_header_bytes), &pos, &name, &raw, &whole)) {
        const enum mime_field id = mime_field_of(name);
        if (id < FIELD_COUNT && !root->field[id].p)
            root->field[id] = raw;
        if (!p->settings.all_headers && keep_has(p, name))
            buf_append_bytes(&p->headers, whole);
    }
    opaque_envelope(p, root->field);
    small.message_id = take_id(p, root->field[FIELD_MESSAGE_ID]);
    /* The structure must not repeat what the header claims. */
    memset(root->field, 0, sizeof(root->field));
    root->part.encoding = MIME_ENCODING_8BIT;
    item_count(p, s->item, out);
    parts_finish(p);
    mime_structure_write(p, &p->structure);
    record_fill(p, &small, out);
    out->defects |= why | MIME_DEFECT(OPAQUE);
}

/*
 * scan: where the parts of an item lie.
 *
 * One pass forward with a stack of the entities that are still open (the item,
 * the multipart in it, its current part ...), so no recursion and no second
 * look at a byte. A line "--boundary" belongs to the innermost open multipart
 * that has that boundary and ends everything inside it; "--boundary--" closes
 * the multipart: what follows is its epilogue until an outer boundary comes.
 * The line end before a boundary line belongs to the boundary (RFC 2046 5.1.1).
 * Lines are compared whole, so a boundary may be the prefix of another.
 *
 * A header block ends at an empty line, at a boundary line of an open multipart
 * or at the end; a block whose first line is no field is no header, the body
 * begins with it.
 */
#include "mime_private.h"

#define KEEP_ENTITIES_MAX 4096 /* 2 MB; a larger array is given back after its item */

struct scan_open {
    uint32_t index;
    struct bytes boundary; /* of a multipart that is not closed; n 0 else */
    uint32_t nest;         /* multiparts and messages that are open, this one counted */
    bool is_multipart, seen_delimiter;
};

struct line {
    uint64_t off, next; /* next: after its LF */
    size_t n;           /* without its line end */
};

static struct line line_at(const struct scan *s, uint64_t off)
{
    const uint8_t *const p = s->item.p + off;
    const size_t left = s->item.n - off;
    const uint8_t *lf = memchr(p, '\n', left);
    const size_t n = lf ? (size_t)(lf - p) : left;
    return (struct line){.off = off, .next = off + n + (lf ? 1 : 0), .n = n && p[n - 1] == '\r' ? n - 1 : n};
}

/* Depth of the open multipart that `line` (which begins with "--") is a boundary of, or 0. */
static uint32_t match_boundary(const struct scan *s, struct bytes line, bool *is_end)
{
    while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
        line.n--;
    const struct bytes text = bytes_slice(line, 2, SIZE_MAX);
    for (uint32_t d = s->n_open; d > 0; d--) {
        const struct bytes b = s->open[d - 1].boundary;
        if (b.n == 0 || text.n < b.n || text.n > b.n + 2 || text.n == b.n + 1 || memcmp(text.p, b.p, b.n) != 0)
            continue;
        if (text.n == b.n) {
            *is_end = false;
            return d;
        }
        if (text.p[b.n] == '-' && text.p[b.n + 1] == '-') {
            *is_end = true;
            return d;
        }
    }
    return 0;
}

static bool looks_like_boundary(const struct scan *s, struct line l)
{
    return s->n_open && l.n >= 3 && s->item.p[l.off] == '-' && s->item.p[l.off + 1] == '-';
}

/* First boundary line at or after `off`, which is a line's start. False if there is none. */
static bool find_boundary(const struct scan *s, uint64_t off, struct line *line, uint32_t *depth, bool *is_end)
{
    bool any = false;
    for (uint32_t d = 0; d < s->n_open && !any; d++)
        any = s->open[d].boundary.n != 0;
    if (!any)
        return false;
    const uint8_t *const end = s->item.p + s->item.n;
    while (off < s->item.n) {
        const uint8_t *p = s->item.p + off;
        if (end - p >= 3 && p[0] == '-' && p[1] == '-') {
            *line = line_at(s, off);
            *depth = match_boundary(s, bytes_of(p, line->n), is_end);
            if (*depth)
                return true;
            off = line->next;
            continue;
        }
        do {
            p = memchr(p, '\n', (size_t)(end - p));
            p = p ? p + 1 : end;
        } while (end - p >= 3 && !(p[0] == '-' && p[1] == '-'));
        if (end - p < 3)
            return false;
        off = (uint64_t)(p - s->item.p);
    }
    return false;
}

struct entity *mime_entity_add(struct scan *s, uint32_t parent, uint64_t off)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        struct entity *v = realloc(s->v, s->cap * sizeof(*v));
        ASSERT(v); /* max_parts bounds it */
        s->v = v;
    }
    struct entity *e = &s->v[s->n++];
    *e = (struct entity){.part = {.parent = parent, .header_off = off, .body_off = off}};
    if (s->n > 1)
        s->v[parent].part.children++;
    return e;
}

static void open_push(struct scan *s, struct scan_open open)
{
    if (s->n_open == s->cap_open) {
        s->cap_open = s->cap_open ? s->cap_open * 2 : 16;
        struct scan_open *v = realloc(s->open, s->cap_open * sizeof(*v));
        ASSERT(v); /* max_depth bounds it */
        s->open = v;
    }
    s->open[s->n_open++] = open;
}

static void field_add(struct scan *s, struct entity *e, struct bytes whole, size_t colon)
{
    struct bytes name = bytes_slice(whole, 0, colon), raw = bytes_slice(whole, colon + 1, SIZE_MAX);
    while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
        name.n--;
    if (raw.n && raw.p[raw.n - 1] == '\n')
        raw.n--;
    if (raw.n && raw.p[raw.n - 1] == '\r')
        raw.n--;
    const enum mime_field id = mime_field_of(name);
    if (id < FIELD_COUNT) {
        if (e->field[id].p)
            s->defects |= MIME_DEFECT(DUPLICATE_HEADER);
        else
            e->field[id] = raw;
    }
    if (s->n == 1 && s->on_field)
        s->on_field(s->arg, id, name, raw, whole);
}

/* Reads the header block of entity `index` at its header_off. */
static void header_read(struct scan *s, uint32_t index)
{
    struct entity *e = &s->v[index];
    struct mime_part *part = &e->part;
    const uint64_t start = part->header_off;
    const uint64_t limit = s->item.n - start > s->max_header ? start + s->max_header : s->item.n;
    const bool is_root = part->kind == MIME_PART_MESSAGE_ROOT;
    uint64_t off = start, field_off = 0;
    size_t colon = 0;
    bool in_field = false, ended = false, first = true;

    while (off < s->item.n) {
        const struct line l = line_at(s, off);
        const uint8_t *const p = s->item.p + off;
        const bool fold = l.n && !first && (p[0] == ' ' || p[0] == '\t');
        if (fold) {
            off = l.next;
            continue;
        }
        bool is_end;
        const bool empty = l.n == 0 && l.next > l.off;
        const bool boundary = looks_like_boundary(s, l) && match_boundary(s, bytes_of(p, l.n), &is_end);
        size_t next_colon = 0;
        const bool is_field = !empty && !boundary && mime_is_field_line(bytes_of(p, l.n), &next_colon);
        if (in_field) {
            if (off <= limit)
                field_add(s, e, bytes_of(s->item.p + field_off, off - field_off), colon);
            else if (field_off < limit)
                field_add(s, e,
                          bytes_of(s->item.p + field_off, limit - field_off > colon ? limit - field_off : colon + 1),
                          colon);
            in_field = false;
        }
        if (empty || boundary) {
            ended = empty;
            off = empty ? l.next : off;
            break;
        }
        if (is_field) {
            in_field = off < limit;
            field_off = off;
            colon = next_colon;
        } else if (first && !(is_root && mime_is_mbox_from(bytes_of(p, l.n)))) {
            break; /* no header: the body begins here */
        } else if (first) {
            s->defects |= index == 0 ? MIME_DEFECT(MBOX_FROM) : 0;
            off = l.next;
            continue;
        } else {
            s->defects |= MIME_DEFECT(BAD_HEADER_LINE);
        }
        first = false;
        off = l.next;
    }
    if (in_field) {
        const uint64_t stop = off < limit ? off : limit;
        field_add(s, e, bytes_of(s->item.p + field_off, stop - field_off > colon ? stop - field_off : colon + 1),
                  colon);
    }
    if (off > limit)
        s->defects |= MIME_DEFECT(HEADER_TOO_LONG);
    part->header_len = off - start;
    part->body_off = off;
    if (index == 0) {
        if (!ended)
            s->defects |= MIME_DEFECT(NO_SEPARATOR);
        if (part->header_len <= 2)
            s->defects |= MIME_DEFECT(NO_HEADER);
    }
}

/* Appends an RFC 2231 value: percent escapes taken off and, if it is the first piece, "charset'language'". */
static void append_extended(struct bytes v, bool first, struct buf *out)
{
    if (first) {
        const uint8_t *one = v.n ? memchr(v.p, '\'', v.n) : NULL;
        const uint8_t *two = one ? memchr(one + 1, '\'', (size_t)(v.p + v.n - one) - 1) : NULL;
        if (two)
            v = bytes_slice(v, (size_t)(two - v.p) + 1, SIZE_MAX);
    }
    for (size_t i = 0; i < v.n; i++) {
        const int high = v.p[i] == '%' && i + 2 < v.n ? mime_hex_value(v.p[i + 1]) : -1;
        const int low = high >= 0 ? mime_hex_value(v.p[i + 2]) : -1;
        buf_append_byte(out, low >= 0 ? (uint8_t)(high << 4 | low) : v.p[i]);
        i += low >= 0 ? 2 : 0;
    }
}

/*
 * The value of a parameter, or nothing; stays where it is until the next item.
 * A plain one wins; else the RFC 2231 pieces are joined ("boundary*",
 * "boundary*0", "boundary*1*" ... in the order in which they stand).
 */
struct bytes mime_scan_param(struct scan *s, struct bytes params, struct bytes wanted)
{
    struct bytes name, value;
    buf_reset(&s->scratch);
    buf_reset(&s->joined);
    buf_reserve(&s->scratch, params.n); /* what escapes leave fits, so views do not move */
    bool first = true;
    while (mime_param_next(&params, &s->scratch, &name, &value)) {
        if (name.n < wanted.n || !bytes_equal_nocase(bytes_slice(name, 0, wanted.n), wanted))
            continue;
        if (name.n == wanted.n) {
            const bool is_copy = value.p >= s->scratch.p && value.p < s->scratch.p + s->scratch.cap;
            return is_copy && value.n ? arena_dup(s->strings, value) : value;
        }
        if (name.p[wanted.n] != '*')
            continue;
        if (name.p[name.n - 1] == '*')
            append_extended(value, first, &s->joined);
        else
            buf_append_bytes(&s->joined, value);
        first = false;
    }
    return s->joined.n ? arena_dup(s->strings, buf_bytes(&s->joined)) : (struct bytes){0};
}

static struct bytes boundary_of(struct scan *s, struct bytes params)
{
    struct bytes found = mime_scan_param(s, params, BYTES_LIT("boundary"));
    while (found.n && (found.p[found.n - 1] == ' ' || found.p[found.n - 1] == '\t'))
        found.n--;
    return found.n && (memchr(found.p, '\r', found.n) || memchr(found.p, '\n', found.n)) ? (struct bytes){0} : found;
}

static bool is_identity(enum mime_encoding e)
{
    return e != MIME_ENCODING_BASE64 && e != MIME_ENCODING_QP && e != MIME_ENCODING_UUENCODE;
}

/* Decides what the body of `e` is; true if it is to be opened, with *open filled. */
static bool body_decide(struct scan *s, struct entity *e, struct scan_open *open, uint8_t *kind_out)
{
    bool known = true;
    struct mime_part *part = &e->part;
    if (e->field[FIELD_ENCODING].p)
        part->encoding = (uint8_t)mime_encoding_of(e->field[FIELD_ENCODING], &known);
    if (!known)
        s->defects |= MIME_DEFECT(BAD_ENCODING);
    const struct bytes type_raw = e->field[FIELD_CONTENT_TYPE];
    if (type_raw.p && !mime_media_parse(type_raw, &e->media)) {
        s->defects |= MIME_DEFECT(BAD_CONTENT_TYPE);
        e->shown = SHOWN_AS_TEXT;
    } else if (!type_raw.p && e->digest_child) {
        e->media = (struct mime_media){.type = BYTES_LIT("message"), .subtype = BYTES_LIT("rfc822")};
    } else if (!type_raw.p) {
        e->media = (struct mime_media){.type = BYTES_LIT("text"), .subtype = BYTES_LIT("plain")};
    }
    *kind_out = MIME_PART_LEAF;
    const uint32_t nest = s->n_open ? s->open[s->n_open - 1].nest : 0;
    *open = (struct scan_open){.nest = nest};
    if (e->shown == SHOWN_AS_IS && bytes_equal_nocase(e->media.type, BYTES_LIT("multipart"))) {
        const struct bytes boundary = boundary_of(s, e->media.params);
        if (boundary.n == 0) {
            s->defects |= MIME_DEFECT(BAD_BOUNDARY);
        } else if (nest >= s->max_depth) {
            s->defects |= MIME_DEFECT(TOO_DEEP);
        } else {
            if (!is_identity(part->encoding)) {
                s->defects |= MIME_DEFECT(ENCODED_MULTIPART);
                part->encoding = MIME_ENCODING_7BIT;
            }
            *kind_out = MIME_PART_MULTIPART;
            *open = (struct scan_open){.boundary = boundary, .nest = nest + 1, .is_multipart = true};
            return true;
        }
        e->shown = SHOWN_AS_TEXT;
    } else if (e->shown == SHOWN_AS_IS && bytes_equal_nocase(e->media.type, BYTES_LIT("message")) &&
               bytes_equal_nocase(e->media.subtype, BYTES_LIT("rfc822"))) {
        if (!is_identity(part->encoding)) {
            s->defects |= MIME_DEFECT(ENCODED_MULTIPART);
            e->shown = SHOWN_AS_OCTETS;
            return false;
        }
        if (nest < s->max_depth) {
            *kind_out = MIME_PART_MESSAGE;
            open->nest = nest + 1;
            return true;
        }
        s->defects |= MIME_DEFECT(TOO_DEEP);
        e->shown = SHOWN_AS_TEXT;
    }
    if (e->shown == SHOWN_AS_TEXT || bytes_equal_nocase(e->media.type, BYTES_LIT("text"))) {
        *kind_out = MIME_PART_TEXT;
        if (e->shown == SHOWN_AS_IS)
            part->charset = bytes_slice(mime_trim(mime_scan_param(s, e->media.params, BYTES_LIT("charset"))), 0, 64);
    }
    return false;
}

/*
 * Begins an entity at `off` and whatever begins with it (the message in a
 * message part, and so on: bounded by max_depth). Returns where its body begins.
 */
static uint64_t entity_begin(struct scan *s, uint32_t parent, uint64_t off, bool is_root, bool digest_child)
{
    for (;;) {
        const uint32_t index = s->n;
        struct entity *e = mime_entity_add(s, parent, off);
        e->digest_child = digest_child;
        if (is_root)
            e->part.kind = MIME_PART_MESSAGE_ROOT;
        header_read(s, index);
        e = &s->v[index];
        struct scan_open open = {0};
        uint8_t kind = MIME_PART_LEAF;
        const bool opens = body_decide(s, e, &open, &kind);
        if (is_root)
            e->part.root_kind = kind;
        else
            e->part.kind = kind;
        open.index = index;
        open_push(s, open);
        if (!opens || kind == MIME_PART_MULTIPART)
            return e->part.body_off;
        parent = index;
        off = e->part.body_off;
        is_root = true;
        digest_child = false;
    }
}

/* A multipart without parts gets one, as the grammar of BODYSTRUCTURE needs one. */
static void empty_multipart_fill(struct scan *s, const struct scan_open *o, uint64_t end)
{
    const struct mime_part whole = s->v[o->index].part;
    s->defects |= MIME_DEFECT(EMPTY_MULTIPART);
    struct entity *child = mime_entity_add(s, o->index, o->seen_delimiter ? end : whole.body_off);
    child->part.kind = MIME_PART_TEXT;
    child->part.body_len = end - child->part.body_off;
    child->part.next = s->n;
    child->shown = SHOWN_AS_TEXT;
}

/* Ends the open entities above depth `keep`: at `end` (the line end before a boundary), the outermost not before its
 * body. */
static void close_above(struct scan *s, uint32_t keep, uint64_t end)
{
    for (uint32_t d = keep; d < s->n_open; d++) {
        struct mime_part *part = &s->v[s->open[d].index].part;
        if (d == keep && end < part->body_off)
            end = part->body_off;
        if (part->body_off > end) {
            part->body_off = end;
            if (part->header_off > end)
                part->header_off = end;
            part->header_len = end - part->header_off;
        }
        part->body_len = end - part->body_off;
    }
    while (s->n_open > keep) {
        const struct scan_open o = s->open[--s->n_open];
        if (o.is_multipart) {
            if (o.boundary.n)
                s->defects |= MIME_DEFECT(UNCLOSED_BOUNDARY);
            if (s->v[o.index].part.children == 0)
                empty_multipart_fill(s, &o, end);
        }
        s->v[o.index].part.next = s->n;
    }
}

static bool is_digest(const struct entity *e)
{
    return bytes_equal_nocase(e->media.subtype, BYTES_LIT("digest"));
}

static void scan_reset(struct scan *s)
{
    if (s->cap > KEEP_ENTITIES_MAX) {
        free(s->v);
        s->v = NULL;
        s->cap = 0;
    }
    s->n = s->n_open = 0;
    s->defects = 0;
    if (s->strings)
        arena_reset(s->strings);
    else
        s->strings = arena_new(0);
}

void mime_scan_opaque(struct scan *s)
{
    scan_reset(s);
    struct entity *e = mime_entity_add(s, 0, 0);
    uint64_t off = 0;
    while (off < s->item.n) {
        const struct line l = line_at(s, off);
        off = l.next;
        if (l.n == 0)
            break;
    }
    e->part.kind = MIME_PART_MESSAGE_ROOT;
    e->part.root_kind = MIME_PART_TEXT;
    e->part.header_len = e->part.body_off = off;
    e->part.body_len = s->item.n - off;
    e->part.next = 1;
    e->shown = SHOWN_AS_TEXT;
}

void mime_scan(struct scan *s)
{
    scan_reset(s);
    uint64_t off = entity_begin(s, 0, 0, true, false);
    struct line l;
    uint32_t depth = 0;
    bool is_end = false;
    while (find_boundary(s, off, &l, &depth, &is_end)) {
        uint64_t end = l.off;
        if (end && s->item.p[end - 1] == '\n')
            end -= end > 1 && s->item.p[end - 2] == '\r' ? 2 : 1;
        struct scan_open *o = &s->open[depth - 1];
        if (!is_end && s->n >= s->max_parts) {
            s->defects |= MIME_DEFECT(TOO_MANY_PARTS);
            break;
        }
        close_above(s, depth, end);
        o->seen_delimiter = true;
        off = l.next;
        if (is_end)
            o->boundary.n = 0;
        else
            off = entity_begin(s, o->index, off, false, is_digest(&s->v[o->index]));
    }
    close_above(s, 0, s->item.n);
}

void mime_scan_release(struct scan *s)
{
    free(s->v);
    free(s->open);
    buf_release(&s->scratch);
    buf_release(&s->joined);
    arena_free(&s->strings);
    *s = (struct scan){0};
}

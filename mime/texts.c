/* texts: the walk over what can be searched of an item. */
#include "mime/texts.h"

#include "mime_private.h"

#define KEEP_BYTES_MAX ((size_t)4 << 20) /* a buffer larger than this is given back after its item */

enum stand { STAND_HEADER, STAND_FIELDS, STAND_BODY, STAND_DONE };

static const struct mime_parts no_parts;

void mime_texts_init(struct mime_texts *t)
{
    *t = (struct mime_texts){.parts = &no_parts, .stand = STAND_DONE, .cache = mime_casemap_cache_new()};
}

void mime_texts_release(struct mime_texts *t)
{
    struct buf *const kept[] = {&t->unfolded, &t->transfer, &t->decoded, &t->folded, &t->bare};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        buf_release(kept[i]);
    mime_casemap_cache_free(&t->cache);
}

static void begin(struct mime_texts *t)
{
    struct buf *const kept[] = {&t->unfolded, &t->transfer, &t->decoded, &t->folded, &t->bare};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (kept[i]->cap > KEEP_BYTES_MAX)
            buf_release(kept[i]);
    }
    t->parts = &no_parts;
    t->read = NULL;
    t->part = 0;
    t->block = (struct bytes){0};
    t->pos = 0;
    t->folded_of = NULL;
}

void mime_texts_begin(struct mime_texts *t, const struct mime_parts *parts, enum mime_texts_what what,
                      mime_texts_read_fn *read, void *arg)
{
    begin(t);
    t->what = (uint8_t)what;
    t->parts = parts;
    t->read = read;
    t->arg = arg;
    t->stand = parts->n ? STAND_HEADER : STAND_DONE;
}

void mime_texts_begin_block(struct mime_texts *t, struct bytes block)
{
    begin(t);
    t->block = block;
    t->stand = STAND_FIELDS;
}

/* ---- the walk ------------------------------------------------------------------------------------- */

static int read_stored(struct mime_texts *t, uint64_t off, uint64_t len, struct bytes *out, struct error *err)
{
    *out = (struct bytes){0};
    t->folded_of = NULL;
    if (len > MIME_TEXTS_PART_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "a text of %llu bytes is not searched", (unsigned long long)len);
    return t->read(t->arg, off, len, out, err);
}

static enum mime_text_kind kind_of_fields(const struct mime_texts *t)
{
    if (t->part == 0)
        return MIME_TEXT_OWN;
    return t->parts->v[t->part].kind == MIME_PART_MESSAGE_ROOT ? MIME_TEXT_ATTACHED : MIME_TEXT_PART;
}

static bool next_field(struct mime_texts *t, struct mime_text *out)
{
    struct bytes field;
    *out = (struct mime_text){.kind = kind_of_fields(t), .part = t->part};
    t->folded_of = NULL;
    return mime_header_next(t->block, &t->pos, &out->name, &out->value, &field);
}

static bool is_text(const struct mime_part *part)
{
    return (part->kind == MIME_PART_MESSAGE_ROOT ? part->root_kind : part->kind) == MIME_PART_TEXT;
}

int mime_texts_next(struct mime_texts *t, struct mime_text *out, struct error *err)
{
    for (;;) {
        const struct mime_part *part = t->part < t->parts->n ? &t->parts->v[t->part] : NULL;
        int rc;
        switch (t->stand) {
        case STAND_HEADER:
            t->pos = 0;
            t->block = (struct bytes){0};
            t->stand = STAND_FIELDS;
            rc = part->header_len ? read_stored(t, part->header_off, part->header_len, &t->block, err) : BASE_OK;
            if (rc < 0)
                return rc;
            break;
        case STAND_FIELDS:
            if (next_field(t, out))
                return 1;
            t->stand = part && t->what == MIME_TEXTS_ALL ? STAND_BODY : STAND_DONE;
            break;
        case STAND_BODY:
            t->part++;
            t->stand = t->part < t->parts->n ? STAND_HEADER : STAND_DONE;
            if (!is_text(part))
                break;
            *out = (struct mime_text){.kind = MIME_TEXT_BODY, .part = t->part - 1};
            rc = read_stored(t, part->body_off, part->body_len, &out->stored, err);
            return rc < 0 ? rc : 1;
        default: return 0;
        }
    }
}

/* ---- what a text says ----------------------------------------------------------------------------- */

/* RFC 5322 unfolding, with the fold's first blank as a space, so that a fold is one blank like any line end. */
static struct bytes unfold(struct bytes raw, struct buf *scratch)
{
    const uint8_t *lf = raw.n ? memchr(raw.p, '\n', raw.n) : NULL;
    if (!lf)
        return raw;
    buf_reset(scratch);
    do {
        size_t n = (size_t)(lf - raw.p);
        size_t next = n + 1;
        n -= n && raw.p[n - 1] == '\r';
        buf_append(scratch, raw.p, n);
        buf_append_byte(scratch, ' ');
        if (next < raw.n && (raw.p[next] == ' ' || raw.p[next] == '\t'))
            next++;
        raw = bytes_slice(raw, next, SIZE_MAX);
        lf = raw.n ? memchr(raw.p, '\n', raw.n) : NULL;
    } while (lf);
    buf_append_bytes(scratch, raw);
    return buf_bytes(scratch);
}

/* "Name: value" into folded; what stands before the value is ASCII at its end, so that the two casemap apart. */
static void fold_field(struct mime_texts *t, const struct mime_text *text)
{
    if (t->folded_of == text->name.p)
        return;
    buf_reset(&t->folded);
    mime_casemap_cached(t->cache, text->name, &t->folded);
    buf_append_str(&t->folded, ": ");
    t->value_at = t->folded.n;
    buf_reset(&t->decoded);
    mime_decode_header(unfold(text->value, &t->unfolded), &t->decoded);
    mime_casemap_cached(t->cache, buf_bytes(&t->decoded), &t->folded);
    t->folded_of = text->name.p;
}

struct bytes mime_texts_whole(struct mime_texts *t, const struct mime_text *text)
{
    fold_field(t, text);
    return buf_bytes(&t->folded);
}

struct bytes mime_texts_value(struct mime_texts *t, const struct mime_text *text)
{
    fold_field(t, text);
    return bytes_slice(buf_bytes(&t->folded), t->value_at, SIZE_MAX);
}

struct bytes mime_texts_name(struct mime_texts *t, const struct mime_text *text)
{
    t->folded_of = NULL;
    buf_reset(&t->folded);
    mime_casemap_cached(t->cache, text->name, &t->folded);
    buf_append_str(&t->folded, ": ");
    return buf_bytes(&t->folded);
}

bool mime_texts_bare(struct mime_texts *t, const struct mime_text *text, struct bytes *out)
{
    const struct bytes value = mime_texts_value(t, text);
    struct buf *to = &t->bare;
    size_t depth = 0;
    bool quoted = false;
    buf_reset(to);
    for (size_t i = 0; i < value.n; i++) {
        const uint8_t c = value.p[i], last = to->n ? to->p[to->n - 1] : 0;
        if (c == '\\' && (quoted || depth) && i + 1 < value.n) {
            i++;
            if (!depth)
                buf_append(to, value.p + i - 1, 2);
            continue;
        }
        if (c == '"' && !depth)
            quoted = !quoted;
        if (!quoted && c == '(') {
            depth++;
        } else if (depth) {
            depth -= c == ')';
        } else if (!quoted && c == ' ' && (last == '@' || last == '.' || last == ' ')) {
            continue;
        } else {
            while (!quoted && (c == '@' || c == '.') && to->n && to->p[to->n - 1] == ' ')
                to->n--;
            buf_append_byte(to, c);
        }
    }
    *out = buf_bytes(to);
    return to->n != value.n;
}

static void flatten_lines(struct buf *b)
{
    if (b->n == 0)
        return;
    uint8_t *to = b->p;
    const uint8_t *from = b->p, *const end = from + b->n;
    while (from < end) {
        const uint8_t *lf = memchr(from, '\n', (size_t)(end - from));
        const size_t n = (size_t)((lf ? lf : end) - from);
        const size_t kept = n - (lf && n && from[n - 1] == '\r');
        if (to != from)
            memmove(to, from, kept);
        to += kept;
        from += n;
        if (lf) {
            *to++ = ' ';
            from++;
        }
    }
    b->n = (size_t)(to - b->p);
}

/* As far as a NUL. */
static struct bytes charset_of(const struct mime_part *part)
{
    const uint8_t *nul = part->charset.n ? memchr(part->charset.p, 0, part->charset.n) : NULL;
    return bytes_slice(part->charset, 0, nul ? (size_t)(nul - part->charset.p) : part->charset.n);
}

struct bytes mime_texts_body(struct mime_texts *t, const struct mime_text *text)
{
    const struct mime_part *part = &t->parts->v[text->part];
    buf_reset(&t->transfer);
    buf_reset(&t->decoded);
    buf_reset(&t->folded);
    t->folded_of = NULL;
    mime_decode_transfer(text->stored, part->encoding, &t->transfer);
    mime_charset_decode(buf_bytes(&t->transfer), charset_of(part), &t->decoded);
    flatten_lines(&t->decoded);
    mime_casemap_cached(t->cache, buf_bytes(&t->decoded), &t->folded);
    return buf_bytes(&t->folded);
}

void mime_texts_needle(struct bytes utf8, struct buf *out)
{
    struct buf flat = {0};
    buf_append_bytes(&flat, utf8);
    flatten_lines(&flat);
    mime_casemap(buf_bytes(&flat), out);
    buf_release(&flat);
}

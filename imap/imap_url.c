/* imap_url: see imap_url.h. */
#include "imap_url.h"

#include "fetch_att.h"
#include "wire/cursor.h"
#include "wire/utf7.h"

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* Undoes %XX; no NUL, no line end: what follows goes into names and sections. */
static bool decode(struct bytes in, struct arena *arena, struct bytes *out)
{
    uint8_t *to = arena_alloc(arena, in.n + 1);
    size_t n = 0;
    if (!to)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (c == '%') {
            if (in.n - i < 3 || hex(in.p[i + 1]) < 0 || hex(in.p[i + 2]) < 0)
                return false;
            c = (uint8_t)(hex(in.p[i + 1]) * 16 + hex(in.p[i + 2]));
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        to[n++] = c;
    }
    to[n] = 0;
    *out = bytes_of(to, n);
    return true;
}

/* Cuts `name` and what follows it, in any case, off the end of *text; false: it is not there. */
static bool cut(struct bytes *text, const char *name, struct bytes *value_out)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i + n <= text->n; i++) {
        if (bytes_equal_nocase(bytes_of(text->p + i, n), bytes_of(name, n))) {
            *value_out = bytes_slice(*text, i + n, text->n);
            *text = bytes_slice(*text, 0, i);
            return true;
        }
    }
    return false;
}

static bool number(struct bytes text, uint32_t *out)
{
    struct imap_cursor at = imap_cursor_of(text, NULL);
    return imap_take_nz_number(&at, out) && imap_at_end(&at);
}

/* ipartial-range = number ["." nz-number] */
static bool range(struct bytes text, struct imap_url *out)
{
    struct imap_cursor at = imap_cursor_of(text, NULL);
    out->partial = true;
    out->count = UINT64_MAX;
    if (!imap_take_number64(&at, &out->first))
        return false;
    if (imap_at_byte(&at, '.')) {
        at.p++;
        if (!imap_take_number64(&at, &out->count) || out->count == 0)
            return false;
    }
    return imap_at_end(&at);
}

/* A section is what stands between the brackets of BODY[...], so let FETCH's parser read it. */
static bool section(struct bytes text, struct arena *arena, struct mdsq_section *out)
{
    struct imap_fetch_atts atts = {0};
    struct bytes plain;
    struct buf body = {0};
    if (!decode(text, arena, &plain))
        return false;
    buf_append_str(&body, "BODY.PEEK[");
    buf_append_bytes(&body, plain);
    buf_append_byte(&body, ']');
    struct bytes kept = arena_dup(arena, buf_bytes(&body));
    buf_release(&body);
    struct imap_cursor at = imap_cursor_of(kept, arena);
    if (kept.n == 0 || !imap_take_fetch_atts(&at, &atts) || !imap_at_end(&at) || atts.bodies_n != 1)
        return false;
    *out = atts.bodies->section;
    return true;
}

/* enc-mailbox [";UIDVALIDITY=" nz-number] */
static bool mailbox(struct bytes text, struct arena *arena, struct imap_url *out)
{
    struct bytes value, name;
    if (cut(&text, ";UIDVALIDITY=", &value) && !number(value, &out->uidvalidity))
        return false;
    if (!decode(text, arena, &name) || name.n == 0 || !imap_utf8_is_name(name))
        return false;
    out->mailbox = (const char *)name.p;
    return true;
}

bool imap_url_parse(struct bytes text, struct arena *arena, struct imap_url *out)
{
    struct bytes part, partial, uid;
    *out = (struct imap_url){.section = {.kind = MDSQ_SECTION_ALL}};
    const bool has_partial = cut(&text, "/;PARTIAL=", &partial);
    const bool has_section = cut(&text, "/;SECTION=", &part);
    if (!cut(&text, ";UID=", &uid) || !number(uid, &out->uid))
        return false;
    if ((has_partial && !range(partial, out)) || (has_section && !section(part, arena, &out->section)))
        return false;
    if (text.n == 0)
        return true;
    /* "/mailbox/", of which the last separator belongs to ";UID=" */
    if (text.n < 3 || text.p[0] != '/' || text.p[1] == '/' || text.p[text.n - 1] != '/')
        return false;
    return mailbox(bytes_slice(text, 1, text.n - 2), arena, out);
}

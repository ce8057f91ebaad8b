/*
 * gmime_value: values read by GMime, for MIME_PARSER_GMIME: media types and
 * dispositions with their parameters, address lists, decoded lengths. (Dates:
 * date.c.)
 *
 * GMime decodes what a record keeps as it stands: encoded words, RFC 2231
 * pieces, "xn--" domains. So the characters that begin them are replaced, for
 * GMime's eyes, by others of the same class that do not occur in the value, and
 * put back in what it gives.
 *
 * A value that GMime cannot hold or would change (control characters, 8-bit
 * bytes that it converts, routes that it drops, comments that it keeps), that is not well
 * formed, or that has no free character is left to the room's own parsers.
 */
#include "mime_private.h"

#include <gmime/gmime.h>

#define VALUE_MAX ((size_t)64 << 10)
#define STEP      4096 /* bytes decoded at a time */

/* ---- shields ---- */

struct shield {
    char from[3], to[3]; /* pairs, ended by 0 */
    unsigned n;
};

/* Room in *shield for `c`, with a character that stands nowhere in `v`; false if all are taken. */
static bool shield_add(struct shield *shield, struct bytes v, char c)
{
    static const char atoms[] = "!#$&'+^_`{|}~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (const char *a = atoms; *a; a++) {
        if ((v.n && memchr(v.p, *a, v.n)) || (shield->n && shield->to[0] == *a))
            continue;
        shield->from[shield->n] = c;
        shield->to[shield->n++] = *a;
        return true;
    }
    return false;
}

static void swap(char *text, size_t n, const char *from, const char *to, unsigned pairs)
{
    for (size_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < pairs; k++) {
            if (text[i] == from[k]) {
                text[i] = to[k];
                break;
            }
        }
    }
}

static bool is_plain(struct bytes v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] >= 0x7f || (v.p[i] < ' ' && v.p[i] != '\t'))
            return false;
    }
    return v.n <= VALUE_MAX;
}

/* A shielded C string (g_free), or NULL. */
static char *shielded(struct shield *shield, struct bytes v, const char *what)
{
    *shield = (struct shield){0};
    for (; *what; what++) {
        if (!shield_add(shield, v, *what))
            return NULL;
    }
    char *text = g_strndup((const char *)v.p, v.n);
    swap(text, v.n, shield->from, shield->to, shield->n);
    return text;
}

static void append_unshielded(struct buf *out, const struct shield *shield, const char *text)
{
    const size_t start = out->n;
    buf_append_str(out, text);
    swap((char *)out->p + start, out->n - start, shield->to, shield->from, shield->n);
}

/* ---- types and dispositions ---- */

static void skip_blanks(struct bytes *v)
{
    while (v->n && (v->p[0] == ' ' || v->p[0] == '\t'))
        *v = bytes_slice(*v, 1, SIZE_MAX);
}

static bool skip_token(struct bytes *v)
{
    size_t n = 0;
    while (n < v->n && v->p[n] > ' ' && v->p[n] != 0x7f && !memchr("()<>@,;:\\\"/[]?=", v->p[n], 15))
        n++;
    *v = bytes_slice(*v, n, SIZE_MAX);
    return n > 0;
}

static bool skip_quoted(struct bytes *v)
{
    size_t n = 1;
    while (n < v->n && v->p[n] != '"')
        n += v->p[n] == '\\' ? 2 : 1;
    const bool closed = n < v->n;
    *v = bytes_slice(*v, n + 1, SIZE_MAX);
    return closed;
}

static bool skip_byte(struct bytes *v, char c)
{
    if (v->n == 0 || v->p[0] != (uint8_t)c)
        return false;
    *v = bytes_slice(*v, 1, SIZE_MAX);
    return true;
}

/*
 * type "/" subtype, or a disposition, with parameters as RFC 2045 has them. GMime and param.c tolerate different
 * things; comments, which the RFC allows, GMime takes for a part of the value.
 */
static bool is_formed(struct bytes v, bool is_media)
{
    if (!skip_token(&v) || (is_media && (!skip_byte(&v, '/') || !skip_token(&v))))
        return false;
    for (;;) {
        skip_blanks(&v);
        if (v.n == 0)
            return true;
        if (!skip_byte(&v, ';'))
            return false;
        skip_blanks(&v);
        if (v.n == 0)
            return true;
        const bool named = skip_token(&v);
        skip_blanks(&v);
        if (!named || !skip_byte(&v, '='))
            return false;
        skip_blanks(&v);
        if (!(v.n && v.p[0] == '"' ? skip_quoted(&v) : skip_token(&v)))
            return false;
    }
}

/* What stands behind the type, written anew: ;name="value", with backslashes where they are needed. */
static void params_append(struct buf *out, const struct shield *shield, GMimeParamList *params)
{
    const int n = params ? g_mime_param_list_length(params) : 0;
    for (int i = 0; i < n; i++) {
        GMimeParam *param = g_mime_param_list_get_parameter_at(params, i);
        buf_append_byte(out, ';');
        append_unshielded(out, shield, g_mime_param_get_name(param));
        buf_append(out, "=\"", 2);
        for (const char *c = g_mime_param_get_value(param); *c; c++) {
            if (*c == '"' || *c == '\\')
                buf_append_byte(out, '\\');
            const char one[2] = {*c, 0};
            append_unshielded(out, shield, one);
        }
        buf_append_byte(out, '"');
    }
}

void mime_gmime_media(struct scan *s, struct bytes raw, struct mime_media *out)
{
    struct shield shield;
    const struct bytes v = mime_unfold(raw, &s->scratch);
    char *text = is_plain(v) && is_formed(v, true) ? shielded(&shield, v, "*?") : NULL;
    if (!text) {
        mime_media_parse(raw, out);
        return;
    }
    GMimeContentType *type = g_mime_content_type_parse(NULL, text);
    struct buf *b = &s->joined;
    buf_reset(b);
    append_unshielded(b, &shield, g_mime_content_type_get_media_type(type));
    const size_t type_n = b->n;
    append_unshielded(b, &shield, g_mime_content_type_get_media_subtype(type));
    const size_t subtype_n = b->n - type_n;
    params_append(b, &shield, g_mime_content_type_get_parameters(type));
    const struct bytes all = arena_dup(s->strings, buf_bytes(b));
    *out = (struct mime_media){.type = bytes_slice(all, 0, type_n),
                               .subtype = bytes_slice(all, type_n, subtype_n),
                               .params = bytes_slice(all, type_n + subtype_n, SIZE_MAX)};
    g_object_unref(type);
    g_free(text);
}

struct bytes mime_gmime_disposition(struct scan *s, struct bytes raw)
{
    struct shield shield;
    const struct bytes v = mime_unfold(raw, &s->scratch);
    char *text = is_plain(v) && is_formed(v, false) ? shielded(&shield, v, "*?") : NULL;
    if (!text)
        return raw;
    GMimeContentDisposition *d = g_mime_content_disposition_parse(NULL, text);
    struct buf *b = &s->joined;
    buf_reset(b);
    append_unshielded(b, &shield, g_mime_content_disposition_get_disposition(d));
    params_append(b, &shield, g_mime_content_disposition_get_parameters(d));
    g_object_unref(d);
    g_free(text);
    return arena_dup(s->strings, buf_bytes(b));
}

/* ---- addresses ---- */

struct address_sink {
    struct mime_addresses *list;
    const struct shield *shield;
    uint32_t max;
    bool ok;
};

/* A copy in the list's text, which has room for all, without what shields it. */
static struct bytes take_text(struct address_sink *sink, const char *text, size_t n)
{
    struct buf *b = &sink->list->text;
    if (b->cap - b->n < n) {
        sink->ok = false;
        return (struct bytes){0};
    }
    char *copy = (char *)b->p + b->n;
    memcpy(copy, text, n);
    swap(copy, n, sink->shield->to, sink->shield->from, sink->shield->n);
    b->n += n;
    return bytes_of(copy, n);
}

static void address_add(struct address_sink *sink, struct mime_address a)
{
    struct mime_addresses *list = sink->list;
    if (list->n >= sink->max) {
        sink->ok = false;
        return;
    }
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        struct mime_address *v = realloc(list->v, list->cap * sizeof(*v));
        ASSERT(v); /* max bounds it */
        list->v = v;
    }
    list->v[list->n++] = a;
}

static void mailbox_take(struct address_sink *sink, InternetAddressMailbox *m)
{
    struct mime_address a = {.kind = ADDRESS_MAILBOX};
    const char *name = internet_address_get_name(INTERNET_ADDRESS(m)), *addr = internet_address_mailbox_get_addr(m);
    if (!addr || m->at <= 0 || (size_t)m->at >= strlen(addr)) {
        sink->ok = false;
        return;
    }
    if (name && *name) {
        a.name = take_text(sink, name, strlen(name));
        a.has_name = true;
    }
    char *local = g_strndup(addr, (size_t)m->at);
    g_mime_utils_unquote_string(local);
    a.mailbox = take_text(sink, local, strlen(local));
    g_free(local);
    a.host = take_text(sink, addr + m->at + 1, strlen(addr + m->at + 1));
    address_add(sink, a);
}

static void list_take(struct address_sink *sink, InternetAddressList *addresses, bool in_group)
{
    const int n = addresses ? internet_address_list_length(addresses) : 0;
    for (int i = 0; i < n && sink->ok; i++) {
        InternetAddress *a = internet_address_list_get_address(addresses, i);
        if (INTERNET_ADDRESS_IS_MAILBOX(a)) {
            mailbox_take(sink, INTERNET_ADDRESS_MAILBOX(a));
        } else if (in_group) {
            sink->ok = false;
        } else {
            const char *name = internet_address_get_name(a);
            const struct bytes text = take_text(sink, name ? name : "", name ? strlen(name) : 0);
            address_add(sink, (struct mime_address){.kind = ADDRESS_GROUP_START, .has_name = true, .name = text});
            list_take(sink, internet_address_group_get_members(INTERNET_ADDRESS_GROUP(a)), true);
            address_add(sink, (struct mime_address){.kind = ADDRESS_GROUP_END});
        }
    }
}

/* Behind the construct that begins at i, SIZE_MAX if it has no end. */
static size_t skip_to(struct bytes v, size_t i, char close)
{
    unsigned depth = 0;
    for (; i < v.n; i++) {
        if (v.p[i] == '\\')
            i++;
        else if (close == ')' && v.p[i] == '(')
            depth++;
        else if (v.p[i] == (uint8_t)close && (close != ')' || --depth == 0))
            return i + 1;
    }
    return SIZE_MAX;
}

/*
 * Addresses whose names are words: no route (GMime drops it), no comment in them and no "@" before a "<" (it keeps the
 * one and ends an address at the other), no special but in quotes.
 */
static bool is_plain_list(struct bytes v)
{
    bool at = false, remark = false;
    for (size_t i = 0; i < v.n;) {
        const uint8_t c = v.p[i];
        if (c == '"') {
            i = skip_to(v, i + 1, '"');
        } else if (c == '(') {
            remark = true;
            i = skip_to(v, i, ')');
        } else if (c == '<') {
            if (at || remark || i + 1 == v.n || memchr("<@ \t(", v.p[i + 1], 5))
                return false;
            i = skip_to(v, i, '>');
        } else if (c == '[' && at) {
            i = skip_to(v, i, ']');
        } else if (memchr("[]\\)>", c, 5) || (c == ':' && remark)) {
            return false;
        } else {
            at = c == '@' || (at && !memchr(",;:", c, 3));
            remark = remark && !memchr(",;:", c, 3);
            i++;
        }
    }
    return true;
}

bool mime_gmime_addresses(struct mime_addresses *list, struct bytes value, uint32_t max)
{
    struct shield shield;
    if (value.n == 0 || !is_plain(value) || !is_plain_list(value))
        return false;
    char *text = shielded(&shield, value, "?-"); /* =?charset?..., xn--... */
    if (!text)
        return false;
    struct address_sink sink = {.list = list, .shield = &shield, .max = max, .ok = true};
    list->n = 0;
    list->bad = list->cut = false;
    buf_reset(&list->text);
    buf_reserve(&list->text, 2 * value.n);
    InternetAddressList *addresses = internet_address_list_parse(NULL, text);
    list_take(&sink, addresses, false);
    if (addresses)
        g_object_unref(addresses);
    g_free(text);
    return sink.ok && list->n;
}

/* ---- transfer encodings ---- */

/* GMime ends at the first "=" of base64, loses the end of a broken escape and keeps blanks before a line end. */
static bool is_sound(struct bytes body, uint8_t encoding)
{
    if (encoding == MIME_ENCODING_BASE64)
        return mime_base64_is_clean(body);
    const uint8_t *p = body.p, *const end = body.p + body.n;
    for (size_t i = 1; i <= body.n; i++) {
        const bool blank = p[i - 1] == ' ' || p[i - 1] == '\t';
        if (blank && (i == body.n || p[i] == '\n' || (p[i] == '\r' && i + 1 < body.n && p[i + 1] == '\n')))
            return false;
    }
    while (p < end && (p = memchr(p, '=', (size_t)(end - p)))) {
        const bool pair = end - p > 2 && mime_hex_value(p[1]) >= 0 && mime_hex_value(p[2]) >= 0;
        const bool soft = end - p > 1 && (p[1] == '\n' || (end - p > 2 && p[1] == '\r' && p[2] == '\n'));
        if (!pair && !soft)
            return false;
        p += 2;
    }
    return true;
}

uint64_t mime_gmime_decoded_len(struct bytes body, uint8_t encoding, uint64_t body_crlf)
{
    if ((encoding != MIME_ENCODING_BASE64 && encoding != MIME_ENCODING_QP) || !is_sound(body, encoding))
        return mime_decoded_len(body, encoding, body_crlf);
    struct buf client = {0};
    char out[STEP * 2 + 4]; /* each LF may have become two bytes */
    uint64_t total = 0;
    bool last_cr = false;
    GMimeEncoding state;
    g_mime_encoding_init_decode(&state, encoding == MIME_ENCODING_QP ? GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE
                                                                     : GMIME_CONTENT_ENCODING_BASE64);
    for (size_t off = 0; off < body.n; off += STEP) {
        buf_reset(&client);
        mime_crlf_convert(bytes_slice(body, off, STEP), &last_cr, &client);
        total += g_mime_encoding_step(&state, (const char *)client.p, client.n, out);
    }
    buf_release(&client);
    return total;
}

/*
 * envelope: the ENVELOPE of one message (RFC 3501 7.4.2).
 *
 *   "(" date subject from sender reply-to to cc bcc in-reply-to message-id ")"
 *   address = "(" name adl mailbox host ")"
 *
 * Values are the header's own, unfolded: encoded words stay encoded, as the RFC
 * wants them. Sender and Reply-To default to From. An address without a host
 * has the host "", as NIL would begin a group.
 */
#include "mime_private.h"

#include "base/hash.h"

static void write_address(struct buf *out, const struct mime_address *a)
{
    static const struct bytes nil = {0};
    switch (a->kind) {
    case ADDRESS_GROUP_START:
        buf_append(out, "(NIL NIL ", 9);
        mime_wire_string(out, a->name);
        buf_append(out, " NIL)", 5);
        return;
    case ADDRESS_GROUP_END: buf_append(out, "(NIL NIL NIL NIL)", 17); return;
    default: break;
    }
    buf_append_byte(out, '(');
    mime_wire_nstring(out, a->has_name ? a->name : nil);
    buf_append_byte(out, ' ');
    mime_wire_nstring(out, a->has_route ? a->route : nil);
    buf_append_byte(out, ' ');
    mime_wire_string(out, a->mailbox);
    buf_append_byte(out, ' ');
    mime_wire_string(out, a->host);
    buf_append_byte(out, ')');
}

static void lower_append(struct buf *out, struct bytes v)
{
    uint8_t *q = buf_reserve(out, v.n);
    for (size_t i = 0; i < v.n; i++)
        q[i] = v.p[i] >= 'A' && v.p[i] <= 'Z' ? (uint8_t)(v.p[i] | 0x20) : v.p[i];
    out->n += v.n;
}

static void hash_addresses(struct mime_parser *p, uint8_t role)
{
    for (uint32_t i = 0; i < p->addresses.n; i++) {
        const struct mime_address *a = &p->addresses.v[i];
        if (a->kind != ADDRESS_MAILBOX || a->mailbox.n == 0)
            continue;
        buf_reset(&p->scratch2);
        lower_append(&p->scratch2, a->mailbox);
        buf_append_byte(&p->scratch2, '@');
        lower_append(&p->scratch2, a->host);
        buf_put_u8(&p->hashes, role);
        buf_put_u64(&p->hashes, hash64_of(buf_bytes(&p->scratch2)));
    }
}

static struct span append_raw(struct buf *text, struct bytes v)
{
    const struct span s = {text->n, v.n};
    buf_append_bytes(text, v);
    return s;
}

/* RFC 5256: the first address' mailbox; RFC 5957: its display name, decoded, else mailbox@host. */
static struct span sort_key(struct mime_parser *p)
{
    if (p->addresses.n == 0)
        return (struct span){p->text.n, 0};
    const struct mime_address *a = &p->addresses.v[0];
    return append_raw(&p->text, a->kind == ADDRESS_GROUP_START ? a->name : a->mailbox);
}

static struct span display_key(struct mime_parser *p)
{
    struct span s = {p->text.n, 0};
    if (p->addresses.n == 0)
        return s;
    const struct mime_address *a = &p->addresses.v[0];
    if (a->name.n) {
        bool bad = false;
        mime_words_decode(a->name, &p->text, &bad);
        p->defects |= bad ? MIME_DEFECT(BAD_ENCODED_WORD) : 0;
    } else if (a->kind == ADDRESS_MAILBOX) {
        mime_charset_decode(a->mailbox, (struct bytes){0}, &p->text);
        if (a->host.n) {
            buf_append_byte(&p->text, '@');
            mime_charset_decode(a->host, (struct bytes){0}, &p->text);
        }
    }
    s.n = p->text.n - s.off;
    return s;
}

/* Role numbers of address_hashes; other columns by need. */
static void collect_top(struct mime_parser *p, enum mime_field id, struct mime_top_addresses *top)
{
    static const uint8_t roles[FIELD_COUNT] = {
        [FIELD_FROM] = 1, [FIELD_TO] = 2, [FIELD_CC] = 3, [FIELD_BCC] = 4, [FIELD_SENDER] = 5, [FIELD_REPLY_TO] = 6};
    hash_addresses(p, roles[id]);
    switch (id) {
    case FIELD_FROM:
        top->sort_from = sort_key(p);
        top->display_from = display_key(p);
        break;
    case FIELD_TO:
        top->sort_to = sort_key(p);
        top->display_to = display_key(p);
        break;
    case FIELD_CC: top->sort_cc = sort_key(p); break;
    default: break;
    }
}

/* Writes one address list; false (and nothing written) if it holds no address. */
static bool write_list(struct mime_parser *p, const struct bytes field[], enum mime_field id, struct buf *out,
                       struct mime_top_addresses *top)
{
    if (!field[id].p)
        return false;
    const struct bytes value = mime_unfold(field[id], &p->scratch);
    if (!p->by_gmime || !mime_gmime_addresses(&p->addresses, value, p->settings.max_addresses))
        mime_addresses_parse(&p->addresses, value, p->settings.max_addresses);
    if (p->addresses.bad)
        p->defects |= MIME_DEFECT(BAD_ADDRESS);
    if (p->addresses.cut)
        p->defects |= MIME_DEFECT(TOO_MANY_ADDRESSES);
    if (p->addresses.n == 0) {
        p->defects |= value.n ? MIME_DEFECT(BAD_ADDRESS) : 0;
        return false;
    }
    buf_append_byte(out, '(');
    for (uint32_t i = 0; i < p->addresses.n; i++)
        write_address(out, &p->addresses.v[i]);
    buf_append_byte(out, ')');
    if (top)
        collect_top(p, id, top);
    return true;
}

static void write_value(struct mime_parser *p, struct bytes raw, struct buf *out)
{
    mime_wire_nstring(out, raw.p ? mime_unfold(raw, &p->scratch) : raw);
    buf_append_byte(out, ' ');
}

void mime_envelope_write(struct mime_parser *p, const struct bytes field[FIELD_COUNT], struct buf *out,
                         struct mime_top_addresses *top)
{
    static const enum mime_field lists[] = {FIELD_FROM, FIELD_SENDER, FIELD_REPLY_TO, FIELD_TO, FIELD_CC, FIELD_BCC};
    buf_append_byte(out, '(');
    write_value(p, field[FIELD_DATE], out);
    write_value(p, field[FIELD_SUBJECT], out);
    struct span from = {0};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const enum mime_field id = lists[i];
        const size_t start = out->n;
        if (write_list(p, field, id, out, top)) {
            if (id == FIELD_FROM)
                from = (struct span){start, out->n - start};
        } else if ((id == FIELD_SENDER || id == FIELD_REPLY_TO) && from.n) {
            buf_reserve(out, from.n); /* the copy's source must not move */
            buf_append(out, out->p + from.off, from.n);
        } else {
            buf_append(out, "NIL", 3);
        }
        buf_append_byte(out, ' ');
    }
    write_value(p, field[FIELD_IN_REPLY_TO], out);
    write_value(p, field[FIELD_MESSAGE_ID], out);
    out->p[out->n - 1] = ')';
}

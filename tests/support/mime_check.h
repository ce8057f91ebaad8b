/*
 * mime_check: what must hold for the record of any bytes at all. Shared by the
 * corpus test, the unit tests and the fuzzer; returns NULL or what is broken.
 */
#ifndef MIME_CHECK_H
#define MIME_CHECK_H

#include "imap_grammar.h"

#include "mime/crlf.h"
#include "mime/mime.h"
#include "mime/parts.h"

#include <glib.h>

static inline bool mime_check_is_utf8(struct bytes v)
{
    for (;;) {
        const char *end = NULL;
        if (v.n == 0 || g_utf8_validate_len((const char *)v.p, v.n, &end))
            return true;
        v = bytes_slice(v, (size_t)((const uint8_t *)end - v.p), SIZE_MAX);
        if (v.p[0] != 0)
            return false;
        v = bytes_slice(v, 1, SIZE_MAX);
    }
}

static inline const char *mime_check_wire(const struct mime_record *r)
{
    struct imap_grammar g = {r->envelope.p, r->envelope.p + r->envelope.n, NULL};
    if (!imap_grammar_envelope(&g) || g.p != g.end)
        return g.why ? g.why : "envelope: bytes behind it";
    g = (struct imap_grammar){r->bodystructure.p, r->bodystructure.p + r->bodystructure.n, NULL};
    if (!imap_grammar_body(&g, true) || g.p != g.end)
        return g.why ? g.why : "bodystructure: bytes behind it";
    struct buf body = {0};
    const char *bad = NULL;
    if (mime_body_from_bodystructure(r->bodystructure, &body, NULL) != BASE_OK) {
        bad = "bodystructure: not taken for BODY";
    } else {
        g = (struct imap_grammar){body.p, body.p + body.n, NULL};
        if (!imap_grammar_body(&g, false) || g.p != g.end)
            bad = g.why ? g.why : "body: bytes behind it";
    }
    buf_release(&body);
    return bad;
}

static inline size_t mime_check_crlf(struct bytes v, struct buf *scratch)
{
    bool last_cr = false;
    buf_reset(scratch);
    mime_crlf_convert(v, &last_cr, scratch);
    return scratch->n;
}

static inline const char *mime_check_part(struct bytes item, const struct mime_part *p, struct buf *scratch)
{
    const struct bytes header = bytes_slice(item, (size_t)p->header_off, (size_t)p->header_len);
    const struct bytes body = bytes_slice(item, (size_t)p->body_off, (size_t)p->body_len);
    const uint8_t kind = p->kind == MIME_PART_MESSAGE_ROOT ? p->root_kind : p->kind;
    if (mime_check_crlf(header, scratch) != p->header_crlf)
        return "part: header_crlf";
    if (mime_check_crlf(body, scratch) != p->body_crlf)
        return "part: body_crlf";
    uint64_t lines = 0;
    for (size_t i = 0; i < body.n; i++)
        lines += body.p[i] == '\n';
    if (lines != p->lines)
        return "part: lines";
    if (kind == MIME_PART_LEAF || kind == MIME_PART_TEXT) {
        buf_reset(scratch);
        mime_decode_transfer(body, p->encoding, scratch);
        if (scratch->n != p->decoded_len)
            return "part: decoded_len";
    }
    return NULL;
}

static inline const char *mime_check_parts(struct bytes item, const struct mime_record *r)
{
    struct mime_parts t;
    if (mime_parts_decode(r->parts, item.n, &t, NULL) != BASE_OK)
        return "parts: do not decode";
    struct buf scratch = {0};
    const char *bad = NULL;
    mime_parts_encode(t.v, t.n, &scratch);
    if (!bytes_equal(buf_bytes(&scratch), r->parts))
        bad = "parts: encode again differs";
    /* Bodies nest, so this is parts times bytes: enough of them is enough. */
    for (uint32_t i = 0; !bad && i < t.n && i < 200; i++)
        bad = mime_check_part(item, &t.v[i], &scratch);
    uint64_t off, len, crlf;
    const struct mime_part *part;
    if (!bad && (mime_parts_resolve(&t, NULL, 0, MIME_SECTION_ALL, &off, &len, &crlf, &part) != BASE_OK || off != 0 ||
                 len != r->size || crlf != r->size_crlf || part))
        bad = "parts: the whole item";
    if (!bad && mime_parts_resolve(&t, (uint32_t[]){1}, 1, MIME_SECTION_ALL, &off, &len, &crlf, &part) != BASE_OK)
        bad = "parts: no part 1";
    mime_parts_release(&t);
    buf_release(&scratch);
    return bad;
}

static inline const char *mime_check_map(struct bytes item, const struct mime_record *r)
{
    struct mime_crlf_map map;
    if (mime_crlf_map_decode(r->crlf_map, item.n, &map, NULL) != BASE_OK)
        return "crlf map: does not decode";
    const char *bad = NULL;
    bool last_cr = false;
    uint64_t lone = 0;
    if (map.n == 0 && item.n >= MIME_CRLF_STEP && r->size != r->size_crlf)
        bad = "crlf map: missing";
    for (size_t i = 0; i < map.n && !bad; i++) {
        if (map.lone[i] != lone)
            bad = "crlf map: count";
        lone += mime_crlf_count_lone(bytes_slice(item, i * MIME_CRLF_STEP, MIME_CRLF_STEP), &last_cr);
    }
    mime_crlf_map_release(&map);
    return bad;
}

static inline const char *mime_check_record(struct bytes item, const struct mime_record *r)
{
    struct buf one = {0}, two = {0};
    struct mime_record back;
    const char *bad = mime_check_wire(r);
    if (!bad && (r->size != item.n || mime_check_crlf(item, &one) != r->size_crlf))
        bad = "size";
    if (!bad)
        bad = mime_check_parts(item, r);
    if (!bad)
        bad = mime_check_map(item, r);
    const struct bytes texts[] = {r->subject, r->base_subject, r->preview, r->display_from, r->display_to};
    for (size_t i = 0; !bad && i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!mime_check_is_utf8(texts[i]))
            bad = "a decoded text is not UTF-8";
    }
    buf_reset(&one);
    mime_record_encode(r, &one);
    if (!bad && mime_record_decode(buf_bytes(&one), &back, NULL) != BASE_OK)
        bad = "record: does not decode";
    if (!bad) {
        mime_record_encode(&back, &two);
        if (!bytes_equal(buf_bytes(&one), buf_bytes(&two)))
            bad = "record: round trip";
    }
    buf_release(&one);
    buf_release(&two);
    return bad;
}

#endif

/*
 * What the files of mime/ share. An item goes through them in this order:
 *
 *   scan.c       bytes -> entities: where every header and body lies, which fields stand in them
 *                (gmime_tree.c: the same from GMime's tree, gmime_value.c and date.c its values)
 *   envelope.c   fields -> ENVELOPE            (address.c, wire.c)
 *   structure.c  entities -> BODYSTRUCTURE     (param.c, wire.c)
 *   parts.c      entities -> part table
 *   parse.c      all of it, and the record's small values (subject.c, msgid.c, date.c, preview.c)
 *
 * Everything below is linear in the bytes it is given, and nothing allocates
 * for one item but the growing buffers of struct mime_parser, which are kept.
 */
#ifndef MIME_PRIVATE_H
#define MIME_PRIVATE_H

#include "mime/crlf.h"
#include "mime/mime.h"
#include "mime/parts.h"

#include <glib.h>

/* Fields that the room reads itself; the order is that of the ENVELOPE, then of body fields. */
enum mime_field {
    FIELD_DATE,
    FIELD_SUBJECT,
    FIELD_FROM,
    FIELD_SENDER,
    FIELD_REPLY_TO,
    FIELD_TO,
    FIELD_CC,
    FIELD_BCC,
    FIELD_IN_REPLY_TO,
    FIELD_MESSAGE_ID,
    FIELD_REFERENCES,
    FIELD_CONTENT_TYPE,
    FIELD_ENCODING,
    FIELD_CONTENT_ID,
    FIELD_DESCRIPTION,
    FIELD_MD5,
    FIELD_DISPOSITION,
    FIELD_LANGUAGE,
    FIELD_LOCATION,
    FIELD_COUNT,
    FIELD_RECEIVED = FIELD_COUNT, /* may repeat: not kept in an entity */
    FIELD_OTHER
};
enum mime_field mime_field_of(struct bytes name);

/* ---- count.c: bytes of interest, several at a time ---- */

struct mime_counts {
    uint64_t lf, lone_lf, cr, nul, high; /* high: bytes over 127 */
};
/* prev: the byte before the range (any but CR if there is none). */
struct mime_counts mime_count(struct bytes v, uint8_t prev);
struct mime_lines {
    uint64_t lf, lone_lf;
};
struct mime_lines mime_count_lines(struct bytes v, uint8_t prev); /* the same two numbers, sooner */
bool mime_is_ascii(struct bytes v);
/* Characters of base64's alphabet, without "=". */
uint64_t mime_count_base64(struct bytes v);
uint64_t mime_count_line_ends(struct bytes v); /* CRs and LFs */
bool mime_is_quotable(struct bytes v); /* an IMAP quoted string as it stands: 7-bit, no ", \, CR, LF or NUL */
/* true if some line has more than `limit` bytes before its LF (or the end). */
bool mime_has_long_line(struct bytes v, size_t limit);

/* ---- field.c ---- */

bool mime_is_field_line(struct bytes line, size_t *colon_out);
bool mime_is_mbox_from(struct bytes line);
struct bytes mime_trim(struct bytes v); /* white space and line ends at both ends */
/* Unfolded and trimmed value without NULs: v itself if it has neither fold nor NUL, else a copy in scratch (reset
 * first). */
struct bytes mime_unfold(struct bytes raw, struct buf *scratch);

/* ---- param.c: RFC 2045 values ---- */

struct mime_media {
    struct bytes type, subtype; /* as given; empty if the value does not parse */
    struct bytes params;        /* what follows, for mime_param_next */
};
bool mime_media_parse(struct bytes raw, struct mime_media *out);
/* The next parameter. name is never empty. The value is a view, or a copy in scratch (appended) if it had escapes or
 * folds. */
bool mime_param_next(struct bytes *rest, struct buf *scratch, struct bytes *name, struct bytes *value);
/* First token (RFC 2045 token characters, or what stands in quotes); false if there is none. */
bool mime_token_next(struct bytes *rest, struct bytes *token);
enum mime_encoding mime_encoding_of(struct bytes raw, bool *known);

/* ---- scan.c ---- */

enum mime_shown {
    SHOWN_AS_IS,
    SHOWN_AS_TEXT,   /* what could not be taken apart: text/plain */
    SHOWN_AS_OCTETS, /* an encoded message: application/octet-stream */
};

struct entity {
    struct mime_part part; /* complete but for *_crlf, lines, decoded_len */
    struct mime_media media;
    uint8_t shown;                   /* enum mime_shown */
    bool digest_child;               /* message/rfc822 by default */
    struct bytes field[FIELD_COUNT]; /* raw values; p NULL if absent */
};

/* Called for every field of the item's own header, in order. */
typedef void mime_field_fn(void *arg, enum mime_field id, struct bytes name, struct bytes raw, struct bytes whole);

struct scan {
    /* input */
    struct bytes item;
    uint64_t max_header;
    uint32_t max_parts, max_depth;
    mime_field_fn *on_field;
    void *arg;
    /* output; kept between items */
    struct entity *v;
    uint32_t n, cap;
    uint64_t defects;
    struct arena *strings; /* parameters that had escapes */
    struct buf scratch, joined;
    const char *gmime_why; /* mime_gmime_scan: why the item stays the scanner's; NULL if it does not */
    /* inner: entities not yet ended, the item first */
    struct scan_open *open;
    uint32_t n_open, cap_open;
};
void mime_scan(struct scan *s);
/* One entity, the item: a header up to the first empty line, the rest a text. */
void mime_scan_opaque(struct scan *s);
void mime_scan_release(struct scan *s);
/* The value of a parameter as a scan uses it, or nothing; stays where it is until the next item. */
struct bytes mime_scan_param(struct scan *s, struct bytes params, struct bytes wanted);
struct entity *mime_entity_add(struct scan *s, uint32_t parent, uint64_t off);

/* ---- gmime_tree.c, gmime_value.c: the same by GMime ---- */

/* Replaces the entities of a finished scan; false: the item stays the scanner's, which must run again. */
bool mime_gmime_scan(struct scan *s);
/* Views of s->strings; as the room's parsers read it where GMime cannot. */
void mime_gmime_media(struct scan *s, struct bytes raw, struct mime_media *out);
struct bytes mime_gmime_disposition(struct scan *s, struct bytes raw);

/* ---- wire.c: IMAP strings ---- */

void mime_wire_string(struct buf *out, struct bytes v);
void mime_wire_nstring(struct buf *out, struct bytes v); /* NIL if v.p is NULL */
void mime_wire_upper(struct buf *out, struct bytes v);   /* a string in upper case */

/* ---- address.c ---- */

enum mime_address_kind { ADDRESS_MAILBOX, ADDRESS_GROUP_START, ADDRESS_GROUP_END };
struct mime_address {
    uint8_t kind;
    bool has_name, has_route;
    struct bytes name, route, mailbox, host; /* name of a group stands in `name`; views of the value or of `text` */
};
struct mime_addresses {
    struct mime_address *v;
    uint32_t n, cap;
    struct buf text; /* copies: unquoted names */
    bool bad;        /* something was skipped or guessed */
    bool cut;        /* the limit was met */
};
/* value: unfolded. Views are valid until the next call with the same list. */
void mime_addresses_parse(struct mime_addresses *list, struct bytes value, uint32_t max);
/* The same by GMime; false: a value for mime_addresses_parse. */
bool mime_gmime_addresses(struct mime_addresses *list, struct bytes value, uint32_t max);
void mime_addresses_release(struct mime_addresses *list);

/* ---- casemap.c ---- */

/* mime_casemap with a memory of what was mapped before, for much text; NULL: without. One thread at a time. */
struct mime_casemap_cache;
struct mime_casemap_cache *mime_casemap_cache_new(void);
void mime_casemap_cache_free(struct mime_casemap_cache **cache);
void mime_casemap_cached(struct mime_casemap_cache *cache, struct bytes utf8, struct buf *out);

/* ---- parser ---- */

struct span {
    size_t off, n;
};

struct mime_parser {
    /* permanent */
    struct mime_settings settings;
    struct bytes *keep; /* names, open addressing by hash; p NULL is free */
    uint32_t keep_mask;
    /* reset for each item */
    struct scan scan;
    struct mime_addresses addresses;
    struct buf envelope, structure, parts, map, headers, text, hashes;
    struct buf scratch, scratch2, table;
    struct mime_counts in_item, in_header; /* of all its bytes, and of the first part's header with its blank line */
    uint64_t defects;
    bool by_gmime; /* this item */
};

/* envelope.c: writes the ENVELOPE of a message's fields. With `top`, also collects address hashes, sort keys and
 * defects. */
struct mime_top_addresses {
    struct span display_from, display_to, sort_from, sort_to, sort_cc; /* in parser->text */
};
void mime_envelope_write(struct mime_parser *p, const struct bytes field[FIELD_COUNT], struct buf *out,
                         struct mime_top_addresses *top);

/* structure.c */
void mime_structure_write(struct mime_parser *p, struct buf *out);

/* decode.c */
int mime_hex_value(uint8_t c); /* -1 if it is no hex digit */
uint64_t mime_decoded_len(struct bytes body, uint8_t encoding, uint64_t body_crlf);
uint64_t mime_gmime_decoded_len(struct bytes body, uint8_t encoding, uint64_t body_crlf);
bool mime_base64_is_clean(struct bytes body);
/* converters.c: to UTF-8, from a charset that iconv knows by name; MIME_NO_CONVERTER if it knows none. Taken, used, given back. */
#define MIME_CHARSET_NAME_BYTES 40
#define MIME_NO_CONVERTER ((GIConv)-1)
GIConv mime_converter_take(const char *name);
void mime_converter_give(const char *name, GIConv cd);

/* charset.c */
bool mime_charset_is_known(struct bytes name);
void mime_charset_decode(struct bytes in, struct bytes charset, struct buf *out);
/* word.c: *bad is set if an encoded word did not decode */
void mime_words_decode(struct bytes value, struct buf *out, bool *bad);
/* subject.c: base subject of a decoded subject, appended */
bool mime_base_subject(struct bytes subject, struct buf *out);
/* msgid.c: the next id in *rest, normalised, appended to out; false at the end. */
bool mime_id_next(struct bytes *rest, struct buf *out);
bool mime_id_is_proper(struct bytes raw);
/* date.c */
bool mime_date_parse(struct bytes value, int64_t *seconds, int16_t *zone_minutes);
bool mime_gmime_date(struct bytes value, int64_t *seconds, int16_t *zone_minutes);
/* preview.c */
void mime_preview_write(struct mime_parser *p, struct buf *out);

#endif

/*
 * mime: bytes in, record out; bytes in, decoded text out.
 *
 * The only room that includes GMime; nothing of GMime leaves it. No files, no
 * LMDB. Every function is total: any bytes at all give a record, strange mail
 * gives the record defect bits (mime/defects.h, docs/TOLERATED.md).
 *
 *     mime_init();                                     // once a process
 *     struct mime_parser *p = mime_parser_new(&settings);
 *     mime_parse(p, item, &record);                    // views into p and item
 *     mime_record_encode(&record, &buf);               // plain bytes, any process
 *     mime_parser_free(&p);
 *
 * Stored and client bytes: items are kept as found. A client sees each LF that
 * lacks its CR as CRLF and each NUL as 0x80 (nothing else changes); "stored"
 * offsets count the former, "crlf" sizes the latter.
 *
 * Thread rule: a parser belongs to one thread at a time.
 */
#ifndef MIME_MIME_H
#define MIME_MIME_H

#include "base/bytes.h"
#include "base/error.h"

#include "mime/defects.h"

/*
 * Who finds the parts and reads the values. Both give the same record for every item of sound structure (tested on every
 * corpus); what GMime cannot take is the scanner's with either. The scanner is the fast one, GMime its referee.
 */
enum mime_parser_kind { MIME_PARSER_SCAN = 0, MIME_PARSER_GMIME };

/* Limits; zero means the default. Past a limit the rest is opaque text and a defect says so. */
struct mime_settings {
    uint32_t max_header_bytes; /* a header block's bytes that are looked at; 1 MiB */
    uint32_t max_parts;        /* 10,000 */
    uint32_t max_depth;        /* nested multiparts and messages; 100 */
    uint32_t max_addresses;    /* of one field; 10,000 */
    uint32_t max_references;   /* ids kept of References, the first and the newest; 100 */
    uint32_t preview_chars;    /* 200 (RFC 8970) */
    /* Field names kept in `headers`, lower case, NULL-terminated; NULL means mime_default_headers. */
    const char *const *headers;
    bool all_headers; /* keep the whole block instead */
    enum mime_parser_kind parser;
};

extern const char *const mime_default_headers[]; /* what clients ask for; the list with its reasons is in init.c */

void mime_init(void);

/*
 * The record of one item. All views are valid until the next mime_parse or
 * mime_parser_free with the same parser (from mime_parse), or as long as the
 * decoded bytes (from mime_record_decode).
 */
struct mime_record {
    uint64_t defects;       /* enum mime_defect bits */
    uint64_t size;          /* stored bytes */
    uint64_t size_crlf;     /* RFC822.SIZE */
    /* As IMAP sends them (RFC 3501 7.4.2): "(...)" with quoted strings and literals; always grammatical. 7-bit quoted strings; all
     * else is a literal, no NUL. */
    struct bytes envelope;
    struct bytes bodystructure;
    struct bytes parts;     /* encoded part table, see mime/parts.h */
    struct bytes crlf_map;  /* encoded sparse map, see mime/crlf.h; empty if none is needed */
    struct bytes headers;   /* the kept fields as stored (folds, line ends), in order, without the final blank line */
    bool headers_complete;  /* `headers` is the whole block */
    bool has_sent_date;
    int64_t sent_date;      /* Date field, seconds since the epoch, UTC */
    int16_t sent_zone;      /* minutes east of UTC */
    bool has_received_date;
    int64_t received_date;  /* newest (topmost parseable) Received field */
    int16_t received_zone;
    struct bytes message_id;   /* normalised: without <>, comments and white space; empty if none */
    struct bytes in_reply_to;  /* first id, normalised */
    struct bytes references;   /* ids normalised, each followed by a NUL, oldest first */
    uint64_t thread_id;        /* hash of the conversation's root id (References[0], In-Reply-To, own id, item hash): OBJECTID's THREADID */
    struct bytes base_subject; /* RFC 5256 2.1, UTF-8 */
    bool subject_is_reply;     /* RFC 5256: re/fw or (fwd) was removed */
    struct bytes subject;      /* decoded, UTF-8 */
    struct bytes preview;      /* decoded, UTF-8 */
    struct bytes display_from; /* RFC 5957 sort keys, UTF-8 */
    struct bytes display_to;
    struct bytes sort_from, sort_to, sort_cc; /* mailbox of the first address, RFC 5256 */
    /* hash64 of each lower-cased "mailbox@host": u64 big-endian after a u8: 1 from, 2 to, 3 cc, 4 bcc, 5 sender, 6 reply-to */
    struct bytes address_hashes;
};

struct mime_parser;
struct mime_parser *mime_parser_new(const struct mime_settings *settings);
void mime_parser_free(struct mime_parser **p);

/* `item` must stay valid and unchanged as long as the record is used. Never fails. Linear in the item's size, whatever it holds. */
void mime_parse(struct mime_parser *p, struct bytes item, struct mime_record *out);

/* Without GMime: one text/plain part of octets, envelope from nothing or the plainest fields. `why`
 * (MIME_DEFECT_PARSER_CRASHED, _HUNG ...) is added to the defects. For items that killed a parser. */
void mime_parse_opaque(struct mime_parser *p, struct bytes item, uint64_t why, struct mime_record *out);

/* Transfer form between processes: self-contained, versioned by the program only (never stored). Decode checks every bound. */
void mime_record_encode(const struct mime_record *r, struct buf *out);
int mime_record_decode(struct bytes in, struct mime_record *out, struct error *err);

/* BODY (RFC 3501: BODYSTRUCTURE without extension data) from a stored bodystructure. BASE_ERR_CORRUPT if that does not parse. */
int mime_body_from_bodystructure(struct bytes bodystructure, struct buf *out, struct error *err);

/*
 * Decoded text, for searching. UTF-8 out whatever comes in: unknown charsets and
 * bad bytes are replaced (U+FFFD), never dropped silently.
 */
/* RFC 2047 decoded, unfolded value of a raw header value. */
void mime_decode_header(struct bytes raw_value, struct buf *out);
/* One part's body: transfer encoding and charset taken off. encoding: enum mime_encoding (mime/parts.h); charset "" means us-ascii/guess. */
void mime_decode_text(struct bytes body, uint8_t encoding, const char *charset, struct buf *out);
/* Transfer encoding only (BINARY). */
void mime_decode_transfer(struct bytes body, uint8_t encoding, struct buf *out);
/* i;unicode-casemap (RFC 5051): titlecase mapping and full decomposition of UTF-8. Invalid UTF-8 is taken byte by byte. */
void mime_casemap(struct bytes utf8, struct buf *out);
/*
 * Next field of a raw header block: name and value (raw, with folds, without
 * the last line end) and the whole field's bytes. Returns false at the end.
 * *pos starts at 0. Lines that are no field (no colon) are skipped.
 */
bool mime_header_next(struct bytes block, size_t *pos, struct bytes *name, struct bytes *raw_value, struct bytes *field);

#endif

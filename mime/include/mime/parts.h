/*
 * parts: the part table of an item: where each MIME part's header and body lie
 * in the stored bytes, and how large they are for a client.
 *
 * Depth-first order; entry 0 is the item itself. Offsets are of stored bytes.
 * Stored in the store's `items` table, so its encoding is part of the format
 * (docs/FORMAT.md): varints, deltas, a few bytes a part.
 *
 * All varints unless said otherwise (base/bytes.h):
 *
 *   n, then n times, depth first:
 *     u8 kind | root_kind << 4
 *     u8 encoding | 0x80 if a charset follows
 *     children
 *     zigzag header_off - the body_off of the entry before (0 for the first)
 *     header_len, body_len
 *     header_crlf - header_len, body_crlf - body_len
 *     lines
 *     zigzag decoded_len - body_crlf         leaves only
 *     blob charset                           if flagged
 *
 * A body begins where its header ends. parent and next follow from children.
 *
 * Section numbers (RFC 3501 6.4.5): children of a multipart are 1..n. A
 * message that is not multipart has part 1: its own body. A message/rfc822
 * part has one child entry: the nested message (kind MESSAGE_ROOT), whose body
 * parts take the numbers below the part's number.
 *
 * Thread rule: a decoded table is immutable.
 */
#ifndef MIME_PARTS_H
#define MIME_PARTS_H

#include "base/bytes.h"
#include "base/error.h"

enum mime_encoding {
    MIME_ENCODING_7BIT = 0,
    MIME_ENCODING_8BIT,
    MIME_ENCODING_BINARY,
    MIME_ENCODING_BASE64,
    MIME_ENCODING_QP,
    MIME_ENCODING_UUENCODE,
    MIME_ENCODING_UNKNOWN, /* shown as it is; BINARY answers UNKNOWN-CTE */
};

enum mime_part_kind {
    MIME_PART_LEAF = 0,
    MIME_PART_TEXT,         /* text/<any> leaf */
    MIME_PART_MULTIPART,
    MIME_PART_MESSAGE,      /* message/rfc822 (or global) with a nested MESSAGE_ROOT child */
    MIME_PART_MESSAGE_ROOT, /* a message: the item, or the child of MIME_PART_MESSAGE */
};

struct mime_part {
    uint8_t kind;         /* enum mime_part_kind. Entry 0 and nested roots: see root_kind */
    uint8_t root_kind;    /* MESSAGE_ROOT only: what its body is (LEAF, TEXT, MULTIPART, MESSAGE) */
    uint8_t encoding;     /* enum mime_encoding of the body */
    uint32_t parent;      /* index; 0 for entry 0 */
    uint32_t children;    /* direct children */
    uint32_t next;        /* index of the next entry that is not inside this one */
    uint64_t header_off;  /* the MIME header (of a root: the message header) */
    uint64_t header_len;  /* with the blank line that ends it */
    uint64_t body_off;
    uint64_t body_len;    /* without the line end that belongs to the boundary after it */
    uint64_t header_crlf; /* client bytes of the header */
    uint64_t body_crlf;   /* client bytes of the body: BODYSTRUCTURE's octets */
    uint64_t lines;       /* of the body, as BODYSTRUCTURE says */
    uint64_t decoded_len; /* exact bytes after the transfer encoding is taken off (BINARY.SIZE); leaves only */
    struct bytes charset; /* text leaves: as given, at most 64 bytes; view into the table's source */
};

struct mime_parts {
    struct mime_part *v; /* owned */
    uint32_t n;
};

/* Encodes for the store. `parts` must be a well-formed depth-first table. */
void mime_parts_encode(const struct mime_part *parts, uint32_t n, struct buf *out);
/* Checks everything (order, bounds against item_size, counts): hostile bytes give BASE_ERR_CORRUPT, never a wild table. Views
 * point into `in`. Release with mime_parts_release. */
int mime_parts_decode(struct bytes in, uint64_t item_size, struct mime_parts *out, struct error *err);
void mime_parts_release(struct mime_parts *p);

/* What BODY[section] names. */
enum mime_section_part {
    MIME_SECTION_ALL,    /* "" or "1.2": whole item, or a part's body */
    MIME_SECTION_HEADER, /* HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT */
    MIME_SECTION_TEXT,
    MIME_SECTION_MIME,
};
/*
 * Resolves section numbers to a stored range. path: n numbers, 1-based. On success off/len are
 * stored bytes, len_crlf client bytes and *part_out the entry (NULL for the whole item).
 * BASE_ERR_NOTFOUND: no such section (a client gets NIL / empty as the RFC says).
 */
int mime_parts_resolve(const struct mime_parts *p, const uint32_t *path, uint32_t n, enum mime_section_part what,
                       uint64_t *off_out, uint64_t *len_out, uint64_t *len_crlf_out, const struct mime_part **part_out);

#endif

/* writer: what a server sends, in the forms that the formal syntax of RFC 3501 allows. All append to a
 * buffer. */
#ifndef IMAP_WIRE_WRITER_H
#define IMAP_WIRE_WRITER_H

#include "base/bytes.h"

/* string: quoted if it is short ASCII without line ends, else a literal. A NUL, which no string may hold,
 * becomes 0x80. */
void imap_write_string(struct buf *out, struct bytes v);
/* astring: an atom if it can be one (never NIL), else a string. */
void imap_write_astring(struct buf *out, struct bytes v);
/* mailbox: a UTF-8 name in modified UTF-7, as an astring; INBOX in capitals. */
void imap_write_mailbox(struct buf *out, const char *utf8);
/* mailbox where the client reads UTF-8 (RFC 6855, RFC 9051): quoted, as it is. */
void imap_write_mailbox_utf8(struct buf *out, const char *utf8);
/* literal8 = "~{n}" CRLF: the caller sends the n bytes, which may hold NULs. */
void imap_write_literal8_head(struct buf *out, uint64_t n);
/* "7" or "7:9" */
void imap_write_range(struct buf *out, uint32_t first, uint32_t last);
/* "{n}" CRLF; the caller sends the n bytes. */
void imap_write_literal_head(struct buf *out, uint64_t n);

#endif

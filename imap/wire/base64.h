/* base64: RFC 3501's base64 = *(4base64-char) [base64-terminal], one form only (bits left over are 0). For
 * SASL. */
#ifndef IMAP_WIRE_BASE64_H
#define IMAP_WIRE_BASE64_H

#include "base/bytes.h"

/* Appends the decoded bytes; false (and *out as it was) for anything else than base64. */
bool imap_base64_decode(struct bytes in, struct buf *out);
void imap_base64_encode(struct bytes in, struct buf *out);

#endif

/*
 * utf7: mailbox names between UTF-8 and modified UTF-7 (RFC 3501 section 5.1.3), strictly: each name has
 * exactly one encoded form, so decode(encode(x)) == x and encode(decode(y)) == y.
 */
#ifndef IMAP_WIRE_UTF7_H
#define IMAP_WIRE_UTF7_H

#include "base/bytes.h"

/*
 * Appends UTF-8. False (and *out as it was) for what is not valid: bytes outside 0x20-0x7e, unended or empty
 * shifts, bits left over, printable ASCII or NUL in base64, lone surrogates, a superfluous shift ("-&" in the
 * midst of base64).
 */
bool imap_utf7_decode(struct bytes in, struct buf *out);

/* Well-formed UTF-8 (RFC 3629) without control characters: what a mailbox name may be where clients send UTF-8. */
bool imap_utf8_is_name(struct bytes in);

/* Appends modified UTF-7. A byte that is no UTF-8 becomes U+FFFD. */
void imap_utf7_encode(struct bytes utf8, struct buf *out);
/* Is it as it is in modified UTF-7? */
bool imap_utf7_is_plain(struct bytes utf8);

#endif

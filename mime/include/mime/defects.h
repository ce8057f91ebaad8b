/*
 * defects: what was strange in an item. Bits are stored: values never change
 * meaning, new ones are appended. Each is described in docs/TOLERATED.md with a
 * fixture in tests/golden/. Strange mail is not an error.
 */
#ifndef MIME_DEFECTS_H
#define MIME_DEFECTS_H

#include <stdint.h>

/* X(bit, NAME, "key for people and JSON", "one line for mds explain") */
#define MIME_DEFECTS(X)                                                                         \
    X(0, NO_HEADER, "no-header", "the item has no header at all")                               \
    X(1, NO_SEPARATOR, "no-separator", "no blank line ends the header")                         \
    X(2, MISSING_DATE, "missing-date", "no Date field")                                         \
    X(3, MISSING_FROM, "missing-from", "no From field")                                         \
    X(4, MISSING_MESSAGE_ID, "missing-message-id", "no Message-ID field")                       \
    X(5, DUPLICATE_HEADER, "duplicate-header", "a field that may stand once stands twice")      \
    X(6, BAD_DATE, "bad-date", "the Date field does not parse or is out of range")              \
    X(7, BAD_ADDRESS, "bad-address", "an address field does not parse whole")                   \
    X(8, BAD_HEADER_LINE, "bad-header-line", "a header line is neither a field nor a fold")     \
    X(9, HEADER_8BIT, "8bit-header", "bytes over 127 in the header that are not encoded")       \
    X(10, HEADER_NUL, "nul-header", "a NUL in the header")                                      \
    X(11, BODY_NUL, "nul-body", "a NUL in the body")                                            \
    X(12, BARE_CR, "bare-cr", "a CR without LF")                                                \
    X(13, MIXED_LINE_ENDS, "mixed-line-ends", "both CRLF and lone LF end lines")                \
    X(14, BAD_CONTENT_TYPE, "bad-content-type", "a Content-Type does not parse")                \
    X(15, BAD_ENCODING, "bad-encoding", "an unknown Content-Transfer-Encoding")                 \
    X(16, BAD_CHARSET, "bad-charset", "an unknown charset")                                     \
    X(17, BAD_BOUNDARY, "bad-boundary", "a multipart without a usable boundary parameter")      \
    X(18, UNCLOSED_BOUNDARY, "unclosed-boundary", "a multipart is not closed")                  \
    X(19, EMPTY_MULTIPART, "empty-multipart", "a multipart holds no part")                      \
    X(20, HEADER_TOO_LONG, "header-too-long", "header bytes past the limit were not looked at") \
    X(21, TOO_MANY_PARTS, "too-many-parts", "parts past the limit are opaque text")             \
    X(22, TOO_DEEP, "too-deep", "nesting past the limit is opaque text")                        \
    X(23, TOO_MANY_ADDRESSES, "too-many-addresses", "addresses past the limit were left out")   \
    X(24, ENCODED_MULTIPART, "encoded-multipart", "a multipart or message has a transfer encoding other than 7bit, 8bit, binary") \
    X(25, MBOX_FROM, "mbox-from", "the item begins with an mbox From line")                     \
    X(26, BAD_ENCODED_WORD, "bad-encoded-word", "an RFC 2047 word does not decode")             \
    X(27, EMPTY, "empty", "the item has no bytes")                                              \
    X(28, LONG_LINE, "long-line", "a line is longer than 998 bytes")                            \
    X(29, BAD_BASE64, "bad-base64", "a base64 body has foreign bytes or a bad end")             \
    X(30, BAD_MESSAGE_ID, "bad-message-id", "the Message-ID is not of the form <left@right>")   \
    X(31, PARSER_CRASHED, "parser-crashed", "the parser died on this item; indexed as opaque text") \
    X(32, PARSER_HUNG, "parser-hung", "the parser took too long; indexed as opaque text")       \
    X(33, HUGE, "huge", "over 2 GiB; sizes are exact, text is not searched")    \
    X(34, OPAQUE, "opaque", "indexed as opaque text")

enum mime_defect_bit {
#define X(bit, name, key, text) MIME_DEFECT_BIT_##name = bit,
    MIME_DEFECTS(X)
#undef X
};
#define MIME_DEFECT(name) (UINT64_C(1) << MIME_DEFECT_BIT_##name)

struct mime_defect_info {
    unsigned bit;
    const char *key;  /* "missing-date" */
    const char *text; /* one line */
};
/* All defects in bit order, ended by key NULL. */
extern const struct mime_defect_info mime_defect_infos[];

#endif

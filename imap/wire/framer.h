/*
 * framer: cuts a client's bytes into commands (RFC 3501 section 2.2, RFC 7888).
 *
 *     struct imap_framer f = {0};
 *     switch (imap_framer_feed(&f, &limits, in, &used)) {
 *     case IMAP_FRAME_MORE:     all of `in` was used, feed more
 *     case IMAP_FRAME_CONTINUE: say "+ ...", feed more
 *     case IMAP_FRAME_COMMAND:  imap_framer_command(&f), then imap_framer_reset
 *     case IMAP_FRAME_REJECTED: f.reject says why, the command's beginning is kept for its tag; then
 * imap_framer_reset case IMAP_FRAME_CLOSE:    likewise, but the stream cannot be followed any further
 *     }
 *
 * A command is one or more lines; a line that ends with {n} or {n+} goes on with n bytes of literal. A
 * rejected command is followed to its end, literals included, so that no byte of it is taken for a command of
 * its own; but after a synchronising literal that is too big the client waits, and the command ends there.
 *
 * The answers and the bytes of the command do not depend on how the input was split. Memory: what was
 * received, at most line_bytes + command_bytes. Lines end with CRLF; a bare LF is taken for one.
 *
 * A literal of any size passes through by imap_framer_stream: what stood before it is forgotten (the owner has parsed
 * it), its bytes come as IMAP_FRAME_DATA, and the text behind it begins an empty command.
 */
#ifndef IMAP_WIRE_FRAMER_H
#define IMAP_WIRE_FRAMER_H

#include "base/bytes.h"

struct imap_frame_limits {
    size_t line_bytes;    /* text of a command: its lines without line ends and literals */
    size_t literal_bytes; /* one literal */
    size_t command_bytes; /* text and literals together */
    uint64_t skip_bytes;  /* non-synchronising literals of a rejected command are read up to this, then
                             IMAP_FRAME_CLOSE */
};

enum imap_frame {
    IMAP_FRAME_MORE,
    IMAP_FRAME_CONTINUE,
    IMAP_FRAME_COMMAND,
    IMAP_FRAME_REJECTED,
    IMAP_FRAME_CLOSE,
    IMAP_FRAME_LITERAL,
    IMAP_FRAME_DATA,
};

/* A literal that a line announces. */
struct imap_literal {
    uint64_t size; /* UINT64_MAX: more than a number can say */
    bool sync;     /* the client waits for "+" */
    size_t at;     /* where its "{" stands in the command's text so far */
};

enum imap_frame_reject {
    IMAP_REJECT_NONE,
    IMAP_REJECT_LINE,    /* line_bytes passed */
    IMAP_REJECT_LITERAL, /* literal_bytes passed, or its number is no 32-bit number */
    IMAP_REJECT_COMMAND, /* command_bytes passed */
    IMAP_REJECT_OWNER,   /* by imap_framer_refuse */
};

#define IMAP_FRAMER_TAIL_BYTES 24  /* "{4294967295+}" CR, and room to see that a number is too long */
#define IMAP_FRAMER_KEPT_BYTES 256 /* of a rejected command */

/* Zero-initialised is ready. Read command and reject through the functions; touch nothing else but
 * plain_line and ask. */
struct imap_framer {
    /* Set by the owner: the next line has no literals (the answer to a SASL challenge). Cleared by reset. */
    bool plain_line;
    bool ask; /* Likewise: literals are announced by IMAP_FRAME_LITERAL. */
    /* Cleared by reset. */
    struct buf command;    /* as received, line ends as CRLF, without the last one */
    size_t text_bytes;     /* of all lines so far */
    size_t literal_total;  /* bytes of all literals so far */
    uint64_t literal_left; /* > 0: inside a literal */
    uint64_t skipped;
    enum imap_frame_reject reject;
    uint8_t tail[IMAP_FRAMER_TAIL_BYTES]; /* the line's last bytes */
    size_t tail_n;
    bool asked;     /* IMAP_FRAME_LITERAL waits for its answer */
    bool streaming; /* literal_left bytes are DATA */
    bool streamed;  /* a literal was */
    struct imap_literal literal;
    struct bytes data; /* view into the last feed's input */
};

/* *used_out bytes of `in` were taken; the rest belongs to what comes after the answer. */
enum imap_frame imap_framer_feed(struct imap_framer *f, const struct imap_frame_limits *limits,
                                 struct bytes in, size_t *used_out);
/* The announced literal becomes part of the command, if the limits allow: CONTINUE, MORE, REJECTED or CLOSE. */
enum imap_frame imap_framer_collect(struct imap_framer *f, const struct imap_frame_limits *limits);
/* It comes as DATA whatever its size, and the text so far is gone: CONTINUE or MORE. */
enum imap_frame imap_framer_stream(struct imap_framer *f);
/*
 * It is not wanted, or (after _stream) what is left of it is not: the command is followed to its end, which is then REJECTED, by at most
 * skip_bytes. REJECTED at once if the client waits; else MORE or CLOSE.
 */
enum imap_frame imap_framer_refuse(struct imap_framer *f, const struct imap_frame_limits *limits);
/* View, until the next feed or reset. */
static inline struct bytes imap_framer_command(const struct imap_framer *f)
{
    return buf_bytes(&f->command);
}
/* Frees: an idle session keeps no buffer. */
void imap_framer_reset(struct imap_framer *f);
/* True between commands. */
bool imap_framer_is_empty(const struct imap_framer *f);

#endif

/*
 * framer: see framer.h. Only the end of a line decides whether a literal follows (RFC 7888 section 3 demands
 * just that of a server), so nothing of the grammar is needed here, and a command with an error in it is
 * still framed right.
 */
#include "wire/framer.h"

#include "base/error.h"

enum suffix { SUFFIX_NONE, SUFFIX_SYNC, SUFFIX_NONSYNC, SUFFIX_TOO_LONG };

/* literal = "{" number ["+"] "}" at the end of a line, of which `tail` holds the last bytes. */
static enum suffix literal_suffix(const uint8_t *tail, size_t n, uint64_t *number_out)
{
    if (n < 3 || tail[n - 1] != '}')
        return SUFFIX_NONE;
    size_t end = n - 1;
    bool plus = tail[end - 1] == '+';
    if (plus)
        end--;
    size_t begin = end;
    while (begin > 0 && tail[begin - 1] >= '0' && tail[begin - 1] <= '9')
        begin--;
    if (begin == end)
        return SUFFIX_NONE;
    if (begin == 0) /* more digits than the tail holds: a number that we could not follow */
        return n >= IMAP_FRAMER_TAIL_BYTES - 1 && plus ? SUFFIX_TOO_LONG : SUFFIX_NONE;
    if (tail[begin - 1] != '{')
        return SUFFIX_NONE;
    uint64_t v = 0;
    for (size_t i = begin; i < end; i++)
        v = v * 10 + (tail[i] - '0'); /* at most 21 digits; the check below sees each step */
    if (end - begin > 19 || v > UINT32_MAX)
        v = UINT64_MAX;
    *number_out = v;
    return plus ? SUFFIX_NONSYNC : SUFFIX_SYNC;
}

static void keep_tail(struct imap_framer *f, const uint8_t *p, size_t n)
{
    const size_t cap = sizeof f->tail;
    if (n >= cap) {
        memcpy(f->tail, p + n - cap, cap);
        f->tail_n = cap;
        return;
    }
    size_t keep = f->tail_n + n > cap ? cap - n : f->tail_n;
    memmove(f->tail, f->tail + f->tail_n - keep, keep);
    if (n)
        memcpy(f->tail + keep, p, n);
    f->tail_n = keep + n;
}

static void reject(struct imap_framer *f, enum imap_frame_reject why)
{
    if (f->reject == IMAP_REJECT_NONE)
        f->reject = why;
    if (f->command.n > IMAP_FRAMER_KEPT_BYTES)
        f->command.n = IMAP_FRAMER_KEPT_BYTES;
}

/* Text of a line, without its line end. A rejected command keeps only its beginning. */
static void take_text(struct imap_framer *f, const struct imap_frame_limits *limits, const uint8_t *p,
                      size_t n)
{
    keep_tail(f, p, n);
    /* One more than the limit may be the CR of the line end; more cannot. */
    if (f->reject == IMAP_REJECT_NONE && n > limits->line_bytes + 1 - f->text_bytes)
        reject(f, IMAP_REJECT_LINE);
    if (f->reject == IMAP_REJECT_NONE) {
        buf_append(&f->command, p, n);
        f->text_bytes += n;
    } else {
        size_t room = IMAP_FRAMER_KEPT_BYTES - f->command.n;
        buf_append(&f->command, p, n < room ? n : room);
    }
}

/* After a rejected command's line that announces `number` bytes which the client sends without waiting. */
static bool skip_literal(struct imap_framer *f, const struct imap_frame_limits *limits, uint64_t number)
{
    if (number > limits->skip_bytes || f->skipped > limits->skip_bytes - number)
        return false;
    f->skipped += number;
    f->literal_left = number;
    return true;
}

/* After a rejected command's line that announces a literal. */
static enum imap_frame refuse(struct imap_framer *f, const struct imap_frame_limits *limits)
{
    if (f->literal.sync)
        return IMAP_FRAME_REJECTED;
    return skip_literal(f, limits, f->literal.size) ? IMAP_FRAME_MORE : IMAP_FRAME_CLOSE;
}

static enum imap_frame collect(struct imap_framer *f, const struct imap_frame_limits *limits)
{
    const uint64_t number = f->literal.size;
    if (number > limits->literal_bytes)
        reject(f, IMAP_REJECT_LITERAL);
    else if (f->text_bytes > limits->command_bytes || f->literal_total > limits->command_bytes - f->text_bytes ||
             number > limits->command_bytes - f->text_bytes - f->literal_total)
        reject(f, IMAP_REJECT_COMMAND);
    if (f->reject != IMAP_REJECT_NONE)
        return refuse(f, limits);
    buf_append_str(&f->command, "\r\n");
    f->literal_left = number;
    f->literal_total += (size_t)number;
    return f->literal.sync ? IMAP_FRAME_CONTINUE : IMAP_FRAME_MORE;
}

/* Of the command's text, which ends with the announcement. */
static size_t literal_at(const struct imap_framer *f)
{
    size_t at = f->command.n;
    while (at > 0 && f->command.p[at - 1] != '{')
        at--;
    return at > 0 ? at - 1 : 0;
}

/* The LF was seen. */
static enum imap_frame end_line(struct imap_framer *f, const struct imap_frame_limits *limits)
{
    bool cr = f->tail_n > 0 && f->tail[f->tail_n - 1] == '\r';
    if (cr)
        f->tail_n--;
    if (f->reject == IMAP_REJECT_NONE) {
        if (cr) {
            f->command.n--;
            f->text_bytes--;
        }
        if (f->text_bytes > limits->line_bytes)
            reject(f, IMAP_REJECT_LINE);
    }
    uint64_t number = 0;
    enum suffix suffix = f->plain_line ? SUFFIX_NONE : literal_suffix(f->tail, f->tail_n, &number);
    f->tail_n = 0;
    if (suffix == SUFFIX_NONE)
        return f->reject ? IMAP_FRAME_REJECTED : IMAP_FRAME_COMMAND;
    if (suffix == SUFFIX_TOO_LONG) {
        reject(f, IMAP_REJECT_LITERAL);
        return IMAP_FRAME_CLOSE;
    }
    const struct imap_literal literal = {number, suffix == SUFFIX_SYNC, literal_at(f)};
    f->literal = literal;
    if (f->reject != IMAP_REJECT_NONE)
        return refuse(f, limits);
    if (!f->ask)
        return collect(f, limits);
    f->asked = true;
    return IMAP_FRAME_LITERAL;
}

static size_t take_literal(struct imap_framer *f, const uint8_t *p, size_t n)
{
    size_t take = f->literal_left < n ? (size_t)f->literal_left : n;
    if (f->reject == IMAP_REJECT_NONE)
        buf_append(&f->command, p, take);
    f->literal_left -= take;
    return take;
}

static size_t take_data(struct imap_framer *f, const uint8_t *p, size_t n)
{
    size_t take = f->literal_left < n ? (size_t)f->literal_left : n;
    f->data = bytes_of(p, take);
    f->literal_left -= take;
    if (f->literal_left == 0)
        f->streaming = false;
    return take;
}

enum imap_frame imap_framer_feed(struct imap_framer *f, const struct imap_frame_limits *limits,
                                 struct bytes in, size_t *used_out)
{
    size_t off = 0;
    enum imap_frame answer = IMAP_FRAME_MORE;
    ASSERT(!f->asked);
    while (off < in.n && answer == IMAP_FRAME_MORE) {
        if (f->streaming) {
            off += take_data(f, in.p + off, in.n - off);
            answer = IMAP_FRAME_DATA;
            continue;
        }
        if (f->literal_left > 0) {
            off += take_literal(f, in.p + off, in.n - off);
            continue;
        }
        const uint8_t *p = in.p + off;
        const uint8_t *lf = memchr(p, '\n', in.n - off);
        size_t n = lf ? (size_t)(lf - p) : in.n - off;
        take_text(f, limits, p, n);
        off += n;
        if (lf) {
            off++;
            answer = end_line(f, limits);
        }
    }
    *used_out = off;
    return answer;
}

enum imap_frame imap_framer_collect(struct imap_framer *f, const struct imap_frame_limits *limits)
{
    ASSERT(f->asked);
    f->asked = false;
    return collect(f, limits);
}

enum imap_frame imap_framer_stream(struct imap_framer *f)
{
    ASSERT(f->asked && f->literal.size < UINT64_MAX);
    f->asked = false;
    f->streamed = true;
    buf_release(&f->command);
    f->text_bytes = f->literal_total = 0;
    f->literal_left = f->literal.size;
    f->streaming = f->literal_left > 0;
    return f->literal.sync ? IMAP_FRAME_CONTINUE : IMAP_FRAME_MORE;
}

enum imap_frame imap_framer_refuse(struct imap_framer *f, const struct imap_frame_limits *limits)
{
    reject(f, IMAP_REJECT_OWNER);
    if (f->asked) {
        f->asked = false;
        return refuse(f, limits);
    }
    uint64_t left = f->literal_left;
    f->streaming = false;
    f->literal_left = 0;
    return skip_literal(f, limits, left) ? IMAP_FRAME_MORE : IMAP_FRAME_CLOSE;
}

void imap_framer_reset(struct imap_framer *f)
{
    buf_release(&f->command);
    *f = (struct imap_framer){0};
}

bool imap_framer_is_empty(const struct imap_framer *f)
{
    return f->command.n == 0 && f->tail_n == 0 && f->literal_left == 0 && f->reject == IMAP_REJECT_NONE &&
           !f->streamed && !f->asked;
}

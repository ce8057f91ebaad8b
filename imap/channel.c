/* channel: see channel.h. */
#include "channel.h"

#include <string.h>

enum { STEP_BYTES = 16 << 10 };

static void input_release(struct imap_input *in)
{
    buf_release(&in->buf);
    in->off = 0;
}

/* It may have been a password. */
static void input_used(struct imap_input *in, size_t n, bool secret)
{
    if (secret && n)
        explicit_bzero(in->buf.p + in->off, n);
    in->off += n;
    if (in->off == in->buf.n)
        input_release(in);
}

static struct bytes input_view(const struct imap_input *in)
{
    const size_t left = imap_input_left(in);
    return bytes_of(left ? in->buf.p + in->off : NULL, left);
}

void imap_channel_release(struct imap_channel *ch)
{
    imap_tls_free(&ch->tls);
    imap_deflate_free(&ch->deflate);
    input_release(&ch->in);
    input_release(&ch->packed);
    input_release(&ch->plain);
    buf_release(&ch->out);
}

void imap_channel_put(struct imap_channel *ch, struct buf *from)
{
    if (imap_input_left(&ch->in) > 0)
        return;
    input_release(&ch->in);
    ch->in.buf = *from;
    *from = (struct buf){0};
}

void imap_channel_begin_tls(struct imap_channel *ch, struct imap_tls_context *context)
{
    ASSERT(!ch->tls && !ch->deflate);
    input_release(&ch->in);
    input_release(&ch->plain);
    ch->tls = imap_tls_new(context);
    ch->handshaking = true;
}

void imap_channel_begin_deflate(struct imap_channel *ch, struct buf *early)
{
    ASSERT(!ch->deflate);
    ch->deflate = imap_deflate_new();
    /* What was decoded before the layer is its input: first what the session had, then what it had no room for, then
     * the rest. */
    struct imap_input *below = ch->tls ? &ch->packed : &ch->in;
    const struct bytes plain = input_view(&ch->plain), rest = input_view(below);
    if (early->n == 0 && plain.n == 0)
        return;
    buf_append_bytes(early, plain);
    buf_append_bytes(early, rest);
    input_release(&ch->plain);
    input_release(below);
    below->buf = *early;
    *early = (struct buf){0};
}

enum imap_tls_step imap_channel_handshake(struct imap_channel *ch)
{
    enum imap_tls_step step = imap_tls_handshake(ch->tls, &ch->in, &ch->out);
    if (imap_input_left(&ch->in) == 0)
        input_release(&ch->in);
    if (step == IMAP_TLS_OK)
        ch->handshaking = false;
    else if (step != IMAP_TLS_WANT)
        ch->broken = true;
    return step;
}

/* Decrypted bytes, at most n; 0 if there are none now. */
static size_t read_tls(struct imap_channel *ch, uint8_t *p, size_t n)
{
    size_t got = 0;
    switch (imap_tls_read(ch->tls, &ch->in, p, n, &got, &ch->out)) {
    case IMAP_TLS_OK: break;
    case IMAP_TLS_WANT: break;
    case IMAP_TLS_END:
        ch->ended = true;
        input_release(&ch->in); /* nothing can follow */
        break;
    case IMAP_TLS_FAILED: ch->broken = true; break;
    }
    if (imap_input_left(&ch->in) == 0)
        input_release(&ch->in);
    return got;
}

static size_t inflate_from(struct imap_channel *ch, struct imap_input *from, uint8_t *p, size_t n)
{
    size_t used = 0, got = 0;
    if (imap_input_left(from) == 0 && !imap_deflate_has_plain(ch->deflate))
        return 0;
    if (!imap_deflate_read(ch->deflate, input_view(from), &used, p, n, &got))
        ch->broken = true;
    input_used(from, used, false);
    return got;
}

/* The next decoded bytes, at most n; 0 if there are none now. */
static size_t decode(struct imap_channel *ch, uint8_t *p, size_t n)
{
    if (ch->broken)
        return 0;
    if (!ch->deflate)
        return read_tls(ch, p, n);
    if (!ch->tls)
        return inflate_from(ch, &ch->in, p, n);
    for (;;) {
        if (imap_input_left(&ch->packed) == 0 && !imap_deflate_has_plain(ch->deflate)) {
            uint8_t *room = buf_reserve(&ch->packed.buf, STEP_BYTES);
            const size_t got = read_tls(ch, room, STEP_BYTES);
            ch->packed.buf.n += got;
            if (got == 0) {
                input_release(&ch->packed);
                return 0;
            }
        }
        const size_t got = inflate_from(ch, &ch->packed, p, n);
        if (got > 0 || ch->broken)
            return got;
    }
}

/* Feeds from in; false if something is left of it. */
static bool feed_from(struct imap_input *in, struct imap_session *s, bool *fed)
{
    const struct bytes all = input_view(in);
    if (all.n == 0)
        return true;
    const size_t took = imap_session_feed(s, all.p, all.n);
    *fed |= took > 0;
    input_used(in, took, true);
    return took == all.n;
}

bool imap_channel_feed(struct imap_channel *ch, struct imap_session *s)
{
    bool fed = false;
    if (!ch->tls && !ch->deflate) {
        feed_from(&ch->in, s, &fed);
        return fed;
    }
    while (feed_from(&ch->plain, s, &fed)) {
        uint8_t step[STEP_BYTES];
        const size_t got = decode(ch, step, sizeof step);
        if (got == 0)
            break;
        const size_t took = imap_session_feed(s, step, got);
        fed |= took > 0;
        if (took < got)
            buf_append(&ch->plain.buf, step + took, got - took);
        explicit_bzero(step, got);
        if (took < got)
            break;
    }
    return fed;
}

bool imap_channel_has_input(const struct imap_channel *ch)
{
    if (ch->broken)
        return false;
    if (ch->handshaking)
        return imap_input_left(&ch->in) > 0;
    return imap_input_left(&ch->in) > 0 || imap_input_left(&ch->packed) > 0 || imap_input_left(&ch->plain) > 0 ||
           (ch->tls && imap_tls_has_plain(ch->tls)) || (ch->deflate && imap_deflate_has_plain(ch->deflate));
}

void imap_channel_drain(struct imap_channel *ch, struct imap_session *s, bool flush)
{
    struct bytes plain = imap_session_output(s);
    if (!ch->tls && !ch->deflate)
        return;
    if (!ch->deflate) {
        if (plain.n > 0 && imap_tls_write(ch->tls, plain, &ch->out) != IMAP_TLS_OK)
            ch->broken = true;
    } else if (!ch->tls) {
        imap_deflate_write(ch->deflate, plain, flush, &ch->out);
    } else {
        struct buf packed = {0};
        imap_deflate_write(ch->deflate, plain, flush, &packed);
        if (packed.n > 0 && imap_tls_write(ch->tls, buf_bytes(&packed), &ch->out) != IMAP_TLS_OK)
            ch->broken = true;
        buf_release(&packed);
    }
    imap_session_wrote(s, plain.n);
}

void imap_channel_settle(struct imap_channel *ch, struct imap_session *s)
{
    const struct bytes plain = imap_session_output(s);
    imap_channel_drain(ch, s, true);
    if (!ch->tls && !ch->deflate) {
        buf_append_bytes(&ch->out, plain);
        imap_session_wrote(s, plain.n);
    }
}

void imap_channel_close(struct imap_channel *ch)
{
    if (ch->tls && !ch->handshaking && !ch->broken)
        imap_tls_close(ch->tls, &ch->out);
}

struct bytes imap_channel_output(const struct imap_channel *ch, const struct imap_session *s)
{
    if (ch->out.n > 0)
        return buf_bytes(&ch->out);
    return s && !ch->tls && !ch->deflate ? imap_session_output(s) : bytes_of(NULL, 0);
}

void imap_channel_wrote(struct imap_channel *ch, struct imap_session *s)
{
    if (ch->out.n > 0)
        buf_release(&ch->out);
    else if (s && !ch->tls && !ch->deflate)
        imap_session_wrote(s, imap_session_output(s).n);
}

void imap_channel_rest(struct imap_channel *ch)
{
    if (ch->deflate)
        imap_deflate_rest(ch->deflate);
}

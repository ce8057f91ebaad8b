/* deflate: see deflate.h. */
#include "deflate.h"

#include "base/error.h"

#include <zlib.h>

enum {
    LEVEL = 4,         /* twice as fast as 6 for some percent */
    DEFLATE_BITS = 13, /* memory: (1 << (bits + 2)) + (1 << (memLevel + 9)) */
    DEFLATE_MEMORY = 5,
    INFLATE_BITS = 15,
    STEP_BYTES = 16 << 10,
};

struct imap_deflate {
    z_stream in, out;
    bool in_open, out_open; /* have their memory */
    struct buf window;      /* while in has none: what the client may refer to */
    bool dirty;             /* something was compressed and not flushed */
    bool more;              /* the last inflate filled its room */
};

struct imap_deflate *imap_deflate_new(void)
{
    struct imap_deflate *d = calloc(1, sizeof *d);
    ASSERT(d);
    return d;
}

void imap_deflate_free(struct imap_deflate **deflate)
{
    struct imap_deflate *d = *deflate;
    if (!d)
        return;
    *deflate = NULL;
    if (d->in_open)
        inflateEnd(&d->in);
    buf_release(&d->window);
    if (d->out_open)
        deflateEnd(&d->out);
    free(d);
}

static void open_in(struct imap_deflate *d)
{
    if (d->in_open)
        return;
    ASSERT(inflateInit2(&d->in, -INFLATE_BITS) == Z_OK);
    if (d->window.n > 0)
        ASSERT(inflateSetDictionary(&d->in, d->window.p, (uInt)d->window.n) == Z_OK);
    d->in_open = true;
    buf_release(&d->window);
}

/* Only between two blocks and two bytes, where a client that flushed has left it. */
static void close_in(struct imap_deflate *d)
{
    const bool between = d->in_open && (d->in.data_type & (128 | 64 | 63)) == 128;
    uInt n = 0;
    if (!between || d->more || inflateGetDictionary(&d->in, NULL, &n) != Z_OK)
        return;
    if (n > 0) {
        ASSERT(inflateGetDictionary(&d->in, buf_reserve(&d->window, n), &n) == Z_OK);
        d->window.n = n;
    }
    inflateEnd(&d->in);
    d->in_open = false;
}

bool imap_deflate_read(struct imap_deflate *d, struct bytes in, size_t *used, void *p, size_t n, size_t *got)
{
    open_in(d);
    const uInt room = (uInt)(n < STEP_BYTES ? n : STEP_BYTES), have = (uInt)(in.n < STEP_BYTES ? in.n : STEP_BYTES);
    d->in.next_in = (Bytef *)(uintptr_t)in.p;
    d->in.avail_in = have;
    d->in.next_out = p;
    d->in.avail_out = room;
    const int rc = inflate(&d->in, Z_SYNC_FLUSH);
    *used = have - d->in.avail_in;
    *got = room - d->in.avail_out;
    d->more = d->in.avail_out == 0;
    /* Z_BUF_ERROR: nothing to do with what there is. Z_STREAM_END: RFC 4978 knows no end but the connection's. */
    return rc == Z_OK || rc == Z_BUF_ERROR;
}

bool imap_deflate_has_plain(const struct imap_deflate *d)
{
    return d->more;
}

void imap_deflate_write(struct imap_deflate *d, struct bytes plain, bool flush, struct buf *out)
{
    const size_t all = plain.n;
    if (!d->out_open && all > 0) {
        /* A stream begun anew in the middle of another, after a flush, is the same stream to the client: it only refers
         * to nothing before. */
        ASSERT(deflateInit2(&d->out, LEVEL, Z_DEFLATED, -DEFLATE_BITS, DEFLATE_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK);
        d->out_open = true;
    }
    if (!d->out_open || (all == 0 && !d->dirty))
        return;
    do {
        const uInt part = (uInt)(plain.n < STEP_BYTES ? plain.n : STEP_BYTES);
        const bool last = part == plain.n;
        d->out.next_in = (Bytef *)(uintptr_t)plain.p;
        d->out.avail_in = part;
        do {
            uint8_t *at = buf_reserve(out, STEP_BYTES);
            d->out.next_out = at;
            d->out.avail_out = STEP_BYTES;
            const int rc = deflate(&d->out, last && flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);
            ASSERT(rc == Z_OK || rc == Z_BUF_ERROR);
            out->n += STEP_BYTES - d->out.avail_out;
        } while (d->out.avail_out == 0);
        plain = bytes_of(plain.n ? plain.p + part : NULL, plain.n - part);
    } while (plain.n > 0);
    d->dirty = !flush;
}

void imap_deflate_rest(struct imap_deflate *d)
{
    close_in(d);
    if (!d->out_open || d->dirty)
        return;
    deflateEnd(&d->out);
    d->out_open = false;
}

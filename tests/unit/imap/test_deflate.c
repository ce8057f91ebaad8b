/* COMPRESS=DEFLATE: what a client with zlib says and reads, through pauses, in pieces, and hostile. */
#include <criterion/criterion.h>

#include "deflate.h"
#include "test_support.h"

#include <zlib.h>

struct peer {
    z_stream in, out;
};

static void peer_init(struct peer *p)
{
    memset(p, 0, sizeof *p);
    cr_assert_eq(inflateInit2(&p->in, -15), Z_OK);
    cr_assert_eq(deflateInit2(&p->out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
}

static void peer_release(struct peer *p)
{
    inflateEnd(&p->in);
    deflateEnd(&p->out);
}

static void peer_say(struct peer *p, struct bytes plain, struct buf *out)
{
    p->out.next_in = (Bytef *)(uintptr_t)plain.p;
    p->out.avail_in = (uInt)plain.n;
    do {
        p->out.next_out = buf_reserve(out, 4096);
        p->out.avail_out = 4096;
        cr_assert_eq(deflate(&p->out, Z_SYNC_FLUSH), Z_OK);
        out->n += 4096 - p->out.avail_out;
    } while (p->out.avail_out == 0);
}

static void peer_hear(struct peer *p, struct bytes packed, struct buf *out)
{
    p->in.next_in = (Bytef *)(uintptr_t)packed.p;
    p->in.avail_in = (uInt)packed.n;
    do {
        p->in.next_out = buf_reserve(out, 4096);
        p->in.avail_out = 4096;
        const int rc = inflate(&p->in, Z_SYNC_FLUSH);
        cr_assert(rc == Z_OK || rc == Z_BUF_ERROR, "%d", rc);
        out->n += 4096 - p->in.avail_out;
    } while (p->in.avail_out == 0 || p->in.avail_in > 0);
}

/* Reads all of in with rooms of `room` bytes, in portions of `portion`. False: broken. */
static bool read_all(struct imap_deflate *d, struct bytes in, size_t portion, size_t room, struct buf *out)
{
    while (in.n > 0 || imap_deflate_has_plain(d)) {
        const size_t give = in.n < portion ? in.n : portion;
        size_t used = 0, got = 0;
        const bool ok = imap_deflate_read(d, bytes_of(in.p, give), &used, buf_reserve(out, room), room, &got);
        out->n += got;
        if (!ok)
            return false;
        in = bytes_of(in.p + used, in.n - used);
    }
    return true;
}

static struct buf some_text(struct rng *rng, size_t n)
{
    struct buf b = {0};
    while (b.n < n) {
        if (rng_once_in(rng, 3))
            buf_append_byte(&b, (uint8_t)rng_u64(rng));
        else
            buf_append_str(&b, "* 17 FETCH (FLAGS (\\Seen) UID 4711)\r\n");
    }
    b.n = n;
    return b;
}

Test(deflate, both_ways_in_any_pieces_through_rests)
{
    struct rng rng = rng_start("deflate");
    struct imap_deflate *d = imap_deflate_new();
    struct peer p;
    peer_init(&p);
    for (int round = 0; round < 60; round++) {
        struct buf text = some_text(&rng, rng_below(&rng, 100000)), packed = {0}, got = {0};
        peer_say(&p, buf_bytes(&text), &packed);
        cr_assert(read_all(d, buf_bytes(&packed), 1 + rng_below(&rng, 3000), 1 + rng_below(&rng, 20000), &got));
        cr_assert(bytes_equal(buf_bytes(&text), buf_bytes(&got)), "round %d, to us", round);
        buf_reset(&packed);
        buf_reset(&got);
        /* In parts, of which the last is flushed. */
        for (size_t at = 0, part; at < text.n; at += part) {
            part = 1 + rng_below(&rng, text.n - at);
            imap_deflate_write(d, bytes_of(text.p + at, part), at + part == text.n, &packed);
        }
        peer_hear(&p, buf_bytes(&packed), &got);
        cr_assert(bytes_equal(buf_bytes(&text), buf_bytes(&got)), "round %d, to the client", round);
        if (rng_once_in(&rng, 2))
            imap_deflate_rest(d);
        buf_release(&text);
        buf_release(&packed);
        buf_release(&got);
    }
    imap_deflate_free(&d);
    peer_release(&p);
}

Test(deflate, rest_in_the_middle_of_a_stream_keeps_it)
{
    struct imap_deflate *d = imap_deflate_new();
    struct peer p;
    struct buf packed = {0}, got = {0};
    peer_init(&p);
    peer_say(&p, BYTES_LIT("a NOOP\r\na NOOP\r\na NOOP\r\nb LOGOUT\r\n"), &packed);
    for (size_t i = 0; i < packed.n; i++) {
        cr_assert(read_all(d, bytes_of(packed.p + i, 1), 1, 100, &got));
        imap_deflate_rest(d);
    }
    cr_expect(bytes_equal(buf_bytes(&got), BYTES_LIT("a NOOP\r\na NOOP\r\na NOOP\r\nb LOGOUT\r\n")));
    /* Output that was not flushed is not lost either. */
    buf_reset(&packed);
    buf_reset(&got);
    imap_deflate_write(d, BYTES_LIT("* OK one"), false, &packed);
    imap_deflate_rest(d);
    imap_deflate_write(d, BYTES_LIT(" and two\r\n"), true, &packed);
    peer_hear(&p, buf_bytes(&packed), &got);
    cr_expect(bytes_equal(buf_bytes(&got), BYTES_LIT("* OK one and two\r\n")));
    buf_release(&packed);
    buf_release(&got);
    imap_deflate_free(&d);
    peer_release(&p);
}

Test(deflate, a_bomb_gives_no_more_than_is_asked_for)
{
    struct imap_deflate *d = imap_deflate_new();
    struct peer p;
    struct buf zeros = {0}, packed = {0};
    uint8_t room[1000];
    size_t total = 0, used = 0, got = 0;
    peer_init(&p);
    memset(buf_reserve(&zeros, 10 << 20), 0, 10 << 20);
    zeros.n = 10 << 20;
    peer_say(&p, buf_bytes(&zeros), &packed);
    cr_assert_lt(packed.n, 20000, "it is a bomb");
    struct bytes in = buf_bytes(&packed);
    while (in.n > 0 || imap_deflate_has_plain(d)) {
        cr_assert(imap_deflate_read(d, in, &used, room, sizeof room, &got));
        cr_assert_leq(got, sizeof room);
        in = bytes_of(in.p + used, in.n - used);
        total += got;
    }
    cr_expect_eq(total, zeros.n);
    buf_release(&zeros);
    buf_release(&packed);
    imap_deflate_free(&d);
    peer_release(&p);
}

Test(deflate, refuses_what_is_not_deflate)
{
    struct rng rng = rng_start("not_deflate");
    unsigned refused = 0;
    for (int round = 0; round < 300; round++) {
        struct imap_deflate *d = imap_deflate_new();
        struct buf noise = {0}, got = {0};
        for (int i = 0; i < 200; i++)
            buf_append_byte(&noise, (uint8_t)rng_u64(&rng));
        refused += !read_all(d, buf_bytes(&noise), 7, 500, &got);
        imap_deflate_rest(d);
        buf_release(&noise);
        buf_release(&got);
        imap_deflate_free(&d);
    }
    cr_expect_gt(refused, 250, "%u", refused);
    struct imap_deflate *d = imap_deflate_new();
    struct buf got = {0};
    cr_expect_not(read_all(d, BYTES_LIT("\x03\x00 what comes after the end"), 100, 100, &got),
                  "the stream's end is an error");
    imap_deflate_free(&d);
    buf_release(&got);
}

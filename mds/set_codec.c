/*
 * Containers of UID sets: 65,536 UIDs that share their high 16 bits, as an array, a bitmap or runs, whichever is
 * shortest. CRoaring sees only bytes that set_builder made from containers that passed our own check, as its 0.2.66
 * deserialiser takes almost any bytes for a bitmap.
 */
#include "mds_private.h"

enum set_form { SET_ARRAY = 1, SET_BITMAP = 2, SET_RUNS = 3 };

#define ARRAY_MAX             4096u /* roaring's own limit: above it, a bitmap */
#define BITMAP_BYTES          8192u
#define PORTABLE_COOKIE       12346u /* no run containers */
#define PORTABLE_COOKIE_RUNS  12347u
#define PORTABLE_OFFSETS_FROM 4u /* containers from which on a portable bitmap with runs has offsets */

uint32_t set_bits_count(const struct set_bits *b)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < SET_WORDS; i++)
        n += (uint32_t)__builtin_popcountll(b->w[i]);
    return n;
}

/* Where a run begins: set, with its lower neighbour clear. */
static uint64_t run_starts(const struct set_bits *b, unsigned word)
{
    const uint64_t below = b->w[word] << 1 | (word ? b->w[word - 1] >> 63 : 0);

    return b->w[word] & ~below;
}

/* First bit at or after `from` that is (or is not) set; 65536 if none. */
static uint32_t bit_find(const struct set_bits *b, uint32_t from, bool set)
{
    while (from < 65536) {
        const uint64_t w = (set ? b->w[from / 64] : ~b->w[from / 64]) >> (from % 64);

        if (w)
            return from + (uint32_t)__builtin_ctzll(w);
        from = (from / 64 + 1) * 64;
    }
    return 65536;
}

static void put_runs(const struct set_bits *b, struct buf *out)
{
    for (uint32_t at = bit_find(b, 0, true); at < 65536;) {
        const uint32_t end = bit_find(b, at, false);

        buf_put_u16(out, (uint16_t)at);
        buf_put_u16(out, (uint16_t)(end - 1 - at));
        at = bit_find(b, end, true);
    }
}

static void put_array(const struct set_bits *b, struct buf *out)
{
    for (unsigned i = 0; i < SET_WORDS; i++) {
        for (uint64_t w = b->w[i]; w; w &= w - 1)
            buf_put_u16(out, (uint16_t)(i * 64 + (unsigned)__builtin_ctzll(w)));
    }
}

static void put_bitmap(const struct set_bits *b, struct buf *out)
{
    uint8_t *p = buf_reserve(out, BITMAP_BYTES);

    for (unsigned i = 0; i < BITMAP_BYTES; i++)
        p[i] = (uint8_t)(b->w[i / 8] >> (i % 8 * 8));
    out->n += BITMAP_BYTES;
}

void set_bits_encode(const struct set_bits *b, struct buf *out)
{
    uint32_t count = 0, runs = 0;

    for (unsigned i = 0; i < SET_WORDS; i++) {
        count += (uint32_t)__builtin_popcountll(b->w[i]);
        runs += (uint32_t)__builtin_popcountll(run_starts(b, i));
    }
    ASSERT(count > 0);
    const uint32_t plain = count <= ARRAY_MAX ? 2 * count : BITMAP_BYTES;
    const enum set_form form = 4 * runs < plain ? SET_RUNS : count <= ARRAY_MAX ? SET_ARRAY : SET_BITMAP;

    buf_put_u8(out, (uint8_t)form);
    buf_put_u16(out, (uint16_t)(count - 1));
    if (form == SET_RUNS)
        put_runs(b, out);
    else if (form == SET_ARRAY)
        put_array(b, out);
    else
        put_bitmap(b, out);
}

static uint32_t u16_at(struct bytes v, size_t i)
{
    return (uint32_t)(v.p[2 * i] << 8 | v.p[2 * i + 1]);
}

static bool array_decode(struct bytes v, uint32_t count, struct set_bits *out)
{
    int32_t last = -1;

    if (count > ARRAY_MAX || v.n != 2 * (size_t)count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const uint32_t at = u16_at(v, i);

        if ((int32_t)at <= last)
            return false;
        out->w[at / 64] |= UINT64_C(1) << (at % 64);
        last = (int32_t)at;
    }
    return true;
}

static bool runs_decode(struct bytes v, uint32_t count, struct set_bits *out)
{
    uint32_t sum = 0, free_from = 0; /* free_from: first place the next run may begin */

    if (v.n % 4)
        return false;
    for (size_t i = 0; i < v.n / 4; i++) {
        const uint32_t at = u16_at(v, 2 * i), end = at + u16_at(v, 2 * i + 1) + 1;

        if (at < free_from || end > 65536)
            return false;
        for (uint32_t bit = at; bit < end;) {
            const uint32_t n = 64 - bit % 64 < end - bit ? 64 - bit % 64 : end - bit;

            out->w[bit / 64] |= (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << (bit % 64);
            bit += n;
        }
        sum += end - at;
        free_from = end + 1;
    }
    return sum == count;
}

static bool bitmap_decode(struct bytes v, uint32_t count, struct set_bits *out)
{
    if (count <= ARRAY_MAX || v.n != BITMAP_BYTES)
        return false;
    for (unsigned i = 0; i < BITMAP_BYTES; i++)
        out->w[i / 8] |= (uint64_t)v.p[i] << (i % 8 * 8);
    return set_bits_count(out) == count;
}

static bool form_decode(struct bytes in, struct set_bits *out, enum set_form *form_out, uint32_t *count_out)
{
    struct reader r = reader_of(in);
    const uint8_t form = reader_u8(&r);
    const uint32_t count = reader_u16(&r) + 1u;
    const struct bytes rest = reader_bytes(&r, (size_t)(r.end - r.p));

    memset(out, 0, sizeof *out);
    *form_out = (enum set_form)form;
    *count_out = count;
    if (!reader_done(&r))
        return false;
    switch (form) {
    case SET_ARRAY: return array_decode(rest, count, out);
    case SET_BITMAP: return bitmap_decode(rest, count, out);
    case SET_RUNS: return runs_decode(rest, count, out);
    default: return false;
    }
}

bool set_bits_decode(struct bytes in, struct set_bits *out)
{
    enum set_form form;
    uint32_t count;

    return form_decode(in, out, &form, &count);
}

/* ---- roaring's portable form, little-endian ---- */

static void put_le16(struct buf *b, uint32_t v)
{
    buf_put_u16(b, (uint16_t)((v & 0xff) << 8 | (v >> 8 & 0xff)));
}

static void put_le32(struct buf *b, uint32_t v)
{
    buf_put_u32(b, __builtin_bswap32(v));
}

bool set_builder_add(struct set_builder *s, uint16_t high, struct bytes in)
{
    struct set_bits bits;
    enum set_form form;
    uint32_t count;

    if (s->n == 0)
        s->last_high = -1;
    if (high <= s->last_high || !form_decode(in, &bits, &form, &count))
        return false;
    s->last_high = high;
    const struct bytes rest = bytes_slice(in, 3, SIZE_MAX);

    put_le16(&s->head, high);
    put_le16(&s->head, count - 1);
    put_le32(&s->head, (uint32_t)s->body.n); /* offset, moved to its place by take */
    buf_put_u8(&s->flags, form == SET_RUNS);
    if (form == SET_RUNS)
        put_le16(&s->body, (uint32_t)(rest.n / 4));
    if (form == SET_BITMAP) {
        buf_append_bytes(&s->body, rest);
    } else {
        for (size_t i = 0; i < rest.n / 2; i++)
            put_le16(&s->body, u16_at(rest, i));
    }
    s->n++;
    return true;
}

roaring_bitmap_t *set_builder_take(struct set_builder *s)
{
    struct buf out = {0};
    bool any_run = false;

    if (s->n == 0)
        return roaring_bitmap_create();
    for (uint32_t i = 0; i < s->n; i++)
        any_run = any_run || s->flags.p[i];
    if (any_run) {
        put_le32(&out, PORTABLE_COOKIE_RUNS | (s->n - 1) << 16);
        for (uint32_t i = 0; i < s->n; i += 8) {
            uint8_t eight = 0;

            for (uint32_t j = 0; j < 8 && i + j < s->n; j++)
                eight |= (uint8_t)(s->flags.p[i + j] << j);
            buf_put_u8(&out, eight);
        }
    } else {
        put_le32(&out, PORTABLE_COOKIE);
        put_le32(&out, s->n);
    }
    for (uint32_t i = 0; i < s->n; i++)
        buf_append(&out, s->head.p + (size_t)i * 8, 4);
    if (!any_run || s->n >= PORTABLE_OFFSETS_FROM) {
        const size_t base = out.n + 4 * (size_t)s->n;

        for (uint32_t i = 0; i < s->n; i++) {
            const uint8_t *p = s->head.p + (size_t)i * 8 + 4;

            put_le32(&out, (uint32_t)(base + (p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24)));
        }
    }
    buf_append_bytes(&out, buf_bytes(&s->body));
    roaring_bitmap_t *made = roaring_bitmap_portable_deserialize_safe((const char *)out.p, out.n);

    ASSERT(made != NULL); /* we made these bytes */
    buf_release(&out);
    set_builder_release(s);
    return made;
}

void set_builder_release(struct set_builder *s)
{
    buf_release(&s->head);
    buf_release(&s->body);
    buf_release(&s->flags);
    *s = (struct set_builder){0};
}

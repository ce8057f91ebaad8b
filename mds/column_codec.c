/*
 * Blocks of a column: values as differences from the least one, cut into bit planes, 64 slots side by side in a word. A
 * range is then compared 64 values at a time, from the highest plane down, until each is decided: most often after some
 * planes. Whole values cost a transposition, a few ns each.
 */
#include "columns_private.h"

#define HEAD_BYTES 11u

static uint64_t delta_of(int64_t value, int64_t base)
{
    return (uint64_t)value - (uint64_t)base;
}

static uint64_t mask_of_width(uint32_t width)
{
    return width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static uint32_t groups_of(uint32_t n)
{
    return (n + 63) / 64;
}

/* Slots of a group that there are. */
static uint64_t group_slots(uint32_t n, uint32_t group)
{
    const uint32_t rest = n - group * 64;

    return rest >= 64 ? UINT64_MAX : (UINT64_C(1) << rest) - 1;
}

typedef uint64_t pair __attribute__((vector_size(16), may_alias, aligned(8)));

/* Words i and i + step of each 2 * step change halves: the lower one's upper, the upper one's lower. */
static void exchange(uint64_t w[64], unsigned step, uint64_t mask)
{
    const pair masks = {mask, mask};

    for (unsigned block = 0; block < 64; block += 2 * step) {
        for (unsigned i = block; i < block + step; i += 2) {
            pair *const low = (pair *)(void *)&w[i], *const high = (pair *)(void *)&w[i + step];
            const pair t = ((*low >> step) ^ *high) & masks;

            *low ^= t << step;
            *high ^= t;
        }
    }
}

/* Bit j of word i becomes bit i of word j within squares of `unit` words and bits (Hacker's Delight, 7-3, for bits
 * counted from the lowest). */
static void transpose(uint64_t w[64], unsigned unit)
{
    uint64_t mask = UINT64_MAX / (mask_of_width(unit / 2) + 2); /* the lower half of each unit */

    for (unsigned step = unit / 2; step > 1; step >>= 1, mask ^= mask << step)
        exchange(w, step, mask);
    for (unsigned i = 0; i < 64; i += 2) {
        const uint64_t t = ((w[i] >> 1) ^ w[i + 1]) & mask;

        w[i] ^= t << 1;
        w[i + 1] ^= t;
    }
}

/* ---- writing ---- */

static uint32_t width_of(const int64_t *values, uint32_t n, int64_t *base_out)
{
    int64_t base = values[0];
    uint64_t most = 0;

    for (uint32_t i = 1; i < n; i++)
        base = values[i] < base ? values[i] : base;
    for (uint32_t i = 0; i < n; i++)
        most |= delta_of(values[i], base);
    *base_out = base;
    return most ? 64u - (uint32_t)__builtin_clzll(most) : 0;
}

void column_block_encode(const int64_t *values, uint32_t n, struct buf *out)
{
    int64_t base;
    const uint32_t width = width_of(values, n, &base);

    ASSERT(n > 0 && n <= COLUMN_SLOTS);
    buf_put_u16(out, (uint16_t)n);
    buf_put_u8(out, (uint8_t)width);
    buf_put_u64(out, (uint64_t)base);
    for (uint32_t g = 0; g < groups_of(n) && width; g++) {
        uint64_t w[64];

        for (uint32_t i = 0; i < 64; i++)
            w[i] = g * 64 + i < n ? delta_of(values[g * 64 + i], base) : 0;
        transpose(w, 64);
        uint8_t *p = buf_reserve(out, (size_t)width * 8);

        for (uint32_t plane = width; plane-- > 0; p += 8)
            put_be64(p, w[plane]);
        out->n += (size_t)width * 8;
    }
}

/* ---- reading ---- */

bool column_block_decode(struct bytes in, struct column_block *out)
{
    struct reader r = reader_of(in);

    out->n = reader_u16(&r);
    out->width = reader_u8(&r);
    out->base = (int64_t)reader_u64(&r);
    if (!r.ok || out->n == 0 || out->n > COLUMN_SLOTS || out->width > 64)
        return false;
    out->planes = bytes_slice(in, HEAD_BYTES, SIZE_MAX);
    return out->planes.n == (size_t)groups_of(out->n) * out->width * 8;
}

static const uint8_t *group_planes(const struct column_block *b, uint32_t group)
{
    return b->planes.p + (size_t)group * b->width * 8;
}

bool column_block_is_canonical(const struct column_block *b)
{
    int64_t values[COLUMN_SLOTS], base;

    column_block_values(b, values);
    if (width_of(values, b->n, &base) != b->width || base != b->base)
        return false;
    for (uint32_t i = 0; i < b->n; i++) {
        if (values[i] < b->base) /* beyond the largest number */
            return false;
    }
    const uint32_t last = groups_of(b->n) - 1;

    for (uint32_t p = 0; p < b->width; p++) {
        if (get_be64(group_planes(b, last) + p * 8) & ~group_slots(b->n, last))
            return false;
    }
    return true;
}

/* Planes of a group as squares side by side, the first bits of all planes first: narrow values need fewer steps. */
static void planes_get(const uint8_t *p, uint32_t width, unsigned unit, uint64_t w[64])
{
    memset(w, 0, 64 * sizeof *w);
    for (uint32_t plane = width; plane-- > 0; p += 8) {
        const uint64_t bits = get_be64(p);

        for (unsigned at = 0; at < 64; at += unit)
            w[at + plane] = bits >> at & mask_of_width(unit);
    }
}

void column_block_values(const struct column_block *b, int64_t out[COLUMN_SLOTS])
{
    const unsigned unit = b->width <= 8 ? 8 : b->width <= 16 ? 16 : b->width <= 32 ? 32 : 64;

    for (uint32_t g = 0; g < groups_of(b->n); g++) {
        const uint32_t n = b->n - g * 64 < 64 ? b->n - g * 64 : 64;
        uint64_t w[64];

        planes_get(group_planes(b, g), b->width, unit, w);
        if (b->width)
            transpose(w, unit);
        for (uint32_t i = 0; i < n; i++)
            out[g * 64 + i] = (int64_t)((uint64_t)b->base + w[i]);
    }
}

int64_t column_block_value(const struct column_block *b, uint32_t slot)
{
    uint64_t delta = 0;

    if (b->width) {
        const uint8_t *p = group_planes(b, slot / 64);

        for (uint32_t plane = b->width; plane-- > 0; p += 8)
            delta = delta << 1 | (get_be64(p) >> (slot % 64) & 1);
    }
    return (int64_t)((uint64_t)b->base + delta);
}

int64_t column_block_bound(const struct column_block *b)
{
    const uint64_t most = mask_of_width(b->width);

    return most > delta_of(INT64_MAX, b->base) ? INT64_MAX : (int64_t)((uint64_t)b->base + most);
}

/* ---- ranges ---- */

static void all_slots(const struct column_block *b, uint64_t masks[COLUMN_GROUPS])
{
    for (uint32_t g = 0; g < groups_of(b->n); g++)
        masks[g] = group_slots(b->n, g);
}

/* Slots of a group whose difference is at least `least`. */
static uint64_t group_at_least(const uint8_t *p, uint32_t width, uint64_t least)
{
    uint64_t equal = UINT64_MAX, above = 0;

    for (uint32_t plane = width; plane-- > 0 && equal; p += 8) {
        const uint64_t w = get_be64(p);

        if (least >> plane & 1) {
            equal &= w;
        } else {
            above |= equal & w;
            equal &= ~w;
        }
    }
    return above | equal;
}

static uint64_t group_equal(const uint8_t *p, uint32_t width, uint64_t wanted)
{
    uint64_t equal = UINT64_MAX;

    for (uint32_t plane = width; plane-- > 0 && equal; p += 8)
        equal &= wanted >> plane & 1 ? get_be64(p) : ~get_be64(p);
    return equal;
}

void column_block_range(const struct column_block *b, int64_t min, int64_t max, uint64_t masks[COLUMN_GROUPS])
{
    const uint64_t most = mask_of_width(b->width);

    memset(masks, 0, COLUMN_GROUPS * sizeof *masks);
    if (min > max || max < b->base)
        return;
    const uint64_t low = min <= b->base ? 0 : delta_of(min, b->base), high = delta_of(max, b->base);

    if (low > most)
        return;
    if (low == 0 && high >= most) {
        all_slots(b, masks);
        return;
    }
    for (uint32_t g = 0; g < groups_of(b->n); g++) {
        const uint8_t *p = group_planes(b, g);
        uint64_t m;

        if (low == high) {
            m = group_equal(p, b->width, low);
        } else {
            m = low ? group_at_least(p, b->width, low) : UINT64_MAX;
            if (high < most && m)
                m &= ~group_at_least(p, b->width, high + 1);
        }
        masks[g] = m & group_slots(b->n, g);
    }
}

void column_block_odd(const struct column_block *b, uint64_t masks[COLUMN_GROUPS])
{
    memset(masks, 0, COLUMN_GROUPS * sizeof *masks);
    for (uint32_t g = 0; g < groups_of(b->n); g++) {
        const uint64_t lowest = b->width ? get_be64(group_planes(b, g) + (size_t)(b->width - 1) * 8) : 0;

        masks[g] = (b->base & 1 ? ~lowest : lowest) & group_slots(b->n, g);
    }
}

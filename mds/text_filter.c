/*
 * Which blocks of terms may contain a string: for every 512 of them one bit a block under each of 16,384 hashes of
 * three bytes. The 512 bits of a hash are one line of the processor's cache, so that asking costs a line for each three
 * bytes of the needle where scanning the blocks would read 8 MB. What is left over at the end of a segment has no
 * filter.
 */
#include "text_private.h"

#define LINE (FILTER_BLOCKS / 8u)

static uint32_t filter_hash(const uint8_t *p)
{
    const uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

    return v * UINT32_C(0x9e3779b1) >> (32 - FILTER_HASH_BITS);
}

void filter_fill(uint8_t *filter, uint32_t block, struct bytes text)
{
    uint8_t *const at = filter + block % FILTER_BLOCKS / 8;
    const uint8_t bit = (uint8_t)(1u << block % 8);

    for (size_t i = 0; i + 3 <= text.n; i++)
        at[(size_t)filter_hash(text.p + i) * LINE] |= bit;
}

struct bytes filter_row(const uint8_t *filter, uint32_t row)
{
    const size_t all = (size_t)LINE << FILTER_HASH_BITS, from = (size_t)row * FILTER_ROW_HASHES * LINE;

    return bytes_slice(bytes_of(filter, all), from, FILTER_ROW_HASHES * LINE);
}

void filter_init(struct text_filter *f, struct mds_text_reader *r, const struct text_part *part, struct bytes needle)
{
    *f = (struct text_filter){.r = r, .part = part, .group = UINT32_MAX};
    for (size_t i = 0; i + 3 <= needle.n; i++)
        f->hash[f->n++] = (uint16_t)filter_hash(needle.p + i);
}

static int line_get(struct text_filter *f, uint32_t group, uint16_t hash, struct bytes *out, struct error *err)
{
    const uint32_t row = hash / FILTER_ROW_HASHES, seen = group * FILTER_ROWS + row;
    const size_t at = (size_t)(hash % FILTER_ROW_HASHES) * LINE;
    struct bytes payload;
    struct key key;

    text_key(&key, f->part->s.id, TEXT_FILTER);
    key_u32(&key, seen);
    const int rc = row_get_unsealed(f->r->txn, TABLE_TEXT, key_bytes(&key), &payload, err);

    if (rc != BASE_OK && rc != BASE_ERR_NOTFOUND)
        return rc;
    *out = bytes_slice(payload, at, LINE);
    if (rc == BASE_ERR_NOTFOUND || out->n != LINE)
        return row_corrupt(f->r->txn, TABLE_TEXT, key_bytes(&key), "it is missing or too short", err);
    if (!text_seen_get(f->part->seen, SEEN_FILTER, seen)) {
        if (!row_seal_holds(TABLE_TEXT, key_bytes(&key), payload))
            return row_corrupt(f->r->txn, TABLE_TEXT, key_bytes(&key), "its checksum is wrong", err);
        text_seen_set(f->part->seen, SEEN_FILTER, seen);
    }
    return BASE_OK;
}

static int group_load(struct text_filter *f, uint32_t group, struct error *err)
{
    struct bytes line;
    int rc;

    f->group = UINT32_MAX;
    memset(f->bits, 0xff, sizeof f->bits);
    for (uint32_t i = 0; i < f->n; i++) {
        if ((rc = line_get(f, group, f->hash[i], &line, err)) != BASE_OK)
            return rc;
        for (size_t k = 0; k < LINE; k++)
            f->bits[k] &= line.p[k];
    }
    f->group = group;
    return BASE_OK;
}

int filter_allows(struct text_filter *f, uint32_t block, struct error *err)
{
    const uint32_t group = block / FILTER_BLOCKS;
    int rc;

    if (f->n == 0 || group >= f->part->s.blocks / FILTER_BLOCKS)
        return 1;
    if (f->group != group && (rc = group_load(f, group, err)) != BASE_OK)
        return rc;
    return f->bits[block % FILTER_BLOCKS / 8] >> block % 8 & 1;
}

/* Keys: big-endian numbers, and outside text that may be longer than LMDB allows. */
#include "mds_private.h"

static uint8_t *key_room(struct key *k, size_t n)
{
    ASSERT(n <= KEY_MAX - k->n);
    uint8_t *at = k->p + k->n;

    k->n += n;
    return at;
}

void key_u16(struct key *k, uint16_t v)
{
    uint8_t *at = key_room(k, 2);

    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

void key_u32(struct key *k, uint32_t v)
{
    put_be32(key_room(k, 4), v);
}

void key_u64(struct key *k, uint64_t v)
{
    put_be64(key_room(k, 8), v);
}

void key_raw(struct key *k, struct bytes v)
{
    uint8_t *at = key_room(k, v.n);

    if (v.n)
        memcpy(at, v.p, v.n);
}

/* A hashed key is always KEY_MAX long and a plain one always shorter, so the two never meet. */
bool key_text(struct key *k, struct bytes text)
{
    const size_t room = KEY_MAX - k->n;

    if (text.n < room) {
        key_raw(k, text);
        return false;
    }
    const struct hash128 h = hash128_of(text);

    key_raw(k, bytes_slice(text, 0, room - HASH128_BYTES));
    key_raw(k, bytes_of(h.b, HASH128_BYTES));
    return true;
}

/* Seeds chain so that a value moved to another key or table does not fit there. */
uint32_t row_seal(enum table table, struct bytes key, struct bytes payload)
{
    return (uint32_t)hash64_seeded(payload, hash64_seeded(key, (uint64_t)table));
}

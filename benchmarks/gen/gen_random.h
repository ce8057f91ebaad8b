/*
 * gen_random: numbers that depend on a seed and on nothing else, whatever the machine: integers only, no libm.
 *
 * A message draws from a source of its own (gen_random_of(seed, index, purpose)), so its bytes do not depend on which
 * messages were made before it, or by which thread. Not for secrets.
 */
#ifndef GEN_RANDOM_H
#define GEN_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gen_random {
    uint64_t state;
};

/* SplitMix64's finaliser: a good mix of 64 bits. */
static inline uint64_t gen_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number that belongs to (seed, index, purpose). */
static inline uint64_t gen_hash(uint64_t seed, uint64_t index, unsigned purpose)
{
    return gen_mix(gen_mix(seed + 0x9e3779b97f4a7c15u * (purpose + 1u)) ^ gen_mix(index + 0x632be59bd9b4e019u));
}

static inline struct gen_random gen_random_of(uint64_t seed, uint64_t index, unsigned purpose)
{
    return (struct gen_random){gen_hash(seed, index, purpose)};
}

static inline uint64_t gen_next(struct gen_random *r)
{
    return gen_mix(r->state += 0x9e3779b97f4a7c15u);
}

/* Uniform in [0, n), n > 0. */
static inline uint64_t gen_scale(uint64_t random, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)random * n) >> 64);
}

static inline uint32_t gen_below(struct gen_random *r, uint32_t n)
{
    return (uint32_t)gen_scale(gen_next(r), n);
}

/* True in `part` of 1000 cases. */
static inline bool gen_permille(struct gen_random *r, uint32_t part)
{
    return gen_below(r, 1000) < part;
}

/* 2^x for x in 16.16 fixed point, result with 16 fraction bits; error below 0.3 %. x is clipped to [-16, 40]. */
static inline uint64_t gen_exp2_fixed(int64_t x)
{
    if (x < -16 * 65536)
        x = -16 * 65536;
    if (x > 40 * 65536)
        x = 40 * 65536;
    int64_t whole = (x + 16 * 65536) / 65536 - 16; /* floor */
    int64_t f = x - whole * 65536;
    uint64_t y = 65536u + (uint64_t)((f * (43024 + ((22512 * f) >> 16))) >> 16);
    return whole >= 0 ? y << whole : y >> -whole;
}

/* Zipf with exponent 1 over [0, n): rank r is drawn with a share of about 1 / (r + 1). log2_n in 16.16. */
static inline uint32_t gen_zipf(struct gen_random *r, uint32_t n, uint32_t log2_n)
{
    uint64_t x = gen_scale(gen_next(r), log2_n);
    uint64_t v = (gen_exp2_fixed((int64_t)x) >> 16) - 1;
    return v < n ? (uint32_t)v : n - 1;
}

/* Lognormal: 2^(mu + sigma * z), z nearly normal (a sum of twelve uniforms); mu, sigma in 16.16 and base 2. */
static inline uint64_t gen_lognormal(struct gen_random *r, int64_t mu, int64_t sigma)
{
    int64_t z = -6 * 65536;
    for (int i = 0; i < 3; i++) {
        uint64_t x = gen_next(r);
        z += (int64_t)((x & 0xffff) + (x >> 16 & 0xffff) + (x >> 32 & 0xffff) + (x >> 48));
    }
    return gen_exp2_fixed(mu + ((sigma * z) >> 16)) >> 16;
}

#endif

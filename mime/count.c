/*
 * count: how often the bytes occur that decide what a client sees.
 *
 * One pass, sixteen bytes at a time with the compilers' vector extension (a
 * compare gives -1 in each lane that matches; 255 of them fit a lane before it
 * must be added up). 7 KB take about half a microsecond.
 */
#include "mime_private.h"

typedef uint8_t lanes __attribute__((vector_size(16)));

static inline lanes lanes_load(const uint8_t *p)
{
    lanes v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline lanes lanes_of(uint8_t c)
{
    return (lanes){c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c};
}

static inline uint64_t lanes_sum(lanes v)
{
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
    uint64_t half[2], sum = 0;
    memcpy(half, &v, sizeof(half));
    for (unsigned i = 0; i < 2; i++)
        sum += (half[i] & even) + (half[i] >> 8 & even); /* four sums, of at most 1,020 */
    return (sum * UINT64_C(0x0001000100010001)) >> 48;
}

static inline bool lanes_any(lanes v)
{
    uint64_t half[2];
    memcpy(half, &v, sizeof(half));
    return (half[0] | half[1]) != 0;
}

static void count_plain(const uint8_t *p, size_t n, uint8_t prev, struct mime_counts *c)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t b = p[i];
        if (b == '\n') {
            c->lf++;
            c->lone_lf += prev != '\r';
        }
        c->cr += b == '\r';
        c->nul += b == 0;
        c->high += b >> 7;
        prev = b;
    }
}

struct mime_counts mime_count(struct bytes v, uint8_t prev)
{
    struct mime_counts c = {0};
    if (v.n < 1 + sizeof(lanes)) {
        count_plain(v.p, v.n, prev, &c);
        return c;
    }
    /* The first byte alone, so that a load one byte back stays inside. */
    count_plain(v.p, 1, prev, &c);
    size_t i = 1;
    while (v.n - i >= sizeof(lanes)) {
        size_t rounds = (v.n - i) / sizeof(lanes);
        if (rounds > 255)
            rounds = 255;
        lanes lf = {0}, lone = {0}, cr = {0}, nul = {0}, high = {0};
        for (; rounds; rounds--, i += sizeof(lanes)) {
            const lanes b = lanes_load(v.p + i), before = lanes_load(v.p + i - 1);
            const lanes is_lf = (lanes)(b == lanes_of('\n'));
            lf -= is_lf;
            lone -= is_lf & (lanes)(before != lanes_of('\r'));
            cr -= (lanes)(b == lanes_of('\r'));
            nul -= (lanes)(b == lanes_of(0));
            high += b >> 7;
        }
        c.lf += lanes_sum(lf);
        c.lone_lf += lanes_sum(lone);
        c.cr += lanes_sum(cr);
        c.nul += lanes_sum(nul);
        c.high += lanes_sum(high);
    }
    count_plain(v.p + i, v.n - i, v.p[i - 1], &c);
    return c;
}

struct mime_lines mime_count_lines(struct bytes v, uint8_t prev)
{
    struct mime_lines c = {0};
    size_t i = 0;
    if (v.n > sizeof(lanes)) {
        c.lf = v.p[0] == '\n';
        c.lone_lf = c.lf && prev != '\r';
        i = 1; /* so that a load one byte back stays inside */
    }
    while (i && v.n - i >= sizeof(lanes)) {
        size_t rounds = (v.n - i) / sizeof(lanes);
        if (rounds > 255)
            rounds = 255;
        lanes lf = {0}, lone = {0};
        for (; rounds; rounds--, i += sizeof(lanes)) {
            const lanes is_lf = (lanes)(lanes_load(v.p + i) == lanes_of('\n'));
            lf -= is_lf;
            lone -= is_lf & (lanes)(lanes_load(v.p + i - 1) != lanes_of('\r'));
        }
        c.lf += lanes_sum(lf);
        c.lone_lf += lanes_sum(lone);
    }
    for (; i < v.n; i++) {
        const bool is_lf = v.p[i] == '\n';
        c.lf += is_lf;
        c.lone_lf += is_lf && (i ? v.p[i - 1] : prev) != '\r';
    }
    return c;
}

bool mime_is_ascii(struct bytes v)
{
    size_t i = 0;
    lanes any = {0};
    for (; v.n - i >= sizeof(lanes); i += sizeof(lanes))
        any |= lanes_load(v.p + i);
    uint8_t rest = lanes_any(any >> 7);
    for (; i < v.n; i++)
        rest |= v.p[i] >> 7;
    return !rest;
}

bool mime_is_quotable(struct bytes v)
{
    size_t i = 0;
    lanes other = {0};
    for (; v.n - i >= sizeof(lanes); i += sizeof(lanes)) {
        const lanes b = lanes_load(v.p + i);
        other |= (b >> 7) | (lanes)(b == lanes_of('"')) | (lanes)(b == lanes_of('\\')) | (lanes)(b == lanes_of(0)) |
                 (lanes)(b == lanes_of('\r')) | (lanes)(b == lanes_of('\n'));
    }
    uint8_t rest = lanes_any(other);
    for (; i < v.n; i++) {
        const uint8_t b = v.p[i];
        rest |= (uint8_t)((b >> 7) | (b == '"') | (b == '\\') | (b == 0) | (b == '\r') | (b == '\n'));
    }
    return !rest;
}

static inline bool is_base64(uint8_t c)
{
    const uint8_t letter = c | 0x20;
    return (uint8_t)(letter - 'a') < 26 || (uint8_t)(c - '/') < 11 || c == '+'; /* "/" stands before "0" */
}

/* Inline, so that each caller's `match` is part of its own loop; `one` is the same for a byte. */
static inline uint64_t count_matches(struct bytes v, lanes (*match)(lanes), bool (*one)(uint8_t))
{
    uint64_t total = 0;
    size_t i = 0;
    while (v.n - i >= sizeof(lanes)) {
        size_t rounds = (v.n - i) / sizeof(lanes);
        if (rounds > 255)
            rounds = 255;
        lanes sum = {0};
        for (; rounds; rounds--, i += sizeof(lanes))
            sum -= match(lanes_load(v.p + i));
        total += lanes_sum(sum);
    }
    for (; i < v.n; i++)
        total += one(v.p[i]);
    return total;
}

static inline lanes match_base64(lanes c)
{
    const lanes letter = c | lanes_of(0x20);
    return (lanes)(letter - lanes_of('a') < lanes_of(26)) | (lanes)(c - lanes_of('/') < lanes_of(11)) |
           (lanes)(c == lanes_of('+'));
}

uint64_t mime_count_base64(struct bytes v)
{
    return count_matches(v, match_base64, is_base64);
}

static inline bool is_line_end(uint8_t c)
{
    return c == '\n' || c == '\r';
}

static inline lanes match_line_end(lanes c)
{
    return (lanes)(c == lanes_of('\n')) | (lanes)(c == lanes_of('\r'));
}

uint64_t mime_count_line_ends(struct bytes v)
{
    return count_matches(v, match_line_end, is_line_end);
}

bool mime_has_long_line(struct bytes v, size_t limit)
{
    /* From a line's start the last LF within reach is the furthest that we may jump: a few bytes are looked at per
     * jump. */
    const uint8_t *p = v.p, *const end = v.p + v.n;
    while ((size_t)(end - p) > limit) {
        const uint8_t *lf = memrchr(p, '\n', limit + 1);
        if (!lf)
            return true;
        p = lf + 1;
    }
    return false;
}

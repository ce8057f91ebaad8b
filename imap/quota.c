/* quota: see quota.h. */
#include "quota.h"

#include "base/error.h"
#include "base/hash.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum { BUCKETS = 4096 };

struct entry {
    struct entry *next;
    uint32_t n;
    size_t key_n;
    uint8_t key[];
};

struct imap_counts {
    uint64_t seed;        /* so that nobody can choose keys of one bucket */
    pthread_mutex_t lock; /* guards all below */
    size_t keys;
    struct entry *buckets[BUCKETS];
};

struct imap_counts *imap_counts_new(void)
{
    struct imap_counts *c = calloc(1, sizeof *c);
    ASSERT(c);
    ASSERT(getrandom(&c->seed, sizeof c->seed, 0) == sizeof c->seed);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void imap_counts_free(struct imap_counts **counts)
{
    struct imap_counts *c = *counts;
    if (!c)
        return;
    *counts = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct entry *e = c->buckets[i], *next = NULL; e; e = next) {
            next = e->next;
            free(e);
        }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* Where the entry of key hangs, or would. */
static struct entry **find(struct imap_counts *c, struct bytes key)
{
    struct entry **at = &c->buckets[hash64_seeded(key, c->seed) % BUCKETS];
    while (*at && !bytes_equal(bytes_of((*at)->key, (*at)->key_n), key))
        at = &(*at)->next;
    return at;
}

bool imap_counts_add(struct imap_counts *c, struct bytes key, uint32_t max)
{
    pthread_mutex_lock(&c->lock);
    struct entry **at = find(c, key);
    if (!*at) {
        struct entry *e = calloc(1, sizeof *e + key.n);
        ASSERT(e);
        e->key_n = key.n;
        if (key.n)
            memcpy(e->key, key.p, key.n);
        *at = e;
        c->keys++;
    }
    const bool room = max == 0 || (*at)->n < max;
    if (room)
        (*at)->n++;
    pthread_mutex_unlock(&c->lock);
    return room;
}

void imap_counts_drop(struct imap_counts *c, struct bytes key)
{
    pthread_mutex_lock(&c->lock);
    struct entry **at = find(c, key), *e = *at;
    ASSERT(e && e->n > 0);
    if (--e->n == 0) {
        *at = e->next;
        c->keys--;
        free(e);
    }
    pthread_mutex_unlock(&c->lock);
}

size_t imap_counts_keys(struct imap_counts *c)
{
    pthread_mutex_lock(&c->lock);
    const size_t n = c->keys;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* ---- meters --------------------------------------------------------------------------------------- */

enum { THOUSAND = 1000 };

static const uint64_t rate_max = 1ULL << 40, amount_max = 1ULL << 40;

static void refill(struct imap_meter *m, uint64_t rate, uint32_t burst_s, uint64_t now_ms)
{
    const uint64_t r = rate < rate_max ? rate : rate_max;
    const int64_t full = (int64_t)(r * (burst_s ? burst_s < 3600 ? burst_s : 3600 : 1)) * THOUSAND;
    if (m->at_ms == 0) {
        m->level = full;
    } else if (now_ms > m->at_ms) {
        /* A full hour fills whatever there is: no overflow. */
        const uint64_t ms = now_ms - m->at_ms < 3600000 ? now_ms - m->at_ms : 3600000;
        const int64_t gain = (int64_t)(r * ms);
        m->level = gain >= full - m->level ? full : m->level + gain;
    }
    if (m->level > full) /* the rate was lowered */
        m->level = full;
    m->at_ms = now_ms ? now_ms : 1;
}

void imap_meter_take(struct imap_meter *m, uint64_t amount, uint64_t rate, uint32_t burst_s, uint64_t now_ms)
{
    if (rate == 0)
        return;
    refill(m, rate, burst_s, now_ms);
    m->level -= (int64_t)(amount < amount_max ? amount : amount_max) * THOUSAND;
}

uint64_t imap_meter_wait(struct imap_meter *m, uint64_t rate, uint32_t burst_s, uint64_t now_ms)
{
    if (rate == 0)
        return 0;
    refill(m, rate, burst_s, now_ms);
    return m->level >= 0 ? 0 : ((uint64_t)-m->level + rate - 1) / rate;
}

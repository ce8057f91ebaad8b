/*
 * What a store remembers of logins: right ones for a while, wrong ones until they are forgotten. See auth_private.h.
 *
 * Who guesses waits before he is answered, not after: a wrong answer that is only told late costs him nothing, as he may hang up. So
 * an attempt is checked only
 *   - if this account has logged in from this address lately (a stranger's guesses do not lock the owner out), or
 *   - if fewer attempts have failed or are under way than are free, or
 *   - alone, and when the last failure is as long ago as the failures have earned: 1, 2, 4, ... seconds.
 */
#include "auth_private.h"

#include <arpa/inet.h>
#include <glib.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <time.h>
#include <unistd.h>

enum {
    HALF_LIFE_MS = 5 * 60 * 1000,
    GOOD_MS = 7 * 24 * 3600 * 1000, /* how long an address is known to an account */
    FREE_ACCOUNT = 5,
    FREE_ADDRESS = 20, /* many share one */
    FREE_PAIR = 5,     /* of an address that is known */
    DELAY_FIRST_MS = 1000,
    DELAY_MAX_MS = 60000,
    REMEMBER_MS = 10 * 60 * 1000,
    POLL_MS = 50,
    HASH_MS = 30, /* about what one takes */
};

static uint64_t monotonic_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- made and ended ---------------------------------------------------------------------------- */

static struct query_auth *auth_new(void)
{
    struct query_auth *auth = g_new0(struct query_auth, 1);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);

    (void)pthread_mutex_init(&auth->lock, NULL);
    auth->now_ms = monotonic_ms;
    ASSERT(RAND_bytes(auth->key, sizeof auth->key) == 1 && RAND_bytes(auth->secret, sizeof auth->secret) == 1 &&
           RAND_bytes((uint8_t *)&auth->seed, sizeof auth->seed) == 1);
    auth->remember_ms = REMEMBER_MS;
    auth->delay_max_ms = DELAY_MAX_MS;
    auth->hashes_max = cores > 3 ? (unsigned)cores / 2 : 1;
    auth->remembered = g_new0(struct auth_remembered, AUTH_REMEMBERED);
    auth->failures = g_new0(struct auth_failures, AUTH_FAILURES);
    return auth;
}

/* Salts of unknown users last as long as the store if it has a secret, else as long as this process. */
static void take_secret(struct mdsq_store *store, struct query_auth *auth)
{
    struct mds_catalogue *catalogue = NULL;
    uint8_t secret[MDS_CATALOGUE_SECRET_BYTES];

    if (query_store_catalogue(store, false, &catalogue, NULL) < 0 || mds_catalogue_secret(catalogue, secret, NULL) < 0)
        return;
    (void)pthread_mutex_lock(&auth->lock);
    memcpy(auth->secret, secret, sizeof secret);
    auth->secret_is_stored = true;
    (void)pthread_mutex_unlock(&auth->lock);
    explicit_bzero(secret, sizeof secret);
}

struct query_auth *query_auth_of(struct mdsq_store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    if (!store->auth)
        store->auth = auth_new();
    if (!store->auth->secret_is_stored)
        take_secret(store, store->auth);
    struct query_auth *auth = store->auth;
    (void)pthread_mutex_unlock(&store->lock);
    return auth;
}

void query_auth_free(struct query_auth **auth)
{
    struct query_auth *a = *auth;

    *auth = NULL;
    if (!a)
        return;
    (void)pthread_mutex_destroy(&a->lock);
    g_free(a->domains);
    g_free(a->failures);
    g_free(a->remembered);
    explicit_bzero(a, sizeof *a);
    g_free(a);
}

/* ---- MACs ---------------------------------------------------------------------------------------- */

/* With their NULs, so that no two triples are one text. */
static void mac(const uint8_t key[32], const char *const parts[], size_t n, uint8_t out[32])
{
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    size_t got = 0;
    bool ok = ctx && EVP_MAC_init(ctx, key, 32, params) == 1;

    for (size_t i = 0; i < n; i++)
        ok = ok && EVP_MAC_update(ctx, (const uint8_t *)parts[i], strlen(parts[i]) + 1) == 1;
    ok = ok && EVP_MAC_final(ctx, out, &got, 32) == 1 && got == 32;
    ASSERT(ok);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(hmac);
}

void query_auth_fake(struct query_auth *auth, const char *label, const char *text, uint8_t out[32])
{
    const char *const parts[] = {label, text};
    uint8_t secret[sizeof auth->secret];

    (void)pthread_mutex_lock(&auth->lock); /* take_secret may be replacing it */
    memcpy(secret, auth->secret, sizeof secret);
    (void)pthread_mutex_unlock(&auth->lock);
    mac(secret, parts, G_N_ELEMENTS(parts), out);
    explicit_bzero(secret, sizeof secret);
}

void query_auth_tag(const struct query_auth *auth, const char *account, const char *verifier, const char *password,
                    uint8_t out[AUTH_TAG_BYTES])
{
    const char *const parts[] = {account, verifier, password};

    mac(auth->key, parts, G_N_ELEMENTS(parts), out);
}

/* ---- right ones ------------------------------------------------------------------------------------- */

static struct auth_remembered *remembered_set(struct query_auth *auth, const uint8_t *tag)
{
    return &auth->remembered[get_be32(tag) % (AUTH_REMEMBERED / AUTH_WAYS) * AUTH_WAYS];
}

bool query_auth_is_remembered(struct query_auth *auth, const uint8_t tag[AUTH_TAG_BYTES])
{
    struct auth_remembered *set = remembered_set(auth, tag);
    bool found = false;

    (void)pthread_mutex_lock(&auth->lock);
    const uint64_t now = auth->now_ms();

    for (unsigned i = 0; i < AUTH_WAYS; i++)
        found = found || (set[i].until_ms > now && CRYPTO_memcmp(set[i].tag, tag, AUTH_TAG_BYTES) == 0);
    auth->hits += found;
    (void)pthread_mutex_unlock(&auth->lock);
    return found;
}

void query_auth_remember(struct query_auth *auth, const uint8_t tag[AUTH_TAG_BYTES])
{
    struct auth_remembered *set = remembered_set(auth, tag), *place = set;

    (void)pthread_mutex_lock(&auth->lock);
    for (unsigned i = 0; i < AUTH_WAYS && auth->remember_ms; i++) {
        if (memcmp(set[i].tag, tag, AUTH_TAG_BYTES) == 0) {
            place = &set[i];
            break;
        }
        if (set[i].until_ms < place->until_ms)
            place = &set[i];
    }
    if (auth->remember_ms) {
        memcpy(place->tag, tag, AUTH_TAG_BYTES);
        place->until_ms = auth->now_ms() + auth->remember_ms;
    }
    (void)pthread_mutex_unlock(&auth->lock);
}

/* ---- wrong ones --------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct query_auth *auth, char kind, const char *a, const char *b)
{
    struct buf text = {0};

    buf_append_byte(&text, (uint8_t)kind);
    buf_append(&text, a, strlen(a) + 1);
    buf_append(&text, b, strlen(b) + 1);
    const uint64_t key = hash64_seeded(buf_bytes(&text), auth->seed);

    buf_release(&text);
    return key ? key : 1;
}

/* An IPv6 client has a /64 of its own, however its address is written. */
static void address_network(const char *address, char out[64])
{
    struct in6_addr v6;

    g_strlcpy(out, address, 64);
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return;
    memset(v6.s6_addr + 8, 0, 8);
    (void)inet_ntop(AF_INET6, &v6, out, 64);
}

struct auth_who query_auth_who(const struct query_auth *auth, const char *account, const char *guessed, const char *other, const char *address)
{
    struct auth_who who = {0};
    char network[64];

    if (!address)
        return who; /* the administrator */
    address_network(address, network);
    who.account = key_of(auth, 'a', guessed, "");
    who.other = other && strcmp(other, guessed) != 0 ? key_of(auth, 'a', other, "") : 0;
    who.pair = key_of(auth, 'p', account, network);
    /* Everybody comes from there where a web mail or a proxy does. */
    if (strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0 && address[0])
        who.address = key_of(auth, 'n', network, "");
    return who;
}

static void decay(struct auth_failures *f, uint64_t now)
{
    while (f->points && now - f->when_ms >= HALF_LIFE_MS) {
        f->points /= 2;
        f->when_ms += HALF_LIFE_MS;
    }
}

static uint64_t worth(const struct auth_failures *f, uint64_t now)
{
    if (f->in_flight)
        return UINT64_MAX;
    return (uint64_t)f->points * 2 + (f->good_until_ms > now ? 1 : 0);
}

/* NULL only where none is asked for, or everything in reach is under way. */
static struct auth_failures *failures_of(struct query_auth *auth, uint64_t key, bool make)
{
    struct auth_failures *set = &auth->failures[key % (AUTH_FAILURES / AUTH_WAYS) * AUTH_WAYS], *place = NULL;
    const uint64_t now = auth->now_ms();

    if (!key)
        return NULL;
    for (unsigned i = 0; i < AUTH_WAYS; i++) {
        decay(&set[i], now);
        if (set[i].key == key)
            return &set[i];
        if (set[i].in_flight == 0 && (!place || worth(&set[i], now) < worth(place, now)))
            place = &set[i];
    }
    if (!make || !place)
        return NULL;
    *place = (struct auth_failures){.key = key, .when_ms = now};
    return place;
}

static uint64_t wait_of(const struct query_auth *auth, const struct auth_failures *f, unsigned allowance, uint64_t now)
{
    if (!f || (uint64_t)f->points + f->in_flight < allowance)
        return 0;
    if (f->in_flight)
        return POLL_MS;
    const unsigned over = f->points < allowance ? 0 : f->points - allowance;
    const uint64_t penalty = over > 20 ? auth->delay_max_ms : MIN((uint64_t)DELAY_FIRST_MS << over, auth->delay_max_ms);

    return now - f->when_ms >= penalty ? 0 : penalty - (now - f->when_ms);
}

static void fly(struct query_auth *auth, uint64_t key)
{
    struct auth_failures *f = failures_of(auth, key, true);

    if (f)
        f->in_flight++;
}

uint32_t query_auth_begin(struct query_auth *auth, const struct auth_who *who)
{
    uint64_t wait = 0;

    (void)pthread_mutex_lock(&auth->lock);
    const uint64_t now = auth->now_ms();
    const struct auth_failures *pair = failures_of(auth, who->pair, false);
    const bool known = pair && pair->good_until_ms > now && pair->points < FREE_PAIR;

    if (!known) {
        const uint64_t account = wait_of(auth, failures_of(auth, who->account, false), FREE_ACCOUNT, now);
        const uint64_t other = wait_of(auth, failures_of(auth, who->other, false), FREE_ACCOUNT, now);
        const uint64_t address = wait_of(auth, failures_of(auth, who->address, false), FREE_ADDRESS, now);

        wait = MAX(MAX(account, other), address);
    }
    if (wait == 0) {
        fly(auth, who->account);
        fly(auth, who->other);
        fly(auth, who->address);
        fly(auth, who->pair);
    }
    (void)pthread_mutex_unlock(&auth->lock);
    return (uint32_t)wait;
}

static void land(struct query_auth *auth, uint64_t key, enum auth_end how, bool is_pair)
{
    struct auth_failures *f = failures_of(auth, key, false);
    const uint64_t now = auth->now_ms();

    if (!f)
        return;
    f->in_flight -= f->in_flight > 0;
    if (how == AUTH_WRONG) {
        f->points += f->points < 1000;
        f->when_ms = now;
    } else if (how == AUTH_RIGHT && is_pair) {
        f->points = 0;
        f->good_until_ms = now + GOOD_MS;
    }
}

void query_auth_end(struct query_auth *auth, const struct auth_who *who, enum auth_end how)
{
    (void)pthread_mutex_lock(&auth->lock);
    land(auth, who->account, how, false);
    land(auth, who->other, how, false);
    land(auth, who->address, how, false);
    land(auth, who->pair, how, true);
    (void)pthread_mutex_unlock(&auth->lock);
}

/* ---- hashing -------------------------------------------------------------------------------------------- */

uint32_t query_auth_hash_begin(struct query_auth *auth, bool *waits)
{
    uint32_t wait = 0;

    (void)pthread_mutex_lock(&auth->lock);
    if (auth->hashing < auth->hashes_max) {
        auth->hashing++;
        auth->waiting -= *waits;
        *waits = false;
    } else {
        auth->waiting += !*waits;
        *waits = true;
        wait = 5 + MIN(auth->waiting * HASH_MS / auth->hashes_max, 2000); /* about when its turn may come */
    }
    (void)pthread_mutex_unlock(&auth->lock);
    return wait;
}

void query_auth_hash_end(struct query_auth *auth)
{
    (void)pthread_mutex_lock(&auth->lock);
    auth->hashing--;
    auth->hashed++;
    (void)pthread_mutex_unlock(&auth->lock);
}

void query_auth_hash_give_up(struct query_auth *auth, bool *waits)
{
    (void)pthread_mutex_lock(&auth->lock);
    auth->waiting -= *waits;
    *waits = false;
    (void)pthread_mutex_unlock(&auth->lock);
}

void query_auth_counts(struct query_auth *auth, uint64_t *hits_out, uint64_t *hashed_out)
{
    (void)pthread_mutex_lock(&auth->lock);
    *hits_out = auth->hits;
    *hashed_out = auth->hashed;
    (void)pthread_mutex_unlock(&auth->lock);
}

/* ---- settings --------------------------------------------------------------------------------------------- */

void mdsq_login_configure(struct mdsq_store *store, const struct mdsq_login_settings *settings)
{
    struct query_auth *auth = query_auth_of(store);
    char *domains = NULL;

    if (settings->domains && settings->domains[0]) {
        char *lower = g_utf8_strdown(settings->domains, -1);

        domains = g_strdup_printf(" %s ", g_strdelimit(lower, ",;\t", ' '));
        g_free(lower);
    }
    (void)pthread_mutex_lock(&auth->lock);
    auth->remember_ms = settings->remember_s == 0    ? REMEMBER_MS
                        : settings->remember_s == UINT32_MAX ? 0
                                                     : MIN(settings->remember_s, 86400) * 1000;
    auth->delay_max_ms = settings->delay_max_s ? MIN(settings->delay_max_s, 3600) * 1000 : DELAY_MAX_MS;
    if (settings->hashes_max)
        auth->hashes_max = settings->hashes_max;
    if (auth->remember_ms == 0)
        memset(auth->remembered, 0, AUTH_REMEMBERED * sizeof *auth->remembered);
    g_free(auth->domains);
    auth->domains = domains;
    (void)pthread_mutex_unlock(&auth->lock);
}

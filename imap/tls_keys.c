/*
 * tls_keys: session tickets (RFC 5077, and the PSK identities of RFC 8446) are sealed by keys that only this process
 * knows and that change: whoever steals a key reads only the sessions of its time.
 */
#include "tls_private.h"

#include "system.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

enum { KEYS = 2, NAME_BYTES = 16, SECRET_BYTES = 32, DEFAULT_ROTATE_S = 6 * 3600 };

struct key {
    bool valid;
    int64_t born_ms;
    uint8_t name[NAME_BYTES], aes[SECRET_BYTES], mac[SECRET_BYTES];
};

struct imap_tls_keys {
    int64_t rotate_ms;
    EVP_CIPHER *cipher;
    pthread_mutex_t lock;  /* guards keys */
    struct key keys[KEYS]; /* the current one first */
};

struct imap_tls_keys *imap_tls_keys_new(uint32_t rotate_s)
{
    struct imap_tls_keys *k = calloc(1, sizeof *k);
    ASSERT(k);
    k->rotate_ms = (int64_t)(rotate_s ? rotate_s : DEFAULT_ROTATE_S) * 1000;
    k->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    ASSERT(k->cipher);
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

void imap_tls_keys_free(struct imap_tls_keys **keys)
{
    struct imap_tls_keys *k = *keys;
    if (!k)
        return;
    *keys = NULL;
    EVP_CIPHER_free(k->cipher);
    pthread_mutex_destroy(&k->lock);
    OPENSSL_cleanse(k->keys, sizeof k->keys);
    free(k);
}

/* A copy of the key to seal with; a new one if its time is over. */
static bool current(struct imap_tls_keys *k, struct key *out)
{
    const int64_t now = imap_system_now_ms();
    bool ok = true;
    pthread_mutex_lock(&k->lock);
    if (!k->keys[0].valid || now - k->keys[0].born_ms >= k->rotate_ms) {
        struct key fresh = {.valid = true, .born_ms = now};
        ok = RAND_bytes(fresh.name, NAME_BYTES) == 1 && RAND_bytes(fresh.aes, SECRET_BYTES) == 1 &&
             RAND_bytes(fresh.mac, SECRET_BYTES) == 1;
        if (ok) {
            k->keys[1] = k->keys[0];
            k->keys[0] = fresh;
        }
        OPENSSL_cleanse(&fresh, sizeof fresh);
    }
    *out = k->keys[0];
    pthread_mutex_unlock(&k->lock);
    return ok;
}

/* A copy of the key of that name, unless it is too old to seal a ticket that still lives. */
static bool named(struct imap_tls_keys *k, const uint8_t *name, struct key *out)
{
    const int64_t now = imap_system_now_ms();
    bool found = false;
    pthread_mutex_lock(&k->lock);
    for (int i = 0; i < KEYS && !found; i++) {
        const struct key *one = &k->keys[i];
        found = one->valid && now - one->born_ms < KEYS * k->rotate_ms && memcmp(one->name, name, NAME_BYTES) == 0;
        if (found)
            *out = *one;
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

static bool set_up(const struct imap_tls_keys *k, struct key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seal)
{
    char sha[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, key->mac, SECRET_BYTES),
                                 OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, sha, sizeof sha - 1), OSSL_PARAM_END};
    return EVP_CipherInit_ex(cipher, k->cipher, NULL, key->aes, iv, seal) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's contract: negative failure, 0 no ticket or not ours, 1 done, 2 done and give the client a new one. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int seal)
{
    struct imap_tls_keys *k = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct key key;
    int rc = -1;
    if (seal) {
        if (!current(k, &key) || RAND_bytes(iv, EVP_CIPHER_get_iv_length(k->cipher)) != 1)
            return -1;
        memcpy(name, key.name, NAME_BYTES);
        rc = set_up(k, &key, iv, cipher, mac, 1) ? 1 : -1;
    } else if (!named(k, name, &key)) {
        return 0;
    } else if (set_up(k, &key, iv, cipher, mac, 0)) {
        /* A ticket of TLS 1.3 is for one use (RFC 8446 C.4): who used it gets another. */
        rc = SSL_version(ssl) < TLS1_3_VERSION && imap_system_now_ms() - key.born_ms < k->rotate_ms ? 1 : 2;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return rc;
}

void imap_tls_keys_serve(struct imap_tls_keys *keys, SSL_CTX *ctx)
{
    SSL_CTX_set_app_data(ctx, keys);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    /* A ticket sealed just before its key was replaced lives as long as that key is still known. */
    SSL_CTX_set_timeout(ctx, (long)(keys->rotate_ms / 1000));
}

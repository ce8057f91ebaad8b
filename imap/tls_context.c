/*
 * tls_context: a listener's certificates and rules as OpenSSL's contexts: one SSL_CTX a certificate, all alike but for
 * it.
 */
#include "tls_private.h"

#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

/* RFC 7525, RFC 9325: forward secrecy and AEAD; TLS 1.3 has nothing else. */
static const char default_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

enum { CA_BYTES_MAX = 16 << 20, VERIFY_DEPTH = 8 };

struct imap_tls_context *imap_tls_context_ref(struct imap_tls_context *context)
{
    atomic_fetch_add(&context->refs, 1);
    return context;
}

void imap_tls_context_unref(struct imap_tls_context **context)
{
    struct imap_tls_context *c = *context;
    *context = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    for (size_t i = 0; i < c->pairs_n; i++)
        SSL_CTX_free(c->pairs[i].ctx);
    BIO_meth_free(c->bio);
    free(c->pairs);
    free(c);
}

/* OpenSSL's first words for what failed; a file that cannot be opened is errno's. */
static int failed(struct error *err, const char *what, const char *file)
{
    const unsigned long e = ERR_peek_error();
    const char *reason = ERR_reason_error_string(e);
    const int sys = ERR_SYSTEM_ERROR(e) ? ERR_GET_REASON(e) : 0;
    int rc = error_set(err, sys ? BASE_ERR_IO : BASE_ERR_USAGE, sys, "%s %s: %s", what, file,
                       sys      ? strerror(sys)
                       : reason ? reason
                                : "not usable");
    ERR_clear_error();
    return rc;
}

/* Nobody sits at a terminal. */
static int no_passphrase(char *p, int n, int writing, void *arg)
{
    (void)p, (void)n, (void)writing, (void)arg;
    return -1;
}

static void warn_if_open(const char *key)
{
    struct stat st;
    if (stat(key, &st) == 0 && st.st_mode & S_IROTH)
        log_to(LOG_LEVEL_WARN, "imap: private key may be read by everybody: file=%s", key);
}

static int load_pair(SSL_CTX *ctx, const struct imap_certificate *files, struct error *err)
{
    const char *key = files->key ? files->key : files->certificate;
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, files->certificate) != 1)
        return failed(err, "certificate", files->certificate);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return failed(err, "private key", key);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return failed(err, "private key does not fit the certificate:", key);
    warn_if_open(key);
    return 0;
}

static bool host_matches(X509 *leaf, const char *name)
{
    return X509_check_host(leaf, name, 0, 0, NULL) == 1;
}

/* Never refuses: a client that asks for a name nobody has gets the default certificate and judges for itself. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct imap_tls_context *c = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    for (size_t i = 0; name && i < c->pairs_n; i++)
        if (host_matches(c->pairs[i].leaf, name)) {
            SSL_set_SSL_CTX(ssl, c->pairs[i].ctx);
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_OK;
}

/* Text of a file, to tell whether it is still the same. */
static int digest_file(EVP_MD_CTX *digest, const char *file, struct error *err)
{
    char block[4096];
    size_t total = 0, n;
    FILE *f = fopen(file, "re");
    if (!f)
        return error_errno(err, "client CA %s", file);
    while ((n = fread(block, 1, sizeof block, f)) > 0 && (total += n) <= CA_BYTES_MAX)
        EVP_DigestUpdate(digest, block, n);
    const bool bad = ferror(f) != 0;
    fclose(f);
    if (bad || total > CA_BYTES_MAX)
        return error_set(err, BASE_ERR_IO, 0, "client CA %s: cannot be read", file);
    return 0;
}

/* A ticket is good only where it was given: same listener, same ideas of whom to trust. */
static int set_session_id(SSL_CTX *ctx, const struct imap_listener_settings *l, struct error *err)
{
    unsigned char id[SSL_MAX_SID_CTX_LENGTH];
    unsigned n = 0;
    int rc = 0;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    ASSERT(digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1);
    EVP_DigestUpdate(digest, l->address, strlen(l->address) + 1);
    EVP_DigestUpdate(digest, &l->client_certificates, sizeof l->client_certificates);
    if (l->client_ca)
        rc = digest_file(digest, l->client_ca, err);
    ASSERT(EVP_DigestFinal_ex(digest, id, &n) == 1);
    EVP_MD_CTX_free(digest);
    if (rc == 0)
        ASSERT(SSL_CTX_set_session_id_context(ctx, id, n) == 1);
    return rc;
}

static int set_client_ca(SSL_CTX *ctx, const struct imap_listener_settings *l, struct error *err)
{
    if (l->client_certificates == IMAP_CLIENT_CERTIFICATES_NONE) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    if (!l->client_ca)
        return error_set(err, BASE_ERR_USAGE, 0,
                         "client certificates are asked for, but no CA is named to verify them");
    ERR_clear_error();
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(l->client_ca);
    if (!names || SSL_CTX_load_verify_file(ctx, l->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return failed(err, "client CA", l->client_ca);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH);
    const bool required = l->client_certificates == IMAP_CLIENT_CERTIFICATES_REQUIRED;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return 0;
}

static int set_versions(SSL_CTX *ctx, const struct imap_listener_settings *l, struct error *err)
{
    const char *least = l->tls_min ? l->tls_min : "1.2", *ciphers = l->tls_ciphers ? l->tls_ciphers : default_ciphers;
    const bool three = strcmp(least, "1.3") == 0;
    if (!three && strcmp(least, "1.2") != 0)
        return error_set(err, BASE_ERR_USAGE, 0, "TLS \"%s\": 1.2 or 1.3", least);
    ASSERT(SSL_CTX_set_min_proto_version(ctx, three ? TLS1_3_VERSION : TLS1_2_VERSION) == 1);
    ERR_clear_error();
    if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
        return failed(err, "TLS ciphers", ciphers);
    return 0;
}

static int open_pair(struct imap_tls_context *c, const struct imap_listener_settings *l,
                     const struct imap_certificate *files, struct imap_tls_keys *keys, struct error *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    ASSERT(ctx);
    c->pairs[c->pairs_n++].ctx = ctx;
    /* Renegotiation has no use here and has had many holes. Plaintext does not stay in buffers: it may be a password.
     */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx,
                                   SSL_SESS_CACHE_OFF); /* tickets only: nothing to keep for who may never come back */
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, c);
    imap_tls_keys_serve(keys, ctx);
    int rc = set_versions(ctx, l, err);
    if (rc == 0)
        rc = load_pair(ctx, files, err);
    if (rc == 0)
        rc = set_client_ca(ctx, l, err);
    if (rc == 0)
        rc = set_session_id(ctx, l, err);
    c->pairs[c->pairs_n - 1].leaf = SSL_CTX_get0_certificate(ctx);
    return rc;
}

int imap_tls_context_new(const struct imap_listener_settings *l, struct imap_tls_keys *keys,
                         struct imap_tls_context **out, struct error *err)
{
    int rc = 0;
    if (l->certificates_n == 0)
        return error_set(err, BASE_ERR_USAGE, 0, "TLS needs a certificate");
    struct imap_tls_context *c = calloc(1, sizeof *c);
    ASSERT(c);
    atomic_init(&c->refs, 1);
    c->bio = imap_tls_bio_method();
    c->pairs = calloc(l->certificates_n, sizeof *c->pairs);
    ASSERT(c->pairs);
    for (size_t i = 0; i < l->certificates_n && rc == 0; i++)
        rc = open_pair(c, l, &l->certificates[i], keys, err);
    if (rc == 0)
        *out = c;
    else
        imap_tls_context_unref(&c);
    return rc;
}

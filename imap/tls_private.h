/* tls_private: what tls.c (a connection), tls_context.c (a listener) and tls_keys.c (tickets) share. */
#ifndef IMAP_TLS_PRIVATE_H
#define IMAP_TLS_PRIVATE_H

#include "tls.h"

#include <limits.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

/* A certificate with its key and chain, as an SSL_CTX of its own: SNI chooses among them. */
struct imap_tls_pair {
    SSL_CTX *ctx;
    X509 *leaf; /* the context's */
};

struct imap_tls_context {
    atomic_uint refs;
    BIO_METHOD *bio;
    struct imap_tls_pair *pairs;
    size_t pairs_n;
};

struct imap_tls_context *imap_tls_context_ref(struct imap_tls_context *context);
BIO_METHOD *imap_tls_bio_method(void);
/* Tickets of ctx are sealed with these keys. */
void imap_tls_keys_serve(struct imap_tls_keys *keys, SSL_CTX *ctx);

#endif

/*
 * tls: OpenSSL between two byte buffers: no sockets, no loop.
 *
 *     imap_tls_context_new(&listener, keys, &context, &err);      // a listener's certificates and rules
 *     struct imap_tls *tls = imap_tls_new(context);               // one connection
 *     imap_tls_handshake(tls, &in, &out);                         // in: what came; out: what is to be sent, whatever
 * it returns imap_tls_read(tls, &in, plain, sizeof plain, &got, &out); imap_tls_write(tls, bytes, &out);
 *
 * Thread rule: a connection is used by one thread at a time; contexts and keys by all. The only file that includes
 * OpenSSL's ssl.h. Memory of an idle connection: no record buffers (SSL_MODE_RELEASE_BUFFERS).
 */
#ifndef IMAP_TLS_H
#define IMAP_TLS_H

#include "base/bytes.h"
#include "base/error.h"
#include "imap/server.h"

/* Bytes that came and how far they are used. */
struct imap_input {
    struct buf buf;
    size_t off;
};
static inline size_t imap_input_left(const struct imap_input *in)
{
    return in->buf.n - in->off;
}

/*
 * Keys of session tickets: made at random, a new one every rotate_s seconds; a ticket of the current or the previous
 * key resumes. They outlive reloads of the configuration, so that clients resume across them.
 */
struct imap_tls_keys;
struct imap_tls_keys *imap_tls_keys_new(uint32_t rotate_s);
void imap_tls_keys_free(struct imap_tls_keys **keys);

/* Counted: a connection keeps its context until it ends. keys must outlive it. */
struct imap_tls_context;
int imap_tls_context_new(const struct imap_listener_settings *listener, struct imap_tls_keys *keys,
                         struct imap_tls_context **out, struct error *err);
void imap_tls_context_unref(struct imap_tls_context **context);

struct imap_tls;
struct imap_tls *imap_tls_new(struct imap_tls_context *context);
void imap_tls_free(struct imap_tls **tls);

enum imap_tls_step {
    IMAP_TLS_OK,
    IMAP_TLS_WANT,  /* all of in was used: more is needed */
    IMAP_TLS_END,   /* the peer said close_notify */
    IMAP_TLS_FAILED /* out may hold an alert; see imap_tls_why */
};
enum imap_tls_step imap_tls_handshake(struct imap_tls *tls, struct imap_input *in, struct buf *out);
/* OK with *got > 0. */
enum imap_tls_step imap_tls_read(struct imap_tls *tls, struct imap_input *in, void *p, size_t n, size_t *got,
                                 struct buf *out);
/* Decrypted bytes are left inside. */
bool imap_tls_has_plain(const struct imap_tls *tls);
enum imap_tls_step imap_tls_write(struct imap_tls *tls, struct bytes plain, struct buf *out);
/* close_notify, once. */
void imap_tls_close(struct imap_tls *tls, struct buf *out);
/* Static text or of OpenSSL's tables: the last failure, for logs. */
const char *imap_tls_why(const struct imap_tls *tls);
bool imap_tls_resumed(const struct imap_tls *tls);
/* After the handshake: fills the tls members of *t; the texts live as long as tls. */
void imap_tls_describe(struct imap_tls *tls, struct imap_transport *t);

#endif

/*
 * tls: one connection: see tls.h. OpenSSL reads from and writes to a BIO of ours that moves bytes between the caller's
 * buffers, so that nothing is kept between two calls but what TLS itself must keep.
 */
#include "tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

struct imap_tls {
    struct imap_tls_context *context;
    SSL *ssl;
    /* during a call */
    struct imap_input *in;
    struct buf *out;
    /* from the end of the handshake on */
    bool closed, failed;
    unsigned long why;
    char *subject, *email, *common, *name;
};

/* ---- the BIO ----------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *p, size_t n, size_t *got)
{
    struct imap_tls *t = BIO_get_data(bio);
    const size_t left = t->in ? imap_input_left(t->in) : 0;
    const size_t take = n < left ? n : left;
    BIO_clear_retry_flags(bio);
    *got = take;
    if (take == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(p, t->in->buf.p + t->in->off, take);
    t->in->off += take;
    return 1;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *wrote)
{
    struct imap_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_append(t->out, p, n);
    *wrote = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long n, void *p)
{
    (void)bio, (void)n, (void)p;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *imap_tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, /* no index of its own: there are 128 in a process's life */
                                 "mds buffers");
    ASSERT(m);
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    BIO_meth_set_create(m, bio_create);
    return m;
}

/* ---- a connection ------------------------------------------------------------------------------- */

struct imap_tls *imap_tls_new(struct imap_tls_context *context)
{
    struct imap_tls *t = calloc(1, sizeof *t);
    ASSERT(t);
    t->context = imap_tls_context_ref(context);
    t->ssl = SSL_new(context->pairs[0].ctx);
    BIO *bio = BIO_new(context->bio);
    ASSERT(t->ssl && bio);
    BIO_set_data(bio, t);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_accept_state(t->ssl);
    return t;
}

void imap_tls_free(struct imap_tls **tls)
{
    struct imap_tls *t = *tls;
    if (!t)
        return;
    *tls = NULL;
    SSL_free(t->ssl);
    imap_tls_context_unref(&t->context);
    OPENSSL_free(t->subject);
    OPENSSL_free(t->email);
    OPENSSL_free(t->common);
    free(t->name);
    free(t);
}

static void enter(struct imap_tls *t, struct imap_input *in, struct buf *out)
{
    t->in = in;
    t->out = out;
    ERR_clear_error();
}

/* What OpenSSL's return value means. */
static enum imap_tls_step leave(struct imap_tls *t, int rc)
{
    enum imap_tls_step step = IMAP_TLS_FAILED;
    switch (rc > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_NONE: step = IMAP_TLS_OK; break;
    case SSL_ERROR_WANT_READ: step = IMAP_TLS_WANT; break;
    case SSL_ERROR_ZERO_RETURN: step = IMAP_TLS_END; break;
    default:
        t->failed = true;
        t->why = ERR_peek_error();
        break;
    }
    ERR_clear_error();
    t->in = NULL;
    t->out = NULL;
    return step;
}

enum imap_tls_step imap_tls_handshake(struct imap_tls *t, struct imap_input *in, struct buf *out)
{
    enter(t, in, out);
    return leave(t, SSL_do_handshake(t->ssl));
}

enum imap_tls_step imap_tls_read(struct imap_tls *t, struct imap_input *in, void *p, size_t n, size_t *got,
                                 struct buf *out)
{
    *got = 0;
    if (t->failed)
        return IMAP_TLS_FAILED;
    enter(t, in, out);
    return leave(t, SSL_read_ex(t->ssl, p, n, got));
}

bool imap_tls_has_plain(const struct imap_tls *t)
{
    return !t->failed && SSL_pending(t->ssl) > 0;
}

enum imap_tls_step imap_tls_write(struct imap_tls *t, struct bytes plain, struct buf *out)
{
    enum imap_tls_step step = IMAP_TLS_OK;
    while (plain.n > 0 && step == IMAP_TLS_OK) {
        size_t wrote = 0;
        if (t->failed || t->closed)
            return IMAP_TLS_FAILED;
        enter(t, NULL, out);
        step = leave(t, SSL_write_ex(t->ssl, plain.p, plain.n, &wrote));
        plain = bytes_of(plain.p + wrote, plain.n - wrote);
    }
    return step;
}

void imap_tls_close(struct imap_tls *t, struct buf *out)
{
    if (t->failed || t->closed || !SSL_is_init_finished(t->ssl))
        return;
    t->closed = true;
    enter(t, NULL, out);
    int rc = SSL_shutdown(t->ssl); /* 0: ours is said, the peer's is not waited for */
    leave(t, rc < 0 ? rc : 1);
}

const char *imap_tls_why(const struct imap_tls *t)
{
    const char *text = t->why ? ERR_reason_error_string(t->why) : NULL;
    return text ? text : "protocol error";
}

bool imap_tls_resumed(const struct imap_tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

/* ---- what is known of it --------------------------------------------------------------------------- */

/* UTF-8 of OpenSSL's allocator; NULL if it is not, is empty, or would end early as a C string. */
static char *utf8_of(const ASN1_STRING *s)
{
    unsigned char *text = NULL;
    int n = s ? ASN1_STRING_to_UTF8(&text, s) : -1;
    if (n > 0 && memchr(text, 0, (size_t)n) == NULL)
        return (char *)text;
    OPENSSL_free(text);
    return NULL;
}

static char *entry_of(const X509_NAME *name, int nid)
{
    const int at = X509_NAME_get_index_by_NID(name, nid, -1);
    return at < 0 ? NULL : utf8_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
}

static char *email_of(X509 *peer)
{
    char *found = NULL;
    GENERAL_NAMES *names = X509_get_ext_d2i(peer, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names && !found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
        if (one->type == GEN_EMAIL)
            found = utf8_of(one->d.rfc822Name);
    }
    GENERAL_NAMES_free(names);
    return found ? found : entry_of(X509_get_subject_name(peer), NID_pkcs9_emailAddress);
}

/* RFC 4514, with UTF-8 as it is. */
static char *subject_of(X509 *peer)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *p = NULL, *copy = NULL;
    ASSERT(text);
    if (X509_NAME_print_ex(text, X509_get_subject_name(peer), 0,
                           XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        const long n = BIO_get_mem_data(text, &p);
        if (n > 0)
            copy = OPENSSL_strndup(p, (size_t)n);
    }
    BIO_free(text);
    return copy;
}

static void describe_peer(struct imap_tls *t, struct imap_transport *out)
{
    X509 *peer = SSL_get0_peer_certificate(t->ssl);
    if (!peer || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return;
    t->subject = subject_of(peer);
    t->email = email_of(peer);
    t->common = entry_of(X509_get_subject_name(peer), NID_commonName);
    out->tls_subject = t->subject;
    out->tls_email = t->email;
    out->tls_common = t->common;
}

void imap_tls_describe(struct imap_tls *t, struct imap_transport *out)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    const char *name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
    out->tls = true;
    out->tls_version = SSL_get_version(t->ssl);
    out->tls_cipher = SSL_get_cipher_name(t->ssl);
    if (name && !t->name)
        t->name = strdup(name);
    out->tls_name = t->name;
    describe_peer(t, out);
    /* RFC 9266, 4.2: unique only if the master secret depends on the whole handshake. */
    const bool unique = SSL_version(t->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(t->ssl) == 1;
    out->tls_has_exporter =
        unique && SSL_export_keying_material(t->ssl, out->tls_exporter, sizeof out->tls_exporter, label,
                                             sizeof label - 1, (const unsigned char *)"", 0, 1) == 1;
}

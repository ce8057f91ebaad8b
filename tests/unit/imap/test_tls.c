/*
 * TLS between two buffers, with OpenSSL as the client: versions, names, tickets and their keys, client certificates,
 * exporters, hostile bytes. The certificates are made by the openssl program, once for the process.
 */
#include <criterion/criterion.h>

#include "fake_clock.h"
#include "test_support.h"
#include "tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- certificates --------------------------------------------------------------------------------- */

static const char *dir;

static void shell(const char *command)
{
    cr_assert_eq(system(command), 0, "%s", command);
}

static void make_pair(const char *name, const char *subject, const char *extension)
{
    shell(textf("cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key "
                "-out %s.pem -days 30 "
                "-subj '%s' -addext '%s' 2>/dev/null",
                dir, name, name, subject, extension));
}

static void setup(void)
{
    dir = TEMP_DIR();
    make_pair("one", "/CN=one.example.org", "subjectAltName=DNS:one.example.org");
    make_pair("two", "/CN=two.example.org", "subjectAltName=DNS:two.example.org,DNS:*.two.example.org");
}

TestSuite(tls, .init = setup);

static const char *file(const char *name)
{
    return path_join(dir, name);
}

/* ---- a server and a client, back to back ------------------------------------------------------------ */

struct pair {
    struct imap_tls *server;
    SSL *client;
    BIO *to_client, *from_client;
    struct imap_input in; /* of the server */
    struct buf out;
    size_t portion; /* bytes that travel at a time; 0: all */
};

static SSL_SESSION *ticket; /* the newest */

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static SSL_CTX *client_context(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    cr_assert(ctx);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    if (version) {
        SSL_CTX_set_min_proto_version(ctx, version);
        SSL_CTX_set_max_proto_version(ctx, version);
    }
    return ctx;
}

static void pair_open(struct pair *p, struct imap_tls_context *context, SSL_CTX *ctx, const char *name)
{
    memset(p, 0, sizeof *p);
    p->server = imap_tls_new(context);
    p->client = SSL_new(ctx);
    p->to_client = BIO_new(BIO_s_mem());
    p->from_client = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(p->to_client, -1);
    SSL_set_bio(p->client, p->to_client, p->from_client);
    SSL_set_connect_state(p->client);
    if (name)
        SSL_set_tlsext_host_name(p->client, name);
}

static void pair_close(struct pair *p)
{
    imap_tls_free(&p->server);
    if (SSL_is_init_finished(p->client)) /* else its session would be thought bad and not be resumed */
        SSL_shutdown(p->client);
    SSL_free(p->client);
    buf_release(&p->in.buf);
    buf_release(&p->out);
}

/* What the client has said so far goes to the server's input, at most one portion; false: nothing. */
static bool carry_in(struct pair *p)
{
    uint8_t block[65536];
    const int n = BIO_read(p->from_client, block, (int)(p->portion ? p->portion : sizeof block));
    if (n <= 0)
        return false;
    if (imap_input_left(&p->in) == 0) {
        buf_reset(&p->in.buf);
        p->in.off = 0;
    }
    buf_append(&p->in.buf, block, (size_t)n);
    return true;
}

static void carry_out(struct pair *p)
{
    if (p->out.n)
        cr_assert_eq(BIO_write(p->to_client, p->out.p, (int)p->out.n), (int)p->out.n);
    buf_reset(&p->out);
}

/* Until both are done or one fails. */
static enum imap_tls_step shake(struct pair *p)
{
    enum imap_tls_step step = IMAP_TLS_WANT;
    bool client_done = false;
    for (int i = 0; i < 100000; i++) {
        ERR_clear_error();
        const int rc = SSL_do_handshake(p->client);
        client_done = rc == 1;
        bool moved = false;
        while (step == IMAP_TLS_WANT && carry_in(p)) {
            moved = true;
            step = imap_tls_handshake(p->server, &p->in, &p->out);
            cr_assert(step != IMAP_TLS_WANT || imap_input_left(&p->in) == 0, "WANT uses all");
        }
        moved |= p->out.n > 0;
        carry_out(p);
        if ((step != IMAP_TLS_WANT && client_done) || (!moved && !client_done))
            break;
    }
    return client_done || step == IMAP_TLS_FAILED ? step : IMAP_TLS_FAILED;
}

/* The client reads (tickets come so) and says `say`; the server hears and echoes it in capitals of its own. */
static void talk_once(struct pair *p, const char *say)
{
    char got[256] = "";
    size_t n = 0, all = 0;
    SSL_read_ex(p->client, got, sizeof got, &n);
    cr_assert_eq(SSL_write_ex(p->client, say, strlen(say), &n), 1);
    while (carry_in(p))
        while (all < strlen(say) && imap_tls_read(p->server, &p->in, got + all, 3, &n, &p->out) == IMAP_TLS_OK)
            all += n;
    cr_expect(bytes_equal(bytes_of(got, all), bytes_str(say)), "server heard %.*s", (int)all, got);
    cr_assert_eq(imap_tls_write(p->server, BYTES_LIT("* OK heard\r\n"), &p->out), IMAP_TLS_OK);
    carry_out(p);
    cr_assert_eq(SSL_read_ex(p->client, got, sizeof got, &n), 1);
    cr_expect(bytes_equal(bytes_of(got, n), BYTES_LIT("* OK heard\r\n")));
}

static struct imap_tls_context *context_of(const struct imap_listener_settings *l, struct imap_tls_keys *keys)
{
    struct imap_tls_context *c = NULL;
    struct error err = {0};
    cr_assert_eq(imap_tls_context_new(l, keys, &c, &err), 0, "%s", err.text);
    return c;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* ---- */

Test(tls, both_versions_in_any_pieces)
{
    static const size_t portions[] = {0, 1, 7, 1000};
    const struct imap_certificate files = {file("one.pem"), file("one.key")};
    const struct imap_listener_settings l = {.address = "x:1", .certificates = &files, .certificates_n = 1};
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    struct imap_tls_context *context = context_of(&l, keys);
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < sizeof portions / sizeof portions[0]; i++) {
            struct imap_transport t = {0};
            struct pair p;
            uint8_t theirs[IMAP_TLS_EXPORTER_BYTES];
            SSL_CTX *ctx = client_context(versions[v]);
            pair_open(&p, context, ctx, "one.example.org");
            p.portion = portions[i];
            cr_assert_eq(shake(&p), IMAP_TLS_OK, "version %zu, portion %zu: %s", v, portions[i],
                         imap_tls_why(p.server));
            imap_tls_describe(p.server, &t);
            cr_expect(t.tls);
            cr_expect_str_eq(t.tls_version, v ? "TLSv1.3" : "TLSv1.2");
            cr_expect_str_eq(t.tls_name, "one.example.org");
            cr_expect_null(t.tls_subject);
            cr_assert(t.tls_has_exporter);
            cr_assert_eq(SSL_export_keying_material(p.client, theirs, sizeof theirs, "EXPORTER-Channel-Binding", 24,
                                                    (const unsigned char *)"", 0, 1),
                         1);
            cr_expect_arr_eq(theirs, t.tls_exporter, sizeof theirs, "both ends export the same");
            talk_once(&p, "a LOGIN ann secret\r\n");
            imap_tls_close(p.server, &p.out);
            carry_out(&p);
            char c;
            cr_expect_leq(SSL_read(p.client, &c, 1), 0);
            cr_expect(SSL_get_shutdown(p.client) & SSL_RECEIVED_SHUTDOWN, "close_notify was said");
            pair_close(&p);
            SSL_CTX_free(ctx);
        }
    imap_tls_context_unref(&context);
    imap_tls_keys_free(&keys);
}

static void expect_subject(const struct pair *p, const char *want, const char *asked)
{
    char cn[128] = "";
    X509 *leaf = SSL_get0_peer_certificate(p->client);
    X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, cn, sizeof cn);
    cr_expect_str_eq(cn, want, "asked for %s, got %s", asked ? asked : "(none)", cn);
}

Test(tls, chooses_a_certificate_by_name)
{
    static const struct {
        const char *name, *want;
    } table[] = {{NULL, "one.example.org"},
                 {"one.example.org", "one.example.org"},
                 {"two.example.org", "two.example.org"},
                 {"a.two.example.org", "two.example.org"},
                 {"other.example.org", "one.example.org"},
                 {"TWO.example.ORG", "two.example.org"}};
    const struct imap_certificate files[] = {{file("one.pem"), file("one.key")}, {file("two.pem"), file("two.key")}};
    const struct imap_listener_settings l = {.address = "x:1", .certificates = files, .certificates_n = 2};
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    struct imap_tls_context *context = context_of(&l, keys);
    SSL_CTX *ctx = client_context(0);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct pair p;
        pair_open(&p, context, ctx, table[i].name);
        cr_assert_eq(shake(&p), IMAP_TLS_OK);
        expect_subject(&p, table[i].want, table[i].name);
        pair_close(&p);
    }
    SSL_CTX_free(ctx);
    imap_tls_context_unref(&context);
    imap_tls_keys_free(&keys);
}

/* Connects with the newest ticket, learns a new one; was it resumed? */
static bool again(struct imap_tls_context *context, int version)
{
    struct pair p;
    SSL_CTX *ctx = client_context(version);
    pair_open(&p, context, ctx, "one.example.org");
    if (ticket)
        SSL_set_session(p.client, ticket);
    cr_assert_eq(shake(&p), IMAP_TLS_OK);
    talk_once(&p, "a NOOP\r\n");
    const bool resumed = imap_tls_resumed(p.server);
    cr_expect_eq(resumed, SSL_session_reused(p.client) == 1);
    pair_close(&p);
    SSL_CTX_free(ctx);
    return resumed;
}

static void forget_ticket(void)
{
    SSL_SESSION_free(ticket);
    ticket = NULL;
}

Test(tls, resumes_by_tickets_whose_keys_change)
{
    const struct imap_certificate files[] = {{file("one.pem"), file("one.key")}, {file("two.pem"), file("two.key")}};
    struct imap_listener_settings l = {.address = "x:1", .certificates = files, .certificates_n = 2};
    for (size_t v = 0; v < 2; v++) {
        struct imap_tls_keys *keys = imap_tls_keys_new(100);
        struct imap_tls_context *context = context_of(&l, keys);
        cr_expect_not(again(context, versions[v]), "the first is whole");
        for (int i = 0; i < 5; i++)
            cr_expect(again(context, versions[v]), "version %zu, time %d", v, i);
        /* A new configuration keeps the keys. */
        imap_tls_context_unref(&context);
        context = context_of(&l, keys);
        cr_expect(again(context, versions[v]), "after a reload");
        /* The key before the current one is good. */
        forget_ticket();
        cr_expect_not(again(context, versions[v]));
        fake_clock_ahead_ms += 101 * 1000;
        SSL_SESSION *old = ticket;
        SSL_SESSION_up_ref(old);
        forget_ticket();
        cr_expect_not(again(context, versions[v]), "makes the next key");
        forget_ticket();
        ticket = old;
        cr_expect(again(context, versions[v]), "by the key before");
        /* And no older one. */
        SSL_SESSION_up_ref(old = ticket);
        fake_clock_ahead_ms += 250 * 1000;
        cr_expect_not(again(context, versions[v]), "too old");
        SSL_SESSION_free(old);
        /* Another server's tickets are nothing here. */
        struct imap_tls_keys *others = imap_tls_keys_new(100);
        struct imap_tls_context *other = context_of(&l, others);
        cr_expect_not(again(other, versions[v]));
        cr_expect_not(again(context, versions[v]));
        /* Nor are another listener's. */
        l.address = "x:2";
        imap_tls_context_unref(&other);
        imap_tls_keys_free(&others);
        other = context_of(&l, keys);
        cr_expect_not(again(other, versions[v]), "another listener");
        l.address = "x:1";
        forget_ticket();
        imap_tls_context_unref(&other);
        imap_tls_context_unref(&context);
        imap_tls_keys_free(&keys);
    }
}

static void use_client_certificate(SSL_CTX *ctx, const char *name)
{
    cr_assert_eq(SSL_CTX_use_certificate_file(ctx, file(textf("%s.pem", name)), SSL_FILETYPE_PEM), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey_file(ctx, file(textf("%s.key", name)), SSL_FILETYPE_PEM), 1);
}

Test(tls, learns_who_a_client_certificate_names)
{
    make_pair("ca", "/CN=Test CA", "keyUsage=keyCertSign");
    shell(textf("cd '%s' && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ann.key -out "
                "ann.csr -subj "
                "'/O=Example/CN=ann' 2>/dev/null && printf 'subjectAltName=email:ann@example.org' > ext && "
                "openssl x509 -req -in ann.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out "
                "ann.pem 2>/dev/null",
                dir));
    const struct imap_certificate files = {file("one.pem"), file("one.key")};
    struct imap_listener_settings l = {
        .address = "x:1", .certificates = &files, .certificates_n = 1, .client_ca = file("ca.pem")};
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    for (int required = 0; required < 2; required++)
        for (size_t v = 0; v < 2; v++) {
            l.client_certificates = required ? IMAP_CLIENT_CERTIFICATES_REQUIRED : IMAP_CLIENT_CERTIFICATES_OPTIONAL;
            struct imap_tls_context *context = context_of(&l, keys);
            /* Ann's; nobody's; one that our CA did not sign. */
            for (int who = 0; who < 3; who++)
                for (int resumed = 0; resumed < (who == 0 ? 2 : 1); resumed++) {
                    struct imap_transport t = {0};
                    struct pair p;
                    SSL_CTX *ctx = client_context(versions[v]);
                    if (who != 1)
                        use_client_certificate(ctx, who ? "two" : "ann");
                    pair_open(&p, context, ctx, NULL);
                    if (resumed)
                        SSL_set_session(p.client, ticket);
                    const enum imap_tls_step step = shake(&p);
                    const bool fails = who == 2 || (who == 1 && required);
                    cr_expect_eq(step, fails ? IMAP_TLS_FAILED : IMAP_TLS_OK, "required %d, version %zu, who %d",
                                 required, v, who);
                    if (step == IMAP_TLS_OK) {
                        imap_tls_describe(p.server, &t);
                        talk_once(&p, "a NOOP\r\n");
                        cr_expect_eq(imap_tls_resumed(p.server), resumed != 0);
                        if (who == 0) {
                            cr_assert(t.tls_subject && t.tls_email && t.tls_common, "version %zu, resumed %d", v,
                                      resumed);
                            cr_expect_str_eq(t.tls_subject, "CN=ann,O=Example");
                            cr_expect_str_eq(t.tls_email, "ann@example.org");
                            cr_expect_str_eq(t.tls_common, "ann");
                        } else {
                            cr_expect(!t.tls_subject && !t.tls_email && !t.tls_common);
                        }
                    }
                    pair_close(&p);
                    SSL_CTX_free(ctx);
                }
            forget_ticket();
            imap_tls_context_unref(&context);
        }
    imap_tls_keys_free(&keys);
}

Test(tls, refuses_old_versions_and_plain_text)
{
    const struct imap_certificate files = {file("one.pem"), file("one.key")};
    struct imap_listener_settings l = {.address = "x:1", .certificates = &files, .certificates_n = 1};
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    struct imap_tls_context *context = context_of(&l, keys);
    struct pair p;
    SSL_CTX *ctx = client_context(TLS1_1_VERSION);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
    pair_open(&p, context, ctx, NULL);
    cr_expect_eq(shake(&p), IMAP_TLS_FAILED);
    pair_close(&p);
    SSL_CTX_free(ctx);
    /* 1.3 only. */
    l.tls_min = "1.3";
    struct imap_tls_context *strict = context_of(&l, keys);
    ctx = client_context(TLS1_2_VERSION);
    pair_open(&p, strict, ctx, NULL);
    cr_expect_eq(shake(&p), IMAP_TLS_FAILED);
    pair_close(&p);
    SSL_CTX_free(ctx);
    imap_tls_context_unref(&strict);
    /* Who does not know that this is TLS. */
    struct rng rng = rng_start("noise");
    for (int i = 0; i < 200; i++) {
        struct imap_tls *tls = imap_tls_new(context);
        struct imap_input in = {0};
        struct buf out = {0};
        enum imap_tls_step step;
        if (i == 0)
            buf_append_str(&in.buf, "a LOGIN ann secret\r\n");
        else
            for (int k = 0; k < 300; k++)
                buf_append_byte(&in.buf, k < 3 && i % 2 ? (uint8_t) "\x16\x03\x01"[k] : (uint8_t)rng_u64(&rng));
        step = imap_tls_handshake(tls, &in, &out);
        cr_expect(step == IMAP_TLS_FAILED || (step == IMAP_TLS_WANT && imap_input_left(&in) == 0));
        imap_tls_free(&tls);
        buf_release(&in.buf);
        buf_release(&out);
    }
    imap_tls_context_unref(&context);
    imap_tls_keys_free(&keys);
}

Test(tls, ends_at_a_damaged_record)
{
    const struct imap_certificate files = {file("one.pem"), file("one.key")};
    const struct imap_listener_settings l = {.address = "x:1", .certificates = &files, .certificates_n = 1};
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    struct imap_tls_context *context = context_of(&l, keys);
    for (size_t v = 0; v < 2; v++) {
        struct pair p;
        size_t n = 0;
        char got[64];
        SSL_CTX *ctx = client_context(versions[v]);
        pair_open(&p, context, ctx, NULL);
        cr_assert_eq(shake(&p), IMAP_TLS_OK);
        cr_assert_eq(SSL_write_ex(p.client, "a NOOP\r\n", 8, &n), 1);
        cr_assert(carry_in(&p));
        p.in.buf.p[p.in.buf.n - 1] ^= 1;
        enum imap_tls_step step;
        while ((step = imap_tls_read(p.server, &p.in, got, sizeof got, &n, &p.out)) == IMAP_TLS_OK)
            ;
        cr_expect_eq(step, IMAP_TLS_FAILED);
        cr_expect_gt(p.out.n, 0, "an alert");
        cr_expect_eq(imap_tls_read(p.server, &p.in, got, sizeof got, &n, &p.out), IMAP_TLS_FAILED, "and stays so");
        cr_expect_eq(imap_tls_write(p.server, BYTES_LIT("x"), &p.out), IMAP_TLS_FAILED);
        pair_close(&p);
        SSL_CTX_free(ctx);
    }
    imap_tls_context_unref(&context);
    imap_tls_keys_free(&keys);
}

Test(tls, says_which_file_is_no_good)
{
    write_text(file("rubbish.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const struct {
        struct imap_certificate files;
        const char *ca, *min, *ciphers, *want;
        int code;
    } table[] = {
        {{file("none.pem"), file("one.key")}, NULL, NULL, NULL, "none.pem: No such file", BASE_ERR_IO},
        {{file("one.pem"), file("none.key")}, NULL, NULL, NULL, "none.key: No such file", BASE_ERR_IO},
        {{file("one.pem"), file("two.key")}, NULL, NULL, NULL, "two.key", BASE_ERR_USAGE},
        {{file("one.pem"), NULL}, NULL, NULL, NULL, "private key", BASE_ERR_USAGE},
        {{file("rubbish.pem"), file("one.key")}, NULL, NULL, NULL, "certificate", BASE_ERR_USAGE},
        {{file("one.pem"), file("one.key")}, file("none.ca"), NULL, NULL, "client CA", BASE_ERR_IO},
        {{file("one.pem"), file("one.key")}, file("one.key"), NULL, NULL, "client CA", BASE_ERR_USAGE},
        {{file("one.pem"), file("one.key")}, NULL, "1.1", NULL, "1.2 or 1.3", BASE_ERR_USAGE},
        {{file("one.pem"), file("one.key")}, NULL, NULL, "NOTHING", "NOTHING", BASE_ERR_USAGE},
    };
    struct imap_tls_keys *keys = imap_tls_keys_new(0);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct imap_listener_settings l = {
            .address = "x:1",
            .certificates = &table[i].files,
            .certificates_n = 1,
            .client_ca = table[i].ca,
            .client_certificates = table[i].ca ? IMAP_CLIENT_CERTIFICATES_OPTIONAL : IMAP_CLIENT_CERTIFICATES_NONE,
            .tls_min = table[i].min,
            .tls_ciphers = table[i].ciphers,
        };
        struct imap_tls_context *c = NULL;
        struct error err = {0};
        cr_expect_eq(imap_tls_context_new(&l, keys, &c, &err), table[i].code, "%zu: %s", i, err.text);
        cr_expect(strstr(err.text, table[i].want), "%zu: %s", i, err.text);
        cr_expect_null(c);
    }
    imap_tls_keys_free(&keys);
}

/* AUTHENTICATE as a session sees it: the client's side is GNU SASL's, the transport's facts are made up. */
#include "fake_query.h"
#include "imap/transport.h"
#include "session_private.h"
#include "talk.h"
#include "wire/base64.h"

#include <criterion/criterion.h>
#include <gsasl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define PASSWORD "secret\"\\"

static struct imap_transport transport;
static char told[4000];

static void on_login(void *arg, const struct imap_transport *t, const struct imap_login_event *e)
{
    (void)arg, (void)t;
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s %s %s %s%s\n", e->mechanism, e->account, e->archive ? e->archive : "-",
             e->ok ? "ok" : "failed: ", e->ok ? "" : e->why);
}

static const struct imap_events events = {.login = on_login};

/* A session on `transport`, its greeting read away. */
static struct imap_session *begin(void)
{
    told[0] = 0;
    transport.events = &events;
    transport.peer = "192.0.2.1";
    struct imap_session *s = imap_session_new(NULL, NULL);
    imap_session_set_transport(s, &transport);
    talk(s, "");
    return s;
}

static const char *capabilities(void)
{
    static char copy[1000];
    fake_reset();
    struct imap_session *s = begin();
    const char *got = strstr(talk(s, "a CAPABILITY\r\n"), "SPECIAL-USE");
    snprintf(copy, sizeof copy, "%s", got ? got + strlen("SPECIAL-USE") : "?");
    *strchr(copy, '\r') = 0;
    imap_session_free(&s);
    return copy;
}

Test(sasl, mechanisms_follow_the_listener_and_the_transport)
{
    static const struct {
        const char *name;
        struct imap_transport transport;
        const char *expect;
    } table[] = {
        {"anything", {.login = IMAP_LOGIN_ANY}, " AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"},
        {"clear network", {.login = IMAP_LOGIN_NO_CLEAR}, " AUTH=SCRAM-SHA-256 LOGINDISABLED"},
        {"before TLS", {.login = IMAP_LOGIN_NONE}, " LOGINDISABLED"},
        {"scram only", {.login = IMAP_LOGIN_ANY, .mechanisms = "SCRAM-SHA-256"}, " AUTH=SCRAM-SHA-256 LOGINDISABLED"},
        {"plain only", {.login = IMAP_LOGIN_ANY, .mechanisms = "PLAIN"}, " AUTH=PLAIN LOGINDISABLED"},
        {"plain in clear", {.login = IMAP_LOGIN_NO_CLEAR, .mechanisms = "PLAIN"}, " LOGINDISABLED"},
        {"no part of a name", {.login = IMAP_LOGIN_ANY, .mechanisms = "SCRAM-SHA-256-PLUS"}, " LOGINDISABLED"},
        {"TLS", {.login = IMAP_LOGIN_ANY, .tls = true}, " AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"},
        {"TLS 1.3", {.login = IMAP_LOGIN_ANY, .tls = true, .tls_has_exporter = true},
         " AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"},
        {"certificate", {.login = IMAP_LOGIN_NO_CLEAR, .tls = true, .tls_subject = "CN=me", .tls_common = "me"},
         " AUTH=SCRAM-SHA-256 AUTH=EXTERNAL LOGINDISABLED"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        transport = table[i].transport;
        cr_expect_str_eq(capabilities(), table[i].expect, "%s: %s", table[i].name, capabilities());
    }
}

Test(sasl, what_is_not_offered_is_refused)
{
    static const struct {
        const char *name;
        struct imap_transport transport;
        const char *say, *expect;
    } table[] = {
        {"PLAIN in clear", {.login = IMAP_LOGIN_NO_CLEAR}, "AUTHENTICATE PLAIN", "a NO [PRIVACYREQUIRED]"},
        {"LOGIN in clear", {.login = IMAP_LOGIN_NO_CLEAR}, "AUTHENTICATE LOGIN", "a NO [PRIVACYREQUIRED]"},
        {"login command in clear", {.login = IMAP_LOGIN_NO_CLEAR}, "LOGIN me x", "a NO [PRIVACYREQUIRED]"},
        {"SCRAM where TLS is forced", {.login = IMAP_LOGIN_NONE}, "AUTHENTICATE SCRAM-SHA-256", "a NO [PRIVACYREQUIRED]"},
        {"SCRAM in clear", {.login = IMAP_LOGIN_NO_CLEAR}, "AUTHENTICATE SCRAM-SHA-256", "+ \r\n"},
        {"not of the list", {.login = IMAP_LOGIN_ANY, .mechanisms = "PLAIN"}, "AUTHENTICATE SCRAM-SHA-256", "a NO [CANNOT]"},
        {"PLUS without TLS", {.login = IMAP_LOGIN_ANY}, "AUTHENTICATE SCRAM-SHA-256-PLUS", "a NO [CANNOT]"},
        {"EXTERNAL without a certificate", {.login = IMAP_LOGIN_ANY, .tls = true}, "AUTHENTICATE EXTERNAL =", "a NO [CANNOT]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char line[100];
        fake_reset();
        transport = table[i].transport;
        struct imap_session *s = begin();
        snprintf(line, sizeof line, "a %s\r\n", table[i].say);
        const char *got = talk(s, line);
        cr_expect_eq(strncmp(got, table[i].expect, strlen(table[i].expect)), 0, "%s: %s", table[i].name, got);
        imap_session_free(&s);
    }
}

/* ---- clients ------------------------------------------------------------------------------------------ */

/* RFC 5802 3 */
static void give_scram(const char *password)
{
    uint8_t salted[32], client[32];
    unsigned n = 0;
    fake.scram.iterations = 4096;
    memset(fake.scram.salt, 'S', sizeof fake.scram.salt);
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), fake.scram.salt, sizeof fake.scram.salt, 4096, EVP_sha256(), 32, salted);
    HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Client Key", 10, client, &n);
    SHA256(client, 32, fake.scram.stored_key);
    HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Server Key", 10, fake.scram.server_key, &n);
}

struct client {
    const char *mechanism, *user, *authzid, *password;
    bool binds; /* knows the exporter */
    uint8_t exporter;
};

static void set_exporter(Gsasl_session *c, uint8_t byte)
{
    uint8_t exporter[IMAP_TLS_EXPORTER_BYTES];
    char *text = NULL;
    memset(exporter, byte, sizeof exporter);
    gsasl_base64_to((const char *)exporter, sizeof exporter, &text, NULL);
    gsasl_property_set(c, GSASL_CB_TLS_EXPORTER, text);
    gsasl_free(text);
}

/* The whole conversation; the last answer. */
static const char *authenticate(struct imap_session *s, const struct client *k)
{
    Gsasl *ctx = NULL;
    Gsasl_session *c = NULL;
    char line[2000];
    const char *got;
    cr_assert_eq(gsasl_init(&ctx), GSASL_OK);
    cr_assert_eq(gsasl_client_start(ctx, k->mechanism, &c), GSASL_OK);
    gsasl_property_set(c, GSASL_AUTHID, k->user);
    if (k->authzid)
        gsasl_property_set(c, GSASL_AUTHZID, k->authzid);
    gsasl_property_set(c, GSASL_PASSWORD, k->password);
    if (k->binds)
        set_exporter(c, k->exporter);
    snprintf(line, sizeof line, "a AUTHENTICATE %s\r\n", k->mechanism);
    got = talk(s, line);
    for (int i = 0; i < 10 && got[0] == '+'; i++) {
        char server[1000], *answer = NULL;
        snprintf(server, sizeof server, "%.*s", (int)strcspn(got + 2, "\r"), got + 2);
        int rc = gsasl_step64(c, server, &answer);
        cr_expect(rc == GSASL_OK || rc == GSASL_NEEDS_MORE, "%s: the server's signature: %s", k->mechanism, gsasl_strerror(rc));
        snprintf(line, sizeof line, "%s\r\n", answer ? answer : "");
        gsasl_free(answer);
        got = talk(s, line);
    }
    gsasl_finish(c);
    gsasl_done(ctx);
    return got;
}

Test(sasl, every_mechanism_lets_in_whom_it_should)
{
    static const struct {
        const char *name;
        struct client client;
        bool server_binds;
        const char *expect;
    } table[] = {
        {"plain", {"PLAIN", "me", NULL, PASSWORD, false, 0}, false, "a OK"},
        {"plain, wrong", {"PLAIN", "me", NULL, "x", false, 0}, false, "a NO [AUTHENTICATIONFAILED]"},
        {"plain, own authzid", {"PLAIN", "me", "me", PASSWORD, false, 0}, false, "a OK"},
        {"plain, an archive as authzid", {"PLAIN", "me", "me\\mail", PASSWORD, false, 0}, false, "a OK"},
        {"plain, other authzid", {"PLAIN", "me", "you", PASSWORD, false, 0}, false, "a NO [AUTHENTICATIONFAILED]"},
        {"login", {"LOGIN", "me", NULL, PASSWORD, false, 0}, false, "a OK"},
        {"login, wrong", {"LOGIN", "me", NULL, "x", false, 0}, false, "a NO [AUTHENTICATIONFAILED]"},
        {"scram", {"SCRAM-SHA-256", "me", NULL, PASSWORD, false, 0}, false, "a OK"},
        {"scram, archive", {"SCRAM-SHA-256", "me\\mail", NULL, PASSWORD, false, 0}, false, "a OK"},
        {"scram, wrong", {"SCRAM-SHA-256", "me", NULL, "x", false, 0}, false, "a NO [AUTHENTICATIONFAILED]"},
        {"scram, unknown", {"SCRAM-SHA-256", "nobody", NULL, PASSWORD, false, 0}, false, "a NO [AUTHENTICATIONFAILED]"},
        {"scram, other authzid", {"SCRAM-SHA-256", "me", "you", PASSWORD, false, 0}, false, "a NO [AUTHENTICATIONFAILED]"},
        {"scram, client without binding", {"SCRAM-SHA-256", "me", NULL, PASSWORD, false, 0}, true, "a OK"},
        {"plus", {"SCRAM-SHA-256-PLUS", "me", NULL, PASSWORD, true, 7}, true, "a OK"},
        {"plus, another channel", {"SCRAM-SHA-256-PLUS", "me", NULL, PASSWORD, true, 8}, true, "a NO [AUTHENTICATIONFAILED]"},
        {"plus, wrong", {"SCRAM-SHA-256-PLUS", "me", NULL, "x", true, 7}, true, "a NO [AUTHENTICATIONFAILED]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        fake_reset();
        give_scram(PASSWORD);
        transport = (struct imap_transport){.login = IMAP_LOGIN_ANY};
        if (table[i].server_binds) {
            transport.tls = transport.tls_has_exporter = true;
            memset(transport.tls_exporter, 7, sizeof transport.tls_exporter);
        }
        struct imap_session *s = begin();
        const char *got = authenticate(s, &table[i].client);
        cr_expect_eq(strncmp(got, table[i].expect, strlen(table[i].expect)), 0, "%s: %s", table[i].name, got);
        const bool ok = strncmp(table[i].expect, "a OK", 4) == 0;
        cr_expect_eq(imap_session_logged_in(s), ok, "%s", table[i].name);
        cr_expect_neq(strstr(told, ok ? " mail ok\n" : " - failed: "), NULL, "%s: %s", table[i].name, told);
        cr_expect_eq(strncmp(told, table[i].client.mechanism, strlen(table[i].client.mechanism)), 0, "%s: %s", table[i].name, told);
        imap_session_free(&s);
        cr_expect_eq(fake.objects, 0, "%s: %u left", table[i].name, fake.objects);
    }
}

Test(sasl, a_certificate_names_its_account)
{
    static const struct {
        const char *email, *common, *say, *expect;
    } table[] = {
        {NULL, "me", "=", "a OK"},
        {"me", "other", "=", "a OK"},
        {"other", "me", "=", "a NO [AUTHENTICATIONFAILED]"},
        {"other", "me", "bWU=", "a OK"},                      /* me */
        {NULL, "me", "bWVcbWFpbA==", "a OK"},                  /* me\mail */
        {NULL, "me", "eW91", "a NO [AUTHENTICATIONFAILED]"},   /* you */
        {NULL, "you", "bWU=", "a NO [AUTHENTICATIONFAILED]"},
        {NULL, "m", "bWU=", "a NO [AUTHENTICATIONFAILED]"},
        {NULL, NULL, "bWU=", "a NO [AUTHENTICATIONFAILED]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char line[100];
        fake_reset();
        transport = (struct imap_transport){.login = IMAP_LOGIN_NO_CLEAR, .tls = true, .tls_subject = "O=x", .tls_email = table[i].email,
                                            .tls_common = table[i].common};
        struct imap_session *s = begin();
        snprintf(line, sizeof line, "a AUTHENTICATE EXTERNAL %s\r\n", table[i].say);
        const char *got = talk(s, line);
        cr_expect_eq(strncmp(got, table[i].expect, strlen(table[i].expect)), 0, "%zu: %s", i, got);
        imap_session_free(&s);
    }
}

Test(sasl, exchanges_end_at_what_is_no_answer)
{
    static const struct {
        const char *name, *say[3], *expect;
    } table[] = {
        {"cancelled at once", {"a AUTHENTICATE SCRAM-SHA-256\r\n", "*\r\n"}, "a BAD AUTHENTICATE cancelled"},
        {"login, name at once", {"a AUTHENTICATE LOGIN bWU=\r\n", "c2VjcmV0Ilw=\r\n"}, "a OK"},
        {"login, cancelled", {"a AUTHENTICATE LOGIN\r\n", "bWU=\r\n", "*\r\n"}, "a BAD AUTHENTICATE cancelled"},
        {"login, nothing as name", {"a AUTHENTICATE LOGIN\r\n", "\r\n"}, "a BAD"},
        {"scram, no message", {"a AUTHENTICATE SCRAM-SHA-256 =\r\n"}, "a BAD Not a message"},
        {"scram, no scram", {"a AUTHENTICATE SCRAM-SHA-256 bWU=\r\n"}, "a BAD Not a message"},
        {"scram, then none", {"a AUTHENTICATE SCRAM-SHA-256 biwsbj1tZSxyPWFiYw==\r\n", "YWJj\r\n"}, "a NO [AUTHENTICATIONFAILED]"},
        {"scram, another nonce", {"a AUTHENTICATE SCRAM-SHA-256 biwsbj1tZSxyPWFiYw==\r\n", "Yz1iaXdzLHI9eHl6LHA9QUFBQQ==\r\n"},
         "a NO [AUTHENTICATIONFAILED]"},
        {"no base64", {"a AUTHENTICATE SCRAM-SHA-256\r\n", "a b\r\n"}, "a BAD Not base64"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *got = "";
        fake_reset();
        give_scram(PASSWORD);
        transport = (struct imap_transport){.login = IMAP_LOGIN_ANY};
        struct imap_session *s = begin();
        for (size_t k = 0; k < 3 && table[i].say[k]; k++)
            got = talk(s, table[i].say[k]);
        cr_expect_eq(strncmp(got, table[i].expect, strlen(table[i].expect)), 0, "%s: %s", table[i].name, got);
        got = talk(s, "b NOOP\r\n");
        cr_expect_neq(strstr(got, "b OK"), NULL, "%s: it goes on: %s", table[i].name, got);
        imap_session_free(&s);
        cr_expect_eq(fake.objects, 0, "%s", table[i].name);
    }
}

/* RFC 5802 6: "y" says that the client could bind to the channel and saw no -PLUS. */
Test(sasl, a_channel_binding_is_not_taken_away)
{
    for (int binds = 0; binds < 2; binds++) {
        fake_reset();
        give_scram(PASSWORD);
        transport = (struct imap_transport){.login = IMAP_LOGIN_ANY, .tls = true, .tls_has_exporter = binds};
        struct imap_session *s = begin();
        const char *got = talk(s, "a AUTHENTICATE SCRAM-SHA-256 eSwsbj1tZSxyPWFiYw==\r\n"); /* y,,n=me,r=abc */
        const char *expect = binds ? "a NO [AUTHENTICATIONFAILED]" : "+ cj1hYm";
        cr_expect_eq(strncmp(got, expect, strlen(expect)), 0, "%d: %s", binds, got);
        imap_session_free(&s);
    }
}

Test(sasl, an_attempt_that_is_held_back_is_made_later)
{
    static const struct client clients[] = {{"PLAIN", "me", NULL, PASSWORD, false, 0}, {"SCRAM-SHA-256", "me", NULL, PASSWORD, false, 0}};
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        fake_reset();
        give_scram(PASSWORD);
        fake.login_waits = 3;
        transport = (struct imap_transport){.login = IMAP_LOGIN_ANY};
        struct imap_session *s = begin();
        const char *got = authenticate(s, &clients[i]);
        cr_expect_eq(strncmp(got, "a OK", 4), 0, "%s: %s", clients[i].mechanism, got);
        cr_expect_eq(fake.login_waits, 0);
        cr_expect_eq(talk_delay_ms, i == 0 ? 700 : talk_delay_ms);
        imap_session_free(&s);
    }
    fake_reset();
    fake.login_waits = 1000;
    struct imap_session *s = begin();
    cr_assert_eq(imap_session_feed(s, "a LOGIN me x\r\n", 14), 14);
    cr_expect_eq(imap_session_run(s), IMAP_RUN_WAIT);
    cr_expect_eq(imap_session_wait_ms(s), 700);
    imap_session_free(&s); /* the client has gone */
    cr_expect_eq(fake.objects, 0);
}

static bool admit_nobody(void *arg, const char *account)
{
    snprintf(arg, 10, "%s", account);
    return false;
}

Test(sasl, an_account_may_have_so_many_connections)
{
    char account[10] = "";
    fake_reset();
    transport = (struct imap_transport){.login = IMAP_LOGIN_ANY, .admit = admit_nobody, .arg = account};
    struct imap_session *s = begin();
    const char *got = talk(s, "a AUTHENTICATE PLAIN AG1lAHNlY3JldCJc\r\n");
    cr_expect_eq(strncmp(got, "a NO [LIMIT]", 12), 0, "%s", got);
    cr_expect_str_eq(account, "me");
    cr_expect_not(imap_session_logged_in(s));
    imap_session_free(&s);
    cr_expect_eq(fake.objects, 0);
}

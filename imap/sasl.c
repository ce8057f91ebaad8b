/*
 * sasl: see sasl.h. GNU SASL knows the mechanisms; who may log in is asked of query/.
 *
 * What the library holds of a password in its own memory is its property, which is wiped as soon as it was taken, and copies on its way there, which
 * are not ours to reach: SCRAM shows none.
 */
#include "sasl.h"

#include <ctype.h>
#include <gsasl.h>
#include <pthread.h>

enum mechanism { MECH_COMMAND, MECH_PLAIN, MECH_LOGIN, MECH_SCRAM, MECH_SCRAM_PLUS, MECH_EXTERNAL };

static const struct mechanism_row {
    const char *name;
    enum mechanism mechanism;
    bool clear; /* shows the password */
} mechanisms[] = {
    /* The best first: clients that do not choose take the first that they know. */
    {"SCRAM-SHA-256-PLUS", MECH_SCRAM_PLUS, false},
    {"SCRAM-SHA-256", MECH_SCRAM, false},
    {"EXTERNAL", MECH_EXTERNAL, false},
    {"PLAIN", MECH_PLAIN, true},
    {"LOGIN", MECH_LOGIN, true},
};
static const struct mechanism_row login_command = {"LOGIN", MECH_COMMAND, true};

enum stage { STAGE_MESSAGES, STAGE_ADMIT_PROOF, STAGE_PASSWORD, STAGE_ADMIT_CERTIFICATE, STAGE_LAST_ANSWER, STAGE_END };

struct imap_sasl {
    struct imap_session *s;
    const struct mechanism_row *row;
    Gsasl_session *library; /* NULL: the LOGIN command */
    enum stage stage;
    unsigned messages;
    char *user, *authzid, *password; /* owned */
    struct buf proof;                /* a message that waits for its attempt */
    struct mdsq_attempt *attempt;
    bool store_failed;
    struct mdsq_error err;
    const char *why;
    uint32_t wait_ms;
};

/* ---- what may be used ----------------------------------------------------------------------------- */

enum imap_login_rule imap_sasl_rule(const struct imap_session *s)
{
    if (s->transport)
        return s->transport->login;
    return s->allow_login ? IMAP_LOGIN_ANY : IMAP_LOGIN_NONE;
}

bool imap_sasl_allows(const struct imap_session *s, const char *mechanism)
{
    const char *list = s->transport ? s->transport->mechanisms : NULL;
    const size_t n = strlen(mechanism);
    if (!list)
        return true;
    for (const char *p = list; (p = strstr(p, mechanism)) != NULL; p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
            return true;
    return false;
}

static const struct mechanism_row *find_row(struct bytes name)
{
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++)
        if (bytes_equal_nocase(name, bytes_str(mechanisms[i].name)))
            return &mechanisms[i];
    return NULL;
}

bool imap_sasl_knows(struct bytes mechanism)
{
    return find_row(mechanism) != NULL;
}

/* Whatever the rule says of clear text. */
static bool is_possible(const struct imap_session *s, const struct mechanism_row *row)
{
    const struct imap_transport *t = s->transport;
    if (!imap_sasl_allows(s, row->name))
        return false;
    switch (row->mechanism) {
    case MECH_SCRAM_PLUS: return t && t->tls && t->tls_has_exporter;
    case MECH_EXTERNAL: return t && t->tls && t->tls_subject;
    default: return true;
    }
}

static bool is_offered(const struct imap_session *s, const struct mechanism_row *row)
{
    const enum imap_login_rule rule = imap_sasl_rule(s);
    return is_possible(s, row) && (rule == IMAP_LOGIN_ANY || (rule == IMAP_LOGIN_NO_CLEAR && !row->clear));
}

void imap_sasl_say_mechanisms(const struct imap_session *s, struct buf *out, size_t begin)
{
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
        char name[40];
        snprintf(name, sizeof name, "AUTH=%s", mechanisms[i].name);
        if (is_offered(s, &mechanisms[i]) && imap_session_offers(s, name)) {
            if (out->n > begin)
                buf_append_byte(out, ' ');
            buf_append_str(out, name);
        }
    }
    if (imap_sasl_rule(s) != IMAP_LOGIN_ANY || !imap_sasl_allows(s, "LOGIN"))
        buf_append_str(out, out->n > begin ? " LOGINDISABLED" : "LOGINDISABLED");
}

/* ---- the library's questions ------------------------------------------------------------------------ */

static char *own(const char *text)
{
    char *copy = strdup(text ? text : "");
    ASSERT(copy);
    return copy;
}

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static bool begin_attempt(struct imap_sasl *a, const char *user)
{
    const char *peer = a->s->transport ? a->s->transport->peer : "";
    if (a->attempt || a->store_failed)
        return a->attempt != NULL;
    a->store_failed = mdsq_attempt_new(a->s->store, user, peer ? peer : "", &a->attempt, &a->err) < 0;
    return !a->store_failed;
}

static void set_base64(Gsasl_session *library, Gsasl_property property, const void *p, size_t n)
{
    char *text = NULL;
    if (gsasl_base64_to(p, n, &text, NULL) != GSASL_OK)
        return;
    gsasl_property_set(library, property, text);
    explicit_bzero(text, strlen(text));
    gsasl_free(text);
}

/* Keys as the catalogue has them: no password is needed. */
static int give_keys(struct imap_sasl *a, Gsasl_session *library)
{
    struct mdsq_scram keys;
    char number[16];
    if (!a->user)
        a->user = own(gsasl_property_fast(library, GSASL_AUTHID));
    if (!a->authzid)
        a->authzid = own(gsasl_property_fast(library, GSASL_AUTHZID));
    if (!begin_attempt(a, a->user))
        return GSASL_NO_CALLBACK;
    mdsq_attempt_scram(a->attempt, &keys);
    snprintf(number, sizeof number, "%u", keys.iterations);
    gsasl_property_set(library, GSASL_SCRAM_ITER, number);
    set_base64(library, GSASL_SCRAM_SALT, keys.salt, sizeof keys.salt);
    set_base64(library, GSASL_SCRAM_STOREDKEY, keys.stored_key, sizeof keys.stored_key);
    set_base64(library, GSASL_SCRAM_SERVERKEY, keys.server_key, sizeof keys.server_key);
    explicit_bzero(&keys, sizeof keys);
    return GSASL_OK;
}

/* A property of the library's is its own memory: blank it where it stands. */
static void take_password(struct imap_sasl *a, Gsasl_session *library)
{
    const char *password = gsasl_property_fast(library, GSASL_PASSWORD);
    wipe(&a->password);
    a->password = own(password);
    if (password)
        explicit_bzero((char *)(uintptr_t)password, strlen(password));
}

static int on_question(Gsasl *ctx, Gsasl_session *library, Gsasl_property property)
{
    struct imap_sasl *a = gsasl_session_hook_get(library);
    (void)ctx;
    switch (property) {
    case GSASL_VALIDATE_SIMPLE:
        a->user = own(gsasl_property_fast(library, GSASL_AUTHID));
        a->authzid = own(gsasl_property_fast(library, GSASL_AUTHZID));
        take_password(a, library);
        return GSASL_OK; /* taken, not right: that is found out afterwards */
    case GSASL_VALIDATE_EXTERNAL:
        a->authzid = own(gsasl_property_fast(library, GSASL_AUTHZID));
        return GSASL_OK;
    case GSASL_SCRAM_ITER:
    case GSASL_SCRAM_SALT:
    case GSASL_SCRAM_STOREDKEY:
    case GSASL_SCRAM_SERVERKEY: return give_keys(a, library);
    case GSASL_CB_TLS_EXPORTER:
        if (!a->s->transport || !a->s->transport->tls_has_exporter)
            return GSASL_NO_CALLBACK;
        set_base64(library, property, a->s->transport->tls_exporter, IMAP_TLS_EXPORTER_BYTES);
        return GSASL_OK;
    default: return GSASL_NO_CALLBACK;
    }
}

static Gsasl *library_context;

static void library_init(void)
{
    if (gsasl_init(&library_context) == GSASL_OK)
        gsasl_callback_set(library_context, on_question);
    else
        library_context = NULL;
}

/* One a process, read-only once it is made. */
static Gsasl *library_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, library_init);
    return library_context;
}

/* ---- made and ended --------------------------------------------------------------------------------- */

static struct imap_sasl *sasl_new(struct imap_session *s, const struct mechanism_row *row)
{
    struct imap_sasl *a = calloc(1, sizeof *a);
    ASSERT(a);
    a->s = s;
    a->row = row;
    a->why = "wrong";
    return a;
}

struct imap_sasl *imap_sasl_new(struct imap_session *s, struct bytes mechanism, bool *privacy_out)
{
    const struct mechanism_row *row = find_row(mechanism);
    Gsasl *ctx = library_get();
    *privacy_out = row && is_possible(s, row);
    if (!row || !ctx || !is_offered(s, row))
        return NULL;
    struct imap_sasl *a = sasl_new(s, row);
    if (gsasl_server_start(ctx, row->name, &a->library) != GSASL_OK) {
        *privacy_out = false;
        imap_sasl_free(&a);
        return NULL;
    }
    gsasl_session_hook_set(a->library, a);
    return a;
}

struct imap_sasl *imap_sasl_new_login(struct imap_session *s, const char *user, const char *password)
{
    struct imap_sasl *a = sasl_new(s, &login_command);
    a->user = own(user);
    a->authzid = own("");
    a->password = own(password);
    a->stage = STAGE_PASSWORD;
    return a;
}

void imap_sasl_free(struct imap_sasl **sasl)
{
    struct imap_sasl *a = *sasl;
    if (!a)
        return;
    *sasl = NULL;
    mdsq_attempt_free(&a->attempt);
    gsasl_finish(a->library);
    wipe(&a->user);
    wipe(&a->authzid);
    wipe(&a->password);
    if (a->proof.n)
        explicit_bzero(a->proof.p, a->proof.n);
    buf_release(&a->proof);
    free(a);
}

bool imap_sasl_server_first(const struct imap_sasl *a)
{
    return a->row->mechanism == MECH_LOGIN;
}

/* ---- the end of an exchange -------------------------------------------------------------------------- */

static enum imap_sasl_result end(struct imap_sasl *a, enum imap_sasl_result result, const char *why)
{
    a->stage = STAGE_END;
    a->why = why;
    return result;
}

/* What an attempt said that is not 0. */
static enum imap_sasl_result not_yet(struct imap_sasl *a, int rc, const char *why)
{
    if (rc == MDSQ_ERR_AGAIN) {
        a->wait_ms = mdsq_attempt_wait_ms(a->attempt);
        return IMAP_SASL_WAIT;
    }
    return end(a, rc == MDSQ_ERR_AUTH ? IMAP_SASL_WRONG : IMAP_SASL_FAILED, why);
}

/*
 * Acting for another is not possible, but naming an archive of one's own is: an authorization identity is empty, the name
 * that was authenticated, or that and `\archive`.
 */
static bool takes_authzid(const char *user, const char *authzid, const char **name_out)
{
    const size_t n = strlen(user);
    *name_out = user;
    if (!authzid || !authzid[0] || strcmp(authzid, user) == 0)
        return true;
    if (strncmp(authzid, user, n) != 0 || authzid[n] != '\\')
        return false;
    *name_out = authzid;
    return true;
}

static enum imap_sasl_result step_password(struct imap_sasl *a)
{
    const char *name = NULL;
    const bool own_name = takes_authzid(a->user, a->authzid, &name);
    if (!begin_attempt(a, name))
        return end(a, IMAP_SASL_FAILED, "store");
    int rc = mdsq_attempt_password(a->attempt, a->password, &a->err);
    if (rc < 0)
        return not_yet(a, rc, "wrong");
    wipe(&a->password);
    return own_name ? end(a, IMAP_SASL_RIGHT, NULL) : end(a, IMAP_SASL_WRONG, "authorization identity");
}

static bool certificate_names(const struct imap_transport *t, const char *authzid, const char **name_out)
{
    const char *const names[] = {t->tls_email, t->tls_common, t->tls_subject};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i] && names[i][0] && takes_authzid(names[i], authzid, name_out))
            return true;
    return false;
}

/* The certificate is proof; it names the account by its mail address, or by its common name or whole subject if it is asked for by these. */
static enum imap_sasl_result step_certificate(struct imap_sasl *a)
{
    const char *name = NULL;
    const bool named = certificate_names(a->s->transport, a->authzid, &name);
    if (!begin_attempt(a, named ? name : a->authzid))
        return end(a, IMAP_SASL_FAILED, "store");
    int rc = mdsq_attempt_admit(a->attempt, &a->err);
    if (rc == 0)
        rc = mdsq_attempt_accept(a->attempt, named, &a->err);
    return rc < 0 ? not_yet(a, rc, named ? "no account of the certificate's name" : "certificate of another") : end(a, IMAP_SASL_RIGHT, NULL);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static enum imap_sasl_result library_step(struct imap_sasl *a, struct bytes message, struct buf *challenge)
{
    char *out = NULL;
    size_t out_n = 0;
    int rc = gsasl_step(a->library, message.n ? (const char *)message.p : "", message.n, &out, &out_n);
    if (out_n)
        buf_append(challenge, out, out_n);
    gsasl_free(out);
    a->messages++;
    if (a->store_failed)
        return end(a, IMAP_SASL_FAILED, "store");
    if (rc == GSASL_NEEDS_MORE)
        return IMAP_SASL_MORE;
    if (rc == GSASL_MECHANISM_PARSE_ERROR && !a->attempt)
        return end(a, IMAP_SASL_MALFORMED, "malformed");
    if (rc != GSASL_OK) {
        /* A message that cannot be read costs what a wrong one costs, as soon as somebody was named. */
        if (a->attempt)
            (void)mdsq_attempt_accept(a->attempt, false, &a->err);
        return end(a, IMAP_SASL_WRONG, "wrong");
    }
    return IMAP_SASL_RIGHT;
}

static bool is_scram(const struct imap_sasl *a)
{
    return a->row->mechanism == MECH_SCRAM || a->row->mechanism == MECH_SCRAM_PLUS;
}

/* The client's proof, once its attempt is admitted; our own signature is the last challenge, which it answers with nothing. */
static enum imap_sasl_result step_proof(struct imap_sasl *a, struct buf *challenge)
{
    const char *name = NULL;
    int rc = mdsq_attempt_admit(a->attempt, &a->err);
    if (rc < 0)
        return not_yet(a, rc, "held back");
    enum imap_sasl_result result = library_step(a, buf_bytes(&a->proof), challenge);
    if (result == IMAP_SASL_MORE)
        return end(a, IMAP_SASL_WRONG, "wrong");
    if (result != IMAP_SASL_RIGHT)
        return result;
    rc = mdsq_attempt_accept(a->attempt, takes_authzid(a->user, a->authzid, &name) && name == a->user, &a->err);
    if (rc < 0) {
        buf_reset(challenge);
        return end(a, IMAP_SASL_WRONG, "wrong");
    }
    a->stage = STAGE_LAST_ANSWER;
    return IMAP_SASL_MORE;
}

/* "y": the client could bind to the channel and believes that we cannot: somebody between us took the -PLUS away (RFC 5802 6). */
static bool was_downgraded(const struct imap_sasl *a, struct bytes message)
{
    return a->row->mechanism == MECH_SCRAM && a->messages == 0 && message.n > 1 && message.p[0] == 'y' &&
           is_offered(a->s, &mechanisms[0]);
}

enum imap_sasl_result imap_sasl_step(struct imap_sasl *a, struct bytes message, struct buf *challenge)
{
    if (a->stage == STAGE_LAST_ANSWER)
        return message.n ? end(a, IMAP_SASL_MALFORMED, "malformed") : end(a, IMAP_SASL_RIGHT, NULL);
    if (a->stage != STAGE_MESSAGES)
        return imap_sasl_again(a, challenge);
    if (message.n == 0 && !imap_sasl_server_first(a) && a->row->mechanism != MECH_EXTERNAL)
        return end(a, IMAP_SASL_MALFORMED, "malformed");
    if (was_downgraded(a, message))
        return end(a, IMAP_SASL_WRONG, "channel binding downgraded");
    if (is_scram(a) && a->messages == 1 && a->attempt) {
        buf_append_bytes(&a->proof, message);
        a->stage = STAGE_ADMIT_PROOF;
        return step_proof(a, challenge);
    }
    enum imap_sasl_result result = library_step(a, message, challenge);
    if (result != IMAP_SASL_RIGHT)
        return result;
    if (a->row->mechanism == MECH_EXTERNAL) {
        a->stage = STAGE_ADMIT_CERTIFICATE;
        return step_certificate(a);
    }
    if (!a->password || !a->user || !a->user[0])
        return end(a, IMAP_SASL_MALFORMED, "malformed");
    a->stage = STAGE_PASSWORD;
    return step_password(a);
}

enum imap_sasl_result imap_sasl_again(struct imap_sasl *a, struct buf *challenge)
{
    switch (a->stage) {
    case STAGE_PASSWORD: return step_password(a);
    case STAGE_ADMIT_CERTIFICATE: return step_certificate(a);
    case STAGE_ADMIT_PROOF: return step_proof(a, challenge);
    case STAGE_MESSAGES:
    case STAGE_LAST_ANSWER:
    case STAGE_END: break;
    }
    return IMAP_SASL_WRONG;
}

/* ---- what came of it -------------------------------------------------------------------------------------- */

uint32_t imap_sasl_wait_ms(const struct imap_sasl *a)
{
    return a->wait_ms;
}

const char *imap_sasl_name(const struct imap_sasl *a)
{
    return a->row->name;
}

const char *imap_sasl_account(const struct imap_sasl *a)
{
    return a->attempt ? mdsq_attempt_account(a->attempt) : a->user ? a->user : "";
}

const char *imap_sasl_archive(const struct imap_sasl *a)
{
    return a->attempt ? mdsq_attempt_archive(a->attempt) : "";
}

const char *imap_sasl_why(const struct imap_sasl *a)
{
    return a->why;
}

bool imap_sasl_remembered(const struct imap_sasl *a)
{
    return a->attempt && mdsq_attempt_remembered(a->attempt);
}

const struct mdsq_error *imap_sasl_error(const struct imap_sasl *a)
{
    return &a->err;
}

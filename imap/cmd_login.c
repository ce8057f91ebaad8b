/*
 * cmd_login: LOGIN, and AUTHENTICATE (RFC 3501 6.2.2) with or without an initial response (RFC 4959). The mechanisms are sasl.c's.
 *
 * A refused login is answered late, later each time, and the third ends the session; besides, the account's and the address's failures hold back
 * what is checked next (IMAP_STEP_WAIT). Passwords live in the framer's buffer, in the command's arena and in the exchange; all are wiped.
 * Nothing here logs what the client sent but names.
 */
#include "sasl.h"

#include "base/log.h"
#include "wire/base64.h"

enum {
    FAILURES_MAX = 3,
    DELAY_FIRST_MS = 1000,
};

struct login_args {
    char *user, *password; /* NUL-terminated copies */
    struct bytes mechanism;
    bool initial; /* AUTHENTICATE came with a response */
    struct bytes response;
    struct imap_sasl *sasl;
};

enum { WHERE_BEGIN, WHERE_LINE, WHERE_WAIT }; /* of command->where */

/* ---- arguments --------------------------------------------------------------------------------- */

/* C strings are what the library takes. A quoted string or literal holds no NUL. */
static char *c_string(struct imap_command *c, struct bytes v)
{
    return arena_strndup(c->arena, v.p, v.n);
}

/* login = "LOGIN" SP userid SP password, both astring */
IMAP_PARSE(imap_parse_login)
{
    struct bytes user, password;
    struct login_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_astring(at, &user) || !imap_take_sp(at) ||
        !imap_take_astring(at, &password))
        return false;
    a->user = c_string(c, user);
    a->password = c_string(c, password);
    /* Ours to wipe: it lies in the framer's buffer or, if it had escapes, in the command's arena. */
    explicit_bzero((uint8_t *)(uintptr_t)password.p, password.n);
    return (a->user && a->password) || imap_cursor_fail(at, "Command too large");
}

/* "AUTHENTICATE" SP auth-type [SP (base64 / "=")] */
IMAP_PARSE(imap_parse_authenticate)
{
    struct login_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_atom(at, &a->mechanism))
        return false;
    if (imap_at_end(at))
        return true;
    if (!imap_take_sp(at))
        return false;
    a->initial = true;
    a->response = bytes_of(at->p, (size_t)(at->end - at->p));
    at->p = at->end;
    return a->response.n > 0 || imap_cursor_fail(at, "empty initial response: \"=\" says so");
}

void imap_release_login(struct imap_command *c)
{
    struct login_args *a = c->args;
    if (a->password)
        explicit_bzero(a->password, strlen(a->password));
    imap_sasl_free(&a->sasl);
}

/* ---- answers ------------------------------------------------------------------------------------- */

static void tell(struct imap_session *s, const struct imap_sasl *sasl, bool ok, const char *why)
{
    const struct imap_events *events = s->transport ? s->transport->events : NULL;
    const struct imap_login_event e = {
        .account = imap_sasl_account(sasl),
        .archive = ok ? imap_sasl_archive(sasl) : NULL,
        .mechanism = imap_sasl_name(sasl),
        .ok = ok,
        .remembered = imap_sasl_remembered(sasl),
        .why = why,
    };
    if (events && events->login)
        events->login(events->arg, s->transport, &e);
}

static enum imap_step refuse(struct imap_session *s, struct imap_command *c, const char *code, const char *text)
{
    s->login_failures++;
    c->delay_ms = (uint32_t)DELAY_FIRST_MS << (s->login_failures - 1);
    if (s->login_failures >= FAILURES_MAX)
        s->bye_after = "Too many failed logins";
    return imap_reply(c, IMAP_NO, code, text);
}

static enum imap_step welcome(struct imap_session *s, struct imap_command *c)
{
    struct buf code = {0};
    s->state = IMAP_STATE_AUTH;
    s->login_failures = 0;
    imap_session_remask(s);
    buf_append_str(&code, "CAPABILITY ");
    imap_session_capabilities(s, &code);
    char *copy = arena_strndup(c->arena, code.p, code.n);
    buf_release(&code);
    return imap_reply(c, IMAP_OK, copy, "Logged in");
}

/* Who it is is known: the archive is opened, the connection counted for the account. */
static enum imap_step enter(struct imap_session *s, struct imap_command *c, const struct imap_sasl *sasl)
{
    const struct imap_transport *t = s->transport;
    const char *archive = imap_sasl_archive(sasl);
    struct mdsq_error err = {0};
    if (mdsq_archive_open(s->store, archive, &s->archive, &err) < 0) {
        s->archive = NULL;
        log_to(LOG_LEVEL_ERROR, "imap: archive does not open: archive=%s code=%d error=%s", archive, err.code, err.text);
        tell(s, sasl, false, "archive does not open");
        return refuse(s, c, "UNAVAILABLE", "Archive is not available");
    }
    if (t && t->admit && !t->admit(t->arg, imap_sasl_account(sasl))) {
        mdsq_archive_close(&s->archive);
        tell(s, sasl, false, "too many connections of the account");
        return refuse(s, c, "LIMIT", "Too many connections of this account");
    }
    snprintf(s->archive_name, sizeof s->archive_name, "%s", archive);
    free(s->account);
    s->account = strdup(imap_sasl_account(sasl));
    tell(s, sasl, true, NULL);
    return welcome(s, c);
}

static void say_challenge(struct imap_session *s, const struct buf *challenge)
{
    buf_append_str(&s->out, "+ ");
    imap_base64_encode(buf_bytes(challenge), &s->out);
    buf_append_str(&s->out, "\r\n");
}

static enum imap_step answer(struct imap_session *s, struct imap_command *c, enum imap_sasl_result result, struct buf *challenge)
{
    struct login_args *a = c->args;
    enum imap_step step = IMAP_STEP_DONE;
    switch (result) {
    case IMAP_SASL_MORE:
        say_challenge(s, challenge);
        c->where = WHERE_LINE;
        step = IMAP_STEP_LINE;
        break;
    case IMAP_SASL_WAIT:
        c->where = WHERE_WAIT;
        c->delay_ms = imap_sasl_wait_ms(a->sasl);
        step = IMAP_STEP_WAIT;
        break;
    case IMAP_SASL_RIGHT: step = enter(s, c, a->sasl); break;
    case IMAP_SASL_WRONG:
        tell(s, a->sasl, false, imap_sasl_why(a->sasl));
        step = refuse(s, c, "AUTHENTICATIONFAILED", "Wrong user name or password");
        break;
    case IMAP_SASL_MALFORMED: step = imap_reply(c, IMAP_BAD, NULL, "Not a message of this mechanism"); break;
    case IMAP_SASL_FAILED:
        log_to(LOG_LEVEL_ERROR, "imap: login failed: code=%d error=%s", imap_sasl_error(a->sasl)->code,
               imap_sasl_error(a->sasl)->text);
        tell(s, a->sasl, false, "store failed");
        step = refuse(s, c, "UNAVAILABLE", "Cannot check passwords now");
        break;
    }
    if (challenge->n)
        explicit_bzero(challenge->p, challenge->n);
    buf_release(challenge);
    return step;
}

/* ---- commands -------------------------------------------------------------------------------------- */

static enum imap_step again(struct imap_session *s, struct imap_command *c)
{
    struct login_args *a = c->args;
    struct buf challenge = {0};
    enum imap_sasl_result result = imap_sasl_again(a->sasl, &challenge);
    return answer(s, c, result, &challenge);
}

IMAP_RUN(imap_cmd_login)
{
    struct login_args *a = c->args;
    if (c->where == WHERE_WAIT)
        return again(s, c);
    if (imap_sasl_rule(s) != IMAP_LOGIN_ANY || !imap_sasl_allows(s, "LOGIN"))
        return imap_reply(c, IMAP_NO, "PRIVACYREQUIRED", "Login is refused on this connection");
    a->sasl = imap_sasl_new_login(s, a->user, a->password);
    explicit_bzero(a->password, strlen(a->password));
    return again(s, c);
}

static enum imap_step respond(struct imap_session *s, struct imap_command *c, struct bytes base64)
{
    struct login_args *a = c->args;
    struct buf message = {0}, challenge = {0};
    enum imap_step step;
    if (imap_base64_decode(base64, &message)) {
        enum imap_sasl_result result = imap_sasl_step(a->sasl, buf_bytes(&message), &challenge);
        step = answer(s, c, result, &challenge);
    } else {
        step = imap_reply(c, IMAP_BAD, NULL, "Not base64");
    }
    if (message.n)
        explicit_bzero(message.p, message.n);
    buf_release(&message);
    return step;
}

static enum imap_step begin(struct imap_session *s, struct imap_command *c)
{
    struct login_args *a = c->args;
    struct buf challenge = {0};
    bool privacy = false;
    a->sasl = imap_sasl_new(s, a->mechanism, &privacy);
    if (!a->sasl)
        return privacy ? imap_reply(c, IMAP_NO, "PRIVACYREQUIRED", "Login is refused on this connection")
                       : imap_reply(c, IMAP_NO, "CANNOT", "Mechanism is not known here");
    if (imap_sasl_server_first(a->sasl)) {
        /* A client that sends its name at once is answered as if it had been asked for it. */
        enum imap_sasl_result result = imap_sasl_step(a->sasl, bytes_of(NULL, 0), &challenge);
        if (result != IMAP_SASL_MORE || !a->initial)
            return answer(s, c, result, &challenge);
        buf_release(&challenge);
    }
    if (a->initial)
        return respond(s, c, bytes_equal(a->response, BYTES_LIT("=")) ? bytes_of(NULL, 0) : a->response);
    return answer(s, c, IMAP_SASL_MORE, &challenge);
}

IMAP_RUN(imap_cmd_authenticate)
{
    if (c->where == WHERE_BEGIN)
        return begin(s, c);
    if (c->where == WHERE_WAIT)
        return again(s, c);
    if (c->line_bad)
        return imap_reply(c, IMAP_BAD, NULL, "Line too long");
    if (bytes_equal(c->line, BYTES_LIT("*")))
        return imap_reply(c, IMAP_BAD, NULL, "AUTHENTICATE cancelled");
    return respond(s, c, c->line);
}

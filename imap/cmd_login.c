/*
 * cmd_login: LOGIN, and AUTHENTICATE PLAIN (RFC 4616) with or without an initial response (RFC 4959).
 *
 * A refused login is answered late, later each time, and the third ends the session. Passwords live in the
 * framer's buffer and in the command's arena; both are wiped. Nothing here logs what the client sent.
 */
#include "session_private.h"

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
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
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
    buf_append_str(&code, "CAPABILITY ");
    imap_session_capabilities(s, &code);
    char *copy = arena_strndup(c->arena, code.p, code.n);
    buf_release(&code);
    return imap_reply(c, IMAP_OK, copy, "Logged in");
}

static enum imap_step log_in(struct imap_session *s, struct imap_command *c, const char *user, const char *password)
{
    char *archive = s->archive_name;
    struct mdsq_error err = {0};
    int rc = mdsq_login(s->store, user, password, archive, &err);
    if (rc == MDSQ_ERR_AUTH)
        return refuse(s, c, "AUTHENTICATIONFAILED", "Wrong user name or password");
    if (rc < 0) {
        log_to(LOG_LEVEL_ERROR, "imap: login failed: code=%d error=%s", rc, err.text);
        return refuse(s, c, "UNAVAILABLE", "Cannot check passwords now");
    }
    if ((rc = mdsq_archive_open(s->store, archive, &s->archive, &err)) < 0) {
        s->archive = NULL;
        log_to(LOG_LEVEL_ERROR, "imap: archive does not open: archive=%s code=%d error=%s", archive, rc, err.text);
        return refuse(s, c, "UNAVAILABLE", "Archive is not available");
    }
    return welcome(s, c);
}

/* C strings are what mdsq_login takes. A quoted string or literal holds no NUL. */
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

IMAP_RUN(imap_cmd_login)
{
    struct login_args *a = c->args;
    enum imap_step step;
    if (s->allow_login)
        step = log_in(s, c, a->user, a->password);
    else
        step = imap_reply(c, IMAP_NO, "PRIVACYREQUIRED", "Login is refused on this connection");
    return step;
}

void imap_release_login(struct imap_command *c)
{
    struct login_args *a = c->args;
    wipe(a->password);
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

/* message = [authzid] UTF8NUL authcid UTF8NUL passwd */
static enum imap_step plain(struct imap_session *s, struct imap_command *c, struct bytes message)
{
    char *part[3] = {NULL, NULL, NULL};
    size_t begin = 0;
    for (int i = 0; i < 3; i++) {
        const uint8_t *nul = begin < message.n ? memchr(message.p + begin, 0, message.n - begin) : NULL;
        if (i < 2 ? !nul : nul != NULL)
            return imap_reply(c, IMAP_BAD, NULL, "Not a PLAIN message");
        size_t end = nul ? (size_t)(nul - message.p) : message.n;
        part[i] = arena_strndup(c->arena, message.n ? message.p + begin : message.p, end - begin);
        begin = end + 1;
        if (!part[i])
            return imap_reply(c, IMAP_BAD, NULL, "PLAIN message too large");
        if (i == 2)
            break;
    }
    enum imap_step step;
    if (part[0][0] && strcmp(part[0], part[1]) != 0)
        step = refuse(s, c, "AUTHORIZATIONFAILED", "Cannot act for another user");
    else if (!part[1][0])
        step = imap_reply(c, IMAP_BAD, NULL, "PLAIN message without a user");
    else
        step = log_in(s, c, part[1], part[2]);
    wipe(part[2]);
    return step;
}

static enum imap_step respond(struct imap_session *s, struct imap_command *c, struct bytes base64)
{
    struct buf message = {0};
    enum imap_step step;
    if (imap_base64_decode(base64, &message))
        step = plain(s, c, buf_bytes(&message));
    else
        step = imap_reply(c, IMAP_BAD, NULL, "Not base64");
    if (message.n)
        explicit_bzero(message.p, message.n);
    buf_release(&message);
    return step;
}

IMAP_RUN(imap_cmd_authenticate)
{
    struct login_args *a = c->args;
    if (c->where == 0) {
        if (!bytes_equal_nocase(a->mechanism, BYTES_LIT("PLAIN")))
            return imap_reply(c, IMAP_NO, "CANNOT", "Mechanism is not known here");
        if (!s->allow_login)
            return imap_reply(c, IMAP_NO, "PRIVACYREQUIRED", "Login is refused on this connection");
        if (a->initial)
            return respond(s, c, bytes_equal(a->response, BYTES_LIT("=")) ? bytes_of(NULL, 0) : a->response);
        buf_append_str(&s->out, "+ \r\n");
        c->where = 1;
        return IMAP_STEP_LINE;
    }
    if (c->line_bad)
        return imap_reply(c, IMAP_BAD, NULL, "Line too long");
    if (bytes_equal(c->line, BYTES_LIT("*")))
        return imap_reply(c, IMAP_BAD, NULL, "AUTHENTICATE cancelled");
    return respond(s, c, c->line);
}

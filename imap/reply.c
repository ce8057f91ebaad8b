/* reply: a command's tagged line, and words for what failed in query/ (RFC 5530). Texts of errors go to the log, never
 * to the client. */
#include "session_private.h"

#include "base/log.h"

enum imap_step imap_reply(struct imap_command *c, enum imap_status status, const char *code, const char *text)
{
    c->status = status;
    c->code = code;
    c->text = text;
    return IMAP_STEP_DONE;
}

struct words {
    int code; /* enum mdsq_code */
    enum imap_status status;
    const char *response, *text;
    bool ordinary; /* the client's doing: nothing to log */
};

/* What reading and changing have in common. */
static const struct words general[] = {
    {MDSQ_ERR_NOTFOUND, IMAP_NO, "NONEXISTENT", "No such mailbox", true},
    {MDSQ_ERR_USAGE, IMAP_BAD, NULL, "No such message", true},
    {MDSQ_ERR_SYNTAX, IMAP_BAD, NULL, "Argument does not parse", true},
    {MDSQ_ERR_LIMIT, IMAP_NO, "LIMIT", "Too much asked for in one command", true},
    {MDSQ_ERR_EXISTS, IMAP_NO, "ALREADYEXISTS", "Mailbox exists already", true},
    {MDSQ_ERR_READONLY, IMAP_NO, "NOPERM", "This archive is read-only", true},
    {MDSQ_ERR_LOCKED, IMAP_NO, "INUSE", "Archive is in use, try again", false},
    {MDSQ_ERR_AGAIN, IMAP_NO, "INUSE", "Archive is busy, try again", false},
    {MDSQ_ERR_FULL, IMAP_NO, "OVERQUOTA", "No room is left for it", false},
    {MDSQ_ERR_CORRUPT, IMAP_NO, "CORRUPTION", "Archive is damaged, tell the administrator", false},
    {MDSQ_ERR_GONE, IMAP_NO, "UNAVAILABLE", "Vault no longer has it", false},
    {MDSQ_ERR_IO, IMAP_NO, "UNAVAILABLE", "Temporary failure, try again later", false},
    {MDSQ_ERR_NOMEM, IMAP_NO, "UNAVAILABLE", "Temporary failure, try again later", false},
    {MDSQ_ERR_CANCELLED, IMAP_NO, "UNAVAILABLE", "Temporary failure, try again later", false},
    {MDSQ_ERR_FORMAT, IMAP_NO, "UNAVAILABLE", "Archive cannot be read by this server", false},
    {0, IMAP_NO, "SERVERBUG", "Something is wrong with this server, tell the administrator", false},
};

/* A change means other things by some of them. */
static const struct words of_changes[] = {
    {MDSQ_ERR_USAGE, IMAP_NO, "CANNOT", "This cannot be done", true},
    {MDSQ_ERR_LIMIT, IMAP_NO, "LIMIT", "Too many or too long for one archive", true},
    {0, IMAP_NO, NULL, NULL, false},
};
static const struct words of_destination = {MDSQ_ERR_NOTFOUND, IMAP_NO, "TRYCREATE", "No such mailbox, create it first",
                                            true};

static const struct words *find(const struct words *table, int code)
{
    while (table->code && table->code != code)
        table++;
    return table;
}

static enum imap_step say(struct imap_command *c, const struct words *w, const struct mdsq_error *err)
{
    if (!w->ordinary)
        log_to(w->code ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "imap: command failed: command=%s code=%d error=%s",
               c->row ? c->row->name : "?", err->code, err->text);
    return imap_reply(c, w->status, w->response, w->text);
}

enum imap_step imap_reply_error(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err)
{
    (void)s;
    return say(c, find(general, err->code), err);
}

enum imap_step imap_reply_change_error(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err,
                                       bool to)
{
    const struct words *w = find(of_changes, err->code);
    (void)s;
    if (to && err->code == of_destination.code)
        w = &of_destination;
    else if (!w->code)
        w = find(general, err->code);
    return say(c, w, err);
}

/* What may be said of modseqs with the tagged line: "" if nothing. */
static bool tells_modseq(const struct imap_session *s, const struct imap_command *c)
{
    if (!s->view || s->told_modseq == 0 || c->status == IMAP_BAD)
        return false;
    /* RFC 7162 6: expunges that the client could not be told of have lower modseqs than what it was told with this
     * command. */
    if (s->enabled & IMAP_ENABLED_QRESYNC && s->expunge_untold)
        return true;
    return c->say_highestmodseq && c->status == IMAP_OK && s->enabled & IMAP_ENABLED_CONDSTORE;
}

void imap_say_tagged(struct imap_session *s, const struct imap_command *c)
{
    static const char *const status[] = {"OK", "NO", "BAD"};
    const bool modseq = tells_modseq(s, c);
    if (modseq && c->code) {
        buf_append_str(&s->out, "* OK [HIGHESTMODSEQ ");
        buf_append_u64_dec(&s->out, s->told_modseq);
        buf_append_str(&s->out, "] So far\r\n");
    }
    if (c->tag.n)
        buf_append_bytes(&s->out, c->tag);
    else
        buf_append_byte(&s->out, '*');
    buf_printf(&s->out, " %s ", status[c->status]);
    if (c->code) {
        buf_printf(&s->out, "[%s] ", c->code);
    } else if (modseq) {
        buf_append_str(&s->out, "[HIGHESTMODSEQ ");
        buf_append_u64_dec(&s->out, s->told_modseq);
        buf_append_str(&s->out, "] ");
    }
    buf_append_str(&s->out, c->text);
    buf_append_str(&s->out, "\r\n");
}

void imap_say_bye(struct imap_session *s, const char *text)
{
    if (!s->mid_response && !s->broken)
        buf_printf(&s->out, "* BYE %s\r\n", text);
    s->closing = true;
    s->state = IMAP_STATE_LOGOUT;
}

/*
 * session_input: from the input to a command: framing, the command's first words, lines and literals for one that
 * waits.
 *
 * Most commands are parsed when all of their text is there. One whose row says IMAP_ROW_STREAM begins when its first
 * message literal is announced; the session then goes back and forth between its run (text) and its data (literals).
 */
#include "session_private.h"

#include "base/error.h"

#include <string.h>

enum {
    SKIP_BYTES = 64 << 20, /* literals of a refused command are read up to this, or twice APPENDLIMIT, then BYE */
    LITERAL_BEFORE_LOGIN_BYTES = 8 << 10,
    COMMAND_BEFORE_LOGIN_BYTES = 96 << 10,
    ARENA_FACTOR = 16, /* a command's parsed form may be so many times its text (a search key is ~100 bytes) */
    ARENA_LEAST_BYTES = 64 << 10,
    TAG_MAX_BYTES = 255,
};

void *imap_command_args(struct imap_command *c, size_t n)
{
    c->args = arena_alloc(c->arena, n);
    if (c->args)
        memset(c->args, 0, n);
    return c->args;
}

struct imap_command *imap_command_new(struct imap_session *s, size_t text_bytes)
{
    struct imap_command *c = calloc(1, sizeof *c);
    (void)s;
    ASSERT(c);
    c->arena = arena_new(ARENA_LEAST_BYTES + ARENA_FACTOR * text_bytes);
    return c;
}

void imap_command_free(struct imap_command **command)
{
    struct imap_command *c = *command;
    if (!c)
        return;
    *command = NULL;
    mdsq_change_free(&c->change);
    imap_news_release(&c->news);
    if (c->row && c->row->release && c->args)
        c->row->release(c);
    arena_free(&c->arena);
    free(c);
}

/* ---- a command's text ------------------------------------------------------------------------ */

/* [UID] name */
static bool take_row(struct imap_cursor *at, const struct imap_row **row_out, bool *uid_out)
{
    struct bytes name;
    *uid_out = false;
    if (!imap_take_sp(at) || !imap_take_atom(at, &name))
        return false;
    if (bytes_equal_nocase(name, BYTES_LIT("UID"))) {
        *uid_out = true;
        if (!imap_take_sp(at) || !imap_take_atom(at, &name))
            return false;
    }
    *row_out = imap_row_find(name);
    if (!*row_out || (*uid_out && !((*row_out)->flags & IMAP_ROW_UID)))
        return imap_cursor_fail(at, "Unknown command");
    return true;
}

/* The command's first words, looked up and allowed in this state. */
static bool parse_name(struct imap_session *s, struct imap_command *c, struct imap_cursor *at)
{
    if (!take_row(at, &c->row, &c->uid))
        return false;
    if (!(c->row->states & s->state))
        return imap_cursor_fail(at, s->state == IMAP_STATE_NONAUTH        ? "Log in first"
                                    : c->row->states & IMAP_STATE_NONAUTH ? "Already logged in"
                                                                          : "Select a mailbox first");
    return true;
}

static bool parse_command(struct imap_session *s, struct imap_command *c, struct imap_cursor *at)
{
    struct bytes tag;
    if (!imap_take_tag(at, &tag))
        return false;
    if (tag.n > TAG_MAX_BYTES)
        return imap_cursor_fail(at, "tag too long");
    /* "a+b" is no tag, and neither is the "a" in it. */
    if (imap_at_byte(at, ' ') || imap_at_end(at))
        c->tag = arena_dup(c->arena, tag);
    if (!parse_name(s, c, at))
        return false;
    if (c->row->parse && !c->row->parse(s, c, at)) {
        if (c->row->release && c->args)
            c->row->release(c);
        c->args = NULL;
        return false;
    }
    if (!(c->row->flags & IMAP_ROW_STREAM))
        return imap_take_end(at);
    c->rest = bytes_of(at->p, (size_t)(at->end - at->p));
    return true;
}

/* The tag of what was refused, if it has one. */
static void find_tag(struct imap_command *c, struct bytes text)
{
    struct imap_cursor at = imap_cursor_of(text, c->arena);
    struct bytes tag;
    if (imap_take_tag(&at, &tag) && imap_at_byte(&at, ' ') && tag.n <= TAG_MAX_BYTES)
        c->tag = arena_dup(c->arena, tag);
}

/* The arguments are views into the framer's buffer: it is kept until the command ends, or lets a literal in. */
static void begin_command(struct imap_session *s, struct bytes text, size_t arena_for_bytes)
{
    struct imap_command *c = imap_command_new(s, arena_for_bytes);
    s->command = c;
    struct imap_cursor at = imap_cursor_of(text, c->arena);
    at.utf8 = imap_session_utf8(s);
    at.spell = imap_spell_name;
    at.spell_arg = s;
    if (!parse_command(s, c, &at)) {
        /* at.why is static text of ours: nothing of the client's comes back to it. */
        imap_reply(c, IMAP_BAD, NULL, at.why ? at.why : "Syntax error");
        c->stage = IMAP_STAGE_REPLY;
    }
}

static const char *const why_rejected[] = {
    [IMAP_REJECT_NONE] = "Syntax error",         [IMAP_REJECT_LINE] = "Line too long",
    [IMAP_REJECT_LITERAL] = "Literal too large", [IMAP_REJECT_COMMAND] = "Command too large",
    [IMAP_REJECT_OWNER] = "Syntax error",
};

static void reply_rejected(struct imap_session *s, struct imap_command *c)
{
    imap_reply(c, IMAP_BAD, s->framer.reject == IMAP_REJECT_LINE ? NULL : "TOOBIG", why_rejected[s->framer.reject]);
    c->stage = IMAP_STAGE_REPLY;
}

static void begin_rejected(struct imap_session *s)
{
    struct imap_command *c = imap_command_new(s, 0);
    s->command = c;
    find_tag(c, imap_framer_command(&s->framer));
    reply_rejected(s, c);
}

/* ---- frames ------------------------------------------------------------------------------------- */

void imap_session_input_reset(struct imap_session *s, bool wipe)
{
    /* What a client says before and while it logs in may hold a password, mistyped commands included. */
    if (wipe && s->framer.command.n)
        explicit_bzero(s->framer.command.p, s->framer.command.n);
    imap_framer_reset(&s->framer);
}

static struct imap_frame_limits frame_limits(const struct imap_session *s)
{
    const bool before_login = s->state == IMAP_STATE_NONAUTH;
    const struct imap_limits *l = &s->limits;
    const uint64_t skip = 2 * (uint64_t)l->append_bytes;
    return (struct imap_frame_limits){
        .line_bytes = l->line_bytes,
        .literal_bytes = before_login && l->literal_bytes > LITERAL_BEFORE_LOGIN_BYTES ? LITERAL_BEFORE_LOGIN_BYTES
                                                                                       : l->literal_bytes,
        .command_bytes = before_login && l->command_bytes > COMMAND_BEFORE_LOGIN_BYTES ? COMMAND_BEFORE_LOGIN_BYTES
                                                                                       : l->command_bytes,
        .skip_bytes = before_login        ? LITERAL_BEFORE_LOGIN_BYTES * 4
                      : skip > SKIP_BYTES ? skip
                                          : SKIP_BYTES,
    };
}

/* Goes by what the framer says to an answered announcement or a refusal. */
static void go_on(struct imap_session *s, enum imap_frame frame)
{
    struct imap_command *c = s->command;
    switch (frame) {
    case IMAP_FRAME_CONTINUE: buf_append_str(&s->out, "+ OK\r\n"); return;
    case IMAP_FRAME_CLOSE:
        imap_say_bye(s, s->framer.reject == IMAP_REJECT_LINE ? "Line too long" : "[TOOBIG] Literal too large");
        return;
    case IMAP_FRAME_REJECTED:
        if (!c)
            begin_rejected(s);
        else if (!c->refused)
            reply_rejected(s, c);
        else if (c->stage == IMAP_STAGE_RUN)
            c->stage = IMAP_STAGE_NEWS;
        if (c)
            c->data_waits = false;
        return;
    default: return;
    }
}

void imap_session_let_in(struct imap_session *s)
{
    s->command->data_waits = true;
    s->command->rest = bytes_of(NULL, 0);
    s->command->literal = NULL;
    go_on(s, imap_framer_stream(&s->framer));
}

void imap_session_refuse(struct imap_session *s)
{
    const struct imap_frame_limits limits = frame_limits(s);
    s->command->refused = s->command->data_waits = true;
    go_on(s, imap_framer_refuse(&s->framer, &limits));
}

/* A mailbox may be called "URL". */
static bool has_catenate(struct bytes text)
{
    static const char word[] = " CATENATE (";
    for (size_t i = 0; i + sizeof word - 1 <= text.n; i++)
        if (bytes_equal_nocase(bytes_slice(text, i, sizeof word - 1), BYTES_LIT(word)))
            return true;
    return false;
}

/*
 * Which of a command's literals are messages: not its mailbox, which stands first (APPEND) or after a sequence number
 * (REPLACE), and not the URLs of CATENATE. That much can be seen without the grammar; what is no grammar is found by
 * run.
 */
static bool is_message(const struct imap_session *s, struct bytes text)
{
    struct imap_cursor at = imap_cursor_of(text, NULL);
    const struct imap_row *row = NULL;
    struct bytes tag;
    bool uid;
    const bool url = text.n >= 4 && bytes_equal_nocase(bytes_slice(text, text.n - 4, 4), BYTES_LIT("URL "));
    if (s->command)
        return !url;
    if (url && has_catenate(text))
        return false;
    if (!imap_take_tag(&at, &tag) || !take_row(&at, &row, &uid) || !(row->flags & IMAP_ROW_STREAM) ||
        !(row->states & s->state) || !imap_take_sp(&at))
        return false;
    const uint8_t *sp = memchr(at.p, ' ', (size_t)(at.end - at.p));
    if (row->flags & IMAP_ROW_UID)
        return sp && sp + 1 < at.end;
    return !imap_at_end(&at);
}

static void on_literal(struct imap_session *s)
{
    const struct bytes text = bytes_slice(imap_framer_command(&s->framer), 0, s->framer.literal.at);
    if (!is_message(s, text)) {
        const struct imap_frame_limits limits = frame_limits(s);
        go_on(s, imap_framer_collect(&s->framer, &limits));
        return;
    }
    if (s->command)
        s->command->rest = text;
    else
        begin_command(s, text, s->limits.line_bytes);
    s->command->data_waits = false;
    if (s->command->stage == IMAP_STAGE_RUN)
        s->command->literal = &s->framer.literal;
    else
        imap_session_refuse(s);
}

static void on_data(struct imap_session *s)
{
    struct imap_command *c = s->command;
    ASSERT(c && c->data_waits);
    if (!c->refused && !c->data(s, c, s->framer.data))
        imap_session_refuse(s);
}

/* A whole command, or the end of one. */
static void on_text(struct imap_session *s, bool rejected)
{
    struct imap_command *c = s->command;
    if (s->idle_tag) {
        /* The line is a view into the framer, which the end of the command made here resets. */
        imap_idle_end(s, imap_framer_command(&s->framer), rejected);
    } else if (c && c->line_waits) {
        c->line_waits = false;
        c->line_bad = rejected;
        c->line = imap_framer_command(&s->framer);
    } else if (rejected) {
        go_on(s, IMAP_FRAME_REJECTED);
    } else if (c) {
        c->data_waits = false;
        c->rest = imap_framer_command(&s->framer);
    } else {
        const struct bytes text = imap_framer_command(&s->framer);
        begin_command(s, text, text.n);
    }
}

bool imap_session_input(struct imap_session *s)
{
    const bool wipe = s->state == IMAP_STATE_NONAUTH;
    const struct imap_frame_limits limits = frame_limits(s);
    size_t used = 0;
    s->framer.ask = !wipe;
    if (s->idle_tag)
        s->framer.plain_line = true;
    enum imap_frame frame = imap_framer_feed(
        &s->framer, &limits, bytes_of(s->in.n ? s->in.p + s->in_off : NULL, s->in.n - s->in_off), &used);
    switch (frame) {
    case IMAP_FRAME_LITERAL: on_literal(s); break;
    case IMAP_FRAME_DATA: on_data(s); break;
    case IMAP_FRAME_REJECTED: on_text(s, true); break;
    case IMAP_FRAME_COMMAND: on_text(s, false); break;
    case IMAP_FRAME_CONTINUE:
    case IMAP_FRAME_CLOSE: go_on(s, frame); break;
    case IMAP_FRAME_MORE: break;
    }
    if (wipe && used)
        explicit_bzero(s->in.p + s->in_off, used);
    s->in_off += used;
    if (s->in_off == s->in.n) {
        s->in_off = 0;
        buf_release(&s->in);
    }
    return frame != IMAP_FRAME_MORE;
}

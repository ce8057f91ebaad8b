/*
 * session: a client's conversation as a state machine between two buffers. See imap/imap.h and
 * session_private.h.
 *
 * run() goes round: frame a command from the input, parse it, run it in steps, say the news of its folder,
 * say its tagged line. It stops when there is no whole command, when the output is high, or when the slice is
 * over; it keeps no reader between runs.
 */
#include "session_private.h"

#include "base/log.h"
#include "system.h"

#include <ctype.h>
#include <string.h>

enum {
    SKIP_BYTES = 64 << 20, /* literals of a refused command are read up to this, then BYE */
    LITERAL_BEFORE_LOGIN_BYTES = 8 << 10,
    COMMAND_BEFORE_LOGIN_BYTES = 96 << 10,
    ARENA_FACTOR = 16, /* a command's parsed form may be so many times its text (a search key is ~100 bytes) */
    ARENA_LEAST_BYTES = 64 << 10,
    TAG_MAX_BYTES = 255,
};

static uint32_t or_default(uint32_t v, uint32_t otherwise)
{
    return v ? v : otherwise;
}

static struct imap_limits with_defaults(const struct imap_limits *given)
{
    struct imap_limits l = given ? *given : (struct imap_limits){0};
    l.line_bytes = or_default(l.line_bytes, 65536);
    l.literal_bytes = or_default(l.literal_bytes, 1 << 20);
    l.command_bytes = or_default(l.command_bytes, 2 << 20);
    l.nesting = or_default(l.nesting, 64);
    l.pipeline_bytes = or_default(l.pipeline_bytes, 128 << 10);
    l.output_high_bytes = or_default(l.output_high_bytes, 256 << 10);
    l.login_ms = or_default(l.login_ms, 60000);
    l.idle_ms = or_default(l.idle_ms, 30 * 60000);
    l.write_ms = or_default(l.write_ms, 120000);
    l.slice_ms = or_default(l.slice_ms, 20);
    l.bad_commands = or_default(l.bad_commands, 20);
    return l;
}

struct imap_session *imap_session_new(struct mdsq_store *store, const struct imap_limits *limits)
{
    struct imap_session *s = calloc(1, sizeof *s);
    ASSERT(s);
    s->store = store;
    s->limits = with_defaults(limits);
    s->state = IMAP_STATE_NONAUTH;
    return s;
}

struct imap_session *imap_session_new_local(struct mdsq_store *store, const char *archive,
                                            const struct imap_limits *limits, struct error *err)
{
    struct mdsq_archive *opened = NULL;
    struct mdsq_error why = {0};
    int rc = mdsq_archive_open(store, archive, &opened, &why);
    if (rc < 0) {
        error_set(err, (enum base_err)rc, why.sys, "%s", why.text);
        return NULL;
    }
    struct imap_session *s = imap_session_new(store, limits);
    s->local = s->greeted = true;
    s->archive = opened;
    snprintf(s->archive_name, sizeof s->archive_name, "%s", archive);
    s->state = IMAP_STATE_AUTH;
    return s;
}

void imap_session_allow_login(struct imap_session *s)
{
    s->allow_login = true;
}

static void command_free(struct imap_command **command)
{
    struct imap_command *c = *command;
    if (!c)
        return;
    *command = NULL;
    imap_news_release(&c->news);
    if (c->row && c->row->release && c->args)
        c->row->release(c);
    arena_free(&c->arena);
    free(c);
}

void imap_session_unselect(struct imap_session *s)
{
    mdsq_view_close(&s->view);
    mdsq_set_free(&s->saved);
    s->told_exists = 0;
    s->told_keywords = 0;
    s->read_only = false;
    if (s->state == IMAP_STATE_SELECTED)
        s->state = IMAP_STATE_AUTH;
}

void imap_session_reopen_archive(struct imap_session *s)
{
    struct mdsq_archive *now = NULL;
    struct mdsq_error err = {0};
    ASSERT(!s->view);
    if (mdsq_archive_open(s->store, s->archive_name, &now, &err) < 0) {
        log_to(LOG_LEVEL_WARN, "imap: archive does not open again: archive=%s code=%d error=%s", s->archive_name,
               err.code, err.text);
        return;
    }
    mdsq_reader_end(&s->reader);
    mdsq_archive_close(&s->archive);
    s->archive = now;
}

void imap_session_free(struct imap_session **session)
{
    struct imap_session *s = *session;
    if (!s)
        return;
    *session = NULL;
    command_free(&s->command);
    mdsq_reader_end(&s->reader);
    mdsq_view_close(&s->view);
    mdsq_set_free(&s->saved);
    mdsq_archive_close(&s->archive);
    free(s->mask);
    imap_framer_reset(&s->framer);
    buf_release(&s->in);
    buf_release(&s->out);
    free(s);
}

/* ---- the two buffers ------------------------------------------------------------------ */

size_t imap_session_feed(struct imap_session *s, const void *p, size_t n)
{
    if (s->in_off > 0) {
        s->in.n -= s->in_off;
        memmove(s->in.p, s->in.p + s->in_off, s->in.n);
        s->in_off = 0;
    }
    size_t room = s->limits.pipeline_bytes > s->in.n ? s->limits.pipeline_bytes - s->in.n : 0;
    size_t take = n < room ? n : room;
    if (take)
        buf_append(&s->in, p, take);
    return take;
}

struct bytes imap_session_output(const struct imap_session *s)
{
    return bytes_of(s->out.n ? s->out.p + s->out_off : NULL, s->out.n - s->out_off);
}

void imap_session_wrote(struct imap_session *s, size_t n)
{
    ASSERT(n <= s->out.n - s->out_off);
    s->out_off += n;
    if (s->out_off == s->out.n) {
        s->out_off = 0;
        /* A command at work will fill it again at once; an idle session holds nothing. */
        if (s->command)
            buf_reset(&s->out);
        else
            buf_release(&s->out);
    }
}

uint32_t imap_session_wait_ms(const struct imap_session *s)
{
    return s->wait_ms;
}

bool imap_session_logged_in(const struct imap_session *s)
{
    return s->archive != NULL;
}

void imap_session_set_wake(struct imap_session *s, imap_wake_fn *wake, void *arg)
{
    s->wake = wake;
    s->wake_arg = arg;
}

size_t imap_session_memory_bytes(const struct imap_session *s)
{
    return sizeof *s + s->in.cap + s->out.cap + s->framer.command.cap +
           (s->command ? sizeof *s->command + arena_used(s->command->arena) : 0);
}

static void say_bye(struct imap_session *s, const char *text)
{
    if (!s->mid_response && !s->broken)
        buf_printf(&s->out, "* BYE %s\r\n", text);
    s->closing = true;
    s->state = IMAP_STATE_LOGOUT;
}

void imap_session_shutdown(struct imap_session *s, const char *text)
{
    if (!s->closing)
        say_bye(s, text);
}

bool imap_session_should_yield(const struct imap_session *s)
{
    return s->out.n - s->out_off >= s->limits.output_high_bytes || imap_system_now_ms() >= s->slice_end_ms;
}

struct mdsq_reader *imap_session_reader(struct imap_session *s, struct mdsq_error *err)
{
    if (!s->reader && mdsq_reader_begin(s->archive, &s->reader, err) < 0)
        s->reader = NULL;
    return s->reader;
}

/* ---- answers --------------------------------------------------------------------------- */

enum imap_step imap_reply(struct imap_command *c, enum imap_status status, const char *code, const char *text)
{
    c->status = status;
    c->code = code;
    c->text = text;
    return IMAP_STEP_DONE;
}

enum imap_step imap_reply_error(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err)
{
    static const struct {
        int code;
        const char *response, *text;
        bool ordinary; /* the client's doing: nothing to log */
    } words[] = {
        {MDSQ_ERR_NOTFOUND, "NONEXISTENT", "No such mailbox", true},
        {MDSQ_ERR_USAGE, NULL, "No such message", true},
        {MDSQ_ERR_SYNTAX, NULL, "Argument does not parse", true},
        {MDSQ_ERR_LIMIT, "LIMIT", "Too much asked for in one command", true},
        {MDSQ_ERR_LOCKED, "INUSE", "Archive is in use, try again", false},
        {MDSQ_ERR_AGAIN, "INUSE", "Archive is busy, try again", false},
        {MDSQ_ERR_CORRUPT, "CORRUPTION", "Archive is damaged, tell the administrator", false},
        {MDSQ_ERR_GONE, "UNAVAILABLE", "Vault no longer has it", false},
    };
    const char *name = c->row ? c->row->name : "?";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].code != err->code)
            continue;
        if (!words[i].ordinary)
            log_to(LOG_LEVEL_WARN, "imap: command failed: command=%s code=%d error=%s", name, err->code, err->text);
        bool bad = err->code == MDSQ_ERR_USAGE || err->code == MDSQ_ERR_SYNTAX;
        return imap_reply(c, bad ? IMAP_BAD : IMAP_NO, words[i].response, words[i].text);
    }
    (void)s;
    log_to(LOG_LEVEL_ERROR, "imap: command failed: command=%s code=%d error=%s", name, err->code, err->text);
    return imap_reply(c, IMAP_NO, "UNAVAILABLE", "Temporary failure, try again later");
}

static void say_tagged(struct imap_session *s, const struct imap_command *c)
{
    static const char *const status[] = {"OK", "NO", "BAD"};
    if (c->tag.n)
        buf_append_bytes(&s->out, c->tag);
    else
        buf_append_byte(&s->out, '*');
    buf_printf(&s->out, " %s ", status[c->status]);
    if (c->code)
        buf_printf(&s->out, "[%s] ", c->code);
    buf_append_str(&s->out, c->text);
    buf_append_str(&s->out, "\r\n");
}

static void greet(struct imap_session *s)
{
    buf_append_str(&s->out, "* OK [CAPABILITY ");
    imap_session_capabilities(s, &s->out);
    buf_append_str(&s->out, "] MDS ready\r\n");
    s->greeted = true;
}

/* ---- one command -------------------------------------------------------------------------- */

void *imap_command_args(struct imap_command *c, size_t n)
{
    c->args = arena_alloc(c->arena, n);
    if (c->args)
        memset(c->args, 0, n);
    return c->args;
}

static struct imap_command *command_new(size_t text_bytes)
{
    struct imap_command *c = calloc(1, sizeof *c);
    ASSERT(c);
    c->arena = arena_new(ARENA_LEAST_BYTES + ARENA_FACTOR * text_bytes);
    return c;
}

/* The command's first words: [UID] name, looked up and allowed in this state. */
static bool parse_name(struct imap_session *s, struct imap_command *c, struct imap_cursor *at)
{
    struct bytes name;
    if (!imap_take_sp(at) || !imap_take_atom(at, &name))
        return false;
    if (bytes_equal_nocase(name, BYTES_LIT("UID"))) {
        c->uid = true;
        if (!imap_take_sp(at) || !imap_take_atom(at, &name))
            return false;
    }
    c->row = imap_row_find(name);
    if (!c->row || (c->uid && !(c->row->flags & IMAP_ROW_UID)))
        return imap_cursor_fail(at, "Unknown command");
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
    return imap_take_end(at);
}

/* The tag of what was refused, if it has one. */
static void find_tag(struct imap_command *c, struct bytes text)
{
    struct imap_cursor at = imap_cursor_of(text, c->arena);
    struct bytes tag;
    if (imap_take_tag(&at, &tag) && imap_at_byte(&at, ' ') && tag.n <= TAG_MAX_BYTES)
        c->tag = arena_dup(c->arena, tag);
}

static void begin_command(struct imap_session *s)
{
    struct bytes text = imap_framer_command(&s->framer);
    struct imap_command *c = command_new(text.n);
    s->command = c;
    struct imap_cursor at = imap_cursor_of(text, c->arena);
    at.utf8 = imap_session_utf8(s);
    if (!parse_command(s, c, &at)) {
        /* at.why is static text of ours: nothing of the client's comes back to it. */
        imap_reply(c, IMAP_BAD, NULL, at.why ? at.why : "Syntax error");
        c->stage = IMAP_STAGE_REPLY;
    }
    /* The arguments are views into the framer's buffer: it is kept until the command ends. */
}

static void begin_rejected(struct imap_session *s)
{
    static const char *const why[] = {
        [IMAP_REJECT_LINE] = "Line too long",
        [IMAP_REJECT_LITERAL] = "Literal too large",
        [IMAP_REJECT_COMMAND] = "Command too large",
    };
    struct imap_command *c = command_new(0);
    s->command = c;
    find_tag(c, imap_framer_command(&s->framer));
    imap_reply(c, IMAP_BAD, s->framer.reject == IMAP_REJECT_LINE ? NULL : "TOOBIG", why[s->framer.reject]);
    c->stage = IMAP_STAGE_REPLY;
}

/* What a client says before and while it logs in may hold a password, mistyped commands included. */
static void wipe_frame(struct imap_session *s)
{
    if (s->framer.command.n)
        explicit_bzero(s->framer.command.p, s->framer.command.n);
    imap_framer_reset(&s->framer);
}

static void end_command(struct imap_session *s)
{
    struct imap_command *c = s->command;
    bool bad = c->status == IMAP_BAD;
    s->bad_in_row = bad ? s->bad_in_row + 1 : 0;
    bool wipe = s->state == IMAP_STATE_NONAUTH || (c->row && c->row->flags & IMAP_ROW_SECRET);
    command_free(&s->command);
    if (wipe)
        wipe_frame(s);
    else
        imap_framer_reset(&s->framer);
    if (s->bad_in_row >= s->limits.bad_commands)
        s->bye_after = "Too many bad commands";
    if (s->bye_after && !s->closing)
        say_bye(s, s->bye_after);
    else if (s->state == IMAP_STATE_LOGOUT)
        s->closing = true;
}

/* A line for a command that asked for one (SASL), or a whole new command. False: needs input. */
static bool next_frame(struct imap_session *s)
{
    const bool before_login = s->state == IMAP_STATE_NONAUTH;
    const struct imap_limits *l = &s->limits;
    const struct imap_frame_limits limits = {
        .line_bytes = l->line_bytes,
        .literal_bytes = before_login && l->literal_bytes > LITERAL_BEFORE_LOGIN_BYTES ? LITERAL_BEFORE_LOGIN_BYTES
                                                                                       : l->literal_bytes,
        .command_bytes = before_login && l->command_bytes > COMMAND_BEFORE_LOGIN_BYTES ? COMMAND_BEFORE_LOGIN_BYTES
                                                                                       : l->command_bytes,
        .skip_bytes = before_login ? LITERAL_BEFORE_LOGIN_BYTES * 4 : SKIP_BYTES,
    };
    struct imap_command *waiting = s->command;
    size_t used = 0;
    enum imap_frame frame = imap_framer_feed(
        &s->framer, &limits, bytes_of(s->in.n ? s->in.p + s->in_off : NULL, s->in.n - s->in_off), &used);
    if (before_login && used)
        explicit_bzero(s->in.p + s->in_off, used);
    s->in_off += used;
    if (s->in_off == s->in.n) {
        s->in_off = 0;
        buf_release(&s->in);
    }
    switch (frame) {
    case IMAP_FRAME_MORE: return false;
    case IMAP_FRAME_CONTINUE: buf_append_str(&s->out, "+ OK\r\n"); return true;
    case IMAP_FRAME_CLOSE:
        say_bye(s, s->framer.reject == IMAP_REJECT_LINE ? "Line too long" : "[TOOBIG] Literal too large");
        return true;
    case IMAP_FRAME_REJECTED:
    case IMAP_FRAME_COMMAND: break;
    }
    if (waiting) {
        waiting->line_waits = false;
        waiting->line_bad = frame == IMAP_FRAME_REJECTED;
        waiting->line = imap_framer_command(&s->framer);
    } else if (frame == IMAP_FRAME_REJECTED) {
        begin_rejected(s);
    } else {
        begin_command(s);
    }
    return true;
}

/* IDLE here means: go on at once; the others are given to the caller of run. */
static enum imap_run step_command(struct imap_session *s)
{
    struct imap_command *c = s->command;
    if (c->stage == IMAP_STAGE_RUN) {
        switch (c->row->run(s, c)) {
        case IMAP_STEP_MORE: return IMAP_RUN_MORE;
        case IMAP_STEP_PARK: return IMAP_RUN_PARKED;
        case IMAP_STEP_BREAK: s->broken = s->closing = true; return IMAP_RUN_CLOSE;
        case IMAP_STEP_LINE:
            /* The line comes through an empty framer; nothing of the command's own text is needed any more.
             */
            wipe_frame(s);
            s->framer.plain_line = true;
            c->line_waits = true;
            return IMAP_RUN_IDLE;
        case IMAP_STEP_DONE: break;
        }
        c->stage = c->delay_ms ? IMAP_STAGE_DELAY : IMAP_STAGE_NEWS;
        if (c->delay_ms) {
            s->wait_ms = c->delay_ms;
            return IMAP_RUN_WAIT;
        }
    }
    if (c->stage == IMAP_STAGE_DELAY)
        c->stage = IMAP_STAGE_NEWS;
    if (c->stage == IMAP_STAGE_NEWS) {
        if (!c->keep_view_quiet && !imap_news_step(s, c))
            return s->closing ? IMAP_RUN_CLOSE : IMAP_RUN_MORE;
        c->stage = IMAP_STAGE_REPLY;
    }
    say_tagged(s, c);
    end_command(s);
    return s->closing ? IMAP_RUN_CLOSE : IMAP_RUN_IDLE;
}

static enum imap_run run(struct imap_session *s)
{
    if (!s->greeted)
        greet(s);
    for (;;) {
        if (s->closing)
            return IMAP_RUN_CLOSE;
        if (s->command && !s->command->line_waits) {
            enum imap_run how = step_command(s);
            if (how != IMAP_RUN_IDLE)
                return how;
        } else if (!next_frame(s)) {
            return IMAP_RUN_IDLE;
        }
        if (imap_session_should_yield(s))
            return IMAP_RUN_MORE;
    }
}

enum imap_run imap_session_run(struct imap_session *s)
{
    s->slice_end_ms = imap_system_now_ms() + s->limits.slice_ms;
    enum imap_run how = run(s);
    mdsq_reader_end(&s->reader);
    return how;
}

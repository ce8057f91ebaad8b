/*
 * session: a client's conversation as a state machine between two buffers. See imap/imap.h and
 * session_private.h.
 *
 * run() goes round: frame a command from the input and parse it (session_input.c), run it in steps, say the news of its
 * folder (news.c), say its tagged line (reply.c). It stops when there is no whole command, when the output is high, or
 * when the slice is over; it keeps no reader between runs.
 */
#include "session_private.h"

#include "base/log.h"
#include "context.h"
#include "system.h"

#include <ctype.h>
#include <string.h>

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
    l.append_bytes = or_default(l.append_bytes, 64 << 20);
    if (l.append_bytes > MDSQ_DRAFT_MAX)
        l.append_bytes = MDSQ_DRAFT_MAX;
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

void imap_session_unselect(struct imap_session *s)
{
    imap_contexts_free(s);
    mdsq_view_close(&s->view);
    mdsq_set_free(&s->saved);
    mdsq_set_free(&s->recent);
    s->told_exists = 0;
    s->told_keywords = 0;
    s->told_modseq = s->own_first = s->own_last = 0;
    s->expunge_untold = false;
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
    if (s->watch && now != s->archive) {
        mdsq_watch_free(&s->watch);
        mdsq_archive_close(&s->archive);
        s->archive = now;
        if (imap_session_watch(s, &err) < 0)
            log_to(LOG_LEVEL_WARN, "imap: cannot watch an archive: archive=%s code=%d error=%s", s->archive_name,
                   err.code, err.text);
        return;
    }
    mdsq_archive_close(&s->archive);
    s->archive = now;
}

void imap_session_free(struct imap_session **session)
{
    struct imap_session *s = *session;
    if (!s)
        return;
    *session = NULL;
    imap_command_free(&s->command);
    imap_idle_release(s);
    imap_contexts_free(s);
    mdsq_reader_end(&s->reader);
    mdsq_view_close(&s->view);
    mdsq_set_free(&s->recent);
    mdsq_set_free(&s->saved);
    mdsq_archive_close(&s->archive);
    free(s->mask);
    free(s->account);
    free(s->folder);
    free(s->client);
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

void imap_session_shutdown(struct imap_session *s, const char *text)
{
    if (!s->closing)
        imap_say_bye(s, text);
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

/* ---- one run -------------------------------------------------------------------------------- */

static void greet(struct imap_session *s)
{
    buf_append_str(&s->out, "* OK [CAPABILITY ");
    imap_session_capabilities(s, &s->out);
    buf_append_str(&s->out, "] MDS ready\r\n");
    s->greeted = true;
}

static void end_command(struct imap_session *s)
{
    struct imap_command *c = s->command;
    bool bad = c->status == IMAP_BAD;
    imap_session_tell_command(s, c);
    s->bad_in_row = bad ? s->bad_in_row + 1 : 0;
    bool wipe = s->state == IMAP_STATE_NONAUTH || (c->row && c->row->flags & IMAP_ROW_SECRET);
    imap_command_free(&s->command);
    imap_session_input_reset(s, wipe);
    if (s->bad_in_row >= s->limits.bad_commands)
        s->bye_after = "Too many bad commands";
    if (s->bye_after && !s->closing)
        imap_say_bye(s, s->bye_after);
    else if (s->state == IMAP_STATE_LOGOUT)
        s->closing = true;
}

/* The command's own work. IDLE: go on at once, with input if it waits for some; else as step_command. */
static enum imap_run step_run(struct imap_session *s, struct imap_command *c)
{
    switch (c->row->run(s, c)) {
    case IMAP_STEP_MORE: return IMAP_RUN_MORE;
    case IMAP_STEP_PARK: return IMAP_RUN_PARKED;
    case IMAP_STEP_WAIT:
        s->wait_ms = c->delay_ms;
        c->delay_ms = 0;
        return IMAP_RUN_WAIT;
    case IMAP_STEP_BREAK: s->broken = s->closing = true; return IMAP_RUN_CLOSE;
    case IMAP_STEP_LINE:
        /* The line comes through an empty framer; nothing of the command's own text is needed any more. */
        imap_session_input_reset(s, true);
        s->framer.plain_line = true;
        c->line_waits = true;
        return IMAP_RUN_IDLE;
    case IMAP_STEP_DATA: imap_session_let_in(s); return IMAP_RUN_IDLE;
    case IMAP_STEP_DONE: break;
    }
    if (s->framer.asked) {
        imap_session_refuse(s);
        return IMAP_RUN_IDLE;
    }
    c->stage = c->delay_ms ? IMAP_STAGE_DELAY : IMAP_STAGE_NEWS;
    s->wait_ms = c->delay_ms;
    return c->delay_ms ? IMAP_RUN_WAIT : IMAP_RUN_IDLE;
}

static bool step_news(struct imap_session *s, struct imap_command *c)
{
    const bool allow_expunge = c->uid || !(c->row->flags & IMAP_ROW_NO_EXPUNGE);
    return c->keep_view_quiet || imap_news_step(s, &c->news, allow_expunge, c->folder_may_go);
}

/* With each new command, also those that ask nothing of the archive, as NOOP and the end of IDLE. */
static bool archive_is_gone(struct imap_session *s, const struct imap_command *c)
{
    const bool ends_anyway = s->state == IMAP_STATE_LOGOUT || (c->row && c->row->run == imap_cmd_logout);
    return s->archive && c->began_ns == 0 && !ends_anyway && !mdsq_archive_is_there(s->archive);
}

/* IDLE here means: go on at once; the others are given to the caller of run. */
static enum imap_run step_command(struct imap_session *s)
{
    struct imap_command *c = s->command;
    if (archive_is_gone(s, c)) {
        imap_say_bye(s, "[UNAVAILABLE] Archive was disabled or removed");
        return IMAP_RUN_CLOSE;
    }
    if (c->began_ns == 0)
        c->began_ns = imap_system_now_ns();
    if (c->stage == IMAP_STAGE_RUN) {
        enum imap_run how = step_run(s, c);
        if (how != IMAP_RUN_IDLE || c->stage == IMAP_STAGE_RUN || c->data_waits)
            return how;
    }
    if (c->stage == IMAP_STAGE_DELAY)
        c->stage = IMAP_STAGE_NEWS;
    if (c->stage == IMAP_STAGE_NEWS) {
        if (!step_news(s, c))
            return s->closing ? IMAP_RUN_CLOSE : IMAP_RUN_MORE;
        c->stage = IMAP_STAGE_REPLY;
    }
    if (!c->silent)
        imap_say_tagged(s, c);
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
        if (s->command && !s->command->line_waits && !s->command->data_waits) {
            enum imap_run how = step_command(s);
            if (how != IMAP_RUN_IDLE)
                return how;
            if (s->upgrade != IMAP_RUN_IDLE) {
                how = s->upgrade;
                s->upgrade = IMAP_RUN_IDLE;
                return how;
            }
        } else if (!imap_session_input(s)) {
            if (imap_idle_news(s))
                return IMAP_RUN_IDLE;
            return s->closing ? IMAP_RUN_CLOSE : IMAP_RUN_MORE;
        }
        if (imap_session_should_yield(s))
            return IMAP_RUN_MORE;
    }
}

enum imap_run imap_session_run(struct imap_session *s)
{
    s->slice_end_ms = imap_system_now_ms() + s->limits.slice_ms;
    s->run_began_ns = imap_system_now_ns();
    enum imap_run how = run(s);
    mdsq_reader_end(&s->reader);
    if (s->command && s->command->began_ns)
        s->command->work_ns +=
            imap_system_now_ns() - (s->command->began_ns > s->run_began_ns ? s->command->began_ns : s->run_began_ns);
    return how;
}

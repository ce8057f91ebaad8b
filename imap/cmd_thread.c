/* cmd_thread: THREAD and UID THREAD (RFC 5256): a search, then its result as conversations, told in slices. */
#include "session_private.h"

#include "base/log.h"
#include "search_result.h"
#include "system.h"

struct thread_args {
    struct imap_search_program program;
    enum mdsq_thread_algorithm algorithm;
    struct mdsq_fuzzy *fuzzy; /* NULL: no key is FUZZY */
    struct mdsq_search *search;
    struct mdsq_set *result;
    struct mdsq_thread *thread;
    bool any, number_last; /* of what was told */
    struct imap_progress progress;
};

enum { STAND_SEARCH, STAND_THREAD, STAND_TELL };

IMAP_PARSE(imap_parse_thread)
{
    struct thread_args *a = imap_command_args(c, sizeof *a);
    if (!a)
        return false;
    a->program.now_s = imap_system_time_s();
    a->program.saved = s->saved;
    a->program.recent = s->recent;
    return imap_take_thread(at, s->limits.nesting, &a->algorithm, &a->program);
}

void imap_release_thread(struct imap_command *c)
{
    struct thread_args *a = c->args;
    mdsq_search_free(&a->search);
    mdsq_fuzzy_free(&a->fuzzy);
    mdsq_thread_free(&a->thread);
    mdsq_set_free(&a->result);
}

/* DONE: a->result is there, or the answer is. */
static enum imap_step search(struct imap_session *s, struct imap_command *c, struct thread_args *a)
{
    struct mdsq_error err = {0};
    uint64_t unreadable = 0;
    if (a->program.has_fuzzy && !a->fuzzy && mdsq_fuzzy_new(a->program.key, &a->fuzzy, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (!a->search &&
        mdsq_search_new(s->view, a->fuzzy ? mdsq_fuzzy_key(a->fuzzy) : a->program.key, &a->search, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (!imap_session_reader(s, &err))
        return imap_reply_error(s, c, &err);
    int rc = mdsq_search_run(a->search, s->reader, s->limits.slice_ms, &err);
    if (rc > 0) {
        imap_say_progress(s, c, &a->progress, a->search);
        return IMAP_STEP_MORE;
    }
    if (rc < 0 || mdsq_search_take(a->search, &a->result, &unreadable, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (unreadable)
        log_to(LOG_LEVEL_WARN, "imap: search could not read items: items=%llu", (unsigned long long)unreadable);
    if (a->program.has_modseq)
        imap_enable_condstore(s);
    c->where = STAND_THREAD;
    return IMAP_STEP_DONE;
}

/* DONE: the conversations are there, or the answer is. */
static enum imap_step thread(struct imap_session *s, struct imap_command *c, struct thread_args *a)
{
    struct mdsq_error err = {0};
    if (!a->thread && mdsq_thread_new(s->view, a->result, a->algorithm, &a->thread, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (!imap_session_reader(s, &err))
        return imap_reply_error(s, c, &err);
    int rc = mdsq_thread_run(a->thread, s->reader, s->limits.slice_ms, &err);
    if (rc > 0) {
        imap_say_progress(s, c, &a->progress, NULL);
        return IMAP_STEP_MORE;
    }
    if (rc < 0)
        return imap_reply_error(s, c, &err);
    buf_append_str(&s->out, "* THREAD");
    s->mid_response = true;
    c->where = STAND_TELL;
    return IMAP_STEP_DONE;
}

/* thread-list = "(" (thread-members / thread-nested) ")" */
static void put_member(struct imap_session *s, const struct imap_command *c, struct thread_args *a,
                       const struct mdsq_thread_member *m)
{
    if (!a->any)
        buf_append_byte(&s->out, ' ');
    a->any = true;
    if (m->opens && a->number_last)
        buf_append_byte(&s->out, ' '); /* thread-members [SP thread-nested] */
    buf_append_byte(&s->out, m->opens ? '(' : ' ');
    if (m->uid)
        buf_append_u64_dec(&s->out, c->uid ? m->uid : mdsq_view_seq(s->view, m->uid));
    for (uint32_t i = 0; i < m->closes; i++)
        buf_append_byte(&s->out, ')');
    a->number_last = m->uid && m->closes == 0;
}

static enum imap_step tell(struct imap_session *s, struct imap_command *c, struct thread_args *a)
{
    enum { MEMBERS_A_LOOK = 256 }; /* the clock is asked now and then */
    struct mdsq_thread_member m;
    for (unsigned i = 1; mdsq_thread_next(a->thread, &m); i++) {
        put_member(s, c, a, &m);
        if (i % MEMBERS_A_LOOK == 0 && imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    buf_append_str(&s->out, "\r\n");
    s->mid_response = false;
    return imap_reply(c, IMAP_OK, NULL, "THREAD completed");
}

IMAP_RUN(imap_cmd_thread)
{
    struct thread_args *a = c->args;
    enum imap_step step = IMAP_STEP_DONE;
    if (a->program.bad_charset)
        return imap_reply(c, IMAP_NO, "BADCHARSET (UTF-8 US-ASCII)", "Charset is not supported");
    if (c->where == STAND_SEARCH) {
        step = search(s, c, a);
        if (step != IMAP_STEP_DONE || c->where == STAND_SEARCH)
            return step;
    }
    if (c->where == STAND_THREAD) {
        step = thread(s, c, a);
        if (step != IMAP_STEP_DONE || c->where == STAND_THREAD)
            return step;
    }
    return tell(s, c, a);
}

/* cmd_search: SEARCH and UID SEARCH: the tree goes to query/, which searches in slices; the result is said in
 * slices. */
#include "session_private.h"

#include "base/log.h"
#include "search_key.h"

struct search_args {
    struct imap_search_program program;
    struct mdsq_search *search;
    struct mdsq_set *result;
    uint64_t at;         /* in result */
    uint32_t next, last; /* the range being said */
    uint64_t unreadable;
};

IMAP_PARSE(imap_parse_search)
{
    struct search_args *a = imap_command_args(c, sizeof *a);
    return a && imap_take_search(at, s->limits.nesting, &a->program);
}

void imap_release_search(struct imap_command *c)
{
    struct search_args *a = c->args;
    mdsq_search_free(&a->search);
    mdsq_set_free(&a->result);
}

/* RFC 2180 4.3: messages expunged meanwhile are not in the result. */
static enum imap_step search(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (!a->search && mdsq_search_new(s->view, a->program.key, &a->search, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (!imap_session_reader(s, &err))
        return imap_reply_error(s, c, &err);
    int rc = mdsq_search_run(a->search, s->reader, s->limits.slice_ms, &err);
    if (rc > 0)
        return IMAP_STEP_MORE;
    if (rc < 0 || mdsq_search_take(a->search, &a->result, &a->unreadable, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (a->unreadable)
        log_to(LOG_LEVEL_WARN, "imap: search could not read items: items=%llu", (unsigned long long)a->unreadable);
    buf_append_str(&s->out, "* SEARCH");
    s->mid_response = true;
    return IMAP_STEP_DONE;
}

static enum imap_step say_result(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    enum { NUMBERS_A_LOOK = 256 }; /* the clock is asked now and then */
    for (;;) {
        for (int i = 0; i < NUMBERS_A_LOOK; i++) {
            if (a->next == 0 && !mdsq_set_next_range(a->result, c->uid ? NULL : s->view, &a->at, &a->next, &a->last)) {
                buf_append_str(&s->out, "\r\n");
                s->mid_response = false;
                return imap_reply(c, IMAP_OK, NULL, "SEARCH completed");
            }
            buf_append_byte(&s->out, ' ');
            buf_append_u64_dec(&s->out, a->next);
            a->next = a->next == a->last ? 0 : a->next + 1;
        }
        if (imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
}

IMAP_RUN(imap_cmd_search)
{
    struct search_args *a = c->args;
    if (a->program.bad_charset)
        return imap_reply(c, IMAP_NO, "BADCHARSET (UTF-8 US-ASCII)", "Charset is not supported");
    if (!a->result) {
        enum imap_step step = search(s, c, a);
        if (step != IMAP_STEP_DONE || !a->result)
            return step;
    }
    return say_result(s, c, a);
}

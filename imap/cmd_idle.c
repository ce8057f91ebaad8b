/*
 * cmd_idle: IDLE (RFC 2177), and what is new between commands, which IDLE and NOTIFY (RFC 5465) share.
 *
 * While IDLE is on there is no command: the session keeps the tag and a watch, nothing else. The watch's thread sets
 * `stirred` and wakes the session, which then looks. What is said in slices waits in `between`.
 */
#include "session_private.h"

#include "base/log.h"

/* On a thread of the library. */
static void on_stir(void *arg)
{
    struct imap_session *s = arg;
    atomic_store_explicit(&s->stirred, true, memory_order_release);
    if (s->wake)
        s->wake(s->wake_arg);
}

int imap_session_watch(struct imap_session *s, struct mdsq_error *err)
{
    if (s->watch)
        return 0;
    /* What came before the watch is looked for once. */
    atomic_store_explicit(&s->stirred, true, memory_order_relaxed);
    int rc = mdsq_watch_new(s->archive, on_stir, s, &s->watch, err);
    if (rc < 0)
        s->watch = NULL;
    return rc;
}

void imap_session_unwatch(struct imap_session *s)
{
    if (!s->idle_tag && !s->notify)
        mdsq_watch_free(&s->watch);
}

IMAP_RUN(imap_cmd_idle)
{
    struct mdsq_error err = {0};
    if (imap_session_watch(s, &err) < 0)
        return imap_reply_error(s, c, &err);
    s->idle_tag = strndup((const char *)c->tag.p, c->tag.n);
    ASSERT(s->idle_tag);
    buf_append_str(&s->out, "+ idling\r\n");
    c->silent = true;
    return imap_reply(c, IMAP_OK, NULL, "");
}

/* What is left of IDLE when it ends: its news and its tagged line. */
static const struct imap_row idle_end = {.name = "IDLE", .states = IMAP_STATES_AUTH};

void imap_idle_end(struct imap_session *s, struct bytes line, bool bad)
{
    struct imap_command *c = imap_command_new(s, 0);
    c->row = &idle_end;
    c->tag = arena_dup(c->arena, bytes_str(s->idle_tag));
    if (!bad && bytes_equal_nocase(line, BYTES_LIT("DONE")))
        imap_reply(c, IMAP_OK, NULL, "IDLE completed");
    else
        imap_reply(c, IMAP_BAD, NULL, "Expected DONE");
    c->stage = IMAP_STAGE_NEWS;
    s->command = c;
    free(s->idle_tag);
    s->idle_tag = NULL;
    imap_session_unwatch(s);
}

void imap_idle_release(struct imap_session *s)
{
    free(s->idle_tag);
    s->idle_tag = NULL;
    if (s->notify_release)
        s->notify_release(s);
    s->notify = NULL;
    if (s->between)
        imap_news_release(s->between);
    free(s->between);
    s->between = NULL;
    mdsq_watch_free(&s->watch);
}

/* The selected mailbox's, as far as it may be told without a command. */
static bool selected_news(struct imap_session *s)
{
    const bool told = s->idle_tag && s->notify_selected == IMAP_NOTIFY_SELECTED_OFF;
    if (!s->view ||
        !(told || s->notify_selected == IMAP_NOTIFY_SELECTED || s->notify_selected == IMAP_NOTIFY_SELECTED_DELAYED))
        return true;
    if (!s->between) {
        s->between = calloc(1, sizeof *s->between);
        ASSERT(s->between);
    }
    bool allow_expunge = s->idle_tag || s->notify_selected == IMAP_NOTIFY_SELECTED;
    if (!imap_news_step(s, s->between, allow_expunge, false))
        return false;
    imap_news_release(s->between);
    free(s->between);
    s->between = NULL;
    return true;
}

bool imap_idle_news(struct imap_session *s)
{
    if (!s->idle_tag && !s->notify_step)
        return true;
    /* A client in the midst of a command counts by what it was told before. */
    if (s->command || (!s->idle_tag && !imap_framer_is_empty(&s->framer)))
        return true;
    if (!s->between && !atomic_exchange_explicit(&s->stirred, false, memory_order_acquire))
        return true;
    if (!selected_news(s))
        return false;
    if (s->notify_step && !s->notify_step(s)) {
        /* It knows where it stands; this brings it back here. */
        atomic_store_explicit(&s->stirred, true, memory_order_relaxed);
        return false;
    }
    return true;
}

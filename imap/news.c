/*
 * news: what a client is told of its folder with every answer (RFC 3501 5.2, 7.4.1).
 *
 * The view is advanced at once and what changed is kept as runs, so that the answers can be said in slices of
 * output whatever their number. A fetch of a set that the view no longer has says nothing.
 */
#include "session_private.h"

#include "base/log.h"

enum { CHANGED_RANGES_MAX = 5000 }; /* flags are told if they fit a set; RFC 3501: SHOULD */

static int note_expunged(uint32_t seq, uint32_t uid, void *arg)
{
    struct imap_news *news = arg;
    (void)uid;
    struct imap_expunge_run *last =
        news->expunged.n ? (struct imap_expunge_run *)(void *)(news->expunged.p + news->expunged.n) - 1 : NULL;
    news->expunged_count++;
    if (last && seq == last->seq - last->count && seq > 0)
        last->count++;
    else
        buf_append(&news->expunged, &(struct imap_expunge_run){seq, 1}, sizeof(struct imap_expunge_run));
    return 0;
}

static void end_changed_run(struct imap_news *news)
{
    if (news->run_first == 0 || news->changed_ranges >= CHANGED_RANGES_MAX)
        return;
    buf_printf(&news->changed, "%s%u:%u", news->changed.n ? "," : "", news->run_first, news->run_last);
    news->changed_ranges++;
    news->run_first = 0;
}

static int note_changed(uint32_t seq, uint32_t uid, void *arg)
{
    struct imap_news *news = arg;
    if (news->run_first == 0 || seq != news->run_last_seq + 1) {
        end_changed_run(news);
        news->run_first = uid;
    }
    news->run_last = uid;
    news->run_last_seq = seq;
    return 0;
}

static bool fail(struct imap_session *s, const struct mdsq_error *err)
{
    if (err->code == MDSQ_ERR_NOTFOUND) {
        imap_session_shutdown(s, "Selected mailbox is gone"); /* RFC 2180 section 3.3 */
        return false;
    }
    /* The command itself was answered; what is new can be told with the next one. */
    log_to(LOG_LEVEL_WARN, "imap: cannot advance a view: code=%d error=%s", err->code, err->text);
    return true;
}

static bool collect(struct imap_session *s, struct imap_command *c)
{
    struct imap_news *news = &c->news;
    struct mdsq_error err = {0};
    bool allow_expunge = c->uid || !(c->row->flags & IMAP_ROW_NO_EXPUNGE);
    uint64_t tick = mdsq_archive_tick(s->archive);
    news->collected = true;
    if (tick == s->tick && !(allow_expunge && s->expunge_untold))
        return true;
    /* A reader of before the tick would miss what the tick promises. */
    if (s->reader && mdsq_reader_renew(s->reader, &err) < 0)
        return fail(s, &err);
    if (!imap_session_reader(s, &err))
        return fail(s, &err);
    const struct mdsq_news told = {note_expunged, note_changed, news};
    int rc = mdsq_view_advance(s->reader, s->view, allow_expunge, &told, &err);
    if (rc < 0)
        return fail(s, &err);
    s->tick = tick;
    s->expunge_untold = !allow_expunge;
    end_changed_run(news);
    uint32_t count = mdsq_view_count(s->view);
    news->exists = count != s->told_exists - news->expunged_count;
    s->told_exists = count;
    return true;
}

static bool say_expunged(struct imap_session *s, struct imap_news *news)
{
    while (news->at < news->expunged.n) {
        struct imap_expunge_run run;
        memcpy(&run, news->expunged.p + news->at, sizeof run);
        while (news->at_nth < run.count) {
            buf_printf(&s->out, "* %u EXPUNGE\r\n", run.seq - news->at_nth++);
            if (imap_session_should_yield(s))
                return false;
        }
        news->at += sizeof run;
        news->at_nth = 0;
    }
    return true;
}

static bool begin_changed(struct imap_session *s, struct imap_news *news)
{
    struct mdsq_error err = {0};
    if (mdsq_set_parse(s->view, (const char *)news->changed.p, news->changed.n, true, &news->set, &err) < 0 ||
        mdsq_fetch_new(imap_session_reader(s, &err), s->view, news->set, MDSQ_FETCH_FLAGS, &news->fetch, &err) < 0) {
        log_to(LOG_LEVEL_WARN, "imap: cannot tell changed flags: code=%d error=%s", err.code, err.text);
        return false;
    }
    return true;
}

static bool say_changed(struct imap_session *s, struct imap_news *news)
{
    struct mdsq_error err = {0};
    if (news->changed.n == 0 || !imap_session_reader(s, &err))
        return true;
    if (!news->fetch) {
        if (!begin_changed(s, news))
            return true;
    } else {
        mdsq_fetch_rebind(news->fetch, s->reader);
    }
    struct mdsq_message m;
    while (mdsq_fetch_next(news->fetch, &m, &err) > 0) {
        if (m.gone)
            continue;
        buf_printf(&s->out, "* %u FETCH (UID %u FLAGS %.*s)\r\n", m.seq, m.uid, (int)m.flags.n,
                   (const char *)m.flags.p);
        if (imap_session_should_yield(s))
            return false;
    }
    return true;
}

bool imap_news_step(struct imap_session *s, struct imap_command *c)
{
    struct imap_news *news = &c->news;
    if (!s->view)
        return true;
    if (!news->collected && !collect(s, c))
        return false;
    if (!say_expunged(s, news))
        return false;
    if (news->exists) {
        buf_printf(&s->out, "* %u EXISTS\r\n", s->told_exists);
        news->exists = false;
    }
    return say_changed(s, news);
}

void imap_news_release(struct imap_news *news)
{
    mdsq_fetch_free(&news->fetch);
    mdsq_set_free(&news->set);
    buf_release(&news->expunged);
    buf_release(&news->changed);
}

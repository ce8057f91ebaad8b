/*
 * news: what a client is told of its folder with every answer (RFC 3501 5.2, 7.4.1).
 *
 * The view is advanced at once and what changed is kept as runs, so that the answers can be said in slices of
 * output whatever their number. A fetch of a set that the view no longer has says nothing.
 */
#include "session_private.h"

#include "base/log.h"
#include "context.h"

enum { RUNS_AT_ONCE = 1000 }; /* of a fetch, of a line of VANISHED */

static struct imap_uid_run *last_run(const struct buf *runs)
{
    return runs->n ? (struct imap_uid_run *)(void *)(runs->p + runs->n) - 1 : NULL;
}

static struct imap_uid_run nth_run(const struct buf *runs, size_t i)
{
    struct imap_uid_run run;
    memcpy(&run, runs->p + i * sizeof run, sizeof run);
    return run;
}

static void note_vanished(struct imap_news *news, uint32_t uid)
{
    struct imap_uid_run *last = last_run(&news->vanished);
    if (last && uid + 1 == last->first)
        last->first = uid;
    else
        buf_append(&news->vanished, &(struct imap_uid_run){uid, uid}, sizeof(struct imap_uid_run));
}

static int note_expunged(uint32_t seq, uint32_t uid, void *arg)
{
    struct imap_news *news = arg;
    news->expunged_count++;
    if (news->keep_gone)
        buf_append(&news->gone, &(struct imap_gone){seq, uid}, sizeof(struct imap_gone));
    if (news->vanish) {
        note_vanished(news, uid);
        return 0;
    }
    struct imap_expunge_run *last =
        news->expunged.n ? (struct imap_expunge_run *)(void *)(news->expunged.p + news->expunged.n) - 1 : NULL;
    if (last && seq == last->seq - last->count && seq > 0)
        last->count++;
    else
        buf_append(&news->expunged, &(struct imap_expunge_run){seq, 1}, sizeof(struct imap_expunge_run));
    return 0;
}

static int note_changed(uint32_t seq, uint32_t uid, void *arg)
{
    struct imap_news *news = arg;
    struct imap_uid_run *last = last_run(&news->changed);
    if (last && seq == news->changed_last_seq + 1)
        last->last = uid;
    else
        buf_append(&news->changed, &(struct imap_uid_run){uid, uid}, sizeof(struct imap_uid_run));
    news->changed_last_seq = seq;
    return 0;
}

static bool fail(struct imap_session *s, bool may_go, const struct mdsq_error *err)
{
    if (err->code == MDSQ_ERR_NOTFOUND && may_go) {
        imap_session_unselect(s);
        return true;
    }
    if (err->code == MDSQ_ERR_NOTFOUND) {
        imap_session_shutdown(s, "Selected mailbox is gone"); /* RFC 2180 section 3.3 */
        return false;
    }
    /* The command itself was answered; what is new can be told with the next one. */
    log_to(LOG_LEVEL_WARN, "imap: cannot advance a view: code=%d error=%s", err->code, err->text);
    return true;
}

void imap_news_own(struct imap_session *s, uint64_t first, uint64_t last, bool told)
{
    if (first == 0)
        return;
    if (s->own_last == 0) {
        s->own_first = first;
        s->own_last = last;
        s->own_told = told;
    } else if (first == s->own_last + 1) {
        s->own_last = last;
    }
}

/*
 * A message that somebody else changed before we did has one modseq, ours: if the view was behind when a silent STORE
 * took its modseqs, the client must hear of all of them.
 */
static void take_own(struct imap_session *s, struct imap_news *news)
{
    if (s->own_last && (s->own_told || s->own_first <= mdsq_view_modseq(s->view) + 1)) {
        news->own_first = s->own_first;
        news->own_last = s->own_last;
    }
    s->own_first = s->own_last = 0;
}

static bool collect(struct imap_session *s, struct imap_news *news, bool allow_expunge, bool may_go)
{
    struct mdsq_error err = {0};
    news->collected = true;
    if (mdsq_archive_tick(s->archive) == s->tick && !(allow_expunge && s->expunge_untold))
        return true;
    /* What it sees, not what the tick promises, is what has been looked at: mdsq_archive_tick. */
    if (s->reader && mdsq_reader_renew(s->reader, &err) < 0)
        return fail(s, may_go, &err);
    if (!imap_session_reader(s, &err))
        return fail(s, may_go, &err);
    const struct mdsq_news told = {note_expunged, s->notify_flags_off ? NULL : note_changed, news};
    news->vanish = s->enabled & IMAP_ENABLED_QRESYNC;
    news->keep_gone = s->contexts != NULL;
    take_own(s, news);
    int rc = mdsq_view_advance(s->reader, s->view, allow_expunge, &told, &err);
    if (rc < 0)
        return fail(s, may_go, &err);
    s->tick = mdsq_reader_tick(s->reader);
    s->expunge_untold = mdsq_view_has_untold(s->view);
    if (!s->expunge_untold)
        s->told_modseq = mdsq_view_modseq(s->view);
    uint32_t count = mdsq_view_count(s->view);
    news->exists = count != s->told_exists - news->expunged_count;
    s->told_exists = count;
    if (news->exists)
        imap_recent_take(s);
    imap_contexts_say_gone(s, &news->gone);
    buf_release(&news->gone);
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

static void put_runs(struct buf *out, const struct imap_uid_run *runs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, runs[i].first == runs[i].last ? "%s%u" : "%s%u:%u", i ? "," : "", runs[i].first, runs[i].last);
    }
}

/* From the last, which is the lowest, to the first. */
static bool say_vanished(struct imap_session *s, struct imap_news *news)
{
    while (news->vanished.n > 0) {
        struct imap_uid_run some[RUNS_AT_ONCE];
        size_t n = 0;
        while (n < RUNS_AT_ONCE && news->vanished.n > 0) {
            some[n++] = *last_run(&news->vanished);
            news->vanished.n -= sizeof some[0];
        }
        buf_append_str(&s->out, "* VANISHED ");
        put_runs(&s->out, some, n);
        buf_append_str(&s->out, "\r\n");
        if (imap_session_should_yield(s))
            return false;
    }
    return true;
}

/* A fetch of the next runs of what changed; false: there are none, or it cannot be told. */
static bool next_changed(struct imap_session *s, struct imap_news *news)
{
    const size_t n = news->changed.n / sizeof(struct imap_uid_run);
    struct imap_uid_run some[RUNS_AT_ONCE];
    struct mdsq_error err = {0};
    struct buf text = {0};
    size_t k = 0;
    mdsq_fetch_free(&news->fetch);
    mdsq_set_free(&news->set);
    while (k < RUNS_AT_ONCE && news->changed_at < n)
        some[k++] = nth_run(&news->changed, news->changed_at++);
    if (k == 0)
        return false;
    put_runs(&text, some, k);
    int rc = mdsq_set_parse(s->view, (const char *)text.p, text.n, true, &news->set, &err);
    buf_release(&text);
    unsigned attrs = MDSQ_FETCH_FLAGS;
    if (news->own_last || s->enabled & IMAP_ENABLED_CONDSTORE)
        attrs |= MDSQ_FETCH_MODSEQ;
    if (rc < 0 || mdsq_fetch_new(s->reader, s->view, news->set, attrs, &news->fetch, &err) < 0) {
        log_to(LOG_LEVEL_WARN, "imap: cannot tell changed flags: code=%d error=%s", err.code, err.text);
        return false;
    }
    return true;
}

static void say_flags(struct imap_session *s, const struct mdsq_message *m)
{
    buf_printf(&s->out, "* %u FETCH (UID %u FLAGS ", m->seq, m->uid);
    imap_put_flags(s, m);
    if (s->enabled & IMAP_ENABLED_CONDSTORE) {
        buf_append_str(&s->out, " MODSEQ (");
        buf_append_u64_dec(&s->out, m->modseq);
        buf_append_byte(&s->out, ')');
    }
    buf_append_str(&s->out, ")\r\n");
}

static bool say_changed(struct imap_session *s, struct imap_news *news)
{
    struct mdsq_error err = {0};
    if (news->changed.n == 0 || !imap_session_reader(s, &err))
        return true;
    imap_say_keywords(s);
    if (news->fetch)
        mdsq_fetch_rebind(news->fetch, s->reader);
    while (news->fetch || next_changed(s, news)) {
        struct mdsq_message m;
        int rc = mdsq_fetch_next(news->fetch, &m, &err);
        if (rc <= 0 && rc != MDSQ_ERR_CORRUPT)
            mdsq_fetch_free(&news->fetch);
        if (rc <= 0 || m.gone || (news->own_last && m.modseq >= news->own_first && m.modseq <= news->own_last))
            continue;
        say_flags(s, &m);
        if (imap_session_should_yield(s))
            return false;
    }
    return true;
}

bool imap_news_step(struct imap_session *s, struct imap_news *news, bool allow_expunge, bool may_go)
{
    if (s->view && !news->collected && !collect(s, news, allow_expunge, may_go))
        return false;
    if (!s->view)
        return true;
    if (!say_expunged(s, news) || !say_vanished(s, news))
        return false;
    if (news->exists) {
        buf_printf(&s->out, "* %u EXISTS\r\n", s->told_exists);
        news->exists = false;
    }
    if (s->recent)
        imap_recent_say(s, false);
    return say_changed(s, news) && imap_contexts_say_changed(s);
}

void imap_news_release(struct imap_news *news)
{
    mdsq_fetch_free(&news->fetch);
    mdsq_set_free(&news->set);
    buf_release(&news->expunged);
    buf_release(&news->vanished);
    buf_release(&news->changed);
    buf_release(&news->gone);
}

/*
 * recent: the \Recent flag (RFC 3501 2.3.2), which belongs to a session and not to a message. RFC 9051 has it no more.
 */
#include "session_private.h"

#include "base/log.h"

#include <stdio.h>

void imap_recent_take(struct imap_session *s)
{
    struct mdsq_error err = {0};
    struct mdsq_set *more = NULL, *all = NULL;
    uint32_t first, last;
    char text[32];
    /* `mds fetch` and its like begin a session each time: to them everything would be. */
    if (s->local || s->enabled & IMAP_ENABLED_REV2)
        return;
    int rc = mdsq_view_recent(s->reader, s->view, !s->read_only, &first, &last, &err);
    if (rc >= 0 && first == 0)
        return;
    snprintf(text, sizeof text, "%u:%u", first, last);
    if (rc >= 0)
        rc = mdsq_set_numbers(text, strlen(text), 0, &more, &err);
    if (rc >= 0 && s->recent)
        rc = mdsq_set_or(s->recent, more, &all, &err);
    if (rc < 0) {
        log_to(LOG_LEVEL_WARN, "imap: cannot tell what is recent: code=%d error=%s", err.code, err.text);
    } else {
        mdsq_set_free(&s->recent);
        s->recent = all ? all : more;
        more = all ? more : NULL;
    }
    mdsq_set_free(&more);
}

void imap_recent_say(struct imap_session *s, bool always)
{
    struct mdsq_set *here = NULL;
    uint64_t n = 0;
    if (s->enabled & IMAP_ENABLED_REV2)
        return;
    if (s->recent && mdsq_set_in_view(s->recent, s->view, &here, NULL) >= 0)
        n = mdsq_set_count(here);
    mdsq_set_free(&here);
    if (always || n != s->told_recent)
        buf_printf(&s->out, "* %llu RECENT\r\n", (unsigned long long)n);
    s->told_recent = n;
}

void imap_put_flags(struct imap_session *s, const struct mdsq_message *m)
{
    const bool recent = s->recent && !(s->enabled & IMAP_ENABLED_REV2) && mdsq_set_has(s->recent, m->uid);
    if (recent && m->flags.n)
        buf_printf(&s->out, "(\\Recent%s%.*s", m->flags.n > 2 ? " " : "", (int)m->flags.n - 1,
                   (const char *)m->flags.p + 1);
    else
        buf_append(&s->out, m->flags.p, m->flags.n);
}

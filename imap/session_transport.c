/* session_transport: what a session knows of the connection below it. See imap/transport.h. */
#include "session_private.h"

#include "system.h"

#include <stdio.h>
#include <string.h>

enum { AUDIT_UIDS_BYTES = 400 };

void imap_session_set_transport(struct imap_session *s, const struct imap_transport *t)
{
    s->transport = t;
    s->allow_login = t->login == IMAP_LOGIN_ANY;
    if (!t->tls || s->archive) {
        imap_session_remask(s);
        return;
    }
    /* RFC 3501 6.2.1: what was learned before TLS came from anybody. */
    free(s->client);
    s->client = NULL;
    imap_session_mask(s, NULL);
    imap_session_remask(s);
}

void imap_session_remask(struct imap_session *s)
{
    const struct imap_events *events = s->transport ? s->transport->events : NULL;
    if (!events || !events->mask)
        return;
    char *names = events->mask(events->arg, s->transport, s->account, s->client);
    imap_session_mask(s, names);
    free(names);
}

/* As many ranges as there is room for, and "..." if there are more. */
static void put_uids(const struct mdsq_set *uids, char *text, size_t room)
{
    uint64_t pos = 0;
    uint32_t first = 0, last = 0;
    size_t n = 0;
    while (mdsq_set_next_range(uids, NULL, &pos, &first, &last)) {
        if (room - n < 30) {
            snprintf(text + n, room - n, ",...");
            return;
        }
        n += (size_t)snprintf(text + n, room - n, first == last ? "%s%u" : "%s%u:%u", n ? "," : "", first, last);
    }
}

void imap_session_audit(struct imap_session *s, const char *action, const char *folder, const char *to, const struct mdsq_set *uids, uint32_t count)
{
    const struct imap_events *events = s->transport ? s->transport->events : NULL;
    char text[AUDIT_UIDS_BYTES] = "";
    if (!events || !events->audit)
        return;
    if (uids)
        put_uids(uids, text, sizeof text);
    const struct imap_audit_event e = {
        .action = action, .archive = s->archive_name, .folder = folder, .to = to, .uids = uids ? text : NULL, .count = count};
    events->audit(events->arg, s->transport, &e);
}

void imap_session_take_input(struct imap_session *s, struct buf *out)
{
    if (s->in.n > s->in_off) {
        buf_append(out, s->in.p + s->in_off, s->in.n - s->in_off);
        explicit_bzero(s->in.p + s->in_off, s->in.n - s->in_off);
    }
    s->in_off = 0;
    buf_release(&s->in);
}

enum imap_session_kind imap_session_kind(const struct imap_session *s)
{
    if (s->idle_tag)
        return IMAP_SESSION_IDLE;
    if (s->view)
        return IMAP_SESSION_SELECTED;
    return s->archive ? IMAP_SESSION_AUTH : IMAP_SESSION_NONAUTH;
}

uint64_t imap_session_commands(const struct imap_session *s)
{
    return s->commands;
}

bool imap_session_probe(struct imap_session *s)
{
    if (s->mid_response || s->closing || s->broken)
        return false;
    buf_append_str(&s->out, "* OK Still at work\r\n");
    return true;
}

void imap_session_tell_command(struct imap_session *s, const struct imap_command *c)
{
    const struct imap_events *events = s->transport ? s->transport->events : NULL;
    s->commands++;
    if (!events || !events->command)
        return;
    const uint64_t now = imap_system_now_ns();
    const uint64_t began = c->began_ns ? c->began_ns : s->run_began_ns;
    const struct imap_command_event e = {
        .name = c->row ? c->row->name : "?",
        .status = (int)c->status,
        .ns = now - began,
        .cpu_ns = c->work_ns + now - (began > s->run_began_ns ? began : s->run_began_ns),
    };
    events->command(events->arg, s->transport, &e);
}

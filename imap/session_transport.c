/* session_transport: what a session knows of the connection below it. See imap/transport.h. */
#include "session_private.h"

#include "system.h"

#include <string.h>

void imap_session_set_transport(struct imap_session *s, const struct imap_transport *t)
{
    s->transport = t;
    s->allow_login = t->login == IMAP_LOGIN_ANY;
    if (!t->tls || s->archive)
        return;
    /* RFC 3501 6.2.1: what was learned before TLS came from anybody. */
    imap_session_mask(s, NULL);
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

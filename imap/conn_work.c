/*
 * conn_work: what the pool does for a connection: shake hands, decode what came, run the session, encode what it says.
 * So a private key's work, decompression and a slow disk cost no loop anything.
 */
#include "conn_private.h"

#include "base/log.h"

/* True: the layer is there. */
static bool shake_hands(struct imap_conn *c)
{
    struct imap_channel *ch = &c->channel;
    const struct imap_events *events = c->transport.events;
    c->how = IMAP_RUN_IDLE;
    switch (imap_channel_handshake(ch)) {
    case IMAP_TLS_WANT: return false;
    case IMAP_TLS_OK: break;
    case IMAP_TLS_END:
    case IMAP_TLS_FAILED:
        log_to(LOG_LEVEL_INFO, "imap: no TLS with a client: peer=%s error=%s", c->peer, imap_tls_why(ch->tls));
        if (events->refused)
            events->refused(events->arg, c->rules->name, c->peer, IMAP_REFUSED_TLS);
        c->how = IMAP_RUN_CLOSE;
        return false;
    }
    c->transport.starttls = false;
    c->transport.login = imap_config_login_rule(c->rules, &c->address, &c->local_address, true);
    imap_tls_describe(ch->tls, &c->transport);
    imap_session_set_transport(c->session, &c->transport);
    if (events->tls_done)
        events->tls_done(events->arg, &c->transport, imap_tls_resumed(ch->tls), uv_hrtime() - c->accepted_ns);
    return true;
}

static void begin_tls(struct imap_conn *c)
{
    struct buf dropped = {0};
    imap_channel_settle(&c->channel, c->session);
    imap_session_take_input(c->session, &dropped);
    buf_release(&dropped);
    imap_channel_begin_tls(&c->channel, c->rules->tls);
}

static void begin_deflate(struct imap_conn *c)
{
    struct buf early = {0};
    imap_channel_settle(&c->channel, c->session);
    imap_session_take_input(c->session, &early);
    imap_channel_begin_deflate(&c->channel, &early);
    c->transport.compress = false;
}

static void run_session(struct imap_conn *c)
{
    struct imap_channel *ch = &c->channel;
    imap_channel_feed(ch, c->session);
    if (ch->broken) {
        c->how = IMAP_RUN_CLOSE;
        return;
    }
    c->how = imap_session_run(c->session);
    if (c->how == IMAP_RUN_STARTTLS) {
        begin_tls(c);
    } else if (c->how == IMAP_RUN_COMPRESS) {
        begin_deflate(c);
    } else {
        imap_channel_drain(ch, c->session, c->how != IMAP_RUN_MORE);
        if (c->how == IMAP_RUN_CLOSE)
            imap_channel_close(ch);
    }
    if (ch->broken)
        c->how = IMAP_RUN_CLOSE;
}

void imap_conn_work(struct imap_job *job)
{
    struct imap_conn *c = (struct imap_conn *)job;
    struct imap_loop *loop = c->loop;
    if (!c->channel.handshaking || shake_hands(c))
        run_session(c);
    pthread_mutex_lock(&loop->done_lock);
    c->next_done = loop->done;
    loop->done = c;
    uv_async_send(&loop->wake);
    pthread_mutex_unlock(&loop->done_lock);
    /* From here on it is the loop's. */
}

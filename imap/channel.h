/*
 * channel: the layers between a socket's bytes and a session's: nothing, TLS, DEFLATE, or DEFLATE in TLS.
 *
 *     loop: imap_channel_put(ch, received)                        job: imap_channel_handshake, imap_channel_feed, run,
 * imap_channel_drain loop: imap_channel_output(ch, session), write, imap_channel_wrote
 *
 * A channel goes with its session: the job's while it runs, else the loop's, so encryption and compression are the
 * pool's work. Input is decoded only as far as the session has room: a bomb of a few bytes stays a few bytes until its
 * text is wanted.
 */
#ifndef IMAP_CHANNEL_H
#define IMAP_CHANNEL_H

#include "deflate.h"
#include "imap/imap.h"
#include "tls.h"

struct imap_channel {
    struct imap_tls *tls;
    struct imap_deflate *deflate;
    bool handshaking;         /* TLS was begun and is not done */
    bool ended, broken;       /* by the peer's close_notify; by nonsense in a layer */
    struct imap_input in;     /* as it came */
    struct imap_input packed; /* decrypted and not yet inflated */
    struct imap_input plain;  /* decoded, and the session had no room for it */
    struct buf out;           /* encoded */
};

void imap_channel_release(struct imap_channel *ch);
/* Takes the bytes of *from (which it leaves empty) if it has used up all that it had; else nothing happens. */
void imap_channel_put(struct imap_channel *ch, struct buf *from);
/* TLS from here on: what came in clear behind the command that asked for it is thrown away. */
void imap_channel_begin_tls(struct imap_channel *ch, struct imap_tls_context *context);
/* DEFLATE from here on; early: what was decoded behind the command that asked for it, emptied. */
void imap_channel_begin_deflate(struct imap_channel *ch, struct buf *early);
/* A step; OK: done, handshaking is false. */
enum imap_tls_step imap_channel_handshake(struct imap_channel *ch);
/* Decodes and feeds what the session has room for; true if that was anything. */
bool imap_channel_feed(struct imap_channel *ch, struct imap_session *s);
/* There is input that was not fed: run again. */
bool imap_channel_has_input(const struct imap_channel *ch);
/* Encodes the session's output; flush: at the end of it. Without layers it stays where it is. */
void imap_channel_drain(struct imap_channel *ch, struct imap_session *s, bool flush);
/* Before a layer begins: the session's output so far goes out as it would without. */
void imap_channel_settle(struct imap_channel *ch, struct imap_session *s);
/* The session's last words are drained. */
void imap_channel_close(struct imap_channel *ch);
/* What is to be written now. View until imap_channel_wrote. s may be NULL. */
struct bytes imap_channel_output(const struct imap_channel *ch, const struct imap_session *s);
void imap_channel_wrote(struct imap_channel *ch, struct imap_session *s);
/* Idle for a while. */
void imap_channel_rest(struct imap_channel *ch);

#endif

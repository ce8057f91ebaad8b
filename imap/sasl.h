/*
 * sasl: one exchange of AUTHENTICATE by GNU SASL, without sockets and without waiting.
 *
 *     sasl = imap_sasl_new(s, mechanism);                  // NULL: not to be had on this connection
 *     switch (imap_sasl_step(sasl, message, &challenge)) {
 *     case IMAP_SASL_MORE: ...                             // say "+ " and the challenge in base64, give the answer to step
 *     case IMAP_SASL_WAIT: ...                             // after sasl->wait_ms: imap_sasl_again
 *     case IMAP_SASL_RIGHT: ...                            // sasl->account, sasl->archive
 *     }
 *
 * Nothing is checked before the attempt was admitted (mds/query.h, "Logins of a server"). One answer for every kind of failure; why is for the log.
 */
#ifndef IMAP_SASL_H
#define IMAP_SASL_H

#include "session_private.h"

enum imap_sasl_result {
    IMAP_SASL_MORE,
    IMAP_SASL_WAIT,
    IMAP_SASL_RIGHT,
    IMAP_SASL_WRONG,
    IMAP_SASL_MALFORMED, /* no message of this mechanism */
    IMAP_SASL_FAILED,    /* the store did: told in err */
};

struct imap_sasl;
/* Appends " AUTH=..." for what this connection may use now, as capabilities. */
void imap_sasl_say_mechanisms(const struct imap_session *s, struct buf *out, size_t begin);
/* How one may log in here: of the transport, or without one by imap_session_allow_login. */
enum imap_login_rule imap_sasl_rule(const struct imap_session *s);
/* The LOGIN command, and mechanisms, that the listener's list allows. */
bool imap_sasl_allows(const struct imap_session *s, const char *mechanism);
/* A mechanism's name in any case, of which this server knows how. */
bool imap_sasl_knows(struct bytes mechanism);

/* The mechanism's name in any case. NULL: there is none of that name here; *privacy_out: but with TLS there would be. */
struct imap_sasl *imap_sasl_new(struct imap_session *s, struct bytes mechanism, bool *privacy_out);
/* The LOGIN command: the same way without messages; step is called once, with nothing. Both are copied. */
struct imap_sasl *imap_sasl_new_login(struct imap_session *s, const char *user, const char *password);
void imap_sasl_free(struct imap_sasl **sasl);
/* The server speaks first (LOGIN). */
bool imap_sasl_server_first(const struct imap_sasl *sasl);
/* message: decoded. challenge_out: bytes to be encoded, after MORE. */
enum imap_sasl_result imap_sasl_step(struct imap_sasl *sasl, struct bytes message, struct buf *challenge_out);
/* After WAIT. */
enum imap_sasl_result imap_sasl_again(struct imap_sasl *sasl, struct buf *challenge_out);
uint32_t imap_sasl_wait_ms(const struct imap_sasl *sasl);

/* Views of the exchange; account may be hostile text. why: static, for the log, after WRONG. */
const char *imap_sasl_name(const struct imap_sasl *sasl);
const char *imap_sasl_account(const struct imap_sasl *sasl);
const char *imap_sasl_archive(const struct imap_sasl *sasl);
const char *imap_sasl_why(const struct imap_sasl *sasl);
bool imap_sasl_remembered(const struct imap_sasl *sasl);
const struct mdsq_error *imap_sasl_error(const struct imap_sasl *sasl);

#endif

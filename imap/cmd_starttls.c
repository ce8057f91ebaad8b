/*
 * cmd_starttls: STARTTLS (RFC 3501 6.2.1). The handshake is the transport's, and so is what came in clear behind the
 * command: it is thrown away (CVE-2011-0411).
 */
#include "session_private.h"

IMAP_RUN(imap_cmd_starttls)
{
    if (!s->transport || !s->transport->starttls)
        return imap_reply(c, IMAP_BAD, NULL,
                          s->transport && s->transport->tls ? "TLS is there already" : "TLS is not to be had here");
    s->upgrade = IMAP_RUN_STARTTLS;
    return imap_reply(c, IMAP_OK, NULL, "Begin TLS negotiation now");
}

/* cmd_any: the commands of every state: CAPABILITY, NOOP (and CHECK), LOGOUT, ID; NAMESPACE and ENABLE beside
 * them. */
#include "session_private.h"

IMAP_RUN(imap_cmd_capability)
{
    buf_append_str(&s->out, "* CAPABILITY ");
    imap_session_capabilities(s, &s->out);
    buf_append_str(&s->out, "\r\n");
    return imap_reply(c, IMAP_OK, NULL, "CAPABILITY completed");
}

/* NOOP and CHECK do nothing: the news comes with every answer. */
IMAP_RUN(imap_cmd_noop)
{
    (void)s;
    return imap_reply(c, IMAP_OK, NULL, "Completed");
}

IMAP_RUN(imap_cmd_logout)
{
    buf_append_str(&s->out, "* BYE Logging out\r\n");
    s->state = IMAP_STATE_LOGOUT;
    c->keep_view_quiet = true;
    return imap_reply(c, IMAP_OK, NULL, "LOGOUT completed");
}

/*
 * RFC 2971: id = "ID" SP id_params_list
 * id_params_list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil
 */
IMAP_PARSE(imap_parse_id)
{
    enum { PAIRS_MAX = 30 };
    struct bytes v;
    bool nil;
    (void)s, (void)c;
    if (!imap_take_sp(at))
        return false;
    if (imap_at_word(at, "NIL"))
        return imap_take_word(at, "NIL");
    if (!imap_take_byte(at, '('))
        return false;
    for (int pairs = 0; !imap_at_byte(at, ')'); pairs++) {
        if (pairs == PAIRS_MAX)
            return imap_cursor_fail(at, "more than 30 fields");
        if ((pairs > 0 && !imap_take_sp(at)) || !imap_take_string(at, &v) || !imap_take_sp(at) ||
            !imap_take_nstring(at, &v, &nil))
            return false;
    }
    return imap_take_byte(at, ')');
}

IMAP_RUN(imap_cmd_id)
{
    buf_append_str(&s->out, "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\n");
    return imap_reply(c, IMAP_OK, NULL, "ID completed");
}

/* RFC 2342: one personal namespace without a prefix. */
IMAP_RUN(imap_cmd_namespace)
{
    buf_append_str(&s->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    return imap_reply(c, IMAP_OK, NULL, "NAMESPACE completed");
}

/* RFC 5161: enable = "ENABLE" 1*(SP capability). Names that we do not know, or need no enabling, are ignored.
 */
IMAP_PARSE(imap_parse_enable)
{
    struct bytes v;
    (void)s, (void)c;
    do {
        if (!imap_take_sp(at) || !imap_take_atom(at, &v))
            return false;
    } while (!imap_at_end(at));
    return true;
}

IMAP_RUN(imap_cmd_enable)
{
    buf_append_str(&s->out, "* ENABLED\r\n");
    return imap_reply(c, IMAP_OK, NULL, "ENABLE completed");
}

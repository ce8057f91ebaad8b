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

/* ---- ID (RFC 2971) ------------------------------------------------------------------------- */

enum { ID_PAIRS_MAX = 30, ID_FIELD_MAX_BYTES = 30, ID_VALUE_MAX_BYTES = 1024, CLIENT_MAX_BYTES = 200 };

struct id_args {
    struct bytes name, version;
};

/* id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil) */
IMAP_PARSE(imap_parse_id)
{
    struct id_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at))
        return false;
    if (imap_at_word(at, "NIL"))
        return imap_take_word(at, "NIL");
    if (!imap_take_byte(at, '('))
        return false;
    for (int pairs = 0; !imap_at_byte(at, ')'); pairs++) {
        struct bytes field, value;
        bool nil;
        if (pairs == ID_PAIRS_MAX)
            return imap_cursor_fail(at, "more than 30 fields");
        if ((pairs > 0 && !imap_take_sp(at)) || !imap_take_string(at, &field) || !imap_take_sp(at) ||
            !imap_take_nstring(at, &value, &nil))
            return false;
        if (field.n > ID_FIELD_MAX_BYTES || value.n > ID_VALUE_MAX_BYTES)
            return imap_cursor_fail(at, "field too long");
        if (bytes_equal_nocase(field, BYTES_LIT("name")))
            a->name = value;
        else if (bytes_equal_nocase(field, BYTES_LIT("version")))
            a->version = value;
    }
    return imap_take_byte(at, ')');
}

static void put_printable(struct buf *out, struct bytes v)
{
    for (size_t i = 0; i < v.n && out->n < CLIENT_MAX_BYTES; i++)
        buf_append_byte(out, v.p[i] >= 0x20 && v.p[i] < 0x7f ? v.p[i] : '?');
}

static void keep_client(struct imap_session *s, const struct id_args *a)
{
    struct buf client = {0};
    put_printable(&client, a->name);
    if (a->version.n) {
        buf_append_byte(&client, ' ');
        put_printable(&client, a->version);
    }
    free(s->client);
    s->client = strndup(client.n ? (const char *)client.p : "", client.n);
    ASSERT(s->client);
    buf_release(&client);
}

IMAP_RUN(imap_cmd_id)
{
    struct buf before = {0}, after = {0};
    keep_client(s, c->args);
    imap_session_capabilities(s, &before);
    imap_session_remask(s);
    imap_session_capabilities(s, &after);
    buf_append_str(&s->out, "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\n");
    /* Some clients do not honour all that they enable: they are told less from here on. */
    if (!bytes_equal(buf_bytes(&before), buf_bytes(&after))) {
        buf_append_str(&s->out, "* CAPABILITY ");
        buf_append_bytes(&s->out, buf_bytes(&after));
        buf_append_str(&s->out, "\r\n");
    }
    buf_release(&before);
    buf_release(&after);
    return imap_reply(c, IMAP_OK, NULL, "ID completed");
}

/* ---- NAMESPACE, ENABLE ------------------------------------------------------------------------ */

/* RFC 2342: one personal namespace without a prefix. */
IMAP_RUN(imap_cmd_namespace)
{
    buf_append_str(&s->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    return imap_reply(c, IMAP_OK, NULL, "NAMESPACE completed");
}

static const struct {
    const char *name;
    unsigned brings; /* enum imap_enabled */
} enables[] = {
    {"CONDSTORE", IMAP_ENABLED_CONDSTORE},
    {"QRESYNC", IMAP_ENABLED_QRESYNC | IMAP_ENABLED_CONDSTORE},
    {"UTF8=ACCEPT", IMAP_ENABLED_UTF8},
    {"IMAP4rev2", IMAP_ENABLED_REV2},
};
enum { ENABLES_N = sizeof enables / sizeof enables[0] };

struct enable_args {
    bool asked[ENABLES_N];
};

/* RFC 5161: enable = "ENABLE" 1*(SP capability). Names that we do not know, or that need no enabling, are ignored. */
IMAP_PARSE(imap_parse_enable)
{
    struct enable_args *a = imap_command_args(c, sizeof *a);
    struct bytes v;
    (void)s;
    if (!a)
        return false;
    do {
        if (!imap_take_sp(at) || !imap_take_atom(at, &v))
            return false;
        for (size_t i = 0; i < ENABLES_N; i++)
            a->asked[i] |= bytes_equal_nocase(v, bytes_str(enables[i].name));
    } while (!imap_at_end(at));
    return true;
}

IMAP_RUN(imap_cmd_enable)
{
    const struct enable_args *a = c->args;
    buf_append_str(&s->out, "* ENABLED");
    for (size_t i = 0; i < ENABLES_N; i++)
        if (a->asked[i] && imap_session_offers(s, enables[i].name))
            buf_printf(&s->out, " %s", enables[i].name);
    buf_append_str(&s->out, "\r\n");
    for (size_t i = 0; i < ENABLES_N; i++) {
        if (!a->asked[i] || !imap_session_offers(s, enables[i].name))
            continue;
        if (enables[i].brings & IMAP_ENABLED_CONDSTORE)
            imap_enable_condstore(s);
        s->enabled |= enables[i].brings;
    }
    return imap_reply(c, IMAP_OK, NULL, "ENABLE completed");
}

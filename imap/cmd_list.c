/* cmd_list: LIST, LSUB (RFC 3501 6.3.8, 6.3.9) with CHILDREN (RFC 3348) and SPECIAL-USE (RFC 6154)
 * attributes. */
#include "session_private.h"

#include "wire/utf7.h"
#include "wire/writer.h"

struct list_args {
    const char *reference, *pattern; /* UTF-8 */
    bool nothing;                    /* no name could match: not modified UTF-7 */
};

static const char *to_utf8(struct imap_command *c, struct bytes raw, bool *ok)
{
    struct buf utf8 = {0};
    *ok = imap_utf7_decode(raw, &utf8);
    const char *copy = arena_strndup(c->arena, utf8.p, utf8.n);
    buf_release(&utf8);
    return copy;
}

/* list = "LIST" SP mailbox SP list-mailbox */
IMAP_PARSE(imap_parse_list)
{
    struct bytes reference, pattern;
    bool reference_ok, pattern_ok;
    struct list_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_astring(at, &reference) || !imap_take_sp(at) ||
        !imap_take_list_mailbox(at, &pattern))
        return false;
    a->reference = to_utf8(c, reference, &reference_ok);
    a->pattern = to_utf8(c, pattern, &pattern_ok);
    a->nothing = !reference_ok || !pattern_ok;
    return (a->reference && a->pattern) || imap_cursor_fail(at, "Command too large");
}

struct list_sink {
    struct buf *out;
    const char *word;
    bool attributes; /* LIST's; LSUB has \Noselect only */
};

static void attribute(struct buf *out, size_t begin, const char *name)
{
    if (out->n > begin)
        buf_append_byte(out, ' ');
    buf_append_str(out, name);
}

static int say_folder(const struct mdsq_folder *folder, void *arg)
{
    static const char *const special[] = {NULL,        "\\All",  "\\Archive", "\\Drafts",
                                          "\\Flagged", "\\Junk", "\\Sent",    "\\Trash"};
    const struct list_sink *sink = arg;
    struct buf *out = sink->out;
    buf_printf(out, "* %s (", sink->word);
    size_t begin = out->n;
    if (folder->attrs & MDSQ_FOLDER_NOSELECT)
        attribute(out, begin, "\\Noselect");
    if (sink->attributes) {
        attribute(out, begin, folder->attrs & MDSQ_FOLDER_HAS_CHILDREN ? "\\HasChildren" : "\\HasNoChildren");
        if (folder->special_use > 0 && folder->special_use < sizeof special / sizeof special[0])
            attribute(out, begin, special[folder->special_use]);
    }
    buf_append_str(out, ") \"/\" ");
    imap_write_mailbox(out, folder->name);
    buf_append_str(out, "\r\n");
    return 0;
}

static enum imap_step list(struct imap_session *s, struct imap_command *c, bool subscribed, const char *done)
{
    const struct list_args *a = c->args;
    struct mdsq_error err = {0};
    struct list_sink sink = {&s->out, subscribed ? "LSUB" : "LIST", !subscribed};
    if (a->nothing)
        return imap_reply(c, IMAP_OK, NULL, done);
    if (!a->pattern[0] && !subscribed) {
        /* The delimiter and the root of the reference: names have no root here. */
        buf_append_str(&s->out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
        return imap_reply(c, IMAP_OK, NULL, done);
    }
    if (!imap_session_reader(s, &err) ||
        mdsq_list(s->reader, a->reference, a->pattern, subscribed, say_folder, &sink, &err) < 0)
        return imap_reply_error(s, c, &err);
    return imap_reply(c, IMAP_OK, NULL, done);
}

IMAP_RUN(imap_cmd_list)
{
    return list(s, c, false, "LIST completed");
}

IMAP_RUN(imap_cmd_lsub)
{
    return list(s, c, true, "LSUB completed");
}

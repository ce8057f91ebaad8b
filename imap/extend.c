/* extend: what the extensions give all commands: "$", names in UTF-8, keywords as they come up. */
#include "session_private.h"

#include "wire/writer.h"

void imap_say_mailbox(struct imap_session *s, const char *utf8)
{
    if (imap_session_utf8(s))
        imap_write_mailbox_utf8(&s->out, utf8);
    else
        imap_write_mailbox(&s->out, utf8);
}

int imap_set_parse(struct imap_session *s, struct bytes text, bool is_uid, struct mdsq_set **out, struct mdsq_error *err)
{
    if (text.n != 1 || text.p[0] != '$')
        return mdsq_set_parse(s->view, (const char *)text.p, text.n, is_uid, out, err);
    /* What was expunged since is not in the view any more (RFC 5182 2.1: it is removed from the result). */
    if (s->saved)
        return mdsq_set_in_view(s->saved, s->view, out, err);
    return mdsq_set_numbers("", 0, 0, out, err);
}

/* A keyword a client has not been told of yet: RFC 3501 7.2.6 has FLAGS say what may come. */
static int say_keyword(const char *name, void *arg)
{
    struct buf *out = arg;
    enum { LINE_MAX_BYTES = 32 << 10 };
    if (out->n + strlen(name) > LINE_MAX_BYTES)
        return 1;
    buf_append_byte(out, ' ');
    buf_append_str(out, name);
    return 0;
}

void imap_say_keywords(struct imap_session *s)
{
    struct mdsq_error err = {0};
    struct buf names = {0};
    uint32_t n = 0;
    if (!s->view || !imap_session_reader(s, &err) || mdsq_keywords(s->reader, NULL, NULL, &n, &err) < 0 ||
        n <= s->told_keywords)
        return;
    if (mdsq_keywords(s->reader, say_keyword, &names, &n, &err) >= 0) {
        buf_printf(&s->out, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft%.*s)\r\n", (int)names.n,
                   names.n ? (const char *)names.p : "");
        if (!s->read_only)
            buf_printf(&s->out, "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft%.*s \\*)] Flags permitted\r\n",
                       (int)names.n, names.n ? (const char *)names.p : "");
        s->told_keywords = n;
    }
    buf_release(&names);
}

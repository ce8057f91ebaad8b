/* cmd_select: SELECT, EXAMINE (RFC 3501 6.3.1, 6.3.2), CLOSE, UNSELECT (RFC 3691). Folders are read-only. */
#include "session_private.h"

struct mailbox_args {
    const char *mailbox;
};

/* SP mailbox: SELECT, EXAMINE, CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE */
bool imap_parse_mailbox_only(struct imap_session *s, struct imap_command *c, struct imap_cursor *at)
{
    struct mailbox_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    return a && imap_take_sp(at) && imap_take_mailbox(at, &a->mailbox);
}

IMAP_RUN(imap_cmd_select)
{
    const struct mailbox_args *a = c->args;
    struct mdsq_view_info info = {0};
    struct mdsq_error err = {0};
    /* Whatever comes of it, the folder selected before is not any more. */
    imap_session_unselect(s);
    imap_session_reopen_archive(s);
    c->keep_view_quiet = true;
    uint64_t tick = mdsq_archive_tick(s->archive);
    if (!imap_session_reader(s, &err) || mdsq_view_open(s->reader, a->mailbox, &s->view, &err) < 0) {
        s->view = NULL;
        return imap_reply_error(s, c, &err);
    }
    if (mdsq_view_get_info(s->reader, s->view, &info, &err) < 0) {
        mdsq_view_close(&s->view);
        return imap_reply_error(s, c, &err);
    }
    s->state = IMAP_STATE_SELECTED;
    s->tick = tick;
    s->expunge_untold = false;
    s->told_exists = mdsq_view_count(s->view);
    buf_append_str(&s->out, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n");
    buf_printf(&s->out, "* %u EXISTS\r\n* 0 RECENT\r\n", s->told_exists);
    if (info.first_unseen)
        buf_printf(&s->out, "* OK [UNSEEN %u] First unseen\r\n", info.first_unseen);
    buf_printf(&s->out, "* OK [PERMANENTFLAGS ()] Read-only\r\n* OK [UIDVALIDITY %u] UIDs valid\r\n", info.uidvalidity);
    buf_printf(&s->out, "* OK [UIDNEXT %u] Predicted next UID\r\n", info.uidnext);
    return imap_reply(c, IMAP_OK, "READ-ONLY", "Mailbox selected");
}

/* CLOSE expunges nothing in a folder that is read-only, so both are the same. */
IMAP_RUN(imap_cmd_close)
{
    imap_session_unselect(s);
    return imap_reply(c, IMAP_OK, NULL, "Mailbox closed");
}

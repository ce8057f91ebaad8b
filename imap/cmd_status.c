/* cmd_status: STATUS (RFC 3501 6.3.10). */
#include "session_private.h"

#include "wire/writer.h"

enum { ITEMS_MAX = 16 };

enum status_item { STATUS_MESSAGES, STATUS_RECENT, STATUS_UIDNEXT, STATUS_UIDVALIDITY, STATUS_UNSEEN };
static const char *const item_names[] = {"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"};

struct status_args {
    const char *mailbox;
    enum status_item items[ITEMS_MAX];
    size_t n;
};

/* status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" */
IMAP_PARSE(imap_parse_status)
{
    struct status_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_mailbox(at, &a->mailbox) || !imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    do {
        struct bytes name;
        size_t k = 0;
        if ((a->n > 0 && !imap_take_sp(at)) || !imap_take_atom(at, &name))
            return false;
        while (k < sizeof item_names / sizeof item_names[0] && !bytes_equal_nocase(name, bytes_str(item_names[k])))
            k++;
        if (k == sizeof item_names / sizeof item_names[0])
            return imap_cursor_fail(at, "Unknown status item");
        if (a->n == ITEMS_MAX)
            return imap_cursor_fail(at, "Too many status items");
        a->items[a->n++] = (enum status_item)k;
    } while (!imap_at_byte(at, ')'));
    return imap_take_byte(at, ')');
}

IMAP_RUN(imap_cmd_status)
{
    const struct status_args *a = c->args;
    struct mdsq_status status = {0};
    struct mdsq_error err = {0};
    if (!imap_session_reader(s, &err) || mdsq_status(s->reader, a->mailbox, &status, &err) < 0)
        return imap_reply_error(s, c, &err);
    const uint32_t values[] = {status.messages, status.recent, status.uidnext, status.uidvalidity, status.unseen};
    buf_append_str(&s->out, "* STATUS ");
    imap_write_mailbox(&s->out, a->mailbox);
    for (size_t i = 0; i < a->n; i++)
        buf_printf(&s->out, "%s%s %u", i ? " " : " (", item_names[a->items[i]], values[a->items[i]]);
    buf_append_str(&s->out, ")\r\n");
    return imap_reply(c, IMAP_OK, NULL, "STATUS completed");
}

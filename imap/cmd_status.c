/*
 * cmd_status: STATUS (RFC 3501 6.3.10) with SIZE (RFC 8438), DELETED (RFC 9051), HIGHESTMODSEQ (RFC 7162), MAILBOXID
 * (RFC 8474) and APPENDLIMIT (RFC 7889). Every answer is a counter of the folder's row.
 */
#include "status_items.h"

struct status_args {
    const char *mailbox;
    struct imap_status_items items;
};

enum status_item {
    STATUS_MESSAGES,
    STATUS_RECENT,
    STATUS_UIDNEXT,
    STATUS_UIDVALIDITY,
    STATUS_UNSEEN,
    STATUS_DELETED,
    STATUS_SIZE,
    STATUS_HIGHESTMODSEQ,
    STATUS_MAILBOXID,
    STATUS_APPENDLIMIT,
};
static const char *const item_names[] = {"MESSAGES", "RECENT", "UIDNEXT",       "UIDVALIDITY", "UNSEEN",
                                         "DELETED",  "SIZE",   "HIGHESTMODSEQ", "MAILBOXID",   "APPENDLIMIT"};

bool imap_take_status_items(struct imap_cursor *at, struct imap_status_items *out)
{
    const size_t names_n = sizeof item_names / sizeof item_names[0];
    if (!imap_take_byte(at, '('))
        return false;
    do {
        struct bytes name;
        size_t k = 0;
        if ((out->n > 0 && !imap_take_sp(at)) || !imap_take_atom(at, &name))
            return false;
        while (k < names_n && !bytes_equal_nocase(name, bytes_str(item_names[k])))
            k++;
        if (k == names_n)
            return imap_cursor_fail(at, "Unknown status item");
        if (out->n == IMAP_STATUS_ITEMS_MAX)
            return imap_cursor_fail(at, "Too many status items");
        out->v[out->n++] = (uint8_t)k;
        out->modseq |= k == STATUS_HIGHESTMODSEQ;
        out->recent |= k == STATUS_RECENT;
    } while (!imap_at_byte(at, ')'));
    return imap_take_byte(at, ')');
}

void imap_status_items_add(struct imap_status_items *items, const char *name)
{
    uint8_t k = 0;
    while (strcmp(item_names[k], name) != 0)
        k++;
    ASSERT(items->n < IMAP_STATUS_ITEMS_MAX);
    items->v[items->n++] = k;
}

static uint64_t value_of(const struct imap_session *s, enum status_item item, const struct mdsq_status *status)
{
    switch (item) {
    case STATUS_MESSAGES: return status->messages;
    case STATUS_RECENT: return status->recent;
    case STATUS_UIDNEXT: return status->uidnext;
    case STATUS_UIDVALIDITY: return status->uidvalidity;
    case STATUS_UNSEEN: return status->unseen;
    case STATUS_DELETED: return status->deleted;
    case STATUS_SIZE: return status->size;
    case STATUS_HIGHESTMODSEQ: return status->highestmodseq;
    case STATUS_APPENDLIMIT: return s->limits.append_bytes;
    case STATUS_MAILBOXID: break;
    }
    return 0;
}

void imap_say_status(struct imap_session *s, const char *mailbox, const struct imap_status_items *items,
                     const struct mdsq_status *status)
{
    buf_append_str(&s->out, "* STATUS ");
    imap_say_mailbox(s, mailbox);
    for (size_t i = 0; i < items->n; i++) {
        const enum status_item item = (enum status_item)items->v[i];
        buf_append_str(&s->out, i ? " " : " (");
        buf_append_str(&s->out, item_names[item]);
        buf_append_byte(&s->out, ' ');
        if (item == STATUS_MAILBOXID)
            buf_printf(&s->out, "(%s)", status->mailbox_id);
        else
            buf_append_u64_dec(&s->out, value_of(s, item, status));
    }
    buf_append_str(&s->out, ")\r\n");
}

/* status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" */
IMAP_PARSE(imap_parse_status)
{
    struct status_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    return a && imap_take_sp(at) && imap_take_mailbox(at, &a->mailbox) && imap_take_sp(at) &&
           imap_take_status_items(at, &a->items);
}

IMAP_RUN(imap_cmd_status)
{
    const struct status_args *a = c->args;
    struct mdsq_status status = {0};
    struct mdsq_error err = {0};
    if (!imap_session_reader(s, &err) || mdsq_status(s->reader, a->mailbox, &status, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (a->items.modseq)
        imap_enable_condstore(s);
    imap_say_status(s, a->mailbox, &a->items, &status);
    return imap_reply(c, IMAP_OK, NULL, "STATUS completed");
}

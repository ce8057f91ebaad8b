/*
 * cmd_copy: COPY, MOVE and their UID forms (RFC 3501 6.4.7, RFC 6851), with COPYUID (RFC 4315).
 *
 * One change each, all or nothing. MOVE says COPYUID in an untagged OK, before the news tells what is gone from here.
 * RFC 2180 4.4: messages expunged meanwhile are passed over; if none is left and the command named them by number the
 * answer is NO. RFC 5182 2.1: an empty "$" is a list that names nothing.
 */
#include "cmd_change.h"

struct copy_args {
    struct bytes set_text;
    const char *to;
    bool move, none; /* none: an empty "$" */
    struct mdsq_set *set;
    struct buf code;
};

/* copy = "COPY" SP sequence-set SP mailbox; move likewise */
IMAP_PARSE(imap_parse_copy)
{
    struct copy_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a)
        return false;
    a->move = strcmp(c->row->name, "MOVE") == 0;
    return imap_take_sp(at) && imap_take_sequence_set(at, &a->set_text) && imap_take_sp(at) &&
           imap_take_mailbox(at, &a->to);
}

void imap_release_copy(struct imap_command *c)
{
    struct copy_args *a = c->args;
    mdsq_set_free(&a->set);
    buf_release(&a->code);
}

void imap_put_uids(struct buf *out, const struct mdsq_set *set)
{
    uint64_t pos = 0;
    uint32_t first, last;
    const char *before = "";
    while (set && mdsq_set_next_range(set, NULL, &pos, &first, &last)) {
        buf_printf(out, first == last ? "%s%u" : "%s%u:%u", before, first, last);
        before = ",";
    }
}

static enum imap_step finish(struct imap_session *s, struct imap_command *c, struct copy_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_outcome o;
    if (imap_outcome(c, &o, &err) < 0)
        return imap_reply_change_error(s, c, &err, o.no_destination);
    if (!o.source || mdsq_set_count(o.source) == 0)
        return c->uid || a->none ? imap_reply(c, IMAP_OK, NULL, "No such message")
                      : imap_reply(c, IMAP_NO, "EXPUNGEISSUED", "The messages no longer exist");
    buf_printf(&a->code, "COPYUID %u ", o.uidvalidity);
    imap_put_uids(&a->code, o.source);
    buf_append_byte(&a->code, ' ');
    imap_put_uids(&a->code, o.dest);
    if (!a->move) {
        buf_append_byte(&a->code, 0);
        return imap_reply(c, IMAP_OK, (const char *)a->code.p, "COPY completed");
    }
    buf_append_str(&s->out, "* OK [");
    buf_append_bytes(&s->out, buf_bytes(&a->code));
    buf_append_str(&s->out, "] Moved\r\n");
    c->say_highestmodseq = true;
    return imap_reply(c, IMAP_OK, NULL, "MOVE completed");
}

static enum imap_step begin(struct imap_session *s, struct imap_command *c, struct copy_args *a)
{
    struct mdsq_error err = {0};
    if (a->move && s->read_only)
        return imap_reply_read_only(s, c);
    c->audit_to = a->to;
    if (imap_set_parse(s, a->set_text, c->uid, &a->set, &err) < 0)
        return imap_reply_error(s, c, &err);
    a->none = mdsq_set_count(a->set) == 0;
    int rc = a->move ? mdsq_change_move(s->archive, s->view, a->set, a->to, &c->change, &err)
                     : mdsq_change_copy(s->archive, s->view, a->set, a->to, &c->change, &err);
    return rc < 0 ? imap_reply_change_error(s, c, &err, true) : IMAP_STEP_MORE;
}

IMAP_RUN(imap_cmd_copy)
{
    struct copy_args *a = c->args;
    enum imap_step step;
    if (!c->change && (step = begin(s, c, a)) == IMAP_STEP_DONE)
        return step;
    if ((step = imap_commit(s, c)) != IMAP_STEP_DONE)
        return step;
    return finish(s, c, a);
}

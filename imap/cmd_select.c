/*
 * cmd_select: SELECT, EXAMINE (RFC 3501 6.3.1, 6.3.2; CONDSTORE and QRESYNC of RFC 7162), CLOSE, UNSELECT (RFC 3691).
 *
 * What a client with QRESYNC missed is told in slices behind the usual answers: VANISHED (EARLIER), then FETCH of what
 * changed.
 */
#include "session_private.h"

#include "notify.h"

struct mailbox_args {
    const char *mailbox;
};

struct select_args {
    const char *mailbox;
    const char *given; /* its name as the client spelled it, if otherwise */
    bool condstore, qresync;
    uint32_t uidvalidity;
    uint64_t modseq;
    struct bytes known_uids, match_seqs, match_uids; /* sets; empty: not given */
    /* where the resynchronisation stands */
    struct mdsq_set *vanished, *changed;
    struct mdsq_fetch *fetch;
    uint64_t at;
};

enum { STAND_OPEN, STAND_VANISHED, STAND_CHANGED };

/* SP mailbox: SELECT, EXAMINE, CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE */
bool imap_parse_mailbox_only(struct imap_session *s, struct imap_command *c, struct imap_cursor *at)
{
    struct mailbox_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    return a && imap_take_sp(at) && imap_take_old_mailbox(at, &a->mailbox);
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* A sequence set of numbers alone */
static bool take_numbers(struct imap_cursor *at, struct bytes *out)
{
    if (!imap_take_sequence_set(at, out))
        return false;
    if (memchr(out->p, '*', out->n) || out->p[0] == '$')
        return imap_cursor_fail(at, "known UIDs and numbers are named without * and $");
    return true;
}

/*
 * "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"
 * seq-match-data = "(" known-sequence-set SP known-uid-set ")"
 */
static bool take_qresync(struct imap_cursor *at, struct select_args *a)
{
    if (!imap_take_sp(at) || !imap_take_byte(at, '(') || !imap_take_nz_number(at, &a->uidvalidity) ||
        !imap_take_sp(at) || !imap_take_number64(at, &a->modseq))
        return false;
    if (a->modseq == 0)
        return imap_cursor_fail(at, "a modification sequence is above 0");
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!imap_at_byte(at, '(')) {
            if (a->known_uids.n || a->match_uids.n || !take_numbers(at, &a->known_uids))
                return imap_cursor_fail(at, "unexpected set");
            continue;
        }
        at->p++;
        if (a->match_uids.n || !take_numbers(at, &a->match_seqs) || !imap_take_sp(at) ||
            !take_numbers(at, &a->match_uids) || !imap_take_byte(at, ')'))
            return imap_cursor_fail(at, "bad sequence match data");
    }
    return imap_take_byte(at, ')');
}

static bool take_parameter(struct imap_session *s, struct imap_cursor *at, struct select_args *a)
{
    if (imap_at_word(at, "CONDSTORE") && !a->condstore) {
        a->condstore = true;
        return imap_take_word(at, "CONDSTORE");
    }
    if (imap_at_word(at, "QRESYNC") && !a->qresync) {
        a->qresync = true;
        if (!(s->enabled & IMAP_ENABLED_QRESYNC))
            return imap_cursor_fail(at, "QRESYNC is not enabled");
        return imap_take_word(at, "QRESYNC") && take_qresync(at, a);
    }
    return imap_cursor_fail(at, "Unknown parameter");
}

/* SP mailbox [SP "(" select-param *(SP select-param) ")"] */
IMAP_PARSE(imap_parse_select)
{
    struct select_args *a = imap_command_args(c, sizeof *a);
    if (!a || !imap_take_sp(at) || !imap_take_old_mailbox(at, &a->mailbox))
        return false;
    a->given = at->given;
    if (imap_at_end(at))
        return true;
    if (!imap_take_sp(at) || !imap_take_byte(at, '(') || !take_parameter(s, at, a))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!take_parameter(s, at, a))
            return false;
    }
    return imap_take_byte(at, ')');
}

void imap_release_select(struct imap_command *c)
{
    struct select_args *a = c->args;
    mdsq_fetch_free(&a->fetch);
    mdsq_set_free(&a->vanished);
    mdsq_set_free(&a->changed);
}

/* ---- what the client missed --------------------------------------------------------------------- */

/*
 * RFC 7162 3.2.5.2: pairs of sequence numbers and UIDs as the client knew them. A pair that still holds says that
 * nothing up to it was expunged; the first one that does not ends the search, as numbers only fall. Returns the highest
 * UID of a pair that holds, or 0; *bad_out if the two sets do not pair.
 */
static uint32_t last_match(const struct imap_session *s, const struct mdsq_set *seqs, const struct mdsq_set *uids,
                           bool *bad_out)
{
    uint64_t seqs_at = 0, uids_at = 0;
    uint32_t seq = 1, seq_last = 0, uid = 1, uid_last = 0, matched = 0;
    *bad_out = mdsq_set_count(seqs) != mdsq_set_count(uids);
    while (!*bad_out) {
        if (seq > seq_last && !mdsq_set_next_range(seqs, NULL, &seqs_at, &seq, &seq_last))
            break;
        if (uid > uid_last && !mdsq_set_next_range(uids, NULL, &uids_at, &uid, &uid_last))
            break;
        uint32_t n = seq_last - seq < uid_last - uid ? seq_last - seq : uid_last - uid;
        if (mdsq_view_seq(s->view, uid + n) != seq + n) {
            /* Inside a run of pairs the last that holds is not looked for: it is a hint. */
            if (mdsq_view_seq(s->view, uid) == seq)
                matched = uid;
            break;
        }
        matched = uid + n;
        seq += n + 1;
        uid += n + 1;
    }
    return matched;
}

static int cut(struct mdsq_set **set, const struct mdsq_set *by,
               int (*how)(const struct mdsq_set *, const struct mdsq_set *, struct mdsq_set **, struct mdsq_error *),
               struct mdsq_error *err)
{
    struct mdsq_set *less = NULL;
    int rc = how(*set, by, &less, err);
    if (rc >= 0) {
        mdsq_set_free(set);
        *set = less;
    }
    return rc;
}

/* Where the log does not reach back, every UID that is not there is told but those that the client has shown to know.
 */
static int leave_out_matched(struct imap_session *s, struct select_args *a, struct mdsq_error *err)
{
    struct mdsq_set *seqs = NULL, *uids = NULL, *below = NULL;
    bool bad = false;
    char text[32];
    int rc = mdsq_set_numbers((const char *)a->match_seqs.p, a->match_seqs.n, 0, &seqs, err);
    if (rc >= 0)
        rc = mdsq_set_numbers((const char *)a->match_uids.p, a->match_uids.n, 0, &uids, err);
    uint32_t matched = rc >= 0 ? last_match(s, seqs, uids, &bad) : 0;
    if (matched) {
        snprintf(text, sizeof text, "1:%u", matched);
        rc = mdsq_set_numbers(text, strlen(text), 0, &below, err);
        if (rc >= 0)
            rc = cut(&a->vanished, below, mdsq_set_minus, err);
    }
    mdsq_set_free(&seqs);
    mdsq_set_free(&uids);
    mdsq_set_free(&below);
    return rc;
}

static int begin_resync(struct imap_session *s, struct select_args *a, struct mdsq_error *err)
{
    struct mdsq_set *known = NULL;
    bool complete = false;
    int rc = mdsq_view_changes(s->reader, s->view, a->modseq, &a->changed, &a->vanished, &complete, err);
    if (rc >= 0 && a->known_uids.n) {
        rc = mdsq_set_numbers((const char *)a->known_uids.p, a->known_uids.n, 0, &known, err);
        if (rc >= 0)
            rc = cut(&a->vanished, known, mdsq_set_and, err);
        if (rc >= 0)
            rc = cut(&a->changed, known, mdsq_set_and, err);
    }
    if (rc >= 0 && !complete && a->match_uids.n)
        rc = leave_out_matched(s, a, err);
    mdsq_set_free(&known);
    if (rc >= 0)
        rc = mdsq_fetch_new(s->reader, s->view, a->changed, MDSQ_FETCH_FLAGS | MDSQ_FETCH_MODSEQ, &a->fetch, err);
    return rc;
}

/* MORE or DONE: all was told. What cannot be read is left to the client's next look. */
static enum imap_step tell_changed(struct imap_session *s, struct select_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_message m;
    int rc;
    if (!imap_session_reader(s, &err))
        return IMAP_STEP_DONE;
    mdsq_fetch_rebind(a->fetch, s->reader);
    while ((rc = mdsq_fetch_next(a->fetch, &m, &err)) > 0 || rc == MDSQ_ERR_CORRUPT) {
        /* Without a log back to then, all messages are looked at. */
        if (rc < 0 || m.gone || m.modseq <= a->modseq)
            continue;
        buf_printf(&s->out, "* %u FETCH (UID %u FLAGS ", m.seq, m.uid);
        imap_put_flags(s, &m);
        buf_append_str(&s->out, " MODSEQ (");
        buf_append_u64_dec(&s->out, m.modseq);
        buf_append_str(&s->out, "))\r\n");
        if (imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    return IMAP_STEP_DONE;
}

/* ---- opening -------------------------------------------------------------------------------------- */

static void say_opened(struct imap_session *s, const struct select_args *a, const struct mdsq_view_info *info)
{
    const bool rev2 = s->enabled & IMAP_ENABLED_REV2;
    struct buf *out = &s->out;
    buf_printf(out, "* %u EXISTS\r\n", s->told_exists);
    imap_recent_say(s, true);
    if (!rev2 && info->first_unseen)
        buf_printf(out, "* OK [UNSEEN %u] First unseen\r\n", info->first_unseen);
    buf_printf(out, "* OK [UIDVALIDITY %u] UIDs valid\r\n", info->uidvalidity);
    buf_printf(out, "* OK [UIDNEXT %u] Predicted next UID\r\n", info->uidnext);
    buf_append_str(out, "* OK [HIGHESTMODSEQ ");
    buf_append_u64_dec(out, info->highestmodseq);
    buf_append_str(out, "] Highest\r\n");
    buf_printf(out, "* OK [MAILBOXID (%s)] Ok\r\n", info->mailbox_id);
    if (rev2)
        imap_say_its_list(s, a->mailbox, a->given ? a->given : a->mailbox);
}

/* 0, or an error with no folder selected. */
static int open_folder(struct imap_session *s, struct imap_command *c, struct select_args *a, struct mdsq_error *err)
{
    struct mdsq_view_info info = {0};
    const bool replaced = s->view != NULL;
    /* Whatever comes of it, the folder selected before is not any more. */
    imap_session_unselect(s);
    if (replaced)
        buf_append_str(&s->out, "* OK [CLOSED] Previous mailbox closed\r\n");
    imap_session_reopen_archive(s);
    c->keep_view_quiet = true;
    if (!imap_session_reader(s, err) || mdsq_view_open(s->reader, a->mailbox, &s->view, err) < 0) {
        s->view = NULL;
        return err->code;
    }
    int rc = mdsq_view_get_info(s->reader, s->view, &info, err);
    if (rc >= 0 && a->qresync && a->uidvalidity == info.uidvalidity)
        rc = begin_resync(s, a, err);
    if (rc < 0) {
        mdsq_view_close(&s->view);
        return rc;
    }
    s->state = IMAP_STATE_SELECTED;
    s->tick = mdsq_reader_tick(s->reader);
    s->expunge_untold = false;
    s->told_exists = mdsq_view_count(s->view);
    s->told_modseq = info.highestmodseq;
    s->read_only = c->row->name[0] == 'E' || !mdsq_archive_writable(s->archive);
    snprintf(s->selected_id, sizeof s->selected_id, "%s", info.mailbox_id);
    free(s->folder);
    s->folder = strdup(a->mailbox);
    imap_notify_selected(s);
    if (a->condstore)
        s->enabled |= IMAP_ENABLED_CONDSTORE;
    imap_recent_take(s);
    imap_say_keywords(s);
    say_opened(s, a, &info);
    return 0;
}

IMAP_RUN(imap_cmd_select)
{
    struct select_args *a = c->args;
    struct mdsq_error err = {0};
    if (c->where == STAND_OPEN) {
        if (open_folder(s, c, a, &err) < 0)
            return imap_reply_error(s, c, &err);
        c->where = STAND_VANISHED;
    }
    if (c->where == STAND_VANISHED) {
        if (a->vanished && !imap_say_vanished_earlier(s, a->vanished, &a->at))
            return IMAP_STEP_MORE;
        c->where = STAND_CHANGED;
    }
    if (a->fetch && tell_changed(s, a) == IMAP_STEP_MORE)
        return IMAP_STEP_MORE;
    return imap_reply(c, IMAP_OK, s->read_only ? "READ-ONLY" : "READ-WRITE", "Mailbox selected");
}

/* CLOSE expunges nothing in a folder that is read-only, so both are the same. */
IMAP_RUN(imap_cmd_close)
{
    imap_session_unselect(s);
    return imap_reply(c, IMAP_OK, NULL, "Mailbox closed");
}

/*
 * cmd_expunge: EXPUNGE, UID EXPUNGE (RFC 4315) and CLOSE.
 *
 * What has \Deleted is searched for in slices and expunged in pieces; the news of the command tells what is gone. CLOSE
 * tells nothing and ends with the folder left, whatever became of its expunge.
 */
#include "cmd_change.h"

#include "pieces.h"

enum { DELETED = 8, SEARCH_MS = 20 };

struct expunge_args {
    struct bytes set_text; /* of UID EXPUNGE */
    bool close;
    struct mdsq_set *among; /* set_text's */
    struct mdsq_search *search;
    struct mdsq_set *set; /* what has \Deleted */
    struct imap_pieces pieces;
};

/* "EXPUNGE", "CLOSE"; uid-expunge = "UID" SP "EXPUNGE" SP sequence-set */
IMAP_PARSE(imap_parse_expunge)
{
    struct expunge_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a)
        return false;
    a->close = strcmp(c->row->name, "CLOSE") == 0;
    return !c->uid || (imap_take_sp(at) && imap_take_sequence_set(at, &a->set_text));
}

void imap_release_expunge(struct imap_command *c)
{
    struct expunge_args *a = c->args;
    mdsq_search_free(&a->search);
    mdsq_set_free(&a->set);
    mdsq_set_free(&a->among);
}

/* ---- what is to be expunged -------------------------------------------------------------------- */

static int begin_search(struct imap_session *s, const struct imap_command *c, struct expunge_args *a,
                        struct mdsq_error *err)
{
    static const struct mdsq_key deleted = {.kind = MDSQ_KEY_FLAG, .number = DELETED};
    if (c->uid && imap_set_parse(s, a->set_text, true, &a->among, err) < 0)
        return err->code;
    return mdsq_search_new(s->view, &deleted, &a->search, err);
}

/* 1: again in the next run. */
static int search(struct imap_session *s, struct expunge_args *a, struct mdsq_error *err)
{
    uint64_t unreadable;
    if (!imap_session_reader(s, err))
        return err->code;
    int rc = mdsq_search_run(a->search, s->reader, SEARCH_MS, err);
    if (rc == 0)
        rc = mdsq_search_take(a->search, &a->set, &unreadable, err);
    if (rc == 0 && a->among) {
        struct mdsq_set *both = NULL;
        rc = mdsq_set_and(a->set, a->among, &both, err);
        mdsq_set_free(&a->set);
        a->set = both;
    }
    return rc;
}

/* ---- the command --------------------------------------------------------------------------------- */

static enum imap_step finish(struct imap_session *s, struct imap_command *c, const struct expunge_args *a)
{
    if (a->close) {
        imap_session_unselect(s);
        c->say_highestmodseq = false; /* RFC 7162 3.2.8 */
        return imap_reply(c, IMAP_OK, NULL, "Mailbox closed");
    }
    return imap_reply(c, IMAP_OK, NULL, "EXPUNGE completed");
}

static enum imap_step fail(struct imap_session *s, struct imap_command *c, const struct expunge_args *a,
                           const struct mdsq_error *err)
{
    imap_reply_change_error(s, c, err, false);
    if (!a->close)
        return IMAP_STEP_DONE;
    /* CLOSE has no NO: the client is out of the folder, and told why its messages are still there. */
    buf_printf(&s->out, "* NO %s%s%s%s\r\n", c->code ? "[" : "", c->code ? c->code : "", c->code ? "] " : "", c->text);
    return finish(s, c, a);
}

/* The next piece is committed; DONE: with an outcome, or there is none and the command is over (*over_out). */
static enum imap_step step_piece(struct imap_session *s, struct imap_command *c, struct expunge_args *a, bool *over_out)
{
    struct mdsq_error err = {0};
    struct mdsq_outcome o;
    if (!c->change) {
        struct mdsq_set *piece = NULL;
        int rc = imap_pieces_next(&a->pieces, &piece, &err);
        if (rc > 0)
            rc = mdsq_change_expunge(s->archive, s->view, piece, &c->change, &err);
        else if (rc == 0)
            *over_out = true;
        mdsq_set_free(&piece);
        if (rc < 0) {
            *over_out = true;
            return fail(s, c, a, &err);
        }
        if (*over_out)
            return finish(s, c, a);
    }
    enum imap_step step = imap_commit(s, c);
    if (step != IMAP_STEP_DONE)
        return step;
    if (imap_outcome(c, &o, &err) < 0) {
        *over_out = true;
        return fail(s, c, a, &err);
    }
    c->say_highestmodseq |= o.changed && mdsq_set_count(o.changed) > 0;
    imap_commit_drop(c);
    return IMAP_STEP_DONE;
}

IMAP_RUN(imap_cmd_expunge)
{
    struct expunge_args *a = c->args;
    struct mdsq_error err = {0};
    if (s->read_only)
        return a->close ? finish(s, c, a) : imap_reply_read_only(s, c);
    if (!a->search && begin_search(s, c, a, &err) < 0)
        return a->close ? fail(s, c, a, &err) : imap_reply_error(s, c, &err);
    if (!a->set) {
        int rc = search(s, a, &err);
        if (rc < 0)
            return fail(s, c, a, &err);
        if (rc > 0)
            return IMAP_STEP_MORE;
    }
    a->pieces.set = a->set;
    while (!imap_session_should_yield(s)) {
        bool over = false;
        enum imap_step step = step_piece(s, c, a, &over);
        if (over || step != IMAP_STEP_DONE)
            return step;
    }
    return IMAP_STEP_MORE;
}

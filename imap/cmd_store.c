/*
 * cmd_store: STORE and UID STORE (RFC 3501 6.4.6), conditional too (RFC 7162 3.1.3).
 *
 * A set is stored in pieces of some thousand messages: a piece is committed, then the FETCH answers of it are said,
 * then comes the next one. The modseqs that the pieces took are kept from the news that follows. RFC 2180 4.2: messages
 * that were expunged meanwhile are passed over; without UID the answer is then NO.
 */
#include "cmd_change.h"

#include "flag_args.h"
#include "pieces.h"

struct store_args {
    struct bytes set_text;
    enum mdsq_store_mode mode;
    bool silent, conditional;
    uint64_t unchanged_since;
    struct mdsq_flags flags;
    /* where it stands */
    struct mdsq_set *set;
    struct imap_pieces pieces;
    struct mdsq_fetch *fetch;  /* of the piece that was committed */
    struct mdsq_set *modified; /* so far; NULL: none */
    uint64_t done;             /* messages stored or refused */
    struct buf code;           /* of the tagged line */
};

enum { NEXT, COMMIT, ANSWER };

/*
 * store-modifiers = SP "(" store-modifier *(SP store-modifier) ")"
 * store-modifier = "UNCHANGEDSINCE" SP mod-sequence-valzer
 */
static bool take_modifiers(struct imap_cursor *at, struct store_args *a)
{
    if (!imap_take_byte(at, '('))
        return false;
    do {
        if (a->conditional)
            return imap_cursor_fail(at, "Modifier given twice");
        if (!imap_at_word(at, "UNCHANGEDSINCE"))
            return imap_cursor_fail(at, "Unknown modifier");
        if (!imap_take_word(at, "UNCHANGEDSINCE") || !imap_take_sp(at) || !imap_take_number64(at, &a->unchanged_since))
            return false;
        a->conditional = true;
    } while (imap_at_byte(at, ' ') && imap_take_sp(at));
    return imap_take_byte(at, ')') && imap_take_sp(at);
}

/* store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag))) */
static bool take_what(struct imap_cursor *at, struct store_args *a)
{
    struct bytes name;
    a->mode = imap_at_byte(at, '+') ? MDSQ_STORE_ADD : imap_at_byte(at, '-') ? MDSQ_STORE_REMOVE : MDSQ_STORE_REPLACE;
    if (a->mode != MDSQ_STORE_REPLACE)
        at->p++;
    if (!imap_take_atom(at, &name))
        return false;
    a->silent = bytes_equal_nocase(name, BYTES_LIT("FLAGS.SILENT"));
    if (!a->silent && !bytes_equal_nocase(name, BYTES_LIT("FLAGS")))
        return imap_cursor_fail(at, "Only FLAGS can be stored");
    return imap_take_sp(at) && imap_take_store_flags(at, &a->flags);
}

/* store = "STORE" SP sequence-set [store-modifiers] SP store-att-flags */
IMAP_PARSE(imap_parse_store)
{
    struct store_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_sequence_set(at, &a->set_text) || !imap_take_sp(at))
        return false;
    if (imap_at_byte(at, '(') && !take_modifiers(at, a))
        return false;
    return take_what(at, a);
}

void imap_release_store(struct imap_command *c)
{
    struct store_args *a = c->args;
    mdsq_fetch_free(&a->fetch);
    mdsq_set_free(&a->set);
    mdsq_set_free(&a->modified);
    buf_release(&a->code);
}

/* ---- the end ---------------------------------------------------------------------------------- */

/* "MODIFIED 7,9": numbers as the command's were. */
static const char *modified_code(struct imap_session *s, struct imap_command *c, struct store_args *a)
{
    uint64_t pos = 0;
    uint32_t first, last;
    const char *before = "MODIFIED ";
    if (!a->modified || mdsq_set_count(a->modified) == 0)
        return NULL;
    while (mdsq_set_next_range(a->modified, c->uid ? NULL : s->view, &pos, &first, &last)) {
        buf_printf(&a->code, first == last ? "%s%u" : "%s%u:%u", before, first, last);
        before = ",";
    }
    buf_append_byte(&a->code, 0);
    return (const char *)a->code.p;
}

static enum imap_step finish(struct imap_session *s, struct imap_command *c, struct store_args *a)
{
    const char *modified = modified_code(s, c, a);
    /* RFC 2180 4.2 leaves NO or OK to us. All that still exists has been stored, and the client is about to be told what does not. */
    if (!c->uid && a->done < mdsq_set_count(a->set))
        return imap_reply(c, IMAP_OK, modified ? modified : "EXPUNGEISSUED", "Some of the messages no longer exist");
    return imap_reply(c, IMAP_OK, modified,
                      modified ? "Conditional STORE left some of the messages" : "STORE completed");
}

/* ---- one piece -------------------------------------------------------------------------------- */

static enum imap_step next_piece(struct imap_session *s, struct imap_command *c, struct store_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_set *piece = NULL;
    imap_commit_drop(c);
    int rc = imap_pieces_next(&a->pieces, &piece, &err);
    if (rc == 0)
        return finish(s, c, a);
    if (rc > 0)
        rc = mdsq_change_store(s->archive, s->view, piece, a->mode, &a->flags,
                               a->conditional ? &a->unchanged_since : NULL, &c->change, &err);
    mdsq_set_free(&piece);
    if (rc < 0)
        return imap_reply_change_error(s, c, &err, false);
    c->where = COMMIT;
    return IMAP_STEP_MORE;
}

static int add_modified(struct store_args *a, const struct mdsq_set *more, struct mdsq_error *err)
{
    struct mdsq_set *both = NULL;
    if (!more || mdsq_set_count(more) == 0)
        return 0;
    a->done += mdsq_set_count(more);
    int rc = a->modified ? mdsq_set_or(a->modified, more, &both, err) : mdsq_set_or(more, more, &both, err);
    if (rc < 0)
        return rc;
    mdsq_set_free(&a->modified);
    a->modified = both;
    return 0;
}

/* What was committed; its FETCH answers, if any, are begun. */
static int take_outcome(struct imap_session *s, struct imap_command *c, struct store_args *a, struct mdsq_error *err)
{
    struct mdsq_outcome o;
    int rc = imap_outcome(c, &o, err);
    if (rc < 0)
        return rc;
    const bool modseqs = s->enabled & IMAP_ENABLED_CONDSTORE;
    const uint64_t changed = o.changed ? mdsq_set_count(o.changed) : 0;
    imap_news_own(s, o.modseq_first, o.modseq_last, !a->silent);
    a->done += changed;
    if ((rc = add_modified(a, o.modified, err)) < 0)
        return rc;
    if (changed == 0 || (a->silent && !modseqs))
        return 0;
    if (!imap_session_reader(s, err))
        return err->code;
    return mdsq_fetch_new(s->reader, s->view, o.changed,
                          (a->silent ? 0 : MDSQ_FETCH_FLAGS) | (modseqs ? MDSQ_FETCH_MODSEQ : 0), &a->fetch, err);
}

/* RFC 7162: MODSEQ in every answer once the client knows it, .SILENT or not; UID too with QRESYNC. */
static void say_message(struct imap_session *s, const struct imap_command *c, const struct store_args *a,
                        const struct mdsq_message *m)
{
    const char *sp = "";
    buf_printf(&s->out, "* %u FETCH (", m->seq);
    if (c->uid || s->enabled & IMAP_ENABLED_QRESYNC) {
        buf_printf(&s->out, "UID %u", m->uid);
        sp = " ";
    }
    if (!a->silent) {
        buf_printf(&s->out, "%sFLAGS ", sp);
        imap_put_flags(s, m);
        sp = " ";
    }
    if (s->enabled & IMAP_ENABLED_CONDSTORE) {
        buf_printf(&s->out, "%sMODSEQ (", sp);
        buf_append_u64_dec(&s->out, m->modseq);
        buf_append_byte(&s->out, ')');
    }
    buf_append_str(&s->out, ")\r\n");
}

static enum imap_step answer(struct imap_session *s, struct imap_command *c, struct store_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_message m;
    int rc;
    if (!imap_session_reader(s, &err))
        return imap_reply_error(s, c, &err);
    mdsq_fetch_rebind(a->fetch, s->reader);
    while ((rc = mdsq_fetch_next(a->fetch, &m, &err)) != 0) {
        if (rc < 0 && rc != MDSQ_ERR_CORRUPT)
            return imap_reply_error(s, c, &err);
        if (rc > 0 && !m.gone)
            say_message(s, c, a, &m);
        if (imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    mdsq_fetch_free(&a->fetch);
    c->where = NEXT;
    return IMAP_STEP_MORE;
}

static enum imap_step begin(struct imap_session *s, struct imap_command *c, struct store_args *a)
{
    struct mdsq_error err = {0};
    if (s->read_only)
        return imap_reply_read_only(s, c);
    if (imap_set_parse(s, a->set_text, c->uid, &a->set, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (a->conditional)
        imap_enable_condstore(s);
    a->pieces.set = a->set;
    return IMAP_STEP_MORE;
}

enum imap_step imap_reply_read_only(struct imap_session *s, struct imap_command *c)
{
    if (mdsq_archive_writable(s->archive))
        return imap_reply(c, IMAP_NO, "READ-ONLY", "Mailbox was opened read-only");
    return imap_reply_change_error(s, c, &(struct mdsq_error){.code = MDSQ_ERR_READONLY}, false);
}

IMAP_RUN(imap_cmd_store)
{
    struct store_args *a = c->args;
    struct mdsq_error err = {0};
    enum imap_step step = IMAP_STEP_MORE;
    if (!a->set && (step = begin(s, c, a)) == IMAP_STEP_DONE)
        return step;
    do {
        switch (c->where) {
        case NEXT: step = next_piece(s, c, a); break;
        case COMMIT:
            if ((step = imap_commit(s, c)) != IMAP_STEP_DONE)
                break;
            if (take_outcome(s, c, a, &err) < 0)
                return imap_reply_change_error(s, c, &err, false);
            if (a->fetch && !a->silent)
                imap_say_keywords(s);
            c->where = a->fetch ? ANSWER : NEXT;
            step = IMAP_STEP_MORE;
            break;
        default: step = answer(s, c, a); break;
        }
    } while (step == IMAP_STEP_MORE && !imap_session_should_yield(s));
    return step;
}

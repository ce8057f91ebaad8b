/*
 * cmd_append: APPEND (RFC 3501 6.3.11) with MULTIAPPEND (RFC 3502), CATENATE (RFC 4469), BINARY's literal8 (RFC 3516),
 * UTF8 (RFC 6855), APPENDLIMIT (RFC 7889); REPLACE (RFC 8508).
 *
 *     append          = "APPEND" SP mailbox 1*append-message
 *     replace         = "REPLACE" SP seq-number SP mailbox append-message
 *     append-message  = [SP flag-list] [SP date-time] SP append-data
 *     append-data     = literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")"
 *     cat-part        = "TEXT" SP literal / "URL" SP astring
 *
 * The text comes piece by piece, cut by the literals, whose bytes go straight into a draft: what a client sends is
 * never in memory as a whole. What can be refused is refused before the client sends it: no such mailbox, too large,
 * nothing at all. All messages are filed in one change at the end.
 */
#include "cmd_change.h"

#include "base/log.h"
#include "flag_args.h"
#include "imap_url.h"

enum {
    MESSAGES_MAX = 500, /* of one command; a draft is up to 64 KiB of memory or a file */
    TOTAL_FACTOR = 16,  /* all of them together are at most so many times APPENDLIMIT */
    CHUNK_BYTES = 64 << 10,
};

enum expect {
    EXPECT_MESSAGE,  /* SP ... */
    EXPECT_PART,     /* of CATENATE */
    EXPECT_PART_END, /* SP or ")" */
    EXPECT_CLOSE,    /* ")" of UTF8 */
    EXPECT_NOTHING,  /* of this message: its one literal is in */
    EXPECT_END,      /* the next message or the command's end */
};

enum { BEGIN, PARSE, URL, COMMIT };

struct append_args {
    const char *mailbox;
    struct bytes number; /* of REPLACE */
    bool replace;
    uint32_t uid; /* of REPLACE, in the view */
    /* where it stands */
    enum expect expect;
    struct mdsq_append
        *messages; /* whole ones and the one at hand, which is the last; drafts are ours until the change is made */
    size_t messages_n;
    uint64_t total_bytes; /* of the whole ones */
    bool binary, utf8, catenate;
    struct imap_url url;
    struct bytes url_text;
    struct mdsq_body *body; /* of url, being copied */
    uint64_t body_at, body_end;
    struct buf code;
};

static bool append_data(struct imap_session *s, struct imap_command *c, struct bytes piece);

/* What stands before the first message. It must not be a view: the text goes when a literal is let in. */
static bool parse_head(struct imap_command *c, struct imap_cursor *at, bool replace)
{
    struct append_args *a = imap_command_args(c, sizeof *a);
    c->data = append_data;
    if (!a)
        return false;
    a->replace = replace;
    if (replace) {
        if (!imap_take_sp(at))
            return false;
        const uint8_t *begin = at->p;
        uint32_t n;
        if (imap_at_byte(at, '*'))
            at->p++;
        else if (!imap_take_nz_number(at, &n))
            return false;
        a->number = bytes_of(begin, (size_t)(at->p - begin)); /* used before anything is let in */
    }
    return imap_take_sp(at) && imap_take_mailbox(at, &a->mailbox);
}

IMAP_PARSE(imap_parse_append)
{
    (void)s;
    return parse_head(c, at, false);
}

IMAP_PARSE(imap_parse_replace)
{
    (void)s;
    return parse_head(c, at, true);
}

void imap_release_append(struct imap_command *c)
{
    struct append_args *a = c->args;
    for (size_t i = 0; i < a->messages_n; i++)
        mdsq_draft_free(&a->messages[i].draft);
    free(a->messages);
    mdsq_body_close(&a->body);
    buf_release(&a->code);
}

/* ---- the message at hand ------------------------------------------------------------------------- */

static struct mdsq_append *message(struct append_args *a)
{
    return &a->messages[a->messages_n - 1];
}

static bool begin_message(struct append_args *a)
{
    if (a->messages_n == MESSAGES_MAX)
        return false;
    struct mdsq_append *more = realloc(a->messages, (a->messages_n + 1) * sizeof *more);
    ASSERT(more);
    a->messages = more;
    a->messages[a->messages_n++] = (struct mdsq_append){.draft = NULL};
    a->binary = a->utf8 = a->catenate = false;
    return true;
}

/* There is a draft, with room for `more` bytes; else an answer. */
static bool make_room(struct imap_session *s, struct imap_command *c, struct append_args *a, uint64_t more)
{
    struct mdsq_append *m = message(a);
    struct mdsq_error err = {0};
    if (!m->draft && mdsq_draft_new(s->archive, &m->draft, &err) < 0) {
        m->draft = NULL;
        imap_reply_change_error(s, c, &err, false);
        return false;
    }
    uint64_t has = mdsq_draft_size(m->draft);
    if (has > s->limits.append_bytes || more > s->limits.append_bytes - has) {
        imap_reply(c, IMAP_NO, "TOOBIG", "Message is larger than APPENDLIMIT");
        return false;
    }
    if (a->total_bytes + has + more > TOTAL_FACTOR * (uint64_t)s->limits.append_bytes) {
        imap_reply(c, IMAP_NO, "LIMIT", "Messages are too large for one command");
        return false;
    }
    return true;
}

static bool write_draft(struct imap_session *s, struct imap_command *c, struct append_args *a, const void *p, size_t n)
{
    struct mdsq_error err = {0};
    if (mdsq_draft_write(message(a)->draft, p, n, &err) == 0)
        return true;
    imap_reply_change_error(s, c, &err, false);
    return false;
}

static bool append_data(struct imap_session *s, struct imap_command *c, struct bytes piece)
{
    struct append_args *a = c->args;
    if (!a->binary && memchr(piece.p, 0, piece.n)) {
        imap_reply(c, IMAP_BAD, NULL, "NUL in a literal");
        return false;
    }
    return write_draft(s, c, a, piece.p, piece.n);
}

/* Parses, hashes and packs it here, on a thread of the pool, so that the writer has little to do. */
static enum imap_step end_message(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_append *m = message(a);
    if (!m->draft || mdsq_draft_size(m->draft) == 0)
        return imap_reply(c, IMAP_NO, "CANNOT", "A message of no bytes is none"); /* RFC 3502 6.3.11 */
    a->total_bytes += mdsq_draft_size(m->draft);
    if (mdsq_draft_finish(m->draft, &err) < 0)
        return imap_reply_change_error(s, c, &err, false);
    a->expect = EXPECT_END;
    return IMAP_STEP_MORE;
}

/* ---- CATENATE's URLs --------------------------------------------------------------------------------- */

/* The URL comes back to the client as far as it is one: printable ASCII. */
static enum imap_step bad_url(struct imap_command *c, struct append_args *a)
{
    bool plain = a->url_text.n > 0 && a->url_text.n <= 1000;
    for (size_t i = 0; i < a->url_text.n; i++)
        plain &= a->url_text.p[i] > 0x20 && a->url_text.p[i] < 0x7f && !strchr("\"\\]", a->url_text.p[i]);
    buf_reset(&a->code);
    buf_append_str(&a->code, "BADURL \"");
    if (plain)
        buf_append_bytes(&a->code, a->url_text);
    buf_append(&a->code, "\"", 2);
    return imap_reply(c, IMAP_NO, (const char *)a->code.p, "Cannot fetch what the URL names");
}

/* Its own view, as the URL may name another folder than the selected one, and what this session was not told of yet. */
static int open_url(struct imap_session *s, struct append_args *a, struct mdsq_error *err)
{
    struct mdsq_view *view = NULL;
    struct mdsq_view_info info;
    const struct imap_url *url = &a->url;
    if (!imap_session_reader(s, err))
        return err->code;
    int rc = 0;
    if (url->mailbox)
        rc = mdsq_view_open(s->reader, url->mailbox, &view, err);
    else if (!s->view)
        rc = MDSQ_ERR_NOTFOUND;
    const struct mdsq_view *in = url->mailbox ? view : s->view;
    if (rc >= 0 && url->uidvalidity)
        rc = mdsq_view_get_info(s->reader, url->mailbox ? view : s->view, &info, err);
    if (rc >= 0 && url->uidvalidity && info.uidvalidity != url->uidvalidity)
        rc = MDSQ_ERR_NOTFOUND;
    if (rc >= 0 && !mdsq_view_seq(in, url->uid))
        rc = MDSQ_ERR_NOTFOUND;
    if (rc >= 0)
        rc = mdsq_body_open(s->reader, in, url->uid, &url->section, &a->body, err);
    mdsq_view_close(&view);
    return rc;
}

static enum imap_step begin_url(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct mdsq_error err = {0};
    if (!imap_url_parse(a->url_text, c->arena, &a->url))
        return bad_url(c, a);
    int rc = open_url(s, a, &err);
    if (rc < 0) {
        a->body = NULL;
        return bad_url(c, a);
    }
    uint64_t size = mdsq_body_size(a->body);
    a->body_at = a->url.partial ? a->url.first : 0;
    if (a->body_at > size)
        a->body_at = size;
    a->body_end = a->url.partial && a->url.count < size - a->body_at ? a->body_at + a->url.count : size;
    if (!make_room(s, c, a, a->body_end - a->body_at))
        return IMAP_STEP_DONE;
    c->where = URL;
    return IMAP_STEP_MORE;
}

static enum imap_step copy_url(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct buf chunk = {0};
    enum imap_step step = IMAP_STEP_MORE;
    uint8_t *to = buf_reserve(&chunk, CHUNK_BYTES);
    while (a->body_at < a->body_end && step == IMAP_STEP_MORE) {
        struct mdsq_error err = {0};
        uint64_t left = a->body_end - a->body_at;
        size_t want = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES, got = 0;
        if (mdsq_body_read(a->body, a->body_at, to, want, &got, &err) < 0 || got != want)
            step = bad_url(c, a);
        else if (!write_draft(s, c, a, to, got))
            step = IMAP_STEP_DONE;
        a->body_at += got;
        if (imap_session_should_yield(s))
            break;
    }
    buf_release(&chunk);
    if (step == IMAP_STEP_MORE && a->body_at == a->body_end) {
        mdsq_body_close(&a->body);
        a->expect = EXPECT_PART_END;
        c->where = PARSE;
    }
    return step;
}

/* ---- the text between literals -------------------------------------------------------------------------- */

/* At a literal's announcement, which ends the text; literal8 has its "~" there. */
static bool at_literal(const struct imap_command *c, const struct imap_cursor *at)
{
    const size_t left = (size_t)(at->end - at->p);
    return c->literal && (left == 0 || (left == 1 && at->p[0] == '~'));
}

/* DATA to let it in, or an answer. */
static enum imap_step let_in(struct imap_session *s, struct imap_command *c, struct append_args *a,
                             const struct imap_cursor *at)
{
    a->binary = imap_at_byte(at, '~');
    if (a->utf8 && !a->binary)
        return imap_reply(c, IMAP_BAD, NULL, "UTF8 wants a literal8");
    if (c->literal->size == 0 && !a->catenate)
        return imap_reply(c, IMAP_NO, "CANNOT", "A message of no bytes is none");
    if (!make_room(s, c, a, c->literal->size))
        return IMAP_STEP_DONE;
    a->expect = a->catenate ? EXPECT_PART_END : a->utf8 ? EXPECT_CLOSE : EXPECT_NOTHING;
    return IMAP_STEP_DATA;
}

/* [SP flag-list] [SP date-time] SP, then up to the data */
static bool take_options(struct imap_cursor *at, struct mdsq_append *m)
{
    if (!imap_take_sp(at))
        return false;
    if (imap_at_byte(at, '(') && (!imap_take_flag_args(at, &m->flags) || !imap_take_sp(at)))
        return false;
    if (imap_at_byte(at, '"')) {
        m->has_date = true;
        if (!imap_take_date_time(at, &m->internal_date, &m->internal_zone) || !imap_take_sp(at))
            return false;
    }
    return true;
}

static enum imap_step syntax(struct imap_command *c, const struct imap_cursor *at)
{
    return imap_reply(c, IMAP_BAD, NULL, at->why ? at->why : "Expected a message");
}

static enum imap_step take_message(struct imap_session *s, struct imap_command *c, struct append_args *a,
                                   struct imap_cursor *at)
{
    if (!begin_message(a))
        return imap_reply(c, IMAP_NO, "LIMIT", "Too many messages in one command");
    if (!take_options(at, message(a)))
        return syntax(c, at);
    if (at_literal(c, at))
        return let_in(s, c, a, at);
    if (imap_at_word(at, "UTF8")) {
        a->utf8 = true;
        if (!(s->enabled & (IMAP_ENABLED_UTF8 | IMAP_ENABLED_REV2)))
            return imap_reply(c, IMAP_BAD, NULL, "UTF8=ACCEPT is not enabled");
        if (!imap_take_word(at, "UTF8") || !imap_take_sp(at) || !imap_take_byte(at, '(') || !at_literal(c, at))
            return syntax(c, at);
        return let_in(s, c, a, at);
    }
    a->catenate = true;
    if (!imap_take_word(at, "CATENATE") || !imap_take_sp(at) || !imap_take_byte(at, '('))
        return syntax(c, at);
    a->expect = EXPECT_PART;
    return IMAP_STEP_MORE;
}

static enum imap_step take_part(struct imap_session *s, struct imap_command *c, struct append_args *a,
                                struct imap_cursor *at)
{
    if (imap_at_word(at, "TEXT")) {
        if (!imap_take_word(at, "TEXT") || !imap_take_sp(at) || !at_literal(c, at))
            return syntax(c, at);
        return let_in(s, c, a, at);
    }
    if (!imap_take_word(at, "URL") || !imap_take_sp(at) || !imap_take_astring(at, &a->url_text))
        return syntax(c, at);
    return begin_url(s, c, a);
}

static enum imap_step take_part_end(struct imap_session *s, struct imap_command *c, struct append_args *a,
                                    struct imap_cursor *at)
{
    if (imap_at_byte(at, ')')) {
        at->p++;
        return end_message(s, c, a);
    }
    a->expect = EXPECT_PART;
    return imap_take_sp(at) ? IMAP_STEP_MORE : syntax(c, at);
}

/* After a message: the command's end, or another one. */
static enum imap_step take_end(struct imap_command *c, struct append_args *a, struct imap_cursor *at)
{
    if (imap_at_end(at) && !c->literal) {
        c->where = COMMIT;
        return IMAP_STEP_MORE;
    }
    a->expect = EXPECT_MESSAGE;
    return a->replace ? imap_reply(c, IMAP_BAD, NULL, "REPLACE takes one message") : IMAP_STEP_MORE;
}

/* One step of the grammar. */
static enum imap_step parse(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct imap_cursor at = imap_cursor_of(c->rest, c->arena);
    enum imap_step step = IMAP_STEP_MORE;
    switch (a->expect) {
    case EXPECT_MESSAGE: step = take_message(s, c, a, &at); break;
    case EXPECT_PART: step = take_part(s, c, a, &at); break;
    case EXPECT_PART_END: step = take_part_end(s, c, a, &at); break;
    case EXPECT_CLOSE: step = imap_take_byte(&at, ')') ? end_message(s, c, a) : syntax(c, &at); break;
    case EXPECT_NOTHING: step = end_message(s, c, a); break;
    case EXPECT_END: step = take_end(c, a, &at); break;
    }
    c->rest = bytes_of(at.p, (size_t)(at.end - at.p));
    return step;
}

/* ---- the command ------------------------------------------------------------------------------------------ */

static bool exists(struct imap_session *s, const char *mailbox)
{
    struct mdsq_status status;
    struct mdsq_error err = {0};
    return !imap_session_reader(s, &err) || mdsq_status(s->reader, mailbox, &status, &err) != MDSQ_ERR_NOTFOUND;
}

static enum imap_step no_such_mailbox(struct imap_session *s, struct imap_command *c)
{
    return imap_reply_change_error(s, c, &(struct mdsq_error){.code = MDSQ_ERR_NOTFOUND}, true);
}

static enum imap_step gone(struct imap_command *c)
{
    return imap_reply(c, IMAP_NO, "NONEXISTENT", "No such message");
}

/* The message that REPLACE names. */
static enum imap_step find_replaced(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_set *set = NULL;
    uint64_t pos = 0;
    uint32_t last;
    if (s->read_only)
        return imap_reply_read_only(s, c);
    if (mdsq_set_parse(s->view, (const char *)a->number.p, a->number.n, c->uid, &set, &err) < 0)
        return imap_reply_error(s, c, &err);
    bool found = mdsq_set_next_range(set, NULL, &pos, &a->uid, &last);
    mdsq_set_free(&set);
    return found ? IMAP_STEP_MORE : gone(c);
}

/* What can be said before the client sends its message. */
static enum imap_step begin(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    enum imap_step step = IMAP_STEP_MORE;
    if (!mdsq_archive_writable(s->archive))
        return imap_reply_change_error(s, c, &(struct mdsq_error){.code = MDSQ_ERR_READONLY}, false);
    if (a->replace)
        step = find_replaced(s, c, a);
    if (step == IMAP_STEP_MORE && !exists(s, a->mailbox))
        return no_such_mailbox(s, c);
    c->where = PARSE;
    return step;
}

static enum imap_step finish(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_outcome o;
    if (imap_outcome(c, &o, &err) < 0) {
        if (err.code == MDSQ_ERR_NOTFOUND && a->replace && !o.no_destination)
            return gone(c);
        return imap_reply_change_error(s, c, &err, true);
    }
    buf_reset(&a->code);
    buf_printf(&a->code, "APPENDUID %u ", o.uidvalidity);
    imap_put_uids(&a->code, o.dest);
    buf_append_byte(&a->code, 0);
    if (!a->replace)
        return imap_reply(c, IMAP_OK, (const char *)a->code.p, "APPEND completed");
    buf_printf(&s->out, "* OK [%s] Replacement is there\r\n", (const char *)a->code.p);
    c->say_highestmodseq = true;
    return imap_reply(c, IMAP_OK, NULL, "REPLACE completed");
}

static enum imap_step commit(struct imap_session *s, struct imap_command *c, struct append_args *a)
{
    struct mdsq_error err = {0};
    if (!c->change) {
        if (a->replace)
            c->audit_to = a->mailbox;
        else
            c->audit_name = a->mailbox;
        int rc = a->replace
                     ? mdsq_change_replace(s->archive, s->view, a->uid, a->mailbox, a->messages, &c->change, &err)
                     : mdsq_change_append(s->archive, a->mailbox, a->messages, a->messages_n, &c->change, &err);
        a->messages_n = 0; /* the drafts have moved, whatever became of it */
        if (rc < 0)
            return imap_reply_change_error(s, c, &err, true);
    }
    enum imap_step step = imap_commit(s, c);
    return step == IMAP_STEP_DONE ? finish(s, c, a) : step;
}

IMAP_RUN(imap_cmd_append)
{
    struct append_args *a = c->args;
    enum imap_step step = IMAP_STEP_MORE;
    while (step == IMAP_STEP_MORE) {
        switch (c->where) {
        case BEGIN: step = begin(s, c, a); break;
        case PARSE: step = parse(s, c, a); break;
        case URL: step = copy_url(s, c, a); break;
        default: return commit(s, c, a);
        }
        if (imap_session_should_yield(s))
            break;
    }
    return step;
}

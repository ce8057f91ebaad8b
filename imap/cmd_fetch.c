/*
 * cmd_fetch: FETCH and UID FETCH, with CHANGEDSINCE and VANISHED (RFC 7162).
 *
 * An answer is made message by message: first the metadata, copied out of the store in one go (its views die
 * with the reader), then the body sections, each streamed in chunks over as many slices as it takes. The size
 * of a literal is said before its bytes are read: a vault that fails inside one breaks the connection, as
 * nothing wrong may stand where something right was announced.
 *
 * RFC 2180 4.1.2: messages expunged meanwhile are left out and the answer is NO (with UID: OK, such UIDs do
 * not exist). Likewise a body whose item is gone from the vault: what else there is of the message is given,
 * the answer is NO.
 */
#include "session_private.h"

#include "base/log.h"
#include "fetch_att.h"
#include "search_key.h"
#include "wire/writer.h"

enum { CHUNK_BYTES = 64 << 10, SEEN_AT_ONCE = 500 };

struct fetch_args {
    struct bytes set_text;
    struct imap_fetch_atts atts;
    bool has_since, wants_vanished, has_partial;
    uint64_t since;
    struct imap_partial partial;
    /* where it stands */
    struct mdsq_set *set, *vanished;
    uint64_t vanished_at;
    struct mdsq_fetch *fetch;
    uint32_t seq, uid;
    bool unseen, was_read; /* the message at hand: had no \Seen; some section was given */
    struct buf seen;       /* UIDs to become \Seen, as the text of a set */
    unsigned seen_n;
    bool line_open;                          /* "* n FETCH (" was written */
    const struct imap_fetch_body *next_body; /* of the message at hand */
    struct mdsq_body *body;                  /* being streamed */
    uint64_t body_at, body_end;
    /* what could not be given */
    bool gone, unreadable, corrupt, unknown_encoding, too_large;
};

/* SP "(" fetch-modifier *(SP fetch-modifier) ")": "CHANGEDSINCE" SP mod-sequence-value, "VANISHED", "PARTIAL" SP
 * partial-range (of UID FETCH) */
static bool take_modifiers(struct imap_cursor *at, bool uid, struct fetch_args *a)
{
    if (!imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    for (;;) {
        if (imap_at_word(at, "CHANGEDSINCE") && !a->has_since) {
            a->has_since = true;
            /* iOS says 0, which the grammar does not have: all messages. */
            if (!imap_take_word(at, "CHANGEDSINCE") || !imap_take_sp(at) || !imap_take_number64(at, &a->since))
                return false;
        } else if (imap_at_word(at, "VANISHED") && !a->wants_vanished) {
            a->wants_vanished = true;
            if (!imap_take_word(at, "VANISHED"))
                return false;
        } else if (imap_at_word(at, "PARTIAL") && uid && !a->has_partial) {
            a->has_partial = true;
            if (!imap_take_word(at, "PARTIAL") || !imap_take_sp(at) || !imap_take_partial(at, &a->partial))
                return false;
        } else {
            return imap_cursor_fail(at, "unknown FETCH modifier");
        }
        if (!imap_at_byte(at, ' '))
            return imap_take_byte(at, ')');
        at->p++;
    }
}

/* fetch = "FETCH" SP sequence-set SP ... [fetch-modifiers] */
IMAP_PARSE(imap_parse_fetch)
{
    struct fetch_args *a = imap_command_args(c, sizeof *a);
    if (!a || !imap_take_sp(at) || !imap_take_sequence_set(at, &a->set_text) || !imap_take_sp(at) ||
        !imap_take_fetch_atts(at, &a->atts))
        return false;
    if (!imap_at_end(at) && !take_modifiers(at, c->uid, a))
        return false;
    if (a->wants_vanished && (!c->uid || !a->has_since || !(s->enabled & IMAP_ENABLED_QRESYNC)))
        return imap_cursor_fail(at, "VANISHED needs UID FETCH, CHANGEDSINCE and QRESYNC enabled");
    a->atts.uid |= c->uid;
    if (a->has_since)
        a->atts.attrs |= MDSQ_FETCH_MODSEQ;
    return true;
}

void imap_release_fetch(struct imap_command *c)
{
    struct fetch_args *a = c->args;
    mdsq_body_close(&a->body);
    mdsq_fetch_free(&a->fetch);
    mdsq_set_free(&a->set);
    mdsq_set_free(&a->vanished);
    buf_release(&a->seen);
}

/* ---- one message's line -------------------------------------------------------------- */

/* The line is begun with its first attribute: one without any would be no grammar. */
static void next_attribute(struct imap_session *s, struct fetch_args *a)
{
    if (a->line_open) {
        buf_append_byte(&s->out, ' ');
    } else {
        buf_append_str(&s->out, "* ");
        buf_append_u64_dec(&s->out, a->seq);
        buf_append_str(&s->out, " FETCH (");
    }
    a->line_open = s->mid_response = true;
}

static void end_line(struct imap_session *s, struct fetch_args *a)
{
    if (a->line_open)
        buf_append_str(&s->out, ")\r\n");
    a->line_open = s->mid_response = false;
}

static void put_attribute(struct imap_session *s, struct fetch_args *a, const char *name, struct mdsq_bytes v)
{
    next_attribute(s, a);
    buf_append_str(&s->out, name);
    buf_append(&s->out, v.p, v.n);
}

static void put_extensions(struct imap_session *s, struct fetch_args *a, const struct mdsq_message *m)
{
    const unsigned attrs = a->atts.attrs;
    /* RFC 7162 3.1: once a client knows modseqs, flags come with theirs. */
    if (attrs & MDSQ_FETCH_MODSEQ || (attrs & MDSQ_FETCH_FLAGS && s->enabled & IMAP_ENABLED_CONDSTORE)) {
        next_attribute(s, a);
        buf_append_str(&s->out, "MODSEQ (");
        buf_append_u64_dec(&s->out, m->modseq);
        buf_append_byte(&s->out, ')');
    }
    if (a->atts.email_id) {
        next_attribute(s, a);
        buf_printf(&s->out, "EMAILID (%s)", m->email_id);
    }
    if (a->atts.thread_id) {
        next_attribute(s, a);
        buf_printf(&s->out, "THREADID (%s)", m->thread_id);
    }
    if (attrs & MDSQ_FETCH_SAVEDATE) {
        next_attribute(s, a);
        buf_printf(&s->out, "SAVEDATE \"%s\"", m->save_date_text);
    }
    if (attrs & MDSQ_FETCH_PREVIEW) {
        next_attribute(s, a);
        buf_append_str(&s->out, "PREVIEW ");
        imap_write_string(&s->out, bytes_of(m->preview.p, m->preview.n));
    }
}

static void put_flags(struct imap_session *s, struct fetch_args *a, const struct mdsq_message *m)
{
    next_attribute(s, a);
    buf_append_str(&s->out, "FLAGS ");
    imap_put_flags(s, m);
}

static void put_metadata(struct imap_session *s, struct fetch_args *a, const struct mdsq_message *m)
{
    const unsigned attrs = a->atts.attrs;
    if (a->atts.uid) {
        next_attribute(s, a);
        buf_append_str(&s->out, "UID ");
        buf_append_u64_dec(&s->out, m->uid);
    }
    if (attrs & MDSQ_FETCH_FLAGS)
        put_flags(s, a, m);
    if (attrs & MDSQ_FETCH_INTERNALDATE) {
        next_attribute(s, a);
        buf_append_str(&s->out, "INTERNALDATE \"");
        buf_append_str(&s->out, m->internal_date);
        buf_append_byte(&s->out, '"');
    }
    if (attrs & MDSQ_FETCH_SIZE) {
        next_attribute(s, a);
        buf_append_str(&s->out, "RFC822.SIZE ");
        buf_append_u64_dec(&s->out, m->size);
    }
    if (attrs & MDSQ_FETCH_ENVELOPE)
        put_attribute(s, a, "ENVELOPE ", m->envelope);
    if (attrs & MDSQ_FETCH_BODYSTRUCTURE)
        put_attribute(s, a, "BODYSTRUCTURE ", m->bodystructure);
    if (attrs & MDSQ_FETCH_BODY)
        put_attribute(s, a, "BODY ", m->body);
    put_extensions(s, a, m);
}

/* ---- one body section -------------------------------------------------------------------- */

static void put_label(struct imap_session *s, struct fetch_args *a, const struct imap_fetch_body *b)
{
    next_attribute(s, a);
    buf_append_bytes(&s->out, b->label);
    buf_append_byte(&s->out, ' ');
}

/* What a section that does not open means for the answer. */
static void note_unopened(struct fetch_args *a, const struct imap_fetch_body *b, const struct mdsq_error *err)
{
    const bool binary = b->section.kind == MDSQ_SECTION_BINARY;
    if (binary && err->code == MDSQ_ERR_USAGE)
        a->unknown_encoding = true;
    else if (err->code == MDSQ_ERR_LIMIT)
        a->too_large = true;
    else
        a->unreadable = true;
    if (!binary || err->code != MDSQ_ERR_USAGE)
        log_to(LOG_LEVEL_WARN, "imap: body does not open: uid=%u code=%d error=%s", a->uid, err->code, err->text);
}

/* Sets where the partial begins and ends in a section of that size. */
static void cut_partial(struct fetch_args *a, const struct imap_fetch_body *b, uint64_t size)
{
    a->body_at = b->partial ? b->first : 0;
    if (a->body_at > size)
        a->body_at = size;
    a->body_end = b->partial && b->count < size - a->body_at ? a->body_at + b->count : size;
}

/* Expunged by somebody else since its row was read. */
static bool is_expunged(struct imap_session *s, uint32_t uid)
{
    struct mdsq_set *set = NULL;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m = {0};
    char text[16];
    snprintf(text, sizeof text, "%u", uid);
    bool gone = mdsq_set_numbers(text, strlen(text), 0, &set, NULL) >= 0 &&
                mdsq_fetch_new(s->reader, s->view, set, 0, &fetch, NULL) >= 0 && mdsq_fetch_next(fetch, &m, NULL) > 0 &&
                m.gone;
    mdsq_fetch_free(&fetch);
    mdsq_set_free(&set);
    return gone;
}

/* Label and size of what is cut from a section of that size; its bytes are to follow if there are any. */
static void put_head(struct imap_session *s, struct fetch_args *a, const struct imap_fetch_body *b, uint64_t size)
{
    put_label(s, a, b);
    cut_partial(a, b, size);
    if (a->body_at == a->body_end)
        buf_append_str(&s->out, "\"\"");
    else if (b->section.kind == MDSQ_SECTION_BINARY)
        imap_write_literal8_head(&s->out, a->body_end - a->body_at);
    else
        imap_write_literal_head(&s->out, a->body_end - a->body_at);
}

/* A section that the store has, said at once. False: it must be opened. */
static bool put_stored(struct imap_session *s, struct fetch_args *a, const struct imap_fetch_body *b)
{
    struct mdsq_bytes v;
    if (b->size_only || !mdsq_fetch_section(a->fetch, &b->section, &v))
        return false;
    a->was_read = true;
    put_head(s, a, b, v.n);
    if (a->body_at < a->body_end)
        buf_append(&s->out, v.p + a->body_at, (size_t)(a->body_end - a->body_at));
    return true;
}

/* Opens the section and says its label and size. What cannot be opened is left out and counted. */
static void open_body(struct imap_session *s, struct fetch_args *a, const struct imap_fetch_body *b)
{
    struct mdsq_error err = {0};
    if (put_stored(s, a, b))
        return;
    int rc = imap_session_reader(s, &err) ? mdsq_body_open(s->reader, s->view, a->uid, &b->section, &a->body, &err)
                                          : err.code;
    if (rc < 0)
        a->body = NULL;
    if (rc == MDSQ_ERR_NOTFOUND) {
        put_label(s, a, b);
        buf_append_str(&s->out, b->size_only ? "0" : "NIL");
        return;
    }
    if (rc == MDSQ_ERR_GONE && is_expunged(s, a->uid)) {
        a->gone = true;
        return;
    }
    if (rc < 0) {
        note_unopened(a, b, &err);
        return;
    }
    a->was_read |= !b->size_only;
    if (b->size_only) {
        put_label(s, a, b);
        buf_append_u64_dec(&s->out, mdsq_body_size(a->body));
        mdsq_body_close(&a->body);
        return;
    }
    put_head(s, a, b, mdsq_body_size(a->body));
    if (a->body_at == a->body_end)
        mdsq_body_close(&a->body);
}

/* Streams until the section's end or the slice's. */
static enum imap_step stream_body(struct imap_session *s, struct fetch_args *a)
{
    while (a->body_at < a->body_end) {
        struct mdsq_error err = {0};
        size_t want = a->body_end - a->body_at < CHUNK_BYTES ? (size_t)(a->body_end - a->body_at) : CHUNK_BYTES;
        size_t got = 0;
        uint8_t *to = buf_reserve(&s->out, want);
        int rc = mdsq_body_read(a->body, a->body_at, to, want, &got, &err);
        if (rc < 0 || got != want) {
            log_to(LOG_LEVEL_WARN, "imap: body ends inside its literal, connection closed: uid=%u code=%d error=%s",
                   a->uid, rc, rc < 0 ? err.text : "short read");
            return IMAP_STEP_BREAK;
        }
        s->out.n += got;
        a->body_at += got;
        if (imap_session_should_yield(s) && a->body_at < a->body_end)
            return IMAP_STEP_MORE;
    }
    mdsq_body_close(&a->body);
    return IMAP_STEP_DONE;
}

static enum imap_step put_bodies(struct imap_session *s, struct fetch_args *a)
{
    while (a->body || a->next_body) {
        if (!a->body) {
            open_body(s, a, a->next_body);
            a->next_body = a->next_body->next;
        }
        enum imap_step step = a->body ? stream_body(s, a) : IMAP_STEP_DONE;
        if (step != IMAP_STEP_DONE)
            return step;
        if (a->next_body && imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    end_line(s, a);
    return IMAP_STEP_DONE;
}

/* ---- \Seen -------------------------------------------------------------------------------- */

static bool marks_seen(const struct imap_session *s, const struct fetch_args *a)
{
    return a->atts.sees && !s->read_only;
}

static bool is_unseen(struct mdsq_bytes flags)
{
    static const char seen[] = "\\Seen";
    return flags.n == 0 || memmem(flags.p, flags.n, seen, sizeof seen - 1) == NULL;
}

static void note_read(struct fetch_args *a)
{
    if (!a->unseen || !a->was_read)
        return;
    buf_printf(&a->seen, "%s%u", a->seen_n ? "," : "", a->uid);
    a->seen_n++;
}

static int make_seen(struct imap_session *s, struct imap_command *c, struct fetch_args *a, struct mdsq_error *err)
{
    const struct mdsq_flags seen = {.flags = 1};
    struct mdsq_set *set = NULL;
    int rc = mdsq_set_parse(s->view, (const char *)a->seen.p, a->seen.n, true, &set, err);
    if (rc >= 0)
        rc = mdsq_change_store(s->archive, s->view, set, MDSQ_STORE_ADD, &seen, NULL, &c->change, err);
    mdsq_set_free(&set);
    return rc;
}

/* PARK or DONE. */
static enum imap_step mark_seen(struct imap_session *s, struct imap_command *c, struct fetch_args *a)
{
    struct mdsq_outcome outcome;
    struct mdsq_error err = {0};
    int rc = c->change ? 0 : make_seen(s, c, a, &err);
    if (rc >= 0) {
        enum imap_step step = imap_commit(s, c);
        if (step != IMAP_STEP_DONE)
            return step;
        rc = mdsq_change_outcome(c->change, &outcome, &err);
        imap_commit_drop(c);
    }
    if (rc < 0)
        log_to(LOG_LEVEL_WARN, "imap: cannot mark messages as seen: code=%d error=%s", rc, err.text);
    buf_reset(&a->seen);
    a->seen_n = 0;
    return IMAP_STEP_DONE;
}

/* ---- the command ---------------------------------------------------------------------------- */

static enum imap_step finish(struct imap_command *c, const struct fetch_args *a)
{
    if (a->corrupt)
        return imap_reply(c, IMAP_NO, "CORRUPTION",
                          "Some of the messages' records are damaged, tell the administrator");
    if (a->unreadable)
        return imap_reply(c, IMAP_NO, "UNAVAILABLE", "Some of the messages cannot be read from the vault");
    if (a->unknown_encoding)
        return imap_reply(c, IMAP_NO, "UNKNOWN-CTE", "Some of the parts are in an unknown transfer encoding");
    if (a->too_large)
        return imap_reply(c, IMAP_NO, "LIMIT", "Some of the parts are too large to be decoded");
    if (a->gone && !c->uid)
        return imap_reply(c, IMAP_NO, "EXPUNGEISSUED", "Some of the requested messages no longer exist");
    return imap_reply(c, IMAP_OK, NULL, "FETCH completed");
}

static void replace(struct mdsq_set **set, struct mdsq_set **by)
{
    mdsq_set_free(set);
    *set = *by;
    *by = NULL;
}

/* The UIDs that the client names and that went since, but those that it will be told of as news. */
static int find_vanished(struct imap_session *s, struct fetch_args *a, const struct mdsq_set *expunged,
                         struct mdsq_error *err)
{
    struct mdsq_set *named = NULL, *known = NULL, *gone = NULL;
    struct mdsq_view_info info = {0};
    const bool saved = a->set_text.p[0] == '$';
    int rc = mdsq_view_get_info(s->reader, s->view, &info, err);
    if (rc >= 0 && saved && s->saved)
        rc = mdsq_set_and(s->saved, s->saved, &named, err);
    else if (rc >= 0)
        rc = mdsq_set_numbers((const char *)a->set_text.p, saved ? 0 : a->set_text.n,
                              info.uidnext > 1 ? info.uidnext - 1 : 1, &named, err);
    if (rc >= 0)
        rc = mdsq_set_and(expunged, named, &gone, err);
    if (rc >= 0)
        rc = mdsq_set_in_view(gone, s->view, &known, err);
    if (rc >= 0)
        rc = mdsq_set_minus(gone, known, &a->vanished, err);
    mdsq_set_free(&named);
    mdsq_set_free(&known);
    mdsq_set_free(&gone);
    return rc;
}

/* RFC 9394 3.3: of the set a part, before anything else is asked of it. */
static int keep_part(struct fetch_args *a, struct mdsq_error *err)
{
    struct mdsq_set *part = NULL;
    int rc = mdsq_set_part(a->set, a->partial.first, a->partial.last, a->partial.from_end, &part, err);
    if (rc >= 0)
        replace(&a->set, &part);
    return rc;
}

/* Of the set what changed; a log that was pruned gives all, and next_message looks at each. */
static int keep_changed(struct imap_session *s, struct fetch_args *a, struct mdsq_error *err)
{
    struct mdsq_set *changed = NULL, *expunged = NULL, *left = NULL;
    bool complete;
    int rc = mdsq_view_changes(s->reader, s->view, a->since, &changed, &expunged, &complete, err);
    if (rc >= 0)
        rc = mdsq_set_and(a->set, changed, &left, err);
    if (rc >= 0) {
        replace(&a->set, &left);
        if (a->wants_vanished)
            rc = find_vanished(s, a, expunged, err);
    }
    mdsq_set_free(&changed);
    mdsq_set_free(&expunged);
    return rc;
}

static enum imap_step begin(struct imap_session *s, struct imap_command *c, struct fetch_args *a)
{
    struct mdsq_error err = {0};
    unsigned attrs = a->atts.attrs | (marks_seen(s, a) ? (unsigned)MDSQ_FETCH_FLAGS : 0);
    if (a->atts.attrs & MDSQ_FETCH_MODSEQ)
        imap_enable_condstore(s);
    if (s->enabled & IMAP_ENABLED_CONDSTORE)
        attrs |= MDSQ_FETCH_MODSEQ;
    if (!imap_session_reader(s, &err) || imap_set_parse(s, a->set_text, c->uid, &a->set, &err) < 0 ||
        (a->has_partial && keep_part(a, &err) < 0) || (a->has_since && keep_changed(s, a, &err) < 0) ||
        mdsq_fetch_new(s->reader, s->view, a->set, attrs, &a->fetch, &err) < 0)
        return imap_reply_error(s, c, &err);
    if (a->atts.attrs & MDSQ_FETCH_FLAGS)
        imap_say_keywords(s);
    return IMAP_STEP_MORE;
}

/* More metadata; false at the end of the set or after an error, with *step_out. */
static bool next_message(struct imap_session *s, struct imap_command *c, struct fetch_args *a, enum imap_step *step_out)
{
    struct mdsq_message m;
    struct mdsq_error err = {0};
    int rc = mdsq_fetch_next(a->fetch, &m, &err);
    if (rc == MDSQ_ERR_CORRUPT) {
        log_to(LOG_LEVEL_WARN, "imap: record is damaged: error=%s", err.text);
        a->corrupt = true;
        return true;
    }
    if (rc <= 0) {
        *step_out = rc < 0 ? imap_reply_error(s, c, &err) : finish(c, a);
        return false;
    }
    if (m.gone) {
        a->gone |= !a->has_since;
        return true;
    }
    if (a->has_since && m.modseq <= a->since)
        return true;
    a->seq = m.seq;
    a->uid = m.uid;
    a->unseen = marks_seen(s, a) && is_unseen(m.flags);
    a->was_read = false;
    put_metadata(s, a, &m);
    a->next_body = a->atts.bodies;
    if (!a->next_body)
        end_line(s, a);
    return true;
}

/* Messages, each with its bodies, until the slice or the set ends. */
static enum imap_step put_messages(struct imap_session *s, struct imap_command *c, struct fetch_args *a)
{
    enum imap_step step = IMAP_STEP_MORE;
    while (a->seen_n < SEEN_AT_ONCE) {
        if (a->body || a->next_body) {
            if ((step = put_bodies(s, a)) != IMAP_STEP_DONE)
                return step;
            note_read(a);
        }
        if (imap_session_should_yield(s))
            return IMAP_STEP_MORE;
        if (!next_message(s, c, a, &step))
            return step;
    }
    return IMAP_STEP_MORE;
}

enum { STAND_BEGIN, STAND_VANISHED, STAND_MESSAGES, STAND_SEEN, STAND_LAST_SEEN };

/* Reading is being given more than header fields. */
static void audit_read(struct imap_session *s, const struct fetch_args *a)
{
    bool reads = false;
    for (const struct imap_fetch_body *b = a->atts.bodies; b; b = b->next)
        reads = reads || (!b->size_only && b->section.kind != MDSQ_SECTION_HEADER &&
                          b->section.kind != MDSQ_SECTION_HEADER_FIELDS &&
                          b->section.kind != MDSQ_SECTION_HEADER_FIELDS_NOT && b->section.kind != MDSQ_SECTION_MIME);
    if (reads && a->set)
        imap_session_audit(s, "read", s->folder, NULL, a->set, (uint32_t)mdsq_set_count(a->set));
}

IMAP_RUN(imap_cmd_fetch)
{
    struct fetch_args *a = c->args;
    struct mdsq_error err = {0};
    enum imap_step step = IMAP_STEP_MORE;
    if (c->where == STAND_BEGIN) {
        if (begin(s, c, a) == IMAP_STEP_DONE)
            return IMAP_STEP_DONE;
        audit_read(s, a);
        c->where = STAND_VANISHED;
    }
    if (c->where == STAND_VANISHED) {
        if (a->vanished && !imap_say_vanished_earlier(s, a->vanished, &a->vanished_at))
            return IMAP_STEP_MORE;
        c->where = STAND_MESSAGES;
    }
    if (c->where == STAND_MESSAGES) {
        if (!imap_session_reader(s, &err))
            return imap_reply_error(s, c, &err);
        mdsq_fetch_rebind(a->fetch, s->reader);
        step = put_messages(s, c, a);
        if (step == IMAP_STEP_BREAK || (step == IMAP_STEP_MORE && a->seen_n < SEEN_AT_ONCE))
            return step;
        if (a->seen_n == 0)
            return step;
        c->where = step == IMAP_STEP_DONE ? STAND_LAST_SEEN : STAND_SEEN;
    }
    /* The answer to the last is there already; otherwise more messages follow. */
    step = mark_seen(s, c, a);
    if (step != IMAP_STEP_DONE || c->where == STAND_LAST_SEEN)
        return step;
    c->where = STAND_MESSAGES;
    return IMAP_STEP_MORE;
}

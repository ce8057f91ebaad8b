/*
 * cmd_fetch: FETCH and UID FETCH.
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
#include "wire/writer.h"

enum { CHUNK_BYTES = 64 << 10 };

struct fetch_args {
    struct bytes set_text;
    struct imap_fetch_atts atts;
    /* where it stands */
    struct mdsq_set *set;
    struct mdsq_fetch *fetch;
    uint32_t seq, uid;
    bool line_open;                          /* "* n FETCH (" was written */
    const struct imap_fetch_body *next_body; /* of the message at hand */
    struct mdsq_body *body;                  /* being streamed */
    uint64_t body_at, body_end;
    /* what could not be given */
    bool gone, unreadable, corrupt;
};

/* fetch = "FETCH" SP sequence-set SP ... */
IMAP_PARSE(imap_parse_fetch)
{
    struct fetch_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_sequence_set(at, &a->set_text) || !imap_take_sp(at) ||
        !imap_take_fetch_atts(at, &a->atts))
        return false;
    a->atts.uid |= c->uid;
    return true;
}

void imap_release_fetch(struct imap_command *c)
{
    struct fetch_args *a = c->args;
    mdsq_body_close(&a->body);
    mdsq_fetch_free(&a->fetch);
    mdsq_set_free(&a->set);
}

/* ---- one message's line -------------------------------------------------------------- */

/* The line is begun with its first attribute: one without any would be no grammar. */
static void next_attribute(struct imap_session *s, struct fetch_args *a)
{
    if (a->line_open)
        buf_append_byte(&s->out, ' ');
    else
        buf_printf(&s->out, "* %u FETCH (", a->seq);
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

static void put_metadata(struct imap_session *s, struct fetch_args *a, const struct mdsq_message *m)
{
    const unsigned attrs = a->atts.attrs;
    if (a->atts.uid) {
        next_attribute(s, a);
        buf_printf(&s->out, "UID %u", m->uid);
    }
    if (attrs & MDSQ_FETCH_FLAGS)
        put_attribute(s, a, "FLAGS ", m->flags);
    if (attrs & MDSQ_FETCH_INTERNALDATE) {
        next_attribute(s, a);
        buf_printf(&s->out, "INTERNALDATE \"%s\"", m->internal_date);
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
}

/* ---- one body section -------------------------------------------------------------------- */

static void put_label(struct imap_session *s, struct fetch_args *a, const struct imap_fetch_body *b)
{
    next_attribute(s, a);
    buf_append_bytes(&s->out, b->label);
    buf_append_byte(&s->out, ' ');
}

/* Opens the section and says its label and size. What cannot be opened is left out and counted. */
static void open_body(struct imap_session *s, struct fetch_args *a, const struct imap_fetch_body *b)
{
    struct mdsq_error err = {0};
    int rc = imap_session_reader(s, &err) ? mdsq_body_open(s->reader, s->view, a->uid, &b->section, &a->body, &err)
                                          : err.code;
    if (rc == MDSQ_ERR_NOTFOUND) {
        put_label(s, a, b);
        buf_append_str(&s->out, "NIL");
        return;
    }
    if (rc < 0) {
        a->body = NULL;
        a->unreadable = true;
        log_to(LOG_LEVEL_WARN, "imap: body does not open: uid=%u code=%d error=%s", a->uid, rc, err.text);
        return;
    }
    uint64_t size = mdsq_body_size(a->body);
    a->body_at = b->partial ? b->first : 0;
    if (a->body_at > size)
        a->body_at = size;
    a->body_end = b->partial && b->count < size - a->body_at ? a->body_at + b->count : size;
    put_label(s, a, b);
    if (a->body_at == a->body_end) {
        buf_append_str(&s->out, "\"\"");
        mdsq_body_close(&a->body);
    } else {
        imap_write_literal_head(&s->out, a->body_end - a->body_at);
    }
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

/* ---- the command ---------------------------------------------------------------------------- */

static enum imap_step finish(struct imap_command *c, const struct fetch_args *a)
{
    if (a->corrupt)
        return imap_reply(c, IMAP_NO, "CORRUPTION",
                          "Some of the messages' records are damaged, tell the administrator");
    if (a->unreadable)
        return imap_reply(c, IMAP_NO, "UNAVAILABLE", "Some of the messages cannot be read from the vault");
    if (a->gone && !c->uid)
        return imap_reply(c, IMAP_NO, "EXPUNGEISSUED", "Some of the requested messages no longer exist");
    return imap_reply(c, IMAP_OK, NULL, "FETCH completed");
}

static enum imap_step begin(struct imap_session *s, struct imap_command *c, struct fetch_args *a)
{
    struct mdsq_error err = {0};
    if (!imap_session_reader(s, &err) ||
        mdsq_set_parse(s->view, (const char *)a->set_text.p, a->set_text.n, c->uid, &a->set, &err) < 0 ||
        mdsq_fetch_new(s->reader, s->view, a->set, a->atts.attrs, &a->fetch, &err) < 0)
        return imap_reply_error(s, c, &err);
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
        a->gone = true;
        return true;
    }
    a->seq = m.seq;
    a->uid = m.uid;
    put_metadata(s, a, &m);
    a->next_body = a->atts.bodies;
    if (!a->next_body)
        end_line(s, a);
    return true;
}

IMAP_RUN(imap_cmd_fetch)
{
    struct fetch_args *a = c->args;
    struct mdsq_error err = {0};
    enum imap_step step = IMAP_STEP_MORE;
    if (!a->fetch && (step = begin(s, c, a)) == IMAP_STEP_DONE)
        return step;
    if ((a->body || a->next_body) && (step = put_bodies(s, a)) != IMAP_STEP_DONE)
        return step;
    if (!imap_session_reader(s, &err))
        return imap_reply_error(s, c, &err);
    mdsq_fetch_rebind(a->fetch, s->reader);
    while (!imap_session_should_yield(s)) {
        if (!next_message(s, c, a, &step))
            return step;
        if (a->next_body && (step = put_bodies(s, a)) != IMAP_STEP_DONE)
            return step;
    }
    return IMAP_STEP_MORE;
}

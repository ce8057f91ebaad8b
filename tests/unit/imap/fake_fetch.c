/* fake_fetch: messages and bodies of fake_query. */
#include "fake_private.h"

#include <stdio.h>
#include <stdlib.h>

struct mdsq_fetch {
    const struct mdsq_view *view;
    const struct mdsq_set *set;
    struct mdsq_reader *reader;
    uint32_t at;
};
struct mdsq_body {
    const struct fake_message *m;
    size_t begin, end;
};

int mdsq_fetch_new(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set, unsigned attrs,
                   struct mdsq_fetch **out, struct mdsq_error *err)
{
    (void)attrs, (void)err;
    struct mdsq_fetch *f = calloc(1, sizeof *f);
    *f = (struct mdsq_fetch){view, set, reader, 0};
    fake.objects++;
    *out = f;
    return 0;
}

void mdsq_fetch_rebind(struct mdsq_fetch *fetch, struct mdsq_reader *reader)
{
    fetch->reader = reader;
}

void mdsq_fetch_free(struct mdsq_fetch **fetch)
{
    FREE(fetch)
}

static struct mdsq_bytes text(const char *s)
{
    return (struct mdsq_bytes){(const uint8_t *)s, strlen(s)};
}

int mdsq_fetch_next(struct mdsq_fetch *f, struct mdsq_message *out, struct mdsq_error *err)
{
    f->reader->unused++; /* ASan sees a reader that has ended */
    if (f->at >= f->set->n)
        return 0;
    const struct fake_message *m = fake_find(f->set->uids[f->at++]);
    *out = (struct mdsq_message){
        .uid = m->uid, .seq = mdsq_view_seq(f->view, m->uid), .gone = m->expunged, .modseq = m->modseq};
    if (m->corrupt)
        return fake_fail(err, MDSQ_ERR_CORRUPT);
    out->flags = text(m->flags);
    strcpy(out->internal_date, "17-Jul-1996 02:44:25 -0700");
    out->size = strlen(m->raw);
    out->envelope = text("(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    out->bodystructure = text("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1 NIL NIL NIL NIL)");
    out->body = text("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1)");
    return 1;
}

bool mdsq_fetch_section(struct mdsq_fetch *f, const struct mdsq_section *section, struct mdsq_bytes *out)
{
    const struct fake_message *m = fake_find(f->set->uids[f->at - 1]);
    if (!m->stored || section->path_n || section->kind != MDSQ_SECTION_HEADER_FIELDS)
        return false;
    *out = (struct mdsq_bytes){(const uint8_t *)m->raw, (size_t)(strstr(m->raw, "\r\n\r\n") - m->raw) + 4};
    return true;
}

int mdsq_body_open(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid,
                   const struct mdsq_section *section, struct mdsq_body **out, struct mdsq_error *err)
{
    const struct fake_message *m = fake_find(uid);
    const size_t head = (size_t)(strstr(m->raw, "\r\n\r\n") - m->raw) + 4;
    (void)view;
    reader->unused++;
    *out = NULL;
    if (m->vault_gone || m->expunged)
        return fake_fail(err, MDSQ_ERR_GONE);
    if (section->path_n > 1 || (section->path_n == 1 && section->path[0] != 1))
        return fake_fail(err, MDSQ_ERR_NOTFOUND);
    struct mdsq_body *b = calloc(1, sizeof *b);
    *b = (struct mdsq_body){m, 0, strlen(m->raw)};
    if (section->path_n == 1 || section->kind == MDSQ_SECTION_TEXT)
        b->begin = head;
    else if (section->kind != MDSQ_SECTION_ALL)
        b->end = head;
    fake.objects++;
    *out = b;
    return 0;
}

uint64_t mdsq_body_size(const struct mdsq_body *body)
{
    return body->end - body->begin;
}

int mdsq_body_read(struct mdsq_body *body, uint64_t off, void *dst, size_t n, size_t *got_out, struct mdsq_error *err)
{
    size_t size = body->end - body->begin;
    size_t take = off < size ? (n < size - off ? n : size - (size_t)off) : 0;
    if (body->m->break_at && off + take > body->m->break_at)
        return fake_fail(err, MDSQ_ERR_GONE);
    memcpy(dst, body->m->raw + body->begin + off, take);
    *got_out = take;
    return 0;
}

void mdsq_body_close(struct mdsq_body **body)
{
    FREE(body)
}

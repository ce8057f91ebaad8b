/*
 * FETCH of what the store knows: rows by a cursor, words straight from their packs, no allocation a row.
 */
#include "fetch_flags.h"
#include "section.h"

#include <glib.h>

#define ITEM_ATTRS ((unsigned)MDSQ_FETCH_IDS)
#define WIRE_ATTRS ((unsigned)(MDSQ_FETCH_ENVELOPE | MDSQ_FETCH_BODYSTRUCTURE | MDSQ_FETCH_BODY))
#define ALL_ATTRS  ((1u << 11) - 1)
#define SETS_FROM  512u /* messages of which nothing but flags is asked, from which on sets are cheaper than rows */

struct ready { /* the text of flags without keywords */
    char text[64];
    uint8_t n; /* 0: not made yet */
};

struct mdsq_fetch {
    /* for life */
    unsigned attrs;
    uint32_t folder;
    struct query_uids *all;  /* the view when the fetch began: its numbers hold until the end */
    struct query_uids *some; /* the set; same as `all` if none */
    roaring_uint32_iterator_t it;
    struct query_numberer numberer;
    struct buf *keywords; /* shown names by id, filled when first met */
    size_t keywords_n;
    struct ready ready[MDS_FLAGS_ALL + 1];
    bool wants_sets;
    struct query_flags sets;
    /* of the reader */
    struct mdsq_reader *reader;
    uint64_t generation;
    struct mds_words *words;
    /* of the last row */
    uint64_t item; /* 0: none, or its reader is gone */
    struct buf flags;
    struct buf body;
    struct buf section;
    /* of the section that was asked for last, and of the reader */
    const struct mdsq_section *known;
    bool known_kept;
    bool unbound; /* nothing was read by it yet */
    bool by_sets; /* false: by rows */
    uint32_t uid; /* of the last message that was there */
};

int mdsq_fetch_new(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set, unsigned attrs,
                   struct mdsq_fetch **out, struct mdsq_error *err)
{
    struct error e;
    struct mds_words *words = NULL;
    int rc;

    query_error_init(&e);
    *out = NULL;
    if (attrs & ~ALL_ATTRS)
        return query_result(error_set(&e, BASE_ERR_USAGE, 0, "mdsq_fetch_new: unknown attributes"), &e, err);
    rc = mds_words_new(reader->txn, &words, &e);
    if (rc < 0)
        return query_result(rc, &e, err);

    struct mdsq_fetch *fetch = g_new0(struct mdsq_fetch, 1);

    fetch->attrs = attrs;
    fetch->folder = view->folder;
    fetch->all = query_uids_ref(view->uids);
    fetch->some = query_uids_ref(set ? set->uids : view->uids);
    fetch->reader = reader;
    fetch->generation = reader->generation;
    fetch->words = words;
    roaring_init_iterator(fetch->some->bitmap, &fetch->it);
    query_numberer_init(&fetch->numberer, fetch->all);
    fetch->wants_sets = attrs == MDSQ_FETCH_FLAGS && roaring_bitmap_get_cardinality(fetch->some->bitmap) >= SETS_FROM;
    fetch->unbound = true;
    *out = fetch;
    return MDSQ_OK;
}

void mdsq_fetch_free(struct mdsq_fetch **fetch)
{
    struct mdsq_fetch *f = *fetch;

    *fetch = NULL;
    if (f == NULL)
        return;
    mds_words_free(&f->words);
    query_uids_unref(&f->all);
    query_uids_unref(&f->some);
    for (size_t i = 0; i < f->keywords_n; i++)
        buf_release(&f->keywords[i]);
    g_free(f->keywords);
    query_flags_release(&f->sets);
    buf_release(&f->flags);
    buf_release(&f->body);
    buf_release(&f->section);
    g_free(f);
}

void mdsq_fetch_rebind(struct mdsq_fetch *fetch, struct mdsq_reader *reader)
{
    fetch->reader = reader;
    fetch->generation = reader->generation;
    fetch->item = 0;
    fetch->unbound = true;
    fetch->known = NULL;
    mds_words_rebind(fetch->words, reader->txn);
}

/* ---- one row -------------------------------------------------------------------------- */

/* Shown name of a keyword; names never change once given. */
static int keyword_name(struct mdsq_fetch *f, uint16_t id, struct bytes *out, struct error *err)
{
    struct bytes name;

    if (id >= f->keywords_n) {
        const size_t n = (size_t)id + 1;

        f->keywords = g_renew(struct buf, f->keywords, n);
        memset(f->keywords + f->keywords_n, 0, (n - f->keywords_n) * sizeof *f->keywords);
        f->keywords_n = n;
    }
    if (f->keywords[id].n == 0) {
        const int rc = mds_keyword_name(f->reader->txn, id, &name, err);

        if (rc < 0)
            return rc;
        query_keyword_show(name, &f->keywords[id]);
    }
    *out = buf_bytes(&f->keywords[id]);
    return BASE_OK;
}

static int format_flags(struct mdsq_fetch *f, uint32_t flags, struct bytes keywords, struct error *err)
{
    /* In the order that RFC 3501 2.3.2 names them. */
    static const struct {
        uint32_t flag;
        const char *text;
    } names[] = {
        {VAULT_FLAG_SEEN, "\\Seen"},       {VAULT_FLAG_ANSWERED, "\\Answered"}, {VAULT_FLAG_FLAGGED, "\\Flagged"},
        {VAULT_FLAG_DELETED, "\\Deleted"}, {VAULT_FLAG_DRAFT, "\\Draft"},       {VAULT_FLAG_FORWARDED, "$Forwarded"},
    };

    buf_reset(&f->flags);
    buf_append_byte(&f->flags, '(');
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (flags & names[i].flag) {
            if (f->flags.n > 1)
                buf_append_byte(&f->flags, ' ');
            buf_append_str(&f->flags, names[i].text);
        }
    }
    for (size_t i = 0; i + 2 <= keywords.n; i += 2) {
        const uint16_t id = (uint16_t)(keywords.p[i] << 8 | keywords.p[i + 1]);
        struct bytes name;
        const int rc = keyword_name(f, id, &name, err);

        if (rc < 0)
            return rc;
        if (f->flags.n > 1)
            buf_append_byte(&f->flags, ' ');
        buf_append_bytes(&f->flags, name);
    }
    buf_append_byte(&f->flags, ')');
    return BASE_OK;
}

static int fill_flags(struct mdsq_fetch *f, uint32_t flags, struct bytes keywords, struct mdsq_bytes *out,
                      struct error *err)
{
    struct ready *ready = flags <= MDS_FLAGS_ALL && keywords.n == 0 ? &f->ready[flags] : NULL;

    if (ready && ready->n) {
        *out = query_bytes(bytes_of(ready->text, ready->n));
        return BASE_OK;
    }
    const int rc = format_flags(f, flags, keywords, err);

    *out = query_bytes(buf_bytes(&f->flags));
    if (rc >= 0 && ready && f->flags.n <= sizeof ready->text) {
        memcpy(ready->text, f->flags.p, f->flags.n);
        ready->n = (uint8_t)f->flags.n;
    }
    return rc;
}

static void put_hex(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = 0;
}

/* RFC 8474: the same bytes have the same EMAILID, whatever folder they are filed in. */
void query_item_ids(const struct mds_item *item, char email_out[34], char thread_out[18])
{
    uint8_t thread[8];

    put_be64(thread, item->thread_id);
    email_out[0] = 'M';
    put_hex(email_out + 1, item->hash.b, sizeof item->hash.b);
    thread_out[0] = 'T';
    put_hex(thread_out + 1, thread, sizeof thread);
}

static int fill_ids(struct mdsq_fetch *f, const struct mds_message *m, struct mdsq_message *out, struct error *err)
{
    struct mds_item item;
    const int rc = mds_item_get(f->reader->txn, m->item, &item, err);

    if (rc >= 0)
        query_item_ids(&item, out->email_id, out->thread_id);
    return rc;
}

static int fill_wire(struct mdsq_fetch *f, const struct mds_message *m, struct mdsq_message *out, struct error *err)
{
    struct bytes envelope, structure;
    int rc = mds_words_wire(f->words, m->item, &envelope, &structure, err);

    if (rc < 0)
        return rc;
    out->envelope = query_bytes(envelope);
    out->bodystructure = query_bytes(structure);
    if (f->attrs & MDSQ_FETCH_BODY) {
        buf_reset(&f->body);
        rc = mime_body_from_bodystructure(structure, &f->body, err);
        out->body = query_bytes(buf_bytes(&f->body));
    }
    return rc;
}

static int fill_words(struct mdsq_fetch *f, const struct mds_message *m, struct mdsq_message *out, struct error *err)
{
    struct mds_sort sort;
    struct bytes headers;
    int rc = BASE_OK;

    if (f->attrs & WIRE_ATTRS)
        rc = fill_wire(f, m, out, err);
    if (rc >= 0 && f->attrs & MDSQ_FETCH_HEADERS) {
        rc = mds_words_headers(f->words, m->item, &headers, &out->headers_complete, err);
        if (rc >= 0)
            out->headers = query_bytes(headers);
    }
    if (rc >= 0 && f->attrs & MDSQ_FETCH_PREVIEW) {
        rc = mds_words_sort(f->words, m->item, &sort, err);
        if (rc >= 0)
            out->preview = query_bytes(sort.preview);
    }
    if (rc >= 0 && f->attrs & ITEM_ATTRS)
        rc = fill_ids(f, m, out, err);
    return rc;
}

static int fill(struct mdsq_fetch *f, struct mdsq_message *out, struct error *err)
{
    struct mds_message m;
    int rc = mds_message_next(f->reader->txn, f->folder, out->uid, &m, err);

    if (rc < 0)
        return rc;
    if (rc == 0 || m.uid != out->uid) {
        out->gone = true;
        return BASE_OK;
    }
    f->item = m.item;
    if (f->attrs & MDSQ_FETCH_INTERNALDATE)
        query_date_format(m.internal_date, m.internal_zone, out->internal_date);
    out->size = m.size_crlf;
    out->modseq = m.modseq;
    out->save_date = m.saved_date;
    if (f->attrs & MDSQ_FETCH_SAVEDATE)
        query_date_format(m.saved_date, 0, out->save_date_text);
    if (f->attrs & MDSQ_FETCH_FLAGS)
        rc = fill_flags(f, m.flags, m.keywords, &out->flags, err);
    return rc < 0 ? rc : fill_words(f, &m, out, err);
}

static int fill_by_sets(struct mdsq_fetch *f, struct mdsq_message *out, struct error *err)
{
    out->gone = !query_flags_next(&f->sets, out->uid);
    if (out->gone)
        return BASE_OK;
    f->uid = out->uid;
    return fill_flags(f, f->sets.flags, bytes_of(f->sets.ids, f->sets.ids_n), &out->flags, err);
}

/* The first message of a snapshot. */
static int bind(struct mdsq_fetch *f, uint32_t uid, struct error *err)
{
    int rc = f->wants_sets ? query_flags_begin(&f->sets, f->reader->txn, f->folder, uid, err) : 0;

    if (rc == BASE_ERR_CORRUPT) { /* the rows say it, too */
        f->wants_sets = false;
        rc = 0;
    }
    f->by_sets = rc > 0;
    f->unbound = rc < 0;
    return rc;
}

/* Field by field: texts need no more than their first byte, and clearing all of them took longer than what is asked. */
static void message_begin(struct mdsq_message *out, uint32_t uid, uint32_t seq)
{
    static const struct mdsq_bytes none;

    out->uid = uid;
    out->seq = seq;
    out->gone = out->headers_complete = false;
    out->flags = out->envelope = out->bodystructure = out->body = out->headers = out->preview = none;
    out->size = out->modseq = 0;
    out->save_date = 0;
    out->internal_date[0] = out->email_id[0] = out->thread_id[0] = out->save_date_text[0] = 0;
}

int mdsq_fetch_next(struct mdsq_fetch *fetch, struct mdsq_message *out, struct mdsq_error *err)
{
    struct error e;

    if (fetch->generation != fetch->reader->generation)
        mdsq_fetch_rebind(fetch, fetch->reader);
    fetch->item = 0;
    fetch->uid = 0;
    while (fetch->it.has_value) {
        const uint32_t uid = fetch->it.current_value;
        const uint32_t seq = query_numberer_seq(&fetch->numberer, uid);

        roaring_advance_uint32_iterator(&fetch->it);
        if (seq == 0) /* the set was made before the view lost this message */
            continue;
        query_error_init(&e);
        message_begin(out, uid, seq);

        int rc = fetch->unbound ? bind(fetch, uid, &e) : BASE_OK;

        if (rc >= 0)
            rc = fetch->by_sets ? fill_by_sets(fetch, out, &e) : fill(fetch, out, &e);
        if (rc >= 0)
            return 1;
        error_context(&e, "message %u", uid);
        return query_result(rc, &e, err);
    }
    return 0;
}

/* Where the flags came from sets, the row is looked at only now. */
static bool has_item(struct mdsq_fetch *f)
{
    struct mds_message m;

    if (f->item == 0 && f->uid && f->by_sets && mds_message_get(f->reader->txn, f->folder, f->uid, &m, NULL) >= 0)
        f->item = m.item;
    return f->item > 0;
}

bool mdsq_fetch_section(struct mdsq_fetch *fetch, const struct mdsq_section *section, struct mdsq_bytes *out)
{
    if (fetch->generation != fetch->reader->generation || !has_item(fetch))
        return false;
    if (fetch->known != section)
        fetch->known_kept = query_section_names_kept(fetch->reader, section);
    fetch->known = section;
    buf_reset(&fetch->section);
    if (query_section_from_kept(fetch->words, fetch->item, section, fetch->known_kept, &fetch->section, NULL) != 1)
        return false;
    *out = query_bytes(buf_bytes(&fetch->section));
    return true;
}

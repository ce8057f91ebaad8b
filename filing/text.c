/*
 * text: which terms an item gives, and which index is whose.
 *
 * The identity of an index is what must be equal for its answers to be true: the archive's own number (a random one,
 * made with the index: a store that is built anew has none), the program's terms, the list of trace fields. What
 * identity cannot tell, an older copy of the same archive, the tags of items do.
 */
#include "filing/text.h"

#include "base/hash.h"
#include "mime/words.h"
#include <errno.h>
#include <sys/random.h>

#define META_TEXT_ID  "text.id"
#define TEXT_ID_BYTES 16u
#define BARE_AHEAD    16u /* words of a comment that are looked over */
#define TEXT_VERSION  2u  /* of what filing_text_terms gives */

static void identity(struct bytes id, const struct filing_text_settings *s, struct buf *out)
{
    buf_put_u8(out, TEXT_VERSION);
    buf_append_bytes(out, id);
    buf_put_u64(out, s->words);
    buf_put_u64(out, hash64_of(mime_trace_text(s->trace)));
}

uint64_t filing_text_tag(const struct hash128 *hash)
{
    return get_be64(hash->b);
}

int filing_text_check(struct mds_text *text, struct mds_txn *txn, struct error *err)
{
    struct mds_text_reader *r = NULL;
    uint64_t pos = 0, item = 0, tag = 0, end = 0;
    int rc = mds_item_end(txn, &end, err);

    if (rc >= 0)
        rc = mds_text_read_begin(text, &r, err);
    while (rc >= 0 && (rc = mds_text_anchors(r, &pos, &item, &tag, err)) > 0) {
        struct mds_item row;

        rc = mds_item_get(txn, item, &row, NULL);
        if (item >= end || (rc == BASE_OK && filing_text_tag(&row.hash) != tag))
            rc = error_set(err, BASE_ERR_GONE, 0, "the content index is of another state of the archive");
        else if (rc == BASE_ERR_NOTFOUND) /* let go for good */
            rc = BASE_OK;
        else if (rc < 0)
            error_set(err, (enum base_err)rc, 0, "item %llu cannot be read", (unsigned long long)item);
    }
    mds_text_read_end(&r);
    return rc;
}

/* The index was opened by the archive's path: if the archive is there even now, its index is what was found. */
static int check_place(const struct mds_env *env, struct error *err)
{
    return mds_is_in_place(env) ? BASE_OK
                                : error_set(err, BASE_ERR_GONE, 0,
                                            "%s: the archive was removed, or another one took its place", mds_dir(env));
}

int filing_text_open(struct mds_env *env, struct mds_txn *txn, const struct filing_text_settings *s,
                     struct mds_text **out, struct error *err)
{
    struct buf name = {0};
    struct bytes id;
    int rc = mds_meta_get(txn, META_TEXT_ID, &id, err);

    *out = NULL;
    if (rc >= 0) {
        identity(id, s, &name);
        rc = mds_text_open(mds_dir(env),
                           &(struct mds_text_options){.read_only = s->read_only, .identity = buf_bytes(&name)}, out,
                           err);
    }
    if (rc >= 0)
        rc = check_place(env, err);
    if (rc >= 0)
        rc = filing_text_check(*out, txn, err);
    if (rc < 0)
        mds_text_close(out);
    buf_release(&name);
    return rc;
}

/* The archive's number, made if it has none. */
static int make_id(struct mds_env *env, struct buf *out, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes id;
    uint8_t fresh[TEXT_ID_BYTES];
    int rc = mds_read_begin(env, &txn, err);

    if (rc >= 0 && (rc = mds_meta_get(txn, META_TEXT_ID, &id, err)) >= 0)
        buf_append_bytes(out, id);
    mds_read_end(&txn);
    if (rc != BASE_ERR_NOTFOUND)
        return rc;
    if (getrandom(fresh, sizeof fresh, 0) != (ssize_t)sizeof fresh)
        return error_errno(err, "getrandom");
    rc = mds_write_begin(env, &txn, err);
    if (rc < 0)
        return rc;
    rc = mds_meta_get(txn, META_TEXT_ID, &id, err); /* another one may have been quicker */
    if (rc == BASE_ERR_NOTFOUND) {
        id = bytes_of(fresh, sizeof fresh);
        rc = mds_meta_put(txn, META_TEXT_ID, id, true, err);
    }
    if (rc >= 0)
        buf_append_bytes(out, id);
    if (rc >= 0)
        return mds_write_commit(&txn, err);
    mds_write_abort(&txn);
    return rc;
}

int filing_text_make(struct mds_env *env, const struct filing_text_settings *s, struct mds_text **out,
                     struct error *err)
{
    struct buf id = {0}, name = {0};
    struct mds_txn *txn = NULL;
    int rc = make_id(env, &id, err);

    *out = NULL;
    if (rc >= 0) {
        identity(buf_bytes(&id), s, &name);
        rc = mds_text_open(mds_dir(env), &(struct mds_text_options){.create = true, .identity = buf_bytes(&name)}, out,
                           err);
    }
    if (rc >= 0)
        rc = check_place(env, err);
    if (rc >= 0)
        rc = mds_read_begin(env, &txn, err);
    if (rc >= 0) {
        rc = filing_text_check(*out, txn, err);
        mds_read_end(&txn);
        if (rc == BASE_ERR_GONE)
            rc = mds_text_drop(*out, err);
    }
    if (rc < 0)
        mds_text_close(out);
    buf_release(&id);
    buf_release(&name);
    return rc;
}

/* ---- terms ---------------------------------------------------------------------------------------- */

#define NAME(s)                                                                                                        \
    {                                                                                                                  \
        (const uint8_t *)(s), sizeof(s) - 1                                                                            \
    }

static const struct {
    struct bytes name;
    enum mds_text_class c;
    bool addresses;
} classes[] = {
    {NAME("subject"), MDS_TEXT_SUBJECT, false},
    {NAME("from"), MDS_TEXT_FROM, true},
    {NAME("to"), MDS_TEXT_TO, true},
    {NAME("cc"), MDS_TEXT_CC, true},
    {NAME("bcc"), MDS_TEXT_BCC, true},
};

enum mds_text_class filing_text_class(struct bytes name)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (bytes_equal_nocase(name, classes[i].name))
            return classes[i].c;
    }
    return MDS_TEXT_HEADER;
}

static bool has_addresses(enum mds_text_class c)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (classes[i].c == c)
            return classes[i].addresses;
    }
    return false;
}

struct giving {
    struct mime_texts *texts;
    const struct mime_trace *trace;
    struct filing_text_pairs *pairs;
    filing_text_fn *fn;
    void *arg;
};

static size_t give(const struct giving *g, enum mds_text_class c, struct bytes text)
{
    struct mime_words w;
    struct bytes term;

    mime_words_init(&w, text);
    while (mime_words_next(&w, &term))
        g->fn(c, term, g->arg);
    mime_pairs_add(&g->pairs->of[c], text);
    g->pairs->classes |= MDS_TEXT_MASK(c);
    return text.n;
}

/* Is it among the next few of w? Then w goes on behind it. */
static bool comes_soon(struct mime_words *w, struct bytes term)
{
    struct mime_words ahead = *w;
    struct bytes next;

    for (unsigned i = 0; i < BARE_AHEAD && mime_words_next(&ahead, &next); i++) {
        if (bytes_equal(next, term)) {
            *w = ahead;
            return true;
        }
    }
    return false;
}

/* What an address has only without its comments and blanks: nearly always nothing but a pair. */
static void give_bare(const struct giving *g, struct bytes value, struct bytes bare)
{
    struct mime_pairs *const pairs = &g->pairs->of[MDS_TEXT_BARE];
    struct mime_pairs of_value = {0}, of_bare = {0};
    struct mime_words w, v;
    struct bytes term;

    mime_words_init(&v, value);
    mime_words_init(&w, bare);
    while (mime_words_next(&w, &term)) {
        if (!comes_soon(&v, term))
            g->fn(MDS_TEXT_BARE, term, g->arg);
    }
    mime_pairs_add(&of_value, value);
    mime_pairs_add(&of_bare, bare);
    mime_pairs_take_out(&of_bare, &of_value);
    mime_pairs_unite(pairs, &of_bare);
    g->pairs->classes |= MDS_TEXT_MASK(MDS_TEXT_BARE);
}

/* A field whose value has a class of its own. What stands across the border of name and value is text of the header. */
static size_t give_value(const struct giving *g, const struct mime_text *text, enum mds_text_class c)
{
    const struct bytes whole = mime_texts_whole(g->texts, text), value = mime_texts_value(g->texts, text);
    const size_t border = whole.n - value.n;
    const size_t n = give(g, MDS_TEXT_HEADER, bytes_slice(whole, 0, border)) + give(g, c, value);
    struct bytes bare;

    mime_pairs_add(&g->pairs->of[MDS_TEXT_HEADER], bytes_slice(whole, border - 1, 2));
    if (has_addresses(c) && mime_texts_bare(g->texts, text, &bare))
        give_bare(g, value, bare);
    return n;
}

static size_t give_own(const struct giving *g, const struct mime_text *text)
{
    const enum mds_text_class c = filing_text_class(text->name);

    if (mime_trace_has(g->trace, text->name))
        return give(g, MDS_TEXT_HEADER, mime_texts_name(g->texts, text));
    return c == MDS_TEXT_HEADER ? give(g, c, mime_texts_whole(g->texts, text)) : give_value(g, text, c);
}

size_t filing_text_terms(struct mime_texts *texts, const struct mime_text *text, const struct mime_trace *trace,
                         struct filing_text_pairs *pairs, filing_text_fn *fn, void *arg)
{
    const struct giving g = {texts, trace, pairs, fn, arg};

    switch (text->kind) {
    case MIME_TEXT_OWN: return give_own(&g, text);
    case MIME_TEXT_PART: return give(&g, MDS_TEXT_MIME, mime_texts_whole(texts, text));
    case MIME_TEXT_ATTACHED: return give(&g, MDS_TEXT_BODY, mime_texts_whole(texts, text));
    case MIME_TEXT_BODY: return give(&g, MDS_TEXT_BODY, mime_texts_body(texts, text));
    }
    return 0;
}

struct pairs_giving {
    enum mds_text_class c;
    filing_text_fn *fn;
    void *arg;
};

static void give_pair(struct bytes term, void *arg)
{
    const struct pairs_giving *g = arg;

    g->fn(g->c, term, g->arg);
}

void filing_text_pairs(struct filing_text_pairs *pairs, filing_text_fn *fn, void *arg)
{
    for (unsigned c = 0; c < MDS_TEXT_CLASSES; c++) {
        if (!(pairs->classes & MDS_TEXT_MASK(c)))
            continue;
        mime_pairs_each(&pairs->of[c], give_pair, &(struct pairs_giving){(enum mds_text_class)c, fn, arg});
        pairs->of[c] = (struct mime_pairs){0};
    }
    pairs->classes = 0;
}

static_assert(MIME_PAIRS_ROWS == MDS_TEXT_PAIR_ROWS && MIME_PAIR_TERMS == MDS_TEXT_SEPARATORS,
              "mime/pairs.h and mds/text.h mean the same by a pair");

void filing_text_pairs_batch(struct filing_text_pairs *pairs, struct mds_text_batch *batch)
{
    for (unsigned c = 0; c < MDS_TEXT_CLASSES; c++) {
        if (!(pairs->classes & MDS_TEXT_MASK(c)))
            continue;
        mime_pairs_terms(&pairs->of[c]);
        mds_text_batch_pairs(batch, (enum mds_text_class)c, pairs->of[c].after);
        pairs->of[c] = (struct mime_pairs){0};
    }
    pairs->classes = 0;
}

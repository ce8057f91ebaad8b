/*
 * The step between rows and items: what the content index says of each content key.
 *
 * A key's needle becomes terms (mime/words.h), the terms sets of items (mds/text.h), and these sets of UIDs: those that
 * match for sure and those that may. An item that is not indexed may always. The most selective keys go first; the step
 * ends as soon as the root is decided, and each key is asked only about what the root still leaves open. Everything
 * else goes on to be read.
 *
 * Answers of the index are those of the scan: TEXT leaves out the values of trace fields, as the index does; if it is
 * literal instead, what the index finds is found, and all the rest may be. HEADER of a trace field knows from the index
 * only who has the field.
 */
#include "search.h"

#include "change.h"
#include "filing/text.h"
#include "mds/columns.h"
#include "mime/words.h"

#include <glib.h>

#define FEW_ITEMS       2048u      /* so many are looked up one by one; of more the folder's column is read */
#define DIRECT_MESSAGES 4u         /* so few messages are read rather than looked for in the index */
#define NARROW_LEAVES   32u        /* the root is looked at after each of so many keys, then at the end */
#define PIECE           2048u      /* messages of which the column is read at a time */
#define RARE_BYTES      4096u      /* postings that cost less than a scan of all terms */
#define BITS_ITEMS_MAX  (1u << 28) /* a set of items is laid out as bits up to this id: 32 MB */

/* ---- the archive's index ------------------------------------------------------------------------------ */

#define LOOK_AGAIN_US 1000000

static int text_open(struct mdsq_archive *archive, struct mds_txn *txn, struct mds_text **out, struct error *err)
{
    struct mdsq_store *store = archive->store;
    const struct filing_text_settings settings = {.trace = store->trace, .words = archive->words, .read_only = true};

    return filing_text_open(archive->env, txn, &settings, out, err);
}

/* The index if there is one of this archive; it may come at any time, so it is looked for once a second. Borrowed: it
 * is closed with the archive. *rc_out: why there is none. */
static struct mds_text *text_of(struct mdsq_archive *archive, struct mds_txn *txn, int *rc_out)
{
    const int64_t now = (int64_t)query_os_monotonic_us();
    struct mds_text *text;

    (void)pthread_mutex_lock(&archive->lock);
    if (archive->text == NULL && (archive->text_looked_us == 0 || now - archive->text_looked_us > LOOK_AGAIN_US)) {
        if (archive->words == 0)
            archive->words = mime_words_fingerprint();
        archive->text_looked_us = now;
        archive->text_rc = text_open(archive, txn, &archive->text, NULL);
        if (archive->text_rc < 0)
            archive->text = NULL;
    }
    text = archive->text;
    *rc_out = archive->text_rc;
    (void)pthread_mutex_unlock(&archive->lock);
    return text;
}

/* ---- keys --------------------------------------------------------------------------------------------- */

/* What a key asks of the index. */
struct wanted {
    struct mime_needle needle, name; /* name: of HEADER's field, as whole terms */
    struct buf name_text;
    uint32_t classes;
    uint32_t bare; /* MDS_TEXT_MASK(MDS_TEXT_BARE) for who looks at addresses without comments too, else 0 */
    bool exact;    /* a hit of the index in `classes` is a hit */
    bool all_may;  /* the index does not see all that the key looks at */
};

static void wanted_release(struct wanted *w)
{
    mime_needle_release(&w->needle);
    mime_needle_release(&w->name);
    buf_release(&w->name_text);
}

static enum mds_text_class class_of_key(enum mdsq_key_kind kind)
{
    switch (kind) {
    case MDSQ_KEY_FROM: return MDS_TEXT_FROM;
    case MDSQ_KEY_TO: return MDS_TEXT_TO;
    case MDSQ_KEY_CC: return MDS_TEXT_CC;
    case MDSQ_KEY_BCC: return MDS_TEXT_BCC;
    case MDSQ_KEY_SUBJECT: return MDS_TEXT_SUBJECT;
    default: return MDS_TEXT_HEADER;
    }
}

/* The terms of "Name: " are all indexed, as they are those of its text. */
static void want_name(struct wanted *w, struct bytes field)
{
    buf_append_byte(&w->name_text, ' ');
    mime_texts_needle(field, &w->name_text);
    buf_append_str(&w->name_text, ": ");
    mime_needle_init_runs(&w->name, buf_bytes(&w->name_text));
}

static void wanted_init(struct wanted *w, const struct query_node *node, const struct mdsq_store *store)
{
    *w = (struct wanted){0};
    mime_needle_init(&w->needle, node->needle);
    switch (node->kind) {
    case MDSQ_KEY_BODY:
        w->classes = MDS_TEXT_MASK(MDS_TEXT_BODY);
        w->exact = w->needle.exact;
        return;
    case MDSQ_KEY_TEXT:
        w->classes = MDS_TEXT_MASK_TEXT;
        w->exact = w->needle.exact;
        w->all_may = store->text_literal;
        return;
    case MDSQ_KEY_HEADER: {
        const bool trace = mime_trace_has(store->trace, node->field);
        const enum mds_text_class c = filing_text_class(node->field);

        w->classes = trace ? 0 : MDS_TEXT_MASK(c);
        w->exact = w->classes && c != MDS_TEXT_HEADER && w->needle.exact;
        if (c == MDS_TEXT_HEADER || trace || w->needle.n == 0)
            want_name(w, node->field);
        return;
    }
    default:
        w->classes = mime_trace_has(store->trace, node->field) ? 0 : MDS_TEXT_MASK(class_of_key(node->kind));
        w->bare = w->classes && node->kind != MDSQ_KEY_SUBJECT ? MDS_TEXT_MASK(MDS_TEXT_BARE) : 0;
        w->exact = w->classes && w->needle.exact;
        if (w->classes == 0 || w->needle.n == 0)
            want_name(w, node->field);
        return;
    }
}

struct step {
    const struct mime_needle_term *term;
    uint64_t bytes; /* of postings to decode, as far as that is known */
};

static int compare_steps(const void *a, const void *b)
{
    const struct step *x = a, *y = b;

    return x->bytes != y->bytes ? (x->bytes > y->bytes) - (x->bytes < y->bytes)
                                : (x->term > y->term) - (x->term < y->term);
}

/*
 * The order in which a needle's terms are looked for. Terms that are known from their beginning are counted in
 * microseconds, where looking inside terms means a scan of all: rare ones go first, frequent ones last, when little is
 * left to be found of them; those between in the needle's order, the most selective first. False: nothing has one of
 * them.
 */
static int plan_steps(struct mds_text_reader *r, const struct mime_needle *needle, struct step *steps, bool *any_out,
                      struct error *err)
{
    *any_out = true;
    for (size_t i = 0; i < needle->n; i++) {
        const struct mime_needle_term *t = &needle->v[i];
        struct mds_text_cost cost = {0};

        steps[i] = (struct step){t, RARE_BYTES};
        if (needle->n == 1 || (t->match != MIME_MATCH_PREFIX && t->match != MIME_MATCH_WHOLE))
            continue;

        const int rc = mds_text_count(r, t->term, (enum mds_match)t->match, &cost, err);

        if (rc < 0)
            return rc;
        *any_out = cost.terms > 0;
        if (!*any_out)
            return BASE_OK;
        steps[i].bytes = cost.bytes;
    }
    qsort(steps, needle->n, sizeof *steps, compare_steps);
    return BASE_OK;
}

/* Items that have a term for each of a needle's, among `items` (NULL: all); NULL stays if it has none. */
static int find_all(struct mds_text_reader *r, const struct mime_needle *needle, uint32_t classes,
                    roaring_bitmap_t **items, struct error *err)
{
    struct step steps[MIME_NEEDLE_TERMS_MAX];
    bool any = true;
    int rc = plan_steps(r, needle, steps, &any, err);

    if (rc >= 0 && !any) {
        if (*items)
            roaring_bitmap_free(*items);
        *items = roaring_bitmap_create();
    }
    for (size_t i = 0; i < needle->n && rc >= 0 && (*items == NULL || !roaring_bitmap_is_empty(*items)); i++) {
        const struct mime_needle_term *t = steps[i].term;
        roaring_bitmap_t *found = NULL;

        rc = mds_text_find(r, t->term, (enum mds_match)t->match, classes, *items, &found, err);
        if (rc < 0)
            break;
        if (*items) {
            roaring_bitmap_and_inplace(*items, found);
            roaring_bitmap_free(found);
        } else {
            *items = found;
        }
    }
    return rc;
}

/* ---- items to messages -------------------------------------------------------------------------------- */

typedef void item_fn(uint32_t uid, uint32_t item, void *arg);

/* The open messages that are still there, with their items (UINT32_MAX: one above any that is indexed), in pieces:
 * large arrays would cost more than what is read into them. */
static int each_item(struct query_index *ix, struct mds_txn *txn, item_fn *fn, void *arg, struct error *err)
{
    struct {
        uint32_t uids[PIECE];
        int64_t items[PIECE];
    } *piece = NULL;
    roaring_bitmap_t *there = NULL;
    roaring_uint32_iterator_t it;
    int rc = mds_set_load(txn, ix->folder, MDS_SET_EXISTS, &there, err);

    if (rc < 0)
        return rc;
    roaring_bitmap_and_inplace(there, ix->open);
    piece = g_malloc(sizeof *piece);
    roaring_init_iterator(there, &it);
    for (uint32_t n; rc >= 0 && (n = roaring_read_uint32_iterator(&it, piece->uids, PIECE)) > 0;) {
        rc = mds_column_read(txn, ix->folder, MDS_COLUMN_ITEM, piece->uids, n, piece->items, err);
        for (uint32_t i = 0; i < n && rc >= 0; i++) {
            if (piece->items[i] > 0)
                fn(piece->uids[i], piece->items[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)piece->items[i], arg);
        }
    }
    g_free(piece);
    roaring_bitmap_free(there);
    return rc;
}

/* Members of a set of items laid out as bits, so that asking for each message costs a nanosecond. */
static uint64_t *lay_out(const roaring_bitmap_t *set, uint32_t max)
{
    uint64_t *bits = g_new0(uint64_t, (size_t)max / 64 + 1);
    roaring_uint32_iterator_t it;

    roaring_init_iterator(set, &it);
    for (bool more = it.has_value; more; more = roaring_advance_uint32_iterator(&it))
        bits[it.current_value / 64] |= UINT64_C(1) << it.current_value % 64;
    return bits;
}

struct picking { /* UIDs whose items are in a set, or are not */
    const roaring_bitmap_t *set;
    const uint64_t *bits; /* the same, may be NULL */
    uint32_t max;
    bool absent;
    roaring_bitmap_t *into;
    uint32_t batch[256];
    uint32_t n;
};

static void pick_end(struct picking *p)
{
    roaring_bitmap_add_many(p->into, p->n, p->batch);
    p->n = 0;
}

static void pick(uint32_t uid, uint32_t item, void *arg)
{
    struct picking *p = arg;
    const bool has = item <= p->max && item != UINT32_MAX &&
                     (p->bits ? (p->bits[item / 64] >> item % 64) & 1 : roaring_bitmap_contains(p->set, item));

    if (has == p->absent)
        return;
    p->batch[p->n++] = uid;
    if (p->n == G_N_ELEMENTS(p->batch))
        pick_end(p);
}

static int uids_by_column(struct query_index *ix, struct mds_txn *txn, const roaring_bitmap_t *items, bool absent,
                          roaring_bitmap_t *into, struct error *err)
{
    struct picking p = {.set = items, .absent = absent, .into = into, .max = roaring_bitmap_maximum(items)};
    uint64_t *bits = p.max <= BITS_ITEMS_MAX ? lay_out(items, p.max) : NULL;

    p.bits = bits;
    const int rc = each_item(ix, txn, pick, &p, err);

    pick_end(&p);
    g_free(bits);
    return rc;
}

static int uids_by_filing(const struct query_index *ix, struct mds_txn *txn, const roaring_bitmap_t *items,
                          roaring_bitmap_t *into, struct error *err)
{
    roaring_uint32_iterator_t it;
    int rc = BASE_OK;

    roaring_init_iterator(items, &it);
    for (bool more = it.has_value; more && rc >= 0; more = roaring_advance_uint32_iterator(&it)) {
        uint64_t pos = 0;
        uint32_t folder, uid;

        while ((rc = mds_item_messages(txn, it.current_value, &pos, &folder, &uid, err)) > 0) {
            if (folder == ix->folder && roaring_bitmap_contains(ix->open, uid))
                roaring_bitmap_add(into, uid);
        }
    }
    return rc < 0 ? rc : BASE_OK;
}

/* The open messages of a set of items, added. */
static int add_uids(struct query_index *ix, struct mds_txn *txn, const roaring_bitmap_t *items, roaring_bitmap_t *into,
                    struct error *err)
{
    if (roaring_bitmap_get_cardinality(items) <= FEW_ITEMS)
        return uids_by_filing(ix, txn, items, into, err);
    return uids_by_column(ix, txn, items, false, into, err);
}

/* Open messages whose items are not indexed. */
static int find_unindexed(struct query_index *ix, struct mds_txn *txn, const roaring_bitmap_t *indexed,
                          struct error *err)
{
    uint64_t end = 0;
    int rc = mds_item_end(txn, &end, err);

    ix->unindexed = roaring_bitmap_create();
    if (rc < 0)
        return rc;

    const uint64_t all = end - 1;
    const uint64_t missing = all > UINT32_MAX ? UINT64_MAX : all - roaring_bitmap_rank(indexed, (uint32_t)all);

    if (missing == 0)
        return BASE_OK;
    if (missing <= FEW_ITEMS) {
        roaring_bitmap_t *items = roaring_bitmap_flip(indexed, 1, end);

        roaring_bitmap_t *given = roaring_bitmap_from_range(1, end, 1);

        roaring_bitmap_and_inplace(items, given);
        roaring_bitmap_free(given);
        rc = add_uids(ix, txn, items, ix->unindexed, err);
        roaring_bitmap_free(items);
        return rc;
    }
    return uids_by_column(ix, txn, indexed, true, ix->unindexed, err);
}

/* ---- one key ------------------------------------------------------------------------------------------- */

static void add_item(uint32_t uid, uint32_t item, void *arg)
{
    (void)uid;
    roaring_bitmap_add(arg, item);
}

/* The items of the open messages, if these are few: then the index need not look further. */
static int find_within(struct query_index *ix, struct mds_txn *txn, struct error *err)
{
    if (roaring_bitmap_get_cardinality(ix->open) > FEW_ITEMS)
        return BASE_OK;
    ix->within = roaring_bitmap_create();
    return each_item(ix, txn, add_item, ix->within, err);
}

/* Open messages whose items have the needle's terms in one of the classes, and its field's name. */
static int find_hits(struct query_index *ix, struct mds_txn *txn, const struct wanted *w, uint32_t classes,
                     roaring_bitmap_t *hits, uint64_t *candidates, struct error *err)
{
    roaring_bitmap_t *items = ix->within ? roaring_bitmap_copy(ix->within) : NULL;
    int rc = BASE_OK;

    if (items) /* what is not indexed is counted apart */
        roaring_bitmap_and_inplace(items, mds_text_items(ix->reader));
    if (classes)
        rc = find_all(ix->reader, &w->needle, classes, &items, err);
    if (rc >= 0)
        rc = find_all(ix->reader, &w->name, MDS_TEXT_MASK(MDS_TEXT_HEADER), &items, err);
    if (rc >= 0)
        rc = add_uids(ix, txn, items, hits, err);
    if (rc >= 0)
        *candidates += roaring_bitmap_get_cardinality(items);
    if (items)
        roaring_bitmap_free(items);
    return rc;
}

/* What is found for sure, and what may be beside it: addresses without their comments say nothing of FROM's own text.
 */
static int find_exact(struct query_index *ix, struct mds_txn *txn, const struct wanted *w, struct query_node *node,
                      struct error *err)
{
    int rc = BASE_OK;

    if (w->bare) {
        rc = find_hits(ix, txn, w, w->classes | w->bare, node->maybe, &node->candidates, err);
        if (rc < 0 || node->candidates == 0)
            return rc;
        node->candidates = 0;
    }
    rc = find_hits(ix, txn, w, w->classes, node->sure, &node->candidates, err);
    roaring_bitmap_or_inplace(node->maybe, node->sure);
    return rc;
}

static void forget_answer(struct query_node *node)
{
    if (node->sure)
        roaring_bitmap_free(node->sure);
    if (node->maybe)
        roaring_bitmap_free(node->maybe);
    node->sure = node->maybe = NULL;
}

static int ask(struct query_index *ix, struct mdsq_reader *reader, struct query_node *node, struct error *err)
{
    const int64_t began = (int64_t)query_os_monotonic_us();
    struct wanted w;
    int rc = BASE_OK;

    wanted_init(&w, node, reader->archive->store);

    const bool no_terms = w.name.n == 0 && (w.classes == 0 || w.needle.n == 0);

    if (!no_terms) {
        node->candidates = 0;
        node->sure = roaring_bitmap_create();
        node->maybe = w.all_may ? roaring_bitmap_copy(ix->open) : roaring_bitmap_copy(ix->unindexed);
        rc = w.exact ? find_exact(ix, reader->txn, &w, node, err)
                     : find_hits(ix, reader->txn, &w, w.classes | w.bare, node->maybe, &node->candidates, err);
    }
    node->asked = rc >= 0 && !no_terms;
    if (!node->asked)
        forget_answer(node);
    node->has_no_terms = w.needle.n == 0 && w.classes != 0;
    node->asked_exact = w.exact && !w.all_may;
    node->asked_us = (int64_t)query_os_monotonic_us() - began;
    wanted_release(&w);
    return rc;
}

/* ---- the step ----------------------------------------------------------------------------------------- */

/* Long needles are rare; a field has fewer terms than a body. */
static int compare_leaves(const void *a, const void *b)
{
    const struct query_node *x = *(struct query_node *const *)a, *y = *(struct query_node *const *)b;
    const size_t x_n = x->needle.n < 64 ? x->needle.n : 64, y_n = y->needle.n < 64 ? y->needle.n : 64;
    const int by_kind = (x->leaf == QUERY_LEAF_BODY) - (y->leaf == QUERY_LEAF_BODY);

    return by_kind ? by_kind : x_n > y_n ? -1 : x_n < y_n ? 1 : x < y ? -1 : x > y;
}

static void forget_scope(struct query_index *ix)
{
    if (ix->within)
        roaring_bitmap_free(ix->within);
    if (ix->unindexed)
        roaring_bitmap_free(ix->unindexed);
    ix->within = ix->unindexed = NULL;
}

void query_index_release(struct query_index *ix)
{
    forget_scope(ix);
    g_free(ix->leaves);
    mds_text_read_end(&ix->reader);
    if (ix->open)
        roaring_bitmap_free(ix->open);
    *ix = (struct query_index){0};
}

static void order(struct query_index *ix, const struct query_tree *tree)
{
    ix->leaves = g_new(struct query_node *, tree->fields.n + tree->bodies.n + 1);
    for (uint32_t i = 0; i < tree->fields.n; i++)
        ix->leaves[ix->leaves_n++] = tree->fields.v[i];
    for (uint32_t i = 0; i < tree->bodies.n; i++)
        ix->leaves[ix->leaves_n++] = tree->bodies.v[i];
    qsort(ix->leaves, ix->leaves_n, sizeof *ix->leaves, compare_leaves);
}

/* What the index is asked about: what the root leaves open now. */
static int set_scope(struct query_index *ix, struct mdsq_reader *reader, const roaring_bitmap_t *open,
                     struct error *err)
{
    int rc = BASE_OK;

    if (ix->open && roaring_bitmap_get_cardinality(ix->open) / 8 <= roaring_bitmap_get_cardinality(open))
        return BASE_OK; /* little has changed: the old scope is right too, and paid for */
    forget_scope(ix);
    if (ix->open)
        roaring_bitmap_free(ix->open);
    ix->open = roaring_bitmap_copy(open);
    rc = find_within(ix, reader->txn, err);
    if (rc >= 0)
        rc = find_unindexed(ix, reader->txn, mds_text_items(ix->reader), err);
    return rc;
}

static enum query_lack lack_of(int rc)
{
    return rc == BASE_ERR_NOTFOUND ? QUERY_LACK_INDEX : rc == BASE_ERR_GONE ? QUERY_LACK_OTHER : QUERY_LACK_DAMAGED;
}

static int begin(struct query_index *ix, struct query_tree *tree, struct mdsq_reader *reader, uint32_t folder,
                 const roaring_bitmap_t *open, struct error *err)
{
    struct mds_text *text;
    int rc = BASE_OK;

    ix->is_begun = true;
    ix->folder = folder;
    if (tree->fields.n + tree->bodies.n == 0 || roaring_bitmap_get_cardinality(open) <= DIRECT_MESSAGES)
        return BASE_OK;
    if (reader->archive->store->no_text_index) {
        ix->lack = QUERY_LACK_WISH;
        return BASE_OK;
    }
    text = text_of(reader->archive, reader->txn, &rc);
    if (text == NULL) {
        ix->lack = lack_of(rc);
        return BASE_OK;
    }
    rc = mds_text_read_begin(text, &ix->reader, err);
    if (rc >= 0)
        order(ix, tree);
    return rc;
}

/* A damaged index is as good as none, and so is one that was made anew under other settings: the items say the rest. */
static int give_up(struct query_index *ix, int rc, struct error *err)
{
    if (rc != BASE_ERR_CORRUPT && rc != BASE_ERR_IO && rc != BASE_ERR_GONE)
        return rc;
    ix->lack = lack_of(rc);
    ix->at = ix->leaves_n;
    if (err)
        query_error_init(err);
    return BASE_OK;
}

int query_index_next(struct query_index *ix, struct query_tree *tree, struct mdsq_reader *reader, uint32_t folder,
                     const roaring_bitmap_t *open, bool *narrow_out, struct error *err)
{
    int rc = BASE_OK;

    *narrow_out = false;
    if (!ix->is_begun && (rc = begin(ix, tree, reader, folder, open, err)) < 0)
        return give_up(ix, rc, err);
    if (ix->at >= ix->leaves_n)
        return BASE_OK;
    rc = set_scope(ix, reader, open, err);
    if (rc >= 0)
        rc = ask(ix, reader, ix->leaves[ix->at], err);
    if (rc < 0)
        return give_up(ix, rc, err);
    ix->at++;
    *narrow_out = ix->at <= NARROW_LEAVES || ix->at == ix->leaves_n;
    return ix->at < ix->leaves_n ? 1 : BASE_OK;
}

void query_index_end(struct query_index *ix)
{
    ix->at = ix->leaves_n;
    forget_scope(ix);
    mds_text_read_end(&ix->reader);
}

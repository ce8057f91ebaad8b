/* A batch becomes a segment, in one transaction. */
#include "text_private.h"

#define MASKS_ALL        ((1u << BATCH_MASK_BITS) - 1u)
#define GROUPS_SORT_FROM 64u /* postings from which on sorting them by mask beats passes */

/* ---- terms in order ---- */

struct sort_term {
    uint64_t head; /* first eight bytes */
    uint32_t term;
};

static int by_term(const void *va, const void *vb, void *arg)
{
    const struct sort_term *a = va, *c = vb;
    const struct mds_text_batch *b = arg;

    if (a->head != c->head)
        return a->head < c->head ? -1 : 1;
    return bytes_compare(batch_term_bytes(b, &b->terms[a->term]), batch_term_bytes(b, &b->terms[c->term]));
}

static struct sort_term *terms_sorted(const struct mds_text_batch *b)
{
    struct sort_term *v = pages_new(b->terms_n * sizeof *v);

    for (uint32_t i = 0; i < b->terms_n; i++) {
        const struct bytes term = batch_term_bytes(b, &b->terms[i]);
        uint8_t head[8] = {0};

        memcpy(head, term.p, term.n < 8 ? term.n : 8);
        v[i] = (struct sort_term){get_be64(head), i};
    }
    qsort_r(v, b->terms_n, sizeof *v, by_term, (void *)(uintptr_t)b);
    return v;
}

/* Postings by term, of each term in order of item: those of term t end at end[t], where those of t + 1 begin. */
static uint32_t *postings_sorted(const struct mds_text_batch *b, size_t *end)
{
    uint32_t *v = pages_new(log_bytes(&b->log) / 2);
    size_t at = 0, bytes;

    memset(end, 0, b->terms_n * sizeof *end);
    for (uint32_t i = 0; i < b->log.in; i++) {
        const struct batch_entry *e = log_block(&b->log, i, &bytes);

        for (size_t k = 0; k < bytes / sizeof *e; k++)
            end[e[k].term]++;
    }
    for (uint32_t i = 0; i < b->terms_n; i++) { /* now where each begins */
        const size_t n = end[i];

        end[i] = at;
        at += n;
    }
    for (uint32_t i = 0; i < b->log.in; i++) {
        const struct batch_entry *e = log_block(&b->log, i, &bytes);

        for (size_t k = 0; k < bytes / sizeof *e; k++)
            v[end[e[k].term]++] = e[k].posting;
    }
    return v;
}

/* Each group by a pass over all: for few postings. */
static void groups_write_few(const struct mds_text_batch *b, const uint32_t *v, uint32_t n, uint32_t *ids,
                             struct text_writer *w)
{
    uint32_t mask = 0;

    for (;;) {
        uint32_t next = UINT32_MAX, some = 0;

        for (uint32_t i = 0; i < n; i++) {
            const uint32_t now = v[i] & MASKS_ALL;

            if (now == mask)
                ids[some++] = b->items[v[i] >> BATCH_MASK_BITS];
            else if (now > mask && now < next)
                next = now;
        }
        if (some) {
            writer_group(w, mask);
            writer_items(w, ids, some);
        }
        if (next == UINT32_MAX)
            return;
        mask = next;
    }
}

void groups_write(const struct mds_text_batch *b, const uint32_t *v, uint32_t n, uint32_t *ids, struct text_writer *w)
{
    uint32_t end[MASKS_ALL + 1] = {0}, at = 0;

    if (n < GROUPS_SORT_FROM) {
        groups_write_few(b, v, n, ids, w);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        end[v[i] & MASKS_ALL]++;
    for (uint32_t mask = 0; mask <= MASKS_ALL; mask++) { /* now where each begins */
        const uint32_t some = end[mask];

        end[mask] = at;
        at += some;
    }
    for (uint32_t i = 0; i < n; i++)
        ids[end[v[i] & MASKS_ALL]++] = b->items[v[i] >> BATCH_MASK_BITS];
    for (uint32_t mask = 0, from = 0; mask <= MASKS_ALL; from = end[mask++]) {
        if (end[mask] == from)
            continue;
        writer_group(w, mask);
        writer_items(w, ids + from, end[mask] - from);
    }
}

static void terms_write(const struct mds_text_batch *b, struct text_writer *w)
{
    struct sort_term *terms = terms_sorted(b);
    size_t *end = pages_new(b->terms_n * sizeof *end);
    uint32_t *ids = malloc((b->items_n + 1) * sizeof *ids);

    ASSERT(ids);
    uint32_t *postings = postings_sorted(b, end);

    for (uint32_t i = 0; i < b->terms_n; i++) {
        const uint32_t t = terms[i].term;
        const size_t begin = t ? end[t - 1] : 0;

        writer_term(w, batch_term_bytes(b, &b->terms[t]));
        groups_write(b, postings + begin, (uint32_t)(end[t] - begin), ids, w);
    }
    free(postings);
    free(ids);
    free(end);
    free(terms);
}

/* ---- the segment ---- */

static roaring_bitmap_t *items_of(const struct mds_text_batch *b)
{
    roaring_bitmap_t *items = roaring_bitmap_of_ptr(b->items_n, b->items);

    ASSERT(items);
    (void)roaring_bitmap_run_optimize(items);
    return items;
}

static void anchors_of(const struct mds_text_batch *b, struct text_writer *w, const roaring_bitmap_t *items)
{
    struct text_anchor *v = malloc(b->items_n * sizeof *v);

    ASSERT(v);
    for (uint32_t i = 0; i < b->items_n; i++)
        v[i] = (struct text_anchor){b->items[i], b->tags[i]};
    writer_finish(w, items, v, anchors_thin(v, b->items_n));
    free(v);
}

struct commit {
    const struct mds_text *text;
    const struct text_writer *w;
    const roaring_bitmap_t *items;
};

static int duplicate_check(struct mds_txn *t, const struct text_dir *dir, const struct commit *c, struct error *err)
{
    for (uint32_t i = 0; i < dir->n; i++) {
        const struct text_segment *s = &dir->v[i];
        roaring_bitmap_t *items = NULL;

        if (s->state != TEXT_LIVE || s->last < c->w->s.first || s->first > c->w->s.last)
            continue;
        const int rc = text_items_load(t, s, &items, err);

        if (rc != BASE_OK)
            return rc;
        const bool twice = roaring_bitmap_intersect(items, c->items);

        text_set_free(items);
        if (twice)
            return error_set(err, BASE_ERR_USAGE, 0, "%s: some of these items are indexed already", t->env->dir);
    }
    return BASE_OK;
}

static int commit_write(struct mds_txn *t, void *arg, struct error *err)
{
    const struct commit *c = arg;
    struct text_dir dir = {0};
    int rc = text_dir_load(c->text, t, &dir, err);

    if (rc == BASE_OK)
        rc = duplicate_check(t, &dir, c, err);
    if (rc == BASE_OK) {
        struct text_segment *s = dir_add(&dir);
        const uint32_t id = s->id;

        *s = c->w->s;
        s->id = id;
        s->state = TEXT_LIVE;
        rc = rows_put(&c->w->rows, t, id, err);
    }
    if (rc == BASE_OK)
        rc = dir_store(t, &dir, err);
    dir_release(&dir);
    return rc;
}

int mds_text_commit(struct mds_text *text, struct mds_text_batch *b, struct error *err)
{
    struct text_writer w;

    if (b->items_n == 0)
        return BASE_OK;
    batch_settle(b);
    roaring_bitmap_t *items = items_of(b);

    writer_init(&w, b->items[0], b->items[b->items_n - 1]);
    w.s.text_bytes = b->text_bytes;
    terms_write(b, &w);
    chars_write(b, &w);
    anchors_of(b, &w, items);
    const int rc = text_write(text, commit_write, &(struct commit){text, &w, items}, err);

    writer_release(&w);
    text_set_free(items);
    if (rc == BASE_OK)
        mds_text_batch_reset(b);
    return rc;
}

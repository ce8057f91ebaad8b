/*
 * Some segments become one. Terms are taken from all of them in order, postings are streamed, and rows go out in
 * transactions of a bounded size under the number of a segment that the directory does not show yet; the last one shows
 * it instead of the others. Killed anywhere, the directory says what is left to clear away.
 *
 * A snapshot is held only between two of these transactions: a longer one would keep the map from growing.
 */
#include "text_private.h"

#define INPUTS_MAX   32u /* of one step; 256 KiB each */
#define TIER_MEMBERS 8u  /* so many segments of like size become one */
#define TIER_BYTES   (UINT64_C(16) << 10)
#define DEAD_SHARE   4u    /* a segment with more than a quarter dead is written anew */
#define CLEAR_ROWS   2000u /* deleted in a transaction */
#define STOP_TERMS   2048u /* between two questions */

struct input {
    uint32_t segment;
    struct text_blocks blocks;
    struct text_term term;
    uint32_t taken; /* terms of the block, with the one at hand */
    bool open, done;
    uint8_t first[MDS_TEXT_TERM_MAX]; /* of the block, while no snapshot is held */
    size_t first_n;
    struct text_stream stream;
    struct buf scratch;
    struct text_record rec;
    bool in_term; /* has the term at hand, and a group that is not written yet */
    uint32_t *ids, at, n;
};

struct merge {
    struct mds_text *text;
    const struct mds_text_merge_options *opts;
    struct mds_text_reader *r;
    uint32_t segment; /* that is being built */
    struct input *in;
    uint32_t in_n;
    uint64_t *dead; /* bits from w.s.first on, or NULL */
    struct text_writer w;
    uint32_t since_asked;
};

/* ---- clearing away ---- */

struct clear {
    uint32_t segment;
    bool more;
};

static int clear_write(struct mds_txn *t, void *arg, struct error *err)
{
    struct clear *c = arg;
    struct text_dir dir = {0};
    struct key from, key;
    struct bytes at, payload;
    int rc;

    key_reset(&from);
    key_u32(&from, c->segment);
    c->more = false;
    for (unsigned n = 0;; n++) {
        at = key_bytes(&from);
        rc = row_seek(t, TABLE_TEXT, MDB_SET_RANGE, &at, &payload, err);
        if (rc < 0 && rc != BASE_ERR_CORRUPT) /* damaged rows go as well */
            return rc;
        if (rc == 0 || at.n < from.n || memcmp(at.p, from.p, from.n) != 0)
            break;
        if (n == CLEAR_ROWS) {
            c->more = true;
            return BASE_OK;
        }
        key_reset(&key);
        key_raw(&key, at);
        if ((rc = row_delete(t, TABLE_TEXT, key_bytes(&key), NULL, err)) != BASE_OK)
            return rc;
    }
    if ((rc = dir_load(t, &dir, err)) == BASE_OK) {
        dir_remove(&dir, c->segment);
        rc = dir_store(t, &dir, err);
    }
    dir_release(&dir);
    return rc;
}

static int dir_read(struct mds_text *text, struct text_dir *out, struct error *err)
{
    struct mds_txn *t = NULL;
    int rc = mds_read_begin(text->env, &t, err);

    if (rc == BASE_OK)
        rc = dir_load(t, out, err);
    mds_read_end(&t);
    return rc;
}

/* What was given up, or left behind by a killed merge. */
static int clear_all(struct mds_text *text, struct error *err)
{
    struct text_dir dir = {0};
    int rc = dir_read(text, &dir, err);

    for (uint32_t i = 0; i < dir.n && rc == BASE_OK; i++) {
        struct clear c = {dir.v[i].id, dir.v[i].state != TEXT_LIVE};

        while (c.more && rc == BASE_OK)
            rc = text_write(text, clear_write, &c, err);
    }
    dir_release(&dir);
    return rc;
}

/* ---- which ---- */

static uint64_t bytes_of_segment(const struct text_segment *s)
{
    return s->block_bytes + s->gram_block_bytes + s->stream_bytes;
}

static int by_bytes(const void *va, const void *vb)
{
    const struct text_segment *const *a = va, *const *b = vb;
    const uint64_t x = bytes_of_segment(*a), y = bytes_of_segment(*b);

    return x < y ? -1 : x > y;
}

static unsigned tier_of(const struct text_segment *s)
{
    uint64_t weight = bytes_of_segment(s) / TIER_BYTES;
    unsigned tier = 0;

    for (; weight >= 8; weight /= 8)
        tier++;
    return tier;
}

static int part_has_dead(struct mds_text_reader *r, const struct text_part *p, const roaring_bitmap_t *dead,
                         uint64_t share, bool *out, struct error *err)
{
    roaring_bitmap_t *items = NULL;
    int rc = BASE_OK;

    *out = false;
    if (!dead || !text_set_meets(dead, p->s.first, p->s.last))
        return BASE_OK;
    if ((rc = text_items_load(r->txn, &p->s, &items, err)) == BASE_OK)
        *out = roaring_bitmap_and_cardinality(items, dead) * share > p->s.items;
    text_set_free(items);
    return rc;
}

static void inputs_smallest(struct merge *m)
{
    const struct text_segment **v = malloc(m->r->parts_n * sizeof *v);

    ASSERT(v);
    for (uint32_t i = 0; i < m->r->parts_n; i++)
        v[i] = &m->r->parts[i].s;
    qsort(v, m->r->parts_n, sizeof *v, by_bytes);
    for (uint32_t i = 0; i < m->r->parts_n && m->in_n < INPUTS_MAX; i++)
        m->in[m->in_n++].segment = v[i]->id;
    free(v);
}

/* Puts the segments to merge into m->in. None: there is nothing to do. */
static int inputs_choose(struct merge *m, struct error *err)
{
    const roaring_bitmap_t *dead = m->opts->dead;
    struct mds_text_reader *r = m->r;
    unsigned members[64] = {0}, tier = 64;

    if (m->opts->all && r->parts_n > 1) {
        inputs_smallest(m);
        return BASE_OK;
    }
    for (uint32_t i = 0; i < r->parts_n; i++) {
        bool mostly_dead = false;
        const int rc = part_has_dead(r, &r->parts[i], dead, m->opts->all ? UINT32_MAX : DEAD_SHARE, &mostly_dead, err);

        if (rc != BASE_OK)
            return rc;
        if (mostly_dead) {
            m->in[m->in_n++].segment = r->parts[i].s.id;
            return BASE_OK;
        }
        members[tier_of(&r->parts[i].s)]++;
    }
    for (unsigned i = 0; i < 64 && tier == 64; i++) {
        if (members[i] >= TIER_MEMBERS)
            tier = i;
    }
    for (uint32_t i = 0; i < r->parts_n && tier < 64 && m->in_n < INPUTS_MAX; i++) {
        if (tier_of(&r->parts[i].s) == tier)
            m->in[m->in_n++].segment = r->parts[i].s.id;
    }
    return BASE_OK;
}

static const struct text_part *part_find(const struct mds_text_reader *r, uint32_t segment)
{
    for (uint32_t i = 0; i < r->parts_n; i++) {
        if (r->parts[i].s.id == segment)
            return &r->parts[i];
    }
    return NULL;
}

/* ---- inputs ---- */

static void input_suspend(struct input *in)
{
    if (in->open && !in->done) {
        in->first_n = in->blocks.first.n;
        memcpy(in->first, in->blocks.first.p, in->first_n);
    }
    blocks_close(&in->blocks);
    in->open = false;
}

static int input_next(struct input *in, struct error *err)
{
    int rc;

    while (!term_next(&in->term)) {
        if ((rc = blocks_next(&in->blocks, err)) != 1) {
            in->done = true;
            return rc;
        }
        term_first(&in->blocks.b, &in->term);
        in->taken = 0;
    }
    in->taken++;
    return BASE_OK;
}

static int input_open(struct merge *m, struct input *in, enum text_kind kind, bool again, struct error *err)
{
    const struct text_part *part = part_find(m->r, in->segment);
    uint32_t skip = 1;
    int rc;

    if (!part)
        return error_set(err, BASE_ERR_GONE, 0, "%s: the index was given up meanwhile", m->text->env->dir);
    if ((rc = blocks_open(m->r, part, kind, &in->blocks, err)) != BASE_OK)
        return rc;
    in->open = true;
    stream_init(&in->stream, m->r, part, &in->scratch);
    if (again && in->done)
        return BASE_OK;
    if (again) {
        skip = in->taken;
        rc = blocks_seek(&in->blocks, bytes_of(in->first, in->first_n), err);
    } else {
        rc = blocks_first(&in->blocks, err);
    }
    in->done = rc == 0;
    in->taken = 0;
    if (rc != 1)
        return rc;
    term_first(&in->blocks.b, &in->term);
    for (rc = BASE_OK; skip > 0 && rc == BASE_OK; skip--)
        rc = input_next(in, err);
    return rc;
}

static int inputs_open(struct merge *m, enum text_kind kind, bool again, struct error *err)
{
    int rc = BASE_OK;

    for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++)
        rc = input_open(m, &m->in[i], kind, again, err);
    return rc;
}

static void inputs_suspend(struct merge *m)
{
    for (uint32_t i = 0; i < m->in_n; i++)
        input_suspend(&m->in[i]);
}

/* ---- transactions ---- */

static int building_check(struct mds_txn *t, struct text_dir *dir, const struct merge *m, struct text_segment **out,
                          struct error *err)
{
    const int rc = text_dir_load(m->text, t, dir, err);

    if (rc != BASE_OK)
        return rc;
    *out = dir_find(dir, m->segment);
    for (uint32_t i = 0; i < m->in_n && *out; i++) {
        const struct text_segment *s = dir_find(dir, m->in[i].segment);

        if (!s || s->state != TEXT_LIVE)
            *out = NULL;
    }
    if (!*out || (*out)->state != TEXT_BUILDING)
        return error_set(err, BASE_ERR_GONE, 0, "%s: the index was given up meanwhile", m->text->env->dir);
    return BASE_OK;
}

static int begin_write(struct mds_txn *t, void *arg, struct error *err)
{
    struct merge *m = arg;
    struct text_dir dir = {0};
    int rc = text_dir_load(m->text, t, &dir, err);

    if (rc == BASE_OK) {
        struct text_segment *s = dir_add(&dir);

        s->state = TEXT_BUILDING;
        m->segment = s->id;
        rc = dir_store(t, &dir, err);
    }
    dir_release(&dir);
    return rc;
}

static int rows_write(struct mds_txn *t, void *arg, struct error *err)
{
    struct merge *m = arg;
    struct text_segment *s = NULL;
    struct text_dir dir = {0};
    int rc = building_check(t, &dir, m, &s, err);

    if (rc == BASE_OK)
        rc = rows_put(&m->w.rows, t, m->segment, err);
    dir_release(&dir);
    return rc;
}

static int end_write(struct mds_txn *t, void *arg, struct error *err)
{
    struct merge *m = arg;
    struct text_segment *s = NULL;
    struct text_dir dir = {0};
    int rc = building_check(t, &dir, m, &s, err);

    if (rc == BASE_OK)
        rc = rows_put(&m->w.rows, t, m->segment, err);
    if (rc == BASE_OK) {
        if (m->w.s.items) {
            *s = m->w.s;
            s->id = m->segment;
            s->state = TEXT_LIVE;
        } else {
            s->state = TEXT_DEAD;
        }
        for (uint32_t i = 0; i < m->in_n; i++)
            dir_find(&dir, m->in[i].segment)->state = TEXT_DEAD;
        rc = dir_store(t, &dir, err);
    }
    dir_release(&dir);
    return rc;
}

static int merge_flush(struct merge *m, enum text_kind kind, struct error *err)
{
    int rc;

    inputs_suspend(m);
    mds_text_read_end(&m->r);
    if ((rc = text_write(m->text, rows_write, m, err)) != BASE_OK)
        return rc;
    buf_reset(&m->w.rows.data);
    rc = mds_text_read_begin(m->text, &m->r, err);
    return rc == BASE_OK ? inputs_open(m, kind, true, err) : rc;
}

/* ---- postings ---- */

static void dead_drop(const struct merge *m, struct input *in)
{
    uint32_t n = 0;

    if (!m->dead)
        return;
    for (uint32_t i = 0; i < in->n; i++) {
        const uint32_t id = in->ids[i];
        const bool within = id >= m->w.s.first && id <= m->w.s.last; /* the range is that of the living */
        const uint32_t at = id - m->w.s.first;

        if (within && !(m->dead[at / 64] >> (at % 64) & 1))
            in->ids[n++] = id;
    }
    in->n = n;
}

/* Ids of the group in hand; after the last, in->n is 0. */
static int ids_refill(const struct merge *m, struct input *in, struct error *err)
{
    int rc;

    do {
        in->at = in->n = 0;
        if ((rc = record_items(&in->rec, in->ids, &in->n, err)) != 1)
            return rc;
        dead_drop(m, in);
    } while (in->n == 0);
    return BASE_OK;
}

static int group_next(struct input *in, struct error *err)
{
    const int rc = record_group(&in->rec, err);

    in->in_term = rc == 1;
    return rc < 0 ? rc : BASE_OK;
}

/* The ids of all inputs whose group has this mask, in order. */
static int group_merge(struct merge *m, uint32_t mask, struct error *err)
{
    int rc = BASE_OK;

    writer_group(&m->w, mask);
    for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++) {
        struct input *in = &m->in[i];

        in->at = in->n = 0;
        if (in->in_term && in->rec.mask == mask)
            rc = ids_refill(m, in, err);
    }
    while (rc == BASE_OK) {
        struct input *least = NULL;
        uint64_t until = UINT64_MAX; /* the least id of the others */

        for (uint32_t i = 0; i < m->in_n; i++) {
            struct input *in = &m->in[i];

            if (in->at == in->n)
                continue;
            if (!least || in->ids[in->at] < least->ids[least->at]) {
                until = least ? least->ids[least->at] : UINT64_MAX;
                least = in;
            } else if (in->ids[in->at] < until) {
                until = in->ids[in->at];
            }
        }
        if (!least)
            break;
        const uint32_t from = least->at;

        while (least->at < least->n && least->ids[least->at] < until)
            least->at++;
        if (least->at == from) /* segments do not share items */
            return text_corrupt(m->text, least->segment, "an item is in two segments", err);
        writer_items(&m->w, least->ids + from, least->at - from);
        if (least->at == least->n)
            rc = ids_refill(m, least, err);
    }
    for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++) {
        if (m->in[i].in_term && m->in[i].rec.mask == mask)
            rc = group_next(&m->in[i], err);
    }
    return rc;
}

static int term_merge(struct merge *m, struct bytes term, struct error *err)
{
    int rc = BASE_OK;

    writer_term(&m->w, term);
    for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++) {
        struct input *in = &m->in[i];

        in->in_term = false;
        if (in->done || !bytes_equal(in->term.term, term))
            continue;
        record_begin(&in->rec, &in->stream, in->term.stream_at, in->term.stream_n);
        rc = group_next(in, err);
    }
    while (rc == BASE_OK) {
        uint32_t mask = UINT32_MAX;

        for (uint32_t i = 0; i < m->in_n; i++) {
            if (m->in[i].in_term && m->in[i].rec.mask < mask)
                mask = m->in[i].rec.mask;
        }
        if (mask == UINT32_MAX)
            break;
        rc = group_merge(m, mask, err);
    }
    return rc;
}

static bool merge_stopped(struct merge *m)
{
    if (++m->since_asked < STOP_TERMS)
        return false;
    m->since_asked = 0;
    return m->opts->stop && m->opts->stop(m->opts->arg);
}

static int kind_merge(struct merge *m, enum text_kind kind, struct error *err)
{
    uint8_t text[MDS_TEXT_TERM_MAX];
    int rc = inputs_open(m, kind, false, err);

    while (rc == BASE_OK) {
        struct bytes least = {0};

        for (uint32_t i = 0; i < m->in_n; i++) {
            const struct input *in = &m->in[i];

            if (!in->done && (!least.n || bytes_compare(in->term.term, least) < 0))
                least = in->term.term;
        }
        if (!least.n)
            break;
        if (merge_stopped(m))
            return error_set(err, BASE_ERR_CANCELLED, 0, "%s: asked to stop", m->text->env->dir);
        memcpy(text, least.p, least.n);
        least.p = text;
        rc = term_merge(m, least, err);
        for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++) {
            if (!m->in[i].done && bytes_equal(m->in[i].term.term, least))
                rc = input_next(&m->in[i], err);
        }
        if (rc == BASE_OK && m->w.rows.data.n >= m->text->merge_bytes)
            rc = merge_flush(m, kind, err);
    }
    inputs_suspend(m);
    return rc;
}

/* ---- items and anchors ---- */

static int items_merge(struct merge *m, roaring_bitmap_t *out, struct error *err)
{
    int rc = BASE_OK;

    for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++) {
        const struct text_part *part = part_find(m->r, m->in[i].segment);
        roaring_bitmap_t *items = NULL;

        if ((rc = text_items_load(m->r->txn, &part->s, &items, err)) == BASE_OK)
            roaring_bitmap_or_inplace(out, items);
        text_set_free(items);
        m->w.s.text_bytes += part->s.text_bytes; /* of the dead as well: they were looked at */
    }
    if (rc == BASE_OK && m->opts->dead)
        roaring_bitmap_andnot_inplace(out, m->opts->dead);
    (void)roaring_bitmap_run_optimize(out);
    return rc;
}

static void dead_bits(struct merge *m, const roaring_bitmap_t *items)
{
    const uint32_t first = m->w.s.first, range = m->w.s.last - first + 1;
    roaring_uint32_iterator_t it;

    if (!m->opts->dead || roaring_bitmap_is_empty(m->opts->dead))
        return;
    m->dead = malloc((range / 64 + 1) * sizeof *m->dead);
    ASSERT(m->dead);
    memset(m->dead, 0xff, (range / 64 + 1) * sizeof *m->dead);
    for (roaring_init_iterator(items, &it); it.has_value; (void)roaring_advance_uint32_iterator(&it))
        m->dead[(it.current_value - first) / 64] &= ~(UINT64_C(1) << ((it.current_value - first) % 64));
}

static int by_item(const void *va, const void *vb)
{
    const struct text_anchor *a = va, *b = vb;

    return a->item < b->item ? -1 : a->item > b->item;
}

static int anchors_merge(struct merge *m, const roaring_bitmap_t *items, struct text_anchor *v, size_t *n_out,
                         struct error *err)
{
    size_t n = 0, kept = 0;
    int rc = BASE_OK;

    for (uint32_t i = 0; i < m->in_n && rc == BASE_OK; i++) {
        size_t some = 0;

        rc = text_anchors_load(m->r->txn, m->in[i].segment, v + n, &some, err);
        n += some;
    }
    if (rc != BASE_OK)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (roaring_bitmap_contains(items, v[i].item))
            v[kept++] = v[i];
    }
    qsort(v, kept, sizeof *v, by_item);
    *n_out = anchors_thin(v, kept);
    return BASE_OK;
}

/* ---- a step ---- */

static int merge_run(struct merge *m, struct error *err)
{
    struct text_anchor *anchors = malloc(INPUTS_MAX * TEXT_ANCHORS_MAX * sizeof *anchors);
    roaring_bitmap_t *items = roaring_bitmap_create();
    uint64_t text_bytes;
    size_t anchors_n = 0;
    int rc;

    ASSERT(anchors && items);
    if ((rc = items_merge(m, items, err)) != BASE_OK || (rc = anchors_merge(m, items, anchors, &anchors_n, err)) != 0)
        goto out;
    for (uint32_t i = 0; i < m->in_n; i++) {
        m->in[i].ids = malloc(LIST_CHUNK_MAX * sizeof *m->in[i].ids);
        ASSERT(m->in[i].ids);
    }
    text_bytes = m->w.s.text_bytes;
    mds_text_read_end(&m->r);
    if ((rc = text_write(m->text, begin_write, m, err)) != BASE_OK ||
        (rc = mds_text_read_begin(m->text, &m->r, err)) != BASE_OK)
        goto out;
    if (!roaring_bitmap_is_empty(items)) {
        writer_init(&m->w, roaring_bitmap_minimum(items), roaring_bitmap_maximum(items));
        m->w.s.text_bytes = text_bytes;
        dead_bits(m, items);
        if ((rc = kind_merge(m, TEXT_TERMS, err)) != BASE_OK)
            goto out;
        writer_grams(&m->w);
        if ((rc = kind_merge(m, TEXT_GRAMS, err)) != BASE_OK)
            goto out;
        writer_finish(&m->w, items, anchors, anchors_n);
    }
    mds_text_read_end(&m->r);
    rc = text_write(m->text, end_write, m, err);
out:
    inputs_suspend(m);
    mds_text_read_end(&m->r);
    for (uint32_t i = 0; i < m->in_n; i++) {
        free(m->in[i].ids);
        buf_release(&m->in[i].scratch);
    }
    writer_release(&m->w);
    free(m->dead);
    free(anchors);
    text_set_free(items);
    return rc;
}

int mds_text_merge(struct mds_text *text, const struct mds_text_merge_options *opts, bool *more_out, struct error *err)
{
    static const struct mds_text_merge_options defaults = {0};
    struct merge m = {.text = text, .opts = opts ? opts : &defaults};
    int rc = mds_build_lock(text->env, err);

    *more_out = false;
    if (rc != BASE_OK)
        return rc;
    m.in = calloc(INPUTS_MAX, sizeof *m.in);
    ASSERT(m.in);
    rc = clear_all(text, err);
    if (rc == BASE_OK)
        rc = mds_text_read_begin(text, &m.r, err);
    if (rc == BASE_OK)
        rc = inputs_choose(&m, err);
    if (rc == BASE_OK && m.in_n > 0) {
        rc = merge_run(&m, err);
        *more_out = rc == BASE_OK;
        const int cleared = clear_all(text, rc == BASE_OK ? err : NULL);

        rc = rc == BASE_OK ? cleared : rc;
    }
    mds_text_read_end(&m.r);
    free(m.in);
    mds_build_unlock(text->env);
    return rc;
}

static int drop_write(struct mds_txn *t, void *arg, struct error *err)
{
    struct text_dir dir = {0};
    int rc = dir_load(t, &dir, err);

    (void)arg;
    for (uint32_t i = 0; i < dir.n; i++)
        dir.v[i].state = TEXT_DEAD;
    if (rc == BASE_OK)
        rc = dir_store(t, &dir, err);
    dir_release(&dir);
    return rc;
}

int mds_text_drop(struct mds_text *text, struct error *err)
{
    int rc = mds_build_lock(text->env, err);

    if (rc != BASE_OK)
        return rc;
    rc = text_write(text, drop_write, NULL, err);
    if (rc == BASE_OK)
        rc = clear_all(text, err);
    mds_build_unlock(text->env);
    return rc;
}

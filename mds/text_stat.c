/* What is in the index: sizes, anchors, every posting. */
#include "text_private.h"

#include <sys/stat.h>

int mds_text_stat(struct mds_text_reader *r, struct mds_text_stat *out, struct error *err)
{
    struct mds_usage usage;
    struct stat st;

    *out = (struct mds_text_stat){.segments = r->parts_n, .items = roaring_bitmap_get_cardinality(r->items)};
    for (uint32_t i = 0; i < r->dir.n; i++) {
        out->building += r->dir.v[i].state == TEXT_BUILDING;
        out->dead += r->dir.v[i].state == TEXT_DEAD;
    }
    for (uint32_t i = 0; i < r->parts_n; i++) {
        const struct text_segment *s = &r->parts[i].s;

        out->text_bytes += s->text_bytes;
        out->terms += s->terms;
        out->postings += s->postings;
        out->dictionary_bytes += s->block_bytes;
        out->postings_bytes += s->grams_at;
        out->grams_bytes += s->gram_block_bytes + s->stream_bytes - s->grams_at;
    }
    mds_usage(r->text->env, &usage);
    MDB_stat table;
    const int lmdb = mdb_stat(r->txn->lmdb, r->txn->env->dbi[TABLE_TEXT], &table);

    if (lmdb)
        return txn_fail(r->txn, lmdb, "asking for a table's size", err);
    if (stat(r->text->env->path, &st) != 0)
        return error_errno(err, "stat %s", r->text->env->path);
    out->used_bytes =
        (uint64_t)(table.ms_branch_pages + table.ms_leaf_pages + table.ms_overflow_pages) * table.ms_psize;
    out->file_bytes = (uint64_t)st.st_blocks * 512;
    return BASE_OK;
}

int mds_text_anchors(struct mds_text_reader *r, uint64_t *pos, uint64_t *item_out, uint64_t *tag_out, struct error *err)
{
    struct text_anchor v[TEXT_ANCHORS_MAX];

    while (*pos / TEXT_ANCHORS_MAX < r->parts_n) {
        const uint32_t part = (uint32_t)(*pos / TEXT_ANCHORS_MAX);
        const size_t at = (size_t)(*pos % TEXT_ANCHORS_MAX);
        size_t n = 0;
        const int rc = text_anchors_load(r->txn, r->parts[part].s.id, v, &n, err);

        if (rc != BASE_OK)
            return rc;
        if (at < n) {
            *item_out = v[at].item;
            *tag_out = v[at].tag;
            (*pos)++;
            return 1;
        }
        *pos = (uint64_t)(part + 1) * TEXT_ANCHORS_MAX;
    }
    return 0;
}

/* ---- every posting ---- */

struct walk {
    struct mds_text_reader *r;
    const roaring_bitmap_t *within;
    mds_text_walk_fn *fn;
    void *arg;
};

static int term_walk(struct walk *w, struct text_stream *stream, const struct text_term *t, struct error *err)
{
    struct text_record rec;
    uint32_t n;
    int rc;

    record_begin(&rec, stream, t->stream_at, t->stream_n);
    while ((rc = record_group(&rec, err)) == 1) {
        while ((rc = record_items(&rec, w->r->ids, &n, err)) == 1) {
            for (uint32_t i = 0; i < n; i++) {
                if (w->within && !roaring_bitmap_contains(w->within, w->r->ids[i]))
                    continue;
                if ((rc = w->fn(t->term, w->r->ids[i], rec.mask, w->arg)) != 0)
                    return rc;
            }
        }
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int part_walk(struct walk *w, const struct text_part *part, struct error *err)
{
    struct text_stream stream;
    struct text_blocks blocks;
    int rc = blocks_open(w->r, part, TEXT_TERMS, &blocks, err);

    if (rc != BASE_OK)
        return rc;
    stream_init(&stream, w->r, part, &w->r->stream);
    for (rc = blocks_first(&blocks, err); rc == 1; rc = blocks_next(&blocks, err)) {
        struct text_term t;

        term_first(&blocks.b, &t);
        for (rc = 0; rc == 0 && term_next(&t);)
            rc = term_walk(w, &stream, &t, err);
        if (rc != 0)
            break;
    }
    blocks_close(&blocks);
    return rc;
}

int mds_text_walk(struct mds_text_reader *r, const roaring_bitmap_t *within, mds_text_walk_fn *fn, void *arg,
                  struct error *err)
{
    struct walk w = {r, within, fn, arg};
    int rc = 0;

    reader_ids(r);
    for (uint32_t i = 0; i < r->parts_n && rc == 0; i++) {
        const struct text_segment *s = &r->parts[i].s;

        if (!within || text_set_meets(within, s->first, s->last))
            rc = part_walk(&w, &r->parts[i], err);
    }
    return rc;
}

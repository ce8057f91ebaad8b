/*
 * Is the index sound in itself? Every row's seal, whatever was checked before; blocks and postings in order, counts
 * against the directory, items within those of the segment, some grams against the terms that contain them. Whether it
 * says of each item what the item says is the caller's to prove (mds_text_walk).
 */
#include "text_private.h"

#include <stdarg.h>

#define FINDINGS_MAX 1000
#define GRAMS_PROVED 64u /* of a segment, spread */

struct text_check {
    struct mds_text_reader *r;
    mds_text_finding_fn *finding;
    void *arg;
    int found;
    const struct text_part *part;
    roaring_bitmap_t *items; /* of the segment */
    uint64_t stream_at;      /* where the next postings must begin */
    uint64_t terms, postings;
    uint8_t before[MDS_TEXT_TERM_MAX];
    size_t before_n;
};

static void say(struct text_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text_check *c, const char *fmt, ...)
{
    char text[480];
    va_list args;

    if (c->found++ >= FINDINGS_MAX)
        return;
    const int n = snprintf(text, sizeof text, "text: segment %u: ", c->part ? c->part->s.id : 0);

    va_start(args, fmt);
    (void)vsnprintf(text + n, sizeof text - (size_t)n, fmt, args);
    va_end(args);
    c->finding(text, c->arg);
}

/* What a row's error says is a finding; other errors end the check. */
static int say_error(struct text_check *c, int rc, const struct error *e, struct error *err)
{
    if (rc != BASE_ERR_CORRUPT) {
        if (err)
            *err = *e;
        return rc;
    }
    say(c, "%s", e->text);
    return BASE_OK;
}

/* ---- rows ---- */

static int rows_check(struct text_check *c, struct error *err)
{
    struct bytes key = {0}, payload;
    struct error e;
    uint64_t rows = 0;
    MDB_stat st;
    int rc;

    for (rc = row_seek(c->r->txn, TABLE_TEXT, MDB_FIRST, &key, &payload, &e); rc != 0;
         rc = row_seek(c->r->txn, TABLE_TEXT, MDB_NEXT, &key, &payload, &e)) {
        if (rc < 0 && (rc = say_error(c, rc, &e, err)) != BASE_OK)
            return rc;
        rows++;
        if (key.n >= TEXT_KEY_HEAD && !dir_find(&c->r->dir, get_be32(key.p)))
            say(c, "rows of segment %u, which the directory does not name", get_be32(key.p));
        if (c->found >= FINDINGS_MAX)
            return BASE_OK;
    }
    if (mdb_stat(c->r->txn->lmdb, c->r->txn->env->dbi[TABLE_TEXT], &st) == 0 && st.ms_entries != rows)
        say(c, "%llu rows, LMDB counted %llu", (unsigned long long)rows, (unsigned long long)st.ms_entries);
    return BASE_OK;
}

/* ---- postings ---- */

static void ids_check(struct text_check *c, const struct text_term *t, int64_t *last, const uint32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] <= *last) {
            say(c, "'%.*s': items out of order", (int)t->term.n, (const char *)t->term.p);
            return;
        }
        if (!roaring_bitmap_contains(c->items, ids[i])) {
            say(c, "'%.*s': item %u is not of the segment", (int)t->term.n, (const char *)t->term.p, ids[i]);
            return;
        }
        *last = ids[i];
    }
}

static int postings_check(struct text_check *c, struct text_stream *stream, const struct text_term *t, bool count,
                          struct error *err)
{
    struct text_record rec;
    uint32_t n;
    int rc;

    record_begin(&rec, stream, t->stream_at, t->stream_n);
    while ((rc = record_group(&rec, err)) == 1) {
        int64_t last = -1;

        while ((rc = record_items(&rec, c->r->ids, &n, err)) == 1) {
            ids_check(c, t, &last, c->r->ids, n);
            c->postings += count ? n : 0;
        }
        if (rc < 0)
            return rc;
    }
    return rc;
}

static void place_check(struct text_check *c, const struct text_term *t)
{
    const struct bytes before = bytes_of(c->before, c->before_n);

    if (before.n && bytes_compare(before, t->term) >= 0)
        say(c, "'%.*s' is out of order", (int)t->term.n, (const char *)t->term.p);
    if (t->stream_at != c->stream_at)
        say(c, "'%.*s': its postings are not behind those before", (int)t->term.n, (const char *)t->term.p);
    c->stream_at = t->stream_at + t->stream_n;
    c->before_n = t->term.n;
    memcpy(c->before, t->term.p, t->term.n);
}

static int block_terms_check(struct text_check *c, struct text_blocks *w, uint32_t number, struct error *err)
{
    struct text_stream stream;
    struct text_term t;
    struct error e;
    int rc;

    if (w->b.number != number)
        say(c, "a block of terms is missing or doubled: number %u, not %u", w->b.number, number);
    stream_init(&stream, c->r, c->part, &c->r->stream);
    term_first(&w->b, &t);
    while (term_next(&t)) {
        place_check(c, &t);
        c->terms++;
        rc = postings_check(c, &stream, &t, w->kind == TEXT_TERMS, &e);
        if (rc < 0 && (rc = say_error(c, rc, &e, err)) != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

static int kind_check(struct text_check *c, enum text_kind kind, uint32_t blocks, struct error *err)
{
    struct text_blocks w;
    struct error e;
    uint32_t n = 0;
    int rc = blocks_open(c->r, c->part, kind, &w, err);

    if (rc != BASE_OK)
        return rc;
    c->before_n = 0;
    c->terms = 0;
    for (rc = blocks_first(&w, &e); rc == 1 && c->found < FINDINGS_MAX; rc = blocks_next(&w, &e)) {
        if ((rc = block_terms_check(c, &w, n++, err)) != BASE_OK)
            break;
    }
    blocks_close(&w);
    if (rc < 0)
        return say_error(c, rc, &e, err);
    if (n != blocks && c->found == 0)
        say(c, "%u blocks, the directory says %u", n, blocks);
    return BASE_OK;
}

/* ---- grams ---- */

struct gram_proof {
    struct text_check *c;
    struct text_stream stream;
    roaring_bitmap_t *items;
};

static int gram_collect(uint64_t at, uint64_t n, void *arg, struct error *err)
{
    struct gram_proof *p = arg;
    struct text_record rec;
    uint32_t got;
    int rc;

    record_begin(&rec, &p->stream, at, n);
    while ((rc = record_group(&rec, err)) == 1) {
        while ((rc = record_items(&rec, p->c->r->ids, &got, err)) == 1)
            roaring_bitmap_add_many(p->items, got, p->c->r->ids);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* Items of a gram, by itself (whole) or by the terms that contain it. */
static int gram_items(struct text_check *c, struct bytes gram, bool by_terms, roaring_bitmap_t **out, struct error *err)
{
    struct gram_proof proof = {.c = c, .items = roaring_bitmap_create()};
    struct text_search s = {
        .term = gram, .match = MDS_MATCH_CONTAINS, .by_terms = by_terms, .fn = gram_collect, .arg = &proof};

    stream_init(&proof.stream, c->r, c->part, &c->r->stream);
    *out = proof.items;
    return search_part(c->r, c->part, &s, err);
}

static int gram_prove(struct text_check *c, struct bytes term, struct error *err)
{
    roaring_bitmap_t *stored = NULL, *united = NULL;
    uint8_t text[MDS_TEXT_TERM_MAX];

    memcpy(text, term.p, term.n);
    const struct bytes gram = bytes_of(text, term.n);
    int rc = gram_items(c, gram, false, &stored, err);

    if (rc == 0)
        rc = gram_items(c, gram, true, &united, err);
    if (rc == 0 && !roaring_bitmap_equals(stored, united))
        say(c, "gram '%.*s': %llu items, its terms have %llu", (int)gram.n, (const char *)gram.p,
            (unsigned long long)roaring_bitmap_get_cardinality(stored),
            (unsigned long long)roaring_bitmap_get_cardinality(united));
    text_set_free(stored);
    text_set_free(united);
    return rc;
}

static int grams_prove(struct text_check *c, uint64_t grams, struct error *err)
{
    const uint64_t step = grams / GRAMS_PROVED + 1;
    struct text_blocks w;
    uint64_t n = 0;
    int rc = blocks_open(c->r, c->part, TEXT_GRAMS, &w, err);

    if (rc != BASE_OK)
        return rc;
    for (rc = blocks_first(&w, err); rc == 1; rc = blocks_next(&w, err)) {
        struct text_term t;

        term_first(&w.b, &t);
        for (rc = 0; rc == 0 && term_next(&t); n++) {
            if (n % step == 0)
                rc = gram_prove(c, t.term, err);
        }
        if (rc != 0)
            break;
    }
    blocks_close(&w);
    return rc;
}

/* ---- a segment ---- */

static int part_check(struct text_check *c, struct error *err)
{
    const struct text_segment *s = &c->part->s;
    struct text_anchor anchors[TEXT_ANCHORS_MAX];
    struct error e;
    size_t anchors_n;
    int rc;

    c->stream_at = c->postings = 0;
    if ((rc = text_items_load(c->r->txn, s, &c->items, &e)) != BASE_OK)
        return say_error(c, rc, &e, err);
    if ((rc = text_anchors_load(c->r->txn, s->id, anchors, &anchors_n, &e)) != BASE_OK &&
        (rc = say_error(c, rc, &e, err)) != BASE_OK)
        return rc;
    if ((rc = kind_check(c, TEXT_TERMS, s->blocks, err)) != BASE_OK)
        return rc;
    if (c->terms != s->terms || c->postings != s->postings || c->stream_at != s->grams_at)
        say(c, "%llu terms with %llu postings, the directory says %llu with %llu", (unsigned long long)c->terms,
            (unsigned long long)c->postings, (unsigned long long)s->terms, (unsigned long long)s->postings);
    if ((rc = kind_check(c, TEXT_GRAMS, s->gram_blocks, err)) != BASE_OK)
        return rc;
    if (c->stream_at != s->stream_bytes)
        say(c, "postings of %llu bytes, the directory says %llu", (unsigned long long)c->stream_at,
            (unsigned long long)s->stream_bytes);
    if (c->found || (rc = grams_prove(c, c->terms, &e)) == BASE_OK)
        return BASE_OK;
    return say_error(c, rc, &e, err);
}

int mds_text_verify(struct mds_text_reader *r, mds_text_finding_fn *finding, void *arg, struct error *err)
{
    struct text_check c = {.r = r, .finding = finding, .arg = arg};
    int rc = rows_check(&c, err);

    (void)reader_ids(r);
    for (uint32_t i = 0; i < r->parts_n && rc == BASE_OK && c.found < FINDINGS_MAX; i++) {
        c.part = &r->parts[i];
        rc = part_check(&c, err);
        text_set_free(c.items);
        c.items = NULL;
    }
    return rc < 0 ? rc : c.found < FINDINGS_MAX ? c.found : FINDINGS_MAX;
}

/*
 * Is the content index what the items say?
 *
 * Each sampled item is read anew; of its terms, each with the classes where it stands, a sum is kept, and how many
 * there are. One walk over the index gives the same of what is indexed: 24 bytes an item, whatever the size. Sums of 64
 * bits that are equal by accident are not feared.
 */
#include "index_private.h"

#include "system.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item_sum {
    uint32_t item, terms;
    uint64_t sum;
    bool unreadable;
};

/* The terms of one item, by hash: open addressing, classes as bits. */
struct term_set {
    uint64_t *hashes; /* 0: free */
    uint32_t *classes;
    size_t size, n;
};

struct text_check {
    const struct indexer_index_verify *v;
    struct index_archive archive;
    struct index_reader reader;
    struct mds_text *text;
    struct item_sum *sums, *found; /* ascending by item */
    size_t n;
    struct term_set set;
    int findings;
    int64_t began_ns;
};

static void finding(struct text_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void finding(struct text_check *c, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->findings++;
    if (c->v->finding)
        c->v->finding(text, c->v->arg);
}

static void finding_of_structure(const char *text, void *arg)
{
    finding(arg, "content index: %s", text);
}

/* ---- sums ------------------------------------------------------------------------------------------- */

static uint64_t hash_of(struct bytes term)
{
    const uint64_t h = hash64_of(term);
    return h ? h : 1;
}

static uint64_t mix(uint64_t hash, uint32_t classes)
{
    uint64_t x = hash ^ (uint64_t)classes * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static void set_grow(struct term_set *set)
{
    struct term_set bigger = {.size = set->size ? set->size * 2 : 4096};
    bigger.hashes = calloc(bigger.size, sizeof *bigger.hashes);
    bigger.classes = calloc(bigger.size, sizeof *bigger.classes);
    ASSERT(bigger.hashes && bigger.classes);
    for (size_t i = 0; i < set->size; i++) {
        if (!set->hashes[i])
            continue;
        size_t at = set->hashes[i] & (bigger.size - 1);
        while (bigger.hashes[at])
            at = (at + 1) & (bigger.size - 1);
        bigger.hashes[at] = set->hashes[i];
        bigger.classes[at] = set->classes[i];
    }
    bigger.n = set->n;
    free(set->hashes);
    free(set->classes);
    *set = bigger;
}

static void set_add(enum mds_text_class class, struct bytes term, void *arg)
{
    struct term_set *set = arg;
    const uint64_t hash = hash_of(term);
    if ((set->n + 1) * 2 > set->size)
        set_grow(set);
    size_t at = hash & (set->size - 1);
    while (set->hashes[at] && set->hashes[at] != hash)
        at = (at + 1) & (set->size - 1);
    set->n += set->hashes[at] == 0;
    set->hashes[at] = hash;
    set->classes[at] |= MDS_TEXT_MASK(class);
}

static void set_sum(struct term_set *set, struct item_sum *out)
{
    for (size_t i = 0; i < set->size; i++) {
        if (set->hashes[i])
            out->sum += mix(set->hashes[i], set->classes[i]);
    }
    out->terms = (uint32_t)set->n;
    memset(set->hashes, 0, set->size * sizeof *set->hashes);
    memset(set->classes, 0, set->size * sizeof *set->classes);
    set->n = 0;
}

/* ---- what the items say, what the index says ---------------------------------------------------------- */

static int read_items(struct text_check *c, struct indexer_index_verified *out, struct error *err)
{
    set_grow(&c->set);
    for (size_t i = 0; i < c->n; i++) {
        struct item_sum *s = &c->sums[i];
        struct mds_item item;
        struct error why = {0};
        if (c->v->at.cancel && *c->v->at.cancel)
            return error_set(err, BASE_ERR_CANCELLED, 0, "stopped before the end");
        int rc = i % 64 == 0 ? mds_read_renew(c->reader.txn, err) : 0;
        if (rc < 0)
            return rc;
        rc = mds_item_get(c->reader.txn, s->item, &item, &why);
        const bool gone = rc == BASE_ERR_NOTFOUND; /* let go for good: what the index says of it meets nobody */
        if (rc >= 0)
            rc = index_reader_open(&c->reader, &item, &why);
        if (rc >= 0)
            rc = index_reader_terms(&c->reader, set_add, &c->set, &why);
        index_reader_close(&c->reader);
        set_sum(&c->set, s);
        s->unreadable = rc < 0;
        out->items += !gone;
        out->unreadable += rc < 0 && !gone;
        if (rc < 0 && !index_is_items_own(rc)) {
            *err = why;
            return rc;
        }
        if (c->v->progress) {
            const struct indexer_progress p = {.archive = c->v->at.archive,
                                               .phase = "verify",
                                               .items_done = i + 1,
                                               .items_planned = c->n,
                                               .planned_all = true,
                                               .seconds = (double)(indexer_monotonic_ns() - c->began_ns) / 1e9};
            c->v->progress(&p, c->v->progress_arg);
        }
    }
    return 0;
}

static int compare_items(const void *a, const void *b)
{
    const uint32_t x = ((const struct item_sum *)a)->item, y = ((const struct item_sum *)b)->item;
    return x < y ? -1 : x > y;
}

static int see_posting(struct bytes term, uint64_t item, uint32_t classes, void *arg)
{
    struct text_check *c = arg;
    const struct item_sum key = {.item = (uint32_t)item};
    struct item_sum *s = bsearch(&key, c->found, c->n, sizeof *c->found, compare_items);
    if (s) {
        s->terms++;
        s->sum += mix(hash_of(term), classes);
    }
    return 0;
}

static void compare(struct text_check *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct item_sum *want = &c->sums[i], *have = &c->found[i];
        if (want->unreadable || (want->terms == have->terms && want->sum == have->sum))
            continue;
        if (want->terms != have->terms)
            finding(c, "item %" PRIu32 ": the content index has %" PRIu32 " terms of it, its texts have %" PRIu32,
                    want->item, have->terms, want->terms);
        else
            finding(c, "item %" PRIu32 ": the content index has other terms of it than its texts", want->item);
    }
}

/* Spread over the set. */
static void choose(struct text_check *c, const roaring_bitmap_t *items)
{
    const uint64_t all = roaring_bitmap_get_cardinality(items);
    const uint64_t n = c->v->sample && c->v->sample < all ? c->v->sample : all;
    c->sums = calloc((size_t)n + 1, sizeof *c->sums);
    c->found = calloc((size_t)n + 1, sizeof *c->found);
    ASSERT(c->sums && c->found);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t item = 0;
        if (roaring_bitmap_select(items, (uint32_t)((double)i * (double)all / (double)n), &item)) {
            c->sums[c->n].item = c->found[c->n].item = item;
            c->n++;
        }
    }
}

static int check(struct text_check *c, struct indexer_index_verified *out, struct error *err)
{
    struct mds_text_reader *r = NULL;
    roaring_bitmap_t *within = NULL;
    uint64_t end = 1;
    int rc = mds_text_read_begin(c->text, &r, err);
    if (rc >= 0)
        rc = mds_text_verify(r, finding_of_structure, c, err);
    if (rc >= 0)
        rc = mds_item_end(c->reader.txn, &end, err);
    if (rc >= 0) {
        choose(c, mds_text_items(r));
        out->unindexed = end - 1 - roaring_bitmap_get_cardinality(mds_text_items(r));
        rc = read_items(c, out, err);
    }
    if (rc >= 0) {
        within = roaring_bitmap_create();
        for (size_t i = 0; i < c->n; i++)
            roaring_bitmap_add(within, c->sums[i].item);
        rc = mds_text_walk(r, within, see_posting, c, err);
        roaring_bitmap_free(within);
    }
    if (rc >= 0)
        compare(c);
    mds_text_read_end(&r);
    return rc;
}

int indexer_index_verify(const struct indexer_index_verify *v, struct indexer_index_verified *out, struct error *err)
{
    struct text_check c = {.v = v, .began_ns = indexer_monotonic_ns()};
    *out = (struct indexer_index_verified){0};
    int rc = index_archive_open(&v->at, v->trace_fields, false, &c.archive, err);
    if (rc < 0)
        return rc;
    rc = index_reader_begin(&c.archive, &c.reader, err);
    if (rc >= 0)
        rc = filing_text_open(c.archive.env, c.reader.txn, &c.archive.settings, &c.text, err);
    if (rc >= 0)
        rc = check(&c, out, err);
    if (rc == BASE_ERR_GONE)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0,
                       "there is no content index of this archive as it is: mds index makes one");
    if (rc == BASE_ERR_CORRUPT) { /* what cannot be read on is a finding */
        finding(&c, "content index: %s", err ? err->text : "damaged");
        rc = 0;
    }
    mds_text_close(&c.text);
    index_reader_end(&c.reader);
    index_archive_close(&c.archive);
    free(c.sums);
    free(c.found);
    free(c.set.hashes);
    free(c.set.classes);
    return rc < 0 ? rc : c.findings;
}

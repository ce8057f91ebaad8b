/*
 * The content index against a naive model: a table of classes by term and item. Random batches that interleave, merges
 * of some and of all, items that are dropped, reopening; and after each of them all four matches under random masks.
 */
#include "mds/text.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "test_support.h"

#define TERMS 240u
#define ITEMS 4000u

struct model {
    char term[TERMS][MDS_TEXT_TERM_MAX + 1];
    uint32_t terms;
    uint32_t id[ITEMS]; /* ascending */
    uint16_t mask[TERMS][ITEMS];
    bool indexed[ITEMS];
    uint32_t items;
    uint64_t text_bytes;
};

static void must(int rc, const struct error *err, int line)
{
    cr_assert_geq(rc, 0, "line %d: %s: %s", line, base_err_name((enum base_err)rc), err->text);
}
#define MUST(call) must((call), &err, __LINE__)

static void term_make(struct rng *r, char *out)
{
    static const char *const letters[] = {"A",
                                          "B",
                                          "C",
                                          "D",
                                          "E",
                                          "0",
                                          "\xcc\x81",
                                          "\xd0\x96",
                                          "\xd0\x97",
                                          "\xe4\xb8\xad",
                                          "\xe0\xa4\x95",
                                          "\xf0\x90\x8c\xb0"};
    const size_t kinds = rng_once_in(r, 3) ? 12 : 5;
    size_t n = rng_once_in(r, 12) ? 1 + rng_below(r, 16) : 1 + rng_below(r, 5);

    *out = 0;
    while (n-- && strlen(out) + 4 <= MDS_TEXT_TERM_MAX)
        strcat(out, letters[rng_below(r, kinds)]);
}

static struct model *model_new(struct rng *r)
{
    struct model *m = calloc(1, sizeof *m);
    uint32_t id = 1;

    cr_assert(m);
    while (m->terms < TERMS) {
        bool known = false;

        term_make(r, m->term[m->terms]);
        for (uint32_t i = 0; i < m->terms; i++)
            known |= strcmp(m->term[i], m->term[m->terms]) == 0;
        m->terms += !known;
    }
    for (uint32_t i = 0; i < ITEMS; i++) {
        m->id[i] = id;
        id += rng_once_in(r, 500) ? 1 + (uint32_t)rng_below(r, 150000) : rng_once_in(r, 10) ? 2 : 1;
    }
    return m;
}

static void item_add(struct rng *r, struct model *m, struct mds_text_batch *b, uint32_t i)
{
    mds_text_batch_begin(b, m->id[i], m->id[i] * UINT64_C(7));
    mds_text_batch_text(b, i);
    m->text_bytes += i;
    for (uint32_t t = 0; t < m->terms; t++) {
        /* from all items to hardly any; the most frequent ones mostly in one class */
        if (!rng_once_in(r, 1 + (uint64_t)t * t / 20))
            continue;
        for (uint64_t n = rng_once_in(r, 4) ? 3 : 1; n--;) {
            const enum mds_text_class c =
                rng_once_in(r, 3) ? (enum mds_text_class)rng_below(r, MDS_TEXT_CLASSES) : MDS_TEXT_BODY;

            m->mask[t][i] |= (uint16_t)MDS_TEXT_MASK(c);
            mds_text_batch_add(b, c, bytes_str(m->term[t]));
        }
    }
    m->indexed[i] = true;
}

/* Some more items in up to three batches, each item in one of them. */
static void grow(struct rng *r, struct model *m, struct mds_text *text)
{
    struct mds_text_batch *b[3];
    const uint32_t batches = 1 + (uint32_t)rng_below(r, 3);
    uint32_t n = rng_once_in(r, 4) ? 1 + (uint32_t)rng_below(r, 1200) : 1 + (uint32_t)rng_below(r, 60);
    struct error err;

    for (uint32_t i = 0; i < batches; i++)
        b[i] = mds_text_batch_new();
    for (; n && m->items < ITEMS; n--, m->items++) {
        if (!rng_once_in(r, 40)) /* else left unindexed */
            item_add(r, m, b[rng_below(r, batches)], m->items);
    }
    for (uint32_t i = 0; i < batches; i++) {
        MUST(mds_text_commit(text, b[i], &err));
        cr_assert_eq(mds_text_batch_items(b[i]), 0);
        mds_text_batch_free(&b[i]);
    }
}

static bool text_matches(const char *have, const char *want, enum mds_match match)
{
    const size_t n = strlen(have), k = strlen(want);

    if (n < k)
        return false;
    switch (match) {
    case MDS_MATCH_PREFIX: return memcmp(have, want, k) == 0;
    case MDS_MATCH_SUFFIX: return memcmp(have + n - k, want, k) == 0;
    case MDS_MATCH_WHOLE: return strcmp(have, want) == 0;
    default: return strstr(have, want) != NULL;
    }
}

static roaring_bitmap_t *expected(const struct model *m, const char *want, enum mds_match match, uint32_t classes)
{
    roaring_bitmap_t *out = roaring_bitmap_create();

    for (uint32_t t = 0; t < m->terms; t++) {
        if (!text_matches(m->term[t], want, match))
            continue;
        for (uint32_t i = 0; i < m->items; i++) {
            if (m->indexed[i] && m->mask[t][i] & classes)
                roaring_bitmap_add(out, m->id[i]);
        }
    }
    return out;
}

static roaring_bitmap_t *indexed_items(const struct model *m)
{
    roaring_bitmap_t *out = roaring_bitmap_create();

    for (uint32_t i = 0; i < m->items; i++) {
        if (m->indexed[i])
            roaring_bitmap_add(out, m->id[i]);
    }
    return out;
}

static void needle_make(struct rng *r, const struct model *m, char *out)
{
    if (rng_once_in(r, 4)) {
        term_make(r, out);
        return;
    }
    rng_piece(r, m->term[rng_below(r, m->terms)], out);
}

static void check(struct rng *r, const struct model *m, struct mds_text *text, unsigned queries)
{
    struct mds_text_reader *reader = NULL;
    struct error err;

    MUST(mds_text_read_begin(text, &reader, &err));
    roaring_bitmap_t *all = indexed_items(m);

    cr_assert(roaring_bitmap_equals(all, mds_text_items(reader)), "the items");
    while (queries--) {
        char needle[MDS_TEXT_TERM_MAX + 1];
        const enum mds_match match = (enum mds_match)rng_below(r, 4);
        const uint32_t classes = rng_once_in(r, 3) ? MDS_TEXT_MASK_ALL : 1 + (uint32_t)rng_below(r, MDS_TEXT_MASK_ALL);
        roaring_bitmap_t *within = NULL, *got = NULL;
        struct mds_text_cost cost;

        needle_make(r, m, needle);
        roaring_bitmap_t *want = expected(m, needle, match, classes);

        if (rng_once_in(r, 3)) {
            const uint32_t from = (uint32_t)rng_below(r, m->id[ITEMS - 1]);

            within = roaring_bitmap_from_range(from, from + 1 + rng_below(r, 3000), 1 + (uint32_t)rng_below(r, 3));
        }
        MUST(mds_text_find(reader, bytes_str(needle), match, classes, within, &got, &err));
        MUST(mds_text_count(reader, bytes_str(needle), match, &cost, &err));
        cr_assert(cost.terms > 0 || roaring_bitmap_is_empty(want));
        if (within) {
            roaring_bitmap_and_inplace(got, within);
            roaring_bitmap_and_inplace(want, within);
            roaring_bitmap_free(within);
        }
        cr_assert(roaring_bitmap_equals(got, want), "%s, match %d, classes %x: %u items, not %u", needle, (int)match,
                  classes, (unsigned)roaring_bitmap_get_cardinality(got),
                  (unsigned)roaring_bitmap_get_cardinality(want));
        roaring_bitmap_free(got);
        roaring_bitmap_free(want);
    }
    roaring_bitmap_free(all);
    mds_text_read_end(&reader);
}

struct seen {
    struct model *m;
    uint64_t postings;
};

static int posting_seen(struct bytes term, uint64_t item, uint32_t classes, void *arg)
{
    struct seen *s = arg;
    uint32_t t = 0, i = 0;

    while (t < s->m->terms && !bytes_equal(bytes_str(s->m->term[t]), term))
        t++;
    while (i < s->m->items && s->m->id[i] != item)
        i++;
    cr_assert(t < s->m->terms && i < s->m->items && s->m->indexed[i], "a posting of nothing");
    cr_assert_eq(s->m->mask[t][i], classes);
    s->postings++;
    return 0;
}

static void finding(const char *text, void *arg)
{
    (void)arg;
    cr_assert_fail("verify: %s", text);
}

static void check_whole(struct model *m, struct mds_text *text)
{
    struct seen seen = {m, 0};
    struct mds_text_reader *reader = NULL;
    struct mds_text_stat st;
    uint64_t postings = 0, pos = 0, item, tag, anchors = 0;
    struct error err;
    int rc;

    MUST(mds_text_read_begin(text, &reader, &err));
    MUST(mds_text_walk(reader, NULL, posting_seen, &seen, &err));
    for (uint32_t t = 0; t < m->terms; t++) {
        for (uint32_t i = 0; i < m->items; i++)
            postings += m->indexed[i] && m->mask[t][i];
    }
    cr_assert_eq(seen.postings, postings);
    MUST(mds_text_stat(reader, &st, &err));
    cr_assert_eq(st.postings, postings);
    cr_assert_eq(st.text_bytes, m->text_bytes);
    while ((rc = mds_text_anchors(reader, &pos, &item, &tag, &err)) == 1) {
        cr_assert_eq(tag, item * 7);
        cr_assert(roaring_bitmap_contains(mds_text_items(reader), (uint32_t)item));
        anchors++;
    }
    MUST(rc);
    cr_assert(anchors > 0 || roaring_bitmap_is_empty(mds_text_items(reader)));
    MUST(mds_text_verify(reader, finding, NULL, &err));
    mds_text_read_end(&reader);
}

static void merge(struct rng *r, struct model *m, struct mds_text *text)
{
    struct mds_text_merge_options opts = {.all = rng_once_in(r, 4)};
    roaring_bitmap_t *dead = NULL;
    bool more = true;
    struct error err;

    if (rng_once_in(r, 4)) { /* the dead may be dropped, or stay until another merge: then they stay dead */
        dead = roaring_bitmap_create();
        for (uint32_t i = 0; i < m->items; i++) {
            if (m->indexed[i] && rng_once_in(r, 20))
                roaring_bitmap_add(dead, m->id[i]);
        }
        opts.dead = dead;
        opts.all = true;
    }
    for (unsigned steps = 0; more && steps < 30; steps++)
        MUST(mds_text_merge(text, &opts, &more, &err));
    cr_assert(!more || !opts.all);
    for (uint32_t i = 0; dead && i < m->items; i++)
        m->indexed[i] = m->indexed[i] && !roaring_bitmap_contains(dead, m->id[i]);
    if (dead)
        roaring_bitmap_free(dead);
}

Test(text_model, answers_as_the_model_does, .timeout = 1200)
{
    struct rng r = rng_start("text_model");
    struct mds_text_options opts = {
        .create = true, .identity = BYTES_LIT("ann 1"), .map_bytes = 1 << 20, .merge_bytes = 20000};
    const char *dir = TEMP_DIR();
    struct model *m = model_new(&r);
    struct mds_text *text = NULL;
    struct error err;

    MUST(mds_text_open(dir, &opts, &text, &err));
    for (unsigned round = 0; round < 60; round++) {
        switch (rng_below(&r, 6)) {
        case 0: merge(&r, m, text); break;
        case 1:
            mds_text_close(&text);
            opts.read_only = rng_once_in(&r, 2);
            MUST(mds_text_open(dir, &opts, &text, &err));
            check(&r, m, text, 3);
            mds_text_close(&text);
            opts.read_only = false;
            MUST(mds_text_open(dir, &opts, &text, &err));
            break;
        case 2:
            if (rng_once_in(&r, 15)) {
                MUST(mds_text_drop(text, &err));
                memset(m->indexed, 0, sizeof m->indexed);
                m->text_bytes = 0;
            }
            break;
        default: grow(&r, m, text); break;
        }
        check(&r, m, text, 12);
        if (round % 20 == 19)
            check_whole(m, text);
    }
    mds_text_close(&text);
    free(m);
}

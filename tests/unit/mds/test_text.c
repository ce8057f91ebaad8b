/* The content index: its codecs, opening, what is refused, what a merge leaves. */
#include "mds_fixture.h"
#include "text_private.h"

#include <criterion/criterion.h>

static struct error err;

static struct mds_text *text_open(const char *dir, const char *identity)
{
    const struct mds_text_options opts = {.create = true, .identity = bytes_str(identity)};
    struct mds_text *text = NULL;

    MUST(mds_text_open(dir, &opts, &text, &err));
    return text;
}

/* Items [from, to), each with the term "ALL" in its body, and a term of its own, "ITEM<number>", in its subject. */
static int items_commit(struct mds_text *text, uint32_t from, uint32_t to)
{
    struct mds_text_batch *b = mds_text_batch_new();

    for (uint32_t i = from; i < to; i++) {
        mds_text_batch_begin(b, i, i + 1000u);
        mds_text_batch_add(b, MDS_TEXT_BODY, BYTES_LIT("ALL"));
        mds_text_batch_add(b, MDS_TEXT_SUBJECT, bytes_str(textf("ITEM%u", i)));
        mds_text_batch_add(b, MDS_TEXT_BODY, BYTES_LIT("ALL"));
    }
    const int rc = mds_text_commit(text, b, &err);

    mds_text_batch_free(&b);
    return rc;
}

static uint64_t hits(struct mds_text *text, const char *term, enum mds_match match, uint32_t classes)
{
    struct mds_text_reader *r = NULL;
    roaring_bitmap_t *out = NULL;

    MUST(mds_text_read_begin(text, &r, &err));
    MUST(mds_text_find(r, bytes_str(term), match, classes, NULL, &out, &err));
    const uint64_t n = roaring_bitmap_get_cardinality(out);

    roaring_bitmap_free(out);
    mds_text_read_end(&r);
    return n;
}

static void finding(const char *text, void *arg)
{
    cr_log_info("%s", text);
    (*(int *)arg)++;
}

static int findings(struct mds_text *text)
{
    struct mds_text_reader *r = NULL;
    int n = 0;

    MUST(mds_text_read_begin(text, &r, &err));
    MUST(mds_text_verify(r, finding, &n, &err));
    mds_text_read_end(&r);
    return n;
}

Test(text, lists_come_back)
{
    struct rng r = rng_start("text_lists");
    static uint32_t v[LIST_CHUNK_MAX], back[LIST_CHUNK_MAX];
    unsigned forms[3] = {0};

    for (unsigned round = 0; round < 600; round++) {
        const uint32_t first = 1 + (uint32_t)rng_edgy(&r, 0xffff0000u), low = first & 0xffff;
        const uint32_t last = first + (uint32_t)rng_edgy(&r, 0xffff - low);
        const uint64_t one_in = rng_once_in(&r, 3) ? 1 + rng_below(&r, 4) : 1 + rng_edgy(&r, 3000);
        const bool most = rng_once_in(&r, 3);
        struct buf out = {0};
        uint32_t n = 0;
        size_t used = 0;

        for (uint64_t id = first; id <= last; id++) {
            if (rng_once_in(&r, one_in) != most)
                v[n++] = (uint32_t)id;
        }
        if (n == 0)
            v[n++] = last;
        list_encode(v, n, first, last, &out);
        cr_assert(list_decode(buf_bytes(&out), n, first, last, back, &used), "%u of [%u, %u]", n, first, last);
        cr_assert(used == out.n && memcmp(v, back, n * sizeof *v) == 0);
        cr_assert(!list_decode(bytes_slice(buf_bytes(&out), 0, out.n - 1), n, first, last, back, &used), "cut off");
        buf_reset(&out);
        const enum list_form form = list_chunk_encode(v, n, first, last, &out);

        forms[form]++;
        cr_assert_leq(out.n, RECORD_CHUNK_BYTES);
        memset(back, 0, n * sizeof *back);
        cr_assert(list_chunk_decode(buf_bytes(&out), form, n, first, last, back), "form %d: %u of [%u, %u]", (int)form,
                  n, first, last);
        cr_assert_eq(memcmp(v, back, n * sizeof *v), 0);
        if (out.n)
            cr_assert(!list_chunk_decode(bytes_slice(buf_bytes(&out), 0, out.n - 1), form, n, first, last, back));
        buf_release(&out);
    }
    cr_assert(forms[LIST_GAPS] && forms[LIST_ABSENT] && forms[LIST_BITMAP]);
}

Test(text, directory_comes_back)
{
    struct text_dir d = {.next_id = 1}, e = {0};
    struct buf out = {0};

    buf_append_str(&d.identity, "who");
    for (unsigned i = 0; i < 3; i++) {
        struct text_segment *s = dir_add(&d);

        s->state = i == 1 ? TEXT_DEAD : TEXT_LIVE;
        s->first = 10;
        s->last = 19;
        s->items = 10;
    }
    dir_remove(&d, 2);
    dir_encode(&d, &out);
    cr_assert(dir_decode(buf_bytes(&out), &e));
    cr_expect(e.n == 2 && e.next_id == 4 && e.v[1].id == 3 && bytes_equal(buf_bytes(&e.identity), BYTES_LIT("who")));
    for (size_t n = 0; n < out.n; n++)
        cr_expect(!dir_decode(bytes_slice(buf_bytes(&out), 0, n), &e), "%zu bytes of it", n);
    dir_release(&d);
    dir_release(&e);
    buf_release(&out);
}

Test(text, anchors_are_spread_and_dense_at_the_end)
{
    struct text_anchor v[1000], back[TEXT_ANCHORS_MAX];
    struct buf out = {0};
    size_t n;

    for (uint32_t i = 0; i < 1000; i++)
        v[i] = (struct text_anchor){i + 1, i * UINT64_C(77)};
    cr_assert_eq(anchors_thin(v, 1000), TEXT_ANCHORS_MAX);
    cr_expect_eq(v[0].item, 1);
    cr_expect_eq(v[TEXT_ANCHORS_MAX - 1].item, 1000);
    cr_expect_eq(v[TEXT_ANCHORS_MAX / 2].item, 1000 - TEXT_ANCHORS_MAX / 2 + 1);
    anchors_encode(v, TEXT_ANCHORS_MAX, &out);
    cr_assert(anchors_decode(buf_bytes(&out), back, &n));
    cr_expect_eq(n, TEXT_ANCHORS_MAX);
    cr_expect_eq(back[40].tag, v[40].tag);
    cr_expect(!anchors_decode(bytes_slice(buf_bytes(&out), 0, out.n - 1), back, &n));
    buf_release(&out);
}

Test(text, blocks_are_checked_whole)
{
    static const struct {
        const char *name, *first, *text, *lens;
        uint32_t n;
        bool good;
    } rows[] = {
        {"good", "A", "\nA\nB\n", "\x01\x02", 2, true},
        {"other first term", "B", "\nA\nB\n", "\x01\x02", 2, false},
        {"not in order", "B", "\nB\nA\n", "\x01\x02", 2, false},
        {"twice", "A", "\nA\nA\n", "\x01\x02", 2, false},
        {"no end", "A", "\nA\nB", "\x01\x02", 2, false},
        {"no begin", "A", "A\nB\n", "\x01\x02", 2, false},
        {"empty term", "A", "\nA\n\nB\n", "\x01\x02\x01", 3, false},
        {"separator in a term", "A", "\nA \nB\n", "\x01\x02", 2, false},
        {"a length missing", "A", "\nA\nB\n", "\x01", 2, false},
        {"a length too many", "A", "\nA\nB\n", "\x01\x02\x03", 2, false},
        {"a length cut off", "A", "\nA\nB\n", "\x01\x82", 2, false},
        {"another count", "A", "\nA\nB\n", "\x01\x02", 3, false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct text_block b = {0, rows[i].n, 0, bytes_str(rows[i].text), bytes_str(rows[i].lens)};
        uint64_t lens = 0;

        cr_expect_eq(block_check(&b, bytes_str(rows[i].first), &lens), rows[i].good, "%s", rows[i].name);
        if (rows[i].good)
            cr_expect_eq(lens, 3, "%s", rows[i].name);
    }
}

Test(text, scan_finds_every_place)
{
    struct rng r = rng_start("text_scan");
    uint8_t text[600];

    for (unsigned round = 0; round < 20000; round++) {
        const size_t n = rng_below(&r, sizeof text), k = 1 + rng_below(&r, rng_once_in(&r, 4) ? 40 : 4);
        uint8_t needle[40];
        struct text_scan scan;

        for (size_t i = 0; i < n; i++)
            text[i] = "AB\n"[rng_below(&r, 3)];
        for (size_t i = 0; i < k; i++)
            needle[i] = "AB\n"[rng_below(&r, 3)];
        scan_init(&scan, bytes_of(needle, k));
        const uint8_t *at = text;

        do { /* each next one */
            const uint8_t *want = memmem(at, (size_t)(text + n - at), needle, k);

            at = scan_find(&scan, at, text + n);
            cr_assert_eq(at, want);
        } while (at && ++at);
    }
}

Test(text, opening_table)
{
    const char *dir = TEMP_DIR();
    struct mds_text *text = NULL, *again = NULL;
    struct mds_text_options opts = {.identity = BYTES_LIT("one")};

    cr_expect_eq(mds_text_open(dir, &opts, &text, &err), BASE_ERR_NOTFOUND);
    cr_expect(!file_exists(path_join(dir, "text")), "looking does not make it");
    text = text_open(dir, "one");
    MUST(items_commit(text, 1, 10));
    MUST(mds_text_open(dir, &opts, &again, &err));
    cr_expect_eq(hits(again, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 9, "opened twice, one environment");
    mds_text_close(&again);
    mds_text_close(&text);
    opts.identity = BYTES_LIT("two");
    cr_expect_eq(mds_text_open(dir, &opts, &text, &err), BASE_ERR_GONE);
    cr_expect_null(text);
    opts.read_only = true;
    cr_expect_eq(mds_text_open(dir, &opts, &text, &err), BASE_ERR_GONE);
    text = text_open(dir, "two");
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 0, "another identity: emptied");
    mds_text_close(&text);
}

Test(text, a_handle_of_the_old_identity_adds_nothing)
{
    const char *dir = TEMP_DIR();
    struct mds_text *old = text_open(dir, "old"), *now = NULL;
    struct mds_text_reader *r = NULL;
    bool more;

    MUST(items_commit(old, 1, 10));
    now = text_open(dir, "now");
    cr_expect_eq(items_commit(old, 10, 20), BASE_ERR_GONE);
    cr_expect_eq(mds_text_read_begin(old, &r, &err), BASE_ERR_GONE);
    MUST(items_commit(now, 5, 7));
    MUST(mds_text_merge(now, NULL, &more, &err));
    cr_expect_eq(hits(now, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 2);
    cr_expect_eq(findings(now), 0);
    mds_text_close(&old);
    mds_text_close(&now);
}

Test(text, classes_and_matches)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    static const struct {
        const char *term;
        enum mds_match match;
        uint32_t classes;
        uint64_t hits;
    } rows[] = {
        {"ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_TEXT, 99},
        {"ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK(MDS_TEXT_SUBJECT), 0},
        {"ALL", MDS_MATCH_WHOLE, 0, 0},
        {"AL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL, 0},
        {"AL", MDS_MATCH_PREFIX, MDS_TEXT_MASK_ALL, 99},
        {"LL", MDS_MATCH_SUFFIX, MDS_TEXT_MASK_ALL, 99},
        {"L", MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL, 99},
        {"7", MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL, 19},
        {"7", MDS_MATCH_SUFFIX, MDS_TEXT_MASK_ALL, 10},
        {"ITEM7", MDS_MATCH_PREFIX, MDS_TEXT_MASK(MDS_TEXT_SUBJECT), 11},
        {"ITEM7", MDS_MATCH_PREFIX, MDS_TEXT_MASK(MDS_TEXT_BODY), 0},
        {"TEM7", MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL, 11},
        {"ZZ", MDS_MATCH_PREFIX, MDS_TEXT_MASK_ALL, 0},
        {"", MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL, 0},
        {"\n", MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL, 0},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", MDS_MATCH_SUFFIX, MDS_TEXT_MASK_ALL, 0},
    };

    cr_expect_eq(hits(text, "ALL", MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL), 0, "an empty index");
    MUST(items_commit(text, 1, 100));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(hits(text, rows[i].term, rows[i].match, rows[i].classes), rows[i].hits, "row %zu: %s", i,
                     rows[i].term);
    mds_text_close(&text);
}

Test(text, items_are_indexed_once)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    struct mds_text_batch *b = mds_text_batch_new();

    MUST(items_commit(text, 10, 20));
    MUST(items_commit(text, 30, 40));
    MUST(items_commit(text, 20, 30));
    mds_text_batch_begin(b, 5, 0);
    mds_text_batch_begin(b, 39, 0);
    cr_expect_eq(mds_text_commit(text, b, &err), BASE_ERR_USAGE);
    cr_expect_eq(mds_text_batch_items(b), 2, "the batch stays");
    mds_text_batch_reset(b);
    MUST(mds_text_commit(text, b, &err));
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 30);
    mds_text_batch_free(&b);
    mds_text_close(&text);
}

Test(text, items_without_terms_count)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    struct mds_text_batch *b = mds_text_batch_new();
    struct mds_text_reader *r = NULL;
    bool more;

    mds_text_batch_begin(b, 3, 1);
    MUST(mds_text_commit(text, b, &err));
    mds_text_batch_begin(b, UINT32_MAX, 1);
    mds_text_batch_add(b, MDS_TEXT_CC, BYTES_LIT("LAST"));
    MUST(mds_text_commit(text, b, &err));
    MUST(mds_text_merge(text, &(struct mds_text_merge_options){.all = true}, &more, &err));
    MUST(mds_text_read_begin(text, &r, &err));
    cr_expect_eq(roaring_bitmap_get_cardinality(mds_text_items(r)), 2);
    mds_text_read_end(&r);
    cr_expect_eq(hits(text, "LAST", MDS_MATCH_WHOLE, MDS_TEXT_MASK(MDS_TEXT_CC)), 1);
    cr_expect_eq(findings(text), 0);
    mds_text_batch_free(&b);
    mds_text_close(&text);
}

Test(text, many_small_segments_become_few)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    struct mds_text_reader *r = NULL;
    struct mds_text_stat st;
    bool more;

    for (uint32_t i = 1; i <= 60; i++) {
        MUST(items_commit(text, i * 10, i * 10 + 10));
        do {
            MUST(mds_text_merge(text, NULL, &more, &err));
        } while (more);
    }
    MUST(mds_text_read_begin(text, &r, &err));
    MUST(mds_text_stat(r, &st, &err));
    mds_text_read_end(&r);
    cr_expect_lt(st.segments, 16);
    cr_expect_eq(st.items, 600);
    cr_expect_eq(st.postings, 1200);
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 600);
    mds_text_close(&text);
}

static bool stop_at_once(void *arg)
{
    (*(unsigned *)arg)++;
    return true;
}

Test(text, a_stopped_merge_leaves_what_was)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    unsigned asked = 0;
    bool more;

    MUST(items_commit(text, 1, 3000));
    MUST(items_commit(text, 3000, 6000));
    cr_expect_eq(mds_text_merge(text,
                                &(struct mds_text_merge_options){.all = true, .stop = stop_at_once, .arg = &asked},
                                &more, &err),
                 BASE_ERR_CANCELLED);
    cr_expect_gt(asked, 0);
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 5999);
    cr_expect_eq(findings(text), 0);
    MUST(mds_text_merge(text, &(struct mds_text_merge_options){.all = true}, &more, &err));
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 5999);
    mds_text_close(&text);
}

Test(text, all_items_dead_leave_nothing)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    roaring_bitmap_t *dead = roaring_bitmap_from_range(0, 100, 1);
    bool more;

    MUST(items_commit(text, 1, 50));
    MUST(mds_text_merge(text, &(struct mds_text_merge_options){.dead = dead}, &more, &err));
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 0);
    cr_expect_eq(findings(text), 0);
    MUST(items_commit(text, 1, 50));
    cr_expect_eq(hits(text, "ALL", MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL), 49, "they may be indexed again");
    roaring_bitmap_free(dead);
    mds_text_close(&text);
}

Test(text, a_snapshot_outlives_merges_and_drops)
{
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    struct mds_text_reader *r = NULL;
    roaring_bitmap_t *out = NULL;
    bool more;

    MUST(items_commit(text, 1, 50));
    MUST(items_commit(text, 50, 80));
    MUST(mds_text_read_begin(text, &r, &err));
    MUST(mds_text_merge(text, &(struct mds_text_merge_options){.all = true}, &more, &err));
    MUST(mds_text_drop(text, &err));
    MUST(mds_text_find(r, BYTES_LIT("ITEM"), MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL, NULL, &out, &err));
    cr_expect_eq(roaring_bitmap_get_cardinality(out), 79);
    roaring_bitmap_free(out);
    MUST(mds_text_read_renew(r, &err));
    cr_expect(roaring_bitmap_is_empty(mds_text_items(r)));
    mds_text_read_end(&r);
    mds_text_close(&text);
}

/* Enough terms for a group of blocks with a filter and a rest without one. */
#define MANY_TERMS 500000u
#define TERMS_EACH 125u

static const char *many_term(uint32_t i, char *out)
{
    uint8_t seed[4];

    put_be32(seed, i);
    (void)snprintf(out, 32, "%016llXK%u", (unsigned long long)hash64_of(bytes_of(seed, 4)), i);
    return out;
}

Test(text, filtered_blocks_hide_nothing, .timeout = 300)
{
    struct rng rng = rng_start("text_filter");
    struct mds_text *text = text_open(TEMP_DIR(), "x");
    struct mds_text_batch *b = mds_text_batch_new();
    struct mds_text_reader *r = NULL;
    char term[32], needle[32];

    for (uint32_t i = 0; i < MANY_TERMS; i++) {
        if (i % TERMS_EACH == 0)
            mds_text_batch_begin(b, 1 + i / TERMS_EACH, 0);
        mds_text_batch_add(b, MDS_TEXT_BODY, bytes_str(many_term(i, term)));
    }
    MUST(mds_text_commit(text, b, &err));
    MUST(mds_text_read_begin(text, &r, &err));
    cr_assert_gt(r->parts[0].s.blocks, FILTER_BLOCKS, "there is a filter");
    cr_assert_neq(r->parts[0].s.blocks % FILTER_BLOCKS, 0, "and a rest");
    for (unsigned round = 0; round < 40; round++) {
        const bool suffix = rng_once_in(&rng, 3);
        roaring_bitmap_t *want = roaring_bitmap_create(), *got = NULL;

        (void)many_term((uint32_t)rng_below(&rng, MANY_TERMS), term);
        const size_t n = strlen(term), k = 2 + rng_below(&rng, 6);
        const size_t from = suffix ? n - k : rng_below(&rng, n - k + 1);

        memcpy(needle, term + from, k);
        needle[k] = 0;
        if (rng_once_in(&rng, 5))
            needle[rng_below(&rng, k)] = 'G'; /* in no term */
        for (uint32_t i = 0; i < MANY_TERMS; i++) {
            const char *at = strstr(many_term(i, term), needle);

            if (suffix ? strcmp(term + strlen(term) - k, needle) == 0 : at != NULL)
                roaring_bitmap_add(want, 1 + i / TERMS_EACH);
        }
        MUST(mds_text_find(r, bytes_str(needle), suffix ? MDS_MATCH_SUFFIX : MDS_MATCH_CONTAINS, MDS_TEXT_MASK_ALL,
                           NULL, &got, &err));
        cr_expect(roaring_bitmap_equals(got, want), "%s, suffix %d: %u items, not %u", needle, suffix,
                  (unsigned)roaring_bitmap_get_cardinality(got), (unsigned)roaring_bitmap_get_cardinality(want));
        roaring_bitmap_free(want);
        roaring_bitmap_free(got);
    }
    mds_text_read_end(&r);
    cr_expect_eq(findings(text), 0);
    mds_text_batch_free(&b);
    mds_text_close(&text);
}

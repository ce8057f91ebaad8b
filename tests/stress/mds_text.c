/*
 * The content index under threads: two that fill batches and commit them in any order, one that merges, and cancels
 * merges midway, and readers with random needles. What an item says is settled before any thread begins, so each answer
 * is held against a naive one over what its snapshot shows; and a snapshot shows all that was committed before it
 * began, nothing that nobody began to commit. Run in normal and TSan builds.
 */
#include "mds/text.h"
#include "test_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS      3000u
#define TERMS      4000u /* more than a merge does between two looks at whether to stop */
#define BATCH_MAX  40u
#define COMMITTERS 2
#define READERS    2
#define FAR        70000u /* the second half of the ids lies in another chunk of lists */

enum state { STATE_NONE, STATE_BEGUN, STATE_COMMITTED };

struct stress {
    const char *dir;
    struct mds_text *text;
    char term[TERMS][40];
    uint16_t mask[TERMS][ITEMS]; /* classes; constant while threads run */
    uint64_t seed;
    _Atomic unsigned char state[ITEMS];
    atomic_uint threads;
    atomic_uint next; /* the next item that nobody has taken */
    atomic_bool done;
    atomic_uint merges, cancelled, commits, answers, hits, renewed, opened;
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "stress mds_text: %s\n", what);
    abort();
}

static void must(int rc, const struct error *err)
{
    if (rc < 0)
        fail(textf("%s: %s", base_err_name((enum base_err)rc), err->text));
}

static uint32_t id_of(uint32_t i)
{
    return 1 + i * 2 + (i < ITEMS / 2 ? 0 : FAR);
}

/* ---- what items say --------------------------------------------------------------------------- */

static void make_texts(struct stress *s, struct rng *r)
{
    static const char *const letters[] = {"A", "B", "C", "D", "0", "\xcc\x81", "\xd0\x96", "\xe4\xb8\xad"};

    for (uint32_t t = 0; t < TERMS; t++) {
        for (size_t n = 1 + rng_below(r, 4); n > 0; n--)
            strcat(s->term[t], letters[rng_below(r, rng_once_in(r, 3) ? 8 : 4)]);
        strcat(s->term[t], textf("%u", t)); /* no two are the same */
        for (uint32_t i = 0; i < ITEMS; i++) {
            if (rng_once_in(r, 1 + t / 8))
                s->mask[t][i] = (uint16_t)MDS_TEXT_MASK(rng_below(r, MDS_TEXT_CLASSES));
        }
    }
}

static bool matches(const char *have, const char *want, enum mds_match match)
{
    const size_t n = strlen(have), k = strlen(want);

    switch (match) {
    case MDS_MATCH_PREFIX: return n >= k && memcmp(have, want, k) == 0;
    case MDS_MATCH_SUFFIX: return n >= k && memcmp(have + n - k, want, k) == 0;
    case MDS_MATCH_WHOLE: return strcmp(have, want) == 0;
    default: return strstr(have, want) != NULL;
    }
}

static roaring_bitmap_t *expected(const struct stress *s, const char *want, enum mds_match match, uint32_t classes)
{
    roaring_bitmap_t *out = roaring_bitmap_create();

    for (uint32_t t = 0; t < TERMS; t++) {
        if (!matches(s->term[t], want, match))
            continue;
        for (uint32_t i = 0; i < ITEMS; i++) {
            if (s->mask[t][i] & classes)
                roaring_bitmap_add(out, id_of(i));
        }
    }
    return out;
}

/* ---- writers ------------------------------------------------------------------------------------- */

static void *commit_on(void *arg)
{
    struct stress *s = arg;
    struct rng r = rng_of(s->seed + 1 + atomic_fetch_add(&s->threads, 1));
    struct mds_text_batch *b = mds_text_batch_new();
    struct error err;

    for (;;) {
        const uint32_t n = 1 + (uint32_t)rng_below(&r, BATCH_MAX), from = atomic_fetch_add(&s->next, n);
        const uint32_t to = from + n < ITEMS ? from + n : ITEMS;

        if (from >= ITEMS)
            break;
        for (uint32_t i = from; i < to; i++) {
            atomic_store(&s->state[i], STATE_BEGUN);
            mds_text_batch_begin(b, id_of(i), id_of(i));
            for (uint32_t t = 0; t < TERMS; t++) {
                for (unsigned c = 0; c < MDS_TEXT_CLASSES; c++) {
                    if (s->mask[t][i] & MDS_TEXT_MASK(c))
                        mds_text_batch_add(b, (enum mds_text_class)c, bytes_str(s->term[t]));
                }
            }
        }
        must(mds_text_commit(s->text, b, &err), &err);
        for (uint32_t i = from; i < to; i++)
            atomic_store(&s->state[i], STATE_COMMITTED);
        atomic_fetch_add(&s->commits, 1);
    }
    mds_text_batch_free(&b);
    return NULL;
}

static bool stop_at_random(void *arg)
{
    return rng_once_in(arg, 2);
}

static void *merge_on(void *arg)
{
    struct stress *s = arg;
    struct rng r = rng_of(s->seed);
    struct error err;

    /* There is something to merge at the latest when all is committed. */
    while (!atomic_load(&s->done) || atomic_load(&s->merges) == 0) {
        const struct mds_text_merge_options options = {
            .all = rng_once_in(&r, 3), .stop = rng_once_in(&r, 2) ? stop_at_random : NULL, .arg = &r};
        bool more = false;
        const int rc = mds_text_merge(s->text, &options, &more, &err);

        if (rc == BASE_ERR_CANCELLED)
            atomic_fetch_add(&s->cancelled, 1);
        else
            must(rc, &err);
        atomic_fetch_add(&s->merges, rc == BASE_OK && more);
    }
    return NULL;
}

/* ---- readers --------------------------------------------------------------------------------------- */

static roaring_bitmap_t *items_at_least(const struct stress *s, enum state state)
{
    roaring_bitmap_t *out = roaring_bitmap_create();

    for (uint32_t i = 0; i < ITEMS; i++) {
        if (atomic_load(&s->state[i]) >= state)
            roaring_bitmap_add(out, id_of(i));
    }
    return out;
}

static void needle_make(const struct stress *s, struct rng *r, char *out)
{
    rng_piece(r, s->term[rng_below(r, TERMS)], out);
    if (rng_once_in(r, 6))
        strcat(out, "D0");
}

static void ask(struct stress *s, struct rng *r, struct mds_text_reader *reader)
{
    char needle[64];
    const enum mds_match match = (enum mds_match)rng_below(r, 4);
    const uint32_t classes = rng_once_in(r, 2) ? MDS_TEXT_MASK_ALL : 1 + (uint32_t)rng_below(r, MDS_TEXT_MASK_ALL);
    roaring_bitmap_t *within = NULL, *got = NULL;
    struct error err;

    needle_make(s, r, needle);
    roaring_bitmap_t *want = expected(s, needle, match, classes);

    roaring_bitmap_and_inplace(want, mds_text_items(reader));
    if (rng_once_in(r, 3)) {
        const uint32_t from = id_of((uint32_t)rng_below(r, ITEMS));

        within = roaring_bitmap_from_range(from, from + 1 + rng_below(r, 3000), 1 + (uint32_t)rng_below(r, 3));
    }
    must(mds_text_find(reader, bytes_str(needle), match, classes, within, &got, &err), &err);
    if (within) {
        roaring_bitmap_and_inplace(got, within);
        roaring_bitmap_and_inplace(want, within);
        roaring_bitmap_free(within);
    }
    if (!roaring_bitmap_equals(got, want))
        fail(textf("%s, match %d, classes %x: %u items, not %u", needle, (int)match, classes,
                   (unsigned)roaring_bitmap_get_cardinality(got), (unsigned)roaring_bitmap_get_cardinality(want)));
    atomic_fetch_add(&s->answers, 1);
    atomic_fetch_add(&s->hits, !roaring_bitmap_is_empty(got));
    roaring_bitmap_free(got);
    roaring_bitmap_free(want);
}

/* Begun or renewed between the two looks. */
static void check_snapshot(const struct stress *s, const struct mds_text_reader *reader, roaring_bitmap_t **before)
{
    roaring_bitmap_t *after = items_at_least(s, STATE_BEGUN);

    if (!roaring_bitmap_is_subset(*before, mds_text_items(reader)))
        fail("a snapshot lacks what was committed before it");
    if (!roaring_bitmap_is_subset(mds_text_items(reader), after))
        fail("a snapshot has what nobody gave");
    roaring_bitmap_free(after);
    roaring_bitmap_free(*before);
    *before = NULL;
}

static void read_some(struct stress *s, struct rng *r, struct mds_text *text)
{
    struct mds_text_reader *reader = NULL;
    struct error err;
    roaring_bitmap_t *before = items_at_least(s, STATE_COMMITTED);

    must(mds_text_read_begin(text, &reader, &err), &err);
    check_snapshot(s, reader, &before);
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 4; k++)
            ask(s, r, reader);
        before = items_at_least(s, STATE_COMMITTED);
        must(mds_text_read_renew(reader, &err), &err);
        check_snapshot(s, reader, &before);
        atomic_fetch_add(&s->renewed, 1);
    }
    mds_text_read_end(&reader);
}

static void *read_on(void *arg)
{
    struct stress *s = arg;
    struct rng r = rng_of(s->seed + 1 + atomic_fetch_add(&s->threads, 1));
    const struct mds_text_options options = {.read_only = true, .identity = BYTES_LIT("stress")};
    struct error err;

    do {
        struct mds_text *own = NULL;

        if (rng_once_in(&r, 2)) {
            must(mds_text_open(s->dir, &options, &own, &err), &err);
            atomic_fetch_add(&s->opened, 1);
        }
        read_some(s, &r, own ? own : s->text);
        (void)mds_text_last_txnid(s->text);
        mds_text_close(&own);
    } while (!atomic_load(&s->done));
    return NULL;
}

static void finding(const char *text, void *arg)
{
    (void)arg;
    fail(text);
}

/* All is there, in one segment, and sound. */
static void end(struct stress *s, struct rng *r)
{
    struct mds_text_reader *reader = NULL;
    struct mds_text_stat stat;
    struct error err;
    bool more = true;

    while (more)
        must(mds_text_merge(s->text, &(struct mds_text_merge_options){.all = true}, &more, &err), &err);
    read_some(s, r, s->text);
    must(mds_text_read_begin(s->text, &reader, &err), &err);
    must(mds_text_stat(reader, &stat, &err), &err);
    must(mds_text_verify(reader, finding, NULL, &err), &err);
    mds_text_read_end(&reader);
    if (stat.items != ITEMS || stat.segments != 1)
        fail(textf("%u items in %u segments at the end", (unsigned)stat.items, (unsigned)stat.segments));
}

int main(void)
{
    static struct stress s; /* large */
    struct rng r = rng_start("mds_text");
    const struct mds_text_options options = {
        .create = true, .identity = BYTES_LIT("stress"), .map_bytes = 256 << 10, .merge_bytes = 16 << 10};
    pthread_t committers[COMMITTERS], readers[READERS], merger;
    struct error err;

    s.dir = TEMP_DIR();
    s.seed = rng_u64(&r);
    make_texts(&s, &r);
    must(mds_text_open(s.dir, &options, &s.text, &err), &err);
    for (int i = 0; i < READERS; i++)
        must(-pthread_create(&readers[i], NULL, read_on, &s), &err);
    must(-pthread_create(&merger, NULL, merge_on, &s), &err);
    for (int i = 0; i < COMMITTERS; i++)
        must(-pthread_create(&committers[i], NULL, commit_on, &s), &err);
    for (int i = 0; i < COMMITTERS; i++)
        (void)pthread_join(committers[i], NULL);
    atomic_store(&s.done, true);
    for (int i = 0; i < READERS; i++)
        (void)pthread_join(readers[i], NULL);
    (void)pthread_join(merger, NULL);
    end(&s, &r);
    mds_text_close(&s.text);
    printf("mds_text: %u commits, %u merges and %u cancelled ones, %u answers (%u with hits) in %u snapshots, opened "
           "%u times\n",
           atomic_load(&s.commits), atomic_load(&s.merges), atomic_load(&s.cancelled), atomic_load(&s.answers),
           atomic_load(&s.hits), atomic_load(&s.renewed), atomic_load(&s.opened));
    return atomic_load(&s.merges) > 0 && atomic_load(&s.hits) > 0 && atomic_load(&s.commits) >= ITEMS / BATCH_MAX ? 0
                                                                                                                  : 1;
}

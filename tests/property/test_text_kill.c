/*
 * A process that commits and merges is killed at any moment. What it had committed is there, whole and once; what a
 * merge had begun is not to be seen, and goes with the next one.
 */
#include "mds/text.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_support.h"

#define BATCH  25u
#define ROUNDS 40u

static struct error err;

static struct mds_text *index_open(const char *dir)
{
    const struct mds_text_options opts = {.create = true, .identity = BYTES_LIT("x"), .merge_bytes = 3000};
    struct mds_text *text = NULL;

    return mds_text_open(dir, &opts, &text, &err) == BASE_OK ? text : NULL;
}

/* Item i has "T<n>" if n divides it. */
static void batch_fill(struct mds_text_batch *b, uint32_t from)
{
    for (uint32_t i = from; i < from + BATCH; i++) {
        mds_text_batch_begin(b, i, i);
        for (uint32_t n = 1; n < 60; n++) {
            char term[16];

            if (i % n == 0 && snprintf(term, sizeof term, "T%u", n) > 0)
                mds_text_batch_add(b, MDS_TEXT_BODY, bytes_str(term));
        }
    }
}

/* Commits and merges until it is killed. */
static void child(const char *dir, uint32_t from, unsigned merges_of)
{
    struct mds_text *text = index_open(dir);
    struct mds_text_batch *b = mds_text_batch_new();

    for (unsigned n = 0; text; n++) {
        bool more = true;

        batch_fill(b, from);
        from += BATCH;
        if (mds_text_commit(text, b, &err) != BASE_OK)
            break;
        while (more && n % merges_of == 0) {
            if (mds_text_merge(text, &(struct mds_text_merge_options){.all = n % 3 == 0}, &more, &err) != BASE_OK)
                _exit(3);
        }
    }
    _exit(2);
}

static void finding(const char *text, void *arg)
{
    (void)arg;
    cr_assert_fail("verify: %s", text);
}

static uint32_t check(const char *dir)
{
    struct mds_text *text = index_open(dir);
    struct mds_text_reader *r = NULL;

    cr_assert_not_null(text, "%s", err.text);
    cr_assert_eq(mds_text_read_begin(text, &r, &err), BASE_OK);
    const uint32_t items = (uint32_t)roaring_bitmap_get_cardinality(mds_text_items(r));

    cr_assert_eq(items % BATCH, 0, "whole batches");
    cr_assert(items == 0 || roaring_bitmap_maximum(mds_text_items(r)) == items, "in order");
    for (uint32_t n = 1; n < 60; n += 7) {
        roaring_bitmap_t *out = NULL;

        cr_assert_eq(mds_text_find(r, bytes_str(textf("T%u", n)), MDS_MATCH_WHOLE, MDS_TEXT_MASK_ALL, NULL, &out, &err),
                     BASE_OK);
        cr_assert_eq(roaring_bitmap_get_cardinality(out), items / n);
        roaring_bitmap_free(out);
    }
    cr_assert_eq(mds_text_verify(r, finding, NULL, &err), 0);
    mds_text_read_end(&r);
    mds_text_close(&text);
    return items;
}

Test(text_kill, what_was_committed_stays, .timeout = 600)
{
    struct rng r = rng_start("text_kill");
    const char *dir = TEMP_DIR();
    uint32_t items = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned merges_of = 1 + (unsigned)rng_below(&r, 4);
        const pid_t pid = fork();
        int status = 0;

        if (pid == 0)
            child(dir, items + 1, merges_of);
        usleep((useconds_t)rng_below(&r, 150000));
        (void)kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status), "it ended by itself: %d", WEXITSTATUS(status));
        const uint32_t now = check(dir);

        cr_assert_geq(now, items, "nothing is lost");
        items = now;
    }
    cr_assert_gt(items, ROUNDS, "enough was done between the kills");

    struct mds_text *text = index_open(dir);
    struct mds_text_reader *reader = NULL;
    struct mds_text_stat st;
    bool more = true;

    while (more)
        cr_assert_eq(mds_text_merge(text, &(struct mds_text_merge_options){.all = true}, &more, &err), BASE_OK);
    cr_assert_eq(mds_text_read_begin(text, &reader, &err), BASE_OK);
    cr_assert_eq(mds_text_stat(reader, &st, &err), BASE_OK);
    cr_assert_eq(st.segments, 1);
    mds_text_read_end(&reader);
    mds_text_close(&text);
    cr_assert_eq(check(dir), items);
}

/*
 * Rows of the content index that nobody wrote. With a wrong seal they are an error or are not met, never a wrong
 * answer; with a right one, as if from an enemy, anything may be answered, but nothing is overrun and nothing hangs:
 * searching, walking, verifying, merging.
 */
#include "mds/text_private.h"

#include <criterion/criterion.h>

#include "test_support.h"

static struct error err;

static struct mds_text *index_open(const char *dir)
{
    const struct mds_text_options opts = {.create = true, .identity = BYTES_LIT("x"), .merge_bytes = 4000};
    struct mds_text *text = NULL;

    cr_assert_eq(mds_text_open(dir, &opts, &text, &err), BASE_OK, "%s", err.text);
    return text;
}

/* Two segments; items 1..., "W<n>" in every n-th item, so lists of all forms. */
static void index_fill(struct mds_text *text)
{
    for (uint32_t part = 0; part < 2; part++) {
        struct mds_text_batch *b = mds_text_batch_new();

        for (uint32_t i = 1 + part * 3000; i <= 3000 + part * 3000; i++) {
            mds_text_batch_begin(b, i, i);
            for (uint32_t n = 1; n < 300; n++) {
                if (i % n == 0)
                    mds_text_batch_add(b, (enum mds_text_class)(n % 8), bytes_str(textf("W%u", n)));
            }
        }
        cr_assert_eq(mds_text_commit(text, b, &err), BASE_OK);
        mds_text_batch_free(&b);
    }
}

struct victim {
    struct rng *r;
    bool sealed;
    bool directory;
    struct key key;
    bool changed;
};

static void payload_change(struct rng *r, struct buf *v)
{
    const size_t n = v->n - SEAL_BYTES;
    uint8_t *p = v->p + SEAL_BYTES;

    for (uint64_t times = 1 + rng_below(r, 4); times-- && n;) {
        const size_t at = rng_below(r, rng_once_in(r, 2) && n > 24 ? 24 : n);

        p[at] = rng_once_in(r, 3) ? (uint8_t)rng_u64(r) : (uint8_t)(p[at] ^ 1u << rng_below(r, 8));
    }
    if (rng_once_in(r, 6) && n)
        v->n -= 1 + rng_below(r, n);
    else if (rng_once_in(r, 6))
        buf_append(v, "\x01\x02\x03\x04\x05\x06\x07\x08", 1 + rng_below(r, 8));
}

/* A random row of the table; sealed: by row_put, else by LMDB behind the seal's back. */
static int row_harm(struct mds_txn *t, void *arg, struct error *e)
{
    struct victim *v = arg;
    struct bytes key = {0}, payload;
    struct buf *value;
    int rc = 0;

    if (v->directory) {
        cr_assert_eq(meta_own_get(t, META_TEXT, &payload, e), BASE_OK);
        key_reset(&v->key);
        key_raw(&v->key, BYTES_LIT(META_TEXT));
    } else {
        const uint64_t skip = rng_below(v->r, 40);

        for (uint64_t i = 0; i <= skip; i++) {
            rc = row_seek(t, TABLE_TEXT, i ? MDB_NEXT : MDB_FIRST, &key, &payload, e);
            if (rc != 1)
                break;
            key_reset(&v->key);
            key_raw(&v->key, key);
        }
        cr_assert_eq(row_get(t, TABLE_TEXT, key_bytes(&v->key), &payload, e), BASE_OK);
    }
    const enum table table = v->directory ? TABLE_META : TABLE_TEXT;

    value = value_begin(t);
    buf_append_bytes(value, payload);
    payload_change(v->r, value);
    v->changed = !bytes_equal(payload, bytes_slice(buf_bytes(value), SEAL_BYTES, SIZE_MAX));
    if (v->sealed)
        return row_put(t, table, key_bytes(&v->key), value, e);
    put_be32(value->p, row_seal(table, key_bytes(&v->key), payload));
    MDB_val k = val_of(key_bytes(&v->key)), d = val_of(buf_bytes(value));

    cr_assert_eq(mdb_put(t->lmdb, t->env->dbi[table], &k, &d, 0), 0);
    t->write_seq++;
    return BASE_OK;
}

static int posting(struct bytes term, uint64_t item, uint32_t classes, void *arg)
{
    (void)arg;
    cr_assert(term.n > 0 && term.n <= MDS_TEXT_TERM_MAX && item > 0 && classes && classes <= MDS_TEXT_MASK_ALL);
    return 0;
}

static void finding(const char *text, void *arg)
{
    (void)text;
    (*(unsigned *)arg)++;
}

static uint64_t expected(const char *needle)
{
    uint64_t n = 0;

    for (uint32_t i = 1; i <= 6000; i++) {
        bool has = false;

        for (uint32_t w = 1; w < 300 && !has; w++)
            has = i % w == 0 && strstr(textf("W%u", w), needle);
        n += has;
    }
    return n;
}

/* Everything a reader does. True: what was answered was answered right, or refused as corrupt. */
static bool use(struct mds_text *text, unsigned *refused)
{
    static const char *const needles[] = {"W1", "W299", "9", "W", "17", "29"};
    static uint64_t want[6];
    struct mds_text_reader *r = NULL;
    bool right = true;
    uint64_t pos = 0, item, tag;
    int rc = mds_text_read_begin(text, &r, &err);

    if (rc != BASE_OK) {
        cr_assert(rc == BASE_ERR_CORRUPT || rc == BASE_ERR_GONE, "%s", err.text);
        (*refused)++;
        return true;
    }
    for (unsigned i = 0; i < 6; i++) {
        roaring_bitmap_t *out = NULL;
        const enum mds_match match = i < 2 ? MDS_MATCH_WHOLE : MDS_MATCH_CONTAINS;

        if (!want[i])
            want[i] = i == 0 ? 6000 : i == 1 ? 20 : expected(needles[i]);
        rc = mds_text_find(r, bytes_str(needles[i]), match, MDS_TEXT_MASK_ALL, NULL, &out, &err);
        cr_assert(rc == BASE_OK || rc == BASE_ERR_CORRUPT);
        *refused += rc != BASE_OK;
        if (rc == BASE_OK)
            right &= roaring_bitmap_get_cardinality(out) == want[i];
        text_set_free(out);
    }
    rc = mds_text_walk(r, NULL, posting, NULL, &err);
    cr_assert(rc == BASE_OK || rc == BASE_ERR_CORRUPT);
    while ((rc = mds_text_anchors(r, &pos, &item, &tag, &err)) == 1)
        ;
    cr_assert(rc == BASE_OK || rc == BASE_ERR_CORRUPT);
    mds_text_read_end(&r);
    return right;
}

static unsigned verify(struct mds_text *text)
{
    struct mds_text_reader *r = NULL;
    unsigned found = 0;

    if (mds_text_read_begin(text, &r, &err) != BASE_OK)
        return 1;
    const int rc = mds_text_verify(r, finding, &found, &err);

    cr_assert(rc == (int)found || rc == BASE_ERR_CORRUPT);
    mds_text_read_end(&r);
    return found + (rc < 0);
}

static void round_run(struct rng *rng, const char *pristine, const char *dir, bool sealed, unsigned *refused)
{
    struct victim v = {.r = rng, .sealed = sealed, .directory = rng_once_in(rng, sealed ? 6 : 1000000)};
    bool more = true;

    write_file(path_join(dir, "text/data.mdb"), read_file(pristine));
    struct mds_text *text = index_open(dir);

    cr_assert_eq(text_write(text, row_harm, &v, &err), BASE_OK, "%s", err.text);
    const bool right = use(text, refused);

    if (!sealed) {
        cr_assert(right, "a wrong answer under a wrong seal");
        cr_assert(!v.changed || verify(text) > 0, "verify sees it");
    } else {
        (void)verify(text);
    }
    for (unsigned steps = 0; more && steps < 4; steps++) {
        const int rc = mds_text_merge(text, &(struct mds_text_merge_options){.all = true}, &more, &err);

        cr_assert(rc == BASE_OK || rc == BASE_ERR_CORRUPT || rc == BASE_ERR_GONE, "%d: %s", rc, err.text);
        if (rc != BASE_OK)
            break;
    }
    (void)use(text, refused);
    const int rc = mds_text_drop(text, &err); /* the way out */

    cr_assert(rc == BASE_OK || ((rc == BASE_ERR_CORRUPT || rc == BASE_ERR_GONE) && v.directory), "%s", err.text);
    mds_text_close(&text);
}

static void rounds(const char *name, bool sealed, unsigned n)
{
    struct rng r = rng_start(name);
    const char *dir = TEMP_DIR(), *pristine = path_join(dir, "pristine");
    struct mds_text *text = index_open(dir);
    unsigned refused = 0;

    index_fill(text);
    cr_assert(use(text, &refused));
    cr_assert(refused == 0 && verify(text) == 0);
    mds_text_close(&text);
    write_file(pristine, read_file(path_join(dir, "text/data.mdb")));
    while (n--)
        round_run(&r, pristine, dir, sealed, &refused);
    cr_expect_gt(refused, 0);
}

Test(text_hostile, wrong_seals_are_never_an_answer, .timeout = 600)
{
    rounds("text_wrong_seals", false, 60);
}

Test(text_hostile, right_seals_overrun_nothing, .timeout = 600)
{
    rounds("text_right_seals", true, 150);
}

/* An archive's content index: opening it, and snapshots of it. */
#include "text_private.h"

#include <unistd.h>

#define MERGE_BYTES   (UINT64_C(16) << 20)
#define WRITE_REPLAYS 8

int text_corrupt(const struct mds_text *text, uint32_t segment, const char *what, struct error *err)
{
    return error_set(err, BASE_ERR_CORRUPT, 0, "%s: segment %u: %s: index the archive's text anew", text->env->dir,
                     segment, what);
}

int text_write(struct mds_text *text, text_write_fn *fn, void *arg, struct error *err)
{
    for (int tries = 0;; tries++) {
        struct mds_txn *t = NULL;
        int rc = mds_write_begin(text->env, &t, err);

        if (rc != BASE_OK)
            return rc;
        rc = fn(t, arg, err);
        if (rc == BASE_OK)
            rc = mds_write_commit(&t, err);
        else
            mds_write_abort(&t);
        if (rc != BASE_ERR_AGAIN || tries == WRITE_REPLAYS)
            return rc;
    }
}

/* ---- opening ---- */

int text_dir_load(const struct mds_text *text, struct mds_txn *t, struct text_dir *out, struct error *err)
{
    const int rc = dir_load(t, out, err);

    if (rc == BASE_ERR_NOTFOUND)
        return text_corrupt(text, 0, "the directory is lost", err);
    if (rc == BASE_OK && !bytes_equal(buf_bytes(&out->identity), buf_bytes(&text->identity)))
        return error_set(err, BASE_ERR_GONE, 0,
                         "%s is the index of another archive, or made under other settings: index anew",
                         text->env->dir);
    return rc;
}

/* An index of another identity keeps no segment: they are dead, and the next merge clears them away. */
static int identity_write(struct mds_txn *t, void *arg, struct error *err)
{
    const struct mds_text *text = arg;
    struct text_dir dir = {0};
    int rc = dir_load(t, &dir, err);

    if (rc == BASE_OK && bytes_equal(buf_bytes(&dir.identity), buf_bytes(&text->identity)))
        goto out; /* another process was faster */
    if (rc == BASE_ERR_NOTFOUND)
        dir.next_id = 1;
    else if (rc != BASE_OK)
        goto out;
    buf_reset(&dir.identity);
    buf_append_bytes(&dir.identity, buf_bytes(&text->identity));
    for (uint32_t i = 0; i < dir.n; i++)
        dir.v[i].state = TEXT_DEAD;
    rc = dir_store(t, &dir, err);
out:
    dir_release(&dir);
    return rc;
}

/* Is it this index? A new environment has no directory yet. */
static int identity_check(struct mds_text *text, bool *empty_out, struct error *err)
{
    struct text_dir dir = {0};
    struct mds_txn *t = NULL;
    int rc = mds_read_begin(text->env, &t, err);

    *empty_out = false;
    if (rc == BASE_OK && (rc = dir_load(t, &dir, err)) == BASE_ERR_NOTFOUND)
        *empty_out = true;
    else if (rc == BASE_OK)
        rc = text_dir_load(text, t, &dir, err);
    mds_read_end(&t);
    dir_release(&dir);
    return rc;
}

int mds_text_open(const char *archive_dir, const struct mds_text_options *opts, struct mds_text **out,
                  struct error *err)
{
    const struct mds_options env_opts = {
        .read_only = opts->read_only, .create = opts->create, .map_bytes = opts->map_bytes};
    struct mds_text *text;
    bool empty = false;
    char dir[4200];
    int rc;

    *out = NULL;
    if (opts->identity.n > MDS_TEXT_IDENTITY_MAX)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: an identity has at most %u bytes", MDS_TEXT_IDENTITY_MAX);
    if (snprintf(dir, sizeof dir, "%s/" MDS_TEXT_DIR, archive_dir) >= (int)sizeof dir)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: the path is too long", archive_dir);
    if (!opts->create && access(dir, F_OK) != 0)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: there is no content index: mds index --text makes it", dir);
    text = calloc(1, sizeof *text);
    ASSERT(text);
    (void)pthread_mutex_init(&text->mutex, NULL);
    buf_append_bytes(&text->identity, opts->identity);
    text->merge_bytes = opts->merge_bytes ? opts->merge_bytes : MERGE_BYTES;
    rc = env_open(dir, &text_schema, &env_opts, &text->env, err);
    if (rc == BASE_OK)
        rc = identity_check(text, &empty, err);
    if ((empty || rc == BASE_ERR_GONE) && opts->create && !opts->read_only)
        rc = text_write(text, identity_write, text, err);
    else if (empty)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "%s: there is no content index yet: mds index --text makes it", dir);
    if (rc != BASE_OK)
        mds_text_close(&text);
    *out = text;
    return rc;
}

static void seen_free(struct text_seen *s)
{
    for (unsigned i = 0; i < SEEN_KINDS; i++)
        free(s->bits[i]);
    free(s);
}

void mds_text_close(struct mds_text **textp)
{
    struct mds_text *text = *textp;

    *textp = NULL;
    if (!text)
        return;
    for (struct text_seen *s = text->seen, *next; s; s = next) {
        next = s->next;
        ASSERT(s->refs == 0);
        seen_free(s);
    }
    mds_close(&text->env);
    buf_release(&text->identity);
    (void)pthread_mutex_destroy(&text->mutex);
    free(text);
}

uint64_t mds_text_last_txnid(struct mds_text *text)
{
    return mds_last_txnid(text->env);
}

void mds_text_readers_clear(struct mds_text *text)
{
    mds_readers_clear(text->env);
}

/* ---- what was checked ---- */

static struct text_seen *seen_new(const struct text_segment *s)
{
    struct text_seen *seen = calloc(1, sizeof *seen);

    ASSERT(seen);
    seen->segment = s->id;
    seen->n[SEEN_TERMS] = s->blocks;
    seen->n[SEEN_GRAMS] = s->gram_blocks;
    seen->n[SEEN_FILTER] = s->blocks / FILTER_BLOCKS * FILTER_ROWS;
    seen->n[SEEN_STREAM] = (uint32_t)((s->stream_bytes + TEXT_STREAM_ROW - 1) / TEXT_STREAM_ROW);
    for (unsigned i = 0; i < SEEN_KINDS; i++) {
        seen->bits[i] = calloc(seen->n[i] / 64 + 1, sizeof *seen->bits[i]);
        ASSERT(seen->bits[i]);
    }
    return seen;
}

/* Segment ids are never given twice, so what was checked stays checked. */
static struct text_seen *seen_ref(struct mds_text *text, const struct text_segment *s)
{
    struct text_seen *seen;

    (void)pthread_mutex_lock(&text->mutex);
    for (seen = text->seen; seen && seen->segment != s->id; seen = seen->next)
        ;
    if (!seen) {
        seen = seen_new(s);
        seen->next = text->seen;
        text->seen = seen;
    }
    seen->refs++;
    (void)pthread_mutex_unlock(&text->mutex);
    return seen;
}

/* Segments that no snapshot shows any more are forgotten when the directory has lost them. */
static void seen_sweep(struct mds_text *text, struct text_dir *dir)
{
    (void)pthread_mutex_lock(&text->mutex);
    for (struct text_seen **at = &text->seen; *at;) {
        struct text_seen *s = *at;

        if (s->refs == 0 && !dir_find(dir, s->segment)) {
            *at = s->next;
            seen_free(s);
        } else {
            at = &s->next;
        }
    }
    (void)pthread_mutex_unlock(&text->mutex);
}

bool text_seen_get(const struct text_seen *s, enum text_seen_kind kind, uint32_t i)
{
    return i < s->n[kind] && (atomic_load_explicit(&s->bits[kind][i / 64], memory_order_relaxed) >> (i % 64) & 1);
}

void text_seen_set(struct text_seen *s, enum text_seen_kind kind, uint32_t i)
{
    if (i < s->n[kind])
        (void)atomic_fetch_or_explicit(&s->bits[kind][i / 64], UINT64_C(1) << (i % 64), memory_order_relaxed);
}

/* ---- snapshots ---- */

static void parts_release(struct mds_text_reader *r)
{
    (void)pthread_mutex_lock(&r->text->mutex);
    for (uint32_t i = 0; i < r->parts_n; i++)
        r->parts[i].seen->refs--;
    (void)pthread_mutex_unlock(&r->text->mutex);
    r->parts_n = 0;
    text_set_free(r->items);
    r->items = NULL;
    r->txnid = 0;
}

static int parts_load(struct mds_text_reader *r, struct error *err)
{
    int rc = text_dir_load(r->text, r->txn, &r->dir, err);

    if (rc != BASE_OK)
        return rc;
    seen_sweep(r->text, &r->dir);
    free(r->parts);
    r->parts = calloc(r->dir.n + 1, sizeof *r->parts);
    ASSERT(r->parts);
    r->items = roaring_bitmap_create();
    ASSERT(r->items);
    for (uint32_t i = 0; i < r->dir.n; i++) {
        roaring_bitmap_t *items = NULL;

        if (r->dir.v[i].state != TEXT_LIVE)
            continue;
        if ((rc = text_items_load(r->txn, &r->dir.v[i], &items, err)) != BASE_OK)
            return rc;
        roaring_bitmap_or_inplace(r->items, items);
        text_set_free(items);
        r->parts[r->parts_n++] = (struct text_part){r->dir.v[i], seen_ref(r->text, &r->dir.v[i])};
    }
    r->txnid = mds_txn_id(r->txn);
    return BASE_OK;
}

int mds_text_read_begin(struct mds_text *text, struct mds_text_reader **out, struct error *err)
{
    struct mds_text_reader *r = calloc(1, sizeof *r);
    int rc;

    ASSERT(r);
    *out = NULL;
    r->text = text;
    rc = mds_read_begin(text->env, &r->txn, err);
    if (rc == BASE_OK)
        rc = parts_load(r, err);
    if (rc != BASE_OK)
        mds_text_read_end(&r);
    *out = r;
    return rc;
}

int mds_text_read_renew(struct mds_text_reader *r, struct error *err)
{
    const int rc = mds_read_renew(r->txn, err);

    if (rc != BASE_OK || (r->txnid && r->txnid == mds_txn_id(r->txn)))
        return rc;
    parts_release(r);
    return parts_load(r, err);
}

void mds_text_read_end(struct mds_text_reader **rp)
{
    struct mds_text_reader *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    parts_release(r);
    mds_read_end(&r->txn);
    dir_release(&r->dir);
    free(r->parts);
    free(r->ids);
    buf_release(&r->stream);
    free(r);
}

uint32_t *reader_ids(struct mds_text_reader *r)
{
    if (!r->ids)
        r->ids = malloc(LIST_CHUNK_MAX * sizeof *r->ids);
    ASSERT(r->ids);
    return r->ids;
}

const roaring_bitmap_t *mds_text_items(const struct mds_text_reader *r)
{
    return r->items;
}

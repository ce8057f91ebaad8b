/*
 * An item's stored bytes, and the proof that they still are the indexed ones.
 *
 * Small items are read whole and hashed at open, whatever their vault. Larger ones that are a file of their own are
 * compared by size; larger ones inside an mbox, where another writer may move everything, are hashed in one pass, which
 * is remembered for as long as the file's time stays. See docs/decisions.
 */
#include "query_private.h"

#include <glib.h>

#define CHUNK_BYTES (256u * 1024)

/* The row's views, made to point into a copy of ours. */
static void own_views(struct query_item *item)
{
    struct bytes *const views[] = {&item->row.locator.name, &item->row.parts, &item->row.crlf_map};
    size_t at = 0;

    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        buf_append_bytes(&item->copies, *views[i]);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        *views[i] = bytes_slice(buf_bytes(&item->copies), at, views[i]->n);
        at += views[i]->n;
    }
}

int query_item_load(struct mdsq_reader *reader, uint64_t id, struct query_item *out, struct error *err)
{
    struct mds_container container;
    struct mds_words *words = NULL;
    int rc = query_reader_words(reader, &words, err);

    *out = (struct query_item){0};
    if (rc >= 0)
        rc = mds_words_item(words, id, &out->row, err);
    if (rc < 0)
        return rc;
    own_views(out);
    rc = mime_parts_decode(out->row.parts, out->row.size, &out->parts, err);
    if (rc >= 0)
        rc = mds_container_get(reader->txn, out->row.locator.container, &container, err);
    if (rc >= 0)
        buf_append_bytes(&out->container, container.name);
    else
        query_item_release(out);
    return rc;
}

void query_item_release(struct query_item *item)
{
    vault_item_close(&item->body);
    query_vault_unref(&item->vault);
    mime_parts_release(&item->parts);
    buf_release(&item->copies);
    buf_release(&item->container);
    buf_release(&item->whole);
    *item = (struct query_item){0};
}

static int read_exactly(struct vault_body *body, uint64_t off, void *dst, size_t n, struct error *err)
{
    size_t done = 0;

    while (done < n) {
        size_t got = 0;
        const int rc = vault_item_read(body, off + done, (uint8_t *)dst + done, n - done, &got, err);

        if (rc < 0)
            return rc;
        if (got == 0)
            return error_set(err, BASE_ERR_GONE, 0, "the item is shorter than it was");
        done += got;
    }
    return BASE_OK;
}

static int changed(struct error *err)
{
    return error_set(err, BASE_ERR_GONE, 0, "the item changed in its vault since it was indexed");
}

static bool is_verified(struct mdsq_archive *archive, uint64_t item, int64_t mtime_ns)
{
    const struct query_verified *slot = &archive->verified[item % QUERY_VERIFIED_MAX];

    (void)pthread_mutex_lock(&archive->lock);
    const bool yes = slot->item == item && slot->mtime_ns == mtime_ns;
    (void)pthread_mutex_unlock(&archive->lock);
    return yes;
}

static void set_verified(struct mdsq_archive *archive, uint64_t item, int64_t mtime_ns)
{
    (void)pthread_mutex_lock(&archive->lock);
    archive->verified[item % QUERY_VERIFIED_MAX] = (struct query_verified){item, mtime_ns};
    (void)pthread_mutex_unlock(&archive->lock);
}

static int verify_large(struct mdsq_archive *archive, struct query_item *item, struct error *err)
{
    const int64_t mtime_ns = vault_item_mtime_ns(item->body);
    int rc = BASE_OK;

    /* A file of its own: its size was compared, its name is its identity. Our own vault: every frame has its seal. */
    if ((item->row.locator.length == 0 && item->row.locator.offset == 0) ||
        vault_kind(item->vault->vault) == VAULT_KIND_SEGMENTS)
        return BASE_OK;
    if (is_verified(archive, item->row.id, mtime_ns))
        return BASE_OK;

    struct hash128_state *state = hash128_new();
    uint8_t *chunk = g_malloc(CHUNK_BYTES);

    for (uint64_t off = 0; off < item->row.size && rc >= 0;) {
        const uint64_t left = item->row.size - off;
        const size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;

        rc = read_exactly(item->body, off, chunk, n, err);
        hash128_update(state, bytes_of(chunk, rc < 0 ? 0 : n));
        off += n;
    }

    const struct hash128 hash = hash128_digest(state);

    if (rc >= 0 && hash128_compare(&hash, &item->row.hash) != 0)
        rc = changed(err);
    if (rc >= 0)
        set_verified(archive, item->row.id, mtime_ns);
    hash128_free(&state);
    g_free(chunk);
    return rc;
}

static int read_small(struct query_item *item, struct error *err)
{
    const size_t n = (size_t)item->row.size;
    const int rc = read_exactly(item->body, 0, buf_reserve(&item->whole, n), n, err);

    if (rc < 0)
        return rc;
    item->whole.n = n;

    const struct hash128 hash = hash128_of(buf_bytes(&item->whole));

    if (hash128_compare(&hash, &item->row.hash) != 0)
        return changed(err);
    item->is_whole = true;
    vault_item_close(&item->body);
    query_vault_unref(&item->vault);
    return BASE_OK;
}

static int open_in_vault(struct mdsq_reader *reader, struct query_item *item, struct error *err)
{
    const struct vault_locator locator = {
        .container = buf_bytes(&item->container),
        .name = item->row.locator.name,
        .offset = item->row.locator.offset,
        .length = item->row.locator.length,
        .filter = item->row.locator.filter,
    };
    int rc = BASE_OK;

    /* Twice: a vault whose root was replaced since it was opened (unmounted, mounted again) deserves a second look. */
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        rc = query_vault_get(reader->archive, reader->txn, item->row.locator.source, &item->vault, err);
        if (rc < 0)
            return rc;
        rc = vault_item_open(item->vault->vault, &locator, &item->body, err);
        if (rc != BASE_ERR_GONE)
            return rc;
        query_vault_forget(reader->archive, item->vault);
        query_vault_unref(&item->vault);
    }
    return rc;
}

static bool same_place(const struct query_item *a, const struct query_item *b)
{
    const struct mds_locator *x = &a->row.locator, *y = &b->row.locator;

    return x->source == y->source && x->container == y->container && x->offset == y->offset && x->length == y->length &&
           x->filter == y->filter && bytes_equal(x->name, y->name);
}

/* The snapshot may be older than a move of the bytes (mds compact, a rename in the vault): where are they now? */
static int open_where_it_is_now(struct mdsq_reader *reader, struct query_item *item, struct error *err)
{
    struct mdsq_reader now = {.archive = reader->archive};
    struct query_item moved = {0};
    int rc = mds_read_begin(reader->archive->env, &now.txn, err);

    if (rc >= 0)
        rc = query_item_load(&now, item->row.id, &moved, err);
    if (rc >= 0 && same_place(&moved, item))
        rc = error_set(err, BASE_ERR_GONE, 0, "the item vanished from its vault");
    if (rc >= 0)
        rc = open_in_vault(&now, &moved, err);
    mds_words_free(&now.words);
    mds_read_end(&now.txn);
    if (rc >= 0) {
        query_item_release(item);
        *item = moved;
        return rc;
    }
    query_item_release(&moved);
    return rc == BASE_ERR_NOTFOUND ? BASE_ERR_GONE : rc;
}

int query_item_open_bytes(struct mdsq_reader *reader, struct query_item *item, struct error *err)
{
    int rc;

    if (item->is_open)
        return BASE_OK;
    rc = open_in_vault(reader, item, err);
    if (rc == BASE_ERR_GONE)
        rc = open_where_it_is_now(reader, item, err);
    if (rc < 0)
        return rc;
    if (vault_item_size(item->body) != item->row.size)
        rc = changed(err);
    else if (item->row.size <= QUERY_SMALL_ITEM_BYTES)
        rc = read_small(item, err);
    else
        rc = verify_large(reader->archive, item, err);
    if (rc < 0) {
        vault_item_close(&item->body);
        query_vault_unref(&item->vault);
        return rc;
    }
    item->is_open = true;
    return BASE_OK;
}

int query_item_read(struct query_item *item, uint64_t off, void *dst, size_t n, struct error *err)
{
    ASSERT(item->is_open);
    if (off > item->row.size || n > item->row.size - off)
        return error_set(err, BASE_ERR_CORRUPT, 0, "a section ends behind its item");
    if (!item->is_whole)
        return read_exactly(item->body, off, dst, n, err);
    if (n)
        memcpy(dst, item->whole.p + off, n);
    return BASE_OK;
}

int query_item_view(void *arg, uint64_t off, uint64_t len, struct bytes *out, struct error *err)
{
    const struct query_item_view *view = arg;
    struct query_item *item = view->item;

    if (item->is_whole && off <= item->whole.n && len <= item->whole.n - off) {
        *out = bytes_slice(buf_bytes(&item->whole), (size_t)off, (size_t)len);
        return BASE_OK;
    }
    buf_reset(view->scratch);

    const int rc = query_item_read(item, off, buf_reserve(view->scratch, (size_t)len), (size_t)len, err);

    view->scratch->n = rc < 0 ? 0 : (size_t)len;
    *out = buf_bytes(view->scratch);
    return rc;
}

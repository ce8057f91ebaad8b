/*
 * An item's texts for the content index. The bytes must be those of the store, as SEARCH proves them too
 * (query/item.c): small items by their hash, larger ones that are a file of their own by their size, larger ones in an
 * mbox by their hash in one pass.
 */
#include "index_private.h"

#include "mime/words.h"
#include "vault/segment.h"

#include <stdlib.h>
#include <string.h>

#define WHOLE_BYTES_MAX (UINT64_C(1) << 20)
#define CHUNK_BYTES     (256u << 10)

int index_archive_open(const struct indexer_archive *at, const char *trace_fields, bool write,
                       struct index_archive *out, struct error *err)
{
    *out = (struct index_archive){
        .trace = mime_trace_new(bytes_str(trace_fields ? trace_fields : mime_texts_trace_default))};
    out->settings =
        (struct filing_text_settings){.trace = out->trace, .words = mime_words_fingerprint(), .read_only = !write};
    (void)pthread_mutex_init(&out->lock, NULL);

    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = calloc(1, sizeof *info);
    struct mds_options opts = {.read_only = !write, .archive_name = at->archive};
    ASSERT(info);
    int rc = mds_catalogue_open(at->store_dir, false, true, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, at->archive, false, info, err);
    mds_catalogue_close(&catalogue);
    if (rc == 0)
        rc = mds_open(info->dir, &opts, &out->env, err);
    free(info);
    if (rc < 0)
        index_archive_close(out);
    return rc;
}

void index_archive_close(struct index_archive *a)
{
    for (size_t i = 0; i < a->vaults_n; i++)
        vault_close(&a->vaults[i]);
    free(a->vaults);
    free(a->tried);
    mds_close(&a->env);
    mime_trace_free(&a->trace);
    (void)pthread_mutex_destroy(&a->lock);
    *a = (struct index_archive){0};
}

static int vault_make(const struct index_archive *a, struct bytes name, struct vault **out, struct error *err)
{
    if (bytes_equal(name, BYTES_LIT(MDS_SOURCE_OWN)))
        return segment_vault_open(mds_dir(a->env), out, err);

    struct vault_spec spec = {0};
    char *text = strndup((const char *)name.p, name.n);
    ASSERT(text);
    int rc = vault_spec_parse(text, &spec, err);
    if (rc == 0)
        rc = vault_open(&spec, out, err);
    vault_spec_release(&spec);
    free(text);
    return rc;
}

/* The vault of a source, opened once a run. */
static int vault_of(struct index_archive *a, struct mds_txn *txn, uint32_t source, struct vault **out,
                    struct error *err)
{
    struct bytes name;
    int rc = mds_source_name(txn, source, &name, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&a->lock);
    if (source > a->vaults_n) {
        a->vaults = realloc(a->vaults, source * sizeof *a->vaults);
        a->tried = realloc(a->tried, source * sizeof *a->tried);
        ASSERT(a->vaults && a->tried);
        for (size_t i = a->vaults_n; i < source; i++) {
            a->vaults[i] = NULL;
            a->tried[i] = false;
        }
        a->vaults_n = source;
    }
    if (!a->tried[source - 1] && (rc = vault_make(a, name, &a->vaults[source - 1], err)) < 0)
        a->vaults[source - 1] = NULL;
    a->tried[source - 1] = true;
    *out = a->vaults[source - 1];
    pthread_mutex_unlock(&a->lock);
    if (!*out && rc >= 0)
        rc = error_set(err, BASE_ERR_GONE, 0, "its vault cannot be opened");
    return rc;
}

int index_reader_begin(struct index_archive *a, struct index_reader *out, struct error *err)
{
    *out = (struct index_reader){.archive = a};
    mime_texts_init(&out->texts);
    return mds_read_begin(a->env, &out->txn, err);
}

void index_reader_end(struct index_reader *r)
{
    index_reader_close(r);
    mds_read_end(&r->txn);
    mime_texts_release(&r->texts);
    buf_release(&r->whole);
    buf_release(&r->part);
}

bool index_is_items_own(int rc)
{
    return rc == BASE_ERR_GONE || rc == BASE_ERR_IO || rc == BASE_ERR_LIMIT || rc == BASE_ERR_NOTFOUND ||
           rc == BASE_ERR_FORMAT || rc == BASE_ERR_CORRUPT;
}

static int changed(struct error *err)
{
    return error_set(err, BASE_ERR_GONE, 0, "the item changed in its vault since it was indexed");
}

static int read_exactly(struct vault_body *body, uint64_t off, void *dst, size_t n, struct error *err)
{
    for (size_t done = 0; done < n;) {
        size_t got = 0;
        int rc = vault_item_read(body, off + done, (uint8_t *)dst + done, n - done, &got, err);
        if (rc < 0)
            return rc;
        if (got == 0)
            return error_set(err, BASE_ERR_GONE, 0, "the item is shorter than it was");
        done += got;
    }
    return 0;
}

static int read_whole(struct index_reader *r, const struct mds_item *item, struct error *err)
{
    const size_t n = (size_t)item->size;
    buf_reset(&r->whole);
    int rc = read_exactly(r->body, 0, buf_reserve(&r->whole, n + 1), n, err);
    r->whole.n = n;
    vault_item_close(&r->body);
    if (rc < 0)
        return rc;
    const struct hash128 hash = hash128_of(buf_bytes(&r->whole));
    return hash128_compare(&hash, &item->hash) == 0 ? 0 : changed(err);
}

static int check_large(struct index_reader *r, const struct mds_item *item, const struct vault *vault,
                       struct error *err)
{
    if ((item->locator.length == 0 && item->locator.offset == 0) || vault_kind(vault) == VAULT_KIND_SEGMENTS)
        return 0;
    struct hash128_state *state = hash128_new();
    int rc = 0;
    buf_reset(&r->part);
    uint8_t *chunk = buf_reserve(&r->part, CHUNK_BYTES);
    for (uint64_t off = 0; off < item->size && rc >= 0;) {
        const uint64_t left = item->size - off;
        const size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        rc = read_exactly(r->body, off, chunk, n, err);
        hash128_update(state, bytes_of(chunk, rc < 0 ? 0 : n));
        off += n;
    }
    const struct hash128 hash = hash128_digest(state);
    hash128_free(&state);
    return rc < 0 ? rc : hash128_compare(&hash, &item->hash) == 0 ? 0 : changed(err);
}

static int open_bytes(struct index_reader *r, const struct mds_item *item, struct error *err)
{
    struct mds_container container;
    struct vault *vault = NULL;
    int rc = mds_container_get(r->txn, item->locator.container, &container, err);
    if (rc == 0)
        rc = vault_of(r->archive, r->txn, item->locator.source, &vault, err);
    if (rc < 0)
        return rc;
    const struct vault_locator locator = {
        .container = container.name,
        .name = item->locator.name,
        .offset = item->locator.offset,
        .length = item->locator.length,
        .filter = item->locator.filter,
    };
    rc = vault_item_open(vault, &locator, &r->body, err);
    if (rc < 0)
        return rc;
    if (vault_item_size(r->body) != item->size)
        return changed(err);
    return item->size <= WHOLE_BYTES_MAX ? read_whole(r, item, err) : check_large(r, item, vault, err);
}

static int read_view(void *arg, uint64_t off, uint64_t len, struct bytes *out, struct error *err)
{
    struct index_reader *r = arg;
    if (!r->body) {
        *out = bytes_slice(buf_bytes(&r->whole), (size_t)off, (size_t)len);
        return out->n == len ? 0 : error_set(err, BASE_ERR_CORRUPT, 0, "a section ends behind its item");
    }
    buf_reset(&r->part);
    int rc = read_exactly(r->body, off, buf_reserve(&r->part, (size_t)len + 1), (size_t)len, err);
    r->part.n = (size_t)len;
    *out = buf_bytes(&r->part);
    return rc;
}

/* Of an item that is not in memory: can all of it be read? Better known before its first term is given. */
static int try_texts(struct index_reader *r, struct error *err)
{
    struct mime_text text;
    int rc;
    mime_texts_begin(&r->texts, &r->parts, MIME_TEXTS_ALL, read_view, r);
    while ((rc = mime_texts_next(&r->texts, &text, err)) > 0)
        ;
    return rc;
}

int index_reader_open(struct index_reader *r, const struct mds_item *item, struct error *err)
{
    int rc = mime_parts_decode(item->parts, item->size, &r->parts, err);
    if (rc == 0)
        rc = open_bytes(r, item, err);
    if (rc == 0 && r->body)
        rc = try_texts(r, err);
    if (rc < 0)
        index_reader_close(r);
    return rc;
}

void index_reader_close(struct index_reader *r)
{
    vault_item_close(&r->body);
    mime_parts_release(&r->parts);
}

static int words(struct index_reader *r, filing_text_fn *fn, void *arg, uint64_t *bytes, struct error *err)
{
    struct mime_text text;
    int rc;
    mime_texts_begin(&r->texts, &r->parts, MIME_TEXTS_ALL, read_view, r);
    while ((rc = mime_texts_next(&r->texts, &text, err)) > 0)
        *bytes += filing_text_terms(&r->texts, &text, r->archive->trace, &r->pairs, fn, arg);
    return rc;
}

int index_reader_terms(struct index_reader *r, filing_text_fn *fn, void *arg, struct error *err)
{
    uint64_t bytes = 0;
    const int rc = words(r, fn, arg, &bytes, err);
    filing_text_pairs(&r->pairs, fn, arg);
    return rc;
}

static void add_word(enum mds_text_class c, struct bytes term, void *arg)
{
    mds_text_batch_add(arg, c, term);
}

int index_reader_batch(struct index_reader *r, struct mds_text_batch *batch, uint64_t *bytes_out, struct error *err)
{
    *bytes_out = 0;
    const int rc = words(r, add_word, batch, bytes_out, err);
    filing_text_pairs_batch(&r->pairs, batch);
    mds_text_batch_text(batch, *bytes_out);
    return rc;
}

/*
 * The archive's own vault during an import: each new item's bytes go into a segment, inside the transaction that files
 * the item, and are on the disk before it commits (vault/segment.h). A kill leaves bytes behind the committed tail; the
 * next writer cuts them off.
 */
#include "indexer_private.h"

#include "filing/filing.h"
#include "vault/segment.h"

#include <stdlib.h>

struct indexer_own {
    struct vault *vault;           /* for reading what is there; NULL until it is needed */
    struct segment_writer *writer; /* lives with the transaction */
};

static struct indexer_own *own_of(struct indexer_writer *w)
{
    if (!w->own)
        w->own = calloc(1, sizeof *w->own);
    ASSERT(w->own);
    return w->own;
}

struct vault *indexer_own_vault(struct indexer_writer *w)
{
    struct indexer_own *own = own_of(w);
    if (!own->vault && segment_vault_open(w->run->dir, &own->vault, NULL) < 0)
        own->vault = NULL;
    return own->vault;
}

bool indexer_own_is(const struct vault *v)
{
    return v && vault_kind(v) == VAULT_KIND_SEGMENTS;
}

static int read_body(void *arg, uint64_t off, void *dst, size_t n, struct error *err)
{
    while (n) {
        size_t got = 0;
        int rc = vault_item_read(arg, off, dst, n, &got, err);
        if (rc < 0)
            return rc;
        if (!got)
            return error_set(err, BASE_ERR_GONE, 0, "the item became shorter while it was read");
        dst = (uint8_t *)dst + got;
        off += got;
        n -= got;
    }
    return 0;
}

/* The result's bytes, once more from its vault: they must still have the hash that was indexed. */
static int pack_result(struct indexer_writer *w, struct segment_packed **out, struct error *err)
{
    struct vault_body *body = NULL;
    int rc = vault_item_open(w->source->vault, &w->result.locator, &body, err);
    if (rc == 0 && vault_item_size(body) != w->result.size)
        rc = error_set(err, BASE_ERR_GONE, 0, "the item changed while it was read");
    if (rc == 0)
        rc = segment_pack(read_body, body, w->result.size, &w->result.hash, w->run->tmp, out, err);
    vault_item_close(&body);
    return rc;
}

static int writer_open(struct indexer_writer *w, struct indexer_own *own, struct error *err)
{
    struct mds_segments at;
    int rc = own->writer ? 0 : mds_segments_get(w->txn, &at, err);
    return rc < 0 || own->writer ? rc : segment_writer_open(w->run->dir, at.active, at.tail, &own->writer, err);
}

int indexer_own_file(struct indexer_writer *w, struct mds_locator *out, bool *failed_out, struct error *err)
{
    struct indexer_own *own = own_of(w);
    struct segment_packed *packed = NULL;
    uint32_t segment = 0;
    int rc = pack_result(w, &packed, &w->result.reason);
    *out = (struct mds_locator){0};
    *failed_out = rc < 0 && rc != BASE_ERR_FULL;
    if (rc < 0) {
        if (!*failed_out && err)
            *err = w->result.reason;
        return *failed_out ? 0 : rc;
    }
    rc = writer_open(w, own, err);
    if (rc == 0)
        rc = segment_writer_add(own->writer, packed, &segment, &out->offset, &out->length, &out->filter, err);
    if (rc == 0)
        rc = filing_own_place(w->txn, segment, out, err);
    if (rc == 0) {
        w->report->own_items++;
        w->report->own_bytes += out->length;
        w->batch_bytes += out->length;
    }
    segment_packed_free(&packed);
    return rc;
}

int indexer_own_sync(struct indexer_writer *w, struct error *err)
{
    struct mds_segments at;
    if (!w->own || !w->own->writer)
        return 0;
    int rc = segment_writer_sync(w->own->writer, &at.active, &at.tail, err);
    if (rc == 0)
        rc = mds_segments_put(w->txn, &at, err);
    segment_writer_close(&w->own->writer);
    return rc;
}

void indexer_own_release(struct indexer_writer *w)
{
    if (!w->own)
        return;
    segment_writer_close(&w->own->writer);
    vault_close(&w->own->vault);
    free(w->own);
    w->own = NULL;
}

/*
 * Drafts: bytes that become an item. Few are kept in memory, more go to an unlinked file of the archive's directory (the
 * same file system as the own vault, so that a full disk is met early).
 *
 * Finishing a draft does all that needs no writer: hash, parse, a look for the same bytes in the own vault, compression.
 * It is parsed in this process, not in a worker: mime/ is total and fuzzed, and a person waits (docs/decisions/0031).
 */
#include "change.h"

#include <errno.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_MAX ((size_t)64 << 10)
#define CHUNK      ((size_t)64 << 10)

int mdsq_draft_new(struct mdsq_archive *archive, struct mdsq_draft **out, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *out = NULL;
    if (!mdsq_archive_writable(archive))
        return query_result(error_set(&e, BASE_ERR_READONLY, 0, "the store was opened for reading"), &e, err);

    struct mdsq_draft *d = g_new0(struct mdsq_draft, 1);

    d->archive = query_archive_ref(archive);
    d->fd = -1;
    *out = d;
    return MDSQ_OK;
}

void mdsq_draft_free(struct mdsq_draft **draft)
{
    struct mdsq_draft *d = *draft;

    *draft = NULL;
    if (d == NULL)
        return;
    if (d->map)
        (void)munmap(d->map, (size_t)d->size);
    if (d->fd >= 0)
        (void)close(d->fd);
    segment_packed_free(&d->packed);
    buf_release(&d->memory);
    buf_release(&d->encoded);
    mdsq_archive_close(&d->archive);
    g_free(d);
}

uint64_t mdsq_draft_size(const struct mdsq_draft *draft)
{
    return draft->size;
}

static int write_all(int fd, const uint8_t *p, size_t n, uint64_t off, struct error *err)
{
    while (n) {
        const ssize_t done = pwrite(fd, p, n, (off_t)off);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return error_errno(err, "a draft's temporary file");
        p += done;
        off += (uint64_t)done;
        n -= (size_t)done;
    }
    return BASE_OK;
}

static int spill(struct mdsq_draft *d, struct error *err)
{
    int rc = query_os_temporary(mds_dir(d->archive->env), &d->fd, err);

    if (rc >= 0)
        rc = write_all(d->fd, d->memory.p, d->memory.n, 0, err);
    if (rc >= 0)
        buf_release(&d->memory);
    return rc;
}

static int draft_write(struct mdsq_draft *d, const void *p, size_t n, struct error *err)
{
    int rc = BASE_OK;

    if (d->is_finished)
        return error_set(err, BASE_ERR_USAGE, 0, "the draft is finished");
    if (n > MDSQ_DRAFT_MAX - d->size)
        return error_set(err, BASE_ERR_LIMIT, 0, "an item has at most %llu bytes", (unsigned long long)MDSQ_DRAFT_MAX);
    if (d->fd < 0 && n > MEMORY_MAX - d->memory.n)
        rc = spill(d, err);
    if (rc >= 0 && d->fd >= 0)
        rc = write_all(d->fd, p, n, d->size, err);
    else if (rc >= 0)
        buf_append(&d->memory, p, n);
    if (rc >= 0)
        d->size += n;
    return rc;
}

int mdsq_draft_write(struct mdsq_draft *draft, const void *p, size_t n, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    return query_result(draft_write(draft, p, n, &e), &e, err);
}

/* ---- finishing ---------------------------------------------------------------------------- */

struct bytes draft_bytes(const struct mdsq_draft *d)
{
    return d->map ? bytes_of(d->map, (size_t)d->size) : buf_bytes(&d->memory);
}

/* The unlinked file is ours alone: it cannot shrink under the map. */
static int map_file(struct mdsq_draft *d, struct error *err)
{
    void *map;

    if (d->fd < 0 || d->size == 0)
        return BASE_OK;
    map = mmap(NULL, (size_t)d->size, PROT_READ, MAP_SHARED, d->fd, 0);
    if (map == MAP_FAILED)
        return error_errno(err, "mapping a draft of %llu bytes", (unsigned long long)d->size);
    d->map = map;
    return BASE_OK;
}

/* With the settings of the archive's build, so that an item looks the same whichever way it came. */
static void parse(struct mdsq_draft *d, char **kept)
{
    struct mime_settings settings = {0};

    if (kept && kept[0] && strcmp(kept[0], "*") == 0)
        settings.all_headers = true;
    else if (kept)
        settings.headers = (const char *const *)kept;

    struct mime_parser *parser = mime_parser_new(&settings);
    struct mime_record record;

    mime_parse(parser, draft_bytes(d), &record);
    buf_reset(&d->encoded);
    mime_record_encode(&record, &d->encoded);
    mime_parser_free(&parser);
}

static int read_memory(void *arg, uint64_t off, void *dst, size_t n, struct error *err)
{
    const struct bytes all = draft_bytes(arg);

    (void)err;
    ASSERT(off <= all.n && n <= all.n - off);
    if (n)
        memcpy(dst, all.p + off, n);
    return BASE_OK;
}

int draft_pack(struct mdsq_draft *d, struct error *err)
{
    if (d->packed)
        return BASE_OK;
    return segment_pack(read_memory, d, d->size, &d->hash, mds_dir(d->archive->env), &d->packed, err);
}

/* An item of the own vault with the same bytes. */
static int find_same(struct mdsq_draft *d, struct mds_txn *txn, struct error *err)
{
    uint64_t pos = 0, id;
    int rc;

    while ((rc = mds_item_by_hash(txn, &d->hash, &pos, &id, err)) > 0) {
        enum draft_match match = DRAFT_OTHER;

        rc = draft_compare(d, txn, id, &match, err);
        if (rc < 0)
            return rc;
        if (match == DRAFT_SAME) {
            d->same_item = id;
            return BASE_OK;
        }
    }
    return rc;
}

int draft_finish(struct mdsq_draft *d, struct error *err)
{
    struct mds_txn *txn = NULL;
    char **kept = NULL;
    int rc = d->is_finished ? BASE_OK : map_file(d, err);

    if (rc < 0 || d->is_finished)
        return rc;
    d->hash = hash128_of(draft_bytes(d));
    rc = mds_read_begin(d->archive->env, &txn, err);
    if (rc >= 0)
        rc = find_same(d, txn, err);
    if (rc >= 0)
        kept = query_kept_names(txn);
    mds_read_end(&txn);
    if (rc >= 0)
        parse(d, kept);
    g_strfreev(kept);
    if (rc >= 0)
        rc = mime_record_decode(buf_bytes(&d->encoded), &d->record, err);
    if (rc >= 0 && d->same_item == 0)
        rc = draft_pack(d, err);
    d->is_finished = rc >= 0;
    return rc;
}

int mdsq_draft_finish(struct mdsq_draft *draft, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    return query_result(draft_finish(draft, &e), &e, err);
}

/* ---- beside a stored item ------------------------------------------------------------------ */

/* 1: the bytes are the same. A body that cannot be read has others. */
static bool body_equal(struct vault_body *body, struct bytes mine)
{
    uint8_t *chunk = g_malloc(CHUNK);
    size_t at = 0;

    while (at < mine.n) {
        const size_t n = mine.n - at < CHUNK ? mine.n - at : CHUNK;
        size_t got = 0;

        if (vault_item_read(body, at, chunk, n, &got, NULL) < 0 || got == 0 || memcmp(chunk, mine.p + at, got) != 0)
            break;
        at += got;
    }
    g_free(chunk);
    return at == mine.n;
}

int draft_compare(struct mdsq_draft *d, struct mds_txn *txn, uint64_t id, enum draft_match *out, struct error *err)
{
    struct mds_container container;
    struct query_vault *vault = NULL;
    struct vault_body *body = NULL;
    struct vault_locator locator;
    struct buf names = {0};
    struct mds_item item;
    int rc = mds_item_get(txn, id, &item, err);

    *out = DRAFT_OTHER;
    if (rc == BASE_ERR_NOTFOUND)
        return BASE_OK;
    if (rc < 0)
        return rc;
    if (item.size != d->size || hash128_compare(&item.hash, &d->hash) != 0)
        return BASE_OK;
    buf_append_bytes(&names, item.locator.name);
    rc = mds_container_get(txn, item.locator.container, &container, err);
    if (rc < 0)
        goto out;
    buf_append_bytes(&names, container.name);
    locator = (struct vault_locator){
        .name = bytes_slice(buf_bytes(&names), 0, item.locator.name.n),
        .container = bytes_slice(buf_bytes(&names), item.locator.name.n, SIZE_MAX),
        .offset = item.locator.offset,
        .length = item.locator.length,
        .filter = item.locator.filter,
    };
    if (query_vault_get(d->archive, txn, item.locator.source, &vault, NULL) < 0 ||
        vault_item_open(vault->vault, &locator, &body, NULL) < 0)
        goto out;
    if (vault_item_size(body) == d->size && body_equal(body, draft_bytes(d)))
        *out = vault_kind(vault->vault) == VAULT_KIND_SEGMENTS ? DRAFT_SAME : DRAFT_SAME_ELSEWHERE;
out:
    vault_item_close(&body);
    query_vault_unref(&vault);
    buf_release(&names);
    return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc;
}

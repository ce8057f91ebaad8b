/*
 * A record to an item. Nothing of the file is believed: header, table and each frame
 * have seals; a frame must give exactly the bytes its place in the item says, so memory is
 * bounded by two frames and the table whatever a header claims.
 */
#include "segment_private.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

static int corrupt(const struct segment_reader *r, const char *what, struct error *err)
{
    return error_set(err, BASE_ERR_CORRUPT, 0, "segment %08u, record at %llu: %s", r->segment,
                     (unsigned long long)r->offset, what);
}

static int read_all(const struct segment_reader *r, void *dst, size_t n, uint64_t off, struct error *err)
{
    const ssize_t got = vault_os_pread(r->fd, dst, n, off);

    if (got < 0) {
        errno = (int)-got;
        return error_errno(err, "segment %08u", r->segment);
    }
    if ((size_t)got == n)
        return BASE_OK;
    return error_set(err, BASE_ERR_GONE, 0, "segment %08u ends before the record at %llu does", r->segment,
                     (unsigned long long)r->offset);
}

/* Frames fill `stored` exactly; each is at least one byte, and no longer than what it holds. */
static int table_read(struct segment_reader *r, struct error *err)
{
    const uint64_t frames = segment_frames(r->record.size);
    const size_t n = (size_t)frames * SEGMENT_ENTRY_BYTES;
    uint64_t end = 0;
    int rc;

    buf_reset(&r->table);
    rc = read_all(r, buf_reserve(&r->table, n + 1), n, r->offset + SEGMENT_RECORD_BYTES, err);
    if (rc != BASE_OK)
        return rc;
    r->table.n = n;
    if (hash64_of(buf_bytes(&r->table)) != r->record.table_seal)
        return corrupt(r, "its frame table fails its seal", err);
    r->ends = g_renew(uint64_t, r->ends, (size_t)frames + 1);
    for (uint64_t i = 0; i < frames; i++) {
        const uint32_t stored = get_be32(r->table.p + i * SEGMENT_ENTRY_BYTES);

        if (stored == 0 || stored > segment_frame_size(r->record.size, i))
            return corrupt(r, "its frame table holds an impossible length", err);
        end += stored;
        r->ends[i] = end;
    }
    return end == r->record.stored ? BASE_OK : corrupt(r, "its frame table does not fit its header", err);
}

int segment_reader_open(struct segment_reader *r, int fd, uint32_t segment, uint64_t offset, uint64_t length,
                        struct error *err)
{
    uint8_t head[SEGMENT_RECORD_BYTES];
    struct stat st;
    int rc;

    r->fd = fd;
    r->segment = segment;
    r->offset = offset;
    r->frame = UINT64_MAX;
    if (fstat(fd, &st) < 0)
        return error_errno(err, "segment %08u", segment);
    if (offset < SEGMENT_HEAD_BYTES || offset % SEGMENT_ALIGN || offset > (uint64_t)INT64_MAX - SEGMENT_RECORD_BYTES)
        return corrupt(r, "no record can begin there", err);
    rc = read_all(r, head, sizeof head, offset, err);
    if (rc != BASE_OK)
        return rc;
    if (!segment_record_decode(head, segment, offset, &r->record))
        return corrupt(r, "its header fails its seal", err);

    const uint64_t whole = segment_record_length(&r->record);

    if (length && length != whole)
        return corrupt(r, "its length is not the locator's", err);
    if ((uint64_t)st.st_size < offset || whole > (uint64_t)st.st_size - offset)
        return error_set(err, BASE_ERR_GONE, 0, "segment %08u ends before the record at %llu does", segment,
                         (unsigned long long)offset);
    return table_read(r, err);
}

int segment_reader_stored(struct segment_reader *r, uint64_t i, struct bytes *out, struct error *err)
{
    const uint8_t *entry = r->table.p + i * SEGMENT_ENTRY_BYTES;
    const uint64_t begin = i ? r->ends[i - 1] : 0;
    const size_t n = (size_t)(r->ends[i] - begin);
    int rc;

    buf_reset(&r->packed);
    rc = read_all(r, buf_reserve(&r->packed, n), n, r->offset + SEGMENT_RECORD_BYTES + r->table.n + begin, err);
    if (rc != BASE_OK)
        return rc;
    r->packed.n = n;
    if (segment_frame_seal(r->packed.p, n) != get_be32(entry + 4))
        return corrupt(r, "a frame fails its seal", err);
    *out = buf_bytes(&r->packed);
    return BASE_OK;
}

static int frame_load(struct segment_reader *r, uint64_t i, struct error *err)
{
    const size_t size = segment_frame_size(r->record.size, i);
    struct bytes stored;

    r->frame = UINT64_MAX;
    const int rc = segment_reader_stored(r, i, &stored, err);

    if (rc != BASE_OK)
        return rc;
    buf_reset(&r->raw);
    if (stored.n == size) {
        buf_append_bytes(&r->raw, stored);
    } else {
        if (!r->zstd && !(r->zstd = ZSTD_createDCtx()))
            return error_set(err, BASE_ERR_NOMEM, 0, "reading an item: out of memory");
        if (ZSTD_decompressDCtx(r->zstd, buf_reserve(&r->raw, size), size, stored.p, stored.n) != size)
            return corrupt(r, "a frame does not give the bytes that its header says", err);
        r->raw.n = size;
    }
    r->frame = i;
    return BASE_OK;
}

int segment_reader_read(struct segment_reader *r, uint64_t off, void *dst, size_t n, struct error *err)
{
    uint8_t *to = dst;

    ASSERT(off <= r->record.size && n <= r->record.size - off);
    while (n) {
        const uint64_t i = off / SEGMENT_FRAME_BYTES;
        const int rc = i == r->frame ? BASE_OK : frame_load(r, i, err);

        if (rc != BASE_OK)
            return rc;
        const size_t at = (size_t)(off % SEGMENT_FRAME_BYTES);
        const size_t part = r->raw.n - at < n ? r->raw.n - at : n;

        memcpy(to, r->raw.p + at, part);
        to += part;
        off += part;
        n -= part;
    }
    return BASE_OK;
}

void segment_reader_close(struct segment_reader *r)
{
    if (r->fd >= 0)
        (void)close(r->fd);
    r->fd = -1;
    r->frame = UINT64_MAX;
    g_clear_pointer(&r->ends, g_free);
    buf_release(&r->table);
}

void segment_reader_release(struct segment_reader *r)
{
    segment_reader_close(r);
    buf_release(&r->raw);
    buf_release(&r->packed);
    (void)ZSTD_freeDCtx(r->zstd);
    r->zstd = NULL;
}

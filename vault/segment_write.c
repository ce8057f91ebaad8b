/*
 * Records to files. What a power cut may take is what no sync covered, so in this order:
 *
 *   1. record bytes, at or behind the committed tail            pwrite
 *   2. they are on the disk, with the file's length             fdatasync(segment)
 *   3. a new file has a name that lasts                         fsync(segments/)
 *   4. a new directory has a name that lasts                    fsync(archive)
 *   5. the position is given out; the metadata commits          (the caller)
 *
 * 3 and 4 are due again after a crash, as a name that we see need not be on the disk: 4 as long as nothing was ever
 * committed (tail 0), 3 for each file that this writer began, whether or not one of that name was left over.
 * After a failed sync nobody knows what the kernel kept: the writer refuses from then on.
 */
#include "segment_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/random.h>
#include <unistd.h>

struct segment_writer {
    /* permanent */
    char *dir;
    int dir_fd, segments_fd;
    uint64_t limit; /* SEGMENT_BYTES, less in tests */
    bool first;     /* nothing was ever committed: `segments` may be new */

    /* the active segment */
    int fd; /* -1: to be begun */
    struct segment_head head;
    uint64_t tail;

    /* since the last sync */
    bool dirty, new_file;
    bool failed; /* for good */
};

static int directories_open(struct segment_writer *w, struct error *err)
{
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir_fd < 0)
        return error_errno(err, "%s", w->dir);
    if (mkdirat(w->dir_fd, SEGMENT_DIR, 0700) < 0 && errno != EEXIST)
        return error_errno(err, "%s/" SEGMENT_DIR, w->dir);
    w->segments_fd = openat(w->dir_fd, SEGMENT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return w->segments_fd < 0 ? error_errno(err, "%s/" SEGMENT_DIR, w->dir) : BASE_OK;
}

/* A file of that number can only be what an abandoned transaction left: numbers only grow, and this one was never
 * committed. */
static int file_begin(struct segment_writer *w, uint32_t number, struct error *err)
{
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    struct segment_head head = {.number = number};
    int fd = -1;
    int rc = segment_file_open(w->dir, number, O_RDWR | O_CREAT | O_TRUNC, &fd, err);

    if (rc != BASE_OK)
        return rc;
    if (getrandom(&head.salt, sizeof head.salt, 0) != (ssize_t)sizeof head.salt) {
        rc = error_errno(err, "segment %08u: random bytes", number);
    } else {
        segment_head_encode(&head, bytes);
        rc = segment_pwrite(fd, bytes, sizeof bytes, 0, err);
    }
    if (rc != BASE_OK) {
        (void)close(fd);
        return rc;
    }
    w->fd = fd;
    w->head = head;
    w->tail = SEGMENT_HEAD_BYTES;
    w->new_file = true;
    w->dirty = true;
    return BASE_OK;
}

static int file_resume(struct segment_writer *w, uint32_t number, uint64_t tail, struct error *err)
{
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    struct stat st;
    int rc = segment_file_open(w->dir, number, O_RDWR, &w->fd, err);

    if (rc != BASE_OK)
        return rc;
    if (fstat(w->fd, &st) < 0)
        return error_errno(err, "segment %08u", number);
    if (tail < SEGMENT_HEAD_BYTES || tail % SEGMENT_ALIGN)
        return error_set(err, BASE_ERR_CORRUPT, 0, "segment %08u: no record ends at %llu", number,
                         (unsigned long long)tail);
    if ((uint64_t)st.st_size < tail)
        return error_set(
            err, BASE_ERR_GONE, 0,
            "segment %08u has %lld bytes, %llu were committed: lost data; see mds verify --items, mds restore", number,
            (long long)st.st_size, (unsigned long long)tail);
    if (vault_os_pread(w->fd, bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return error_set(err, BASE_ERR_IO, EIO, "segment %08u: unreadable", number);
    rc = segment_head_decode(bytes, number, &w->head, err);
    if (rc != BASE_OK)
        return rc;
    /* Torn and abandoned records; that they are gone need not be durable, as no tail covers them. */
    if ((uint64_t)st.st_size > tail && ftruncate(w->fd, (off_t)tail) < 0)
        return error_errno(err, "segment %08u", number);
    w->tail = tail;
    return BASE_OK;
}

int segment_writer_open(const char *dir, uint32_t active, uint64_t tail, struct segment_writer **out, struct error *err)
{
    struct segment_writer *w = g_new0(struct segment_writer, 1);
    int rc;

    w->dir = g_strdup(dir);
    w->dir_fd = w->segments_fd = w->fd = -1;
    w->limit = SEGMENT_BYTES;
    w->head.number = active;
    w->first = tail == 0;
    rc = active == 0 ? error_set(err, BASE_ERR_USAGE, 0, "segments have numbers from 1") : directories_open(w, err);
    if (rc == BASE_OK && tail)
        rc = file_resume(w, active, tail, err);
    if (rc != BASE_OK)
        segment_writer_close(&w);
    *out = w;
    return rc;
}

void segment_writer_set_limit(struct segment_writer *w, uint64_t bytes)
{
    w->limit = bytes;
}

/* The segment is left for good: it gets no later sync. */
static int file_finish(struct segment_writer *w, struct error *err)
{
    if (w->dirty && fdatasync(w->fd) < 0) {
        w->failed = true;
        return error_errno(err, "segment %08u", w->head.number);
    }
    w->dirty = false;
    (void)close(w->fd);
    w->fd = -1;
    return BASE_OK;
}

int segment_writer_roll(struct segment_writer *w, struct error *err)
{
    int rc = BASE_OK;

    if (w->fd < 0)
        return BASE_OK;
    if (w->head.number >= 99999999u)
        return error_set(err, BASE_ERR_LIMIT, 0, "no segment number is left");
    rc = file_finish(w, err);
    if (rc == BASE_OK)
        rc = file_begin(w, w->head.number + 1, err);
    /* Without a file the old number must not be begun (and emptied) by the next call. */
    w->failed |= rc != BASE_OK;
    return rc;
}

/* Room for a record: its position is (w->head.number, w->tail). */
static int place_take(struct segment_writer *w, struct error *err)
{
    if (w->failed)
        return error_set(err, BASE_ERR_IO, 0, "the own vault failed before in this transaction");
    if (w->fd < 0)
        return file_begin(w, w->head.number, err);
    return w->tail >= w->limit ? segment_writer_roll(w, err) : BASE_OK;
}

/* Header and padding of a record whose table and frames stand at their places; then it counts. */
static int record_finish(struct segment_writer *w, struct segment_record record, struct error *err)
{
    static const uint8_t zeros[SEGMENT_ALIGN] = {0};
    const uint64_t length = segment_record_length(&record);
    const uint64_t used = SEGMENT_RECORD_BYTES + segment_frames(record.size) * SEGMENT_ENTRY_BYTES + record.stored;
    uint8_t head[SEGMENT_RECORD_BYTES];
    int rc;

    record.salt = w->head.salt;
    segment_record_encode(&record, w->head.number, w->tail, head);
    rc = segment_pwrite(w->fd, zeros, (size_t)(length - used), w->tail + used, err);
    if (rc == BASE_OK)
        rc = segment_pwrite(w->fd, head, sizeof head, w->tail, err);
    if (rc == BASE_OK)
        w->tail += length;
    return rc;
}

static int spilled_copy(int to, uint64_t off, int from, uint64_t n, struct error *err)
{
    uint8_t *chunk = g_malloc(SEGMENT_FRAME_BYTES);
    int rc = BASE_OK;

    for (uint64_t at = 0; rc == BASE_OK && at < n;) {
        const size_t part = n - at < SEGMENT_FRAME_BYTES ? (size_t)(n - at) : SEGMENT_FRAME_BYTES;

        rc = vault_os_pread(from, chunk, part, at) == (ssize_t)part
                 ? segment_pwrite(to, chunk, part, off + at, err)
                 : error_set(err, BASE_ERR_IO, EIO, "temporary file of a record");
        at += part;
    }
    g_free(chunk);
    return rc;
}

int segment_writer_add(struct segment_writer *w, const struct segment_packed *p, uint32_t *segment_out,
                       uint64_t *offset_out, uint64_t *length_out, uint32_t *filter_out, struct error *err)
{
    int rc = place_take(w, err);

    if (rc != BASE_OK)
        return rc;
    const uint64_t offset = w->tail, frames = offset + SEGMENT_RECORD_BYTES + p->table.n;

    w->dirty = true;
    rc = segment_pwrite(w->fd, p->table.p, p->table.n, offset + SEGMENT_RECORD_BYTES, err);
    if (rc == BASE_OK)
        rc = p->fd >= 0 ? spilled_copy(w->fd, frames, p->fd, p->record.stored, err)
                        : segment_pwrite(w->fd, p->frames.p, p->frames.n, frames, err);
    if (rc == BASE_OK)
        rc = record_finish(w, p->record, err);
    if (rc != BASE_OK)
        return rc;
    *segment_out = w->head.number;
    *offset_out = offset;
    *length_out = w->tail - offset;
    *filter_out = VAULT_FILTER_NONE;
    return BASE_OK;
}

static int frames_copy(struct segment_writer *w, struct segment_reader *r, struct error *err)
{
    uint64_t to = w->tail + SEGMENT_RECORD_BYTES;
    int rc = segment_pwrite(w->fd, r->table.p, r->table.n, to, err);

    to += r->table.n;
    for (uint64_t i = 0; rc == BASE_OK && i < segment_frames(r->record.size); i++) {
        struct bytes stored;

        rc = segment_reader_stored(r, i, &stored, err);
        if (rc == BASE_OK)
            rc = segment_pwrite(w->fd, stored.p, stored.n, to, err);
        to += rc == BASE_OK ? stored.n : 0;
    }
    return rc;
}

int segment_writer_copy(struct segment_writer *w, const char *dir, uint32_t segment, uint64_t offset, uint64_t length,
                        uint32_t *segment_out, uint64_t *offset_out, struct error *err)
{
    struct segment_reader r = {.fd = -1};
    int fd = -1;
    int rc = place_take(w, err);

    if (rc == BASE_OK)
        rc = segment_file_open(dir, segment, O_RDONLY, &fd, err);
    if (rc == BASE_OK)
        rc = segment_reader_open(&r, fd, segment, offset, length, err);
    if (rc == BASE_OK) {
        *segment_out = w->head.number;
        *offset_out = w->tail;
        w->dirty = true;
        rc = frames_copy(w, &r, err);
    }
    if (rc == BASE_OK)
        rc = record_finish(w, r.record, err);
    segment_reader_release(&r);
    return rc;
}

int segment_writer_sync(struct segment_writer *w, uint32_t *active_out, uint64_t *tail_out, struct error *err)
{
    if (w->failed)
        return error_set(err, BASE_ERR_IO, 0, "the own vault failed before in this transaction");
    if (w->dirty && fdatasync(w->fd) < 0) {
        w->failed = true;
        return error_errno(err, "segment %08u", w->head.number);
    }
    if (w->new_file && fsync(w->segments_fd) < 0) {
        w->failed = true;
        return error_errno(err, "%s/" SEGMENT_DIR, w->dir);
    }
    if (w->new_file && w->first && fsync(w->dir_fd) < 0) {
        w->failed = true;
        return error_errno(err, "%s", w->dir);
    }
    w->dirty = w->new_file = w->first = false;
    *active_out = w->head.number;
    *tail_out = w->tail;
    return BASE_OK;
}

void segment_writer_close(struct segment_writer **wp)
{
    struct segment_writer *w = *wp;

    if (!w)
        return;
    *wp = NULL;
    if (w->fd >= 0)
        (void)close(w->fd);
    if (w->segments_fd >= 0)
        (void)close(w->segments_fd);
    if (w->dir_fd >= 0)
        (void)close(w->dir_fd);
    g_free(w->dir);
    g_free(w);
}

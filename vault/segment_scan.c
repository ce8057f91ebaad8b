/*
 * All sound records of a segment file, whatever else is in it. A record is known by its header's seal,
 * which holds its position, and by the segment's salt: bytes that an item brought along are no record. Should the
 * file's own header be damaged, the first record's salt is taken for it.
 */
#include "segment_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#define WINDOW_BYTES ((size_t)256 << 10)

struct segment_scan {
    int fd;
    uint32_t segment;
    uint64_t end, at;
    bool has_salt;
    uint64_t salt;
    struct segment_reader reader;
    struct buf window; /* bytes of the file from window_off on, for the search */
    uint64_t window_off;
    struct buf raw;
};

int segment_scan_open(const char *dir, uint32_t segment, uint64_t limit, struct segment_scan **out, struct error *err)
{
    struct segment_scan *s = g_new0(struct segment_scan, 1);
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    struct segment_head head;
    struct stat st;

    s->fd = s->reader.fd = -1;
    s->segment = segment;
    s->at = SEGMENT_HEAD_BYTES;
    int rc = segment_file_open(dir, segment, O_RDONLY, &s->fd, err);

    if (rc == BASE_OK && fstat(s->fd, &st) < 0)
        rc = error_errno(err, "segment %08u", segment);
    if (rc != BASE_OK) {
        segment_scan_close(&s);
    } else {
        s->end = (uint64_t)st.st_size < limit ? (uint64_t)st.st_size : limit;
        s->has_salt = vault_os_pread(s->fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes &&
                      segment_head_decode(bytes, segment, &head, NULL) == BASE_OK;
        s->salt = s->has_salt ? head.salt : 0;
    }
    *out = s;
    return rc;
}

/* A view of n bytes at s->at, or NULL behind the end; *rc tells an I/O error apart. */
static const uint8_t *look(struct segment_scan *s, size_t n, int *rc, struct error *err)
{
    if (s->at > s->end || n > s->end - s->at)
        return NULL;
    if (s->at < s->window_off || s->at + n > s->window_off + s->window.n) {
        const uint64_t left = s->end - s->at;
        const size_t want = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;

        buf_reset(&s->window);
        const ssize_t got = vault_os_pread(s->fd, buf_reserve(&s->window, WINDOW_BYTES), want, s->at);

        if (got < 0) {
            errno = (int)-got;
            *rc = error_errno(err, "segment %08u", s->segment);
            return NULL;
        }
        s->window_off = s->at;
        s->window.n = (size_t)got;
        if ((size_t)got < n)
            return NULL;
    }
    return s->window.p + (s->at - s->window_off);
}

static bool record_at(struct segment_scan *s, const uint8_t *p, struct segment_record *out)
{
    if (!segment_record_begins(p) || !segment_record_decode(p, s->segment, s->at, out))
        return false;
    if (s->has_salt && out->salt != s->salt)
        return false;
    return segment_record_length(out) <= s->end - s->at;
}

/* Frames, and the hash of the item that they give. */
static int payload_check(struct segment_scan *s, bool *sound_out, struct error *err)
{
    struct hash128_state *hash = hash128_new();
    const uint64_t size = s->reader.record.size;
    int rc = BASE_OK;

    for (uint64_t i = 0; rc == BASE_OK && i < segment_frames(size); i++) {
        const size_t n = segment_frame_size(size, i);

        rc = segment_reader_read(&s->reader, i * SEGMENT_FRAME_BYTES, buf_reserve(&s->raw, n), n, err);
        if (rc == BASE_OK)
            hash128_update(hash, bytes_of(s->raw.p, n));
    }
    const struct hash128 got = hash128_digest(hash);

    *sound_out = rc == BASE_OK && hash128_compare(&got, &s->reader.record.hash) == 0;
    hash128_free(&hash);
    return rc;
}

/* An unreadable part of the disk and wrong bytes are the same finding here: the other records matter. */
static bool record_is_damaged(struct segment_scan *s, uint64_t length, bool check_payload)
{
    bool sound = false;
    int rc = BASE_OK;
    const int fd = dup(s->fd);

    if (fd < 0)
        return true;
    rc = segment_reader_open(&s->reader, fd, s->segment, s->at, length, NULL);
    if (rc == BASE_OK && check_payload)
        (void)payload_check(s, &sound, NULL);
    segment_reader_close(&s->reader);
    return rc != BASE_OK || (check_payload && !sound);
}

int segment_scan_next(struct segment_scan *s, bool check_payload, struct segment_found *out, struct error *err)
{
    struct segment_record record;
    const uint8_t *p;
    int rc = BASE_OK;

    while ((p = look(s, SEGMENT_RECORD_BYTES, &rc, err)) != NULL) {
        if (!record_at(s, p, &record)) {
            s->at += SEGMENT_ALIGN;
            continue;
        }
        const uint64_t length = segment_record_length(&record);

        s->has_salt = true;
        s->salt = record.salt;
        *out = (struct segment_found){.offset = s->at,
                                      .length = length,
                                      .filter = VAULT_FILTER_NONE,
                                      .size = record.size,
                                      .hash = record.hash,
                                      .damaged = record_is_damaged(s, length, check_payload)};
        s->at += length;
        return 1;
    }
    return rc;
}

void segment_scan_close(struct segment_scan **sp)
{
    struct segment_scan *s = *sp;

    if (!s)
        return;
    *sp = NULL;
    segment_reader_release(&s->reader);
    if (s->fd >= 0)
        (void)close(s->fd);
    buf_release(&s->window);
    buf_release(&s->raw);
    g_free(s);
}

/*
 * External merge sort: sorted runs in one unlinked file, merged by a heap.
 *
 * A record in memory and in a run is varint key length, varint value length,
 * key, value. In memory an entry of 16 bytes points at it and carries the key's
 * first eight bytes, which decide most comparisons without a cache miss. Push
 * order is the record's offset, so equal keys need no counter.
 *
 * Memory: data + entries + qsort_r's copy of the entries stay below the bound;
 * while merging, the same bound is shared out to the runs as read buffers.
 * More than FAN_IN runs are first merged in neighbouring groups, so that the
 * order of equal keys holds and a buffer never gets silly.
 */
#include "base/sorter.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/falloc.h>
#include <unistd.h>

#define MEMORY_MIN_BYTES ((size_t)1 << 20)
#define FAN_IN 128
#define WRITE_BYTES ((size_t)256 << 10)
#define READ_MIN_BYTES ((size_t)4 << 10)

struct entry {
    uint64_t prefix; /* first eight key bytes, big-endian, zero-filled */
    uint64_t off;    /* of the record in data */
};

struct run {
    uint64_t off, end; /* of the file */
};

/* One run being read. */
struct cursor {
    uint64_t off, end; /* of the file, not read yet */
    struct buf in;     /* bytes read ahead */
    size_t at;         /* consumed bytes of in */
    struct bytes key, value;
    uint64_t prefix;
    bool live; /* key and value are valid */
};

struct merge {
    struct cursor *cursors;
    size_t n;
    size_t *heap; /* indices of live cursors, least first */
    size_t heap_n;
    size_t read_bytes;
    bool pending; /* the top was handed out and must advance first */
};

struct sorter {
    /* permanent */
    char *dir;
    size_t memory;
    uint64_t count;
    int fd; /* -1 until the first run */
    uint64_t file_end;
    bool finished;
    bool failed;

    /* the run in memory */
    struct buf data;
    struct entry *entries;
    size_t entries_n, entries_cap;
    size_t next; /* memory-only output */

    /* runs in the file */
    struct run *runs;
    size_t runs_n, runs_cap;
    struct buf out; /* write buffer */
    struct merge merge;
};

int sorter_new(const char *dir, size_t memory_bytes, struct sorter **out, struct error *err)
{
    if (!dir)
        return error_set(err, BASE_ERR_USAGE, 0, "sorter: no directory for its runs");
    struct sorter *s = g_new0(struct sorter, 1);

    s->dir = g_strdup(dir);
    s->memory = memory_bytes < MEMORY_MIN_BYTES ? MEMORY_MIN_BYTES : memory_bytes;
    s->fd = -1;
    *out = s;
    return BASE_OK;
}

static uint64_t key_prefix(struct bytes key)
{
    uint8_t raw[8] = {0};

    if (key.n)
        memcpy(raw, key.p, key.n < 8 ? key.n : 8);
    return get_be64(raw);
}

static void record_at(const struct sorter *s, uint64_t off, struct bytes *key, struct bytes *value)
{
    struct reader r = reader_of(bytes_slice(buf_bytes(&s->data), (size_t)off, SIZE_MAX));
    const uint64_t key_n = reader_varint(&r);
    const uint64_t value_n = reader_varint(&r);

    *key = reader_bytes(&r, (size_t)key_n);
    *value = reader_bytes(&r, (size_t)value_n);
    ASSERT(r.ok);
}

static int entry_compare(const void *x, const void *y, void *arg)
{
    const struct entry *a = x, *b = y;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    struct bytes ka, kb, value;

    record_at(arg, a->off, &ka, &value);
    record_at(arg, b->off, &kb, &value);
    const int order = bytes_compare(ka, kb);

    return order ? order : (a->off > b->off) - (a->off < b->off);
}

static void entries_sort(struct sorter *s)
{
    if (s->entries_n > 1)
        qsort_r(s->entries, s->entries_n, sizeof *s->entries, entry_compare, s);
}

/* --- the file --- */

static int file_open(struct sorter *s, struct error *err)
{
    s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd >= 0)
        return BASE_OK;
    char *path = g_build_filename(s->dir, "mds-sort-XXXXXX", NULL);

    s->fd = mkostemp(path, O_CLOEXEC);
    const int rc = s->fd < 0 ? error_errno(err, "sorter: temporary file in %s", s->dir) : BASE_OK;

    if (s->fd >= 0)
        (void)unlink(path);
    g_free(path);
    return rc;
}

static int out_flush(struct sorter *s, struct error *err)
{
    size_t done = 0;

    while (done < s->out.n) {
        const ssize_t got = pwrite(s->fd, s->out.p + done, s->out.n - done, (off_t)s->file_end);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = ENOSPC;
            return error_errno(err, "sorter: writing a run in %s", s->dir);
        }
        done += (size_t)got;
        s->file_end += (uint64_t)got;
    }
    buf_reset(&s->out);
    return BASE_OK;
}

static int out_record(struct sorter *s, struct bytes key, struct bytes value, struct error *err)
{
    buf_put_varint(&s->out, key.n);
    buf_put_varint(&s->out, value.n);
    buf_append_bytes(&s->out, key);
    buf_append_bytes(&s->out, value);
    return s->out.n >= WRITE_BYTES ? out_flush(s, err) : BASE_OK;
}

static void runs_add(struct sorter *s, struct run run)
{
    if (s->runs_n == s->runs_cap) {
        s->runs_cap = s->runs_cap ? s->runs_cap * 2 : 16;
        s->runs = g_renew(struct run, s->runs, s->runs_cap);
    }
    s->runs[s->runs_n++] = run;
}

static int spill(struct sorter *s, struct error *err)
{
    int rc = BASE_OK;

    if (s->entries_n == 0)
        return BASE_OK;
    if (s->fd < 0 && (rc = file_open(s, err)) != BASE_OK)
        return rc;
    entries_sort(s);
    struct run run = {.off = s->file_end};

    for (size_t i = 0; rc == BASE_OK && i < s->entries_n; i++) {
        struct bytes key, value;

        record_at(s, s->entries[i].off, &key, &value);
        rc = out_record(s, key, value, err);
    }
    if (rc == BASE_OK)
        rc = out_flush(s, err);
    if (rc != BASE_OK)
        return rc;
    run.end = s->file_end;
    runs_add(s, run);
    buf_reset(&s->data);
    s->entries_n = 0;
    return BASE_OK;
}

int sorter_push(struct sorter *s, struct bytes key, struct bytes value, struct error *err)
{
    ASSERT(!s->finished);
    if (s->failed)
        return error_set(err, BASE_ERR_IO, 0, "sorter: used after a failure");
    /* Twice the entries: qsort_r merges through a copy. */
    if (s->data.n + key.n + value.n + 20 + 2 * sizeof(struct entry) * (s->entries_n + 1) > s->memory) {
        const int rc = spill(s, err);

        if (rc != BASE_OK) {
            s->failed = true;
            return rc;
        }
    }
    if (s->entries_n == s->entries_cap) {
        s->entries_cap = s->entries_cap ? s->entries_cap * 2 : 256;
        s->entries = g_renew(struct entry, s->entries, s->entries_cap);
    }
    s->entries[s->entries_n++] = (struct entry){.prefix = key_prefix(key), .off = s->data.n};
    buf_put_varint(&s->data, key.n);
    buf_put_varint(&s->data, value.n);
    buf_append_bytes(&s->data, key);
    buf_append_bytes(&s->data, value);
    s->count++;
    return BASE_OK;
}

/* --- merging --- */

/* Reads more of the run; the views of the current record die. */
static int cursor_fill(const struct sorter *s, struct cursor *c, size_t want, struct error *err)
{
    if (c->at) {
        memmove(c->in.p, c->in.p + c->at, c->in.n - c->at);
        c->in.n -= c->at;
        c->at = 0;
    }
    if (want > c->end - c->off)
        want = (size_t)(c->end - c->off);
    uint8_t *to = buf_reserve(&c->in, want);

    while (want) {
        const ssize_t got = pread(s->fd, to, want, (off_t)c->off);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_errno(err, "sorter: reading a run in %s", s->dir);
        if (got == 0)
            return error_set(err, BASE_ERR_IO, 0, "sorter: a run in %s is cut off", s->dir);
        to += got;
        want -= (size_t)got;
        c->in.n += (size_t)got;
        c->off += (uint64_t)got;
    }
    return BASE_OK;
}

static int cursor_next(const struct sorter *s, struct cursor *c, size_t read_bytes, struct error *err)
{
    for (;;) {
        struct reader r = reader_of(bytes_slice(buf_bytes(&c->in), c->at, SIZE_MAX));
        const uint64_t key_n = reader_varint(&r);
        const uint64_t value_n = reader_varint(&r);

        c->key = reader_bytes(&r, (size_t)key_n);
        c->value = reader_bytes(&r, (size_t)value_n);
        if (r.ok) {
            c->at = c->in.n - (size_t)(r.end - r.p);
            c->prefix = key_prefix(c->key);
            c->live = true;
            return BASE_OK;
        }
        if (c->off == c->end) {
            c->live = false;
            return c->at == c->in.n ? BASE_OK : error_set(err, BASE_ERR_IO, 0, "sorter: a run in %s is damaged", s->dir);
        }
        /* A record larger than the buffer doubles it. */
        const size_t have = c->in.n - c->at;
        const int rc = cursor_fill(s, c, have >= read_bytes ? have : read_bytes - have, err);

        if (rc != BASE_OK)
            return rc;
    }
}

static bool cursor_before(const struct merge *m, size_t a, size_t b)
{
    const struct cursor *x = &m->cursors[a], *y = &m->cursors[b];

    if (x->prefix != y->prefix)
        return x->prefix < y->prefix;
    const int order = bytes_compare(x->key, y->key);

    return order ? order < 0 : a < b;
}

static void heap_sink(struct merge *m, size_t at)
{
    for (;;) {
        size_t least = at;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < m->heap_n && cursor_before(m, m->heap[child], m->heap[least]))
                least = child;
        }
        if (least == at)
            return;
        const size_t keep = m->heap[at];

        m->heap[at] = m->heap[least];
        m->heap[least] = keep;
        at = least;
    }
}

static void merge_release(struct merge *m)
{
    for (size_t i = 0; i < m->n; i++)
        buf_release(&m->cursors[i].in);
    g_free(m->cursors);
    g_free(m->heap);
    *m = (struct merge){0};
}

static int merge_begin(struct sorter *s, const struct run *runs, size_t n, struct error *err)
{
    struct merge *m = &s->merge;

    m->cursors = g_new0(struct cursor, n);
    m->heap = g_new0(size_t, n);
    m->n = n;
    m->read_bytes = s->memory / n < READ_MIN_BYTES ? READ_MIN_BYTES : s->memory / n;
    for (size_t i = 0; i < n; i++) {
        m->cursors[i].off = runs[i].off;
        m->cursors[i].end = runs[i].end;
        const int rc = cursor_next(s, &m->cursors[i], m->read_bytes, err);

        if (rc != BASE_OK)
            return rc;
        if (m->cursors[i].live)
            m->heap[m->heap_n++] = i;
    }
    for (size_t i = m->heap_n; i-- > 0;)
        heap_sink(m, i);
    return BASE_OK;
}

static int merge_next(struct sorter *s, struct bytes *key, struct bytes *value, struct error *err)
{
    struct merge *m = &s->merge;

    if (m->pending) {
        struct cursor *top = &m->cursors[m->heap[0]];
        const int rc = cursor_next(s, top, m->read_bytes, err);

        if (rc != BASE_OK)
            return rc;
        if (!top->live)
            m->heap[0] = m->heap[--m->heap_n];
        heap_sink(m, 0);
        m->pending = false;
    }
    if (m->heap_n == 0)
        return SORTER_DONE;
    *key = m->cursors[m->heap[0]].key;
    *value = m->cursors[m->heap[0]].value;
    m->pending = true;
    return SORTER_MORE;
}

/* Merges the runs [first, first + n) into one that takes their place. */
static int group_merge(struct sorter *s, size_t first, size_t n, struct error *err)
{
    struct run made = {.off = s->file_end};
    struct bytes key, value;
    int rc = merge_begin(s, s->runs + first, n, err);

    if (rc == BASE_OK) {
        while ((rc = merge_next(s, &key, &value, err)) == SORTER_MORE) {
            if ((rc = out_record(s, key, value, err)) != BASE_OK)
                break;
        }
    }
    if (rc == BASE_OK)
        rc = out_flush(s, err);
    merge_release(&s->merge);
    if (rc != BASE_OK)
        return rc;
    made.end = s->file_end;
    /* Gives the space back where the file system can; only a courtesy. */
    for (size_t i = first; i < first + n; i++)
        (void)fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->runs[i].off,
                        (off_t)(s->runs[i].end - s->runs[i].off));
    s->runs[first] = made;
    return BASE_OK;
}

static int runs_reduce(struct sorter *s, struct error *err)
{
    while (s->runs_n > FAN_IN) {
        size_t kept = 0;

        for (size_t first = 0; first < s->runs_n; first += FAN_IN) {
            const size_t left = s->runs_n - first;
            const size_t n = left < FAN_IN ? left : FAN_IN;
            const int rc = n > 1 ? group_merge(s, first, n, err) : BASE_OK;

            if (rc != BASE_OK)
                return rc;
            s->runs[kept++] = s->runs[first];
        }
        s->runs_n = kept;
    }
    return BASE_OK;
}

int sorter_finish(struct sorter *s, struct error *err)
{
    int rc = BASE_OK;

    ASSERT(!s->finished);
    if (s->failed)
        return error_set(err, BASE_ERR_IO, 0, "sorter: used after a failure");
    s->finished = true;
    if (s->runs_n == 0) {
        entries_sort(s);
        return BASE_OK;
    }
    rc = spill(s, err);
    /* The read buffers take the memory of the run. */
    buf_release(&s->data);
    g_clear_pointer(&s->entries, g_free);
    s->entries_cap = 0;
    if (rc == BASE_OK)
        rc = runs_reduce(s, err);
    if (rc == BASE_OK)
        rc = merge_begin(s, s->runs, s->runs_n, err);
    s->failed = rc != BASE_OK;
    return rc;
}

int sorter_next(struct sorter *s, struct bytes *key_out, struct bytes *value_out, struct error *err)
{
    ASSERT(s->finished);
    if (s->failed)
        return error_set(err, BASE_ERR_IO, 0, "sorter: used after a failure");
    if (s->runs_n) {
        const int rc = merge_next(s, key_out, value_out, err);

        s->failed = rc < 0;
        return rc;
    }
    if (s->next == s->entries_n)
        return SORTER_DONE;
    record_at(s, s->entries[s->next++].off, key_out, value_out);
    return SORTER_MORE;
}

uint64_t sorter_count(const struct sorter *s)
{
    return s->count;
}

void sorter_free(struct sorter **sp)
{
    struct sorter *s = *sp;

    if (!s)
        return;
    merge_release(&s->merge);
    buf_release(&s->data);
    buf_release(&s->out);
    g_free(s->entries);
    g_free(s->runs);
    g_free(s->dir);
    if (s->fd >= 0)
        (void)close(s->fd);
    g_free(s);
    *sp = NULL;
}

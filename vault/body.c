/*
 * An item's bytes, from its locator.
 *
 * The hot path (a small file of its own) is openat2, fstat, read, close and no
 * allocation: bodies and their buffers are recycled through a few lock-free slots of the
 * vault. At most VAULT_SPARE_BODIES x KEEP_BYTES stay allocated.
 *
 * A filtered item is held in memory up to LOADED_MAX; a larger one is measured by one
 * pass that leaves a checkpoint of the filter every MiB, from which reads start. An item
 * of the own vault is read frame by frame (segment_read.c).
 */
#include "segment_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP_BYTES ((size_t)1 << 20)
#define MAP_FROM_BYTES ((uint64_t)1 << 20) /* below, a copy is cheaper than page faults */
#define LOADED_MAX ((uint64_t)16 << 20)
#define CHECKPOINT_BYTES ((uint64_t)1 << 20)
#define CHUNK_BYTES ((size_t)256 << 10)
#define WILL_READ_MAX ((uint64_t)1 << 20)

struct vault_body {
    /* one item */
    int fd;
    uint64_t file_off; /* of the item's first raw byte */
    uint64_t raw_n;
    uint64_t size; /* filtered */
    uint32_t filter;
    int64_t mtime_ns;
    bool loaded; /* data holds the whole filtered item */
    bool own;    /* read through `record`, which has the descriptor */
    void *map;
    size_t map_n;

    /* large filtered items */
    GArray *checkpoints; /* struct vault_filter_state */
    struct vault_filter_state state; /* behind the chunk */
    uint64_t chunk_off;  /* of the item as filtered */
    struct buf chunk;

    /* kept by recycling */
    struct vault *vault; /* borrowed */
    struct buf data;
    struct segment_reader record;
};

static struct vault_body *body_take(struct vault *v)
{
    for (size_t i = 0; i < VAULT_SPARE_BODIES; i++) {
        /* A plain look first: an exchange dirties the line for every thread. */
        if (!atomic_load_explicit(&v->spare[i], memory_order_relaxed))
            continue;
        /* Acquire: what the closing thread wrote into the body is ours to see. */
        struct vault_body *b = atomic_exchange_explicit(&v->spare[i], NULL, memory_order_acquire);

        if (b)
            return b;
    }
    struct vault_body *b = g_new0(struct vault_body, 1);

    b->fd = b->record.fd = -1;
    b->vault = v;
    return b;
}

static void body_free(struct vault_body *b)
{
    buf_release(&b->data);
    segment_reader_release(&b->record);
    g_free(b);
}

void vault_body_spare_free(struct vault *v)
{
    for (size_t i = 0; i < VAULT_SPARE_BODIES; i++) {
        struct vault_body *b = atomic_exchange_explicit(&v->spare[i], NULL, memory_order_acquire);

        if (b)
            body_free(b);
    }
}

void vault_item_close(struct vault_body **bp)
{
    struct vault_body *b = *bp;

    if (!b)
        return;
    *bp = NULL;
    if (b->map)
        (void)munmap(b->map, b->map_n);
    if (b->fd >= 0)
        (void)close(b->fd);
    if (b->checkpoints)
        g_array_free(b->checkpoints, TRUE);
    buf_release(&b->chunk);
    if (b->data.cap > KEEP_BYTES)
        buf_release(&b->data);
    segment_reader_close(&b->record);

    struct vault *v = b->vault;
    const struct buf data = b->data;
    const struct segment_reader record = b->record;

    *b = (struct vault_body){.fd = -1, .vault = v, .data = data, .record = record};
    for (size_t i = 0; i < VAULT_SPARE_BODIES; i++) {
        struct vault_body *empty = NULL;

        /* Release: pairs with the acquire in body_take. */
        if (atomic_compare_exchange_strong_explicit(&v->spare[i], &empty, b, memory_order_release, memory_order_relaxed))
            return;
    }
    body_free(b);
}

/* --- finding the file --- */

/* What most programs leave behind when they touch a message; tried before a directory of a million names is read. */
static const char *const likely_suffixes[] = {":2,S", ":2,", ":2,RS", ":2,FS", ":2,FRS", ":2,ST", ":2,F", ":2,T", ":2,PS", ""};

static int guess_reopen(struct vault *v, struct bytes container, struct bytes base)
{
    char path[VAULT_PATH_BYTES];
    struct buf name = {0};
    int fd = -ENOENT;

    for (size_t i = 0; fd == -ENOENT && i < G_N_ELEMENTS(likely_suffixes); i++) {
        buf_reset(&name);
        buf_append_str(&name, "cur/");
        buf_append_bytes(&name, base);
        buf_append_str(&name, likely_suffixes[i]);
        if (vault_os_path(path, container, buf_bytes(&name)))
            fd = vault_os_open(v, path, 0);
    }
    buf_release(&name);
    return fd;
}

static int search_reopen(struct vault *v, struct bytes container, const char *sub, struct bytes base)
{
    char path[VAULT_PATH_BYTES];
    struct buf found = {0};
    struct vault_dir dir;
    enum vault_entry_type type;
    struct bytes name;
    int fd = -ENOENT;

    if (!vault_os_path(path, container, bytes_str(sub)))
        return -ENAMETOOLONG;
    const int dir_fd = vault_os_open(v, path, O_DIRECTORY);

    if (dir_fd < 0)
        return dir_fd;
    vault_dir_init(&dir, dir_fd);
    while (vault_dir_next(&dir, &name, &type) == VAULT_MORE) {
        if (!bytes_equal(vault_maildir_base(name), base))
            continue;
        buf_append_str(&found, sub);
        buf_append_byte(&found, '/');
        buf_append_bytes(&found, name);
        if (vault_os_path(path, container, buf_bytes(&found)))
            fd = vault_os_open(v, path, 0);
        break;
    }
    buf_release(&found);
    vault_dir_release(&dir);
    (void)close(dir_fd);
    return fd;
}

/* Another program set a flag, or moved the item from new to cur: the base name stays. */
static int maildir_reopen(struct vault *v, const struct vault_locator *loc)
{
    const struct bytes base = vault_maildir_base(bytes_slice(loc->name, 4, SIZE_MAX));
    int fd = -ENOENT;

    if (loc->name.n <= 4 || base.n == 0)
        return fd;
    fd = guess_reopen(v, loc->container, base);
    /* Twice: it may be renamed once more while we look. */
    for (int i = 0; fd == -ENOENT && i < 2; i++) {
        fd = search_reopen(v, loc->container, "cur", base);
        if (fd == -ENOENT)
            fd = search_reopen(v, loc->container, "new", base);
    }
    return fd;
}

static bool is_maildir(enum vault_kind kind)
{
    return kind == VAULT_KIND_MAILDIR || kind == VAULT_KIND_MAILDIRPP || kind == VAULT_KIND_MAILDIR_FS;
}

static int open_failed(struct error *err, int sys, const char *path)
{
    switch (sys) {
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
        return error_set(err, BASE_ERR_GONE, sys, "%s: vanished", path);
    case ELOOP:
    case EXDEV:
    case EISDIR:
    case ENXIO:
    case ENODEV:
        return error_set(err, BASE_ERR_GONE, sys, "%s: no regular file of this vault", path);
    default:
        errno = sys;
        return error_errno(err, "%s", path);
    }
}

/*
 * An mbox that was rewritten since its offsets were noted has other bytes there: what does not begin behind a "From "
 * line, or does not end before one or at the file's end, is not the item that the locator meant.
 */
static bool follows_from_line(int fd, uint64_t off)
{
    uint8_t before[2 * VAULT_FROM_LINE_MAX];
    const size_t n = off < sizeof before ? (size_t)off : sizeof before;

    if (n < 6 || vault_os_pread(fd, before, n, off - n) != (ssize_t)n || before[n - 1] != '\n')
        return false;
    const uint8_t *newline = memrchr(before, '\n', n - 1);
    const uint8_t *line = newline ? newline + 1 : before;

    return (newline || n == off) && before + n - line > 5 && memcmp(line, "From ", 5) == 0;
}

static bool precedes_from_line(int fd, uint64_t off)
{
    uint8_t behind[7];
    const ssize_t got = vault_os_pread(fd, behind, sizeof behind, off);

    if (got < 0)
        return false;
    struct bytes v = bytes_of(behind, (size_t)got);
    const size_t blank = v.n >= 1 && v.p[0] == '\n' ? 1 : v.n >= 2 && v.p[0] == '\r' && v.p[1] == '\n' ? 2 : 0;

    v = bytes_slice(v, blank, 5);
    return v.n == 0 || bytes_equal(v, BYTES_LIT("From "));
}

static int file_open(struct vault *v, const struct vault_locator *loc, struct vault_body *b, struct error *err)
{
    char path[VAULT_PATH_BYTES];
    struct stat st;
    const bool single = v->file && loc->container.n == 0 && loc->name.n == 0;

    if (!vault_os_path(path, single ? bytes_str(v->file) : loc->container, loc->name))
        return error_set(err, BASE_ERR_GONE, ENAMETOOLONG, "locator holds no usable path");
    b->fd = vault_os_open(v, path, 0);
    if (b->fd == -ENOENT && is_maildir(v->kind))
        b->fd = maildir_reopen(v, loc);
    if (b->fd < 0)
        return open_failed(err, -b->fd, path);
    if (fstat(b->fd, &st) < 0)
        return error_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, BASE_ERR_GONE, 0, "%s: no regular file", path);
    b->mtime_ns = vault_os_mtime_ns(&st);
    b->filter = loc->filter;
    if (loc->name.n) {
        b->raw_n = (uint64_t)st.st_size;
        return BASE_OK;
    }
    if (loc->offset > (uint64_t)st.st_size || loc->length > (uint64_t)st.st_size - loc->offset)
        return error_set(err, BASE_ERR_GONE, 0, "%s: the mbox shrank to %llu bytes", path, (unsigned long long)st.st_size);
    if (loc->length && !(follows_from_line(b->fd, loc->offset) && precedes_from_line(b->fd, loc->offset + loc->length)))
        return error_set(err, BASE_ERR_GONE, 0, "%s: the mbox was rewritten: no such item at offset %llu", path,
                         (unsigned long long)loc->offset);
    b->file_off = loc->offset;
    b->raw_n = loc->length;
    return BASE_OK;
}

/* Own vault: the container is a segment's number. */
static int record_open(struct vault *v, const struct vault_locator *loc, struct vault_body *b, struct error *err)
{
    char path[32];
    uint32_t segment;
    struct stat st;

    if (!segment_number_parse(loc->container, &segment) || loc->name.n || loc->filter)
        return error_set(err, BASE_ERR_GONE, 0, "locator names no record of the own vault");
    segment_path(segment, path);
    const int fd = vault_os_open(v, path, 0);

    if (fd < 0)
        return open_failed(err, -fd, path);
    b->own = true;
    b->record.fd = fd;
    if (fstat(fd, &st) < 0)
        return error_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, BASE_ERR_GONE, 0, "%s: no regular file", path);
    b->mtime_ns = vault_os_mtime_ns(&st);
    const int rc = segment_reader_open(&b->record, fd, segment, loc->offset, loc->length, err);

    b->raw_n = rc == BASE_OK ? b->record.record.size : 0;
    return rc;
}

/* --- reading --- */

/* Exactly n raw bytes at off of the item. */
static int raw_read(struct vault_body *b, uint64_t off, void *dst, size_t n, struct error *err)
{
    if (b->own)
        return segment_reader_read(&b->record, off, dst, n, err);
    const ssize_t got = vault_os_pread(b->fd, dst, n, b->file_off + off);

    if (got < 0) {
        errno = (int)-got;
        return error_errno(err, "reading an item");
    }
    return (size_t)got == n ? BASE_OK : error_set(err, BASE_ERR_GONE, 0, "the file shrank while it was read");
}

static int load(struct vault_body *b, struct error *err)
{
    const size_t n = (size_t)b->raw_n;
    int rc;

    buf_reset(&b->data);
    rc = raw_read(b, 0, buf_reserve(&b->data, n), n, err);
    if (rc != BASE_OK)
        return rc;
    b->data.n = n;
    if (b->filter) {
        struct vault_filter_state state;

        vault_filter_start(&state);
        (void)vault_filter_run(&state, b->filter, b->data.p, n, true, b->data.p, &b->data.n);
        b->size = b->data.n;
    }
    b->loaded = true;
    return BASE_OK;
}

/* Filters the next chunk behind b->state. */
static int chunk_next(struct vault_body *b, struct error *err)
{
    const uint64_t left = b->raw_n - b->state.raw_off;
    const size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    int rc;

    buf_reset(&b->chunk);
    rc = raw_read(b, b->state.raw_off, buf_reserve(&b->chunk, CHUNK_BYTES), n, err);
    if (rc != BASE_OK)
        return rc;
    b->chunk_off = b->state.out_off;
    (void)vault_filter_run(&b->state, b->filter, b->chunk.p, n, n == left, b->chunk.p, &b->chunk.n);
    return BASE_OK;
}

static int measure(struct vault_body *b, struct error *err)
{
    uint64_t mark = 0;

    b->checkpoints = g_array_new(FALSE, FALSE, sizeof(struct vault_filter_state));
    vault_filter_start(&b->state);
    while (b->state.raw_off < b->raw_n) {
        if (b->state.raw_off >= mark) {
            g_array_append_val(b->checkpoints, b->state);
            mark = b->state.raw_off + CHECKPOINT_BYTES;
        }
        const int rc = chunk_next(b, err);

        if (rc != BASE_OK)
            return rc;
    }
    b->size = b->state.out_off;
    return BASE_OK;
}

int vault_item_open(struct vault *v, const struct vault_locator *loc, struct vault_body **out, struct error *err)
{
    struct vault_body *b = body_take(v);
    int rc = v->kind == VAULT_KIND_SEGMENTS ? record_open(v, loc, b, err) : file_open(v, loc, b, err);

    if (rc == BASE_OK) {
        b->size = b->raw_n;
        if (b->filter)
            rc = b->raw_n <= LOADED_MAX ? load(b, err) : measure(b, err);
    }
    if (rc != BASE_OK) {
        vault_item_close(&b);
        return rc;
    }
    *out = b;
    return BASE_OK;
}

uint64_t vault_item_size(const struct vault_body *b)
{
    return b->size;
}

int64_t vault_item_mtime_ns(const struct vault_body *b)
{
    return b->mtime_ns;
}

void vault_item_will_read(const struct vault_body *b)
{
    if (b->fd >= 0 && !b->loaded)
        vault_os_will_read(b->fd, b->file_off, b->raw_n < WILL_READ_MAX ? b->raw_n : WILL_READ_MAX);
}

/* The last checkpoint at or before off. */
static const struct vault_filter_state *checkpoint_for(const struct vault_body *b, uint64_t off)
{
    size_t low = 0, high = b->checkpoints->len;

    while (high - low > 1) {
        const size_t mid = low + (high - low) / 2;

        if (g_array_index(b->checkpoints, struct vault_filter_state, mid).out_off <= off)
            low = mid;
        else
            high = mid;
    }
    return &g_array_index(b->checkpoints, struct vault_filter_state, low);
}

static int filtered_read(struct vault_body *b, uint64_t off, uint8_t *dst, size_t n, struct error *err)
{
    while (n) {
        if (off < b->chunk_off || off >= b->chunk_off + b->chunk.n) {
            const struct vault_filter_state *from = checkpoint_for(b, off);

            /* Ahead of us and no checkpoint is nearer: go on from here. */
            if (off < b->state.out_off || from->out_off > b->state.out_off)
                b->state = *from;
            if (b->state.raw_off >= b->raw_n)
                return error_set(err, BASE_ERR_GONE, 0, "the file changed while it was read");
            const int rc = chunk_next(b, err);

            if (rc != BASE_OK)
                return rc;
            continue;
        }
        const size_t at = (size_t)(off - b->chunk_off);
        const size_t part = b->chunk.n - at < n ? b->chunk.n - at : n;

        memcpy(dst, b->chunk.p + at, part);
        dst += part;
        off += part;
        n -= part;
    }
    return BASE_OK;
}

int vault_item_read(struct vault_body *b, uint64_t off, void *dst, size_t n, size_t *got_out, struct error *err)
{
    int rc = BASE_OK;

    *got_out = 0;
    if (off >= b->size || n == 0)
        return BASE_OK;
    if (n > b->size - off)
        n = (size_t)(b->size - off);
    if (b->loaded)
        memcpy(dst, b->data.p + off, n);
    else if (b->map)
        memcpy(dst, (const uint8_t *)b->map + (b->map_n - b->size) + off, n);
    else if (b->filter)
        rc = filtered_read(b, off, dst, n, err);
    else
        rc = raw_read(b, off, dst, n, err);
    if (rc == BASE_OK)
        *got_out = n;
    return rc;
}

/* --- the whole item --- */

static int map_file(struct vault_body *b, int fd, uint64_t off, uint64_t n, struct error *err)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t lead = off % page;
    struct stat st;

    if (n > SIZE_MAX - page)
        return error_set(err, BASE_ERR_LIMIT, 0, "an item of %llu bytes does not fit the address space", (unsigned long long)n);
    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size < off + n)
        return error_set(err, BASE_ERR_GONE, 0, "the file shrank while it was read");
    void *map = mmap(NULL, (size_t)(lead + n), PROT_READ, MAP_PRIVATE, fd, (off_t)(off - lead));

    if (map == MAP_FAILED)
        return error_errno(err, "mapping an item of %llu bytes", (unsigned long long)n);
    b->map = map;
    b->map_n = (size_t)(lead + n);
    return BASE_OK;
}

static int spill_open(struct error *err)
{
    const char *dir = g_get_tmp_dir();
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        char *path = g_build_filename(dir, "mds-item-XXXXXX", NULL);

        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            (void)unlink(path);
        g_free(path);
    }
    return fd >= 0 ? fd : error_errno(err, "temporary file in %s", dir);
}

static int write_all(int fd, const uint8_t *p, size_t n, struct error *err)
{
    while (n) {
        const ssize_t put = write(fd, p, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_errno(err, "temporary file for an item");
        p += put;
        n -= (size_t)put;
    }
    return BASE_OK;
}

/* A large filtered or compressed item goes through an unlinked file, so that its pages can be reclaimed. */
static int map_made(struct vault_body *b, struct error *err)
{
    const int fd = spill_open(err);
    int rc = fd < 0 ? fd : BASE_OK;

    vault_filter_start(&b->state);
    while (rc == BASE_OK && b->state.raw_off < b->raw_n) {
        rc = chunk_next(b, err);
        if (rc == BASE_OK)
            rc = write_all(fd, b->chunk.p, b->chunk.n, err);
    }
    if (rc == BASE_OK && b->size)
        rc = map_file(b, fd, 0, b->size, err);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

int vault_item_map(struct vault_body *b, struct bytes *out, struct error *err)
{
    int rc = BASE_OK;

    if (!b->loaded && !b->map) {
        if (b->filter || (b->own && b->size > LOADED_MAX))
            rc = map_made(b, err);
        else if (b->own)
            rc = load(b, err);
        else if (b->size <= MAP_FROM_BYTES)
            rc = load(b, err);
        else
            rc = map_file(b, b->fd, b->file_off, b->size, err);
    }
    if (rc != BASE_OK)
        return rc;
    if (b->loaded)
        *out = buf_bytes(&b->data);
    else if (b->map)
        *out = bytes_of((const uint8_t *)b->map + (b->map_n - b->size), (size_t)b->size);
    else
        *out = (struct bytes){0};
    return BASE_OK;
}

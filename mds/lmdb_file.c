/*
 * A look at LMDB's data file before LMDB maps it: mdb_env_open takes a file that was cut off, and the first page behind
 * the end is then a SIGBUS. Layout: LMDB 0.9's MDB_page and MDB_meta, native byte order (data version 1).
 */
#include "mds_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LMDB_MAGIC    0xBEEFC0DEu
#define LMDB_VERSION  1u
#define PAGE_HEAD     16u
#define PAGE_BRANCH   0x01u
#define PAGE_LEAF     0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_META     0x08u
#define NODE_BIG      0x01u
#define NODE_HEAD     8u
#define DB_BYTES      48u
#define NO_PAGE       UINT64_MAX
#define DEPTH_MAX     32u
#define LOCK_BYTES    (ENV_MAX_READERS * 64u + 4096u) /* a cache line a reader, and its head */

struct meta {
    uint32_t page_bytes;
    uint64_t free_root, main_root, last_page, txnid;
};

struct file {
    int fd;
    uint64_t bytes;
    const char *path;
    struct meta meta; /* the newest */
};

static uint16_t get16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static bool read_at(int fd, uint64_t off, uint8_t *to, size_t n)
{
    while (n) {
        const ssize_t got = pread(fd, to, n, (off_t)off);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        off += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

static bool meta_read(int fd, uint64_t off, struct meta *out)
{
    /* header; magic, version, address, map size; two databases (free list, main); last page, transaction */
    uint8_t p[PAGE_HEAD + 24 + 2 * DB_BYTES + 16];
    const uint8_t *m = p + PAGE_HEAD;

    if (!read_at(fd, off, p, sizeof p) || !(get16(p + 10) & PAGE_META) || native_u32(m) != LMDB_MAGIC ||
        native_u32(m + 4) != LMDB_VERSION)
        return false;
    *out = (struct meta){
        .page_bytes = native_u32(m + 24),
        .free_root = native_u64(m + 24 + 40),
        .main_root = native_u64(m + 24 + DB_BYTES + 40),
        .last_page = native_u64(m + 24 + 2 * DB_BYTES),
        .txnid = native_u64(m + 24 + 2 * DB_BYTES + 8),
    };
    return out->page_bytes >= 512 && out->page_bytes <= 65536 && !(out->page_bytes & (out->page_bytes - 1));
}

/* ---- is every page behind the file's end free? ---- */

/* LMDB gives pages back that it never wrote, so a file may rightly end before its last page. */
struct free_walk {
    const struct file *file;
    uint64_t from;   /* first page behind the end */
    uint64_t found;  /* free pages at or behind it */
    uint64_t budget; /* pages left to read: a damaged tree may be a ring */
};

static bool free_list_count(struct free_walk *w, const uint8_t *ids, size_t n)
{
    if (n < 8 || native_u64(ids) > n / 8 - 1)
        return false;
    const uint64_t count = native_u64(ids);

    for (uint64_t i = 1; i <= count; i++)
        w->found += native_u64(ids + 8 * i) >= w->from && native_u64(ids + 8 * i) <= w->file->meta.last_page;
    return true;
}

static bool free_leaf_node(struct free_walk *w, const uint8_t *node, size_t room)
{
    const uint32_t page_bytes = w->file->meta.page_bytes;
    const size_t n = get16(node) | (size_t)get16(node + 2) << 16;
    const size_t at = NODE_HEAD + get16(node + 6);
    bool ok = false;

    if (!(get16(node + 4) & NODE_BIG))
        return at + n <= room && free_list_count(w, node + at, n);
    if (at + 8 > room || n > w->file->bytes)
        return false;
    const uint64_t page = native_u64(node + at);
    uint8_t *data = malloc(n);

    ASSERT(data);
    if (page < w->from && read_at(w->file->fd, page * page_bytes + PAGE_HEAD, data, n))
        ok = free_list_count(w, data, n);
    free(data);
    return ok;
}

static bool free_page(struct free_walk *w, uint64_t page, unsigned depth)
{
    const uint32_t page_bytes = w->file->meta.page_bytes;
    bool ok = false;

    if (page >= w->from || depth > DEPTH_MAX || w->budget-- == 0)
        return false;
    uint8_t *p = malloc(page_bytes);

    ASSERT(p);
    if (!read_at(w->file->fd, page * page_bytes, p, page_bytes))
        goto out;
    const unsigned flags = get16(p + 10), lower = get16(p + 12);

    if (!(flags & (PAGE_BRANCH | PAGE_LEAF)) || lower < PAGE_HEAD || lower > page_bytes)
        goto out;
    for (unsigned i = 0; i < (lower - PAGE_HEAD) / 2; i++) {
        const size_t at = get16(p + PAGE_HEAD + 2 * i);

        if (at + NODE_HEAD > page_bytes)
            goto out;
        const uint8_t *node = p + at;
        const uint64_t child = get16(node) | (uint64_t)get16(node + 2) << 16 | (uint64_t)get16(node + 4) << 32;

        if (flags & PAGE_LEAF ? !free_leaf_node(w, node, page_bytes - at) : !free_page(w, child, depth + 1))
            goto out;
    }
    ok = true;
out:
    free(p);
    return ok;
}

static bool missing_pages_are_free(const struct file *f)
{
    struct free_walk w = {.file = f, .from = f->bytes / f->meta.page_bytes, .budget = f->bytes / f->meta.page_bytes};

    if (f->meta.free_root == NO_PAGE || !free_page(&w, f->meta.free_root, 0))
        return false;
    return w.found == f->meta.last_page + 1 - w.from;
}

/* ---- the checks ---- */

static int content_check(struct file *f, struct error *err)
{
    struct meta first, second;
    struct stat st;

    if (!meta_read(f->fd, 0, &first) || f->bytes < 2 * (uint64_t)first.page_bytes ||
        !meta_read(f->fd, first.page_bytes, &second) || second.page_bytes != first.page_bytes)
        return error_set(
            err, BASE_ERR_FORMAT, 0,
            "%s is no LMDB data file (of this machine's byte order), or its head is damaged: move it away, "
            "or restore it from a backup",
            f->path);
    f->meta = first.txnid > second.txnid ? first : second;
    /* After the meta pages: a writer extends the file before it writes them. */
    if (fstat(f->fd, &st) != 0)
        return error_errno(err, "stat %s", f->path);
    f->bytes = (uint64_t)st.st_size;
    if (f->meta.last_page >= UINT64_MAX / f->meta.page_bytes - 1)
        return error_set(err, BASE_ERR_CORRUPT, 0, "%s: its head is damaged: restore it from a backup", f->path);
    if ((f->meta.last_page + 1) * f->meta.page_bytes > f->bytes && !missing_pages_are_free(f))
        return error_set(err, BASE_ERR_CORRUPT, 0,
                         "%s is cut off: it has %llu bytes and should have %llu: restore it from a backup, or build "
                         "another archive",
                         f->path, (unsigned long long)f->bytes,
                         (unsigned long long)((f->meta.last_page + 1) * f->meta.page_bytes));
    return BASE_OK;
}

int lmdb_file_check(const char *path, enum file_state *state_out, uint64_t *size_out, struct error *err)
{
    struct file f = {.path = path};
    struct stat st;
    int rc;

    *state_out = FILE_MISSING;
    *size_out = 0;
    f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f.fd < 0)
        return errno == ENOENT ? BASE_OK : error_errno(err, "open %s", path);
    if (fstat(f.fd, &st) != 0) {
        rc = error_errno(err, "stat %s", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = error_set(err, BASE_ERR_FORMAT, 0, "%s is no regular file", path);
    } else if (st.st_size == 0) {
        *state_out = FILE_EMPTY;
        rc = BASE_OK;
    } else {
        *state_out = FILE_LMDB;
        *size_out = f.bytes = (uint64_t)st.st_size;
        rc = content_check(&f, err);
    }
    (void)close(f.fd);
    return rc;
}

/*
 * The blocks of lock.mdb. LMDB makes it sparse and writes it through a map: with the disk full, a new reader would be a
 * SIGBUS. Only while this process has the environment not open, as closing the file gives up LMDB's locks on it. A file
 * that cannot be written is LMDB's to judge; a file system that reserves nothing is left as it is.
 */
int lmdb_lock_reserve(const char *dir, struct error *err)
{
    char path[1200];
    int rc = BASE_OK;

    if (snprintf(path, sizeof path, "%s/lock.mdb", dir) >= (int)sizeof path)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: the path is too long", dir);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);

    if (fd < 0)
        return BASE_OK;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCK_BYTES) != 0 && errno == ENOSPC)
        rc = error_errno(err, "%s: the disk is full: make room and run again", path);
    (void)close(fd);
    return rc;
}

bool lmdb_file_metas_agree(const char *path, uint64_t *newest_out, uint64_t *older_root_out, const char **why_out)
{
    struct meta m[2];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    *why_out = "a meta page of the file is damaged";
    if (fd < 0)
        return false;
    bool ok = meta_read(fd, 0, &m[0]) && meta_read(fd, m[0].page_bytes, &m[1]);

    (void)close(fd);
    if (!ok)
        return false;
    /* LMDB writes meta page txnid & 1; a new file has zero in both. */
    const uint64_t newer = m[0].txnid > m[1].txnid ? m[0].txnid : m[1].txnid;
    const uint64_t older = m[0].txnid > m[1].txnid ? m[1].txnid : m[0].txnid;

    *newest_out = newer;
    *older_root_out = m[0].txnid > m[1].txnid ? m[1].main_root : m[0].main_root;
    *why_out = "the two meta pages of the file are not one commit apart";
    return newer <= 1 || (newer == older + 1 && (m[0].txnid & 1) == 0 && (m[1].txnid & 1) == 1);
}

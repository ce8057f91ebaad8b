/* The own vault: headers, names of files, and the directory of segments. */
#include "segment_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#define RECORD_MAGIC UINT32_C(0x4d445352) /* "MDSR" */

static const uint8_t head_magic[8] = {'M', 'D', 'S', '-', 'S', 'E', 'G', '\n'};

void segment_head_encode(const struct segment_head *h, uint8_t out[SEGMENT_HEAD_BYTES])
{
    memcpy(out, head_magic, sizeof head_magic);
    put_be32(out + 8, SEGMENT_VERSION);
    put_be32(out + 12, h->number);
    put_be64(out + 16, h->salt);
    put_be64(out + 24, hash64_of(bytes_of(out, 24)));
}

int segment_head_decode(const uint8_t in[SEGMENT_HEAD_BYTES], uint32_t number, struct segment_head *out,
                        struct error *err)
{
    if (memcmp(in, head_magic, sizeof head_magic) != 0)
        return error_set(err, BASE_ERR_FORMAT, 0, "segment %08u: not a segment of ours", number);
    if (get_be32(in + 8) != SEGMENT_VERSION)
        return error_set(err, BASE_ERR_FORMAT, 0, "segment %08u: version %u, this program knows %u", number,
                         get_be32(in + 8), SEGMENT_VERSION);
    if (get_be64(in + 24) != hash64_of(bytes_of(in, 24)))
        return error_set(err, BASE_ERR_CORRUPT, 0, "segment %08u: its header fails its seal", number);
    if (get_be32(in + 12) != number)
        return error_set(err, BASE_ERR_CORRUPT, 0, "segment %08u: the file is number %u", number, get_be32(in + 12));
    *out = (struct segment_head){.number = number, .salt = get_be64(in + 16)};
    return BASE_OK;
}

static uint64_t record_seal(const uint8_t *in, uint32_t segment, uint64_t offset)
{
    uint8_t place[12];

    put_be32(place, segment);
    put_be64(place + 4, offset);
    return hash64_seeded(bytes_of(in, SEGMENT_RECORD_BYTES - 8), hash64_of(bytes_of(place, sizeof place)));
}

void segment_record_encode(const struct segment_record *r, uint32_t segment, uint64_t offset,
                           uint8_t out[SEGMENT_RECORD_BYTES])
{
    put_be32(out, RECORD_MAGIC);
    put_be32(out + 4, 0);
    put_be64(out + 8, r->salt);
    put_be64(out + 16, r->size);
    put_be64(out + 24, r->stored);
    memcpy(out + 32, r->hash.b, HASH128_BYTES);
    put_be64(out + 48, r->table_seal);
    put_be64(out + 56, record_seal(out, segment, offset));
}

bool segment_record_begins(const uint8_t *p)
{
    return get_be32(p) == RECORD_MAGIC;
}

bool segment_record_decode(const uint8_t in[SEGMENT_RECORD_BYTES], uint32_t segment, uint64_t offset,
                           struct segment_record *out)
{
    if (!segment_record_begins(in) || get_be32(in + 4) != 0 || get_be64(in + 56) != record_seal(in, segment, offset))
        return false;
    *out = (struct segment_record){.salt = get_be64(in + 8),
                                   .size = get_be64(in + 16),
                                   .stored = get_be64(in + 24),
                                   .table_seal = get_be64(in + 48)};
    memcpy(out->hash.b, in + 32, HASH128_BYTES);
    /* A frame is never longer than what it holds, and never empty. */
    return out->size <= SEGMENT_ITEM_MAX && out->stored <= out->size && out->stored >= segment_frames(out->size);
}

uint64_t segment_record_length(const struct segment_record *r)
{
    const uint64_t n = SEGMENT_RECORD_BYTES + segment_frames(r->size) * SEGMENT_ENTRY_BYTES + r->stored;

    return (n + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN;
}

void segment_path(uint32_t segment, char out[32])
{
    (void)snprintf(out, 32, SEGMENT_DIR "/%08u.seg", segment);
}

bool segment_number_parse(struct bytes text, uint32_t *out)
{
    uint32_t number = 0;

    if (text.n != 8)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(text.p[i] - '0');
    }
    *out = number;
    return number > 0;
}

int segment_file_open(const char *dir, uint32_t segment, int flags, int *fd_out, struct error *err)
{
    char name[32];
    struct stat st;

    segment_path(segment, name);
    char *path = g_build_filename(dir, name, NULL);
    const int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    int rc = BASE_OK;

    if (fd < 0)
        rc = errno == ENOENT ? error_set(err, BASE_ERR_GONE, ENOENT, "%s: the segment is missing", path)
                             : error_errno(err, "%s", path);
    else if (fstat(fd, &st) < 0)
        rc = error_errno(err, "%s", path);
    else if (!S_ISREG(st.st_mode))
        rc = error_set(err, BASE_ERR_FORMAT, 0, "%s: no regular file", path);
    g_free(path);
    if (rc != BASE_OK && fd >= 0)
        (void)close(fd);
    else if (rc == BASE_OK)
        *fd_out = fd;
    return rc;
}

int segment_pwrite(int fd, const void *p, size_t n, uint64_t off, struct error *err)
{
    const uint8_t *at = p;

    while (n) {
        const ssize_t put = pwrite(fd, at, n, (off_t)off);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return error_errno(err, "writing a segment");
        at += put;
        off += (uint64_t)put;
        n -= (size_t)put;
    }
    return BASE_OK;
}

/* --- the directory --- */

static bool number_of_file(const char *name, uint32_t *out)
{
    return strlen(name) == 12 && strcmp(name + 8, ".seg") == 0 && segment_number_parse(bytes_of(name, 8), out);
}

int segment_next(const char *dir, uint32_t after, uint32_t *out, uint64_t *bytes_out, struct error *err)
{
    char *path = g_build_filename(dir, SEGMENT_DIR, NULL);
    DIR *entries = opendir(path);
    uint32_t best = 0, number;
    struct stat st;
    int rc = BASE_OK;

    if (!entries) {
        rc = errno == ENOENT ? 0 : error_errno(err, "%s", path);
        g_free(path);
        return rc;
    }
    for (const struct dirent *e; (errno = 0, e = readdir(entries)) != NULL;) {
        if (number_of_file(e->d_name, &number) && number > after && (!best || number < best))
            best = number;
    }
    if (errno)
        rc = error_errno(err, "%s", path);
    if (rc == BASE_OK && best) {
        char name[32];

        segment_path(best, name);
        if (fstatat(dirfd(entries), name + sizeof SEGMENT_DIR, &st, AT_SYMLINK_NOFOLLOW) < 0)
            rc = error_errno(err, "%s", name);
        *out = best;
        *bytes_out = rc == BASE_OK ? (uint64_t)st.st_size : 0;
    }
    (void)closedir(entries);
    g_free(path);
    return rc != BASE_OK ? rc : best != 0;
}

int segment_remove(const char *dir, uint32_t segment, struct error *err)
{
    char name[32];

    segment_path(segment, name);
    char *path = g_build_filename(dir, name, NULL), *parent = g_build_filename(dir, SEGMENT_DIR, NULL);
    int rc = unlink(path) < 0 && errno != ENOENT ? error_errno(err, "%s", path) : BASE_OK;

    if (rc == BASE_OK) {
        /* Not for safety (nothing refers to it): so that its space is not given twice after a power cut. */
        const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
            rc = error_errno(err, "%s", parent);
        if (fd >= 0)
            (void)close(fd);
    }
    g_free(parent);
    g_free(path);
    return rc;
}

int segment_lock(const char *dir, bool exclusive, int *fd_out, struct error *err)
{
    char *path = g_build_filename(dir, "segments.lock", NULL);
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = BASE_OK;

    if (fd < 0)
        rc = error_errno(err, "%s", path);
    else if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        rc = errno == EAGAIN || errno == EACCES
                 ? error_set(err, BASE_ERR_LOCKED, errno,
                             "%s: a backup or mds compact of this archive is running; try later", path)
                 : error_errno(err, "%s", path);
    if (rc != BASE_OK && fd >= 0)
        (void)close(fd);
    else if (rc == BASE_OK)
        *fd_out = fd;
    g_free(path);
    return rc;
}

int segment_vault_open(const char *dir, struct vault **out, struct error *err)
{
    struct vault *v = NULL;
    /* Of the archive, not of "segments": that one comes with the first item. */
    const int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_errno(err, "%s", dir);
    v = g_new0(struct vault, 1);
    v->kind = VAULT_KIND_SEGMENTS;
    v->root_fd = fd;
    v->name = g_strdup("own:");
    *out = v;
    return BASE_OK;
}

/*
 * The seam to the file system: everything below a vault's root is opened here.
 *
 * A vault is hostile: names in it may be symlinks that lead out, FIFOs that
 * block, devices with side effects. openat2 refuses the first in the kernel and
 * without a race; where it is missing (or a sandbox forbids it) the path is
 * walked by hand, one O_NOFOLLOW step at a time, which is slower and as safe.
 */
#include "vault_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Few, large reads of a directory: a million names are some 60 MB of entries. */
#define DIR_BLOCK_BYTES ((size_t)256 << 10)

static int beneath_by_kernel(int root, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    const long fd = syscall(SYS_openat2, root, path, &how, sizeof how);

    return fd < 0 ? -errno : (int)fd;
}

static int beneath_by_hand(int root, const char *path, int flags)
{
    char part[NAME_MAX + 1];
    int dir = root, fd = -1;

    for (;;) {
        const char *slash = strchr(path, '/');
        const size_t n = slash ? (size_t)(slash - path) : strlen(path);
        const bool is_dot = n == 1 && path[0] == '.' && dir == root && !slash;

        if (n == 0 || n > NAME_MAX || (path[0] == '.' && (n == 1 || (n == 2 && path[1] == '.')) && !is_dot)) {
            fd = -EXDEV;
            break;
        }
        memcpy(part, path, n);
        part[n] = '\0';
        fd = openat(dir, part, (slash ? O_PATH | O_DIRECTORY | O_CLOEXEC : flags) | O_NOFOLLOW);
        if (fd < 0) {
            fd = -errno;
            break;
        }
        if (!slash)
            break;
        if (dir != root)
            (void)close(dir);
        dir = fd;
        path = slash + 1;
    }
    if (dir != root)
        (void)close(dir);
    return fd;
}

static int beneath(struct vault *v, const char *path, int flags)
{
    if (!atomic_load_explicit(&v->no_openat2, memory_order_relaxed)) {
        for (int tries = 0; tries < 8; tries++) {
            const int fd = beneath_by_kernel(v->root_fd, path, flags);

            /* EAGAIN: something was renamed while the kernel resolved. */
            if (fd == -EAGAIN || fd == -EINTR)
                continue;
            if (fd != -ENOSYS)
                return fd;
            atomic_store_explicit(&v->no_openat2, true, memory_order_relaxed);
            break;
        }
    }
    return beneath_by_hand(v->root_fd, path, flags);
}

int vault_os_open(struct vault *v, const char *path, int flags)
{
    int fd;

    flags |= O_CLOEXEC | O_NOFOLLOW;
    if (!(flags & O_PATH))
        flags |= O_RDONLY | O_NONBLOCK | O_NOCTTY;
    if (!*path)
        path = ".";
    if (!(flags & O_PATH) && !atomic_load_explicit(&v->no_noatime, memory_order_relaxed)) {
        fd = beneath(v, path, flags | O_NOATIME);
        if (fd != -EPERM)
            return fd;
        /* Not the owner's process: atime may move, as with any reader. */
        fd = beneath(v, path, flags);
        if (fd >= 0)
            atomic_store_explicit(&v->no_noatime, true, memory_order_relaxed);
    } else {
        fd = beneath(v, path, flags);
    }
    /* Old sandboxes answer EPERM to system calls they do not know. */
    if (fd == -EPERM && !atomic_load_explicit(&v->no_openat2, memory_order_relaxed)) {
        fd = beneath_by_hand(v->root_fd, path, flags);
        if (fd >= 0)
            atomic_store_explicit(&v->no_openat2, true, memory_order_relaxed);
    }
    return fd;
}

bool vault_os_path(char *dst, struct bytes dir, struct bytes name)
{
    size_t n = 0;

    if (dir.n + name.n + 2 > VAULT_PATH_BYTES || (dir.n && memchr(dir.p, 0, dir.n)) || (name.n && memchr(name.p, 0, name.n)))
        return false;
    if (dir.n) {
        memcpy(dst, dir.p, dir.n);
        n = dir.n;
        if (name.n)
            dst[n++] = '/';
    }
    if (name.n)
        memcpy(dst + n, name.p, name.n);
    dst[n + name.n] = '\0';
    return true;
}

int vault_os_lstat(struct vault *v, const char *path, struct stat *out)
{
    const int fd = vault_os_open(v, path, O_PATH);
    int rc;

    if (fd < 0)
        return fd;
    rc = fstat(fd, out) < 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}

void vault_os_will_read(int fd, uint64_t off, uint64_t n)
{
    (void)posix_fadvise(fd, (off_t)off, (off_t)n, POSIX_FADV_WILLNEED);
}

ssize_t vault_os_pread(int fd, void *dst, size_t n, uint64_t off)
{
    size_t done = 0;

    while (done < n) {
        const ssize_t got = pread(fd, (uint8_t *)dst + done, n - done, (off_t)(off + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

void vault_dir_init(struct vault_dir *d, int fd)
{
    *d = (struct vault_dir){.fd = fd, .block = g_malloc(DIR_BLOCK_BYTES)};
}

static enum vault_entry_type type_of(int fd, const struct dirent64 *e)
{
    struct stat st;

    switch (e->d_type) {
    case DT_REG:
        return VAULT_ENTRY_FILE;
    case DT_DIR:
        return VAULT_ENTRY_DIR;
    case DT_LNK:
        return VAULT_ENTRY_LINK;
    case DT_UNKNOWN:
        break;
    default:
        return VAULT_ENTRY_OTHER;
    }
    if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return VAULT_ENTRY_OTHER;
    if (S_ISREG(st.st_mode))
        return VAULT_ENTRY_FILE;
    if (S_ISDIR(st.st_mode))
        return VAULT_ENTRY_DIR;
    return S_ISLNK(st.st_mode) ? VAULT_ENTRY_LINK : VAULT_ENTRY_OTHER;
}

int vault_dir_next(struct vault_dir *d, struct bytes *name_out, enum vault_entry_type *type_out)
{
    for (;;) {
        if (d->at == d->n) {
            const ssize_t got = getdents64(d->fd, d->block, DIR_BLOCK_BYTES);

            if (got <= 0)
                return got < 0 ? -errno : VAULT_DONE;
            d->n = (size_t)got;
            d->at = 0;
        }
        const struct dirent64 *e = (const void *)(d->block + d->at);

        d->at += e->d_reclen;
        if (e->d_name[0] == '.' && (!e->d_name[1] || (e->d_name[1] == '.' && !e->d_name[2])))
            continue;
        *name_out = bytes_str(e->d_name);
        *type_out = type_of(d->fd, e);
        return VAULT_MORE;
    }
}

void vault_dir_release(struct vault_dir *d)
{
    g_free(d->block);
    *d = (struct vault_dir){.fd = -1};
}

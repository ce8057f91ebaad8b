/*
 * recorder: what a program does to the files below one directory, in order, with every byte and every sync.
 *
 *     LD_PRELOAD=libpower_recorder.so MDS_POWER_ROOT=/dir MDS_POWER_LOG=/log mds serve ...
 *
 * test_power_cut.py plays the log up to some point and makes the tree that a power cut might have left there. The log
 * is appended to with one write a record, so that several processes may share it, and its length is a clock: what a
 * client was told before the log had N bytes was told before anything that stands behind them.
 *
 * Record (all numbers little-endian, no padding): u32 type, u32 flags, u64 inode, u64 a, u32 path bytes, u32 second
 * path bytes, u64 data bytes; path, second path, data.
 *
 * A sync's record is written when it has returned and says where the log stood when it began: what was written
 * meanwhile is not covered. Its second path says who called: "object+offset" of each return address, innermost first.
 * Everything else is recorded in the order in which it was done: one lock over both.
 *
 * What stdio writes is seen as a whole when its file is closed. Not seen: stores into shared mappings (lock files
 * only; LMDB without MDB_WRITEMAP writes with pwrite). That nothing is missed is checked: all of the log, played, must
 * give the tree that is there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT      __attribute__((visibility("default")))
#define CALLERS_MAX 12

enum record_type {
    REC_CREATE = 1, /* inode, path */
    REC_MKDIR,      /* inode, path */
    REC_WRITE,      /* inode, a: offset, data; flags 1: synchronous */
    REC_SIZE,       /* inode, a: size; flags 1: only upwards */
    REC_RENAME,     /* path, second path; flags 1: exchange */
    REC_UNLINK,     /* path, a file's or an empty directory's */
    REC_LINK,       /* inode, second path */
    REC_SYNC,       /* inode, path, a: length of the log when it began; flags 1: a directory, 2: all there is */
};

struct record {
    uint32_t type, flags;
    uint64_t inode, a;
    uint32_t path_n, second_n;
    uint64_t data_n;
};

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    int log_fd;
    char root[PATH_MAX];
    size_t root_n;
} power = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT, .log_fd = -1};

#define NEXT(name) __extension__((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static void lock(void)
{
    pthread_mutex_lock(&power.lock);
}

static void unlock(void)
{
    pthread_mutex_unlock(&power.lock);
}

static void start(void)
{
    const char *log = getenv("MDS_POWER_LOG"), *root = getenv("MDS_POWER_ROOT");
    if (!log || !root || !realpath(root, power.root))
        return;
    power.root_n = strlen(power.root);
    pthread_atfork(lock, unlock, unlock);
    power.log_fd = NEXT(open64)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static bool is_on(void)
{
    pthread_once(&power.once, start);
    return power.log_fd >= 0;
}

static bool is_below(const char *path)
{
    size_t n = strlen(path);
    static const char deleted[] = " (deleted)";
    return strncmp(path, power.root, power.root_n) == 0 && (path[power.root_n] == '/' || path[power.root_n] == 0) &&
           (n < sizeof deleted || strcmp(path + n - (sizeof deleted - 1), deleted) != 0);
}

/* The path of an open file, if it is one below the root. */
static bool path_of_fd(int fd, char out[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = 0;
    return n > 0 && is_below(out);
}

static bool path_of(int dirfd, const char *name, char out[PATH_MAX])
{
    char parent[PATH_MAX];
    if (name[0] == '/')
        snprintf(parent, sizeof parent, "%s", name);
    else if (dirfd == AT_FDCWD && getcwd(out, PATH_MAX))
        snprintf(parent, sizeof parent, "%.2000s/%.2000s", out, name);
    else if (dirfd != AT_FDCWD && path_of_fd(dirfd, out))
        snprintf(parent, sizeof parent, "%.2000s/%.2000s", out, name);
    else
        return false;
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = 0;
    char *slash = strrchr(parent, '/');
    char last[NAME_MAX + 1];
    snprintf(last, sizeof last, "%s", slash + 1);
    *(slash == parent ? slash + 1 : slash) = 0;
    char real[PATH_MAX];
    if (!realpath(parent, real))
        return false;
    snprintf(out, PATH_MAX, "%.3000s/%s", real, last);
    return is_below(out);
}

static void die(const char *what)
{
    fprintf(stderr, "power recorder: %s: %s\n", what, strerror(errno));
    abort();
}

static void put(struct record r, const char *path, const char *second, const struct iovec *data, int data_n)
{
    struct iovec v[3 + 1024];
    int saved = errno, n = 3;
    r.path_n = path ? (uint32_t)strlen(path) : 0;
    r.second_n = second ? (uint32_t)strlen(second) : 0;
    v[0] = (struct iovec){&r, sizeof r};
    v[1] = (struct iovec){(void *)(uintptr_t)path, r.path_n};
    v[2] = (struct iovec){(void *)(uintptr_t)second, r.second_n};
    for (int i = 0; i < data_n; i++, n++) {
        v[n] = data[i];
        r.data_n += data[i].iov_len;
    }
    size_t want = sizeof r + r.path_n + r.second_n + r.data_n;
    if (NEXT(writev)(power.log_fd, v, n) != (ssize_t)want)
        die("cannot write the log");
    errno = saved;
}

static uint64_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* ---- names ---- */

static int do_open(int dirfd, const char *name, int flags, mode_t mode)
{
    int (*real)(int, const char *, int, ...) = NEXT(openat64);
    char path[PATH_MAX];
    struct stat st;
    if (!is_on() || !(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !path_of(dirfd, name, path))
        return real(dirfd, name, flags, mode);
    lock();
    bool was_there = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = real(dirfd, name, flags, mode);
    if (fd >= 0 && !was_there)
        put((struct record){.type = REC_CREATE, .inode = inode_of(fd)}, path, NULL, NULL, 0);
    else if (fd >= 0 && (flags & O_TRUNC))
        put((struct record){.type = REC_SIZE, .inode = inode_of(fd)}, NULL, NULL, NULL, 0);
    unlock();
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(args, int) : 0;
}

#define OPEN(name)                                                                                                     \
    EXPORT int name(const char *path, int flags, ...);                                                                 \
    EXPORT int name(const char *path, int flags, ...)                                                                  \
    {                                                                                                                  \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode_t mode = mode_of(flags, args);                                                                            \
        va_end(args);                                                                                                  \
        return do_open(AT_FDCWD, path, flags, mode);                                                                   \
    }
#define OPENAT(name)                                                                                                   \
    EXPORT int name(int dirfd, const char *path, int flags, ...);                                                      \
    EXPORT int name(int dirfd, const char *path, int flags, ...)                                                       \
    {                                                                                                                  \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode_t mode = mode_of(flags, args);                                                                            \
        va_end(args);                                                                                                  \
        return do_open(dirfd, path, flags, mode);                                                                      \
    }
OPEN(open)
OPEN(open64)
OPEN(__open_2)
OPEN(__open64_2)
OPENAT(openat)
OPENAT(openat64)
OPENAT(__openat_2)
OPENAT(__openat64_2)

EXPORT int creat(const char *path, mode_t mode)
{
    return do_open(AT_FDCWD, path, O_CREAT | O_TRUNC | O_WRONLY, mode);
}

EXPORT int mkdirat(int dirfd, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    struct stat st;
    if (!is_on() || !path_of(dirfd, name, path))
        return NEXT(mkdirat)(dirfd, name, mode);
    lock();
    int rc = NEXT(mkdirat)(dirfd, name, mode);
    if (rc == 0 && fstatat(dirfd, name, &st, 0) == 0)
        put((struct record){.type = REC_MKDIR, .inode = st.st_ino}, path, NULL, NULL, 0);
    unlock();
    return rc;
}

EXPORT int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    char path[PATH_MAX], second[PATH_MAX];
    if (!is_on() || !path_of(from_fd, from, path) || !path_of(to_fd, to, second))
        return NEXT(renameat2)(from_fd, from, to_fd, to, flags);
    lock();
    int rc = NEXT(renameat2)(from_fd, from, to_fd, to, flags);
    if (rc == 0)
        put((struct record){.type = REC_RENAME, .flags = (flags & RENAME_EXCHANGE) != 0}, path, second, NULL, 0);
    unlock();
    return rc;
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return renameat2(from_fd, from, to_fd, to, 0);
}

EXPORT int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int unlinkat(int dirfd, const char *name, int flags)
{
    char path[PATH_MAX];
    if (!is_on() || !path_of(dirfd, name, path))
        return NEXT(unlinkat)(dirfd, name, flags);
    lock();
    int rc = NEXT(unlinkat)(dirfd, name, flags);
    if (rc == 0)
        put((struct record){.type = REC_UNLINK}, path, NULL, NULL, 0);
    unlock();
    return rc;
}

EXPORT int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

EXPORT int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

EXPORT int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    char second[PATH_MAX];
    struct stat st;
    if (!is_on() || !path_of(to_fd, to, second))
        return NEXT(linkat)(from_fd, from, to_fd, to, flags);
    lock();
    int rc = NEXT(linkat)(from_fd, from, to_fd, to, flags);
    if (rc == 0 && fstatat(to_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
        put((struct record){.type = REC_LINK, .inode = st.st_ino}, NULL, second, NULL, 0);
    unlock();
    return rc;
}

EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- bytes ---- */

static bool is_watched(int fd)
{
    char path[PATH_MAX];
    return is_on() && fd != power.log_fd && path_of_fd(fd, path);
}

static uint32_t sync_flag(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
}

/* `done` bytes of v have been written at off. */
static void wrote(int fd, off64_t off, const struct iovec *v, int v_n, size_t done)
{
    struct iovec part[1024];
    int n = 0;
    for (int i = 0; i < v_n && i < 1024 && done; i++, n++) {
        part[n] = v[i];
        if (part[n].iov_len > done)
            part[n].iov_len = done;
        done -= part[n].iov_len;
    }
    put((struct record){.type = REC_WRITE, .flags = sync_flag(fd), .inode = inode_of(fd), .a = (uint64_t)off}, NULL,
        NULL, part, n);
}

static off64_t position(int fd)
{
    struct stat st;
    if ((fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &st) == 0)
        return st.st_size;
    return lseek64(fd, 0, SEEK_CUR);
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (!is_watched(fd))
        return NEXT(writev)(fd, v, n);
    lock();
    off64_t off = position(fd);
    ssize_t done = NEXT(writev)(fd, v, n);
    if (done > 0)
        wrote(fd, off, v, n, (size_t)done);
    unlock();
    return done;
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    struct iovec v = {(void *)(uintptr_t)p, n};
    if (!is_watched(fd))
        return NEXT(write)(fd, p, n);
    return writev(fd, &v, 1);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t off)
{
    if (!is_watched(fd))
        return NEXT(pwritev64)(fd, v, n, off);
    lock();
    ssize_t done = NEXT(pwritev64)(fd, v, n, off);
    if (done > 0)
        wrote(fd, off, v, n, (size_t)done);
    unlock();
    return done;
}

EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
    return pwritev64(fd, v, n, off);
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off)
{
    struct iovec v = {(void *)(uintptr_t)p, n};
    if (!is_watched(fd))
        return NEXT(pwrite64)(fd, p, n, off);
    return pwritev64(fd, &v, 1, off);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
    return pwrite64(fd, p, n, off);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    if (!is_watched(fd))
        return NEXT(ftruncate64)(fd, size);
    lock();
    int rc = NEXT(ftruncate64)(fd, size);
    if (rc == 0)
        put((struct record){.type = REC_SIZE, .inode = inode_of(fd), .a = (uint64_t)size}, NULL, NULL, NULL, 0);
    unlock();
    return rc;
}

EXPORT int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

EXPORT int fallocate64(int fd, int mode, off64_t off, off64_t n)
{
    if (!is_watched(fd))
        return NEXT(fallocate64)(fd, mode, off, n);
    if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE) {
        errno = EOPNOTSUPP; /* holes are not recorded */
        return -1;
    }
    lock();
    int rc = NEXT(fallocate64)(fd, mode, off, n);
    if (rc == 0 && mode == 0)
        put((struct record){.type = REC_SIZE, .flags = 1, .inode = inode_of(fd), .a = (uint64_t)(off + n)}, NULL, NULL,
            NULL, 0);
    unlock();
    return rc;
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t n)
{
    return fallocate64(fd, mode, off, n);
}

/* ---- stdio: its own writes go past us, so a file that it wrote is read when it is closed ---- */

static FILE *do_fopen(const char *name, const char *mode, FILE *(*real)(const char *, const char *))
{
    char path[PATH_MAX];
    struct stat st;
    if (!is_on() || mode[0] == 'r' || !path_of(AT_FDCWD, name, path))
        return real(name, mode);
    lock();
    bool was_there = lstat(name, &st) == 0;
    FILE *f = real(name, mode);
    if (f && !was_there)
        put((struct record){.type = REC_CREATE, .inode = inode_of(fileno(f))}, path, NULL, NULL, 0);
    else if (f && mode[0] == 'w')
        put((struct record){.type = REC_SIZE, .inode = inode_of(fileno(f))}, NULL, NULL, NULL, 0);
    unlock();
    return f;
}

EXPORT FILE *fopen(const char *name, const char *mode)
{
    return do_fopen(name, mode, NEXT(fopen));
}

EXPORT FILE *fopen64(const char *name, const char *mode)
{
    return do_fopen(name, mode, NEXT(fopen64));
}

static void read_again(const char *path)
{
    char chunk[1 << 16];
    struct stat st;
    int fd = NEXT(openat64)(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        die(path);
    put((struct record){.type = REC_SIZE, .inode = st.st_ino, .a = (uint64_t)st.st_size}, NULL, NULL, NULL, 0);
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = pread(fd, chunk, sizeof chunk, at);
        struct iovec v = {chunk, n > 0 ? (size_t)n : 0};
        if (n <= 0)
            die(path);
        put((struct record){.type = REC_WRITE, .inode = st.st_ino, .a = (uint64_t)at}, NULL, NULL, &v, 1);
        at += n;
    }
    close(fd);
}

EXPORT int fclose(FILE *f)
{
    char path[PATH_MAX];
    int fd = fileno(f);
    bool written = is_on() && fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && path_of_fd(fd, path);
    if (!written)
        return NEXT(fclose)(f);
    lock();
    int rc = NEXT(fclose)(f);
    read_again(path);
    unlock();
    return rc;
}

/* ---- syncs ---- */

/* Offsets from the beginning of each object: the same in every run. Ourselves left out. */
static void callers(char *out, size_t n)
{
    void *at[CALLERS_MAX];
    Dl_info self = {0}, info;
    size_t used = 0;
    int saved = errno, found = backtrace(at, CALLERS_MAX);
    dladdr((void *)(uintptr_t)callers, &self); // NOLINT(performance-no-int-to-ptr)
    out[0] = 0;
    for (int i = 0; i < found && used < n; i++)
        if (dladdr(at[i], &info) && info.dli_fname && info.dli_fbase != self.dli_fbase)
            used += (size_t)snprintf(out + used, n - used, "%s%s+%lx", used ? " " : "", info.dli_fname,
                                     (unsigned long)((uintptr_t)at[i] - (uintptr_t)info.dli_fbase));
    errno = saved;
}

static int do_sync(int fd, int (*real)(int), bool all)
{
    char path[PATH_MAX], who[CALLERS_MAX * 256];
    struct stat st;
    if (!is_on() || !path_of_fd(fd, path))
        return real(fd);
    lock();
    uint64_t began = (uint64_t)lseek64(power.log_fd, 0, SEEK_END);
    unlock();
    int rc = real(fd);
    if (rc == 0 && fstat(fd, &st) == 0) {
        callers(who, sizeof who);
        lock();
        put(
            (struct record){
                .type = REC_SYNC, .flags = S_ISDIR(st.st_mode) | (all ? 2 : 0), .inode = st.st_ino, .a = began},
            path, who, NULL, 0);
        unlock();
    }
    return rc;
}

EXPORT int fsync(int fd)
{
    return do_sync(fd, NEXT(fsync), false);
}

EXPORT int fdatasync(int fd)
{
    return do_sync(fd, NEXT(fdatasync), false);
}

EXPORT int syncfs(int fd)
{
    return do_sync(fd, NEXT(syncfs), true);
}

/*
 * test_support: see the header. Strings and directories hang on static lists because Criterion's tests end by exit(),
 * often in the middle of a function.
 */
#include "test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct kept {
    struct kept *next;
    char text[];
};

struct temp {
    struct temp *next;
    pid_t owner;
    const char *path;
};

static struct kept *kept_list;
static struct temp *temp_list;

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("test_support: ", stderr);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, " (errno: %s)\n", strerror(errno));
    va_end(ap);
    abort();
}

static char *keep(size_t n)
{
    struct kept *k = malloc(sizeof *k + n + 1);
    if (!k)
        give_up("out of memory for %zu bytes", n);
    k->next = kept_list;
    kept_list = k;
    k->text[n] = 0;
    return k->text;
}

const char *textf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        give_up("bad format");
    char *s = keep((size_t)n);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return s;
}

const char *path_join(const char *dir, const char *name)
{
    return textf("%s/%s", dir, name);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)at;
    if (flag == FTW_DNR || flag == FTW_D)
        chmod(path, 0700);
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

static int allow_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)at;
    if (flag == FTW_D || flag == FTW_DNR)
        chmod(path, 0700);
    return 0;
}

void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return;
    nftw(path, allow_one, 16, FTW_PHYS); /* a test may have taken permissions away */
    if (nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH) != 0)
        fprintf(stderr, "test_support: cannot remove %s: %s\n", path, strerror(errno));
}

static void remove_temps(void)
{
    for (struct temp *t = temp_list; t; t = t->next)
        if (t->owner == getpid() && !getenv("KEEP_TEMP"))
            remove_tree(t->path);
}

const char *temp_dir_at(const char *file, int line)
{
    const char *root = getenv("TMPDIR");
    const char *base = strrchr(file, '/');
    base = base ? base + 1 : file;
    const char *dot = strchr(base, '.');
    const char *pattern = textf("%s/mds-%.*s-%d-XXXXXX", root && *root ? root : "/tmp",
                                (int)(dot ? dot - base : (ptrdiff_t)strlen(base)), base, line);
    char *dir = keep(strlen(pattern));
    strcpy(dir, pattern);
    if (!mkdtemp(dir))
        give_up("cannot make %s", dir);
    struct temp *t = malloc(sizeof *t);
    if (!t)
        give_up("out of memory");
    if (!temp_list)
        atexit(remove_temps);
    *t = (struct temp){temp_list, getpid(), dir};
    temp_list = t;
    return dir;
}

void mkpath(const char *dir)
{
    char *path = keep(strlen(dir));
    strcpy(path, dir);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            give_up("cannot make %s", path);
        *p = '/';
    }
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        give_up("cannot make %s", path);
}

static void write_with(const char *path, int flags, struct bytes content)
{
    const char *slash = strrchr(path, '/');
    if (slash && slash != path)
        mkpath(textf("%.*s", (int)(slash - path), path));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    if (fd < 0)
        give_up("cannot create %s", path);
    while (content.n > 0) {
        ssize_t n = write(fd, content.p, content.n);
        if (n < 0 && errno != EINTR)
            give_up("cannot write %s", path);
        if (n > 0)
            content = bytes_of(content.p + n, content.n - (size_t)n);
    }
    if (close(fd) != 0)
        give_up("cannot write %s", path);
}

void write_file(const char *path, struct bytes content)
{
    write_with(path, O_TRUNC, content);
}

void write_text(const char *path, const char *text)
{
    write_with(path, O_TRUNC, bytes_str(text));
}

void append_file(const char *path, struct bytes content)
{
    write_with(path, O_APPEND, content);
}

void set_mtime(const char *path, int64_t unix_s)
{
    struct timespec times[2] = {{.tv_sec = unix_s}, {.tv_sec = unix_s}};
    if (utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) != 0)
        give_up("cannot set the time of %s", path);
}

struct bytes read_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        give_up("cannot open %s", path);
    size_t n = 0, size = (size_t)st.st_size;
    char *p = keep(size);
    while (n < size) {
        ssize_t got = read(fd, p + n, size - n);
        if (got < 0 && errno != EINTR)
            give_up("cannot read %s", path);
        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
    }
    close(fd);
    p[n] = 0;
    return bytes_of(p, n);
}

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

struct rng rng_of(uint64_t seed)
{
    return (struct rng){seed};
}

struct rng rng_start(const char *name)
{
    const char *given = getenv("SEED");
    uint64_t seed;
    if (given && *given) {
        seed = strtoull(given, NULL, 0);
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = ((uint64_t)now.tv_sec * 1000000007u) ^ (uint64_t)now.tv_nsec ^ ((uint64_t)getpid() << 40);
    }
    fprintf(stderr, "%s: SEED=%llu\n", name, (unsigned long long)seed);
    return rng_of(seed);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return n ? (uint64_t)(((unsigned __int128)rng_u64(r) * n) >> 64) : 0;
}

bool rng_once_in(struct rng *r, uint64_t n)
{
    return rng_below(r, n) == 0;
}

void rng_piece(struct rng *r, const char *utf8, char *out)
{
    size_t from = rng_below(r, strlen(utf8)), n;

    while (((uint8_t)utf8[from] & 0xc0) == 0x80)
        from--;
    n = 1 + rng_below(r, strlen(utf8) - from);
    while (((uint8_t)utf8[from + n] & 0xc0) == 0x80)
        n++;
    memcpy(out, utf8 + from, n);
    out[n] = 0;
}

uint64_t rng_edgy(struct rng *r, uint64_t max)
{
    uint64_t v;
    switch (rng_below(r, 6)) {
    case 0: v = rng_below(r, 4); break;
    case 1: v = ((uint64_t)1 << rng_below(r, 64)) - 1 + rng_below(r, 3); break;
    case 2: v = max - rng_below(r, 3); break;
    case 3: v = rng_u64(r) >> rng_below(r, 64); break;
    default: v = rng_u64(r); break;
    }
    return max == UINT64_MAX || v <= max ? v : v % (max + 1);
}

void rng_fill(struct rng *r, void *p, size_t n)
{
    uint8_t *out = p;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)rng_u64(r);
}

const char *source_dir(void)
{
    const char *given = getenv("MDS_SOURCE_DIR");
    if (given && *given)
        return given;
    const char *dir = ".";
    for (int up = 0; up < 16; up++, dir = path_join(dir, ".."))
        if (file_exists(path_join(dir, "CMakePresets.json")))
            return dir;
    give_up("no source tree above the working directory; set MDS_SOURCE_DIR");
}

const char *corpus_dir(const char *name)
{
    const char *root = getenv("MDS_CORPUS");
    if (!root || !*root)
        root = path_join(source_dir(), "../shared/corpus");
    const char *packed = textf("%s/%s.tar.zst", root, name);
    if (!file_exists(packed)) {
        const char *plain = path_join(root, name);
        if (file_exists(plain))
            return plain;
        fprintf(stderr, "test_support: no corpus %s: skipped\n", name);
        return NULL;
    }
    const char *dir = TEMP_DIR();
    const char *command = textf("zstd -dc '%s' | tar -x -C '%s'", packed, dir);
    int status = system(command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        give_up("cannot unpack %s", packed);
    return dir;
}

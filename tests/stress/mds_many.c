/*
 * Thousands of archives open in one process: address space, descriptors, and that each still reads and writes. Most are
 * copies of one small store. MDS_MANY sets how many (4,000; fewer under sanitizers, whose shadow takes room).
 */
#include "mds/mds.h"
#include "test_support.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define MANY        100 /* TSan leaves some 3 TB of address space */
#define KIB_OF_EACH 10000.0
#elif defined(__SANITIZE_ADDRESS__)
#define MANY        300
#define KIB_OF_EACH 10000.0
#else
#define MANY        4000
#define KIB_OF_EACH 300.0
#endif
#define SPARE_FDS   100
#define ROOM_BYTES  (UINT64_C(4) << 30)
#define FDS_OF_EACH 4u
#define MADE        20 /* by mds_open itself; the others are copies */

static void must(int rc, const struct error *err)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "stress mds_many: %s: %s\n", base_err_name((enum base_err)rc), err->text);
    abort();
}

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned long long status_kib(const char *field)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtoull(line + strlen(field) + 1, NULL, 10);
    if (f)
        (void)fclose(f);
    return kib;
}

static unsigned descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n;
}

static struct mds_env *opened(const char *dir)
{
    const struct mds_options opts = {.create = true, .archive_name = "many"};
    struct mds_env *env = NULL;
    struct error err;

    must(mds_open(dir, &opts, &env, &err), &err);
    return env;
}

static void append_one(struct mds_env *env)
{
    struct mds_txn *t = NULL;
    struct mds_item it = {.size = 1};
    const struct mds_item_words words = {.envelope = BYTES_LIT("(e)")};
    struct error err;

    must(mds_write_begin(env, &t, &err), &err);
    must(mds_item_add(t, &it, &words, &err), &err);
    struct mds_message m = {.folder = 1, .item = it.id};

    must(mds_message_add(t, &m, &err), &err);
    must(mds_write_commit(&t, &err), &err);
}

static uint32_t exists(struct mds_env *env)
{
    struct mds_txn *t = NULL;
    struct mds_folder f;
    struct error err;

    must(mds_read_begin(env, &t, &err), &err);
    must(mds_folder_find(t, BYTES_LIT("inbox"), &f, &err), &err);
    mds_read_end(&t);
    return f.exists;
}

/* Nothing here is about disks, and a sync of each new directory takes its time there. */
static void use_memory(void)
{
    struct statvfs fs;

    if (!getenv("TMPDIR") && statvfs("/dev/shm", &fs) == 0 && access("/dev/shm", W_OK) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize > ROOM_BYTES)
        (void)setenv("TMPDIR", "/dev/shm", 1);
}

int main(void)
{
    use_memory();
    const char *dir = TEMP_DIR(), *wanted = getenv("MDS_MANY");
    unsigned many = wanted ? (unsigned)strtoul(wanted, NULL, 10) : MANY;
    struct rlimit fds;

    if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
        fds.rlim_cur = fds.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &fds);
        if (fds.rlim_max != RLIM_INFINITY && (fds.rlim_max - SPARE_FDS) / FDS_OF_EACH < many)
            many = (unsigned)((fds.rlim_max - SPARE_FDS) / FDS_OF_EACH);
    }
    if (many < 2 * MADE) {
        printf("too few descriptors are allowed\n");
        return 77;
    }
    struct mds_env **envs = calloc(many, sizeof *envs), *first = opened(path_join(dir, "first"));
    const unsigned fds_before = descriptors();
    const unsigned long long vm_before = status_kib("VmSize"), rss_before = status_kib("RssAnon");

    append_one(first);
    mds_close(&first);
    const struct bytes image = read_file(path_join(dir, "first/data.mdb"));

    for (unsigned i = MADE; i < many; i++)
        write_file(path_join(dir, textf("%u/data.mdb", i)), image);
    const double start = now_s();

    for (unsigned i = 0; i < many; i++)
        envs[i] = opened(path_join(dir, textf("%u", i)));
    const double took = now_s() - start;
    const unsigned fds_each = (descriptors() - fds_before + many) / many; /* the first is closed meanwhile */

    for (unsigned i = 0; i < many; i++)
        if (exists(envs[i]) != (i >= MADE))
            abort();
    for (unsigned i = 0; i < many; i += 1 + many / 50) {
        append_one(envs[i]);
        if (exists(envs[i]) != 1u + (i >= MADE))
            abort();
    }
    printf("%u environments: %.0f us to open one, %u descriptors each, %.1f TB mapped, %.1f KB private each\n", many,
           took * 1e6 / many, fds_each, (double)(status_kib("VmSize") - vm_before) * 1024 / 1e12,
           (double)(status_kib("RssAnon") - rss_before) / many);
    if (fds_each > FDS_OF_EACH)
        abort();
    /* As the bounded list of open archives does it: those that come back must not cost more than those that came. */
    for (unsigned i = 0; i < many; i++)
        mds_close(&envs[i]);
    for (unsigned i = 0; i < many; i++)
        envs[i] = opened(path_join(dir, textf("%u", i)));
    const double again_kib = (double)(status_kib("RssAnon") - rss_before) / many;

    printf("all opened again: %.1f KB private each\n", again_kib);
    if (again_kib > KIB_OF_EACH)
        abort();
    for (unsigned i = 0; i < many; i++)
        mds_close(&envs[i]);
    free(envs);
    return 0;
}

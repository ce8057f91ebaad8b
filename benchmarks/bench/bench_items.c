/*
 * bench_items: ten million names take some 600 MB here; a benchmark may.
 */
#include "bench_items.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

static void add_name(struct bench_items *items, GArray *offsets, const char *directory, const char *name)
{
    static const char zero[4];
    uint32_t at = (uint32_t)(items->names.n / 4);
    g_array_append_val(offsets, at);
    buf_printf(&items->names, "%s/%s", directory, name);
    buf_append(&items->names, zero, 4 - items->names.n % 4);
}

static int load_directory(struct bench_items *items, GArray *offsets, const char *directory, struct error *err)
{
    char *path = g_build_filename(items->root, directory, NULL);
    DIR *d = opendir(path);
    int rc = 0;
    if (!d && errno != ENOENT)
        rc = error_errno(err, "cannot list %s", path);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        add_name(items, offsets, directory, e->d_name);
        items->bytes += (uint64_t)st.st_size;
    }
    if (d)
        closedir(d);
    g_free(path);
    return rc;
}

static int compare_paths(const void *a, const void *b, void *arg)
{
    const struct bench_items *items = arg;
    const uint32_t *x = a, *y = b;
    return strcmp((const char *)items->names.p + (size_t)*x * 4, (const char *)items->names.p + (size_t)*y * 4);
}

static int load_folder(struct bench_items *items, GArray *offsets, const char *folder, struct error *err)
{
    static const char *const parts[] = {"cur", "new"};
    for (size_t k = 0; k < G_N_ELEMENTS(parts); k++) {
        char *directory = *folder ? g_build_filename(folder, parts[k], NULL) : g_strdup(parts[k]);
        int rc = load_directory(items, offsets, directory, err);
        g_free(directory);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int bench_items_load(const char *root, struct bench_items *out, struct error *err)
{
    struct bench_items items = {.root = g_strdup(root)};
    GArray *offsets = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    DIR *d = opendir(root);
    int rc = d ? load_folder(&items, offsets, "", err) : error_errno(err, "cannot list %s", root);
    for (struct dirent *e; rc == 0 && d && (e = readdir(d));)
        if (e->d_name[0] == '.' && e->d_name[1] != 0 && e->d_name[1] != '.') {
            size_t before = offsets->len;
            rc = load_folder(&items, offsets, e->d_name, err);
            items.has_folders |= offsets->len > before;
        }
    if (d)
        closedir(d);
    items.count = offsets->len;
    items.offsets_4 = (uint32_t *)(void *)g_array_free(offsets, FALSE);
    if (rc == 0 && items.count == 0)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "%s holds no Maildir items", root);
    if (rc != 0) {
        bench_items_release(&items);
        return rc;
    }
    g_qsort_with_data(items.offsets_4, (gint)items.count, sizeof(uint32_t), compare_paths, &items);
    *out = items;
    return 0;
}

void bench_items_release(struct bench_items *items)
{
    g_free(items->root);
    g_free(items->offsets_4);
    buf_release(&items->names);
    *items = (struct bench_items){0};
}

static int compare_file_names(const void *a, const void *b, void *arg)
{
    const struct bench_items *items = arg;
    const uint32_t *x = a, *y = b;
    const char *p = strrchr((const char *)items->names.p + (size_t)*x * 4, '/');
    const char *q = strrchr((const char *)items->names.p + (size_t)*y * 4, '/');
    return strcmp(p, q);
}

static void make_folder_of(const char *path)
{
    static const char *const parts[] = {"cur", "new", "tmp"};
    char *parent = g_path_get_dirname(path), *folder = g_path_get_dirname(parent);
    for (size_t k = 0; k < G_N_ELEMENTS(parts); k++) {
        char *made = g_build_filename(folder, parts[k], NULL);
        g_mkdir_with_parents(made, 0777); /* a failure shows in the link that follows */
        g_free(made);
    }
    g_free(folder);
    g_free(parent);
}

static int link_one(const struct bench_items *items, const char *name, const char *dir, struct error *err)
{
    char *from = g_build_filename(items->root, name, NULL), *to = g_build_filename(dir, name, NULL);
    int rc = 0;
    if (link(from, to) != 0) {
        if (errno == ENOENT) /* the folder's first item */
            make_folder_of(to);
        if (link(from, to) != 0)
            rc = error_errno(err, "cannot link %s", to);
    }
    g_free(from);
    g_free(to);
    return rc;
}

int bench_items_link(const struct bench_items *items, size_t n, const char *dir, struct error *err)
{
    uint32_t *sorted = g_memdup2(items->offsets_4, items->count * sizeof *sorted);
    g_qsort_with_data(sorted, (gint)items->count, sizeof *sorted, compare_file_names, (void *)(uintptr_t)items);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < MIN(n, items->count); i++)
        rc = link_one(items, (const char *)items->names.p + (size_t)sorted[i] * 4, dir, err);
    g_free(sorted);
    return rc;
}

/*
 * The containers of a vault, found by walking its directories once, before any item is read.
 *
 * A directory that may not be read is a container all the same, marked
 * unreadable: a missing container means removal, an unreadable one means nothing.
 */
#include "vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

struct walk {
    struct vault *v;
    struct vault_scan *scan;
    struct vault_places *out;
};

static struct vault_place *place_add(struct walk *w, struct bytes name, struct bytes below)
{
    struct vault_places *p = w->out;
    struct buf folder = {0};

    vault_folder_full(w->v, below, &folder);
    if (folder.n > VAULT_NAME_MAX) {
        vault_scan_skip(w->scan, name, "folder name too long");
        buf_release(&folder);
        return NULL;
    }
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->at = g_renew(struct vault_place, p->at, p->cap);
    }
    p->at[p->n] = (struct vault_place){.name = arena_dup(p->arena, name), .folder = arena_dup(p->arena, buf_bytes(&folder))};
    buf_release(&folder);
    return &p->at[p->n++];
}

static void place_add_unreadable(struct walk *w, struct bytes name, struct bytes below)
{
    struct vault_place *p = place_add(w, name, below);

    if (p)
        p->unreadable = true;
    vault_scan_skip(w->scan, name, "unreadable");
}

/* Opens a directory of the vault; -errno. `leaf_out` tells that its link count rules out sub-directories. */
static int dir_open(struct walk *w, struct bytes dir, bool *leaf_out)
{
    char path[VAULT_PATH_BYTES];
    struct stat st;

    *leaf_out = false;
    if (!vault_os_path(path, dir, (struct bytes){0}))
        return -ENAMETOOLONG;
    const int fd = vault_os_open(w->v, path, O_DIRECTORY);

    /* ext4, XFS, tmpfs count sub-directories here; file systems that do not say 1. */
    if (fd >= 0 && fstat(fd, &st) == 0)
        *leaf_out = st.st_nlink == 2;
    return fd;
}

/* The names of sub-directories, sorted nowhere: places are sorted at the end. */
static void subdirs_add(struct walk *w, struct bytes dir, struct bytes name, GPtrArray *subs)
{
    char path[VAULT_PATH_BYTES];

    if (vault_os_path(path, dir, name))
        g_ptr_array_add(subs, g_strdup(path));
    else
        vault_scan_skip(w->scan, name, "path too long");
}

/* An mbox-tree's file: a container if it is an mbox. */
static void mbox_file_add(struct walk *w, struct bytes dir, struct bytes name)
{
    char path[VAULT_PATH_BYTES];
    bool empty;

    if (name.p[0] == '.' || g_str_has_suffix((const char *)name.p, ".lock") || g_str_has_suffix((const char *)name.p, ".msf"))
        return;
    if (!vault_os_path(path, dir, name)) {
        vault_scan_skip(w->scan, name, "path too long");
        return;
    }
    const int fd = vault_os_open(w->v, path, 0);
    const int is = fd < 0 ? fd : vault_detect_mbox_file(fd, &empty);

    if (fd >= 0)
        (void)close(fd);
    if (is > 0)
        (void)place_add(w, bytes_str(path), bytes_str(path));
    else if (is < 0 && is != -ENOENT)
        place_add_unreadable(w, bytes_str(path), bytes_str(path));
}

/* Is the directory (with this last name) one that this kind of vault descends into? */
static bool descends(struct walk *w, struct bytes name, bool in_maildir)
{
    if (name.p[0] == '.')
        return false;
    if (w->v->kind == VAULT_KIND_MAILDIR_FS && in_maildir)
        return !bytes_equal(name, BYTES_LIT("cur")) && !bytes_equal(name, BYTES_LIT("new")) && !bytes_equal(name, BYTES_LIT("tmp"));
    return true;
}

static void below_name(const struct walk *w, struct bytes dir, struct buf *out)
{
    size_t at = 0;

    if (w->v->kind != VAULT_KIND_MAILDIR_FS) {
        buf_append_bytes(out, dir);
        return;
    }
    while (at < dir.n) {
        const uint8_t *slash = memchr(dir.p + at, '/', dir.n - at);
        const size_t end = slash ? (size_t)(slash - dir.p) : dir.n;

        if (at)
            buf_append_byte(out, '/');
        vault_folder_append_utf7(out, bytes_slice(dir, at, end - at));
        at = end + 1;
    }
}

static int walk_dir(struct walk *w, struct bytes dir, unsigned depth)
{
    GPtrArray *subs = g_ptr_array_new_with_free_func(g_free);
    const enum vault_kind kind = w->v->kind;
    const bool in_maildir = kind == VAULT_KIND_MAILDIR_FS && vault_is_maildir_at(w->v, dir) == 1;
    struct vault_dir entries;
    enum vault_entry_type type;
    struct buf below = {0};
    struct bytes name;
    bool leaf;
    int rc = 0;
    const int fd = dir_open(w, dir, &leaf);

    below_name(w, dir, &below);
    if (fd < 0) {
        if (fd == -EACCES || fd == -EPERM || fd == -EIO)
            place_add_unreadable(w, dir, buf_bytes(&below));
        rc = fd;
        goto out;
    }
    if (in_maildir || kind == VAULT_KIND_EML_TREE || kind == VAULT_KIND_MH)
        (void)place_add(w, dir, buf_bytes(&below));
    if (!leaf || kind == VAULT_KIND_MBOX_TREE) {
        vault_dir_init(&entries, fd);
        while ((rc = vault_dir_next(&entries, &name, &type)) == VAULT_MORE) {
            if (type == VAULT_ENTRY_DIR && descends(w, name, in_maildir))
                subdirs_add(w, dir, name, subs);
            else if (type == VAULT_ENTRY_FILE && kind == VAULT_KIND_MBOX_TREE)
                mbox_file_add(w, dir, name);
            else if (type >= VAULT_ENTRY_LINK && kind == VAULT_KIND_MBOX_TREE && name.p[0] != '.')
                vault_scan_skip(w->scan, name, "no regular file");
        }
        vault_dir_release(&entries);
    }
    for (guint i = 0; i < subs->len; i++) {
        if (depth >= VAULT_DEPTH_MAX)
            vault_scan_skip(w->scan, bytes_str(g_ptr_array_index(subs, i)), "too deep");
        else
            (void)walk_dir(w, bytes_str(g_ptr_array_index(subs, i)), depth + 1);
    }
    if (rc < 0)
        vault_scan_skip(w->scan, dir, "directory could not be read to its end");
out:
    if (fd >= 0)
        (void)close(fd);
    g_ptr_array_free(subs, TRUE);
    buf_release(&below);
    return rc;
}

/* ".Sub.Folder" to "Sub/Folder". A dot that would leave an empty level is part of the name: "..a..b." is ".a/.b.". */
static void dots_to_levels(struct bytes name, struct buf *out)
{
    size_t at = 1;

    while (at < name.n) {
        const uint8_t *dot = memchr(name.p + at + 1, '.', name.n - at - 1);
        const size_t end = dot && dot + 1 < name.p + name.n ? (size_t)(dot - name.p) : name.n;

        if (at > 1)
            buf_append_byte(out, '/');
        vault_folder_append_utf7(out, bytes_slice(name, at, end - at));
        at = end + 1;
    }
}

static int walk_maildirpp(struct walk *w)
{
    struct vault_dir entries;
    enum vault_entry_type type;
    struct buf below = {0};
    struct bytes name;
    bool leaf;
    int rc;
    const int root = vault_is_maildir_at(w->v, (struct bytes){0});
    const int fd = dir_open(w, (struct bytes){0}, &leaf);

    if (fd < 0)
        return fd;
    if (root)
        (void)place_add(w, (struct bytes){0}, (struct bytes){0});
    vault_dir_init(&entries, fd);
    while ((rc = vault_dir_next(&entries, &name, &type)) == VAULT_MORE) {
        if (name.p[0] != '.')
            continue;
        if (type == VAULT_ENTRY_LINK)
            vault_scan_skip(w->scan, name, "symbolic link");
        if (type != VAULT_ENTRY_DIR)
            continue;
        const int is = vault_is_maildir_at(w->v, name);

        buf_reset(&below);
        dots_to_levels(name, &below);
        if (is > 0)
            (void)place_add(w, name, buf_bytes(&below));
        else if (is < 0)
            place_add_unreadable(w, name, buf_bytes(&below));
    }
    vault_dir_release(&entries);
    (void)close(fd);
    buf_release(&below);
    return rc;
}

/* --- order, and folders that would share a name --- */

static int place_compare(const void *x, const void *y)
{
    const struct vault_place *a = x, *b = y;
    const struct bytes inbox = BYTES_LIT("INBOX");
    const int first = bytes_equal(b->folder, inbox) - bytes_equal(a->folder, inbox);
    const int order = first ? first : bytes_compare(a->folder, b->folder);

    return order ? order : bytes_compare(a->name, b->name);
}

static bool mh_has_items(struct vault *v)
{
    const int fd = vault_os_open(v, "", O_DIRECTORY);
    struct vault_dir entries;
    enum vault_entry_type type;
    struct bytes name;
    uint64_t number;
    bool has = false;

    if (fd < 0)
        return true;
    vault_dir_init(&entries, fd);
    while (!has && vault_dir_next(&entries, &name, &type) == VAULT_MORE)
        has = type == VAULT_ENTRY_FILE && vault_mh_number(name, &number);
    vault_dir_release(&entries);
    (void)close(fd);
    return has;
}

/* MH keeps its inbox in a folder of that name: the root, usually empty, makes way for it. */
static void mh_root_last(struct walk *w)
{
    struct vault_places *p = w->out;
    size_t root = p->n, inbox = p->n;

    for (size_t i = 0; i < p->n; i++) {
        if (p->at[i].name.n == 0)
            root = i;
        else if (bytes_equal(p->at[i].folder, BYTES_LIT("INBOX")))
            inbox = i;
    }
    if (root == p->n || inbox == p->n)
        return;
    if (mh_has_items(w->v))
        p->at[root].folder = arena_dup(p->arena, BYTES_LIT("INBOX~root"));
    else
        p->at[root] = p->at[--p->n];
}

/* One folder, one container: the second of a name is marked, and marks never collide. */
static void folders_make_unique(struct vault_places *p)
{
    GHashTable *seen = NULL;
    bool any = false;

    for (size_t i = 1; i < p->n && !any; i++)
        any = bytes_equal(p->at[i - 1].folder, p->at[i].folder);
    if (!any)
        return;
    seen = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, NULL);
    for (size_t i = 0; i < p->n; i++) {
        if (i == 0 || !bytes_equal(p->at[i - 1].folder, p->at[i].folder))
            g_hash_table_add(seen, g_bytes_new(p->at[i].folder.p, p->at[i].folder.n));
    }
    struct bytes before = {0};

    for (size_t i = 0; i < p->n; i++) {
        const struct bytes folder = p->at[i].folder;
        const bool again = i > 0 && bytes_equal(folder, before);
        struct buf name = {0};

        before = folder;
        for (unsigned k = 2; again; k++) {
            buf_reset(&name);
            buf_append_bytes(&name, folder);
            buf_printf(&name, "~%u", k);
            if (g_hash_table_add(seen, g_bytes_new(name.p, name.n)))
                break;
        }
        if (again)
            p->at[i].folder = arena_dup(p->arena, buf_bytes(&name));
        buf_release(&name);
    }
    g_hash_table_unref(seen);
    qsort(p->at, p->n, sizeof *p->at, place_compare);
}

int vault_walk(struct vault *v, struct vault_scan *s, struct vault_places *out, struct error *err)
{
    struct walk w = {.v = v, .scan = s, .out = out};
    int rc = 0;

    switch (v->kind) {
    case VAULT_KIND_MAILDIR:
    case VAULT_KIND_MBOX:
        (void)place_add(&w, (struct bytes){0}, (struct bytes){0});
        break;
    case VAULT_KIND_MAILDIRPP:
        rc = walk_maildirpp(&w);
        break;
    default:
        rc = walk_dir(&w, (struct bytes){0}, 0);
    }
    /* Without its root nothing is known about a vault, least of all that folders are gone. */
    if (rc < 0) {
        errno = -rc;
        return error_errno(err, "%s", v->name);
    }
    if (out->n == 0 && (v->kind == VAULT_KIND_MAILDIRPP || v->kind == VAULT_KIND_MAILDIR_FS))
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: no Maildir here (is it mounted?)", v->name);
    if (v->kind == VAULT_KIND_MH)
        mh_root_last(&w);
    if (out->n)
        qsort(out->at, out->n, sizeof *out->at, place_compare);
    folders_make_unique(out);
    return BASE_OK;
}

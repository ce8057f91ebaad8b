/*
 * auto: which kind is it?
 *
 *   a file                                         mbox, if it is empty or begins with a "From " line
 *   cur/ or new/ in the root, or .Dot/cur          maildir++ (a plain Maildir is a Maildir++ without folders yet:
 *                                                  its name must not change when the first folder is made)
 *   nested directories with cur/, no .Dot/cur      maildir-fs
 *   .mh_sequences, or numbered files prevail       mh
 *   *.eml prevail                                  eml-tree
 *   files that begin with "From " prevail          mbox-tree
 *
 * A look at a bounded part of the tree; an operator who knows better names the kind.
 */
#include "vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glib.h>
#include <unistd.h>

#define LOOK_ENTRIES 20000
#define LOOK_DIRS 500
#define LOOK_FILES 200
#define LOOK_DEPTH 8

struct evidence {
    struct vault *v;
    bool dot_maildir, nested_maildir, sequences;
    unsigned numbered, eml, mbox;
    unsigned entries, dirs, files;
};

int vault_is_maildir_at(struct vault *v, struct bytes dir)
{
    static const char *const subs[] = {"cur", "new"};
    char path[VAULT_PATH_BYTES];
    int rc = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(subs); i++) {
        struct stat st;

        if (!vault_os_path(path, dir, bytes_str(subs[i])))
            return 0;
        const int got = vault_os_lstat(v, path, &st);

        if (got == 0 && S_ISDIR(st.st_mode))
            return 1;
        if (got == -EACCES)
            rc = got;
    }
    return rc;
}

int vault_detect_mbox_file(int fd, bool *empty_out)
{
    uint8_t first[5];
    struct stat st;

    *empty_out = false;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    const ssize_t got = vault_os_pread(fd, first, sizeof first, 0);

    if (got < 0)
        return (int)got;
    *empty_out = got == 0;
    return got == 0 || (got == 5 && memcmp(first, "From ", 5) == 0);
}

static void look_at_file(struct evidence *e, struct bytes dir, struct bytes name)
{
    char path[VAULT_PATH_BYTES];
    uint64_t number;
    bool empty = true;

    if (bytes_equal(name, BYTES_LIT(".mh_sequences"))) {
        e->sequences = true;
        return;
    }
    if (name.p[0] == '.')
        return;
    if (fnmatch("*.eml", (const char *)name.p, FNM_CASEFOLD) == 0) {
        e->eml++;
        return;
    }
    if (e->files++ < LOOK_FILES && vault_os_path(path, dir, name)) {
        const int fd = vault_os_open(e->v, path, 0);

        if (fd >= 0) {
            const bool is = vault_detect_mbox_file(fd, &empty) == 1 && !empty;

            (void)close(fd);
            if (is) {
                e->mbox++;
                return;
            }
        }
    }
    e->numbered += vault_mh_number(name, &number);
}

/* `levels`: how far below this directory we still descend. */
static void look_at_dir(struct evidence *e, struct bytes dir, unsigned levels)
{
    char path[VAULT_PATH_BYTES];
    GPtrArray *subs = g_ptr_array_new_with_free_func(g_free);
    struct vault_dir entries;
    enum vault_entry_type type;
    struct bytes name;

    e->dirs++;
    const int fd = vault_os_path(path, dir, (struct bytes){0}) ? vault_os_open(e->v, path, O_DIRECTORY) : -ENAMETOOLONG;

    if (fd >= 0) {
        vault_dir_init(&entries, fd);
        while (e->entries++ < LOOK_ENTRIES && vault_dir_next(&entries, &name, &type) == VAULT_MORE) {
            if (type == VAULT_ENTRY_FILE)
                look_at_file(e, dir, name);
            else if (type == VAULT_ENTRY_DIR && vault_os_path(path, dir, name))
                g_ptr_array_add(subs, g_strdup(path));
        }
        vault_dir_release(&entries);
        (void)close(fd);
    }
    for (guint i = 0; i < subs->len && e->dirs < LOOK_DIRS; i++) {
        const struct bytes sub = bytes_str(g_ptr_array_index(subs, i));
        const char *last = strrchr((const char *)sub.p, '/');
        const char first = last ? last[1] : (char)sub.p[0];

        if (vault_is_maildir_at(e->v, sub) == 1) {
            if (first != '.')
                e->nested_maildir = true;
            else if (dir.n == 0)
                e->dot_maildir = true;
        } else if (first != '.' && levels > 0) {
            look_at_dir(e, sub, levels - 1);
        }
    }
    g_ptr_array_free(subs, TRUE);
}

enum vault_kind vault_detect_dir(struct vault *v)
{
    const bool root_maildir = vault_is_maildir_at(v, (struct bytes){0}) == 1;
    struct evidence e = {.v = v};

    look_at_dir(&e, (struct bytes){0}, root_maildir ? 0 : LOOK_DEPTH);
    if (root_maildir)
        return e.nested_maildir && !e.dot_maildir ? VAULT_KIND_MAILDIR_FS : VAULT_KIND_MAILDIRPP;
    if (e.dot_maildir)
        return VAULT_KIND_MAILDIRPP;
    if (e.nested_maildir)
        return VAULT_KIND_MAILDIR_FS;
    if (e.sequences || (e.numbered && e.numbered >= e.eml && e.numbered >= e.mbox))
        return VAULT_KIND_MH;
    if (e.eml && e.eml >= e.mbox)
        return VAULT_KIND_EML_TREE;
    return e.mbox ? VAULT_KIND_MBOX_TREE : VAULT_KIND_AUTO;
}

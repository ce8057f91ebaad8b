/* mail_tree: see mail_tree.h. */
#include "mail_tree.h"

#include <fts.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int compare_names(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int copy_file(const char *from, const char *to, struct error *err)
{
    char *text = NULL;
    gsize n = 0;
    GError *why = NULL;
    int rc = 0;
    if (!g_file_get_contents(from, &text, &n, &why) ||
        !g_file_set_contents_full(to, text, (gssize)n, G_FILE_SET_CONTENTS_NONE, 0644, &why))
        rc = error_set(err, BASE_ERR_IO, 0, "%s", why->message);
    g_clear_error(&why);
    g_free(text);
    return rc;
}

/* A link of a file that others may not read would be of no use to a peer that runs as nobody. */
static int add_file(const FTSENT *e, const char *to, struct error *err)
{
    if ((e->fts_statp->st_mode & S_IROTH) && link(e->fts_accpath, to) == 0)
        return 0;
    return copy_file(e->fts_accpath, to, err);
}

static int make_folder(const char *maildir, struct error *err)
{
    static const char *const parts[] = {"cur", "new", "tmp"};
    int rc = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(parts) && rc == 0; i++) {
        char *dir = g_build_filename(maildir, parts[i], NULL);
        if (g_mkdir_with_parents(dir, 0755) != 0)
            rc = error_errno(err, "cannot make %s", dir);
        g_free(dir);
    }
    return rc;
}

int mail_tree_make_maildir(const char *tree, size_t most, const char *maildir, struct error *err)
{
    char *paths[] = {g_strdup(tree), NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, compare_names);
    size_t n = 0;
    int rc = walk ? make_folder(maildir, err) : error_errno(err, "cannot list %s", tree);
    for (FTSENT *e; rc == 0 && (most == 0 || n < most) && walk && (e = fts_read(walk));) {
        if (e->fts_info != FTS_F || e->fts_name[0] == '.' || e->fts_statp->st_size == 0)
            continue;
        char *to = g_strdup_printf("%s/cur/%010zu.real:2,S", maildir, 1000000000 + n++);
        rc = add_file(e, to, err);
        g_free(to);
    }
    if (rc == 0 && n == 0)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "%s holds no mail", tree);
    if (walk)
        fts_close(walk);
    g_free(paths[0]);
    return rc;
}

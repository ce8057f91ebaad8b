/*
 * A directory a folder, <UID>.eml with the internal date as the file's time, and flags.txt: UID, flags, keywords and
 * date, which a tree of .eml files has no place for.
 */
#include "export_private.h"

#include <stdio.h>
#include <string.h>

/* A folder's directory cannot have the name of a file that stands beside it. */
static void keep_off_files(char *path)
{
    for (char *level = path; level; level = strchr(level, '/') ? strchr(level, '/') + 1 : NULL) {
        const size_t n = strcspn(level, "/");
        if (n >= 4 && (strncmp(level + n - 4, ".eml", 4) == 0 || (n == 9 && strncmp(level, "flags.txt", 9) == 0)))
            level[n - 4] = '_';
    }
}

static int folder_begin(struct export_out *x, struct bytes full_name, struct error *err)
{
    export_tree_name(&x->scratch, full_name);
    keep_off_files((char *)x->scratch.p);
    x->path = export_path(x, (const char *)x->scratch.p);
    if (g_mkdir_with_parents(x->path, 0700) < 0)
        return error_errno(err, "%s", x->path);
    char *list = g_build_filename(x->path, "flags.txt", NULL);
    x->file = fopen(list, "wxe");
    int rc = x->file ? 0 : error_errno(err, "%s", list);
    g_free(list);
    return rc;
}

static int message(struct export_out *x, const struct export_message *m, struct error *why, struct error *err)
{
    static const char *const names[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded"};
    char *path = g_strdup_printf("%s/%010u.eml", x->path, m->uid);
    int rc = export_file(x, path, m, why, err);
    g_free(path);
    if (rc != 0)
        return rc;
    fprintf(x->file, "%010u\t%lld\t", m->uid, (long long)m->internal_date);
    for (size_t i = 0, n = 0; i < G_N_ELEMENTS(names); i++)
        if (m->flags & 1u << i)
            fprintf(x->file, "%s%s", n++ ? " " : "", names[i]);
    fprintf(x->file, "\t%.*s\n", (int)m->keywords.n, m->keywords.n ? (const char *)m->keywords.p : "");
    return 0;
}

static int folder_end(struct export_out *x, struct error *err)
{
    const bool bad = x->file && ferror(x->file);
    int rc = x->file && (fclose(x->file) != 0 || bad) ? error_errno(err, "%s/flags.txt", x->path) : 0;
    x->file = NULL;
    g_clear_pointer(&x->path, g_free);
    return rc;
}

const struct export_form export_eml = {folder_begin, message, folder_end};

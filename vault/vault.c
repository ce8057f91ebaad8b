/* Opening a vault: where its root is, and which kind it turned out to be. */
#include "vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <unistd.h>

/* The root of a single mbox is its directory, so that a mailbox replaced by rename is found anew at each open. */
static int open_file_root(struct vault *v, char *real, struct error *err)
{
    char *slash = strrchr(real, '/');

    v->file = g_strdup(slash + 1);
    *slash = '\0';
    v->root_fd = open(slash == real ? "/" : real, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int rc = v->root_fd < 0 ? error_errno(err, "%s", real) : BASE_OK;

    *slash = '/';
    return rc;
}

static int check_mbox(struct vault *v, enum vault_kind asked, const char *real, struct error *err)
{
    bool empty;
    const int fd = vault_os_open(v, v->file, 0);
    const int is = fd < 0 ? fd : vault_detect_mbox_file(fd, &empty);

    if (fd >= 0)
        (void)close(fd);
    if (is < 0 && asked == VAULT_KIND_AUTO) {
        errno = -is;
        return error_errno(err, "%s", real);
    }
    if (asked == VAULT_KIND_AUTO && !is)
        return error_set(err, BASE_ERR_FORMAT, 0, "%s: a file that does not begin with a \"From \" line is no mbox", real);
    v->kind = VAULT_KIND_MBOX;
    return BASE_OK;
}

static int check_directory(struct vault *v, const char *real, struct error *err)
{
    if (v->kind == VAULT_KIND_AUTO)
        v->kind = vault_detect_dir(v);
    if (v->kind == VAULT_KIND_AUTO)
        return error_set(err, BASE_ERR_FORMAT, 0,
                         "%s: no kind fits: looked for cur/ or new/ (Maildir), .mh_sequences or numbered files (MH), "
                         "*.eml files, and files that begin with \"From \" (mbox)", real);
    /* A mount point without its mount looks like this; an error keeps the archive as it is. */
    if (v->kind == VAULT_KIND_MAILDIR && vault_is_maildir_at(v, (struct bytes){0}) == 0)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "%s: no Maildir here (no cur/ and no new/; is it mounted?)", real);
    return BASE_OK;
}

int vault_open(const struct vault_spec *spec, struct vault **out, struct error *err)
{
    char *real = realpath(spec->path, NULL);
    struct vault *v = NULL;
    struct stat st;
    int rc = BASE_OK;

    if (!real) {
        if (errno == ENOENT || errno == ENOTDIR)
            return error_set(err, BASE_ERR_NOTFOUND, errno, "%s: no such file or directory (is it mounted?)", spec->path);
        return error_errno(err, "%s", spec->path);
    }
    v = g_new0(struct vault, 1);
    v->root_fd = -1;
    v->kind = spec->kind;
    v->variant = spec->variant;
    v->folder = g_strdup(spec->folder);
    v->match = g_strdup(spec->match ? spec->match : "*.eml");
    if (stat(real, &st) < 0) {
        rc = error_errno(err, "%s", real);
    } else if (S_ISREG(st.st_mode) && (spec->kind == VAULT_KIND_MBOX || spec->kind == VAULT_KIND_AUTO)) {
        rc = open_file_root(v, real, err);
        if (rc == BASE_OK)
            rc = check_mbox(v, spec->kind, real, err);
    } else if (!S_ISDIR(st.st_mode) || spec->kind == VAULT_KIND_MBOX) {
        rc = error_set(err, BASE_ERR_FORMAT, 0, "%s: %s, which %s cannot be", real,
                       S_ISDIR(st.st_mode) ? "a directory" : "no directory", vault_kind_name(spec->kind));
    } else {
        v->root_fd = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
        rc = v->root_fd < 0 ? error_errno(err, "%s", real) : check_directory(v, real, err);
    }
    if (rc == BASE_OK) {
        const char *kind = vault_spec_kind(v->kind, v->variant);

        v->name =
            v->folder ? g_strdup_printf("%s:%s=%s", kind, real, v->folder) : g_strdup_printf("%s:%s", kind, real);
        *out = v;
    } else {
        vault_close(&v);
    }
    free(real);
    return rc;
}

void vault_close(struct vault **vp)
{
    struct vault *v = *vp;

    if (!v)
        return;
    vault_body_spare_free(v);
    if (v->root_fd >= 0)
        (void)close(v->root_fd);
    g_free(v->file);
    g_free(v->name);
    g_free(v->folder);
    g_free(v->match);
    g_free(v);
    *vp = NULL;
}

enum vault_kind vault_kind(const struct vault *v)
{
    return v->kind;
}

const char *vault_name(const struct vault *v)
{
    return v->name;
}

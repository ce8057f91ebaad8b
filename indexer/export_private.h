/* One form of export: export.c reads the archive, export_<kind>.c writes. */
#ifndef EXPORT_PRIVATE_H
#define EXPORT_PRIVATE_H

#include "archive_private.h"

#include <glib.h>

/* Views until the call returns. */
struct export_message {
    uint32_t folder, uid, flags;
    struct bytes keywords; /* names, separated by spaces */
    int64_t internal_date;
    struct vault_body *body;
};

struct export_out {
    const struct indexer_export *e;
    struct indexer_exported *report;
    GHashTable *taken; /* paths given, so that no two folders share one */
    uint8_t *chunk;    /* EXPORT_CHUNK bytes, scratch of the forms */

    /* the folder at hand; released by folder_end */
    char *path;        /* its directory or file */
    FILE *file;        /* mbox, and eml's flags.txt */
    char *keyword[26]; /* maildir: letters */
    unsigned keywords_n;
    int64_t last_time; /* maildir: names go up */
    struct buf scratch;
};
#define EXPORT_CHUNK ((size_t)256 << 10)

/* Each returns 0 or an error of the destination, which ends the export. message: 1 if the item cannot be read (reason
 * in *why); nothing is left of it then. */
struct export_form {
    int (*folder_begin)(struct export_out *x, struct bytes full_name, struct error *err);
    int (*message)(struct export_out *x, const struct export_message *m, struct error *why, struct error *err);
    int (*folder_end)(struct export_out *x, struct error *err);
};
extern const struct export_form export_maildir, export_mbox, export_eml;

/* A new path below e->to for `relative`, "~2" and so on behind it if it is taken. Owned by the caller: g_free. */
char *export_path(struct export_out *x, const char *relative);
/* A level as a file name: no leading dot, no '/', at most 200 bytes. Appended. */
void export_level(struct buf *out, struct bytes level);
/* Body to a new file with that time. 1: item unreadable, the file is removed. */
int export_file(struct export_out *x, const char *path, const struct export_message *m, struct error *why,
                struct error *err);
/* "A/B" to "A/B" of file names; a NUL ends it. INBOX alone gives "". */
void export_tree_name(struct buf *out, struct bytes full_name);

#endif

/*
 * mds backup and mds restore: an archive copied while it is in use, and brought back.
 */
#include "cli.h"
#include "progress.h"

#include "indexer/archive.h"

#include <inttypes.h>
#include <stdio.h>

struct options {
    char *store, *archive, *dir;
    gboolean replace;
};

static void options_release(struct options *o)
{
    g_free(o->store);
    g_free(o->archive);
    g_free(o->dir);
}

static int check(const struct options *o, int argc, char **argv, const char *dir_option)
{
    if (argc > 1)
        return cli_usage("'%s' is not expected", argv[1]);
    if (!o->store || !o->archive || !o->dir)
        return cli_usage("--store DIR, --archive NAME and %s DIR are needed", dir_option);
    return -1;
}

static int finish(const struct options *o, const char *done, int rc, const struct indexer_copied *r,
                  const struct error *err)
{
    char messages[32];
    if (rc < 0)
        return cli_fail(err);
    printf("%s: %s messages %s, %.1f MB\n", o->archive, progress_number(r->messages, messages), done,
           (double)r->bytes / 1e6);
    if (r->former_lost)
        cli_note("%s: what was there does not open: nobody knows which UIDs it gave, so all folders have a new "
                 "UIDVALIDITY and "
                 "clients fetch them anew",
                 o->archive);
    else if (r->renumbered)
        cli_note("%s: %" PRIu64
                 " folders are not those that were there: they have a new UIDVALIDITY, and clients fetch them anew",
                 o->archive, r->renumbered);
    return CLI_DONE;
}

int cmd_backup(int argc, char **argv)
{
    struct options o = {0};
    struct indexer_copied copied;
    struct error err = {0};
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &o.store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &o.archive, "the archive", "NAME"},
        {"to", 't', 0, G_OPTION_ARG_FILENAME, &o.dir, "where the copy goes; made, or empty", "DIR"},
        G_OPTION_ENTRY_NULL,
    };
    int status = cli_options(&argc, &argv, entries, "",
                             "Copies an archive as it is at this moment, while others use it: metadata and own vault.",
                             "A vault that is read in place is not copied. The manifest with its checksums comes\n"
                             "last: a directory without it is no backup.\n");
    if (status < 0)
        status = check(&o, argc, argv, "--to");
    if (status < 0) {
        const struct indexer_archive a = {o.store, o.archive, cli_cancel_on_signals()};
        int rc = indexer_backup(&a, o.dir, &copied, &err);
        status = finish(&o, "backed up", rc, &copied, &err);
    }
    options_release(&o);
    return status;
}

int cmd_restore(int argc, char **argv)
{
    struct options o = {0};
    struct indexer_copied copied;
    struct error err = {0};
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &o.store, "the store's directory, made if missing", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &o.archive, "the archive that it becomes", "NAME"},
        {"from", 'f', 0, G_OPTION_ARG_FILENAME, &o.dir, "the backup", "DIR"},
        {"replace", 0, 0, G_OPTION_ARG_NONE, &o.replace, "take the place of an archive that is there", NULL},
        G_OPTION_ENTRY_NULL,
    };
    int status = cli_options(
        &argc, &argv, entries, "", "Makes an archive of a backup: UIDs, flags and everything else as they were.",
        "With --replace stop servers of the store first: they would go on with the old one.\n"
        "No UID is given again: folders go on above what clients know, or get a new UIDVALIDITY.\n");
    if (status < 0)
        status = check(&o, argc, argv, "--from");
    if (status < 0) {
        const struct indexer_archive a = {o.store, o.archive, cli_cancel_on_signals()};
        int rc = indexer_restore_backup(&a, o.dir, o.replace, &copied, &err);
        status = finish(&o, "restored", rc, &copied, &err);
    }
    options_release(&o);
    return status;
}

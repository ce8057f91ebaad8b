/*
 * mds undelete: brings back what people expunged.
 */
#include "cli.h"
#include "times.h"

#include "indexer/archive.h"

#include <inttypes.h>
#include <stdio.h>

static void print_kept(const struct indexer_kept *k, void *arg)
{
    char removed[32], date[32];
    char *folder = g_utf8_make_valid(k->folder, -1);
    (void)arg;
    printf("%s\t%u\t%s\t%s\t%" PRIu64 "\n", folder, k->uid, times_text(k->removed_at, removed),
           times_text(k->internal_date, date), k->size);
    g_free(folder);
}

int cmd_undelete(int argc, char **argv)
{
    char *store = NULL, *archive = NULL, *folder = NULL, *since = NULL;
    gboolean list = FALSE;
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"folder", 0, 0, G_OPTION_ARG_STRING, &folder, "only what was expunged from this folder", "NAME"},
        {"since", 0, 0, G_OPTION_ARG_STRING, &since, "only what was expunged at or after this time", "TIME"},
        {"list", 'l', 0, G_OPTION_ARG_NONE, &list, "only show: folder, UID, expunged at, date, bytes", NULL},
        G_OPTION_ENTRY_NULL,
    };
    struct indexer_undelete u = {.kept = print_kept};
    struct error err = {0};
    uint64_t count = 0;
    int status = cli_options(&argc, &argv, entries, "", "Brings back messages that were expunged and are still kept.",
                             "TIME: 2026-01-31, 2026-01-31T12:00, or how long ago: 90m, 12h, 7d, 2w.\n"
                             "They come back to their folder under new UIDs, without \\Deleted. What is kept, and\n"
                             "for how long, is up to mds compact.\n");
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0 && since && !times_parse(since, &u.since))
        status = cli_usage("--since '%s' is no time; see mds undelete --help", since);
    if (status < 0) {
        u.at = (struct indexer_archive){store, archive, cli_cancel_on_signals()};
        u.folder = folder;
        u.list = list;
        u.kept = list ? print_kept : NULL;
        status = indexer_undelete(&u, &count, &err) < 0 ? cli_fail(&err) : count ? CLI_DONE : CLI_SOME_FAILED;
        if (!list && (status == CLI_DONE || count))
            printf("%s: %" PRIu64 " messages brought back\n", archive, count);
        else if (status == CLI_SOME_FAILED)
            cli_note("%s: nothing is kept that fits", archive);
    }
    g_free(store);
    g_free(archive);
    g_free(folder);
    g_free(since);
    return status;
}

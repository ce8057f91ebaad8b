/*
 * mds compact: lets go for good of what was expunged long ago, and frees its space.
 */
#include "cli.h"

#include "indexer/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define GRACE_DAYS 30

static int compact(const struct indexer_compact *c)
{
    struct indexer_compacted r;
    struct error err = {0};
    const char *name = c->at.archive;
    int rc = indexer_compact(c, &r, &err);
    printf("%s: %" PRIu64 " expunged messages let go, %" PRIu64 " items\n", name, r.purged, r.items_gone);
    if (rc == 0)
        printf("%s: own vault: %" PRIu64 " segments, %" PRIu64 " rewritten, %" PRIu64 " removed, %.1f MB -> %.1f MB\n",
               name, r.segments, r.rewritten, r.removed, (double)r.bytes_before / 1e6, (double)r.bytes_after / 1e6);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

int cmd_compact(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    gint grace = GRACE_DAYS, dead = 0;
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"grace", 0, 0, G_OPTION_ARG_INT, &grace, "days that expunged messages are kept (default 30)", "DAYS"},
        {"dead", 0, 0, G_OPTION_ARG_INT, &dead, "rewrite segments of which more than this is of no use (default 50)",
         "PERCENT"},
        G_OPTION_ENTRY_NULL,
    };
    int status = cli_options(&argc, &argv, entries, "",
                             "Lets go of messages that were expunged long ago and frees the space of the own vault.",
                             "Servers and builds go on meanwhile. After it mds undelete cannot bring those messages\n"
                             "back. A vault that is read in place is never changed.\n");
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0 && (grace < 0 || grace > 36500))
        status = cli_usage("--grace is a number of days");
    if (status < 0 && (dead < 0 || dead > 99))
        status = cli_usage("--dead is 1 to 99 per cent");
    if (status < 0) {
        const struct indexer_compact c = {
            .at = {store, archive, cli_cancel_on_signals()},
            .before = grace ? (int64_t)time(NULL) - (int64_t)grace * 86400 : INT64_MAX,
            .dead_part = (unsigned)dead,
        };
        status = compact(&c);
    }
    g_free(store);
    g_free(archive);
    return status;
}

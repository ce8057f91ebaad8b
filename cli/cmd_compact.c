/*
 * mds compact: lets go for good of what was expunged long ago, and frees its space.
 */
#include "cli.h"
#include "operator.h"

#include "indexer/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DAY_S     86400
#define NOT_GIVEN G_MININT

/* What is gone for good must be gone from the content index too. */
static int forget_texts(const struct indexer_compact *c, const struct operator *op)
{
    struct error err = {0};
    const int rc = indexer_index_forget(&c->at, op->conf ? op->conf->search.trace_fields : NULL, &err);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

static int compact(const struct indexer_compact *c, const struct operator *op)
{
    struct indexer_compacted r;
    struct error err = {0};
    const char *name = c->at.archive;
    operator_audit(op, "audit: compact", name, NULL, 0);
    int rc = indexer_compact(c, &r, &err);
    const struct event_field done[] = {EVENT_NUMBER("count", r.purged), EVENT_NUMBER("items", r.items_gone), EVENT_TEXT("result", rc < 0 ? "failed" : "ok")};
    operator_audit(op, "audit: compacted", name, done, G_N_ELEMENTS(done));
    printf("%s: %" PRIu64 " expunged messages let go, %" PRIu64 " items\n", name, r.purged, r.items_gone);
    if (rc == 0)
        printf("%s: own vault: %" PRIu64 " segments, %" PRIu64 " rewritten, %" PRIu64 " removed, %.1f MB -> %.1f MB\n",
               name, r.segments, r.rewritten, r.removed, (double)r.bytes_before / 1e6, (double)r.bytes_after / 1e6);
    if (rc < 0)
        return cli_fail(&err);
    return r.items_gone ? forget_texts(c, op) : CLI_DONE;
}

/* Seconds that expunged messages are kept: as the command line says, else the configuration, else its default. */
static int64_t grace_of(gint days, const struct operator *op)
{
    struct conf *defaults = op->conf ? NULL : conf_new();
    const int64_t said = (int64_t)(op->conf ? op->conf : defaults)->store.grace;
    conf_free(&defaults);
    return days != NOT_GIVEN ? (int64_t)days * DAY_S : said;
}

int cmd_compact(int argc, char **argv)
{
    char *config = NULL, *store = NULL, *archive = NULL;
    gint grace = NOT_GIVEN, dead = 0;
    struct operator op = {0};
    struct error err = {0};
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "the server's, for its store, grace and audit log, see mds.conf(5)", "FILE"},
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"grace", 0, 0, G_OPTION_ARG_INT, &grace, "days that expunged messages are kept (default: as configured, or 30)", "DAYS"},
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
    if (status < 0 && grace != NOT_GIVEN && (grace < 0 || grace > 36500))
        status = cli_usage("--grace is a number of days");
    if (status < 0 && operator_begin(config, &store, &op, &err) < 0)
        status = cli_fail(&err);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0 && (dead < 0 || dead > 99))
        status = cli_usage("--dead is 1 to 99 per cent");
    if (status < 0) {
        const int64_t kept = grace_of(grace, &op);
        const struct indexer_compact c = {
            .at = {store, archive, cli_cancel_on_signals()},
            .before = kept ? (int64_t)time(NULL) - kept : INT64_MAX,
            .dead_part = (unsigned)dead,
        };
        status = compact(&c, &op);
    }
    operator_end(&op);
    g_free(config);
    g_free(store);
    g_free(archive);
    return status;
}

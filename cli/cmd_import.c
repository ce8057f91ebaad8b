/*
 * mds import: copies existing stores into the archive's own vault.
 */
#include "cli.h"
#include "headers.h"
#include "manifest.h"
#include "progress.h"
#include "report.h"

#include "base/log.h"

#include <stdio.h>

struct options {
    char *store, *archive, *progress, *headers, *match;
    char **from;
    gint jobs, batch;
    gdouble max_rate;
    gboolean json, idle, full;
};

static const char description[] = "KIND:PATH[=FOLDER]: auto, maildir, maildir++, maildir-fs, mbox (mboxo, mboxrd,\n"
                                  "mboxcl, mboxcl2), mbox-tree (mboxo-tree, mboxrd-tree, ...), eml-tree, mh. It is only\n"
                                  "ever read, and not needed any more afterwards.\n"
                                  "\n"
                                  "Run it again at any time: what is new is added; what is gone from the source\n"
                                  "stays, and what somebody expunged from the archive is not brought back. An\n"
                                  "interrupted import goes on where it stopped.\n"
                                  "\n"
                                  "Exit status: 0 done; 1 done, but items could not be read; 2 usage;\n"
                                  "3 environment, or interrupted.\n";

static int check(const struct options *o, int argc, char **argv)
{
    if (argc > 1)
        return cli_usage("'%s' is not expected; sources are named with --from", argv[1]);
    if (!o->store || !o->archive)
        return cli_usage("--store DIR and --archive NAME are needed");
    if (!o->from)
        return cli_usage("--from KIND:PATH is missing");
    if (o->jobs < 0 || o->jobs > 256)
        return cli_usage("--jobs is 0 (one a core) to 256");
    if (o->batch < 0 || o->max_rate < 0)
        return cli_usage("numbers cannot be negative");
    return -1;
}

static void log_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    progress_end(arg);
    cli_note("%s", line);
}

static int import(const struct indexer_build *build, bool json, struct progress *progress)
{
    struct indexer_report report;
    struct error err = {0};
    log_set_sink(log_line, progress, LOG_LEVEL_INFO);
    int rc = indexer_build(build, &report, &err);
    progress_end(progress);
    if (json) {
        json_t *o = report_json(build->archive, &report, rc, &err);
        json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(o);
    } else if (rc == 0 || report.messages_added) {
        report_print(build->archive, &report);
    }
    if (rc < 0)
        cli_note("%s", err.text);
    return report_status(&report, rc, &err);
}

int cmd_import(int argc, char **argv)
{
    struct options o = {0};
    struct manifest manifest = {0};
    struct progress progress = {0};
    char **names = NULL;
    struct error err = {0};
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &o.store, "the store's directory, made if missing", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &o.archive, "the archive, made if missing", "NAME"},
        {"from", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &o.from, "what to copy; may be given many times",
         "KIND:PATH[=FOLDER]"},
        {"match", 0, 0, G_OPTION_ARG_STRING, &o.match, "files of an eml-tree (default *.eml)", "GLOB"},
        {"full", 0, 0, G_OPTION_ARG_NONE, &o.full, "look at every item again, in folders without changes too", NULL},
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &o.jobs, "parse workers (default: one a core)", "N"},
        {"headers", 0, 0, G_OPTION_ARG_STRING, &o.headers,
         "header fields to keep: default, all, or a list with commas (new archives only)", "LIST"},
        {"max-rate", 0, 0, G_OPTION_ARG_DOUBLE, &o.max_rate, "at most so many items a second", "N"},
        {"idle", 0, 0, G_OPTION_ARG_NONE, &o.idle, "idle I/O priority: others go first", NULL},
        {"progress", 0, 0, G_OPTION_ARG_STRING, &o.progress, "auto, plain, json or none", "MODE"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "the report as JSON", NULL},
        {"batch", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &o.batch, "messages a transaction", "N"},
        G_OPTION_ENTRY_NULL,
    };
    int status = cli_options(&argc, &argv, entries, "", "Copies existing stores of mail into an archive's own vault.",
                             description);
    if (status < 0)
        status = check(&o, argc, argv);
    if (status < 0 && !progress_parse(o.progress, &progress.mode))
        status = cli_usage("--progress is auto, plain, json or none");
    struct indexer_build build = {
        .store_dir = o.store,
        .archive = o.archive,
        .import = true,
        .jobs = (unsigned)o.jobs,
        .batch_items = (uint32_t)o.batch,
        .full = o.full,
        .max_rate = o.max_rate,
        .io_idle = o.idle,
        .progress = progress.mode == PROGRESS_NONE ? NULL : progress_show,
        .progress_arg = &progress,
    };
    if (status < 0)
        status = headers_parse(o.headers, &names, &build.mime);
    if (status < 0 && manifest_from(o.archive, o.from, &manifest, &err) < 0)
        status = cli_fail(&err);
    if (status < 0) {
        manifest_set_match(&manifest, o.match);
        build.cancel = cli_cancel_on_signals();
        build.sources = manifest.archives[0].sources;
        build.sources_n = manifest.archives[0].sources_n;
        status = import(&build, o.json, &progress);
    }
    manifest_release(&manifest);
    g_strfreev(names);
    g_free(o.store);
    g_free(o.archive);
    g_free(o.progress);
    g_free(o.headers);
    g_free(o.match);
    g_strfreev(o.from);
    return status;
}

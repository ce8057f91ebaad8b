/*
 * mds rebuild: an archive's store made anew from its vaults; UIDs and flags stay.
 */
#include "cli.h"
#include "headers.h"
#include "manifest.h"
#include "progress.h"
#include "report.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void log_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    progress_end(arg);
    cli_note("%s", line);
}

static int rebuild(struct indexer_build *build, gboolean json, struct progress *progress)
{
    struct indexer_report report;
    struct error err = {0};
    log_set_sink(log_line, progress, LOG_LEVEL_INFO);
    build->cancel = cli_cancel_on_signals();
    int rc = indexer_rebuild(build, &report, &err);
    progress_end(progress);
    if (json) {
        json_t *o = report_json(build->archive, &report, rc, &err);
        json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(o);
    } else if (rc == 0) {
        report_print(build->archive, &report);
    }
    if (rc < 0)
        cli_note("%s", err.text);
    else if (build->recover)
        cli_note("%s: the mail of its own vault is in the folder Recovered, expunged mail too; folders, flags and UIDs are lost, all "
                 "UIDVALIDITYs are new. A data.mdb that did not open, or could not be read, is kept as data.mdb.lost",
                 build->archive);
    return report_status(&report, rc, &err);
}

int cmd_rebuild(int argc, char **argv)
{
    char *store = NULL, *archive = NULL, *mode = NULL, *headers = NULL;
    char **from = NULL, **names = NULL;
    gint jobs = 0;
    gboolean json = FALSE, allow_removals = FALSE, recover = FALSE;
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"from", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &from, "vaults, instead of those it was built from", "KIND:PATH[=FOLDER]"},
        {"headers", 0, 0, G_OPTION_ARG_STRING, &headers, "header fields to keep: default, all, or a list with commas", "LIST"},
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &jobs, "parse workers (default: one a core)", "N"},
        {"allow-removals", 0, 0, G_OPTION_ARG_NONE, &allow_removals, "go on if a vault is gone: its messages are left out", NULL},
        {"recover", 0, 0, G_OPTION_ARG_NONE, &recover, "data.mdb is lost or cannot be read: file all mail of the own vault in a folder Recovered", NULL},
        {"progress", 0, 0, G_OPTION_ARG_STRING, &mode, "auto, plain, json or none", "MODE"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "the report as JSON", NULL},
        G_OPTION_ENTRY_NULL,
    };
    struct progress progress = {0};
    struct manifest manifest = {0};
    struct error err = {0};
    int status = cli_options(&argc, &argv, entries, "",
                             "Makes an archive's store anew from its vaults, beside the old one, and puts it in place.",
                             "UIDs, UIDVALIDITY, flags, keywords and save dates of what is found again are kept.\n"
                             "Stop servers of the store first: they would go on with the old one.\n");
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0 && (jobs < 0 || jobs > 256))
        status = cli_usage("--jobs is 0 (one a core) to 256");
    if (status < 0 && !progress_parse(mode, &progress.mode))
        status = cli_usage("--progress is auto, plain, json or none");
    struct indexer_build build = {
        .store_dir = store,
        .archive = archive,
        .jobs = (unsigned)jobs,
        .recover = recover,
        .allow_removals = allow_removals,
        .progress = progress.mode == PROGRESS_NONE ? NULL : progress_show,
        .progress_arg = &progress,
    };
    if (status < 0)
        status = headers_parse(headers, &names, &build.mime);
    if (status < 0 && from && manifest_from(archive, from, &manifest, &err) < 0)
        status = cli_fail(&err);
    if (status < 0) {
        build.sources = manifest.n ? manifest.archives[0].sources : NULL;
        build.sources_n = manifest.n ? manifest.archives[0].sources_n : 0;
        status = rebuild(&build, json, &progress);
    }
    manifest_release(&manifest);
    g_strfreev(names);
    g_strfreev(from);
    g_free(store);
    g_free(archive);
    g_free(mode);
    g_free(headers);
    return status;
}

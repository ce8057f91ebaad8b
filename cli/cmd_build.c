/*
 * mds build: one archive from --from, or many from a manifest.
 */
#include "cli.h"
#include "headers.h"
#include "manifest.h"
#include "progress.h"
#include "report.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct options {
    char *store, *archive, *manifest, *progress, *headers, *match, *parser;
    char **from;
    gint jobs, batch;
    gint item_ms;
    gdouble max_rate;
    gboolean json, full, allow_removals, idle;
};

static const char description[] =
    "KIND:PATH[=FOLDER]: auto, maildir, maildir++, maildir-fs, mbox (mboxo, mboxrd,\n"
    "mboxcl, mboxcl2), mbox-tree (mboxo-tree, mboxrd-tree, ...), eml-tree, mh. The vault is\n"
    "only ever read.\n"
    "\n"
    "Run it again at any time: what is new is added, what is gone from the vault is\n"
    "expunged, and UIDs stay. An interrupted build goes on where it stopped.\n"
    "\n"
    "A manifest has lines ARCHIVE<TAB>KIND:PATH[=FOLDER]; lines of the same archive\n"
    "are its sources, # begins a comment. One pool of workers builds them all, in\n"
    "the order of first mention; one that fails does not stop the others. The report\n"
    "is a line an archive and a total; the exit status is the worst.\n"
    "\n"
    "Exit status: 0 done; 1 done, but items could not be read or removals were\n"
    "refused; 2 usage; 3 environment, or interrupted.\n";

static GOptionEntry *entries_for(struct options *o)
{
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &o->store, "the store's directory, made if missing", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &o->archive, "the archive, made if missing", "NAME"},
        {"from", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &o->from, "a vault; may be given many times", "KIND:PATH[=FOLDER]"},
        {"manifest", 0, 0, G_OPTION_ARG_FILENAME, &o->manifest, "many archives instead, from a file (- is standard input)", "FILE"},
        {"match", 0, 0, G_OPTION_ARG_STRING, &o->match, "files of an eml-tree (default *.eml)", "GLOB"},
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &o->jobs, "parse workers (default: one a core)", "N"},
        {"full", 0, 0, G_OPTION_ARG_NONE, &o->full, "read every item again: finds edits in place", NULL},
        {"allow-removals", 0, 0, G_OPTION_ARG_NONE, &o->allow_removals,
         "accept that a source is gone, or lacks more than a tenth of its items", NULL},
        {"headers", 0, 0, G_OPTION_ARG_STRING, &o->headers,
         "header fields to keep: default, all, or a list with commas (first build only)", "LIST"},
        {"parser", 0, 0, G_OPTION_ARG_STRING, &o->parser, "scan (default) or gmime: slower, same records", "NAME"},
        {"max-rate", 0, 0, G_OPTION_ARG_DOUBLE, &o->max_rate, "at most so many items a second", "N"},
        {"idle", 0, 0, G_OPTION_ARG_NONE, &o->idle, "idle I/O priority: others go first", NULL},
        {"progress", 0, 0, G_OPTION_ARG_STRING, &o->progress, "auto, plain, json or none", "MODE"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o->json, "the report as JSON, one line an archive (and a total)", NULL},
        {"batch", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &o->batch, "messages a transaction", "N"},
        {"item-ms", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &o->item_ms, "time a parser may take", "MS"},
        G_OPTION_ENTRY_NULL,
    };
    return g_memdup2(entries, sizeof entries);
}

static void options_release(struct options *o)
{
    g_free(o->store);
    g_free(o->archive);
    g_free(o->manifest);
    g_free(o->progress);
    g_free(o->headers);
    g_free(o->match);
    g_free(o->parser);
    g_strfreev(o->from);
}

static int check(const struct options *o, int argc, char **argv)
{
    if (argc > 1)
        return cli_usage("'%s' is not expected; vaults are named with --from", argv[1]);
    if (!o->store)
        return cli_usage("--store DIR is missing");
    if (o->manifest && (o->archive || o->from))
        return cli_usage("--manifest takes the place of --archive and --from");
    if (!o->manifest && !o->archive)
        return cli_usage("--archive NAME is missing");
    if (!o->manifest && !o->from)
        return cli_usage("--from KIND:PATH is missing");
    if (o->parser && strcmp(o->parser, "scan") != 0 && strcmp(o->parser, "gmime") != 0)
        return cli_usage("--parser is scan or gmime");
    if (o->jobs < 0 || o->jobs > 256)
        return cli_usage("--jobs is 0 (one a core) to 256");
    if (o->batch < 0 || o->max_rate < 0 || o->item_ms < 0)
        return cli_usage("numbers cannot be negative");
    return -1;
}

static void print_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    fflush(stdout);
    json_decref(json);
}

static int build_one(const struct indexer_build *build, const struct options *o, struct progress *progress)
{
    struct indexer_report report;
    struct error err = {0};
    int rc = indexer_build(build, &report, &err);
    progress_end(progress);
    if (o->json)
        print_json(report_json(build->archive, &report, rc, &err));
    else if (rc == 0 || report.messages_added)
        report_print(build->archive, &report);
    if (rc < 0)
        cli_note("%s", err.text);
    return report_status(&report, rc, &err);
}

struct batch {
    const struct options *options;
    struct progress *progress;
    struct report_sum sum;
};

static void built(const struct indexer_build *build, const struct indexer_report *report, int rc, const struct error *err,
                  void *arg)
{
    struct batch *b = arg;
    progress_end(b->progress);
    report_add(&b->sum, report, rc, err);
    if (b->options->json)
        print_json(report_json(build->archive, report, rc, err));
    else if (rc == 0 || report->messages_added)
        report_print_line(build->archive, report);
    if (rc < 0 && rc != BASE_ERR_CANCELLED)
        cli_note("%s", err->text);
}

/* A manifest: one run, one report. */
static int build_many(const struct manifest *m, const struct indexer_build *common, const struct options *o,
                      struct progress *progress)
{
    struct batch b = {.options = o, .progress = progress};
    struct indexer_build *builds = g_new(struct indexer_build, m->n);
    struct indexer_total total;
    struct error err = {0};
    for (size_t i = 0; i < m->n; i++) {
        builds[i] = *common;
        builds[i].archive = m->archives[i].name;
        builds[i].sources = m->archives[i].sources;
        builds[i].sources_n = m->archives[i].sources_n;
    }
    int rc = indexer_build_many(builds, m->n, built, &b, &total, &err);
    progress_end(progress);
    if (rc < 0)
        b.sum.status = CLI_ENVIRONMENT;
    if (o->json)
        print_json(report_json_total(&b.sum, &total, rc, &err));
    else
        report_print_total(&b.sum, &total);
    if (rc < 0)
        cli_note("%s (%" PRIu64 " of %" PRIu64 " archives are done)", err.text, total.finished, total.archives);
    g_free(builds);
    return b.sum.status;
}

static void log_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    progress_end(arg);
    cli_note("%s", line);
}

int cmd_build(int argc, char **argv)
{
    struct options o = {0};
    struct manifest manifest = {0};
    struct progress progress = {0};
    char **headers = NULL;
    struct error err = {0};
    GOptionEntry *entries = entries_for(&o);
    int status = cli_options(&argc, &argv, entries, "", "Makes vaults browsable: indexes them into an archive of a store.",
                             description);
    g_free(entries);
    if (status < 0)
        status = check(&o, argc, argv);
    if (status < 0 && !progress_parse(o.progress, &progress.mode))
        status = cli_usage("--progress is auto, plain, json or none");
    struct indexer_build build = {
        .store_dir = o.store,
        .jobs = (unsigned)o.jobs,
        .batch_items = (uint32_t)o.batch,
        .item_ms = (uint32_t)o.item_ms,
        .full = o.full,
        .allow_removals = o.allow_removals,
        .max_rate = o.max_rate,
        .io_idle = o.idle,
        .progress = progress.mode == PROGRESS_NONE ? NULL : progress_show,
        .progress_arg = &progress,
        .mime.parser = o.parser && strcmp(o.parser, "gmime") == 0 ? MIME_PARSER_GMIME : MIME_PARSER_SCAN,
    };
    if (status < 0)
        status = headers_parse(o.headers, &headers, &build.mime);
    if (status < 0 && (o.manifest ? manifest_read(o.manifest, &manifest, &err)
                                  : manifest_from(o.archive, o.from, &manifest, &err)) < 0)
        status = cli_fail(&err);
    if (status < 0) {
        manifest_set_match(&manifest, o.match);
        build.cancel = cli_cancel_on_signals();
        log_set_sink(log_line, &progress, LOG_LEVEL_INFO);
        if (o.manifest) {
            status = build_many(&manifest, &build, &o, &progress);
        } else {
            build.archive = manifest.archives[0].name;
            build.sources = manifest.archives[0].sources;
            build.sources_n = manifest.archives[0].sources_n;
            status = build_one(&build, &o, &progress);
        }
    }
    manifest_release(&manifest);
    g_strfreev(headers);
    options_release(&o);
    return status;
}

/*
 * mds verify: is the store sound; with --items, does it say what the vault says?
 */
#include "cli.h"
#include "operator.h"
#include "progress.h"

#include "indexer/index.h"

#include <inttypes.h>
#include <stdio.h>

struct verify_output {
    struct progress progress;
};

static void print_finding(const char *text, void *arg)
{
    struct verify_output *o = arg;
    progress_end(&o->progress);
    printf("%s\n", text);
    fflush(stdout);
}

struct text_options {
    gboolean text;
    gint64 sample;
    char *trace;
};

/* The content index against the items. */
static int verify_text(const char *store, const char *archive, const struct text_options *o, struct verify_output *output)
{
    struct error err = {0};
    struct indexer_index_verified done;
    const struct indexer_index_verify verify = {
        .at = {.store_dir = store, .archive = archive, .cancel = cli_cancel_on_signals()},
        .trace_fields = o->trace,
        .sample = (uint64_t)o->sample,
        .finding = print_finding,
        .arg = output,
        .progress = output->progress.mode == PROGRESS_NONE ? NULL : progress_show,
        .progress_arg = &output->progress,
    };
    const int found = indexer_index_verify(&verify, &done, &err);
    progress_end(&output->progress);
    if (found < 0)
        return cli_fail(&err);
    if (found > 0)
        cli_note("%d findings; mds index --rebuild makes the content index anew", found);
    else
        printf("%s: the content index is sound: %" PRIu64 " items compared, %" PRIu64 " cannot be read, %" PRIu64 " not indexed\n", archive,
               done.items - done.unreadable, done.unreadable, done.unindexed);
    return found > 0 ? CLI_SOME_FAILED : CLI_DONE;
}

int cmd_verify(int argc, char **argv)
{
    char *config = NULL, *store = NULL, *archive = NULL, *mode = NULL;
    gboolean items = FALSE;
    gint jobs = 0;
    struct text_options text = {0};
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "the server's, for its store and trace-fields, see mds.conf(5)", "FILE"},
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"items", 'i', 0, G_OPTION_ARG_NONE, &items, "read every item again and compare hash and record", NULL},
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &jobs, "parse workers (default: one a core)", "N"},
        {"text", 't', 0, G_OPTION_ARG_NONE, &text.text, "compare the content index with the texts of the items, instead", NULL},
        {"sample", 0, 0, G_OPTION_ARG_INT64, &text.sample, "of so many items, spread over the archive (default: all)", "N"},
        {"trace-fields", 0, 0, G_OPTION_ARG_STRING, &text.trace, "the list that it was made with, if not the default", "LIST"},
        {"progress", 0, 0, G_OPTION_ARG_STRING, &mode, "auto, plain, json or none", "MODE"},
        G_OPTION_ENTRY_NULL,
    };
    struct verify_output output = {0};
    struct error err = {0};
    int status = cli_options(&argc, &argv, entries, "",
                             "Checks an archive's store: checksums, counters, sets, orphans; with --items the vault too.",
                             "Prints one line a finding. Exit status: 0 sound, 1 findings, 2 usage, 3 environment.\n");
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && operator_search(config, &store, &text.trace, NULL, &err) < 0)
        status = cli_fail(&err);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0 && (jobs < 0 || jobs > 256))
        status = cli_usage("--jobs is 0 (one a core) to 256");
    if (status < 0 && (text.sample < 0 || (text.sample && !text.text)))
        status = cli_usage("--sample is a number of items for --text");
    if (status < 0 && !progress_parse(mode, &output.progress.mode))
        status = cli_usage("--progress is auto, plain, json or none");
    if (status < 0 && text.text)
        status = verify_text(store, archive, &text, &output);
    if (status < 0) {
        struct indexer_verify verify = {
            .store_dir = store,
            .archive = archive,
            .items = items,
            .jobs = (unsigned)jobs,
            .finding = print_finding,
            .arg = &output,
            .cancel = cli_cancel_on_signals(),
            .progress = output.progress.mode == PROGRESS_NONE ? NULL : progress_show,
            .progress_arg = &output.progress,
        };
        int found = indexer_verify(&verify, &err);
        progress_end(&output.progress);
        if (found < 0)
            status = cli_fail(&err);
        else if (found > 0)
            status = CLI_SOME_FAILED;
        else
            status = CLI_DONE;
        if (found > 0)
            cli_note("%d findings; what cannot be read again can be made anew with mds rebuild", found);
        else if (found == 0)
            printf("%s: sound\n", archive);
    }
    g_free(config);
    g_free(store);
    g_free(archive);
    g_free(mode);
    g_free(text.trace);
    return status;
}

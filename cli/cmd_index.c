/*
 * mds index: the content index of an archive, and (--watch, for mds serve) of all archives as they change.
 */
#include "cli.h"
#include "operator.h"
#include "progress.h"

#include "indexer/index.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct options {
    char *config, *store, *archive, *trace, *progress;
    gint jobs, memory_mb, watch, poll_ms;
    gdouble max_rate;
    gboolean text, rebuild, merge, idle, json;
};

static const char description[] =
    "Without it SEARCH reads every message that a text key must look at. The answers are the\n"
    "same, with an index, without one, and while it is made. `mds serve` keeps the indexes of\n"
    "its archives up to date by itself, unless its configuration says otherwise.\n"
    "\n"
    "What is indexed stays; an interrupted run goes on where it stopped. It lies in the archive's\n"
    "directory, in text/, and holds nothing that cannot be made again.\n"
    "\n"
    "Exit status: 0 done; 1 done, but items could not be read (SEARCH goes on to look at\n"
    "them itself); 2 usage; 3 environment, or interrupted.\n";

static GOptionEntry *entries_for(struct options *o)
{
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &o->config,
         "the server's, for its store and trace-fields, see mds.conf(5)", "FILE"},
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &o->store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &o->archive, "the archive", "NAME"},
        {"text", 't', 0, G_OPTION_ARG_NONE, &o->text, "the content index: the only one there is", NULL},
        {"rebuild", 0, 0, G_OPTION_ARG_NONE, &o->rebuild, "forget what is indexed and begin anew", NULL},
        {"merge", 0, 0, G_OPTION_ARG_NONE, &o->merge, "merge it to one segment: the smallest and fastest", NULL},
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &o->jobs, "threads (default: one a core)", "N"},
        {"memory", 0, 0, G_OPTION_ARG_INT, &o->memory_mb, "for what is not written yet, in MiB (default 256)", "N"},
        {"max-rate", 0, 0, G_OPTION_ARG_DOUBLE, &o->max_rate, "at most so many items a second", "N"},
        {"trace-fields", 0, 0, G_OPTION_ARG_STRING, &o->trace,
         "fields whose values TEXT leaves out, if not the default list", "LIST"},
        {"idle", 0, 0, G_OPTION_ARG_NONE, &o->idle, "idle priority of disk and processor: others go first", NULL},
        {"progress", 0, 0, G_OPTION_ARG_STRING, &o->progress, "auto, plain, json or none", "MODE"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o->json, "the report as JSON, one line", NULL},
        {"watch", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &o->watch,
         "all archives, as long as this process is the parent", "PID"},
        {"poll-ms", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &o->poll_ms, "how often --watch looks", "MS"},
        G_OPTION_ENTRY_NULL,
    };
    return g_memdup2(entries, sizeof entries);
}

static int check(const struct options *o, int argc, char **argv)
{
    if (argc > 1)
        return cli_usage("'%s' is not expected", argv[1]);
    if (!o->store || (!o->archive && !o->watch))
        return cli_usage("--store DIR and --archive NAME are needed");
    if (o->jobs < 0 || o->jobs > 64)
        return cli_usage("--jobs is 0 (one a core) to 64");
    if (o->memory_mb < 0 || o->memory_mb > 65536 || o->max_rate < 0 || o->poll_ms < 0)
        return cli_usage("a number is out of range");
    return -1;
}

static json_t *json_of(const char *archive, const struct indexer_indexed *r, int rc, const struct error *err)
{
    json_t *o = json_object();
    json_object_set_new(o, "archive", json_string(archive));
    json_object_set_new(o, "items", json_integer((json_int_t)r->items));
    json_object_set_new(o, "failed", json_integer((json_int_t)r->failed));
    json_object_set_new(o, "text_bytes", json_integer((json_int_t)r->text_bytes));
    json_object_set_new(o, "indexed", json_integer((json_int_t)r->indexed));
    json_object_set_new(o, "archive_items", json_integer((json_int_t)r->archive_items));
    json_object_set_new(o, "segments", json_integer((json_int_t)r->segments));
    json_object_set_new(o, "index_bytes", json_integer((json_int_t)r->used_bytes));
    json_object_set_new(o, "seconds", json_real(r->seconds));
    if (rc < 0)
        json_object_set_new(o, "error", json_string(err->text));
    return o;
}

static void print_json(json_t *o)
{
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    fflush(stdout);
    json_decref(o);
}

static void print_report(const char *archive, const struct indexer_indexed *r)
{
    char n[32], all[32];
    printf("%s: %s items indexed", archive, progress_number(r->items, n));
    printf(", %.1f MB of text in %.1f s (%.1f MB/s)\n", (double)r->text_bytes / 1e6, r->seconds,
           r->seconds > 0 ? (double)r->text_bytes / 1e6 / r->seconds : 0.0);
    printf("%s: the index has %s of %s items, %.1f MB in %" PRIu64 " segments\n", archive,
           progress_number(r->indexed, n), progress_number(r->archive_items, all), (double)r->used_bytes / 1e6,
           r->segments);
    if (r->failed)
        printf("%s: %" PRIu64 " items could not be read; the last: %s\n", archive, r->failed, r->last_failure);
}

static int index_one(const struct options *o, struct progress *progress)
{
    const struct indexer_index index = {
        .at = {.store_dir = o->store, .archive = o->archive, .cancel = cli_cancel_on_signals()},
        .trace_fields = o->trace,
        .rebuild = o->rebuild,
        .merge_all = o->merge,
        .jobs = (unsigned)o->jobs,
        .batch_bytes = (size_t)o->memory_mb << 20,
        .max_rate = o->max_rate,
        .progress = progress->mode == PROGRESS_NONE ? NULL : progress_show,
        .progress_arg = progress,
    };
    struct indexer_indexed report;
    struct error err = {0};
    const int rc = indexer_index(&index, &report, &err);
    progress_end(progress);
    if (o->json)
        print_json(json_of(o->archive, &report, rc, &err));
    else if (rc == 0)
        print_report(o->archive, &report);
    return rc < 0 ? cli_fail(&err) : report.failed ? CLI_SOME_FAILED : CLI_DONE;
}

static void indexed(const char *archive, const struct indexer_indexed *r, int rc, const struct error *err, void *arg)
{
    (void)arg;
    if (rc != BASE_ERR_CANCELLED)
        print_json(json_of(archive, r, rc, err));
}

static int watch(const struct options *o)
{
    struct error err = {0};
    const struct indexer_index_watch want = {
        .store_dir = o->store,
        .trace_fields = o->trace,
        .cancel = cli_cancel_on_signals(),
        .jobs = (unsigned)o->jobs,
        .max_rate = o->max_rate,
        .batch_bytes = (size_t)o->memory_mb << 20,
        .poll_ms = (unsigned)o->poll_ms,
        .done = indexed,
    };
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != o->watch) /* it died before we asked to be told */
        return CLI_DONE;
    return indexer_index_watch(&want, &err) < 0 ? cli_fail(&err) : CLI_DONE;
}

/* Of this process, as far as the system lets us. */
static void be_idle(void)
{
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };
    (void)setpriority(PRIO_PROCESS, 0, 19);
    (void)syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT);
}

int cmd_index(int argc, char **argv)
{
    struct options o = {0};
    struct progress progress = {0};
    struct error err = {0};
    GOptionEntry *entries = entries_for(&o);
    int status = cli_options(&argc, &argv, entries, "", "Indexes the texts of an archive, so that searches are fast.",
                             description);
    g_free(entries);
    if (status < 0 && operator_search(o.config, &o.store, &o.trace, NULL, &err) < 0)
        status = cli_fail(&err);
    if (status < 0)
        status = check(&o, argc, argv);
    if (status < 0 && !progress_parse(o.progress, &progress.mode))
        status = cli_usage("--progress is auto, plain, json or none");
    if (status < 0) {
        if (o.idle)
            be_idle();
        status = o.watch ? watch(&o) : index_one(&o, &progress);
    }
    g_free(o.config);
    g_free(o.store);
    g_free(o.archive);
    g_free(o.trace);
    g_free(o.progress);
    return status;
}

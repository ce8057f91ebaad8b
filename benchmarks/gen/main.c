/*
 * mds-gen: writes a vault of generated mail. The same arguments give the same bytes, on any machine, with any number of
 * threads.
 */
#include "gen_message.h"
#include "gen_plant.h"
#include "gen_sink.h"

#include <glib.h>

#define BLOCK 64u /* consecutive messages of one thread */

struct options {
    char *out, *kind, *answers;
    gint64 messages, start;
    gint mean_bytes, folders, jobs;
    gint64 seed;
    gboolean torture, quiet;
};

struct run {
    struct gen_plan plan;
    struct gen_sink *sink;
    uint64_t start, end;
    bool ordered; /* the sink takes messages one after another */
    gint next;    /* atomic: the next block to take */
    gint failed;  /* atomic: some thread met an error, all stop */
    GMutex lock;  /* guards all below; held while an ordered sink is written to */
    GCond turned;
    guint turn; /* the block whose turn it is, if ordered */
    struct error error;
    uint64_t bytes;
};

/* One thread's block of messages on its way to the sink. */
struct block {
    struct gen_scratch scratch;
    struct buf message; /* the one being made */
    struct buf bytes;   /* those that wait for their turn, one after another */
    size_t ends[BLOCK];
};

static int put_at_once(struct run *run, struct block *b, uint64_t at, uint64_t n, uint64_t *bytes, struct error *err)
{
    int rc = 0;
    for (uint64_t i = at; rc == 0 && i < at + n; i++) {
        gen_message(&run->plan, i, &b->scratch, &b->message);
        rc = gen_sink_put(run->sink, i, buf_bytes(&b->message), err);
        *bytes += b->message.n;
    }
    return rc;
}

/* Makes the block, then waits for its turn: the earlier ones are with other threads, who always pass theirs on. */
static int put_in_turn(struct run *run, struct block *b, guint number, uint64_t at, uint64_t n, uint64_t *bytes,
                       struct error *err)
{
    int rc = 0;
    buf_reset(&b->bytes);
    for (uint64_t k = 0; k < n; k++) {
        gen_message(&run->plan, at + k, &b->scratch, &b->message);
        buf_append_bytes(&b->bytes, buf_bytes(&b->message));
        b->ends[k] = b->bytes.n;
    }
    g_mutex_lock(&run->lock);
    while (run->turn != number)
        g_cond_wait(&run->turned, &run->lock);
    for (uint64_t k = 0; rc == 0 && k < n && !g_atomic_int_get(&run->failed); k++) {
        const size_t begin = k > 0 ? b->ends[k - 1] : 0;
        rc = gen_sink_put(run->sink, at + k, bytes_slice(buf_bytes(&b->bytes), begin, b->ends[k] - begin), err);
    }
    if (rc != 0)
        g_atomic_int_set(&run->failed, 1);
    run->turn++;
    g_cond_broadcast(&run->turned);
    g_mutex_unlock(&run->lock);
    *bytes += b->bytes.n;
    return rc;
}

static gpointer work(gpointer arg)
{
    struct run *run = arg;
    struct block block = {0};
    struct error err = {0};
    uint64_t bytes = 0;
    int rc = 0;
    while (rc == 0 && !g_atomic_int_get(&run->failed)) {
        const guint number = (guint)g_atomic_int_add(&run->next, 1);
        const uint64_t at = run->start + (uint64_t)number * BLOCK;
        if (at >= run->end)
            break;
        const uint64_t n = MIN((uint64_t)BLOCK, run->end - at);
        rc = run->ordered ? put_in_turn(run, &block, number, at, n, &bytes, &err)
                          : put_at_once(run, &block, at, n, &bytes, &err);
    }
    g_mutex_lock(&run->lock);
    run->bytes += bytes;
    if (rc != 0) {
        g_atomic_int_set(&run->failed, 1);
        run->error = err;
    }
    g_mutex_unlock(&run->lock);
    buf_release(&block.bytes);
    buf_release(&block.message);
    gen_scratch_release(&block.scratch);
    return NULL;
}

static int generate(struct run *run, enum gen_kind kind, const struct options *o, struct error *err)
{
    int rc = gen_sink_open(o->out, kind, &run->plan, run->start > 0, &run->sink, err);
    if (rc != 0)
        return rc;
    int jobs = CLAMP(o->jobs, 1, 64);
    run->ordered = !gen_kind_is_parallel(kind);
    GThread *threads[64];
    for (int t = 1; t < jobs; t++)
        threads[t] = g_thread_new("generate", work, run);
    work(run);
    for (int t = 1; t < jobs; t++)
        g_thread_join(threads[t]);
    if (run->failed) {
        *err = run->error;
        rc = run->error.code;
    }
    struct error closing = {0};
    int closed = gen_sink_close(&run->sink, &closing);
    if (rc == 0 && closed != 0) {
        *err = closing;
        rc = closed;
    }
    return rc;
}

/* Beside the vault, unless another place was named: in it a reader would take the file for mail. Torture mangles texts:
 * then nothing is promised. */
static int write_answers(const struct run *run, const struct options *o, struct error *err)
{
    if (o->torture)
        return 0;
    char *whole = g_canonicalize_filename(o->out, NULL), *beside = g_strconcat(whole, ".answers", NULL);
    char *arguments =
        g_strdup_printf("--messages %" G_GUINT64_FORMAT " --seed %" G_GINT64_FORMAT " --mean-size %d --folders %d",
                        run->end, o->seed, o->mean_bytes, o->folders);
    const int rc = gen_answers_write(&run->plan, run->end, arguments, o->answers ? o->answers : beside, err);
    g_free(arguments);
    g_free(beside);
    g_free(whole);
    return rc;
}

/* NULL if all is well, else what is wrong. */
static const char *wrong(const struct options *o)
{
    if (!o->out)
        return "--out DIR is missing";
    if (gen_kind_of(o->kind) == GEN_KINDS)
        return "--kind is one of maildir, mbox, eml, mh";
    if (o->messages < 0 || o->start < 0 || o->messages > 1000000000 || o->start > 1000000000)
        return "--messages and --start go from 0 to 1000000000";
    if (o->start > 0 && gen_kind_of(o->kind) == GEN_MH)
        return "--start does not go with --kind mh";
    if (o->folders < 1 || o->folders > (gint)GEN_FOLDERS_MAX)
        return "--folders goes from 1 to 10000";
    if (o->mean_bytes < 2500 || o->mean_bytes > 1 << 20)
        return "--mean-size goes from 2500 to 1048576";
    return NULL;
}

int main(int argc, char **argv)
{
    struct options o = {
        .messages = 1000, .mean_bytes = 6700, .folders = 1, .seed = 1, .jobs = (gint)g_get_num_processors()};
    GOptionEntry entries[] = {
        {"out", 'o', 0, G_OPTION_ARG_FILENAME, &o.out, "where the vault goes; must be empty or not exist", "DIR"},
        {"kind", 'k', 0, G_OPTION_ARG_STRING, &o.kind, "maildir (default), mbox, eml, mh", "KIND"},
        {"messages", 'n', 0, G_OPTION_ARG_INT64, &o.messages, "how many (1000)", "N"},
        {"start", 0, 0, G_OPTION_ARG_INT64, &o.start,
         "add messages START.. to a vault made before with the same arguments", "START"},
        {"mean-size", 'm', 0, G_OPTION_ARG_INT, &o.mean_bytes, "mean size of a message (6700)", "BYTES"},
        {"folders", 'f', 0, G_OPTION_ARG_INT, &o.folders, "how many folders (1)", "N"},
        {"seed", 's', 0, G_OPTION_ARG_INT64, &o.seed, "another seed, another vault (1)", "N"},
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &o.jobs, "threads (the processors)", "N"},
        {"answers", 'a', 0, G_OPTION_ARG_FILENAME, &o.answers,
         "where the text of expected search answers goes (DIR.answers; none with --torture)", "FILE"},
        {"torture", 0, 0, G_OPTION_ARG_NONE, &o.torture, "make one message in fifty a strange one", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &o.quiet, "print nothing", NULL},
        {0},
    };
    GOptionContext *context = g_option_context_new("- write a vault of generated mail");
    GError *gerror = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    gboolean parsed = g_option_context_parse(context, &argc, &argv, &gerror);
    g_option_context_free(context);
    o.kind = o.kind ? o.kind : g_strdup("maildir");
    const char *complaint = !parsed ? gerror->message : argc > 1 ? "no arguments beside options, please" : wrong(&o);
    int status = 0;
    if (complaint) {
        fprintf(stderr, "mds-gen: %s (see --help)\n", complaint);
        status = 2;
        goto out;
    }

    struct gen_words *words = gen_words_new();
    struct run run = {
        .plan = {.seed = (uint64_t)o.seed,
                 .folders = (unsigned)o.folders,
                 .mean_bytes = (unsigned)o.mean_bytes,
                 .torture = o.torture,
                 .words = words},
        .start = (uint64_t)o.start,
        .end = (uint64_t)o.start + (uint64_t)o.messages,
    };
    struct error err = {0};
    gint64 began = g_get_monotonic_time();
    run.plan.lone = gen_plant_lone(&run.plan);
    if (generate(&run, gen_kind_of(o.kind), &o, &err) != 0 || write_answers(&run, &o, &err) != 0) {
        fprintf(stderr, "mds-gen: %s\n", err.text);
        status = 3;
    } else if (!o.quiet) {
        double s = (double)(g_get_monotonic_time() - began) / 1e6;
        printf("mds-gen: %" G_GINT64_FORMAT " messages, %d folders, %.1f MB, mean %.0f bytes, %.1f s\n", o.messages,
               o.folders, (double)run.bytes / 1e6, o.messages ? (double)run.bytes / (double)o.messages : 0.0, s);
    }
    gen_words_free(&words);
out:
    g_clear_error(&gerror);
    g_free(o.out);
    g_free(o.kind);
    g_free(o.answers);
    return status;
}

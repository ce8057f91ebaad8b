/* A build's result. */
#include "report.h"

#include "cli.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>

/* "mail: 12 messages added, 3 moved" */
static void print_changes(const char *what, const struct indexer_report *r)
{
    char n[32];
    printf("%s: %s messages added", what, progress_number(r->messages_added, n));
    if (r->messages_expunged)
        printf(", %s expunged", progress_number(r->messages_expunged, n));
    if (r->flags_merged)
        printf(", %s with new flags", progress_number(r->flags_merged, n));
    if (r->moved)
        printf(", %s moved", progress_number(r->moved, n));
    if (r->duplicates)
        printf(", %s share an item that was stored already", progress_number(r->duplicates, n));
}

static void print_parsed(const struct indexer_report *r, double seconds)
{
    char n[32];
    double rate = seconds > 0 ? (double)r->parsed / seconds : 0;
    printf("%s items parsed in %.1f s", progress_number(r->parsed, n), seconds);
    if (r->parsed > 100)
        printf(" (%s items/s, %.1f MB/s)", progress_number((uint64_t)rate, n),
               seconds > 0 ? (double)r->bytes / 1e6 / seconds : 0);
}

/* What somebody should look at. */
static void print_troubles(const char *archive, const struct indexer_report *r)
{
    if (r->crashed || r->hung)
        printf("%s: the parser died on %" PRIu64 " items and hung on %" PRIu64 ": they are indexed as plain text\n",
               archive, r->crashed, r->hung);
    fflush(stdout);
    if (r->failed)
        cli_note("%s: %" PRIu64 " items or folders could not be read; they are tried again next time. The last: %s",
                 archive, r->failed, r->last_failure);
    if (r->removals_refused)
        cli_note("%s: %s: nothing was removed for it. If that is right, run again with --allow-removals", archive,
                 r->refused_source);
}

void report_print(const char *archive, const struct indexer_report *r)
{
    print_changes(archive, r);
    printf("\n%s: ", archive);
    print_parsed(r, r->seconds);
    if (r->own_items)
        printf(", %.1f MB into the own vault", (double)r->own_bytes / 1e6);
    printf(", %" PRIu64 " of %" PRIu64 " folders unchanged, store %.1f MB\n", r->containers_skipped, r->containers,
           (double)r->file_bytes / 1e6);
    print_troubles(archive, r);
}

void report_print_line(const char *archive, const struct indexer_report *r)
{
    print_changes(archive, r);
    printf("; %.1f s\n", r->seconds);
    print_troubles(archive, r);
}

static void put_counts(json_t *o, const struct indexer_report *r)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"items_added", r->items_added},
        {"messages_added", r->messages_added},
        {"messages_expunged", r->messages_expunged},
        {"flags_merged", r->flags_merged},
        {"moved", r->moved},
        {"duplicates", r->duplicates},
        {"parsed", r->parsed},
        {"failed", r->failed},
        {"own_items", r->own_items},
        {"own_bytes", r->own_bytes},
        {"crashed", r->crashed},
        {"hung", r->hung},
        {"containers", r->containers},
        {"containers_skipped", r->containers_skipped},
        {"commits", r->commits},
        {"yields", r->yields},
        {"bytes", r->bytes},
        {"removals_refused", r->removals_refused},
        {"file_bytes", r->file_bytes},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
        json_object_set_new(o, counts[i].name, json_integer((json_int_t)counts[i].value));
}

json_t *report_json(const char *archive, const struct indexer_report *r, int rc, const struct error *err)
{
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string("report"));
    json_object_set_new(o, "archive", json_string(archive));
    json_object_set_new(o, "status", json_integer(report_status(r, rc, err)));
    put_counts(o, r);
    json_object_set_new(o, "seconds", json_real(r->seconds));
    json_object_set_new(o, "cpu_seconds", json_real(r->cpu_seconds));
    /* Names from the vault need not be UTF-8. */
    char *failure = g_utf8_make_valid(r->last_failure, -1), *refused = g_utf8_make_valid(r->refused_source, -1);
    json_object_set_new(o, "last_failure", r->failed ? json_string(failure) : json_null());
    json_object_set_new(o, "refused_source", r->removals_refused ? json_string(refused) : json_null());
    g_free(failure);
    g_free(refused);
    char *text = rc < 0 ? g_utf8_make_valid(err->text, -1) : NULL;
    json_object_set_new(o, "error", text ? json_string(text) : json_null());
    g_free(text);
    return o;
}

int report_status(const struct indexer_report *r, int rc, const struct error *err)
{
    if (rc < 0)
        return err->code == BASE_ERR_USAGE || err->code == BASE_ERR_SYNTAX ? CLI_USAGE : CLI_ENVIRONMENT;
    return r->failed || r->removals_refused ? CLI_SOME_FAILED : CLI_DONE;
}

/* ---- many archives --------------------------------------------------------------------- */

void report_add(struct report_sum *sum, const struct indexer_report *r, int rc, const struct error *err)
{
    struct indexer_report *s = &sum->counts;
    int status = report_status(r, rc, err);
    sum->status = status > sum->status ? status : sum->status;
    sum->built += rc == 0;
    sum->with_failures += rc == 0 && status != CLI_DONE;
    sum->not_built += rc < 0 && rc != BASE_ERR_CANCELLED;
    s->items_added += r->items_added;
    s->messages_added += r->messages_added;
    s->messages_expunged += r->messages_expunged;
    s->flags_merged += r->flags_merged;
    s->moved += r->moved;
    s->duplicates += r->duplicates;
    s->parsed += r->parsed;
    s->failed += r->failed;
    s->crashed += r->crashed;
    s->hung += r->hung;
    s->containers += r->containers;
    s->containers_skipped += r->containers_skipped;
    s->commits += r->commits;
    s->yields += r->yields;
    s->bytes += r->bytes;
    s->removals_refused += r->removals_refused;
    s->file_bytes += r->file_bytes;
}

void report_print_total(const struct report_sum *sum, const struct indexer_total *total)
{
    char n[32];
    printf("%s archives", progress_number(total->archives, n));
    printf(", %s built", progress_number(sum->built, n));
    if (sum->with_failures)
        printf(" (%s not wholly)", progress_number(sum->with_failures, n));
    if (sum->not_built)
        printf(", %s failed", progress_number(sum->not_built, n));
    print_changes("", &sum->counts); /* its colon goes on */
    printf("; ");
    print_parsed(&sum->counts, total->seconds);
    printf("\n");
    fflush(stdout);
}

json_t *report_json_total(const struct report_sum *sum, const struct indexer_total *total, int rc,
                          const struct error *err)
{
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string("total"));
    json_object_set_new(o, "archive", json_null());
    json_object_set_new(o, "status", json_integer(sum->status));
    json_object_set_new(o, "archives", json_integer((json_int_t)total->archives));
    json_object_set_new(o, "archives_built", json_integer((json_int_t)sum->built));
    json_object_set_new(o, "archives_with_failures", json_integer((json_int_t)sum->with_failures));
    json_object_set_new(o, "archives_failed", json_integer((json_int_t)sum->not_built));
    json_object_set_new(o, "pools", json_integer((json_int_t)total->pools));
    put_counts(o, &sum->counts);
    json_object_set_new(o, "seconds", json_real(total->seconds));
    json_object_set_new(o, "cpu_seconds", json_real(total->cpu_seconds));
    json_object_set_new(o, "error", rc < 0 ? json_string(err->text) : json_null());
    return o;
}

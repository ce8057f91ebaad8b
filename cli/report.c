/* A build's result. */
#include "report.h"

#include "cli.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>

void report_print(const char *archive, const struct indexer_report *r)
{
    char n[32], parsed[32];
    double rate = r->seconds > 0 ? (double)r->parsed / r->seconds : 0;
    printf("%s: %s messages added", archive, progress_number(r->messages_added, n));
    if (r->messages_expunged)
        printf(", %s expunged", progress_number(r->messages_expunged, n));
    if (r->flags_merged)
        printf(", %s with new flags", progress_number(r->flags_merged, n));
    if (r->moved)
        printf(", %s moved", progress_number(r->moved, n));
    if (r->duplicates)
        printf(", %s share an item that was stored already", progress_number(r->duplicates, n));
    printf("\n%s: %s items parsed in %.1f s", archive, progress_number(r->parsed, parsed), r->seconds);
    if (r->parsed > 100)
        printf(" (%s items/s, %.1f MB/s)", progress_number((uint64_t)rate, n),
               r->seconds > 0 ? (double)r->bytes / 1e6 / r->seconds : 0);
    printf(", %" PRIu64 " of %" PRIu64 " folders unchanged, store %.1f MB\n", r->containers_skipped, r->containers,
           (double)r->file_bytes / 1e6);
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

json_t *report_json(const char *archive, const struct indexer_report *r, int rc, const struct error *err)
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
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string("report"));
    json_object_set_new(o, "archive", json_string(archive));
    json_object_set_new(o, "status", json_integer(report_status(r, rc, err)));
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
        json_object_set_new(o, counts[i].name, json_integer((json_int_t)counts[i].value));
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

/*
 * mds export: an archive's way out.
 */
#include "cli.h"
#include "operator.h"
#include "progress.h"

#include "indexer/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *kind_parse(const char *text, enum indexer_export_kind *out)
{
    static const char *const kinds[] = {
        [INDEXER_EXPORT_MAILDIR] = "maildir", [INDEXER_EXPORT_MBOX] = "mbox", [INDEXER_EXPORT_EML] = "eml"};
    for (size_t i = 0; text && i < G_N_ELEMENTS(kinds); i++) {
        const size_t n = strlen(kinds[i]);
        if (strncmp(text, kinds[i], n) == 0 && text[n] == ':' && text[n + 1]) {
            *out = (enum indexer_export_kind)i;
            return text + n + 1;
        }
    }
    return NULL;
}

static int export(const struct indexer_export *e, const char *to, const struct operator *op)
{
    struct indexer_exported r;
    struct error err = {0};
    char n[32], *folders = e->folders ? g_strjoinv(",", (char **)(uintptr_t)e->folders) : g_strdup("*");
    const struct event_field begun[] = {EVENT_TEXT("to", to), EVENT_TEXT("folders", folders)};
    operator_audit(op, "audit: export", e->at.archive, begun, G_N_ELEMENTS(begun));
    int rc = indexer_export(e, &r, &err);
    const struct event_field done[] = {EVENT_TEXT("to", to), EVENT_NUMBER("count", r.messages), EVENT_TEXT("result", rc < 0 ? "failed" : "ok")};
    operator_audit(op, "audit: exported", e->at.archive, done, G_N_ELEMENTS(done));
    g_free(folders);
    if (rc == 0 || r.messages)
        printf("%s: %s messages of %" PRIu64 " folders written, %.1f MB\n", e->at.archive,
               progress_number(r.messages, n), r.folders, (double)r.bytes / 1e6);
    if (r.failed)
        cli_note("%s: %" PRIu64 " messages could not be read and are left out. The last: %s", e->at.archive, r.failed,
                 r.last_failure);
    if (rc < 0)
        return cli_fail(&err);
    return r.failed ? CLI_SOME_FAILED : CLI_DONE;
}

int cmd_export(int argc, char **argv)
{
    char *config = NULL, *store = NULL, *archive = NULL, *to = NULL, **folders = NULL;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "the server's, for its store and its audit log, see mds.conf(5)", "FILE"},
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"to", 't', 0, G_OPTION_ARG_FILENAME, &to, "maildir, mbox or eml, and where; made, or empty", "KIND:PATH"},
        {"folder", 0, 0, G_OPTION_ARG_STRING_ARRAY, &folders, "only this folder; may be given many times", "NAME"},
        G_OPTION_ENTRY_NULL,
    };
    struct indexer_export e = {0};
    struct operator op = {0};
    struct error err = {0};
    int status = cli_options(&argc, &argv, entries, "", "Writes an archive out, with flags, keywords and dates.",
                             "maildir  a Maildir++, the internal date as the file's time\n"
                             "mbox     one file a folder (mboxrd), flags in Status, X-Status and X-Keywords\n"
                             "eml      one file a message, flags and keywords in flags.txt\n"
                             "\n"
                             "mds import takes the first two back as they were, the second as mboxrd-tree:PATH; mbox\n"
                             "adds a line end to mail that has none. Nothing is ever overwritten.\n");
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && operator_begin(config, &store, &op, &err) < 0)
        status = cli_fail(&err);
    if (status < 0 && (!store || !archive || !to))
        status = cli_usage("--store DIR, --archive NAME and --to KIND:PATH are needed");
    if (status < 0 && !(e.to = kind_parse(to, &e.kind)))
        status = cli_usage("--to '%s' is not maildir:PATH, mbox:PATH or eml:PATH", to);
    if (status < 0) {
        e.at = (struct indexer_archive){store, archive, cli_cancel_on_signals()};
        e.folders = (const char *const *)folders;
        status = export(&e, to, &op);
    }
    operator_end(&op);
    g_free(config);
    g_free(store);
    g_free(archive);
    g_free(to);
    g_strfreev(folders);
    return status;
}

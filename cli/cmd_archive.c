/*
 * mds archive: makes, lists, disables and removes a store's archives.
 */
#include "browse.h"
#include "operator.h"

#include "mds/mds.h"

#include <stdio.h>
#include <string.h>

static const char description[] = "add NAME      makes an empty archive that keeps its mail in its own vault;\n"
                                  "              the store is made if missing\n"
                                  "list          name and state of all archives\n"
                                  "disable NAME  it opens for nobody; what it holds stays\n"
                                  "enable NAME   it opens again\n"
                                  "remove NAME   removes a disabled archive with all it holds, mail in its own\n"
                                  "              vault included; there is no way back but mds restore\n"
                                  "\n"
                                  "Exit status: 1 there is no such archive.\n";

/* The store alone may be missing: a catalogue makes it. */
static int store_make(const char *dir)
{
    struct mds_catalogue *catalogue = NULL;
    struct error err = {0};
    int rc = mds_catalogue_open(dir, true, false, &catalogue, &err);
    mds_catalogue_close(&catalogue);
    return rc < 0 ? cli_fail(&err) : -1;
}

static int list(const char *store)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = g_new0(struct mds_archive_info, 1);
    char after[sizeof info->name] = "";
    struct error err = {0};
    int rc = mds_catalogue_open(store, false, true, &catalogue, &err);
    while (rc == 0 && (rc = mds_catalogue_archive_next(catalogue, *after ? after : NULL, info, &err)) > 0) {
        printf("%s\t%s%s\n", info->name, info->enabled ? "enabled" : "disabled", info->made ? "" : ", never built");
        g_strlcpy(after, info->name, sizeof after);
        rc = 0;
    }
    mds_catalogue_close(&catalogue);
    g_free(info);
    return rc < 0 ? cli_fail(&err) : CLI_DONE;
}

static int enable(struct mdsq_store *store, const char *name, struct mdsq_error *e)
{
    return mdsq_archive_enable(store, name, true, e);
}

static int disable(struct mdsq_store *store, const char *name, struct mdsq_error *e)
{
    return mdsq_archive_enable(store, name, false, e);
}

static const struct {
    const char *word;
    int (*run)(struct mdsq_store *store, const char *name, struct mdsq_error *e);
} verbs[] = {{"add", mdsq_archive_add}, {"enable", enable}, {"disable", disable}, {"remove", mdsq_archive_remove}};

static int change(const char *dir, const char *word, const char *name, const struct operator *op)
{
    struct mdsq_store *store = NULL;
    struct mdsq_error e = {0};
    int status = -1;
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (strcmp(word, verbs[i].word) != 0)
            continue;
        if (verbs[i].run == mdsq_archive_add && (status = store_make(dir)) >= 0)
            return status;
        status = -1;
        char *what = g_strdup_printf("audit: archive %s", word);
        operator_audit(op, what, name, NULL, 0);
        g_free(what);
        if (mdsq_store_open(dir, MDSQ_STORE_WRITE, &store, &e) < 0 || verbs[i].run(store, name, &e) < 0)
            status = store ? browse_fail(&e) : (cli_note("%s", e.text), CLI_ENVIRONMENT);
        mdsq_store_close(&store);
        return status < 0 ? CLI_DONE : status;
    }
    return cli_usage("'%s' is not add, list, enable, disable or remove", word);
}

int cmd_archive(int argc, char **argv)
{
    char *config = NULL, *store = NULL;
    struct operator op = {0};
    struct error err = {0};
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "the server's, for its store and its audit log, see mds.conf(5)", "FILE"},
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        G_OPTION_ENTRY_NULL,
    };
    int status = cli_options(&argc, &argv, entries, "add|list|enable|disable|remove [NAME]",
                             "Makes, lists, disables and removes archives.", description);
    const char *word = argc > 1 ? argv[1] : "";
    if (status < 0 && operator_begin(config, &store, &op, &err) < 0)
        status = cli_fail(&err);
    if (status < 0 && !store)
        status = cli_usage("--store DIR is missing");
    if (status < 0 && strcmp(word, "list") == 0 && argc == 2)
        status = list(store);
    else if (status < 0 && argc == 3)
        status = change(store, word, argv[2], &op);
    else if (status < 0)
        status =
            cli_usage("needs one of: add NAME, list, enable NAME, disable NAME, remove NAME; see mds archive --help");
    operator_end(&op);
    g_free(config);
    g_free(store);
    return status;
}

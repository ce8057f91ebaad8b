/*
 * mds explain: one message's structure, offsets and defects, for a person.
 */
#include "browse.h"

#include <stdio.h>
#include <stdlib.h>

static int explain(struct browse *b, const char *folder, uint32_t uid)
{
    struct mdsq_error e = {0};
    struct mdsq_view *view = NULL;
    char *text = NULL;
    int rc = mdsq_view_open(b->reader, folder, &view, &e);

    if (rc >= 0)
        rc = mdsq_explain(b->reader, view, uid, &text, &e);
    if (rc >= 0)
        fputs(text, stdout);
    free(text);
    mdsq_view_close(&view);
    return rc < 0 ? browse_fail(&e) : CLI_DONE;
}

int cmd_explain(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    const GOptionEntry entries[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 0, 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {0},
    };
    struct browse b = {0};
    guint64 uid = 0;
    int rc = cli_options(&argc, &argv, entries, "FOLDER UID", "Shows one item's structure, offsets and defects.",
                         "Exit status: 0 done, 1 no such message, 2 usage, 3 environment.");

    if (rc >= 0)
        goto out;
    if (store == NULL || archive == NULL || argc != 3)
        rc = cli_usage("needs --store, --archive, FOLDER and UID; see mds explain --help");
    else if (!g_ascii_string_to_unsigned(argv[2], 10, 1, UINT32_MAX, &uid, NULL))
        rc = cli_usage("UID is a number from 1 to 4294967295, not \"%s\"", argv[2]);
    else
        rc = browse_open(&b, store, archive);
    if (rc < 0)
        rc = explain(&b, argv[1], (uint32_t)uid);
out:
    browse_release(&b);
    g_free(store);
    g_free(archive);
    return rc;
}

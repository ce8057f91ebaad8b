/*
 * mds fetch: FETCH of one folder's messages by UID. IMAP syntax in, IMAP syntax out.
 */
#include "cli.h"
#include "talk.h"

static const char description[] =
    "UID-SET is as in IMAP: 17, 1:10, 3,5:*. ITEM is any data item of FETCH:\n"
    "  FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY UID, BODY[section],\n"
    "  or one of the macros ALL, FAST, FULL. Quote brackets and blanks for the shell:\n"
    "\n"
    "  mds fetch --store DIR --archive NAME INBOX 1:* FLAGS RFC822.SIZE\n"
    "  mds fetch --store DIR --archive NAME INBOX 17 'BODY[HEADER.FIELDS (From Date)]'\n"
    "  mds fetch --store DIR --archive NAME INBOX 17 'BODY[2]<0.1024>'\n"
    "\n"
    "Responses go to standard output as the server sends them, literals included.\n"
    "Exit status: 0 done, 1 no such folder or an item that its vault no longer has,\n"
    "2 usage, 3 environment.";

static enum talk_answer fetch(struct talk *talk, const char *set, char **items, int items_n)
{
    talk_begin(talk, "UID FETCH ");
    talk_add(talk, set);
    talk_add(talk, items_n == 1 ? " " : " ("); /* a macro stands alone, without parentheses */
    for (int i = 0; i < items_n; i++) {
        talk_add(talk, i ? " " : "");
        talk_add(talk, items[i]);
    }
    talk_add(talk, items_n == 1 ? "" : ")");
    return talk_end(talk, "FETCH");
}

int cmd_fetch(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    const GOptionEntry entries[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 0, 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {0},
    };
    struct error err = {0};
    struct talk *talk = NULL;
    int rc = cli_options(&argc, &argv, entries, "FOLDER UID-SET ITEM...", "Fetches messages' items, as IMAP sends them.",
                         description);

    if (rc >= 0)
        goto out;
    if (store == NULL || archive == NULL || argc < 4) {
        rc = cli_usage("needs --store, --archive, FOLDER, UID-SET and an ITEM; see mds fetch --help");
        goto out;
    }
    if (talk_open(store, archive, &talk, &err) < 0) {
        rc = err.code == BASE_ERR_NOTFOUND ? (cli_note("%s", err.text), CLI_SOME_FAILED) : cli_fail(&err);
        goto out;
    }
    rc = talk_examine(talk, argv[1]);
    if (rc < 0)
        rc = talk_status(talk, fetch(talk, argv[2], argv + 3, argc - 3));
out:
    talk_close(&talk);
    g_free(store);
    g_free(archive);
    return rc;
}

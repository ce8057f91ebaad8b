/*
 * mds search: SEARCH of one folder. IMAP syntax in, IMAP syntax out.
 */
#include "cli.h"
#include "operator.h"
#include "talk.h"

#include "mds/query.h"

#include <string.h>

static const char description[] =
    "KEYS are those of IMAP's SEARCH; the answer is \"* SEARCH\" and UIDs.\n"
    "\n"
    "  mds search --store DIR --archive NAME INBOX UNSEEN SINCE 1-Feb-2024\n"
    "  mds search --store DIR --archive NAME INBOX FROM ann SUBJECT 'two words'\n"
    "  mds search --store DIR --archive NAME INBOX 'OR FROM ann FROM bob'\n"
    "\n"
    "One argument alone goes to the parser as it is. Of several, one that holds blanks or\n"
    "letters outside ASCII and begins with neither ( nor \" is taken as one string.\n"
    "Text is compared without case, as substrings of the decoded text (UTF-8). HTML is searched\n"
    "as its source. The content index (mds index) makes it fast and never changes the answer;\n"
    "one that was made with other trace-fields than are asked with is not asked (--explain says\n"
    "so): give --config, as the server has it.\n"
    "\n"
    "TEXT leaves out the values of signature and trace fields of the message's own header\n"
    "(Received, DKIM-Signature, ARC-*, Authentication-Results, X-MS-Exchange-*, X-Spam* and the\n"
    "like; mds(1) has the list), unless --text-headers=all is given. HEADER finds them either way.\n"
    "\n"
    "Exit status: 0 done (also if nothing matches), 1 no such folder, 2 usage,\n"
    "3 environment.";

static bool is_ascii(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s >= 0x80)
            return false;
    }
    return true;
}

static enum talk_answer search(struct talk *talk, char **keys, int keys_n)
{
    bool ascii = true; /* or the charset is told */

    for (int i = 0; i < keys_n; i++)
        ascii &= is_ascii(keys[i]);
    ascii |= g_ascii_strncasecmp(keys[0], "CHARSET", strlen("CHARSET")) == 0;
    talk_begin(talk, ascii ? "UID SEARCH" : "UID SEARCH CHARSET UTF-8");
    for (int i = 0; i < keys_n; i++) {
        const bool is_text = keys_n > 1 && keys[i][0] != '(' && keys[i][0] != '"' &&
                             (strpbrk(keys[i], " \t\r\n") || !is_ascii(keys[i]) || keys[i][0] == 0);

        talk_add(talk, " ");
        if (is_text)
            talk_add_string(talk, bytes_str(keys[i]));
        else
            talk_add(talk, keys[i]);
    }
    return talk_end(talk, "SEARCH");
}

int cmd_search(int argc, char **argv)
{
    char *config = NULL, *store = NULL, *archive = NULL, *headers = NULL, *trace = NULL;
    gboolean explain = FALSE, no_index = FALSE;
    bool literal = false;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config,
         "the server's, for its store, text-headers and trace-fields, see mds.conf(5)", "FILE"},
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 0, 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"text-headers", 0, 0, G_OPTION_ARG_STRING, &headers, "common (default) or all: what TEXT looks at", "WHAT"},
        {"trace-fields", 0, 0, G_OPTION_ARG_STRING, &trace, "what TEXT leaves out, instead of the default list",
         "LIST"},
        {"explain", 0, 0, G_OPTION_ARG_NONE, &explain,
         "tell on standard error who answered which key, and what it cost", NULL},
        {"no-index", 0, 0, G_OPTION_ARG_NONE, &no_index, "read the items, whatever is indexed", NULL},
        {0},
    };
    struct error err = {0};
    struct talk *talk = NULL;
    int rc = cli_options(&argc, &argv, entries, "FOLDER KEYS...", "Searches a folder with IMAP's keys.", description);

    if (rc >= 0)
        goto out;
    if (operator_search(config, &store, &trace, &literal, &err) < 0) {
        rc = cli_fail(&err);
        goto out;
    }
    if (store == NULL || archive == NULL || argc < 3) {
        rc = cli_usage("needs --store, --archive, FOLDER and KEYS; see mds search --help");
        goto out;
    }
    if (headers && strcmp(headers, "common") != 0 && strcmp(headers, "all") != 0) {
        rc = cli_usage("--text-headers is common or all, not '%s'", headers);
        goto out;
    }
    if (headers)
        literal = strcmp(headers, "all") == 0;
    if (talk_open(store, archive, &talk, &err) < 0) {
        rc = err.code == BASE_ERR_NOTFOUND ? (cli_note("%s", err.text), CLI_SOME_FAILED) : cli_fail(&err);
        goto out;
    }
    talk_set_search(
        talk, &(struct mdsq_search_settings){.text_literal = literal, .no_index = no_index, .trace_fields = trace});
    if (explain)
        talk_explain(talk);
    rc = talk_examine(talk, argv[1]);
    if (rc < 0)
        rc = talk_status(talk, search(talk, argv + 2, argc - 2));
out:
    talk_close(&talk);
    g_free(config);
    g_free(store);
    g_free(archive);
    g_free(headers);
    g_free(trace);
    return rc;
}

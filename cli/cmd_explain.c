/*
 * mds explain: one message's structure, offsets and defects, for a person.
 */
#include "browse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Backslash, control bytes, DEL and tabs as \xNN. */
static void print_escaped(struct mdsq_bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = text.p[i];

        if (c < 0x20 || c == 0x7f || c == '\\')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

struct told {
    uint32_t uid;
};

static void print_text(const char *kind, struct mdsq_bytes name, struct mdsq_bytes text, void *arg)
{
    const struct told *told = arg;

    printf("%u\t%s\t", told->uid, kind);
    print_escaped(name);
    putchar('\t');
    print_escaped(text);
    putchar('\n');
}

static int explain_texts(struct browse *b, const char *folder, const char *uids)
{
    struct mdsq_error e = {0};
    struct mdsq_view *view = NULL;
    struct mdsq_set *set = NULL;
    uint64_t at = 0;
    uint32_t first, last;
    bool failed = false;
    int rc = mdsq_view_open(b->reader, folder, &view, &e);

    if (rc >= 0)
        rc = mdsq_set_parse(view, uids, strlen(uids), true, &set, &e);
    while (rc >= 0 && mdsq_set_next_range(set, NULL, &at, &first, &last)) {
        for (struct told told = {first}; told.uid >= first && told.uid <= last; told.uid++) {
            struct mdsq_error why = {0};

            if (mdsq_explain_texts(b->reader, view, told.uid, print_text, &told, &why) < 0) {
                cli_note("UID %u: %s", told.uid, why.text);
                failed = true;
            }
        }
    }
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    return rc < 0 ? browse_fail(&e) : failed ? CLI_SOME_FAILED : CLI_DONE;
}

int cmd_explain(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    gboolean texts = FALSE;
    const GOptionEntry entries[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 0, 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"texts", 0, 0, G_OPTION_ARG_NONE, &texts, "of a set of UIDs the texts that SEARCH compares, one a line", NULL},
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
    else if (!texts && !g_ascii_string_to_unsigned(argv[2], 10, 1, UINT32_MAX, &uid, NULL))
        rc = cli_usage("UID is a number from 1 to 4294967295, not \"%s\"", argv[2]);
    else
        rc = browse_open(&b, store, archive);
    if (rc < 0)
        rc = texts ? explain_texts(&b, argv[1], argv[2]) : explain(&b, argv[1], (uint32_t)uid);
out:
    browse_release(&b);
    g_free(store);
    g_free(archive);
    return rc;
}

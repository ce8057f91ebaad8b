/*
 * mds ls: the folders of an archive, or the archives of a store.
 */
#include "browse.h"

#include <jansson.h>
#include <stdio.h>

struct listing {
    struct browse *browse;
    bool long_form;
    json_t *json; /* NULL: text */
    struct mdsq_error err;
    int rc;
    unsigned n;
};

static const char *special_use_name(uint8_t use)
{
    static const char *const names[] = {"", "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash"};

    return use < G_N_ELEMENTS(names) ? names[use] : "";
}

static json_t *folder_as_json(const struct mdsq_folder *folder, const struct mdsq_status *s)
{
    const bool select = !(folder->attrs & MDSQ_FOLDER_NOSELECT);
    json_t *row = json_pack("{s:s, s:b, s:b, s:b}", "name", folder->name, "selectable", select, "children",
                            !!(folder->attrs & MDSQ_FOLDER_HAS_CHILDREN), "subscribed",
                            !!(folder->attrs & MDSQ_FOLDER_SUBSCRIBED));

    if (folder->special_use)
        json_object_set_new(row, "special_use", json_string(special_use_name(folder->special_use)));
    if (select) {
        json_t *counts = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "messages", (json_int_t)s->messages, "unseen",
                                   (json_int_t)s->unseen, "deleted", (json_int_t)s->deleted, "bytes", (json_int_t)s->size,
                                   "uidnext", (json_int_t)s->uidnext, "uidvalidity", (json_int_t)s->uidvalidity,
                                   "highestmodseq", (json_int_t)s->highestmodseq, "mailbox_id", s->mailbox_id);

        json_object_update_new(row, counts);
    }
    return row;
}

/* Names are outside text: a control byte must not reach the terminal. */
static void print_name(const char *name)
{
    for (; *name; name++) {
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            printf("\\x%02x", (unsigned char)*name);
        else
            putchar(*name);
    }
}

static void print_folder(const struct mdsq_folder *folder, const struct mdsq_status *s, bool long_form)
{
    if (folder->attrs & MDSQ_FOLDER_NOSELECT)
        printf(long_form ? "%10s %10s %10s %14s %10s %11s  " : "%10s  ", "-", "-", "-", "-", "-", "-");
    else if (long_form)
        printf("%10u %10u %10u %14llu %10u %11u  ", s->messages, s->unseen, s->deleted, (unsigned long long)s->size,
               s->uidnext, s->uidvalidity);
    else
        printf("%10u  ", s->messages);
    print_name(folder->name);
    if (long_form && folder->special_use)
        printf("  %s", special_use_name(folder->special_use));
    putchar('\n');
}

static int on_folder(const struct mdsq_folder *folder, void *arg)
{
    struct listing *l = arg;
    struct mdsq_status status = {0};

    if (!(folder->attrs & MDSQ_FOLDER_NOSELECT))
        l->rc = mdsq_status(l->browse->reader, folder->name, &status, &l->err);
    if (l->rc < 0)
        return 1;
    l->n++;
    if (l->json)
        json_array_append_new(l->json, folder_as_json(folder, &status));
    else
        print_folder(folder, &status, l->long_form);
    return 0;
}

static int list_folders(struct browse *b, const char *pattern, bool long_form, bool as_json)
{
    struct listing l = {.browse = b, .long_form = long_form, .json = as_json ? json_array() : NULL};
    int rc;

    if (long_form && !as_json)
        printf("%10s %10s %10s %14s %10s %11s  %s\n", "messages", "unseen", "deleted", "bytes", "uidnext", "uidvalidity",
               "folder");
    rc = mdsq_list(b->reader, "", pattern, false, on_folder, &l, &l.err);
    if (rc >= 0)
        rc = l.rc;
    if (rc >= 0 && as_json) {
        json_dumpf(l.json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    }
    json_decref(l.json);
    if (rc < 0)
        return browse_fail(&l.err);
    if (l.n == 0)
        cli_note("no folder matches %s", pattern);
    return l.n ? CLI_DONE : CLI_SOME_FAILED;
}

static int on_archive(const char *name, void *arg)
{
    json_t *json = arg;

    if (json) {
        json_array_append_new(json, json_string(name));
    } else {
        print_name(name);
        putchar('\n');
    }
    return 0;
}

static int list_archives(const char *store_dir, bool as_json)
{
    struct mdsq_error e = {0};
    struct mdsq_store *store = NULL;
    json_t *json;
    int rc = browse_open_store(store_dir, &store);

    if (rc >= 0)
        return rc;
    json = as_json ? json_array() : NULL;
    rc = mdsq_store_archives(store, on_archive, json, &e);
    if (rc >= 0 && json) {
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(json);
    mdsq_store_close(&store);
    return rc < 0 ? browse_fail(&e) : CLI_DONE;
}

int cmd_ls(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    gboolean long_form = FALSE, as_json = FALSE;
    const GOptionEntry entries[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 0, 0, G_OPTION_ARG_STRING, &archive, "the archive; without it archives are listed", "NAME"},
        {"long", 'l', 0, G_OPTION_ARG_NONE, &long_form, "unseen, deleted, bytes, UIDs too", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &as_json, "as a JSON array", NULL},
        {0},
    };
    struct browse b = {0};
    int rc = cli_options(&argc, &argv, entries, "[PATTERN]", "Lists an archive's folders and how many messages each has.",
                         "PATTERN is as in IMAP's LIST: * matches everything, % all but /. Quote it.\n"
                         "Exit status: 0 done, 1 nothing of that name, 2 usage, 3 environment.");

    if (rc >= 0)
        goto out;
    if (store == NULL || argc > 2 || (archive == NULL && argc > 1))
        rc = cli_usage("needs --store, and --archive before a pattern; see mds ls --help");
    else if (archive == NULL)
        rc = list_archives(store, as_json);
    else
        rc = browse_open(&b, store, archive);
    if (rc < 0)
        rc = list_folders(&b, argc > 1 ? argv[1] : "*", long_form, as_json);
    if (rc == CLI_DONE && (fflush(stdout) != 0 || ferror(stdout))) {
        cli_note("standard output: write error");
        rc = CLI_ENVIRONMENT;
    }
out:
    browse_release(&b);
    g_free(store);
    g_free(archive);
    return rc;
}

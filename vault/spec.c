/* KIND:PATH[=FOLDER], and the names of the kinds in one table. */
#include "vault_private.h"

#include <glib.h>
#include <unistd.h>

static const struct {
    const char *text;
    enum vault_kind kind;
    enum vault_mbox_variant variant;
} kinds[] = {
    {"auto", VAULT_KIND_AUTO, VAULT_MBOX_DETECT},
    {"maildir", VAULT_KIND_MAILDIR, VAULT_MBOX_DETECT},
    {"maildir++", VAULT_KIND_MAILDIRPP, VAULT_MBOX_DETECT},
    {"maildir-fs", VAULT_KIND_MAILDIR_FS, VAULT_MBOX_DETECT},
    {"mbox", VAULT_KIND_MBOX, VAULT_MBOX_DETECT},
    {"mboxo", VAULT_KIND_MBOX, VAULT_MBOX_O},
    {"mboxrd", VAULT_KIND_MBOX, VAULT_MBOX_RD},
    {"mboxcl", VAULT_KIND_MBOX, VAULT_MBOX_CL},
    {"mboxcl2", VAULT_KIND_MBOX, VAULT_MBOX_CL2},
    {"mbox-tree", VAULT_KIND_MBOX_TREE, VAULT_MBOX_DETECT},
    {"mboxo-tree", VAULT_KIND_MBOX_TREE, VAULT_MBOX_O},
    {"mboxrd-tree", VAULT_KIND_MBOX_TREE, VAULT_MBOX_RD},
    {"mboxcl-tree", VAULT_KIND_MBOX_TREE, VAULT_MBOX_CL},
    {"mboxcl2-tree", VAULT_KIND_MBOX_TREE, VAULT_MBOX_CL2},
    {"eml-tree", VAULT_KIND_EML_TREE, VAULT_MBOX_DETECT},
    {"eml", VAULT_KIND_EML_TREE, VAULT_MBOX_DETECT},
    {"mh", VAULT_KIND_MH, VAULT_MBOX_DETECT},
};

#define KINDS_TEXT                                                                                              \
    "auto, maildir, maildir++, maildir-fs, mbox, mboxo, mboxrd, mboxcl, mboxcl2, mbox-tree, mboxo-tree, "       \
    "mboxrd-tree, mboxcl-tree, mboxcl2-tree, eml-tree, mh"

int vault_spec_parse(const char *text, struct vault_spec *out, struct error *err)
{
    const char *colon = text ? strchr(text, ':') : NULL;
    const char *path = colon ? colon + 1 : NULL;

    *out = (struct vault_spec){0};
    if (!colon || !*path)
        return error_set(err, BASE_ERR_USAGE, 0, "'%s' is not KIND:PATH[=FOLDER] (kinds: " KINDS_TEXT ")", text ? text : "");
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strlen(kinds[i].text) != (size_t)(colon - text) || strncmp(kinds[i].text, text, (size_t)(colon - text)) != 0)
            continue;
        out->kind = kinds[i].kind;
        out->variant = kinds[i].variant;

        const char *equals = strrchr(path, '=');

        if (!equals || access(path, F_OK) == 0) {
            out->path = g_strdup(path);
            return BASE_OK;
        }
        if (equals == path || !equals[1] || strlen(equals + 1) > VAULT_NAME_MAX || equals[1] == '/' ||
            equals[strlen(equals) - 1] == '/' || strstr(equals, "//"))
            return error_set(err, BASE_ERR_USAGE, 0, "'%s': no path before or no folder name after '='", text);
        out->path = g_strndup(path, (size_t)(equals - path));
        out->folder = g_strdup(equals + 1);
        return BASE_OK;
    }
    return error_set(err, BASE_ERR_USAGE, 0, "'%.*s' is no kind of vault (kinds: " KINDS_TEXT ")", (int)(colon - text), text);
}

void vault_spec_release(struct vault_spec *spec)
{
    g_free(spec->path);
    g_free(spec->folder);
    g_free(spec->match);
    *spec = (struct vault_spec){0};
}

const char *vault_spec_kind(enum vault_kind kind, enum vault_mbox_variant variant)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].kind == kind && kinds[i].variant == variant)
            return kinds[i].text;
    }
    return vault_kind_name(kind);
}

const char *vault_kind_name(enum vault_kind kind)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].kind == kind)
            return kinds[i].text;
    }
    return kind == VAULT_KIND_SEGMENTS ? "own" : "unknown";
}

/* Manifests: lines of archive, TAB, vault. */
#include "manifest.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

static struct manifest_archive *archive_get(struct manifest *m, const char *name)
{
    for (size_t i = m->n; i > 0; i--) /* lines of an archive mostly stand together */
        if (strcmp(m->archives[i - 1].name, name) == 0)
            return &m->archives[i - 1];
    m->archives = g_renew(struct manifest_archive, m->archives, m->n + 1);
    m->archives[m->n] = (struct manifest_archive){.name = g_strdup(name)};
    return &m->archives[m->n++];
}

static int source_add(struct manifest *m, const char *archive, const char *text, struct error *err)
{
    struct vault_spec spec = {0};
    int rc = vault_spec_parse(text, &spec, err);
    if (rc < 0)
        return rc;
    struct manifest_archive *a = archive_get(m, archive);
    a->sources = g_renew(struct vault_spec, a->sources, a->sources_n + 1);
    a->sources[a->sources_n++] = spec;
    return 0;
}

static int line_read(struct manifest *m, char *line, struct error *err)
{
    line[strcspn(line, "\r\n")] = '\0';
    if (!*line || *line == '#')
        return 0;
    char *tab = strchr(line, '\t');
    if (!tab || tab == line || !tab[1])
        return error_set(err, BASE_ERR_USAGE, 0, "not of the form ARCHIVE<TAB>KIND:PATH");
    *tab = '\0';
    return source_add(m, line, tab + 1, err);
}

int manifest_read(const char *path, struct manifest *out, struct error *err)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *line = NULL;
    size_t cap = 0, number = 0;
    int rc = 0;
    if (!f)
        return error_errno(err, "%s", path);
    while (rc == 0 && getline(&line, &cap, f) >= 0) {
        number++;
        rc = line_read(out, line, err);
    }
    if (rc < 0)
        error_context(err, "%s: line %zu", path, number);
    else if (ferror(f))
        rc = error_errno(err, "%s", path);
    else if (!out->n)
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s names no archive", path);
    free(line);
    if (f != stdin)
        fclose(f);
    return rc;
}

int manifest_from(const char *archive, char *const *from, struct manifest *out, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && from[i]; i++)
        rc = source_add(out, archive, from[i], err);
    return rc;
}

void manifest_set_match(struct manifest *m, const char *match)
{
    for (size_t i = 0; match && i < m->n; i++)
        for (uint32_t j = 0; j < m->archives[i].sources_n; j++) {
            struct vault_spec *s = &m->archives[i].sources[j];
            g_free(s->match);
            s->match = g_strdup(match);
        }
}

void manifest_release(struct manifest *m)
{
    for (size_t i = 0; i < m->n; i++) {
        for (uint32_t j = 0; j < m->archives[i].sources_n; j++)
            vault_spec_release(&m->archives[i].sources[j]);
        g_free(m->archives[i].sources);
        g_free(m->archives[i].name);
    }
    g_free(m->archives);
    *m = (struct manifest){0};
}

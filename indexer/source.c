/* The vaults of a build: opened once, in the order given. One that cannot be opened leaves the others to work. */
#include "indexer_private.h"

#include "vault/segment.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int check_twice(const struct indexer_run *run, uint32_t n, struct error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (run->sources[i].vault && strcmp(run->sources[i].name, run->sources[n].name) == 0)
            return error_set(err, BASE_ERR_USAGE, 0, "%s is named twice", run->sources[n].name);
    return 0;
}

/* A rebuild reads the archive's own vault like the others. */
static int own_open(struct indexer_run *run, struct error *err)
{
    int rc = segment_vault_open(run->dir, &run->own.vault, err);
    run->own.name = rc == 0 ? strdup(MDS_SOURCE_OWN) : NULL;
    run->own.index = run->vaults_n;
    if (rc == 0)
        run->vaults[run->vaults_n++] = run->own.vault;
    return rc;
}

int indexer_sources_open(struct indexer_run *run, struct error *err)
{
    const struct indexer_build *b = run->build;
    int rc = 0;
    if (!b->sources_n && !run->restore)
        return error_set(err, BASE_ERR_USAGE, 0, "no source is given");
    run->sources = calloc(b->sources_n + 1, sizeof *run->sources);
    run->vaults = calloc(b->sources_n + 1, sizeof *run->vaults);
    ASSERT(run->sources && run->vaults);
    run->sources_n = b->sources_n;
    run->vaults_n = 0;
    for (uint32_t i = 0; rc == 0 && i < b->sources_n; i++) {
        struct indexer_source *s = &run->sources[i];
        s->spec = &b->sources[i];
        if (vault_open(s->spec, &s->vault, &s->why) < 0) {
            s->vault = NULL;
            continue;
        }
        if (asprintf(&s->name, "%s%s", b->import ? INDEXER_IMPORT : "", vault_name(s->vault)) < 0)
            s->name = NULL;
        ASSERT(s->name);
        s->index = run->vaults_n;
        run->vaults[run->vaults_n++] = s->vault;
        rc = check_twice(run, i, err);
    }
    if (rc == 0 && run->restore)
        rc = own_open(run, err);
    if (rc == 0 && !run->vaults_n && !b->allow_removals) {
        if (err)
            *err = run->sources[0].why;
        rc = error_set(NULL, BASE_ERR_NOTFOUND, 0, "no source");
        if (err)
            err->code = BASE_ERR_NOTFOUND;
    }
    return rc;
}

void indexer_sources_close(struct indexer_run *run)
{
    for (uint32_t i = 0; i < run->sources_n; i++) {
        vault_close(&run->sources[i].vault);
        free(run->sources[i].name);
    }
    vault_close(&run->own.vault);
    free(run->own.name);
    run->own.name = NULL;
    free(run->sources);
    free(run->vaults);
    run->sources = NULL;
    run->vaults = NULL;
    run->sources_n = run->vaults_n = 0;
}

/* "maildir:/a/b=FOLDER" and the source that was asked for: the same path and folder? */
static bool is_recorded_as(const struct vault_spec *spec, struct bytes recorded)
{
    char *path = g_canonicalize_filename(spec->path, NULL);
    char *want = spec->folder ? g_strconcat(":", path, "=", spec->folder, NULL) : g_strconcat(":", path, NULL);
    const uint8_t *colon = memchr(recorded.p, ':', recorded.n);
    bool same = colon && bytes_equal(bytes_slice(recorded, (size_t)(colon - recorded.p), recorded.n), bytes_str(want));
    g_free(want);
    g_free(path);
    return same;
}

static struct bytes without_kind(struct bytes name)
{
    const uint8_t *colon = memchr(name.p, ':', name.n);
    return colon ? bytes_slice(name, (size_t)(colon - name.p) + 1, name.n) : name;
}

/* Is the recorded source the vault of this spec, as another kind or filed into another folder? */
static bool is_same_vault(const struct vault_spec *spec, struct bytes recorded)
{
    const struct bytes there = without_kind(recorded);
    char *path = g_canonicalize_filename(spec->path, NULL), *whole = g_strndup((const char *)there.p, there.n);
    const size_t n = strlen(path);
    /* "=" may also belong to a path that begins like ours */
    const bool same =
        strcmp(whole, path) == 0 || (strncmp(whole, path, n) == 0 && whole[n] == '=' && access(whole, F_OK) != 0);
    g_free(whole);
    g_free(path);
    return same;
}

/* All of a vault would be filed again under another name: it is asked for by the name that it has. */
static int check_recorded(const struct indexer_run *run, struct mds_txn *txn, const struct indexer_source *s,
                          struct error *err)
{
    struct bytes name;
    for (uint32_t id = 1; mds_source_name(txn, id, &name, NULL) == 0; id++) {
        const bool imported =
            name.n >= sizeof INDEXER_IMPORT && memcmp(name.p, INDEXER_IMPORT, sizeof INDEXER_IMPORT - 1) == 0;
        if (imported)
            name = bytes_slice(name, sizeof INDEXER_IMPORT - 1, name.n);
        if (imported != run->build->import || bytes_equal(name, bytes_str(vault_name(s->vault))) ||
            !is_same_vault(s->spec, name))
            continue;
        return error_set(err, BASE_ERR_USAGE, 0,
                         "%s is in the archive as %.*s already: name it so, or choose another archive", s->name,
                         (int)name.n, (const char *)name.p);
    }
    return 0;
}

int indexer_sources_recall(struct indexer_run *run, struct error *err)
{
    struct indexer_report *r = run->report;
    struct mds_txn *txn = NULL;
    int rc = mds_read_begin(run->env, &txn, err);
    for (uint32_t i = 0; rc == 0 && i < run->sources_n; i++) {
        struct indexer_source *s = &run->sources[i];
        struct bytes name;
        if (s->vault) {
            rc = check_recorded(run, txn, s, err);
            continue;
        }
        for (uint32_t id = 1; !s->name && mds_source_name(txn, id, &name, NULL) == 0; id++)
            if (is_recorded_as(s->spec, name)) {
                s->name = strndup((const char *)name.p, name.n);
                ASSERT(s->name);
            }
        if (run->build->allow_removals && s->name && s->why.code == BASE_ERR_NOTFOUND)
            continue; /* the planner lets its items go */
        free(s->name);
        s->name = NULL;
        r->removals_refused++;
        snprintf(r->refused_source, sizeof r->refused_source, "%.250s", s->why.text);
    }
    mds_read_end(&txn);
    return rc;
}

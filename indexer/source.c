/* The vaults of a build: opened once, in the order given. One that cannot be opened leaves the others to work. */
#include "indexer_private.h"

#include "vault/segment.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    bool same =
        colon && bytes_equal(bytes_slice(recorded, (size_t)(colon - recorded.p), recorded.n), bytes_str(want));
    g_free(want);
    g_free(path);
    return same;
}

int indexer_sources_recall(struct indexer_run *run, struct error *err)
{
    struct indexer_report *r = run->report;
    struct mds_txn *txn = NULL;
    int rc = mds_read_begin(run->env, &txn, err);
    for (uint32_t i = 0; rc == 0 && i < run->sources_n; i++) {
        struct indexer_source *s = &run->sources[i];
        struct bytes name;
        if (s->vault)
            continue;
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

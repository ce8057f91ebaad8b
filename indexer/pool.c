/*
 * The pool: one pipeline, its workers and its set of known hashes, used by the archives of a group one after another.
 *
 * The workers' settings and vaults are fixed when they are forked: so archives share a pool only if their settings are
 * the same, and all their vaults are opened before. When an archive's turn ends (OP_END) no worker has anything of it
 * any more: that is when the known set may be emptied, for an item known in one archive is not known in the next.
 */
#include "indexer_private.h"
#include "system.h"

#include <stdlib.h>
#include <string.h>

#define VAULTS_MAX 256u /* each holds a descriptor, here and in every worker */

bool indexer_pool_fits(const struct indexer_pool *pool, const struct indexer_run *run)
{
    uint64_t vaults_max = indexer_descriptors_max() / 4;
    if (!pool->archives)
        return true;
    const struct indexer_build *a = pool->first->build, *b = run->build;
    if (vaults_max > VAULTS_MAX)
        vaults_max = VAULTS_MAX;
    return pool->archives < INDEXER_GROUP_MAX && (uint64_t)pool->vaults_n + run->vaults_n <= vaults_max &&
           a->jobs == b->jobs && a->item_ms == b->item_ms && a->io_idle == b->io_idle && a->parse == b->parse &&
           indexer_settings_same(&pool->first->mime, &run->mime);
}

void indexer_pool_add(struct indexer_pool *pool, struct indexer_run *run)
{
    ASSERT(!pool->ingest);
    if (!pool->archives++)
        pool->first = run;
    if (!run->vaults_n)
        return;
    pool->vaults = realloc(pool->vaults, ((size_t)pool->vaults_n + run->vaults_n) * sizeof(struct vault *));
    ASSERT(pool->vaults);
    memcpy(pool->vaults + pool->vaults_n, run->vaults, run->vaults_n * sizeof(struct vault *));
    for (uint32_t i = 0; i < run->sources_n; i++)
        run->sources[i].index += pool->vaults_n;
    run->own.index += pool->vaults_n;
    pool->vaults_n += run->vaults_n;
}

static int start(struct indexer_pool *pool, struct indexer_run *run, struct error *err)
{
    const struct indexer_build *b = run->build;
    struct ingest_settings settings = {
        .workers = b->jobs,
        .vaults = pool->vaults,
        .vaults_n = pool->vaults_n,
        .mime = run->mime,
        .item_ms = b->item_ms,
        .io_idle = b->io_idle,
        .parse = b->parse,
    };
    int rc = ingest_known_new(run->dir, &pool->known, err);
    if (rc < 0)
        return rc;
    settings.known = pool->known;
    if (!pool->vaults_n) {
        /* All sources are gone and their items are to go: nothing will be read, but the ops need their pipeline, and it
         * a vault. */
        const struct vault_spec nothing = {.kind = VAULT_KIND_EML_TREE, .path = run->dir};
        rc = vault_open(&nothing, &pool->nothing, err);
        if (rc < 0)
            return rc;
        settings.vaults = &pool->nothing;
        settings.vaults_n = 1;
    }
    rc = ingest_open(&settings, &pool->ingest, err);
    pool->started += rc == 0;
    return rc;
}

int indexer_pool_start(struct indexer_pool *pool, struct indexer_run *run, struct error *err)
{
    if (pool->ingest && ingest_known_clear(pool->known, err) < 0)
        indexer_pool_stop(pool); /* a new one says what is the matter */
    if (!pool->ingest) {
        int rc = start(pool, run, err);
        if (rc < 0) {
            indexer_pool_stop(pool);
            return rc;
        }
    }
    run->known = pool->known;
    run->ingest = pool->ingest;
    ingest_get_stats(pool->ingest, &run->before);
    return 0;
}

void indexer_pool_stop(struct indexer_pool *pool)
{
    ingest_free(&pool->ingest);
    ingest_known_free(&pool->known);
    vault_close(&pool->nothing);
}

void indexer_pool_release(struct indexer_pool *pool)
{
    indexer_pool_stop(pool);
    free(pool->vaults);
    pool->vaults = NULL;
}

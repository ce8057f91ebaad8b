/*
 * A build from opening to closing.
 *
 * The order matters: vaults, then the pipeline (it forks: no thread and no open LMDB environment yet), then
 * the store, then the planner thread. The store is opened once before, briefly, for the settings that
 * the workers must know and to see that no other build holds it.
 */
#include "indexer_private.h"
#include "system.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A map that was full in the middle of a batch has grown when the build begins again; each time by much. */
#define RESTARTS_MAX 64

static int pipeline_open(struct indexer_run *run, struct error *err)
{
    const struct indexer_build *b = run->build;
    struct ingest_settings settings = {
        .workers = b->jobs,
        .vaults = run->vaults,
        .vaults_n = run->vaults_n,
        .mime = run->mime,
        .item_ms = b->item_ms,
        .io_idle = b->io_idle,
        .parse = b->parse,
    };
    int rc = ingest_known_new(run->dir, &run->known, err);
    if (rc < 0)
        return rc;
    settings.known = run->known;
    if (!run->vaults_n) {
        /* All sources are gone and their items are to go: nothing will be read, but the ops need their pipeline, and it a vault. */
        const struct vault_spec nothing = {.kind = VAULT_KIND_EML_TREE, .path = run->dir};
        rc = vault_open(&nothing, &run->nothing, err);
        if (rc < 0)
            return rc;
        settings.vaults = &run->nothing;
        settings.vaults_n = 1;
    }
    return ingest_open(&settings, &run->ingest, err);
}

static int store_open(struct indexer_run *run, struct error *err)
{
    struct mds_options opts = {
        .create = true, .archive_name = run->build->archive, .map_bytes = run->map_bytes};
    int rc = mds_open(run->dir, &opts, &run->env, err);
    if (rc == 0)
        rc = mds_build_lock(run->env, err);
    return rc;
}

/* Signals are for the caller's thread: its handlers set the flag that everybody looks at. */
static int planner_start(struct indexer_run *run, pthread_t *out, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(out, NULL, indexer_plan, run);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return error_set(err, BASE_ERR_NOMEM, rc, "no thread could be started: %s", strerror(rc));
    pthread_setname_np(*out, "mds-planner");
    return 0;
}

static void take_stats(struct indexer_run *run)
{
    struct indexer_report *r = run->report;
    struct ingest_stats s;
    if (!run->ingest)
        return;
    ingest_get_stats(run->ingest, &s);
    r->parsed += s.parsed;
    r->crashed += s.crashed;
    r->hung += s.hung;
    r->containers = atomic_load(&run->containers);
    r->containers_skipped = atomic_load(&run->containers_skipped);
}

static int finish(struct indexer_run *run, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct mds_stat *stat = calloc(1, sizeof *stat);
    ASSERT(stat);
    int rc = mds_read_begin(run->env, &txn, err);
    bool complete = rc == 0 && mds_hashes_complete(txn);
    mds_read_end(&txn);
    if (rc == 0 && !complete)
        rc = mds_hashes_build(run->env, run->tmp, err);
    if (rc == 0 && (rc = mds_read_begin(run->env, &txn, err)) == 0) {
        if (mds_stat(txn, stat, NULL) == 0)
            run->report->file_bytes = stat->file_bytes;
        mds_read_end(&txn);
    }
    free(stat);
    return rc;
}

static int work(struct indexer_run *run, struct error *err)
{
    pthread_t planner;
    int rc = planner_start(run, &planner, err);
    if (rc < 0)
        return rc;
    rc = indexer_write(run, err);
    if (rc != 0)
        ingest_cancel(run->ingest);
    pthread_join(planner, NULL);
    if (rc == 0 && run->plan_rc < 0) {
        rc = run->plan_rc;
        if (err)
            *err = run->plan_err;
    }
    return rc;
}

static int run_once(struct indexer_run *run, struct error *err)
{
    run->plan_rc = 0;
    run->plan_err = (struct error){0};
    atomic_store(&run->containers, 0);
    atomic_store(&run->containers_skipped, 0);
    atomic_store(&run->planned, 0);
    atomic_store(&run->planned_all, false);
    int rc = indexer_sources_open(run, err);
    if (rc == 0)
        rc = indexer_settings_load(run, err);
    if (rc == 0)
        rc = pipeline_open(run, err);
    if (rc == 0)
        rc = store_open(run, err);
    if (rc == 0)
        rc = indexer_sources_recall(run, err);
    run->committed = *run->report;
    if (rc == 0)
        rc = work(run, err);
    if (rc == BASE_ERR_AGAIN)
        *run->report = run->committed;
    take_stats(run);
    ingest_free(&run->ingest);
    if (rc == 0)
        rc = finish(run, err);
    if (run->env)
        mds_build_unlock(run->env);
    mds_close(&run->env);
    ingest_known_free(&run->known);
    vault_close(&run->nothing);
    indexer_settings_release(run);
    indexer_sources_close(run);
    return rc;
}

int indexer_run(struct indexer_run *run, struct error *err)
{
    struct indexer_report *r = run->report;
    double cpu_before = indexer_cpu_seconds();
    int rc = BASE_ERR_AGAIN;
    run->began_ns = indexer_monotonic_ns();
    run->map_bytes = run->build->map_bytes;
    for (int i = 0; rc == BASE_ERR_AGAIN && i < RESTARTS_MAX; i++) {
        r->removals_refused = 0;
        rc = run_once(run, err);
        run->map_bytes *= 2; /* the store is opened anew; 0 stays the store's own choice, which follows the file */
    }
    r->seconds = (double)(indexer_monotonic_ns() - run->began_ns) / 1e9;
    r->cpu_seconds = indexer_cpu_seconds() - cpu_before;
    return rc;
}

static int archive_dir(const struct indexer_build *build, char **out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = calloc(1, sizeof *info);
    ASSERT(info);
    int rc = mds_catalogue_open(build->store_dir, true, false, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, build->archive, true, info, err);
    if (rc == 0)
        *out = strdup(info->dir);
    mds_catalogue_close(&catalogue);
    free(info);
    return rc;
}

int indexer_build(const struct indexer_build *build, struct indexer_report *report, struct error *err)
{
    struct error why = {0};
    struct indexer_run run = {.build = build, .report = report};
    *report = (struct indexer_report){0};
    int rc = archive_dir(build, &run.dir, &why);
    run.tmp = run.dir;
    if (rc == 0)
        rc = indexer_run(&run, &why);
    free(run.dir);
    if (rc < 0) {
        if (rc != BASE_ERR_CANCELLED && rc != BASE_ERR_USAGE)
            error_context(&why, "archive %s", build->archive);
        if (err)
            *err = why;
    }
    return rc;
}

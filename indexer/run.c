/*
 * A build from opening to closing.
 *
 * The order matters: vaults, then the pipeline (it forks: no thread and no open LMDB environment), then
 * the store, then the planner thread. The store is opened once before, briefly, for the settings that
 * the workers must know and to see that no other build holds it. Of archives that share a pipeline all are prepared
 * before it is opened, then each has its turn; a turn that fails leaves tasks behind, so it takes the pipeline with it.
 */
#include "indexer_private.h"
#include "mds/columns.h"
#include "system.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A map that was full in the middle of a batch has grown when the build begins again; each time by much. */
#define RESTARTS_MAX 64

static int store_open(struct indexer_run *run, struct error *err)
{
    struct mds_options opts = {.create = true, .archive_name = run->build->archive, .map_bytes = run->map_bytes};
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
    r->parsed += s.parsed - run->before.parsed;
    r->crashed += s.crashed - run->before.crashed;
    r->hung += s.hung - run->before.hung;
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
    if (rc == 0)
        rc = mds_columns_build(run->env, err);
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

static int run_once(struct indexer_run *run, struct indexer_pool *pool, bool last, struct error *err)
{
    run->plan_rc = 0;
    run->plan_err = (struct error){0};
    atomic_store(&run->containers, 0);
    atomic_store(&run->containers_skipped, 0);
    atomic_store(&run->planned, 0);
    atomic_store(&run->planned_all, false);
    int rc = indexer_pool_start(pool, run, err);
    if (rc == 0)
        rc = store_open(run, err);
    if (rc == 0)
        rc = indexer_settings_check(run, err);
    if (rc == 0)
        rc = mds_hashes_gather(run->env, run->tmp, err);
    if (rc == 0)
        rc = indexer_sources_recall(run, err);
    run->committed = *run->report;
    bool worked = rc == 0;
    if (worked)
        rc = work(run, err);
    if (rc == BASE_ERR_AGAIN)
        *run->report = run->committed;
    take_stats(run);
    run->ingest = NULL;
    run->known = NULL;
    if (last || (worked && rc != 0))
        indexer_pool_stop(pool);
    if (rc == 0)
        rc = finish(run, err);
    if (run->env)
        mds_build_unlock(run->env);
    mds_close(&run->env);
    return rc;
}

int indexer_run_prepare(struct indexer_run *run, struct error *err)
{
    int64_t began_ns = indexer_monotonic_ns();
    run->map_bytes = run->build->map_bytes;
    int rc = indexer_sources_open(run, err);
    if (rc == 0)
        rc = indexer_settings_load(run, err);
    run->report->seconds = (double)(indexer_monotonic_ns() - began_ns) / 1e9;
    return rc;
}

int indexer_run_turn(struct indexer_run *run, struct indexer_pool *pool, bool last, struct error *err)
{
    struct indexer_report *r = run->report;
    bool alone = pool->archives == 1; /* else the workers' time is nobody's in particular */
    double cpu_before = indexer_cpu_seconds(alone), seconds = r->seconds;
    int rc = BASE_ERR_AGAIN;
    run->began_ns = indexer_monotonic_ns();
    for (int i = 0; rc == BASE_ERR_AGAIN && i < RESTARTS_MAX; i++) {
        r->removals_refused = 0;
        rc = run_once(run, pool, last, err);
        run->map_bytes *= 2; /* the store is opened anew; 0 stays the store's own choice, which follows the file */
    }
    r->seconds = seconds + (double)(indexer_monotonic_ns() - run->began_ns) / 1e9;
    r->cpu_seconds = indexer_cpu_seconds(alone) - cpu_before;
    return rc;
}

void indexer_run_release(struct indexer_run *run)
{
    indexer_settings_release(run);
    indexer_sources_close(run);
}

int indexer_run(struct indexer_run *run, struct error *err)
{
    struct indexer_pool pool = {0};
    int rc = indexer_run_prepare(run, err);
    if (rc == 0) {
        indexer_pool_add(&pool, run);
        rc = indexer_run_turn(run, &pool, true, err);
    }
    indexer_pool_release(&pool);
    indexer_run_release(run);
    return rc;
}

static bool store_stands(const char *dir)
{
    char *path = NULL;
    struct stat st;
    ASSERT(asprintf(&path, "%s/data.mdb", dir) > 0);
    const bool stands = stat(path, &st) == 0 && st.st_size > 0;
    free(path);
    return stands;
}

int indexer_archive_made(const struct indexer_build *build, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    int rc = mds_catalogue_open(build->store_dir, false, false, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_made(catalogue, build->archive, err);
    mds_catalogue_close(&catalogue);
    return rc;
}

/* A name that removed archives had: what is made under it now must not be taken for theirs. */
static int make_above(const struct mds_archive_info *info, struct error *err)
{
    const struct mds_options opts = {
        .create = true, .archive_name = info->name, .uidvalidity_floor = info->uidvalidity_floor};
    struct mds_env *env = NULL;
    int rc = mds_open(info->dir, &opts, &env, err);
    mds_close(&env);
    return rc;
}

int indexer_archive_dir(const struct indexer_build *build, char **out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = calloc(1, sizeof *info);
    ASSERT(info);
    int rc = mds_catalogue_open(build->store_dir, true, false, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, build->archive, true, info, err);
    if (rc == 0 && info->made && !store_stands(info->dir))
        rc = error_set(
            err, BASE_ERR_CORRUPT, 0,
            "%s/data.mdb was made once and is gone: a new one would give old UIDs to other messages. Restore it "
            "from a backup, make it anew from its own vault (mds rebuild --recover), or build an archive of another "
            "name",
            info->dir);
    mds_catalogue_close(&catalogue);
    if (rc == 0 && info->uidvalidity_floor && !store_stands(info->dir))
        rc = make_above(info, err);
    if (rc == 0)
        *out = strdup(info->dir);
    free(info);
    return rc;
}

int indexer_result(const struct indexer_build *build, int rc, struct error *why, struct error *err)
{
    if (rc < 0) {
        if (rc != BASE_ERR_CANCELLED && rc != BASE_ERR_USAGE)
            error_context(why, "archive %s", build->archive);
        if (err)
            *err = *why;
    }
    return rc;
}

int indexer_build(const struct indexer_build *build, struct indexer_report *report, struct error *err)
{
    struct error why = {0};
    struct indexer_run run = {.build = build, .report = report};
    *report = (struct indexer_report){0};
    int rc = indexer_archive_dir(build, &run.dir, &why);
    run.tmp = run.dir;
    if (rc == 0)
        rc = indexer_run(&run, &why);
    free(run.dir);
    return indexer_result(build, rc, &why, err);
}

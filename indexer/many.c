/*
 * Many archives, one after another, by as few pipelines as can be: groups of archives whose vaults are open at a time
 * share one (pool.c). What fails for one archive is told of that archive; the others go on.
 */
#include "indexer_private.h"
#include "system.h"

#include <stdlib.h>

struct member {
    struct indexer_run run;
    struct indexer_report report;
    struct error why;
    int rc; /* of its preparation, then of its build */
};

struct group {
    struct member **members;
    size_t n, cap;
    struct indexer_pool pool;
    struct member *last; /* of those that need the pool */
};

struct batch {
    const struct indexer_build *builds;
    size_t n, next;
    struct member *held; /* prepared, but for the next group */
    indexer_built_fn *built;
    void *arg;
    struct indexer_total *total;
};

static int stopped(struct error *err)
{
    return error_set(err, BASE_ERR_CANCELLED, 0, INDEXER_STOPPED);
}

static struct member *member_new(const struct indexer_build *build)
{
    struct member *m = calloc(1, sizeof *m);
    ASSERT(m);
    m->run.build = build;
    m->run.report = &m->report;
    m->rc = indexer_archive_dir(build, &m->run.dir, &m->why);
    m->run.tmp = m->run.dir;
    if (m->rc == 0)
        m->rc = indexer_run_prepare(&m->run, &m->why);
    if (m->rc < 0)
        indexer_run_release(&m->run); /* it keeps no descriptor until its turn to be told of */
    return m;
}

static void member_free(struct member *m)
{
    if (!m)
        return;
    indexer_run_release(&m->run);
    free(m->run.dir);
    free(m);
}

static void group_put(struct group *g, struct member *m)
{
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 16;
        g->members = realloc(g->members, g->cap * sizeof(struct member *));
        ASSERT(g->members);
    }
    g->members[g->n++] = m;
    if (m->rc < 0)
        return;
    indexer_pool_add(&g->pool, &m->run);
    g->last = m;
}

/* Takes archives as long as they fit. */
static void group_fill(struct group *g, struct batch *b)
{
    while ((b->held || b->next < b->n) && g->n < INDEXER_GROUP_MAX) {
        if (!b->held && indexer_cancelled(&b->builds[b->next]))
            return;
        if (!b->held)
            b->held = member_new(&b->builds[b->next++]);
        if (b->held->rc == 0 && !indexer_pool_fits(&g->pool, &b->held->run))
            return;
        group_put(g, b->held);
        b->held = NULL;
    }
}

static int group_build(struct group *g, struct batch *b, struct error *err)
{
    for (size_t i = 0; i < g->n; i++) {
        struct member *m = g->members[i];
        if (indexer_cancelled(m->run.build))
            return stopped(err);
        if (m->rc == 0)
            m->rc = indexer_run_turn(&m->run, &g->pool, m == g->last, &m->why);
        indexer_result(m->run.build, m->rc, &m->why, NULL);
        b->total->finished += m->rc != BASE_ERR_CANCELLED;
        b->built(m->run.build, &m->report, m->rc, &m->why, b->arg);
        if (m->rc == BASE_ERR_CANCELLED)
            return stopped(err);
    }
    return 0;
}

static void group_release(struct group *g)
{
    indexer_pool_release(&g->pool); /* before the vaults that it borrows */
    for (size_t i = 0; i < g->n; i++)
        member_free(g->members[i]);
    free(g->members);
}

int indexer_build_many(const struct indexer_build *builds, size_t n, indexer_built_fn *built, void *arg,
                       struct indexer_total *total, struct error *err)
{
    struct batch b = {.builds = builds, .n = n, .built = built, .arg = arg, .total = total};
    int64_t began_ns = indexer_monotonic_ns();
    double cpu_before = indexer_cpu_seconds(true);
    int rc = 0;
    *total = (struct indexer_total){.archives = n};
    while (rc == 0 && (b.held || b.next < n)) {
        struct group g = {0};
        group_fill(&g, &b);
        rc = g.n ? group_build(&g, &b, err) : stopped(err);
        total->pools += g.pool.started;
        group_release(&g);
    }
    member_free(b.held);
    total->seconds = (double)(indexer_monotonic_ns() - began_ns) / 1e9;
    total->cpu_seconds = indexer_cpu_seconds(true) - cpu_before;
    return rc;
}

/*
 * The map of an environment. It grows behind a gate: mdb_env_set_mapsize under a live reader succeeds, and the reader's
 * pointers die. And all maps of a process share its address space, of which there is 47 bits: thousands of archives
 * with room to grow do fit, but somebody has to count.
 */
#include "mds_private.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define ALL_MAPS_BYTES UINT64_C(100000000000000) /* of 140 TB; the rest is for everything else */
#define SHARE_OF_REST  256u                      /* one map takes no more of what is left, unless its file needs it */

/* Innermost lock: nothing is locked or waited for under it. */
static struct {
    pthread_mutex_t mutex;
    uint64_t used_bytes; /* sum of map_bytes of all environments */
} budget = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- the budget ---- */

static uint64_t budget_bytes(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / 4 * 3 < ALL_MAPS_BYTES)
        return limit.rlim_cur / 4 * 3;
    return ALL_MAPS_BYTES;
}

/* What this environment may have, between `need` and `want`; it counts as had. */
static int budget_claim(struct mds_env *env, uint64_t want, uint64_t need, uint64_t *out, struct error *err)
{
    const uint64_t all = budget_bytes(), page = 4096;
    int rc = BASE_OK;

    (void)pthread_mutex_lock(&budget.mutex);
    const uint64_t others = budget.used_bytes - env->map_bytes;
    const uint64_t rest = all > others ? all - others : 0;
    const uint64_t share = rest / SHARE_OF_REST > need ? rest / SHARE_OF_REST : need;

    *out = (want < share ? want : share) / page * page;
    if (*out > rest) {
        rc = error_set(err, BASE_ERR_NOMEM, 0,
                       "%s: no address space for its map of %llu MiB: this process has %llu GiB mapped already",
                       env->dir, (unsigned long long)(*out >> 20), (unsigned long long)(others >> 30));
    } else {
        budget.used_bytes = others + *out;
        env->map_bytes = *out;
    }
    (void)pthread_mutex_unlock(&budget.mutex);
    return rc;
}

void env_map_note(struct mds_env *env)
{
    MDB_envinfo info;

    if (mdb_env_info(env->lmdb, &info) != 0)
        return;
    (void)pthread_mutex_lock(&budget.mutex);
    budget.used_bytes += info.me_mapsize - env->map_bytes;
    env->map_bytes = info.me_mapsize;
    (void)pthread_mutex_unlock(&budget.mutex);
}

void env_map_release(struct mds_env *env)
{
    (void)pthread_mutex_lock(&budget.mutex);
    budget.used_bytes -= env->map_bytes;
    env->map_bytes = 0;
    (void)pthread_mutex_unlock(&budget.mutex);
}

static uint64_t map_wanted(uint64_t file_bytes)
{
    const uint64_t grown = file_bytes > UINT64_MAX / 16 ? file_bytes : file_bytes * 8;

    return grown > ENV_MAP_BYTES ? grown : ENV_MAP_BYTES;
}

static uint64_t map_needed(uint64_t file_bytes)
{
    return file_bytes > UINT64_MAX / 16 ? file_bytes : file_bytes + file_bytes / 4 + 2 * MDS_MAP_RESERVE;
}

int env_map_claim(struct mds_env *env, uint64_t fixed_bytes, uint64_t file_bytes, uint64_t *out, struct error *err)
{
    if (fixed_bytes)
        return budget_claim(env, fixed_bytes, fixed_bytes, out, err);
    return budget_claim(env, map_wanted(file_bytes), map_needed(file_bytes), out, err);
}

/* ---- the gate ---- */

static struct timespec deadline_in(unsigned ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

int env_enter(struct mds_env *env, struct error *err)
{
    int rc = BASE_OK;

    if (env->pid != getpid())
        return error_set(err, BASE_ERR_USAGE, 0, "%s was opened before a fork: open it anew in the child", env->dir);
    (void)pthread_mutex_lock(&env->mutex);
    if (env->gate_shut) {
        const struct timespec until = deadline_in(ENV_GATE_WAIT_MS + 1000);

        while (env->gate_shut && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&env->changed, &env->mutex, &until);
        rc = env->gate_shut ? error_set(err, BASE_ERR_LOCKED, 0, "%s: its map is still growing", env->dir) : BASE_OK;
    }
    if (rc == BASE_OK)
        env->live++;
    (void)pthread_mutex_unlock(&env->mutex);
    return rc;
}

void env_leave(struct mds_env *env)
{
    (void)pthread_mutex_lock(&env->mutex);
    ASSERT(env->live > 0);
    env->live--;
    if (env->gate_shut)
        (void)pthread_cond_broadcast(&env->changed);
    (void)pthread_mutex_unlock(&env->mutex);
}

/* bytes 0: take over what another process made. `patient` false: not while readers live here. */
static int map_set(struct mds_env *env, uint64_t bytes, bool patient, struct error *err)
{
    const struct timespec until = deadline_in(ENV_GATE_WAIT_MS);
    int rc = BASE_OK, wait = 0;

    (void)pthread_mutex_lock(&env->mutex);
    while (env->gate_shut && wait != ETIMEDOUT) /* one at a time */
        wait = pthread_cond_timedwait(&env->changed, &env->mutex, &until);
    if (wait != ETIMEDOUT && (patient || env->live == 0)) {
        env->gate_shut = true;
        while (env->live > 0 && wait != ETIMEDOUT)
            wait = pthread_cond_timedwait(&env->changed, &env->mutex, &until);
        if (env->live == 0) {
            const int lmdb = mdb_env_set_mapsize(env->lmdb, (size_t)bytes);

            if (lmdb)
                rc = env_lmdb_error(env, lmdb, "growing its map", err);
            else
                env->want_grow = false;
        }
        env->gate_shut = false;
        (void)pthread_cond_broadcast(&env->changed);
    }
    env_map_note(env); /* what it really is now */
    if (rc == BASE_OK && patient && wait == ETIMEDOUT)
        rc = error_set(err, BASE_ERR_LOCKED, 0, "%s: its map must grow, but a transaction of this process stays open",
                       env->dir);
    (void)pthread_mutex_unlock(&env->mutex);
    return rc;
}

int env_map_follow(struct mds_env *env, struct error *err)
{
    return map_set(env, 0, true, err);
}

/* To at least `need` bytes, if there is address space. */
static int map_grow(struct mds_env *env, uint64_t now, uint64_t want, uint64_t need, bool patient, struct error *err)
{
    uint64_t granted;
    const int rc = budget_claim(env, want, need, &granted, err);

    if (rc != BASE_OK)
        return patient ? rc : BASE_OK;
    if (granted > now)
        return map_set(env, granted, patient, err);
    env_map_note(env);
    return BASE_OK;
}

int env_map_prepare(struct mds_env *env, struct error *err)
{
    MDB_envinfo info;

    (void)pthread_mutex_lock(&env->mutex); /* mdb_env_info reads the map, which map_set replaces */
    const int lmdb = mdb_env_info(env->lmdb, &info);
    const bool want_grow = env->want_grow;

    (void)pthread_mutex_unlock(&env->mutex);
    if (lmdb)
        return env_lmdb_error(env, lmdb, "asking for its size", err);
    const uint64_t used = ((uint64_t)info.me_last_pgno + 1) * env->page_bytes, map = info.me_mapsize;

    if (want_grow && env->fixed_map)
        return map_grow(env, map, map * 2, map * 2, true, err);
    if (want_grow)
        return map_grow(env, map, map_wanted(map > used ? map : used), map + MDS_MAP_RESERVE, true, err);
    if (!env->fixed_map && map - used < MDS_MAP_RESERVE)
        return map_grow(env, map, map_wanted(used), map_needed(used), false, err);
    return BASE_OK;
}

/*
 * hashes_gather: the keys of a first build's items, kept as they are committed,
 * so that mds_hashes_build need not read every item again when nothing else is left to do.
 *
 * What is gathered are the items [first, next) of this process's commits in a row. Anything that could make a key of
 * them wrong (an item removed or changed, another process's items in between, a full disk under the sorters) drops
 * it all: then the build reads the items, as it does after a run that was killed.
 *
 * Threads: the environment's gather belongs to the process's one writer, from mds_write_begin to the end of its commit.
 */
#include "mds_private.h"

#include "base/sorter.h"

struct gather *gather_new(const char *tmpdir, uint64_t items_removed, struct error *err)
{
    struct gather *g = calloc(1, sizeof *g);

    ASSERT(g);
    g->items_removed = items_removed;
    if (sorter_new(tmpdir, HASHES_SORTER_BYTES, &g->hashes, err) != BASE_OK ||
        sorter_new(tmpdir, HASHES_SORTER_BYTES, &g->msgids, err) != BASE_OK)
        gather_free(&g);
    return g;
}

void gather_free(struct gather **gp)
{
    if (!*gp)
        return;
    sorter_free(&(*gp)->hashes);
    sorter_free(&(*gp)->msgids);
    free(*gp);
    *gp = NULL;
}

int gather_push(struct gather *g, const struct mds_item *it, struct error *err)
{
    struct key key;

    hash_key(&key, &it->hash, it->id);
    const int rc = sorter_push(g->hashes, key_bytes(&key), (struct bytes){0}, err);

    if (rc != BASE_OK || !it->msgid_hash)
        return rc;
    msgid_key(&key, it->msgid_hash, it->id);
    return sorter_push(g->msgids, key_bytes(&key), (struct bytes){0}, err);
}

int mds_hashes_gather(struct mds_env *env, const char *tmpdir, struct error *err)
{
    struct mds_txn *t = NULL;
    int rc = mds_write_begin(env, &t, err);

    if (rc != BASE_OK)
        return rc;
    if (!env->gather && !mds_hashes_complete(t) &&
        !(env->gather = gather_new(tmpdir, t->w->counters.items_removed, err)))
        rc = err ? err->code : BASE_ERR_IO;
    mds_write_abort(&t);
    return rc;
}

void gather_add(struct mds_txn *t, const struct mds_item *it)
{
    if (t->env->gather)
        buf_append(&t->w->gathered, &(struct gathered){it->id, it->msgid_hash, it->hash}, sizeof(struct gathered));
}

void gather_spoil(struct mds_txn *t)
{
    t->w->gather_spoilt = true;
}

void gather_committed(struct mds_txn *t)
{
    struct gather *g = t->env->gather;
    const size_t n = t->w->gathered.n / sizeof(struct gathered);
    bool spoilt = t->w->gather_spoilt;

    if (!g)
        return;
    for (size_t i = 0; i < n && !spoilt; i++) {
        struct gathered one;

        memcpy(&one, t->w->gathered.p + i * sizeof one, sizeof one);
        if (g->next == 0)
            g->first = g->next = one.id;
        spoilt = one.id != g->next ||
                 gather_push(g, &(struct mds_item){.id = one.id, .hash = one.hash, .msgid_hash = one.msgid_hash},
                             NULL) != BASE_OK;
        g->next++;
    }
    if (spoilt)
        gather_free(&t->env->gather);
}

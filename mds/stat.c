/* Sizes and counts, from LMDB's own pages and the counters row: nothing is scanned but the list of free pages. */
#include "mds_private.h"

#include <sys/stat.h>

static int free_pages(struct mds_txn *t, uint64_t *out, struct error *err)
{
    MDB_cursor *c = NULL;
    MDB_val k = {0}, v = {0};
    int lmdb;

    *out = 0;
    if (t->w) /* LMDB shows its free list, database 0, to readers only */
        return BASE_OK;
    lmdb = mdb_cursor_open(t->lmdb, 0, &c);
    if (lmdb)
        return txn_fail(t, lmdb, "reading the free list", err);
    while ((lmdb = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
        size_t n = 0;

        if (v.mv_size >= sizeof n)
            memcpy(&n, v.mv_data, sizeof n);
        *out += n;
    }
    mdb_cursor_close(c);
    return lmdb == MDB_NOTFOUND ? BASE_OK : txn_fail(t, lmdb, "reading the free list", err);
}

static int table_stats(struct mds_txn *t, struct mds_stat *out, struct error *err)
{
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        MDB_stat st;

        if (!(t->env->tables >> i & 1))
            continue;
        const int lmdb = mdb_stat(t->lmdb, t->env->dbi[i], &st);

        if (lmdb)
            return txn_fail(t, lmdb, "asking for a table's size", err);
        out->tables[out->tables_n++] = (struct mds_table_stat){
            .name = table_names[i],
            .entries = st.ms_entries,
            .pages = st.ms_branch_pages + st.ms_leaf_pages,
            .overflow_pages = st.ms_overflow_pages,
            .bytes = (uint64_t)(st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) * st.ms_psize,
        };
    }
    return BASE_OK;
}

int mds_stat(struct mds_txn *t, struct mds_stat *out, struct error *err)
{
    struct counters counters;
    struct mds_folder f;
    MDB_envinfo info;
    struct stat st;
    int rc;

    *out = (struct mds_stat){0};
    if (t->w && (rc = pack_flush(t, err)) != BASE_OK)
        return rc;
    if (stat(t->env->path, &st) != 0)
        return error_errno(err, "stat %s", t->env->path);
    (void)mdb_env_info(t->env->lmdb, &info);
    out->file_bytes = (uint64_t)st.st_blocks * 512;
    out->map_bytes = info.me_mapsize;
    out->used_bytes = ((uint64_t)info.me_last_pgno + 1) * t->env->page_bytes;
    out->readers = info.me_numreaders;
    if ((rc = free_pages(t, &out->free_pages, err)) != BASE_OK || (rc = table_stats(t, out, err)) != BASE_OK)
        return rc;
    if (t->w)
        counters = t->w->counters;
    else if ((rc = meta_load_counters(t, &counters, err)) != BASE_OK)
        return rc;
    out->items = counters.items;
    out->messages = counters.messages;
    out->folders = counters.folders;
    memcpy(out->defects, counters.defects, sizeof out->defects);
    if (t->w && (rc = folder_flush(t, err)) != BASE_OK)
        return rc;
    for (uint32_t id = 0; (rc = folder_next_id(t, id, &f, err)) == 1; id = f.id) {
        if (f.highestmodseq > out->highestmodseq)
            out->highestmodseq = f.highestmodseq;
    }
    return rc;
}

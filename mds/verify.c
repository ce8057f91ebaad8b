/*
 * Verification, first half: every row of every table by itself. LMDB has no checksums, so its branch keys, page numbers
 * and counts are checked by what they do: rows must come in order, each must be found again by its key, and their
 * number and the sum of their seals must be what the last commit wrote down.
 */
#include "mds_private.h"

#include <stdarg.h>

void verify_say(struct verify *v, const char *fmt, ...)
{
    char text[480];
    va_list args;

    if (verify_full(v))
        return;
    v->found++;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (v->finding)
        v->finding(text, v->arg);
}

/* ---- the file ---- */

static int free_list_pages(struct verify *v, uint64_t *out)
{
    struct mds_stat st;
    struct error err;
    const int rc = mds_stat(v->t, &st, &err);

    *out = st.free_pages;
    if (rc != BASE_OK)
        verify_say(v, "the list of free pages cannot be read: %s", err.text);
    return rc;
}

/* Every page belongs to a table, or is free, or is one of the two meta pages. */
static void verify_pages(struct verify *v)
{
    MDB_envinfo before, after;
    MDB_stat st;
    uint64_t pages = 2, free_pages = 0;

    (void)mdb_env_info(v->t->env->lmdb, &before);
    for (unsigned i = 0; i < TABLE_COUNT + 2; i++) {
        if (i < TABLE_COUNT && !(v->t->env->tables >> i & 1))
            continue;
        /* 0 and 1 are LMDB's own: the free list and the table of tables. */
        if (mdb_stat(v->t->lmdb, i < TABLE_COUNT ? v->t->env->dbi[i] : i - TABLE_COUNT, &st)) {
            verify_say(v, "the size of a table cannot be read");
            return;
        }
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    if (free_list_pages(v, &free_pages) != BASE_OK)
        return;
    (void)mdb_env_info(v->t->env->lmdb, &after);
    if (before.me_last_txnid != after.me_last_txnid || before.me_last_txnid != mdb_txn_id(v->t->lmdb))
        return; /* somebody commits: the sizes are not of one moment */
    if (pages + free_pages != (uint64_t)after.me_last_pgno + 1)
        verify_say(v, "pages: %llu in use and %llu free, of %llu", (unsigned long long)pages,
                   (unsigned long long)free_pages, (unsigned long long)after.me_last_pgno + 1);
}

/*
 * Is the older meta page really the one before? A commit frees the root of the table of tables that it replaces, under
 * its own number. If the newest meta page was made to look older, LMDB quietly serves the commit before it, sound in
 * itself; but the root of what hides there was not freed by the commit that now looks newest.
 */
static bool older_root_was_freed(struct verify *v, uint64_t txnid, uint64_t root)
{
    const size_t number = (size_t)txnid; /* LMDB's key: native */
    MDB_val k = {sizeof number, (void *)(uintptr_t)&number}, pages = {0};
    MDB_cursor *c = NULL;
    bool found = false;

    if (mdb_cursor_open(v->t->lmdb, 0, &c) != 0)
        return false;
    if (mdb_cursor_get(c, &k, &pages, MDB_SET) == 0) {
        for (size_t i = 1; i < pages.mv_size / sizeof(size_t) && !found; i++) { /* the first word is their number */
            size_t page;

            memcpy(&page, (const char *)pages.mv_data + i * sizeof page, sizeof page);
            found = page == root;
        }
    }
    mdb_cursor_close(c);
    return found;
}

static void verify_metas(struct verify *v)
{
    const uint64_t txnid = mdb_txn_id(v->t->lmdb);
    const char *why = "";
    uint64_t newest = 0, root = 0;
    bool agree = false;

    for (int tries = 0; tries < 3 && !agree; tries++) /* a commit may be half seen */
        agree = lmdb_file_metas_agree(v->t->env->path, &newest, &root, &why);
    if (!agree)
        verify_say(v, "%s: the last commit may be hidden", why);
    else if (newest == txnid && txnid > 2 && !older_root_was_freed(v, txnid, root))
        verify_say(v, "the older meta page of the file is not the one before: the last commit may be hidden");
}

/* ---- rows ---- */

struct table_walk {
    struct verify *v;
    enum table table;
    uint64_t rows, sum;
    struct key last;
};

static void key_text_of(const MDB_val *k, char *out, size_t out_n)
{
    size_t n = 0;

    out[0] = 0;
    for (size_t i = 0; i < k->mv_size && i < 24 && n + 3 <= out_n; i++, n += 2)
        (void)snprintf(out + n, out_n - n, "%02x", ((const uint8_t *)k->mv_data)[i]);
}

static void verify_row(struct table_walk *w, MDB_val k, MDB_val value)
{
    const char *name = table_names[w->table];
    const struct bytes key = bytes_of(k.mv_data, k.mv_size), raw = bytes_of(value.mv_data, value.mv_size);
    MDB_val found = {0}, again = k;
    char text[64];

    key_text_of(&k, text, sizeof text);
    w->rows++;
    if (key.n == 0 || key.n > KEY_MAX) {
        verify_say(w->v, "table %s, key %s: a key of %zu bytes", name, text, key.n);
        return;
    }
    if (w->rows > 1 && bytes_compare(key_bytes(&w->last), key) >= 0)
        verify_say(w->v, "table %s, key %s: out of order", name, text);
    key_reset(&w->last);
    key_raw(&w->last, key);
    if (mdb_get(w->v->t->lmdb, w->v->t->env->dbi[w->table], &again, &found) || found.mv_data != value.mv_data)
        verify_say(w->v, "table %s, key %s: not found by its key", name, text);
    if (raw.n < SEAL_BYTES || get_be32(raw.p) != row_seal(w->table, key, bytes_slice(raw, SEAL_BYTES, SIZE_MAX)))
        verify_say(w->v, "table %s, key %s: its checksum is wrong", name, text);
    else if (w->table != TABLE_META || !bytes_equal(key, BYTES_LIT(META_SUMS)))
        w->sum += get_be32(raw.p);
    else
        w->rows--; /* the sums do not count themselves */
}

static void verify_table(struct verify *v, enum table table, const struct table_sums *sums)
{
    struct table_walk w = {.v = v, .table = table};
    const uint64_t own = table == TABLE_META && sums->txnid ? 1 : 0;
    MDB_cursor *c = NULL;
    MDB_val k = {0}, value = {0};
    MDB_stat st = {0};
    int lmdb = mdb_cursor_open(v->t->lmdb, v->t->env->dbi[table], &c);

    (void)mdb_stat(v->t->lmdb, v->t->env->dbi[table], &st);
    while (!lmdb && !verify_full(v) && (lmdb = mdb_cursor_get(c, &k, &value, MDB_NEXT)) == 0) {
        if (w.rows > st.ms_entries + 1000) {
            verify_say(v, "table %s: more rows than LMDB counted; its pages may form a ring", table_names[table]);
            break;
        }
        verify_row(&w, k, value);
    }
    if (c)
        mdb_cursor_close(c);
    if (lmdb && lmdb != MDB_NOTFOUND)
        verify_say(v, "table %s: %s", table_names[table], mdb_strerror(lmdb));
    if (w.rows + own != st.ms_entries)
        verify_say(v, "table %s: %llu rows, LMDB counted %llu", table_names[table], (unsigned long long)(w.rows + own),
                   (unsigned long long)st.ms_entries);
    if (w.rows != sums->rows[table] || w.sum != sums->sum[table])
        verify_say(v, "table %s: %llu rows of sum %llx, the last commit left %llu of sum %llx", table_names[table],
                   (unsigned long long)w.rows, (unsigned long long)w.sum, (unsigned long long)sums->rows[table],
                   (unsigned long long)sums->sum[table]);
    v->rows[table] = w.rows;
}

static void verify_tables(struct verify *v)
{
    struct table_sums sums;
    struct error err;
    const uint64_t txnid = mdb_txn_id(v->t->lmdb);

    if (meta_load_sums(v->t, &sums, &err) != BASE_OK) {
        verify_say(v, "%s", err.text);
        return;
    }
    /* A compacted copy begins anew at 1. */
    if (sums.txnid != txnid && txnid != 1)
        verify_say(v, "the sums are of transaction %llu, the store is at %llu", (unsigned long long)sums.txnid,
                   (unsigned long long)txnid);
    for (unsigned i = 0; i < TABLE_COUNT && !verify_full(v); i++) {
        if (v->t->env->tables >> i & 1)
            verify_table(v, (enum table)i, &sums);
    }
}

/* ---- all ---- */

static void verify_counters(struct verify *v)
{
    struct mds_segments segments;
    struct error err;
    const struct counters *c = &v->counters;

    if (meta_load_counters(v->t, &v->counters, &err) != BASE_OK) {
        verify_say(v, "%s", err.text);
        return;
    }
    if (c->items != v->rows[TABLE_ITEMS] || c->messages != v->rows[TABLE_MESSAGES] ||
        c->folders != v->rows[TABLE_FOLDERS])
        verify_say(v, "counters: %llu items, %llu messages, %llu folders; rows: %llu, %llu, %llu",
                   (unsigned long long)c->items, (unsigned long long)c->messages, (unsigned long long)c->folders,
                   (unsigned long long)v->rows[TABLE_ITEMS], (unsigned long long)v->rows[TABLE_MESSAGES],
                   (unsigned long long)v->rows[TABLE_FOLDERS]);
    if (mds_segments_get(v->t, &segments, &err) != BASE_OK)
        verify_say(v, "%s", err.text);
    if (v->rows[TABLE_FILED] != v->rows[TABLE_MESSAGES] + v->rows[TABLE_REMOVED])
        verify_say(v, "%llu messages and %llu removed ones, but %llu filings",
                   (unsigned long long)v->rows[TABLE_MESSAGES], (unsigned long long)v->rows[TABLE_REMOVED],
                   (unsigned long long)v->rows[TABLE_FILED]);
    if (v->rows[TABLE_NAMES] != v->rows[TABLE_FOLDERS])
        verify_say(v, "%llu folders, but %llu names", (unsigned long long)v->rows[TABLE_FOLDERS],
                   (unsigned long long)v->rows[TABLE_NAMES]);
}

int mds_verify(struct mds_txn *t, mds_finding_fn *finding, void *arg, struct error *err)
{
    static int (*const checks[])(struct verify *, struct error *) = {verify_folders, verify_items, verify_packs,
                                                                     verify_sources, verify_removed};
    struct verify v = {.t = t, .finding = finding, .arg = arg};

    if (t->w)
        return error_set(err, BASE_ERR_USAGE, 0, "mds: verification needs a read transaction");
    verify_metas(&v);
    verify_pages(&v);
    verify_tables(&v);
    verify_counters(&v);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && !verify_full(&v); i++) {
        struct error why;

        if (checks[i](&v, &why) < 0)
            verify_say(&v, "%s", why.text);
    }
    return v.found;
}

/*
 * \Recent (RFC 3501 2.3.2): messages that no session was told of before. A line drawn in each folder that somebody
 * looked at: UIDs from there on are recent to the next session that selects it, which moves the line. Kept in memory: a
 * folder's first line is where it stood when this process opened the archive, found by the time at which messages were
 * filed.
 */
#include "query_private.h"

#include <glib.h>

/* Messages are filed in the order of their UIDs. */
static int find_line(struct mds_txn *txn, uint32_t folder, uint32_t uidnext, int64_t since_s, uint32_t *out,
                     struct error *err)
{
    uint32_t low = 1, high = uidnext;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        struct mds_message m;
        const int rc = mds_message_next(txn, folder, middle, &m, err);

        if (rc < 0)
            return rc;
        if (rc == 0 || m.uid >= high || m.saved_date >= since_s)
            high = middle;
        else
            low = m.uid + 1;
    }
    *out = low;
    return BASE_OK;
}

static int line_of(struct mdsq_archive *a, struct mds_txn *txn, uint32_t folder, uint32_t uidnext, uint32_t *out,
                   struct error *err)
{
    void *line = NULL;
    bool known;
    int rc = BASE_OK;

    (void)pthread_mutex_lock(&a->lock);
    known = a->recent && g_hash_table_lookup_extended(a->recent, GUINT_TO_POINTER(folder), NULL, &line);
    (void)pthread_mutex_unlock(&a->lock);
    *out = GPOINTER_TO_UINT(line);
    if (!known)
        rc = find_line(txn, folder, uidnext, a->opened_s, out, err);
    return rc;
}

/* Moves the line; returns where it was, which may be further than it was seen. */
static uint32_t draw_line(struct mdsq_archive *a, uint32_t folder, uint32_t seen, uint32_t uid)
{
    uint32_t before;

    (void)pthread_mutex_lock(&a->lock);
    if (a->recent == NULL)
        a->recent = g_hash_table_new(NULL, NULL);
    before = GPOINTER_TO_UINT(g_hash_table_lookup(a->recent, GUINT_TO_POINTER(folder)));
    if (before < seen)
        before = seen;
    if (before < uid)
        (void)g_hash_table_insert(a->recent, GUINT_TO_POINTER(folder), GUINT_TO_POINTER(uid));
    (void)pthread_mutex_unlock(&a->lock);
    return before;
}

int query_recent_count(struct mdsq_reader *reader, const struct mds_folder *f, uint32_t *out, struct error *err)
{
    uint32_t line = 0;
    int rc = line_of(reader->archive, reader->txn, f->id, f->uidnext, &line, err);

    *out = 0;
    if (rc < 0 || line >= f->uidnext)
        return rc;

    roaring_bitmap_t *all = NULL;

    rc = mds_set_load(reader->txn, f->id, MDS_SET_EXISTS, &all, err);
    if (rc >= 0)
        *out = (uint32_t)roaring_bitmap_range_cardinality(all, line, f->uidnext);
    roaring_bitmap_free(all);
    return rc;
}

int mdsq_view_recent(struct mdsq_reader *reader, const struct mdsq_view *view, bool take, uint32_t *first_out,
                     uint32_t *last_out, struct mdsq_error *err)
{
    struct error e;
    uint32_t line = 0;

    query_error_init(&e);
    *first_out = *last_out = 0;

    const int rc = line_of(reader->archive, reader->txn, view->folder, view->uidnext, &line, &e);

    if (rc >= 0 && take)
        line = draw_line(reader->archive, view->folder, line, view->uidnext);
    if (rc >= 0 && line < view->uidnext) {
        *first_out = line;
        *last_out = view->uidnext - 1;
    }
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

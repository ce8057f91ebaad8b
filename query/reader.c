/* A reader: one snapshot of an archive. */
#include "query_private.h"

#include <glib.h>

/* So that a fetch sees a renewed reader, or another one at the same address, as different. */
static uint64_t next_generation(struct mdsq_archive *archive)
{
    return atomic_fetch_add_explicit(&archive->store->generations, 1, memory_order_relaxed) + 1;
}

int mdsq_reader_begin(struct mdsq_archive *archive, struct mdsq_reader **out, struct mdsq_error *err)
{
    struct error e;
    struct mds_txn *txn = NULL;

    query_error_init(&e);
    *out = NULL;

    const int rc = mds_read_begin(archive->env, &txn, &e);

    if (rc < 0)
        return query_result(rc, &e, err);

    struct mdsq_reader *reader = g_new0(struct mdsq_reader, 1);

    reader->archive = query_archive_ref(archive);
    reader->txn = txn;
    reader->generation = next_generation(archive);
    *out = reader;
    return MDSQ_OK;
}

int mdsq_reader_renew(struct mdsq_reader *reader, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    reader->generation = next_generation(reader->archive);
    return query_result(mds_read_renew(reader->txn, &e), &e, err);
}

void mdsq_reader_end(struct mdsq_reader **reader)
{
    struct mdsq_reader *r = *reader;

    *reader = NULL;
    if (r == NULL)
        return;
    mds_read_end(&r->txn);
    mdsq_archive_close(&r->archive);
    g_free(r);
}

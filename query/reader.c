/* A reader: one snapshot of an archive, and what single look-ups in it share. */
#include "query_private.h"

#include <glib.h>

#define META_KEPT_NAMES "headers" /* one name a line, as the build wrote them; "*": everything is kept */

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

    int rc = query_archive_check(archive, &e);

    if (rc >= 0)
        rc = mds_read_begin(archive->env, &txn, &e);

    if (rc < 0)
        return query_result(rc, &e, err);

    struct mdsq_reader *reader = g_new0(struct mdsq_reader, 1);

    reader->archive = query_archive_ref(archive);
    reader->txn = txn;
    reader->generation = next_generation(archive);
    *out = reader;
    return MDSQ_OK;
}

uint64_t mdsq_reader_tick(const struct mdsq_reader *reader)
{
    return mds_txn_id(reader->txn);
}

int mdsq_reader_renew(struct mdsq_reader *reader, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    reader->generation = next_generation(reader->archive);

    int rc = query_archive_check(reader->archive, &e);

    if (rc >= 0)
        rc = mds_read_renew(reader->txn, &e);
    if (reader->words)
        mds_words_rebind(reader->words, reader->txn);
    g_strfreev(reader->kept);
    reader->kept = NULL;
    return query_result(rc, &e, err);
}

void mdsq_reader_end(struct mdsq_reader **reader)
{
    struct mdsq_reader *r = *reader;

    *reader = NULL;
    if (r == NULL)
        return;
    mds_words_free(&r->words);
    mds_read_end(&r->txn);
    g_strfreev(r->kept);
    mdsq_archive_close(&r->archive);
    g_free(r);
}

int query_reader_words(struct mdsq_reader *reader, struct mds_words **out, struct error *err)
{
    const int rc = reader->words ? BASE_OK : mds_words_new(reader->txn, &reader->words, err);

    *out = reader->words;
    return rc;
}

char **query_kept_names(struct mds_txn *txn)
{
    struct bytes names;

    if (mds_meta_get(txn, META_KEPT_NAMES, &names, NULL) < 0)
        return NULL;

    char *text = g_strndup((const char *)names.p, names.n);
    char **kept = g_strsplit(text, "\n", -1);

    g_free(text);
    return kept;
}

const char *const *query_reader_kept(struct mdsq_reader *reader)
{
    if (reader->kept == NULL)
        reader->kept = query_kept_names(reader->txn);
    return reader->kept ? (const char *const *)reader->kept : mime_default_headers;
}

/* What index*.c share: an archive opened for reading its items' texts. */
#ifndef INDEX_PRIVATE_H
#define INDEX_PRIVATE_H

#include "indexer/index.h"

#include "filing/text.h"
#include "mds/mds.h"
#include "vault/vault.h"

#include <pthread.h>

/* Shared by the threads of a run; the vaults under the lock, the rest is permanent. */
struct index_archive {
    struct mds_env *env;
    struct mime_trace *trace;
    struct filing_text_settings settings;
    pthread_mutex_t lock;
    struct vault **vaults; /* by source id - 1; NULL: not opened yet, or cannot be */
    bool *tried;
    size_t vaults_n;
};
int index_archive_open(const struct indexer_archive *at, const char *trace_fields, bool write,
                       struct index_archive *out, struct error *err);
void index_archive_close(struct index_archive *a);

/* One thread's way to read items. */
struct index_reader {
    struct index_archive *archive;
    struct mds_txn *txn;
    struct mime_texts texts;
    struct buf whole, part;
    struct filing_text_pairs pairs;
    /* of the item in hand */
    struct vault_body *body; /* NULL: it is in `whole` */
    struct mime_parts parts;
};
int index_reader_begin(struct index_archive *a, struct index_reader *out, struct error *err);
void index_reader_end(struct index_reader *r);
/* True if the failure is the item's own, not the store's. */
bool index_is_items_own(int rc);
/* Opens the item and makes sure that its bytes are those of the store and that all its texts can be read. */
int index_reader_open(struct index_reader *r, const struct mds_item *item, struct error *err);
void index_reader_close(struct index_reader *r);
/* All terms of all texts of the opened item: by fn, repeated ones too; or into the batch, whose last item it is, with the
 * bytes of text. */
int index_reader_terms(struct index_reader *r, filing_text_fn *fn, void *arg, struct error *err);
int index_reader_batch(struct index_reader *r, struct mds_text_batch *batch, uint64_t *bytes_out, struct error *err);

#endif

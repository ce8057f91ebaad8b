/* What a rebuilt store keeps of the old one. */
#include "indexer_private.h"

int indexer_restore_take(struct indexer_restore *r, struct indexer_writer *w, const struct hash128 *hash,
                         struct mds_message *m, struct error *err)
{
    (void)r, (void)w, (void)hash, (void)m, (void)err;
    return 0;
}

int indexer_restore_folder(struct indexer_restore *r, struct indexer_writer *w, uint32_t folder, struct error *err)
{
    (void)r, (void)w, (void)folder, (void)err;
    return 0;
}

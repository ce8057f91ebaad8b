/*
 * text: an item's texts (mime/texts.h) as terms of the content index (mds/text.h), and which index is that of an
 * archive.
 *
 *     filing_text_open(env, txn, &settings, &text, err);           // reading: query/
 *     filing_text_make(env, &settings, &text, err);                // writing: indexer/
 *     mds_text_batch_begin(batch, item.id, filing_text_tag(&item.hash));
 *     mime_texts_begin(&texts, &parts, MIME_TEXTS_ALL, read, arg);
 *     while (mime_texts_next(&texts, &t, err) > 0)
 *         filing_text_terms(&texts, &t, trace, &pairs, add, arg);
 *     filing_text_pairs(&pairs, add, arg);                         // or, into a batch: filing_text_pairs_batch
 *
 * Who indexes, who verifies and who searches share this file, so that all mean the same by a class of text.
 */
#ifndef FILING_TEXT_H
#define FILING_TEXT_H

#include "mds/mds.h"
#include "mds/text.h"
#include "mime/texts.h"
#include "mime/pairs.h"

struct filing_text_settings {
    const struct mime_trace *trace; /* fields whose values are not indexed */
    uint64_t words;                 /* mime_words_fingerprint() */
    bool read_only;                 /* the archive cannot be written */
};

/*
 * The index of this archive as it is in txn, for reading. NOTFOUND: there is none. GONE: there is one, but not of this
 * archive (it was rebuilt, an older copy took its place, env is of an archive that left it), of another program's terms, or of other settings: as good as
 * none.
 */
int filing_text_open(struct mds_env *env, struct mds_txn *txn, const struct filing_text_settings *s, struct mds_text **out,
                     struct error *err);
/* For writing: made if missing, emptied if it is not of this archive and these settings. GONE: the archive is not in
 * its place any more. No transaction of env on this thread. */
int filing_text_make(struct mds_env *env, const struct filing_text_settings *s, struct mds_text **out,
                     struct error *err);
/* BASE_OK, or GONE: the index names items that the archive has otherwise. */
int filing_text_check(struct mds_text *text, struct mds_txn *txn, struct error *err);

uint64_t filing_text_tag(const struct hash128 *hash);

/* The class of a field of the item's own header: its own, or MDS_TEXT_HEADER. */
enum mds_text_class filing_text_class(struct bytes name);

/* Of an item's texts by class; begins as zeros for each item. */
struct filing_text_pairs {
    struct mime_pairs of[MDS_TEXT_CLASSES];
    uint32_t classes; /* that have any */
};

/* One call for each term of the text in hand, repeated ones too; its pairs are added to those of the item. Returns the bytes of text that were
 * looked at. */
typedef void filing_text_fn(enum mds_text_class c, struct bytes term, void *arg);
size_t filing_text_terms(struct mime_texts *texts, const struct mime_text *text, const struct mime_trace *trace,
                         struct filing_text_pairs *pairs, filing_text_fn *fn, void *arg);
/* When the texts are through: one call for each term of their pairs. They are zeros again. */
void filing_text_pairs(struct filing_text_pairs *pairs, filing_text_fn *fn, void *arg);
/* The same into a batch, without a call for each. */
void filing_text_pairs_batch(struct filing_text_pairs *pairs, struct mds_text_batch *batch);

#endif

/*
 * text: an archive's content index. Which items have a term, in which class of their text.
 *
 * One LMDB environment, `text/` inside the archive's directory, that holds nothing which cannot be made again. It consists of
 * immutable segments, each over a set of items; merging makes few of many. Item ids are those of the archive, ascending in
 * the order of filing; ids above 2^32-1 are not indexed. What an item says never changes, so nothing is ever
 * updated: items that are removed from the archive stay in the answers until a merge is told to drop them, and the caller meets them nowhere,
 * as no message files them.
 *
 *     struct mds_text *t = NULL;
 *     mds_text_open(archive_dir, &(struct mds_text_options){.create = true, .identity = id}, &t, err);
 *     struct mds_text_batch *b = mds_text_batch_new();
 *     mds_text_batch_begin(b, item, tag);
 *     mds_text_batch_add(b, MDS_TEXT_SUBJECT, term);            // for every term of every text, repeated ones too
 *     if (mds_text_batch_bytes(b) > 64 << 20)
 *         mds_text_commit(t, b, err);
 *
 *     struct mds_text_reader *r = NULL;
 *     mds_text_read_begin(t, &r, err);
 *     mds_text_find(r, term, MDS_MATCH_CONTAINS, MDS_TEXT_MASK_TEXT, NULL, &items, err);
 *     mds_text_read_end(&r);
 *
 * Is it the index of this archive as it is now? Two answers are needed. `identity` is bytes of the caller's: what archive, which settings, which
 * tokenizer; an index with another one is not opened for reading and is emptied by a creator. And ids mean nothing after an older
 * copy of the archive was put in its place: each item is given with a tag (of its content), some of which come back by
 * mds_text_anchors, to be held against the archive at open.
 *
 * Bytes: docs/FORMAT.md. Every value is sealed; a reader checks each value's seal when it first meets it (the segments of an open index
 * remember), so that scans run at memory speed. CORRUPT means: mds_text_drop, and index again.
 *
 * Threads: as mds.h. mds_text: any thread. A reader: one thread at a time. A batch: one thread at a time; several threads may each fill their own and commit
 * in any order. Commits and merges of all processes take turns; a merge is many short transactions, so commits do not wait for it.
 *
 * Errors: as mds.h.
 */
#ifndef MDS_TEXT_H
#define MDS_TEXT_H

#include "base/bytes.h"
#include "base/error.h"

#include <roaring/roaring.h>
#include <stdbool.h>

#define MDS_TEXT_DIR "text" /* inside the archive's directory */

/* Where in an item a term stands. Stored: never renumber. */
enum mds_text_class {
    MDS_TEXT_BODY,    /* text parts; header fields ("Name: value") and text of attached messages */
    MDS_TEXT_HEADER,  /* names of all fields of the own header, values of those that have no class of their own */
    MDS_TEXT_SUBJECT, /* decoded values of these fields of the own header */
    MDS_TEXT_FROM,
    MDS_TEXT_TO,
    MDS_TEXT_CC,
    MDS_TEXT_BCC,
    MDS_TEXT_MIME,    /* MIME header fields of parts ("Name: value") */
    MDS_TEXT_BARE,    /* addresses of those four fields without comments and blanks, where that makes them other text: no text of a message */
    MDS_TEXT_CLASSES
};
#define MDS_TEXT_MASK(c) (UINT32_C(1) << (c))
#define MDS_TEXT_MASK_ALL (MDS_TEXT_MASK(MDS_TEXT_CLASSES) - 1u)
#define MDS_TEXT_MASK_TEXT (MDS_TEXT_MASK_ALL & ~MDS_TEXT_MASK(MDS_TEXT_BARE))

#define MDS_TEXT_TERM_MAX 64u /* bytes of a term; none below '0' */
/* What begins with a byte from here on must be a term of ASCII separators as mime/pairs.h writes them; these come last. */
#define MDS_TEXT_SEPARATORS 0xfeu

/* ---- opening ---- */

struct mds_text_options {
    bool read_only;        /* never creates, never writes */
    bool create;           /* make it if missing; empty it if its identity is another */
    struct bytes identity; /* at most MDS_TEXT_IDENTITY_MAX bytes */
    uint64_t map_bytes;    /* as mds_options.map_bytes */
    size_t merge_bytes;    /* memory of a merge's transactions; 0: 16 MiB */
};
#define MDS_TEXT_IDENTITY_MAX 256u

struct mds_text;
/* NOTFOUND: there is none. GONE: there is one of another identity (for who does not create as good as none). Others as mds_open. Opened again in
 * a process it shares the environment. After fork: open anew. */
int mds_text_open(const char *archive_dir, const struct mds_text_options *opts, struct mds_text **out, struct error *err);
void mds_text_close(struct mds_text **text);
/* Changes when any process committed or merged; any thread, some 20 ns. */
uint64_t mds_text_last_txnid(struct mds_text *t);
/* Frees the slots of dead readers, as mds_readers_clear. */
void mds_text_readers_clear(struct mds_text *t);
/* Forgets all that is indexed (damage; `mds index --rebuild`). Open readers keep their snapshot. LOCKED: somebody merges. */
int mds_text_drop(struct mds_text *t, struct error *err);

/* ---- indexing ---- */

struct mds_text_batch;
struct mds_text_batch *mds_text_batch_new(void);
void mds_text_batch_free(struct mds_text_batch **b);
/* The item whose terms follow: > 0, ascending within a batch, at most UINT32_MAX. One without any term is indexed too. tag: of its content. */
void mds_text_batch_begin(struct mds_text_batch *b, uint64_t item, uint64_t tag);
/* 1..MDS_TEXT_TERM_MAX bytes, none below '0' (mime/words.h gives such). Copied. */
void mds_text_batch_add(struct mds_text_batch *b, enum mds_text_class c, struct bytes term);
#define MDS_TEXT_PAIR_ROWS 129u
/* All terms of ASCII separators of a class at once: bit c of row r says that the pair of r and c is one, of the last row that c by itself is. */
void mds_text_batch_pairs(struct mds_text_batch *b, enum mds_text_class c, const uint64_t rows[MDS_TEXT_PAIR_ROWS][2]);
/* Bytes of decoded text that were looked at: only for mds_text_stat. */
void mds_text_batch_text(struct mds_text_batch *b, uint64_t text_bytes);
/* Memory now. A commit takes about a quarter more. */
size_t mds_text_batch_bytes(const struct mds_text_batch *b);
size_t mds_text_batch_items(const struct mds_text_batch *b);
void mds_text_batch_reset(struct mds_text_batch *b); /* empty, keeps its memory */
/* A durable segment; the batch is then empty. USAGE: one of its items is indexed already; the batch stays. Replays itself when the map had to grow. */
int mds_text_commit(struct mds_text *t, struct mds_text_batch *b, struct error *err);

typedef bool mds_text_stop_fn(void *arg);
struct mds_text_merge_options {
    bool all;                     /* down to one segment, whatever it costs */
    const roaring_bitmap_t *dead; /* may be NULL: items that are removed from the archive; they are dropped on the way */
    mds_text_stop_fn *stop;       /* may be NULL; asked every few ms and true: CANCELLED, what was written is thrown away */
    void *arg;
};
/* One step: merges some segments if that pays (*more_out: perhaps another step does), and clears away what a killed one left. opts may be NULL. Memory is
 * bounded whatever the size. LOCKED: another thread or process merges. */
int mds_text_merge(struct mds_text *t, const struct mds_text_merge_options *opts, bool *more_out, struct error *err);

/* ---- searching ---- */

struct mds_text_reader; /* a snapshot */
int mds_text_read_begin(struct mds_text *t, struct mds_text_reader **out, struct error *err);
int mds_text_read_renew(struct mds_text_reader *r, struct error *err); /* newest state; views die */
void mds_text_read_end(struct mds_text_reader **r);
/* What is indexed; a view until the reader is renewed or ended. */
const roaring_bitmap_t *mds_text_items(const struct mds_text_reader *r);

enum mds_match { /* of an indexed term: */
    MDS_MATCH_CONTAINS, /* has the given one as a substring */
    MDS_MATCH_PREFIX,
    MDS_MATCH_SUFFIX,
    MDS_MATCH_WHOLE
};
/*
 * Items with a term that matches in a class of the mask; owned. within (may be NULL): only these are of interest, others may be missing or not, and
 * the work ends when all of them are found. A term that batch_add would refuse matches nothing (empty, too long, bytes below '0').
 */
int mds_text_find(struct mds_text_reader *r, struct bytes term, enum mds_match match, uint32_t classes,
                  const roaring_bitmap_t *within, roaring_bitmap_t **out, struct error *err);

struct mds_text_cost {
    uint64_t terms; /* that match, over all segments */
    uint64_t bytes; /* of their postings, which mds_text_find decodes unless all is found before; 1 to 8 a byte */
};
/* For planners and --explain. Costs what looking the terms up costs: PREFIX and WHOLE microseconds, the others a scan of all terms. */
int mds_text_count(struct mds_text_reader *r, struct bytes term, enum mds_match match, struct mds_text_cost *out, struct error *err);

/* ---- looking at it ---- */

/* Items and their tags, spread over the segments and dense at each one's end: 1 more, 0 done. *pos starts at 0. Items may be removed from the
 * archive; one that is there with another tag, or an id that the archive has not given yet, means that this is no index of it. */
int mds_text_anchors(struct mds_text_reader *r, uint64_t *pos, uint64_t *item_out, uint64_t *tag_out, struct error *err);

struct mds_text_stat {
    uint64_t items, segments;
    uint64_t building, dead; /* segments that a merge is writing, and that it has still to clear away; or one did that was killed: the next clears them */
    uint64_t text_bytes;     /* sum of mds_text_batch_text */
    uint64_t terms;          /* sum over segments */
    uint64_t postings;       /* pairs of term and item */
    uint64_t dictionary_bytes, postings_bytes, grams_bytes, other_bytes; /* of rows */
    uint64_t used_bytes;     /* of the file: pages in use */
    uint64_t file_bytes;
};
int mds_text_stat(struct mds_text_reader *r, struct mds_text_stat *out, struct error *err);

/* Every term in order, once a segment, with each item of `within` (NULL: all) that has it and the classes where. A result that is not 0 ends it and is returned. */
typedef int mds_text_walk_fn(struct bytes term, uint64_t item, uint32_t classes, void *arg);
int mds_text_walk(struct mds_text_reader *r, const roaring_bitmap_t *within, mds_text_walk_fn *fn, void *arg, struct error *err);

/* Structure: seals, order, counts, postings within the segment's items, grams against terms. As mds_verify: number of findings, or < 0. */
typedef void mds_text_finding_fn(const char *text, void *arg);
int mds_text_verify(struct mds_text_reader *r, mds_text_finding_fn *finding, void *arg, struct error *err);

#endif

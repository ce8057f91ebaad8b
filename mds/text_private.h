/*
 * text_private: what the files of the content index share, and what its tests may look at.
 *
 * Layers, each calling only those above it:
 *   text_list.c     ascending item ids <-> bytes; no LMDB
 *   text_dir.c      the directory of segments <-> bytes, its row
 *   text.c          opening, snapshots
 *   text_block.c    blocks of the dictionary and rows of postings, checked when first met
 *   text_record.c   the postings of one term, streamed
 *   text_write.c    a new segment's rows, from terms in order
 *   text_pages.c    logs and tables of a batch in large pages
 *   text_batch.c text_chars.c text_commit.c    from items to a segment
 *   text_merge.c    from segments to one
 *   text_scan.c text_find.c                    searching
 *   text_stat.c text_verify.c
 *
 * The bytes are described in docs/FORMAT.md and nowhere else.
 */
#ifndef MDS_TEXT_PRIVATE_H
#define MDS_TEXT_PRIVATE_H

#include "mds/text.h"
#include "mds_private.h"

#include <stdatomic.h>

/* ---- lists of item ids (text_list.c) ------------------------------------------------------ */

#define LIST_FLAT_MAX  1024u  /* ids of a list that is coded as one */
#define LIST_CHUNK_MAX 65536u /* ids of a chunk: those that share their high 16 bits */

/* n >= 1 ascending ids within [first, last]. */
void list_encode(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last, struct buf *out);
/* As many of them into v; false on bytes that no encoder wrote. *used_out: how many bytes they took. */
bool list_decode(struct bytes in, uint32_t n, uint32_t first, uint32_t last, uint32_t *v, size_t *used_out);

enum list_form { LIST_GAPS = 0, LIST_ABSENT = 1, LIST_BITMAP = 2 };
/* Whichever form is the shortest; for chunks. first and last share their high 16 bits. */
enum list_form list_chunk_encode(const uint32_t *v, uint32_t n, uint32_t first, uint32_t last, struct buf *out);
bool list_chunk_decode(struct bytes in, enum list_form form, uint32_t n, uint32_t first, uint32_t last, uint32_t *v);

/* ---- the directory (text_dir.c) ------------------------------------------------------------ */

enum text_state { TEXT_LIVE = 1, TEXT_BUILDING = 2, TEXT_DEAD = 3 };

struct text_segment {
    uint32_t id; /* > 0, ascending in the directory */
    enum text_state state;
    uint32_t first, last; /* items */
    uint64_t items, terms, postings, text_bytes;
    uint32_t blocks, gram_blocks;
    uint64_t stream_bytes, grams_at; /* grams_at: offset in the stream of the first gram's postings */
    uint64_t block_bytes, gram_block_bytes;
};

struct text_dir {
    struct buf identity;
    uint32_t next_id;
    struct text_segment *v;
    uint32_t n, cap;
};

void dir_encode(const struct text_dir *d, struct buf *out);
bool dir_decode(struct bytes in, struct text_dir *out); /* reuses out's memory */
void dir_release(struct text_dir *d);
struct text_segment *dir_add(struct text_dir *d);               /* a new one, with the next id */
struct text_segment *dir_find(struct text_dir *d, uint32_t id); /* NULL: gone */
void dir_remove(struct text_dir *d, uint32_t id);
int dir_load(struct mds_txn *t, struct text_dir *out, struct error *err); /* NOTFOUND: a new environment */
int dir_store(struct mds_txn *t, const struct text_dir *d, struct error *err);

/* Rows of a segment: its id u32, kind u8, and more. */
enum text_kind {
    TEXT_ANCHORS = 'a',
    TEXT_TERMS = 'd',  /* first term of the block */
    TEXT_FILTER = 'f', /* group * FILTER_ROWS + row u32 */
    TEXT_GRAMS = 'g',  /* first gram of the block */
    TEXT_ITEMS = 'i',  /* high u16 */
    TEXT_STREAM = 'p'  /* row u32 */
};
void text_key(struct key *k, uint32_t segment, enum text_kind kind);
#define TEXT_KEY_HEAD   5u

#define TEXT_STREAM_ROW (PACK_BYTES - SEAL_BYTES) /* bytes of the stream in each of its rows but the last */
#define TEXT_BLOCK_MAX  (PACK_BYTES - SEAL_BYTES)

/* A set of items as rows, and back. */
int text_items_load(struct mds_txn *t, const struct text_segment *s, roaring_bitmap_t **out, struct error *err);

struct text_anchor {
    uint32_t item;
    uint64_t tag;
};
#define TEXT_ANCHORS_MAX 64u
/* Those to keep of n in order of item: the last half of ANCHORS_MAX, and of the others as many, spread. Gives the new
 * n. */
size_t anchors_thin(struct text_anchor *v, size_t n);
void anchors_encode(const struct text_anchor *v, size_t n, struct buf *out);
bool anchors_decode(struct bytes in, struct text_anchor *v, size_t *n_out); /* v has room for ANCHORS_MAX */
int text_anchors_load(struct mds_txn *t, uint32_t segment, struct text_anchor *v, size_t *n_out, struct error *err);

static inline bool text_set_meets(const roaring_bitmap_t *set, uint32_t first, uint32_t last)
{
    return roaring_bitmap_range_cardinality(set, first, (uint64_t)last + 1) > 0;
}
static inline void text_set_free(roaring_bitmap_t *set) /* NULL is none */
{
    if (set)
        roaring_bitmap_free(set);
}

/* ---- the index, snapshots (text.c) ---------------------------------------------------------------- */

enum text_seen_kind { SEEN_TERMS, SEEN_GRAMS, SEEN_STREAM, SEEN_FILTER, SEEN_KINDS };

/* Which rows of a segment were checked; made when a reader first meets the segment, shared by all. */
struct text_seen {
    uint32_t segment;
    unsigned refs; /* under mds_text.mutex */
    struct text_seen *next;
    uint32_t n[SEEN_KINDS];             /* rows */
    _Atomic uint64_t *bits[SEEN_KINDS]; /* set by any reader, relaxed: at worst a row is checked twice */
};
bool text_seen_get(const struct text_seen *s, enum text_seen_kind kind, uint32_t i);
void text_seen_set(struct text_seen *s, enum text_seen_kind kind, uint32_t i);

struct mds_text {
    struct mds_env *env;
    struct buf identity;
    size_t merge_bytes;
    pthread_mutex_t mutex;
    struct text_seen *seen; /* under mutex */
};

struct text_part { /* a live segment of a snapshot */
    struct text_segment s;
    struct text_seen *seen;
};

struct mds_text_reader {
    struct mds_text *text;
    struct mds_txn *txn;
    uint64_t txnid; /* 0: nothing is loaded */
    struct text_dir dir;
    struct text_part *parts;
    uint32_t parts_n;
    roaring_bitmap_t *items;
    uint32_t *ids;     /* scratch: LIST_CHUNK_MAX */
    struct buf stream; /* scratch of the text_stream in use */
};

uint32_t *reader_ids(struct mds_text_reader *r); /* room for LIST_CHUNK_MAX */

/* Runs fn in a write transaction and commits; again when the map had to grow, so fn must be repeatable. */
typedef int text_write_fn(struct mds_txn *t, void *arg, struct error *err);
int text_write(struct mds_text *text, text_write_fn *fn, void *arg, struct error *err);
/* The directory, if it is still of our identity; GONE else. */
int text_dir_load(const struct mds_text *text, struct mds_txn *t, struct text_dir *out, struct error *err);
int text_corrupt(const struct mds_text *text, uint32_t segment, const char *what, struct error *err);

/* ---- blocks and stream (text_block.c) ----------------------------------------------------------------- */

/*
 * Some neighbouring terms. text: each term behind a LF, and a LF at the end. lens: of each term's postings, varints;
 * they stand in the segment's stream from stream_at on.
 */
struct text_block {
    uint32_t number; /* of its kind in the segment */
    uint32_t n;
    uint64_t stream_at;
    struct bytes text, lens;
};
void block_encode(const struct text_block *b, struct buf *out);
bool block_decode(struct bytes in, struct text_block *out); /* sizes only */
bool block_check(const struct text_block *b, struct bytes first_term,
                 uint64_t *lens_out); /* every term and length; their sum */

struct text_blocks { /* a walk over blocks of one kind in a segment, in order */
    struct mds_text_reader *r;
    const struct text_part *part;
    enum text_kind kind;
    MDB_cursor *cursor;
    uint32_t at; /* its place in the walk; from blocks_first on this is its number */
    struct text_block b;
    struct bytes first; /* first term of b; view */
};
int blocks_open(struct mds_text_reader *r, const struct text_part *part, enum text_kind kind, struct text_blocks *out,
                struct error *err);
void blocks_close(struct text_blocks *w);
/* The first block, the one in which the term is or would be, or the next. 1 there is one, 0 none. A seek gives the
 * first block if the term is before it. */
int blocks_first(struct text_blocks *w, struct error *err);
int blocks_seek(struct text_blocks *w, struct bytes term, struct error *err);
int blocks_next(struct text_blocks *w, struct error *err);
/* As blocks_first (from_start) and blocks_next, but over those that the filter does not allow. */
struct text_filter;
int blocks_next_allowed(struct text_blocks *w, struct text_filter *f, bool from_start, struct error *err);

struct text_term {                /* a walk over the terms of a block */
    const uint8_t *at, *end;      /* in text: behind the LF before the term that comes next */
    const uint8_t *len, *len_end; /* of that term */
    struct bytes term;
    uint64_t stream_at; /* of that term's postings */
    uint64_t stream_n;
};
void term_first(const struct text_block *b, struct text_term *out); /* before the first */
bool term_next(struct text_term *t);

struct text_stream {
    struct mds_text_reader *r;
    const struct text_part *part;
    uint32_t row; /* in view; UINT32_MAX: none */
    struct bytes view;
    struct buf *scratch; /* for what lies in two rows */
};
void stream_init(struct text_stream *s, struct mds_text_reader *r, const struct text_part *part, struct buf *scratch);
/* At least `least` and at most `most` bytes from `at` on: a view until the next call. They must be part of the stream.
 */
int stream_view(struct text_stream *s, uint64_t at, size_t least, size_t most, struct bytes *out, struct error *err);

/* ---- which blocks may contain a string (text_filter.c) ------------------------------------------------- */

#define FILTER_BLOCKS     512u /* of a group; a segment's last ones, fewer than that, have no filter */
#define FILTER_HASH_BITS  14u
#define FILTER_ROW_HASHES 255u
#define FILTER_ROWS       65u /* of a group */
#define FILTER_BYTES      ((size_t)(FILTER_BLOCKS / 8u) << FILTER_HASH_BITS)

void filter_fill(uint8_t *filter, uint32_t block, struct bytes text); /* adds a block to a group of FILTER_BYTES */
struct bytes filter_row(const uint8_t *filter, uint32_t row);

struct text_filter {
    struct mds_text_reader *r;
    const struct text_part *part;
    uint16_t hash[MDS_TEXT_TERM_MAX + 1]; /* of the needle's threes */
    uint32_t n;
    uint32_t group; /* in bits; UINT32_MAX: none */
    uint8_t bits[FILTER_BLOCKS / 8];
};
void filter_init(struct text_filter *f, struct mds_text_reader *r, const struct text_part *part, struct bytes needle);
/* 1: the block may contain the needle; 0: it does not. */
int filter_allows(struct text_filter *f, uint32_t block, struct error *err);

/* ---- postings of a term (text_record.c) ------------------------------------------------------------------ */

#define RECORD_CHUNK_BYTES 8192u /* a chunk's code is at most a bitmap */
#define RECORD_CHUNK_ABOVE (1u << 16)

struct text_record {
    struct text_stream *stream;
    const struct text_segment *s;
    uint64_t at, rest; /* behind view, in the stream */
    struct bytes view;
    uint32_t mask;
    enum { RECORD_IDLE, RECORD_SINGLE, RECORD_FLAT, RECORD_CHUNKS } kind; /* what the group still holds */
    int32_t high;                                                         /* of its last chunk */
};
void record_begin(struct text_record *r, struct text_stream *s, uint64_t at, uint64_t n);
/* The next group: its classes are r->mask. The group before must be used up. 1 more, 0 done. */
int record_group(struct text_record *r, struct error *err);
/* Some items of the group, ascending over all calls; ids has room for LIST_CHUNK_MAX. 1 some, 0 the group is used up.
 */
int record_items(struct text_record *r, uint32_t *ids, uint32_t *n_out, struct error *err);

enum { RECORD_HEAD_SINGLE = 0, RECORD_HEAD_FLAT = 1, RECORD_HEAD_CHUNKS = 2 };
unsigned record_single_bytes(uint32_t first, uint32_t last); /* of the one id of such a group */

/* ---- a new segment (text_write.c) --------------------------------------------------------------------------- */

struct text_rows { /* rows that wait for a transaction: key (without the segment's id) and payload */
    struct buf data;
};
void rows_add(struct text_rows *rows, struct bytes key, struct bytes payload);
int rows_put(const struct text_rows *rows, struct mds_txn *t, uint32_t segment, struct error *err);

struct text_writer {
    struct text_rows rows;
    struct text_segment s; /* first, last and text_bytes are given, the rest is counted; id is the caller's business */
    /* private */
    enum text_kind kind;
    struct buf text, lens, stream, scratch;
    uint64_t stream_at; /* bytes in rows already */
    uint64_t block_at;
    uint32_t block_n;
    uint8_t first[MDS_TEXT_TERM_MAX], term[MDS_TEXT_TERM_MAX];
    uint8_t first_n, term_n;
    uint64_t record_at;
    uint32_t mask;
    bool chunked;
    int32_t high; /* of the last chunk written */
    uint32_t *ids, ids_n;
    uint8_t *filter; /* of the group of blocks at hand */
};
void writer_init(struct text_writer *w, uint32_t first, uint32_t last);
void writer_release(struct text_writer *w);
/* Terms in order, each with groups by ascending mask, each with ascending items. A term without items leaves no trace.
 */
void writer_term(struct text_writer *w, struct bytes term);
void writer_group(struct text_writer *w, uint32_t mask);
void writer_items(struct text_writer *w, const uint32_t *ids, uint32_t n);
void writer_grams(struct text_writer *w); /* the terms are all there; grams follow */
void writer_finish(struct text_writer *w, const roaring_bitmap_t *items, const struct text_anchor *anchors,
                   size_t anchors_n);

/* ---- searching (text_scan.c, text_find.c) ------------------------------------------------------------------------ */

struct text_scan {
    struct bytes needle; /* view */
    size_t rare, second; /* places in it of its rarest bytes */
};
void scan_init(struct text_scan *s, struct bytes needle);                                  /* not empty */
const uint8_t *scan_find(const struct text_scan *s, const uint8_t *p, const uint8_t *end); /* NULL: it is not there */

struct text_search {
    struct bytes term;
    enum mds_match match;
    bool by_terms; /* never by grams */
    /* For each term (or gram) that matches, where its postings stand in the stream. Not 0 ends it. */
    int (*fn)(uint64_t at, uint64_t n, void *arg, struct error *err);
    void *arg;
    uint64_t terms; /* counted */
};
int search_part(struct mds_text_reader *r, const struct text_part *part, struct text_search *s, struct error *err);

/* ---- batches (text_batch.c, text_chars.c) --------------------------------------------------------------------- */

#define BATCH_MASK_BITS 9u /* a posting in memory: index of the item, mask */
#define BATCH_ITEMS_MAX (UINT32_C(1) << (32u - BATCH_MASK_BITS))

/* Memory for a table or log that is large and hit anywhere: in huge pages where the system has them. Freed by free(). */
void *pages_new(size_t bytes);

/* Entries of 4 or 8 bytes, one behind the other in blocks that stay where they are. */
struct batch_log {
    uint8_t **blocks;
    uint32_t blocks_n, blocks_cap;
    uint32_t in; /* blocks in use; 0: none */
    uint8_t *at, *end;
};
void log_turn(struct batch_log *l); /* to the next block */
void log_reset(struct batch_log *l);
void log_release(struct batch_log *l);
size_t log_bytes(const struct batch_log *l);                     /* of entries */
const void *log_block(const struct batch_log *l, uint32_t i, size_t *bytes_out); /* i < in */
static inline void *log_next(struct batch_log *l, size_t size)
{
    if (l->at == l->end)
        log_turn(l);
    uint8_t *const p = l->at;

    l->at += size;
    return p;
}

struct batch_term {
    uint32_t text, n; /* offset and length in the arena */
};

struct batch_slot { /* half a line of the cache says for nearly all terms whether it is theirs */
    uint32_t hash;
    uint32_t term; /* index + 1 */
    uint8_t n;
    uint8_t head[23]; /* of its text, then zeros */
};

struct batch_word { /* a term of the item in hand */
    uint32_t hash;
    uint32_t text; /* offset in the hand's text */
    uint16_t n, mask;
};

struct batch_entry {
    uint32_t term, posting;
};

struct batch_hand {
    struct buf text;
    struct batch_word *v;
    uint32_t n, cap;
    uint32_t *slots; /* index + 1 */
    uint32_t slots_n;
    uint64_t seed; /* of the hashes: mail that was made for equal ones must not slow us down */
};

struct chars;

struct mds_text_batch {
    struct batch_hand hand; /* of the last item, until the next begins */
    struct buf arena;
    struct batch_term *terms;
    uint32_t terms_n, terms_cap;
    struct batch_slot *slots;
    uint32_t slots_n;
    struct batch_log log; /* of struct batch_entry */
    struct chars *chars;
    uint32_t *items;
    uint64_t *tags;
    uint32_t items_n, items_cap;
    uint64_t text_bytes;
};
void batch_settle(struct mds_text_batch *b); /* the item in hand goes into terms and log */
static inline struct bytes batch_term_bytes(const struct mds_text_batch *b, const struct batch_term *t)
{
    return bytes_of(b->arena.p + t->text, t->n);
}

/* A term's postings by mask; ids: scratch for as many. */
void groups_write(const struct mds_text_batch *b, const uint32_t *v, uint32_t n, uint32_t *ids, struct text_writer *w);

bool gram_is(struct bytes term); /* one character below U+0800, and nothing else: has postings of its own */
struct chars *chars_new(void);
void chars_free(struct chars *g);
void chars_reset(struct chars *g);
size_t chars_bytes(const struct chars *g);
/* Of the item in hand: the letters of a term; a term of ASCII separators (false: it is another). */
void chars_add_grams(struct chars *g, struct bytes term, uint32_t mask);
bool chars_add_separators(struct chars *g, struct bytes term, uint32_t mask);
void chars_add_pairs(struct chars *g, const uint64_t rows[MDS_TEXT_PAIR_ROWS][2], uint32_t mask);
void chars_item(struct chars *g, uint32_t item); /* that was all of it; its index in the batch */
/* Separators, behind all other terms, and then the grams. */
void chars_write(const struct mds_text_batch *b, struct text_writer *w);

#endif

/*
 * index: an archive's content index (mds/text.h), made of what its vaults hold.
 *
 *     struct indexer_index index = {.at = {.store_dir = "store", .archive = "mail"}};
 *     struct indexer_indexed done;
 *     indexer_index(&index, &done, err);
 *
 * Adds the items that the index lacks, by several threads, each with a batch of its own in bounded memory: a killed run
 * leaves whole segments, the next one goes on. Then segments are merged. An item that cannot be read is left out:
 * SEARCH goes on to look at it itself. Works beside a live server. The archive's metadata is only read, but for a
 * number of its own that the first run gives it.
 *
 * Errors: as archive.h; LOCKED: another run of this archive; READONLY: the store cannot be written; GONE: the archive was
 * removed meanwhile, or another one took its place.
 */
#ifndef INDEXER_INDEX_H
#define INDEXER_INDEX_H

#include "indexer/archive.h"
#include "indexer/indexer.h"

struct indexer_index {
    struct indexer_archive at;
    const char *trace_fields; /* names of fields whose values are left out (mime/texts.h); NULL: the default. Another
                                 list than the index has: it is made anew */
    bool rebuild;             /* forget what there is first */
    bool merge_all;           /* to one segment, whatever it costs */
    unsigned jobs;            /* 0: one a core */
    size_t batch_bytes;       /* memory of all batches together; 0: 256 MiB */
    double max_rate;          /* items a second; 0: no bound */
    indexer_progress_fn *progress; /* on the caller's thread, some 10 times a second */
    void *progress_arg;
    bool (*wanted)(void *arg); /* may be NULL; on the caller's thread, about once a second: false: CANCELLED */
    void *wanted_arg;
};

struct indexer_indexed {
    uint64_t items;      /* added by this run */
    uint64_t failed;     /* could not be read */
    uint64_t text_bytes; /* of these items: decoded, casemapped */
    uint64_t indexed;    /* items that the index holds now, without those that are gone from the archive */
    uint64_t archive_items;
    uint64_t segments, used_bytes, indexed_text_bytes;
    uint64_t building, dead; /* segments of a merge that is under way, or was killed: mds/text.h */
    double seconds;
    char last_failure[256];
};
int indexer_index(const struct indexer_index *index, struct indexer_indexed *out, struct error *err);

/* What an archive's index holds now: the last members of *out. NOTFOUND: there is none of these settings. */
int indexer_index_stat(const struct indexer_archive *a, const char *trace_fields, struct indexer_indexed *out,
                       struct error *err);

/* Drops from the index what was let go for good (after a compact). Nothing to do without an index of these settings. */
int indexer_index_forget(const struct indexer_archive *a, const char *trace_fields, struct error *err);

/*
 * Keeps the indexes of all enabled archives of a store up to date, until cancel: what is new is seen within poll_ms, an
 * archive that nothing was committed to costs a stat. An archive that fails is tried again when it changes, or after a
 * minute. One that is disabled, removed or replaced while it is indexed is let go of within some seconds.
 */
struct indexer_index_watch {
    const char *store_dir, *trace_fields;
    const volatile int *cancel;
    unsigned jobs; /* 0: one */
    double max_rate;
    unsigned poll_ms;   /* 0: 2,000 */
    size_t batch_bytes; /* 0: 64 MiB */
    /* After each run that added or lost something, or failed. */
    void (*done)(const char *archive, const struct indexer_indexed *indexed, int rc, const struct error *err,
                 void *arg);
    void *arg;
};
int indexer_index_watch(const struct indexer_index_watch *w, struct error *err);

struct indexer_index_verify {
    struct indexer_archive at;
    const char *trace_fields;
    uint64_t sample; /* so many items, spread over the archive; 0: all */
    void (*finding)(const char *text, void *arg);
    void *arg;
    indexer_progress_fn *progress;
    void *progress_arg;
};
struct indexer_index_verified {
    uint64_t items;      /* looked at */
    uint64_t unreadable; /* of them: not compared */
    uint64_t unindexed;  /* of the archive */
};
/*
 * Structure of the index, and that each item's terms in it are exactly those of its texts, read anew. Returns the
 * number of findings. NOTFOUND: there is no index of this archive as it is, with these settings.
 */
int indexer_index_verify(const struct indexer_index_verify *v, struct indexer_index_verified *out, struct error *err);

#endif

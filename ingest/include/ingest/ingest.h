/*
 * ingest: the pipeline. read -> hash -> parse on N sandboxed worker processes,
 * results in the order in which the tasks were submitted.
 *
 *     ingest_open(&settings, &ing, err);       // forks; call before threads start
 *     planner thread:  ingest_submit(ing, &task, err) ...; ingest_close(ing);
 *     writer thread:   while ((rc = ingest_next(ing, &result, err)) > 0) store(&result);
 *     ingest_free(&ing);
 *
 * Why processes: GMime's parser takes hostile bytes. A worker that crashes,
 * hangs or overruns its memory costs the item it was at: that item comes back
 * parsed by mime_parse_opaque with MIME_DEFECT(PARSER_CRASHED) or (PARSER_HUNG),
 * its batch goes on in a new worker. (A crash is repeated once in another process before it is believed, a SIGKILL from
 * outside three times, so that the damage of one item, or an impatient administrator, does not change the record of
 * another. If opaque parsing dies too, or reading takes too long, the item is FAILED.) And two GMime threads reach 1.4
 * x of one where two processes reach 2.0 x.
 *
 * Memory: `slots` batches of at most INGEST_BATCH_ITEMS tasks live at a time; a slot's
 * result area is bounded, so private memory depends neither on the number nor on the size of items. Full means
 * wait: ingest_submit blocks until the writer has taken results.
 *
 * Processes: ingest_open forks a single-threaded "nursery" that forks and reaps
 * the workers, because the caller has threads by the time a worker must be
 * replaced. It leaves when the caller does (a pipe tells), the workers die with it (PR_SET_PDEATHSIG). They close
 * foreign descriptors (all but standard error and what is open for reading only, as a vault's are), ignore the
 * terminal's signals, dump no core and write nothing but shared memory, of which a worker reaches the results of the
 * batch it holds. They get RLIMIT_DATA and, where asked, idle I/O priority. Call ingest_open early: a process forked
 * from a small one is small, and what the caller has mapped shared and writable by then (a store's lock file) stays
 * mapped in it.
 *
 * An error on one side does not stop the other: call ingest_cancel then.
 *
 * Thread rule: ingest_submit/ingest_pass/ingest_close by one thread (planner; another one may follow it when it is
 * joined), ingest_ready/ingest_next/ingest_redo by one thread (writer), ingest_cancel and ingest_stats by any.
 */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include "base/error.h"
#include "base/hash.h"
#include "ingest/known.h"
#include "mime/mime.h"
#include "vault/vault.h"

#define INGEST_BATCH_ITEMS 64
#define INGEST_TAG_MAX     16384 /* bytes the planner sends along with a task */

/* Test seam: replaces mime_parse inside the workers. */
typedef void ingest_parse_fn(struct mime_parser *p, struct bytes item, struct mime_record *out);

struct ingest_settings {
    unsigned workers;            /* 0: one a core; at most 256 */
    struct vault *const *vaults; /* opened by the caller, outlive the pipeline; tasks name them by index */
    uint32_t vaults_n;
    struct mime_settings mime;
    const struct ingest_known *known; /* hashes whose items need no parsing; made before ingest_open. NULL: all are
                                         parsed, equal ones too */
    uint32_t item_ms;                 /* a worker may take this long for one item, plus 1 s per 16 MiB; 0: 20,000 */
    uint64_t worker_bytes;            /* RLIMIT_DATA of a worker above what it starts with; 0: 1 GiB */
    uint32_t slots;                   /* batches on their way, at most 1024; 0: 8 + 12 a worker */
    bool io_idle;                     /* idle I/O priority and nice 10 for workers */
    ingest_parse_fn *parse;           /* NULL: mime_parse */
    uint64_t recycle_bytes; /* a worker whose private memory grew by more is replaced; 0: 24 MiB, UINT64_MAX: never */
};

struct ingest_task {
    uint32_t vault;               /* index into settings.vaults */
    struct vault_locator locator; /* copied */
    bool has_date;                /* the vault knows the internal date (mbox "From " line) */
    int64_t date;
    bool date_from_file; /* Maildir: the file's time is the internal date */
    bool force_parse;    /* parse even if the hash is known */
    struct bytes tag;    /* copied, given back with the result */
};

enum ingest_status {
    INGEST_PARSED, /* `record` is valid */
    INGEST_KNOWN, /* the hash (its first 64 bits) is in `known`, or an item given before it seemed to have the same: not
                     parsed. The writer compares bytes; if they differ, or there is no such item, ingest_redo */
    INGEST_FAILED, /* not readable: `reason` says why; nothing else is valid but the tag */
    INGEST_PASSED, /* from ingest_pass */
};

/* Views valid until the next ingest_next or ingest_redo. */
struct ingest_result {
    enum ingest_status status;
    struct bytes tag;
    uint32_t vault;
    struct vault_locator locator;
    struct hash128 hash;   /* XXH3-128 of the item's bytes */
    uint64_t size;         /* stored bytes */
    int64_t mtime_ns;      /* the file's */
    int64_t internal_date; /* by the rule of docs/FORMAT.md: file time (Maildir), From line, newest Received, Date, file
                              time */
    int16_t internal_zone; /* minutes east of UTC, as its source says; 0 if it does not */
    struct mime_record record;
    struct error reason;
};

enum ingest_step { INGEST_DONE = 0, INGEST_MORE = 1 }; /* negative: enum base_err */

struct ingest;

int ingest_open(const struct ingest_settings *settings, struct ingest **out, struct error *err);
/* Blocks while the pipeline is full. BASE_ERR_CANCELLED after ingest_cancel. BASE_ERR_LIMIT: tag or names too long. */
int ingest_submit(struct ingest *ing, const struct ingest_task *task, struct error *err);
/* Sends a tag through in order, without an item. */
int ingest_pass(struct ingest *ing, struct bytes tag, struct error *err);
/* Hands a part-filled batch to the workers now. Call it before anything slow: only ingest_submit looks for idle
 * workers. */
int ingest_flush(struct ingest *ing, struct error *err);
/* No more tasks. */
void ingest_close(struct ingest *ing);
/*
 * Waits at most timeout_ms for ingest_next to have something to give (a result, the end): 1 it has, 0 not yet. For a
 * writer that must look after other things meanwhile (writers that wait, progress). Views of the last result end, and
 * its chance of ingest_redo.
 */
int ingest_ready(struct ingest *ing, int timeout_ms, struct error *err);
/*
 * Blocks for the next result in order. BASE_ERR_IO: the nursery is dead (killed, or it gave up because workers die
 * before they do anything); nothing more will come. BASE_ERR_CORRUPT: shared memory is damaged beyond repair.
 */
int ingest_next(struct ingest *ing, struct ingest_result *out, struct error *err);
/* The result last given was INGEST_KNOWN but is not the same item: parse it now (blocks). INGEST_MORE, and a result
 * that is PARSED, or FAILED if the item is gone meanwhile. BASE_ERR_USAGE if the last result was something else. */
int ingest_redo(struct ingest *ing, struct ingest_result *out, struct error *err);
/* Both sides return BASE_ERR_CANCELLED soon. Async-signal-safe. */
void ingest_cancel(struct ingest *ing);
/* Ends all its processes and reaps its child, whatever state it is in. No other thread may be inside a call. Views end.
 */
void ingest_free(struct ingest **ing);

struct ingest_stats {
    uint64_t submitted, delivered, parsed, known, failed, crashed, hung;
    /* crashed, hung: items that killed the parser or took too long, whatever became of them */
    uint64_t bytes; /* of delivered items */
    uint32_t workers;
};
void ingest_get_stats(const struct ingest *ing, struct ingest_stats *out);

#endif

/*
 * indexer: from vaults to an archive's MDS, and keeping it so.
 *
 *     struct indexer_build build = {.store_dir = "store", .archive = "mail",
 *                                   .sources = specs, .sources_n = 1, .progress = show};
 *     struct indexer_report report;
 *     indexer_build(&build, &report, err);
 *
 * A build is idempotent and incremental. Each batch is one durable LMDB
 * transaction; a build killed at any moment goes on from its last commit, and
 * the final store equals that of an undisturbed one.
 *
 * What is gone from a vault is expunged, by a rule that protects from disks that are not mounted: a source that lacks all of
 * its items, or (from ten items on) more than a tenth, changes nothing by its absence unless allow_removals; its additions are taken. Maildir items
 * found again under the same name in another folder of the source do not count as lacking. Folders stay, empty.
 *
 * Two items are one if their bytes are. Where the older bytes are no longer there to be read (moved, rewritten
 * mbox, source not open) the 128-bit hash and the size decide.
 *
 * Threads of a build: the caller's thread is the writer (the only write
 * transaction); one planner scans vaults and compares them with the store under a read
 * transaction of its own; parse workers are processes (ingest/).
 */
#ifndef INDEXER_INDEXER_H
#define INDEXER_INDEXER_H

#include "base/error.h"
#include "mime/mime.h"
#include "vault/vault.h"
#include "ingest/ingest.h"

#include <stdio.h>

struct indexer_progress {
    const char *archive;
    const char *phase;       /* "scan", "build", "finish" */
    uint64_t items_done;     /* items delivered by the pipeline */
    uint64_t items_planned;  /* items that need work: submitted ones and, until planned_all, an estimate of the others */
    bool planned_all;        /* items_planned is final */
    uint64_t bytes_done;
    uint64_t failed;
    double seconds;          /* since the build began */
};
typedef void indexer_progress_fn(const struct indexer_progress *p, void *arg);

struct indexer_build {
    const char *store_dir, *archive;   /* created if missing */
    const struct vault_spec *sources;
    uint32_t sources_n;
    unsigned jobs;                     /* parse workers; 0: one a core */
    uint32_t batch_items;              /* messages a transaction; 0: 10,000 */
    uint64_t batch_bytes;              /* record bytes a transaction; 0: 32 MiB */
    bool full;                         /* look into every container and item: stat and hash again (in-place edits) */
    bool import;                       /* copy each new item into the archive's own vault; nothing is ever expunged for being gone */
    bool recover;                      /* indexer_rebuild only: the store is lost, see there */
    bool allow_removals;               /* accept that a source lacks more than a tenth of its items, or is gone */
    double max_rate;                   /* items a second; 0: no bound */
    bool io_idle;
    struct mime_settings mime;
    ingest_parse_fn *parse;            /* test seam, NULL */
    uint32_t item_ms;                  /* see ingest_settings */
    uint64_t map_bytes;                /* test seam, see mds_options */
    indexer_progress_fn *progress;     /* called on the writer thread, at most some 10 times a second */
    void *progress_arg;
    const volatile int *cancel;        /* set nonzero (signal handler): commits what it has, returns BASE_ERR_CANCELLED */
};

struct indexer_report {
    uint64_t items_added, messages_added, messages_expunged, flags_merged, moved;
    uint64_t duplicates;      /* messages whose item was stored already */
    uint64_t parsed;          /* items that went through the parser in this run */
    uint64_t failed, crashed, hung;
    uint64_t containers, containers_skipped;
    uint64_t commits, yields;
    uint64_t bytes;
    uint64_t own_items, own_bytes; /* copied into the own vault; as they stand there */
    uint64_t removals_refused; /* sources left alone for lack of --allow-removals */
    double seconds, cpu_seconds;
    uint64_t file_bytes;
    char last_failure[256];   /* "source/container/name: reason" */
    char refused_source[256];
};

/*
 * 0 done (see report->failed: CLI exit status 1), BASE_ERR_LOCKED (another
 * build), BASE_ERR_CANCELLED, BASE_ERR_NOTFOUND (no source could be opened), BASE_ERR_FULL, _READONLY, _IO ... The report is
 * valid in each case.
 */
int indexer_build(const struct indexer_build *build, struct indexer_report *report, struct error *err);

struct indexer_total {
    uint64_t archives;  /* asked for */
    uint64_t finished;  /* whose build came to an end of its own, good or bad */
    uint64_t pools;     /* pipelines that were started */
    double seconds, cpu_seconds; /* of all of it, workers included */
};

/* Called on the caller's thread, once for each archive that was begun, in order. rc, err: what indexer_build would have said. */
typedef void indexer_built_fn(const struct indexer_build *build, const struct indexer_report *report, int rc,
                              const struct error *err, void *arg);

/*
 * Builds archives in the order given, one at a time, by one pool of workers where that can be: archives share a pool, up to
 * 256 of them and 256 vaults, if jobs, item_ms, io_idle, parse and mime settings (that is, the header lists of their stores)
 * are the same. A build that fails ends the pool; the next archive gets a new one. Vaults are opened when the group is.
 * cpu_seconds of an archive that shares a pool is this process's alone.
 *
 * An archive that fails does not stop the others: 0 says only that each was tried. BASE_ERR_CANCELLED: stopped by
 * builds[i].cancel; archives that were not begun are not reported. `total` is valid in both cases.
 */
int indexer_build_many(const struct indexer_build *builds, size_t n, indexer_built_fn *built, void *arg,
                       struct indexer_total *total, struct error *err);

struct indexer_verify {
    const char *store_dir, *archive;
    bool items;      /* re-read the vault: hash and record of every item */
    unsigned jobs;
    void (*finding)(const char *text, void *arg);
    void *arg;
    const volatile int *cancel;
    indexer_progress_fn *progress; void *progress_arg;
};
/* Number of findings (0: sound), or < 0. Runs the structural part in a child process: a crash of it is a finding. */
int indexer_verify(const struct indexer_verify *v, struct error *err);

/*
 * Makes the store anew from its recorded sources beside the old one and puts it
 * in place atomically; UIDs, UIDVALIDITY, flags, keywords, save dates and subscriptions of messages matched by
 * hash (and folder) are kept; UIDNEXT never goes back. build.sources may be empty: the recorded ones.
 *
 * build.recover: data.mdb is gone or does not open (USAGE if it does). Then the new store is made from the bare segments of the own vault, whose
 * files are not touched: each sound item, also behind what was committed last, once, in a folder "Recovered"; and from build.sources. All
 * UIDVALIDITYs are new. What is left of data.mdb stays beside it as data.mdb.lost. NOTFOUND: there are no segments.
 */
int indexer_rebuild(const struct indexer_build *build, struct indexer_report *report, struct error *err);

#endif

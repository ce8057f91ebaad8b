/*
 * What the files of the indexer share. A build is: run.c opens and closes everything and joins (many.c: for many archives
 * in turn, by one pipeline of pool.c);
 * plan.c (planner thread) reads vaults and store and says what is to be done, as ops (op.h) through the pipeline;
 * write.c (caller's thread) does it: item.c files items, mbox.c matches rewritten mboxes, remove.c takes away,
 * flags.c merges flags, relocate.c repairs locators.
 */
#ifndef INDEXER_PRIVATE_H
#define INDEXER_PRIVATE_H

#include "indexer/indexer.h"
#include "mds/mds.h"
#include "op.h"
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>

#define INDEXER_BATCH_ITEMS 10000u
#define INDEXER_BATCH_BYTES (UINT64_C(32) << 20)
/* While others write too: how long they wait for a commit grows with what it must bring to the disk. */
#define INDEXER_CROWDED_ITEMS 500u
#define INDEXER_CROWDED_BYTES (UINT64_C(1) << 20)
#define INDEXER_CROWDED_MS    3000 /* since somebody waited */
#define INDEXER_COMMIT_MS 2000   /* browsers see progress at least this often */
#define INDEXER_BREATHE_MS 5     /* how often a build looks for waiting writers: well below the 50 ms promised */
#define INDEXER_TURN_MS 2000     /* how long it waits for a waiting writer to get its turn */
#define INDEXER_PROGRESS_MS 100
#define INDEXER_GROUP_MAX 256u   /* archives that share a pipeline */
#define INDEXER_STILL_NS INT64_C(1000000000) /* a stamp must be older than its scan by this to mean anything */

/* Names in the store's meta table. */
#define INDEXER_META_HEADERS "headers"      /* field names kept, one a line; "*" for all */
#define INDEXER_META_RELOCATE "relocate"    /* local: some item's locator may name a place that is gone */
#define INDEXER_IMPORT "import:"            /* before the name of a source whose items were copied: history, never read again */
#define INDEXER_META_MATCH "match."         /* + source id: local: the pattern given for an eml-tree */

/* One of build->sources, opened. */
struct indexer_source {
    const struct vault_spec *spec;
    struct vault *vault; /* NULL: could not be opened */
    struct error why;    /* then */
    uint32_t index;      /* in the pipeline's vaults, if opened: a pool adds where its archive's begin */
    char *name;          /* as in the store; owned; NULL if unknown */
};

struct header_list; /* settings.c */
struct indexer_pool; /* below */

/*
 * One run of a build. Written before the threads start, but for the atomics
 * (planner writes, writer reads) and what is said to be the writer's.
 */
struct indexer_run {
    const struct indexer_build *build;
    struct mime_settings mime;      /* build->mime with the store's header list */
    char *dir;                      /* the archive's environment */
    char *tmp;                      /* where temporary files go */
    struct header_list *headers;    /* what mime.headers points into, if it came from the store */
    struct indexer_source *sources;
    uint32_t sources_n;
    struct vault **vaults;          /* the opened ones */
    uint32_t vaults_n;
    struct indexer_source own;      /* rebuild: the own vault as a source; its vault NULL otherwise */
    uint64_t map_bytes;             /* build->map_bytes, grown at restarts */
    struct ingest_known *known;     /* the pool's. Planner fills it before its first submit; then the writer's */
    struct ingest *ingest;          /* the pool's */
    struct ingest_stats before;     /* of the pipeline, when the run's turn came */
    struct mds_env *env;
    struct indexer_restore *restore; /* rebuild: what the old store knew; NULL otherwise */
    int64_t began_ns;
    struct indexer_report *report;  /* the writer's */
    struct indexer_report committed; /* as of the last commit: what a replayed batch counts from */

    _Atomic uint64_t planned;       /* items submitted and, until planned_all, expected */
    _Atomic bool planned_all;
    _Atomic uint64_t containers, containers_skipped;

    int plan_rc;                    /* the planner's result, valid after the join */
    struct error plan_err;
};

static inline bool indexer_cancelled(const struct indexer_build *b)
{
    return b->cancel && *b->cancel;
}
/* What a cancelled build says, whichever thread saw it first. */
#define INDEXER_STOPPED "stopped; run the same command again to go on"

/* The planner thread. arg: struct indexer_run. */
void *indexer_plan(void *arg);

/* ---- writer ------------------------------------------------------------------------ */

/* An mbox as it was: what a rewritten one is matched against (mbox.c). */
struct indexer_former;

struct indexer_own; /* own.c */
struct indexer_spool; /* places to be removed at the source's end (remove.c) */

/* A container whose stamp waits until its missing places are dealt with. */
struct indexer_pending {
    uint32_t container;
    struct vault_stamp stamp;
    int64_t scanned_ns;
    bool gone;
};

struct indexer_writer {
    struct indexer_run *run;
    struct indexer_report *report;
    struct ingest_result result;  /* the pipeline's last */

    struct mds_txn *txn;          /* NULL between batches */
    uint32_t batch_n;
    uint64_t batch_bytes;
    int64_t batch_began_ns, looked_ns, shown_ns;
    int64_t crowded_until_ns; /* somebody else wrote lately */
    int64_t saved_date;           /* wall clock of the batch */
    uint64_t done_items, done_bytes;

    /* the source at hand */
    struct indexer_source *source;
    uint32_t source_id;           /* 0: not in the store yet */
    uint64_t source_rows, missing; /* missing: found by the writer itself (mbox) */
    struct indexer_spool *spool;
    struct indexer_pending *pending;
    size_t pending_n, pending_cap;

    /* the container at hand */
    bool container_ok;            /* false: its ops are passed over */
    struct mds_container container;
    struct buf container_name, folder_name;
    struct vault_stamp stamp;
    int64_t scanned_ns;
    bool container_is_mbox, container_incomplete, container_missing;
    bool folder_gone; /* its folder was deleted by a client */
    struct indexer_former *former;

    struct indexer_own *own;      /* the own vault; NULL until it is needed */
    bool relocate;                /* the meta mark is set */
    struct buf keywords;          /* scratch: keyword ids of a message */
};

/* Drains the pipeline into the store. The last transaction is committed, also when cancelled. */
int indexer_write(struct indexer_run *run, struct error *err);

/* Opens a transaction if none is open. */
int indexer_writer_txn(struct indexer_writer *w, struct error *err);
/* The container's folder stands after it, for a message to be filed. */
int indexer_writer_folder(struct indexer_writer *w, struct error *err);
/* Durable now; lets a waiting writer have its turn. */
int indexer_writer_commit(struct indexer_writer *w, struct error *err);
/* After each step: commits if the batch is full, old, or waited for; shows progress. BASE_ERR_CANCELLED. */
int indexer_writer_breathe(struct indexer_writer *w, struct error *err);
/* One more failed thing: counter and text. what: the item or container, may be empty. */
void indexer_writer_failed(struct indexer_writer *w, struct bytes what, const char *reason);
/* The vault that holds a source's items, NULL if it is not open in this build. */
struct vault *indexer_writer_vault(struct indexer_writer *w, uint32_t source_id);

/* item.c */
int indexer_item_take(struct indexer_writer *w, const struct op *op, struct error *err);
/* The result's item in the store: found by hash and bytes, or added. *failed_out: its bytes could not be read after all (reason in result). */
int indexer_item_resolve(struct indexer_writer *w, uint64_t *item_out, bool *failed_out, struct error *err);
/* A new message of `item` in the container's folder, and its place. */
int indexer_item_file(struct indexer_writer *w, const struct op *op, struct bytes identity, uint64_t item,
                      struct error *err);
int indexer_item_place_failed(struct indexer_writer *w, const struct op *op, struct bytes identity, struct error *err);
/* The locator of the result as the store keeps it. */
struct mds_locator indexer_item_locator(const struct indexer_writer *w);

/* flags.c */
/* Ids of the space-separated names, ascending, in w->keywords. */
int indexer_keywords_ids(struct indexer_writer *w, struct bytes names, struct error *err);
/* Three-way: bits and keywords that changed in the vault since `place` was written go to the message; place is
 * brought up to date (not written). *changed_out: the message changed. */
int indexer_flags_merge(struct indexer_writer *w, struct mds_place *place, uint32_t flags, struct bytes keywords,
                        bool *changed_out, struct error *err);
int indexer_flags_take(struct indexer_writer *w, const struct op *op, struct error *err);
uint64_t indexer_keywords_hash(struct bytes names);

/* mbox.c */
#define INDEXER_MBOX_KEY 8
void indexer_mbox_key(uint64_t offset, uint8_t key[INDEXER_MBOX_KEY]);
/* Commits, reads the container's places. No former content: w->former stays NULL. */
int indexer_mbox_begin(struct indexer_writer *w, struct error *err);
int indexer_mbox_take(struct indexer_writer *w, const struct op *op, struct error *err);
/* What of the former content was not found again becomes missing. */
int indexer_mbox_end(struct indexer_writer *w, struct error *err);
void indexer_mbox_release(struct indexer_writer *w);

/* remove.c */
int indexer_missing_add(struct indexer_writer *w, uint32_t container, struct bytes identity, struct error *err);
int indexer_missing_container(struct indexer_writer *w, uint32_t container, uint64_t rows, struct error *err);
/* Decides about the source's missing places, removes them or says why not, then stamps its containers. */
int indexer_source_finish(struct indexer_writer *w, const struct op *op, struct error *err);
/* More than a tenth, or all: that looks like a disk that is not mounted. */
bool indexer_is_suspicious(uint64_t lacking, uint64_t total);
void indexer_spool_free(struct indexer_spool **s);
/* Expunges the place's message, if it has one. The place row stays. */
int indexer_place_expunge(struct indexer_writer *w, uint32_t container, const struct mds_place *place, struct error *err);

/* own.c */
/* The own vault for reading; NULL if it cannot be opened. */
struct vault *indexer_own_vault(struct indexer_writer *w);
bool indexer_own_is(const struct vault *v);
/* The result's bytes into a segment, in the open transaction. *failed_out: they could not be read again (reason in result). */
int indexer_own_file(struct indexer_writer *w, struct mds_locator *out, bool *failed_out, struct error *err);
/* Before each commit: what was filed is on the disk, and the transaction knows how far. */
int indexer_own_sync(struct indexer_writer *w, struct error *err);
void indexer_own_release(struct indexer_writer *w);

/* relocate.c */
/* Items whose locator names a place that is gone get another of their places. */
int indexer_relocate(struct indexer_writer *w, struct error *err);
int indexer_relocate_mark(struct indexer_writer *w, struct error *err);

/* settings.c */
/* The header list that the store was built with, or that of the build for a new store, into run->mime. */
int indexer_settings_load(struct indexer_run *run, struct error *err);
/* The list of an open environment (run->env) into run->mime. */
int indexer_settings_read(struct indexer_run *run, struct error *err);
/* Would workers with the one make the same records as workers with the other? */
bool indexer_settings_same(const struct mime_settings *a, const struct mime_settings *b);
/* The open environment's list is still that of run->mime, else BASE_ERR_LOCKED. */
int indexer_settings_check(const struct indexer_run *run, struct error *err);
int indexer_settings_store(struct indexer_run *run, struct mds_txn *txn, struct error *err);
void indexer_settings_release(struct indexer_run *run);

/* source.c */
/* Opens what can be opened. BASE_ERR_NOTFOUND if nothing could, BASE_ERR_USAGE if two name the same. */
int indexer_sources_open(struct indexer_run *run, struct error *err);
void indexer_sources_close(struct indexer_run *run);
/* Those that could not be opened: under which name the store knows them, and what the report says of them. */
int indexer_sources_recall(struct indexer_run *run, struct error *err);

/* run.c: build, dir, tmp, report and restore are set. */
/* Opens the vaults and learns the settings; nothing of the store stays open. */
int indexer_run_prepare(struct indexer_run *run, struct error *err);
/* The build of a prepared run. Begins again where a map was full. last: the pool is not needed any more. */
int indexer_run_turn(struct indexer_run *run, struct indexer_pool *pool, bool last, struct error *err);
/* What prepare opened. Before it the pool is stopped: it has borrowed the vaults. */
void indexer_run_release(struct indexer_run *run);
/* Notes that the archive's environment stands, after it was made. */
int indexer_archive_made(const struct indexer_build *build, struct error *err);
/* The archive's directory, owned; the archive is made if missing. CORRUPT if its environment was made once and is gone. */
int indexer_archive_dir(const struct indexer_build *build, char **out, struct error *err);
/* rc, with *why told in the words of a caller who knows archives by name. */
int indexer_result(const struct indexer_build *build, int rc, struct error *why, struct error *err);
/* All of it, by a pool of its own. */
int indexer_run(struct indexer_run *run, struct error *err);

/* pool.c: one pipeline for the archives of a group, in turn. */
struct indexer_pool {
    const struct indexer_run *first; /* whose settings the workers have */
    struct vault **vaults;           /* of all its archives, borrowed */
    uint32_t vaults_n, archives;
    struct vault *nothing;           /* stands in where no source could be opened */
    struct ingest_known *known;
    struct ingest *ingest;           /* NULL: not started, or stopped */
    uint64_t started;
};
/* Can a prepared run share the pool? */
bool indexer_pool_fits(const struct indexer_pool *pool, const struct indexer_run *run);
/* Its vaults join; before the first start. */
void indexer_pool_add(struct indexer_pool *pool, struct indexer_run *run);
/* Gives the run a pipeline without tasks and an empty known set. No environment is open, no other thread runs. */
int indexer_pool_start(struct indexer_pool *pool, struct indexer_run *run, struct error *err);
/* Ends the processes; the next start makes new ones. */
void indexer_pool_stop(struct indexer_pool *pool);
void indexer_pool_release(struct indexer_pool *pool);

/* restore.c: rebuild's memory of the old store */
struct indexer_restore;
/* Folders and keywords into the new store: first of all. */
int indexer_restore_begin(struct indexer_restore *r, struct indexer_writer *w, struct error *err);
/* Adds m under the UID, flags, keywords and save date that the old store had for this hash in this folder. 1 added, 0 it had none. */
int indexer_restore_add(struct indexer_restore *r, struct indexer_writer *w, const struct hash128 *hash,
                        struct mds_message *m, struct error *err);

/* carry.c: the second half of a rebuild */
/* Planner: all records of the own vault. */
int indexer_carry_plan(struct indexer_run *run, struct error *err);
/* Writer: one of them. */
int indexer_carry_own(struct indexer_writer *w, struct error *err);
/* What clients made of the item just filed; new_item is the result's. */
int indexer_carry_item(struct indexer_writer *w, uint64_t new_item, struct error *err);
/* Had clients let go the message of this place? Then its place is written, and the rest of its item carried. */
int indexer_carry_let_go(struct indexer_writer *w, const struct op *op, struct bytes identity, bool *yes_out, struct error *err);
/* The folder that the container's mail went to, under any name; 0: not known. *gone_out: clients deleted it, and it comes back only for mail that
 * is new. */
uint32_t indexer_carry_folder(struct indexer_writer *w, bool *gone_out);
/* At the end: what was imported from where. */
int indexer_carry_imports(struct indexer_writer *w, struct error *err);

#endif

/*
 * change: what the files that change an archive share. A change is made by its caller's thread (change.c, draft.c), queued and
 * committed by a writer thread (writer.c), applied inside its transaction (change_*.c).
 *
 * Lock order: store.lock, archive.lock, then the writer's lock or the watcher's lock; neither of these two is held while anything of the
 * store's or the archive's is called, nor while a callback of the caller runs (but watch.c says what it does).
 */
#ifndef QUERY_CHANGE_H
#define QUERY_CHANGE_H

#include "query_private.h"

#include "vault/segment.h"

enum change_kind {
    CHANGE_STORE,
    CHANGE_EXPUNGE,
    CHANGE_COPY,
    CHANGE_MOVE,
    CHANGE_APPEND,
    CHANGE_REPLACE,
    CHANGE_CREATE,
    CHANGE_DELETE,
    CHANGE_RENAME,
    CHANGE_SUBSCRIBE,
    CHANGE_KINDS
};

/* NEW -> QUEUED (submit) -> DONE (its done callback has returned). Written under the writer's lock. */
enum change_state { CHANGE_NEW, CHANGE_QUEUED, CHANGE_DONE };

/* Flags asked for; owned copies of the keywords' names. */
struct change_flags {
    uint32_t bits;
    struct bytes *names; /* views into text */
    size_t names_n;
    struct buf text;
};

struct change_message {
    struct mdsq_draft *draft;
    struct change_flags flags;
    int64_t internal_date;
    int16_t internal_zone;
};

struct change_result {
    uint32_t uidvalidity;
    struct mdsq_set *changed, *modified, *source, *dest;
    uint64_t modseq_first, modseq_last;
    bool no_destination;
    char mailbox_id[33];
};

struct mdsq_change {
    enum change_kind kind;
    struct mdsq_archive *archive; /* a reference */

    /* What is asked; constant once made. */
    uint32_t folder, uidvalidity; /* of the view */
    struct query_uids *uids;      /* of the view's folder, those that are meant */
    struct buf name, to;          /* folders, as stored */
    enum mdsq_store_mode mode;
    struct change_flags flags;
    bool is_conditional, subscribe;
    uint64_t unchanged_since;
    uint8_t special_use;
    struct change_message *messages;
    size_t messages_n;

    /* The writer's, while it is queued. */
    struct mdsq_change *next;
    mdsq_done_fn *done;
    void *done_arg;
    bool failed; /* in this turn: left out when the turn is replayed */
    bool has_more; /* applied in part, which is to be committed: the rest comes behind what waits meanwhile */

    enum change_state state;
    int rc;
    struct error error;
    struct change_result result;
};

/* An item that this turn added: not to be found in its vault yet. */
struct turn_item {
    uint64_t id;
    struct mdsq_draft *draft;
};

/* One transaction of a writer thread. */
struct turn {
    struct mdsq_archive *archive;
    struct mds_txn *txn;
    struct segment_writer *segments; /* NULL until an item is appended */
    struct turn_item *items;
    size_t items_n, items_cap;
    int64_t now;      /* seconds since 1970 */
    bool is_mutated;  /* by the change in hand: set before its first write */
    uint64_t messages; /* touched so far */
    uint32_t folder;   /* the last that was touched */
};

/*
 * change_*.c: applies one change, or the next part of one (has_more is false before, and set if some is left). Checks first, then
 * writes. On success its result is set.
 */
int change_apply(struct turn *t, struct mdsq_change *c, struct error *err);
void change_result_reset(struct change_result *r);

int change_store(struct turn *t, struct mdsq_change *c, struct error *err);
int change_expunge(struct turn *t, struct mdsq_change *c, struct error *err);
int change_copy(struct turn *t, struct mdsq_change *c, struct error *err);
int change_move(struct turn *t, struct mdsq_change *c, struct error *err);
int change_append(struct turn *t, struct mdsq_change *c, struct error *err);
int change_replace(struct turn *t, struct mdsq_change *c, struct error *err);
int change_create(struct turn *t, struct mdsq_change *c, struct error *err);
int change_delete(struct turn *t, struct mdsq_change *c, struct error *err);
int change_rename(struct turn *t, struct mdsq_change *c, struct error *err);
int change_subscribe(struct turn *t, struct mdsq_change *c, struct error *err);

/* The view's folder as it is now; NOTFOUND if it was deleted or replaced. */
int change_view_folder(struct turn *t, const struct mdsq_change *c, struct mds_folder *out, struct error *err);
/* The destination; NOTFOUND also for a level. Sets result.no_destination. */
int change_destination(struct turn *t, struct mdsq_change *c, struct bytes name, struct mds_folder *out, struct error *err);
/* Notes what a change did to a folder, for the log's pruning. */
static inline void turn_touch(struct turn *t, uint32_t folder, uint64_t messages)
{
    t->folder = folder;
    t->messages += messages;
}

/* change_flags.c */
int change_flags_init(struct change_flags *f, const struct mdsq_flags *flags, struct error *err);
void change_flags_release(struct change_flags *f);

/* Keywords resolved in a transaction: for each name, the ids that a client sees under it. */
struct keyword_class {
    uint16_t first; /* the one that is set */
    uint64_t *more; /* bits of all ids shown alike; NULL: only `first` */
    bool is_known;
};
struct keyword_classes {
    uint32_t bits;
    struct keyword_class *v;
    size_t n;
};
/* create: names that are not known are made (a write). */
int change_keywords_resolve(struct turn *t, const struct change_flags *f, bool create, struct keyword_classes *out,
                            struct error *err);
void change_keywords_release(struct keyword_classes *k);
/* The flags and keyword ids (u16 big-endian, ascending, appended to `out`) of a message after mode. */
uint32_t change_keywords_apply(const struct keyword_classes *k, enum mdsq_store_mode mode, uint32_t flags, struct bytes ids,
                               struct buf *out);

/* ---- drafts (draft.c) ---- */

struct mdsq_draft {
    struct mdsq_archive *archive; /* a reference */
    struct buf memory;            /* the bytes while they are few */
    int fd;                       /* else here; -1 */
    uint64_t size;
    uint8_t *map;                 /* of fd, once finished */
    bool is_finished;
    struct hash128 hash;
    struct buf encoded;           /* the record, which points into it */
    struct mime_record record;
    struct segment_packed *packed; /* NULL: an item with these bytes was found in the own vault */
    uint64_t same_item;            /* that item; 0 */
};
struct bytes draft_bytes(const struct mdsq_draft *draft); /* finished */
int draft_finish(struct mdsq_draft *draft, struct error *err);
int draft_pack(struct mdsq_draft *draft, struct error *err); /* makes sure of `packed` */

enum draft_match { DRAFT_OTHER, DRAFT_SAME, DRAFT_SAME_ELSEWHERE /* same bytes, but not in the own vault */ };
/* Reads the stored item beside the draft. One that cannot be read is another. */
int draft_compare(struct mdsq_draft *draft, struct mds_txn *txn, uint64_t item, enum draft_match *out, struct error *err);

/* ---- the writer (writer.c) ---- */

struct query_writer;
struct query_writer *query_writer_new(void);
void query_writer_free(struct query_writer **w); /* joins the threads; nothing is queued any more */
/* Changes and commits so far, of tests and benchmarks. */
void query_writer_counts(struct mdsq_store *store, uint64_t *changes_out, uint64_t *commits_out);
void query_writer_counters(struct mdsq_store *store, struct mdsq_counters *out); /* those of the writer */

/* ---- watches (watch.c) ---- */

struct query_watcher;
struct query_watcher *query_watcher_new(void);
void query_watcher_free(struct query_watcher **w);
/* The archive was committed to by this process: those who watch are told at once. */
void query_watcher_news(struct mdsq_archive *archive);

/* ---- os.c ---- */

int64_t query_os_now(void);         /* wall clock, seconds since 1970 */
uint64_t query_os_monotonic_us(void);
int query_os_temporary(const char *dir, int *fd_out, struct error *err); /* an unlinked file */

#endif

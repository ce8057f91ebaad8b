/*
 * query_private: what the files of this room share. Not for other rooms.
 *
 * Errors: inside the room functions return enum base_err with a struct error; the public functions (mdsq_*)
 * convert once, with query_result.
 *
 * Lock order: store.lock, then archive.lock. Neither is held while a callback of the caller runs.
 */
#ifndef QUERY_PRIVATE_H
#define QUERY_PRIVATE_H

#include "mds/query.h"

#include "base/bytes.h"
#include "base/error.h"
#include "mds/mds.h"
#include "mds/text.h"
#include "mime/crlf.h"
#include "mime/mime.h"
#include "mime/parts.h"
#include "mime/texts.h"
#include "vault/vault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* ---- errors (error.c) ------------------------------------------------------------ */

/* Enough initialisation for error_set: 488 bytes of zeros a call would show in mdsq_fetch_next. */
static inline void query_error_init(struct error *e)
{
    e->code = BASE_OK;
    e->sys = 0;
    e->text[0] = 0;
}
/* rc >= 0 is passed through; a failure is copied to *out (may be NULL). */
int query_result(int rc, const struct error *e, struct mdsq_error *out);

static inline struct mdsq_bytes query_bytes(struct bytes b)
{
    return (struct mdsq_bytes){b.p, b.n};
}
static inline struct bytes bytes_of_query(struct mdsq_bytes b)
{
    return (struct bytes){b.p, b.n};
}

/* ---- names (names.c) --------------------------------------------------------------- */

/* Appends the shown form of stored name bytes (mds/query.h, "Names"). One to one. */
void query_name_show(struct bytes stored, struct buf *out);
/* The reverse. BASE_ERR_NOTFOUND for text that no stored name is shown as (so that no folder has two names). */
int query_name_store(struct bytes shown, struct buf *out, struct error *err);
/* Keyword as a client sees it: bytes that are no atom become '_'. */
void query_keyword_show(struct bytes stored, struct buf *out);

/* ---- patterns (match.c) ------------------------------------------------------------- */

/*
 * A compiled LIST pattern as an automaton without back-tracking: a state is a row of flags, one a pattern
 * position. Feeding a byte costs at most the pattern's length.
 */
struct query_pattern {
    struct buf text; /* reference + pattern, runs of wildcards collapsed */
    bool has_percent;
};
void query_pattern_init(struct query_pattern *p, const char *reference, const char *pattern);
void query_pattern_release(struct query_pattern *p);
static inline size_t query_pattern_row_bytes(const struct query_pattern *p) { return p->text.n + 1; }
void query_pattern_start(const struct query_pattern *p, uint8_t *row);
/* Feeds text in place. Returns false once nothing that begins so can match. */
bool query_pattern_feed(const struct query_pattern *p, uint8_t *row, struct bytes text, bool nocase);
bool query_pattern_accepts(const struct query_pattern *p, const uint8_t *row);

/* ---- UID sets (uids.c) ---------------------------------------------------------------- */

/*
 * An immutable set of UIDs under our own reference count (CRoaring's copy-on-write count is not atomic), shared by
 * views, sets, fetches and searches of any thread.
 */
struct query_uids {
    atomic_uint refs;
    uint32_t count;
    roaring_bitmap_t *bitmap;
    /* Permanent; of a folder's set that is found again while somebody holds it (states.c). */
    struct query_states *states; /* a reference, or NULL */
    uint32_t folder, uidvalidity, uidnext;
};
struct query_uids *query_uids_take(roaring_bitmap_t *bitmap); /* moves the bitmap in; one reference */
struct query_uids *query_uids_ref(struct query_uids *u);
void query_uids_unref(struct query_uids **u);

/*
 * The sets of an archive's folders that somebody holds, so that everybody who looks at a folder shares one, however many
 * folders are open and whatever flags change. It holds none of them itself, and lives as long as the archive or the last
 * set.
 */
struct query_states *query_states_new(void);
void query_states_unref(struct query_states **states);
/* A reference to the set of that folder as it is there, or NULL. */
struct query_uids *query_states_find(struct query_states *states, const struct mds_folder *folder);
/* Moves u in, whose only reference it takes; returns one to u, or to what another thread was quicker to add. */
struct query_uids *query_states_add(struct query_states *states, const struct mds_folder *folder, struct query_uids *u);
void query_states_leave(struct query_uids *u); /* of query_uids_unref alone: u has no references */

/*
 * Numbers ascending UIDs of a set without ranking each: neighbours are counted, short gaps walked, long ones ranked.
 */
struct query_numberer {
    const struct query_uids *uids;
    roaring_uint32_iterator_t it;
    uint32_t seq; /* of the iterator's value */
};
void query_numberer_init(struct query_numberer *n, const struct query_uids *uids);
/* Sequence number of uid, which must not go down from call to call; 0 if it is not in the set. */
uint32_t query_numberer_seq(struct query_numberer *n, uint32_t uid);

struct mdsq_set {
    struct query_uids *uids;
};
struct mdsq_set *query_set_take(roaring_bitmap_t *bitmap);
struct mdsq_set *query_set_of(struct query_uids *uids); /* takes a reference */
/* mdsq_set_parse against a set of UIDs. */
enum query_numbers {
    QUERY_SEQS,     /* one beyond the count is an error */
    QUERY_SEQS_ANY, /* one beyond the count is nothing: search keys */
    QUERY_UIDS,
};
int query_set_parse(struct query_uids *uids, struct bytes text, enum query_numbers kind, struct query_uids **out,
                    struct error *err);
/* Adds the numbers themselves; star: what "*" stands for, not 0 if there is one. */
int query_set_parse_numbers(struct bytes text, uint32_t star, roaring_bitmap_t *into, struct error *err);

/* ---- store and archives (store.c, archive.c, source.c) --------------------------------- */

#define QUERY_IDLE_ARCHIVES_MAX 64 /* opened archives kept without users; 31 KB and 3 descriptors each, 5 if the content index was asked */
#define QUERY_SHARED_SETS_MAX 64   /* folder states remembered an archive while nobody holds them */

struct mdsq_store {
    atomic_uint refs;
    atomic_uint_fast64_t generations; /* snapshots begun so far */
    char *dir;
    unsigned flags; /* enum mdsq_store_flag */
    struct query_writer *writer;   /* change.h; NULL without MDSQ_STORE_WRITE */
    struct query_watcher *watcher; /* change.h */
    struct query_order_budget *order_budget; /* order.h */
    pthread_mutex_t lock;  /* guards what follows */
    struct mds_catalogue *catalogue;
    bool catalogue_writable;
    struct mime_trace *trace; /* permanent, as is text_literal: what TEXT leaves out (mime/texts.h) */
    bool text_literal, no_text_index;
    struct query_auth *auth; /* auth_private.h; NULL before the first login */
    struct _GHashTable *archives; /* by id: those that are open and still what the catalogue means */
    struct mdsq_archive *idle_first, *idle_last; /* without users, the newest first */
    unsigned idle;
};
void query_auth_free(struct query_auth **auth);
/* The catalogue, ready to write if asked (it is opened for reading until somebody does). Call with store.lock held. */
int query_store_catalogue(struct mdsq_store *store, bool write, struct mds_catalogue **out, struct error *err);

#define QUERY_CATALOGUE_NAME_BYTES 256
/* Walks archives or users in name order. next: one of the catalogue's, 1 more, 0 done, under the store's lock. tell: of each row,
 * outside the lock, so that it may call the store; not 0 stops. row: room for one, which begins with its name. */
struct query_walk {
    int (*next)(struct mds_catalogue *catalogue, const char *after, void *row, struct error *err);
    int (*tell)(const void *row, void *arg);
    void *arg;
};
int query_store_walk(struct mdsq_store *store, const struct query_walk *walk, void *row, struct mdsq_error *err);

struct query_shared_set {
    uint64_t used;
    struct query_uids *uids; /* NULL: free slot */
};

struct query_vault {
    atomic_uint refs;
    uint32_t source;
    struct vault *vault;
    struct query_vault *next;
};

#define QUERY_VERIFIED_MAX 256
struct query_verified {
    uint64_t item;
    int64_t mtime_ns;
};

struct mdsq_archive {
    struct mdsq_store *store; /* a reference while refs > 0 */
    struct mds_env *env;
    char name[256];
    uint32_t id;
    dev_t dev; /* of data.mdb when it was opened: a rebuild puts another file in place */
    ino_t ino;
    bool is_writable; /* permanent: opened for writing, and the file system can be written */
    /* Under store.lock. */
    unsigned refs;
    bool stale; /* no longer what the catalogue's directory holds: closed with its last user */
    struct mdsq_archive *idle_next, *idle_prev;
    atomic_int_fast64_t looked_up_s; /* when the catalogue was last asked whether it is enabled */
    atomic_bool is_closed;           /* it is not, or it is not there any more */
    struct query_states *states;     /* permanent */
    /* Under lock. */
    pthread_mutex_t lock;
    struct query_shared_set sets[QUERY_SHARED_SETS_MAX];
    uint64_t sets_clock;
    struct _GHashTable *recent; /* folder -> first UID that is recent (recent.c) */
    int64_t opened_s;           /* permanent */
    struct query_order *order;  /* order.h; NULL: nobody has sorted yet */
    struct query_vault *vaults;
    /* Under the writer's lock (writer.c). */
    struct mdsq_change *queue_first, *queue_last;
    struct mdsq_archive *ready_next;
    bool is_writing, is_ready;
    uint64_t pruned_messages; /* of the writer thread at work: changed since the logs were looked at */
    /* Under the watcher's lock (watch.c). */
    struct mdsq_watch *watches;
    struct mdsq_watch *telling; /* the next one to tell */
    struct mdsq_archive *watched_next, **watched_at;
    uint64_t told_txnid;
    int watched_wd; /* of inotify; -1: polled */
    /* Under lock. */
    struct query_verified verified[QUERY_VERIFIED_MAX];
    struct mds_text *text;   /* the content index, once it was found; then permanent */
    int64_t text_looked_us;  /* when it was last looked for */
    int text_rc;             /* why it was not found: enum base_err */
    uint64_t words;          /* mime_words_fingerprint, once it was asked for */
};
/* NOTFOUND if it was disabled or removed: asked of the catalogue at most once a second. */
int query_archive_check(struct mdsq_archive *archive, struct error *err);
/* The directory's files are about to go: who opens the archive from now on gets another. Call with store.lock held. */
void query_archive_forget(struct mdsq_store *store, uint32_t id);
struct mdsq_archive *query_archive_ref(struct mdsq_archive *archive);
void query_archive_forget_all(struct mdsq_store *store); /* at the store's end */

/* The UIDs of a folder state, shared through the archive. */
int query_archive_uids(struct mdsq_archive *archive, struct mds_txn *txn, const struct mds_folder *folder,
                       struct query_uids **out, struct error *err);

int query_vault_get(struct mdsq_archive *archive, struct mds_txn *txn, uint32_t source, struct query_vault **out,
                    struct error *err);
void query_vault_unref(struct query_vault **v);
void query_vault_forget(struct mdsq_archive *archive, const struct query_vault *v); /* reopened at next use */
void query_vaults_release(struct mdsq_archive *archive);

/* ---- reader ------------------------------------------------------------------------------ */

struct mdsq_reader {
    struct mdsq_archive *archive;
    struct mds_txn *txn;
    uint64_t generation; /* unique a snapshot in the store: views of another one are dead */
    struct mds_words *words; /* made when first asked for: query_reader_words */
    char **kept;             /* likewise: query_reader_kept */
};
/* A cursor over packs that lives as long as the reader, so that single messages in order cost a row a pack. */
int query_reader_words(struct mdsq_reader *reader, struct mds_words **out, struct error *err);
/* The names of fields that a build of the archive set, ended by NULL; g_strfreev. NULL: none were set. */
char **query_kept_names(struct mds_txn *txn);
/* Names of the fields that the archive keeps, ended by NULL; view of the reader. */
const char *const *query_reader_kept(struct mdsq_reader *reader);

/* ---- views ------------------------------------------------------------------------------- */

struct mdsq_view {
    uint32_t folder;
    uint32_t uidvalidity;
    uint64_t highestmodseq;
    uint32_t uidnext;
    struct query_uids *uids; /* what the session knows */
    bool pending;            /* uids holds expunged messages that were not told yet */
};

/* Finds a folder that can be selected, by its shown name. */
int query_folder_find(struct mds_txn *txn, const char *name, struct mds_folder *out, struct error *err);
void query_mailbox_id(const uint8_t object_id[16], char out[33]);
void query_status_of(const struct mds_folder *f, struct mdsq_status *out);
/* Messages of the folder that are recent to whoever selects it next. */
int query_recent_count(struct mdsq_reader *reader, const struct mds_folder *f, uint32_t *out, struct error *err);

/* ---- items: the stored bytes (item.c) ------------------------------------------------------ */

/* Items up to this size are read whole, and their hash is checked. */
#define QUERY_SMALL_ITEM_BYTES (256u * 1024)

/*
 * An item's row (owned copies) and its bytes in the vault. The bytes are opened by query_item_open_bytes only, so that what the
 * store answers alone never touches the vault.
 */
struct query_item {
    struct mds_item row;   /* its views point into `copies` */
    struct buf copies;
    struct mime_parts parts;
    struct buf container;  /* name */
    struct query_vault *vault;
    struct vault_body *body; /* NULL when `whole` holds the bytes */
    struct buf whole;
    bool is_open, is_whole;
};
int query_item_load(struct mdsq_reader *reader, uint64_t id, struct query_item *out, struct error *err);
/* Opens the bytes and checks that they are still the indexed ones. BASE_ERR_GONE. */
int query_item_open_bytes(struct mdsq_reader *reader, struct query_item *item, struct error *err);
/* Exactly n stored bytes at off. */
int query_item_read(struct query_item *item, uint64_t off, void *dst, size_t n, struct error *err);
/* A view of what is read, until the next call: of the item's bytes if they are in memory, else of scratch. For mime_texts_begin. */
struct query_item_view {
    struct query_item *item;
    struct buf *scratch;
};
int query_item_view(void *view, uint64_t off, uint64_t len, struct bytes *out, struct error *err);
void query_item_release(struct query_item *item);

/* EMAILID and THREADID (RFC 8474). */
void query_item_ids(const struct mds_item *item, char email_out[34], char thread_out[18]);

/* ---- header blocks (fields.c) -------------------------------------------------------------- */

/* Appends the fields of block whose names are (not) among `names`, then the blank line if asked, as client bytes. */
void query_fields_subset(struct bytes block, const struct mdsq_bytes *names, size_t names_n, bool complement,
                         bool blank_line, struct buf *out);
/* True if the kept headers of an item that are not complete hold every occurrence of each name all the same. */
bool query_fields_are_kept(const struct mdsq_bytes *names, size_t names_n, const char *const *kept);
/* False: the indexer did not look at all of the item's header, whatever it kept of it. */
bool query_fields_were_seen(const struct mds_item *row);
bool query_block_ends_blank(struct bytes block);

/* ---- dates (dates.c) ------------------------------------------------------------------------ */

/* "17-Jul-1996 02:44:25 -0700"; times outside years 0000-9999 are clamped to them. */
void query_date_format(int64_t unix_s, int16_t zone_minutes, char out[27]);
/* Days since 1970-01-01 of the date as its own zone shows it. */
int64_t query_date_day(int64_t unix_s, int16_t zone_minutes);

#endif

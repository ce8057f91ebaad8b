/*
 * mds: the metadata store. One LMDB environment an archive, one catalogue
 * environment a store. The only room that includes lmdb.h.
 *
 *     store directory/
 *       catalogue/data.mdb, lock.mdb        archives and users
 *       archives/<id>/data.mdb, lock.mdb    one archive's MDS
 *       archives/<id>/build.lock            OFD lock: one build at a time
 *       archives/<id>/queue.lock            OFD lock, byte 0 shared: somebody waits to write
 *
 *     struct mds_env *env = NULL;
 *     mds_open(dir, &opts, &env, err);
 *     struct mds_txn *txn = NULL;
 *     mds_read_begin(env, &txn, err);
 *     mds_folder_find(txn, BYTES_LIT("INBOX"), &folder, err);
 *     mds_read_end(&txn);
 *
 * Bytes: docs/FORMAT.md. Every value carries a checksum over table, key and
 * value; a value that fails it is BASE_ERR_CORRUPT, never an answer.
 *
 * Transactions: MDB_NOTLS; a read transaction may move between threads but is used by one at a
 * time; short: end or renew it after every slice of output. One writer at a
 * time and archive, machine-wide. Views from a transaction are valid until it
 * ends, is renewed, or (write) until the next write call.
 *
 * Map growth: mds_write_begin makes sure of MDS_MAP_RESERVE free bytes and grows the map behind a
 * gate (no transaction of the environment lives in this process then). MDB_MAP_FULL in
 * the middle of a transaction still can happen in a tiny map: BASE_ERR_AGAIN, the transaction is dead: abort it, begin anew (the map
 * has grown), replay the batch.
 *
 * A call that writes and fails with NOTFOUND, EXISTS, USAGE, SYNTAX or LIMIT has changed nothing, so the transaction may go on with what others
 * asked for. After any other error: abort.
 *
 * Errors: BASE_ERR_FULL (disk), _LOCKED, _READONLY, _FORMAT (not ours, newer
 * version, unknown feature: the name is in the text), _CORRUPT, _IO.
 */
#ifndef MDS_MDS_H
#define MDS_MDS_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

#include <roaring/roaring.h>
#include <stdbool.h>
#include <stdio.h>

#define MDS_FORMAT_VERSION 1
#define MDS_MAP_RESERVE (UINT64_C(1) << 30)
#define MDS_NAME_MAX 4096     /* bytes of a folder's full name, container name, identity */
#define MDS_KEYWORDS_MAX 4096 /* distinct keywords of an archive */
#define MDS_ROOT 0u           /* parent id of top level folders */

/* ---- environment ---------------------------------------------------------------- */

struct mds_options {
    bool read_only;      /* never creates, never writes */
    bool create;         /* make it if missing; archive_name seeds UIDVALIDITY and object ids */
    const char *archive_name;
    uint64_t map_bytes;  /* 0: max(16 GiB, 8 x file), less when many are open (docs/OPERATIONS.md); tests use small ones */
    bool relaxed;        /* MDB_NOMETASYNC: a power cut may undo the last commits, never tear the store. Strict is the default; the first
                            opener of an environment in a process decides, another wish is USAGE */
    uint32_t uidvalidity_floor; /* of a store that is made: all its UIDVALIDITYs are above (mds_archive_info); 0: by names alone */
};

struct mds_env;
/* Opened once a process: opening the same (device, inode) again gives the same env with a higher reference count (USAGE if it is open
 * read-only and writing is asked for). After fork: open anew. NOTFOUND, FORMAT (foreign, empty, newer, unknown feature), CORRUPT (cut off), NOMEM
 * (the maps of this process take 100 TB: close some). A store of an earlier version gets its new tables when it is opened for writing.
 * Writers sync its directory and the one above, so that the files survive a power cut. Descriptors: 4 (read_only: 2), and one more while a
 * transaction waits for its turn. */
int mds_open(const char *dir, const struct mds_options *opts, struct mds_env **out, struct error *err);
void mds_close(struct mds_env **env); /* drops one reference */
const char *mds_dir(const struct mds_env *env);
/* The directory still holds the file that is open: it was not removed, and no restored or rebuilt archive took its place. A stat. */
bool mds_is_in_place(const struct mds_env *env);
/* LMDB's last transaction id: some 20 ns, any thread: changes when any process committed. */
uint64_t mds_last_txnid(struct mds_env *env);

/* Without a transaction, any thread: the size of the map, and of it what lies before the last page that ever was used. */
struct mds_usage { uint64_t map_bytes, used_bytes; };
void mds_usage(struct mds_env *env, struct mds_usage *out);

/* Frees the slots of readers that died without ending: servers call it now and then. Done by mds_open, and when slots run out. */
void mds_readers_clear(struct mds_env *env);

/* One build at a time. BASE_ERR_LOCKED names the holder's pid. Released by mds_build_unlock or the process's end. */
int mds_build_lock(struct mds_env *env, struct error *err);
void mds_build_unlock(struct mds_env *env);
/* Does anybody build in this directory now? It need not be open. */
bool mds_is_building(const char *dir);
/* True while another process or thread waits in mds_write_begin: a build commits and yields (checked every few ms). */
bool mds_writer_waiting(struct mds_env *env);

struct mds_txn;
int mds_read_begin(struct mds_env *env, struct mds_txn **out, struct error *err);
int mds_read_renew(struct mds_txn *txn, struct error *err); /* newest state; earlier views die */
void mds_read_end(struct mds_txn **txn);
/* Blocks for its turn, announcing itself in queue.lock; turns are given in order. A write transaction stays on its thread; a second one on
 * the same thread is USAGE. A thread that holds a read transaction may begin one; if the map must grow first, it waits 10 s for readers of
 * this process to end and is then LOCKED. */
int mds_write_begin(struct mds_env *env, struct mds_txn **out, struct error *err);
/* Durable when it returns 0. On failure the transaction is aborted. Frees txn in either case. */
int mds_write_commit(struct mds_txn **txn, struct error *err);
void mds_write_abort(struct mds_txn **txn);
uint64_t mds_txn_id(const struct mds_txn *txn);

/* Small named values of the archive: build settings, checkpoints. name: at most 64 bytes. NOTFOUND if absent. `local` ones
 * (wall clock, machine) stay outside mds_dump. */
int mds_meta_get(struct mds_txn *txn, const char *name, struct bytes *out, struct error *err);
int mds_meta_put(struct mds_txn *txn, const char *name, struct bytes value, bool local, struct error *err);

/* ---- folders -------------------------------------------------------------------- */

enum mds_special_use { MDS_USE_NONE, MDS_USE_ALL, MDS_USE_ARCHIVE, MDS_USE_DRAFTS, MDS_USE_FLAGGED, MDS_USE_JUNK, MDS_USE_SENT, MDS_USE_TRASH };

struct mds_folder {
    uint32_t id;      /* > 0, never reused */
    uint32_t parent;  /* MDS_ROOT at the top */
    struct bytes name; /* last level only; view of the transaction */
    bool selectable;  /* false: only a level on the way to others (\Noselect) */
    bool subscribed;
    uint8_t special_use;
    uint32_t uidvalidity; /* > 0 */
    uint32_t uidnext;     /* > 0 */
    uint64_t highestmodseq; /* > 0 */
    uint64_t changes_floor; /* changes at or below are no longer in the log */
    uint32_t exists, unseen, deleted;
    uint64_t bytes;       /* sum of client sizes */
    uint8_t object_id[16]; /* MAILBOXID */
};

/* Full names use '/'. INBOX matches case-insensitively and always exists. NOTFOUND otherwise. */
int mds_folder_find(struct mds_txn *txn, struct bytes full_name, struct mds_folder *out, struct error *err);
int mds_folder_get(struct mds_txn *txn, uint32_t id, struct mds_folder *out, struct error *err);
int mds_folder_full_name(struct mds_txn *txn, uint32_t id, struct buf *out, struct error *err);
/* Walks children of `parent` in name order; `after` NULL starts, else the name after which to go on. 1 more, 0 done, < 0 error. */
int mds_folder_next_child(struct mds_txn *txn, uint32_t parent, const struct bytes *after, struct mds_folder *out, struct error *err);
/* Creates with missing parents (not selectable). EXISTS if selectable already (then *id_out is set). SYNTAX: the name or a level of it
 * is empty. */
int mds_folder_create(struct mds_txn *txn, struct bytes full_name, uint32_t *id_out, struct error *err);
/* Removes an empty folder and its logs; one with children, or subscribed, stays as a level; levels above that nothing keeps any more go too.
 * Made again, it gets a higher UIDVALIDITY, and UIDs below an id are never given twice. USAGE for INBOX and for a folder that holds messages. */
int mds_folder_remove(struct mds_txn *txn, uint32_t id, struct error *err);
/* A level that only its subscription kept goes with it, and so may levels above it: the id is then gone. */
int mds_folder_set_subscribed(struct mds_txn *txn, uint32_t id, bool subscribed, struct error *err);
int mds_folder_set_special_use(struct mds_txn *txn, uint32_t id, enum mds_special_use use, struct error *err);
/*
 * Gives a folder (selectable or a level) another full name; what is below it moves along, in O(1). Missing parents are made. Id, object id,
 * UIDVALIDITY, UIDs, special use and subscription stay; levels that it leaves empty go. A name that is only subscribed is free, and what takes
 * it is subscribed. EXISTS; USAGE: INBOX, or into its own subtree; LIMIT: a name below would pass MDS_NAME_MAX. From the first rename on, new
 * folders of the archive get a UIDVALIDITY above all that were ever given (an O(1) rename frees names that nobody walked). The first one looks
 * at every folder once, to know the highest.
 */
int mds_folder_rename(struct mds_txn *txn, uint32_t id, struct bytes full_name, struct error *err);
/* A name that is subscribed though no folder has it: made as a level that only subscription keeps (selectable false, no children:
 * \NonExistent; made a folder later, it stays subscribed). It goes when the subscription goes. Likewise mds_folder_remove keeps a subscribed folder as such a level. */
int mds_folder_subscribe_name(struct mds_txn *txn, struct bytes full_name, struct error *err);

/* The highest UIDVALIDITY ever given; before the first rename that of removed folders, 0 if there are none. A store made anew (rebuild) takes it over. */
int mds_uidvalidity_floor(struct mds_txn *txn, uint32_t *out, struct error *err);
int mds_uidvalidity_raise(struct mds_txn *txn, uint32_t floor, struct error *err);

/* ---- items ---------------------------------------------------------------------- */

struct mds_locator {
    uint32_t source;        /* mds_source id */
    uint32_t container;     /* mds_container id */
    struct bytes name;      /* vault_locator.name */
    uint64_t offset, length;
    uint32_t filter;
};

struct mds_item {
    uint64_t id;            /* > 0, in order of first filing */
    struct hash128 hash;
    uint64_t size, size_crlf;
    uint64_t defects;
    uint64_t thread_id;
    bool has_sent_date;
    int64_t sent_date;
    int16_t sent_zone;
    uint64_t msgid_hash;    /* hash64 of the normalised Message-ID, 0 if none */
    uint32_t refs;          /* messages it is filed as; 0: only inside a transaction, or all that were are kept aside */
    struct mds_locator locator;
    struct bytes parts;     /* mime/parts.h; opaque here */
    struct bytes crlf_map;  /* mime/crlf.h; opaque here */
};

/* The other words of an item, packed apart so that each scan reads only its own. */
struct mds_item_words {
    struct bytes envelope, bodystructure;      /* table wire */
    struct bytes headers; bool headers_complete; /* table headers */
    struct bytes sort;                         /* table sort: mds_sort_encode */
};

/* Sort and thread columns, preview. Codec is part of the format. Views into the encoded bytes after decode. */
struct mds_sort {
    struct bytes base_subject; bool subject_is_reply;
    struct bytes sort_from, sort_to, sort_cc, display_from, display_to;
    struct bytes reference_hashes; /* 8 bytes each: hash64 of the ids of References, oldest first, else of In-Reply-To */
    struct bytes address_hashes;  /* 9 bytes each, as mime.h */
    struct bytes preview;
    bool has_received_date; int64_t received_date; int16_t received_zone;
};
void mds_sort_encode(const struct mds_sort *s, struct buf *out);
int mds_sort_decode(struct bytes in, struct mds_sort *out, struct error *err);

/* item->id and ->refs are set by the call. */
int mds_item_add(struct mds_txn *txn, struct mds_item *item, const struct mds_item_words *words, struct error *err);
int mds_item_get(struct mds_txn *txn, uint64_t id, struct mds_item *out, struct error *err);
/* Rewrites the row: a new locator, or a new record of the same bytes (words NULL: keep). */
int mds_item_update(struct mds_txn *txn, const struct mds_item *item, const struct mds_item_words *words, struct error *err);
/* Candidates of a hash, oldest first; 1 more, 0 done. *pos starts at 0. Only right when mds_hashes_complete. */
int mds_item_by_hash(struct mds_txn *txn, const struct hash128 *hash, uint64_t *pos, uint64_t *id_out, struct error *err);
/* The first id that was not given yet. Ids below that no item has are of items that were let go, and are never given again. */
int mds_item_end(struct mds_txn *txn, uint64_t *out, struct error *err);
/* All items in id order from `from`: 1 more, 0 done. For scans. */
int mds_item_next(struct mds_txn *txn, uint64_t from, struct mds_item *out, struct error *err);

/* Words, with a cursor that keeps the last pack of each table, so that items in order cost one row a pack. Views until the transaction ends or the next call of the same function on w. */
struct mds_words;
int mds_words_new(struct mds_txn *txn, struct mds_words **out, struct error *err);
void mds_words_rebind(struct mds_words *w, struct mds_txn *txn); /* after a renew: forgets cached packs */
void mds_words_free(struct mds_words **w);
int mds_words_wire(struct mds_words *w, uint64_t item, struct bytes *envelope, struct bytes *bodystructure, struct error *err);
int mds_words_headers(struct mds_words *w, uint64_t item, struct bytes *headers, bool *complete, struct error *err);
int mds_words_sort(struct mds_words *w, uint64_t item, struct mds_sort *out, struct error *err);
/* mds_item_get but for `refs`, which stays 0: in order one step of a cursor. Its views live as long as the transaction. */
int mds_words_item(struct mds_words *w, uint64_t item, struct mds_item *out, struct error *err);

/* `hashes` and `msgids` have random keys: a first build leaves them for the end. */
bool mds_hashes_complete(struct mds_txn *txn);
/*
 * Lets the commits of this process keep the keys of new items (up to 32 MiB, then files in tmpdir) for mds_hashes_build,
 * which else reads every item again. Worth it before a first build, else without effect. Call without a transaction.
 */
int mds_hashes_gather(struct mds_env *env, const char *tmpdir, struct error *err);
/* Fills both from `items`, sorted, in several durable transactions of its own; idempotent. tmpdir for sorted runs. Call without a transaction. */
int mds_hashes_build(struct mds_env *env, const char *tmpdir, struct error *err);
int mds_items_by_msgid(struct mds_txn *txn, uint64_t msgid_hash, uint64_t *pos, uint64_t *id_out, struct error *err);

/* ---- messages ------------------------------------------------------------------- */

/* Flag bits as stored: vault/vault.h's enum vault_flag. */
#define MDS_FLAGS_ALL 0x3fu

struct mds_message {
    uint32_t folder, uid;
    uint64_t item;
    uint32_t flags;
    struct bytes keywords;  /* u16 big-endian ids, ascending; view */
    uint64_t modseq;
    int64_t internal_date; int16_t internal_zone;
    int64_t saved_date;     /* wall clock when it was filed (SAVEDATE); outside the dump */
    uint64_t size_crlf;     /* RFC822.SIZE: no item row is needed for it */
    int64_t sent_date;      /* sort column: Date, else internal date */
};

/* uid and modseq are assigned (uidnext, highestmodseq + 1) and written back. Raises the item's refs. keywords: ids. USAGE if the
 * item is not there, or the folder is only a level. */
int mds_message_add(struct mds_txn *txn, struct mds_message *m, struct error *err);
int mds_message_get(struct mds_txn *txn, uint32_t folder, uint32_t uid, struct mds_message *out, struct error *err);
/* First message with UID >= uid: 1 found, 0 none. A txn keeps a cursor, so going up costs a step each. */
int mds_message_next(struct mds_txn *txn, uint32_t folder, uint32_t uid, struct mds_message *out, struct error *err);
int mds_message_set_flags(struct mds_txn *txn, uint32_t folder, uint32_t uid, uint32_t flags, struct bytes keyword_ids, struct error *err);
/* Expunge: row, sets, counters, log; lowers the item's refs and removes an item that nothing files any more (row, words, hash, msgid). *item_gone_out may be NULL. */
int mds_message_remove(struct mds_txn *txn, uint32_t folder, uint32_t uid, bool *item_gone_out, struct error *err);
/*
 * As mds_message_remove, but the message is kept aside (table `removed`) with its item until mds_removed_purge: what a person expunges can be
 * brought back. now: seconds since 1970, outside the dump.
 */
int mds_message_expunge(struct mds_txn *txn, uint32_t folder, uint32_t uid, int64_t now, struct error *err);
/* Another row of the same item, flags, keywords and dates in `dest` (may be the same folder); saved: its SAVEDATE. Move also takes it out of
 * its folder, logged as expunged, nothing kept aside. Both give the new UID. */
int mds_message_copy(struct mds_txn *txn, uint32_t folder, uint32_t uid, uint32_t dest, int64_t saved, uint32_t *uid_out, struct error *err);
int mds_message_move(struct mds_txn *txn, uint32_t folder, uint32_t uid, uint32_t dest, int64_t saved, uint32_t *uid_out, struct error *err);

struct mds_removed {
    uint32_t folder, uid;
    struct bytes folder_name;  /* full name when it was expunged; view */
    int64_t removed_at;
    struct mds_message message; /* as it was */
};
/* In order of folder and UID, after (folder, uid); (0, 0) starts. 1 more, 0 done. */
int mds_removed_next(struct mds_txn *txn, uint32_t folder, uint32_t uid, struct mds_removed *out, struct error *err);
/* Files it in `dest` under a new UID, without \Deleted. */
int mds_removed_restore(struct mds_txn *txn, uint32_t folder, uint32_t uid, uint32_t dest, int64_t saved, uint32_t *uid_out, struct error *err);
/* Lets it go for good; an item that nothing files and nothing keeps aside any more is removed. *item_gone_out may be NULL. */
int mds_removed_purge(struct mds_txn *txn, uint32_t folder, uint32_t uid, bool *item_gone_out, struct error *err);
/* Messages of an item: 1 more, 0 done; *pos starts at 0. */
int mds_item_messages(struct mds_txn *txn, uint64_t item, uint64_t *pos, uint32_t *folder_out, uint32_t *uid_out, struct error *err);
/* Likewise what is kept aside of it. */
int mds_item_removed(struct mds_txn *txn, uint64_t item, uint64_t *pos, uint32_t *folder_out, uint32_t *uid_out, struct error *err);

/* Keyword name <-> id of the archive. Names compare case-insensitively, keep their first spelling. LIMIT beyond MDS_KEYWORDS_MAX and
 * for names of 0 or more than 1,024 bytes. The view of a name lives until the transaction ends, is renewed, or gives a new keyword. */
int mds_keyword_id(struct mds_txn *txn, struct bytes name, bool create, uint16_t *id_out, struct error *err);
int mds_keyword_name(struct mds_txn *txn, uint16_t id, struct bytes *out, struct error *err);
uint16_t mds_keyword_count(struct mds_txn *txn); /* ids are 0..count-1 */

/* UID sets of a folder: all messages, those with a flag (bit number), those with a keyword. */
#define MDS_SET_EXISTS 0u
#define MDS_SET_FLAG(bit_no) (1u + (bit_no))
#define MDS_SET_KEYWORD(id) (64u + (id))
/* A new bitmap, owned by the caller (roaring_bitmap_free); checked before CRoaring sees the bytes. */
int mds_set_load(struct mds_txn *txn, uint32_t folder, uint32_t set, roaring_bitmap_t **out, struct error *err);

/* News of a folder since a modseq (exclusive): UIDs added or changed, and UIDs expunged. *complete_out false: the log does not reach back so far
 * (modseq < changes_floor): then `changed` holds all and `expunged` all UIDs below uidnext that do not exist. Bitmaps must be given, are added to. */
int mds_changes_since(struct mds_txn *txn, uint32_t folder, uint64_t modseq, roaring_bitmap_t *changed, roaring_bitmap_t *expunged, bool *complete_out, struct error *err);

/* Forgets the oldest entries of both logs of a folder until at most `keep` rows are left of each, at most `limit` rows a call; raises
 * changes_floor. Returns how many rows went. */
int mds_log_prune(struct mds_txn *txn, uint32_t folder, uint64_t keep, uint64_t limit, struct error *err);

/* ---- the archive's own vault (vault/segment.h) ----------------------------------- */

/* Where the next item goes: bytes beyond it in the active segment are no part of the archive (a torn or abandoned write). Read and put in the
 * write transaction that files the items; the segment is synced before that commits. Outside the dump. Absent: segment 1, offset 0. */
struct mds_segments { uint32_t active; uint64_t tail; };
int mds_segments_get(struct mds_txn *txn, struct mds_segments *out, struct error *err);
int mds_segments_put(struct mds_txn *txn, const struct mds_segments *s, struct error *err);
/* mds_source name of the own vault, and of its containers: a segment's number as 8 digits. Items there have offset, length (of the record's
 * payload as stored) and filter (enum vault_filter) in their locator. */
#define MDS_SOURCE_OWN "own:"

/* A consistent copy of what is committed into `dir` (which must exist and hold no data.mdb: EXISTS), compacted; other processes go on writing.
 * Synced, but not its name: a caller that puts more into `dir` syncs that once, in the end. *out: the copied snapshot's mds_segments, so that the own vault's files can be copied as far as it reaches. Holds a
 * read transaction as long as it takes: what is freed meanwhile is not used again. A failed copy leaves no data.mdb. */
int mds_copy(struct mds_env *env, const char *dir, struct mds_segments *out, struct error *err);

/* ---- restoring: a store made anew takes over what clients know (indexer's rebuild) ---- */

/* A folder that holds nothing yet becomes the old one: UIDVALIDITY, UIDNEXT (never lowered), object id, subscription, special use. HIGHESTMODSEQ is
 * then above the old one, and the log begins there: whoever asks for news since the old life is told of all UIDs that are gone. old->id is the
 * new folder's; its name and counters do not count. BASE_ERR_USAGE: it has messages, has given higher UIDs or is only a level; or UIDVALIDITY 0. */
int mds_folder_restore(struct mds_txn *txn, const struct mds_folder *old, struct error *err);
/* mds_message_add with m->uid as given: below UIDNEXT (else BASE_ERR_USAGE) and not there (BASE_ERR_EXISTS). UIDNEXT stays. What this store
 * itself expunged must not come back: not checked here, as that is a walk of the log; mds_verify finds it. */
int mds_message_restore(struct mds_txn *txn, struct mds_message *m, struct error *err);

/* An id of its own for a folder of the old store that is gone, but that kept messages and places still name. *id: 0, or what an earlier call gave,
 * which is taken anew if that transaction was aborted. */
int mds_folder_reserve(struct mds_txn *txn, uint32_t *id, struct error *err);
/* Keeps aside what the old store kept aside; folder (perhaps a reserved id), item and keyword ids are this store's. Views must not be of txn.
 * BASE_ERR_EXISTS: it is kept already. */
int mds_removed_carry(struct mds_txn *txn, const struct mds_removed *removed, struct error *err);
/* An older copy of a folder takes the place of one that clients know further on: UIDNEXT and HIGHESTMODSEQ become at least those given, and
 * HIGHESTMODSEQ above both. The log begins there: whoever asks for news since is told of all that is there and of all UIDs that are gone. */
int mds_folder_outlive(struct mds_txn *txn, uint32_t folder, uint32_t uidnext, uint64_t highestmodseq, struct error *err);
/* A folder as it stands gets a new UIDVALIDITY, above all that were ever given here (raise them first by what was given elsewhere). */
int mds_folder_renumber(struct mds_txn *txn, uint32_t folder, uint32_t *uidvalidity_out, struct error *err);
/* The highest UIDVALIDITY that was ever given here, whether or not anything was renamed: a walk of all folders. Needs a write transaction, which
 * may be aborted. */
int mds_uidvalidity_highest(struct mds_txn *txn, uint32_t *out, struct error *err);
/* What a folder gets by its name alone is at most this; higher ones are its later lives. */
#define MDS_UIDVALIDITY_DERIVED_MAX (UINT32_C(1) << 30)
/* Where nobody knows any more what was given, the clock tells: at least `highest`, and above what an archive has given in its life. */
uint32_t mds_uidvalidity_by_clock(int64_t now, uint32_t highest);

/* ---- sources: where messages came from, for incremental builds -------------------- */

/* name: vault_name(). Ids are given in order of first use. create false: NOTFOUND. */
int mds_source_id(struct mds_txn *txn, struct bytes name, bool create, uint32_t *id_out, struct error *err);
int mds_source_name(struct mds_txn *txn, uint32_t id, struct bytes *out, struct error *err);

struct mds_container {
    uint32_t id;           /* unique in the archive */
    uint32_t source;
    struct bytes name;     /* vault_container.name */
    uint32_t folder;       /* where its messages went first */
    int64_t mtime_ns; uint64_t size; uint64_t inode; /* stamp at the last complete scan */
    int64_t scanned_ns;    /* wall clock of that scan's begin; 0: never complete */
    uint32_t rows;         /* source rows it has */
    uint32_t failures;
};
/* By name; create makes it. */
int mds_container_find(struct mds_txn *txn, uint32_t source, struct bytes name, bool create, struct mds_container *out, struct error *err);
int mds_container_get(struct mds_txn *txn, uint32_t id, struct mds_container *out, struct error *err);
int mds_container_put(struct mds_txn *txn, const struct mds_container *c, struct error *err); /* rows and failures are kept by the store */
int mds_container_remove(struct mds_txn *txn, uint32_t id, struct error *err); /* must hold no rows */
/* In id order from `from`: 1 more, 0 done. */
int mds_container_next(struct mds_txn *txn, uint32_t from, struct mds_container *out, struct error *err);

/* One item of a container as last scanned. identity: vault_item.identity, for mbox the offset as 8 bytes big-endian. */
struct mds_place {
    struct bytes identity;
    uint64_t item; uint32_t folder, uid; /* uid 0: this is a failure or a message the archive let go (tombstone) */
    uint32_t flags;            /* vault flags as last seen */
    uint64_t keywords_hash;    /* hash64 of the vault's keyword text as last seen, 0 if none */
    uint64_t size; int64_t mtime_ns; /* stat as last seen, 0 if not kept */
    struct bytes reason;       /* failures (no uid): why; of a message: the vault's keywords as last seen */
};
int mds_place_get(struct mds_txn *txn, uint32_t container, struct bytes identity, struct mds_place *out, struct error *err);
int mds_place_put(struct mds_txn *txn, uint32_t container, const struct mds_place *p, struct error *err);
int mds_place_remove(struct mds_txn *txn, uint32_t container, struct bytes identity, struct error *err);
/* In key order (identity bytes; long ones by prefix and hash): after NULL starts. 1 more, 0 done. */
int mds_place_next(struct mds_txn *txn, uint32_t container, const struct bytes *after, struct mds_place *out, struct error *err);

/* ---- whole store ------------------------------------------------------------------ */

struct mds_table_stat { const char *name; uint64_t entries, pages, overflow_pages, bytes; };
#define MDS_TABLES_MAX 32
struct mds_stat {
    uint64_t file_bytes;  /* blocks on disk */
    uint64_t map_bytes, used_bytes, free_pages; /* free_pages: 0 in a write transaction */
    uint64_t items, messages, folders, highestmodseq;
    uint32_t readers;
    uint64_t defects[64]; /* items with each defect */
    struct mds_table_stat tables[MDS_TABLES_MAX]; unsigned tables_n;
};
int mds_stat(struct mds_txn *txn, struct mds_stat *out, struct error *err);

/*
 * The logical store as text, the same for equal stores: no packs, no page
 * numbers, no wall clock, no `local` meta. One line a row, bytes escaped.
 */
int mds_dump(struct mds_txn *txn, FILE *out, struct error *err);

/* Structure: every checksum, counters against rows, sets against rows, refs against filings, orphans both ways, packs, logs. Calls back for
 * each finding; returns their number (capped at 1000) or < 0. LMDB itself may crash on torn pages: callers run it in a child process. */
typedef void mds_finding_fn(const char *text, void *arg);
int mds_verify(struct mds_txn *txn, mds_finding_fn *finding, void *arg, struct error *err);

/* ---- catalogue: archives and users of a store -------------------------------------- */

struct mds_catalogue;
/* create: makes store directory and catalogue (mode 0700). */
int mds_catalogue_open(const char *store_dir, bool create, bool read_only, struct mds_catalogue **out, struct error *err);
void mds_catalogue_close(struct mds_catalogue **c);

struct mds_archive_info {
    char name[256];   /* UTF-8, 1..255 bytes, no control bytes, no '/' */
    char dir[1200];   /* path of its environment */
    uint32_t id;
    bool enabled;
    bool made;        /* its environment was made once: if it is missing now, it was lost */
    uint32_t uidvalidity_floor; /* the highest that removed archives of this name gave; 0: there were none. Whoever makes the environment passes it on */
};
int mds_catalogue_archive_find(struct mds_catalogue *c, const char *name, bool create, struct mds_archive_info *out, struct error *err);
/* Notes for good that the archive's environment was made. Writes only the first time. */
int mds_catalogue_archive_made(struct mds_catalogue *c, const char *name, struct error *err);
int mds_catalogue_archive_enable(struct mds_catalogue *c, const char *name, bool enabled, struct error *err);
/* The row alone: its directory is the caller's business, and its id is never given again. uidvalidity: the highest that it gave, 0 if it gave none:
 * kept for the name's next archive. */
int mds_catalogue_archive_remove(struct mds_catalogue *c, const char *name, uint32_t uidvalidity, struct error *err);
/* In name order; after NULL starts. 1 more, 0 done. */
int mds_catalogue_archive_next(struct mds_catalogue *c, const char *after, struct mds_archive_info *out, struct error *err);

#define MDS_USER_GRANTS_MAX 32
struct mds_user {
    char name[256];      /* UTF-8 */
    char archive[256];   /* the archive it opens if it names none */
    char verifier[512];  /* crypt(3) string, memory-hard */
    bool has_scram;      /* SCRAM-SHA-256 */
    uint32_t scram_iterations;
    uint8_t scram_salt[16], scram_stored_key[32], scram_server_key[32];
    uint32_t grants_n;   /* archives that it may open besides, in the order they were granted */
    char grants[MDS_USER_GRANTS_MAX][256];
};
/*
 * A random secret of the store, for what must look the same at every login and to nobody else (SCRAM salts of users that do not exist). Made by the
 * first mds_catalogue_user_put; BASE_ERR_NOTFOUND before.
 */
#define MDS_CATALOGUE_SECRET_BYTES 32
int mds_catalogue_secret(struct mds_catalogue *c, uint8_t out[MDS_CATALOGUE_SECRET_BYTES], struct error *err);
int mds_catalogue_user_put(struct mds_catalogue *c, const struct mds_user *u, struct error *err);
int mds_catalogue_user_get(struct mds_catalogue *c, const char *name, struct mds_user *out, struct error *err);
int mds_catalogue_user_remove(struct mds_catalogue *c, const char *name, struct error *err);
int mds_catalogue_user_next(struct mds_catalogue *c, const char *after, struct mds_user *out, struct error *err);

#endif

/*
 * mds_private: what the files of this room share, and what its tests may look at.
 *
 * Layers, each calling only those above it:
 *   keys.c, codec*.c, set_codec.c  bytes <-> structs, no LMDB
 *   lmdb_file.c, locks.c, env.c, map.c, schema.c
 *                                  the file, the locks, the environment, its map and gate, its tables and features
 *   txn.c                          transactions; get, put and delete of sealed rows
 *   meta.c folder.c folder_make.c folder_rename.c pack.c item.c message.c removed.c set.c log.c hashes.c
 *   hashes_gather.c keyword.c column_*.c source.c dump.c verify.c stat.c catalogue.c
 *   text_*.c                       the content index (text_private.h), on env.c and txn.c alone
 *
 * The bytes are described in docs/FORMAT.md and nowhere else.
 */
#ifndef MDS_PRIVATE_H
#define MDS_PRIVATE_H

#include "mds/mds.h"

#include <lmdb.h>
#include <pthread.h>
#include <sys/types.h>

/* ---- tables ------------------------------------------------------------------ */

/* The number takes part in every seal: never renumber. */
enum table {
    TABLE_META = 0,
    TABLE_FOLDERS = 1,
    TABLE_NAMES = 2,
    TABLE_FLOORS = 3,
    TABLE_MESSAGES = 4,
    TABLE_SETS = 5,
    TABLE_ITEMS = 6,
    TABLE_WIRE = 7,
    TABLE_HEADERS = 8,
    TABLE_SORT = 9,
    TABLE_HASHES = 10,
    TABLE_MSGIDS = 11,
    TABLE_FILED = 12,
    TABLE_SOURCES = 13,
    TABLE_CONTAINERS = 14,
    TABLE_CONTAINER_NAMES = 15,
    TABLE_PLACES = 16,
    TABLE_CHANGES = 17,
    TABLE_EXPUNGED = 18,
    TABLE_KEYWORDS = 19,
    TABLE_ARCHIVES = 20, /* catalogue */
    TABLE_USERS = 21,    /* catalogue */
    TABLE_REMOVED = 22,
    TABLE_COLUMNS = 23,
    TABLE_TEXT = 31, /* content index; the numbers between are not given yet */
    TABLE_COUNT = 32
};

#define TABLES_FIRST 22u /* tables that the sums of the first stores count */

extern const char *const table_names[TABLE_COUNT];

/* Numbers of the machine's own byte order, from anywhere. */
static inline uint32_t native_u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t native_u64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

#define KEY_MAX       511u   /* LMDB's limit, compiled in */
#define SEAL_BYTES    4u     /* head of every value */
#define PACK_BYTES    16368u /* a row that is not compressed: four pages less one page header */
#define PACK_ROW_BYTES      8176u  /* a compressed one: two pages less one page header */
#define PACK_COMPRESS_MIN   512u   /* what is worth it */
#define PACK_PLAIN_MAX      32768u /* what a compressed row may hold: that much is done to read one entry */
#define ROW_BYTES_MAX (UINT32_C(1) << 30)

/* A key under construction. */
struct key {
    uint8_t p[KEY_MAX];
    size_t n;
};
static inline struct bytes key_bytes(const struct key *k)
{
    return bytes_of(k->p, k->n);
}
static inline void key_reset(struct key *k)
{
    k->n = 0;
}
void key_u16(struct key *k, uint16_t v);
void key_u32(struct key *k, uint32_t v);
void key_u64(struct key *k, uint64_t v);
void key_raw(struct key *k, struct bytes v); /* must fit */
/* Outside text as the rest of the key. True if it was too long: then prefix and XXH3-128 stand there, and the value
 * holds the text. */
bool key_text(struct key *k, struct bytes text);

uint32_t row_seal(enum table table, struct bytes key, struct bytes payload);

/* ---- rows (codec.c, codec_item.c): payloads without their seal ------------------------------- */

/* Decoders check everything and return false on bytes that no encoder wrote; views point into `in`. */

/* Values of a field's width, of which a hostile row may hold larger ones: the reader then fails. */
static inline uint32_t read_u32(struct reader *r)
{
    const uint64_t v = reader_varint(r);

    if (v > UINT32_MAX)
        r->ok = false;
    return (uint32_t)v;
}
static inline int16_t read_zone(struct reader *r)
{
    const int64_t v = reader_zigzag(r);

    if (v < INT16_MIN || v > INT16_MAX)
        r->ok = false;
    return (int16_t)v;
}
static inline struct bytes read_rest(struct reader *r)
{
    return reader_bytes(r, (size_t)(r->end - r->p));
}

struct counters {
    uint64_t next_item; /* > 0 */
    uint32_t next_folder, next_container, next_source;
    uint64_t items, messages, folders;
    uint64_t items_removed; /* ever */
    uint64_t defects[64];
};
void counters_encode(const struct counters *c, struct buf *out);
bool counters_decode(struct bytes in, struct counters *out);

struct table_sums { /* rows and the sum of their seals, of every table but for the row "sums" itself */
    uint64_t txnid;
    uint64_t rows[TABLE_COUNT], sum[TABLE_COUNT];
};
void sums_encode(const struct table_sums *s, unsigned tables, struct buf *out); /* those numbered below `tables` */
bool sums_decode(struct bytes in, struct table_sums *out);

struct renames {          /* since the first rename; all zero before */
    uint32_t uidvalidity; /* the highest that was ever given */
    uint32_t name_bytes;  /* no full name is longer */
};
void renames_encode(const struct renames *r, struct buf *out);
bool renames_decode(struct bytes in, struct renames *out);
void segments_encode(const struct mds_segments *s, struct buf *out);
bool segments_decode(struct bytes in, struct mds_segments *out);

void folder_encode(const struct mds_folder *f, struct buf *out);
bool folder_decode(uint32_t id, struct bytes in, struct mds_folder *out);
/* names, container names: id, and the text if the key is a hashed one. */
void name_encode(uint32_t id, bool hashed, struct bytes text, struct buf *out);
bool name_decode(struct bytes in, bool hashed, uint32_t *id_out, struct bytes *text_out);
void message_encode(const struct mds_message *m, struct buf *out);
bool message_decode(uint32_t folder, uint32_t uid, struct bytes in, struct mds_message *out);
void removed_encode(const struct mds_removed *r, struct buf *out);
bool removed_decode(uint32_t folder, uint32_t uid, struct bytes in, struct mds_removed *out);
/* filed: is the message kept aside in `removed`? */
void filing_encode(bool aside, struct buf *out);
bool filing_decode(struct bytes in, bool *aside_out);
void item_encode(const struct mds_item *it, struct buf *out);
bool item_decode(uint64_t id, struct bytes in, struct mds_item *out); /* refs = 0 */
void container_encode(const struct mds_container *c, struct buf *out);
bool container_decode(uint32_t id, struct bytes in, struct mds_container *out);
/* hashed: the key holds no full identity, so the value does. */
void place_encode(const struct mds_place *p, bool hashed, struct buf *out);
bool place_decode(struct bytes in, bool hashed, struct mds_place *out); /* identity only if hashed */
bool keywords_valid(struct bytes ids); /* even length, ascending, below MDS_KEYWORDS_MAX */

struct run { /* modseq + i belongs to uid + i, i < count */
    uint64_t modseq;
    uint32_t uid;
    uint32_t count;
};
void run_encode(const struct run *r, struct buf *out);
bool run_decode(uint64_t modseq, struct bytes in, struct run *out);

void wire_encode(struct bytes envelope, struct bytes bodystructure, struct buf *out);
bool wire_decode(struct bytes in, struct bytes *envelope, struct bytes *bodystructure);
void headers_encode(struct bytes headers, bool complete, struct buf *out);
bool headers_decode(struct bytes in, struct bytes *headers, bool *complete);

/* A pack: the entries of consecutive items. */
struct pack {
    uint64_t first;
    uint32_t n, cap;
    uint32_t *len;     /* 0: removed, else length + 1 */
    size_t *off;       /* of each entry in data */
    struct bytes data; /* the entries, one behind the other; view */
    struct buf plain;  /* of a compressed row: what `data` views, until the next pack_decode into this struct */
};
bool pack_decode(uint64_t first, struct bytes in, struct pack *out); /* reuses out's arrays */
void pack_encode(const uint32_t *len, uint32_t n, struct bytes data, struct buf *out);
/* Compresses the payload that stands in `out` from there to its end, if that pays. */
void pack_compress(struct buf *out, size_t from);
void pack_release(struct pack *p);
static inline bool pack_holds(const struct pack *p, uint64_t id)
{
    return id >= p->first && id - p->first < p->n;
}

void user_encode(const struct mds_user *u, struct buf *out);
bool user_decode(struct bytes name, struct bytes in, struct mds_user *out);
/* id, enabled, made */
void archive_encode(const struct mds_archive_info *info, struct buf *out);
bool archive_decode(struct bytes in, struct mds_archive_info *out);

/* ---- containers of UID sets (set_codec.c) --------------------------------------- */

#define SET_WORDS 1024u /* 65536 bits */

struct set_bits {
    uint64_t w[SET_WORDS];
};
void set_bits_encode(const struct set_bits *b, struct buf *out); /* must hold at least one bit */
bool set_bits_decode(struct bytes in, struct set_bits *out);
uint32_t set_bits_count(const struct set_bits *b);

/* Checked containers, gathered in ascending order of `high`, become one roaring bitmap. */
struct set_builder {
    struct buf head, body; /* portable roaring bytes under construction */
    struct buf flags;      /* one byte a container: is it a run container */
    uint32_t n;
    int32_t last_high;
};
bool set_builder_add(struct set_builder *s, uint16_t high, struct bytes in);
roaring_bitmap_t *set_builder_take(struct set_builder *s); /* owned by the caller; resets s */
void set_builder_release(struct set_builder *s);

/* ---- the file (lmdb_file.c) -------------------------------------------------------- */

enum file_state { FILE_MISSING, FILE_EMPTY, FILE_LMDB };
/* FORMAT: not LMDB's. CORRUPT: cut off. size_out: of the file. */
int lmdb_file_check(const char *path, enum file_state *state_out, uint64_t *size_out, struct error *err);
int lmdb_lock_reserve(const char *dir, struct error *err);
/* The two meta pages must stand one commit apart; false with a reason if not. Also the newest transaction and the root
 * of the table of tables before it. */
bool lmdb_file_metas_agree(const char *path, uint64_t *newest_out, uint64_t *older_root_out, const char **why_out);

/* ---- environment (env.c, locks.c) -------------------------------------------------- */

#define ENV_MAX_READERS  1024u /* one constant, as LMDB takes the first opener's */
#define ENV_MAP_BYTES    (UINT64_C(16) << 30)
#define ENV_GATE_WAIT_MS 10000 /* for the process's transactions to end before the map grows */

struct schema {
    const char *kind;            /* first word of the format row */
    const char *const *features; /* NULL-terminated; all are written, only these are accepted */
    uint32_t tables;             /* bit set */
    uint32_t later;              /* of them: those that a store of an earlier version lacks */
};
extern const struct schema archive_schema, catalogue_schema, text_schema;

struct mds_env {
    /* permanent */
    MDB_env *lmdb;
    MDB_dbi dbi[TABLE_COUNT];
    uint32_t tables; /* those that are there: all of the schema, but for an old store that is only read */
    const struct schema *schema;
    char *dir, *path;
    char *archive_name;
    uint32_t uidvalidity_floor; /* while it is made */
    bool read_only, fixed_map; /* fixed_map: the opener chose a size: grow only when full */
    bool relaxed;
    size_t page_bytes;
    dev_t dev;
    ino_t ino;
    pid_t pid;
    /* under the registry's mutex */
    struct mds_env *next;
    unsigned refs;
    uint64_t map_bytes; /* under the budget's mutex (map.c): what it counts there */
    /* under `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned live;  /* transactions of this process */
    bool gate_shut; /* the map is being replaced, or wants to be */
    bool want_grow; /* the last writer ran into the map's end */
    bool writing;
    pthread_t writer;
    struct gather *gather; /* the writer's; NULL: nothing is gathered */
    int build_fd;
    int queue_fd; /* never holds a lock itself: asks who does; opened by the first who asks */
};

int env_open(const char *dir, const struct schema *schema, const struct mds_options *opts, struct mds_env **out,
             struct error *err);
int env_enter(struct mds_env *env, struct error *err); /* before a transaction begins; waits at the gate */
void env_leave(struct mds_env *env);
/* How large a map it gets: fixed_bytes, or (0) by the file and by what other maps leave of the address space. */
int env_map_claim(struct mds_env *env, uint64_t fixed_bytes, uint64_t file_bytes, uint64_t *out, struct error *err);
void env_map_note(struct mds_env *env);                      /* the map's true size */
void env_map_release(struct mds_env *env);                   /* it has none any more */
int env_map_follow(struct mds_env *env, struct error *err);  /* another process grew the map */
int env_map_prepare(struct mds_env *env, struct error *err); /* grow if it is time to */
int env_lmdb_error(struct mds_env *env, int rc, const char *what, struct error *err);
int env_durability_check(struct mds_env *env, struct error *err); /* USAGE if LMDB's flags would weaken a commit */
int dir_sync(const char *dir, struct error *err);
int dir_parent_sync(const char *dir, struct error *err);
int store_open(struct mds_env *env, const struct mds_options *opts, struct error *err); /* schema.c */

int locks_open(struct mds_env *env, struct error *err);
void locks_close(struct mds_env *env);
/* A place in the queue of writers: announce and wait for the turn; *fd_out is closed when the turn was used. */
int locks_queue_enter(struct mds_env *env, int *fd_out, struct error *err);

/* ---- transactions (txn.c) ------------------------------------------------------------- */

struct folder_entry { /* a folder in the cache of a write transaction */
    struct mds_folder f;
    struct buf name;
    bool dirty;
    bool runs_loaded;
    struct run runs[2]; /* last of changes, expunged; count 0: none */
    bool run_dirty[2];
    struct folder_entry *next;
};

struct set_entry {
    uint32_t folder, set;
    uint16_t high;
    bool dirty, stored;
    struct set_entry *next;
    struct set_bits bits;
};

struct pack_writer {
    bool loaded;
    bool dirty;
    uint64_t first;
    uint32_t n, cap;
    uint32_t *len;
    size_t index_bytes;
    size_t plain_goal; /* bytes of payload that fill a row's pages, as far as is known; 0: nothing is */
    struct buf data;
};

/* Keys with random heads, kept until they can be put in order. */
struct pending {
    size_t key_bytes;
    uint32_t n, cap;
    uint8_t *keys;
    uint32_t *slots; /* open addressing: index + 1 */
    uint32_t slots_n;
};

#define CACHE_BUCKETS    1024u
#define SET_CACHE_MAX    512u /* 4 MiB */
#define FOLDER_CACHE_MAX 2048u
#define PENDING_MAX      50000u

struct table_tail {
    struct key key; /* last key of the table; n == 0 and known: empty */
    bool known;
};

struct writer { /* state of a write transaction, flushed by its commit */
    struct counters counters;
    struct table_sums sums;
    bool counters_dirty;
    struct table_tail tail[TABLE_COUNT];
    struct folder_entry *folders[CACHE_BUCKETS];
    unsigned folders_n;
    struct set_entry *sets[CACHE_BUCKETS];
    unsigned sets_n;
    struct pack_writer packs[3]; /* wire, headers, sort */
    struct pending hashes, msgids;
    struct buf gathered; /* of struct gathered: what the commit gives to the environment's gather */
    bool gather_spoilt;
    struct mds_container container; /* id 0: none */
    struct buf container_name;
    bool container_dirty;
    struct buf entry; /* scratch: a pack's entry */
    struct columns_writer *columns; /* column_write.c; NULL until a message is filed */
};

struct keyword_cache {
    bool loaded;
    uint16_t n;
    struct buf text; /* names one behind the other */
    uint32_t *end;   /* of each name in text */
};

struct mds_txn {
    struct mds_env *env;
    MDB_txn *lmdb;
    struct writer *w; /* NULL in a read transaction */
    bool dead;        /* a write failed inside LMDB: only abort is left */
    bool hashes_known, hashes_complete;
    uint64_t write_seq; /* puts and deletes so far */
    MDB_cursor *cursors[TABLE_COUNT];
    struct keyword_cache keywords;
    struct buf value; /* scratch: SEAL_BYTES of room, then a payload */
    struct buf name;  /* scratch: names, full keys of long rows */
    struct pack pack; /* scratch: index of a pack */
    /* where mds_message_next and mds_item_next stand */
    bool message_at_known, item_at_known;
    uint32_t message_at_folder, message_at_uid;
    uint64_t item_at;
};

/* fresh: the store's tables do not exist yet; nothing is read from them. */
int txn_write_begin(struct mds_env *env, bool fresh, struct mds_txn **out, struct error *err);
int txn_writer_load(struct mds_txn *t, struct error *err);
int txn_writable(struct mds_txn *t, struct error *err); /* a live write transaction, or USAGE / READONLY */
int txn_cursor(struct mds_txn *t, enum table table, MDB_cursor **out, struct error *err);
int txn_fail(struct mds_txn *t, int rc, const char *what, struct error *err); /* LMDB's code to ours; a write dies */

/* Payload of a row, checked. NOTFOUND without text (err untouched) when absent. */
int row_get(struct mds_txn *t, enum table table, struct bytes key, struct bytes *payload_out, struct error *err);
/* Moves the table's cursor: MDB_FIRST, NEXT, PREV, LAST, SET_RANGE (with *key). 1 found, 0 none. */
int row_seek(struct mds_txn *t, enum table table, MDB_cursor_op op, struct bytes *key, struct bytes *payload_out,
             struct error *err);
int row_seek_on(struct mds_txn *t, MDB_cursor *c, enum table table, MDB_cursor_op op, struct bytes *key,
                struct bytes *payload_out, struct error *err);
/* Without a look at the seal: for rows that never change, whose seal is checked once a process (text_block.c). The
 * payload is a view behind its seal; it is empty if the row has no room for one. */
int row_get_unsealed(struct mds_txn *t, enum table table, struct bytes key, struct bytes *payload_out,
                     struct error *err);
int row_seek_unsealed(struct mds_txn *t, MDB_cursor *c, enum table table, MDB_cursor_op op, struct bytes *key,
                      struct bytes *payload_out, struct error *err);
bool row_seal_holds(enum table table, struct bytes key, struct bytes payload); /* of a payload from these two */
/* The last row whose key is <= key and begins with its first prefix_n bytes. 1 found, 0 none. */
int row_seek_last(struct mds_txn *t, enum table table, struct bytes key, size_t prefix_n, struct bytes *key_out,
                  struct bytes *payload_out, struct error *err);
/* value_begin gives a buffer with room for the seal; row_put seals and writes it. */
struct buf *value_begin(struct mds_txn *t);
int row_put(struct mds_txn *t, enum table table, struct bytes key, struct buf *value, struct error *err);
int row_delete(struct mds_txn *t, enum table table, struct bytes key, bool *was_there_out, struct error *err);
int row_corrupt(struct mds_txn *t, enum table table, struct bytes key, const char *why, struct error *err);
int table_empty(struct mds_txn *t, enum table table, struct error *err);
MDB_val val_of(struct bytes b);

/* ---- rooms within the room -------------------------------------------------------------- */

/* Rows of meta: the first byte says whose. */
#define META_OWN      '!' /* ours */
#define META_GLOBAL   'g' /* the caller's, in the dump */
#define META_LOCAL    'l' /* the caller's, outside the dump */
#define META_FORMAT   "!format"
#define META_FEATURES "!features"
#define META_COUNTERS "!counters"
#define META_SUMS     "!sums"
#define META_ARCHIVE  "!archive"
#define META_HASHES   "!hashes" /* "building" or "complete" */
#define META_RENAMES  "!renames"
#define META_SEGMENTS "!segments"
#define META_TEXT     "!text"

int meta_load_counters(struct mds_txn *t, struct counters *out, struct error *err);
int meta_load_sums(struct mds_txn *t, struct table_sums *out, struct error *err);
int meta_own_get(struct mds_txn *t, const char *name, struct bytes *out, struct error *err);
int meta_own_put(struct mds_txn *t, const char *name, struct bytes value, struct error *err);

#define FLAG_SEEN    0x01u /* vault/vault.h: VAULT_FLAG_SEEN; the stored value */
#define FLAG_DELETED 0x08u /* VAULT_FLAG_DELETED */
#define FLAG_BITS    6u

int folder_init(struct mds_txn *t, struct error *err); /* INBOX of a new store */
int folder_entry_get(struct mds_txn *t, uint32_t id, struct folder_entry **out, struct error *err);
int folder_flush(struct mds_txn *t, struct error *err);
int folder_next_id(struct mds_txn *t, uint32_t after, struct mds_folder *out, struct error *err); /* 1 more, 0 done */
void folder_names_key(uint32_t parent, struct bytes name, struct key *key, bool *hashed);
int folder_names_get(struct mds_txn *t, uint32_t parent, struct bytes name, uint32_t *id_out, struct error *err);
int folder_names_put(struct mds_txn *t, uint32_t parent, struct bytes name, uint32_t id, struct error *err);
/* Copies the name to t->name, its first level spelt INBOX if that is what it is. */
int folder_name_canonical(struct mds_txn *t, struct bytes full_name, struct bytes *out, struct error *err);
/* The level that begins at `at`; *next_out is where the one below begins, or > full.n. */
struct bytes folder_name_level(struct bytes full, size_t at, size_t *next_out);
int folder_entry_new(struct mds_txn *t, const struct mds_folder *f, struct error *err); /* a dirty one, in the cache */
void folder_entry_drop(struct writer *w, uint32_t id);                                  /* forgets it unwritten */
/* A new level, its full name being full_name; both names may be views of t->name. */
int folder_level_create(struct mds_txn *t, uint32_t parent, struct bytes full_name, struct bytes level, bool selectable,
                        uint32_t *id_out, struct error *err);
int folder_has_children(struct mds_txn *t, uint32_t id, struct error *err); /* 1, 0 */
int folder_drop(struct mds_txn *t, uint32_t id, uint32_t *parent_out, struct error *err);
/* Drops this level and those above it as long as nothing keeps them: no folder, not subscribed, no children. */
int folder_levels_check(struct bytes name, struct error *err);
int folder_levels_prune(struct mds_txn *t, uint32_t id, struct error *err);
int renames_get(struct mds_txn *t, struct renames *out, struct error *err); /* zeroes if nothing was renamed yet */
int renames_note(struct mds_txn *t, uint32_t uidvalidity, size_t name_bytes, struct error *err);

enum log_kind { LOG_CHANGES = 0, LOG_EXPUNGED = 1 };
int log_add(struct mds_txn *t, struct folder_entry *e, enum log_kind kind, uint64_t modseq, uint32_t uid,
            struct error *err);
int log_flush(struct mds_txn *t, struct folder_entry *e, struct error *err);
typedef int log_run_fn(const struct run *r, void *arg);
/* Runs of a folder that hold modseqs above `after`, clipped to them. Stops when fn returns non-zero, returning that. */
int log_walk(struct mds_txn *t, enum log_kind kind, uint32_t folder, uint64_t after, log_run_fn *fn, void *arg,
             struct error *err);

/* The same from the newest run to the oldest. */
int log_walk_back(struct mds_txn *t, enum log_kind kind, uint32_t folder, uint64_t after, log_run_fn *fn, void *arg,
                  struct error *err);

int set_change(struct mds_txn *t, uint32_t folder, uint32_t set, uint32_t uid, bool member, struct error *err);
/* Members among the n UIDs from first on, which share their high 16 bits. */
int set_count(struct mds_txn *t, uint32_t folder, uint32_t set, uint32_t first, uint32_t n, uint32_t *out, struct error *err);
int set_flush(struct mds_txn *t, struct error *err);
void set_cache_drop(struct writer *w);

enum pack_kind { PACK_WIRE = 0, PACK_HEADERS = 1, PACK_SORT = 2, PACK_KINDS = 3 };
enum table pack_table(enum pack_kind kind);
int pack_append(struct mds_txn *t, enum pack_kind kind, uint64_t item, struct bytes entry, struct error *err);
/* Replaces the entry; entry.p NULL removes it. */
int pack_replace(struct mds_txn *t, enum pack_kind kind, uint64_t item, struct bytes entry, struct error *err);
int pack_flush(struct mds_txn *t, struct error *err);
int pack_seek(struct mds_txn *t, MDB_cursor *c, enum table table, uint64_t item, struct pack *pack,
              struct error *err); /* 1, 0 */

void hash_key(struct key *key, const struct hash128 *hash, uint64_t id);
void msgid_key(struct key *key, uint64_t msgid_hash, uint64_t id);
int hashes_add(struct mds_txn *t, const struct mds_item *it, struct error *err);
int hashes_remove(struct mds_txn *t, const struct mds_item *it, struct error *err);
int hashes_flush(struct mds_txn *t, struct error *err);

/* hashes_gather.c */
#define HASHES_SORTER_BYTES (16u << 20)
struct gather {
    struct sorter *hashes, *msgids; /* keys of the items [first, next) */
    uint64_t first, next;           /* 0: none yet */
    uint64_t items_removed;         /* the store's counter when it began: another one makes it worthless */
};
struct gathered {
    uint64_t id, msgid_hash;
    struct hash128 hash;
};
struct gather *gather_new(const char *tmpdir, uint64_t items_removed, struct error *err); /* NULL: error */
void gather_free(struct gather **g);
int gather_push(struct gather *g, const struct mds_item *it, struct error *err);
/* Of a write transaction: an item is new; an item that may have been gathered was changed or removed; it is committed. */
void gather_add(struct mds_txn *t, const struct mds_item *it);
void gather_spoil(struct mds_txn *t);
void gather_committed(struct mds_txn *t);
void pending_release(struct pending *p);

/* The row alone: refs stays 0. */
void item_key(struct key *key, uint64_t id);
int item_missing(struct mds_txn *t, uint64_t id, struct error *err); /* BASE_ERR_NOTFOUND */
int item_row(struct mds_txn *t, uint64_t id, struct mds_item *out, struct error *err);
int item_next(struct mds_txn *t, uint64_t from, struct mds_item *out, struct error *err); /* mds_item_next without refs */
int item_refs(struct mds_txn *t, uint64_t item, uint32_t *out, struct error *err);
int item_let_go(struct mds_txn *t, uint64_t item, bool *gone_out,
                struct error *err); /* removes it if nothing files it or keeps it aside */
/* Takes a message out of its folder: row, sets, counters, log. Its filing is kept, marked, if it goes aside.
 * m->keywords: no view of rows. */
int message_take_out(struct mds_txn *t, const struct mds_message *m, bool aside, struct error *err);
/* mds_message_add under a UID that was given before: the folder's next UID, for the moment. */
int message_file_again(struct mds_txn *t, struct mds_message *m, struct error *err);
struct bytes message_keywords_keep(struct mds_txn *t,
                                   struct bytes keywords); /* a copy in t->name: views die with a put */
void filed_key(struct key *k, uint64_t item, uint32_t folder, uint32_t uid);
void message_key(struct key *k, uint32_t folder, uint32_t uid);

int container_flush(struct mds_txn *t, struct error *err);
/* verify.c drives verify_content.c, verify_folder.c: each check reports what it finds and goes on. */
struct verify {
    struct mds_txn *t;
    mds_finding_fn *finding;
    void *arg;
    int found;
    uint64_t rows[TABLE_COUNT]; /* as walked */
    struct counters counters;
    struct renames renames; /* without any: what then are the limits */
};
#define VERIFY_FINDINGS_MAX 1000
void verify_say(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool verify_full(const struct verify *v)
{
    return v->found >= VERIFY_FINDINGS_MAX;
}
int verify_folders(struct verify *v, struct error *err);
int verify_items(struct verify *v, struct error *err);
int verify_packs(struct verify *v, struct error *err);
int verify_sources(struct verify *v, struct error *err);
int verify_removed(struct verify *v, struct error *err);

int keywords_load(struct mds_txn *t, struct error *err);
void keywords_drop(struct mds_txn *t);

#endif

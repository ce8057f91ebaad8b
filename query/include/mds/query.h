/*
 * mds/query.h: the public API of libmds. Browse an archive without opening its
 * items: list folders, status, fetch, read body sections, search, follow
 * changes.
 *
 *     struct mdsq_error err;
 *     struct mdsq_store *store; struct mdsq_archive *archive; struct mdsq_reader *reader; struct mdsq_view *view;
 *     mdsq_store_open("/srv/mds", 0, &store, &err);
 *     mdsq_archive_open(store, "mail", &archive, &err);
 *     mdsq_reader_begin(archive, &reader, &err);          // a snapshot
 *     mdsq_view_open(reader, "INBOX", &view, &err);       // a folder's UIDs
 *     struct mdsq_fetch *fetch;
 *     mdsq_fetch_new(reader, view, NULL, MDSQ_FETCH_ENVELOPE, &fetch, &err);
 *     struct mdsq_message m;
 *     while (mdsq_fetch_next(fetch, &m, &err) > 0)
 *         printf("%u %.*s\n", m.uid, (int)m.envelope.n, m.envelope.p);
 *     mdsq_fetch_free(&fetch); ...
 *
 * Objects and threads
 *   store, archive   shared by all threads of a process; closing drops a reference.
 *   reader           one snapshot (LMDB read transaction): used by one thread at a time, may
 *                    move between threads. Keep it short: renew or end it after every slice of output; one kept open makes the
 *                    store's file grow while others write.
 *   view             what a session knows of its folder: a set of UIDs in order, shared between
 *                    sessions of the same folder state, replaced, not edited. One thread at a time. Lives across readers.
 *
 * Memory: results are views valid until the next call on the object that gave
 * them, or until its reader is renewed or ended. What is said to be owned has a free.
 *
 * Errors: functions return 0 (or a count) on success, a negative enum mdsq_code
 * otherwise, with a line of text in *err (may be NULL). Texts may hold paths: do not show them to remote clients.
 *
 * Names: folder names are UTF-8 with '/' between levels; INBOX is
 * case-insensitive. A byte of a name in the vault that is no part of valid UTF-8 is shown as the private-use
 * character U+EF00 + byte (U+EF80..U+EFFF), and accepted so; a name that really holds one of these characters has its three
 * bytes shown in this way. The mapping is one to one, level by level, and never makes a wildcard or a '/'.
 */
#ifndef MDS_QUERY_H
#define MDS_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MDSQ_API __attribute__((visibility("default")))
#else
#define MDSQ_API
#endif

#define MDSQ_VERSION_MAJOR 0
#define MDSQ_VERSION_MINOR 1

enum mdsq_code {
    MDSQ_OK = 0,
    MDSQ_ERR_IO = -1, MDSQ_ERR_NOMEM = -2, MDSQ_ERR_NOTFOUND = -3, MDSQ_ERR_EXISTS = -4, MDSQ_ERR_CORRUPT = -5,
    MDSQ_ERR_FORMAT = -6, MDSQ_ERR_LOCKED = -7, MDSQ_ERR_FULL = -8, MDSQ_ERR_READONLY = -9, MDSQ_ERR_LIMIT = -10,
    MDSQ_ERR_USAGE = -11,
    MDSQ_ERR_GONE = -12,      /* the item vanished from its vault, or changed there */
    MDSQ_ERR_CANCELLED = -13,
    MDSQ_ERR_AUTH = -14,      /* unknown user, wrong password or disabled: not told apart */
    MDSQ_ERR_SYNTAX = -15, MDSQ_ERR_AGAIN = -16,
};

struct mdsq_error {
    int code;
    int sys;
    char text[480];
};

struct mdsq_bytes {
    const uint8_t *p;
    size_t n;
};

/* ---- store, users, archives ------------------------------------------------------ */

struct mdsq_store;
struct mdsq_archive;

enum mdsq_store_flag {
    MDSQ_STORE_WRITE = 1 << 0,   /* archives may be changed (mdsq_change_*); without it MDSQ_ERR_READONLY */
    MDSQ_STORE_CREATE = 1 << 2,  /* make it if there is none */
    MDSQ_STORE_RELAXED = 1 << 1, /* with WRITE: a change may be answered before it would survive a power cut; never a torn store */
};
/*
 * Opens a store's directory; flags: enum mdsq_store_flag. The catalogue is opened for writing by the first change of a user only, so a store on
 * a read-only file system can be browsed. MDSQ_ERR_NOTFOUND: there is no store. The store lives until its last archive and reader are closed.
 */
MDSQ_API int mdsq_store_open(const char *dir, unsigned flags, struct mdsq_store **out, struct mdsq_error *err);
MDSQ_API void mdsq_store_close(struct mdsq_store **store);

/* Archive names in order, one call each; stops if fn returns nonzero. */
typedef int mdsq_name_fn(const char *name, void *arg);
MDSQ_API int mdsq_store_archives(struct mdsq_store *store, mdsq_name_fn *fn, void *arg, struct mdsq_error *err);

/*
 * Checks a password (memory-hard: takes some 10-100 ms of CPU; call it off an
 * event loop) and gives the archive's name. MDSQ_ERR_AUTH costs the same time for unknown users, and is also the answer for an
 * archive that is disabled. Names and passwords are prepared as SASLprep (RFC 4013) says, but for its rule on mixed directions.
 */
MDSQ_API int mdsq_login(struct mdsq_store *store, const char *user, const char *password, char archive_out[256], struct mdsq_error *err);

/*
 * Logins of a server: one attempt at a time, which may have to wait.
 *
 *     mdsq_attempt_new(store, "ann", "192.0.2.7", &attempt, &err);
 *     while ((rc = mdsq_attempt_password(attempt, password, &err)) == MDSQ_ERR_AGAIN)
 *         ...                                         // come back after mdsq_attempt_wait_ms(attempt)
 *     mdsq_attempt_free(&attempt);
 *
 * A name is `user`, `user\archive` or `domain\user\archive`. `a\b` is the account of that very name if there is one, else the account b@a, else, if a
 * is a domain of the settings, the account b, else archive b of account a; in `a\b\c` the archive is c. '@' is a letter of account names; `user@domain`
 * is also `user` if there is no such account and the domain is one of the settings. Without an archive it is the account's first that is enabled.
 * Failed attempts cost the next ones of the account and of the address time: 1, 2, 4, ... seconds before they are checked, but not where
 * the account has lately logged in from that address. They are forgotten by half every five minutes. A password that was right is remembered (its
 * MAC under a key of this process), so that the next login is cheap; a new password or the user's end makes that void. So many passwords
 * as the settings say are hashed at a time.
 */
struct mdsq_login_settings { /* zero means default */
    uint32_t remember_s;  /* 600; UINT32_MAX: nothing is remembered */
    uint32_t delay_max_s; /* of failed logins; 60 */
    uint32_t hashes_max;  /* half of the cores, at least one */
    const char *domains;  /* separated by blanks or commas, "*" is any; none */
};
/* Any thread, at any time. */
MDSQ_API void mdsq_login_configure(struct mdsq_store *store, const struct mdsq_login_settings *settings);
struct mdsq_store_settings { /* zero means default */
    uint64_t log_rows; /* 100,000: rows that the logs of changes and of expunges each keep of a folder; they may grow over it by an eighth, at most 8,192 */
};
/* Any thread, at any time. Nothing without MDSQ_STORE_WRITE. */
MDSQ_API void mdsq_store_configure(struct mdsq_store *store, const struct mdsq_store_settings *settings);

enum { MDSQ_COMMIT_BUCKETS = 13 };
/* What the store has done in this process and holds now, for metrics. Any thread. It looks at each archive of the catalogue: some 10 us each. */
struct mdsq_counters {
    uint64_t commits, changes; /* of mdsq_change_*: turns of the writers, and the changes that they applied */
    uint64_t commit_us;        /* spent in these turns, waiting for the disk included */
    uint64_t snapshots;        /* readers begun or renewed */
    struct {
        uint64_t us, n; /* turns that took longer than the one before says, and so long at most; the last one's us is UINT64_MAX */
    } commit_buckets[MDSQ_COMMIT_BUCKETS];
    uint64_t archives_open, archives_idle; /* idle: kept open without users */
    uint64_t map_bytes, used_bytes;        /* of those that are open, together: their maps, and what is used of these */
    uint64_t archives, builds;             /* of the catalogue, and those of them that a build of any process holds */
    uint64_t logins_remembered, logins_hashed; /* passwords found among those remembered, and those that had to be hashed */
};
MDSQ_API void mdsq_store_counters(struct mdsq_store *store, struct mdsq_counters *out);

struct mdsq_attempt;
/* address: the client's, as text; NULL: the administrator, who is never held back. An unknown name is no error here. */
MDSQ_API int mdsq_attempt_new(struct mdsq_store *store, const char *user, const char *address, struct mdsq_attempt **out, struct mdsq_error *err);
/* 0, MDSQ_ERR_AUTH (for whatever reason), or MDSQ_ERR_AGAIN: nothing was checked yet, come back after mdsq_attempt_wait_ms. */
MDSQ_API int mdsq_attempt_password(struct mdsq_attempt *attempt, const char *password, struct mdsq_error *err);
/*
 * For proofs that the caller checks (SCRAM, a certificate): the keys; then admit, which may say AGAIN or AUTH, then check the proof and say what it was.
 * Keys of an account that does not exist or has none look real and are always the same.
 */
struct mdsq_scram {
    uint32_t iterations;
    uint8_t salt[16], stored_key[32], server_key[32];
};
MDSQ_API void mdsq_attempt_scram(struct mdsq_attempt *attempt, struct mdsq_scram *out);
MDSQ_API int mdsq_attempt_admit(struct mdsq_attempt *attempt, struct mdsq_error *err);
/* 0, or MDSQ_ERR_AUTH: it was not right, or right for nobody. */
MDSQ_API int mdsq_attempt_accept(struct mdsq_attempt *attempt, bool right, struct mdsq_error *err);
MDSQ_API uint32_t mdsq_attempt_wait_ms(const struct mdsq_attempt *attempt);
/* Views of the attempt: the account's name (what was said, if there is none), the archive to open ("" if there is no account). */
MDSQ_API const char *mdsq_attempt_account(const struct mdsq_attempt *attempt);
MDSQ_API const char *mdsq_attempt_archive(const struct mdsq_attempt *attempt);
MDSQ_API bool mdsq_attempt_remembered(const struct mdsq_attempt *attempt);
/* One that was begun to be checked and not decided counts as failed. */
MDSQ_API void mdsq_attempt_free(struct mdsq_attempt **attempt);
/*
 * Users, for administration. Adding one that exists gives it the new password and archive. scram: keep SCRAM-SHA-256 keys (10,000 rounds) beside the
 * yescrypt verifier: the record is then as strong as the weaker of the two. user: 1..255 bytes, password: 1..511 bytes of UTF-8
 * without control characters, else MDSQ_ERR_USAGE. MDSQ_ERR_NOTFOUND: no such archive, no such user. The password is wiped from all
 * memory of this library.
 */
MDSQ_API int mdsq_user_add(struct mdsq_store *store, const char *user, const char *password, const char *archive, bool scram, struct mdsq_error *err);
MDSQ_API int mdsq_user_remove(struct mdsq_store *store, const char *user, struct mdsq_error *err);
typedef int mdsq_user_fn(const char *user, const char *archive, bool scram, void *arg);
MDSQ_API int mdsq_users(struct mdsq_store *store, mdsq_user_fn *fn, void *arg, struct mdsq_error *err);
/* A user may have up to 33 archives; the first is opened if a login names none. Adding a user again keeps what was granted. */
MDSQ_API int mdsq_user_grant(struct mdsq_store *store, const char *user, const char *archive, struct mdsq_error *err);
/* MDSQ_ERR_USAGE for the last one. If it was the first, the next one takes its place. */
MDSQ_API int mdsq_user_revoke(struct mdsq_store *store, const char *user, const char *archive, struct mdsq_error *err);
/* In order, the first first; stops if fn returns nonzero. */
MDSQ_API int mdsq_user_archives(struct mdsq_store *store, const char *user, mdsq_name_fn *fn, void *arg, struct mdsq_error *err);

/*
 * Opened archives are shared by reference, and up to 64 that nobody uses stay open: some 31 KB, 3 descriptors and address space for the map each
 * (raise RLIMIT_NOFILE for thousands). The catalogue is asked each time: MDSQ_ERR_NOTFOUND for an
 * archive that is not there or disabled. One that was rebuilt meanwhile is opened anew; who has the old one keeps it.
 */
MDSQ_API int mdsq_archive_open(struct mdsq_store *store, const char *name, struct mdsq_archive **out, struct mdsq_error *err);
MDSQ_API void mdsq_archive_close(struct mdsq_archive **archive);
/*
 * A number that changes whenever any process committed to the archive: 20 ns, any thread. It may be ahead of what a reader begun now sees: a commit
 * shows before its last write has reached the disk. Who remembers how far it has looked remembers mdsq_reader_tick, and looks again while they differ.
 */
MDSQ_API uint64_t mdsq_archive_tick(struct mdsq_archive *archive);
/* The store was opened with MDSQ_STORE_WRITE and its file system can be written: changes may be made. */
MDSQ_API bool mdsq_archive_writable(const struct mdsq_archive *archive);
/* False within a second after it was disabled or removed, by any process: readers and changes get MDSQ_ERR_NOTFOUND. Cheap, any thread. */
MDSQ_API bool mdsq_archive_is_there(struct mdsq_archive *archive);

struct mdsq_reader;
/* A snapshot of what is committed, also while another process builds. Holds the archive. After a failed renew only end it. */
MDSQ_API int mdsq_reader_begin(struct mdsq_archive *archive, struct mdsq_reader **out, struct mdsq_error *err);
MDSQ_API int mdsq_reader_renew(struct mdsq_reader *reader, struct mdsq_error *err);
/* The tick of what the reader sees. */
MDSQ_API uint64_t mdsq_reader_tick(const struct mdsq_reader *reader);
MDSQ_API void mdsq_reader_end(struct mdsq_reader **reader);

/* ---- folders --------------------------------------------------------------------- */

enum mdsq_folder_attr {
    MDSQ_FOLDER_NOSELECT = 1 << 0,
    MDSQ_FOLDER_HAS_CHILDREN = 1 << 1,
    MDSQ_FOLDER_SUBSCRIBED = 1 << 2,
    MDSQ_FOLDER_NONEXISTENT = 1 << 3,      /* with NOSELECT: a name that is only subscribed */
    MDSQ_FOLDER_CHILD_SUBSCRIBED = 1 << 4, /* lister with MDSQ_LIST_RECURSIVE: something below it is selected */
};

struct mdsq_folder {
    const char *name; /* full, UTF-8 (see Names) */
    unsigned attrs;   /* enum mdsq_folder_attr */
    uint8_t special_use; /* 0 none 1 All 2 Archive 3 Drafts 4 Flagged 5 Junk 6 Sent 7 Trash */
};

typedef int mdsq_folder_fn(const struct mdsq_folder *folder, void *arg);
#define MDSQ_PATTERN_MAX 16384 /* bytes of reference and pattern; more is MDSQ_ERR_LIMIT */
/*
 * LIST: calls fn in name order for each folder whose full name matches
 * reference+pattern ('*' any, '%' any but '/'; RFC 3501 6.3.8). subscribed_only: LSUB's rule: a folder that is
 * not subscribed but has one that is below it is told as NOSELECT if the pattern has a '%'. Folders are subscribed when they are made. Stops with
 * 0 if fn returns nonzero; folder's text is valid during the call. Bounded: a pattern costs at most its length times a name's length.
 */
MDSQ_API int mdsq_list(struct mdsq_reader *reader, const char *reference, const char *pattern, bool subscribed_only, mdsq_folder_fn *fn, void *arg, struct mdsq_error *err);

struct mdsq_status;
enum mdsq_list_select {
    MDSQ_LIST_SUBSCRIBED = 1 << 0,  /* names that are subscribed, be there folders or not */
    MDSQ_LIST_SPECIAL_USE = 1 << 1, /* folders with a special use */
    MDSQ_LIST_RECURSIVE = 1 << 2,   /* also names that match and have something selected below them (RFC 5258 RECURSIVEMATCH) */
    MDSQ_LIST_LSUB = 1 << 3,        /* mdsq_list's subscribed_only */
    MDSQ_LIST_NONEXISTENT = 1 << 4, /* also names that are only subscribed */
};
struct mdsq_list_options {
    const char *reference;
    const char *const *patterns; /* a name that matches any of them is told once */
    size_t patterns_n;
    unsigned select; /* enum mdsq_list_select: names must have all that is asked; 0: every folder */
};
#define MDSQ_PATTERNS_MAX 64 /* more is MDSQ_ERR_LIMIT, as are MDSQ_PATTERN_MAX bytes in all */
/*
 * The same walk, to be taken in slices and over readers: what is made, renamed or deleted meanwhile may be told or not, nothing is told twice. The
 * options are copied. next: 1 a folder (its text lives until the next call), 2 nothing yet: a thousand names were looked at, call again, 0 the end.
 */
struct mdsq_lister;
MDSQ_API int mdsq_lister_new(const struct mdsq_list_options *options, struct mdsq_lister **out, struct mdsq_error *err);
MDSQ_API int mdsq_lister_next(struct mdsq_lister *lister, struct mdsq_reader *reader, struct mdsq_folder *out, struct mdsq_error *err);
/* STATUS of the folder that next has just given, as it stood then; its counters are 0 if it cannot be selected. */
MDSQ_API void mdsq_lister_status(const struct mdsq_lister *lister, struct mdsq_status *out);
MDSQ_API void mdsq_lister_free(struct mdsq_lister **lister);

/* Counters are kept, nothing is counted. MDSQ_ERR_NOTFOUND: no such folder, or one that cannot be selected. recent: see mdsq_view_recent. */
struct mdsq_status {
    uint32_t messages, recent, unseen, deleted, uidnext, uidvalidity;
    uint64_t highestmodseq, size; /* size: sum of RFC822.SIZE */
    char mailbox_id[33];          /* MAILBOXID: 27 letters and digits */
};
MDSQ_API int mdsq_status(struct mdsq_reader *reader, const char *folder, struct mdsq_status *out, struct mdsq_error *err);

/* ---- views and sets of messages ---------------------------------------------------- */

struct mdsq_view;
/* A set of UIDs, owned; compact whatever its size. */
struct mdsq_set;

MDSQ_API int mdsq_view_open(struct mdsq_reader *reader, const char *folder, struct mdsq_view **out, struct mdsq_error *err);
MDSQ_API void mdsq_view_close(struct mdsq_view **view);
MDSQ_API uint32_t mdsq_view_count(const struct mdsq_view *view);
/* The folder's highest modseq when the view was opened or last advanced. */
MDSQ_API uint64_t mdsq_view_modseq(const struct mdsq_view *view);
/* Messages that are expunged are still in the view: advanced without allow_expunge, and not told yet. */
MDSQ_API bool mdsq_view_has_untold(const struct mdsq_view *view);
/* State of the folder when the view was opened or last advanced. first_unseen: sequence number, 0 if none. */
struct mdsq_view_info { uint32_t uidvalidity, uidnext, first_unseen; uint64_t highestmodseq; char mailbox_id[33]; };
MDSQ_API int mdsq_view_get_info(struct mdsq_reader *reader, struct mdsq_view *view, struct mdsq_view_info *out, struct mdsq_error *err);
/*
 * UIDs of the view's folder that no session of this process was told of (\Recent): first..last, 0 and 0 if there are none. take: this session is, of
 * all that the view knows. What was there when the archive was opened is not recent.
 */
MDSQ_API int mdsq_view_recent(struct mdsq_reader *reader, const struct mdsq_view *view, bool take, uint32_t *first_out, uint32_t *last_out, struct mdsq_error *err);
MDSQ_API uint32_t mdsq_view_uid(const struct mdsq_view *view, uint32_t seq);  /* 0 if out of range */
MDSQ_API uint32_t mdsq_view_seq(const struct mdsq_view *view, uint32_t uid);  /* 0 if not in the view */

/*
 * Advances the view to the reader's state. The callbacks come in this order, as an IMAP
 * server must say them: expunged sequence numbers (each as it stands after the ones before: highest first), then changed UIDs (flags) in order.
 * allow_expunge false: expunged messages stay in the view (their fetch says gone) and are told later. Returns 1 if
 * anything changed (count may have grown), 0 if not. MDSQ_ERR_NOTFOUND: the folder itself is gone.
 */
typedef struct mdsq_news {
    int (*expunged)(uint32_t seq, uint32_t uid, void *arg);
    int (*changed)(uint32_t seq, uint32_t uid, void *arg);
    void *arg;
} mdsq_news;
MDSQ_API int mdsq_view_advance(struct mdsq_reader *reader, struct mdsq_view *view, bool allow_expunge, const struct mdsq_news *news, struct mdsq_error *err);

/*
 * "1:4,7,*" resolved against a view: to UIDs that are in it. is_uid: the numbers are UIDs (unknown ones are left out); else sequence numbers, and one
 * beyond the count is MDSQ_ERR_USAGE. MDSQ_ERR_SYNTAX. At most 10,000 ranges.
 */
MDSQ_API int mdsq_set_parse(const struct mdsq_view *view, const char *text, size_t n, bool is_uid, struct mdsq_set **out, struct mdsq_error *err);
MDSQ_API void mdsq_set_free(struct mdsq_set **set);
MDSQ_API uint64_t mdsq_set_count(const struct mdsq_set *set);
MDSQ_API bool mdsq_set_has(const struct mdsq_set *set, uint32_t uid);
/* Runs of consecutive members as UIDs, or as sequence numbers of the view, in order: *pos starts at 0; false at the end. Costs a step a run. */
MDSQ_API bool mdsq_set_next_range(const struct mdsq_set *set, const struct mdsq_view *as_seq_of, uint64_t *pos, uint32_t *first_out, uint32_t *last_out);

/* Numbers as text that need no view: UIDs, be there messages or not. star: what "*" stands for; 0: nothing. SYNTAX, LIMIT as mdsq_set_parse. */
MDSQ_API int mdsq_set_numbers(const char *text, size_t n, uint32_t star, struct mdsq_set **out, struct mdsq_error *err);
/* New sets: what both have, what either has, what the first has without the second. */
MDSQ_API int mdsq_set_and(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err);
MDSQ_API int mdsq_set_or(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err);
MDSQ_API int mdsq_set_minus(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err);
/* The members that are in the view. */
MDSQ_API int mdsq_set_in_view(const struct mdsq_set *set, const struct mdsq_view *view, struct mdsq_set **out, struct mdsq_error *err);
/* Of the members in order the first-th to the last-th, from 1; from_end: counted from the highest. As many of them as there are. */
MDSQ_API int mdsq_set_part(const struct mdsq_set *set, uint32_t first, uint32_t last, bool from_end, struct mdsq_set **out, struct mdsq_error *err);
/* UIDs in any order; twice is once. */
MDSQ_API int mdsq_set_of(const uint32_t *uids, size_t n, struct mdsq_set **out, struct mdsq_error *err);
/* The highest member, 0 if empty. */
MDSQ_API uint32_t mdsq_set_last(const struct mdsq_set *set);

/*
 * The archive's keywords as a client sees them, none twice, $Forwarded first: fn (may be NULL) is called for each, the text is valid during the
 * call, and stops if it returns nonzero. *n_out: how many names the archive has given so far, which only grows: ask again when it did.
 */
typedef int mdsq_keyword_fn(const char *name, void *arg);
MDSQ_API int mdsq_keywords(struct mdsq_reader *reader, mdsq_keyword_fn *fn, void *arg, uint32_t *n_out, struct mdsq_error *err);

/* ---- fetch -------------------------------------------------------------------------- */

enum mdsq_fetch_attr {
    MDSQ_FETCH_FLAGS = 1 << 0,
    MDSQ_FETCH_INTERNALDATE = 1 << 1,
    MDSQ_FETCH_SIZE = 1 << 2,
    MDSQ_FETCH_ENVELOPE = 1 << 3,
    MDSQ_FETCH_BODYSTRUCTURE = 1 << 4,
    MDSQ_FETCH_BODY = 1 << 5, /* BODYSTRUCTURE without extension data */
    MDSQ_FETCH_HEADERS = 1 << 6, /* the kept header fields, see headers_complete */
    MDSQ_FETCH_MODSEQ = 1 << 7,
    MDSQ_FETCH_IDS = 1 << 8,     /* EMAILID, THREADID */
    MDSQ_FETCH_SAVEDATE = 1 << 9,
    MDSQ_FETCH_PREVIEW = 1 << 10,
};

struct mdsq_message {
    uint32_t uid, seq;
    bool gone;                     /* expunged since the view was made: nothing below is valid */
    struct mdsq_bytes flags;       /* FLAGS: "(\\Seen $Forwarded)" wire-ready: bytes of a keyword that are no atom are '_' */
    char internal_date[27];        /* "17-Jul-1996 02:44:25 -0700", no quotes */
    uint64_t size;                 /* RFC822.SIZE */
    struct mdsq_bytes envelope, bodystructure, body; /* wire-ready, with literals */
    struct mdsq_bytes headers;     /* raw fields, stored line ends */
    bool headers_complete;
    uint64_t modseq;               /* this, size and save_date: 0 unless asked for, where only MDSQ_FETCH_FLAGS is */
    char email_id[34], thread_id[34]; /* "M" and the item's hash, "T" and the conversation's, in hexadecimal; "" unless MDSQ_FETCH_IDS */
    int64_t save_date;             /* seconds since 1970 */
    char save_date_text[27];       /* as internal_date, in UTC; "" unless MDSQ_FETCH_SAVEDATE */
    struct mdsq_bytes preview;     /* UTF-8 */
};

struct mdsq_fetch;
/* set NULL: the whole view. Neither the set nor the view is needed afterwards: numbers and members are those of this moment. */
MDSQ_API int mdsq_fetch_new(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set, unsigned attrs, struct mdsq_fetch **out, struct mdsq_error *err);
/* 1 a message, 0 the end. Views until the next call. A message whose row is corrupt: MDSQ_ERR_CORRUPT for it; calling again goes on with the next. */
MDSQ_API int mdsq_fetch_next(struct mdsq_fetch *fetch, struct mdsq_message *out, struct mdsq_error *err);
struct mdsq_section;
/*
 * A section of the message that was given last, if the store has its bytes (HEADER.FIELDS of kept fields): a view until the next call on fetch.
 * False: ask mdsq_body_open, which also tells why not. The section stays as it is until the fetch is freed: what it asks for is remembered.
 */
MDSQ_API bool mdsq_fetch_section(struct mdsq_fetch *fetch, const struct mdsq_section *section, struct mdsq_bytes *out);
/* With another reader of the archive: goes on where it stood. (After a renewal of the same reader this happens by itself.) */
MDSQ_API void mdsq_fetch_rebind(struct mdsq_fetch *fetch, struct mdsq_reader *reader);
MDSQ_API void mdsq_fetch_free(struct mdsq_fetch **fetch);

/* ---- body sections -------------------------------------------------------------------- */

enum mdsq_section_kind { MDSQ_SECTION_ALL, MDSQ_SECTION_HEADER, MDSQ_SECTION_HEADER_FIELDS, MDSQ_SECTION_HEADER_FIELDS_NOT, MDSQ_SECTION_TEXT, MDSQ_SECTION_MIME,
    MDSQ_SECTION_BINARY /* decoded: BINARY[n] */ };

#define MDSQ_SECTION_DEPTH_MAX 128

struct mdsq_section {
    enum mdsq_section_kind kind;
    uint32_t path[MDSQ_SECTION_DEPTH_MAX];
    uint32_t path_n;
    const struct mdsq_bytes *fields; /* HEADER_FIELDS(_NOT): names */
    size_t fields_n;
};

/*
 * The bytes of a section as a client sees them (CRLF line ends, NUL as 0x80 except BINARY), read by
 * position, in bounded memory whatever the size. Opening HEADER.FIELDS of kept fields does not touch the vault.
 * MDSQ_ERR_NOTFOUND: no such section (NIL). MDSQ_ERR_GONE: the vault no longer has the item, or has other bytes (its size is compared, and its hash
 * up to 256 KiB and inside an mbox), or the message was expunged. MDSQ_ERR_USAGE: BINARY of a part in an unknown transfer encoding (UNKNOWN-CTE).
 * MDSQ_ERR_LIMIT: BINARY of an encoded part, or HEADER.FIELDS of a header, of over 64 MiB. BINARY without a path is the whole message
 * with its NULs. HEADER.FIELDS(.NOT) is the fields in message order and a blank line, unless the message has neither that nor a body.
 * A body does not need its reader after opening.
 */
struct mdsq_body;
MDSQ_API int mdsq_body_open(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid, const struct mdsq_section *section, struct mdsq_body **out, struct mdsq_error *err);
MDSQ_API uint64_t mdsq_body_size(const struct mdsq_body *body);
/*
 * Reads at a client offset; *got_out < n only at the end. Going forward is linear; jumping costs one step of 64 KiB. Blocks on the disk.
 * MDSQ_ERR_GONE if the item changed under it: what was announced cannot be kept, and nothing beyond mdsq_body_size is ever given.
 */
MDSQ_API int mdsq_body_read(struct mdsq_body *body, uint64_t off, void *dst, size_t n, size_t *got_out, struct mdsq_error *err);
MDSQ_API void mdsq_body_close(struct mdsq_body **body);

/* ---- search --------------------------------------------------------------------------- */

enum mdsq_key_kind {
    MDSQ_KEY_ALL, MDSQ_KEY_AND, MDSQ_KEY_OR, MDSQ_KEY_NOT,
    MDSQ_KEY_FLAG,        /* number: flag bit (1 Seen, 2 Answered, 4 Flagged, 8 Deleted, 16 Draft) */
    MDSQ_KEY_KEYWORD,     /* text */
    MDSQ_KEY_SEQ_SET, MDSQ_KEY_UID_SET, /* text: "1:4,*" */
    MDSQ_KEY_BEFORE, MDSQ_KEY_ON, MDSQ_KEY_SINCE,             /* internal date; number: days since 1970-01-01 as an int64_t (negative before), time zone disregarded */
    MDSQ_KEY_SENTBEFORE, MDSQ_KEY_SENTON, MDSQ_KEY_SENTSINCE, /* Date field, likewise */
    MDSQ_KEY_LARGER, MDSQ_KEY_SMALLER, /* number: bytes */
    MDSQ_KEY_HEADER,      /* field, text (empty: field exists) */
    MDSQ_KEY_FROM, MDSQ_KEY_TO, MDSQ_KEY_CC, MDSQ_KEY_BCC, MDSQ_KEY_SUBJECT, /* text */
    MDSQ_KEY_BODY, MDSQ_KEY_TEXT, /* text */
    MDSQ_KEY_MODSEQ,      /* number: this or higher */
    MDSQ_KEY_NONE,        /* matches nothing: RECENT, NEW */
    MDSQ_KEY_SET,         /* set: its members */
    MDSQ_KEY_OLDER, MDSQ_KEY_YOUNGER, /* internal date; number: seconds since 1970 as an int64_t: at or before, at or after */
    MDSQ_KEY_SAVEDBEFORE, MDSQ_KEY_SAVEDON, MDSQ_KEY_SAVEDSINCE, /* when it was filed; number: days as BEFORE, in UTC */
    MDSQ_KEY_EMAILID, MDSQ_KEY_THREADID, /* text: as fetch gives them */
    MDSQ_KEY_FUZZY, /* one child: for mdsq_fuzzy_new alone */
};

/* A tree of keys; text is UTF-8. All memory is the caller's. */
struct mdsq_key {
    enum mdsq_key_kind kind;
    uint64_t number;
    struct mdsq_bytes text, field;
    const struct mdsq_set *set;
    const struct mdsq_key *children; /* AND, OR: n of them; NOT: one */
    size_t children_n;
};
#define MDSQ_KEY_DEPTH_MAX 64
#define MDSQ_KEY_COUNT_MAX 2048 /* keys of a tree; more is MDSQ_ERR_LIMIT */

/*
 * Runs in slices: call mdsq_search_run until it returns 0; it returns 1 when budget_ms is
 * used up and there is more to do. Metadata keys are answered from the store; header, BODY and TEXT keys are an i;unicode-casemap
 * substring match (RFC 5051) over decoded text: the archive's content index answers them where it can, and items are read and decoded only for
 * messages that the cheaper steps leave open. The answer is the same with an index, without one, and with one that is half done. A line end is one blank in texts and needles; nothing matches across parts or fields.
 * FROM, TO, CC, BCC, SUBJECT and HEADER look at the decoded values of every such field of the message's header (empty text: the field exists); BODY at
 * text parts and at the header fields of attached messages, TEXT also at the message's own and its parts' fields, each as "Name: value". SENT
 * keys match no message without a valid Date. Text parts of over 64 MiB are not read. A slice ends after the message in hand, however long that takes.
 * An item that cannot be read matches no content key (and counts in *unreadable_out).
 */
struct mdsq_search;
/*
 * What TEXT means in this process: text_literal false (the default): of signature and trace fields of the message's own header (Received,
 * DKIM-Signature, ...) TEXT sees the name, not the value, which is two thirds of a modern header and nothing a person looks for. HEADER naming such
 * a field is exact either way. trace_fields: their names, separated by blanks or commas, "X-Spam*" for all that begin so; NULL: a sensible list.
 * no_index: every content key reads the items (to compare, or to measure). Call it before the store is used by more than one thread.
 */
struct mdsq_search_settings {
    bool text_literal, no_index;
    const char *trace_fields;
};
MDSQ_API void mdsq_store_set_search(struct mdsq_store *store, const struct mdsq_search_settings *settings);
MDSQ_API int mdsq_search_new(const struct mdsq_view *view, const struct mdsq_key *key, struct mdsq_search **out, struct mdsq_error *err);
MDSQ_API int mdsq_search_run(struct mdsq_search *search, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err);
/* After the last run. *unreadable_out may be NULL. */
MDSQ_API int mdsq_search_take(struct mdsq_search *search, struct mdsq_set **out, uint64_t *unreadable_out, struct mdsq_error *err);
MDSQ_API void mdsq_search_free(struct mdsq_search **search);
/* Items that the search has read, of those that it must read; 0 of 0 while it is not known that it must read any. */
MDSQ_API void mdsq_search_progress(const struct mdsq_search *search, uint64_t *done_out, uint64_t *total_out);
/* How the search went, a line a call, for a person: what each step had to look at and took, and of each key who answered it. The text may change. */
typedef void mdsq_line_fn(const char *line, void *arg);
MDSQ_API void mdsq_search_explain(const struct mdsq_search *search, mdsq_line_fn *line, void *arg);

/*
 * Keys that need not match exactly (RFC 6203): texts below an MDSQ_KEY_FUZZY match if one of their words does, and each match gets a score from 1 to
 * 100: how many of the words it has, rare ones counting more, and whether it has them as they were said. All other keys match exactly. Scores tell the
 * matches of one search apart and mean nothing else.
 *
 *     mdsq_fuzzy_new(&key, &fuzzy, &err);
 *     ... a search by mdsq_fuzzy_key(fuzzy), which lives as long as fuzzy, gives result ...
 *     while ((rc = mdsq_fuzzy_rank(fuzzy, view, result, reader, 20, &err)) > 0) ...
 *     mdsq_fuzzy_score(fuzzy, uid)
 */
struct mdsq_fuzzy;
/* LIMIT and USAGE as mdsq_search_new has them. Sets of keys are not copied. */
MDSQ_API int mdsq_fuzzy_new(const struct mdsq_key *key, struct mdsq_fuzzy **out, struct mdsq_error *err);
MDSQ_API const struct mdsq_key *mdsq_fuzzy_key(const struct mdsq_fuzzy *fuzzy);
/* Once, in slices: 1 there is more to do. A search for each word among the result, and one for each text of several. */
MDSQ_API int mdsq_fuzzy_rank(struct mdsq_fuzzy *fuzzy, const struct mdsq_view *view, const struct mdsq_set *result, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err);
/* 1 of what is no match. */
MDSQ_API unsigned mdsq_fuzzy_score(const struct mdsq_fuzzy *fuzzy, uint32_t uid);
MDSQ_API void mdsq_fuzzy_free(struct mdsq_fuzzy **fuzzy);

/*
 * Puts the members of a set (NULL: of the view) in order (RFC 5256, RFC 5957): by the first criterion, equal ones by the next, at last by number. Dates
 * are instants; texts (base subject, the mailbox or the name to be shown of the first address) compare as i;unicode-casemap has them, 512 bytes of each.
 * Runs in slices, as a search does. Expunged members sort as if they had nothing, or by what they had. What was read of texts is kept in memory for
 * the next time (decisions/0042).
 */
enum mdsq_sort_key { MDSQ_SORT_ARRIVAL, MDSQ_SORT_CC, MDSQ_SORT_DATE, MDSQ_SORT_FROM, MDSQ_SORT_SIZE, MDSQ_SORT_SUBJECT, MDSQ_SORT_TO, MDSQ_SORT_DISPLAYFROM, MDSQ_SORT_DISPLAYTO,
    MDSQ_SORT_RELEVANCE /* the highest score first: mdsq_sort_by_relevance */ };
struct mdsq_sort_criterion { enum mdsq_sort_key key; bool reverse; };
#define MDSQ_SORT_MAX 9 /* criteria; more is MDSQ_ERR_LIMIT */
struct mdsq_sort;
MDSQ_API int mdsq_sort_new(const struct mdsq_view *view, const struct mdsq_set *set, const struct mdsq_sort_criterion *by, size_t by_n, struct mdsq_sort **out, struct mdsq_error *err);
/* Before the first run: whose scores MDSQ_SORT_RELEVANCE means. Ranked; needed until the sort is done. Without it all are equal. */
MDSQ_API void mdsq_sort_by_relevance(struct mdsq_sort *sort, const struct mdsq_fuzzy *fuzzy);
/* 1 there is more to do, 0 it is sorted. */
MDSQ_API int mdsq_sort_run(struct mdsq_sort *sort, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err);
/* In order, after the last run; false at the end. */
MDSQ_API bool mdsq_sort_next(struct mdsq_sort *sort, uint32_t *uid_out);
/* The next one will be the member at this place of the order, from 0. */
MDSQ_API void mdsq_sort_seek(struct mdsq_sort *sort, uint32_t place);
/* The last one in order, 0 if there is none. */
MDSQ_API uint32_t mdsq_sort_last(const struct mdsq_sort *sort);
MDSQ_API void mdsq_sort_free(struct mdsq_sort **sort);

/*
 * Conversations among the members of a set (NULL: of the view) by an algorithm of RFC 5256, or REFS: as REFERENCES, but subjects join nothing and the
 * conversations stand in the order of their newest messages. Ids and base subjects compare by 64-bit hashes; of a message's references the
 * first and the newest 99 count. Runs in slices, as a search does. Expunged members stand alone. MDSQ_ERR_LIMIT: references name more
 * than MDSQ_THREAD_STRANGERS_MAX messages that are not members, and twice as many as there are members.
 */
enum mdsq_thread_algorithm { MDSQ_THREAD_ORDEREDSUBJECT, MDSQ_THREAD_REFERENCES, MDSQ_THREAD_REFS };
#define MDSQ_THREAD_STRANGERS_MAX 4000000
struct mdsq_thread;
MDSQ_API int mdsq_thread_new(const struct mdsq_view *view, const struct mdsq_set *set, enum mdsq_thread_algorithm algorithm, struct mdsq_thread **out, struct mdsq_error *err);
/* 1 there is more to do, 0 it is done. */
MDSQ_API int mdsq_thread_run(struct mdsq_thread *thread, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err);
/*
 * Messages after the last run, each before its children; false at the end. The only child of a message goes on in its parent's list;
 * one of several, and the first message of a conversation, begins a list of its own.
 */
struct mdsq_thread_member {
    uint32_t uid;    /* 0: a message that is not there, the parent of several that are */
    uint32_t depth;  /* ancestors */
    bool opens;      /* begins a list */
    uint32_t closes; /* lists that end with it */
};
MDSQ_API bool mdsq_thread_next(struct mdsq_thread *thread, struct mdsq_thread_member *out);
MDSQ_API void mdsq_thread_free(struct mdsq_thread **thread);

/* ---- changes -------------------------------------------------------------------------- */

/* UIDs added or changed, and expunged, after a modseq. complete false: the log does not reach so far; expunged then holds every UID below UIDNEXT that does not exist. */
MDSQ_API int mdsq_changes(struct mdsq_reader *reader, const char *folder, uint64_t modseq, struct mdsq_set **changed_out, struct mdsq_set **expunged_out, bool *complete_out, struct mdsq_error *err);

/* Likewise of a view's folder, whatever it is called now. NOTFOUND: it was replaced. */
MDSQ_API int mdsq_view_changes(struct mdsq_reader *reader, const struct mdsq_view *view, uint64_t modseq, struct mdsq_set **changed_out, struct mdsq_set **expunged_out, bool *complete_out, struct mdsq_error *err);
/*
 * The highest modseq of the members of a set (NULL: of the view) that are messages still; 0: none is, or the folder was replaced. No row is read:
 * some ms for a million.
 */
MDSQ_API int mdsq_view_highest(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set, uint64_t *modseq_out, struct mdsq_error *err);

/* ---- changing an archive -------------------------------------------------------------------- */

/*
 * A change is made, submitted, done, read and freed. Changes of an archive are applied in the order of submission by a
 * thread of the library, many in one commit: the more wait, the more share its sync (group commit). When done is
 * called the change is durable (or failed and left no trace); a reader begun from then on shows it. Each change is atomic, but DELETE
 * of a large folder (see there).
 *
 *     mdsq_change_store(archive, view, set, MDSQ_STORE_ADD, &flags, NULL, &change, &err);
 *     mdsq_change_submit(change, done, arg);           // or mdsq_change_wait(change)
 *     ... done(arg) is called once, on a thread of the library: it must not block nor call into the library ...
 *     if (mdsq_change_outcome(change, &outcome, &err) < 0) ...
 *     mdsq_change_free(&change);
 *
 * Thread rules: a change belongs to its maker; between submit and done nobody touches it. Freeing one that was submitted and is not done
 * waits for it. Names, sets and flags are copied when it is made; drafts move into it. View and set may be closed after making it.
 * Costs: keep a change to some 10,000 messages where the protocol allows (STORE, EXPUNGE in pieces): it holds the archive's writer, in all
 * processes, for some 5 to 10 us a message. COPY and MOVE, and RENAME of INBOX, are all or nothing and therefore one commit whatever
 * their size: a million messages hold up other changes, a build too, for 5 to 10 s. Readers never wait.
 * Errors at making: MDSQ_ERR_USAGE, _READONLY, _LIMIT. Errors of the outcome: MDSQ_ERR_NOTFOUND (the destination or the view's folder is
 * gone), _EXISTS, _USAGE (INBOX deleted, a folder into itself), _LIMIT (names, keywords), _FULL, _READONLY, _IO, _CORRUPT.
 */
struct mdsq_change;
typedef void mdsq_done_fn(void *arg);
MDSQ_API int mdsq_change_submit(struct mdsq_change *change, mdsq_done_fn *done, void *arg);
/* Submits and blocks until done. Not on an event loop. Returns the outcome's code. */
MDSQ_API int mdsq_change_wait(struct mdsq_change *change, struct mdsq_error *err);
MDSQ_API void mdsq_change_free(struct mdsq_change **change);

/* Views until the change is freed. Sets are NULL where the change has none. */
struct mdsq_outcome {
    uint32_t uidvalidity;           /* of the destination: append, copy, move, replace, create */
    const struct mdsq_set *changed; /* store: UIDs whose flags were set (also to what they were); expunge, move, replace: UIDs that went */
    const struct mdsq_set *modified; /* store: UIDs refused by UNCHANGEDSINCE */
    const struct mdsq_set *source;  /* copy, move: UIDs that were copied, and */
    const struct mdsq_set *dest;    /* their new UIDs, in the same order; append, replace: the new UIDs */
    uint64_t modseq_first, modseq_last; /* store, expunge: modseqs that this change took in the folder; 0: none. News in between is one's own */
    char mailbox_id[33];            /* create */
    bool no_destination;            /* with MDSQ_ERR_NOTFOUND: it is the destination that is not there (TRYCREATE) */
};
MDSQ_API int mdsq_change_outcome(const struct mdsq_change *change, struct mdsq_outcome *out, struct mdsq_error *err);

struct mdsq_flags {
    unsigned flags; /* bits as MDSQ_KEY_FLAG; 32 is $Forwarded */
    const struct mdsq_bytes *keywords; /* atoms; without regard to case, first spelling is kept. "$Forwarded" may stand in either */
    size_t keywords_n;
};
enum mdsq_store_mode { MDSQ_STORE_REPLACE, MDSQ_STORE_ADD, MDSQ_STORE_REMOVE };
/* set NULL: the whole view. unchanged_since NULL: unconditional; else messages with a higher modseq are left and told in `modified`.
 * A message whose flags would not change keeps its modseq. UIDs that are gone are passed over. */
MDSQ_API int mdsq_change_store(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set, enum mdsq_store_mode mode,
                               const struct mdsq_flags *flags, const uint64_t *unchanged_since, struct mdsq_change **out, struct mdsq_error *err);
/* Those of the set (NULL: of the view) that have \Deleted when it is applied. They are kept aside for `mds undelete` until the grace period is over. */
MDSQ_API int mdsq_change_expunge(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set, struct mdsq_change **out, struct mdsq_error *err);
/* Rows, never item bytes. All or nothing; UIDs that are gone are passed over. `to` is not created. */
MDSQ_API int mdsq_change_copy(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set, const char *to, struct mdsq_change **out, struct mdsq_error *err);
MDSQ_API int mdsq_change_move(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set, const char *to, struct mdsq_change **out, struct mdsq_error *err);

/* An item on its way into the archive: up to 64 KiB in memory, more in an unlinked file of the store's directory. One thread at a time. */
struct mdsq_draft;
MDSQ_API int mdsq_draft_new(struct mdsq_archive *archive, struct mdsq_draft **out, struct mdsq_error *err);
/* MDSQ_ERR_LIMIT past MDSQ_DRAFT_MAX, MDSQ_ERR_FULL. */
MDSQ_API int mdsq_draft_write(struct mdsq_draft *draft, const void *p, size_t n, struct mdsq_error *err);
MDSQ_API uint64_t mdsq_draft_size(const struct mdsq_draft *draft);
MDSQ_API void mdsq_draft_free(struct mdsq_draft **draft);
#define MDSQ_DRAFT_MAX (UINT64_C(1) << 30)
/*
 * Parses, hashes and compresses the draft now, on the calling thread (it may take long: not on an event loop), so that the commit has little
 * left to do. Done by mdsq_change_append if it was not.
 */
MDSQ_API int mdsq_draft_finish(struct mdsq_draft *draft, struct mdsq_error *err);

struct mdsq_append {
    struct mdsq_draft *draft;  /* moves into the change, which frees it */
    struct mdsq_flags flags;
    bool has_date;             /* else: now */
    int64_t internal_date;     /* seconds since 1970 */
    int16_t internal_zone;     /* minutes east */
};
/* Files n items in the archive's own vault (bytes first, synced, then the metadata) and in `folder`: all or none. An item that the archive's own
 * vault has (same bytes, compared) is not written again; one that only a vault read in place has is, as that may lose it. The drafts are the
 * change's, or freed, also if it fails to be made. */
MDSQ_API int mdsq_change_append(struct mdsq_archive *archive, const char *folder, const struct mdsq_append *messages, size_t n, struct mdsq_change **out, struct mdsq_error *err);
/* RFC 8508: append to `folder` and expunge uid from the view's folder, together. NOTFOUND in the outcome also if uid is gone. */
MDSQ_API int mdsq_change_replace(struct mdsq_archive *archive, const struct mdsq_view *view, uint32_t uid, const char *folder, const struct mdsq_append *message, struct mdsq_change **out, struct mdsq_error *err);

/* special_use: as struct mdsq_folder; EXISTS. Missing parents become levels. */
MDSQ_API int mdsq_change_create(struct mdsq_archive *archive, const char *folder, uint8_t special_use, struct mdsq_change **out, struct mdsq_error *err);
/*
 * Its messages are kept aside as expunged ones. With folders below it, it stays as a level (NOSELECT); deleting such a level is USAGE.
 * A large folder is emptied in parts, each durable, between which other changes have their turn (also those that were submitted later), and
 * removed with the last part; done is called then. If it fails midway, or the process ends, the folder is left with fewer messages.
 */
MDSQ_API int mdsq_change_delete(struct mdsq_archive *archive, const char *folder, struct mdsq_change **out, struct mdsq_error *err);
/* O(1) with all that is below. INBOX: its messages move to the new folder and it stays, empty (RFC 9051 6.3.6). */
MDSQ_API int mdsq_change_rename(struct mdsq_archive *archive, const char *from, const char *to, struct mdsq_change **out, struct mdsq_error *err);
/* A name need not exist to be subscribed (RFC 9051 6.3.7). */
MDSQ_API int mdsq_change_subscribe(struct mdsq_archive *archive, const char *folder, bool subscribe, struct mdsq_change **out, struct mdsq_error *err);

/*
 * Tells that an archive was committed to, by this process (at once) or another (within 50 ms): fn is called on a thread of the library, at least
 * once for each run of commits, and must not block nor call into the library. After mdsq_watch_free has returned it is not called any more.
 */
struct mdsq_watch;
typedef void mdsq_watch_fn(void *arg);
MDSQ_API int mdsq_watch_new(struct mdsq_archive *archive, mdsq_watch_fn *fn, void *arg, struct mdsq_watch **out, struct mdsq_error *err);
MDSQ_API void mdsq_watch_free(struct mdsq_watch **watch);

/* ---- archives, for administration ------------------------------------------------------------ */

/* Makes an empty archive (INBOX alone) that keeps its items in its own vault. EXISTS. */
MDSQ_API int mdsq_archive_add(struct mdsq_store *store, const char *name, struct mdsq_error *err);
/* A disabled archive opens for nobody; who has it open, in any process, gets MDSQ_ERR_NOTFOUND from mdsq_reader_begin and _renew, within a second. */
MDSQ_API int mdsq_archive_enable(struct mdsq_store *store, const char *name, bool enable, struct mdsq_error *err);
/* Removes the archive's directory, items of its own vault included, and takes it out of the catalogue. USAGE while it is enabled, LOCKED while a
 * build runs. The users that had it keep their login and lose it. If it fails half way, calling it again ends it. */
MDSQ_API int mdsq_archive_remove(struct mdsq_store *store, const char *name, struct mdsq_error *err);

/* ---- one item for a person -------------------------------------------------------------- */

/* Text of `mds explain`: structure, offsets, sizes, locator, defects. Owned by the caller: free(). */
MDSQ_API int mdsq_explain(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid, char **text_out, struct mdsq_error *err);
/*
 * The texts that SEARCH sees of one message, as it compares them: casemapped, decoded, line ends as blanks. kind: "own" (a field of the message's
 * header), "bare" (the same without comments and blanks in addresses, where that differs), "attached" (a field of an attached message), "part" (a MIME
 * field of a part), "body". name: of fields, as stored. Views during the call. MDSQ_ERR_GONE and others: what could not be read, after the rest was told.
 */
typedef void mdsq_text_fn(const char *kind, struct mdsq_bytes name, struct mdsq_bytes text, void *arg);
MDSQ_API int mdsq_explain_texts(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid, mdsq_text_fn *fn, void *arg,
                                struct mdsq_error *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * archive: keeping an archive that people work in: bringing back what they expunged, freeing what nobody wants any more,
 * copies of it, and its way out. (Its way in is indexer_build with `import`.)
 *
 * All of it goes beside a live server, in a process of its own: each function opens the archive by store and name, takes write
 * transactions of at most some 1,000 messages and lets others have their turn between them.
 *
 * Errors: NOTFOUND (no such store or archive), LOCKED (another backup, compact or build of this kind runs), CANCELLED (what was
 * committed stays; run it again), FULL, READONLY, CORRUPT, IO. Reports are valid in each case.
 */
#ifndef INDEXER_ARCHIVE_H
#define INDEXER_ARCHIVE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct indexer_archive {
    const char *store_dir, *archive;
    const volatile int *cancel; /* may be NULL */
};

/* ---- undelete ---- */

/* One message that was expunged and is still kept. Views valid during the call. */
struct indexer_kept {
    const char *folder; /* full name when it was expunged; bytes that are not UTF-8 stay */
    uint32_t uid;
    int64_t removed_at, internal_date;
    uint64_t size;
};
typedef void indexer_kept_fn(const struct indexer_kept *kept, void *arg);

struct indexer_undelete {
    struct indexer_archive at;
    const char *folder;       /* full name; NULL: all */
    int64_t since;            /* expunged at or after; seconds since 1970 */
    bool list;                /* only tell */
    indexer_kept_fn *kept;    /* may be NULL; called for each that qualifies */
    void *arg;
};
/* Files them again in the folder of that name (made if it is gone), under new UIDs, without \Deleted. *count_out: how many. */
int indexer_undelete(const struct indexer_undelete *u, uint64_t *count_out, struct error *err);

/* ---- compact ---- */

struct indexer_compact {
    struct indexer_archive at;
    int64_t before;     /* messages expunged before this time are let go for good */
    unsigned dead_part; /* a segment is rewritten if more than this part of it, in per cent, is of no use; 0: 50 */
};
struct indexer_compacted {
    uint64_t purged, items_gone;              /* messages; items that nothing needs any more */
    uint64_t segments, rewritten, removed;    /* there were; moved on; files removed */
    uint64_t items_moved, bytes_before, bytes_after;
};
/*
 * Lets go of what was expunged long ago and frees the own vault's space: what is still needed of a segment that is mostly dead
 * is copied to a new one, the locators follow in the same transaction, and the file goes when that is durable. A reader that
 * holds an old locator gets BASE_ERR_GONE and reads it anew. A kill leaves at worst files that the next run removes.
 */
int indexer_compact(const struct indexer_compact *c, struct indexer_compacted *out, struct error *err);

/* ---- backup and restore ---- */

struct indexer_copied {
    uint64_t messages, files, bytes;
    /* restore that replaces: folders that go on above what clients know; that got a new UIDVALIDITY, so that clients fetch them anew; the
     * archive that was there did not open, so all did */
    uint64_t continued, renumbered;
    bool former_lost;
};
/*
 * A copy of what is committed now into `to` (made; must not exist or be empty): metadata, own vault as far as that reaches, and a manifest
 * with a checksum of each file, which comes last: a directory without it is no backup. All of it is synced.
 */
int indexer_backup(const struct indexer_archive *a, const char *to, struct indexer_copied *out, struct error *err);
/*
 * From a backup into an archive: UIDs, flags, everything as it was. Checksums are compared before anything is changed. EXISTS if the
 * archive is there, unless replace: then it must be in use by nobody; the old one goes when the new one stands. No UID or modseq that
 * clients of the old one were given is given again: a folder goes on above them if it is the same in both, else, or if the old one does
 * not open, it gets a new UIDVALIDITY.
 */
int indexer_restore_backup(const struct indexer_archive *a, const char *from, bool replace, struct indexer_copied *out,
                           struct error *err);

/* ---- export ---- */

enum indexer_export_kind { INDEXER_EXPORT_MAILDIR, INDEXER_EXPORT_MBOX, INDEXER_EXPORT_EML };
struct indexer_export {
    struct indexer_archive at;
    enum indexer_export_kind kind;
    const char *to;             /* made; must not exist or be empty */
    const char *const *folders; /* full names, NULL ends; NULL: all */
};
struct indexer_exported {
    uint64_t folders, messages, bytes, failed;
    char last_failure[256];
};
/*
 * Writes messages out with flags, keywords and dates:
 *   maildir  Maildir++: folders as ".A.B" in modified UTF-7, flags in names, keywords in dovecot-keywords, internal date as the file's time
 *   mbox     one file a folder (mboxrd), Status, X-Status and X-Keywords, internal date in the "From " line
 *   eml      one directory a folder, <UID>.eml, internal date as the file's time; flags and keywords in a file flags.txt
 * One snapshot a folder. Items that cannot be read are counted and left out.
 */
int indexer_export(const struct indexer_export *e, struct indexer_exported *out, struct error *err);

#endif

/*
 * vault: read item bytes where companies keep them. Strictly read-only.
 *
 * A vault is a tree of containers: a Maildir directory, an mbox file, a
 * directory of .eml files, an MH folder. One container is one folder of the
 * archive. A container holds items in the vault's own order.
 *
 *     struct vault_spec spec;
 *     vault_spec_parse("maildir:/var/mail/ann", &spec, err);
 *     vault_open(&spec, &v, err);                    // "auto" is resolved here
 *     vault_scan_new(v, tmpdir, &scan, err);
 *     while ((rc = vault_scan_next_container(scan, &c, err)) == VAULT_MORE) {
 *         if (unchanged(c.stamp)) continue;          // skipping costs nothing
 *         while ((rc = vault_scan_next_item(scan, &item, err)) == VAULT_MORE) ...
 *     }
 *     // later, any process, any thread:
 *     vault_item_open(v, &item.locator, &body, err);
 *     vault_item_read(body, 0, buffer, n, &got, err);
 *     vault_item_close(&body);
 *
 * Kinds and their order (UIDs follow it; a changed order never moves a UID):
 *   maildir     cur/ and new/ of one directory; the decimal time that begins the
 *               name (as a number), then the name before ':'
 *   maildir++   plus ".Sub.Folder" directories beside cur/ ('.' separates levels)
 *   maildir-fs  nested Maildirs: sub-directories that hold cur/ are sub-folders
 *   mbox        one file, see below; offset
 *   mbox-tree   a directory of mbox files, a file is a folder; offset. mboxo-tree, mboxrd-tree, mboxcl-tree and
 *               mboxcl2-tree say the variant of all its files; `mds export` writes an mboxrd-tree
 *   eml-tree    a directory of files matching spec.match, a directory is a folder; name
 *   mh          an MH folder and its sub-folders, files with decimal names; number
 *
 * mbox: variant mboxo, mboxrd, mboxcl, mboxcl2 ("mbox:" means detect: cl/cl2 by
 * Content-Length values that all land on a separator, else mboxrd if a
 * ">>From " line stands in it, else mboxo). An item is what follows its "From "
 * line without the separator's blank line. Fields Status, X-Status, X-Keywords,
 * X-UID, X-IMAPbase (X-IMAP) and Content-Length of the mbox writer are no part of
 * the item; ">From " loses one '>' for mboxrd and mboxcl, never for mboxo and
 * mboxcl2. Both are the locator's `filter`, so that the same bytes come out at
 * any time.
 *
 * Safety: every open below the root is openat2(RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS) (or the same by hand where the kernel lacks it) with O_RDONLY|O_NOFOLLOW|O_CLOEXEC|
 * O_NONBLOCK, then fstat: what is not a regular file is ignored. Nothing is created, renamed or touched
 * (O_NOATIME where allowed).
 *
 * Names: folder names are bytes. '/' separates levels in `folder`, whatever the
 * vault uses. Names that are modified UTF-7 (Maildir++) are decoded to UTF-8 only if
 * encoding them again gives the same bytes. Other bytes that are not UTF-8 stay as they are, distinct and
 * round-tripping (query/ shows them escaped).
 *
 * Thread rule: struct vault is immutable after vault_open and may be used by
 * many threads and, inherited over fork, processes; a scan or an item belongs to one thread.
 */
#ifndef VAULT_VAULT_H
#define VAULT_VAULT_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

enum vault_kind {
    VAULT_KIND_AUTO = 0,
    VAULT_KIND_MAILDIR,
    VAULT_KIND_MAILDIRPP,
    VAULT_KIND_MAILDIR_FS,
    VAULT_KIND_MBOX,
    VAULT_KIND_MBOX_TREE,
    VAULT_KIND_EML_TREE,
    VAULT_KIND_MH,
    VAULT_KIND_SEGMENTS, /* the archive's own vault: segment_vault_open, never by name; has no scan */
};

enum vault_mbox_variant {
    VAULT_MBOX_DETECT = 0,
    VAULT_MBOX_O,
    VAULT_MBOX_RD,
    VAULT_MBOX_CL,
    VAULT_MBOX_CL2,
};

#define VAULT_NAME_MAX 4096 /* longest relative path or folder name, bytes */
#define VAULT_DEPTH_MAX 64  /* directory levels below the root */
#define VAULT_KEYWORDS_MAX 4096 /* bytes of one item's keywords; more are left out */

/* What --from says. Owned: vault_spec_release. */
struct vault_spec {
    enum vault_kind kind;
    enum vault_mbox_variant variant; /* mbox and mbox-tree */
    char *path;                      /* as given */
    char *folder;                    /* NULL: root is INBOX; else root is this folder and sub-folders lie below it */
    char *match;                     /* eml-tree: shell pattern, NULL means "*.eml" (case-insensitive) */
};

/*
 * Parses KIND:PATH[=FOLDER]. KIND: auto maildir maildir++ maildir-fs mbox mboxo
 * mboxrd mboxcl mboxcl2 mbox-tree mboxo-tree mboxrd-tree mboxcl-tree mboxcl2-tree eml-tree (eml) mh. The last '=' separates FOLDER, unless the whole of PATH
 * exists as it stands. BASE_ERR_USAGE names the kinds.
 */
int vault_spec_parse(const char *text, struct vault_spec *out, struct error *err);
void vault_spec_release(struct vault_spec *spec);
const char *vault_kind_name(enum vault_kind kind); /* static */

/* Appends a folder's level as Maildir++ names it (modified UTF-7). utf8: valid UTF-8. */
void vault_utf7_encode(struct bytes utf8, struct buf *out);

/* IMAP system flags as bits (also used by mds/ and query/, the values are stored). */
enum vault_flag {
    VAULT_FLAG_SEEN = 1 << 0,
    VAULT_FLAG_ANSWERED = 1 << 1,
    VAULT_FLAG_FLAGGED = 1 << 2,
    VAULT_FLAG_DELETED = 1 << 3,
    VAULT_FLAG_DRAFT = 1 << 4,
    VAULT_FLAG_FORWARDED = 1 << 5, /* $Forwarded (Maildir P) */
};

struct vault;

/* Opens and, for auto, detects. BASE_ERR_NOTFOUND (missing, unmounted), BASE_ERR_FORMAT (no kind fits: says what was looked for), BASE_ERR_IO. */
int vault_open(const struct vault_spec *spec, struct vault **out, struct error *err);
void vault_close(struct vault **v);
enum vault_kind vault_kind(const struct vault *v); /* resolved */
/* Canonical absolute path and kind as text "maildir:/a/b=FOLDER": names the source in the store. View, life of v. */
const char *vault_name(const struct vault *v);

/* When and how large a container was: enough to say "unchanged". */
struct vault_stamp {
    int64_t mtime_ns; /* newest of the directories (cur, new) or the file */
    uint64_t size;    /* mbox: bytes; directories: 0 */
    uint64_t inode;
};

struct vault_container {
    struct bytes name;   /* identity inside the vault: relative path, "" for the root */
    struct bytes folder; /* folder's full name, "INBOX" or "a/b"; raw bytes */
    struct vault_stamp stamp;
    bool unreadable;     /* could not be opened: changes nothing in the archive; reason in the scan's error */
};

/* What is needed to read the same bytes again. Views; 0-filled name for mbox. */
enum vault_filter {
    VAULT_FILTER_NONE = 0,
    VAULT_FILTER_STRIP = 1 << 0,   /* drop the mbox writer's fields from the header */
    VAULT_FILTER_UNQUOTE = 1 << 1, /* ">From " loses one '>' */
};
struct vault_locator {
    struct bytes container; /* struct vault_container.name */
    struct bytes name;      /* file relative to the container ("cur/1.x:2,S", "17", "a.eml"); empty for mbox */
    uint64_t offset;        /* mbox: of the first byte after the "From " line; else 0 */
    uint64_t length;        /* mbox: raw bytes of the item before filtering; else 0 (whole file) */
    uint32_t filter;        /* enum vault_filter bits */
};

struct vault_item {
    struct bytes identity; /* unique in its container and stable: Maildir name before ':', file name, MH number; mbox: empty */
    struct vault_locator locator;
    uint32_t flags;        /* enum vault_flag bits seeded by the vault */
    struct bytes keywords; /* space-separated IMAP atoms, each once (without regard to case), at most VAULT_KEYWORDS_MAX bytes */
    bool has_date;         /* `date` comes from the mbox "From " line, or from flags.txt of an export */
    int64_t date;          /* seconds since the epoch */
    bool has_stat;         /* `size` and `mtime_ns` are valid (eml-tree, mh; not Maildir, whose items are known by name) */
    uint64_t size;
    int64_t mtime_ns;
};

/* Negative: enum base_err: of an item, the container cannot be read on, but the next one may be asked for. */
enum vault_step { VAULT_DONE = 0, VAULT_MORE = 1 };

struct vault_scan;

/* tmpdir: where sorted runs of huge directories go (base/sorter.h). Containers come sorted by folder name bytes, INBOX first;
 * no two share a folder (README.md). BASE_ERR_NOTFOUND: a Maildir++ or maildir-fs root without any Maildir (unmounted). */
int vault_scan_new(struct vault *v, const char *tmpdir, struct vault_scan **out, struct error *err);
/* Views valid until the next call of this function. Not consuming a container's items is free: nothing of it was read. */
int vault_scan_next_container(struct vault_scan *s, struct vault_container *out, struct error *err);
/* Items of the current container, in order. Views valid until the next call on s. Duplicate identities (same Maildir
 * base name in cur and new) give one item: the one in cur. */
int vault_scan_next_item(struct vault_scan *s, struct vault_item *out, struct error *err);
/*
 * For a display, never an error; both cheap to ask after each item.
 * pending: items of the current container still to come, 0 before its first item was asked for. Directories: exact but
 * for duplicates and what turns out to be no regular file. mbox: by the bytes left and the mean item so far.
 * estimate: items of the containers after the current one. The first call counts names (mbox: 8 KiB an item) for at
 * most about half a second, and may come out too low.
 */
uint64_t vault_scan_pending(const struct vault_scan *s);
uint64_t vault_scan_estimate(struct vault_scan *s);
/* After VAULT_DONE: did the container stand still while its items were listed? If not (a mailbox in use), nothing may be
 * concluded from what was not shown. */
bool vault_scan_is_settled(const struct vault_scan *s);
/* Things passed over so far: symlinks, devices, unreadable directories. Text of the last one for the report, "" if none. */
uint64_t vault_scan_skipped(const struct vault_scan *s);
const char *vault_scan_skip_reason(const struct vault_scan *s);
void vault_scan_free(struct vault_scan **s);

/* An item's bytes. */
struct vault_body;

/*
 * Opens by locator. A Maildir item whose flags changed is found again by its
 * base name in cur/ and new/. BASE_ERR_GONE: vanished, shorter than the locator says, no longer a regular
 * file, an mbox that has no such item there (it was rewritten); own vault: the segment was removed by
 * mds compact (read the item's locator anew). BASE_ERR_CORRUPT: own vault, stored bytes fail their seal. BASE_ERR_IO: unreadable.
 */
int vault_item_open(struct vault *v, const struct vault_locator *loc, struct vault_body **out, struct error *err);
/* Size in bytes of the item as filtered; exact. Filtered items over 16 MiB are
 * measured by one streaming pass at open. */
uint64_t vault_item_size(const struct vault_body *b);
int64_t vault_item_mtime_ns(const struct vault_body *b); /* the file's time */
/*
 * Positioned read; *got_out < n only at the end. Reading a filtered item
 * anywhere costs at most one pass from its nearest checkpoint (each 1 MiB). BASE_ERR_GONE if the file shrank.
 */
int vault_item_read(struct vault_body *b, uint64_t off, void *dst, size_t n, size_t *got_out, struct error *err);
/*
 * The whole item in memory: small ones in a buffer of the body, large
 * unfiltered ones mapped (a file that shrinks then raises SIGBUS: only for processes
 * that may die, i.e. parse workers), large filtered ones in an unlinked
 * temporary file, mapped. View valid until vault_item_close.
 */
int vault_item_map(struct vault_body *b, struct bytes *out, struct error *err);
/* The item will be read soon: its bytes begin their way from the disk, without a wait for them. A hint; for items of
 * our own vault it does nothing. */
void vault_item_will_read(const struct vault_body *b);
void vault_item_close(struct vault_body **b);

#endif

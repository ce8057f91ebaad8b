/*
 * What the files of vault/ share. Nothing here is for other rooms.
 *
 *   os.c         every open below a root; directory entries; the only file with openat2
 *   spec.c       --from texts, kind names       detect.c   which kind a path is
 *   vault.c      open and close                 folders.c  names of folders, modified UTF-7
 *   walk.c       the containers of a tree       scan.c     containers and items, in order
 *   maildir.c    names, flags, keywords         mh.c       sequences
 *   eml_flags.c  flags.txt beside .eml files
 *   mbox_from.c  the "From " line               mbox.c     splitting, variants
 *   segment*.c   our own vault, see segment_private.h
 *   filter.c     stored bytes to item bytes     body.c     reading an item again
 */
#ifndef VAULT_PRIVATE_H
#define VAULT_PRIVATE_H

#include "vault/vault.h"

#include <stdatomic.h>
#include <sys/stat.h>

#include "base/sorter.h"

/* Paths below a root go to the kernel as one string: its own limit, NUL included. */
#define VAULT_PATH_BYTES 4096
/* Closed bodies kept for the next open: about two for each thread of an ordinary pool. */
#define VAULT_SPARE_BODIES 16

struct vault_body;

struct vault {
    /* permanent */
    enum vault_kind kind;
    enum vault_mbox_variant variant;
    int root_fd;  /* O_PATH of the root directory; single mbox: of the directory that holds it */
    char *file;   /* single mbox: its name in root_fd; else NULL */
    char *name;   /* vault_name() */
    char *folder; /* NULL: INBOX */
    char *match;  /* eml-tree */

    /* Found out once, by any thread; relaxed, as a stale value costs one failing system call. */
    atomic_bool no_openat2;
    atomic_bool no_noatime;

    /* Lock-free, so that a fork at any moment leaves the child a usable vault. */
    _Atomic(struct vault_body *) spare[VAULT_SPARE_BODIES];
};

/* --- os.c --- */

/* Opens `path` (relative, "" is the root) without ever following a symlink or leaving the root. A descriptor, or -errno. */
int vault_os_open(struct vault *v, const char *path, int flags);
/* "dir/name" ("" parts are left out) into dst[VAULT_PATH_BYTES]; false if it does not fit or holds a NUL. */
bool vault_os_path(char *dst, struct bytes dir, struct bytes name);
/* lstat below the root; 0 or -errno. */
int vault_os_lstat(struct vault *v, const char *path, struct stat *out);
/* All n bytes at off unless the file ends first: count, or -errno. */
ssize_t vault_os_pread(int fd, void *dst, size_t n, uint64_t off);
void vault_os_will_read(int fd, uint64_t off, uint64_t n);
static inline int64_t vault_os_mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

enum vault_entry_type { VAULT_ENTRY_FILE, VAULT_ENTRY_DIR, VAULT_ENTRY_LINK, VAULT_ENTRY_OTHER };

/* Entries of an open directory in the file system's order, "." and ".." left out. */
struct vault_dir {
    int fd; /* borrowed */
    uint8_t *block;
    size_t n, at;
};
void vault_dir_init(struct vault_dir *d, int fd);
/* VAULT_MORE, VAULT_DONE or -errno. The name is NUL-terminated, a view until the next call. */
int vault_dir_next(struct vault_dir *d, struct bytes *name_out, enum vault_entry_type *type_out);
void vault_dir_release(struct vault_dir *d);

/* --- folders.c --- */

/* The kind as vault_spec_parse knows it, with the variant of an mbox or a tree of them; static. */
const char *vault_spec_kind(enum vault_kind kind, enum vault_mbox_variant variant);

/* Appends one level, decoding modified UTF-7 where that round-trips. */
void vault_folder_append_utf7(struct buf *out, struct bytes level);
/* The whole of `text` decoded to UTF-8, or false (then out is as before). */
bool vault_utf7_decode(struct bytes text, struct buf *out);
/* Full folder name of a container: `below` is the root's sub-folder ("" the root itself), with '/' between levels. */
void vault_folder_full(const struct vault *v, struct bytes below, struct buf *out);

/* --- detect.c --- */

/* Kind of the directory behind v->root_fd, VAULT_KIND_AUTO if none fits. */
enum vault_kind vault_detect_dir(struct vault *v);
/* Does this open file begin like an mbox (or is it empty)? 1, 0, or -errno. */
int vault_detect_mbox_file(int fd, bool *empty_out);

/* --- walk.c --- */

struct vault_place { /* a container before it is looked at; views into the scan's arena */
    struct bytes name;
    struct bytes folder;
    bool unreadable;
    uint64_t expected; /* items, if they were counted ahead (vault_scan_estimate) */
};
struct vault_places {
    struct arena *arena;
    struct vault_place *at;
    size_t n, cap;
};
/* Counts one thing passed over; `what` is a literal. */
void vault_scan_skip(struct vault_scan *s, struct bytes path, const char *what);
int vault_walk(struct vault *v, struct vault_scan *s, struct vault_places *out, struct error *err);
/* Does the directory hold cur/ or new/? 1, 0, or -EACCES if nobody may look. */
int vault_is_maildir_at(struct vault *v, struct bytes dir);

/* --- maildir.c --- */

/* The name before ':' . */
struct bytes vault_maildir_base(struct bytes name);
/* Decimal digits that begin the name as a number (0 without any; saturates). */
uint64_t vault_maildir_time(struct bytes name);
struct vault_keywords { /* dovecot-keywords: letter a-z to word */
    char *word[26];
};
void vault_keywords_load(struct vault *v, struct bytes container, struct vault_keywords *k);
void vault_keywords_release(struct vault_keywords *k);
/* Flags of the ":2," suffix; letters a-z append their words to `words`. */
uint32_t vault_maildir_flags(struct bytes name, const struct vault_keywords *k, struct buf *words);
/* Appends a keyword if it is an IMAP atom and not one of the words for flags, whose bit is returned instead. */
uint32_t vault_keyword_add(struct buf *words, struct bytes word);

/* --- mh.c --- */

struct vault_mh_range {
    uint64_t first, last;
    uint32_t flag; /* VAULT_FLAG_SEEN here means: unseen */
};
struct vault_mh_sequences {
    struct vault_mh_range *at; /* sorted by flag, then first */
    size_t n;
};
void vault_mh_load(struct vault *v, struct bytes container, struct vault_mh_sequences *out);
void vault_mh_parse(struct bytes text, struct vault_mh_sequences *out);
uint32_t vault_mh_flags(const struct vault_mh_sequences *s, uint64_t number);
void vault_mh_release(struct vault_mh_sequences *s);
/* A decimal name of at most 19 digits. */
bool vault_mh_number(struct bytes name, uint64_t *out);

/* --- eml_flags.c --- */

#define VAULT_EML_FLAGS "flags.txt"
struct vault_eml_row;
struct vault_eml_flags { /* zeroed is empty */
    struct vault_eml_row *at; /* by UID, ascending */
    size_t n;
    struct buf text;
};
/* False: there is one, but it is too large, unreadable or not of mds export; then it is empty. */
bool vault_eml_load(struct vault *v, struct bytes container, struct vault_eml_flags *out);
/* Rows are views of text. All of it parses, or false and none. */
bool vault_eml_parse(struct bytes text, struct vault_eml_flags *out);
/* Flags, keywords (in `words`) and date of an item that it names; others stay as they are. */
void vault_eml_apply(const struct vault_eml_flags *f, struct vault_item *item, struct buf *words);
void vault_eml_release(struct vault_eml_flags *f);

/* --- mbox_from.c --- */

#define VAULT_FROM_LINE_MAX 1024

/* Is this line (without its line end) a separator? It begins with "From " and a date ends it. */
bool vault_from_line_parse(struct bytes line, int64_t *date_out);

/* --- filter.c --- */

#define VAULT_QUOTES_MAX 1024                     /* a longer run of '>' is no quoted "From " */
#define VAULT_HEADER_MAX ((uint64_t)1 << 20)      /* mbox writer's fields are looked for up to here */

struct vault_filter_state {
    uint64_t raw_off; /* of the item, consumed so far */
    uint64_t out_off; /* produced so far */
    bool header, dropping, mid_line;
};
void vault_filter_start(struct vault_filter_state *s);
/*
 * Filters [in, in+n) to out (room for n; out == in is allowed), returns bytes consumed. Less than n only if !last: what is
 * left decides together with what follows. More than VAULT_FILTER_LOOK bytes always make progress.
 */
#define VAULT_FILTER_LOOK (VAULT_QUOTES_MAX + 8)
size_t vault_filter_run(struct vault_filter_state *s, uint32_t filter, const uint8_t *in, size_t n, bool last, uint8_t *out,
                        size_t *out_n);
/* Is it a field of the mbox writer's? `line` begins at the field name. */
bool vault_filter_is_writers_field(struct bytes line);
/* The run of '>' before "From " at the start of a line: its length, 0 if the line is not of that kind. */
size_t vault_filter_quotes(const uint8_t *p, size_t n);

/* --- mbox.c --- */

struct vault_mbox;
struct vault_mbox_item {
    uint64_t offset, length;
    uint32_t filter, flags;
    bool has_date;
    int64_t date;
    struct bytes keywords; /* view until the next call */
};
/* fd is taken. */
struct vault_mbox *vault_mbox_new(int fd, enum vault_mbox_variant variant);
int vault_mbox_next(struct vault_mbox *m, struct vault_mbox_item *out, struct error *err);
uint64_t vault_mbox_ignored_bytes(const struct vault_mbox *m); /* before the first separator */
enum vault_mbox_variant vault_mbox_variant(const struct vault_mbox *m);
void vault_mbox_free(struct vault_mbox **m);

/* --- body.c --- */

void vault_body_spare_free(struct vault *v);

#endif

/*
 * test_support: what tests of every room need and none should write twice.
 *
 *     struct rng rng = rng_start("ids");              // prints its seed, SEED= repeats
 *     const char *dir = TEMP_DIR();                   // .../mds-test_ids-42-XXXXXX
 *     write_file(path_join(dir, "cur/1:2,S"), BYTES_LIT("Subject: x\n\n"));
 *
 * Lifetimes: every string handed out lives until the process ends, so that tests need no frees (and leak checkers see
 * none: they hang on a static list). Errors: a helper that cannot do its work prints why and aborts, as the test is
 * then worthless. Thread rule: helpers may be called from any one thread at a time; a struct rng belongs to one thread.
 */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/*
 * A new empty directory below $TMPDIR (or /tmp), named by the test's file and line; removed when this process exits by
 * exit() or return from main, kept if KEEP_TEMP is set. Children that fork from the caller do not remove it.
 */
#define TEMP_DIR() temp_dir_at(__FILE__, __LINE__)
const char *temp_dir_at(const char *file, int line);

/* "dir/name", with any number of slashes in name. */
const char *path_join(const char *dir, const char *name);

/* sprintf into a string that lives until exit. */
const char *textf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Makes the directory and its parents (mode 0777 less umask); no error if it is there. */
void mkpath(const char *dir);

/* Writes the whole file, making its parent directories; replaces what was there. */
void write_file(const char *path, struct bytes content);
void write_text(const char *path, const char *text);
void append_file(const char *path, struct bytes content);
/* Sets access and modification time to the second. */
void set_mtime(const char *path, int64_t unix_s);

/* The whole file as a view that lives until exit, with a NUL behind its end. */
struct bytes read_file(const char *path);
bool file_exists(const char *path);

/* Removes a file or a whole tree; no error if it is not there. Never follows a symlink. */
void remove_tree(const char *path);

/*
 * A seeded random source (SplitMix64): fast, repeatable, good enough for tests. rng_start takes the seed from $SEED,
 * else from the clock, and prints "name: SEED=..." to standard error so that a failure can be repeated.
 */
struct rng {
    uint64_t state;
};
struct rng rng_start(const char *name);
struct rng rng_of(uint64_t seed);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n); n 0 gives 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* True once in n. */
bool rng_once_in(struct rng *r, uint64_t n);
/* Some characters of a text that has any, as they follow each other. out has room for all of it. */
void rng_piece(struct rng *r, const char *utf8, char *out);
/* Biased to edges: 0, 1, powers of two and their neighbours, all ones; for lengths and ids. */
uint64_t rng_edgy(struct rng *r, uint64_t max);
void rng_fill(struct rng *r, void *p, size_t n);

/* Top of the source tree ($MDS_SOURCE_DIR, else found upwards of the working directory), for fixtures. */
const char *source_dir(void);

/*
 * A directory of the real mail that is no part of this tree: $MDS_CORPUS/<name>, or ../shared/corpus/<name> beside the
 * source tree. The archives there are unpacked (zstd, tar) into a directory that dies with the process. NULL, with a
 * line on standard error, where there is none: the caller then skips. name is without the .tar.zst, such as "torture".
 */
const char *corpus_dir(const char *name);

#endif

/*
 * segment: the archive's own vault, append-only files of items. Written by
 * query/ (APPEND) and indexer/ (import), read through vault.h like any other
 * kind (VAULT_KIND_SEGMENTS, name "own:").
 *
 *     archives/a00000001/segments/00000001.seg, 00000002.seg, ...
 *
 * Bytes of a segment and of a record: docs/FORMAT.md, "Segments". A record is
 * self-describing (lengths, hash, checksums), so that a lost metadata store can be
 * made anew from segments alone. Items are compressed with zstd, in independent frames of at most
 * SEGMENT_FRAME_BYTES of the item, so that a positioned read decompresses only what it needs; an item that does not shrink is kept as it is.
 *
 * What is part of the archive is said by the metadata store (mds_segments: active segment and tail), not by the
 * file: a writer that holds the archive's write transaction opens the active segment at the tail it says, which cuts off what a crash or an abandoned
 * transaction left behind it; appends; syncs; and only then commits. So there is one writer at a time by the metadata's lock, and recovery is one
 * ftruncate. New segments are synced with their directory before anything in them is committed.
 *
 * Thread rules: a writer belongs to one thread. A record being made (segment_pack) is independent of any writer.
 */
#ifndef VAULT_SEGMENT_H
#define VAULT_SEGMENT_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "vault/vault.h"

#define SEGMENT_FRAME_BYTES ((size_t)256 << 10)
#define SEGMENT_BYTES       (UINT64_C(1) << 30) /* a segment that has reached this is followed by another */

/* Reads `n` bytes of the item at `off` into dst; for items that are not in memory. */
typedef int segment_read_fn(void *arg, uint64_t off, void *dst, size_t n, struct error *err);

/* A whole record as it will stand in a segment: header, frame table, frames. In `out` up to 1 MiB; a larger one goes to an unlinked file in
 * tmpdir. Owned: segment_packed_free. CPU only (and that file): call it outside the write transaction. */
struct segment_packed;
int segment_pack(segment_read_fn *read, void *arg, uint64_t size, const struct hash128 *hash, const char *tmpdir, struct segment_packed **out, struct error *err);
uint64_t segment_packed_bytes(const struct segment_packed *p);
void segment_packed_free(struct segment_packed **p);

struct segment_writer;
/* dir: the archive's directory; "segments" is made in it (and synced) if missing. active and tail: from mds_segments. GONE: the active segment is
 * shorter than tail (lost data: the text says which command helps); FULL, READONLY. */
int segment_writer_open(const char *dir, uint32_t active, uint64_t tail, struct segment_writer **out, struct error *err);
/* Appends; *segment_out, *offset_out, *length_out and *filter_out go into the locator. Begins a new segment when the active one is full. */
int segment_writer_add(struct segment_writer *w, const struct segment_packed *p, uint32_t *segment_out, uint64_t *offset_out, uint64_t *length_out, uint32_t *filter_out, struct error *err);
/* fdatasync of what was added (and of the directory for new files); then the position for mds_segments. An error means: abort the transaction. */
int segment_writer_sync(struct segment_writer *w, uint32_t *active_out, uint64_t *tail_out, struct error *err);
void segment_writer_close(struct segment_writer **w); /* without sync: what was added is abandoned */

/* Opens the own vault of an archive for reading: a struct vault as of vault_open; locators as the writer gave them. */
int segment_vault_open(const char *dir, struct vault **out, struct error *err);

/* All sound records of one segment file in order, for recovery and verify: torn or damaged ones are passed over to the next that begins
 * soundly. 1 more, 0 done. `limit`: bytes to look at, UINT64_MAX all. */
struct segment_scan;
struct segment_found { uint64_t offset, length; uint32_t filter; uint64_t size; struct hash128 hash; bool damaged; /* header sound, payload not */ };
int segment_scan_open(const char *dir, uint32_t segment, uint64_t limit, struct segment_scan **out, struct error *err);
int segment_scan_next(struct segment_scan *s, bool check_payload, struct segment_found *out, struct error *err);
void segment_scan_close(struct segment_scan **s);

/* Numbers of the segments that exist, ascending, after `after`: 1 more, 0 done. */
int segment_next(const char *dir, uint32_t after, uint32_t *out, uint64_t *bytes_out, struct error *err);
/* Copies one whole record into a writer as it stands (compact). */
int segment_writer_copy(struct segment_writer *w, const char *dir, uint32_t segment, uint64_t offset, uint64_t length, uint32_t *segment_out, uint64_t *offset_out, struct error *err);
/* Removes a segment file that nothing refers to any more; the directory is synced. */
int segment_remove(const char *dir, uint32_t segment, struct error *err);

/* Ends the active segment and begins the next (compact: what is still in use moves out of all the old ones). */
int segment_writer_roll(struct segment_writer *w, struct error *err);
/* Bytes after which a segment is followed by another, instead of SEGMENT_BYTES: for tests and small machines. */
void segment_writer_set_limit(struct segment_writer *w, uint64_t bytes);
/* Files are removed only by who holds this exclusively (compact), copied under a shared one (backup). LOCKED at once if it is held otherwise.
 * Released by closing the descriptor. */
int segment_lock(const char *dir, bool exclusive, int *fd_out, struct error *err);

#endif

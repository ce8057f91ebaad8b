/*
 * What the files of the own vault share; bytes: docs/FORMAT.md, "Segments".
 *
 *   segment.c        headers, names of files, the directory
 *   segment_pack.c   an item to a record       segment_write.c  records to files
 *   segment_read.c   a record to an item       segment_scan.c   all records of a file
 */
#ifndef SEGMENT_PRIVATE_H
#define SEGMENT_PRIVATE_H

#include "vault/segment.h"
#include "vault_private.h"

#include <zstd.h>

#define SEGMENT_DIR          "segments"
#define SEGMENT_VERSION      1u
#define SEGMENT_HEAD_BYTES   32u                  /* of a file */
#define SEGMENT_RECORD_BYTES 64u                  /* header of a record */
#define SEGMENT_ENTRY_BYTES  8u                   /* of the frame table */
#define SEGMENT_ALIGN        8u                   /* a record begins at a multiple of it */
#define SEGMENT_ITEM_MAX     (UINT64_C(64) << 30) /* a frame table is then at most 2 MiB */
#define SEGMENT_MEMORY_BYTES ((size_t)1 << 20)    /* a larger record is packed into a file */

/* --- segment.c --- */

struct segment_head {
    uint32_t number;
    uint64_t salt;
};
void segment_head_encode(const struct segment_head *h, uint8_t out[SEGMENT_HEAD_BYTES]);
/* FORMAT: no segment, or a newer version. CORRUPT: fails its seal, another number. */
int segment_head_decode(const uint8_t in[SEGMENT_HEAD_BYTES], uint32_t number, struct segment_head *out,
                        struct error *err);

struct segment_record {
    uint64_t salt;   /* of the segment that it stands in */
    uint64_t size;   /* of the item */
    uint64_t stored; /* of all frames */
    struct hash128 hash;
    uint64_t table_seal;
};
/* The position is part of the seal: bytes inside an item that look like a record are none. */
void segment_record_encode(const struct segment_record *r, uint32_t segment, uint64_t offset,
                           uint8_t out[SEGMENT_RECORD_BYTES]);
/* False unless every byte is as an encoder would write it there. */
bool segment_record_decode(const uint8_t in[SEGMENT_RECORD_BYTES], uint32_t segment, uint64_t offset,
                           struct segment_record *out);
bool segment_record_begins(const uint8_t *p); /* four bytes: worth decoding? */
static inline uint64_t segment_frames(uint64_t size)
{
    return size / SEGMENT_FRAME_BYTES + (size % SEGMENT_FRAME_BYTES != 0);
}
/* Bytes of the item in frame i. */
static inline size_t segment_frame_size(uint64_t size, uint64_t i)
{
    const uint64_t left = size - i * SEGMENT_FRAME_BYTES;

    return left < SEGMENT_FRAME_BYTES ? (size_t)left : SEGMENT_FRAME_BYTES;
}
/* Header, table, frames and padding. */
uint64_t segment_record_length(const struct segment_record *r);
static inline uint32_t segment_frame_seal(const uint8_t *p, size_t n)
{
    return (uint32_t)hash64_of(bytes_of(p, n));
}

/* "segments/00000001.seg" */
void segment_path(uint32_t segment, char out[32]);
/* 8 digits, > 0: the name of a container in a locator. */
bool segment_number_parse(struct bytes text, uint32_t *out);
/* Opens a segment below the archive's directory; GONE if it is not there. */
int segment_file_open(const char *dir, uint32_t segment, int flags, int *fd_out, struct error *err);
/* All n bytes, or an error: FULL, READONLY, IO. */
int segment_pwrite(int fd, const void *p, size_t n, uint64_t off, struct error *err);

/* --- segment_pack.c --- */

struct segment_packed {
    struct segment_record record; /* without a salt */
    struct buf table;
    struct buf frames; /* all of them, or the last ones until they are spilled */
    int fd;            /* the frames of a large record, else -1 */
};

/* --- segment_read.c --- */

/* One record open for reading. Zero-filled but for fd -1 is empty. Owned: segment_reader_release. */
struct segment_reader {
    /* of the record; fd is taken */
    int fd;
    uint32_t segment;
    uint64_t offset;
    struct segment_record record;
    uint64_t *ends; /* of each frame, behind the table */
    struct buf table;
    uint64_t frame; /* which one `raw` holds, UINT64_MAX none */

    /* kept by recycling */
    struct buf raw, packed;
    ZSTD_DCtx *zstd;
};
/* Header and table are checked: GONE if the file ends before the record does, CORRUPT. length 0: not compared. */
int segment_reader_open(struct segment_reader *r, int fd, uint32_t segment, uint64_t offset, uint64_t length,
                        struct error *err);
/* Stored bytes of frame i: view until the next call. */
int segment_reader_stored(struct segment_reader *r, uint64_t i, struct bytes *out, struct error *err);
/* Exactly n bytes of the item at off. */
int segment_reader_read(struct segment_reader *r, uint64_t off, void *dst, size_t n, struct error *err);
void segment_reader_close(struct segment_reader *r); /* keeps its buffers */
void segment_reader_release(struct segment_reader *r);

#endif

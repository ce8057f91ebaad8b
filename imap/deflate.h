/*
 * deflate: COMPRESS=DEFLATE (RFC 4978): raw DEFLATE both ways between byte buffers.
 *
 * Memory of a connection that uses it: 44 KB to inflate (the window of 32 KB is the client's choice, so it must be whole), 36 KB to deflate
 * (window 8 KB, memLevel 5); the latter is given back by imap_deflate_rest and taken anew with the next output. zlib's default would be 268 KB.
 *
 * Output of hostile input is asked for piece by piece: the caller's room is the bound, whatever the ratio.
 */
#ifndef IMAP_DEFLATE_H
#define IMAP_DEFLATE_H

#include "base/bytes.h"

struct imap_deflate;
struct imap_deflate *imap_deflate_new(void);
void imap_deflate_free(struct imap_deflate **d);

/* Inflates from in (*used of it) into p (*got of n). False: not DEFLATE, or the stream ended. */
bool imap_deflate_read(struct imap_deflate *d, struct bytes in, size_t *used, void *p, size_t n, size_t *got);
/* There may be more to be had without more input. */
bool imap_deflate_has_plain(const struct imap_deflate *d);
/* Appends; flush: everything so far can be inflated by the client. */
void imap_deflate_write(struct imap_deflate *d, struct bytes plain, bool flush, struct buf *out);
/* The connection is idle: after a flush, gives back what is needed only to compress. */
void imap_deflate_rest(struct imap_deflate *d);

#endif

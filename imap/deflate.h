/*
 * deflate: COMPRESS=DEFLATE (RFC 4978): raw DEFLATE both ways between byte buffers.
 *
 * Memory of a connection that uses it: 40 KB to inflate (the window of 32 KB is the client's choice, so it must be
 * whole), 54 KB to deflate (window 8 KB, memLevel 5); zlib's defaults would be 308 KB. imap_deflate_rest gives both
 * back but for what the client has sent of late, which it may refer to: as many bytes as it sent, at most 32 KB. They
 * are taken anew with the next input and output.
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
/* The connection is idle: gives back what can be had again. */
void imap_deflate_rest(struct imap_deflate *d);

#endif

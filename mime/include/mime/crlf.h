/*
 * crlf: between stored and client bytes.
 *
 * A client sees a lone LF as CRLF and NUL as 0x80. The sparse map says for
 * every 64 KiB of stored bytes how many LFs lacked their CR before it, so that
 * a chunked FETCH of a part of 1 GB stays linear. Items under 64 KiB, and items
 * without lone LFs, have no map (empty).
 *
 * Stored form: one varint for each whole step of 64 KiB: the lone LFs in it
 * (0..65536). What stands behind the last whole step has none.
 *
 * Thread rule: pure functions; a decoded map is immutable.
 */
#ifndef MIME_CRLF_H
#define MIME_CRLF_H

#include "base/bytes.h"
#include "base/error.h"

#define MIME_CRLF_STEP 65536u

/* Appends the stored form for a whole item (nothing if none is needed). */
void mime_crlf_map_encode(struct bytes item, struct buf *out);

/* lone[i]: lone LFs before stored offset i * MIME_CRLF_STEP. Owned. */
struct mime_crlf_map {
    uint64_t *lone;
    size_t n; /* 0: no map, no lone LF at any step */
};
/* BASE_ERR_CORRUPT unless it fits an item of item_size stored bytes. */
int mime_crlf_map_decode(struct bytes in, uint64_t item_size, struct mime_crlf_map *out, struct error *err);
void mime_crlf_map_release(struct mime_crlf_map *m);

/*
 * For a range that begins at stored offset `base`, before which `base_lone`
 * lone LFs stand: the last step boundary (or base itself) whose client offset
 * from base is <= client_off. *stored_out is where to read on, *client_out its
 * client offset from base. Binary search.
 */
void mime_crlf_seek(const struct mime_crlf_map *m, uint64_t base, uint64_t base_lone, uint64_t client_off,
                    uint64_t *stored_out, uint64_t *client_out);

/* Client bytes of `in`, appended; *last_cr carries across calls whether the byte before was CR. */
void mime_crlf_convert(struct bytes in, bool *last_cr, struct buf *out);
/* Lone LFs in `in`, same state. */
uint64_t mime_crlf_count_lone(struct bytes in, bool *last_cr);

#endif

/*
 * section: from what a client names to stored bytes, or to the bytes themselves where the store has them.
 */
#ifndef QUERY_SECTION_H
#define QUERY_SECTION_H

#include "query_private.h"

#define QUERY_DECODE_MAX_BYTES (UINT64_C(64) << 20) /* what is decoded or subset in memory */

enum query_section_form {
    QUERY_FORM_CLIENT, /* CRLF line ends, NUL as 0x80 */
    QUERY_FORM_BINARY, /* CRLF line ends, NUL kept */
    QUERY_FORM_STORED, /* as it stands: what the sender called binary */
    QUERY_FORM_DECODE, /* transfer encoding taken off */
    QUERY_FORM_FIELDS, /* a subset of the header fields */
};

struct query_range {
    enum query_section_form form;
    uint64_t off, len;   /* stored bytes */
    uint64_t len_crlf;   /* client bytes of the range */
    uint8_t encoding;    /* QUERY_FORM_DECODE */
    bool body_is_empty;  /* QUERY_FORM_FIELDS: the message has no body */
};

/*
 * BASE_ERR_NOTFOUND: no such section. BASE_ERR_USAGE: BINARY of a part in an encoding that nobody knows.
 * BASE_ERR_LIMIT: BINARY of an encoded part, or HEADER.FIELDS of a header, of more than QUERY_DECODE_MAX_BYTES.
 */
int query_section_resolve(const struct query_item *item, const struct mdsq_section *section, struct query_range *out,
                          struct error *err);

/* Is it HEADER.FIELDS of an item's own header, or the like, of fields that every item's record keeps all of? */
bool query_section_names_kept(struct mdsq_reader *reader, const struct mdsq_section *section);
/*
 * HEADER.FIELDS(.NOT) of the item's own header from the kept fields. 1 done, 0 they do not suffice.
 * names_kept: what query_section_names_kept said of this section and the reader that words are of.
 */
int query_section_from_kept(struct mds_words *words, uint64_t item, const struct mdsq_section *section, bool names_kept,
                            struct buf *out, struct error *err);

#endif

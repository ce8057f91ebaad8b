/*
 * search_key: search criteria (RFC 3501 section 9, search-key) as a tree for query/. Pure.
 *
 * Keys and their texts are UTF-8 in the cursor's arena or views of the command. The tree is no deeper than
 * the given depth (at most MDSQ_KEY_DEPTH_MAX), parentheses, NOT and OR counted.
 */
#ifndef IMAP_SEARCH_KEY_H
#define IMAP_SEARCH_KEY_H

#include "mds/query.h"
#include "wire/cursor.h"

struct imap_search_program {
    const struct mdsq_key *key;
    bool bad_charset; /* the rest was not looked at: NO [BADCHARSET] */
};

/* [SP "CHARSET" SP astring] 1*(SP search-key), to the end of the command. */
bool imap_take_search(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out);

#endif

/*
 * flag_args: flags that a client names (RFC 3501 section 9, flag), as query/ takes them. Pure; memory is the arena of the cursor or, where
 * the command's text does not stay (APPEND), copied there.
 *
 * flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension. A system flag that we do not
 * know, and \Recent, cannot be set: BAD.
 */
#ifndef IMAP_FLAG_ARGS_H
#define IMAP_FLAG_ARGS_H

#include "mds/query.h"
#include "wire/cursor.h"

#define IMAP_FLAGS_MAX 256 /* flags named in one list */

/* flag-list = "(" [flag *(SP flag)] ")" */
bool imap_take_flag_args(struct imap_cursor *at, struct mdsq_flags *out);
/* flag-list / (flag *(SP flag)): STORE's */
bool imap_take_store_flags(struct imap_cursor *at, struct mdsq_flags *out);

#endif

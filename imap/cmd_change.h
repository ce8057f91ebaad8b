/* cmd_change: the commands that change an archive (cmd_append, cmd_copy, cmd_expunge, cmd_folder, cmd_store), and what they share. */
#ifndef IMAP_CMD_CHANGE_H
#define IMAP_CMD_CHANGE_H

#include "session_private.h"

IMAP_PARSE(imap_parse_store);
IMAP_RUN(imap_cmd_store);
void imap_release_store(struct imap_command *c);
IMAP_PARSE(imap_parse_copy);
IMAP_RUN(imap_cmd_copy);
void imap_release_copy(struct imap_command *c);
IMAP_PARSE(imap_parse_expunge);
IMAP_RUN(imap_cmd_expunge);
void imap_release_expunge(struct imap_command *c);
IMAP_PARSE(imap_parse_append);
IMAP_PARSE(imap_parse_replace);
IMAP_RUN(imap_cmd_append);
void imap_release_append(struct imap_command *c);
IMAP_PARSE(imap_parse_create);
IMAP_RUN(imap_cmd_create);
IMAP_PARSE(imap_parse_folder);
IMAP_RUN(imap_cmd_delete);
IMAP_PARSE(imap_parse_rename);
IMAP_RUN(imap_cmd_rename);
IMAP_RUN(imap_cmd_subscribe);

/* NO to what would change the selected mailbox, as s->read_only is set. */
enum imap_step imap_reply_read_only(struct imap_session *s, struct imap_command *c);
/* "1:4,7" */
void imap_put_uids(struct buf *out, const struct mdsq_set *set);

#endif

/*
 * cmd_refuse: the commands that would write. Their syntax is checked as RFC 3501 has it, so that a client
 * learns what is wrong first; then the answer is NO: folders are read-only for now.
 */
#include "session_private.h"

/* append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal */
IMAP_PARSE(imap_parse_append)
{
    const char *mailbox;
    struct bytes message;
    (void)s, (void)c;
    if (!imap_take_sp(at) || !imap_take_mailbox(at, &mailbox) || !imap_take_sp(at))
        return false;
    if (imap_at_byte(at, '(') && (!imap_take_flag_list(at) || !imap_take_sp(at)))
        return false;
    if (imap_at_byte(at, '"') && (!imap_take_date_time(at) || !imap_take_sp(at)))
        return false;
    return imap_take_literal(at, &message);
}

/* rename = "RENAME" SP mailbox SP mailbox */
IMAP_PARSE(imap_parse_rename)
{
    const char *name;
    (void)s, (void)c;
    return imap_take_sp(at) && imap_take_mailbox(at, &name) && imap_take_sp(at) && imap_take_mailbox(at, &name);
}

/* copy = "COPY" SP sequence-set SP mailbox */
IMAP_PARSE(imap_parse_copy)
{
    struct bytes set;
    const char *name;
    (void)s, (void)c;
    return imap_take_sp(at) && imap_take_sequence_set(at, &set) && imap_take_sp(at) && imap_take_mailbox(at, &name);
}

/*
 * store = "STORE" SP sequence-set SP store-att-flags
 * store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
 */
IMAP_PARSE(imap_parse_store)
{
    struct bytes set, what;
    (void)s, (void)c;
    if (!imap_take_sp(at) || !imap_take_sequence_set(at, &set) || !imap_take_sp(at))
        return false;
    if (imap_at_byte(at, '+') || imap_at_byte(at, '-'))
        at->p++;
    if (!imap_take_atom(at, &what))
        return false;
    if (!bytes_equal_nocase(what, BYTES_LIT("FLAGS")) && !bytes_equal_nocase(what, BYTES_LIT("FLAGS.SILENT")))
        return imap_cursor_fail(at, "Only FLAGS can be stored");
    return imap_take_sp(at) && (imap_at_byte(at, '(') ? imap_take_flag_list(at) : imap_take_flags(at));
}

IMAP_RUN(imap_cmd_refuse)
{
    (void)s;
    return imap_reply(c, IMAP_NO, "NOPERM", "This archive is read-only");
}

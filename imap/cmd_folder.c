/*
 * cmd_folder: CREATE (with special use, RFC 6154), DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
 *
 * What a name may be is checked here as far as the protocol goes: levels that are not empty, no control characters. The
 * rules of INBOX and of folders in folders are query's.
 */
#include "cmd_change.h"

#include "wire/utf7.h"

struct folder_args {
    const char *name, *to;
    const char *given; /* a name was spelled otherwise by the client: the one that it gave (the first of RENAME) */
    bool use; /* CREATE came with USE */
    uint8_t special_use;
    bool use_refused;
    const char *code;
};

/* As mdsq_folder.special_use counts. \All and \Flagged are views of other folders' messages: nothing of ours is that.
 */
static const char *const special_uses[] = {NULL, NULL, "Archive", "Drafts", NULL, "Junk", "Sent", "Trash"};

/* use-attr = "\" atom */
static bool take_use_attr(struct imap_cursor *at, struct folder_args *a)
{
    struct bytes name;
    if (!imap_take_byte(at, '\\') || !imap_take_atom(at, &name))
        return false;
    for (uint8_t i = 0; i < sizeof special_uses / sizeof special_uses[0]; i++) {
        if (special_uses[i] && bytes_equal_nocase(name, bytes_str(special_uses[i]))) {
            a->use_refused |= a->special_use != 0 && a->special_use != i; /* a folder has one */
            a->special_use = i;
            return true;
        }
    }
    a->use_refused = true;
    return true;
}

/* create-param =/ "USE" SP "(" [use-attr *(SP use-attr)] ")" */
static bool take_create_params(struct imap_cursor *at, struct folder_args *a)
{
    if (!imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    if (a->use || !imap_at_word(at, "USE"))
        return imap_cursor_fail(at, "Unknown parameter");
    a->use = true;
    if (!imap_take_word(at, "USE") || !imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    for (int n = 0; !imap_at_byte(at, ')'); n++)
        if ((n > 0 && !imap_take_sp(at)) || !take_use_attr(at, a))
            return false;
    return imap_take_byte(at, ')') && imap_take_byte(at, ')');
}

/* create = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"] (RFC 4466) */
IMAP_PARSE(imap_parse_create)
{
    struct folder_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_mailbox(at, &a->name))
        return false;
    a->given = at->given;
    return imap_at_end(at) || take_create_params(at, a);
}

/* DELETE, SUBSCRIBE, UNSUBSCRIBE: SP mailbox */
IMAP_PARSE(imap_parse_folder)
{
    struct folder_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    return a && imap_take_sp(at) && imap_take_mailbox(at, &a->name);
}

/* rename = "RENAME" SP mailbox SP mailbox */
IMAP_PARSE(imap_parse_rename)
{
    struct folder_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_mailbox(at, &a->name))
        return false;
    a->given = at->given;
    if (!imap_take_sp(at) || !imap_take_mailbox(at, &a->to))
        return false;
    if (!a->given && at->given)
        a->given = a->name;
    return true;
}

/* ---- names ---------------------------------------------------------------------------------------- */

/* RFC 3501 6.3.3: a separator at the end says that folders will be below it; the name is without it. */
static const char *without_last_separator(struct imap_command *c, const char *name)
{
    size_t n = strlen(name);
    return n > 1 && name[n - 1] == '/' ? arena_strndup(c->arena, name, n - 1) : name;
}

/* No empty level, nothing that other clients could not show or name. */
static bool may_be_made(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && name[0] != '/' && name[n - 1] != '/' && !strstr(name, "//") && imap_utf8_is_name(bytes_of(name, n));
}

static enum imap_step refuse_name(struct imap_command *c)
{
    return imap_reply(c, IMAP_NO, "CANNOT", "Mailbox cannot have this name");
}

/* ---- the commands ---------------------------------------------------------------------------------- */

/* Commits what was made, rc says how; DONE with an outcome, or with *failed_out and an answer. */
static enum imap_step commit(struct imap_session *s, struct imap_command *c, int rc, struct mdsq_outcome *o,
                             struct mdsq_error *err, bool *failed_out)
{
    if (rc >= 0) {
        enum imap_step step = imap_commit(s, c);
        if (step != IMAP_STEP_DONE)
            return step;
        rc = imap_outcome(c, o, err);
    }
    *failed_out = rc < 0;
    return rc < 0 ? imap_reply_change_error(s, c, err, false) : IMAP_STEP_DONE;
}

/* RFC 9051 6.3.4, 6.3.6. OLDNAME is no news to a client of rev1, which may not know it. */
static void say_spelling(struct imap_session *s, const char *name, const char *given)
{
    if (given && s->enabled & IMAP_ENABLED_REV2)
        imap_say_its_list(s, name, given);
}

IMAP_RUN(imap_cmd_create)
{
    struct folder_args *a = c->args;
    struct mdsq_error err = {0};
    struct mdsq_outcome o = {0};
    bool failed = false;
    int rc = 0;
    if (!c->change) {
        a->name = without_last_separator(c, a->name);
        if (!a->name || !may_be_made(a->name))
            return refuse_name(c);
        if (a->use_refused)
            return imap_reply(c, IMAP_NO, "USEATTR", "Special use is not supported");
        c->audit_name = a->name;
        rc = mdsq_change_create(s->archive, a->name, a->special_use, &c->change, &err);
    }
    enum imap_step step = commit(s, c, rc, &o, &err, &failed);
    if (step != IMAP_STEP_DONE || failed)
        return step;
    say_spelling(s, a->name, a->given);
    struct buf code = {0};
    buf_printf(&code, "MAILBOXID (%s)", o.mailbox_id);
    const char *copy = o.mailbox_id[0] ? arena_strndup(c->arena, code.p, code.n) : NULL;
    buf_release(&code);
    return imap_reply(c, IMAP_OK, copy, "CREATE completed");
}

IMAP_RUN(imap_cmd_delete)
{
    struct folder_args *a = c->args;
    struct mdsq_error err = {0};
    struct mdsq_outcome o = {0};
    bool failed = false;
    int rc = 0;
    if (!c->change) {
        if (bytes_equal_nocase(bytes_str(a->name), BYTES_LIT("INBOX")))
            return imap_reply(c, IMAP_NO, "CANNOT", "INBOX cannot be deleted");
        c->audit_name = a->name;
        rc = mdsq_change_delete(s->archive, a->name, &c->change, &err);
    }
    enum imap_step step = commit(s, c, rc, &o, &err, &failed);
    if (failed && err.code == MDSQ_ERR_USAGE) /* INBOX is out of the way already */
        return imap_reply(c, IMAP_NO, "HASCHILDREN", "Mailbox is only a level, and mailboxes are below it");
    if (step != IMAP_STEP_DONE || failed)
        return step;
    c->folder_may_go = true;
    return imap_reply(c, IMAP_OK, NULL, "DELETE completed");
}

IMAP_RUN(imap_cmd_rename)
{
    struct folder_args *a = c->args;
    struct mdsq_error err = {0};
    struct mdsq_outcome o = {0};
    bool failed = false;
    int rc = 0;
    if (!c->change) {
        a->to = without_last_separator(c, a->to);
        if (!a->to || !may_be_made(a->to))
            return refuse_name(c);
        c->audit_name = a->name;
        c->audit_to = a->to;
        rc = mdsq_change_rename(s->archive, a->name, a->to, &c->change, &err);
    }
    enum imap_step step = commit(s, c, rc, &o, &err, &failed);
    if (step != IMAP_STEP_DONE || failed)
        return step;
    say_spelling(s, a->to, a->given);
    return imap_reply(c, IMAP_OK, NULL, "RENAME completed");
}

IMAP_RUN(imap_cmd_subscribe)
{
    struct folder_args *a = c->args;
    struct mdsq_error err = {0};
    struct mdsq_outcome o = {0};
    bool failed = false;
    const bool on = strcmp(c->row->name, "SUBSCRIBE") == 0;
    int rc = 0;
    if (!c->change) {
        a->name = without_last_separator(c, a->name);
        /* What is there already under a strange name may be let go of. */
        if (!a->name || (on && !may_be_made(a->name)))
            return refuse_name(c);
        c->audit_name = a->name;
        rc = mdsq_change_subscribe(s->archive, a->name, on, &c->change, &err);
    }
    enum imap_step step = commit(s, c, rc, &o, &err, &failed);
    if (step != IMAP_STEP_DONE || failed)
        return step;
    return imap_reply(c, IMAP_OK, NULL, on ? "SUBSCRIBE completed" : "UNSUBSCRIBE completed");
}

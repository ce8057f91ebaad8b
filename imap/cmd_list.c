/*
 * cmd_list: LIST, LSUB (RFC 3501 6.3.8, 6.3.9), extended as RFC 5258 says, with STATUS (RFC 5819), CHILDREN (RFC 3348)
 * and SPECIAL-USE (RFC 6154).
 *
 * The walk is query's; here it is said in slices, a folder and its STATUS at a time.
 */
#include "status_items.h"

#include "wire/writer.h"

struct list_args {
    const char *reference; /* UTF-8 */
    const char *patterns[MDSQ_PATTERNS_MAX];
    size_t patterns_n;   /* those that some name can match */
    unsigned select;     /* enum mdsq_list_select */
    bool lsub, extended; /* extended: any selection, return option or list of patterns */
    bool root;           /* LIST "" "": what is asked is the delimiter */
    bool tell_subscribed, tell_status;
    struct imap_status_items status;
    /* where it stands */
    struct mdsq_lister *lister;
};

/* ---- arguments ------------------------------------------------------------------------------ */

/* A text that no name can be written as matches nothing. */
static const char *to_utf8(struct imap_cursor *at, struct bytes raw)
{
    struct imap_cursor quiet = *at;
    return imap_cursor_name(&quiet, raw);
}

static bool add_pattern(struct imap_cursor *at, struct list_args *a)
{
    struct bytes raw;
    if (!imap_take_list_mailbox(at, &raw))
        return false;
    const char *pattern = to_utf8(at, raw);
    if (!pattern)
        return true;
    if (a->patterns_n == MDSQ_PATTERNS_MAX)
        return imap_cursor_fail(at, "Too many patterns");
    a->patterns[a->patterns_n++] = pattern;
    /* Names that clients made are in form C, those of a vault as they are. */
    const char *normal = imap_normal_name(at->arena, pattern);
    if (normal && normal != pattern && a->patterns_n < MDSQ_PATTERNS_MAX)
        a->patterns[a->patterns_n++] = normal;
    return true;
}

/* list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")" */
static bool take_selection(struct imap_cursor *at, struct list_args *a)
{
    static const struct {
        const char *name;
        unsigned select;
    } options[] = {
        {"SUBSCRIBED", MDSQ_LIST_SUBSCRIBED},
        {"SPECIAL-USE", MDSQ_LIST_SPECIAL_USE},
        {"RECURSIVEMATCH", MDSQ_LIST_RECURSIVE},
        {"REMOTE", 0}, /* nothing is remote here */
    };
    if (!imap_take_byte(at, '('))
        return false;
    for (bool first = true; !imap_at_byte(at, ')'); first = false) {
        struct bytes name;
        size_t k = 0;
        if ((!first && !imap_take_sp(at)) || !imap_take_atom(at, &name))
            return false;
        while (k < sizeof options / sizeof options[0] && !bytes_equal_nocase(name, bytes_str(options[k].name)))
            k++;
        if (k == sizeof options / sizeof options[0])
            return imap_cursor_fail(at, "Unknown selection option");
        a->select |= options[k].select;
    }
    /* RFC 5258 3.1: it modifies another option and says nothing alone; SPECIAL-USE is none that it can modify. */
    if (a->select & MDSQ_LIST_RECURSIVE && !(a->select & MDSQ_LIST_SUBSCRIBED))
        return imap_cursor_fail(at, "RECURSIVEMATCH needs SUBSCRIBED");
    a->extended = true;
    a->tell_subscribed |= (a->select & MDSQ_LIST_SUBSCRIBED) != 0;
    return imap_take_byte(at, ')') && imap_take_sp(at);
}

/* "RETURN" SP "(" [return-option *(SP return-option)] ")" */
static bool take_returns(struct imap_cursor *at, struct list_args *a)
{
    a->extended = true;
    if (!imap_take_word(at, "RETURN") || !imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    for (bool first = true; !imap_at_byte(at, ')'); first = false) {
        struct bytes name;
        if ((!first && !imap_take_sp(at)) || !imap_take_atom(at, &name))
            return false;
        if (bytes_equal_nocase(name, BYTES_LIT("SUBSCRIBED"))) {
            a->tell_subscribed = true;
        } else if (bytes_equal_nocase(name, BYTES_LIT("STATUS"))) {
            if (a->tell_status || !imap_take_sp(at) || !imap_take_status_items(at, &a->status))
                return imap_cursor_fail(at, "STATUS twice");
            a->tell_status = true;
        } else if (!bytes_equal_nocase(name, BYTES_LIT("CHILDREN")) &&
                   !bytes_equal_nocase(name, BYTES_LIT("SPECIAL-USE"))) { /* told in any case */
            return imap_cursor_fail(at, "Unknown return option");
        }
    }
    return imap_take_byte(at, ')');
}

/* mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")" */
static bool take_patterns(struct imap_cursor *at, struct list_args *a)
{
    if (!imap_at_byte(at, '('))
        return add_pattern(at, a);
    a->extended = true;
    at->p++;
    if (!add_pattern(at, a))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!add_pattern(at, a))
            return false;
    }
    return imap_take_byte(at, ')');
}

/* list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] */
IMAP_PARSE(imap_parse_list)
{
    struct bytes reference;
    struct list_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || (imap_at_byte(at, '(') && !take_selection(at, a)) ||
        !imap_take_astring(at, &reference) || !imap_take_sp(at) || !take_patterns(at, a))
        return false;
    if (!imap_at_end(at) && (!imap_take_sp(at) || !take_returns(at, a)))
        return false;
    a->reference = to_utf8(at, reference);
    if (!a->reference)
        a->patterns_n = 0;
    a->root = !a->extended && a->patterns_n == 1 && !a->patterns[0][0];
    return true;
}

/* lsub = "LSUB" SP mailbox SP list-mailbox */
IMAP_PARSE(imap_parse_lsub)
{
    struct bytes reference;
    struct list_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at) || !imap_take_astring(at, &reference) || !imap_take_sp(at) || !add_pattern(at, a))
        return false;
    a->lsub = true;
    a->select = MDSQ_LIST_LSUB;
    a->reference = to_utf8(at, reference);
    if (!a->reference)
        a->patterns_n = 0;
    return true;
}

void imap_release_list(struct imap_command *c)
{
    struct list_args *a = c->args;
    mdsq_lister_free(&a->lister);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void attribute(struct buf *out, size_t begin, const char *name)
{
    if (out->n > begin)
        buf_append_byte(out, ' ');
    buf_append_str(out, name);
}

static void put_attributes(struct buf *out, const struct mdsq_folder *folder, bool subscribed, bool nonexistent)
{
    static const char *const special[] = {NULL,        "\\All",  "\\Archive", "\\Drafts",
                                          "\\Flagged", "\\Junk", "\\Sent",    "\\Trash"};
    const size_t begin = out->n;
    if (nonexistent && folder->attrs & MDSQ_FOLDER_NONEXISTENT)
        attribute(out, begin, "\\NonExistent");
    else if (folder->attrs & MDSQ_FOLDER_NOSELECT)
        attribute(out, begin, "\\Noselect");
    attribute(out, begin, folder->attrs & MDSQ_FOLDER_HAS_CHILDREN ? "\\HasChildren" : "\\HasNoChildren");
    if (subscribed && folder->attrs & MDSQ_FOLDER_SUBSCRIBED)
        attribute(out, begin, "\\Subscribed");
    if (folder->special_use > 0 && folder->special_use < sizeof special / sizeof special[0])
        attribute(out, begin, special[folder->special_use]);
}

void imap_say_folder(struct imap_session *s, const struct mdsq_folder *folder, bool subscribed, const char *old_name)
{
    buf_append_str(&s->out, "* LIST (");
    put_attributes(&s->out, folder, subscribed, true);
    buf_append_str(&s->out, ") \"/\" ");
    imap_say_mailbox(s, folder->name);
    if (folder->attrs & MDSQ_FOLDER_CHILD_SUBSCRIBED)
        buf_append_str(&s->out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    if (old_name) {
        buf_append_str(&s->out, " (\"OLDNAME\" (");
        if (bytes_equal_nocase(bytes_str(old_name), BYTES_LIT("INBOX")))
            imap_write_astring(&s->out, bytes_str(old_name)); /* as it was spelled */
        else
            imap_say_mailbox(s, old_name);
        buf_append_str(&s->out, "))");
    }
    buf_append_str(&s->out, "\r\n");
}

/* RFC 9051 6.3.2: INBOX has the one spelling that is given. */
void imap_say_its_list(struct imap_session *s, const char *name, const char *given)
{
    enum { LOOKS_MAX = 100 }; /* "*" and "%" in its name may match others before it */
    const bool inbox = bytes_equal_nocase(bytes_str(name), BYTES_LIT("INBOX"));
    const struct mdsq_list_options options = {"", &name, 1, 0};
    struct mdsq_lister *lister = NULL;
    struct mdsq_folder folder;
    int rc = imap_session_reader(s, NULL) ? mdsq_lister_new(&options, &lister, NULL) : -1;
    for (int i = 0; rc >= 0 && i < LOOKS_MAX && (rc = mdsq_lister_next(lister, s->reader, &folder, NULL)) > 0; i++) {
        if (rc != 1 || (!inbox && strcmp(folder.name, name) != 0))
            continue;
        imap_say_folder(s, &folder, true, strcmp(given, folder.name) == 0 ? NULL : given);
        break;
    }
    mdsq_lister_free(&lister);
}

static void say_lsub(struct imap_session *s, const struct mdsq_folder *folder)
{
    buf_printf(&s->out, "* LSUB (%s) \"/\" ", folder->attrs & MDSQ_FOLDER_NOSELECT ? "\\Noselect" : "");
    imap_say_mailbox(s, folder->name);
    buf_append_str(&s->out, "\r\n");
}

static void say_its_status(struct imap_session *s, const struct list_args *a, const struct mdsq_folder *folder)
{
    struct mdsq_status status = {0};
    if (folder->attrs & (MDSQ_FOLDER_NOSELECT | MDSQ_FOLDER_NONEXISTENT))
        return;
    if (!a->status.recent)
        mdsq_lister_status(a->lister, &status);
    else if (mdsq_status(s->reader, folder->name, &status, NULL) < 0)
        return;
    imap_say_status(s, folder->name, &a->status, &status);
}

static void say(struct imap_session *s, const struct list_args *a, const struct mdsq_folder *folder)
{
    if (a->lsub) {
        say_lsub(s, folder);
        return;
    }
    imap_say_folder(s, folder, a->tell_subscribed, NULL);
    if (a->tell_status)
        say_its_status(s, a, folder);
}

static enum imap_step list(struct imap_session *s, struct imap_command *c, const char *done)
{
    struct list_args *a = c->args;
    struct mdsq_error err = {0};
    struct mdsq_folder folder;
    int rc;
    if (a->root && !a->lsub) {
        /* The delimiter and the root of the reference: names have no root here. */
        buf_append_str(&s->out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
        return imap_reply(c, IMAP_OK, NULL, done);
    }
    if (a->patterns_n == 0)
        return imap_reply(c, IMAP_OK, NULL, done);
    if (!a->lister) {
        const struct mdsq_list_options options = {a->reference, a->patterns, a->patterns_n, a->select};
        if (mdsq_lister_new(&options, &a->lister, &err) < 0)
            return imap_reply_error(s, c, &err);
        if (a->status.modseq)
            imap_enable_condstore(s);
    }
    if (!imap_session_reader(s, &err))
        return imap_reply_error(s, c, &err);
    while ((rc = mdsq_lister_next(a->lister, s->reader, &folder, &err)) > 0) {
        if (rc == 1)
            say(s, a, &folder);
        if (imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    return rc < 0 ? imap_reply_error(s, c, &err) : imap_reply(c, IMAP_OK, NULL, done);
}

IMAP_RUN(imap_cmd_list)
{
    return list(s, c, "LIST completed");
}

IMAP_RUN(imap_cmd_lsub)
{
    return list(s, c, "LSUB completed");
}

/*
 * cmd_notify: NOTIFY (RFC 5465): its grammar, and the first look at what it watches.
 *
 * notify = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-groups / "NONE")
 * event-groups = event-group *(SP event-group); event-group = "(" filter-mailboxes SP events ")"
 */
#include "notify.h"

#include "fetch_att.h"

#define SUPPORTED "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"

struct notify_args {
    bool none;
    const char *unsupported; /* an event of RFC 5465 that does not happen here */
    struct imap_notify_request request;
    size_t names_n;
    struct imap_notify *notify;
    bool looked;
};

static bool add_name(struct imap_cursor *at, struct notify_args *a, struct imap_notify_group *group)
{
    const char *name;
    if (!imap_take_mailbox(at, &name))
        return false;
    if (++a->names_n > IMAP_NOTIFY_NAMES_MAX)
        return imap_cursor_fail(at, "too many mailboxes");
    /* Grown by doubling in the arena. */
    if ((group->names_n & (group->names_n - 1)) == 0) {
        const char **grown = arena_alloc(at->arena, (group->names_n ? group->names_n * 2 : 1) * sizeof *grown);
        if (!grown)
            return imap_cursor_fail(at, "command too large");
        if (group->names_n)
            memcpy(grown, group->names, group->names_n * sizeof *grown);
        group->names = grown;
    }
    group->names[group->names_n++] = name;
    return true;
}

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" */
static bool take_names(struct imap_cursor *at, struct notify_args *a, struct imap_notify_group *group)
{
    if (!imap_at_byte(at, '('))
        return add_name(at, a, group);
    at->p++;
    if (!add_name(at, a, group))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!add_name(at, a, group))
            return false;
    }
    return imap_take_byte(at, ')');
}

/* message-event = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / ... */
static bool take_new_fetch(struct imap_cursor *at, bool selected, struct bytes *fetch)
{
    struct imap_cursor ahead = *at;
    struct imap_fetch_atts atts = {0};
    if (!imap_at_byte(at, ' '))
        return true;
    ahead.p++;
    if (!imap_at_byte(&ahead, '('))
        return true;
    if (!selected)
        return imap_cursor_fail(at, "only new messages of the selected mailbox are fetched");
    at->p = ahead.p;
    if (!imap_take_fetch_atts(at, &atts))
        return false;
    *fetch = bytes_of(ahead.p, (size_t)(at->p - ahead.p));
    return true;
}

static bool take_event(struct imap_cursor *at, struct notify_args *a, bool selected, unsigned *events)
{
    static const struct {
        const char *name;
        unsigned event; /* 0: none that happens here */
        bool of_messages;
    } known[] = {
        {"MessageNew", IMAP_NOTIFY_NEW, true},    {"MessageExpunge", IMAP_NOTIFY_EXPUNGE, true},
        {"FlagChange", IMAP_NOTIFY_FLAGS, true},  {"AnnotationChange", 0, true},
        {"MailboxName", IMAP_NOTIFY_NAME, false}, {"SubscriptionChange", IMAP_NOTIFY_SUBSCRIPTION, false},
        {"MailboxMetadataChange", 0, false},      {"ServerMetadataChange", 0, false},
    };
    struct bytes name;
    if (!imap_take_atom(at, &name))
        return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!bytes_equal_nocase(name, bytes_str(known[i].name)))
            continue;
        if (selected && !known[i].of_messages)
            return imap_cursor_fail(at, "not an event of the selected mailbox");
        if (!known[i].event)
            a->unsupported = known[i].name;
        *events |= known[i].event;
        return known[i].event != IMAP_NOTIFY_NEW || take_new_fetch(at, selected, &a->request.selected_fetch);
    }
    a->unsupported = "?";
    return true;
}

/* events = "(" event *(SP event) ")" / "NONE" */
static bool take_events(struct imap_cursor *at, struct notify_args *a, bool selected, unsigned *events)
{
    const unsigned both = IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE;
    if (imap_at_word(at, "NONE"))
        return imap_take_word(at, "NONE");
    if (!imap_take_byte(at, '('))
        return false;
    do {
        if (!take_event(at, a, selected, events))
            return false;
        if (imap_at_byte(at, ' '))
            at->p++;
        else
            break;
    } while (true);
    /* RFC 5465 section 5: one of them is both; changes of flags need them. It asks the same of other mailboxes, but
     * each is told by a STATUS there, clients send one alone, FlagChange too, and other servers take it (group notify
     * of ImapTest). */
    if (selected && *events & IMAP_NOTIFY_MESSAGES && (*events & both) != both)
        return imap_cursor_fail(at, "MessageNew and MessageExpunge go together");
    return imap_take_byte(at, ')');
}

static bool take_selected(struct imap_cursor *at, struct notify_args *a, bool delayed)
{
    if (a->request.has_selected)
        return imap_cursor_fail(at, "SELECTED twice");
    a->request.has_selected = true;
    a->request.delayed = delayed;
    return imap_take_sp(at) && take_events(at, a, true, &a->request.selected_events) && imap_take_byte(at, ')');
}

static bool take_group(struct imap_cursor *at, struct notify_args *a)
{
    static const struct {
        const char *name;
        enum imap_notify_filter filter;
        bool names;
    } filters[] = {
        {"personal", IMAP_FILTER_PERSONAL, false},     {"inboxes", IMAP_FILTER_PERSONAL, false},
        {"subscribed", IMAP_FILTER_SUBSCRIBED, false}, {"subtree", IMAP_FILTER_SUBTREE, true},
        {"mailboxes", IMAP_FILTER_MAILBOXES, true},
    };
    struct bytes name;
    if (!imap_take_byte(at, '(') || !imap_take_atom(at, &name))
        return false;
    const bool delayed = bytes_equal_nocase(name, BYTES_LIT("selected-delayed"));
    if (delayed || bytes_equal_nocase(name, BYTES_LIT("selected")))
        return take_selected(at, a, delayed);
    size_t i = 0;
    while (i < sizeof filters / sizeof filters[0] && !bytes_equal_nocase(name, bytes_str(filters[i].name)))
        i++;
    if (i == sizeof filters / sizeof filters[0])
        return imap_cursor_fail(at, "unknown mailbox filter");
    if (a->request.groups_n == IMAP_NOTIFY_GROUPS_MAX)
        return imap_cursor_fail(at, "too many event groups");
    struct imap_notify_group *group = &a->request.groups[a->request.groups_n++];
    group->filter = filters[i].filter;
    return (!filters[i].names || (imap_take_sp(at) && take_names(at, a, group))) && imap_take_sp(at) &&
           take_events(at, a, false, &group->events) && imap_take_byte(at, ')');
}

IMAP_PARSE(imap_parse_notify)
{
    struct notify_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !imap_take_sp(at))
        return false;
    if (imap_at_word(at, "NONE")) {
        a->none = true;
        return imap_take_word(at, "NONE");
    }
    if (!imap_take_word(at, "SET") || !imap_take_sp(at))
        return false;
    if (imap_at_word(at, "STATUS")) {
        a->request.status = true;
        if (!imap_take_word(at, "STATUS") || !imap_take_sp(at))
            return false;
    }
    if (!take_group(at, a))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!take_group(at, a))
            return false;
    }
    return true;
}

void imap_release_notify(struct imap_command *c)
{
    struct notify_args *a = c->args;
    imap_notify_free(&a->notify);
}

/* The first look at what is watched, and the watch; a->looked, or a step or an answer. */
static enum imap_step look(struct imap_session *s, struct imap_command *c, struct notify_args *a)
{
    struct mdsq_error err = {0};
    /* What comes between the first look and the watch is found by its first call. */
    switch (imap_notify_begin(s, a->notify)) {
    case IMAP_NOTIFY_MORE: return IMAP_STEP_MORE;
    case IMAP_NOTIFY_OVERFLOW: return imap_reply(c, IMAP_NO, "NOTIFICATIONOVERFLOW", "Too many mailboxes to watch");
    case IMAP_NOTIFY_FAILED: return imap_reply(c, IMAP_NO, "UNAVAILABLE", "Temporary failure, try again later");
    case IMAP_NOTIFY_DONE: break;
    }
    if (imap_session_watch(s, &err) < 0)
        return imap_reply_error(s, c, &err);
    a->looked = true;
    return IMAP_STEP_MORE;
}

IMAP_RUN(imap_cmd_notify)
{
    struct notify_args *a = c->args;
    if (a->unsupported)
        return imap_reply(c, IMAP_NO, "BADEVENT (" SUPPORTED ")", "Such an event does not happen here");
    if (a->none) {
        imap_notify_install(s, NULL);
        return imap_reply(c, IMAP_OK, NULL, "NOTIFY completed");
    }
    if (!a->notify)
        a->notify = imap_notify_new(&a->request);
    if (!a->looked) {
        enum imap_step step = look(s, c, a);
        if (!a->looked)
            return step;
    }
    /* RFC 5465 section 3: it is a NOOP too, and tells what the events that were in force until now have told. */
    if (!imap_news_step(s, &c->news, true, false))
        return IMAP_STEP_MORE;
    imap_notify_install(s, a->notify);
    a->notify = NULL;
    return imap_reply(c, IMAP_OK, NULL, "NOTIFY completed");
}

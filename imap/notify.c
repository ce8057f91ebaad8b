/* notify: see notify.h. */
#include "notify.h"

#include "base/log.h"
#include "status_items.h"

enum {
    OWN_MAX = 32,     /* changes of the client itself between two walks that are not told */
    RENAMES_MAX = 64, /* of one walk whose subtrees are known to have moved along */
    PATTERNS_MAX = MDSQ_PATTERNS_MAX,
    SAID_ATTRS = MDSQ_FOLDER_NOSELECT | MDSQ_FOLDER_NONEXISTENT | MDSQ_FOLDER_HAS_CHILDREN,
};

/* A folder as it was told. */
struct known {
    char id[33];
    char *name;
    unsigned attrs;
    struct mdsq_status status;
    uint32_t walk; /* the last one that saw it */
};

struct rename {
    char *from, *to;
};

enum own_kind { OWN_NAME, OWN_SUBSCRIBED, OWN_UNSUBSCRIBED, OWN_MESSAGES };

/* What the client did itself. */
struct own {
    enum own_kind kind;
    char *from, *to;   /* OWN_NAME: before and after, NULL if there was none; else to: the folder */
    uint64_t messages; /* so many of the folder were filed, changed or expunged, and took a modseq each */
    uint32_t walk; /* the last one that had begun */
};

struct imap_notify {
    /* for life: the request, copied */
    struct imap_notify_request request;
    struct arena *arena;
    /* what is known */
    struct known *known;
    size_t known_n, known_room;
    uint32_t *slots; /* index + 1 by id; a power of two, at most half full */
    size_t slots_n;
    /* the walk at work */
    struct mdsq_lister *lister;
    uint32_t walk;
    bool first; /* it is the first: nothing is news */
    size_t sweep;
    struct rename renames[RENAMES_MAX];
    size_t renames_n;
    struct own own[OWN_MAX];
    size_t own_n;
    /* the selected mailbox */
    uint32_t last_uid;        /* new messages are those above */
    struct mdsq_set *own_new; /* but these: the client filed them */
};

/* ---- life ------------------------------------------------------------------------------------ */

static void copy_group(struct arena *arena, struct imap_notify_group *group)
{
    const char **names = arena_alloc(arena, (group->names_n + 1) * sizeof *names);
    for (size_t i = 0; i < group->names_n; i++)
        names[i] = arena_strndup(arena, group->names[i], strlen(group->names[i]));
    group->names = names;
}

struct imap_notify *imap_notify_new(const struct imap_notify_request *request)
{
    struct imap_notify *n = calloc(1, sizeof *n);
    ASSERT(n);
    n->arena = arena_new(0);
    n->request = *request;
    n->request.selected_fetch = arena_dup(n->arena, request->selected_fetch);
    for (size_t i = 0; i < n->request.groups_n; i++)
        copy_group(n->arena, &n->request.groups[i]);
    n->first = true;
    return n;
}

static void forget_renames(struct imap_notify *n)
{
    for (size_t i = 0; i < n->renames_n; i++) {
        free(n->renames[i].from);
        free(n->renames[i].to);
    }
    n->renames_n = 0;
}

/* Those of before this walk: it has met all that they did. */
static void forget_own(struct imap_notify *n, uint32_t before)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->own_n; i++) {
        if (n->own[i].walk >= before) {
            n->own[kept++] = n->own[i];
            continue;
        }
        free(n->own[i].from);
        free(n->own[i].to);
    }
    n->own_n = kept;
}

void imap_notify_free(struct imap_notify **notify)
{
    struct imap_notify *n = *notify;
    *notify = NULL;
    if (!n)
        return;
    for (size_t i = 0; i < n->known_n; i++)
        free(n->known[i].name);
    forget_renames(n);
    forget_own(n, UINT32_MAX);
    mdsq_set_free(&n->own_new);
    mdsq_lister_free(&n->lister);
    arena_free(&n->arena);
    free(n->known);
    free(n->slots);
    free(n);
}

/* ---- who is watched for what --------------------------------------------------------------------- */

static bool is_name(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || (bytes_equal_nocase(bytes_str(a), BYTES_LIT("INBOX")) &&
                                 bytes_equal_nocase(bytes_str(b), BYTES_LIT("INBOX")));
}

static bool is_below(const char *name, const char *above)
{
    const size_t n = strlen(above);
    return strncmp(name, above, n) == 0 && name[n] == '/';
}

static bool is_in(const struct imap_notify_group *group, const char *name, unsigned attrs)
{
    switch (group->filter) {
    case IMAP_FILTER_PERSONAL: return true;
    case IMAP_FILTER_SUBSCRIBED: return attrs & MDSQ_FOLDER_SUBSCRIBED;
    case IMAP_FILTER_SUBTREE:
    case IMAP_FILTER_MAILBOXES: break;
    }
    for (size_t i = 0; i < group->names_n; i++)
        if (is_name(name, group->names[i]) || (group->filter == IMAP_FILTER_SUBTREE && is_below(name, group->names[i])))
            return true;
    return false;
}

/* More than one group may apply to a mailbox (RFC 5465 section 6). */
static unsigned events_of(const struct imap_notify *n, const char *name, unsigned attrs)
{
    unsigned events = 0;
    for (size_t i = 0; i < n->request.groups_n; i++)
        if (is_in(&n->request.groups[i], name, attrs))
            events |= n->request.groups[i].events;
    if (attrs & (MDSQ_FOLDER_NOSELECT | MDSQ_FOLDER_NONEXISTENT))
        events &= ~(unsigned)IMAP_NOTIFY_MESSAGES;
    return events;
}

static bool is_selected(const struct imap_session *s, const char *id)
{
    return s->view && strcmp(s->selected_id, id) == 0;
}

/* ---- what is known ----------------------------------------------------------------------------------- */

static size_t slot_of(const struct imap_notify *n, const char *id)
{
    size_t h = 5381;
    for (const char *p = id; *p; p++)
        h = h * 33 + (uint8_t)*p;
    h &= n->slots_n - 1;
    while (n->slots[h] && strcmp(n->known[n->slots[h] - 1].id, id) != 0)
        h = (h + 1) & (n->slots_n - 1);
    return h;
}

static void rehash(struct imap_notify *n, size_t slots_n)
{
    free(n->slots);
    n->slots_n = slots_n;
    n->slots = calloc(slots_n, sizeof *n->slots);
    ASSERT(n->slots);
    for (size_t i = 0; i < n->known_n; i++)
        n->slots[slot_of(n, n->known[i].id)] = (uint32_t)i + 1;
}

static struct known *find(const struct imap_notify *n, const char *id)
{
    const uint32_t at = n->slots_n ? n->slots[slot_of(n, id)] : 0;
    return at ? &n->known[at - 1] : NULL;
}

static struct known *add(struct imap_notify *n, const char *id)
{
    if (n->known_n == n->known_room) {
        n->known_room = n->known_room ? n->known_room * 2 : 16;
        n->known = realloc(n->known, n->known_room * sizeof *n->known);
        ASSERT(n->known);
    }
    struct known *k = &n->known[n->known_n++];
    *k = (struct known){0};
    snprintf(k->id, sizeof k->id, "%s", id);
    if (n->known_n * 2 > n->slots_n)
        rehash(n, n->slots_n ? n->slots_n * 2 : 64);
    else
        n->slots[slot_of(n, id)] = (uint32_t)n->known_n;
    return k;
}

static void remember(struct known *k, const struct mdsq_folder *folder, const struct mdsq_status *status)
{
    if (!k->name || strcmp(k->name, folder->name) != 0) {
        free(k->name);
        k->name = strdup(folder->name);
        ASSERT(k->name);
    }
    k->attrs = folder->attrs;
    k->status = *status;
}

/* ---- what the client did itself ------------------------------------------------------------------------ */

static void note_own(struct imap_notify *n, enum own_kind kind, const char *from, const char *to, uint64_t messages)
{
    for (size_t i = 0; i < n->own_n && kind == OWN_MESSAGES; i++) {
        if (n->own[i].kind == kind && n->own[i].walk == n->walk && is_name(n->own[i].to, to)) {
            n->own[i].messages += messages;
            return;
        }
    }
    if (n->own_n == OWN_MAX)
        return; /* it is told, which does no harm */
    n->own[n->own_n++] = (struct own){kind, from ? strdup(from) : NULL, to ? strdup(to) : NULL, messages, n->walk};
}

/* Messages of the selected mailbox that need no FETCH. */
static void note_own_new(struct imap_notify *n, const struct mdsq_set *uids)
{
    struct mdsq_set *both = NULL;
    if (n->request.selected_fetch.n && mdsq_set_or(n->own_new ? n->own_new : uids, uids, &both, NULL) >= 0) {
        mdsq_set_free(&n->own_new);
        n->own_new = both;
    }
}

void imap_notify_own(struct imap_session *s, const struct imap_command *c, const struct mdsq_outcome *o)
{
    struct imap_notify *n = s->notify;
    const char *command = c->row->name;
    const char *to = c->audit_to ? c->audit_to : c->audit_name;
    if (!n)
        return;
    if (strcmp(command, "CREATE") == 0)
        note_own(n, OWN_NAME, NULL, c->audit_name, 0);
    else if (strcmp(command, "RENAME") == 0) /* INBOX stays: the other one is new */
        note_own(n, OWN_NAME, is_name(c->audit_name, "INBOX") ? NULL : c->audit_name, c->audit_to, 0);
    else if (strcmp(command, "DELETE") == 0)
        note_own(n, OWN_NAME, c->audit_name, NULL, 0);
    else if (strcmp(command, "SUBSCRIBE") == 0)
        note_own(n, OWN_SUBSCRIBED, NULL, c->audit_name, 0);
    else if (strcmp(command, "UNSUBSCRIBE") == 0)
        note_own(n, OWN_UNSUBSCRIBED, NULL, c->audit_name, 0);
    else if (o->dest && to && s->view && is_name(to, s->folder))
        note_own_new(n, o->dest);
    else if (o->dest && to)
        note_own(n, OWN_MESSAGES, NULL, to, mdsq_set_count(o->dest));
    else if (o->modseq_first && s->folder) /* CLOSE: the folder is another one when it is looked at */
        note_own(n, OWN_MESSAGES, NULL, s->folder, o->modseq_last - o->modseq_first + 1);
}

/* All that happened to the folder's messages since it was told was the client's doing. */
static bool is_own_status(const struct imap_notify *n, const char *name, uint64_t before, uint64_t now)
{
    uint64_t own = 0;
    for (size_t i = 0; i < n->own_n; i++)
        if (n->own[i].kind == OWN_MESSAGES && is_name(n->own[i].to, name))
            own += n->own[i].messages;
    return own && before + own == now;
}

static bool touches(const char *changed, const char *name)
{
    return changed && (is_name(changed, name) || is_below(changed, name));
}

/* What the client takes a name for, as it was the last to change it, its children and so its attributes. */
enum own_name { OWN_NOTHING, OWN_THERE, OWN_GONE, OWN_LEVEL };

static enum own_name own_name(const struct imap_notify *n, const char *name)
{
    for (size_t i = n->own_n; i-- > 0;) {
        const struct own *own = &n->own[i];
        if (own->kind != OWN_NAME)
            continue;
        if (touches(own->to, name))
            return OWN_THERE;
        if (touches(own->from, name))
            return is_name(own->from, name) ? OWN_GONE : OWN_LEVEL;
    }
    return OWN_NOTHING;
}

/* Whether the client takes a name for subscribed that it was told of so or not. */
static bool own_subscribed(const struct imap_notify *n, const char *name, bool told)
{
    for (size_t i = n->own_n; i-- > 0;)
        if ((n->own[i].kind == OWN_SUBSCRIBED || n->own[i].kind == OWN_UNSUBSCRIBED) && is_name(n->own[i].to, name))
            return n->own[i].kind == OWN_SUBSCRIBED;
    return told;
}

/* The name that a folder has for the client, which was told of another one and may have renamed it. */
static const char *own_renamed(const struct imap_notify *n, const char *told)
{
    for (size_t i = 0; i < n->own_n; i++)
        if (n->own[i].kind == OWN_NAME && n->own[i].from && n->own[i].to && is_name(n->own[i].from, told))
            told = n->own[i].to;
    return told;
}

/* ---- what is said --------------------------------------------------------------------------------------- */

static void say_status_of(struct imap_session *s, const char *name, const struct mdsq_status *status, bool messages,
                          bool uidnext, bool modseq, bool uidvalidity, bool unseen)
{
    struct imap_status_items items = {0};
    if (messages)
        imap_status_items_add(&items, "MESSAGES");
    if (uidnext)
        imap_status_items_add(&items, "UIDNEXT");
    if (uidvalidity)
        imap_status_items_add(&items, "UIDVALIDITY");
    if (modseq)
        imap_status_items_add(&items, "HIGHESTMODSEQ");
    if (unseen)
        imap_status_items_add(&items, "UNSEEN");
    if (items.n)
        imap_say_status(s, name, &items, status);
}

/* RFC 5465 3.1: with the STATUS indicator, before NOTIFY's own OK. */
static void say_first(struct imap_session *s, const char *name, unsigned events, const struct mdsq_status *status)
{
    say_status_of(s, name, status, events & (IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE), events & IMAP_NOTIFY_NEW,
                  events & IMAP_NOTIFY_FLAGS, events & (IMAP_NOTIFY_NEW | IMAP_NOTIFY_FLAGS), false);
}

/* RFC 5465 5.1-5.3: what messages do in another mailbox is told by its STATUS. */
static void say_messages(struct imap_session *s, const struct mdsq_folder *folder, unsigned events,
                         const struct mdsq_status *old, const struct mdsq_status *now)
{
    const bool condstore = s->enabled & IMAP_ENABLED_CONDSTORE;
    const bool replaced = old->uidvalidity != now->uidvalidity;
    const bool messages = replaced || old->messages != now->messages || old->uidnext != now->uidnext;
    const bool flags = events & IMAP_NOTIFY_FLAGS && (replaced || old->highestmodseq != now->highestmodseq);
    const bool unseen = flags && old->unseen != now->unseen;
    if (messages && events & (IMAP_NOTIFY_NEW | IMAP_NOTIFY_EXPUNGE))
        say_status_of(s, folder->name, now, true, true, condstore, replaced || flags, unseen);
    else if (flags && (condstore || unseen || replaced))
        say_status_of(s, folder->name, now, false, false, condstore, true, unseen);
}

/* A child of what was told as renamed moved along: nothing more is said (RFC 5465 5.4). */
static bool moved_along(const struct imap_notify *n, const char *from, const char *to)
{
    for (size_t i = 0; i < n->renames_n; i++) {
        const struct rename *r = &n->renames[i];
        if (is_below(from, r->from) && is_below(to, r->to) && strcmp(from + strlen(r->from), to + strlen(r->to)) == 0)
            return true;
    }
    return false;
}

static void note_rename(struct imap_notify *n, const char *from, const char *to)
{
    if (n->renames_n == RENAMES_MAX)
        return;
    n->renames[n->renames_n++] = (struct rename){strdup(from), strdup(to)};
}

static void say_name(struct imap_session *s, struct imap_notify *n, const struct known *k,
                     const struct mdsq_folder *folder, unsigned events)
{
    const char *old = own_renamed(n, k->name);
    const bool subscribed = folder->attrs & MDSQ_FOLDER_SUBSCRIBED;
    const bool was_subscribed = own_subscribed(n, folder->name, k->attrs & MDSQ_FOLDER_SUBSCRIBED);
    const bool attrs = (k->attrs ^ folder->attrs) & SAID_ATTRS && own_name(n, folder->name) == OWN_NOTHING;
    if (strcmp(old, folder->name) != 0) {
        if (events & IMAP_NOTIFY_NAME && !moved_along(n, k->name, folder->name))
            imap_say_folder(s, folder, true, old);
    } else if ((events & IMAP_NOTIFY_NAME && attrs) ||
               (events & IMAP_NOTIFY_SUBSCRIPTION && subscribed != was_subscribed)) {
        imap_say_folder(s, folder, true, NULL);
    }
    if (strcmp(k->name, folder->name) != 0)
        note_rename(n, k->name, folder->name);
}

static void look_at_new(struct imap_session *s, struct imap_notify *n, const struct mdsq_folder *folder,
                        unsigned events, const struct mdsq_status *status)
{
    const bool exists = !(folder->attrs & MDSQ_FOLDER_NONEXISTENT);
    if (n->first) {
        if (n->request.status && events & IMAP_NOTIFY_MESSAGES && !is_selected(s, status->mailbox_id))
            say_first(s, folder->name, events, status);
        return;
    }
    const bool own = own_name(n, folder->name) == OWN_THERE || (!exists && own_subscribed(n, folder->name, false));
    if (!own && (exists ? events & IMAP_NOTIFY_NAME : events & IMAP_NOTIFY_SUBSCRIPTION))
        imap_say_folder(s, folder, true, NULL);
    if (status->messages > 0 && !is_own_status(n, folder->name, 1, status->highestmodseq) &&
        events & IMAP_NOTIFY_MESSAGES && !is_selected(s, status->mailbox_id))
        say_messages(s, folder, events, &(struct mdsq_status){.uidvalidity = status->uidvalidity}, status);
}

static void look_at(struct imap_session *s, struct imap_notify *n, const struct mdsq_folder *folder,
                    const struct mdsq_status *status)
{
    struct known *k = find(n, status->mailbox_id);
    unsigned events = events_of(n, folder->name, folder->attrs);
    if (k) {
        const unsigned names = IMAP_NOTIFY_NAME | IMAP_NOTIFY_SUBSCRIPTION;
        /* Who is told of a name that stops to match is who was told of it before. */
        say_name(s, n, k, folder, events | (events_of(n, k->name, k->attrs) & names));
        if (events & IMAP_NOTIFY_MESSAGES && !is_selected(s, k->id) &&
            !is_own_status(n, folder->name, k->status.highestmodseq, status->highestmodseq))
            say_messages(s, folder, events, &k->status, status);
    } else {
        look_at_new(s, n, folder, events, status);
        k = add(n, status->mailbox_id);
    }
    remember(k, folder, status);
    k->walk = n->walk;
}

/* ---- the walk ------------------------------------------------------------------------------------------------ */

/* Where every group names its folders, only they are walked. "*" and "%" in a name match more: is_in looks again. */
static int begin_walk(struct imap_notify *n, struct mdsq_error *err)
{
    const char *patterns[PATTERNS_MAX];
    struct arena *arena = arena_new(0);
    size_t patterns_n = 0;
    bool all = false;
    for (size_t i = 0; i < n->request.groups_n && !all; i++) {
        const struct imap_notify_group *group = &n->request.groups[i];
        all = group->filter == IMAP_FILTER_PERSONAL || group->filter == IMAP_FILTER_SUBSCRIBED ||
              patterns_n + 2 * group->names_n > PATTERNS_MAX;
        for (size_t k = 0; k < group->names_n && !all; k++) {
            struct buf below = {0};
            patterns[patterns_n++] = group->names[k];
            buf_printf(&below, "%s/*", group->names[k]);
            if (group->filter == IMAP_FILTER_SUBTREE)
                patterns[patterns_n++] = arena_strndup(arena, below.p, below.n);
            buf_release(&below);
        }
    }
    if (all) {
        patterns[0] = "*";
        patterns_n = 1;
    }
    const struct mdsq_list_options options = {"", patterns, patterns_n, MDSQ_LIST_NONEXISTENT};
    int rc = mdsq_lister_new(&options, &n->lister, err);
    arena_free(&arena);
    n->walk++;
    n->sweep = 0;
    return rc;
}

static bool name_is_known(const struct imap_notify *n, const char *name)
{
    for (size_t i = 0; i < n->known_n; i++)
        if (n->known[i].walk == n->walk && strcmp(n->known[i].name, name) == 0)
            return true;
    return false;
}

/* What the walk did not meet is gone, or out of sight under another name. */
static bool sweep(struct imap_session *s, struct imap_notify *n)
{
    bool any = false;
    for (; n->sweep < n->known_n; n->sweep++) {
        struct known *k = &n->known[n->sweep];
        if (k->walk == n->walk)
            continue;
        if (imap_session_should_yield(s)) {
            if (any)
                rehash(n, n->slots_n);
            return false;
        }
        const struct mdsq_folder gone = {.name = own_renamed(n, k->name),
                                         .attrs = MDSQ_FOLDER_NOSELECT | MDSQ_FOLDER_NONEXISTENT};
        const unsigned wanted =
            k->attrs & MDSQ_FOLDER_NONEXISTENT ? (unsigned)IMAP_NOTIFY_SUBSCRIPTION : (unsigned)IMAP_NOTIFY_NAME;
        const enum own_name own = own_name(n, gone.name);
        const bool told = own == OWN_GONE || own == OWN_LEVEL ||
                          (k->attrs & MDSQ_FOLDER_NONEXISTENT && !own_subscribed(n, gone.name, true));
        if (events_of(n, k->name, k->attrs) & wanted && !told && !name_is_known(n, gone.name))
            imap_say_folder(s, &gone, true, NULL);
        free(k->name);
        *k = n->known[--n->known_n];
        n->sweep--;
        any = true;
    }
    if (any)
        rehash(n, n->slots_n);
    return true;
}

/* What the client made before this walk, which did not meet it: somebody else took it away. */
static void say_own_gone(struct imap_session *s, const struct imap_notify *n)
{
    for (size_t i = 0; i < n->own_n; i++) {
        const struct own *own = &n->own[i];
        const struct mdsq_folder gone = {.name = own->to, .attrs = MDSQ_FOLDER_NOSELECT | MDSQ_FOLDER_NONEXISTENT};
        if (own->kind == OWN_NAME && !own->from && own->walk < n->walk && own_name(n, own->to) == OWN_THERE &&
            events_of(n, own->to, 0) & IMAP_NOTIFY_NAME && !name_is_known(n, own->to))
            imap_say_folder(s, &gone, true, NULL);
    }
}

static enum imap_notify_step walk(struct imap_session *s, struct imap_notify *n)
{
    struct mdsq_error err = {0};
    struct mdsq_folder folder;
    struct mdsq_status status;
    int rc;
    if (n->request.groups_n == 0)
        return IMAP_NOTIFY_DONE;
    if (!imap_session_reader(s, &err) || (!n->lister && begin_walk(n, &err) < 0)) {
        log_to(LOG_LEVEL_WARN, "imap: cannot look for news of folders: code=%d error=%s", err.code, err.text);
        return IMAP_NOTIFY_FAILED;
    }
    while ((rc = mdsq_lister_next(n->lister, s->reader, &folder, &err)) > 0) {
        if (rc == 1) {
            mdsq_lister_status(n->lister, &status);
            look_at(s, n, &folder, &status);
        }
        if (n->known_n > IMAP_NOTIFY_FOLDERS_MAX)
            return IMAP_NOTIFY_OVERFLOW;
        if (imap_session_should_yield(s))
            return IMAP_NOTIFY_MORE;
    }
    if (rc < 0) {
        log_to(LOG_LEVEL_WARN, "imap: cannot look for news of folders: code=%d error=%s", err.code, err.text);
        mdsq_lister_free(&n->lister);
        return IMAP_NOTIFY_FAILED;
    }
    if (!sweep(s, n))
        return IMAP_NOTIFY_MORE;
    say_own_gone(s, n);
    mdsq_lister_free(&n->lister);
    forget_renames(n);
    forget_own(n, n->walk);
    n->first = false;
    return IMAP_NOTIFY_DONE;
}

enum imap_notify_step imap_notify_begin(struct imap_session *s, struct imap_notify *n)
{
    return walk(s, n);
}

/* ---- new messages of the selected mailbox ---------------------------------------------------------------------- */

void imap_notify_selected(struct imap_session *s)
{
    struct imap_notify *n = s->notify;
    if (!n)
        return;
    mdsq_set_free(&n->own_new);
    n->last_uid = s->view ? mdsq_view_uid(s->view, mdsq_view_count(s->view)) : 0;
}

/* Sequence numbers of what came after last_uid and from elsewhere. */
static int put_new(struct imap_session *s, const struct imap_notify *n, struct buf *text)
{
    struct mdsq_set *all = NULL, *others = NULL;
    uint64_t pos = 0;
    uint32_t first, last;
    char range[32];
    snprintf(range, sizeof range, "%u:%u", n->last_uid + 1, mdsq_view_uid(s->view, mdsq_view_count(s->view)));
    int rc = mdsq_set_parse(s->view, range, strlen(range), true, &all, NULL);
    if (rc >= 0 && n->own_new)
        rc = mdsq_set_minus(all, n->own_new, &others, NULL);
    while (rc >= 0 && mdsq_set_next_range(others ? others : all, s->view, &pos, &first, &last))
        buf_printf(text, "%s%u:%u", text->n ? "," : " ", first, last);
    mdsq_set_free(&all);
    mdsq_set_free(&others);
    return rc;
}

/* A FETCH as if the client had asked, but without an answer to it; true if it was begun. */
static bool fetch_new(struct imap_session *s, struct imap_notify *n)
{
    if (!s->view || !(n->request.selected_events & IMAP_NOTIFY_NEW))
        return false;
    const uint32_t count = mdsq_view_count(s->view);
    if (count == 0 || mdsq_view_uid(s->view, count) <= n->last_uid)
        return false;
    struct buf text = {0};
    int rc = n->request.selected_fetch.n ? put_new(s, n, &text) : 0;
    imap_notify_selected(s);
    if (rc < 0 || text.n == 0) {
        buf_release(&text);
        return false;
    }
    buf_append_byte(&text, ' ');
    buf_append_bytes(&text, n->request.selected_fetch);
    struct imap_command *c = imap_command_new(s, text.n);
    struct imap_cursor at = imap_cursor_of(arena_dup(c->arena, buf_bytes(&text)), c->arena);
    buf_release(&text);
    c->row = imap_row_find(BYTES_LIT("FETCH"));
    c->silent = true;
    if (!imap_parse_fetch(s, c, &at)) {
        imap_command_free(&c);
        return false;
    }
    s->command = c;
    return true;
}

/* ---- in force -------------------------------------------------------------------------------------------------- */

static bool step(struct imap_session *s)
{
    struct imap_notify *n = s->notify;
    switch (walk(s, n)) {
    case IMAP_NOTIFY_MORE: return false;
    case IMAP_NOTIFY_OVERFLOW:
        buf_append_str(&s->out, "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n");
        imap_notify_install(s, NULL);
        return true;
    case IMAP_NOTIFY_DONE:
    case IMAP_NOTIFY_FAILED: break;
    }
    /* During IDLE a line may have begun, which a command of ours would lose. */
    if (!imap_framer_is_empty(&s->framer))
        return true;
    return !fetch_new(s, n);
}

static void release(struct imap_session *s)
{
    struct imap_notify *n = s->notify;
    imap_notify_free(&n);
    s->notify = NULL;
    s->notify_step = NULL;
    s->notify_release = NULL;
}

void imap_notify_install(struct imap_session *s, struct imap_notify *n)
{
    if (s->notify)
        release(s);
    s->notify_selected = IMAP_NOTIFY_SELECTED_NONE;
    s->notify_flags_off = true;
    if (!n) {
        imap_session_unwatch(s);
        return;
    }
    s->notify = n;
    s->notify_step = step;
    s->notify_release = release;
    if (n->request.has_selected && n->request.selected_events) {
        s->notify_selected = n->request.delayed ? IMAP_NOTIFY_SELECTED_DELAYED : IMAP_NOTIFY_SELECTED;
        s->notify_flags_off = !(n->request.selected_events & IMAP_NOTIFY_FLAGS);
    }
    imap_notify_selected(s);
}

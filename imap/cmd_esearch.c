/*
 * cmd_esearch: ESEARCH (RFC 7377): one search over many mailboxes, one ESEARCH response for each that has matches.
 *
 * Mailboxes come from a lister that selects by attributes and patterns, and are searched one after the other, each in
 * slices over a view of its own; the selected one over the session's. What is made, renamed or deleted meanwhile may be
 * searched or not, nothing twice.
 */
#include "context.h"
#include "search_result.h"
#include "session_private.h"
#include "system.h"

#include "base/log.h"
#include "wire/writer.h"

#include <glib.h>

enum source {
    SOURCE_SELECTED,
    SOURCE_PERSONAL,
    SOURCE_SUBSCRIBED,
    SOURCE_SUBTREE,
    SOURCE_SUBTREE_ONE,
    SOURCE_MAILBOXES
};
enum { SOURCES_MAX = 32, NAMES_MAX = 1000 };

struct filter {
    enum source source;
    const char **names; /* of SUBTREE, SUBTREE_ONE, MAILBOXES */
    size_t names_n;
};

struct esearch_args {
    struct imap_search_program program;
    struct filter filters[SOURCES_MAX];
    size_t filters_n, names_n;
    bool has_selected, has_others;
    /* where it stands */
    struct mdsq_lister *lister;
    bool at_selected, began_selected; /* the session's view is searched, was searched */
    char selected[33];                /* MAILBOXID of what is selected, "": it is no source */
    struct mdsq_view *view;           /* of the mailbox at hand, if it is not the selected one */
    char *name;                       /* its name; NULL: none is at hand */
    struct mdsq_fuzzy *fuzzy;         /* of this mailbox; NULL: no key is FUZZY */
    struct mdsq_search *search;
    struct mdsq_set *result, *part;
    struct imap_progress progress; /* of all mailboxes */
    uint64_t at;
    uint32_t next, last; /* of the range whose scores are being told */
    bool any;
    uint64_t modseq;
};

enum { STAND_NEXT, STAND_SEARCH, STAND_RANK, STAND_MODSEQ, STAND_HEAD, STAND_NUMBERS, STAND_SCORES };

/* ---- grammar ------------------------------------------------------------------------------------ */

static bool add_name(struct imap_cursor *at, struct esearch_args *a, struct filter *f)
{
    const char *name;
    if (!imap_take_mailbox(at, &name))
        return false;
    if (++a->names_n > NAMES_MAX)
        return imap_cursor_fail(at, "too many mailboxes");
    /* Grown by doubling in the arena. */
    if ((f->names_n & (f->names_n - 1)) == 0) {
        const char **grown = arena_alloc(at->arena, (f->names_n ? f->names_n * 2 : 1) * sizeof *grown);
        if (!grown)
            return imap_cursor_fail(at, "command too large");
        if (f->names_n)
            memcpy(grown, f->names, f->names_n * sizeof *grown);
        f->names = grown;
    }
    f->names[f->names_n++] = name;
    return true;
}

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" */
static bool take_names(struct imap_cursor *at, struct esearch_args *a, struct filter *f)
{
    if (!imap_at_byte(at, '('))
        return add_name(at, a, f);
    at->p++;
    if (!add_name(at, a, f))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!add_name(at, a, f))
            return false;
    }
    return imap_take_byte(at, ')');
}

static bool take_filter(struct imap_cursor *at, struct esearch_args *a)
{
    static const struct {
        const char *name;
        enum source source;
        bool names;
    } known[] = {
        {"selected", SOURCE_SELECTED, false},  {"personal", SOURCE_PERSONAL, false},
        {"inboxes", SOURCE_PERSONAL, false},   {"subscribed", SOURCE_SUBSCRIBED, false},
        {"subtree", SOURCE_SUBTREE, true},     {"subtree-one", SOURCE_SUBTREE_ONE, true},
        {"mailboxes", SOURCE_MAILBOXES, true},
    };
    struct bytes name;
    size_t i = 0;
    if (!imap_take_atom(at, &name))
        return false;
    while (i < sizeof known / sizeof known[0] && !bytes_equal_nocase(name, bytes_str(known[i].name)))
        i++;
    if (i == sizeof known / sizeof known[0])
        return imap_cursor_fail(at, "unknown mailbox filter");
    if (a->filters_n == SOURCES_MAX)
        return imap_cursor_fail(at, "too many mailbox filters");
    struct filter *f = &a->filters[a->filters_n++];
    f->source = known[i].source;
    a->has_selected |= f->source == SOURCE_SELECTED;
    a->has_others |= f->source != SOURCE_SELECTED;
    return !known[i].names || (imap_take_sp(at) && take_names(at, a, f));
}

/* esearch-source-opts = "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"; no scope options are defined */
static bool take_sources(struct imap_cursor *at, struct esearch_args *a)
{
    if (!imap_at_word(at, "IN")) {
        a->has_selected = true;
        return true;
    }
    if (!imap_take_word(at, "IN") || !imap_take_sp(at) || !imap_take_byte(at, '(') || !take_filter(at, a))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (imap_at_byte(at, '('))
            return imap_cursor_fail(at, "unknown scope option");
        if (!take_filter(at, a))
            return false;
    }
    return imap_take_byte(at, ')') && imap_take_sp(at);
}

IMAP_PARSE(imap_parse_esearch)
{
    struct esearch_args *a = imap_command_args(c, sizeof *a);
    if (!a)
        return false;
    a->program.now_s = imap_system_time_s();
    a->program.saved = s->saved;
    a->program.recent = s->recent;
    if (!imap_take_sp(at) || !take_sources(at, a) || !imap_take_search_rest(at, s->limits.nesting, &a->program))
        return false;
    if (a->has_selected && !s->view)
        return imap_cursor_fail(at, "no mailbox is selected");
    if (a->has_others && a->program.returns & (IMAP_SEARCH_SAVE | IMAP_SEARCH_UPDATE))
        return imap_cursor_fail(at, "SAVE and UPDATE are for the selected mailbox alone");
    if (a->program.has_charset && s->enabled & IMAP_ENABLED_UTF8)
        return imap_cursor_fail(at, "CHARSET has no place after ENABLE UTF8=ACCEPT"); /* RFC 6855 section 3 */
    if (!a->program.has_return)
        a->program.returns = IMAP_SEARCH_ALL;
    a->progress.is_part = a->has_others;
    return true;
}

static void drop_mailbox(struct esearch_args *a)
{
    imap_progress_pass(&a->progress, a->search);
    mdsq_search_free(&a->search);
    mdsq_fuzzy_free(&a->fuzzy);
    mdsq_set_free(&a->result);
    mdsq_set_free(&a->part);
    mdsq_view_close(&a->view);
    g_free(a->name);
    a->name = NULL;
    a->at_selected = a->any = false;
    a->at = a->modseq = 0;
    a->next = 0;
}

void imap_release_esearch(struct imap_command *c)
{
    struct esearch_args *a = c->args;
    drop_mailbox(a);
    mdsq_lister_free(&a->lister);
}

/* ---- which mailboxes ------------------------------------------------------------------------------ */

static bool is_name(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || (bytes_equal_nocase(bytes_str(a), BYTES_LIT("INBOX")) &&
                                 bytes_equal_nocase(bytes_str(b), BYTES_LIT("INBOX")));
}

/* So many levels below; -1: not at or below it. */
static int levels_below(const char *name, const char *above)
{
    const size_t n = strlen(above);
    int levels = 1;
    if (is_name(name, above))
        return 0;
    if (strlen(name) <= n || name[n] != '/')
        return -1;
    char *begin = g_strndup(name, n);
    const bool below = is_name(begin, above);
    g_free(begin);
    for (const char *p = name + n + 1; *p; p++)
        levels += *p == '/';
    return below ? levels : -1;
}

static bool is_in(const struct filter *f, const struct mdsq_folder *folder)
{
    if (f->source == SOURCE_PERSONAL)
        return true;
    if (f->source == SOURCE_SUBSCRIBED)
        return folder->attrs & MDSQ_FOLDER_SUBSCRIBED;
    for (size_t i = 0; i < f->names_n; i++) {
        const int levels = levels_below(folder->name, f->names[i]);
        if (levels == 0 || (levels == 1 && f->source == SOURCE_SUBTREE_ONE) ||
            (levels > 0 && f->source == SOURCE_SUBTREE))
            return true;
    }
    return false;
}

static bool is_source(const struct esearch_args *a, const struct mdsq_folder *folder)
{
    if (folder->attrs & MDSQ_FOLDER_NOSELECT)
        return false;
    for (size_t i = 0; i < a->filters_n; i++)
        if (a->filters[i].source != SOURCE_SELECTED && is_in(&a->filters[i], folder))
            return true;
    return false;
}

/* A view of the folder that the lister gave; false: it is the selected one, or it is gone. */
static bool open_folder(struct imap_session *s, struct esearch_args *a, const struct mdsq_folder *folder)
{
    struct mdsq_error err = {0};
    struct mdsq_status status;
    mdsq_lister_status(a->lister, &status);
    if (a->selected[0] && strcmp(status.mailbox_id, a->selected) == 0)
        return false; /* it was searched already */
    if (mdsq_view_open(s->reader, folder->name, &a->view, &err) < 0)
        return false;
    a->name = g_strdup(folder->name);
    return true;
}

enum next { NEXT_FOUND, NEXT_AGAIN, NEXT_END, NEXT_FAILED };

static enum next next_mailbox(struct imap_session *s, struct esearch_args *a, struct mdsq_error *err)
{
    static const char *const all = "*";
    const struct mdsq_list_options options = {.reference = "", .patterns = &all, .patterns_n = 1};
    struct mdsq_folder folder;
    if (a->has_selected && !a->began_selected) {
        a->began_selected = a->at_selected = true;
        snprintf(a->selected, sizeof a->selected, "%s", s->selected_id);
        a->name = g_strdup(s->folder);
        return NEXT_FOUND;
    }
    if (!a->has_others)
        return NEXT_END;
    if (!imap_session_reader(s, err) || (!a->lister && mdsq_lister_new(&options, &a->lister, err) < 0))
        return NEXT_FAILED;
    for (;;) {
        const int rc = mdsq_lister_next(a->lister, s->reader, &folder, err);
        if (rc < 0)
            return NEXT_FAILED;
        if (rc == 0)
            return NEXT_END;
        if (rc == 1 && is_source(a, &folder) && open_folder(s, a, &folder))
            return NEXT_FOUND;
        if (imap_session_should_yield(s))
            return NEXT_AGAIN;
    }
}

/* ---- searching and telling ---------------------------------------------------------------------------- */

static const struct mdsq_view *view_of(const struct imap_session *s, const struct esearch_args *a)
{
    return a->at_selected ? s->view : a->view;
}

static const struct mdsq_key *key_of(const struct esearch_args *a)
{
    return a->fuzzy ? mdsq_fuzzy_key(a->fuzzy) : a->program.key;
}

/* NULL: all of the result. */
static int chosen(const struct esearch_args *a, struct mdsq_set **out, struct mdsq_error *err)
{
    return imap_search_chosen(a->program.returns, imap_set_first(a->result), mdsq_set_last(a->result), a->part, out,
                              err);
}

static int save(struct imap_session *s, const struct esearch_args *a, struct mdsq_error *err)
{
    struct mdsq_set *saved = NULL;
    int rc = chosen(a, &saved, err);
    if (rc >= 0 && !saved)
        rc = mdsq_set_in_view(a->result, s->view, &saved, err);
    mdsq_set_free(&s->saved);
    s->saved = saved;
    return rc;
}

/* 1 there is more to do, 0 the result is there, and what it is for besides being told is done. */
static int search(struct imap_session *s, struct imap_command *c, struct esearch_args *a, struct mdsq_error *err)
{
    const struct imap_partial *p = &a->program.partial;
    uint64_t unreadable = 0;
    int rc = imap_session_reader(s, err) ? 0 : -1;
    if (rc >= 0 && a->program.has_fuzzy && !a->fuzzy)
        rc = mdsq_fuzzy_new(a->program.key, &a->fuzzy, err);
    if (rc >= 0 && !a->search)
        rc = mdsq_search_new(view_of(s, a), key_of(a), &a->search, err);
    if (rc >= 0)
        rc = mdsq_search_run(a->search, s->reader, s->limits.slice_ms, err);
    if (rc != 0)
        return rc;
    rc = mdsq_search_take(a->search, &a->result, &unreadable, err);
    if (unreadable)
        log_to(LOG_LEVEL_WARN, "imap: search could not read items: items=%llu", (unsigned long long)unreadable);
    if (rc >= 0 && a->program.returns & IMAP_SEARCH_PARTIAL)
        rc = mdsq_set_part(a->result, p->first, p->last, p->from_end, &a->part, err);
    if (rc >= 0 && a->program.returns & IMAP_SEARCH_SAVE)
        rc = save(s, a, err);
    if (rc >= 0 && a->program.returns & IMAP_SEARCH_UPDATE) {
        const struct imap_context_request request = {.tag = c->tag, .uid = true, .key = key_of(a), .result = a->result};
        imap_context_begin(s, &request);
    }
    return rc;
}

/* The highest modseq of what is told. */
static int find_modseq(struct imap_session *s, struct esearch_args *a, struct mdsq_error *err)
{
    struct mdsq_set *some = NULL;
    int rc = chosen(a, &some, err);
    if (rc >= 0 && !imap_session_reader(s, err))
        rc = err->code;
    if (rc >= 0)
        rc = mdsq_view_highest(s->reader, view_of(s, a), some ? some : a->result, &a->modseq, err);
    mdsq_set_free(&some);
    return rc;
}

static int put_head(struct imap_session *s, const struct imap_command *c, const struct esearch_args *a,
                    struct mdsq_error *err)
{
    const unsigned returns = a->program.returns;
    struct mdsq_view_info info;
    if (!imap_session_reader(s, err) ||
        mdsq_view_get_info(s->reader, a->at_selected ? s->view : a->view, &info, err) < 0)
        return -1;
    buf_append_str(&s->out, "* ESEARCH (TAG ");
    imap_write_string(&s->out, c->tag);
    buf_append_str(&s->out, " MAILBOX ");
    imap_say_mailbox(s, a->name);
    buf_printf(&s->out, " UIDVALIDITY %u) UID", info.uidvalidity);
    if (returns & IMAP_SEARCH_MIN)
        buf_printf(&s->out, " MIN %u", imap_set_first(a->result));
    if (returns & IMAP_SEARCH_MAX)
        buf_printf(&s->out, " MAX %u", mdsq_set_last(a->result));
    if (returns & IMAP_SEARCH_COUNT) {
        buf_append_str(&s->out, " COUNT ");
        buf_append_u64_dec(&s->out, mdsq_set_count(a->result));
    }
    if (a->modseq) {
        buf_append_str(&s->out, " MODSEQ ");
        buf_append_u64_dec(&s->out, a->modseq);
    }
    if (returns & IMAP_SEARCH_ALL)
        buf_append_str(&s->out, " ALL ");
    if (returns & IMAP_SEARCH_PARTIAL) {
        buf_append_str(&s->out, " PARTIAL (");
        imap_put_partial(&a->program.partial, &s->out);
        buf_append_byte(&s->out, ' ');
    }
    return 0;
}

/* Likewise: the scores of what was listed, or would be. */
static bool put_scores(struct imap_session *s, struct esearch_args *a)
{
    enum { SCORES_A_LOOK = 256 };
    for (unsigned i = 1;; i++) {
        if (a->next == 0 && !mdsq_set_next_range(a->part ? a->part : a->result, NULL, &a->at, &a->next, &a->last))
            break;
        buf_printf(&s->out, a->any ? " %u" : "%u", mdsq_fuzzy_score(a->fuzzy, a->next));
        a->any = true;
        a->next = a->next == a->last ? 0 : a->next + 1;
        if (i % SCORES_A_LOOK == 0 && imap_session_should_yield(s))
            return false;
    }
    buf_append_str(&s->out, ")\r\n");
    return true;
}

/* False: call again in the next run. */
static bool put_numbers(struct imap_session *s, struct esearch_args *a)
{
    enum { RANGES_A_LOOK = 256 };
    const unsigned returns = a->program.returns;
    uint32_t first, last;
    if (returns & (IMAP_SEARCH_ALL | IMAP_SEARCH_PARTIAL)) {
        for (unsigned i = 1; mdsq_set_next_range(a->part ? a->part : a->result, NULL, &a->at, &first, &last); i++) {
            if (a->any)
                buf_append_byte(&s->out, ',');
            a->any = true;
            imap_write_range(&s->out, first, last);
            if (i % RANGES_A_LOOK == 0 && imap_session_should_yield(s))
                return false;
        }
    }
    if (returns & IMAP_SEARCH_PARTIAL)
        buf_append_str(&s->out, a->any ? ")" : "NIL)");
    a->any = false;
    a->at = 0;
    buf_append_str(&s->out, returns & IMAP_SEARCH_RELEVANCY ? " RELEVANCY (" : "\r\n");
    return true;
}

/* ---- the command ------------------------------------------------------------------------------------------ */

/* A mailbox that went while it was searched has no matches. */
static bool is_gone(const struct esearch_args *a, const struct mdsq_error *err)
{
    return !a->at_selected && err->code == MDSQ_ERR_NOTFOUND;
}

static enum imap_step fail(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err)
{
    const struct esearch_args *a = c->args;
    if (a->program.returns & IMAP_SEARCH_SAVE)
        mdsq_set_free(&s->saved);
    return imap_reply_error(s, c, err);
}

/* There is no response without matches, nor where nothing is to be said. */
static int after_search(const struct esearch_args *a)
{
    if (mdsq_set_count(a->result) == 0 || a->program.returns == IMAP_SEARCH_SAVE)
        return STAND_NEXT;
    return a->program.returns & IMAP_SEARCH_RELEVANCY ? STAND_RANK : STAND_MODSEQ;
}

/* One step of the mailbox at hand, or to the next one. DONE: there is an answer. */
static enum imap_step step_mailbox(struct imap_session *s, struct imap_command *c, struct esearch_args *a)
{
    struct mdsq_error err = {0};
    int rc = 0;
    switch (c->where) {
    case STAND_NEXT:
        drop_mailbox(a);
        switch (next_mailbox(s, a, &err)) {
        case NEXT_FOUND: c->where = STAND_SEARCH; return IMAP_STEP_MORE;
        case NEXT_AGAIN: return IMAP_STEP_MORE;
        case NEXT_END: return imap_reply(c, IMAP_OK, NULL, "ESEARCH completed");
        case NEXT_FAILED: return fail(s, c, &err);
        }
        return IMAP_STEP_MORE;
    case STAND_SEARCH:
        rc = search(s, c, a, &err);
        if (rc == 0)
            c->where = after_search(a);
        break;
    case STAND_RANK:
        rc = imap_session_reader(s, &err)
                 ? mdsq_fuzzy_rank(a->fuzzy, view_of(s, a), a->result, s->reader, s->limits.slice_ms, &err)
                 : -1;
        if (rc == 0)
            c->where = STAND_MODSEQ;
        break;
    case STAND_MODSEQ:
        rc = a->program.has_modseq ? find_modseq(s, a, &err) : 0;
        if (rc == 0)
            c->where = STAND_HEAD;
        break;
    case STAND_HEAD:
        rc = put_head(s, c, a, &err);
        if (rc == 0) {
            s->mid_response = true;
            c->where = STAND_NUMBERS;
        }
        break;
    default:
        if (c->where == STAND_NUMBERS && put_numbers(s, a))
            c->where = a->program.returns & IMAP_SEARCH_RELEVANCY ? STAND_SCORES : STAND_NEXT;
        else if (c->where == STAND_SCORES && put_scores(s, a))
            c->where = STAND_NEXT;
        s->mid_response = c->where != STAND_NEXT;
        break;
    }
    if (rc < 0 && is_gone(a, &err))
        c->where = STAND_NEXT;
    else if (rc < 0)
        return fail(s, c, &err);
    return IMAP_STEP_MORE;
}

IMAP_RUN(imap_cmd_esearch)
{
    struct esearch_args *a = c->args;
    enum imap_step step;
    if (a->program.bad_charset)
        return imap_reply(c, IMAP_NO, "BADCHARSET (UTF-8 US-ASCII)", "Charset is not supported");
    if (a->program.returns & IMAP_SEARCH_UPDATE && !a->began_selected && imap_context_has(s, c->tag))
        return imap_reply(c, IMAP_BAD, NULL, "Tag reuse");
    if (a->program.has_modseq)
        imap_enable_condstore(s);
    do
        step = step_mailbox(s, c, a);
    while (step == IMAP_STEP_MORE && !imap_session_should_yield(s));
    if (step == IMAP_STEP_MORE && !s->mid_response)
        imap_say_progress(s, c, &a->progress, a->search);
    return step;
}

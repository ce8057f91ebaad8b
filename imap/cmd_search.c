/*
 * cmd_search: SEARCH and UID SEARCH, with RETURN (RFC 4731) and "$" (RFC 5182); SORT and UID SORT (RFC 5256), with
 * RETURN (RFC 5267).
 *
 * The tree goes to query/, which searches in slices. A message that was expunged and not told yet keeps its number: it
 * matches no key that looks at it, but may match ALL, numbers and what is negated (RFC 2180 4.3 leaves that to the
 * server). The result is said in slices, as runs of numbers, so that it costs what its text costs.
 */
#include "session_private.h"

#include "base/log.h"
#include "search_key.h"
#include "system.h"
#include "wire/writer.h"

struct search_args {
    struct imap_search_program program;
    /* where it stands */
    struct mdsq_search *search;
    struct mdsq_set *result;
    struct mdsq_fetch *fetch; /* looks for the highest modseq */
    uint64_t modseq;          /* 0: not to be told */
    uint64_t at;              /* in result */
    uint32_t next, last;      /* the range being said */
    bool any;                 /* of ALL: something was said */
    uint64_t unreadable;
    /* SORT */
    bool sorts;
    struct imap_sort_order order;
    struct mdsq_sort *sort;
    uint32_t first_sorted;
};

enum { STAND_SEARCH, STAND_MODSEQ, STAND_SORT, STAND_HEAD, STAND_NUMBERS };

static struct search_args *new_args(const struct imap_session *s, struct imap_command *c)
{
    struct search_args *a = imap_command_args(c, sizeof *a);
    if (a) {
        a->program.now_s = imap_system_time_s();
        a->program.saved = s->saved;
        a->program.recent = s->recent;
    }
    return a;
}

IMAP_PARSE(imap_parse_sort)
{
    struct search_args *a = new_args(s, c);
    if (!a)
        return false;
    a->sorts = true;
    return imap_take_sort(at, s->limits.nesting, &a->order, &a->program);
}

IMAP_PARSE(imap_parse_search)
{
    struct search_args *a = new_args(s, c);
    if (!a || !imap_take_search(at, s->limits.nesting, &a->program))
        return false;
    if (a->program.has_charset && s->enabled & IMAP_ENABLED_UTF8)
        return imap_cursor_fail(at, "CHARSET has no place after ENABLE UTF8=ACCEPT"); /* RFC 6855 section 3 */
    return true;
}

void imap_release_search(struct imap_command *c)
{
    struct search_args *a = c->args;
    mdsq_fetch_free(&a->fetch);
    mdsq_search_free(&a->search);
    mdsq_sort_free(&a->sort);
    mdsq_set_free(&a->result);
}

/* RFC 5182 2.1: a search that was to be saved and fails leaves nothing saved. */
static void forget_saved(struct imap_session *s, const struct search_args *a)
{
    if (a->program.returns & IMAP_SEARCH_SAVE)
        mdsq_set_free(&s->saved);
}

static enum imap_step fail(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err)
{
    forget_saved(s, c->args);
    return imap_reply_error(s, c, err);
}

/* MORE, or DONE: the answer if it failed, else the result is there. */
static enum imap_step search(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (!a->search && mdsq_search_new(s->view, a->program.key, &a->search, &err) < 0)
        return fail(s, c, &err);
    if (!imap_session_reader(s, &err))
        return fail(s, c, &err);
    int rc = mdsq_search_run(a->search, s->reader, s->limits.slice_ms, &err);
    if (rc > 0)
        return IMAP_STEP_MORE;
    if (rc < 0 || mdsq_search_take(a->search, &a->result, &a->unreadable, &err) < 0)
        return fail(s, c, &err);
    if (a->unreadable)
        log_to(LOG_LEVEL_WARN, "imap: search could not read items: items=%llu", (unsigned long long)a->unreadable);
    return IMAP_STEP_DONE;
}

/* MORE, or DONE: the answer if it failed, else the order is there. */
static enum imap_step sort(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (!a->sort && mdsq_sort_new(s->view, a->result, a->order.by, a->order.n, &a->sort, &err) < 0)
        return fail(s, c, &err);
    if (!imap_session_reader(s, &err))
        return fail(s, c, &err);
    int rc = mdsq_sort_run(a->sort, s->reader, s->limits.slice_ms, &err);
    if (rc > 0)
        return IMAP_STEP_MORE;
    if (rc < 0)
        return fail(s, c, &err);
    if (!mdsq_sort_next(a->sort, &a->first_sorted))
        a->first_sorted = 0;
    c->where = STAND_HEAD;
    return IMAP_STEP_DONE;
}

/* ---- what is told of the result -------------------------------------------------------------- */

static uint32_t lowest(const struct mdsq_set *set)
{
    uint64_t at = 0;
    uint32_t first = 0, last = 0;
    return mdsq_set_next_range(set, NULL, &at, &first, &last) ? first : 0;
}

/* Only the first and the last are asked for: they are also what is saved and whose modseqs count (RFC 5182 2.1, RFC
 * 7162 3.1.5). */
static bool ends_only(const struct search_args *a)
{
    return a->program.returns & (IMAP_SEARCH_MIN | IMAP_SEARCH_MAX) &&
           !(a->program.returns & (IMAP_SEARCH_ALL | IMAP_SEARCH_COUNT));
}

/* The set that MIN and MAX leave. */
static int take_ends(const struct search_args *a, struct mdsq_set **out, struct mdsq_error *err)
{
    char text[32] = "";
    const uint32_t min = lowest(a->result), max = mdsq_set_last(a->result);
    const bool both = (a->program.returns & IMAP_SEARCH_MIN) && (a->program.returns & IMAP_SEARCH_MAX);
    if (min)
        snprintf(text, sizeof text, both ? "%u,%u" : "%u", a->program.returns & IMAP_SEARCH_MIN ? min : max, max);
    return mdsq_set_numbers(text, strlen(text), 0, out, err);
}

static int save(struct imap_session *s, const struct search_args *a, struct mdsq_error *err)
{
    struct mdsq_set *saved = NULL;
    int rc = ends_only(a) ? take_ends(a, &saved, err) : mdsq_set_in_view(a->result, s->view, &saved, err);
    mdsq_set_free(&s->saved);
    s->saved = saved;
    return rc;
}

static int begin_modseq(struct imap_session *s, struct search_args *a, struct mdsq_error *err)
{
    struct mdsq_set *ends = NULL;
    int rc = ends_only(a) ? take_ends(a, &ends, err) : 0;
    if (rc >= 0)
        rc = mdsq_fetch_new(s->reader, s->view, ends ? ends : a->result, MDSQ_FETCH_MODSEQ, &a->fetch, err);
    mdsq_set_free(&ends);
    return rc;
}

/* The highest modseq of the result; MORE or DONE. */
static enum imap_step find_modseq(struct imap_session *s, struct search_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_message m;
    int rc;
    if (!imap_session_reader(s, &err) || (!a->fetch && begin_modseq(s, a, &err) < 0))
        return IMAP_STEP_DONE;
    mdsq_fetch_rebind(a->fetch, s->reader);
    while ((rc = mdsq_fetch_next(a->fetch, &m, &err)) > 0 || rc == MDSQ_ERR_CORRUPT) {
        if (rc > 0 && !m.gone && m.modseq > a->modseq)
            a->modseq = m.modseq;
        if (imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    return IMAP_STEP_DONE;
}

/* A member as the client counts. */
static void put_number(struct imap_session *s, const struct imap_command *c, const char *word, uint32_t uid)
{
    buf_printf(&s->out, " %s %u", word, c->uid ? uid : mdsq_view_seq(s->view, uid));
}

static void put_modseq(struct imap_session *s, const struct search_args *a, const char *before, const char *after)
{
    if (a->modseq == 0)
        return;
    buf_append_str(&s->out, before);
    buf_append_u64_dec(&s->out, a->modseq);
    buf_append_str(&s->out, after);
}

static bool is_extended(const struct imap_session *s, const struct search_args *a)
{
    return a->program.has_return || (!a->sorts && s->enabled & IMAP_ENABLED_REV2); /* RFC 9051 6.4.4 */
}

static unsigned returns_of(const struct search_args *a)
{
    return a->program.has_return ? a->program.returns : (unsigned)IMAP_SEARCH_ALL;
}

static void put_head(struct imap_session *s, const struct imap_command *c, const struct search_args *a)
{
    const unsigned returns = returns_of(a);
    const uint64_t count = mdsq_set_count(a->result);
    if (!is_extended(s, a)) {
        buf_append_str(&s->out, a->sorts ? "* SORT" : "* SEARCH");
        return;
    }
    buf_append_str(&s->out, "* ESEARCH (TAG ");
    imap_write_string(&s->out, c->tag);
    buf_append_str(&s->out, c->uid ? ") UID" : ")");
    if (returns & IMAP_SEARCH_MIN && count)
        put_number(s, c, "MIN", a->sorts ? a->first_sorted : lowest(a->result));
    if (returns & IMAP_SEARCH_MAX && count)
        put_number(s, c, "MAX", a->sorts ? mdsq_sort_last(a->sort) : mdsq_set_last(a->result));
    if (returns & IMAP_SEARCH_COUNT) {
        buf_append_str(&s->out, " COUNT ");
        buf_append_u64_dec(&s->out, count);
    }
}

/* The next range of the result, or the next numbers of the order that make one. */
static bool take_range(struct imap_session *s, const struct imap_command *c, struct search_args *a)
{
    if (!a->sorts)
        return mdsq_set_next_range(a->result, c->uid ? NULL : s->view, &a->at, &a->next, &a->last);
    if (!a->first_sorted)
        return false;
    a->next = a->last = c->uid ? a->first_sorted : mdsq_view_seq(s->view, a->first_sorted);
    while (mdsq_sort_next(a->sort, &a->first_sorted)) {
        if ((c->uid ? a->first_sorted : mdsq_view_seq(s->view, a->first_sorted)) != a->last + 1)
            return true;
        a->last++;
    }
    a->first_sorted = 0;
    return true;
}

/* One more of the result as its form has it: a number, or a range. False: there is none. */
static bool put_next(struct imap_session *s, const struct imap_command *c, struct search_args *a)
{
    const bool extended = is_extended(s, a);
    if (a->next == 0 && !take_range(s, c, a))
        return false;
    buf_append_str(&s->out, !extended ? " " : a->any ? "," : " ALL ");
    a->any = true;
    if (extended) {
        imap_write_range(&s->out, a->next, a->last);
        a->next = 0;
    } else {
        buf_append_u64_dec(&s->out, a->next);
        a->next = a->next == a->last ? 0 : a->next + 1;
    }
    return true;
}

static enum imap_step put_numbers(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    enum { NUMBERS_A_LOOK = 256 }; /* the clock is asked now and then */
    bool more = !is_extended(s, a) || returns_of(a) & IMAP_SEARCH_ALL;
    while (more) {
        for (int i = 0; i < NUMBERS_A_LOOK && more; i++)
            more = put_next(s, c, a);
        if (more && imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    if (is_extended(s, a))
        put_modseq(s, a, " MODSEQ ", "");
    else
        put_modseq(s, a, " (MODSEQ ", ")");
    buf_append_str(&s->out, "\r\n");
    s->mid_response = false;
    return imap_reply(c, IMAP_OK, NULL, a->sorts ? "SORT completed" : "SEARCH completed");
}

IMAP_RUN(imap_cmd_search)
{
    struct search_args *a = c->args;
    struct mdsq_error err = {0};
    if (a->program.bad_charset) {
        forget_saved(s, a);
        return imap_reply(c, IMAP_NO, "BADCHARSET (UTF-8 US-ASCII)", "Charset is not supported");
    }
    if (c->where == STAND_SEARCH) {
        enum imap_step step = search(s, c, a);
        if (step != IMAP_STEP_DONE || !a->result)
            return step;
        if (a->program.has_modseq)
            imap_enable_condstore(s);
        if (a->program.returns & IMAP_SEARCH_SAVE && save(s, a, &err) < 0)
            return fail(s, c, &err);
        if (a->program.returns == IMAP_SEARCH_SAVE) /* nothing is told but that it was done */
            return imap_reply(c, IMAP_OK, NULL, "SEARCH completed, result saved");
        c->where = STAND_MODSEQ;
    }
    if (c->where == STAND_MODSEQ) {
        if (a->program.has_modseq && find_modseq(s, a) == IMAP_STEP_MORE)
            return IMAP_STEP_MORE;
        c->where = a->sorts ? STAND_SORT : STAND_HEAD;
    }
    if (c->where == STAND_SORT) {
        enum imap_step step = sort(s, c, a);
        if (step != IMAP_STEP_DONE || c->where == STAND_SORT)
            return step;
    }
    if (c->where == STAND_HEAD) {
        put_head(s, c, a);
        s->mid_response = true;
        c->where = STAND_NUMBERS;
    }
    return put_numbers(s, c, a);
}

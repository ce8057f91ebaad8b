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
#include "context.h"
#include "search_result.h"
#include "system.h"
#include "wire/writer.h"

struct search_args {
    struct imap_search_program program;
    /* where it stands */
    struct mdsq_fuzzy *fuzzy; /* NULL: no key is FUZZY */
    struct mdsq_search *search;
    struct mdsq_set *result;
    uint64_t modseq;     /* 0: not to be told */
    uint64_t at;         /* in result */
    uint32_t next, last; /* the range being said */
    bool any;            /* of ALL: something was said */
    uint64_t unreadable;
    struct mdsq_set *part; /* PARTIAL: the members of its range */
    uint32_t left;         /* of an order: so many are still to be said */
    struct imap_progress progress;
    /* SORT */
    bool sorts;
    struct imap_sort_order order;
    struct mdsq_sort *sort;
    uint32_t first_sorted;
};

enum { STAND_SEARCH, STAND_RANK, STAND_SORT, STAND_PART, STAND_KEEP, STAND_HEAD, STAND_NUMBERS, STAND_SCORES };

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
    mdsq_search_free(&a->search);
    mdsq_sort_free(&a->sort);
    mdsq_fuzzy_free(&a->fuzzy);
    mdsq_set_free(&a->result);
    mdsq_set_free(&a->part);
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

static const struct mdsq_key *key_of(const struct search_args *a)
{
    return a->fuzzy ? mdsq_fuzzy_key(a->fuzzy) : a->program.key;
}

void imap_session_explain(struct imap_session *s, imap_explain_fn *fn, void *arg)
{
    s->explain = fn;
    s->explain_arg = arg;
}

/* MORE, or DONE: the answer if it failed, else the result is there. */
static enum imap_step search(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (a->program.has_fuzzy && !a->fuzzy && mdsq_fuzzy_new(a->program.key, &a->fuzzy, &err) < 0)
        return fail(s, c, &err);
    if (!a->search && mdsq_search_new(s->view, key_of(a), &a->search, &err) < 0)
        return fail(s, c, &err);
    if (!imap_session_reader(s, &err))
        return fail(s, c, &err);
    int rc = mdsq_search_run(a->search, s->reader, s->limits.slice_ms, &err);
    if (rc > 0) {
        imap_say_progress(s, c, &a->progress, a->search);
        return IMAP_STEP_MORE;
    }
    if (rc >= 0 && s->explain)
        mdsq_search_explain(a->search, s->explain, s->explain_arg);
    if (rc < 0 || mdsq_search_take(a->search, &a->result, &a->unreadable, &err) < 0)
        return fail(s, c, &err);
    if (a->unreadable)
        log_to(LOG_LEVEL_WARN, "imap: search could not read items: items=%llu", (unsigned long long)a->unreadable);
    return IMAP_STEP_DONE;
}

static bool wants_scores(const struct search_args *a)
{
    return a->fuzzy && (a->order.by_relevance || a->program.returns & IMAP_SEARCH_RELEVANCY);
}

/* MORE, or DONE: the answer if it failed, else each member of the result has its score. */
static enum imap_step rank(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (!imap_session_reader(s, &err))
        return fail(s, c, &err);
    int rc = mdsq_fuzzy_rank(a->fuzzy, s->view, a->result, s->reader, s->limits.slice_ms, &err);
    if (rc > 0) {
        imap_say_progress(s, c, &a->progress, NULL);
        return IMAP_STEP_MORE;
    }
    if (rc < 0)
        return fail(s, c, &err);
    c->where = a->sorts ? STAND_SORT : STAND_PART;
    return IMAP_STEP_DONE;
}

/* MORE, or DONE: the answer if it failed, else the order is there. */
static enum imap_step sort(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (!a->sort && mdsq_sort_new(s->view, a->result, a->order.by, a->order.n, &a->sort, &err) < 0)
        return fail(s, c, &err);
    mdsq_sort_by_relevance(a->sort, a->fuzzy);
    if (!imap_session_reader(s, &err))
        return fail(s, c, &err);
    int rc = mdsq_sort_run(a->sort, s->reader, s->limits.slice_ms, &err);
    if (rc > 0) {
        imap_say_progress(s, c, &a->progress, NULL);
        return IMAP_STEP_MORE;
    }
    if (rc < 0)
        return fail(s, c, &err);
    if (!mdsq_sort_next(a->sort, &a->first_sorted))
        a->first_sorted = 0;
    c->where = STAND_PART;
    return IMAP_STEP_DONE;
}

/* ---- what is told of the result -------------------------------------------------------------- */

static uint32_t first_of(const struct search_args *a)
{
    return a->sorts ? a->first_sorted : imap_set_first(a->result);
}

static uint32_t last_of(const struct search_args *a)
{
    return a->sorts ? mdsq_sort_last(a->sort) : mdsq_set_last(a->result);
}

/* Places of an order, from 0, that a part has: [*from, *to). */
static void part_places(const struct search_args *a, uint32_t *from, uint32_t *to)
{
    const uint32_t n = (uint32_t)mdsq_set_count(a->result);
    const struct imap_partial *p = &a->program.partial;
    const uint32_t high = p->last < n ? p->last : n, low = p->first <= high ? p->first - 1 : high;
    *from = p->from_end ? n - high : low;
    *to = p->from_end ? n - low : high;
}

/* The members of the part; of an order, its next number is the part's first. */
static int take_part(struct search_args *a, struct mdsq_error *err)
{
    const struct imap_partial *p = &a->program.partial;
    uint32_t from, to;
    if (!a->sorts)
        return mdsq_set_part(a->result, p->first, p->last, p->from_end, &a->part, err);
    part_places(a, &from, &to);
    uint32_t *uids = malloc(((size_t)(to - from) + 1) * sizeof *uids);
    ASSERT(uids);
    mdsq_sort_seek(a->sort, from);
    for (uint32_t i = 0; i < to - from; i++)
        (void)mdsq_sort_next(a->sort, &uids[i]);
    int rc = mdsq_set_of(uids, to - from, &a->part, err);
    free(uids);
    return rc;
}

static int save(struct imap_session *s, const struct search_args *a, struct mdsq_error *err)
{
    struct mdsq_set *saved = NULL;
    int rc = imap_search_chosen(a->program.returns, first_of(a), last_of(a), a->part, &saved, err);
    if (rc >= 0 && !saved)
        rc = mdsq_set_in_view(a->result, s->view, &saved, err);
    mdsq_set_free(&s->saved);
    s->saved = saved;
    return rc;
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

/* What is told of the result: DONE, and the answer if it failed. */
static enum imap_step take_told(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    struct mdsq_set *chosen = NULL;
    int rc = a->program.returns & IMAP_SEARCH_PARTIAL ? take_part(a, &err) : 0;
    if (rc >= 0 && a->program.has_modseq) {
        rc = imap_search_chosen(a->program.returns, first_of(a), last_of(a), a->part, &chosen, &err);
        if (rc >= 0 && !imap_session_reader(s, &err))
            rc = err.code;
        if (rc >= 0)
            rc = mdsq_view_highest(s->reader, s->view, chosen ? chosen : a->result, &a->modseq, &err);
        mdsq_set_free(&chosen);
    }
    if (rc < 0)
        return fail(s, c, &err);
    c->where = STAND_KEEP;
    return IMAP_STEP_DONE;
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
        put_number(s, c, "MIN", first_of(a));
    if (returns & IMAP_SEARCH_MAX && count)
        put_number(s, c, "MAX", last_of(a));
    if (returns & IMAP_SEARCH_COUNT) {
        buf_append_str(&s->out, " COUNT ");
        buf_append_u64_dec(&s->out, count);
    }
}

/* From here on numbers are said: of the part, or of all. */
static void begin_numbers(struct search_args *a)
{
    uint32_t from = 0, to = (uint32_t)mdsq_set_count(a->result);
    if (!a->sorts)
        return;
    if (a->part)
        part_places(a, &from, &to);
    mdsq_sort_seek(a->sort, from);
    a->left = to - from;
    if (a->left == 0 || !mdsq_sort_next(a->sort, &a->first_sorted))
        a->first_sorted = 0;
}

/* The next range of the result, or the next numbers of the order that make one. */
static bool take_range(struct imap_session *s, const struct imap_command *c, struct search_args *a)
{
    if (!a->sorts)
        return mdsq_set_next_range(a->part ? a->part : a->result, c->uid ? NULL : s->view, &a->at, &a->next, &a->last);
    if (!a->first_sorted)
        return false;
    a->next = a->last = c->uid ? a->first_sorted : mdsq_view_seq(s->view, a->first_sorted);
    while (--a->left && mdsq_sort_next(a->sort, &a->first_sorted)) {
        if ((c->uid ? a->first_sorted : mdsq_view_seq(s->view, a->first_sorted)) != a->last + 1)
            return true;
        a->last++;
    }
    a->first_sorted = 0;
    return true;
}

static void put_before_first(struct imap_session *s, const struct search_args *a)
{
    if (!(returns_of(a) & IMAP_SEARCH_PARTIAL)) {
        buf_append_str(&s->out, " ALL ");
        return;
    }
    buf_append_str(&s->out, " PARTIAL (");
    imap_put_partial(&a->program.partial, &s->out);
    buf_append_byte(&s->out, ' ');
}

/* One more number of the result; of an order without looking for ranges. False: there is none. */
static bool put_number_plain(struct imap_session *s, const struct imap_command *c, struct search_args *a)
{
    uint32_t number;
    if (a->sorts) {
        if (!a->first_sorted)
            return false;
        number = c->uid ? a->first_sorted : mdsq_view_seq(s->view, a->first_sorted);
        if (--a->left == 0 || !mdsq_sort_next(a->sort, &a->first_sorted))
            a->first_sorted = 0;
    } else {
        if (a->next == 0 && !take_range(s, c, a))
            return false;
        number = a->next;
        a->next = a->next == a->last ? 0 : a->next + 1;
    }
    buf_append_byte(&s->out, ' ');
    buf_append_u64_dec(&s->out, number);
    return true;
}

/* One more range of the result. False: there is none. */
static bool put_range(struct imap_session *s, const struct imap_command *c, struct search_args *a)
{
    if (!take_range(s, c, a))
        return false;
    if (a->any)
        buf_append_byte(&s->out, ',');
    else
        put_before_first(s, a);
    a->any = true;
    imap_write_range(&s->out, a->next, a->last);
    a->next = 0;
    return true;
}

static void end_part(struct imap_session *s, const struct search_args *a)
{
    if (!(returns_of(a) & IMAP_SEARCH_PARTIAL))
        return;
    if (!a->any) {
        put_before_first(s, a);
        buf_append_str(&s->out, "NIL");
    }
    buf_append_byte(&s->out, ')');
}

static enum imap_step finish(struct imap_session *s, struct imap_command *c, const struct search_args *a)
{
    if (is_extended(s, a))
        put_modseq(s, a, " MODSEQ ", "");
    else
        put_modseq(s, a, " (MODSEQ ", ")");
    buf_append_str(&s->out, "\r\n");
    s->mid_response = false;
    return imap_reply(c, IMAP_OK, NULL, a->sorts ? "SORT completed" : "SEARCH completed");
}

/* The scores of what was listed, or would be, in its order. */
static enum imap_step put_scores(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    enum { SCORES_A_LOOK = 256 };
    for (unsigned i = 1;; i++) {
        uint32_t uid = a->next;
        if (!a->sorts && a->next == 0 &&
            !mdsq_set_next_range(a->part ? a->part : a->result, NULL, &a->at, &a->next, &a->last))
            break;
        if (a->sorts && a->left == 0)
            break;
        if (a->sorts) {
            uid = a->first_sorted;
            if (--a->left && !mdsq_sort_next(a->sort, &a->first_sorted))
                a->left = 0;
        } else {
            uid = a->next;
            a->next = a->next == a->last ? 0 : a->next + 1;
        }
        buf_printf(&s->out, a->any ? " %u" : "%u", mdsq_fuzzy_score(a->fuzzy, uid));
        a->any = true;
        if (i % SCORES_A_LOOK == 0 && imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    buf_append_byte(&s->out, ')');
    return finish(s, c, a);
}

static enum imap_step put_numbers(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    enum { NUMBERS_A_LOOK = 256 }; /* the clock is asked now and then */
    const bool extended = is_extended(s, a);
    bool more = !extended || returns_of(a) & (IMAP_SEARCH_ALL | IMAP_SEARCH_PARTIAL);
    while (more) {
        for (int i = 0; i < NUMBERS_A_LOOK && more; i++)
            more = extended ? put_range(s, c, a) : put_number_plain(s, c, a);
        if (more && imap_session_should_yield(s))
            return IMAP_STEP_MORE;
    }
    end_part(s, a);
    if (!(returns_of(a) & IMAP_SEARCH_RELEVANCY))
        return finish(s, c, a);
    buf_append_str(&s->out, " RELEVANCY (");
    a->any = false;
    a->at = 0;
    begin_numbers(a);
    c->where = STAND_SCORES;
    return IMAP_STEP_MORE;
}

/* What the result is for besides being said: it is saved, and its changes are told from now on. */
static enum imap_step keep(struct imap_session *s, struct imap_command *c, struct search_args *a)
{
    struct mdsq_error err = {0};
    if (a->program.returns & IMAP_SEARCH_SAVE && save(s, a, &err) < 0)
        return fail(s, c, &err);
    if (a->program.returns & IMAP_SEARCH_UPDATE) {
        const struct imap_context_request request = {.tag = c->tag,
                                                     .uid = c->uid,
                                                     .key = key_of(a),
                                                     .order = a->sorts ? &a->order : NULL,
                                                     .sort = a->sort,
                                                     .result = a->result};
        imap_context_begin(s, &request);
    }
    c->where = STAND_HEAD;
    if (a->program.returns == IMAP_SEARCH_SAVE) /* nothing is told but that it was done */
        return imap_reply(c, IMAP_OK, NULL, "SEARCH completed, result saved");
    return IMAP_STEP_MORE;
}

IMAP_RUN(imap_cmd_search)
{
    struct search_args *a = c->args;
    enum imap_step step;
    if (a->program.bad_charset) {
        forget_saved(s, a);
        return imap_reply(c, IMAP_NO, "BADCHARSET (UTF-8 US-ASCII)", "Charset is not supported");
    }
    if (c->where == STAND_SEARCH) {
        if (a->program.returns & IMAP_SEARCH_UPDATE && imap_context_has(s, c->tag))
            return imap_reply(c, IMAP_BAD, NULL, "Tag reuse");
        step = search(s, c, a);
        if (step != IMAP_STEP_DONE || !a->result)
            return step;
        if (a->program.has_modseq)
            imap_enable_condstore(s);
        c->where = wants_scores(a) ? STAND_RANK : a->sorts ? STAND_SORT : STAND_PART;
    }
    if (c->where == STAND_RANK) {
        step = rank(s, c, a);
        if (step != IMAP_STEP_DONE || c->where == STAND_RANK)
            return step;
    }
    if (c->where == STAND_SORT) {
        step = sort(s, c, a);
        if (step != IMAP_STEP_DONE || c->where == STAND_SORT)
            return step;
    }
    if (c->where == STAND_PART) {
        step = take_told(s, c, a);
        if (c->where == STAND_PART)
            return step;
    }
    if (c->where == STAND_KEEP && (step = keep(s, c, a)) == IMAP_STEP_DONE)
        return step;
    if (c->where == STAND_HEAD) {
        put_head(s, c, a);
        begin_numbers(a);
        s->mid_response = true;
        c->where = STAND_NUMBERS;
    }
    return c->where == STAND_SCORES ? put_scores(s, c, a) : put_numbers(s, c, a);
}

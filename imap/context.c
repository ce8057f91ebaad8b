/* context: see context.h. */
#include "context.h"

#include "base/log.h"
#include "wire/writer.h"

struct imap_context {
    struct imap_context *next;
    /* for life */
    struct arena *arena;
    struct bytes tag;
    bool uid, sorts;
    struct imap_sort_order order;
    const struct mdsq_key *key;
    struct mdsq_set **sets; /* of the key */
    size_t sets_n;
    /* what the client knows */
    struct mdsq_set *result;
    uint32_t *sorted; /* the same in order, of a SORT */
    uint32_t sorted_n;
    uint64_t modseq; /* changes up to here were looked at */
    uint64_t tick;   /* of the session when they were */
    /* while changes are looked at */
    uint64_t work_modseq, work_tick; /* those of its begin */
    struct mdsq_set *changed, *now;
    struct mdsq_search *search;
    struct mdsq_sort *sort;
};

/* ---- life ------------------------------------------------------------------------------------ */

static void drop_work(struct imap_context *x)
{
    mdsq_set_free(&x->changed);
    mdsq_set_free(&x->now);
    mdsq_search_free(&x->search);
    mdsq_sort_free(&x->sort);
}

static void context_free(struct imap_context *x)
{
    drop_work(x);
    for (size_t i = 0; i < x->sets_n; i++)
        mdsq_set_free(&x->sets[i]);
    free(x->sets);
    mdsq_set_free(&x->result);
    free(x->sorted);
    arena_free(&x->arena);
    free(x);
}

void imap_contexts_free(struct imap_session *s)
{
    while (s->contexts) {
        struct imap_context *x = s->contexts;
        s->contexts = x->next;
        context_free(x);
    }
}

static struct imap_context **find(struct imap_session *s, struct bytes tag)
{
    struct imap_context **at = &s->contexts;
    while (*at && !bytes_equal((*at)->tag, tag))
        at = &(*at)->next;
    return at;
}

bool imap_context_has(const struct imap_session *s, struct bytes tag)
{
    const struct imap_context *x = s->contexts;
    while (x && !bytes_equal(x->tag, tag))
        x = x->next;
    return x != NULL;
}

void imap_context_cancel(struct imap_session *s, struct bytes tag)
{
    struct imap_context **at = find(s, tag), *x = *at;
    if (!x)
        return;
    *at = x->next;
    context_free(x);
}

static void say_no_update(struct imap_session *s, struct bytes tag, const char *why)
{
    buf_append_str(&s->out, "* NO [NOUPDATE \"");
    buf_append_bytes(&s->out, tag); /* a tag has nothing that a quoted string must escape */
    buf_printf(&s->out, "\"] %s\r\n", why);
}

static void keep_order(struct imap_context *x, struct mdsq_sort *sort, uint64_t n)
{
    free(x->sorted);
    x->sorted = malloc(((size_t)n + 1) * sizeof *x->sorted);
    ASSERT(x->sorted);
    x->sorted_n = 0;
    mdsq_sort_seek(sort, 0);
    while (x->sorted_n < n && mdsq_sort_next(sort, &x->sorted[x->sorted_n]))
        x->sorted_n++;
}

static bool is_too_much(const struct imap_session *s, const struct imap_context_request *request)
{
    unsigned n = 0;
    for (const struct imap_context *x = s->contexts; x; x = x->next)
        n++;
    if (request->order && request->order->by_relevance) /* scores are those of one result */
        return true;
    return n >= IMAP_CONTEXTS_MAX || (request->order && mdsq_set_count(request->result) > IMAP_CONTEXT_SORTED_MAX);
}

void imap_context_begin(struct imap_session *s, const struct imap_context_request *request)
{
    struct mdsq_error err = {0};
    if (is_too_much(s, request)) {
        say_no_update(s, request->tag, request->order ? "Too many contexts, or too large" : "Too many contexts");
        return;
    }
    struct imap_context *x = calloc(1, sizeof *x);
    ASSERT(x);
    x->arena = arena_new(0);
    x->tag = arena_dup(x->arena, request->tag);
    x->uid = request->uid;
    x->sorts = request->order != NULL;
    if (x->sorts)
        x->order = *request->order;
    x->modseq = mdsq_view_modseq(s->view);
    if (imap_session_reader(s, &err))
        x->key = imap_search_key_keep(x->arena, request->key, s->view, s->reader, &x->sets, &x->sets_n, &err);
    if (!x->key || mdsq_set_in_view(request->result, s->view, &x->result, &err) < 0) {
        log_to(LOG_LEVEL_WARN, "imap: cannot keep a context: code=%d error=%s", err.code, err.text);
        context_free(x);
        say_no_update(s, request->tag, "It cannot be kept up to date");
        return;
    }
    if (x->sorts)
        keep_order(x, request->sort, mdsq_set_count(x->result));
    x->next = s->contexts;
    s->contexts = x;
}

/* ---- telling --------------------------------------------------------------------------------------- */

static void put_head(struct imap_session *s, const struct imap_context *x, const char *item)
{
    buf_append_str(&s->out, "* ESEARCH (TAG ");
    imap_write_string(&s->out, x->tag);
    buf_printf(&s->out, x->uid ? ") UID %s (" : ") %s (", item);
}

/* Numbers as they come, neighbours that go up as ranges; and pairs of a place and numbers. */
struct pairs {
    struct buf *out;
    bool any;
    uint32_t first, last; /* the range at hand; 0: none */
};

static void put_range(struct pairs *p)
{
    if (p->first)
        imap_write_range(p->out, p->first, p->last);
    p->first = 0;
}

static void put_place(struct pairs *p, uint32_t place)
{
    put_range(p);
    buf_printf(p->out, p->any ? " %u " : "%u ", place);
    p->any = true;
}

/* begins: the first of its place. */
static void put_number(struct pairs *p, uint32_t number, bool begins)
{
    if (p->first && number == p->last + 1) {
        p->last = number;
        return;
    }
    put_range(p);
    if (!begins)
        buf_append_byte(p->out, ',');
    p->first = p->last = number;
}

static uint32_t number_of(const struct imap_session *s, const struct imap_context *x, uint32_t uid)
{
    return x->uid ? uid : mdsq_view_seq(s->view, uid);
}

static void say_set(struct imap_session *s, const struct imap_context *x, const char *item, const struct mdsq_set *set)
{
    uint64_t at = 0;
    uint32_t first, last;
    bool any = false;
    if (mdsq_set_count(set) == 0)
        return;
    put_head(s, x, item);
    buf_append_str(&s->out, "0 ");
    for (; mdsq_set_next_range(set, x->uid ? NULL : s->view, &at, &first, &last); any = true) {
        if (any)
            buf_append_byte(&s->out, ',');
        imap_write_range(&s->out, first, last);
    }
    buf_append_str(&s->out, ")\r\n");
}

/* The number that a message of the order is taken away by: of one that is gone, its former one. */
static uint32_t former_number(const struct imap_session *s, const struct imap_context *x, const struct imap_gone *gone,
                              size_t gone_n, uint32_t uid)
{
    size_t low = 0, high = gone_n; /* UIDs go down */
    if (x->uid)
        return uid;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (gone[middle].uid > uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < gone_n && gone[low].uid == uid ? gone[low].seq : mdsq_view_seq(s->view, uid);
}

/* Those of the order that are not in `now`: from the last place to the first, so that places stay what they are. */
static void say_sorted_gone(struct imap_session *s, struct imap_context *x, const struct mdsq_set *now,
                            const struct imap_gone *gone, size_t gone_n)
{
    struct pairs pairs = {.out = &s->out};
    uint32_t kept = 0;
    for (uint32_t end = x->sorted_n; end > 0;) {
        uint32_t begin = end;
        while (begin > 0 && !mdsq_set_has(now, x->sorted[begin - 1]))
            begin--;
        if (begin < end) {
            if (!pairs.any)
                put_head(s, x, "REMOVEFROM");
            put_place(&pairs, begin + 1);
            for (uint32_t i = begin; i < end; i++)
                put_number(&pairs, former_number(s, x, gone, gone_n, x->sorted[i]), i == begin);
        }
        end = begin > 0 ? begin - 1 : 0;
    }
    put_range(&pairs);
    if (pairs.any)
        buf_append_str(&s->out, ")\r\n");
    for (uint32_t i = 0; i < x->sorted_n; i++)
        if (mdsq_set_has(now, x->sorted[i]))
            x->sorted[kept++] = x->sorted[i];
    x->sorted_n = kept;
}

/* Those of the new order that were not in the result, from the first place to the last. */
static void say_sorted_new(struct imap_session *s, struct imap_context *x)
{
    struct pairs pairs = {.out = &s->out};
    bool before = false;
    keep_order(x, x->sort, mdsq_set_count(x->now));
    for (uint32_t i = 0; i < x->sorted_n; i++) {
        const bool is_new = !mdsq_set_has(x->result, x->sorted[i]);
        if (is_new) {
            if (!pairs.any)
                put_head(s, x, "ADDTO");
            if (!before)
                put_place(&pairs, i + 1);
            put_number(&pairs, number_of(s, x, x->sorted[i]), !before);
        }
        before = is_new;
    }
    put_range(&pairs);
    if (pairs.any)
        buf_append_str(&s->out, ")\r\n");
}

/* ---- what is expunged ----------------------------------------------------------------------------------- */

static void say_gone_numbers(struct imap_session *s, const struct imap_context *x, const struct imap_gone *gone,
                             size_t n)
{
    struct pairs pairs = {.out = &s->out};
    bool any = false;
    for (size_t i = n; i > 0; i--) {
        if (!mdsq_set_has(x->result, gone[i - 1].uid))
            continue;
        if (!any) {
            put_head(s, x, "REMOVEFROM");
            put_place(&pairs, 0);
        }
        put_number(&pairs, x->uid ? gone[i - 1].uid : gone[i - 1].seq, !any);
        any = true;
    }
    put_range(&pairs);
    if (any)
        buf_append_str(&s->out, ")\r\n");
}

void imap_contexts_say_gone(struct imap_session *s, const struct buf *gone)
{
    const struct imap_gone *v = (const struct imap_gone *)(const void *)gone->p;
    const size_t n = gone->n / sizeof *v;
    struct mdsq_error err = {0};
    for (struct imap_context *x = n ? s->contexts : NULL; x; x = x->next) {
        struct mdsq_set *left = NULL;
        if (mdsq_set_in_view(x->result, s->view, &left, &err) < 0)
            continue;
        if (x->sorts)
            say_sorted_gone(s, x, left, v, n);
        else
            say_gone_numbers(s, x, v, n);
        drop_work(x);
        mdsq_set_free(&x->result);
        x->result = left;
    }
}

/* ---- what was changed ------------------------------------------------------------------------------------ */

static int begin_search(struct imap_session *s, struct imap_context *x, struct mdsq_error *err)
{
    struct mdsq_set *changed = NULL, *expunged = NULL;
    bool complete;
    x->work_modseq = mdsq_view_modseq(s->view);
    x->work_tick = s->tick;
    int rc = mdsq_view_changes(s->reader, s->view, x->modseq, &changed, &expunged, &complete, err);
    if (rc >= 0)
        rc = mdsq_set_in_view(changed, s->view, &x->changed, err);
    if (rc >= 0) {
        const struct mdsq_key both[] = {{.kind = MDSQ_KEY_SET, .set = x->changed}, *x->key};
        const struct mdsq_key key = {.kind = MDSQ_KEY_AND, .children = both, .children_n = 2};
        rc = mdsq_search_new(s->view, &key, &x->search, err);
    }
    mdsq_set_free(&changed);
    mdsq_set_free(&expunged);
    return rc;
}

/* The result as it is now, from what was found among the changed ones. */
static int find_now(struct imap_context *x, struct mdsq_error *err)
{
    struct mdsq_set *found = NULL, *left = NULL;
    int rc = mdsq_search_take(x->search, &found, NULL, err);
    if (rc >= 0)
        rc = mdsq_set_minus(x->result, x->changed, &left, err);
    if (rc >= 0)
        rc = mdsq_set_or(left, found, &x->now, err);
    mdsq_set_free(&found);
    mdsq_set_free(&left);
    return rc;
}

static int say_difference(struct imap_session *s, struct imap_context *x, struct mdsq_error *err)
{
    struct mdsq_set *gone = NULL, *come = NULL;
    int rc = mdsq_set_minus(x->result, x->now, &gone, err);
    if (rc >= 0)
        rc = mdsq_set_minus(x->now, x->result, &come, err);
    if (rc >= 0 && !x->sorts) {
        say_set(s, x, "REMOVEFROM", gone);
        say_set(s, x, "ADDTO", come);
    } else if (rc >= 0) {
        say_sorted_gone(s, x, x->now, NULL, 0);
        say_sorted_new(s, x);
    }
    mdsq_set_free(&gone);
    mdsq_set_free(&come);
    return rc;
}

static bool is_same(const struct imap_context *x)
{
    return mdsq_set_count(x->changed) == 0;
}

/* 1 the time is up, 0 it is done. */
static int look(struct imap_session *s, struct imap_context *x, struct mdsq_error *err)
{
    int rc = imap_session_reader(s, err) ? 0 : -1;
    if (rc >= 0 && !x->search)
        rc = begin_search(s, x, err);
    if (rc >= 0 && !x->now && !is_same(x)) {
        rc = mdsq_search_run(x->search, s->reader, s->limits.slice_ms, err);
        if (rc == 0)
            rc = find_now(x, err);
    }
    if (rc == 0 && x->sorts && x->now) {
        if (mdsq_set_count(x->now) > IMAP_CONTEXT_SORTED_MAX) {
            *err = (struct mdsq_error){.code = MDSQ_ERR_LIMIT, .text = "the result has become too large"};
            return -1;
        }
        if (!x->sort)
            rc = mdsq_sort_new(s->view, x->now, x->order.by, x->order.n, &x->sort, err);
        if (rc == 0)
            rc = mdsq_sort_run(x->sort, s->reader, s->limits.slice_ms, err);
    }
    if (rc == 0 && x->now)
        rc = say_difference(s, x, err);
    return rc;
}

/* What came after the work had begun is looked at next time. */
static void take_over(struct imap_context *x)
{
    if (x->now) {
        mdsq_set_free(&x->result);
        x->result = x->now;
        x->now = NULL;
    }
    drop_work(x);
    x->modseq = x->work_modseq;
    x->tick = x->work_tick;
}

bool imap_contexts_say_changed(struct imap_session *s)
{
    for (struct imap_context *x = s->contexts, *next; x; x = next) {
        struct mdsq_error err = {0};
        next = x->next;
        if (x->tick == s->tick && !x->search)
            continue;
        const int rc = look(s, x, &err);
        if (rc > 0)
            return false;
        if (rc < 0) {
            log_to(LOG_LEVEL_WARN, "imap: cannot keep a context up to date: code=%d error=%s", err.code, err.text);
            say_no_update(s, x->tag, "It is not kept up to date any more");
            imap_context_cancel(s, x->tag);
            continue;
        }
        take_over(x);
        if (imap_session_should_yield(s))
            return next == NULL;
    }
    return true;
}

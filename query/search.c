/* SEARCH in slices: see search.h. */
#include "search.h"

#include "change.h"

#include <glib.h>
#include <time.h>

#define UIDS_BETWEEN_CLOCKS 65536u

struct mdsq_search {
    uint32_t folder;
    struct query_uids *all;
    struct query_tree tree;
    enum query_step step;
    roaring_bitmap_t *result; /* matched so far */
    roaring_bitmap_t *open;   /* what this step has to look at */
    uint64_t next_uid;        /* where in it */
    uint32_t next_column;     /* leaf of the tree, in STEP_COLUMNS */
    uint64_t unreadable;
    uint64_t read, to_read; /* items: so far, in all */
    struct query_index index;
    bool index_is_done;
    struct query_cost cost;
};

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int mdsq_search_new(const struct mdsq_view *view, const struct mdsq_key *key, struct mdsq_search **out,
                    struct mdsq_error *err)
{
    struct error e;
    struct query_tree tree;

    query_error_init(&e);
    *out = NULL;

    const int rc = query_tree_copy(key, view->uids, &tree, &e);

    if (rc < 0)
        return query_result(rc, &e, err);

    struct mdsq_search *s = g_new0(struct mdsq_search, 1);

    s->folder = view->folder;
    s->all = query_uids_ref(view->uids);
    s->tree = tree;
    *out = s;
    return MDSQ_OK;
}

static void drop(roaring_bitmap_t **b)
{
    if (*b)
        roaring_bitmap_free(*b);
    *b = NULL;
}

void mdsq_search_free(struct mdsq_search **search)
{
    struct mdsq_search *s = *search;

    *search = NULL;
    if (s == NULL)
        return;
    query_index_release(&s->index);
    query_tree_release(&s->tree);
    query_uids_unref(&s->all);
    drop(&s->result);
    drop(&s->open);
    g_free(s);
}

/* What is decided goes to the result; what is not is open for the next step. */
static void narrow(struct mdsq_search *s)
{
    drop(&s->result);
    drop(&s->open);
    query_tree_bounds(&s->tree, s->all, &s->result, &s->open);
    s->next_uid = 0;
    if (roaring_bitmap_is_empty(s->open))
        s->step = QUERY_STEP_DONE;
    else if (s->next_column < s->tree.columns.n)
        s->step = QUERY_STEP_COLUMNS;
    else
        s->step = s->index_is_done ? QUERY_STEP_TEXT : QUERY_STEP_INDEX;
    if (s->step != QUERY_STEP_DONE && !s->cost.was[s->step]) {
        s->cost.open[s->step] = roaring_bitmap_get_cardinality(s->open);
        s->cost.was[s->step] = true;
    }
    if (s->step == QUERY_STEP_TEXT)
        s->to_read = s->cost.open[s->step];
}

static bool open_iterator(const struct mdsq_search *s, roaring_uint32_iterator_t *it)
{
    roaring_init_iterator(s->open, it);
    return s->next_uid <= UINT32_MAX && it->has_value &&
           roaring_move_uint32_iterator_equalorlarger(it, (uint32_t)s->next_uid);
}

/* One column, of what those before it left open. 1 the time is up, 0 the column is done. */
static int run_column(struct mdsq_search *s, struct mdsq_reader *reader, int64_t deadline, struct error *err)
{
    struct query_node *node = s->tree.columns.v[s->next_column];
    roaring_bitmap_t *among = NULL;
    int rc = mds_set_load(reader->txn, s->folder, MDS_SET_EXISTS, &among, err);

    if (rc < 0)
        return rc;
    roaring_bitmap_and_inplace(among, s->open);

    const uint64_t end = roaring_bitmap_is_empty(among) ? 0 : (uint64_t)roaring_bitmap_maximum(among) + 1;

    while (rc == BASE_OK && s->next_uid < end) {
        const uint64_t to =
            query_column_is_whole(node, reader->txn) ? UINT32_MAX : (s->next_uid | (UIDS_BETWEEN_CLOCKS - 1));

        rc = query_column_see(node, reader->txn, s->folder, among, (uint32_t)s->next_uid, (uint32_t)to, err);
        s->next_uid = to + 1;
        if (rc == BASE_OK && s->next_uid < end && now_ms() >= deadline)
            rc = 1;
    }
    roaring_bitmap_free(among);
    if (rc == BASE_OK) {
        roaring_bitmap_and_inplace(node->set, s->all->bitmap);
        node->is_known = true;
        s->next_column++;
    }
    return rc;
}

static int run_text(struct mdsq_search *s, struct mdsq_reader *reader, int64_t deadline, struct error *err)
{
    roaring_uint32_iterator_t it;
    struct query_text text;
    int result = query_text_init(&text, reader, err);

    for (bool more = result >= 0 && open_iterator(s, &it); more; more = roaring_advance_uint32_iterator(&it)) {
        const uint32_t uid = it.current_value;
        struct mds_message m;
        bool yes = false, unreadable = false;
        int rc = mds_message_next(reader->txn, s->folder, uid, &m, err);

        if (rc > 0 && m.uid == uid)
            rc = query_text_match(&text, &s->tree, uid, m.item, &yes, &unreadable, err);
        s->next_uid = (uint64_t)uid + 1;
        s->unreadable += unreadable;
        s->read++;
        if (yes)
            roaring_bitmap_add(s->result, uid);
        if (rc < 0 || now_ms() >= deadline) {
            result = rc < 0 ? rc : 1;
            break;
        }
    }
    query_text_release(&text);
    return result;
}

/* 1 the time is up, 0 the step is done. */
static int run_index(struct mdsq_search *s, struct mdsq_reader *reader, int64_t deadline, struct error *err)
{
    int rc;

    do {
        bool look = false;

        rc = query_index_next(&s->index, &s->tree, reader, s->folder, s->open, &look, err);
        s->index_is_done = rc == 0;
        if (rc >= 0 && look)
            narrow(s);
    } while (rc > 0 && s->step == QUERY_STEP_INDEX && now_ms() < deadline);
    if (rc > 0 && s->step == QUERY_STEP_INDEX)
        return 1;
    query_index_end(&s->index);
    if (s->step == QUERY_STEP_INDEX)
        narrow(s);
    return rc < 0 ? rc : 0;
}

static int run_step(struct mdsq_search *s, struct mdsq_reader *reader, int64_t deadline, struct error *err)
{
    int rc = BASE_OK;

    switch (s->step) {
    case QUERY_STEP_SETS:
        s->cost.was[s->step] = true;
        s->cost.open[s->step] = s->all->count;
        rc = query_tree_load_sets(&s->tree, reader->txn, s->folder, s->all, err);
        if (rc >= 0)
            narrow(s);
        return rc;
    case QUERY_STEP_COLUMNS:
        rc = run_column(s, reader, deadline, err);
        if (rc == 0)
            narrow(s);
        return rc;
    case QUERY_STEP_INDEX: return run_index(s, reader, deadline, err);
    case QUERY_STEP_TEXT:
        rc = run_text(s, reader, deadline, err);
        if (rc == 0)
            s->step = QUERY_STEP_DONE;
        return rc;
    case QUERY_STEP_DONE: break;
    }
    return rc;
}

static int run(struct mdsq_search *s, struct mdsq_reader *reader, unsigned budget_ms, struct error *err)
{
    const int64_t deadline = now_ms() + budget_ms;
    int rc = BASE_OK;

    while (s->step != QUERY_STEP_DONE && rc == BASE_OK) {
        const enum query_step step = s->step;
        const int64_t began = (int64_t)query_os_monotonic_us();

        rc = run_step(s, reader, deadline, err);
        s->cost.us[step] += (int64_t)query_os_monotonic_us() - began;
    }
    return rc;
}

int mdsq_search_run(struct mdsq_search *search, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    return query_result(run(search, reader, budget_ms, &e), &e, err);
}

int mdsq_search_take(struct mdsq_search *search, struct mdsq_set **out, uint64_t *unreadable_out,
                     struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *out = NULL;
    if (search->step != QUERY_STEP_DONE || search->result == NULL)
        return query_result(error_set(&e, BASE_ERR_USAGE, 0, "the search has not run to its end"), &e, err);
    roaring_bitmap_run_optimize(search->result);
    *out = query_set_take(search->result);
    search->result = NULL;
    if (unreadable_out)
        *unreadable_out = search->unreadable;
    return MDSQ_OK;
}

void mdsq_search_progress(const struct mdsq_search *search, uint64_t *done_out, uint64_t *total_out)
{
    *done_out = search->read;
    *total_out = search->to_read;
}

void mdsq_search_explain(const struct mdsq_search *search, mdsq_line_fn *line, void *arg)
{
    struct buf text = {0};

    query_plan_write(&search->tree, &search->index, &search->cost, search->unreadable, &text);
    for (struct bytes rest = buf_bytes(&text); rest.n;) {
        const uint8_t *lf = memchr(rest.p, '\n', rest.n);
        const size_t n = lf ? (size_t)(lf - rest.p) : rest.n;
        char *one = g_strndup((const char *)rest.p, n);

        line(one, arg);
        g_free(one);
        rest = bytes_slice(rest, n + 1, SIZE_MAX);
    }
    buf_release(&text);
}

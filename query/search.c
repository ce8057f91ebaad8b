/* SEARCH in slices: see search.h. */
#include "search.h"

#include <glib.h>
#include <time.h>

#define ROWS_BETWEEN_CLOCKS 256

enum step { STEP_SETS, STEP_ROWS, STEP_TEXT, STEP_DONE };

struct mdsq_search {
    uint32_t folder;
    struct query_uids *all;
    struct query_tree tree;
    enum step step;
    roaring_bitmap_t *result; /* matched so far */
    roaring_bitmap_t *open;   /* what this step has to look at */
    uint64_t next_uid;        /* where in it */
    uint64_t unreadable;
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
    query_tree_release(&s->tree);
    query_uids_unref(&s->all);
    drop(&s->result);
    drop(&s->open);
    g_free(s);
}

/* What is decided goes to the result; what is not is open for the next step. */
static void narrow(struct mdsq_search *s, bool rows_known, enum step next)
{
    roaring_bitmap_t *maybe = NULL;

    drop(&s->result);
    drop(&s->open);
    query_tree_bounds(&s->tree, s->all, rows_known, &s->result, &maybe);
    s->open = roaring_bitmap_andnot(maybe, s->result);
    roaring_bitmap_free(maybe);
    s->next_uid = 0;
    s->step = roaring_bitmap_is_empty(s->open) ? STEP_DONE : next;
}

static bool open_iterator(const struct mdsq_search *s, roaring_uint32_iterator_t *it)
{
    roaring_init_iterator(s->open, it);
    return s->next_uid <= UINT32_MAX && it->has_value &&
           roaring_move_uint32_iterator_equalorlarger(it, (uint32_t)s->next_uid);
}

/* 1 the time is up, 0 the step is done. */
static int run_rows(struct mdsq_search *s, struct mdsq_reader *reader, int64_t deadline, struct error *err)
{
    roaring_uint32_iterator_t it;
    unsigned rows = 0;

    for (bool more = open_iterator(s, &it); more; more = roaring_advance_uint32_iterator(&it)) {
        struct mds_message m;
        int rc = mds_message_next(reader->txn, s->folder, it.current_value, &m, err);

        if (rc > 0 && m.uid == it.current_value)
            rc = query_tree_see_row(&s->tree, reader->txn, &m, err);
        if (rc < 0)
            return rc;
        s->next_uid = (uint64_t)it.current_value + 1;
        if (++rows % ROWS_BETWEEN_CLOCKS == 0 && now_ms() >= deadline)
            return 1;
    }
    query_tree_flush_rows(&s->tree);
    return 0;
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

static int run(struct mdsq_search *s, struct mdsq_reader *reader, unsigned budget_ms, struct error *err)
{
    const int64_t deadline = now_ms() + budget_ms;
    int rc = BASE_OK;

    while (s->step != STEP_DONE && rc == BASE_OK) {
        switch (s->step) {
        case STEP_SETS:
            rc = query_tree_load_sets(&s->tree, reader->txn, s->folder, s->all, err);
            if (rc >= 0)
                narrow(s, s->tree.rows.n == 0, s->tree.rows.n ? STEP_ROWS : STEP_TEXT);
            break;
        case STEP_ROWS:
            rc = run_rows(s, reader, deadline, err);
            if (rc == 0)
                narrow(s, true, STEP_TEXT);
            break;
        case STEP_TEXT:
            rc = run_text(s, reader, deadline, err);
            if (rc == 0)
                s->step = STEP_DONE;
            break;
        case STEP_DONE: break;
        }
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
    if (search->step != STEP_DONE || search->result == NULL)
        return query_result(error_set(&e, BASE_ERR_USAGE, 0, "the search has not run to its end"), &e, err);
    roaring_bitmap_run_optimize(search->result);
    *out = query_set_take(search->result);
    search->result = NULL;
    if (unreadable_out)
        *unreadable_out = search->unreadable;
    return MDSQ_OK;
}

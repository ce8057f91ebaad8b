/*
 * fake_search: searches of fake_query. What one was asked is kept as text; it finds what is in the first set of the
 * tree, or all.
 */
#include "fake_clock.h"
#include "fake_private.h"

#include <stdio.h>
#include <stdlib.h>

struct mdsq_search {
    const struct mdsq_view *view;
    unsigned slices, done;
};

static void describe(const struct mdsq_key *k, char **to)
{
    static const char *const names[] = {
        "ALL",   "AND",     "OR",          "NOT",     "FLAG",       "KEYWORD", "SEQ",     "UID",    "BEFORE",
        "ON",    "SINCE",   "SENTBEFORE",  "SENTON",  "SENTSINCE",  "LARGER",  "SMALLER", "HEADER", "FROM",
        "TO",    "CC",      "BCC",         "SUBJECT", "BODY",       "TEXT",    "MODSEQ",  "NONE",   "SET",
        "OLDER", "YOUNGER", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE", "EMAILID", "THREADID"};
    *to += sprintf(*to, "%s", names[k->kind]);
    if (k->number)
        *to += sprintf(*to, "=%llu", (unsigned long long)k->number);
    if (k->field.p)
        *to += sprintf(*to, "<%.*s>", (int)k->field.n, (const char *)k->field.p);
    if (k->text.p)
        *to += sprintf(*to, "'%.*s'", (int)k->text.n, (const char *)k->text.p);
    if (k->children_n == 0)
        return;
    for (size_t i = 0; i < k->children_n; i++) {
        *to += sprintf(*to, i ? " " : "(");
        describe(&k->children[i], to);
    }
    *to += sprintf(*to, ")");
}

static bool all_sets_valid(const struct mdsq_view *view, const struct mdsq_key *k)
{
    struct mdsq_set *set = NULL;
    if (k->kind == MDSQ_KEY_SEQ_SET) {
        int rc = mdsq_set_parse(view, (const char *)k->text.p, k->text.n, false, &set, NULL);
        mdsq_set_free(&set);
        return rc == 0;
    }
    for (size_t i = 0; i < k->children_n; i++)
        if (!all_sets_valid(view, &k->children[i]))
            return false;
    return true;
}

int mdsq_search_new(const struct mdsq_view *view, const struct mdsq_key *key, struct mdsq_search **out,
                    struct mdsq_error *err)
{
    char *to = fake.last_key.text;
    describe(key, &to);
    *out = NULL;
    if (!all_sets_valid(view, key))
        return fake_fail(err, MDSQ_ERR_USAGE);
    struct mdsq_search *s = calloc(1, sizeof *s);
    *s = (struct mdsq_search){view, fake.search_slices, 0};
    fake.objects++;
    *out = s;
    return 0;
}

int mdsq_search_run(struct mdsq_search *search, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)budget_ms;
    reader->unused++;
    if (fake.search_result)
        return fake_fail(err, fake.search_result);
    fake_clock_ahead_ms += fake.search_ms;
    search->done++;
    return search->slices > 0 && search->slices--;
}

void mdsq_search_progress(const struct mdsq_search *search, uint64_t *done_out, uint64_t *total_out)
{
    *done_out = search->done;
    *total_out = (uint64_t)search->done + search->slices;
}

void mdsq_search_explain(const struct mdsq_search *search, mdsq_line_fn *line, void *arg)
{
    (void)search;
    line("explained", arg);
}

int mdsq_search_take(struct mdsq_search *search, struct mdsq_set **out, uint64_t *unreadable_out,
                     struct mdsq_error *err)
{
    bool none = strcmp(fake.last_key.text, "NONE") == 0;
    if (unreadable_out)
        *unreadable_out = 0;
    return mdsq_set_parse(search->view, none ? "99999" : "1:*", none ? 5 : 3, true, out, err);
}

void mdsq_search_free(struct mdsq_search **search)
{
    FREE(search)
}

/* Highest UID first, whatever is asked for. */
struct mdsq_sort {
    struct mdsq_set *set;
    uint32_t next;
    unsigned slices;
};

int mdsq_sort_new(const struct mdsq_view *view, const struct mdsq_set *set, const struct mdsq_sort_criterion *by,
                  size_t by_n, struct mdsq_sort **out, struct mdsq_error *err)
{
    (void)by;
    (void)by_n;
    *out = calloc(1, sizeof **out);
    (*out)->slices = fake.order_slices;
    fake.objects++;
    return mdsq_set_in_view(set, view, &(*out)->set, err);
}

void mdsq_sort_by_relevance(struct mdsq_sort *sort, const struct mdsq_fuzzy *fuzzy)
{
    (void)sort, (void)fuzzy;
}

/* A message's score is its UID. */
struct mdsq_fuzzy {
    const struct mdsq_key *key;
    unsigned slices;
};

int mdsq_fuzzy_new(const struct mdsq_key *key, struct mdsq_fuzzy **out, struct mdsq_error *err)
{
    (void)err;
    *out = calloc(1, sizeof **out);
    fake.objects++;
    (*out)->key = key->kind == MDSQ_KEY_FUZZY ? key->children : key;
    (*out)->slices = 2 + fake.order_slices;
    return 0;
}

const struct mdsq_key *mdsq_fuzzy_key(const struct mdsq_fuzzy *fuzzy)
{
    return fuzzy->key;
}

int mdsq_fuzzy_rank(struct mdsq_fuzzy *fuzzy, const struct mdsq_view *view, const struct mdsq_set *result,
                    struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)view, (void)result, (void)reader, (void)budget_ms, (void)err;
    fake_clock_ahead_ms += fake.search_ms;
    return fuzzy->slices > 0 && fuzzy->slices--;
}

unsigned mdsq_fuzzy_score(const struct mdsq_fuzzy *fuzzy, uint32_t uid)
{
    (void)fuzzy;
    return uid;
}

void mdsq_fuzzy_free(struct mdsq_fuzzy **fuzzy)
{
    FREE(fuzzy)
}

int mdsq_sort_run(struct mdsq_sort *sort, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)reader;
    (void)budget_ms;
    (void)err;
    fake_clock_ahead_ms += fake.search_ms;
    sort->next = mdsq_set_last(sort->set);
    return sort->slices > 0 && sort->slices--;
}

bool mdsq_sort_next(struct mdsq_sort *sort, uint32_t *uid_out)
{
    while (sort->next && !mdsq_set_has(sort->set, sort->next))
        sort->next--;
    *uid_out = sort->next;
    return sort->next && sort->next--;
}

void mdsq_sort_seek(struct mdsq_sort *sort, uint32_t place)
{
    uint32_t uid;
    sort->next = mdsq_set_last(sort->set);
    while (place-- && mdsq_sort_next(sort, &uid))
        ;
}

uint32_t mdsq_sort_last(const struct mdsq_sort *sort)
{
    uint64_t at = 0;
    uint32_t first = 0, last = 0;
    return mdsq_set_next_range(sort->set, NULL, &at, &first, &last) ? first : 0;
}

void mdsq_sort_free(struct mdsq_sort **sort)
{
    if (*sort)
        mdsq_set_free(&(*sort)->set);
    FREE(sort)
}

/* ((1 2)(3 ...)): a message that is not there, then members in pairs, whatever is asked for. */
struct mdsq_thread {
    struct mdsq_set *set;
    uint32_t next, last, nth;
    unsigned slices;
};

int mdsq_thread_new(const struct mdsq_view *view, const struct mdsq_set *set, enum mdsq_thread_algorithm algorithm,
                    struct mdsq_thread **out, struct mdsq_error *err)
{
    (void)algorithm;
    *out = calloc(1, sizeof **out);
    (*out)->slices = 1 + fake.order_slices;
    fake.objects++;
    return mdsq_set_in_view(set, view, &(*out)->set, err);
}

int mdsq_thread_run(struct mdsq_thread *thread, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)reader;
    (void)budget_ms;
    if (fake.thread_result)
        return fake_fail(err, fake.thread_result);
    fake_clock_ahead_ms += fake.search_ms;
    if (thread->slices > 0 && thread->slices--)
        return 1;
    thread->last = mdsq_set_last(thread->set);
    return 0;
}

bool mdsq_thread_next(struct mdsq_thread *thread, struct mdsq_thread_member *out)
{
    *out = (struct mdsq_thread_member){.opens = true};
    if (thread->last == 0)
        return false;
    if (thread->nth++ == 0)
        return true;
    while (thread->next <= thread->last && !mdsq_set_has(thread->set, thread->next))
        thread->next++;
    if (thread->next > thread->last)
        return false;
    *out = (struct mdsq_thread_member){
        .uid = thread->next++, .depth = 1 + (thread->nth & 1), .opens = (thread->nth & 1) == 0};
    const bool is_last = out->uid == thread->last;
    out->closes = (!out->opens || is_last) + is_last;
    return true;
}

void mdsq_thread_free(struct mdsq_thread **thread)
{
    if (*thread)
        mdsq_set_free(&(*thread)->set);
    FREE(thread)
}

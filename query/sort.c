/*
 * SORT (RFC 5256, RFC 5957): columns of each message are collected in slices, then merged in slices, bottom up. Texts
 * are compared as i;unicode-casemap has them. What is equal in all criteria stays in the order of the view. Numbers
 * alone: sort_numbers.c.
 *
 * A message takes sizeof (struct row) and its casemapped texts, TEXT_MAX of each at most: a subject of 30 bytes makes
 * 100 MB of a million.
 */
#include "change.h"
#include "sort_numbers.h"

#include <glib.h>

#define TEXT_MAX            512u
#define ROWS_BETWEEN_CLOCKS 64u

struct row {
    uint32_t uid;
    uint32_t text;      /* into texts: for each text criterion u16 and as many bytes */
    int64_t numbers[3]; /* arrival, date, size */
};

enum { ARRIVAL, DATE, SIZE };

struct mdsq_sort {
    struct mdsq_sort_criterion by[MDSQ_SORT_MAX];
    size_t by_n;
    bool has_texts;
    struct query_number_sort *numbers; /* without texts: all is done there */
    uint32_t folder;
    struct query_uids *uids;
    uint64_t next_uid;
    bool collected, merged;
    struct row *rows, *other; /* [uids->count]: what is sorted, and where it is merged to */
    uint32_t n;
    uint32_t width, at; /* runs that are in order, and the pair that is next */
    struct buf texts;
    uint32_t told;
};

static bool is_text(enum mdsq_sort_key key)
{
    return key != MDSQ_SORT_ARRIVAL && key != MDSQ_SORT_DATE && key != MDSQ_SORT_SIZE;
}

static struct bytes column(const struct mds_sort *s, enum mdsq_sort_key key)
{
    switch (key) {
    case MDSQ_SORT_CC: return s->sort_cc;
    case MDSQ_SORT_FROM: return s->sort_from;
    case MDSQ_SORT_TO: return s->sort_to;
    case MDSQ_SORT_SUBJECT: return s->base_subject;
    case MDSQ_SORT_DISPLAYFROM: return s->display_from;
    case MDSQ_SORT_DISPLAYTO: return s->display_to;
    case MDSQ_SORT_ARRIVAL:
    case MDSQ_SORT_DATE:
    case MDSQ_SORT_SIZE: break;
    }
    return (struct bytes){0};
}

int mdsq_sort_new(const struct mdsq_view *view, const struct mdsq_set *set, const struct mdsq_sort_criterion *by,
                  size_t by_n, struct mdsq_sort **out, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    *out = NULL;
    if (by_n == 0 || by_n > MDSQ_SORT_MAX)
        return query_result(
            error_set(&e, BASE_ERR_LIMIT, 0, "%zu criteria: 1 to %d can be sorted by", by_n, MDSQ_SORT_MAX), &e, err);

    struct mdsq_sort *s = g_new0(struct mdsq_sort, 1);

    memcpy(s->by, by, by_n * sizeof *by);
    s->by_n = by_n;
    for (size_t i = 0; i < by_n; i++)
        s->has_texts |= is_text(by[i].key);
    s->folder = view->folder;
    s->uids = query_uids_ref(set ? set->uids : view->uids);
    if (query_number_sort_can(by, by_n))
        s->numbers = query_number_sort_new(s->folder, s->uids, by, by_n);
    else
        s->rows = g_new(struct row, s->uids->count + 1);
    s->width = 1;
    *out = s;
    return MDSQ_OK;
}

void mdsq_sort_free(struct mdsq_sort **sort)
{
    struct mdsq_sort *s = *sort;

    *sort = NULL;
    if (s == NULL)
        return;
    query_number_sort_free(&s->numbers);
    query_uids_unref(&s->uids);
    g_free(s->rows);
    g_free(s->other);
    buf_release(&s->texts);
    g_free(s);
}

/* ---- collecting ---------------------------------------------------------------------------------- */

static void put_texts(struct mdsq_sort *s, const struct mds_sort *columns)
{
    struct buf folded = {0};

    for (size_t i = 0; i < s->by_n; i++) {
        if (!is_text(s->by[i].key))
            continue;
        buf_reset(&folded);
        mime_casemap(bytes_slice(column(columns, s->by[i].key), 0, TEXT_MAX), &folded);

        const struct bytes text = bytes_slice(buf_bytes(&folded), 0, TEXT_MAX);

        buf_put_u16(&s->texts, (uint16_t)text.n);
        buf_append_bytes(&s->texts, text);
    }
    buf_release(&folded);
}

/* A message that is gone sorts as one without anything. */
static int collect_one(struct mdsq_sort *s, struct mdsq_reader *reader, struct mds_words *words, uint32_t uid,
                       struct error *err)
{
    struct row *row = &s->rows[s->n];
    struct mds_sort columns = {0};
    struct mds_message m;
    int rc = mds_message_next(reader->txn, s->folder, uid, &m, err);

    *row = (struct row){.uid = uid, .text = (uint32_t)s->texts.n};
    if (rc > 0 && m.uid == uid) {
        row->numbers[ARRIVAL] = m.internal_date;
        row->numbers[DATE] = m.sent_date;
        row->numbers[SIZE] = (int64_t)m.size_crlf;
        if (words)
            rc = mds_words_sort(words, m.item, &columns, err);
    }
    if (rc < 0 && rc != BASE_ERR_NOTFOUND)
        return rc;
    if (s->has_texts)
        put_texts(s, &columns);
    if (s->texts.n > UINT32_MAX - MDSQ_SORT_MAX * (TEXT_MAX + 2))
        return error_set(err, BASE_ERR_LIMIT, 0, "too many messages to be sorted by text");
    s->n++;
    return BASE_OK;
}

/* 1 the time is up. */
static int collect(struct mdsq_sort *s, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    roaring_uint32_iterator_t it;
    struct mds_words *words = NULL;
    unsigned rows = 0;
    int rc = s->has_texts ? query_reader_words(reader, &words, err) : BASE_OK;

    roaring_init_iterator(s->uids->bitmap, &it);
    if (rc < 0 || s->next_uid > UINT32_MAX || !it.has_value ||
        !roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)s->next_uid))
        return rc;
    do {
        rc = collect_one(s, reader, words, it.current_value, err);
        if (rc < 0)
            return rc;
        s->next_uid = (uint64_t)it.current_value + 1;
        if (++rows % ROWS_BETWEEN_CLOCKS == 0 && query_os_monotonic_us() >= until_us)
            return 1;
    } while (roaring_advance_uint32_iterator(&it));
    return BASE_OK;
}

/* ---- merging ----------------------------------------------------------------------------------------- */

static struct bytes next_text(const struct mdsq_sort *s, uint32_t *at)
{
    const uint8_t *p = s->texts.p + *at;
    const size_t n = (size_t)p[0] << 8 | p[1];

    *at += 2 + (uint32_t)n;
    return bytes_of(p + 2, n);
}

static int compare_texts(struct bytes a, struct bytes b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare(const struct mdsq_sort *s, const struct row *a, const struct row *b)
{
    uint32_t a_text = a->text, b_text = b->text;

    for (size_t i = 0; i < s->by_n; i++) {
        const enum mdsq_sort_key key = s->by[i].key;
        int c;

        if (is_text(key)) {
            c = compare_texts(next_text(s, &a_text), next_text(s, &b_text));
        } else {
            const unsigned k = key == MDSQ_SORT_ARRIVAL ? ARRIVAL : key == MDSQ_SORT_DATE ? DATE : SIZE;

            c = (a->numbers[k] > b->numbers[k]) - (a->numbers[k] < b->numbers[k]);
        }
        if (c)
            return s->by[i].reverse ? -c : c;
    }
    return (a->uid > b->uid) - (a->uid < b->uid);
}

static void merge_pair(struct mdsq_sort *s)
{
    const uint64_t middle = (uint64_t)s->at + s->width, last = middle + s->width;
    const uint32_t a_end = middle < s->n ? (uint32_t)middle : s->n, b_end = last < s->n ? (uint32_t)last : s->n;
    uint32_t a = s->at, b = a_end, to = s->at;

    while (a < a_end && b < b_end)
        s->other[to++] = compare(s, &s->rows[a], &s->rows[b]) <= 0 ? s->rows[a++] : s->rows[b++];
    while (a < a_end)
        s->other[to++] = s->rows[a++];
    while (b < b_end)
        s->other[to++] = s->rows[b++];
    s->at = b_end;
}

/* 1 the time is up: a pair is merged whole, the last ones take some 50 ms a million messages. */
static int merge(struct mdsq_sort *s, uint64_t until_us)
{
    unsigned pairs = 0;

    if (s->other == NULL)
        s->other = g_new(struct row, s->n + 1);
    while (s->width < s->n) {
        while (s->at < s->n) {
            merge_pair(s);
            if ((s->width >= ROWS_BETWEEN_CLOCKS || ++pairs % ROWS_BETWEEN_CLOCKS == 0) &&
                query_os_monotonic_us() >= until_us)
                return 1;
        }
        struct row *sorted = s->other;

        s->other = s->rows;
        s->rows = sorted;
        s->at = 0;
        s->width = s->width > UINT32_MAX / 2 ? UINT32_MAX : s->width * 2;
    }
    return BASE_OK;
}

int mdsq_sort_run(struct mdsq_sort *sort, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    const uint64_t until_us = query_os_monotonic_us() + (uint64_t)budget_ms * 1000;
    struct error e;
    int rc = BASE_OK;

    query_error_init(&e);
    if (sort->numbers) {
        rc = query_number_sort_run(sort->numbers, reader->txn, until_us, &e);
        sort->n = sort->uids->count;
        sort->merged = rc == 0;
        return rc < 0 ? query_result(rc, &e, err) : rc;
    }
    if (!sort->collected) {
        rc = collect(sort, reader, until_us, &e);
        sort->collected = rc == 0;
    }
    if (rc == 0 && !sort->merged) {
        rc = merge(sort, until_us);
        sort->merged = rc == 0;
    }
    return rc < 0 ? query_result(rc, &e, err) : rc;
}

static uint32_t uid_at(const struct mdsq_sort *s, uint32_t i)
{
    return s->numbers ? query_number_sort_uids(s->numbers)[i] : s->rows[i].uid;
}

bool mdsq_sort_next(struct mdsq_sort *sort, uint32_t *uid_out)
{
    if (!sort->merged || sort->told >= sort->n)
        return false;
    *uid_out = uid_at(sort, sort->told++);
    return true;
}

uint32_t mdsq_sort_last(const struct mdsq_sort *sort)
{
    return sort->merged && sort->n ? uid_at(sort, sort->n - 1) : 0;
}

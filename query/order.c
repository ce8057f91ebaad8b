/* order: lifetimes, and blocks as they are read. See order.h. */
#include "order_private.h"

#include <glib.h>

/* ---- lifetimes ------------------------------------------------------------------------------ */

struct query_order_budget *query_order_budget_new(void)
{
    struct query_order_budget *b = g_new0(struct query_order_budget, 1);

    atomic_init(&b->refs, 1);
    return b;
}

void query_order_budget_unref(struct query_order_budget **budget)
{
    struct query_order_budget *b = *budget;

    *budget = NULL;
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        g_free(b);
}

void query_order_count(struct query_order *o, uint64_t bytes)
{
    o->bytes += bytes;
    atomic_fetch_add_explicit(&o->budget->bytes, bytes, memory_order_relaxed);
}

static struct query_order *order_new(struct query_order_budget *budget)
{
    struct query_order *o = g_new0(struct query_order, 1);

    atomic_init(&o->refs, 1);
    atomic_fetch_add_explicit(&budget->refs, 1, memory_order_relaxed);
    o->budget = budget;
    ASSERT(pthread_mutex_init(&o->lock, NULL) == 0);
    order_texts_init(&o->texts);
    return o;
}

static void column_release(struct order_column *c)
{
    for (uint64_t i = 0; i < c->n; i++)
        g_free(c->blocks[i]);
    g_free(c->blocks);
}

void query_order_unref(struct query_order **order)
{
    struct query_order *o = *order;

    *order = NULL;
    if (o == NULL || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return;
    column_release(&o->threads);
    for (unsigned k = 0; k < ORDER_TEXT_KEYS; k++)
        column_release(&o->numbers[k]);
    for (uint32_t i = 0; i < o->old_n; i++)
        g_free(o->old[i]);
    g_free(o->old);
    order_texts_release(&o->texts);
    query_ranks_unref(&o->ranks);
    atomic_fetch_sub_explicit(&o->budget->bytes, o->bytes, memory_order_relaxed);
    query_order_budget_unref(&o->budget);
    (void)pthread_mutex_destroy(&o->lock);
    g_free(o);
}

static struct query_order *detach(struct mdsq_archive *archive)
{
    (void)pthread_mutex_lock(&archive->lock);

    struct query_order *o = archive->order;

    archive->order = NULL;
    (void)pthread_mutex_unlock(&archive->lock);
    return o;
}

static void forget_all(struct mdsq_store *store)
{
    GPtrArray *dropped = g_ptr_array_new();
    GHashTableIter it;
    gpointer archive;

    (void)pthread_mutex_lock(&store->lock);
    g_hash_table_iter_init(&it, store->archives);
    while (g_hash_table_iter_next(&it, NULL, &archive)) {
        struct query_order *o = detach(archive);

        if (o)
            g_ptr_array_add(dropped, o);
    }
    (void)pthread_mutex_unlock(&store->lock);
    for (guint i = 0; i < dropped->len; i++) {
        struct query_order *o = g_ptr_array_index(dropped, i);

        query_order_unref(&o);
    }
    g_ptr_array_free(dropped, TRUE);
}

struct query_order *query_order_take(struct mdsq_archive *archive)
{
    struct query_order_budget *budget = archive->store->order_budget;

    if (atomic_load_explicit(&budget->bytes, memory_order_relaxed) > QUERY_ORDER_BYTES_MAX)
        forget_all(archive->store);
    (void)pthread_mutex_lock(&archive->lock);
    if (archive->order == NULL)
        archive->order = order_new(budget);

    struct query_order *o = archive->order;

    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&archive->lock);
    return o;
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* All blocks begin so. */
struct block_head {
    uint64_t first;
    uint32_t n;
};
_Static_assert(offsetof(struct query_thread_block, n) == offsetof(struct block_head, n),
               "a block begins with its head");
_Static_assert(offsetof(struct query_number_block, n) == offsetof(struct block_head, n),
               "a block begins with its head");

/* The block, if it is there and reaches as far as it can be needed. */
static void *find(struct query_order *o, const struct order_column *c, uint64_t item, uint64_t last)
{
    const uint64_t i = item / QUERY_ORDER_BLOCK, first = i * QUERY_ORDER_BLOCK;
    struct block_head *b = NULL;

    (void)pthread_mutex_lock(&o->lock);
    if (i < c->n)
        b = c->blocks[i];
    (void)pthread_mutex_unlock(&o->lock);
    return b && (b->n == QUERY_ORDER_BLOCK || first + b->n > last) ? b : NULL;
}

static void reserve(struct query_order *o, struct order_column *c, uint64_t i)
{
    if (i < c->n)
        return;

    const uint64_t n = i + 1 + (i >> 1);

    c->blocks = g_renew(void *, c->blocks, n);
    memset(c->blocks + c->n, 0, (n - c->n) * sizeof *c->blocks);
    query_order_count(o, (n - c->n) * sizeof *c->blocks);
    c->n = n;
}

/* Moves the block in; gives it, or a longer one that somebody else put there meanwhile. */
static void *keep(struct query_order *o, struct order_column *c, void *block, size_t bytes)
{
    struct block_head *b = block;
    const uint64_t i = b->first / QUERY_ORDER_BLOCK;

    (void)pthread_mutex_lock(&o->lock);
    reserve(o, c, i);

    struct block_head *there = c->blocks[i];

    if (there && there->n >= b->n) {
        g_free(b);
        b = there;
    } else {
        if (there) { /* somebody may read it */
            if (o->old_n == o->old_cap) {
                o->old_cap = o->old_cap ? o->old_cap * 2 : 16;
                o->old = g_renew(void *, o->old, o->old_cap);
            }
            o->old[o->old_n++] = there;
        }
        c->blocks[i] = b;
        query_order_count(o, bytes);
    }
    (void)pthread_mutex_unlock(&o->lock);
    return b;
}

static uint32_t block_items(uint64_t first, uint64_t last)
{
    return last - first < QUERY_ORDER_BLOCK ? (uint32_t)(last - first) + 1 : QUERY_ORDER_BLOCK;
}

/* The item's columns; none if it is gone. */
static int read_sort(struct mds_words *words, uint64_t item, struct mds_sort *out, struct error *err)
{
    *out = (struct mds_sort){0};

    const int rc = item ? mds_words_sort(words, item, out, err) : BASE_ERR_NOTFOUND;

    return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc;
}

/* ---- thread rows ---------------------------------------------------------------------------------- */

static uint64_t subject_of(const struct mds_sort *s, struct buf *folded)
{
    buf_reset(folded);
    mime_casemap(s->base_subject, folded);
    if (folded->n == 0)
        return s->subject_is_reply ? QUERY_SUBJECT_REPLY : 0;

    const uint64_t text = query_subject_text(hash64_of(buf_bytes(folded)));

    return (text ? text : 2) | (s->subject_is_reply ? QUERY_SUBJECT_REPLY : 0);
}

static int read_thread(struct mdsq_reader *reader, struct mds_words *words, uint64_t item, struct buf *row,
                       struct buf *folded, struct error *err)
{
    struct mds_item it = {0};
    struct mds_sort s;
    int rc = item ? mds_item_get(reader->txn, item, &it, err) : BASE_ERR_NOTFOUND;

    if (rc < 0)
        return rc == BASE_ERR_NOTFOUND ? BASE_OK : rc;

    uint64_t v[2] = {it.msgid_hash, 0};

    if ((rc = read_sort(words, item, &s, err)) < 0)
        return rc;
    v[1] = subject_of(&s, folded);
    buf_append(row, v, sizeof v);
    for (size_t i = 0; i + 8 <= s.reference_hashes.n; i += 8) {
        uint64_t hash = 0;

        for (unsigned b = 0; b < 8; b++)
            hash = hash << 8 | s.reference_hashes.p[i + b];
        buf_append(row, &hash, sizeof hash);
    }
    return BASE_OK;
}

int query_order_thread(struct query_order *o, struct mdsq_reader *reader, uint64_t item, uint64_t last,
                       const struct query_thread_block **out, struct error *err)
{
    struct query_thread_block head = {.first = item - item % QUERY_ORDER_BLOCK};
    struct mds_words *words;
    struct buf rows = {0}, folded = {0};
    int rc;

    if ((*out = find(o, &o->threads, item, last)) != NULL)
        return BASE_OK;
    head.n = block_items(head.first, last);
    rc = query_reader_words(reader, &words, err);
    for (uint32_t i = 0; rc >= 0 && i < head.n; i++) {
        head.at[i] = (uint32_t)(rows.n / 8);
        rc = read_thread(reader, words, head.first + i, &rows, &folded, err);
    }
    if (rc >= 0) {
        const size_t bytes = sizeof head + rows.n;
        struct query_thread_block *b = g_malloc(bytes);

        for (uint32_t i = head.n; i <= QUERY_ORDER_BLOCK; i++)
            head.at[i] = (uint32_t)(rows.n / 8);
        *b = head;
        if (rows.n)
            memcpy(b->v, rows.p, rows.n);
        *out = keep(o, &o->threads, b, bytes);
        rc = BASE_OK;
    }
    buf_release(&rows);
    buf_release(&folded);
    return rc;
}

/* ---- text numbers -------------------------------------------------------------------------------------- */

static const struct {
    enum mdsq_sort_key key;
    size_t at; /* of its text in struct mds_sort */
} text_keys[ORDER_TEXT_KEYS] = {
    {MDSQ_SORT_SUBJECT, offsetof(struct mds_sort, base_subject)},
    {MDSQ_SORT_FROM, offsetof(struct mds_sort, sort_from)},
    {MDSQ_SORT_TO, offsetof(struct mds_sort, sort_to)},
    {MDSQ_SORT_CC, offsetof(struct mds_sort, sort_cc)},
    {MDSQ_SORT_DISPLAYFROM, offsetof(struct mds_sort, display_from)},
    {MDSQ_SORT_DISPLAYTO, offsetof(struct mds_sort, display_to)},
};

static unsigned text_key(enum mdsq_sort_key key)
{
    unsigned k = 0;

    while (k < ORDER_TEXT_KEYS && text_keys[k].key != key)
        k++;
    ASSERT(k < ORDER_TEXT_KEYS);
    return k;
}

/* The block's texts, casemapped, one behind the other: those of item i end at end[i]. */
static int read_texts(struct mds_words *words, const struct query_number_block *b, size_t at, struct buf *texts,
                      uint32_t *end, struct error *err)
{
    struct buf folded = {0};
    int rc = BASE_OK;

    for (uint32_t i = 0; rc >= 0 && i < b->n; i++) {
        struct mds_sort s;

        rc = read_sort(words, b->first + i, &s, err);
        if (rc >= 0) {
            const struct bytes *text = (const struct bytes *)(const void *)((const char *)&s + at);

            buf_reset(&folded);
            mime_casemap(bytes_slice(*text, 0, QUERY_ORDER_TEXT_MAX), &folded);
            buf_append_bytes(texts, bytes_slice(buf_bytes(&folded), 0, QUERY_ORDER_TEXT_MAX));
        }
        end[i] = (uint32_t)texts->n;
    }
    buf_release(&folded);
    return rc;
}

/* Texts to numbers, under the lock. */
static int number_texts(struct query_order *o, struct bytes texts, const uint32_t *end, struct query_number_block *b,
                        struct error *err)
{
    uint64_t grown = 0;
    uint32_t begin = 0;
    int rc = BASE_OK;

    (void)pthread_mutex_lock(&o->lock);
    for (uint32_t i = 0; rc >= 0 && i < b->n; i++) {
        rc = order_texts_number(&o->texts, bytes_slice(texts, begin, end[i] - begin), &b->v[i], &grown, err);
        begin = end[i];
    }
    query_order_count(o, grown);
    (void)pthread_mutex_unlock(&o->lock);
    return rc;
}

int query_order_numbers(struct query_order *o, struct mdsq_reader *reader, enum mdsq_sort_key key, uint64_t item,
                        uint64_t last, const struct query_number_block **out, struct error *err)
{
    const unsigned k = text_key(key);
    uint32_t end[QUERY_ORDER_BLOCK];
    struct mds_words *words;
    struct buf texts = {0};

    if ((*out = find(o, &o->numbers[k], item, last)) != NULL)
        return BASE_OK;

    struct query_number_block *b = g_new0(struct query_number_block, 1);

    b->first = item - item % QUERY_ORDER_BLOCK;
    b->n = block_items(b->first, last);

    int rc = query_reader_words(reader, &words, err);

    if (rc >= 0)
        rc = read_texts(words, b, text_keys[k].at, &texts, end, err);
    if (rc >= 0)
        rc = number_texts(o, buf_bytes(&texts), end, b, err);
    if (rc >= 0)
        *out = keep(o, &o->numbers[k], b, sizeof *b);
    else
        g_free(b);
    buf_release(&texts);
    return rc < 0 ? rc : BASE_OK;
}
